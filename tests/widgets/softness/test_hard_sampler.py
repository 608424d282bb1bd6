"""HardSampler: its numbers against attnlib, what its presets promise, its page. test_widgets*.py has the rest."""

import math
import random
import re

import pytest
import torch
from browser import frame
from drawn import arithmetic

from attnlib.distributions import softmax
from attnlib.softness import baselines, hard
from attnlib.widgets import HardSampler
from attnlib.widgets.softness.hard_sampler import MAX_DRAWS, PRESETS, checkpoints, reach_of, uniforms


def sampler(preset, **state):
    widget = HardSampler(preset=preset)
    widget.update(**state)
    return widget


# ----------------------------------------------------------------------------------------------------------- outputs


def test_numbers_are_those_of_the_known_generator():
    """Golden values of mulberry32 with seed 1; no seed gives a number outside [0, 1)."""
    assert uniforms(1, 2) == [0.6270739405881613, 0.002735721180215478]
    for seed in (0, 7, 2**31 - 1):
        numbers = torch.tensor(uniforms(seed, 4000))
        assert (numbers >= 0).all()
        assert (numbers < 1).all()
        assert abs(numbers.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 4000)


def test_exact_slope_is_that_of_the_bound():
    widget = HardSampler(logits=[0.3, -1.0, 1.2], rewards=[-1.0, -4.0, 0.5])
    logits = torch.tensor(widget.logits, dtype=torch.float64, requires_grad=True)
    bound = softmax(logits) @ torch.tensor(widget.rewards, dtype=torch.float64)
    (wanted,) = torch.autograd.grad(bound, logits)
    assert widget.exact == pytest.approx(wanted.tolist(), abs=1e-12)


@pytest.mark.parametrize("baseline", ["plain", "steadied"])
def test_estimates_are_those_of_the_library_draw_by_draw(baseline):
    """Through attnlib's own loss and its own moving average, one draw a batch."""
    widget = HardSampler(logits=[0.3, -1.0, 1.2], rewards=[-1.0, -4.0, 0.5], draws=50, seed=9)
    average, total = baselines.MovingAverage().double(), torch.zeros(3, dtype=torch.float64)
    for position in widget._run()["positions"]:
        logits = torch.tensor(widget.logits, dtype=torch.float64, requires_grad=True)
        reward = torch.tensor([widget.rewards[position]], dtype=torch.float64)
        before = average(reward) if baseline == "steadied" else 0.0
        loss = hard.reinforce_loss(reward, softmax(logits).log()[position : position + 1], baseline=before)
        total -= torch.autograd.grad(loss, logits)[0]
    assert getattr(widget, baseline) == pytest.approx((total / 50).tolist(), abs=1e-9)


def test_counts_come_to_the_weights():
    widget = HardSampler(logits=[1.0, 0.0, -1.5], draws=MAX_DRAWS)
    for count, weight in zip(widget.counts, widget.weights, strict=True):
        assert abs(count / MAX_DRAWS - weight) < 5 * math.sqrt(weight * (1 - weight) / MAX_DRAWS)
    assert sum(widget.counts) == MAX_DRAWS


def test_more_draws_keep_the_first():
    few, more = HardSampler(draws=20), HardSampler(draws=21)
    assert more._run()["positions"][:20] == few._run()["positions"]
    assert sum(abs(a - b) for a, b in zip(few.counts, more.counts, strict=True)) == 1


def test_no_draws():
    widget = HardSampler(draws=0)
    assert widget.counts == [0, 0, 0]
    assert widget.plain == widget.steadied == [0.0, 0.0, 0.0]
    assert not re.search("nan|inf", widget.picture().svg())


# ---------------------------------------------------------------------------------------- what the presets say, is so


def error(widget, name):
    j = "ABC".index(widget.component)
    return abs(getattr(widget, name)[j] - widget.exact[j])


def spread(widget, name):
    return widget._run()["single"][name][:, "ABC".index(widget.component)].std().item()


