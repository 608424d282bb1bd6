"""softmax, sparsemax, entmax, sigmoid: value, derivatives, bad rows, limits, and torch's transforms."""

import functools
import itertools
import math

import entmax as peer
import oracles
import pytest
import torch
from checks import close, leaf, randn
from hypothesis import given
from hypothesis import strategies as st
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend
from attnlib.distributions import (
    entmax,
    entmax_jacobian,
    sigmoid,
    softmax,
    softmax_jacobian,
    sparsemax,
    sparsemax_jacobian,
)

# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def _on_available(energies, rule):
    available = [energy for energy in energies if energy != -math.inf]
    weights = iter(rule(available)) if available else iter(())
    return [0.0 if energy == -math.inf else next(weights) for energy in energies]


def sparsemax_row(energies):
    def rule(z):
        ordered = sorted(z, reverse=True)
        tau, total = None, 0.0
        for k, z_k in enumerate(ordered, start=1):
            total += z_k
            if 1 + k * z_k > total:
                tau = (total - 1) / k
        return [max(z_i - tau, 0.0) for z_i in z]

    return _on_available(energies, rule)


def entmax_row(energies, alpha):
    """Halve the interval that holds the threshold: ``p_i = [(alpha - 1) z_i - tau]_+ ** (1 / (alpha - 1))``."""

    def rule(z):
        scaled = [(alpha - 1) * (z_i - max(z)) for z_i in z]

        def weights(tau):
            return [max(s - tau, 0.0) ** (1 / (alpha - 1)) for s in scaled]

        low, high = -1.0, 0.0
        for _ in range(200):
            middle = (low + high) / 2
            if sum(weights(middle)) >= 1:
                low = middle
            else:
                high = middle
        return weights(low)

    return _on_available(energies, rule)


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch's own, in forward mode

INF = math.inf
ROWS, KEY = 7, 11  # two primes
PROBLEM_ROW = [0.3, -INF, 1.1, 0.9, -INF]

root_finder = {alpha: functools.partial(entmax, alpha=torch.tensor(alpha)) for alpha in (1.5, 2.0)}
ON_SIMPLEX = {
    "softmax": (softmax, oracles.softmax_row),
    "sparsemax": (sparsemax, sparsemax_row),
    "entmax 1.5": (entmax, functools.partial(entmax_row, alpha=1.5)),
    "entmax 2": (functools.partial(entmax, alpha=2), sparsemax_row),
    "entmax 1.5 by root": (root_finder[1.5], functools.partial(entmax_row, alpha=1.5)),
    "entmax 2 by root": (root_finder[2.0], sparsemax_row),
    "entmax 1.2": (functools.partial(entmax, alpha=1.2), functools.partial(entmax_row, alpha=1.2)),
    "entmax 3": (functools.partial(entmax, alpha=3), functools.partial(entmax_row, alpha=3)),
}
ALL = {**ON_SIMPLEX, "sigmoid": (sigmoid, oracles.sigmoid_row)}
on_simplex = pytest.mark.parametrize(("distribution", "row_oracle"), ON_SIMPLEX.values(), ids=ON_SIMPLEX)
every = pytest.mark.parametrize(("distribution", "row_oracle"), ALL.values(), ids=ALL)
every_one = pytest.mark.parametrize("distribution", [pair[0] for pair in ALL.values()], ids=ALL)
EXPORTED = ["softmax", "sparsemax", "entmax 1.5", "entmax 1.2", "sigmoid"]  # one a code path
every_path = pytest.mark.parametrize("distribution", [ALL[name][0] for name in EXPORTED], ids=EXPORTED)


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_value(distribution, row_oracle):
    """The loop's numbers at every scale, with ties, and with entries that are not available."""
    for scale in (0.03, 0.3, 1.0, 4.0):
        energies = randn(ROWS, KEY) * scale
        energies[0] = 0.25
        energies[1, 3:6] = energies[1].max()
        energies[2, ::2] = -INF
        energies[3, 1:] = -INF
        close(distribution(energies), tensor([row_oracle(row) for row in rows(energies)]))


