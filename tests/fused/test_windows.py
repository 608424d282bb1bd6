"""Local attention from slices of the keys, and through the kernel in C++: against the loop and the reference; what is
hidden; refusals."""

import functools
import itertools
import math
import sys
from typing import NamedTuple

import oracles
import pytest
import torch
from checks import compiled
from checks import randn as exact_randn
from oracles import rows, tensor
from torch.utils._python_dispatch import TorchDispatchMode

from attnlib import attend, explain, masks, scores
from attnlib.fused import _slices as slices
from attnlib.fused import _window_operation as operation
from attnlib.fused import _window_plans as plans
from attnlib.fused import _windows as windows
from attnlib.fused import reference_only
from attnlib.softness.local import local, monotonic_centres

BATCH, QUERY, KEY, D_K, D_V = 2, 5, 11, 7, 3
CENTRES = tensor([[4.3, 0.0, 9.6, 30.0, 5.0], [-1.4, 6.0, 11.2, 2.5, 2.5]])  # at both ends, beyond them, out of order
FORMS = [
    {"gaussian": gaussian, "renormalise": renormalise, "rounded": rounded}
    for gaussian, renormalise, rounded in itertools.product((True, False), repeat=3)
]
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: " ".join(name for name in form if form[name]))
silent = functools.partial(local, need_weights=False)


class Way(NamedTuple):
    """The path that is tested, and how exact it is."""

    path: str
    dtype: torch.dtype
    tolerance: float


SLICES = Way("slices of keys", torch.float64, 1e-12)
KERNEL = Way("kernel in C++", torch.float32, 1e-5)
HERE = SLICES


@pytest.fixture(params=["slices", "cut", "C++"])
def way(request, monkeypatch, kernels):
    """Slices as they are, and cut as small as they get; the kernel."""
    if request.param == "cut":
        monkeypatch.setattr(plans, "PAIRS", 100)
        monkeypatch.setattr(plans, "WASTE", 50)
        monkeypatch.setattr(plans, "GATHERED", 10**6)
    if request.param == "C++":
        kernels("windows")
        monkeypatch.setattr(sys.modules[__name__], "HERE", KERNEL)


both_ways = pytest.mark.parametrize("way", ["slices", "C++"], indirect=True)


def randn(*shape, seed=0):
    return exact_randn(*shape, dtype=HERE.dtype, seed=seed)


def centres():
    return CENTRES.to(HERE.dtype)


def close(found, wanted, **options):
    torch.testing.assert_close(found, wanted.to(found.dtype), rtol=HERE.tolerance, atol=HERE.tolerance, **options)


def inputs(*batch, dtype=None, n_query=QUERY, n_key=KEY, d_v=D_V):
    shapes = (n_query, D_K), (n_key, D_K), (n_key, d_v)
    return [randn(*batch, *shape, seed=seed).to(dtype or HERE.dtype) for seed, shape in enumerate(shapes)]


def path_of(*parts, **options):
    return explain(silent, *parts, **options).choices[0].path


def reason(*parts, **options):
    return explain(silent, *parts, **options).choices[0].refused[HERE.path]


def with_gradients(call, parts, upstream=None):
    """The context and the gradients of all parts."""
    leaves = [part.detach().requires_grad_() for part in parts]
    context = call(*leaves)
    upstream = torch.linspace(-1, 1, context.numel()).reshape(context.shape) if upstream is None else upstream
    found = torch.autograd.grad(context, leaves, upstream.to(context.dtype), allow_unused=True)
    return [context, *(torch.zeros_like(part) if got is None else got for part, got in zip(parts, found, strict=True))]


def against_reference(call, parts, tolerance=None):
    tolerance = tolerance or HERE.tolerance
    with reference_only():
        wanted = with_gradients(call, parts)
    assert explain(call, *parts).choices[0].path != "reference"  # with which nothing would be compared
    for got, want in zip(with_gradients(call, parts), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance * max(1, want.abs().max().item()))
    with torch.no_grad():
        torch.testing.assert_close(call(*parts), wanted[0], rtol=tolerance, atol=tolerance)


