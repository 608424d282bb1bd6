"""A weight for each feature, in runs of queries and by the kernel in C++: equal to the loop and to the reference."""

import functools
import math

import oracles
import pytest
import torch
from checks import close, compiled, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

import attnlib.fused._per_feature as fused
from attnlib import explain
from attnlib.fused import reference_only
from attnlib.fused._per_feature import features_in_runs
from attnlib.output_representations.chunked import attend_in_blocks
from attnlib.output_representations.directional import directional

BATCH, TIME, D, LIMIT = 2, 11, 5, 5.0


pytestmark = pytest.mark.usefixtures("kernels")


@pytest.fixture(params=["one run", "short runs", "tangent", "kernel"])
def path(request, monkeypatch, kernels):
    """All queries at once; few at a time; without the exponentials of vectors; and the kernel."""
    if request.param == "kernel":
        kernels("per_feature")
    if request.param == "short runs":
        monkeypatch.setattr(fused, "NUMBERS", 3 * TIME * D)
    if request.param == "tangent":
        monkeypatch.setattr(fused, "REACH", 0)
    return request.param


def padding():
    """All real; some; one; none."""
    mask = torch.arange(TIME) < torch.tensor([[TIME], [7], [1], [0]])
    mask[1, 2] = False
    return mask


def parts(batch=4, time=TIME, size=1.0, dtype=torch.float64):
    sizes = size, size, 1.0
    found = [size * randn(batch, time, D, seed=seed) for seed, size in enumerate(sizes)]
    return [part.to(dtype).requires_grad_() for part in found]


def both(function, given, upstream):
    context = function(*given)
    return [context, *torch.autograd.grad((context * upstream).sum(), given)]


def blocks(query, key, value, direction, mask, limit):
    return attend_in_blocks(query, key, value, direction=direction, mask=mask, limit=limit)


# --- the oracle: loops from the paper ---------------------------------------------------------------------------------


def features_loop(query, key, value, direction, real, limit):
    found = []
    for j in range(len(query)):
        visible = [
            real[i] and real[j] and {"forward": i < j, "backward": i > j, "others": i != j}[direction]
            for i in range(len(key))
        ]
        context = []
        for k in range(len(value[0])):
            energies = [
                limit * math.tanh((query[j][k] + offer[k]) / limit) if seen else -math.inf
                for offer, seen in zip(key, visible, strict=True)
            ]
            weights = oracles.softmax_row(energies)
            context.append(sum(w * v[k] for w, v in zip(weights, value, strict=True)))
        found.append(context)
    return found


def check_loop(function):
    mask = padding()
    query, key, value = (part.detach() for part in parts())
    for direction in fused.DIRECTIONS:
        found = function(query, key, value, direction, mask, 2.0)
        for b in range(4):
            given = rows(query[b]), rows(key[b]), rows(value[b]), direction, mask[b].tolist(), 2.0
            close(found[b], tensor(features_loop(*given)))


def test_it_is_the_loop(path):
    check_loop(features_in_runs)


@pytest.mark.parametrize("direction", fused.DIRECTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_values_and_gradients_of_the_reference(path, direction, masked):
    given, upstream, mask = parts(), randn(4, TIME, D, seed=8), padding() if masked else None
    options = {"direction": direction, "mask": mask, "limit": LIMIT}
    results = [both(functools.partial(f, **options), given, upstream) for f in (features_in_runs, blocks)]
    for got, want in zip(*results, strict=True):
        close(got, want)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 70.0, 1e4])
def test_single_precision_keeps_its_digits(path, size):
    """Against double precision; at 70 times the features some go beyond what the exponentials are trusted with."""
    given, upstream = parts(size=size, dtype=torch.float32), randn(4, TIME, D, seed=8).float()
    run = functools.partial(features_in_runs, direction="others", mask=padding(), limit=LIMIT)
    exact = [part.detach().double().requires_grad_() for part in given]
    wanted = both(functools.partial(blocks, direction="others", mask=padding(), limit=LIMIT), exact, upstream.double())
    theirs = both(functools.partial(blocks, direction="others", mask=padding(), limit=LIMIT), given, upstream)
    for got, want, other in zip(both(run, given, upstream), wanted, theirs, strict=True):
        worst = (other.double() - want).abs().max()
        assert (got.double() - want).abs().max() <= max(4 * worst, 1e-5 * want.abs().max(), 1e-6)


