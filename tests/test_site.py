"""The built site, page by page, in a real browser: over http and from the folder, light and dark, wide and narrow."""

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Record, served, watch
from playwright.sync_api import BrowserContext, Page, expect

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
CODE = "book/taxonomy/index.html"
# axe takes its time for each node of a page, and far more of it for contrast: what is not read keeps its box and loses
# its nodes, and contrast is looked at in the first visible text of each kind (tags, classes and styles up to the root).
THIN_OUT = """(code) => {
  for (const formula of document.querySelectorAll("mjx-container")) {
    const { width, height } = formula.getBoundingClientRect();
    formula.replaceChildren();
    Object.assign(formula.style, { display: "inline-block", minWidth: `${width}px`, minHeight: `${height}px` });
  }
  if (code) for (const block of document.querySelectorAll(code)) block.textContent = block.textContent;
}"""
MARK_KINDS = """() => {
  const seen = new Set();
  const kind = (node) => node === null ? ""
    : [kind(node.parentElement), node.tagName, node.getAttribute("class"), node.getAttribute("style")].join(" ");
  for (const node of document.body.querySelectorAll("*")) {
    if (![...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim())) continue;
    if (!node.checkVisibility({ visibilityProperty: true })) continue;
    if (!seen.has(kind(node))) node.setAttribute("data-kind", "");
    seen.add(kind(node));
  }
  return seen.size;
}"""
READY = "async () => { if (window.MathJax?.startup) await MathJax.startup.promise; await document.fonts.ready; }"

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
def test_a_page_keeps_to_itself(page: Page, base: str, name: str, record_property) -> None:
    record = visit(page, base + name)
    page.wait_for_timeout(300)
    assert record.outside(base) == []
    assert record.errors == []
    assert record.failed == []
    if base.startswith("http"):
        assert 0 < record.weight < BUDGET
        record_property("measured", f"{len(record.requests):4} requests  {record.weight / 1e6:5.2f} MB  {name}")


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
@pytest.mark.parametrize("name", PAGES + EXTRA)
def test_a_page_is_accessible(page: Page, origin: str, name: str) -> None:
    """Every rule of axe in the light scheme; in the dark one that on contrast, on one text of each kind."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    visit(page, origin + name)
    code_is_read = name == CODE
    page.evaluate(THIN_OUT, None if code_is_read else ".highlight pre")
    assert page.evaluate(MARK_KINDS) > 10
    unread = [[place] for place in UNREAD if not (code_is_read and place == ".highlight")]
    assert axe(page, {"exclude": unread}, rules={"color-contrast": {"enabled": False}}) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        expect(page.locator("html")).to_have_attribute("data-theme", scheme)
        assert axe(page, {"include": [["[data-kind]"]], "exclude": unread}, runOnly=["color-contrast"]) == [], scheme


def axe(page: Page, context: dict[str, object], **options: object) -> list[str]:
    found = Axe().run(page, context=context, options={"resultTypes": ["violations"], **options})
    return [f"{v['id']}: {[node['target'] for node in v['nodes']][:5]}" for v in found.response["violations"]]


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_telephone(new_context: Callable[..., BrowserContext], origin: str, name: str) -> None:
    page = new_context(viewport={"width": 390, "height": 844}).new_page()
    visit(page, origin + name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


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
    visit(page, origin + "book/appendix/api/scores.html")
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
        kinds = properties(ElementTree.fromstring(book.read("content.opf")))
        for name in sorted(names):
            if name.endswith(".xhtml"):
                page = book.read(name)
                check_epub_page(name, ElementTree.fromstring(page), names)
                assert ("mathml" in kinds[name]) == (b"<math" in page), name
        assert "mathml" in kinds["book/deep-learning/distributions.xhtml"]


def properties(package: ElementTree.Element) -> dict[str, list[str]]:
    """What the list of files says of each page."""
    items = package.iter("{http://www.idpf.org/2007/opf}item")
    return {item.attrib["href"]: item.attrib.get("properties", "").split() for item in items}


def check_epub_page(name: str, tree: ElementTree.Element, names: set[str]) -> None:
    tag = "{http://www.w3.org/1999/xhtml}"
    assert not tree.findall(f".//{tag}script"), f"{name} holds a script"
    for image in (each for each in tree.iter(f"{tag}img") if "toggler" not in each.attrib.get("class", "")):
        place = os.path.normpath(Path(name).parent / image.attrib["src"])
        assert place in names, f"{name}: no {place}"
        assert len(image.attrib.get("alt", "").split()) > 2, f"{name}: {place} is not described"
    for formula in tree.iter(f"{tag}span"):
        assert "\\(" not in (formula.text or ""), f"{name}: a formula as plain TeX"
