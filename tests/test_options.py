"""attend's options against the loop: scale, bias, grouped queries, dropout; the kernel's memory; errors that help."""

import functools
import itertools
import math
import subprocess
import sys

import checks
import oracles
import pytest
import torch
import torch.nn.functional as F
from checks import BATCH, D_K, D_Q, D_V, KEY, QUERY, close, inputs, mask_with_empty_row, randn, some_mask
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

import attnlib
from attnlib import Attend, _kernel, attend, scores
from attnlib.distributions import sparsemax

HEADS, GROUPS = 6, 2


# --- scale and bias ---------------------------------------------------------------------------------------------------


def some_bias():
    """Differs from pair to pair, and hides: key 1 from query 0, everything from query 2 of the first sequence."""
    bias = randn(BATCH, QUERY, KEY, seed=5)
    bias[:, 0, 1] = -torch.inf
    bias[0, 2] = -torch.inf
    return bias


def loop(query, key, value, mask, bias, factor, is_causal):
    """Eq. 7-11 with ``s q.k + b`` for the energy, a sequence at a time."""
    results = []
    for b in range(query.shape[0]):
        shown = [[mask is None or bool(mask[b, i, j]) for j in range(KEY)] for i in range(QUERY)]
        shown = [[shown[i][j] and (not is_causal or j <= i) for j in range(KEY)] for i in range(QUERY)]
        rows_of = []
        for i in range(QUERY):

            def score(q, k, j, i=i, b=b):
                added = 0.0 if bias is None else bias[b, i, j].item()
                return factor * oracles.inner(q, k) + added

            found = oracles.attend([rows(query[b])[i]], rows(key[b]), rows(value[b]), score, [shown[i]])
            rows_of.append([part[0] for part in found])
        results.append([list(part) for part in zip(*rows_of, strict=True)])
    return [tensor(list(part)) for part in zip(*results, strict=True)]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("mask", [None, mask_with_empty_row()], ids=["no mask", "mask"])
@pytest.mark.parametrize("scale", [None, 0.7, -2.0, torch.tensor(1.5, dtype=torch.float64)], ids=str)
@pytest.mark.parametrize("score", [scores.dot, scores.scaled_dot])
def test_scale_and_bias_are_those_of_the_loop(score, scale, mask, is_causal, need_weights):
    query, key, value = inputs()
    usual = 1.0 if score is scores.dot else D_K**-0.5
    wanted = loop(query, key, value, mask, some_bias(), usual if scale is None else float(scale), is_causal)
    options = {"score": score, "scale": scale, "bias": some_bias(), "mask": mask, "is_causal": is_causal}
    for got, want in zip(attend(query, key, value, **options, need_weights=need_weights), wanted, strict=True):
        if got is not None:
            close(got, want)


def test_scale_multiplies_other_energies_and_may_differ_from_query_to_query():
    query, key, value = inputs()
    plain = scores.similarity(query, key)
    scale = torch.tensor([[0.5], [2.0], [-1.0]], dtype=torch.float64)
    close(attend(query, key, value, score=scores.similarity, scale=scale).energies, scale * plain)
    wanted = attend(scale * query, key, value, scale=1.0).context
    close(attend(query, key, value, scale=scale, need_weights=False).context, wanted)


@pytest.mark.parametrize("need_weights", [True, False])
def test_gradients_of_scale_and_bias(need_weights):
    query, key, value = (part.requires_grad_() for part in inputs())
    scale, bias = torch.tensor(0.8, dtype=torch.float64, requires_grad=True), randn(QUERY, KEY).requires_grad_()

    def run(query, key, value, scale, bias):
        hidden = torch.zeros_like(bias).masked_fill(torch.eye(QUERY, KEY).bool(), -torch.inf)
        options = {"scale": scale, "bias": bias + hidden, "mask": mask_with_empty_row()}
        return attend(query, key, value, **options, need_weights=need_weights).context

    assert gradcheck(run, (query, key, value, scale, bias), fast_mode=True)
    assert not need_weights or gradgradcheck(run, (query, key, value, scale, bias), fast_mode=True)


