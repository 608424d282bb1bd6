"""The kernels in Triton against the reference, run by Triton's interpreter: ``test_triton.py`` starts this file.

The interpreter wants a process of its own, for Triton reads ``TRITON_INTERPRET`` when it is imported.
"""

import functools
import math
from contextlib import nullcontext

import pytest
import torch

from attnlib import attend, attention, distributions, explain, masks, scores
from attnlib.fused import _triton_additive as triton_additive
from attnlib.fused import reference_only

# NumPy tells of numbers that overflow where the kernels throw them away.
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
LENGTHS = masks.key_mask(torch.tensor([0, 17]), 18)
PAIRS = (torch.arange(17)[:, None] * 7 + torch.arange(18) * 5) % 11 < 4
PAIRS[3] = False

# Tiles of pairs have 16 rows here: most lengths take two of them, of which the last has few rows.
CASES = {
    "plain": {"batch": (2,)},
    "more features than a tile has": {"n_query": 2, "n_key": 3, "d_w": 33},
    "one of each": {"n_query": 1, "n_key": 1, "d_w": 1, "d_v": 1},
    "one query": {"n_query": 1},
    "causal, fewer queries": {"is_causal": True, "n_query": 2, "n_key": 34},
    "causal, fewer keys": {"is_causal": True, "n_query": 34, "n_key": 2, "runs": 3},
    "lengths, one of them 0": {"mask": LENGTHS, "batch": (2,)},
    "pairs, a row empty, causal": {"mask": PAIRS, "is_causal": True, "runs": 2},
    "nobody sees anything": {"mask": torch.zeros(1, 1, dtype=torch.bool)},
    "far from zero": {"size": 30.0, "n_query": 5, "n_key": 7},
    "small sums under a steep vector": {"size": 1e-3, "n_query": 5, "n_key": 7, "steep": 1e3, "no_bias": True},
    "learned scale": {"scale": torch.tensor([[1.7]]), "n_query": 3, "n_key": 4},
    "half precision": {"dtype": torch.bfloat16, "n_query": 3},
}


@pytest.fixture(autouse=True)
def only_triton(monkeypatch):
    monkeypatch.setattr(attention, "PATHS", {"Triton": triton_additive.triton_context})


def drawn(n_query=17, n_key=18, d_w=3, d_v=5, batch=(), size=1.0, steep=1.0, no_bias=False, dtype=torch.float32):
    """Query, key, value and the gradient of their context, and parameters, rounded to ``dtype``."""
    shapes = {"query": (n_query, 4), "key": (n_key, 6), "value": (n_key, d_v), "change": (n_query, d_v)}
    found = {name: torch.randn(*batch, *shape, dtype=torch.float64) for name, shape in shapes.items()}
    found["query"], found["key"] = found["query"] * size, found["key"] * size
    layer = {"vector": (d_w,), "query_weight": (d_w, 4), "key_weight": (d_w, 6), "bias": (d_w,)}
    found |= {name: torch.randn(shape, dtype=torch.float64) / d_w**0.5 for name, shape in layer.items()}
    found["vector"] = found["vector"] * steep
    if no_bias:
        del found["bias"]
    return {name: part.to(dtype) for name, part in found.items()}


def both_passes(parts, dtype, *, reference=False, scale=None, **options):
    """The context, and the gradients by name, in a precision; by the reference or by the kernels."""
    parts = {name: part.detach().to(dtype).requires_grad_(name != "change") for name, part in parts.items()}
    layer = {name: part for name, part in parts.items() if name not in ("query", "key", "value", "change")}
    vectors = [parts[name] for name in ("query", "key", "value")]
    if scale is not None:
        parts["scale"] = options["scale"] = scale.detach().to(dtype).requires_grad_()
    with reference_only() if reference else nullcontext():
        score = functools.partial(scores.additive, **layer)
        context = attend(*vectors, score=score, need_weights=False, **options).context
    names = [name for name in parts if name != "change"]
    gradients = torch.autograd.grad(context, [parts[name] for name in names], parts["change"])
    return {"context": context.detach(), **dict(zip(names, gradients, strict=True))}