def check_derivatives(distribution, _=None):
    """First and second derivatives are the numerical ones; nothing flows to what is not available."""
    energies = leaf(3, 5)
    assert gradcheck(distribution, (energies,))
    assert gradgradcheck(distribution, (energies,))
    bad = torch.tensor([PROBLEM_ROW, [-INF] * 5], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad((distribution(bad) * randn(2, 5)).sum(), bad, create_graph=True)
    assert (first.detach()[bad == -INF] == 0).all()
    if first.requires_grad and first.grad_fn is not None:
        (second,) = torch.autograd.grad(first.square().sum(), bad)
        assert (second[bad == -INF] == 0).all()
        assert second.isfinite().all()


def check_shift(distribution, _=None):
    """A number added to a whole row changes nothing (numbers that floats represent exactly, so to the last bit)."""
    energies = (randn(ROWS, KEY) * 64).round() / 64
    for shift in (-8.0, 0.5, 1024.0):
        assert torch.equal(distribution(energies + shift), distribution(energies))


def check_simplex(distribution, _=None):
    weights = distribution(randn(ROWS, KEY, dtype=torch.float32) * 2)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(ROWS), rtol=0, atol=1e-6)


CHECKS_ON_SIMPLEX = [check_value, check_derivatives, check_shift, check_simplex]


@on_simplex
@pytest.mark.parametrize("check", CHECKS_ON_SIMPLEX)
def test_on_the_simplex(check, distribution, row_oracle):
    check(distribution, row_oracle)


@pytest.mark.parametrize("check", [check_value, check_derivatives])
def test_sigmoid(check):
    check(sigmoid, oracles.sigmoid_row)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def _sparsemax_like(strict=True, one=1.0, drop=0):
    def sparsemax_like(z):
        z = z - z.amax(-1, keepdim=True).detach()
        ordered = z.clamp(min=-9.0).sort(-1, descending=True).values
        count = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype)
        total = ordered.cumsum(-1) - one
        kept = count * ordered > total if strict else count * ordered >= total - 0.3
        size = (kept.sum(-1, keepdim=True) - drop).clamp(min=1)
        tau = total.gather(-1, size - 1) / size
        return (z - tau).clamp(min=0).nan_to_num(0.0)

    return sparsemax_like


def _not_shift_invariant(z):
    ordered = z.sort(-1, descending=True).values
    total = ordered.cumsum(-1) - 1
    size = (ordered > total).sum(-1, keepdim=True).clamp(min=1)  # forgot k: holds for positive energies only
    return (z - total.gather(-1, size - 1) / size).clamp(min=0)


class _GradientEverywhere(torch.autograd.Function):
    """The gradient of the projection on the plane, not restricted to the support."""

    @staticmethod
    def forward(ctx, z):
        return sparsemax(z)

    @staticmethod
    def backward(ctx, g):
        return g - g.mean(-1, keepdim=True)


def _detached_threshold(z):
    return (z - (z - sparsemax(z)).amax(-1, keepdim=True).detach()).relu()


def _large_constant(z):
    return torch.softmax(z.masked_fill(z == -INF, -5.0), -1)


MUTANTS = {
    "support one short": (_sparsemax_like(drop=1), "sparsemax", check_value),
    "support too long": (_sparsemax_like(strict=False), "sparsemax", check_value),
    "sums to two": (_sparsemax_like(one=2.0), "sparsemax", check_simplex),
    "threshold without k": (_not_shift_invariant, "sparsemax", check_shift),
    "gradient off the support": (_GradientEverywhere.apply, "sparsemax", check_derivatives),
    "threshold held constant": (_detached_threshold, "sparsemax", check_derivatives),
    "plain softmax on empty rows": (functools.partial(torch.softmax, dim=-1), "softmax", check_derivatives),
    "a constant for minus infinity": (_large_constant, "softmax", check_value),
    "softmax over the wrong axis": (functools.partial(softmax, dim=0), "softmax", check_value),
    "alpha off by a little": (functools.partial(entmax, alpha=1.5001), "entmax 1.5", check_value),
    "energies not halved": (lambda z: entmax(2 * z), "entmax 1.5", check_value),
    "sign of the bias": (lambda z: sigmoid(z, bias=1e-6), "sigmoid", check_value),
}


