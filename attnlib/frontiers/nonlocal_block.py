"""Non-local operations: each place of a signal, an image or a video averages over all places (article § 4).

Three ways to weigh a pair of places are functions of queries, keys and values. :class:`NonLocalBlock` makes these from
a grid, and adds what comes out to the grid. The paper's Gaussian and embedded Gaussian are one function here: they
differ in what it is given.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .._checks import as_computed, check_boolean, check_mask, check_same_size, check_vector, check_vectors, fits
from .._rows import as_autocast, bad_rows, nan_where, times, wide, without
from ..attention import Attention, attend
from ..scores import dot

__all__ = ["Concatenation", "NonLocalBlock", "concatenation", "dot_product", "gaussian"]

_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def gaussian(
    query: Float[Tensor, "*#batch query d"],
    key: Float[Tensor, "*#batch key d"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    scale: float | Tensor | None = None,
    mask: Bool[Tensor, "*#mask"] | None = None,
    need_weights: bool = True,
) -> Attention:
    r"""Weigh a pair by the exponential of its dot product: softmax attention without a scale.

    .. math::
        y_i = \frac{1}{C_i} \sum_j f_{ij} g_j, \qquad f_{ij} = \exp(\theta_i \cdot \phi_j), \quad C_i = \sum_j f_{ij}

    Queries and keys that are the input itself make it the Gaussian, linear maps of it the embedded Gaussian.

    Args:
        query: :math:`\theta`, ``(*batch, query, d)``.
        key: :math:`\phi`, ``(*batch, key, d)``.
        value: :math:`g`, ``(*batch, key, d_v)``; without it the keys are the values.
        scale: times the dot products. The paper has none; the authors' release takes :math:`1 / \sqrt d` in all of its
            configurations.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``.
        need_weights: without them a fused kernel may do the work, and no matrix of all pairs is made.

    Returns:
        As :func:`attnlib.attend`; the energies are the logarithms of :math:`f`.

    Raises:
        TypeError, ValueError: as :func:`attnlib.attend`.

    Source: Wang et al. 2018, Eq. 1 to 3 [wang2018].

    Departs from the source: a mask may hide keys.

    >>> gaussian(torch.zeros(1, 2), torch.ones(4, 2), torch.tensor([[1.0], [2.0], [3.0], [6.0]])).context
    tensor([[3.]])
    """
    return attend(query, key, value, score=dot, scale=scale, mask=mask, need_weights=need_weights)


def dot_product(
    query: Float[Tensor, "*#batch query d"],
    key: Float[Tensor, "*#batch key d"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    mask: Bool[Tensor, "*#mask"] | None = None,
    need_weights: bool = True,
) -> Attention:
    r"""Weigh a pair by its dot product, divided by the number of keys: no softmax.

    .. math::
        y_i = \frac{1}{N} \sum_{j=1}^{N} (\theta_i \cdot \phi_j) \, g_j
            = \frac{1}{N} \Big( \sum_j g_j \phi_j^\top \Big) \theta_i

    Weights may be negative and do not sum to one. The right side makes no matrix of pairs, and is what is computed
    where the weights are not asked for and all queries see the same keys.

    Args:
        query: :math:`\theta`, ``(*batch, query, d)``.
        key: :math:`\phi`, ``(*batch, key, d)``.
        value: :math:`g`, ``(*batch, key, d_v)``; without it the keys are the values.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``. :math:`N` counts what it shows.
        need_weights: give them, and the dot products as energies.

    Returns:
        As :func:`attnlib.attend`, NaN and what sees nothing included.

    Raises:
        TypeError, ValueError: as :func:`attnlib.attend`.

    Source: Wang et al. 2018, Eq. 4 [wang2018].

    Departs from the source: a mask may hide keys, which are not counted then.

    >>> query, key = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    >>> dot_product(query, key, torch.tensor([[10.0], [4.0]]))[:2]  # dot products 2 and -1, halved
    (tensor([[8.]]), tensor([[ 1.0000, -0.5000]]))
    """
    value = key if value is None else value
    check_same_size(query, key)
    if need_weights or not _is_for_all(mask):
        return attend(query, key, value, score=dot, distribution=_by_count, mask=mask, need_weights=need_weights)
    seen = _seen(query, key, value, mask)
    return seen.result(times(seen.query, times(seen.key.mT, seen.value)))


def concatenation(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    vector: Float[Tensor, " d_w"],
    mask: Bool[Tensor, "*#mask"] | None = None,
    need_weights: bool = True,
) -> Attention:
    r"""Weigh a pair by a rectified linear function of both, divided by the number of keys.

    .. math::
        y_i = \frac{1}{N} \sum_{j=1}^{N} f_{ij} \, g_j, \qquad f_{ij} = \mathrm{ReLU}(w \cdot [\theta_i; \phi_j])
        = \max(0, a_i + b_j)

    The vector's halves meet query and key apart, as :math:`a_i` and :math:`b_j`, so that no pair is ever concatenated.
    Where the weights are not asked for and all queries see the same keys, there is no matrix of pairs either: with the
    keys in the order of :math:`b`, those with :math:`b_j > -a_i` come first, and sums over the first keys are enough.

    Args:
        query: :math:`\theta`, ``(*batch, query, d_q)``.
        key: :math:`\phi`, ``(*batch, key, d_k)``.
        value: :math:`g`, ``(*batch, key, d_v)``; without it the keys are the values.
        vector: :math:`w`, ``(d_q + d_k,)``, the query's part first.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``. :math:`N` counts what it shows.
        need_weights: give them, and :math:`f` as energies.

    Returns:
        As :func:`attnlib.attend`, NaN and what sees nothing included.

    Raises:
        TypeError, ValueError: as :func:`attnlib.attend`; the vector does not fit.

    Source: Wang et al. 2018, Eq. 5 [wang2018]; the form without pairs is ours.

    Departs from the source: a mask may hide keys, which are not counted then.

    >>> query, key = torch.tensor([[1.0]]), torch.tensor([[2.0], [-3.0]])
    >>> concatenation(query, key, torch.tensor([[10.0], [4.0]]), vector=torch.ones(2))[:2]  # 1 + 2, and 1 - 3 cut off
    (tensor([[15.]]), tensor([[1.5000, 0.0000]]))
    """
    value = key if value is None else value
    check_vectors(query, key, value)
    halves = _halves(vector, query.shape[-1], key.shape[-1])
    if need_weights or not _is_for_all(mask):

        def rectified(query: Tensor, key: Tensor) -> Tensor:
            first, second = _terms(query, key, halves)
            return torch.relu(first.unsqueeze(-1) + second.unsqueeze(-2))

        return attend(query, key, value, score=rectified, distribution=_by_count, mask=mask, need_weights=need_weights)
    seen = _seen(query, key, value, mask)
    return seen.result(_rectified_sum(*_terms(seen.query, seen.key, halves), seen.value, seen.batch))


class Concatenation(nn.Module):
    """:func:`concatenation` with its parameter ``vector`` ``(d_q + d_k,)``, an operation for :class:`NonLocalBlock`.

    Args:
        d_q: size of the queries.
        d_k: size of the keys; that of the queries unless given.

    Source: Wang et al. 2018, Eq. 5 [wang2018].

    >>> operation = Concatenation(3)
    >>> operation(torch.ones(5, 3), torch.ones(7, 3)).weights.shape, operation.vector.shape
    (torch.Size([5, 7]), torch.Size([6]))
    """

    def __init__(self, d_q: int, d_k: int | None = None, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        size = d_q + (d_q if d_k is None else d_k)
        self.vector = nn.Parameter(torch.empty(size, dtype=dtype).uniform_(-(size**-0.5), size**-0.5))

    def forward(
        self,
        query: Float[Tensor, "*#batch query d_q"],
        key: Float[Tensor, "*#batch key d_k"],
        value: Float[Tensor, "*#batch key d_v"] | None = None,
        *,
        mask: Bool[Tensor, "*#mask"] | None = None,
        need_weights: bool = True,
    ) -> Attention:
        """As :func:`concatenation`."""
        return concatenation(query, key, value, vector=self.vector, mask=mask, need_weights=need_weights)


class NonLocalBlock(nn.Module):
    r"""Add to each place of a grid what a non-local operation finds over all places.

    .. math::
        z_i = W_z \, y_i + x_i, \qquad y_i = \frac{1}{C_i} \sum_j f(\theta(x_i), \phi(\hat x_j)) \, g(\hat x_j)

    :math:`\theta`, :math:`\phi`, :math:`g` and :math:`W_z` are linear maps at each place, :math:`\hat x` is the grid,
    or the grid after a maximum pool. The block starts as the identity, for what is added starts at nought.

    Args:
        channels: of the grid.
        inner: channels of queries, keys and values; half of ``channels`` unless given, as in the paper.
        operation: a callable ``(query, key, value, *, mask, need_weights)``: :func:`gaussian`, :func:`dot_product`,
            or a :class:`Concatenation` of size ``inner``.
        embedded: False takes the grid itself for queries and keys: with :func:`gaussian` the paper's Gaussian.
        pool: sides of the cells over which :math:`\hat x` takes the maximum, one an axis of the grid; the release has
            ``(1, 2, 2)`` for videos. A rest that fills no cell is left out. Not pooled unless given.
        normalised: batch normalisation after :math:`W_z`, with a scale that starts at nought; else :math:`W_z` does.

    Raises:
        ValueError: nothing would be left of the channels, or a side of a cell is below 1.

    Source: Wang et al. 2018, Eq. 1 and 6 and sections 3.2 and 3.3 [wang2018]; pool before the maps :math:`\phi` and
    :math:`g`, both ways to start and the numbers to start from (0.01 at random) from the authors' code.

    Departs from the source: a mask may hide places. Then a cell holds the maximum of its real places.

    >>> block, video = NonLocalBlock(6, pool=(1, 2, 2)), torch.randn(1, 6, 3, 4, 4)
    >>> torch.equal(block(video), video), block.attention(video).weights.shape  # 3 x 4 x 4 places look at 3 x 2 x 2
    (True, torch.Size([1, 48, 12]))
    """

    def __init__(
        self,
        channels: int,
        inner: int | None = None,
        *,
        operation: Callable[..., Attention] = gaussian,
        embedded: bool = True,
        pool: Sequence[int] | None = None,
        normalised: bool = True,
    ) -> None:
        super().__init__()
        inner = channels // 2 if inner is None else inner
        if inner < 1:
            raise ValueError(f"inner must be at least 1, got {inner} of {channels} channels")
        if pool is not None and min(pool, default=0) < 1:
            raise ValueError(f"pool must be of whole numbers from 1, got {tuple(pool)}")
        self.operation, self.pool = operation, pool if pool is None else tuple(pool)
        self.query, self.key = (nn.Linear(channels, inner) if embedded else None for _ in range(2))
        self.value, self.output = nn.Linear(channels, inner), nn.Linear(inner, channels)
        self.norm = nn.BatchNorm1d(channels) if normalised else None
        for layer in (self.query, self.key, self.value, self.output):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.output.weight if self.norm is None else self.norm.weight)

    def attention(
        self,
        grid: Float[Tensor, "batch channels *grid"],
        *,
        mask: Bool[Tensor, "#batch *grid"] | None = None,
        need_weights: bool = True,
    ) -> Attention:
        """The operation alone: the context ``(batch, places, inner)`` and the weights ``(batch, places, cells)``.

        Places are numbered along the last axis of the grid first; so are cells, which are places where none are pooled.
        """
        self._check(grid, mask)
        if mask is not None:
            mask = mask.expand(grid.shape[0], *grid.shape[2:]).unsqueeze(1)
            grid = torch.where(mask, grid, 0.0)
        cells, real = self._pooled(grid, mask)
        items, cells = (part.flatten(2).mT for part in (grid, cells))
        found: Attention = self.operation(
            items if self.query is None else self.query(items),
            cells if self.key is None else self.key(cells),
            self.value(cells),
            mask=None if real is None else real.flatten(2),
            need_weights=need_weights,
        )
        return found

    def forward(
        self, grid: Float[Tensor, "batch channels *grid"], *, mask: Bool[Tensor, "#batch *grid"] | None = None
    ) -> Float[Tensor, "batch channels *grid"]:
        """The grid with what was found added.

        Args:
            grid: ``(batch, channels, *grid)``; a grid of one axis is a signal, of two an image, of three a video.
            mask: True = a real place, ``(batch, *grid)``. Where there is none, the grid stays as it is, and nothing
                that stands there changes a result, a gradient or the statistics of the normalisation.
        """
        added = self.output(self.attention(grid, mask=mask, need_weights=False).context)
        real = None if mask is None else mask.expand(grid.shape[0], *grid.shape[2:]).flatten(1).unsqueeze(-1)
        if self.norm is not None:
            rows = added.flatten(0, 1) if real is None else added[real.squeeze(-1)]
            rows = rows if self.training and len(rows) == 0 else self.norm(rows)
            added = rows.reshape(added.shape) if real is None else torch.zeros_like(added).masked_scatter(real, rows)
        elif real is not None:
            added = torch.where(real, added, 0.0)
        result: Tensor = grid + added.mT.reshape(grid.shape)
        return result

    def _check(self, grid: Tensor, mask: Tensor | None) -> None:
        as_computed(grid, "grid")
        channels, axes = self.value.in_features, grid.ndim - 2
        if axes not in _POOLS or grid.shape[1] != channels:
            shape = f"(batch, channels={channels}, *grid)"
            raise ValueError(f"grid must have shape {shape} with 1 to 3 axes, got shape {tuple(grid.shape)}")
        if self.pool is not None and len(self.pool) != axes:
            raise ValueError(f"pool has {len(self.pool)} sides but the grid has {axes} axes")
        if self.pool is not None and any(side > n for side, n in zip(self.pool, grid.shape[2:], strict=True)):
            raise ValueError(f"a cell of {self.pool} does not fit into a grid of {tuple(grid.shape[2:])}")
        if mask is not None:
            check_boolean(mask)
            wanted = (grid.shape[0], *grid.shape[2:])
            if mask.ndim != axes + 1 or not fits(mask.shape, wanted):
                raise ValueError(f"mask must have shape (batch, *grid) = {wanted}, got shape {tuple(mask.shape)}")

    def _pooled(self, grid: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The largest number of each cell's real places, and which cells have any."""
        if self.pool is None:
            return grid, mask
        pool = _POOLS[grid.ndim - 2]
        if mask is None:
            return pool(grid, self.pool), None
        real = pool(mask.to(wide(grid).dtype), self.pool) > 0
        return torch.where(real, pool(torch.where(mask, grid, -torch.inf), self.pool), 0.0), real


