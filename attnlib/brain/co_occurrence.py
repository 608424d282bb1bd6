"""Saliency from image co-occurrence histograms: what is rare in the picture, or rare beside its neighbours, stands out.

No filter and nothing learned. Two values that often stand side by side are background; a value that few places have is
rare by itself, and an edge is a rare pair.
"""

import math
from collections.abc import Iterator
from types import EllipsisType
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .._checks import may_look
from ._images import as_image, filtered

__all__ = ["CoOccurrence", "blurred", "co_occurrence", "lab"]


class CoOccurrence(NamedTuple):
    """A saliency map, the maps of its channels, and the tables that they were read from."""

    saliency: Float[Tensor, "*batch height width"]
    channels: Float[Tensor, "*batch channel height width"]
    histogram: Float[Tensor, "*batch channel bins bins"]
    inverted: Float[Tensor, "*batch channel bins bins"]


def co_occurrence(
    image: Float[Tensor, "*batch channel height width"], *, bins: int = 64, radius: int = 1
) -> CoOccurrence:
    r"""Rate each pixel by how seldom its value and those around it stand together in the whole image.

    .. math::
        \begin{aligned}
        H(m, n) &= \big| \{ (x, x') : I(x) = m, \; I(x') = n, \; x' \in W(x) \} \big|, \qquad
        P = \frac{H}{\sum_{m,n} H(m, n)} \\
        \bar P(m, n) &= \begin{cases} U - P(m, n) & 0 < P(m, n) \le U \\ 0 & \text{else} \end{cases}, \qquad
        U = \frac{1}{|\{(m, n) : P(m, n) > 0\}|} \\
        S(x) &= \sum_{\text{channels}} \frac{1}{|W(x)|} \sum_{x' \in W(x)} \bar P\big(I(x), I(x')\big)
        \end{aligned}

    :math:`W(x)` are the pixels at most ``radius`` rows and columns away, the pixel itself included: that one counts how
    often a value occurs, the others how often two occur together. :math:`U` is the mean of the pairs that occur.

    Args:
        image: :math:`I`, ``(*batch, channel, height, width)``, any number of channels, values from 0 to 1.
        bins: in how many equal steps a channel is read; the value 1 belongs to the last.
        radius: of the window, in pixels; 0 leaves the plain histogram.

    Returns:
        A :class:`CoOccurrence`: the saliency map ``(*batch, height, width)``, at least 0; the maps of the channels,
        whose sum it is; :math:`P` and :math:`\bar P`, ``(*batch, channel, bins, bins)``. Values are read in steps, so
        that nothing has a gradient.

    Raises:
        TypeError: the image is not floating point (divide bytes by 255 first); ``bins`` or ``radius`` is not whole.
        ValueError: the image has too few axes, none of something, NaN, or values outside of 0 to 1; ``bins`` is below 1
            or ``radius`` below 0.

    Source: Lu and Lim 2012 [lu2012]; Lu, Tan and Lim 2014 [lu2014].

    Departs from the source: that pairs above the mean count nothing is our reading of how the histogram is inverted; so
    is that a pixel is its own neighbour. The mean over the window in place of the sum keeps borders, where fewer
    neighbours are, from looking common. :func:`lab` and :func:`blurred` are steps of their own.

    >>> row = torch.tensor([[[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]])  # one pixel of eight is bright
    >>> co_occurrence(row, bins=2).saliency * 22  # P is 17, 2, 2 and 1 of 22, its mean 1/4
    tensor([[0.0000, 0.0000, 0.0000, 1.1667, 3.8333, 1.1667, 0.0000, 0.0000]])
    """
    computed = as_image("image", image)
    for name, number, least in (("bins", bins, 1), ("radius", radius, 0)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{name} must be a whole number, got {number!r}")
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}")
    if may_look(image) and not bool(((image >= 0) & (image <= 1)).all()):
        raise ValueError(f"image must hold values from 0 to 1, got {float(image.min()):g} to {float(image.max()):g}")
    height, width = image.shape[-2:]
    values = (computed.detach() * bins).long().clamp(0, bins - 1).reshape(-1, height, width)
    tables = bins**2 * torch.arange(len(values), device=image.device).view(
        -1, 1, 1
    )  # where each channel's table begins
    counts = torch.zeros(len(values) * bins**2, dtype=torch.long, device=image.device)
    steps = list(_neighbours(height, width, radius))
    for here, there in steps[len(steps) // 2 + 1 :]:  # the other half are the same pairs the other way round
        pairs = tables + bins * values[here] + values[there]
        counts += torch.bincount(pairs.flatten(), minlength=len(counts))
    counts = counts.view(-1, bins, bins)
    counts = counts + counts.mT
    own = torch.bincount((tables // bins + values).flatten(), minlength=len(values) * bins)
    counts.diagonal(dim1=-2, dim2=-1).add_(own.view(-1, bins))
    histogram = counts.view(-1, bins**2).to(computed.dtype)
    histogram = histogram / histogram.sum(-1, keepdim=True)
    occurs = histogram > 0
    common = 1 / occurs.sum(-1, keepdim=True).to(histogram.dtype)
    inverted = torch.where(occurs, (common - histogram).clamp(min=0), 0.0)
    rarity = torch.zeros_like(values, dtype=computed.dtype)
    numbers = torch.zeros(height, width, dtype=torch.long, device=image.device)
    for here, there in steps:
        rarity[here] += inverted.view(-1)[tables + bins * values[here] + values[there]]
        numbers[here] += 1
    channels = (rarity / numbers.to(rarity.dtype)).reshape(image.shape)
    shape = (*image.shape[:-2], bins, bins)
    parts = channels.sum(-3), channels, histogram.reshape(shape), inverted.reshape(shape)
    return CoOccurrence(*(part.to(image.dtype) for part in parts))


def _neighbours(
    height: int, width: int, radius: int
) -> Iterator[tuple[tuple[EllipsisType, slice, slice], tuple[EllipsisType, slice, slice]]]:
    """For each step of the window two views of a map: the pixels that have a neighbour there, and these neighbours."""

    def steps(size: int) -> list[tuple[slice, slice]]:
        reach = min(radius, size - 1)
        return [
            (slice(max(-step, 0), size - max(step, 0)), slice(max(step, 0), size - max(-step, 0)))
            for step in range(-reach, reach + 1)
        ]

    for rows, other_rows in steps(height):
        for columns, other_columns in steps(width):
            yield (..., rows, columns), (..., other_rows, other_columns)


def lab(image: Float[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    r"""Red, green and blue as lightness, green to red, and blue to yellow, in which equal steps look about equal.

    .. math::
        L = 116 f(Y) - 16, \quad a = 500 (f(X) - f(Y)), \quad b = 200 (f(Y) - f(Z)), \qquad
        f(t) = \begin{cases} t^{1/3} & t > (6/29)^3 \\ \frac{t}{3 (6/29)^2} + \frac{4}{29} & \text{else} \end{cases}

    Args:
        image: ``(*batch, 3, height, width)`` in sRGB, values from 0 to 1.

    Returns:
        :math:`L / 100`, :math:`(a + 128) / 255` and :math:`(b + 128) / 255`, which lie between 0 and 1.

    Raises:
        TypeError: the image is not floating point.
        ValueError: there are not three channels, or NaN.

    Source: the colour space CIE 1976 :math:`L^* a^* b^*`, with the primaries and the white of sRGB.

    >>> lab(torch.ones(3, 1, 1)).flatten()  # white: all lightness, no colour (128 / 255)
    tensor([1.0000, 0.5020, 0.5020])
    """
    computed = as_image("image", image)
    if image.shape[-3] != 3:
        raise ValueError(f"image must have 3 channels, got shape {tuple(image.shape)}")
    high = computed > 0.04045
    linear = torch.where(high, ((torch.where(high, computed, 1.0) + 0.055) / 1.055) ** 2.4, computed / 12.92)
    matrix = linear.new_tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    matrix = matrix / matrix.sum(-1, keepdim=True)  # white has 1, 1 and 1
    light = torch.einsum("...chw,dc->...dhw", linear, matrix)
    bright = light > (6 / 29) ** 3
    root = torch.where(bright, torch.where(bright, light, 1.0) ** (1 / 3), light / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.unbind(-3)
    parts = (116 * y - 16) / 100, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255
    return torch.stack(parts, -3).clamp(0, 1).to(image.dtype)


def blurred(maps: Float[Tensor, "*batch height width"], sigma: float | int) -> Float[Tensor, "*batch height width"]:
    r"""Smooth a map with a Gaussian of the width ``sigma``, cut off at three of it.

    .. math:: G(x) \propto \exp\Big( -\frac{x^2}{2 \sigma^2} \Big), \qquad |x| \le \lceil 3 \sigma \rceil

    Args:
        maps: ``(*batch, height, width)``. Beyond its border a map goes on as it ends there.
        sigma: in pixels; 0 changes nothing.

    Returns:
        As ``maps``.

    Raises:
        TypeError: the maps are not floating point.
        ValueError: ``sigma`` is negative or not finite.

    >>> blurred(torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]]), 0.5)
    tensor([[2.6387e-04, 1.0645e-01, 7.8657e-01, 1.0645e-01, 2.6387e-04]])
    """
    computed = as_image("maps", maps, channels=False)
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be a finite number, at least 0, got {sigma}")
    if sigma == 0:
        return maps
    reach = math.ceil(3 * sigma)
    steps = torch.arange(-reach, reach + 1, device=maps.device, dtype=computed.dtype)
    row = torch.exp(-(steps**2) / (2 * sigma**2))
    row = row / row.sum()
    found = filtered(filtered(computed, row.view(1, 1, -1)).squeeze(-3), row.view(1, -1, 1)).squeeze(-3)
    return found.to(maps.dtype)
