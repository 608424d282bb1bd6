"""attend: equal to the loop and to torch's kernel, exact about masks, and clear about bad input."""

import functools
import itertools

import checks
import pytest
import torch
import torch.nn.functional as F
from checks import BATCH, D_K, D_Q, D_V, KEY, QUERY, close, inputs, mask_with_empty_row, randn, some_mask

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
    fused(query, key, value, score=lambda query, key: query @ key.mT)
    fused(query, key, value, score=SCORES_ON_EQUAL_SIZES["additive"])
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
    "no tensor": ((QUERY_2D, [[1.0]]), {}, TypeError, "key must be a tensor, got list"),
    "integer query": (
        (QUERY_2D.long(), KEY_2D),
        {},
        TypeError,
        "query must be floating point, got dtype torch.int64",
    ),
    "boolean query": (
        (QUERY_2D.bool(), KEY_2D),
        {},
        TypeError,
        "query must be floating point, got dtype torch.bool",
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
        r"query must have shape \(\*batch, query, size\), got shape \(8,\)",
    ),
    "key size": ((QUERY_2D, torch.zeros(5, 7)), {}, ValueError, "key has d_k=7 but query has d_k=8"),
    "value length": ((QUERY_2D, KEY_2D, torch.zeros(4, 8)), {}, ValueError, "value has 4 rows but key has 5"),
    "batches": (
        (torch.zeros(2, 3, 8), torch.zeros(4, 5, 8)),
        {},
        ValueError,
        r"leading dimensions must broadcast, got query \(2,\), key \(4,\)",
    ),
    "float mask": (
        (QUERY_2D, KEY_2D),
        {"mask": torch.zeros(3, 5)},
        TypeError,
        r"mask must be boolean \(True = may attend\), .*float32: what is added to the energies goes to bias=",
    ),
    "float ones and zeros": ((QUERY_2D, KEY_2D), {"mask": torch.ones(3, 5)}, TypeError, r"zeros become .* \.bool\(\)"),
    "key elsewhere": ((QUERY_2D, KEY_2D.to("meta")), {}, ValueError, "key is on meta but query is on cpu"),
    "mask elsewhere": (
        (QUERY_2D, KEY_2D),
        {"mask": torch.ones(3, 5).bool().to("meta")},
        ValueError,
        "mask is on meta but query is on cpu",
    ),
    "bias elsewhere": ((QUERY_2D, KEY_2D), {"bias": torch.ones(5).to("meta")}, ValueError, "bias is on meta"),
    "score by name": ((QUERY_2D, KEY_2D), {"score": "dot"}, TypeError, "score must be callable, got str"),
    "distribution by name": (
        (QUERY_2D, KEY_2D),
        {"distribution": "sparsemax"},
        TypeError,
        "distribution must be callable, got str; see attnlib.distributions",
    ),
    "score without a result": (
        (QUERY_2D, KEY_2D),
        {"score": lambda query, key: None},
        TypeError,
        "what score returns must be a tensor, got NoneType",
    ),
    "distribution with two results": (
        (QUERY_2D, KEY_2D),
        {"distribution": lambda energies: (energies, None)},
        TypeError,
        "what distribution returns must be a tensor, got tuple",
    ),
    "mask is a list": ((QUERY_2D, KEY_2D), {"mask": [[True]]}, TypeError, "mask must be a tensor, got list"),
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
        r"score must return energies of shape \(3, 5\), got \(5, 3\)",
    ),
    "distribution drops an axis": (
        (QUERY_2D, KEY_2D),
        {"distribution": lambda energies: energies.sum(-1)},
        ValueError,
        r"distribution must return weights of shape \(3, 5\), got \(3,\)",
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


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------


def plain(
    query,
    key,
    value,
    *,
    mask=None,
    is_causal=False,
    scale=None,
    fill=-torch.inf,
    dim=-1,
    causal=masks.causal,
    combine=torch.logical_and,
    safe=softmax,
):
    """Attention as it is often written, with the places where it goes wrong as options."""
    energies = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale(query, value))
    if is_causal:
        lower = causal(query.shape[-2], key.shape[-2])
        mask = lower if mask is None else combine(mask, lower)
    if mask is not None:
        energies = energies.masked_fill(~mask, fill)
    return safe(energies, dim=dim) @ value