def test_preset_far_below_zero():
    widget = sampler("Far below zero")
    assert all(abs(reward + 6) <= 0.5 for reward in widget.rewards)
    assert spread(widget, "plain") > 2 * spread(widget, "steadied")
    assert error(widget, "steadied") < error(widget, "plain")


def test_preset_nothing_to_learn():
    widget = sampler("Nothing to learn", draws=1000)
    assert widget.exact == pytest.approx([0, 0, 0], abs=1e-12)
    single = widget._run()["single"]
    assert single["steadied"][200:].abs().max() < 1e-6
    assert single["plain"][200:].abs().max() > 0.5


def test_preset_rare_and_right():
    widget = sampler("Rare and right")
    assert widget.weights[2] < 0.02
    assert widget.counts[2] == 0
    assert widget.rewards[2] == max(widget.rewards)
    assert sampler("Rare and right", draws=1000).counts[2] > 0


def test_preset_rewards_about_zero():
    widget = sampler("Rewards about zero")
    mean = sum(weight * reward for weight, reward in zip(widget.weights, widget.rewards, strict=True))
    assert abs(mean) < 0.25
    assert spread(widget, "steadied") == pytest.approx(spread(widget, "plain"), rel=0.25)


def test_preset_three_draws():
    assert sampler("Three draws").draws == 3


# ----------------------------------------------------------------------------------------------------------- picture


@pytest.mark.parametrize("draws", [0, 1, 7, MAX_DRAWS])
@pytest.mark.parametrize("logits", [[0.8, 0.0, -0.8], [0.0, 0.0, 0.0], [1e3, 0.0, -1e3]])
def test_picture_is_drawn_for_every_state(draws, logits):
    text = HardSampler(draws=draws, logits=logits).picture().svg()
    assert not re.search("nan|inf", text)
    assert text.count("without a baseline") == 1


def test_checkpoints_hold_the_first_and_the_last():
    for draws in (1, 39, 41, 977, MAX_DRAWS):
        spots = checkpoints(draws)
        assert spots[:3] == list(range(1, min(draws, 3) + 1))
        assert spots[-1] == draws
        assert len(spots) < 170
    assert checkpoints(0) == []
    assert reach_of(0.0, [1, 2], [9.0, 9.0]) == 1.15
    assert reach_of(1.0, [1, 5], [9.0, 3.0]) == 2.3


# -------------------------------------------------------------------------------------------------------------- page


def told(value, digits=2):
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) else text


def cells(page):
    rows = page.locator(".attnlib-hard-numbers tbody tr").all()
    return [[cell.inner_text() for cell in row.locator("td").all()] for row in rows]


def expected_cells(widget):
    return [
        [
            f"{widget.weights[i]:.3f}",
            str(widget.counts[i]),
            told(widget.exact[i]),
            told(widget.plain[i]) if widget.draws else "–",
            told(widget.steadied[i]) if widget.draws else "–",
        ]
        for i in range(3)
    ]


@pytest.mark.browser
def test_page_shows_the_numbers_of_attnlib(show):
    page = show(HardSampler())
    for preset in PRESETS:
        page.get_by_label("Start from").select_option(preset["name"])
        frame(page)
        assert cells(page) == expected_cells(HardSampler(preset=preset["name"]))


@pytest.mark.browser
def test_buttons_draw_and_start_again(show):
    page = show(HardSampler(draws=0, seed=5))
    state = {"draws": 0, "seed": 5}
    presses = [("Draw one", "draws", 1), ("Draw 1,000", "draws", 1001), ("Draw 10", "draws", 1011)]
    presses += [("Other numbers", "seed", 6), ("Start again", "draws", 0), ("Draw one", "draws", 1)]
    for name, trait, value in presses:
        page.get_by_role("button", name=name, exact=True).click()
        frame(page)
        state[trait] = value
        assert cells(page) == expected_cells(HardSampler(**state)), name
    for _ in range(5):
        page.get_by_role("button", name="Draw 1,000").click()
        frame(page)
    assert cells(page) == expected_cells(HardSampler(draws=MAX_DRAWS, seed=6))
    assert page.get_by_role("button", name="Draw one").get_attribute("aria-disabled") == "true"


