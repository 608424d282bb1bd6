"""What is measured: a case is one function on inputs of one size, written in several ways."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

FORWARD, BOTH = "forward", "both"  # both passes
OURS = "attnlib"
KERNELS = "attnlib, C++"  # the same call with the kernels built, where another path is taken then
DEFAULT, WARM = "default", "warm"  # the allocator


@dataclass(frozen=True)
class Goal:
    """Our time is at most ``at_most`` times that of a peer, under each allocator; or our memory, at most ``mib``."""

    peer: str
    at_most: Mapping[str, float] = field(default_factory=dict)
    done: str = FORWARD
    ours: str = OURS
    mib: float | None = None


def faster(peer: str, default: float, warm: float | None = None, **options: Any) -> Goal:
    """So many times faster than the peer; with one number, under both allocators."""
    return Goal(peer, {DEFAULT: 1 / default, WARM: 1 / (default if warm is None else warm)}, **options)


def within(peer: str, times: float, **options: Any) -> Goal:
    """At most so many times the peer's time."""
    return Goal(peer, {DEFAULT: times, WARM: times}, **options)


@dataclass(frozen=True)
class Work:
    """What cannot be left out: multiply-adds count two; elements that go through tanh or exp; numbers in and out."""

    flops: float = 0.0
    tanh: float = 0.0
    exp: float = 0.0
    numbers: float = 0.0


@dataclass(frozen=True)
class Case:
    """One function, its inputs, the ways to compute it, and what is right.

    The first way is the yardstick of the ratios; the name of ours is :data:`OURS`, or begins with it; a name in
    brackets is of another function, and is not held against float64. That gets the first entry of each batch axis
    alone: tensors of three and more axes are cut.
    """

    name: str
    size: Mapping[str, int]
    inputs: Callable[[], tuple[Tensor, ...]]
    ways: Mapping[str, Callable[..., Tensor]]
    exact: Callable[..., Tensor]
    work: Work = Work()
    passes: tuple[str, ...] = (FORWARD, BOTH)
    memory: tuple[str, ...] = ()  # the passes whose memory is measured
    goals: tuple[Goal, ...] = ()
    wrong: Callable[..., float] | None = None  # in place of the largest error: of a result and the inputs
    tolerance: float = 1e-4

    @property
    def title(self) -> str:
        return ", ".join([self.name, *(f"{key} {value}" for key, value in self.size.items())])


def made(*shapes: tuple[int, ...], device: str, scale: float = 1.0) -> Callable[[], tuple[Tensor, ...]]:
    """Random inputs of these shapes, the same at each call and on each device."""

    def make() -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(0)
        return tuple((torch.randn(shape, generator=generator) * scale).to(device) for shape in shapes)

    return make


def one(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The first entry of each batch axis, in float64 where it is a number."""
    cut = (x[(slice(0, 1),) * (x.ndim - 2)] if x.ndim > 2 else x for x in tensors)
    return tuple(x.detach().double() if x.is_floating_point() else x for x in cut)


def formula(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None = None) -> Tensor:
    """Softmax attention as it is written, and nothing else."""
    energies = query @ key.mT * query.shape[-1] ** -0.5
    if visible is not None:
        energies = energies.masked_fill(~visible, -torch.inf)
    return energies.softmax(-1) @ value


def lower(n: int, device: Any) -> Tensor:
    """The causal mask."""
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()
