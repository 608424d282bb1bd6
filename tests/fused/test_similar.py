"""Scores in disguise through torch's kernel: the same contexts and gradients as their own formula, or a reason."""

import functools

import checks
import pytest
import torch
import torch.nn.functional as F
from checks import BATCH, D_K, D_Q, D_V, KEY, QUERY, mask_with_empty_row, randn, some_mask
from mechanisms import parameters

from attnlib import attend, explain, scores
from attnlib.frontiers.kernels import kernel_smoother, log_exponential_kernel, log_rbf_kernel
from attnlib.fused import _similar as similar
from attnlib.fused import reference_only

PATH = "kernel of torch, on other vectors"
NAMES = ("similarity", "gaussian", "general", "biased_general", "location_based", "feature_based")
pytestmark = pytest.mark.usefixtures("unchecked")


def score_of(name, dtype=torch.float64, rounded=None):
    return parameters(dtype, rounded)[name]


def parts_of(dtype=torch.float64, lead=(BATCH,)):
    sizes = ((QUERY, D_K), (KEY, D_K), (KEY, D_V))
    return [randn(*lead, *size, dtype=dtype, seed=seed) for seed, size in enumerate(sizes)]


def both(run, parts, score):
    """Context and gradients, of parameters too, by the path and by the reference."""
    found = []
    for is_reference in (False, True):
        leaves = [part.detach().clone().requires_grad_() for part in parts]
        learned = list(score.parameters()) if isinstance(score, torch.nn.Module) else []
        with reference_only() if is_reference else torch.enable_grad():
            context = run(*leaves).context
        weights = randn(*context.shape, dtype=context.dtype, seed=9)
        gradients = torch.autograd.grad((context * weights).sum(), [*leaves, *learned], materialize_grads=True)
        found.append([context.detach(), *gradients])
    return found


