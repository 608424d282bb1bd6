"""One head over one input: a loop, the order that nobody sees, what a mask hides, and versions that are wrong."""

import functools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import Attention, attend, scores
from attnlib.input_representations.distances import RelativeKeys, relative, rotary
from attnlib.input_representations.positions import sinusoidal
from attnlib.input_representations.self_attention import SelfAttention, self_attention
from attnlib.masks import key_mask

BATCH, TIME, D_X, D_K, D_V = 2, 5, 3, 7, 11
ORDER = torch.tensor([3, 0, 4, 1, 2])


# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def self_loop(inputs, query_weight, key_weight, value_weight, visible):
    """One sentence ``inputs[t][d]``; ``visible[t][j]``. Contexts and weights."""

    def project(matrix, x):
        return [sum(w * a for w, a in zip(row, x, strict=True)) for row in matrix]

    contexts, weights = [], []
    for t, x in enumerate(inputs):
        query, exponentials = project(query_weight, x), []
        for j, other in enumerate(inputs):
            key = project(key_weight, other)
            energy = sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(len(key))
            exponentials.append(math.exp(energy) if visible[t][j] else 0.0)
        total = sum(exponentials)
        row = [e / total if total else 0.0 for e in exponentials]
        values = [project(value_weight, other) for other in inputs]
        contexts.append([sum(w * v[i] for w, v in zip(row, values, strict=True)) for i in range(len(value_weight))])
        weights.append(row)
    return contexts, weights


def parameters(**options):
    names = {"query_weight": (D_K, D_X), "key_weight": (D_K, D_X), "value_weight": (D_V, D_X)}
    return {name: leaf(*shape, seed=seed, **options) for seed, (name, shape) in enumerate(names.items())}


def some_mask():
    """The padding of two sentences, and one item that sees nothing."""
    mask = key_mask(torch.tensor([4, 3]), TIME).expand(BATCH, TIME, TIME).clone()
    mask[1, 2] = False
    return mask


def check_value(attention):
    inputs, given = randn(BATCH, TIME, D_X), parameters()
    for mask, is_causal in ((None, False), (some_mask(), False), (None, True), (some_mask(), True)):
        found = attention(inputs, **given, mask=mask, is_causal=is_causal)
        visible = torch.ones(BATCH, TIME, TIME).bool() if mask is None else mask
        visible = visible.tril() if is_causal else visible
        for b in range(BATCH):
            wanted = self_loop(rows(inputs[b]), *map(rows, given.values()), visible[b].tolist())
            for got, want in zip(found[:2], wanted, strict=True):
                close(got[b].detach(), tensor(want))


def check_equivariance(attention):
    """Items in another order: contexts in that order, and no other change."""
    inputs, given = randn(BATCH, TIME, D_X), parameters()
    found, moved = attention(inputs, **given), attention(inputs[:, ORDER], **given)
    close(moved.context, found.context[:, ORDER])
    close(moved.weights, found.weights[:, ORDER][:, :, ORDER])


def check_batch_mates_and_padding(attention):
    """A sentence alone, with others, and with padding of any kind at its end: one result, and one gradient."""
    inputs, given = randn(BATCH, TIME, D_X), parameters()
    wanted = attention(inputs[:1, :3], **given).context
    upstream = randn(1, 3, D_V, seed=5)
    slopes = torch.autograd.grad((wanted * upstream).sum(), tuple(given.values()))
    for bad in (0.0, 1.0, torch.nan, torch.inf, 1e308):
        padded = inputs.clone()
        padded[0, 3:] = bad
        found = attention(padded, **given, mask=key_mask(torch.tensor([3, 5]), TIME))
        close(found.context[:1, :3], wanted)
        assert (found.weights[0, :3, 3:] == 0).all()
        for got, want in zip(
            torch.autograd.grad((found.context[:1, :3] * upstream).sum(), tuple(given.values())), slopes, strict=True
        ):
            close(got, want)


CHECKS = (check_value, check_equivariance, check_batch_mates_and_padding)


@pytest.mark.parametrize("check", CHECKS)
def test_self_attention(check):
    check(self_attention)


def test_slopes_are_the_numerical_ones():
    def run(inputs, *given):
        return self_attention(inputs, **dict(zip(parameters(), given, strict=True)), mask=some_mask()).context

    leaves = (leaf(BATCH, TIME, D_X), *parameters().values())
    assert gradcheck(run, leaves, fast_mode=True)
    assert gradgradcheck(run, leaves, fast_mode=True)


