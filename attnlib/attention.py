"""The unified model: energies = score(query, key), weights = distribution(energies), context = weights @ value."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from . import masks
from .distributions import softmax
from .scores import _batch, dot, scaled_dot

__all__ = ["Attend", "Attention", "attend"]

Score = Callable[[Tensor, Tensor], Tensor]
Distribution = Callable[[Tensor], Tensor]


class Attention(NamedTuple):
    """What attention gives: the context, and how it came about (``None`` with ``need_weights=False``)."""

    context: Float[Tensor, "*batch query d_v"]
    weights: Float[Tensor, "*batch query key"] | None
    energies: Float[Tensor, "*batch query key"] | None


def attend(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    score: Score = scaled_dot,
    distribution: Distribution = softmax,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    need_weights: bool = True,
) -> Attention:
    r"""Average the values, each weighted by how well its key matches the query.

    .. math:: e = f(Q, K), \quad \alpha = g(e), \quad c = \sum_{i=1}^{n} \alpha_i v_i

    Args:
        query: ``(*batch, query, d_q)``. Leading dimensions of query, key and value broadcast.
        key: ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the keys are the values.
        score: :math:`f`, any callable ``(query, key) -> energies``; see :mod:`attnlib.scores`.
        distribution: :math:`g`, any callable ``energies -> weights`` over the last axis that gives weight zero to an
            energy of minus infinity, and zeros where there is nothing else; see :mod:`attnlib.distributions`.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``; see :mod:`attnlib.masks`.
        is_causal: query ``i`` may attend to keys ``0 ... i`` (upper-left alignment), as far as ``mask`` allows.
        need_weights: without the weights a fused kernel may do the work; the context is the same. Fused kernels have
            no second derivative on CPU, and an energy that overflows gives NaN there even where the mask hides it.

    Returns:
        Context ``(*batch, query, d_v)``, weights and energies ``(*batch, query, key)``. The energies are those that the
        distribution saw: minus infinity where the mask forbids. A query that may attend to nothing gets a context and
        weights of zero. What the mask hides, NaN included, changes neither results nor gradients; a NaN or an infinity
        in a vector that a masked query may attend to gives NaN.

    Raises:
        TypeError: an argument is not a tensor, query is not floating point, dtypes differ, or the mask is not boolean.
        ValueError: shapes do not fit.

    Source: Niu et al. 2021, the unified model; the article's Eq. 7-11 [niu2021].

    Departs from the source: the values may be left out, and a mask may hide keys.

    >>> key, value = torch.tensor([[1.0], [-1.0]]), torch.tensor([[10.0], [20.0]])
    >>> attend(torch.tensor([[0.0]]), key, value).context
    tensor([[15.]])
    >>> attend(torch.tensor([[0.0]]), key, value, mask=torch.tensor([[False, True]])).context
    tensor([[20.]])
    """
    value = key if value is None else value
    batch = _check_arguments(query, key, value, mask)
    n_query, n_key = query.shape[-2], key.shape[-2]
    if mask is not None:
        mask = mask.expand(*mask.shape[:-2], n_query, n_key)
    fits_kernel = score in (dot, scaled_dot) and distribution is softmax and query.shape[-1] == key.shape[-1]
    if not need_weights and fits_kernel and n_query and n_key and query.shape[-1]:
        context = _fused(query, key, value, batch, mask, is_causal, scale=1.0 if score is dot else None)
        return Attention(context, None, None)
    if is_causal:
        causal = masks.causal(n_query, n_key, device=query.device)
        mask = causal if mask is None else mask & causal
    energies, weights, context = _reference(query, key, value, score, distribution, mask)
    if not need_weights:
        return Attention(context, None, None)
    shape = (*batch, n_query, n_key)
    return Attention(context, weights.expand(shape), energies.expand(shape))


class Attend(nn.Module):
    """Attention with a fixed score and distribution, whose parameters (if they are modules) it holds.

    Args:
        score: any callable ``(query, key) -> energies``, for instance a module of :mod:`attnlib.scores`.
        distribution: any callable ``energies -> weights``.

    Source: Niu et al. 2021, the unified model [niu2021].

    >>> query = torch.tensor([[0.0]])
    >>> Attend()(query, torch.tensor([[1.0], [-1.0]]), torch.tensor([[10.0], [20.0]])).weights
    tensor([[0.5000, 0.5000]])
    """

    def __init__(self, score: Score = scaled_dot, distribution: Distribution = softmax) -> None:
        super().__init__()
        self.score = score
        self.distribution = distribution

    def forward(
        self,
        query: Float[Tensor, "*#batch query d_q"],
        key: Float[Tensor, "*#batch key d_k"],
        value: Float[Tensor, "*#batch key d_v"] | None = None,
        *,
        mask: Bool[Tensor, "*#mask"] | None = None,
        is_causal: bool = False,
        need_weights: bool = True,
    ) -> Attention:
        """Call :func:`attend` with the score and distribution held."""
        return attend(
            query,
            key,
            value,
            score=self.score,
            distribution=self.distribution,
            mask=mask,
            is_causal=is_causal,
            need_weights=need_weights,
        )


def _reference(
    query: Tensor, key: Tensor, value: Tensor, score: Score, distribution: Distribution, visible: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies, weights and context in plain torch operations."""
    if visible is None:
        energies = _energies(score, query, key)
        weights = _weights(distribution, energies)
        return energies, weights, weights.to(value.dtype) @ value
    bad_query, bad_key, bad_value = _bad_rows(query), _bad_rows(key), _bad_rows(value)
    energies = _energies(score, _without(bad_query, query), _without(bad_key, key))
    energies = torch.where(visible, energies, -torch.inf)
    weights = _weights(distribution, energies)
    context = weights.to(value.dtype) @ _without(bad_value, value)
    # NaN goes in after the arithmetic, as a constant: a lost row must not spoil the gradients of the others.
    lost = _sees_any(visible, bad_key) | (bad_query & visible.any(-1, keepdim=True))
    energies = torch.where(visible & (bad_query | bad_key.mT), torch.nan, energies)
    weights = weights + _nan_where(lost, weights.dtype)
    return energies, weights, context + _nan_where(lost | _sees_any(visible, bad_value), context.dtype)


