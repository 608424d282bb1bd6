"""ScoreField: its fields and level lines, what its presets promise, and its page. test_widgets*.py has the rest."""

import math
import re

import pytest
import torch
from browser import frame

from attnlib import scores
from attnlib.widgets import ScoreField
from attnlib.widgets.contour import isolines, nice_step
from attnlib.widgets.score_field import PRESETS, SCORES

NAMES = [preset["name"] for preset in PRESETS]


def with_preset(name, **state):
    widget = ScoreField(preset=name)
    widget.update(**state)
    return widget


def double(values):
    return torch.tensor(values, dtype=torch.float64)


# ----------------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("score", SCORES)
def test_energies_are_those_of_attnlib(score):
    generator = torch.Generator().manual_seed(5)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    query, key, weight, bias, positions = draw(2), draw(7, 2), draw(2, 2), draw(2), draw(7, 2)
    vector, from_query, from_key = draw(2), draw(2, 2), draw(2, 2)
    state = {"weight": weight, "bias": bias, "offset": 0.3, "scale": 1.7, "width": 0.8, "vector": vector}
    state |= {"query_weight": from_query, "key_weight": from_key, "position_weight": positions}
    widget = ScoreField(query=query, key=key, score=score, **state)
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


def test_what_is_given_beside_a_preset_stands():
    widget = ScoreField(preset="Circles", width=0.5, key=[[1, 0]])
    assert (widget.score, widget.width, widget.labels) == ("gaussian", 0.5, ["k1"])
    assert ScoreField(**widget.state()).state() == widget.state()
    widget.preset = "A wedge"
    assert (widget.score, widget.width, len(widget.key)) == ("similarity", 1.0, 5)


def test_keys_of_your_own_get_names_and_positions():
    widget = ScoreField(key=[[1, 0], [0, 1]])
    assert widget.labels == ["k1", "k2"]
    assert len(widget.position_weight) == 2


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_half_planes():
    widget = with_preset("Half planes")
    assert widget.energies[1] == pytest.approx(2 * widget.energies[0])
    across = [-widget.query[1], widget.query[0]]
    along = [[k[0] + t * across[0], k[1] + t * across[1]] for k in widget.key for t in (-1, 0, 1)]
    assert widget.field(along).reshape(5, 3).std(1).max() < 1e-12


def test_preset_a_wedge():
    widget = with_preset("A wedge")
    assert widget.energies[0] == pytest.approx(widget.energies[1])
    longer = with_preset("A wedge", query=[3 * x for x in widget.query])
    assert longer.energies == pytest.approx(widget.energies)
    assert widget.field(double(widget.key) * 0.3).tolist() == pytest.approx(widget.energies)


def test_preset_circles():
    widget = with_preset("Circles")
    nearest = min(widget.key, key=lambda key: math.dist(key, widget.query))
    assert widget.energies[widget.key.index(nearest)] == max(widget.energies)
    assert nearest == widget.key[0] != max(widget.key, key=lambda key: math.hypot(*key))
    between = [1.5, 0.75]
    assert with_preset("Circles", query=between).weights[0] == pytest.approx(
        with_preset("Circles", query=between).weights[1]
    )
    assert max(with_preset("Circles", query=[1.4, 0.7], width=0.2).weights) > 0.9


def test_preset_plateaus():
    widget = with_preset("Plateaus")
    cap = sum(map(abs, widget.vector))
    far = widget.field([[30.0 + x, 20.0] for x in range(5)])
    assert far.std() < 1e-6
    assert widget.field(torch.randn(500, 2, dtype=torch.float64) * 50).abs().max() <= cap


def test_preset_looking_sideways():
    widget = with_preset("Looking sideways")
    turned = double(widget.weight).T @ double(widget.query)
    assert torch.dot(turned, double(widget.query)) == pytest.approx(0)
    assert widget.energies == pytest.approx((double(widget.key) @ turned).tolist())


def test_preset_a_keys_own_standing():
    widget = with_preset("A key's own standing")
    assert widget.query == [0, 0]
    assert widget.energies == pytest.approx([x for x, _ in widget.key])


def test_preset_held():
    for length in (1, 10, 100):
        widget = with_preset("Held between −1 and 1", query=[1.5 * length, 0.75 * length])
        assert max(widget.weights) / min(widget.weights) <= math.exp(2) * (1 + 1e-12)
    assert math.exp(2) == pytest.approx(7.4, abs=0.02)


