"""Properties of every mechanism: what the mask hides, precisions, open sizes, and that asking changes nothing."""

import functools
import importlib
import inspect
import pkgutil
import typing

import checks
import pytest
import torch
from checks import BATCH, D_K, D_V, KEY, QUERY, randn
from mechanisms import COVERED, DISTRIBUTIONS, FIXED_LENGTH, MECHANISMS, WITHOUT_WEIGHTS, parameters

import attnlib
from attnlib import Attention, attend, scores
from attnlib.distributions import softmax
from attnlib.masks import key_mask

HALF = [torch.float16, torch.bfloat16]
PRECISIONS = [torch.float64, torch.float32, *HALF]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def inputs(dtype=torch.float64, size=1.0):
    query, key = size * randn(BATCH, QUERY, D_K), size * randn(BATCH, KEY, D_K, seed=1)
    return query.to(dtype), key.to(dtype), randn(BATCH, KEY, D_V, seed=2).to(dtype)


def padding():
    """Three of five keys are real, then four."""
    return key_mask(torch.tensor([3, 4]), KEY)


def per_query():
    """Each key is hidden from some query and seen by another; one query sees nothing."""
    mask = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 1, 1, 0], [1, 0, 1, 1, 1]]).bool().expand(BATCH, QUERY, KEY).clone()
    mask[1, 0] = False
    return mask


def run(function, parts, mask, rows=None):
    """Context and gradients of inputs and parameters, of all rows or of some."""
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    learned = list(function.parameters()) if isinstance(function, torch.nn.Module) else []
    context = function(*leaves, mask=mask).context
    context = context if rows is None else context[:, rows]
    upstream = randn(*context.shape, seed=9).to(context.dtype)
    loss = (context * upstream).double().sum()
    gradients = torch.autograd.grad(loss, [*leaves, *learned], materialize_grads=True, allow_unused=True)
    return [context.detach(), *gradients]


def garbage(shape, dtype, seed):
    """What uninitialised memory may hold: any bits, so NaN, infinities, and finite numbers of any size."""
    whole = {8: torch.int64, 4: torch.int32, 2: torch.int16}[torch.empty(0, dtype=dtype).element_size()]
    info, generator = torch.iinfo(whole), torch.Generator().manual_seed(seed)
    return torch.randint(info.min, info.max, shape, dtype=whole, generator=generator).view(dtype)


def filled(like, bad):
    return garbage(like.shape, like.dtype, len(bad)) if isinstance(bad, str) else torch.full_like(like, bad)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", MECHANISMS)
