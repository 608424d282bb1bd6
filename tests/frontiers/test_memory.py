"""The heads of a Turing machine and the machine: against loops, golden values, edges, huge numbers, bad input."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from checks import close, randn
from oracles import inner, rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend, scores
from attnlib.frontiers.memory import Heads, address, content_weights, interpolated, read, sharpened, shifted, write
from attnlib.frontiers.turing_machine import FeedForward, LongShortTerm, TuringMachine

BATCH, HEAD, ROW, SIZE, STEP = 2, 3, 7, 5, 3
INF = math.inf

# --- the oracles: plain loops from the paper's Eq. 2 to 9 -------------------------------------------------------------


def content_loop(key, memory, strength):
    def cosine(u, v):
        lengths = math.sqrt(sum(x * x for x in u)) * math.sqrt(sum(x * x for x in v))
        return sum(x * y for x, y in zip(u, v, strict=True)) / lengths if lengths else 0.0

    raised = [math.exp(strength * cosine(key, row)) for row in memory]
    return [part / sum(raised) for part in raised]


def gate_loop(content, previous, gate):
    return [gate * new + (1 - gate) * old for new, old in zip(content, previous, strict=True)]


def shift_loop(weights, shift, steps):
    n = len(weights)
    s = [0.0] * n  # s(d), of steps modulo the rows
    for share, step in zip(shift, steps, strict=True):
        s[step % n] += share
    return [sum(weights[j] * s[(i - j) % n] for j in range(n)) for i in range(n)]


def sharpen_loop(weights, gamma):
    raised = [weight**gamma for weight in weights]
    return [part / sum(raised) for part in raised]


def address_loop(head, memory, previous):
    key, strength, gate, shift, gamma = head
    reach = len(shift) // 2
    content = content_loop(key, memory, strength)
    gated = gate_loop(content, previous, gate)
    moved = shift_loop(gated, shift, range(-reach, reach + 1))
    return [content, gated, moved, sharpen_loop(moved, gamma)]


def read_loop(memory, weights):
    return [sum(weights[i] * memory[i][m] for i in range(len(memory))) for m in range(len(memory[0]))]


def write_loop(memory, weights, erase, add):
    """All heads erase, then all add."""
    memory = [list(row) for row in memory]
    for i, m in itertools.product(range(len(memory)), range(len(memory[0]))):
        for w, e in zip(weights, erase, strict=True):
            memory[i][m] *= 1 - w[i] * e[m]
        for w, a in zip(weights, add, strict=True):
            memory[i][m] += w[i] * a[m]
    return memory


def some_heads():
    return Heads(
        randn(BATCH, HEAD, SIZE),
        randn(BATCH, HEAD, seed=1).exp(),
        randn(BATCH, HEAD, seed=2).sigmoid(),
        randn(BATCH, HEAD, STEP, seed=3).softmax(-1),
        1 + randn(BATCH, HEAD, seed=4).exp(),
    )


def weighting(*shape, seed=5):
    return (2 * randn(*shape, seed=seed)).softmax(-1)


def leaves(*tensors):
    return tuple(part.detach().clone().requires_grad_() for part in tensors)


MEMORY, PREVIOUS = randn(BATCH, ROW, SIZE, seed=6), weighting(BATCH, HEAD, ROW)
ERASE, ADD = randn(BATCH, HEAD, SIZE, seed=7).sigmoid(), randn(BATCH, HEAD, SIZE, seed=8)


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_content(function):
    heads, memory = some_heads(), MEMORY.clone()
    memory[0, 2], heads.key[1, 1] = 0, 0
    found = function(heads.key, memory, heads.strength)
    for b, h in itertools.product(range(BATCH), range(HEAD)):
        wanted = content_loop(rows(heads.key[b, h]), rows(memory[b]), heads.strength[b, h].item())
        close(found[b, h], tensor(wanted))


def check_interpolated(function):
    content, gate = weighting(BATCH, HEAD, ROW, seed=9), some_heads().gate
    found = function(content, PREVIOUS, gate)
    for b, h in itertools.product(range(BATCH), range(HEAD)):
        close(found[b, h], tensor(gate_loop(rows(content[b, h]), rows(PREVIOUS[b, h]), gate[b, h].item())))


def check_shift(function):
    shift = some_heads().shift
    found = function(PREVIOUS, shift)
    for b, h in itertools.product(range(BATCH), range(HEAD)):
        close(found[b, h], tensor(shift_loop(rows(PREVIOUS[b, h]), rows(shift[b, h]), (-1, 0, 1))))


def check_shift_golden(function):
    """The paper's own example, and that a step of 1 goes to the next row, from the last to the first."""
    one_hot = torch.eye(5, dtype=torch.float64)
    close(function(one_hot[2], tensor([0.1, 0.8, 0.1])), tensor([0, 0.1, 0.8, 0.1, 0]))
    close(function(one_hot[2], tensor([0.0, 0.0, 1.0])), one_hot[3])
    close(function(one_hot[4], tensor([0.0, 0.3, 0.7])), tensor([0.7, 0, 0, 0, 0.3]))
    close(function(one_hot[0], tensor([1.0, 0.0, 0.0])), one_hot[4])


