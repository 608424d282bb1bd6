"""Between the levels of a pyramid: which are compared, how they are laid over each other, what many peaks count."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ._images import as_image

__all__ = ["Scales", "enlarged", "normalise", "scales"]


class Scales(NamedTuple):
    """Pairs of levels to compare, ``(centre, surround)``, and the ``level`` that all maps are brought to."""

    pairs: tuple[tuple[int, int], ...]
    level: int


def scales(height: int, width: int, *, centres: Sequence[int] = (2, 3, 4), steps: Sequence[int] = (3, 4)) -> Scales:
    r"""The pairs of levels that an image of this size has.

    .. math:: c \in \{2, 3, 4\}, \qquad s = c + \delta, \; \delta \in \{3, 4\}

    The levels of a pyramid end where the shorter side is one pixel. Where the coarsest of the pairs lies beyond, all
    are moved down by as many levels, and those that would begin below the image itself are left out.

    Args:
        height: of the image.
        width: of the image.
        centres: :math:`c`.
        steps: :math:`\delta`.

    Returns:
        :class:`Scales`, whose ``level`` is the coarsest of the centres. Sides below 8 pixels have no pair.

    Raises:
        ValueError: a side is below 1, a centre below 0 or a step below 1, or there is none of them.

    Source: Itti, Koch and Niebur 1998 [itti1998].

    >>> scales(480, 640)
    Scales(pairs=((2, 5), (2, 6), (3, 6), (3, 7), (4, 7), (4, 8)), level=4)
    >>> scales(64, 100)
    Scales(pairs=((0, 3), (0, 4), (1, 4), (1, 5), (2, 5), (2, 6)), level=2)
    """
    if min(height, width) < 1:
        raise ValueError(f"height and width must be at least 1, got {height} and {width}")
    for name, levels, least in (("centres", centres, 0), ("steps", steps, 1)):
        if not levels or min(levels) < least:
            raise ValueError(f"{name} must be at least one whole number, each at least {least}, got {tuple(levels)}")
    last = min(height, width).bit_length() - 1
    down = max(max(centres) + max(steps) - last, 0)
    moved = sorted({centre - down for centre in centres if centre >= down}) or [0]
    pairs = tuple((centre, centre + step) for centre in moved for step in sorted(set(steps)) if centre + step <= last)
    return Scales(pairs, max((centre for centre, _ in pairs), default=0))


def normalise(maps: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch height width"]:
    r"""Promote a map with one peak, suppress a map of many like ones: the operator :math:`\mathcal N`.

    .. math:: \mathcal N(X) = (M - \bar m)^2 \, X', \qquad M = 1

    :math:`X'` is the map from 0 to :math:`M`; :math:`\bar m` is the mean of its local maxima other than one at
    :math:`M`. A map that is the same everywhere gives zeros, and one with a single peak stays :math:`X'`.

    Args:
        maps: ``(*batch, height, width)``, finite; each is normalised by itself.

    Returns:
        As ``maps``, from 0 to 1.

    Raises:
        TypeError: the maps are not floating point.
        ValueError: there is NaN or nothing in them.

    Source: Itti, Koch and Niebur 1998, section 2.2 [itti1998].

    Departs from the source: what a local maximum is, the paper does not say. Here none of its eight neighbours exceeds
    it, it is above a tenth of :math:`M`, as in the SaliencyToolbox, and of equal neighbours the first one counts.

    >>> normalise(torch.tensor([[0.0, 4.0, 0.0, 2.0, 0.0]]))  # the other peak has half the height: times 1/4
    tensor([[0.0000, 0.2500, 0.0000, 0.1250, 0.0000]])
    """
    computed = as_image("maps", maps, channels=False)
    low, high = computed.amin((-2, -1), keepdim=True), computed.amax((-2, -1), keepdim=True)
    flat = high == low
    scaled = torch.where(flat, 0.0, (computed - low) / torch.where(flat, 1.0, high - low))
    peaks = _peaks(scaled.detach())
    count = peaks.sum((-2, -1), keepdim=True)
    others = (torch.where(peaks, scaled, 0.0).sum((-2, -1), keepdim=True) - 1) / (count - 1).clamp(min=1)
    return torch.where(flat, 0.0, (1 - torch.where(count > 1, others, 0.0)) ** 2 * scaled).to(maps.dtype)


def _peaks(scaled: Tensor) -> Tensor:
    """Where a map has its local maxima above a tenth: no neighbour is larger, and none that comes before as large."""
    height, width = scaled.shape[-2:]
    room = F.pad(scaled, (1, 1, 1, 1), value=-math.inf)
    peaks = scaled > 0.1
    for step, (down, across) in enumerate((i, j) for i in range(3) for j in range(3)):
        neighbour = room[..., down : down + height, across : across + width]
        if step != 4:
            peaks = peaks & (scaled > neighbour if step < 4 else scaled >= neighbour)
    return peaks


def enlarged(
    maps: Float[Tensor, "*batch height width"], level: int, size: tuple[int, int]
) -> Float[Tensor, "*batch height2 width2"]:
    r"""Bring a map of a pyramid's level to the size of the image, or of a finer level.

    .. math:: X'(i, j) = X \Big( \frac{i}{2^{\text{level}}}, \frac{j}{2^{\text{level}}} \Big)

    Between its pixels the map is bilinear. Pixel 0 of each level stands for pixel 0 of the image and so on: a routine
    that lays centres of pixels over each other, as most that resize do, shifts the map by half of ``2 ** level``.

    Args:
        maps: ``(*batch, height, width)``.
        level: how many times the side was halved.
        size: height and width that are wanted.

    Returns:
        ``(*batch, *size)``. Past its last pixel a map goes on as it ends.

    Raises:
        TypeError: the maps are not floating point.
        ValueError: the level is below 0, or the size below 1.

    Source: the interpolation of Itti, Koch and Niebur 1998 [itti1998], bilinear being our choice.

    >>> enlarged(torch.tensor([[0.0, 1.0]]), 2, (1, 7))
    tensor([[0.0000, 0.2500, 0.5000, 0.7500, 1.0000, 1.0000, 1.0000]])
    """
    found = as_image("maps", maps, channels=False)
    if level < 0 or min(size) < 1:
        raise ValueError(f"level must be at least 0 and size at least 1, got {level} and {tuple(size)}")
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        last = found.shape[axis] - 1
        place = torch.arange(wanted, device=maps.device).to(found.dtype) / 2**level
        before = place.floor().long().clamp(max=last)
        share = (place - before).clamp(0, 1)
        share = share.unsqueeze(-1) if axis == -2 else share
        after = (before + 1).clamp(max=last)
        found = found.index_select(axis, before) * (1 - share) + found.index_select(axis, after) * share
    return found.to(maps.dtype)
