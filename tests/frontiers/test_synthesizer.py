"""Synthesizers: loops from the equations, what each row may see, masks, lengths, and versions that are wrong."""

import functools
import itertools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import Attention, attend, scores
from attnlib.frontiers.synthesizer import cut, dense, factorised_dense, factorised_random, synthetic
from attnlib.frontiers.synthesizer_layer import Dense, FactorisedDense, FactorisedRandom, Random, Synthesizer
from attnlib.output_representations.multihead import MultiHead

BATCH, HEADS, TIME, D, D_H, D_V = 2, 3, 5, 7, 11, 13
LENGTH, A, B = 6, 2, 3


# --- the oracles: one sentence, one head, plain lists -----------------------------------------------------------------


def linear(matrix, bias, x):
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(matrix, bias, strict=True)]


def dense_loop(inputs, w1, b1, w2, b2):
    """e_ij = (W2 ReLU(W1 x_i + b1) + b2)_j."""
    return [linear(w2, b2, [max(h, 0.0) for h in linear(w1, b1, x)])[: len(inputs)] for x in inputs]


def factorised_dense_loop(inputs, first, first_bias, second, second_bias):
    """The board of a x b products, row by row of the second factor."""
    found = []
    for x in inputs:
        of_a, of_b = linear(first, first_bias, x), linear(second, second_bias, x)
        found.append([a * b for b in of_b for a in of_a][: len(inputs)])
    return found


def attention_loop(energies, value, visible):
    contexts, weights = [], []
    for i, row in enumerate(energies):
        exponentials = [math.exp(e) if visible[i][j] else 0.0 for j, e in enumerate(row)]
        total = sum(exponentials)
        weights.append([e / total if total else 0.0 for e in exponentials])
        contexts.append([sum(w * v[c] for w, v in zip(weights[-1], value, strict=True)) for c in range(len(value[0]))])
    return contexts, weights


