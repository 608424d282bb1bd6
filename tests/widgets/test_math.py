"""The arithmetic of the pages, run in Node: within 1e-6 of attnlib over a thousand random cases a function."""

import functools
import math
import random

import pytest
import torch
from drawn import arithmetic

from attnlib import attend, distributions, scores

evaluate = arithmetic("scores", "distributions", "attend")
GROUPS, EACH = 40, 25  # a thousand cases a function; those of a group share options and shapes
DISTRIBUTIONS = {
    "softmax": lambda e, o: distributions.softmax(e, temperature=o["temperature"]),
    "sparsemax": lambda e, o: distributions.sparsemax(e, temperature=o["temperature"]),
    "entmax": lambda e, o: distributions.entmax(e, alpha=o["alpha"], temperature=o["temperature"]),
    "sigmoid": lambda e, o: distributions.sigmoid(e, temperature=o["temperature"], bias=o["bias"]),
}
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": lambda x: x}
FEATURES = {
    "exp": torch.exp,
    "relu": torch.relu,
    "identity": lambda x: x,
    "elu+1": lambda x: torch.where(x > 0, x + 1, x.exp()),
}


def act(o):
    return ACTIVATIONS[o["activation"]]


SCORES = {
    "dot": (lambda q, k, o: scores.dot(q, k), {}),
    "scaledDot": (lambda q, k, o: scores.scaled_dot(q, k, scale=o["scale"]), {"scale": ()}),
    "general": (lambda q, k, o: scores.general(q, k, weight=o["weight"]), {"weight": ("q", "k")}),
    "biasedGeneral": (
        lambda q, k, o: scores.biased_general(q, k, weight=o["weight"], bias=o["bias"]),
        {"weight": ("k", "q"), "bias": ("k",)},
    ),
    "activatedGeneral": (
        lambda q, k, o: scores.activated_general(q, k, weight=o["weight"], bias=o["bias"], activation=act(o)),
        {"weight": ("q", "k"), "bias": (), "activation": ACTIVATIONS},
    ),
    "additive": (
        lambda q, k, o: scores.additive(
            q,
            k,
            vector=o["vector"],
            query_weight=o["queryWeight"],
            key_weight=o["keyWeight"],
            bias=o["bias"],
            activation=act(o),
        ),
        {
            "vector": ("w",),
            "queryWeight": ("w", "q"),
            "keyWeight": ("w", "k"),
            "bias": ("w",),
            "activation": ACTIVATIONS,
        },
    ),
    "concat": (
        lambda q, k, o: scores.concat(q, k, vector=o["vector"], weight=o["weight"], bias=o["bias"], activation=act(o)),
        {"vector": ("w",), "weight": ("w", "q+k"), "bias": ("w",), "activation": ACTIVATIONS},
    ),
    "similarity": (lambda q, k, o: scores.similarity(q, k), {}),
    "locationBased": (lambda q, k, o: scores.location_based(q, k, weight=o["weight"]), {"weight": ("n", "q")}),
    "generalizedKernel": (
        lambda q, k, o: scores.generalized_kernel(q, k, feature_map=FEATURES[o["feature"]]),
        {"feature": FEATURES},
    ),
    "gaussian": (lambda q, k, o: scores.gaussian(q, k, width=o["width"]), {"width": ()}),
}
SAME_SIZE = {"dot", "scaledDot", "similarity", "generalizedKernel", "gaussian"}


def random_energies(rng, size):
    """One row: normal, wide, very wide, tied; some entries masked, some rows masked whole."""
    width = rng.choice([1, 1, 10, 300])
    row = [rng.gauss(0, width) for _ in range(size)]
    if rng.random() < 0.3:
        row = [round(x * 2) / 2 for x in row]
    if rng.random() < 0.1:
        row = [row[0]] * size
    hidden = rng.choice([0, 0, 0.3, 1])
    return [-math.inf if rng.random() < hidden else x for x in row]


def random_rows(rng, rows, columns, width):
    return [[rng.gauss(0, width) for _ in range(columns)] for _ in range(rows)]


def random_options(rng):
    return {
        "temperature": 10 ** rng.uniform(-1, 1),
        "alpha": rng.choice([1.5, 2.0, rng.uniform(1.05, 4)]),
        "bias": rng.gauss(0, 1),
    }


def largest_gap(actual, expected):
    """The largest difference, relative where numbers are above one; infinities must be the same."""
    actual, expected = torch.tensor(actual, dtype=torch.float64), expected.detach()
    assert actual.shape == expected.shape
    assert not (actual.isnan() | expected.isnan()).any()
    gap = torch.where(actual == expected, 0.0, (actual - expected).abs() / expected.abs().clamp(min=1.0))
    return gap.max().item()


