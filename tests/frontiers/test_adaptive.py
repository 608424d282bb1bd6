"""Adaptive spans and adaptive computation time: loops from the papers' equations, the authors' arithmetic, mutants."""

import functools
import itertools
import math

import oracles
import pytest
import torch
from checks import BATCH, close, leaf, randn
from oracles import plus, rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import Attention, attend, scores
from attnlib.frontiers import adaptive
from attnlib.frontiers.adaptive import AdaptiveSpan, Pondered, adaptive_span, ponder, span_shares
from attnlib.masks import key_mask, window
from attnlib.output_representations.multihead import MultiHead, multihead
from attnlib.output_representations.parts import split

HEADS, TIME, D_K, D_V, RAMP = 3, 41, 7, 11, 5.0
SPANS = tensor([[[0.0]], [[2.4]], [[7.0]]])


# --- the oracle: section 2.2 of the paper, a query at a time, distances from the query's own place --------------------


def share_of(distance, span, ramp):
    return min(max((ramp + span - distance) / ramp, 0.0), 1.0)


def span_loop(query, key, value, span, ramp, *, longest=math.inf, shift=0, causal=True, visible=None):
    """One head. ``visible[t][r]``; query ``t`` stands at place ``t + shift`` among the keys."""
    contexts, weights = [], []
    for t, q in enumerate(query):
        found = []
        for r, k in enumerate(key):
            distance = t + shift - r
            is_seen = (visible is None or visible[t][r]) and (distance >= 0 or not causal) and abs(distance) < longest
            share = share_of(abs(distance), span, ramp) if is_seen else 0.0
            found.append(share * math.exp(oracles.scaled_dot(q, k, r)))
        total = sum(found)
        weights.append([part / total if total else 0.0 for part in found])
        context = [0.0] * len(value[0])
        for weight, v in zip(weights[-1], value, strict=True):
            context = plus(context, [weight * component for component in v])
        contexts.append(context)
    return contexts, weights


def parts(n_query=TIME, n_key=TIME):
    shapes = (n_query, D_K), (n_key, D_K), (n_key, D_V)
    return [randn(BATCH, HEADS, *shape, seed=seed) for seed, shape in enumerate(shapes)]


def wanted_of(query, key, value, spans=SPANS, mask=None, **options):
    visible = None if mask is None else mask.expand(BATCH, HEADS, query.shape[-2], key.shape[-2]).tolist()
    found = [
        [
            span_loop(
                *(rows(part[b, h]) for part in (query, key, value)),
                float(spans[h]),
                RAMP,
                visible=None if visible is None else visible[b][h],
                **options,
            )
            for h in range(HEADS)
        ]
        for b in range(BATCH)
    ]
    return [tensor([[head[i] for head in batch] for batch in found]) for i in range(2)]


CASES = {
    "causal": (TIME, TIME, {"is_causal": True}),
    "both sides": (TIME, TIME, {}),
    "longest": (TIME, TIME, {"is_causal": True, "max_span": 7}),
    "a cache": (5, TIME, {"is_causal": True, "alignment": "lower-right"}),
    "more queries": (TIME, 29, {"is_causal": True}),
    "more queries, the last at the last": (TIME, 29, {"alignment": "lower-right"}),
    "few": (5, 5, {"is_causal": True}),
}


def loop_options(n_query, n_key, options):
    return {
        "longest": options.get("max_span", math.inf),
        "shift": n_key - n_query if options.get("alignment") == "lower-right" else 0,
        "causal": options.get("is_causal", False),
    }


def some_masks(n_query, n_key):
    """None; padding; one of all pairs, with a query that sees nothing; one that hides whole queries."""
    pairs = torch.rand(BATCH, 1, n_query, n_key, generator=torch.Generator().manual_seed(1)) > 0.4
    pairs[0, 0, 2] = False
    padding = key_mask(torch.tensor([n_key - 2, 3]), n_key).unsqueeze(1)
    return None, padding, pairs, (torch.arange(n_query) % 3 > 0).unsqueeze(-1)