def _energies(score: Score, query: Tensor, key: Tensor) -> Tensor:
    energies = score(query, key)
    expected = (*_batch(query, key), query.shape[-2], key.shape[-2])
    if tuple(energies.shape) != expected:
        raise ValueError(f"score returned energies of shape {tuple(energies.shape)} but expected {expected}")
    return energies


def _weights(distribution: Distribution, energies: Tensor) -> Tensor:
    weights = distribution(energies)
    if weights.shape != energies.shape:
        shapes = f"{tuple(weights.shape)} but expected {tuple(energies.shape)}"
        raise ValueError(f"distribution returned weights of shape {shapes}")
    return weights


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    batch: tuple[int, ...],
    mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
) -> Tensor:
    """The same context from ``F.scaled_dot_product_attention``."""
    if mask is None and not is_causal:
        return _sdpa(query, key, value, batch, scale=scale)
    n_query, n_key = query.shape[-2], key.shape[-2]
    bad_query, bad_key, bad_value = _bad_rows(query), _bad_rows(key), _bad_rows(value)
    clean = (_without(bad_query, query), _without(bad_key, key), _without(bad_value, value))
    if mask is None:
        seen = (bad_key | bad_value).cumsum(-2) > 0
        last = torch.arange(n_query, device=seen.device).clamp(max=n_key - 1)
        context = _sdpa(*clean, batch, is_causal=True, scale=scale)
        return context + _nan_where(bad_query | seen[..., last, :], context.dtype)
    visible = mask & masks.causal(n_query, n_key, device=mask.device) if is_causal else mask
    sees_nothing = ~visible.any(-1, keepdim=True)
    context = _sdpa(*clean, batch, attn_mask=visible | sees_nothing, scale=scale)
    poison = _nan_where(bad_query | _sees_any(visible, bad_key | bad_value), context.dtype)
    return torch.where(sees_nothing, 0.0, context + poison)


