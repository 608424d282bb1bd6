"""HardSampler: its numbers against attnlib, what its presets promise, its arithmetic in the page, and its page.
test_widgets*.py has the rest."""

import math
import random
import re

import pytest
import torch
from browser import drag, frame, middle, overlapping, resize
from drawn import arithmetic, draw, found, rows, text

from attnlib.distributions import softmax
from attnlib.softness import baselines, hard
from attnlib.widgets import HardSampler
from attnlib.widgets.softness.hard_sampler import uniforms
from attnlib.widgets.text import number, share

MOST = 5000
call = arithmetic("hard")


def slopes(logits, rewards, positions, *, average=None):
    """What each draw makes of attnlib's own loss, one draw a batch."""
    made = []
    for position in positions:
        row = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
        reward = torch.tensor([rewards[position]], dtype=torch.float64)
        before = average(reward) if average else 0.0
        loss = hard.reinforce_loss(reward, softmax(row).log()[position : position + 1], baseline=before)
        made.append(-torch.autograd.grad(loss, row)[0])
    return torch.stack(made)


def drawn(widget):
    edges = torch.tensor(widget.weights, dtype=torch.float64).cumsum(0).tolist()
    return [sum(u >= edge for edge in edges[:2]) for u in uniforms(widget.seed, widget.draws)]


# ----------------------------------------------------------------------------------------------------------- outputs


def test_numbers_are_those_of_the_known_generator():
    """Golden values of mulberry32 with seed 1; no seed gives a number outside [0, 1)."""
    assert uniforms(1, 2) == [0.6270739405881613, 0.002735721180215478]
    for seed in (0, 7, 2**31 - 1):
        numbers = uniforms(seed, 4000)
        assert all(0 <= u < 1 for u in numbers)
        assert abs(sum(numbers) / 4000 - 0.5) < 5 * math.sqrt(1 / 12 / 4000)


