"""SelectiveTuner: a pyramid of eight, four and two units; up, the winner, down along what made it win, and up again."""

from typing import Any, ClassVar

import torch

from attnlib.brain.selective_tuning import Layer, selective_tuning
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.stepper import Stepper
from attnlib.widgets.text import number
from attnlib.widgets.traits import Array, Number, Output, Whole

__all__ = ["PRESETS", "STEPS", "SelectiveTuner"]

STEPS = ["Up", "Winner", "Down", "Down", "Up again"]  # ``step`` counts what was done after the first
_TOP = ["left", "right"]
_PLAIN: dict[str, Any] = {"bias": [1.0, 1.0], "share": 1.0, "step": 3}

PRESETS = [
    preset(
        "A distractor",
        "The winner on the left answers 1.40, to a target of 0.90 and a distractor of 0.50 in its window: take the "
        "last step and see what it answers when the distractor is silenced.",
        **{**_PLAIN, "stimuli": [0.0, 0.9, 0.0, 0.5, 0.0, 0.6, 0.0, 0.2]},
    ),
    preset(
        "A task: right",
        "The same display, but what the right unit answers counts double: the beam has moved, though no answer has "
        "changed.",
        **{**_PLAIN, "stimuli": [0.0, 0.9, 0.0, 0.5, 0.0, 0.6, 0.0, 0.2], "bias": [1.0, 2.0]},
    ),
    preset(
        "Two beat one",
        "The largest input is number 0, and the beam ends elsewhere: two smaller ones share a window, and their sum "
        "wins the first step down.",
        **{**_PLAIN, "stimuli": [0.8, 0.0, 0.5, 0.6, 0.0, 0.3, 0.3, 0.0]},
    ),
    preset(
        "A wider beam",
        "Whatever gives half as much as the largest passes too, so both parts of a target stay, and the small "
        "distractor beside them goes: raise θ to 1 and lose a part.",
        **{**_PLAIN, "stimuli": [0.9, 0.7, 0.0, 0.3, 0.0, 0.0, 0.4, 0.0], "share": 0.5},
    ),
]


class SelectiveTuner(Stepper):
    """Selective tuning on eight inputs, a step at a time; each unit above adds up two units below.

    Args:
        stimuli: the eight inputs, from 0 to 1.
        bias: what the task wants, a factor for each of the two units at the top, from 0 to 4.
        share: θ, with what part of the largest contribution to a unit another one passes too, above 0 to 1.
        step: what is done, from 0 (the first pass up) to 4 (the second).
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are those of ``attnlib.brain.selective_tuning`` whichever the step: ``first``, ``second``, ``passes``
    and ``inhibited``, each a list a level with the inputs first, and ``winner``, -1 for none.

    >>> tuner = SelectiveTuner()
    >>> tuner.first[2], tuner.second[2]
    ([1.4, 0.8], [0.9, 0.8])
    """

    stimuli = Array((8,), [0.0, 0.9, 0.0, 0.5, 0.0, 0.6, 0.0, 0.2], least=0, most=1)
    bias = Array((2,), [1.0, 1.0], least=0, most=4)
    share = Number(1.0, above=0, most=1)
    step = Whole(3, most=len(STEPS) - 1)
    presets = Presets(PRESETS)
    first = Output("the answers of each level, undisturbed")
    second = Output("the answers with the inhibit zone silenced")
    winner = Output("the place of the winner at the top, -1 for none")
    passes = Output("which units of each level are in the pass zone")
    inhibited = Output("which are in the inhibit zone")

    data: ClassVar = {"layers": [{"weight": [1, 1], "stride": 2}] * 2, "steps": STEPS}
    sample: ClassVar = {"stimuli": [0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2]}

    def _count(self) -> int:
        return int(self.step)

    def _at(self, count: int) -> dict[str, Any]:
        return {"step": min(count, len(STEPS) - 1)}

    def _now(self) -> dict[str, Any]:
        def row(values: list[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float64).view(1, 1, -1)

        layers = [Layer(row(each["weight"]).unsqueeze(0), each["stride"]) for each in self.data["layers"]]
        found = selective_tuning(row(self.stimuli), layers, bias=row(self.bias), share=self.share)
        parts = ("first", "second", "passes", "inhibited")
        lists = {part: [level.flatten().tolist() for level in getattr(found, part)] for part in parts}
        return {**lists, "winner": int(found.winner[-1])}

    def summary(self) -> str:
        """The step, the answers at the top, the winner, and where its beam ends."""
        told = f"step {self.step} of {len(STEPS) - 1}: {' and '.join(map(self._told, (0, 1)))}"
        if self.winner < 0:
            return f"{told}; nobody wins"
        ends = _listed(self.passes[0])
        silent = f"inputs {_listed(self.inhibited[0])}, middle units {_listed(self.inhibited[1])}"
        after = number(self.second[2][self.winner])
        return f"{told}; {_TOP[self.winner]} wins, beam to {ends}; inhibited: {silent}; second answer {after}"

    def _told(self, unit: int) -> str:
        return f"{_TOP[unit]} answers {number(self.first[2][unit])}, bias {number(self.bias[unit])}"


def _listed(flags: list[bool]) -> str:
    return ", ".join(str(i) for i, on in enumerate(flags) if on) or "none"
