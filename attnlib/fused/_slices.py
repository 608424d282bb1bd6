r"""Attention of runs of queries to slices of the keys, forwards and backwards, in plain torch.

A block is some rows of the batch, a run of queries, and the slice of keys that covers the windows of them all. Within a
block the arithmetic is that of :func:`attnlib.softness.local.local`. With :math:`e` the energies and :math:`\gamma` the
Gaussian of the distances (in logarithms under the softmax, where the weights are normalised after it),

.. math::
    a = \mathrm{softmax}(e), \quad c = (a \gamma) V; \qquad
    de = a \odot (\delta - \langle a, \delta \rangle), \quad \delta = \gamma \odot (dc\, V^\top)

Backwards, the energies are computed again, block by block, and what each block adds to the gradients of its slice is
added in place. Nothing is kept but the arguments.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .._rows import burst_rows, wide, without

__all__ = ["Block", "Form", "Once", "Plan", "Sequences", "Slices", "backward", "forward"]


class Form(NamedTuple):
    """What is done with an energy."""

    half_width: int
    scale: float
    gaussian: bool
    renormalise: bool


class Block(NamedTuple):
    """Rows of the batch and queries that are taken together, and the keys that they see."""

    rows: slice
    queries: slice
    keys: slice


class Plan(NamedTuple):
    """Which keys each query may see, and which queries are taken together."""

    ends: Tensor  # (2, rows or 1, query): the first key of the window, and the last
    blocks: list[Block]
    is_full: bool  # no window is empty


class Near(NamedTuple):
    """What a block adds to its energies, and what it does to the weights."""

    bias: Tensor  # (rows or 1, query, key): minus infinity where nothing is seen
    gaussian: Tensor | None  # a factor of the weights
    slope: Tensor | None  # by how much the logarithm of the Gaussian grows with the centre
    empty: Tensor | None  # (rows or 1, query, 1): queries that see nothing


class Sequences(NamedTuple):
    """The arguments, ``(*batch, length, size)``, and a block of each."""

    query: Tensor
    key: Tensor
    value: Tensor
    centre: Tensor  # (rows or 1, query)
    mask: Tensor | None
    bad: tuple[Tensor, Tensor, Tensor] | None = (
        None  # rows of query, key and value that are not finite, if there may be
    )

    def of(self, block: Block) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of a block, ``(rows, length, size)``, in the precision of the arithmetic."""
        rows, queries, keys = block
        return (
            wide(_flat(self.query[..., queries, :])[rows]),
            wide(_flat(self.key[..., keys, :])[rows]),
            wide(_flat(self.value[..., keys, :])[rows]),
        )


