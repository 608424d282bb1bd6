"""Scaled dot-product attention from torch's kernel, where it is the same function: no weights, and less memory."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.linalg import vector_norm

from ._checks import HALF, is_traced, may_look
from ._rows import ORDINARY, bad_rows, beside, is_ordinary, nan_where, sees_any, without
from ._work import Distribution, Score, Work, is_masked, lengths, visible_pairs
from .distributions import softmax
from .scores import dot, scaled_dot

FEW = 2**16  # so many numbers are looked over in less time than it takes to find the best way to do that
PAIRS = 2**22  # so many pairs of query and key have their mask in memory at a time


def kernel_context(work: Work, score: Score, distribution: Distribution) -> Tensor | str:
    """The context of scaled dot products under a softmax; why not, where the kernel would not give the same.

    The kernel multiplies what is hidden by zero. So the vectors are looked over first: on the CPU whether all is
    ordinary, which costs one pass; elsewhere, where looking would stop the program, what is not finite is taken out.
    """
    if score not in (dot, scaled_dot):
        return "the score is not a dot product"
    if distribution is not softmax:
        return "the distribution is not softmax"
    if not (work.query.shape[-1] == work.key.shape[-1] and all(work.query.shape[-2:]) and work.key.shape[-2]):
        return "there is nothing to multiply"
    if isinstance(work.scale, Tensor) and work.query.dtype in HALF:
        return "the product of a learned scale with the query would be rounded"
    if score is dot and work.scale is None:
        work = work._replace(scale=1.0)
    if not is_masked(work):
        return _sdpa(_folded(work))
    return _masked(_folded(work)) if is_ordinary(*work[:3], scale=work.scale) else _guarded(work)


def plain_context(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor | None:
    """:func:`kernel_context` of what needs no preparation, by the same checks; None where it does, or could be wrong.

    With a few tokens the kernel takes less time than the way to it, so that nothing is asked twice here.
    """
    if is_traced() or not (type(query) is type(key) is type(value) is Tensor and query.is_cpu):
        return None
    if query.is_nested or key.is_nested or value.is_nested or torch.is_autocast_enabled("cpu"):
        return None
    shape, key_shape = query.shape, key.shape
    if not (query.dtype == key.dtype == value.dtype and len(shape) == len(key_shape) == 4 and key_shape == value.shape):
        return None
    if shape != key_shape and (shape[:2] != key_shape[:2] or shape[3] != key_shape[3]):
        return None
    if 0 in shape or 0 in key_shape or not query.is_floating_point():
        return None
    for part in (query, key, value):
        if not (part.is_contiguous() or part.stride(-1) == 1):
            return None
    if mask is not None and (is_causal or not _is_plain(mask, (*shape[:3], key_shape[2]))):
        return None
    if is_causal or mask is not None:
        if query.numel() > FEW or key.numel() > FEW or torch.jit.is_tracing():  # type: ignore[no-untyped-call, attr-defined]
            return None
        for part in (query, key, value):
            if not vector_norm(part.detach() if part.requires_grad else part).item() < ORDINARY:
                return None
    return F.scaled_dot_product_attention(query, key, value, mask, 0.0, is_causal)


def _is_plain(mask: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a mask has all four axes, each of size 1 or as it should be, and that of the keys at full length."""
    if not (type(mask) is Tensor and mask.dtype == torch.bool and mask.ndim == 4):
        return False
    batch, heads, n_query, n_key = mask.shape
    return n_key == shape[3] and n_query in (1, shape[2]) and heads in (1, shape[1]) and batch in (1, shape[0])


def _folded(work: Work) -> Work:
    """The work with a scale that the kernel takes: a positive number, for it hides with -inf before it multiplies."""
    scale = work.scale
    if isinstance(scale, Tensor):
        return work._replace(query=work.query * scale, scale=1.0)
    if scale is None or scale > 0:
        return work
    return work._replace(query=-work.query if scale else 0.0 * work.query, scale=-scale or 1.0)


