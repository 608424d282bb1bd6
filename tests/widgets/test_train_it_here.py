"""TrainItHere: its gradients against attnlib's autograd, what its presets promise, and its page.

test_widgets*.py has the rest.
"""

import random
from functools import cache

import pytest
import torch
from browser import started_from
from drawn import arithmetic, draw, found, mutated, text

from attnlib.widgets import TrainItHere, learner
from attnlib.widgets.learner import BROKEN, Batch, How, Learner, Sizes, fitting
from attnlib.widgets.text import number, share
from attnlib.widgets.train_it_here import ALIGNING, DRAWING, PRESETS

FILES = ("chance", "learner", "learning", "reversal")
call = arithmetic(*FILES)
WAYS = [
    how
    for score in ("additive", "dot", "scaled dot")
    for attention in ("soft", "hard")
    for reach in ("everywhere", "window")
    for broken in BROKEN
    for how in [How(score, attention, reach, broken)]
    if broken in fitting(how)
]
# Two steps from given numbers: the losses, the slopes before each, the numbers after them.
STEPS = """(cases) => cases.map(({ sizes, numbers, how, batches, baseline, rate }) => {
    const all = math.training(sizes, 1);
    Object.assign(all, { model: math.modelOf(sizes, numbers), baseline });
    const slopes = batches.map((each) => {
        math.learn(all, each, how, rate);
        return Array.from(all.model.slopes);
    });
    return { losses: all.losses, rights: all.rights, slopes, numbers: Array.from(all.model.numbers) };
})"""


def rows_of(rng, sizes, count):
    """Rows of any letters and lengths from one up, and the numbers that hard attention draws by."""
    lengths = [rng.randint(1, sizes.longest) for _ in range(count)]

    def fill(values, padding):
        return values + [padding] * (sizes.longest - len(values))

    letters = [fill([rng.randrange(sizes.letters) for _ in range(n)], sizes.letters) for n in lengths]
    draws = [fill([rng.random() for _ in range(n)], 0.0) for n in lengths]
    return Batch(torch.tensor(letters), torch.tensor(lengths), torch.tensor(draws, dtype=torch.float64))


def as_page(rows):
    each = [{"letters": letters, "length": n} for letters, n in zip(*(part.tolist() for part in rows[:2]), strict=True)]
    return {"rows": each, "draws": rows.draws.tolist()}


@cache
def cases():
    """Random sizes, numbers and rows for each way in turn: for the page, and what attnlib makes of them."""
    rng, given, wanted = random.Random(0), [], []
    for i in range(3 * len(WAYS)):
        how = WAYS[i % len(WAYS)]
        letters, longest, size, hidden = (rng.randint(low, 7) for low in (2, 2, 1, 1))
        sizes = Sizes(letters, longest, 1, size, hidden, half_width=rng.randint(1, 3))
        model = Learner(sizes, 1)
        with torch.no_grad():
            for part in model.parameters():
                part.copy_(torch.tensor([rng.gauss(0, 1) for _ in range(part.numel())]).view(part.shape))
        batches = [rows_of(rng, sizes, rng.randint(1, 4)) for _ in range(2)]
        baseline, rate = rng.gauss(-1, 1), 10 ** rng.uniform(-3, -1)
        names = {"letters": letters, "longest": longest, "shortest": 1, "size": size, "hidden": hidden}
        given.append({"sizes": {**names, "halfWidth": sizes.half_width}, "numbers": flat(model), "how": how._asdict(),
                      "batches": [as_page(rows) for rows in batches], "baseline": baseline, "rate": rate})  # fmt: skip
        wanted.append(trained(model, how, batches, baseline, rate))
    return given, wanted


def flat(model, of=lambda part: part):
    return torch.cat([of(part).detach().flatten() for part in model.parameters()]).tolist()


