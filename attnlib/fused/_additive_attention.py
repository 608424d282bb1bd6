"""The operation of additive attention: a context from projected queries and keys, made again backwards."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._rows import bad_rows, burst_rows, nan_where, sees_any, without
from ..distributions import softmax
from ._additive_energies import again, plain_energies
from ._tanh_sums import Part, parts, sums_of

__all__ = ["additive_attention"]


class _Spread:
    """A mask or bias ``(..., query or 1, key or 1)`` for all items of a batch, without a copy for each."""

    def __init__(self, tensor: Tensor, batch: Sequence[int]) -> None:
        self.tensor = tensor.reshape(-1, *tensor.shape[-2:])
        count = torch.arange(self.tensor.shape[0], device=tensor.device)
        self.owner = count.reshape(tensor.shape[:-2]).expand(tuple(batch)).reshape(-1)  # whose each item is
        self.grad: Tensor | None = None

    def of(self, part: Part) -> Tensor:
        """What a part of the work sees, of size 1 where it is the same for all."""
        return self._cut(self.tensor, part)[self.owner[part.items]]

    def add_gradient(self, part: Part, grad: Tensor) -> None:
        """Take in the gradient of a part."""
        if self.grad is None:
            self.grad = torch.zeros_like(self.tensor)
        cut = self._cut(self.grad, part)
        cut.index_add_(0, self.owner[part.items], grad.sum_to_size(grad.shape[0], *cut.shape[1:]).to(cut.dtype))

    def _cut(self, tensor: Tensor, part: Part) -> Tensor:
        tensor = tensor if tensor.shape[1] == 1 else tensor[:, part.rows]
        return tensor if tensor.shape[2] == 1 else tensor[..., : part.n_key]


class _Masks:
    """Who may attend to whom, and the bias."""

    def __init__(self, bias: Tensor | None, mask: Tensor | None, batch: Sequence[int], is_causal: bool) -> None:
        self.bias = None if bias is None else _Spread(bias, batch)
        self.mask = None if mask is None else _Spread(mask, batch)
        self.is_causal = is_causal

    def applied(self, energies: Tensor, part: Part) -> tuple[Tensor, Tensor | None]:
        """A part's energies with the bias, minus infinity where they do not count; and where they do."""
        bias = None if self.bias is None else self.bias.of(part)
        found = [] if self.mask is None else [self.mask.of(part)]
        if bias is not None:
            energies = energies + bias
            found.append(bias != -torch.inf)
        if self.is_causal:
            position = torch.arange(part.rows.start, part.rows.stop, device=energies.device)
            found.append(torch.arange(part.n_key, device=energies.device) <= position.unsqueeze(-1))
        if not found:
            return energies, None
        visible = found[0]
        for each in found[1:]:
            visible = visible & each
        return torch.where(visible, energies, -torch.inf), visible


class _Attention:
    """The work of one call, a part of the queries at a time."""

    def __init__(self, left: Tensor, right: Tensor, vector: Tensor, value: Tensor, masks: _Masks) -> None:
        self.sums, self.value, self.masks = sums_of(left, right, vector), value, masks
        self.shape = (left.shape[0], left.shape[1], right.shape[1])
        self.bad_value: Tensor | None = None
        is_masked = masks.is_causal or masks.mask is not None or masks.bias is not None
        if is_masked and not value.abs().sum().isfinite():
            self.bad_value = bad_rows(value)
            self.value = without(self.bad_value, value)

    def parts(self) -> Iterator[Part]:
        """All of it."""
        return parts(*self.shape, is_causal=self.masks.is_causal)

    def weights(self, part: Part) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Weights, which pairs may count, and which rows have an energy that no softmax can weigh."""
        energies, visible = self.masks.applied(self.sums.energies(part), part)
        weights = torch.softmax(energies, -1)
        odd = weights[..., :1].isnan()
        if not bool(odd.any()):
            return weights, visible, None
        lost = burst_rows(energies)
        return weights.masked_fill(odd, 0.0), visible, lost

    def context(self, part: Part) -> Tensor:
        """That of a part's queries."""
        weights, visible, lost = self.weights(part)
        found = weights @ self.value[part.keys]
        if lost is not None:
            found = found + nan_where(lost, found.dtype)
        if self.bad_value is not None and visible is not None:
            seen = visible.expand(*visible.shape[:-1], part.n_key)
            found = found + nan_where(sees_any(seen, self.bad_value[part.keys]), found.dtype)
        return found

    def add_gradients(self, part: Part, grad: Tensor, grad_value: Tensor) -> None:
        """Take in the gradient of a part's context."""
        weights, visible, _ = self.weights(part)
        grad_value[part.keys] += weights.mT @ grad
        inner = grad @ self.value[part.keys].mT
        if visible is not None:  # what is hidden may be so large that this overflows
            inner = torch.where(visible, inner, 0.0)
        grad_energies = torch.ops.aten._softmax_backward_data(inner, weights, -1, weights.dtype)
        self.sums.add_gradients(part, grad_energies)
        if self.masks.bias is not None:
            self.masks.bias.add_gradient(part, grad_energies)