def test_preset_deaf():
    widget = with_preset("Deaf to the keys")
    assert len(set(widget.field(widget.key).tolist())) == 1
    assert with_preset("Deaf to the keys", key=widget.key[::-1]).energies == widget.energies
    other = with_preset("Deaf to the keys", query=[-1.5, 0.75])
    assert other.weights.index(max(other.weights)) != widget.weights.index(max(widget.weights))


# ------------------------------------------------------------------------------------------------------- level lines


def sampled(function, size=41, limit=2.0):
    step = 2 * limit / (size - 1)
    return [function(-limit + step * column, limit - step * row) for row in range(size) for column in range(size)]


def test_level_line_of_a_circle_is_one_closed_ring():
    (line,) = isolines(sampled(lambda x, y: x * x + y * y), 41, 1.0)
    assert line[0] == line[-1]
    assert all(math.hypot((x - 20) / 10, (y - 20) / 10) == pytest.approx(1, abs=0.01) for x, y in line)


def test_level_line_of_a_plane_is_straight_from_border_to_border():
    (line,) = isolines(sampled(lambda x, y: x + y), 41, 0.03)
    assert len(line) == 2
    assert all(0 in place or 40 in place for place in line)


def test_saddle_has_two_branches_that_do_not_cross():
    for level, side in ((0.1, 1), (-0.1, -1)):
        lines = isolines(sampled(lambda x, y: x * y), 41, level)
        assert len(lines) == 2
        for line in lines:
            assert all((x - 20) * (20 - y) * side > 0 for x, y in line)


def test_flat_field_has_no_line():
    assert isolines([1.0] * 16, 4, 1.0) == []


@pytest.mark.parametrize("span", [1e-6, 0.3, 1, 7, 64, 1e5])
def test_steps_are_round_and_few(span):
    step = nice_step(span, 9)
    assert 4 <= span / step <= 16
    assert float(f"{step:.0e}") == pytest.approx(step)
    assert f"{step:.0e}"[0] in "125"


@pytest.mark.parametrize("name", NAMES)
def test_picture_has_numbers_on_its_lines(name):
    widget = with_preset(name)
    text = widget.picture().svg()
    assert not re.search("nan|inf", text)
    if widget.score == "location-based":
        assert "everywhere" in text
        assert text.count("<polyline") < 30
    else:
        assert len(re.findall(r'font-size="11"[^>]*>−?[\d.]+</text>', text)) >= 4


def test_picture_of_extreme_states():
    for state in ({"query": [0.0, 0.0]}, {"query": [500.0, -3.0]}, {"score": "gaussian", "width": 1e-3}):
        assert not re.search("nan|inf", ScoreField(**state).picture().svg())


# -------------------------------------------------------------------------------------------------------------- page


def plain(text):
    return float(text.replace("−", "-"))


def table(page):
    rows = page.locator(".attnlib-field-table tbody tr").all()
    return [[plain(row.locator("td").nth(1).inner_text()), row.locator("td").nth(2).inner_text()] for row in rows]


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_page_shows_the_numbers_of_attnlib(show, name):
    widget = ScoreField(preset=name)
    page = show(widget)
    for (energy, weight), expected, share in zip(table(page), widget.energies, widget.weights, strict=True):
        assert energy == pytest.approx(expected, abs=0.0051)
        if not weight.startswith("<"):
            assert plain(weight) == pytest.approx(share, abs=0.00051)
    lines = "".join(path.get_attribute("d") for path in page.locator(".attnlib-field-lines path").all())
    labels = page.locator(".attnlib-field-words text").all_text_contents()
    if widget.score == "location-based":
        assert lines == ""
        assert labels == [f"{widget.energies[0]:.2f} everywhere"]
    else:
        assert lines.count("M") >= 4
        assert len(labels) >= 4


@pytest.mark.browser
def test_colours_of_a_field_that_is_zero(show):
    widget = ScoreField(score="similarity", query=[0.0, 0.0])
    assert "colours from −1 to 1" in widget.picture().svg()
    assert show(widget).locator(".attnlib-field-ends").inner_text().split() == ["−1", "energy", "0", "1"]


@pytest.mark.browser
def test_numbers_on_the_lines_are_the_energies_there(show):
    widget = ScoreField(preset="Plateaus")
    page = show(widget)
    for text in page.locator(".attnlib-field-words text").all():
        x, y = float(text.get_attribute("x")), float(text.get_attribute("y")) - 4
        place = [x / 400 * 6 - 3, 3 - y / 400 * 6]
        assert widget.field([place]).item() == pytest.approx(plain(text.text_content()), abs=0.03)


