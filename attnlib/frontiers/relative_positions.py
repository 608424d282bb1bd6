"""Relative positions along a line or in a grid: a vector for each distance, met once by each query.

Nothing of size ``query x key x d_k`` is made. Distances count from the query to the key.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .._rows import inner_product
from ..input_representations.positions import sinusoidal

__all__ = ["distance_features", "grid_energies", "relative_shift"]


def distance_features(
    n_query: int,
    n_key: int,
    size: int,
    *,
    base: float = 1000.0,
    offset: int = 0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "distances {size}"]:
    r"""Sines and cosines of every distance between a query and a key: :math:`R_{k - q}` along one axis.

    .. math:: d = -(n_q - 1) - o, \; \dots, \; n_k - 1 - o

    Args:
        n_query: :math:`n_q`, how many queries stand along the axis, at least 1.
        n_key: :math:`n_k`, how many keys.
        size: of a vector, even.
        base: as in :func:`~attnlib.input_representations.positions.sinusoidal`.
        offset: :math:`o`, the key at which the first query stands: as many as were read before.
        dtype: of the result; torch's default unless given.
        device: where it is made.

    Returns:
        ``(query + key - 1, size)``, the key farthest before its query first.

    Raises:
        ValueError: ``size`` is not even and at least 2, or there is no query.

    Source: Zhu et al. 2019, the base from the authors' code [zhu2019].

    Departs from the source: the code counts from the key to the query, and has all sines before all cosines; the matrix
    that follows makes up for both.

    >>> distance_features(2, 2, 2)[:, 0].asin()  # one place before, at, and one place behind the query
    tensor([-1.0000,  0.0000,  1.0000])
    """
    if n_query < 1:
        raise ValueError(f"n_query must be at least 1, got {n_query}")
    distances = torch.arange(1 - n_query - offset, n_key - offset, device=device)
    return sinusoidal(distances, size, base=base, dtype=dtype)


def relative_shift(
    by_distance: Float[Tensor, "*batch query distances"],
) -> Float[Tensor, "*batch query key"]:
    r"""From a column for each distance to a column for each key, without a copy for each pair.

    .. math:: e_{qk} = b_{q, \; k - q + n_q - 1}

    The rows lie one behind the other in memory. One entry less to a row, and each row begins one place further back.

    Args:
        by_distance: :math:`b`, ``(*batch, query, query + key - 1)``, from the distance ``-(query - 1)`` upwards.

    Returns:
        ``(*batch, query, key)``.

    Raises:
        ValueError: there are fewer distances than queries need.

    Source: Dai et al. 2019, appendix B [dai2019].

    Departs from the source: keys behind the query have distances of their own, where the paper's are masked.

    >>> relative_shift(torch.tensor([[-1, 0, 1, 2], [-1, 0, 1, 2]]).float())
    tensor([[ 0.,  1.,  2.],
            [-1.,  0.,  1.]])
    """
    n_query, n_distances = by_distance.shape[-2:]
    n_key = n_distances - n_query + 1
    if n_key < 0 or n_query == 0:
        if n_query:
            raise ValueError(f"by_distance must have at least query - 1 = {n_query - 1} columns, got {n_distances}")
        return by_distance.new_zeros((*by_distance.shape[:-2], 0, n_distances + 1))
    longer = F.pad(by_distance, (0, 1)).flatten(-2)
    rows = longer[..., n_query - 1 :][..., : n_query * n_distances]
    return rows.reshape(*rows.shape[:-1], n_query, n_distances)[..., :n_key]


def grid_energies(
    asked: Float[Tensor, "*batch query d_k"], vectors: Sequence[Tensor], shape: Sequence[int]
) -> Float[Tensor, "*batch n_query n_key"]:
    r"""Inner products of queries in a grid with the vector of their distance to each key: a sum over the axes.

    .. math:: e_{qk} = \sum_a q^\top r^a_{k_a - q_a}

    Each axis is multiplied with its own distances and shifted; only then all pairs are made, of numbers.

    Args:
        asked: ``(*batch, query, d_k)``, the last axis of the grid fastest; one row stands for all of them.
        vectors: for each axis :math:`r^a`, ``(*heads, query + key - 1, d_k)``, in the order of
            :func:`distance_features`.
        shape: how many queries stand along each axis.

    Returns:
        ``(*batch, query, key)``, the keys in the same order.

    Source: Zhu et al. 2019, read in the authors' code [zhu2019].

    >>> one = torch.ones(1, 1)
    >>> grid_energies(one, [torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([[0.0]])], [2, 1])  # a column of two
    tensor([[ 0.,  1.],
            [-1.,  0.]])
    """
    n = len(shape)
    asked = asked.unflatten(-2, tuple(shape) if asked.shape[-2] != 1 else (1,) * n)  # type: ignore[no-untyped-call]
    total = None
    for axis, of_axis in enumerate(vectors):
        rows = asked.movedim(axis - n - 1, -2)
        of_axis = of_axis.reshape(*of_axis.shape[:-2], *(1,) * (n - 1), *of_axis.shape[-2:])
        by_distance = inner_product(rows, of_axis)
        by_distance = by_distance.expand(*by_distance.shape[:-2], shape[axis], by_distance.shape[-1])
        shifted = relative_shift(by_distance).movedim(-2, axis - n - 1)
        ones = [1] * n
        ones[axis] = shifted.shape[-1]
        shifted = shifted.reshape(*shifted.shape[:-1], *ones)
        total = shifted if total is None else total + shifted
    assert total is not None, "a grid has an axis at least"
    return total.reshape(*total.shape[: -2 * n], math.prod(total.shape[-2 * n : -n]), math.prod(total.shape[-n:]))