def test_half_precision_is_no_further_from_double_than_the_reference(path):
    query, key, value = (part.detach().to(torch.bfloat16) for part in parts())
    given = query.float(), key.float(), value
    found = features_in_runs(*given, "forward", None, LIMIT)
    wanted = blocks(query.double(), key.double(), value.double(), "forward", None, LIMIT)
    theirs = blocks(*given, "forward", None, LIMIT)
    assert found.dtype == torch.bfloat16
    assert (found - wanted).abs().max() <= (theirs - wanted).abs().max() + 1e-6


def test_slopes_are_the_numerical_ones_twice(path):
    mask = padding()[:2, 3:8]
    for direction in ("forward", "others"):
        run = functools.partial(features_in_runs, direction=direction, mask=mask, limit=2.0)
        leaves = [leaf(2, 5, D, seed=seed) for seed in range(3)]
        assert gradcheck(run, leaves, fast_mode=True)
        assert gradgradcheck(run, leaves, fast_mode=True)


def test_strides_and_leading_axes(path):
    query, key, value = (randn(TIME, 2, 3, D, seed=seed).movedim(0, 2) for seed in range(3))
    mask = padding()[:2].unsqueeze(1)
    found = features_in_runs(query, key, value, "backward", mask, LIMIT)
    for h in range(3):
        close(found[:, h], blocks(query[:, h], key[:, h], value[:, h], "backward", mask[:, 0], LIMIT))


@pytest.mark.parametrize("direction", fused.DIRECTIONS)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_the_kernel_on_long_sequences(kernels, direction, size):
    """More keys than it sums by themselves, features that fill no register, some of which need the tangent."""
    kernels("per_feature")
    time, d = 301, 19
    given = [randn(2, time, d, seed=seed) for seed in range(3)]
    given[0][..., 16:] *= size
    given = [part.float().requires_grad_() for part in given]
    mask, upstream = torch.arange(time) < torch.tensor([[time], [263]]), randn(2, time, d, seed=8).float()
    run = functools.partial(features_in_runs, direction=direction, mask=mask, limit=1.5)
    found = both(run, given, upstream)
    exact = [part.detach().double().requires_grad_() for part in given]
    wanted = both(functools.partial(blocks, direction=direction, mask=mask, limit=1.5), exact, upstream.double())
    for got, want in zip(found, wanted, strict=True):
        assert (got.double() - want).abs().max() <= 5e-6 * want.abs().max()


SPOILT = {
    "NaN": [(0, 1, torch.nan), (2, 7, torch.nan)],
    "infinity": [(0, 1, torch.inf), (1, 4, -torch.inf), (0, 8, -torch.inf), (1, 2, torch.inf), (2, 5, -torch.inf)],
}


@pytest.mark.parametrize("direction", fused.DIRECTIONS)
@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_what_is_not_finite_is_as_in_the_reference(path, spoilt, direction):
    """In some features of query, key or value, of tokens that some see and others do not."""
    given, upstream = [part.detach() for part in parts()], randn(4, TIME, D, seed=8)
    for which, place, number in spoilt:
        given[which][:, place, which : which + 2] = number
    given = [part.requires_grad_() for part in given]
    for mask in (None, padding()):
        options = {"direction": direction, "mask": mask, "limit": LIMIT}
        found, wanted = ([*both(functools.partial(f, **options), given, upstream)] for f in (features_in_runs, blocks))
        for got, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_what_is_not_finite_spoils_no_second_derivative(spoilt):
    given = [part.detach() for part in parts()]
    for which, place, number in spoilt:
        given[which][:, place, which : which + 2] = number
    given, found = [part.requires_grad_() for part in given], []
    for function in (features_in_runs, blocks):
        context = function(*given, "others", padding(), LIMIT).nan_to_num()
        slopes = torch.autograd.grad(context.square().sum(), given, create_graph=True)
        found.append(torch.autograd.grad(sum(slope.square().sum() for slope in slopes), given))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_values_whose_sum_overflows_have_their_average(path):
    query, key, value = (part.detach() for part in parts())
    value[:, 3:7, 1] = 1e308
    given = query, key, value, "others", padding(), LIMIT
    close(features_in_runs(*given), blocks(*given))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch about itself
