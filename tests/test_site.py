"""The built site in a real browser: one visit a page, wide and narrow, light and dark; three pages from a folder."""

import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from browser import Record, served
from epub_file import look_into
from playwright.sync_api import BrowserContext, Locator, Page, expect
from visit import (
    ALL,
    AXE,
    CHAPTER,
    TELEPHONE,
    TEXT,
    formulas_stand,
    kept_to_itself,
    look,
    visit,
    widgets_come_alive,
)

from attnlib.plotting.canvas import PIXELS_PER_INCH
from book._tools import toc
from book._tools.packing import WHOLE, wheel_name

SITE = toc.ROOT / "_build" / "html"
EPUB = toc.ROOT / "_build" / "attention-running.epub"
SOURCES = toc.pages()
PAGES, CHAPTERS = (
    [path.relative_to(toc.ROOT).with_suffix(".html").as_posix() for path in paths]
    for paths in (SOURCES, toc.chapters())
)
EXTRA = ["search.html", "genindex.html"]
CODE = "book/taxonomy/index.html"  # the page on which axe reads code, too
REFERENCE = "book/appendix/api"  # long, and made by one template: axe has these pages by night
FROM_A_FOLDER = ["book/index.html", "book/taxonomy/input-features/glimpses.html", "genindex.html"]

