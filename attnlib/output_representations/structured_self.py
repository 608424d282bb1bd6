"""Structured self-attention of Lin et al. 2017: several weighted means of one sequence, and a penalty on their overlap.

Each of the means is called a hop. (Elsewhere several hops are several rounds, one after the other; these stand beside
each other.)
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .._checks import check_tensor
from .._rows import product, wide
from ..attention import Attention
from ..input_representations.hierarchical import pool

__all__ = ["StructuredSelf", "penalty", "structured_self"]


def structured_self(
    annotations: Float[Tensor, "*#batch time d"],
    value: Float[Tensor, "*#batch time d_v"] | None = None,
    *,
    hidden_weight: Float[Tensor, "d_a d"],
    hop_weight: Float[Tensor, "*#batch hop d_a"],
    mask: Bool[Tensor, "*#mask"] | None = None,
) -> Attention:
    r"""Sum up a sequence in a matrix: a row for each hop, the mean of the annotations under that hop's weights.

    .. math:: A = \mathrm{softmax}\bigl(W_{s2} \tanh(W_{s1} H^\top)\bigr), \quad M = A H

    The softmax runs along the tokens, so that each row of :math:`A` sums to one. It is
    :func:`~attnlib.input_representations.hierarchical.pool` with as many learned vectors as there are hops.

    Args:
        annotations: :math:`H`, ``(*batch, time, d)``, in the paper the states of a network that reads both ways.
        value: ``(*batch, time, d_v)``; without it the annotations are the values.
        hidden_weight: :math:`W_{s1}`, ``(d_a, d)``.
        hop_weight: :math:`W_{s2}`, ``(hop, d_a)``, a row for each hop.
        mask: boolean, True = may attend, broadcastable to ``(*batch, hop, time)``; see
            :func:`attnlib.masks.key_mask`.

    Returns:
        Context :math:`M` ``(*batch, hop, d)``, weights :math:`A` and energies ``(*batch, hop, time)``. There may be
        more hops than tokens: some then overlap. A sequence of which nothing is visible gives zeros.

    Raises:
        TypeError: as :func:`attnlib.attend`.
        ValueError: as :func:`attnlib.attend`; a size of a parameter does not fit.

    Source: Lin et al. 2017, Eq. 6 and 7 [lin2017].

    >>> tokens = torch.tensor([[9.0], [-9.0]])
    >>> structured_self(tokens, hidden_weight=torch.ones(1, 1), hop_weight=torch.tensor([[0.0], [99.0]])).context
    tensor([[0.],
            [9.]])
    """
    return pool(hop_weight, annotations, value, weight=hidden_weight, mask=mask)


def penalty(weights: Float[Tensor, "*batch hop time"]) -> Float[Tensor, "*batch"]:
    r"""How far the hops of each example are from looking at one token each, and at different ones.

    .. math:: P = \lVert A A^\top - I \rVert_F^2
        = \sum_i \bigl(\lVert a_i \rVert^2 - 1\bigr)^2 + 2 \sum_{i < j} (a_i \cdot a_j)^2

    The first sum draws each row to a single token, the second draws rows apart. It is zero exactly where each row is
    on one token and no two rows are on the same. With ``r`` hops and ``n < r`` tokens it is at least
    ``r - n + (r / n - 1)^2``, reached by rows between even and one token; with one token it is ``r (r - 1)`` whatever
    the weights.

    Args:
        weights: :math:`A`, ``(*batch, hop, time)``, rows that sum to one, with zeros at what the mask hides.

    Returns:
        One number for each example, which depends on no other: in single precision at least. A row of zeros, which saw
        nothing, counts as if it were not there.

    Raises:
        ValueError: ``weights`` has fewer than two axes.

    Source: Lin et al. 2017, Eq. 8 [lin2017].

    Departs from the source: says what a row that saw nothing gives.

    >>> apart, same = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> penalty(torch.stack([apart, same])), penalty(torch.full((2, 3), 1 / 3))  # 2 (1 / 3 - 1)^2 + 2 / 9
    (tensor([0., 2.]), tensor(1.1111))
    """
    check_tensor("weights", weights)
    if weights.ndim < 2:
        raise ValueError(f"weights must have shape (*batch, hop, time), got shape {tuple(weights.shape)}")
    given = wide(weights)
    seen = (given.detach() != 0).any(-1)
    wanted = torch.diag_embed(seen.to(given.dtype))
    return (product(given, given) - wanted).square().sum((-2, -1))


class StructuredSelf(nn.Module):
    """:func:`structured_self` with its parameters, ``hidden_weight`` ``(d_a, d)`` and ``hop_weight`` ``(hops, d_a)``.

    Args:
        d: size of the annotations.
        d_a: size of the hidden layer.
        hops: how many means.

    Source: Lin et al. 2017 [lin2017].

    >>> result = StructuredSelf(5, 3, hops=2)(torch.ones(1, 4, 5))
    >>> result.context.shape, result.weights[0, 0]  # tokens that are all alike share alike
    (torch.Size([1, 2, 5]), tensor([0.2500, 0.2500, 0.2500, 0.2500], grad_fn=<SelectBackward0>))
    """

    def __init__(
        self,
        d: int,
        d_a: int,
        *,
        hops: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if hops < 1:
            raise ValueError(f"hops must be at least 1, got {hops}")
        self.hidden_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(d_a, d, device=device, dtype=dtype)))
        self.hop_weight = nn.Parameter(torch.empty(hops, d_a, device=device, dtype=dtype))
        nn.init.uniform_(self.hop_weight, -(d_a**-0.5), d_a**-0.5)

    def forward(
        self, annotations: Float[Tensor, "*batch time d"], mask: Bool[Tensor, "*#mask"] | None = None
    ) -> Attention:
        """One matrix for each sequence: ``(*batch, hops, d)``."""
        return structured_self(annotations, hidden_weight=self.hidden_weight, hop_weight=self.hop_weight, mask=mask)