@pytest.mark.browser
def test_query_and_probe_by_keyboard(show):
    page = show(ScoreField(preset="Half planes"))
    query = page.get_by_role("slider", name="Query q")
    query.focus()
    for key in ("ArrowLeft", "Shift+ArrowUp"):
        page.keyboard.press(key)
    frame(page)
    assert query.get_attribute("aria-valuetext") == "x 1.40, y 1.25"
    expected = ScoreField(preset="Half planes", query=[1.4, 1.25])
    assert [energy for energy, _ in table(page)] == pytest.approx(expected.energies, abs=0.0051)
    page.keyboard.press("Tab")
    for key in ("Shift+ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    frame(page)
    energy = scores.dot(double([[1.4, 1.25]]), double([[1.1, 0.0]])).item()
    assert page.locator(".attnlib-field-reading").inner_text() == f"f(q, k) = {energy:.2f} for k = (1.10, 0.00)"
    assert f"energy {energy:.2f}" in page.get_by_role("slider", name="Probe").get_attribute("aria-label")


@pytest.mark.browser
def test_pointer_reads_the_plane_and_catches_keys(show):
    widget = ScoreField(preset="Circles")
    page = show(widget)
    box = page.locator(".attnlib-field-board .attnlib-plane").bounding_box()

    def over(x, y):
        page.mouse.move(box["x"] + (x + 3) / 6 * box["width"], box["y"] + (3 - y) / 6 * box["height"])
        frame(page)
        return page.locator(".attnlib-field-reading").inner_text()

    assert over(-1.02, 1.58) == f"f(q, k) = −{-widget.energies[2]:.2f} for key C = (−1.00, 1.60)"
    reading = re.fullmatch(r"f\(q, k\) = (\S+) for k = \((\S+), (\S+)\)", over(-2.0, 0.5)).groups()
    energy, x, y = map(plain, reading)
    assert (x, y) == pytest.approx((-2.0, 0.5), abs=0.03)
    assert energy == pytest.approx(widget.field([[x, y]]).item(), abs=0.0051)


@pytest.mark.browser
@pytest.mark.parametrize("score", SCORES)
def test_sliders_are_those_of_the_score_and_move_the_numbers(show, score):
    widget = ScoreField(score=score, weight=[[0.5, 0.3], [-0.2, 0.4]])
    page = show(widget)
    sliders = page.locator(".attnlib-field-settings input[type=range]:visible")
    counts = {"dot": 0, "scaled dot": 1, "similarity": 0, "general": 4, "biased general": 6}
    counts |= {"activated general": 5, "additive": 12, "gaussian": 1, "location-based": 3}
    assert sliders.count() == counts[score]
    names = set()
    for slider in sliders.all():
        group = slider.evaluate("(node) => node.closest('[role=group]').getAttribute('aria-label')")
        names.add((group, slider.evaluate("(node) => node.labels[0].textContent")))
        before = table(page), page.locator(".attnlib-field-words").text_content()
        slider.focus()
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        frame(page)
        assert (table(page), page.locator(".attnlib-field-words").text_content()) != before
    assert len(names) == counts[score]


def pixel(page, x, y):
    return page.locator(".attnlib-field-canvas").evaluate(
        """(canvas, [x, y]) => [...canvas.getContext("2d").getImageData(
            Math.round((x + 3) / 6 * canvas.width), Math.round((3 - y) / 6 * canvas.height), 1, 1).data]""",
        [x, y],
    )


@pytest.mark.browser
def test_colours_are_blue_below_and_red_above_and_follow_the_theme(show):
    page = show(ScoreField(preset="Half planes"))
    below, zero, above = (pixel(page, *place) for place in ((-2.5, -2), (0.5, -1), (2.5, 2)))
    assert below[2] > below[0] + 60
    assert above[0] > above[2] + 60
    assert min(zero[:3]) > 235
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    frame(page)
    assert max(pixel(page, 0.5, -1)[:3]) < 60
    assert pixel(page, 2.5, 2)[0] > pixel(page, 2.5, 2)[2] + 40


@pytest.mark.browser
def test_canvas_is_sharp_on_a_dense_screen(new_context):
    page = new_context(device_scale_factor=2).new_page()
    page.set_content(ScoreField()._repr_html_())
    frame(page)
    canvas = page.locator(".attnlib-field-canvas")
    assert canvas.evaluate("(node) => node.width") == pytest.approx(
        2 * canvas.evaluate("(node) => node.getBoundingClientRect().width"), abs=2
    )
