"""Hard attention from query, key and value: its law, its gradient, both paths alike, what is hidden, wrong versions."""

import functools
import math

import oracles
import pytest
import torch
from checks import BATCH, D_K, D_V, KEY, QUERY, close, leaf, mask_with_empty_row, randn, some_mask
from oracles import rows, tensor

import attnlib.fused._drawn as drawn
from attnlib import attend, explain, masks
from attnlib.fused import reference_only
from attnlib.softness.sampled import Sampled, attend_sampled

MANY = 40_000


@pytest.fixture(params=["reference", "in runs", "in short runs", "kernel"])
def path(request, monkeypatch, kernels):
    """Each way in which the draws are made; short runs have one row of one batch entry each."""
    if request.param == "reference":
        with reference_only():
            yield request.param
        return
    if request.param == "kernel":
        kernels("drawn")
    if request.param == "in short runs":
        monkeypatch.setattr(drawn, "PAIRS", 1)
        monkeypatch.setattr(drawn, "BLOCK", 2)
    yield request.param


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(**options):
    parts = ((BATCH, QUERY, D_K), 0), ((BATCH, KEY, D_K), 1), ((BATCH, KEY, D_V), 2)
    return [leaf(*shape, seed=seed, **options) for shape, seed in parts]


# --- the oracle: plain loops from the paper ---------------------------------------------------------------------------


def weights_loop(query, key, visible, scale):
    """Eq. 8: a row of weights for each query."""
    found = []
    for q, sees in zip(query, visible, strict=True):
        energies = [scale * oracles.inner(q, k) if seen else -math.inf for k, seen in zip(key, sees, strict=True)]
        found.append(oracles.softmax_row(energies))
    return found


def slope_loop(query, key, visible, scale, positions, upstream):
    """Of ``sum_i upstream_i log alpha_{i, m_i}``, by query and key; by an energy it is ``[j = m] - alpha``."""
    weights = weights_loop(query, key, visible, scale)
    to_query = [[0.0] * len(query[0]) for _ in query]
    to_key = [[0.0] * len(key[0]) for _ in key]
    for i, m in enumerate(positions):
        for j, seen in enumerate(visible[i]):
            slope = upstream[i] * scale * ((j == m) - weights[i][j]) if seen and m >= 0 else 0.0
            to_query[i] = [a + slope * b for a, b in zip(to_query[i], key[j], strict=True)]
            to_key[j] = [a + slope * b for a, b in zip(to_key[j], query[i], strict=True)]
    return to_query, to_key


# --- checks of any implementation -------------------------------------------------------------------------------------


def check_law(function):
    """Chi-square of the draws of every row against the loop's weights; what has no weight is never drawn."""
    query, key, value = (part.detach() for part in inputs())
    mask = mask_with_empty_row()
    found = function(query, key, value, mask=mask, n_samples=MANY, generator=seeded(4))
    for b in range(BATCH):
        weights = weights_loop(rows(query[b]), rows(key[b]), mask[b].tolist(), D_K**-0.5)
        for i, row in enumerate(weights):
            counts = torch.bincount(found.position[:, b, i] + 1, minlength=KEY + 1)
            likely = [j for j, weight in enumerate(row) if weight > 0]
            assert counts[0] == (0 if likely else MANY)
            assert counts[1:].sum() == sum(counts[1 + j] for j in likely)
            chi = sum((counts[1 + j].item() - MANY * row[j]) ** 2 / (MANY * row[j]) for j in likely)
            assert chi < 25  # of at most 4 degrees of freedom: passed by chance less than once in 10,000


def check_probability_and_value(function):
    """What is returned belongs together: position, its weight, its value."""
    query, key, value = inputs()
    mask = mask_with_empty_row()
    found = function(query, key, value, mask=mask, n_samples=3, generator=seeded())
    for b in range(BATCH):
        weights = weights_loop(rows(query[b]), rows(key[b]), mask[b].tolist(), D_K**-0.5)
        for n in range(3):
            for i, m in enumerate(found.position[n, b].tolist()):
                wanted = (math.log(weights[i][m]), value[b, m]) if m >= 0 else (0.0, torch.zeros_like(value[b, 0]))
                close(found.log_probability[n, b, i].detach(), tensor(wanted[0]))
                assert torch.equal(found.context[n, b, i], wanted[1])


