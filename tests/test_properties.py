"""What holds for any input: drawn sizes and masks; and the transformations of torch, which must not change a result."""

import functools

import checks
import pytest
import torch
from checks import D_K, D_Q, D_V, KEY, QUERY, close, randn
from hypothesis import given
from hypothesis import strategies as st

from attnlib import Attend, attend, masks, scores
from attnlib.distributions import entmax, sigmoid, softmax, sparsemax

DISTRIBUTIONS = {
    "softmax": softmax,
    "sparsemax": sparsemax,
    "entmax15": entmax,
    "entmax": functools.partial(entmax, alpha=1.3),
    "sigmoid": sigmoid,
}
SCORES = {
    "similarity": scores.similarity,
    "dot": scores.dot,
    "scaled dot": scores.scaled_dot,
    "kernel": functools.partial(scores.generalized_kernel, feature_map=torch.nn.functional.softplus),
    "gaussian": functools.partial(scores.gaussian, width=2.0),
}


def modules(d_q=D_Q, d_k=D_K, dtype=torch.float64):
    """Scores with parameters."""
    return {
        "general": scores.General(d_q, d_k, dtype=dtype),
        "biased general": scores.BiasedGeneral(d_q, d_k, dtype=dtype),
        "activated general": scores.ActivatedGeneral(d_q, d_k, dtype=dtype),
        "concat": scores.Concat(d_q, d_k, 13, dtype=dtype),
        "additive": scores.Additive(d_q, d_k, 13, dtype=dtype),
        "deep": scores.Deep(d_q, d_k, (13, 19), dtype=dtype),
        "location": scores.LocationBased(d_q, 31, dtype=dtype),
        "features": scores.FeatureBased(d_k, d_k, 13, first_map=torch.abs, second_map=torch.square, dtype=dtype),
    }


@st.composite
def cases(draw, max_batch=3):
    """Inputs of drawn sizes with a drawn mask (any row may be empty), a score, a distribution, a path."""
    sizes = [draw(st.integers(1, top)) for top in (max_batch, 5, 7, 5, 5)]
    batch, n_query, n_key, d_k, d_v = sizes
    seed = draw(st.integers(0, 999))
    parts = [
        randn(batch, n_query, d_k, seed=seed),
        randn(batch, n_key, d_k, seed=seed + 1),
        randn(batch, n_key, d_v, seed=seed + 2),
    ]
    mask = torch.tensor(
        draw(st.lists(st.booleans(), min_size=batch * n_query * n_key, max_size=batch * n_query * n_key))
    )
    options = {
        "mask": mask.reshape(batch, n_query, n_key),
        "score": draw(st.sampled_from(list(SCORES.values()))),
        "distribution": draw(st.sampled_from(list(DISTRIBUTIONS.values()))),
        "need_weights": draw(st.booleans()),
        "is_causal": draw(st.booleans()),
    }
    return parts, options


loosely = functools.partial(torch.testing.assert_close, rtol=1e-7, atol=1e-9)


@given(cases(), st.sampled_from([torch.nan, torch.inf, -torch.inf, 1e300]), st.randoms())
def test_what_the_mask_hides_changes_nothing(case, bad, random):
    """Spoil every vector that nobody sees: the same result, the same gradients; no NaN anywhere."""
    (query, key, value), options = case
    visible = options["mask"]
    if options["is_causal"]:
        visible = visible & masks.causal(query.shape[-2], key.shape[-2])
    blind, unseen = ~visible.any(-1), ~visible.any(-2)
    spoilt = [query.clone(), key.clone(), value.clone()]
    spoilt[0][blind] = bad
    spoilt[1][unseen] = bad
    spoilt[2][unseen] = bad
    run = functools.partial(attend, **options)
    clean = checks.run_with_gradients(run, query, key, value)
    for got, wanted in zip(checks.run_with_gradients(run, *spoilt), clean, strict=True):
        assert wanted.isfinite().all()
        loosely(got, wanted)


@given(cases(), st.randoms())
def test_order_of_keys_and_queries(case, random):
    """Keys with their values and columns of the mask in another order: nothing. Queries: rows in that order."""
    (query, key, value), options = case
    options |= {"is_causal": False}
    keys = random.sample(range(key.shape[-2]), key.shape[-2])
    queries = random.sample(range(query.shape[-2]), query.shape[-2])
    context = attend(query, key, value, **options).context
    options["mask"] = options["mask"][:, queries][:, :, keys]
    loosely(attend(query[:, queries], key[:, keys], value[:, keys], **options).context, context[:, queries])


