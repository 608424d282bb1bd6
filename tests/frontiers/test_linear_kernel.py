"""Causal linear attention through its kernel in C++: what the standing tests ask, sizes, transforms, a compiler."""

import functools
import itertools
import math

import pytest
import test_linear as standing
import torch
from checks import compiled, randn

from attnlib import explain
from attnlib.frontiers.linear import LinearState, decode, linear_attention
from attnlib.frontiers.random_features import gaussian_directions, positive_features
from attnlib.fused import _linear, native, reference_only
from attnlib.masks import key_mask

PATH = "kernel in C++"
causal = functools.partial(linear_attention, is_causal=True)


@pytest.fixture(autouse=True)
def kernel(kernels):
    kernels("linear")


def inputs(*batch, n_query=70, n_key=70, d_k=7, d_v=5, dtype=torch.float32):
    shapes = (n_query, d_k), (n_key, d_k), (n_key, d_v)
    return [randn(*batch, *shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)]


def path_of(function, *parts, **options):
    return explain(function, *parts, **options).choices[0].path


def reason(function, *parts, path=PATH, **options):
    return explain(function, *parts, **options).choices[0].refused[path]


def against_reference(call, parts, tolerance=1e-5):
    with reference_only():
        wanted = standing.with_gradients(call, parts)
    assert path_of(call, *parts) == PATH
    for got, want in zip(standing.with_gradients(call, parts), wanted, strict=True):
        assert got.dtype == want.dtype
        largest = max(1.0, want.abs().nan_to_num().max().item())
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance * largest, equal_nan=True)


# --- what the standing tests ask --------------------------------------------------------------------------------------

BAD = torch.nan, torch.inf, -torch.inf
STANDING = {
    **{check.__name__: functools.partial(check, linear_attention) for check in standing.CHECKS},
    "forms": lambda: [standing.test_causal_forms_are_one_function(n, m) for n in (1, 13, 65) for m in (False, True)],
    "lengths": standing.test_any_lengths_chunk_mask_and_runs_are_the_matrix,
    "recurrence": standing.test_recurrence_is_the_papers,
    "constant state": standing.test_state_does_not_grow,
    "masks of fewer axes": standing.test_masks_of_fewer_axes,
    "broadcast": standing.test_leading_dimensions_broadcast,
    "slopes": standing.test_slopes_are_the_numerical_ones,
    "hidden": lambda: [
        standing.test_what_the_mask_hides_changes_nothing(bad, True, "cpu") for bad in (*BAD, 1.7e308, -1.7e308)
    ],
    "not finite": lambda: [
        standing.test_what_is_not_finite_shows_from_there_on_and_spoils_no_gradient_before(bad, which)
        for bad, which in itertools.product(BAD, (1, 2))
    ],
    "a query not finite": standing.test_a_query_that_is_not_finite_is_lost_alone,
    "lost": standing.test_what_was_lost_stays_lost_in_the_state,
    "half": lambda: [standing.test_half_precision_is_computed_in_single(t, True) for t in (torch.half, torch.bfloat16)],
    "zero below": standing.test_a_denominator_of_zero_gives_zeros,
    "any features": standing.test_any_feature_map_is_the_matrix,
    "memory": lambda: standing.test_memory_of_both_passes_is_linear(True, False),
    "vmap": standing.test_vmap_and_nothing_mutated,
    "nothing": standing.test_nothing_to_read_and_nothing_asked,
}


@pytest.mark.parametrize("ask", STANDING.values(), ids=STANDING)
def test_what_the_standing_tests_ask(ask):
    ask()


def test_it_is_the_kernel_that_answers():
    parts = inputs(2)
    assert path_of(causal, *parts) == path_of(decode, *parts) == PATH
    assert path_of(causal, *(part.double() for part in parts), mask=torch.arange(70) > 5) == PATH
    assert path_of(causal, *parts, feature_map=torch.relu) == PATH
    with reference_only():
        assert path_of(causal, *parts) == "reference"


# --- every size and number --------------------------------------------------------------------------------------------

SIZES = [(1, 1, 1, 1), (63, 64, 16, 16), (65, 66, 17, 33), (130, 40, 64, 8), (40, 300, 5, 70), (400, 400, 33, 12)]


@pytest.mark.parametrize("sizes", SIZES)
def test_any_size(sizes):
    """Where lanes, tiles and chunks end; on several threads, with segments that begin with the sums before them."""
    n_query, n_key, d_k, d_v = sizes
    threads = torch.get_num_threads()
    for dtype, count, masked in itertools.product((torch.float32, torch.float64), (1, 3), (False, True)):
        parts = inputs(2, n_query=n_query, n_key=n_key, d_k=d_k, d_v=d_v, dtype=dtype)
        mask = randn(2, 1, n_key, seed=7) > -0.5 if masked else None

        def call(*parts, mask=mask):
            return causal(*parts, mask=mask).context

        torch.set_num_threads(count)
        try:
            against_reference(call, parts, 1e-5 if dtype == torch.float32 else 1e-12)
        finally:
            torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", [1, 5])