def check_span(run, cases=CASES):
    """``run`` as ``adaptive_span``: context, weights with and without asking."""
    for n_query, n_key, options in (CASES[name] for name in cases):
        query, key, value = parts(n_query, n_key)
        spans = SPANS.clamp(max=options.get("max_span", math.inf))
        for mask in some_masks(n_query, n_key):
            context, weights = wanted_of(query, key, value, spans, mask, **loop_options(n_query, n_key, options))
            found = run(query, key, value, span=spans, ramp=RAMP, mask=mask, **options)
            close(found.context, context)
            close(found.weights, weights)
            assert torch.equal(found.energies == -math.inf, weights == 0)
            silent = run(query, key, value, span=spans, ramp=RAMP, mask=mask, need_weights=False, **options)
            close(silent.context, context)


@pytest.mark.parametrize("name", CASES)
def test_value_is_the_loop(name):
    check_span(adaptive_span, [name])


def test_shares_are_the_loop():
    distance = torch.arange(13).double()
    for span, ramp in itertools.product((0.0, 2.4, 7.0), (0.5, 1.0, 5.0)):
        wanted = tensor([share_of(x, span, ramp) for x in range(13)])
        close(span_shares(distance, span=span, ramp=ramp), wanted)
        close(span_shares(distance, span=tensor(span), ramp=ramp), wanted)


def spoilt(shares=span_shares, *, renormalised=True, largest_for_all=False, softmax_first=False, eps=0.0, off=0):
    """Adaptive spans in plain tensors, causal, all keys at once, wrong in a known way."""

    def run(query, key, value, *, span, ramp, mask=None, is_causal=True, need_weights=True):
        far = torch.arange(query.shape[-2]).unsqueeze(-1) - torch.arange(key.shape[-2])
        seen = (far >= 0) if mask is None else (far >= 0) & mask
        span = span.amax(-3, keepdim=True) if largest_for_all else span
        energies = scores.scaled_dot(query, key).masked_fill(~seen, -math.inf)
        share = shares(far + off, span=span, ramp=ramp)
        if softmax_first:
            weights = energies.softmax(-1).nan_to_num() * share
        else:
            weights = (energies - energies.amax(-1, keepdim=True)).exp().nan_to_num() * share
        if renormalised:
            total = weights.sum(-1, keepdim=True) + eps
            weights = weights / torch.where(total == 0, 1.0, total)
        elif not softmax_first:
            weights = weights / energies.exp().sum(-1, keepdim=True)
        energies = energies.masked_fill(weights == 0, -math.inf)
        return Attention(weights @ value, weights, energies)

    return run


WRONG = {
    "not clamped from above": spoilt(lambda x, span, ramp: ((ramp + span - x) / ramp).clamp(min=0)),
    "not clamped from below": spoilt(lambda x, span, ramp: ((ramp + span - x) / ramp).clamp(max=1)),
    "not renormalised": spoilt(renormalised=False, softmax_first=True),
    "the ramp within the span": spoilt(lambda x, span, ramp: ((span - x) / ramp).clamp(0, 1)),
    "a hard end": spoilt(lambda x, span, ramp: (x <= span).double()),
    "the largest head's span for all": spoilt(largest_for_all=True),
    "one place off": spoilt(off=1),
    "1e-8 in the divisor": spoilt(softmax_first=True, eps=1e-8),
}


@pytest.mark.parametrize("mutant", WRONG.values(), ids=WRONG)
def test_wrong_spans_are_rejected(mutant):
    with pytest.raises(AssertionError):
        check_span(mutant, ["causal"])


def test_the_unspoilt_version_passes():
    check_span(spoilt(), ["causal"])


def test_the_future_seen_is_rejected():
    def run(*parts, is_causal, **options):
        return adaptive_span(*parts, **options)

    with pytest.raises(AssertionError):
        check_span(run, ["causal"])


def check_large_energies_beyond_the_span(run):
    """What lies beyond its span takes nothing from a head, however large its energies: the weights sum to one."""
    query, key = torch.ones(2, 12, 1), torch.zeros(2, 12, 1)
    key[:, 0] = 40.0
    found = run(query, key, key, span=torch.tensor([[[0.0]], [[12.0]]]), ramp=2.0, is_causal=True)
    torch.testing.assert_close(found.weights[0].sum(-1), torch.ones(12))