@pytest.mark.parametrize(("mutant", "name", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant, name, check):
    check(*ALL[name])
    with pytest.raises((AssertionError, RuntimeError)):
        check(mutant, ALL[name][1])


# --- golden values, Jacobians -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energies", "soft", "sparse", "between"),
    [
        ([-2.0, 0.0, 0.5], [0.0486, 0.3592, 0.5922], [0.0, 0.25, 0.75], [0.0, 0.3260, 0.6740]),
        ([1.0, 0.8, 0.1], [0.4494, 0.3679, 0.1827], [0.6, 0.4, 0.0], [0.5292, 0.3937, 0.0770]),
    ],
)
def test_golden_values(energies, soft, sparse, between):
    energies = tensor(energies)
    printed = functools.partial(torch.testing.assert_close, rtol=0, atol=5.1e-5)
    printed(softmax(energies), tensor(soft))
    close(sparsemax(energies), tensor(sparse))
    printed(entmax(energies), tensor(between))


@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_jacobians_are_those_of_autograd(scale):
    energies = randn(KEY) * scale
    energies[4] = -INF
    for distribution, analytic in [
        (softmax, softmax_jacobian),
        (sparsemax, sparsemax_jacobian),
        (entmax, entmax_jacobian),
        (functools.partial(entmax, alpha=1.2), functools.partial(entmax_jacobian, alpha=1.2)),
        (functools.partial(entmax, alpha=3), functools.partial(entmax_jacobian, alpha=3)),
    ]:
        close(analytic(distribution(energies)), torch.func.jacrev(distribution)(energies))
        close(analytic(distribution(energies)), torch.func.jacfwd(distribution)(energies))


def test_jacobians_of_batches_limits_and_empty_rows():
    weights = softmax(randn(2, 3, 5))
    close(softmax_jacobian(weights)[1, 2], softmax_jacobian(weights[1, 2]))
    close(entmax_jacobian(weights, 1), softmax_jacobian(weights))
    close(entmax_jacobian(weights, 2), sparsemax_jacobian(weights))
    alpha = torch.tensor([[1.2, 1.5, 2.0]])
    close(entmax_jacobian(weights, alpha)[0, 1], entmax_jacobian(weights[0, 1], 1.5))
    for jacobian in (softmax_jacobian, sparsemax_jacobian, entmax_jacobian):
        assert (jacobian(torch.zeros(3, 5)) == 0).all()


# --- agreement with the peer ------------------------------------------------------------------------------------------


def test_the_peer_is_itself():
    """Not what :mod:`entmax_adapter` puts in its place for the package's own tests."""
    assert all(
        function.__module__.startswith("entmax.") for function in (peer.sparsemax, peer.entmax15, peer.entmax_bisect)
    )


PEERS = {
    "sparsemax": (sparsemax, peer.sparsemax),
    "entmax 1.5": (entmax, peer.entmax15),
    **{
        f"entmax {alpha}": (
            functools.partial(entmax, alpha=alpha),
            functools.partial(peer.entmax_bisect, alpha=alpha, n_iter=60),
        )
        for alpha in (1.1, 1.7, 2.5, 4.0)
    },
}


