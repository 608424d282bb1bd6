"""Co-attention: an image and a question tell each other where to look, at the same time or in turn.

What a mask hides is zero before anything is computed. A mask at the softmax alone would not do: each region adds up all
words and each word all regions before there is any weight.
"""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .._checks import as_computed, check_boolean, check_parameter, fits
from .._rows import times
from ..attention import Attention, attend
from ..scores import additive, dot

__all__ = [
    "Alternation",
    "CoAttention",
    "Guidance",
    "alternating",
    "by_maximum",
    "parallel",
]


class CoAttention(NamedTuple):
    """What two sides that ask each other come to: an :class:`~attnlib.attention.Attention` each, and their affinity."""

    image: Attention
    question: Attention
    affinity: Float[Tensor, "*batch word region"]


class Alternation(NamedTuple):
    """What taking turns comes to: the question's first summary, the image asked by it, the question asked again."""

    summary: Attention
    image: Attention
    question: Attention


class Guidance(NamedTuple):
    """Parameters of one turn: ``weight`` ``(d_hidden, d)`` of what is asked, ``vector`` ``(d_hidden,)``, and
    ``guide_weight`` ``(d_hidden, d_guide)`` of what asks; None where nothing does."""

    weight: Tensor
    vector: Tensor
    guide_weight: Tensor | None = None


def parallel(
    image: Float[Tensor, "*#batch region d_image"],
    question: Float[Tensor, "*#batch word d_question"],
    *,
    affinity_weight: Float[Tensor, "d_question d_image"],
    image_weight: Float[Tensor, "d_hidden d_image"],
    question_weight: Float[Tensor, "d_hidden d_question"],
    image_vector: Float[Tensor, " d_hidden"],
    question_vector: Float[Tensor, " d_hidden"],
    image_mask: Bool[Tensor, "*#batch region"] | None = None,
    question_mask: Bool[Tensor, "*#batch word"] | None = None,
) -> CoAttention:
    r"""Attend to image and question at once, each side with what it gathers from the other by their affinity.

    .. math::
        C = \tanh(Q W_b V^\top), \quad
        H^v = \tanh(V W_v^\top + C^\top Q W_q^\top), \quad H^q = \tanh(Q W_q^\top + C V W_v^\top)

    .. math:: \alpha^v = \mathrm{softmax}(H^v w_v), \quad \alpha^q = \mathrm{softmax}(H^q w_q)

    Args:
        image: :math:`V`, ``(*batch, region, d_image)``, a row per region.
        question: :math:`Q`, ``(*batch, word, d_question)``, a row per word.
        affinity_weight: :math:`W_b`, ``(d_question, d_image)``.
        image_weight: :math:`W_v`, ``(d_hidden, d_image)``.
        question_weight: :math:`W_q`, ``(d_hidden, d_question)``.
        image_vector: :math:`w_v`, ``(d_hidden,)``.
        question_vector: :math:`w_q`, ``(d_hidden,)``.
        image_mask: True = a real region, ``(*batch, region)``.
        question_mask: True = a real word, ``(*batch, word)``.

    Returns:
        A :class:`CoAttention`. Contexts ``(*batch, 1, d)``, weights and energies ``(*batch, 1, region or word)``. What
        a mask hides has affinity zero, is added to nothing and gets no weight. A side of which nothing can be seen
        gives zeros, and the other attends to itself. NaN in a word or region that is seen spoils its example.

    Raises:
        TypeError: an argument is not floating point, or a mask is not boolean.
        ValueError: a parameter or a mask does not fit.

    Source: Lu et al. 2016, Eq. 3 to 5 [lu2016].

    Departs from the source: rows and not columns; masks, on both sides.

    >>> image, question, one = torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0]]), torch.ones(1, 1)
    >>> given = {"affinity_weight": one, "image_weight": one, "question_weight": one}
    >>> result = parallel(image, question, **given, image_vector=one[0], question_vector=one[0])
    >>> result.affinity  # tanh(2) and tanh(-2)
    tensor([[ 0.9640, -0.9640]])
    >>> result.image.energies  # tanh(1 + 0.964 x 2) and its negative
    tensor([[ 0.9943, -0.9943]])
    """
    regions, words = _seen("image", image, image_mask), _seen("question", question, question_mask)
    d_hidden, d_image, d_question = len(image_vector), image.shape[-1], question.shape[-1]
    check_parameter("affinity_weight", affinity_weight, d_question=d_question, d_image=d_image)
    check_parameter("image_weight", image_weight, d_hidden=d_hidden, d_image=d_image)
    check_parameter("question_weight", question_weight, d_hidden=d_hidden, d_question=d_question)
    check_parameter("question_vector", question_vector, d_hidden=d_hidden)
    affinity = _affinity(words, regions, affinity_weight)
    from_image, from_question = times(regions, image_weight.mT), times(words, question_weight.mT)
    image_hidden = torch.tanh(from_image + times(affinity.mT, from_question))
    question_hidden = torch.tanh(from_question + times(affinity, from_image))
    image_query, question_query = (vector.unsqueeze(0).to(affinity.dtype) for vector in (image_vector, question_vector))
    looked = attend(image_query, image_hidden, regions, score=dot, mask=_row(image_mask))
    read = attend(question_query, question_hidden, words, score=dot, mask=_row(question_mask))
    return CoAttention(_as(image, looked), _as(question, read), affinity.to(question.dtype))


