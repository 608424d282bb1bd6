"""Attention that learns how far to look, and computation that learns how long to think (article § 4).

An adaptive span ends a head's view some places back, softly, so that the place where it ends has a gradient. Adaptive
computation time repeats a step until a halting unit has had enough.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor, nn

from .._checks import as_computed, check_bias, check_mask, check_vectors, fits, is_traced
from .._rows import wide, without
from .._work import Score
from ..attention import Attention, attend
from ..masks import Alignment
from ..scores import scaled_dot
from ._bands import Bands

__all__ = ["AdaptiveSpan", "Pondered", "adaptive_span", "ponder", "span_shares"]


def span_shares(distance: Real[Tensor, "..."], *, span: Tensor | float, ramp: float) -> Float[Tensor, "..."]:
    r"""How much of a key at some distance is let through: all of it within the span, then less, then nothing.

    .. math:: m_z(x) = \min\Big( \max\Big( \frac{R + z - x}{R}, \; 0 \Big), \; 1 \Big)

    Args:
        distance: :math:`x`, in places.
        span: :math:`z`, from nought, which broadcasts with the distances.
        ramp: :math:`R`, the places over which the share falls from one to nought, above 0.

    Returns:
        Shares from 0 to 1.

    Raises:
        ValueError: ``ramp`` is not a finite number above 0.

    Source: Sukhbaatar et al. 2019, section 2.2 [sukhbaatar2019].

    >>> span_shares(torch.arange(7), span=2.0, ramp=4.0)
    tensor([1.0000, 1.0000, 1.0000, 0.7500, 0.5000, 0.2500, 0.0000])
    """
    if not 0 < ramp < math.inf:
        raise ValueError(f"ramp must be a finite number above 0, got {ramp}")
    return ((ramp + span - distance) / ramp).clamp(0, 1)


def adaptive_span(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    span: Float[Tensor, "..."],
    ramp: float,
    max_span: int | None = None,
    score: Score = scaled_dot,
    bias: Float[Tensor, "*#bias"] | None = None,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    alignment: Alignment = "upper-left",
    need_weights: bool = True,
) -> Attention:
    r"""Attend with weights that are cut off, softly, at a distance that has a gradient.

    .. math::
        \alpha_{tr} = \frac{m_z(t - r) \exp e_{tr}}{\sum_q m_z(t - q) \exp e_{tq}}

    The shares :math:`m_z` of :func:`span_shares` are added to the energies as logarithms, which is the same and cannot
    lose a head whose large energies all lie beyond its span. Distances count from the query's own place, 0. Where the
    spans may be looked at, only keys near those that some head lets through are touched, and a matrix of all pairs is
    made only where the weights are asked for. Compiled code hides the others instead.

    Args:
        query: ``(*batch, query, d_q)``; heads, if any, are the last of the leading dimensions.
        key: ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the keys are the values.
        span: :math:`z`, broadcastable to ``(*batch, query, 1)``: ``(heads, 1, 1)`` for one a head,
            ``(heads, query, 1)`` for one that depends on the query. At a corner of the ramp the slope is that of the
            ramp where the share is 1, and nought where it is 0.
        ramp: :math:`R`, in places.
        max_span: :math:`S`, the most places that are seen, the query's own included; as many as there are unless given.
        score: any callable ``(query, key) -> energies``.
        bias: added to the energies, as in :func:`attnlib.attend`.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``.
        is_causal: look back only. Else a span reaches to both sides.
        alignment: where the queries stand among the keys: see :func:`attnlib.masks.causal`. Queries that follow a
            cache are ``"lower-right"``.
        need_weights: give weights and energies, ``(*batch, query, key)``; these hold :math:`\ln m_z`.

    Returns:
        As :func:`attnlib.attend`.

    Raises:
        TypeError: as :func:`attnlib.attend`; the span is not a floating point tensor.
        ValueError: shapes do not fit; a span is not from 0 to ``max_span``, as far as one may look; ``ramp`` or
            ``max_span`` is too small.

    Source: Sukhbaatar et al. 2019, section 2.2 [sukhbaatar2019].

    Departs from the source: a query sees its own place, at distance 0. The paper's first key is the one before, at
    distance 1; the authors' code gives that one distance 0, so that it is this function with each key moved on by one.
    The code also multiplies a softmax by the shares and divides by their sum plus 1e-8, and lets the places before the
    text count as keys of nought; here they do not exist. Looking to both sides, masks and biases are ours.

    >>> vectors, values = torch.zeros(3, 1), torch.tensor([[9.0], [3.0], [6.0]])
    >>> adaptive_span(vectors, vectors, values, span=torch.tensor([[0.0]]), ramp=2.0, is_causal=True).weights
    tensor([[1.0000, 0.0000, 0.0000],
            [0.3333, 0.6667, 0.0000],
            [0.0000, 0.3333, 0.6667]])
    """
    value = key if value is None else value
    batch = check_vectors(query, key, value)
    n_query, n_key = query.shape[-2], key.shape[-2]
    shape = (*batch, n_query, n_key)
    if mask is not None:
        check_mask(mask, shape)
    if bias is not None:
        check_bias(bias, query, shape)
    shift = {"upper-left": 0, "lower-right": n_key - n_query}.get(alignment)
    if shift is None:
        raise ValueError(f"alignment must be 'upper-left' or 'lower-right', got {alignment!r}")
    reach = _reach(span, ramp, max_span, shape)
    shares: dict[str, Any] = {"ramp": ramp, "max_span": max_span, "is_causal": is_causal, "dtype": wide(query).dtype}
    options: dict[str, Any] = {"score": score, "need_weights": need_weights}
    bands = None if reach is None else Bands.of(n_query, n_key, reach=reach, shift=shift, is_causal=is_causal)
    if bands is None:
        places = torch.arange(shift, shift + n_query, device=key.device).unsqueeze(-1)
        far = places - torch.arange(n_key, device=key.device)
        return attend(query, key, value, bias=_sum(_logarithms(far, span, **shares), bias), mask=mask, **options)
    logarithms = _logarithms(bands.distances(key.device), bands.spans(span), **shares)
    seen = bands.pairs(torch.ones(1, n_key, dtype=torch.bool, device=key.device), fill=False)
    found = attend(
        bands.rows(query),
        bands.keys(key),
        bands.keys(value),
        bias=_sum(logarithms, None if bias is None else bands.pairs(_two_axes(bias), fill=0.0)),
        mask=seen if mask is None else seen & bands.pairs(_two_axes(mask), fill=False),
        **options,
    )
    context = found.context.flatten(-3, -2)[..., :n_query, :]
    if found.weights is None or found.energies is None:
        return Attention(context, None, None)
    return Attention(context, bands.full(found.weights, fill=0.0), bands.full(found.energies, fill=-torch.inf))


class AdaptiveSpan(nn.Module):
    r"""Adaptive spans as parameters, one a head: in place of ``attend`` in multi-head attention.

    The parameter is the share :math:`z / S`, as in the authors' code. After each step of the optimiser call
    :meth:`clamp_`: a span outside of its bounds is refused. To the loss add a multiple of :meth:`penalty`.

    Args:
        heads: how many spans.
        max_span: :math:`S`.
        ramp: :math:`R`; 32 in the authors' code.
        start: the share that all spans start from; 0 in the authors' code.

    Raises:
        ValueError: ``start`` is not from 0 to 1, or ``heads`` or ``max_span`` is below 1.

    Source: Sukhbaatar et al. 2019, section 2.2 [sukhbaatar2019].

    >>> spans = AdaptiveSpan(2, max_span=100, ramp=4.0, start=0.25)
    >>> spans.spans.flatten().tolist(), spans.penalty().item()
    ([25.0, 25.0], 25.0)
    """

    def __init__(self, heads: int, *, max_span: int, ramp: float = 32.0, start: float = 0.0) -> None:
        super().__init__()
        for name, number in (("heads", heads), ("max_span", max_span)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if not 0 <= start <= 1:
            raise ValueError(f"start must be from 0 to 1, got {start}")
        self.max_span, self.ramp = max_span, ramp
        self.share = nn.Parameter(torch.full((heads, 1, 1), float(start)))

    @property
    def spans(self) -> Float[Tensor, "heads 1 1"]:
        """:math:`z`, in places."""
        return self.share * self.max_span

    def penalty(self) -> Float[Tensor, ""]:
        r""":math:`\frac{1}{M} \sum_i z_i`, the mean of the layer's spans, which are not below nought."""
        return self.spans.mean()

    @torch.no_grad()
    def clamp_(self) -> "AdaptiveSpan":
        """Bring the spans back to where they may be, from 0 to ``max_span``; for after each step."""
        self.share.clamp_(0, 1)
        return self

    def forward(
        self,
        query: Float[Tensor, "*#batch heads query d_q"],
        key: Float[Tensor, "*#batch key_heads key d_k"],
        value: Float[Tensor, "*#batch key_heads key d_v"] | None = None,
        *,
        enable_gqa: bool = False,
        **options: Any,
    ) -> Attention:
        """As :func:`adaptive_span`, whose ``score``, ``bias``, ``mask``, ``is_causal``, ``alignment``, ``need_weights``
        are options. There are no grouped queries."""
        if enable_gqa:
            raise ValueError("enable_gqa must be False: each head has keys, as it has a span, of its own")
        return adaptive_span(query, key, value, span=self.spans, ramp=self.ramp, max_span=self.max_span, **options)