def dense_parameters():
    shapes = {"hidden_weight": (D_H, D), "hidden_bias": (D_H,), "weight": (LENGTH, D_H), "bias": (LENGTH,)}
    return {name: leaf(HEADS, *shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}


def factor_parameters():
    shapes = {"first_weight": (A, D), "first_bias": (A,), "second_weight": (B, D), "second_bias": (B,)}
    return {name: leaf(HEADS, *shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}


def some_mask():
    """Padding, other keys for other items, and an item that sees nothing."""
    mask = randn(BATCH, 1, TIME, TIME, seed=7) > -0.5
    mask[0, :, :, 4] = False
    mask[1, 0, 1] = False
    return mask


def check_energies(function, loop, parameters):
    inputs, given = randn(BATCH, TIME, D), parameters()
    found = function(inputs, **given)
    for b, h in itertools.product(range(BATCH), range(HEADS)):
        want = loop(rows(inputs[b]), *(rows(part[h]) for part in given.values()))
        close(found[b, h].detach(), tensor(want))


def check_rows_stand_alone(function, parameters):
    """Row i depends on item i only: perturb one, and only its row of energies changes, in every head."""
    inputs, given = randn(BATCH, TIME, D), parameters()
    before = function(inputs, **given)
    for i in range(TIME):
        other = inputs.clone()
        other[:, i] += 1
        changed = (function(other, **given) != before).any(-1)
        assert changed[..., i].all()
        assert changed.sum() == changed[..., i].numel()


def check_weighing(function):
    """Weights are those of the loop, with what is hidden; those of a row that sees something add up to one."""
    value = randn(BATCH, HEADS, TIME, D_V)
    energies = [randn(HEADS, TIME, TIME, seed=1), randn(BATCH, HEADS, TIME, TIME, seed=2)]
    shares = torch.tensor([[0.2, 0.7, 0.5], [0.8, 0.3, 0.5]]).double()
    mixed = sum(share[:, None, None] * part for share, part in zip(shares, energies, strict=True))
    for mask, is_causal in ((None, False), (some_mask(), False), (some_mask(), True)):
        found = function(value, energies, shares=shares, mask=mask, is_causal=is_causal)
        seen = torch.ones(BATCH, 1, TIME, TIME).bool() if mask is None else mask
        seen = seen.tril() if is_causal else seen
        for b, h in itertools.product(range(BATCH), range(HEADS)):
            want = attention_loop(rows(mixed[b, h]), rows(value[b, h]), seen[b, 0].tolist())
            for got, wanted in zip(found[:2], want, strict=True):
                close(got[b, h], tensor(wanted))
        close(found.weights.sum(-1), seen.any(-1).double().expand(BATCH, HEADS, TIME))


CHECKS = {
    "dense": lambda f: check_energies(f, dense_loop, dense_parameters),
    "dense, rows": lambda f: check_rows_stand_alone(f, dense_parameters),
    "factorised": lambda f: check_energies(f, factorised_dense_loop, factor_parameters),
    "factorised, rows": lambda f: check_rows_stand_alone(f, factor_parameters),
    "weighing": check_weighing,
}
RIGHT = {
    "dense": dense,
    "dense, rows": dense,
    "factorised": factorised_dense,
    "factorised, rows": factorised_dense,
    "weighing": synthetic,
}


@pytest.mark.parametrize("name", CHECKS)
def test_it_is_the_loop(name):
    CHECKS[name](RIGHT[name])


def test_a_random_one_is_cut_and_a_factorised_one_is_a_product():
    full, left, right = randn(HEADS, LENGTH, LENGTH), randn(HEADS, LENGTH, 2), randn(HEADS, LENGTH, 2, seed=1)
    product = [
        [[sum(one * two for one, two in zip(x, y, strict=True)) for y in b] for x in a]
        for a, b in zip(rows(left), rows(right), strict=True)
    ]
    for n_query, n_key in ((LENGTH, LENGTH), (3, 5), (1, 2)):
        assert torch.equal(cut(full, n_query, n_key), full[:, :n_query, :n_key])
        close(factorised_random(left, right, n_query=n_query, n_key=n_key), tensor(product)[:, :n_query, :n_key])


@pytest.mark.parametrize(("a", "b"), [(2, 3), (4, 8), (6, 4), (1, 5)])
def test_every_product_of_the_factors_has_a_place_of_its_own(a, b):
    """Logarithms of different primes: all sums of one from each are different. Coprime or not."""
    numbers = iter(math.sqrt(p) for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41))
    first, second = ([[next(numbers)] for _ in range(n)] for n in (a, b))
    found = factorised_dense(
        torch.ones(1, 1).double(), first_weight=tensor(first), second_weight=tensor(second), n_key=a * b
    )
    assert len({round(x, 9) for x in found.flatten().tolist()}) == a * b


def test_slopes_are_the_numerical_ones():
    inputs, value = leaf(1, TIME, D), leaf(1, HEADS, TIME, D_V, seed=1)
    query, key = leaf(1, HEADS, TIME, D, seed=2), leaf(1, HEADS, TIME, D, seed=3)
    shares, left, right = leaf(4, HEADS), leaf(HEADS, LENGTH, 2, seed=4), leaf(HEADS, LENGTH, 2, seed=5)
    names = [*dense_parameters(), *factor_parameters()]
    given = [*dense_parameters().values(), *factor_parameters().values()]

    def run(inputs, value, query, key, shares, left, right, *parameters):
        named = dict(zip(names, parameters, strict=True))
        parts = [
            dense(inputs, **{name: named[name] for name in dense_parameters()}),
            factorised_dense(inputs, **{name: named[name] for name in factor_parameters()}),
            factorised_random(left, right, n_query=TIME),
        ]
        return synthetic(value, parts, shares=shares, query=query, key=key, mask=some_mask()[1:]).context

    leaves = (inputs, value, query, key, shares, left, right, *given)
    assert gradcheck(run, leaves, fast_mode=True)
    assert gradgradcheck(run, leaves, fast_mode=True)


# --- what depends on what; relations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("kind", [Random, FactorisedRandom])
def test_random_weights_are_the_same_for_every_input(kind, trained):
    part = kind(length=LENGTH, heads=HEADS, trained=trained)
    layer = Synthesizer(6, HEADS, [part])
    one, other = layer(torch.randn(BATCH, TIME, 6)), layer(torch.randn(BATCH, TIME, 6))
    assert torch.equal(one.weights, other.weights)
    assert torch.equal(one.weights[0], one.weights[1])
    assert bool(list(part.parameters())) == trained
    assert part.state_dict(), "what was drawn must be saved"
    if trained:
        one.context.square().sum().backward()
        assert all(p.grad is not None and (p.grad != 0).any() for p in part.parameters())


def test_a_mixture_with_equal_parts_is_one_of_them_and_with_one_share_too():
    value, query, key = (randn(BATCH, HEADS, TIME, D, seed=s) for s in range(3))
    energies, half = randn(HEADS, TIME, TIME, seed=4), torch.tensor([0.5, 0.5]).double()
    close(synthetic(value, [energies, energies], shares=half).context, synthetic(value, energies).context)
    whole = synthetic(value, [energies], shares=torch.tensor([1.0, 0.0]).double(), query=query, key=key)
    close(whole.context, attend(query, key, value).context)
    close(synthetic(value, [], query=query, key=key).context, attend(query, key, value).context)
    close(synthetic(value, [energies], shares=half[:1]).energies, (energies / 2).expand(BATCH, -1, -1, -1))
    none = synthetic(value, [energies], shares=torch.tensor([0.0, 1.0]).double(), query=query, key=key)
    close(none.context, synthetic(value, energies).context)
    added = scores.scaled_dot(query, key) / 2 + energies / 2
    close(synthetic(value, [energies], shares=half, query=query, key=key).weights, added.softmax(-1))


def test_a_mixture_inside_of_the_softmax_is_no_mixture_of_weights():
    """Where one part is sure and the other is not, the sure one decides: weights are multiplied, not averaged."""
    sure, open_, value = torch.tensor([[9.0, 0.0]]), torch.zeros(1, 2), torch.eye(2)
    mixed = synthetic(value, [sure, open_], shares=torch.tensor([0.5, 0.5])).weights
    averaged = (sure.softmax(-1) + open_.softmax(-1)) / 2
    assert mixed[0, 0] > 0.98
    assert averaged[0, 0] < 0.76


def test_with_the_inner_product_alone_the_layer_is_multi_head_attention():
    layer, text = Synthesizer(6, HEADS, with_dot=True).double(), randn(BATCH, TIME, 6)
    other = MultiHead(6, HEADS, bias=False).double()
    names = ("query_weight", "key_weight", "value_weight", "output_weight")
    other.load_state_dict({name: getattr(layer, name).data for name in names})
    found, wanted = layer(text, is_causal=True), other(text, is_causal=True)
    close(found.context, wanted.context)
    close(found.weights, wanted.weights)


def test_a_shorter_text_gets_the_corner():
    torch.manual_seed(0)
    parts = [Dense(6, length=LENGTH, heads=HEADS), Random(length=LENGTH, heads=HEADS)]
    layer, text = Synthesizer(6, HEADS, parts, with_dot=True).double(), randn(1, LENGTH, 6)
    whole, short = layer(text, is_causal=True), layer(text[:, :TIME], is_causal=True)
    close(short.context, whole.context[:, :TIME])
    close(short.weights, whole.weights[:, :, :TIME, :TIME])


def layers():
    kinds = [functools.partial(Dense, 6), functools.partial(FactorisedDense, 6), Random, FactorisedRandom]
    parts = [kind(length=LENGTH, heads=HEADS) for kind in kinds]
    return {
        **{type(part).__name__: Synthesizer(6, HEADS, [part]) for part in parts},
        "mixture": Synthesizer(6, HEADS, parts, with_dot=True),
    }


@pytest.mark.parametrize("name", layers())
def test_layers_with_padding_and_without_weights(name):
    layer, text = layers()[name].double(), randn(BATCH, TIME, 6)
    mask = (torch.arange(TIME) < 3).reshape(1, 1, TIME).expand(BATCH, 1, TIME)
    learned = list(layer.parameters())

    def run(text, **options):
        context = layer(text, mask=mask, is_causal=True, **options).context[:, :3]
        return [context, *torch.autograd.grad(context.square().sum(), learned, materialize_grads=True)]

    wanted = run(text)
    assert all(part.isfinite().all() for part in wanted)
    spoilt = text.clone()
    spoilt[:, 3:] = torch.nan
    for got, silent, want in zip(run(spoilt), run(text, need_weights=False), wanted, strict=True):
        close(got, want)
        close(silent, want)
    assert layer(text, need_weights=False).weights is None
    alone = layer(text[1:], mask=mask[1:], is_causal=True)
    close(alone.context[:, :3], wanted[0][1:])


def test_parameters_are_as_many_as_the_paper_counts():
    """Of a head, without biases: d d_h + d_h l dense, l^2 random, 2 l k, and d (a + b)."""
    size, length, rank = 8, 12, 5
    weights = {
        Dense(size, length=length, heads=1, hidden=size): size**2 + size * length,
        Random(length=length, heads=1): length**2,
        FactorisedRandom(length=length, heads=1, rank=rank): 2 * length * rank,
        FactorisedDense(size, length=length, heads=1, first=4): size * (4 + 3),
    }
    for part, count in weights.items():
        assert sum(p.numel() for name, p in part.named_parameters() if "bias" not in name) == count


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", layers())
def test_layers_keep_their_precision_under_autocast_too(name, dtype, device):
    torch.manual_seed(0)
    layer, text = layers()[name].to(device, dtype), randn(BATCH, TIME, 6, dtype=dtype, device=device)
    asked, silent = layer(text, is_causal=True), layer(text, is_causal=True, need_weights=False)
    assert asked.context.dtype == asked.weights.dtype == dtype
    exact = layers()[name].double().to(device)
    exact.load_state_dict(layer.state_dict())
    size = 16 * torch.finfo(dtype).eps
    wanted = exact(text.double(), is_causal=True).context.to(dtype)
    for found in (asked, silent):
        torch.testing.assert_close(found.context, wanted, rtol=size, atol=size)
    if dtype == torch.float32:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            rough = layer(text, is_causal=True).context.float()
        torch.testing.assert_close(rough, asked.context, rtol=0.05, atol=0.05)


def test_nothing_is_changed():
    parts = [randn(BATCH, HEADS, TIME, TIME, seed=s) for s in range(2)]
    given = [randn(BATCH, HEADS, TIME, D_V), *parts, torch.tensor([0.5, 0.5]).double(), some_mask()]
    before = [part.clone() for part in given]
    synthetic(given[0], parts, shares=given[3], mask=given[4])
    assert all(torch.equal(part, copy) for part, copy in zip(given, before, strict=True))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    inputs, value, energies = randn(BATCH, 7, D), randn(TIME, D_V), randn(TIME, TIME)
    layer = Synthesizer(6, 2, [Random(length=LENGTH, heads=2)])
    beyond = "there are 7 places, but {} is 6: a synthesizer knows no place beyond its length"
    cases = [
        (beyond.format("length"), lambda: dense(inputs, **dense_parameters())),
        (beyond.format("a b"), lambda: factorised_dense(inputs, **factor_parameters())),
        (beyond.format("length"), lambda: cut(randn(6, 6), 2, 7)),
        (beyond.format("length"), lambda: factorised_random(randn(6, 2), randn(6, 2), n_query=7)),
        (beyond.format("length"), lambda: layer(torch.randn(1, 7, 6))),
        ("right must have shape", lambda: factorised_random(randn(6, 2), randn(6, 3), n_query=2)),
        ("weight must have shape", lambda: dense(inputs, hidden_weight=randn(3, D), weight=randn(9, 4))),
        (r"inputs must have shape \(\*batch, time, 7\)", lambda: dense(randn(3, 5), **dense_parameters())),
        ("query and key go together", lambda: synthetic(value, energies, query=value)),
        ("energies must be at least one tensor", lambda: synthetic(value, [])),
        ("shares must be one for each of 2 parts", lambda: synthetic(value, [energies] * 2, shares=torch.ones(3))),
        ("does not broadcast", lambda: synthetic(value, energies[:, :3])),
        ("first must divide length=6, got 4", lambda: FactorisedDense(6, length=6, heads=2, first=4)),
        ("length must be at least 1, got 0", lambda: Random(length=0, heads=2)),
        ("rank must be at least 1, got 0", lambda: FactorisedRandom(length=5, heads=2, rank=0)),
        ("divide size=6, got 4", lambda: Synthesizer(6, 4, with_dot=True)),
        ("at least one module, or with_dot must be True", lambda: Synthesizer(6, 2)),
    ]
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="energies must be a tensor, got int"):
        synthetic(value, [3])


