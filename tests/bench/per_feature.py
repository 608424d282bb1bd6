"""A weight for each feature of each pair (DiSAN): against the broadcast form."""

from collections.abc import Iterator

import torch
from torch import Tensor

from attnlib.output_representations.directional import directional

from .case import BOTH, FORWARD, KERNELS, OURS, Case, Goal, Work, faster, made

BROADCAST = "broadcast"


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    for batch, n, d in [(2, 16, 8)] if quick else [(4, 128, 128), (1, 512, 128)]:
        yield case(batch, n, d, device)


def broadcast(x: Tensor, query_weight: Tensor, key_weight: Tensor) -> Tensor:
    """Each token and those before it; the first, which has none, gets zeros."""
    energies = 5 * torch.tanh(((x @ query_weight.mT).unsqueeze(-2) + (x @ key_weight.mT).unsqueeze(-3)) / 5)
    hidden = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).triu()
    weights = energies[..., 1:, :, :].masked_fill(hidden[1:, :, None], -torch.inf).softmax(-2)
    context = (weights * x.unsqueeze(-3)).sum(-2)
    return torch.cat([torch.zeros_like(context[..., :1, :]), context], -2)


def ours(x: Tensor, query_weight: Tensor, key_weight: Tensor) -> Tensor:
    return directional(
        x, query_weight=query_weight, key_weight=key_weight, direction="forward", need_weights=False
    ).context


def case(batch: int, n: int, d: int, device: str) -> Case:
    pairs = batch * n * (n - 1) / 2
    return Case(
        name="per feature",
        size={"B": batch, "N": n, "d": d},
        inputs=made((batch, n, d), (d, d), (d, d), device=device, scale=0.3),
        ways={BROADCAST: broadcast, OURS: ours},
        exact=broadcast,
        work=Work(
            flops=3 * pairs * d + 4 * batch * n * d * d, tanh=pairs * d, exp=pairs * d, numbers=2 * batch * n * d
        ),
        memory=(FORWARD, BOTH) if n >= 512 else (),
        goals=(
            faster(BROADCAST, 4, 3.5),
            faster(BROADCAST, 4, 3.5, done=BOTH),
            faster(BROADCAST, 10, ours=KERNELS),
            faster(BROADCAST, 4, 3.5, ours=KERNELS, done=BOTH),
            *((Goal("", mib=16 * 4 * n * d / 2**20, done=BOTH),) if n >= 512 else ()),
        ),
    )
