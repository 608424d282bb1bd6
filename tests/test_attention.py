"""attend: equal to the loop and to torch's kernel, exact about masks, and clear about bad input."""

import functools
import itertools
import subprocess
import sys

import checks
import pytest
import torch
import torch.nn.functional as F
from checks import BATCH, D_K, D_Q, D_V, KEY, QUERY, close, inputs, mask_with_empty_row, randn, some_mask

import attnlib
from attnlib import Attend, attend, masks, scores
from attnlib.distributions import sigmoid, softmax, sparsemax

fused = functools.partial(attend, need_weights=False)
reference = attend


def first_order(attend):
    checks.check_attend_gradient(attend, second=False)  # torch's kernel has no second derivative on CPU


@pytest.mark.parametrize("check", checks.ATTEND_CHECKS)
def test_reference_path(check):
    check(reference)


@pytest.mark.parametrize(
    "check", [first_order, *(c for c in checks.ATTEND_CHECKS if c is not checks.check_attend_gradient)]
)
def test_fused_path(check):
    check(fused)


EXACT = [checks.check_empty_row, checks.check_nothing_leaks, checks.check_nothing_leaks_between_queries]


@pytest.mark.parametrize("distribution", [sparsemax, sigmoid])
@pytest.mark.parametrize("check", EXACT)
def test_masks_are_exact_with_other_distributions(check, distribution):
    check(functools.partial(attend, distribution=distribution))


SCORES_ON_EQUAL_SIZES = {
    "similarity": scores.similarity,
    "dot": scores.dot,
    "general": scores.General(D_K, D_K, dtype=torch.float64),
    "additive": scores.Additive(D_K, D_K, 13, dtype=torch.float64),
    "concat": scores.Concat(D_K, D_K, 13, dtype=torch.float64),
    "deep": scores.Deep(D_K, D_K, (13, 19), dtype=torch.float64),
    "location_based": scores.LocationBased(D_K, KEY, dtype=torch.float64),
}


@pytest.mark.parametrize("score", SCORES_ON_EQUAL_SIZES.values(), ids=SCORES_ON_EQUAL_SIZES)
@pytest.mark.parametrize("check", [checks.check_empty_row, checks.check_nothing_leaks])
def test_masks_are_exact_with_other_scores(check, score):
    check(functools.partial(attend, score=score))
    for parameter in score.parameters() if isinstance(score, torch.nn.Module) else ():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_parameters_get_no_gradient_from_behind_the_mask():
    score = scores.Additive(D_K, D_K, 13, dtype=torch.float64)
    query, key, value = inputs()
    gradients = []
    for bad in (0.0, torch.nan):
        spoilt = key.clone()
        spoilt[:, 3:] = bad
        context = attend(query, spoilt, value, score=score, is_causal=True).context
        gradients.append(torch.autograd.grad(context.square().sum(), tuple(score.parameters())))
    for clean, spoilt in zip(*gradients, strict=True):
        close(spoilt, clean)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("mask", [None, some_mask(), mask_with_empty_row()], ids=["none", "some", "empty row"])
@pytest.mark.parametrize("need_weights", [True, False])
def test_equals_torch(mask, is_causal, need_weights, device):
    """Values and gradients to 1e-6 in float32, four dimensions, with torch's mask and alignment."""
    heads = (BATCH, 3)
    parts = [randn(*heads, n, d, dtype=torch.float32, device=device) for n, d in ((QUERY, D_K), (KEY, D_K), (KEY, D_V))]
    mask = None if mask is None else mask.unsqueeze(1).to(device)
    both = mask
    if is_causal and mask is not None:  # torch takes one or the other
        both = mask & torch.ones(QUERY, KEY, dtype=torch.bool, device=device).tril()

    def theirs(query, key, value):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=both, is_causal=is_causal and mask is None)

    ours = functools.partial(attend, mask=mask, is_causal=is_causal, need_weights=need_weights)
    got, wanted = checks.run_with_gradients(ours, *parts), checks.run_with_gradients(theirs, *parts)
    for got_part, wanted_part in zip(got, wanted, strict=True):
        torch.testing.assert_close(got_part, wanted_part, atol=1e-6, rtol=0)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 3, 5)])
