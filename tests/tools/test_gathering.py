"""What the build gathers: claims, the chapters' places, the reference. What is wrong with a piece stops the build."""

import json
import re
import sys

import pytest
from test_build_tool import build, small  # noqa: F401 - a fixture

from attnlib.book.claims import MIME
from attnlib.book.taxonomy import WORKS
from book._ext import chapters, claims, library
from book._tools import places, toc

STORED = {
    "id": "demo-one",
    "claim": "a|b costs $3 for *x*.",
    "source": "us",
    "experiment": "e",
    "verdict": "mixed",
    "value": [["a", 7.0]],
    "spread": [["a", 0.1]],
    "over": "3 seeds",
    "tests": [["a = 1 > 0", "holds"], ["b = 2 > 3", "fails"], ["c = 2 > 1", "holds"]],
}
CARD = (
    "```{admonition} Card\n:class: card\n\n**Place in the taxonomy**\n: {place}\n\n**Year and source**\n: {year}\n```"
)


def notebook(path, *stored, place="*Soft*.", year="2015", title="A chapter", source="x = 1", html=None):
    """A chapter that stores these claims."""
    outputs = [
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {
                MIME: claim,
                "text/html": html or f'<p id="claim-{claim.get("id")}">Card</p>',
                "text/plain": "Card",
            },
        }
        for claim in stored
    ]
    card = CARD.replace("{place}", place).replace("{year}", year)
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": [f"({path.stem})=\n", f"# {title}\n\n", card]},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "source": [source],
            "outputs": outputs,
            "execution_count": 1,
        },
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    text = json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


# ------------------------------------------------------------------------------------------------------------- claims


def test_claims_keep_the_order_of_paths_and_cells(tmp_path):
    first = notebook(tmp_path / "b.ipynb", STORED | {"id": "b-two"}, STORED | {"id": "b-one"})
    second = notebook(tmp_path / "a.ipynb", STORED | {"id": "a-one"})
    found, faults = claims.gather([first, second])
    assert [(entry.claim.id, entry.notebook) for entry in found] == [
        ("b-two", first),
        ("b-one", first),
        ("a-one", second),
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("stored", "options", "said"),
    [
        ([STORED, STORED], {}, "cell 1: id 'demo-one' is already used in one.ipynb"),
        ([STORED | {"verdict": "supported"}], {}, "cell 1: malformed claim: verdict must be 'mixed' by its tests"),
        ([{k: v for k, v in STORED.items() if k != "id"}], {}, "cell 1: malformed claim: expected the fields"),
        ([STORED | {"id": ""}], {}, "cell 1: malformed claim: id must not be empty"),
        ([STORED], {"html": "<p>Card</p>"}, "cell 1: the card of 'demo-one' has no label claim-demo-one"),
        ([], {"source": "claims.record('x-y')"}, "cell 1: calls claims.record but has stored no claim; execute"),
    ],
)
def test_a_wrong_claim_is_a_fault(tmp_path, stored, options, said):
    _, faults = claims.gather([notebook(tmp_path / "one.ipynb", *stored, **options)])
    ((path, fault),) = faults
    assert path.name == "one.ipynb"
    assert said in fault


def test_an_id_on_two_pages_is_a_fault(tmp_path):
    paths = [notebook(tmp_path / f"{name}.ipynb", STORED) for name in ("a", "b")]
    assert claims.gather(paths)[1] == [(paths[1], "cell 1: id 'demo-one' is already used in a.ipynb")]


def test_claims_and_conditions_are_counted(tmp_path):
    (entry,), _ = claims.gather([notebook(tmp_path / "a.ipynb", STORED)])
    assert claims.tally(entry.claim) == " Of 3 conditions: 2 holds, 1 fails."
    words = "1 claims tested: 0 supported, 1 mixed, 0 refuted, 0 undecided. "
    words += "Of their 3 conditions 2 hold, 1 fail, 0 are open."
    assert claims.summary([entry.claim]) == words
    assert claims.summary([]).startswith("0 claims tested")


# ------------------------------------------------------------------------------------------------------------- places


def place(tmp_path, **options):
    return places.place(json.loads(notebook(tmp_path / "a.ipynb", **options).read_text("utf-8")))


