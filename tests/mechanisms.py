"""Every mechanism in one form, ``(query, key, value, mask) -> Attention``, for the properties that all of them have.

A new mechanism adds a line; ``test_mechanisms.py`` notices one that has none.
"""

import functools

import torch
from checks import D_K, KEY, QUERY

from attnlib import Attend, Attention, attend, distributions, scores, structured
from attnlib.frontiers.adaptive import adaptive_span
from attnlib.frontiers.factors import factors
from attnlib.frontiers.kernels import kernel_smoother, log_rbf_kernel, polynomial_kernel
from attnlib.frontiers.linear import linear_attention
from attnlib.frontiers.nonlocal_block import Concatenation, concatenation, dot_product, gaussian
from attnlib.frontiers.relative_positions import distance_features
from attnlib.frontiers.synthesizer import dense, factorised_random, synthetic
from attnlib.input_representations.hierarchical import AttentionPool, pool
from attnlib.input_representations.self_attention import self_attention
from attnlib.output_representations.multihead import multihead
from attnlib.output_representations.structured_self import StructuredSelf, structured_self
from attnlib.softness.local import local

TRANSITION = torch.tensor([[0.5, -0.5], [-0.25, 1.0]])


def parameters(dtype, rounded=None):
    """Scores of each kind on queries and keys of one size, by the name of their function.

    Their numbers are the same in every precision; ``rounded`` to another one first, so that both have the same.
    """
    torch.manual_seed(0)
    size = {"d_q": D_K, "d_k": D_K, "dtype": torch.float64}
    maps = {"first_map": torch.tanh, "second_map": torch.sigmoid}
    found = {
        "similarity": scores.similarity,
        "dot": scores.dot,
        "scaled_dot": scores.scaled_dot,
        "generalized_kernel": functools.partial(scores.generalized_kernel, feature_map=torch.nn.functional.softplus),
        "general": scores.General(**size),
        "biased_general": scores.BiasedGeneral(**size),
        "activated_general": scores.ActivatedGeneral(**size),
        "concat": scores.Concat(**size, d_w=13),
        "additive": scores.Additive(**size, d_w=13),
        "deep": scores.Deep(**size, d_hidden=(13, 19)),
        "location_based": scores.LocationBased(D_K, 31, dtype=torch.float64),
        "feature_based": scores.FeatureBased(D_K, D_K, 13, **maps, dtype=torch.float64),
        "gaussian": functools.partial(scores.gaussian, width=2.0),
    }
    modules = [score for score in found.values() if isinstance(score, torch.nn.Module)]
    for module in modules:
        module.to(rounded or dtype).to(dtype)
    return found


DISTRIBUTIONS = {
    "softmax": distributions.softmax,
    "softmax, T = 0.5": functools.partial(distributions.softmax, temperature=0.5),
    "sparsemax": distributions.sparsemax,
    "entmax": distributions.entmax,
    "entmax 1.3": functools.partial(distributions.entmax, alpha=1.3),
    "sigmoid": distributions.sigmoid,
    "segmentation": functools.partial(structured.segmentation, transition=TRANSITION),
}

# Its loop over the keys is unrolled, so that a compiler fixes their number.
FIXED_LENGTH = {"segmentation"}


def _local(query, key, value, *, mask=None, **options):
    centre = torch.arange(query.shape[-2], device=query.device) + 0.4
    return local(query, key, value, centre=centre, half_width=2, mask=mask, **options)


def _self(query, key, value, *, mask=None, **options):
    """Queries and keys as the items of one input, a slice of its features for each; the keys ask nothing."""
    n, sizes = key.shape[-2], [part.shape[-1] for part in (query, key, value)]
    items = torch.cat(
        [
            torch.cat([torch.zeros_like(query[..., :1, :]).expand_as(key[..., : sizes[0]]), key, value], -1),
            torch.nn.functional.pad(query, (0, sizes[1] + sizes[2])),
        ],
        -2,
    )
    chosen = torch.eye(sum(sizes), dtype=items.dtype, device=items.device).split(sizes)
    seen = torch.ones(query.shape[-2], n, dtype=torch.bool, device=items.device) if mask is None else mask
    seen = seen.expand(*items.shape[:-2], query.shape[-2], n)
    visible = torch.nn.functional.pad(seen, (0, query.shape[-2], n, 0))
    names = ("query_weight", "key_weight", "value_weight")
    found = self_attention(items, **dict(zip(names, chosen, strict=True)), mask=visible, **options)
    kept = (None if part is None else part[..., n:, :n] for part in found[1:])
    return Attention(found.context[..., n:, :], *kept)


def _heads(query, key, value, *, mask=None, **options):
    """Two heads that ask with the query and its half, of one head of keys and values; their contexts added."""
    found = multihead(torch.cat([query, query / 2], -1), key, value, heads=2, key_value_heads=1, mask=mask, **options)
    return found._replace(context=found.context.chunk(2, -1)[0] / 2 + found.context.chunk(2, -1)[1] / 2)


class _Pool(AttentionPool):
    """One level of hierarchical attention, with queries in place of its vector."""

    def forward(self, query, key, value, *, mask=None):
        return pool(query, key, value, weight=self.weight, bias=self.bias, mask=mask)