def test_paths_agree(lead, device):
    """Any number of leading dimensions; masks of any broadcastable shape; both scores that the kernel knows."""
    parts = [randn(*lead, n, d, device=device) for n, d in ((QUERY, D_K), (KEY, D_K), (KEY, D_V))]
    mask = (randn(*lead, QUERY, KEY) > 0).to(device)
    narrow = [mask, mask[..., :1, :], mask[..., :1], mask[(0,) * len(lead)], mask[(0,) * len(lead)][0], None]
    for score, part, is_causal in itertools.product((scores.dot, scores.scaled_dot), narrow, (False, True)):
        options = {"score": score, "mask": part, "is_causal": is_causal}
        got = checks.run_with_gradients(functools.partial(fused, **options), *parts)
        wanted = checks.run_with_gradients(functools.partial(reference, **options), *parts)
        for got_part, wanted_part in zip(got, wanted, strict=True):
            close(got_part, wanted_part)


def test_kernel_is_taken_only_where_it_is_the_same_function(monkeypatch):
    calls = []
    kernel = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **o: calls.append(1) or kernel(*a, **o))
    query, key, value = inputs()
    fused(query, key, value)
    fused(query, key, value, score=scores.dot, distribution=softmax, mask=some_mask(), is_causal=True)
    assert len(calls) == 2
    attend(query, key, value)
    fused(query, key, value, score=scores.similarity)
    fused(query, key, value, score=functools.partial(scores.scaled_dot, scale=2.0))
    fused(query, key, value, distribution=functools.partial(softmax, temperature=2.0))
    assert len(calls) == 2


def test_without_weights_there_are_none():
    for score in (scores.scaled_dot, scores.similarity):
        result = attend(*inputs(), score=score, need_weights=False)
        assert result.weights is None
        assert result.energies is None


def test_key_only():
    query, key, _ = inputs()
    for need_weights in (True, False):
        alone = attend(query, key, need_weights=need_weights)
        close(alone.context, attend(query, key, key, need_weights=need_weights).context)
    assert attend(query, key).context.shape == (BATCH, QUERY, D_K)


def test_energies_are_what_the_distribution_saw():
    seen = []

    def spy(energies):
        seen.append(energies)
        return softmax(energies)

    result = attend(*inputs(), distribution=spy, mask=some_mask(), is_causal=True)
    assert torch.equal(result.energies, seen[0])
    hidden = ~(some_mask() & masks.causal(QUERY, KEY))
    assert (result.energies[hidden] == -torch.inf).all()
    assert result.energies[~hidden].isfinite().all()
    assert torch.equal(softmax(result.energies), result.weights)


def test_leading_dimensions_broadcast(device):
    """One query for many batches, keys shared by the heads, values by the batch; results have all dimensions."""
    query = randn(QUERY, D_K, device=device)
    key = randn(BATCH, 1, KEY, D_K, device=device)
    value = randn(3, KEY, D_V, device=device)
    mask = some_mask().unsqueeze(1).to(device)
    full = (query.expand(BATCH, 3, -1, -1), key.expand(-1, 3, -1, -1), value.expand(BATCH, -1, -1, -1))
    wanted = attend(*(part.contiguous() for part in full), mask=mask.expand(-1, 3, -1, -1).contiguous())
    got = attend(query, key, value, mask=mask)
    for got_part, wanted_part in zip(got, wanted, strict=True):
        assert got_part.shape == wanted_part.shape
        close(got_part, wanted_part)
    close(fused(query, key, value, mask=mask).context, wanted.context)
    close(fused(query, key, value, is_causal=True).context, attend(*full, is_causal=True).context)


