"""Sparse distributions without a sort: what the reference's own tests ask of it, asked of each path; and long rows."""

import functools
import math

import pytest
import test_distributions as standing
import torch
from checks import close, compiled, randn

from attnlib import distributions, explain
from attnlib.distributions import entmax, sparsemax
from attnlib.fused import _sparse as sparse
from attnlib.fused import reference_only

pytestmark = standing.pytestmark

FAST = {
    "sparsemax": sparsemax,
    "entmax 1.5": entmax,
    "entmax 1.2": functools.partial(entmax, alpha=1.2),
    "entmax 1.8": functools.partial(entmax, alpha=1.8),
}
ORACLES = {name: functools.partial(standing.entmax_row, alpha=float(name.split()[-1])) for name in list(FAST)[1:]}
ORACLES["sparsemax"] = standing.sparsemax_row


@pytest.fixture(params=sparse.PATHS)
def path(request, monkeypatch, kernels):
    """One path alone, for rows of any length; the reference answers where it refuses."""
    if request.param == "kernel in C++":
        kernels("sparse")
    monkeypatch.setattr(distributions, "PATHS", {request.param: sparse.PATHS[request.param]})
    monkeypatch.setattr(sparse, "FEWEST", 1)
    return request.param


def taken(*args, **kwargs):
    return explain(entmax, *args, **kwargs).choices[0].path


# --- the standing tests, on each path ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparsemax", "entmax 1.5", "entmax 1.2"])
def test_the_standing_tests(path, name):
    distribution, oracle = FAST[name], ORACLES[name]
    assert explain(distribution, torch.zeros(3)).choices[0].path == path
    for check in standing.CHECKS_ON_SIMPLEX:
        check(distribution, oracle)
    standing.test_temperature_divides_the_energies(distribution, oracle)
    for size in (1, 2, 4096):
        standing.test_ties_share_alike(distribution, oracle, size)
    for dtype in (torch.float64, torch.float32):
        standing.test_large_energies(distribution, oracle, dtype)
    standing.test_many_entries_in_single_precision(distribution, oracle)
    standing.test_rows_without_entries_and_bad_rows(distribution, oracle, torch.device("cpu"))
    for shape in ((0,), (3, 0), (0, 3), (2, 0, 3)):
        standing.test_empty_axes(distribution, shape)
    standing.test_any_axis_and_any_layout(distribution, oracle)
    standing.test_nothing_is_changed_in_place(distribution, oracle)
    for dtype in (torch.float16, torch.bfloat16):
        standing.test_half_precision_is_computed_in_single(distribution, oracle, dtype, torch.device("cpu"))
    standing.test_autocast_changes_nothing(distribution, torch.device("cpu"))
    standing.test_plugs_into_attend(distribution)
    standing.test_vmap_and_functional_derivatives(distribution)
    for temperature in (0.5, 2.0, torch.tensor(2.0)):
        standing.test_an_empty_row_beside_a_full_one_gives_zeros_at_any_temperature(distribution, temperature)


@pytest.mark.parametrize("name", ["sparsemax", "entmax 1.5"])
def test_the_standing_properties(path, name):
    standing.test_properties(name)


def test_the_standing_tests_of_alpha(path):
    standing.test_alpha_leads_from_softmax_to_sparsemax()
    standing.test_alpha_barely_above_one_stays_above_it_in_single_precision()
    standing.test_one_entry_takes_all_when_it_leads_by_enough()


def test_the_kernel_above_alpha_two(kernels, monkeypatch):
    kernels("sparse")
    monkeypatch.setattr(distributions, "PATHS", {"kernel in C++": sparse.kernel})
    for alpha in (2.5, 3.0):
        distribution = functools.partial(entmax, alpha=alpha)
        assert taken(torch.zeros(3), alpha=alpha) == "kernel in C++"
        for check in standing.CHECKS_ON_SIMPLEX:
            check(distribution, functools.partial(standing.entmax_row, alpha=alpha))
        energies = randn(5, 131, dtype=torch.float32)
        torch.testing.assert_close(distribution(energies).double(), distribution(energies.double()), rtol=0, atol=1e-7)


# --- long rows, against the reference in float64 ----------------------------------------------------------------------


def _error(got, want):
    return (got.double() - want).abs().max().item()


def check_long(distribution, exact, n=3001, spreads=(0.01, 0.1, 0.3, 1.0, 5.0)):
    """Values and gradients of long odd rows at every spread: narrow ones have wide supports and take most steps."""
    for spread in spreads:
        energies = (randn(3, 2, n, dtype=torch.float32) * spread)[:, :, 1:].requires_grad_()
        with torch.no_grad():
            energies[0, 1, 5:2000] = -math.inf
            energies[1, 0, ::3] = energies[1, 0].max()
        upstream = randn(3, 2, n - 1, dtype=torch.float32, seed=1)
        wide = energies.detach().double().requires_grad_()
        with reference_only():
            right = exact(wide)
        weights = distribution(energies)
        torch.testing.assert_close(weights.double(), right, rtol=0, atol=1e-6)
        apart = (weights > 0) != (right > 0)
        assert right.detach()[apart].max().item() < 1e-6 if apart.any() else True
        (got,) = torch.autograd.grad(weights, energies, upstream)
        (want,) = torch.autograd.grad(right, wide, upstream.double())
        with reference_only():  # near alpha 2 a gradient at the edge of the support is badly conditioned
            (single,) = torch.autograd.grad(exact(energies), energies, upstream)
        assert _error(got, want) <= max(1e-5, 3 * _error(single, want))


