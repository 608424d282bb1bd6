"""Keys and values of the items that were read, in memory with room for those that follow."""

from threading import Lock
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .._checks import HALF, is_traced, may_look
from .._rows import ORDINARY, is_ordinary, magnitude
from .._work import has_hooks
from ..attention import Attend, Attention
from ..distributions import softmax
from ..fused.paths import is_watched
from ..scores import scaled_dot

PARAMETERS = [(f"{name}_weight", f"{name}_bias") for name in ("query", "key", "value", "output")]


class Cache(NamedTuple):
    """Keys and values of the items that were read so far, as they came out of their matrices (and ``turn``)."""

    key: Float[Tensor, "*batch time d_key"]
    value: Float[Tensor, "*batch time d_value"]


class Room:
    """Keys and values in one long tensor whose beginning a cache is; and how much of it is taken."""

    def __init__(self, cache: Cache, size: int) -> None:
        *batch, self.taken, width = cache.key.shape
        self.both, self.lock = cache.key.new_empty((2, *batch, size, width)), Lock()
        # What is given out has a count of changes of its own: nothing that it shows is ever changed.
        self.shown = self.both.data
        for part, room in zip(cache, self.both.narrow(-2, 0, self.taken), strict=True):
            room.copy_(part)

    def take(self, start: int, end: int) -> bool:
        """Whether the places could be had: none is written twice, whoever reads on from the same cache."""
        with self.lock:
            is_free = self.taken == start and end <= self.both.shape[-2]
            self.taken = end if is_free else self.taken
        return is_free


class RoomyCache(Cache):
    """A cache that can be read on without a copy, once. Copied or stored it is a plain one."""

    room: Room | None = None
    is_ordinary = False  # whether it is known that no number in it is so large that energies could overflow

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, tuple(self)


def is_known(cache: Cache) -> bool:
    """Whether no number in a cache is so large that energies could overflow; looked at where it is not known."""
    return cache.is_ordinary if isinstance(cache, RoomyCache) else is_ordinary(*cache)


def longer(cache: Cache, key: Tensor, value: Tensor) -> Cache:
    """The cache with new keys and values behind its own; the one that was given stays as it is.

    Where nobody wants gradients it has room for as many again, and what is read next is written into it.
    """
    is_alike = key.shape == value.shape and key.dtype == value.dtype
    if is_alike and not torch.is_grad_enabled() and may_look(*cache, key, value):
        both = torch.stack((key, value))
        if fits_behind(cache, both):
            return put_behind(cache, both, is_known(cache) and is_ordinary(both))
    return Cache(torch.cat([cache.key, key], -2), torch.cat([cache.value, value], -2))


def fits_behind(cache: Cache, both: Tensor) -> bool:
    """Whether new keys and values, ``(2, *batch, new, d)``, are of the kind of those in the cache."""
    key, value = cache
    shape, new = key.shape, both.shape
    if shape[:-2] != new[1:-2] or shape[-1] != new[-1] or key.dtype != both.dtype:
        return False
    if key.is_inference() != torch.is_inference_mode_enabled():
        return False
    is_known = isinstance(cache, RoomyCache) and cache.room is not None
    return is_known or (shape == value.shape and key.dtype == value.dtype)


def put_behind(cache: Cache, both: Tensor, is_ordinary: bool) -> RoomyCache:
    """The cache and what stands behind it; a new room, twice as large as what is taken, where there is none."""
    start, new = cache.key.shape[-2], both.shape[-2]
    room = cache.room if isinstance(cache, RoomyCache) else None
    if room is None or not room.take(start, start + new):
        room = Room(cache, 2 * (start + new))
        room.take(start, start + new)
    room.both.narrow(-2, start, new).copy_(both)
    found = RoomyCache(*room.shown.narrow(-2, 0, start + new).unbind())
    found.room, found.is_ordinary = room, is_ordinary
    return found


def next_item(layer: Any, inputs: Tensor, cache: Cache) -> tuple[Attention, Cache] | None:
    """``decode`` of a multi-head layer for one item more of each sentence; None where something is not plain.

    The item sees all, so that no mask is needed, and where no number is large nothing can overflow. It is done without
    a graph and in as few calls as can be: each costs as much as its arithmetic.
    """
    matrices = _plain_matrices(layer, inputs)
    if matrices is None:
        return None
    (batch, _, size), groups = inputs.shape, layer.key_value_heads
    rows = inputs.view(batch, size) if inputs.is_contiguous() else inputs.squeeze(1)
    query, key, value = (F.linear(rows, *matrix) for matrix in matrices[:3])
    if layer.turn is not None:
        place = torch.arange(cache.key.shape[-2], cache.key.shape[-2] + 1)
        turned = [
            layer.turn(part.view(batch, heads, 1, -1), place).reshape(batch, -1)
            for part, heads in ((query, layer.heads), (key, groups))
        ]
        if [(part.shape, part.dtype) for part in turned] != [(part.shape, part.dtype) for part in (query, key)]:
            return None
        query, key = turned
    is_whole = query.shape == key.shape  # one look at all three, where they are of one size
    new = torch.stack((key, value, query) if is_whole else (key, value)).unsqueeze(-2)
    # An input that is not finite makes all that comes of it so.
    is_fine = magnitude(new) < ORDINARY and (is_whole or magnitude(query) < ORDINARY)
    if not (is_fine and fits_behind(cache, new) and is_known(cache)):
        return None
    after = put_behind(cache, new.narrow(0, 0, 2), is_ordinary=True)
    keys, values = (part.view(batch, part.shape[1], groups, -1).transpose(1, 2) for part in after)
    # The heads of a group see the same keys, all of them: to the kernel they are queries of one head.
    context = F.scaled_dot_product_attention(query.view(batch, groups, layer.heads // groups, -1), keys, values)
    output = F.linear(context.view(batch, -1), *matrices[3])
    return Attention(output.unsqueeze(1), None, None), after


def _plain_matrices(layer: Any, inputs: Tensor) -> list[tuple[Tensor, Tensor | None]] | None:
    """The matrices and vectors of a layer, as far as :func:`next_item` may take them; None where it may not."""
    if torch.is_grad_enabled() or is_traced() or is_watched() or torch.is_autocast_enabled("cpu"):
        return None
    if type(inputs) is not Tensor:
        return None
    attention, held, dtype = layer.attention, layer._parameters, inputs.dtype
    if type(attention) is not Attend or has_hooks(attention) or (attention.dropout and layer.training):
        return None
    if attention.score is not scaled_dot or attention.distribution is not softmax or attention.scale is not None:
        return None
    if not inputs.is_cpu or inputs.ndim != 3 or inputs.shape[1] != 1 or inputs.shape[0] == 0 or dtype in HALF:
        return None
    for part in held.values():
        if part is not None and part.dtype != dtype:
            return None
    found: list[tuple[Tensor, Tensor | None]] = []
    for weight, bias in PARAMETERS:
        if (matrix := held.get(weight)) is None:
            return None
        found.append((matrix, held.get(bias)))
    query, key, value = (matrix.shape for matrix, _ in found[:3])
    is_fitting = key == value and query[0] * layer.key_value_heads == key[0] * layer.heads
    return found if is_fitting and query[1] == key[1] == inputs.shape[2] else None
