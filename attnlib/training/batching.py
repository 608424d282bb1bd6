"""Batches of like length, in an order that seed and epoch alone decide."""

import dataclasses
import functools
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Batched", "batches"]

Length = int | tuple[int, ...]

POOL = 20  # batches that are sorted together: lengths within a batch are alike, and batches still differ by epoch


def batches(lengths: Sequence[Length], batch_size: int, *, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    """Cut a data set into batches of like length, in an order that seed and epoch alone decide.

    The items are shuffled, pooled by twenty batches, sorted within a pool, cut, and the batches shuffled.

    Args:
        lengths: of each item, a number or a tuple (source and target, say) to sort by.
        batch_size: items a batch, at least 1; one batch may be smaller.
        seed: of the run.
        epoch: its number.

    Returns:
        Lists of places in ``lengths``; every place stands in exactly one.

    Raises:
        ValueError: ``lengths`` is empty, or ``batch_size`` is below 1.

    Source: Bahdanau et al. 2015, appendix B.2.2 [bahdanau2015], which sorts 1,600 pairs and cuts 20 batches of 80.

    Departs from the source: an epoch ends when all items were seen; the batches of all pools are shuffled together.

    >>> sorted(sorted(batch) for batch in batches([5, 1, 5, 1], 2))
    [[0, 2], [1, 3]]
    """
    _refuse("lengths", lengths, batch_size)
    generator = random.Random(f"{seed}/order/{epoch}")
    places = list(range(len(lengths)))
    generator.shuffle(places)
    size, cut = POOL * batch_size, []
    for start in range(0, len(places), size):
        pool = sorted(places[start : start + size], key=lambda place: lengths[place])
        cut += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    generator.shuffle(cut)
    return cut


@dataclasses.dataclass(frozen=True)
class Batched:
    """A data set, and how a batch is made of it: what :func:`~attnlib.training.loop.fit` trains on.

    Args:
        items: any sequence.
        batch_size: items of a batch, at least 1.
        collate: ``list of items -> batch``: a tensor, or a tuple, list or dict of those, which is moved to the device.
        length: of an item, to sort by (see :func:`batches`); None: all are alike.

    Raises:
        ValueError: there are no items, or ``batch_size`` is below 1.

    >>> data = Batched([3, 1, 4, 1, 5], 2, torch.tensor)
    >>> data.batch(data.at([0, 4]), torch.device("cpu"))
    tensor([3, 5])
    """

    items: Sequence[Any]
    batch_size: int
    collate: Callable[[list[Any]], Any]
    length: Callable[[Any], Length] | None = None

    def __post_init__(self) -> None:
        _refuse("items", self.items, self.batch_size)

    @functools.cached_property
    def lengths(self) -> list[Length]:
        """Of each item."""
        return [0 if self.length is None else self.length(item) for item in self.items]

    def order(self, seed: int, epoch: int) -> list[list[int]]:
        """The batches of an epoch, as places in ``items``."""
        return batches(self.lengths, self.batch_size, seed=seed, epoch=epoch)

    def at(self, places: Sequence[int]) -> list[Any]:
        """The items that stand at these places."""
        return [self.items[place] for place in places]

    def batch(self, items: list[Any], device: torch.device) -> Any:
        """The batch that some items make."""
        return _moved(self.collate(items), device)


def _refuse(name: str, items: Sequence[Any], batch_size: int) -> None:
    if len(items) == 0:
        raise ValueError(f"{name} is empty: there is nothing to train on")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _moved(batch: Any, device: torch.device) -> Any:
    """The batch on the device, whatever tuples, lists and dicts its tensors stand in."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_moved(part, device) for part in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(_moved(part, device) for part in batch)
    if isinstance(batch, dict):
        return {name: _moved(part, device) for name, part in batch.items()}
    return batch
