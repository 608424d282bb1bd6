"""Scores that are dot products in disguise: torch's kernel on other vectors, with no matrix of pairs.

A softmax does not notice what is added to all energies of a query. So it is enough to find vectors whose inner products
are the energies but for that: the vectors at length one for a cosine, a projected query for a bilinear form, and for
the Gaussian kernel one feature more,

.. math:: -\\tfrac12 \\lVert q - k \\rVert^2 = [q; 1] \\cdot [k; -\\tfrac12 \\lVert k \\rVert^2] + \\text{what } k
    \\text{ does not change.}
"""

import functools
import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import scores
from .._checks import may_look
from .._kernel import kernel_context
from .._rows import is_autocast, is_ordinary, product, times, wide
from .._work import Distribution, Score, Work, has_hooks, is_masked
from ..distributions import softmax
from ..scores.functions import unit

__all__ = ["FORMS", "similar_context"]

# Query and key of a score as two others whose inner products are its energies, or why not.
Form = Callable[..., tuple[Tensor, Tensor] | str]
# Products up to here lose less than 1e-5 of a float32 energy.
LONGEST = 128.0
WIDTH = 16  # the kernel is fast where sizes are multiples of it


def similar_context(work: Work, score: Score, distribution: Distribution) -> Tensor | str:
    """The context under a softmax of energies that are inner products of other vectors; why not, where they are not."""
    if distribution is not softmax:
        return "the distribution is not softmax"
    if score in (scores.dot, scores.scaled_dot):
        return "the vectors are its own"  # and a scale stands in place of the score's, not beside it
    function, options = _taken_apart(score)
    form = FORMS.get(function) if isinstance(function, FunctionType) else None  # other callables may have no hash
    if form is None:
        return "the score is no inner product of other vectors"
    reason = _why_not_look(work, options)
    if reason is not None:
        return reason
    found = form(work.query, work.key, **options)
    if isinstance(found, str):
        return found
    query, key = (wide(part) for part in found)
    if may_look(query, key) and not is_ordinary(query, key, scale=work.scale):
        return "an energy may overflow"
    size, width = work.value.shape[-1], max(query.shape[-1], work.value.shape[-1])
    query, key, value = (_padded(part, width) for part in (query, key, wide(work.value)))
    bias = None if work.bias is None else work.bias.to(query.dtype)
    context = kernel_context(work._replace(query=query, key=key, value=value, bias=bias), scores.dot, distribution)
    return context if isinstance(context, str) else context[..., :size].to(work.value.dtype)


def _taken_apart(score: Score) -> tuple[Any, Mapping[str, Any]]:
    """The function that a score calls, and with what: of a module of scores, or of a partial one."""
    if isinstance(score, functools.partial) and not score.args:
        return score.func, score.keywords
    if isinstance(score, nn.Module) and type(score) in _MODULES and not has_hooks(score):
        function, names = _MODULES[type(score)]
        return function, {name: getattr(score, name) for name in names}
    return (score, {}) if not isinstance(score, nn.Module) else (None, {})


def _why_not_look(work: Work, options: Mapping[str, Any]) -> str | None:
    """What is hidden must not reach a gradient by way of the other vectors, so that all of them have to be tame."""
    if is_autocast(work.query):
        return "autocast would round the other vectors"
    if not (work.query.numel() and work.key.numel() and work.value.numel()):
        return "there is nothing to multiply"
    tensors = (work.query, work.key, *(option for option in options.values() if isinstance(option, Tensor)))
    if may_look(*tensors):
        return None if is_ordinary(*tensors) else "a vector is not finite, or too long"
    if is_masked(work) or work.query.device.type == "cpu":
        return "what is hidden cannot be looked at"
    return None


def _padded(vectors: Tensor, width: int) -> Tensor:
    """With noughts up to the width: the kernel wants queries, keys and values of one size, else it stores all pairs."""
    missing = width - vectors.shape[-1]
    return F.pad(vectors, (0, missing)) if missing else vectors


def _similarity(query: Tensor, key: Tensor, *, eps: float = 1e-8) -> tuple[Tensor, Tensor] | str:
    if query.shape[-1] != key.shape[-1]:
        return "the sizes do not fit"
    return unit(query, eps), unit(key, eps)


def _gaussian(query: Tensor, key: Tensor, *, width: float = 1.0) -> tuple[Tensor, Tensor] | str:
    if query.shape[-1] != key.shape[-1] or not 0 < width < math.inf:
        return "the sizes do not fit, or the width is not a number above 0"
    if not may_look(query, key):
        return "the distances cannot be looked at"
    query, key = wide(query) / width, wide(key) / width
    length = torch.linalg.vector_norm(key, dim=-1).detach().amax()
    longest = torch.linalg.vector_norm(query, dim=-1).detach().amax() + length
    if not (length * longest).item() <= LONGEST:
        return "small distances between long vectors would be lost"
    half = key.square().sum(-1, keepdim=True) / -2
    fill = -(query.shape[-1] + 1) % WIDTH
    return F.pad(F.pad(query, (0, 1), value=1.0), (0, fill)), F.pad(torch.cat([key, half], -1), (0, fill))


def _general(query: Tensor, key: Tensor, *, weight: Tensor) -> tuple[Tensor, Tensor] | str:
    if tuple(weight.shape) != (query.shape[-1], key.shape[-1]):
        return "the sizes do not fit"
    return times(query, weight), key


def _biased_general(query: Tensor, key: Tensor, *, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor] | str:
    if tuple(weight.shape) != (key.shape[-1], query.shape[-1]) or bias.shape != weight.shape[:1]:
        return "the sizes do not fit"
    return product(query, weight) + bias, key


def _scaled_dot(query: Tensor, key: Tensor, *, scale: float | None = None) -> tuple[Tensor, Tensor] | str:
    if query.shape[-1] != key.shape[-1]:
        return "the sizes do not fit"
    return wide(query) * (query.shape[-1] ** -0.5 if scale is None else scale), key


def _location_based(query: Tensor, key: Tensor, *, weight: Tensor) -> tuple[Tensor, Tensor] | str:
    n_key = key.shape[-2]
    if weight.ndim != 2 or n_key > weight.shape[0] or weight.shape[1] != query.shape[-1]:
        return "the sizes do not fit"
    return query, weight[:n_key]


def _feature_based(query: Tensor, key: Tensor, **options: Any) -> tuple[Tensor, Tensor] | str:
    energies = scores.feature_based(query[..., :1, :1], key, **options)  # one row, for the queries have no part in it
    return torch.ones_like(query[..., :1], dtype=energies.dtype), energies.mT


FORMS: dict[Any, Form] = {
    scores.similarity: _similarity,
    scores.gaussian: _gaussian,
    scores.general: _general,
    scores.biased_general: _biased_general,
    scores.scaled_dot: _scaled_dot,
    scores.location_based: _location_based,
    scores.feature_based: _feature_based,
}
_FEATURES = ("vector", "first_weight", "second_weight", "first_map", "second_map", "bias", "activation")
_MODULES: dict[type, tuple[Any, tuple[str, ...]]] = {
    scores.General: (scores.general, ("weight",)),
    scores.BiasedGeneral: (scores.biased_general, ("weight", "bias")),
    scores.LocationBased: (scores.location_based, ("weight",)),
    scores.FeatureBased: (scores.feature_based, _FEATURES),
}
