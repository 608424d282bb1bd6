"""ScoreField: its fields, what its presets promise, and its page. test_plane.py has lines, colours and what moves."""

import math
import re

import pytest
import torch
from browser import frame
from drawn import draw, found, rows, text

from attnlib.widgets import ScoreField
from attnlib.widgets.score_field import SCORES
from attnlib.widgets.text import number, pair, share


def field(name, **state):
    widget = ScoreField(preset=name)
    widget.update(**state)
    return widget


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def random_state(seed=5):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"query": (2,), "key": (7, 2), "weight": (2, 2), "bias": (2,), "vector": (2,), "query_weight": (2, 2)}
    shapes |= {"key_weight": (2, 2), "position_weight": (7, 2)}
    return {name: torch.randn(*shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


@pytest.mark.parametrize("score", SCORES)
def test_energies_are_those_of_the_equations(score):
    state = random_state()
    query, key, weight, bias, vector, from_query, from_key, positions = state.values()
    widget = ScoreField(**state, offset=0.3, scale=1.7, width=0.8, score=score)
    expected = {
        "dot": key @ query,
        "scaled dot": 1.7 * key @ query,
        "similarity": torch.cosine_similarity(key, query[None], dim=-1),
        "general": torch.stack([query @ weight @ k for k in key]),
        "biased general": torch.stack([k @ (weight @ query + bias) for k in key]),
        "activated general": torch.stack([torch.tanh(query @ weight @ k + 0.3) for k in key]),
        "additive": torch.stack([vector @ torch.tanh(from_query @ query + from_key @ k + bias) for k in key]),
        "gaussian": -((key - query) ** 2).sum(-1) / (2 * 0.8**2),
        "location-based": positions @ query,
    }[score]
    assert widget.energies == pytest.approx(expected.tolist(), abs=1e-12)
    assert widget.weights == pytest.approx(torch.softmax(expected, -1).tolist(), abs=1e-12)
    if score != "location-based":
        assert widget.field(key).tolist() == pytest.approx(widget.energies, abs=1e-12)


def test_keys_of_your_own_get_names_and_positions():
    widget = ScoreField(preset="Circles", width=0.5, key=[[1, 0]])
    assert (widget.score, widget.width, widget.labels, len(widget.position_weight)) == ("gaussian", 0.5, ["k1"], 1)
    with pytest.raises(ValueError, match="position_weight has n=2 but"):
        widget.position_weight = [[1.0, 0.0], [0.0, 1.0]]


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_half_planes():
    widget = field("Half planes")
    assert widget.energies[1] == pytest.approx(2 * widget.energies[0])
    across = [-widget.query[1], widget.query[0]]
    along = [[k[0] + t * across[0], k[1] + t * across[1]] for k in widget.key for t in (-1, 0, 1)]
    assert widget.field(along).reshape(5, 3).std(1).max() < 1e-12


def test_preset_a_wedge():
    widget = field("A wedge")
    assert widget.energies[0] == pytest.approx(widget.energies[1])
    longer = field("A wedge", query=[3 * x for x in widget.query])
    assert longer.energies == pytest.approx(widget.energies)
    assert widget.field(double(widget.key) * 0.3).tolist() == pytest.approx(widget.energies)


def test_preset_circles():
    widget = field("Circles")
    nearest = min(widget.key, key=lambda key: math.dist(key, widget.query))
    assert widget.energies[widget.key.index(nearest)] == max(widget.energies)
    assert nearest == widget.key[0] != max(widget.key, key=lambda key: math.hypot(*key))
    one, two, *_ = field("Circles", query=[1.5, 0.75]).weights
    assert one == pytest.approx(two)
    assert max(field("Circles", query=[1.4, 0.7], width=0.2).weights) > 0.9


def test_preset_plateaus():
    widget = field("Plateaus")
    cap = sum(map(abs, widget.vector))
    assert widget.field([[30.0 + x, 20.0] for x in range(5)]).std() < 1e-6
    assert widget.field(torch.randn(500, 2, dtype=torch.float64) * 50).abs().max() <= cap


def test_preset_looking_sideways():
    widget = field("Looking sideways")
    turned = double(widget.weight).T @ double(widget.query)
    assert torch.dot(turned, double(widget.query)) == pytest.approx(0)
    assert widget.energies == pytest.approx((double(widget.key) @ turned).tolist())


def test_preset_a_keys_own_standing():
    widget = field("A key's own standing")
    assert widget.query == [0, 0]
    assert widget.energies == pytest.approx([x for x, _ in widget.key])


def test_preset_held():
    for length in (1, 10, 100):
        widget = field("Held between −1 and 1", query=[1.5 * length, 0.75 * length])
        assert max(widget.weights) / min(widget.weights) <= math.exp(2) * (1 + 1e-12)
    assert math.exp(2) == pytest.approx(7.4, abs=0.02)


def test_preset_deaf():
    widget = field("Deaf to the keys")
    assert len(set(widget.field(widget.key).tolist())) == 1
    assert field("Deaf to the keys", key=widget.key[::-1]).energies == widget.energies
    other = field("Deaf to the keys", query=[-1.5, 0.75])
    assert other.weights.index(max(other.weights)) != widget.weights.index(max(widget.weights))


# ---------------------------------------------------------------------------------------------------------------- page


def reading(widget, place, name):
    return f"f(q, k) = {number(widget.field([place]).item())} for {name} = {pair(place)}"


def test_page_shows_the_numbers_of_attnlib():
    widgets = [ScoreField(preset=item["name"]) for item in ScoreField().presets]
    widgets += [ScoreField(**random_state(seed), score=score) for seed in range(3) for score in SCORES]
    widgets.append(ScoreField(score="similarity", query=[0.0, 0.0]))
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        lines = zip(widget.labels, widget.key, widget.energies, widget.weights, strict=True)
        assert rows(view) == [
            [label, pair(key, 1), number(energy), share(weight)] for label, key, energy, weight in lines
        ]
        name = "position 1, k" if widget.score == "location-based" else f"key {widget.labels[0]}"
        assert text(found(view, "attnlib-reading")[0]) == reading(widget, widget.key[0], name)
    assert text(found(view, "attnlib-field-ends")[0]) == "−1energy 01"  # a field of nothing but 0


@pytest.mark.browser
def test_query_and_probe_by_keyboard(show):
    page = show(ScoreField(preset="Half planes"))
    for key in (*["Tab"] * 4, "ArrowLeft", "Shift+ArrowUp", "Tab", "Shift+ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    frame(page)
    widget = field("Half planes", query=[1.4, 1.25])
    told = ", ".join(f"{label} {share(weight)}" for label, weight in zip(widget.labels, widget.weights, strict=True))
    assert page.locator(".attnlib-caption").inner_text() == f"q = (1.40, 1.25). Softmax weights {told}."
    assert page.locator(".attnlib-reading").inner_text() == reading(widget, [1.1, 0.0], "k")
    label = page.get_by_role("slider", name="Probe").get_attribute("aria-label")
    assert label == f"Probe, energy {number(widget.field([[1.1, 0.0]]).item())}"


@pytest.mark.browser
def test_pointer_reads_the_plane_and_catches_keys(show):
    widget = ScoreField(preset="Circles")
    page = show(widget)
    box = page.locator(".attnlib-plane").bounding_box()

    def over(x, y):
        unit = box["width"] / 6 / 1.12
        page.mouse.move(box["x"] + box["width"] / 2 + x * unit, box["y"] + box["height"] / 2 - y * unit)
        frame(page)
        return page.locator(".attnlib-reading").inner_text()

    assert over(-1.02, 1.58) == reading(widget, [-1.0, 1.6], "key C")
    told = over(-2.0, 0.5)
    place = [float(x.replace("−", "-")) for x in re.findall(r"[−\d.]+", told.split("k = ")[1])]
    assert place == pytest.approx([-2.0, 0.5], abs=0.03)
    assert told == reading(widget, place, "k")


@pytest.mark.browser
@pytest.mark.parametrize("score", SCORES)
def test_sliders_are_those_of_the_score_and_move_the_numbers(show, score):
    page = show(ScoreField(score=score, weight=[[0.5, 0.3], [-0.2, 0.4]]))
    sliders = page.locator(".attnlib-parts input[type=range]:visible")
    counts = {"dot": 0, "scaled dot": 1, "similarity": 0, "general": 4, "biased general": 6}
    counts |= {"activated general": 5, "additive": 12, "gaussian": 1, "location-based": 3}
    names, body = set(), page.locator(".attnlib-side table, .attnlib-field")
    for slider in sliders.all():
        group = slider.evaluate("(node) => node.closest('[role=group]').getAttribute('aria-label')")
        names.add((group, slider.evaluate("(node) => node.labels[0].textContent")))
        before = body.all_text_contents()
        for _ in range(6):
            slider.press("ArrowRight")
        frame(page)
        assert body.all_text_contents() != before
    assert len(names) == sliders.count() == counts[score]
