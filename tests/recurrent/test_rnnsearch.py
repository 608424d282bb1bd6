"""RNNsearch and RNNencdec: against plain loops, their start, their identities, what padding changes, bad input."""

import math

import oracles
import pytest
import torch
from checks import close
from oracles import rows, tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from attnlib import attend
from attnlib.recurrent.gated_unit import GatedUnit, both_ways
from attnlib.recurrent.rnnsearch import Encoded, RNNencdec, RNNsearch, maxout

# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


def gated_unit_loop(p, x, s, c=None):
    """One step. ``p`` holds W, U, b for z, r and the candidate ("h"), and C where there is a context."""
    n = len(s)

    def before(gate, state):
        total = oracles.plus(oracles.times(p["W" + gate], x), oracles.times(p["U" + gate], state), p["b" + gate])
        return total if c is None else oracles.plus(total, oracles.times(p["C" + gate], c))

    z = [_sigmoid(value) for value in before("z", s)]
    r = [_sigmoid(value) for value in before("r", s)]
    candidate = [math.tanh(value) for value in before("h", [r[i] * s[i] for i in range(n)])]
    return [(1 - z[i]) * s[i] + z[i] * candidate[i] for i in range(n)]


def encode_loop(p, words):
    """States of a unit that reads from the left and of one that reads from the right, in the order of the words."""
    n = len(p["forwards"]["bz"])
    forth, back = [], []
    state = [0.0] * n
    for word in words:
        state = gated_unit_loop(p["forwards"], p["source"][word], state)
        forth.append(state)
    if "backwards" in p:
        state = [0.0] * n
        for word in reversed(words):
            state = gated_unit_loop(p["backwards"], p["source"][word], state)
            back.insert(0, state)
    return forth, back