def test_outputs_are_those_of_the_library_draw_by_draw():
    widget = HardSampler(logits=[0.3, -1.0, 1.2], rewards=[-1.0, -4.0, 0.5], draws=50, seed=9)
    logits = torch.tensor(widget.logits, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(softmax(logits) @ torch.tensor(widget.rewards, dtype=torch.float64), logits)
    assert widget.exact == pytest.approx(exact.tolist(), abs=1e-12)
    positions = drawn(widget)
    assert widget.counts == [positions.count(i) for i in range(3)]
    for name, average in (("plain", None), ("steadied", baselines.MovingAverage().double())):
        mean = slopes(widget.logits, widget.rewards, positions, average=average).mean(0)
        assert getattr(widget, name) == pytest.approx(mean.tolist(), abs=1e-9)


def test_counts_come_to_the_weights():
    widget = HardSampler(logits=[1.0, 0.0, -1.5], draws=MOST)
    for count, weight in zip(widget.counts, widget.weights, strict=True):
        assert abs(count / MOST - weight) < 5 * math.sqrt(weight * (1 - weight) / MOST)


def test_bounds():
    for state in ({"draws": MOST + 1}, {"seed": 2**31}, {"logits": [4.1, 0, 0]}, {"rewards": [0, 0, -8.1]}):
        with pytest.raises(ValueError, match=f"{next(iter(state))} must be .* to "):
            HardSampler(**state)


# ---------------------------------------------------------------------------------------- what the presets say, is so


def spreads(widget):
    """What the page says of single draws: the standard deviation without a baseline, and with one."""
    (view,) = draw(widget)
    told = re.search(r"spreads by ([\d.]+) .*, by ([\d.]+) with one", text(found(view, "attnlib-caption")[-1]))
    return float(told[1]), float(told[2])


def test_every_preset_stands_before_the_first_draw():
    for item in HardSampler().presets:
        assert HardSampler(preset=item["name"]).draws == 0, item["name"]


def test_preset_shares_and_weights():
    """The order of the shares is not that of the weights after three draws, and is after a hundred."""
    ordered = [HardSampler(preset="Shares and weights", draws=draws).counts for draws in (3, 100)]
    assert [counts == sorted(counts, reverse=True) for counts in ordered] == [False, True]


def test_preset_far_below_zero():
    widget = HardSampler(preset="Far below zero", draws=1011)  # one, ten, a thousand
    assert all(abs(reward + 6) <= 0.5 for reward in widget.rewards)
    plain, steadied = spreads(widget)
    assert plain > 2 * steadied
    j = "ABC".index(widget.component)
    assert abs(widget.steadied[j] - widget.exact[j]) < abs(widget.plain[j] - widget.exact[j])


def test_preset_nothing_to_learn():
    widget = HardSampler(preset="Nothing to learn", draws=300)
    assert len(set(widget.rewards)) == 1
    assert widget.exact == pytest.approx([0, 0, 0], abs=1e-12)
    average = baselines.MovingAverage().double()
    single = {
        steady: slopes(widget.logits, widget.rewards, drawn(widget), average=steady) for steady in (None, average)
    }
    assert single[None][200:].abs().max() > 0.5
    assert single[average][200:].abs().max() < 1e-6


def test_preset_rare_and_right():
    widget = HardSampler(preset="Rare and right", draws=11)
    assert widget.weights[2] < 0.02
    assert widget.counts[2] == 0
    assert widget.rewards[2] == max(widget.rewards)
    widget.draws = 1000
    assert widget.counts[2] > 0


def test_preset_rewards_about_zero():
    widget = HardSampler(preset="Rewards about zero", draws=1000)
    assert abs(sum(weight * reward for weight, reward in zip(widget.weights, widget.rewards, strict=True))) < 0.25
    plain, steadied = spreads(widget)
    assert steadied == pytest.approx(plain, rel=0.25)


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_numbers_draws_and_baselines_are_those_of_python():
    rng = random.Random(0)
    seeds = [0, 1, 2**31 - 1, *(rng.randrange(2**31) for _ in range(200))]
    assert call("(seeds) => seeds.map((seed) => math.uniforms(seed, 25))", seeds) == [
        uniforms(seed, 25) for seed in seeds
    ]
    assert call("(w) => math.drawn(w, [0, 0.2499, 0.25, 0.999999])", [0.0, 0.25, 0.75, 0.0]) == [1, 1, 2, 2]
    assert call("() => math.drawn([0, 0], [0, 0.9])") == [-1, -1]
    rewards, average = torch.randn(50, dtype=torch.float64), baselines.MovingAverage().double()
    wanted = [average(reward).item() for reward in rewards[:, None]] + [average.value.item()]
    assert call("(rewards) => math.movingAverage(rewards)", rewards.tolist()) == pytest.approx(wanted, abs=1e-12)


def test_slopes_are_those_of_attnlib(record_property):
    """A thousand rows of weights, some behind the mask: the bound's slope and each estimate."""
    rng = random.Random(1)
    cases = []
    for _ in range(1000):
        size = rng.randint(1, 7)
        logits = [-math.inf if rng.random() < 0.15 else rng.gauss(0, 2) for _ in range(size)]
        cases.append((logits, [rng.gauss(-2, 2) for _ in range(size)], rng.randrange(size), rng.gauss(0, 2)))
    weights = [softmax(torch.tensor(logits, dtype=torch.float64)).tolist() for logits, *_ in cases]
    actual = call(
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


def test_page_shows_the_numbers_of_attnlib():
    """Of each preset, and of states far out; the curves stay in the picture, end at the last draw and are not long."""
    widgets = [HardSampler(preset=item["name"]) for item in HardSampler().presets]
    for i, draws in enumerate((0, 1, 2, 40, 41, 977, MOST)):
        logits = [[0.0, 0.0, 0.0], [4.0, 0.5, -4.0]][i % 2]
        widgets.append(
            HardSampler(logits=logits, rewards=[-8.0, 2.0, 0.0], draws=draws, seed=i, component="ABC"[i % 3])
        )
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        parts = zip("ABC", widget.weights, widget.counts, widget.exact, widget.plain, widget.steadied, strict=True)
        assert rows(view) == [
            [
                letter,
                share(weight),
                str(count),
                number(exact),
                *(number(each) if widget.draws else "–" for each in means),
            ]
            for letter, weight, count, exact, *means in parts
        ]
        (marked,) = (row for row in view.iter("tr") if "data-shown" in row.attrib)
        assert text(marked)[0] == widget.component
        heights = [float(bar.get("height")) for bar in found(view, "attnlib-bar")]
        assert heights == pytest.approx([116 * count / max(widget.draws, 1) for count in widget.counts], abs=0.01)
        outlines = [float(bar.get("height")) for bar in found(view, "attnlib-bar-outline")]
        assert outlines == pytest.approx([116 * weight for weight in widget.weights], abs=0.01)
        for kind in ("attnlib-hard-plain", "attnlib-hard-steadied"):
            curve, dot = found(view, kind)
            places = [tuple(map(float, place.split(","))) for place in curve.get("points").split()]
            assert min(widget.draws, 40) <= len(places) < 170
            assert all(56 <= x <= 428 and 26 <= y <= 250 for x, y in places)
            assert widget.draws < 10 or places[-1][0] == 428
            if widget.draws:  # the last mean is a dot, so that one draw is seen
                assert dot.get("visibility") is None
                assert (float(dot.get("cx")), float(dot.get("cy"))) == places[-1]
            else:
                assert dot.get("visibility") == "hidden"


def test_page_says_what_was_drawn():
    """The number of draws in words, the latest of them, and which was the last."""
    widgets = [HardSampler(draws=draws, seed=5) for draws in (0, 1, 2, 1011)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        told, positions = text(found(view, "attnlib-caption")[-1]), drawn(widget)
        (ball,) = found(view, "attnlib-hard-ball")
        if not widget.draws:
            assert told.startswith("Nothing is drawn yet.")
            assert ball.get("visibility") == "hidden"
            assert "nothing drawn yet" in widget.summary()
            continue
        assert told.startswith({1: "1 draw: ", 2: "2 draws: ", 1011: "1,011 draws: "}[widget.draws])
        assert f"the latest: {' '.join('ABC'[i] for i in positions[-12:])}." in told
        assert ("1 draw:" if widget.draws == 1 else f"{widget.draws} draws:") in widget.summary()
        bars = found(view, "attnlib-bar")
        middle = [float(bar.get("x")) + float(bar.get("width")) / 2 for bar in bars]
        assert float(ball.get("cx")) == pytest.approx(middle[positions[-1]])


# ----------------------------------------------------------------------------------------------- the page, in the hand


def shown(page):
    return [row.split("\t")[2] for row in page.locator("tbody tr").all_inner_texts()]


@pytest.mark.browser
def test_buttons_draw_and_start_again(show):
    page = show(HardSampler(draws=0, seed=5))
    state = {"draws": 0, "seed": 5}
    presses = [("Draw one", "draws", 1), ("Draw 1,000", "draws", 1001), ("Draw 10", "draws", 1011)]
    presses += [("Other draws", "seed", 6), ("Start again", "draws", 0), ("Draw one", "draws", 1)]
    presses += [("Draw 1,000", "draws", min(1001 + 1000 * i, MOST)) for i in range(5)]
    for name, trait, value in presses:
        page.get_by_role("button", name=name, exact=True).click()
        frame(page)
        state[trait] = value
        assert shown(page) == [str(count) for count in HardSampler(**state).counts], name
    assert page.get_by_role("button", name="Draw one").get_attribute("aria-disabled") == "true"


@pytest.mark.browser
def test_a_preset_that_asks_for_draws_stays_while_one_draws(show):
    """Its line stands above the buttons, which so stay under the pointer; other numbers than its own end it."""
    page = show(HardSampler())
    starts, notice = page.get_by_label("Start from"), page.locator(".attnlib-notice")
    asked = {item["name"]: item["notice"] for item in HardSampler().presets}
    place = page.get_by_role("button", name="Draw 10", exact=True).bounding_box()
    for name in ("Draw one", "Draw 10", "Draw 1,000", "Start again"):
        page.get_by_role("button", name=name, exact=True).click()
        frame(page)
        assert asked[starts.input_value()] == notice.inner_text()
        assert page.get_by_role("button", name="Draw 10", exact=True).bounding_box() == place
    page.get_by_role("button", name="Other draws").click()
    frame(page)
    assert starts.input_value() == ""


@pytest.mark.browser
def test_logits_move_by_keyboard_and_mouse(show):
    page = show(HardSampler(logits=[0.8, 0.0, -0.8], draws=200))
    lever = page.get_by_role("slider", name="Logit B")
    lever.focus()
    for keys, value in ((("ArrowUp", "ArrowRight", "Shift+ArrowUp", "ArrowDown"), 0.6), (("End",), 4), (("Home",), -4)):
        for key in keys:
            page.keyboard.press(key)
        frame(page)
        assert lever.get_attribute("aria-valuetext") == number(value)
        assert shown(page) == [str(count) for count in HardSampler(logits=[0.8, value, -0.8], draws=200).counts]
    board = page.locator(".attnlib-chart").first.bounding_box()
    drag(page, *middle(lever), 30, -board["height"] * 52 / 300)
    assert float(lever.get_attribute("aria-valuetext").replace("−", "-")) == pytest.approx(0, abs=0.06)


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_no_word_lies_on_a_curve_and_the_ring_is_about_the_letter(show, width):
    page = show(HardSampler(draws=1011))
    resize(page, width)
    assert overlapping(page, ".attnlib-hard-words text", ".attnlib-hard-lines polyline") == []
    ring, letter = (page.locator(name).bounding_box() for name in (".attnlib-hard-ball", ".attnlib-bars [data-strong]"))
    for start, size in (("x", "width"), ("y", "height")):
        middles = [box[start] + box[size] / 2 for box in (ring, letter)]
        assert middles[0] == pytest.approx(middles[1], abs=2.5)
        assert letter[size] < ring[size]
