"""How the sparse distributions find their threshold.

Energies ``z`` come shifted, so that the largest of a row is 0, and cut off where there can be no weight. Nothing here
depends on values for its control flow, so that it compiles, exports and maps over batches.
"""

import math

import torch
from torch import Tensor


@torch.no_grad()
def sparsemax_threshold(z: Tensor, dim: int) -> Tensor:
    """``tau`` of the longest run of largest entries with ``1 + k z_(k) > z_(1) + ... + z_(k)``."""
    ordered = z.sort(dim=dim, descending=True).values
    count = _counts(ordered, dim)
    total = ordered.cumsum(dim) - 1
    size = (count * ordered > total).sum(dim, keepdim=True)
    return total.gather(dim, (size - 1).clamp(min=0)) / size


@torch.no_grad()
def entmax15_threshold(z: Tensor, dim: int) -> Tensor:
    """``tau`` of the longest run of largest entries that all lie above their own ``tau``; ``z`` comes halved."""
    ordered = z.sort(dim=dim, descending=True).values
    count = _counts(ordered, dim)
    mean = ordered.cumsum(dim) / count
    spread = ordered.square().cumsum(dim) - count * mean.square()
    tau = mean - ((1 - spread).clamp(min=0) / count).sqrt()
    size = (tau < ordered).sum(dim, keepdim=True)
    return tau.gather(dim, (size - 1).clamp(min=0))


def root_weights(z: Tensor, alpha: Tensor, dim: int) -> Tensor:
    r"""Entmax weights for any alpha, by the root of ``log sum_i p_i(rho) = 0``.

    With ``rho`` the logarithm of the weight at energy 0, the largest there is,

    .. math:: p_i(\rho) = e^\rho \, [1 + (\alpha - 1) e^{-(\alpha - 1) \rho} z_i]_+^{1 / (\alpha - 1)},

    which tends to ``exp(rho + z_i)`` as alpha tends to 1 without losing digits, and is exact for ties at any alpha. The
    weights grow with ``rho``, which lies between ``-log n`` and 0: bisection finds it. Two Newton steps follow, and
    they alone are seen by autograd. Newton squares the error at each step, so the first makes the first derivatives
    right, and the second makes the second and third right.
    """
    low, high = _bisect(z.detach(), alpha.detach(), dim)
    rho = high
    for _ in range(2):
        weights, slope = _weights(rho, z, alpha)
        total, slope = _positive(weights.sum(dim, keepdim=True)), _positive(slope.sum(dim, keepdim=True))
        rho = rho - total.log() * total / slope
        here = rho.detach()  # where the curve is steep, Newton may leap out of the bracket: put it back
        rho = rho + (torch.minimum(torch.maximum(here, low), high) - here)
    weights, _ = _weights(rho, z, alpha)
    return weights / _positive(weights.sum(dim, keepdim=True))


@torch.no_grad()
def _bisect(z: Tensor, alpha: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The bracket of ``rho``, to the last digits of its precision."""
    order = alpha - 1
    base, power = -order * z, 1 / order
    high = torch.zeros_like(base.sum(dim, keepdim=True))
    low = high - torch.full_like(high, z.shape[dim]).log()
    for _ in range(4 - round(math.log2(torch.finfo(z.dtype).eps))):
        middle = (low + high) / 2
        weights = (1 - base * _growth(order, middle)).relu_().pow(power)
        enough = weights.sum(dim, keepdim=True) * middle.exp() >= 1
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return low, high


def _weights(rho: Tensor, z: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """``p_i(rho)`` and its derivative with respect to ``rho``."""
    order = alpha - 1
    base = -order * z * _growth(order, rho)
    outside = base >= 1
    log_base = torch.log1p(-base.masked_fill(outside, 0.0))
    weights = (rho + log_base / order).exp().masked_fill(outside, 0.0)
    slope = (rho + log_base * (1 / order - 1)).exp().masked_fill(outside, 0.0)
    return weights, slope


def _growth(order: Tensor, rho: Tensor) -> Tensor:
    """``exp(-(alpha - 1) rho)``, kept finite, so that 0 times it is 0."""
    return (-order * rho).clamp(max=0.9 * math.log(torch.finfo(rho.dtype).max)).exp()


def _positive(total: Tensor) -> Tensor:
    """The total, or 1 in a row without weights."""
    return total.masked_fill(total == 0, 1.0)


def _counts(ordered: Tensor, dim: int) -> Tensor:
    """1, 2, 3, ... along ``dim``."""
    shape = [1] * ordered.ndim
    shape[dim] = ordered.shape[dim]
    return torch.arange(1, shape[dim] + 1, dtype=ordered.dtype, device=ordered.device).view(shape)