# --- the oracle, and what each mutant below must not satisfy ----------------------------------------------------------


def loop(query, key, value, centre, half_width, gaussian=True, renormalise=False, rounded=False, visible=None):
    """Contexts of one sentence, from Luong's equations 7 and 10, positions from 0."""
    contexts = []
    for q, p in zip(query, centre, strict=True):
        window = []
        for s in range(len(key)):
            near = abs(s - math.floor(p)) <= half_width if rounded else abs(s - p) <= half_width
            if near and (visible is None or visible[s]):
                window.append(s)
        shares = [math.exp(oracles.inner(q, key[s]) / math.sqrt(len(q))) for s in window]
        total = sum(shares)
        shares = [share / total for share in shares]
        if gaussian:
            sigma = half_width / 2
            shares = [a * math.exp(-((s - p) ** 2) / (2 * sigma**2)) for a, s in zip(shares, window, strict=True)]
        if renormalise:
            shares = [share / sum(shares) for share in shares]
        seen = [[a * component for component in value[s]] for a, s in zip(shares, window, strict=True)]
        contexts.append(oracles.plus([0.0] * len(value[0]), *seen))
    return contexts


def check_value(function, form=FORMS[2], half_width=2, mask=None):
    query, key, value = inputs(BATCH)
    context = function(query, key, value, centre=centres(), half_width=half_width, mask=mask, **form).context
    for b in range(BATCH):
        visible = None if mask is None else mask[b, 0].tolist()
        parts = [rows(part[b]) for part in (query, key, value, centres())]
        close(context[b], tensor(loop(*parts, half_width, **form, visible=visible)))


def check_centre_learns(function):
    """The slope of the Gaussian alone: the window stands still."""
    query, key, value = inputs(BATCH)
    centre = tensor([[4.3, 0.2, 9.6, 30.1, 5.5], [-1.4, 6.1, 11.2, 2.6, 2.5]]).to(HERE.dtype).requires_grad_()
    (slope,) = torch.autograd.grad(function(query, key, value, centre=centre, half_width=2).context.sum(), centre)
    step = 1e-5
    for b, t in itertools.product(range(BATCH), range(QUERY)):
        ends = []
        for moved in (-step, step):
            found = loop(*(rows(part[b]) for part in (query, key, value)), rows(centre[b].detach().double() + moved), 2)
            ends.append(sum(found[t]))
        assert abs(slope[b, t].item() - (ends[1] - ends[0]) / (2 * step)) < max(1e-6, HERE.tolerance)


@every_form
@pytest.mark.parametrize("half_width", [1, 2, 13])
def test_equals_the_loop(form, half_width, way):
    hidden = masks.key_mask(torch.tensor([11, 6]), KEY)
    for mask in (None, hidden):
        check_value(silent, form, half_width, mask)
    assert path_of(*inputs(BATCH), centre=centres(), half_width=2, **form) == HERE.path


def test_the_centre_learns(way):
    check_centre_learns(silent)


def _moved(*parts, centre, **options):
    return silent(*parts, centre=centre + 1, **options)


def _unordered(*parts, centre, **options):
    return silent(*parts, centre=centre.sort(-1).values, **options)


def _blind(*parts, centre, **options):
    found = silent(*parts, centre=centre.detach(), **options)
    return found._replace(context=found.context + 0 * centre.sum())


def _narrow(*parts, half_width, **options):
    return silent(*parts, half_width=half_width - 1, **options)


def _renormalised(*parts, renormalise, **options):
    return silent(*parts, renormalise=not renormalise, **options)


MUTANTS = {
    "positions from 1": (_moved, check_value),
    "not put back in order": (_unordered, check_value),
    "a window too narrow": (_narrow, check_value),
    "renormalised": (_renormalised, check_value),
    "not renormalised": (_renormalised, functools.partial(check_value, form=FORMS[0])),
    "the centre gets nothing": (_blind, check_centre_learns),
}


