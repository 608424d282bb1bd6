"""ScoreField: the energy that a query gives to every key of the plane, for each score function."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib import attend, scores
from attnlib.widgets.contour import Point, isolines, nice_step
from attnlib.widgets.picture import Picture, Plane
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.query_tuner import gaussian
from attnlib.widgets.traits import Array, Choice, Number, Output, Texts, Whole

__all__ = ["PRESETS", "SCORES", "ScoreField"]

SCORES = (
    "dot",
    "scaled dot",
    "similarity",
    "general",
    "biased general",
    "activated general",
    "additive",
    "gaussian",
    "location-based",
)

_IDENTITY = [[1.0, 0.0], [0.0, 1.0]]
_NEUTRAL: dict[str, Any] = {
    "query": [1.5, 0.75],
    "key": [[1.0, 0.5], [2.0, 1.0], [-1.0, 1.6], [-1.8, -1.4], [1.4, -2.0]],
    "labels": ["A", "B", "C", "D", "E"],
    "score": "dot",
    "scale": round(1 / math.sqrt(2), 4),
    "width": 1.0,
    "weight": _IDENTITY,
    "bias": [0.0, 0.0],
    "offset": 0.0,
    "vector": [1.0, 1.0],
    "query_weight": _IDENTITY,
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

_STOPS = ("#2369bd", "#9baecb", "#faf5f4", "#d39794", "#a9373b")  # as in js/score_field.js
_CELLS, _LEFT, _TOP, _SIDE = 92, 16, 16, 368


class ScoreField(PresetWidget):
    """The plane of keys, coloured by the energy f(q, k) of the chosen score, with its parameters to move.

    Args:
        query: the query ``q``.
        key: a few keys whose energies and softmax weights are listed.
        labels: a name for each key.
        score: one of ``SCORES``.
        scale: of the scaled dot product.
        width: of the Gaussian kernel.
        weight: ``W`` of the general scores.
        bias: ``b`` of the biased general and of the additive score.
        offset: the scalar bias of the activated general score.
        vector: ``v`` of the additive score.
        query_weight: ``W1`` of the additive score.
        key_weight: ``W2`` of the additive score.
        position_weight: of the location-based score, one row a key.
        position: index of the key whose energy the field of the location-based score shows.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs ``energies`` and ``weights`` are lists, one number a key, computed by :func:`attnlib.attend` in float64.

    >>> field = ScoreField(score="dot", query=[1, 2], key=[[3, 4], [0, 1]], labels=["A", "B"])
    >>> field.energies
    [11.0, 2.0]
    """

    query = Array((2,), _NEUTRAL["query"], help="the query")
    key = Array(("n", 2), _NEUTRAL["key"], help="a few keys, one a row")
    labels = Texts(_NEUTRAL["labels"], shape=("n",), help="a name for each key")
    score = Choice(SCORES, _NEUTRAL["score"])
    scale = Number(_NEUTRAL["scale"], above=0, help="factor of the scaled dot product")
    width = Number(_NEUTRAL["width"], above=0, help="of the Gaussian kernel")
    weight = Array((2, 2), _NEUTRAL["weight"], help="W of the general scores")
    bias = Array((2,), _NEUTRAL["bias"], help="b of the biased general and of the additive score")
    offset = Number(_NEUTRAL["offset"], help="the scalar bias of the activated general score")
    vector = Array((2,), _NEUTRAL["vector"], help="v of the additive score")
    query_weight = Array((2, 2), _NEUTRAL["query_weight"], help="W1 of the additive score")
    key_weight = Array((2, 2), _NEUTRAL["key_weight"], help="W2 of the additive score")
    position_weight = Array(("n", 2), _NEUTRAL["position_weight"], help="of the location-based score, one row a key")
    position = Whole(
        _NEUTRAL["position"], below="key", help="index of the key whose energy the location-based field shows"
    )
    sample: ClassVar = {"query": [0.25, 0.5]}
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")
    energies = Output("one number a key")
    weights = Output("softmax of the energies")

    def __init__(self, **state: Any) -> None:
        if "key" in state:
            count = len(state["key"]) if hasattr(state["key"], "__len__") else 0
            rows = [[1.0, 0.0]] if count == 0 else [[math.cos(index), math.sin(index)] for index in range(count)]
            state = {"labels": [f"k{index + 1}" for index in range(count)], "position_weight": rows, **state}
        super().__init__(**state)

    def _compute(self) -> None:
        _, weights, energies = attend(_tensor([self.query]), _tensor(self.key), score=self._score())
        assert weights is not None
        assert energies is not None
        self.set_trait("energies", energies[0].tolist())
        self.set_trait("weights", weights[0].tolist())

    def field(self, places: Any) -> Tensor:
        """Energies of keys at ``places`` ``(place, 2)``, in float64."""
        places = _tensor(places)
        if self.score == "location-based":
            return torch.full(places.shape[:1], self.energies[self.position], dtype=torch.float64)
        return self._score()(_tensor([self.query]), places)[0]

    def _score(self) -> Callable[[Tensor, Tensor], Tensor]:
        weight, bias = _tensor(self.weight), _tensor(self.bias)
        names = ("vector", "query_weight", "key_weight", "bias")
        learned: dict[str, Any] = {name: _tensor(getattr(self, name)) for name in names}
        table: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "dot": scores.dot,
            "scaled dot": partial(scores.scaled_dot, scale=self.scale),
            "similarity": scores.similarity,
            "general": partial(scores.general, weight=weight),
            # The library's biased general maps the query into the keys' space: its weight is (d_k, d_q).
            "biased general": partial(scores.biased_general, weight=weight, bias=bias),
            "activated general": partial(scores.activated_general, weight=weight, bias=_tensor(self.offset)),
            "additive": partial(scores.additive, **learned),
            "gaussian": lambda query, key: gaussian(query, key) / self.width**2,
            "location-based": partial(scores.location_based, weight=_tensor(self.position_weight)),
        }
        return table[self.score]

    def summary(self) -> str:
        """The score, the query, and what each key gets."""
        rows = zip(self.labels, self.energies, self.weights, strict=True)
        told = ", ".join(f"{label} {_number(energy)} and {weight:.3f}" for label, energy, weight in rows)
        x, y = (_number(value) for value in self.query)
        return f"{self.score} score of the query ({x}, {y}); energies and softmax weights of the keys: {told}"

    def picture(self) -> Picture:
        """The coloured plane with level lines, query and keys, and the list of the keys."""
        return _draw(self)


# ----------------------------------------------------------------------------------------------------------- picture


def _tensor(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def _number(value: float, digits: int = 2) -> str:
    rounded = round(round(value, 9), digits)
    return f"{'−' if rounded < 0 else ''}{abs(rounded):.{digits}f}"


def _draw(widget: ScoreField) -> Picture:
    drawing = Picture(720, 400)
    reach = max(abs(value) for value in [*widget.query, *(number for row in widget.key for number in row)])
    limit = max(3, math.ceil(reach + 0.3))
    step = 2 * limit / _CELLS
    places = [(-limit + step * column, limit - step * row) for row in range(_CELLS + 1) for column in range(_CELLS + 1)]
    # Rounded, so that the last bit of a machine's tanh decides no colour and no crossing.
    values = [round(value, 9) for value in widget.field(places).tolist()]
    far = max(map(abs, [*values, *widget.energies]))
    end = _round_up(far) if far >= 1e-9 else 1.0
    _draw_colours(drawing, values, end)
    plane = Plane(drawing, _LEFT, _TOP, _SIDE, limit)
    _draw_lines(drawing, values, [plane.at(*place) for place in (widget.query, *widget.key)])
    for stroke, width in (("ground", 6), ("query", 3)):
        drawing.line([plane.at(0, 0), plane.at(*widget.query)], stroke=stroke, width=width)
    for label, place in zip(widget.labels, widget.key, strict=True):
        x, y = plane.at(*place)
        drawing.circle(x, y, 10, fill="key", stroke="ground", width=1.5)
        drawing.text(x, y + 4, label, size=11, fill="ground", anchor="middle", bold=True)
    x, y = plane.at(*widget.query)
    hexagon = [(x + 12 * math.cos(i * math.pi / 3), y + 12 * math.sin(i * math.pi / 3)) for i in range(6)]
    drawing.polygon(hexagon, fill="query", stroke="ground", width=1.5)
    drawing.text(x, y + 4, "q", size=11, fill="ground", anchor="middle", bold=True)
    _draw_table(drawing, widget, end)
    return drawing


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(lead * power for lead in (1, 1.5, 2, 3, 4, 6, 8, 10) if lead * power >= value * (1 - 1e-9))


def _colour(share: float) -> str:
    """The colour of ``share`` between -1 and 1, in 17 steps."""
    place = round((share + 1) * 8) / 4
    index = min(int(place), 3)
    low, high = ([int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in _STOPS[index : index + 2])
    return "#" + "".join(f"{round(a + (b - a) * (place - index)):02x}" for a, b in zip(low, high, strict=True))


def _draw_colours(drawing: Picture, values: list[float], end: float) -> None:
    """Runs of cells of one colour as one shape each, all of a colour together."""
    pixels, side = _SIDE // _CELLS, _CELLS + 1
    pieces: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in range(_CELLS):
        start = 0
        # The colour of a cell is that of the mean of its corners.
        corners = [(i, i + 1, i + side, i + side + 1) for i in range(row * side, row * side + _CELLS)]
        colours = [_colour(round(sum(values[i] for i in four) / 4 / end, 6)) for four in corners]
        for column in range(1, _CELLS + 1):
            if column == _CELLS or colours[column] != colours[start]:
                box = (_LEFT + pixels * start, _TOP + pixels * row, pixels * (column - start), pixels)
                pieces.setdefault(colours[start], []).append(box)
                start = column
    for colour in sorted(pieces):
        drawing.mosaic(pieces[colour], fill=colour)


def _draw_lines(drawing: Picture, values: list[float], taken: list[Point]) -> None:
    """Level lines, dashed below zero and thick at zero, with their numbers where there is room."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        drawing.text(_LEFT + _SIDE / 2, _TOP + _SIDE * 0.75, f"{_number(low)} everywhere", anchor="middle", bold=True)
        return
    every_other = range(0, _CELLS + 1, 2)
    half = [values[row * (_CELLS + 1) + column] for row in every_other for column in every_other]
    step, pixels = nice_step(high - low, 9), 2 * _SIDE / _CELLS
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    words: list[tuple[Point, str]] = []
    # Not the level that the field only touches at its end.
    for n in range(math.ceil(low / step + 0.02), math.floor(high / step - 0.02) + 1):
        for line in isolines(half, _CELLS // 2 + 1, n * step):
            path = [(_LEFT + x * pixels, _TOP + y * pixels) for x, y in line]
            drawing.line(path, stroke="ink", width=2.2 if n == 0 else 1, dash=n < 0)
            if spot := _free_spot(path, [*taken, *(place for place, _ in words)]):
                words.append((spot, "0" if n == 0 else _number(n * step, digits)))
    for (x, y), text in words:
        drawing.rectangle(x - 3.4 * len(text) - 2, y - 7, 6.8 * len(text) + 4, 14, fill="ground")
        drawing.text(x, y + 4, text, size=11, anchor="middle")


def _free_spot(path: list[Point], taken: list[Point]) -> Point | None:
    """The place of a line that is farthest from all that is taken, if that is far enough and inside."""
    best, room = None, 26.0
    for (x0, y0), (x1, y1) in pairwise(path):
        count = max(1, math.ceil(math.hypot(x1 - x0, y1 - y0) / 8))
        for i in range(count):
            x, y = x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count
            inside = min(x - _LEFT, y - _TOP, _LEFT + _SIDE - x, _TOP + _SIDE - y)
            gap = round(min([120.0, *(math.hypot(x - a, y - b) for a, b in taken)]), 6)
            if inside > 18 and gap > room:
                best, room = (x, y), gap
    return best


def _draw_table(drawing: Picture, widget: ScoreField, end: float) -> None:
    drawing.text(408, 34, f"{widget.score}: colours from −{end:g} to {end:g}", size=14, bold=True)
    for index in range(17):
        drawing.rectangle(408 + 17 * index, 46, 17, 10, fill=_colour(index / 8 - 1))
    for x, text, anchor in ((408, "Key", "start"), (500, "Energy", "end"), (520, "Softmax weight", "start")):
        drawing.text(x, 84, text, fill="soft", anchor=anchor)
    for row, (label, energy, weight) in enumerate(zip(widget.labels, widget.energies, widget.weights, strict=True)):
        y = 108 + 26 * row
        drawing.text(408, y, label, size=13, bold=True)
        drawing.text(500, y, _number(energy), size=13, anchor="end")
        drawing.text(520, y, f"{weight:.3f}", size=13)
        drawing.rectangle(565, y - 10, 135, 11, stroke="line")
        drawing.rectangle(565, y - 10, 135 * weight, 11, fill="key")
