"""Linear attention (Katharopoulos et al. 2020): a similarity that is an inner product of features, summed first.

The sum over all keys does not depend on the query, so it is taken once: time and memory grow with the length, not with
its square. Behind a causal mask it is a sum so far, a state of constant size, and attention is a recurrent network.
Three forms give one function: all at once, chunk by chunk, and step by step (:func:`decode`).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import forward_ad

from .._checks import HALF, check_mask, check_same_size, check_vectors, fits, is_learned, may_look, why_not_ours
from .._rows import (
    ORDINARY,
    all_finite,
    as_autocast,
    bad_rows,
    is_autocast,
    magnitude,
    mapped,
    nan_where,
    product,
    times,
    wide,
    without,
)
from ..attention import Attention, attend
from ..fused._linear import Read, causal_read, differentiate, why_not_read
from ..fused.paths import first, is_watched
from ..scores import generalized_kernel
from .kernels import shares

__all__ = ["LinearState", "decode", "linear_attention", "positive_elu"]

FeatureMap = Callable[[Tensor], Tensor]
NUMBERS = 2**19  # so many of a run: four tensors of the size fit into what memory allocators keep, and some caches


class LinearState(NamedTuple):
    """What is kept of all keys and values that were read: of one size, however many they were."""

    memory: Float[Tensor, "*batch d_f d_v"]
    total: Float[Tensor, "*batch d_f"]
    lost: Bool[Tensor, "*batch"]  # whether something that is not finite was among them


def positive_elu(vectors: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""The feature map of the paper, positive for every number, also where ``elu(x) + 1`` is rounded to zero.

    .. math:: \phi(x) = \mathrm{elu}(x) + 1 = \begin{cases} x + 1 & x > 0 \\ e^x & x \le 0 \end{cases}

    The sum on the left is zero below about -6 in bfloat16, -8 in float16 and -17 in float32, the exponential is not.

    Args:
        vectors: any shape.

    Returns:
        Features of the same shape; of half precision in float32.

    Source: Katharopoulos et al. 2020, Eq. 7 [katharopoulos2020].

    Departs from the source: the exponential stands in place of a difference and a sum.

    >>> positive_elu(torch.tensor([-20.0, 0.0, 2.0])), torch.nn.functional.elu(torch.tensor(-20.0)) + 1
    (tensor([2.0612e-09, 1.0000e+00, 3.0000e+00]), tensor(0.))
    """
    x = wide(vectors)
    if may_look(x) and not (torch.is_grad_enabled() and x.requires_grad) and forward_ad._current_level < 0:
        return x.clamp(max=0).exp_().add_(x.clamp(min=0))  # the same numbers in half of the time
    # With slopes a choice, not a sum of two clamped parts: at zero both of these would have one.
    return torch.where(x > 0, x + 1, torch.exp(x.clamp(max=0)))


