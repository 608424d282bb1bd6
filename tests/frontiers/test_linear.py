"""Linear attention: the paper's loops, three forms and the matrix against one another, what is hidden, its cost."""

import functools
import itertools
import math

import oracles
import pytest
import torch
from checks import close, leaf, randn
from hypothesis import given
from hypothesis import strategies as st
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import Attention, attend
from attnlib.frontiers import linear
from attnlib.frontiers.kernels import shares
from attnlib.frontiers.linear import LinearState, decode, linear_attention, positive_elu
from attnlib.fused import reference_only
from attnlib.masks import key_mask
from book._tools.alive import Alive

BATCH, QUERY, KEY, D_K, D_V = 2, 3, 11, 7, 5

# --- the oracles: plain loops from the paper --------------------------------------------------------------------------


def phi(vector):
    return [x + 1 if x > 0 else math.exp(x) for x in vector]


def linear_loop(query, key, value, visible=None, is_causal=False):
    """Eq. 5 a pair at a time: contexts and weights of one sequence."""
    contexts, all_weights = [], []
    for i, q in enumerate(query):
        similar = [0.0] * len(key)
        for j, k in enumerate(key):
            if (visible is None or visible[j]) and (not is_causal or j <= i):
                similar[j] = oracles.inner(phi(q), phi(k))
        total = sum(similar)
        weights = [s / total if total else 0.0 for s in similar]
        context = [0.0] * len(value[0])
        for weight, v in zip(weights, value, strict=True):
            if weight:
                context = oracles.plus(context, [weight * component for component in v])
        contexts.append(context)
        all_weights.append(weights)
    return contexts, all_weights


def recurrent_loop(query, key, value):
    """Eq. 16 to 20: a state of one size, an item at a time."""
    d_k, d_v = len(key[0]), len(value[0])
    memory, total, contexts = [[0.0] * d_v for _ in range(d_k)], [0.0] * d_k, []
    for q, k, v in zip(query, key, value, strict=True):
        q, k = phi(q), phi(k)
        for a, b in itertools.product(range(d_k), range(d_v)):
            memory[a][b] += k[a] * v[b]
        total = oracles.plus(total, k)
        above = [sum(q[a] * memory[a][b] for a in range(d_k)) for b in range(d_v)]
        contexts.append([x / oracles.inner(q, total) for x in above])
    return contexts, memory, total


def inputs(n_query=QUERY, n_key=KEY, dtype=torch.float64):
    return (
        randn(BATCH, n_query, D_K, dtype=dtype),
        randn(BATCH, n_key, D_K, seed=1, dtype=dtype),
        randn(BATCH, n_key, D_V, seed=2, dtype=dtype),
    )


def padding(n=KEY):
    return key_mask(torch.tensor([n - 4, n]), n)


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_value(function):
    for n_query, is_causal, mask in itertools.product((QUERY, KEY, KEY + 2), (False, True), (None, padding())):
        query, key, value = inputs(n_query)
        found = function(query, key, value, mask=mask, is_causal=is_causal)
        for b in range(BATCH):
            visible = None if mask is None else mask[b, 0].tolist()
            context, weights = linear_loop(rows(query[b]), rows(key[b]), rows(value[b]), visible, is_causal)
            close(found.context[b], tensor(context))
            if found.weights is not None:
                close(found.weights[b], tensor(weights))


def check_weights_sum_to_one(function):
    query, key, _ = inputs()
    found = function(query, key - 20, torch.ones(BATCH, KEY, 1, dtype=torch.float64), mask=None, is_causal=False)
    close(found.context, torch.ones(BATCH, QUERY, 1, dtype=torch.float64))


def check_batch_mates(function):
    query, key, value = inputs(KEY)
    both = function(query, key, value, mask=None, is_causal=True).context
    close(function(query[1:], key[1:], value[1:], mask=None, is_causal=True).context, both[1:])


def check_no_future(function):
    query, key, value = inputs(KEY)
    before = function(query, key, value, mask=None, is_causal=True).context
    for j in range(KEY):
        changed = torch.where((torch.arange(KEY) >= j)[:, None], value + 1, value)
        after = function(query, key, changed, mask=None, is_causal=True).context
        close(after[:, :j], before[:, :j])
        assert not torch.isclose(after[:, j], before[:, j]).any(), f"query {j} must see key {j}"


