"""Attention whose weights are sigmoids of inner products, a run of queries at a time: no pairs are stored.

Each weight is of its own energy alone, so that a run needs no maximum, no sum and nothing of other runs: two products,
with a sigmoid in between while the numbers are in the cache. Going backwards the weights of a run are computed again.
Where the kernel in C++ is built, it does the same with fewer numbers at a time, in single precision.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .. import masks
from .._checks import is_learned, why_not_ours
from .._rows import is_autocast, is_ordinary, wide
from .._work import Distribution, Score, Work, lengths, visible_pairs
from ..distributions import sigmoid
from ..scores import dot, scaled_dot
from .native import built

__all__ = ["sigmoid_context"]

PAIRS = 2**17  # so many weights of a run, near what the caches hold
ROWS = 64  # of a run at least: products of fewer are slow
FEWEST = 2**14  # pairs of a sequence, from which on a run has something to save
# Pairs in all from which on runs in plain torch are ahead, by whether the weights are to be computed again going back:
# measured with two threads, 2^22 pairs forwards 1.4 to 1.7 times as fast, both passes .78; 2^24 both passes 1.3 to 1.6.
WORTH = {False: 2**21, True: 2**24}


class Form(NamedTuple):
    """What is added to the energies, and whether a query sees those after it."""

    shift: float
    is_causal: bool


def sigmoid_context(work: Work, score: Score, distribution: Distribution) -> Tensor | str:
    """The context under :func:`~attnlib.distributions.sigmoid` of inner products; why not, where it is not that."""
    options = _options(distribution)
    if options is None:
        return "the distribution is not sigmoid with two numbers"
    if score not in (dot, scaled_dot):
        return "the score is not a dot product"
    if work.bias is not None or work.dropout:
        return "there is a bias, or dropout"
    if isinstance(work.scale, Tensor):
        return "the scale is a tensor"
    n_query, n_key = lengths(work)
    parts = (work.query, work.key, work.value)
    if n_query < ROWS or n_query * n_key < FEWEST or 0 in (*work.batch, work.query.shape[-1], work.value.shape[-1]):
        return "there are few pairs"
    if not _by_kernel(work.query) and math.prod(work.batch) * n_query * n_key < WORTH[is_learned(*parts)]:
        return "there are few pairs for runs without the kernel"
    reason = why_not_ours(*parts, compiled=False)
    if reason is not None or is_autocast(work.query):
        return reason or "autocast would round the energies"
    temperature, shift = options
    given = (work.query.shape[-1] ** -0.5 if score is scaled_dot else 1.0) if work.scale is None else work.scale
    scale = given / temperature
    if not is_ordinary(*parts, scale=scale):
        return "a number is so large, or not finite, that a hidden one might count"
    mask = None if work.mask is None else visible_pairs(work._replace(is_causal=False))
    mask = None if mask is None else mask.expand(*work.batch, *mask.shape[-2:])
    query, key, value = (wide(part).expand(*work.batch, *part.shape[-2:]) for part in parts)
    found: Tensor = _InRuns.apply(query * scale, key, value, mask, Form(shift, work.is_causal))  # type: ignore[no-untyped-call]
    return found.to(work.value.dtype)


def _options(distribution: Distribution) -> tuple[float, float] | None:
    """Temperature and bias of a sigmoid; None where it is another distribution, or has others than numbers."""
    given: dict[str, Any] = {}
    if isinstance(distribution, functools.partial) and distribution.func is sigmoid and not distribution.args:
        given = distribution.keywords
    elif distribution is not sigmoid:
        return None
    temperature, bias = given.get("temperature", 1.0), given.get("bias", 0.0)
    if any(isinstance(number, Tensor) for number in (temperature, bias)) or not given.keys() <= {"temperature", "bias"}:
        return None
    return (temperature, bias) if 0 < temperature < math.inf and math.isfinite(bias) else None


class _Entry:
    """One sequence of the batch, and memory for the weights of a run: pages that were touched are not asked again."""

    def __init__(self, query: Tensor, key: Tensor, mask: Tensor | None, form: Form, memory: Tensor) -> None:
        self.query, self.key, self.mask, self.form, self.memory = query, key, mask, form, memory

    def runs(self) -> Iterator[tuple[slice, slice]]:
        """Rows, and the keys that they may see."""
        n_query, n_key = self.query.shape[0], self.key.shape[0]
        step = _rows(n_key)
        for first in range(0, n_query, step):
            last = min(first + step, n_query)
            yield slice(first, last), slice(0, min(last, n_key) if self.form.is_causal else n_key)

    def weights(self, rows: slice, keys: slice) -> Tensor:
        """Of a run, nought where hidden."""
        found = self.room(0, rows, keys)
        torch.mm(self.query[rows], self.key[keys].mT, out=found)
        found = (found.add_(self.form.shift) if self.form.shift else found).sigmoid_()
        if self.form.is_causal:
            found[:, rows.start :].tril_()
        if self.mask is not None:
            found.masked_fill_(~(self.mask if len(self.mask) == 1 else self.mask[rows])[:, keys], 0.0)
        return found

    def room(self, which: int, rows: slice, keys: slice) -> Tensor:
        """Memory for one number of each pair of a run."""
        shape = rows.stop - rows.start, keys.stop - keys.start
        return self.memory[which, : math.prod(shape)].view(shape)


def _rows(n_key: int) -> int:
    """How many queries a run has."""
    return max(ROWS, PAIRS // max(n_key, 1))


def _entries(
    query: Tensor, key: Tensor, mask: Tensor | None, form: Form, rooms: int
) -> Iterator[tuple[tuple[int, ...], _Entry]]:
    """Each place of the batch, and what is there."""
    n_query, n_key = query.shape[-2], key.shape[-2]
    memory = query.new_empty(rooms, min(n_query, _rows(n_key)) * n_key)
    for at in itertools.product(*map(range, query.shape[:-2])):
        yield at, _Entry(query[at], key[at], None if mask is None else mask[at], form, memory)


class _InRuns(torch.autograd.Function):
    """The context, and gradients of query, key and value; all of them have all of the batch."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, form: Form) -> Tensor:
        ctx.form = form
        ctx.save_for_backward(query, key, value, mask)
        if _by_kernel(query):
            found = torch.ops.attnlib.sigmoid_kernel(*_flat(query, key, value, mask), *form)
            return cast(Tensor, found.reshape(*query.shape[:-1], value.shape[-1]))
        context = value.new_empty((*query.shape[:-1], value.shape[-1]))
        for at, entry in _entries(query, key, mask, form, 1):
            for rows, keys in entry.runs():
                torch.mm(entry.weights(rows, keys), value[at][keys], out=context[at][rows])
        return context

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            found = _plain(query, key, value, mask, ctx.form)
            return *torch.autograd.grad(found, (query, key, value), upstream, create_graph=True), None, None
        if _by_kernel(query):
            given = _flat(upstream, query, key, value, mask)
            slopes = torch.ops.attnlib.sigmoid_kernel_backward(*given, *ctx.form)
            parts = zip(slopes, (query, key, value), strict=True)
            return *(part.reshape(known.shape) for part, known in parts), None, None
        to_query, to_key, to_value = (part.new_zeros(part.shape) for part in (query, key, value))
        for at, entry in _entries(query, key, mask, ctx.form, 2):
            for rows, keys in entry.runs():
                weights, pull = entry.weights(rows, keys), upstream[at][rows]
                to_value[at][keys].addmm_(weights.mT, pull)
                slopes = torch.mm(pull, value[at][keys].mT, out=entry.room(1, rows, keys))
                slopes.mul_(weights.addcmul_(weights, weights, value=-1))
                torch.mm(slopes, entry.key[keys], out=to_query[at][rows])
                to_key[at][keys].addmm_(slopes.mT, entry.query[rows])
        return to_query, to_key, to_value, None, None


def _by_kernel(query: Tensor) -> bool:
    """Whether the kernel in C++ does the work."""
    return built("sigmoid") and query.dtype != torch.float64  # what is shorter than single is widened to it


def _flat(*tensors: Tensor | None) -> list[Tensor | None]:
    """With one axis for the batch."""
    return [tensor if tensor is None else tensor.reshape(-1, *tensor.shape[-2:]) for tensor in tensors]


def _plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, form: Form) -> Tensor:
    """The same in operations that can be differentiated as often as one likes, all pairs in memory."""
    weights = (query @ key.mT + form.shift).sigmoid()
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    if form.is_causal:
        weights = weights.masked_fill(~masks.causal(*weights.shape[-2:], device=weights.device), 0.0)
    return weights @ value
