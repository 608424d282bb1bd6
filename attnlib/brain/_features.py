"""The features of centre-surround saliency: opponent colours, orientations, and their differences across scales."""

import functools
import math

import torch
from torch import Tensor

from ._images import filtered, pyramid

SIZE, WAVE = 9, 7.0  # of the Gabor filters, in pixels


def colours(image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Red, green, blue and yellow, each as wide as it can be told from the rest; hue apart from intensity."""
    red, green, blue = image.expand(*image.shape[:-3], 3, *image.shape[-2:]).unbind(-3)
    intensity = image.mean(-3)
    bright = intensity > 0.1 * intensity.amax((-2, -1), keepdim=True)
    red, green, blue = (
        torch.where(bright, part / torch.where(bright, intensity, 1.0), 0.0) for part in (red, green, blue)
    )
    yellow = (red + green) / 2 - (red - green).abs() / 2 - blue
    wide = red - (green + blue) / 2, green - (red + blue) / 2, blue - (red + green) / 2, yellow
    pure = [part.clamp(min=0) for part in wide]
    return pure[0], pure[1], pure[2], pure[3]


def opponents(parts: tuple[Tensor, Tensor, Tensor, Tensor], n_levels: int) -> dict[str, list[Tensor]]:
    """Red less green and blue less yellow at each level. A pyramid is linear, so the difference goes first."""
    red, green, blue, yellow = parts
    return {"red-green": pyramid(red - green, n_levels), "blue-yellow": pyramid(blue - yellow, n_levels)}


def orientations(intensity: Tensor) -> tuple[Tensor, ...]:
    """How much each place looks like a bar or edge at 0, 45, 90 and 135 degrees, whatever its phase.

    0 is horizontal, and angles turn against the clock.
    """
    energy = filtered(intensity, _gabor(intensity.dtype, intensity.device)).square()
    both = energy[..., 0::2, :, :] + energy[..., 1::2, :, :]
    seen = both > 0  # a root has no slope at nought
    return torch.where(seen, torch.where(seen, both, 1.0).sqrt(), 0.0).unbind(-3)


@functools.lru_cache(maxsize=8)
def _gabor(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The filters ``(8, 9, 9)``: for each angle a cosine and a sine in a round Gaussian, blind to a constant."""
    steps = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    down, across = torch.meshgrid(steps, steps, indexing="ij")
    envelope = torch.exp(-(down**2 + across**2) / (2 * (WAVE / 3) ** 2))
    filters = []
    for degrees in (0, 45, 90, 135):
        angle = math.radians(degrees)
        off = across * math.sin(angle) + down * math.cos(angle)  # how far off the line through the middle
        for wave in (torch.cos(2 * math.pi * off / WAVE), torch.sin(2 * math.pi * off / WAVE)):
            found = wave * envelope
            found = found - envelope * found.sum() / envelope.sum()
            filters.append(found / found.square().sum().sqrt())
    return torch.stack(filters).to(device=device, dtype=dtype)


def differences(centre: Tensor, surround: Tensor) -> Tensor:
    """How far apart two levels are, nothing where that is rounding."""
    found = (centre - surround).abs()
    return torch.where(found > 64 * torch.finfo(found.dtype).eps, found, 0.0)
