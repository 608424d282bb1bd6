"""DistributionLab: what its presets promise, its geometry, and its page. test_widgets*.py has the rest."""

import itertools
import math
import re

import pytest
import torch
from browser import frame

from attnlib import distributions
from attnlib.widgets import DistributionLab
from attnlib.widgets.distribution_lab import PRESETS

ON_SIMPLEX = ("softmax", "entmax", "sparsemax")


def lab(preset, **state):
    widget = DistributionLab(preset=preset)
    widget.update(**state)
    return widget


# ----------------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([-2.0, 0.0, 0.5], [[0.0486, 0.3592, 0.5922], [0, 0.3260, 0.6740], [0, 0.25, 0.75]]),
        ([1.0, 0.8, 0.1], [[0.4494, 0.3679, 0.1827], [0.5292, 0.3937, 0.0770], [0.6, 0.4, 0]]),
    ],
)
def test_golden_weights(logits, expected):
    widget = DistributionLab(logits=logits)
    for name, weights in zip(ON_SIMPLEX, expected, strict=True):
        assert getattr(widget, name) == pytest.approx(weights, abs=6e-5)


def test_outputs_are_those_of_attnlib():
    logits = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64)
    widget = DistributionLab(logits=logits, temperature=0.6, alpha=1.7)
    for name, options in {"softmax": {}, "entmax": {"alpha": 1.7}, "sparsemax": {}, "sigmoid": {}}.items():
        expected = getattr(distributions, name)(logits, temperature=0.6, **options)
        assert getattr(widget, name) == expected.tolist()


def test_observers_see_the_weights_follow():
    widget, seen = DistributionLab(), []
    widget.observe(lambda change: seen.append(change["new"]), "sparsemax")
    widget.logits = [2.0, 0.0, 0.0]
    assert seen == [[1.0, 0.0, 0.0]]


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_one_cut_off():
    assert lab("One cut off").entmax[2] == pytest.approx(0.08, abs=0.005)
    assert lab("One cut off").sparsemax[2] == 0
    last = [lab("One cut off", alpha=alpha).entmax[2] for alpha in (1.5, 1.6, 1.7, 1.8, 1.9, 2.0)]
    assert last == sorted(last, reverse=True)
    assert last[1] > 0
    assert last[-2] == 0


def test_preset_two_survive():
    widget, lower = lab("Two survive"), lab("Two survive", logits=[-3.5, 0.0, 0.5])
    assert widget.softmax[0] == pytest.approx(0.05, abs=0.005)
    assert widget.entmax[0] == widget.sparsemax[0] == 0
    assert lower.entmax == pytest.approx(widget.entmax, abs=1e-12)
    assert lower.sparsemax == widget.sparsemax
    assert lower.softmax != pytest.approx(widget.softmax, abs=0.01)


def test_preset_a_tie():
    widget = lab("A tie", temperature=0.02)
    for name in ON_SIMPLEX:
        assert getattr(widget, name) == pytest.approx([0.5, 0.5, 0], abs=1e-9)


def test_preset_a_gap_above_t():
    widget = lab("A gap above T")
    assert widget.logits[0] - widget.logits[1] > widget.temperature
    for signs in itertools.product((-0.04, 0.04), repeat=3):
        moved = [value + sign for value, sign in zip(widget.logits, signs, strict=True)]
        assert lab("A gap above T", logits=moved).sparsemax == widget.sparsemax == [1, 0, 0]


def test_preset_shifted():
    one, shifted = lab("One cut off"), lab("Shifted by 2")
    assert shifted.logits == pytest.approx([value + 2 for value in one.logits])
    for name in ON_SIMPLEX:
        assert getattr(shifted, name) == pytest.approx(getattr(one, name), abs=1e-12)
    assert sum(shifted.sigmoid) - sum(one.sigmoid) > 0.5


# ---------------------------------------------------------------------------------------------------------- geometry


def test_sparsemax_is_the_nearest_place_of_the_triangle():
    steps = [i / 30 for i in range(31)]
    simplex = [torch.tensor([a, b, 1 - a - b]).double() for a in steps for b in steps if a + b <= 1 + 1e-9]
    generator = torch.Generator().manual_seed(2)
    for logits in torch.randn(25, 3, generator=generator, dtype=torch.float64) * 1.5:
        widget = DistributionLab(logits=logits)
        ring = widget._place(logits)
        found = math.dist(ring, widget._place(torch.tensor(widget.sparsemax).double()))
        assert found <= min(math.dist(ring, widget._place(place)) for place in simplex) + 1e-6


def test_adding_a_number_to_all_logits_moves_no_ring():
    widget = DistributionLab()
    logits = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    assert widget._place(logits + 7) == pytest.approx(widget._place(logits))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("path", ["temperature", "alpha"])
@pytest.mark.parametrize("logits", [[1.0, 0.8, 0.1], [0.0, 0.0, 0.0], [5.0, -5.0, 0.0], [1e3, 0.0, -1e3]])
def test_picture_is_drawn_for_every_state(logits, path, wide):
    text = DistributionLab(logits=logits, path=path, wide=wide).picture().svg()
    assert "no place on the simplex" in text
    assert not re.search("nan|inf", text)


