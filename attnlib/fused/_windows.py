r"""Local attention without its weights: a run of queries at a time, with the one slice of keys that its windows cover.

Queries in the order of their centres have windows that overlap: a run of ``r`` of them sees about ``r + 2 D`` keys that
stand beside each other. So their energies are products of matrices, nothing is gathered, and what is in memory at a
time is one run. The gradients come from the same runs: energies are computed again, and nothing is kept.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .._checks import may_look
from .._rows import is_ordinary, times, wide
from .._work import Score, has_hooks
from ..scores import BiasedGeneral, General, biased_general, dot, general, scaled_dot
from ._banded import Banded
from ._slices import Block, Form, Plan, Slices
from .native import why_not

__all__ = ["PATHS", "Windows", "held", "in_kernel", "in_runs", "in_slices"]

PAIRS = 2**20  # so many energies are in memory at a time
ROOM = 2**21  # so many numbers of gathered keys and values, where they are gathered
WASTE = 2**22  # multiplications in vain that take as long as what a run costs, however small it is
GATHERED = 64  # multiplications that take as long as one number that is gathered


class Windows(NamedTuple):
    """What is asked: the arguments of ``local``, checked, and its plain form for as many queries as one likes."""

    query: Tensor
    key: Tensor
    value: Tensor
    batch: tuple[int, ...]
    centre: Tensor  # as it was given
    half_width: int
    score: Score
    gaussian: bool
    renormalise: bool
    rounded: bool
    mask: Tensor | None  # with an axis of queries and one of keys
    reference: Callable[["Windows"], Tensor]


def held(centre: Tensor, half_width: int, n_key: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The centre as a number that fits an integer: NaN as 0; nearer, where the window is empty all the same.

    Whole numbers take the precision of the rest; it is single at least, and that of the centre if this is higher.
    """
    centre = centre.to(torch.promote_types(torch.promote_types(centre.dtype, dtype), torch.float32))
    return torch.where(centre.isnan(), 0.0, centre).clamp(-half_width - 1, n_key + half_width)


def in_kernel(asked: Windows) -> Tensor | str:
    """The context through the kernel in C++; why not, where there is none, or it would not be the same."""
    if any(tensor.dtype != torch.float32 for tensor in asked[:3]):
        return "the vectors are not in single precision"
    return why_not("windows") or _answered(asked, _banded)


def in_slices(asked: Windows) -> Tensor | str:
    """The context from slices of the keys; why not, where that would not be the same, or would not be quicker."""
    return _answered(asked, _sliced)


def _answered(asked: Windows, way: Callable[[Windows, float], Tensor | str]) -> Tensor | str:
    """What a way gives for the score as a product, if it is one and all is ordinary."""
    found = _as_dot(asked.score, asked.query)
    if found is None:
        return "the score is not a dot product"
    query, scale = found
    tensors = (query, asked.key, asked.value, asked.centre)
    if not may_look(*tensors) or (asked.mask is not None and not may_look(asked.mask)):
        return "where the windows are may not steer the program here"
    if query.shape[-1] != asked.key.shape[-1] or 0 in (*asked.batch, *query.shape[-2:], *asked.value.shape[-2:]):
        return "there is nothing to multiply"
    if any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):  # type: ignore[no-untyped-call]
        return "derivatives are taken forwards"
    centre = held(asked.centre, asked.half_width, asked.key.shape[-2], asked.query.dtype)
    if asked.gaussian and centre.dtype != wide(query).dtype:
        return "the centres are of another precision than the vectors"
    if bool(asked.centre.isnan().any()):
        return "a centre is NaN"
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if learns and not is_ordinary(*tensors[:3]):
        return "a number is so large, or not finite, that the gradient of a hidden one might not be zero"
    context = way(asked._replace(query=query, centre=centre), scale)
    if not isinstance(context, str) and not learns and not math.isfinite(context.sum().item()):
        return "something is not finite, and may be hidden from some"
    return context