def test_a_state_before_and_after(threads):
    """Contexts, states and all gradients, also where only the state is asked for."""
    parts = inputs(2, n_query=500, n_key=500, dtype=torch.float64)
    memory, total = randn(2, 7, 5, seed=3), randn(2, 7, seed=4).abs()
    none, before = torch.zeros(2, dtype=torch.bool), torch.get_num_threads()

    def both(*parts):
        context, after = decode(*parts[:3], LinearState(*parts[3:], none))
        return torch.cat([part.flatten(1) for part in (context, after.memory, after.total)], -1)

    def state(*parts):
        return decode(*parts[:3], LinearState(*parts[3:], none))[1].memory + 0 * parts[0].sum()

    torch.set_num_threads(threads)
    try:
        for call in (both, state):
            against_reference(call, (*parts, memory, total), 1e-11)
    finally:
        torch.set_num_threads(before)


def test_any_strides_and_leading_dimensions():
    query, key, value = randn(3, 1, 70, 7), randn(7, 2, 70).permute(1, 2, 0), randn(70, 5, seed=1)
    mask = key_mask(torch.tensor([70, 33]), 70)
    against_reference(lambda *parts: causal(*parts, mask=mask).context, (query, key, value), 1e-12)
    heads = [part.transpose(1, 2) for part in inputs(2, 70, n_query=3, n_key=3)]
    against_reference(lambda *parts: causal(*parts).context, heads)
    against_reference(lambda query, key: causal(query, key).context, (heads[0], heads[1]))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 30.0, 1e4])
@pytest.mark.parametrize("moved", [0.0, -60.0, -85.0])
def test_numbers_huge_and_tiny(scale, moved):
    query, key, value = inputs(2)
    against_reference(lambda q, k, v: causal(q * scale + moved, k + moved, v).context, (query, key, value), 2e-5)
    against_reference(lambda q, k, v: causal(q, k, v * scale).context, (query, key, value))


def test_the_exponential():
    """Of one key: its feature is what is written into the state; below all normal numbers too."""
    x = torch.cat([torch.linspace(-110, 0.1, 5000), torch.tensor([-1e30, -0.0, 1e-30, 3e38])])
    found = decode(x[:, None, None], x[:, None, None], torch.ones(len(x), 1, 1))[1].total.flatten().double()
    exact = torch.where(x > 0, x.double() + 1, x.double().exp())
    assert ((found - exact).abs() <= 2e-7 * exact + 1.5e-45).all()