def test_it_is_attend_with_three_projections_and_any_score():
    inputs, given = randn(BATCH, TIME, D_X), parameters()
    score = scores.Additive(D_K, D_K, 13, dtype=torch.float64)
    parts = [inputs @ weight.mT for weight in given.values()]
    for got, wanted in zip(self_attention(inputs, **given, score=score), attend(*parts, score=score), strict=True):
        close(got, wanted)


@pytest.mark.parametrize("what", ["causal", "sinusoidal", "rotary", "relative"])
def test_order_is_seen_when_something_tells_it(what):
    """Each of the four breaks the equality that stands without positions."""
    inputs, given = randn(BATCH, TIME, D_X), parameters()
    even = {**given, "query_weight": leaf(2, D_X), "key_weight": leaf(2, D_X, seed=1)}
    vectors = randn(5, 2)
    run = {
        "causal": lambda x: self_attention(x, **even, is_causal=True),
        "sinusoidal": lambda x: self_attention(
            x + sinusoidal(torch.arange(TIME), 4, dtype=torch.float64)[:, :D_X], **even
        ),
        "rotary": lambda x: self_attention(x, **even, score=rotary),
        "relative": lambda x: self_attention(x, **even, score=functools.partial(relative, vectors=vectors)),
    }[what]
    with pytest.raises(AssertionError):
        close(run(inputs[:, ORDER]).context, run(inputs).context[:, ORDER])


@pytest.mark.parametrize("score", [rotary, RelativeKeys(2, reach=1)], ids=["rotary", "relative"])
def test_padding_changes_nothing_where_the_score_knows_places(score):
    """On either side: a distance between two words is the same wherever the sentence begins."""
    inputs = randn(3, D_X, dtype=torch.float32)
    layer = SelfAttention(D_X, 2, D_V, score=score)
    if isinstance(score, RelativeKeys):
        torch.nn.init.normal_(score.vectors)
    wanted = layer(inputs).context
    for left in (0, 1, 4):
        padded = torch.full((7, D_X), torch.nan)
        padded[left : left + 3] = inputs
        real = torch.zeros(7, dtype=torch.bool)
        real[left : left + 3] = True
        found = layer(padded, mask=real[None]).context[left : left + 3]
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("shape", [(0, D_X), (1, D_X), (2, 0, D_X), (0, 4, D_X)])
def test_no_item_one_item_and_no_sentence(shape):
    inputs, given = randn(*shape), parameters()
    found = self_attention(inputs, **given)
    assert found.context.shape == (*shape[:-1], D_V)
    if shape[0] == 1:  # it can only ask itself
        close(found.weights, torch.ones(1, 1, dtype=torch.float64))
        close(found.context, inputs @ given["value_weight"].mT)


