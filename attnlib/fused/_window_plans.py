"""Which keys each query of local attention sees, and which queries are taken together."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ._slices import Block, Plan

__all__ = ["ends_of", "held", "in_order", "moved", "planned"]

PAIRS = 2**20  # so many energies are in memory at a time
WASTE = 2**22  # multiplications in vain that take as long as what a run costs, however small it is
GATHERED = 64  # multiplications that take as long as one number that is gathered


def held(centre: Tensor, half_width: int, n_key: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The centre as a number that fits an integer: NaN as 0; nearer, where the window is empty all the same.

    Whole numbers take the precision of the rest; it is single at least, and that of the centre if this is higher.
    """
    centre = centre.to(torch.promote_types(torch.promote_types(centre.dtype, dtype), torch.float32))
    return torch.where(centre.isnan(), 0.0, centre).clamp(-half_width - 1, n_key + half_width)


def in_order(centre: Tensor, batch: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
    """The centres in order, ``(items or 1, query)``, and whose they are, where they were out of it."""
    n_query = centre.shape[-1]
    shared = math.prod(centre.shape[:-1]) == 1
    centre = centre.reshape(1, n_query) if shared else centre.expand(*batch, n_query).reshape(-1, n_query)
    if not bool((centre[:, 1:] < centre[:, :-1]).any()):
        return centre, None
    order = centre.detach().argsort(-1)
    return centre.gather(-1, order), order


def moved(vectors: Tensor, order: Tensor | None) -> Tensor:
    """Vectors ``(*batch, query, size)`` in an order ``(items or 1, query)``."""
    if order is None:
        return vectors
    order = order.reshape(*([1] * (vectors.ndim - 2) if len(order) == 1 else vectors.shape[:-2]), -1, 1)
    return vectors.gather(-2, order.expand(vectors.shape))


def ends_of(centre: Tensor, half_width: int, n_key: int, *, rounded: bool) -> Tensor:
    """The first key of each window and the last, ``(2, items or 1, query)``."""
    floor = centre.floor()
    first = ((floor if rounded else centre.ceil()).long() - half_width).clamp(0, n_key)
    last = (floor.long() + half_width).clamp(-1, n_key - 1)
    return torch.stack([first, last])


def planned(ends: Tensor, rows: int, half_width: int, size: int, *, always: bool = False) -> Plan | None:
    """The plan for windows in order; none if they are so far apart that it has too many blocks, if it may be none."""
    first, last = ends
    most = 16 * WASTE + GATHERED * rows * ends.shape[-1] * (2 * half_width + 1) * size
    blocks: list[Block] = []
    for block in _blocks(first.tolist(), last.tolist(), rows, 2 * half_width + 1, size):
        blocks.append(block)
        most -= WASTE + size * math.prod(where.stop - where.start for where in block)
        if most < 0 and not always:
            return None
    return Plan(ends, blocks, bool((first <= last).all()))


def _blocks(first: list[list[int]], last: list[list[int]], rows: int, width: int, size: int) -> Iterator[Block]:
    """Cut rows and queries until no block is too large, or sees too many keys in vain."""
    shared, n_query = len(first) == 1, len(first[0])
    step = 1 << min(8, max(5, round(math.log2(WASTE / ((rows if shared else 1) * size)) / 2)))
    open_ = [(0, rows, a, min(a + step, n_query)) for a in range(0, n_query, step)][::-1]
    while open_:
        low, high, a, b = open_.pop()
        own = range(1) if shared else range(low, high)
        left, right = min(first[row][a] for row in own), max(last[row][b - 1] for row in own) + 1
        if right <= left:
            continue
        alone = max(last[row][b - 1] - first[row][a] + 1 for row in own)
        vain = (b - a) * (right - left - width) * size
        is_large = (high - low) * (b - a) * (right - left) > PAIRS
        if high - low > 1 and (is_large or (vain > WASTE and right - left > 2 * alone)):
            middle = (low + high) // 2
            open_ += [(middle, high, a, b), (low, middle, a, b)]
        elif b - a > 1 and (is_large or (vain > WASTE and right - left > 2 * width)):
            middle = (a + b) // 2
            open_ += [(low, high, middle, b), (low, high, a, middle)]
        else:
            yield Block(slice(low, high), slice(a, b), slice(left, right))