def rnnsearch_loop(p, source, target_in):
    """Logits, weights, energies and states of one sentence; without an alignment model (``Wa``) it is RNNencdec."""
    forth, back = encode_loop(p, source)
    attends = "Wa" in p
    annotations = [f + b for f, b in zip(forth, back, strict=True)] if attends else None
    first = back[0] if attends else forth[-1]
    s = [math.tanh(value) for value in oracles.plus(oracles.times(p["Ws"], first), p["bs"])]
    logits, weights, energies, states = [], [], [], []
    for word in target_in:
        y = p["target"][word]
        if attends:
            e = []
            for h in annotations:
                both = oracles.plus(oracles.times(p["Wa"], s), oracles.times(p["Ua"], h))
                hidden = [math.tanh(value) for value in both]
                e.append(oracles.inner(p["va"], hidden))
            alpha = oracles.softmax_row(e)
            c = [sum(alpha[j] * annotations[j][i] for j in range(len(source))) for i in range(len(annotations[0]))]
        else:
            e, alpha, c = [0.0], [1.0], forth[-1]
        t = oracles.plus(oracles.times(p["Uo"], s), oracles.times(p["Vo"], y), oracles.times(p["Co"], c), p["bo"])
        t = [max(t[2 * i], t[2 * i + 1]) for i in range(len(t) // 2)]
        logits.append(oracles.plus(oracles.times(p["Wo"], t), p["by"]))
        s = gated_unit_loop(p["unit"], y, s, c)
        for record, value in ((weights, alpha), (energies, e), (states, s)):
            record.append(value)
    return logits, weights, energies, states


K_X, K_Y, M, N, A, L, T_X, T_Y = 11, 13, 3, 5, 7, 2, 6, 4
SIZES = {"embedding": M, "hidden": N, "maxout": L}


def searching(seed=1, scale=1.0, **kwargs):
    """An RNNsearch in float64 whose parameters are all far from 0, so that no term can hide."""
    torch.manual_seed(seed)
    return spread(RNNsearch(K_X, K_Y, alignment=A, **SIZES, **kwargs).double(), scale)


def encdec(seed=1, **kwargs):
    torch.manual_seed(seed)
    return spread(RNNencdec(K_X, K_Y, **SIZES, **kwargs).double())


def spread(model, scale=1.0):
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return model


both = pytest.mark.parametrize("make", [searching, encdec])


def sentences(seed=0):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(1, K_X, (2, T_X), generator=generator)
    mask = torch.ones(2, T_X, dtype=torch.bool)
    mask[1, 4:] = False
    return source, mask, torch.randint(1, K_Y, (2, T_Y), generator=generator)


def unit_parameters(unit):
    """The names of the paper for what a unit stacks."""
    parts = {"W": unit.input.weight.chunk(3), "b": unit.input.bias.chunk(3)}
    parts["U"] = [*unit.gates_recurrent.chunk(2), unit.recurrent]
    if unit.context is not None:
        parts["C"] = unit.context.weight.chunk(3)
    return {
        letter + gate: rows(part) for letter, three in parts.items() for gate, part in zip("zrh", three, strict=True)
    }


def parameters(model):
    p = {
        "source": rows(model.source_embedding.weight),
        "target": rows(model.target_embedding.weight),
        "Ws": rows(model.start.weight),
        "bs": rows(model.start.bias),
        "Uo": rows(model.output_state.weight),
        "bo": rows(model.output_state.bias),
        "Vo": rows(model.output_word.weight),
        "Co": rows(model.output_context.weight),
        "Wo": rows(model.output.weight),
        "by": rows(model.output.bias),
        "unit": unit_parameters(model.unit),
        "forwards": unit_parameters(model.forwards),
    }
    if isinstance(model, RNNsearch):
        p["backwards"] = unit_parameters(model.backwards)
        p["Wa"], p["Ua"] = rows(model.align_state.weight), rows(model.align_annotation.weight)
        p["va"] = rows(model.align_vector)
    return p


# --- values -----------------------------------------------------------------------------------------------------------


def check_value(model, result):
    source, mask, target_in = sentences()
    for b, length in enumerate(mask.sum(-1).tolist()):
        logits, weights, _, _ = rnnsearch_loop(parameters(model), source[b, :length].tolist(), target_in[b].tolist())
        close(result.logits[b], tensor(logits))
        close(result.weights[b, :, : len(weights[0])], tensor(weights))
        assert (result.weights[b, :, len(weights[0]) :] == 0).all()


@both
def test_equals_the_plain_loop(make):
    model = make()
    check_value(model, model(*sentences()))


@both
def test_steps_equal_all_at_once(make):
    model, (source, mask, target_in) = make(), sentences()
    given, encoded = model(source, mask, target_in), model.encode(source, mask)
    state = encoded.state
    for t in range(T_Y):
        step = model.step(target_in[:, t], state, encoded)
        close(step.logits, given.logits[:, t])
        close(step.weights, given.weights[:, t])
        state = step.state


def test_states_and_energies_equal_the_plain_loop():
    model, (source, mask, target_in) = searching(), sentences()
    encoded = model.encode(source, mask)
    _, _, energies, states = rnnsearch_loop(parameters(model), source[1, :4].tolist(), target_in[1].tolist())
    state = encoded.state
    for t in range(T_Y):
        step = model.step(target_in[:, t], state, encoded)
        close(step.energies[1, :4], tensor(energies[t]))
        assert (step.energies[1, 4:] == -math.inf).all()
        close(step.state[1], tensor(states[t]))
        state = step.state


def test_the_alignment_model_is_attend_with_the_additive_score():
    model, (source, mask, target_in) = searching(), sentences()
    encoded = model.encode(source, mask)
    step = model.step(target_in[:, 0], encoded.state, encoded)
    found = attend(
        model.align_state(encoded.state).unsqueeze(1),
        encoded.projected,
        encoded.annotations,
        score=lambda query, key: torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3)) @ model.align_vector,
        mask=mask.unsqueeze(1),
    )
    close(step.weights, found.weights.squeeze(1))
    close(step.context, found.context.squeeze(1))


