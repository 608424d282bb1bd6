"""Softmax, sparsemax and entmax on rows of energies: against torch's softmax and the entmax package."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from attnlib import distributions

from . import peers
from .case import BOTH, FORWARD, KERNELS, OURS, Case, Work, faster, made, within

SOFTMAX, SORT, PARTIAL, BISECT = "torch's softmax", "entmax, full sort", "entmax, k = 100", "entmax, bisection"


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    sizes = [(8, 16)] if quick else [(4096, 128), (512, 1024), (64, 32000)]
    for rows, n in sizes:
        yield softmax(rows, n, device)
        yield sparsemax(rows, n, device)
        yield entmax(rows, n, device)
    yield any_alpha(*sizes[0], device)


def work(rows: int, n: int, **more: float) -> Work:
    return Work(numbers=2 * rows * n, **more)


def softmax(rows: int, n: int, device: str) -> Case:
    return Case(
        name="softmax",
        size={"rows": rows, "keys": n},
        inputs=made((rows, n), device=device),
        ways={SOFTMAX: lambda e: torch.softmax(e, -1), OURS: distributions.softmax},
        exact=lambda e: torch.softmax(e, -1),
        work=work(rows, n, exp=rows * n),
        goals=(within(SOFTMAX, 1.2),),
    )


def sparse(name: str, rows: int, n: int, device: str, ways: dict[str, Callable[..., Tensor]], exact: Callable) -> Case:
    goals = [faster(peer, 1.5, done=done) for peer in ways if peer != OURS for done in (FORWARD, BOTH)]
    if SORT in ways:
        goals.append(faster(SORT, 10, ours=KERNELS))
    goals.append(within(f"({SOFTMAX})", 2.2, ours=KERNELS))
    return Case(
        name=name,
        size={"rows": rows, "keys": n},
        inputs=made((rows, n), device=device),
        ways={**ways, f"({SOFTMAX})": lambda e: torch.softmax(e, -1)},
        exact=exact,
        work=work(rows, n, flops=4 * rows * n),
        goals=tuple(goals),
    )


def sparsemax(rows: int, n: int, device: str) -> Case:
    ways: dict[str, Callable[..., Tensor]] = {}
    if (theirs := peers.entmax()) is not None:
        ways = {SORT: lambda e: theirs.sparsemax(e, dim=-1), PARTIAL: lambda e: theirs.sparsemax(e, dim=-1, k=100)}
    return sparse("sparsemax", rows, n, device, {**ways, OURS: distributions.sparsemax}, by_bisection(2.0))


def entmax(rows: int, n: int, device: str) -> Case:
    ways: dict[str, Callable[..., Tensor]] = {}
    if (theirs := peers.entmax()) is not None:
        ways = {SORT: lambda e: theirs.entmax15(e, dim=-1), PARTIAL: lambda e: theirs.entmax15(e, dim=-1, k=100)}
    return sparse("entmax 1.5", rows, n, device, {**ways, OURS: distributions.entmax}, by_bisection(1.5))


def any_alpha(rows: int, n: int, device: str, alpha: float = 1.3) -> Case:
    ways: dict[str, Callable[..., Tensor]] = {}
    if (theirs := peers.entmax()) is not None:
        ways = {BISECT: lambda e: theirs.entmax_bisect(e, alpha=alpha, dim=-1)}
    ways[OURS] = lambda e: distributions.entmax(e, alpha=alpha)
    return sparse(f"entmax {alpha}", rows, n, device, ways, by_bisection(alpha))


def by_bisection(alpha: float) -> Callable[[Tensor], Tensor]:
    """What is right: the threshold by halving in float64, and the gradient by the derivative of the threshold."""

    def weights(energies: Tensor) -> Tensor:
        z = (alpha - 1) * energies
        high = z.detach().amax(-1, keepdim=True)
        low = high - 1
        for _ in range(60):
            middle = (low + high) / 2
            enough = (z.detach() - middle).clamp(min=0).pow(1 / (alpha - 1)).sum(-1, keepdim=True) >= 1
            low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
        p = (z.detach() - low).clamp(min=0).pow(1 / (alpha - 1))
        slope = torch.where(p > 0, p.pow(2 - alpha), 0.0)
        mean = (slope * energies).sum(-1, keepdim=True) / slope.sum(-1, keepdim=True)
        path = slope * (energies - mean)
        return p / p.sum(-1, keepdim=True) + path - path.detach()

    return weights
