"""Scenes of handwritten digits: one to name, moved, turned or seen at a slant, among pieces of others.

The digits were written by people [alpaydin1998] and ship inside scikit-learn. The scenes are ours, so that box and pose
of each digit are known: what a model looks at can be held against where the digit is.
"""

import gzip
import hashlib
import importlib.util
import math
import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..input_features.spatial_transformer import transform
from .packages import DataError

__all__ = ["Digit", "Scenes", "Warp", "load", "make"]

SHA256 = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
AT_ONCE = 500  # scenes that are drawn together, for the sake of memory


class Digit(NamedTuple):
    """A handwritten digit: a ``key``, by which :func:`~attnlib.data.pairs.split` decides, 8 x 8 greys, and its name."""

    key: str
    image: Tensor
    kind: int


class Warp(NamedTuple):
    """How far a digit may be from upright; each number is drawn evenly.

    ``turn``: degrees to either side. ``zoom``: smallest and largest size, as a part of the usual one. ``tilt``: the two
    last numbers of a projective map, to either side; 0 is seen from the front, and it must be below a half.
    """

    turn: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    tilt: float = 0.0


class Scenes(NamedTuple):
    """Scenes as tensors.

    ``image`` ``(scene, 1, height, width)`` from 0, dark, to 1; ``kind`` ``(scene,)``, which digit it is; ``box``
    ``(scene, 4)``, left, top, right and bottom of it in pixels from the corner; ``matrix`` ``(scene, 3, 3)``, its pose:
    the map by which :func:`~attnlib.input_features.spatial_transformer.transform` shows it upright, in a whole frame.
    """

    image: Tensor
    kind: Tensor
    box: Tensor
    matrix: Tensor


class _Plan(NamedTuple):
    """What is drawn for a scene."""

    which: int
    map: list[list[float]]
    box: list[float]
    pieces: list[tuple[int, ...]]


def load() -> list[Digit]:
    """The 1,797 digits of scikit-learn, from 0, dark, to 1; parts that share none are made by ``split(load())``.

    Raises:
        DataError: scikit-learn is not there, or its digits are not the ones expected.

    Source: Alpaydin and Kaynak 1998 [alpaydin1998]; read from the package's file, without importing it.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise DataError("digits: expected the package scikit-learn, got none. Install it, or attnlib[data]")
    path = Path(found.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    return _read(path, SHA256)


def _read(path: Path, sha256: str) -> list[Digit]:
    """The digits of a file: a line each, 64 numbers from 0 to 16 and a name."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode().split()
        rows = [bytes(int(float(number)) for number in line.split(",")) for line in lines]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"digits: expected lines of numbers in {path}, got: {error!r}") from error
    got = hashlib.sha256(b"".join(rows)).hexdigest()
    if got != sha256:
        raise DataError(f"digits: expected in {path} numbers with SHA-256 {sha256}, got {got}")
    images = torch.tensor([list(row[:64]) for row in rows], dtype=torch.float32).view(-1, 8, 8) / 16
    keys = [hashlib.sha256(row[:64]).hexdigest()[:16] for row in rows]
    return [Digit(key, image, row[64]) for key, image, row in zip(keys, images, rows, strict=True)]


def make(
    digits: Sequence[Digit],
    *,
    count: int,
    size: tuple[int, int] = (60, 60),
    digit: int = 28,
    pieces: int = 0,
    piece: int = 8,
    warp: Warp | None = None,
    seed: int = 0,
) -> Scenes:
    r"""Scenes of one digit each, somewhere, with pieces of others around it or over it.

    .. math:: I = \max(D, P_1, \dots, P_k), \qquad D(H p) = \mathrm{digit}(p)

    Each scene has its own random numbers, which come from the seed and its place alone: the first ten are the same
    however many there are, and with other pieces around it a digit stays where it was.

    Args:
        digits: to draw from, each as likely; for training and testing give two parts of a split.
        count: how many scenes.
        size: ``(height, width)`` in pixels.
        digit: height and width of an upright digit of zoom 1. The 8 x 8 pixels are enlarged smoothly (bicubic, with
            antialiasing), and what is smaller than half of it is not asked for, so that no warp skips a stroke.
        pieces: how many pieces of other digits, wherever they fall. Where they lie over one another the lightest shows.
        piece: height and width of one.
        warp: how the digit may be turned, sized and tilted; None: it stays upright, and falls on whole pixels.
        seed: another one gives other scenes.

    Returns:
        :class:`Scenes`. The digit's frame lies wholly inside; where it has no room, in the middle.

    Raises:
        ValueError: nothing to draw from, a digit or piece that is larger than the scene, a number out of range.

    Source: after the translated and cluttered digits of Mnih et al. 2014, section 4.1 [mnih2014], and the warped ones
    of Jaderberg et al. 2015, section 4.1 [jaderberg2015].

    Departs from the source: other digits, of lower resolution.

    >>> bar = Digit("bar", torch.ones(8, 8), 1)
    >>> scene = make([bar], count=1, size=(12, 20), digit=8)
    >>> left, top, right, bottom = (int(edge) for edge in scene.box[0])
    >>> scene.image.sum().round(), scene.image[0, 0, top:bottom, left:right].sum().round()
    (tensor(64.), tensor(64.))
    """
    warp = Warp() if warp is None else warp
    _refuse(digits, count, size, digit, pieces, piece, warp)
    shape = (size, digit, pieces, piece)
    plans = [_plan(random.Random(f"{seed}/scene/{place}"), len(digits), shape, warp) for place in range(count)]
    small = torch.stack([one.image for one in digits]).unsqueeze(1)
    large = F.interpolate(small, (digit, digit), mode="bicubic", antialias=True).clamp(0, 1)
    images = [_drawn(large, plans[start : start + AT_ONCE], size, piece) for start in range(0, count, AT_ONCE)]
    return Scenes(
        torch.cat(images) if images else small.new_zeros(0, 1, *size),
        torch.tensor([digits[plan.which].kind for plan in plans], dtype=torch.long),
        torch.tensor([plan.box for plan in plans]).view(-1, 4),
        torch.tensor([plan.map for plan in plans]).view(-1, 3, 3),
    )