def _masked(work: Work) -> Tensor:
    """Where every number is ordinary: the kernel as it is, a run of queries at a time if the mask is large."""
    if work.mask is None and work.bias is None:
        return _sdpa(work, is_causal=True)
    n_query, n_key = lengths(work)
    if not work.is_causal or n_query * n_key <= PAIRS:
        return _sdpa(work, attn_mask=_attn_mask(work, visible_pairs(work)))
    step = max(1, PAIRS // n_key)
    return torch.cat([_masked(_run(work, start, min(start + step, n_query))) for start in range(0, n_query, step)], -2)


def _run(work: Work, start: int, end: int) -> Work:
    """Queries ``start ... end - 1`` of causal work with the keys that they may see, and causality in the mask."""
    n_key = min(end, lengths(work)[1])
    position = torch.arange(start, end, device=work.query.device)
    causal = torch.arange(n_key, device=work.query.device) <= position.unsqueeze(-1)

    def part(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        rows = tensor if tensor.shape[-2] == 1 else tensor[..., start:end, :]
        return rows if rows.shape[-1] == 1 else rows[..., :n_key]

    mask = part(work.mask)
    return work._replace(
        query=work.query[..., start:end, :],
        key=work.key[..., :n_key, :],
        value=work.value[..., :n_key, :],
        mask=causal if mask is None else mask & causal,
        bias=part(work.bias),
        is_causal=False,
    )


def _guarded(work: Work) -> Tensor | str:
    """What is not finite, or nobody sees, is taken out, and a NaN put back where seen, if that is enough."""
    bad_query, bad_key, bad_value = (bad_rows(part) for part in (work.query, work.key, work.value))
    n_query, n_key = lengths(work)
    if work.mask is None and work.bias is None:
        unseen = torch.arange(n_key, device=work.key.device).unsqueeze(-1) >= n_query
        sees_nothing = unseen.new_zeros(1, 1)
    else:
        visible = visible_pairs(work)
        unseen, sees_nothing = ~visible.any(-2).unsqueeze(-1), ~visible.any(-1, keepdim=True)
    clean = (
        without(bad_query | sees_nothing, work.query),
        without(bad_key | unseen, work.key),
        without(bad_value | unseen, work.value),
    )
    if may_look(*clean) and not is_ordinary(*clean, scale=work.scale):
        return "a number seen by some is so large that hidden energies, or their gradients, may overflow"
    work = _folded(work._replace(query=clean[0], key=clean[1], value=clean[2]))
    if work.mask is None and work.bias is None:
        context = _sdpa(work, is_causal=True)
        last = torch.arange(n_query, device=unseen.device).clamp(max=n_key - 1)
        lost = ((bad_key | bad_value).cumsum(-2) > 0)[..., last, :]
    else:
        context = _sdpa(work, attn_mask=_attn_mask(work, visible, sees_nothing))
        lost = sees_any(visible, bad_key | bad_value)
    return torch.where(sees_nothing, 0.0, context + nan_where(bad_query | lost, context.dtype))


def _attn_mask(work: Work, visible: Tensor, sees_nothing: Tensor | None = None) -> Tensor:
    """What the kernel adds to the energies, or hides; a query that sees nothing is shown everything, for safety."""
    if work.bias is None:
        return visible if sees_nothing is None else visible | sees_nothing
    finite = torch.where(work.bias == -torch.inf, 0.0, work.bias)
    shown = torch.where(visible, finite, -torch.inf)
    return shown if sees_nothing is None else torch.where(sees_nothing, 0.0, shown)


def _sdpa(work: Work, *, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
    """The kernel wants equal leading dimensions, is fast with two of them only, and with features side by side."""
    batch = work.batch
    tensors = [t if t.shape[:-2] == batch else t.expand(*batch, *t.shape[-2:]) for t in work[:3]]
    tensors = [beside(tensor) for tensor in tensors]
    if len(batch) > 2:
        tensors = [tensor.flatten(0, len(batch) - 2) for tensor in tensors]
        attn_mask = _two_leading(attn_mask, batch)
    elif len(batch) < 2:
        ones = (1,) * (2 - len(batch))
        tensors = [tensor.reshape(*ones, *tensor.shape) for tensor in tensors]
    query, key, value = tensors
    scale = work.scale if work.scale is None else float(work.scale)
    context = F.scaled_dot_product_attention(
        query, key, value, attn_mask=attn_mask, dropout_p=work.dropout, is_causal=is_causal, scale=scale
    )
    return context if len(batch) == 2 else context.reshape(*batch, *context.shape[-2:])


def _two_leading(mask: Tensor | None, batch: tuple[int, ...]) -> Tensor | None:
    """The mask with its leading dimensions but the last made one; not expanded where it is the same for all."""
    if mask is None or math.prod(mask.shape[:-3]) == 1:
        return mask if mask is None else mask.reshape(mask.shape[-3:])
    return mask.expand(*batch[:-1], *mask.shape[-3:]).flatten(0, len(batch) - 2)
