"""FindTheBug: attention out of the museum, without its name, and the line at fault to be found."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib.museum import find
from attnlib.museum.scores import MATRIX, OTHER, VECTOR
from attnlib.widgets.bugs import CASES, PROPERTIES
from attnlib.widgets.presets import PresetWidget
from attnlib.widgets.text import share
from attnlib.widgets.traits import Array, Flag, Output, StateError, Whole

__all__ = ["KEYS", "MASK", "FindTheBug", "judged", "weights_of"]

KEYS = [[2.9, 0.8], [1.2, 2.5], [-2.6, 1.5], [-1.0, -2.8], [2.3, -1.9]]
MASK = [[True, True, True, True, False]] * 4  # the last key is hidden from all
FEATURES = 8  # of a query and a key; those that the plane does not show are nought


def _wide(points: list[list[float]]) -> Tensor:
    return torch.nn.functional.pad(torch.tensor(points, dtype=torch.float64), (0, FEATURES - 2))[None]


def weights_of(name: str, query: list[list[float]], *, right: bool = False) -> list[list[float]]:
    """The weights that an exhibit gives to the keys of the plane, or those without its fault.

    >>> weights_of("softmax over one item", [[0.0, 0.0]] * 4)[0]
    [1.0, 1.0, 1.0, 1.0, 0.0]
    """
    exhibit = find(name)
    parts = _wide(query), _wide(KEYS), _wide(KEYS), torch.tensor([MASK])
    found: list[list[float]] = (exhibit.right if right else exhibit.wrong)(*parts)[1][0].tolist()
    return found


def _told(weight: float) -> str:
    return "NaN" if math.isnan(weight) else share(weight)


def judged(case: dict[str, Any], accused: list[int]) -> tuple[str, str]:
    """What is said to an accusation: ``"right"`` and why, ``"wrong"`` and a hint, or nothing to none.

    >>> judged({"fault": 1, "why": "So.", "hints": ["Look.", ""]}, [0])
    ('wrong', 'Look.')
    """
    if not accused:
        return "", ""
    (line,) = accused
    return ("right", case["why"]) if line == case["fault"] else ("wrong", case["hints"][line])


class FindTheBug(PresetWidget):
    """Eight exhibits of the museum: queries to move, properties to ask for, a line to accuse.

    Args:
        index: which exhibit, from 0.
        query: four queries, points of the plane.
        row: the query that is looked at.
        asked: the properties that were asked for, by their numbers.
        accused: the line that was accused, from 0; empty for none yet.
        beside: whether the weights without the fault stand beside.
        solved: the exhibits whose fault was found.

    The outputs: the ``weights``, which properties ``failed`` of those asked for, the ``verdict``, ``"right"``,
    ``"wrong"`` or nothing, and what is ``said`` to it.

    >>> widget = FindTheBug(asked=[0, 4], accused=[1])
    >>> widget.failed, widget.verdict
    (['hidden weight'], 'right')
    """

    index = Whole(0, most=len(CASES) - 1)
    query = Array((4, 2), [[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, -3.0]], least=-4, most=4)
    row = Whole(0, most=3)
    asked = Whole([], most=len(PROPERTIES) - 1, shape=(("", 0, len(PROPERTIES)),))
    accused = Whole([], shape=(("", 0, 1),))
    beside = Flag(False)
    solved = Whole([], most=len(CASES) - 1, shape=(("", 0, len(CASES)),))
    weights = Output("of each query")
    failed = Output("of the properties asked for, those that do not hold")
    verdict = Output("right, wrong or nothing yet")
    said = Output("why it is right, or a hint")

    data: ClassVar = {
        "cases": CASES, "properties": list(PROPERTIES.items()), "key": KEYS, "mask": MASK, "features": FEATURES,
        "numbers": {"matrix": MATRIX.tolist(), "other": OTHER.tolist(), "vector": VECTOR.tolist()},
    }  # fmt: skip
    sample: ClassVar = {"index": 3, "asked": [1]}

    def _check(self, state: dict[str, Any]) -> None:
        lines = CASES[state["index"]]["lines"]
        if any(line >= len(lines) for line in state["accused"]):
            raise StateError(
                f"accused must be a line of this exhibit, from 0 to {len(lines) - 1}; got {state['accused']}"
            )
        for name in ("asked", "solved"):
            if len(set(state[name])) < len(state[name]):
                raise StateError(f"{name} must hold each number once; got {state[name]}")

    def _compute(self) -> None:
        case = CASES[self.index]
        asked = [name for i, name in enumerate(PROPERTIES) if i in self.asked]
        verdict, said = judged(case, self.accused)
        self.set_trait("weights", weights_of(case["name"], self.query))
        self.set_trait("failed", [name for name in asked if name in case["fails"]])
        self.set_trait("verdict", verdict)
        self.set_trait("said", said)

    def summary(self) -> str:
        """The exhibit by its number, a row of its weights, what was asked and what was said."""
        row = ", ".join(f"k{j + 1} {_told(weight)}" for j, weight in enumerate(self.weights[self.row]))
        told = [f"Exhibit {self.index + 1} of {len(CASES)}: q{self.row + 1} gives {row}; k5 is hidden"]
        told += [f"{says} {'No' if name in self.failed else 'Yes'}" for i, (name, says) in enumerate(PROPERTIES.items())
                 if i in self.asked]  # fmt: skip
        return ". ".join([*told, *([self.said] if self.said else [])])
