"""What the site adds to its pages: cards, types, the search's order, names in the index, saved notebooks, Greek."""

import base64
import io
import json
import subprocess
import sys

import nbformat
import pytest
from docutils import nodes
from PIL import Image

from book._ext import accessible, download, front, search, social
from book._tools import places, toc


def notebook(*outputs, tags=("widget",)):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "(x)=\n# A chapter\n"}]
    cells += [{"cell_type": "code", "metadata": {"tags": [*tags]}, "source": "w", "outputs": [{"data": data}]}
              for data in outputs]  # fmt: skip
    return {"cells": cells}


def test_the_first_widget_of_a_notebook_is_found():
    assert front.widget(notebook({"text/html": ["<p>", "w"]}, {"text/html": "two"}))["text/html"] == "<p>w"
    for without in (notebook(), notebook({"text/plain": "w"}), notebook({"text/html": "w"}, tags=())):
        with pytest.raises(ValueError, match="no cell tagged widget has stored one"):
            front.widget(without)


def test_every_chapter_has_what_its_card_on_the_front_page_needs():
    for path in toc.chapters():
        found = front.read(path)
        assert front.title(found)
        assert places.fields(front.prose(found))["In one sentence"].strip(), path
        assert {"text/html", "image/png"} <= set(front.widget(found)), path


def test_a_picture_is_as_wide_as_a_card_and_cut_below():
    for size, wanted in (((1200, 2000), (480, 288)), ((960, 200), (480, 100))):
        buffer = io.BytesIO()
        Image.new("RGB", size, "red").save(buffer, "PNG")
        assert Image.open(io.BytesIO(front.small(buffer.getvalue()))).size == wanted


def test_a_type_leads_to_the_chapter_that_is_about_it():
    one, other = (
        toc.ROOT / "book/deep-learning/rnnsearch.ipynb",
        toc.ROOT / "book/taxonomy/softness/soft-and-hard.ipynb",
    )
    found = {path: places.place(front.read(path)) for path in (one, other)}
    assert front.about("soft", found) == other  # its title names it; the first has it, too
    assert front.about("item-wise", found) == one
    assert front.about("co-attention", found) is None


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        ("Additive attention, Bahdanau attention; the alignment model (soft).",
         ["Additive attention", "Bahdanau attention", "the alignment model", "Additive", "Bahdanau"]),
        ("A name that is a whole sentence and no name at all, S4.", []),
    ],
)  # fmt: skip
def test_other_names_are_entries_of_the_index(card, wanted):
    assert search.names(card) == wanted


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("<p>a λόγος b</p>", '<p>a <span lang="grc">λόγος</span> b</p>'),
        ("<em>ἐδάκρυσεν ὁ Ἰησοῦς</em>", '<em><span lang="grc">ἐδάκρυσεν ὁ Ἰησοῦς</span></em>'),
        ("<p>αβ and α</p>", "<p>αβ and α</p>"),
        ("<pre>λόγος</pre><p>x</p>", "<pre>λόγος</pre><p>x</p>"),
        ('<p title="λόγος">x</p>', '<p title="λόγος">x</p>'),
        ("<script>a < 'λόγος'</script>", "<script>a < 'λόγος'</script>"),
    ],
)
def test_greek_is_marked_in_the_text_only(html, wanted):
    assert accessible.greek(html) == wanted


@pytest.mark.parametrize(
    ("repository", "site", "wanted"),
    [
        ("https://x.org/a", "https://y.org", "git+https://x.org/a"),
        ("", "https://y.org/b/", f"https://y.org/b/_static/{download.wheel_name()}"),
        ("", "", ""),
    ],
)
def test_a_saved_notebook_knows_where_the_library_is(repository, site, wanted):
    assert download.source(repository, site) == wanted


def test_a_saved_notebook_begins_with_what_it_needs(tmp_path):
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_code_cell("import attnlib")]
    )
    text = download.equipped(nbformat.writes(made), "")
    assert [cell["cell_type"] for cell in json.loads(text)["cells"]] == ["markdown", "code", "code"]
    code = nbformat.reads(text, as_version=4).cells[1].source
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0  # it is installed
    without = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda name: None\n"
    done = subprocess.run(
        [sys.executable, "-c", without + code], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert f"save {download.wheel_name()} from the book's front page beside this notebook" in done.stderr


def test_a_saved_notebook_installs_the_wheel_beside_it(tmp_path):
    (tmp_path / download.wheel_name()).write_bytes(b"")
    code = download.SETUP.format(source="", wheel=download.wheel_name(), extras="widgets")
    without = (
        "import importlib.util as u, subprocess as s\nu.find_spec = lambda name: None\n"
        "s.check_call = lambda command: print(command[-1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", without + code], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == f"attnlib[widgets] @ {(tmp_path / download.wheel_name()).as_uri()}"


def test_the_unescaped_picture_of_a_widget_is_png():
    path = toc.chapters()[0]
    assert base64.b64decode(front.widget(front.read(path))["image/png"]).startswith(b"\x89PNG")


def page(*paragraphs):
    """A page as the parser leaves it, with an empty text on both sides of bold type."""
    section = nodes.section("", nodes.title("", "A page"))
    for text in paragraphs:
        bold = nodes.strong("", text[2:-2]) if text.startswith("**") else nodes.Text(text)
        section += nodes.paragraph("", "", nodes.Text(""), bold, nodes.Text(""))
    document = nodes.document(None, None)
    document += section
    return document


QUESTION = "**Drag the query until the context sits on the value. Can it leave the triangle?**"
OPENING = "One word pulls your eye, and another does not, and so it goes. "


@pytest.mark.parametrize(
    ("paragraphs", "wanted"),
    [
        ([QUESTION, OPENING + "This book asks why. It says how."], "This book asks why. It says how."),
        (["Too short.", OPENING], OPENING.strip()),
        ([QUESTION], ""),
        ([OPENING * 4 + "x" * 200], (OPENING * 3).strip()),
        (["word " * 100], "word " * 47 + "…"),
    ],
)
def test_a_page_is_described_by_what_it_says_of_itself(paragraphs, wanted):
    assert social.describe(page(*paragraphs)) == wanted
