"""A weight for each feature: the paper as loops, what is hidden or empty, wrong versions."""

import math

import oracles
import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend
from attnlib.output_representations.multidimensional import (
    PerFeature,
    SourceToToken,
    attend_features,
    shown,
    source_to_token,
)
from attnlib.scores import dot

BATCH, QUERY, KEY, D, D_H = 2, 3, 5, 7, 11


# --- the oracle: plain loops ------------------------------------------------------------------------------------------


def features_loop(energies, value, visible):
    """Of one query: energies and values are a list of features for each key."""
    context, weights = [], []
    for k in range(len(value[0])):
        row = oracles.softmax_row([e[k] if seen else -math.inf for e, seen in zip(energies, visible, strict=True)])
        weights.append(row)
        context.append(sum(w * v[k] for w, v in zip(row, value, strict=True)))
    return context, [list(column) for column in zip(*weights, strict=True)]


def elu(x):
    return x if x > 0 else math.exp(x) - 1


def source_loop(items, hidden_weight, hidden_bias, weight, bias, visible):
    energies = []
    for x in items:
        hidden = [elu(oracles.inner(row, x) + b) for row, b in zip(hidden_weight, hidden_bias, strict=True)]
        energies.append([oracles.inner(row, hidden) + b for row, b in zip(weight, bias, strict=True)])
    return features_loop(energies, items, visible)


def given_mask():
    mask = torch.tensor([[[1, 0, 1, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1]]]).bool().repeat(BATCH, 1, 1)
    mask[1, 1] = False
    return mask


def check_value(function):
    energies, value, mask = randn(BATCH, QUERY, KEY, D), randn(BATCH, KEY, D), given_mask()
    found = function(energies, value, mask=mask)
    for b in range(BATCH):
        for q in range(QUERY):
            context, weights = features_loop(rows(energies[b, q]), rows(value[b]), mask[b, q].tolist())
            close(found.context[b, q], tensor(context))
            close(found.weights[b, q], tensor(weights))


def check_weights_sum_over_the_tokens(function):
    found = function(randn(QUERY, KEY, D), randn(KEY, D), mask=None)
    close(found.weights.sum(-2), torch.ones(QUERY, D, dtype=torch.float64))


def check_batch_mates(function):
    energies, value = randn(BATCH, QUERY, KEY, D), randn(BATCH, KEY, D)
    both, alone = function(energies, value, mask=None), function(energies[:1], value[:1], mask=None)
    close(both.context[:1], alone.context)


def check_features_differ(function):
    """Two features of one token can have all of the weight and none of it."""
    energies = torch.tensor([[[99.0, -99.0], [-99.0, 99.0]]])
    found = function(energies, torch.tensor([[1.0, 2.0], [3.0, 4.0]]), mask=None)
    torch.testing.assert_close(found.context, torch.tensor([[1.0, 4.0]]))


CHECKS = [check_value, check_weights_sum_over_the_tokens, check_batch_mates, check_features_differ]


@pytest.mark.parametrize("check", CHECKS)
def test_attend_features(check):
    check(attend_features)


def test_source_to_token_is_the_loop():
    items, hidden, out = randn(BATCH, KEY, D), (randn(D_H, D), randn(D_H)), (randn(D, D_H, seed=3), randn(D))
    mask = torch.tensor([[True, True, False, True, True], [True, False, False, False, False]])
    given = {"hidden_weight": hidden[0], "hidden_bias": hidden[1], "weight": out[0], "bias": out[1]}
    found = source_to_token(items, **given, mask=mask)
    for b in range(BATCH):
        context, weights = source_loop(rows(items[b]), *map(rows, (*hidden, *out)), mask[b].tolist())
        close(found.context[b, 0], tensor(context))
        close(found.weights[b, 0], tensor(weights))
    close(found.context[1, 0], items[1, 0])  # one token: all of its features, whatever their energies


def test_energies_that_are_alike_for_all_features_are_attention_with_one_weight():
    query, key, value = randn(BATCH, QUERY, D), randn(BATCH, KEY, D), randn(BATCH, KEY, D, seed=4)
    mask, plain = given_mask(), attend(query, key, value, score=dot, mask=given_mask())
    energies = (query @ key.mT).unsqueeze(-1).expand(BATCH, QUERY, KEY, D)
    close(attend_features(energies, value, mask=mask).context, plain.context)


def test_a_feature_is_a_head_whose_values_have_one_number():
    energies, value = randn(QUERY, KEY, D), randn(KEY, D)
    found = attend_features(energies, value)
    for k in range(D):
        # a bias on energies of zero: any energies can be written so
        alone = attend(value.new_zeros(QUERY, 1), value.new_zeros(KEY, 1), value[:, k : k + 1], bias=energies[..., k])
        close(found.context[:, k : k + 1], alone.context)


def test_a_bias_of_the_energies_of_source_to_token_has_no_effect_and_no_gradient():
    items, bias = randn(KEY, D), leaf(D)
    given = {"hidden_weight": randn(D_H, D), "weight": randn(D, D_H)}
    found = source_to_token(items, **given, bias=bias).context
    close(found, source_to_token(items, **given).context)
    close(torch.autograd.grad((found * randn(1, D, seed=5)).sum(), bias)[0], torch.zeros_like(bias))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e308])