def linear_attention(
    query: Float[Tensor, "*#batch query d_k"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    feature_map: FeatureMap = positive_elu,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    chunk: int = 64,
    need_weights: bool = False,
) -> Attention:
    r"""Average the values, weighted by inner products of features, in time and memory linear in the length.

    .. math::
        c_i = \frac{\phi(q_i)^\top \sum_j \phi(k_j) v_j^\top}{\phi(q_i)^\top \sum_j \phi(k_j)}

    where the sums run over all keys, or causally over :math:`j \le i`. Then they are taken in chunks: inside of a chunk
    by its small matrix, before it by the sum so far. A chunk of 1 is the recurrence with all its states kept, a chunk
    of all keys the matrix of all pairs.

    Args:
        query: ``(*batch, query, d_k)``. Leading dimensions of query, key and value broadcast.
        key: ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the keys are the values.
        feature_map: :math:`\phi`, on the last axis, of queries and keys alike. Where it may be negative, the weights
            are no distribution, and the denominator may vanish.
        mask: boolean, True = may attend. One for all queries, ``(key,)`` or ``(*batch, 1, key)``, keeps the cost
            linear; one that differs from query to query costs the matrix of all pairs here, even where a state could
            be updated by it step by step, as by a window.
        is_causal: query ``i`` may attend to keys ``0 ... i``.
        chunk: how many keys at a time, where ``is_causal``. It changes the cost alone.
        need_weights: make the matrix of all pairs, the thing that this attention avoids.

    Returns:
        Context ``(*batch, query, d_v)``; weights and energies ``(*batch, query, key)`` where asked for: the energies
        are the similarities, minus infinity where the mask forbids. A query that sees nothing, or whose denominator is
        zero, gets zeros. What the mask hides changes nothing. What is not finite gives NaN to those who see it.
        Half precision is computed in float32.

    Raises:
        TypeError: as :func:`attnlib.attend`.
        ValueError: shapes do not fit; ``chunk`` is below 1.

    Source: Katharopoulos et al. 2020, Eq. 5, and causally Eq. 16 to 20 [katharopoulos2020]; chunks are
    those in which Yang et al. 2024 take the delta rule [yang2024].

    Departs from the source: the authors' code adds 1e-6 to the denominator, so that its weights sum to less than one;
    here nothing is added.

    >>> query, key, value = torch.tensor([[0.0]]), torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    >>> linear_attention(query, key, value).context  # features 1, and 1 and 3
    tensor([[3.]])
    >>> linear_attention(query, key, value, is_causal=True).context
    tensor([[0.]])
    """
    value = key if value is None else value
    batch, n_query, n_key = check_vectors(query, key, value), query.shape[-2], key.shape[-2]
    _check_options(query, key, chunk, feature_map)
    if mask is not None:
        check_mask(mask, (*batch, n_query, n_key))
    if need_weights or (mask is not None and mask.ndim > 1 and mask.shape[-2] != 1):
        score = partial(generalized_kernel, feature_map=feature_map)
        run = partial(attend, query, key, value, is_causal=is_causal, need_weights=need_weights)
        return run(score=score, distribution=shares, mask=mask)
    query, key, value = as_autocast(query, key, value)
    if is_causal:
        reading = _Reading(query, key, value, batch, feature_map, mask, chunk)
        found = first("linear attention", PATHS, reading)
        if found is not None:
            return Attention(found.to(value.dtype), None, None)
    asked, lost_query = _asked(query, feature_map)
    features, values, bad = _read(key, value, mask, feature_map)
    if is_causal:
        sums, _ = _chunks(asked, features, values, chunk)
        lost = None if bad is None else _lost(bad, n_query - n_key)
    else:
        sums = times(asked, times(features.mT, values))
        lost = None if bad is None else bad.any(-2, keepdim=True)
    return Attention(_context(sums, lost, lost_query).to(value.dtype), None, None)


def decode(
    query: Float[Tensor, "*#batch new d_k"],
    key: Float[Tensor, "*#batch new d_k"],
    value: Float[Tensor, "*#batch new d_v"],
    state: LinearState | None = None,
    *,
    feature_map: FeatureMap = positive_elu,
    mask: Bool[Tensor, "*#mask"] | None = None,
    chunk: int = 64,
) -> tuple[Float[Tensor, "*batch new d_v"], LinearState]:
    r"""Read on: the new items attend to all that was read, and causally to themselves, in constant memory an item.

    .. math::
        S_i = S_{i-1} + \phi(k_i) v_i^\top, \quad z_i = z_{i-1} + \phi(k_i), \quad
        c_i = \frac{\phi(q_i)^\top S_i}{\phi(q_i)^\top z_i}

    Item by item, or in runs of any length, it gives the contexts of ``linear_attention(..., is_causal=True)``.

    Args:
        query: of the items that follow, ``(*batch, new, d_k)``.
        key: ``(*batch, new, d_k)``.
        value: ``(*batch, new, d_v)``.
        state: what the last call returned; nothing was read before unless given.
        feature_map: :math:`\phi`, as in :func:`linear_attention`.
        mask: which of the new items may be attended to, ``(new,)`` or ``(*batch, 1, new)``.
        chunk: as in :func:`linear_attention`.

    Returns:
        Contexts ``(*batch, new, d_v)``, and the state with the new items: a new one, in float32 at least. The one that
        was given can be read on in another way.

    Raises:
        TypeError: as :func:`attnlib.attend`.
        ValueError: there are not as many queries as keys; the mask differs from query to query; shapes do not fit.

    Source: Katharopoulos et al. 2020, Eq. 16 to 20 [katharopoulos2020].

    >>> one, value = torch.zeros(1, 1), torch.tensor([[4.0]])
    >>> context, state = decode(one, one, value)
    >>> decode(one, one, 0 * value, state)[0], state.memory, state.total
    (tensor([[2.]]), tensor([[4.]]), tensor([1.]))
    """
    batch, new = check_vectors(query, key, value), query.shape[-2]
    _check_options(query, key, chunk, feature_map)
    if state is not None:
        _check_state(state, batch, key, value, feature_map)
    if key.shape[-2] != new:
        raise ValueError(f"query must have as many rows as key, {key.shape[-2]}, got {new}")
    if mask is not None:
        check_mask(mask, (*batch, new, new))
        if mask.ndim > 1 and mask.shape[-2] != 1:
            raise ValueError(f"mask must be (*batch, 1, new), the same for all queries, got {tuple(mask.shape)}")
    if new == 1 and state is not None and mask is None and feature_map is positive_elu:
        step = _next(query, key, value, state)
        if step is not None:
            return step
    query, key, value = as_autocast(query, key, value)
    reading = _Reading(query, key, value, batch, feature_map, mask, chunk, state)
    found = first("linear attention", STEPS, reading)
    if found is not None:
        lost = found.by_key if state is None else found.by_key | state.lost.expand(batch)[..., None, None]
        context = _spoilt(found, lost).to(value.dtype)
        return context, LinearState(found.memory, found.total, lost[..., -1, 0])
    asked, lost_query = _asked(query, feature_map)
    features, values, bad = _read(key, value, mask, feature_map)
    before = None if state is None else torch.cat([state.memory, state.total.unsqueeze(-1)], -1)
    sums, after = _chunks(asked, features, values, max(1, min(chunk, new)), before)
    lost = torch.zeros_like(sums[..., :1], dtype=torch.bool) if bad is None else bad.int().cumsum(-2) > 0
    lost_before = lost.new_zeros(sums.shape[:-2]) if state is None else state.lost.expand(sums.shape[:-2])
    lost = lost | lost_before[..., None, None]
    lost_after = lost[..., -1, 0].expand(sums.shape[:-2]) if new else lost_before
    context = _context(sums, lost, lost_query).to(value.dtype)
    return context, LinearState(after[..., :-1], after[..., -1], lost_after)


def _next(query: Tensor, key: Tensor, value: Tensor, state: LinearState) -> tuple[Tensor, LinearState] | None:
    """:func:`decode` of one item more without a graph, in few calls; None where something is not plain."""
    parts, batch = (query, key, value, state.memory, state.total), value.shape[:-2]
    if torch.is_grad_enabled() or is_watched() or is_autocast(query) or not may_look(*parts) or query.dtype in HALF:
        return None
    sizes = (*batch, key.shape[-1], value.shape[-1])
    if 0 in sizes or query.shape != key.shape or (state.memory.shape, state.lost.shape) != (sizes, batch):
        return None
    if state.total.shape != sizes[:-1] or any(part.dtype != query.dtype for part in parts):
        return None
    both = torch.stack((query, key))
    low, high = both.aminmax()
    # Above -80 the exponential is a normal number, so that no feature is zero, and no denominator.
    if not (low.item() > -80 and high.item() < ORDINARY and magnitude(value) < ORDINARY) or state.lost.any().item():
        return None
    asked, features = positive_elu(both).unbind()
    after = LinearState(torch.addcmul(state.memory, features.mT, value), state.total + features.squeeze(-2), state.lost)
    asked = asked / asked.amax(-1, keepdim=True)
    return (asked @ after.memory) / (asked @ after.total.unsqueeze(-1)), after


class _Reading(NamedTuple):
    """What is asked where it is causal: the arguments, checked, and in their precision under autocast."""

    query: Tensor
    key: Tensor
    value: Tensor
    batch: tuple[int, ...]
    feature_map: FeatureMap
    mask: Tensor | None
    chunk: int
    state: LinearState | None = None


def _in_kernel(asked: _Reading) -> Read | str:
    """What the kernel in C++ reads: of vectors where it has the feature map, else of features; why not."""
    query, key, value, batch, feature_map, seen, _, state = asked
    before = () if state is None else (state.memory, state.total)
    reason = why_not_read(query, key, value, *before)
    if reason is not None:
        return reason
    if feature_map is positive_elu:
        return causal_read(query, key, value, batch, seen, before or None, maps=True)
    query, lost_query = _features(query, feature_map)
    key, value, nothing, bad = _seen(key, value, seen, feature_map)
    if 0 in (query.shape[-1], key.shape[-1]) or query.shape[-1] != key.shape[-1] or key.dtype != value.dtype:
        return "the features are not such as it multiplies"
    seen = None if nothing is None else ~nothing.mT
    found = causal_read(query, key, value, batch, seen, before or None, maps=False)
    by_key = found.by_key if bad is None else found.by_key | _lost(bad, query.shape[-2] - key.shape[-2])
    return found._replace(by_key=by_key, by_query=found.by_query if lost_query is None else found.by_query | lost_query)


def _whole_in_kernel(asked: _Reading) -> Tensor | str:
    """Its context, with the NaN of what is lost."""
    found = _in_kernel(asked)
    return found if isinstance(found, str) else _spoilt(found, found.by_key)


def _in_runs(asked: _Reading) -> Tensor | str:
    """The context in runs of tokens, so that all that is made on the way fits into a cache; why not."""
    query, key, value, batch, feature_map, mask, chunk, _ = asked
    reason = why_not_ours(query, key, value, compiled=False)
    if reason is not None:
        return reason
    if is_learned(query, key, value):
        return "gradients are wanted, for which all is kept"
    if feature_map is not positive_elu:
        return "the feature map may look at all tokens at once"
    size = math.prod(batch) * max(key.shape[-1], value.shape[-1])
    run, n_query = max(1, NUMBERS // max(1, size * chunk)) * chunk, query.shape[-2]
    if n_query <= run:
        return "all tokens are one run"
    context, before = wide(value).new_empty((*batch, n_query, value.shape[-1])), None
    for start in range(0, n_query, run):
        here = slice(start, start + run)
        some, lost = _asked(query[..., here, :], feature_map)
        shown = mask if mask is None or mask.ndim == 0 or mask.shape[-1] == 1 else mask[..., here]
        features, values, bad = _read(key[..., here, :], value[..., here, :], shown, feature_map)
        if lost is not None or bad is not None:
            return "something is not finite"
        sums, before = _chunks(some, features, values, chunk, before)
        context[..., here, :] = _context(sums)
    return context


STEPS = {"kernel in C++": _in_kernel}
PATHS = {"kernel in C++": _whole_in_kernel, "runs of tokens": _in_runs}


def _spoilt(found: Read, by_key: Tensor) -> Tensor:
    """The context with the NaN of what is lost."""
    lost = by_key | found.by_query
    if may_look(lost) and not lost.any():
        return found.context
    return found.context + nan_where(lost, found.context.dtype)


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor | None,
    memory: Tensor | None,
    total: Tensor | None,
    maps: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """What the kernel does: the context as if nothing were lost, and the state after all."""
    before = None if memory is None or total is None else torch.cat([memory, total.unsqueeze(-1)], -1)
    feature_map = positive_elu if maps else torch.clone
    features, values, _ = _read(key, value, seen, feature_map)
    sums, after = _chunks(_asked(query, feature_map)[0], features, values, 64, before)
    return _context(sums), after[..., :-1], after[..., -1]


differentiate(_plain)


def _features(vectors: Tensor, feature_map: FeatureMap) -> tuple[Tensor, Tensor | None]:
    """Features, and of which vectors they are not because something is not finite."""
    bad = None if all_finite(vectors) else bad_rows(vectors)
    features, spoilt = mapped(feature_map, vectors if bad is None else without(bad, vectors))
    return wide(features), bad if spoilt is None else spoilt if bad is None else bad | spoilt


def _asked(query: Tensor, feature_map: FeatureMap) -> tuple[Tensor, Tensor | None]:
    """Features of the queries, the largest of each made 1, which the fraction does not see; and which are lost."""
    features, bad = _features(query, feature_map)
    if features.shape[-1]:
        top = features.detach().abs().amax(-1, keepdim=True)
        features = features / torch.where(top == 0, 1.0, top)
    return features, bad


def _read(
    key: Tensor, value: Tensor, mask: Tensor | None, feature_map: FeatureMap
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features of the keys, and values with a column of ones that adds up the denominator; zeros where nothing counts.

    And which keys are seen but not finite: None where none is.
    """
    features, value, nothing, bad = _seen(key, value, mask, feature_map)
    features = features if nothing is None else torch.where(nothing, 0.0, features)
    return features, F.pad(value, (0, 1), value=1.0), bad


def _seen(
    key: Tensor, value: Tensor, mask: Tensor | None, feature_map: FeatureMap
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Features of the keys; values, zeros where nothing counts; where that is, and which are seen but not finite."""
    hidden = None
    if mask is not None:  # (key, 1) from here on, before what is hidden meets any arithmetic
        hidden = ~(mask.reshape(1, -1) if mask.ndim < 2 else mask).mT
        hidden = hidden.expand(*hidden.shape[:-2], key.shape[-2], 1)
        key, value = without(hidden, key), torch.where(hidden, 0.0, value)
    bad = None if all_finite(key, value) else bad_rows(key) | bad_rows(value)
    features, spoilt = mapped(feature_map, key if bad is None else without(bad, key))
    bad = bad if spoilt is None else spoilt if bad is None else bad | spoilt
    value = wide(value)
    if bad is not None:
        value = torch.where(bad, 0.0, value)
    return wide(features), value, hidden if bad is None else bad if hidden is None else hidden | bad, bad


def _chunks(
    asked: Tensor, features: Tensor, values: Tensor, chunk: int, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What each query sees of its chunk and of all before it, and the sum of all: ``(*batch, query, d_v + 1)``."""
    n_query, n_key = asked.shape[-2], features.shape[-2]
    count = (n_query + chunk - 1) // chunk
    whole = count * chunk  # what is filled up has features of zero; keys after the last query go
    asked, features, values = (
        _padded(part, whole - n).reshape(*part.shape[:-2], count, chunk, part.shape[-1])
        for part, n in ((asked, n_query), (features, n_key), (values, n_key))
    )
    sums = times(product(asked, features).tril(), values)
    written = times(features.mT, values)  # of each chunk
    start = torch.zeros_like(written.sum(-3)) if before is None else before.expand_as(written.sum(-3))
    read = torch.cat([start.unsqueeze(-3), written], -3).cumsum(-3)
    sums = sums + times(asked, read[..., :-1, :, :])
    return sums.flatten(-3, -2)[..., :n_query, :], read[..., -1, :, :]


def _lost(bad: Tensor, more: int) -> Tensor:
    """Which queries see a bad key, where there are so many more of them than of keys."""
    return _padded(bad, more).int().cumsum(-2) > 0


def _padded(part: Tensor, rows: int) -> Tensor:
    """With so many rows of zeros after the last, or without so many."""
    return F.pad(part, (0, 0, 0, rows)) if rows else part


def _context(sums: Tensor, *lost: Tensor | None) -> Tensor:
    """The fraction, zero where its denominator is; the NaN of what was lost on top, as a constant."""
    above, below = sums[..., :-1], sums[..., -1:]
    none = below.detach() == 0
    if may_look(none) and not none.any():
        context = above / below
    else:
        context = torch.where(none, 0.0, above) / torch.where(none, 1.0, below)
    for each in lost:
        context = context if each is None else context + nan_where(each, context.dtype)
    return context


def _check_options(query: Tensor, key: Tensor, chunk: int, feature_map: FeatureMap) -> None:
    if not callable(feature_map):
        raise TypeError(f"feature_map must be callable, got {type(feature_map).__name__}")
    if feature_map is positive_elu:  # which features another gives is not known
        check_same_size(query, key)
    if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1:
        raise ValueError(f"chunk must be a whole number of at least 1, got {chunk!r}")


def _check_state(
    state: LinearState, batch: tuple[int, ...], key: Tensor, value: Tensor, feature_map: FeatureMap
) -> None:
    if not isinstance(state, LinearState):
        raise TypeError(f"state must be a LinearState, got {type(state).__name__}")
    *lead, d_f, d_v = state.memory.shape
    wanted = key.shape[-1] if feature_map is positive_elu else d_f, value.shape[-1]
    if (d_f, d_v) != wanted or not fits(lead, batch):
        expected, got = (*batch, *wanted), tuple(state.memory.shape)
        raise ValueError(f"state must have a memory of shape (*batch, d_f, d_v) = {expected}, got {got}")
