"""Local attention and input feeding: against the loops, the golden window, the edges, what is not seen, bad input."""

import functools
import itertools
import math

import checks
import oracles
import pytest
import torch
from checks import close, leaf, mask_with_empty_row, randn, score_parameters, some_mask
from oracles import rows, tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib import attend, masks, scores
from attnlib.recurrent.input_feeding import AttentionalVector, InputFeeding, attentional_vector
from attnlib.softness.local import (
    PredictedCentre,
    full_weights,
    local,
    monotonic_centres,
    predicted_centres,
    window_positions,
)

# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def local_loop(
    query, key, value, centre, half_width, score, visible=None, gaussian=True, renormalise=False, rounded=False
):
    """Contexts and weights over all keys of one sentence, positions from 0: Eq. 7 in the window, then Eq. 10."""
    sigma = half_width / 2
    contexts, all_weights = [], []
    for row, (q, p) in enumerate(zip(query, centre, strict=True)):
        window = []
        for s in range(len(key)):
            near = abs(s - math.floor(p)) <= half_width if rounded else p - half_width <= s <= p + half_width
            if near and (visible is None or visible[row][s]):
                window.append(s)
        weights, total = [0.0] * len(key), 0.0
        for s in window:
            weights[s] = math.exp(score(q, key[s], s - math.floor(p) + half_width))
            total += weights[s]
        for s in window:
            weights[s] = weights[s] / total
            if gaussian:
                weights[s] *= math.exp(-((s - p) ** 2) / (2 * sigma**2))
        if renormalise and window:
            weights = [weight / sum(weights) for weight in weights]
        context = [0.0] * len(value[0])
        for s in window:
            context = oracles.plus(context, [weights[s] * component for component in value[s]])
        contexts.append(context)
        all_weights.append(weights)
    return contexts, all_weights


def predicted_centre_loop(h, length, weight, vector):
    """Eq. 9."""
    return length / (1 + math.exp(-oracles.inner(vector, [math.tanh(a) for a in oracles.times(weight, h)])))


def input_feeding_loop(inputs, look, input_weight, hidden_weight, input_bias, hidden_bias, combine):
    """A decoder over one sentence, step by step; the rows of the cell's matrices are its four gates in torch's order.
    ``look(h, t)`` gives a context."""
    d = len(hidden_weight[0])
    vector, hidden, memory, vectors = [0.0] * d, [0.0] * d, [0.0] * d, []

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    for t, x in enumerate(inputs):
        read, kept = oracles.times(input_weight, x + vector), oracles.times(hidden_weight, hidden)
        gates = oracles.plus(read, input_bias, kept, hidden_bias)
        for i in range(d):
            keep = sigmoid(gates[d + i]) * memory[i]
            memory[i] = keep + sigmoid(gates[i]) * math.tanh(gates[2 * d + i])
        hidden = [sigmoid(gates[3 * d + i]) * math.tanh(memory[i]) for i in range(d)]
        vector = [math.tanh(a) for a in oracles.times(combine, look(hidden, t) + hidden)]  # Eq. 5
        vectors.append(vector)
    return vectors


BATCH, QUERY, KEY, D_K, D_V = 2, 3, 11, 7, 5
CENTRES = tensor([[4.3, 0.0, 9.6], [-1.4, 6.0, 11.2]])  # whole or not, at both ends, beyond them
FORMS = [
    {"gaussian": gaussian, "renormalise": renormalise, "rounded": rounded}
    for gaussian, renormalise, rounded in itertools.product((True, False), repeat=3)
]
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: " ".join(name for name in form if form[name]))


def inputs(n_key=KEY):
    return randn(BATCH, QUERY, D_K), randn(BATCH, n_key, D_K, seed=1), randn(BATCH, n_key, D_V, seed=2)


def a_mask():
    """Keys hidden for one query or for all, and a window (the first query's, of the first sentence) wholly hidden."""
    mask = torch.ones(BATCH, QUERY, KEY, dtype=torch.bool)
    mask[0, 0, 1:8] = False
    mask[0, 2, 9] = False
    mask[1, :, 7:] = False
    return mask


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_value(function, form=None, mask=None, half_width=2, score=scores.scaled_dot, loop=oracles.scaled_dot):
    form = form or {}
    query, key, value = inputs()
    result = function(query, key, value, centre=CENTRES, half_width=half_width, score=score, mask=mask, **form)
    full = full_weights(result.weights, centre=CENTRES, n_key=KEY)
    for b in range(BATCH):
        visible = None if mask is None else mask.expand(BATCH, QUERY, KEY)[b].tolist()
        sequence = [rows(part[b]) for part in (query, key, value)]
        wanted = local_loop(*sequence, rows(CENTRES[b]), half_width, loop, visible, **form)
        close(result.context[b], tensor(wanted[0]))
        close(full[b], tensor(wanted[1]))


