"""KernelSmoother: its arithmetic, what its presets promise, and its page. test_widgets*.py has the rest."""

import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.widgets import KernelSmoother
from attnlib.widgets.text import number

KERNELS = ("radial", "exponential", "elu + 1", "polynomial", "linear")


def smoother(preset, **state):
    widget = KernelSmoother(preset=preset)
    widget.update(**state)
    return widget


def everywhere(widget):
    return widget.smooth(torch.linspace(-3, 3, 57)).context[:, 0]


def test_preset_near_keys_count():
    wide, middle, narrow = (everywhere(smoother("Near keys count", width=h)) for h in (20.0, 0.5, 0.05))
    values = torch.tensor([value for _, value in KernelSmoother().points], dtype=torch.float64)
    assert (wide - values.mean()).abs().max() < 0.05 < (middle.max() - middle.min())
    gap = lambda curve: (curve[:, None] - values).abs().amin(-1).max()  # noqa: E731 to the nearest value of a key
    assert gap(narrow) < 0.2 < gap(middle)


def test_preset_softmax_attention():
    assert smoother("Softmax attention", query=0.0).weights == pytest.approx([1 / 7] * 7)
    for query, key in ((3.0, 6), (-3.0, 0)):
        weights = smoother("Softmax attention", query=query).weights
        assert weights[key] == max(weights) > 0.8
    wanted = (torch.tensor(KernelSmoother().points).double()[:, 0] * 2.4).softmax(0)
    assert smoother("Softmax attention").weights == pytest.approx(wanted.tolist())


def test_preset_a_flat_curve():
    curve = everywhere(smoother("A flat curve"))
    assert (curve - curve[0]).abs().max() < 1e-12
    for kernel, flat in (("linear", True), ("polynomial", False), ("exponential", False), ("radial", False)):
        curve = everywhere(smoother("A flat curve", kernel=kernel))
        away = torch.linspace(-3, 3, 57).abs() > 0.01  # at q = 0 the linear kernel gives noughts
        assert ((curve - curve[0])[away].abs().max().item() < 1e-9) is flat


def test_preset_three_features():
    widget = smoother("Three features")
    assert widget.weights[5] == 0
    assert min(widget.smooth(torch.linspace(-3, 3, 61)).weights.flatten()) >= 0
    assert everywhere(widget).max() - everywhere(widget).min() > 0.4


def test_preset_no_distribution():
    widget = smoother("No distribution")
    values = [value for _, value in widget.points]
    assert min(widget.weights) < 0
    assert max(widget.weights) > 1
    assert sum(widget.weights) == pytest.approx(1)
    assert widget.context > max(values)


def test_arithmetic_is_that_of_attnlib(record_property):
    rng, cases = random.Random(0), []
    for _ in range(150):
        points = [[rng.uniform(-3, 3), rng.gauss(0, 2)] for _ in range(rng.randint(1, 12))]
        state = {"kernel": rng.choice(KERNELS), "width": rng.uniform(0.2, 4), "degree": rng.choice([2, 4, 6])}
        cases.append((rng.uniform(-3, 3), points, state))
    made = arithmetic("kernel_smoother")("(cases) => cases.map((each) => math.smooth(...each))", cases)
    gap = 0.0
    for (query, points, state), page in zip(cases, made, strict=True):
        widget = KernelSmoother(query=query, points=points, **state)
        size = max(1.0, *map(abs, widget.weights))  # plain products may nearly cancel, and weights are as large as that
        both = zip([*page["weights"], page["context"]], [*widget.weights, widget.context], strict=True)
        gap = max(gap, *(abs(a - b) / size for a, b in both))
    record_property("measured", f"{gap:.1e} largest gap to attnlib  kernel smoothing")
    assert gap < 1e-6


def test_page_shows_the_numbers_of_attnlib():
    widgets = [smoother(each["name"]) for each in KernelSmoother().presets]
    widgets += [KernelSmoother(points=[[1, 0], [-1, 5]], kernel="linear"), KernelSmoother(points=[[900, -900]])]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        assert [row[1] for row in rows(view)] == [number(weight, 3) for weight in widget.weights]


def test_no_average_where_the_kernel_is_zero():
    widget = smoother("No distribution", query=0.0)
    assert "no average here" in widget.summary()
    lines = []
    for view in draw(widget, smoother("A flat curve")):
        [curve] = found(view, "attnlib-smoother-curve")
        lines.append((curve[0].get("d").count("M"), "no average here" in text(view)))
    assert lines == [(2, True), (1, False)]  # a gap in the curve at q = 0


def test_a_negative_weight_looks_like_one():
    widget = smoother("No distribution")
    [view] = draw(widget)
    below = [row[0] for row in rows(view) if row[1].startswith("−")]
    drawn = [text(each[0]) for each in found(view, "attnlib-smoother-below")]
    assert below == drawn == ["A", "B", "C"]


def test_a_kernel_too_large_to_write_is_a_power():
    [view] = draw(KernelSmoother(query=3, kernel="exponential", width=0.1))
    kernels = [row[3] for row in rows(view)]
    assert kernels[-1] == "e^780"
    assert kernels[0] == "e^−780"


@pytest.mark.browser
def test_the_query_keeps_to_its_line_and_keys_come_and_go(show):
    page = show(KernelSmoother())
    cells = lambda: [cell.strip() for cell in page.locator("tbody td:nth-child(2)").all_inner_texts()]  # noqa: E731
    page.get_by_role("slider", name="Query q").focus()
    for key in ("Shift+ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    page.get_by_label("Kernel", exact=True).select_option("exponential")
    frame(page)
    wanted = KernelSmoother(query=1.3, kernel="exponential")
    assert cells() == [number(weight, 3) for weight in wanted.weights]
    page.get_by_role("button", name="Add a key").click()
    frame(page)
    wanted = KernelSmoother(query=1.3, kernel="exponential", points=[*wanted.points, [-0.35, 1.0]])  # in the widest gap
    assert cells() == [number(weight, 3) for weight in wanted.weights]
    page.get_by_role("button", name="Remove the last key").click()
    frame(page)
    assert len(cells()) == 7