# --- known wrong versions ---------------------------------------------------------------------------------------------


def heads_by_a_view(inputs, *, hidden_weight, hidden_bias, weight, bias):
    """The first author's code: items first, heads second, and a view in place of a transposition."""
    hidden = torch.einsum("btd,hed->bthe", inputs, hidden_weight) + hidden_bias
    made = torch.einsum("bthe,hle->bthl", hidden.relu(), weight) + bias
    return made.reshape(len(inputs), len(weight), inputs.shape[1], -1)[..., : inputs.shape[1]]


def without_relu(inputs, *, hidden_weight, hidden_bias, weight, bias):
    hidden = inputs.unsqueeze(1) @ hidden_weight.mT + hidden_bias.unsqueeze(1)
    return (hidden @ weight.mT + bias.unsqueeze(1))[..., : inputs.shape[1]]


def both_tiled(inputs, *, first_weight, first_bias, second_weight, second_bias):
    first = inputs.unsqueeze(1) @ first_weight.mT + first_bias.unsqueeze(1)
    second = inputs.unsqueeze(1) @ second_weight.mT + second_bias.unsqueeze(1)
    return (first.repeat(1, 1, 1, B) * second.repeat(1, 1, 1, A))[..., : inputs.shape[1]]


def spoilt(*, outside=False, no_softmax=False, after=False, equal=False):
    def weigh(value, energies, *, shares, mask=None, is_causal=False):
        shares = torch.full_like(shares, 1 / len(shares)) if equal else shares
        shares = shares[..., None, None]
        size = torch.broadcast_shapes(*(part.shape for part in energies))
        seen = torch.ones(size).bool() if mask is None else mask.expand(size)
        seen = seen.tril() if is_causal else seen

        def weights(e):
            if no_softmax:
                return e * seen
            if after:
                return e.softmax(-1) * seen
            return torch.where(seen.any(-1, keepdim=True), e.masked_fill(~seen, -torch.inf).softmax(-1), 0.0)

        parts = zip(shares, energies, strict=True)
        found = sum(s * weights(e.expand(size)) for s, e in parts) if outside else weights(sum(s * e for s, e in parts))
        return Attention(found @ value, found, energies[0])

    return weigh


