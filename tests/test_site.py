"""The built site in a real browser: one visit a page, wide and narrow, light and dark; three pages from a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from browser import served
from epub_file import look_into
from playwright.sync_api import BrowserContext, Page, expect
from visit import (
    ALL,
    AXE,
    TELEPHONE,
    TEXT,
    formulas_stand,
    kept_to_itself,
    look,
    visit,
    widgets_come_alive,
)

from book._tools import toc

SITE = toc.ROOT / "_build" / "html"
EPUB = toc.ROOT / "_build" / "attention-running.epub"
SOURCES = toc.pages()
PAGES = [path.relative_to(toc.ROOT).with_suffix(".html").as_posix() for path in SOURCES]
EXTRA = ["search.html", "genindex.html"]
CODE = "book/taxonomy/index.html"  # the page on which axe reads code, too
REFERENCE = "book/appendix/api"  # long, and made by one template: axe has these pages by night
FROM_A_FOLDER = ["book/index.html", "book/deep-learning/distributions.html", "genindex.html"]

pytestmark = pytest.mark.site


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The site over http."""
    assert (SITE / "index.html").exists(), "there is no site: run `make book`"
    with served(SITE) as address:
        yield address


@pytest.fixture(scope="module", params=["http", "file"])
def base(request: pytest.FixtureRequest, origin: str) -> str:
    """Where the site starts, in both ways of reading it."""
    return origin if request.param == "http" else SITE.as_uri() + "/"


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES + EXTRA)
def test_a_page(new_context: Callable[..., BrowserContext], origin: str, name: str, record_property) -> None:
    """All that is asked of a page, in one visit; each complaint begins with the name of its check in `visit.py`."""
    seen = visit(new_context(viewport=TELEPHONE).new_page(), origin, name, code_is_read=name == CODE)
    left_out = (TEXT if name in EXTRA else ()) + (AXE if name.startswith(REFERENCE) else ())
    assert look(seen, tuple(check for check in ALL if check not in left_out)) == []
    requests = len(seen.record.requests)
    record_property("measured", f"{requests:4} requests  {seen.record.weight / 1e6:5.2f} MB  {name}")


@pytest.mark.browser
@pytest.mark.parametrize("name", FROM_A_FOLDER)
def test_a_page_from_a_folder(page: Page, name: str) -> None:
    seen = visit(page, SITE.as_uri() + "/", name)
    assert look(seen, (formulas_stand, widgets_come_alive, kept_to_itself)) == []


@pytest.mark.browser
@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith(REFERENCE)])
def test_a_page_of_the_reference_is_accessible(page: Page, origin: str, name: str) -> None:
    assert look(visit(page, origin, name), AXE) == []


@pytest.mark.browser
def test_the_theme_can_be_switched(page: Page, base: str) -> None:
    visit(page, base, PAGES[0])
    button = page.locator(".theme-switch-button").first
    seen = set()
    for _ in range(3):
        seen.add((page.locator("html").get_attribute("data-mode"), page.locator("html").get_attribute("data-theme")))
        button.click()
    assert {mode for mode, _ in seen} == {"auto", "light", "dark"}
    assert {theme for mode, theme in seen if mode != "auto"} == {"light", "dark"}


@pytest.mark.browser
def test_the_search_finds(page: Page, base: str) -> None:
    seen = visit(page, base, "search.html?q=attention")
    expect(page.locator("#search-results ul.search li").first).to_be_visible()
    assert look(seen, (kept_to_itself,)) == []


@pytest.mark.browser
def test_code_can_be_copied(page: Page, origin: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit(page, origin, f"{REFERENCE}/scores.html")
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


@pytest.mark.nightly
def test_nothing_in_the_book_file_asks_for_more_than_it_brings() -> None:
    assert EPUB.exists(), "there is no EPUB: run `make epub`"
    with_formulas = look_into(EPUB, [source.relative_to(toc.ROOT).with_suffix("").as_posix() for source in SOURCES])
    assert "book/deep-learning/distributions.xhtml" in with_formulas


def test_widgets_stand_on_the_site() -> None:
    """So that the visits, which look at those that they meet, meet some."""
    assert sum(b'class="attnlib-static"' in (SITE / name).read_bytes() for name in PAGES) > 5
