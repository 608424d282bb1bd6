"""MapReader: eight maps, and of each a question that can be answered by reading it."""

import json
import math
from pathlib import Path
from typing import Any, ClassVar

from attnlib.widgets.map_questions import KINDS, QUESTIONS
from attnlib.widgets.presets import PresetWidget
from attnlib.widgets.text import share
from attnlib.widgets.traits import Output, StateError, Text, Whole

__all__ = ["MAPS", "STORE", "MapReader", "judged"]

STORE = Path(__file__).with_suffix(".json")  # the maps; book/experiments/reading_maps.py writes them
MAPS: list[dict[str, Any]] = json.loads(STORE.read_text(encoding="utf-8"))["maps"]


def judged(question: dict[str, Any], answer: list[int]) -> tuple[str, str]:
    """What is said to an answer: ``"right"`` and why, ``"wrong"`` and a hint, or nothing to none.

    >>> judged({"right": [1], "why": "So.", "hints": [{"to": [-1], "said": "Look."}]}, [2])
    ('wrong', 'Look.')
    """
    if not answer:
        return "", ""
    if answer == question["right"]:
        return "right", question["why"]
    met = (
        hint["said"]
        for hint in question["hints"]
        if all(place in (-1, given) for place, given in zip(hint["to"], answer, strict=True))
    )
    return "wrong", next(met)


class MapReader(PresetWidget):
    """Eight maps from this book, and of each a question about what may be read off it, with hints for wrong answers.

    Args:
        index: which map, from 0.
        row: the row that is looked at.
        column: the column that is looked at.
        matrix: the name of the matrix that is shown, where a map has several; empty for the first.
        answer: what was answered: the number of a choice, a row, or a row and a column; empty for nothing yet.
        solved: the maps whose questions were answered.

    The outputs: the ``verdict``, ``"right"``, ``"wrong"`` or nothing, and what is ``said`` to it; the ``weight`` of the
    cell, ``row_sum`` and ``column_sum``.

    >>> reader = MapReader(index=6, row=0, column=2, answer=[2])
    >>> reader.verdict, reader.said
    ('wrong', '0.37 lies on “cat”, and more, 0.44, under the circle.')
    """

    index = Whole(0, most=len(QUESTIONS) - 1)
    row = Whole(0)
    column = Whole(0)
    matrix = Text("")
    answer = Whole([], shape=(("", 0, 2),))
    solved = Whole([], most=len(QUESTIONS) - 1, shape=(("", 0, len(QUESTIONS)),))
    verdict = Output("right, wrong or nothing yet")
    said = Output("why it is right, or a hint")
    weight = Output("of the cell")
    row_sum = Output("of the row")
    column_sum = Output("of the column")

    data: ClassVar = {"questions": [{**q, "sentence": m} for q, m in zip(QUESTIONS, MAPS, strict=True)]}
    sample: ClassVar = {"index": 3}

    def _check(self, state: dict[str, Any]) -> None:
        shown, question = MAPS[state["index"]], QUESTIONS[state["index"]]
        for trait, names in (("row", shown["rows"]), ("column", shown["columns"])):
            if state[trait] >= len(names):
                raise StateError(f"{trait} must be at most {len(names) - 1} on this map; got {state[trait]}")
        names = ["", *(each["name"] for each in shown["matrices"])]
        if state["matrix"] not in names:
            raise StateError(f"matrix must be one of {', '.join(names[1:])}; got {state['matrix']!r}")
        bounds = {"choice": [len(question["choices"])], "row": [len(shown["rows"])]}
        most = bounds.get(question["kind"], [len(shown["rows"]), len(shown["columns"])])
        given = state["answer"]
        if given and (len(given) != KINDS[question["kind"]] or any(a >= b for a, b in zip(given, most, strict=True))):
            raise StateError(f"answer must be a {question['kind']} of this map; got {given}")
        if len(set(state["solved"])) < len(state["solved"]):
            raise StateError(f"solved must name each map once; got {state['solved']}")

    def _compute(self) -> None:
        shown = MAPS[self.index]
        weights = next(m["weights"] for m in shown["matrices"] if self.matrix in ("", m["name"]))
        verdict, said = judged(QUESTIONS[self.index], self.answer)
        self.set_trait("verdict", verdict)
        self.set_trait("said", said)
        self.set_trait("weight", weights[self.row][self.column])
        self.set_trait("row_sum", math.fsum(weights[self.row]))
        self.set_trait("column_sum", math.fsum(row[self.column] for row in weights))

    def summary(self) -> str:
        """The question, the cell, and what was said."""
        shown, question = MAPS[self.index], QUESTIONS[self.index]
        cell = f"“{shown['rows'][self.row]}” {question['between']} “{shown['columns'][self.column]}”"
        sums = f"the row sums to {share(self.row_sum)}, the column to {share(self.column_sum)}"
        told = f"Map {self.index + 1} of {len(MAPS)}, {question['name'].lower()}: {question['asks']}"
        return f"{told} {cell}: {share(self.weight)}; {sums}{'. ' * bool(self.said)}{self.said}"
