"""DiSAN: loops from the paper, both directions, the path that keeps no pairs, wrong versions."""

import contextlib
import functools
import itertools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import inner, plus, rows, softmax_row, tensor, times
from torch.autograd import gradcheck, gradgradcheck

from attnlib.fused import reference_only
from attnlib.output_representations.chunked import DIRECTIONS, attend_in_blocks, direction_mask
from attnlib.output_representations.directional import DiSAN, directional, fuse
from attnlib.output_representations.multidimensional import PerFeature

BATCH, TIME, D, D_IN = 2, 11, 5, 7
LIMIT = 5.0


# --- the oracle: plain loops from the paper ---------------------------------------------------------------------------


def sees(i, j, direction):
    """Whether token j may attend to token i."""
    return {"forward": i < j, "backward": i > j, "others": i != j}[direction]


def directional_loop(h, w_query, w_key, bias, direction, real, limit=LIMIT):
    contexts = []
    for j, asking in enumerate(h):
        context = []
        for k in range(len(bias)):
            energies = []
            for i, offering in enumerate(h):
                if real[i] and real[j] and sees(i, j, direction):
                    summed = inner(w_key[k], offering) + inner(w_query[k], asking) + bias[k]
                    energies.append(limit * math.tanh(summed / limit))
                else:
                    energies.append(-math.inf)
            context.append(sum(w * x[k] for w, x in zip(softmax_row(energies), h, strict=True)))
        contexts.append(context)
    return contexts


def fuse_loop(h, s, w_item, w_context, bias):
    gate = [1 / (1 + math.exp(-x)) for x in plus(times(w_context, s), times(w_item, h), bias)]
    return [f * a + (1 - f) * b for f, a, b in zip(gate, h, s, strict=True)]


def side_loop(x, side, real):
    """Tokens of one direction, with a module's parameters."""
    elu = [[v if v > 0 else math.exp(v) - 1 for v in plus(times(rows(side.hidden.weight), t), rows(side.hidden.bias))]
           for t in x]  # fmt: skip
    parts = rows(side.query.weight), rows(side.key.weight), rows(side.query.bias)
    contexts = directional_loop(elu, *parts, side.direction, real)
    gate = rows(side.gate_item.weight), rows(side.gate_context.weight), rows(side.gate_item.bias)
    return [fuse_loop(h, s, *gate) if r else [0.0] * len(h) for h, s, r in zip(elu, contexts, real, strict=True)]


def disan_loop(x, model, real):
    both = [a + b for a, b in zip(side_loop(x, model.before, real), side_loop(x, model.after, real), strict=True)]
    energies = []
    for u in both:
        inside = plus(times(rows(model.pool.hidden.weight), u), rows(model.pool.hidden.bias))
        hidden = [v if v > 0 else math.exp(v) - 1 for v in inside]
        energies.append(plus(times(rows(model.pool.energies.weight), hidden), rows(model.pool.energies.bias)))
    context = []
    for k in range(len(both[0])):
        weights = softmax_row([e[k] if r else -math.inf for e, r in zip(energies, real, strict=True)])
        context.append(sum(w * u[k] for w, u in zip(weights, both, strict=True)))
    return context


def given():
    return {"query_weight": randn(D, D), "key_weight": randn(D, D, seed=2), "bias": randn(D)}


def padding():
    return torch.arange(TIME) < torch.tensor([[TIME], [7]])


def check_value(function):
    items, mask = randn(BATCH, TIME, D), padding()
    for direction in DIRECTIONS:
        found = function(items, **given(), direction=direction, mask=mask)
        for b in range(BATCH):
            parts = [rows(part) for part in given().values()]
            close(found.context[b], tensor(directional_loop(rows(items[b]), *parts, direction, mask[b].tolist())))


def check_order(function):
    """Forward, a token does not depend on those after it, nor on itself but as the one who asks."""
    items, other = randn(1, TIME, D), randn(1, TIME, D)
    other[:, 4:] += 1
    run = functools.partial(function, **given(), direction="forward", mask=None)
    close(run(other).context[:, :4], run(items).context[:, :4])


