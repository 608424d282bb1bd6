"""The widgets in a real Chromium, as a static page over http and from a file; `hand.py` holds the visit to each."""

import json
import re
from functools import cache

import pytest
from browser import served
from hand import DESK, NARROW, PHONE, Shown, axe, move_something
from visit import look

import attnlib.widgets
from attnlib.widgets import LocalWindow
from book._tools import static_view

pytestmark = pytest.mark.browser

WIDGETS = [getattr(attnlib.widgets, name) for name in attnlib.widgets.__all__]
TELEPHONE = {"viewport": {"width": NARROW, "height": 800}, "has_touch": True, "is_mobile": True}
UNIQUE = """() => {
    const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
    return new Set(ids).size === ids.length;
}"""
# Whatever moves or could, with the system asking for calm.
MOVING = """() => [...document.querySelectorAll('.attnlib-view, .attnlib-view *')].filter((node) => {
    const style = getComputedStyle(node);
    return style.transitionDuration.split(", ").some((time) => parseFloat(time) > 0) || style.animationName !== "none";
}).map((node) => node.outerHTML.slice(0, 80))"""
# Which widgets, by their numbers, do not draw what they drew before.
KEEP = "() => { window.drawn = [...document.querySelectorAll('.attnlib-view')].map((view) => view.innerHTML); }"
CHANGED = """() => [...document.querySelectorAll('.attnlib-view')].map((view, i) => [view.innerHTML !== drawn[i], i])
    .filter(([changed]) => changed).map(([, i]) => i)"""
NAMES = "Object.getOwnPropertyNames(window)"


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
def show(shelf, kept):
    """Open a page made of the html of widgets; ``show.record`` is what the page asked for and complained about."""

    def open_page(*parts, over="file", head="", **options):
        folder, address = shelf
        page, open_page.record = kept(**options)
        body = "".join(part if isinstance(part, str) else html(part) for part in parts)
        text = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Widgets</title>'
            f'<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">{head}</head>'
            '<body style="margin:16px;background:#ffffff;color:#000000"><main>'
            f"<h1>Widgets</h1>{body}</main></body></html>"
        )
        (folder / "page.html").write_text(text, encoding="utf-8")
        page.goto((folder / "page.html").as_uri() if over == "file" else f"{address}page.html")
        return page

    open_page.origins = (shelf[0].as_uri(), shelf[1])
    return open_page


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
def test_a_widget(show, widget, record_property):
    """All that is asked of a widget, in one visit at a desk and one on a telephone; hand.py has the checks."""
    complaints = []
    for checks, options in ((DESK, {}), (PHONE, TELEPHONE)):
        seen = Shown(show(widget, **options), first(widget).presets)
        complaints += look(seen, checks)
        for line in seen.measured:
            record_property("measured", f"{line}  {widget.__name__}")
    assert complaints == []


# Each widget brings its own sheet: 16, 32 and 62 on a page took 0.5, 4 and 21 s for their styles. All of them on one
# page, with a sheet a kind, are looked at below, as they are stored.
MIXED = pytest.mark.parametrize("some", [WIDGETS[i::4] for i in range(4)], ids=lambda some: some[0].__name__)


@MIXED
@pytest.mark.parametrize("over", ["file", "http"])
def test_page_of_widgets_twice_comes_alive_and_asks_for_nothing(show, some, over):
    page = show(*some * 2, over=over)
    assert page.locator(".attnlib-view").count() == 2 * len(some)
    assert page.locator(".attnlib-picture:visible").count() == 0
    assert page.locator("[role=alert]:visible").count() == 0
    assert show.record.errors == []
    assert show.record.outside() == [f"{show.origins[over == 'http'].rstrip('/')}/page.html"]
    assert page.evaluate(UNIQUE)


@MIXED
def test_widgets_disturb_neither_each_other_nor_the_page(show, some):
    """Nothing leaks into the page; what is done to one changes no other, not even its twin; none moves in calm."""
    before = set(show("<p>nothing</p>").evaluate(NAMES))
    page = show(*[part for widget in some for part in (widget, widget)], reduced_motion="reduce")
    assert set(page.evaluate(NAMES)) - before == set()
    assert page.evaluate(MOVING) == []
    for number, widget in enumerate(some):
        page.evaluate(KEEP)
        move_something(page, page.locator(".attnlib-view").nth(2 * number))
        # of those that were moved before, a listener may be told only now
        changed = [i for i in page.evaluate(CHANGED) if i % 2 or i >= 2 * number]
        assert changed == [2 * number], [widget.__name__, *(some[i // 2].__name__ for i in changed)]


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
    assert page.evaluate(UNIQUE)


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