@pytest.mark.parametrize(("mutant", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant, check):
    with pytest.raises(AssertionError):
        check(mutant)


# --- against the reference --------------------------------------------------------------------------------------------


@every_form
def test_values_and_gradients(form, way, request):
    n_query, n_key = 23, 29
    dtype = torch.float64 if request.node.callspec.params["way"] == "cut" else torch.float32
    query, key, value = inputs(2, 3, dtype=dtype, n_query=n_query, n_key=n_key)
    ahead = (torch.arange(n_query) - 1.5).to(dtype)
    anywhere = (torch.rand(2, 3, n_query) * (n_key + 6) - 3).to(dtype)
    padding = masks.key_mask(torch.tensor([[29], [12]]), n_key)
    pairs = torch.rand(2, 1, n_query, n_key) > 0.4
    pairs[0, 0, 7] = False
    for centre, mask in itertools.product((ahead, anywhere), (None, padding, pairs)):
        if centre is anywhere and mask is pairs:
            continue

        def call(query, key, value, centre, mask=mask):
            return silent(query, key, value, centre=centre, half_width=5, mask=mask, **form).context

        assert path_of(query, key, value, centre=centre, half_width=5, mask=mask, **form) == HERE.path
        against_reference(call, (query, key, value, centre), 1e-12 if dtype == torch.float64 else 1e-5)


@both_ways
@pytest.mark.parametrize("d_v", [D_K, D_V])
def test_a_window_as_a_mask_would_make_it(d_v, way):
    """Both sides, and a causal one, whose centre lies half its length before the query."""
    query, key, value = inputs(2, 3, n_query=150, n_key=150, d_v=d_v)
    both = silent(query, key, value, centre=monotonic_centres(150, lengths=150), half_width=8, gaussian=False)
    close(both.context, attend(query, key, value, mask=masks.window(150, left=9, right=9)).context)
    for width in (1, 8, 9):
        centre = torch.arange(150) - (width - 1) / 2
        causal = silent(query, key, value, centre=centre, half_width=width // 2, gaussian=False)
        close(causal.context, attend(query, key, value, mask=masks.window(150, left=width, right=1)).context)


@both_ways
def test_sentences_of_their_own_length(way):
    query, key, value = inputs(4, n_query=60, n_key=60)
    lengths = torch.tensor([60, 7, 33, 0])
    centre = monotonic_centres(60, lengths=lengths)
    options = {"centre": centre, "half_width": 3, "mask": masks.key_mask(lengths, 60), "gaussian": False}
    against_reference(lambda *parts: silent(*parts, **options).context, (query, key, value))
    assert path_of(query, key, value, **options) == HERE.path


@both_ways
@every_form
def test_any_strides_and_leading_dimensions(form, way):
    query, value = randn(4, 1, 40, D_K), randn(40, D_V)
    key = randn(40, 2, D_K).transpose(0, 1)
    centre = randn(4, 2, 40) * 9 + 20

    def call(query, key, value, centre):
        return silent(query, key, value, centre=centre, half_width=3, **form).context

    against_reference(call, (query, key, value, centre))
    against_reference(call, (query, key, value, centre[0, 0]))
    heads = [randn(2, 40, 4, size, seed=seed).transpose(1, 2) for seed, size in enumerate((D_K, D_K, D_V))]
    against_reference(lambda *parts: silent(*parts, centre=centre[0, 0], half_width=3, **form).context, heads)


@both_ways
def test_the_keys_as_values(way):
    query, key, _ = inputs(BATCH)
    against_reference(lambda query, key: silent(query, key, centre=centres(), half_width=2).context, (query, key))


@both_ways
@pytest.mark.parametrize("biased", [False, True])
def test_bilinear_scores_by_projection(biased, way):
    query, key, value = randn(BATCH, QUERY, 4), *inputs(BATCH)[1:]
    weight, bias = randn(*((D_K, 4) if biased else (4, D_K))), randn(D_K)
    name = "biased_general" if biased else "general"
    module = {"general": scores.General, "biased_general": scores.BiasedGeneral}[name](4, D_K, dtype=HERE.dtype)
    module.weight.data = weight

    def call(query, key, value, weight, bias):
        given = {"weight": weight, **({"bias": bias} if biased else {})}
        score = functools.partial(getattr(scores, name), **given)
        return silent(query, key, value, centre=centres(), half_width=2, score=score).context

    against_reference(call, (query, key, value, weight, bias))
    options = {"centre": centres(), "half_width": 2, "score": module}
    assert path_of(query, key, value, **options) == HERE.path
    close(silent(query, key, value, **options).context, local(query, key, value, **options).context)


@pytest.mark.usefixtures("unchecked")
def test_a_weight_of_another_size_is_named():
    parts, score = inputs(BATCH), functools.partial(scores.general, weight=randn(4, D_K))
    with pytest.raises(ValueError, match="weight must have shape"):
        silent(*parts, centre=centres(), half_width=2, score=score)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_form
def test_half_precision_is_no_further_off(dtype, form):
    parts = [2 * part for part in inputs(2, dtype=dtype, n_query=90, n_key=90)]
    centre = (torch.rand(90) * 90).sort().values

    def call(query, key, value):
        return silent(query, key, value, centre=centre, half_width=6, **form).context

    exact = with_gradients(
        lambda *p: local(*p, centre=centre.double(), half_width=6, **form).context, [p.double() for p in parts]
    )
    with reference_only():
        reference = with_gradients(call, parts)
    assert path_of(*parts, centre=centre, half_width=6, **form) == HERE.path
    for got, want, right in zip(with_gradients(call, parts), reference, exact, strict=True):
        assert got.dtype == dtype
        off, allowed = ((found.double() - right).abs().max() for found in (got, want))
        assert off <= 1.01 * allowed + torch.finfo(dtype).eps * right.abs().max() / 2


def test_autocast():
    parts = inputs(2, dtype=torch.float32, n_query=50, n_key=50)
    centre = torch.arange(50) + 0.25
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = with_gradients(lambda *p: silent(*p, centre=centre, half_width=4).context, parts)
        with reference_only():
            wanted = with_gradients(lambda *p: silent(*p, centre=centre, half_width=4).context, parts)
    for got, want in zip(found, wanted, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-2)


@both_ways
def test_energies_huge_and_tiny(way):
    query, key, value = inputs(2, dtype=torch.float32, n_query=50, n_key=50)
    for size in (1e-30, 1e-3, 1e3, 1e8):
        call = functools.partial(silent, centre=torch.arange(50), half_width=4)
        against_reference(lambda *p, call=call: call(*p).context, (size * query, key, value), 2e-5)


# --- what is not seen -------------------------------------------------------------------------------------------------


@both_ways
@every_form
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e38])
def test_what_is_hidden_changes_nothing(form, bad, way):
    query, key, value = inputs(2, dtype=torch.float32, n_query=40, n_key=60)
    centre = torch.arange(40) + 0.5
    mask = torch.ones(60, dtype=torch.bool)
    mask[20] = False
    options = {"centre": centre, "half_width": 4, "mask": mask, **form}
    spoilt_key, spoilt_value = key.clone(), value.clone()
    for part in (spoilt_key, spoilt_value):
        part[:, 20, 0] = part[:, 50:, 1] = bad
    wanted = with_gradients(lambda *p: silent(*p, **options).context, (query, key, value))
    found = with_gradients(lambda *p: silent(*p, **options).context, (query, spoilt_key, spoilt_value))
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    quiet = silent(query, spoilt_key, spoilt_value, **options).context
    torch.testing.assert_close(quiet, wanted[0], rtol=1e-5, atol=1e-5)