@pytest.mark.browser
def test_logits_move_by_keyboard_and_mouse(show):
    page = show(HardSampler(logits=[0.8, 0.0, -0.8], draws=200))
    handle = page.get_by_role("slider", name="Logit B")
    handle.focus()
    for key in ("ArrowUp", "ArrowRight", "Shift+ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    frame(page)
    assert handle.get_attribute("aria-valuetext") == "0.60"
    assert cells(page) == expected_cells(HardSampler(logits=[0.8, 0.6, -0.8], draws=200))
    page.keyboard.press("Home")
    frame(page)
    assert handle.get_attribute("aria-valuetext") == "−4.00"
    page.keyboard.press("End")
    frame(page)
    assert handle.get_attribute("aria-valuetext") == "4.00"
    box = handle.locator(".attnlib-target").bounding_box()
    board = page.locator(".attnlib-hard-bars").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, board["y"] + board["height"] * 148 / 300, steps=5)
    page.mouse.up()
    frame(page)
    assert float(handle.get_attribute("aria-valuetext").replace("−", "-")) == pytest.approx(0, abs=0.06)


def test_numbers_and_draws_are_those_of_python():
    call = arithmetic("hard")
    rng = random.Random(0)
    seeds = [0, 1, 2**31 - 1, *(rng.randrange(2**31) for _ in range(200))]
    actual = call("(seeds) => seeds.map((seed) => math.uniforms(seed, 25))", seeds)
    assert actual == [uniforms(seed, 25) for seed in seeds]
    weights = [0.0, 0.25, 0.75, 0.0]
    assert call("(w) => math.drawn(w, [0, 0.2499, 0.25, 0.999999])", weights) == [1, 1, 2, 2]
    assert call("() => math.drawn([0, 0], [0, 0.9])") == [-1, -1]


def test_slopes_are_those_of_attnlib(record_property):
    """A thousand rows of weights, some behind the mask: the bound's slope and each estimate."""
    rng = random.Random(1)
    cases = []
    for _ in range(1000):
        size = rng.randint(1, 7)
        logits = [-math.inf if rng.random() < 0.15 else rng.gauss(0, 2) for _ in range(size)]
        cases.append((logits, [rng.gauss(-2, 2) for _ in range(size)], rng.randrange(size), rng.gauss(0, 2)))
    weights = [softmax(torch.tensor(logits, dtype=torch.float64)).tolist() for logits, *_ in cases]
    actual = arithmetic("hard")(
        """(cases) => cases.map(([weights, rewards, ...draw]) =>
            [math.boundSlope(weights, rewards), math.reinforceSlope(weights, rewards, ...draw)])""",
        [(row, *case[1:]) for row, case in zip(weights, cases, strict=True)],
    )
    gaps = []
    for (row, rewards, position, baseline), (exact, estimate) in zip(cases, actual, strict=True):
        logits = torch.tensor(row, dtype=torch.float64, requires_grad=True)
        reward = torch.tensor(rewards, dtype=torch.float64)
        logs = hard.enumerate_positions(softmax(logits)).log_probability
        wanted = torch.autograd.grad(hard.bound(reward, logs), logits, retain_graph=True, materialize_grads=True)[0]
        gaps.append((torch.tensor(exact, dtype=torch.float64) - wanted).abs().max().item())
        if row[position] > -math.inf:
            draw = slice(position, position + 1)
            loss = hard.reinforce_loss(reward[draw], logs[draw], baseline=baseline)
            wanted = -torch.autograd.grad(loss, logits)[0]
            gaps.append((torch.tensor(estimate, dtype=torch.float64) - wanted).abs().max().item())
    record_property("measured", f"{max(gaps):.1e} largest gap to attnlib  slopes of hard attention")
    assert max(gaps) < 1e-6