def test_picture_marks_exact_zeros_in_words():
    text = DistributionLab(logits=[-2.0, 0.0, 0.5]).picture().svg()
    assert text.count("A exactly 0") == 2
    assert text.count("stroke-dasharray") > DistributionLab(logits=[0.1, 0.0, 0.0]).picture().svg().count(
        "stroke-dasharray"
    )


# -------------------------------------------------------------------------------------------------------------- page


def told(weight):
    if weight in (0, 1):
        return f"exactly {weight:.0f}"
    return "< 0.0005" if weight < 5e-4 else f"{weight:.3f}"


def cells(page):
    return [
        [cell.inner_text() for cell in row.locator("td").all()]
        for row in page.locator(".attnlib-lab-shares tbody tr").all()
    ]


def expected_cells(widget):
    rows = []
    for name in (*ON_SIMPLEX, "sigmoid"):
        weights = getattr(widget, name)
        rows.append([*map(told, weights), f"{sum(weights):.2f} ≠ 1" if name == "sigmoid" else "1"])
    return rows


def place_of(page, selector):
    return page.locator(selector).evaluate(
        """(node) => {
            const [m, n] = [node.getCTM(), node.ownerSVGElement.getCTM()];
            return [(m.e - n.e) / n.a, (m.f - n.f) / n.d];
        }"""
    )


@pytest.mark.browser
def test_page_shows_the_numbers_of_attnlib_and_marks_the_zeros(show):
    page = show(DistributionLab())
    for preset in PRESETS:
        page.get_by_label("Start from").select_option(preset["name"])
        frame(page)
        widget = DistributionLab(preset=preset["name"])
        assert cells(page) == expected_cells(widget)
        zeros = sum(weight == 0 for name in ON_SIMPLEX for weight in getattr(widget, name))
        assert page.locator("[data-zero]").count() == zeros
        assert f"{sum(widget.sigmoid):.3f}, not to 1, so it has no place on the simplex" in page.inner_text("main")


@pytest.mark.browser
def test_bars_of_the_three_keys_have_one_scale(show):
    page = show(lab("One cut off"))
    tracks = page.locator(".attnlib-lab-track").all()
    assert len(tracks) == 12
    widths = [track.bounding_box()["width"] for track in tracks]
    assert min(widths) > 30
    assert max(widths) - min(widths) < 1.5


@pytest.mark.browser
def test_ring_moves_by_keyboard_and_keeps_the_mean_of_the_logits(show):
    page = show(DistributionLab(logits=[0.5, 0.2, -0.1]))
    ring = page.get_by_role("slider", name="Logits over temperature")
    ring.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    frame(page)
    # right is B - A, up is C - (A + B) / 2, each in units of length
    right, up = 0.1 / math.sqrt(2), 0.5 * math.sqrt(2 / 3)
    expected = [0.5 - right - up / 2, 0.2 + right - up / 2, -0.1 + up]
    texts = [page.get_by_role("slider", name=f"Logit {letter}").get_attribute("aria-valuetext") for letter in "ABC"]
    assert [float(text.replace("−", "-")) for text in texts] == pytest.approx(expected, abs=0.0051)
    assert ring.get_attribute("aria-valuetext").startswith("A ")


@pytest.mark.browser
def test_ring_follows_the_mouse_from_the_border_of_the_picture_too(show):
    page = show(DistributionLab(logits=[-2.0, 0.0, 0.5]))
    assert page.locator(".attnlib-point[data-outside]").count() == 1
    assert "outside the picture" in page.inner_text("main")
    box = page.locator(".attnlib-target").bounding_box()
    board = page.locator(".attnlib-lab-simplex").bounding_box()
    to = (board["x"] + board["width"] * 0.5, board["y"] + board["height"] * 0.55)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(*to, steps=6)
    page.mouse.up()
    frame(page)
    box = page.locator(".attnlib-target").bounding_box()
    assert (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) == pytest.approx(to, abs=1.5)
    assert page.locator(".attnlib-point[data-outside]").count() == 0


@pytest.mark.browser
def test_alpha_path_goes_through_softmax_and_sparsemax(show):
    page = show(DistributionLab(logits=[0.6, 0.3, -0.4], path="alpha", wide=False))
    points = page.locator(".attnlib-lab-paths .attnlib-lab-entmax").get_attribute("points").split()
    path = [tuple(map(float, point.split(","))) for point in points]
    assert page.locator(".attnlib-lab-paths .attnlib-lab-softmax").get_attribute("points") == ""
    for name in ON_SIMPLEX:
        mark = place_of(page, f".attnlib-lab-signs .attnlib-lab-{name}")
        assert min(math.dist(mark, point) for point in path) < 4
    assert math.dist(path[0], place_of(page, ".attnlib-lab-signs .attnlib-lab-softmax")) < 1.5


@pytest.mark.browser
def test_temperature_paths_run_from_the_middle_to_the_corner(show):
    page = show(DistributionLab(logits=[0.6, 0.3, -0.4]))
    corner = page.locator(".attnlib-lab-inside").get_attribute("points").split()[0]
    for name in ON_SIMPLEX:
        path = page.locator(f".attnlib-lab-paths .attnlib-lab-{name}").get_attribute("points").split()
        ends = [tuple(map(float, point.split(","))) for point in (path[0], path[-1], corner)]
        assert math.dist(ends[0], (220, 214)) < 3
        assert math.dist(ends[1], ends[2]) < 1
    assert page.get_by_text("A, T → 0").count() == 1
