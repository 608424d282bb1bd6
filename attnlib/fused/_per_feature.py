r"""Attention with a weight for each feature, energies ``c tanh((q + k) / c)``: a run of queries at a time, no maximum.

Energies lie between ``-c`` and ``c``, so that the softmax needs no maximum taken off. And with two exponentials for
each vector, not for each pair, the tangent is a quotient:

.. math:: c \tanh\frac{q + k}{c} - c = \frac{-2 c}{1 + e^{2 q / c} e^{2 k / c}} = y, \qquad
    \frac{\partial y}{\partial q} = 4 r (1 - r), \quad r = \frac{-y}{2 c}

What stays in memory is ``exp(y)`` of a run; going backwards it is computed again. Padding is left out before the start.
Where the kernel in C++ is built, it does the same without even a run in memory, a register of features at a time.

A compiler sees one operation of torch. What is not finite is dealt with inside of it, so that no value has to be looked
at before.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from .._checks import HALF, are_mixed, why_not_ours
from .._rows import all_finite, without
from . import native

__all__ = ["features_in_runs"]

DIRECTIONS = ("forward", "backward", "others")
NUMBERS = 2**18  # so many of a run on the CPU, near what its caches hold; a graphics card wants more at a time
NUMBERS_ELSEWHERE = 2**26
REACH = 16  # vectors of up to so many times the limit: their exponentials keep their digits, and so do products
LARGEST_LIMIT = 20.0  # exp(-2 c) is far from the smallest number


def features_in_runs(
    query: Tensor, key: Tensor, value: Tensor, direction: str, mask: Tensor | None, limit: float
) -> Tensor | str:
    """The context ``(*batch, time, d)`` of tokens that attend in one direction; why not, where this cannot be done.

    Args:
        query: ``(*batch, time, d)``, as key and value are.
        key: what the keys offer.
        value: what is averaged.
        direction: ``forward``, ``backward`` or ``others``.
        mask: ``(*batch, time)``, True = a real token.
        limit: the ``c`` of the energies.
    """
    reason = why_not_ours(query, key, value, compiled=True)
    if reason is not None:
        return reason
    if direction not in DIRECTIONS:
        return "there is no such direction"
    if not 0 < limit <= LARGEST_LIMIT:
        return f"a limit above {LARGEST_LIMIT:g} needs a maximum"
    if not value.numel():
        return "there is nothing to average"
    parts = [part.float() if part.dtype in HALF else part for part in (query, key, value)]
    if are_mixed(*parts) or any(part.shape != value.shape for part in parts):
        return "the precisions, or the sizes, differ"
    parts = [part.reshape(-1, *part.shape[-2:]) for part in parts]
    real = None if mask is None else mask.expand(value.shape[:-1]).reshape(-1, value.shape[-2])
    context, _ = torch.ops.attnlib.attend_by_feature(*parts, real, direction, float(limit))
    return cast(Tensor, context.view(value.shape).to(value.dtype))


class _Entry:
    """One sequence without its padding, and the weights of its runs of queries, up to a factor of each query."""

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, direction: str, limit: float) -> None:
        self.query, self.key, self.value, self.direction, self.limit = query, key, value, direction, limit
        self.factor = -1 / (2 * limit)
        self.base = value.new_tensor(self.factor)
        self.is_quotient = max(float(part.abs().max()) for part in (query, key)) <= REACH * limit
        if self.is_quotient:
            self.asks, self.offers = (query * (2 / limit)).exp_() * self.factor, (key * (2 / limit)).exp_()

    def runs(self) -> Iterator[tuple[slice, slice]]:
        """Rows, and the keys that they may see."""
        n, d = self.value.shape
        numbers = NUMBERS if self.value.device.type == "cpu" else NUMBERS_ELSEWHERE
        first = 0
        while first < n:
            longest = {"forward": max(first, n // 4), "backward": n - first}.get(self.direction, n)
            last = min(n, first + max(1, numbers // max(longest * d, 1)))
            yield slice(first, last), slice(*{"forward": (0, last), "backward": (first, n)}.get(self.direction, (0, n)))
            first = last

    def lowered(self, rows: slice, keys: slice, out: Tensor) -> Tensor:
        """``y``, the energies less the limit: ``(row, key, d)``."""
        if self.is_quotient:
            found = torch.addcmul(self.base, self.asks[rows, None], self.offers[keys], out=out)
            return found.reciprocal_()
        found = torch.add(self.query[rows, None], self.key[keys], out=out)
        return found.div_(self.limit).tanh_().sub_(1).mul_(self.limit)

    def hide(self, weights: Tensor, rows: slice, keys: slice) -> Tensor:
        """Nought where the direction hides; only tokens of the run itself are looked at."""
        n = rows.stop - rows.start
        near = weights[:, rows.start - keys.start : rows.start - keys.start + n]
        shown = {"forward": torch.Tensor.tril, "backward": torch.Tensor.triu}
        ones = torch.ones(n, n, dtype=weights.dtype, device=weights.device)
        if self.direction in shown:
            ones = shown[self.direction](ones)
        near.mul_(ones.fill_diagonal_(0).unsqueeze(-1))
        return weights


def _entries(
    parts: tuple[Tensor, ...], real: Tensor | None, direction: str, limit: float
) -> Iterator[tuple[int | tuple[int, Tensor], _Entry]]:
    """Each sequence of the batch and its place there."""
    for b in range(parts[0].shape[0]):
        place: int | tuple[int, Tensor] = b
        if real is not None and not bool(real[b].all()):
            place = (b, real[b].nonzero().squeeze(-1))
        query, key, value = (part[place] for part in parts)
        if value.shape[0]:
            yield place, _Entry(query, key, value, direction, limit)


def _room(memory: list[Tensor], *shape: int) -> Tensor:
    """The same memory for each run: pages that were touched are not asked for again."""
    size = torch.Size(shape).numel()
    if memory[0].numel() < size:
        memory[0] = memory[0].new_empty(size)
    return memory[0][:size].view(shape)


def _quarantined(
    query: Tensor, key: Tensor, value: Tensor, real: Tensor | None, direction: str
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
    """Query, key and value without what is not finite; where an energy is no number, and where a value is none.

    An infinity alone has an energy: that at the end of the tangent, as the largest number has.
    """

    def seen(found: Tensor) -> Tensor:
        """Whether a token sees one of those, in each feature."""
        found = found if real is None else found & real.unsqueeze(-1)
        count = found.long()
        before, all_of_them = count.cumsum(-2) - count, count.sum(-2, keepdim=True)
        count = {"forward": before, "backward": all_of_them - before - count}.get(direction, all_of_them - count)
        return count > 0 if real is None else (count > 0) & real.unsqueeze(-1)

    lost = query.isnan() & seen(torch.ones_like(key, dtype=torch.bool)) | seen(key.isnan())
    for end in (torch.inf, -torch.inf):
        lost |= (query == end) & seen(key == -end)
    bad = ~value.isfinite()
    return (query.nan_to_num(), key.nan_to_num(), without(bad, value)), lost, seen(bad)


def _by_kernel(value: Tensor) -> bool:
    """Whether the kernel in C++ does the work."""
    return value.is_cpu and native.built("per_feature")


@torch.library.custom_op("attnlib::attend_by_feature", mutates_args=())
def _attend_by_feature(
    query: Tensor, key: Tensor, value: Tensor, real: Tensor | None, direction: str, limit: float
) -> tuple[Tensor, Tensor]:
    """Contexts, and the sums of what the weights are in proportion to, both ``(batch, time, d)``."""
    if not all_finite(query, key, value):
        clean, lost, sees_lost = _quarantined(query, key, value, real, direction)
        context, total = _averages(*clean, real, direction, limit)
        return context.masked_fill_(lost | sees_lost, torch.nan), total
    return _contexts(query, key, value, real, direction, limit)


def _averages(query: Tensor, key: Tensor, value: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """:func:`_contexts` where a sum of values may be too large for its precision, though no value is."""
    count = 2.0 ** (value.shape[-2] - 1).bit_length()
    context, total = _contexts(query, key, value / count, *options)
    return context * count, total


def _contexts(
    query: Tensor, key: Tensor, value: Tensor, real: Tensor | None, direction: str, limit: float
) -> tuple[Tensor, Tensor]:
    """The same of finite numbers."""
    if _by_kernel(value):
        given = query, key, value, real, direction, limit
        return cast(tuple[Tensor, Tensor], torch.ops.attnlib.per_feature_kernel(*given))
    context, total = value.new_zeros(value.shape), value.new_zeros(value.shape)
    memory = [value.new_empty(0)]
    for place, entry in _entries((query, key, value), real, direction, limit):
        found, sums = torch.zeros_like(entry.value), torch.zeros_like(entry.value)
        for rows, keys in entry.runs():
            shape = rows.stop - rows.start, keys.stop - keys.start, value.shape[-1]
            weights = entry.hide(entry.lowered(rows, keys, _room(memory, *shape)).exp_(), rows, keys)
            torch.sum(weights, 1, out=sums[rows])
            torch.sum(weights.mul_(entry.value[keys]), 1, out=found[rows])
        context[place] = found / torch.where(sums == 0, 1.0, sums)
        total[place] = sums
    return context, total


@_attend_by_feature.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, real: Tensor | None, direction: str, limit: float
) -> tuple[Tensor, Tensor]:
    return value.new_empty(value.shape), value.new_empty(value.shape)


@torch.library.custom_op("attnlib::attend_by_feature_backward", mutates_args=())
def _attend_by_feature_backward(
    upstream: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    context: Tensor,
    total: Tensor,
    real: Tensor | None,
    direction: str,
    limit: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value, the weights of a run computed again."""
    options = real, direction, limit
    if not all_finite(query, key, value):
        (query, key, clean), lost, _ = _quarantined(query, key, value, real, direction)
        context, total = _averages(query, key, clean, *options)
        given = upstream.masked_fill(lost, 0.0), query, key, clean, context, total
        to_query, to_key, to_value = _gradients(*given, *options)
        return to_query, to_key, to_value.masked_fill_(~value.isfinite(), 0.0)
    return _gradients(upstream, query, key, value, context, total, *options)


