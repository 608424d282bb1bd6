"""The widgets in a real Chromium: as a static page over http and from a file, and in a JupyterLab started here."""

import contextlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import PATIENCE, frame, served, watch
from playwright.sync_api import TimeoutError

import attnlib.widgets
from attnlib.widgets import LocalWindow, QueryTuner
from book._tools import static_view

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
WIDGETS = [getattr(attnlib.widgets, name) for name in attnlib.widgets.__all__]
every_widget = pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)


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
        body = "".join(part if isinstance(part, str) else part._repr_html_() for part in parts)
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


@every_widget
@pytest.mark.parametrize("over", ["file", "http"])
def test_page_comes_alive_and_asks_for_nothing(show, widget, over):
    page = show(widget(), widget(), over=over)
    assert page.locator(".attnlib-view").count() == 2
    assert page.locator(".attnlib-picture:visible").count() == 0
    assert page.locator("[role=alert]:visible").count() == 0
    assert show.record.errors == []
    assert show.record.outside() == [f"{show.origins[over == 'http'].rstrip('/')}/page.html"]
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(set(ids)) == len(ids)


@every_widget
def test_two_equal_widgets_do_not_disturb_each_other(show, widget):
    page = show(widget(), widget())
    first, second = page.locator(".attnlib-view").all()
    before = second.inner_html()
    move_something(page, first)
    assert second.inner_html() == before
    assert first.inner_html() != before


def move_something(page, view):
    """Move the first handle of a widget by keyboard; where there is none, tick its first box."""
    handles = view.locator(".attnlib-point, input[type=range]:enabled")
    if handles.count():
        handles.first.focus()
        for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
            page.keyboard.press(key)
    else:
        view.locator("input[type=checkbox]").first.press("Space")
    frame(page)


@every_widget
def test_nothing_leaks_into_the_page(show, widget):
    def names():
        return set(page.evaluate("Object.getOwnPropertyNames(window)"))

    page = show("<p>nothing</p>")
    before = names()
    show(widget())
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
    return static_view.stored([widget()._repr_html_() for widget in WIDGETS] * 2), sheets, scripts


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
    found = Axe().run(page).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"]) for item in found] == []


@every_widget
def test_words_of_a_preset_go_with_the_first_change_and_come_back(show, widget):
    page = show(widget())
    starts, notice = page.get_by_label("Start from"), page.locator(".attnlib-notice")
    reset = page.get_by_role("button", name="Reset")
    for preset in widget().presets[:2]:
        starts.select_option(preset["name"])
        frame(page)
        before = page.locator(".attnlib-body").inner_html()
        assert (notice.inner_text(), reset.get_attribute("aria-disabled")) == (preset["notice"], "true")
        move_something(page, page.locator(".attnlib-view"))
        assert starts.input_value() == ""
        assert notice.inner_text() != preset["notice"]
        reset.click()
        frame(page)
        assert (starts.input_value(), notice.inner_text()) == (preset["name"], preset["notice"])
        assert page.locator(".attnlib-body").inner_html() == before


@every_widget
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(show, widget, theme):
    page = show(widget(), theme=theme)
    for preset in ["", *(item["name"] for item in widget().presets[:3])]:
        if preset:
            page.get_by_label("Start from").select_option(preset)
            frame(page)
        found = Axe().run(page).response["violations"]
        assert [(item["id"], item["nodes"][0]["html"]) for item in found] == []


@every_widget
def test_dark_mode_follows_the_page_before_the_system(new_context, show, widget):
    grounds = {}
    for system in ("light", "dark"):
        context = new_context(color_scheme=system)
        page = context.new_page()
        for theme in (None, "light", "dark"):
            show(widget(), theme=theme, page=page)
            ground = "getComputedStyle(document.querySelector('.attnlib-view')).backgroundColor"
            red = int(re.search(r"\d+", page.evaluate(ground))[0])
            grounds[system, theme] = "dark" if red < 100 else "light"
    assert grounds == {(system, theme): theme or system for system, theme in grounds}


@every_widget
def test_motion_is_reduced_where_asked(new_context, show, widget):
    context = new_context(reduced_motion="reduce")
    page = show(widget(), page=context.new_page())
    moving = page.evaluate(
        """() => [...document.querySelectorAll('.attnlib-view, .attnlib-view *')].filter((node) => {
            const style = getComputedStyle(node);
            return style.transitionDuration.split(", ").some((time) => parseFloat(time) > 0)
                || style.animationName !== "none";
        }).length"""
    )
    assert moving == 0


@every_widget
def test_phone_has_no_sideways_scroll_and_targets_to_hit(new_context, show, widget):
    context = new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = show(widget(), page=context.new_page())
    for preset in [item["name"] for item in widget().presets]:
        page.get_by_label("Start from").select_option(preset)
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
    page = show(widget())
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


@every_widget
def test_page_around_gets_tab_and_escape_only(show, widget):
    page = show(widget())
    page.evaluate("() => { window.heard = []; document.addEventListener('keydown', (e) => heard.push(e.key)); }")
    page.locator(".attnlib-view :is(.attnlib-point, input[type=range], input[type=checkbox])").first.focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowDown", "a", "Enter", "Escape", "Tab"):
        page.keyboard.press(key)
    assert page.evaluate("heard") == ["Escape", "Tab"]


@every_widget
def test_sliders_say_their_value_and_change_the_numbers(show, widget):
    page = show(widget())
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


@every_widget
def test_check_boxes_stay_as_they_are_set(show, widget):
    page = show(widget())
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
    page = show(widget())
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
        assert frames > 20
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


# ---------------------------------------------------------------------------------------------------- the built site


