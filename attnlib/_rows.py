"""Arithmetic on vectors of which some must not count: half precision, rows that are not finite, what a mask hides.

A number behind a mask is multiplied by zero, forwards and backwards, and zero times NaN or infinity is NaN. So what is
not finite is taken out before it is multiplied, and its NaN is put back afterwards, as a constant, where it is seen.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ._checks import HALF, may_look

ORDINARY = 1e12  # a product of three, as of query, key and scale, is below the 3e38 of float32
# Activations that give finite numbers for finite numbers.
_TAME = (torch.tanh, torch.relu, torch.sigmoid, F.tanh, F.relu, F.sigmoid)


def wide(tensor: Tensor) -> Tensor:
    """The tensor in single precision at least."""
    return tensor.float() if tensor.dtype in HALF else tensor


def as_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Under autocast the tensors in its precision, as torch's kernel takes them; else as they are."""
    if not is_autocast(tensors[0]):
        return tensors
    kind = tensors[0].device.type
    dtype = torch.get_autocast_dtype(kind)
    return tuple(tensor if tensor.dtype == torch.float64 else tensor.to(dtype) for tensor in tensors)


def is_autocast(tensor: Tensor) -> bool:
    """Whether arithmetic with the tensor is subject to autocast."""
    if tensor.is_cpu:
        return torch.is_autocast_enabled("cpu")
    kind = tensor.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def times(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` in single precision at least, under autocast too."""
    if is_autocast(left):
        with torch.autocast(left.device.type, enabled=False):
            return wide(left) @ wide(right)
    return wide(left) @ wide(right)


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.mT``, the inner product of each pair of rows, as :func:`times`."""
    return times(left, right.mT)


def beside(vectors: Tensor) -> Tensor:
    """With the numbers of a vector beside each other in memory, as kernels read them."""
    return vectors if vectors.stride(-1) == 1 else vectors.contiguous()


def inner_product(left: Tensor, right: Tensor) -> Tensor:
    """:func:`product` of vectors that came out of arithmetic: one that is not finite gives NaN, and no gradient.

    So a vector that overflowed on the way to its energy costs the pairs that it is in, and no other.
    """
    if all_finite(left, right):
        return product(left, right)
    bad_left, bad_right = bad_rows(left), bad_rows(right)
    energies = product(without(bad_left, left), without(bad_right, right))
    return torch.where(bad_left | bad_right.mT, torch.nan, energies)


def activated(
    activation: Callable[[Tensor], Tensor], inner: Tensor, *, tame: bool = False
) -> tuple[Tensor, Tensor | None]:
    """``activation(inner)``, and where it came to nothing finite; 1 stands there, without a gradient.

    Args:
        activation: elementwise function.
        inner: what goes in.
        tame: ``inner`` is known to be finite.
    """
    outer = activation(inner)
    if (tame and activation in _TAME) or all_finite(outer):
        return outer, None
    bad = ~outer.detach().isfinite()
    return torch.where(bad, 1.0, activation(torch.where(bad, 1.0, inner))), bad


def mapped(feature_map: Callable[[Tensor], Tensor], vectors: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features of vectors, and whose did not come out finite: in their place are those of a vector of ones."""
    features = feature_map(vectors)
    if all_finite(features):
        return features, None
    bad = bad_rows(features)
    return feature_map(without(bad, vectors)), bad


def all_finite(*tensors: Tensor) -> bool:
    """Whether all numbers are finite, as far as this may be looked at and a sum can tell; when in doubt, no."""
    return may_look(*tensors) and all(math.isfinite(tensor.detach().sum().item()) for tensor in tensors)


def is_ordinary(*tensors: Tensor, scale: float | Tensor | None = None) -> bool:
    """Whether no number is so large that energies, or their gradients, could overflow, as far as one may look."""
    if isinstance(scale, Tensor):
        tensors = (*tensors, scale)
    elif scale is not None and abs(scale) >= ORDINARY:
        return False
    return may_look(*tensors) and all(magnitude(tensor) < ORDINARY for tensor in tensors)


def magnitude(tensor: Tensor) -> float:
    """The length of all numbers together, which none exceeds; NaN where one is NaN. Where one may look."""
    fixed = tensor.detach() if tensor.requires_grad else tensor
    # For many numbers it takes two thirds of the time; for few it slows the kernel that comes next.
    if fixed.numel() > 2**16 and fixed.dtype == torch.float32 and fixed.is_contiguous():
        flat = fixed.view(-1)
        return math.sqrt(torch.dot(flat, flat).item())
    length = torch.linalg.vector_norm(fixed, dtype=torch.float32 if fixed.dtype in HALF else None)
    return float(length.item())


def bad_rows(vectors: Tensor, limit: float = torch.inf) -> Tensor:
    """Which rows are not finite, or reach a limit: ``amax`` keeps a NaN, and takes a tenth of the time of ``isfinite``.

    Not by way of 0 * x, which is as quick: a compiler may take that for 0, and does.
    """
    if vectors.shape[-1] == 0:
        return torch.zeros((*vectors.shape[:-1], 1), dtype=torch.bool, device=vectors.device)
    return ~(vectors.detach().abs().amax(-1, keepdim=True) < limit)


def burst_rows(energies: Tensor) -> Tensor:
    """Which rows have an energy that no distribution can weigh: NaN, or plus infinity."""
    if energies.shape[-1] == 0:
        return torch.zeros((*energies.shape[:-1], 1), dtype=torch.bool, device=energies.device)
    return ~(energies.detach().amax(-1, keepdim=True) < torch.inf)


def is_burst(energies: Tensor) -> bool:
    """Whether there may be such a row: a sum with one is not below infinity. When in doubt, yes."""
    return not may_look(energies) or not energies.detach().sum().item() < math.inf


def without(bad: Tensor, vectors: Tensor) -> Tensor:
    """One in place of what must not count. Not zero, which has no direction and no logarithm."""
    return torch.where(bad, 1.0, vectors)


def nan_where(bad: Tensor, dtype: torch.dtype) -> Tensor:
    """What gives a row that does see a vector that is not finite its NaN back."""
    return torch.where(bad, torch.nan, 0.0).to(dtype)


def sees_any(visible: Tensor, bad: Tensor) -> Tensor:
    """Whether a query sees a bad row: ``(*batch, query, 1)``; a product, because it keeps broadcast masks small."""
    return visible.float() @ bad.float() > 0


def relative(message: Tensor) -> tuple[Tensor, Tensor]:
    """A message less its largest entry, and that entry, which counts as a constant: it cancels in every result."""
    top = message.detach().amax(-1)
    top = top.masked_fill(top == -math.inf, 0.0)
    return message - top[..., None], top


def logsumexp(terms: Tensor, dim: int) -> Tensor:
    """Like ``torch.logsumexp``, with a gradient of zero, not NaN, where every term is minus infinity."""
    top = terms.detach().amax(dim, keepdim=True)
    top = top.masked_fill(top == -math.inf, 0.0)
    total = (terms - top).exp().sum(dim)
    nothing = total == 0
    return (total.masked_fill(nothing, 1.0).log() + top.squeeze(dim)).masked_fill(nothing, -math.inf)
