"""The recurrent attention model: a step against loops, who is trained by which loss, what is rewarded."""

import math

import pytest
import torch
from checks import close, randn
from oracles import rows, tensor
from test_retina import retina_loop
from torch import nn

from attnlib.input_features import recurrent_attention as recurrent
from attnlib.input_features.glimpse import ContextNetwork, GlimpseNetwork

BATCH, CHANNEL, HEIGHT, WIDTH = 5, 2, 13, 11
KINDS, D_STATE, D_HIDDEN, D_GLIMPSE, STEPS, SIZE, SCALES = 3, 7, 17, 19, 4, 2, 2
SPREAD = 0.3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def model(kind=recurrent.RecurrentAttention, context=False, seed=0):
    """A small model whose layers are all at work, the baseline too."""
    torch.manual_seed(seed)
    glimpse = GlimpseNetwork(SIZE, SCALES, channels=CHANNEL, d_hidden=D_HIDDEN, d_glimpse=D_GLIMPSE)
    context = ContextNetwork(3, D_STATE, channels=CHANNEL) if context else None
    made = kind(KINDS, glimpse, d_state=D_STATE, spread=SPREAD, context=context).double()
    nn.init.uniform_(made.baseline.weight, 0.1, 0.5)
    nn.init.constant_(made.baseline.bias, 0.2)
    return made


def images():
    return randn(BATCH, CHANNEL, HEIGHT, WIDTH)


def targets():
    return torch.tensor([0, 2, 1, 2, 0])


# --- the oracle: plain loops from the paper ---------------------------------------------------------------------------


def linear_loop(layer, vector):
    bias = [0.0] * len(layer.weight) if layer.bias is None else rows(layer.bias)
    return [
        b + sum(w * v for w, v in zip(line, vector, strict=True))
        for line, b in zip(rows(layer.weight), bias, strict=True)
    ]


def rectified(*vectors):
    return [max(0.0, sum(parts)) for parts in zip(*vectors, strict=True)]


def glimpse_loop(network, image, place):
    patches = retina_loop(image, *place, SIZE, SCALES)
    flat = [cell for patch in patches for channel in patch for row in channel for cell in row]
    seen, where = rectified(linear_loop(network.what, flat)), rectified(linear_loop(network.where, place))
    return rectified(linear_loop(network.from_what, seen), linear_loop(network.from_where, where))


def log_softmax_loop(energies):
    total = math.log(sum(math.exp(e) for e in energies))
    return [e - total for e in energies]


def model_loop(made, image, places):
    """Beliefs of each step, log-densities and baselines of each place but the first, of one image."""
    state, upper = [0.0] * D_STATE, None
    if made.context is not None:
        coarse = [
            [
                sum(image[c][i][j] for i in span(a, HEIGHT) for j in span(b, WIDTH))
                / len(span(a, HEIGHT))
                / len(span(b, WIDTH))
                for a in range(3)
                for b in range(3)
            ]
            for c in range(CHANNEL)
        ]
        upper = rectified(linear_loop(made.context.state, [cell for channel in coarse for cell in channel]))
    beliefs, densities, baselines = [], [], []
    for step, place in enumerate(places):
        if step or upper is not None:
            above = state if upper is None else upper
            mean = linear_loop(made.place, above)
            far = sum((p - m) ** 2 for p, m in zip(place, mean, strict=True))
            densities.append(-far / (2 * SPREAD**2) - math.log(2 * math.pi * SPREAD**2))
            baselines.append(
                made.baseline.bias.item() + sum(w * h for w, h in zip(rows(made.baseline.weight), above, strict=True))
            )
        seen = glimpse_loop(made.glimpse, image, place)
        state = rectified(linear_loop(made.from_state, state), linear_loop(made.from_glimpse, seen))
        if upper is not None:
            upper = rectified(linear_loop(made.from_upper, upper), linear_loop(made.from_lower, state))
        beliefs.append(log_softmax_loop(linear_loop(made.action, state)))
    return beliefs, densities, baselines