def test_the_unit_is_not_torchs_but_becomes_it_without_a_reset_and_with_the_other_gate():
    """With r held at 1 the two cells differ in the sense of the update gate alone."""
    unit, cell = GatedUnit(M, N).double(), torch.nn.GRUCell(M, N).double()
    with torch.no_grad():
        unit.input.weight.normal_()
        unit.input.bias.normal_()
        unit.input.bias[N : 2 * N] = 100.0
        w_z, w_r, w = unit.input.weight.chunk(3)
        b_z, b_r, b = unit.input.bias.chunk(3)
        u_z, u_r = unit.gates_recurrent.chunk(2)
        cell.weight_ih.copy_(torch.cat([w_r, -w_z, w]))
        cell.weight_hh.copy_(torch.cat([u_r, -u_z, unit.recurrent]))
        cell.bias_ih.copy_(torch.cat([b_r, -b_z, b]))
        cell.bias_hh.zero_()
    x, state = torch.randn(2, M).double(), torch.randn(2, N).double()
    close(unit(unit.read(x), state), cell(x, state))
    with torch.no_grad():
        cell.weight_ih[N : 2 * N] *= -1
        cell.weight_hh[N : 2 * N] *= -1
        cell.bias_ih[N : 2 * N] *= -1
    assert not torch.allclose(unit(unit.read(x), state), cell(x, state))


def test_both_ways_equals_two_runs():
    forwards, backwards = GatedUnit(M, N).double(), GatedUnit(M, N).double()
    inputs, mask = torch.randn(2, T_X, M).double(), sentences()[1]
    forth, back = both_ways(forwards, backwards, inputs, mask)
    close(forth, forwards.run(inputs, mask))
    close(back, backwards.run(inputs.flip(1), mask.flip(1)).flip(1))
    assert (back[1, 4:] == 0).all(), "the reader from the right has seen nothing yet"
    close(forth[1, 3], forth[1, 5])


# --- identities -------------------------------------------------------------------------------------------------------


def test_a_frozen_context_makes_it_rnnencdec():
    """A.2.2: c fixed to the last forward state; the columns for the backward half and its s_0 are what is left over."""
    search, plain = searching(), encdec()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            other = search.get_parameter(name)
            parameter.copy_(other[:, :N] if other.shape != parameter.shape else other)
        search.unit.context.weight[:, N:] = 0
        search.output_context.weight[:, N:] = 0
    source, mask, target_in = sentences()

    def frozen(state, encoded):
        last = encoded.annotations[:, -1].clone()
        last[:, N:] = 0
        return last, encoded.mask.double(), torch.zeros_like(encoded.mask)

    def start(source, mask):
        encoded = RNNsearch.encode(search, source, mask)
        return encoded._replace(state=torch.tanh(search.start(encoded.annotations[:, -1, :N])))

    search._look, search.encode = frozen, start
    close(search(source, mask, target_in).logits, plain(source, mask, target_in).logits)


def test_weights_start_uniform():
    torch.manual_seed(3)
    model = RNNsearch(K_X, K_Y, alignment=A, **SIZES)
    source, mask, target_in = sentences()
    weights = model(source, mask, target_in).weights
    wanted = mask / mask.sum(-1, keepdim=True)
    torch.testing.assert_close(weights, wanted[:, None].expand_as(weights))


def test_the_start_is_the_papers():
    torch.manual_seed(5)
    model = RNNsearch(97, 89, embedding=83, hidden=61, alignment=79, maxout=47)
    for unit in (model.forwards, model.backwards, model.unit):
        for matrix in (*unit.gates_recurrent.chunk(2), unit.recurrent):
            torch.testing.assert_close(matrix @ matrix.T, torch.eye(61), atol=1e-5, rtol=0)
        assert (unit.input.bias == 0).all()
        assert unit.input.weight.std().item() == pytest.approx(0.01, rel=0.05)
    for layer in (model.align_state, model.align_annotation):
        assert layer.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert (model.align_vector == 0).all()
    assert model.source_embedding.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert (model.output.bias == 0).all()


def test_the_papers_sizes_give_its_number_of_weights():
    counts = {
        "encoder": 2 * (3 * 1000 * 620 + 3 * 1000 * 1000),
        "alignment": 1000 * 1000 + 1000 * 2000 + 1000,
    }
    small = RNNsearch(5, 5, embedding=620, hidden=1000, alignment=1000, maxout=500)
    sizes = {name: parameter.numel() for name, parameter in small.named_parameters() if "bias" not in name}
    assert sum(size for name, size in sizes.items() if name.startswith(("forwards", "backwards"))) == counts["encoder"]
    assert sum(size for name, size in sizes.items() if name.startswith("align")) == counts["alignment"] == 3_001_000


