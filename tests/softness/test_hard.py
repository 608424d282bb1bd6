"""Sampled attention: the law of the draws, each gradient estimator against the exact one, variance, bad input."""

import functools
import math

import oracles
import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck

from attnlib import attend
from attnlib.distributions import softmax, sparsemax
from attnlib.softness import baselines, hard, soft

# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def hard_bound_loop(energies, rewards):
    """Eq. 10 of Xu et al.: the mean reward over positions that can be drawn, and log p(y) itself."""
    weights = oracles.softmax_row(energies)
    drawn = [i for i, weight in enumerate(weights) if weight > 0]
    mean = sum(weights[i] * rewards[i] for i in drawn)
    marginal = sum(weights[i] * math.exp(rewards[i]) for i in drawn)
    return mean, math.log(marginal) if drawn else -math.inf


def log_weight_slope_loop(energies, position):
    """The derivative of ``log alpha_position`` by each energy."""
    weights = oracles.softmax_row(energies)
    return [0.0 if e == -math.inf else (j == position) - weights[j] for j, e in enumerate(energies)]


def bound_slope_loop(energies, rewards):
    """Eq. 11 of Xu et al., rewards that do not depend on the energies: position after position."""
    weights = oracles.softmax_row(energies)
    slope = [0.0 for _ in energies]
    for i, weight in enumerate(weights):
        if weight > 0:
            slope = oracles.plus(slope, [weight * rewards[i] * part for part in log_weight_slope_loop(energies, i)])
    return slope


def reinforce_slope_loop(energies, rewards, positions, baseline, reward_weight, entropy_weight):
    """The final rule of section 4.1 of Xu et al., draw after draw."""
    slope = [0.0 for _ in energies]
    for position in positions:
        pull = reward_weight * (rewards[position] - baseline) / len(positions)
        slope = oracles.plus(slope, [pull * part for part in log_weight_slope_loop(energies, position)])
    return oracles.plus(slope, [entropy_weight * part for part in entropy_slope_loop(energies)])


def entropy_slope_loop(energies):
    """``dH/de_j = -alpha_j (log alpha_j + H)``."""
    weights = oracles.softmax_row(energies)
    entropy = -sum(weight * math.log(weight) for weight in weights if weight > 0)
    return [-weight * (math.log(weight) + entropy) if weight > 0 else 0.0 for weight in weights]


def doubly_stochastic_loop(weights, target):
    """``weights[t][i]``, steps down, keys across."""
    penalty = 0.0
    for i in range(len(weights[0])):
        total = 0.0
        for step in weights:
            total += step[i]
        penalty += (target - total) ** 2
    return penalty


BATCH, STEP, KEY, D_V = 2, 3, 5, 7
MANY = 40_000

