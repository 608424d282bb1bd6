"""The widgets in a real Chromium, as a static page over http and from a file."""

import json
import math
import re
from functools import cache

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browser import frame, move_something, served, start_from, started_from, watch

import attnlib.widgets
from attnlib.widgets import LocalWindow
from book._tools import static_view

pytestmark = pytest.mark.browser

WIDGETS = [getattr(attnlib.widgets, name) for name in attnlib.widgets.__all__]
every_widget = pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)


@cache
def first(widget):
    """A widget as it comes, made once a class: to make one can take longer than to look at it."""
    return widget()


@cache
def html(widget):
    return first(widget)._repr_html_()


# ------------------------------------------------------------------------------------------------------- static pages


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder of pages, and the http address under which it is served."""
    folder = tmp_path_factory.mktemp("pages")
    with served(folder) as address:
        yield folder, address


@pytest.fixture
def show(shelf, page):
    """Open a page made of the html of widgets; ``show.record`` is what the page asked for and complained about."""

    def open_page(*parts, theme=None, over="file", page=page, head=""):
        folder, address = shelf
        body = "".join(part if isinstance(part, str) else html(part) for part in parts)
        theme = f' data-theme="{theme}"' if theme else ""
        colours = "background:#14181e;color:#ffffff" if theme == "dark" else "background:#ffffff;color:#000000"
        text = (
            f'<!doctype html><html lang="en"{theme}><head><meta charset="utf-8"><title>Widgets</title>'
            f'<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">{head}</head>'
            f'<body style="margin:16px;{colours}"><main><h1>Widgets</h1>{body}</main></body></html>'
        )
        (folder / "page.html").write_text(text, encoding="utf-8")
        page.goto((folder / "page.html").as_uri() if over == "file" else f"{address}page.html")
        return page

    open_page.record = watch(page)
    open_page.origins = (shelf[0].as_uri(), shelf[1])
    return open_page


@pytest.mark.parametrize("over", ["file", "http"])
def test_page_of_all_widgets_twice_comes_alive_and_asks_for_nothing(show, over):
    page = show(*WIDGETS * 2, over=over)
    assert page.locator(".attnlib-view").count() == 2 * len(WIDGETS)
    assert page.locator(".attnlib-picture:visible").count() == 0
    assert page.locator("[role=alert]:visible").count() == 0
    assert show.record.errors == []
    assert show.record.outside() == [f"{show.origins[over == 'http'].rstrip('/')}/page.html"]
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(set(ids)) == len(ids)


@every_widget
def test_two_equal_widgets_do_not_disturb_each_other(show, widget):
    page = show(widget, widget)
    first, second = page.locator(".attnlib-view").all()
    before = second.inner_html()
    move_something(page, first)
    assert second.inner_html() == before
    assert first.inner_html() != before


def test_nothing_leaks_into_the_page(show):
    def names():
        return set(page.evaluate("Object.getOwnPropertyNames(window)"))

    page = show("<p>nothing</p>")
    before = names()
    show(*WIDGETS)
    assert names() - before == set()


@pytest.fixture(scope="module")
def library(shelf):
    """All widgets as they are stored, twice; what a page's head has for them, with the scripts and without."""
    folder, _ = shelf
    sheets = scripts = ""
    for widget in WIDGETS:
        for kind, text in (("css", widget._css), ("js", widget._script)):
            (folder / f"{widget._stem}.{kind}").write_text(text, encoding="utf-8")
        sheets += f'<link rel="stylesheet" href="{widget._stem}.css">'
        scripts += f'<script src="{widget._stem}.js" defer></script>'
    return static_view.stored([html(widget) for widget in WIDGETS] * 2), sheets, scripts


@pytest.mark.parametrize("over", ["file", "http"])
def test_stored_widgets_come_alive_with_one_script_each(show, library, over):
    parts, sheets, scripts = library
    page = show(*parts, head=sheets + scripts, over=over)
    page.wait_for_function(f"document.querySelectorAll('[data-live]').length === {len(parts)}")
    assert page.locator(".attnlib-view").count() == len(parts)
    assert page.locator(".attnlib-picture").count() == page.locator("[role=alert]:visible").count() == 0
    assert show.record.errors == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(set(ids)) == len(ids)


def test_without_javascript_there_is_the_drawing(show, library):
    parts, sheets, _ = library
    page = show(*parts, head=sheets)
    for view in page.locator(".attnlib-picture").all():
        box = view.bounding_box()
        assert box["width"] > 400
        assert box["height"] > 200
        assert view.locator("svg:visible, table:visible, li:visible").count() > 0
        assert view.locator(":is(input, select, button):enabled, [tabindex]").count() == 0
    assert axe(page) == []


