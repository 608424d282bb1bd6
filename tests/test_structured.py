"""The linear chain: every sequence enumerated, gradients of log Z, positions left out, long chains, bad input."""

import contextlib
import functools
import itertools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend, explain
from attnlib.distributions import sigmoid, softmax
from attnlib.fused import _chain, reference_only
from attnlib.structured import (
    linear_chain_log_partition,
    linear_chain_marginals,
    linear_chain_pairwise_marginals,
    segmentation,
)

# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def linear_chain_loop(unary, steps):
    """Every sequence of states, one after the other: ``log Z``, marginals, pairwise marginals."""
    n, states = len(unary), len(unary[0])
    total = 0.0
    marginals = [[0.0] * states for _ in range(n)]
    pairs = [[[0.0] * states for _ in range(states)] for _ in range(n - 1)]
    for z in itertools.product(range(states), repeat=n):
        potential = sum(unary[i][z[i]] for i in range(n)) + sum(steps[i][z[i]][z[i + 1]] for i in range(n - 1))
        mass = math.exp(potential)
        total += mass
        for i in range(n):
            marginals[i][z[i]] += mass
        for i in range(n - 1):
            pairs[i][z[i]][z[i + 1]] += mass
    return (
        math.log(total),
        [[mass / total for mass in row] for row in marginals],
        [[[mass / total for mass in row] for row in matrix] for matrix in pairs],
    )


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch's own, in forward mode

INF = math.inf
BATCH, N, STATES = 2, 5, 3
PARTS = (linear_chain_log_partition, linear_chain_marginals, linear_chain_pairwise_marginals)
SCAN = "parallel scan"


@pytest.fixture(autouse=True, params=["a step after the other", SCAN])
def path(request, monkeypatch):
    """Either way, for chains of any length."""
    if request.param == SCAN:
        monkeypatch.setattr(_chain, "LEAST", 1)
        monkeypatch.setattr(_chain, "MOST", 2**40)
        yield request.param
        return
    with reference_only():
        yield request.param


by_part = pytest.mark.parametrize("part", PARTS)
MASK = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 1, 0, 0]]).bool()


def steps_of(transition):
    """One matrix a step, whichever way the transition was given."""
    return transition.expand(BATCH, N - 1, STATES, STATES)


TRANSITIONS = {
    "one for all": randn(STATES, STATES) * 1.5,
    "one a step": randn(N - 1, STATES, STATES) * 1.5,
    "one a step and sequence": randn(BATCH, N - 1, STATES, STATES) * 1.5,
}
every_transition = pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_enumeration(marginals, transition=TRANSITIONS["one for all"]):
    unary = randn(BATCH, N, STATES) * 2
    for b in range(BATCH):
        wanted = linear_chain_loop(rows(unary[b]), rows(steps_of(transition)[b]))[1]
        close(marginals(unary, transition)[b], tensor(wanted))


def check_gradient_of_log_partition(marginals, transition=TRANSITIONS["one for all"]):
    unary = leaf(BATCH, N, STATES)
    total = linear_chain_log_partition(unary, transition).sum()
    close(marginals(unary, transition), torch.autograd.grad(total, unary)[0])


def check_independent(marginals):
    unary = randn(BATCH, N, STATES)
    close(marginals(unary, torch.zeros(STATES, STATES, dtype=torch.float64)), softmax(unary))


def check_reversal(marginals):
    """Read from the right, with the transition transposed, a chain is the same chain."""
    unary, transition = randn(BATCH, N, STATES), TRANSITIONS["one for all"]
    close(marginals(unary.flip(-2), transition.T), marginals(unary, transition).flip(-2))


def check_left_out(marginals):
    """A position that is not in the chain might as well not be there, whatever stands in it."""
    transition = TRANSITIONS["one for all"]
    unary = randn(BATCH, N, STATES).masked_fill(~MASK[..., None], math.nan)
    result = marginals(unary, transition, mask=MASK)
    assert (result[~MASK] == 0).all()
    for b in range(BATCH):
        close(result[b, MASK[b]], marginals(unary[b, MASK[b]], transition))