def trained(model, how, batches, baseline, rate):
    average = learner.baselines.MovingAverage().double()
    average.value = torch.tensor(baseline, dtype=torch.float64)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    made = {"losses": [], "rights": [], "slopes": []}
    for rows in batches:
        loss, right = model.loss(rows, how, average.value)
        optimiser.zero_grad()
        loss.backward()
        made["losses"].append(loss.item())
        made["rights"].append(right / int(rows.length.sum()))
        made["slopes"].append(flat(model, lambda part: torch.zeros_like(part) if part.grad is None else part.grad))
        optimiser.step()
        average(-loss.detach()[None])
    return made | {"numbers": flat(model)}


def gaps(actual, wanted):
    """The largest gap of each part, over all cases."""

    def far(one, two):
        return (torch.tensor(one) - torch.tensor(two)).abs().max().item()

    return {name: max(far(a[name], b[name]) for a, b in zip(actual, wanted, strict=True)) for name in wanted[0]}


# ------------------------------------------------------------------------------------------------- its arithmetic


@pytest.fixture(autouse=True)
def _exact():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_gradients_are_those_of_attnlib(record_property):
    """Every way of the network, from random numbers: losses, slopes and two steps of Adam."""
    given, wanted = cases()
    found = gaps(call(STEPS, given), wanted)
    record_property("measured", f"{max(found.values()):.1e} largest gap to attnlib's autograd  TrainItHere")
    assert max(found.values()) < 1e-6  # Adam makes a step of the smallest slope, and of its rounding


