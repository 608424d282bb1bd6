"""One real Chromium for the tests, started once, and a page that keeps a record of what it did."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Locator, Page, Response, expect, sync_playwright

from book._tools.chromium import ARGUMENTS, MISSING, find_chromium

DESK = {"width": 1280, "height": 900}
PATIENCE = 120_000  # ms: a shared machine can stand still for a while, and nothing here asks how fast a page comes
expect.set_options(timeout=PATIENCE)


@dataclass
class Record:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    weight: int = 0  # bytes of all response bodies

    def forget(self) -> None:
        """Begin anew."""
        for each in (self.requests, self.failed, self.errors):
            each.clear()
        self.weight = 0

    def weigh(self, response: Response) -> None:
        self.weight += int(response.headers.get("content-length") or 0)
        if response.status >= 400:
            self.failed.append(f"{response.url}: {response.status}")

    def outside(self, *origins: str) -> list[str]:
        """Requests that start with none of `origins` (data: and blob: stay inside the page)."""
        return [url for url in self.requests if not url.startswith((*origins, "data:", "blob:", "about:"))]


def watch(page: Page) -> Record:
    """Attach a `Record` to a page before it goes anywhere."""
    record = Record()
    page.on("response", lambda response: record.weigh(response))
    page.on("request", lambda request: record.requests.append(request.url))
    page.on("requestfailed", lambda request: record.failed.append(f"{request.url}: {request.failure}"))
    page.on("pageerror", lambda error: record.errors.append(f"page error: {error}"))
    page.on(
        "console",
        lambda message: (
            record.errors.append(f"{message.type}: {message.text}") if message.type in {"error", "warning"} else None
        ),
    )
    return record


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser a test process. Skips with one line where there is none; with CI=true that is a failure."""
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            if os.environ.get("CI") == "true":
                pytest.fail(MISSING, pytrace=False)
            pytest.skip(MISSING)
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def new_context(chromium: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes fresh contexts (no cookies, no storage), by default 1280 x 900 and light, and closes them at the end."""
    contexts = []

    def make(**options: object) -> BrowserContext:
        options = {"viewport": DESK, "color_scheme": "light"} | options
        contexts.append(chromium.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE)
        return contexts[-1]

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def kept(chromium: Browser) -> Callable[..., tuple[Page, Record]]:
    """A page that outlives its test, one for each set of options: to make one costs more than most tests do with it.

    It comes empty, without storage and cache, in the size and colours that were asked for, with a new record. A test
    that changes anything else (routes, permissions, scripts at the start, the clock) takes a fresh one.
    """
    pages: dict[str, tuple[Page, Record, CDPSession]] = {}

    def hand_out(**options: Any) -> tuple[Page, Record]:
        options = {"viewport": DESK, "color_scheme": "light", "reduced_motion": "no-preference"} | options
        name = repr(sorted(options.items()))
        if name not in pages or pages[name][0].is_closed():
            context = chromium.new_context(**options)
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            pages[name] = page, watch(page), context.new_cdp_session(page)
        page, record, client = pages[name]
        page.evaluate("if (location.protocol !== 'about:') localStorage.clear()")
        page.goto("about:blank")
        client.send("Network.clearBrowserCache")
        page.set_viewport_size(options["viewport"])
        page.emulate_media(color_scheme=options["color_scheme"], reduced_motion=options["reduced_motion"])
        record.forget()
        return page, record

    return hand_out


@pytest.fixture
def page(new_context: Callable[..., BrowserContext]) -> Page:
    """A fresh page; call `watch(page)` first when its requests and errors matter."""
    return new_context().new_page()


@pytest.fixture
def show(request: pytest.FixtureRequest, kept: Callable[..., tuple[Page, Record]]) -> Callable[..., Page]:
    """Opens a page that holds one widget, and waits until it is drawn: a kept one, or the test's own `page`."""

    def open_page(widget: object, theme: str = "light") -> Page:
        page = request.getfixturevalue("page") if "page" in request.fixturenames else kept()[0]
        page.set_content(
            f'<html lang="en" data-theme="{theme}"><body><main>{widget._repr_html_()}</main></body></html>'
        )
        frame(page)
        return page

    return open_page


def frame(page: Page) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def resize(page: Page, width: int) -> None:
    """Make the window so wide, and wait until its observers have been told and have written."""
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function("width => innerWidth === width", arg=width)
    frame(page)


def middle(point: Locator) -> tuple[float, float]:
    """The pixel where a handle is."""
    box = point.locator(".attnlib-target").bounding_box() or {}
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, x: float, y: float, right: float, down: float) -> None:
    """Press the mouse at a pixel, move it, let it go."""
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y + down, steps=6)
    page.mouse.up()
    frame(page)


def overlapping(page: Page, words: str, drawn: str) -> list[str]:
    """The texts among `words` whose box meets that of something `drawn`; both are selectors."""
    return page.evaluate(
        """([words, drawn]) => {
            const box = (node) => node.getBoundingClientRect();
            const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
            const boxes = [...document.querySelectorAll(drawn)].map(box);
            const met = (node) => boxes.some((each) => meet(box(node), each));
            return [...document.querySelectorAll(words)].filter(met).map((node) => node.textContent);
        }""",
        [words, drawn],
    )


def move_something(page: Page, view: Locator) -> None:
    """Move the first handle of a widget by keyboard; where there is none, tick its first box."""
    handles = view.locator(".attnlib-point, input[type=range]:enabled")
    if handles.count():
        handles.first.focus()
        for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
            page.keyboard.press(key)
    else:
        view.locator("input[type=checkbox]").first.press("Space")
    frame(page)


def start_from(page: Page, preset: str) -> None:
    """Choose a preset, in the list or among the buttons."""
    starts = page.get_by_label("Start from")
    if starts.evaluate("(node) => node.matches('select')"):
        starts.select_option(preset)
    else:
        starts.get_by_role("button", name=preset, exact=True).click()


def started_from(page: Page) -> str:
    """The preset that is chosen, or nothing."""
    starts = page.get_by_label("Start from")
    return starts.evaluate("(node) => node.matches('select') ? node.value"
                           " : node.querySelector('[aria-pressed=true]')?.textContent ?? ''")  # fmt: skip


class Files(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing of it."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """With room in the queue for all that a page asks for at once."""

    request_queue_size = 128


@contextmanager
def served(folder: Path, handler: type[Files] = Files) -> Iterator[str]:
    """The http address under which a folder is served meanwhile."""
    with Server(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()