def test_uninitialised_padding_changes_nothing(name, dtype):
    function = MECHANISMS[name](dtype)
    query, key, value = inputs(dtype)
    hidden = ~padding().mT
    wanted = run(function, (query, key, value), padding())
    for bad in ("bits", "other bits", torch.finfo(dtype).max, torch.finfo(dtype).min):
        spoilt = [torch.where(hidden, filled(part, bad), part) for part in (key, value)]
        for got, want in zip(run(function, (query, *spoilt), padding()), wanted, strict=True):
            assert want.isfinite().all()
            torch.testing.assert_close(got, want, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("bad", ["nan", "inf", "huge"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", MECHANISMS)
def test_what_one_query_does_not_see_is_hidden_from_it_alone(name, dtype, bad):
    """Key 2 is spoilt. Query 0 does not see it: its context and all gradients that come from it stay as they are."""
    function, (query, key, value) = MECHANISMS[name](dtype), inputs(dtype)
    number = {"nan": torch.nan, "inf": torch.inf, "huge": torch.finfo(dtype).max}[bad]
    spoilt_key, spoilt_value = key.clone(), value.clone()
    spoilt_key[:, 2], spoilt_value[:, 2] = number, number
    wanted = run(function, (query, key, value), per_query(), rows=slice(0, 1))
    assert all(part.isfinite().all() for part in wanted)
    found = run(function, (query, spoilt_key, spoilt_value), per_query(), rows=slice(0, 1))
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("size", [1.0, 10.0])
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", MECHANISMS)
def test_half_precision_is_rounded_at_its_ends_only(name, dtype, size):
    """Of the same half-precision numbers: energies in float32, and a context that is off by its own rounding."""
    parts = inputs(dtype, size)
    half, double = MECHANISMS[name](dtype), MECHANISMS[name](torch.float64, dtype)
    found, exact = half(*parts, mask=padding()), double(*(part.double() for part in parts), mask=padding())
    assert found.energies.dtype == torch.float32
    assert found.context.dtype == found.weights.dtype == dtype
    mapped = name in ("generalized_kernel", "feature_based")  # the caller's feature map rounds to half
    reach = 8 if mapped else 2
    error = (found.context.double() - exact.context).abs()
    assert (error <= reach * torch.finfo(dtype).eps * exact.context.abs().clamp(min=1) * (size if mapped else 1)).all()


@pytest.mark.parametrize("mask", ["none", "padding", "per query"])
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_asking_for_the_weights_changes_nothing(name, dtype, mask):
    function, parts = MECHANISMS[name](dtype), inputs(dtype, 3.0)
    mask = {"none": None, "padding": padding(), "per query": per_query()}[mask]
    silent = checks.run_with_gradients(functools.partial(function, mask=mask, need_weights=False), *parts)
    asked = checks.run_with_gradients(functools.partial(function, mask=mask), *parts)
    for got, want in zip(silent, asked, strict=True):
        torch.testing.assert_close(got, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", [name for name in MECHANISMS if name not in FIXED_LENGTH | {"bias"}])
@pytest.mark.usefixtures("unchecked")
def test_exports_with_any_number_of_keys(name):
    from torch.export import Dim

    class Alone(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mechanism = MECHANISMS[name](torch.float32)

        def forward(self, query, key, value, mask):
            return self.mechanism(query, key, value, mask=mask)[:2]

    keys, module = Dim("keys", min=2, max=31), Alone()
    sizes = ({}, {1: keys}, {1: keys}, {2: keys})
    short = inputs(torch.float32)
    program = torch.export.export(module, (*short, padding()), dynamic_shapes=sizes, strict=False).module()
    longer = short[0], *(randn(BATCH, 11, d, seed=3, dtype=torch.float32) for d in (D_K, D_V))
    for parts, mask in ((short, padding()), (longer, key_mask(torch.tensor([11, 0]), 11))):
        for got, want in zip(program(*parts, mask), module(*parts, mask), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=2e-6)


def test_every_mechanism_is_here():
    """Each public function of attnlib that gives an ``Attention``, each score and each distribution has its line."""
    found = set()
    for info in pkgutil.walk_packages(attnlib.__path__, "attnlib."):
        if any(part in info.name for part in ("widgets", "plotting", "data", "._")):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            member = getattr(module, name)
            if inspect.isfunction(member) and typing.get_type_hints(member).get("return") is Attention:
                found.add(inspect.unwrap(member))
    assert found == {inspect.unwrap(function) for function in COVERED}
    functions = {name for name in scores.__all__ if inspect.isfunction(getattr(scores, name))}
    assert functions == set(parameters(None))
    given = {getattr(g, "func", g) for g in DISTRIBUTIONS.values()}
    plain = {getattr(attnlib.distributions, name) for name in ("softmax", "sparsemax", "entmax", "sigmoid")}
    assert plain | {attnlib.structured.segmentation} == given


# --- known wrong versions: each property rejects one ------------------------------------------------------------------


def unguarded(query, key, value, *, mask=None, need_weights=True):
    """The bare formula, in whatever precision the arguments have."""
    energies = query @ key.mT / query.shape[-1] ** 0.5
    energies = energies if mask is None else energies.masked_fill(~mask, -torch.inf)
    weights = softmax(energies)
    return Attention(weights @ value, weights, energies)


def forgets_the_mask(query, key, value, *, mask=None, need_weights=True):
    return attend(query, key, value, mask=None if need_weights else mask)


def counts_keys(query, key, value, *, mask=None):
    """A size read off the arguments and used as a number: the fault of entmax's root finder."""
    import math

    return attend(query, key, value, mask=mask, scale=math.log(key.shape[-2]))


@pytest.mark.parametrize(
    ("wrong", "property"),
    [
        (unguarded, lambda: test_uninitialised_padding_changes_nothing("wrong", torch.float32)),
        (unguarded, lambda: test_what_one_query_does_not_see_is_hidden_from_it_alone("wrong", torch.float32, "nan")),
        (unguarded, lambda: test_half_precision_is_rounded_at_its_ends_only("wrong", torch.bfloat16, 10.0)),
        (forgets_the_mask, lambda: test_asking_for_the_weights_changes_nothing("wrong", torch.float64, "padding")),
        (counts_keys, lambda: test_exports_with_any_number_of_keys("wrong")),
    ],
    ids=["padding", "between queries", "half precision", "weights", "export"],
)
@pytest.mark.usefixtures("unchecked")
def test_each_property_rejects_a_wrong_version(monkeypatch, wrong, property):
    monkeypatch.setitem(MECHANISMS, "wrong", lambda dtype, rounded=None: wrong)
    with pytest.raises((AssertionError, torch._dynamo.exc.UserError, ValueError)):
        property()
