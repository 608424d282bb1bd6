"""Selection without a query: a maximum that picks, gates that multiply, and how many bits pass.

Max-pooling and the gates of an LSTM are attention that the input alone steers: weights, and a sum of values under them.
What a narrow passage lets through is counted in bits.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .._checks import as_computed, check_parameter, may_look
from ..softness.hard import entropy

__all__ = ["GatedStep", "Pooled", "entropy_in_bits", "lstm_step", "max_pool", "mutual_information"]


class Pooled(NamedTuple):
    """The largest values, which of its window's places each came from, and that as one-hot weights."""

    context: Float[Tensor, "*batch high across"]
    position: Int[Tensor, "*batch high across"]
    weights: Float[Tensor, "*batch high across place"]


class GatedStep(NamedTuple):
    """A step of an LSTM with its gates; without a forget gate that one is 1."""

    hidden: Float[Tensor, "*batch n"]
    cell: Float[Tensor, "*batch n"]
    input_gate: Float[Tensor, "*batch n"]
    forget_gate: Float[Tensor, "*batch n"]
    output_gate: Float[Tensor, "*batch n"]
    candidate: Float[Tensor, "*batch n"]


def entropy_in_bits(weights: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch"]:
    r"""How many yes-or-no answers it takes on the mean to say which position was chosen.

    .. math:: H(\alpha) = -\sum_i \alpha_i \log_2 \alpha_i

    Args:
        weights: ``(*batch, key)``, each row at least 0 with sum 1, or all 0.

    Returns:
        ``(*batch,)``, from 0 (one position has it all) to :math:`\log_2 n` (all alike).

    Raises:
        TypeError: ``weights`` is not a floating point tensor.
        ValueError: as :func:`attnlib.softness.hard.entropy`, of which this is the same in bits.

    Source: Shannon 1948 [shannon1948].

    >>> entropy_in_bits(torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]]))
    tensor([2., 0.])
    """
    return entropy(weights) / math.log(2) + 0.0  # which makes 0 of -0


def mutual_information(joint: Float[Tensor, "*batch x y"]) -> Float[Tensor, "*batch"]:
    r"""How many bits of what went in can be read off what came out.

    .. math:: I(X; Y) = \sum_{x, y} p(x, y) \log_2 \frac{p(x, y)}{p(x) \, p(y)}

    Args:
        joint: ``(*batch, x, y)``, at least 0: probabilities, or how often each pair was counted; divided by its sum
            here.

    Returns:
        ``(*batch,)``, from 0 (nothing passes) to the entropy of the poorer side. A pair of probability 0 adds nothing,
        to the gradient neither.

    Raises:
        TypeError: ``joint`` is not a floating point tensor.
        ValueError: it has fewer than two axes, a negative number, NaN, or a table of nothing but 0.

    Source: Shannon 1948 [shannon1948].

    >>> channel = torch.tensor([[0.5, 0.0], [0.0, 0.5]])  # what goes in comes out, or a coin is thrown instead
    >>> mutual_information(torch.stack([channel, torch.full((2, 2), 0.25)]))
    tensor([1., 0.])
    """
    computed = as_computed(joint, "joint")
    if joint.ndim < 2 or 0 in joint.shape[-2:]:
        raise ValueError(f"joint must be (*batch, x, y) with at least one of each, got shape {tuple(joint.shape)}")
    total = computed.sum((-2, -1), keepdim=True)
    if may_look(joint) and not bool((computed >= 0).all() and ((total > 0) & total.isfinite()).all()):
        raise ValueError("joint must hold finite numbers of at least 0, and in each table one above 0")
    both = computed / total
    seen = both > 0
    apart = both.sum(-1, keepdim=True) * both.sum(-2, keepdim=True)
    ratio = torch.where(seen, both, 1.0) / torch.where(seen, apart, 1.0)
    return (both * ratio.log2()).sum((-2, -1)).to(joint.dtype)


def max_pool(image: Float[Tensor, "*batch height width"], size: int, *, stride: int | None = None) -> Pooled:
    r"""Let the largest value of each window through, and say which it was: hard attention that the input steers.

    .. math:: y_i = \max_{j \in R_i} x_j = \sum_{j \in R_i} \alpha_{ij} x_j, \qquad
        \alpha_{ij} = [j = \operatorname*{arg\,max}_{j' \in R_i} x_{j'}]

    Args:
        image: :math:`x`, ``(*batch, height, width)``, channels among the leading axes.
        size: side of the square window :math:`R_i`.
        stride: by how much it moves; by default its side.

    Returns:
        A :class:`Pooled`. ``context`` is what ``torch.nn.functional.max_pool2d`` gives, with its gradient; the weights
        ``(*batch, high, across, size ** 2)`` have none. Of equal values the first passes, row by row; NaN is larger
        than any other.

    Raises:
        TypeError: the image is not floating point; ``size`` or ``stride`` is not whole.
        ValueError: the image has fewer than two axes; the window does not fit into it; ``stride`` is below 1.

    Source: as a selection, section 1 of the article [ghaderi2022].

    >>> found = max_pool(torch.tensor([[1.0, 2.0, 5.0, 4.0], [0.0, 3.0, 1.0, 1.0]]), 2)
    >>> found.context, found.weights
    (tensor([[3., 5.]]), tensor([[[0., 0., 0., 1.],
             [1., 0., 0., 0.]]]))
    """
    stride = size if stride is None else stride
    as_computed(image, "image")
    for name, number in (("size", size), ("stride", stride)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{name} must be a whole number, got {number!r}")
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if image.ndim < 2 or min(image.shape[-2:]) < size:
        raise ValueError(f"image must be (*batch, height, width) of at least {size} each, got {tuple(image.shape)}")
    windows = image.unfold(-2, size, stride).unfold(-2, size, stride).flatten(-2)
    position = windows.detach().argmax(-1)
    context = windows.gather(-1, position.unsqueeze(-1)).squeeze(-1)  # a sum would make NaN of 0 times infinity
    return Pooled(context, position, F.one_hot(position, size**2).to(image.dtype))


def lstm_step(
    inputs: Float[Tensor, "*batch m"],
    hidden: Float[Tensor, "*batch n"],
    cell: Float[Tensor, "*batch n"],
    *,
    input_weight: Float[Tensor, "gates m"],
    hidden_weight: Float[Tensor, "gates n"],
    bias: Float[Tensor, "gates"] | None = None,
    forget: bool = True,
) -> GatedStep:
    r"""One step of an LSTM: three gates say what of the new is written, what of the old is kept, and what is shown.

    .. math::
        \begin{aligned}
        (i_t, f_t, o_t) &= \sigma(W_{i,f,o} \, x_t + U_{i,f,o} \, h_{t-1} + b_{i,f,o}), \qquad
        \tilde c_t = \tanh(W_c x_t + U_c h_{t-1} + b_c) \\
        c_t &= f_t \circ c_{t-1} + i_t \circ \tilde c_t, \qquad h_t = o_t \circ \tanh(c_t)
        \end{aligned}

    Args:
        inputs: :math:`x_t`, ``(*batch, m)``.
        hidden: :math:`h_{t-1}`, ``(*batch, n)``.
        cell: :math:`c_{t-1}`, ``(*batch, n)``.
        input_weight: :math:`W`, ``(4 n, m)`` in the order of ``torch.nn.LSTMCell``: input gate, forget gate, candidate,
            output gate; ``(3 n, m)`` without the second.
        hidden_weight: :math:`U`, ``(4 n, n)`` or ``(3 n, n)``.
        bias: :math:`b`, ``(4 n,)`` or ``(3 n,)``; torch's cell has two, to be added.
        forget: False is the cell of 1997, which keeps all: :math:`f_t = 1`.

    Returns:
        A :class:`GatedStep`, each part ``(*batch, n)``.

    Raises:
        ValueError: a size of a parameter does not fit.

    Source: Hochreiter and Schmidhuber 1997 [hochreiter1997]; the forget gate is that of Gers et al. 2000 [gers2000].

    Departs from the source: of 1997 it has the gates alone; there the candidate is squashed to -2 to 2, and blocks of
    cells share a gate.

    >>> zeros, ones = torch.zeros(1), torch.ones(1)
    >>> step = lstm_step(zeros, zeros, ones, input_weight=torch.zeros(4, 1), hidden_weight=torch.zeros(4, 1))
    >>> step.cell, step.forget_gate  # half of what was there is kept
    (tensor([0.5000]), tensor([0.5000]))
    """
    n, parts = hidden.shape[-1], 4 if forget else 3
    check_parameter("input_weight", input_weight, gates=parts * n, m=inputs.shape[-1])
    check_parameter("hidden_weight", hidden_weight, gates=parts * n, n=n)
    if bias is not None:
        check_parameter("bias", bias, gates=parts * n)
    read = F.linear(inputs, input_weight, bias) + F.linear(hidden, hidden_weight)
    split = read.chunk(parts, -1)
    write, show, candidate = torch.sigmoid(split[0]), torch.sigmoid(split[-1]), torch.tanh(split[-2])
    keep = torch.sigmoid(split[1]) if forget else torch.ones_like(write)
    renewed = keep * cell + write * candidate
    return GatedStep(show * torch.tanh(renewed), renewed, write, keep, show, candidate)
