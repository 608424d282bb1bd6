r"""A linear chain in steps that number the logarithm of its length: products of matrices, neighbours at a time.

With ``theta_i`` and the step into position ``i`` in one matrix, :math:`M_i(k, l) = \theta_{i-1,i}(k, l) + \theta_i(l)`,
a message from the left is a product :math:`M_1 \cdots M_i` in which sums of exponentials stand for sums and sums for
products. Such a product may be bracketed as one likes: all pairs of neighbours at once, then pairs of pairs. Back down
the same tree each half is told what arrives at it, from either side.

That is more arithmetic than a step after the other, in far fewer operations of torch: ahead where there are few rows.
It is done in double precision, which costs little there: nothing has to be kept relative to its largest entry, and a
matrix whose rows differ by much keeps its digits.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import is_traced
from .._rows import all_finite, logsumexp

__all__ = ["messages_by_scan", "partition_by_scan"]

LEAST = 8  # positions
MOST = 2**9  # numbers of all rows' matrices at a position: with more of them the arithmetic counts
Sum = Callable[[Tensor, int], Tensor]


def messages_by_scan(unary: Tensor, transition: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor] | str:
    """Messages from the left with what stands at each position, and from the right without; why not, in a few words.

    They are in double precision, and not relative to their largest entries.

    Args:
        unary: ``(*batch, n, states)``.
        transition: ``(*batch, n - 1, states, states)``.
        mask: ``(*batch, n)``, True = the position is in the chain.
    """
    reason = _unfit(unary)
    if reason is not None:
        return reason
    matrices = _matrices(unary, transition, mask)
    add = _sum_of(matrices)
    left = _identity(matrices)[0].expand(*matrices.shape[:-3], -1)  # of the first matrix all rows are alike: one counts
    left, right = _arriving(matrices, left, torch.zeros_like(left), add)
    return add(left.unsqueeze(-1) + matrices, -2), right


def partition_by_scan(unary: Tensor, transition: Tensor, mask: Tensor | None) -> Tensor | str:
    """The logarithm of the sum over all sequences of states; in a few words why not. Arguments as there."""
    reason = _unfit(unary)
    if reason is not None:
        return reason
    matrices = _matrices(unary, transition, mask)
    add = _sum_of(matrices)
    while matrices.shape[-3] > 1:
        matrices = _pairs(_even(matrices), add)
    return add(matrices[..., 0, 0, :], -1).to(unary.dtype)


def _unfit(unary: Tensor) -> str | None:
    """Why the recursion is to be taken."""
    if is_traced():
        return "a compiler or a transform of functorch runs the program"
    if unary.device.type not in ("cpu", "cuda"):
        return "there may be no double precision"
    if unary.shape[-2] < LEAST:
        return f"fewer than {LEAST} positions"
    if unary.numel() // unary.shape[-2] * unary.shape[-1] > MOST:
        return f"more than {MOST} numbers in the matrices of a position"
    return None


def _matrices(unary: Tensor, transition: Tensor, mask: Tensor | None) -> Tensor:
    """``M_i``: ``(*batch, n, states, states)``."""
    steps, unary = F.pad(transition.double(), (0, 0, 0, 0, 1, 0)), unary.double().unsqueeze(-2)
    if mask is None:
        return steps + unary
    begun = mask.cumsum(-1) > mask.long()  # before the first position of the chain there is nothing to come from
    found = steps.masked_fill(~begun[..., None, None], 0.0) + unary
    return torch.where(mask[..., None, None], found, _identity(found))


def _identity(matrices: Tensor) -> Tensor:
    """What changes nothing: noughts on the diagonal, and minus infinity."""
    return torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device).log_()


def _sum_of(matrices: Tensor) -> Sum:
    """Torch's own sum of exponentials, where nothing is impossible; its gradient is NaN where all terms are."""
    return torch.logsumexp if all_finite(matrices) else logsumexp


def _arriving(matrices: Tensor, left: Tensor, right: Tensor, add: Sum) -> tuple[Tensor, Tensor]:
    """The message that arrives at each matrix from the left, and from the right: ``(*batch, n, states)`` both."""
    n = matrices.shape[-3]
    if n == 1:
        return left.unsqueeze(-2), right.unsqueeze(-2)
    matrices = _even(matrices)
    left, right = _arriving(_pairs(matrices, add), left, right, add)
    one, other = matrices[..., ::2, :, :], matrices[..., 1::2, :, :]
    to_other, to_one = add(torch.stack([left.unsqueeze(-2) + one.mT, other + right.unsqueeze(-2)]), -1).unbind()
    left, right = torch.stack([left, to_other], -2), torch.stack([to_one, right], -2)
    return left.flatten(-3, -2)[..., :n, :], right.flatten(-3, -2)[..., :n, :]


def _even(matrices: Tensor) -> Tensor:
    """An even number of them."""
    if matrices.shape[-3] % 2 == 0:
        return matrices
    return torch.cat([matrices, _identity(matrices).expand_as(matrices[..., :1, :, :])], -3)


def _pairs(matrices: Tensor, add: Sum) -> Tensor:
    """The products of neighbours."""
    return add(matrices[..., ::2, :, :, None] + matrices[..., 1::2, None, :, :], -2)
