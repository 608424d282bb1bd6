"""LocalWindow: a centre and a width, and what window and Gaussian leave of the softmax."""

import math
from typing import Any, ClassVar

import torch

from attnlib import attend
from attnlib.softness.local import full_weights, local
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import share
from attnlib.widgets.traits import Array, Choice, Flag, Number, Output, Whole

__all__ = ["PRESETS", "LocalWindow"]

_ALIKE = [0.0] * 10
_ONE_STANDS_OUT = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0]
_TWO_ALIKE = [0.2, 2.0, 0.4, 0.0, 0.6, 0.1, 0.3, 2.0, 0.5, 0.0]
_FORM: dict[str, Any] = {"form": "local-p", "half_width": 2, "renormalise": False}

PRESETS = [
    preset(
        "A key at the edge",
        "Key 7 matches best and stands just outside: push p from 4.9 to 5.1 and every weight jumps, though p hardly "
        "moved.",
        **{**_FORM, "logits": _ONE_STANDS_OUT, "centre": 4.9},
    ),
    preset(
        "All keys alike",
        "Every key matches the query as well as any other, so only the Gaussian tells the four in the window apart: "
        "move p and find where the weights sum to most.",
        **{**_FORM, "logits": _ALIKE, "centre": 4.3},
    ),
    preset(
        "Two that match",
        "Keys 1 and 7 match equally well and p decides between them: what is outside the window has no weight at all, "
        "however well it matches.",
        **{**_FORM, "logits": _TWO_ALIKE, "centre": 2.0},
    ),
    preset(
        "The same, global",
        "Global attention has no window and gives keys 1 and 7 the same weight: go back to local-p and bring p to "
        "one of them.",
        **{**_FORM, "logits": _TWO_ALIKE, "centre": 2.0, "form": "global"},
    ),
    preset(
        "Step by step",
        "In local-m the centre is the number of the step and all keys in the window keep their softmax, which sums to "
        "1: walk p along and see key 7 come in at step 5.",
        **{**_FORM, "logits": _TWO_ALIKE, "centre": 3.0, "form": "local-m"},
    ),
    preset(
        "At the end of the sentence",
        "More than half of the window lies beyond the last key and is cut off: move p on to 10, where the formula can "
        "bring it, and see how little is left.",
        **{**_FORM, "logits": _ALIKE, "centre": 9.4},
    ),
]


class LocalWindow(PresetWidget):
    """One row of energies under global attention, local-m or local-p: window, Gaussian, weights and their sum.

    Args:
        logits: the energies of the keys, three at least.
        centre: p, where the window stands, from 0; local-m takes the nearest key for it.
        half_width: D, a whole number from 1 up.
        form: ``"global"``, ``"local-m"`` (no Gaussian) or ``"local-p"``.
        renormalise: make the weights sum to one after the Gaussian.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs ``weights`` (one a key) and ``total`` (their sum) are recomputed in float64 with attnlib.

    >>> window = LocalWindow(logits=[0.0] * 10, centre=4.0, half_width=2)
    >>> [round(weight, 3) for weight in window.weights[2:7]]
    [0.027, 0.121, 0.2, 0.121, 0.027]
    """

    logits = Array((("n", 3, 24),), _ONE_STANDS_OUT)
    centre = Number(4.9, least=-99, most=99)
    half_width = Whole(2, least=1, most=99)
    form = Choice(("global", "local-m", "local-p"), "local-p")
    renormalise = Flag(False)
    presets = Presets(PRESETS)
    weights = Output("the weights over all keys")
    total = Output("their sum")

    sample: ClassVar = {"logits": [0.25, 0.5, 0.75]}

    def _compute(self) -> None:
        key = torch.tensor(self.logits, dtype=torch.float64).unsqueeze(-1)
        query = torch.ones(1, 1, dtype=torch.float64)
        if self.form == "global":
            weights = attend(query, key).weights
        else:
            centre = torch.tensor([self._at()], dtype=torch.float64)
            options: dict[str, Any] = {"gaussian": self.form == "local-p", "renormalise": self.renormalise}
            windowed = local(query, key, centre=centre, half_width=self.half_width, **options).weights
            assert windowed is not None
            weights = full_weights(windowed, centre=centre, n_key=len(self.logits))
        assert weights is not None
        self.set_trait("weights", weights[0].tolist())
        self.set_trait("total", math.fsum(self.weights))

    def _at(self) -> float:
        """The centre as the form has it: in local-m a key of the sentence."""
        if self.form != "local-m":
            return float(self.centre)
        return float(min(max(math.floor(self.centre + 0.5), 0), len(self.logits) - 1))

    def summary(self) -> str:
        """The window and the weights in words."""
        weights = ", ".join(f"{s}: {share(weight)}" for s, weight in enumerate(self.weights) if weight > 0)
        where = "" if self.form == "global" else f" at p = {self._at():g} with D = {self.half_width:g}"
        return f"{self.form}{where}: weights {weights or 'none'}; sum {self.total:.3f}"