def check_golden(function):
    """S = 10, D = 2, p = 4.3: the keys 3, 4, 5, 6, all alike, so a quarter of the Gaussian each."""
    key = torch.zeros(10, 2, dtype=torch.float64)
    weights = function(key[:1], key, centre=tensor([4.3]), half_width=2).weights
    factors = torch.tensor([[0.4296, 0.9560, 0.7827, 0.2357]], dtype=torch.float64)
    torch.testing.assert_close(weights[:, -4:] * 4, factors, atol=5e-5, rtol=0)
    assert (weights[:, :-4] == 0).all()
    full = full_weights(weights, centre=tensor([4.3]), n_key=10)
    assert full.nonzero()[:, 1].tolist() == [3, 4, 5, 6]


def check_does_not_sum_to_one(function):
    query, key, value = inputs()
    total = function(query, key, value, centre=CENTRES, half_width=2).weights.sum(-1)
    assert (total < 0.9999).all(), "the product with the Gaussian is not normalised again"


def check_centre_learns(function):
    """The centre gets the derivative of the Gaussian, with the window and the shares in it fixed."""
    query, key, value = inputs()
    centre = torch.tensor([[4.3, 1.2, 8.6], [2.5, 6.1, 9.7]], dtype=torch.float64, requires_grad=True)
    result = function(query, key, value, centre=centre, half_width=2)
    (slope,) = torch.autograd.grad(result.context.sum(), centre)
    distance = window_positions(centre, 2) - centre.detach().unsqueeze(-1)
    weights = full_weights(result.weights, centre=centre, n_key=KEY).detach()
    full_distance = full_weights(distance, centre=centre, n_key=KEY)
    expected = (weights * full_distance) @ value.sum(-1, keepdim=True)  # sigma = D / 2 = 1
    close(slope, expected.squeeze(-1))


CHECKS = [check_value, check_golden, check_does_not_sum_to_one, check_centre_learns]


@pytest.mark.parametrize("check", CHECKS)
def test_local(check):
    check(local)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def softmax_over_all(query, key, value=None, *, centre, half_width, score=scores.scaled_dot, mask=None):
    """The softmax of the whole sentence, cut to the window and multiplied by the Gaussian."""
    found = attend(query, key, value, score=score, mask=mask)
    positions = window_positions(centre, half_width)
    distance = positions - centre.unsqueeze(-1)
    seen = (positions >= 0) & (positions < key.shape[-2]) & (distance.abs() <= half_width)
    columns = positions.clamp(0, key.shape[-2] - 1)
    weights = found.weights.gather(-1, columns) * seen * torch.exp(-2 * (distance / half_width) ** 2)
    value = key if value is None else value
    full = full_weights(weights, centre=centre, n_key=key.shape[-2])
    return found._replace(context=full @ value, weights=weights)


def with_sigma(query, key, value=None, *, centre, half_width, factor, **options):
    """A Gaussian of another width: (exp(-2 x)) ** factor."""
    found = local(query, key, value, centre=centre, half_width=half_width, gaussian=False, **options)
    distance = window_positions(centre, half_width) - centre.unsqueeze(-1)
    weights = found.weights * torch.exp(-2 * factor * (distance / half_width) ** 2)
    full = full_weights(weights, centre=centre, n_key=key.shape[-2])
    return found._replace(context=full @ (key if value is None else value), weights=weights)


def off_by_one(query, key, value=None, *, centre, half_width, **options):
    return local(query, key, value, centre=centre + 1, half_width=half_width, **options)


def detached_centre(query, key, value=None, *, centre, half_width, **options):
    found = local(query, key, value, centre=centre.detach(), half_width=half_width, **options)
    return found._replace(context=found.context + 0 * centre.sum())


def window_too_narrow(query, key, value=None, *, centre, half_width, **options):
    found = local(query, key, value, centre=centre, half_width=half_width - 1, **options)
    return found._replace(weights=torch.nn.functional.pad(found.weights, (1, 1)))


