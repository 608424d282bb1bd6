"""What is counted as in sight, what as all, and that a chapter over its budget is told."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from book._tools import budget, toc
from book._tools.budget import Count

DROPDOWN = "```{admonition} Why two\n:class: dropdown\n\nfive words that are hidden\n\n```python\na = 1\n```\n```"


def page(*cells: object) -> nbformat.NotebookNode:
    return new_notebook(cells=[new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells])


def code(source: str, *tags: str, caption: str = "") -> nbformat.NotebookNode:
    figure = {"mystnb": {"figure": {"caption": caption}}} if caption else {}
    return new_code_cell(source, metadata={"tags": list(tags), **figure})


@pytest.mark.parametrize(
    ("cells", "seen", "everything"),
    [
        (["(label)=\n# A title\n\nThree short words."], (5, 0, 0), (5, 0, 0)),
        (["$a$ of {ref}`Eq. 7 <eq-7>`, [see here](b.md), `x = 1`, {cite:t}`c2015`"], (8, 0, 0), (8, 0, 0)),
        (["(eq-1)=\n$$\na = b \\tag{1} \\\\\nc = d\n$$\n\nword"], (1, 0, 2), (1, 0, 2)),
        (["$$a = b$$\nword"], (1, 0, 1), (1, 0, 1)),
        (["$$\n\\begin{aligned}\na \\\\\nb\n\\end{aligned}\n$$"], (0, 0, 2), (0, 0, 2)),
        (["```{math}\n:label: x\na\n```"], (0, 0, 1), (0, 0, 1)),
        (["```python\na = 1\n\nb = 2\n```"], (0, 2, 0), (0, 2, 0)),
        ([DROPDOWN], (2, 0, 0), (7, 1, 0)),
        (["```{admonition} Note\n:class: tip\n\nseen\n```"], (2, 0, 0), (2, 0, 0)),
        ([f"````{{note}}\nseen\n\n{DROPDOWN}\nseen\n````\nseen"], (5, 0, 0), (10, 1, 0)),
        ([code("a = 1\n\n\n# said\n")], (0, 2, 0), (0, 2, 0)),
        ([code("a = 1", "hide-input", caption="What is shown.")], (3, 0, 0), (3, 1, 0)),
        (
            ["```{exercise}\n:label: e\n\nAsked\n```", "```{solution-start} e\n:class: dropdown\n```", "so it is",
             code("a = 1", caption="one"), "```{solution-end}\n```", "after", code("b = 1")],
            (2, 1, 0), (6, 2, 0),
        ),
        (
            ["```{question} A title\n:kind: number\n:variables: a, b\n\nAsked $x$?\n\n= 2/7\n> 1 : A hint,\nlonger.\n"
             "! Why $$\n```\nseen"],
            (5, 0, 0), (11, 0, 0),
        ),
        (["| a | b |\n|---|---|\n| c | d |"], (4, 0, 0), (4, 0, 0)),
    ],
)  # fmt: skip
def test_what_is_counted(cells: list[object], seen: tuple[int, ...], everything: tuple[int, ...]) -> None:
    assert budget.counted(page(*cells)) == (Count(*seen), Count(*everything))


def test_minutes_are_made_of_all_three() -> None:
    assert Count(2000, 0, 0).minutes == 10
    assert Count(0, 120, 0).minutes == 10
    assert Count(0, 0, 30).minutes == 10
    assert budget.label(page("word " * 2000, code("a = 1\n" * 240, "hide-input"))) == "10 min; with everything open 30"


def test_a_page_over_its_budget_is_told() -> None:
    assert budget.complaints(page("word " * 3500)) == []
    assert budget.complaints(page("word " * 4000)) == ["4,000 words in sight, more than 3,500"]
    assert budget.complaints(page("word", code("a = 1\n" * 120))) == []
    assert budget.complaints(page(code("a = 1\n" * 121))) == ["121 lines of code in sight, more than 120"]
    (told,) = budget.complaints(page("word " * 3000, "$$\n" + "a \\\\\n" * 80 + "$$"))
    assert re.fullmatch(r"4\d minutes in sight, more than 35", told)


CARD = "# Title\n\n```{admonition} Card\n:class: card\n\n**Cost**\n: Linear.\n```\n\nAfter it."


def test_the_card_says_the_times_and_nothing_else_changes() -> None:
    notebook = page("before", CARD, "```{admonition} Card\n:class: note\n\nno card\n```")
    made = budget.on_card(nbformat.from_dict(notebook))
    entry = "\n\n**Reading time**\n: 0 min; with everything open 0.\n```"
    assert made["cells"][1]["source"] == CARD.replace("\n```\n", entry + "\n")
    assert [made["cells"][i] for i in (0, 2)] == [notebook.cells[i] for i in (0, 2)]


def test_a_page_without_a_card_stays() -> None:
    notebook = page("text")
    assert budget.on_card(nbformat.from_dict(notebook)) == notebook


@pytest.mark.parametrize("path", toc.notebooks(), ids=lambda path: path.stem)
def test_every_card_of_the_book_gets_its_times(path) -> None:
    notebook = nbformat.read(path, as_version=4)
    has_card = any(":class: card" in cell.source for cell in notebook.cells)
    made = budget.on_card(notebook)
    assert sum("**Reading time**" in cell["source"] for cell in made["cells"]) == has_card
