"""What all functions on maps of selected words ask of their arguments."""

import torch
from torch import Tensor

from .._checks import check_boolean, check_tensor, fits


def check_map(name: str, selected: Tensor) -> None:
    check_tensor(name, selected)
    if selected.dtype != torch.bool:
        raise TypeError(f"{name} must be boolean (True = selected), got dtype {selected.dtype}")


def shown(like: Tensor, mask: Tensor | None) -> Tensor:
    """Which places hold a word."""
    if mask is None:
        return torch.ones_like(like, dtype=torch.bool)
    check_boolean(mask)
    if not fits(mask.shape, like.shape):
        raise ValueError(f"mask must fit {tuple(like.shape)}, got shape {tuple(mask.shape)}")
    return mask.expand_as(like)


def seen_of(selected: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """What was selected of the words, and which places hold one."""
    check_map("selected", selected)
    seen = shown(selected, mask)
    return selected & seen, seen


def like(name: str, tensor: Tensor, selected: Tensor) -> Tensor:
    check_tensor(name, tensor)
    if not fits(tensor.shape, selected.shape):
        raise ValueError(f"{name} must fit {tuple(selected.shape)}, got shape {tuple(tensor.shape)}")
    return tensor.expand_as(selected)