def test_large_energies_beyond_the_span():
    check_large_energies_beyond_the_span(adaptive_span)
    with pytest.raises(AssertionError):  # the arithmetic of the authors' code: softmax, shares, and 1e-8 in the divisor
        check_large_energies_beyond_the_span(spoilt(softmax_first=True, eps=1e-8))


# --- the authors' code: a cache, distance 0 for the place before, mask template, trimming -----------------------------


def released(query, key, value, share, ramp, longest):
    """Its arithmetic for one head, as loops; the first key stands ``longest`` places before the first query."""
    contexts = []
    for m, q in enumerate(query):
        energies = [oracles.scaled_dot(q, k, 0) for k in key[m : m + longest]]
        top = max(energies)
        weights = [math.exp(energy - top) for energy in energies]
        weights = [weight / sum(weights) for weight in weights]
        for column in range(longest):
            masked = (1 - longest + column + share * longest) / ramp + 1
            weights[column] *= min(max(masked, 0.0), 1.0)
        total = sum(weights) + 1e-8
        context = [0.0] * len(value[0])
        for weight, v in zip(weights, value[m : m + longest], strict=True):
            context = plus(context, [weight / total * component for component in v])
        contexts.append(context)
    return contexts


def test_released_arithmetic_is_this_one_with_keys_moved_on():
    block, longest = 5, 13
    query, key, value = parts(block, block + longest)
    shares = SPANS / longest
    wanted = [
        [
            released(*(rows(part[b, h]) for part in (query, key, value)), float(shares[h]), 4.0, longest)
            for h in range(3)
        ]
        for b in range(BATCH)
    ]
    found = adaptive_span(
        query,
        key[..., :-1, :],
        value[..., :-1, :],
        span=SPANS,
        ramp=4.0,
        max_span=longest,
        is_causal=True,
        alignment="lower-right",
    )
    torch.testing.assert_close(found.context, tensor(wanted), rtol=0, atol=1e-6)  # its 1e-8 in the divisor


# --- gradients, and the trimmed computation ---------------------------------------------------------------------------


def whole(monkeypatch):
    """The same function with all keys taken at once."""
    monkeypatch.setattr(adaptive.Bands, "of", classmethod(lambda cls, *given, **options: None))


@pytest.mark.parametrize("name", ["causal", "both sides", "a cache", "more queries"])
def test_gradients(name):
    n_query, n_key, options = CASES[name]
    n_query, n_key = min(n_query, 23), min(n_key, 19 + 4 * (n_query == n_key))
    query, key, value = leaf(2, n_query, 2), leaf(2, n_key, 2, seed=1), leaf(n_key, 2, seed=2)
    span = tensor([[[0.3]], [[1.4]]]).requires_grad_()  # away from the corners of the ramp
    for need_weights, mask in itertools.product((True, False), (None, key_mask(torch.tensor(n_key - 2), n_key))):

        def run(*given, need_weights=need_weights, mask=mask):
            query, key, value, span = given
            options_ = {**options, "mask": mask, "need_weights": need_weights}
            return adaptive_span(query, key, value, span=span, ramp=2.5, **options_).context

        assert gradcheck(run, (query, key, value, span), fast_mode=True)
        if need_weights:
            assert gradgradcheck(run, (query, key, value, span), fast_mode=True)


@pytest.mark.parametrize("per_query", [False, True])
@pytest.mark.parametrize("name", [name for name in CASES if name != "few"])
def test_trimmed_is_whole(name, per_query, monkeypatch):
    n_query, n_key, options = CASES[name]
    given = [part.requires_grad_() for part in parts(n_query, n_key)]
    span = 4 * torch.rand(HEADS, n_query, 1).double() if per_query else SPANS.clamp(max=5)
    span.requires_grad_()
    bias = randn(n_query, n_key, seed=4)
    results = []
    for is_whole in (False, True):
        if is_whole:
            whole(monkeypatch)
        for need_weights, mask in itertools.product((True, False), some_masks(n_query, n_key)):
            found = adaptive_span(
                *given, span=span, ramp=2.0, mask=mask, bias=bias, need_weights=need_weights, **options
            )
            slopes = torch.autograd.grad((found.context * randn(*found.context.shape, seed=5)).sum(), (*given, span))
            results.append([*(part for part in found if part is not None), *slopes])
    for got, want in zip(results[:8], results[8:], strict=True):
        for got_part, want_part in zip(got, want, strict=True):
            close(got_part, want_part)