# --- masks ------------------------------------------------------------------------------------------------------------


@both
def test_padding_changes_nothing(make):
    model, (source, mask, target_in) = make(), sentences()
    alone = model(source[1:, :4], mask[1:, :4], target_in[1:])
    longer = F.pad(source[1:, :4], (0, 3), value=10**6)
    padded = model(longer, F.pad(mask[1:, :4], (0, 3)), target_in[1:])
    close(padded.logits, alone.logits)
    gradients = [
        torch.autograd.grad(result.logits.square().sum(), list(model.parameters()), allow_unused=True)
        for result in (alone, padded)
    ]
    for a, b in zip(*gradients, strict=True):
        close(a, b)
    if isinstance(model, RNNsearch):
        assert (padded.weights[..., 4:] == 0).all()


@both
def test_a_sentence_without_words_gives_zeros_and_no_nan(make):
    model, (source, mask, target_in) = make(), sentences()
    given = model(source, torch.zeros_like(mask), target_in)
    assert (given.weights == 0).all()
    assert given.logits.isfinite().all()
    gradients = torch.autograd.grad(given.logits.sum(), list(model.parameters()), allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in gradients)


def test_later_words_do_not_change_earlier_ones():
    model, (source, mask, target_in) = searching(), sentences()
    other = target_in.clone()
    other[:, 2] = (other[:, 2] + 1) % K_Y
    one, two = model(source, mask, target_in), model(source, mask, other)
    close(one.logits[:, :2], two.logits[:, :2])
    close(one.weights[:, :3], two.weights[:, :3])  # s_{t-1} asks, and it has read y_{t-2} at most
    assert not torch.allclose(one.logits[:, 2], two.logits[:, 2])
    assert not torch.allclose(one.weights[:, 3], two.weights[:, 3])


# --- gradients, devices, dropout --------------------------------------------------------------------------------------


@both
def test_gradients(make):
    model, (source, mask, target_in) = make(), sentences()
    names, values = zip(*model.named_parameters(), strict=True)
    picked = [i for i, name in enumerate(names) if "embedding" not in name]

    def logits(*parameters):
        replaced = {names[i]: parameter for i, parameter in zip(picked, parameters, strict=True)}
        return torch.func.functional_call(model, replaced, (source, mask, target_in[:, :2])).logits

    assert gradcheck(logits, [values[i].detach().requires_grad_() for i in picked], fast_mode=True)


@both
def test_on_each_device_and_in_half_precision(make, device):
    model, (source, mask, target_in) = make().to(device), sentences()
    wanted = make()(source, mask, target_in).logits
    source, mask, target_in = source.to(device), mask.to(device), target_in.to(device)
    close(model(source, mask, target_in).logits.cpu(), wanted)
    half = model.to(torch.bfloat16)(source, mask, target_in).logits
    torch.testing.assert_close(half.cpu().double(), wanted, atol=0.5, rtol=0.1)


@both
def test_dropout_is_for_training_alone(make):
    model, arguments = make(dropout=0.5), sentences()
    assert not torch.equal(model(*arguments).logits, model(*arguments).logits)
    model.eval()
    assert torch.equal(model(*arguments).logits, model(*arguments).logits)


def test_maxout():
    values = torch.tensor([[5.0, -1.0, 2.0, 7.0, -3.0, -2.0]])
    assert maxout(values).tolist() == [[5.0, 7.0, -2.0]]


# --- bad input --------------------------------------------------------------------------------------------------------


def wrong(name):
    source, mask, target_in = sentences()
    return {
        "source_mask": (source, mask.long(), target_in),
        "source and source_mask": (source, mask[:, :3], target_in),
        "source has no words": (source[:, :0], mask[:, :0], target_in),
        "target_in": (source, mask, target_in[:1]),
        "T_y > 0": (source, mask, target_in[:, :0]),
    }[name]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("source_mask", TypeError),
        ("source and source_mask", ValueError),
        ("source has no words", ValueError),
        ("target_in", ValueError),
        ("T_y > 0", ValueError),
    ],
)
@both
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(make, name, error):
    with pytest.raises(error, match=name):
        make()(*wrong(name))