@pytest.mark.parametrize(("ours", "theirs"), PEERS.values(), ids=PEERS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_agrees_with_the_entmax_package(ours, theirs, scale):
    energies = (randn(29, 37) * scale).requires_grad_()
    upstream = randn(29, 37, seed=1)
    near = functools.partial(torch.testing.assert_close, rtol=1e-8, atol=1e-10)
    near(ours(energies), theirs(energies))
    near(*(torch.autograd.grad(f(energies), energies, upstream)[0] for f in (ours, theirs)))


def test_gradient_by_alpha_agrees_with_the_entmax_package():
    energies, upstream = randn(5, 13), randn(5, 13, seed=1)
    alpha = torch.tensor([1.1, 1.4, 1.5, 2.0, 2.7], dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(entmax(energies, alpha=alpha), alpha, upstream)
    theirs = torch.autograd.grad(peer.entmax_bisect(energies, alpha[:, None], n_iter=60), alpha, upstream)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


# --- entmax for every alpha -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.001, 1.01, 1.5, 2.0, 3.0, 10.0, 30.0])
@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_entmax_solves_its_problem(alpha, scale, dtype):
    """The optimality conditions: ``p_i ** (alpha - 1) / (alpha - 1) - z_i`` is one number wherever ``p_i > 0``, and no
    less than that number would make it elsewhere. Held to a few units in the last place of the energies."""
    energies = randn(ROWS, 41, dtype=dtype) * scale
    weights = entmax(energies, alpha=torch.tensor(alpha, dtype=dtype)).double()
    torch.testing.assert_close(weights.sum(-1), torch.ones(ROWS, dtype=torch.float64), rtol=0, atol=1e-6)
    multiplier = energies.double() - torch.expm1((alpha - 1) * weights.log()) / (alpha - 1)  # inf off the support
    support = weights > 0
    at_top = multiplier.gather(-1, energies.argmax(-1, keepdim=True))
    precision = 60 * torch.finfo(dtype).eps * max(1.0, 1 / (alpha - 1), energies.abs().max().item())
    if alpha >= 10:  # the weights are then rounded after a root of high order: compare where it was taken
        precision = 1.5 * (alpha - 1) * (0.02 if dtype == torch.float64 else 0.1)
    assert ((multiplier - at_top).abs()[support] <= precision).all()
    edge = energies.double() + 1 / (alpha - 1)  # the multiplier that an entry of weight 0 would have
    assert (edge <= at_top + precision)[~support].all()


def test_gradients_by_energies_and_alpha():
    energies, alpha = leaf(4, 3), torch.tensor([1.1, 1.5, 2.0, 2.7], dtype=torch.float64, requires_grad=True)

    def run(energies, alpha):
        return entmax(energies, alpha=alpha, temperature=0.7)

    assert gradcheck(run, (energies, alpha))
    assert gradgradcheck(run, (energies, alpha))


def test_gradient_by_temperature_and_bias():
    energies = randn(3, 5)
    energies[1, 2] = -INF
    temperature, bias = leaf(1).exp().detach().requires_grad_(), leaf(5)
    for distribution in (softmax, sparsemax, entmax, functools.partial(entmax, alpha=1.3), sigmoid):
        assert gradcheck(lambda t, run=distribution: run(energies, temperature=t), (temperature,))
    assert gradcheck(lambda b: sigmoid(energies, bias=b), (bias,))


def test_alpha_broadcasts_to_the_rows_of_any_axis():
    energies = randn(2, 3, 5)
    for dim, shape in itertools.product((0, 1, 2, -1, -2, -3), ((), None, "last")):
        row_shape = [size for axis, size in enumerate(energies.shape) if axis != dim % 3]
        shape = row_shape if shape is None else row_shape[-1:] if shape == "last" else []
        alpha = 1.2 + randn(*shape).abs()
        result = entmax(energies, alpha=alpha, dim=dim)
        moved, wanted = energies.movedim(dim, -1).reshape(-1, energies.shape[dim]), []
        for row, row_alpha in zip(moved, alpha.expand(row_shape).reshape(-1).tolist(), strict=True):
            wanted.append(entmax_row(row.tolist(), row_alpha))
        close(result.movedim(dim, -1).reshape(-1, energies.shape[dim]), tensor(wanted))


def test_alpha_leads_from_softmax_to_sparsemax():
    energies = randn(ROWS, KEY) * 2
    for step in (1e-3, 1e-5, 1e-7):
        torch.testing.assert_close(entmax(energies, alpha=1 + step), softmax(energies), rtol=0, atol=4 * step)
        torch.testing.assert_close(entmax(energies, alpha=2 - step), sparsemax(energies), rtol=0, atol=4 * step)
    torch.testing.assert_close(
        entmax(energies.float(), alpha=1 + 1e-4).double(), entmax(energies, alpha=1 + 1e-4), rtol=0, atol=1e-6
    )
    sizes = [(entmax(energies, alpha=alpha) > 0).sum(-1) for alpha in (1.01, 1.25, 1.5, 2, 3, 5)]
    assert all((larger >= smaller).all() for larger, smaller in itertools.pairwise(sizes))


def test_one_entry_takes_all_when_it_leads_by_enough():
    """The gap is 1 / (alpha - 1), and no less will do."""
    for alpha in (1.25, 1.5, 2, 3, 5):
        gap = 1 / (alpha - 1)
        for distribution in (
            functools.partial(entmax, alpha=alpha),
            functools.partial(entmax, alpha=torch.tensor(alpha)),
        ):
            assert distribution(tensor([0.0, gap * 1.000001, -1.0])).tolist() == [0.0, 1.0, 0.0]
            assert distribution(tensor([0.0, gap * 0.999, -1.0]))[0] > 0


# --- limits, large numbers, bad rows ----------------------------------------------------------------------------------


@on_simplex
def test_temperature_divides_the_energies(distribution, row_oracle):
    energies = randn(ROWS, KEY)
    for temperature in (0.25, 3, torch.tensor(0.5)):
        close(distribution(energies, temperature=temperature), distribution(energies / temperature))
    cold = distribution(energies, temperature=1e-12)
    assert torch.equal(cold, torch.nn.functional.one_hot(energies.argmax(-1), KEY).double())
    close(distribution(energies, temperature=1e14), torch.full_like(energies, 1 / KEY))


@on_simplex
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_large_energies(distribution, row_oracle, dtype):
    for large in (1e4, 1e30):
        energies = torch.tensor([[large, large, 0.0, -large], [-large, -large, -INF, -INF]], dtype=dtype)
        for temperature in (1, 1e-9):
            weights = distribution(energies, temperature=temperature)
            torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5, 0, 0]] * 2, dtype=dtype), rtol=1e-6, atol=0)