def test_only_keys_near_the_spans_are_touched():
    """The score is shown a few pairs a query, whatever the length, and no tensor on the way is query x key."""
    seen, largest = [], []

    def score(query, key):
        seen.append(query.shape[:-1].numel() * key.shape[-2])
        return scores.scaled_dot(query, key)

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest.append(result.untyped_storage().size() // result.element_size())
            return result

    for n in (200, 2000):
        vectors = torch.randn(n, 2)
        span = torch.tensor([[3.5]])
        with Watch():
            adaptive_span(vectors, vectors, span=span, ramp=2.0, score=score, is_causal=True, need_weights=False)
        reach = 6  # distances 0 to 5, for 5.5 is beyond
        assert seen.pop() <= (n + 16) * (16 + reach)
        assert max(largest) <= (n + 16) * (16 + reach)
        largest.clear()
    adaptive_span(vectors[:1], vectors, span=span, ramp=2.0, score=score, is_causal=True, alignment="lower-right")
    assert seen.pop() == reach  # one query after a cache: as many keys as the span lets through


def test_the_longest_head_decides_what_is_touched():
    """A key that only one head of one query lets through is not trimmed away."""
    query, key, value = parts()
    span = torch.zeros(HEADS, TIME, 1).double()
    span[1, 40] = 30.0
    found = adaptive_span(query, key, value, span=span, ramp=1.0, is_causal=True)
    assert (found.weights[:, 1, 40, 10:41] > 0).all()
    assert (found.weights[:, 1, 40, :10] == 0).all()
    assert (found.weights[:, 0, 1:].diagonal(dim1=-2, dim2=-1) > 0).sum() == 0  # the others see themselves alone


def test_the_span_gets_the_slope_of_its_ramp():
    """Longer: the far key gains. A key beyond is not felt; at the corners as the docstring says."""
    vectors, value = torch.zeros(4, 1).double(), tensor([[0.0], [0.0], [0.0], [1.0]]).flip(0)

    def slope(span):
        span = tensor([[span]]).requires_grad_()
        found = adaptive_span(vectors, vectors, value, span=span, ramp=2.0, is_causal=True)
        return torch.autograd.grad(found.context[3, 0], span)[0].item()  # the weight of the key three places back

    total = 1 + 1 + 0.75 + 0.25  # shares of distances 0 to 3 with a span of 1.5
    assert slope(1.5) == pytest.approx(0.5 / total - 0.25 / total**2 * (0.5 + 0.5))
    assert slope(0.5) == slope(1.0) == 0.0  # distance 3 is beyond 2.5; with a span of 1 its share is just 0
    assert slope(3.5) == 0.0
    assert slope(3.0) == pytest.approx(0.5 / 4 - 1 / 16 * 0.5)  # the last share is just 1


# --- what it reduces to -----------------------------------------------------------------------------------------------


def test_a_long_span_is_attention_and_a_steep_ramp_is_a_window():
    query, key, value = parts()
    for is_causal in (True, False):
        whole_text = attend(query, key, value, is_causal=is_causal)
        found = adaptive_span(query, key, value, span=tensor([[float(TIME)]]), ramp=3.0, is_causal=is_causal)
        close(found.context, whole_text.context)
        close(found.energies, whole_text.energies)
        for n in (1, 4, TIME):
            mask = window(TIME, left=n, right=1 if is_causal else n)
            found = adaptive_span(query, key, value, span=tensor([[n - 1.0]]), ramp=1.0, is_causal=is_causal)
            close(found.context, attend(query, key, value, mask=mask).context)
    unlimited = adaptive_span(query, key, value, span=tensor([[math.inf]]), ramp=1.0, is_causal=True)
    close(unlimited.context, attend(query, key, value, is_causal=True).context)


def test_in_multi_head_attention():
    spans = AdaptiveSpan(2, max_span=19, ramp=2.0, start=0.3)
    layer = MultiHead(6, 2)
    layer.attention = spans
    items = randn(BATCH, 23, 6, dtype=torch.float32)
    found = layer(items, is_causal=True)
    query, key, value = (split(part, 2) for part in layer.project(items))
    options = {"ramp": 2.0, "max_span": 19, "is_causal": True}
    for h in range(2):
        alone = adaptive_span(query[:, h], key[:, h], value[:, h], span=spans.spans[h].detach(), **options)
        torch.testing.assert_close(found.weights[:, h], alone.weights)
    found.context.square().sum().backward()
    assert (spans.share.grad != 0).all()
    with pytest.raises(ValueError, match="enable_gqa must be False"):
        multihead(items, items[..., :3], items[..., :3], heads=2, key_value_heads=1, attention=spans)


def test_reading_on_with_a_cache_is_reading_at_once():
    query, key, value = parts()
    at_once = adaptive_span(query, key, value, span=SPANS, ramp=RAMP, is_causal=True)
    for t in (0, 1, 20, 40):
        seen = slice(max(0, t + 1 - 13), t + 1)  # 7 + 5 places back at most
        last = adaptive_span(
            query[..., t : t + 1, :], key[..., seen, :], value[..., seen, :],
            span=SPANS, ramp=RAMP, is_causal=True, alignment="lower-right",
        )  # fmt: skip
        close(last.context, at_once.context[..., t : t + 1, :])


# --- the module -------------------------------------------------------------------------------------------------------


def check_training_stays_in_bounds(after_step):
    """Steps that push one span below nought and one above the longest: both stop at the bound, and can come back."""
    spans = AdaptiveSpan(2, max_span=10, ramp=2.0, start=0.5)
    optimiser = torch.optim.SGD(spans.parameters(), lr=0.3)
    query = randn(2, 7, 3, dtype=torch.float32)
    for sign in (1.0, 1.0, 1.0, -1.0):
        optimiser.zero_grad()
        (spans.share * sign * torch.tensor([1.0, -1.0]).reshape(2, 1, 1)).sum().backward()
        optimiser.step()
        after_step(spans)
        assert spans(query, query, is_causal=True).context.isfinite().all()
    torch.testing.assert_close(spans.spans.flatten(), torch.tensor([3.0, 7.0]))


def test_spans_are_clamped_and_come_back():
    check_training_stays_in_bounds(AdaptiveSpan.clamp_)


def test_a_loop_that_forgets_to_clamp_is_told():
    with pytest.raises(ValueError, match=r"span must be from 0 to max_span=10, got -1\.\d* to 11\.\d*: clamp it"):
        check_training_stays_in_bounds(lambda spans: None)


def test_penalty_is_the_mean_span():
    spans = AdaptiveSpan(3, max_span=20, ramp=2.0)
    spans.share.data = torch.tensor([0.0, 0.25, 0.5]).reshape(3, 1, 1)
    assert spans.penalty().item() == 5.0
    (slope,) = torch.autograd.grad(spans.penalty(), spans.share)
    torch.testing.assert_close(slope, torch.full((3, 1, 1), 20 / 3))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"span": torch.tensor([[-0.5]])}, ValueError, r"span must be from 0, got -0\.5 to -0\.5"),
        ({"span": torch.tensor([[math.nan]])}, ValueError, "span must be from 0, got nan"),
        ({"span": torch.tensor([[9.5]]), "max_span": 9}, ValueError, "span must be from 0 to max_span=9, got 9.5"),
        ({"span": torch.tensor([[1]])}, TypeError, "span must be floating point"),
        ({"span": 1.0}, TypeError, "span must be a tensor, got float"),
        ({"span": torch.ones(4, 1)}, ValueError, r"span of shape \(4, 1\) does not broadcast"),
        ({"span": torch.ones(1, 5)}, ValueError, r"span of shape \(1, 5\) does not broadcast"),
        ({"ramp": 0.0}, ValueError, r"ramp must be a finite number above 0, got 0\.0"),
        ({"ramp": -1.0}, ValueError, "ramp must be"),
        ({"max_span": 0, "span": torch.zeros(1, 1)}, ValueError, "max_span must be at least 1, got 0"),
        ({"alignment": "left"}, ValueError, "alignment must be 'upper-left' or 'lower-right', got 'left'"),
        ({"mask": torch.ones(3, 4).bool()}, ValueError, "mask of shape"),
        ({"bias": torch.ones(3, 4)}, ValueError, "bias of shape"),
        ({"key": torch.ones(5, 3)}, ValueError, "key has d_k=3 but query has d_k=2"),
    ],
)
def test_bad_spans_are_named(change, error, message):
    arguments = {"query": torch.ones(3, 2), "key": torch.ones(5, 2), "span": torch.ones(1, 1), "ramp": 2.0}
    with pytest.raises(error, match=message):
        adaptive_span(**{**arguments, **change})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"max_span": 0}, "max_span must be at least 1, got 0"),
        ({"start": 1.5}, r"start must be from 0 to 1, got 1\.5"),
    ],
)
def test_bad_modules_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveSpan(**{"heads": 2, "max_span": 5, **options})