class Pondered(NamedTuple):
    """What adaptive computation gives: the mean state, the weights of its parts, and how long it took."""

    state: Float[Tensor, "*batch size"]
    weights: Float[Tensor, "*batch step"]
    steps: Int[Tensor, "*batch"]
    remainder: Float[Tensor, "*batch"]
    cost: Float[Tensor, "*batch"]


def ponder(
    step: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    state: Float[Tensor, "*batch size"],
    *,
    max_steps: int,
    epsilon: float = 0.01,
    mask: Bool[Tensor, "*#batch"] | None = None,
) -> Pondered:
    r"""Repeat a step until its halting probabilities add up to one, nearly, and average the states on the way.

    .. math::
        N = \min\Big\{ n : \sum_{i=1}^{n} h^i \ge 1 - \epsilon \Big\}, \quad
        R = 1 - \sum_{n=1}^{N-1} h^n, \quad
        p^n = \begin{cases} h^n & n < N \\ R & n = N \end{cases}, \quad
        s = \sum_{n=1}^{N} p^n s^n, \quad \rho = N + R

    The number of steps has no gradient. So the cost has the slope -1 in each halting probability before the last, 0 in
    the last, and jumps where a step more or less is taken.

    Args:
        step: ``(state, n) -> (next state, halting probability (*batch,))``; ``n`` counts from 0, and tells the first
            step from the others, which the paper does with a flag in the input. It is called with all elements until
            the last has halted: one that has keeps the state it halted with, whatever the step makes of it.
        state: what the first step is given, ``(*batch, size)``.
        max_steps: an element that has not halted by then halts there, with what remains as its weight.
        epsilon: so that one step can be enough, though a sigmoid does not reach one.
        mask: True = a real element, broadcastable to ``(*batch,)``. Others take no steps and cost nothing, their result
            is nought, and the step finds ones in their place.

    Returns:
        A :class:`Pondered`: the mean state :math:`s`; the weights :math:`p^n` ``(*batch, step)``, for whatever else is
        to be averaged, such as an output each step; :math:`N`, :math:`R` and the ponder cost :math:`\rho`.

    Raises:
        TypeError: the state is not a floating point tensor.
        ValueError: ``max_steps`` is below 1, or ``epsilon`` not from 0 to 1; a step changes the shape of the state, or
            its halting probabilities have another shape or are not from 0 to 1, as far as one may look.

    Source: Graves 2016, section 2 [graves2016].

    Departs from the source: elements may be masked.

    >>> result = ponder(lambda state, n: (state + 1, torch.tensor([0.4])), torch.zeros(1, 1), max_steps=9)
    >>> result.weights, result.cost  # states 1, 2 and 3; the third has what remains
    (tensor([[0.4000, 0.4000, 0.2000]]), tensor([3.2000]))
    >>> result.state
    tensor([[1.8000]])
    """
    start, shape = as_computed(state, "state"), state.shape[:-1]
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    if not 0 <= epsilon < 1:
        raise ValueError(f"epsilon must be from 0 to 1, got {epsilon}")
    if mask is not None and not fits(mask.shape, shape):
        raise ValueError(f"mask of shape {tuple(mask.shape)} does not broadcast to (*batch,) = {tuple(shape)}")
    running = torch.ones(shape, dtype=torch.bool, device=state.device) if mask is None else mask.expand(shape)
    state = without(~running.unsqueeze(-1), state)
    remainder, steps = running.to(start.dtype), torch.zeros(shape, dtype=torch.long, device=state.device)
    mean, weights = torch.zeros_like(start), []
    for n in range(max_steps):
        following, halt = step(state, n)
        halt = _checked_halt(halt, following, state, running)
        # What remains before this step is its weight if it is the last, by having had enough or by being cut short.
        last = running & ((1 - remainder + halt >= 1 - epsilon) | (n + 1 == max_steps))
        weights.append(torch.where(last, remainder, torch.where(running, halt, 0.0)))
        state = torch.where(running.unsqueeze(-1), following, state)
        mean = mean + weights[-1].unsqueeze(-1) * state
        steps = steps + running
        running = running & ~last
        remainder = torch.where(running, remainder - halt, remainder)
        if not is_traced() and not bool(running.any()):
            break
    dtype = state.dtype
    cost = steps + remainder
    return Pondered(mean.to(dtype), torch.stack(weights, -1).to(dtype), steps, remainder.to(dtype), cost.to(dtype))