@given(cases(), st.data())
def test_causality(case, data):
    """Change everything from key ``j`` on: queries before ``j`` stay as they are."""
    (query, key, value), options = case
    options |= {"is_causal": True, "need_weights": True}
    j = data.draw(st.integers(0, key.shape[-2] - 1))
    before = attend(query, key, value, **options).context
    key, value = key.clone(), value.clone()
    key[:, j:] *= -3
    value[:, j:] += 2
    after = attend(query, key, value, **options).context
    loosely(after[:, :j], before[:, :j])


@given(cases())
def test_a_batch_is_its_members(case):
    (query, key, value), options = case
    whole = attend(query, key, value, **options).context
    mask = options.pop("mask")
    for b in range(query.shape[0]):
        loosely(attend(query[b], key[b], value[b], mask=mask[b], **options).context, whole[b])


@given(cases())
def test_hiding_is_leaving_out(case):
    """Key by key: a query's row equals attention over the keys it sees and no others."""
    (query, key, value), options = case
    mask, _ = options.pop("mask"), options.update(is_causal=False)
    context = attend(query, key, value, mask=mask, **options).context
    for b in range(query.shape[0]):
        for i in range(query.shape[1]):
            seen = mask[b, i]
            alone = attend(query[b, i : i + 1], key[b, seen], value[b, seen], **options).context
            loosely(alone[0], context[b, i])


@given(cases())
def test_weights_and_context_are_bounded(case):
    """Weights are never negative, zero where hidden, and sum to one where anything is visible (sigmoid aside)."""
    (query, key, value), options = case
    options |= {"need_weights": True}
    weights = attend(query, key, value, **options).weights
    visible = options["mask"]
    if options["is_causal"]:
        visible = visible & masks.causal(query.shape[-2], key.shape[-2])
    assert (weights >= 0).all()
    assert (weights[~visible] == 0).all()
    if options["distribution"] is not sigmoid:
        loosely(weights.sum(-1), visible.any(-1).double())


# --- transformations of torch -----------------------------------------------------------------------------------------


def tensors(dtype=torch.float64, device="cpu", d_q=D_K):
    query, key, value = randn(4, QUERY, d_q), randn(4, KEY, D_K, seed=1), randn(4, KEY, D_V, seed=2)
    mask = torch.cat([checks.some_mask(), checks.mask_with_empty_row()])
    return *(part.to(device, dtype) for part in (query, key, value)), mask.to(device)


def all_scores():
    return [
        *((name, score, D_K) for name, score in SCORES.items()),
        *((name, score, D_Q) for name, score in modules().items()),
    ]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(("name", "score", "d_q"), all_scores(), ids=[name for name, _, _ in all_scores()])
@pytest.mark.usefixtures("unchecked")
def test_vmap_over_scores(name, score, d_q, need_weights):
    query, key, value, mask = tensors(d_q=d_q)
    run = functools.partial(attend, score=score, need_weights=need_weights, is_causal=True)
    one_by_one = torch.vmap(lambda q, k, v, m: run(q, k, v, mask=m).context)(query, key, value, mask)
    close(one_by_one, run(query, key, value, mask=mask).context)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
@pytest.mark.usefixtures("unchecked")
def test_vmap_and_gradient_per_sample(distribution):
    query, key, value, mask = tensors()

    def loss(query, key, value, mask):
        return attend(query, key, value, mask=mask, distribution=distribution).context.square().sum()

    per_sample = torch.vmap(torch.func.grad(loss, argnums=(0, 1, 2)))(query, key, value, mask)
    leaves = [part.requires_grad_() for part in (query, key, value)]
    together = torch.autograd.grad(loss(*leaves, mask), leaves)
    for got, wanted in zip(per_sample, together, strict=True):
        close(got, wanted)


def compiled(function, **options):
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, **options)


@pytest.mark.usefixtures("unchecked")
def test_compiles_to_one_graph_with_every_score():
    """``aot_eager`` traces as ``inductor`` would, without waiting for a C++ compiler; one graph for all is quicker."""
    equal, other = tensors()[:2], tensors(d_q=D_Q)[:2]
    learned = modules()

    def run(equal, other):
        return [*(score(*equal) for score in SCORES.values()), *(score(*other) for score in learned.values())]

    for got, wanted in zip(compiled(run, backend="aot_eager")(equal, other), run(equal, other), strict=True):
        close(got, wanted)


@pytest.mark.usefixtures("unchecked")
def test_module_compiles_to_one_graph():
    """A learned score and a distribution of our own within a module; forward and backward."""
    query, key, value, mask = tensors(d_q=D_Q)
    module = Attend(modules()["additive"], sparsemax)
    fast = compiled(module, backend="aot_eager")
    run = [functools.partial(f, mask=mask) for f in (fast, module)]
    for got, wanted in zip(*(checks.run_with_gradients(f, query, key, value) for f in run), strict=True):
        close(got, wanted)