def test_no_keys_and_no_queries():
    span = torch.ones(1, 1)
    nothing = adaptive_span(torch.ones(3, 2), torch.ones(0, 2), torch.ones(0, 5), span=span, ramp=2.0)
    assert nothing.context.tolist() == torch.zeros(3, 5).tolist()
    assert adaptive_span(torch.ones(0, 2), torch.ones(3, 2), span=span, ramp=2.0).context.shape == (0, 2)


def test_nan_beyond_the_span_changes_nothing():
    query, key, value = parts()
    run = functools.partial(adaptive_span, span=SPANS, ramp=RAMP, is_causal=True)
    before = run(query, key, value)
    key[:, :, 20], value[:, :, 20] = math.nan, math.inf
    after = run(query, key, value)
    for h, reach in enumerate((5, 8, 12)):
        unseen = [t for t in range(TIME) if not 20 <= t < 20 + reach]
        close(after.context[:, h, unseen], before.context[:, h, unseen])
        assert after.context[:, h, 20 : 20 + reach].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    query, key, value = (part.to(dtype) for part in parts())
    found = adaptive_span(query, key, value, span=SPANS.float(), ramp=RAMP, is_causal=True)
    assert found.context.dtype == found.weights.dtype == dtype
    assert found.energies.dtype == torch.float32
    exact = adaptive_span(*(part.double() for part in (query, key, value)), span=SPANS, ramp=RAMP, is_causal=True)
    torch.testing.assert_close(found.context.double(), exact.context, rtol=2e-2, atol=2e-2)