OPTIONS = {
    "plain": {},
    "causal": {"is_causal": True},
    "pairs": {"mask": some_mask()},
    "empty row": {"mask": mask_with_empty_row(), "is_causal": True},
    "padding": {"mask": torch.tensor([[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 0]]]).bool()},
    "bias": {"bias": randn(BATCH, QUERY, KEY, seed=5)},
    "negative scale": {"scale": -0.7},
    "learned scale": {"scale": randn(BATCH, QUERY, 1, seed=6)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_reference(name, options):
    score = score_of(name)
    run = functools.partial(attend, score=score, need_weights=False, **options)
    assert explain(run, *parts_of()).choices[0].path == PATH
    for got, wanted in zip(*both(run, parts_of(), score), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_leaks_and_empty_rows_are_zero(name):
    run = functools.partial(attend, score=score_of(name), need_weights=False)
    checks.check_empty_row(run)
    checks.check_nothing_leaks(run)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("biased", [False, True])
def test_no_further_from_float64_than_the_reference(name, dtype, biased):
    score, parts = score_of(name, dtype), parts_of(dtype, (2, 3))
    bias = randn(QUERY, KEY, dtype=dtype, seed=5) if biased else None
    run = functools.partial(attend, score=score, bias=bias, need_weights=False)
    assert explain(run, *parts).choices[0].path == PATH
    wide = {"score": score_of(name, torch.float64, dtype), "bias": bias.double() if biased else None}
    exact = attend(*(part.double() for part in parts), **wide).context
    with reference_only():
        wanted = run(*parts).context
    got = run(*parts).context
    assert got.dtype == wanted.dtype == dtype
    error, allowed = ((part.double() - exact).abs().max().item() for part in (got, wanted))
    assert error <= 1.5 * allowed + torch.finfo(torch.float32).eps * 8


@pytest.mark.parametrize("name", NAMES)
def test_leading_axes_broadcast_and_strides_do_not_matter(name):
    score = score_of(name)
    query = randn(QUERY, D_K).mT.contiguous().mT
    key, value = randn(BATCH, 1, KEY, D_K, seed=1), randn(3, KEY, D_V, seed=2)[..., ::2]
    run = functools.partial(attend, score=score, need_weights=False)
    for got, wanted in zip(*both(run, (query, key, value), score), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


def test_queries_and_keys_of_two_sizes_and_grouped_heads():
    score = functools.partial(scores.general, weight=randn(D_Q, D_K))
    parts = [randn(2, heads, n, d) for heads, n, d in ((6, QUERY, D_Q), (3, KEY, D_K), (3, KEY, D_V))]
    run = functools.partial(attend, score=score, enable_gqa=True, is_causal=True, need_weights=False)
    assert explain(run, *parts).choices[0].path == PATH
    for got, wanted in zip(*both(run, parts, score), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kernel", [log_rbf_kernel, log_exponential_kernel])
def test_the_smoother_takes_it_too(kernel):
    score = functools.partial(kernel, query_weight=randn(5, D_K))
    run = functools.partial(kernel_smoother, log_kernel=score, is_causal=True, need_weights=False)
    assert explain(run, *parts_of()).choices[0].path == PATH
    for got, wanted in zip(*both(run, parts_of(), score), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


def test_vectors_of_length_zero_have_no_direction():
    query, key, value = parts_of()
    query[0, 1] = key[:, 2] = 0
    key[1, 3] = 1e-9
    run = functools.partial(attend, score=scores.similarity, need_weights=False)
    for got, wanted in zip(*both(run, (query, key, value), scores.similarity), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


def test_a_pair_that_overflows_and_sizes_that_do_not_fit_are_left_to_the_reference():
    query, key, value = parts_of(torch.float32)
    for score, parts, reason in [
        (scores.gaussian, (query * 1e3, key, value), "small distances"),
        (scores.gaussian, (query, key * 1e30, value), "not finite, or too long"),
        (functools.partial(scores.general, weight=torch.full((D_K, D_K), 1e11)), (query * 1e9, key, value), "overflow"),
        (lambda query, key: query @ key.mT, (query, key, value), "no inner product"),
        (functools.partial(scores.general, weight=torch.zeros(2, 2)), (query, key, value), "do not fit"),
        (
            functools.partial(scores.biased_general, weight=torch.zeros(2, 2), bias=key[0, 0]),
            (query, key),
            "do not fit",
        ),
        (functools.partial(scores.location_based, weight=torch.zeros(2, 2)), (query, key), "do not fit"),
        (scores.similarity, (query, key[..., :3], value), "do not fit"),
        (functools.partial(scores.gaussian, width=0.0), (query, key, value), "width"),
    ]:
        try:
            refused = explain(attend, *parts, score=score, need_weights=False).choices[0].refused
        except ValueError:
            assert reason in ("do not fit", "width")
        else:
            assert reason in refused[PATH]


def test_no_matrix_of_pairs_and_no_second_kernel(monkeypatch):
    """Sizes of queries and values that differ are made equal, for else torch's kernel would store all pairs."""
    shapes = []
    kernel = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *a, **o: shapes.append([p.shape[-1] for p in a]) or kernel(*a, **o)
    )
    for name in NAMES:
        attend(*parts_of(), score=score_of(name), need_weights=False)
    assert len(shapes) == len(NAMES)
    assert all(len(set(sizes)) == 1 for sizes in shapes)


@pytest.mark.parametrize("hook", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
def test_a_score_with_a_hook_is_called(hook):
    module = scores.General(D_K, D_K).double()
    query, key = randn(QUERY, D_K).requires_grad_(), randn(KEY, D_K, seed=1)
    assert explain(attend, query, key, score=module, need_weights=False).choices[0].path == PATH
    called = []
    getattr(module, f"register_{hook}_hook")(lambda *_: called.append(hook))
    attend(query, key, score=module, need_weights=False).context.sum().backward()
    assert called == [hook]


def test_vmap_and_autocast_are_left_to_the_reference():
    query, key, value = parts_of(torch.float32)
    run = functools.partial(attend, score=scores.similarity, need_weights=False)
    torch.testing.assert_close(
        torch.vmap(lambda *p: run(*p).context)(query, key, value), run(query, key, value).context
    )
    with torch.autocast("cpu", torch.bfloat16):
        refused = explain(run, query, key, value).choices[0].refused
    assert "autocast" in refused[PATH]


def unscaled_key(query, key, *, width=1.0):
    """Forgets the width in the feature that it appends."""
    half = key.square().sum(-1, keepdim=True) / -2
    return F.pad(query / width**2, (0, 1), value=1.0), torch.cat([key, half], -1)


def without_eps(query, key, *, eps=1e-8):
    return F.normalize(query, dim=-1), F.normalize(key, dim=-1, eps=1e-30)


def transposed(query, key, *, weight):
    return query @ weight.mT, key


@pytest.mark.parametrize(
    ("function", "mutant"),
    [(scores.gaussian, unscaled_key), (scores.similarity, without_eps), (scores.general, transposed)],
)
def test_known_wrong_forms_are_rejected(monkeypatch, function, mutant):
    name = function.__name__
    monkeypatch.setitem(similar.FORMS, function, mutant)
    with pytest.raises(AssertionError):
        test_equals_the_reference(name, {}) if name != "similarity" else test_vectors_of_length_zero_have_no_direction()