PAGES = [path for path in sorted(SITE.rglob("*.html")) if b'class="attnlib-static"' in path.read_bytes()]


@pytest.mark.site
@pytest.mark.skipif(not SITE.exists(), reason="no built site: make book")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_widgets_of_the_built_site_come_alive(page, path):
    record = watch(page)
    page.goto(path.as_uri())
    stems = set(page.locator(".attnlib-static").evaluate_all("(roots) => roots.map((root) => root.dataset.attnlib)"))
    views = page.locator(".attnlib-view")
    assert views.count() == page.locator(".attnlib-static").count() > 0
    for view in views.all():
        assert view.locator("[role=alert]:visible").count() == 0
        before = view.inner_html()
        move_something(page, view)
        assert view.inner_html() != before
    loaded = {Path(url).stem for url in record.requests if "/_static/attnlib/" in url}
    assert loaded == stems
    assert record.outside(SITE.as_uri()) == []
    assert record.errors == []


# -------------------------------------------------------------------------------------------------------- JupyterLab

CELLS = [
    "from attnlib.widgets import QueryTuner\nwidget = QueryTuner()\nwidget",
    "print('python sees', widget.query, [round(w, 4) for w in widget.weights[0]])",
    "widget.update(query=[-0.7, -1.8], temperature=1.0)\nprint('python set', widget.query)",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own: no token, a free port, a home and settings that are thrown away; gives the address."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / "work").mkdir()
    nbformat.write(notebook, folder / "work" / "tuner.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "HOME")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **{name: str(folder / name.lower()) for name in names}}
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "IdentityProvider.token": "",
        "ServerApp.root_dir": folder / "work",
        "ServerApp.allow_root": True,
        "LabApp.check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", *(f"--{k}={v}" for k, v in options.items())]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder / "work", stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/"
    try:
        wait_for(address, server, folder / "log")
        yield address
    finally:
        server.terminate()
        server.wait(20)


def wait_for(address, server, log):
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{address}api/status", timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(log.read_text())


def open_with_kernel(lab, page, asked):
    """Open the notebook and run its first cell until the widget is there.

    On a slow machine a cell that is run before its kernel listens is not run at all, and JupyterLab may ask which
    kernel to start or say that one is late: what it proposes is taken, what it says is kept in ``asked``.
    """

    def accept(dialog):
        asked.append(dialog.inner_text())
        dialog.locator(".jp-mod-accept").click()

    page.add_locator_handler(page.locator(".jp-Dialog").first, accept)
    handle = page.get_by_role("slider", name="Query q")
    for _ in range(4):
        page.goto(f"{lab}lab/tree/tuner.ipynb?reset")
        page.locator(".jp-Notebook .cm-content").first.wait_for()
        with contextlib.suppress(TimeoutError):
            page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=PATIENCE / 4)
            for _ in range(2):
                run_cell(page, 0)
                with contextlib.suppress(TimeoutError):
                    handle.wait_for(timeout=PATIENCE / 4)
                    return handle
    pytest.fail(f"no widget came in JupyterLab; it said {asked}")


def place_of(handle):
    x, y = re.findall(r"[−\d.]+", handle.get_attribute("aria-valuetext"))
    return [float(x.replace("−", "-")), float(y.replace("−", "-"))]


def run_cell(page, index):
    """Put the cursor into a cell and run it; gives its text output once it is there."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(index)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    return cell.locator(".jp-OutputArea-output")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kernel_and_view_follow_each_other_in_jupyterlab(lab, page):
    record = watch(page)
    asked = []
    handle = open_with_kernel(lab, page, asked)
    if asked:
        record.errors.clear()  # JupyterLab's own complaints about a kernel that was late
    assert page.locator(".attnlib-view").count() == 1
    assert page.locator(".attnlib-static").count() == 0

    handle.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Shift+ArrowDown"):
        page.keyboard.press(key)
    frame(page)
    assert place_of(handle) == pytest.approx([1.0, 0.5])
    assert handle.evaluate("(node) => node === document.activeElement")
    expected = QueryTuner(query=[1.0, 0.5])
    text = f"python sees [[1.0, 0.5]] {[round(w, 4) for w in expected.weights[0]]}"
    run_cell(page, 1).get_by_text(text, exact=True).wait_for()

    slider = page.get_by_role("slider", name="Temperature")
    before = slider.get_attribute("aria-valuetext")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    frame(page)
    assert slider.get_attribute("aria-valuetext") != before

    box = handle.locator(".attnlib-target").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 30, steps=10)
    page.mouse.up()
    frame(page)
    dragged = place_of(handle)
    assert dragged[0] < 0.8
    for _ in range(60):  # while the kernel is busy, the page holds the latest state back, and a cell may overtake it
        seen = run_cell(page, 1).get_by_text("python sees [[").inner_text()
        told = [float(x) for x in re.findall(r"-?[\d.]+", seen)[:2]]
        if told == pytest.approx(dragged, abs=0.006):
            break
        page.wait_for_timeout(500)
    assert told == pytest.approx(dragged, abs=0.006)

    run_cell(page, 2).get_by_text("python set [[-0.7, -1.8]]").wait_for()
    page.wait_for_function(
        "document.querySelector('.attnlib-point').getAttribute('aria-valuetext') === 'x −0.70, y −1.80'"
    )
    x, y = QueryTuner(query=[-0.7, -1.8]).context[0]
    page.get_by_text(f"Context c = Σ αv = ({x:.2f}, {y:.2f}).".replace("-", "−")).first.wait_for()
    assert record.outside(lab, lab.replace("http", "ws")) == []
    assert [error for error in record.errors if error.startswith("page error") or "attnlib" in error] == []
