"""Attention via attention: words first, and what was found there asks the letters (article § 3.3).

A query looks for a word; then the query and what that word said look for a letter. Level upon level, from the top
down. Letters lie in one list, whatever word they belong to, so that short words cost no padding;
:func:`owners` says whose each of them is.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .._checks import check_boolean, check_tensor, fits, may_look
from .._work import Score
from ..attention import Attention, attend
from ..scores import Additive, scaled_dot

__all__ = ["AttentionViaAttention", "WordsAndLetters", "by_word", "owners", "via"]


class WordsAndLetters(NamedTuple):
    """What the two levels give: their contexts end to end, and the attention at each."""

    context: Float[Tensor, "*batch query d_w_and_d_c"]
    words: Attention
    letters: Attention


def via(
    query: Float[Tensor, "*#batch query d_q"],
    words: Float[Tensor, "*#batch word d_w"],
    letters: Float[Tensor, "*#batch letter d_c"],
    *,
    word_score: Score = scaled_dot,
    letter_score: Score = scaled_dot,
    word_mask: Bool[Tensor, "*#batch word"] | None = None,
    letter_mask: Bool[Tensor, "*#batch letter"] | None = None,
) -> WordsAndLetters:
    r"""Attend to words with the query, then to letters with the query and what the words said.

    .. math::
        c^w = \sum_i \alpha_i w_i, \quad \alpha_i \propto \exp f_w(q, w_i), \qquad
        c^c = \sum_j \beta_j l_j, \quad \beta_j \propto \exp f_c([q; c^w], l_j), \qquad c = [c^w; c^c]

    Args:
        query: :math:`q`, ``(*batch, query, d_q)``, as the states of a decoder that writes letters. Leading dimensions
            broadcast.
        words: :math:`w`, ``(*batch, word, d_w)``.
        letters: :math:`l`, ``(*batch, letter, d_c)``, those of all words in one list.
        word_score: :math:`f_w`, any callable ``(query, key) -> energies`` for queries of size ``d_q``.
        letter_score: :math:`f_c`, the same for queries of size ``d_q + d_w``; the default wants letters of that size.
        word_mask: ``(*batch, word)``, True = a real word.
        letter_mask: ``(*batch, letter)``, True = a real letter.

    Returns:
        :class:`WordsAndLetters`. Where no word is real the words' context is zero, and the letters are asked all the
        same; where no letter is, theirs is zero.

    Raises:
        TypeError: an argument is no floating point tensor, dtypes differ, or a mask is not boolean.
        ValueError: shapes do not fit.

    Source: Zhao and Zhang 2018 [zhao2018], in the form that Brauwers and Frasincar 2023, section 3.1.2 [brauwers2023],
    give it; of the paper itself the abstract was at hand.

    Departs from the source: masks. The repository SwordYork/sequencing, whose model ``ava_nmt`` seems to be the
    paper's, asks both levels with the decoder's state alone, so that nothing which the words said reaches the letters.

    >>> query, words = torch.tensor([[0.0]]), torch.tensor([[8.0], [2.0]])
    >>> letters = torch.tensor([[0.0, 0.0], [0.0, 0.2]])
    >>> found = via(query, words, letters, letter_score=lambda q, k: q @ k.mT)
    >>> found.words.context, found.letters.energies  # the mean of both words asks for letters that are like it
    (tensor([[5.]]), tensor([[0., 1.]]))
    """
    found = attend(query, words, score=word_score, mask=_keys("word", words, word_mask))
    wide = torch.broadcast_shapes(query.shape[:-1], found.context.shape[:-1])  # type: ignore[no-untyped-call]
    asked = torch.cat([query.expand(*wide, -1), found.context], -1)
    read = attend(asked, letters, score=letter_score, mask=_keys("letter", letters, letter_mask))
    return WordsAndLetters(
        torch.cat([found.context.expand(*read.context.shape[:-1], -1), read.context], -1), found, read
    )


class AttentionViaAttention(nn.Module):
    """:func:`via` with an additive score on each level.

    Args:
        d_q: size of a query.
        d_w: size of a word's vector.
        d_c: size of a letter's vector.
        hidden: size of the hidden layer of both scores.

    Source: Zhao and Zhang 2018 [zhao2018]; additive are the scores of ``ava_nmt`` in SwordYork/sequencing.

    >>> model = AttentionViaAttention(5, 3, 2, hidden=4)
    >>> model(torch.zeros(6, 5), torch.zeros(4, 3), torch.zeros(11, 2)).context.shape
    torch.Size([6, 5])
    """

    def __init__(
        self,
        d_q: int,
        d_w: int,
        d_c: int,
        *,
        hidden: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.word_score = Additive(d_q, d_w, hidden, device=device, dtype=dtype)
        self.letter_score = Additive(d_q + d_w, d_c, hidden, device=device, dtype=dtype)

    def forward(
        self,
        query: Float[Tensor, "*#batch query d_q"],
        words: Float[Tensor, "*#batch word d_w"],
        letters: Float[Tensor, "*#batch letter d_c"],
        *,
        word_mask: Bool[Tensor, "*#batch word"] | None = None,
        letter_mask: Bool[Tensor, "*#batch letter"] | None = None,
    ) -> WordsAndLetters:
        """Both levels."""
        return via(
            query,
            words,
            letters,
            word_score=self.word_score,
            letter_score=self.letter_score,
            word_mask=word_mask,
            letter_mask=letter_mask,
        )


def owners(lengths: Int[Tensor, "*batch word"], n_letter: int) -> Int[Tensor, "*batch {n_letter}"]:
    r"""Which word each letter of a list belongs to.

    .. math:: o_j = \min \{ i : j < \ell_0 + \dots + \ell_i \}

    Args:
        lengths: how many letters each word has, ``(*batch, word)``; 0 for padding.
        n_letter: length of the list with its padding.

    Returns:
        ``(*batch, n_letter)``, positions of words from 0; -1 for padding, so that ``owners(...) >= 0`` is the letters'
        mask.

    Raises:
        TypeError: ``lengths`` is not an integer tensor.
        ValueError: a length is below 0, or the words have more letters than ``n_letter``.

    Source: ours.

    >>> owners(torch.tensor([2, 0, 3]), 6).tolist()
    [0, 0, 2, 2, 2, -1]
    """
    check_tensor("lengths", lengths)
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise TypeError(f"lengths must be integer, got dtype {lengths.dtype}")
    ends = lengths.cumsum(-1)
    if may_look(lengths) and lengths.numel():
        if bool((lengths < 0).any()):
            raise ValueError(f"lengths must be at least 0, got {int(lengths.min())}")
        if int(ends[..., -1].max()) > n_letter:
            raise ValueError(f"n_letter must be at least {int(ends[..., -1].max())}, got {n_letter}")
    place = torch.arange(n_letter, device=lengths.device)
    before = (ends.unsqueeze(-2) <= place.unsqueeze(-1)).sum(-1)  # words that end before a letter
    return torch.where(before < lengths.shape[-1], before, -1)


def by_word(
    weights: Float[Tensor, "*batch query letter"], owner: Int[Tensor, "*#batch letter"], n_word: int
) -> Float[Tensor, "*batch query {n_word}"]:
    r"""How much of the letters' weight falls into each word.

    .. math:: B_i = \sum_{j : o_j = i} \beta_j

    Args:
        weights: :math:`\beta`, ``(*batch, query, letter)``.
        owner: :math:`o`, ``(*batch, letter)``, of :func:`owners`; what is below 0 belongs to none.
        n_word: how many words there are.

    Returns:
        ``(*batch, query, n_word)``.

    Raises:
        ValueError: ``owner`` is not a word for each letter.

    Source: ours.

    >>> by_word(torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([0, 0, 1]), 2)
    tensor([[0.7500, 0.2500]])
    """
    if owner.shape[-1] != weights.shape[-1]:
        raise ValueError(f"owner must have a word for each of {weights.shape[-1]} letters, got {owner.shape[-1]}")
    member = owner.unsqueeze(-1) == torch.arange(n_word, device=owner.device)
    return weights @ member.to(weights.dtype)


def _keys(name: str, keys: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask of one level, with an axis for the queries."""
    if mask is None:
        return None
    check_boolean(mask)
    check_tensor(f"{name}s", keys)
    if not fits(mask.shape, keys.shape[:-1]):
        raise ValueError(f"{name}_mask must fit {tuple(keys.shape[:-1])}, got shape {tuple(mask.shape)}")
    return mask.unsqueeze(-2)