def compared(name, gaps, record_property):
    """Keep the largest gap for the report, and refuse it above 1e-6."""
    record_property("measured", f"{max(gaps):.1e} largest gap to attnlib  {name}")
    assert len(gaps) == GROUPS
    assert max(gaps) < 1e-6


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution_is_that_of_attnlib(name, record_property):
    rng = random.Random(name)
    groups = []
    for _ in range(GROUPS):
        size = rng.randint(1, 12)
        groups.append(([random_energies(rng, size) for _ in range(EACH)], random_options(rng)))
    assert sum(all(map(math.isinf, row)) for rows, _ in groups for row in rows) > 50
    actual = evaluate(
        f"(groups) => groups.map(([rows, options]) => rows.map((row) => math.{name}(row, options)))", groups
    )
    gaps = []
    for (rows, options), weights in zip(groups, actual, strict=True):
        energies = torch.tensor(rows, dtype=torch.float64)
        gaps.append(largest_gap(weights, DISTRIBUTIONS[name](energies, options)))
        assert torch.tensor(weights)[energies == -math.inf].count_nonzero() == 0
    compared(name, gaps, record_property)


def random_parameters(rng, wanted, sizes):
    parameters = {}
    for name, shape in wanted.items():
        if isinstance(shape, dict):
            parameters[name] = rng.choice(list(shape))
        elif name in ("scale", "width"):
            parameters[name] = 10 ** rng.uniform(-1, 1)
        else:
            lengths = [sum(sizes[part] for part in side.split("+")) for side in shape]
            parameters[name] = torch.tensor(
                [rng.gauss(0, 1) for _ in range(math.prod(lengths))], dtype=torch.float64
            ).reshape(lengths)
    return parameters


def listed(parameters):
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in parameters.items()}


@pytest.mark.parametrize("name", SCORES)
def test_score_is_that_of_attnlib(name, record_property):
    rng = random.Random(name)
    function, wanted = SCORES[name]
    groups = []
    for _ in range(GROUPS):
        sizes = {"q": rng.choice([1, 2, 3, 5]), "k": rng.choice([1, 2, 3, 7]), "w": rng.choice([1, 2, 11]), "n": 13}
        if name in SAME_SIZE:
            sizes["k"] = sizes["q"]
        width = rng.choice([0.1, 1, 1, 3, 3 if name == "generalizedKernel" else 100])
        queries, rows = random_rows(rng, EACH, sizes["q"], width), rng.randint(1, 9)
        keys = [random_rows(rng, rows, sizes["k"], width) for _ in range(EACH)]
        keys[0][0] = [0.0] * sizes["k"]
        groups.append((queries, keys, random_parameters(rng, wanted, sizes)))
    actual = evaluate(
        f"""(groups) => groups.map(([queries, keys, options]) =>
            queries.map((query, i) => math.{name}(query, keys[i], options)))""",
        [(queries, keys, listed(parameters)) for queries, keys, parameters in groups],
    )
    gaps = []
    for (queries, keys, parameters), energies in zip(groups, actual, strict=True):
        query, key = (torch.tensor(rows, dtype=torch.float64) for rows in (queries, keys))
        gaps.append(largest_gap(energies, function(query[:, None], key, parameters)[:, 0]))
    compared(name, gaps, record_property)


def test_context_is_that_of_attnlib(record_property):
    rng = random.Random(0)
    groups = []
    for _ in range(GROUPS):
        size, width, hidden = rng.randint(1, 9), rng.choice([1, 10]), rng.choice([0, 0.4, 1])
        queries = random_rows(rng, EACH, 3, width)
        keys = [random_rows(rng, size, 3, width) for _ in range(EACH)]
        values = [random_rows(rng, size, 5, width) for _ in range(EACH)]
        masks = [[rng.random() >= hidden for _ in range(size)] for _ in range(EACH)]
        groups.append((queries, keys, values, masks, rng.choice(list(DISTRIBUTIONS)), random_options(rng)))
    actual = evaluate(
        """(groups) => groups.map(([queries, keys, values, masks, name, options]) => {
            const distribution = (energies) => math[name](energies, options);
            const all = queries.map((query, i) => math.attend(query, keys[i], values[i],
                { score: math.scaledDot, distribution, mask: masks[i] }));
            return ["energies", "weights", "context"].map((part) => all.map((result) => result[part]));
        })""",
        groups,
    )
    gaps = []
    for (queries, keys, values, masks, name, options), parts in zip(groups, actual, strict=True):
        query, key, value = (torch.tensor(rows, dtype=torch.float64) for rows in (queries, keys, values))
        distribution = functools.partial(DISTRIBUTIONS[name], o=options)
        expected = attend(query[:, None], key, value, distribution=distribution, mask=torch.tensor(masks)[:, None])
        pairs = zip(parts, (expected.energies, expected.weights, expected.context), strict=True)
        gaps.append(max(largest_gap(found, wanted[:, 0]) for found, wanted in pairs))
    compared("context", gaps, record_property)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_nan_and_bad_options_are_as_in_attnlib(name):
    row = [0.5, math.nan, -math.inf]
    expected = DISTRIBUTIONS[name](torch.tensor(row, dtype=torch.float64), random_options(random.Random(1))).tolist()
    actual = evaluate(f"(row) => math.{name}(row)", row)
    assert [math.isnan(a) for a in actual] == [math.isnan(e) for e in expected]
    assert evaluate(f"() => math.{name}([])") == []
    for options in ({"temperature": 0}, {"temperature": -1}, *([{"alpha": 1}] if name == "entmax" else [])):
        with pytest.raises(Exception, match=rf"{next(iter(options))} must be"):
            evaluate(f"(options) => math.{name}([1, 2], options)", options)
