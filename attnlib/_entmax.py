"""How the sparse distributions find their support and threshold.

Energies come shifted so that the largest available entry of a row is 0.
"""

import math

import torch
from torch import Tensor


def sparsemax_support(z: Tensor, dim: int) -> Tensor:
    """Entries that sparsemax keeps: those above the threshold of the sorted row."""
    with torch.no_grad():
        z = z.detach().clamp(min=-2.0)  # below -1 the weight is 0 anyhow; keeps the sums small
        ordered = z.sort(dim=dim, descending=True).values
        count = _counts(ordered, dim)
        total = ordered.cumsum(dim) - 1
        size = (count * ordered > total).sum(dim, keepdim=True)
        tau = total.gather(dim, (size - 1).clamp(min=0)) / size
        return z > tau


def entmax15_support(z: Tensor, dim: int) -> Tensor:
    """The same for alpha = 1.5, with energies already halved."""
    with torch.no_grad():
        z = z.detach().clamp(min=-2.0)
        ordered = z.sort(dim=dim, descending=True).values
        count = _counts(ordered, dim)
        mean = ordered.cumsum(dim) / count
        spread = ordered.square().cumsum(dim) - count * mean.square()
        tau = mean - ((1 - spread).clamp(min=0) / count).sqrt()
        size = (tau <= ordered).sum(dim, keepdim=True)
        return z > tau.gather(dim, (size - 1).clamp(min=0))


def _counts(ordered: Tensor, dim: int) -> Tensor:
    """1, 2, 3, ... along ``dim``."""
    shape = [1] * ordered.ndim
    shape[dim] = ordered.shape[dim]
    return torch.arange(1, shape[dim] + 1, dtype=ordered.dtype, device=ordered.device).view(shape)


def root_weights(z: Tensor, available: Tensor, alpha: Tensor, dim: int) -> Tensor:
    r"""Entmax weights for any alpha, by the root of ``log sum_i p_i(rho) = 0``.

    With ``rho`` the logarithm of the weight at energy 0 (the largest) and ``z <= 0`` the shifted energies,

    .. math:: p_i(\rho) = e^\rho \, [1 + (\alpha - 1) e^{-(\alpha - 1) \rho} z_i]_+^{1 / (\alpha - 1)},

    which tends to ``exp(rho + z_i)`` as alpha tends to 1 without losing digits, and is exact for ties at any alpha. The
    weights grow with ``rho``, and ``rho`` lies between ``-log n`` and 0: bisection finds it. Two Newton steps follow, and
    they alone are seen by autograd: Newton's error is squared at each step, so the first makes the first derivatives
    right and the second makes the second and third right.
    """
    with torch.no_grad():
        data, power = z.detach(), alpha.detach()
        n = available.sum(dim, keepdim=True).clamp(min=1).to(z.dtype)
        low, high = -n.log(), torch.zeros_like(n)
        for _ in range(4 - round(math.log2(torch.finfo(z.dtype).eps))):
            middle = (low + high) / 2
            enough = _weights(middle, data, available, power)[0].sum(dim, keepdim=True) >= 1
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        rho = high
    for _ in range(2):
        weights, slope = _weights(rho, z, available, alpha)
        total = weights.sum(dim, keepdim=True)
        empty = total == 0
        step = total.masked_fill(empty, 1.0).log() * total / slope.sum(dim, keepdim=True).masked_fill(empty, 1.0)
        rho = rho - step
        rho = rho + (rho.detach().clamp(low, high) - rho.detach())  # never out of the bracket, which holds for the edges
    weights, _ = _weights(rho, z, available, alpha)
    total = weights.sum(dim, keepdim=True)
    return weights / total.masked_fill(total == 0, 1.0)


def _weights(rho: Tensor, z: Tensor, available: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """``p_i(rho)`` and its derivative with respect to ``rho``."""
    order = alpha - 1
    limit = 0.9 * math.log(torch.finfo(z.dtype).max)
    base = -order * z * (-order * rho).clamp(max=limit).exp()
    inside = available & (base < 1)
    log_base = torch.log1p(-torch.where(inside, base, 0.0))
    weights = torch.where(inside, (rho + log_base / order).exp(), 0.0)
    slope = torch.where(inside, (rho + log_base * (1 / order - 1)).exp(), 0.0)
    return weights, slope
