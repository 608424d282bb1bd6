"""Every notebook of the book keeps its contract, and the contract can be broken."""

import copy
import re

import contract_example as example
import pytest
from contract import BYTES, Book, complain, directives, without_code
from contract_chapter import CHAPTER, affordable, chapter
from contract_general import GENERAL, equations_kept, small_enough

from book._tools import normal, toc

PAGES = toc.pages()
NOTEBOOKS = [path for path in PAGES if path.suffix == ".ipynb"]
CHAPTERS = [path for path in NOTEBOOKS if path.parent.name != "appendix"]


def name(path: object) -> str:
    return str(getattr(path, "stem", path))


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.read(PAGES)


def page_of(book: Book, path: object):  # type: ignore[no-untyped-def]
    return next(page for page in book.pages if page.path == path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_is_clean(book: Book, path: object) -> None:
    assert complain(page_of(book, path), book, GENERAL) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_is_in_its_normal_form(book: Book, path: object) -> None:
    stored = page_of(book, path).notebook
    assert normal.normalise(copy.deepcopy(stored)) == stored, "run `make notebooks`"


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_chapter_keeps_its_contract(book: Book, path: object) -> None:
    page = page_of(book, path)
    assert complain(page, book, chapter(page)) == []


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path not in CHAPTERS], ids=name)
def test_a_notebook_of_the_appendix_is_no_longer_than_a_chapter(book: Book, path: object) -> None:
    assert complain(page_of(book, path), book, (affordable,)) == []


@pytest.mark.parametrize("path", [path for path in PAGES if path.suffix == ".md"], ids=name)
def test_a_page_refers_to_its_numbered_formulas(book: Book, path: object) -> None:
    assert complain(page_of(book, path), book, (equations_kept,)) == []


def test_every_notebook_in_the_folder_is_in_the_table_of_contents() -> None:
    found = {path for path in (toc.ROOT / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert found == set(NOTEBOOKS)


def test_every_page_of_prose_is_in_the_table_of_contents() -> None:
    found = {path for path in (toc.ROOT / "book").rglob("*.md") if not {"_tools", "_ext"} & set(path.parts)}
    assert found == set(PAGES) - set(NOTEBOOKS)


def test_the_example_keeps_the_contract() -> None:
    page, book = example.book_of(example.good())
    assert complain(page, book, GENERAL + CHAPTER) == []


def test_a_study_has_five_stations_and_keeps_them() -> None:
    notebook = example.study()
    page, book = example.book_of(notebook)
    assert complain(page, book, GENERAL + chapter(page)) == []
    example.drop("station-see-it")(notebook)
    assert "no station-see-it" in "\n".join(complain(page, book, chapter(page)))
    notebook.cells[0].metadata.clear()
    assert "no station-cost" in "\n".join(complain(page, book, chapter(page)))


@pytest.mark.parametrize("mutant", example.MUTANTS)
def test_a_broken_notebook_is_refused(mutant: str) -> None:
    change, expected = example.MUTANTS[mutant]
    notebook = example.good()
    change(notebook)
    page, book = example.book_of(notebook)
    complaints = complain(page, book, GENERAL + CHAPTER)
    assert re.search(expected, "\n".join(complaints)), complaints


def test_a_large_notebook_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "lookup.ipynb"
    path.write_text(" " * (BYTES + 1))
    page, book = example.book_of(example.good(), path)
    assert "more than" in small_enough(page, book)[0]


def test_a_number_on_two_pages_is_refused() -> None:
    one, other = (example.book_of(example.good())[0] for _ in range(2))
    complaints = equations_kept(one, Book([one, other]))
    assert complaints == ["\\tag{7} stands on several pages"]


def test_code_blocks_are_not_prose() -> None:
    text = "```{note}\nkept\n```\n```python\n[x](#gone)\n```\n```\nplain\n```\nend"
    assert without_code(text).split() == ["```{note}", "kept", "```", "end"]


def test_directives_are_read_with_their_options_and_what_is_nested() -> None:
    text = "````{admonition} A\n:class: x y\n\n```{exercise} B\n:label: b\n\nC\n```\n````\n"
    outer, inner = directives(text)
    assert (outer.name, outer.argument, outer.options) == ("admonition", "A", {"class": "x y"})
    assert (inner.name, inner.argument, inner.options) == ("exercise", "B", {"label": "b"})