def test_a_place_is_what_the_card_sets_in_emphasis(tmp_path):
    said = "*Local* attention stands between soft and **hard**: *multi-head*, of the\n  *score*, and *Soft*."
    year = "2015, {cite:t}`luong2015` and {cite:p}`xu2015, ba2015`."
    found = place(tmp_path, place=said, year=year)
    assert found == (("soft", "local", "multi-head"), "score", ("luong2015", "xu2015", "ba2015"))
    assert place(tmp_path, place="It has *no\n  place*.") == ((), "", ())


@pytest.mark.parametrize(
    ("said", "title", "fault"),
    [
        ("Soft.", "A", "sets no type in emphasis"),
        ("*Aoft*.", "A", "'aoft' is no place; there are soft, hard"),
        ("*Soft* and *soft*.", "A", "told once"),
        ("The *score* and the *frame*.", "A", "told once"),
        ("*Soft*; *no place*.", "A", "told once"),
        ("*Soft*, not hard.", "Soft and hard", "the title names hard, the card"),
    ],
)
def test_a_wrong_place_is_refused(tmp_path, said, title, fault):
    with pytest.raises(ValueError, match=fault):
        place(tmp_path, place=said, title=title)


def test_no_card_is_no_place():
    with pytest.raises(ValueError, match="there is no card"):
        places.place({"cells": [{"cell_type": "markdown", "source": ["# A\n\n*Soft*."]}]})


def test_types_are_named_as_words():
    assert places.named("Neither here nor there: scores of all kinds, itself included.") == []
    assert places.named("Hardly soften; non-local; globally; hard-won? softmax; selfish; hierarchically") == ["hard"]
    assert places.named("*Multi-head* self-attention, **global**") == ["global", "self", "multi-head"]


def test_every_chapter_of_the_book_has_a_place():
    found, faults = chapters.chapters(toc.ROOT)
    assert faults == []
    for path, where in found.items():
        assert not {"global", "local"} & {*where.types} or "soft" in where.types, path.name
    treated = {path.stem: where.sources for path, where in found.items()}
    assert "xu2015" in treated["soft-and-hard"]
    assert {"bahdanau2015", "luong2015", "xu2015", "vaswani2017"} <= {key for keys in treated.values() for key in keys}