def by_maximum(
    image: Float[Tensor, "*#batch region d_image"],
    question: Float[Tensor, "*#batch word d_question"],
    *,
    affinity_weight: Float[Tensor, "d_question d_image"],
    image_mask: Bool[Tensor, "*#batch region"] | None = None,
    question_mask: Bool[Tensor, "*#batch word"] | None = None,
) -> CoAttention:
    r"""Attend to image and question by the largest affinity alone: the cheaper of the two parallel forms.

    .. math:: e^v_n = \max_t C_{tn}, \qquad e^q_t = \max_n C_{tn}, \qquad C = \tanh(Q W_b V^\top)

    Args:
        image: :math:`V`, ``(*batch, region, d_image)``.
        question: :math:`Q`, ``(*batch, word, d_question)``.
        affinity_weight: :math:`W_b`, ``(d_question, d_image)``.
        image_mask: True = a real region, ``(*batch, region)``.
        question_mask: True = a real word, ``(*batch, word)``.

    Returns:
        As :func:`parallel`. Energies lie in [-1, 1], so that of ``n`` regions none can get more than :math:`e^2`
        times the weight of another. Where the other side has nothing to be seen all energies are zero.

    Raises:
        TypeError: an argument is not floating point, or a mask is not boolean.
        ValueError: a parameter or a mask does not fit.

    Source: Lu et al. 2016, section 3.3 [lu2016].

    Departs from the source: a softmax makes weights of the maxima, which the paper takes as they are; masks.

    >>> image, question, one = torch.tensor([[0.0], [9.0]]), torch.tensor([[9.0], [-9.0]]), torch.ones(1, 1)
    >>> by_maximum(image, question, affinity_weight=one).image.energies  # of the word that fits better
    tensor([[0., 1.]])
    """
    regions, words = _seen("image", image, image_mask), _seen("question", question, question_mask)
    check_parameter("affinity_weight", affinity_weight, d_question=question.shape[-1], d_image=image.shape[-1])
    affinity = _affinity(words, regions, affinity_weight)
    one = affinity.new_ones(1, 1)
    best_word = _largest(affinity.mT, question_mask).unsqueeze(-1)
    best_region = _largest(affinity, image_mask).unsqueeze(-1)
    return CoAttention(
        _as(image, attend(one, best_word, regions, score=dot, mask=_row(image_mask))),
        _as(question, attend(one, best_region, words, score=dot, mask=_row(question_mask))),
        affinity.to(question.dtype),
    )


