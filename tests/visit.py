"""One visit to a page of the site: it is loaded once, and everything is looked at in that one visit.

A check takes the visit and yields complaints, one sentence each. `look` runs them in their order and puts each one's
name before what it says, so that one that fails hides no other. Some change the page for those that follow: it comes
narrow and is made wide, then formulas and code are taken out for axe, and at last all but one text of each kind.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT
from browser import Record, frame, move_something, watch
from playwright.sync_api import Page, expect

BYTES = 6_000_000  # of one page with everything that it asks for
TWO_SCREENS = 2000  # px, of a page 1,280 wide
TELEPHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
SCRIPTS = "/_static/attnlib/"  # of widgets, on exactly the pages that hold them
LEFTOVERS = ("{ref}`", "{cite", "```{", "{doc}`", "\\tag{")
READY = "async () => { if (window.MathJax?.startup) await MathJax.startup.promise; await document.fonts.ready; }"
# Not looked at stroke by stroke: formulas, which carry their own MathML (as do headers that hold one, which axe takes
# for empty); code, whose colours are the same everywhere and are looked at on one page; and widgets, which axe meets in
# their own tests.
UNREAD = ("mjx-container", "th:has(mjx-container)", ".attnlib-static")
CODE = ".highlight"
# axe takes its time for each node of a page, and far more of it for contrast: what is not read keeps its box and loses
# its nodes, and contrast is looked at in the first visible text of each kind (tags, classes and styles up to the root),
# with what lies around these texts and nothing else.
THIN_OUT = """(code) => {
  for (const formula of document.querySelectorAll("mjx-container")) {
    const { width, height } = formula.getBoundingClientRect();
    formula.replaceChildren();
    Object.assign(formula.style, { display: "inline-block", minWidth: `${width}px`, minHeight: `${height}px` });
  }
  if (code) for (const block of document.querySelectorAll(`${code} pre`)) block.textContent = block.textContent;
}"""
ONE_OF_A_KIND = """() => {
  const seen = new Set(), kept = new Set();
  const kind = (node) => node === null ? ""
    : [kind(node.parentElement), node.tagName, node.getAttribute("class"), node.getAttribute("style")].join(" ");
  const all = [...document.body.querySelectorAll("*:not(.attnlib-static *)")];
  for (const node of all) {
    if (![...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim())) continue;
    if (!node.checkVisibility({ visibilityProperty: true }) || seen.has(kind(node))) continue;
    seen.add(kind(node));
    node.setAttribute("data-kind", "");
    for (let around = node; around; around = around.parentElement) kept.add(around);
  }
  for (const node of all) if (!kept.has(node)) node.remove();
  return seen.size;
}"""


# What stands in a widget and ends beyond its right edge, the outermost of each; drawings have edges of their own.
BESIDE = """(view) => {
  const edge = view.getBoundingClientRect().right + 1;
  const out = (node) => node.getBoundingClientRect().width > 1 && node.getBoundingClientRect().right > edge;
  const all = [...view.querySelectorAll("*:not(svg *)")].filter((node) => node.checkVisibility() && out(node));
  return all.filter((node) => !all.includes(node.parentElement)).map((node) => `${node.tagName} ${node.className}`);
}"""


@dataclass
class Visit:
    """A page that is open, and where the site starts."""

    page: Page
    record: Record
    base: str
    code_is_read: bool = False


Check = Callable[[Visit], Iterator[str]]


def visit(page: Page, base: str, name: str, *, record: Record | None = None, code_is_read: bool = False) -> Visit:
    """Open a page in the context that there is, light, with motion reduced, and wait until its formulas stand.

    A page that is kept from test to test comes with its record.
    """
    record = record or watch(page)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(base + name, wait_until="load")
    page.evaluate(READY)
    return Visit(page, record, base, code_is_read)


def look(seen: Visit, checks: tuple[Check, ...]) -> list[str]:
    """What the checks say of a page; one that breaks off is told like one that complains."""
    found = []
    for check in checks:
        try:
            for complaint in check(seen):
                found.append(f"{check.__name__}: {complaint}")
        except Exception as error:
            found.append(f"{check.__name__}: {type(error).__name__}: {error}")
    return found


# --- narrow -----------------------------------------------------------------------------------------------------------


def fits_a_telephone(seen: Visit) -> Iterator[str]:
    """No line runs out of a page that was opened narrow, and no widget; then it is made wide."""
    try:
        if (width := seen.page.evaluate("document.documentElement.scrollWidth")) > TELEPHONE["width"]:
            yield f"it is {width} px wide"
        yield from widgets_fit(seen, TELEPHONE["width"])
    finally:
        seen.page.set_viewport_size(DESK)
        frame(seen.page)


def widgets_fit(seen: Visit, width: int) -> Iterator[str]:
    for number, view in enumerate(seen.page.locator(".attnlib-view").all()):
        box = view.bounding_box()
        if box is None or box["x"] < 0 or box["x"] + box["width"] > width:
            yield f"widget {number} does not stand within {width} px: {box}"
        for what in view.evaluate(BESIDE):
            yield f"{what} stands out of widget {number} at {width} px"


# --- wide -------------------------------------------------------------------------------------------------------------


def named(seen: Visit) -> Iterator[str]:
    """A language, a title, one headline."""
    if (language := seen.page.locator("html").get_attribute("lang")) != "en":
        yield f"the language is {language}"
    if not seen.page.title():
        yield "no title"
    if (count := seen.page.locator("article h1").count()) != 1:
        yield f"{count} headlines"


def formulas_stand(seen: Visit) -> Iterator[str]:
    if wrong := seen.page.locator("mjx-merror, [data-mjx-error]").count():
        yield f"{wrong} formulas with an error"
    written = seen.page.locator("span.math, div.math").count()
    if written != (drawn := seen.page.locator("span.math > mjx-container, div.math > mjx-container").count()):
        yield f"{drawn} of {written} formulas are drawn"


def nothing_is_left_over(seen: Visit) -> Iterator[str]:
    text = seen.page.locator("article").inner_text()
    yield from (f"{leftover} in the text" for leftover in LEFTOVERS if leftover in text)


def pictures_are_there_and_described(seen: Visit) -> Iterator[str]:
    pictures = seen.page.locator("article img:not([hidden])").evaluate_all(
        """(all) => Promise.all(all.map(async (each) => {
          each.loading = 'eager'; // what lies far below is fetched when it comes near, else
          await each.decode().catch(() => {});
          return [each.getAttribute('src'), each.alt, each.complete && each.naturalWidth > 0];
        }))"""
    )
    for address, alt, complete in pictures:
        if not complete:
            yield f"no picture comes from {address[:80]}"
        if len(alt.split()) < 3:
            yield f"{address[:80]} is not described"


def widgets_come_alive(seen: Visit) -> Iterator[str]:
    views = seen.page.locator(".attnlib-view")
    if views.count() != (count := seen.page.locator(".attnlib-static").count()):
        yield f"{views.count()} of {count} widgets are alive"
    wanted = set(seen.page.locator(".attnlib-static").evaluate_all("(all) => all.map((each) => each.dataset.attnlib)"))
    if wanted != (loaded := {Path(url).stem for url in seen.record.requests if SCRIPTS in url}):
        yield f"scripts came for {sorted(loaded)}, and widgets are {sorted(wanted)}"
    for number, view in enumerate(views.all()):
        yield from (f"widget {number} says: {text}" for text in alerts(seen.page, number))
        before = view.inner_html()
        move_something(seen.page, view)
        if view.inner_html() == before:
            yield f"widget {number} does not move"
    yield from widgets_fit(seen, DESK["width"])


def widget_is_near(seen: Visit) -> Iterator[str]:
    """A chapter can be touched within two screens."""
    view = seen.page.locator(".attnlib-view").first
    box = view.bounding_box() if view.count() else None
    if box is None or box["y"] >= TWO_SCREENS:
        yield f"the first widget stands at {box and box['y']} px"


def alerts(page: Page, number: int) -> list[str]:
    return page.locator(".attnlib-view").nth(number).locator("[role=alert]:visible").all_inner_texts()


def kept_to_itself(seen: Visit) -> Iterator[str]:
    """Nothing was asked for elsewhere, nothing failed, nothing was complained about; and it was not too much."""
    yield from (f"asked for {url}" for url in seen.record.outside(seen.base))
    yield from seen.record.errors
    yield from seen.record.failed
    if seen.base.startswith("http") and not 0 < seen.record.weight < BYTES:
        yield f"{seen.record.weight:,} bytes"


# --- with axe ---------------------------------------------------------------------------------------------------------


def accessible(seen: Visit) -> Iterator[str]:
    """Every rule of axe but that on contrast, which has a check of its own. It takes formulas and code out."""
    seen.page.evaluate(THIN_OUT, None if seen.code_is_read else CODE)
    yield from axe(seen, {}, rules={"color-contrast": {"enabled": False}})


def contrasts(seen: Visit) -> Iterator[str]:
    """In both schemes, on one text of each kind."""
    if (kinds := seen.page.evaluate(ONE_OF_A_KIND)) < 7:
        yield f"only {kinds} kinds of text"
    for scheme in ("light", "dark"):
        seen.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        expect(seen.page.locator("html")).to_have_attribute("data-theme", scheme)
        for complaint in axe(seen, {"include": [["[data-kind]"]]}, runOnly=["color-contrast"]):
            yield f"{scheme}: {complaint}"


def axe(seen: Visit, context: dict[str, object], **options: object) -> Iterator[str]:
    unread = [[place] for place in (*UNREAD, *([] if seen.code_is_read else [CODE]))]
    if not seen.page.evaluate("'axe' in window"):
        seen.page.evaluate(AXE_SCRIPT)
    found = seen.page.evaluate(
        "([context, options]) => axe.run(context, options)",
        [context | {"exclude": unread}, {"resultTypes": ["violations"], **options}],
    )
    for violation in found["violations"]:
        yield f"{violation['id']}: {[node['target'] for node in violation['nodes']][:5]}"


TEXT: tuple[Check, ...] = (named, formulas_stand, nothing_is_left_over, pictures_are_there_and_described)
AXE: tuple[Check, ...] = (accessible, contrasts)
CHAPTER: tuple[Check, ...] = (widget_is_near,)
ALL: tuple[Check, ...] = (fits_a_telephone, *CHAPTER, *TEXT, widgets_come_alive, kept_to_itself, *AXE)
