"""SimilarPlaces: a photograph with noise, a place in it, and how much every other place counts for its mean."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.frontiers.nonlocal_block import gaussian
from attnlib.widgets.image import unpacked
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number
from attnlib.widgets.traits import Number, Output, Picture, Record, Text, Whole

__all__ = ["PRESETS", "SimilarPlaces", "noisy", "places"]

STORE = Path(__file__).parents[1] / "brain" / "saliency_tuner.json"  # photographs, and whose they are
COFFEE, CAT, ROCKET = range(3)
_NEUTRAL: dict[str, Any] = {"picture": CAT, "row": 34, "column": 67, "reach": 2, "bandwidth": 0.1, "noise": 0.1}


@cache
def _pictures() -> list[dict[str, Any]]:
    return [{name: each[name] for name in ("name", "image")} for each in json.loads(STORE.read_text(encoding="utf-8"))]


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """A preset that leaves nothing as it was."""
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "An eye",
        "Apart from the place itself, what weighs most lies far off, in the dark corner at the top and in the iris of "
        "the cat's other eye, and the mean is nearer to the true colour than what the noise left.",
    ),
    _preset(
        "A rocket",
        "What counts is the rocket's body above and below, and hardly the night beside it: a blur would mix that in.",
        picture=ROCKET,
        row=60,
        column=50,
    ),
    _preset(
        "A pixel alone",
        "Patches of one pixel compare noisy colours alone, and as this dark pixel came out about the colour of fur, "
        "which truly has that colour, fur counts: the mean is farther off than the noisy colour, and with patches of "
        "5 × 5 it is nearer.",
        reach=0,
    ),
    _preset(
        "Too narrow",
        "Only the place itself counts: nothing is averaged, and the noise stays; at h = 0.10 noise of 0.40 does this.",
        bandwidth=0.04,
    ),
    _preset(
        "Too wide",
        "All places count alike: move the place, and the mean stays that of the whole picture.",
        bandwidth=2.0,
    ),
]


@cache
def _drawn(count: int) -> Tensor:
    """Numbers of a normal distribution, the same each time and in every language (mulberry32, Box and Muller)."""
    last = 0xFFFFFFFF
    a = (torch.arange(1, 2 * count + 1) * 0x6D2B79F5) & last
    t = ((a ^ (a >> 15)) * (a | 1)) & last
    t = ((t + (((t ^ (t >> 7)) * (t | 61)) & last)) & last) ^ t
    one, two = (((t ^ (t >> 14)).double() + 0.5) / 2**32).view(count, 2).unbind(-1)
    return (-2 * one.log()).sqrt() * (2 * math.pi * two).cos()


def noisy(image: Tensor, noise: float) -> Tensor:
    """An image ``(3, height, width)`` with noise of this standard deviation, the same each time, not cut off."""
    drawn = _drawn(image.numel()).view(*image.shape[1:], 3).permute(2, 0, 1)
    return image + noise * drawn


def places(image: Tensor, reach: int, bandwidth: float) -> tuple[Tensor, Tensor, Tensor]:
    r"""What makes non-local means of :func:`attnlib.frontiers.nonlocal_block.gaussian`: its query, key and value.

    .. math::
        \theta_i = \Big( \frac{2 p_i}{m h^2},\, -1 \Big), \quad \phi_j = \Big( p_j,\, \frac{\|p_j\|^2}{m h^2} \Big),
        \quad g_j = x_j

    where :math:`p_i` are the :math:`m` numbers of the patch of ``reach`` pixels around place :math:`i`, and
    :math:`\theta_i \cdot \phi_j` is :math:`-\|p_i - p_j\|^2 / m h^2` but for a part that all :math:`j` share.
    """
    side, (channels, height, width) = 2 * reach + 1, image.shape
    padded = F.pad(image.unsqueeze(0), (reach, reach, reach, reach), mode="replicate")
    patches = F.unfold(padded, side).squeeze(0).T
    scale = patches.shape[1] * bandwidth**2
    norm = patches.square().sum(-1, keepdim=True) / scale
    query = torch.cat([2 * patches / scale, -torch.ones_like(norm)], -1)
    return query, torch.cat([patches, norm], -1), image.reshape(channels, height * width).T


class SimilarPlaces(PresetWidget):
    """A picture with noise and one place in it: the weights of all places by how alike their patches are, and the mean.

    ``reach`` is how far a patch goes from its middle: 0 is a pixel, 2 are 5 x 5. ``bandwidth`` is h. A ``row`` or a
    ``column`` beyond the picture is its last. Outputs are computed in float64 by
    :func:`attnlib.frontiers.nonlocal_block.gaussian`: ``weights`` (row by row), and the colour of the place ``before``
    the noise, ``seen`` with it, and the ``mean``.

    >>> from attnlib.widgets.image import packed
    >>> halves = torch.tensor([0.0] * 4 + [1.0] * 4).expand(3, 8, 8)
    >>> widget = SimilarPlaces(pictures=[{"name": "halves", "image": packed(halves)}], picture=0, row=3, column=1,
    ...                        reach=0, bandwidth=0.1, noise=0)
    >>> [round(colour, 6) for colour in widget.mean], widget.weights[3][0]  # the 32 black places, each alike
    ([0.0, 0.0, 0.0], 0.03125)
    """

    pictures = Record({"name": Text(""), "image": Picture({}, least=8)}, _pictures(), shape=(("", 1, None),))
    picture = Whole(_NEUTRAL["picture"], below="pictures")
    row = Whole(_NEUTRAL["row"], most=127, help="of the place, from 0")
    column = Whole(_NEUTRAL["column"], most=127, help="of the place, from 0")
    reach = Whole(_NEUTRAL["reach"], most=4, help="how far a patch goes from its middle, in pixels")
    bandwidth = Number(_NEUTRAL["bandwidth"], least=0.02, most=2, help="h: how unlike a place may be and still count")
    noise = Number(_NEUTRAL["noise"], least=0, most=0.4, help="standard deviation, where black is 0 and white 1")
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")
    weights = Output("one number a place, row by row")
    before = Output("the colour of the place before the noise")
    seen = Output("the colour of the place with noise")
    mean = Output("the mean colour under the weights")

    sample: ClassVar = {"column": 20}
    presets_of = ("pictures",)

    def _compute(self) -> None:
        image = unpacked(self.pictures[self.picture]["image"])
        _, height, width = image.shape
        row, column = min(self.row, height - 1), min(self.column, width - 1)
        taken = noisy(image, self.noise)
        query, key, value = places(taken, self.reach, self.bandwidth)
        at = row * width + column
        mean, weights, _ = gaussian(query[at : at + 1], key, value)
        assert weights is not None
        self.set_trait("weights", weights.view(height, width).tolist())
        self.set_trait("before", image[:, row, column].tolist())
        self.set_trait("seen", taken[:, row, column].tolist())
        self.set_trait("mean", mean[0].tolist())

    def off(self, colour: str) -> float:
        """How far ``seen`` or ``mean`` is from the colour before the noise: the root of the mean square."""
        return math.dist(getattr(self, colour), self.before) / math.sqrt(3)

    def count(self) -> float:
        """How many places would count as these do if they counted alike: 1 / Σ w²."""
        return float(1 / sum(weight**2 for line in self.weights for weight in line))

    def summary(self) -> str:
        """The picture, the place, how many places count, and how far off the colours are."""
        named, place = self.pictures[self.picture]["name"], f"row {self.row}, column {self.column}"
        side = 2 * self.reach + 1
        off = f"off by {number(self.off('seen'))} with noise, by {number(self.off('mean'))} in the mean"
        count = self.count()
        words = f"patches {side} × {side}, h = {number(self.bandwidth)}, noise {number(self.noise)}"
        return f"{named}, {place}, {words}: {number(count, 1 if count < 100 else 0)} places count; {off}"
