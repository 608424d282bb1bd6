"""LocalWindow: its outputs, what its presets promise, its arithmetic in the page, and its page. test_widgets*.py has
the rest."""

import itertools
import random

import pytest
import torch
from browser import drag, frame, middle, overlapping, resize
from drawn import arithmetic, draw, found, rows, text

from attnlib import attend
from attnlib.softness.local import full_weights, local
from attnlib.widgets import LocalWindow
from attnlib.widgets.text import share


def window(preset, **state):
    widget = LocalWindow(preset=preset)
    widget.update(**state)
    return widget


def expected(logits, centre, half_width, **options):
    key = torch.tensor(logits, dtype=torch.float64).unsqueeze(-1)
    centre = torch.tensor([centre], dtype=torch.float64)
    weights = local(torch.ones(1, 1).double(), key, centre=centre, half_width=half_width, **options).weights
    return full_weights(weights, centre=centre, n_key=len(logits))[0].tolist()


def seen(widget):
    return [s for s, weight in enumerate(widget.weights) if weight]


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
        assert seen(widget) == [s for s in range(4) if abs(s - key) <= 1]
    beyond = LocalWindow(logits=[0.0] * 4, centre=7.5, half_width=2)
    assert (beyond.weights, beyond.total) == ([0.0] * 4, 0.0)
    assert "weights none" in beyond.summary()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"half_width": 0}, "half_width must be a whole number from 1 to 99; got 0"),
        ({"half_width": 150}, "half_width must be a whole number from 1 to 99; got 150"),
        ({"centre": 100.0}, "centre must be a finite number from -99 to 99; got 100.0"),
        ({"logits": [1.0, 2.0]}, r"logits must be finite numbers of shape \(n\), n from 3 to 24; got \[1.0, 2.0\]"),
    ],
)
def test_bounds(state, message):
    with pytest.raises(ValueError, match=message):
        LocalWindow(**state)


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_all_keys_alike():
    widget = window("All keys alike")
    assert len(seen(widget)) == 4
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
    at_seven = [window("Step by step", centre=float(t)).weights[7] > 0 for t in range(10)]
    assert at_seven == [False] * 5 + [True] * 5


def test_preset_at_the_end():
    widget = window("At the end of the sentence")
    beyond = widget.centre + widget.half_width - (len(widget.logits) - 1)
    assert beyond > widget.half_width
    assert window("At the end of the sentence", centre=10.0).total < 0.6 * widget.total


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    """A thousand rows: whole and broken centres, inside and outside, every form."""
    rng = random.Random(0)
    cases = []
    for _ in range(1000):
        n = rng.randint(1, 15)
        energies = [rng.gauss(0, rng.choice([1, 10])) for _ in range(n)]
        centre = rng.choice([rng.uniform(-4, n + 4), float(rng.randint(-3, n + 3))])
        options = {name: rng.random() < 0.5 for name in ("gaussian", "renormalise", "rounded")}
        cases.append((energies, {"centre": centre, "halfWidth": rng.randint(1, 6), **options}))
    made = arithmetic("local")("(cases) => cases.map(([row, options]) => math.local(row, options).weights)", cases)
    gap = 0.0
    for (energies, options), weights in zip(cases, made, strict=True):
        centre, half_width = options.pop("centre"), options.pop("halfWidth")
        wanted = expected(energies, centre, half_width, **options)
        assert [weight == 0 for weight in weights] == [weight == 0 for weight in wanted]
        gap = max(gap, *(abs(a - b) for a, b in zip(weights, wanted, strict=True)))
    assert sum(not any(weights) for weights in made) > 30
    record_property("measured", f"{gap:.1e} largest gap to attnlib  local")
    assert gap < 1e-6


def test_page_shows_the_numbers_of_attnlib():
    """Of each preset, and of states far out: wherever the window stands, it is drawn inside the picture."""
    widgets = [window(item["name"], renormalise=on) for item in LocalWindow().presets for on in (False, True)]
    for centre in (-99.0, -1.4, 0.0, 9.0, 99.0):
        for logits, half_width in (([9.0, -9.0, 0.0], 30), ([0.5] * 24, 1)):
            widgets += [LocalWindow(logits=logits, centre=centre, half_width=half_width, form=form)
                        for form in ("global", "local-m", "local-p")]  # fmt: skip
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        shown = {int(row[0]): row[-1] for row in rows(view)}
        assert {s: told for s, told in shown.items() if told != "0"} == {
            s: share(widget.weights[s]) for s in seen(widget)
        }
        assert f"the weights sum to {widget.total:.3f}" in text(found(view, "attnlib-caption")[0])
        for shade in found(view, "attnlib-window-inside"):
            assert 46 <= float(shade.get("x")) <= float(shade.get("x")) + float(shade.get("width")) <= 430.001