def test_a_key_that_is_lost_is_lost_for_later_chunks():
    parts = inputs(2, n_query=300, n_key=280)
    parts[1][0, 100, 3] = parts[2][1, 170, 0] = math.nan
    parts[0][1, 20, 2] = -math.inf
    mask = torch.ones(2, 1, 280, dtype=torch.bool)
    mask[1, 0, 150:] = False
    context = causal(*parts, mask=mask).context
    against_reference(lambda *parts: causal(*parts, mask=mask).context, parts)
    lost = context.isnan().all(-1)
    assert torch.equal(lost, context.isnan().any(-1))
    assert lost.sum(-1).tolist() == [200, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_no_further_off(dtype):
    parts = [part.to(dtype) for part in inputs(2, n_query=200, n_key=200)]
    exact = standing.with_gradients(lambda *p: causal(*p).context, [part.double() for part in parts])
    with reference_only():
        reference = standing.with_gradients(lambda *p: causal(*p).context, parts)
    for got, want, right in zip(
        standing.with_gradients(lambda *p: causal(*p).context, parts), reference, exact, strict=True
    ):
        assert got.dtype == dtype
        off, allowed = ((found.double() - right).abs().max() for found in (got, want))
        assert off <= 1.01 * allowed + torch.finfo(dtype).eps * right.abs().max() / 2


def test_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        against_reference(lambda *parts: causal(*parts).context, inputs(2), 1e-2)


def test_random_features_with_parameters_get_their_gradients():
    directions = gaussian_directions(12, 7, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(70) % 5 > 0

    def call(query, key, value, directions):
        return causal(
            query, key, value, feature_map=functools.partial(positive_features, directions=directions)
        ).context

    against_reference(call, (*inputs(2), directions))
    against_reference(
        lambda *parts: causal(*parts, feature_map=torch.cos, mask=mask).context, inputs(2, dtype=torch.double)
    )


def test_only_what_asks_gets_a_gradient():
    leaves = [part.requires_grad_() for part in inputs(2)]
    whole = torch.autograd.grad(causal(*leaves).context.sum(), leaves)
    for number, wanted in enumerate(whole):
        parts = [part.detach() for part in leaves]
        parts[number] = leaves[number]
        torch.testing.assert_close(torch.autograd.grad(causal(*parts).context.sum(), parts[number])[0], wanted)


# --- what it leaves to the reference; what a compiler sees ------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # by torch's own derivatives forwards
def test_why_not(monkeypatch):
    query, key, value = parts = inputs(2, dtype=torch.double)
    assert reason(causal, query[..., :0], key[..., :0], value) == "there is nothing to read"
    _, state = decode(*parts)
    single = LinearState(state.memory.float(), state.total.float(), state.lost)
    assert reason(decode, *parts, single) == "the precisions differ"
    assert "not such" in reason(causal, *parts, feature_map=lambda x: x[..., :0])
    seen = []
    torch.vmap(lambda *p: seen.append(reason(causal, *p)) or causal(*p).context)(*parts)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(query, torch.ones_like(query))
        seen.append(reason(causal, dual, key, value))
        tangent = torch.autograd.forward_ad.unpack_dual(causal(dual, key, value).context).tangent
    slope = torch.func.jacrev(lambda query: causal(query, key, value).context.sum())(query)
    torch.testing.assert_close(tangent.sum(), slope.sum())
    assert seen == ["a transform of functorch runs the program", "there is a derivative forwards"]
    monkeypatch.setattr(native, "_loaded", set())
    assert "not built" in reason(causal, *parts)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch about itself
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("feature_map", [standing.positive_elu, torch.nn.functional.softplus])
def test_a_compiler_sees_one_operation(feature_map):
    """With numbers that are not finite too."""
    operations, mask = [], key_mask(torch.tensor([70, 40]), 70)

    def call(*parts):
        return causal(*parts, feature_map=feature_map, mask=mask).context

    fast = compiled(call, operations)
    for bad in (0.0, math.nan, -math.inf):
        parts = inputs(2)
        if bad:
            parts[0][0, 3, 1] = parts[1][0, 30, 2] = parts[2][1, 60, 0] = bad
        for got, want in zip(standing.with_gradients(fast, parts), standing.with_gradients(call, parts), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert sorted(set(operations)) == ["attnlib.linear_read.default", "attnlib.linear_read_backward.default"]


@pytest.mark.usefixtures("unchecked")
def test_the_operation_keeps_its_promises():
    parts = [part.requires_grad_() for part in inputs(2, n_query=20, n_key=20)]
    state = randn(2, 7, 5).float().requires_grad_(), randn(2, 7).float().abs().requires_grad_()
    options = {"test_utils": ("test_schema", "test_autograd_registration", "test_faketensor")}
    for before, seen in ((state, None), ((None, None), torch.ones(2, 1, 20, dtype=torch.bool))):
        torch.library.opcheck(_linear.linear_read, (*parts, seen, *before, True), **options)


# --- without the kernel -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [1, 2000, 5000])
@pytest.mark.parametrize("masked", [False, True])
def test_runs_of_tokens(numbers, masked, monkeypatch):
    """As exact as all at once, in less memory; more queries than keys, and fewer; not for those who learn."""
    monkeypatch.setattr(native, "_loaded", set())
    monkeypatch.setattr(standing.linear, "NUMBERS", numbers)
    runs = functools.partial(explain, causal)
    for (n_query, n_key), dtype in itertools.product(((300, 300), (300, 130), (130, 300)), (torch.double, torch.half)):
        parts = inputs(3, 2, n_query=n_query, n_key=n_key, dtype=dtype)
        mask = key_mask(torch.tensor([[n_key], [40], [0]]), n_key) if masked else None
        found = causal(*parts, mask=mask, chunk=8).context
        assert runs(*parts, mask=mask, chunk=8).choices[0].path == "runs of tokens"
        with reference_only():
            wanted = causal(*parts, mask=mask).context
        assert found.dtype == dtype
        torch.testing.assert_close(found, wanted)
    for few in (torch.tensor(True), torch.ones(3, 1, 1, 1, dtype=torch.bool), torch.arange(300) < 7):
        close = functools.partial(torch.testing.assert_close, rtol=1e-3, atol=1e-3)
        close(causal(*parts, mask=few).context, causal(*parts, mask=few.expand(3, 2, 130, 300)).context)


def test_why_no_runs(monkeypatch):
    monkeypatch.setattr(native, "_loaded", set())
    parts, path = inputs(2, n_query=300, n_key=300), "runs of tokens"
    assert reason(causal, *parts, path=path) == "all tokens are one run"
    monkeypatch.setattr(standing.linear, "NUMBERS", 1)
    assert path_of(causal, *parts) == path
    assert "all tokens at once" in reason(causal, *parts, path=path, feature_map=torch.relu)
    learns = parts[0].clone().requires_grad_()
    assert "gradients" in reason(causal, learns, *parts[1:], path=path)
    parts[1][0, 100] = math.nan
    assert reason(causal, *parts, path=path) == "something is not finite"
    assert causal(*parts).context.isnan().any(-1).sum(-1).tolist() == [200, 0]