def _gradients(
    upstream: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    context: Tensor,
    total: Tensor,
    real: Tensor | None,
    direction: str,
    limit: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same of finite numbers."""
    if _by_kernel(value):
        given = upstream, query, key, value, context, total, real, direction, limit
        return cast(tuple[Tensor, Tensor, Tensor], torch.ops.attnlib.per_feature_kernel_backward(*given))
    gradients = query.new_zeros(query.shape), key.new_zeros(key.shape), value.new_zeros(value.shape)
    share = upstream / torch.where(total == 0, 1.0, total)
    memories = [[value.new_empty(0)] for _ in range(3)]
    for place, entry in _entries((query, key, value), real, direction, limit):
        to_query, to_key, to_value = (torch.zeros_like(entry.value) for _ in range(3))
        shares, middle = share[place], context[place]
        for rows, keys in entry.runs():
            shape = rows.stop - rows.start, keys.stop - keys.start, value.shape[-1]
            lowered, weights, other = (_room(memory, *shape) for memory in memories)
            entry.lowered(rows, keys, lowered)
            entry.hide(torch.exp(lowered, out=weights), rows, keys).mul_(shares[rows, None])
            to_value[keys] += weights.sum(0)
            weights.mul_(torch.sub(entry.value[keys], middle[rows, None], out=other))
            weights.mul_(lowered.addcmul_(lowered, lowered, value=-entry.factor))
            torch.sum(weights, 1, out=to_query[rows])
            to_key[keys] += weights.sum(0)
        for gradient, found, times in zip(
            gradients, (to_query, to_key, to_value), (4 * entry.factor, 4 * entry.factor, 1), strict=True
        ):
            gradient[place] = found * times
    return gradients


@_attend_by_feature_backward.register_fake
def _(
    upstream: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    context: Tensor,
    total: Tensor,
    real: Tensor | None,
    direction: str,
    limit: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _plain(query: Tensor, key: Tensor, value: Tensor, real: Tensor | None, direction: str, limit: float) -> Tensor:
    """The same in operations that can be differentiated as often as one likes, all pairs in memory."""
    n = value.shape[-2]
    place = torch.arange(n, device=value.device)
    far = place - place.unsqueeze(-1)
    seen = {"forward": far < 0, "backward": far > 0}.get(direction, far != 0)
    if real is not None:
        seen = seen & real.unsqueeze(-1) & real.unsqueeze(-2)
    lowered = limit * (torch.tanh((query.unsqueeze(-2) + key.unsqueeze(-3)) / limit) - 1)
    weights = lowered.exp() * seen.unsqueeze(-1)
    total = weights.sum(-2)
    return (weights * value.unsqueeze(-3)).sum(-2) / torch.where(total == 0, 1.0, total)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *_, ctx.direction, ctx.limit = inputs
    ctx.save_for_backward(*inputs[:4], *output)
    ctx.mark_non_differentiable(output[1])


def _gradient(ctx: Any, upstream: Tensor, _total: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, real, context, total = ctx.saved_tensors
    options = real, ctx.direction, ctx.limit
    if torch.is_grad_enabled():  # the gradient is to be differentiated again
        stand_ins, lost, _ = _quarantined(query.detach(), key.detach(), value.detach(), real, ctx.direction)
        parts = zip((query, key, value), stand_ins, strict=True)
        asks, offers, values = (torch.where(part.isfinite(), part, other) for part, other in parts)
        found = _plain(asks, offers, values, *options)
        upstream = upstream.masked_fill(lost, 0.0)
        return *torch.autograd.grad(found, (query, key, value), upstream, create_graph=True), None, None, None
    given = upstream, query, key, value, context, total, *options
    return *torch.ops.attnlib.attend_by_feature_backward(*given), None, None, None


torch.library.register_autograd("attnlib::attend_by_feature", _gradient, setup_context=_keep)