@on_simplex
@pytest.mark.parametrize("size", [1, 2, 4096])
def test_ties_share_alike(distribution, row_oracle, size):
    weights = distribution(torch.full((2, size), 0.7))
    torch.testing.assert_close(weights, torch.full((2, size), 1 / size), rtol=1e-6, atol=0)
    assert (distribution(torch.full((1,), -3.0)) == 1).all()


@pytest.mark.parametrize("alpha", [6.0, 10.0, 40.0])
def test_ties_share_alike_at_large_alpha(alpha):
    energies = torch.tensor([0.0] * 64 + [-1.0, -INF])
    weights = entmax(energies, alpha=alpha)
    torch.testing.assert_close(weights, torch.tensor([1 / 64] * 64 + [0.0, 0.0]), rtol=1e-5, atol=0)


@on_simplex
def test_many_entries_in_single_precision(distribution, row_oracle):
    for scale in (0.01, 1.0):
        energies = randn(3, 4096, dtype=torch.float32) * scale
        single, double = distribution(energies).double(), distribution(energies.double())
        torch.testing.assert_close(single, double, rtol=0, atol=2e-6)
        torch.testing.assert_close(single.sum(-1), torch.ones(3, dtype=torch.float64), rtol=0, atol=2e-5)


@every
def test_rows_without_entries_and_bad_rows(distribution, row_oracle, device):
    energies = torch.tensor(
        [PROBLEM_ROW, [-INF] * 5, [math.nan, 0, 1, 2, -INF], [INF, 0, 1, 2, 3], [INF, INF, 0, 1, -INF]], device=device
    ).requires_grad_()
    weights = distribution(energies)
    close(weights[0].cpu(), distribution(torch.tensor(PROBLEM_ROW)))
    assert (weights[0].cpu()[torch.tensor(PROBLEM_ROW) == -INF] == 0).all()
    assert (weights[1] == 0).all()
    if distribution is sigmoid:
        assert weights[2].isnan().tolist() == [True, False, False, False, False]
        assert weights[3, 0] == 1
    else:
        assert weights[2:].isnan().all()
    (gradient,) = torch.autograd.grad(weights[:2].square().sum(), energies)
    assert (gradient[1] == 0).all(), "neither NaN nor anything else from an empty row, nor from its bad neighbours"
    assert gradient[:2].isfinite().all()


