"""Windows: local-m and local-p, against the local-attention package, a dense band mask, FlexAttention."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.softness.local import local, monotonic_centres

from . import peers
from .case import BOTH, FORWARD, KERNELS, OURS, Case, Goal, Work, faster, formula, made

PEER, DENSE, FLEX = "local-attention", "SDPA, dense band mask", "FlexAttention, compiled"


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    sizes = [(1, 64, 16)] if quick else [(2, 1024, 128), (2, 4096, 128), (8, 1024, 128), (8, 4096, 128)]
    if device == "cuda" and not quick:
        sizes = [(8, 4096, 256), (8, 16384, 256)]
    for heads, n, reach in sizes:
        yield monotonic(heads, n, reach, device, quick=quick)
    yield predicted(*sizes[0], device)


def band(n: int, reach: int, device: str) -> Tensor:
    place = torch.arange(n, device=device)
    return (place[:, None] - place).abs() <= reach


def monotonic(heads: int, n: int, reach: int, device: str, *, quick: bool, d: int = 64) -> Case:
    centres = monotonic_centres(n, lengths=n, device=device)
    seen = band(n, reach, device)
    ways: dict[str, Callable[..., Tensor]] = {}
    if (theirs := peers.local_attention()) is not None:
        ways[PEER] = theirs.LocalAttention(window_size=reach, exact_windowsize=True, use_rotary_pos_emb=False)
    ways[OURS] = lambda q, k, v: (
        local(q, k, v, centre=centres, half_width=reach, gaussian=False, need_weights=False).context
    )
    if heads * n <= 8192 or device == "cuda":  # beyond, it would take a tenth of the whole run
        ways[DENSE] = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    if not quick and n == 4096 and (heads == 2 or device == "cuda"):
        ways[FLEX] = flex(n, reach, device)
    return Case(
        name="local-m",
        size={"H": heads, "N": n, "D": reach, "d": d},
        inputs=made(*[(1, heads, n, d)] * 3, device=device),
        ways=ways,
        exact=lambda q, k, v: formula(q, k, v, seen),
        work=work(heads, n, reach, d),
        memory=(FORWARD, BOTH) if n >= 4096 else (),
        goals=(
            faster(PEER, 3, 1.7),
            faster(PEER, 1.5, 1.1, done=BOTH),
            faster(PEER, 3, 1.7, ours=KERNELS),
            faster(PEER, 3, 1.7, ours=KERNELS, done=BOTH),
            faster(FLEX, 1.5),
            faster(FLEX, 1.5, ours=KERNELS),
            Goal("", mib=1.1 * 4 * heads * n * d / 2**20),  # the output, and a tenth
        ),
    )


def predicted(heads: int, n: int, reach: int, device: str, d: int = 64) -> Case:
    centres = (torch.rand(heads, n, generator=torch.Generator().manual_seed(1)) * n).to(device)

    def dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        middle = centres[: q.shape[1]].to(q.dtype)
        away = torch.arange(n, device=device) - middle.unsqueeze(-1)
        weights = (q @ k.mT * d**-0.5).masked_fill(away.abs() > reach, -torch.inf).softmax(-1)
        return (weights * torch.exp(-2 * (away / reach).square())) @ v

    return Case(
        name="local-p",
        size={"H": heads, "N": n, "D": reach, "d": d},
        inputs=made(*[(1, heads, n, d)] * 3, device=device),
        ways={
            "the formula, dense": dense,
            OURS: lambda q, k, v: local(q, k, v, centre=centres, half_width=reach, need_weights=False).context,
        },
        exact=dense,
        work=work(heads, n, reach, d),
    )


def work(heads: int, n: int, reach: int, d: int) -> Work:
    pairs = heads * n * (2 * reach + 1)
    return Work(flops=4 * pairs * d, exp=pairs, numbers=4 * heads * n * d)


def flex(n: int, reach: int, device: str) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def near(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query - key).abs() <= reach

    seen = create_block_mask(near, None, None, n, n, device=device)
    run = peers.compiled(flex_attention)
    return lambda q, k, v: run(q, k, v, block_mask=seen)