def alternating(
    image: Float[Tensor, "*#batch region d_image"],
    question: Float[Tensor, "*#batch word d_question"],
    *,
    summary: Guidance,
    to_image: Guidance,
    to_question: Guidance,
    image_mask: Bool[Tensor, "*#batch region"] | None = None,
    question_mask: Bool[Tensor, "*#batch word"] | None = None,
) -> Alternation:
    r"""Attend in turn: sum up the question, look at the image with that, and at the question with what was seen.

    .. math:: \mathcal{A}(X; g): \quad e_i = w^\top \tanh(W x_i + W_g g), \quad \alpha = \mathrm{softmax}(e),
        \quad \hat x = \sum_i \alpha_i x_i

    .. math:: \hat s = \mathcal{A}(Q; 0), \qquad \hat v = \mathcal{A}(V; \hat s), \qquad \hat q = \mathcal{A}(Q; \hat v)

    Each turn is :func:`attnlib.attend` with the additive score and one query, the guide.

    Args:
        image: :math:`V`, ``(*batch, region, d_image)``.
        question: :math:`Q`, ``(*batch, word, d_question)``.
        summary: of the first turn; its guide is zero, so that it has no ``guide_weight``.
        to_image: of the second, ``guide_weight`` ``(d_hidden, d_question)``.
        to_question: of the third, ``guide_weight`` ``(d_hidden, d_image)``.
        image_mask: True = a real region, ``(*batch, region)``.
        question_mask: True = a real word, ``(*batch, word)``.

    Returns:
        An :class:`Alternation`. Contexts ``(*batch, 1, d)``, weights and energies ``(*batch, 1, region or word)``. A
        side of which nothing can be seen gives zeros, and is a guide of zeros.

    Raises:
        TypeError: an argument is not floating point, or a mask is not boolean.
        ValueError: a parameter or a mask does not fit, or a turn lacks or has a ``guide_weight`` that it should not.

    Source: Lu et al. 2016, Eq. 6 [lu2016].

    Departs from the source: rows and not columns; masks, on both sides.

    >>> one, eye = torch.ones(1, 1), torch.eye(1)
    >>> turn = Guidance(eye, one[0], eye)
    >>> image, question = torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0]])
    >>> found = alternating(image, question, summary=Guidance(eye, one[0]), to_image=turn, to_question=turn)
    >>> found.image.energies  # tanh(1 + 2) and tanh(-1 + 2)
    tensor([[0.9951, 0.7616]])
    """
    if summary.guide_weight is not None:
        raise ValueError("summary must be without a guide_weight, for nothing guides the first turn; got one")
    regions, words = _seen("image", image, image_mask), _seen("question", question, question_mask)
    first = _asked("summary", words, None, summary, question_mask)
    looked = _asked("to_image", regions, first.context, to_image, image_mask)
    again = _asked("to_question", words, looked.context, to_question, question_mask)
    return Alternation(_as(question, first), _as(image, looked), _as(question, again))


def _seen(name: str, given: Tensor, mask: Tensor | None) -> Tensor:
    """One side in single precision at least, zero where its mask hides."""
    computed = as_computed(given, name)
    if given.ndim < 2:
        raise ValueError(f"{name} must have shape (*batch, item, size), got shape {tuple(given.shape)}")
    if mask is None:
        return computed
    check_boolean(mask)
    if mask.ndim < 1 or mask.shape[-1] != given.shape[-2] or not fits(mask.shape, given.shape[:-1]):
        expected = f"must broadcast to {tuple(given.shape[:-1])}, an entry per item"
        raise ValueError(f"{name}_mask {expected}, got shape {tuple(mask.shape)}")
    return torch.where(mask.unsqueeze(-1), computed, 0.0)


def _affinity(words: Tensor, regions: Tensor, weight: Tensor) -> Tensor:
    return torch.tanh(times(times(words, weight), regions.mT))


def _largest(affinity: Tensor, mask: Tensor | None) -> Tensor:
    """The largest of each row among what may be seen; zero where nothing may."""
    if affinity.shape[-1] == 0:
        return affinity.sum(-1)
    if mask is None:
        return affinity.amax(-1)
    open_, seen = mask.unsqueeze(-2), mask.any(-1, keepdim=True)
    return torch.where(seen, torch.where(open_ | ~seen.unsqueeze(-1), affinity, -torch.inf).amax(-1), 0.0)


def _asked(name: str, items: Tensor, guide: Tensor | None, given: Guidance, mask: Tensor | None) -> Attention:
    """One turn: the items asked by the guide, each a ``(*batch, 1, d_guide)``; by nothing, which is zero."""
    if guide is not None and given.guide_weight is None:
        raise ValueError(f"{name} must have a guide_weight, got None")
    guide = items.new_zeros(1, 1) if guide is None else guide
    guide_weight = items.new_zeros(len(given.vector), 1) if given.guide_weight is None else given.guide_weight
    check_parameter(f"{name}.weight", given.weight, d_hidden=len(given.vector), d=items.shape[-1])
    check_parameter(f"{name}.guide_weight", guide_weight, d_hidden=len(given.vector), d_guide=guide.shape[-1])
    vector, key_weight, query_weight = (part.to(items.dtype) for part in (given.vector, given.weight, guide_weight))
    score = partial(additive, vector=vector, key_weight=key_weight, query_weight=query_weight)
    return attend(guide, items, score=score, mask=_row(mask))


def _row(mask: Tensor | None) -> Tensor | None:
    """A mask of keys as that of one query."""
    return None if mask is None else mask.unsqueeze(-2)


def _as(like: Tensor, found: Attention) -> Attention:
    """The result in the precision of what was given; energies stay in that of the arithmetic."""
    assert found.weights is not None
    return Attention(found.context.to(like.dtype), found.weights.to(like.dtype), found.energies)
