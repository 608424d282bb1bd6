"""Linear attention: all keys at once, causally in chunks, token by token; against a running sum and softmax.

And against the package of the paper's authors where it is there: it has to be built by hand, see ``peers.txt``.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.frontiers.linear import decode, linear_attention

from . import peers
from .case import BOTH, FORWARD, KERNELS, OURS, Case, Work, faster, lower, made

SUMS, SOFT, THEIRS = "running sum", "(SDPA, softmax)", "fast-transformers"


def phi(x: Tensor) -> Tensor:
    return F.elu(x) + 1


def whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    asked, features = phi(q), phi(k)
    return asked @ (features.mT @ v) / (asked @ features.sum(-2).unsqueeze(-1))


def running(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal, with every state kept."""
    asked, features = phi(q), phi(k)
    states = (features.unsqueeze(-1) * v.unsqueeze(-2)).cumsum(-3)
    return (asked.unsqueeze(-2) @ states).squeeze(-2) / (asked * features.cumsum(-2)).sum(-1, keepdim=True)


def pairs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal, with the matrix of all pairs: what is right."""
    weights = (phi(q) @ phi(k).mT) * lower(q.shape[-2], q.device)
    return weights @ v / weights.sum(-1, keepdim=True)


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    for n in [32] if quick else [1024, 4096, 16384]:
        yield all_keys(n, device)
        yield causal(n, device, quick=quick)
    yield one_token(32 if quick else 4096, device)


def work(heads: int, n: int, d: int, flops: float) -> Work:
    return Work(flops=flops, exp=2 * heads * n * d, numbers=4 * heads * n * d)


def all_keys(n: int, device: str, heads: int = 8, d: int = 64) -> Case:
    return Case(
        name="linear, all keys",
        size={"H": heads, "N": n, "d": d},
        inputs=made(*[(1, heads, n, d)] * 3, device=device),
        ways={
            "the formula": whole,
            OURS: lambda q, k, v: linear_attention(q, k, v).context,
            SOFT: F.scaled_dot_product_attention,
        }
        if n <= 4096
        else {"the formula": whole, OURS: lambda q, k, v: linear_attention(q, k, v).context},
        exact=whole,
        work=work(heads, n, d, 4 * heads * n * d * d),
        passes=(FORWARD, BOTH) if n <= 4096 else (FORWARD,),
    )


def causal(n: int, device: str, *, quick: bool, heads: int = 8, d: int = 64) -> Case:
    ways: dict[str, Callable[..., Tensor]] = {OURS: lambda q, k, v: linear_attention(q, k, v, is_causal=True).context}
    if n <= 1024:
        ways = {SUMS: running, **ways}
    product, _ = peers.fast_transformers()
    if product is not None and device == "cpu":

        def theirs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            asked, features = phi(q), phi(k)
            total = torch.einsum("nhld,nhld->nhl", asked, features.cumsum(-2)).unsqueeze(-1)
            return product.causal_dot_product(asked, features, v) / (total + 1e-6)

        ways[THEIRS] = theirs
    ways[SOFT] = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return Case(
        name="linear, causal",
        size={"H": heads, "N": n, "d": d},
        inputs=made(*[(1, heads, n, d)] * 3, device=device),
        ways=ways,
        exact=running if n > 4096 else pairs,
        work=work(heads, n, d, 4 * heads * n * d * d),
        passes=(FORWARD, BOTH) if n <= 4096 else (FORWARD,),
        memory=(FORWARD, BOTH) if n == 4096 else (),
        goals=(
            faster(SUMS, 2),
            *([faster(SOFT, 10), faster(SOFT, 10, ours=KERNELS)] if n > 4096 else []),
            *([faster(THEIRS, 2), faster(THEIRS, 2, ours=KERNELS)] if product else []),
            *([faster(THEIRS, 2, done=BOTH, ours=KERNELS)] if product and n <= 4096 else []),
        ),
    )


def one_token(n: int, device: str, heads: int = 8, d: int = 64) -> Case:
    """The next token, after so many: from a state, or from all keys and values."""
    _, state = decode(*made(*[(1, heads, n, d)] * 3, device=device)())
    keys, values = made(*[(1, heads, n, d)] * 3, device=device)()[1:]

    def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        before = (x[:, : q.shape[1]].to(q.dtype) for x in (keys, values))
        k, v = (torch.cat([old, new], -2) for old, new in zip(before, (k, v), strict=True))
        return whole(q, k, v)

    ways: dict[str, Callable[..., Tensor]] = {
        "the formula, all keys again": exact,
        OURS: lambda q, k, v: decode(q, k, v, state)[0],
    }
    _, recurrent = peers.fast_transformers()
    if recurrent is not None:
        module = recurrent.RecurrentLinearAttention(d)

        def theirs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            kept = [state.memory.clone(), state.total.clone()]  # it writes over them
            return module(q[:, :, 0], k[:, :, 0], v[:, :, 0], kept)[0].unsqueeze(-2)

        ways[THEIRS] = theirs
    return Case(
        name="linear, one token",
        size={"H": heads, "N": n, "d": d},
        inputs=made(*[(1, heads, 1, d)] * 3, device=device, scale=0.5),
        ways=ways,
        exact=exact,
        work=Work(flops=4 * heads * d * d, numbers=2 * heads * d * d),
        passes=(FORWARD,),
        goals=(faster(THEIRS, 2),) if recurrent else (),
    )