def _checked_halt(halt: Tensor, following: Tensor, state: Tensor, running: Tensor) -> Tensor:
    if following.shape != state.shape:
        raise ValueError(f"step must keep the state's shape {tuple(state.shape)}, got {tuple(following.shape)}")
    if halt.shape != running.shape:
        shapes = f"{tuple(running.shape)}, got {tuple(halt.shape)}"
        raise ValueError(f"step must return halting probabilities of shape {shapes}")
    halt = wide(halt)
    if not is_traced() and bool((running & ((halt < 0) | (halt > 1))).any()):
        raise ValueError("step must return halting probabilities from 0 to 1")
    return halt


def _logarithms(
    far: Tensor, span: Tensor, *, ramp: float, max_span: int | None, is_causal: bool, dtype: torch.dtype
) -> Tensor:
    """The logarithm of the shares, minus infinity where there is none, and beyond the longest span or in the future."""
    shares = span_shares(far.abs(), span=wide(span), ramp=ramp)
    seen = shares > 0
    if is_causal:
        seen = seen & (far >= 0)
    if max_span is not None:
        seen = seen & (far.abs() < max_span)
    return torch.where(seen, torch.where(seen, shares, 1.0).log(), -torch.inf).to(dtype)


def _reach(span: Tensor, ramp: float, max_span: int | None, shape: tuple[int, ...]) -> int | None:
    """How many places the longest span lets through, the query's own included; None where it may not be looked at."""
    as_computed(span, "span")
    if not fits(span.shape, (*shape[:-1], 1)):
        raise ValueError(f"span of shape {tuple(span.shape)} does not broadcast to (*batch, query, 1) = {shape[:-1]}")
    if max_span is not None and max_span < 1:
        raise ValueError(f"max_span must be at least 1, got {max_span}")
    if is_traced() or span.numel() == 0:
        return None
    shortest, longest = (float(bound) for bound in wide(span.detach()).aminmax())
    if not (shortest >= 0 and longest <= (math.inf if max_span is None else max_span)):
        most = "" if max_span is None else f" to max_span={max_span}"
        raise ValueError(f"span must be from 0{most}, got {shortest} to {longest}: clamp it after each step")
    reach = min(float((wide(span.detach()) + ramp).max()), shape[-1], math.inf if max_span is None else max_span)
    return math.ceil(reach)


def _sum(first: Tensor, second: Tensor | None) -> Tensor:
    return first if second is None else first + second


def _two_axes(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim > 1 else tensor.reshape(1, -1)