def test_what_is_no_token_changes_nothing(bad, device):
    model = SourceToToken(D, D_H, dtype=torch.float64, device=device)
    items = leaf(BATCH, KEY, D, device=device)
    mask = torch.tensor([[True, True, False, True, False], [False] * KEY], device=device)
    spoilt = items.detach().clone().masked_fill(~mask.unsqueeze(-1), bad).requires_grad_()
    wanted, found = model(items, mask), model(spoilt, mask)
    close(found.context, wanted.context)
    assert not found.context[1].any()
    learned = list(model.parameters())
    for got, want in zip(
        torch.autograd.grad(found.context.sum(), [spoilt, *learned]),
        torch.autograd.grad(wanted.context.sum(), [items, *learned]),
        strict=True,
    ):
        close(got, want)
        assert got.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    energies, value = (8 * randn(QUERY, KEY, D)).to(dtype), randn(KEY, D).to(dtype)
    found = attend_features(energies, value)
    exact = attend_features(energies.double(), value.double())
    assert found.energies.dtype == torch.float32
    assert found.context.dtype == dtype
    assert ((found.context.double() - exact.context).abs() <= 2 * torch.finfo(dtype).eps).all()


def test_slopes_are_the_numerical_ones():
    mask = given_mask()

    def run(energies, value):
        return attend_features(energies, value, mask=mask)[:2]

    leaves = leaf(BATCH, QUERY, KEY, D), leaf(BATCH, KEY, D)
    assert gradcheck(run, leaves, fast_mode=True)
    assert gradgradcheck(run, leaves, fast_mode=True)


def test_no_argument_is_changed_and_vmap_works():
    energies, value, mask = randn(BATCH, QUERY, KEY, D), randn(BATCH, KEY, D), given_mask()
    before = [part.clone() for part in (energies, value, mask)]
    batch = attend_features(energies, value, mask=mask).context
    for part, kept in zip((energies, value, mask), before, strict=True):
        assert torch.equal(part, kept)
    close(torch.vmap(lambda e, v, m: attend_features(e, v, mask=m).context)(energies, value, mask), batch)


def test_no_key_and_no_token():
    found = attend_features(randn(QUERY, 0, D), randn(0, D))
    assert found.context.shape == (QUERY, D)
    assert not found.context.any()
    assert not SourceToToken(D)(torch.zeros(1, 0, D)).context.any()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: attend_features(randn(KEY, D), randn(KEY, D)), ValueError, r"energies must be.*got \(5, 7\)"),
        (lambda: attend_features(randn(QUERY, KEY, D), randn(KEY, 2)), ValueError, r"value must have.*got \(5, 2\)"),
        (lambda: attend_features([1.0], randn(KEY, D)), TypeError, "energies must be a tensor, got list"),
        (
            lambda: attend_features(randn(QUERY, KEY, D), randn(KEY, D), mask=torch.ones(QUERY, KEY)),
            TypeError,
            "mask must be boolean",
        ),
        (
            lambda: attend_features(randn(QUERY, KEY, D), randn(KEY, D), mask=torch.ones(KEY, QUERY).bool()),
            ValueError,
            "does not broadcast",
        ),
        (
            lambda: attend_features(randn(2, QUERY, KEY, D), randn(3, KEY, D)),
            ValueError,
            r"must broadcast, got energies \(2,\), value \(3,\)",
        ),
        (
            lambda: attend_features(randn(QUERY, KEY, D), randn(KEY, D).float()),
            TypeError,
            r"energies have dtype torch\.float64 but value has dtype torch\.float32",
        ),
        (lambda: shown(randn(KEY, D), torch.ones(D).bool()), ValueError, r"\(5,\) of the items, got \(7,\)"),
        (
            lambda: source_to_token(randn(KEY, D), hidden_weight=randn(D_H, 2), weight=randn(D, D_H)),
            ValueError,
            "hidden_weight must have shape",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def softmax_over_the_features(energies, value, *, mask=None):
    weights = torch.softmax(energies, -1)
    return PerFeature((weights * value.unsqueeze(-3)).sum(-2), weights, energies)


def softmax_over_the_batch(energies, value, *, mask=None):
    weights = torch.softmax(energies, 0)
    return PerFeature((weights * value.unsqueeze(-3)).sum(-2), weights, energies)


def one_weight_for_all_features(energies, value, *, mask=None):
    seen = torch.ones(energies.shape[:-1], dtype=torch.bool) if mask is None else mask
    weights = torch.softmax(energies.mean(-1).masked_fill(~seen, -1e9), -1)
    return PerFeature(weights @ value, weights.unsqueeze(-1).expand_as(energies), energies)


def large_number_in_place_of_minus_infinity(energies, value, *, mask=None):
    """The addition of -1e30 by which a row without keys gets even weights."""
    seen = torch.ones(energies.shape[:-1]).double() if mask is None else mask.double()
    weights = torch.softmax(energies - 1e30 * (1 - seen).unsqueeze(-1), -2)
    return PerFeature((weights * value.unsqueeze(-3)).sum(-2), weights, energies)


WRONG = [
    (softmax_over_the_features, check_weights_sum_over_the_tokens),
    (softmax_over_the_batch, check_batch_mates),
    (one_weight_for_all_features, check_features_differ),
    (large_number_in_place_of_minus_infinity, check_value),
]


@pytest.mark.parametrize(("wrong", "check"), WRONG)
def test_wrong_versions_are_rejected(wrong, check):
    with pytest.raises(AssertionError):
        check(wrong)