def check_sharpened(function):
    gamma = some_heads().sharpness
    found = function(PREVIOUS, gamma)
    for b, h in itertools.product(range(BATCH), range(HEAD)):
        close(found[b, h], tensor(sharpen_loop(rows(PREVIOUS[b, h]), gamma[b, h].item())))
    golden = function(tensor([0, 0.1, 0.8, 0.1, 0]), tensor(2.0))
    torch.testing.assert_close(golden, tensor([0, 0.0152, 0.9697, 0.0152, 0]), rtol=0, atol=5e-5)


def check_sharpened_is_finite(function):
    """Huge powers of small weights, and what their gradients come to."""
    for gamma, n in itertools.product((1.0, 50.0, 1e3, 1e6), (1, 128, 100_000)):
        weights = torch.full((n,), 1 / n)
        weights[0] *= 1.5
        weights, gamma = leaves(weights, torch.tensor(gamma))
        found = function(weights, gamma)
        assert found.sum().item() == pytest.approx(1, abs=1e-4)
        slopes = torch.autograd.grad(found.square().sum(), (weights, gamma))
        assert all(slope.isfinite().all() for slope in (found, *slopes))


def check_read(function):
    found = function(MEMORY, PREVIOUS)
    for b, h in itertools.product(range(BATCH), range(HEAD)):
        close(found[b, h], tensor(read_loop(rows(MEMORY[b]), rows(PREVIOUS[b, h]))))


def check_write(function):
    found = function(MEMORY, PREVIOUS, erase=ERASE, add=ADD)
    for b in range(BATCH):
        wanted = write_loop(*(rows(part[b]) for part in (MEMORY, PREVIOUS, ERASE, ADD)))
        close(found[b], tensor(wanted))


def check_overwrites(function):
    """With a sharp head and a full erasure there stands what was added, and all else as it was."""
    sharp = torch.eye(ROW, dtype=torch.float64)[2:3]
    found = function(MEMORY[0], sharp, erase=torch.ones(1, SIZE, dtype=torch.float64), add=ADD[0, :1])
    close(found[2], ADD[0, 0])
    close(found[[0, 1, 3, 4, 5, 6]], MEMORY[0, [0, 1, 3, 4, 5, 6]])


CHECKS = [
    (check_content, content_weights),
    (check_interpolated, interpolated),
    (check_shift, shifted),
    (check_shift_golden, shifted),
    (check_sharpened, sharpened),
    (check_sharpened_is_finite, sharpened),
    (check_read, read),
    (check_write, write),
    (check_overwrites, write),
]


@pytest.mark.parametrize(("check", "function"), CHECKS)
def test_right(check, function):
    check(function)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def correlation(weights, shift):
    """What ``conv1d`` gives: it goes the other way."""
    reach = shift.shape[-1] // 2
    flat = torch.cat([weights[..., -reach:], weights, weights[..., :reach]], -1).reshape(1, -1, weights.shape[-1] + 2)
    kernel = shift.reshape(-1, 1, shift.shape[-1])
    return F.conv1d(flat, kernel, groups=len(kernel)).reshape(weights.shape)


def falls_off_the_end(weights, shift):
    """No neighbour for the last row."""
    padded = F.pad(weights, (1, 1))
    return sum(shift[..., n, None] * padded.roll(n - 1, -1)[..., 1:-1] for n in range(3))