option = functools.partial
MUTANTS = {
    "softmax over the sentence": (softmax_over_all, check_value),
    "renormalised": (option(local, renormalise=True), check_does_not_sum_to_one),
    "renormalised, by the loop": (option(local, renormalise=True), check_value),
    "window around the floor": (option(local, rounded=True), check_golden),
    "no Gaussian": (option(local, gaussian=False), check_value),
    "sigma is D": (option(with_sigma, factor=0.25), check_golden),
    "sigma is D, by the loop": (option(with_sigma, factor=0.25), check_value),
    "the two of the Gaussian forgotten": (option(with_sigma, factor=2), check_golden),
    "positions counted from 1": (off_by_one, check_value),
    "window one too narrow": (window_too_narrow, check_value),
    "no gradient for the centre": (detached_centre, check_centre_learns),
}


@pytest.mark.parametrize(("mutant", "check"), MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant, check):
    with pytest.raises(AssertionError):
        check(mutant)


# --- values -----------------------------------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("half_width", [1, 2, 13])
def test_equals_the_loop(form, half_width):
    check_value(local, form, half_width=half_width)
    check_value(local, form, a_mask(), half_width=half_width)


def test_every_score_sees_the_windows():
    """Scores that count positions count those of the window."""
    query, key, value = randn(BATCH, QUERY, checks.D_Q), *inputs()[1:]
    for name in ("dot", "general", "concat", "location_based", "additive", "deep", "similarity", "feature_based"):
        parameters = score_parameters(name)
        asked = query if parameters.d_q == checks.D_Q else randn(BATCH, QUERY, parameters.d_q)
        score = functools.partial(getattr(scores, name), **parameters.tensors)
        loop = functools.partial(getattr(oracles, name), **parameters.lists)
        result = local(asked, key, value, centre=CENTRES, half_width=2, score=score)
        for b in range(BATCH):
            wanted = local_loop(*(rows(part[b]) for part in (asked, key, value)), rows(CENTRES[b]), 2, loop)
            close(result.context[b].detach(), tensor(wanted[0]))


def test_luongs_four_scores_are_global_attention_too():
    query, key, value = randn(BATCH, QUERY, checks.D_Q), *inputs()[1:]
    for name in ("dot", "general", "concat", "location_based"):
        parameters = score_parameters(name)
        asked = query if parameters.d_q == checks.D_Q else randn(BATCH, QUERY, parameters.d_q)
        score = functools.partial(getattr(scores, name), **parameters.tensors)
        context = attend(asked, key, value, score=score).context
        loop = functools.partial(getattr(oracles, name), **parameters.lists)
        for b in range(BATCH):
            wanted = oracles.attend(*(rows(part[b]) for part in (asked, key, value)), loop)
            close(context[b].detach(), tensor(wanted[0]))


@pytest.mark.parametrize("centre", [CENTRES, CENTRES.floor()])
@every_form
def test_a_window_over_everything_is_global_attention_times_the_gaussian(form, centre):
    query, key, value = inputs()
    result = local(query, key, value, centre=centre, half_width=40, **form)
    weights = attend(query, key, value).weights
    if form["gaussian"]:
        distance = torch.arange(KEY) - centre.unsqueeze(-1)
        weights = weights * torch.exp(-(distance**2) / (2 * 20**2))
    if form["renormalise"]:
        weights = weights / weights.sum(-1, keepdim=True)
    close(full_weights(result.weights, centre=centre, n_key=KEY), weights)
    close(result.context, weights @ value)


@pytest.mark.parametrize("half_width", [0, 1, 3])
def test_local_m_is_attention_behind_a_window(half_width):
    query, key, value = randn(BATCH, KEY, D_K, seed=5), *inputs()[1:]
    result = local(query, key, value, centre=monotonic_centres(KEY, lengths=KEY), half_width=half_width, gaussian=False)
    window = masks.window(KEY, left=half_width + 1, right=half_width + 1)
    close(result.context, attend(query, key, value, mask=window).context)
    lengths = torch.tensor([11, 6])
    both = window & masks.key_mask(lengths, KEY)
    centre, hidden = torch.arange(KEY), masks.key_mask(lengths, KEY)
    result = local(query, key, value, centre=centre, half_width=half_width, gaussian=False, mask=hidden)
    close(result.context, attend(query, key, value, mask=both).context)


