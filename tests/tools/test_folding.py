"""Which cells are folded: by what they call and where they stand, and by the author's two tags."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from book._tools import folding, normal

LOOP = "for _ in range(3):\n    optimizer.zero_grad()\n    loss().backward()\n    optimizer.step()"


def normal_form(*cells: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return list(normal.normalise(new_notebook(cells=list(cells))).cells)


def station(name: str) -> nbformat.NotebookNode:
    return new_markdown_cell(f"## {name}", metadata={"tags": [f"station-{name}"]})


def said(cell: nbformat.NotebookNode) -> str:
    """The line of a cell that is folded everywhere, and nothing of one that is open everywhere."""
    told = cell.metadata.get("mystnb", {}).get("code_prompt_show", "")
    assert ("hide-input" in cell.metadata.get("tags", [])) == bool(told)
    assert cell.metadata.get("jupyter", {}) == ({"source_hidden": True} if told else {})
    return str(told)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("plotting.curves(x, y)", folding.FIGURE),
        ("with plotting.style():\n    canvas, ax = plotting.figure()", folding.FIGURE),
        ("claims.record('x', runs=r, holds=h)", folding.CLAIM),
        ("plotting.bars(a, b)\nclaims.record('x', runs=r, holds=h)", folding.CLAIM),
        ("claims.check(r, claims.above('a', 1))", ""),
        (LOOP, folding.TRAINING),
        ("def taught():\n    " + LOOP.replace("\n", "\n    "), folding.TRAINING),
        ("model = training.fit(model, loss, items)", folding.TRAINING),
        ("descend(parameters, loss, steps=3)", folding.TRAINING),
        ("loss.backward()\nprint(w.grad)", ""),
        ("step = model.step(word, state)", ""),
        ("# plotting.curves() comes later\nprint('claims.record()')", ""),
        ("%matplotlib inline\nplotting.tree('a', {})", folding.FIGURE),
        ("", ""),
    ],
)
def test_a_cell_is_folded_by_what_it_calls(source: str, told: str) -> None:
    _, cell = normal_form(station("in-code"), new_code_cell(source))
    assert said(cell) == told


@pytest.mark.parametrize("name", ["trouble", "derivation", "experiment", "cost", "relatives", "exercises"])
def test_a_cell_is_folded_by_where_it_stands(name: str) -> None:
    _, text, cell = normal_form(station(name), new_markdown_cell("text"), new_code_cell("a = 1"))
    assert said(cell) == folding.STATIONS.get(f"station-{name}", "")
    assert not text.metadata


def test_solutions_are_folded_whole_and_their_cells_are_not() -> None:
    assert [said(cell) for cell in normal_form(station("exercises"), new_code_cell(LOOP))] == ["", ""]


def test_the_author_keeps_a_cell_in_sight_or_folds_one() -> None:
    own = {"tags": ["fold"], "mystnb": {"code_prompt_show": "Show how we count", "image": {"alt": "a"}}}
    _, core, widget, bare, told = normal_form(
        station("experiment"),
        new_code_cell(LOOP, metadata={"tags": ["core"]}),
        new_code_cell("Widget()", metadata={"tags": ["widget"]}),
        new_code_cell("a = 1", metadata={"tags": ["fold", "nbval-ignore-output"]}),
        new_code_cell("class Meter: ...", metadata=own),
    )
    assert [said(cell) for cell in (core, widget)] == ["", ""]
    assert said(bare) == folding.OTHER
    assert bare.metadata.tags == ["fold", "nbval-ignore-output", "hide-input"]
    assert said(told) == "Show how we count"
    assert told.metadata.mystnb["image"] == {"alt": "a"}


def test_what_is_folded_by_hand_is_set_by_the_rule() -> None:
    by_hand = {"tags": ["hide-input"], "jupyter": {"source_hidden": True}, "mystnb": {"code_prompt_show": "Look"}}
    (cell,) = normal_form(new_code_cell("a = 1", metadata=by_hand))
    assert cell.metadata == {}
    (cell,) = normal_form(new_code_cell("plotting.tree('a', {})", metadata=by_hand))
    assert said(cell) == folding.FIGURE


def test_a_cell_that_leaves_the_rule_opens_again() -> None:
    cells = normal_form(station("experiment"), new_code_cell("a = 1"))
    assert said(cells[1]) == folding.STATIONS["station-experiment"]
    cells[0].metadata.tags = ["station-in-code"]
    assert said(normal_form(*cells)[1]) == ""


def test_folding_twice_is_folding_once() -> None:
    cells = [station("cost"), new_code_cell(LOOP), new_code_cell("a = 1", metadata={"tags": ["fold"]})]
    once = normal.normalise(new_notebook(cells=cells))
    assert normal.normalise(nbformat.from_dict(once)) == once