def check_empty_row(function):
    query, key, value = (part.requires_grad_() for part in inputs())
    mask = key_mask(torch.tensor([0, KEY]), KEY)
    for is_causal in (False, True):
        context = function(query, key, value, mask=mask, is_causal=is_causal).context
        assert (context[0] == 0).all()
        gradients = torch.autograd.grad(context.sum(), (query, key, value))
        assert all((part[0] == 0).all() and part.isfinite().all() for part in gradients)


CHECKS = [check_value, check_weights_sum_to_one, check_batch_mates, check_no_future, check_empty_row]
FORMS = {
    "as it is": linear_attention,
    "a chunk of one": functools.partial(linear_attention, chunk=1),
    "chunks that do not divide": functools.partial(linear_attention, chunk=4),
    "with weights": functools.partial(linear_attention, need_weights=True),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("form", FORMS)
def test_linear_attention(form, check):
    check(FORMS[form])


# --- known wrong versions ---------------------------------------------------------------------------------------------


def formula(query, key, value, *, mask=None, is_causal=False, features=positive_elu, divide=True, eps=0.0, axis=-3):
    """The bare formula, sums by cumulation along an axis, and the faults that public code had."""
    asked, read = features(query), features(key)
    if mask is not None:
        read = torch.where(mask.mT, read, 0.0)
    if is_causal:
        seen = torch.nn.functional.pad(read, (0, 0, 0, query.shape[-2] - key.shape[-2]))
        values = torch.nn.functional.pad(value, (0, 0, 0, query.shape[-2] - key.shape[-2]))
        memory = (seen.unsqueeze(-1) * values.unsqueeze(-2)).cumsum(axis)
        sums = (asked.unsqueeze(-2) @ memory).squeeze(-2)
        total = (asked * seen.cumsum(axis + 1)).sum(-1, keepdim=True)
    else:
        sums = asked @ (read.mT @ value)
        total = asked @ read.sum(-2).unsqueeze(-1)
    return Attention(sums / (total + eps) if divide else sums * total, None, None)


def all_see_all(query, key, value, *, mask=None, is_causal=False):
    return linear_attention(query, key, value, mask=mask)


def one_too_late(query, key, value, *, mask=None, is_causal=False):
    """Reads before it writes: a query does not see its own key."""
    if not is_causal:
        return linear_attention(query, key, value, mask=mask)
    key, value = (torch.nn.functional.pad(part, (0, 0, 1, -1)) for part in (key, value))
    return linear_attention(query, key, value, mask=mask, is_causal=True)


MUTANTS = {
    "a small number in the denominator": (functools.partial(formula, eps=1e-6), check_weights_sum_to_one),
    "the inverse of the denominator forgotten": (functools.partial(formula, divide=False), check_value),
    "cumulated over the batch": (functools.partial(formula, axis=-4), check_batch_mates),
    "relu for a feature map": (functools.partial(formula, features=torch.relu), check_value),
    "the future": (all_see_all, check_no_future),
    "one too late": (one_too_late, check_no_future),
    "nothing seen is nothing over nothing": (formula, check_empty_row),
}


def test_the_bare_formula_is_right_where_something_is_seen():
    check_value(formula)


@pytest.mark.parametrize(("mutant", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant, check):
    with pytest.raises((AssertionError, IndexError)):
        check(mutant)


# --- three forms and the matrix ---------------------------------------------------------------------------------------


def by_steps(query, key, value, runs, mask=None):
    """Read in runs of these lengths, one after another."""
    found, state, at = [], None, 0
    for run in runs:
        here = slice(at, at + run)
        parts = (part[..., here, :] for part in (query, key, value))
        context, state = decode(*parts, state, mask=None if mask is None else mask[..., here], chunk=2)
        found.append(context)
        at += run
    return torch.cat(found, -2)


def with_gradients(function, parts):
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    context = function(*leaves)
    upstream = randn(*context.shape, seed=9, dtype=context.dtype)
    return [context.detach(), *torch.autograd.grad((context * upstream).sum(), leaves)]


@pytest.mark.parametrize("n", [1, 2, 7, 13, 65])
@pytest.mark.parametrize("masked", [False, True])
def test_causal_forms_are_one_function(n, masked):
    """Values and gradients of chunks that divide or not, of steps, of runs and of the matrix of all pairs."""
    parts = inputs(n, n)
    mask = key_mask(torch.tensor([n, n // 2]), n) if masked else None

    def matrix(query, key, value):
        similar = positive_elu(query) @ positive_elu(key).mT
        seen = torch.ones(n, n, dtype=torch.bool).tril() & (True if mask is None else mask)
        similar = torch.where(seen, similar, 0.0)
        total = similar.sum(-1, keepdim=True)
        return (similar / torch.where(total == 0, 1.0, total)) @ value

    wanted = with_gradients(matrix, parts)

    def linear(query, key, value, **options):
        return linear_attention(query, key, value, mask=mask, is_causal=True, **options).context

    forms = [functools.partial(linear, chunk=chunk) for chunk in (1, 2, 3, n, 64)]
    forms.append(functools.partial(linear, need_weights=True))
    for runs in ([1] * n, [n // 2, n - n // 2 - 1, 1], [n]):
        forms.append(functools.partial(by_steps, runs=runs, mask=mask))
    for form in forms:
        for got, want in zip(with_gradients(form, parts), wanted, strict=True):
            close(got, want)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 25), st.integers(0, 999), st.data())
def test_any_lengths_chunk_mask_and_runs_are_the_matrix(n_query, n_key, chunk, seed, data):
    """With more queries than keys, fewer, none; the first ones may see nothing."""
    query, key = 2 * randn(n_query, D_K, seed=seed), 2 * randn(n_key, D_K, seed=seed + 1)
    value = randn(n_key, D_V, seed=seed + 2)
    seen = torch.tensor(data.draw(st.lists(st.booleans(), min_size=n_key, max_size=n_key)), dtype=torch.bool)
    for is_causal in (False, True):
        run = functools.partial(linear_attention, query, key, value, mask=seen, is_causal=is_causal)
        close(run(chunk=chunk).context, run(need_weights=True).context)
    cut = data.draw(st.integers(0, n_key))
    query = 2 * randn(n_key, D_K, seed=seed + 3)
    wanted = linear_attention(query, key, value, mask=seen, is_causal=True, chunk=chunk).context
    close(by_steps(query, key, value, [cut, n_key - cut], mask=seen), wanted)


def test_recurrence_is_the_papers():
    """Contexts and the state; and chunks first, then steps, is all at once."""
    query, key, value = inputs(KEY)
    context, state = decode(query[:, :7], key[:, :7], value[:, :7], chunk=3)
    found = [context]
    for t in range(7, KEY):
        here = slice(t, t + 1)
        kept = [part.clone() for part in state]
        context, after = decode(query[:, here], key[:, here], value[:, here], state)
        assert all(torch.equal(part, copy) for part, copy in zip(state, kept, strict=True)), "the state was changed"
        state = after
        found.append(context)
    for b in range(BATCH):
        wanted, memory, total = recurrent_loop(rows(query[b]), rows(key[b]), rows(value[b]))
        close(torch.cat(found, 1)[b], tensor(wanted))
        close(state.memory[b], tensor(memory))
        close(state.total[b], tensor(total))
    assert not state.lost.any()
    assert state.lost.shape == (BATCH,)


def test_a_step_without_a_graph_is_the_step():
    """The short way is the long one, where it is taken; and it is not, where a number or an argument is not plain."""
    query, key, value = inputs(KEY)
    _, state = decode(query[:, :7], key[:, :7], value[:, :7])
    one = [part[:, 7:8].clone() for part in (query, key, value)]

    def check(parts, state, taken, **options):
        kept = [part.clone() for part in state]
        wanted, after = decode(*parts, state, **options)
        with torch.no_grad():
            plain = None if options else linear._next(*parts, state)
            found, follows = decode(*parts, state, **options)
        assert (plain is not None) == taken
        for got, want in zip((found, *follows), (wanted, *after), strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12, equal_nan=True)
        assert all(torch.equal(part, copy) for part, copy in zip(state, kept, strict=True)), "the state was changed"

    check(one, state, True)
    check([part.mT.contiguous().mT for part in one], state, True)
    for place, bad in itertools.product(range(3), (torch.nan, torch.inf, -torch.inf, -200.0, 1e13, -79.0, 700.0)):
        spoilt = [part.clone() for part in one]
        spoilt[place][0, 0, 1] = bad
        check(spoilt, state, bad in (-79.0, 700.0) or (place, bad) == (2, -200.0))
    check(one, state._replace(lost=torch.tensor([True, False])), False)
    check(one, state._replace(lost=torch.tensor(False)), False)
    check([part.bfloat16() for part in one], LinearState(state.memory.float(), state.total.float(), state.lost), False)
    check([one[0][:1], *one[1:]], state, False)
    check(one, state, False, mask=torch.tensor([False]))
    check(one, state, False, feature_map=torch.exp)
    with reference_only():
        check(one, state, False)
    assert decode(*(part.requires_grad_() for part in one), state)[0].requires_grad


def test_state_does_not_grow():
    state, sizes = None, set()
    for n in (1, 5, 100):
        _, state = decode(*inputs(n, n), state)
        sizes.add(tuple(tuple(part.shape) for part in state))
    assert sizes == {((BATCH, D_K, D_V), (BATCH, D_K), (BATCH,))}


def test_weights_are_those_of_the_matrix_and_silent_otherwise():
    query, key, value = inputs()
    found = linear_attention(query, key, value, mask=padding(), need_weights=True)
    close(found.weights.sum(-1), torch.ones(BATCH, QUERY, dtype=torch.float64))
    close(found.context, found.weights @ value)
    close(shares(found.energies), found.weights)
    assert linear_attention(query, key, value)[1:] == (None, None)


def test_masks_of_each_query_take_the_matrix():
    query, key, value = inputs()
    mask = randn(BATCH, QUERY, KEY, seed=3) > 0
    mask[1, 2] = False
    found = linear_attention(query, key, value, mask=mask)
    for b, i in itertools.product(range(BATCH), range(QUERY)):
        wanted, _ = linear_loop(rows(query[b, i : i + 1]), rows(key[b]), rows(value[b]), mask[b, i].tolist())
        close(found.context[b, i], tensor(wanted[0]))


def test_masks_of_fewer_axes():
    query, key, value = inputs(KEY)
    seen = torch.arange(KEY) % 3 > 0
    for is_causal in (False, True):
        wanted = linear_attention(query, key, value, mask=seen.expand(BATCH, KEY, KEY), is_causal=is_causal)
        for mask in (seen, seen[None], seen[None, None]):
            close(linear_attention(query, key, value, mask=mask, is_causal=is_causal).context, wanted.context)
    for mask in (torch.tensor(True), torch.tensor([[[True]], [[True]]])):
        close(linear_attention(query, key, value, mask=mask).context, linear_attention(query, key, value).context)


def test_leading_dimensions_broadcast():
    query, key, value = randn(3, 1, KEY, D_K), randn(2, KEY, D_K), randn(KEY, D_V)
    for is_causal in (False, True):
        found = linear_attention(query, key, value, is_causal=is_causal, chunk=4).context
        assert found.shape == (3, 2, KEY, D_V)
        for i, j in itertools.product(range(3), range(2)):
            alone = linear_attention(query[i, 0], key[j], value, is_causal=is_causal).context
            close(found[i, j], alone)
    close(decode(query, key, value)[0], linear_attention(query, key, value, is_causal=True).context)


def test_key_only_form():
    query, key, _ = inputs()
    close(linear_attention(query, key).context, linear_attention(query, key, key).context)


def test_slopes_are_the_numerical_ones():
    for options in ({}, {"is_causal": True, "chunk": 2}, {"mask": padding(5)}, {"mask": padding(5), "is_causal": True}):
        parts = leaf(BATCH, 5, D_K), leaf(BATCH, 5, D_K, seed=1), leaf(BATCH, 5, D_V, seed=2)

        def run(query, key, value, options=options):
            return linear_attention(query, key, value, **options).context

        assert gradcheck(run, parts, fast_mode=True)
        assert gradgradcheck(run, parts, fast_mode=True)
    parts = leaf(BATCH, 1, D_K), leaf(BATCH, 1, D_K, seed=1), leaf(BATCH, 1, D_V, seed=2)
    state = leaf(BATCH, D_K, D_V, seed=3), leaf(BATCH, D_K, seed=4).exp().detach().requires_grad_()

    def step(query, key, value, memory, total):
        context, after = decode(query, key, value, LinearState(memory, total, torch.zeros(BATCH, dtype=torch.bool)))
        return context, after.memory, after.total

    assert gradcheck(step, (*parts, *state), fast_mode=True)


# --- what is hidden, and what is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1.7e308, -1.7e308])
@pytest.mark.parametrize("is_causal", [False, True])
def test_what_the_mask_hides_changes_nothing(bad, is_causal, device):
    query, key, value = (part.to(device) for part in inputs(KEY))
    mask = key_mask(torch.tensor([7, 0], device=device), KEY)
    spoilt = [torch.where(mask.mT, part, bad) for part in (key, value)]

    def run(query, key, value):
        return linear_attention(query, key, value, mask=mask, is_causal=is_causal, chunk=4).context

    def steps(query, key, value):
        return by_steps(query, key, value, [4, 1, 6], mask=mask)

    for function in (run, steps) if is_causal else (run,):
        found, wanted = with_gradients(function, (query, *spoilt)), with_gradients(function, (query, key, value))
        for got, want in zip(found, wanted, strict=True):
            assert want.isfinite().all()
            close(got, want)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("which", [1, 2])
def test_what_is_not_finite_shows_from_there_on_and_spoils_no_gradient_before(bad, which):
    parts = inputs(KEY)
    spoilt = [part.clone() for part in parts]
    spoilt[which][:, 5, 0] = bad

    for function in (
        lambda *parts: linear_attention(*parts, is_causal=True, chunk=4).context,
        lambda *parts: by_steps(*parts, [4, 1, 6]),
        lambda *parts: linear_attention(*parts, is_causal=True, need_weights=True).context,
    ):
        assert function(*spoilt)[:, 5:].isnan().all()

        def first(*parts, function=function):
            return function(*parts)[:, :5]

        for got, want in zip(with_gradients(first, spoilt), with_gradients(first, parts), strict=True):
            assert got.isfinite().all()
            close(got, want)
    assert linear_attention(*spoilt).context.isnan().all()


def test_a_query_that_is_not_finite_is_lost_alone():
    parts = inputs(KEY)
    spoilt = parts[0].clone()
    spoilt[:, 2] = torch.inf
    others = torch.arange(KEY) != 2
    for is_causal in (False, True):

        def run(*parts, is_causal=is_causal):
            return linear_attention(*parts, is_causal=is_causal, chunk=4).context[:, others]

        for got, want in zip(with_gradients(run, (spoilt, *parts[1:])), with_gradients(run, parts), strict=True):
            close(got, want)
        assert linear_attention(spoilt, *parts[1:], is_causal=is_causal).context[:, 2].isnan().all()


def test_what_was_lost_stays_lost_in_the_state():
    query, key, value = inputs(KEY)
    key[0, 1] = torch.nan
    _, state = decode(query[:, :3], key[:, :3], value[:, :3])
    context, state = decode(query[:, 3:], key[:, 3:], value[:, 3:], state)
    assert context[0].isnan().all()
    assert context[1].isfinite().all()
    assert state.lost.tolist() == [True, False]
    assert state.memory.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_features_are_positive_in_every_precision(dtype):
    """elu(x) + 1 cancels: zero below -6.25 in bfloat16."""
    x = torch.tensor([-80.0, -16.7, -9.0, -6.5, -1.0, 0.0, 3.0]).to(dtype)
    features = positive_elu(x)
    assert features.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    wanted = [math.exp(v) if v <= 0 else v + 1 for v in x.tolist()]
    torch.testing.assert_close(features.double(), tensor(wanted), rtol=1e-6, atol=0)
    if dtype == torch.bfloat16:
        assert (torch.nn.functional.elu(x) + 1)[:4].tolist() == [0, 0, 0, 0]


def test_slope_of_the_feature_map_is_one_at_zero():
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(positive_elu(x).sum(), x)
    assert slope.item() == 1
    (twice,) = torch.autograd.grad((x.clamp(max=0).exp() + x.clamp(min=0)).sum(), x)
    assert twice.item() == 2, "the sum of two clamped parts, which is why it is not taken"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("is_causal", [False, True])
def test_half_precision_is_computed_in_single(dtype, is_causal):
    """Keys so low that elu(x) + 1 would leave nothing: an error of one rounding of the result."""
    query, key, value = (part.to(dtype) for part in inputs(KEY))
    key = key - 9
    exact = linear_attention(query.double(), key.double(), value.double(), is_causal=is_causal)
    for need_weights in (False, True):
        found = linear_attention(query, key, value, is_causal=is_causal, need_weights=need_weights)
        assert found.context.dtype == dtype
        error = (found.context.double() - exact.context).abs()
        assert (error <= torch.finfo(dtype).eps * exact.context.abs().clamp(min=1)).all()


def test_tiny_features_do_not_vanish_in_a_product():
    """exp(-60) of query and of key: their product is zero in float32, their fraction is not nothing over nothing."""
    query, key, value = inputs(dtype=torch.float32)
    wanted = linear_attention(query.double() - 60, key.double() - 60, value.double()).context
    found = linear_attention(query - 60, key - 60, value).context
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


def test_a_denominator_of_zero_gives_zeros():
    """Features of relu that do not meet; and gradients are finite."""
    query, key, value = leaf(QUERY, D_K), leaf(KEY, D_K, seed=1), leaf(KEY, D_V, seed=2)
    for options in ({}, {"is_causal": True}, {"need_weights": True}):
        found = linear_attention(
            query.abs(), -key.abs(), value, feature_map=torch.nn.functional.relu, **options
        ).context
        assert (found == 0).all()
        gradients = torch.autograd.grad(found.sum(), (query, key, value), allow_unused=True, materialize_grads=True)
        assert all((part == 0).all() for part in gradients)


def test_any_feature_map_is_the_matrix():
    query, key, value = inputs(KEY)
    for feature_map in (torch.nn.functional.softplus, torch.square, lambda x: torch.cat([x.relu(), (-x).relu()], -1)):
        for is_causal in (False, True):
            run = functools.partial(linear_attention, feature_map=feature_map, is_causal=is_causal)
            close(run(query, key, value).context, run(query, key, value, need_weights=True).context)


def test_linear_attention_is_attention_of_a_kernel():
    query, key, value = inputs()
    wanted = attend(query, key, value, score=lambda q, k: (positive_elu(q) @ positive_elu(k).mT).log())
    close(linear_attention(query, key, value).context, wanted.context)


# --- cost, transforms -------------------------------------------------------------------------------------------------


def bytes_of(function, n, n_query=None):
    parts = [part.detach().requires_grad_() for part in inputs(n_query or n, n, dtype=torch.float32)]
    with Alive(*parts) as alive:
        function(*parts).context.square().sum().backward()
    return alive.most, alive.largest


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_memory_of_both_passes_is_linear(is_causal, masked):
    """Twice the length, twice the bytes; the matrix of all pairs takes four times."""

    def run(query, key, value, **options):
        n = key.shape[-2]
        mask = key_mask(torch.tensor([n, n - 3]), n) if masked else None
        return linear_attention(query, key, value, is_causal=is_causal, mask=mask, chunk=16, **options)

    short, long = (bytes_of(run, n) for n in (512, 1024))
    assert all(1.8 < b / a < 2.05 for a, b in zip(short, long, strict=True))
    assert long[1] < 1024 * 1024 * 4 / 8
    short, long = (bytes_of(functools.partial(run, need_weights=True), n)[0] for n in (512, 1024))
    assert long / short > 3.5


def test_a_step_costs_the_same_however_much_was_read():
    taken = []
    for n in (8, 4096):
        _, state = decode(*inputs(n, n))
        parts = inputs(1, 1)
        with Alive(*parts, *state) as alive:
            decode(*parts, state)
        taken.append(alive.most)
    assert taken[0] == taken[1]


def test_vmap_and_nothing_mutated():
    parts, mask = inputs(KEY), padding()
    before = [part.clone() for part in (*parts, mask)]
    for is_causal in (False, True):
        run = functools.partial(linear_attention, is_causal=is_causal, chunk=4)
        wanted = run(*parts, mask=mask).context
        close(torch.vmap(lambda q, k, v, m: run(q, k, v, mask=m).context)(*parts, mask), wanted)  # noqa: B023
    for part, kept in zip((*parts, mask), before, strict=True):
        assert torch.equal(part, kept)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_exports_with_any_length():
    """Without causality: the number of chunks is a division, of which torch's export makes guards."""
    from torch.export import Dim

    class Alone(torch.nn.Module):
        def forward(self, query, key, value, mask):
            return linear_attention(query, key, value, mask=mask).context

    keys, module = Dim("keys", min=2, max=64), Alone()
    sizes = ({}, {1: keys}, {1: keys}, {2: keys})
    program = torch.export.export(module, (*inputs(KEY), padding()), dynamic_shapes=sizes, strict=False).module()
    for n in (KEY, 19, 64):
        parts = (*inputs(KEY, n), padding(n))
        close(program(*parts), module(*parts))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.nightly
def test_compiles_whole():
    def run(query, key, value):
        return linear_attention(query, key, value, is_causal=True, chunk=4).context

    torch.compiler.reset()
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)
    for n in (11, 12, 23):
        parts = [part.float() for part in inputs(n, n)]
        for got, want in zip(with_gradients(compiled, parts), with_gradients(run, parts), strict=True):
            torch.testing.assert_close(got, want)


# --- bad input, sizes of nought ---------------------------------------------------------------------------------------


def test_nothing_to_read_and_nothing_asked():
    for is_causal in (False, True):
        found = linear_attention(randn(QUERY, D_K), randn(0, D_K), randn(0, D_V), is_causal=is_causal)
        assert found.context.shape == (QUERY, D_V)
        assert not found.context.any()
        none = linear_attention(randn(0, D_K), randn(KEY, D_K), randn(KEY, D_V), is_causal=is_causal)
        assert none.context.shape == (0, D_V)
    _, state = decode(*inputs(KEY))
    nothing, same = decode(*inputs(0, 0), state)
    assert nothing.shape == (BATCH, 0, D_V)
    assert all(torch.equal(a, b) for a, b in zip(state, same, strict=True))
    assert decode(*inputs(0, 0))[1].total.abs().sum() == 0


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda q, k, v: linear_attention(q, k, v, chunk=0), ValueError, "chunk must be a whole .* 1, got 0"),
        (lambda q, k, v: linear_attention(q, k, v, chunk=2.0), ValueError, "chunk must be a whole .* got 2.0"),
        (lambda q, k, v: linear_attention(q, k, v[:, 1:]), ValueError, "value has 10 rows but key has 11"),
        (lambda q, k, v: linear_attention(q, k, v, mask=torch.ones(KEY)), TypeError, "mask must be boolean"),
        (lambda q, k, v: linear_attention(q, k, v.float()), TypeError, r"value has dtype torch\.float32"),
        (lambda q, k, v: linear_attention(q[..., 1:], k, v), ValueError, r"key has d_k=\d but query has d_k=\d"),
        (lambda q, k, v: linear_attention(q, k, v, feature_map=None), TypeError, "feature_map must be callable"),
        (lambda q, k, v: decode(k, k, v, (1, 2)), TypeError, "state must be a LinearState, got tuple"),
        (lambda q, k, v: decode(k, k, v, decode(k, k, v[..., 1:])[1]), ValueError, r"state must have a memory .* got"),
        (lambda q, k, v: decode(k[:1], k[:1], v[:1], decode(k, k, v)[1]), ValueError, "state must have a memory"),
        (lambda q, k, v: decode(q, k, v), ValueError, "query must have as many rows as key, 11, got 3"),
        (
            lambda q, k, v: decode(k, k, v, mask=torch.ones(BATCH, KEY, KEY).bool()),
            ValueError,
            r"mask must be \(\*batch, 1, new\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*inputs())
