"""Local attention: look at a window of the keys around a centre that is known (local-m) or predicted (local-p).

Only the keys in the windows are gathered and scored: ``2 D + 1`` a query, however long the sentence. Positions count
from 0. The query that asks, and what is done with the context, stand in :mod:`attnlib.recurrent.input_feeding`.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor, nn

from .._checks import check_mask, check_parameter, check_tensor, check_vector, check_vectors
from .._rows import as_autocast, bad_rows, burst_rows, nan_where, product, times, without
from .._work import Score, energies_of
from ..attention import Attention
from ..distributions import softmax
from ..fused._window_plans import held
from ..fused._windows import PATHS, Windows
from ..fused.paths import first, refuse
from ..scores import scaled_dot

__all__ = [
    "PredictedCentre",
    "full_weights",
    "local",
    "monotonic_centres",
    "predicted_centres",
    "window_positions",
]


def local(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    centre: Real[Tensor, "*#batch query"],
    half_width: int,
    score: Score = scaled_dot,
    gaussian: bool = True,
    renormalise: bool = False,
    rounded: bool = False,
    mask: Bool[Tensor, "*#mask"] | None = None,
    need_weights: bool = True,
) -> Attention:
    r"""Attend to the keys at most ``D`` places from a centre ``p``, the nearer the more.

    .. math::
        \alpha_s = \frac{\exp f(q, k_s)}{\sum_{s' \in W} \exp f(q, k_{s'})}
        \exp\Big( -\frac{(s - p)^2}{2 \sigma^2} \Big), \quad W = \{ s : |s - p| \le D \}, \quad \sigma = \frac{D}{2}

    The softmax is taken in the window first and its product with the Gaussian is not normalised again, so the weights
    sum to less than one. The centre gets a gradient through the Gaussian. It gets none through the choice of the
    window, which is constant but for jumps, where a key comes in or drops out with the factor :math:`e^{-2}`.

    Args:
        query: ``(*batch, query, d_q)``. Leading dimensions of query, key, value and centre broadcast.
        key: ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the keys are the values.
        centre: :math:`p`, ``(*batch, query)``, in places of keys, whole or not; see :func:`monotonic_centres` and
            :func:`predicted_centres`. Near an end the window is cut off there; beyond, it may be empty.
        half_width: :math:`D`, a whole number. At least 1 with the Gaussian, whose width it sets; else 0 is allowed, the
            window of the one key at a whole centre.
        score: any callable ``(query, key) -> energies``. It sees one window at a time: a score that counts positions
            (``location_based``) counts the places of the window, and wants ``2 D + 1`` of them.
        gaussian: False leaves out the Gaussian; this is local-m, with the centres of :func:`monotonic_centres`.
        renormalise: make the weights of a window sum to one after the Gaussian.
        rounded: take the ``2 D + 1`` keys around :math:`\lfloor p \rfloor` for the window, as the authors' code does.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``; for sequences of different length
            :func:`attnlib.masks.key_mask`.
        need_weights: without the weights nothing is gathered where the score is a product of query and key and the
            windows overlap, and memory is that of the context; the context is the same. There is no second derivative
            then.

    Returns:
        Context ``(*batch, query, d_v)``; weights and energies ``(*batch, query, 2 D + 1)``, one column a place of the
        window: :func:`window_positions` names the places, :func:`full_weights` lays the weights out over all keys.
        Places outside of window, sentence or mask have energy minus infinity and weight zero; a window with nothing
        else gives zeros. What is not seen, NaN included, changes nothing. A centre that is NaN gives NaN.

    Raises:
        TypeError: as :func:`attnlib.attend`; the centre is not a tensor of numbers; ``half_width`` is not whole.
        ValueError: shapes do not fit; ``half_width`` is too small.

    Source: Luong et al. 2015, section 3.2, Eq. 7 and 10 [luong2015]; order and normalisation from the authors' code.

    Departs from the source: positions count from 0, a mask may hide keys, an empty window gives zeros.

    >>> query, key = torch.zeros(1, 2), torch.zeros(10, 2)  # all keys alike: a quarter each, times the Gaussian
    >>> local(query, key, centre=torch.tensor([4.3]), half_width=2).weights * 4
    tensor([[0.0000, 0.4296, 0.9560, 0.7827, 0.2357]])
    """
    value = key if value is None else value
    batch = check_vectors(query, key, value)
    n_query, n_key = query.shape[-2], key.shape[-2]
    if mask is not None:
        check_mask(mask, (*batch, n_query, n_key))
        mask = mask if mask.ndim > 1 else mask.reshape(1, -1)
    shared = value is key
    query, key, value = as_autocast(query, key, value)
    value = key if shared else value
    _check_half_width(half_width, least=1 if gaussian else 0)
    batch = _check_centre(centre, batch, n_query)
    form = (half_width, score, gaussian, renormalise, rounded)
    asked = Windows(query, key, value, batch, centre, *form, mask, lambda part: _reference(part).context)
    if need_weights:
        refuse("local", PATHS, "the weights are asked for")
        return _reference(asked)
    context = first("local", PATHS, asked)
    return Attention(_reference(asked).context if context is None else context, None, None)


def _reference(asked: Windows) -> Attention:
    """The windows of the keys gathered, and the equation."""
    query, key, value, batch, centre, half_width, score, gaussian, renormalise, rounded, mask, _ = asked
    n_query, n_key = query.shape[-2], key.shape[-2]
    lost = centre.isnan().unsqueeze(-1)
    if mask is not None:
        mask = mask.expand(*batch, n_query, n_key)
        lost = lost & mask.any(-1, keepdim=True)
    centre = held(centre, half_width, n_key, query.dtype).expand(*batch, n_query)
    positions = window_positions(centre, half_width)
    distance = positions - centre.unsqueeze(-1)
    visible = (positions >= 0) & (positions < n_key)
    if not rounded:
        visible = visible & (distance.detach().abs() <= half_width)
    places = positions.clamp(0, max(n_key - 1, 0))
    if mask is not None and n_key:
        visible = visible & mask.gather(-1, places)
    # Each query has keys and values of its own here: what it does not see is taken out pair by pair. So is what is not
    # finite, before it is gathered, and its NaN put back where it is seen, as attend does.
    bad_query, bad_key, bad_value = bad_rows(query), bad_rows(key), bad_rows(value)
    shown = visible.unsqueeze(-1)
    keys = without(~shown, _gathered(without(bad_key, key), places, batch))
    values = keys if value is key else without(~shown, _gathered(without(bad_value, value), places, batch))
    sees_nothing = ~visible.any(-1, keepdim=True)
    energies = energies_of(score, without(bad_query | sees_nothing, query).unsqueeze(-2), keys).squeeze(-2)
    energies = torch.where(visible, energies, -torch.inf)
    bad = visible & (bad_query | _gathered(bad_key, places, batch).squeeze(-1))
    spoilt = bad.any(-1, keepdim=True) | burst_rows(energies)
    lost = lost | spoilt
    near = distance / half_width if gaussian else None
    weights = _shares(torch.where(spoilt, -torch.inf, energies), distance=near, renormalise=renormalise)
    context = times(weights.unsqueeze(-2), values).squeeze(-2)
    lost_value = lost | (visible & _gathered(bad_value, places, batch).squeeze(-1)).any(-1, keepdim=True)
    return Attention(
        (context + nan_where(lost_value, context.dtype)).to(value.dtype),
        (weights + nan_where(lost, weights.dtype)).to(value.dtype),
        torch.where(bad, torch.nan, energies),
    )


def _shares(energies: Tensor, *, distance: Tensor | None, renormalise: bool) -> Tensor:
    """Softmax in the window, then the Gaussian of the distance, which comes as a part of ``D = 2 sigma``."""
    weights = softmax(energies)
    if distance is not None:
        weights = weights * torch.exp(-2 * distance**2).to(weights.dtype)  # a centre may be more precise
    if renormalise:
        total = weights.sum(-1, keepdim=True)
        weights = weights / torch.where(total == 0, 1.0, total)
    return weights


def window_positions(
    centre: Real[Tensor, "*batch query"], half_width: int
) -> Int[Tensor, "*batch query {2*half_width+1}"]:
    r"""The positions that the columns of a window stand for, those outside of the sentence too.

    .. math:: \lfloor p \rfloor - D, \; \dots, \; \lfloor p \rfloor + D

    Args:
        centre: ``(*batch, query)``, finite.
        half_width: :math:`D`.

    Returns:
        ``(*batch, query, 2 D + 1)``. Of a window that is not rounded the first is left out, unless the centre is whole.

    Source: Luong et al. 2015, section 3.2 [luong2015].

    >>> window_positions(torch.tensor([4.3]), 2)
    tensor([[2, 3, 4, 5, 6]])
    """
    steps = torch.arange(-half_width, half_width + 1, device=centre.device)
    return centre.detach().floor().long().unsqueeze(-1) + steps


def full_weights(
    weights: Float[Tensor, "*batch query window"], *, centre: Real[Tensor, "*#batch query"], n_key: int
) -> Float[Tensor, "*batch query {n_key}"]:
    """Lay the weights of :func:`local` out over all keys, zeros elsewhere: for pictures and comparisons.

    Args:
        weights: ``(*batch, query, 2 D + 1)``.
        centre: that which :func:`local` was given.
        n_key: number of keys.

    Returns:
        ``(*batch, query, n_key)``. This is the matrix that :func:`local` never makes.

    Raises:
        ValueError: the number of columns is even.

    Source: Luong et al. 2015, section 3.2 [luong2015].

    >>> full_weights(torch.tensor([[0.0, 0.7, 0.2]]), centre=torch.tensor([0]), n_key=4)
    tensor([[0.7000, 0.2000, 0.0000, 0.0000]])
    """
    width = weights.shape[-1]
    if width % 2 == 0:
        raise ValueError(f"weights must have 2 D + 1 columns, an odd number, but have {width}")
    near = held(centre, width // 2, n_key).expand(weights.shape[:-1])
    places = window_positions(near, width // 2) + width  # room on both sides for what lies outside
    full = weights.new_zeros((*weights.shape[:-1], n_key + 3 * width))
    return full.scatter(-1, places, weights)[..., width : width + n_key]


def monotonic_centres(
    n_query: int, *, lengths: Int[Tensor, "*batch"] | int, device: torch.device | str | None = None
) -> Int[Tensor, "*batch {n_query}"]:
    r"""Query ``t`` looks around key ``t``, or around the last key when there is no such key: local-m.

    .. math:: p_t = \min(t, S - 1)

    Args:
        n_query: number of queries.
        lengths: :math:`S`, the number of keys of each sentence ``(*batch,)``, or of all.
        device: where the centres are made; that of ``lengths`` where it is a tensor.

    Returns:
        ``(*batch, query)``, or ``(query,)`` where ``lengths`` is a number.

    Raises:
        TypeError: ``lengths`` is not of whole numbers.

    Source: Luong et al. 2015, section 3.2; stopping at the last position from the authors' code [luong2015].

    >>> monotonic_centres(4, lengths=torch.tensor([2, 9]))
    tensor([[0, 1, 1, 1],
            [0, 1, 2, 3]])
    """
    last = _checked_lengths(lengths, device) - 1
    return torch.minimum(torch.arange(n_query, device=last.device), last.clamp(min=0).unsqueeze(-1))


def predicted_centres(
    query: Float[Tensor, "*#batch query d_q"],
    *,
    lengths: Int[Tensor, "*#batch"] | int,
    weight: Float[Tensor, "d d_q"],
    vector: Float[Tensor, " d"],
    to_last: bool = False,
) -> Float[Tensor, "*batch query"]:
    r"""Read from each query where in the sentence to look: local-p.

    .. math:: p_t = S \, \mathrm{sigmoid}(v^\top \tanh(W h_t))

    Args:
        query: :math:`h_t`, ``(*batch, query, d_q)``.
        lengths: :math:`S`, the number of keys of each sentence ``(*batch,)``, or of all.
        weight: :math:`W`, ``(d, d_q)``.
        vector: :math:`v`, ``(d,)``.
        to_last: :math:`S - 1` in place of :math:`S`, so that the centre runs from the first position to the last; ours.

    Returns:
        Centres ``(*batch, query)`` from 0 to :math:`S`, in single precision at least.

    Raises:
        TypeError: ``query`` is not floating point, or ``lengths`` is not of whole numbers.
        ValueError: a size of a parameter does not fit.

    Source: Luong et al. 2015, Eq. 9 [luong2015]; the authors' code has the same, plus 1, since it counts from 1.

    Departs from the source: positions count from 0; :math:`S` is one place beyond the last, as is the code's ``S + 1``.

    >>> weight, vector = torch.tensor([[1.0]]), torch.tensor([100.0])
    >>> predicted_centres(torch.tensor([[0.0], [9.0]]), lengths=8, weight=weight, vector=vector)
    tensor([4., 8.])
    """
    check_vector(vector)
    check_parameter("weight", weight, d=vector.shape[0], d_q=query.shape[-1])
    span = _checked_lengths(lengths, query.device).unsqueeze(-1)
    share = torch.sigmoid(times(torch.tanh(product(query, weight)), vector))
    return (span - 1).clamp(min=0) * share if to_last else span * share


class PredictedCentre(nn.Module):
    """:func:`predicted_centres` with its parameters ``weight`` ``(d, d_q)`` and ``vector`` ``(d,)``.

    Args:
        d_q: size of the queries.
        d: size of the hidden layer.
        to_last: as there.

    Source: Luong et al. 2015, Eq. 9 [luong2015].

    >>> PredictedCentre(5, 3)(torch.zeros(1, 5), lengths=8)  # at the start, a query of zeros looks to the middle
    tensor([4.], grad_fn=<MulBackward0>)
    """

    def __init__(
        self,
        d_q: int,
        d: int,
        *,
        to_last: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.to_last = to_last
        self.weight = nn.Parameter(torch.empty(d, d_q, device=device, dtype=dtype))
        self.vector = nn.Parameter(torch.empty(d, device=device, dtype=dtype))
        nn.init.xavier_uniform_(self.weight)
        nn.init.uniform_(self.vector, -1 / math.sqrt(d), 1 / math.sqrt(d))

    def forward(
        self, query: Float[Tensor, "*#batch query d_q"], *, lengths: Int[Tensor, "*#batch"] | int
    ) -> Float[Tensor, "*batch query"]:
        """Centres of shape ``(*batch, query)``."""
        return predicted_centres(query, lengths=lengths, weight=self.weight, vector=self.vector, to_last=self.to_last)


def _gathered(vectors: Tensor, places: Tensor, batch: tuple[int, ...]) -> Tensor:
    """The vectors at the places: ``(*batch, query, window, size)``. By whole rows, which is what memory is quick at."""
    if vectors.shape[-2] == 0:  # nothing is visible then, but a place has to point at something
        vectors = F.pad(vectors, (0, 0, 0, 1))
    n, size = vectors.shape[-2:]
    first = n * torch.arange(math.prod(batch), device=places.device).reshape(*batch, 1, 1)
    rows = vectors.expand(*batch, n, size).reshape(math.prod(batch) * n, size)
    return rows.index_select(0, (first + places).flatten()).reshape(*places.shape, size)


def _check_half_width(half_width: int, least: int) -> None:
    if not isinstance(half_width, int) or isinstance(half_width, bool):
        raise TypeError(f"half_width must be a whole number, got {half_width!r}")
    if half_width < least:
        why = " with the Gaussian, whose width it sets" if least else ""
        raise ValueError(f"half_width must be at least {least}{why}, got {half_width}")


def _check_centre(centre: Tensor, batch: tuple[int, ...], n_query: int) -> tuple[int, ...]:
    """Return the batch dimensions, the centre's among them."""
    check_tensor("centre", centre)
    if centre.dtype == torch.bool or centre.is_complex():
        raise TypeError(f"centre must be of numbers, got dtype {centre.dtype}")
    if centre.ndim < 1 or centre.shape[-1] != n_query:
        raise ValueError(f"centre must have shape (*batch, query={n_query}), got shape {tuple(centre.shape)}")
    if centre.shape[:-1] in ((), batch):  # torch's function takes as long as a small attention
        return batch
    try:
        return tuple(torch.broadcast_shapes(centre.shape[:-1], batch))  # type: ignore[no-untyped-call]
    except RuntimeError:
        message = f"centre has leading dimensions {tuple(centre.shape[:-1])} that do not broadcast with {batch}"
        raise ValueError(message) from None


def _checked_lengths(lengths: Tensor | int, device: torch.device | str | None) -> Tensor:
    if not isinstance(lengths, Tensor):
        lengths = torch.tensor(lengths, device=device)
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise TypeError(f"lengths must be of whole numbers, got dtype {lengths.dtype}")
    return lengths
