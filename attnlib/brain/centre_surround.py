"""Saliency of Itti, Koch and Niebur: what differs from its surround, feature by feature, and is the only one to do so.

Intensity, two pairs of opponent colours and four orientations are each compared between a fine and a coarse level of a
pyramid. A map with one peak is promoted and a map of many equal peaks suppressed before they are added up.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .._checks import Number, may_look
from ._features import colours, differences, opponents, orientations
from ._images import as_image, halved, pyramid
from .across_scales import Scales, enlarged, normalise, scales

__all__ = ["WEIGHTS", "CentreSurround", "centre_surround"]

_THIRDS = ("intensity", "colour", "orientation")
_ANGLES = ("0", "45", "90", "135")
WEIGHTS = dict.fromkeys(_THIRDS, 1 / 3) | dict.fromkeys(("red-green", "blue-yellow", *_ANGLES), 1.0)
"""What :func:`centre_surround` can be told to weigh, with the weights of the paper."""


class CentreSurround(NamedTuple):
    """The saliency map and what it was made of, all of the size of one level of the pyramid."""

    saliency: Float[Tensor, "*batch height width"]
    intensity: Float[Tensor, "*batch height width"]
    colour: Float[Tensor, "*batch height width"]
    orientation: Float[Tensor, "*batch height width"]
    red_green: Float[Tensor, "*batch height width"]
    blue_yellow: Float[Tensor, "*batch height width"]
    angles: Float[Tensor, "*batch 4 height width"]
    level: int


def centre_surround(
    image: Float[Tensor, "*batch channel height width"],
    *,
    weights: Mapping[str, Number] | None = None,
    at: Scales | None = None,
    as_printed: bool = False,
) -> CentreSurround:
    r"""Rate each place by how much it differs from its surround in intensity, colour and orientation.

    .. math::
        \begin{aligned}
        \mathcal I(c, s) &= |I(c) \ominus I(s)|, \qquad
        \mathcal O(c, s, \theta) = |O(c, \theta) \ominus O(s, \theta)| \\
        \mathcal{RG}(c, s) &= |(R(c) - G(c)) \ominus (R(s) - G(s))|, \qquad
        \mathcal{BY}(c, s) = |(B(c) - Y(c)) \ominus (B(s) - Y(s))| \\
        \bar{\mathcal I} &= \bigoplus_{c, s} \mathcal N(\mathcal I(c, s)), \qquad
        \bar{\mathcal C} = \bigoplus_{c, s} [ \mathcal N(\mathcal{RG}(c, s)) + \mathcal N(\mathcal{BY}(c, s)) ] \\
        \bar{\mathcal O} &= \sum_\theta \mathcal N \Big( \bigoplus_{c, s} \mathcal N(\mathcal O(c, s, \theta)) \Big) \\
        S &= \tfrac13 ( \mathcal N(\bar{\mathcal I}) + \mathcal N(\bar{\mathcal C}) + \mathcal N(\bar{\mathcal O}) )
        \end{aligned}

    :math:`\ominus` brings the coarse level to the places of the fine one and subtracts; :math:`\bigoplus` brings maps
    to one level and adds; :math:`\mathcal N` is :func:`~attnlib.brain.across_scales.normalise`. Colours are taken off
    pixels brighter than a tenth of the brightest, divided by their intensity.

    Args:
        image: ``(*batch, channel, height, width)`` with three channels, red, green, blue, or one; values from 0 to 1.
        weights: what a task asks for: numbers, at least 0, in the place of those in :data:`WEIGHTS`. The first three
            stand before the last three terms. The others are gains of a map within its sum, of use against each other
            only, for the sum is normalised again.
        at: which levels are compared; by default the :func:`~attnlib.brain.across_scales.scales` of the image's size.
        as_printed: :math:`G(s) - R(s)` and :math:`Y(s) - B(s)` in the colour maps, as the paper prints them. A red spot
            on green, the best that this unit should see, then gives nothing, and an even field of red a lot.

    Returns:
        A :class:`CentreSurround` of maps ``(*batch, h, w)`` at ``level``: a pixel stands for each ``2 ** level`` of the
        image, the first for the first, see :func:`~attnlib.brain.across_scales.enlarged`. The maps named after features
        come before the last :math:`\mathcal N`. An image too small for a pair of levels gives zeros. Gradients are
        those of the formulas; the places of maxima are constant.

    Raises:
        TypeError: the image is not floating point (bytes are divided by 255 first).
        ValueError: the image has NaN, a wrong number of channels, or nothing in it; a weight has no such name or is
            negative; ``at`` asks for levels that an image of this size does not have.

    Source: Itti, Koch and Niebur 1998, Eq. 1 to 8 [itti1998]; weights for a task after [navalpakkam2005].

    Departs from the source: smaller images get fewer levels. Colours are differences of differences unless
    ``as_printed``. The Gabor filters, which the paper does not give, are ours: 9 by 9 pixels, a wave of 7, both phases.
    A difference that is rounding (below 64 units of the precision) counts as none, or :math:`\mathcal N` would blow it
    up.

    >>> image = torch.full((1, 64, 64), 0.5)
    >>> image[0, 40, 16] = 1.0  # a bright pixel
    >>> found = centre_surround(image)
    >>> row, column = divmod(int(found.saliency.argmax()), found.saliency.shape[-1])
    >>> row * 2**found.level, column * 2**found.level
    (40, 16)
    """
    computed = as_image("image", image)
    if image.shape[-3] not in (1, 3):
        raise ValueError(f"image must have 1 or 3 channels, got shape {tuple(image.shape)}")
    weight = _checked_weights(weights)
    at = scales(*image.shape[-2:]) if at is None else _checked_scales(at, *image.shape[-2:])
    n_levels = 1 + max((surround for _, surround in at.pairs), default=at.level)
    intensity = pyramid(computed.mean(-3), n_levels)
    sums = {}
    for name, levels in opponents(colours(computed), n_levels).items():
        sums[name] = _together(levels, at, -1.0 if as_printed else 1.0)
    sums["intensity"] = _together(intensity, at)
    angles = torch.stack(
        [_together(list(levels), at) for levels in zip(*map(orientations, intensity), strict=True)], -3
    )
    colour = weight["red-green"] * sums["red-green"] + weight["blue-yellow"] * sums["blue-yellow"]
    gains = [weight[name] for name in _ANGLES]
    each = normalise(angles).unbind(-3)
    orientation = sum((gain * one for gain, one in zip(gains, each, strict=True)), torch.zeros_like(each[0]))
    saliency = (
        weight["intensity"] * normalise(sums["intensity"])
        + weight["colour"] * normalise(colour)
        + weight["orientation"] * normalise(orientation)
    )
    dtype = image.dtype
    return CentreSurround(
        saliency.to(dtype),
        intensity=sums["intensity"].to(dtype),
        colour=colour.to(dtype),
        orientation=orientation.to(dtype),
        red_green=sums["red-green"].to(dtype),
        blue_yellow=sums["blue-yellow"].to(dtype),
        angles=angles.to(dtype),
        level=at.level,
    )


def _together(levels: list[Tensor], at: Scales, sign: float = 1.0) -> Tensor:
    """The sum of the normalised differences of all pairs, at one level."""
    while len(levels) <= at.level:
        levels = [*levels, halved(levels[-1])]
    total = torch.zeros_like(levels[at.level])
    for centre, surround in at.pairs:
        coarse = enlarged(levels[surround], surround - centre, (levels[centre].shape[-2], levels[centre].shape[-1]))
        found = normalise(differences(levels[centre], sign * coarse))
        for _ in range(centre, at.level):
            found = halved(found)
        total = total + found
    return total


def _checked_weights(weights: Mapping[str, Number] | None) -> dict[str, Number]:
    given = {} if weights is None else dict(weights)
    for name, number in given.items():
        if name not in WEIGHTS:
            raise ValueError(f"weights must be named {', '.join(WEIGHTS)}, got {name!r}")
        known = not isinstance(number, Tensor) or may_look(number)
        if known and not 0 <= (size := float(torch.as_tensor(number).detach())) < math.inf:
            raise ValueError(f"weights must be finite and at least 0, got {size:g} for {name!r}")
    return {**WEIGHTS, **given}


def _checked_scales(at: Scales, height: int, width: int) -> Scales:
    last = min(height, width).bit_length() - 1
    if any(not 0 <= centre <= at.level or not centre < surround <= last for centre, surround in at.pairs):
        raise ValueError(
            f"at must hold pairs of a centre up to its level {at.level} and a coarser surround up to {last}, the last "
            f"level of an image of {height} by {width}, got {at.pairs}"
        )
    if not 0 <= at.level <= last:
        raise ValueError(f"at must have a level from 0 to {last} for an image of {height} by {width}, got {at.level}")
    return at
