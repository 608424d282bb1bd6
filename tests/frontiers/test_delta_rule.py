"""The delta rule: the paper's update as a loop, what it corrects, its relatives, wrong versions."""

import math

import oracles
import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib.frontiers.delta_rule import Corrected, delta_rule

BATCH, TIME, D_K, D_V = 2, 5, 3, 7

# --- the oracle -------------------------------------------------------------------------------------------------------


def delta_loop(query, key, value, strength, memory=None, visible=None):
    """The paper's fast weights, values by keys: what the key gives now is taken off, what it should give is put on."""
    fast = [[0.0] * len(key[0]) for _ in value[0]] if memory is None else [list(row) for row in memory]
    contexts = []
    for t, (q, k, v, beta) in enumerate(zip(query, key, value, strength, strict=True)):
        if visible is None or visible[t]:
            old = oracles.times(fast, k)
            for a in range(len(v)):
                for b in range(len(k)):
                    fast[a][b] += beta * (v[a] - old[a]) * k[b]
        contexts.append(oracles.times(fast, q))
    return contexts, fast


def inputs(n=TIME):
    parts = randn(BATCH, n, D_K), randn(BATCH, n, D_K, seed=1), randn(BATCH, n, D_V, seed=2)
    return (*parts, torch.sigmoid(randn(BATCH, n, seed=3)))


def check_value(function):
    query, key, value, strength = inputs()
    memory, mask = randn(BATCH, D_K, D_V, seed=5), torch.tensor([[[1, 1, 0, 1, 1]], [[0, 1, 1, 1, 0]]]).bool()
    for options in ({}, {"memory": memory}, {"mask": mask}):
        found = function(query, key, value, strength=strength, **options)
        for b in range(BATCH):
            start = rows(memory[b].mT) if "memory" in options else None
            seen = mask[b, 0].tolist() if "mask" in options else None
            parts = (rows(part[b]) for part in (query, key, value, strength))
            contexts, fast = delta_loop(*parts, start, seen)
            close(found.context[b], tensor(contexts))
            close(found.memory[b].mT, tensor(fast))


def check_gives_back_what_was_written(function):
    """Keys of length one at a strength of one: the last value, exactly, whatever was there."""
    _, key, value, _ = inputs()
    key = key / key.norm(dim=-1, keepdim=True)
    found = function(key, key, value, strength=torch.ones(BATCH, TIME).double(), memory=randn(BATCH, D_K, D_V))
    close(found.context, value)


CHECKS = [check_value, check_gives_back_what_was_written]


@pytest.mark.parametrize("check", CHECKS)
def test_delta_rule(check):
    check(delta_rule)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def steps(query, key, value, *, strength, memory=None, mask=None, correct=True, first=False, whole=False):
    """The rule with one fault: nothing is taken off; it is read before it is written; all that is old is weakened."""
    memory = torch.zeros(BATCH, D_K, D_V).double() if memory is None else memory
    strength = strength if mask is None else strength * mask[:, 0]
    contexts = []
    for t in range(query.shape[1]):
        q, k, v = (part[:, t, :, None] for part in (query, key, value))
        beta = strength[:, t, None, None]
        if first:
            contexts.append((memory.mT @ q)[..., 0])
        old = memory.mT @ k if correct else 0
        memory = memory * (1 - beta) + beta * k @ v.mT if whole else memory + beta * k @ (v - old).mT
        if not first:
            contexts.append((memory.mT @ q)[..., 0])
    return Corrected(torch.stack(contexts, 1), memory)


def test_the_steps_without_a_fault_are_right():
    check_value(steps)


FAULTS = [({"correct": False}, check) for check in CHECKS] + [({"first": True}, check) for check in CHECKS]


@pytest.mark.parametrize(("fault", "check"), [*FAULTS, ({"whole": True}, check_value)])
def test_mutants_are_rejected(fault, check):
    with pytest.raises(AssertionError):
        check(lambda *parts, **options: steps(*parts, **options, **fault))


# --- relatives --------------------------------------------------------------------------------------------------------


def test_keys_at_right_angles_are_never_corrected():
    """Then it is the sum of outer products: linear attention without its denominator."""
    key, (query, _, value, _) = torch.eye(TIME).double(), inputs()
    query = randn(BATCH, TIME, TIME)
    found = delta_rule(query, key, value)
    close(found.context, torch.tril(query @ key.mT) @ value)


def test_a_step_is_one_of_gradient_descent():
    query, key, value, strength = inputs(1)
    memory = leaf(BATCH, D_K, D_V)
    error = (key @ memory - value).square().sum() / 2
    (slope,) = torch.autograd.grad(error, memory)
    wanted = memory - strength[..., None] * slope
    close(delta_rule(query, key, value, strength=strength, memory=memory).memory, wanted)