class Slices(torch.autograd.Function):
    """The context ``(*batch, query, d_v)`` by a plan."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        centre: Tensor,
        mask: Tensor | None,
        plan: Plan,
        form: Form,
    ) -> Tensor:
        """In the precision of the values."""
        given = Sequences(query, key, value, centre, mask)
        ctx.save_for_backward(query, key, value, centre, mask)
        ctx.plan, ctx.form = plan, form
        with torch.autocast(query.device.type, enabled=False):
            return forward(given, plan, form)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """A gradient for what asks for one."""
        asked = ctx.needs_input_grad[:4]
        found = Once.apply(_gradients, grad, *ctx.saved_tensors, ctx.plan, ctx.form, asked)  # type: ignore[no-untyped-call]
        return (*found, None, None, None)


class Once(torch.autograd.Function):
    """Gradients, which have none: who wants a second derivative is told, and gets no zeros."""

    @staticmethod
    def forward(ctx: Any, gradients: Callable[..., Iterable[Tensor | None]], *given: Any) -> tuple[Tensor | None, ...]:
        """What the function gives for what is given."""
        return tuple(gradients(*given))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Tensor:
        """No."""
        raise RuntimeError("local attention without its weights has no second derivative: ask with need_weights=True")


def _gradients(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centre: Tensor,
    mask: Tensor | None,
    plan: Plan,
    form: Form,
    asked: tuple[bool, ...],
) -> list[Tensor | None]:
    """Of query, key, value and centre, as far as asked for."""
    with torch.autocast(grad.device.type, enabled=False):
        return backward(Sequences(query, key, value, centre, mask), grad, plan, form, asked)


def _flat(tensor: Tensor) -> Tensor:
    """The leading dimensions as one; a view where that can be."""
    return tensor if tensor.ndim == 3 else tensor.reshape(-1, *tensor.shape[-2:])


def _near(given: Sequences, plan: Plan, form: Form) -> Iterator[tuple[Block, Near]]:
    """The blocks with what tells near from far. In most blocks of whole centres that is the same: it is made once."""
    known: tuple[Tensor, Near] | None = None
    for block in plan.blocks:
        rows = slice(0, 1) if len(plan.ends[0]) == 1 else block.rows
        ends = plan.ends[:, rows, block.queries] - block.keys.start
        if known is None or not torch.equal(ends, known[0]) or known[1].bias.shape[-1] != _length(block.keys):
            near = _nearness(ends, block, rows, given, plan, form)
            known = None if form.gaussian or given.mask is not None else (ends, near)
        yield block, near


def _nearness(ends: Tensor, block: Block, rows: slice, given: Sequences, plan: Plan, form: Form) -> Near:
    dtype = given.centre.dtype if form.gaussian else wide(given.query).dtype
    places = torch.arange(_length(block.keys))
    hidden = (places < ends[0].unsqueeze(-1)) | (places > ends[1].unsqueeze(-1))
    empty = None
    if given.mask is not None:
        queries, keys = (
            where if size > 1 else slice(None)
            for where, size in zip((block.queries, block.keys), given.mask.shape[-2:], strict=True)
        )
        part = given.mask[..., queries, keys]
        hidden = hidden | ~_flat(part.expand(*given.query.shape[:-2], *part.shape[-2:]))[block.rows]
    bias = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, -torch.inf)
    if given.mask is not None or not plan.is_full:
        empty = hidden.all(-1, keepdim=True)
        bias = bias.masked_fill_(empty, 0.0)
    if not form.gaussian:
        return Near(bias, None, None, empty)
    centre = given.centre.detach()[rows, block.queries].unsqueeze(-1)
    distance = ((places + block.keys.start) - centre) / form.half_width
    slope = distance * (4 / form.half_width)
    if form.renormalise:
        return Near(bias - 2 * distance**2, None, slope, empty)
    return Near(bias, torch.exp(-2 * distance**2), slope, empty)


def _length(where: slice) -> int:
    found: int = where.stop - where.start
    return found


def forward(given: Sequences, plan: Plan, form: Form) -> Tensor:
    """The context, in the precision of the values."""
    shape = (*given.query.shape[:-1], given.value.shape[-1])
    context = given.value.new_empty(shape) if plan.is_full else given.value.new_zeros(shape)
    flat = _flat(context)
    for block, near in _near(given, plan, form):
        query, key, value = given.of(block)
        if given.bad is not None:
            _, _, value, shares, lost = _careful(given, block, near, form)
            found = torch.bmm(_weighted(shares, near), value).masked_fill(lost, torch.nan)
        elif near.gaussian is None and value.shape[-1] == query.shape[-1]:
            sides = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0), near.bias.unsqueeze(0)
            found = F.scaled_dot_product_attention(*sides, scale=form.scale)[0]
        else:
            found = torch.bmm(_weighted(_shares(query, key, near, form), near), value)
        flat[block.rows, block.queries] = found if near.empty is None else found.masked_fill(near.empty, 0.0)
    return context


def _shares(query: Tensor, key: Tensor, near: Near, form: Form) -> Tensor:
    """The softmax in the window."""
    return torch.baddbmm(near.bias, query, key.mT, alpha=form.scale).softmax(-1)


def _careful(given: Sequences, block: Block, near: Near, form: Form) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Query, key and value with ones for what is not finite; the softmax; queries that see what is not, or overflow."""
    assert given.bad is not None
    query, key, value = given.of(block)
    bad_query, bad_key, bad_value = given._replace(query=given.bad[0], key=given.bad[1], value=given.bad[2]).of(block)
    visible = near.bias != -torch.inf
    energies = torch.where(visible, torch.bmm(query * form.scale, key.mT) + near.bias, -torch.inf)
    burst = burst_rows(energies) | (visible & (bad_query | bad_key.mT)).any(-1, keepdim=True)
    shares = energies.masked_fill(burst, 0.0).softmax(-1).masked_fill(burst, 0.0)
    lost = burst | (visible & bad_value.mT).any(-1, keepdim=True)
    return without(bad_query, query), without(bad_key, key), without(bad_value, value), shares, lost


def _weighted(shares: Tensor, near: Near) -> Tensor:
    return shares if near.gaussian is None else shares * near.gaussian


def backward(given: Sequences, grad: Tensor, plan: Plan, form: Form, asked: tuple[bool, ...]) -> list[Tensor | None]:
    """Gradients of query, key, value and centre."""
    made = [
        torch.zeros(part.shape, dtype=wide(part).dtype) if wanted else None
        for part, wanted in zip(given[:4], asked[:4], strict=True)
    ]
    to_query, to_key, to_value = (part if part is None else _flat(part) for part in made[:3])
    to_centre = made[3] if form.gaussian else None
    for block, near in _near(given, plan, form):
        query, key, value = given.of(block)
        part = wide(_flat(grad[..., block.queries, :])[block.rows])
        part = part if near.empty is None else part.masked_fill(near.empty, 0.0)
        if given.bad is None:
            shares = _shares(query, key, near, form)
        else:
            query, key, value, shares, _ = _careful(given, block, near, form)
        if to_value is not None:
            to_value[block.rows, block.keys].baddbmm_(_weighted(shares, near).mT, part)
        if to_query is None and to_key is None and to_centre is None:
            continue
        slopes = _weighted(torch.bmm(part, value.mT), near)
        if given.bad is not None:
            slopes = slopes.masked_fill(near.bias == -torch.inf, 0.0)
        if near.gaussian is not None:
            _add_to_centre(to_centre, block, shares * slopes, near)
        slopes = torch._softmax_backward_data(slopes, shares, -1, shares.dtype)
        if near.gaussian is None:
            _add_to_centre(to_centre, block, slopes, near)
        if to_query is not None:
            torch.bmm(slopes, key, out=to_query[block.rows, block.queries]).mul_(form.scale)
        if to_key is not None:
            to_key[block.rows, block.keys].baddbmm_(slopes.mT, query, alpha=form.scale)
    for found, bad in zip(made[:3], given.bad or (), strict=False):
        if found is not None:
            found.masked_fill_(bad, 0.0)
    return [part if part is None else part.to(known.dtype) for part, known in zip(made, given[:4], strict=True)]


def _add_to_centre(to_centre: Tensor | None, block: Block, slopes: Tensor, near: Near) -> None:
    """What the logarithm of the Gaussian hands on to the centre."""
    if to_centre is None or near.slope is None:
        return
    found = (slopes * near.slope).sum(-1)
    if len(to_centre) == 1:
        to_centre[0, block.queries] += found.sum(0)
    else:
        to_centre[block.rows, block.queries] += found