def test_renormalised_gaussian_is_a_bias_on_the_energies():
    query, key, value = inputs()
    result = local(query, key, value, centre=CENTRES, half_width=2, renormalise=True)
    distance = torch.arange(KEY) - CENTRES.unsqueeze(-1)

    def score(query, key):
        return scores.scaled_dot(query, key) - distance**2 / 2  # sigma = 1

    close(result.context, attend(query, key, value, score=score, mask=distance.abs() <= 2).context)


def test_sentences_of_different_length_are_as_alone():
    query, key, value = inputs()
    lengths = torch.tensor([11, 6])
    result = local(query, key, value, centre=CENTRES, half_width=3, mask=masks.key_mask(lengths, KEY))
    for b, length in enumerate(lengths.tolist()):
        alone = local(query[b], key[b, :length], value[b, :length], centre=CENTRES[b], half_width=3)
        close(result.context[b], alone.context)
        close(result.weights[b], alone.weights)


def test_leading_dimensions_broadcast():
    query, key, value = randn(4, 1, QUERY, D_K), randn(2, KEY, D_K), randn(KEY, D_V)
    centre = CENTRES[0]
    result = local(query, key, value, centre=centre, half_width=2)
    assert result.context.shape == (4, 2, QUERY, D_V)
    assert result.weights.shape == result.energies.shape == (4, 2, QUERY, 5)
    for i, j in itertools.product(range(4), range(2)):
        close(result.context[i, j], local(query[i, 0], key[j], value, centre=centre, half_width=2).context)
    one = local(randn(QUERY, D_K), randn(KEY, D_K), centre=CENTRES, half_width=2)
    assert one.context.shape == (2, QUERY, D_K)


def test_positions_and_full_weights():
    assert window_positions(CENTRES[:, :1], 1).tolist() == [[[3, 4, 5]], [[-3, -2, -1]]]
    weights = torch.tensor([[0.25, 0.5, 0.75]])
    for centre, wanted in (
        (0, [0.5, 0.75, 0, 0]),
        (3, [0, 0, 0.25, 0.5]),
        (-1, [0.75, 0, 0, 0]),
        (-9, [0, 0, 0, 0]),
        (99, [0, 0, 0, 0]),
        (1.9, [0.25, 0.5, 0.75, 0]),
    ):
        assert full_weights(weights, centre=torch.tensor([centre]), n_key=4).tolist() == [wanted]
    with pytest.raises(ValueError, match="an odd number, but have 4"):
        full_weights(torch.zeros(1, 4), centre=torch.zeros(1), n_key=4)


# --- derivatives ------------------------------------------------------------------------------------------------------


@every_form
def test_first_and_second_derivatives(form):
    query, key, value = (part.requires_grad_() for part in inputs())
    centre = tensor([[4.3, 0.2, 9.6], [-1.4, 6.1, 11.2]]).requires_grad_()  # away from where the window changes

    def run(*parts):
        found = local(*parts[:3], centre=parts[3], half_width=2, mask=a_mask(), **form)
        return found.context, found.weights

    assert gradcheck(run, (query, key, value, centre), fast_mode=True)
    assert gradgradcheck(run, (query, key, value, centre), fast_mode=True)


def test_the_jump_where_the_window_changes_has_no_gradient():
    """Just before a whole centre the key at its left end is in, just after the one at its right end."""
    key = torch.zeros(10, 1, dtype=torch.float64)
    value = torch.eye(10, dtype=torch.float64)
    before, at, after = (
        local(key[:1], key, value, centre=tensor([p]), half_width=2).context[0] for p in (5 - 1e-9, 5.0, 5 + 1e-9)
    )
    edge = math.exp(-2)
    close(before[3], tensor(edge / 4), rtol=1e-6)
    close(after[7], tensor(edge / 4), rtol=1e-6)
    assert before[7] == after[3] == 0
    close(at[[3, 7]], tensor([edge / 5, edge / 5]))
    centre = tensor([5.0]).requires_grad_()
    (slope,) = torch.autograd.grad(local(key[:1], key, value, centre=centre, half_width=2).context[0, 7], centre)
    close(slope, tensor([2 * edge / 5]))  # the Gaussian's own: distance / sigma ** 2 times the weight


def test_a_predicted_centre_is_learned_through_the_gaussian():
    predict = PredictedCentre(D_K, 13, dtype=torch.float64)
    query, key, value = inputs()
    lengths = torch.tensor([11, 6])
    found = local(query, key, value, centre=predict(query, lengths=lengths), half_width=3)
    gradients = torch.autograd.grad(found.context.sum(), list(predict.parameters()))
    assert all(part.isfinite().all() and (part != 0).any() for part in gradients)
    blind = local(query, key, value, centre=predict(query, lengths=lengths), half_width=3, gaussian=False)
    assert not blind.context.requires_grad, "without the Gaussian nothing tells the centre where to go"


