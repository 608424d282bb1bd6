"""Keys and values of the items that were read, in memory with room for those that follow."""

from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .._checks import HALF, may_look
from .._rows import ORDINARY, is_ordinary, magnitude
from .._work import has_hooks
from ..attention import Attend, Attention
from ..distributions import softmax
from ..fused.paths import is_watched
from ..scores import scaled_dot

if TYPE_CHECKING:
    from .multihead import MultiHead


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
    if torch.is_grad_enabled() or not may_look(*cache, key, value) or not fits_behind(cache, key, value):
        return Cache(torch.cat([cache.key, key], -2), torch.cat([cache.value, value], -2))
    return put_behind(cache, torch.stack([key, value]), is_known(cache) and is_ordinary(key, value))


def fits_behind(cache: Cache, key: Tensor, value: Tensor) -> bool:
    """Whether keys and values, old and new, are of one kind, so that they have a place in one tensor."""
    old, new = cache.key.shape, key.shape
    if not (old == cache.value.shape and new == value.shape and old[:-2] == new[:-2] and old[-1] == new[-1]):
        return False
    if not cache.key.dtype == cache.value.dtype == key.dtype == value.dtype:
        return False
    return cache.key.is_inference() == torch.is_inference_mode_enabled()


def put_behind(cache: Cache, both: Tensor, is_ordinary: bool) -> RoomyCache:
    """The cache and what stands behind it, ``(2, *batch, new, d)``; a new room, twice as large, where there is none."""
    start, new = cache.key.shape[-2], both.shape[-2]
    room = cache.room if isinstance(cache, RoomyCache) else None
    if room is None or not room.take(start, start + new):
        room = Room(cache, 2 * (start + new))
        room.take(start, start + new)
    room.both.narrow(-2, start, new).copy_(both)
    found = RoomyCache(*room.shown.narrow(-2, 0, start + new).unbind())
    found.room, found.is_ordinary = room, is_ordinary
    return found


def next_item(layer: "MultiHead", inputs: Tensor, cache: Cache) -> tuple[Attention, Cache] | None:
    """``layer.decode`` of one item more of each sentence, without a graph; None where something is not plain.

    The item sees all, so that no mask is needed, and where no number is large nothing can overflow. It is done in
    as few calls as can be: each costs as much as its arithmetic.
    """
    attention, held = layer.attention, [part for part in layer._parameters.values() if part is not None]
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or is_watched():
        return None
    if layer.turn is not None or layer.heads != layer.key_value_heads or not may_look(*held):
        return None
    if type(attention) is not Attend or has_hooks(attention) or (attention.dropout and layer.training):
        return None
    if attention.score is not scaled_dot or attention.distribution is not softmax or attention.scale is not None:
        return None
    if type(inputs) is not Tensor or not inputs.is_cpu or inputs.dtype in HALF or inputs.ndim != 3:
        return None
    weights = layer.query_weight, layer.key_weight, layer.value_weight
    batch, new, size = inputs.shape
    if not batch or new != 1 or weights[0].shape[-1] != size or any(part.dtype != inputs.dtype for part in held):
        return None
    if not weights[0].shape == weights[1].shape == weights[2].shape:
        return None
    biases = layer.query_bias, layer.key_bias, layer.value_bias
    query, key, value = (F.linear(inputs, *matrix) for matrix in zip(weights, biases, strict=True))
    made = torch.stack((key, value, query))
    # An input that is not finite makes all that comes of it so.
    if not (magnitude(made) < ORDINARY and fits_behind(cache, key, value) and is_known(cache)):
        return None
    after = put_behind(cache, made.narrow(0, 0, 2), is_ordinary=True)
    keys, values = (part.view(batch, part.shape[1], layer.heads, -1).transpose(1, 2) for part in after)
    context = F.scaled_dot_product_attention(query.view(batch, layer.heads, 1, -1), keys, values).view(batch, 1, -1)
    return Attention(F.linear(context, layer.output_weight, layer.output_bias), None, None), after