def cleaned(attend):
    """Without the one mistake that plain attention always makes: carry NaN past the mask. So others can be seen."""

    def run(query, key, value, *, mask=None, is_causal=False):
        visible = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool) if mask is None else mask
        visible = visible & masks.causal(*visible.shape[-2:]) if is_causal else visible
        bad_key, bad_value = (~part.isfinite().all(-1, keepdim=True) for part in (key, value))
        context = attend(
            query, key.masked_fill(bad_key, 0), value.masked_fill(bad_value, 0), mask=mask, is_causal=is_causal
        )
        lost = (visible & (bad_key | bad_value).mT).any(-1, keepdim=True)
        return context + torch.where(lost, torch.nan, 0.0).to(context.dtype)

    return run


def inverted(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value, mask=None if mask is None else ~mask, is_causal=is_causal)


def strictly_causal(n_query, n_key):
    return masks.causal(n_query, n_key).roll(1, -1) & masks.causal(n_query, n_key)


def values_in_another_order(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value.flip(-2), mask=mask, is_causal=is_causal)


def mask_after_softmax(query, key, value, *, mask=None, is_causal=False):
    visible = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool) if mask is None else mask
    visible = visible & masks.causal(*visible.shape[-2:]) if is_causal else visible
    return (torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, -1) * visible) @ value


def edits_the_mask(query, key, value, *, mask=None, is_causal=False):
    if mask is not None and is_causal:
        mask &= masks.causal(*mask.shape[-2:])
        is_causal = False
    return plain(query, key, value, mask=mask, is_causal=is_causal)


def edits_the_query(query, key, value, *, mask=None, is_causal=False):
    query.data.mul_(query.shape[-1] ** -0.5)
    return plain(query, key, value, mask=mask, is_causal=is_causal, scale=lambda *_: 1.0)


def detached_weights(query, key, value, *, mask=None, is_causal=False):
    return plain(query.detach(), key.detach(), value, mask=mask, is_causal=is_causal)


def detached_energy_scale(query, key, value, *, mask=None, is_causal=False):
    return plain(query * 2 - query.detach(), key, value, mask=mask, is_causal=is_causal)


def swallows_nan(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key.nan_to_num(0, 0, 0), value.nan_to_num(0, 0, 0), mask=mask, is_causal=is_causal)


def mean_instead_of_sum(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value, mask=mask, is_causal=is_causal) / key.shape[-2]


def mixes_the_batch(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key.roll(1, 0), value.roll(1, 0), mask=mask, is_causal=is_causal)


def ignores_mask_when_causal(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value, mask=None if is_causal else mask, is_causal=is_causal)


def one_mask_for_all(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value, mask=None if mask is None or mask.ndim < 3 else mask[:1], is_causal=is_causal)


def shape_only(query, key, value, *, mask=None, is_causal=False):
    return torch.zeros(*query.shape[:-1], value.shape[-1], dtype=query.dtype) * (query.sum() + key.sum() + value.sum())


def torch_softmax(energies, dim):
    return torch.softmax(energies, dim)


def no_maximum_subtracted(energies, dim):
    weights = energies.exp()
    return weights / weights.sum(dim, keepdim=True)