@every_widget
def test_words_of_a_preset_go_with_the_first_change_and_come_back(show, widget):
    page = show(widget)
    notice = page.locator(".attnlib-notice")
    reset = page.get_by_role("button", name="Reset")
    for preset in first(widget).presets[:2]:
        start_from(page, preset["name"])
        frame(page)
        before = page.locator(".attnlib-body").inner_html()
        assert (notice.inner_text(), reset.get_attribute("aria-disabled")) == (preset["notice"], "true")
        move_something(page, page.locator(".attnlib-view"))
        assert started_from(page) == ""
        assert notice.inner_text() != preset["notice"]
        reset.click()
        frame(page)
        assert (started_from(page), notice.inner_text()) == (preset["name"], preset["notice"])
        assert page.locator(".attnlib-body").inner_html() == before


def in_theme(page, theme):
    """Set the page's own theme, None for none."""
    page.evaluate(
        """(theme) => {
            if (theme) document.documentElement.dataset.theme = theme;
            else delete document.documentElement.dataset.theme;
            const dark = theme === "dark";
            Object.assign(document.body.style, {background: dark ? "#14181e" : "#fff", color: dark ? "#fff" : "#000"});
        }""",
        theme,
    )
    frame(page)


@every_widget
def test_axe_finds_nothing(show, widget):
    """As it opens in the light and in the dark; then from preset to preset, in turns."""
    page = show(widget)
    states = [("light", ""), ("dark", "")]
    states += zip(("dark", "light", "dark"), (preset["name"] for preset in first(widget).presets), strict=False)
    for theme, preset in states:
        if preset:
            start_from(page, preset)
        in_theme(page, theme)
        assert axe(page) == []


def axe(page):
    """What axe finds, with its script brought in once."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")["violations"]
    return [(item["id"], item["nodes"][0]["html"]) for item in found]


@every_widget
def test_dark_mode_follows_the_page_before_the_system(show, widget):
    page, grounds = show(widget), {}
    for system in ("light", "dark"):
        page.emulate_media(color_scheme=system)
        for theme in (None, "light", "dark"):
            in_theme(page, theme)
            ground = "getComputedStyle(document.querySelector('.attnlib-view')).backgroundColor"
            red = int(re.search(r"\d+", page.evaluate(ground))[0])
            grounds[system, theme] = "dark" if red < 100 else "light"
    assert grounds == {(system, theme): theme or system for system, theme in grounds}


def test_motion_is_reduced_where_asked(new_context, show):
    context = new_context(reduced_motion="reduce")
    page = show(*WIDGETS, page=context.new_page())
    moving = page.evaluate(
        """() => [...document.querySelectorAll('.attnlib-view, .attnlib-view *')].filter((node) => {
            const style = getComputedStyle(node);
            return style.transitionDuration.split(", ").some((time) => parseFloat(time) > 0)
                || style.animationName !== "none";
        }).map((node) => node.outerHTML.slice(0, 80))"""
    )
    assert moving == []


@every_widget
def test_phone_has_no_sideways_scroll_and_targets_to_hit(new_context, show, widget):
    context = new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = show(widget, page=context.new_page())
    for preset in [item["name"] for item in first(widget).presets]:
        start_from(page, preset)
        frame(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert (
            page.evaluate(
                """() => [...document.querySelectorAll('.attnlib-body *')].filter((node) => {
                const box = node.getBoundingClientRect();
                return box.width > 1 && !node.closest('svg') && (box.left < 0 || box.right > 390);
            }).map((node) => node.outerHTML.slice(0, 80))"""
            )
            == []
        )
        small = page.evaluate(
            """() => [...document.querySelectorAll('.attnlib-body :is(input, select, button, [tabindex="0"])')]
                .map((node) => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
                .filter(([, box]) => box.width > 0 && (box.width < 24 || box.height < 24))"""
        )
        assert small == []


# ------------------------------------------------------------------------------------------------------------ keyboard


@every_widget
def test_keyboard_reaches_everything_and_shows_where_it_is(show, widget):
    """And the page around hears of Tab and Escape only."""
    page = show(widget)
    reachable = "input, select, button, a[href], [tabindex='0']"
    wanted = page.locator(f".attnlib-view :is({reachable}):not(:disabled):visible").count()
    reached = []
    for _ in range(wanted + 1):
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => {
                const node = document.activeElement;
                if (!node.closest(".attnlib-view")) return null;
                const ring = node.querySelector?.(".attnlib-ring");
                const style = getComputedStyle(node);
                const seen = ring ? getComputedStyle(ring).stroke !== "none" : parseFloat(style.outlineWidth) >= 2;
                return [[...document.querySelectorAll("*")].indexOf(node), seen];
            }"""
        )
        if state:
            reached.append(tuple(state))
    assert len({place for place, _ in reached}) == wanted
    assert [place for place, _ in reached] == sorted(place for place, _ in reached)
    assert all(seen for _, seen in reached)
    page.evaluate("() => { window.heard = []; document.addEventListener('keydown', (e) => heard.push(e.key)); }")
    page.locator(".attnlib-view :is(.attnlib-point, input[type=range], input[type=checkbox])").first.focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowDown", "a", "Enter", "Escape", "Tab"):
        page.keyboard.press(key)
    assert page.evaluate("heard") == ["Escape", "Tab"]


