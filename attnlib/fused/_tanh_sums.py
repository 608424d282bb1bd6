r"""Sums :math:`v^\top \tanh(q_i + k_j)` of all pairs, and their gradients, a tile at a time.

The tensor of all hidden units, ``query x key x size``, is what makes the additive score slow. Here a part of it that
fits into a processor's cache is made, summed and written over by the next; backwards it is made again. And there is no
``tanh`` for each pair, because two identities take all transcendental work out to the queries and keys themselves:

.. math:: \tanh(q + k) = 1 - \frac{2}{1 + e^{2q} e^{2k}} = \frac{\tanh q + \tanh k}{1 + \tanh q \tanh k}

The first is exact to rounding up to where the exponentials overflow. Where all numbers are small it would lose them
beside the 1, and the second takes its place; where they are too large, ``tanh`` itself does.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .._rows import bad_rows
from . import native

__all__ = ["Part", "Sums", "parts", "sums_of"]

SMALL = 1.0  # up to here 1 + tanh q tanh k is above 0.4
LARGE = 43.0  # e^2q and e^2k are normal numbers of single precision, and their product overflows to 1 / inf = 0 at most
TILE = 2**18  # hidden units in memory at a time: a megabyte, which a processor keeps at hand
PAIRS = 2**16  # energies in memory at a time
BLOCK = 16  # keys of a block of the kernel in C++


class Part(NamedTuple):
    """Some items of the batch, some queries of each, and the first of their keys."""

    items: slice
    rows: slice
    n_key: int

    @property
    def pairs(self) -> tuple[slice, slice, slice]:
        """Where the part stands among all pairs."""
        return self.items, self.rows, slice(0, self.n_key)

    @property
    def queries(self) -> tuple[slice, slice]:
        """Where its queries stand."""
        return self.items, self.rows

    @property
    def keys(self) -> tuple[slice, slice]:
        """Where its keys stand."""
        return self.items, slice(0, self.n_key)


def parts(batch: int, n_query: int, n_key: int, *, is_causal: bool = False) -> Iterator[Part]:
    """All the work, in parts of about ``PAIRS`` pairs: some queries of one item, or several items at once."""
    rows = min(n_query, max(4, PAIRS // n_key))
    items = min(batch, max(1, PAIRS // (n_query * n_key))) if rows == n_query else 1
    for item in range(0, batch, items):
        for row in range(0, n_query, rows):
            last = min(row + rows, n_query)
            seen = min(last, n_key) if is_causal else n_key
            yield Part(slice(item, min(item + items, batch)), slice(row, last), seen)


class Sums:
    """The sums of ``left`` ``(batch, query, size)`` and ``right`` ``(batch, key, size)``, in plain torch."""

    bad_left: Tensor | None = None  # (batch, query, 1) and (batch, key, 1): whose sums are NaN, without a gradient
    bad_right: Tensor | None = None

    def __init__(self, left: Tensor, right: Tensor, vector: Tensor, form: str) -> None:
        self.vector, self.form, self.n_key = vector, form, right.shape[-2]
        self.left, self.right = (_table(part, form) for part in (left, right))
        self.units, self.spare = (left.new_empty(0) for _ in range(2))
        self.grad_left, self.grad_right, self.grad_vector = left[:0], right[:0], vector[:0]

    def energies(self, part: Part) -> Tensor:
        """The sums of a part: ``(items, rows, key)``."""
        bad, found = self._bad(part), self._energies(part)
        return found if bad is None else torch.where(bad, torch.nan, found)

    def add_gradients(self, part: Part, grad: Tensor) -> None:
        """Take the gradient of a part's energies in; first comes :meth:`start_gradients`."""
        bad = self._bad(part)
        self._add_gradients(part, grad if bad is None else torch.where(bad, 0.0, grad))

    def _bad(self, part: Part) -> Tensor | None:
        """Which pairs do not count."""
        if self.bad_left is None or self.bad_right is None:
            return None
        return self.bad_left[part.queries] | self.bad_right[part.keys].mT

    def _energies(self, part: Part) -> Tensor:
        items, rows, n_key = (each.stop - each.start for each in part.pairs)
        found = self.vector.new_empty(items, rows, n_key)
        for tile in self._tiles(part):
            units = self._fill(tile, part)
            found[tile] = (units.flatten(0, -2) @ self.vector).view(units.shape[:-1])
        return found.mul_(-2).add_(self.vector.sum()) if self.form == "exponential" else found

    def start_gradients(self) -> None:
        """From here on :meth:`add_gradients` adds up."""
        self.grad_left, self.grad_right = torch.zeros_like(self.left), torch.zeros_like(self.right)
        self.grad_vector = torch.zeros_like(self.vector)

    def _add_gradients(self, part: Part, grad: Tensor) -> None:
        grad_left, grad_right = self.grad_left[part.queries], self.grad_right[part.keys]
        for tile in self._tiles(part):
            units, share = self._fill(tile, part), grad[tile]
            self.grad_vector += (share.reshape(1, -1) @ units.flatten(0, -2)).squeeze(0)
            # what stays of 1 - tanh^2 but for a factor: of t it is 1 - t^2, of r = (1 - t) / 2 it is r - r^2
            base = units if self.form == "exponential" else units.new_ones(())
            slope = torch.addcmul(base, units, units, value=-1, out=units)
            grad_left[tile[:2]] += (share.unsqueeze(-2) @ slope).squeeze(-2)
            if slope.shape[1] == 1:
                grad_right[tile[0], tile[2]].addcmul_(share.mT, slope.squeeze(1))
            else:
                grad_right[tile[0], tile[2]] += slope.mul_(share.unsqueeze(-1)).sum(1)
        if self.form == "exponential":  # t = 1 - 2 r, once more
            self.grad_vector += grad.sum() / -2

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Those of left, right and vector."""
        if self.form == "exponential":
            return self.grad_left * (4 * self.vector), self.grad_right * (4 * self.vector), self.grad_vector * -2
        return self.grad_left * self.vector, self.grad_right * self.vector, self.grad_vector

    def _tiles(self, part: Part) -> Iterator[tuple[slice, slice, slice]]:
        """Parts of a part, counted from its beginning, of about ``TILE`` hidden units."""
        items, rows, n_key = (each.stop - each.start for each in part.pairs)
        size = max(1, items * self.vector.shape[0])
        some = min(rows, max(1, TILE // (size * n_key)))
        keys = n_key if some > 1 else min(n_key, max(1, TILE // size))
        for row in range(0, rows, some):
            for key in range(0, n_key, keys):
                yield slice(0, items), slice(row, min(row + some, rows)), slice(key, min(key + keys, n_key))

    def _fill(self, tile: tuple[slice, slice, slice], part: Part) -> Tensor:
        """The hidden units t of a tile; of the exponential form r = (1 - t) / 2."""
        left, right = self.left[part.queries][:, tile[1], None], self.right[part.items][:, None, tile[2]]
        shape = (left.shape[0], left.shape[1], right.shape[2], left.shape[3])
        units = self._buffer("units", shape)
        if self.form == "exponential":
            return torch.addcmul(left.new_ones(()), left, right, out=units).reciprocal_()
        torch.add(left, right, out=units)
        if self.form == "plain":
            return units.tanh_()
        return units.div_(torch.addcmul(left.new_ones(()), left, right, out=self._buffer("spare", shape)))

    def _buffer(self, name: str, shape: tuple[int, ...]) -> Tensor:
        count = math.prod(shape)
        if getattr(self, name).numel() < count:
            setattr(self, name, self.vector.new_empty(count))
        found: Tensor = getattr(self, name)[:count].view(shape)
        return found


class KernelSums(Sums):
    """The same through the kernel in C++, which chooses between exponentials and ``tanh`` tile by tile."""

    def __init__(self, left: Tensor, right: Tensor, vector: Tensor, form: str) -> None:
        self.vector, self.form, self.n_key = vector, "ratio" if form == "ratio" else "exponential", right.shape[-2]
        right = F.pad(right, (0, 0, 0, -self.n_key % BLOCK))
        right = right.reshape(right.shape[0], -1, BLOCK, right.shape[-1]).mT.contiguous()
        self.raw_left, self.raw_right = left.contiguous(), right
        self.left, self.right = (_table(part, self.form) for part in (self.raw_left, right))
        self.top_left = left.abs().amax(-1)
        self.top_right = right.abs().amax((-2, -1))
        # The kernel multiplies v with numbers near the largest there are: it gets one of at most 1.
        top = float(vector.abs().amax())
        self.unit = 2.0 ** math.frexp(top)[1] if 1 < top < math.inf else 1.0

    def _energies(self, part: Part) -> Tensor:
        found: Tensor = torch.ops.attnlib.additive_kernel(
            *self._operands(part), self.vector / self.unit, part.n_key, self.form == "ratio"
        )
        return found if self.unit == 1 else found.mul_(self.unit)

    def _add_gradients(self, part: Part, grad: Tensor) -> None:
        operands, grad_right = self._operands(part), self.grad_right[part.items]
        grad_left, grad_vector = torch.ops.attnlib.additive_kernel_backward(
            grad.contiguous(), *operands, self.vector, self.form == "ratio", grad_right
        )
        self.grad_left[part.queries] = grad_left
        self.grad_vector += grad_vector

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """As of :class:`Sums`."""
        grad_right = self.grad_right.mT.flatten(1, 2)[:, : self.n_key]
        return self.grad_left * self.vector, grad_right * self.vector, self.grad_vector

    def _operands(self, part: Part) -> tuple[Tensor, ...]:
        queries = (each[part.queries] for each in (self.raw_left, self.left, self.top_left))
        return (*queries, *(each[part.items] for each in (self.raw_right, self.right, self.top_right)))


def sums_of(left: Tensor, right: Tensor, vector: Tensor) -> Sums:
    """The sums by the fastest way that there is.

    A row that is not finite, or so large that its sums would not be, has none: NaN, without a gradient.
    """
    limit, bad = torch.finfo(left.dtype).max / 2, None
    tops = [float(part.abs().amax()) for part in (left, right)]
    if not max(tops) < limit or not min(tops) < limit:  # as NaN is not
        bad = [bad_rows(part, limit) for part in (left, right)]
        left, right = (part.masked_fill(rows, 0.0) for part, rows in zip((left, right), bad, strict=True))
        tops = [float(part.abs().amax()) for part in (left, right)]
    form = "ratio" if max(tops) <= SMALL else "exponential" if sum(tops) <= LARGE else "plain"
    if form == "plain":  # each feature may move to and fro between left and right
        middle = (_middle(right) - _middle(left)) / 2
        centred = left + middle, right - middle
        if sum(float(part.abs().amax()) for part in centred) <= LARGE:
            (left, right), form = centred, "exponential"
    sums = (KernelSums if native.built("additive") else Sums)(left, right, vector.contiguous(), form)
    if bad is not None:
        sums.bad_left, sums.bad_right = bad
    return sums


def _table(part: Tensor, form: str) -> Tensor:
    """What of a query or key alone the form needs."""
    return part.tanh() if form == "ratio" else (2 * part).exp() if form == "exponential" else part


def _middle(part: Tensor) -> Tensor:
    """Half of the way from each feature's smallest to its largest."""
    return (part.amin(-2, keepdim=True) + part.amax(-2, keepdim=True)) / 2
