"""Selection without a query: bits, maxima and gates against loops and torch, known wrong versions, bad input."""

import functools
import itertools
import math

import pytest
import torch
from checks import close, leaf, randn
from torch.autograd import gradcheck, gradgradcheck

from attnlib.brain.bottleneck import entropy_in_bits, lstm_step, max_pool, mutual_information

# --- the oracles: plain loops from the equations ----------------------------------------------------------------------


def mutual_information_loop(table):
    total = sum(map(sum, table))
    rows = [sum(row) / total for row in table]
    columns = [sum(column) / total for column in zip(*table, strict=True)]
    bits = 0.0
    for row, p_x in zip(table, rows, strict=True):
        for number, p_y in zip(row, columns, strict=True):
            if number:
                bits += number / total * math.log2(number / total / (p_x * p_y))
    return bits


def max_pool_loop(field, size, stride):
    """For each window its largest value and the place of it, the first of equal ones."""
    found = []
    for i in range(0, len(field) - size + 1, stride):
        line = []
        for j in range(0, len(field[0]) - size + 1, stride):
            window = [field[i + a][j + b] for a in range(size) for b in range(size)]
            line.append((max(window), window.index(max(window))))
        found.append(line)
    return found


BATCH, HEIGHT, WIDTH = 3, 7, 11
INPUTS, HIDDEN = 5, 3


def a_table(*shape, seed=0):
    """Counts, some of them nought."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 7, shape or (BATCH, 5, 7), generator=generator).double()


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_mutual_information(function):
    table = a_table()
    for got, want in zip(function(table), table.tolist(), strict=True):
        close(got, torch.tensor(mutual_information_loop(want), dtype=torch.float64))
    close(function(torch.eye(8).double()), torch.tensor(3.0, dtype=torch.float64))
    alone = torch.rand(5, 1, dtype=torch.float64) @ torch.rand(1, 7, dtype=torch.float64)
    close(function(alone), torch.tensor(0.0, dtype=torch.float64))


def check_max_pool(function):
    """Values, places and weights of the loop, and torch's value and gradient; with equal values in the windows."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(-4, 5, (2, BATCH, HEIGHT, WIDTH), generator=generator).double().requires_grad_()
    for size, stride in ((2, None), (3, 1), (2, 3), (3, 2), (1, 1), (7, None)):
        found = function(image, size, stride=stride)
        wanted = torch.nn.functional.max_pool2d(image, size, stride)
        close(found.context, wanted)
        given = randn(*wanted.shape)
        (got,) = torch.autograd.grad((found.context * given).sum(), image)
        close(got, torch.autograd.grad((wanted * given).sum(), image)[0])
        for a, b in itertools.product(range(2), range(BATCH)):
            loop = max_pool_loop(image[a, b].tolist(), size, stride or size)
            assert found.position[a, b].tolist() == [[place for _, place in line] for line in loop]
        windows = image.detach().unfold(-2, size, stride or size).unfold(-2, size, stride or size).flatten(-2)
        close((found.weights * windows).sum(-1), found.context.detach())
        close(found.weights.sum(-1), torch.ones_like(wanted.detach()))
        assert ((found.weights == 0) | (found.weights == 1)).all()


def cell_and_parameters():
    torch.manual_seed(0)
    cell = torch.nn.LSTMCell(INPUTS, HIDDEN, dtype=torch.float64)
    options = {
        "input_weight": cell.weight_ih,
        "hidden_weight": cell.weight_hh,
        "bias": cell.bias_ih + cell.bias_hh,
    }
    return cell, options, (randn(BATCH, INPUTS), randn(BATCH, HIDDEN, seed=1), randn(BATCH, HIDDEN, seed=2))


def check_lstm(function):
    cell, options, (inputs, hidden, memory) = cell_and_parameters()
    found = function(inputs, hidden, memory, **options)
    wanted = cell(inputs, (hidden, memory))
    close(found.hidden, wanted[0])
    close(found.cell, wanted[1])
    close(found.forget_gate * memory + found.input_gate * found.candidate, found.cell)
    close(found.output_gate * found.cell.tanh(), found.hidden)
    for gate in (found.input_gate, found.forget_gate, found.output_gate):
        assert ((gate > 0) & (gate < 1)).all()


@pytest.mark.parametrize(
    ("check", "function"),
    [(check_mutual_information, mutual_information), (check_max_pool, max_pool), (check_lstm, lstm_step)],
)
def test_value(check, function):
    check(function)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def joint_entropy(table):
    both = table / table.sum((-2, -1), keepdim=True)
    return -torch.where(both > 0, both * both.clamp(min=1e-300).log2(), 0).sum((-2, -1))


