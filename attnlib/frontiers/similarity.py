"""How like a machine's map is to a person's: three measures of Sen et al. 2020.

A person's map says of each word whether it was selected. A machine's gives each word a number, of which only the order
counts in the first measure, and the largest few in the others. They are compared by *which* words were selected
(:func:`behavioural`), by *what kind* of words (:func:`lexical`, :func:`adjusted`), and by whether the selection follows
the text or only the words (:func:`cross_sentiment`). These are measures, not losses: none gives a gradient.

We saw the paper's abstract, and its formulas in a summary by others; what they leave open is said below.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from .._checks import fits
from ._maps import like, seen_of

__all__ = [
    "CrossSentiment",
    "adjusted",
    "auc",
    "behavioural",
    "category_shares",
    "cross_sentiment",
    "lexical",
]


class CrossSentiment(NamedTuple):
    """Selected words of the other polarity for each of the text's own: in positive texts, and in negative ones."""

    positive: Float[Tensor, ""]
    negative: Float[Tensor, ""]


@torch.no_grad()
def auc(
    selected: Bool[Tensor, "*batch word"],
    scores: Real[Tensor, "*batch word"] | Bool[Tensor, "*batch word"],
    *,
    mask: Bool[Tensor, "*#batch word"] | None = None,
) -> Float[Tensor, "*batch"]:
    r"""How often a word that was selected outranks one that was not: the area under the receiver's curve.

    .. math:: \mathrm{AUC} = \frac{1}{n_1 n_0} \sum_{i : h_i = 1} \sum_{j : h_j = 0}
        \Big( [a_i > a_j] + \tfrac12 [a_i = a_j] \Big)

    The sum over pairs is taken by ranks, in which ties share the mean of their places: sorting, not all pairs.

    Args:
        selected: :math:`h`, a person's map, ``(*batch, word)``.
        scores: :math:`a`, a machine's map, of which only the order counts, ``(*batch, word)``. Another person's map
            will do too: it has two scores only, and many ties.
        mask: True = a word; broadcasts to the maps. What stands elsewhere counts nothing, NaN included.

    Returns:
        From 0 to 1, ``(*batch)``; 1/2 is chance, and what equal scores get. NaN where all words or none were selected,
        for then there is no pair, and where the score of a word is NaN.

    Raises:
        TypeError: ``selected`` or the mask is not boolean.
        ValueError: shapes do not fit.

    Source: Sen et al. 2020, ``PairwiseSim`` [sen2020]; ties at one half, which the summary does not say, as is usual.

    >>> selected = torch.tensor([True, False, True, False])
    >>> auc(selected, torch.tensor([0.4, 0.3, 0.2, 0.2]))  # of four pairs three: the tie counts half, 0.2 < 0.3 nought
    tensor(0.6250)
    """
    chosen, seen = seen_of(selected, mask)
    found = like("scores", scores, selected).double()
    lost = (found.isnan() & seen).any(-1)
    found = torch.where(seen, found, torch.inf).contiguous()
    ordered = found.sort(-1).values
    words = seen.sum(-1, keepdim=True)
    below = torch.searchsorted(ordered, found)
    # What is hidden stands last, as infinity; a word's own infinity stands before it, so the rank ends with the words.
    up_to = torch.searchsorted(ordered, found, right=True).minimum(words)
    rank = (below + up_to + 1).double() / 2
    ones = chosen.sum(-1)
    noughts = words.squeeze(-1) - ones
    wins = torch.where(chosen, rank, 0.0).sum(-1) - ones * (ones + 1) / 2
    share = torch.where(lost, torch.nan, wins) / (ones * noughts)  # 0 / 0 where there is no pair
    return share.to(scores.dtype if scores.is_floating_point() else torch.get_default_dtype())