def test_layout_in_memory_does_not_matter(device):
    query, key, value = (part.to(device) for part in inputs())
    strided = [part.mT.contiguous().mT for part in (query, key, value)]
    mask = some_mask().to(device).mT.contiguous().mT
    assert not any(part.is_contiguous() for part in (*strided, mask))
    for need_weights in (True, False):
        run = functools.partial(attend, mask=mask, need_weights=need_weights)
        for got, wanted in zip(
            checks.run_with_gradients(run, *strided), checks.run_with_gradients(run, query, key, value), strict=True
        ):
            close(got, wanted)


@pytest.mark.parametrize("need_weights", [True, False])
def test_empty_axes(need_weights):
    query, key, value = (part.requires_grad_() for part in inputs())
    run = functools.partial(attend, need_weights=need_weights)
    for options in ({}, {"is_causal": True}, {"mask": torch.ones(QUERY, 0, dtype=torch.bool)}):
        result = run(query, key[:, :0], value[:, :0], **options)
        assert torch.equal(result.context, torch.zeros(BATCH, QUERY, D_V, dtype=torch.float64))
        assert not need_weights or result.weights.shape == result.energies.shape == (BATCH, QUERY, 0)
        (gradient,) = torch.autograd.grad(result.context.sum(), query, materialize_grads=True)
        assert torch.equal(gradient, torch.zeros_like(query))
    assert run(query[:, :0], key, value).context.shape == (BATCH, 0, D_V)
    assert run(query[:0], key[:0], value[:0]).context.shape == (0, QUERY, D_V)
    close(run(query[..., :0], key[..., :0], value).context, value.mean(1, keepdim=True).expand(-1, QUERY, -1))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("need_weights", [True, False])
def test_precisions(dtype, tolerance, need_weights, device):
    """Results keep the dtype and stay near float64; masks are as exact as there."""
    parts = inputs(dtype, device)
    mask = mask_with_empty_row().to(device)
    run = functools.partial(attend, mask=mask, need_weights=need_weights)
    result = run(*parts)
    assert all(part is None or part.dtype == dtype for part in result[:2])
    assert result.energies is None or result.energies.dtype == torch.float32
    exact = attend(*(part.double() for part in parts), mask=mask).context
    torch.testing.assert_close(result.context.double(), exact, atol=tolerance, rtol=tolerance)
    any_mask = functools.partial(attend, need_weights=need_weights)
    checks.check_empty_row(any_mask, dtype, device)
    checks.check_hidden_is_exact(any_mask, dtype, device)
    same = functools.partial(torch.testing.assert_close, atol=tolerance, rtol=tolerance)
    checks.check_nothing_leaks(any_mask, dtype, device, same=same)


def test_many_keys_in_half_precision():
    """Normalised in float32: 5,000 equal weights still sum to one, which adding up in float16 would not give."""
    key = torch.zeros(5000, 2, dtype=torch.float16)
    weights = attend(torch.zeros(1, 2, dtype=torch.float16), key).weights
    assert abs(weights.double().sum().item() - 1) < 1e-3


def test_module():
    attention = Attend(score=scores.General(D_Q, D_K), distribution=sigmoid)
    assert [name for name, _ in attention.named_parameters()] == ["score.weight"]
    query, key, value = randn(QUERY, D_Q, dtype=torch.float32), *(part.float() for part in inputs()[1:])
    result = attention(query, key, value, mask=some_mask(), is_causal=True)
    wanted = attend(query, key, value, score=attention.score, distribution=sigmoid, mask=some_mask(), is_causal=True)
    assert torch.equal(result.context, wanted.context)
    result.context.sum().backward()
    assert attention.score.weight.grad.abs().sum() > 0
    assert attention(query, key, value, need_weights=False).weights is None


# --- bad input --------------------------------------------------------------------------------------------------------

