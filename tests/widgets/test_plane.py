"""The family of the plane: its grid, its level lines and colours, its points in the hand."""

import math
import re

import pytest
from browser import drag, frame, middle
from drawn import arithmetic, draw, found, text

from attnlib.widgets import QueryTuner, ScoreField
from book._tools import static_view

evaluate = arithmetic("contour")


def numbers(words):
    return [float(word.replace("−", "-")) for word in re.findall(r"[−-]?\d+(?:\.\d+)?", words)]


# -------------------------------------------------------------------------------------------------- however far it goes


def test_grid_is_of_few_round_lines_however_far_the_plane_goes():
    places = [0.1, 3, 7, 11, 26, 99, 1e3, 1e4, 1e6, 1e9]
    widgets = [QueryTuner(query=[far, -far / 2]) for far in places]
    for far, view, stored in zip(
        places, draw(*widgets), static_view.rendered([w._repr_html_() for w in widgets]), strict=True
    ):
        assert len(stored) < 30_000
        (grid,) = found(view, "attnlib-grid")
        assert 10 <= len(grid) <= 34
        assert all(-0.01 <= float(line.get(side)) <= 400.01 for line in grid for side in ("x1", "x2", "y1", "y2"))
        told = [text(each) for each in found(view, "attnlib-numerals")[0]]
        assert max(map(len, told)) <= 5
        marks = sorted({abs(float(word.replace("−", "-"))) for word in told if word})
        assert f"{marks[0]:.0e}"[0] in "125"
        assert marks == pytest.approx([marks[0] * (i + 1) for i in range(len(marks))])
        assert marks[-1] <= max(far, 3)


def test_marks_and_rings_are_inside_at_the_limit():
    for view in draw(*(QueryTuner(query=[far, -far], key=[[-far, far]]) for far in (3, 10, 1e6))):
        for point in found(view, "attnlib-point"):
            x, y = numbers(point.get("transform"))
            assert 18.5 <= min(x, 400 - x, y, 400 - y) < 25  # the ring, and the half of its line


def test_a_field_far_out_is_as_small():
    states = [
        {"query": [1e6, -1e6]},
        {"query": [0.0, 0.0]},
        {"score": "gaussian", "width": 1e-3},
        {"key": [[1e9, 1e9]]},
    ]
    for stored in static_view.rendered([ScoreField(**state)._repr_html_() for state in states]):
        assert len(stored) < 60_000
        assert not re.search("NaN|Infinity|undefined", stored)


# ------------------------------------------------------------------------------------------------------- level lines


def isolines(function, level, size=41, limit=2.0):
    step = 2 * limit / (size - 1)
    values = [function(-limit + step * column, limit - step * row) for row in range(size) for column in range(size)]
    lines = evaluate("([values, size, level]) => math.isolines(values, size, level)", [values, size, level])
    return [list(zip(line[::2], line[1::2], strict=True)) for line in lines]


def test_level_line_of_a_circle_is_one_closed_ring():
    (line,) = isolines(lambda x, y: x * x + y * y, 1.0)
    assert line[0] == line[-1]
    assert all(math.hypot((x - 20) / 10, (y - 20) / 10) == pytest.approx(1, abs=0.01) for x, y in line)


def test_level_line_of_a_plane_goes_from_border_to_border():
    (line,) = isolines(lambda x, y: x + y, 0.03)
    assert all(0 in place or 40 in place for place in (line[0], line[-1]))
    assert all((x - 20) - (y - 20) == pytest.approx(0.3) for x, y in line)


def test_saddle_has_two_branches_that_do_not_cross():
    for level, side in ((0.1, 1), (-0.1, -1)):
        lines = isolines(lambda x, y: x * y, level)
        assert len(lines) == 2
        assert all((x - 20) * (20 - y) * side > 0 for line in lines for x, y in line)


def test_flat_field_has_no_line():
    assert isolines(lambda x, y: 1.0, 1.0) == []


def test_steps_are_round_and_few():
    spans = [1e-6, 0.3, 1, 7, 64, 1e5]
    for span, step in zip(
        spans, evaluate("(spans) => spans.map((span) => math.niceStep(span, 9))", spans), strict=True
    ):
        assert 4 <= span / step <= 16
        assert float(f"{step:.0e}") == pytest.approx(step)
        assert f"{step:.0e}"[0] in "125"


# ------------------------------------------------------------------------------------------------------------- colours


def place(pixel, edge=3 * 1.12):
    """The place of the plane at a pixel of the picture, whose border is a little beyond 3."""
    x, y = pixel
    return [x / 200 * edge - edge, edge - y / 200 * edge]


