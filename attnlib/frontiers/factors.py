"""The four factors of attention: what query and key say, where they stand, and what draws attention by itself.

Each is a term of the energy and can be left out. Relative positions are those of a line or of a grid of any dimension.
"""

import math
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .._checks import check_same_size, check_tensor, check_vectors, fits
from .._rows import inner_product, wide
from ..attention import Attention, attend
from ..output_representations.parts import join, split
from ._projected import projected
from .relative_positions import distance_features, grid_energies

__all__ = ["Factors", "factors"]

Vectors = Tensor | Sequence[Tensor]
TERMS = (1, 2, 3, 4)


def factors(
    query: Float[Tensor, "*#batch query d_k"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    terms: Collection[int] = TERMS,
    vectors: Vectors | None = None,
    key_bias: Float[Tensor, "*#heads d_k"] | None = None,
    position_bias: Float[Tensor, "*#heads d_k"] | None = None,
    shape: Sequence[int] | None = None,
    scale: float = 1.0,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    need_weights: bool = True,
) -> Attention:
    r"""Attend by up to four terms: content with content, content with distance, content alone, distance alone.

    .. math::
        \alpha_{qk} \propto \exp\Big( s \sum_{j \in \text{terms}} E_j \Big), \qquad
        E_1 = q^\top k, \quad E_2 = q^\top r_{k - q}, \quad E_3 = u^\top k, \quad E_4 = v^\top r_{k - q}

    The first alone is dot-product attention. All four, with :math:`s = 1 / \sqrt{d_k}`, are Transformer-XL's. The third
    alone gives all queries the same weights, which are computed once. On a grid :math:`r_{k - q}` is the sum of a
    vector for each axis, and so is the energy: nothing of size ``query x key x d_k`` is made.

    Args:
        query: :math:`q = U z_q`, ``(*batch, query, d_k)``.
        key: :math:`k = V^C x_k`, ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the keys are the values.
        terms: which of the energies 1 to 4 are added; none of them gives all visible keys the same weight.
        vectors: :math:`r = V^R R`, for terms 2 and 4: ``(*heads, query + key - 1, d_k)``, by distance from the key
            that stands farthest before its query to the one farthest behind, the order of
            :func:`~attnlib.frontiers.relative_positions.distance_features`. For a grid one such tensor an axis.
        key_bias: :math:`u`, for term 3, ``(*heads, d_k)``.
        position_bias: :math:`v`, for term 4, ``(*heads, d_k)``.
        shape: sizes of the grid that the queries fill, the last axis fastest; ``(query,)`` unless given. How many keys
            an axis has is told by the number of its vectors.
        scale: :math:`s`.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``.
        is_causal: query ``i`` may attend to keys ``0 ... i``.
        need_weights: False leaves out weights and energies; the context is the same.

    Returns:
        An :class:`~attnlib.Attention`. A query that sees nothing gets zeros. A query that takes no part in the terms
        may be anything, NaN included.

    Raises:
        TypeError: as :func:`attnlib.attend`.
        ValueError: an unknown term, a term without what it needs, or shapes that do not fit.

    Source: Zhu et al. 2019 [zhu2019], read in the authors' code; Dai et al. 2019, section 3.3 [dai2019].

    Departs from the source: a scale may be given, masks may hide keys, queries and keys may fill grids of unequal size.

    >>> query, key, far = torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([[0.0], [0.0], [math.log(3.0)]])
    >>> factors(query, key, terms=[4], vectors=far, position_bias=torch.ones(1)).weights  # what comes next stands out
    tensor([[0.2500, 0.7500],
            [0.5000, 0.5000]])
    """
    value = key if value is None else value
    _check_terms(terms, vectors=vectors, key_bias=key_bias, position_bias=position_bias)
    batch = check_vectors(query, key, value)
    check_same_size(query, key)
    for name, bias, term in (("key_bias", key_bias, 3), ("position_bias", position_bias, 4)):
        if term in terms and bias is not None:
            _check_spread(name, bias, (*batch, query.shape[-1]))
    tensors = [] if vectors is None or not {2, 4} & set(terms) else _axes(vectors)
    grid = (query.shape[-2],) if shape is None else tuple(shape)
    if tensors:
        _check_grid(tensors, grid, batch, query, key)
    n_query = query.shape[-2]
    query = query if {1, 2} & set(terms) else torch.zeros_like(query)
    alike = not {1, 2, 4} & set(terms) and not is_causal and (mask is None or mask.ndim < 2 or mask.shape[-2] == 1)
    query = query[..., :1, :] if alike else query

    def score(query: Tensor, key: Tensor) -> Tensor:
        asked = _asked(query, 1 in terms, key_bias if 3 in terms else None)
        energies = torch.zeros_like(query[..., :1]) * scale if asked is None else inner_product(scale * asked, key)
        asked = _asked(query, 2 in terms, position_bias if 4 in terms else None)
        if asked is not None:
            energies = energies + grid_energies(scale * asked, tensors, grid)
        lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2])  # type: ignore[no-untyped-call]
        return energies.expand(*lead, query.shape[-2], key.shape[-2])

    found = attend(query, key, value, score=score, mask=mask, is_causal=is_causal, need_weights=need_weights)
    if alike:
        found = Attention(*(None if part is None else part.expand(*batch, n_query, -1) for part in found))  # type: ignore[arg-type]
    return found


