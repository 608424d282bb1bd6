"""Attention as kernel smoothing: the paper's sum as a loop, signs, overflow, what is hidden, wrong versions."""

import functools
import itertools
import math

import oracles
import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import Attention, attend
from attnlib.frontiers.kernels import (
    kernel_smoother,
    linear_kernel,
    log_exponential_kernel,
    log_rbf_kernel,
    polynomial_kernel,
    shares,
)
from attnlib.masks import causal

BATCH, QUERY, KEY, D_Q, D_K, D_V, D = 2, 3, 5, 7, 11, 13, 17
WEIGHTS = {"query_weight": randn(D, D_Q) / 3, "key_weight": randn(D, D_K) / 3}

# --- the oracle: plain loops ------------------------------------------------------------------------------------------


def smoother_loop(query, key, value, kernel, visible=None, place=None):
    """Contexts and weights: each kernel's value over the sum of those that the filter lets through."""
    contexts, all_weights = [], []
    for i, q in enumerate(query):
        values = [kernel(q, k) * (1 if place is None else place[i][j]) for j, k in enumerate(key)]
        values = [x if visible is None or visible[i][j] else 0.0 for j, x in enumerate(values)]
        total = sum(values)
        weights = [x / total if total else 0.0 for x in values]
        contexts.append([sum(w * v[d] for w, v in zip(weights, value, strict=True)) for d in range(len(value[0]))])
        all_weights.append(weights)
    return contexts, all_weights


def projected(q, k, query_weight=None, key_weight=None):
    key_weight = query_weight if key_weight is None else key_weight
    q = q if query_weight is None else oracles.times(query_weight, q)
    return q, k if key_weight is None else oracles.times(key_weight, k)


def linear_loop(q, k, **weights):
    q, k = projected(q, k, **weights)
    return oracles.inner(q, k) / math.sqrt(len(q))


def polynomial_loop(q, k, degree=2, offset=0.0, **weights):
    value = 1.0
    for _ in range(degree):
        value *= linear_loop(q, k, **weights) + offset
    return value


def exponential_loop(q, k, **weights):
    return math.exp(linear_loop(q, k, **weights))


def rbf_loop(q, k, width=1.0, **weights):
    q, k = projected(q, k, **weights)
    return math.exp(-sum((a - b) ** 2 for a, b in zip(q, k, strict=True)) / (2 * width**2))


KERNELS = {
    "linear": ("kernel", linear_kernel, linear_loop, {}),
    "polynomial": ("kernel", polynomial_kernel, polynomial_loop, {}),
    "cubic": ("kernel", polynomial_kernel, polynomial_loop, {"degree": 3, "offset": 0.5}),
    "exponential": ("log_kernel", log_exponential_kernel, exponential_loop, {}),
    "rbf": ("log_kernel", log_rbf_kernel, rbf_loop, {"width": 1.7}),
}


def inputs(d_q=D_Q, d_k=D_K):
    return randn(BATCH, QUERY, d_q), randn(BATCH, KEY, d_k, seed=1), randn(BATCH, KEY, D_V, seed=2)


def a_mask():
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1]]).bool().repeat(BATCH, 1, 1)
    mask[1, 1] = False
    return mask