def sharpened_plainly(weights, gamma):
    raised = weights ** gamma.unsqueeze(-1)
    return raised / raised.sum(-1, keepdim=True)


def sharpened_with_eps(weights, gamma):
    raised = weights ** gamma.unsqueeze(-1)
    return raised / (raised.sum(-1, keepdim=True) + 1e-16)


def sharpened_by_softmax(weights, gamma):
    return (gamma.unsqueeze(-1) * weights).softmax(-1)


def sharpened_by_logarithm(weights, gamma):
    """Of a nought too."""
    return (gamma.unsqueeze(-1) * weights.log()).log_softmax(-1).exp() * weights / weights


def inner_product(key, memory, strength):
    return (strength.unsqueeze(-1) * (key @ memory.mT)).softmax(-1)


def over_heads(key, memory, strength):
    return (strength.unsqueeze(-1) * scores.similarity(key, memory)).softmax(-2)


def no_strength(key, memory, strength):
    return scores.similarity(key, memory).softmax(-1)


def no_zeros(key, memory, strength):
    cosines = key @ memory.mT / (key.norm(dim=-1, keepdim=True) * memory.norm(dim=-1).unsqueeze(-2))
    return (strength.unsqueeze(-1) * cosines).softmax(-1)


def add_first(memory, weights, *, erase, add):
    return write(memory + weights.mT @ add, weights, erase=erase, add=0 * add)


def one_head_after_another(memory, weights, *, erase, add):
    for h in range(weights.shape[-2]):
        one = slice(h, h + 1)
        memory = write(memory, weights[..., one, :], erase=erase[..., one, :], add=add[..., one, :])
    return memory


def never_erases(memory, weights, *, erase, add):
    return memory + weights.mT @ add


def erasures_added_up(memory, weights, *, erase, add):
    return memory * (1 - weights.mT @ erase) + weights.mT @ add


MUTANTS = {
    "correlation": (correlation, check_shift),
    "correlation, by hand": (correlation, check_shift_golden),
    "the last row has no neighbour": (falls_off_the_end, check_shift),
    "sharpened plainly": (sharpened_plainly, check_sharpened_is_finite),
    "sharpened with eps": (sharpened_with_eps, check_sharpened_is_finite),
    "sharpened by a softmax": (sharpened_by_softmax, check_sharpened),
    "sharpened by a logarithm of nought": (sharpened_by_logarithm, check_sharpened),
    "inner product": (inner_product, check_content),
    "softmax over the heads": (over_heads, check_content),
    "no strength": (no_strength, check_content),
    "no direction, NaN": (no_zeros, check_content),
    "gate the other way": (lambda new, old, gate: interpolated(old, new, gate), check_interpolated),
    "add before erase": (add_first, check_write),
    "add before erase, by hand": (add_first, check_overwrites),
    "one head after another": (one_head_after_another, check_write),
    "never erases": (never_erases, check_overwrites),
    "erasures added up": (erasures_added_up, check_write),
    "mean of rows": (lambda memory, weights: read(memory, weights) / ROW, check_read),
}