def test_vmap():
    query, key, value = parts()
    run = functools.partial(adaptive_span, span=SPANS, ramp=RAMP, is_causal=True)
    close(torch.vmap(lambda *part: run(*part).context)(query, key, value), run(query, key, value).context)


# --- adaptive computation time: section 2 of the paper, an element at a time ------------------------------------------


def ponder_loop(step, state, max_steps, epsilon):
    """One element. ``step(state, n) -> (state, halting probability)`` in lists."""
    states, halts = [], []
    while True:
        state, halt = step(state, len(states))
        states.append(state)
        halts.append(halt)
        if sum(halts) >= 1 - epsilon or len(states) == max_steps:
            break
    count = len(states)  # N
    remainder = 1 - sum(halts[: count - 1])  # R
    weights = [*halts[: count - 1], remainder]  # p
    mean = plus(*([weight * x for x in s] for weight, s in zip(weights, states, strict=True)))
    return mean, weights, count, remainder, count + remainder


SIZE, MOST = 5, 7
WEIGHT, HALT = randn(SIZE, SIZE, seed=3) / 2, randn(SIZE, seed=4)


def stepped(state, n, weight=WEIGHT, halt=HALT):
    """A step whose halting probabilities differ widely between elements; the first step knows that it is."""
    state = torch.tanh(state @ weight.mT + (0.5 if n == 0 else 0.0))
    return state, torch.sigmoid(2 * state @ halt - 1.5)


def stepped_loop(state, n):
    state = [math.tanh(sum(w * x for w, x in zip(row, state, strict=True)) + 0.5 * (n == 0)) for row in rows(WEIGHT)]
    return state, 1 / (1 + math.exp(1.5 - 2 * sum(a * b for a, b in zip(state, rows(HALT), strict=True))))


