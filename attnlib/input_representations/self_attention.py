"""Self-attention with one head: queries, keys and values are three projections of one input."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .._checks import as_computed, check_parameter
from .._rows import bad_rows, nan_where, product, without
from ..attention import Attention, attend
from ..scores import scaled_dot

__all__ = ["SelfAttention", "self_attention"]

Score = Callable[[Tensor, Tensor], Tensor]


def self_attention(
    inputs: Float[Tensor, "*batch time d_x"],
    *,
    query_weight: Float[Tensor, "d_q d_x"],
    key_weight: Float[Tensor, "d_k d_x"],
    value_weight: Float[Tensor, "d_v d_x"],
    score: Score = scaled_dot,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    need_weights: bool = True,
) -> Attention:
    r"""Let each item of an input ask all of its items.

    .. math::
        q_t = W_q x_t, \quad k_t = W_k x_t, \quad v_t = W_v x_t, \qquad
        c_t = \sum_{j=1}^{n} \alpha_{tj} v_j, \quad
        \alpha_t = \mathrm{softmax}\left(\frac{q_t^\top k_1}{\sqrt{d_k}}, \dots, \frac{q_t^\top k_n}{\sqrt{d_k}}\right)

    Items in another order give the contexts in that order: nothing in the equation knows where an item stands. Add
    :func:`~attnlib.input_representations.positions.sinusoidal` to the inputs, or give a score that knows, such as
    :func:`~attnlib.input_representations.distances.rotary`.

    Args:
        inputs: :math:`x`, ``(*batch, time, d_x)``.
        query_weight: :math:`W_q`, ``(d_q, d_x)``; with ``scaled_dot`` d_q is d_k.
        key_weight: :math:`W_k`, ``(d_k, d_x)``.
        value_weight: :math:`W_v`, ``(d_v, d_x)``.
        score: in place of the scaled inner product, any callable ``(query, key) -> energies``.
        mask: boolean, True = may attend, broadcastable to ``(*batch, time, time)``. A mask of the real tokens,
            ``(*batch, time)``, goes in as ``mask.unsqueeze(-2)``.
        is_causal: item ``t`` may attend to the items ``0 ... t``.
        need_weights: as in :func:`attnlib.attend`.

    Returns:
        An :class:`~attnlib.Attention` with one row for each item, those of padding included. What the mask hides from
        an item changes neither its context nor a gradient that comes from it.

    Raises:
        TypeError: ``inputs`` is not a floating point tensor, or as in :func:`attnlib.attend`.
        ValueError: a weight does not fit the inputs, or as in :func:`attnlib.attend`.

    Source: Vaswani et al. 2017, Eq. 1 and section 3.2.3 [vaswani2017].

    Departs from the source: there are several heads, each of a part of the sizes, and an output projection; any score
    may stand in place of the scaled inner product.

    >>> one = torch.tensor([[1.0]])
    >>> result = self_attention(torch.tensor([[0.0], [3.0]]), query_weight=one, key_weight=one, value_weight=one)
    >>> result.context[0], result.energies  # the first item asks with 0, and gets the mean
    (tensor([1.5000]), tensor([[0., 0.],
            [0., 9.]]))
    """
    computed = as_computed(inputs, "inputs")
    if inputs.ndim < 2:
        raise ValueError(f"inputs must have shape (*batch, time, d_x), got shape {tuple(inputs.shape)}")
    bad = bad_rows(computed)
    clean = without(bad, computed)  # a hidden NaN times a gradient of zero would be a NaN in the weight's gradient
    projected = []
    for name, weight in (("query_weight", query_weight), ("key_weight", key_weight), ("value_weight", value_weight)):
        rows = weight.shape[0] if weight.ndim else 0
        check_parameter(name, weight, rows=rows, d_x=inputs.shape[-1])
        vectors = product(clean, weight)
        projected.append(vectors + nan_where(bad, vectors.dtype))
    found = attend(*projected, score=score, mask=mask, is_causal=is_causal, need_weights=need_weights)
    weights = None if found.weights is None else found.weights.to(inputs.dtype)
    return Attention(found.context.to(inputs.dtype), weights, found.energies)


class SelfAttention(nn.Module):
    """:func:`self_attention` with its three matrices, which start Glorot-uniform.

    Args:
        d_x: size of an input.
        d_k: of queries and keys; ``d_x`` unless given.
        d_v: of values; ``d_x`` unless given.
        score: as in :func:`self_attention`; a module is trained with it.

    Source: Vaswani et al. 2017 [vaswani2017].

    >>> layer = SelfAttention(6, d_k=2)
    >>> layer(torch.ones(1, 5, 6)).context.shape, sum(p.numel() for p in layer.parameters())  # 2 x 6 + 2 x 6 + 6 x 6
    (torch.Size([1, 5, 6]), 60)
    """

    def __init__(self, d_x: int, d_k: int | None = None, d_v: int | None = None, *, score: Score = scaled_dot) -> None:
        super().__init__()
        d_k, d_v = d_x if d_k is None else d_k, d_x if d_v is None else d_v
        self.query_weight, self.key_weight, self.value_weight = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(size, d_x))) for size in (d_k, d_k, d_v)
        )
        self.score = score

    def forward(
        self,
        inputs: Float[Tensor, "*batch time d_x"],
        *,
        mask: Bool[Tensor, "*#mask"] | None = None,
        is_causal: bool = False,
        need_weights: bool = True,
    ) -> Attention:
        """Call :func:`self_attention` with what is held."""
        return self_attention(
            inputs,
            query_weight=self.query_weight,
            key_weight=self.key_weight,
            value_weight=self.value_weight,
            score=self.score,
            mask=mask,
            is_causal=is_causal,
            need_weights=need_weights,
        )
