"""A question in three levels: its words, phrases of one to three words around each, and all up to each."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .._checks import as_computed, check_boolean, fits

__all__ = ["Levels", "QuestionHierarchy", "phrases"]


class Levels(NamedTuple):
    """A question in three levels, each ``(batch, word, d)``."""

    word: Tensor
    phrase: Tensor
    question: Tensor


def phrases(
    words: Float[Tensor, "*batch word d"],
    kernels: Sequence[Float[Tensor, "d_phrase d _"]],
    *,
    mask: Bool[Tensor, "*#batch word"] | None = None,
) -> Float[Tensor, "*batch word d_phrase"]:
    r"""For each word the strongest of the phrases that begin there, feature by feature.

    .. math:: \hat q^p_{s,t} = \tanh(W^s_c \, [q_t; \dots; q_{t+s-1}]), \qquad q^p_t = \max_s \hat q^p_{s,t}

    Args:
        words: :math:`q`, ``(*batch, word, d)``.
        kernels: :math:`W^s_c`, one a length of phrases, ``(d_phrase, d, s)``: the last axis is the place in the phrase.
        mask: True = a real word, ``(*batch, word)``.

    Returns:
        ``(*batch, word, d_phrase)``. What is hidden, and what lies behind the end, counts as zeros, and has zeros for
        its own phrase.

    Raises:
        TypeError: ``words`` is not floating point, or the mask is not boolean.
        ValueError: there is no kernel, or a kernel or the mask does not fit.

    Source: Lu et al. 2016, section 3.2 [lu2016].

    Departs from the source: masks. The authors' code has biases, and pads so that pairs end at a word and triples have
    it in their middle.

    >>> kernels = [torch.tensor([[[0.5]]]), torch.tensor([[[0.0, 1.0]]])]  # a half of a word, and the word after it
    >>> phrases(torch.tensor([[1.0], [2.0], [-1.0]]), kernels).mT  # tanh of 2, 1 and 0
    tensor([[0.9640, 0.7616, 0.0000]])
    """
    computed = as_computed(words, "words")
    if not kernels:
        raise ValueError("kernels must be at least 1, got 0")
    for n, kernel in enumerate(kernels):
        if kernel.ndim != 3 or kernel.shape[:2] != (kernels[0].shape[0], words.shape[-1]) or kernel.shape[2] < 1:
            expected = f"(d_phrase={kernels[0].shape[0]}, d={words.shape[-1]}, length)"
            raise ValueError(f"kernels[{n}] must have shape {expected}, got shape {tuple(kernel.shape)}")
    if mask is not None:
        check_boolean(mask)
        if mask.shape[-1:] != words.shape[-2:-1] or not fits(mask.shape, words.shape[:-1]):
            raise ValueError(f"mask must broadcast to {tuple(words.shape[:-1])}, got shape {tuple(mask.shape)}")
        computed = torch.where(mask.unsqueeze(-1), computed, 0.0)
    found = None
    for kernel in kernels:
        length, weight = kernel.shape[2], kernel.to(computed.dtype)
        behind = F.pad(computed, (0, 0, 0, length - 1))
        # A sum over places, not a convolution: it takes any leading dimensions, and no question too.
        sums = behind[..., : words.shape[-2], :] @ weight[..., 0].mT
        for place in range(1, length):
            sums = sums + behind[..., place : place + words.shape[-2], :] @ weight[..., place].mT
        found = torch.tanh(sums) if found is None else torch.maximum(found, torch.tanh(sums))
    assert found is not None
    return (found if mask is None else torch.where(mask.unsqueeze(-1), found, 0.0)).to(words.dtype)


def phrase_kernels(d: int, longest: int) -> nn.ParameterList:
    """Kernels for :func:`phrases` of one to ``longest`` words of size ``d``, as a network starts with them."""
    sizes = [(d, d, length) for length in range(1, longest + 1)]
    return nn.ParameterList(nn.init.xavier_uniform_(torch.empty(size)) for size in sizes)


class QuestionHierarchy(nn.Module):
    """Words, phrases and, by an LSTM over the phrases, the question up to each word.

    Hidden words are left out before anything is computed, wherever they stand: they are as if they had not been given.

    Args:
        d: size of a word, of a phrase and of the LSTM's state.
        longest: phrases have from one to so many words.

    Raises:
        ValueError: ``longest`` is below 1.

    Source: Lu et al. 2016, section 3.2 [lu2016].

    Departs from the source: an LSTM of one layer, where the authors' code has two; no dropout.

    >>> levels = QuestionHierarchy(5)(torch.ones(2, 3, 5), torch.tensor([[True, True, False], [True, False, False]]))
    >>> levels.question.shape, levels.question[1, 1:].abs().sum().item()
    (torch.Size([2, 3, 5]), 0.0)
    """

    def __init__(self, d: int, longest: int = 3) -> None:
        super().__init__()
        if longest < 1:
            raise ValueError(f"longest must be at least 1, got {longest}")
        self.kernels = phrase_kernels(d, longest)
        self.recurrent = nn.LSTM(d, d, batch_first=True)

    def forward(self, words: Float[Tensor, "batch word d"], mask: Bool[Tensor, "batch word"] | None = None) -> Levels:
        """The three levels; zeros where the mask hides."""
        if mask is None:
            below = phrases(words, list(self.kernels))
            return Levels(words, below, self.recurrent(below)[0] if words.shape[1] else below)
        check_boolean(mask)
        if mask.shape != words.shape[:-1]:
            raise ValueError(f"mask must have shape {tuple(words.shape[:-1])}, got shape {tuple(mask.shape)}")
        order = torch.sort((~mask).byte(), dim=-1, stable=True).indices.unsqueeze(-1).expand_as(words)
        # Real words first, in their order; the state that goes forwards never meets what comes after them.
        first = torch.where(mask.unsqueeze(-1), words, 0.0).gather(1, order)
        below = phrases(first, list(self.kernels), mask=mask.gather(1, order[..., 0]))
        above = self.recurrent(below)[0] if words.shape[1] else below
        placed = (torch.zeros_like(part).scatter(1, order, part) for part in (first, below, above))
        return Levels(*(torch.where(mask.unsqueeze(-1), part, 0.0) for part in placed))
