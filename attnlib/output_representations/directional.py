"""Directional self-attention of Shen et al. 2018 (DiSAN): tokens attend to those before or after them, per feature.

Without recurrence or positions: the order of the tokens is in the masks alone.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .._checks import check_parameter
from .._rows import product
from ..fused._per_feature import features_in_runs
from ..fused.native import by_kernel
from ..fused.paths import first, refuse
from .chunked import Direction, attend_in_blocks, attend_pairs, direction_mask
from .multidimensional import PerFeature, SourceToToken, shown

__all__ = ["DiSAN", "Directional", "DirectionalAttention", "Encoding", "directional", "fuse"]

PATHS = {"kernel in C++": by_kernel("per_feature", features_in_runs), "in runs of queries": features_in_runs}


class Directional(NamedTuple):
    """Tokens that know of those on one side of them, and the attention that brought them there."""

    tokens: Float[Tensor, "*batch time d"]
    attention: PerFeature


class Encoding(NamedTuple):
    """What DiSAN gives: a vector for each sequence, ``(*batch, 2 d)``, and its three attentions."""

    context: Float[Tensor, "*batch d_2"]
    forward: Directional
    backward: Directional
    pool: PerFeature


def directional(
    items: Float[Tensor, "*batch time d"],
    *,
    query_weight: Float[Tensor, "d d"],
    key_weight: Float[Tensor, "d d"],
    bias: Float[Tensor, " d"] | None = None,
    direction: Direction,
    mask: Bool[Tensor, "*#batch time"] | None = None,
    limit: float = 5.0,
    need_weights: bool = True,
    block: int = 16,
) -> PerFeature:
    r"""Let each token attend to the tokens on one side of it, each feature with weights of its own.

    .. math:: f(h_i, h_j) = c \tanh\bigl([W^{(1)} h_i + W^{(2)} h_j + b^{(1)}] / c\bigr) + M_{ij} \mathbf{1}, \quad
        s_{j,k} = \sum_i \mathrm{softmax}_i\bigl([f(h_i, h_j)]_k\bigr) \, h_{i,k}

    Token :math:`j` asks, token :math:`i` is attended to; forward is :math:`M_{ij} = 0` where :math:`i < j`.

    Args:
        items: :math:`h`, ``(*batch, time, d)``.
        query_weight: :math:`W^{(2)}`, ``(d, d)``.
        key_weight: :math:`W^{(1)}`, ``(d, d)``.
        bias: :math:`b^{(1)}`, ``(d,)``.
        direction: ``forward``, ``backward`` or ``others``; see
            :func:`~attnlib.output_representations.chunked.direction_mask`.
        mask: ``(*batch, time)``, True = a real token.
        limit: :math:`c`.
        need_weights: without them memory grows with ``time`` and not with its square; values and gradients are the
            same.
        block: of the reference without weights, how many queries at a time, at least 1.

    Returns:
        Context :math:`s` ``(*batch, time, d)``, weights and energies ``(*batch, time, time, d)``. The first token
        forward, the last backward and what is no real token see nothing and get zeros.

    Raises:
        TypeError: the mask is not boolean.
        ValueError: a parameter or the mask does not fit; there is no such direction.

    Source: Shen et al. 2018, directional self-attention [shen2018].

    >>> items, none = torch.tensor([[1.0], [3.0], [9.0]]), torch.zeros(1, 1)
    >>> directional(items, query_weight=none, key_weight=none, direction="forward").context.flatten()
    tensor([0., 1., 2.])
    >>> directional(items, query_weight=none, key_weight=none, direction="backward").context.flatten()
    tensor([6., 9., 0.])
    """
    n, d = items.shape[-2:]
    check_parameter("query_weight", query_weight, d=d, d_again=d)
    check_parameter("key_weight", key_weight, d=d, d_again=d)
    clean = shown(items, mask)
    asks = product(clean, query_weight)
    asks, offers = asks if bias is None else asks + bias, product(clean, key_weight)
    if not need_weights:
        context = first("directional", PATHS, asks, offers, clean, direction, mask, limit)
        if context is None:
            context = attend_in_blocks(asks, offers, clean, direction=direction, mask=mask, limit=limit, block=block)
        return PerFeature(context, None, None)
    refuse("directional", PATHS, "the weights are asked for")
    seen = direction_mask(n, direction, device=items.device)
    seen = seen if mask is None else seen & mask.unsqueeze(-1) & mask.unsqueeze(-2)
    return attend_pairs(asks, offers, clean, mask=seen.expand(*items.shape[:-2], n, n), limit=limit)


def fuse(
    items: Float[Tensor, "*batch time d"],
    context: Float[Tensor, "*batch time d"],
    *,
    item_weight: Float[Tensor, "d d"],
    context_weight: Float[Tensor, "d d"],
    bias: Float[Tensor, " d"] | None = None,
) -> Float[Tensor, "*batch time d"]:
    r"""Keep of each token so much, feature by feature, and take the rest from what it attended to.

    .. math:: F = \sigma(W^{(f1)} s + W^{(f2)} h + b^{(f)}), \quad u = F \odot h + (1 - F) \odot s

    Args:
        items: :math:`h`, ``(*batch, time, d)``.
        context: :math:`s`, ``(*batch, time, d)``.
        item_weight: :math:`W^{(f2)}`, ``(d, d)``.
        context_weight: :math:`W^{(f1)}`, ``(d, d)``.
        bias: :math:`b^{(f)}`, ``(d,)``.

    Returns:
        :math:`u`.

    Raises:
        ValueError: a parameter does not fit.

    Source: Shen et al. 2018, the fusion gate [shen2018].

    >>> none = torch.zeros(1, 1)
    >>> fuse(torch.tensor([[4.0]]), torch.tensor([[8.0]]), item_weight=none, context_weight=none)  # half and half
    tensor([[6.]])
    """
    d = items.shape[-1]
    check_parameter("item_weight", item_weight, d=d, d_again=d)
    check_parameter("context_weight", context_weight, d=d, d_again=d)
    inner = product(context, context_weight) + product(items, item_weight)
    gate = torch.sigmoid(inner if bias is None else inner + bias).to(items.dtype)
    return gate * items + (1 - gate) * context


class DirectionalAttention(nn.Module):
    r"""One side of DiSAN: a layer, :func:`directional`, :func:`fuse`.

    .. math:: h = \mathrm{elu}(W^{(h)} x + b^{(h)})

    Args:
        d_in: size of the items.
        d: size of what comes out.
        direction: as of :func:`directional`.

    Source: Shen et al. 2018 [shen2018].

    Departs from the source: no dropout.

    >>> side = DirectionalAttention(7, 5, "forward")
    >>> side(torch.ones(2, 4, 7)).tokens.shape
    torch.Size([2, 4, 5])
    """

    def __init__(
        self,
        d_in: int,
        d: int,
        direction: Direction,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.direction = direction
        self.hidden = nn.Linear(d_in, d, device=device, dtype=dtype)
        self.query = nn.Linear(d, d, device=device, dtype=dtype)  # its bias is that of the energies
        self.key = nn.Linear(d, d, bias=False, device=device, dtype=dtype)
        self.gate_item = nn.Linear(d, d, device=device, dtype=dtype)
        self.gate_context = nn.Linear(d, d, bias=False, device=device, dtype=dtype)

    def forward(
        self,
        items: Float[Tensor, "*batch time d_in"],
        mask: Bool[Tensor, "*#batch time"] | None = None,
        *,
        need_weights: bool = True,
    ) -> Directional:
        """Tokens ``(*batch, time, d)``, zeros where there is no real token."""
        hidden = F.elu(self.hidden(shown(items, mask)))
        found = directional(
            hidden,
            query_weight=self.query.weight,
            key_weight=self.key.weight,
            bias=self.query.bias,
            direction=self.direction,
            mask=mask,
            need_weights=need_weights,
        )
        tokens = fuse(
            hidden,
            found.context,
            item_weight=self.gate_item.weight,
            context_weight=self.gate_context.weight,
            bias=self.gate_item.bias,
        )
        return Directional(shown(tokens, mask), found)


class DiSAN(nn.Module):
    """Directional self-attention network: both directions beside each other, summed up by source2token.

    Args:
        d_in: size of the items.
        d: size of one direction; a sequence gets a vector of ``2 d``.

    Source: Shen et al. 2018 [shen2018]: ``d_in`` and ``d`` 300 in the authors' settings for SNLI.

    Departs from the source: no dropout.

    >>> found = DiSAN(7, 5)(torch.ones(2, 4, 7))
    >>> found.context.shape, found.pool.weights.shape
    (torch.Size([2, 10]), torch.Size([2, 1, 4, 10]))
    """

    def __init__(
        self, d_in: int, d: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.before = DirectionalAttention(d_in, d, "forward", device=device, dtype=dtype)
        self.after = DirectionalAttention(d_in, d, "backward", device=device, dtype=dtype)
        self.pool = SourceToToken(2 * d, device=device, dtype=dtype)

    def forward(
        self,
        items: Float[Tensor, "*batch time d_in"],
        mask: Bool[Tensor, "*#batch time"] | None = None,
        *,
        need_weights: bool = True,
    ) -> Encoding:
        """A vector for each sequence; one without real tokens gives zeros."""
        before = self.before(items, mask, need_weights=need_weights)
        after = self.after(items, mask, need_weights=need_weights)
        pool = self.pool(torch.cat([before.tokens, after.tokens], -1), mask)
        return Encoding(pool.context.squeeze(-2), before, after, pool)
