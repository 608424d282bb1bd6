"""Additive attention: against the form that makes an array of all pairs times the width, plain and compiled."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from attnlib import attend, scores

from . import peers
from .case import BOTH, FORWARD, KERNELS, OURS, Case, Goal, Work, faster, made

BROADCAST, COMPILED = "broadcast", "broadcast, compiled"
PARAMETERS = ("vector", "query_weight", "key_weight")


def ours(d: int) -> Callable[..., Tensor]:
    """As a user writes it, with a module that holds the parameters: here these are inputs, for their gradients."""
    score = scores.Additive(d, d, d, bias=False, device="meta")
    for name in PARAMETERS:
        delattr(score, name)

    def call(q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
        score.__dict__.update(zip(PARAMETERS, parameters, strict=True))
        return attend(q, k, v, score=score, need_weights=False).context

    return call


def broadcast(q: Tensor, k: Tensor, v: Tensor, vector: Tensor, query_weight: Tensor, key_weight: Tensor) -> Tensor:
    hidden = torch.tanh((q @ query_weight.mT).unsqueeze(-2) + (k @ key_weight.mT).unsqueeze(-3))
    return (hidden @ vector).softmax(-1) @ v


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    sizes = (
        [(2, 16, 16, 8)] if quick else [(64, 1, 50, 512), (16, 64, 64, 256), (4, 256, 256, 128), (1, 1024, 1024, 128)]
    )
    if device == "cuda" and not quick:
        sizes = [(64, 1, 50, 512), (4, 1024, 1024, 128), (8, 2048, 2048, 128)]
    for batch, n_query, n_key, d in sizes:
        yield case(batch, n_query, n_key, d, device, quick=quick)


def case(batch: int, n_query: int, n_key: int, d: int, device: str, *, quick: bool) -> Case:
    shapes = [(batch, n_query, d), (batch, n_key, d), (batch, n_key, d), (d,), (d, d), (d, d)]

    def inputs() -> tuple[Tensor, ...]:
        *vectors, one, two = made(*shapes, device=device)()
        return *vectors, one / d**0.5, two / d**0.5

    ways = {BROADCAST: broadcast, OURS: ours(d)}
    if not quick and n_query == 256:
        ways[COMPILED] = peers.compiled(broadcast)
    pairs = batch * n_query * n_key
    goals: list[Goal] = []
    if n_query > 1:
        goals = [
            faster(BROADCAST, 5, 3),
            faster(BROADCAST, 2, done=BOTH),
            faster(BROADCAST, 20, 8, ours=KERNELS),
            faster(BROADCAST, 15, 6.5, ours=KERNELS, done=BOTH),
        ]
    if n_query == 1024:
        goals.append(Goal("", mib=20, done=BOTH))
    return Case(
        name="additive",
        size={"B": batch, "queries": n_query, "keys": n_key, "d": d},
        inputs=inputs,
        ways=ways,
        exact=broadcast,
        work=Work(
            flops=2 * pairs * d + 2 * batch * (n_query + n_key) * d * d,
            tanh=pairs * d,
            numbers=batch * (2 * n_query + 2 * n_key) * d,
        ),
        memory=(FORWARD, BOTH) if n_query >= 1024 or quick else (),
        goals=tuple(goals),
    )
