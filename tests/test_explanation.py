"""Weights put to the test: each function against a loop, the exact adversary against all that a search finds, and wrong
versions that must be rejected."""

import itertools
import math
import random
from collections import Counter

import pytest
import torch
from checks import randn
from oracles import rows
from torch.testing import assert_close

from attnlib.explanation import adversarial, divergence, erased, permuted

# --- the oracles: plain loops from the papers -------------------------------------------------------------------------


def divergence_loop(p, q):
    total = 0.0
    for a, b in zip(p, q, strict=True):
        middle = (a + b) / 2
        if a > 0:
            total += a * math.log(a / middle) / 2
        if b > 0:
            total += b * math.log(b / middle) / 2
    return total


def adversarial_loop(weights, values, low, high):
    """The farthest of all weights on one item or two whose answer is allowed and, of two, at an end of the interval."""
    best, found = -1.0, None
    for i, j in itertools.product(range(len(weights)), repeat=2):
        tried = []
        if i == j and low <= values[i] <= high:
            tried.append(1.0)
        for end in (low, high):
            if i != j and values[i] < values[j] and values[i] <= end <= values[j]:
                tried.append((end - values[i]) / (values[j] - values[i]))
        for share in tried:
            other = [0.0] * len(weights)
            other[i] += 1 - share
            other[j] += share
            if divergence_loop(weights, other) > best:
                best, found = divergence_loop(weights, other), other
    return best, found


def erased_loop(weights, rank):
    left, steps, alive = list(weights), [], [*range(len(weights))]
    while True:
        total = sum(left)
        steps.append([a / total if total else 0.0 for a in left])
        if not alive:
            return steps
        first = max(alive, key=lambda i: (rank[i], -i))
        alive.remove(first)
        left[first] = 0.0


def case(seed, batch=3, n=7):
    torch.manual_seed(seed)
    weights = (2 * randn(batch, n)).softmax(-1)
    values = 2 * randn(batch, n)
    answer = (weights * values).sum(-1)
    return weights, values, answer - 0.1, answer + 0.2


# --- values -----------------------------------------------------------------------------------------------------------


def test_divergence_is_the_loop():
    p, q = randn(5, 7).softmax(-1), randn(5, 7).softmax(-1)
    p[0, :3], q[0, 2:] = 0.0, 0.0
    wanted = [divergence_loop(a, b) for a, b in zip(rows(p), rows(q), strict=True)]
    assert_close(divergence(p, q), torch.tensor(wanted, dtype=torch.float64))
    assert_close(divergence(p, q), divergence(q, p))
    assert divergence(p, p).abs().max() < 1e-15
    apart = torch.tensor([0.3, 0.7, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    assert divergence(*apart).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("seed", range(5))
def test_adversary_is_the_loop(seed):
    weights, values, low, high = case(seed)
    other = adversarial(weights, values, low, high)
    for i, given in enumerate(zip(rows(weights), rows(values), low.tolist(), high.tolist(), strict=True)):
        best, found = adversarial_loop(*given)
        assert other.divergence[i].item() == pytest.approx(best, abs=1e-12)
        assert other.weights[i].tolist() == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_says_the_same_is_farther(seed):
    """Thousands of weights that are allowed, many of them near a corner: the adversary is not beaten."""
    weights, values, low, high = case(seed, batch=1, n=5)
    other = adversarial(weights, values, low, high)
    answer = (other.weights * values).sum(-1)
    assert (answer >= low - 1e-12).all()
    assert (answer <= high + 1e-12).all()
    assert (other.weights > 0).sum() <= 2
    assert_close(other.divergence, divergence(weights, other.weights))
    tried = torch.distributions.Dirichlet(torch.full((5,), 0.2, dtype=torch.float64)).sample((200_000,))
    said = (tried * values).sum(-1)
    allowed = tried[(said >= low) & (said <= high)]
    assert len(allowed) > 500
    farthest = divergence(weights.expand_as(allowed), allowed).max()
    assert farthest <= other.divergence.item() + 1e-12
    assert farthest > 0.9 * other.divergence.item()  # the search was no idle one


def test_adversary_where_there_is_no_choice():
    one = torch.ones(1, 1)
    alone = adversarial(one, 3 * one, 3 * one[0], 3 * one[0])
    assert (alone.weights.item(), alone.divergence.item()) == (1.0, 0.0)
    even = torch.full((1, 4), 0.25)
    alike = adversarial(even, torch.zeros(1, 4), torch.zeros(1), torch.zeros(1))  # each word says the same
    assert sorted(alike.weights[0].tolist()) == [0, 0, 0, 1]
    ends = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])  # nothing but the one that says it
    edge = adversarial(torch.tensor([0.0, 1.0]), ends[0], torch.tensor(1.0), torch.tensor(1.0))
    assert edge.weights.tolist() == [0, 1]


