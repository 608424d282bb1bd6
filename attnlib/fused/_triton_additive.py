r"""Additive attention without its weights on a GPU: kernels in Triton, memory linear in the lengths.

.. math:: c_i = \sum_j \mathrm{softmax}_j(v^\top \tanh(a_i + b_j)) \, u_j, \quad a = W_q q + b, \; b = W_k k

Forward, one kernel keeps a running softmax and stores of each query its context and the logarithm of its sum.
Backward, the weights are computed again for a run of queries at a time, with no more pairs in a run than there are
numbers in the arguments.
"""

import importlib.util
import math
import os
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import TRANSFORMED, is_transformed
from .._rows import bad_rows, product, times, wide, without
from .._work import Distribution, Score, Work, is_masked, lengths
from ..distributions import softmax
from ._additive_energies import flat
from ._layer import Layer, layer_of

__all__ = ["triton_context"]

HAS_TRITON = importlib.util.find_spec("triton") is not None
# Triton reads this when a kernel is defined: then there is no GPU, and its interpreter runs the kernels on the CPU.
IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
# The sizes of tiles: of queries, of keys, and of rows and features. They fill the registers of a GPU; for the
# interpreter they are small, for few numbers shall make many tiles.
QUERIES, KEYS = (16, 16) if IS_INTERPRETED else (64, 32)
SIDE = 32
WIDEST = 256  # a tile of contexts stays in registers
# exp(2x) exp(2y) neither overflows nor underflows, and its rounding is that of x and y.
REACH = 20.0
# The exponential form rounds each hidden unit near 1, however small it is: that much of the vector's sum of sizes.
STEEP = 64.0
SHARE = 1  # so many pairs for each number of the arguments are in memory at a time


def triton_context(work: Work, score: Score, distribution: Distribution) -> Tensor | str:
    """The context of an additive score under a softmax, from kernels in Triton; why not, where they cannot."""
    reason = _why_not(work, distribution)
    if reason is not None:
        return reason
    layer = layer_of(score, work.query.shape[-1], work.key.shape[-1])
    if isinstance(layer, str):
        return layer
    if layer.vector.dtype == torch.float64:
        return "the kernels compute in float32"
    vector = wide(layer.vector)
    if work.scale is not None:
        vector = vector * (work.scale.reshape(()) if isinstance(work.scale, Tensor) else work.scale)
    query, key, value = work.query, work.key, work.value
    if not is_masked(work):
        return _context(work, _projected(layer, query, key), value, vector)
    bad_query, bad_key, bad_value = (bad_rows(part) for part in (query, key, value))
    left, right = _projected(layer, without(bad_query, query), without(bad_key, key))
    limit = torch.finfo(left.dtype).max / 2  # two numbers below it have a finite sum
    burst_left, burst_right = bad_rows(left, limit), bad_rows(right, limit)
    left, right = without(burst_left, left), without(burst_right, right)
    faults = (bad_query | burst_left).to(torch.uint8), (bad_key | burst_right).to(torch.uint8) + 2 * bad_value
    return _context(work, (left, right), without(bad_value, value), vector, faults)


def _why_not(work: Work, distribution: Distribution) -> str | None:
    query, value = work.query, work.value
    if not (query.is_cuda or IS_INTERPRETED):
        return "the tensors are not on a GPU"
    if not HAS_TRITON:
        return "Triton is not installed"
    if is_transformed() and not torch.compiler.is_compiling():
        return TRANSFORMED
    if distribution is not softmax:
        return "the distribution is not softmax"
    if query.dtype == torch.float64:
        return "the kernels compute in float32"
    if work.dropout or work.bias is not None:
        return "there is dropout, or a bias"
    if isinstance(work.scale, Tensor) and work.scale.numel() != 1:
        return "each query has its own scale"
    if value.shape[-1] > WIDEST:
        return f"the values have more than {WIDEST} numbers"
    if not (all(lengths(work)) and value.shape[-1] and math.prod(work.batch)):
        return "there is nothing to average"
    if query.is_cuda and torch.version.hip is None and torch.cuda.get_device_capability(query.device) < (8, 0):
        return "the GPU is older than those that Triton knows"
    return None