# --- centres ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_last", [False, True])
def test_predicted_centres_are_those_of_the_loop(to_last):
    query, weight, vector = randn(BATCH, QUERY, D_K), randn(13, D_K), randn(13)
    lengths = torch.tensor([11, 6])
    result = predicted_centres(query, lengths=lengths, weight=weight, vector=vector, to_last=to_last)
    for b, length in enumerate(lengths.tolist()):
        span = length - 1 if to_last else length
        wanted = [predicted_centre_loop(h, span, rows(weight), rows(vector)) for h in rows(query[b])]
        close(result[b], tensor(wanted))
    assert ((result > 0) & (result < lengths[:, None])).all()
    assert gradcheck(
        functools.partial(
            lambda *parts: predicted_centres(parts[0], lengths=9, weight=parts[1], vector=parts[2], to_last=to_last)
        ),
        (leaf(QUERY, D_K), leaf(13, D_K), leaf(13)),
    )


def test_the_two_spans_differ_at_the_end():
    weight, vector = torch.tensor([[1.0]]), torch.tensor([100.0])
    ends = torch.tensor([[-50.0], [50.0]])
    assert predicted_centres(ends, lengths=7, weight=weight, vector=vector).tolist() == [0, 7]
    assert predicted_centres(ends, lengths=7, weight=weight, vector=vector, to_last=True).tolist() == [0, 6]
    assert predicted_centres(ends, lengths=0, weight=weight, vector=vector, to_last=True).tolist() == [0, 0]


def test_centres_are_not_rounded_to_half_precision():
    module = PredictedCentre(D_K, 3, dtype=torch.bfloat16)
    result = module(randn(QUERY, D_K, dtype=torch.bfloat16), lengths=1000)
    assert result.dtype == torch.float32


def test_monotonic_centres_stop_at_the_last_key():
    assert monotonic_centres(5, lengths=3).tolist() == [0, 1, 2, 2, 2]
    assert monotonic_centres(3, lengths=torch.tensor([[1, 0], [5, 2]])).tolist() == [
        [[0, 0, 0], [0, 0, 0]],
        [[0, 1, 2], [0, 1, 1]],
    ]


# --- what is not seen -------------------------------------------------------------------------------------------------


def test_nothing_in_the_window_gives_zeros():
    query, key, value = (part.requires_grad_() for part in inputs())
    far = torch.tensor([[-7.0, 30.0, math.inf], [-math.inf, 1e30, -1e30]], dtype=torch.float64, requires_grad=True)
    for centre, mask in ((far, None), (CENTRES.clone().requires_grad_(), torch.zeros(KEY, dtype=torch.bool))):
        result = local(query, key, value, centre=centre, half_width=2, mask=mask)
        assert (result.context == 0).all()
        assert (result.weights == 0).all()
        assert (result.energies == -math.inf).all()
        for gradient in torch.autograd.grad(result.context.sum(), (query, key, value, centre)):
            assert (gradient == 0).all()
    assert (full_weights(result.weights, centre=far, n_key=KEY) == 0).all()
    mask = a_mask()
    result = local(query, key, value, centre=CENTRES, half_width=2, mask=mask)
    assert (result.context[0, 0] == 0).all()
    assert (result.context[0, 1:] != 0).all()


@every_form
def test_what_stands_outside_changes_nothing(form):
    """NaN and infinity outside of the window or behind the mask: no result and no gradient is another."""
    query, key, value = inputs()
    centre, mask = tensor([[4.3, 5.0, 5.9], [2.2, 3.0, 4.6]]), a_mask()
    unseen = torch.ones(BATCH, KEY, dtype=torch.bool)
    for b, p in itertools.product(range(BATCH), range(QUERY)):
        reach = torch.arange(KEY) - centre[b, p].floor()
        unseen[b] &= ~((reach.abs() <= 3) & mask[b, p])
    assert unseen.any()

    def run(query, key, value, mask):
        return local(query, key, value, centre=centre, half_width=2, mask=mask, **form)

    wanted = checks.run_with_gradients(run, query, key, value, mask=mask)
    for bad in (math.nan, math.inf, -math.inf):
        spoilt_key, spoilt_value = (
            part.masked_fill(unseen[..., None] & (torch.arange(part.shape[-1]) == 0), bad) for part in (key, value)
        )
        for got, want in zip(
            checks.run_with_gradients(run, query, spoilt_key, spoilt_value, mask=mask), wanted, strict=True
        ):
            close(got, want)


