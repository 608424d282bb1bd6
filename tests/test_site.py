"""The built site in a real browser: one visit a page, wide and narrow, light and dark; three pages from a folder."""

import re
import zipfile
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
from book._tools.packing import WHOLE, wheel_name

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
    saved, ours = (nbformat.read(path, as_version=4) for path in (SITE / "_sources" / name, source))
    first = next(i for i, cell in enumerate(saved.cells) if cell.cell_type == "code")
    assert saved.cells.pop(first).id == "setup"
    assert saved == ours


def test_the_site_starts_at_its_first_page_and_has_an_icon() -> None:
    assert "book/index.html" in (SITE / "index.html").read_text("utf-8")
    assert 'rel="icon"' in (SITE / PAGES[0]).read_text("utf-8")
    assert (SITE / "_static/favicon.svg").exists()


def test_a_link_to_the_site_says_what_it_is() -> None:
    for name in ("index.html", PAGES[0], "book/deep-learning/scores.html"):
        text = (SITE / name).read_text("utf-8")
        found = dict(re.findall(r'<meta (?:name|property)="([\w:]+)" content="([^"]*)">', text))
        assert len(found["description"].split()) > 5, name
        assert found["og:description"] == found["description"]
        assert found["og:site_name"] == "Attention, running"
        assert re.search(r'<html lang="en"', text)
    assert re.search(r"<title>Attention, running</title>", (SITE / PAGES[0]).read_text("utf-8"))
    lost = (SITE / "404.html").read_text("utf-8")
    assert "There is no such page" in lost
    assert "refresh" not in lost


def test_the_whole_site_is_one_file_that_brings_the_library() -> None:
    with zipfile.ZipFile(SITE / WHOLE) as packed:
        names = {name.partition("/")[2] for name in packed.namelist()}
        assert packed.testzip() is None
        assert {name.partition("/")[0] for name in packed.namelist()} == {Path(WHOLE).stem}
    files = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*") if path.is_file()}
    assert names == files - {WHOLE}
    with zipfile.ZipFile(SITE / "_static" / wheel_name()) as wheel:
        held = set(wheel.namelist())
    ours = {path.relative_to(toc.ROOT).as_posix() for path in (toc.ROOT / "attnlib").rglob("*.py")}
    assert ours <= held
    assert any(name.endswith("query_tuner.js") for name in held)
    front = (SITE / PAGES[0]).read_text("utf-8")
    assert f'href="../{WHOLE}"' in front
    assert f'href="../_static/{wheel_name()}"' in front


@pytest.mark.browser
def test_the_unpacked_file_runs_with_the_network_off(
    new_context: Callable[..., BrowserContext], tmp_path: Path
) -> None:
    with zipfile.ZipFile(SITE / WHOLE) as packed:
        packed.extractall(tmp_path)
    context = new_context()
    context.set_offline(True)
    page = context.new_page()
    start = (tmp_path / Path(WHOLE).stem).as_uri() + "/"
    page.goto(start + "index.html")
    page.wait_for_url("**/book/index.html")
    assert look(visit(page, start, PAGES[0]), (formulas_stand, widgets_come_alive, kept_to_itself)) == []


@pytest.mark.browser
def test_the_front_page_opens_on_a_widget_and_leads_to_each_chapter(page: Page, origin: str) -> None:
    visit(page, origin, PAGES[0])
    box = page.locator(".attnlib-view").first.bounding_box()
    assert box is not None
    assert box["y"] < 450
    chapters = [path.relative_to(toc.ROOT).with_suffix(".html").name for path in toc.chapters()]
    links = page.locator(".attnlib-card-title a").evaluate_all("(all) => all.map((each) => each.href)")
    assert [link.rpartition("/")[2].partition("#")[0] for link in links] == chapters
    assert page.locator(".attnlib-card img").count() == len(chapters)
    assert page.locator(".bd-sidebar-primary .attnlib-minutes").count() == len(chapters)


@pytest.mark.browser
@pytest.mark.parametrize("source", toc.chapters(), ids=lambda path: path.stem)
def test_a_chapter_can_be_touched_within_two_screens(page: Page, origin: str, source: Path) -> None:
    visit(page, origin, source.relative_to(toc.ROOT).with_suffix(".html").as_posix())
    box = page.locator(".attnlib-view").first.bounding_box()
    assert box is not None
    assert box["y"] < 2000  # px, of a page 1,280 wide


@pytest.mark.browser
def test_claims_are_chosen_by_verdict(page: Page, origin: str) -> None:
    visit(page, origin, "book/appendix/claims.html")
    shown = page.locator(".claim-entry:visible")
    everything = shown.count()
    page.get_by_label("refuted").check()
    assert 0 < shown.count() < everything
    assert shown.count() == page.locator(".claim-entry.verdict-refuted").count()
    assert page.locator(".claim-choice [role=status]").inner_text() == f"{shown.count()} of {everything} claims"
    page.get_by_label("all").check()
    assert shown.count() == everything


@pytest.mark.browser
def test_all_code_opens_at_once(page: Page, origin: str) -> None:
    visit(page, origin, "book/deep-learning/scores.html")
    folds = page.locator("details.hide")
    button = page.get_by_role("button", name="Show all code")
    button.click()
    assert folds.evaluate_all("(all) => all.every((fold) => fold.open)")
    page.get_by_role("button", name="Hide the folded code").click()
    assert folds.evaluate_all("(all) => all.every((fold) => !fold.open)")


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
