"""Co-attention with its parameters, and the network around it: one co-attention a level of the question, fused."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .._checks import check_parameter
from .coattention import Alternation, CoAttention, Guidance, alternating, parallel
from .phrases import Levels, QuestionHierarchy, phrase_kernels, phrases

__all__ = [
    "AlternatingCoAttention",
    "HierarchicalCoAttention",
    "ParallelCoAttention",
    "PhraseCoAttention",
    "Reading",
    "fuse",
]


class Reading(NamedTuple):
    """What the network gives: scores of the answers, and the attention of each level, words first."""

    scores: Float[Tensor, "batch answer"]
    levels: tuple[CoAttention | Alternation, ...]


def fuse(
    levels: Sequence[Float[Tensor, "*batch d"]], weights: Sequence[Float[Tensor, "_ _"]]
) -> Float[Tensor, "*batch d_last"]:
    r"""Fold levels into one another, the lowest first.

    .. math:: u^1 = \tanh(W_1 x^1), \qquad u^l = \tanh(W_l [x^l; u^{l-1}])

    Args:
        levels: :math:`x^l`, ``(*batch, d)`` each, in co-attention the sum of what was seen and what was read.
        weights: :math:`W_l`, ``(d_l, d)`` for the first and ``(d_l, d + d_{l-1})`` for those after it.

    Returns:
        :math:`u` of the last level.

    Raises:
        ValueError: there is no level, there are not as many weights, or one does not fit.

    Source: Lu et al. 2016, Eq. 7 [lu2016].

    >>> low, high = torch.tensor([1.0]), torch.tensor([2.0])
    >>> fuse([low, high], [torch.tensor([[0.5]]), torch.tensor([[0.0, 1.0]])])  # tanh(tanh(0.5))
    tensor([0.4318])
    """
    if not levels or len(levels) != len(weights):
        raise ValueError(f"weights must be one a level, at least 1, got {len(weights)} for {len(levels)} levels")
    found = levels[0]
    for n, (level, weight) in enumerate(zip(levels, weights, strict=True)):
        given = level if n == 0 else torch.cat([level, found], -1)
        check_parameter(f"weights[{n}]", weight, d_next=weight.shape[0], d_given=given.shape[-1])
        found = torch.tanh(given @ weight.mT)
    return found


class ParallelCoAttention(nn.Module):
    """:func:`parallel` with its parameters.

    Args:
        d_image: size of a region.
        d_question: size of a word.
        d_hidden: size of the hidden layer of both sides.

    Source: Lu et al. 2016, section 3.3 [lu2016].

    >>> found = ParallelCoAttention(2, 3, d_hidden=5)(torch.ones(7, 4, 2), torch.ones(7, 6, 3))
    >>> found.image.weights[0], found.affinity.shape
    (tensor([[0.2500, 0.2500, 0.2500, 0.2500]], grad_fn=<SelectBackward0>), torch.Size([7, 6, 4]))
    """

    def __init__(self, d_image: int, d_question: int, d_hidden: int) -> None:
        super().__init__()
        self.affinity_weight = _matrix(d_question, d_image)
        self.image_weight, self.question_weight = _matrix(d_hidden, d_image), _matrix(d_hidden, d_question)
        self.image_vector, self.question_vector = _vector(d_hidden), _vector(d_hidden)

    def forward(
        self, image: Tensor, question: Tensor, image_mask: Tensor | None = None, question_mask: Tensor | None = None
    ) -> CoAttention:
        """Both sides at once."""
        parameters = dict(self.named_parameters(recurse=False))
        return parallel(image, question, **parameters, image_mask=image_mask, question_mask=question_mask)


class AlternatingCoAttention(nn.Module):
    """:func:`alternating` with its parameters, each turn with its own.

    Args:
        d_image: size of a region.
        d_question: size of a word.
        d_hidden: size of the hidden layers.

    Source: Lu et al. 2016, section 3.3 [lu2016].

    >>> turns = AlternatingCoAttention(2, 3, d_hidden=5)(torch.ones(7, 4, 2), torch.ones(7, 6, 3))
    >>> turns.image.context.shape, turns.question.context.shape
    (torch.Size([7, 1, 2]), torch.Size([7, 1, 3]))
    """

    def __init__(self, d_image: int, d_question: int, d_hidden: int) -> None:
        super().__init__()
        self.summary_weight, self.summary_vector = _matrix(d_hidden, d_question), _vector(d_hidden)
        self.image_weight, self.image_vector = _matrix(d_hidden, d_image), _vector(d_hidden)
        self.image_guide = _matrix(d_hidden, d_question)
        self.question_weight, self.question_vector = _matrix(d_hidden, d_question), _vector(d_hidden)
        self.question_guide = _matrix(d_hidden, d_image)

    def forward(
        self, image: Tensor, question: Tensor, image_mask: Tensor | None = None, question_mask: Tensor | None = None
    ) -> Alternation:
        """The three turns."""
        return alternating(
            image,
            question,
            summary=Guidance(self.summary_weight, self.summary_vector),
            to_image=Guidance(self.image_weight, self.image_vector, self.image_guide),
            to_question=Guidance(self.question_weight, self.question_vector, self.question_guide),
            image_mask=image_mask,
            question_mask=question_mask,
        )


class HierarchicalCoAttention(nn.Module):
    """Answer a question about regions: an embedding, three levels, a co-attention in each, and their fusion.

    Args:
        n_words: size of the vocabulary.
        d: size of words, regions and all that is made of them.
        n_answers: how many answers there are.
        attention: makes the co-attention of a level from ``(d_image, d_question, d_hidden)``:
            :class:`ParallelCoAttention`, :class:`AlternatingCoAttention`, or a module of yours that is called with
            ``(image, question, image_mask, question_mask)`` and gives an ``image`` and a ``question`` attention.

    Source: Lu et al. 2016, sections 3.2 to 3.4 [lu2016].

    Departs from the source: all sizes alike (the paper's last hidden layer has 1,024 units, the others 512); no
    dropout; regions come with size ``d``.

    >>> network = HierarchicalCoAttention(11, 8, 3)
    >>> reading = network(torch.zeros(2, 5, 8), torch.ones(2, 4, dtype=torch.long))
    >>> reading.scores.shape, len(reading.levels)
    (torch.Size([2, 3]), 3)
    """

    def __init__(
        self,
        n_words: int,
        d: int,
        n_answers: int,
        attention: Callable[[int, int, int], nn.Module] = AlternatingCoAttention,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, d)
        self.hierarchy = QuestionHierarchy(d)
        self.attention = nn.ModuleList(attention(d, d, d) for _ in Levels._fields)
        self.fusion = nn.ParameterList(_matrix(d, d if n == 0 else 2 * d) for n in range(len(Levels._fields)))
        self.answer = nn.Linear(d, n_answers)

    def forward(
        self,
        image: Float[Tensor, "batch region d"],
        question: Int[Tensor, "batch word"],
        image_mask: Bool[Tensor, "batch region"] | None = None,
        question_mask: Bool[Tensor, "batch word"] | None = None,
    ) -> Reading:
        """Scores of the answers, and where each level looked."""
        levels = self.hierarchy(self.embedding(question), question_mask)
        found = [
            each(image, level, image_mask, question_mask) for each, level in zip(self.attention, levels, strict=True)
        ]
        return _reading(found, list(self.fusion), self.answer)


class PhraseCoAttention(nn.Module):
    """One level alone, the phrases: small enough for a page, and for a model whose weights one wants to read.

    Args:
        n_words: size of the vocabulary.
        d: size of words, phrases, regions and all that is made of them.
        n_answers: how many answers there are.
        attention: as in :class:`HierarchicalCoAttention`.
        longest: phrases have from one to so many words.

    Source: the middle level of Lu et al. 2016 [lu2016].

    Departs from the source: without the levels below and above.

    >>> reading = PhraseCoAttention(11, 8, 3)(torch.zeros(2, 5, 8), torch.ones(2, 4, dtype=torch.long))
    >>> reading.scores.shape, len(reading.levels)
    (torch.Size([2, 3]), 1)
    """

    def __init__(
        self,
        n_words: int,
        d: int,
        n_answers: int,
        attention: Callable[[int, int, int], nn.Module] = AlternatingCoAttention,
        longest: int = 3,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, d)
        self.kernels = phrase_kernels(d, longest)
        self.attention = attention(d, d, d)
        self.fusion = _matrix(d, d)
        self.answer = nn.Linear(d, n_answers)

    def forward(
        self,
        image: Float[Tensor, "batch region d"],
        question: Int[Tensor, "batch word"],
        image_mask: Bool[Tensor, "batch region"] | None = None,
        question_mask: Bool[Tensor, "batch word"] | None = None,
    ) -> Reading:
        """Scores of the answers, and where the level looked. Padding comes last, or phrases would reach across it."""
        level = phrases(self.embedding(question), list(self.kernels), mask=question_mask)
        found = self.attention(image, level, image_mask, question_mask)
        return _reading([found], [self.fusion], self.answer)


def _reading(found: Sequence[Any], fusion: Sequence[Tensor], answer: nn.Module) -> Reading:
    """What was seen and read at each level, fused, and what that answers."""
    sums = [(each.image.context + each.question.context).squeeze(-2) for each in found]
    return Reading(answer(fuse(sums, fusion)), tuple(found))


def _matrix(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns)))


def _vector(size: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(size).uniform_(-1, 1) / max(size, 1) ** 0.5)