def in_runs(asked: Windows) -> Tensor | str:
    """The plain form, for some queries after others, so that what is gathered for them fits into little room."""
    tensors = (asked.query, asked.key, asked.value, asked.centre)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return "gradients are wanted, for which all that is gathered is kept"
    n_query, size = asked.query.shape[-2], asked.key.shape[-1] + asked.value.shape[-1]
    step = max(1, ROOM // max(1, math.prod(asked.batch) * size * (2 * asked.half_width + 1)))
    if step >= n_query:
        return "all that is gathered fits into little room"

    def run(queries: slice) -> Tensor:
        mask = asked.mask if asked.mask is None or asked.mask.shape[-2] == 1 else asked.mask[..., queries, :]
        part = asked._replace(query=asked.query[..., queries, :], centre=asked.centre[..., queries], mask=mask)
        return asked.reference(part)

    return torch.cat([run(slice(start, start + step)) for start in range(0, n_query, step)], -2)


PATHS = {"kernel in C++": in_kernel, "slices of keys": in_slices, "runs of queries": in_runs}


def _as_dot(score: Score, query: Tensor) -> tuple[Tensor, float] | None:
    """Queries and a number with which the score is their product with the keys, if it is one."""
    if score is dot:
        return query, 1.0
    if score is scaled_dot:
        return query, query.shape[-1] ** -0.5 if query.shape[-1] else 1.0
    given: dict[str, Any] = {}
    if isinstance(score, functools.partial) and score.func in (general, biased_general) and not score.args:
        given = score.keywords
    elif isinstance(score, (General, BiasedGeneral)) and _is_plain(score):
        given = dict(score.named_parameters())
    weight, bias = given.get("weight"), given.get("bias")
    if not isinstance(weight, Tensor) or len(given) != 1 + (bias is not None) or weight.ndim != 2:
        return None
    weight = weight if bias is None else weight.mT
    if weight.shape[0] != query.shape[-1] or (bias is not None and bias.shape != weight.shape[1:]):
        return None
    projected = times(query, weight)
    return projected if bias is None else projected + wide(bias), 1.0


def _is_plain(score: General | BiasedGeneral) -> bool:
    """Whether it does what its class does, and nothing besides."""
    own = type(score).forward in (General.forward, BiasedGeneral.forward)
    return own and not has_hooks(score)


def _banded(asked: Windows, scale: float) -> Tensor | str:
    """The context by the kernel."""
    query, key, value = _spread(asked)
    centre, order = _in_order(asked)
    mask = asked.mask
    if mask is not None:
        mask = mask.expand(*asked.batch, *mask.shape[-2:])
    form = Form(asked.half_width, scale, asked.gaussian, asked.renormalise)
    context: Tensor = Banded.apply(query, key, value, centre, _ends(centre.detach(), asked), order, mask, form)  # type: ignore[no-untyped-call]
    return context


def _sliced(asked: Windows, scale: float) -> Tensor | str:
    """The context, with the queries brought into the order of their centres and back, if they are not in it."""
    query, key, value = _spread(asked)
    centre, order = _in_order(asked)
    if order is not None:
        if asked.mask is not None and asked.mask.shape[-2] > 1:
            return "the centres are out of order, and the mask is another for each query"
        order = order.reshape(*([1] * len(asked.batch) if len(order) == 1 else asked.batch), -1, 1)
        query = query.gather(-2, order.expand(query.shape))
    form = Form(asked.half_width, scale, asked.gaussian, asked.renormalise)
    plan = _planned(_ends(centre.detach(), asked), asked)
    if isinstance(plan, str):
        return plan
    context: Tensor = Slices.apply(query, key, value, centre, asked.mask, plan, form)  # type: ignore[no-untyped-call]
    if order is None:
        return context
    back = order.argsort(-2)
    return context.gather(-2, back.expand(context.shape))


def _spread(asked: Windows) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values for each item of the batch."""
    query, key, value = (part.expand(*asked.batch, *part.shape[-2:]) for part in asked[:3])
    return query, key, value


def _in_order(asked: Windows) -> tuple[Tensor, Tensor | None]:
    """The centres in order, ``(items or 1, query)``, and whose they are, where they were out of it."""
    centre, n_query = asked.centre, asked.centre.shape[-1]
    shared = math.prod(centre.shape[:-1]) == 1
    centre = centre.reshape(1, n_query) if shared else centre.expand(*asked.batch, n_query).reshape(-1, n_query)
    if not bool((centre[:, 1:] < centre[:, :-1]).any()):
        return centre, None
    order = centre.detach().argsort(-1)
    return centre.gather(-1, order), order


def _ends(centre: Tensor, asked: Windows) -> Tensor:
    """The first key of each window and the last, ``(2, items or 1, query)``."""
    n_key, half_width = asked.key.shape[-2], asked.half_width
    floor = centre.floor()
    first = ((floor if asked.rounded else centre.ceil()).long() - half_width).clamp(0, n_key)
    last = (floor.long() + half_width).clamp(-1, n_key - 1)
    return torch.stack([first, last])


def _planned(ends: Tensor, asked: Windows) -> Plan | str:
    """The plan for windows in order, unless they are so far apart that it has too many blocks."""
    half_width, n_query = asked.half_width, ends.shape[-1]
    first, last = ends
    size, rows = asked.key.shape[-1] + asked.value.shape[-1], math.prod(asked.batch)
    most = 16 * WASTE + GATHERED * rows * n_query * (2 * half_width + 1) * size
    blocks: list[Block] = []
    for block in _blocks(first.tolist(), last.tolist(), rows, 2 * half_width + 1, size):
        blocks.append(block)
        most -= WASTE + size * math.prod(where.stop - where.start for where in block)
        if most < 0:
            return "the windows are too far apart to be taken together"
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