@pytest.mark.parametrize("number", [3e38, torch.nan])
@pytest.mark.parametrize("name", ["dot", "scaled_dot", "similarity", "kernel", "lambda"])
def test_gradient_of_a_scale_does_not_see_what_is_hidden(name, number):
    """Zero times the infinite energy of a hidden pair; one query sees the key, so that it cannot be taken out."""
    kernel = functools.partial(scores.generalized_kernel, feature_map=torch.exp)
    score = {"kernel": kernel, "lambda": lambda query, key: query @ key.mT}.get(name) or getattr(scores, name)
    query, value = torch.tensor([[10.0], [0.0]]), torch.tensor([[1.0], [2.0]])
    mask = torch.tensor([[True, False], [True, True]])
    gradients = []
    for bad in (1.0, number):
        scale = torch.ones((), requires_grad=True)
        spoilt = torch.tensor([[1.0], [bad]])
        context = attend(query, spoilt, value, score=score, scale=scale, mask=mask).context[0]
        gradients.append(torch.autograd.grad(context.sum(), scale)[0])
    assert gradients[0].isfinite()
    assert torch.equal(*gradients)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e300])
def test_bias_behind_the_mask_changes_nothing(bad, need_weights):
    parts, mask = inputs(), some_mask()
    run = functools.partial(attend, mask=mask, need_weights=need_weights)
    clean = checks.run_with_gradients(functools.partial(run, bias=some_bias()), *parts)
    spoilt = checks.run_with_gradients(functools.partial(run, bias=some_bias().masked_fill(~mask, bad)), *parts)
    for got, want in zip(spoilt, clean, strict=True):
        assert want.isfinite().all()
        close(got, want)


def test_alibi_is_a_bias_that_broadcasts():
    """A slope a head times the distance, as one (heads, query, key) for the whole batch; on the kernel too."""
    query, key, value = (randn(BATCH, 3, n, d) for n, d in ((KEY, D_K), (KEY, D_K), (KEY, D_V)))
    distance = torch.arange(KEY)[None, :] - torch.arange(KEY)[:, None]
    bias = torch.tensor([0.5, 0.25, 0.125])[:, None, None].double() * distance
    wanted = attend(query, key, value, score=lambda q, k: scores.scaled_dot(q, k) + bias, is_causal=True)
    close(attend(query, key, value, bias=bias, is_causal=True).weights, wanted.weights)
    close(attend(query, key, value, bias=bias, is_causal=True, need_weights=False).context, wanted.context)


# --- grouped queries --------------------------------------------------------------------------------------------------


def grouped():
    query = randn(BATCH, HEADS, QUERY, D_K)
    return query, randn(BATCH, GROUPS, KEY, D_K, seed=1), randn(BATCH, GROUPS, KEY, D_V, seed=2)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("is_causal", [False, True])