def check_ponder(run):
    states = 2 * randn(3, 11, SIZE)
    for most, epsilon in ((MOST, 0.01), (2, 0.01), (1, 0.01), (MOST, 0.3)):
        found = run(stepped, states, max_steps=most, epsilon=epsilon)
        for b, i in itertools.product(range(3), range(11)):
            mean, weights, count, remainder, cost = ponder_loop(stepped_loop, rows(states[b, i]), most, epsilon)
            close(found.state[b, i], tensor(mean))
            close(found.weights[b, i, :count], tensor(weights))
            assert (found.weights[b, i, count:] == 0).all()
            assert found.steps[b, i] == count
            close(found.remainder[b, i], tensor(remainder))
            close(found.cost[b, i], tensor(cost))
        assert found.weights.shape[-1] == found.steps.max()
        close(found.weights.sum(-1), torch.ones(3, 11).double())
    assert len(run(stepped, states, max_steps=MOST, epsilon=0.01).steps.unique()) > 3, "the elements must differ"


def test_ponder_is_the_loop():
    check_ponder(ponder)


def spoilt_ponder(*, remainder=True, blended=False, strict=False, frozen=True, cost=True, last_halt=False):
    """Adaptive computation written plainly, wrong in a known way."""

    def run(step, state, *, max_steps, epsilon):
        running = torch.ones(state.shape[:-1], dtype=torch.bool)
        total, steps, left = torch.zeros(state.shape[:-1]).double(), running.long() * 0, torch.ones(()).double()
        mean, weights = torch.zeros_like(state), []
        left = left.expand(total.shape)
        for n in range(max_steps):
            state, halt = step(state, n)
            enough = total + halt > 1 if strict else total + halt >= 1 - epsilon
            last = running & (enough | (n + 1 == max_steps))
            rest = 1 - total - (halt if last_halt else 0)
            left = torch.where(last, rest, left)
            final = rest if remainder else halt
            weight = torch.where(last, final, torch.where(running | (not frozen), halt, 0.0))
            weights.append(weight)
            mean = weight.unsqueeze(-1) * state + (1 - weight.unsqueeze(-1) if blended else 1) * mean
            steps = steps + running
            total = torch.where(running, total + halt, total)
            running = running & ~last
            if not running.any():
                break
        return Pondered(mean, torch.stack(weights, -1), steps, left, steps + left if cost else steps.double())

    return run


WRONG_PONDER = {
    "the remainder forgotten": {"remainder": False},
    "blended, as in several transformers": {"blended": True},
    "without epsilon": {"strict": True},
    "what has halted goes on": {"frozen": False},
    "a cost of steps alone": {"cost": False},
    "the last probability counted in the remainder": {"last_halt": True},
}


@pytest.mark.parametrize("options", WRONG_PONDER.values(), ids=WRONG_PONDER)
def test_wrong_pondering_is_rejected(options):
    with pytest.raises(AssertionError):
        check_ponder(spoilt_ponder(**options))


def test_the_unspoilt_pondering_passes():
    check_ponder(spoilt_ponder())


def given_halts(*halts):
    """A step that counts, with these halting probabilities, each ``(*batch,)`` or a number."""
    return lambda state, n: (state + 1, halts[n].expand(state.shape[:-1]))


def test_the_number_of_steps_has_no_gradient():
    """Slope -1 before the last step, 0 in it; and the cost jumps where a step is saved."""
    halts = tensor([0.2, 0.3, 0.6, 0.9]).requires_grad_()
    found = ponder(given_halts(*halts), torch.zeros(1, 1).double(), max_steps=4)
    assert found.steps.item() == 3
    assert not found.steps.is_floating_point()
    (slope,) = torch.autograd.grad(found.cost.sum(), halts)
    assert slope.tolist() == [-1.0, -1.0, 0.0, 0.0]

    def cost(last):
        return ponder(given_halts(*tensor([0.2, last, 0.6])), torch.zeros(1, 1).double(), max_steps=3).cost.item()

    assert cost(0.79 - 1e-9) == pytest.approx(3 + 0.01)
    assert cost(0.79 + 1e-9) == pytest.approx(2 + 0.8)  # one step less, and all of the remainder of the last