@every_one
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 3)])
def test_empty_axes(distribution, shape):
    energies = torch.zeros(shape, requires_grad=True)
    weights = distribution(energies)
    assert weights.shape == shape
    weights.sum().backward()
    assert energies.grad.shape == shape


@every
def test_any_axis_and_any_layout(distribution, row_oracle):
    energies = randn(3, 5, 7)
    if distribution is not sigmoid:
        for dim in (0, 1, -2, -3):
            wanted = distribution(energies.movedim(dim, -1).contiguous()).movedim(-1, dim)
            close(distribution(energies, dim=dim), wanted)
    strided = randn(7, 10)[:, ::2].T
    assert not strided.is_contiguous()
    close(distribution(strided), distribution(strided.contiguous()))
    spread = randn(1, 5).expand(4, 5)
    close(distribution(spread), distribution(spread.contiguous()))


@every
def test_nothing_is_changed_in_place(distribution, row_oracle):
    energies = tensor([PROBLEM_ROW, [-INF] * 5])
    before = energies.clone()
    weights = distribution(energies)
    weights.zero_()
    assert torch.equal(energies, before)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(distribution, row_oracle, dtype, device):
    energies = (randn(ROWS, KEY) * 3).to(device=device, dtype=dtype)
    energies[0] = -INF
    weights = distribution(energies)
    assert weights.dtype == dtype
    assert torch.equal(weights, distribution(energies.float()).to(dtype))
    large = torch.tensor([60000.0, 60000.0, -60000.0], dtype=torch.float16, device=device)
    assert distribution(large).isfinite().all()


# --- bad input --------------------------------------------------------------------------------------------------------


@every_one
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(distribution):
    for dtype in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(TypeError, match="energies must be floating point, got dtype torch"):
            distribution(torch.ones(3, dtype=dtype))
        with pytest.raises(TypeError, match="energies must be floating point, got dtype torch"):
            distribution(torch.ones(0, dtype=dtype))
    with pytest.raises(TypeError, match="energies must be a tensor, got list"):
        distribution([1.0, 2.0])
    for temperature in (0, 0.0, -1.0, math.nan, INF):
        with pytest.raises(ValueError, match="temperature must be a finite number above 0, got"):
            distribution(torch.ones(3), temperature=temperature)
        with pytest.raises(ValueError, match="temperature must be a finite number above 0, got"):
            distribution(torch.ones(0), temperature=temperature)


@pytest.mark.parametrize("distribution", [softmax, sparsemax, entmax])
def test_bad_axis_is_named(distribution):
    for energies, dim in ((torch.ones(3), 1), (torch.ones(2, 3), -3), (torch.tensor(1.0), -1)):
        with pytest.raises(ValueError, match=r"dim must name an axis of energies of shape \("):
            distribution(energies, dim=dim)


def test_bad_alpha_is_named():
    for alpha in (1, 1.0, 0.5, -2.0, math.nan, INF):
        with pytest.raises(ValueError, match="alpha must be a finite number above 1, got"):
            entmax(torch.ones(3), alpha=alpha)
    for shape in ((3,), (2, 5), (1, 2), (5, 2, 2)):
        with pytest.raises(ValueError, match="alpha must broadcast to the rows"):
            entmax(torch.ones(2, 5), alpha=torch.full(shape, 1.5))


def test_bad_alpha_in_a_tensor_spoils_its_row_only():
    weights = entmax(randn(4, 5), alpha=torch.tensor([1.5, 1.0, math.nan, -1.0]))
    close(weights[0], entmax(randn(4, 5)[0]))
    assert weights[1:].isnan().all()


