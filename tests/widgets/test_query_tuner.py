"""QueryTuner: its outputs, what its presets promise, and what its page shows. test_plane.py has what moves."""

import math

import pytest
import torch
from browser import frame
from drawn import draw, found, rows, text

from attnlib import attend
from attnlib.distributions import entmax, sigmoid, softmax, sparsemax
from attnlib.scores import additive, dot, gaussian, general, scaled_dot, similarity
from attnlib.widgets import QueryTuner
from attnlib.widgets.text import number, pair, share

TURN = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
PARTS = {"vector": torch.ones(2).double(), "query_weight": torch.eye(2).double(), "key_weight": torch.eye(2).double()}
SCORES = {
    "dot": dot,
    "scaled dot": lambda q, k: scaled_dot(q, k, scale=0.3),
    "similarity": similarity,
    "general": lambda q, k: general(q, k, weight=TURN),
    "additive": lambda q, k: additive(q, k, **PARTS),
    "gaussian": lambda q, k: gaussian(q, k, width=0.8),
}
DISTRIBUTIONS = {
    "softmax": lambda e: softmax(e, temperature=0.7),
    "entmax": lambda e: entmax(e, alpha=1.3, temperature=0.7),
    "sparsemax": lambda e: sparsemax(e, temperature=0.7),
    "sigmoid": lambda e: sigmoid(e, temperature=0.7),
}


def tuner(preset, **state):
    widget = QueryTuner(preset=preset)
    widget.update(**state)
    return widget


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("keys_only", [False, True])
def test_outputs_are_those_of_attend(score, distribution, keys_only):
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (2, 5, 5))
    mask = [True, True, False, True, True]
    state = {"mask": mask, "score": score, "distribution": distribution, "keys_only": keys_only, "width": 0.8}
    widget = QueryTuner(query=query, key=key, value=value, scale=0.3, temperature=0.7, alpha=1.3, **state)
    parts = {"score": SCORES[score], "distribution": DISTRIBUTIONS[distribution]}
    expected = attend(query, key, None if keys_only else value, mask=torch.tensor([mask]), **parts)
    for name in ("energies", "weights", "context"):
        actual = torch.tensor(getattr(widget, name), dtype=torch.float64)
        torch.testing.assert_close(actual, getattr(expected, name), atol=1e-12, rtol=1e-9)


def test_outputs_by_hand():
    widget = QueryTuner(query=[math.log(3), 0], key=[[1, 0], [0, 5]], value=[[4, 0], [0, 8]], score="dot")
    assert widget.weights[0] == pytest.approx([0.75, 0.25])
    assert widget.context[0] == pytest.approx([3, 2])


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_keys_find_values_answer():
    name = "Keys find, values answer"
    nearer = tuner(name, query=[2.0, 0.6])
    assert nearer.weights[0][0] > tuner(name).weights[0][0]
    assert math.dist(nearer.context[0], nearer.value[0]) < math.dist(nearer.context[0], nearer.key[0])


def test_preset_a_long_key_wins():
    widget = tuner("A long key wins")
    assert widget.weights[0][1] > 0.5
    by_angle = tuner("A long key wins", score="similarity")
    assert max(by_angle.weights[0]) == by_angle.weights[0][0]
    assert by_angle.energies[0][0] == pytest.approx(1)


def test_preset_sparsemax_drops_a_key():
    a, b, c = tuner("Sparsemax drops a key").weights[0]
    assert a > b > c == 0
    assert 0 < tuner("Sparsemax drops a key", distribution="softmax").weights[0][2] < 0.1


def test_preset_a_scale_that_saturates():
    def moved(**state):
        here = tuner("A scale that saturates", **state)
        there = tuner("A scale that saturates", **state, query=[0.3, 1.4])
        return max(here.weights[0]), math.dist(here.context[0], there.context[0])

    (top, step), (calm_top, calm_step) = moved(), moved(scale=0.71)
    assert top > 0.99
    assert step < 0.1 * calm_step
    assert calm_top < 0.9


def test_preset_two_queries():
    one, two = tuner("Two queries, one memory").weights
    assert one != two


def test_preset_a_masked_key():
    widget = tuner("A masked key")
    assert (widget.energies[0][0], widget.weights[0][0]) == (-math.inf, 0)
    assert sum(widget.weights[0]) == pytest.approx(1)
    widget.mask = [False] * 3
    assert (widget.weights, widget.context) == ([[0.0, 0.0, 0.0]], [[0.0, 0.0]])


def test_preset_each_key_for_itself():
    assert sum(tuner("Each key for itself").weights[0]) != pytest.approx(1, abs=0.1)


# ---------------------------------------------------------------------------------------------------------------- page