@pytest.mark.parametrize("name", FAST)
def test_long_rows(path, name):
    check_long(FAST[name], FAST[name])


def _steps(count):
    """Newton for sparsemax with a fixed number of steps."""

    def steps(energies):
        z = energies - energies.detach().amax(-1, keepdim=True)
        tau = torch.full_like(z[..., :1], -1.0).detach()
        for _ in range(count):
            size = (z > tau).sum(-1, keepdim=True)
            tau = (torch.where(z > tau, z, 0.0).sum(-1, keepdim=True) - 1) / size
        return (z - tau).relu()

    return steps


def _of_the_largest(energies, k=100):
    """As if the support never held more than k entries."""
    least = energies.detach().topk(k, -1).values[..., -1:]
    with reference_only():
        return sparsemax(energies.masked_fill(energies < least, -math.inf))


class _WithoutShare(torch.autograd.Function):
    """The gradient without what the threshold moves by."""

    @staticmethod
    def forward(ctx, energies):
        weights = sparsemax(energies)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx, upstream):
        return torch.where(ctx.saved_tensors[0] > 0, upstream, 0.0)


MUTANTS = {"five steps": _steps(5), "the hundred largest": _of_the_largest, "no share": _WithoutShare.apply}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant):
    check_long(_steps(20), sparsemax)
    with pytest.raises(AssertionError):
        check_long(mutant, sparsemax)


# --- which path -------------------------------------------------------------------------------------------------------


def test_small_calls_sort_unless_the_kernel_is_there(kernels):
    reasons = explain(sparsemax, torch.zeros(4, 5)).choices[0].refused
    assert reasons["Newton's method"] == f"fewer than {sparse.FEWEST} energies"
    assert "kernel in C++" in reasons
    assert taken(torch.zeros(sparse.FEWEST)) == "Newton's method"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"alpha": torch.tensor(1.5)}, "alpha is a tensor"),
        ({"temperature": torch.tensor(1.5)}, "the temperature is a tensor"),
        ({"alpha": 7.0}, "alpha is above"),
    ],
)
def test_what_a_path_refuses(path, options, reason):
    refused = explain(entmax, torch.zeros(3, 5), **options).choices[0].refused[path]
    assert refused.startswith(reason)


def test_transforms_and_forward_derivatives_are_the_reference_s(path):
    energies, tangent = randn(3, 7), randn(3, 7, seed=1)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(energies, tangent)
        moved = torch.autograd.forward_ad.unpack_dual(entmax(dual)).tangent
    jacobian = torch.func.jacrev(lambda row: entmax(row))(energies[0])
    close(moved[0], jacobian @ tangent[0])


# --- compiled code ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("alpha", [1.3, 2.0])
def test_compiled_code_sees_one_operation(path, alpha):
    distribution = functools.partial(entmax, alpha=alpha, temperature=0.7, dim=0)
    energies, upstream, operations = randn(7, 3, dtype=torch.float32).requires_grad_(), randn(7, 3, seed=1), []
    weights = compiled(distribution, operations)(energies)
    (got,) = torch.autograd.grad(weights, energies, upstream.float())
    assert operations == ["attnlib.sparse_weights.default", "attnlib.sparse_weights_backward.default"]
    want = distribution(energies)  # which takes the path, and the operation the kernel, where it is built
    near = functools.partial(torch.testing.assert_close, rtol=0, atol=1e-6)
    near(weights, want)
    near(got, torch.autograd.grad(want, energies, upstream.float())[0])


TRANSFORMED = {
    "vmap": lambda energies: torch.func.vmap(entmax, in_dims=1)(energies),
    "jvp": lambda energies: torch.func.jvp(entmax, (energies,), (energies,))[1],
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("transformed", TRANSFORMED.values(), ids=TRANSFORMED)
def test_transforms_in_compiled_code_are_the_reference_s(transformed, monkeypatch):
    monkeypatch.setattr(sparse, "FEWEST", 1)
    energies, operations = randn(3, 5), []
    close(compiled(transformed, operations)(energies), transformed(energies))
    assert not operations


def test_the_operation_is_as_it_should_be(path):
    energies = randn(4, 9).requires_grad_()
    options = {"test_utils": ("test_schema", "test_autograd_registration", "test_faketensor")}
    torch.library.opcheck(torch.ops.attnlib.sparse_weights.default, (energies, 1.3, 1.0), **options)
    assert torch.autograd.gradgradcheck(lambda e: torch.ops.attnlib.sparse_weights(e, 1.3, 1.0), (energies,))


# --- softmax ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.3, 1e-9])
def test_softmax_is_torch_s_to_the_last_bit(temperature):
    energies = randn(7, 11, dtype=torch.float32) * 30
    energies[1, 3:] = -math.inf
    shifted = (energies - energies.amax(-1, keepdim=True)) / temperature
    assert torch.equal(distributions.softmax(energies, temperature=temperature), torch.softmax(shifted, -1))