def check_gradient(function):
    parts, mask, upstream = inputs(), mask_with_empty_row(), randn(2, BATCH, QUERY, seed=8)
    found = function(*parts, mask=mask, n_samples=2, generator=seeded(1))
    to_query, to_key = torch.autograd.grad((found.log_probability * upstream).sum(), parts[:2])
    for b in range(BATCH):
        given = rows(parts[0][b]), rows(parts[1][b]), mask[b].tolist(), D_K**-0.5
        slopes = [slope_loop(*given, found.position[n, b].tolist(), upstream[n, b].tolist()) for n in range(2)]
        for got, of_samples in zip((to_query[b], to_key[b]), zip(*slopes, strict=True), strict=True):
            close(got, sum(tensor(slope) for slope in of_samples))


def check_draws_are_independent(function):
    """Two samples of a row, and of alike rows, agree as often as chance has it."""
    query, key = torch.zeros(2, 1, D_K), torch.zeros(2, 2, D_K)
    position = function(query, key, key, mask=None, n_samples=MANY, generator=seeded()).position[..., 0]
    assert abs((position[:, 0] == position[:, 1]).double().mean() - 0.5) < 0.015
    assert abs((position[1:, 0] == position[:-1, 0]).double().mean() - 0.5) < 0.015


CHECKS = [check_law, check_probability_and_value, check_gradient, check_draws_are_independent]


@pytest.mark.parametrize("check", CHECKS)
def test_attend_sampled(check, path):
    check(attend_sampled)


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("seen", ["all", "causal", "padding", "pairs", "causal pairs"])
def test_the_paths_draw_the_same_with_the_same_gradients(path, seen, n_samples):
    """Batch axes that broadcast, lengths that fill no block, a mask that is not expanded."""
    query, key, value = leaf(2, 1, 71, 5), leaf(3, 149, 5, seed=1), leaf(149, 4, seed=2)
    generator = seeded(9)
    pairs = torch.rand(71, 149, generator=generator) < 0.3
    pairs[3] = False
    mask = {"padding": masks.key_mask(torch.tensor([0, 80, 149]), 149), "pairs": pairs, "causal pairs": pairs}.get(seen)
    options = {"mask": mask, "is_causal": "causal" in seen, "n_samples": n_samples}
    upstream = randn(n_samples, 2, 3, 71), randn(n_samples, 2, 3, 71, 4)

    def run():
        found = attend_sampled(query, key, value, **options, generator=seeded(2))
        assert found.position.shape == (n_samples, 2, 3, 71)
        loss = (found.log_probability * upstream[0]).sum() + (found.context * upstream[1]).sum()
        return [*found, *torch.autograd.grad(loss, (query, key, value))]

    got = run()
    with reference_only():
        wanted = run()
    for one, other in zip(got, wanted, strict=True):
        close(one, other)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_precisions(path, dtype, size):
    """Nearer to the law in double precision than 1e-5, or than half precision can tell; small and large energies."""
    query, key, value = size * randn(2, 40, 8), randn(2, 130, 8, seed=1), randn(2, 130, 4, seed=2)
    lower = [part.to(dtype) for part in (query, key, value)]
    found = attend_sampled(*lower, n_samples=5, generator=seeded())
    assert found.log_probability.dtype == found.context.dtype == dtype
    exact = attend(lower[0].double(), lower[1].double(), lower[2].double()).weights
    wanted = exact.expand(5, 2, 40, 130).gather(-1, found.position.unsqueeze(-1)).squeeze(-1).log()
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(found.log_probability.double(), wanted, rtol=tolerance, atol=tolerance * max(1, size))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e300])
def test_what_is_hidden_may_be_anything_and_what_is_seen_and_not_a_number_gives_nan(path, bad):
    query, key, value = (part.detach() for part in inputs())
    mask = some_mask()
    mask[..., 3] = False
    mask[1, 2, 3] = True
    spoilt_key, spoilt_value = key.clone(), value.clone()
    spoilt_key[:, 3], spoilt_value[:, 3] = bad, bad
    results = []
    for parts in ((query, key, value), (query, spoilt_key, spoilt_value)):
        leaves = [part.clone().requires_grad_() for part in parts]
        found = attend_sampled(*leaves, mask=mask, n_samples=4, generator=seeded())
        loss = found.log_probability[:, 0].sum() + found.context[:, 0].sum()
        gradients = torch.autograd.grad(loss, leaves)
        results.append((found, gradients))
    (want, want_slopes), (got, got_slopes) = results
    for one, other in zip(got, want, strict=True):
        close(one[:, 0], other[:, 0])
        close(one[:, 1, :2], other[:, 1, :2])
    for one, other in zip(got_slopes, want_slopes, strict=True):
        close(one[0], other[0])
    if not math.isfinite(bad):
        assert (got.position[:, 1, 2] == -1).all()
        assert got.log_probability[:, 1, 2].isnan().all()
        assert got.context[:, 1, 2].isnan().all()


