"""Scores: equal to the loop, derivatives checked, sizes checked; the modules only hold the parameters."""

import functools
import inspect
import math
import re

import checks
import pytest
import torch
from checks import BATCH, D_K, D_Q, D_W, KEY, QUERY, close, randn
from oracles import tensor

from attnlib import attend, scores

FUNCTIONS = {name: getattr(scores, name) for name in scores.__all__ if inspect.isfunction(getattr(scores, name))}


def test_the_tables_are_complete():
    """The rows of the longer table, in its order; it has those of Table 1 within. Then the kernel."""
    assert list(FUNCTIONS) == [
        "similarity",
        "dot",
        "scaled_dot",
        "general",
        "biased_general",
        "activated_general",
        "generalized_kernel",
        "concat",
        "additive",
        "deep",
        "location_based",
        "feature_based",
        "gaussian",
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value(name):
    checks.check_score_value(name, FUNCTIONS[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient(name):
    checks.check_score_gradient(name, FUNCTIONS[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_can_be_tabulated(name):
    """A chapter makes its table from these: one line of mathematics, one source."""
    doc = inspect.getdoc(FUNCTIONS[name])
    assert len(re.findall(r"^\.\. math:: \S.*$", doc, re.MULTILINE)) == 1
    assert len(re.findall(r"^Source: .+ \[[a-z]+\d{4}[a-z]*\]\.$", doc, re.MULTILINE)) == 1
    assert ">>>" in doc


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype, device):
    """Energies are computed and kept in float32: only a map that the caller gives is taken in half precision."""
    parameters = checks.score_parameters(name)
    half = {part: _cast(value, dtype, device) for part, value in parameters.tensors.items()}
    exact = {part: _cast(value, torch.float64, device) for part, value in half.items()}
    query, key = randn(QUERY, parameters.d_q, dtype=dtype, device=device), randn(KEY, D_K, dtype=dtype, device=device)
    energies = FUNCTIONS[name](query, key, **half)
    assert energies.dtype == torch.float32
    wanted = FUNCTIONS[name](query.double(), key.double(), **exact)
    error = (energies.double() - wanted).abs().max() / wanted.abs().max()
    mapped = 1e-3 if dtype == torch.float16 else 1e-2
    assert error < (mapped if name in ("feature_based", "generalized_kernel") else 2e-6)


def _cast(value, dtype, device):
    if isinstance(value, list):
        return [tuple(part.to(device, dtype) for part in pair) for pair in value]
    return value.to(device, dtype) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_empty_axes_and_arguments_unchanged(name):
    parameters = checks.score_parameters(name)
    query, key = randn(BATCH, QUERY, parameters.d_q), randn(BATCH, KEY, D_K)
    tensors = [part for part in parameters.tensors.values() if isinstance(part, torch.Tensor)]
    before = [part.clone() for part in (query, key, *tensors)]
    score = functools.partial(FUNCTIONS[name], **parameters.tensors)
    assert score(query, key[:, :0]).shape == (BATCH, QUERY, 0)
    assert score(query[:, :0], key).shape == (BATCH, 0, KEY)
    assert score(query[:0], key[:0]).shape == (0, QUERY, KEY)
    score(query, key)
    assert all(torch.equal(*pair) for pair in zip((query, key, *tensors), before, strict=True))


def test_scale_replaces_the_default():
    query, key = randn(QUERY, D_K), randn(KEY, D_K)
    close(scores.scaled_dot(query, key, scale=3.0), 3 * scores.dot(query, key))
    close(scores.scaled_dot(query, key, scale=0.0), torch.zeros(QUERY, KEY, dtype=torch.float64))


def test_similarity_of_a_zero_vector():
    checks.check_zero_vector(scores.similarity)


def test_similarity_of_long_and_short_vectors():
    """Lengths that would overflow or vanish when squared in half precision."""
    query = torch.tensor([[300.0, 400.0]], dtype=torch.float16)
    key = torch.tensor([[600.0, 800.0], [3e-4, 4e-4]], dtype=torch.float16)
    torch.testing.assert_close(scores.similarity(query, key).float(), torch.ones(1, 2), atol=2e-3, rtol=0)
    assert (scores.similarity(query.double(), key.double() * 1e-12) == 0).all(), "shorter than eps counts as zero"
    close(scores.similarity(query.double(), key.double() * 1e-12, eps=0.0), torch.ones(1, 2).double(), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_gaussian_keeps_small_distances_far_from_zero(dtype):
    query = torch.tensor([[1000.0, 0.0]], dtype=dtype)
    key = torch.tensor([[1001.0, 1.0], [1000.0, 0.0]], dtype=dtype)
    assert torch.equal(scores.gaussian(query, key).double(), tensor([[-1.0, 0.0]]))
    assert torch.equal(scores.gaussian(query, key, width=2.0).double(), tensor([[-0.25, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gaussian_of_a_distance_beyond_all_numbers(dtype):
    """It is NaN and gives no gradient, not minus infinity, which would be a hidden pair."""
    largest = torch.finfo(dtype).max
    key = torch.tensor([[largest, -largest], [torch.inf, 0.0], [0.5, 2.0]], dtype=dtype, requires_grad=True)
    energies = scores.gaussian(torch.zeros(1, 2, dtype=dtype), key, width=0.5)
    assert energies.isnan().tolist() == [[True, True, False]]
    (gradient,) = torch.autograd.grad(energies.sum(), key)
    assert torch.equal(gradient, torch.tensor([[0.0, 0.0], [0.0, 0.0], [-2.0, -8.0]], dtype=dtype))


def test_location_based_uses_the_first_rows():
    weight = randn(8, D_Q)
    query, key = randn(QUERY, D_Q), randn(KEY, D_K)
    close(scores.location_based(query, key, weight=weight), query @ weight[:KEY].T)


@pytest.mark.parametrize("name", ["concat", "additive", "deep", "feature_based", "activated_general"])
def test_another_activation(name):
    """The activation is used, and the default is tanh."""
    parameters = checks.score_parameters(name)
    query, key = randn(QUERY, parameters.d_q), randn(KEY, D_K)
    score = functools.partial(FUNCTIONS[name], query, key, **parameters.tensors)
    assert torch.equal(score(), score(activation=torch.tanh))
    assert not torch.allclose(score(), score(activation=torch.relu))


@pytest.mark.parametrize("name", ["concat", "additive", "feature_based"])
def test_without_bias(name):
    parameters = checks.score_parameters(name)
    query, key = randn(QUERY, parameters.d_q), randn(KEY, D_K)
    zero = parameters.tensors | {"bias": torch.zeros(D_W, dtype=torch.float64)}
    del parameters.tensors["bias"]
    assert torch.equal(FUNCTIONS[name](query, key, **parameters.tensors), FUNCTIONS[name](query, key, **zero))


# --- modules ----------------------------------------------------------------------------------------------------------

with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)
    MODULES = {
        "general": scores.General(D_Q, D_K),
        "biased_general": scores.BiasedGeneral(D_Q, D_K),
        "activated_general": scores.ActivatedGeneral(D_Q, D_K),
        "concat": scores.Concat(D_Q, D_K, D_W),
        "additive": scores.Additive(D_Q, D_K, D_W),
        "deep": scores.Deep(D_Q, D_K, (D_W, 29, 19)),
        "location_based": scores.LocationBased(D_Q, 31),
        "feature_based": scores.FeatureBased(
            checks.D_1, checks.D_2, D_W, first_map=checks._first_map, second_map=checks._second_map
        ),
    }


@pytest.mark.parametrize("name", MODULES)
def test_module_calls_its_function(name):
    """Same sizes, same parameters, same energies; every parameter gets a gradient."""
    module, parameters = MODULES[name].double(), checks.score_parameters(name).tensors
    query, key = randn(BATCH, QUERY, D_Q), randn(BATCH, KEY, D_K)
    sizes = sorted(tuple(parameter.shape) for parameter in module.parameters())
    flat = [part for value in parameters.values() for part in _flat(value)]
    assert sizes == sorted(tuple(part.shape) for part in flat)
    own = dict(module.named_parameters())
    if name == "deep":
        own["layers"] = list(zip(module.layer_weights, module.layer_biases, strict=True))
        own = {part: own[part] for part in parameters}
    maps = {
        part: value for part, value in parameters.items() if callable(value) and not isinstance(value, torch.Tensor)
    }
    energies = module(query, key)
    assert torch.equal(energies, FUNCTIONS[name](query, key, **own, **maps))
    gradients = torch.autograd.grad(energies.square().sum(), list(module.parameters()), allow_unused=True)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def _flat(value):
    if isinstance(value, list):
        return [part for pair in value for part in pair]
    return [value] if isinstance(value, torch.Tensor) else []


@pytest.mark.parametrize("name", MODULES)
def test_module_starts_at_a_sensible_scale(name):
    """No NaN left from ``torch.empty``, not all zero: inputs of variance one give energies of variance at most ten."""
    score = MODULES[name].double()
    energies = score(randn(50, D_Q), randn(31, D_K, seed=1))
    assert 1e-3 < energies.var() < 10


def test_module_options():
    assert scores.General(2, 3, dtype=torch.float64).weight.dtype == torch.float64
    assert scores.General(2, 3, device="meta").weight.device.type == "meta"
    assert scores.Additive(2, 3, 5, bias=False).bias is None
    assert "bias" not in scores.Concat(2, 3, 5, bias=False).state_dict()
    relu = scores.Additive(2, 3, 5, activation=torch.relu)
    query, key = torch.randn(7, 2), torch.randn(11, 3)
    same = {"query_weight": relu.query_weight, "key_weight": relu.key_weight, "activation": torch.relu}
    torch.testing.assert_close(relu(query, key), scores.additive(query, key, vector=relu.vector, **same))


def test_modules_train_within_attend():
    """Ten steps of gradient descent bring the context nearer to its target: the gradient arrives and points down."""
    score = scores.Additive(D_Q, D_K, D_W)
    query, key, target = (randn(*shape, dtype=torch.float32) for shape in ((QUERY, D_Q), (KEY, D_K), (QUERY, D_K)))
    losses = []
    optimiser = torch.optim.SGD(score.parameters(), lr=0.3)
    for _ in range(10):
        loss = (attend(query, key, score=score).context - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.99 * losses[0]


# --- bad input --------------------------------------------------------------------------------------------------------

Q, K = torch.zeros(3, 8), torch.zeros(5, 7)
W88 = torch.zeros(8, 8)
BAD = {
    "dot": (scores.dot, {}, "key has d_k=7 but query has d_k=8"),
    "scaled dot": (scores.scaled_dot, {}, "key has d_k=7 but query has d_k=8"),
    "similarity": (scores.similarity, {}, "key has d_k=7 but query has d_k=8"),
    "kernel": (scores.generalized_kernel, {"feature_map": torch.relu}, "key has d_k=7 but query has d_k=8"),
    "gaussian": (scores.gaussian, {}, "key has d_k=7 but query has d_k=8"),
    "gaussian width": (lambda q, k: scores.gaussian(q, q, width=0.0), {}, "width must be a finite number above 0"),
    "general": (scores.general, {"weight": W88}, r"weight must have shape \(d_q=8, d_k=7\), got shape \(8, 8\)"),
    "biased general weight": (
        scores.biased_general,
        {"weight": torch.zeros(8, 7), "bias": torch.zeros(7)},
        r"weight must have shape \(d_k=7, d_q=8\), got shape \(8, 7\)",
    ),
    "biased general bias": (
        scores.biased_general,
        {"weight": torch.zeros(7, 8), "bias": torch.zeros(8)},
        r"bias must have shape \(d_k=7\), got shape \(8,\)",
    ),
    "activated general bias": (
        scores.activated_general,
        {"weight": torch.zeros(8, 7), "bias": torch.zeros(1)},
        r"bias must be a scalar, got shape \(1,\)",
    ),
    "concat": (
        scores.concat,
        {"vector": torch.zeros(2), "weight": torch.zeros(2, 14)},
        r"weight must have shape \(d_w=2, d_q \+ d_k=15\), got shape \(2, 14\)",
    ),
    "additive query": (
        scores.additive,
        {"vector": torch.zeros(2), "query_weight": torch.zeros(2, 7), "key_weight": torch.zeros(2, 7)},
        r"query_weight must have shape \(d_w=2, d_q=8\), got shape \(2, 7\)",
    ),
    "additive vector": (
        scores.additive,
        {"vector": torch.zeros(2, 1), "query_weight": torch.zeros(2, 8), "key_weight": torch.zeros(2, 7)},
        r"vector must have shape \(d_w\), got shape \(2, 1\)",
    ),
    "additive bias": (
        scores.additive,
        {
            "vector": torch.zeros(2),
            "query_weight": torch.zeros(2, 8),
            "key_weight": torch.zeros(2, 7),
            "bias": torch.zeros(1),
        },
        r"bias must have shape \(d_w=2\), got shape \(1,\)",
    ),
    "location": (
        scores.location_based,
        {"weight": torch.zeros(4, 8)},
        "key has 5 positions but weight has rows for n_max=4",
    ),
    "location size": (
        scores.location_based,
        {"weight": torch.zeros(6, 9)},
        r"weight must have shape \(n_max=6, d_q=8\), got shape \(6, 9\)",
    ),
    "deep layer": (
        scores.deep,
        {
            "query_weight": torch.zeros(2, 8),
            "key_weight": torch.zeros(2, 7),
            "bias": torch.zeros(2),
            "layers": [(torch.zeros(4, 3), torch.zeros(4))],
            "vector": torch.zeros(4),
            "vector_bias": torch.zeros(()),
        },
        r"layers\[0\] weight must have shape \(d_out=4, d_in=2\), got shape \(4, 3\)",
    ),
    "features": (
        scores.feature_based,
        {
            "vector": torch.zeros(2),
            "first_weight": torch.zeros(2, 7),
            "second_weight": torch.zeros(2, 8),
            "first_map": torch.abs,
            "second_map": torch.abs,
        },
        r"second_weight must have shape \(d_w=2, d_2=7\), got shape \(2, 8\)",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("score", "parameters", "message"), BAD.values(), ids=BAD)
def test_bad_sizes(score, parameters, message):
    with pytest.raises(ValueError, match=message):
        score(Q, K, **parameters)


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------


def identity(x):
    return x


def concat_with_the_key_first(query, key, *, vector, weight, bias):
    key_weight, query_weight = weight.split([key.shape[-1], query.shape[-1]], -1)
    return scores.additive(query, key, vector=vector, query_weight=query_weight, key_weight=key_weight, bias=bias)


def additive_mean(query, key, **parameters):
    return scores.additive(query, key, **parameters) / parameters["vector"].shape[0]


def additive_without_vector(query, key, *, vector, **parameters):
    return scores.additive(query, key, vector=torch.ones_like(vector), **parameters)


def deep_without_last_layer_activation(query, key, *, layers, vector, **parameters):
    *first, (weight, bias) = layers
    constant = parameters["vector_bias"] + vector @ bias
    return scores.deep(query, key, layers=first, vector=vector @ weight, **parameters | {"vector_bias": constant})


def unscaled_similarity(query, key, eps=1e-8):
    return scores.dot(query, key / key.norm(dim=-1, keepdim=True))


def plain_similarity(query, key):
    return scores.dot(query / query.norm(dim=-1, keepdim=True), key / key.norm(dim=-1, keepdim=True))


def torch_similarity(query, key):
    return torch.nn.functional.cosine_similarity(query.unsqueeze(-2), key.unsqueeze(-3), dim=-1)


def location_from_the_end(query, key, *, weight):
    return scores.location_based(query, key, weight=weight[-key.shape[-2] :])


WRONG_SCORES = {
    "no scale": ("scaled_dot", scores.dot),
    "scale by d_k": ("scaled_dot", lambda q, k: scores.dot(q, k) / q.shape[-1]),
    "scale by the number of keys": ("scaled_dot", lambda q, k: scores.dot(q, k) / math.sqrt(k.shape[-2])),
    "scale times the root": ("scaled_dot", lambda q, k: scores.dot(q, k) * math.sqrt(q.shape[-1])),
    "distance for dot": ("dot", lambda q, k: -torch.cdist(q, k)),
    "only keys of length one": ("similarity", unscaled_similarity),
    "distance not squared": ("gaussian", lambda q, k, width: -torch.cdist(q, k) / (2 * width**2)),
    "two forgotten": ("gaussian", lambda q, k, width: 2 * scores.gaussian(q, k, width=width)),
    "width not squared": ("gaussian", lambda q, k, width: scores.gaussian(q, k, width=width**0.5)),
    "width forgotten": ("gaussian", lambda q, k, width: scores.gaussian(q, k)),
    "the key's length for the distance": ("gaussian", lambda q, k, width: scores.gaussian(0 * q, k, width=width)),
    "general without its matrix": ("general", lambda q, k, weight: scores.dot(q[..., : k.shape[-1]], k)),
    "bias on the query": (
        "biased_general",
        lambda q, k, weight, bias: scores.biased_general(q, k, weight=weight, bias=0 * bias) + bias.sum(),
    ),
    "bias forgotten": (
        "biased_general",
        lambda q, k, weight, bias: scores.biased_general(q, k, weight=weight, bias=0 * bias),
    ),
    "bias outside the activation": (
        "activated_general",
        lambda q, k, weight, bias: scores.activated_general(q, k, weight=weight, bias=0 * bias) + bias,
    ),
    "not activated": ("activated_general", functools.partial(scores.activated_general, activation=identity)),
    "features of the query only": ("generalized_kernel", lambda q, k, feature_map: scores.dot(feature_map(q), k)),
    "key first": ("concat", concat_with_the_key_first),
    "concat without tanh": ("concat", functools.partial(scores.concat, activation=identity)),
    "additive without tanh": ("additive", functools.partial(scores.additive, activation=identity)),
    "relu for tanh": ("additive", functools.partial(scores.additive, activation=torch.relu)),
    "mean for sum": ("additive", additive_mean),
    "vector forgotten": ("additive", additive_without_vector),
    "bias of additive forgotten": ("additive", lambda q, k, bias, **p: scores.additive(q, k, **p)),
    "a layer forgotten": ("deep", deep_without_last_layer_activation),
    "rows from the end": ("location_based", location_from_the_end),
    "first features twice": (
        "feature_based",
        lambda q, k, second_weight, **p: scores.feature_based(q, k, second_weight=0 * second_weight, **p),
    ),
}


@pytest.mark.parametrize(("name", "mutant"), WRONG_SCORES.values(), ids=WRONG_SCORES)
def test_wrong_score_is_rejected(name, mutant):
    with pytest.raises(AssertionError):
        checks.check_score_value(name, mutant)


@pytest.mark.parametrize("mutant", [plain_similarity, torch_similarity])
def test_wrong_zero_vector_is_rejected(mutant):
    """NaN, or a gradient of one over eps."""
    with pytest.raises(AssertionError):
        checks.check_zero_vector(mutant)


def test_gradient_cut_in_a_score_is_rejected():
    def cut(query, key):
        return scores.dot(query.detach() * 0 + query, key) + (query.detach() @ key.mT) - scores.dot(query, key.detach())

    with pytest.raises(AssertionError):
        checks.check_score_gradient("dot", cut)