def check_first_token_gets_zeros(function):
    found = function(randn(1, TIME, D), **given(), direction="forward", mask=None)
    assert not found.context[:, 0].any()


def check_own_value_is_left_out(function):
    """Tokens that ask and offer alike: the second forward has the first one's value, and nothing of its own."""
    none = {"query_weight": torch.zeros(D, D).double(), "key_weight": torch.zeros(D, D).double(), "bias": None}
    items = randn(1, TIME, D)
    close(function(items, **none, direction="forward", mask=None).context[:, 1], items[:, 0])


def check_bounded(function):
    """Of two tokens the larger has at most exp(2c) times the weight: tanh holds the energies."""
    one = {"query_weight": torch.zeros(1, 1), "key_weight": torch.full((1, 1), 1e4), "bias": None}
    items = torch.tensor([[[1.0], [-1.0], [0.0]]])
    found = function(items, **one, direction="forward", mask=None)
    close(found.context[0, 2, 0].double(), tensor(math.tanh(LIMIT)), rtol=1e-5)  # (e^5 - e^-5) / (e^5 + e^-5)


CHECKS = [check_value, check_order, check_first_token_gets_zeros, check_own_value_is_left_out, check_bounded]


@pytest.mark.parametrize("path", ["pairs", "blocks", "runs"])
@pytest.mark.parametrize("check", CHECKS)
def test_directional(check, path):
    with reference_only() if path == "blocks" else contextlib.nullcontext():
        check(functools.partial(directional, need_weights=path == "pairs", block=3))


def test_fuse_is_the_loop():
    h, s, w = randn(TIME, D), randn(TIME, D, seed=3), (randn(D, D), randn(D, D, seed=4), randn(D))
    found = fuse(h, s, item_weight=w[0], context_weight=w[1], bias=w[2])
    for t in range(TIME):
        close(found[t], tensor(fuse_loop(rows(h[t]), rows(s[t]), *map(rows, w))))


@pytest.mark.parametrize("need_weights", [True, False])
def test_disan_is_the_loop(need_weights):
    model, items, mask = DiSAN(D_IN, D, dtype=torch.float64), randn(BATCH, TIME, D_IN), padding()
    found = model(items, mask, need_weights=need_weights).context
    for b in range(BATCH):
        close(found[b].detach(), tensor(disan_loop(rows(items[b]), model, mask[b].tolist())))


@pytest.mark.parametrize("block", [1, 3, TIME, 64])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_blocks_give_the_values_and_gradients_of_the_reference(direction, block, device):
    parts = [leaf(BATCH, TIME, D, seed=seed, device=device) for seed in range(3)]
    mask, upstream = padding().to(device), randn(BATCH, TIME, D, seed=9, device=device)
    weights = {"query_weight": torch.eye(D), "key_weight": torch.eye(D), "bias": None}
    items = parts[0]
    same = {name: w if w is None else w.double().to(device).requires_grad_() for name, w in weights.items()}
    leaves = [items, same["query_weight"], same["key_weight"]]
    results = []
    for options in ({}, {"need_weights": False, "block": block}):
        with reference_only():
            context = directional(items, **same, direction=direction, mask=mask, **options).context
        results.append([context, *torch.autograd.grad((context * upstream).sum(), leaves)])
    for got, want in zip(*results, strict=True):
        close(got, want)


def test_slopes_are_the_numerical_ones_on_both_paths():
    mask = padding()[:, 4:8]

    def run(need_weights, items, query, key, bias):
        return directional(items, query_weight=query, key_weight=key, bias=bias, direction="forward", mask=mask,
                           need_weights=need_weights, block=3).context  # fmt: skip

    leaves = leaf(BATCH, 4, D), leaf(D, D), leaf(D, D, seed=2), leaf(D)
    for need_weights in (True, False):
        assert gradcheck(functools.partial(run, need_weights), leaves, fast_mode=True)
        assert gradgradcheck(functools.partial(run, need_weights), leaves, fast_mode=True)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e308])