@every_widget
def test_sliders_say_their_value_and_check_boxes_stay_as_they_are_set(show, widget):
    page = show(widget)
    sliders = page.locator(".attnlib-view input[type=range]:enabled:visible")
    for i in range(sliders.count()):
        slider = sliders.nth(i)
        slider.focus()
        before = slider.get_attribute("aria-valuetext")
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        frame(page)
        after = slider.get_attribute("aria-valuetext")
        assert before
        assert after != before, slider.evaluate("(node) => node.labels[0].textContent")
    boxes = page.locator(".attnlib-view input[type=checkbox]:visible")
    for i in range(boxes.count()):
        for press in (lambda box: box.click(), lambda box: box.press("Space")):
            before = boxes.nth(i).is_checked()
            press(boxes.nth(i))
            frame(page)
            assert boxes.nth(i).is_checked() != before, boxes.nth(i).evaluate("(node) => node.labels[0].textContent")


# ------------------------------------------------------------------------------------------------------------- frames


@every_widget
def test_a_frame_takes_less_than_16_ms(show, widget, record_property):
    """What the page's thread computes for one frame while dragging: input, script, style, layout and painting.

    In the thread's own processor time, so that a busy machine changes little; the best of three drags counts.
    """
    page = show(widget)
    page.evaluate(
        """() => {
            const ask = window.requestAnimationFrame.bind(window);
            window.frames_drawn = 0;
            window.requestAnimationFrame = (draw) => ask((now) => { draw(now); frames_drawn += 1; });
        }"""
    )
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})
    costs = []
    while len(costs) < 3 and (not costs or costs[-1] >= 16):
        page.evaluate("frames_drawn = 0")
        before = busy_seconds(client)
        drag_about(page)
        frames = page.evaluate("frames_drawn")
        assert frames > 8  # what a frame costs, not how many a busy machine draws, is asked
        costs.append(1e3 * (busy_seconds(client) - before) / frames)
    record_property("measured", f"{min(costs):5.2f} ms a frame  {widget.__name__}")
    assert 0 < min(costs) < 16


def busy_seconds(client):
    """Processor time that the page's thread has spent in tasks."""
    return {each["name"]: each["value"] for each in client.send("Performance.getMetrics")["metrics"]}["TaskDuration"]


def drag_about(page):
    """Drag the first point of a widget about; where there is none, move its first slider, or tick its boxes in turn."""
    if not page.locator(".attnlib-view .attnlib-point").count():
        sliders = page.locator(".attnlib-view input[type=range]:enabled").all()[:1]
        boxes = page.locator(".attnlib-view input[type=checkbox]").all()
        if sliders:
            sliders[0].focus()
        for step in range(60):
            if sliders:  # the keyboard alone: to look for the slider each time would count as the page's work
                page.keyboard.press("ArrowRight" if step % 20 < 10 else "ArrowLeft")
                page.wait_for_timeout(4)
            else:
                boxes[step % len(boxes)].press("Space")
        frame(page)
        return
    handle = page.locator(".attnlib-view .attnlib-point").first
    handle.scroll_into_view_if_needed()
    box = handle.locator(".attnlib-target").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(60):
        page.mouse.move(x + 40 * math.sin(step / 9), y + 40 * math.sin(step / 7))
        page.wait_for_timeout(4)
    page.mouse.up()
    frame(page)


# ---------------------------------------------------------------------------------------------------- malformed states


def tampered(html, change):
    """The html of a widget whose stored state went through ``change`` (a function of the state, or a text)."""
    old = re.search(r'<script type="application/json">(.*?)</script>', html)[1]
    if not isinstance(change, str):
        state = json.loads(old)
        change(state)
        change = json.dumps(state)
    return html.replace(old, change)


def test_malformed_state_is_told_in_its_place(show):
    html = LocalWindow()._repr_html_()
    broken = ["", "{", "null", "[1, 2]", "<b>7</b>"]
    parts = [tampered(html, text) for text in broken]
    parts += [tampered(html, lambda state, bad=bad: state.update(bad)) for bad in ({"centre": "left"}, {"logits": [1]})]
    page = show(*parts, '<div id="whole">' + html + "</div>")
    alerts = page.locator("[role=alert]:visible")
    assert alerts.count() == len(parts)
    texts = alerts.all_inner_texts()
    assert all(text.startswith("This widget cannot start") for text in texts[: len(broken)])
    assert texts[len(broken) :] == [
        'Local window: centre must be a finite number from -99 to 99; got "left"',
        "Local window: logits must be finite numbers of shape (n), n from 3 to 24; got [1]",
    ]
    assert page.locator(".attnlib-picture:visible").count() == len(parts)
    assert show.record.errors == []
    assert page.locator("#whole [role=alert]:visible").count() == 0
    move_something(page, page.locator("#whole .attnlib-view"))