def not_normalised(table):
    apart = table.sum(-1, keepdim=True) * table.sum(-2, keepdim=True)
    return torch.where(table > 0, table * (table / apart).clamp(min=1e-300).log2(), 0).sum((-2, -1))


def pooled_by_mean(image, size, *, stride=None):
    found = max_pool(image, size, stride=stride)
    return found._replace(context=torch.nn.functional.avg_pool2d(image, size, stride))


def last_of_equal(image, size, *, stride=None):
    """The largest of equal values is made the last by a trifle."""
    places = torch.arange(image[0, 0].numel()).view(image.shape[-2:])
    found = max_pool(image + 1e-13 * places, size, stride=stride)
    return found._replace(context=max_pool(image, size, stride=stride).context)


def all_of_equal(image, size, *, stride=None):
    found = max_pool(image, size, stride=stride)
    windows = image.unfold(-2, size, stride or size).unfold(-2, size, stride or size).flatten(-2)
    return found._replace(weights=(windows == found.context.unsqueeze(-1)).double())


def no_gradient(image, size, *, stride=None):
    found = max_pool(image, size, stride=stride)
    return found._replace(context=found.context.detach() + 0 * image.sum())


def lstm_of(order=None, **changes):
    """The step with the rows of its gates in another order, or another part replaced."""

    def mutant(inputs, hidden, memory, **options):
        if order:
            options = {name: torch.cat([part.chunk(4)[k] for k in order]) for name, part in options.items()}
        found = lstm_step(inputs, hidden, memory, **options)
        return found._replace(**{name: change(found, memory) for name, change in changes.items()})

    return mutant


MUTANTS = {
    "in nats": (check_mutual_information, lambda table: mutual_information(table) * math.log(2)),
    "the entropy of the pairs": (check_mutual_information, joint_entropy),
    "counts taken for probabilities": (check_mutual_information, not_normalised),
    "over the batch": (
        check_mutual_information,
        lambda table: mutual_information(table.reshape(-1, table.shape[-1])).expand(table.shape[:-2]),
    ),
    "the mean of the window": (check_max_pool, pooled_by_mean),
    "the last of equal ones": (check_max_pool, last_of_equal),
    "all of equal ones": (check_max_pool, all_of_equal),
    "no gradient": (check_max_pool, no_gradient),
    "always stride 1": (check_max_pool, lambda image, size, *, stride=None: max_pool(image, size, stride=1)),
    "forget and input gate exchanged": (check_lstm, lstm_of((1, 0, 2, 3))),
    "candidate and output gate exchanged": (check_lstm, lstm_of((0, 1, 3, 2))),
    "nothing is forgotten": (
        check_lstm,
        lstm_of(cell=lambda found, memory: memory + found.input_gate * found.candidate),
    ),
    "the cell is shown as it is": (check_lstm, lstm_of(hidden=lambda found, memory: found.output_gate * found.cell)),
}


