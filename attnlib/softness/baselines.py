"""Baselines: what :func:`~attnlib.softness.hard.reinforce_loss` takes off a reward, so that it varies less."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._checks import Number, fits

__all__ = ["LearnedBaseline", "MovingAverage", "baseline_loss", "moving_average"]


def moving_average(
    baseline: Number, log_likelihood: Float[Tensor, "sample *batch"], *, decay: float = 0.9
) -> Float[Tensor, ""]:
    r"""The baseline after one more batch.

    .. math:: b_k = 0.9 \, b_{k-1} + 0.1 \, \log p(y \mid \tilde s_k, a)

    Use the old one for the batch itself, as the authors' code does: a baseline that has seen its own sample biases.

    Args:
        baseline: ``b`` before the batch.
        log_likelihood: of the batch; its mean is taken.
        decay: what is kept of the old one, from 0 to 1.

    Returns:
        The new baseline, a number without a gradient.

    Raises:
        ValueError: ``decay`` is not from 0 to 1; ``log_likelihood`` is empty.

    Source: Xu et al. 2015, section 4.1 [xu2015].

    >>> moving_average(-1.0, torch.tensor([-2.0, -4.0]))  # -0.9 - 0.3
    tensor(-1.2000)
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be from 0 to 1, got {decay}")
    if log_likelihood.numel() == 0:
        raise ValueError(f"log_likelihood must hold something, got shape {tuple(log_likelihood.shape)}")
    return decay * baseline + (1 - decay) * log_likelihood.detach().mean()


class MovingAverage(nn.Module):
    """A baseline that remembers: :func:`moving_average`, started at 0.

    Args:
        decay: what is kept of the old value at each batch.

    Called with the log-likelihoods of a batch it gives the baseline *from before* it, and then, in training, takes
    them in.

    >>> baseline = MovingAverage()
    >>> baseline(torch.tensor([-2.0])), baseline(torch.tensor([-2.0]))
    (tensor(0.), tensor(-0.2000))
    """

    value: Tensor

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be from 0 to 1, got {decay}")
        self.decay = decay
        self.register_buffer("value", torch.zeros(()))

    def forward(self, log_likelihood: Float[Tensor, "sample *batch"]) -> Float[Tensor, ""]:
        """The baseline from before this batch; in training the batch is then taken in."""
        before = self.value
        if self.training:
            self.value = moving_average(before, log_likelihood, decay=self.decay).to(before.dtype)
        return before


class LearnedBaseline(nn.Module):
    """A baseline that is predicted from what is known before the draw; train it with :func:`baseline_loss`.

    Args:
        d_in: size of the features.

    Called with features ``(*batch, d_in)`` it gives ``(*batch)``; they are detached, so that the prediction does not
    train what made them. It starts at 0.

    >>> LearnedBaseline(3)(torch.ones(2, 3)).detach()
    tensor([0., 0.])
    """

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(d_in)), nn.Parameter(torch.zeros(()))

    def forward(self, features: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch"]:
        """One prediction a row, ``(*batch)``."""
        return features.detach() @ self.weight + self.bias


def baseline_loss(
    baseline: Float[Tensor, "*#batch"], log_likelihood: Float[Tensor, "sample *batch"]
) -> Float[Tensor, ""]:
    r"""The mean squared distance of a learned baseline to the rewards; it trains the baseline alone.

    .. math:: \frac{1}{N} \sum_n \big(\log p(y \mid \tilde s^n) - b\big)^2

    Args:
        baseline: a prediction a row, with its gradient.
        log_likelihood: the rewards; they count as constants.

    Returns:
        A number to minimise, at its least where the baseline is the expected reward.

    Raises:
        ValueError: the baseline does not broadcast to the rewards.

    Source: Mnih et al. 2014, section 3 [mnih2014].

    >>> baseline_loss(torch.tensor(-1.0), torch.tensor([-2.0, -4.0]))  # (1 + 9) / 2
    tensor(5.)
    """
    if not fits(baseline.shape, log_likelihood.shape):
        shapes = tuple(log_likelihood.shape), tuple(baseline.shape)
        raise ValueError(f"baseline must broadcast to log_likelihood {shapes[0]}, got shape {shapes[1]}")
    return (log_likelihood.detach() - baseline).square().mean()
