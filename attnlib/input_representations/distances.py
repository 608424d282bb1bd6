"""Scores that know how far apart query and key stand: rotary and relative positions.

An item's place is its place along the axis. Padding before the others shifts all of them alike, which changes nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._checks import as_computed, check_parameter, check_same_size
from .._rows import inner_product, product, wide
from .positions import turns

__all__ = ["RelativeKeys", "relative", "rotary", "rotate"]


def rotate(
    vectors: Float[Tensor, "*batch time d"], positions: Tensor | None = None, *, base: float = 10000.0
) -> Float[Tensor, "*batch time d"]:
    r"""Turn each pair of components by an angle that grows with the position.

    .. math::
        \begin{pmatrix} x_{2i} \\ x_{2i + 1} \end{pmatrix} \mapsto
        \begin{pmatrix} \cos \theta & -\sin \theta \\ \sin \theta & \cos \theta \end{pmatrix}
        \begin{pmatrix} x_{2i} \\ x_{2i + 1} \end{pmatrix}, \qquad \theta = t / b^{2i / d}

    Neighbours are a pair, 0 with 1 and 2 with 3, as the paper has it. Much code pairs component :math:`i` with
    :math:`i + d / 2`; that is the same function of components in another order, and weights trained for one are wrong
    for the other.

    Args:
        vectors: queries or keys, ``(*batch, time, d)``, d even.
        positions: :math:`t`, ``(time,)`` or ``(*batch, time)``; 0, 1, 2 ... unless given.
        base: :math:`b`.

    Returns:
        Vectors of the same lengths, ``(*batch, time, d)``.

    Raises:
        TypeError: ``vectors`` is not a floating point tensor.
        ValueError: d is not even, or the positions do not fit.

    Source: Su et al. 2021, Eq. 15 [su2021].

    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([torch.pi / 2])).round()
    tensor([[-0., 1.]])
    """
    return _rotated(vectors, positions, base).to(vectors.dtype)


def rotary(
    query: Float[Tensor, "*#batch query d_k"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    positions: Tensor | None = None,
    base: float = 10000.0,
) -> Float[Tensor, "*batch query key"]:
    r"""Scaled inner product of queries and keys that were turned by their positions: a score.

    .. math:: f(q_s, k_t) = \frac{(R_s q_s)^\top R_t k_t}{\sqrt{d_k}} = \frac{q_s^\top R_{t - s} k_t}{\sqrt{d_k}}

    :math:`R_t` is :func:`rotate`. Only the distance :math:`t - s` counts, and no parameter comes with it.

    Args:
        query: ``(*batch, query, d_k)``, d_k even.
        key: ``(*batch, key, d_k)``.
        positions: of queries and keys alike, as many as there are of both; 0, 1, 2 ... for each unless given.
        base: as in :func:`rotate`.

    Returns:
        Energies.

    Raises:
        ValueError: query and key differ in size, it is not even, or the positions do not fit.

    Source: Su et al. 2021, Eq. 16 [su2021].

    >>> query = key = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> rotary(query, key, positions=torch.tensor([0.0, torch.pi / 3])) * 2**0.5  # the cosine of 60 degrees
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]])
    """
    check_same_size(query, key)
    left, right = _rotated(query, positions, base), _rotated(key, positions, base)
    return inner_product(left * max(query.shape[-1], 1) ** -0.5, right)


def relative(
    query: Float[Tensor, "*#batch query d_k"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    vectors: Float[Tensor, "distances d_k"],
) -> Float[Tensor, "*batch query key"]:
    r"""Scaled inner product with keys to which a vector for their distance is added: a score.

    .. math::
        f(q_s, k_t) = \frac{q_s^\top (k_t + a_{\mathrm{clip}(t - s)})}{\sqrt{d_k}}, \qquad
        \mathrm{clip}(x) = \max(-r, \min(x, r))

    Args:
        query: ``(*batch, query, d_k)``; query and key ``t`` stand at place ``t`` of their axes.
        key: ``(*batch, key, d_k)``.
        vectors: :math:`a_{-r} \dots a_r`, ``(2r + 1, d_k)``: the first for keys r or more places before the query.

    Returns:
        Energies. No ``query x key x d_k`` is made: each query meets the 2r + 1 vectors once.

    Raises:
        ValueError: query and key differ in size, ``vectors`` does not fit, or its number of rows is even.

    Source: Shaw et al. 2018, Eq. 2 and section 3.3, for the keys [shaw2018].

    Departs from the source: nothing is added to the values, Eq. 1 and 3 there.

    >>> query, key = torch.ones(3, 1), torch.zeros(3, 1)
    >>> relative(query, key, vectors=torch.tensor([[10.0], [0.0], [1.0]]))  # 10 for what comes before
    tensor([[ 0.,  1.,  1.],
            [10.,  0.,  1.],
            [10., 10.,  0.]])
    """
    check_same_size(query, key)
    size = query.shape[-1]
    check_parameter("vectors", vectors, distances=vectors.shape[0] if vectors.ndim else 0, d_k=size)
    if vectors.shape[0] % 2 == 0:
        raise ValueError(f"vectors must have an odd number of rows, r before, r after and one, got {vectors.shape[0]}")
    reach = vectors.shape[0] // 2
    scaled = wide(query) * max(size, 1) ** -0.5
    energies = inner_product(scaled, key)
    place = torch.arange(key.shape[-2], device=key.device) - torch.arange(query.shape[-2], device=key.device)[:, None]
    index = place.clamp(-reach, reach) + reach
    by_distance = product(scaled, vectors)
    shape = (*by_distance.shape[:-1], key.shape[-2])
    return energies + by_distance.gather(-1, index.expand(shape))


class RelativeKeys(nn.Module):
    """:func:`relative` with its vectors of shape ``(2 * reach + 1, d_k)``, which start at zero.

    Args:
        d_k: size of queries and keys.
        reach: the distance from which on all are taken as one, at least 0.

    Raises:
        ValueError: ``reach`` is below 0.

    Source: Shaw et al. 2018 [shaw2018].

    >>> RelativeKeys(4, reach=2).vectors.shape
    torch.Size([5, 4])
    """

    def __init__(self, d_k: int, *, reach: int) -> None:
        super().__init__()
        if reach < 0:
            raise ValueError(f"reach must be at least 0, got {reach}")
        self.vectors = nn.Parameter(torch.zeros(2 * reach + 1, d_k))

    def forward(
        self, query: Float[Tensor, "*#batch query d_k"], key: Float[Tensor, "*#batch key d_k"]
    ) -> Float[Tensor, "*batch query key"]:
        """Energies of shape ``(*batch, query, key)``."""
        return relative(query, key, vectors=self.vectors)


def _rotated(vectors: Tensor, positions: Tensor | None, base: float) -> Tensor:
    """:func:`rotate` in single precision at least."""
    computed = as_computed(vectors, "vectors")
    if positions is None:
        positions = torch.arange(vectors.shape[-2], device=vectors.device)
    elif positions.shape[-1] != vectors.shape[-2]:
        raise ValueError(f"positions must be one for each of {vectors.shape[-2]} vectors, got {positions.shape[-1]}")
    angles = turns(positions, vectors.shape[-1], base=base)
    cos, sin = angles.cos().to(computed.dtype), angles.sin().to(computed.dtype)
    first, second = computed[..., 0::2], computed[..., 1::2]
    return torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2)
