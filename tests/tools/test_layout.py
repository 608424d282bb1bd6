"""The formatter of notebooks: one width, nothing but layout changes."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book._tools import layout, normal, notebooks, provenance

WIDE = "weights = attend(query_of_the_word, key_of_every_word, value_of_every_word, mask=causal(len(words)), need=True)"


def made(*sources: str) -> nbformat.NotebookNode:
    output = new_output("stream", name="stdout", text="1\n")
    cells = [new_code_cell(source, outputs=[output], metadata={"tags": ["x"]}) for source in sources]
    return new_notebook(cells=[new_markdown_cell("A  text,   as *it*  is"), *cells])


def test_code_is_set_in_the_width_of_the_page_and_the_rest_stays() -> None:
    notebook = layout.formatted(made(WIDE, "a = {\n    'one' : 1,\n}", "plt.show();", "%timeit a", ""))
    text, wide, quotes, quiet, magic, empty = notebook.cells
    assert max(map(len, wide.source.splitlines())) <= 88 < len(WIDE)
    assert quotes.source == 'a = {"one": 1}'
    assert (quiet.source, magic.source, empty.source) == ("plt.show();", "%timeit a", "")
    assert text.source == "A  text,   as *it*  is"
    assert wide.outputs[0].text == "1\n"
    assert wide.metadata == {"tags": ["x"]}
    assert layout.formatted(nbformat.from_dict(notebook)) == notebook


def test_the_stamp_does_not_see_the_layout_and_sees_the_code() -> None:
    def stamp(notebook: nbformat.NotebookNode) -> str:
        return str(normal.stamped(notebook).metadata[normal.STAMP]["code"])

    notebook = made(WIDE, "print('a ' 'long text')")
    assert stamp(layout.formatted(notebook)) == stamp(made(WIDE, "print('a ' 'long text')"))
    assert stamp(made(WIDE, "print('another text')")) != stamp(notebook)


def test_a_cell_that_does_not_parse_is_told(tmp_path) -> None:
    path = tmp_path / "page.ipynb"
    nbformat.write(made("if True"), path)
    before = path.read_bytes()
    assert not notebooks.report(path, fresh=False)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="Failed to parse"):
        layout.formatted(made("if True"))


def test_all_notebooks_of_the_book_are_set_so() -> None:
    """What `make check` looks at; here with the name of the page."""
    for path in notebooks.toc.notebooks():
        stored = nbformat.read(path, as_version=4)
        before = [cell.source for cell in stored.cells]
        assert [cell.source for cell in layout.formatted(stored).cells] == before, path.name
        assert provenance.cells(stored)
