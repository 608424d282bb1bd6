"""HopsAndPenalty: five hops over a review, trained with a penalty of one size or another."""

import json
from pathlib import Path
from typing import Any, ClassVar

import torch

from attnlib.output_representations.structured_self import penalty
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import share
from attnlib.widgets.traits import Output, Whole

__all__ = ["PRESETS", "STORE", "HopsAndPenalty"]

STORE = Path(__file__).with_suffix(".json")  # maps and means; book/experiments/hops.py writes it
_STORED: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
COEFFICIENTS = _STORED["coefficients"]
HOPS = len(_STORED["maps"][0][0])

PRESETS = [
    preset(
        "No penalty",
        "Nothing keeps the five hops apart, and their rows are wide and much alike: slide the coefficient up, watch "
        "them part, and keep an eye on the share of right answers.",
        text=0,
        coefficient=0,
        hop=0,
    ),
    preset(
        "Apart",
        "Each hop has its most on another word; four are on a few words, the third is pale over most of them, and "
        "fewer sentences are answered right than without the penalty.",
        text=0,
        coefficient=COEFFICIENTS.index("0.03"),
        hop=0,
    ),
    preset(
        "Too much",
        "With a coefficient of 1 all three reviews are positive with the same probability, 0.57: the network no longer "
        "reads, and its answers are little better than the commoner sign; the hops are on one or two words.",
        text=1,
        coefficient=COEFFICIENTS.index("1"),
        hop=0,
    ),
]


class HopsAndPenalty(PresetWidget):
    """The weights of five hops on a review of ours, for each coefficient that the penalty was trained with.

    Args:
        text: the number of the review.
        coefficient: which of the trained ones, counted from the smallest.
        hop: the row that is looked at.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed of the map that is shown: ``weights`` of the hop, ``penalty``, ``overlap`` (the mean cosine
    of two hops) and ``reach`` (how many words a hop is on: one over its sum of squares, the mean of the hops).

    >>> widget = HopsAndPenalty(coefficient=0)
    >>> len(widget.weights), widget.overlap > HopsAndPenalty(coefficient=3).overlap
    (16, True)
    """

    text = Whole(0, least=0, most=len(_STORED["texts"]) - 1)
    coefficient = Whole(0, least=0, most=len(COEFFICIENTS) - 1)
    hop = Whole(0, least=0, most=HOPS - 1)
    presets = Presets(PRESETS)
    weights = Output("of the hop, one a word")
    penalty = Output("of the map that is shown")
    overlap = Output("the mean cosine of two hops")
    reach = Output("how many words a hop is on, the mean of the hops")

    data: ClassVar = _STORED
    sample: ClassVar = {"coefficient": 2}

    def _compute(self) -> None:
        rows = torch.tensor(_STORED["maps"][self.coefficient][self.text], dtype=torch.float64)
        unit = torch.nn.functional.normalize(rows, dim=-1)
        self.set_trait("weights", rows[self.hop].tolist())
        self.set_trait("penalty", penalty(rows).item())
        self.set_trait("overlap", (((unit @ unit.mT).sum() - HOPS) / (HOPS * (HOPS - 1))).item())
        self.set_trait("reach", (1 / rows.square().sum(-1)).mean().item())

    def summary(self) -> str:
        """Where the hops look most, and how alike they are."""
        words = _STORED["texts"][self.text].split()
        rows = _STORED["maps"][self.coefficient][self.text]
        most = [max(range(len(words)), key=row.__getitem__) for row in rows]
        told = ", ".join(f"{words[s]} {share(row[s])}" for s, row in zip(most, rows, strict=True))
        size = COEFFICIENTS[self.coefficient]
        return f"coefficient {size}: hops most at {told}; overlap {self.overlap:.3f}, penalty {self.penalty:.3f}"
