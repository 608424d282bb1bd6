"""Inner attention in its three forms: loops over words and units, what a mask hides, and wrong versions."""

import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck

from attnlib.input_representations import inner
from attnlib.masks import key_mask
from attnlib.recurrent.gated_unit import GatedUnit

BATCH, TIME, D, D_Q, STATE = 2, 5, 3, 7, 11


# --- oracles: plain loops from the equations --------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def dot(left, right):
    return sum(a * b for a, b in zip(left, right, strict=True))


def apply(matrix, vector):
    return [dot(row, vector) for row in matrix]


def word_loop(words, question, weight):
    weights = [sigmoid(dot(question, apply(weight, x))) for x in words]
    return [[a * x for x in word] for a, word in zip(weights, words, strict=True)], weights


def step_loop(unit, word, state, asked=None):
    """Gates and new state; ``asked`` goes into both gates and not into the candidate. ``unit`` is its parameters."""
    n = len(state)
    asked = asked or [0.0] * (2 * n)
    read = [a + b for a, b in zip(apply(unit["input.weight"], word), unit["input.bias"], strict=True)]
    gates = [
        sigmoid(a + b + c) for a, b, c in zip(read[: 2 * n], apply(unit["gates_recurrent"], state), asked, strict=True)
    ]
    update, reset = gates[:n], gates[n:]
    inner_state = apply(unit["recurrent"], [r * h for r, h in zip(reset, state, strict=True)])
    candidate = [math.tanh(a + b) for a, b in zip(read[2 * n :], inner_state, strict=True)]
    return update, [(1 - z) * h + z * new for z, h, new in zip(update, state, candidate, strict=True)]


def context_loop(words, question, unit, state_weight, question_weight):
    state, states, weights = [0.0] * STATE, [], []
    for word in words:
        wanted = [a + b for a, b in zip(apply(state_weight, state), apply(question_weight, question), strict=True)]
        weights.append(sigmoid(dot(wanted, word)))
        _, state = step_loop(unit, [weights[-1] * x for x in word], state)
        states.append(state)
    return states, weights


def gate_loop(words, question, unit, question_weight):
    state, states, gates = [0.0] * STATE, [], []
    for word in words:
        gate, state = step_loop(unit, word, state, apply(question_weight, question))
        states.append(state)
        gates.append(gate)
    return states, gates


def unit():
    torch.manual_seed(0)
    return GatedUnit(D, STATE).double()


FORMS = {
    "word": (inner.weight_words, {"weight": (D_Q, D)}, word_loop),
    "context": (inner.weight_in_context, {"state_weight": (D, STATE), "question_weight": (D, D_Q)}, context_loop),
    "gate": (inner.gate_states, {"question_weight": (2 * STATE, D_Q)}, gate_loop),
}


def given(form, **options):
    return {name: leaf(*shape, seed=seed, **options) for seed, (name, shape) in enumerate(FORMS[form][1].items(), 1)}


def run(form, words, question, parameters, mask=None, function=None):
    function = function or FORMS[form][0]
    reader = () if form == "word" else (unit(),)
    return function(words, question, *reader, **parameters, mask=mask)


def check_value(form, function=None):
    words, question, parameters = randn(BATCH, TIME, D), randn(BATCH, D_Q), given(form)
    found = run(form, words, question, parameters, function=function)
    reader = () if form == "word" else ({name: rows(p) for name, p in unit().named_parameters()},)
    for b in range(BATCH):
        wanted = FORMS[form][2](rows(words[b]), rows(question[b]), *reader, *map(rows, parameters.values()))
        for got, want in zip(found, wanted, strict=True):
            close(got[b].detach(), tensor(want))