@torch.no_grad()
def behavioural(
    selected: Bool[Tensor, "*batch word"],
    scores: Real[Tensor, "*batch word"] | Bool[Tensor, "*batch word"],
    *,
    mask: Bool[Tensor, "*#batch word"] | None = None,
) -> Float[Tensor, ""]:
    r"""Do they select the same words? The mean of :func:`auc` over all texts.

    .. math:: \frac{1}{|D|} \sum_{i \in D} \mathrm{AUC}(h_i, a_i)

    Texts in which all words or none were selected have no area. They are skipped: :math:`D` are the others.

    Args:
        selected: as of :func:`auc`; all leading axes are texts.
        scores: as of :func:`auc`.
        mask: as of :func:`auc`.

    Returns:
        One number from 0 to 1; NaN where no text is left, or where a word has the score NaN.

    Raises:
        TypeError, ValueError: as :func:`auc`.

    Source: Sen et al. 2020, ``BehavioralSim`` [sen2020]. What they do with such maps we could not see.

    >>> selected = torch.tensor([[True, False], [False, False]])  # nobody selected a word of the second text
    >>> behavioural(selected, torch.tensor([[0.9, 0.1], [0.5, 0.5]]))
    tensor(1.)
    """
    chosen, seen = seen_of(selected, mask)
    ones = chosen.sum(-1)
    return auc(selected, scores, mask=mask)[(ones > 0) & (ones < seen.sum(-1))].mean()


@torch.no_grad()
def category_shares(
    selected: Bool[Tensor, "*text word"],
    categories: Int[Tensor, "*#text word"],
    n_categories: int,
    *,
    mask: Bool[Tensor, "*#text word"] | None = None,
) -> Float[Tensor, " {n_categories}"]:
    r"""What kinds of words were selected, over all texts together: the share of each category.

    .. math:: p_c = \frac{|\{ (t, i) : h_{ti} = 1, \; \mathrm{kind}(t, i) = c \}|}{|\{ (t, i) : h_{ti} = 1 \}|}

    Args:
        selected: :math:`h`, ``(*text, word)``.
        categories: the number of each word's category, as of its part of speech, ``(*text, word)``.
        n_categories: how many there are; numbers run from 0.
        mask: True = a word; broadcasts to the map.

    Returns:
        ``(n_categories,)``, in double precision, with the sum 1; all NaN where no word was selected.

    Raises:
        TypeError: ``selected`` or the mask is not boolean.
        ValueError: shapes do not fit, or a selected word is in a category that there is not.

    Source: Sen et al. 2020 [sen2020].

    >>> category_shares(torch.tensor([[True, True], [True, False]]), torch.tensor([[0, 2], [2, 1]]), 3)
    tensor([0.3333, 0.0000, 0.6667], dtype=torch.float64)
    """
    chosen, _ = seen_of(selected, mask)
    kinds = like("categories", categories, selected)[chosen]
    if kinds.numel() and not 0 <= int(kinds.min()) <= int(kinds.max()) < n_categories:
        raise ValueError(
            f"categories must be from 0 to {n_categories - 1}, got {int(kinds.min())} to {int(kinds.max())}"
        )
    return kinds.bincount(minlength=n_categories).double() / kinds.numel()


@torch.no_grad()
def lexical(
    selected: Bool[Tensor, "*text word"],
    other: Bool[Tensor, "*text word"],
    categories: Int[Tensor, "*#text word"],
    n_categories: int,
    *,
    mask: Bool[Tensor, "*#text word"] | None = None,
) -> Float[Tensor, ""]:
    r"""Do they select the same kinds of words? The correlation of their :func:`category_shares`.

    .. math:: \mathrm{LS}(M, H) = \mathrm{corr}(p^M, p^H)

    Args:
        selected: a person's map, ``(*text, word)``.
        other: the machine's, as :func:`~attnlib.frontiers.selection.top` gives it, or one of
            :func:`~attnlib.frontiers.selection.random_like`.
        categories: as of :func:`category_shares`.
        n_categories: as there, at least 2.
        mask: as there.

    Returns:
        Pearson's correlation, from -1 to 1, in double precision; NaN where one of the two selected no word, or words of
        all categories alike, for what does not vary has no correlation.

    Raises:
        TypeError: a map or the mask is not boolean.
        ValueError: as :func:`category_shares`; fewer than two categories.

    Source: Sen et al. 2020, ``LS`` [sen2020]. That the correlation is Pearson's is our reading.

    >>> selected = torch.tensor([True, True, False, False])
    >>> lexical(selected, ~selected, torch.tensor([0, 0, 1, 1]), 2)
    tensor(-1., dtype=torch.float64)
    """
    if n_categories < 2:
        raise ValueError(f"n_categories must be at least 2, got {n_categories}")
    shares = [category_shares(given, categories, n_categories, mask=mask) for given in (selected, other)]
    first, second = (share - 1 / n_categories for share in shares)  # a mean of shares is that of their number
    found = (first * second).sum() / (first.square().sum() * second.square().sum()).sqrt()
    flat = first.abs().amax().minimum(second.abs().amax()) < 1e-12
    return torch.where(flat, torch.nan, found)