def test_a_sentence_that_is_hidden_gives_zeros_and_no_gradient():
    inputs, given = leaf(BATCH, TIME, D_X), parameters()
    found = self_attention(inputs, **given, mask=key_mask(torch.tensor([0, 5]), TIME))
    assert (found.context[0] == 0).all()
    assert (found.weights[0] == 0).all()
    gradient = torch.autograd.grad(found.context.sum(), inputs)[0]
    assert (gradient[0] == 0).all()
    assert (gradient[1] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_precision_keeps_its_own(dtype, device):
    """Projections of half precision are taken in single: queries of 300 and keys of 300 have an energy beyond 65504."""
    inputs = torch.full((TIME, D_X), 100.0, device=device, dtype=dtype)
    given = {name: torch.ones_like(weight, dtype=dtype, device=device) for name, weight in parameters().items()}
    found = self_attention(inputs, **given)
    assert found.context.dtype == found.weights.dtype == dtype
    torch.testing.assert_close(found.energies.float(), torch.full((TIME, TIME), 90000 * 7**0.5, device=device))
    torch.testing.assert_close(found.context, torch.full_like(found.context, 300))


def test_the_layer_is_the_function():
    layer, inputs = SelfAttention(D_X, D_K, D_V), randn(BATCH, TIME, D_X, dtype=torch.float32)
    given = dict(layer.named_parameters())
    assert {name: tuple(weight.shape) for name, weight in given.items()} == {
        "query_weight": (D_K, D_X),
        "key_weight": (D_K, D_X),
        "value_weight": (D_V, D_X),
    }
    for is_causal in (False, True):
        for got, wanted in zip(
            layer(inputs, is_causal=is_causal), self_attention(inputs, **given, is_causal=is_causal), strict=True
        ):
            assert torch.equal(got, wanted)
    assert layer(inputs, need_weights=False).weights is None
    torch.testing.assert_close(layer(inputs, need_weights=False).context, layer(inputs).context)


def test_vmap_over_models_is_a_loop_over_them():
    inputs, given = randn(TIME, D_X), [parameters(), {k: v + 1 for k, v in parameters().items()}]
    stacked = {name: torch.stack([one[name] for one in given]) for name in given[0]}
    found = torch.vmap(lambda p: self_attention(inputs, **p).context)(stacked)
    for got, one in zip(found, given, strict=True):
        close(got, self_attention(inputs, **one).context)


@pytest.mark.usefixtures("unchecked")
def test_exports_with_open_sizes():
    layer, inputs = SelfAttention(D_X, 2, D_V, score=rotary).double(), randn(BATCH, TIME, D_X)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
    program = torch.export.export(layer, (inputs,), dynamic_shapes=(sizes,))
    other = randn(3, 13, D_X)
    close(program.module()(other).context, layer(other).context)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    inputs, given = randn(BATCH, TIME, D_X), parameters()

    def run(inputs=inputs, **other):
        return self_attention(inputs, **(given | other))

    cases = [
        (TypeError, "inputs must be floating point, got dtype torch.int64", lambda: run(inputs.long())),
        (ValueError, r"inputs must have shape \(\*batch, time, d_x\)", lambda: run(inputs[0, 0])),
        (ValueError, r"key_weight must have shape \(rows=7, d_x=3\)", lambda: run(key_weight=randn(D_K, 5))),
        (ValueError, "key has d_k=7 but query has d_k=5", lambda: run(query_weight=randn(5, D_X))),
        (TypeError, "mask must be boolean", lambda: run(mask=torch.ones(TIME, TIME))),
        (ValueError, "does not broadcast", lambda: run(mask=torch.ones(BATCH, TIME + 1).bool())),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def spoilt(*, scale=None, axis=-1, own=True, key_of="key", hide=True, transposed=False):
    def attention(inputs, *, query_weight, key_weight, value_weight, mask=None, is_causal=False):
        weight = {"query": query_weight, "key": key_weight}[key_of]
        query, key, value = inputs @ query_weight.mT, inputs @ weight.mT, inputs @ value_weight.mT
        energies = (query @ key.mT) / math.sqrt(scale or key.shape[-1])
        energies = energies.mT if transposed else energies
        visible = torch.ones_like(energies, dtype=torch.bool) if mask is None or not hide else mask
        visible = visible.tril() if is_causal else visible
        visible = visible if own else visible & ~torch.eye(len(query[0]), dtype=torch.bool)
        exponentials = torch.where(visible, energies.exp(), 0.0)
        sums = exponentials.sum(axis, keepdim=True)
        weights = exponentials / torch.where(sums == 0, 1.0, sums)
        return Attention(weights @ value, weights, energies)

    return attention


def positions_slipped_in(inputs, **options):
    return self_attention(
        inputs + sinusoidal(torch.arange(TIME), 4, dtype=inputs.dtype)[: inputs.shape[-2], :3], **options
    )


WRONG = {
    "scaled by the inputs' size": (check_value, spoilt(scale=D_X)),
    "scaled by the length": (check_value, spoilt(scale=TIME)),
    "softmax over the queries": (check_value, spoilt(axis=-2)),
    "queries and keys exchanged": (check_value, spoilt(transposed=True)),
    "keys by the queries' matrix": (check_value, spoilt(key_of="query")),
    "an item may not ask itself": (check_value, spoilt(own=False)),
    "padding seen": (check_value, spoilt(hide=False)),
    "padding seen, by its padding": (check_batch_mates_and_padding, spoilt(hide=False)),
    "NaN in padding spoils the weights' gradients": (check_batch_mates_and_padding, spoilt()),
    "places are known": (check_equivariance, positions_slipped_in),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_versions_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


def test_the_unspoilt_version_passes():
    check_value(spoilt())
    check_equivariance(spoilt())
