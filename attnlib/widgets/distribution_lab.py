"""DistributionLab: three logits, four distributions, and where their weights lie on the simplex."""

from typing import Any, ClassVar

import torch

from attnlib.distributions import entmax, sigmoid, softmax, sparsemax
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import share
from attnlib.widgets.traits import Array, Choice, Flag, Number, Output

__all__ = ["PRESETS", "DistributionLab"]

_COOL: dict[str, Any] = {"temperature": 1.0, "alpha": 1.5, "path": "temperature", "wide": False}

PRESETS = [
    preset(
        "One cut off",
        "Entmax 1.5 still keeps 8 % for C, sparsemax gives it exactly 0: raise α from 1.5 to 2 and watch where the "
        "path meets the edge.",
        **{**_COOL, "logits": [1.0, 0.8, 0.1], "path": "alpha"},
    ),
    preset(
        "Two survive",
        "Softmax leaves A 5 %, entmax and sparsemax give it exactly 0: lower A further and these two do not move "
        "at all.",
        **{**_COOL, "logits": [-2.0, 0.0, 0.5]},
    ),
    preset(
        "A tie",
        "However cold it gets, no path reaches a corner: equal logits get equal weights, and all three paths end in "
        "the middle of the edge between A and B.",
        **{**_COOL, "logits": [1.0, 1.0, 0.0]},
    ),
    preset(
        "A gap above T",
        "A leads B by more than T, so sparsemax gives A everything: a small change of any logit changes nothing, and "
        "no gradient comes through.",
        **{**_COOL, "logits": [1.3, 0.2, 0.0]},
    ),
    preset(
        "Shifted by 2",
        "These are the logits of “One cut off” plus 2: nothing moves on the simplex, and only sigmoid can tell the "
        "difference.",
        **{**_COOL, "logits": [3.0, 2.8, 2.1], "path": "alpha"},
    ),
]


class DistributionLab(PresetWidget):
    """Three logits and the weights that softmax, entmax, sparsemax and sigmoid make of them.

    The picture is the plane of logits seen along (1, 1, 1): the simplex is a triangle in it, sparsemax the nearest
    point of the triangle, a temperature a place on a ray from its middle.

    Args:
        logits: three numbers from -5 to 5.
        temperature: above 0; every distribution sees ``logits / temperature``.
        alpha: of entmax, above 1.
        path: ``"temperature"`` or ``"alpha"``, what moves along the drawn path.
        wide: show more of the plane around the simplex.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs ``softmax``, ``entmax``, ``sparsemax`` and ``sigmoid`` are lists of three weights, recomputed in float64
    with ``attnlib.distributions`` after every change.

    >>> lab = DistributionLab(logits=[-2.0, 0.0, 0.5])
    >>> lab.sparsemax
    [0.0, 0.25, 0.75]
    """

    logits = Array((3,), [1.0, 0.8, 0.1], least=-5, most=5)
    temperature = Number(1.0, above=0)
    alpha = Number(1.5, above=1)
    path = Choice(("temperature", "alpha"), "temperature")
    wide = Flag(False)
    presets = Presets(PRESETS)
    softmax = Output("weights under softmax")
    entmax = Output("weights under entmax with this alpha")
    sparsemax = Output("weights under sparsemax")
    sigmoid = Output("weights under sigmoid; they need not sum to one")

    sample: ClassVar = {"logits": [0.25, 0.5, 0.75]}

    def _compute(self) -> None:
        logits = torch.tensor(self.logits, dtype=torch.float64)
        made = {
            "softmax": softmax(logits, temperature=self.temperature),
            "entmax": entmax(logits, alpha=self.alpha, temperature=self.temperature),
            "sparsemax": sparsemax(logits, temperature=self.temperature),
            "sigmoid": sigmoid(logits, temperature=self.temperature),
        }
        for name, weights in made.items():
            self.set_trait(name, weights.tolist())

    def summary(self) -> str:
        """The weights in words."""
        every = {
            "softmax": self.softmax,
            f"entmax (α = {self.alpha:g})": self.entmax,
            "sparsemax": self.sparsemax,
            "sigmoid": self.sigmoid,
        }
        told = (f"{name} {', '.join(map(share, weights))}" for name, weights in every.items())
        logits = ", ".join(f"{value:g}" for value in self.logits)
        return f"logits ({logits}) at temperature {self.temperature:g}: {'; '.join(told)}"