def test_permuted_is_each_order_as_often_as_any_other():
    weights = torch.tensor([0.5, 0.3, 0.2])
    drawn = permuted(weights.expand(6000, 3), generator=torch.Generator().manual_seed(0))
    counts = Counter(tuple(round(x, 4) for x in row) for row in drawn.tolist())
    assert set(counts) == set(itertools.permutations([0.5, 0.3, 0.2]))
    assert all(abs(count - 1000) < 150 for count in counts.values())  # five standard deviations


def test_variance_of_an_answer_under_permutations():
    """The formula of the chapter, over all orders: (n sum of squares - 1) / (n - 1) times the values' variance."""
    weights, values, _, _ = case(0, batch=1, n=5)
    said = [
        sum(a * v for a, v in zip(order, rows(values)[0], strict=True))
        for order in itertools.permutations(rows(weights)[0])
    ]
    answers = torch.tensor(said, dtype=torch.float64)
    formula = (5 * weights.square().sum() - 1) / 4 * values.var(correction=0)
    assert_close(answers.var(correction=0), formula)
    assert_close(answers.mean(), values.mean())


@pytest.mark.parametrize("seed", range(3))
def test_erased_is_the_loop(seed):
    weights, rank, _, _ = case(seed)
    rank[:, 3] = rank[:, 1]  # of equal ones the first
    wanted = [erased_loop(a, r) for a, r in zip(rows(weights), rows(rank), strict=True)]
    assert_close(erased(weights, rank), torch.tensor(wanted, dtype=torch.float64))


def test_no_order_of_erasing_flips_sooner_than_by_the_product():
    """Where the answer is the sign of a sum, the largest contributions are the smallest set; held against all sets."""
    g = random.Random(0)
    for _ in range(20):
        weights = torch.tensor([g.random() for _ in range(6)]).double()
        weights = weights / weights.sum()
        values = torch.tensor([g.uniform(-1, 1.5) for _ in range(6)]).double()
        side = 1.0 if (weights * values).sum() > 0 else -1.0
        left = side * (erased(weights, side * weights * values) * values).sum(-1)
        steps = int((left <= 0).int().argmax())
        every = [
            size
            for size in range(7)
            for gone in itertools.combinations(range(6), size)
            if side * sum(float(weights[i] * values[i]) for i in range(6) if i not in gone) <= 0
        ]
        assert steps == min(every)


# --- masks, batches, devices, gradients -------------------------------------------------------------------------------


def all_of(weights, values, low, high, mask=None):
    other = adversarial(weights, values, low, high, mask=mask)
    return (
        other.weights,
        other.divergence,
        divergence(
            weights,
            values.softmax(-1) if mask is None else values.masked_fill(~mask, -torch.inf).softmax(-1),
            mask=mask,
        ),
        erased(weights, values, mask=mask),
        permuted(weights, mask=mask, generator=torch.Generator().manual_seed(0)),
    )


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 3e38])
def test_what_is_hidden_changes_nothing(poison, device):
    weights, values, low, high = (each.to(device) for each in case(0))
    plain = all_of(weights, values, low, high)
    padding = torch.full((3, 2), poison, dtype=torch.float64, device=device)
    mask = (torch.arange(9, device=device) < 7).expand(3, 9)
    hidden = [torch.cat([each, padding], -1) for each in (weights, values)]
    other = adversarial(*hidden, low, high, mask=mask)
    assert_close(other.weights[:, :7], plain[0])
    assert_close(other.divergence, plain[1])
    assert not other.weights[:, 7:].any()
    steps = erased(*hidden, mask=mask)
    assert_close(steps[:, :8, :7], plain[3])
    assert not steps[:, 7:].any()
    assert not steps[..., 7:].any()
    drawn = permuted(hidden[0], mask=mask)
    assert_close(drawn.sort(-1).values[:, 2:], weights.sort(-1).values)
    assert not drawn[:, 7:].any()
    assert_close(
        divergence(hidden[0], hidden[0].flip(-1), mask=mask & mask.flip(-1)),
        divergence(weights[:, 2:], weights.flip(-1)[:, :5]),
    )


def test_where_nothing_is_visible_there_are_zeros():
    weights, values, low, high = case(0)
    mask = torch.zeros(3, 7, dtype=torch.bool)
    other = adversarial(weights, values, low, high, mask=mask)
    for each in (other.weights, other.divergence, erased(weights, values, mask=mask), permuted(weights, mask=mask)):
        assert not each.any()