QUERY_2D, KEY_2D = torch.zeros(3, 8), torch.zeros(5, 8)

BAD = {
    "no tensor": ((QUERY_2D, [[1.0]]), {}, TypeError, "key must be a tensor but is list"),
    "integer query": (
        (QUERY_2D.long(), KEY_2D),
        {},
        TypeError,
        "query must be floating point but has dtype torch.int64",
    ),
    "boolean query": (
        (QUERY_2D.bool(), KEY_2D),
        {},
        TypeError,
        "query must be floating point but has dtype torch.bool",
    ),
    "two dtypes": (
        (QUERY_2D, KEY_2D.double()),
        {},
        TypeError,
        "key has dtype torch.float64 but query has dtype torch.float32",
    ),
    "value dtype": ((QUERY_2D, KEY_2D, KEY_2D.half()), {}, TypeError, "value has dtype torch.float16"),
    "a vector": (
        (torch.zeros(8), KEY_2D),
        {},
        ValueError,
        r"query must have shape \(\*batch, query, size\) but has shape \(8,\)",
    ),
    "key size": ((QUERY_2D, torch.zeros(5, 7)), {}, ValueError, "key has d_k=7 but query has d_k=8"),
    "value length": ((QUERY_2D, KEY_2D, torch.zeros(4, 8)), {}, ValueError, "value has 4 rows but key has 5"),
    "batches": (
        (torch.zeros(2, 3, 8), torch.zeros(4, 5, 8)),
        {},
        ValueError,
        r"leading dimensions must broadcast but are query \(2,\), key \(4,\)",
    ),
    "float mask": (
        (QUERY_2D, KEY_2D),
        {"mask": torch.zeros(3, 5)},
        TypeError,
        r"mask must be boolean \(True = may attend\) .*float32: what is added to the energies goes to bias=",
    ),
    "mask is a list": ((QUERY_2D, KEY_2D), {"mask": [[True]]}, TypeError, "mask must be a boolean tensor but is list"),
    "mask size": (
        (QUERY_2D, KEY_2D),
        {"mask": torch.ones(5, 3).bool()},
        ValueError,
        r"mask of shape \(5, 3\) does not broadcast to \(\*batch, query, key\) = \(3, 5\)",
    ),
    "mask with a batch": ((QUERY_2D, KEY_2D), {"mask": torch.ones(2, 3, 5).bool()}, ValueError, "does not broadcast"),
    "score transposed": (
        (QUERY_2D, KEY_2D),
        {"score": lambda query, key: key @ query.mT},
        ValueError,
        r"score returned energies of shape \(5, 3\) but expected \(3, 5\)",
    ),
    "distribution drops an axis": (
        (QUERY_2D, KEY_2D),
        {"distribution": lambda energies: energies.sum(-1)},
        ValueError,
        r"distribution returned weights of shape \(3,\) but expected \(3, 5\)",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input(arguments, options, error, message, need_weights):
    with pytest.raises(error, match=message):
        attend(*arguments, **options, need_weights=need_weights)


def test_annotations_are_checked_in_the_tests():
    """The hook is in place: without the ``unchecked`` fixture a wrong shape does not even reach the function."""
    import jaxtyping

    with pytest.raises(jaxtyping.TypeCheckError):
        attend(QUERY_2D, KEY_2D, torch.zeros(4, 8))


def test_visible_nan_is_nan_without_a_mask_too():
    query, key, value = inputs()
    key[:, 1] = torch.nan
    assert attend(query, key, value).context.isnan().all()


def test_import_is_light():
    """``import attnlib`` brings neither pictures nor widgets nor Triton."""
    heavy = "{'matplotlib', 'seaborn', 'anywidget', 'ipywidgets', 'IPython', 'triton', 'sklearn'}"
    code = f"import sys, attnlib; print(sorted({heavy} & set(sys.modules)))"
    folder = attnlib.__path__[0] + "/.."
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    assert done.stdout.strip() == "[]"