@pytest.mark.parametrize(("n_query", "n_key"), [(0, 3), (3, 0), (1, 1)])
def test_few(path, n_query, n_key):
    query, key = leaf(2, n_query, D_K), leaf(2, n_key, D_K)
    found = attend_sampled(query, key, key, n_samples=2)
    assert found.context.shape == (2, 2, n_query, D_K)
    assert (found.position == (0 if n_key else -1)).all()
    assert not found.log_probability.any()
    assert not torch.autograd.grad(found.log_probability.sum() + 0 * query.sum(), query)[0].any()


def test_a_weight_of_a_millionth_is_drawn_as_often_as_it_should_be(path):
    """Of the uniform numbers the smallest decide: the first key has 1e-6."""
    key = torch.tensor([[math.log(1e-6)], [0.0]], dtype=torch.float32)
    found = attend_sampled(torch.ones(1, 1), key, scale=1.0, n_samples=1_000_000, generator=seeded(3))
    assert (found.position == 0).sum() <= 8  # 1 +- 1; 60 if the uniform numbers had 24 binary digits less six


def test_the_seed_says_what_is_drawn(path):
    parts = [part.detach() for part in inputs()]
    one, other = (attend_sampled(*parts, n_samples=9, generator=seeded(7)) for _ in range(2))
    assert torch.equal(one.position, other.position)
    assert not torch.equal(one.position, attend_sampled(*parts, n_samples=9, generator=seeded(8)).position)


def test_strides_scale_and_keys_for_values(path):
    query, key = randn(QUERY, 2, D_K).transpose(0, 1), randn(KEY, 2, D_K, seed=1).transpose(0, 1)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    found = attend_sampled(query, key, scale=scale, generator=seeded())
    weights = attend(query, key, scale=scale).weights
    chosen = weights.gather(-1, found.position[0].unsqueeze(-1)).squeeze(-1).log()
    close(found.log_probability[0], chosen)
    close(*(torch.autograd.grad(part.sum(), scale)[0] for part in (found.log_probability, chosen)))


@pytest.mark.parametrize("is_causal", [False, True])
def test_a_compiler_sees_one_operation(is_causal):
    query, key, _ = inputs()
    uniforms = torch.rand(BATCH, QUERY, 2, dtype=torch.float64, generator=seeded())
    given = query, key, uniforms, mask_with_empty_row(), torch.arange(BATCH), is_causal
    tests = "test_schema", "test_autograd_registration", "test_faketensor"  # the fourth adds positions to slopes
    torch.library.opcheck(torch.ops.attnlib.draw_keys.default, given, test_utils=tests)


