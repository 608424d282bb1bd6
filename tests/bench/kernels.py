"""Other similarities: cosine, Gaussian, any kernel of features, sigmoid; against the form that broadcasts pairs."""

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib import attend, distributions, scores
from attnlib.frontiers.kernels import shares

from .case import BOTH, FORWARD, KERNELS, OURS, Case, Work, faster, made

BROADCAST, MATRIX = "broadcast", "by a matrix product"


def cases(*, quick: bool, device: str) -> Iterator[Case]:
    heads, n = (2, 16) if quick else (4, 512)
    yield cosine(heads, n, device)
    yield gaussian(heads, n, device)
    yield features(heads, n, device)
    yield sigmoid(heads, n, device)


def case(name: str, heads: int, n: int, device: str, *, d: int = 64, **given: object) -> Case:
    pairs = heads * n * n
    return Case(
        name=name,
        size={"H": heads, "N": n, "d": d},
        inputs=made(*[(1, heads, n, d)] * 3, device=device, scale=0.5),
        work=Work(flops=4 * pairs * d, exp=pairs, numbers=4 * heads * n * d),
        memory=(FORWARD, BOTH) if n >= 512 and name in ("cosine", "Gaussian", "sigmoid") else (),
        **given,  # type: ignore[arg-type]
    )


def cosine(heads: int, n: int, device: str) -> Case:
    def broadcast(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (8 * F.cosine_similarity(q.unsqueeze(-2), k.unsqueeze(-3), dim=-1)).softmax(-1) @ v

    def matrix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (8 * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT).softmax(-1) @ v

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, score=scores.similarity, scale=8.0, need_weights=False).context

    ways = {BROADCAST: broadcast, OURS: ours, MATRIX: matrix}
    return case("cosine", heads, n, device, ways=ways, exact=matrix, goals=(faster(BROADCAST, 50, 25),))


def gaussian(heads: int, n: int, device: str) -> Case:
    def broadcast(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ((q.unsqueeze(-2) - k.unsqueeze(-3)).square().sum(-1) / -2).softmax(-1) @ v

    def matrix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (torch.cdist(q, k).square() / -2).softmax(-1) @ v

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, score=scores.gaussian, need_weights=False).context

    ways = {BROADCAST: broadcast, OURS: ours, MATRIX: matrix}
    return case("Gaussian", heads, n, device, ways=ways, exact=broadcast, goals=(faster(BROADCAST, 50, 25),))


def features(heads: int, n: int, device: str) -> Case:
    def matrix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = (F.elu(q) + 1) @ (F.elu(k) + 1).mT
        return weights / weights.sum(-1, keepdim=True) @ v

    score = partial(scores.generalized_kernel, feature_map=lambda x: F.elu(x) + 1)

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, score=score, distribution=shares, need_weights=False).context

    return case("any kernel", heads, n, device, ways={MATRIX: matrix, OURS: ours}, exact=matrix)


def sigmoid(heads: int, n: int, device: str) -> Case:
    def matrix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.sigmoid(q @ k.mT * q.shape[-1] ** -0.5) @ v

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, distribution=distributions.sigmoid, need_weights=False).context

    ways = {MATRIX: matrix, OURS: ours, "(SDPA, softmax)": F.scaled_dot_product_attention}
    return case(
        "sigmoid",
        heads,
        n,
        device,
        ways=ways,
        exact=matrix,
        goals=(faster(MATRIX, 1.5), faster(MATRIX, 1.5, ours=KERNELS)),
    )