class Factors(nn.Module):
    r"""Attention of several heads by up to four factors, of one input to itself or to another; as a block, if wanted.

    .. math::
        y = W_o [c^1; \dots; c^H] + b_o \quad \text{or, as a block,} \quad y = z + \gamma (W_o [c^1; \dots; c^H] + b_o)

    There are parameters for the terms that are used, and for no other.

    Args:
        size: of the queries' inputs and of the outputs.
        heads: :math:`H`.
        terms: as in :func:`factors`.
        axes: of the grid in which queries and keys stand; 1 for a sequence.
        key_size: of the inputs of keys and values; ``size`` unless given.
        head_size: d_k and d_v of a head; ``size / heads`` unless given.
        base: as in :func:`~attnlib.frontiers.relative_positions.distance_features`.
        scale: as in :func:`factors`.
        residual: add the input, and the rest times :math:`\gamma`, which starts at zero: the block starts as the
            identity.

    Raises:
        ValueError: the heads do not divide ``size``, ``axes`` is below 1, or a term is unknown.

    Source: Zhu et al. 2019, Eq. 1 [zhu2019]; starts and :math:`\gamma` from the authors' code.

    Departs from the source: keys are not taken from a smaller grid; key and value may come from another input.

    >>> block, text = Factors(6, 2, residual=True), torch.ones(1, 5, 6)
    >>> torch.equal(block(text).context, text), block(text).weights.shape
    (True, torch.Size([1, 2, 5, 5]))
    """

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        terms: Collection[int] = TERMS,
        axes: int = 1,
        key_size: int | None = None,
        head_size: int | None = None,
        base: float = 1000.0,
        scale: float = 1.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        _check_terms(terms)
        if axes < 1:
            raise ValueError(f"axes must be at least 1, got {axes}")
        if heads < 1 or (head_size is None and size % heads):
            raise ValueError(f"heads must be at least 1 and divide size={size}, got {heads}")
        self.heads, self.terms, self.base, self.scale = heads, tuple(terms), base, scale
        head_size = size // heads if head_size is None else head_size
        key_size = size if key_size is None else key_size
        self.position_size = 2 * max(size // (2 * axes), 1)
        self.query_weight = self._matrix(heads * head_size, size, {1, 2})
        self.key_weight = self._matrix(heads * head_size, key_size, {1, 3})
        self.value_weight = nn.Parameter(_uniform(heads * head_size, key_size))
        self.output_weight = nn.Parameter(_uniform(size, heads * head_size))
        self.output_bias = nn.Parameter(torch.zeros(size))
        found = [self._matrix(heads * head_size, self.position_size, {2, 4}) for _ in range(axes)]
        self.position_weights = nn.ParameterList([part for part in found if part is not None])
        bound = 1 / math.sqrt(2 * head_size)
        self.key_bias, self.position_bias = (
            nn.Parameter(torch.empty(heads, head_size).uniform_(-bound, bound)) if term in terms else None
            for term in (3, 4)
        )
        self.gain = nn.Parameter(torch.zeros(())) if residual else None

    def _matrix(self, rows: int, columns: int, terms: set[int]) -> nn.Parameter | None:
        return nn.Parameter(_uniform(rows, columns)) if terms & set(self.terms) else None

    def vectors(self, shape: Sequence[int], key_shape: Sequence[int]) -> list[Tensor]:
        """The vectors of each axis, ``(heads, query + key - 1, d_k)``, divided by the root of the number of axes."""
        made = []
        for n_query, n_key, weight in zip(shape, key_shape, self.position_weights, strict=True):
            like = {"dtype": weight.dtype, "device": weight.device}
            features = distance_features(n_query, n_key, self.position_size, base=self.base, **like)
            made.append(split(projected("features", features, weight), self.heads) * len(shape) ** -0.5)
        return made

    def forward(
        self,
        inputs: Float[Tensor, "*batch query size"],
        memory: Float[Tensor, "*batch key key_size"] | None = None,
        *,
        shape: Sequence[int] | None = None,
        key_shape: Sequence[int] | None = None,
        mask: Bool[Tensor, "*#mask"] | None = None,
        is_causal: bool = False,
        need_weights: bool = True,
    ) -> Attention:
        """Attend to ``memory``, or to the inputs themselves.

        On a grid ``shape`` and ``key_shape`` are its sizes for inputs and memory, the last axis fastest; ``key_shape``
        is ``shape`` unless given. A mask of three axes is ``(batch, query, key)``, of four ``(batch, heads, ...)``. In
        place of the context stands the output, ``(*batch, query, size)``; weights are those of each head.
        """
        source = inputs if memory is None else memory
        key_shape = (shape if memory is None else None) if key_shape is None else key_shape
        shape = (inputs.shape[-2],) if shape is None else shape
        key_shape = (source.shape[-2],) if key_shape is None else key_shape
        value = split(projected("memory", source, self.value_weight), self.heads)
        found = factors(
            self._split("inputs", inputs, self.query_weight, value),
            self._split("memory", source, self.key_weight, value),
            value,
            terms=self.terms,
            vectors=self.vectors(shape, key_shape) if len(self.position_weights) else None,
            key_bias=self.key_bias,
            position_bias=self.position_bias,
            shape=shape,
            scale=self.scale,
            mask=mask.unsqueeze(-3) if mask is not None and 2 < mask.ndim <= inputs.ndim else mask,
            is_causal=is_causal,
            need_weights=need_weights,
        )
        output = projected("context", join(found.context), self.output_weight, self.output_bias)
        output = output if self.gain is None else inputs + self.gain * output
        weights = None if found.weights is None else found.weights.to(inputs.dtype)
        return Attention(output.to(inputs.dtype), weights, found.energies)

    def _split(self, name: str, inputs: Tensor, weight: Tensor | None, value: Tensor) -> Tensor:
        """The heads of a projection; zeros where no term asks for it."""
        if weight is not None:
            return split(projected(name, inputs, weight), self.heads)
        return value.new_zeros((*inputs.shape[:-2], self.heads, inputs.shape[-2], value.shape[-1]))


def _uniform(rows: int, columns: int) -> Tensor:
    """A variance of one over what comes in."""
    bound = math.sqrt(3 / columns)
    return torch.empty(rows, columns).uniform_(-bound, bound)


def _asked(query: Tensor, uses_query: bool, bias: Tensor | None) -> Tensor | None:
    """What asks: the query, a bias for all queries, or the sum of both; in single precision at least."""
    first = None if bias is None else wide(bias).unsqueeze(-2)
    if not uses_query:
        return first
    return wide(query) if first is None else wide(query) + first


def _axes(vectors: Vectors) -> list[Tensor]:
    return [vectors] if isinstance(vectors, Tensor) else list(vectors)


def _check_terms(terms: Collection[int], **given: object) -> None:
    unknown = [term for term in terms if term not in TERMS]
    if unknown:
        raise ValueError(f"terms must be among 1, 2, 3 and 4, got {unknown[0]!r}")
    needs = {"vectors": (2, 4), "key_bias": (3,), "position_bias": (4,)}
    for name, argument in given.items():
        for term in needs[name]:
            if argument is None and term in terms:
                raise ValueError(f"term {term} needs {name}")


def _check_spread(name: str, bias: Tensor, shape: tuple[int, ...]) -> None:
    check_tensor(name, bias)
    if bias.ndim == 0 or bias.shape[-1] != shape[-1] or not fits(bias.shape, shape):
        raise ValueError(f"{name} must have shape (*heads, d_k={shape[-1]}), got shape {tuple(bias.shape)}")


def _check_grid(
    vectors: list[Tensor], grid: tuple[int, ...], batch: tuple[int, ...], query: Tensor, key: Tensor
) -> None:
    """Check that queries and keys fill their grids, whose sizes the numbers of vectors tell."""
    n_query, n_key, d_k = query.shape[-2], key.shape[-2], query.shape[-1]
    if math.prod(grid) != n_query:
        raise ValueError(f"shape {tuple(grid)} has {math.prod(grid)} places but there are {n_query} queries")
    if len(vectors) != len(grid):
        raise ValueError(f"vectors must be one tensor for each of {len(grid)} axes, got {len(vectors)}")
    for tensor in vectors:
        check_tensor("vectors", tensor)
        lead = tensor.shape[:-2]
        if tensor.ndim < 2 or tensor.shape[-1] != d_k or not fits(lead, batch):
            raise ValueError(f"vectors must have shape (*heads, distances, d_k={d_k}), got {tuple(tensor.shape)}")
    keys = [tensor.shape[-2] - size + 1 for tensor, size in zip(vectors, grid, strict=True)]
    if math.prod(keys) != n_key or min(keys) < 0:
        shapes = f"{[tensor.shape[-2] for tensor in vectors]} distances for queries {tuple(grid)} are those of keys"
        raise ValueError(f"vectors must be query + key - 1 an axis: {shapes} {tuple(keys)}, but there are {n_key}")
