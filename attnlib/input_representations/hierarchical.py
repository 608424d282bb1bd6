"""Hierarchical attention: words weigh up to a sentence, sentences to a document, each level by a vector of its own.

Documents come without padding: all words one after another, and how many make each sentence and each document. What is
read in a batch is real sentences, so that no result depends on padding, on batch mates, or on the order in the batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .._checks import check_boolean, check_counts, check_parameter
from .._rows import activated, bad_rows, inner_product, product, without
from ..attention import Attention, attend
from ..masks import key_mask

__all__ = ["AttentionPool", "HierarchicalAttention", "Hierarchy", "context_score", "hierarchical", "pool"]

Pool = Callable[[Tensor, Tensor], Attention]
Reader = Callable[[Tensor, Tensor], Tensor]


class Hierarchy(NamedTuple):
    """What both levels give; weights and energies stand in the order of the words and sentences, without padding.

    ``words``: contexts ``(sentence, d)``, weights and energies ``(word,)``. ``sentences``: contexts ``(document, d)``,
    weights and energies ``(sentence,)``.
    """

    words: Attention
    sentences: Attention

    @property
    def context(self) -> Tensor:
        """The vectors of the documents, ``(document, d)``."""
        return self.sentences.context


def context_score(
    query: Float[Tensor, "*#batch query d_w"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    weight: Float[Tensor, "d_w d_k"],
    bias: Float[Tensor, " d_w"] | None = None,
) -> Float[Tensor, "*batch query key"]:
    r"""How well a key, seen through one hidden layer, matches a vector that says what to look for.

    .. math:: f(u, h) = u^\top \tanh(W h + b)

    The nonlinearity stands inside: outside it would keep all energies between -1 and 1, and no key could stand out. It
    is :func:`attnlib.scores.additive` for a query that never changes, which then is part of the bias; what is called
    the vector there is called the query here.

    Args:
        query: :math:`u`, ``(*batch, query, d_w)``.
        key: :math:`h`, ``(*batch, key, d_k)``.
        weight: :math:`W`, ``(d_w, d_k)``.
        bias: :math:`b`, ``(d_w,)``.

    Returns:
        Energies.

    Raises:
        ValueError: a size of a parameter does not fit.

    Source: Yang et al. 2016, Eq. 5 and 6 [yang2016].

    >>> query, key = torch.tensor([[3.0]]), torch.tensor([[50.0], [-50.0]])
    >>> context_score(query, key, weight=torch.tensor([[2.0]]))  # tanh gives 1 and -1
    tensor([[ 3., -3.]])
    """
    check_parameter("weight", weight, d_w=query.shape[-1], d_k=key.shape[-1])
    inner = product(key, weight)
    if bias is not None:
        check_parameter("bias", bias, d_w=query.shape[-1])
        inner = inner + bias
    lost = bad_rows(inner)  # too large a key costs its own energy, and no gradient
    hidden, _ = activated(torch.tanh, without(lost, inner), tame=True)
    return torch.where(lost.mT, torch.nan, inner_product(query, hidden))


def pool(
    query: Float[Tensor, "*#batch query d_w"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    weight: Float[Tensor, "d_w d_k"],
    bias: Float[Tensor, " d_w"] | None = None,
    mask: Bool[Tensor, "*#mask"] | None = None,
) -> Attention:
    r"""Average vectors, each weighted by how well it matches a learned vector: one level of hierarchical attention.

    .. math:: e_t = u^\top \tanh(W h_t + b), \quad \alpha = \mathrm{softmax}(e), \quad s = \sum_t \alpha_t h_t

    It is :func:`attnlib.attend` with a query that is a parameter and :func:`context_score`. The weights apply to the
    vectors themselves, not to the hidden layer that they were scored through. A query of zeros gives the mean.

    Args:
        query: :math:`u`, ``(*batch, query, d_w)``; ``(1, d_w)`` for one vector that serves all sequences.
        key: :math:`h`, the annotations ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the annotations are the values.
        weight: :math:`W`, ``(d_w, d_k)``.
        bias: :math:`b`, ``(d_w,)``.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``; see
            :func:`attnlib.masks.key_mask`.

    Returns:
        As :func:`attnlib.attend`. A sequence of which nothing is visible gives zeros.

    Raises:
        TypeError: as :func:`attnlib.attend`.
        ValueError: as :func:`attnlib.attend`; a size of a parameter does not fit.

    Source: Yang et al. 2016, Eq. 5 to 7, and 8 to 10 for sentences [yang2016].

    >>> words = torch.tensor([[50.0], [-50.0]])
    >>> one = torch.tensor([[1.0]])
    >>> pool(torch.tensor([[0.0]]), words, weight=one).weights
    tensor([[0.5000, 0.5000]])
    >>> pool(torch.tensor([[20.0]]), words, weight=one).context
    tensor([[50.]])
    """
    return attend(query, key, value, score=partial(context_score, weight=weight, bias=bias), mask=mask)


def hierarchical(
    vectors: Float[Tensor, "word d"],
    *,
    words: Int[Tensor, " sentence"],
    sentences: Int[Tensor, " document"],
    pool_words: Pool,
    pool_sentences: Pool,
    read_words: Reader | None = None,
    read_sentences: Reader | None = None,
    mask: Bool[Tensor, " word"] | None = None,
) -> Hierarchy:
    r"""Pool the words of each sentence, and the sentences of each document.

    .. math::
        h_{i1} \dots h_{iT} = \mathrm{read}(x_{i1} \dots x_{iT}), \quad s_i = \sum_t \alpha_{it} h_{it}, \quad
        h_1 \dots h_L = \mathrm{read}'(s_1 \dots s_L), \quad v = \sum_i \alpha_i h_i

    Words that the mask hides are taken out before anything is read, and so are sentences without a word.

    Args:
        vectors: :math:`x`, ``(word, d)``: all words of all sentences of all documents, one after another.
        words: how many words each sentence has, ``(sentence,)``.
        sentences: how many sentences each document has, ``(document,)``.
        pool_words: ``(annotations (row, key, d), mask (row, 1, key)) -> Attention`` with one query, as :func:`pool`.
        pool_sentences: the same for the sentences.
        read_words: ``(vectors (row, key, d), lengths (row,)) -> annotations``, for a row of each sentence, which must
            depend on nothing else; None: the vectors are the annotations. What it gives behind a row's end is not used.
        read_sentences: the same for a row of each document.
        mask: boolean, ``(word,)``, True = may be read and attended to.

    Returns:
        A :class:`Hierarchy`. A sentence without visible words has a vector of zeros and no weight; a document without
        sentences has a vector of zeros. What is hidden changes nothing, and has energy minus infinity.

    Raises:
        TypeError: ``words`` or ``sentences`` is not of whole numbers, or the mask is not boolean.
        ValueError: a count is below 0; the words do not add up to those of ``vectors``, or the sentences to those of
            ``words``.

    Source: Yang et al. 2016, section 2.2 [yang2016].

    Departs from the source: has no padding, and says what becomes of what is empty or hidden.

    >>> even = partial(pool, torch.zeros(1, 1), weight=torch.ones(1, 1))  # a query of zeros: means at both levels
    >>> means = lambda rows, mask: even(rows, mask=mask)
    >>> vectors, words = torch.tensor([[1.0], [3.0], [6.0], [7.0]]), torch.tensor([2, 1, 1])
    >>> result = hierarchical(vectors, words=words, sentences=torch.tensor([2, 0, 1]), pool_words=means,
    ...                       pool_sentences=means)
    >>> result.context.flatten(), result.words.weights, result.sentences.weights  # of 1, 3 and 6 it is not 10 / 3
    (tensor([4., 0., 7.]), tensor([0.5000, 0.5000, 1.0000, 1.0000]), tensor([0.5000, 0.5000, 1.0000]))
    """
    check_counts("words", words, len(vectors), "vectors has")
    check_counts("sentences", sentences, len(words), "words counts")
    if mask is None:
        mask = torch.ones(len(vectors), dtype=torch.bool, device=vectors.device)
    check_boolean(mask)
    if mask.shape != vectors.shape[:1]:
        raise ValueError(f"mask must have one place for each of the {len(vectors)} words, got {tuple(mask.shape)}")
    n_words = _counted(mask, words)
    shown = n_words > 0
    lower = _level(vectors[mask], n_words[shown], pool_words, read_words)
    n_sentences = _counted(shown, sentences)
    spoken = n_sentences > 0
    upper = _level(lower.context, n_sentences[spoken], pool_sentences, read_sentences)
    return Hierarchy(_laid_out(lower, rows=shown, keys=mask), _laid_out(upper, rows=spoken, keys=shown))


def _level(vectors: Tensor, lengths: Tensor, pool: Pool, read: Reader | None) -> Attention:
    """Read and pool one row of each length, none of which is 0; weights and energies of the rows end to end."""
    if not len(lengths):  # a row is read all the same, and dropped, for the size and the type of what would come
        found = _level(vectors.new_zeros(1, vectors.shape[1]), lengths.new_ones(1), pool, read)
        return Attention(*(part[:0] for part in found if part is not None))
    mask = key_mask(lengths, int(lengths.max()))
    real = mask.mT  # (row, key, 1)
    padded = vectors.new_zeros(*real.shape[:2], vectors.shape[1]).masked_scatter(real, vectors)
    context, weights, energies = pool(padded if read is None else read(padded, lengths), mask)
    return Attention(context.squeeze(1), _of(weights)[mask], _of(energies)[mask])


def _of(part: Tensor | None) -> Tensor:
    if part is None:
        raise ValueError("a pool must give weights and energies, got None")
    return part


def _laid_out(found: Attention, *, rows: Tensor, keys: Tensor) -> Attention:
    """The same with a place for each row and key that was left out: no weight, energy minus infinity, zeros."""
    context, weights, energies = found.context, _of(found.weights), _of(found.energies)
    every = context.new_zeros(len(rows), context.shape[1])
    lowest = energies.new_full((len(keys),), -torch.inf)
    return Attention(
        every.masked_scatter(rows.unsqueeze(-1), context),
        weights.new_zeros(len(keys)).masked_scatter(keys, weights),
        lowest.masked_scatter(keys, energies),
    )


def _counted(mask: Tensor, lengths: Tensor) -> Tensor:
    """How many of each run of these lengths are True."""
    total = torch.cat([mask.new_zeros(1, dtype=torch.long), mask.long().cumsum(0)])
    ends = lengths.cumsum(0)
    return total[ends] - total[ends - lengths]


class AttentionPool(nn.Module):
    """:func:`pool` with its parameters: ``context_vector`` ``(d_w,)``, ``weight`` ``(d_w, d)`` and ``bias`` ``(d_w,)``.

    Args:
        d: size of the vectors.
        d_w: size of the hidden layer.

    Source: Yang et al. 2016, Eq. 5 to 7 [yang2016].

    >>> result = AttentionPool(5, 3)(torch.ones(2, 4, 5))
    >>> result.context.shape, result.weights[0]  # words that are all alike share alike
    (torch.Size([2, 1, 5]), tensor([[0.2500, 0.2500, 0.2500, 0.2500]], grad_fn=<SelectBackward0>))
    """

    def __init__(
        self, d: int, d_w: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        bound = d_w**-0.5
        self.context_vector = nn.Parameter(torch.empty(d_w, device=device, dtype=dtype).uniform_(-bound, bound))
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(d_w, d, device=device, dtype=dtype)))
        self.bias = nn.Parameter(torch.zeros(d_w, device=device, dtype=dtype))

    def forward(
        self, annotations: Float[Tensor, "*batch key d"], mask: Bool[Tensor, "*#mask"] | None = None
    ) -> Attention:
        """One context for each sequence: ``(*batch, 1, d)``."""
        return pool(self.context_vector.unsqueeze(0), annotations, weight=self.weight, bias=self.bias, mask=mask)


class HierarchicalAttention(nn.Module):
    """:func:`hierarchical` with two recurrent networks that read both ways, and two :class:`AttentionPool`.

    Each sentence is read from a state of zeros, and ends where its words end. The classifier on top is the caller's.

    Args:
        d: size of a word's vector.
        hidden: size of a state; an annotation has two, of both directions.
        d_w: size of the hidden layers of the scores; that of an annotation where it is left out, as in the paper.

    Source: Yang et al. 2016, section 2.2 [yang2016]: ``d`` 200, ``hidden`` 50, ``d_w`` 100.

    Departs from the source: ``torch.nn.GRU`` has two biases in each gate, and its update gate keeps where that renews.

    >>> model = HierarchicalAttention(7, 3)
    >>> result = model(torch.ones(6, 7), words=torch.tensor([4, 1, 1]), sentences=torch.tensor([2, 1]))
    >>> result.context.shape, result.words.weights[4:].tolist()  # a word alone has all of the weight
    (torch.Size([2, 6]), [1.0, 1.0])
    """

    def __init__(
        self,
        d: int,
        hidden: int,
        d_w: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        both: dict[str, Any] = {"bidirectional": True, "batch_first": True, "device": device, "dtype": dtype}
        self.words = nn.GRU(d, hidden, **both)
        self.pool_words = AttentionPool(2 * hidden, d_w or 2 * hidden, device=device, dtype=dtype)
        self.sentences = nn.GRU(2 * hidden, hidden, **both)
        self.pool_sentences = AttentionPool(2 * hidden, d_w or 2 * hidden, device=device, dtype=dtype)

    def forward(
        self,
        vectors: Float[Tensor, "word d"],
        *,
        words: Int[Tensor, " sentence"],
        sentences: Int[Tensor, " document"],
        mask: Bool[Tensor, " word"] | None = None,
    ) -> Hierarchy:
        """As :func:`hierarchical`."""
        return hierarchical(
            vectors,
            words=words,
            sentences=sentences,
            pool_words=self.pool_words,
            pool_sentences=self.pool_sentences,
            read_words=partial(_read, self.words),
            read_sentences=partial(_read, self.sentences),
            mask=mask,
        )


def _read(unit: nn.GRU, rows: Tensor, lengths: Tensor) -> Tensor:
    """Annotations of rows of different length; packed, so that each way ends, or begins, at a row's own end."""
    packed = pack_padded_sequence(rows, lengths.cpu(), batch_first=True, enforce_sorted=False)
    annotations: Tensor = pad_packed_sequence(unit(packed)[0], batch_first=True)[0]
    return annotations