def check(parts, dtype=torch.float32, **options):
    """The kernels are within 1e-5 of float64, or hardly further than the reference is."""
    exact = both_passes(parts, torch.float64, reference=True, **options)
    reference = both_passes(parts, dtype, reference=True, **options)
    for name, found in both_passes(parts, dtype, **options).items():
        assert found.dtype == dtype
        assert torch.equal(found.isnan(), reference[name].isnan()), name
        size = exact[name].nan_to_num().abs().max()
        error, allowed = ((part.double() - exact[name]).nan_to_num().abs().max() for part in (found, reference[name]))
        assert error <= max(2 * allowed, 1e-5 * size, 1e-30), f"{name}: {error:.1e}, reference {allowed:.1e}"


def options_of(case):
    """What is drawn, and what is asked."""
    asked = {name: case[name] for name in ("mask", "is_causal", "scale") if name in case}
    rest = {name: value for name, value in case.items() if name not in (*asked, "runs")}
    return rest, asked


def in_runs(monkeypatch, case):
    """Backward with as few queries at a time as can be, where the case asks for several runs."""
    if "runs" in case:
        monkeypatch.setattr(triton_additive, "SHARE", 0)
        assert case["runs"] == math.ceil(case.get("n_query", 17) / triton_additive.QUERIES)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_the_reference(case, monkeypatch):
    in_runs(monkeypatch, case)
    rest, asked = options_of(case)
    check(drawn(**rest), rest.get("dtype", torch.float32), **asked)


@pytest.mark.parametrize("number", [math.nan, 3e38], ids=str)
def test_what_is_hidden_has_no_influence(number):
    parts = drawn()
    mask = torch.ones(17, 18, dtype=torch.bool)
    mask[:, 4], mask[2] = False, False
    clean = both_passes(parts, torch.float32, mask=mask)
    parts["key"][4], parts["value"][4], parts["query"][2] = number, -number, number
    for name, found in both_passes(parts, torch.float32, mask=mask).items():
        torch.testing.assert_close(found, clean[name], rtol=1e-6, atol=1e-6, msg=lambda told, name=name: name + told)


@pytest.mark.parametrize("place", ["query", "key", "value"])
def test_what_is_seen_and_is_not_a_number_gives_nan(place):
    parts = drawn(n_query=7, n_key=9)
    parts[place][5] = math.nan
    check(parts, is_causal=True)  # which compares where NaN is, and gradients
    context = both_passes(parts, torch.float32, is_causal=True)["context"]
    assert context.isnan().any(-1).tolist() == [row == 5 if place == "query" else row >= 5 for row in range(7)]


def test_leading_axes_strides_groups_and_concat():
    query, key, value = torch.randn(2, 1, 4, 3).mT, torch.randn(3, 5, 12)[..., ::2], torch.randn(5, 5)
    mask = torch.rand(2, 1, 3, 5) < 0.5
    layer = {"vector": torch.randn(3), "weight": torch.randn(3, 10)}
    score = functools.partial(scores.concat, **layer)
    module = scores.Additive(4, 6, 3)
    grouped = torch.randn(4, 3, 4), torch.randn(2, 5, 6), torch.randn(2, 5, 1)
    for arguments, options in (
        ((query, key, value), {"score": score, "mask": mask}),
        ((query, key, value), {"score": module, "scale": -2.0}),
        (grouped, {"score": module, "enable_gqa": True, "mask": torch.rand(4, 3, 5) < 0.5}),
    ):
        found = attend(*arguments, need_weights=False, **options).context
        with reference_only():
            expected = attend(*arguments, need_weights=False, **options).context
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def refusals():
    query, key, value = torch.randn(3, 4), torch.randn(5, 6), torch.randn(5, 2)
    score = scores.Additive(4, 6, 3)
    hooked = scores.Additive(4, 6, 3)
    hooked.register_forward_hook(lambda *_: None)
    return {
        "the tensors are not on a GPU": None,
        "the distribution is not softmax": ((query, key, value), {"distribution": distributions.sparsemax}),
        "the kernels compute in float32": ((query.double(), key.double(), value.double()), {"score": score.double()}),
        "there is dropout, or a bias": ((query, key, value), {"bias": torch.zeros(3, 5)}),
        "each query has its own scale": ((query, key, value), {"scale": torch.ones(3, 1)}),
        "the values have more than 256 numbers": ((query, key, torch.randn(5, 257)), {}),
        "there is nothing to average": ((query[:0], key, value), {}),
        "the score is not additive": ((query, query, query), {"score": scores.dot}),
        "the activation is not tanh": ((query, key, value), {"score": scores.Concat(4, 6, 3, activation=torch.relu)}),
        "the score has hooks": ((query, key, value), {"score": hooked}),
    }