WRONG = {
    "heads by a view": ("dense, rows", heads_by_a_view),
    "without ReLU": ("dense", without_relu),
    "both factors tiled": ("factorised", both_tiled),
    "mixed outside of the softmax": ("weighing", spoilt(outside=True)),
    "no softmax": ("weighing", spoilt(no_softmax=True)),
    "masked after the softmax": ("weighing", spoilt(after=True)),
    "shares left out": ("weighing", spoilt(equal=True)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_versions_are_rejected(name):
    check, wrong = WRONG[name]
    with pytest.raises(AssertionError):
        CHECKS[check](wrong)


def test_the_unspoilt_version_passes():
    check_weighing(spoilt())


def test_a_batch_of_random_matrices_is_noticed():
    """10-zin/Synthesizer, issue 1: a matrix for each text of a batch. Then the same text is weighed in two ways."""

    class OfBatch(torch.nn.Module):
        def forward(self, inputs):
            return torch.randn(len(inputs), HEADS, TIME, TIME)

    text = torch.randn(1, TIME, 6).expand(BATCH, -1, -1)
    weights = Synthesizer(6, HEADS, [OfBatch()])(text).weights
    assert not torch.equal(weights[0], weights[1])
    weights = Synthesizer(6, HEADS, [Random(length=LENGTH, heads=HEADS)])(text).weights
    assert torch.equal(weights[0], weights[1])
