"""Random features: their mean is the kernel, right angles lessen the variance, and attention comes out of them."""

import functools
import math

import oracles
import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck

from attnlib import attend
from attnlib.frontiers.linear import linear_attention
from attnlib.frontiers.random_features import gaussian_directions, positive_features, trigonometric_features

QUERY, KEY, D, M = 3, 5, 7, 11


def positive_loop(x, directions, scale):
    x = [component * math.sqrt(scale) for component in x]
    half = oracles.inner(x, x) / 2
    return [math.exp(oracles.inner(w, x) - half) / math.sqrt(len(directions)) for w in directions]


def trigonometric_loop(x, directions, scale):
    x = [component * math.sqrt(scale) for component in x]
    size = math.exp(oracles.inner(x, x) / 2) / math.sqrt(len(directions))
    angles = [oracles.inner(w, x) for w in directions]
    return [size * math.cos(a) for a in angles] + [size * math.sin(a) for a in angles]


LOOPS = {positive_features: positive_loop, trigonometric_features: trigonometric_loop}


def draws(features=positive_features, directions=gaussian_directions, times=4000, size=0.7):
    """Estimates of one kernel, each from ``D`` directions of their own; and the kernel."""
    query, key = size * randn(1, D), size * randn(1, D, seed=1)
    w = directions(times * D, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    products = features(query, directions=w) * features(key, directions=w)  # runs one after another; sines come last
    found = times * products.view(-1, times, D).sum((0, 2))
    return found, math.exp(oracles.inner(rows(query[0]), rows(key[0])) / math.sqrt(D))


def check_value(features, loop=positive_loop):
    x, w = randn(KEY, D), randn(M, D, seed=1)
    for scale in (None, 0.3):
        found = features(x, directions=w, scale=scale)
        close(found, tensor([loop(v, rows(w), scale or 1 / math.sqrt(D)) for v in rows(x)]))


def check_unbiased(features, directions=gaussian_directions):
    """The mean of 4000 estimates lies within four of its own deviations of the kernel; and that is near."""
    found, kernel = draws(features, directions)
    error = found.std() / math.sqrt(len(found))
    assert error < 0.05 * kernel
    assert (found.mean() - kernel).abs() < 4 * error


@pytest.mark.parametrize("features", LOOPS)
def test_features_are_the_loops(features):
    check_value(features, LOOPS[features])


@pytest.mark.parametrize("features", LOOPS)
@pytest.mark.parametrize("orthogonal", [False, True])
def test_features_are_unbiased(features, orthogonal):
    check_unbiased(features, functools.partial(gaussian_directions, orthogonal=orthogonal))


# --- known wrong versions ---------------------------------------------------------------------------------------------


def without_lengths(vectors, *, directions, scale=None):
    """The factor exp(-|x|^2 / 2) left out."""
    x = vectors / vectors.shape[-1] ** 0.25
    return torch.exp(x @ directions.mT) / math.sqrt(directions.shape[0])


def scaled_once_too_often(vectors, *, directions, scale=None):
    """1 / sqrt(d) of query and of key, where the root of it belongs to each."""
    return positive_features(vectors, directions=directions, scale=1 / vectors.shape[-1])


def even_lengths(count, d, **options):
    """Directions at right angles that have all one length."""
    w = gaussian_directions(count, d, **options)
    return w / w.norm(dim=-1, keepdim=True)


MUTANTS = {
    "without the lengths": lambda: check_unbiased(without_lengths),
    "scaled once too often": lambda: check_unbiased(scaled_once_too_often),
    "directions of length one": lambda: check_unbiased(positive_features, even_lengths),
    "not divided by the root of their number": lambda: check_value(
        lambda x, **options: positive_features(x, **options) * math.sqrt(M)
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant):
    with pytest.raises(AssertionError):
        mutant()


# --- directions -------------------------------------------------------------------------------------------------------


def test_directions_stand_at_right_angles_in_runs():
    w = gaussian_directions(2 * D + 3, D, dtype=torch.float64)
    assert w.shape == (2 * D + 3, D)
    for first in (0, D, 2 * D):
        run = w[first : first + D]
        table = run @ run.mT
        close(table, torch.diag(table.diagonal()))
    assert (w[:D] @ w[D : 2 * D].mT).abs().max() > 0.1
    assert gaussian_directions(4, D).dtype == torch.float32


def test_each_direction_is_gaussian():
    """Mean 0, covariance 1, mean square of the length d and of its square d (d + 2): within four deviations."""
    generator = torch.Generator().manual_seed(0)
    w = gaussian_directions(12000, 3, generator=generator, dtype=torch.float64)
    n = len(w)
    assert (w.mean(0).abs() < 4 / math.sqrt(n)).all()
    assert ((w.mT @ w / n - torch.eye(3)).abs() < 4 * math.sqrt(2 / n)).all()
    square = w.square().sum(-1)
    assert (square.square().mean() - 15).abs() < 4 * square.square().std() / math.sqrt(n)
    again = gaussian_directions(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again, gaussian_directions(5, 3, generator=torch.Generator().manual_seed(0)))


def test_right_angles_lessen_the_variance():
    apart, right = (draws(directions=functools.partial(gaussian_directions, orthogonal=o))[0] for o in (False, True))
    assert right.var() < 0.9 * apart.var()


def test_positive_features_are_better_where_the_kernel_is_small():
    """Of opposite vectors: sine and cosine give differences of large numbers, some of them negative."""
    x, w = 2 * randn(1, D), gaussian_directions(500 * D, D, dtype=torch.float64)
    found = {}
    for features in LOOPS:
        products = features(x, directions=w) * features(-x, directions=w)
        found[features] = 500 * products.view(-1, 500, D).sum((0, 2))
    assert (found[positive_features] > 0).all()
    assert (found[trigonometric_features] < 0).any()
    assert found[positive_features].var() < found[trigonometric_features].var() / 100


def test_features_do_not_overflow():
    """No feature is above exp(|w|^2 / 2) / sqrt(m), however long the vector."""
    w = gaussian_directions(M, D)
    for size in (1.0, 1e3, 1e15):
        features = positive_features(size * randn(KEY, D).float(), directions=w)
        assert (features <= (w.square().sum(-1) / 2).exp() / math.sqrt(M) * 1.001).all()


# --- the bridge to linear attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_causal", [False, True])
def test_linear_attention_of_many_features_is_softmax_attention(is_causal):
    query, key, value = (0.7 * randn(9, D, seed=seed) for seed in range(3))
    wanted, errors = attend(query, key, value, is_causal=is_causal).context, []
    for count in (100, 10000):
        w = gaussian_directions(count, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        feature_map = functools.partial(positive_features, directions=w)
        found = linear_attention(query, key, value, feature_map=feature_map, is_causal=is_causal, chunk=4)
        errors.append((found.context - wanted).square().mean().sqrt().item())
    assert errors[1] < 0.03
    assert errors[1] < errors[0] / 3  # a hundred times the features, a tenth of the error


def test_slopes_and_half_precision():
    w = randn(M, D)
    for features in LOOPS:
        assert gradcheck(functools.partial(features, directions=w), leaf(KEY, D), fast_mode=True)
        half = features(randn(KEY, D).bfloat16(), directions=w.float())
        assert half.dtype == torch.float32


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="count and d must be at least 1, got 0 and 3"):
        gaussian_directions(0, 3)
    with pytest.raises(ValueError, match=r"directions must have shape \(m=11, d=7\), got shape \(11, 2\)"):
        positive_features(randn(KEY, D), directions=randn(M, 2))
    with pytest.raises(ValueError, match="scale must be a finite number above 0, got 0"):
        trigonometric_features(randn(KEY, D), directions=randn(M, D), scale=0)