def test_a_nan_that_is_seen_shows_and_spoils_no_other():
    query, key, value = inputs()
    centre = tensor([[2.0, 6.0, 9.0], [2.0, 6.0, 9.0]])
    clean = local(query, key, value, centre=centre, half_width=1)
    spoilt = key.clone()
    spoilt[:, 6, 0] = math.nan
    result = local(query, spoilt, value, centre=centre, half_width=1)
    assert result.context[:, 1].isnan().all()
    close(result.context[:, [0, 2]], clean.context[:, [0, 2]])
    lost = torch.where(torch.arange(QUERY) == 1, math.nan, centre).requires_grad_()
    result = local(query, key, value, centre=lost, half_width=1)
    assert result.context[:, 1].isnan().all()
    assert result.weights[:, 1].isnan().all()
    close(result.context[:, [0, 2]], clean.context[:, [0, 2]])
    (gradient,) = torch.autograd.grad(result.context[:, [0, 2]].sum(), lost)
    assert gradient.isfinite().all()
    hidden = local(query, key, value, centre=lost, half_width=1, mask=torch.zeros(KEY, dtype=torch.bool))
    assert (hidden.context == 0).all()


def test_empty_row_as_in_attend():
    query, key, value = checks.inputs()
    centre = torch.full((checks.BATCH, checks.QUERY), 2.0, dtype=torch.float64)
    mask = mask_with_empty_row()
    result = local(query, key, value, centre=centre, half_width=4, gaussian=False, mask=mask)
    close(result.context, attend(query, key, value, mask=mask).context)
    result = local(query, key, value, centre=centre, half_width=4, gaussian=False, mask=some_mask())
    close(result.context, attend(query, key, value, mask=some_mask()).context)


@pytest.mark.parametrize("gaussian", [True, False])
def test_no_keys_and_no_queries(gaussian):
    options = {"half_width": 2, "gaussian": gaussian}
    nothing = local(torch.ones(2, 3, 4), torch.ones(2, 0, 4), torch.ones(2, 0, 5), centre=torch.ones(3), **options)
    assert nothing.context.tolist() == torch.zeros(2, 3, 5).tolist()
    hidden = torch.ones(2, 1, 0, dtype=torch.bool)
    key = torch.ones(2, 0, 4)
    assert (local(torch.ones(2, 3, 4), key, centre=torch.ones(3), mask=hidden, **options).context == 0).all()
    assert local(torch.ones(2, 0, 4), torch.ones(2, 3, 4), centre=torch.ones(0), **options).context.shape == (2, 0, 4)


def test_nothing_is_changed_in_place():
    parts = (*inputs(), CENTRES.clone(), a_mask())
    before = [part.clone() for part in parts]
    local(*parts[:3], centre=parts[3], half_width=2, mask=parts[4]).weights.zero_()
    assert all(torch.equal(part, copy) for part, copy in zip(parts, before, strict=True))


# --- cost, precision, torch's transforms ------------------------------------------------------------------------------


def test_only_the_windows_are_scored():
    """The score is shown 2 D + 1 keys a query, whatever the length; no tensor on the way is query x key."""
    seen = []

    def score(query, key):
        seen.append(query.shape[:-1].numel() * key.shape[-2])
        return scores.scaled_dot(query, key)

    largest = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest.append(result.untyped_storage().size() // result.element_size())
            return result

    for n in (50, 500, 5000):
        vectors = torch.randn(n, 2)
        centre = torch.rand(n) * n
        mask = masks.key_mask(torch.tensor(n - 3), n)
        with Watch():
            local(vectors, vectors, centre=centre, half_width=2, score=score, mask=mask)
        assert seen.pop() == 5 * n
        assert max(largest) <= 20 * n
        largest.clear()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_normalised_in_single(dtype, device):
    query, key, value = (part.to(device=device, dtype=dtype) for part in inputs())
    centre = CENTRES.float().to(device)
    result = local(query, key, value, centre=centre, half_width=2)
    assert result.context.dtype == result.weights.dtype == dtype
    exact = local(query.double(), key.double(), value.double(), centre=centre.double(), half_width=2)
    torch.testing.assert_close(result.context.double(), exact.context, rtol=2e-2, atol=2e-2)


def test_vmap():
    query, key, value = inputs()
    run = functools.partial(local, half_width=2)
    wanted = run(query, key, value, centre=CENTRES)
    close(torch.vmap(lambda q, k, v, c: run(q, k, v, centre=c).context)(query, key, value, CENTRES), wanted.context)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_compiles_whole():
    query, key, value = (part.float() for part in inputs())
    centre = CENTRES.float().requires_grad_()

    def run(query, key, value, centre):
        return local(query, key, value, centre=centre, half_width=2, mask=a_mask()).context

    torch.compiler.reset()
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query, key, value, centre), run(query, key, value, centre))
    slopes = [torch.autograd.grad(f(query, key, value, centre).square().sum(), centre)[0] for f in (compiled, run)]
    torch.testing.assert_close(*slopes)


