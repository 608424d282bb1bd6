"""DistributionLab: three logits, four distributions, and where their weights lie on the simplex."""

import math
from typing import Any, ClassVar

import torch

from attnlib import distributions
from attnlib.widgets.picture import Picture
from attnlib.widgets.presets import Presets, PresetWidget, preset
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

_LETTERS = "ABC"
_ON_SIMPLEX = ("softmax", "entmax", "sparsemax")
_COLOURS = {"softmax": "key", "entmax": "query", "sparsemax": "value", "sigmoid": "context"}
_ANGLES = [math.radians(degrees) for degrees in (210, 330, 90)]
_AXES = torch.tensor([[math.cos(angle), math.sin(angle)] for angle in _ANGLES], dtype=torch.float64) * math.sqrt(2 / 3)
_MIDDLE, _UNIT, _WIDE_UNIT = (200.0, 190.0), 160.0, 67.0
_FRAME = (8.0, 8.0, 384.0, 316.0)  # of the plane: left, top, width, height


class DistributionLab(PresetWidget):
    """Three logits and the weights that softmax, entmax, sparsemax and sigmoid make of them.

    The picture is the plane of logits seen along (1, 1, 1): the simplex is a triangle in it, sparsemax the nearest
    point of the triangle, a temperature a place on a ray from its middle.

    Args:
        logits: three numbers; the sliders reach from -5 to 5.
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

    logits = Array((3,), [1.0, 0.8, 0.1])
    temperature = Number(1.0, above=0)
    alpha = Number(1.5, above=1)
    path = Choice(("temperature", "alpha"), "temperature")
    wide = Flag(False)
    sample: ClassVar = {"logits": [0.25, 0.5, 0.75]}
    presets = Presets(PRESETS)
    softmax = Output("weights under softmax")
    entmax = Output("weights under entmax with this alpha")
    sparsemax = Output("weights under sparsemax")
    sigmoid = Output("weights under sigmoid; they need not sum to one")

    def _compute(self) -> None:
        for name, weights in self._weights().items():
            self.set_trait(name, weights.tolist())

    def _weights(self, **change: float) -> dict[str, torch.Tensor]:
        temperature, alpha = change.get("temperature", self.temperature), change.get("alpha", self.alpha)
        logits = torch.tensor(self.logits, dtype=torch.float64)
        return {
            "softmax": distributions.softmax(logits, temperature=temperature),
            "entmax": distributions.entmax(logits, alpha=alpha, temperature=temperature),
            "sparsemax": distributions.sparsemax(logits, temperature=temperature),
            "sigmoid": distributions.sigmoid(logits, temperature=temperature),
        }

    def summary(self) -> str:
        """The weights in words."""
        told = [f"{_title(name, self.alpha)} {_listed(weights)}" for name, weights in self._weights().items()]
        logits = ", ".join(f"{value:g}" for value in self.logits)
        return f"logits ({logits}) at temperature {self.temperature:g}: " + "; ".join(told)

    def picture(self) -> Picture:
        """The simplex with paths and points, and the four rows of bars."""
        drawing = Picture(720, 372)
        self._draw_simplex(drawing)
        self._draw_rows(drawing)
        return drawing

    def _place(self, numbers: torch.Tensor) -> tuple[float, float]:
        unit = _WIDE_UNIT if self.wide else _UNIT
        x, y = ((numbers - numbers.mean()) @ _AXES * unit).tolist()
        return _MIDDLE[0] + x, _MIDDLE[1] - y

    def _draw_simplex(self, drawing: Picture) -> None:
        corners = [self._place(corner) for corner in torch.eye(3, dtype=torch.float64)]
        drawing.rectangle(*_FRAME, fill="panel", stroke="line")
        self._draw_regions(drawing, corners)
        drawing.polygon(corners, fill="ground", stroke="edge", width=1.5)
        for letter, (x, y), (right, down) in zip(_LETTERS, corners, ((-14, 19), (14, 19), (0, -12)), strict=True):
            drawing.text(x + right, y + down, letter, size=15, anchor="middle", bold=True)
        for name in _ON_SIMPLEX if self.path == "temperature" else ("entmax",):
            path = [self._place(weights) for weights in self._path(name)]
            drawing.line(path, stroke=_COLOURS[name], width=2.2, dash=name == "entmax")
        weights = self._weights()
        ring = self._place(torch.tensor(self.logits, dtype=torch.float64) / self.temperature)
        if _inside(*ring):
            drawing.line([ring, self._place(weights["sparsemax"])], stroke=_COLOURS["sparsemax"], width=1.5)
            drawing.circle(*ring, 5, stroke="ink", width=2)
        for name in _ON_SIMPLEX:
            _mark(drawing, name, *self._place(weights[name]))
        words = "temperature from ∞ (the middle) to 0" if self.path == "temperature" else "α from 1 (softmax) to ∞"
        drawing.text(200, 348, f"Paths: {words}", fill="soft", anchor="middle")

    def _draw_regions(self, drawing: Picture, corners: list[tuple[float, float]]) -> None:
        """From each corner, straight out from its two edges: between these lines sparsemax keeps that key alone."""
        for x, y in corners:
            for other in corners:
                if other != (x, y):
                    across, down = x + other[0] - 2 * _MIDDLE[0], y + other[1] - 2 * _MIDDLE[1]
                    length = math.hypot(across, down)
                    drawing.line([(x, y), _border(x, y, across / length, down / length)], stroke="edge", dash=True)
        low = corners[min(range(3), key=lambda index: self.logits[index])]
        inside = ((low[0] + _MIDDLE[0]) / 2, (low[1] + _MIDDLE[1]) / 2 + 5)
        for size, (x, y) in (("3", inside), ("2", (330.0, 150.0)), ("1", (350.0, 314.0))):
            drawing.text(x, y, size if self.wide and size == "3" else f"support {size}", fill="soft", anchor="middle")

    def _path(self, name: str) -> list[torch.Tensor]:
        steps = [step / 48 for step in range(49)]
        if self.path == "temperature":
            return [self._weights(temperature=60 * (0.02 / 60) ** step)[name] for step in steps]
        return [self._weights(alpha=1 + 0.01 * 4000**step)[name] for step in steps]

    def _draw_rows(self, drawing: Picture) -> None:
        logits = ", ".join(f"{letter} {value:g}" for letter, value in zip(_LETTERS, self.logits, strict=True))
        drawing.text(412, 28, f"Logits {logits}; T = {self.temperature:g}", size=14, bold=True)
        for row, (name, weights) in enumerate(self._weights().items()):
            top = 52 + 78 * row
            _mark(drawing, name, 420, top - 4)
            total = float(weights.sum())
            odd = ", no place on the simplex" if name == "sigmoid" else ""
            drawing.text(434, top, f"{_title(name, self.alpha)}: sum {total:.3g}{odd}", size=13)
            for index, weight in enumerate(weights.tolist()):
                x = 412 + 102 * index
                drawing.text(x, top + 20, f"{_LETTERS[index]} {_share(weight)}", bold=weight == 0)
                drawing.rectangle(x, top + 26, 90, 10, stroke="edge" if weight == 0 else "line", dash=weight == 0)
                if weight > 0:
                    drawing.rectangle(x, top + 26, 90 * weight, 10, fill=_COLOURS[name])


def _inside(x: float, y: float) -> bool:
    left, top, width, height = _FRAME
    return left < x < left + width and top < y < top + height


def _border(x: float, y: float, across: float, down: float) -> tuple[float, float]:
    """Where the way from (x, y) leaves the frame."""
    left, top, width, height = _FRAME
    walls = [(left - x, across), (left + width - x, across), (top - y, down), (top + height - y, down)]
    way = min(gap / pace for gap, pace in walls if abs(pace) > 1e-9 and gap / pace > 0)
    return x + way * across, y + way * down


def _mark(drawing: Picture, name: str, x: float, y: float) -> None:
    """The sign of a distribution, a shape of its own."""
    colour = _COLOURS[name]
    if name == "softmax":
        drawing.circle(x, y, 6, fill=colour, stroke="ground", width=1.5)
    elif name == "entmax":
        drawing.polygon([(x, y - 8), (x + 8, y), (x, y + 8), (x - 8, y)], fill=colour, stroke="ground", width=1.5)
    elif name == "sparsemax":
        square = [(x - 6, y - 6), (x + 6, y - 6), (x + 6, y + 6), (x - 6, y + 6)]
        drawing.polygon(square, fill=colour, stroke="ground", width=1.5)
    else:
        for side in (-5, 5):
            drawing.line([(x - 5, y - side), (x + 5, y + side)], stroke=colour, width=3)


def _title(name: str, alpha: float) -> str:
    return f"entmax (α = {alpha:g})" if name == "entmax" else name


def _share(weight: float) -> str:
    """A weight in words: exactly 0 is told apart from what merely rounds to it."""
    if weight in (0.0, 1.0):
        return f"exactly {weight:g}"
    return "< 0.0005" if weight < 5e-4 else f"{weight:.3f}"


def _listed(weights: Any) -> str:
    return ", ".join(_share(weight) for weight in weights.tolist())