@both_ways
@pytest.mark.parametrize("part", [0, 1, 2])
def test_what_is_seen_and_not_finite_shows(part, way):
    parts = inputs(2, dtype=torch.float32, n_query=40, n_key=40)
    parts[part][:, 17, 0] = math.nan
    options = {"centre": torch.arange(40), "half_width": 2, "gaussian": False}
    found, wanted = silent(*parts, **options).context, local(*parts, **options).context
    torch.testing.assert_close(found, wanted, equal_nan=True)
    assert found.isnan().any()
    assert not found.isnan().all()
    assert "not finite" in reason(*parts, **options)


def test_empty_windows_give_zeros(way):
    far = torch.tensor([[-7.0, 30.0, math.inf, 3.0, 2.0], [-math.inf, 1e30, -1e30, 4.0, 1.0]], dtype=HERE.dtype)
    parts = inputs(BATCH)

    def call(query, key, value, centre):
        return silent(query, key, value, centre=centre, half_width=2).context

    assert (call(*parts, far)[:, :3] == 0).all()
    assert path_of(*parts, centre=far, half_width=2) == HERE.path
    against_reference(call, (*parts, far))
    nothing = silent(*parts, centre=far, half_width=2, mask=torch.zeros(KEY, dtype=torch.bool)).context
    assert (nothing == 0).all()