# --- input feeding ----------------------------------------------------------------------------------------------------


def looks(predict, key, value, general):
    """Name to (what the module is given, what the loop is given)."""
    score = functools.partial(scores.general, weight=general)
    loop = functools.partial(oracles.general, weight=rows(general))
    parameters = rows(predict.weight), rows(predict.vector)
    n_key = key.shape[-2]

    def around(h, t, b):
        return predicted_centre_loop(h, n_key, *parameters)

    def whole(h, t, b):
        return float(min(t, n_key - 1))

    def loop_global(h, t, b):
        return oracles.attend([h], rows(key[b]), rows(value[b]), loop)[0][0]

    def loop_local(h, t, b, centre, gaussian):
        return local_loop([h], rows(key[b]), rows(value[b]), [centre(h, t, b)], 2, loop, gaussian=gaussian)[0][0]

    return {
        "global": (lambda query, t: attend(query, key, value, score=score), loop_global),
        "local-m": (
            lambda query, t: local(
                query,
                key,
                value,
                centre=monotonic_centres(9, lengths=n_key)[t : t + 1],
                half_width=2,
                score=score,
                gaussian=False,
            ),
            functools.partial(loop_local, centre=whole, gaussian=False),
        ),
        "local-p": (
            lambda query, t: local(query, key, value, centre=predict(query, lengths=n_key), half_width=2, score=score),
            functools.partial(loop_local, centre=around, gaussian=True),
        ),
    }


@pytest.mark.parametrize("name", ["global", "local-m", "local-p"])
def test_input_feeding_is_the_loop(name):
    d_in, d, n_steps = 3, 4, 7
    step = InputFeeding(d_in, d, D_V, dtype=torch.float64)
    predict = PredictedCentre(d, 13, dtype=torch.float64)
    inputs_, key, value = randn(BATCH, n_steps, d_in), randn(BATCH, KEY, D_K), randn(BATCH, KEY, D_V, seed=1)
    look, loop = looks(predict, key, value, randn(d, D_K))[name]
    fed, vectors = step.start(BATCH), []
    for t in range(n_steps):
        fed, found = step(inputs_[:, t], fed, functools.partial(look, t=t))
        vectors.append(fed.vector)
        assert found.context.shape == (BATCH, 1, D_V)
    cell = [step.cell.weight_ih, step.cell.weight_hh, step.cell.bias_ih, step.cell.bias_hh]
    for b in range(BATCH):
        wanted = input_feeding_loop(
            rows(inputs_[b]), functools.partial(loop, b=b), *map(rows, cell), rows(step.combine.weight)
        )
        close(torch.stack(vectors, 1)[b].detach(), tensor(wanted))


def test_what_was_attended_to_is_fed():
    """The second step's query depends on the first step's context."""
    step = InputFeeding(3, 4, D_V, dtype=torch.float64)
    key, value = randn(BATCH, KEY, 4), randn(BATCH, KEY, D_V).requires_grad_()
    fed, _ = step(randn(BATCH, 3), step.start(BATCH), lambda query: attend(query, key, value))
    queries = []
    step(randn(BATCH, 3), fed, lambda query: attend(queries.append(query) or query, key, value))
    assert (torch.autograd.grad(queries[0].sum(), value)[0] != 0).any()


def test_attentional_vector_is_eq_5():
    context, query, weight = randn(BATCH, 5), randn(BATCH, 3), randn(7, 8)
    wanted = torch.tanh(torch.cat([context, query], -1) @ weight.T)
    close(attentional_vector(context, query, weight=weight), wanted)
    module = AttentionalVector(5, 3, 7, dtype=torch.float64)
    module.weight.data = weight
    close(module(context, query).detach(), wanted)
    assert gradcheck(attentional_vector_of, (leaf(2, 5), leaf(2, 3), leaf(7, 8)))
    with pytest.raises(AssertionError):  # the halves exchanged
        close(attentional_vector(query, context, weight=weight), wanted)


