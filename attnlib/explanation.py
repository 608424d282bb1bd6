r"""What a map of weights proves: the same weights in another order, other weights with the same answer, weights erased.

All of it is done to weights that a network has already given. Where the answer is a number that is linear in the
context, each item says a number of its own, its *value*, and the answer is the mean of these by the weights:

.. math:: c = \sum_i \alpha_i v_i, \qquad v_i = w^\top h_i + b

Then the weights that are farthest from those of the network, and say the same, can be found exactly.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ._checks import as_computed, check_boolean, fits

__all__ = ["Adversary", "adversarial", "divergence", "erased", "permuted"]


class Adversary(NamedTuple):
    """Other weights with the same answer, and how far they are from the ones that were given."""

    weights: Float[Tensor, "*batch key"]
    divergence: Float[Tensor, "*batch"]


def divergence(
    first: Float[Tensor, "*batch key"],
    second: Float[Tensor, "*batch key"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch"]:
    r"""The divergence of Jensen and Shannon: how far two maps are from each other, in nats.

    .. math:: \tfrac12 \sum_i \Big( p_i \log \frac{2 p_i}{p_i + q_i} + q_i \log \frac{2 q_i}{p_i + q_i} \Big)

    Args:
        first: :math:`p`, weights that sum to one, ``(*batch, key)``.
        second: :math:`q`, as ``first``.
        mask: True = counts; broadcasts to the weights.

    Returns:
        From 0, the same, to :math:`\log 2`, where no item has weight in both, ``(*batch)``.

    Raises:
        TypeError: weights are not floating point, or the mask is not boolean.
        ValueError: shapes do not fit.

    Source: Jain and Wallace 2019, section 4.2 [jain2019].

    >>> divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))  # log 2
    tensor(0.6931)
    """
    p, seen = _visible("first", first, mask)
    q = torch.where(seen, _like("second", second, p), 0.0)
    return (_part(p, q) + _part(q, p)).sum(-1)


def permuted(
    weights: Float[Tensor, "*batch key"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch key"]:
    r"""The same weights in an order that is drawn, for each row by itself; every order is as likely as any other.

    .. math:: \alpha'_i = \alpha_{\pi(i)}

    For many orders of the same weights, expand them first.

    Args:
        weights: ``(*batch, key)``.
        mask: True = a place that takes part; broadcasts to the weights. Hidden places have no weight.
        generator: what draws; by default torch's own.

    Returns:
        Weights of the same shape.

    Raises:
        TypeError: weights are not floating point, or the mask is not boolean.
        ValueError: the mask does not fit.

    Source: Jain and Wallace 2019, section 4.2 [jain2019].

    >>> drawn = permuted(torch.tensor([0.7, 0.2, 0.1, 0.0]), mask=torch.tensor([True, True, True, False]))
    >>> drawn.sort().values, drawn[3].item()
    (tensor([0.0000, 0.1000, 0.2000, 0.7000]), 0.0)
    """
    given, seen = _visible("weights", weights, mask)
    drawn = torch.rand(given.shape, generator=generator, device=given.device)
    source = torch.where(seen, drawn, 2.0).argsort(-1)  # what is visible first, in an order that is drawn
    target = (~seen).to(torch.uint8).argsort(dim=-1, stable=True)
    return torch.zeros_like(given).scatter(-1, target, given.gather(-1, source)).to(weights.dtype)


def adversarial(
    weights: Float[Tensor, "*batch key"],
    values: Float[Tensor, "*batch key"],
    low: Float[Tensor, "*batch"],
    high: Float[Tensor, "*batch"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
) -> Adversary:
    r"""The weights that are farthest from the given ones among all whose answer lies in an interval.

    .. math:: \arg\max_{\alpha' \in \Delta} \mathrm{JSD}(\alpha, \alpha') \quad \text{with} \quad
        \mathrm{low} \le \sum_i \alpha'_i v_i \le \mathrm{high}

    It is exact. The divergence is convex in :math:`\alpha'`, so it is largest at a corner of what is allowed, and a
    corner of a simplex between two parallel planes has at most two items with weight. All pairs are tried.

    Args:
        weights: :math:`\alpha`, that sum to one over what is visible, ``(*batch, key)``.
        values: :math:`v`, what each item says by itself, ``(*batch, key)``.
        low: the least that the answer may be, ``(*batch)``.
        high: the most; the answer of ``weights`` must lie between them.
        mask: True = an item; broadcasts to the weights.

    Returns:
        An :class:`Adversary`; zeros for a row in which nothing is visible.

    Raises:
        TypeError: weights are not floating point, or the mask is not boolean.
        ValueError: shapes do not fit, or an answer lies outside of its interval.

    Source: Jain and Wallace 2019, section 4.2 [jain2019], who ask for it and search by gradient.

    Departs from the source: they take weights for any output and find a local maximum; this needs one number as the
    answer, and finds the global one.

    >>> weights, values = torch.tensor([0.8, 0.1, 0.1]), torch.tensor([1.0, 0.0, 2.0])
    >>> other = adversarial(weights, values, torch.tensor(1.0), torch.tensor(1.0))
    >>> other.weights  # half of what the second says, 0, and half of what the third says, 2
    tensor([0.0000, 0.5000, 0.5000])
    """
    p, seen = _visible("weights", weights, mask)
    v = torch.where(seen, _like("values", values, p), 0.0)
    ends = torch.stack([_like("low", low, p[..., 0]), _like("high", high, p[..., 0])], -1)
    own = (p * v).sum(-1)
    slack = 1e-5 * (1 + v.abs().amax(-1))
    if bool((seen.any(-1) & ~((own >= ends[..., 0] - slack) & (own <= ends[..., 1] + slack))).any()):
        raise ValueError("low and high must hold the answer of weights between them, got an answer outside")
    best, i, j, share = _corner(p, v, ends, seen)
    other = torch.zeros_like(p).scatter_add(-1, i, 1 - share).scatter_add(-1, j, share)
    other = torch.where((best >= 0).unsqueeze(-1), other, p)  # no corner, but for rounding: the weights themselves
    return Adversary(other.to(weights.dtype), best.clamp(min=0).to(weights.dtype))


def _corner(p: Tensor, v: Tensor, ends: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The farthest of all corners: its divergence, below 0 for none; its two items; the share of the second.

    A corner is a pair of which one says less than an end of the interval and one more, mixed so that they say it; or an
    item that says by itself what is allowed, which is its own partner.
    """
    n = p.shape[-1]
    first, second = v[..., None, :, None], v[..., None, None, :]  # (*batch, end, item, item)
    end = ends[..., None, None]
    real = (seen.unsqueeze(-1) & seen.unsqueeze(-2)).unsqueeze(-3)
    mixed = real & (first < second) & (first <= end) & (end <= second)
    share = torch.where(mixed, (end - first) / torch.where(mixed, second - first, 1.0), 0.0)
    allowed = (v >= ends[..., :1]) & (v <= ends[..., 1:])
    itself = torch.eye(n, dtype=torch.bool, device=p.device) & allowed.unsqueeze(-1)
    left, right = p[..., None, :, None], p[..., None, None, :]
    apart = _part(left, 1 - share) + _part(1 - share, left) + _part(right, share) + _part(share, right)
    both = 0.5 * math.log(2) * (1 - left - right) + apart
    one = 0.5 * math.log(2) * (1 - p) + _part(p, torch.ones_like(p)) + _part(torch.ones_like(p), p)
    far = torch.where(mixed, both, -1.0)
    far = torch.where(real & itself.unsqueeze(-3), one[..., None, :, None], far)
    best, place = far.flatten(-3).max(-1)
    place = place.unsqueeze(-1)
    return best, place // n % n, place % n, share.flatten(-3).gather(-1, place)


