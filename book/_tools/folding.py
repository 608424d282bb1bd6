"""Which code cells are folded, by rule: what draws, records, trains, measures or checks is not what a page teaches."""

import ast
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

sys.path.insert(0, str(Path(__file__).parent))
import provenance

OPEN, SHUT, HIDDEN = "core", "fold", "hide-input"
STATIONS = {
    "station-experiment": "Show the code of the experiment",
    "station-cost": "Show the code of the measurement",
    "station-relatives": "Show the equalities, executed",
}
CLAIM, FIGURE = "Show the code of the claim", "Show the code of the figure"
TRAINING, OTHER = "Show the code of the training", "Show the code"
TRAINERS = {"descend", "fit"}


def fold(notebook: NotebookNode) -> NotebookNode:
    """Fold the cells that the rule names, on the page and in JupyterLab, under a line that says what is in them.

    A code cell is folded when it records a claim (``claims.record``), draws a figure (anything of ``plotting``), trains
    (calls ``descend`` or ``fit``, or steps an optimizer after ``backward``), or stands in the stations of the
    experiment, the cost or the relatives. Not folded: a widget; what stands in the exercises, whose solutions are
    folded whole; and a cell that its author has tagged ``core``, because the page teaches its code. An author may fold
    another cell by the tag ``fold``, with a line of its own in ``mystnb.code_prompt_show``. The tag ``hide-input``,
    ``jupyter.source_hidden`` and all other lines are the rule's: set by hand they are lost.
    """
    station = ""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        station = next((tag for tag in tags if tag.startswith("station-")), station)
        if cell.cell_type == "code":
            _mark(cell, "" if station == "station-exercises" and SHUT not in tags else line(cell, station))
    return notebook


def line(cell: NotebookNode, station: str) -> str:
    """What a folded cell says is in it; nothing where it stays open."""
    tags = cell.metadata.get("tags", [])
    if OPEN in tags or "widget" in tags or not cell.source.strip():
        return ""
    if SHUT in tags:
        own = cell.metadata.get("mystnb", {}).get("code_prompt_show", OTHER)
        return OTHER if own in {CLAIM, FIGURE, TRAINING, *STATIONS.values()} else str(own)
    return _purpose(cell) or STATIONS.get(station, "")


def _purpose(cell: NotebookNode) -> str:
    """Its line by what it calls; a claim before a figure before a training."""
    code = ast.parse(provenance.cells({"cells": [cell]}))
    calls = [node.func for node in ast.walk(code) if isinstance(node, ast.Call)]
    dotted = {ast.unparse(function) for function in calls if isinstance(function, ast.Name | ast.Attribute)}
    last = {name.rpartition(".")[2] for name in dotted}
    if "claims.record" in dotted:
        return CLAIM
    if any(name.startswith("plotting.") for name in dotted):
        return FIGURE
    return TRAINING if last & TRAINERS or last >= {"backward", "step"} else ""


def _mark(cell: NotebookNode, told: str) -> None:
    """Write the line into the cell's metadata, or take it out."""
    tags = [tag for tag in cell.metadata.get("tags", []) if tag != HIDDEN] + [HIDDEN] * bool(told)
    options = {k: v for k, v in cell.metadata.get("mystnb", {}).items() if k != "code_prompt_show"}
    options |= {"code_prompt_show": told} if told else {}
    marks = {"tags": tags, "mystnb": options, "jupyter": {"source_hidden": True} if told else {}}
    for name, value in marks.items():
        cell.metadata.pop(name, None)
        if value:
            cell.metadata[name] = nbformat.from_dict(value)
