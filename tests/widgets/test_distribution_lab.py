"""DistributionLab: what its presets promise, its geometry, and its page. test_widgets*.py has the rest."""

import itertools
import math

import pytest
import torch
from browser import drag, frame, middle
from drawn import arithmetic, draw, found, rows, text

from attnlib import distributions
from attnlib.widgets import DistributionLab
from attnlib.widgets.text import share

ON_SIMPLEX = ("softmax", "entmax", "sparsemax")


def lab(preset, **state):
    widget = DistributionLab(preset=preset)
    widget.update(**state)
    return widget


def test_outputs_are_those_of_attnlib():
    logits = torch.tensor([0.7, -1.3, 0.4], dtype=torch.float64)
    widget = DistributionLab(logits=logits, temperature=0.6, alpha=1.7)
    for name, options in {"softmax": {}, "entmax": {"alpha": 1.7}, "sparsemax": {}, "sigmoid": {}}.items():
        expected = getattr(distributions, name)(logits, temperature=0.6, **options)
        assert getattr(widget, name) == expected.tolist()


def test_bounds():
    for state in ({"logits": [5.1, 0.0, 0.0]}, {"temperature": 0.0}, {"alpha": 1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(state))} must be"):
            DistributionLab(**state)


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


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_plane_has_true_lengths_and_forgets_what_is_added_to_all():
    logits = torch.randn(100, 3, dtype=torch.float64)
    flat = arithmetic("simplex")(
        "(rows) => rows.map((row) => math.flat(row))", [*logits.tolist(), *(logits + 7).tolist()]
    )
    places, shifted = torch.tensor(flat, dtype=torch.float64).split(100)
    torch.testing.assert_close(places, shifted)
    centred = logits - logits.mean(-1, keepdim=True)
    torch.testing.assert_close(torch.cdist(places, places), torch.cdist(centred, centred))
    back = arithmetic("simplex")("(rows) => rows.map((row) => math.lifted(row))", places.tolist())
    torch.testing.assert_close(torch.tensor(back, dtype=torch.float64), centred)


def place(shape):
    return tuple(map(float, shape.get("transform").removeprefix("translate(").removesuffix(")").split()))


def path(view, name):
    return [tuple(map(float, each.split(","))) for each in found(view, f"attnlib-lab-{name}")[0].get("points").split()]


def corners(view):
    return [
        tuple(map(float, each.split(","))) for each in found(view, "attnlib-simplex-inside")[0].get("points").split()
    ]


def test_page_shows_the_numbers_of_attnlib_and_marks_the_zeros():
    widgets = [lab(item["name"], wide=wide) for item in DistributionLab().presets for wide in (False, True)]
    for logits in ([0.0, 0.0, 0.0], [5.0, -5.0, 0.0], [-2.0, 1.5, 1.4]):
        widgets += [DistributionLab(logits=logits, temperature=t, alpha=a, path=path)
                    for t, a, path in ((0.02, 1.01, "alpha"), (9.0, 3.3, "temperature"))]  # fmt: skip
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        every = {name: getattr(widget, name) for name in (*ON_SIMPLEX, "sigmoid")}
        total = sum(widget.sigmoid)
        sums = ["1", "1", "1", "1" if abs(total - 1) < 5e-4 else f"{total:.2f} ≠ 1"]
        assert [row[1:] for row in rows(view)] == [
            [*map(share, weights), told] for weights, told in zip(every.values(), sums, strict=True)
        ]
        assert len([cell for cell in view.iter("td") if "data-zero" in cell.attrib]) == sum(
            weight == 0 for weights in every.values() for weight in weights
        )
        lengths = [float(bar.find("span").get("style")[6:-1]) for bar in found(view, "attnlib-gauge")]
        assert lengths == pytest.approx([100 * weight for weights in every.values() for weight in weights], abs=0.0051)
        for name, mark in zip(ON_SIMPLEX, found(view, "attnlib-lab-signs")[0], strict=True):
            mixed = [sum(w * at[i] for w, at in zip(every[name], corners(view), strict=True)) for i in (0, 1)]
            assert place(mark) == pytest.approx(mixed, abs=0.011)
        kept = ", ".join(f"{sum(weight > 0 for weight in every[name])} by {name}" for name in ON_SIMPLEX)
        told = f"Keys that are kept: {kept}. Sigmoid weighs each on its own: its weights sum to {total:.3f},"
        assert text(found(view, "attnlib-caption")[0]).startswith(told)


def test_temperature_paths_run_from_the_middle_to_the_corner():
    (view,) = draw(DistributionLab(logits=[0.6, 0.3, -0.4]))
    for name in ON_SIMPLEX:
        assert math.dist(path(view, name)[0], (220, 214)) < 3
        assert math.dist(path(view, name)[-1], corners(view)[0]) < 1
    words = [text(each) for each in found(view, "attnlib-simplex-words")[0]]
    assert {"A, T → 0", "B", "C"} < set(words)
    (tie,) = draw(DistributionLab(logits=[0.6, 0.6, -0.4]))
    assert {"A", "B", "C", "T → 0"} < {text(each) for each in found(tie, "attnlib-simplex-words")[0]}


def test_alpha_path_passes_softmax_entmax_and_sparsemax():
    (view,) = draw(DistributionLab(logits=[1.0, 0.8, 0.1], path="alpha"))
    assert path(view, "softmax") == path(view, "sparsemax") == []
    marks = [place(mark) for mark in found(view, "attnlib-lab-signs")[0]]
    assert all(min(math.dist(mark, each) for each in path(view, "entmax")) < 4 for mark in marks)
    assert math.dist(path(view, "entmax")[0], marks[0]) < 1.5


# ----------------------------------------------------------------------------------------------- the page, in the hand


def logits_of(page):
    sliders = (page.get_by_role("slider", name=f"Logit {letter}") for letter in "ABC")
    return [float(slider.get_attribute("aria-valuetext").replace("−", "-")) for slider in sliders]


@pytest.mark.browser
def test_ring_moves_by_keyboard_and_keeps_the_mean_of_the_logits(show):
    page = show(DistributionLab(logits=[0.5, 0.2, -0.1]))
    page.get_by_role("slider", name="Logits over temperature").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    frame(page)
    # right is B - A, up is C - (A + B) / 2, each in units of length
    right, up = 0.1 / math.sqrt(2), 0.5 * math.sqrt(2 / 3)
    expected = [0.5 - right - up / 2, 0.2 + right - up / 2, -0.1 + up]
    assert logits_of(page) == pytest.approx(expected, abs=0.0051)


@pytest.mark.browser
def test_ring_follows_the_mouse_from_the_border_of_the_picture_too(show):
    page = show(DistributionLab(logits=[-2.0, 0.0, 0.5]))
    assert page.locator(".attnlib-point[data-outside]").count() == 1
    assert "outside the picture" in page.inner_text("main")
    (x, y), board = middle(page.locator(".attnlib-point")), page.locator(".attnlib-simplex").bounding_box()
    drag(page, x, y, board["x"] + board["width"] * 0.5 - x, board["y"] + board["height"] * 214 / 360 - y)
    assert page.locator(".attnlib-point[data-outside]").count() == 0
    assert logits_of(page) == pytest.approx([-0.5] * 3, abs=0.03)
