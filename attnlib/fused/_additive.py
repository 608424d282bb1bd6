"""Additive attention in memory that is linear in the length: no tensor of all hidden units, nor of all weights."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._checks import HALF, may_look
from .._rows import bad_rows, is_ordinary, product, wide, without
from .._work import Distribution, Score, Work, lengths
from ..distributions import softmax
from ..scores import Additive, Concat, additive, concat
from ._additive_attention import additive_attention
from ._additive_energies import flat, is_tanh, too_few, why_not_here

__all__ = ["additive_context"]

NEEDED = {additive: {"vector", "query_weight", "key_weight"}, concat: {"vector", "weight"}}


def additive_context(work: Work, score: Score, distribution: Distribution) -> Tensor | str:
    """The context of additive scores with tanh under a softmax; in a few words why not."""
    given = _parameters(score)
    if isinstance(given, str):
        return given
    if distribution is not softmax:
        return "the distribution is not softmax"
    if work.dropout:
        return "dropout is drawn on the weights"
    if isinstance(work.scale, Tensor) and work.scale.numel() != 1:
        return "the scale is not one for all queries"
    if not _fit(work, given):
        return "the parameters do not fit"
    few = too_few(work.batch, *lengths(work), given["vector"].numel())
    if few is not None:
        return few
    tensors = [*work[:3], *(each for each in (*given.values(), work.scale, work.bias) if isinstance(each, Tensor))]
    reason = why_not_here(*tensors)
    if reason is not None:
        return reason
    if len({torch.float32 if each.dtype in HALF else each.dtype for each in tensors if each is not work.bias}) > 1:
        return "the dtypes differ"
    return _context(work, given)


def _parameters(score: Score) -> dict[str, Any] | str:
    """The additive score's, by name; in a few words why it is none."""
    if isinstance(score, partial):
        function, given = score.func, dict(score.keywords)
        known = function in (additive, concat) and not score.args and given.keys() >= NEEDED[function]
    else:
        given = {}
        known = type(score) in (Additive, Concat)
        if known:
            names = ("vector", "bias", "activation", "weight", "query_weight", "key_weight")
            given = {name: getattr(score, name) for name in names if hasattr(score, name)}
            hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
            if any(getattr(score, name) for name in hooks):
                return "the score has hooks"
    if not known:
        return "the score is not additive"
    if not is_tanh(given.pop("activation", torch.tanh)):
        return "the activation is not tanh"
    return given


def _fit(work: Work, given: dict[str, Any]) -> bool:
    """Whether parameters have the shapes that the score asks for; splits the one matrix of :func:`concat`."""
    d_q, d_k, d_w = work.query.shape[-1], work.key.shape[-1], given["vector"].shape[-1:]
    weight = given.pop("weight", None)
    if weight is not None:
        if weight.shape != (*d_w, d_q + d_k):
            return False
        given["query_weight"], given["key_weight"] = weight[:, :d_q], weight[:, d_q:]
    bias = given.get("bias")
    return (
        given["vector"].ndim == 1
        and given["query_weight"].shape == (*d_w, d_q)
        and given["key_weight"].shape == (*d_w, d_k)
        and (bias is None or bias.shape == d_w)
    )


def _context(work: Work, given: dict[str, Any]) -> Tensor:
    """Projections, and with them the operation."""
    query, key, vector = work.query, work.key, wide(given["vector"])
    bad: tuple[Tensor, ...] = ()
    if not (may_look(query, key) and is_ordinary(query, key)):  # zero times a NaN would reach the matrices' gradients
        bad = bad_rows(query), bad_rows(key)
        query, key = without(bad[0], query), without(bad[1], key)
    left, right = product(query, given["query_weight"]), product(key, given["key_weight"])
    if given.get("bias") is not None:
        left = left + given["bias"]
    if bad:
        left, right = torch.where(bad[0], torch.nan, left), torch.where(bad[1], torch.nan, right)
    if work.scale is not None:
        vector = vector * (work.scale.reshape(()) if isinstance(work.scale, Tensor) else work.scale)
    operands = [flat(part, work.batch) for part in (left, right, wide(work.value))]
    masks = work.bias, work.mask, work.batch, work.is_causal
    context: Tensor = additive_attention(operands[0], operands[1], vector, operands[2], *masks)
    return context.view(*work.batch, *context.shape[-2:]).to(work.value.dtype)
