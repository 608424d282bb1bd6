r"""Local attention without its weights: a run of queries at a time, with the one slice of keys that its windows cover.

Queries in the order of their centres have windows that overlap: a run of ``r`` of them sees about ``r + 2 D`` keys that
stand beside each other. So their energies are products of matrices, nothing is gathered, and what is in memory at a
time is one run. The gradients come from the same runs: energies are computed again, and nothing is kept.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._checks import is_learned, why_not_ours
from .._rows import bad_rows, is_ordinary, times, wide, without
from .._work import Score, has_hooks
from ..scores import BiasedGeneral, General, biased_general, dot, general, scaled_dot
from ._banded import Banded
from ._slices import Form, Slices
from ._window_operation import why_not_one, window_context
from ._window_plans import ends_of, held, in_order, moved, planned
from .native import why_not

__all__ = ["PATHS", "Windows", "held", "in_kernel", "in_operation", "in_runs", "in_slices"]

ROOM = 2**21  # so many numbers of gathered keys and values, where they are gathered


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
    reason = why_not_ours(*tensors, *(() if asked.mask is None else (asked.mask,)), compiled=False)
    if reason is not None:
        return reason
    if query.shape[-1] != asked.key.shape[-1] or 0 in (*asked.batch, *query.shape[-2:], *asked.value.shape[-2:]):
        return "there is nothing to multiply"
    centre = held(asked.centre, asked.half_width, asked.key.shape[-2], asked.query.dtype)
    if asked.gaussian and centre.dtype != wide(query).dtype:
        return "the centres are of another precision than the vectors"
    if bool(asked.centre.isnan().any()):
        return "a centre is NaN"
    learns = is_learned(*tensors)
    if learns and not is_ordinary(*tensors[:3]):
        return "a number is so large, or not finite, that the gradient of a hidden one might not be zero"
    context = way(asked._replace(query=query, centre=centre), scale)
    if not isinstance(context, str) and not learns and not math.isfinite(context.sum().item()):
        return "something is not finite, and may be hidden from some"
    return context


def in_operation(asked: Windows) -> Tensor | str:
    """The context by one operation of torch, as compilers see it, which takes the kernel or the slices; why not."""
    if not torch.compiler.is_compiling():
        return "no compiler looks at the program"
    query, is_given = asked.query, asked.score in (dot, scaled_dot)
    if not is_given:  # zero times a NaN would reach the gradient of what projects
        bad = bad_rows(query)
        query = without(bad, query)
    found = _as_dot(asked.score, query)
    if found is None:
        return "the score is not a dot product"
    query, scale = found
    reason = why_not_one(query, *asked[1:3], asked.centre, asked.mask, gaussian=asked.gaussian)
    if reason is not None:
        return reason
    query = query if is_given else torch.where(bad, torch.nan, query)
    given = _spread(asked._replace(query=query))
    form = Form(asked.half_width, scale, asked.gaussian, asked.renormalise)
    return window_context(*given, asked.centre, asked.mask, form, rounded=asked.rounded)


def in_runs(asked: Windows) -> Tensor | str:
    """The plain form, for some queries after others, so that what is gathered for them fits into little room."""
    if is_learned(asked.query, asked.key, asked.value, asked.centre):
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


PATHS = {
    "kernel in C++": in_kernel,
    "slices of keys": in_slices,
    "one operation": in_operation,
    "runs of queries": in_runs,
}


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


def _banded(asked: Windows, scale: float) -> Tensor:
    """The context by the kernel."""
    query, key, value = _spread(asked)
    centre, order = in_order(asked.centre, asked.batch)
    ends = ends_of(centre.detach(), asked.half_width, key.shape[-2], rounded=asked.rounded)
    mask = asked.mask if asked.mask is None else asked.mask.expand(*asked.batch, *asked.mask.shape[-2:])
    form = Form(asked.half_width, scale, asked.gaussian, asked.renormalise)
    context: Tensor = Banded.apply(query, key, value, centre, ends, order, mask, form)  # type: ignore[no-untyped-call]
    return context


def _sliced(asked: Windows, scale: float) -> Tensor | str:
    """The context, with the queries brought into the order of their centres and back, if they are not in it."""
    query, key, value = _spread(asked)
    centre, order = in_order(asked.centre, asked.batch)
    if order is not None and asked.mask is not None and asked.mask.shape[-2] > 1:
        return "the centres are out of order, and the mask is another for each query"
    ends = ends_of(centre.detach(), asked.half_width, key.shape[-2], rounded=asked.rounded)
    plan = planned(ends, math.prod(asked.batch), asked.half_width, key.shape[-1] + value.shape[-1])
    if plan is None:
        return "the windows are too far apart to be taken together"
    form = Form(asked.half_width, scale, asked.gaussian, asked.renormalise)
    given = moved(query, order), key, value, centre, asked.mask
    context: Tensor = Slices.apply(*given, plan, form)  # type: ignore[no-untyped-call]
    return moved(context, None if order is None else order.argsort(-1))


def _spread(asked: Windows) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values for each item of the batch."""
    query, key, value = (part.expand(*asked.batch, *part.shape[-2:]) for part in asked[:3])
    return query, key, value