def check_padding(form, function=None):
    """A sentence alone, and among others with padding that holds anything: one result, one gradient."""
    words, question, parameters = randn(BATCH, TIME, D), randn(BATCH, D_Q), given(form)
    alone = run(form, words[:1, :3], question[:1], parameters, function=function)
    slopes = torch.autograd.grad(alone[0].sum(), tuple(parameters.values()))
    for bad in (0.0, 1.0, torch.nan, torch.inf, 1e308):
        padded = words.clone()
        padded[0, 3:] = bad
        mask = key_mask(torch.tensor([3, 5]), TIME).squeeze(-2)
        found = run(form, padded, question, parameters, mask=mask, function=function)
        for got, wanted in zip(found, alone, strict=True):
            close(got[:1, :3], wanted)
        assert (found.weights[0, 3:] == 0).all()
        for got, wanted in zip(
            torch.autograd.grad(found[0][:1, :3].sum(), tuple(parameters.values())), slopes, strict=True
        ):
            close(got, wanted)
        if form != "word":
            close(found.states[0, -1], alone.states[0, -1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("check", [check_value, check_padding])
def test_inner_attention(check, form):
    check(form)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_the_question_that_weights(form):
    """Another question, other weights: what no self-attention does. A question of zero leaves the reader alone."""
    words, parameters = randn(1, TIME, D), given(form)
    one, other = (run(form, words, randn(1, D_Q, seed=seed), parameters) for seed in (1, 2))
    assert not torch.isclose(one.weights, other.weights).any()
    nothing = run(form, words, torch.zeros(1, D_Q, dtype=torch.float64), parameters)
    if form == "word":
        close(nothing.weights, torch.full((1, TIME), 0.5, dtype=torch.float64))
    if form == "gate":
        close(nothing.states, unit().run(words, torch.ones(1, TIME, dtype=torch.bool)))


def test_a_word_s_weight_knows_its_past_in_context_alone():
    """Change the first word: the weights of later ones stay in the form *word*, and change in the form *context*."""
    words, question = randn(1, TIME, D), randn(1, D_Q)
    changed = words.clone()
    changed[:, 0] += 1
    for form, same in (("word", True), ("context", False)):
        before, after = (run(form, w, question, given(form)).weights[:, 1:] for w in (words, changed))
        assert torch.isclose(before, after).all() == same


@pytest.mark.parametrize("form", FORMS)
def test_slopes_are_the_numerical_ones(form):
    mask, names = key_mask(torch.tensor([3, 5]), TIME).squeeze(-2), list(FORMS[form][1])

    def result(words, question, *parameters):
        return run(form, words, question, dict(zip(names, parameters, strict=True)), mask=mask)[0]

    assert gradcheck(result, (leaf(BATCH, TIME, D), leaf(BATCH, D_Q), *given(form).values()), fast_mode=True)


@pytest.mark.parametrize("form", FORMS)
def test_no_word_one_word_and_no_real_one(form):
    question, parameters = randn(BATCH, D_Q), given(form)
    assert run(form, randn(BATCH, 0, D), question, parameters)[0].shape[:2] == (BATCH, 0)
    assert run(form, randn(BATCH, 1, D), question, parameters).weights.shape[:2] == (BATCH, 1)
    found = run(form, randn(BATCH, TIME, D), question, parameters, mask=torch.zeros(BATCH, TIME).bool())
    assert all((part == 0).all() for part in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", FORMS)
def test_each_device(form, dtype, device):
    words, question = randn(BATCH, TIME, D, dtype=dtype, device=device), randn(BATCH, D_Q, dtype=dtype, device=device)
    parameters = {name: value.detach().to(device=device, dtype=dtype) for name, value in given(form).items()}
    reader = () if form == "word" else (unit().to(device=device, dtype=dtype),)
    found = FORMS[form][0](words, question, *reader, **parameters)
    wanted = run(form, randn(BATCH, TIME, D), randn(BATCH, D_Q), given(form))
    for got, want in zip(found, wanted, strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got.double().cpu(), want, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    words, question = randn(BATCH, TIME, D), randn(BATCH, D_Q)
    cases = [
        (ValueError, "weight must have shape", "word", {"weight": randn(D, D_Q)}, None),
        (ValueError, r"state_weight must have shape \(d=3, n=11\)", "context", {"state_weight": randn(D, D)}, None),
        (
            ValueError,
            r"question_weight must have shape \(d=3, d_q=7\)",
            "context",
            {"question_weight": randn(D, D)},
            None,
        ),
        (
            ValueError,
            r"question_weight must have shape \(2n=22, d_q=7\)",
            "gate",
            {"question_weight": randn(2, D)},
            None,
        ),
        (TypeError, "mask must be boolean", "word", {}, torch.ones(BATCH, TIME)),
        (ValueError, "mask must be one for each of 5 words, got 4", "gate", {}, torch.ones(BATCH, 4).bool()),
    ]
    for error, message, form, other, mask in cases:
        with pytest.raises(error, match=message):
            run(form, words, question, given(form) | other, mask=mask)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def softmax_over_words(words, question, *, weight, mask=None):
    energies = torch.einsum("bq,qd,btd->bt", question, weight, words)
    weights = energies.softmax(-1)
    return inner.WeightedWords(weights[..., None] * words, weights)


def asks_itself(words, question, *, weight, mask=None):
    """What the article says of it: weights from the input alone."""
    return inner.weight_words(words, words.mean(-2) @ weight.mT, weight=weight, mask=mask)


def padding_weighted(words, question, *, weight, mask=None):
    return inner.weight_words(words, question, weight=weight)


def state_after(words, question, unit, *, state_weight, question_weight, mask=None):
    """The state that has already read the word weights it."""
    found = inner.weight_in_context(
        words, question, unit, state_weight=0 * state_weight, question_weight=question_weight
    )
    energies = (found.states @ state_weight.mT + (question @ question_weight.mT)[:, None]) * words
    return inner.InnerStates(found.states, torch.sigmoid(energies.sum(-1)))


def gates_exchanged(words, question, unit, *, question_weight, mask=None):
    return inner.gate_states(words, question, unit, question_weight=question_weight.roll(STATE, 0), mask=mask)


def question_in_candidate(words, question, unit, *, question_weight, mask=None):
    state, states, gates = words.new_zeros(len(words), STATE), [], []
    asked = question @ torch.cat([question_weight, question_weight[:STATE]]).mT
    for t in range(words.shape[1]):
        gates.append(
            torch.sigmoid((unit.read(words[:, t]) + asked)[:, :STATE] + state @ unit.gates_recurrent[:STATE].mT)
        )
        state = unit(unit.read(words[:, t]), state, asked)
        states.append(state)
    return inner.InnerStates(torch.stack(states, 1), torch.stack(gates, 1))


WRONG = {
    "softmax for the sigmoid": (check_value, "word", softmax_over_words),
    "words ask each other": (check_value, "word", asks_itself),
    "padding has a weight": (check_padding, "word", padding_weighted),
    "the state after the word": (check_value, "context", state_after),
    "gates exchanged": (check_value, "gate", gates_exchanged),
    "the candidate sees the question": (check_value, "gate", question_in_candidate),
}


@pytest.mark.parametrize(("check", "form", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_versions_are_rejected(check, form, mutant):
    with pytest.raises(AssertionError):
        check(form, mutant)
