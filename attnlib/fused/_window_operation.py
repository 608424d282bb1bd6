"""Local attention as one operation of torch: a compiler sees nothing of how it is done, so that values may steer it."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._checks import why_not_ours
from .._rows import bad_rows, is_ordinary, nan_where, wide
from ._banded import banded, banded_backward
from ._slices import Form, Plan, Sequences, backward, forward
from ._window_plans import ends_of, held, in_order, moved, planned
from .native import built

__all__ = ["why_not_one", "window_context"]


def why_not_one(
    query: Tensor, key: Tensor, value: Tensor, centre: Tensor, mask: Tensor | None, *, gaussian: bool
) -> str | None:
    """What stands against the operation, as far as shapes and types tell."""
    reason = why_not_ours(query, key, value, centre, compiled=True)
    if reason is not None:
        return reason
    if query.shape[-1] != key.shape[-1] or 0 in (*query.shape, *key.shape, *value.shape):
        return "there is nothing to multiply"
    if mask is not None and mask.shape[-2] > 1:
        return "the mask is another for each query"
    if gaussian and torch.promote_types(centre.dtype, wide(query).dtype) != wide(query).dtype:
        return "the centres are of another precision than the vectors"
    return None


def window_context(
    query: Tensor, key: Tensor, value: Tensor, centre: Tensor, mask: Tensor | None, form: Form, *, rounded: bool
) -> Tensor:
    """The context; query, key and value have all of the batch."""
    batch = query.shape[:-2]
    if math.prod(centre.shape[:-1]) != 1:
        centre = centre.expand(*batch, centre.shape[-1])
    by_kernel = built("windows") and query.dtype == key.dtype == value.dtype == torch.float32
    context: Tensor = local_windows(query, key, value, centre, mask, *form, rounded, by_kernel)[0]
    return context


class _Work(NamedTuple):
    """The arguments, with queries and centres in order, and how they are dealt with."""

    given: Sequences
    ends: Tensor
    order: Tensor | None
    lost: Tensor  # queries whose centre is NaN
    by_kernel: bool

    def plan(self, half_width: int) -> Plan:
        """The slices, however far apart."""
        size = self.given.key.shape[-1] + self.given.value.shape[-1]
        found = planned(self.ends, math.prod(self.given.query.shape[:-2]), half_width, size, always=True)
        assert found is not None
        return found


def _work(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centre: Tensor,
    mask: Tensor | None,
    form: Form,
    *,
    rounded: bool,
    by_kernel: bool,
) -> _Work:
    lost = centre.isnan()
    if mask is not None:
        lost = lost & mask.any(-1)
    line, order = in_order(held(centre, form.half_width, key.shape[-2], query.dtype), query.shape[:-2])
    ends = ends_of(line, form.half_width, key.shape[-2], rounded=rounded)
    if is_ordinary(query, key, value):
        given = Sequences(query if by_kernel else moved(query, order), key, value, line, mask)
        return _Work(given, ends, order, lost, by_kernel)
    bad = moved(bad_rows(query), order), bad_rows(key), bad_rows(value)
    return _Work(Sequences(moved(query, order), key, value, line, mask, bad), ends, order, lost, by_kernel=False)


@torch.library.custom_op("attnlib::local_windows", mutates_args=())
def local_windows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centre: Tensor,
    mask: Tensor | None,
    half_width: int,
    scale: float,
    gaussian: bool,
    renormalise: bool,
    rounded: bool,
    by_kernel: bool,
) -> tuple[Tensor, Tensor]:
    """The context ``(*batch, query, d_v)``, and what the kernel keeps of each query."""
    form = Form(half_width, scale, gaussian, renormalise)
    work = _work(query, key, value, centre, mask, form, rounded=rounded, by_kernel=by_kernel)
    statistics = query.new_empty(_kept(query, by_kernel=by_kernel))
    if work.by_kernel:
        hidden = None if mask is None else mask.expand(*query.shape[:-2], *mask.shape[-2:])
        context, statistics = banded(*work.given[:4], work.ends, work.order, hidden, form)
    else:
        context = forward(work.given, work.plan(half_width), form)
        context = moved(context, None if work.order is None else work.order.argsort(-1))
    if bool(work.lost.any()):
        context += nan_where(work.lost.unsqueeze(-1), context.dtype)
    return context, statistics


@torch.library.custom_op("attnlib::local_windows_backward", mutates_args=())
def local_windows_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centre: Tensor,
    mask: Tensor | None,
    statistics: Tensor,
    half_width: int,
    scale: float,
    gaussian: bool,
    renormalise: bool,
    rounded: bool,
    by_kernel: bool,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of query, key, value and centre; an empty one where none is wanted."""
    form = Form(half_width, scale, gaussian, renormalise)
    work = _work(query, key, value, centre, mask, form, rounded=rounded, by_kernel=by_kernel)
    back = None if work.order is None else work.order.argsort(-1)
    asked = (*wanted[:3], wanted[3] and gaussian)
    if work.by_kernel:
        hidden = None if mask is None else mask.expand(*query.shape[:-2], *mask.shape[-2:])
        given = (*work.given[:4], work.ends, work.order, hidden, statistics)
        to_query, *found, to_centre = banded_backward(grad, *given, form, asked)
    else:
        upstream = moved(grad, work.order)
        to_query, *found, to_centre = backward(work.given, upstream, work.plan(half_width), form, asked)
        to_query = to_query if to_query is None else moved(to_query, back)
    if to_centre is not None:
        to_centre = to_centre if back is None else to_centre.gather(-1, back)
        to_centre = to_centre.reshape(centre.shape).masked_fill(centre.isnan(), 0.0).to(centre.dtype)
    elif wanted[3]:
        to_centre = torch.zeros_like(centre)
    all_of_them = [query.new_empty(0) if part is None else part for part in (to_query, *found, to_centre)]
    return all_of_them[0], all_of_them[1], all_of_them[2], all_of_them[3]


def _kept(query: Tensor, *, by_kernel: bool) -> tuple[int, ...]:
    """How much the kernel keeps."""
    return (2, math.prod(query.shape[:-2]), query.shape[-2]) if by_kernel else (0,)


@local_windows.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    context = value.new_empty((*query.shape[:-1], value.shape[-1]))
    return context, query.new_empty(_kept(query, by_kernel=others[-1]))


@local_windows_backward.register_fake
def _(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, centre: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parts = zip((query, key, value, centre), others[-1], strict=True)
    found = [part.new_empty(part.shape) if wanted else query.new_empty(0) for part, wanted in parts]
    return found[0], found[1], found[2], found[3]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:5], output[1])
    ctx.how = inputs[5:]


def _gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad[:4])
    found = local_windows_backward(grad, *ctx.saved_tensors, *ctx.how, wanted)
    return (*(part if each else None for part, each in zip(found, wanted, strict=True)), *[None] * (1 + len(ctx.how)))


local_windows.register_autograd(_gradients, setup_context=_save)