def test_a_row_is_the_same_alone_and_in_any_batch():
    weights, values, low, high = case(1, batch=5)
    whole = adversarial(weights, values, low, high)
    stacked = adversarial(*(each.unsqueeze(1) for each in (weights, values, low, high)))
    assert_close(stacked.weights.squeeze(1), whole.weights)
    for i in range(5):
        alone = adversarial(weights[i], values[i], low[i], high[i])
        assert_close(alone.weights, whole.weights[i])
        assert_close(erased(weights[i], values[i]), erased(weights, values)[i])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_single(dtype):
    weights = torch.tensor([0.75, 0.125, 0.125], dtype=dtype)
    values = torch.tensor([1.0, 0.0, 2.0], dtype=dtype)
    end = torch.tensor(1.0, dtype=dtype)
    other = adversarial(weights, values, end, end)
    assert other.weights.dtype == dtype
    assert other.weights.tolist() == [0, 0.5, 0.5]
    assert erased(weights, values).dtype == permuted(weights).dtype == dtype


def test_slopes_are_true():
    weights, values, _, _ = case(0)
    p = weights.requires_grad_()
    assert torch.autograd.gradcheck(divergence, (p, values.softmax(-1).requires_grad_()))
    assert torch.autograd.gradcheck(lambda a: erased(a, values)[:, :7], (p,))
    at_nought = torch.tensor([1.0, 0.0], requires_grad=True)
    divergence(torch.tensor([0.5, 0.5]), at_nought).backward()
    assert at_nought.grad.isfinite().all()


def test_arguments_are_left_alone():
    given = case(0)
    before = [each.clone() for each in given]
    all_of(*given, mask=torch.ones(3, 7, dtype=torch.bool))
    for each, was in zip(given, before, strict=True):
        assert torch.equal(each, was)


def test_bad_arguments_are_named(unchecked):
    weights, values, low, high = case(0)
    with pytest.raises(ValueError, match="low and high must hold the answer of weights"):
        adversarial(weights, values, high + 1, high + 2)
    with pytest.raises(ValueError, match=r"values must fit shape \(3, 7\), got shape \(3, 6\)"):
        adversarial(weights, values[:, :6], low, high)
    with pytest.raises(ValueError, match=r"rank must fit shape \(3, 7\), got shape \(5,\)"):
        erased(weights, torch.zeros(5))
    with pytest.raises(ValueError, match="mask must broadcast to weights"):
        permuted(weights, mask=torch.ones(5, dtype=torch.bool))
    with pytest.raises(TypeError, match="mask must be boolean"):
        permuted(weights, mask=torch.ones(7))
    with pytest.raises(TypeError, match="first must be floating point"):
        divergence(torch.ones(3, dtype=torch.long), weights[0, :3])
    with pytest.raises(ValueError, match=r"weights must have shape \(\*batch, key\)"):
        erased(torch.tensor(1.0), torch.tensor(1.0))


# --- wrong versions, which the tests above must reject ----------------------------------------------------------------


def gradient_only(weights, values, low, high):
    """As public code searches: many steps of gradient from a start that is drawn. It stays where a hill ends."""
    logits = torch.randn(
        weights.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).requires_grad_()
    stepper = torch.optim.Adam([logits], lr=0.05)
    for _ in range(300):
        other = logits.softmax(-1)
        answer = (other * values).sum(-1)
        away = torch.relu(answer - high) + torch.relu(low - answer)
        stepper.zero_grad()
        (500 * away - divergence(weights, other)).sum().backward()
        stepper.step()
    return logits.detach().softmax(-1)


def one_end(weights, values, low, high):
    return adversarial(weights, values, low, low.maximum((weights * values).sum(-1)))


def largest_to_smallest(weights, values, low, high):
    """The network's weights turned upside down, whatever they say."""
    order = weights.argsort(-1)
    return torch.zeros_like(weights).scatter(-1, order, weights.gather(-1, order.flip(-1)))


def test_wrong_adversaries_are_found_out():
    weights, values, low, high = case(2, batch=19)
    right = adversarial(weights, values, low, high)
    assert (one_end(weights, values, low, high).divergence < right.divergence - 1e-6).any()
    turned = largest_to_smallest(weights, values, low, high)
    said = (turned * values).sum(-1)
    assert ((said < low) | (said > high)).any()
    climbed = gradient_only(weights, values, low, high)
    assert (divergence(weights, climbed) < right.divergence - 0.01).any()


def test_wrong_divergences_and_erasures_are_found_out():
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.6])
    wanted = divergence_loop(p.tolist(), q.tolist())
    one_sided = (p * (p / q).log()).sum().item()
    in_bits = divergence(p, q).item() / math.log(2)
    assert abs(one_sided - wanted) > 0.1
    assert abs(in_bits - wanted) > 0.05
    weights, rank = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.0, 2.0, 1.0])
    not_renormalised = weights.expand(4, 3).tril(-1).flip(-1)
    smallest_first = erased(weights, -rank)
    for wrong in (not_renormalised, smallest_first):
        assert (wrong - torch.tensor(erased_loop(weights.tolist(), rank.tolist()))).abs().max() > 0.1
