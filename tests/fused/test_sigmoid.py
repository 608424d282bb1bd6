"""Sigmoids of inner products in runs of queries, and in C++: contexts and gradients of the reference, or a reason."""

import functools
import math

import pytest
import torch
from checks import randn
from oracles import inner, rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend, distributions, explain, scores
from attnlib.fused import _sigmoid as fused
from attnlib.fused import reference_only

PATH = "sigmoids in runs of queries"
KERNEL = f"{PATH}, in C++"
SIGMOID = functools.partial(distributions.sigmoid, temperature=0.7, bias=-2.0)
silent = functools.partial(attend, distribution=SIGMOID, need_weights=False)
pytestmark = pytest.mark.usefixtures("kernels")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Few queries in a run, and runs for few queries."""
    monkeypatch.setattr(fused, "ROWS", 4)
    monkeypatch.setattr(fused, "FEWEST", 0)
    monkeypatch.setattr(fused, "PAIRS", 40)
    monkeypatch.setattr(fused, "WORTH", {False: 0, True: 0})


def parts_of(dtype=torch.float64, lead=(2,), n_query=11, n_key=9):
    sizes = (n_query, 7), (n_key, 7), (n_key, 5)
    return [randn(*lead, *size, dtype=dtype, seed=seed) for seed, size in enumerate(sizes)]


def both(run, parts):
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    context = run(*leaves).context
    weights = randn(*context.shape, dtype=context.dtype, seed=9)
    return [context.detach(), *torch.autograd.grad((context * weights).sum(), leaves)]


def sigmoid_loop(query, key, value, scale, temperature, bias, visible):
    found = []
    for i, q in enumerate(query):
        weights = [
            1 / (1 + math.exp(-(scale * inner(q, k) / temperature + bias))) if visible[i][j] else 0.0
            for j, k in enumerate(key)
        ]
        found.append([sum(w * v[f] for w, v in zip(weights, value, strict=True)) for f in range(len(value[0]))])
    return found


def check_loop(run):
    query, key, value = parts_of()
    visible = torch.arange(9) <= torch.arange(11).unsqueeze(-1)
    wanted = [
        sigmoid_loop(*(rows(x[b]) for x in (query, key, value)), 7**-0.5, 0.7, -2.0, visible.tolist()) for b in (0, 1)
    ]
    torch.testing.assert_close(run(query, key, value).context, tensor(wanted))


def test_it_is_the_loop():
    check_loop(functools.partial(silent, is_causal=True))


@pytest.mark.parametrize("wrong", [{"is_causal": False}, {"scale": 1.0}, {"distribution": distributions.sigmoid}])
def test_wrong_versions_are_rejected(wrong):
    with pytest.raises(AssertionError):
        check_loop(functools.partial(silent, **{"is_causal": True, **wrong}))


OPTIONS = {
    "plain": {},
    "no bias": {"distribution": distributions.sigmoid},
    "dot": {"score": scores.dot},
    "scale": {"scale": -0.3},
    "causal": {"is_causal": True},
    "pairs": {"mask": randn(2, 11, 9, seed=4) > 0},
    "empty row": {"mask": torch.arange(11).unsqueeze(-1) != 3, "is_causal": True},
    "padding": {"mask": torch.tensor([[[True] * 6 + [False] * 3], [[True] * 9]])},
}


@pytest.mark.parametrize("lengths", [(11, 9), (5, 9)])
@pytest.mark.parametrize("name", OPTIONS)
def test_equals_the_reference(name, lengths):
    options = dict(OPTIONS[name])
    if "mask" in options:
        options["mask"] = options["mask"][..., : lengths[0], :]
    parts, run = parts_of(n_query=lengths[0], n_key=lengths[1]), functools.partial(silent, **options)
    assert explain(run, *parts).choices[0].path == PATH
    with reference_only():
        wanted = both(run, parts)
    for got, want in zip(both(run, parts), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("lengths", [(300, 200), (110, 300), (5, 3)])
@pytest.mark.parametrize("name", ["plain", "causal", "pairs", "padding"])
def test_the_kernel_equals_the_reference(kernels, name, lengths, threads):
    """Several blocks of queries and of keys, and sizes that fill no register."""
    kernels("sigmoid")
    n_query, n_key = lengths
    query, key, value = (randn(2, n, d, seed=n + d) for n, d in ((n_query, 19), (n_key, 19), (n_key, 21)))
    parts = [query, key[:1], value[..., ::2]]
    masks = {"pairs": randn(2, n_query, n_key, seed=4) > 0, "padding": torch.arange(n_key) < n_key - 2}
    run = functools.partial(silent, mask=masks.get(name), is_causal=name in ("causal", "pairs"))
    single = [part.float() for part in parts]
    assert explain(run, *single).choices[0].path == KERNEL
    assert str(explain(run, *parts)).endswith(f"not {KERNEL}: the kernel computes in single precision")
    with reference_only():
        wanted, theirs = both(run, parts), both(run, single)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = both(run, single)
    torch.set_num_threads(before)
    for got, want, other in zip(found, wanted, theirs, strict=True):
        assert (got - want).abs().max() <= 1.5 * (other - want).abs().max() + 2e-6 * want.abs().max()


def test_energies_of_any_size_in_the_kernel(kernels):
    """At both ends of the sigmoid, against double precision; its relative error is small where it is small, too."""
    kernels("sigmoid")
    energies = torch.cat([torch.linspace(-200, 200, 1601), torch.tensor([0.0, -1e4, 1e4, -87.3, 1e-30])])
    key, one = energies.reshape(-1, 1), torch.ones(1, 1)
    found = silent(one, key, torch.eye(len(key)), score=scores.dot, distribution=distributions.sigmoid).context
    wanted = energies.double().sigmoid()
    assert (found[0] - wanted).abs().max() <= 2e-7
    shown = wanted > 1e-30
    assert ((found[0] - wanted)[shown] / wanted[shown]).abs().max() <= 5e-7


def test_leading_axes_broadcast_strides_do_not_matter_and_heads_are_grouped():
    query, key, value = parts_of(lead=(2, 4))
    key, value = key[:, :2], value[..., ::2][:, :2]
    query = query.mT.contiguous().mT
    for run, parts in (
        (functools.partial(silent, enable_gqa=True), (query, key, value)),
        (silent, (query, key[:, :1], value[0, 0])),
    ):
        assert explain(run, *parts).choices[0].path == PATH
        with reference_only():
            wanted = both(run, parts)
        for got, want in zip(both(run, parts), wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_further_from_float64_than_the_reference(dtype):
    parts = parts_of(dtype, (2, 3))
    exact = silent(*(part.double() for part in parts)).context
    with reference_only():
        wanted = silent(*parts).context
    got = silent(*parts).context
    assert got.dtype == dtype
    error, allowed = ((part.double() - exact).abs().max().item() for part in (got, wanted))
    assert error <= 1.5 * allowed + torch.finfo(torch.float32).eps * 8


def test_slopes_are_the_numerical_ones_twice():
    parts = [part.requires_grad_() for part in parts_of(n_query=6, n_key=5)]
    mask = torch.tensor([[True, False, True, True, True]])

    def run(*parts):
        return silent(*parts, mask=mask, is_causal=True).context

    assert explain(run, *parts).choices[0].path == PATH
    assert gradcheck(run, parts, fast_mode=True)
    assert gradgradcheck(run, parts, fast_mode=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"distribution": distributions.softmax}, "the distribution is not sigmoid with two numbers"),
        ({"distribution": functools.partial(distributions.sigmoid, bias=torch.ones(1).double())},
         "the distribution is not sigmoid with two numbers"),
        ({"score": scores.similarity}, "the score is not a dot product"),
        ({"bias": torch.zeros(11, 9).double()}, "there is a bias, or dropout"),
        ({"scale": torch.ones(11, 1).double()}, "the scale is a tensor"),
        ({"scale": 1e13}, "a number is so large, or not finite, that a hidden one might count"),
    ],
)  # fmt: skip
def test_why_it_is_left(change, reason):
    refused = explain(silent, *parts_of(), score=change.pop("score", scores.dot), **change).choices[0].refused
    assert refused.get(PATH, reason) == reason


def test_what_is_hidden_may_be_anything(monkeypatch):
    parts = parts_of()
    mask = torch.arange(9) < 6
    wanted = silent(*parts, mask=mask).context
    for bad in (math.nan, math.inf, 1e300):
        spoilt = [part.clone() for part in parts]
        spoilt[1][:, 6:] = spoilt[2][:, 6:] = bad
        torch.testing.assert_close(silent(*spoilt, mask=mask).context, wanted)
    monkeypatch.setattr(fused, "FEWEST", 1000)
    assert explain(silent, *parts).choices[0].refused[PATH] == "there are few pairs"


def test_without_the_kernel_runs_must_be_worth_it(monkeypatch):
    monkeypatch.setattr(fused, "WORTH", {False: 2 * 11 * 9, True: 2 * 11 * 9 + 1})
    parts = parts_of()
    assert explain(silent, *parts).choices[0].path == PATH
    leaves = [part.requires_grad_() for part in parts]
    refused = explain(silent, *leaves).choices[0].refused[PATH]
    assert refused == "there are few pairs for runs without the kernel"
    with torch.no_grad():
        assert explain(silent, *leaves).choices[0].path == PATH


def test_memory_does_not_grow_with_the_pairs(monkeypatch):
    """What is made for a run is the largest tensor of pairs, forwards and backwards."""
    monkeypatch.undo()
    monkeypatch.setattr(fused, "WORTH", {False: 0, True: 0})
    made, room = [], fused._Entry.room
    monkeypatch.setattr(fused._Entry, "room", lambda *given: made.append(room(*given)) or made[-1])
    both(silent, parts_of(torch.float32, (1,), 700, 900))
    assert max(part.numel() for part in made) <= max(fused.PAIRS, fused.ROWS * 900)
