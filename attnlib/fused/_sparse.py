"""Sparse distributions without a sort: a kernel in C++, and Newton's method on the few entries that can have weight.

With ``x = (alpha - 1) (e - max e) / T`` the weights are ``[x - tau]_+ ^ (1 / (alpha - 1))``, and ``tau`` lies between
-1 and 0. So what has ``x <= -1`` has no weight whatever the rest is, and of a long row few entries are left.
``torch.compile`` sees one operation of this library, which takes the kernel where it is built when the code runs.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from .._checks import HALF, Number, why_not_ours
from .native import built, why_not
from .paths import Path

__all__ = ["PATHS"]

# It is quicker from a quarter of this on, but its last digits are not those of the reference, which small calls keep.
FEWEST = 1 << 16
LARGEST_ALPHA = 4.0  # beyond it the weights themselves are badly conditioned


def kernel(energies: Tensor, alpha: Number, temperature: Number, dim: int) -> Tensor | str:
    """By the kernel in C++."""
    reason = why_not("sparse") or _unfit(energies, alpha, temperature)
    return reason if reason is not None else _weighed(_Kernel, energies, alpha, temperature, dim)


def newton(energies: Tensor, alpha: Number, temperature: Number, dim: int) -> Tensor | str:
    """By Newton's method in plain torch."""
    if energies.numel() < FEWEST:
        return f"fewer than {FEWEST} energies"
    if not isinstance(alpha, Tensor) and alpha > 2:
        return "alpha is above 2, where Newton's method needs as many steps as the halving of the reference"
    reason = _unfit(energies, alpha, temperature)
    return reason if reason is not None else _weighed(_Newton, energies, alpha, temperature, dim)


PATHS: Mapping[str, Path[Tensor]] = {"kernel in C++": kernel, "Newton's method": newton}


def _unfit(energies: Tensor, alpha: Number, temperature: Number) -> str | None:
    """What neither path can, in a few words."""
    if isinstance(alpha, Tensor):
        return "alpha is a tensor"
    if isinstance(temperature, Tensor):
        return "the temperature is a tensor"
    if alpha > LARGEST_ALPHA:
        return f"alpha is above {LARGEST_ALPHA:g}"
    return why_not_ours(energies, compiled=True)


def _weighed(function: Any, energies: Tensor, alpha: Number, temperature: Number, dim: int) -> Tensor:
    """Weights over ``dim`` by a function of rows, in single precision at least."""
    z = energies.movedim(dim, -1)
    if alpha > 2:  # near the edge a weight is a root of a small difference: with its digits at least
        z = z.double()
    elif z.dtype in HALF:
        z = z.float()
    order = max(float(alpha) - 1, torch.finfo(z.dtype).eps)
    compute = torch.ops.attnlib.sparse_weights if torch.compiler.is_compiling() else function.apply
    weights: Tensor = compute(z, 1 + order, float(temperature))
    return weights.to(energies.dtype).movedim(-1, dim)


class _Sparse(torch.autograd.Function):
    """The backward pass, which needs the weights alone; its own derivatives are those of plain operations."""

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _gradient(weights, upstream[0], ctx.alpha, ctx.temperature), None, None
        return ctx.quick(weights, upstream[0], ctx.alpha, ctx.temperature), None, None


class _Kernel(_Sparse):
    @staticmethod
    def forward(ctx: Any, energies: Tensor, alpha: float, temperature: float) -> Tensor:
        weights: Tensor = torch.ops.attnlib.entmax(energies, alpha, temperature)
        ctx.save_for_backward(weights)
        ctx.alpha, ctx.temperature, ctx.quick = alpha, temperature, torch.ops.attnlib.entmax_backward
        return weights


class _Newton(_Sparse):
    @staticmethod
    def forward(ctx: Any, energies: Tensor, alpha: float, temperature: float) -> Tensor:
        weights = _weights(energies.contiguous(), alpha, temperature)
        ctx.save_for_backward(weights)
        ctx.alpha, ctx.temperature, ctx.quick = alpha, temperature, _quick_gradient
        return weights