def span(cell, length):
    """The pixels that a coarse cell of three covers."""
    return range(cell * length // 3, -(-(cell + 1) * length // 3))


# --- checks: what a right model satisfies and each mutant must not ----------------------------------------------------

WHAT = ("glimpse", "from_state", "from_glimpse", "action")
WHERE = ("place", "context", "from_upper", "from_lower")


def trained(made, loss):
    """The parts of a model that a loss has a slope for."""
    made.zero_grad()
    if loss.requires_grad:
        loss.backward(retain_graph=True)
    return {name.split(".")[0] for name, part in made.named_parameters() if part.grad is not None and part.grad.any()}


def check_who_is_trained(kind, loss=recurrent.hybrid_loss):
    """The answer trains what looks, the policy where to look, and the baseline itself."""
    for context in (False, True):
        made = model(kind, context)
        found = loss(made(images(), STEPS, generator=seeded()), targets())
        assert 0 < found.reward.sum() < BATCH
        assert trained(made, found.answer) == set(WHAT)
        assert trained(made, found.policy) == (set(WHERE) if context else {"place"})
        assert trained(made, found.baseline) == {"baseline"}
        assert trained(made, found.total) == {*WHAT, *(WHERE if context else ["place"]), "baseline"}


def check_policy_slope(kind, loss=recurrent.hybrid_loss):
    """By hand, from the states that a loop goes through: minus ``(R - b) (l - mu) / s^2`` times the state, summed over
    the steps at which a drawn place was looked at, a mean over images."""
    made = model(kind)
    seen = made(images(), STEPS, generator=seeded())
    wanted = torch.zeros(2, dtype=torch.float64)
    for b in range(BATCH):
        places = rows(seen.location[:, b])
        beliefs, _, baselines = model_loop(made, images()[b].tolist(), places)
        reward = float(max(range(KINDS), key=beliefs[-1].__getitem__) == targets()[b])
        for t in range(1, STEPS):
            mean = mean_before(made, images()[b].tolist(), places[:t])
            pull = [(p - m) / SPREAD**2 for p, m in zip(places[t], mean, strict=True)]
            wanted -= (reward - baselines[t - 1]) * tensor(pull) / BATCH
    made.zero_grad()
    loss(seen, targets()).policy.backward()
    close(made.place.bias.grad, wanted)


def mean_before(made, image, places):
    state = [0.0] * D_STATE
    for place in places:
        seen = glimpse_loop(made.glimpse, image, place)
        state = rectified(linear_loop(made.from_state, state), linear_loop(made.from_glimpse, seen))
    return linear_loop(made.place, state)


CHECKS = (check_who_is_trained, check_policy_slope)


@pytest.mark.parametrize("check", CHECKS)
def test_model(check):
    check(recurrent.RecurrentAttention)


@pytest.mark.parametrize("context", [False, True])
def test_each_step_is_that_of_the_loop(context):
    made, image = model(context=context), images()
    seen = made(image, STEPS, generator=seeded())
    assert seen.log_density.shape == seen.baseline.shape == (STEPS - (not context), BATCH)
    for b in range(BATCH):
        beliefs, densities, baselines = model_loop(made, image[b].tolist(), rows(seen.location[:, b]))
        close(seen.log_probability[:, b].detach(), tensor(beliefs))
        close(seen.log_density[:, b].detach(), tensor(densities))
        close(seen.baseline[:, b].detach(), tensor(baselines))


def test_loss_is_the_sum_of_its_parts():
    seen = model()(images(), STEPS, generator=seeded())
    found = recurrent.hybrid_loss(seen, targets(), policy_weight=0.01, baseline_weight=0.5)
    close(found.total, found.answer + 0.01 * found.policy + 0.5 * found.baseline)
    final = seen.log_probability[-1]
    right = [float(final[b].argmax() == targets()[b]) for b in range(BATCH)]
    assert found.reward.tolist() == right
    close(found.answer, -sum(final[b, targets()[b]] for b in range(BATCH)) / BATCH)
    errors = [(right[b] - seen.baseline[t, b]) ** 2 for b in range(BATCH) for t in range(STEPS - 1)]
    close(found.baseline, sum(errors) / len(errors))


def test_one_glimpse_has_nothing_to_reward():
    made = model()
    seen = made(images(), 1)
    assert seen.log_density.shape == (0, BATCH)
    found = recurrent.hybrid_loss(seen, targets())
    assert (found.policy, found.baseline) == (0, 0)
    assert trained(made, found.total) == set(WHAT)


# --- where it looks ---------------------------------------------------------------------------------------------------


def test_places_are_drawn_from_the_policy():
    n, mean = 40_000, tensor([[0.3, -0.2], [-1.5, 0.0]])
    place, density = recurrent.draw_location(mean.expand(n, 2, 2), SPREAD, generator=seeded())
    assert ((place.mean(0) - mean).abs() < 5 * SPREAD / n**0.5).all()
    assert ((place.var(0) - SPREAD**2).abs() < 5 * SPREAD**2 * (2 / n) ** 0.5).all()
    normal = torch.distributions.Normal(mean, SPREAD)
    close(density, normal.log_prob(place).sum(-1))
    together = ((place - mean) / SPREAD).prod(-1).mean(0)
    assert (together.abs() < 5 / n**0.5).all(), "the two directions are independent"


def test_the_seed_decides_and_the_global_one_is_left_alone():
    made, state = model(), torch.get_rng_state()
    first, second, other = (made(images(), STEPS, generator=seeded(s)).location for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_the_first_place_is_anywhere_in_the_image():
    made = model()
    first = made(randn(2000, CHANNEL, 3, 3), 1, generator=seeded()).location[0]
    assert first.abs().max() <= 1
    assert (first.mean(0).abs() < 5 / (3 * 2000) ** 0.5).all()
    assert ((first.square().mean(0) - 1 / 3).abs() < 0.05).all()


def test_without_a_draw_it_takes_the_means():
    for context in (False, True):
        made = model(context=context)
        seen, again = (made(images(), STEPS, sample=False) for _ in range(2))
        assert torch.equal(seen.location, again.location)
        close(seen.log_density, torch.full_like(seen.log_density, -math.log(2 * math.pi * SPREAD**2)))
        assert context or (seen.location[0] == 0).all()


def test_a_start_that_is_given_is_taken():
    start = randn(BATCH, 2)
    for context in (False, True):
        seen = model(context=context)(images(), STEPS, start=start)
        assert torch.equal(seen.location[0], start)
        assert len(seen.log_density) == STEPS - 1


def test_an_image_does_not_see_the_others():
    made, start = model(), randn(BATCH, 2)
    together = made(images(), STEPS, start=start, sample=False)
    alone = made(images()[1:2], STEPS, start=start[1:2], sample=False)
    for got, wanted in zip(alone, together, strict=True):
        close(got[:, 0], wanted[:, 1])


def test_what_is_never_looked_at_does_not_matter():
    """NaN in one corner; the model looks at the other."""
    made, image, away = model(), images(), torch.full((BATCH, 2), 0.8).double()
    nn.init.zeros_(made.place.weight)
    nn.init.constant_(made.place.bias, 0.8)
    spoilt = image.clone()
    spoilt[..., :3, :3] = math.nan
    found = [made(one, STEPS, start=away, sample=False).log_probability for one in (image, spoilt)]
    assert torch.equal(*found)


def test_any_size_with_the_same_parameters():
    for size in ((1, 1), (1, 9), (60, 60), (100, 37)):
        seen = model(context=True)(randn(BATCH, CHANNEL, *size), 2, generator=seeded())
        assert seen.log_probability.isfinite().all()


def test_defaults_are_the_paper_s():
    made = recurrent.RecurrentAttention(10, GlimpseNetwork(8))
    shapes = {name: tuple(part.shape) for name, part in made.named_parameters() if name.endswith("weight")}
    assert shapes["glimpse.what.weight"] == (128, 64)
    assert shapes["glimpse.where.weight"] == (128, 2)
    assert shapes["glimpse.from_what.weight"] == shapes["glimpse.from_where.weight"] == (256, 128)
    assert shapes["from_state.weight"] == shapes["from_glimpse.weight"] == (256, 256)
    assert shapes["action.weight"] == (10, 256)
    assert shapes["place.weight"] == (2, 256)


def test_single_precision_on_each_device(device):
    made = model(context=True).float().to(device)
    image = images().to(device=device, dtype=torch.float32)
    seen = made(image, STEPS, generator=torch.Generator(device).manual_seed(0))
    assert {part.dtype for part in seen} == {torch.float32}
    assert {part.device.type for part in seen} == {device.type}
    recurrent.hybrid_loss(seen, targets().to(device)).total.backward()
    assert all(part.grad.isfinite().all() for part in made.parameters())


def test_it_learns_where_to_look():
    """A wall with a light on its left, or without one. A narrow glimpse of the middle does not tell; the second one has
    to go and look. By guessing it is right half of the time."""
    torch.manual_seed(0)
    n, side = 64, 12
    image = torch.zeros(n, 1, 4, side)
    target = torch.arange(n) % 2
    image[target == 0, :, :, :4] = 1.0
    made = recurrent.RecurrentAttention(2, GlimpseNetwork(2, d_hidden=16, d_glimpse=16), d_state=16, spread=0.3)
    optimizer, start, generator = torch.optim.Adam(made.parameters(), 0.01), torch.zeros(n, 2), seeded()
    for _ in range(150):
        optimizer.zero_grad()
        recurrent.hybrid_loss(made(image, 2, start=start, generator=generator), target).total.backward()
        optimizer.step()
    seen = made(image, 2, start=start, sample=False)
    assert recurrent.hybrid_loss(seen, target).reward.mean() == 1
    assert (seen.location[1, :, 0] < -0.2).all()


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    made, seen = model(), model()(images(), 2)
    make = recurrent.RecurrentAttention
    cases = [
        (TypeError, "image must be floating point, got dtype torch.uint8", lambda: made(images().byte(), 2)),
        (ValueError, "n_glimpses must be at least 1, got 0", lambda: made(images(), 0)),
        (TypeError, "n_glimpses must be a whole number", lambda: made(images(), 2.0)),
        (ValueError, "spread must be a finite number above 0, got 0", lambda: make(3, GlimpseNetwork(2), spread=0)),
        (ValueError, "spread must be", lambda: recurrent.draw_location(randn(2), -1.0)),
        (ValueError, "n_kinds must be at least 1", lambda: make(0, GlimpseNetwork(2))),
        (ValueError, "scales must be at least 1, got 0", lambda: GlimpseNetwork(2, 0)),
        (ValueError, "size must be at least 1, got 0", lambda: ContextNetwork(0, 3)),
        (
            TypeError,
            "target must be whole numbers .* got dtype torch.float32",
            lambda: recurrent.hybrid_loss(seen, torch.zeros(BATCH)),
        ),
        (
            ValueError,
            r"target must have shape \(5,\), got shape \(4,\)",
            lambda: recurrent.hybrid_loss(seen, targets()[1:]),
        ),
        (TypeError, "image must be floating point", lambda: ContextNetwork(3, 2)(torch.zeros(1, 1, 4, 4).byte())),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.usefixtures("unchecked")
def test_the_loss_compiles_whole():
    seen = recurrent.Glimpses(*(part.detach() for part in model()(images(), STEPS, generator=seeded())))

    def run(seen, target):
        return recurrent.hybrid_loss(seen, target).total

    close(torch.compile(run, fullgraph=True, backend="aot_eager")(seen, targets()), run(seen, targets()))


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------


class Attached(recurrent.RecurrentAttention):
    """The place is no constant to the glimpse: the answer's slope trains the policy."""

    def next_place(self, state, sample, generator):
        mean = self.place(state if self.context is not None else state.detach())
        place = mean + self.spread * torch.empty_like(mean).normal_(generator=generator)
        far = (place.detach() - mean).square().sum(-1)
        density = -far / (2 * self.spread**2) - math.log(2 * math.pi * self.spread**2)
        return place, density, self.baseline(state)


class StateAttached(recurrent.RecurrentAttention):
    """REINFORCE trains core and glimpse too."""

    def next_place(self, state, sample, generator):
        place, density = recurrent.draw_location(self.place(state), self.spread, generator=generator)
        return place, density, self.baseline(state)


class BaselineAttached(recurrent.RecurrentAttention):
    """The baseline's error trains what it reads."""

    def next_place(self, state, sample, generator):
        place, density, _ = super().next_place(state, sample, generator)
        return place, density, state @ self.baseline.weight + self.baseline.bias


class LastRewarded(recurrent.RecurrentAttention):
    """After the last glimpse a place is drawn and rewarded, where nobody looks."""

    def forward(self, image, n_glimpses, **options):
        longer = super().forward(image, n_glimpses + 1, **options)
        return longer._replace(log_probability=longer.log_probability[:-1], location=longer.location[:-1])


def rewarded_through_baseline(seen, target):
    """The baseline within the policy's part is no constant."""
    found = recurrent.hybrid_loss(seen, target)
    policy = -((found.reward - seen.baseline) * seen.log_density).sum(0).mean()
    return found._replace(policy=policy)


def pushed_away(seen, target):
    found = recurrent.hybrid_loss(seen, target)
    return found._replace(policy=-found.policy)


def mean_over_steps(seen, target):
    found = recurrent.hybrid_loss(seen, target)
    return found._replace(policy=found.policy / len(seen.log_density))


def no_baseline(seen, target):
    return recurrent.hybrid_loss(seen._replace(baseline=0 * seen.baseline), target)


WRONG = {
    "location not detached": (check_who_is_trained, Attached, recurrent.hybrid_loss),
    "state not detached from the policy": (check_who_is_trained, StateAttached, recurrent.hybrid_loss),
    "baseline not detached from the state": (check_who_is_trained, BaselineAttached, recurrent.hybrid_loss),
    "baseline trained by the policy": (
        check_who_is_trained,
        recurrent.RecurrentAttention,
        rewarded_through_baseline,
    ),
    "last location rewarded": (check_policy_slope, LastRewarded, recurrent.hybrid_loss),
    "rewards push away": (check_policy_slope, recurrent.RecurrentAttention, pushed_away),
    "mean over the steps": (check_policy_slope, recurrent.RecurrentAttention, mean_over_steps),
    "no baseline": (check_policy_slope, recurrent.RecurrentAttention, no_baseline),
}


@pytest.mark.parametrize(("check", "kind", "loss"), WRONG.values(), ids=WRONG)
def test_wrong_models_are_rejected(check, kind, loss):
    with pytest.raises(AssertionError):
        check(kind, loss)


@pytest.mark.parametrize("kind", [Attached, StateAttached, BaselineAttached])
def test_these_look_as_the_right_one_does(kind):
    """They differ in what they are trained by, and in nothing that a forward pass shows."""
    close(
        model(kind)(images(), STEPS, generator=seeded()).location, model()(images(), STEPS, generator=seeded()).location
    )