def check_value(function, names=tuple(KERNELS)):
    query, key, value = inputs()
    for name, masked in itertools.product(names, (False, True)):
        which, kernel, loop, options = KERNELS[name]
        given = {which: functools.partial(kernel, **WEIGHTS, **options)}
        if name in ("linear", "cubic"):
            given["signed"] = True
        mask, wanted = a_mask() if masked else None, {part: rows(weight) for part, weight in WEIGHTS.items()}
        found = function(query, key, value, mask=mask, **given)
        for b in range(BATCH):
            seen = mask[b].tolist() if masked else None
            context, weights = smoother_loop(
                rows(query[b]), rows(key[b]), rows(value[b]), functools.partial(loop, **options, **wanted), seen
            )
            torch.testing.assert_close(found.context[b], tensor(context), rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(found.weights[b], tensor(weights), rtol=1e-8, atol=1e-10)


def check_negative_is_refused(function):
    query, key, value = inputs(D_Q, D_Q)
    found = function(query, key, value, kernel=linear_kernel)
    negative = (linear_kernel(query, key) < 0).any(-1)
    assert negative.any()
    assert torch.equal(found.context.isnan().all(-1), negative)


def check_large_numbers(function):
    """exp(5000) and exp(-5000): the weights are those of the differences."""
    key = tensor([[1.0], [0.9999]])
    for query in (tensor([[5000.0]]), tensor([[-5000.0]])):
        wanted = 1 / (1 + math.exp(-0.0001 * query.item()))
        found = function(query, key, tensor([[1.0], [0.0]]), log_kernel=log_exponential_kernel)
        torch.testing.assert_close(found.context, tensor([[wanted]]), rtol=1e-8, atol=0)
    far = function(tensor([[100.0]]), tensor([[0.0], [1.0]]), tensor([[0.0], [1.0]]), log_kernel=log_rbf_kernel)
    close(far.context, tensor([[1.0]]))


def check_nothing_seen(function):
    query, key, value = (part.requires_grad_() for part in inputs(D_Q, D_Q))
    for given in ({"kernel": polynomial_kernel}, {"log_kernel": log_rbf_kernel}):
        context = function(query, key, value, mask=a_mask(), **given).context
        assert (context[1, 1] == 0).all()
        gradients = torch.autograd.grad(context.sum(), (query, key, value))
        assert all(part.isfinite().all() for part in gradients)
        assert (gradients[0][1, 1] == 0).all()


CHECKS = [check_value, check_negative_is_refused, check_large_numbers, check_nothing_seen]


@pytest.mark.parametrize("check", CHECKS)
def test_kernel_smoother(check):
    check(kernel_smoother)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def softmax_of_the_kernel(query, key, value, *, kernel=None, log_kernel=None, mask=None, signed=False):
    """Exponentials of what is a kernel already."""
    return attend(query, key, value, score=kernel or log_kernel, mask=mask)


def bare(query, key, value, *, kernel=None, log_kernel=None, mask=None, signed=False, clipped=False, power=1):
    """Exponentials without their maximum, sums over whatever there is."""
    values = log_kernel(query, key).exp() if kernel is None else kernel(query, key)
    values = values.clamp(min=0) if clipped else values
    values = values if mask is None else values * mask
    weights = values / values.abs().sum(-1, keepdim=True) ** power
    return Attention(weights @ value, weights, None)


MUTANTS = {
    "exponentials of a kernel": (softmax_of_the_kernel, functools.partial(check_value, names=("polynomial",))),
    "divided by the sum of sizes": (bare, functools.partial(check_value, names=("linear",))),
    "not divided": (functools.partial(bare, power=0), functools.partial(check_value, names=("exponential",))),
    "negative ones let through": (functools.partial(kernel_smoother, signed=True), check_negative_is_refused),
    "negative ones cut off": (functools.partial(bare, clipped=True), check_negative_is_refused),
    "no logarithm": (bare, check_large_numbers),
    "nothing over nothing": (bare, check_nothing_seen),
}


@pytest.mark.parametrize(("mutant", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant, check):
    with pytest.raises((AssertionError, ValueError)):
        check(mutant)


# --- values -----------------------------------------------------------------------------------------------------------


def test_the_exponential_kernel_is_attention():
    query, key, value = inputs()
    asked, offered = query @ WEIGHTS["query_weight"].mT, key @ WEIGHTS["key_weight"].mT
    log_kernel = functools.partial(log_exponential_kernel, **WEIGHTS)
    for mask in (None, a_mask()):
        found = kernel_smoother(query, key, value, log_kernel=log_kernel, mask=mask)
        for got, want in zip(found, attend(asked, offered, value, mask=mask), strict=True):
            close(got, want)
        silent = kernel_smoother(query, key, value, log_kernel=log_kernel, mask=mask, need_weights=False)
        close(silent.context, found.context)


def test_by_its_values_or_by_its_logarithm():
    query, key, value = inputs()
    log_kernel = functools.partial(log_exponential_kernel, **WEIGHTS)
    one = kernel_smoother(query, key, value, log_kernel=log_kernel, mask=a_mask())
    two = kernel_smoother(query, key, value, kernel=lambda q, k: log_kernel(q, k).exp(), mask=a_mask())
    close(one.context, two.context)
    close(one.weights, two.weights)


@pytest.mark.parametrize("which", ["kernel", "log_kernel"])
def test_a_second_kernel_of_the_places(which):
    """The product of two kernels is the sum of their logarithms; minus infinity hides."""
    query, key, value = inputs(D_Q, D_Q)
    log_place = -(torch.arange(QUERY)[:, None] - torch.arange(KEY)).abs().double()
    log_place[2, 4] = -math.inf
    loop = polynomial_loop if which == "kernel" else exponential_loop
    kernel = polynomial_kernel if which == "kernel" else log_exponential_kernel
    found = kernel_smoother(query, key, value, **{which: kernel}, log_place=log_place)
    for b in range(BATCH):
        parts = (rows(part[b]) for part in (query, key, value))
        context, weights = smoother_loop(*parts, loop, place=rows(log_place.exp()))
        close(found.context[b], tensor(context))
        close(found.weights[b], tensor(weights))
    log_place = leaf(QUERY, KEY, seed=4)

    def run(log_place):
        return kernel_smoother(query, key, value, **{which: kernel}, log_place=log_place, mask=a_mask()).context

    assert gradcheck(run, log_place, fast_mode=True)


def test_places_that_are_added_are_four_kernels():
    """exp<f + t, f' + t'> = exp<f, f'> exp<f, t'> exp<t, f'> exp<t, t'>: content and place mixed, as in the sum."""
    features, places = randn(KEY, D) / 2, randn(KEY, D, seed=1) / 2
    value = randn(KEY, D_V)
    added = kernel_smoother(features + places, features + places, value, log_kernel=log_exponential_kernel)
    pairs = itertools.product((features, places), repeat=2)
    four = sum(log_exponential_kernel(a, b) for a, b in pairs)
    close(added.energies, four)
    two = log_exponential_kernel(features, features), log_exponential_kernel(places, places)
    product = kernel_smoother(features, features, value, log_kernel=log_exponential_kernel, log_place=two[1])
    close(product.energies, sum(two))
    assert (product.weights - added.weights).abs().max() > 0.01


def test_symmetric_kernels_are_positive_definite_and_two_matrices_are_no_kernel():
    items, weight = randn(KEY, D_K), {"query_weight": WEIGHTS["key_weight"]}
    for log_kernel in (log_exponential_kernel, log_rbf_kernel):
        table = log_kernel(items, items, **weight).exp()
        close(table, table.mT)
        assert (torch.linalg.eigvalsh(table) > 0).all()
    two = log_exponential_kernel(items, items, **weight, key_weight=randn(D, D_K, seed=7) / 3)
    assert (two - two.mT).abs().max() > 0.1


def test_an_even_power_sees_no_sign():
    query, key, value = inputs(D_Q, D_Q)
    found = [kernel_smoother(query, k, value, kernel=polynomial_kernel) for k in (key, -key)]
    close(found[0].weights, found[1].weights)


def test_attention_without_a_mask_does_not_know_order_and_causal_attention_does():
    """The paper's remark: the filter of the decoder tells order, without any positions."""
    items, value = randn(KEY, D_K), randn(KEY, D_V)
    order = torch.tensor([3, 0, 4, 1, 2])
    run = functools.partial(kernel_smoother, log_kernel=log_exponential_kernel)
    for is_causal in (False, True):
        before = run(items, items, value, is_causal=is_causal).context[order]
        after = run(items[order], items[order], value[order], is_causal=is_causal).context
        assert torch.allclose(before, after) != is_causal
    masked = run(items, items, value, mask=causal(KEY)).context
    close(run(items, items, value, is_causal=True).context, masked)


def test_signed_weights_are_no_distribution():
    query, key, value = tensor([[1.0]]), tensor([[1.0], [-0.9]]), tensor([[0.0], [1.0]])
    found = kernel_smoother(query, key, value, kernel=linear_kernel, signed=True)
    close(found.weights, tensor([[10.0, -9.0]]))
    close(found.context, tensor([[-9.0]]))
    none = kernel_smoother(query, tensor([[1.0], [-1.0]]), value, kernel=linear_kernel, signed=True)
    assert (none.weights == 0).all()


# --- precision, what is hidden, gradients -----------------------------------------------------------------------------


def test_shares():
    energies = tensor([[1.0, 3.0, -math.inf], [0.0, 0.0, 0.0], [-math.inf] * 3, [1e308, 1e308, 0.0]])
    wanted = tensor([[0.25, 0.75, 0.0], [0.0] * 3, [0.0] * 3, [0.5, 0.5, 0.0]])
    close(shares(energies), wanted)
    assert shares(torch.tensor([[1.0, math.nan], [1.0, math.inf]])).isnan().any(-1).all()
    assert shares(torch.zeros(2, 0)).shape == (2, 0)
    small = torch.tensor([5e-324, 1.5e-323], dtype=torch.float64)
    close(shares(small), tensor([0.25, 0.75]))
    assert gradcheck(shares, randn(3, 4).exp().requires_grad_())
    assert shares(torch.tensor([60000.0, 60000.0]).half()).tolist() == [0.5, 0.5]


def test_what_is_hidden_may_be_negative_or_bad():
    query, key, value = inputs(D_Q, D_Q)
    mask = linear_kernel(query, key) > 0
    wanted = kernel_smoother(query, key, value, kernel=linear_kernel, mask=mask)
    assert wanted.context.isfinite().all()
    mask = torch.tensor([True, True, False, True, False])
    for bad in (math.nan, math.inf, 1e300):
        spoilt = [torch.where(mask[:, None], part, bad) for part in (key, value)]
        for given in ({"kernel": polynomial_kernel}, {"log_kernel": log_rbf_kernel}):
            run = functools.partial(kernel_smoother, mask=mask, **given)
            parts = [part.clone().requires_grad_() for part in (query, *spoilt)]
            found, clean = run(*parts).context, run(query, key, value).context
            close(found, clean)
            assert all(slope.isfinite().all() for slope in torch.autograd.grad(found.sum(), parts))


@pytest.mark.parametrize("name", KERNELS)
def test_slopes_are_the_numerical_ones(name):
    which, kernel, _, options = KERNELS[name]
    signed = {"signed": True} if name in ("linear", "cubic") else {}

    def run(query, key, value, first, second):
        given = {which: functools.partial(kernel, query_weight=first, key_weight=second, **options)}
        return kernel_smoother(query, key, value, mask=a_mask(), **given, **signed).context

    parts = [leaf(BATCH, QUERY, D_Q), leaf(BATCH, KEY, D_K, seed=1), leaf(BATCH, KEY, D_V, seed=2)]
    parts += [part.clone().requires_grad_() for part in WEIGHTS.values()]
    assert gradcheck(run, parts, fast_mode=True, rtol=1e-2)
    assert gradgradcheck(run, parts, fast_mode=True, rtol=1e-2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, k, v: kernel_smoother(q, k, v), "one of kernel and log_kernel must be given, got neither"),
        (
            lambda q, k, v: kernel_smoother(q, k, v, kernel=linear_kernel, log_kernel=log_rbf_kernel),
            "one of kernel and log_kernel must be given, got both",
        ),
        (lambda q, k, v: kernel_smoother(q, k, v, log_kernel=log_rbf_kernel, signed=True), "signed must be False"),
        (lambda q, k, v: polynomial_kernel(q, q, degree=0), "degree must be a whole number of at least 1, got 0"),
        (lambda q, k, v: polynomial_kernel(q, q, degree=1.5), "degree must be a whole number of at least 1, got 1.5"),
        (lambda q, k, v: log_rbf_kernel(q, q, width=0.0), "width must be a finite number above 0"),
        (lambda q, k, v: linear_kernel(q, k), "key has d_k=11 but query has d_k=7"),
        (lambda q, k, v: linear_kernel(q, k, query_weight=randn(D, D_K)), "query_weight must have shape"),
        (lambda q, k, v: linear_kernel(q, q, query_weight=randn(D, D_Q), key_weight=randn(D, 2)), "key_weight must"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*inputs())