def adjusted(similarity: Float[Tensor, "*#batch"], chance: Float[Tensor, "*#batch"]) -> Float[Tensor, "*batch"]:
    r"""What is left of a similarity above that of a random selection, as a share of what could be left.

    .. math:: \mathrm{AdjustedLS} = \frac{\mathrm{LS}(M, H) - \mathrm{LS}(R, H)}{1 - \mathrm{LS}(R, H)}

    Args:
        similarity: :math:`\mathrm{LS}(M, H)`, or another similarity of which 1 is the most.
        chance: the same of random selections, :math:`\mathrm{LS}(R, H)`, as a rule the mean over many of
            :func:`~attnlib.frontiers.selection.random_like`.

    Returns:
        1 for the most, 0 for chance, below 0 for less; NaN where chance is 1 already.

    Source: Sen et al. 2020, ``AdjustedLS`` [sen2020].

    >>> adjusted(torch.tensor([1.0, 0.8, 0.6]), torch.tensor(0.6))
    tensor([1.0000, 0.5000, 0.0000])
    """
    room = 1 - chance
    return (similarity - chance) / torch.where(room == 0, torch.nan, room)


@torch.no_grad()
def cross_sentiment(
    selected: Bool[Tensor, "*text word"],
    polarity: Int[Tensor, "*#text word"],
    sentiment: Int[Tensor, "*#text"],
    *,
    words: Int[Tensor, "*#text word"] | None = None,
    mask: Bool[Tensor, "*#text word"] | None = None,
) -> CrossSentiment:
    r"""Does the selection depend on what a text says? Words of the other polarity for each one of the text's own.

    .. math:: \mathrm{CSSR}_p = \frac{|S_p \cap \mathcal N|}{|S_p \cap \mathcal P|}, \qquad
        \mathrm{CSSR}_n = \frac{|S_n \cap \mathcal P|}{|S_n \cap \mathcal N|}

    :math:`S_p` are the words that were selected in positive texts, :math:`S_n` in negative ones; :math:`\mathcal P` and
    :math:`\mathcal N` the positive and the negative words of a lexicon. Who selects feeling words wherever they stand
    has a high rate; who passes over a *good* in a bad review has a low one.

    Args:
        selected: ``(*text, word)``.
        polarity: of each word in the lexicon: above 0 positive, below 0 negative, 0 none, ``(*text, word)``.
        sentiment: of each text, likewise, ``(*text,)``; texts with 0 count nothing.
        words: the number of each word in a vocabulary. With it a word counts once in positive texts and once in
            negative ones, however often it was selected; without it, each time.
        mask: True = a word; broadcasts to the map.

    Returns:
        Two rates from 0 upwards, in double precision; NaN where no word of the text's own polarity was selected.

    Raises:
        TypeError: ``selected`` or the mask is not boolean.
        ValueError: shapes do not fit.

    Source: Sen et al. 2020, ``CSSR`` [sen2020]. Whether a word counts once or each time, the summary leaves open.

    >>> polarity = torch.tensor([[1, 1, -1, 0], [1, -1, -1, -1]])  # e.g. good, fine, bad, pizza; ...
    >>> rates = cross_sentiment(torch.ones(2, 4, dtype=torch.bool), polarity, torch.tensor([1, -1]))
    >>> rates.positive.item(), round(rates.negative.item(), 4)
    (0.5, 0.3333)
    """
    chosen, _ = seen_of(selected, mask)
    signs = like("polarity", polarity, selected).sign()
    if not fits(sentiment.shape, selected.shape[:-1]):
        raise ValueError(f"sentiment must fit {tuple(selected.shape[:-1])}, got shape {tuple(sentiment.shape)}")
    of_text = sentiment.sign().unsqueeze(-1).expand_as(selected)
    names = None if words is None else like("words", words, selected)

    def count(text: int, word: int) -> Tensor:
        there = chosen & (of_text == text) & (signs == word)
        number = int(there.sum()) if names is None else len(set(names[there].tolist()))
        return torch.tensor(float(number), dtype=torch.float64, device=selected.device)

    rates = []
    for text in (1, -1):
        own = count(text, text)
        rates.append(count(text, -text) / torch.where(own == 0, torch.nan, own))
    return CrossSentiment(*rates)