REWARDS = torch.tensor([-1.5, -0.2, -4.0, -2.5, -0.9], dtype=torch.float64)
ENERGIES = torch.tensor([0.4, -0.8, 1.1, 0.0, -0.3], dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def slope(loss, energies):
    return torch.autograd.grad(loss, energies, materialize_grads=True)[0]


def energies_leaf():
    return ENERGIES.clone().requires_grad_()


def exact_slope():
    return tensor(bound_slope_loop(rows(ENERGIES), rows(REWARDS)))


# --- checks: what the right function satisfies and each mutant must not -----------------------------------------------


def forced(position, energies):
    """A draw of one sample that fell on ``position``."""
    chosen = hard.enumerate_positions(softmax(energies))
    return hard.Draw(*(part[position : position + 1] for part in chosen))


def expectation(loss, energies=ENERGIES, rewards=REWARDS, **options):
    """The mean of minus a loss's derivative over everything that can be drawn: exact, no sampling."""
    total = torch.zeros_like(energies)
    for position in range(len(energies)):
        leaves = energies.clone().requires_grad_()
        draw = forced(position, leaves)
        estimate = -slope(loss(rewards[position : position + 1], draw.log_probability, **options), leaves)
        total += softmax(energies)[position] * estimate
    return total


def check_unbiased(loss):
    """Its expectation is Eq. 11, whatever the constant baseline."""
    for baseline in (0.0, -2.0, torch.tensor(3.0, dtype=torch.float64)):
        close(expectation(loss, baseline=baseline), exact_slope())


def check_against_loop(loss):
    """Several draws at once, with baseline, weights and entropy: the paper's final rule."""
    energies, positions = energies_leaf(), [2, 0, 2, 4]
    weights = softmax(energies)
    draw = hard.enumerate_positions(weights)
    value = loss(
        REWARDS[positions],
        draw.log_probability[positions],
        baseline=-0.7,
        reward_weight=0.3,
        entropy=hard.entropy(weights),
        entropy_weight=0.2,
    )
    wanted = reinforce_slope_loop(rows(ENERGIES), rows(REWARDS), positions, -0.7, 0.3, 0.2)
    close(-slope(value, energies), tensor(wanted))


def check_reward_trains_too(loss):
    """What comes after the draw is trained through the log-likelihood, and by nothing else."""
    rewards = leaf(3, BATCH)
    loss(rewards, randn(3, BATCH, seed=1), baseline=rewards.mean(0)).sum().backward()
    close(rewards.grad, torch.full((3, BATCH), -1 / 3, dtype=torch.float64))


def check_entropy_is_rewarded(loss):
    """The authors' code adds ``+ lambda alpha log alpha`` to the cost: a step down the loss spreads the weights."""
    energies = energies_leaf()
    weights = softmax(energies)
    nothing = torch.zeros(1, dtype=torch.float64)
    value = loss(nothing, nothing, entropy=hard.entropy(weights), entropy_weight=0.002)
    cost = 0.002 * (weights * weights.log()).sum()
    close(value, cost)
    after = softmax(ENERGIES - 10 * slope(value, energies))
    assert hard.entropy(after) > hard.entropy(softmax(ENERGIES))


LOSS_CHECKS = (check_unbiased, check_against_loop, check_reward_trains_too, check_entropy_is_rewarded)


def check_frequencies(sample):
    """Each position as often as its weight says, within five standard errors; never at weight zero."""
    weights = torch.tensor([[0.1, 0.2, 0.0, 0.65, 0.05], [0.0, 0.0, 1.0, 0.0, 0.0]])
    drawn = sample(weights, MANY, generator=seeded()).selection.mean(0)
    error = (weights * (1 - weights) / MANY).sqrt()
    assert ((drawn - weights).abs() <= 5 * error).all()


def check_jensen(bound):
    """Below ``log p(y)`` always, equal where the position does not matter, and never far below without a reason."""
    energies, rewards = 2 * randn(KEY, 400), 2 * randn(KEY, 400, seed=1)
    logs = energies.log_softmax(0)
    gap = hard.log_marginal(rewards, logs) - bound(rewards, logs)
    assert (gap > 0).all()
    same = rewards[:1].expand(KEY, -1)
    close(bound(same, logs), hard.log_marginal(same, logs))


def check_bound(bound):
    """Value and derivative are those of the loops, a hidden position included."""
    for visible in (torch.ones(KEY).bool(), torch.tensor([1, 1, 0, 1, 0]).bool()):
        leaves = energies_leaf()
        energies = leaves.masked_fill(~visible, -math.inf)
        draw = hard.enumerate_positions(softmax(energies))
        value = bound(REWARDS.masked_fill(~visible, math.nan), draw.log_probability)
        close(value.detach(), tensor(hard_bound_loop(rows(energies), rows(REWARDS))[0]))
        close(slope(value, leaves), tensor(bound_slope_loop(rows(energies), rows(REWARDS))))


# --- the draws --------------------------------------------------------------------------------------------------------


def test_draws_follow_the_weights():
    check_frequencies(hard.sample)


def test_a_draw_is_one_hot_with_its_log_probability():
    weights = softmax(leaf(BATCH, STEP, KEY))
    draw = hard.sample(weights, 11, generator=seeded())
    assert draw.selection.shape == (11, BATCH, STEP, KEY)
    assert (draw.selection.sum(-1) == 1).all()
    assert set(draw.selection.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(draw.selection.argmax(-1), draw.position)
    close(draw.log_probability, (draw.selection * weights).sum(-1).log())
    assert not draw.selection.requires_grad


def test_rows_and_samples_are_drawn_independently():
    draws = hard.sample(torch.full((2, 2), 0.5), MANY, generator=seeded()).selection[..., 0] - 0.5
    assert abs((draws[:, 0] * draws[:, 1]).mean()) < 5 * 0.25 / MANY**0.5
    assert abs((draws[1:, 0] * draws[:-1, 0]).mean()) < 5 * 0.25 / MANY**0.5


def test_the_seed_decides_and_the_global_one_is_left_alone():
    weights = softmax(randn(BATCH, KEY))
    state = torch.get_rng_state()
    first, second = (hard.sample(weights, 50, generator=seeded(3)).position for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, hard.sample(weights, 50, generator=seeded(4)).position)


def test_log_probability_has_the_gradient_of_its_weight():
    weights = softmax(randn(BATCH, KEY)).requires_grad_()
    draw = hard.sample(weights, 3, generator=seeded())
    close(slope(draw.log_probability.sum(), weights), (draw.selection / weights).sum(0).detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_precision_keeps_its_own(dtype, device):
    weights = softmax(randn(BATCH, 257, dtype=dtype, device=device))
    generator = torch.Generator(device).manual_seed(0)
    draw = hard.sample(weights, 3, generator=generator)
    assert draw.selection.dtype == draw.log_probability.dtype == dtype
    assert draw.selection.device.type == device.type
    assert draw.log_probability.isfinite().all()
    assert hard.straight_through_gumbel(weights.log(), 3, generator=generator).dtype == dtype


def test_a_row_that_sees_nothing_draws_nothing():
    energies = leaf(BATCH, KEY)
    weights = softmax(energies.masked_fill(torch.tensor([[True], [False]]), -math.inf))
    draw = hard.sample(weights, 4, generator=seeded())
    assert (draw.selection[:, 0] == 0).all()
    assert (draw.position[:, 0] == -1).all()
    assert (draw.log_probability[:, 0] == 0).all()
    loss = hard.reinforce_loss(randn(4, BATCH), draw.log_probability).sum()
    gradient = torch.autograd.grad(loss, energies, retain_graph=True)[0]
    assert (gradient[0] == 0).all()
    assert gradient.isfinite().all()
    assert (gradient[1] != 0).any()
    logs = hard.enumerate_positions(weights).log_probability
    rewards = randn(KEY, BATCH)
    assert hard.bound(rewards, logs)[0] == 0
    assert hard.log_marginal(rewards, logs)[0] == -math.inf
    assert (slope(hard.bound(rewards, logs).sum(), energies)[0] == 0).all()
    context = hard.take(draw.position.unsqueeze(-1), torch.full((BATCH, KEY, D_V), math.nan))
    assert (context[:, 0] == 0).all()


@pytest.mark.parametrize("dim", [0, 1])
def test_nothing_in_the_batch_is_no_mistake(dim):
    weights = softmax(torch.zeros(*(0 if axis == dim else 3 for axis in (0, 1)), KEY))
    assert hard.sample(weights, 2).selection.shape == (2, *weights.shape)


BAD_WEIGHTS = {
    "too little": ([0.5, 0.4], "weights must sum to 1 in each row .* got a sum of 0.9"),
    "too much": ([0.5, 0.6], "weights must sum to 1 in each row .* got a sum of 1.1"),
    "sigmoid": ([0.9, 0.9], "weights must sum to 1"),
    "negative": ([1.5, -0.5], "weights must be probabilities, got the negative weight -0.5"),
    "NaN": ([math.nan, 1.0], "weights must be probabilities, got NaN"),
    "infinite": ([math.inf, 0.0], "weights must sum to 1"),
    "no keys": ([], r"weights must have keys, got shape \(0,\)"),
}


@pytest.mark.parametrize(("weights", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
@pytest.mark.parametrize("function", [hard.sample, hard.enumerate_positions])
def test_what_is_no_probability_is_refused(function, weights, message):
    with pytest.raises(ValueError, match=message):
        function(torch.tensor(weights))
    if weights:
        with pytest.raises(ValueError, match=message):
            function(torch.tensor([[0.5, 0.5], weights, [0.0, 0.0]]))


@pytest.mark.usefixtures("unchecked")
def test_other_bad_input_is_named():
    weights, rewards, logs = softmax(randn(BATCH, KEY)), randn(3, BATCH), randn(3, BATCH)
    draw = hard.sample(weights)
    cases = [
        (ValueError, "n_samples must be at least 1, got 0", lambda: hard.sample(weights, 0)),
        (TypeError, "n_samples must be a whole number, got float", lambda: hard.sample(weights, 2.0)),
        (TypeError, "weights must be floating point, got dtype torch.int64", lambda: hard.sample(torch.tensor([1, 0]))),
        (TypeError, "weights must be a tensor, got list", lambda: hard.sample([1.0])),
        (ValueError, "n_samples must be at least 1", lambda: hard.straight_through_gumbel(weights, 0)),
        (ValueError, "temperature must be", lambda: hard.straight_through_gumbel(weights, temperature=0)),
        (ValueError, "energies must have keys", lambda: hard.straight_through_gumbel(torch.zeros(2, 0))),
        (ValueError, r"shape \(3, 2\) but log_probability has \(2, 2\)", lambda: hard.bound(rewards, logs[:2])),
        (ValueError, "at least one sample", lambda: hard.reinforce_loss(rewards[:0], logs[:0])),
        (ValueError, "at least one position", lambda: hard.log_marginal(rewards[:0], logs[:0])),
        (
            ValueError,
            r"baseline must broadcast to log_likelihood \(3, 2\), got shape \(5,\)",
            lambda: hard.reinforce_loss(rewards, logs, baseline=torch.zeros(5)),
        ),
        (ValueError, "entropy must be given", lambda: hard.reinforce_loss(rewards, logs, entropy_weight=0.1)),
        (
            ValueError,
            r"entropy must have shape \(2,\), got \(3,\)",
            lambda: hard.reinforce_loss(rewards, logs, entropy=torch.zeros(3)),
        ),
        (ValueError, "decay must be from 0 to 1, got 2", lambda: baselines.moving_average(0.0, rewards, decay=2)),
        (ValueError, "decay must be from 0 to 1, got 2", lambda: baselines.MovingAverage(2)),
        (ValueError, "log_likelihood must hold something", lambda: baselines.moving_average(0.0, rewards[:0])),
        (ValueError, "baseline must broadcast", lambda: baselines.baseline_loss(torch.zeros(5), rewards)),
        (ValueError, "probability must be from 0 to 1", lambda: hard.half_expectation(weights, draw, probability=2)),
        (ValueError, r"draw must come from weights \(5,\)", lambda: hard.half_expectation(weights[0], draw)),
        (ValueError, r"position has batch axes \(2,\) but value has \(3,\)", lambda: take_of(BATCH, 3)),
        (ValueError, "position has -2 but value has 5 keys", lambda: hard.take(torch.tensor([[-2]]), randn(5, 2))),
        (TypeError, "position must be of whole numbers", lambda: hard.take(torch.tensor([[1.0]]), randn(5, 2))),
        (ValueError, "position has 5 but value has 5 keys", lambda: hard.take(torch.tensor([[5]]), randn(5, 2))),
        (ValueError, r"weights must be \(\*batch, step, key\)", lambda: soft.doubly_stochastic_penalty(randn(5))),
        (
            TypeError,
            "mask must be boolean",
            lambda: soft.doubly_stochastic_penalty(randn(3, 5), mask=torch.ones(5)),
        ),
        (ValueError, "weight must have the size 3", lambda: soft.gate(randn(2), randn(3), weight=randn(2))),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


def take_of(one, other):
    return hard.take(torch.zeros(1, one, STEP).long(), randn(other, KEY, D_V))


# --- the value that is read -------------------------------------------------------------------------------------------


def test_take_is_the_sum_with_a_one_hot_weight():
    weights, value = softmax(randn(BATCH, STEP, KEY)), leaf(BATCH, KEY, D_V)
    draw = hard.sample(weights, 11, generator=seeded())
    close(hard.take(draw.position, value), draw.selection @ value)
    assert gradcheck(functools.partial(hard.take, draw.position), (value,))


def test_what_is_not_drawn_does_not_count():
    value = torch.full((KEY, D_V), math.nan, dtype=torch.float64)
    value[2] = 1.0
    assert (hard.take(torch.tensor([[2]]), value) == 1).all()


def test_the_mean_of_hard_contexts_is_the_soft_one():
    weights, value = softmax(randn(STEP, KEY)), randn(KEY, D_V)
    every = hard.take(hard.enumerate_positions(weights).position, value)
    close((every * weights.T.unsqueeze(-1)).sum(0), weights @ value)


def test_a_draw_is_a_distribution_for_attend():
    """Hard attention is the unified model with a random g."""

    def drawn(energies):
        return hard.sample(softmax(energies), generator=seeded()).selection[0]

    query, key, value = randn(BATCH, STEP, 11), randn(BATCH, KEY, 11, seed=1), randn(BATCH, KEY, D_V, seed=2)
    result = attend(query, key, value, distribution=drawn)
    weights = attend(query, key, value).weights
    close(result.context, hard.take(hard.sample(weights, generator=seeded()).position, value)[0])


# --- the bound --------------------------------------------------------------------------------------------------------


def test_bound_is_that_of_the_loop():
    check_bound(hard.bound)


def test_jensen():
    check_jensen(hard.bound)


def test_log_marginal_is_that_of_the_loop():
    logs = hard.enumerate_positions(softmax(ENERGIES)).log_probability
    close(hard.log_marginal(REWARDS, logs), tensor(hard_bound_loop(rows(ENERGIES), rows(REWARDS))[1]))


def test_bound_and_marginal_pass_gradcheck():
    logs, rewards = leaf(KEY, BATCH).log_softmax(0).detach().requires_grad_(), leaf(KEY, BATCH, seed=1)
    assert gradcheck(hard.bound, (rewards, logs))
    assert gradcheck(hard.log_marginal, (rewards, logs))


def test_bound_by_sampling_comes_to_the_bound():
    weights = softmax(ENERGIES)
    rewards = REWARDS[hard.sample(weights, MANY, generator=seeded()).position]
    wanted = hard.bound(REWARDS, hard.enumerate_positions(weights).log_probability)
    assert abs(rewards.mean() - wanted) < 5 * rewards.std() / MANY**0.5


# --- the estimators ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", LOSS_CHECKS)
def test_reinforce(check):
    check(hard.reinforce_loss)


def test_value_of_the_loss_is_the_negative_mean_reward():
    rewards, logs = randn(3, BATCH), randn(3, BATCH, seed=1)
    close(hard.reinforce_loss(rewards, logs, baseline=5.0), -rewards.mean(0))


def estimates(baseline=0.0, n=MANY, seed=0):
    """The REINFORCE estimate of each of many single draws, by its loss."""
    energies = ENERGIES.expand(n, KEY).clone().requires_grad_()
    draw = hard.sample(softmax(energies), 1, generator=seeded(seed))
    loss = hard.reinforce_loss(REWARDS[draw.position], draw.log_probability, baseline=baseline)
    return -slope(loss.sum(), energies)


@pytest.mark.parametrize("baseline", [0.0, -2.0])
def test_sampled_estimates_are_unbiased(baseline):
    found = estimates(baseline)
    assert ((found.mean(0) - exact_slope()).abs() < 5 * found.std(0) / MANY**0.5).all()


def test_a_baseline_lowers_the_variance():
    """The mean reward as the baseline, against none and against one far off."""
    weights = softmax(ENERGIES)
    none, good, bad = (estimates(b).var(0).sum() for b in (0.0, float(weights @ REWARDS), 5.0))
    assert good < 0.5 * none
    assert bad > 2 * none


def test_moving_average_is_the_authors_and_does_not_see_its_own_batch():
    average = baselines.MovingAverage()
    seen, expected = [], 0.0
    for k in range(4):
        rewards = randn(3, BATCH, seed=k, dtype=torch.float32)
        seen.append(float(average(rewards)))
        assert seen[-1] == pytest.approx(expected, abs=1e-6)
        expected = 0.9 * expected + 0.1 * float(rewards.mean())
    average.eval()
    assert float(average(rewards)) == float(average(rewards)) == pytest.approx(expected, abs=1e-6)
    assert list(average.state_dict()) == ["value"]


def test_learned_baseline_finds_the_expected_reward_and_trains_nothing_else():
    features, rewards = leaf(BATCH, 3, dtype=torch.float32), randn(5, BATCH, dtype=torch.float32)
    baseline = baselines.LearnedBaseline(3)
    optimizer = torch.optim.Adam(baseline.parameters(), 0.1)
    for _ in range(500):
        optimizer.zero_grad()
        baselines.baseline_loss(baseline(features), rewards).backward()
        optimizer.step()
    torch.testing.assert_close(baseline(features), rewards.mean(0), atol=1e-3, rtol=1e-3)
    assert features.grad is None


def test_a_learned_baseline_keeps_reinforce_unbiased_and_is_not_trained_by_it():
    prediction = torch.tensor(-1.7, dtype=torch.float64, requires_grad=True)
    close(expectation(hard.reinforce_loss, baseline=prediction), exact_slope())
    logs = forced(1, energies_leaf()).log_probability
    hard.reinforce_loss(REWARDS[1:2], logs, baseline=prediction).backward()
    assert prediction.grad is None


# --- half the samples replaced by the expectation ---------------------------------------------------------------------


def reward_of(selection):
    """``log p(y | context)``, bent, so that the reward of the mean is not the mean of the rewards."""
    return -((selection @ REWARDS + 1.0) ** 2)


def test_half_expectation_is_half_soft_half_hard():
    """Its mean gradient is the mean of soft attention's and the bound's: so it is biased, by a known amount."""
    leaves = energies_leaf()
    weights = softmax(leaves)
    many = hard.half_expectation(weights, hard.sample(weights, MANY, generator=seeded()), generator=seeded(1))
    share = (many.position == -1).double().mean()
    assert abs(share - 0.5) < 5 * 0.5 / MANY**0.5
    rewards = reward_of(many.selection)
    found = -slope(hard.reinforce_loss(rewards, many.log_probability).sum(), leaves)

    soft_leaves, hard_leaves = energies_leaf(), energies_leaf()
    soft = slope(reward_of(softmax(soft_leaves)), soft_leaves)
    every = hard.enumerate_positions(softmax(hard_leaves))
    exact = slope(hard.bound(reward_of(every.selection), every.log_probability), hard_leaves)
    assert ((found - (soft + exact) / 2).abs() < 0.03).all()
    assert ((found - exact).abs() > 0.1).any(), "the bias is there, and large enough to be seen"


def test_half_expectation_throws_one_coin_for_the_whole_batch():
    weights = softmax(randn(101, KEY))
    draw = hard.half_expectation(weights, hard.sample(weights, 7, generator=seeded()), generator=seeded(1))
    replaced = draw.position == -1
    assert torch.equal(replaced.all(-1), replaced.any(-1))
    assert 0 < replaced.double().mean() < 1


@pytest.mark.parametrize(("probability", "soft"), [(0.0, False), (1.0, True)])
def test_half_expectation_at_its_ends(probability, soft):
    weights = softmax(leaf(BATCH, KEY))
    draw = hard.sample(weights, 3, generator=seeded())
    mixed = hard.half_expectation(weights, draw, probability=probability)
    close(mixed.selection, weights.expand(3, BATCH, KEY) if soft else draw.selection)
    assert torch.equal(mixed.log_probability, torch.zeros(3, BATCH).double() if soft else draw.log_probability)


# --- straight through -------------------------------------------------------------------------------------------------


def test_straight_through_draws_follow_the_softmax():
    def draws(weights, n, *, generator):
        selection = hard.straight_through_gumbel(weights.log(), n, generator=generator)
        return hard.Draw(selection, selection.argmax(-1), selection.sum(-1))

    check_frequencies(draws)


def test_straight_through_is_one_hot_and_its_derivative_that_of_the_softmax():
    energies = leaf(BATCH, KEY)
    selection = hard.straight_through_gumbel(energies, 3, temperature=0.7, generator=seeded())
    assert set(selection.detach().unique().tolist()) == {0.0, 1.0}
    noise = torch.empty(3, BATCH, KEY, dtype=torch.float64).exponential_(generator=seeded()).log()
    upstream = randn(3, BATCH, KEY, seed=4)
    found = slope((selection * upstream).sum(), energies)
    close(found, slope((softmax((energies - noise) / 0.7) * upstream).sum(), energies))


def test_straight_through_is_biased():
    """Measured against the enumeration where the reward is bent, in standard errors."""
    energies = ENERGIES.expand(MANY, KEY).clone().requires_grad_()
    selection = hard.straight_through_gumbel(energies, generator=seeded())[0]
    found = slope(reward_of(selection).sum(), energies)
    leaves = energies_leaf()
    every = hard.enumerate_positions(softmax(leaves))
    exact = slope(hard.bound(reward_of(every.selection), every.log_probability), leaves)
    error = found.std(0) / MANY**0.5
    assert ((found.mean(0) - exact).abs() > 10 * error).any()


def test_straight_through_without_keys_to_draw_and_with_nan():
    energies = torch.tensor([[-math.inf] * 3, [0.0, -math.inf, -math.inf], [math.nan, 0.0, 0.0]], requires_grad=True)
    selection = hard.straight_through_gumbel(energies, 2)
    assert (selection[:, 0] == 0).all()
    assert torch.equal(selection[:, 1].detach(), torch.tensor([[1.0, 0.0, 0.0]] * 2))
    assert selection[:, 2].isnan().all()
    assert (slope(selection[:, :2].square().sum(), energies)[0] == 0).all()


# --- entropy, the doubly stochastic penalty, the gate -----------------------------------------------------------------


def test_entropy_and_its_slope():
    energies = energies_leaf()
    close(slope(hard.entropy(softmax(energies)), energies), tensor(entropy_slope_loop(rows(ENERGIES))))
    weights = sparsemax(3 * energies)
    assert (weights == 0).any()
    assert slope(hard.entropy(weights), energies).isfinite().all()
    assert hard.entropy(torch.zeros(3)) == 0
    assert hard.entropy(torch.tensor([math.nan, 1.0])).isnan()


@pytest.mark.parametrize("target", [1.0, STEP / KEY])
def test_doubly_stochastic_penalty(target):
    weights = softmax(randn(BATCH, STEP, KEY))
    wanted = [doubly_stochastic_loop(rows(sequence), target) for sequence in weights]
    close(soft.doubly_stochastic_penalty(weights, target=target), tensor(wanted))
    assert gradcheck(soft.doubly_stochastic_penalty, (weights.requires_grad_(),))


def test_doubly_stochastic_penalty_can_be_zero_only_with_as_many_steps_as_keys():
    assert soft.doubly_stochastic_penalty(torch.eye(KEY)) == 0
    uniform = torch.full((STEP, KEY), 1 / KEY)
    close(soft.doubly_stochastic_penalty(uniform).double(), tensor(KEY * (1 - STEP / KEY) ** 2), atol=1e-6, rtol=0)
    close(soft.doubly_stochastic_penalty(uniform, target=STEP / KEY).double(), tensor(0.0), atol=1e-6, rtol=0)


def test_doubly_stochastic_penalty_skips_padding():
    weights = softmax(randn(BATCH, STEP, KEY))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    spoilt = weights.masked_fill(~mask.unsqueeze(-2), math.nan)
    wanted = [doubly_stochastic_loop(rows(weights[0, :, :3]), 1.0), doubly_stochastic_loop(rows(weights[1]), 1.0)]
    close(soft.doubly_stochastic_penalty(spoilt, mask=mask), tensor(wanted))


def test_gate_is_one_number_a_row():
    context, state, weight = leaf(BATCH, D_V), leaf(BATCH, 3, seed=1), leaf(3)
    gated = soft.gate(context, state, weight=weight, bias=0.4)
    for b in range(BATCH):
        share = oracles.sigmoid_row([oracles.inner(rows(weight), rows(state[b])) + 0.4])[0]
        close(gated[b].detach(), share * context[b].detach())
    assert gradcheck(lambda *parts: soft.gate(parts[0], parts[1], weight=parts[2]), (context, state, weight))


# --- compiled ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
def test_losses_compile_whole():
    def run(rewards, logs):
        return hard.reinforce_loss(rewards, logs, baseline=-1.0) + hard.bound(rewards, logs)

    rewards, logs = randn(3, BATCH), randn(3, BATCH, seed=1)
    close(torch.compile(run, fullgraph=True, backend="aot_eager")(rewards, logs), run(rewards, logs))


@pytest.mark.usefixtures("unchecked")
def test_draws_under_vmap_and_in_one_graph():
    """Each row of a batch draws for itself; what cannot be looked at is not checked, and still drawn right."""
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    mapped = torch.vmap(lambda row: hard.sample(row, 200), randomness="different")(weights)
    graph = torch.compile(lambda rows: hard.sample(rows, 200), fullgraph=True, backend="aot_eager")(weights)
    for draw in (mapped.selection, graph.selection.movedim(0, 1)):
        assert draw.shape == (3, 200, 3)
        assert (draw[0] == weights[0]).all()
        assert (draw[1, :, 1] == 0).all()
        assert 60 < draw[1, :, 0].sum() < 140
        assert (draw[2] == 0).all()
    gumbel = torch.vmap(hard.straight_through_gumbel, randomness="different")(weights.log())
    assert (gumbel[0, 0] == weights[0]).all()
    assert (gumbel[2] == 0).all()


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------


def reinforce(
    rewards, logs, *, baseline=0.0, reward_weight=1.0, entropy=0.0, entropy_weight=0.0, sign=-1, spread=-1, mode=""
):
    """REINFORCE as it is often written, with the places where it goes wrong as options."""
    reward = rewards if mode == "reward attached" else rewards.detach()
    baseline = baseline if mode == "baseline attached" or not isinstance(baseline, torch.Tensor) else baseline.detach()
    pull = reward_weight * (reward - baseline) * (logs.exp() if mode == "probability" else logs)
    own = 0 * rewards if mode == "reward only" else rewards
    loss = (sign * (pull - pull.detach()) - own).mean(0)
    return (loss * rewards.shape[0] if mode == "sum" else loss) + spread * entropy_weight * entropy


def uniform_draws(weights, n_samples=1, *, generator=None):
    return hard.sample(torch.full_like(weights, 1 / weights.shape[-1]), n_samples, generator=generator)


def most_likely(weights, n_samples=1, *, generator=None):
    selection = torch.nn.functional.one_hot(weights.argmax(-1), weights.shape[-1]).to(weights.dtype)
    return hard.Draw(selection.expand(n_samples, *weights.shape), weights.argmax(-1), weights.amax(-1).log())


def unweighted_bound(rewards, logs):
    return torch.where(logs > -math.inf, rewards, 0.0).mean(0)


def bound_without_second_term(rewards, logs):
    return hard.bound(rewards, logs.detach() + 0 * logs.masked_fill(logs == -math.inf, 0.0))


def marginal_for_bound(rewards, logs):
    return hard.log_marginal(rewards, logs)


with_mode = functools.partial
WRONG_HARD = {
    "reward pushes away": (check_unbiased, with_mode(reinforce, sign=1)),
    "probability for its logarithm": (check_unbiased, with_mode(reinforce, mode="probability")),
    "sum over the draws": (check_against_loop, with_mode(reinforce, mode="sum")),
    "weight of the reward forgotten": (
        check_against_loop,
        lambda *parts, reward_weight, **options: reinforce(*parts, **options),
    ),
    "baseline forgotten": (
        check_against_loop,
        lambda *parts, baseline, **options: reinforce(*parts, **options),
    ),
    "derivative through the reward": (
        check_reward_trains_too,
        with_mode(reinforce, mode="reward attached"),
    ),
    "derivative through the baseline": (
        check_reward_trains_too,
        with_mode(reinforce, mode="baseline attached"),
    ),
    "what follows the draw not trained": (
        check_reward_trains_too,
        with_mode(reinforce, mode="reward only"),
    ),
    "entropy punished": (check_entropy_is_rewarded, with_mode(reinforce, spread=1)),
    "draws from the uniform": (check_frequencies, uniform_draws),
    "the largest instead of a draw": (check_frequencies, most_likely),
    "bound without the weights": (check_bound, unweighted_bound),
    "bound without its second term": (check_bound, bound_without_second_term),
    "what stands at weight zero counts": (check_bound, lambda r, logs: (logs.exp() * r).sum(0)),
    "the likelihood itself for the bound": (check_jensen, marginal_for_bound),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG_HARD.values(), ids=WRONG_HARD)
def test_wrong_hard_attention_is_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


@pytest.mark.parametrize("check", LOSS_CHECKS)
def test_the_unspoilt_reinforce_passes(check):
    check(reinforce)