def test_padding_and_batch_mates_change_nothing(bad, need_weights):
    model, items, mask = DiSAN(D_IN, D, dtype=torch.float64), leaf(BATCH, TIME, D_IN), padding()
    mask = torch.cat([mask, torch.zeros(1, TIME).bool()])
    spoilt = torch.cat([items.detach(), randn(1, TIME, D_IN)]).masked_fill(~mask.unsqueeze(-1), bad).requires_grad_()
    found = model(spoilt, mask, need_weights=need_weights).context
    alone = model(items[1:, :7], need_weights=need_weights).context
    close(found[1:2], alone)
    assert not found[2].any()
    got = torch.autograd.grad(found[1].sum(), [spoilt, *model.parameters()], retain_graph=True)
    want = torch.autograd.grad(alone.sum(), [items, *model.parameters()])
    close(got[0][1], want[0][1])
    for left, right in zip(got[1:], want[1:], strict=True):
        close(left, right)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_token_that_a_direction_hides_may_be_anything(need_weights):
    """The last token is seen by nobody forward; its NaN stays out of the others' contexts and gradients."""
    items = randn(1, TIME, D)
    spoilt = items.clone()
    spoilt[:, -1] = torch.nan
    results = []
    for each in (items.requires_grad_(), spoilt.requires_grad_()):
        context = directional(each, **given(), direction="forward", need_weights=need_weights, block=3).context[:, :-1]
        results.append((context, torch.autograd.grad(context.sum(), each)[0][:, :-1]))
    for got, want in zip(*results, strict=True):
        close(got, want)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_tokens(n):
    model, items = DiSAN(D_IN, D, dtype=torch.float64), randn(1, n, D_IN)
    for need_weights in (True, False):
        found = model(items, need_weights=need_weights).context
        wanted = tensor(disan_loop(rows(items[0]), model, [True] * n)) if n else torch.zeros(2 * D, dtype=torch.float64)
        close(found[0].detach(), wanted)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_block_of_a_mask_is_its_rows(direction):
    whole = direction_mask(TIME, direction)
    for j, i in itertools.product(range(TIME), range(TIME)):
        assert whole[j, i] == sees(i, j, direction)
    assert torch.equal(direction_mask(TIME, direction, first=3, last=8), whole[3:8])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": "sideways"}, "direction must be one of forward, backward, others, got 'sideways'"),
        ({"key_weight": torch.zeros(D, 2)}, "key_weight must have shape"),
        ({"mask": torch.ones(3).bool()}, r"got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        directional(randn(TIME, D), **{**given(), "direction": "forward", **change})


def test_a_block_has_at_least_one_query():
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        attend_in_blocks(*(randn(TIME, D),) * 3, direction="forward", block=0)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def wrong(items, *, query_weight, key_weight, bias, direction, mask, limit=LIMIT, fault):
    """The reference with one fault."""
    asks, offers = items @ query_weight.mT, items @ key_weight.mT
    inside = asks.unsqueeze(-2) + offers.unsqueeze(-3) + (0 if bias is None else bias)
    energies = inside if fault == "no bound" else limit * torch.tanh(inside / (1 if fault == "bound" else limit))
    n = items.shape[-2]
    if fault == "diagonal":
        seen = torch.ones(n, n).bool().tril() if direction == "forward" else torch.ones(n, n).bool().triu()
    else:
        seen = direction_mask(n, direction)
    seen = seen.mT if fault == "direction" else seen
    seen = (seen if mask is None else seen & mask.unsqueeze(-2) & mask.unsqueeze(-1)).unsqueeze(-1)
    weights = torch.softmax(torch.where(seen, energies, -1e30), -2)
    weights = weights if fault == "empty row" else weights * seen
    if fault == "axis":
        weights = torch.softmax(torch.where(seen, energies, -1e30), -3) * seen
    return PerFeature((weights * items.unsqueeze(-3)).sum(-2), weights, energies)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("diagonal", check_own_value_is_left_out),
        ("direction", check_order),
        ("empty row", check_first_token_gets_zeros),
        ("no bound", check_bounded),
        ("bound", check_value),
        ("axis", check_value),
    ],
)
def test_wrong_versions_are_rejected(fault, check):
    check_value(functools.partial(wrong, fault="none"))
    with pytest.raises(AssertionError):
        check(functools.partial(wrong, fault=fault))
