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


def lean(module: nn.MultiheadAttention, x: Tensor, *, is_causal: bool = False) -> Tensor:
    split = F.linear(x, module.in_proj_weight.to(x.dtype), module.in_proj_bias.to(x.dtype))
    q, k, v = split.unflatten(-1, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
    joined = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal).transpose(1, 2).flatten(-2)
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


def one_token(n: int, size: int, heads: int, device: str, count: int = 32) -> Case:
    """So many tokens one after the other, each from a call of its own: a single one would measure a copy."""
    theirs, ours = layers(size, heads, device)
    with torch.no_grad():
        before = made((1, n, size), device=device)()[0]
        _, cache = ours.decode(before, need_weights=False)

    def again(x: Tensor) -> Tensor:
        return lean(theirs, torch.cat([before.to(x.dtype), x], 1), is_causal=True)[:, n:]

    def attended(q: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, key, value = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (q, key, value))
        joined = F.scaled_dot_product_attention(q, key, value).transpose(1, 2).flatten(-2)
        return F.linear(joined, theirs.out_proj.weight, theirs.out_proj.bias)

    def kept(x: Tensor) -> Tensor:
        room, found = before.new_empty(2, 1, n + count, size), []
        room[0, :, :n], room[1, :, :n] = cache
        for i in range(count):
            q, room[0, :, n + i], room[1, :, n + i] = F.linear(
                x[:, i], theirs.in_proj_weight, theirs.in_proj_bias
            ).chunk(3, -1)
            found.append(attended(q.unsqueeze(1), *room[:, :, : n + i + 1]))
        return torch.cat(found, 1)

    def joined(x: Tensor) -> Tensor:
        (key, value), found = cache, []
        for i in range(count):
            q, k, v = F.linear(x[:, i : i + 1], theirs.in_proj_weight, theirs.in_proj_bias).chunk(3, -1)
            key, value = torch.cat([key, k], 1), torch.cat([value, v], 1)
            found.append(attended(q, key, value))
        return torch.cat(found, 1)

    def read_on(x: Tensor) -> Tensor:
        kept, found = cache, []
        for i in range(count):
            attention, kept = ours.decode(x[:, i : i + 1], kept, need_weights=False)
            found.append(attention.context)
        return torch.cat(found, 1)

    return Case(
        name="multi-head layer, one token with a cache",
        size={"N": n, "size": size, "H": heads, "tokens": count},
        inputs=made((1, count, size), device=device),
        ways={"lean, with a cache": kept, OURS: read_on, "lean, a copy for each token": joined},
        exact=again,
        work=Work(flops=count * (8 * size * size + 4 * n * size), numbers=count * (2 * n * size + 4 * size * size)),
        passes=(FORWARD,),
        goals=(within("lean, with a cache", 1.05),),
    )