def test_transforms_and_second_derivatives_go_to_the_reference_or_are_refused():
    query, key, _ = inputs()

    def run(query, key):
        return attend_sampled(query, key).log_probability

    mapped = torch.vmap(run, randomness="different")(query, key)
    assert mapped.shape == (BATCH, 1, QUERY)
    first = torch.autograd.grad(run(query, key).sum(), query, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="no autograd formula"):
        torch.autograd.grad(first.sum(), query)
    with reference_only():
        first = torch.autograd.grad(run(query, key).sum(), query, create_graph=True)[0]
        assert torch.autograd.grad(first.sum(), query)[0].isfinite().all()


def test_autocast_takes_its_precision():
    query, key, value = (part.detach().float() for part in inputs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attend_sampled(query, key, value).context.dtype == torch.bfloat16


def test_explain_names_the_path(kernels):
    query, key, _ = inputs()
    path = "in runs of queries"
    assert explain(attend_sampled, query.float(), key.float()).choices[0].path == path
    kernels("drawn")
    assert explain(attend_sampled, query.float(), key.float()).choices[0].path == f"{path}, in C++"
    assert explain(attend_sampled, query, key).choices[0].path == path  # in double precision


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1, got 0"),
        ({"n_samples": 1.0}, TypeError, "n_samples must be a whole number, got float"),
        ({"n_samples": True}, TypeError, "n_samples must be a whole number, got bool"),
        ({"mask": torch.ones(3, 4).bool()}, ValueError, "mask of shape"),
        ({"query": torch.zeros(BATCH, QUERY, 2).double()}, ValueError, "key has d_k=7 but query has d_k=2"),
    ],
)
def test_what_does_not_fit_is_named(change, error, message):
    query, key, value = inputs()
    with pytest.raises(error, match=message):
        attend_sampled(**{"query": query, "key": key, "value": value, **change})


# --- known wrong versions ---------------------------------------------------------------------------------------------


def wrong(query, key, value, *, mask, n_samples, generator, fault):
    """The reference with one fault."""
    scale = 1.0 if fault == "scale" else query.shape[-1] ** -0.5
    visible = torch.ones(*query.shape[:-1], key.shape[-2]).bool() if mask is None else mask
    energies = torch.where(visible, query @ key.mT * scale, -1e30 if fault == "empty row" else -torch.inf)
    empty = (energies == -torch.inf).all(-1, keepdim=True)
    weights = torch.softmax(energies.masked_fill(empty, 0.0), -1).masked_fill(empty, 0.0)
    shape = (1 if fault == "one number for all samples" else n_samples, *weights.shape[:-1], 1)
    u = torch.rand(shape, dtype=torch.float64, generator=generator).expand(n_samples, *shape[1:])
    u = u[:, :1].expand_as(u) if fault == "one number for all rows" else u
    u = u.square() if fault == "law" else u
    position = (weights.cumsum(-1) <= u).sum(-1).clamp(max=key.shape[-2] - 1)
    chosen = weights.expand(*position.shape, -1).gather(-1, position.unsqueeze(-1)).squeeze(-1)
    chosen = chosen.masked_fill(empty.squeeze(-1), 1.0)
    log_probability = chosen.log()
    if fault == "gradient":  # of the energy alone, without that of the sum
        log_probability = (energies.expand(*position.shape, -1).gather(-1, position.unsqueeze(-1))).squeeze(-1)
        log_probability = log_probability.masked_fill(empty.squeeze(-1), 0.0)
        log_probability = log_probability + (chosen.log() - log_probability).detach()
    position = position.masked_fill(empty.squeeze(-1), -1)
    values = value.expand(n_samples, *value.shape)
    context = values.gather(-2, position.clamp(min=0).unsqueeze(-1).expand(*position.shape, value.shape[-1]))
    return Sampled(context.masked_fill((position < 0).unsqueeze(-1), 0.0), position, log_probability)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("law", check_law),
        ("scale", check_law),
        ("empty row", check_law),
        ("gradient", check_gradient),
        ("one number for all samples", check_draws_are_independent),
        ("one number for all rows", check_draws_are_independent),
    ],
)
def test_wrong_versions_are_rejected(fault, check):
    check(functools.partial(wrong, fault="none"))
    with pytest.raises(AssertionError):
        check(functools.partial(wrong, fault=fault))
