"""QueryTuner: drag a query through the plane of keys and values and watch energies, weights and context follow."""

import math
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib import attend
from attnlib.distributions import entmax, sigmoid, softmax, sparsemax
from attnlib.scores import additive, dot, general, scaled_dot, similarity
from attnlib.widgets.picture import Picture, Plane, Real
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.traits import Array, Choice, Flag, Number, Output, Texts, Whole

__all__ = ["PRESETS", "QueryTuner", "gaussian"]

SCORES = ("dot", "scaled dot", "similarity", "general", "additive", "gaussian")
DISTRIBUTIONS = ("softmax", "entmax", "sparsemax", "sigmoid")

_NEUTRAL: dict[str, Any] = {
    "query": [[1.2, 0.9]],
    "selected": 0,
    "key": [[2.0, 0.6], [-0.9, 1.9], [-0.7, -1.8]],
    "value": [[2.3, -1.7], [1.0, 2.6], [-2.5, 0.4]],
    "labels": ["A", "B", "C"],
    "mask": [True, True, True],
    "score": "scaled dot",
    "scale": round(1 / math.sqrt(2), 4),
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
        query=[[1.2, 0.9]],
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


def gaussian(query: Tensor, key: Tensor) -> Tensor:
    """Minus half the squared distance: the softmax of it is the Nadaraya-Watson estimator of width one.

    >>> gaussian(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 1.0]]))
    tensor([[-12.5000,  -1.0000]])
    """
    difference = query.unsqueeze(-2) - key.unsqueeze(-3)
    return -difference.square().sum(-1) / 2


class Queries(Array):
    """Rows of points, or one point, which makes one row."""

    def validate(self, obj: Any, value: Any) -> Any:
        plain = value.tolist() if hasattr(value, "tolist") else value
        alone = isinstance(plain, (list, tuple)) and plain and not isinstance(plain[0], (list, tuple))
        return super().validate(obj, [plain] if alone else plain)


class QueryTuner(PresetWidget):
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

    query = Queries((None, 2), _NEUTRAL["query"], help="the queries, one a row")
    selected = Whole(0, below="query", help="the query whose energies and weights are shown in full")
    key = Array(("n", 2), _NEUTRAL["key"], help="the keys, one a row")
    value = Array(("n", 2), _NEUTRAL["value"], help="the values, one a key")
    labels = Texts(_NEUTRAL["labels"], shape=("n",), help="a name for each key and its value")
    mask = Flag(_NEUTRAL["mask"], shape=("n",), help="True = the key may be attended to")
    score = Choice(SCORES, "scaled dot")
    scale = Number(_NEUTRAL["scale"], above=0, help="factor of the scaled dot product")
    distribution = Choice(DISTRIBUTIONS, "softmax")
    temperature = Number(1.0, above=0)
    alpha = Number(1.5, above=1, help="the parameter of entmax")
    keys_only = Flag(False, help="take the keys for values")
    weight = Array((2, 2), [[0.0, 1.0], [-1.0, 0.0]], help="W of the general score")
    vector = Array((2,), [1.0, 1.0], help="v of the additive score")
    query_weight = Array((2, 2), [[1.0, 0.0], [0.0, 1.0]], help="W1 of the additive score")
    key_weight = Array((2, 2), [[1.0, 0.0], [0.0, 1.0]], help="W2 of the additive score")
    sample: ClassVar = {"query": [0.25, 0.5]}
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")

    energies = Output("one row a query; -inf where masked")
    weights = Output("one row a query")
    context = Output("one row a query")

    def __init__(self, **state: Any) -> None:
        if not state.keys() & set(self._names()):
            state["preset"] = PRESETS[0]["name"]
        if "key" in state:
            count = len(state["key"]) if hasattr(state["key"], "__len__") else 0
            own = {"labels": [f"k{i + 1}" for i in range(count)], "mask": [True] * count}
            if "value" not in state:
                own |= {"value": state["key"], "keys_only": True}
            state |= {name: value for name, value in own.items() if name not in state}
        super().__init__(**state)

    def _compute(self) -> None:
        parts = {"score": self._score(), "distribution": self._distribution()}
        query, key, value = (_tensor(rows) for rows in (self.query, self.key, self.value))
        result = attend(query, key, None if self.keys_only else value, mask=torch.tensor([self.mask]), **parts)
        for name in ("energies", "weights", "context"):
            self.set_trait(name, getattr(result, name).tolist())

    def _score(self) -> Any:
        vector, query_weight, key_weight = map(_tensor, (self.vector, self.query_weight, self.key_weight))
        return {
            "dot": dot,
            "scaled dot": partial(scaled_dot, scale=self.scale),
            "similarity": similarity,
            "general": partial(general, weight=_tensor(self.weight)),
            "additive": partial(additive, vector=vector, query_weight=query_weight, key_weight=key_weight),
            "gaussian": gaussian,
        }[self.score]

    def _distribution(self) -> Any:
        return {
            "softmax": partial(softmax, temperature=self.temperature),
            "entmax": partial(entmax, alpha=self.alpha, temperature=self.temperature),
            "sparsemax": partial(sparsemax, temperature=self.temperature),
            "sigmoid": partial(sigmoid, temperature=self.temperature),
        }[self.distribution]

    def summary(self) -> str:
        """The score, the distribution, and every query's weights and context."""
        many = len(self.query) > 1
        rows = []
        for i, query in enumerate(self.query):
            weights = ", ".join(
                f"{label} {_words(w, 3)}" for label, w in zip(self.labels, self.weights[i], strict=True)
            )
            name = f"q{i + 1}" if many else "q"
            rows.append(f"{name} at {_pair(query)} gives weights {weights} and context {_pair(self.context[i])}")
        return f"{self.score} with {self.distribution}: {'; '.join(rows)}."

    def picture(self) -> Picture:
        """The plane with queries, keys, values and context, and the energies and weights of the selected query."""
        return _draw(self)


# ----------------------------------------------------------------------------------------------------------- picture


def _tensor(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _words(value: Real, digits: int = 2) -> str:
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    if value == 0:
        return "0"
    rounded = round(round(value, 9), digits)
    return f"{abs(rounded):.{digits}f}" if rounded >= 0 else f"−{abs(rounded):.{digits}f}"


def _pair(point: list[float]) -> str:
    return f"({', '.join(_words(x) for x in point)})"


def _draw(tuner: QueryTuner) -> Picture:
    fixed = tuner.key if tuner.keys_only else tuner.key + tuner.value
    reach = [max(abs(x) for row in rows for x in row) for rows in (fixed, tuner.query)]
    picture = Picture(760, 400)
    plane = Plane(picture, 16, 16, 368, max(3, math.ceil(reach[0] + 0.3), math.ceil(reach[1])))
    _draw_links(picture, plane, tuner)
    _draw_marks(picture, plane, tuner)
    _draw_table(picture, tuner, 412, 40)
    return picture


def _draw_links(picture: Picture, plane: Plane, tuner: QueryTuner) -> None:
    query, context = plane.at(*tuner.query[tuner.selected]), plane.at(*tuner.context[tuner.selected])
    sources = tuner.key if tuner.keys_only else tuner.value
    for key in tuner.key:
        picture.line([plane.at(0, 0), plane.at(*key)], stroke="edge")
    for key, source, weight in zip(tuner.key, sources, tuner.weights[tuner.selected], strict=True):
        style = {"width": 1 + 9 * min(weight, 1), "dash": weight == 0}
        picture.line([query, plane.at(*key)], stroke="#a6cbe3", **style)
        picture.line([plane.at(*source), context], stroke="#8cc6b4", **style)
    picture.line([plane.at(0, 0), query], stroke="query", width=2.5)


def _draw_marks(picture: Picture, plane: Plane, tuner: QueryTuner) -> None:
    if not tuner.keys_only:
        for value, label, seen in zip(tuner.value, tuner.labels, tuner.mask, strict=True):
            x, y = plane.at(*value)
            corners = [(x - 10, y - 10), (x + 10, y - 10), (x + 10, y + 10), (x - 10, y + 10)]
            _draw_mark(picture, x, y, label, corners, colour="value", solid=seen)
    for key, label, seen in zip(tuner.key, tuner.labels, tuner.mask, strict=True):
        x, y = plane.at(*key)
        corners = [(x + 11 * math.cos(i * math.pi / 12), y + 11 * math.sin(i * math.pi / 12)) for i in range(24)]
        _draw_mark(picture, x, y, label, corners, colour="key", solid=seen)
    for i, (context, query) in enumerate(zip(tuner.context, tuner.query, strict=True)):
        number = f"{i + 1}" if len(tuner.query) > 1 else ""
        x, y = plane.at(*context)
        diamond = [(x, y - 15), (x + 15, y), (x, y + 15), (x - 15, y)]
        _draw_mark(picture, x, y, f"c{number}", diamond, colour="context", solid=i == tuner.selected)
        x, y = plane.at(*query)
        hexagon = [(x + 13 * math.cos(j * math.pi / 3), y + 13 * math.sin(j * math.pi / 3)) for j in range(6)]
        _draw_mark(picture, x, y, f"q{number}", hexagon, colour="query", solid=i == tuner.selected)


def _draw_mark(
    picture: Picture,
    x: Real,
    y: Real,
    letters: str,
    corners: list[tuple[float, float]],
    *,
    colour: str,
    solid: bool,
) -> None:
    picture.polygon(corners, fill=colour if solid else "ground", stroke="ground" if solid else colour, width=1.5)
    inside = len(letters) < 3
    fill = "ground" if solid and inside else "ink"
    picture.text(x, y + (4 if inside else -17), letters, size=11, fill=fill, anchor="middle", bold=True)


def _draw_table(picture: Picture, tuner: QueryTuner, left: Real, top: Real) -> None:
    energies, weights = tuner.energies[tuner.selected], tuner.weights[tuner.selected]
    largest = max(1.0, *(abs(energy) for energy in energies if math.isfinite(energy)), 0)
    picture.text(left, top - 8, "Key", fill="soft")
    picture.text(left + 64, top - 8, "Energy", fill="soft")
    picture.text(left + 204, top - 8, "Weight", fill="soft")
    step = min(40.0, 290 / len(energies))
    for i, (label, energy, weight) in enumerate(zip(tuner.labels, energies, weights, strict=True)):
        y = top + step * i
        picture.line([(left, y), (left + 332, y)], stroke="line")
        picture.text(left, y + 17, label, bold=True)
        picture.text(left + 64, y + 17, _words(energy))
        picture.text(left + 204, y + 17, _words(weight, 3))
        picture.rectangle(left + 64, y + step - 16, 120, 7, fill="panel")
        share = energy / largest * 60 if math.isfinite(energy) else 0
        picture.rectangle(left + 124 + min(share, 0), y + step - 16, abs(share), 7, fill="query")
        picture.line([(left + 124, y + step - 18), (left + 124, y + step - 7)], stroke="edge")
        picture.rectangle(left + 204, y + step - 16, 128, 7, fill="panel")
        picture.rectangle(left + 204, y + step - 16, 128 * min(weight, 1), 7, fill="key")
    below = top + step * len(energies) + 24
    picture.text(left, below, f"{tuner.score} with {tuner.distribution}", fill="soft")
    picture.text(
        left, below + 20, f"query {_pair(tuner.query[tuner.selected])}, context {_pair(tuner.context[tuner.selected])}"
    )
