"""Inner attention of Wang et al. 2016: a question weights the words before, or inside, the network that reads them.

It is not self-attention, though it is often cited for it: the question, another input, says what counts.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .._checks import check_boolean, check_parameter
from .._rows import product, times
from ..recurrent.gated_unit import GatedUnit
from ..scores import general

__all__ = ["InnerStates", "WeightedWords", "gate_states", "weight_in_context", "weight_words"]


class WeightedWords(NamedTuple):
    """Words, each times its weight; and the weights, which need not sum to one."""

    words: Float[Tensor, "*batch time d"]
    weights: Float[Tensor, "*batch time"]


class InnerStates(NamedTuple):
    """States of a reader; and what weighted its steps: one number for each word, or one for each unit and word."""

    states: Float[Tensor, "batch time n"]
    weights: Float[Tensor, "batch time *unit"]


def weight_words(
    words: Float[Tensor, "*batch time d"],
    question: Float[Tensor, "*batch d_q"],
    *,
    weight: Float[Tensor, "d_q d"],
    mask: Bool[Tensor, "*#batch time"] | None = None,
) -> WeightedWords:
    r"""Weight each word by how it matches the question, before anything reads it: the form called *word*.

    .. math:: \alpha_t = \sigma(r_q^\top M x_t), \qquad \tilde x_t = \alpha_t x_t

    A word's weight does not depend on the other words, nor on its place.

    Args:
        words: :math:`x`, of an answer, ``(*batch, time, d)``.
        question: :math:`r_q`, a vector for the question, ``(*batch, d_q)``.
        weight: :math:`M`, ``(d_q, d)``.
        mask: ``(*batch, time)``, True = a real word; the others get weight zero and become zero.

    Returns:
        :class:`WeightedWords`. A NaN in a real word spoils that word alone.

    Raises:
        TypeError: ``mask`` is not boolean.
        ValueError: ``weight`` does not fit.

    Source: Wang et al. 2016, IARNN-WORD [wang2016]; the equation second-hand, from readers of the paper.

    >>> words, question = torch.tensor([[4.0], [0.0]]), torch.tensor([0.0])
    >>> weight_words(words, question, weight=torch.ones(1, 1)).words.tolist()  # no question: half of everything
    [[2.0], [0.0]]
    """
    clean, real = _real(words, mask)
    energies = general(question.unsqueeze(-2), clean, weight=weight).squeeze(-2)
    weights = torch.sigmoid(energies).to(words.dtype)
    weights = weights if real is None else torch.where(real, weights, 0.0)
    return WeightedWords(weights.unsqueeze(-1) * clean, weights)


def weight_in_context(
    words: Float[Tensor, "batch time d"],
    question: Float[Tensor, "batch d_q"],
    unit: GatedUnit,
    *,
    state_weight: Float[Tensor, "d n"],
    question_weight: Float[Tensor, "d d_q"],
    mask: Bool[Tensor, "batch time"] | None = None,
) -> InnerStates:
    r"""Weight each word by how it matches the question and what was read so far: the form called *context*.

    .. math::
        w_t = M_h h_{t-1} + M_q r_q, \qquad \alpha_t = \sigma(w_t^\top x_t), \qquad
        h_t = \mathrm{unit}(\alpha_t x_t, h_{t-1})

    Args:
        words: :math:`x`, ``(batch, time, d)``.
        question: :math:`r_q`, ``(batch, d_q)``.
        unit: reads weighted words of size d; its state starts at zero.
        state_weight: :math:`M_h`, ``(d, n)``.
        question_weight: :math:`M_q`, ``(d, d_q)``.
        mask: ``(batch, time)``, True = a real word; on the others the weight is zero and the state stays.

    Returns:
        :class:`InnerStates` with weights ``(batch, time)``.

    Raises:
        TypeError: ``mask`` is not boolean.
        ValueError: a weight does not fit.

    Source: Wang et al. 2016, IARNN-CONTEXT [wang2016]; the equations second-hand, from readers of the paper.

    >>> unit = GatedUnit(1, 2)
    >>> zero = {"state_weight": torch.zeros(1, 2), "question_weight": torch.zeros(1, 3)}
    >>> weight_in_context(torch.ones(1, 4, 1), torch.ones(1, 3), unit, **zero).weights.tolist()
    [[0.5, 0.5, 0.5, 0.5]]
    """
    n, d = unit.recurrent.shape[0], words.shape[-1]
    check_parameter("state_weight", state_weight, d=d, n=n)
    check_parameter("question_weight", question_weight, d=d, d_q=question.shape[-1])
    clean, real = _real(words, mask)
    asked = times(question, question_weight.mT)
    state, states, weights = clean.new_zeros(len(clean), n), [], []
    for t in range(words.shape[1]):
        energy = ((asked + times(state, state_weight.mT)) * clean[:, t]).sum(-1)
        weight = torch.sigmoid(energy).to(words.dtype)
        new = unit(unit.read(weight[:, None] * clean[:, t]), state)
        if real is not None:
            weight, new = torch.where(real[:, t], weight, 0.0), torch.where(real[:, t, None], new, state)
        state = new
        states.append(state)
        weights.append(weight)
    return InnerStates(_stacked(states, clean, n), _stacked(weights, clean))


def gate_states(
    words: Float[Tensor, "batch time d"],
    question: Float[Tensor, "batch d_q"],
    unit: GatedUnit,
    *,
    question_weight: Float[Tensor, "gates d_q"],
    mask: Bool[Tensor, "batch time"] | None = None,
) -> InnerStates:
    r"""Let the question into the gates of the unit that reads: the form called *gate*.

    .. math::
        \begin{aligned}
        z_t &= \sigma(W_z x_t + U_z h_{t-1} + M_z r_q), \qquad f_t = \sigma(W_f x_t + U_f h_{t-1} + M_f r_q), \\
        \tilde h_t &= \tanh(W x_t + U (f_t \odot h_{t-1})), \qquad
        h_t = (1 - z_t) \odot h_{t-1} + z_t \odot \tilde h_t
        \end{aligned}

    Args:
        words: :math:`x`, ``(batch, time, d)``.
        question: :math:`r_q`, ``(batch, d_q)``.
        unit: holds all :math:`W` and :math:`U`; its state starts at zero.
        question_weight: :math:`M_z` above :math:`M_f`, ``(2n, d_q)``. The candidate does not see the question.
        mask: ``(batch, time)``, True = a real word; on the others nothing is renewed.

    Returns:
        :class:`InnerStates` with the update gates :math:`z` as weights, ``(batch, time, n)``.

    Raises:
        TypeError: ``mask`` is not boolean.
        ValueError: ``question_weight`` does not fit.

    Source: Wang et al. 2016, IARNN-GATE [wang2016]; the equations second-hand, from readers of the paper.

    Departs from the source: the unit has biases.

    >>> unit = GatedUnit(1, 1)
    >>> shut = gate_states(torch.ones(1, 3, 1), torch.ones(1, 1), unit, question_weight=torch.tensor([[-99.0], [0.0]]))
    >>> shut.states.abs().max().item() < 1e-6  # a question that shuts the update gate: nothing is read
    True
    """
    n = unit.recurrent.shape[0]
    check_parameter("question_weight", question_weight, **{"2n": 2 * n, "d_q": question.shape[-1]})
    clean, real = _real(words, mask)
    asked = F.pad(product(question, question_weight).to(words.dtype), (0, n))
    read = unit.read(clean)
    state, states, weights = clean.new_zeros(len(clean), n), [], []
    for t in range(words.shape[1]):
        gate = torch.sigmoid((read[:, t] + asked)[:, :n] + state @ unit.gates_recurrent[:n].mT)
        new = unit(read[:, t], state, asked)
        if real is not None:
            gate, new = torch.where(real[:, t, None], gate, 0.0), torch.where(real[:, t, None], new, state)
        state = new
        states.append(state)
        weights.append(gate)
    return InnerStates(_stacked(states, clean, n), _stacked(weights, clean, n))


def _real(words: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The words with zeros where none is, so that whatever stands there is never multiplied; and the mask."""
    if mask is None:
        return words, None
    check_boolean(mask)
    if mask.shape[-1] != words.shape[-2]:
        raise ValueError(f"mask must be one for each of {words.shape[-2]} words, got {mask.shape[-1]}")
    return torch.where(mask.unsqueeze(-1), words, 0.0), mask


def _stacked(steps: list[Tensor], like: Tensor, *sizes: int) -> Tensor:
    """What each step gave, along time; of no steps, nothing."""
    return torch.stack(steps, 1) if steps else like.new_zeros(len(like), 0, *sizes)
