"""The built site, page by page, in a real browser: over http and from the folder, light and dark, wide and narrow."""

# ruff: noqa: F811 - a fixture and the argument that asks for it share their name

import os
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Record, chromium, context, page, watch  # noqa: F401
from playwright.sync_api import Browser, BrowserContext, Page, expect

from book._tools import toc

SITE = toc.ROOT / "_build" / "html"
EPUB = toc.ROOT / "_build" / "attention-running.epub"
SOURCES = toc.pages()
PAGES = [path.relative_to(toc.ROOT).with_suffix(".html").as_posix() for path in SOURCES]
EXTRA = ["search.html", "genindex.html"]
BUDGET = 6_000_000  # bytes of one page with everything that it asks for
# Not looked at stroke by stroke: formulas, which carry their own MathML (as do headers that hold one, which axe takes
# for empty), and code, whose colours are the same everywhere and are looked at on one page.
UNREAD = ("mjx-container", "th:has(mjx-container)", ".highlight")
CODE = "book/appendix/claims.html"
READY = "async () => { if (window.MathJax?.startup) await MathJax.startup.promise; await document.fonts.ready; }"

pytestmark = pytest.mark.site


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The site over http."""
    assert (SITE / "index.html").exists(), "there is no site: run `make book`"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture(scope="module", params=["http", "file"])
def base(request: pytest.FixtureRequest, origin: str) -> str:
    """Where the site starts, in both ways of reading it."""
    return origin if request.param == "http" else SITE.as_uri() + "/"


def visit(page: Page, url: str) -> Record:
    """Open a page and wait until its formulas stand."""
    record = watch(page)
    page.on("response", lambda response: weigh(record, response.headers.get("content-length")))
    page.goto(url, wait_until="load")
    page.evaluate(READY)
    return record


def weigh(record: Record, length: str | None) -> None:
    record.weight += int(length or 0)


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES + EXTRA)
def test_a_page_keeps_to_itself(page: Page, base: str, name: str, capsys) -> None:
    record = visit(page, base + name)
    page.wait_for_timeout(300)
    assert record.outside(base) == []
    assert record.errors == []
    assert record.failed == []
    if base.startswith("http"):
        assert 0 < record.weight < BUDGET
        with capsys.disabled():
            print(f"\n{len(record.requests):4} requests  {record.weight / 1e6:5.2f} MB  {name}", end="  ")


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_well(page: Page, origin: str, name: str) -> None:
    visit(page, origin + name)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title()
    assert page.locator("article h1").count() == 1
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    written = page.locator("span.math, div.math")
    assert written.count() == page.locator("span.math > mjx-container, div.math > mjx-container").count()
    text = page.locator("article").inner_text()
    for leftover in ("{ref}`", "{cite", "```{", "{doc}`", "\\tag{"):
        assert leftover not in text
    for picture in page.locator("article img").all():
        assert len((picture.get_attribute("alt") or "").split()) > 2
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES + EXTRA)
def test_a_page_is_accessible(context: BrowserContext, origin: str, name: str, scheme: str) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    visit(page, origin + name)
    assert page.locator("html").get_attribute("data-theme") == scheme
    found = Axe().run(
        page,
        context={"exclude": [[place] for place in UNREAD if name != CODE or place != ".highlight"]},
        options={"resultTypes": ["violations"]},
    )
    violations = found.response["violations"]
    assert [f"{v['id']}: {[node['target'] for node in v['nodes']][:5]}" for v in violations] == []


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_telephone(chromium: Browser, origin: str, name: str) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    visit(page, origin + name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


@pytest.mark.browser
def test_the_theme_can_be_switched(page: Page, base: str) -> None:
    visit(page, base + PAGES[0])
    button = page.locator(".theme-switch-button").first
    seen = set()
    for _ in range(3):
        seen.add((page.locator("html").get_attribute("data-mode"), page.locator("html").get_attribute("data-theme")))
        button.click()
    assert {mode for mode, _ in seen} == {"auto", "light", "dark"}
    assert {theme for mode, theme in seen if mode != "auto"} == {"light", "dark"}


@pytest.mark.browser
def test_the_search_finds(page: Page, base: str) -> None:
    record = visit(page, base + "search.html?q=attention")
    expect(page.locator("#search-results ul.search li").first).to_be_visible()
    assert record.errors == []


@pytest.mark.browser
def test_code_can_be_copied(page: Page, origin: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit(page, origin + "book/appendix/api.html")
    block = page.locator("div.highlight:has(button.copybtn)").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip()
    assert ">>>" not in copied


@pytest.mark.parametrize("source", [path for path in SOURCES if path.suffix == ".ipynb"], ids=lambda path: path.stem)
def test_a_notebook_can_be_downloaded(source: Path) -> None:
    name = source.relative_to(toc.ROOT)
    page = (SITE / name).with_suffix(".html").read_text("utf-8")
    assert f"_sources/{name.as_posix()}" in page
    assert nbformat.read(SITE / "_sources" / name, as_version=4) == nbformat.read(source, as_version=4)


def test_the_site_starts_at_its_first_page_and_has_an_icon() -> None:
    assert "book/index.html" in (SITE / "index.html").read_text("utf-8")
    assert 'rel="icon"' in (SITE / PAGES[0]).read_text("utf-8")
    assert (SITE / "_static/favicon.svg").exists()


def test_no_page_names_a_script_or_style_elsewhere() -> None:
    for path in SITE.rglob("*.html"):
        text = path.read_text("utf-8")
        for piece in ('src="http', "thebe", "require.js", "widget-state+json", "cdn.jsdelivr", "unpkg.com"):
            assert piece not in text, f"{path.relative_to(SITE)} holds {piece}"


def test_nothing_in_the_book_file_asks_for_more_than_it_brings() -> None:
    """The EPUB: well formed, each picture inside it and described, formulas as MathML, no script."""
    assert EPUB.exists(), "there is no EPUB: run `make epub`"
    with zipfile.ZipFile(EPUB) as book:
        names = set(book.namelist())
        assert book.read("mimetype") == b"application/epub+zip"
        for source in SOURCES:
            assert source.relative_to(toc.ROOT).with_suffix(".xhtml").as_posix() in names
        for name in sorted(names):
            if name.endswith(".xhtml"):
                check_epub_page(name, ElementTree.fromstring(book.read(name)), names)


def check_epub_page(name: str, tree: ElementTree.Element, names: set[str]) -> None:
    tag = "{http://www.w3.org/1999/xhtml}"
    assert not tree.findall(f".//{tag}script"), f"{name} holds a script"
    for image in (each for each in tree.iter(f"{tag}img") if "toggler" not in each.attrib.get("class", "")):
        place = os.path.normpath(Path(name).parent / image.attrib["src"])
        assert place in names, f"{name}: no {place}"
        assert len(image.attrib.get("alt", "").split()) > 2, f"{name}: {place} is not described"
    for formula in tree.iter(f"{tag}span"):
        assert "\\(" not in (formula.text or ""), f"{name}: a formula as plain TeX"
