"""TrainItHere: its gradients against attnlib's autograd, what its presets promise, and its page. test_widgets*.py has the
rest."""

import random
import re
import shutil
from functools import cache

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, text

from attnlib.widgets import TrainItHere, learner
from attnlib.widgets.bundle import HERE
from attnlib.widgets.learner import BROKEN, Batch, How, Learner, Sizes, fitting
from attnlib.widgets.text import number, share
from book._tools import node

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
    fill = lambda values, padding: values + [padding] * (sizes.longest - len(values))
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
    far = lambda one, two: (torch.tensor(one).double() - torch.tensor(two).double()).abs().max().item()
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
    "a scale on both": ("learner", '(score === "scaled dot" &&', "("),
    "Adam without its correction": ("learning", "/ first /", "/"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_gradient_is_noticed(name, tmp_path):
    stem, right, wrong = MUTANTS[name]
    shutil.copytree(HERE / "js" / "math", tmp_path / "math")
    at = tmp_path / "math" / f"{stem}.js"
    source = at.read_text("utf-8")
    assert right in source
    at.write_text(source.replace(right, wrong), "utf-8")
    given, wanted = cases()
    files = [(tmp_path / "math" / f"{each}.js").as_uri() for each in FILES]
    script = f"const all = await Promise.all(data.at.map((each) => import(each)));\nconst math = Object.assign({{}}, ...all);\nreturn ({STEPS})(data.given);"
    actual = node.run(script, {"at": files, "given": given})
    assert not max(gaps(actual, wanted).values()) < 1e-6


def test_start_rows_and_draws_are_those_of_python():
    sizes = Sizes()
    for seed in (0, 1, 7, 2**31 - 1):
        made = call(
            """(seed) => ({ numbers: Array.from(math.started(math.SIZES, seed).numbers), shown: math.example(math.SIZES, seed),
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
    at = "(draws) => math.forward(math.started(math.SIZES, 1), math.example(math.SIZES, 1), {attention: 'hard'}, draws).places"
    assert call(at, [0.0] * 6) == [0] * 6
    assert call(at, [1 - 2**-53] * 6) == [5] * 6


# --------------------------------------------------------------------------------------- what the presets say, is so

PROMISED = """(runs) => runs.map(({ state, steps, mended = {} }) => {
    const all = math.training(math.SIZES, state.seed);
    let broken = state.broken;
    for (let k = 0; k < steps; k += 1) {
        broken = mended[k] ?? broken;
        math.learn(all, math.batch(math.SIZES, state.seed, k), { ...state, broken }, state.rate);
    }
    const shown = math.example(math.SIZES, state.seed);
    const { weights } = math.forward(all.model, shown, { ...state, broken });
    const rows = Array.from({ length: 6 }, (_, t) => Array.from(weights.subarray(8 * t, 8 * t + 8)));
    return { losses: all.losses, rights: all.rights, rows, aims: rows.map((each, t) => each[5 - t]) };
})"""


def state_of(preset, **changes):
    return TrainItHere(preset=preset, **changes).state()


def late(run, at=None):
    return sum(run["rights"][:at][-25:]) / 25


def test_presets_are_true():
    cases = [
        {"state": state_of("Backwards"), "steps": 0},
        {"state": state_of("Backwards"), "steps": 200},
        {"state": state_of("The tanh left out"), "steps": 1000},
        {"state": state_of("The tanh left out"), "steps": 700, "mended": {300: "nothing"}},
        {"state": state_of("A product without its scale"), "steps": 500},
        {"state": state_of("A product without its scale"), "steps": 1500, "mended": {500: "nothing"}},
        {"state": state_of("A product without its scale", broken="nothing"), "steps": 500},
        {"state": state_of("Softmax over the queries"), "steps": 200},
        {"state": state_of("Softmax over the queries", score="scaled dot"), "steps": 1000},
        {"state": state_of("The mask dropped"), "steps": 200},
        {"state": state_of("One letter drawn"), "steps": 1000},
        {"state": state_of("A window that finds its place"), "steps": 300},
    ]
    before, after, linear, mended, large, given_back, scaled, columns, stuck, padded, drawn, window = call(
        PROMISED, cases
    )
    assert max(max(row) for row in before["rows"]) < 0.4
    assert min(after["aims"]) > 0.5
    assert late(after) > 0.99
    assert max(max(column) - min(column) for column in zip(*linear["rows"], strict=True)) < 1e-12
    assert all(0.3 < late(linear, at) < 0.4 for at in (200, 500, 1000))
    assert late(mended) > 0.99
    wrong = [t for t in range(6) if large["aims"][t] < 0.05]
    assert len(wrong) == 2
    assert all(max(large["rows"][t]) > 0.9 for t in wrong)
    assert [t for t in range(6) if given_back["aims"][t] < 0.05] == wrong
    assert late(given_back) < 0.9
    assert min(scaled["aims"]) > 0.5
    assert late(scaled) > 0.99
    assert all(sum(column) == pytest.approx(1) or sum(column) == 0 for column in zip(*columns["rows"], strict=True))
    assert late(columns) > 0.99
    assert late(stuck) < 0.8
    assert late(padded) > 0.99
    assert all(sum(row[6:]) < 0.02 for row in padded["rows"])
    first = lambda run: next(k for k in range(25, 1000) if late(run, k) > 0.9)
    assert first(drawn) > 2 * first(after)
    jumps = lambda run: torch.tensor(run["losses"])[-100:].diff().abs().mean()
    assert jumps(drawn) > 10 * jumps(after)
    assert min(window["aims"]) > 0.5
    assert late(window) > 0.99
    for row in window["rows"]:
        assert sum(weight > 0 for weight in row) <= 5


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
    span = lambda until, broken="nothing": {"until": until, "broken": broken}
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
