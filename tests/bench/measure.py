"""Times of the ways of a case, round by round; each way is first held against float64, and not timed if it is wrong."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnlib.fused import explain, native

from .case import BOTH, KERNELS, OURS, Case, one


class Setting(NamedTuple):
    """How long to measure, and with which clock."""

    device: str
    budget: float  # seconds for all rounds of a row
    rounds: int
    least: int  # rounds, whatever they take
    span: float  # seconds in which a call is repeated
    busy: bool  # count the processor's time, on one thread: for a machine that does other things too


class Way(NamedTuple):
    """One way to compute a case: the call, and in which surroundings."""

    call: Callable[..., Tensor]
    surroundings: Callable[[], AbstractContextManager[None]]


@contextmanager
def without_kernels() -> Iterator[None]:
    """As if no kernel had been built."""
    loaded = set(native._loaded)
    native._loaded.clear()
    try:
        yield
    finally:
        native._loaded.update(loaded)


def leaves(inputs: tuple[Tensor, ...], done: str) -> tuple[Tensor, ...]:
    """The inputs, which learn where both passes are done."""
    return tuple(x.detach().requires_grad_(done == BOTH and x.is_floating_point()) for x in inputs)


def runner(
    call: Callable[..., Tensor], given: tuple[Tensor, ...], done: str, above: Tensor | None = None
) -> Callable[[], Any]:
    """One pass, or both, as a call without arguments; the gradient that comes from above is :func:`probe` of it."""
    if done != BOTH:
        return partial(call, *given)
    learned = [x for x in given if x.requires_grad]

    def both() -> Any:
        result = call(*given)
        return torch.autograd.grad(result, learned, probe(result) if above is None else above)

    return both


def probe(result: Tensor) -> Tensor:
    """A gradient from above: dense, the same for each entry of the batch, and not all ones, which a softmax ignores."""
    last = result.shape[-2:]
    waves = torch.arange(math.prod(last), dtype=result.dtype, device=result.device).cos()
    return waves.reshape(last).expand(result.shape).contiguous()


def way_of(case: Case, name: str) -> Way:
    """A way by its name: peers as they are, ours without kernels or with them."""
    if KERNELS in name:
        return Way(case.ways[name.replace(KERNELS, OURS)], nullcontext)
    return Way(case.ways[name], without_kernels if name.startswith(OURS) else nullcontext)


def paths_of(case: Case, given: tuple[Tensor, ...]) -> dict[str, list[str]]:
    """The ways by name, and the paths that ours take; with the kernels only where these are others."""
    found: dict[str, list[str]] = {}
    for name, call in case.ways.items():
        found[name] = []
        if name.startswith(OURS):
            with without_kernels():
                found[name] = paths(call, given)
            if native._loaded and (built := paths(call, given)) != found[name]:
                found[name.replace(OURS, KERNELS)] = built
    return found


def paths(call: Callable[..., Tensor], given: tuple[Tensor, ...]) -> list[str]:
    """What :func:`attnlib.explain` says of a call, without the reasons."""
    choices = explain(call, *given).choices
    return list(dict.fromkeys(f"{choice.mechanism}: {choice.path}" for choice in choices))


# --- right or wrong ---------------------------------------------------------------------------------------------------


def exact_of(case: Case, given: tuple[Tensor, ...], done: str) -> list[Tensor]:
    """In float64: the result of the first entry of the batch, and its gradients, where they follow from it alone."""
    few = leaves(one(given), done)
    result = case.exact(*few)
    if done != BOTH:
        return [result]
    learned = [x for x in few if x.requires_grad]
    gradients = torch.autograd.grad(result, learned, probe(result))
    shared = all(math.prod(x.shape[:-2]) == 1 for x in given)  # then a parameter's gradient does too
    return [result.detach(), *(g for g in gradients if shared or g.ndim > 2)]


def found_by(way: Way, given: tuple[Tensor, ...], done: str) -> list[Tensor]:
    """The result, and the gradients where both passes are done: what is held against float64."""
    with way.surroundings():
        result = way.call(*given)
        if done != BOTH:
            return [result]
        learned = [x for x in given if x.requires_grad]
        gradients = torch.autograd.grad(result, learned, probe(result))
    shared = all(math.prod(x.shape[:-2]) == 1 for x in given)
    return [result.detach(), *(g for g in gradients if shared or g.ndim > 2)]


def error_of(found: list[Tensor], exact: list[Tensor]) -> float:
    """The largest error of result and gradients, over the largest number of each; NaN where one is NaN."""
    errors = []
    for mine, right in zip(one(tuple(found)), exact, strict=True):
        if mine.shape != right.shape:
            return math.inf
        errors.append(float((mine - right).abs().max() / right.abs().max().clamp(min=1e-30)))
    return math.nan if any(map(math.isnan, errors)) else max(errors)


# --- times ------------------------------------------------------------------------------------------------------------


def clock(call: Callable[[], Any], repeats: int, setting: Setting) -> float:
    """Seconds of a call, of so many in a row."""
    if setting.device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000 / repeats
    now = time.process_time if setting.busy else time.perf_counter
    started = now()
    for _ in range(repeats):
        call()
    return (now() - started) / repeats


def rounds(calls: dict[str, tuple[Way, Callable[[], Any]]], setting: Setting) -> dict[str, list[float]]:
    """The ways in turn, round by round, so that what else the machine does slows all of them alike.

    Each has been called once before.
    """
    repeats = {}
    for name, (way, call) in calls.items():
        with way.surroundings():
            repeats[name] = max(1, min(1000, int(setting.span / max(clock(call, 1, setting), 1e-7))))
    found: dict[str, list[float]] = {name: [] for name in calls}
    started = time.perf_counter()
    for count in range(setting.rounds):
        if count >= setting.least and time.perf_counter() - started > setting.budget:
            break
        for name, (way, call) in calls.items():
            with way.surroundings():
                found[name].append(float(f"{clock(call, repeats[name], setting):.4g}"))
    return found


def measured(case: Case, done: str, setting: Setting) -> dict[str, dict[str, Any]]:
    """Of each way of a case: paths, error, and the seconds of each round; or why it was not timed."""
    with torch.set_grad_enabled(done == BOTH):
        given = leaves(case.inputs(), done)
        exact = [] if case.wrong is not None else exact_of(case, given, done)
        told: dict[str, dict[str, Any]] = {}
        calls = {}
        for name, taken in paths_of(case, given).items():
            way = way_of(case, name)
            told[name] = {"paths": taken} if taken else {}
            try:
                found = found_by(way, given, done)
            except Exception as raised:  # what a peer cannot do is said, and the others go on
                told[name]["failed"] = f"{type(raised).__name__}: {raised}".splitlines()[0][:200]
                continue
            if not name.startswith("("):
                error = error_of(found, exact) if case.wrong is None else case.wrong(found[0], *given)
                told[name]["error"] = float(f"{error:.2g}")
                if not error <= case.tolerance:
                    told[name]["wrong"] = True
                    continue
            calls[name] = way, runner(way.call, given, done, probe(found[0]) if done == BOTH else None)
        for name, seconds in rounds(calls, setting).items():
            told[name]["seconds"] = seconds
    return told


def ratio(ours: list[float], others: list[float]) -> tuple[float, float, float]:
    """The median of the ratios of the rounds, the least and the most."""
    found = [one / other for one, other in zip(ours, others, strict=True)]
    return statistics.median(found), min(found), max(found)


# --- what the processor can do ----------------------------------------------------------------------------------------


def ceilings(setting: Setting, *, quick: bool) -> dict[str, float]:
    """The most operations or bytes a second that were seen: a product of matrices, a copy, tanh and exp in a cache."""
    device, n = setting.device, (256 if quick else 8192 if setting.device == "cuda" else 1536)
    square = torch.randn(n, n, device=device)
    long = torch.ones((1 if quick else 256 if device == "cuda" else 48) * 2**20, device=device)
    short = torch.randn(2**24 if device == "cuda" else 2**16, device=device)
    target, out = torch.empty_like(long), torch.empty_like(short)
    product = torch.empty_like(square)
    calls: dict[str, tuple[float, Callable[[], Any]]] = {
        "multiply-adds": (2 * n**3, lambda: torch.mm(square, square, out=product)),
        "copy": (8 * long.numel(), lambda: target.copy_(long)),
        "tanh": (short.numel(), lambda: torch.tanh(short, out=out)),
        "exp": (short.numel(), lambda: torch.exp(short, out=out)),
    }
    way = Way(lambda: square, nullcontext)
    with torch.no_grad():
        for _, call in calls.values():
            call()
        found = rounds({name: (way, call) for name, (_, call) in calls.items()}, setting)
    return {name: float(f"{amount / min(found[name]):.4g}") for name, (amount, _) in calls.items()}