def test_every_part_of_a_row_is_shown():
    widget = LocalWindow(logits=[0.0] * 10, centre=4.3, half_width=2)
    (view,) = draw(widget)
    assert rows(view) == [
        ["3", "0.00", "0.250", "0.430", "0.107"],
        ["4", "0.00", "0.250", "0.956", "0.239"],
        ["5", "0.00", "0.250", "0.783", "0.196"],
        ["6", "0.00", "0.250", "0.236", "0.059"],
    ]
    heights = [float(bar.get("height")) for bar in found(view, "attnlib-bar")]
    assert heights == pytest.approx([150 * weight / 0.25 for weight in widget.weights], abs=0.01)
    assert found(view, "attnlib-point")[0].get("aria-valuetext") == "p = 4.30, keys 3 to 6"


def test_opens_on_the_key_at_the_edge_and_offers_its_energy():
    (view,) = draw(LocalWindow())
    shown = text(view)
    assert "A key at the edge" in shown
    assert "Energy of key 7" in shown
    (view,) = draw(LocalWindow(logits=[0.0, 0.5, 0.25]))
    assert "Energy of key 1" in text(view)


# ----------------------------------------------------------------------------------------------- the page, in the hand


def press(page, *keys):
    """The centre after each key."""
    handle = page.locator(".attnlib-point")
    handle.focus()
    places = []
    for key in keys:
        page.keyboard.press(key)
        frame(page)
        places.append(round(float(handle.get_attribute("aria-valuenow")), 3))
    return places


@pytest.mark.browser
def test_centre_moves_by_keyboard(show):
    page = show(LocalWindow(centre=4.3))
    keys = ("ArrowRight", "ArrowUp", "Shift+ArrowLeft", "ArrowDown", "PageUp", "Home", "ArrowLeft", "End")
    assert press(page, *keys) == [4.4, 4.5, 4.0, 3.9, 4.4, 0, 0, 10]
    assert page.locator(".attnlib-point").get_attribute("aria-valuetext") == "p = 10.00, keys 8 to 9"
    page = show(LocalWindow(centre=8.0, form="local-m"))
    assert press(page, "ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowLeft", "Home") == [9, 9, 8, 7, 0]


@pytest.mark.browser
@pytest.mark.parametrize("form", ["local-m", "local-p"])
def test_centre_follows_the_mouse(show, form):
    page = show(LocalWindow(centre=2.0, form=form))
    step = page.locator(".attnlib-chart").bounding_box()["width"] / 440 * (430 - 46) / 11
    drag(page, *middle(page.locator(".attnlib-point")), 3.3 * step, 40)
    assert press(page, "ArrowRight")[0] == pytest.approx(6.0 if form == "local-m" else 5.4, abs=0.03)


@pytest.mark.browser
def test_energy_of_a_key_is_set(show):
    page = show(LocalWindow(logits=[0.0, 0.5, 0.25, 0.0], centre=1.5, half_width=1))
    page.get_by_label("Key", exact=True).fill("2")
    frame(page)
    page.get_by_label("Energy of key 2").fill("3")
    frame(page)
    wanted = LocalWindow(logits=[0.0, 0.5, 3.0, 0.0], centre=1.5, half_width=1)
    cells = page.locator(".attnlib-table tbody tr").nth(1).locator("td, th").all_inner_texts()
    assert cells[:2] == ["2", "3.00"]
    assert cells[-1] == share(wanted.weights[2])


@pytest.mark.browser
def test_global_has_no_centre_to_move(show):
    page = show(LocalWindow(form="global"))
    assert not page.locator(".attnlib-point").is_visible()
    page.get_by_label("Attention", exact=True).select_option("local-p")
    frame(page)
    assert page.locator(".attnlib-point").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_no_word_lies_on_the_drawing(show, width):
    page = show(LocalWindow(logits=[0.5] * 24, centre=22.0, half_width=3))
    resize(page, width)
    assert overlapping(page, ".attnlib-window-words text", ".attnlib-window-panel") == []
    names = ".attnlib-bars text:not(:empty)"
    assert overlapping(page, names, ".attnlib-window-panel") == []
    boxes = [name.bounding_box() for name in page.locator(names).all()]
    assert all(one["x"] + one["width"] < other["x"] for one, other in itertools.pairwise(boxes))


def test_each_form_is_told_where_it_is_chosen():
    views = draw(*(LocalWindow(form=form) for form in ("global", "local-m", "local-p")))
    words = ["no window", "monotonic: the centre is the number", "predictive: the centre is computed"]
    assert all(word in text(found(view, "attnlib-settings")[0]) for view, word in zip(views, words, strict=True))
