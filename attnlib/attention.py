"""The unified model: energies = score(query, key), weights = distribution(energies), context = weights @ value."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ._kernel import kernel_context, plain_context
from ._rows import bad_rows, burst_rows, is_burst, is_ordinary, nan_where, sees_any, times, without
from ._work import (
    Distribution,
    Scale,
    Score,
    Work,
    energies_of,
    is_masked,
    lengths,
    prepared,
    visible_pairs,
    weights_of,
)
from .distributions import softmax
from .fused._additive import additive_context
from .fused._sigmoid import sigmoid_context
from .fused._similar import similar_context
from .fused._triton_additive import triton_context
from .fused.native import by_kernel
from .fused.paths import first, is_watched, refuse
from .scores import dot, scaled_dot

__all__ = ["Attend", "Attention", "attend"]

# Without the weights: by name, the fastest first. Each gives the context of the work, or says why it cannot.
PATHS = {
    "kernel of torch": kernel_context,
    "kernel of torch, on other vectors": similar_context,
    "sigmoids in runs of queries, in C++": by_kernel("sigmoid", sigmoid_context, single=True),
    "sigmoids in runs of queries": sigmoid_context,
    "additive in Triton": triton_context,
    "additive in C++": by_kernel("additive", additive_context),
    "additive without pairs": additive_context,
}


class Attention(NamedTuple):
    """What attention gives: the context, and how it came about (``None`` with ``need_weights=False``)."""

    context: Float[Tensor, "*batch query d_v"]
    weights: Float[Tensor, "*batch query key"] | None
    energies: Float[Tensor, "*batch query key"] | None


def attend(
    query: Float[Tensor, "... query d_q"],
    key: Float[Tensor, "... key d_k"],
    value: Float[Tensor, "... key d_v"] | None = None,
    *,
    score: Score = scaled_dot,
    distribution: Distribution = softmax,
    scale: float | Tensor | None = None,
    bias: Float[Tensor, "*#bias"] | None = None,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    enable_gqa: bool = False,
    need_weights: bool = True,
) -> Attention:
    r"""Average the values, each weighted by how well its key matches the query.

    .. math:: e = s f(Q, K) + B, \quad \alpha = g(e), \quad c = \sum_{i=1}^{n} \alpha_i v_i

    Args:
        query: ``(*batch, query, d_q)``. Leading dimensions of query, key and value broadcast, so that ``(query, d_q)``
            asks the keys of every sequence; a state for each, ``(batch, d_q)``, is given as ``state.unsqueeze(-2)``.
        key: ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the keys are the values.
        score: :math:`f`, any callable ``(query, key) -> energies``; see :mod:`attnlib.scores`.
        distribution: :math:`g`, any callable ``energies -> weights`` over the last axis that gives weight zero to an
            energy of minus infinity, and zeros where there is nothing else; see :mod:`attnlib.distributions`.
        scale: :math:`s`, a number or a tensor that broadcasts to ``(*batch, query, 1)``. For ``scaled_dot`` it stands
            in place of :math:`1 / \sqrt{d_k}`; other energies are multiplied by it.
        bias: :math:`B`, in units of the energies, broadcastable to ``(*batch, query, key)``: ALiBi, relative positions.
            Minus infinity hides as the mask does.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``; see :mod:`attnlib.masks`.
        is_causal: query ``i`` may attend to keys ``0 ... i`` (upper-left alignment), as far as ``mask`` allows.
        enable_gqa: grouped queries. Axis -3 is that of the heads; key and value have fewer, each for a run of
            ``heads / key heads`` heads of the query. Mask and bias have the heads of the query, or one for all; score
            and distribution see two axes in place of the heads, groups and heads in a group.
        need_weights: without the weights a fused kernel may do the work; the context is the same. Fused kernels have
            no second derivative on CPU. Off the CPU and in compiled code they are not looked over, and an energy that
            overflows, between a query and a key that others see, gives NaN there even where the mask hides it.

    Returns:
        Context ``(*batch, query, d_v)``, weights and energies ``(*batch, query, key)``. The energies are those that the
        distribution saw: minus infinity where the mask forbids; half precision is computed in float32, and energies
        stay in it. A query that may attend to nothing gets a context and weights of zero. What the mask hides, NaN and
        numbers too large included, changes neither results nor gradients; a NaN or an infinity in a vector that a
        masked query may attend to, and an energy of plus infinity, give NaN. A score of your own gets ones in place of
        vectors that nobody sees. It must not overflow on the way to an energy that is hidden while others see its key.

    Raises:
        TypeError: an argument is not a tensor, query is not floating point, dtypes differ, or the mask is not boolean.
        ValueError: shapes do not fit; a mask of two axes can be read in two ways; ``scale`` is not a finite number.

    Source: Niu et al. 2021, the unified model; the article's Eq. 7-11 [niu2021]. Grouped queries: Ainslie et al. 2023
    [ainslie2023].

    Departs from the source: the values may be left out, a mask may hide keys, energies may be scaled and biased.

    >>> key, value = torch.tensor([[1.0], [-1.0]]), torch.tensor([[10.0], [20.0]])
    >>> attend(torch.tensor([[0.0]]), key, value).context
    tensor([[15.]])
    >>> attend(torch.tensor([[0.0]]), key, value, mask=torch.tensor([[False, True]])).context
    tensor([[20.]])
    """
    return _attention(
        query,
        key,
        value,
        score=score,
        distribution=distribution,
        scale=scale,
        bias=bias,
        mask=mask,
        is_causal=is_causal,
        enable_gqa=enable_gqa,
        need_weights=need_weights,
    )


class Attend(nn.Module):
    """Attention with a fixed score and distribution, whose parameters (if they are modules) it holds.

    Args:
        score: any callable ``(query, key) -> energies``, for instance a module of :mod:`attnlib.scores`.
        distribution: any callable ``energies -> weights``.
        scale: as in :func:`attend`; a parameter is learned.
        dropout: in training each weight becomes zero with this probability, and the others grow by ``1 / (1 - p)``.

    Raises:
        ValueError: ``dropout`` is not from 0 to 1.

    Source: Niu et al. 2021, the unified model [niu2021]; dropout on the weights: Vaswani et al. 2017 [vaswani2017].

    >>> query = torch.tensor([[0.0]])
    >>> Attend()(query, torch.tensor([[1.0], [-1.0]]), torch.tensor([[10.0], [20.0]])).weights
    tensor([[0.5000, 0.5000]])
    """

    def __init__(
        self,
        score: Score = scaled_dot,
        distribution: Distribution = softmax,
        *,
        scale: float | Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be from 0 to 1, got {dropout}")
        self.score = score
        self.distribution = distribution
        self.scale = scale
        self.dropout = dropout

    def forward(
        self,
        query: Float[Tensor, "... query d_q"],
        key: Float[Tensor, "... key d_k"],
        value: Float[Tensor, "... key d_v"] | None = None,
        *,
        bias: Float[Tensor, "*#bias"] | None = None,
        mask: Bool[Tensor, "*#mask"] | None = None,
        is_causal: bool = False,
        enable_gqa: bool = False,
        need_weights: bool = True,
    ) -> Attention:
        """Call :func:`attend` with what is held; in training with dropout, which the weights returned show."""
        return _attention(
            query,
            key,
            value,
            score=self.score,
            distribution=self.distribution,
            scale=self.scale,
            bias=bias,
            mask=mask,
            is_causal=is_causal,
            enable_gqa=enable_gqa,
            need_weights=need_weights,
            dropout=self.dropout if self.training else 0.0,
        )


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    *,
    score: Score,
    distribution: Distribution,
    scale: Scale,
    bias: Tensor | None,
    mask: Tensor | None,
    is_causal: bool,
    enable_gqa: bool,
    need_weights: bool,
    dropout: float = 0.0,
) -> Attention:
    """:func:`attend`, and dropout, which it has not."""
    value = key if value is None else value
    is_plain = score is scaled_dot and distribution is softmax and scale is None and bias is None
    if is_plain and not (need_weights or enable_gqa or dropout or is_watched()):
        short = plain_context(query, key, value, mask, is_causal)
        if short is not None:
            return Attention(short, None, None)
    work, shape = prepared(
        query,
        key,
        value,
        scale=scale,
        bias=bias,
        mask=mask,
        is_causal=is_causal,
        enable_gqa=enable_gqa,
        dropout=dropout,
    )
    context, weights, energies = None, None, None
    if need_weights:
        refuse("attend", PATHS, "the weights are asked for")
    else:
        context = first("attend", PATHS, work, score, distribution)
    if context is None:
        energies, weights, context = _reference(work, score, distribution)
    if enable_gqa:
        context = context.flatten(-4, -3)
    if not need_weights or weights is None or energies is None:
        return Attention(context, None, None)
    if enable_gqa:
        weights, energies = (
            weights.expand(*work.batch, *lengths(work)),
            energies.expand(*work.batch, *lengths(work)),
        )
        weights, energies = weights.flatten(-4, -3), energies.flatten(-4, -3)
    if weights.shape != shape:
        weights, energies = weights.expand(shape), energies.expand(shape)
    return Attention(context, weights, energies)


def _reference(work: Work, score: Score, distribution: Distribution) -> tuple[Tensor, Tensor, Tensor]:
    """Energies, weights and context in plain torch operations."""
    query, key, value = work.query, work.key, work.value
    if not is_masked(work):
        energies = _scaled(score, energies_of(score, query, key, work.scale), work.scale)
        weights = _weights(distribution, energies, work.dropout)
        return energies, _as(value, weights), _as(value, times(weights, value))
    visible, is_dot = visible_pairs(work), score in (dot, scaled_dot)
    if not is_dot:  # a score of which nobody knows what it does shall not see what nobody sees
        query = without(~visible.any(-1, keepdim=True), query)
        key = without(~visible.any(-2).unsqueeze(-1), key)
    if is_ordinary(query, key, value, scale=work.scale):
        energies = _seen(work, score, energies_of(score, query, key, work.scale), visible)
        if (is_dot and work.bias is None) or not is_burst(energies):
            weights = _weights(distribution, energies, work.dropout)
            return energies, _as(value, weights), _as(value, times(weights, value))
    bad_query, bad_key, bad_value = (bad_rows(part) for part in (query, key, value))
    energies = energies_of(score, without(bad_query, query), without(bad_key, key), work.scale)
    energies = _seen(work, score, energies, visible)
    energies = torch.where(visible & (bad_query | bad_key.mT), torch.nan, energies)
    lost = burst_rows(energies)
    weights = _weights(distribution, torch.where(lost, -torch.inf, energies), work.dropout)
    # A hidden value may be so large that its product with a gradient overflows: what is hidden gets no part of it.
    weights = torch.where(visible, weights, 0.0)
    context = times(weights, without(bad_value, value))
    # NaN goes in after the arithmetic, as a constant: a lost row must not spoil the gradients of the others.
    context = context + nan_where(lost | sees_any(visible, bad_value), context.dtype)
    weights = weights + nan_where(lost, weights.dtype)
    return energies, _as(value, weights), _as(value, context)


def _as(value: Tensor, part: Tensor) -> Tensor:
    """In the precision of the values; to ask torch costs more than to look."""
    return part if part.dtype == value.dtype else part.to(value.dtype)


def _scaled(score: Score, energies: Tensor, scale: Scale) -> Tensor:
    """The energies times the scale, where it stands outside of the score."""
    return energies if scale is None or score in (dot, scaled_dot) else energies * scale


def _seen(work: Work, score: Score, energies: Tensor, visible: Tensor) -> Tensor:
    """The energies with scale and bias; minus infinity where nothing may be seen."""
    if isinstance(work.scale, Tensor):  # which gets a gradient, and shall get none from what is hidden or lost
        fine = visible & energies.detach().isfinite()
        scaled = _scaled(score, torch.where(fine, energies, 0.0), work.scale)
        energies = torch.where(fine, scaled, _scaled(score, energies.detach(), work.scale.detach()))
    else:
        energies = _scaled(score, energies, work.scale)
    return torch.where(visible, energies if work.bias is None else energies + work.bias, -torch.inf)


def _weights(distribution: Distribution, energies: Tensor, dropout: float = 0.0) -> Tensor:
    weights = weights_of(distribution, energies)
    return F.dropout(weights, dropout) if dropout else weights
