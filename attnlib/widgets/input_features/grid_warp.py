"""GridWarp: a grid over a picture, what a spatial transformer reads at its points, and where each point would go."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib.input_features.sampling import sample
from attnlib.input_features.spatial_transformer import affine, attention, projective, warped_grid
from attnlib.widgets.image import unpacked
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number
from attnlib.widgets.traits import Choice, Flag, Number, Output, Picture, Record, Text, Whole

__all__ = ["PRESETS", "GridWarp"]

KINDS = ("attention", "affine", "projective")
STORE = Path(__file__).with_suffix(".json")  # scenes of attnlib.data.scenes and a photograph, and whose they are
STILL = 1e-9  # a smaller slope is rounding


@cache
def _pictures() -> list[dict[str, Any]]:
    parts = ("name", "image", "target")
    return [{part: each[part] for part in parts} for each in json.loads(STORE.read_text(encoding="utf-8"))]


THREE, TWO, FIVE, CAT = range(4)
_PLAIN: dict[str, Any] = {
    "kind": "affine", "turn": 0.0, "width": 1.0, "height": 1.0, "shear": 0.0, "right": 0.0, "down": 0.0,
    "tilt_x": 0.0, "tilt_y": 0.0, "arrows": True, "kept": [],
}  # fmt: skip
_THREE = {**_PLAIN, "picture": THREE}
_POSE = {"turn": 37.3, "width": 0.419, "height": 0.419, "right": -0.222, "down": -0.317}

PRESETS = [
    preset(
        "Identity",
        "The 3 is read as it stands, small, turned and in its corner: steps down the gradient get stuck here, so drag "
        "the grid over the 3 first.",
        **_THREE,
    ),
    preset(
        "Attention crop",
        "Size and place alone cut the 2 out of its clutter: three numbers do.",
        **{**_PLAIN, "picture": TWO, "kind": "attention", "width": 0.381, "right": -0.381, "down": -0.238},
    ),
    preset(
        "Undo the turn",
        "The grid has the pose of the 3, turned and small like it, so the 3 is read upright and large.",
        **{**_THREE, **_POSE},
    ),
    preset(
        "Down the gradient",
        "Half turned and a little off: press Ten steps four times, and the gradient alone has found the pose of the 3.",
        **{**_THREE, "turn": 15.0, "width": 0.55, "height": 0.55, "right": -0.15, "down": -0.25},
    ),
    preset(
        "Too far out",
        "All points read nought, beyond the picture or in its empty corner, and none has a slope: no step leads back.",
        **{**_THREE, "width": 0.5, "height": 0.5, "right": 0.7, "down": 0.7},
    ),
    preset(
        "Singular",
        "With a height of 0 all rows of the grid fall on one line and read the same: there is no way back from what is "
        "read to the picture.",
        **{**_THREE, **_POSE, "height": 0.0},
    ),
    preset(
        "Undo a slant",
        "The 5 is larger on its right, which only the projective kind undoes: switch to affine and see what remains.",
        **{**_PLAIN, "picture": FIVE, "kind": "projective", "turn": 4.2, "width": 0.526, "height": 0.526,
           "right": -0.556, "down": -0.011, "tilt_x": -0.396, "tilt_y": 0.028},
    ),
    preset(
        "Fewer points than pixels",
        "The target is the mean of the pixels, but each point reads four and skips others: an error without any warp.",
        **{**_PLAIN, "picture": CAT},
    ),
]  # fmt: skip


class GridWarp(PresetWidget):
    r"""A picture, the grid of a spatial transformer over it, and what is read at its points.

    .. math::
        H = \begin{bmatrix} L + t v^\top & t \\ v^\top & 1 \end{bmatrix}, \qquad
        L = R(\mathrm{turn}) \begin{bmatrix} 1 & \mathrm{shear} \\ 0 & 1 \end{bmatrix}
        \begin{bmatrix} \mathrm{width} & 0 \\ 0 & \mathrm{height} \end{bmatrix}

    with the place :math:`t` = (``right``, ``down``) and the slant :math:`v` = (``tilt_x``, ``tilt_y``). Coordinates go
    from -1 to 1 along each side, as in :mod:`attnlib.input_features.sampling`.

    Args:
        pictures: what can be looked at, each a name, an ``image`` and a ``target``, both of
            :func:`attnlib.widgets.image.packed`; as many points are read as the target has pixels.
        picture: the number of the one that is shown.
        kept: a target in place of the picture's own, or none.
        kind: ``"attention"`` (size and place: ``width``, ``right``, ``down``), ``"affine"`` (no slant) or
            ``"projective"``.
        turn: of the grid, in degrees; down is positive, so this is clockwise.
        width: how much of the picture the grid takes in.
        height: the same along the other side; nought is a line.
        shear: how far a row of the grid slides as one goes down.
        right: where the middle of the grid lies.
        down: the same.
        tilt_x: how the grid slants to the side.
        tilt_y: the same, up and down.
        arrows: show where each point would go.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs ``matrix`` (three rows), ``read`` (channel, row, column), ``error`` (the mean squared error to the
    target) and ``slopes`` (row, column, and how the error changes with x and y of this point) are recomputed in float64
    with attnlib.

    >>> ramp = {"height": 1, "width": 2, "rgb": "AAAA////"}  # two pixels, black and white
    >>> warp = GridWarp(pictures=[{"name": "a ramp", "image": ramp, "target": ramp}], turn=180.0)
    >>> [[round(value, 6) for value in row] for row in warp.read[0]], round(warp.error, 6)
    ([[1.0, 0.0]], 1.0)
    """

    pictures = Record(
        {"name": Text(""), "image": Picture({}), "target": Picture({}, most=48)}, _pictures(), shape=(("", 1, None),)
    )
    picture = Whole(THREE, below="pictures")
    kept = Picture([], most=48, shape=(("", 0, 1),))
    kind = Choice(KINDS, "affine")
    turn = Number(0.0, least=-180, most=180)
    width = Number(1.0, least=0, most=2)
    height = Number(1.0, least=0, most=2)
    shear = Number(0.0, least=-1.5, most=1.5)
    right = Number(0.0, least=-1.5, most=1.5)
    down = Number(0.0, least=-1.5, most=1.5)
    tilt_x = Number(0.0, least=-0.45, most=0.45)
    tilt_y = Number(0.0, least=-0.45, most=0.45)
    arrows = Flag(True)
    presets = Presets(PRESETS)
    matrix = Output("three rows, from a point of what is read to a place in the picture")
    read = Output("what is read: channel, row, column")
    error = Output("mean squared error to the target")
    slopes = Output("row, column, and the slope of the error by x and y of the point")

    presets_of = ("pictures",)
    sample: ClassVar = {"right": 0.25}

    def _matrix(self) -> Tensor:
        """The whole map of the kind, by the library's functions, which count from the identity."""
        place = [self.right, self.down]
        if self.kind == "attention":
            return attention(torch.tensor([self.width - 1, *place], dtype=torch.float64))
        angle = math.radians(self.turn)
        c, s, k = math.cos(angle), math.sin(angle), self.shear
        linear = [[self.width * c, self.height * (k * c - s)], [self.width * s, self.height * (k * s + c)]]
        tilt = [self.tilt_x, self.tilt_y] if self.kind == "projective" else [0.0, 0.0]
        rows = [[a + t * v for a, v in zip(row, tilt, strict=True)] + [t] for row, t in zip(linear, place, strict=True)]
        rows[0][0], rows[1][1] = rows[0][0] - 1, rows[1][1] - 1
        if self.kind == "affine":
            return affine(torch.tensor([*rows[0], *rows[1]], dtype=torch.float64))
        return projective(torch.tensor([*rows[0], *rows[1], *tilt], dtype=torch.float64))

    def _compute(self) -> None:
        now = self.pictures[self.picture]
        image, target = unpacked(now["image"]), unpacked(self.kept[0] if self.kept else now["target"])
        matrix = self._matrix()
        with torch.enable_grad():
            grid = warped_grid(matrix, (target.shape[1], target.shape[2])).requires_grad_()
            read = sample(image, grid)
            error = (read - target).square().mean()
            (slopes,) = torch.autograd.grad(error, grid)
        last = torch.tensor([[0.0, 0.0, 1.0]], dtype=matrix.dtype)
        self.set_trait("matrix", (matrix if len(matrix) == 3 else torch.cat([matrix, last])).tolist())
        self.set_trait("read", read.tolist())
        self.set_trait("error", error.item())
        self.set_trait("slopes", slopes.tolist())

    def summary(self) -> str:
        """The picture, the matrix and the error in words."""
        shown = self.matrix if self.kind == "projective" else self.matrix[:2]
        rows = "; ".join(", ".join(number(entry) for entry in row) for row in shown)
        pulled = sum(max(map(abs, slope)) > STILL for row in self.slopes for slope in row)
        points = len(self.slopes) * len(self.slopes[0])
        named = self.pictures[self.picture]["name"]
        return f"{named}, {self.kind} ({rows}): error {number(self.error, 3)}, {pulled} of {points} points have a slope"