def inside(x, y, path):
    """Whether the drawn area of a path holds a pixel: how often its rings go around it is not even."""
    crossings = 0
    for ring in path.split("M")[1:]:
        spots = [tuple(map(float, spot.split())) for spot in ring.split("L")]
        for (x0, y0), (x1, y1) in zip(spots, [*spots[1:], spots[0]], strict=True):
            crossings += (y0 > y) != (y1 > y) and x < x0 + (x1 - x0) * (y - y0) / (y1 - y0)
    return crossings % 2 == 1


@pytest.mark.parametrize("preset", [item["name"] for item in ScoreField().presets])
def test_colour_and_lines_say_the_energy(preset):
    """The colour of a place is that of the middle between two levels, and the energy there lies between them."""
    widget = ScoreField(preset=preset)
    (view,) = draw(widget)
    (bands,) = found(view, "attnlib-field-bands")
    end = numbers(text(found(view, "attnlib-field-ends")[0]))[-1]
    labels = [(numbers(text(word)), word) for word in found(view, "attnlib-field-words")[0]]
    if widget.score == "location-based":
        assert [text(word) for _, word in labels] == [f"{widget.energies[0]:.2f} everywhere"]
        assert len(bands) == 1
    else:
        assert len(labels) >= 4
        places = [[float(word.get("x")), float(word.get("y")) - 4] for _, word in labels]
        energies = widget.field([place(pixel) for pixel in places]).tolist()
        assert energies == pytest.approx([number[0] for number, _ in labels], abs=0.005 * end + 0.02)
    pixels = [(13 + 34 * i, 13 + 34 * j) for i in range(12) for j in range(12)]
    energies = widget.field([place(pixel) for pixel in pixels]).tolist()
    sampled = widget.field([place((8 * i, 8 * j)) for i in range(51) for j in range(51)])
    span = (sampled.max() - sampled.min()).item()
    step = evaluate("(span) => math.niceStep(span, 9)", span) if span > 1e-9 else 0
    for (x, y), energy in zip(pixels, energies, strict=True):
        top = [band for band in bands if band.tag == "rect" or inside(x, y, band.get("d"))][-1]
        told = end * numbers(top.get("style"))[0] / 100 * (-1 if top.get("class") == "attnlib-below" else 1)
        assert told == pytest.approx(energy, abs=0.56 * step + 0.01 * end)


# ---------------------------------------------------------------------------------------------------------- in the hand


def place_of(page, name="Query q"):
    return numbers(page.get_by_role("slider", name=name).get_attribute("aria-valuetext"))


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    frame(page)
    return place_of(page)


@pytest.mark.browser
def test_a_point_moves_by_keyboard_and_stays_in_the_plane(show):
    page = show(QueryTuner(query=[1.2, 0.9]))
    page.get_by_role("slider", name="Query q").focus()
    assert press(page, "ArrowLeft", "ArrowLeft", "Shift+ArrowUp", "ArrowDown") == [1.0, 1.3]
    assert [press(page, key) for key in ("PageDown", "Home", "End")] == [[1.0, 0.8], [-3.0, 0.8], [3.0, 0.8]]
    assert press(page, "Shift+ArrowRight", "PageUp", *4 * ["Shift+ArrowUp"]) == [3.0, 3.0]
    page = show(QueryTuner(query=[30.0, 10.0]))  # in steps of the grid
    page.get_by_role("slider", name="Query q").focus()
    assert press(page, "ArrowLeft", "Shift+ArrowUp") == [29.5, 12.5]


every_point = pytest.mark.parametrize("name", ["Query q", "Key B", "Value C"])


def spot(page, name):
    return middle(page.get_by_role("slider", name=name))


def unit(page):
    return page.locator(".attnlib-plane").bounding_box()["width"] / 6 / 1.12


@pytest.mark.browser
@every_point
def test_a_point_follows_the_mouse(show, name):
    page = show(QueryTuner())
    (x, y), start = spot(page, name), place_of(page, name)
    drag(page, x + 5, y - 4, -20, 25)
    here = place_of(page, name)
    assert here == pytest.approx([start[0] - 20 / unit(page), start[1] - 25 / unit(page)], abs=0.02)
    page.mouse.move(x + 60, y)
    press(page, "ArrowLeft")
    assert place_of(page, name) == pytest.approx([here[0] - 0.1, here[1]], abs=0.011)
    if name != "Query q":
        assert place_of(page) == QueryTuner().query[0]


@pytest.mark.browser
def test_of_points_that_lie_over_each_other_the_query_is_taken_and_else_the_nearest(show):
    page = show(QueryTuner(query=[1, 1], key=[[1, 1], [1, -1]], value=[[1.4, 1], [1, -1]], labels=["A", "B"]))
    x, y = spot(page, "Query q")
    drag(page, x + 4, y, 60, -60)
    assert place_of(page)[0] > 1.5
    assert place_of(page, "Key A") == [1, 1]
    drag(page, x - 4, y, -60, 60)
    assert place_of(page, "Key A")[0] < 0.5
    assert place_of(page, "Value A") == [1.4, 1]