# Directives, roles, labels, options and definitions, which other readers of notebooks show as they are written.
MYST = re.compile(
    r"^[> ]*(?:`{3,}|:{3,})\{|\{[a-z]+(?::[a-z]+)?\}`|^[> ]*\([\w:.-]+\)=|^[> ]*:[\w-]+: |^[> ]*: |\$\$ *\([\w-]+\)",
    re.M,
)

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
def test_a_page(kept: Callable[..., tuple[Page, Record]], origin: str, name: str, record_property) -> None:
    """All that is asked of a page, in one visit; each complaint begins with the name of its check in `visit.py`."""
    page, record = kept(viewport=TELEPHONE)
    seen = visit(page, origin, name, record=record, code_is_read=name == CODE)
    left_out = (TEXT if name in EXTRA else ()) + (AXE if name.startswith(REFERENCE) else ())
    left_out += () if name in CHAPTERS else CHAPTER
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
    page.wait_for_function("Search.status.innerText.includes('found')")  # after the last result is listed
    pages = [url for url in seen.record.requests if url.startswith(f"{seen.base}book/")]
    assert pages == []  # which would be megabytes on a telephone
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
    assert code(saved) == code(ours)
    kept = [cell.source for cell in saved.cells if cell.cell_type == "markdown"]
    assert [text for text in kept if MYST.search(text)] == []
    assert any(MYST.search(cell.source) for cell in ours.cells if cell.cell_type == "markdown")  # there is some
    assert sum(map(len, kept)) > 0.7 * sum(len(cell.source) for cell in ours.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("source", [path for path in SOURCES if path.suffix == ".ipynb"], ids=lambda path: path.stem)
def test_what_cells_give_is_read_as_markdown(source: Path) -> None:
    page = (SITE / source.relative_to(toc.ROOT)).with_suffix(".html").read_text("utf-8")
    assert re.findall(r"<p>\|[^<]*", page) == []  # a table that was taken for words


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


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
        assert ("This book asks what attention mechanisms compute" in found["description"]) == ("scores" not in name)
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
    # a page of its own: to leave one that still loads breaks off what it asks for
    seen = visit(context.new_page(), start, PAGES[0])
    assert look(seen, (formulas_stand, widgets_come_alive, kept_to_itself)) == []


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


@pytest.mark.browser
def test_folded_cells_that_follow_on_one_another_stand_under_one_bar(page: Page, origin: str) -> None:
    visit(page, origin, "book/deep-learning/scores.html")
    first = page.locator(".attnlib-goes-on details.hide:not(.attnlib-joined)").first
    cell = page.locator(".attnlib-goes-on:has(> details.hide:not(.attnlib-joined)) + .cell").first
    bar, joined = first.locator("summary"), cell.locator("details.hide")
    assert bar.inner_text() == "Show what is imported, and how a table is set; how the biases are dropped"
    expect(joined).not_to_be_visible()
    bar.press("Enter")
    expect(joined.locator("pre")).to_be_visible()
    expect(joined.locator("summary")).not_to_be_visible()
    bar.press("Enter")
    expect(joined).not_to_be_visible()
    joined.evaluate("(fold) => { fold.open = true; }")  # as a search in the page does
    expect(first.locator("pre")).to_be_visible()


@pytest.mark.browser
def test_without_scripts_each_folded_cell_has_its_own_bar(
    new_context: Callable[..., BrowserContext], origin: str
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto(origin + "book/deep-learning/scores.html")
    bars = page.locator("details.hide > summary")
    assert bars.count() > 10
    assert all(bar.is_visible() for bar in bars.all())
    assert page.locator(".admonition.dropdown p").nth(1).is_visible()  # and answers can be read


@pytest.mark.browser
def test_a_wide_table_says_on_which_side_there_is_more(new_context: Callable[..., BrowserContext], origin: str) -> None:
    page = new_context(viewport=TELEPHONE).new_page()
    visit(page, origin, "book/notation.html")
    boxes = page.locator(".pst-scrollable-table-container")
    wide = boxes.evaluate_all("(all) => all.map((box) => box.scrollWidth > box.clientWidth + 1)")
    assert {True, False} == set(wide)
    for box, overflows in zip(boxes.all(), wide, strict=True):
        assert (box.get_attribute("tabindex"), box.get_attribute("role")) == (
            ("0", "group") if overflows else (None,) * 2
        )
    box = boxes.nth(wide.index(True))
    assert "scrolls sideways" in box.get_attribute("aria-label")
    assert shadows(box) == ["none", '""']
    box.evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
    expect(box).to_have_class(re.compile("attnlib-before"))
    assert shadows(box) == ['""', "none"]
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(box).not_to_have_attribute("role", "group")
    assert shadows(box) == ["none", "none"]


def shadows(box: Locator) -> list[str]:
    """What stands at the left and at the right edge."""
    return [
        box.evaluate("(box, side) => getComputedStyle(box, side).content", side) for side in ("::before", "::after")
    ]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_opens_at_full_size_and_has_no_frame(
    new_context: Callable[..., BrowserContext], origin: str, scheme: str
) -> None:
    page = new_context(viewport=TELEPHONE).new_page()
    visit(page, origin, "book/deep-learning/rnnsearch.html")
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    link, dialog = page.locator("a.attnlib-opens").first, page.locator("dialog.attnlib-figure")
    look_of = "(img) => { const look = getComputedStyle(img); return [look.padding, look.backgroundColor]; }"
    assert link.locator("img").evaluate(look_of) == ["0px", "rgba(0, 0, 0, 0)"]
    link.focus()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    scale = dialog.locator("img").evaluate("(img) => img.getBoundingClientRect().width / img.naturalWidth")
    assert 2 * scale * 9 * PIXELS_PER_INCH / 72 >= 11  # px: the smallest type of a figure has 9 points
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(link).to_be_focused()
    link.click()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).not_to_be_visible()


@pytest.mark.browser
def test_theme_and_folded_answers_wait_for_no_other_script(
    new_context: Callable[..., BrowserContext], origin: str
) -> None:
    page = new_context(color_scheme="dark").new_page()
    page.route("**/*.js*", lambda route: route.abort())
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => { const all = [...document.querySelectorAll('.dropdown > div')];"
        "const shown = all.filter((each) => each.checkVisibility()).length;"
        "window.seen = [document.documentElement.dataset.theme, shown]; })"
    )
    page.goto(origin + "book/deep-learning/scores.html", wait_until="load")
    assert page.evaluate("window.seen") == ["dark", 0]
    page.wait_for_function("!document.documentElement.classList.contains('attnlib-folding')")
    assert page.locator(".admonition.dropdown p").nth(1).is_visible()  # the script that folds did not come


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


@pytest.mark.nightly
def test_the_book_file_is_valid() -> None:
    """By the checker that shops use (Debian's package epubcheck), where it is."""
    checker = shutil.which("epubcheck")
    if checker is None:
        pytest.skip("EPUBCheck is not here")
    done = subprocess.run([checker, str(EPUB)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]


def test_widgets_stand_on_the_site() -> None:
    """So that the visits, which look at those that they meet, meet some."""
    assert sum(b'class="attnlib-static"' in (SITE / name).read_bytes() for name in PAGES) > 5


@pytest.mark.browser
def test_photographs_and_maps_stay_as_they_are_in_the_dark(new_context, origin):
    """Turned round, a map would say the opposite of the scale beside it."""
    page = new_context(color_scheme="dark").new_page()
    page.goto(f"{origin}/book/brain/saliency.html")
    page.wait_for_selector(".attnlib-view img")
    filters = page.locator(".cell_output img").evaluate_all("(all) => all.map((each) => getComputedStyle(each).filter)")
    assert len(filters) > 5
    assert set(filters) == {"none"}


@pytest.mark.browser
def test_pictures_stay_as_they_are_in_the_dark_and_charts_are_turned_round(new_context, origin):
    """On the page, and at full size."""
    page = new_context(color_scheme="dark").new_page()
    page.goto(f"{origin}/book/taxonomy/input-features/spatial-transformer.html", wait_until="load")
    drawn = ".tag_as-drawn a.attnlib-opens"
    pictures, charts = page.locator(drawn), page.locator(f".cell_output a.attnlib-opens:not({drawn})")
    assert (pictures.count(), charts.count()) == (2, 1)
    shown = page.locator("dialog.attnlib-figure img")
    for links, turned in ((pictures, False), (charts, True)):
        for link in links.all():
            link.click()
            for each in (link.locator("img"), shown):
                assert (each.evaluate("(node) => getComputedStyle(node).filter") != "none") is turned
            page.keyboard.press("Escape")
            expect(shown).to_be_hidden()
