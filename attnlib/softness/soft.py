"""What soft attention of Xu et al. adds to the weighted mean: the gate, and a penalty that spreads the weights.

The mean itself is :func:`attnlib.attend` with softmax (article § 3.1).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .._checks import Number, as_computed, check_boolean

__all__ = ["doubly_stochastic_penalty", "gate"]


def doubly_stochastic_penalty(
    weights: Float[Tensor, "*batch step key"], *, target: Number = 1.0, mask: Bool[Tensor, "*#batch key"] | None = None
) -> Float[Tensor, "*batch"]:
    r"""How far each position is from getting the same total weight over all steps.

    .. math:: \sum_i \Big(1 - \sum_t \alpha_{ti}\Big)^2

    Args:
        weights: ``(*batch, step, key)``, soft attention over the steps of a decoder.
        target: what each position should get in total. Over ``T`` steps and ``n`` keys the totals sum to ``T``, so that
            the target 1 can be met only when ``T = n``; ``T / n`` always can.
        mask: ``(*batch, key)``, True = a real position; others do not count.

    Returns:
        The penalty of each sequence, to be added to the loss with a weight.

    Raises:
        TypeError: ``mask`` is not boolean; ``weights`` is not a floating point tensor.
        ValueError: ``weights`` has no steps or keys axis.

    Source: Xu et al. 2015, section 4.2.1 [xu2015].

    >>> doubly_stochastic_penalty(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))  # totals 1.5 and 0.5
    tensor(0.5000)
    """
    as_computed(weights, "weights")
    if weights.ndim < 2:
        raise ValueError(f"weights must be (*batch, step, key), got shape {tuple(weights.shape)}")
    distance = (target - weights.sum(-2)).square()
    if mask is not None:
        check_boolean(mask)
        distance = distance.masked_fill(~mask, 0.0)
    return distance.sum(-1)


def gate(
    context: Float[Tensor, "*batch d_v"],
    state: Float[Tensor, "*batch d_h"],
    *,
    weight: Float[Tensor, "d_h"],
    bias: Float[Tensor, ""] | float = 0.0,
) -> Float[Tensor, "*batch d_v"]:
    r"""Soft attention's gate: how much of the context the decoder wants at this step.

    .. math:: \hat z_t = \beta_t \sum_i \alpha_{ti} a_i, \qquad \beta_t = \sigma(w^\top h_{t-1} + b)

    Args:
        context: ``(*batch, d_v)``.
        state: ``(*batch, d_h)``, the decoder's previous hidden state.
        weight: ``(d_h)``.
        bias: a number.

    Returns:
        The context times one number a row, from 0 to 1.

    Raises:
        ValueError: ``weight`` and ``state`` differ in size.

    Source: Xu et al. 2015, section 4.2.1 [xu2015].

    >>> gate(torch.tensor([2.0, 4.0]), torch.zeros(3), weight=torch.ones(3))
    tensor([1., 2.])
    """
    if weight.shape != state.shape[-1:]:
        raise ValueError(f"weight must have the size {state.shape[-1]} of state, got shape {tuple(weight.shape)}")
    return torch.sigmoid((state @ weight + bias).unsqueeze(-1)) * context
