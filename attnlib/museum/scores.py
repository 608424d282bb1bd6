"""Faults of the score: what it cannot see, how far it can reach, how it is scaled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..attention import attend
from ..scores import additive, similarity
from .exhibit import Exhibit, Source, drawn, hide

__all__ = ["EXHIBITS"]

MATRIX, OTHER, VECTOR = drawn(8, 8), drawn(8, 8, seed=1), drawn(8, seed=2)


def concat_without_tanh(query, key, value, mask=None):
    hidden = (query @ MATRIX.to(query).mT)[:, :, None] + (key @ OTHER.to(key).mT)[:, None]
    weights = hide(hidden @ VECTOR.to(query), mask).softmax(-1)
    return weights @ value, weights


def additive_as_published(query, key, value, mask=None):
    def score(query: Tensor, key: Tensor) -> Tensor:
        return additive(query, key, query_weight=MATRIX.to(query), key_weight=OTHER.to(query), vector=VECTOR.to(query))

    return attend(query, key, value, mask=mask, score=score)[:2]


def linear_score(query, key, value, mask=None):
    first, second = MATRIX[0].to(query), OTHER[0].to(query)
    energies = (query @ first)[..., None] + (key @ second)[:, None]
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def tanh_outside(query, key, value, mask=None):
    first, second = MATRIX[0].to(query), OTHER[0].to(query)
    energies = torch.tanh((query @ first)[..., None] + (key @ second)[:, None])
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def tanh_on_the_score(query, key, value, mask=None):
    hidden = torch.tanh(key @ MATRIX.to(key))
    energies = torch.tanh(query @ hidden.mT)
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def hierarchical_as_published(query, key, value, mask=None):
    def score(query: Tensor, key: Tensor) -> Tensor:
        return query @ torch.tanh(key @ MATRIX.to(key)).mT

    return attend(query, key, value, mask=mask, score=score)[:2]


def encoder_never_scored(query, key, value, mask=None):
    energies = query @ drawn(20, query.shape[-1], seed=3).to(query).mT
    weights = hide(energies[..., : key.shape[1]], mask).softmax(-1)
    return weights @ value, weights


def uniform_by_a_sum(query, key, value, mask=None):
    weighted = (query @ MATRIX.to(query)).softmax(-1)
    energies = weighted.sum(-1, keepdim=True).expand(-1, -1, key.shape[1])
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def location_as_published(query, key, value, mask=None):
    energies = query @ drawn(20, query.shape[-1], seed=3).to(query).mT
    return attend(query, key, value, mask=mask, score=lambda *_: energies[..., : key.shape[1]])[:2]


def dot_that_is_general(query, key, value, mask=None):
    energies = query @ MATRIX.to(query) @ key.mT
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def scaled_by_the_embedding(query, key, value, mask=None, heads=4):
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    energies = query @ key.mT / (heads * query.shape[-1]) ** 0.5
    weights = hide(energies, None if mask is None else mask[:, None]).softmax(-1)
    return (weights @ value).transpose(1, 2).flatten(-2), weights


def scaled_by_the_head(query, key, value, mask=None, heads=4):
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    context, weights = attend(query, key, value, mask=None if mask is None else mask[:, None])[:2]
    return context.transpose(1, 2).flatten(-2), weights


def cosine_with_zeros(query, key, value, mask=None):
    lengths = query.norm(dim=-1)[..., None] * key.norm(dim=-1)[:, None]
    energies = query @ key.mT / lengths
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def cosine_as_published(query, key, value, mask=None):
    return attend(query, key, value, mask=mask, score=similarity)[:2]


def plain(query, key, value, mask=None):
    return attend(query, key, value, mask=mask)[:2]


def _weights(function: Callable[..., Any], query: Tensor, key: Tensor) -> Tensor:
    weights: Tensor = function(query, key, key)[1]
    return weights


def _spread_over_queries(function: Callable[..., Any]) -> float:
    """The largest difference that the query makes to a weight."""
    weights = _weights(function, drawn(1, 200, 8, seed=5), drawn(1, 15, 8, seed=6))
    return float((weights - weights[:, :1]).abs().max())


def _preferred() -> float:
    return float(_weights(tanh_outside, drawn(1, 200, 8, seed=5), drawn(1, 15, 8, seed=6)).argmax(-1).unique().numel())


def _largest_of_35() -> float:
    energies = torch.full((35,), -1.0).double()
    energies[0] = 1.0  # all that a tanh can give
    return float(energies.softmax(-1)[0])


def _spread_over_keys() -> float:
    query = drawn(1, 1, 8)
    both = [_weights(encoder_never_scored, query, drawn(1, 15, 8, seed=seed)) for seed in (5, 6)]
    return float((both[0] - both[1]).abs().max())


def _general_off() -> float:
    query, key = drawn(1, 5, 8, seed=5), drawn(1, 7, 8, seed=6)
    return float((_weights(dot_that_is_general, query, key) - (query @ key.mT).softmax(-1)).abs().max())


def _temperature() -> float:
    query, key = drawn(1, 1, 64, seed=5), drawn(1, 7, 64, seed=6)
    both = (scaled_by_the_embedding, scaled_by_the_head)
    found, wanted = (function(query, key, key, heads=8)[1].log().diff().abs().sum() for function in both)
    return float(wanted / found)


def _not_finite() -> float:
    key = drawn(1, 7, 8)
    key[:, 3] = 0
    return float(_weights(cosine_with_zeros, drawn(1, 1, 8, seed=1), key).isnan().double().mean())


EXHIBITS = (
    Exhibit(
        "concat without tanh",
        "additive attention (Bahdanau et al. 2015; concat of Luong et al. 2015)",
        r"e = v^\top \tanh(W_1 q + W_2 k)",
        concat_without_tanh,
        additive_as_published,
        "hidden = (query @ MATRIX",
        (Source("spro/practical-pytorch", "seq2seq-translation-batched.py", "68bfb0f"),),
        lambda: _spread_over_queries(concat_without_tanh),
        "the largest difference that 200 queries make to a weight, with 15 keys",
        "The keys alone can say what is salient, and the decoder has its own state besides: a guess.",
        "query",
        "bounded",
    ),
    Exhibit(
        "a linear score",
        "AllenNLP's linear score as its documentation has it, which the code follows (the fault is the default, `x,y`; "
        "with `x,y,x*y` the query counts)",
        r"e = w^\top [q; k] + b",
        linear_score,
        additive_as_published,
        "energies = (query @ first)",
        (Source("allenai/allennlp", "allennlp/modules/attention/linear_attention.py", "0adfc5b"),),
        lambda: _spread_over_queries(linear_score),
        "the largest difference that 200 queries make to a weight, with 15 keys",
        "It is the default, `x,y` without activation, and gives weights that sum to one: a guess.",
        "query",
        "bounded",
    ),
    Exhibit(
        "tanh outside of the score",
        "concat of Luong et al. 2015 (Tang et al. 2016, for whose memory network this code is, have the tanh outside "
        "themselves, as notes on their paper and others' code say; we did not read it)",
        r"e = v^\top \tanh(W [q; k])",
        tanh_outside,
        additive_as_published,
        "energies = torch.tanh(",
        (Source("songyouwei/ABSA-PyTorch", "layers/attention.py", "26d89a7"),),
        _preferred,
        "keys that are preferred by any of 200 queries, of 15",
        "The query moves the weights, so that their gradient is not nought; it cannot reorder them: a guess.",
        "choice",
        "bounded",
    ),
    Exhibit(
        "tanh on the score",
        "hierarchical attention (Yang et al. 2016)",
        r"e = u^\top \tanh(W h + b)",
        tanh_on_the_score,
        hierarchical_as_published,
        "energies = torch.tanh(query",
        (Source("uvipen/Hierarchical-attention-networks-pytorch", "src/utils.py", "b1ea9e0"),),
        _largest_of_35,
        "the largest weight that one word of 35 can get",
        "Weights near the mean are near to a mean of words, which classifies well: a guess.",
        "sharpness",
    ),
    Exhibit(
        "the encoder never scored",
        "additive attention in a decoder (Bahdanau et al. 2015)",
        r"e_{ij} = a(s_{i-1}, h_j)",
        encoder_never_scored,
        additive_as_published,
        "energies = query @ drawn(20",
        (Source("pytorch/tutorials", "#1098", told=True), Source("pytorch/tutorials", "#130", told=True)),
        _spread_over_keys,
        "the largest difference that other keys make to a weight",
        "In short sentences of like order a position is a fair guess for a word: a guess.",
        "keys",
        ("positional", "bounded"),
    ),
    Exhibit(
        "uniform by a sum over features",
        "the location score (Luong et al. 2015)",
        r"\alpha = \operatorname{softmax}(W q)",
        uniform_by_a_sum,
        location_as_published,
        "energies = weighted.sum(-1",
        (Source("uzaymacar/attention-mechanisms", "layers.py", "ca3f935"),),
        lambda: _spread_over_queries(uniform_by_a_sum),
        "the largest difference that 200 queries make to a weight, with 15 keys",
        "A sum of softmax weights is one, so that all energies are: the mean of the states still trains: a guess.",
        "query",
        "static",
    ),
    Exhibit(
        "dot that is general",
        "the dot score (Luong et al. 2015)",
        r"e = q^\top k",
        dot_that_is_general,
        lambda query, key, value, mask=None: attend(query, key, value, mask=mask, scale=1.0)[:2],
        "energies = query @ MATRIX",
        (Source("OpenNMT/OpenNMT-py", "#141", told=True),),
        _general_off,
        "the largest difference of a weight from the softmax of inner products",
        "It is a good score; only the name, and each comparison made by it, is wrong.",
        "energies",
        "dot",
    ),
    Exhibit(
        "a scale of another size",
        "multi-head attention (Vaswani et al. 2017)",
        r"\operatorname{softmax}\Big(\frac{Q K^\top}{\sqrt{d_k}}\Big) V,\quad d_k = d / h",
        scaled_by_the_embedding,
        scaled_by_the_head,
        "energies = query @ key.mT / (heads",
        (
            Source(
                "aladdinpersson/Machine-Learning-Collection",
                "ML/Pytorch/more_advanced/transformer_from_scratch/transformer_from_scratch.py",
                "3b8992f",
            ),
            Source("aladdinpersson/Machine-Learning-Collection", "#159", told=True),
        ),
        _temperature,
        "the temperature, against the published one, with 8 heads",
        "What learns the projections can learn the missing factor: a guess.",
        "energies",
        "scaled dot",
    ),
    Exhibit(
        "a cosine with zeros",
        "addressing by content in a Turing machine (Graves et al. 2014)",
        r"e = \beta \frac{q^\top k}{\lVert q \rVert \lVert k \rVert}",
        cosine_with_zeros,
        cosine_as_published,
        "energies = query @ key.mT / lengths",
        (Source("carpedm20/NTM-tensorflow", "#2", told=True),),
        _not_finite,
        "the share of weights that are NaN when one of seven cells is empty",
        "A memory that begins with small numbers in place of nought does not show it.",
        "zeros",
        "bounded",
    ),
)
