"""CostCalculator: its arithmetic, what its presets promise, and its page. test_widgets*.py has the rest."""

import json
import random

import pytest
from browser import frame, resize
from drawn import arithmetic, draw, rows, text

from attnlib.book import costs
from attnlib.widgets import CostCalculator, KernelSmoother
from attnlib.widgets.frontiers.cost_calculator import LENGTHS
from book._tools import toc

MEASURED = json.loads((toc.ROOT / "book/experiments/results/costs/metrics.json").read_text("utf-8"))


def calculator(preset, **state):
    widget = CostCalculator(preset=preset)
    widget.update(**state)
    return widget


def test_arithmetic_is_that_of_attnlib():
    rng, cases, wanted = random.Random(0), [], []
    for _ in range(200):
        name = rng.choice(list(costs.MECHANISMS))
        size = {"heads": rng.randint(1, 16), "width": rng.randint(1, 256), "window": rng.randint(1, 500)}
        options = {**size, "both": rng.random() < 0.5, "size": rng.choice([2, 4])}
        length, memory = rng.randint(1, 10**6), 10 ** rng.uniform(3, 12)
        found = costs.counted(name, length=length, **options)
        constants = [rng.random() for _ in range(3)]
        cases.append(
            [costs.MECHANISMS[name]._asdict(), {**options, "both": int(options["both"]), "block": costs.BLOCK}]
        )
        cases[-1] += [length, constants, memory, costs.MOST]
        wanted.append([*found, costs.time(found, constants), costs.longest(name, memory, **options)])
    made = arithmetic("costs")(
        """(cases) => cases.map(([kind, options, length, constants, memory, most]) => {
            const found = math.counted(kind, { ...options, length });
            const { products, numbers, held, steps } = found;
            const rest = [math.time(found, constants), math.longest(kind, memory, options, most)];
            return [products, numbers, held, steps, ...rest];
        })""",
        cases,
    )
    for one, other in zip(made, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def test_where_it_holds_is_that_of_attnlib():
    rng = random.Random(1)
    cases = [[rng.randint(0, 3) == 0 for _ in range(17)] for _ in range(200)] + [[False] * 17, [True] * 17]
    made = arithmetic("costs")("(cases) => cases.map((holds) => math.where((n) => holds[n], [1, 2, 4, 8, 16]))", cases)
    wanted = [costs.where(holds.__getitem__, [1, 2, 4, 8, 16]) for holds in cases]
    assert [[tuple(run) for run in runs] for runs in made] == wanted
    assert [] in wanted
    assert {len(runs) for runs in wanted} == {0, 1, 2, 3}


def test_preset_a_page_of_text():
    widget = calculator("A page of text")
    products, time, _ = (runs and runs[-1] for runs in widget.crossings)
    assert 2 * products[0] < time[0]  # fewer multiply-adds long before less time
    assert (products[1], time[1]) == (costs.MOST, widget.between[1])


def test_preset_one_matrix_two_routines():
    widget = calculator("One matrix, two routines")
    fused, matrix = (widget.cost(name, widget.length) for name in ("softmax (fused)", "softmax (matrix)"))
    assert 6 * fused[0] == 7 * matrix[0]
    assert fused[2] < matrix[2] / 20
    assert not {widget.first, widget.second} & set(widget.extrapolated)
    ratios = {}  # measured, both passes, by length
    for size, ways in MEASURED["seconds"].items():
        fused, matrix = (ways[name].get("both") for name in ("softmax (fused)", "softmax (matrix)"))
        if fused and matrix:
            ratios.setdefault(json.loads(size)[0], []).append(min(fused) / min(matrix))
    large = [ratio for length, found in ratios.items() if length >= 4096 for ratio in found]
    notice = next(each["notice"] for each in widget.presets if each["name"] == widget.preset)
    assert f"from 4,096 tokens on was measured as {min(large):.2f} to {max(large):.2f} of it" in notice
    for nearly in (widget.times["softmax (fused)"], *ratios[2048]):
        assert 0.85 < nearly < 1.15


def test_preset_half_the_products():
    widget = calculator("Half the products, not half the time")
    random_, matrix = (widget.cost(name, 1024) for name in ("synthesizer (random)", "softmax (matrix)"))
    assert 2 * random_[0] == matrix[0]
    assert 0.5 < widget.times["synthesizer (random)"] < 1


def test_preset_wide_heads():
    wide, narrow, page = calculator("Wide heads"), calculator("Wide heads", width=64), calculator("A page of text")
    assert (wide.first, wide.second) == (page.first, page.second)
    for one, *others in zip(wide.crossings[:2], narrow.crossings[:2], page.crossings[:2], strict=True):
        assert all(one[0][0] > other[0][0] and one[-1][0] > other[-1][0] for other in others)


def test_preset_a_weight_for_each_feature():
    fits = calculator("A weight for each feature").fits
    assert min(fits, key=fits.get) == "each feature"


def test_page_shows_the_numbers_of_attnlib():
    widgets = [CostCalculator(preset=each["name"]) for each in CostCalculator().presets]
    widgets += [CostCalculator(length=costs.MOST, precision="half", memory=0.001), CostCalculator(length=1, heads=1)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        for name, times, products, held, fits in rows(view):
            assert times.startswith("~ ") is (name in widget.extrapolated)
            assert read_ratio(times) == pytest.approx(widget.times[name], rel=0.06, abs=0.0011)
            for told, wanted, unit in (
                (products, widget.cost(name, widget.length)[0], 1000),
                (held.removeprefix("✗ "), widget.memory_held[name], 1024),
            ):
                assert read(told, unit) == pytest.approx(wanted, rel=0.006)
            assert held.startswith("✗") is (widget.memory_held[name] > widget.memory * 2**30)
            assert (
                fits == "1 M +"
                if widget.fits[name] == costs.MOST
                else read(fits) == pytest.approx(widget.fits[name], rel=0.006)
            )


def read_ratio(told):
    return float(told.removeprefix("~ ").removeprefix("< "))


def read(told, unit=1000):
    value, _, prefix = told.partition(" ")
    return float(value) * unit ** " kMGTPE".index((prefix.upper().replace("K", "k") or " ")[0].replace("B", " "))


def test_sentence_is_true_either_way_round():
    pair = {"first": "linear (causal, chunks)", "second": "softmax (fused)"}
    one, other, same = draw(
        CostCalculator(**pair), CostCalculator(first=pair["second"], second=pair["first"]),
        CostCalculator(first="softmax (fused)"),
    )  # fmt: skip
    widget = CostCalculator(**pair)
    products, time, held = widget.crossings
    assert (widget.between, time, held) == ([256, 1152], [(431, 448), (459, 1152)], [])
    assert "time, of the 256 to 1,152 tokens fitted, from about 431 to about 448 tokens and from about 459" in text(one)
    assert "fitted, up to about 430 tokens and from about 449 to about 458 tokens;" in text(other)
    (a, b), (c, end) = products  # a block that is full, and one that has just begun
    assert end == costs.MOST
    assert f"multiply-adds from {a} to {b} tokens and from {c} tokens on" in text(one)
    assert f"multiply-adds up to {a - 1} tokens and from {b + 1} to {c - 1} tokens" in text(other)
    assert "memory at no length up to a million tokens" in text(one)
    assert "memory at every length" in text(other)
    assert "compared with itself" in text(same)


def test_what_is_told_of_lengths_is_so_at_each_of_them():
    rng = random.Random(2)
    for _ in range(20):
        first, second = rng.sample(list(costs.MECHANISMS), 2)
        sizes = {"heads": rng.choice([1, 2, 4]), "width": rng.randint(32, 128), "window": rng.randint(64, 128)}
        widget = CostCalculator(first=first, second=second, passes=rng.choice(["forward", "both"]), **sizes)
        for length in range(1, 1500, 7):
            one, other = widget.cost(first, length), widget.cost(second, length)
            fitted = widget.fitted(first, length) and widget.fitted(second, length)
            assert fitted is bool(widget.between and widget.between[0] <= length <= widget.between[1])
            for part, runs in enumerate(widget.crossings):
                told = any(start <= length <= end for start, end in runs)
                assert told is (one[part] < other[part] and (part != 1 or fitted))


def test_time_is_told_only_of_lengths_that_were_fitted():
    delta, near, far, many, one, alone, tiny = draw(
        CostCalculator(first="delta rule (causal, loop)", passes="forward"),
        CostCalculator(first="synthesizer (random)", second="softmax (matrix)"),
        CostCalculator(heads=8),
        CostCalculator(first="window (causal)", second="linear (all keys)", window=1),
        CostCalculator(length=1),
        CostCalculator(first="additive", second="linear (causal, chunks)", heads=4, width=128),
        CostCalculator(first="linear (all keys)", second="additive", length=10**6),
    )
    assert "time, at 256 tokens, the one length fitted, at none;" in text(alone)
    assert "it takes less than 0.001 times as long" in text(tiny)
    assert "time, of the 256 to 1,024 tokens fitted, at none;" in text(delta)
    assert "time, of the 256 to 1,024 tokens fitted, at all;" in text(near)
    assert "time unknown, for no length was fitted with these sizes;" in text(far)
    assert "multiply-adds at some lengths from 64 to " in text(many)
    assert "At 1 token it takes about " in text(one)


def test_a_ratio_is_marked_where_its_own_way_was_not_fitted():
    within = CostCalculator(length=1024, heads=1, width=32, second="softmax (matrix)")
    assert not within.extrapolated
    assert CostCalculator().extrapolated == ["additive", "each feature"]  # more numbers than were ever timed
    far = CostCalculator(length=4096, second="softmax (matrix)")  # the compared way's own matrix is too large
    assert far.extrapolated == list(costs.MECHANISMS)
    assert "softmax (fused)" not in CostCalculator(length=2048).extrapolated
    assert "softmax (matrix)" in CostCalculator(length=2048).extrapolated
    assert "window (causal)" in CostCalculator(window=512).extrapolated
    assert "linear (all keys)" not in CostCalculator(window=512).extrapolated


def test_lengths_reach_from_one_to_the_most():
    assert LENGTHS[0] == 1
    assert LENGTHS[-1] == costs.MOST


@pytest.mark.browser
def test_a_number_can_be_typed(show):
    page = show(CostCalculator())
    cells = lambda: [cell.strip() for cell in page.locator("tbody td:nth-child(3)").all_inner_texts()]  # noqa: E731
    page.get_by_label("Length, tokens, exactly").fill("100")
    page.get_by_label("Length, tokens, exactly").press("Enter")
    page.get_by_label("Passes", exact=True).select_option("forward")
    frame(page)
    wanted = CostCalculator(length=100, passes="forward")
    assert read(cells()[0]) == pytest.approx(wanted.cost("softmax (matrix)", 100)[0], rel=0.006)
    page.get_by_label("Length, tokens", exact=True).press("ArrowRight")
    frame(page)
    assert read(cells()[0]) > wanted.cost("softmax (matrix)", 100)[0]
    page.get_by_label("Length, tokens, exactly").fill("-3")
    page.get_by_label("Length, tokens, exactly").press("Enter")
    frame(page)
    assert int(page.get_by_label("Length, tokens, exactly").input_value()) > 100


class BookPage:
    """As in the book: another widget's styles come later, and the theme lays tables out in its own way."""

    def _repr_html_(self):
        theme = "<style>.bd-content div.output table { table-layout: auto }</style>"
        inner = CostCalculator()._repr_html_() + KernelSmoother()._repr_html_()
        return f'<div class="bd-content"><div class="output">{inner}{theme}</div></div>'


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 390])
def test_the_table_is_no_wider_than_its_place(show, width):
    page = show(BookPage())
    resize(page, width)
    wide, place = page.locator(".attnlib-costs-table").evaluate("t => [t.offsetWidth, t.parentElement.clientWidth]")
    assert 0 < wide <= place
