"""The additive score's energies through the kernel in C++: the same numbers, and no tensor of all hidden units."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import batch_of, why_not_ours
from .._rows import bad_rows, without
from ._tanh_sums import parts, sums_of
from .native import why_not

__all__ = ["PATHS", "TANH", "again", "flat", "kernel_energies", "plain_energies", "too_few"]

TANH = (torch.tanh, F.tanh, Tensor.tanh)
SIDE, UNITS = 4, 2**19  # queries and keys, and hidden units of all pairs, from which on the operation is the quicker


def kernel_energies(left: Tensor, right: Tensor, vector: Tensor, activation: Callable[..., Any]) -> Tensor | str:
    """``v . tanh(left + right)`` of all pairs; in a few words why not.

    Only with the kernel, so that without it what the score returns stays as it is to the last bit.
    """
    if activation not in TANH:
        return "the activation is not tanh"
    batch = batch_of(left, right)
    # In this order: a look at sizes binds what is exported to those that it was exported with.
    reason = why_not("additive") or why_not_ours(left, right, vector, compiled=True)
    reason = reason or too_few(batch, left.shape[-2], *right.shape[-2:])
    if reason is not None:
        return reason
    if not left.dtype == right.dtype == vector.dtype:
        return "the dtypes differ"
    found: Tensor = additive_energies(flat(left, batch), flat(right, batch), vector)
    return found.view(*batch, *found.shape[-2:])


PATHS = {"kernel in C++": kernel_energies}


def too_few(batch: Sequence[int], n_query: int, n_key: int, size: int) -> str | None:
    """Whether the tables cost more than they save: they hold a number for each feature of each query and key."""
    if min(n_query, n_key) < SIDE:
        return "there are so few queries or keys that nothing is saved"
    return "there are so few pairs that nothing is saved" if math.prod(batch) * n_query * n_key * size < UNITS else None


def flat(part: Tensor, batch: tuple[int, ...]) -> Tensor:
    """With one leading axis in place of those that it is spread over."""
    return part.expand(*batch, *part.shape[-2:]).reshape(-1, *part.shape[-2:])


def plain_energies(left: Tensor, right: Tensor, vector: Tensor) -> Tensor:
    """The same in operations of torch, all hidden units at once."""
    limit = torch.finfo(left.dtype).max / 2
    bad_left, bad_right = bad_rows(left, limit), bad_rows(right, limit)
    units = torch.tanh(without(bad_left, left).unsqueeze(-2) + without(bad_right, right).unsqueeze(-3))
    return torch.where(bad_left | bad_right.mT, torch.nan, units @ vector)


def again(
    function: Callable[..., Tensor], tensors: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients that can be differentiated once more: those of an equal function in operations of torch."""
    chosen = [tensor for tensor, need in zip(tensors, needed, strict=True) if need and tensor is not None]
    found = iter(torch.autograd.grad(function(*tensors), chosen, grad, create_graph=True))
    return tuple(
        next(found) if need and tensor is not None else None for tensor, need in zip(tensors, needed, strict=True)
    )


@torch.library.custom_op("attnlib::additive_energies", mutates_args=())
def additive_energies(left: Tensor, right: Tensor, vector: Tensor) -> Tensor:
    """``(batch, query, size)`` and ``(batch, key, size)`` to ``(batch, query, key)``."""
    sums = sums_of(left, right, vector)
    found = left.new_empty(left.shape[0], left.shape[1], right.shape[1])
    for part in parts(*found.shape):
        found[part.pairs] = sums.energies(part)
    return found


@torch.library.custom_op("attnlib::additive_energies_backward", mutates_args=())
def additive_energies_backward(
    grad: Tensor, left: Tensor, right: Tensor, vector: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of left, right and vector."""
    sums = sums_of(left, right, vector)
    sums.start_gradients()
    for part in parts(*grad.shape):
        sums.add_gradients(part, grad[part.pairs])
    return sums.gradients()


@additive_energies.register_fake
def _(left: Tensor, right: Tensor, vector: Tensor) -> Tensor:
    return left.new_empty(left.shape[0], left.shape[1], right.shape[1])


@additive_energies_backward.register_fake
def _(grad: Tensor, left: Tensor, right: Tensor, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(left), torch.empty_like(right), torch.empty_like(vector)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        return again(plain_energies, ctx.saved_tensors, ctx.needs_input_grad, grad)
    found: tuple[Tensor, ...] = additive_energies_backward(grad, *ctx.saved_tensors)
    return found


additive_energies.register_autograd(_gradients, setup_context=_save)