@pytest.mark.parametrize("reason", refusals())
def test_it_says_why_not(reason, monkeypatch):
    arguments, options = refusals()[reason] or ((torch.ones(3, 4), torch.ones(5, 6), torch.ones(5, 2)), {})
    if "GPU" in reason:
        monkeypatch.setattr(triton_additive, "IS_INTERPRETED", False)
    options = {"score": scores.Additive(4, 6, 3), "need_weights": False, **options}
    assert explain(attend, *arguments, **options).choices[0].refused["Triton"] == reason


def test_transforms_get_the_reference():
    query, key, score = torch.randn(2, 3, 4), torch.randn(2, 5, 6), scores.Additive(4, 6, 3)

    def context(query, key):
        return attend(query, key, score=score, need_weights=False).context

    found = explain(torch.vmap(context), query, key)
    assert found.choices[0].refused == {"Triton": "a transform of functorch runs the program"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch warns about itself while it imports its compiler
@pytest.mark.usefixtures("unchecked")
def test_compilers_see_one_operator():
    query, key, score = torch.randn(2, 3, 4), torch.randn(2, 5, 6), scores.Additive(4, 6, 3)
    seen = []

    def backend(graph, _):
        seen.extend(node.target for node in graph.graph.nodes)
        return graph

    run = functools.partial(attend, score=score, need_weights=False, is_causal=True)
    with torch.no_grad():
        compiled = torch.compile(run, backend=backend, fullgraph=True)(query, key)
        torch.testing.assert_close(compiled.context, run(query, key).context)
    assert torch.ops.attnlib.additive_triton.default in seen or triton_additive.attention in seen
    arguments = [torch.randn(shape, requires_grad=True) for shape in ((1, 2, 2), (1, 3, 2), (1, 3, 1), (2,))]
    torch.library.opcheck(triton_additive.attention, (*arguments, None, None, None, True), test_utils=CHECKS)


def test_a_second_derivative_is_refused():
    query, key = torch.randn(3, 4, requires_grad=True), torch.randn(5, 6)
    context = attend(query, key, score=scores.Additive(4, 6, 3), need_weights=False).context
    (first,) = torch.autograd.grad(context.sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="additive_triton_backward"):
        first.sum().backward()


def _always_safe(left, right, vector):
    return torch.exp(2 * left), torch.exp(2 * right), torch.ones(len(left), dtype=torch.uint8)


MUTANTS = {
    "no guard against large sums": ("_forms", _always_safe, "far from zero"),
    "no guard against steep vectors": ("STEEP", math.inf, "small sums under a steep vector"),
    "the mask is read by rows of one key": ("_strides", lambda mask: (0, 0, 0), "pairs, a row empty, causal"),
    "the first run stands for all": (
        "_spread",
        lambda slopes, forms, vector, gradients, run, *, is_causal, spread=triton_additive._spread: spread(
            slopes, forms, vector, gradients, slice(0, run.stop - run.start), is_causal=is_causal
        ),
        "causal, fewer keys",
    ),
}


@pytest.mark.parametrize(("name", "wrong", "case"), MUTANTS.values(), ids=MUTANTS)
def test_wrong_versions_are_rejected(name, wrong, case, monkeypatch):
    in_runs(monkeypatch, CASES[case])
    monkeypatch.setattr(triton_additive, name, wrong)
    rest, asked = options_of(CASES[case])
    with pytest.raises(AssertionError):
        check(drawn(**rest), **asked)
