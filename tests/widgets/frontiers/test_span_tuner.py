"""SpanTuner: its arithmetic, what its presets promise, and its page. test_widgets*.py has the rest."""

import math
import random

import pytest
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.widgets import SpanTuner
from attnlib.widgets.text import number, share

FORMS = ("paper", "not divided", "code")


def tuner(preset, **state):
    widget = SpanTuner(preset=preset)
    widget.update(**state)
    return widget


def moved(preset, **state):
    """How much the most of all weights moves."""
    both = zip(tuner(preset).weights, tuner(preset, **state).weights, strict=True)
    return max(abs(before - after) for before, after in both)


def test_outputs_are_those_of_the_equations():
    energies = [0.7, -1.3, 0.4, 2.0, 0.1]
    shares = [1.0, 1.0, 0.75, 0.25, 0.0]  # z = 1.5, R = 2
    masses = [part * math.exp(energy) for part, energy in zip(shares, energies, strict=True)]
    whole = sum(math.exp(energy) for energy in energies)
    widget = SpanTuner(energies=energies, span=1.5, ramp=2.0)
    assert widget.weights == pytest.approx([mass / sum(masses) for mass in masses])
    assert widget.cost == 4
    widget.form = "not divided"
    assert widget.weights == pytest.approx([mass / whole for mass in masses])
    widget.form = "code"
    assert widget.weights == pytest.approx([mass / whole / (sum(masses) / whole + 1e-8) for mass in masses])
    widget.update(form="halting", halting=[0.3, 0.3, 0.9, 0.2])
    assert widget.weights == pytest.approx([0.3, 0.3, 0.4, 0.0])
    assert widget.cost == pytest.approx(3.4)


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_a_key_on_the_ramp():
    widget = tuner("A key on the ramp")
    assert max(range(12), key=lambda far: widget.energies[far]) == 6
    assert widget.weights[6] == max(widget.weights)
    weights = [tuner("A key on the ramp", span=z).weights[6] for z in (3.5, 3.9, 4.0, 4.1, 4.5)]
    assert weights == sorted(weights)
    assert moved("A key on the ramp", span=4.01) < 0.01


def test_preset_beyond_the_ramp():
    for z in (1.5, 2.0, 2.5, 3.9):
        assert tuner("Beyond the ramp", span=z).weights[6] == 0
    assert tuner("Beyond the ramp", span=4.1).weights[6] > 0


def test_presets_of_the_other_forms():
    cut = tuner("Cut, not divided again")
    assert sum(cut.weights) < 0.9
    assert sum(tuner("Cut, not divided again", form="paper").weights) == pytest.approx(1)
    assert sum(tuner("The authors' code").weights) < 1e-3
    assert sum(tuner("The authors' code", form="paper").weights) == pytest.approx(1)


def test_presets_of_halting():
    assert tuner("Halting: what remains").weights == pytest.approx([0.4, 0.4, 0.2, 0, 0, 0])
    assert tuner("Halting: what remains").cost == pytest.approx(3.2)
    assert tuner("Halting: a jump").cost == pytest.approx(3.02)
    assert tuner("Halting: a jump", halting=[0.5, 0.49, 0.4, 0.4, 0.4, 0.4]).cost == pytest.approx(2.5)


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    rng, cases = random.Random(0), []
    for _ in range(300):
        energies = [rng.gauss(0, rng.choice([1, 10])) for _ in range(rng.randint(3, 16))]
        halting = [rng.choice([rng.random(), rng.random() / 5, 0.0, 1.0]) for _ in range(rng.randint(1, 12))]
        span = rng.choice([0.0, rng.uniform(0, 20), float(rng.randint(0, 15))])
        state = {"span": span, "ramp": rng.uniform(0.5, 8), "form": rng.choice(FORMS)}
        cases.append((energies, halting, state))
    run = """(cases) => cases.map(([energies, halting, state]) =>
        [math.spanned(energies, state).weights, math.pondered(halting)])"""
    gap = 0.0
    for (energies, halting, state), (weights, halted) in zip(cases, arithmetic("adaptive")(run, cases), strict=True):
        widget = SpanTuner(energies=energies, halting=halting, **state)
        assert [weight == 0 for weight in weights] == [weight == 0 for weight in widget.weights]
        gap = max(gap, *(abs(a - b) for a, b in zip(weights, widget.weights, strict=True)))
        widget.form = "halting"
        both = zip([*halted["weights"], halted["cost"]], [*widget.weights, widget.cost], strict=True)
        gap = max(gap, *(abs(a - b) for a, b in both))
    record_property("measured", f"{gap:.1e} largest gap to attnlib  adaptive")
    assert gap < 1e-6


def test_page_shows_the_numbers_of_attnlib():
    widgets = [tuner(each["name"]) for each in SpanTuner().presets]
    for span, ramp in ((0.0, 0.5), (15.0, 8.0), (99.0, 99.0)):
        widgets += [SpanTuner(energies=[9.0, -9.0, 0.0], span=span, ramp=ramp, form=form) for form in FORMS]
    widgets.append(SpanTuner(halting=[0.0] * 12, form="halting"))
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        shown = [row[-1] for row in rows(view)]
        wanted = [share(weight) for weight in widget.weights]
        assert shown == wanted[: len(shown)]
        assert not any(widget.weights[len(shown) :])
        said = text(found(view, "attnlib-caption")[0])
        told = f"ponder cost is {number(widget.cost)}" if widget.form == "halting" else f"{widget.cost:.0f} key"
        assert told in said
        [curve] = found(view, "attnlib-span-curve")
        places = [tuple(map(float, place.split(","))) for place in curve[0].get("points").split()]
        assert all(45.9 <= x <= 430.1 and 11.9 <= y <= 112.1 for x, y in places)
        assert [x for x, _ in places] == sorted(x for x, _ in places)


# ----------------------------------------------------------------------------------------------- the page, in the hand


@pytest.mark.browser
def test_the_span_moves_by_keyboard_and_halting_has_none(show):
    page = show(SpanTuner())
    handle = page.locator(".attnlib-point")
    handle.focus()
    for key in ("ArrowRight", "Shift+ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
    frame(page)
    wanted = SpanTuner(preset="A key on the ramp", span=3.5)
    cells = lambda: [cell.strip() for cell in page.locator("tbody tr td:last-child").all_inner_texts()]  # noqa: E731
    assert cells() == [share(weight) for weight in wanted.weights]
    page.get_by_label("Show", exact=True).select_option("halting")
    frame(page)
    assert not handle.is_visible()
    page.get_by_label("Step", exact=True).fill("3")
    frame(page)
    page.get_by_label("Halting probability of step 3").fill("0.1")
    frame(page)
    wanted = SpanTuner(halting=[0.4, 0.4, 0.1, 0.4, 0.4, 0.4], form="halting")
    assert cells() == [share(weight) for weight in wanted.weights][: len(cells())]


@pytest.mark.browser
def test_the_energy_of_a_key_is_set(show):
    page = show(SpanTuner())
    page.get_by_label("Key", exact=True).fill("1")
    frame(page)
    page.get_by_label("Energy of key 1").fill("3")
    frame(page)
    energies = [*SpanTuner().energies]
    energies[1] = 3.0
    wanted = share(SpanTuner(energies=energies).weights[1])
    assert page.locator("tbody tr").nth(1).locator("td").last.inner_text().strip() == wanted
