"""The multi-head layer: against torch's, and against the least that can be written; and reading on with a cache."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlib.output_representations.multihead import MultiHead

from .case import FORWARD, OURS, Case, Work, faster, made, within

LEAN, TORCH, NO_WEIGHTS = "lean: a matrix and SDPA", "torch's layer", "torch's layer, no weights"


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    for batch, n, size, heads in [(2, 16, 16, 2)] if quick else [(8, 512, 512, 8), (2, 2048, 512, 8)]:
        yield whole(batch, n, size, heads, device)
    yield one_token(*((32, 16, 2) if quick else (1024, 512, 8)), device)


def layers(size: int, heads: int, device: str) -> tuple[nn.MultiheadAttention, MultiHead]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = nn.MultiheadAttention(size, heads, batch_first=True).to(device)
    for x in theirs.parameters():
        x.requires_grad_(False)
    return theirs, MultiHead.of(theirs)


def lean(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    split = F.linear(x, module.in_proj_weight.to(x.dtype), module.in_proj_bias.to(x.dtype))
    q, k, v = split.unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
    joined = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
    return F.linear(joined, module.out_proj.weight.to(x.dtype), module.out_proj.bias.to(x.dtype))


def whole(batch: int, n: int, size: int, heads: int, device: str) -> Case:
    theirs, ours = layers(size, heads, device)
    return Case(
        name="multi-head layer",
        size={"B": batch, "N": n, "size": size, "H": heads},
        inputs=made((batch, n, size), device=device),
        ways={
            LEAN: lambda x: lean(theirs, x),
            OURS: lambda x: ours(x, need_weights=False).context,
            TORCH: lambda x: theirs(x, x, x)[0],
            NO_WEIGHTS: lambda x: theirs(x, x, x, need_weights=False)[0],
        },
        exact=lambda x: lean(theirs, x),
        work=Work(
            flops=batch * n * (8 * size * size + 4 * n * size),
            exp=batch * heads * n * n,
            numbers=2 * batch * n * size + 4 * size * size,
        ),
        goals=(faster(TORCH, 1.4), within(LEAN, 1.05)),
    )


def one_token(n: int, size: int, heads: int, device: str) -> Case:
    theirs, ours = layers(size, heads, device)
    with torch.no_grad():
        before = made((1, n, size), device=device)()[0]
        _, cache = ours.decode(before, need_weights=False)

    def again(x: Tensor) -> Tensor:
        return lean(theirs, torch.cat([before.to(x.dtype), x], 1))[:, -1:]

    def kept(x: Tensor) -> Tensor:
        q, key, value = F.linear(x, theirs.in_proj_weight, theirs.in_proj_bias).chunk(3, -1)
        key, value = torch.cat([cache.key, key], 1), torch.cat([cache.value, value], 1)
        q, key, value = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (q, key, value))
        joined = F.scaled_dot_product_attention(q, key, value).transpose(1, 2).flatten(-2)
        return F.linear(joined, theirs.out_proj.weight, theirs.out_proj.bias)

    return Case(
        name="multi-head layer, one token with a cache",
        size={"N": n, "size": size, "H": heads},
        inputs=made((1, 1, size), device=device),
        ways={
            "lean, with a cache": kept,
            OURS: lambda x: ours.decode(x, cache, need_weights=False)[0].context,
            "lean, all again": again,
        },
        exact=again,
        work=Work(flops=8 * size * size + 4 * n * size, numbers=2 * n * size + 4 * size * size),
        passes=(FORWARD,),
        goals=(within("lean, with a cache", 1.05),),
    )