@pytest.mark.usefixtures("unchecked")
def test_compiled_it_is_one_operation_forwards_and_one_backwards(path):
    mask, operations, upstream = padding(), [], randn(4, TIME, D, seed=8)
    eye = torch.eye(D, dtype=torch.float64)

    def call(items, query_weight, key_weight):
        given = {"query_weight": query_weight, "key_weight": key_weight, "mask": mask, "direction": "forward"}
        return directional(items, **given, need_weights=False).context

    fast = compiled(call, operations)
    for bad in (0.0, torch.nan, torch.inf):
        items = parts()[0].detach()
        items[:, 6, 1] = items[:, 6, 1] if bad == 0 else bad
        given = [part.requires_grad_() for part in (items, eye + randn(D, D), eye.clone())]
        found = both(fast, given, upstream)
        with reference_only():
            wanted = both(call, given, upstream)
        for got, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert operations == ["attnlib.attend_by_feature.default", "attnlib.attend_by_feature_backward.default"]


def test_a_compiler_sees_one_operation():
    given = *parts(batch=2), padding()[:2], "forward", LIMIT
    tests = "test_schema", "test_autograd_registration", "test_faketensor"
    torch.library.opcheck(torch.ops.attnlib.attend_by_feature.default, given, test_utils=tests)
    inner = [part.detach() for part in given[:3]]
    backward = inner[2], *inner, *torch.ops.attnlib.attend_by_feature(*inner, *given[3:]), *given[3:]
    torch.library.opcheck(torch.ops.attnlib.attend_by_feature_backward.default, backward, test_utils=tests)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_derivatives_forwards_are_left_to_the_reference():
    query, key, value = (part.detach() for part in parts())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(query, torch.ones_like(query))
        assert features_in_runs(dual, key, value, "forward", None, LIMIT) == "there is a derivative forwards"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"need_weights": True}, "the weights are asked for"),
        ({"limit": 21.0}, "a limit above 20 needs a maximum"),
        ({"items": torch.ones(0, D)}, "there is nothing to average"),
    ],
)
def test_directional_says_why_it_leaves_the_path(change, reason):
    given = {"items": torch.ones(3, D), "query_weight": torch.eye(D), "key_weight": torch.eye(D)}
    choice = explain(directional, **{**given, "direction": "forward", "need_weights": False, **change}).choices[0]
    assert choice.refused.get("in runs of queries") == reason
    assert (choice.path == "in runs of queries") == (reason is None)


def test_directional_takes_the_kernel_where_it_is_built(kernels):
    kernels("per_feature")
    given = {"items": torch.ones(3, D), "query_weight": torch.eye(D), "key_weight": torch.eye(D)}
    assert str(explain(directional, **given, direction="others", need_weights=False)) == "directional: kernel in C++"


def test_transforms_are_left_to_the_reference():
    value = parts()[2].detach()

    def run(items):
        eye = torch.eye(D, dtype=items.dtype)
        given = {"query_weight": eye, "key_weight": eye, "direction": "forward"}
        return directional(items, **given, need_weights=False).context

    with reference_only():
        wanted = run(value)
    close(torch.vmap(run)(value), wanted)
    close(run(value), wanted)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def wrong(query, key, value, direction, mask, limit, fault):
    """The plain formula with one fault."""
    n = value.shape[-2]
    far = torch.arange(n) - torch.arange(n).unsqueeze(-1)
    seen = {"forward": far < 0, "backward": far > 0, "others": far != 0}[direction]
    seen = seen | (far == 0) if fault == "diagonal" else seen
    seen = seen & mask.unsqueeze(-2) & (True if fault == "padding asks" else mask.unsqueeze(-1))
    slack = 1.0 if fault == "limit" else limit
    quotient = 1 / (1 + torch.exp(2 * query / slack).unsqueeze(-2) * torch.exp(2 * key / slack).unsqueeze(-3))
    weights = torch.exp(-2 * limit * quotient * (0.5 if fault == "half" else 1)) * seen.unsqueeze(-1)
    total = weights.sum(-2)
    return (weights * value.unsqueeze(-3)).sum(-2) / torch.where(total == 0, 1.0, total)


@pytest.mark.parametrize("fault", ["diagonal", "padding asks", "limit", "half"])
def test_wrong_versions_are_rejected(fault):
    check_loop(functools.partial(wrong, fault="none"))
    with pytest.raises(AssertionError):
        check_loop(functools.partial(wrong, fault=fault))