class _Seen(NamedTuple):
    """Queries, keys and values of which all queries see the same, with nothing in them that must not count."""

    query: Tensor
    key: Tensor
    value: Tensor
    batch: tuple[int, ...]
    n_seen: Tensor | int
    lost: Tensor
    dtype: torch.dtype

    def result(self, total: Tensor) -> Attention:
        """The sum over the keys made a mean, with its NaN where something was lost."""
        context = total / (self.n_seen.clamp(min=1) if isinstance(self.n_seen, Tensor) else max(self.n_seen, 1))
        context = context + nan_where(self.lost, context.dtype)
        return Attention(context.expand(*self.batch, *context.shape[-2:]).to(self.dtype), None, None)


def _is_for_all(mask: Tensor | None) -> bool:
    """Whether a mask says the same to all queries."""
    return mask is None or not isinstance(mask, Tensor) or mask.ndim < 2 or mask.shape[-2] == 1


def _seen(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> _Seen:
    batch = check_vectors(query, key, value)
    n_key = key.shape[-2]
    visible = None
    if mask is not None:
        check_mask(mask, (*batch, query.shape[-2], n_key))
        visible = (mask if mask.ndim > 1 else mask.reshape(1, -1)).mT
        visible = visible.expand(*visible.shape[:-2], n_key, 1)
    query, key, value = as_autocast(query, key, value)
    bad_query, bad_key, bad_value = bad_rows(query), bad_rows(key), ~value.detach().isfinite()
    n_seen: Tensor | int = n_key
    hidden, hidden_value, lost = bad_key, bad_value, bad_key | bad_value
    if visible is not None:  # as attend, in which a bad number of a value spoils its feature without a mask, else all
        n_seen = visible.sum(-2, keepdim=True)
        lost = visible & (bad_key | bad_value.any(-1, keepdim=True))
        hidden, hidden_value = bad_key | ~visible, bad_value | ~visible
    return _Seen(
        without(bad_query, query),
        without(hidden, key),
        torch.where(hidden_value, 0.0, value),
        batch,
        n_seen,
        lost.any(-2, keepdim=True) | (bad_query & (torch.as_tensor(n_seen, device=query.device) > 0)),
        value.dtype,
    )


def _by_count(energies: Tensor) -> Tensor:
    """Each energy divided by the number of those that are there; those that are not get nought."""
    there = energies != -torch.inf
    return torch.where(there, energies, 0.0) / there.sum(-1, keepdim=True).clamp(min=1)


def _halves(vector: Tensor, d_q: int, d_k: int) -> tuple[Tensor, Tensor]:
    check_vector(vector)
    if vector.shape[0] != d_q + d_k:
        raise ValueError(f"vector must have shape (d_q + d_k={d_q + d_k}), got shape {tuple(vector.shape)}")
    return vector[:d_q], vector[d_q:]


def _terms(query: Tensor, key: Tensor, halves: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """What the query and what the key bring to the sum in the rectifier."""
    return times(query, halves[0]), times(key, halves[1])


def _rectified_sum(first: Tensor, second: Tensor, value: Tensor, batch: tuple[int, ...]) -> Tensor:
    """The sum over keys of ``max(0, a_i + b_j) g_j``: ``a_i`` times one running sum, plus another."""
    first, second = (part.expand(*batch, part.shape[-1]) for part in (first, second))
    value = wide(value).expand(*batch, *value.shape[-2:])
    ordered, order = second.sort(-1, descending=True)
    value = value.gather(-2, order.unsqueeze(-1).expand(value.shape))
    sums = (F.pad(part.cumsum(-2), (0, 0, 1, 0)) for part in (value, ordered.unsqueeze(-1) * value))
    above = torch.searchsorted(-ordered.detach().contiguous(), first.detach().contiguous())  # keys with b_j > -a_i
    above = above.unsqueeze(-1).expand(*above.shape, value.shape[-1])
    plain, weighted = (part.gather(-2, above) for part in sums)
    return first.unsqueeze(-1) * plain + weighted
