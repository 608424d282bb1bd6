"""Coarse- and fine-grained attention between a sentence and an aspect in it (article § 3.3).

An aspect is what an opinion is about: *battery life* in "the screen is bright but the battery life is short". Coarse
attention asks with a mean, fine attention with each word. What is called the context in the paper is the *sentence*
here, since a context is what attention gives.

The equations are those of Fan et al. 2018 [fan2018] as a reader wrote them out in 2018: of the paper itself the
abstract and part of the introduction were at hand. They differ from a much used re-implementation in two places, which
are named below.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .._checks import as_computed, check_boolean, check_parameter, check_tensor, fits, may_look
from .._rows import times, wide, without
from ..attention import Attention, attend
from ..scores import general

__all__ = [
    "CoarseFine",
    "Fine",
    "Grains",
    "TwoWay",
    "alignment_loss",
    "coarse",
    "fine",
    "position_weights",
    "trilinear",
]

Sentence = Float[Tensor, "*#batch word d"]
Aspect = Float[Tensor, "*#batch aspect_word d"]
SentenceMask = Bool[Tensor, "*#batch word"]
AspectMask = Bool[Tensor, "*#batch aspect_word"]


class TwoWay(NamedTuple):
    """Coarse attention: over the sentence, asked by the aspect, and the other way round; a single query each."""

    sentence: Attention
    aspect: Attention


class Fine(NamedTuple):
    """Fine attention: over the sentence, one query; over the aspect, a query for each word of the sentence; its mean.

    ``aspect.energies`` is the matrix :math:`U` in which everything is decided.
    """

    sentence: Attention
    aspect: Attention
    pooled: Float[Tensor, "*batch 1 d"]


class Grains(NamedTuple):
    """Both grains."""

    coarse: TwoWay
    fine: Fine

    @property
    def features(self) -> Float[Tensor, "*batch features"]:
        """The four contexts end to end, by which the paper classifies."""
        parts = self.coarse.sentence.context, self.coarse.aspect.context, self.fine.sentence.context, self.fine.pooled
        return torch.cat(parts, -1).squeeze(-2)


def trilinear(
    query: Float[Tensor, "*#batch query d"], key: Float[Tensor, "*#batch key d"], *, weight: Float[Tensor, " 3*d"]
) -> Float[Tensor, "*batch query key"]:
    r"""A score: a linear function of the query, of the key and of their product, component by component.

    .. math:: f(q, k) = w^\top [k; q; k \circ q]

    Args:
        query: ``(*batch, query, d)``.
        key: ``(*batch, key, d)``.
        weight: :math:`w`, ``(3 d,)``: the parts of the key, of the query, of the product.

    Returns:
        Energies ``(*batch, query, key)``; the ``3 d`` numbers of a pair are never built. Under softmax over the keys
        the query's own part cancels; under a maximum over queries it does not.

    Raises:
        ValueError: ``weight`` has not three times the size of the vectors.

    Source: Seo et al. 2017, section 2, the similarity matrix [seo2017]; :math:`U` of Fan et al. 2018 [fan2018].

    >>> key, query = torch.tensor([[1.0], [2.0]]), torch.tensor([[5.0]])
    >>> trilinear(query, key, weight=torch.tensor([1.0, 10.0, 100.0]))  # 1 + 50 + 500, 2 + 50 + 1000
    tensor([[ 551., 1052.]])
    """
    size = key.shape[-1]
    check_parameter("weight", weight, **{"3 d": 3 * size})
    of_key, of_query, of_both = weight.unflatten(0, (3, size)).unsqueeze(-1)  # type: ignore[no-untyped-call]
    return times(key, of_key).mT + times(query, of_query) + times(wide(query) * wide(of_both.mT), key.mT)


def coarse(
    sentence: Sentence,
    aspect: Aspect,
    *,
    sentence_weight: Float[Tensor, "d d"],
    aspect_weight: Float[Tensor, "d d"],
    sentence_mask: SentenceMask | None = None,
    aspect_mask: AspectMask | None = None,
) -> TwoWay:
    r"""Attend to each of two texts with the mean of the other.

    .. math::
        a^{ca}_i \propto \exp(\bar q^\top W_{ca} h_i), \quad m^{ca} = \sum_i a^{ca}_i h_i, \qquad
        a^{cc}_j \propto \exp(\bar h^\top W_{cc} q_j), \quad m^{cc} = \sum_j a^{cc}_j q_j

    Args:
        sentence: :math:`h`, ``(*batch, word, d)``; leading dimensions broadcast, so that a sentence may be asked by
            several aspects.
        aspect: :math:`q`, ``(*batch, aspect_word, d)``.
        sentence_weight: :math:`W_{ca}`, ``(d, d)``, between the mean of the aspect and a word of the sentence.
        aspect_weight: :math:`W_{cc}`, ``(d, d)``, between the mean of the sentence and a word of the aspect.
        sentence_mask: ``(*batch, word)``, True = a real word; others are neither attended to nor part of the mean.
        aspect_mask: ``(*batch, aspect_word)``, the same of the aspect.

    Returns:
        Two :class:`~attnlib.attention.Attention` with one query each. Where either text has no word, all are zeros.

    Raises:
        TypeError: a text is no floating point tensor, or a mask is not boolean.
        ValueError: shapes do not fit.

    Source: Fan et al. 2018, coarse-grained attention [fan2018], after Ma et al. 2017 [ma2017].

    Departs from the source: masks.

    >>> words, nothing = torch.tensor([[1.0], [3.0]]), torch.zeros(1, 1)
    >>> found = coarse(words, words[:1], sentence_weight=nothing, aspect_weight=nothing)
    >>> found.sentence.context, found.aspect.context
    (tensor([[2.]]), tensor([[1.]]))
    """
    texts = _texts(sentence, aspect, sentence_mask, aspect_mask)
    size = sentence.shape[-1]
    for name, weight in (("sentence_weight", sentence_weight), ("aspect_weight", aspect_weight)):
        check_parameter(name, weight, d=size, d_again=size)
    over_sentence, over_aspect = texts.masks()
    by_aspect = attend(
        _mean(texts.aspect, texts.aspect_mask),
        texts.sentence,
        score=lambda q, k: general(q, k, weight=sentence_weight),
        mask=over_sentence,
    )
    by_sentence = attend(
        _mean(texts.sentence, texts.sentence_mask),
        texts.aspect,
        score=lambda q, k: general(q, k, weight=aspect_weight),
        mask=over_aspect,
    )
    return TwoWay(by_aspect, by_sentence)


def fine(
    sentence: Sentence,
    aspect: Aspect,
    *,
    weight: Float[Tensor, " 3*d"],
    sentence_mask: SentenceMask | None = None,
    aspect_mask: AspectMask | None = None,
) -> Fine:
    r"""Attend to each of two texts with every word of the other.

    .. math::
        U_{ij} = w^\top [h_i; q_j; h_i \circ q_j], \qquad
        a^{fa}_i \propto \exp(\max_j U_{ij}), \quad m^{fa} = \sum_i a^{fa}_i h_i, \qquad
        a^{fc}_{ij} = \frac{\exp U_{ij}}{\sum_l \exp U_{il}}, \quad m^{fc} = \frac1N \sum_{ij} a^{fc}_{ij} q_j

    Args:
        sentence: :math:`h`, ``(*batch, word, d)``, ``N`` real words each; leading dimensions broadcast.
        aspect: :math:`q`, ``(*batch, aspect_word, d)``.
        weight: :math:`w`, ``(3 d,)``: the parts of the sentence's word, of the aspect's word, of their product.
        sentence_mask: ``(*batch, word)``, True = a real word; others are neither attended to nor part of the mean.
        aspect_mask: ``(*batch, aspect_word)``, the same of the aspect.

    Returns:
        A :class:`Fine`. Where either text has no word, all are zeros. With an aspect of one word, ``sentence`` is
        attention with the score :func:`trilinear`.

    Raises:
        TypeError: a text is no floating point tensor, or a mask is not boolean.
        ValueError: shapes do not fit.

    Source: Fan et al. 2018, fine-grained attention [fan2018]; both ways after Seo et al. 2017 [seo2017].

    Departs from the source: masks. The re-implementation in ABSA-PyTorch has none, and in place of the mean of the
    :math:`a^{fc}_i` it has one softmax over :math:`\max_i U_{ij}`.

    >>> sentence, aspect = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [0.5]])
    >>> found = fine(sentence, aspect, weight=torch.tensor([0.0, 0.0, 2.0]))
    >>> found.aspect.energies.tolist(), found.sentence.energies.tolist()  # U, and the largest of each of its rows
    ([[0.0, 0.0], [2.0, 1.0]], [[0.0, 2.0]])
    """
    texts = _texts(sentence, aspect, sentence_mask, aspect_mask)
    size, count = sentence.shape[-1], aspect.shape[-2]
    check_parameter("weight", weight, **{"3 d": 3 * size})
    over_sentence, over_aspect = texts.masks()

    def largest(query: Tensor, key: Tensor) -> Tensor:
        """The words of the aspect ask as one query, set end to end, and the largest of their energies counts."""
        words = query.squeeze(-2).unflatten(-1, (count, size))  # type: ignore[no-untyped-call]
        energies = trilinear(words, key, weight=weight).masked_fill(~texts.aspect_mask.unsqueeze(-1), -torch.inf)
        return F.pad(energies, (0, 0, 0, 1), value=-torch.inf).amax(-2, keepdim=True)  # of no word: minus infinity

    by_aspect = attend(texts.aspect.flatten(-2).unsqueeze(-2), texts.sentence, score=largest, mask=over_sentence)
    by_word = attend(
        texts.sentence,
        texts.aspect,
        score=lambda q, k: trilinear(q, k, weight=_turned(weight)),
        mask=over_aspect & texts.sentence_mask.unsqueeze(-1),
    )
    return Fine(by_aspect, by_word, _mean(by_word.context, texts.sentence_mask))


class CoarseFine(nn.Module):
    r"""Both grains with their parameters: what the paper classifies by is ``features`` of what it gives.

    Args:
        d: size of the words' vectors.

    Source: Fan et al. 2018, the multi-grained attention layer [fan2018].

    >>> grains = CoarseFine(4)(torch.zeros(7, 4), torch.zeros(2, 4))
    >>> grains.features.shape, grains.fine.aspect.weights.shape
    (torch.Size([16]), torch.Size([7, 2]))
    """

    def __init__(self, d: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.sentence_weight = nn.Parameter(torch.empty(d, d, device=device, dtype=dtype))
        self.aspect_weight = nn.Parameter(torch.empty(d, d, device=device, dtype=dtype))
        self.fine_weight = nn.Parameter(torch.empty(3 * d, device=device, dtype=dtype))
        nn.init.xavier_uniform_(self.sentence_weight)
        nn.init.xavier_uniform_(self.aspect_weight)
        nn.init.uniform_(self.fine_weight, -(d**-0.5), d**-0.5)

    def forward(
        self,
        sentence: Sentence,
        aspect: Aspect,
        *,
        sentence_mask: SentenceMask | None = None,
        aspect_mask: AspectMask | None = None,
    ) -> Grains:
        """:func:`coarse` and :func:`fine`."""
        masks = {"sentence_mask": sentence_mask, "aspect_mask": aspect_mask}
        return Grains(
            coarse(sentence, aspect, sentence_weight=self.sentence_weight, aspect_weight=self.aspect_weight, **masks),
            fine(sentence, aspect, weight=self.fine_weight, **masks),
        )


def position_weights(
    start: Int[Tensor, "*batch"],
    length: Int[Tensor, "*batch"],
    *,
    mask: Bool[Tensor, "*batch word"],
    inside: float = 0.0,
) -> Float[Tensor, "*batch word"]:
    r"""Weights by which words count the more, the nearer they stand to the aspect.

    .. math:: w_t = 1 - \frac{l_t}{N - M + 1}

    Args:
        start: where the aspect begins, in real words from 0, ``(*batch,)``.
        length: :math:`M`, how many words it has, ``(*batch,)``.
        mask: ``(*batch, word)``, True = one of the :math:`N` real words. Padding counts neither in :math:`N` nor in the
            distance :math:`l_t`, which is 1 for the words next to the aspect.
        inside: the weight of the aspect's own words.

    Returns:
        ``(*batch, word)`` in the default precision, to be multiplied into the words' vectors; 0 for padding.

    Raises:
        TypeError: ``mask`` is not boolean, or another argument is not a tensor of integers.
        ValueError: the aspect does not lie within the sentence.

    Source: Fan et al. 2018, location encoding [fan2018].

    Departs from the source: what weight the aspect's own words have we could not check. 0 is that of the
    re-implementation in ABSA-PyTorch, which divides by :math:`N - M` and counts padding in :math:`N`.

    >>> position_weights(torch.tensor(1), torch.tensor(2), mask=torch.tensor([True] * 5 + [False]))
    tensor([0.7500, 0.0000, 0.0000, 0.7500, 0.5000, 0.0000])
    """
    check_boolean(mask)
    for name, number in (("start", start), ("length", length)):
        check_tensor(name, number)
        if number.is_floating_point() or number.dtype == torch.bool:
            raise TypeError(f"{name} must be integer, got dtype {number.dtype}")
        if number.shape != mask.shape[:-1]:
            raise ValueError(f"{name} must have shape {tuple(mask.shape[:-1])}, got {tuple(number.shape)}")
    start, length, count = start.unsqueeze(-1), length.unsqueeze(-1), mask.sum(-1, keepdim=True)
    if may_look(start, length, mask) and bool(((start < 0) | (length < 1) | (start + length > count)).any()):
        raise ValueError("start and length must name words within the sentence, the padding apart")
    place = mask.cumsum(-1) - 1
    distance = torch.maximum(start - place, place - (start + length - 1))
    weights = torch.where(distance > 0, 1 - distance / (count - length + 1), inside)
    return torch.where(mask, weights, 0.0)


def alignment_loss(
    weights: Float[Tensor, "*batch aspect word"],
    labels: Int[Tensor, "*batch aspect"],
    *,
    aspects: Float[Tensor, "*batch aspect d"] | None = None,
    weight: Float[Tensor, " 3*d"] | None = None,
    mask: Bool[Tensor, "*batch aspect"] | None = None,
) -> Float[Tensor, "*batch"]:
    r"""A loss that falls as aspects of one sentence with different labels look at different words.

    .. math::
        L = - \sum_{i < j, \; y_i \ne y_j} d_{ij} \sum_k (a_{ik} - a_{jk})^2, \qquad
        d_{ij} = \sigma(w^\top [q_i; q_j; q_i \circ q_j])

    Args:
        weights: :math:`a`, ``(*batch, aspect, word)``: of each aspect of a sentence over its words. The paper takes the
            coarse ones, :math:`a^{ca}`.
        labels: :math:`y`, ``(*batch, aspect)``.
        aspects: :math:`q`, ``(*batch, aspect, d)``, a vector each; without them :math:`d_{ij} = 1`.
        weight: :math:`w`, ``(3 d,)``, given if and only if ``aspects`` are. The slope by
            :math:`d_{ij}` is never above 0: this loss only ever asks for more of it.
        mask: ``(*batch, aspect)``, True = a real aspect; others do not count.

    Returns:
        The loss of each sentence, from minus twice the number of its pairs to 0, to be added with a weight.

    Raises:
        TypeError: ``weights`` is no floating point tensor, or ``mask`` is not boolean.
        ValueError: shapes do not fit, or of ``aspects`` and ``weight`` one is missing.

    Source: Fan et al. 2018, the aspect alignment loss [fan2018].

    >>> looks = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> alignment_loss(looks, torch.tensor([0, 1, 0]))  # of the pairs 01 and 12 the first differs, by 1 + 1
    tensor(-2.)
    """
    computed = as_computed(weights, "weights")
    if weights.ndim < 2 or labels.shape != weights.shape[:-1]:
        expected = "weights must be (*batch, aspect, word) and labels (*batch, aspect)"
        raise ValueError(f"{expected}, got shapes {tuple(weights.shape)} and {tuple(labels.shape)}")
    if (aspects is None) != (weight is None):
        raise ValueError(f"aspects and weight must be given together, got {'weight' if aspects is None else 'aspects'}")
    count = weights.shape[-2]
    pairs = labels.unsqueeze(-1) != labels.unsqueeze(-2)
    pairs = pairs & torch.ones(count, count, dtype=torch.bool, device=weights.device).triu(1)
    if mask is not None:
        check_boolean(mask)
        pairs = pairs & mask.unsqueeze(-1) & mask.unsqueeze(-2)
        computed = torch.where(mask.unsqueeze(-1), computed, 0.0)
    apart = (computed.unsqueeze(-2) - computed.unsqueeze(-3)).square().sum(-1)
    if aspects is not None and weight is not None:
        if mask is not None:
            aspects = without(~mask.unsqueeze(-1), aspects)
        size = aspects.shape[-1]
        check_parameter("weight", weight, **{"3 d": 3 * size})
        apart = torch.sigmoid(trilinear(aspects, aspects, weight=_turned(weight))) * apart
    return -torch.where(pairs, apart, 0.0).sum((-2, -1)).to(weights.dtype)


class _Texts(NamedTuple):
    """Two texts in which what must not count is taken out, and masks that are there."""

    sentence: Tensor
    aspect: Tensor
    sentence_mask: Tensor
    aspect_mask: Tensor

    def masks(self) -> tuple[Tensor, Tensor]:
        """Which words may be attended to, ``(*batch, 1, word)``: none where the other text has none to ask."""
        over_sentence = self.sentence_mask & self.aspect_mask.any(-1, keepdim=True)
        over_aspect = self.aspect_mask & self.sentence_mask.any(-1, keepdim=True)
        return over_sentence.unsqueeze(-2), over_aspect.unsqueeze(-2)


def _texts(sentence: Tensor, aspect: Tensor, sentence_mask: Tensor | None, aspect_mask: Tensor | None) -> _Texts:
    found = []
    for name, text, mask in (("sentence", sentence, sentence_mask), ("aspect", aspect, aspect_mask)):
        as_computed(text, name)
        if text.ndim < 2:
            raise ValueError(f"{name} must have shape (*batch, word, d), got shape {tuple(text.shape)}")
        if mask is None:
            mask = torch.ones(text.shape[:-1], dtype=torch.bool, device=text.device)
        check_boolean(mask)
        if not fits(mask.shape, text.shape[:-1]):
            raise ValueError(f"{name}_mask must fit {tuple(text.shape[:-1])}, got shape {tuple(mask.shape)}")
        found.append((text, mask.expand(text.shape[:-1])))
    (sentence, sentence_mask), (aspect, aspect_mask) = found
    if sentence.shape[-1] != aspect.shape[-1]:
        raise ValueError(f"aspect has d={aspect.shape[-1]} but sentence has d={sentence.shape[-1]}")
    hidden, aspect_hidden = ~sentence_mask.unsqueeze(-1), ~aspect_mask.unsqueeze(-1)
    return _Texts(without(hidden, sentence), without(aspect_hidden, aspect), sentence_mask, aspect_mask)


def _mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real ones, ``(*batch, 1, d)``; zeros where there is none."""
    total = torch.where(mask.unsqueeze(-1), wide(vectors), 0.0).sum(-2, keepdim=True)
    return (total / mask.sum(-1).clamp(min=1)[..., None, None]).to(vectors.dtype)


def _turned(weight: Tensor) -> Tensor:
    """The weight of :func:`trilinear` with the roles of query and key exchanged."""
    size = weight.shape[0] // 3
    return torch.cat([weight[size : 2 * size], weight[:size], weight[2 * size :]])
