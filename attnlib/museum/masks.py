"""Faults of the mask: what it does not hide, whom it spoils, what becomes of it when weights are asked for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..attention import attend
from ..distributions import entmax
from .exhibit import Exhibit, Source, drawn, hide
from .scores import plain

__all__ = ["EXHIBITS"]


def padding_attended(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    weights = energies.softmax(-1)
    return weights @ value, weights


def mask_without_effect(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    if mask is not None:
        energies.masked_fill(~mask, -torch.inf)
    weights = energies.softmax(-1)
    return weights @ value, weights


def mask_the_other_way(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    if mask is not None:
        energies = energies.masked_fill(mask, -1e9)
    weights = energies.softmax(-1)
    return weights @ value, weights


def nought_times_nan(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def row_without_keys(query, key, value, mask=None):
    energies = hide(query @ key.mT / query.shape[-1] ** 0.5, mask)
    ordered, count = energies.sort(-1, descending=True).values, torch.arange(1, key.shape[1] + 1).to(energies)
    support = (1 + count * ordered > ordered.cumsum(-1)).sum(-1, keepdim=True)
    threshold = (ordered.cumsum(-1).gather(-1, support - 1) - 1) / support
    weights = (energies - threshold).clamp(min=0)
    return weights @ value, weights


def weights_bring_nan(query, key, value, mask=None, need_weights=True):
    if not need_weights:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask), None
    energies = query @ key.mT / query.shape[-1] ** 0.5
    weights = hide(energies, mask).softmax(-1)
    return weights @ value, weights


def weights_on_request(query, key, value, mask=None, need_weights=True):
    found = attend(query, key, value, mask=mask, need_weights=need_weights)
    return found.context, found.weights


def weights_drop_the_mask(query, key, value, mask=None, need_weights=True):
    visible = torch.ones_like(query @ key.mT, dtype=torch.bool).tril()
    if not need_weights:
        return attend(query, key, value, mask=visible if mask is None else visible & mask).context, None
    return attend(query, key, value, mask=mask)[:2]


def causal_on_request(query, key, value, mask=None, need_weights=True):
    found = attend(query, key, value, mask=mask, is_causal=True, need_weights=need_weights)
    return found.context, found.weights


def constant_that_overflows(query, key, value, mask=None):
    energies = query @ key.mT / query.shape[-1] ** 0.5
    if mask is not None:
        energies = energies.masked_fill(~mask, -1e8)
    weights = energies.softmax(-1)
    return weights @ value, weights


def _given(n_query: int = 5, n_key: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    return drawn(1, n_query, 8), drawn(1, n_key, 8, seed=1), drawn(1, n_key, 8, seed=2)


def _padded(n_query: int, n_key: int, real: int) -> Tensor:
    return (torch.arange(n_key) < real).expand(1, n_query, n_key)


def _on_padding(function: Callable[..., Any], n_key: int = 7, real: int = 4) -> float:
    """The weight that the first query gives to padding."""
    return float(function(*_given(5, n_key), _padded(5, n_key, real))[1][0, 0, real:].sum())


def _spoilt() -> float:
    query, key, value = _given()
    value[:, 6, 0] = torch.nan
    return float(nought_times_nan(query, key, value, _padded(5, 7, 6))[0][..., 0].isnan().double().mean())


def _raises() -> float:
    """1 if a query without keys ends the program."""
    try:
        row_without_keys(*_given(), _padded(5, 7, 0))
    except (RuntimeError, IndexError):
        return 1.0
    return 0.0


def _asked() -> float:
    mask = _padded(5, 7, 7).clone()
    mask[:, 2] = False
    silent, asked = (weights_bring_nan(*_given(), mask, need_weights=asked)[0] for asked in (False, True))
    return float((asked.isnan() & ~silent.isnan()).double().mean() * 5)


def _future() -> float:
    return float(weights_drop_the_mask(*_given(7, 7))[1].triu(1).sum() / 7)


def _smallest() -> float:
    return float(torch.finfo(torch.float16).min)


SOFTMAX = r"\alpha_j = \frac{m_j \exp e_j}{\sum_i m_i \exp e_i}"

EXHIBITS = (
    Exhibit(
        "padding that is attended",
        "attention over sentences of several lengths",
        SOFTMAX,
        padding_attended,
        plain,
        "weights = energies.softmax(-1)",
        (
            Source("tensorflow/tensorflow", "#512", told=True),
            Source("facebookresearch/fairseq-lua", "#82", told=True),
            Source("facebookresearch/fairseq", "#318", told=True),
        ),
        lambda: _on_padding(padding_attended),
        "the weight that padding gets, three of seven keys",
        "Sentences are sorted by length, says an author of fairseq, so that there is little padding.",
        "hidden weight",
    ),
    Exhibit(
        "a mask without effect",
        "attention to what a mask lets through",
        SOFTMAX,
        mask_without_effect,
        plain,
        "energies.masked_fill(~mask, -torch.inf)",
        (Source("lucidrains/flamingo-pytorch", "#10", told=True), Source("opendilab/DI-engine", "#333", told=True)),
        lambda: _on_padding(mask_without_effect),
        "the weight that padding gets, three of seven keys",
        "DI-engine's authors: no algorithm of theirs had inputs of several lengths and a mask.",
        "hidden weight",
    ),
    Exhibit(
        "a mask the other way round",
        "local attention in blocks with halos (Vaswani et al. 2021)",
        SOFTMAX,
        mask_the_other_way,
        plain,
        "energies = energies.masked_fill(mask, -1e9)",
        (Source("lucidrains/halonet-pytorch", "#4", told=True),),
        lambda: _on_padding(mask_the_other_way),
        "the weight that padding gets, three of seven keys",
        "The shape of what comes out is right, and that is what was looked at: a guess.",
        "hidden weight",
    ),
    Exhibit(
        "nought times NaN",
        "attention under a mask",
        SOFTMAX,
        nought_times_nan,
        plain,
        "return weights @ value, weights",
        (
            Source("pytorch/pytorch", "#101967", told=True),
            Source("Dao-AILab/flash-attention", "#2374", told=True),
        ),
        _spoilt,
        "the share of queries that a NaN spoils from which all of them are kept",
        "Padding is mostly nought; memory that was not written is seldom NaN: a guess.",
        "hidden garbage",
    ),
    Exhibit(
        "a row without keys",
        "sparsemax (Martins and Astudillo 2016)",
        r"\alpha = \arg\min_{p \in \Delta} \lVert p - e \rVert^2",
        row_without_keys,
        lambda query, key, value, mask=None: attend(
            query, key, value, mask=mask, distribution=lambda energies: entmax(energies, alpha=2.0)
        )[:2],
        "threshold = (ordered.cumsum(-1).gather(",
        (Source("deep-spin/entmax", "#19", told=True),),
        _raises,
        "one if a query that sees nothing ends the program",
        "Every sentence has a word; rows of padding, or a window and padding together, need not: a guess.",
        "empty row",
    ),
    Exhibit(
        "weights that bring NaN",
        "multi-head attention (Vaswani et al. 2017)",
        SOFTMAX,
        weights_bring_nan,
        weights_on_request,
        "weights = hide(energies, mask).softmax(-1)",
        (Source("pytorch/pytorch", "#160064", told=True), Source("pytorch/pytorch", "#41508", told=True)),
        _asked,
        "rows, of five, that are NaN when weights are asked for, and numbers when not",
        "Torch's own Transformer does not ask for the weights; who draws them does.",
        "asking",
    ),
    Exhibit(
        "weights that drop the mask",
        "multi-head attention with a causal mask (Vaswani et al. 2017)",
        r"\alpha_{ij} = 0 \text{ for } j > i",
        weights_drop_the_mask,
        causal_on_request,
        "return attend(query, key, value, mask=mask)[:2]",
        (Source("keras-team/keras", "#23038", told=True),),
        _future,
        "the weight that the future gets, of a row's one, as a mean of seven rows",
        "A network that sees what it is to say learns very well; its reporter speaks of scores that go to one. "
        "Dropout, and inputs that have not four axes, dropped the mask too.",
        "asking",
        "causal",
    ),
    Exhibit(
        "a constant that overflows",
        "attention under a mask, in half precision",
        SOFTMAX,
        constant_that_overflows,
        plain,
        "energies = energies.masked_fill(~mask, -1e8)",
        (Source("facebookresearch/fairseq", "#3575", told=True), Source("NVIDIA/apex", "#1105", told=True)),
        _smallest,
        "the smallest number of half precision",
        "It was written and tested in single precision: a guess.",
        "half",
    ),
)
