"""The family of the plane: keys are points, queries are dragged, a score stands between them (``js/plane.js``)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attnlib import scores
from attnlib.widgets.presets import PresetWidget
from attnlib.widgets.traits import Array, Number, Texts

__all__ = ["FARTHEST", "IDENTITY", "PlaneWidget", "points", "tensor"]

IDENTITY = [[1.0, 0.0], [0.0, 1.0]]
FARTHEST: dict[str, Any] = {
    "least": -1e9,
    "most": 1e9,
}  # squares and sums of such numbers are far from the largest float


def tensor(rows: Any) -> Tensor:
    """In the precision of the page."""
    return torch.as_tensor(rows, dtype=torch.float64)


def points(rows: list[list[float]], **rules: Any) -> Array:
    """A trait of points, one a row; as many as keys."""
    return Array(("n", 2), rows, **{**FARTHEST, **rules})


class PlaneWidget(PresetWidget):
    """Keys with names, and the parameters of all scores."""

    key = points([[1.0, 0.0]], help="the keys, one a row")
    labels = Texts(["A"], shape=("n",), help="a name for each key")
    scale = Number(0.7071, above=0, most=1e9, help="s, factor of the scaled dot product; here 1/√2")
    width = Number(1.0, least=1e-3, most=1e9, help="h of the Gaussian kernel")
    weight = Array((2, 2), IDENTITY, **FARTHEST, help="W of the general scores")
    bias = Array((2,), [0.0, 0.0], **FARTHEST, help="b of the biased general and of the additive score")
    offset = Number(0.0, **FARTHEST, help="the scalar bias of the activated general score")
    vector = Array((2,), [1.0, 1.0], **FARTHEST, help="v of the additive score")
    query_weight = Array((2, 2), IDENTITY, **FARTHEST, help="W1 of the additive score")
    key_weight = Array((2, 2), IDENTITY, **FARTHEST, help="W2 of the additive score")

    def __init__(self, **state: Any) -> None:
        if "key" in state:
            count = len(state["key"]) if hasattr(state["key"], "__len__") else 0
            state = {**self._beside(count, state), **state}
        super().__init__(**state)

    def _beside(self, count: int, state: Mapping[str, Any]) -> dict[str, Any]:
        """What keys of one's own bring with them where it is not given."""
        return {"labels": [f"k{i + 1}" for i in range(count)]}

    def _score(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        """The score of this name with the parameters as they stand."""
        weight, bias = tensor(self.weight), tensor(self.bias)
        learned: dict[str, Any] = {"query_weight": tensor(self.query_weight), "key_weight": tensor(self.key_weight)}
        table: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "dot": scores.dot,
            "scaled dot": partial(scores.scaled_dot, scale=self.scale),
            "similarity": scores.similarity,
            "general": partial(scores.general, weight=weight),
            # The library's biased general maps the query into the keys' space: its weight is (d_k, d_q).
            "biased general": partial(scores.biased_general, weight=weight, bias=bias),
            "activated general": partial(scores.activated_general, weight=weight, bias=tensor(self.offset)),
            "additive": partial(scores.additive, vector=tensor(self.vector), **learned, bias=bias),
            "gaussian": partial(scores.gaussian, width=self.width),
        }
        return table[name]