def test_bad_temperature_in_a_tensor_spoils_its_row_only():
    energies, temperature = randn(5, 7), tensor([[0.5], [0.0], [-1.0], [math.nan], [INF]])
    for distribution in (softmax, sparsemax, entmax, functools.partial(entmax, alpha=1.3), sigmoid):
        weights = distribution(energies, temperature=temperature)
        close(weights[0], distribution(energies[0], temperature=0.5))
        assert weights[1:].isnan().all()


def test_temperature_is_one_a_row():
    """A temperature for each entry would change what the shift by the largest energy must not change."""
    energies = randn(2, 3, 5)
    for distribution in (softmax, sparsemax, entmax, functools.partial(entmax, alpha=1.3)):
        for shape in ((5,), (3,), (2, 3), (7, 1, 1, 1), (2, 3, 5)):
            with pytest.raises(ValueError, match=r"temperature must broadcast to .*, one value a row, got shape"):
                distribution(energies, temperature=torch.ones(shape))
        rows = 0.5 + randn(1, 3, 1).abs()
        wanted = torch.stack([distribution(energies[:, i], temperature=rows[0, i].item()) for i in range(3)], 1)
        close(distribution(energies, temperature=rows), wanted)
        close(distribution(energies.movedim(-1, 0), temperature=rows.movedim(-1, 0), dim=0).movedim(0, -1), wanted)


def test_alpha_barely_above_one_stays_above_it_in_single_precision():
    energies = randn(ROWS, KEY, dtype=torch.float32)
    for alpha in (1 + 1e-9, 1 + 1e-7):
        torch.testing.assert_close(entmax(energies, alpha=alpha), softmax(energies), rtol=0, atol=1e-6)


# --- torch's transforms -----------------------------------------------------------------------------------------------


@every_one
def test_vmap_and_functional_derivatives(distribution):
    energies = randn(3, 5, 7)
    energies[0, 1] = -INF
    energies[2, 3, 4:] = -INF
    close(torch.vmap(distribution)(energies), distribution(energies))
    close(torch.vmap(distribution, in_dims=1, out_dims=1)(energies), distribution(energies))
    jacobian = torch.vmap(torch.func.jacrev(distribution))(energies[:, 0])
    close(jacobian, torch.stack([torch.autograd.functional.jacobian(distribution, row) for row in energies[:, 0]]))
    close(torch.vmap(torch.func.jacfwd(distribution))(energies[:, 0]), jacobian)
    hessian = torch.func.hessian(lambda row: distribution(row).square().sum())(energies[1, 0])
    close(hessian, torch.autograd.functional.hessian(lambda row: distribution(row).square().sum(), energies[1, 0]))


def test_vmap_over_alpha():
    energies, alpha = randn(5, 7), torch.tensor([1.2, 1.5, 2.0], dtype=torch.float64)
    over_alpha = torch.vmap(lambda a: entmax(energies, alpha=a))(alpha)
    close(over_alpha, torch.stack([entmax(energies, alpha=a) for a in alpha]))
    by_alpha = torch.vmap(torch.func.jacrev(lambda a, row: entmax(row, alpha=a)), in_dims=(None, 0))(alpha[0], energies)
    close(by_alpha, torch.func.jacfwd(lambda a: entmax(energies, alpha=a))(alpha[0]))


@pytest.mark.slow
@every_path
@pytest.mark.usefixtures("unchecked")
def test_compiles_whole(distribution):
    """Forward and backward, one graph; one of them, which sorts, down to machine code, whose last digits differ."""
    energies = randn(ROWS, KEY, dtype=torch.float32).requires_grad_()
    with torch.no_grad():
        energies[0], energies[1, 3:] = -INF, -INF
    torch.compiler.reset()
    backend = "inductor" if distribution is sparsemax else "aot_eager"
    compiled = torch.compile(distribution, fullgraph=True, backend=backend)
    upstream = randn(ROWS, KEY, dtype=torch.float32, seed=1)
    near = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)
    near(compiled(energies), distribution(energies))
    near(*(torch.autograd.grad(run(energies), energies, upstream)[0] for run in (compiled, distribution)))


