"""LocalWindow: its outputs, what its presets promise, its arithmetic in the page, and its page. test_widgets*.py has
the rest."""

import itertools
import math
import random
import re

import pytest
import torch
from browser import frame

from attnlib import attend
from attnlib.softness.local import full_weights, local
from attnlib.widgets import LocalWindow, base
from attnlib.widgets.local_window import PRESETS

FORMS = ("global", "local-m", "local-p")


def window(preset, **state):
    widget = LocalWindow(preset=preset)
    widget.update(**state)
    return widget


def expected(logits, centre, half_width, **options):
    key = torch.tensor(logits, dtype=torch.float64).unsqueeze(-1)
    centre = torch.tensor([centre], dtype=torch.float64)
    weights = local(torch.ones(1, 1).double(), key, centre=centre, half_width=half_width, **options).weights
    return full_weights(weights, centre=centre, n_key=len(logits))[0].tolist()


# ----------------------------------------------------------------------------------------------------------- outputs


def test_golden_window():
    widget = LocalWindow(logits=[0.0] * 10, centre=4.3, half_width=2)
    assert [s for s, weight in enumerate(widget.weights) if weight] == [3, 4, 5, 6]
    assert widget.weights[3:7] == pytest.approx([0.4296 / 4, 0.9560 / 4, 0.7827 / 4, 0.2357 / 4], abs=2e-5)
    assert widget.total == pytest.approx(0.6010, abs=5e-5)


def test_outputs_are_those_of_attnlib():
    logits = [0.7, -1.3, 0.4, 2.0, 0.1]
    widget = LocalWindow(logits=logits, centre=1.6, half_width=2)
    assert widget.weights == expected(logits, 1.6, 2)
    widget.renormalise = True
    assert widget.weights == expected(logits, 1.6, 2, renormalise=True)
    assert widget.total == pytest.approx(1)
    widget.update(form="local-m", renormalise=False)
    assert widget.weights == expected(logits, 2.0, 2, gaussian=False)
    widget.form = "global"
    key = torch.tensor(logits, dtype=torch.float64).unsqueeze(-1)
    assert widget.weights == attend(torch.ones(1, 1).double(), key).weights[0].tolist()


def test_local_m_stays_in_the_sentence_and_local_p_does_not():
    for centre, key in ((-5.0, 0), (1.49, 1), (1.5, 2), (77.0, 3)):
        widget = LocalWindow(logits=[0.0] * 4, centre=centre, form="local-m", half_width=1)
        seen = [s for s, weight in enumerate(widget.weights) if weight]
        assert seen == [s for s in range(4) if abs(s - key) <= 1]
    beyond = LocalWindow(logits=[0.0] * 4, centre=7.5, half_width=2)
    assert (beyond.weights, beyond.total) == ([0.0] * 4, 0.0)
    assert "weights none" in beyond.summary()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"half_width": 0}, "half_width must be at least 1; got 0"),
        ({"half_width": 1.5}, "half_width must be a whole number"),
        ({"centre": math.nan}, "centre must be a finite number"),
        ({"centre": 100.0}, "centre must be from -99 to 99"),
        ({"logits": [1.0, 2.0]}, "logits must be of 3 to 24 keys; got 2"),
        ({"logits": [0.0, 1.0, math.inf]}, r"logits must be finite numbers of shape \(n\)"),
        ({"form": "local"}, "form must be one of global, local-m, local-p"),
        ({"renormalise": 1}, "renormalise must be True or False"),
    ],
)
def test_bad_state_is_refused_and_changes_nothing(state, message):
    with pytest.raises(ValueError, match=message):
        LocalWindow(**state)
    widget = LocalWindow()
    before = widget.state(), widget.weights
    with pytest.raises(ValueError, match=message):
        widget.update(**state)
    assert (widget.state(), widget.weights) == before


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_all_keys_alike():
    widget = window("All keys alike")
    assert sum(weight > 0 for weight in widget.weights) == 4
    assert len(set(widget.logits)) == 1


def test_preset_a_key_at_the_edge():
    widget = window("A key at the edge")
    assert max(range(10), key=lambda s: widget.logits[s]) == 7
    before, after = widget.weights, window("A key at the edge", centre=5.1).weights
    assert before[7] == 0 < after[7]
    assert all(abs(a - b) > 0.03 for a, b in zip(before[3:8], after[3:8], strict=True))


def test_presets_two_that_match():
    whole = window("The same, global").weights
    assert whole[1] == whole[7] == max(whole)
    assert window("Two that match").weights[7] == 0
    assert window("Two that match").logits == window("The same, global").logits
    assert window("Two that match", centre=7.0).weights[1] == 0


def test_preset_step_by_step():
    assert window("Step by step").total == pytest.approx(1)
    seen = [window("Step by step", centre=float(t)).weights[7] > 0 for t in range(10)]
    assert seen == [False] * 5 + [True] * 5


def test_preset_at_the_end():
    widget = window("At the end of the sentence")
    beyond = widget.centre + widget.half_width - (len(widget.logits) - 1)
    assert beyond > widget.half_width
    assert window("At the end of the sentence", centre=10.0).total < 0.6 * widget.total


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("centre", [-99.0, -1.4, 0.0, 4.3, 9.0, 99.0])
def test_picture_is_drawn_for_every_state(form, renormalise, centre):
    for logits, half_width in (([0.0] * 10, 2), ([9.0, -9.0, 0.0], 30), ([0.5] * 24, 1)):
        widget = LocalWindow(logits=logits, centre=centre, half_width=half_width, form=form, renormalise=renormalise)
        text = widget.picture().svg()
        assert f"the weights sum to {widget.total:.3f}" in text
        assert not re.search("nan|inf", text)
        places = [float(x) for points in re.findall(r'points="([^"]*)"', text) for x in re.split("[ ,]", points)]
        assert min(places) >= 0
        assert max(places) <= 640