# Torch warns about itself while it imports its compiler, and the C++ compiler takes its time on a busy machine.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_compiled_by_inductor_equals_eager(device):
    """The real compiler, both paths in one graph; it must not take 0 * x for 0."""
    query, key, value, mask = tensors(torch.float32, device)
    key[0, 3, 0] = value[1, 4, 1] = torch.nan  # the future of every query: three queries see three keys
    key[2, 1, 0] = torch.inf  # seen by some

    def run(query, key, value):
        one = attend(query, key, value, mask=mask, is_causal=True)
        return one.context, attend(query, key, value, mask=mask, is_causal=True, need_weights=False).context

    for got, wanted in zip(compiled(run)(query, key, value), run(query, key, value), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5, equal_nan=True)
        assert wanted[:2].isfinite().all()
        assert wanted[2].isnan().any()


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.usefixtures("unchecked")
def test_export_with_dynamic_sizes(need_weights):
    """The exported program serves other batch sizes and lengths than those it was traced with."""
    from torch.export import Dim

    module = Attend(scores.scaled_dot if not need_weights else scores.General(D_Q, D_K, dtype=torch.float64))
    query, key, value, mask = tensors(d_q=D_Q if need_weights else D_K)
    batch, n_query, n_key = Dim("batch", max=64), Dim("query", max=64), Dim("key", max=64)
    sizes = {
        "query": {0: batch, 1: n_query},
        "key": {0: batch, 1: n_key},
        "value": {0: batch, 1: n_key},
        "mask": {0: batch, 1: n_query, 2: n_key},
        "is_causal": None,
        "need_weights": None,
    }
    options = {"is_causal": True, "need_weights": need_weights}
    program = torch.export.export(module, (query, key, value), {"mask": mask, **options}, dynamic_shapes=sizes).module()
    others = [randn(2, 11, query.shape[-1]), randn(2, 13, D_K), randn(2, 13, D_V), randn(2, 11, 13) > 0]
    for *parts, part_mask in ((query, key, value, mask), others):
        got = program(*parts, mask=part_mask, **options)[0]
        close(got, module(*parts, mask=part_mask, **options).context)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype, need_weights, device):
    """Near float32, with the masks as exact as there; inputs of several dtypes are allowed, as in torch."""
    query, key, value, mask = tensors(torch.float32, device)
    run = functools.partial(attend, mask=mask, need_weights=need_weights)
    wanted = run(query, key, value).context
    with torch.autocast(device.type, dtype=dtype):
        got = run(query, key, value)
        mixed = run(query.to(dtype), key, value).context
        spoilt = key.masked_fill(~mask.any(-2)[..., None], torch.nan)
        hidden = run(query, spoilt, value).context
    for context in (got.context, mixed):
        torch.testing.assert_close(context.float(), wanted, atol=3e-2, rtol=3e-2)
    assert (got.context[2, 1] == 0).all()
    assert torch.equal(hidden, got.context)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(("dtype", "large"), [(torch.float16, 1e5), (torch.bfloat16, 3.4e38)])
def test_autocast_hides_what_overflows_in_it(dtype, large, need_weights, device):
    """A number that is finite in float32 and infinite after the cast stays behind the mask, and leaks no gradient."""
    query, key, value, mask = tensors(torch.float32, device)
    run = functools.partial(attend, need_weights=need_weights)
    last = {"mask": torch.arange(KEY, device=device) < KEY - 1}
    for options, unseen in ((last, KEY - 1), ({"is_causal": True}, QUERY), ({"mask": mask, "is_causal": True}, QUERY)):
        spoilt = [part.index_fill(1, torch.tensor(unseen, device=device), large) for part in (key, value)]
        with torch.autocast(device.type, dtype=dtype):
            wanted = checks.run_with_gradients(run, query, key, value, **options)
            got = checks.run_with_gradients(run, query, *spoilt, **options)
        assert all(part.isfinite().all() for part in wanted)
        assert all(map(torch.equal, got, wanted))


@pytest.mark.parametrize("name", modules())
def test_autocast_of_learned_scores(name, device):
    score = modules(dtype=torch.float32)[name].to(device)
    query, key, value, mask = tensors(torch.float32, device, d_q=D_Q)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        got = attend(query, key, value, mask=mask, score=score).context
    wanted = attend(query, key, value, mask=mask, score=score).context
    torch.testing.assert_close(got.float(), wanted, atol=6e-2, rtol=6e-2)
    got.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in score.parameters())