CHECKS = [check_enumeration, check_gradient_of_log_partition, check_independent, check_reversal, check_left_out]


@pytest.mark.parametrize("check", CHECKS)
def test_marginals(check):
    check(linear_chain_marginals)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def _transposed(unary, transition, mask=None):
    return linear_chain_marginals(unary, transition.mT, mask=mask)


def _transposed_on_the_way_back(unary, transition, mask=None):
    """Forward right, backward with the transition the wrong way round."""
    right = linear_chain_log_partition
    ahead = torch.stack([_message(unary[..., : i + 1, :], transition) for i in range(unary.shape[-2])], -2)
    behind = torch.stack([_message(unary[..., i:, :].flip(-2), transition) for i in range(unary.shape[-2])], -2)
    assert right(unary, transition).isfinite().all()
    return softmax(ahead + behind - unary)


def _message(unary, transition):
    message = unary[..., 0, :]
    for potential in unary.unbind(-2)[1:]:
        message = torch.logsumexp(message[..., :, None] + transition, -2) + potential
    return message


def _filtering_only(unary, transition, mask=None):
    """Forgot what comes after."""
    return softmax(torch.stack([_message(unary[..., : i + 1, :], transition) for i in range(unary.shape[-2])], -2))


def _unary_twice(unary, transition, mask=None):
    return softmax(linear_chain_marginals(unary, transition, mask=mask).log() + unary)


def _hidden_as_zero_potential(unary, transition, mask=None):
    """A position left out that still passes its transitions on."""
    unary = unary if mask is None else unary.masked_fill(~mask[..., None], 0.0)
    result = linear_chain_marginals(unary, transition)
    return result if mask is None else result.masked_fill(~mask[..., None], 0.0)


MUTANTS = {
    "transition transposed": (_transposed, check_enumeration),
    "transition transposed, by the gradient": (_transposed, check_gradient_of_log_partition),
    "transposed on the way back": (_transposed_on_the_way_back, check_enumeration),
    "transposed on the way back, reversed": (_transposed_on_the_way_back, check_gradient_of_log_partition),
    "forward only": (_filtering_only, check_reversal),
    "unary counted twice": (_unary_twice, check_independent),
    "hidden as a zero potential": (_hidden_as_zero_potential, check_left_out),
}