@torch.library.custom_op("attnlib::sparse_weights", mutates_args=(), device_types="cpu")
def _sparse_weights(energies: Tensor, alpha: float, temperature: float) -> Tensor:
    if built("sparse"):
        return cast(Tensor, torch.ops.attnlib.entmax(energies, alpha, temperature))
    return _weights(energies.contiguous(), alpha, temperature)


@torch.library.custom_op("attnlib::sparse_weights_backward", mutates_args=(), device_types="cpu")
def _sparse_weights_backward(weights: Tensor, upstream: Tensor, alpha: float, temperature: float) -> Tensor:
    quick = torch.ops.attnlib.entmax_backward if built("sparse") else _quick_gradient
    return cast(Tensor, quick(weights, upstream, alpha, temperature))


@_sparse_weights.register_fake
@_sparse_weights_backward.register_fake
def _alike(first: Tensor, *_: Any) -> Tensor:
    return first.new_empty(first.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.alpha, ctx.temperature = inputs
    ctx.save_for_backward(output)
    ctx.quick = torch.ops.attnlib.sparse_weights_backward


_sparse_weights.register_autograd(_Sparse.backward, setup_context=_keep)


def _gradient(weights: Tensor, upstream: Tensor, alpha: float, temperature: float) -> Tensor:
    """``s (g - s.g / sum s) / T`` with ``s = p ** (2 - alpha)`` on the support, for autograd to follow."""
    inside = weights > 0
    s = torch.where(inside, torch.where(inside, weights, 1.0) ** (2 - alpha), 0.0)
    total = s.sum(-1, keepdim=True)
    mean = (s * upstream).sum(-1, keepdim=True) / total.masked_fill(total == 0, 1.0)
    return s * (upstream - mean) / temperature


def _quick_gradient(weights: Tensor, upstream: Tensor, alpha: float, temperature: float) -> Tensor:
    """The same, in place where that is possible."""
    if alpha == 1.5:
        s = weights.sqrt()
    elif alpha == 2:
        s = weights.sign()
    else:
        s = weights.pow(2 - alpha)
        s = s.masked_fill_(weights == 0, 0.0) if alpha > 2 else s
    scaled = s * upstream
    total = s.sum(-1, keepdim=True)
    mean = scaled.sum(-1, keepdim=True).div_(total.masked_fill_(total == 0, 1.0))
    scaled = scaled.addcmul_(s, mean, value=-1)
    return scaled if temperature == 1 else scaled.div_(temperature)


def _weights(energies: Tensor, alpha: float, temperature: float) -> Tensor:
    """Rows of energies in, weights out."""
    top = energies.amax(-1, keepdim=True)
    usual = bool(top.isfinite().all())
    if not usual:
        empty = top == -math.inf
        top = top.masked_fill(top == math.inf, math.nan).masked_fill_(empty, 0.0)
    x = energies - top
    x = x if temperature == 1 else x.div_(temperature)
    x = x if alpha == 2 else x.mul_(alpha - 1)
    if not usual:  # a row without a largest entry has no threshold: one that has stands in for it
        bad = top.isnan()
        x[(empty | bad).squeeze(-1)] = 0.0
    weights = _raised(x, alpha, _candidates(x))
    return weights if usual else weights.masked_fill_(empty, 0.0).masked_fill_(bad, math.nan)


def _candidates(x: Tensor) -> Tensor:
    """Of each row the entries above -1, filled up to the longest with -2; all of ``x`` where that is not shorter."""
    n = x.shape[-1]
    at = (x > -1).view(-1).nonzero().squeeze(-1)
    if at.numel() * 2 > x.numel():
        return x
    row = at.div(n, rounding_mode="floor")
    count = row.bincount(minlength=x.numel() // n)
    longest = int(count.max())
    if longest * 2 > n:
        return x
    place = torch.arange(at.numel()) - (count.cumsum(0) - count)[row]
    found = x.new_full((count.numel(), longest), -2.0)
    found[row, place] = x.view(-1)[at]
    return found.view(*x.shape[:-1], longest)


def _raised(x: Tensor, alpha: float, candidates: Tensor) -> Tensor:
    """The weights in place of ``x``."""
    if alpha == 2:
        return x.sub_(_threshold_one(candidates)).relu_()
    if alpha == 1.5:
        return x.sub_(_threshold_two(candidates)).relu_().square_()
    rho = _log_largest(candidates, alpha - 1)
    x = x.mul_((-(alpha - 1) * rho).exp()).clamp_(min=-1.0)
    return x.log1p_().div_(alpha - 1).exp_().mul_(rho.exp())


def _threshold_one(x: Tensor) -> Tensor:
    """``tau`` of sparsemax: the mean of the support less its share of 1, until no support changes."""
    tau, before = x.new_full((*x.shape[:-1], 1), -1.0), None
    while True:
        above = (x - tau).relu_()
        total = above.sum(-1, keepdim=True)
        size = above.sign_().sum(-1, keepdim=True)
        tau = torch.maximum(tau, tau + (total - 1) / size)  # it only rises, so that rounding makes no circle
        if before is not None and torch.equal(size, before):
            return tau
        before = size


def _threshold_two(x: Tensor) -> Tensor:
    """``tau`` of entmax 1.5: Newton on the norm of ``[x - tau]_+``, then in closed form on the support it leaves."""
    tau, before = x.new_full((*x.shape[:-1], 1), -1.0), None
    while True:
        above = (x - tau).relu_()
        norm = torch.linalg.vector_norm(above, dim=-1, keepdim=True)
        step = norm * (norm - 1) / above.sum(-1, keepdim=True)
        size = above.sign_().sum(-1, keepdim=True)
        if before is not None and torch.equal(size, before) and bool((step.abs() < 1e-3).all()):
            inside = above.bool()
            mean = torch.where(inside, x, 0.0).sum(-1, keepdim=True) / size
            spread = torch.where(inside, x - mean, 0.0).square_().sum(-1, keepdim=True)
            exact = mean - ((1 - spread).clamp_(min=0) / size).sqrt_()
            if torch.equal(x > exact, inside) or bool((step <= torch.finfo(x.dtype).eps).all()):
                return exact
        tau, before = torch.maximum(tau, tau + step), size  # it only rises, so that rounding makes no circle


def _log_largest(x: Tensor, order: float) -> Tensor:
    """``rho``, the logarithm of the largest weight, for any alpha; ``tau`` is ``-exp(order rho)``.

    Newton on the norm again, ``(sum [x - tau]_+^q)^(1/q)`` with ``q = 1 / order``, in a bracket that is halved where it
    leaps out, as it may for alpha above 2.
    """
    high = x.new_zeros((*x.shape[:-1], 1))
    low = high - math.log(x.shape[-1])
    rho, eps = high, torch.finfo(x.dtype).eps
    while True:
        share = (-order * rho).exp()
        ratio = (x * share).clamp_(min=-1.0)
        weights = ratio.log1p().div_(order).exp_()
        total = weights.sum(-1, keepdim=True)
        base = ratio.add_(1)
        slope = weights.div_(base.masked_fill_(base == 0, 1.0)).sum(-1, keepdim=True)
        log_total = total.log()
        log_mass = rho + log_total
        high, low = torch.where(log_mass >= 0, rho, high), torch.where(log_mass >= 0, low, rho)
        step = (order * log_mass).expm1() * ((1 - order) * log_total).exp() * share / slope
        guess = rho + (-step).log1p() / order
        guess = torch.where((guess >= low) & (guess <= high), guess, (low + high) / 2)
        # Newton squares the error, up to a factor, and the step that is found to be so short is taken.
        near = ((guess - rho).abs() <= eps**0.6) | (high - low <= 2 * eps * rho.abs().clamp(min=1))
        if bool(near.all()):
            return guess
        rho = guess
