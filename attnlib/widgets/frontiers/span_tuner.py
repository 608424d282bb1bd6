"""SpanTuner: what a span leaves of the softmax, and what halting probabilities make of steps."""

import math
from typing import Any, ClassVar

import torch

from attnlib import attend
from attnlib.frontiers.adaptive import adaptive_span, ponder, span_shares
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number, share
from attnlib.widgets.traits import Array, Choice, Number, Output

__all__ = ["PRESETS", "SpanTuner"]

_NEUTRAL: dict[str, Any] = {
    "energies": [0.5, 1.0, 0.0, 0.3, 0.0, 0.2, 2.5, 0.0, 0.4, 0.0, 0.0, 0.0],
    "span": 4.0,
    "ramp": 4.0,
    "halting": [0.4, 0.4, 0.4, 0.4, 0.4, 0.4],
    "form": "paper",
}
_FAR_ABOVE = [0.5, 1.0, 0.0, 0.3, 0.0, 0.2, 40.0, 0.0, 0.4, 0.0, 0.0, 0.0]


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """A preset that leaves nothing as it was."""
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "A key on the ramp",
        "The key six places back matches best and is half let through: push z to and fro and its weight follows, "
        "without a jump.",
    ),
    _preset(
        "Beyond the ramp",
        "The key six places back matches best and lies beyond z + R = 4: its weight is nought, and a small push of z "
        "leaves it so.",
        span=2.0,
        ramp=2.0,
    ),
    _preset(
        "Cut, not divided again",
        "The softmax is taken first and then cut, and the part that is cut is lost: the weights sum to less than one.",
        form="not divided",
    ),
    _preset(
        "The authors' code",
        "Softmax, cut, then divided by what is left plus 0.00000001: the key beyond has taken all, so the weights sum "
        "to almost nothing; choose the paper's form and they sum to one.",
        form="code",
        energies=_FAR_ABOVE,
        span=2.0,
        ramp=2.0,
    ),
    _preset(
        "Halting: what remains",
        "Two steps of 0.4 are not enough and a third is too much, so the third step gets the 0.2 that remains.",
        form="halting",
    ),
    _preset(
        "Halting: a jump",
        "The first two sum to 0.98, just short of the 0.99 that is enough: raise the second by 0.01 and the cost "
        "falls from 3.02 to 2.5.",
        form="halting",
        halting=[0.5, 0.48, 0.4, 0.4, 0.4, 0.4],
    ),
]


class SpanTuner(PresetWidget):
    """A head's span over one row of energies, or the halting probabilities of one element.

    ``energies`` are by distance from the query, its own place first. ``form``: ``"paper"`` (the energies are cut by
    the shares and then divided), ``"not divided"`` (a softmax that is cut), ``"code"`` (that, divided by its sum plus
    1e-8), or ``"halting"``, which looks at ``halting`` alone. Outputs are computed in float64 by
    :mod:`attnlib.frontiers.adaptive`: ``weights``, one a key or step; ``cost``, the ponder cost or the number of keys
    that are let through.

    >>> tuner = SpanTuner(energies=[0.0] * 4, span=1.0, ramp=2.0)
    >>> tuner.weights, tuner.cost
    ([0.4, 0.4, 0.2, 0.0], 3.0)
    """

    energies = Array((("n", 3, 16),), _NEUTRAL["energies"], least=-1e3, most=1e3, help="the nearest key first")
    span = Number(_NEUTRAL["span"], least=0, most=99, help="z, in places")
    ramp = Number(_NEUTRAL["ramp"], least=0.1, most=99, help="R, in places")
    halting = Array((("steps", 1, 12),), _NEUTRAL["halting"], least=0, most=1, help="a probability a step")
    form = Choice(("paper", "not divided", "code", "halting"), _NEUTRAL["form"])
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")
    weights = Output("one number a key, or a step")
    cost = Output("the ponder cost, or the keys that are let through")

    sample: ClassVar = {"span": 0.25}
    presets_of = ("energies", "halting")

    def _compute(self) -> None:
        if self.form == "halting":
            halting = torch.tensor(self.halting, dtype=torch.float64)
            found = ponder(lambda state, n: (state, halting[n]), torch.zeros(1).double(), max_steps=len(halting))
            told = [*found.weights.tolist(), *[0.0] * (len(halting) - found.weights.shape[-1])]
            self.set_trait("weights", told)
            self.set_trait("cost", found.cost.item())
            return
        shares = span_shares(torch.arange(len(self.energies)).double(), span=self.span, ramp=self.ramp)
        self.set_trait("weights", self._spanned(shares).tolist())
        self.set_trait("cost", float((shares > 0).sum()))

    def _spanned(self, shares: torch.Tensor) -> torch.Tensor:
        key = torch.tensor(self.energies, dtype=torch.float64).unsqueeze(-1)
        query = torch.ones(1, 1, dtype=torch.float64)
        if self.form == "paper":  # the last of the keys is the query's own place
            options: dict[str, Any] = {"ramp": self.ramp, "is_causal": True, "alignment": "lower-right"}
            weights = adaptive_span(query, key.flip(0), span=torch.tensor([[self.span]]).double(), **options).weights
            assert weights is not None
            return weights[0].flip(0)
        weights = attend(query, key).weights
        assert weights is not None
        cut = weights[0] * shares
        return cut / (cut.sum() + 1e-8) if self.form == "code" else cut

    def summary(self) -> str:
        """Span and ramp, or the halting probabilities, and the weights in words."""
        told = ", ".join(share(weight) for weight in self.weights)
        if self.form == "halting":
            given = ", ".join(number(halt) for halt in self.halting)
            return f"halting probabilities {given}: weights {told}; ponder cost {number(self.cost)}"
        where = f"z = {number(self.span)}, R = {number(self.ramp)}"
        return (
            f"{where}, form {self.form}: weights from the nearest key {told}; sum {number(math.fsum(self.weights), 3)}"
        )
