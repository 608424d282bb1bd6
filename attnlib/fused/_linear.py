"""Causal linear attention through the kernel in C++, as one operation of torch: the state stays in the cache.

For the way back nothing is kept but the context and the sums below the fraction; states and features are made again.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .._checks import are_mixed, why_not_ours
from .._rows import beside, wide
from .native import why_not

__all__ = ["Read", "causal_read", "differentiate", "why_not_read"]

# Of the arguments of the operation, the context and the state after all, by any operations that have derivatives.
Plain = Callable[..., tuple[Tensor, Tensor, Tensor]]


class Read(NamedTuple):
    """Contexts ``(*batch, query, d_v)``, as if nothing were lost, and which are, by a key or by their own query."""

    context: Tensor
    by_key: Tensor  # (*batch, query, 1)
    by_query: Tensor
    memory: Tensor  # the state after all
    total: Tensor


def why_not_read(*tensors: Tensor) -> str | None:
    """What stands against the kernel, of query, key, value and what else counts in."""
    reason = why_not("linear") or why_not_ours(*tensors, compiled=True)
    if reason is not None:
        return reason
    if are_mixed(*tensors):
        return "the precisions differ"
    return "there is nothing to read" if any(0 in tensor.shape for tensor in tensors) else None


def causal_read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    batch: tuple[int, ...],
    seen: Tensor | None,
    before: tuple[Tensor, Tensor] | None,
    *,
    maps: bool,
) -> Read:
    """Read all keys, each query after its own; what does not count is not even looked at.

    Args:
        query: vectors, or features, ``(*batch, query, d_k)``.
        key: likewise.
        value: ``(*batch, key, d_v)``.
        batch: the leading dimensions, to which all broadcast.
        seen: which keys count, with axes for the queries, of size 1, and the keys, or for the keys alone.
        before: the state of what was read before.
        maps: whether vectors become features, those of ``positive_elu``, or are features.
    """
    query, key, value = (wide(part).expand(*batch, *part.shape[-2:]) for part in (query, key, value))
    seen = None if seen is None else seen.expand(*batch, 1, key.shape[-2])
    memory, total = (None, None) if before is None else before
    if memory is not None and total is not None:
        memory, total = (
            part.expand(*batch, *part.shape[len(part.shape) - n :]) for part, n in ((memory, 2), (total, 1))
        )
    context, _, lost, *after = linear_read(query, key, value, seen, memory, total, maps)
    by_key, by_query = lost.view(2, *context.shape[:-1], 1)
    return Read(context, by_key, by_query, after[0], after[1])


@torch.library.custom_op("attnlib::linear_read", mutates_args=())
def linear_read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor | None,
    memory: Tensor | None,
    total: Tensor | None,
    maps: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The context, the sums below the fraction, what is lost, ``(2, *batch, query)``, and the state after all."""
    given = beside(query), beside(key), beside(value), seen, _whole(memory), _whole(total), maps
    return cast(tuple[Tensor, Tensor, Tensor, Tensor, Tensor], torch.ops.attnlib.linear_kernel(*given))


@torch.library.custom_op("attnlib::linear_read_backward", mutates_args=())
def linear_read_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor | None,
    memory: Tensor | None,
    total: Tensor | None,
    context: Tensor,
    below: Tensor,
    grad_memory: Tensor,
    grad_total: Tensor,
    maps: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of query, key and value, and of the state before."""
    vectors = beside(grad), beside(query), beside(key), beside(value), seen, _whole(memory), _whole(total)
    given = *vectors, context, below, grad_memory.contiguous(), grad_total.contiguous(), maps
    return cast(tuple[Tensor, Tensor, Tensor, Tensor, Tensor], torch.ops.attnlib.linear_kernel_backward(*given))


@linear_read.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, d_k, d_v = query.shape[:-2], query.shape[-1], value.shape[-1]
    context, below = query.new_empty((*query.shape[:-1], d_v)), query.new_empty(query.shape[:-1])
    lost = query.new_empty((2, *query.shape[:-1]), dtype=torch.bool)
    return context, below, lost, query.new_empty((*batch, d_k, d_v)), query.new_empty((*batch, d_k))


@linear_read_backward.register_fake
def _(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    parts = query, key, value, others[-3], others[-2]
    found = [part.new_empty(part.shape) for part in parts]
    return found[0], found[1], found[2], found[3], found[4]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:6], *output[:2])
    ctx.maps = inputs[6]
    ctx.mark_non_differentiable(*output[1:3])


def _gradients(
    plain: Plain, ctx: Any, grad: Tensor, _below: Tensor, _lost: Tensor, *after: Tensor
) -> tuple[Tensor | None, ...]:
    *given, context, below = ctx.saved_tensors
    if torch.is_grad_enabled():  # they are to be differentiated again
        learned = [part for part, wanted in zip(given, ctx.needs_input_grad, strict=False) if wanted]
        results = plain(*given, ctx.maps)
        slopes = iter(torch.autograd.grad(results, learned, (grad, *after), create_graph=True, allow_unused=True))
        return (*(next(slopes) if wanted else None for wanted in ctx.needs_input_grad[:6]), None)
    found = linear_read_backward(grad, *given, context, below, *after, ctx.maps)
    back = (*found[:3], None, *found[3:])
    return (*(part if wanted else None for part, wanted in zip(back, ctx.needs_input_grad, strict=False)), None)


def differentiate(plain: Plain) -> None:
    """Give the operation its gradients; those of second order are of its plain form, which its caller has."""
    linear_read.register_autograd(partial(_gradients, plain), setup_context=_save)


def _whole(part: Tensor | None) -> Tensor | None:
    return None if part is None else part.contiguous()