def erased(
    weights: Float[Tensor, "*batch key"],
    rank: Float[Tensor, "*batch key"],
    *,
    mask: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch step key"]:
    r"""What is left of the weights when items are erased one after another, those of the highest rank first.

    .. math:: \alpha^{(s)}_i = \frac{\alpha_i [i \notin S_s]}{\sum_{j \notin S_s} \alpha_j}

    Args:
        weights: ``(*batch, key)``.
        rank: the larger, the earlier it goes, ``(*batch, key)``; of equal ones the first.
        mask: True = an item; broadcasts to the weights. What is hidden has no weight, and goes last.

    Returns:
        ``(*batch, key + 1, key)``: step 0 has all items, the last none. Where no weight is left there are zeros.

    Raises:
        TypeError: weights are not floating point, or the mask is not boolean.
        ValueError: shapes do not fit.

    Source: Serrano and Smith 2019 [serrano2019].

    >>> erased(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([2.0, 0.0, 1.0]))
    tensor([[0.5000, 0.2500, 0.2500],
            [0.0000, 0.5000, 0.5000],
            [0.0000, 1.0000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    given, seen = _visible("weights", weights, mask)
    by = torch.where(seen, _like("rank", rank, given), -torch.inf)
    turn = by.argsort(dim=-1, descending=True, stable=True).argsort(-1).unsqueeze(-2)  # when each goes
    steps = torch.arange(given.shape[-1] + 1, device=given.device).unsqueeze(-1)
    left = torch.where(turn >= steps, given.unsqueeze(-2), 0.0)
    total = left.sum(-1, keepdim=True)
    return (left / torch.where(total > 0, total, 1.0)).to(weights.dtype)


def _visible(name: str, weights: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The weights in single precision at least, 0 where they are hidden, and what is visible."""
    given = as_computed(weights, name)
    if given.ndim < 1:
        raise ValueError(f"{name} must have shape (*batch, key), got a number")
    if mask is None:
        return given, torch.ones_like(given, dtype=torch.bool)
    check_boolean(mask)
    if not fits(mask.shape, given.shape):
        raise ValueError(f"mask must broadcast to {name} {tuple(given.shape)}, got shape {tuple(mask.shape)}")
    seen = mask.expand(given.shape)
    return torch.where(seen, given, 0.0), seen


def _like(name: str, tensor: Tensor, other: Tensor) -> Tensor:
    given = as_computed(tensor, name)
    if not fits(given.shape, other.shape):
        raise ValueError(f"{name} must fit shape {tuple(other.shape)}, got shape {tuple(given.shape)}")
    return given.expand(other.shape).to(other.dtype)


def _part(p: Tensor, q: Tensor) -> Tensor:
    """What a pair of weights adds to the divergence on the side of ``p``; 0 where ``p`` is 0."""
    both = torch.where(p > 0, p + q, 1.0)
    return 0.5 * torch.where(p > 0, p * torch.log(torch.where(p > 0, 2 * p, 1.0) / both), 0.0)