def expected(widget):
    """What the page is to show of the selected query."""
    i = widget.selected
    energies, weights = widget.energies[i], widget.weights[i]
    name = f"q{i + 1}" if len(widget.query) > 1 else "q"
    told = ", ".join(f"{label} {share(weight)}" for label, weight in zip(widget.labels, weights, strict=True))
    news = f"{name} = {pair(widget.query[i])}. Weights {told}, sum {number(sum(weights))}."
    table = [[label, number(e), share(w)] for label, e, w in zip(widget.labels, energies, weights, strict=True)]
    return f"{news} Context c = Σ αv = {pair(widget.context[i])}.", table


def test_page_shows_the_numbers_of_attnlib():
    """Each preset under each score and distribution, and a state of four queries without a visible key."""
    widgets = []
    for item in QueryTuner().presets:
        widgets += [tuner(item["name"]), tuner(item["name"], keys_only=True)]
        widgets += [tuner(item["name"], score=score, width=0.7) for score in SCORES]
        widgets += [tuner(item["name"], distribution=name, temperature=0.6) for name in DISTRIBUTIONS]
    widgets.append(QueryTuner(query=[[0, 0], [1, 2], [-2, 1], [3, 3]], selected=3, mask=[False] * 3))
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        assert (text(found(view, "attnlib-caption")[0]), rows(view, "attnlib-keys")) == expected(widget)
        several = [[f"q{i + 1}", *map(share, row)] for i, row in enumerate(widget.weights)]
        assert rows(view, "attnlib-queries") == (several if len(several) > 1 else [])


def test_picture_has_each_point_in_its_place():
    widget = QueryTuner(preset="A masked key")
    (view,) = draw(widget)
    unit = 400 / 6 / 1.12
    for kind, points in (("key", widget.key), ("value", widget.value), ("context", widget.context)):
        drawn = [mark for mark in found(view, f"attnlib-mark-{kind}") if mark.get("transform")]
        places = [f"translate({200 + x * unit:.2f} {200 - y * unit:.2f})" for x, y in points]
        assert [mark.get("transform") for mark in drawn] == places
        assert [mark.get("data-hollow") is not None for mark in drawn] == [kind != "context", False, False][
            : len(points)
        ]
    widths = [float(line.get("stroke-width")) for line in found(view, "attnlib-flows")[0]]
    assert widths == pytest.approx([1 + 9 * weight for weight in widget.weights[0]], abs=1e-3)


@pytest.mark.browser
def test_by_keyboard_alone(show):
    page, widget = show(QueryTuner()), QueryTuner()

    def same(**state):
        frame(page)
        widget.update(**state)
        lines = [line.split("\t") for line in page.locator(".attnlib-keys tbody tr").all_inner_texts()]
        shown = [[cell.strip() for cell in line] for line in lines]
        return (page.locator(".attnlib-caption").inner_text(), shown) == expected(widget)

    def tab(count=1):
        for _ in range(count):
            page.keyboard.press("Tab")
        return page.evaluate("document.activeElement.getAttribute('aria-label')")

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)

    assert tab(4) == "Query q"
    press("ArrowLeft", "ArrowLeft", "Shift+ArrowUp")
    assert same(query=[1.0, 1.4])
    assert [tab() for _ in range(2)] == ["Key A", "Key B"]
    press("ArrowLeft", "PageDown")
    assert same(key=[[2.0, 0.6], [-1.0, 1.4], [-0.7, -1.8]])
    assert [tab() for _ in range(4)] == ["Key C", *(f"Value {label}" for label in "ABC")]
    press("Home")
    assert same(value=[[2.3, -1.7], [1.0, 2.6], [-3.0, 0.4]])
    assert tab() == "A visible"
    press("Space")
    assert same(mask=[False, True, True])
    for key, temperature in (("End", 20.0), ("Home", 0.05)):
        page.get_by_label("Temperature").press(key)
        assert same(temperature=temperature)
        assert page.get_by_label("Temperature").get_attribute("aria-valuetext") == number(temperature)
    page.get_by_label("Values are the keys").press("Space")
    assert same(keys_only=True)
    assert page.get_by_role("slider", name="Value").count() == 0
    page.get_by_role("slider", name="Key C").press("End")
    assert same(key=[[2.0, 0.6], [-1.0, 1.4], [3.0, -1.8]])
    page.get_by_role("button", name="Add a query").press("Enter")
    assert same(query=[[1.0, 1.4], [-1.4, 1.0]], selected=1)
    page.get_by_role("button", name="q1", exact=True).press("Enter")
    assert same(selected=0)
    page.get_by_role("button", name="Remove q1").press("Enter")
    assert same(query=[[-1.4, 1.0]], selected=0)
