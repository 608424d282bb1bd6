"""Soft and hard attention: the expectation over positions, or one position drawn (article § 3.1, Eq. 12).

Soft attention hands over the mean of the values under the weights. Hard attention draws one position with the weights
as probabilities and hands over its value alone. A draw has no derivative, so what is trained is a bound ``B`` on the
log-likelihood, and its gradient is estimated. Every estimator here is a *loss*: a scalar a row whose automatic
derivative is the estimate, so that one call of ``backward`` trains what came before the draw and what came after it.

The first axis of what is drawn or enumerated is the sample; ``log_likelihood`` and ``log_probability`` have that axis
first and the batch behind it. A model that draws at several steps adds the log-probabilities of its steps.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .._checks import Number, as_computed, checked_temperature, fits, is_traced
from ..distributions import softmax

__all__ = [
    "Draw",
    "bound",
    "entropy",
    "enumerate_positions",
    "half_expectation",
    "log_marginal",
    "reinforce_loss",
    "sample",
    "straight_through_gumbel",
    "take",
]


class Draw(NamedTuple):
    """Positions drawn or enumerated, the sample axis first.

    What was selected is one-hot and has no gradient; which position it was is a whole number; the log-probability of
    the draw has the gradient of the weights. A row with nothing to draw from has a selection of zeros, position -1
    and log-probability 0.
    """

    selection: Float[Tensor, "sample *batch key"]
    position: Int[Tensor, "sample *batch"]
    log_probability: Float[Tensor, "sample *batch"]


def sample(
    weights: Float[Tensor, "*batch key"], n_samples: int = 1, *, generator: torch.Generator | None = None
) -> Draw:
    r"""Draw positions with the weights as probabilities, independently for each row and sample.

    .. math:: \tilde s \sim \mathrm{Multinoulli}(\{\alpha_i\}), \qquad p(\tilde s_i = 1) = \alpha_i

    A row of nothing but zeros (everything behind the mask) draws nothing: selection zeros, position -1,
    log-probability 0. A position of weight 0 is never drawn.

    Args:
        weights: ``(*batch, key)``, each row at least 0 with sum 1, or all 0. Sums may be off by the root of the
            precision, for they come out of a softmax. In compiled code and under ``vmap`` the values are not looked at.
        n_samples: how many draws a row, at least 1.
        generator: where the random numbers come from; the same seed gives the same draws.

    Returns:
        A :class:`Draw` of ``n_samples``.

    Raises:
        TypeError: ``weights`` is not a floating point tensor; ``n_samples`` is not a whole number.
        ValueError: a row holds NaN, a negative weight, or a sum that is neither 1 nor 0; there are no keys;
            ``n_samples`` is below 1.

    Source: Xu et al. 2015, section 4.1 [xu2015]; Eq. 12 of the article.

    Departs from the source: a row with nothing to draw from is defined.

    >>> sample(torch.tensor([0.0, 1.0, 0.0]), 2).selection
    tensor([[0., 1., 0.],
            [0., 1., 0.]])
    """
    computed = _probabilities(weights)
    if isinstance(n_samples, bool) or not isinstance(n_samples, int):
        raise TypeError(f"n_samples must be a whole number, got {type(n_samples).__name__}")
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
    # Exponential clocks of rates alpha: the first to ring is position i with probability alpha_i.
    clocks = computed.new_empty((n_samples, *weights.shape))
    clocks = clocks.exponential_(generator=generator)
    drawn = (computed.detach() / clocks).argmax(-1)
    empty = (computed.detach() == 0).all(-1).expand(drawn.shape)
    chosen = computed.expand(clocks.shape).gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
    log_probability = torch.where(empty, 1.0, chosen).log()
    selection = nn.functional.one_hot(drawn, weights.shape[-1]).masked_fill(empty.unsqueeze(-1), 0)
    return Draw(selection.to(weights.dtype), drawn.masked_fill(empty, -1), log_probability.to(weights.dtype))


def enumerate_positions(weights: Float[Tensor, "*batch key"]) -> Draw:
    """Every position once, in order, as if each had been drawn: for the exact bound and its exact gradient.

    Args:
        weights: as for :func:`sample`.

    Returns:
        A :class:`Draw` of as many samples as there are keys; ``log_probability`` is minus infinity at weight 0.

    Raises:
        TypeError: as for :func:`sample`.
        ValueError: as there.

    Source: Xu et al. 2015, Eq. 10 and 11 [xu2015].

    >>> enumerate_positions(torch.tensor([0.25, 0.75])).log_probability.exp()
    tensor([0.2500, 0.7500])
    """
    computed = _probabilities(weights)
    n, batch = weights.shape[-1], weights.shape[:-1]
    places = torch.arange(n, device=weights.device).view(n, *(1 for _ in batch)).expand(n, *batch)
    possible = computed > 0
    logs = torch.where(possible, computed, 1.0).log().masked_fill(~possible, -math.inf)
    selection = nn.functional.one_hot(places, n).to(weights.dtype)
    return Draw(selection, places, logs.movedim(-1, 0).to(weights.dtype))


def take(position: Int[Tensor, "sample *batch query"], value: Float[Tensor, "*batch key d_v"]) -> Tensor:
    r"""The value at each drawn position; no other value is read.

    .. math:: c = \sum_i \tilde s_i v_i = v_m, \qquad \tilde s_m = 1

    Args:
        position: of a :class:`Draw` of weights ``(*batch, query, key)``; -1 gives zeros.
        value: ``(*batch, key, d_v)``.

    Returns:
        Contexts ``(sample, *batch, query, d_v)``, with the gradient of the drawn values.

    Raises:
        ValueError: the batch axes differ, or a position has no value.

    Source: Xu et al. 2015, Eq. 9 [xu2015].

    >>> take(torch.tensor([[1], [0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[[3., 4.]],
    <BLANKLINE>
            [[1., 2.]]])
    """
    if position.shape[1:-1] != value.shape[:-2]:
        batches = tuple(position.shape[1:-1]), tuple(value.shape[:-2])
        raise ValueError(f"position has batch axes {batches[0]} but value has {batches[1]}")
    if position.is_floating_point() or position.dtype == torch.bool:
        raise TypeError(f"position must be of whole numbers, got dtype {position.dtype}")
    is_known = not is_traced() and position.numel() > 0
    lowest, highest = (int(end) for end in position.aminmax()) if is_known else (-1, -1)
    n, d_v = value.shape[-2:]
    if highest >= n or lowest < -1:
        raise ValueError(f"position has {highest if highest >= n else lowest} but value has {n} keys")
    if n == 0:
        return value.new_zeros((*position.shape, d_v))
    place = position.clamp(min=0)
    if position.shape[0] == 1:  # whole rows are copied in a tenth of the time
        first = torch.arange(math.prod(value.shape[:-2]), device=place.device).view(*place.shape[1:-1], 1) * n
        taken = (
            value.reshape(math.prod(value.shape[:-1]), d_v)
            .index_select(0, (place + first).flatten())
            .view(*place.shape, d_v)
        )
    else:
        rows = value.expand(position.shape[0], *value.shape)
        taken = rows.gather(-2, place.unsqueeze(-1).expand(*place.shape, d_v))
    return taken if lowest >= 0 else taken.masked_fill((position < 0).unsqueeze(-1), 0.0)


def bound(
    log_likelihood: Float[Tensor, "position *batch"], log_probability: Float[Tensor, "position *batch"]
) -> Float[Tensor, "*batch"]:
    r"""The bound that hard attention maximises: the mean log-likelihood over all positions.

    .. math:: B = \sum_s p(s \mid a) \log p(y \mid s, a) \le \log p(y \mid a)

    Its automatic derivative is the exact gradient, with both terms of the product rule.

    Args:
        log_likelihood: of the answer given each position. What stands at probability 0 does not count.
        log_probability: of :func:`enumerate_positions`.

    Returns:
        ``B`` of each row; 0 where there is nothing to draw from.

    Raises:
        ValueError: the shapes differ, or there are no positions.

    Source: Xu et al. 2015, Eq. 10 and 11 [xu2015].

    >>> bound(torch.tensor([-2.0, -4.0]), torch.tensor([0.25, 0.75]).log())  # -0.5 - 3
    tensor(-3.5000)
    """
    _alike(log_likelihood, log_probability, "position")
    possible = log_probability > -math.inf
    return (log_probability.exp() * torch.where(possible, log_likelihood, 0.0)).sum(0)


def log_marginal(
    log_likelihood: Float[Tensor, "position *batch"], log_probability: Float[Tensor, "position *batch"]
) -> Float[Tensor, "*batch"]:
    r"""The log-likelihood itself, which :func:`bound` stays below by Jensen's inequality.

    .. math:: \log p(y \mid a) = \log \sum_s p(s \mid a) \, p(y \mid s, a)

    Args:
        log_likelihood: as for :func:`bound`.
        log_probability: as there.

    Returns:
        ``log p(y | a)`` of each row; minus infinity where there is nothing to draw from.

    Raises:
        ValueError: as there.

    Source: Xu et al. 2015, Eq. 10 [xu2015].

    >>> likelihood = torch.tensor([0.5, 0.1])
    >>> log_marginal(likelihood.log(), torch.tensor([0.25, 0.75]).log()).exp()  # 0.125 + 0.075
    tensor(0.2000)
    """
    _alike(log_likelihood, log_probability, "position")
    possible = log_probability > -math.inf
    joint = torch.where(possible, log_likelihood + log_probability, -math.inf)
    none = ~possible.any(0)
    return torch.logsumexp(joint.masked_fill(none, 0.0), 0).masked_fill(none, -math.inf)


def reinforce_loss(
    log_likelihood: Float[Tensor, "sample *batch"],
    log_probability: Float[Tensor, "sample *batch"],
    *,
    baseline: Number = 0.0,
    reward_weight: float = 1.0,
    entropy: Float[Tensor, "*batch"] | None = None,
    entropy_weight: float = 0.0,
) -> Float[Tensor, "*batch"]:
    r"""A loss whose derivative is the REINFORCE estimate of minus the gradient of the bound.

    .. math::
        -\frac{1}{N} \sum_{n=1}^N \Big[ \partial \log p(y \mid \tilde s^n)
        + \lambda_r \big(\log p(y \mid \tilde s^n) - b\big) \, \partial \log p(\tilde s^n) \Big]
        - \lambda_e \, \partial H

    Unbiased for ``B`` when ``reward_weight`` is 1, ``entropy_weight`` is 0, and the baseline does not depend on the
    sample it is taken off. The *value* of the loss is the negative mean log-likelihood, less the weighted entropy.

    Args:
        log_likelihood: of the answer given each drawn position: the reward, and what trains everything after the draw.
        log_probability: of the draws; where a draw has several steps, their sum.
        baseline: ``b``, a number or what broadcasts to ``log_likelihood``; counts as a constant.
        reward_weight: ``lambda_r``; the authors' code has 1/10.
        entropy: of the weights, from :func:`entropy`; asked for when it has a weight.
        entropy_weight: ``lambda_e``; positive rewards spread. The authors' code has 0.002.

    Returns:
        One loss a row, to be summed or averaged and minimised.

    Raises:
        ValueError: shapes differ or do not broadcast; there are no samples; an entropy weight without an entropy.

    Source: Xu et al. 2015, section 4.1, its final rule [xu2015]; Williams 1992 [williams1992].

    >>> log_probability = torch.tensor([0.5]).log().requires_grad_()
    >>> reinforce_loss(torch.tensor([-3.0]), log_probability, baseline=-1.0).backward()
    >>> log_probability.grad  # -(-3 - -1): minimising lowers the probability of this draw
    tensor([2.])
    """
    _alike(log_likelihood, log_probability, "sample")
    if isinstance(baseline, Tensor):
        if not fits(baseline.shape, log_likelihood.shape):
            shapes = tuple(log_likelihood.shape), tuple(baseline.shape)
            raise ValueError(f"baseline must broadcast to log_likelihood {shapes[0]}, got shape {shapes[1]}")
        baseline = baseline.detach()
    pull = reward_weight * (log_likelihood.detach() - baseline) * log_probability
    loss = -(log_likelihood + (pull - pull.detach())).mean(0)
    if entropy is None:
        if entropy_weight != 0:
            raise ValueError(f"entropy must be given when entropy_weight is not 0, got None with {entropy_weight}")
        return loss
    if entropy.shape != loss.shape:
        raise ValueError(f"entropy must have shape {tuple(loss.shape)}, got {tuple(entropy.shape)}")
    return loss - entropy_weight * entropy


def entropy(weights: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch"]:
    r"""How spread the weights are, in nats.

    .. math:: H = -\sum_i \alpha_i \log \alpha_i

    Args:
        weights: ``(*batch, key)``; a weight of 0 adds nothing, in value and in gradient.

    Returns:
        The entropy of each row.

    Raises:
        TypeError: ``weights`` is not a floating point tensor.

    Source: Xu et al. 2015, section 4.1 [xu2015].

    >>> entropy(torch.tensor([0.5, 0.5, 0.0]))  # log 2
    tensor(0.6931)
    """
    computed = as_computed(weights, "weights")
    return (
        -torch.where(computed == 0, 0.0, computed * torch.where(computed == 0, 1.0, computed).log())
        .sum(-1)
        .to(weights.dtype)
    )


def half_expectation(
    weights: Float[Tensor, "*batch key"],
    draw: Draw,
    *,
    probability: float = 0.5,
    generator: torch.Generator | None = None,
) -> Draw:
    r"""Replace a draw by its expectation, the weights themselves, with a probability; one coin a sample.

    .. math:: \hat s = h \, \tilde s + (1 - h) \, \alpha, \qquad h \sim \mathrm{Bernoulli}(1 - p)

    Where it is replaced the gradient goes through the weights as in soft attention, and the log-probability is 0. So
    the loss is, on average, half that of soft attention and half the bound: less noise, and biased as an estimate of
    the bound's gradient.

    Args:
        weights: that the draws were made from.
        draw: from :func:`sample`.
        probability: of taking the expectation, from 0 to 1.
        generator: where the coins come from.

    Returns:
        A :class:`Draw` whose ``selection`` is one-hot, or the weights (then ``position`` is -1); multiply it with
        the values.

    Raises:
        ValueError: ``probability`` is not from 0 to 1; the draw does not belong to the weights.

    Source: Xu et al. 2015, section 4.1 (their code throws one coin for a whole batch) [xu2015].

    >>> weights = torch.tensor([0.25, 0.75])
    >>> half_expectation(weights, sample(weights), probability=1.0).selection
    tensor([[0.2500, 0.7500]])
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be from 0 to 1, got {probability}")
    if draw.selection.shape[1:] != weights.shape:
        shapes = tuple(draw.selection.shape[1:]), tuple(weights.shape)
        raise ValueError(f"draw must come from weights {shapes[1]}, got one of rows {shapes[0]}")
    n = draw.selection.shape[0]
    soft = torch.rand(n, generator=generator, device=weights.device) < probability
    soft = soft.view(n, *(1 for _ in weights.shape[:-1]))
    selection = torch.where(soft.unsqueeze(-1), weights, draw.selection)
    return Draw(selection, draw.position.masked_fill(soft, -1), draw.log_probability.masked_fill(soft, 0.0))


def straight_through_gumbel(
    energies: Float[Tensor, "*batch key"],
    n_samples: int = 1,
    *,
    temperature: Number = 1.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "{n_samples} *batch key"]:
    r"""A draw forwards, the softmax of the noisy energies backwards.

    .. math::
        \tilde s = \mathrm{onehot} \arg\max_i (e_i + g_i), \qquad
        \partial \tilde s := \partial \, \mathrm{softmax}((e + g) / T), \qquad g_i \sim \mathrm{Gumbel}

    The draw follows ``softmax(energies)`` exactly. The derivative is that of something else, so it is biased.

    Args:
        energies: ``(*batch, key)``; minus infinity is never drawn, and a row of nothing else gives zeros.
        n_samples: how many draws a row, at least 1.
        temperature: ``T > 0`` of the backward softmax: small is less biased and noisier.
        generator: where the noise comes from.

    Returns:
        ``(sample, *batch, key)``, one-hot in value. A row with NaN is NaN.

    Raises:
        TypeError: ``energies`` is not a floating point tensor.
        ValueError: ``n_samples`` is below 1; ``temperature`` is not a positive number; there are no keys.

    Source: Jang et al. 2017, section 2.2 [jang2017]; the relaxation also in Maddison et al. 2017 [maddison2017].

    >>> straight_through_gumbel(torch.tensor([-math.inf, 0.0]))
    tensor([[0., 1.]])
    """
    computed = as_computed(energies)
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}")
    if computed.ndim == 0 or computed.shape[-1] == 0:
        raise ValueError(f"energies must have keys, got shape {tuple(energies.shape)}")
    noise = computed.new_empty((n_samples, *energies.shape))
    noise = noise.exponential_(generator=generator).clamp_min(torch.finfo(computed.dtype).tiny)
    noisy = computed - noise.log()
    soft = softmax(noisy, temperature=checked_temperature(temperature))
    hard = nn.functional.one_hot(noisy.detach().argmax(-1), energies.shape[-1]).to(soft.dtype)
    empty = (computed.detach() == -math.inf).all(-1, keepdim=True)
    return (hard.masked_fill(empty, 0.0) + (soft - soft.detach())).to(energies.dtype)


def _probabilities(weights: Tensor) -> Tensor:
    """The weights in the precision of the arithmetic, looked at: each row sums to 1, or is all 0."""
    computed = as_computed(weights, "weights")
    if computed.ndim == 0 or computed.shape[-1] == 0:
        raise ValueError(f"weights must have keys, got shape {tuple(weights.shape)}")
    if is_traced() or computed.numel() == 0:
        return computed
    values = computed.detach()
    if bool(values.isnan().any()):
        raise ValueError("weights must be probabilities, got NaN")
    if bool((values < 0).any()):
        raise ValueError(f"weights must be probabilities, got the negative weight {values.min().item():g}")
    total = values.sum(-1)
    wrong = ((total - 1).abs() > torch.finfo(weights.dtype).eps ** 0.5) & (values > 0).any(-1)
    if bool(wrong.any()):
        raise ValueError(f"weights must sum to 1 in each row (or be all 0), got a sum of {total[wrong][0].item():g}")
    return computed


def _alike(log_likelihood: Tensor, log_probability: Tensor, axis: str) -> None:
    """Both have the same shape, and at least one sample or position."""
    if log_likelihood.shape != log_probability.shape:
        shapes = tuple(log_likelihood.shape), tuple(log_probability.shape)
        raise ValueError(f"log_likelihood has shape {shapes[0]} but log_probability has {shapes[1]}")
    if log_likelihood.ndim == 0 or log_likelihood.shape[0] == 0:
        raise ValueError(
            f"log_likelihood must have at least one {axis} on its first axis, got {tuple(log_likelihood.shape)}"
        )
