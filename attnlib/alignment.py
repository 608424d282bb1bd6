"""Word alignments: links read off weights, their error against people's links, and the models to beat.

A link is ``(target position, source position)``: queries down, keys across, counted from 0. An alignment of a sentence
pair is a set of links. A weight matrix has a row a target word and a column a source word, as attention has.
"""

import math
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "AlignmentError",
    "IBMModel1",
    "alignment_error_rate",
    "diagonal",
    "links_of",
    "pooled",
    "uniform",
]

Link = tuple[int, int]
Words = Sequence[str]


def links_of(
    weights: Float[Tensor, "target source"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
    threshold: float | None = None,
) -> frozenset[Link]:
    r"""The links that a weight matrix stands for: the largest weight of each row, or every weight that is large.

    .. math:: A = \{(t, \arg\max_i \alpha_{ti})\} \qquad \text{or} \qquad A = \{(t, i) : \alpha_{ti} \ge \theta\}

    Args:
        weights: one sentence pair's, each at least 0. Cut off what is no word (end of sentence, padding) or mask it.
        mask: booleans that broadcast to ``weights``, True = may be linked. What stands behind it changes nothing.
        threshold: take every weight of at least this, above 0; without it, the first of the largest of each row.

    Returns:
        A set of ``(target position, source position)``. A row without a weight above 0 has no link.

    Raises:
        TypeError: ``weights`` is not a tensor.
        ValueError: it has not two axes; a visible weight is NaN or below 0; the mask does not broadcast; the threshold
            is not above 0.

    Source: Bahdanau et al. 2015, section 5.2.1 [bahdanau2015], for reading weights as an alignment.

    >>> weights = torch.tensor([[0.1, 0.9], [0.6, 0.4]])
    >>> sorted(links_of(weights)), sorted(links_of(weights, threshold=0.4))
    ([(0, 1), (1, 0)], [(0, 1), (1, 0), (1, 1)])
    """
    if not isinstance(weights, Tensor):
        raise TypeError(f"weights must be a tensor, got {type(weights).__name__}")
    if weights.ndim != 2:
        raise ValueError(f"weights must be one sentence pair's, (target, source), got shape {tuple(weights.shape)}")
    seen = weights.detach()
    if mask is not None:
        try:
            visible = mask.expand(weights.shape)
        except RuntimeError:
            shapes = tuple(weights.shape), tuple(mask.shape)
            raise ValueError(f"mask must broadcast to weights {shapes[0]}, got shape {shapes[1]}") from None
        seen = seen.masked_fill(~visible, 0.0)
    if not bool((seen >= 0).all()):
        raise ValueError("weights must be at least 0 where they are visible, got NaN or a negative weight")
    if threshold is not None:
        if not threshold > 0:
            raise ValueError(f"threshold must be above 0, got {threshold}")
        return frozenset((t, i) for t, i in (seen >= threshold).nonzero().tolist())
    if seen.shape[1] == 0:
        return frozenset()
    first, largest = seen.argmax(1), seen.amax(1)
    return frozenset((t, i) for t, (i, top) in enumerate(zip(first.tolist(), largest.tolist(), strict=True)) if top > 0)


class AlignmentError(NamedTuple):
    """How far an alignment is from people's, and the four counts it comes from, which :func:`pooled` adds up.

    ``n_sure`` and ``n_possible`` count the predicted links that are sure and possible; with weights in place of links
    they are expected counts, and no whole numbers.
    """

    error: float
    precision: float
    recall: float
    n_predicted: float
    n_reference: float
    n_sure: float
    n_possible: float


def alignment_error_rate(
    predicted: Set[Link] | Float[Tensor, "target source"], sure: Set[Link], possible: Set[Link] | None = None
) -> AlignmentError:
    r"""The error of one sentence pair's alignment, with precision and recall.

    .. math::
        \mathrm{AER} = 1 - \frac{|A \cap S| + |A \cap P|}{|A| + |S|}, \qquad
        \mathrm{precision} = \frac{|A \cap P|}{|A|}, \qquad \mathrm{recall} = \frac{|A \cap S|}{|S|}

    Without possible links of their own (``P = S``) it is 1 minus the harmonic mean of precision and recall.

    Args:
        predicted: ``A``, links; or weights ``(target, source)``, which count with their size: what the links would
            count on average if each target word drew one with the weights as probabilities.
        sure: ``S``, people's links.
        possible: further links that people find defensible; sure links are possible in any case.

    Returns:
        An :class:`AlignmentError`. What is a share of nothing is perfect: precision is 1 where nothing is predicted,
        recall is 1 where nothing is sure, and the error is 0 where both are empty.

    Raises:
        TypeError: links that are no set.
        ValueError: a weight is NaN or below 0; a link of people lies outside the weights.

    Source: Och and Ney 2003, section 5.1 [ochney2003]; with weights, Tu et al. 2016 [tu2016].

    Departs from the source: empty sets are defined.

    >>> alignment_error_rate({(0, 0), (1, 1)}, {(0, 0), (2, 1)}, possible={(1, 1)})[:3]  # 1 - (1 + 2) / (2 + 2)
    (0.25, 1.0, 0.5)
    """
    for name, links in (("predicted", predicted), ("sure", sure), ("possible", possible)):
        if not isinstance(links, Set) and not (name == "predicted" and isinstance(links, Tensor)) and links is not None:
            kind = "a set of links or a tensor of weights" if name == "predicted" else "a set of links"
            raise TypeError(f"{name} must be {kind}, got {type(links).__name__}")
    either = sure if possible is None else sure | possible
    if isinstance(predicted, Tensor):
        counts = _expected(predicted.detach().double(), sure, either)
    else:
        counts = float(len(predicted)), float(len(predicted & sure)), float(len(predicted & either))
    n_predicted, n_sure, n_possible = counts
    return _error(n_predicted, float(len(sure)), n_sure, n_possible)


def pooled(errors: Iterable[AlignmentError]) -> AlignmentError:
    """The error of a corpus: the counts of its sentence pairs added, then divided.

    Long sentences weigh more than in a mean of the errors, as is usual.

    Args:
        errors: one a sentence pair, from :func:`alignment_error_rate`.

    Returns:
        An :class:`AlignmentError`; of no sentence pair at all it is that of an empty one.

    Source: Och and Ney 2003, section 5.1 [ochney2003].

    >>> good, bad = alignment_error_rate({(0, 0)}, {(0, 0)}), alignment_error_rate({(0, 1), (1, 1), (2, 1)}, {(0, 0)})
    >>> round(pooled([good, bad]).error, 4)  # 1 - 2 / (4 + 2), where the mean of the errors is 1/2
    0.6667
    """
    total = [0.0, 0.0, 0.0, 0.0]
    for error in errors:
        for place, count in enumerate(error[3:]):
            total[place] += count
    return _error(*total)


def diagonal(n_target: int, n_source: int) -> Float[Tensor, "target source"]:
    r"""Each target word on the source word that lies at the same share of its sentence.

    .. math:: \alpha_{ti} = 1 \iff i = \Big\lfloor \frac{(t + 1/2) \, n_{source}}{n_{target}} \Big\rfloor

    Args:
        n_target: words of the target, at least 0.
        n_source: words of the source, at least 0.

    Returns:
        Weights, one 1 a row; no column where there is no source word.

    Raises:
        ValueError: a length is below 0.

    Source: ours; the usual baseline of word alignment.

    >>> diagonal(4, 2)
    tensor([[1., 0.],
            [1., 0.],
            [0., 1.],
            [0., 1.]])
    """
    weights = torch.zeros(*_lengths(n_target, n_source))
    for t in range(n_target if n_source else 0):
        weights[t, (2 * t + 1) * n_source // (2 * n_target)] = 1.0
    return weights


def uniform(n_target: int, n_source: int) -> Float[Tensor, "target source"]:
    r"""Every source word alike: ``1 / n_source``.

    Its largest weight is all of them, so :func:`links_of` says the first word for every row. Judge it by its weights:
    :func:`alignment_error_rate` of them is the mean error of links thrown at random.

    Args:
        n_target: words of the target, at least 0.
        n_source: words of the source, at least 0.

    Returns:
        Weights whose rows sum to 1.

    Raises:
        ValueError: a length is below 0.

    Source: ours.

    >>> uniform(1, 4)
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    return torch.full(_lengths(n_target, n_source), 1.0 / max(n_source, 1))


class IBMModel1:
    r"""A table of word translations, learned from sentence pairs alone; its posterior is an alignment.

    Each target word is a translation of one source word, any of them alike beforehand, or of the empty word:

    .. math::
        p(y \mid x) \propto \prod_{t} \frac{1}{n_{source} + 1} \sum_{i = 0}^{n_{source}} p(y_t \mid x_i), \qquad
        \alpha_{ti} = \frac{p(y_t \mid x_i)}{\sum_{i'} p(y_t \mid x_{i'})}

    Expectation: the posterior of each link is counted for its two words. Maximisation: the counts of a source word,
    divided by their sum, are its translations. Each round raises the likelihood or leaves it, and its logarithm is
    concave in the table, so the start does not trap it; here it starts uniform.

    Like attention it gives each target word one row of weights over the source. Unlike attention it knows no order, no
    neighbours and no state: what it learns is which words go together.

    Args:
        pairs: ``(source words, target words)`` of each sentence pair; a pair with an empty side is left out.
        n_iterations: rounds of expectation and maximisation, at least 0.
        null: let the empty word (NULL) account for target words that translate nothing.

    Attributes:
        log_likelihoods: in nats, of the uniform start and after each round: ``n_iterations + 1`` numbers, without the
            constant for the length of the target.

    Raises:
        ValueError: there is no pair with words on both sides; ``n_iterations`` is below 0.
        TypeError: a sentence is one string, not a sequence of words.

    Source: Brown et al. 1993, section 4.1 and appendix B.1 [brown1993].

    Departs from the source: words that were not in the training data are defined, see :meth:`probability`.

    >>> model = IBMModel1([(["la", "casa"], ["the", "house"]), (["la"], ["the"])], n_iterations=1, null=False)
    >>> model.probability("the", "la")  # (1/2 + 1) / (1/2 + 1/2 + 1)
    0.75
    """

    def __init__(self, pairs: Iterable[tuple[Words, Words]], *, n_iterations: int = 5, null: bool = True) -> None:
        if n_iterations < 0:
            raise ValueError(f"n_iterations must be at least 0, got {n_iterations}")
        self.null = null
        self._sources: dict[str | None, int] = {None: 0} if null else {}
        self._targets: dict[str, int] = {}
        cells = self._cells(pairs)
        self.log_likelihoods = self._learn(cells, n_iterations)

    def probability(self, target: str, source: str | None) -> float:
        """Read ``p(target word | source word)`` in the table.

        Args:
            target: a target word.
            source: a source word, or None for the empty word.

        Returns:
            The probability: 0 for words that never met; for a source word that was never seen, and for the empty word
            of a model without one, what every word starts with, 1 over the number of target words.
        """
        return float(self._joint([source], [target]))

    def align(self, source: Words, target: Words) -> Float[Tensor, "target source"]:
        """The posterior of each link of a sentence pair, of the training data or new.

        A target word that no word of the source (nor the empty word) explains, as one that was never seen, goes to the
        source words that were never seen either, and where there are none to all alike.

        Args:
            source: its words.
            target: its words.

        Returns:
            Weights in float64. A row sums to 1 less the share of the empty word; :func:`links_of` reads one link a
            row from them, as from attention, and :meth:`links` none for what the empty word explains best.

        Raises:
            TypeError: a sentence is one string.

        >>> model = IBMModel1([(["la", "casa"], ["the", "house"]), (["la"], ["the"])], n_iterations=20, null=False)
        >>> sorted(links_of(model.align(["casa", "la"], ["the", "house"])))
        [(0, 1), (1, 0)]
        """
        return self._posterior(source, target)[:, int(self.null) :]

    def links(self, source: Words, target: Words) -> frozenset[Link]:
        """The model's own alignment: no link for a target word that the empty word explains best.

        Args:
            source: its words.
            target: its words.

        Returns:
            A set of links, at most one a target word.

        Raises:
            TypeError: a sentence is one string.
        """
        every = links_of(self._posterior(source, target))
        return frozenset((t, i - self.null) for t, i in every if i >= self.null)

    def _posterior(self, source: Words, target: Words) -> Tensor:
        columns: list[str | None] = [None, *_words(source)] if self.null else [*_words(source)]
        joint = self._joint(columns, _words(target))
        total = joint.sum(1, keepdim=True)
        return torch.where(total > 0, joint / total.where(total > 0, 1.0), 1.0 / max(len(columns), 1))

    def _joint(self, source: Sequence[str | None], target: Words) -> Tensor:
        """``p(y | x)`` of each cell, ``(target, source)``."""
        row = torch.tensor([self._sources.get(x, -1) for x in source], dtype=torch.int64)
        column = torch.tensor([self._targets.get(y, -1) for y in target], dtype=torch.int64).unsqueeze(1)
        key = row * len(self._targets) + column
        place = torch.searchsorted(self._keys, key).clamp(max=len(self._keys) - 1)
        met = (self._keys[place] == key) & (row >= 0) & (column >= 0)
        return self._table[place].where(met, 0.0).where(row >= 0, 1.0 / len(self._targets))

    def _cells(self, pairs: Iterable[tuple[Words, Words]]) -> tuple[Tensor, Tensor, Tensor]:
        """Of each cell of each pair's matrix: the row it stands in, the two words; and the length of each row."""
        target_parts, source_parts, lengths = [], [], []
        for source, target in pairs:
            if not _words(source) or not _words(target):
                continue
            columns: list[str | None] = [None, *source] if self.null else [*source]
            xs = torch.tensor([self._sources.setdefault(x, len(self._sources)) for x in columns])
            ys = torch.tensor([self._targets.setdefault(y, len(self._targets)) for y in target])
            source_parts.append(xs.repeat(len(ys)))
            target_parts.append(ys.repeat_interleave(len(xs)))
            lengths.append(torch.full((len(ys),), len(xs)))
        if not lengths:
            raise ValueError("pairs must hold a sentence pair with words on both sides, got none")
        length = torch.cat(lengths)
        word_pair = torch.cat(source_parts) * len(self._targets) + torch.cat(target_parts)
        return torch.arange(len(length)).repeat_interleave(length), word_pair, length

    def _learn(self, cells: tuple[Tensor, Tensor, Tensor], n_iterations: int) -> list[float]:
        row, word_pair, length = cells
        self._keys, entry = torch.unique(word_pair, return_inverse=True)
        source = self._keys // len(self._targets)
        self._table = torch.full((len(self._keys),), 1.0 / len(self._targets), dtype=torch.float64)
        log_likelihoods = []
        for iteration in range(n_iterations + 1):
            joint = self._table[entry]
            explained = joint.new_zeros(len(length)).index_add_(0, row, joint)
            log_likelihoods.append(float((explained / length).log().sum()))
            if iteration < n_iterations:
                counts = torch.zeros_like(self._table).index_add_(0, entry, joint / explained[row])
                totals = counts.new_zeros(len(self._sources)).index_add_(0, source, counts)
                self._table = counts / totals[source]
        return log_likelihoods


def _words(sentence: Words) -> Words:
    if isinstance(sentence, str):
        raise TypeError(f"a sentence must be a sequence of words, got the string {sentence!r}")
    return sentence


def _lengths(n_target: int, n_source: int) -> tuple[int, int]:
    if n_target < 0 or n_source < 0:
        raise ValueError(f"n_target and n_source must be at least 0, got {n_target} and {n_source}")
    return n_target, n_source


def _expected(weights: Tensor, sure: Set[Link], either: Set[Link]) -> tuple[float, float, float]:
    if not bool((weights >= 0).all()):
        raise ValueError("weights must be at least 0, got NaN or a negative weight")
    for t, i in either:
        if not (0 <= t < weights.shape[0] and 0 <= i < weights.shape[1]):
            raise ValueError(f"link {(t, i)} lies outside weights of shape {tuple(weights.shape)}")
    shares = (math.fsum(float(weights[t, i]) for t, i in links) for links in (sure, either))
    return float(weights.sum()), next(shares), next(shares)


def _error(n_predicted: float, n_reference: float, n_sure: float, n_possible: float) -> AlignmentError:
    everything = n_predicted + n_reference
    error = 1 - (n_sure + n_possible) / everything if everything else 0.0
    precision = n_possible / n_predicted if n_predicted else 1.0
    recall = n_sure / n_reference if n_reference else 1.0
    return AlignmentError(error, precision, recall, n_predicted, n_reference, n_sure, n_possible)