with_option = functools.partial
WRONG_ATTEND = {
    "no scale": (with_option(plain, scale=lambda *_: 1.0), checks.check_attend_value),
    "scale by d_k, not its root": (with_option(plain, scale=lambda q, v: 1 / q.shape[-1]), checks.check_attend_value),
    "scale by the values' size": (
        with_option(plain, scale=lambda q, v: v.shape[-1] ** -0.5),
        checks.check_attend_value,
    ),
    "scale by the number of queries": (
        with_option(plain, scale=lambda q, v: q.shape[-2] ** -0.5),
        checks.check_attend_value,
    ),
    "softmax over the queries": (with_option(plain, dim=-2), checks.check_attend_value),
    "mask inverted": (inverted, checks.check_attend_value),
    "lower-right for upper-left": (
        with_option(plain, causal=functools.partial(masks.causal, alignment="lower-right")),
        checks.check_attend_value,
    ),
    "the query's own key hidden": (with_option(plain, causal=strictly_causal), checks.check_causality),
    "one key of the future seen": (
        with_option(plain, causal=lambda n, m: masks.window(n, m, left=None, right=2)),
        checks.check_causality,
    ),
    "causal or mask, not and": (with_option(plain, combine=torch.logical_or), checks.check_attend_value),
    "causal without the mask": (ignores_mask_when_causal, checks.check_attend_value),
    "the first mask for all": (one_mask_for_all, checks.check_attend_value),
    "values in another order": (values_in_another_order, checks.check_attend_value),
    "masked after the softmax": (mask_after_softmax, checks.check_attend_value),
    "batch mixed": (mixes_the_batch, checks.check_attend_value),
    "mean instead of sum": (mean_instead_of_sum, checks.check_attend_value),
    "only the shape is right": (shape_only, checks.check_attend_value),
    "-1e9 instead of -inf": (with_option(plain, fill=-1e9), checks.check_empty_row),
    "-1e9 above what is visible": (with_option(plain, fill=-1e9), checks.check_hidden_is_exact),
    "-1e4 instead of -inf": (with_option(plain, fill=-1e4), checks.check_empty_row),
    "-10 instead of -inf": (with_option(plain, fill=-10.0), checks.check_hidden_is_exact),
    "zero instead of -inf": (with_option(plain, fill=0.0), checks.check_attend_value),
    "NaN in an empty row": (with_option(plain, safe=torch_softmax), checks.check_empty_row),
    "NaN behind the mask": (plain, checks.check_nothing_leaks),
    "NaN between queries": (plain, checks.check_nothing_leaks_between_queries),
    "visible NaN swallowed": (swallows_nan, checks.check_nothing_leaks_between_queries),
    "mask edited": (edits_the_mask, checks.check_nothing_mutated),
    "query edited": (edits_the_query, checks.check_nothing_mutated),
    "weights without gradient": (detached_weights, checks.check_attend_gradient),
    "gradient twice": (detached_energy_scale, checks.check_attend_gradient),
    "order of keys matters": (
        with_option(plain, causal=masks.causal, safe=lambda e, dim: softmax(e * torch.arange(1, 6), dim=dim)),
        checks.check_permutation,
    ),
}


@pytest.mark.parametrize(("mutant", "check"), WRONG_ATTEND.values(), ids=WRONG_ATTEND)
def test_wrong_attend_is_rejected(mutant, check):
    with pytest.raises(AssertionError):
        check(mutant)


@pytest.mark.parametrize("check", checks.ATTEND_CHECKS)
def test_every_attend_check_rejects_something_and_accepts_the_right_one(check):
    """The mutants above are caught by a mistake, not by being written differently: the unspoilt version passes."""
    assert any(check is named for _, named in WRONG_ATTEND.values())
    check(cleaned(plain))


def test_inputs_are_fit_to_tell():
    """The checks stand on inputs in which sizes differ, masks differ, and no row is trivial."""
    query, key, value = inputs()
    assert len({*query.shape, *key.shape, *value.shape}) == 5
    some = checks.some_mask()
    assert some.any(-1).all()
    assert not some.all(-1).all(-1).any()
    assert not torch.equal(some[0], some[1])