@both_ways
@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (5, 6, 0)])
def test_empty_axes(shape, way):
    n_query, n_key, d_v = shape
    parts = inputs(2, n_query=n_query, n_key=n_key, d_v=d_v)
    options = {"centre": torch.zeros(n_query), "half_width": 2, "gaussian": False}
    context = silent(*parts, **options).context
    assert context.tolist() == torch.zeros(2, n_query, d_v).tolist()
    assert reason(*parts, **options) == "there is nothing to multiply"


@both_ways
def test_nothing_is_changed_in_place(way):
    parts = [*inputs(BATCH), centres().clone()]
    before = [part.clone() for part in parts]
    with_gradients(lambda *p: silent(*p[:3], centre=p[3], half_width=2).context, parts)
    assert all(torch.equal(part, copy) for part, copy in zip(parts, before, strict=True))


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 40, 3, 5), (200, 40, 33, 16), (37, 300, 64, 70), (400, 90, 6, 12)])
@pytest.mark.parametrize("gaussian", [False, True])
def test_any_size(sizes, gaussian, kernels):
    """Where lanes, tiles and pieces end, and on two threads, of which each has keys of its own."""
    n_query, n_key, d, d_v = sizes
    kernels("windows")
    parts = [exact_randn(1, n, size, seed=n).float() for n, size in ((n_query, d), (n_key, d), (n_key, d_v))]
    threads = torch.get_num_threads()
    for spread, half_width, count in itertools.product((0.3, 3.0), (1, 4, 40), (1, 3)):
        centre = (exact_randn(n_query, seed=3) * n_key * spread).float()

        def call(*parts, half_width=half_width):
            return silent(*parts[:3], centre=parts[3], half_width=half_width, gaussian=gaussian).context

        torch.set_num_threads(count)
        try:
            against_reference(call, (*parts, centre), 2e-5)
        finally:
            torch.set_num_threads(threads)


def test_the_kernel_takes_a_mask_for_each_query(kernels):
    kernels("windows")
    parts = [part.float() for part in inputs(2, 3, n_query=70, n_key=50)]
    centre = exact_randn(2, 1, 70).float() * 15 + 25
    mask = exact_randn(2, 3, 70, 50) > 0
    mask[1, 2, 9] = mask[0, :, :, 20] = False

    def call(*parts):
        return silent(*parts[:3], centre=parts[3], half_width=6, mask=mask.mT.contiguous().mT).context

    against_reference(call, (*parts, centre), 1e-5)
    assert path_of(*parts, centre=centre, half_width=6, mask=mask) == KERNEL.path
    double = [part.double() for part in parts]
    refused = explain(silent, *double, centre=centre.double(), half_width=6).choices[0].refused
    assert refused[KERNEL.path] == "the vectors are not in single precision"


# --- what it leaves to the others -------------------------------------------------------------------------------------