def attentional_vector_of(context, query, weight):
    return attentional_vector(context, query, weight=weight)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"half_width": 0},
            ValueError,
            "half_width must be at least 1 with the Gaussian, whose width it sets, got 0",
        ),
        ({"half_width": -1, "gaussian": False}, ValueError, "half_width must be at least 0, got -1"),
        ({"half_width": 1.5}, TypeError, r"half_width must be a whole number, got 1\.5"),
        ({"half_width": True}, TypeError, "half_width must be a whole number, got True"),
        ({"centre": 4.3}, TypeError, "centre must be a tensor, got float"),
        ({"centre": CENTRES > 0}, TypeError, r"centre must be of numbers, got dtype torch\.bool"),
        ({"centre": torch.tensor(1.0)}, ValueError, r"centre must have shape \(\*batch, query=3\), got shape \(\)"),
        ({"centre": torch.zeros(2, 4)}, ValueError, r"centre must have shape \(\*batch, query=3\), got .*\(2, 4\)"),
        ({"centre": torch.zeros(5, 3)}, ValueError, r"leading dimensions \(5,\) that do not broadcast with \(2,\)"),
        ({"mask": torch.ones(BATCH, QUERY, 4).bool()}, ValueError, "mask of shape"),
        ({"mask": torch.ones(BATCH, QUERY, KEY)}, TypeError, "mask must be boolean"),
        ({"value": torch.zeros(BATCH, 4, 2).double()}, ValueError, "value has 4 rows but key has 11"),
        ({"query": torch.zeros(BATCH, QUERY, 4).double()}, ValueError, "key has d_k=7 but query has d_k=4"),
        ({"key": torch.zeros(BATCH, KEY, D_K)}, TypeError, r"key has dtype torch\.float32"),
        ({"score": lambda query, key: query}, ValueError, "score must return energies of shape"),
    ],
)
def test_bad_input_is_named(change, error, message):
    arguments = dict(zip(("query", "key", "value"), inputs(), strict=True))
    with pytest.raises(error, match=message):
        local(**{**arguments, "centre": CENTRES, "half_width": 2, **change})


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_centre_may_be_more_precise_than_the_vectors(dtype, need_weights):
    query, key, value = (part.to(dtype) for part in inputs())
    found = local(query, key, value, centre=CENTRES.double(), half_width=2, need_weights=need_weights).context
    wanted = local(query, key, value, centre=CENTRES.float(), half_width=2).context
    assert found.dtype == dtype
    torch.testing.assert_close(found, wanted)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_of_the_others_is_named():
    with pytest.raises(TypeError, match=r"lengths must be of whole numbers, got dtype torch\.float32"):
        monotonic_centres(3, lengths=torch.tensor([2.0]))
    parameters = {"weight": torch.zeros(3, 5), "vector": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"weight must have shape \(d=3, d_q=4\), got shape \(3, 5\)"):
        predicted_centres(torch.zeros(2, 4), lengths=3, **parameters)
    with pytest.raises(TypeError, match="lengths must be of whole numbers"):
        predicted_centres(torch.zeros(2, 5), lengths=torch.tensor(2.5), **parameters)
    with pytest.raises(ValueError, match=r"weight must have shape \(d_out=7, d_v \+ d_q=9\)"):
        attentional_vector(torch.zeros(5), torch.zeros(4), weight=torch.zeros(7, 8))
    with pytest.raises(ValueError, match="vector must have shape"):
        predicted_centres(torch.zeros(2, 5), lengths=3, weight=torch.zeros(3, 5), vector=torch.zeros(3, 1))


def test_values_without_components():
    query, key, value = torch.zeros(2, 3), torch.zeros(5, 3), torch.zeros(5, 0)
    assert local(query, key, value, centre=torch.tensor([1, 2]), half_width=1).context.shape == (2, 0)


def test_whole_centres_are_as_precise_as_the_vectors():
    query, key = randn(3, 4), randn(5, 4)
    centre = monotonic_centres(3, lengths=5)
    one, other = (local(query, key, centre=c, half_width=3).weights for c in (centre, centre.double()))
    assert torch.equal(one, other)