def _pool(dtype, rounded=None):
    torch.manual_seed(0)
    return _Pool(D_K, D_K, dtype=torch.float64).to(rounded or dtype).to(dtype)


class _Hops(StructuredSelf):
    """Structured self-attention, with queries in place of its hops."""

    def forward(self, query, key, value, *, mask=None):
        return structured_self(key, value, hidden_weight=self.hidden_weight, hop_weight=query, mask=mask)


def _hops(dtype, rounded=None):
    torch.manual_seed(0)
    return _Hops(D_K, D_K, hops=1, dtype=torch.float64).to(rounded or dtype).to(dtype)


def _concatenation(dtype, rounded=None):
    torch.manual_seed(0)
    return Concatenation(D_K, dtype=torch.float64).to(rounded or dtype).to(dtype)


def _span(query, key, value, *, mask=None, **options):
    """Spans of three lengths, one a query; the last lets all keys through, so that none is hidden from all."""
    span = torch.tensor([[0.5], [1.0], [5.0]], device=query.device)
    return adaptive_span(query, key, value, span=span, ramp=2.0, mask=mask, **options)


def _factors(dtype, rounded=None, **options):
    """All four factors on a line of any length, with numbers that are the same in every precision."""
    torch.manual_seed(0)
    matrix, *biases = (torch.randn(*shape, dtype=torch.float64) for shape in ((D_K, 8), (D_K,), (D_K,)))
    key_bias, position_bias = (part.to(rounded or dtype).to(dtype) for part in biases)

    def run(query, key, value, *, mask=None, **given):
        features = distance_features(
            query.shape[-2], key.shape[-2], 8, offset=1, dtype=torch.float64, device=query.device
        )
        vectors = (features @ matrix.to(query.device).mT).to(rounded or dtype).to(dtype)
        on = {"key_bias": key_bias.to(query.device), "position_bias": position_bias.to(query.device)}
        return factors(query, key, value, vectors=vectors, **on, mask=mask, **options, **given)

    return run


def _synthetic(dtype, rounded=None, mixed=False):
    """What the queries alone say of up to 31 places; or mixed with a matrix of low rank, and with the inner product."""
    torch.manual_seed(0)
    shapes = (D_K, D_K), (31, D_K), (QUERY + 31, 3), (QUERY + 31, 3), (3,)
    given = [torch.randn(*shape, dtype=torch.float64).to(rounded or dtype).to(dtype) / 2 for shape in shapes]

    def run(query, key, value, *, mask=None, **options):
        hidden_weight, weight, left, right, shares = (part.to(query.device) for part in given)
        parts = [dense(query, hidden_weight=hidden_weight, weight=weight, n_key=key.shape[-2])]
        if mixed:
            parts.append(factorised_random(left, right, n_query=query.shape[-2], n_key=key.shape[-2]))
            options |= {"shares": shares, "query": query, "key": key}
        return synthetic(value, parts, mask=mask, **options)

    return run


def _with_score(name):
    return lambda dtype, rounded=None: Attend(parameters(dtype, rounded)[name])


def _with(**options):
    return lambda dtype, rounded=None: functools.partial(attend, **options)


# Each is made for a precision.
MECHANISMS = {
    **{name: _with_score(name) for name in parameters(torch.float32)},
    **{name: _with(distribution=g) for name, g in DISTRIBUTIONS.items() if name != "softmax"},
    "scale": _with(scale=0.7),
    "bias": _with(bias=torch.linspace(-1, 1, QUERY * KEY).reshape(QUERY, KEY)),
    "causal": _with(is_causal=True),
    "self": lambda dtype, rounded=None: _self,
    "heads": lambda dtype, rounded=None: _heads,
    "factors": functools.partial(_factors, scale=D_K**-0.5),
    "factors, key content": functools.partial(_factors, terms=(3,)),
    "synthetic": _synthetic,
    "synthetic, mixed": functools.partial(_synthetic, mixed=True),
    "pool": _pool,
    "hops": _hops,
    "non-local, gaussian": lambda dtype, rounded=None: gaussian,
    "non-local, dot product": lambda dtype, rounded=None: dot_product,
    "non-local, concatenation": _concatenation,
    "span": lambda dtype, rounded=None: _span,
    "linear": lambda dtype, rounded=None: functools.partial(linear_attention, need_weights=True),
    "linear, causal": lambda dtype, rounded=None: functools.partial(
        linear_attention, need_weights=True, is_causal=True, chunk=2
    ),
    "polynomial kernel": lambda dtype, rounded=None: functools.partial(kernel_smoother, kernel=polynomial_kernel),
    "rbf kernel": lambda dtype, rounded=None: functools.partial(kernel_smoother, log_kernel=log_rbf_kernel),
    "local": lambda dtype, rounded=None: _local,
    "local, additive": lambda dtype, rounded=None: functools.partial(
        _local, score=parameters(dtype, rounded)["additive"]
    ),
}
# What has a path without weights.
WITHOUT_WEIGHTS = [name for name in MECHANISMS if not name.startswith(("pool", "hops"))]
COVERED = {
    adaptive_span,
    attend,
    concatenation,
    dot_product,
    gaussian,
    local,
    multihead,
    pool,
    self_attention,
    structured_self,
    factors,
    synthetic,
    kernel_smoother,
    linear_attention,
}
