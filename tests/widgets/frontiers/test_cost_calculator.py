"""CostCalculator: its arithmetic, what its presets promise, and its page. test_widgets*.py has the rest."""

import random

import pytest
from browser import frame
from drawn import arithmetic, draw, rows, text

from attnlib.book import costs
from attnlib.widgets import CostCalculator
from attnlib.widgets.frontiers.cost_calculator import LENGTHS


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


def test_crossovers_are_those_of_attnlib():
    rng = random.Random(1)
    cases = [[[rng.randint(0, 3) for _ in range(5)] for _ in range(2)] for _ in range(200)]
    made = arithmetic("costs")("(cases) => cases.map(([a, b]) => math.crossover(a, b, [1, 2, 4, 8, 16]))", cases)
    wanted = [costs.crossover(a, b, [1, 2, 4, 8, 16]) for a, b in cases]
    assert [each and tuple(each) for each in made] == wanted
    assert None in wanted
    assert any(each and each[0] == 0 for each in wanted)


def test_preset_a_page_of_text():
    products, time, _ = calculator("A page of text").crossings
    assert products[1] < time[1]  # fewer multiply-adds long before less time


def test_preset_one_matrix_two_routines():
    widget = calculator("One matrix, two routines")
    fused, matrix = (widget.cost(name, 8192) for name in ("softmax, fused", "softmax, matrix"))
    assert 6 * fused[0] == 7 * matrix[0]
    assert fused[2] < matrix[2] / 20


def test_preset_counted_but_not_timed():
    widget = calculator("Counted but not timed")
    random_, matrix = (widget.cost(name, 1024) for name in ("synthesizer, random", "softmax, matrix"))
    assert 2 * random_[0] == matrix[0]
    assert 0.5 < widget.times["synthesizer, random"] < 1


def test_preset_wide_heads():
    wide, narrow = calculator("Wide heads"), calculator("Wide heads", width=64)
    assert wide.crossings[0][1] > narrow.crossings[0][1]
    assert wide.crossings[1][1] > narrow.crossings[1][1]


def test_preset_a_weight_for_each_feature():
    fits = calculator("A weight for each feature").fits
    assert min(fits, key=fits.get) == "each feature"


def test_page_shows_the_numbers_of_attnlib():
    widgets = [CostCalculator(preset=each["name"]) for each in CostCalculator().presets]
    widgets += [CostCalculator(length=costs.MOST, precision="half", memory=0.001), CostCalculator(length=1, heads=1)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        for name, times, products, held, fits in rows(view):
            assert float(times) == pytest.approx(widget.times[name], rel=0.06, abs=0.0006)
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


def read(told, unit=1000):
    value, _, prefix = told.partition(" ")
    return float(value) * unit ** " kMGTPE".index((prefix.upper().replace("K", "k") or " ")[0].replace("B", " "))


def test_sentence_says_from_where_on():
    one, none, same, far = draw(
        CostCalculator(), CostCalculator(first="softmax, matrix"), CostCalculator(first="softmax, fused"),
        CostCalculator(length=10**6, width=200),
    )  # fmt: skip
    low, high = CostCalculator().crossings[0]
    assert f"multiply-adds from about {round((low * high) ** 0.5)} tokens" in text(one)
    assert "memory not up to a million tokens" in text(none)
    assert "compared with itself" in text(same)
    assert "Outside of what was measured" not in text(none)
    assert "Outside of what was measured: length, width" in text(far)


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
    assert read(cells()[0]) == pytest.approx(wanted.cost("softmax, matrix", 100)[0], rel=0.006)
    page.get_by_label("Length, tokens", exact=True).press("ArrowRight")
    frame(page)
    assert read(cells()[0]) > wanted.cost("softmax, matrix", 100)[0]
    page.get_by_label("Length, tokens, exactly").fill("-3")
    page.get_by_label("Length, tokens, exactly").press("Enter")
    frame(page)
    assert int(page.get_by_label("Length, tokens, exactly").input_value()) > 100