MUTANTS = {
    "no derivative of tanh": ("learning", "(broken === \"no tanh\" ? 1 : 1 - inner[k] * inner[k])", "1"),
    "a softmax whose weights are apart": ("learning", "(slopes[k] - mean)", "slopes[k]"),
    "a centre that is half as quick": ("learning", "* 4 * (s - centre)", "* 2 * (s - centre)"),
    "keys that are no values": ("learning", "keyBack[s * size + j] += weight * back[t * size + j];", ""),
    "rewards without a baseline": ("learning", "+ letter]) - baseline)", "+ letter]))"),
    "padding that is seen": ("learner", "s >= visible ||", ""),
    "a scale on both": ("learner", 'score === "scaled dot" &&', ""),
    "Adam without its correction": ("learning", "/ first /", "/"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_gradient_is_noticed(name, tmp_path):
    given, wanted = cases()
    wrong = arithmetic(*FILES, folder=mutated(tmp_path, *MUTANTS[name]))
    assert not max(gaps(wrong(STEPS, given), wanted).values()) < 1e-6


def test_start_rows_and_draws_are_those_of_python():
    sizes = Sizes()
    for seed in (0, 1, 7, 2**31 - 1):
        made = call(
            """(seed) => ({ numbers: Array.from(math.started(math.SIZES, seed).numbers),
                shown: math.example(math.SIZES, seed),
                batches: [0, 1, 2999].map((step) => math.batch(math.SIZES, seed, step)) })""",
            seed,
        )
        assert made["numbers"] == flat(Learner(sizes, seed))
        assert made["shown"] == as_page(learner.example(sizes, seed))["rows"][0]
        for step, page in zip((0, 1, 2999), made["batches"], strict=True):
            rows = learner.batch(sizes, seed, step)
            wanted = as_page(rows)
            assert page["rows"] == wanted["rows"]
            assert page["draws"] == [each[:n] for each, n in zip(wanted["draws"], rows.length.tolist(), strict=True)]


def test_rows_are_of_all_lengths_and_letters():
    sizes = Sizes()
    all_ = [learner.batch(sizes, 1, step) for step in range(100)]
    lengths = torch.cat([rows.length for rows in all_])
    letters = torch.cat([rows.letters for rows in all_])
    assert set(lengths.tolist()) == set(range(sizes.shortest, sizes.longest + 1))
    shares = letters[letters < sizes.letters].bincount() / (letters < sizes.letters).sum()
    assert (shares - 1 / sizes.letters).abs().max() < 0.01
    assert ((letters == sizes.letters).sum(-1) == sizes.longest - lengths).all()


def test_a_row_with_no_weight_draws_nothing_and_a_number_of_one_the_last():
    at = """(draws) => {
        const [model, shown] = [math.started(math.SIZES, 1), math.example(math.SIZES, 1)];
        return math.forward(model, shown, { attention: "hard" }, draws).places;
    }"""
    assert call(at, [0.0] * 6) == [0] * 6
    assert call(at, [1 - 2**-53] * 6) == [5] * 6


# --------------------------------------------------------------------------------------- what the presets say, is so

PROMISED = """(runs) => runs.map(({ state, steps, mended = {} }) => {
    const all = math.training(math.SIZES, state.seed);
    const shown = math.example(math.SIZES, state.seed);
    const look = (broken) => {
        const { weights } = math.forward(all.model, shown, { ...state, broken });
        return Array.from({ length: 6 }, (_, t) => Array.from(weights.subarray(8 * t, 8 * t + 8)));
    };
    const seen = []; // the map at every tenth step
    let broken = state.broken;
    for (let k = 0; k < steps; k += 1) {
        broken = mended[k] ?? broken;
        if (k % 10 === 0) seen.push(look(broken));
        math.learn(all, math.batch(math.SIZES, state.seed, k), { ...state, broken }, state.rate);
    }
    const rows = look(broken);
    return { losses: all.losses, rights: all.rights, rows, aims: rows.map((each, t) => each[5 - t]), seen };
})"""


PROMISES = {
    "before": ("Backwards", 0, {}, {}),
    "after": ("Backwards", 200, {}, {}),
    "linear": ("The tanh left out", 500, {}, {}),
    "mended": ("The tanh left out", 400, {}, {150: "nothing"}),
    "large": ("A product without its scale", 500, {}, {}),
    "late scale": ("A product without its scale", 900, {}, {500: "nothing"}),
    "scaled": ("A product without its scale", 500, {"broken": "nothing"}, {}),
    "columns": ("Softmax over the queries", 200, {}, {}),
    "stuck": ("Softmax over the queries", 500, {"score": "scaled dot"}, {}),
    "padded": ("The mask dropped", 200, {}, {}),
    "unmasked": ("A product without its scale", 325, {"broken": "nothing", "seed": 1}, {300: "no mask"}),
    "drawn": ("One letter drawn", 500, {}, {}),
    "soft": ("One letter drawn", 200, {"attention": "soft"}, {}),
    "window": ("A window that finds its place", 200, {}, {}),
    "forms": ("The alignment forms", 200, {}, {}),
    "alike": ("Without the tanh", 500, {}, {}),
    "product": ("A product in its place", 200, {}, {}),
    "mean": ("The mean", 300, {}, {}),
    "place": ("One place drawn", 500, {}, {}),
    "hurry": ("Drawn in a hurry", 310, {}, {}),
    "hurried mean": ("Drawn in a hurry", 200, {"attention": "soft"}, {}),
}
STATES = {each["name"]: each["state"] for each in [*PRESETS, *ALIGNING, *DRAWING]}


@pytest.fixture(scope="module")
def promised():
    """What comes of each preset after some steps, with other settings or with something mended at a step."""
    cases = [
        {"state": TrainItHere(**{**STATES[name], **changes}).state(), "steps": steps, "mended": mended}
        for name, steps, changes, mended in PROMISES.values()
    ]
    return dict(zip(PROMISES, call(PROMISED, cases), strict=True))


def late(run, at=None):
    """The share of right letters in the last 25 steps."""
    return sum(run["rights"][:at][-25:]) / 25


def first(run):
    """When nine letters of ten are right."""
    return next(k for k in range(25, 500) if late(run, k) > 0.9)


def jumps(run):
    return torch.tensor(run["losses"])[-50:].diff().abs().mean()


def test_presets_come_to_what_they_say(promised):
    before, after, window = (promised[name] for name in ("before", "after", "window"))
    assert max(max(row) for row in before["rows"]) < 0.4
    for run in (after, window):
        assert min(run["aims"]) > 0.5
        assert late(run) > 0.99
    assert all(sum(weight > 0 for weight in row) <= 5 for row in window["rows"])
    assert first(promised["drawn"]) > 2 * first(promised["soft"])
    assert first(promised["drawn"]) > 1.5 * first(after)
    assert jumps(promised["drawn"]) > 10 * jumps(after)


def test_what_is_broken_does_what_the_presets_say(promised):
    linear, large = promised["linear"], promised["large"]
    assert max(max(column) - min(column) for column in zip(*linear["rows"], strict=True)) < 1e-12
    assert all(0.3 < late(linear, at) < 0.4 for at in (150, 300, 500))
    assert late(promised["mended"]) > 0.99
    lost = [t for t in range(6) if large["aims"][t] < 0.01]
    assert len(lost) == 2
    assert [t for t in range(6) if promised["late scale"]["aims"][t] < 0.01] == lost
    assert late(large) < late(promised["late scale"]) + 0.1 < 0.95
    assert min(promised["scaled"]["aims"]) > 0.5
    assert late(promised["scaled"]) > 0.99
    columns = [sum(column) for column in zip(*promised["columns"]["rows"], strict=True)]
    assert columns == pytest.approx([1] * 6 + [0] * 2)
    assert late(promised["columns"]) > 0.99
    assert late(promised["stuck"]) < 0.8
    assert late(promised["padded"]) > 0.99
    assert all(sum(row[6:]) < 0.05 for row in promised["padded"]["rows"])
    assert first(promised["padded"]) < 1.25 * first(promised["after"])
    assert late(promised["unmasked"], 300) > 0.99
    assert 0.8 < late(promised["unmasked"]) < 0.95


def found_at(run):
    """When each row of the map has half of its weight on its circle, to ten steps."""
    return [next(10 * k for k, rows in enumerate(run["seen"]) if rows[t][5 - t] > 0.5) for t in range(6)]


def test_the_alignment_forms_as_the_page_on_rnnsearch_says(promised):
    forms, alike, product = (promised[name] for name in ("forms", "alike", "product"))
    assert [sum(each[t][5 - t] > 0.5 for t in range(6)) for each in (forms["seen"][k] for k in (5, 10))] == [0, 6]
    assert late(forms, 50) > 0.35
    assert all(0.3 < late(alike, at) < 0.4 for at in (150, 300, 500))
    assert max(max(column) - min(column) for column in zip(*alike["rows"], strict=True)) < 1e-12
    assert 25 <= first(product) - first(forms) <= 35
    ends = found_at(product)
    assert max(ends[0], ends[5]) < min(ends[1:5])
    assert late(product) > 0.99


def test_soft_and_drawn_learn_as_the_page_on_them_says(promised):
    mean, place, hurry = (promised[name] for name in ("mean", "place", "hurry"))
    assert first(mean) == 53
    assert 2.5 < first(place) / first(mean) < 3.6
    assert late(mean) > 0.99
    assert max(mean["losses"][100:]) < 0.01
    assert jumps(place) > 10 * jumps(mean)
    (at_ten,) = {max(range(8), key=row.__getitem__) for row in hurry["seen"][1]}
    assert min(row[at_ten] for row in hurry["seen"][1]) > 0.9
    assert 0.2 < late(hurry) < 0.3
    assert late(promised["hurried mean"], 100) > 0.9


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_page_shows_the_numbers_of_the_library():
    history = [{"until": 10, "broken": "nothing"}, {"until": 20, "broken": "no tanh"}]
    widgets = [
        TrainItHere(),
        TrainItHere(step=1, seed=5),
        TrainItHere(step=30, history=history, broken="no mask"),
        TrainItHere(step=30, score="scaled dot", attention="hard", reach="window", rate=0.05),
    ]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        told, run = text(found(view, "attnlib-caption")[0]), widget.run()
        (picture,) = found(view, "attnlib-maps-map")
        assert picture.get("aria-valuetext").partition(": ")[2].partition(",")[0] == share(max(run.weights[0]))
        written = [text(each)[0] for each in found(view, "attnlib-steps-trail")[0]]
        assert written == ["ABCDEFGH"[letter] for letter in run.written]
        (curve,) = (part.find("polyline") for part in found(view, "attnlib-train-line"))
        assert len(curve.get("points").split()) == widget.step
        if widget.step:
            loss, right = (sum(all_[-25:]) / len(all_[-25:]) for all_ in (run.losses, run.rights))
            assert f"Step {widget.step} " in told
            assert f"loss {number(loss)}, {number(100 * right, 0)}% of the letters right" in told
            assert f"loss {number(loss)}, {number(100 * right, 0)}% of the letters right" in widget.summary()
        else:
            assert told.startswith("Before the first step; guessing has a loss of 2.08 and 13% right.")
    bands = [text(each) for each in found(draw(widgets[2])[0], "attnlib-train-bands")[0]]
    assert len(bands) == 2  # what was broken twice


def test_a_history_that_cannot_be_is_refused():
    def span(until, broken="nothing"):
        return {"until": until, "broken": broken}

    bad = [
        {"history": [span(10)]},
        {"history": [span(9), span(9)], "step": 9},
        {"history": [span(9), span(5)], "step": 9},
        {"score": "dot", "broken": "no tanh"},
        {"broken": "no scale"},
        {"attention": "hard", "broken": "wrong axis"},
        {"reach": "window", "history": [span(5, "wrong axis")], "step": 9},
        {"step": 3001},
        {"rate": 0.2},
    ]
    for state in bad:
        with pytest.raises(ValueError, match=r"(history|broken|step|rate) must "):
            TrainItHere(**state)


def test_turning_and_mending():
    widget = TrainItHere()
    widget.turn("no mask")
    assert (widget.history, widget.broken) == ([], "no mask")
    widget.step = 5
    widget.turn("nothing")
    widget.turn("no tanh")  # at the same step: one change
    assert (widget.history, widget.broken) == ([{"until": 5, "broken": "no mask"}], "no tanh")
    with pytest.raises(ValueError, match="history must go up to step 0"):
        widget.step = 0


# ----------------------------------------------------------------------------------------------- the page, in the hand

# Frames that come when they are asked for, and a clock that goes on by so many ms whenever it is read.
BY_HAND = """(tick) => {
    let [clock, asked] = [0, []];
    performance.now = () => (clock += tick);
    window.requestAnimationFrame = (draw) => asked.push(draw);
    window.play = (frames) => {
        for (let i = 0; i < frames; i += 1) {
            const all = asked;
            asked = [];
            clock += 16;
            for (const draw of all) draw(clock);
        }
        return asked.length;
    };
}"""


@pytest.fixture
def stage(page):
    """A widget whose frames come one by one; what its status said is in ``said``."""

    def open_page(widget, tick=0.01, **media):
        page.emulate_media(**media)
        page.set_content('<html lang="en"><body><main></main></body></html>')
        page.evaluate(BY_HAND, tick)
        page.evaluate(
            """(html) => {
                document.querySelector("main").append(document.createRange().createContextualFragment(html));
                window.said = [];
                const status = document.querySelector("[role=status]");
                new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true });
            }""",
            widget if isinstance(widget, str) else widget._repr_html_(),
        )
        page.evaluate("() => new Promise((done) => setTimeout(done, 60))")  # observers have been told
        page.evaluate("() => { play(2); }")
        return page

    return open_page


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click(force=True)  # whether or not it says that it does nothing
    page.evaluate("() => { play(2); }")


def step(page):
    told = page.locator(".attnlib-caption").inner_text()
    return 0 if told.startswith("Before") else int(told.split()[1].replace(",", ""))


def caption(widget):
    return text(found(draw(widget)[0], "attnlib-caption")[0])


@pytest.mark.browser
def test_it_learns_breaks_and_mends_as_in_python(stage):
    """Started, broken, mended and paused in the page: the numbers are those of the library for the same history."""
    page = stage(TrainItHere())
    press(page, "One step")
    assert step(page) == 1
    press(page, "Start")
    page.evaluate("() => { play(20); }")
    breaking = page.get_by_label("Break it")
    history = []
    for broken in ("no tanh", "nothing", "no mask"):
        before = page.get_by_label("Break it").input_value()
        breaking.select_option(broken)
        page.evaluate("() => { play(10); }")
        history.append(before)
    press(page, "Pause")
    at = step(page)
    assert at > 50
    assert history == ["nothing", "no tanh", "nothing"]
    spans = page.evaluate(
        "() => [...document.querySelectorAll('.attnlib-train-bands rect')]"
        ".map((each) => ['x', 'width'].map((name) => Number(each.getAttribute(name))))"
    )
    (one, one_wide), (two, two_wide) = spans
    *ends, last = (round((place - 44) / (428 - 44) * 200) for place in (one, one + one_wide, two, two + two_wide))
    assert last == at
    widget = TrainItHere(history=[{"until": until, "broken": was} for until, was in zip(ends, history, strict=True)],
                         broken="no mask", step=at)  # fmt: skip
    assert page.locator(".attnlib-caption").inner_text() == caption(widget)
    press(page, "Reset")
    assert step(page) == 0
    assert started_from(page) == "Backwards"


@pytest.mark.browser
def test_the_words_of_a_preset_stay_while_it_learns_and_go_when_it_is_broken(stage):
    page = stage(TrainItHere())
    for name in ("Start", "Pause", "One step", "Start again"):
        press(page, name)
        assert started_from(page) == "Backwards", name
    page.get_by_label("Break it").select_option("no mask")
    page.evaluate("() => { play(2); }")
    assert started_from(page) == ""


@pytest.mark.browser
def test_other_settings_begin_anew_and_what_cannot_be_broken_is_mended(stage):
    page = stage(TrainItHere(preset="The tanh left out"))
    breaking = page.get_by_label("Break it")
    offered = breaking.locator("option").all_inner_texts()
    assert offered == ["nothing", "the tanh left out", "the mask dropped", "softmax over the queries"]
    press(page, "Start")
    page.evaluate("() => { play(20); }")
    assert step(page) > 20
    page.get_by_label("Score").select_option("scaled dot")
    page.evaluate("() => { play(2); }")
    assert breaking.input_value() == "nothing"
    assert step(page) < 10
    page.get_by_label("Looks", exact=True).select_option("window")
    page.evaluate("() => { play(2); }")
    assert breaking.locator("option").all_inner_texts() == ["nothing", "the scale left out", "the mask dropped"]
    for name, kind in (("Attention", "hard"), ("Score", "dot")):
        page.get_by_label(name).select_option(kind)
        page.evaluate("() => { play(30); }")
        assert page.locator("[role=alert]:visible").count() == 0


@pytest.mark.browser
def test_a_frame_takes_as_many_steps_as_the_pace_allows(stage):
    page = stage(TrainItHere(), 0.001)
    press(page, "Start")
    page.evaluate("() => { play(8); }")
    press(page, "Pause")
    assert 12 <= step(page) <= 44


@pytest.mark.browser
def test_where_a_row_fills_a_frame_a_step_is_spread_over_frames(stage):
    """Sixteen rows make a step; what is broken in the middle of one is broken in all of it; same numbers."""
    page = stage(TrainItHere(), 7.0)
    press(page, "Start")
    page.evaluate("() => { play(10); }")
    assert step(page) == 0
    page.evaluate("() => { play(70); }")
    assert 3 <= step(page) <= 5
    before = step(page)
    page.get_by_label("Break it").select_option("no tanh")
    page.evaluate("() => { play(80); }")
    press(page, "Pause")
    at = step(page)
    assert at > before
    began = float(page.locator(".attnlib-train-bands rect").get_attribute("x"))
    until = round((began - 44) / (428 - 44) * 200)
    assert before <= until <= before + 1
    history = [{"until": until, "broken": "nothing"}]
    widget = TrainItHere(history=history, broken="no tanh", step=at)
    assert page.locator(".attnlib-caption").inner_text() == caption(widget)


@pytest.mark.browser
def test_on_a_slow_phone_it_goes_on_and_can_be_paused(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.set_content('<html lang="en"><body><main></main></body></html>')
    page.evaluate(
        "(html) => document.querySelector('main').append(document.createRange().createContextualFragment(html))",
        TrainItHere()._repr_html_(),
    )
    start = page.get_by_role("button", name="Start", exact=True)
    start.wait_for()
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 6})
    start.click()
    learned = "document.querySelector('.attnlib-caption').textContent.startsWith('Step ')"
    page.wait_for_function(learned, polling=100)
    frames = page.evaluate(
        """async () => {
            const named = (name) => [...document.querySelectorAll("button")].find((each) => each.textContent === name);
            named("Pause").click();
            for (let frame = 1; ; frame += 1) {
                await new Promise(requestAnimationFrame);
                if (named("Start")) return frame;
            }
        }"""
    )
    assert frames <= 3


@pytest.mark.browser
def test_it_stops_out_of_sight_and_in_a_hidden_tab(stage):
    page = stage(TrainItHere())
    press(page, "Start")
    page.evaluate("() => { play(10); }")
    on = step(page)
    page.evaluate("() => { document.body.style.paddingTop = '9000px'; }")
    page.evaluate("() => new Promise((done) => setTimeout(done, 120))")
    assert page.evaluate("() => play(5)") == 0  # nothing more is asked for
    assert step(page) == on
    page.evaluate("() => { document.body.style.paddingTop = '0'; }")
    page.evaluate("() => new Promise((done) => setTimeout(done, 120))")
    page.evaluate("() => { play(5); }")
    assert step(page) > on
    on = step(page)
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    assert page.evaluate("() => play(5)") == 0
    assert step(page) == on
    page.evaluate(hide, False)
    page.evaluate("() => { play(5); }")
    assert step(page) > on


@pytest.mark.browser
def test_a_listener_hears_of_milestones_and_of_the_pause(stage):
    page = stage(TrainItHere())
    press(page, "Start")
    while step(page) < 120:
        page.evaluate("() => { play(10); }")
        if 50 <= step(page) < 100:
            page.wait_for_function("said.length === 1", polling=50)
    press(page, "Pause")
    page.wait_for_function("said.length >= 2", polling=50)
    page.evaluate("() => new Promise((done) => setTimeout(done, 700))")
    said = page.evaluate("said")
    assert said[0].startswith("Step 50 ")
    assert said[-1].startswith(f"Step {step(page)} ")
    assert len(said) <= 3


@pytest.mark.browser
def test_the_end_and_a_state_that_is_far_on(stage):
    """It comes to where the state is in slices, says so, and stops at the last step."""
    page = stage(TrainItHere(score="dot", step=40), 1.0)
    page.evaluate("() => { play(2); }")
    assert "of 40, catching up" in page.locator(".attnlib-caption").inner_text()
    page.evaluate("() => { play(160); }")
    assert page.locator(".attnlib-caption").inner_text() == caption(TrainItHere(score="dot", step=40))
    short = TrainItHere(score="dot")._repr_html_().replace('"most":3000', '"most":60')
    page = stage(short)
    press(page, "Start")
    page.evaluate("() => { play(60); }")
    assert step(page) == 60
    for name in ("Start", "One step"):
        assert page.get_by_role("button", name=name, exact=True).get_attribute("aria-disabled") == "true"
        press(page, name)
    assert step(page) == 60


@pytest.mark.browser
def test_in_calm_it_is_drawn_twice_a_second(stage):
    page = stage(TrainItHere(), reduced_motion="reduce")
    press(page, "Start")
    drawn = page.evaluate(
        """() => {
            let count = 0;
            const line = document.querySelector(".attnlib-train-line polyline");
            let before = line.getAttribute("points");
            for (let i = 0; i < 60; i += 1) {
                play(1);
                if (line.getAttribute("points") !== before) count += 1;
                before = line.getAttribute("points");
            }
            return count;
        }"""
    )
    assert 1 <= drawn <= 3
    press(page, "Pause")
    assert step(page) > 60


@pytest.mark.nightly
def test_what_the_page_on_scores_says_holds_for_ten_seeds():
    """Of the additive score: learned by 150 steps; a third without the tanh, learned again 25 after. Of the product:
    less without the scale, with it from step 300 on too, over the wrong axis, and when a mask is taken from it."""
    plans = {
        "learned": ("additive", "nothing", {}, 150),
        "linear": ("additive", "nothing", {200: "no tanh"}, 300),
        "again": ("additive", "nothing", {200: "no tanh", 300: "nothing"}, 325),
        "scale taken": ("scaled dot", "nothing", {300: "no scale"}, 400),
        "scale given": ("scaled dot", "no scale", {300: "nothing"}, 600),
        "no mask": ("additive", "no mask", {}, 150),
        "wrong axis": ("additive", "wrong axis", {}, 150),
        "product, wrong axis": ("scaled dot", "wrong axis", {}, 600),
        "mask taken": ("additive", "nothing", {200: "no mask"}, 225),
        "product, mask taken": ("scaled dot", "nothing", {300: "no mask"}, 325),
    }
    shares = {name: [] for name in plans}
    for seed in range(1, 11):
        cases = [
            {"state": TrainItHere(seed=seed, score=score, broken=broken).state(), "steps": steps, "mended": turns}
            for score, broken, turns, steps in plans.values()
        ]
        for name, run in zip(plans, call(PROMISED, cases), strict=True):
            shares[name].append(late(run))
    for name in ("learned", "again", "scale taken", "no mask", "wrong axis", "mask taken"):
        assert min(shares[name]) > 0.98, name
    assert 0.3 < min(shares["linear"]) <= max(shares["linear"]) < 0.4
    assert 0.7 < min(shares["scale given"]) <= max(shares["scale given"]) < 0.95
    assert 0.6 < min(shares["product, wrong axis"]) <= max(shares["product, wrong axis"]) < 0.75
    assert 0.8 < min(shares["product, mask taken"]) <= max(shares["product, mask taken"]) < 0.95


@pytest.mark.nightly
def test_what_two_more_pages_say_holds_for_ten_seeds():
    """An alignment that forms between steps 50 and 100, a product later and from its ends; a draw slower than the mean,
    and lost at a rate at which the mean learns."""
    plans = {
        "forms": ({}, 200),
        "product": ({"score": "scaled dot"}, 250),
        "mean": ({"rate": 0.03}, 200),
        "drawn": ({"attention": "hard", "rate": 0.03}, 600),
        "hurried mean": ({"rate": 0.1}, 200),
        "hurried": ({"attention": "hard", "rate": 0.1}, 300),
    }
    ratios, hurried = [], []
    for seed in range(1, 11):
        cases = [{"state": TrainItHere(seed=seed, **state).state(), "steps": steps} for state, steps in plans.values()]
        runs = dict(zip(plans, call(PROMISED, cases), strict=True))
        found = [sum(rows[t][5 - t] > 0.5 for t in range(6)) for rows in runs["forms"]["seen"]]
        assert found[5] <= 2
        assert found[10] >= 5
        assert late(runs["forms"], 50) > 0.3
        assert first(runs["product"]) > first(runs["forms"])
        ends = [max(rows[0][5], rows[5][0]) for rows in runs["product"]["seen"]]
        middle = [max(rows[2][3], rows[3][2]) for rows in runs["product"]["seen"]]
        assert next(k for k, most in enumerate(ends) if most > 0.5) < next(
            k for k, most in enumerate(middle) if most > 0.5
        )
        ratios.append(first(runs["drawn"]) / first(runs["mean"]))
        assert first(runs["hurried mean"]) < 150
        hurried.append(late(runs["hurried"]))
    *most, five, eight = sorted(ratios)
    assert 2.2 < most[0] < most[-1] < 3.2
    assert (round(five), round(eight)) == (5, 8)
    del hurried[7]  # the seed that the page shows
    assert (round(min(hurried), 2), round(max(hurried), 2)) == (0.19, 0.54)