@pytest.mark.parametrize(
    "name", ["source_size", "target_size", "embedding", "hidden", "alignment", "maxout", "dropout"]
)
@pytest.mark.usefixtures("unchecked")
def test_bad_sizes_are_named(name):
    sizes = {"source_size": K_X, "target_size": K_Y, "alignment": A, **SIZES}
    with pytest.raises(ValueError, match=name):
        RNNsearch(**{**sizes, name: -1})


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="even number of entries to pair, got 3"):
        maxout(torch.ones(3))
    with pytest.raises(TypeError, match="context=0"):
        GatedUnit(2, 3).read_context(torch.ones(1, 2))


# --- mutants: what the checks above must see --------------------------------------------------------------------------


def torchs_gate(read, state, read_context=None):
    """The update gate of torch.nn.GRU: 1 keeps the old state."""
    unit = torchs_gate.unit
    new = GatedUnit.forward(unit, read, state, read_context)
    added = read if read_context is None else read + read_context
    z = torch.sigmoid(added[..., :N] + state @ unit.gates_recurrent[:N].T)
    return new + (1 - 2 * z) * ((new - (1 - z) * state) / z - state)


def one_too_late(model):
    """Deep output from the new state instead of the old one."""

    def forward(*arguments):
        source, mask, target_in = arguments
        encoded = model.encode(source, mask)
        state, logits, weights = encoded.state, [], []
        for t in range(T_Y):
            step = model.step(target_in[:, t], state, encoded)
            state = step.state
            embedded = model.target_embedding(target_in[:, t])
            logits.append(model._logits(state, embedded, step.context))
            weights.append(step.weights)
        return type(model(*arguments))(torch.stack(logits, 1), torch.stack(weights, 1))

    return forward


def test_the_check_rejects_torchs_gate(monkeypatch):
    model = searching()
    check_value(model, model(*sentences()))
    torchs_gate.unit = model.unit
    monkeypatch.setattr(model.unit, "forward", torchs_gate)
    with pytest.raises(AssertionError):
        check_value(model, model(*sentences()))


def test_the_check_rejects_an_output_that_sees_the_new_state():
    model = searching()
    with pytest.raises(AssertionError):
        check_value(model, one_too_late(model)(*sentences()))


def test_the_check_rejects_an_alignment_that_sees_the_padding(monkeypatch):
    model = searching()

    def look(state, encoded):
        return RNNsearch._look(model, state, encoded._replace(mask=torch.ones_like(encoded.mask)))

    monkeypatch.setattr(model, "_look", look)
    with pytest.raises(AssertionError):
        check_value(model, model(*sentences()))


def test_encoded_is_what_a_search_repeats():
    """Every part of Encoded but an absent one has the batch first."""
    encoded = searching().encode(*sentences()[:2])
    assert isinstance(encoded, Encoded)
    assert {part.shape[0] for part in encoded} == {2}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@both
def test_autocast(make, dtype, device):
    """Forward and backward in half precision: near single precision."""
    model = make().float().to(device)
    source = torch.randint(3, K_X, (3, T_X), device=device)
    mask = torch.arange(T_X, device=device) < torch.tensor([[T_X], [2], [4]], device=device)
    target = torch.randint(3, K_Y, (3, T_Y), device=device)
    wanted = model(source, mask, target)
    with torch.autocast(device.type, dtype=dtype):
        found = model(source, mask, target)
    torch.testing.assert_close(found.logits.float(), wanted.logits, atol=0.5, rtol=0.1)
    torch.testing.assert_close(found.weights.float(), wanted.weights, atol=0.1, rtol=0)
    found.logits.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_unit_runs_under_autocast(dtype):
    unit, inputs = GatedUnit(2, 3), torch.randn(1, 4, 2)
    mask = torch.ones(1, 4, dtype=torch.bool)
    with torch.autocast("cpu", dtype=dtype):
        states = unit.run(inputs, mask)
    torch.testing.assert_close(states.float(), unit.run(inputs, mask), atol=0.02, rtol=0)
