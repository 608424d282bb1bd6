"""What the mechanisms of images ask of them."""

import torch
from torch import Tensor

from .._checks import as_computed, check_tensor


def as_image(image: Tensor, name: str = "image") -> Tensor:
    """The image in the precision of the arithmetic, looked at: floating point, with pixels."""
    check_tensor(name, image)
    if not image.is_floating_point():
        raise TypeError(f"{name} must be floating point, got dtype {image.dtype}: give {name}.float() / 255")
    if image.ndim < 3:
        raise ValueError(f"{name} must have shape (*batch, channel, height, width), got shape {tuple(image.shape)}")
    if image.shape[-1] == 0 or image.shape[-2] == 0:
        raise ValueError(f"{name} must have at least one pixel, got shape {tuple(image.shape)}")
    return as_computed(image, name)


def check_whole(name: str, number: int, least: int = 1) -> None:
    """Check that a number is whole, and large enough."""
    if isinstance(number, bool) or not isinstance(number, int | torch.SymInt):  # the latter is a size that is left open
        raise TypeError(f"{name} must be a whole number, got {number!r}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
