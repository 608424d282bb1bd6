"""Attention to windows through the kernel in C++: each query with its own keys, a register's lane a query."""

from typing import Any

import torch
from torch import Tensor

from .._rows import beside
from ._slices import Form, Once

__all__ = ["Banded"]


class Banded(torch.autograd.Function):
    """The context ``(*batch, query, d_v)``; centres and ends of the windows in order, the vectors as they are."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        centre: Tensor,
        ends: Tensor,
        order: Tensor | None,
        mask: Tensor | None,
        form: Form,
    ) -> Tensor:
        """In single precision."""
        context, statistics = banded(query, key, value, centre, ends, order, mask, form)
        ctx.save_for_backward(query, key, value, centre, ends, order, mask, statistics)
        ctx.form = form
        return context

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """A gradient for what asks for one."""
        found = Once.apply(banded_backward, grad, *ctx.saved_tensors, ctx.form, ctx.needs_input_grad[:4])  # type: ignore[no-untyped-call]
        return (*found, None, None, None, None)


def banded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centre: Tensor,
    ends: Tensor,
    order: Tensor | None,
    mask: Tensor | None,
    form: Form,
) -> tuple[Tensor, Tensor]:
    """The context, and what is known of each query's energies, for the way back."""
    given = beside(query), beside(key), beside(value), centre, ends, order, mask
    found: tuple[Tensor, Tensor] = torch.ops.attnlib.windows_kernel(*given, *form)
    return found


def banded_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centre: Tensor,
    ends: Tensor,
    order: Tensor | None,
    mask: Tensor | None,
    statistics: Tensor,
    form: Form,
    asked: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Gradients of query, key, value and centre, as far as asked for."""
    given = beside(query), beside(key), beside(value), centre, ends, order, mask, statistics
    wanted = [*asked[:3], asked[3] and form.gaussian]
    found: tuple[Tensor | None, ...] = torch.ops.attnlib.windows_kernel_backward(beside(grad), *given, *form, wanted)
    return found