@torch.library.custom_op("attnlib::additive_attention", mutates_args=())
def additive_attention(
    left: Tensor,
    right: Tensor,
    vector: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    batch: Sequence[int],
    is_causal: bool,
) -> Tensor:
    """The context ``(items, query, d_v)``; all leading axes in one, but for those of bias and mask."""
    attention = _Attention(left, right, vector, value, _Masks(bias, mask, batch, is_causal))
    found = value.new_empty(left.shape[0], left.shape[1], value.shape[-1])
    for part in attention.parts():
        found[part.queries] = attention.context(part)
    return found


@torch.library.custom_op("attnlib::additive_attention_backward", mutates_args=())
def additive_attention_backward(
    grad: Tensor,
    left: Tensor,
    right: Tensor,
    vector: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    batch: Sequence[int],
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of left, right, vector, value and bias; an empty one where there is no bias."""
    attention = _Attention(left, right, vector, value, _Masks(bias, mask, batch, is_causal))
    attention.sums.start_gradients()
    grad_value = torch.zeros_like(value)
    for part in attention.parts():
        attention.add_gradients(part, grad[part.queries], grad_value)
    spread = attention.masks.bias
    grad_bias = value.new_empty(0)
    if bias is not None and spread is not None and spread.grad is not None:
        grad_bias = spread.grad.view_as(bias)
    return (*attention.sums.gradients(), grad_value, grad_bias)


@additive_attention.register_fake
def _(left: Tensor, right: Tensor, vector: Tensor, value: Tensor, *masks: Any) -> Tensor:
    return value.new_empty(left.shape[0], left.shape[1], value.shape[-1])


@additive_attention_backward.register_fake
def _(
    grad: Tensor, left: Tensor, right: Tensor, vector: Tensor, value: Tensor, bias: Tensor | None, *masks: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    found = (torch.empty_like(left), torch.empty_like(right), torch.empty_like(vector), torch.empty_like(value))
    return (*found, value.new_empty(0) if bias is None else bias.new_empty(bias.shape))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, batch, is_causal = inputs
    ctx.save_for_backward(*tensors)
    ctx.batch, ctx.is_causal = batch, is_causal


def _plain(
    left: Tensor,
    right: Tensor,
    vector: Tensor,
    value: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    *,
    batch: Sequence[int],
    is_causal: bool,
) -> Tensor:
    """The same in operations of torch, all pairs at once."""
    whole = Part(slice(0, left.shape[0]), slice(0, left.shape[1]), right.shape[1])
    energies, visible = _Masks(bias, mask, batch, is_causal).applied(plain_energies(left, right, vector), whole)
    lost = burst_rows(energies)
    weights = softmax(torch.where(lost, -torch.inf, energies))
    return weights @ (value if visible is None else without(bad_rows(value), value))


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    if torch.is_grad_enabled():
        function = partial(_plain, batch=ctx.batch, is_causal=ctx.is_causal)
        return (*again(function, tensors, ctx.needs_input_grad[: len(tensors)], grad), None, None)
    *found, grad_bias = additive_attention_backward(grad, *tensors, ctx.batch, ctx.is_causal)
    return (*found, None if tensors[4] is None else grad_bias, None, None, None)


additive_attention.register_autograd(_gradients, setup_context=_save)