@pytest.mark.browser
def test_a_click_on_an_empty_place_moves_the_query_that_is_looked_at(show):
    page = show(QueryTuner(query=[[1, 1], [-1, -1]], selected=1))
    x, y = spot(page, "Query q1")
    page.mouse.click(x + unit(page), y - unit(page))
    frame(page)
    assert (place_of(page, "Query q1"), place_of(page, "Query q2")) == ([1, 1], pytest.approx([2, 2], abs=0.02))
    drag(page, x + unit(page), y + unit(page), 60, 0)
    assert place_of(page, "Query q2") == pytest.approx([2, 2], abs=0.02)


@pytest.fixture
def phone(new_context):
    """Opens a page with one widget, longer than the screen, to be touched."""

    def show(widget):
        page = new_context(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True).new_page()
        page.set_content(f'<html><body style="padding-bottom:900px">{widget._repr_html_()}</body></html>')
        page.locator(".attnlib-plane").scroll_into_view_if_needed()
        frame(page)
        return page

    return show


def swipe(page, x, y, down):
    touch = page.context.new_cdp_session(page)
    for step in range(7):
        point = {"x": x, "y": y + down * step / 6}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": [point]})
        frame(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    frame(page)


@pytest.mark.browser
@every_point
def test_a_point_follows_a_finger_and_the_page_does_not_scroll(phone, name):
    page = phone(QueryTuner())
    start, scrolled = place_of(page, name), page.evaluate("scrollY")
    swipe(page, *spot(page, name), 60)
    assert place_of(page, name)[1] < start[1] - 0.5
    assert page.evaluate("scrollY") == scrolled


@pytest.mark.browser
@pytest.mark.parametrize(("widget", "name"), [(QueryTuner, "Query q"), (ScoreField, "Probe")])
def test_to_swipe_over_the_plane_is_to_scroll_and_to_tap_moves(phone, widget, name):
    page = phone(widget())
    before, scrolled = page.locator(".attnlib-body").inner_html(), page.evaluate("scrollY")
    box = page.locator(".attnlib-plane").bounding_box()
    x, y = box["x"] + box["width"] / 2 + 2.4 * unit(page), box["y"] + box["height"] / 2 - 2.2 * unit(page)
    swipe(page, x, y, -60)
    page.wait_for_function("before => scrollY > before + 20", arg=scrolled)
    assert page.locator(".attnlib-body").inner_html() == before
    page.touchscreen.tap(x, y - (page.evaluate("scrollY") - scrolled))
    frame(page)
    assert place_of(page, name) == pytest.approx([2.4, 2.2], abs=0.03)


KERNEL = """async ([module, state]) => {
  const { default: widget } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const changed = {};
  const set = (name, value) => { state[name] = changed[name] = value; };
  const save = () => { window.saved = { ...changed }; };
  const model = { get: (name) => state[name], set, on() {}, off() {}, save_changes: save };
  widget.render({ model, el: document.body });
}"""


@pytest.mark.browser
def test_a_kernel_is_told_of_points_that_were_moved(page):
    widget = QueryTuner()
    page.evaluate(KERNEL, [widget._esm, widget.state()])
    for name, key in (("Key B", "ArrowRight"), ("Value C", "ArrowUp")):
        page.get_by_role("slider", name=name).press(key)
    frame(page)
    before = widget.energies, widget.context
    widget.set_state(page.evaluate("saved"))
    assert (widget.key[1], widget.value[2], widget.preset) == ([-0.8, 1.9], [-2.5, 0.5], "")
    assert all(new != old for new, old in zip((widget.energies, widget.context), before, strict=True))


HOLD_TIMERS = """() => {
  window.held = new Map();
  window.setTimeout = (tell) => { const id = {}; held.set(id, tell); return id; };
  window.clearTimeout = (id) => { held.delete(id); };
}"""


@pytest.mark.browser
def test_a_listener_is_told_once_the_reader_rests(show):
    page = show(QueryTuner())
    status = page.get_by_role("status")
    page.get_by_role("slider", name="Query q").focus()
    page.evaluate(HOLD_TIMERS)  # a slow machine may rest between two keys
    said = set()
    for _ in range(6):
        press(page, "ArrowLeft")
        said.add(status.text_content())
    assert said == {""}
    assert page.evaluate("held.size") == 1
    page.evaluate("for (const tell of held.values()) tell()")
    assert "q = (0.60, 0.90). Weights A 0.576, B 0.385, C 0.040" in status.text_content()