def test_grouped_queries_are_repeated_heads(is_causal, need_weights):
    query, key, value = grouped()
    per_head = (randn(BATCH, HEADS, QUERY, KEY, seed=8) > 0).logical_or(torch.eye(QUERY, KEY).bool())
    bias = randn(HEADS, QUERY, KEY, seed=9)
    for mask, scale in itertools.product((None, per_head, per_head[:, :1], per_head[0, 0]), (None, randn(HEADS, 1, 1))):
        options = {"mask": mask, "bias": bias, "scale": scale, "is_causal": is_causal, "need_weights": need_weights}
        run = functools.partial(attend, **options)

        def repeated(query, key, value, run=run):
            return run(query, *(part.repeat_interleave(HEADS // GROUPS, dim=1) for part in (key, value)))

        whole, found = repeated(query, key, value), run(query, key, value, enable_gqa=True)
        for got, want in zip(found, whole, strict=True):
            assert (got is None) == (want is None)
            if got is not None:
                close(got, want)
        together = functools.partial(run, enable_gqa=True)
        for got, want in zip(
            checks.run_with_gradients(together, query, key, value),
            checks.run_with_gradients(repeated, query, key, value),
            strict=True,
        ):
            close(got, want)


def test_grouped_queries_are_torchs():
    query, key, value = (part.float() for part in grouped())
    wanted = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    for need_weights in (True, False):
        context = attend(query, key, value, enable_gqa=True, need_weights=need_weights).context
        torch.testing.assert_close(context, wanted, atol=1e-6, rtol=0)


def test_grouped_queries_with_a_learned_score():
    query, key, value = randn(HEADS, QUERY, D_Q), randn(GROUPS, KEY, D_K), randn(GROUPS, KEY, D_V)
    score = scores.Additive(D_Q, D_K, 13, dtype=torch.float64)
    found = attend(query, key, value, score=score, distribution=sparsemax, enable_gqa=True)
    wide = [part.repeat_interleave(HEADS // GROUPS, dim=0) for part in (key, value)]
    for got, want in zip(found, attend(query, *wide, score=score, distribution=sparsemax), strict=True):
        close(got, want)


# --- dropout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_keeps_the_mean_and_rests_in_eval(need_weights):
    query, key, value = inputs()
    module = Attend(dropout=0.4)
    run = functools.partial(module, mask=some_mask(), need_weights=need_weights)
    exact = attend(query, key, value, mask=some_mask()).context
    draws = torch.stack([run(query, key, value).context for _ in range(500)])
    error = (draws.mean(0) - exact).abs() / (draws.std(0) / math.sqrt(len(draws))).clamp(min=1e-9)
    assert error.max() < 5.5, "500 draws of 102 means lie within 5.5 standard errors"
    assert draws.std(0).max() > 0.1
    module.eval()
    close(run(query, key, value).context, exact)


def test_dropped_weights_are_zero_and_the_others_grow():
    query, key, value = inputs()
    torch.manual_seed(3)
    found, plain = Attend(dropout=0.5)(query, key, value), attend(query, key, value)
    kept = found.weights != 0
    assert 0 < kept.double().mean() < 1
    close(found.weights[kept], 2 * plain.weights[kept])
    close(found.context, found.weights @ value)


def test_all_or_nothing_is_dropped():
    query, key, value = inputs()
    assert (Attend(dropout=1.0)(query, key, value).context == 0).all()
    close(Attend(dropout=0.0)(query, key, value).context, attend(query, key, value).context)


# --- what the kernel costs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [1, 7, 40])
@pytest.mark.parametrize("shape", [(QUERY, KEY), (KEY, QUERY), (11, 11)])
def test_long_causal_masks_are_made_a_run_of_queries_at_a_time(monkeypatch, shape, pairs):
    monkeypatch.setattr(_kernel, "PAIRS", pairs)
    n_query, n_key = shape
    parts = randn(BATCH, 2, n_query, D_K), randn(BATCH, 2, n_key, D_K), randn(BATCH, 2, n_key, D_V)
    some = randn(BATCH, 1, n_query, n_key, seed=4) > 0
    for mask, bias in ((some, None), (some[..., :1, :], None), (None, randn(2, n_query, n_key)), (some, randn(n_key))):
        run = functools.partial(attend, mask=mask, bias=bias, is_causal=True)
        wanted = checks.run_with_gradients(run, *parts)
        got = checks.run_with_gradients(functools.partial(run, need_weights=False), *parts)
        for got_part, wanted_part in zip(got, wanted, strict=True):
            close(got_part, wanted_part)


MEMORY = """
import resource, sys, torch
from attnlib import attend, masks
torch.set_num_threads(1)
n = 6000
query, key, value = (torch.randn(1, 1, n, 64) for _ in range(3))
attend(query[..., :64, :], key, value, need_weights=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
padding = masks.key_mask(torch.tensor([n - 7]), n)[None]
attend(query, key, value, need_weights=False, mask=padding, is_causal=sys.argv[1] == "both")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux counts kilobytes")
@pytest.mark.parametrize("mask", ["padding", "both"])
def test_padding_costs_no_square_of_memory(mask):
    """6,000 queries and keys: a boolean for each pair would be 34 MiB, a float 137 MiB."""
    folder = attnlib.__path__[0] + "/.."
    done = subprocess.run([sys.executable, "-c", MEMORY, mask], capture_output=True, text=True, check=True, cwd=folder)
    limit = {"padding": 16, "both": 64}[mask]  # for both, the mask of a run of queries is there, and its float form
    assert int(done.stdout) / 1024 < limit, f"{int(done.stdout) / 1024:.0f} MiB"


# --- errors -----------------------------------------------------------------------------------------------------------

Q, K = torch.zeros(4, 3, 8), torch.zeros(4, 5, 8)

BAD = {
    "integer mask": (
        {"mask": torch.ones(3, 5).long()},
        TypeError,
        "zeros and ones become one with",
    ),
    "padding mask": (
        {"mask": torch.ones(4, 5).bool()},
        ValueError,
        r"\(batch, key\): give mask\[:, None, :\]",
    ),
    "bool bias": ({"bias": torch.ones(3, 5).bool()}, TypeError, "a boolean mask goes to mask="),
    "list as bias": ({"bias": [0.0]}, TypeError, "bias must be a tensor, got list"),
    "bias dtype": (
        {"bias": torch.ones(3, 5).double()},
        TypeError,
        "bias has dtype torch.float64 but query has",
    ),
    "bias size": ({"bias": torch.ones(5, 3)}, ValueError, r"bias of shape \(5, 3\) does not broadcast"),
    "text as scale": ({"scale": "1"}, TypeError, "scale must be a number or a tensor, got str"),
    "true as scale": ({"scale": True}, TypeError, "scale must be a number or a tensor, got bool"),
    "infinite scale": ({"scale": math.inf}, ValueError, "scale must be finite, got inf"),
    "integer scale": (
        {"scale": torch.ones(1).long()},
        TypeError,
        "scale must be floating point, got",
    ),
    "scale size": ({"scale": torch.ones(3, 5)}, ValueError, r"scale of shape \(3, 5\) does not broadcast to"),
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(("options", "error", "message"), BAD.values(), ids=BAD)
@pytest.mark.usefixtures("unchecked")
def test_bad_options_say_what_to_do(options, error, message, need_weights):
    with pytest.raises(error, match=message):
        attend(Q, K, **options, need_weights=need_weights)


@pytest.mark.usefixtures("unchecked")
def test_a_mask_that_can_be_read_in_two_ways_is_refused():
    """(batch, key) or (query, key): with as many queries as sequences nobody can tell, and nobody guesses."""
    query, key, value = randn(KEY, KEY, D_K), randn(KEY, 7, D_K), randn(KEY, 7, D_V)
    mask = randn(KEY, 7) > -1
    with pytest.raises(ValueError, match=r"read as \(query, key\) and as \(batch, key\), for there are 5 of both"):
        attend(query, key, value, mask=mask)
    first, second = attend(query, key, value, mask=mask[None]), attend(query, key, value, mask=mask[:, None])
    assert not torch.equal(first.weights == 0, second.weights == 0)
    assert attend(query[0], key[0], value[0], mask=mask).context.shape == (KEY, D_V), "no batch, no doubt"
    assert attend(query[:1], key[:1], value[:1], mask=mask).context.shape == (1, KEY, D_V)


@pytest.mark.usefixtures("unchecked")
def test_bad_groups():
    query, key, value = grouped()
    with pytest.raises(ValueError, match="query has 5 heads, which the 2 heads of key must divide"):
        attend(query[:, :5], key, value, enable_gqa=True)
    with pytest.raises(ValueError, match="value has 1 heads but key has 2"):
        attend(query, key, value[:, :1], enable_gqa=True)
    with pytest.raises(ValueError, match=r"query must have shape \(\*batch, heads, query, size\), got \(3, 7\)"):
        attend(query[0, 0], key, value, enable_gqa=True)
    with pytest.raises(ValueError, match=r"dropout must be from 0 to 1, got 1\.5"):
        Attend(dropout=1.5)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.usefixtures("unchecked")
def test_nested_tensors_are_refused_by_name():
    nested = torch.nested.nested_tensor([torch.zeros(2, 8), torch.zeros(3, 8)], layout=torch.jagged)
    with pytest.raises(TypeError, match=r"query must be a dense tensor, got nested .*to_padded_tensor.*key_mask"):
        attend(nested, nested)


# --- rows that see nothing, and scales that turn energies round -------------------------------------------------------

NOTHING = torch.tensor([[False, False], [True, True]])


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 3e38])
@pytest.mark.parametrize("which", ["query", "bias", "both"])
def test_a_row_that_sees_nothing_spoils_nobody(which, bad, need_weights):
    """Its query and its bias may hold anything: gradients of the keys, the bias and the scale stay as they were."""
    results = []
    for number in (1.0, bad):
        query = torch.tensor([[number if which != "bias" else 1.0], [1.0]], requires_grad=True)
        bias = torch.tensor([[number if which != "query" else 1.0] * 2, [0.0, 0.5]], requires_grad=True)
        key, scale = torch.tensor([[1.0], [2.0]], requires_grad=True), torch.tensor([2.0], requires_grad=True)
        options = {"scale": scale, "bias": bias, "mask": NOTHING, "need_weights": need_weights}
        context = attend(query, key, key, **options).context
        results.append([context.detach(), *torch.autograd.grad(context.sum(), (query, key, bias, scale))])
    for got, want in zip(*results, strict=True):
        assert want.isfinite().all()
        torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mask", [None, some_mask()], ids=["no mask", "mask"])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("scale", [-0.5, 0.0, -3.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_scales_that_are_not_positive(dtype, scale, is_causal, mask):
    """torch's kernel hides with minus infinity before it multiplies, so that a negative scale would show the future."""
    parts = [part.to(dtype) for part in inputs()]
    run = functools.partial(attend, scale=scale, is_causal=is_causal, mask=mask)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 3e-2}[dtype]
    silent = checks.run_with_gradients(functools.partial(run, need_weights=False), *parts)
    for got, want in zip(silent, checks.run_with_gradients(run, *parts), strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 3e38])
def test_no_keys_at_all_and_a_query_that_is_not_finite(bad, need_weights):
    empty, mask = torch.ones(0, 1), torch.ones(1, 0, dtype=torch.bool)
    context = attend(torch.tensor([[bad]]), empty, empty, mask=mask, need_weights=need_weights).context
    assert torch.equal(context, torch.zeros(1, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["generalized_kernel", "feature_based"])
def test_a_feature_that_overflows_spoils_nobody_who_does_not_see_it(name, dtype):
    """The square of a hidden key is infinite: gradients of the parameters and of that key itself stay finite."""
    large = 1e20 if dtype == torch.float32 else 300.0
    weight = torch.ones(1, 1, dtype=dtype, requires_grad=True)
    fixed = {"vector": torch.ones(1, dtype=dtype), "first_weight": weight, "first_map": torch.abs}
    options = {
        "generalized_kernel": {"feature_map": torch.square},
        "feature_based": {**fixed, "second_weight": weight, "second_map": torch.square},
    }[name]
    mask = torch.tensor([[True, True, False], [True, True, True]])
    value = torch.tensor([[1.0], [2.0], [4.0]], dtype=dtype)
    results = []
    for number in (1.0, large):
        key = torch.tensor([[0.5], [1.0], [number]], dtype=dtype, requires_grad=True)
        query = torch.ones(2, 1, dtype=dtype, requires_grad=True)
        score = functools.partial(getattr(scores, name), **options)
        context = attend(query, key, value, score=score, mask=mask).context
        parts = (query, key, weight)
        results.append([context[0], *torch.autograd.grad(context[0].sum(), parts, allow_unused=True)])
        assert context[1].isfinite().all() == (number == 1.0), "who sees it gets NaN"
    for got, want in zip(*results, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            assert want.isfinite().all()
            torch.testing.assert_close(got, want)
