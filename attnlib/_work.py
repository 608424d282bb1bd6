"""The arguments of an attention, checked and brought into one form."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import masks
from ._checks import batch_of, check_bias, check_device, check_mask, check_tensor, check_vectors, fits
from ._rows import as_autocast, inner_product, wide
from .scores import dot, scaled_dot

Scale = float | Tensor | None
Score = Callable[[Tensor, Tensor], Tensor]
Distribution = Callable[[Tensor], Tensor]


class Work(NamedTuple):
    """What attention is to be computed: in the precision of autocast, with an axis for the queries of a group."""

    query: Tensor
    key: Tensor
    value: Tensor
    batch: tuple[int, ...]
    scale: Scale
    bias: Tensor | None
    mask: Tensor | None
    is_causal: bool
    dropout: float


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody waits for what a module is given or gives, so that it has to be called."""
    waiting = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(waiting)


def lengths(work: Work) -> tuple[int, int]:
    """How many queries and keys."""
    return work.query.shape[-2], work.key.shape[-2]


def is_masked(work: Work) -> bool:
    """Whether some pairs may not count."""
    return work.is_causal or work.mask is not None or work.bias is not None


def visible_pairs(work: Work) -> Tensor:
    """Which pairs count, not expanded over the queries: ``(..., 1, key)`` for padding."""
    n_query, n_key = lengths(work)
    if work.mask is not None and work.bias is None and not work.is_causal and work.mask.shape[-1] == n_key:
        return work.mask
    parts = [] if work.mask is None else [work.mask]
    if work.bias is not None:
        parts.append(work.bias != -torch.inf)
    if work.is_causal:
        parts.append(masks.causal(n_query, n_key, device=work.query.device))
    found = parts[0]
    for part in parts[1:]:
        found = found & part
    return found if found.shape[-1] == n_key else found.expand(*found.shape[:-1], n_key)


def prepared(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: Scale = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    is_causal: bool = False,
    enable_gqa: bool = False,
    dropout: float = 0.0,
) -> tuple[Work, tuple[int, ...]]:
    """The work, and the shape ``(*batch, query, key)`` that the caller asked for."""
    batch = _check_groups(query, key, value) if enable_gqa else check_vectors(query, key, value)
    shape = (*batch, query.shape[-2], key.shape[-2])
    if mask is not None:
        check_mask(mask, shape)
        check_device("mask", mask, query)
    if bias is not None:
        check_bias(bias, query, shape)
        check_device("bias", bias, query)
    if scale is not None:
        _check_scale(scale, shape)
    query, key, value = as_autocast(query, key, value)
    if mask is not None or bias is not None:
        mask, bias = _two_axes(mask), _two_axes(bias)
    if enable_gqa:
        groups = key.shape[-3]
        query = query.unflatten(-3, (groups, -1))  # type: ignore[no-untyped-call]
        key, value = key.unsqueeze(-3), value.unsqueeze(-3)
        mask, bias = _grouped(mask, groups), _grouped(bias, groups)
        scale = _grouped(scale, groups) if isinstance(scale, Tensor) else scale
        batch = (*batch[:-1], groups, batch[-1] // groups)
    return Work(query, key, value, batch, scale, bias, mask, is_causal, dropout), shape


def _two_axes(tensor: Tensor | None) -> Tensor | None:
    """With an axis of queries and one of keys, be they of size 1."""
    return tensor if tensor is None or tensor.ndim > 1 else tensor.reshape(1, -1)


def _grouped(tensor: Tensor | None, groups: int) -> Tensor | None:
    """The axis of the heads, if there is one, as two: groups, and heads in a group."""
    if tensor is None or tensor.ndim < 3:
        return tensor
    if tensor.shape[-3] == 1:
        return tensor.unsqueeze(-3)
    split: Tensor = tensor.unflatten(-3, (groups, -1))  # type: ignore[no-untyped-call]
    return split


def _check_groups(query: Tensor, key: Tensor, value: Tensor) -> tuple[int, ...]:
    """The checks of grouped queries: key and value have as many heads, and that number divides the query's."""
    check_vectors(query[..., :1, :, :] if isinstance(query, Tensor) and query.ndim > 2 else query, key, value)
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.ndim < 3:
            raise ValueError(f"{name} must have shape (*batch, heads, {name}, size), got {tuple(tensor.shape)}")
    heads, groups = query.shape[-3], key.shape[-3]
    if value.shape[-3] != groups:
        raise ValueError(f"value has {value.shape[-3]} heads but key has {groups}")
    if groups == 0 or heads % groups:
        raise ValueError(f"query has {heads} heads, which the {groups} heads of key must divide")
    return (*batch_of(query[..., 0, :, :], key[..., 0, :, :], value[..., 0, :, :]), heads)


def _check_scale(scale: float | Tensor, shape: tuple[int, ...]) -> None:
    if isinstance(scale, Tensor):
        if not scale.is_floating_point():
            raise TypeError(f"scale must be floating point, got dtype {scale.dtype}")
        if not fits(scale.shape, (*shape[:-1], 1)):
            raise ValueError(f"scale of shape {tuple(scale.shape)} does not broadcast to (*batch, query, 1)")
    elif isinstance(scale, bool) or not isinstance(scale, (int, float)):
        raise TypeError(f"scale must be a number or a tensor, got {type(scale).__name__}")
    elif not math.isfinite(scale):
        raise ValueError(f"scale must be finite, got {scale}")


def energies_of(score: Callable[[Tensor, Tensor], Tensor], query: Tensor, key: Tensor, scale: Scale = None) -> Tensor:
    """Energies in single precision at least; a scale is taken here where it stands inside of the score."""
    if scale is not None and score in (dot, scaled_dot):
        energies = inner_product(wide(query) * scale, key)
    else:
        energies = wide(_asked("score", score, query, key))
    expected = (*batch_of(query, key), query.shape[-2], key.shape[-2])
    if energies.shape != expected:
        raise ValueError(f"score must return energies of shape {expected}, got {tuple(energies.shape)}")
    return energies


def weights_of(distribution: Distribution, energies: Tensor) -> Tensor:
    """The weights, looked at from outside."""
    weights = _asked("distribution", distribution, energies)
    if weights.shape != energies.shape:
        shapes = f"{tuple(energies.shape)}, got {tuple(weights.shape)}"
        raise ValueError(f"distribution must return weights of shape {shapes}")
    return weights


def _asked(name: str, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    if not callable(function):
        raise TypeError(f"{name} must be callable, got {type(function).__name__}; see attnlib.{name}s")
    found = function(*arguments)
    check_tensor(f"what {name} returns", found)
    return found