def _projected(layer: Layer, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Both sides of the sum under the hyperbolic tangent, in float32."""
    left, right = product(query, layer.query_weight), product(key, layer.key_weight)
    return left if layer.bias is None else left + layer.bias, right


def _context(
    work: Work, sides: tuple[Tensor, Tensor], value: Tensor, vector: Tensor, faults: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """The kernels' context in the work's leading dimensions."""
    left, right, value = (flat(part, work.batch).contiguous() for part in (*sides, value))
    mask = None if work.mask is None else flat(work.mask, work.batch)
    of_query, of_key = (None, None) if faults is None else (flat(part, work.batch).contiguous() for part in faults)
    context, _ = attention(left, right, value, vector, mask, of_query, of_key, work.is_causal)
    shaped: Tensor = context.reshape(*work.batch, *context.shape[-2:])
    return shaped


def _forms(left: Tensor, right: Tensor, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Exponentials of twice the vectors, where that is safe; else the vectors; and which, a flag for each item."""
    far = torch.maximum(left.abs().amax((-2, -1)), right.abs().amax((-2, -1)))  # NaN where one is NaN, and so not safe
    safe = (far <= REACH) & (vector.abs().sum() <= STEEP)
    left, right = (torch.where(safe[:, None, None], torch.exp(2 * side), side) for side in (left, right))
    return left, right, safe.to(torch.uint8)


def _columns(form: Tensor, tile: int) -> Tensor:
    """A side as ``(item, feature, row)``, filled up to whole tiles of rows."""
    return F.pad(form.mT, (0, -form.shape[-2] % tile)).contiguous()


def _strides(mask: Tensor | None) -> tuple[int, int, int]:
    """How to walk through the mask; not at all along an axis of size 1."""
    if mask is None:
        return 0, 0, 0
    found = [0 if size == 1 else step for size, step in zip(mask.shape, mask.stride(), strict=True)]
    return found[0], found[1], found[2]


@torch.library.custom_op("attnlib::additive_triton", mutates_args=())
def attention(
    left: Tensor,
    right: Tensor,
    value: Tensor,
    vector: Tensor,
    mask: Tensor | None,
    query_fault: Tensor | None,
    key_fault: Tensor | None,
    is_causal: bool,
) -> tuple[Tensor, Tensor]:
    """Context ``(item, query, d_v)``, and of each query the logarithm of the sum of its exponentials.

    Args:
        left: ``(item, query, d_w)``, float32, contiguous as all that follow.
        right: ``(item, key, d_w)``.
        value: ``(item, key, d_v)``.
        vector: ``(d_w,)``.
        mask: boolean, ``(item, query or 1, key or 1)``, of any strides.
        query_fault: ``(item, query, 1)``, 1 where a query has no energies: its context is NaN if it sees something.
        key_fault: ``(item, key, 1)``, 1 where a key has no energies, 2 where its value is not finite, 3 for both.
        is_causal: no query sees a later key.
    """
    from ._triton_kernels import forward

    (items, n_query, d_w), (n_key, d_v) = left.shape, value.shape[-2:]
    context, logsumexp = left.new_empty(items, n_query, d_v), left.new_empty(items, n_query)
    one, other, safe = _forms(left, right, vector)
    is_faulty = query_fault is not None and key_fault is not None
    with torch.cuda.device_of(left):  # type: ignore[no-untyped-call]
        one, other = _columns(one, QUERIES), _columns(other, KEYS)
        forward[(items * -(-n_query // QUERIES),)](
            one,
            other,
            vector.contiguous(),
            safe,
            value,
            safe if mask is None else mask.view(torch.uint8),
            query_fault if is_faulty else safe,
            key_fault if is_faulty else safe,
            context,
            logsumexp,
            *(n_query, n_key, one.shape[-1], other.shape[-1], d_w, d_v),
            *_strides(mask),
            MASKED=mask is not None,
            FAULTY=is_faulty,
            CAUSAL=is_causal,
            Q=QUERIES,
            K=KEYS,
            V=max(16, 1 << (d_v - 1).bit_length()),
            num_warps=4 if d_v <= 128 else 8,
        )
    return context.to(value.dtype), logsumexp


@torch.library.custom_op("attnlib::additive_triton_backward", mutates_args=())
def attention_backward(
    change: Tensor,
    left: Tensor,
    right: Tensor,
    value: Tensor,
    vector: Tensor,
    mask: Tensor | None,
    logsumexp: Tensor,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of left, right, value and vector from that of the context."""
    (n_query, d_w), (n_key, d_v) = left.shape[-2:], value.shape[-2:]
    gradients = torch.zeros_like(left), torch.zeros_like(right)
    of_value, of_vector = torch.zeros_like(value, dtype=torch.float32), torch.zeros_like(vector)
    forms = _forms(left, right, vector)
    numbers = SHARE * (n_query + n_key) * (d_w + d_v)
    step = QUERIES * max(1, -(-numbers // (n_key * QUERIES)))
    with torch.cuda.device_of(left):  # type: ignore[no-untyped-call]
        for first in range(0, n_query, step):
            run = slice(first, min(first + step, n_query))
            weights = _weights(forms, vector, mask, logsumexp, run, is_causal=is_causal)
            of_context = change[:, run]
            of_value += times(weights.mT, of_context)
            slopes = times(of_context, value.mT)
            # A hidden value may be so large that its product with a gradient overflows: no weight, no slope.
            slopes.masked_fill_(weights == 0, 0.0)
            slopes.sub_((weights * slopes).sum(-1, keepdim=True)).mul_(weights)
            of_vector += _spread(slopes, forms, vector, gradients, run, is_causal=is_causal)
    return gradients[0], gradients[1], of_value.to(value.dtype), of_vector


Forms = tuple[Tensor, Tensor, Tensor]


def _weights(
    forms: Forms, vector: Tensor, mask: Tensor | None, logsumexp: Tensor, run: slice, *, is_causal: bool
) -> Tensor:
    """The weights of a run of queries, ``(item, run, key)``."""
    from ._triton_kernels import probabilities

    left, right, safe = forms
    (items, n_query, d_w), n_key, n_run = left.shape, right.shape[-2], run.stop - run.start
    weights = left.new_empty(items, n_run, n_key)
    one, other = _columns(left, QUERIES), _columns(right, KEYS)
    probabilities[(items * -(-n_run // QUERIES) * -(-n_key // KEYS),)](
        one,
        other,
        vector.contiguous(),
        safe,
        safe if mask is None else mask.view(torch.uint8),
        logsumexp,
        weights,
        *(run.start, n_run, n_query, n_key, one.shape[-1], other.shape[-1], d_w),
        *_strides(mask),
        MASKED=mask is not None,
        CAUSAL=is_causal,
        Q=QUERIES,
        K=KEYS,
    )
    return weights


def _spread(
    slopes: Tensor, forms: Forms, vector: Tensor, gradients: tuple[Tensor, Tensor], run: slice, *, is_causal: bool
) -> Tensor:
    """Add what a run of pairs brings to the gradients of both sides; return what it brings to that of the vector."""
    from ._triton_kernels import accumulate

    left, right, safe = forms
    (items, n_query, d_w), n_key, n_run = left.shape, right.shape[-2], run.stop - run.start
    of_left, of_right = gradients
    partial = left.new_empty(items, -(-n_run // SIDE), d_w)
    tiles = -(-d_w // SIDE)
    sizes = {"R": SIDE, "F": SIDE}
    accumulate[(partial[..., 0].numel() * tiles,)](
        left, right, slopes, vector.contiguous(), safe, of_left, partial,
        *(run.start, n_run, n_query, 0, n_key, n_key, d_w), *slopes.stride(),
        PARTIAL=True, CAUSAL=int(is_causal), **sizes,
    )  # fmt: skip
    accumulate[(items * -(-n_key // SIDE) * tiles,)](
        right, left, slopes, vector.contiguous(), safe, of_right, partial,
        *(0, n_key, n_key, run.start, n_run, n_query, d_w), slopes.stride(0), slopes.stride(2), slopes.stride(1),
        PARTIAL=False, CAUSAL=2 * int(is_causal), **sizes,
    )  # fmt: skip
    return partial.sum((0, 1))


@attention.register_fake
def _(left: Tensor, right: Tensor, value: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    items, n_query, _d_w = left.shape
    return value.new_empty(items, n_query, value.shape[-1]), left.new_empty(items, n_query)


@attention_backward.register_fake
def _(change: Tensor, left: Tensor, right: Tensor, value: Tensor, vector: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(part) for part in (left, right, value, vector))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    left, right, value, vector, mask, _, _, ctx.is_causal = inputs
    ctx.save_for_backward(left, right, value, vector, mask, output[1])


def _backward(ctx: Any, change: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    left, right, value, vector, mask, logsumexp = ctx.saved_tensors
    found = attention_backward(change.contiguous(), left, right, value, vector, mask, logsumexp, ctx.is_causal)
    return (*found, None, None, None, None)


attention.register_autograd(_backward, setup_context=_setup)
