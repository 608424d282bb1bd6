"""Multi-dimensional attention of Shen et al. 2018: a weight for each feature of each token, not one for the token.

The softmax runs over the tokens, for every feature by itself. So a feature is a head whose values have one number, and
:func:`attend_features` is :func:`attnlib.attend` with as many heads as there are features.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .._checks import batch_of, check_boolean, check_mask, check_parameter, check_tensor, may_broadcast
from .._rows import product
from ..attention import attend
from ..scores import dot

__all__ = ["PerFeature", "SourceToToken", "attend_features", "shown", "source_to_token"]


class PerFeature(NamedTuple):
    """What attention with a weight for each feature gives; ``None`` where the weights were not asked for."""

    context: Float[Tensor, "*batch query d"]
    weights: Float[Tensor, "*batch query key d"] | None
    energies: Float[Tensor, "*batch query key d"] | None


def attend_features(
    energies: Float[Tensor, "*batch query key d"],
    value: Float[Tensor, "*#batch key d"],
    *,
    mask: Bool[Tensor, "*#mask"] | None = None,
) -> PerFeature:
    r"""Average the values, each feature with weights of its own.

    .. math:: \alpha_{i,k} = \frac{\exp(e_{i,k})}{\sum_j \exp(e_{j,k})}, \quad c_k = \sum_{i=1}^{n} \alpha_{i,k} v_{i,k}

    Args:
        energies: :math:`e`, ``(*batch, query, key, d)``: for each query and key, one energy for each feature.
        value: :math:`v`, ``(*batch, key, d)``.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``: it hides all features of a key.

    Returns:
        Context ``(*batch, query, d)``, weights and energies ``(*batch, query, key, d)``, the energies with minus
        infinity where the mask forbids, and in float32 if they came in half precision. A query that sees nothing gets
        zeros. What is hidden changes nothing.

    Raises:
        TypeError: the mask is not boolean; dtypes differ.
        ValueError: shapes do not fit.

    Source: Shen et al. 2018, the section on multi-dimensional attention [shen2018].

    >>> energies = torch.tensor([[[0.0, 0.0], [0.0, -torch.inf]]])  # one query, two keys, two features
    >>> attend_features(energies, torch.tensor([[1.0, 10.0], [3.0, 30.0]])).context
    tensor([[ 2., 10.]])
    """
    check_tensor("energies", energies)
    check_tensor("value", value)
    if energies.ndim < 3 or value.ndim < 2:
        shapes = f"{tuple(energies.shape)} and {tuple(value.shape)}"
        raise ValueError(f"energies must be (*batch, query, key, d) and value (*batch, key, d), got {shapes}")
    n_query, n_key, d = energies.shape[-3:]
    if value.shape[-2:] != (n_key, d):
        raise ValueError(f"value must have shape (*batch, {n_key}, {d}), as energies has, got {tuple(value.shape)}")
    if not may_broadcast(energies.shape[:-3], value.shape[:-2]):
        shapes = f"energies {tuple(energies.shape[:-3])}, value {tuple(value.shape[:-2])}"
        raise ValueError(f"leading dimensions must broadcast, got {shapes}")
    if energies.dtype not in (value.dtype, torch.float32) and not torch.is_autocast_enabled(value.device.type):
        raise TypeError(f"energies have dtype {energies.dtype} but value has dtype {value.dtype}")
    if mask is not None:
        check_mask(mask, (*batch_of(energies[..., 0], value), n_query, n_key))
        mask = mask.unsqueeze(-3) if mask.ndim > 1 else mask
    found = attend(
        value.new_zeros(n_query, 1),
        value.new_zeros(n_key, 1),
        value.mT.unsqueeze(-1),  # (*batch, d, key, 1): a feature is a head
        score=dot,
        bias=energies.movedim(-1, -3),
        mask=mask,
    )
    context, weights, seen = (part.movedim(-3, -1) for part in found if part is not None)
    return PerFeature(context.squeeze(-2), weights, seen)


def source_to_token(
    items: Float[Tensor, "*batch time d"],
    *,
    hidden_weight: Float[Tensor, "d_h d"],
    weight: Float[Tensor, "d d_h"],
    hidden_bias: Float[Tensor, " d_h"] | None = None,
    bias: Float[Tensor, " d"] | None = None,
    mask: Bool[Tensor, "*#batch time"] | None = None,
    activation: Callable[[Tensor], Tensor] = F.elu,
) -> PerFeature:
    r"""Sum up a sequence in one vector, whose every feature chooses its own tokens.

    .. math:: f(x_i) = W \, \sigma(W^{(1)} x_i + b^{(1)}) + b, \quad
        s_k = \sum_i \mathrm{softmax}_i\bigl([f(x_i)]_k\bigr) \, x_{i,k}

    There is no query: what counts is learned. A constant added to all energies of a feature changes nothing, so that
    the bias :math:`b` has no effect and no gradient; the paper and its code have it.

    Args:
        items: :math:`x`, ``(*batch, time, d)``.
        hidden_weight: :math:`W^{(1)}`, ``(d_h, d)``.
        weight: :math:`W`, ``(d, d_h)``.
        hidden_bias: :math:`b^{(1)}`, ``(d_h,)``.
        bias: :math:`b`, ``(d,)``.
        mask: ``(*batch, time)``, True = a real token.
        activation: :math:`\sigma`, elementwise.

    Returns:
        Context ``(*batch, 1, d)``, weights and energies ``(*batch, 1, time, d)``. A sequence without a real token gives
        zeros.

    Raises:
        TypeError: the mask is not boolean.
        ValueError: a parameter or the mask does not fit.

    Source: Shen et al. 2018, source2token self-attention [shen2018].

    >>> items = torch.tensor([[4.0, 0.0], [0.0, 8.0]])
    >>> none = {"hidden_weight": torch.zeros(3, 2), "weight": torch.zeros(2, 3)}
    >>> source_to_token(items, **none).context  # all alike: the mean
    tensor([[2., 4.]])
    """
    d_h, d = hidden_weight.shape[0], items.shape[-1]
    check_parameter("hidden_weight", hidden_weight, d_h=d_h, d=d)
    check_parameter("weight", weight, d=d, d_h=d_h)
    clean = shown(items, mask)
    hidden = product(clean, hidden_weight)
    energies = product(activation(hidden if hidden_bias is None else hidden + hidden_bias), weight)
    energies = energies if bias is None else energies + bias
    seen = None if mask is None else mask.unsqueeze(-2)
    return attend_features(energies.unsqueeze(-3), clean, mask=seen)


def shown(items: Float[Tensor, "*batch time d"], mask: Bool[Tensor, "*#batch time"] | None) -> Tensor:
    """The items with zeros in place of what is no real token, so that nothing is computed of what stands there.

    Args:
        items: ``(*batch, time, d)``.
        mask: ``(*batch, time)``, True = a real token.

    Raises:
        TypeError: the mask is not boolean.
        ValueError: the mask does not fit.

    >>> shown(torch.tensor([[torch.nan], [2.0]]), torch.tensor([False, True])).tolist()
    [[0.0], [2.0]]
    """
    if mask is None:
        return items
    check_boolean(mask)
    if mask.ndim >= items.ndim or mask.shape[-1:] != items.shape[-2:-1]:
        shapes = f"{tuple(items.shape[:-1])} of the items, got {tuple(mask.shape)}"
        raise ValueError(f"mask must broadcast to the (*batch, time) = {shapes}")
    return torch.where(mask.unsqueeze(-1), items, 0.0)


class SourceToToken(nn.Module):
    """:func:`source_to_token` with its parameters.

    Args:
        d: size of the items, and of what comes out.
        d_h: size of the hidden layer; ``d`` where it is left out, as in the paper.

    Source: Shen et al. 2018 [shen2018].

    >>> found = SourceToToken(5)(torch.ones(2, 4, 5))
    >>> found.context.shape, found.weights.shape
    (torch.Size([2, 1, 5]), torch.Size([2, 1, 4, 5]))
    """

    def __init__(
        self,
        d: int,
        d_h: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(d, d_h or d, device=device, dtype=dtype)
        self.energies = nn.Linear(d_h or d, d, device=device, dtype=dtype)

    def forward(
        self, items: Float[Tensor, "*batch time d"], mask: Bool[Tensor, "*#batch time"] | None = None
    ) -> PerFeature:
        """One vector for each sequence: ``(*batch, 1, d)``."""
        return source_to_token(
            items,
            hidden_weight=self.hidden.weight,
            hidden_bias=self.hidden.bias,
            weight=self.energies.weight,
            bias=self.energies.bias,
            mask=mask,
        )