# -------------------------------------------------------------------------------------------------------- arithmetic


@pytest.mark.browser
def test_arithmetic_is_that_of_attnlib(page, record_property):
    """A thousand rows: whole and broken centres, inside and outside, every form."""
    rng = random.Random(0)
    page.goto("about:blank")
    page.add_script_tag(content=f"{base._wrapped('attention')}window.attention = $attention;")
    cases = []
    for _ in range(1000):
        n = rng.randint(1, 15)
        energies = [rng.gauss(0, rng.choice([1, 10])) for _ in range(n)]
        centre = rng.choice([rng.uniform(-4, n + 4), float(rng.randint(-3, n + 3))])
        options = {name: rng.random() < 0.5 for name in ("gaussian", "renormalise", "rounded")}
        cases.append((energies, {"centre": centre, "halfWidth": rng.randint(1, 6), **options}))
    found = page.evaluate("(cases) => cases.map(([row, options]) => attention.local(row, options).weights)", cases)
    gap = 0.0
    for (energies, options), weights in zip(cases, found, strict=True):
        centre, half_width = options.pop("centre"), options.pop("halfWidth")
        wanted = expected(energies, centre, half_width, **options)
        assert [weight == 0 for weight in weights] == [weight == 0 for weight in wanted]
        gap = max(gap, *(abs(a - b) for a, b in zip(weights, wanted, strict=True)))
    assert sum(not any(weights) for weights in found) > 30
    record_property("measured", f"{gap:.1e} largest gap to attnlib  local")
    assert gap < 1e-6


# -------------------------------------------------------------------------------------------------------------- page


def rows_of(page):
    return [
        [row.locator("th").inner_text(), *row.locator("td").all_inner_texts()]
        for row in page.locator(".attnlib-window-numbers tbody tr").all()
    ]


def told(weight):
    return "< 0.0005" if 0 < weight < 5e-4 else f"{weight:.3f}"


def centre_of(page):
    return float(page.locator(".attnlib-point").get_attribute("aria-valuenow"))


@pytest.mark.browser
def test_page_shows_the_numbers_of_attnlib(show):
    page = show(LocalWindow())
    for preset, renormalise in itertools.product(PRESETS, (False, True)):
        page.get_by_label("Start from").select_option(preset["name"])
        page.get_by_label("Make the weights sum to 1").set_checked(renormalise)
        frame(page)
        widget = window(preset["name"], renormalise=renormalise)
        shown = {row[0]: row[-1] for row in rows_of(page)}
        assert shown == {str(s): told(weight) for s, weight in enumerate(widget.weights) if weight > 0}
        assert f"the weights sum to {widget.total:.3f}" in page.inner_text("main")
        page.get_by_label("Make the weights sum to 1").set_checked(False)


@pytest.mark.browser
def test_every_part_of_a_row_is_shown(show):
    page = show(LocalWindow(logits=[0.0] * 10, centre=4.3, half_width=2))
    assert rows_of(page) == [
        ["3", "0.00", "0.250", "0.430", "0.107"],
        ["4", "0.00", "0.250", "0.956", "0.239"],
        ["5", "0.00", "0.250", "0.783", "0.196"],
        ["6", "0.00", "0.250", "0.236", "0.059"],
    ]
    bars = page.locator(".attnlib-window-weight").evaluate_all(
        "(bars) => bars.map((bar) => +bar.getAttribute('height'))"
    )
    assert bars == pytest.approx([126 * weight / 0.25 for weight in LocalWindow().weights], abs=0.01)


@pytest.mark.browser
def test_centre_moves_by_keyboard(show):
    page = show(LocalWindow(centre=4.3))
    page.locator(".attnlib-point").focus()
    for key, wanted in (
        ("ArrowRight", 4.4),
        ("ArrowUp", 4.5),
        ("Shift+ArrowLeft", 4.0),
        ("ArrowDown", 3.9),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 10),
    ):
        page.keyboard.press(key)
        frame(page)
        assert centre_of(page) == pytest.approx(wanted)
    assert page.locator(".attnlib-point").get_attribute("aria-valuetext") == "p = 10.00, keys 8 to 9"


@pytest.mark.browser
def test_a_key_press_is_a_step_in_local_m(show):
    page = show(LocalWindow(centre=8.0, form="local-m"))
    page.locator(".attnlib-point").focus()
    for key, wanted in (("ArrowRight", 9), ("ArrowRight", 9), ("ArrowDown", 8), ("Shift+ArrowLeft", 7), ("Home", 0)):
        page.keyboard.press(key)
        frame(page)
        assert centre_of(page) == wanted


@pytest.mark.browser
@pytest.mark.parametrize("form", ["local-m", "local-p"])
def test_centre_follows_the_mouse(show, form):
    page = show(LocalWindow(centre=2.0, form=form))
    box = page.locator(".attnlib-target").bounding_box()
    chart = page.locator(".attnlib-window-chart").bounding_box()
    start = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    step = chart["width"] / 640 * (630 - 54) / 11
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 3.3 * step, start[1] + 40, steps=5)
    page.mouse.up()
    frame(page)
    assert centre_of(page) == pytest.approx(5.0 if form == "local-m" else 5.3, abs=0.03)


@pytest.mark.browser
def test_global_has_no_centre_to_move(show):
    page = show(LocalWindow(form="global"))
    assert not page.locator(".attnlib-point").is_visible()
    assert len(rows_of(page)) == 10
    page.get_by_label("Attention", exact=True).select_option("local-p")
    frame(page)
    assert page.locator(".attnlib-point").is_visible()
    assert len(rows_of(page)) == 4