def test_ponder_gradients():
    """Of state and step, where no element is about to take another number of steps."""
    state, weight, halt = leaf(3, SIZE), WEIGHT.clone().requires_grad_(), HALT.clone().requires_grad_()

    def run(state, weight, halt):
        found = ponder(functools.partial(stepped, weight=weight, halt=halt), state, max_steps=MOST)
        return found.state, found.weights, found.cost

    assert gradcheck(run, (state, weight, halt))
    assert gradgradcheck(run, (state, weight, halt), fast_mode=True)


def test_batch_is_single_and_what_has_halted_rests():
    """An element does not notice how long the others take; the step finds it as it was when it halted."""
    states, seen = 2 * randn(11, SIZE), []

    def watched(state, n):
        seen.append(state.clone())
        return stepped(state, n)

    together = ponder(watched, states, max_steps=MOST)
    for i in range(11):
        alone = ponder(stepped, states[i], max_steps=MOST)
        for got, want in zip(together, alone, strict=True):
            if got is not together.weights:
                close(got[i], want)
    assert len(seen) == together.steps.max() < MOST + 1
    for i, count in enumerate(together.steps.tolist()):
        for later in seen[count + 1 :]:
            assert torch.equal(later[i], seen[count][i])


def test_masked_elements_take_no_steps():
    states, mask = 2 * randn(3, 5, SIZE), key_mask(torch.tensor([5, 2, 0]), 5).squeeze(1)
    wanted = ponder(stepped, states, max_steps=MOST)
    for bad in (math.nan, math.inf, 1e300):
        spoilt_states = states.masked_fill(~mask.unsqueeze(-1), bad).requires_grad_()
        found = ponder(stepped, spoilt_states, max_steps=MOST, mask=mask)
        for got, want in zip(found, wanted, strict=True):
            assert (got[~mask] == 0).all()
            if got is not found.weights:
                close(got[mask], want[mask])
        (slope,) = torch.autograd.grad(found.state.sum() + found.cost.sum(), spoilt_states)
        assert slope.isfinite().all()
        assert (slope[~mask] == 0).all()


def test_ponder_edges():
    state = torch.zeros(2, 1).double()
    at_once = ponder(given_halts(tensor(1.0)), state, max_steps=3)
    assert at_once.steps.tolist() == [1, 1]
    assert at_once.cost.tolist() == [2.0, 2.0]
    never = ponder(given_halts(*tensor([0.0] * 3)), state, max_steps=3)
    assert never.weights.tolist() == [[0.0, 0.0, 1.0]] * 2  # cut short: the last state alone
    assert never.cost.tolist() == [4.0, 4.0]
    lost = ponder(given_halts(*tensor([math.nan] * 3)), state, max_steps=3)
    assert lost.state.isnan().all()
    assert ponder(stepped, torch.zeros(0, SIZE).double(), max_steps=3).state.shape == (0, SIZE)


def test_ponder_traced_is_ponder():
    """Where values may not be looked at, all steps are taken, and those after the last halt count nothing."""
    states = 2 * randn(11, SIZE)
    traced = torch.vmap(lambda state: ponder(stepped, state, max_steps=MOST)[0])(states)
    close(traced, ponder(stepped, states, max_steps=MOST).state)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("step", "options", "error", "message"),
    [
        (stepped, {"max_steps": 0}, ValueError, "max_steps must be at least 1, got 0"),
        (stepped, {"epsilon": 1.0}, ValueError, r"epsilon must be from 0 to 1, got 1\.0"),
        (stepped, {"epsilon": -0.1}, ValueError, "epsilon must be"),
        (stepped, {"mask": torch.ones(4).bool()}, ValueError, r"mask of shape \(4,\) does not broadcast"),
        (lambda state, n: (state[..., 1:], state[..., 0]), {}, ValueError, r"keep the state's shape \(3, 5\)"),
        (lambda state, n: (state, state), {}, ValueError, r"halting probabilities of shape \(3,\), got \(3, 5\)"),
        (lambda state, n: (state, state[..., 0] + 9), {}, ValueError, "halting probabilities from 0 to 1"),
    ],
)
def test_bad_pondering_is_named(step, options, error, message):
    with pytest.raises(error, match=message):
        ponder(step, torch.zeros(3, SIZE).double(), **{"max_steps": 3, **options})
    with pytest.raises(TypeError, match="state must be floating point"):
        ponder(step, torch.zeros(3, SIZE).long(), max_steps=3)