def test_why_not():
    query, key, value = inputs(BATCH)
    options = {"centre": centres(), "half_width": 2}
    lost = centres().clone()
    lost[0, 0] = math.nan
    pairs = torch.ones(BATCH, QUERY, KEY, dtype=torch.bool)
    far = torch.arange(0.0, 400_000.0, 1000.0, dtype=torch.float64)
    for change, why in (
        ({"score": scores.similarity}, "the score is not a dot product"),
        ({"centre": lost}, "a centre is NaN"),
        ({"mask": pairs}, "the centres are out of order, and the mask is another for each query"),
    ):
        assert reason(query, key, value, **{**options, **change}) == why
        close(
            silent(query, key, value, **{**options, **change}).context,
            local(query, key, value, **{**options, **change}).context,
            equal_nan=True,
        )
    long = randn(400_000, 2)
    assert "too far apart" in reason(long[:400], long, centre=far, half_width=2)
    weighed = explain(local, query, key, value, **options).choices[0].refused
    assert set(weighed.values()) == {"the weights are asked for"}


def test_scores_of_any_kind_in_runs(monkeypatch):
    """With the windows of only so many queries in memory as fit; with gradients all are kept."""
    query, key, value = inputs(BATCH, n_query=50, n_key=50)
    options = {"centre": randn(BATCH, 50) * 9 + 25, "half_width": 2, "score": scores.similarity}
    padding = masks.key_mask(torch.tensor([50, 30]), 50)
    pairs = torch.rand(BATCH, 50, 50) > 0.3
    wanted = [local(query, key, value, mask=mask, **options).context for mask in (None, padding, pairs)]
    assert path_of(query, key, value, **options) == "reference"
    monkeypatch.setattr(windows, "ROOM", 1000)
    for mask, want in zip((None, padding, pairs), wanted, strict=True):
        close(silent(query, key, value, mask=mask, **options).context, want)
    assert path_of(query, key, value, **options) == "runs of queries"
    assert path_of(query.requires_grad_(), key, value, **options) == "reference"


