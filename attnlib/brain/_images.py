"""What the mechanisms of this folder ask of an image, and the pyramid that two of them stand on."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import as_computed, check_tensor, may_look


def as_image(name: str, image: Tensor, *, channels: bool = True) -> Tensor:
    """The image in single precision at least: ``(*batch, channel, height, width)``, or without the channel axis."""
    check_tensor(name, image)
    axes = "(*batch, channel, height, width)" if channels else "(*batch, height, width)"
    if not image.is_floating_point():
        advice = ": divide whole numbers from 0 to 255 by 255" if image.dtype == torch.uint8 else ""
        raise TypeError(f"{name} must be floating point, got dtype {image.dtype}{advice}")
    if image.ndim < 2 + channels or 0 in image.shape[-2 - channels :]:
        raise ValueError(f"{name} must be {axes} with at least one of each, got shape {tuple(image.shape)}")
    if may_look(image) and not bool(image.isfinite().all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return as_computed(image, name)


def filtered(maps: Tensor, kernels: Tensor) -> Tensor:
    """Each of the maps ``(*batch, height, width)`` correlated with each kernel: ``(*batch, kernel, height, width)``.

    Beyond its border an image goes on as it ends there, so that a border is no edge.
    """
    tall, wide = kernels.shape[-2] // 2, kernels.shape[-1] // 2
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    found = F.conv2d(F.pad(flat, (wide, wide, tall, tall), mode="replicate"), kernels.unsqueeze(1))
    return found.reshape(*maps.shape[:-2], len(kernels), *maps.shape[-2:])


def halved(maps: Tensor) -> Tensor:
    """One level up a Gaussian pyramid: blurred with 1 4 6 4 1 both ways, and every second row and column kept."""
    row = maps.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    blurred = filtered(filtered(maps, row.view(1, 1, 5)).squeeze(-3), row.view(1, 5, 1)).squeeze(-3)
    return blurred[..., ::2, ::2]


def pyramid(maps: Tensor, n_levels: int) -> list[Tensor]:
    """Levels 0 to ``n_levels - 1``, the maps themselves first."""
    levels = [maps]
    while len(levels) < n_levels:
        levels.append(halved(levels[-1]))
    return levels