def test_a_key_written_twice_and_the_capacity():
    """More keys than features: a sum mixes them all; the last one written comes back, the earlier ones do not."""
    key, value = randn(2 * D_K, D_K), randn(2 * D_K, D_V)
    key = key / key.norm(dim=-1, keepdim=True)
    memory = delta_rule(key, key, value).memory
    close((key @ memory)[-1], value[-1])
    assert ((key @ memory)[:-1] - value[:-1]).abs().max() > 0.1


@pytest.mark.parametrize("runs", [[1] * TIME, [2, 0, 3], [TIME]])
def test_reading_on(runs):
    query, key, value, strength = inputs()
    whole, memory, found, at = delta_rule(query, key, value, strength=strength), None, [], 0
    for run in runs:
        here = slice(at, at + run)
        parts = (part[:, here] for part in (query, key, value))
        context, memory = delta_rule(*parts, strength=strength[:, here], memory=memory)
        found.append(context)
        at += run
    close(torch.cat(found, 1), whole.context)
    close(memory, whole.memory)


# --- what is hidden, gradients, precision -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e308])
def test_what_is_hidden_changes_nothing(bad):
    query, key, value, strength = inputs()
    mask = torch.tensor([[[1, 1, 0, 1, 0]], [[0, 0, 0, 0, 0]]]).bool()
    hidden = ~mask.mT
    found = []
    for fill in (0.5, bad):
        parts = [query.clone(), torch.where(hidden, fill, key), torch.where(hidden, fill, value)]
        parts = [part.requires_grad_() for part in (*parts, torch.where(hidden[..., 0], fill, strength))]
        context, memory = delta_rule(*parts[:3], strength=parts[3], mask=mask)
        slopes = torch.autograd.grad(context.square().sum() + memory.sum(), parts)
        found.append((context, memory, *slopes))
    for got, want in zip(*found, strict=True):
        assert got.isfinite().all()
        close(got, want)
    assert (found[0][1][1] == 0).all()


def test_slopes_are_the_numerical_ones():
    def run(query, key, value, strength, memory):
        return delta_rule(query, key, value, strength=strength, memory=memory)

    parts = [leaf(*part.shape, seed=i) for i, part in enumerate(inputs())]
    parts.append(leaf(BATCH, D_K, D_V, seed=9))
    assert gradcheck(run, parts, fast_mode=True)
    assert gradgradcheck(run, parts, fast_mode=True)


def test_half_precision_keeps_the_memory_in_single():
    query, key, value, strength = (part.bfloat16() for part in inputs())
    found = delta_rule(query, key, value, strength=strength)
    assert found.context.dtype == torch.bfloat16
    assert found.memory.dtype == torch.float32
    exact = delta_rule(query.double(), key.double(), value.double(), strength=strength.double())
    torch.testing.assert_close(found.context.double(), exact.context, rtol=2e-2, atol=2e-2)


def test_broadcast_vmap_and_nothing_mutated():
    query, key, value, strength = inputs()
    before = [part.clone() for part in (query, key, value, strength)]
    wanted = delta_rule(query, key, value, strength=strength).context
    close(torch.vmap(lambda q, k, v, s: delta_rule(q, k, v, strength=s).context)(query, key, value, strength), wanted)
    for part, kept in zip((query, key, value, strength), before, strict=True):
        assert torch.equal(part, kept)
    broad = delta_rule(query[:, None], key[0], value[0], strength=strength[0], mask=torch.ones(TIME).bool())
    assert broad.context.shape == (BATCH, 1, TIME, D_V)
    assert broad.memory.shape == (BATCH, 1, D_K, D_V)
    close(broad.context[0, 0], delta_rule(query[0], key[0], value[0], strength=strength[0]).context)
    close(delta_rule(query, key, value, strength=0.0).context, torch.zeros(BATCH, TIME, D_V).double())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strength": torch.ones(BATCH, 2)}, ValueError, r"strength must have shape \(\*batch, time\) = \(2, 5\)"),
        ({"strength": torch.ones(BATCH, TIME).long()}, TypeError, "strength must be floating point"),
        ({"memory": torch.ones(2, 2)}, ValueError, r"memory must have shape \(\*batch, d_k, d_v\)"),
        ({"mask": torch.ones(TIME)}, TypeError, "mask must be boolean"),
        ({"mask": torch.ones(TIME, TIME).bool()}, ValueError, "mask of shape"),
    ],
)
def test_what_does_not_fit_is_named(options, error, message):
    with pytest.raises(error, match=message):
        delta_rule(*inputs()[:3], **options)
    with pytest.raises(ValueError, match="query must have as many rows as key, 5, got 2"):
        delta_rule(inputs()[0][:, :2], *inputs()[1:3])
