"""QueryTuner: drag a query through the plane of keys and values and watch energies, weights and context follow."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch

from attnlib import attend, distributions
from attnlib.widgets.plane import FARTHEST, PlaneWidget, points, tensor
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.text import pair, share
from attnlib.widgets.traits import Array, Choice, Flag, Number, Output, Texts, Whole, plain

__all__ = ["PRESETS", "QueryTuner"]

_NEUTRAL: dict[str, Any] = {
    "query": [[1.2, 0.9]],
    "selected": 0,
    "key": [[2.0, 0.6], [-0.9, 1.9], [-0.7, -1.8]],
    "value": [[2.3, -1.7], [1.0, 2.6], [-2.5, 0.4]],
    "labels": ["A", "B", "C"],
    "mask": [True, True, True],
    "score": "scaled dot",
    "scale": 0.7071,
    "distribution": "softmax",
    "temperature": 1.0,
    "alpha": 1.5,
    "keys_only": False,
}


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """A preset that leaves nothing as it was."""
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "Keys find, values answer",
        "Drag q towards a key: its weight grows, and the context moves to that key's value, not to the key.",
    ),
    _preset(
        "A long key wins",
        "q points straight at A, yet B takes most of the weight, because the dot product pays for length: "
        "choose cosine similarity and A wins.",
        query=[[1.6, 1.6]],
        key=[[0.7, 0.7], [2.9, 0.5], [-1.5, 1.2]],
        score="dot",
        temperature=0.5,
    ),
    _preset(
        "Sparsemax drops a key",
        "C's weight is exactly 0, so its value has no say: choose softmax and C comes back, small but never 0.",
        query=[[0.8, 0.9]],
        distribution="sparsemax",
    ),
    _preset(
        "A scale that saturates",
        "With scale 12 one key holds nearly all the weight and small moves of q change nothing: "
        "bring the scale to 0.71 = 1/√2 and the context follows q again.",
        query=[[0.2, 1.5]],
        scale=12.0,
    ),
    _preset(
        "Two queries, one memory",
        "Both queries read the same keys and values, and each gets a row of weights and a context of its own.",
        query=[[1.1, 0.3], [-0.9, -0.8]],
    ),
    _preset(
        "A masked key",
        "A is masked: its energy is −∞, its weight 0, and the others share what it had; "
        "untick all three and the weights are 0, not undefined.",
        mask=[False, True, True],
    ),
    _preset(
        "Each key for itself",
        "The sigmoid judges each key alone, so the weights need not sum to one: drag q away from all keys "
        "and watch the sum.",
        distribution="sigmoid",
    ),
]


class Queries(Array):
    """Rows of points, or one point, which makes one row."""

    def validate(self, obj: Any, value: Any) -> Any:
        rows = plain(value)
        alone = isinstance(rows, list) and rows and not isinstance(rows[0], list)
        return super().validate(obj, [rows] if alone else rows)


class QueryTuner(PlaneWidget):
    """Attention with two-dimensional queries, keys and values that the reader can move.

    Start from a named preset, from your own points, or both:
    ``QueryTuner(preset="A long key wins", score="similarity")``. ``query``, ``key`` and ``value`` hold one point a row,
    as in :func:`attnlib.attend`, which computes the outputs in float64; one query alone may be given as ``[x, y]``.
    Without ``value`` the keys are the values (the key-only form).

    >>> tuner = QueryTuner(query=[0, 0], key=[[1, 0], [0, 1]], value=[[2, 0], [0, 2]])
    >>> tuner.weights, tuner.context
    ([[0.5, 0.5]], [[1.0, 1.0]])
    >>> tuner.query = [1.0, 0.0]
    >>> tuner.query, tuner.energies
    ([[1.0, 0.0]], [[0.7071, 0.0]])
    """

    query = Queries((None, 2), _NEUTRAL["query"], **FARTHEST, help="the queries, one a row")
    selected = Whole(0, below="query", help="the query whose energies and weights are shown in full")
    key = points(_NEUTRAL["key"], help="the keys, one a row")
    value = points(_NEUTRAL["value"], help="the values, one a key")
    labels = Texts(_NEUTRAL["labels"], shape=("n",), help="a name for each key and its value")
    mask = Flag(_NEUTRAL["mask"], shape=("n",), help="True = the key may be attended to")
    score = Choice(("dot", "scaled dot", "similarity", "general", "additive", "gaussian"), "scaled dot")
    weight = Array((2, 2), [[0.0, 1.0], [-1.0, 0.0]], **FARTHEST, help="W of the general score")
    distribution = Choice(("softmax", "entmax", "sparsemax", "sigmoid"), "softmax")
    temperature = Number(1.0, least=1e-3, most=1e9)
    alpha = Number(1.5, above=1, most=1e3, help="the parameter of entmax")
    keys_only = Flag(False, help="take the keys for values")
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")
    energies = Output("one row a query; -inf where masked")
    weights = Output("one row a query")
    context = Output("one row a query")

    sample: ClassVar = {"query": [0.25, 0.5]}

    def _beside(self, count: int, state: Mapping[str, Any]) -> dict[str, Any]:
        own = {**super()._beside(count, state), "mask": [True] * count}
        return own if "value" in state else {**own, "value": state["key"], "keys_only": True}

    def _compute(self) -> None:
        alpha = {"alpha": self.alpha} if self.distribution == "entmax" else {}
        distribution = partial(getattr(distributions, self.distribution), temperature=self.temperature, **alpha)
        query, key, value = (
            tensor(rows) for rows in (self.query, self.key, self.key if self.keys_only else self.value)
        )
        score, mask = self._score(self.score), torch.tensor([self.mask])
        result = attend(query, key, value, score=score, distribution=distribution, mask=mask)
        for name in ("energies", "weights", "context"):
            self.set_trait(name, getattr(result, name).tolist())

    def summary(self) -> str:
        """The score, the distribution, and every query's weights and context."""
        rows = []
        for i, query in enumerate(self.query):
            weights = ", ".join(f"{label} {share(w)}" for label, w in zip(self.labels, self.weights[i], strict=True))
            name = f"q{i + 1}" if len(self.query) > 1 else "q"
            rows.append(f"{name} at {pair(query)} gives weights {weights} and context {pair(self.context[i])}")
        return f"{self.score} with {self.distribution}: {'; '.join(rows)}."
