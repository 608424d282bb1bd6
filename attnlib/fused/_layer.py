"""An additive score with tanh, seen through: the one hidden layer that its module, or a partial function, holds."""

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._work import Score, has_hooks
from ..scores import Additive, Concat, additive, concat
from ._additive_energies import TANH

__all__ = ["Layer", "layer_of"]

# By name, and not what is registered as a parameter: somebody may have put tensors in their place.
NAMES = "vector", "query_weight", "key_weight", "weight", "bias", "activation"


class Layer(NamedTuple):
    """The parameters of an additive score."""

    vector: Tensor
    query_weight: Tensor
    key_weight: Tensor
    bias: Tensor | None


def layer_of(score: Score, d_q: int, d_k: int) -> Layer | str:
    """The layer of a score of queries and keys of these sizes; in a few words why it has none."""
    if isinstance(score, functools.partial) and score.func in (additive, concat) and not score.args:
        given: dict[str, Any] = dict(score.keywords)
    elif type(score) is Additive or type(score) is Concat:
        if has_hooks(score):
            return "the score has hooks"
        given = {name: getattr(score, name) for name in NAMES if hasattr(score, name)}
    else:
        return "the score is not additive"
    if given.pop("activation", torch.tanh) not in TANH:
        return "the activation is not tanh"
    weight = given.pop("weight", None)
    if weight is not None and weight.ndim == 2 and weight.shape[-1] == d_q + d_k:
        given |= {"query_weight": weight[:, :d_q], "key_weight": weight[:, d_q:]}
    if given.keys() - {"bias"} != {"vector", "query_weight", "key_weight"}:
        return "the parameters do not fit"  # what it is about says the reference
    layer = Layer(**{"bias": None, **given})
    d_w = layer.vector.shape[-1:]
    fits = [(layer.vector, d_w), (layer.query_weight, (*d_w, d_q)), (layer.key_weight, (*d_w, d_k))]
    fits += [] if layer.bias is None else [(layer.bias, d_w)]
    is_fitting = layer.vector.ndim == 1 and layer.vector.numel() and all(part.shape == shape for part, shape in fits)
    return layer if is_fitting else "the parameters do not fit"
