"""A pytest plugin that puts attnlib's maps in the place of the package ``entmax``'s, for that package's own tests.

Its losses stay, as Fenchel-Young losses on attnlib's maps; and so do its thresholds of the ``k`` largest entries, which
the tests compare with those of all entries, here attnlib's. What attnlib has no counterpart of is skipped. Gradients
are checked along random directions, as torch's own tests do it; entry by entry takes three times as long.
"""

import functools

import entmax
import pytest
import torch
from entmax import activations, losses, root_finding

from attnlib import distributions

genuine = {
    "sparsemax": activations._sparsemax_threshold_and_support,
    "entmax": activations._entmax_threshold_and_support,
}


def sparsemax(X, dim=-1, k=None):
    return distributions.sparsemax(X, dim=dim)


def entmax15(X, dim=-1, k=None):
    return distributions.entmax(X, dim=dim)


def entmax_bisect(X, alpha=1.5, dim=-1, n_iter=50, ensure_sum_one=True):
    """By the root finder, which takes an alpha as a tensor without the axis of the weights."""
    alpha = torch.as_tensor(alpha, dtype=X.dtype)
    return distributions.entmax(X, alpha=alpha.squeeze(dim) if alpha.ndim == X.ndim else alpha, dim=dim)


def sparsemax_bisect(X, dim=-1, n_iter=50, ensure_sum_one=True):
    return entmax_bisect(X, 2.0, dim)


def sparsemax_threshold(X, dim=-1, k=None):
    if k is not None:
        return genuine["sparsemax"](X, dim=dim, k=k)
    weights = sparsemax(X, dim)
    return X.amax(dim, keepdim=True) - weights.amax(dim, keepdim=True), (weights > 0).sum(dim, keepdim=True)


def entmax_threshold(X, dim=-1, k=None):
    if k is not None:
        return genuine["entmax"](X, dim=dim, k=k)
    weights = entmax15(2 * X, dim)  # theirs comes halved
    return X.amax(dim, keepdim=True) - weights.amax(dim, keepdim=True).sqrt(), (weights > 0).sum(dim, keepdim=True)


class Map(torch.nn.Module):
    def __init__(self, function, dim=-1, k=None):
        super().__init__()
        self.function, self.dim = function, dim

    def forward(self, X):
        return self.function(X, self.dim)


class Sparsemax(Map):
    def __init__(self, dim=-1, k=None):
        super().__init__(sparsemax, dim)


class Entmax15(Map):
    def __init__(self, dim=-1, k=None):
        super().__init__(entmax15, dim)


def missing(*args, **options):
    pytest.skip("attnlib has neither normmax nor budget attention")


def pytest_configure(config):
    """Only as a plugin: who merely imports this file, as a search for doctests does, keeps the package as it is."""
    for module in (entmax, activations, losses, root_finding):
        for function in (sparsemax, entmax15, entmax_bisect, sparsemax_bisect, Sparsemax, Entmax15):
            if hasattr(module, function.__name__):
                setattr(module, function.__name__, function)
        for name in ("normmax_bisect", "budget_bisect"):
            if hasattr(module, name):
                setattr(module, name, missing)
    activations._sparsemax_threshold_and_support = sparsemax_threshold
    activations._entmax_threshold_and_support = entmax_threshold
    torch.autograd.gradcheck = functools.partial(torch.autograd.gradcheck, fast_mode=True)
    torch.manual_seed(0)  # the tests draw without a seed
