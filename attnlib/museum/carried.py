"""Faults outside of a row: what goes from one to the next, or to all."""

import torch

from ..attention import attend
from .exhibit import Exhibit, Source, drawn
from .scores import plain

__all__ = ["EXHIBITS"]


def hops_averaged(query, key, value, mask=None):
    weights = attend(query, key, value, mask=mask).weights
    context = weights @ value
    context = context.mean(1, keepdim=True).expand_as(context)
    return context, weights


class StateCarriedOn:
    """A recurrent state that begins where the last sentences ended."""

    state = torch.zeros(())

    def __call__(self, query, key, value, mask=None):
        key = key + self.state.to(key)
        self.state = key.detach()[:1, -1:].mean().nan_to_num(0.0, 0.0, 0.0).tanh()
        return attend(query, key, value, mask=mask, scale=1.0, score=_cubed)[:2]


def _cubed(query, key):
    """What is added to all keys alike would cancel in an inner product."""
    return query @ key.tanh().mT


def state_begun_anew(query, key, value, mask=None):
    return attend(query, key, value, mask=mask, score=_cubed)[:2]


def _one_distribution() -> float:
    """How many different contexts five hops have."""
    query, key, value = drawn(1, 5, 8), drawn(1, 7, 8, seed=1), drawn(1, 7, 8, seed=2)
    return float(hops_averaged(query, key, value)[0][0].mul(1e6).round().unique(dim=0).shape[0])


def _second_time() -> float:
    carried = StateCarriedOn()
    query, key, value = drawn(1, 5, 8), drawn(1, 7, 8, seed=1), drawn(1, 7, 8, seed=2)
    first, second = (carried(query, key, value)[0] for _ in range(2))
    return float((first - second).abs().max())


EXHIBITS = (
    Exhibit(
        "hops that are averaged",
        "structured self-attention (Lin et al. 2017)",
        r"M = A H,\quad A = \operatorname{softmax}(W_2 \tanh(W_1 H^\top))",
        hops_averaged,
        plain,
        "context = context.mean(1, keepdim=True)",
        (Source("kaushalshetty/Structured-Self-Attention", "attention/model.py", "5592dec"),),
        _one_distribution,
        "different contexts of five hops",
        "The mean of several maps is a map, and a sentence is classified by one as well: a guess.",
        "rows",
    ),
    Exhibit(
        "a state carried on",
        "hierarchical attention (Yang et al. 2016; that each sentence begins anew is our reading)",
        r"h_{it} = \operatorname{GRU}(x_{it}),\quad h_{i0} = 0",
        StateCarriedOn(),
        state_begun_anew,
        "key = key + self.state",
        (Source("uvipen/Hierarchical-attention-networks-pytorch", "src/hierarchical_att_model.py", "b1ea9e0"),),
        _second_time,
        "how far the context moves when the same sentence is read again",
        "The state of an earlier sentence is noise that a network learns to bear: a guess. Its training script begins "
        "each document anew, so that it goes from sentence to sentence.",
        "repeat",
        "bounded",
    ),
)