def _sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    batch: tuple[int, ...],
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """The kernel wants equal batch dimensions, and is fast with four dimensions only."""
    tensors = [tensor.expand(*batch, *tensor.shape[-2:]) for tensor in (query, key, value)]
    lead = (1,) * (2 - len(batch))
    query, key, value = (tensor.reshape(*lead, *tensor.shape) for tensor in tensors)
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, is_causal=is_causal, scale=scale)
    return context.reshape(context.shape[len(lead) :])


def _bad_rows(vectors: Tensor) -> Tensor:
    """Which rows are not finite: ``amax`` keeps a NaN, and takes a tenth of the time of ``isfinite().all()``.

    Not by way of 0 * x, which is as quick: a compiler may take that for 0, and does.
    """
    kind = vectors.device.type
    if vectors.dtype != torch.float64 and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        vectors = vectors.to(torch.get_autocast_dtype(kind))  # the products are taken there: 70,000 is inf in float16
    if vectors.shape[-1] == 0:
        return torch.zeros((*vectors.shape[:-1], 1), dtype=torch.bool, device=vectors.device)
    return ~(vectors.detach().abs().amax(-1, keepdim=True) < torch.inf)


def _without(bad: Tensor, vectors: Tensor) -> Tensor:
    """Zero in place of rows that are not finite: 0 * NaN would carry them past the mask, forward and backward."""
    return torch.where(bad, 0.0, vectors)


def _nan_where(bad: Tensor, dtype: torch.dtype) -> Tensor:
    """What gives a row that does see a vector that is not finite its NaN back."""
    return torch.where(bad, torch.nan, 0.0).to(dtype)


def _sees_any(visible: Tensor, bad: Tensor) -> Tensor:
    """Whether a query sees a bad row: ``(*batch, query, 1)``; a product, because it keeps broadcast masks small."""
    return visible.float() @ bad.float() > 0


def _check_arguments(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[int, ...]:
    """Return the broadcast batch dimensions."""
    named = {"query": query, "key": key, "value": value}
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor but is {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point but has dtype {tensor.dtype}")
        if tensor.dtype != query.dtype and not torch.is_autocast_enabled(query.device.type):
            raise TypeError(f"{name} has dtype {tensor.dtype} but query has dtype {query.dtype}")
        if tensor.ndim < 2:
            raise ValueError(f"{name} must have shape (*batch, {name}, size) but has shape {tuple(tensor.shape)}")
    if value.shape[-2] != key.shape[-2]:
        raise ValueError(f"value has {value.shape[-2]} rows but key has {key.shape[-2]}")
    try:
        batch = _batch(query, key, value)
    except RuntimeError:
        shapes = ", ".join(f"{name} {tuple(tensor.shape[:-2])}" for name, tensor in named.items())
        raise ValueError(f"leading dimensions must broadcast but are {shapes}") from None
    if mask is not None:
        _check_mask(mask, (*batch, query.shape[-2], key.shape[-2]))
    return batch


def _check_mask(mask: Tensor, shape: tuple[int, ...]) -> None:
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask must be a boolean tensor but is {type(mask).__name__}")
    if mask.dtype != torch.bool:
        advice = "convert an additive mask with attnlib.masks.from_additive"
        raise TypeError(f"mask must be boolean (True = may attend) but has dtype {mask.dtype}; {advice}")
    sizes = zip(reversed(mask.shape), reversed(shape), strict=False)
    if mask.ndim > len(shape) or any(size not in (1, wanted) for size, wanted in sizes):
        raise ValueError(f"mask of shape {tuple(mask.shape)} does not broadcast to (*batch, query, key) = {shape}")
