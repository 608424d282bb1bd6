"""Additive attention in memory that is linear in the length: no tensor of all hidden units, nor of all weights."""

import torch
from torch import Tensor

from .._checks import are_mixed, why_not_ours
from .._rows import bad_rows, is_ordinary, product, wide, without
from .._work import Distribution, Score, Work, lengths
from ..distributions import softmax
from ._additive_attention import additive_attention
from ._additive_energies import flat, too_few
from ._layer import Layer, layer_of

__all__ = ["additive_context"]


def additive_context(work: Work, score: Score, distribution: Distribution) -> Tensor | str:
    """The context of additive scores with tanh under a softmax; in a few words why not."""
    layer = layer_of(score, work.query.shape[-1], work.key.shape[-1])
    if isinstance(layer, str):
        return layer
    if distribution is not softmax:
        return "the distribution is not softmax"
    if work.dropout:
        return "dropout is drawn on the weights"
    if isinstance(work.scale, Tensor) and work.scale.numel() != 1:
        return "the scale is not one for all queries"
    tensors = [*work[:3], *(each for each in (*layer, work.scale, work.bias) if isinstance(each, Tensor))]
    # In this order: a look at sizes binds what is exported to those that it was exported with.
    reason = why_not_ours(*tensors, compiled=True) or too_few(work.batch, *lengths(work), layer.vector.numel())
    if reason is not None:
        return reason
    if are_mixed(*(each for each in tensors if each is not work.bias)):
        return "the precisions differ"
    return _context(work, layer)


def _context(work: Work, layer: Layer) -> Tensor:
    """Projections, and with them the operation."""
    query, key, vector = work.query, work.key, wide(layer.vector)
    bad: tuple[Tensor, ...] = ()
    if not is_ordinary(query, key):  # zero times a NaN would reach the matrices' gradients
        bad = bad_rows(query), bad_rows(key)
        query, key = without(bad[0], query), without(bad[1], key)
    left, right = product(query, layer.query_weight), product(key, layer.key_weight)
    if layer.bias is not None:
        left = left + layer.bias
    if bad:
        left, right = torch.where(bad[0], torch.nan, left), torch.where(bad[1], torch.nan, right)
    if work.scale is not None:
        vector = vector * (work.scale.reshape(()) if isinstance(work.scale, Tensor) else work.scale)
    operands = [flat(part, work.batch) for part in (left, right, wide(work.value))]
    masks = work.bias, work.mask, work.batch, work.is_causal
    context: Tensor = additive_attention(operands[0], operands[1], vector, operands[2], *masks)
    return context.view(*work.batch, *context.shape[-2:]).to(work.value.dtype)