@every_path
@pytest.mark.usefixtures("unchecked")
def test_exports(distribution):
    class Wrapper(torch.nn.Module):
        def forward(self, energies):
            return distribution(energies)

    shapes = ({0: torch.export.Dim("rows", min=2, max=64)},)
    example = randn(3, KEY, dtype=torch.float32)
    for strict in (False, True) if distribution is sparsemax else (False,):
        program = torch.export.export(Wrapper(), (example,), dynamic_shapes=shapes, strict=strict)
        energies = randn(ROWS, KEY, dtype=torch.float32, seed=1)
        energies[0] = -INF
        torch.testing.assert_close(program.module()(energies), distribution(energies), rtol=0, atol=1e-6)


@every_one
def test_autocast_changes_nothing(distribution, device):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        energies = randn(ROWS, KEY, dtype=dtype, device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            weights = distribution(energies)
        assert weights.dtype == dtype
        assert torch.equal(weights, distribution(energies))


# --- properties -------------------------------------------------------------------------------------------------------

energy = st.integers(-24, 24).map(lambda n: n / 8)  # a coarse grid: ties and entries right at the threshold are common
row = st.lists(st.one_of(energy, st.just(-INF)), min_size=1, max_size=9)


@pytest.mark.parametrize("name", ["softmax", "sparsemax", "entmax 1.5", "entmax 1.2", "entmax 3"])
@given(energies=row)
def test_properties(name, energies):
    """Mass one or none; order kept; permutation; an entry that is not available might as well not be there; and the
    derivative keeps the mass."""
    distribution, row_oracle = ON_SIMPLEX[name]
    z = tensor(energies).requires_grad_()
    weights = distribution(z)
    near = functools.partial(torch.testing.assert_close, rtol=0, atol=3e-8)  # the cube root of rounding, at the edge
    near(weights, tensor(row_oracle(energies)))
    available = z.detach() != -INF
    assert math.isclose(weights.sum().item(), float(available.any()), abs_tol=1e-12)
    order = z.detach().argsort()
    assert (weights.detach()[order].diff() >= -1e-9).all()
    near(distribution(z.flip(0)), weights.flip(0))
    near(distribution(z[available]), weights[available])
    jacobian = torch.autograd.functional.jacobian(distribution, z.detach())
    if jacobian.abs().max() < 1e6:
        torch.testing.assert_close(jacobian.sum(0), torch.zeros_like(jacobian[0]), rtol=0, atol=1e-8)
    if name in ("softmax", "sparsemax", "entmax 1.5"):
        assert (weights[~available] == 0).all()


@every_one
def test_plugs_into_attend(distribution):
    query, key, value = randn(2, 3, 7), randn(2, 5, 7, seed=1), randn(2, 5, 11, seed=2)
    mask = torch.tensor([True, False, True, True, False])
    result = attend(query, key, value, distribution=distribution, mask=mask)
    seen = attend(query, key[:, mask], value[:, mask], distribution=distribution)
    close(result.context, seen.context)
    assert (result.weights[..., ~mask] == 0).all()


@pytest.mark.parametrize("temperature", [0.5, 2.0, torch.tensor(2.0)], ids=str)
@pytest.mark.parametrize("distribution", [softmax, sparsemax, entmax, functools.partial(entmax, alpha=1.3), sigmoid])
def test_an_empty_row_beside_a_full_one_gives_zeros_at_any_temperature(distribution, temperature):
    energies = torch.tensor([[0.0, 1.0, -math.inf], [-math.inf] * 3], requires_grad=True)
    weights = distribution(energies, temperature=temperature)
    assert (weights[1] == 0).all()
    assert weights[0, 1] > 0.4
    (gradient,) = torch.autograd.grad(weights.square().sum(), energies)
    assert gradient.isfinite().all()
    assert (gradient[1] == 0).all()
