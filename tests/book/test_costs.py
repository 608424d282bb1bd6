"""Counts: against what torch's dispatcher counts of the ways in plain operations, and these against one another."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attnlib import attend
from attnlib.book.costs import BLOCK, MECHANISMS, counted, longest, time, where
from attnlib.frontiers.delta_rule import delta_rule
from attnlib.frontiers.linear import linear_attention

SIZES = [(128, 2, 16, 32), (192, 1, 48, 40), (128, 1, 96, 32)]
_PATH = Path(__file__).parents[2] / "book" / "experiments" / "costs.py"
_SPEC = importlib.util.spec_from_file_location("costs_experiment", _PATH)
experiment = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(experiment)


def of(name, size, both):
    n, heads, d, width = size
    return counted(name, length=n, heads=heads, width=d, window=width, both=both)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", MECHANISMS)
def test_multiply_adds_are_those_that_torch_counts(name, both):
    for size in SIZES:
        given = experiment.parts(name, size, learned=both)
        with FlopCounterMode(display=False) as counter:
            experiment.run(name, given, both=both)
        n, heads, d, _ = size
        unseen = {"softmax (fused)": (7 if both else 2) * n * n * d, "each feature": (3 if both else 1) * n * n * d}
        assert of(name, size, both).multiply_adds == counter.get_total_flops() / 2 + heads * unseen.get(name, 0)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", MECHANISMS)
def test_bytes_are_those_that_are_alive(name, both):
    for size in SIZES[:2]:
        alive = experiment.held(name, size, both=both)
        within = (
            0.07 if name == "linear (causal, chunks)" else 0.01
        )  # where widths lie between those whose sum is the largest
        assert of(name, size, both).held == pytest.approx(alive, rel=within)


def test_a_wrong_count_would_be_seen():
    alive = experiment.held("softmax (matrix)", SIZES[0], both=True)
    assert abs(2 * 4 * 2 * 128**2 / alive - 1) > 0.1  # a matrix too few


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_way_is_the_mechanism(name):
    given = [part.double() if part.is_floating_point() else part for part in experiment.parts(name, SIZES[0])]
    query, key, value, *rest = given
    n, width = SIZES[0][0], SIZES[0][3]
    far = torch.arange(n)[:, None] - torch.arange(n)
    wanted = {
        "softmax (matrix)": lambda: attend(query, key, value).context,
        "softmax (fused)": lambda: attend(query, key, value).context,
        "window (causal)": lambda: attend(query, key, value, mask=(far >= 0) & (far < width)).context,
        "linear (all keys)": lambda: linear_attention(query, key, value).context,
        "linear (causal, chunks)": lambda: linear_attention(query, key, value, is_causal=True).context,
        "delta rule (causal, loop)": lambda: delta_rule(query, key, value).context,
        "synthesizer (dense)": lambda: ((query @ rest[0]).relu() @ rest[1]).softmax(-1) @ value,
        "synthesizer (random)": lambda: rest[0].softmax(-1) @ value,
    }
    if name in wanted:
        assert torch.allclose(experiment.WAYS[name](*given), wanted[name]())
    else:  # a pair at a time
        q, k = query[0, 1] @ rest[0][1], key[0, 1] @ rest[1][1]
        met = torch.stack([torch.stack([(one + other).tanh() for other in k]) for one in q[:3]])
        if name == "additive":
            context = (met @ rest[2][0 if rest[2].shape[0] == 1 else 1].flatten()).softmax(-1) @ value[0, 1]
        else:
            context = torch.einsum("qkd,kd->qd", met.softmax(1), value[0, 1])
        assert torch.allclose(experiment.WAYS[name](*given)[0, 1, :3], context)


def test_window_and_blocks():
    assert counted("window (causal)", length=100, width=2, window=8).multiply_adds == 128 * 2 * (BLOCK + 7) * 2
    assert (
        counted("window (causal)", length=64, window=10**4).multiply_adds == 2 * 64 * 127 * 64
    )  # no more keys than there are
    half, full = (counted("linear (all keys)", length=99, size=size).held for size in (2, 4))
    assert 2 * half == full


def test_longest_is_the_last_that_fits():
    for name in MECHANISMS:
        most = longest(name, 10**8, heads=2, both=True)
        assert counted(name, length=most, heads=2, both=True).held <= 10**8
        assert counted(name, length=most + 1, heads=2, both=True).held > 10**8
    assert longest("softmax (matrix)", 1.0) == 0


def test_where_is_found_to_the_token():
    lengths = [1, 4, 16, 64, 200]
    for runs in ([], [(1, 200)], [(1, 1)], [(200, 200)], [(1, 3), (9, 30)], [(2, 7), (20, 200)], [(64, 64)]):
        holds = lambda n, runs=runs: any(low <= n <= high for low, high in runs)  # noqa: E731
        assert where(holds, lengths) == runs
    assert where(lambda n: n > 0, []) == where(lambda n: n > 300, [7]) == []
    assert where(lambda n: n > 0, [7]) == [(7, 7)]


def test_time_of_a_count():
    assert time(counted("softmax (matrix)", length=4, width=3), [0, 0, 5.0]) == 5.0


def test_constants_are_found_again():
    rows = torch.tensor([[1.0, 0, 1], [2, 1, 1], [5, 2, 1], [9, 7, 1]]).double()
    for wanted in ([3.0, 0.0, 2.0], [1.0, 4.0, 0.0]):
        times = rows @ torch.tensor(wanted).double()
        assert experiment.not_negative(rows / times[:, None]) == pytest.approx(wanted, abs=1e-9)
