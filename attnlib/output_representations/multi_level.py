"""Multi-level structured self-attention of Du et al. 2018: hops over the words, and over the sentences of a bag.

A bag is a set of sentences with one label between them, such as all that name the same two entities; some are noise.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .._checks import check_boolean, check_counts
from ..attention import Attention
from ..masks import key_mask
from .structured_self import StructuredSelf, penalty

__all__ = ["MultiLevel", "MultiLevelSelf", "multi_level"]

Pool = Callable[[Tensor, Tensor], Attention]
Reader = Callable[[Tensor, Tensor], Tensor]


class MultiLevel(NamedTuple):
    """What both levels give, without padding: weights and energies stand in the order of the words and sentences.

    ``words``: contexts ``(sentence, hop, d)``, weights and energies ``(word, hop)``. ``sentences``: contexts
    ``(bag, hop, d)``, weights and energies ``(sentence, hop)``. The penalties are one for each sentence and each bag.
    """

    words: Attention
    sentences: Attention
    word_penalty: Float[Tensor, " sentence"]
    sentence_penalty: Float[Tensor, " bag"]


def multi_level(
    vectors: Float[Tensor, "word d"],
    *,
    words: Int[Tensor, " sentence"],
    sentences: Int[Tensor, " bag"],
    pool_words: Pool,
    pool_sentences: Pool,
    read_words: Reader | None = None,
    mask: Bool[Tensor, " word"] | None = None,
) -> MultiLevel:
    r"""Sum up the words of each sentence in several hops, and the sentences of each bag in several hops again.

    .. math::
        M_i = A^{(1)}_i H_i, \quad s_i = \mathrm{vec}(M_i), \quad
        A^{(2)} = \mathrm{softmax}\bigl(W'_{s2} \tanh(W'_{s1} S^\top)\bigr), \quad B = A^{(2)} S

    Args:
        vectors: ``(word, d)``: all words of all sentences of all bags, one after another.
        words: how many words each sentence has, ``(sentence,)``.
        sentences: how many sentences each bag has, ``(bag,)``.
        pool_words: ``(annotations (row, time, d), mask (row, 1, time)) -> Attention`` with its hops as queries, as
            :class:`~attnlib.output_representations.structured_self.StructuredSelf`.
        pool_sentences: the same for sentences, whose vectors are the rows of the first level laid end to end.
        read_words: ``(vectors (row, time, d), lengths (row,)) -> annotations``, which must look at no other row; None:
            the vectors are the annotations. It is given no empty row.
        mask: boolean, ``(word,)``, True = may be attended to. Words are hidden after they were read.

    Returns:
        A :class:`MultiLevel`. A sentence without visible words gives zeros, no weight in its bag, and no penalty; a bag
        without such sentences gives zeros.

    Raises:
        TypeError: counts are not whole numbers, or the mask is not boolean.
        ValueError: a count is below 0, or counts do not add up; the mask does not fit.

    Source: Du et al. 2018, the abstract: a matrix of weights at each level [du2018]. Each level: Lin et al. 2017
    [lin2017].

    Departs from the source: knows the paper by its abstract, and lays the hops of a sentence end to end.

    >>> from attnlib.output_representations.structured_self import structured_self
    >>> def even(rows, mask):  # two hops, both the mean
    ...     return structured_self(rows, hidden_weight=torch.ones(1, rows.shape[-1]), hop_weight=torch.zeros(2, 1),
    ...                            mask=mask)
    >>> found = multi_level(torch.tensor([[1.0], [3.0], [6.0]]), words=torch.tensor([2, 1]),
    ...                     sentences=torch.tensor([2]), pool_words=even, pool_sentences=even)
    >>> found.sentences.context, found.word_penalty  # means of 2 and 6; one word: r (r - 1)
    (tensor([[[4., 4.],
             [4., 4.]]]), tensor([1., 2.]))
    """
    check_counts("words", words, len(vectors), "vectors has")
    check_counts("sentences", sentences, len(words), "words counts")
    if mask is None:
        mask = torch.ones(len(vectors), dtype=torch.bool, device=vectors.device)
    check_boolean(mask)
    if mask.shape != vectors.shape[:1]:
        raise ValueError(f"mask must have one place for each of the {len(vectors)} words, got {tuple(mask.shape)}")
    lower, first = _level(vectors, words, mask, pool_words, read_words)
    spoken = torch.zeros(len(words), dtype=torch.bool, device=mask.device)
    spoken[torch.repeat_interleave(torch.arange(len(words), device=mask.device), words)[mask]] = True
    upper, second = _level(lower.context.flatten(1), sentences, spoken, pool_sentences)
    return MultiLevel(lower, upper, first, second)


def _level(
    vectors: Tensor, lengths: Tensor, mask: Tensor, pool: Pool, read: Reader | None = None
) -> tuple[Attention, Tensor]:
    """Hops over rows of these lengths, laid end to end again; and the penalty of each row."""
    longest = max(int(lengths.max()) if len(lengths) else 0, 1)
    real = key_mask(lengths, longest).squeeze(-2)  # (row, time)
    rows = vectors.new_zeros(*real.shape, vectors.shape[1]).masked_scatter(real.unsqueeze(-1), vectors)
    if read is not None and bool((some := lengths > 0).any()):
        annotated = read(rows[some], lengths[some])
        real_annotated = annotated.new_zeros(*real.shape, annotated.shape[-1])
        rows = real_annotated.masked_scatter(some[:, None, None], annotated)
    seen = torch.zeros_like(real).masked_scatter(real, mask)
    context, weights, energies = pool(rows, seen.unsqueeze(-2))
    if weights is None or energies is None:
        raise ValueError("a pool must give weights and energies, got None")
    laid = (part.mT[real] for part in (weights, energies))
    return Attention(context, *laid), penalty(weights)


class MultiLevelSelf(nn.Module):
    """:func:`multi_level` with its two levels of parameters, over annotations that somebody else has read.

    Args:
        d: size of a word's annotation.
        d_a: size of the hidden layers.
        word_hops: hops over the words of a sentence.
        sentence_hops: hops over the sentences of a bag.

    Source: Du et al. 2018 [du2018].

    >>> model = MultiLevelSelf(7, 5, word_hops=3, sentence_hops=2)
    >>> found = model(torch.ones(6, 7), words=torch.tensor([4, 1, 1]), sentences=torch.tensor([2, 1]))
    >>> found.sentences.context.shape, found.words.weights.shape
    (torch.Size([2, 2, 21]), torch.Size([6, 3]))
    """

    def __init__(
        self,
        d: int,
        d_a: int,
        *,
        word_hops: int,
        sentence_hops: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.pool_words = StructuredSelf(d, d_a, hops=word_hops, device=device, dtype=dtype)
        self.pool_sentences = StructuredSelf(d * word_hops, d_a, hops=sentence_hops, device=device, dtype=dtype)

    def forward(
        self,
        annotations: Float[Tensor, "word d"],
        *,
        words: Int[Tensor, " sentence"],
        sentences: Int[Tensor, " bag"],
        mask: Bool[Tensor, " word"] | None = None,
    ) -> MultiLevel:
        """As :func:`multi_level`."""
        return multi_level(
            annotations,
            words=words,
            sentences=sentences,
            pool_words=self.pool_words,
            pool_sentences=self.pool_sentences,
            mask=mask,
        )