@both_ways
def test_second_derivatives_are_refused(way):
    query, key, value = inputs(BATCH)
    query.requires_grad_()
    context = silent(query, key, value, centre=centres(), half_width=2).context
    (gradient,) = torch.autograd.grad(context.sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


@both_ways
def test_only_what_asks_gets_a_gradient(way):
    leaves = [part.requires_grad_() for part in inputs(BATCH)]
    centre = centres().clone().requires_grad_()
    whole = torch.autograd.grad(silent(*leaves, centre=centre, half_width=2).context.sum(), [*leaves, centre])
    for number, wanted in enumerate(whole):
        parts = [part.detach() for part in (*leaves, centre)]
        parts[number] = [*leaves, centre][number]
        context = silent(*parts[:3], centre=parts[3], half_width=2).context
        close(torch.autograd.grad(context.sum(), parts[number])[0], wanted)


@both_ways
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # by torch's own derivatives forwards
def test_transforms_take_the_reference(way):
    query, key, value = inputs(BATCH)
    wanted = local(query, key, value, centre=centres(), half_width=2).context

    def run(query, key, value, centre):
        return silent(query, key, value, centre=centre, half_width=2).context

    close(torch.vmap(run)(query, key, value, centres()), wanted)
    slope = torch.func.jacrev(lambda query: run(query, key, value, centres()).sum())(query)
    close(slope, with_gradients(run, (query, key, value, centres()), torch.ones_like(wanted))[1])
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(query, torch.ones_like(query))
        tangent = torch.autograd.forward_ad.unpack_dual(run(dual, key, value, centres())).tangent
        close(tangent.sum(), slope.sum())


# --- what it costs ----------------------------------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """The largest tensor that any operation gave."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for part in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(part, torch.Tensor):
                self.size = max(self.size, part.untyped_storage().nbytes() // part.element_size())
        return found


@pytest.mark.parametrize("centred", ["monotonic", "predicted"])
def test_no_tensor_is_larger_than_the_vectors(centred):
    n, size, half_width = 3000, 16, 60
    parts = [torch.randn(n, size) for _ in range(3)]
    centre = torch.arange(n) if centred == "monotonic" else torch.rand(n) * n
    with Largest() as largest:
        silent(*parts, centre=centre, half_width=half_width)
        with_gradients(lambda *p: silent(*p, centre=centre, half_width=half_width).context, parts)
    assert n * size <= largest.size <= 256 * (256 + 2 * (2 * half_width + 1))


def test_blocks_cover_each_query_once():
    for shared, spread in itertools.product((True, False), (1.0, 40.0)):
        centre = (torch.rand(1 if shared else 3, 300) * 300 * spread).sort(-1).values
        first, last = (centre.ceil().long() - 4), (centre.floor().long() + 4)
        found = torch.zeros(3, 300)
        for block in plans._blocks(first.tolist(), last.tolist(), 3, 9, 64):
            assert isinstance(block, slices.Block)
            found[block.rows, block.queries] += 1
            own = slice(None) if shared else block.rows
            assert (first[own, block.queries] >= block.keys.start).all()
            assert (last[own, block.queries] < block.keys.stop).all()
        assert (found == 1).all()


# --- what a compiler sees ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch about itself
@pytest.mark.usefixtures("unchecked")
@both_ways
def test_a_compiler_sees_one_operation(way, monkeypatch):
    """As right as the reference, which is taken by hand where numbers are not finite, or overflow."""
    query, key, value = inputs(2, 3, n_query=40, n_key=40)
    centre, padding = randn(2, 1, 40) * 15 + 20, masks.key_mask(torch.tensor([[40], [25]]), 40)
    general = scores.General(D_K, D_K, dtype=HERE.dtype)

    def call(*parts):
        found = silent(*parts[:3], centre=parts[3], half_width=4).context
        masked = silent(*parts[:3], centre=parts[3], half_width=7, mask=padding, gaussian=False, score=general).context
        return found + masked

    calls, kernel = [], operation.banded
    monkeypatch.setattr(operation, "banded", lambda *given: calls.append(1) or kernel(*given))
    operations = []
    fast = compiled(call, operations)
    for bad in (0.0, 1e38, math.nan, -math.inf):
        parts = [part.clone() for part in (query, key[:, :1], value, centre)]
        if bad:
            parts[1][:, :, 30:] = parts[2][:, :, 30:, 1] = bad
        if math.isfinite(bad):
            parts[3].clamp_(max=22)  # what is so large is seen by nobody, but for neighbours in a block
        else:
            parts[0][0, 0, 3] = bad
            parts[3][0, 0, :4] = math.nan
            parts[3][1] = 5
        weight = general.weight
        found, wanted = ([*with_gradients(f, parts), *weight_gradient(f, parts, weight)] for f in (fast, call))
        for got, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-5, equal_nan=True)
    assert set(operations) == {"attnlib.local_windows.default", "attnlib.local_windows_backward.default"}
    assert bool(calls) == (HERE is KERNEL)


def weight_gradient(call, parts, weight):
    return torch.autograd.grad(call(*parts).nan_to_num().sum(), [weight])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("unchecked")
def test_compiled_in_half_precision():
    parts = inputs(2, dtype=torch.bfloat16, n_query=30, n_key=30)
    options = {"centre": torch.arange(30), "half_width": 3, "gaussian": False}
    torch.compiler.reset()
    fast = torch.compile(functools.partial(silent, **options), fullgraph=True, backend="aot_eager")
    assert torch.equal(fast(*parts).context, silent(*parts, **options).context)


@both_ways
@pytest.mark.usefixtures("unchecked")
def test_the_operation_keeps_its_promises(way):
    parts = [part.requires_grad_() for part in (*inputs(2, n_query=20, n_key=20), randn(2, 20) * 9 + 9)]
    given = (*parts, None, 3, 0.5, True, False, False, HERE is KERNEL)
    options = {"test_utils": ("test_schema", "test_autograd_registration", "test_faketensor")}
    torch.library.opcheck(operation.local_windows, given, **options)
