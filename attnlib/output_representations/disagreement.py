"""Three numbers that are to be large where heads disagree: in their values, in where they look, in what they give.

Each is at most 0 and at least -1, and is added to the log-likelihood that training makes large: a loss gets
``-strength * of_outputs(...).mean()``. All three are sums over all pairs of heads, each with itself included, so that
they come to the square of a mean over the heads, and cost no more than it.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .._checks import as_computed, check_boolean, fits
from .._rows import without

__all__ = ["of_outputs", "of_positions", "of_subspaces"]


def of_subspaces(
    value: Float[Tensor, "*batch heads key d_v"], *, mask: Bool[Tensor, "*#batch key"] | None = None
) -> Float[Tensor, "*batch"]:
    r"""How far the heads' values of an item point in different directions.

    .. math::
        D = -\frac{1}{n} \sum_{j=1}^{n} \frac{1}{H^2} \sum_{g=1}^{H} \sum_{h=1}^{H} \cos(v^g_j, v^h_j)
          = -\frac{1}{n} \sum_{j=1}^{n} \left\lVert
            \frac{1}{H} \sum_{h=1}^{H} \frac{v^h_j}{\lVert v^h_j \rVert} \right\rVert^2

    It is largest, 0, where the directions of an item sum to zero. Those of two heads that are opposite do, though the
    one tells no more than the other; values at right angles come to :math:`-1 / H` only.

    Args:
        value: :math:`v^h_j`, ``(*batch, heads, key, d_v)``, as :func:`~attnlib.output_representations.parts.split` cuts
            them.
        mask: True = a real item, ``(*batch, key)``. What it hides counts for nothing, NaN included.

    Returns:
        :math:`D`, ``(*batch,)``, from -1 (all heads alike) to 0; single precision at least. An item whose value is zero
        in a head has no direction there, and nothing pulls at it. Without any real item D is 0.

    Raises:
        TypeError: ``value`` is not a floating point tensor, or the mask is not boolean.
        ValueError: ``value`` has no axis of heads, or no head, or the mask does not fit.

    Source: Li et al. 2018, the disagreement on subspaces [li2018].

    Departs from the source: the paper writes one cosine of two matrices; it is taken per item here, and averaged, as in
    the authors' code. That code computes 1 - D, to be added to the loss, and the mean over all sentences of a batch.

    >>> import torch
    >>> alike, across, against = [[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [-3.0, 0.0]]
    >>> of_subspaces(torch.tensor([alike, across, against]).unsqueeze(-2))  # two heads, one item, three times
    tensor([-1.0000, -0.5000,  0.0000])
    """
    return _agreement("value", value, mask)


def of_positions(
    weights: Float[Tensor, "*batch heads query key"], *, mask: Bool[Tensor, "*#batch query"] | None = None
) -> Float[Tensor, "*batch"]:
    r"""How seldom two heads look at the same key.

    .. math::
        D = -\frac{1}{m} \sum_{i=1}^{m} \frac{1}{H^2}
            \sum_{g=1}^{H} \sum_{h=1}^{H} \sum_{j=1}^{n} \alpha^g_{ij} \alpha^h_{ij}
          = -\frac{1}{m} \sum_{i=1}^{m} \sum_{j=1}^{n} \left( \frac{1}{H} \sum_{h=1}^{H} \alpha^h_{ij} \right)^2

    So :math:`-D` is the chance that two heads, drawn with replacement, and one key by the weights of each, come to the
    same key. It knows the mean of the heads only: it is largest, :math:`-1 / n`, where that mean is even, and then each
    head may be even as well, so that all agree. Pointed heads come to :math:`-1 / H` at best.

    Args:
        weights: :math:`\alpha^h_{ij}`, ``(*batch, heads, query, key)``.
        mask: True = a real query, ``(*batch, query)``. What it hides counts for nothing, NaN included. Keys are hidden
            where the weights are made.

    Returns:
        :math:`D`, ``(*batch,)``, from -1 (all heads point at one key) to 0, if weights sum to one; single precision at
        least. A query that sees nothing gives 0. Without any real query D is 0.

    Raises:
        TypeError: ``weights`` is not a floating point tensor, or the mask is not boolean.
        ValueError: ``weights`` has no axis of heads, or no head, or the mask does not fit.

    Source: Li et al. 2018, the disagreement on attended positions [li2018].

    Departs from the source: the mean over the queries and not their sum, as in the authors' code, so that long
    sentences weigh no more than short ones. The paper's is this times :math:`m`.

    >>> import torch
    >>> alike, apart, even = [[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]
    >>> of_positions(torch.tensor([alike, apart, even]).unsqueeze(-2))  # the last two are one to it
    tensor([-1.0000, -0.5000, -0.5000])
    """
    computed, visible = _ready("weights", weights, mask, hidden=0.0)
    return _mean(-computed.mean(-3).square().sum(-1), visible)


def of_outputs(
    context: Float[Tensor, "*batch heads query d_v"], *, mask: Bool[Tensor, "*#batch query"] | None = None
) -> Float[Tensor, "*batch"]:
    r"""How far the heads' contexts of a query point in different directions: :func:`of_subspaces` of the contexts.

    .. math:: D = -\frac{1}{m} \sum_{i=1}^{m} \frac{1}{H^2} \sum_{g=1}^{H} \sum_{h=1}^{H} \cos(c^g_i, c^h_i)

    Args:
        context: :math:`c^h_i`, ``(*batch, heads, query, d_v)``: the context of
            :func:`~attnlib.output_representations.multihead.multihead`, cut by
            :func:`~attnlib.output_representations.parts.split`, before the last matrix.
        mask: True = a real query, ``(*batch, query)``.

    Returns:
        :math:`D`, ``(*batch,)``, as :func:`of_subspaces`.

    Raises:
        TypeError: ``context`` is not a floating point tensor, or the mask is not boolean.
        ValueError: ``context`` has no axis of heads, or no head, or the mask does not fit.

    Source: Li et al. 2018, the disagreement on outputs [li2018].

    Departs from the source: as :func:`of_subspaces`.

    >>> import torch
    >>> of_outputs(torch.tensor([[[3.0, 4.0]], [[4.0, -3.0]]]))  # at right angles
    tensor(-0.5000)
    """
    return _agreement("context", context, mask)


def _agreement(name: str, parts: Tensor, mask: Tensor | None) -> Tensor:
    computed, visible = _ready(name, parts, mask, hidden=1.0)
    return _mean(-_directions(computed).mean(-3).square().sum(-1), visible)


def _ready(name: str, parts: Tensor, mask: Tensor | None, *, hidden: float) -> tuple[Tensor, Tensor | None]:
    """The argument in single precision at least, a constant in place of what is hidden; and the mask, expanded."""
    computed = as_computed(parts, name)
    if parts.ndim < 3 or parts.shape[-3] == 0:
        raise ValueError(f"{name} must have shape (*batch, heads, time, size) and a head, got {tuple(parts.shape)}")
    if mask is None:
        return computed, None
    check_boolean(mask)
    shape = (*parts.shape[:-3], parts.shape[-2])
    if not fits(mask.shape, shape):
        raise ValueError(f"mask of shape {tuple(mask.shape)} does not broadcast to (*batch, time) = {shape}")
    visible = mask.expand(shape)
    return torch.where(visible[..., None, :, None], computed, hidden), visible


def _directions(vectors: Tensor) -> Tensor:
    """Vectors of length one; zero, without a gradient, in place of those of length zero. Their squares may overflow."""
    if vectors.shape[-1] == 0:
        return vectors
    top = vectors.detach().abs().amax(-1, keepdim=True)
    is_zero = top == 0
    scaled = without(is_zero, vectors / torch.where(is_zero, 1.0, top))
    unit = scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return torch.where(is_zero, 0.0, unit)


def _mean(of_each: Tensor, visible: Tensor | None) -> Tensor:
    """The mean over the last axis, of what is visible; 0 where nothing is."""
    if visible is None:
        return of_each.sum(-1) / max(of_each.shape[-1], 1)
    return torch.where(visible, of_each, 0.0).sum(-1) / visible.sum(-1).clamp(min=1)