# ---------------------------------------------------------------------------------------------------------- reference


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a folder that offers what its files say, a file that offers for itself, and a private one."""
    name = f"pack{abs(hash(str(tmp_path)))}"
    files = {
        "__init__.py": '"""A package."""\nfrom .ground import f\n__all__ = ["f"]\n',
        "ground.py": '"""Ground."""\n__all__ = ["f"]\ndef f():\n    """F."""\n',
        "_hidden.py": '"""Hidden."""\n__all__ = ["h"]\ndef h():\n    """H."""\n',
        "part/__init__.py": '"""A part."""\n',
        "part/one.py": '"""One."""\n__all__ = ["g", "N"]\nN = 1\ndef g():\n    """G."""\ndef helper(): ...\n',
    }
    for path, text in files.items():
        (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / path).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / name
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def test_a_thing_is_shown_once_where_the_path_is_shortest(package):
    name = package.name
    assert library.modules(name) == (name, f"{name}.ground", f"{name}.part", f"{name}.part.one")
    assert library.homes(name) == {
        f"{name}.f": f"{name}.f",
        f"{name}.ground.f": f"{name}.f",
        f"{name}.part.one.g": f"{name}.part.one.g",
    }
    assert [library.shown_in(module, name) for module in library.modules(name)] == [["f"], [], [], ["g", "N"]]
    assert [library.folder(module) for module in library.modules(name)] == ["", "", "part", "part"]


ALL = ("", ".ground", ".part", ".part.one", ".f", ".part.one.g")


@pytest.mark.parametrize(
    ("hidden", "fault"),
    [
        (None, None),
        (".part.one", r"part.one is on no page of the reference: which page holds {library} part\?"),
        (".part.one.g", "part.one.g is offered and not shown"),
        (".f", r"\.f is offered and not shown"),
    ],
)
def test_what_is_public_and_not_shown_is_a_fault(package, hidden, fault):
    shown = {package.name + name for name in ALL if name != hidden}
    found = list(library.faults(shown, package.name))
    assert (found == []) if fault is None else re.search(fault, found[0]), found


def test_a_folder_without_all_offers_what_it_has_of_its_files(package):
    (package / "part/__init__.py").write_text('"""A part."""\nfrom os.path import join\nfrom .one import g\n')
    name = package.name
    assert library.homes(name)[f"{name}.part.one.g"] == f"{name}.part.g"
    assert [library.shown_in(module, name) for module in library.modules(name)] == [["f"], [], ["g"], ["N"]]


def test_a_module_that_offers_nothing_of_what_it_defines_is_a_fault(package):
    (package / "part/two.py").write_text("def f(): ...\n")
    found = list(library.faults({package.name + name for name in (*ALL, ".part.two")}, package.name))
    assert found == [f"{package.name}.part.two has no __all__, and nothing that it defines is shown"]


def test_every_folder_of_the_library_has_its_page():
    held = [path.read_text("utf-8") for path in (toc.ROOT / "book/appendix/api").glob("*.md")]
    asked = [match for text in held for match in re.findall(r"^```\{library\} ?(.*)$", text, re.M)]
    assert sorted(asked) == sorted({library.folder(module) for module in library.modules()})


# ---------------------------------------------------------------------------------------------------------- the build


@pytest.fixture
def book(small):  # noqa: F811
    """A book of two chapters with the page of claims, the table of chapters, and a page of the reference."""
    for name in ("one", "two"):
        notebook(
            small / f"book/{name}.ipynb", STORED | {"id": f"{name}-claim"}, year="{cite:t}`xu2015`", title=f"On {name}"
        )
    (small / "book/index.md").write_text(
        "# A page\n\n```{chapters}\n```\n\n```{claims}\n```\n\n{ref}`there <claim-two-claim>` {cite:t}`xu2015`\n\n"
        "```{bibliography}\n```\n"
    )
    (small / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/one\n- file: book/two\n- file: book/api\n"
    )
    (small / "book/api.md").write_text("# Training\n\n```{library} training\n```\n")
    return small


@pytest.mark.slow
def test_the_build_gathers(book):
    done = build(book)
    assert done.returncode == 0, done.stdout
    page = (book / "_build/html/book/index.html").read_text("utf-8")
    assert page.count('href="two.html#claim-two-claim"') == 2  # in the table, and from another place
    assert 'id="claim-two-claim"' in (book / "_build/html/book/two.html").read_text("utf-8")
    assert "a|b costs $3 for *x*. (us)" in page
    assert "2 claims tested: 0 supported, 2 mixed" in page
    (data,) = re.findall(r'<script type="application/json" id="attnlib-chapters">(.*?)</script>', page)
    work = next(work.name for work in WORKS if work.source == "xu2015")
    expected = {"title": "On two", "href": "two.html", "by": "chapter", "types": ["soft"], "works": [work]}
    assert json.loads(data)[1] == expected
    assert "attnlib.training.fit" in (book / "_build/html/book/api.html").read_text("utf-8")


@pytest.mark.slow
def test_what_is_wrong_with_a_piece_stops_the_build(book):
    notebook(book / "book/two.ipynb", STORED | {"id": "one-claim"}, place="Soft.", title="On two")
    (book / "book/api.md").write_text(
        "# The library\n\n```{library}\n```\n\n```{library} nowhere\n```\n\n```{outcomes} likely\n```\n\n"
        "{supported}`it stood <claim-one-claim>`, {refuted}`gone <claim-no-one>`\n"
    )
    done = build(book)
    assert done.returncode == 1
    for words in (
        "two.ipynb: WARNING: cell 1: id 'one-claim' is already used in one.ipynb",
        "two.ipynb: WARNING: two.ipynb: the card sets no type in emphasis",
        "attnlib has no folder 'nowhere'",
        "attnlib.softness.local is on no page of the reference: which page holds {library} softness?",
        "attnlib.softness.local.local is offered and not shown",
        "undefined label: 'claim-two-claim'",
        "claim-one-claim is said to be supported and is mixed",
        "there is no claim with the label 'claim-no-one'",
        "'likely' is no verdict; there are supported, mixed, refuted, undecided",
    ):
        assert words in done.stdout, words