@pytest.mark.parametrize(("mutant", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant, check):
    with pytest.raises(AssertionError):
        check(mutant)


# --- values -----------------------------------------------------------------------------------------------------------


def test_address_is_the_four_steps():
    heads = some_heads()
    found = address(heads, MEMORY, PREVIOUS)
    for b, h in itertools.product(range(BATCH), range(HEAD)):
        head = [rows(part[b, h]) for part in heads]
        wanted = address_loop(head, rows(MEMORY[b]), rows(PREVIOUS[b, h]))
        for part, loop in zip(found, wanted, strict=True):
            close(part[b, h], tensor(loop))


@pytest.mark.parametrize(
    ("rows_", "steps"), [(1, None), (2, None), (1, (0, 1)), (7, (-9, 0, 4, 20)), (7, (3,)), (5, (1,))]
)
def test_steps_go_round(rows_, steps):
    taken = (-1, 0, 1) if steps is None else steps
    weights, shift = weighting(rows_), randn(len(taken)).softmax(-1)
    close(shifted(weights, shift, steps=steps), tensor(shift_loop(rows(weights), rows(shift), taken)))


def test_content_weights_are_attention_with_a_temperature():
    heads = some_heads()
    strength = heads.strength[:, :1].expand(BATCH, HEAD)
    for b in range(BATCH):
        found = attend(heads.key[b], MEMORY[b], score=lambda q, k, b=b: scores.similarity(q, k) * strength[b, 0])
        close(content_weights(heads.key, MEMORY, strength)[b], found.weights)
        close(read(MEMORY, content_weights(heads.key, MEMORY, strength))[b], found.context)


def test_a_great_strength_finds_a_row_whole():
    found = content_weights(3 * MEMORY[:, 4:5], MEMORY, torch.tensor([[1e4], [1e4]], dtype=torch.float64))
    close(read(MEMORY, found), MEMORY[:, 4:5])
    alike = content_weights(MEMORY[:, 4:5], MEMORY, torch.zeros(BATCH, 1, dtype=torch.float64))
    close(alike, torch.full((BATCH, 1, ROW), 1 / ROW, dtype=torch.float64))


def test_zero_rows_and_zero_keys_are_as_right_angles():
    key, memory = (torch.zeros(n, SIZE, dtype=torch.float64) for n in (1, ROW))
    alike = torch.full((1, ROW), 1 / ROW, dtype=torch.float64)
    close(content_weights(key, MEMORY[0], tensor([4.0])), alike)
    close(content_weights(MEMORY[0, :1], memory, tensor([4.0])), alike)
    given = leaves(key, memory, tensor([4.0]))
    slopes = torch.autograd.grad(content_weights(*given).square().sum(), given)
    assert all((slope == 0).all() for slope in slopes)


def test_a_closed_gate_and_no_step_leave_the_head_where_it_was():
    heads = some_heads()
    still = Heads(
        heads.key, heads.strength, 0 * heads.gate, tensor([0.0, 1.0, 0.0]).expand(BATCH, HEAD, 3), 0 * heads.gate + 1
    )
    close(address(still, MEMORY, PREVIOUS).weights, PREVIOUS)


def test_a_memory_of_one_row():
    heads, one = some_heads(), MEMORY[:, :1]
    found = address(heads, one, torch.ones(BATCH, HEAD, 1, dtype=torch.float64))
    for part in found:
        close(part, torch.ones(BATCH, HEAD, 1, dtype=torch.float64))
    close(read(one, found.weights), one.expand(BATCH, HEAD, SIZE))


def test_weightings_stay_weightings():
    """Over many steps, with sharp and blunt heads."""
    weights = PREVIOUS
    for seed in range(50):
        heads = Heads(*(randn(BATCH, HEAD, SIZE, seed=seed), *some_heads()[1:]))
        weights = address(heads, MEMORY, weights).weights
        close(weights.sum(-1), torch.ones(BATCH, HEAD, dtype=torch.float64))
        assert (weights >= 0).all()


def test_without_a_head_a_memory_stays_as_it_is():
    none = torch.zeros(BATCH, 0, SIZE, dtype=torch.float64)
    close(write(MEMORY, torch.zeros(BATCH, 0, ROW, dtype=torch.float64), erase=none, add=none), MEMORY)


def test_gradients():
    heads = some_heads()
    small = 0.5 + 0.5 * PREVIOUS  # away from noughts, at which powers have no second derivative

    def whole(key, strength, gate, shift, gamma, memory, previous):
        return address(Heads(key, strength, gate, shift, gamma), memory, previous).weights

    def written(memory, weights, erase, add):
        return write(memory, weights, erase=erase, add=add)

    for check in (gradcheck, gradgradcheck):  # along random directions: all of them take half a minute
        assert check(whole, leaves(*heads, MEMORY, PREVIOUS), fast_mode=True)
        assert check(sharpened, leaves(small, heads.sharpness), fast_mode=True)
        assert check(written, leaves(MEMORY, PREVIOUS, ERASE, ADD), fast_mode=True)
        assert check(read, leaves(MEMORY, PREVIOUS), fast_mode=True)


def test_the_gradient_of_a_nought():
    """Of a weight of nought and the power 1 too: there the derivative is not nought."""
    for gamma in (1.0, 1.5, 3.0):
        weights, power = leaves(tensor([0.0, 0.25, 0.75]), tensor(gamma))
        found = sharpened(weights, power)[1]
        slopes = torch.autograd.grad(found, (weights, power))
        h = 1e-6
        moved = sharpened(weights.detach() + h * tensor([1.0, 0.0, 0.0]), power.detach())[1]
        assert slopes[0][0].item() == pytest.approx((moved - found).item() / h, abs=2e-3)
        assert slopes[1].isfinite()
    assert (sharpened(torch.zeros(3), torch.tensor(2.0)) == 0).all()
    assert sharpened(torch.tensor([math.nan, 1.0]), torch.tensor(2.0)).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_precisions(dtype):
    def lower(tensors):
        return [part.to(dtype) for part in tensors]

    heads, memory, previous = Heads(*lower(some_heads())), MEMORY.to(dtype), PREVIOUS.to(dtype)
    found = address(heads, memory, previous)
    exact = address(Heads(*(part.double() for part in heads)), memory.double(), previous.double())
    for part, wanted in zip(found, exact, strict=True):
        assert part.dtype == dtype
        torch.testing.assert_close(part.double(), wanted, rtol=0, atol=2e-2 if dtype == torch.bfloat16 else 3e-3)
    written = write(memory, found.weights, erase=ERASE.to(dtype), add=ADD.to(dtype))
    assert written.dtype == read(memory, found.weights).dtype == dtype


def test_leading_dimensions_broadcast():
    heads = Heads(*(part[0] for part in some_heads()))
    found = content_weights(heads.key, MEMORY, heads.strength)
    assert found.shape == (BATCH, HEAD, ROW)
    close(found[1], content_weights(heads.key, MEMORY[1], heads.strength))
    assert read(MEMORY, PREVIOUS[0]).shape == (BATCH, HEAD, SIZE)
    assert write(MEMORY[0], PREVIOUS, erase=ERASE, add=ADD[0]).shape == (BATCH, ROW, SIZE)


def test_nothing_is_changed():
    heads = some_heads()
    before = [part.clone() for part in (*heads, MEMORY, PREVIOUS, ERASE, ADD)]
    address(heads, MEMORY, PREVIOUS), write(MEMORY, PREVIOUS, erase=ERASE, add=ADD)
    assert all(torch.equal(*pair) for pair in zip(before, (*heads, MEMORY, PREVIOUS, ERASE, ADD), strict=True))


def test_models_side_by_side(unchecked):
    """Under vmap, where nobody may look: what is out of range is NaN there."""
    heads = some_heads()
    each = torch.func.vmap(lambda *parts: address(Heads(*parts[:5]), *parts[5:]).weights)
    close(each(*heads, MEMORY, PREVIOUS), address(heads, MEMORY, PREVIOUS).weights)
    assert each(*heads[:4], heads.sharpness - 2, MEMORY, PREVIOUS).isnan().any()


# --- the machine ------------------------------------------------------------------------------------------------------


def machine(controller=FeedForward, **options):
    sizes = {"rows": ROW, "size": SIZE, "hidden": 13, "readers": 2, "writers": 3, "reach": 1}
    made = TuringMachine(4, 3, controller=controller, **(sizes | options)).double()
    for n, parameter in enumerate(made.parameters()):
        parameter.data = randn(*parameter.shape, seed=n) / 2
    return made


both = pytest.mark.parametrize("controller", [FeedForward, LongShortTerm])


def machine_loop(made, inputs):
    """One sequence, from the paper's section 3, with the order of a step as the class says it."""

    def affine(layer, x):
        bias = rows(layer.bias)
        return [
            sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(rows(layer.weight), bias, strict=True)
        ]

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    def plus(x):
        return math.log1p(math.exp(x))

    def controller(x, kept):
        if isinstance(made.controller, FeedForward):
            return [math.tanh(a) for a in affine(made.controller.layer, x)], kept
        cell, n = made.controller.cell, made.controller.hidden
        hidden, memory = kept
        gates = [0.0] * (4 * n)
        for weight, bias, v in ((cell.weight_ih, cell.bias_ih, x), (cell.weight_hh, cell.bias_hh, hidden)):
            for k, (row, b) in enumerate(zip(rows(weight), rows(bias), strict=True)):
                gates[k] += inner(row, v) + b
        memory = [sigmoid(gates[n + k]) * memory[k] + sigmoid(gates[k]) * math.tanh(gates[2 * n + k]) for k in range(n)]
        hidden = [sigmoid(gates[3 * n + k]) * math.tanh(memory[k]) for k in range(n)]
        return hidden, (hidden, memory)

    n_read, n_write, n, m = made.readers, made.writers, made.rows, made.size
    memory = [[1e-6] * m for _ in range(n)]
    weights = [[1.0] + [0.0] * (n - 1) for _ in range(n_read + n_write)]
    reads = [read_loop(memory, weights[h]) for h in range(n_read)]
    kept = ([0.0] * made.controller.hidden,) * 2
    outputs, every = [], []
    for x in inputs:
        said, kept = controller(list(x) + [a for r in reads for a in r], kept)
        told, wide = affine(made.heads, said), m + 3 + 2 * made.reach + 1
        for h in range(n_read + n_write):
            part = told[h * wide : (h + 1) * wide]
            raised = [math.exp(a) for a in part[m + 2 : -1]]
            shift = [a / sum(raised) for a in raised]
            head = part[:m], plus(part[m]), sigmoid(part[m + 1]), shift, 1 + plus(part[-1])
            weights[h] = address_loop(head, memory, weights[h])[-1]
        written = affine(made.writing, said)
        erase = [[sigmoid(a) for a in written[2 * m * h : 2 * m * h + m]] for h in range(n_write)]
        add = [written[2 * m * h + m : 2 * m * (h + 1)] for h in range(n_write)]
        memory = write_loop(memory, weights[n_read:], erase, add)
        reads = [read_loop(memory, weights[h]) for h in range(n_read)]
        outputs.append(affine(made.output, said + [a for r in reads for a in r]))
        every.append([list(w) for w in weights])
    return outputs, every, memory


@both
def test_the_machine_is_the_loop(controller):
    made, inputs = machine(controller), randn(BATCH, 6, 4)
    ran = made(inputs)
    for b in range(BATCH):
        outputs, weights, memory = machine_loop(made, rows(inputs[b]))
        close(ran.output[b], tensor(outputs))
        close(ran.weights[b], tensor(weights))
        close(ran.state.memory[b], tensor(memory))


@both
def test_a_run_goes_on_where_another_ended(controller):
    made, inputs = machine(controller), randn(BATCH, 7, 4)
    whole, first = made(inputs), made(inputs[:, :3])
    second = made(inputs[:, 3:], first.state)
    close(torch.cat([first.output, second.output], 1), whole.output)
    close(second.state.memory, whole.state.memory)
    alone = made(inputs[1:])
    close(alone.output[0], whole.output[1])


@both
def test_every_parameter_learns(controller):
    made = machine(controller)
    made(randn(BATCH, 5, 4)).output.square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@both
@pytest.mark.parametrize(("rows_", "reach"), [(1, 0), (1, 1), (2, 3), (7, 0)])
def test_small_memories_and_long_steps(controller, rows_, reach):
    ran = machine(controller, rows=rows_, reach=reach)(randn(BATCH, 5, 4))
    assert ran.output.isfinite().all()
    close(ran.weights.sum(-1), torch.ones(BATCH, 5, 5, dtype=torch.float64))


def test_machines_side_by_side():
    made = [TuringMachine(4, 3, rows=ROW, size=SIZE, hidden=13) for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(made)
    inputs = randn(2, BATCH, 5, 4, dtype=torch.float32)

    def outputs(state, x):
        return torch.func.functional_call(made[0], (state, buffers), (x,)).output

    found = torch.func.vmap(outputs)(parameters, inputs)
    for n in range(2):
        torch.testing.assert_close(found[n], made[n](inputs[n]).output)


def test_what_happens_later_changes_nothing_before():
    made, inputs = machine(LongShortTerm), randn(BATCH, 6, 4)
    changed = inputs.clone()
    changed[:, 4:] += 1
    close(made(changed).output[:, :4], made(inputs).output[:, :4])
    assert not torch.allclose(made(changed).output[:, 4:], made(inputs).output[:, 4:])


# --- bad input --------------------------------------------------------------------------------------------------------

HEADS, LESS = some_heads(), MEMORY[:, 1:]
BAD = [
    (
        lambda: content_weights(HEADS.key, MEMORY[:, :0], HEADS.strength),
        ValueError,
        "memory must have at least one row",
    ),
    (lambda: content_weights(HEADS.key, MEMORY, -HEADS.strength), ValueError, "strength must be .* at least 0, got -"),
    (lambda: content_weights(HEADS.key, MEMORY, HEADS.strength * INF), ValueError, "strength must be a finite number"),
    (
        lambda: content_weights(HEADS.key[..., 1:], MEMORY, HEADS.strength),
        ValueError,
        "key has d_k=5 but query has d_k=4",
    ),
    (lambda: content_weights(HEADS.key.long(), MEMORY, HEADS.strength), TypeError, "key must be floating point, got"),
    (lambda: interpolated(PREVIOUS, PREVIOUS, HEADS.gate + 1), ValueError, "gate must be from 0 to 1, got 1"),
    (lambda: interpolated(PREVIOUS, PREVIOUS, HEADS.gate - 1), ValueError, "gate must be from 0 to 1, got -"),
    (lambda: shifted(PREVIOUS, HEADS.shift[..., :0]), ValueError, "shift must have an odd number of columns.*got 0"),
    (lambda: shifted(PREVIOUS, HEADS.shift[..., :0], steps=()), ValueError, "one at least, got 0"),
    (lambda: shifted(PREVIOUS, HEADS.shift[..., :2]), ValueError, "shift must have an odd number of columns.*got 2"),
    (lambda: shifted(PREVIOUS, HEADS.shift, steps=(0, 1)), ValueError, "a column for each step.*got 3 for 2"),
    (lambda: shifted(PREVIOUS[..., :0], HEADS.shift), ValueError, "weights must have at least one row"),
    (lambda: sharpened(PREVIOUS, HEADS.sharpness - 1), ValueError, "sharpness must be a finite number of at least 1"),
    (lambda: sharpened(PREVIOUS, HEADS.sharpness * INF), ValueError, "sharpness must be .* got inf"),
    (lambda: sharpened(PREVIOUS[..., :0], HEADS.sharpness), ValueError, "weights must have at least one row"),
    (lambda: read(LESS, PREVIOUS), ValueError, "weights are over 7 rows but memory has 6"),
    (
        lambda: write(LESS, PREVIOUS, erase=ERASE, add=ADD),
        ValueError,
        "weights are over 7 rows but memory has 6",
    ),
    (lambda: write(MEMORY, PREVIOUS, erase=ERASE + 1, add=ADD), ValueError, "erase must be from 0 to 1, got 1"),
    (
        lambda: content_weights(HEADS.key, MEMORY, HEADS.strength[..., None]),
        ValueError,
        "strength must be one number",
    ),
    (lambda: interpolated(PREVIOUS, PREVIOUS[..., 1:], HEADS.gate), ValueError, "previous is over 6 rows but content"),
    (lambda: interpolated(PREVIOUS, PREVIOUS, HEADS.gate[..., None]), ValueError, "gate must be one number for each"),
    (lambda: interpolated(PREVIOUS, PREVIOUS, 0.5), TypeError, "gate must be a tensor, got float"),
    (lambda: sharpened(PREVIOUS, HEADS.sharpness[..., None]), ValueError, "sharpness must be one number for each"),
    (lambda: write(MEMORY, PREVIOUS, erase=ERASE[..., 1:], add=ADD), ValueError, "erase must have shape .* got"),
    (lambda: write(MEMORY, PREVIOUS, erase=ERASE, add=ADD[..., :1, :]), ValueError, "add must have shape .* got"),
    (lambda: machine(rows=0), ValueError, "rows must be at least 1, got 0"),
    (lambda: machine(readers=0), ValueError, "readers must be at least 1, got 0"),
    (lambda: machine(writers=0), ValueError, "writers must be at least 1, got 0"),
    (lambda: machine(reach=-1), ValueError, "reach must be at least 0, got -1"),
    (lambda: machine()(randn(BATCH, 0, 4)), ValueError, "inputs must have at least one step"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_nan_is_let_through():
    assert sharpened(PREVIOUS, HEADS.sharpness * math.nan).isnan().all()
    assert interpolated(PREVIOUS, PREVIOUS, HEADS.gate * math.nan).isnan().all()
