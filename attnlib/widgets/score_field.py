"""ScoreField: the energy that a query gives to every key of the plane, for each score function."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib import attend, scores
from attnlib.widgets.plane import FARTHEST, IDENTITY, PlaneWidget, points, tensor
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.text import number, pair, share
from attnlib.widgets.traits import Array, Choice, Output, Texts, Whole

__all__ = ["PRESETS", "SCORES", "ScoreField"]

SCORES = (
    "dot", "scaled dot", "similarity", "general", "biased general", "activated general", "additive", "gaussian",
    "location-based",
)  # fmt: skip

_NEUTRAL: dict[str, Any] = {
    "query": [1.5, 0.75],
    "key": [[1.0, 0.5], [2.0, 1.0], [-1.0, 1.6], [-1.8, -1.4], [1.4, -2.0]],
    "labels": ["A", "B", "C", "D", "E"],
    "score": "dot",
    "scale": 0.7071,
    "width": 1.0,
    "weight": IDENTITY,
    "bias": [0.0, 0.0],
    "offset": 0.0,
    "vector": [1.0, 1.0],
    "query_weight": IDENTITY,
    "key_weight": [[1.5, 0.5], [-0.5, 1.5]],
    "position_weight": [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [-0.5, 0.5], [-1.0, 0.0]],
    "position": 0,
}


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "Half planes",
        "Equal energy lies along straight lines across q: A and B both point where q points, yet B's energy is twice "
        "A's, because B is twice as long.",
    ),
    _preset(
        "A wedge",
        "Only the angle to q counts: every ray from the middle has one colour, A and B tie, and making q longer "
        "changes nothing.",
        score="similarity",
    ),
    _preset(
        "Circles",
        "The nearest key wins, not the longest: move q until A and B tie, then make the width small and see the "
        "smallest step decide between them.",
        score="gaussian",
        query=[1.6, 0.1],
    ),
    _preset(
        "Plateaus",
        "Far from the two steps tanh is flat, so all keys out there get nearly the same energy: q moves the steps, and "
        "no key can get more than |v₁| + |v₂|.",
        score="additive",
        query=[-0.6, 0.6],
    ),
    _preset(
        "Looking sideways",
        "W turns the query by a right angle before it is compared: the field follows Wᵀq, not q.",
        score="general",
        weight=[[0.0, 1.0], [-1.0, 0.0]],
    ),
    _preset(
        "A key's own standing",
        "With q at the middle the field is not flat: b prefers keys to the right, whatever is asked for.",
        score="biased general",
        query=[0.0, 0.0],
        bias=[1.0, 0.0],
    ),
    _preset(
        "Held between −1 and 1",
        "However long q is, tanh caps the energies, so under softmax no key gets more than e² = 7.4 times the weight "
        "of another.",
        score="activated general",
    ),
    _preset(
        "Deaf to the keys",
        "The field has one colour: where a key lies counts for nothing, only its position in the list does, and moving "
        "q still changes who wins.",
        score="location-based",
    ),
]


class ScoreField(PlaneWidget):
    """The plane of keys, coloured by the energy f(q, k) of the chosen score, with its parameters to move.

    ``key`` are a few keys, one a row, whose energies and softmax weights are listed: the outputs ``energies`` and
    ``weights``, computed by :func:`attnlib.attend` in float64. ``position_weight``, one row a key, is of the
    location-based score, whose field is that of the key in ``position``.

    >>> field = ScoreField(score="dot", query=[1, 2], key=[[3, 4], [0, 1]], labels=["A", "B"])
    >>> field.energies
    [11.0, 2.0]
    """

    query = Array((2,), _NEUTRAL["query"], **FARTHEST, help="the query")
    key = points(_NEUTRAL["key"], help="a few keys, one a row")
    labels = Texts(_NEUTRAL["labels"], shape=("n",), help="a name for each key")
    score = Choice(SCORES, _NEUTRAL["score"])
    key_weight = Array((2, 2), _NEUTRAL["key_weight"], **FARTHEST, help="W2 of the additive score")
    position_weight = points(_NEUTRAL["position_weight"], help="of the location-based score, one row a key")
    position = Whole(0, below="key", help="index of the key whose energy the location-based field shows")
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")
    energies = Output("one number a key")
    weights = Output("softmax of the energies")

    sample: ClassVar = {"query": [0.25, 0.5]}

    def _beside(self, count: int, state: Mapping[str, Any]) -> dict[str, Any]:
        around = [[math.cos(i), math.sin(i)] for i in range(count)]
        return {**super()._beside(count, state), "position_weight": around or [[1.0, 0.0]]}

    def _score(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        if name == "location-based":
            return partial(scores.location_based, weight=tensor(self.position_weight))
        return super()._score(name)

    def _compute(self) -> None:
        _, weights, energies = attend(tensor([self.query]), tensor(self.key), score=self._score(self.score))
        assert weights is not None
        assert energies is not None
        self.set_trait("energies", energies[0].tolist())
        self.set_trait("weights", weights[0].tolist())

    def field(self, places: Any) -> Tensor:
        """Energies of keys at ``places`` ``(place, 2)``, in float64."""
        if self.score == "location-based":
            return torch.full((len(places),), self.energies[self.position], dtype=torch.float64)
        return self._score(self.score)(tensor([self.query]), tensor(places))[0]

    def summary(self) -> str:
        """The score, the query, and what each key gets."""
        rows = zip(self.labels, self.energies, self.weights, strict=True)
        told = ", ".join(f"{label} {number(energy)} and {share(weight)}" for label, energy, weight in rows)
        return f"{self.score} score of the query {pair(self.query)}; energies and softmax weights of the keys: {told}"
