"""The conclusion: each claim once, under its own verdict, and no sentence that a claim contradicts."""

import re
from html import unescape
from pathlib import Path

import pytest
from test_build_tool import build, small  # noqa: F401 - a fixture
from test_gathering import STORED, notebook

from attnlib.book.claims import VERDICTS
from book._ext import outcomes
from book._ext.claims import Found, gather
from book._tools import toc

ANSWERS = {"supported": ["holds"], "refuted": ["fails"], "undecided": ["open"], "mixed": ["holds", "fails"]}
FOLDED = [verdict for verdict in VERDICTS if verdict != "refuted"]
PAGE = "\n\n".join(
    ["# A page"]
    + [
        "```{outcomes}" + f" {name}".rstrip() + "\n:class: dropdown" * (name in FOLDED) + "\n```"
        for name in ("", *VERDICTS)
    ]
)


def stored(name, verdict):
    tests = [[f"a = 1 > {i}", answer] for i, answer in enumerate(ANSWERS[verdict])]
    return STORED | {"id": name, "claim": f"Of {name}: a|b costs $3.", "verdict": verdict, "tests": tests}


def complaints(page: str, found: list[Found]) -> list[str]:
    """What a page's tables have that the notebooks have not, or otherwise, or under another count."""
    said = []
    for verdict in VERDICTS:
        table = re.search(rf"<table[^>]*\boutcomes-{verdict}\b.*?</table>", page, re.S)
        rows = re.findall(r'href="([^"]*)#(claim-[^"]*)"[^>]*>(.*?)</a>', table[0] if table else "", re.S)
        shown = [(Path(place).stem, label, unescape(re.sub("<[^>]*>", "", text))) for place, label, text in rows]
        mine = [one for one in found if one.claim.verdict == verdict]
        wanted = [(one.notebook.stem, one.label, one.claim.claim.replace("'", "’")) for one in mine]
        said += [] if [(a, b, c.replace("'", "’")) for a, b, c in shown] == wanted else [f"the table of {verdict}"]
        count = re.search(rf"Of (\w+) claims?, (\w+) (?:is|are) {verdict}\b", page)
        told = count and (count[1], count[2])
        right = (f"{len(found)}" if len(found) != 1 else "one", f"{len(wanted) or 'none'}")
        said += [] if told == right else [f"the count of {verdict}"]
    counts = ", ".join(f"{sum(one.claim.verdict == v for one in found)} {v}" for v in VERDICTS)
    return said + ([] if f"{len(found)} claims tested: {counts}." in page else ["the counts of all"])


@pytest.fixture
def book(small):  # noqa: F811
    """A book of two chapters with claims of three verdicts, and a page that gathers them."""
    notebook(small / "book/one.ipynb", stored("one-a", "supported"), stored("one-b", "refuted"), title="On one: more")
    notebook(small / "book/two.ipynb", stored("two-a", "supported"), stored("two-b", "undecided"), title="On two")
    (small / "book/index.md").write_text(f"{PAGE}\n\n{{refuted}}`it fell <claim-one-b>`; {{supported}}`claim-two-a`.\n")
    (small / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/one\n- file: book/two\n"
    )
    return small


# How a page of a wrong gathering differs from the right one, and what must be said of it.
SWAPPED = {"claim-one-a": "claim-two-a", "claim-two-a": "claim-one-a"}
WRONG = {
    "a claim left out": (r"<tr[^>]*>(?:(?!<tr).)*claim-two-b.*?</tr>", "", "table of undecided"),
    "a claim under another verdict": ("outcomes-refuted", "outcomes-mixed", "table of refuted"),
    "links to one another's cards": ("claim-(one|two)-a", lambda found: SWAPPED[found[0]], "table of supported"),
    "a count that was typed": ("claims, 2 are supported", "claims, 3 are supported", "count of supported"),
    "a claim counted twice": ("4 claims tested", "5 claims tested", "counts of all"),
}


@pytest.mark.slow
def test_the_page_has_each_claim_once_under_its_verdict(book):
    done = build(book)
    assert done.returncode == 0, done.stdout
    page = (book / "_build/html/book/index.html").read_text("utf-8")
    found, faults = gather([book / "book/one.ipynb", book / "book/two.ipynb"])
    assert (len(found), faults) == (4, [])
    assert complaints(page, found) == []
    assert "Of 4 claims, none is mixed." in page
    assert re.search(r'href="one.html#claim-one-b"[^>]*><span[^>]*>it fell</span>', page)
    assert re.search(r'href="two.html#claim-two-a"[^>]*><span[^>]*>supported</span>', page)
    assert ">On one<" in page  # the title up to its colon
    for verdict, count in (("supported", 2), ("undecided", 1)):
        named = rf'<p class="admonition-title">{verdict.capitalize()} \({count}\)</p>'
        opened = rf'<div class="[^"]*\bdropdown\b[^"]*">\s*{named}'
        assert re.search(rf"{opened}(?:(?!</table>).)*\boutcomes-{verdict}\b", page, re.S)
    assert 'admonition-title">Refuted' not in page
    for name, (right, wrong, said) in WRONG.items():
        changed = re.sub(right, wrong, page, flags=re.S)
        assert changed != page, name
        assert any(said in one for one in complaints(changed, found)), name
    # A claim that comes out otherwise than it did: the page as it was is wrong now.
    notebook(book / "book/two.ipynb", stored("two-a", "mixed"), stored("two-b", "undecided"), title="On two")
    assert complaints(page, gather([book / "book/one.ipynb", book / "book/two.ipynb"])[0]) != []


def test_sentences_agree_with_their_numbers(tmp_path):
    found, _ = gather([notebook(tmp_path / "a.ipynb", *(stored(f"a-{i}", "refuted") for i in range(2)))])
    assert outcomes.counted(found, "refuted") == "Of 2 claims, 2 are refuted:"
    assert outcomes.counted(found, "mixed") == "Of 2 claims, none is mixed."
    assert outcomes.counted(found[:1], "refuted") == "Of one claim, 1 is refuted:"
    assert outcomes.counted([], "refuted") == "Of 0 claims, none is refuted."
    assert outcomes.differing(found, "claim-a-0", "refuted") is None
    assert outcomes.differing(found, "claim-a-0", "supported") == "claim-a-0 is said to be supported and is refuted"


def test_the_conclusion_shows_every_verdict():
    """Whatever the claims come to: each verdict has its table on the page, once."""
    page = (toc.ROOT / "book/conclusion.md").read_text("utf-8")
    assert sorted(re.findall(r"^```\{outcomes\} ?(.*)$", page, re.M)) == sorted(["", *VERDICTS])
    assert re.findall(r"^```\{outcomes\} (.*)\n:class: dropdown\n```$", page, re.M) == FOLDED
    said = re.findall(rf"\{{({'|'.join(VERDICTS)})\}}`[^`]*?<([^`>]*)>`", page)
    found = gather(toc.notebooks())[0]
    assert len(said) > 10
    assert [fault for verdict, label in said if (fault := outcomes.differing(found, label, verdict))] == []


@pytest.mark.site
def test_the_conclusion_of_the_site_is_that_of_the_notebooks():
    page = (toc.ROOT / "_build/html/book/conclusion.html").read_text("utf-8")
    assert complaints(page, gather(toc.notebooks())[0]) == []