@pytest.mark.parametrize(("check", "mutant"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


# --- bits -------------------------------------------------------------------------------------------------------------


def test_entropy_in_bits():
    weights = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    close(entropy_in_bits(weights), torch.tensor([1.5, 0.0, 0.0], dtype=torch.float64))
    for n in (1, 2, 7, 64):
        close(entropy_in_bits(torch.full((n,), 1 / n, dtype=torch.float64)).exp2(), torch.tensor(float(n)).double())


def test_information_is_what_is_left_of_the_entropies():
    table = a_table() + 0.1
    both = table / table.sum((-2, -1), keepdim=True)
    sides = entropy_in_bits(both.sum(-1)) + entropy_in_bits(both.sum(-2))
    close(mutual_information(table), sides - entropy_in_bits(both.flatten(-2)))
    close(mutual_information(table), mutual_information(table.mT))


def test_a_narrower_passage_lets_less_through():
    """Eight messages through a channel that knows 8, 4, 2 and 1 of them apart: 3, 2, 1 and 0 bits; and noise costs."""
    messages = torch.eye(8, dtype=torch.float64)
    bits = [float(mutual_information(messages.reshape(8, k, 8 // k).sum(-1))) for k in (8, 4, 2, 1)]
    assert bits == pytest.approx([3, 2, 1, 0])
    noisy = [float(mutual_information(messages * (1 - noise) + noise / 8)) for noise in (0.0, 0.1, 0.5, 1.0)]
    assert noisy == sorted(noisy, reverse=True)
    assert noisy[-1] == pytest.approx(0)


def test_information_has_its_gradient_where_a_pair_never_occurs_too():
    assert gradcheck(mutual_information, (torch.rand(2, 3, 5, dtype=torch.float64) + 0.1).requires_grad_())
    table = a_table().requires_grad_()
    mutual_information(table).sum().backward()
    assert table.grad.isfinite().all()


# --- maxima and gates -------------------------------------------------------------------------------------------------


def test_infinity_and_nan_pass_as_in_torch():
    image = torch.tensor([[1.0, -math.inf, math.inf, 2.0], [math.nan, 0.0, -math.inf, 3.0]]).expand(3, 2, 4)
    wanted = torch.nn.functional.max_pool2d(image, 2)
    torch.testing.assert_close(max_pool(image, 2).context, wanted, equal_nan=True)


def test_derivatives():
    assert gradcheck(lambda part: max_pool(part, 2, stride=1).context, leaf(4, 5))
    cell, _, (inputs, hidden, memory) = cell_and_parameters()
    parameters = (cell.weight_ih, cell.weight_hh, cell.bias_ih)

    def run(inputs, hidden, memory, first, second, bias):
        return lstm_step(inputs, hidden, memory, input_weight=first, hidden_weight=second, bias=bias)

    leaves = tuple(part.detach().requires_grad_() for part in (inputs, hidden, memory, *parameters))
    assert gradcheck(run, leaves, fast_mode=True)
    assert gradgradcheck(run, leaves, fast_mode=True)


def test_without_a_forget_gate_all_is_kept():
    """The cell of 1997 is that with a forget gate wide open."""
    _, options, (inputs, hidden, memory) = cell_and_parameters()
    three = {name: torch.cat([part.chunk(4)[k] for k in (0, 2, 3)]) for name, part in options.items()}
    found = lstm_step(inputs, hidden, memory, **three, forget=False)
    assert (found.forget_gate == 1).all()
    open_wide = dict(options, bias=options["bias"].clone())
    open_wide["bias"].data[HIDDEN : 2 * HIDDEN] = 1e3
    wanted = lstm_step(inputs, hidden, memory, **open_wide)
    for got, want in zip(found, wanted, strict=True):
        close(got, want)
    close(found.cell, memory + found.input_gate * found.candidate)


def test_batches_and_each_device(device):
    _, options, parts = cell_and_parameters()
    options = {name: part.to(device) for name, part in options.items()}
    together = lstm_step(*(part.to(device) for part in parts), **options)
    for b in range(BATCH):
        alone = lstm_step(*(part[b].to(device) for part in parts), **options)
        for whole, part in zip(together, alone, strict=True):
            close(whole[b], part)
    image = randn(2, 3, 6, 4).to(device)
    close(max_pool(image, 2).context.cpu(), torch.nn.functional.max_pool2d(image.cpu(), 2))
    close(mutual_information(a_table().to(device)).cpu(), mutual_information(a_table()))


# --- bad input --------------------------------------------------------------------------------------------------------

step = functools.partial(lstm_step, torch.zeros(2), torch.zeros(3), torch.zeros(3))
BAD = {
    "bytes in a table": (lambda: mutual_information(torch.ones(2, 2).byte()), TypeError, "joint must be floating"),
    "a negative number": (lambda: mutual_information(-torch.ones(2, 2)), ValueError, "at least 0"),
    "an empty table": (lambda: mutual_information(torch.zeros(2, 2)), ValueError, "one above 0"),
    "NaN": (lambda: mutual_information(torch.full((2, 2), math.nan)), ValueError, "finite"),
    "a row": (lambda: mutual_information(torch.ones(2)), ValueError, r"\(\*batch, x, y\)"),
    "a window too large": (lambda: max_pool(torch.ones(3, 2), 3), ValueError, r"at least 3 each, got \(3, 2\)"),
    "a window of nothing": (lambda: max_pool(torch.ones(3, 2), 0), ValueError, "size must be at least 1"),
    "half a window": (lambda: max_pool(torch.ones(3, 2), 1.5), TypeError, "size must be a whole number"),
    "no stride": (lambda: max_pool(torch.ones(3, 2), 1, stride=0), ValueError, "stride must be at least 1"),
    "bytes": (lambda: max_pool(torch.ones(3, 2).byte(), 1), TypeError, "image must be floating"),
    "rows for three gates": (
        lambda: step(input_weight=torch.zeros(9, 2), hidden_weight=torch.zeros(12, 3)),
        ValueError,
        r"input_weight must have shape \(gates=12, m=2\)",
    ),
    "a bias too short": (
        lambda: step(input_weight=torch.zeros(12, 2), hidden_weight=torch.zeros(12, 3), bias=torch.zeros(3)),
        ValueError,
        r"bias must have shape \(gates=12\)",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "kind", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