@pytest.mark.parametrize(("mutant", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant, check):
    with pytest.raises(AssertionError):
        check(mutant)


# --- values -----------------------------------------------------------------------------------------------------------


@every_transition
def test_equals_the_enumeration(transition):
    check_enumeration(linear_chain_marginals, transition)
    unary = randn(BATCH, N, STATES) * 2
    for b in range(BATCH):
        log_partition, _, pairs = linear_chain_loop(rows(unary[b]), rows(steps_of(transition)[b]))
        close(linear_chain_log_partition(unary, transition)[b], tensor(log_partition))
        close(linear_chain_pairwise_marginals(unary, transition)[b], tensor(pairs))


@every_transition
def test_marginals_are_the_gradients_of_log_z(transition):
    check_gradient_of_log_partition(linear_chain_marginals, transition)
    unary, steps = randn(BATCH, N, STATES), steps_of(transition).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(linear_chain_log_partition(unary, steps).sum(), steps)
    close(linear_chain_pairwise_marginals(unary, transition), gradient)


def test_pairs_sum_to_the_marginals():
    unary, transition = randn(BATCH, N, STATES), TRANSITIONS["one for all"]
    pairs, marginals = linear_chain_pairwise_marginals(unary, transition), linear_chain_marginals(unary, transition)
    close(pairs.sum(-1), marginals[:, :-1])
    close(pairs.sum(-2), marginals[:, 1:])


def test_segmentation_is_the_marginal_of_state_one():
    energies, transition = randn(BATCH, N) * 2, randn(2, 2)
    unary = torch.stack([torch.zeros_like(energies), energies], -1)
    close(segmentation(energies, transition=transition), linear_chain_marginals(unary, transition)[..., 1])
    close(segmentation(energies, transition=torch.zeros(2, 2).double()), sigmoid(energies))
    constant = torch.full((2, 2), 3.0, dtype=torch.float64)
    close(segmentation(energies, transition=constant, temperature=0.5), sigmoid(energies, temperature=0.5))


def test_segments_hold_together():
    """A gap in a run of likely keys is filled, a stray key is dropped; the sigmoid does neither."""
    energies = tensor([-2.0, -2.0, 2.0, 2.0, -0.5, 2.0, 2.0, -2.0, -2.0, 0.5, -2.0])
    weights = segmentation(energies, transition=tensor([[1.5, -1.5], [-1.5, 1.5]]))
    assert weights[4] > 0.8 > 0.5 > sigmoid(energies)[4]
    assert weights[9] < 0.2 < 0.5 < sigmoid(energies)[9]


# --- derivatives ------------------------------------------------------------------------------------------------------


@by_part
@pytest.mark.parametrize("mask", [None, MASK[0], MASK[1], torch.zeros(N).bool()])
def test_first_and_second_derivatives(path, part, mask):
    run = functools.partial(part, mask=mask)
    inputs = (leaf(N, STATES), leaf(STATES, STATES, seed=1))
    in_some_direction = path == SCAN  # all of them take seconds, and are right where those of the recursion are
    assert gradcheck(run, inputs, fast_mode=in_some_direction)
    assert gradgradcheck(run, inputs, fast_mode=in_some_direction)


def test_forbidden_transitions_have_no_gradient():
    """Once in state 1, always in state 1: the chain counts where the switch happens."""
    unary, transition = leaf(N, 2), tensor([[0.0, 0.0], [-INF, 0.0]]).requires_grad_()
    marginals = linear_chain_marginals(unary, transition)
    assert (marginals[:, 1].diff() >= 0).all()
    starts = torch.stack([unary.detach()[:i, 0].sum() + unary.detach()[i:, 1].sum() for i in range(N + 1)])
    close(marginals[:, 1], torch.softmax(starts, 0).cumsum(0)[:N])
    gradients = torch.autograd.grad(marginals[:, 1].square().sum(), (unary, transition), create_graph=True)
    assert gradients[1][1, 0] == 0
    second = torch.autograd.grad(sum(g.square().sum() for g in gradients), (unary, transition))
    assert all(g.isfinite().all() for g in (*gradients, *second))


def test_what_cannot_be_has_no_mass():
    impossible = torch.full((2, 2), -INF).requires_grad_()
    unary = torch.zeros(3, 2).requires_grad_()
    assert linear_chain_log_partition(unary, impossible) == -INF
    for part in (linear_chain_marginals, linear_chain_pairwise_marginals):
        result = part(unary, impossible)
        assert (result == 0).all()
        assert all((g == 0).all() for g in torch.autograd.grad(result.sum(), (unary, impossible)))
    forced = torch.zeros(3, 2)
    forced[1, 1] = -INF
    assert linear_chain_marginals(forced, torch.randn(2, 2))[1].tolist() == [1, 0]


# --- positions that are not available ---------------------------------------------------------------------------------


def test_padding_and_gaps_change_nothing():
    energies, transition = randn(4, 7), randn(2, 2)
    hidden = torch.tensor([[0, 0, 0, 0, 0, 1, 1], [1, 0, 0, 1, 0, 0, 1], [1, 1, 1, 0, 1, 1, 1], [1] * 7]).bool()
    leaves = energies.masked_fill(hidden, -INF).requires_grad_()
    weights = segmentation(leaves, transition=transition)
    assert (weights[hidden] == 0).all()
    (gradient,) = torch.autograd.grad((weights * randn(4, 7, seed=1)).sum(), leaves)
    assert (gradient[hidden] == 0).all()
    for b in range(3):
        alone = energies[b, ~hidden[b]].requires_grad_()
        wanted = segmentation(alone, transition=transition)
        close(weights[b, ~hidden[b]], wanted)
        upstream = randn(4, 7, seed=1)[b, ~hidden[b]]
        close(gradient[b, ~hidden[b]], torch.autograd.grad((wanted * upstream).sum(), alone)[0])


def test_log_partition_and_pairs_of_a_masked_chain():
    unary, transition = randn(BATCH, N, STATES), TRANSITIONS["one for all"]
    pairs = linear_chain_pairwise_marginals(unary, transition, mask=MASK)
    both = MASK[:, :-1] & MASK[:, 1:]
    assert (pairs[~both] == 0).all()
    close(pairs[both].sum((-2, -1)), torch.ones(int(both.sum()), dtype=torch.float64))
    for b in range(BATCH):
        left = unary[b, MASK[b]]
        close(linear_chain_log_partition(unary, transition, mask=MASK)[b], linear_chain_log_partition(left, transition))
    close(pairs[1, :2], linear_chain_pairwise_marginals(unary[1, :3], transition))
    close(pairs[0, 3], linear_chain_pairwise_marginals(unary[0, [1, 3, 4]], transition)[1])


def test_a_step_over_a_gap_is_that_of_the_position_stepped_into():
    unary, steps = randn(N, STATES), TRANSITIONS["one a step"]
    used = steps[[2, 3]]  # into position 3 from 1, into position 4 from 3
    result = linear_chain_marginals(unary, steps, mask=MASK[0])
    close(result[MASK[0]], linear_chain_marginals(unary[MASK[0]], used))
    spoilt = steps.clone()
    spoilt[[0, 1]] = math.nan
    leaves = [unary.clone().requires_grad_(), spoilt.requires_grad_()]
    again = linear_chain_marginals(*leaves, mask=MASK[0])
    close(again, result)
    assert all(g.isfinite().all() for g in torch.autograd.grad(again.square().sum(), leaves))


def test_nothing_available_gives_zeros():
    energies = torch.full((2, 5), -INF, requires_grad=True)
    weights = segmentation(energies, transition=torch.randn(2, 2))
    assert (weights == 0).all()
    assert (torch.autograd.grad(weights.sum(), energies)[0] == 0).all()
    nothing = torch.zeros(BATCH, N).bool()
    assert (linear_chain_log_partition(randn(BATCH, N, 2), randn(2, 2), mask=nothing) == 0).all()
    assert segmentation(torch.zeros(3, 0), transition=torch.zeros(2, 2)).shape == (3, 0)
    assert linear_chain_log_partition(torch.zeros(4, 0, 2), torch.zeros(2, 2)).tolist() == [0, 0, 0, 0]
    assert linear_chain_pairwise_marginals(torch.zeros(4, 1, 2), torch.zeros(2, 2)).shape == (4, 0, 2, 2)
    assert segmentation(torch.zeros(0, 5), transition=torch.zeros(2, 2)).shape == (0, 5)
    close(segmentation(randn(3, 1), transition=randn(2, 2)), sigmoid(randn(3, 1)))


def test_nan_spoils_its_row_only():
    energies = randn(3, 5)
    energies[1, 2] = math.nan
    energies[2, 2] = INF
    weights = segmentation(energies, transition=randn(2, 2))
    assert weights.isnan().any(-1).tolist() == [False, True, True]
    assert weights[1:].isnan().all()


# --- long chains, precision -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [1.0, 1e3])
def test_long_chains_with_large_potentials(large, device):
    unary = (randn(3, 500, 2) * large).to(device)
    transition = (randn(2, 2) * large).to(device)
    double = linear_chain_marginals(unary, transition)
    single = linear_chain_marginals(unary.float(), transition.float())
    rounded = linear_chain_marginals(unary.float().double(), transition.float().double())
    for result in (double, single):
        assert result.isfinite().all()
        torch.testing.assert_close(result.sum(-1), torch.ones_like(result[..., 0]))
    torch.testing.assert_close(single.double(), rounded, rtol=0, atol=3e-7 * max(large, 4))
    partition = linear_chain_log_partition(unary.float(), transition.float()).double()
    exact = linear_chain_log_partition(unary.float().double(), transition.float().double())
    torch.testing.assert_close(partition, exact, rtol=3e-6, atol=0)
    leaves = unary.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(linear_chain_log_partition(leaves, transition).sum(), leaves)
    torch.testing.assert_close(gradient, double, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype, device):
    energies, transition = randn(3, 64, dtype=dtype, device=device), randn(2, 2, dtype=dtype, device=device)
    weights = segmentation(energies, transition=transition)
    assert weights.dtype == dtype
    assert torch.equal(weights, segmentation(energies.float(), transition=transition.float()).to(dtype))
    with torch.autocast(device.type, dtype=torch.bfloat16):
        single = segmentation(energies.float(), transition=transition.float())
        assert single.dtype == torch.float32
        assert torch.equal(single.to(dtype), weights)


# --- the scan ---------------------------------------------------------------------------------------------------------


@by_part
@pytest.mark.parametrize("n", [2, 7, 8, 9, 31])
@pytest.mark.parametrize("path", [SCAN], indirect=True)
def test_the_scan_is_the_recursion(part, n):
    """Values and gradients in single precision, with forbidden states and positions left out."""
    unary, steps = randn(3, n, STATES).float() * 3, randn(3, n - 1, STATES, STATES).float() * 3
    unary[0, n // 2, 1] = steps[1, :, 0, 2] = -INF
    mask = torch.rand(3, n) < torch.tensor([[2.0], [0.7], [0.7]])
    for given in (mask, None):
        found = []
        for surroundings in (contextlib.nullcontext(), reference_only()):
            leaves = unary.clone().requires_grad_(), steps.clone().requires_grad_()
            with surroundings:
                value = part(*leaves, mask=given)
            upstream = torch.arange(value.numel()).cos().view(value.shape)
            found.append([value, *torch.autograd.grad(value, leaves, upstream, materialize_grads=True)])
        for got, want in zip(*found, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("path", [SCAN], indirect=True)
def test_a_state_that_leaves_the_others_far_behind_costs_them_no_digits():
    """It cannot be reached; what can be is 10^5 below it after some steps."""
    unary, transition = randn(40, 3).float(), randn(3, 3).float()
    unary[:, 2] += 1e4
    unary[0, 2] = transition[:2, 2] = transition[2, :2] = -INF
    marginals = linear_chain_marginals(unary, transition)
    torch.testing.assert_close(marginals[:, :2], linear_chain_marginals(unary[:, :2], transition[:2, :2]))


@pytest.mark.parametrize("path", [SCAN], indirect=True)
def test_few_rows_take_the_scan(monkeypatch):
    monkeypatch.undo()
    few = str(explain(segmentation, torch.zeros(128, 8), transition=torch.zeros(2, 2)))
    many = str(explain(segmentation, torch.zeros(129, 8), transition=torch.zeros(2, 2)))
    short = str(explain(segmentation, torch.zeros(7), transition=torch.zeros(2, 2)))
    assert few == "linear chain: parallel scan"
    assert "not parallel scan: more than 512 numbers in the matrices of a position" in many
    assert "not parallel scan: fewer than 8 positions" in short


# --- torch's transforms, and attend -----------------------------------------------------------------------------------


@by_part
def test_vmap_and_functional_derivatives(part):
    unary, transition = randn(BATCH, N, STATES), randn(BATCH, STATES, STATES)
    wanted = torch.stack([part(u, t) for u, t in zip(unary, transition, strict=True)])
    close(torch.vmap(part)(unary, transition), wanted)
    close(
        torch.func.jacrev(part)(unary[0], transition[0]),
        torch.autograd.functional.jacobian(lambda u: part(u, transition[0]), unary[0]),
    )
    close(torch.func.jacfwd(part)(unary[0], transition[0]), torch.func.jacrev(part)(unary[0], transition[0]))


def test_vmap_of_segmentation():
    energies, transition = randn(3, 5), randn(2, 2)
    energies[1, 2:] = -INF
    run = functools.partial(segmentation, transition=transition)
    close(torch.vmap(run)(energies), run(energies))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("path", [SCAN], indirect=True)
def test_compiles_whole_and_exports():
    energies = randn(3, 4, dtype=torch.float32).requires_grad_()
    run = functools.partial(segmentation, transition=randn(2, 2, dtype=torch.float32))
    torch.compiler.reset()
    compiled = torch.compile(
        run, fullgraph=True, backend="aot_eager"
    )  # one graph; what a backend makes of it is torch's
    near = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)
    near(compiled(energies), run(energies))
    near(*(torch.autograd.grad(f(energies).square().sum(), energies)[0] for f in (compiled, run)))

    class Wrapper(torch.nn.Module):
        def forward(self, energies):
            return run(energies)

    program = torch.export.export(Wrapper(), (energies.detach(),))
    near(program.module()(energies), run(energies))


def test_plugs_into_attend():
    query, key, value = (part.requires_grad_() for part in (randn(2, 3, 7), randn(2, 5, 7), randn(2, 5, 11)))
    transition = randn(2, 2).requires_grad_()
    distribution = functools.partial(segmentation, transition=transition)
    mask = torch.tensor([True, False, True, True, False])
    result = attend(query, key, value, distribution=distribution, mask=mask)
    seen = attend(query, key[:, mask], value[:, mask], distribution=distribution)
    close(result.context, seen.context)
    assert (result.weights[..., ~mask] == 0).all()
    assert ((result.weights.sum(-1) - 1).abs() > 1e-3).all()
    gradients = torch.autograd.grad(result.context.square().sum(), (query, key, value, transition))
    assert all(g.isfinite().all() and (g != 0).any() for g in gradients)
    causal = attend(query, key, value, distribution=distribution, is_causal=True)
    for i in range(3):
        until = attend(query[:, i : i + 1], key[:, : i + 1], value[:, : i + 1], distribution=distribution)
        close(causal.context[:, i : i + 1], until.context)


def test_nothing_is_changed_in_place():
    unary, transition = randn(BATCH, N, STATES), randn(STATES, STATES)
    before = unary.clone(), transition.clone()
    for part, mask in itertools.product(PARTS, (None, MASK)):
        part(unary, transition, mask=mask).zero_()
    assert torch.equal(unary, before[0])
    assert torch.equal(transition, before[1])


# --- bad input --------------------------------------------------------------------------------------------------------


@by_part
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(part):
    unary, transition = torch.zeros(2, 5, 3), torch.zeros(3, 3)
    with pytest.raises(TypeError, match=r"unary must be floating point, got dtype torch\.int64"):
        part(unary.long(), transition)
    with pytest.raises(TypeError, match=r"transition must be floating point, got dtype torch\.bool"):
        part(unary, transition.bool())
    with pytest.raises(TypeError, match="mask must be boolean"):
        part(unary, transition, mask=torch.ones(2, 5))
    with pytest.raises(ValueError, match="mask must broadcast to"):
        part(unary, transition, mask=torch.ones(2, 4).bool())
    with pytest.raises(ValueError, match="unary must have shape"):
        part(torch.zeros(3), transition)
    with pytest.raises(ValueError, match="unary must have shape"):
        part(torch.zeros(5, 0), torch.zeros(0, 0))
    for shape in ((2, 2), (3,), (5, 3, 3), (4, 3, 2), (3, 1)):
        with pytest.raises(ValueError, match="transition must have shape"):
            part(unary, torch.zeros(shape))
    with pytest.raises(ValueError, match="leading dimensions"):
        part(unary, torch.zeros(7, 4, 3, 3))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_of_segmentation_is_named():
    transition = torch.zeros(2, 2)
    with pytest.raises(TypeError, match=r"energies must be floating point, got dtype torch\.int64"):
        segmentation(torch.ones(3).long(), transition=transition)
    with pytest.raises(ValueError, match="temperature must be a finite number above 0"):
        segmentation(torch.ones(3), transition=transition, temperature=0)
    assert segmentation(torch.ones(3), transition=transition, temperature=torch.tensor(-1.0)).isnan().all()
    with pytest.raises(ValueError, match="transition must have shape"):
        segmentation(torch.ones(3), transition=torch.zeros(3, 3))