def _refuse(
    digits: Sequence[Digit], count: int, size: tuple[int, int], digit: int, pieces: int, piece: int, warp: Warp
) -> None:
    if not digits or (pieces and len(digits) < 2):
        raise ValueError(f"digits must be at least {2 if pieces else 1}, got {len(digits)}")
    for name, number in (("count", count), ("pieces", pieces)):
        if number < 0:
            raise ValueError(f"{name} must be at least 0, got {number}")
    if not 1 <= digit <= min(size):
        raise ValueError(f"digit must be from 1 to the {min(size)} pixels of the scene, got {digit}")
    if pieces and not 1 <= piece <= digit:
        raise ValueError(f"piece must be from 1 to the {digit} pixels of a digit, got {piece}")
    low, high = warp.zoom
    if not 0.5 <= low <= high < math.inf:
        raise ValueError(f"zoom of warp must rise from at least 0.5, got {warp.zoom}")
    if not (0 <= warp.tilt < 0.5 and 0 <= warp.turn < math.inf):
        raise ValueError(f"warp must have a turn of at least 0 and a tilt from 0 to below 0.5, got {warp}")


def _plan(rng: random.Random, n: int, shape: tuple[tuple[int, int], int, int, int], warp: Warp) -> _Plan:
    """What is drawn for one scene: as many numbers for each, whatever the warp; the pieces come last."""
    (height, width), digit, pieces, piece = shape
    which = rng.randrange(n)
    angle, zoom = math.radians(warp.turn) * rng.uniform(-1, 1), rng.uniform(*warp.zoom)
    tilts = [warp.tilt * rng.uniform(-1, 1) for _ in range(2)]
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    rows = [[cosine, -sine, 0.0], [sine, cosine, 0.0], [*tilts, 1.0]]
    corners = [_moved(rows, x, y) for x in (-1.0, 1.0) for y in (-1.0, 1.0)]
    centre, box = [], []
    for axis, length in ((0, width), (1, height)):
        low, high = (digit / 2 * end(corner[axis] for corner in corners) for end in (min, max))
        room = length - (high - low)
        steps = int(rng.random() * (math.floor(room + 1e-9) + 1))
        edge = steps if room >= 0 else room / 2
        centre.append(edge - low)
        box.append((edge, edge + high - low))
    # From the digit's own coordinates to those of the scene: first its size, then its place.
    last = rows[2]
    across = [digit / width * a + (2 * centre[0] / width - 1) * b for a, b in zip(rows[0], last, strict=True)]
    down = [digit / height * a + (2 * centre[1] / height - 1) * b for a, b in zip(rows[1], last, strict=True)]
    found = []
    for _ in range(pieces):
        other = (which + rng.randrange(1, n)) % n
        spots = [rng.randrange(space - piece + 1) for space in (digit, digit, height, width)]
        found.append((other, *spots))
    return _Plan(which, [across, down, last], [box[0][0], box[1][0], box[0][1], box[1][1]], found)


def _moved(rows: list[list[float]], x: float, y: float) -> list[float]:
    u, v, w = (a * x + b * y + c for a, b, c in rows)
    return [u / w, v / w]


def _drawn(large: Tensor, plans: list[_Plan], size: tuple[int, int], piece: int) -> Tensor:
    """The scenes of some plans."""
    maps = torch.tensor([plan.map for plan in plans], dtype=torch.float64)
    chosen = large[[plan.which for plan in plans]]
    images = transform(chosen, torch.linalg.inv(maps).float(), size).image
    flat, steps = images.flatten(1), torch.arange(piece)
    for found in zip(*(plan.pieces for plan in plans), strict=True):
        other, from_top, from_left, top, left = torch.tensor(found).unbind(-1)
        rows, columns = from_top[:, None] + steps, from_left[:, None] + steps
        scraps = large[other, 0][torch.arange(len(plans))[:, None, None], rows[:, :, None], columns[:, None, :]]
        places = (top[:, None] + steps)[:, :, None] * size[1] + (left[:, None] + steps)[:, None, :]
        flat = flat.scatter_reduce(1, places.flatten(1), scraps.flatten(1), "amax")
    return flat.view_as(images).clamp(0, 1)
