"""Hard attention: a position drawn for each query, against multinomial and gather, and against soft attention."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.softness.sampled import attend_sampled

from .case import DEFAULT, FORWARD, OURS, WARM, Case, Goal, Work, faster, made

PEER, SOFT = "multinomial and gather", "SDPA, soft"


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    for batch, n in [(2, 16)] if quick else [(4, 512), (2, 2048)]:
        yield case(batch, n, device)


def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attend_sampled(q, k, v).context[0]


def multinomial(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
    drawn = torch.multinomial(weights.flatten(0, -2), 1).view(*weights.shape[:-1], 1)
    return v.gather(-2, drawn.expand(*drawn.shape[:-1], v.shape[-1]))


def case(batch: int, n: int, device: str, d: int = 64) -> Case:
    def wrong(found: Tensor, q: Tensor, k: Tensor, v: Tensor) -> float:
        """How far from every value; if it is none, how much too likely or unlikely what was drawn is, beyond chance."""
        q, k, v, found = (x[0].double() for x in (q, k, v, found))
        apart, drawn = torch.cdist(found, v).min(-1)
        if (away := float(apart.max())) > 1e-5:
            return away
        p = (q @ k.mT * d**-0.5).softmax(-1)
        chosen = p.gather(-1, drawn.unsqueeze(-1)).sum()  # of which mean and variance are known
        mean, squares = p.square().sum(-1), p.pow(3).sum(-1)
        deviations = (chosen - mean.sum()) / (squares - mean.square()).sum().sqrt()
        return max(0.0, abs(float(deviations)) - 5)

    return Case(
        name="hard, one draw",
        size={"B": batch, "N": n, "d": d},
        inputs=made(*[(batch, n, d)] * 3, device=device),
        ways={PEER: multinomial, OURS: ours, f"({SOFT})": F.scaled_dot_product_attention},
        exact=multinomial,
        wrong=wrong,
        work=Work(flops=2 * batch * n * n * d, exp=batch * n * n, numbers=4 * batch * n * d),
        passes=(FORWARD,),
        memory=(FORWARD,) if n >= 2048 else (),
        goals=(faster(PEER, 10), Goal(f"({SOFT})", {DEFAULT: 1.1, WARM: 1.1})),
    )
