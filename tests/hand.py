"""One visit to a widget: it is shown once, and everything is looked at in that one visit.

A check takes the visit and yields complaints, one sentence each; `look` of `visit.py` runs them in their order. Each
leaves the widget as it came, by its Reset, or begins from a preset, as the last ones do.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from browser import frame, move_something, start_from, started_from
from playwright.sync_api import CDPSession, Page

NARROW = 390
FRAME = 16  # ms
STEPS = 24  # of a drag, a frame each
REACHABLE = "input, select, button, a[href], [tabindex='0']"
# Where the focus is, and whether it can be seen there.
FOCUS = """() => {
  const node = document.activeElement;
  if (!node.closest(".attnlib-view")) return null;
  const ring = node.querySelector?.(".attnlib-ring");
  const style = getComputedStyle(node);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const seen = ring ? getComputedStyle(ring).stroke !== "none" : outlined;
  return [[...document.querySelectorAll("*")].indexOf(node), seen, node.outerHTML.slice(0, 80)];
}"""
# What is too wide for a telephone, and what is too small for a finger.
CRAMPED = """(width) => {
  const told = (what) => (node) => `too ${what}: ${node.outerHTML.slice(0, 80)}`;
  const all = (kind) => [...document.querySelectorAll(`.attnlib-body ${kind}`)];
  const wide = all("*").filter((node) => {
    const box = node.getBoundingClientRect();
    return box.width > 1 && !node.closest("svg") && (box.left < 0 || box.right > width);
  });
  const small = all(":is(input, select, button, [tabindex='0'])").filter((node) => {
    const box = node.getBoundingClientRect();
    return box.width > 0 && (box.width < 24 || box.height < 24);
  });
  const said = document.documentElement.scrollWidth <= width ? [] : ["the page scrolls sideways"];
  return [...said, ...wide.map(told("wide")), ...small.map(told("small"))];
}"""
# Contrast takes four fifths of axe's time. It is looked at in every text whose colours, size and opacity, with those of
# all that it stands in, were not met in this theme before.
NEW_KINDS = """(theme) => {
  const seen = ((window.kinds_seen ??= {})[theme] ??= new Set());
  const known = new Map();
  const kind = (node) => {
    if (!node || known.has(node)) return known.get(node) ?? "";
    const at = getComputedStyle(node);
    const looks = [at.color, at.fill, at.backgroundColor, at.backgroundImage, at.opacity, at.fontSize, at.fontWeight];
    const told = [kind(node.parentElement), node.tagName, node.getAttribute("class"), at.position, ...looks].join(" ");
    known.set(node, told);
    return told;
  };
  let count = 0;
  for (const node of document.body.querySelectorAll("*")) {
    const said = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (!said && !node.matches("input, select") || !node.checkVisibility() || seen.has(kind(node))) continue;
    seen.add(kind(node));
    node.setAttribute("data-kind", "");
    count += 1;
  }
  return count;
}"""
COUNT_FRAMES = """() => {
  window.next_frame = window.requestAnimationFrame.bind(window);
  window.frames_drawn = 0;
  window.requestAnimationFrame = (draw) => next_frame((now) => { draw(now); frames_drawn += 1; });
}"""


NEXT_FRAME = "() => new Promise((done) => next_frame(() => next_frame(done)))"


@dataclass
class Shown:
    """A page that shows one widget, and its presets."""

    page: Page
    presets: list[dict[str, Any]]
    measured: list[str] = field(default_factory=list)


Check = Callable[[Shown], Iterator[str]]


def reset(page: Page) -> None:
    """As it was at the start, or at the last preset that was chosen."""
    button = page.get_by_role("button", name="Reset")
    frame(page)  # in which the button goes out, if the last key led back to the start
    if button.get_attribute("aria-disabled") != "true":
        button.click()
    frame(page)


def body(page: Page) -> str:
    """What is drawn; a style that was taken back leaves an empty one behind."""
    return page.locator(".attnlib-body").inner_html().replace(' style=""', "")


# --- as it opens ------------------------------------------------------------------------------------------------------


def keyboard_reaches_all(seen: Shown) -> Iterator[str]:
    """In the order of the page, and the focus is seen; the page around hears of Tab and Escape only."""
    page = seen.page
    wanted = page.locator(f".attnlib-view :is({REACHABLE}):not(:disabled):visible").count()
    reached = []
    for _ in range(wanted + 1):
        page.keyboard.press("Tab")
        if state := page.evaluate(FOCUS):
            reached.append(state)
    places = [place for place, _, _ in reached]
    if len(set(places)) != wanted:
        yield f"{len(set(places))} of {wanted} are reached"
    if places != sorted(places):
        yield f"not in the order of the page: {places}"
    yield from (f"no focus is seen on {told}" for _, visible, told in reached if not visible)
    page.evaluate("() => { window.heard = []; document.addEventListener('keydown', (e) => heard.push(e.key)); }")
    page.locator(".attnlib-view :is(.attnlib-point, input[type=range], input[type=checkbox])").first.focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowDown", "a", "Enter", "Escape", "Tab"):
        page.keyboard.press(key)
    if (heard := page.evaluate("heard")) != ["Escape", "Tab"]:
        yield f"the page around heard {heard}"
    reset(page)


def follows_the_page_before_the_system(seen: Shown) -> Iterator[str]:
    """Light or dark."""
    for system in ("light", "dark"):
        seen.page.emulate_media(color_scheme=system)
        for theme in (None, "light", "dark"):
            in_theme(seen.page, theme)
            ground = seen.page.evaluate("getComputedStyle(document.querySelector('.attnlib-view')).backgroundColor")
            found = "dark" if int(re.search(r"\d+", ground)[0]) < 100 else "light"
            if found != (theme or system):
                yield f"{found} where the system is {system} and the page {theme or 'says nothing'}"
    seen.page.emulate_media(color_scheme="light")
    in_theme(seen.page, None)


def in_theme(page: Page, theme: str | None) -> None:
    """Set the page's own theme, None for none, and wait until it is drawn."""
    page.evaluate(
        """(theme) => {
            if (theme) document.documentElement.dataset.theme = theme;
            else delete document.documentElement.dataset.theme;
            const dark = theme === "dark";
            Object.assign(document.body.style, {background: dark ? "#14181e" : "#fff", color: dark ? "#fff" : "#000"});
            return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        }""",
        theme,
    )


def sliders_say_their_value(seen: Shown) -> Iterator[str]:
    """And check boxes stay as they are set."""
    page = seen.page
    name = "(node) => node.labels[0].textContent"
    for slider in page.locator(".attnlib-view input[type=range]:enabled:visible").all():
        slider.focus()
        before = slider.get_attribute("aria-valuetext")
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        frame(page)
        if not before or slider.get_attribute("aria-valuetext") == before:
            yield f"the slider {slider.evaluate(name)} says {before} before and after"
    for box in page.locator(".attnlib-view input[type=checkbox]:visible").all():
        for way, press in (("click", box.click), ("space", lambda box=box: box.press("Space"))):
            before = box.is_checked()
            press()
            frame(page)
            if box.is_checked() == before:
                yield f"the box {box.evaluate(name)} does not stay as a {way} sets it"
    reset(page)


# --- frames -----------------------------------------------------------------------------------------------------------


def frame_is_quick(seen: Shown) -> Iterator[str]:
    """What the page's thread computes for one frame while dragging: input, script, style, layout and painting.

    In the thread's own processor time, so that a busy machine changes little; the best of six drags counts.
    """
    page = seen.page
    page.evaluate(COUNT_FRAMES)
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})
    costs: list[float] = []
    while len(costs) < 6 and (not costs or costs[-1] >= FRAME):
        page.evaluate("frames_drawn = 0")
        before = busy_seconds(client)
        drag_about(page)
        frames = page.evaluate("frames_drawn")
        if frames <= 8:  # what a frame costs, not how many a busy machine draws, is asked
            yield f"only {frames} frames are drawn"
            break
        costs.append(1e3 * (busy_seconds(client) - before) / frames)
    client.detach()
    seen.measured.append(f"{min(costs):5.2f} ms a frame")
    if not 0 < min(costs) < FRAME:
        yield f"a frame takes {', '.join(f'{cost:.1f}' for cost in costs)} ms"
    reset(page)


def busy_seconds(client: CDPSession) -> float:
    """Processor time that the page's thread has spent in tasks."""
    return {each["name"]: each["value"] for each in client.send("Performance.getMetrics")["metrics"]}["TaskDuration"]


def drag_about(page: Page) -> None:
    """Drag the first point of a widget about; where there is none, move its first slider, or tick its boxes in turn."""
    if not page.locator(".attnlib-view .attnlib-point").count():
        sliders = page.locator(".attnlib-view input[type=range]:enabled").all()[:1]
        boxes = page.locator(".attnlib-view input[type=checkbox]").all()
        if sliders:
            sliders[0].focus()
        for step in range(STEPS):
            if sliders:  # the keyboard alone: to look for the slider each time would count as the page's work
                page.keyboard.press("ArrowRight" if step % 12 < 6 else "ArrowLeft")
            else:
                boxes[step % len(boxes)].press("Space")
            page.evaluate(NEXT_FRAME)
        return
    handle = page.locator(".attnlib-view .attnlib-point").first
    handle.scroll_into_view_if_needed()
    box = handle.locator(".attnlib-target").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(STEPS):
        page.mouse.move(x + 40 * math.sin(step / 3), y + 40 * math.sin(step / 2))
        page.evaluate(NEXT_FRAME)
    page.mouse.up()
    page.evaluate(NEXT_FRAME)


# --- from preset to preset --------------------------------------------------------------------------------------------


def axe_finds_nothing(seen: Shown) -> Iterator[str]:
    """As it opens in the light and in the dark; then from preset to preset, in turns."""
    states = [("light", ""), ("dark", "")]
    states += zip(("dark", "light", "dark"), (preset["name"] for preset in seen.presets), strict=False)
    for theme, preset in states:
        if preset:
            start_from(seen.page, preset)
        in_theme(seen.page, theme)
        yield from (f"{preset or 'as it opens'}, {theme}: {found}" for found in axe(seen.page, theme))
    in_theme(seen.page, None)


def axe(page: Page, theme: str = "") -> list[tuple[str, str]]:
    """What axe finds, with its script brought in once; with a theme, contrast of what is new in it."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    if not theme:
        return run_axe(page, "document")
    found = run_axe(page, "document", rules={"color-contrast": {"enabled": False}})
    if page.evaluate(NEW_KINDS, theme):
        found += run_axe(page, "{include: [['[data-kind]']]}", runOnly=["color-contrast"])
        page.evaluate("document.querySelectorAll('[data-kind]').forEach((each) => each.removeAttribute('data-kind'))")
    return found


def run_axe(page: Page, place: str, **options: object) -> list[tuple[str, str]]:
    run = f"(options) => axe.run({place}, options)"
    found = page.evaluate(run, {"resultTypes": ["violations"], "preload": False, **options})
    return [(item["id"], item["nodes"][0]["html"]) for item in found["violations"]]


def words_of_a_preset_come_and_go(seen: Shown) -> Iterator[str]:
    """They go with the first change, and come back with Reset, as does everything else."""
    page = seen.page
    notice = page.locator(".attnlib-notice")
    button = page.get_by_role("button", name="Reset")
    for preset in seen.presets[:2]:
        name, said = preset["name"], preset["notice"]
        start_from(page, name)
        frame(page)
        before = body(page)
        if (notice.inner_text(), button.get_attribute("aria-disabled")) != (said, "true"):
            yield f"{name} does not begin with its own words, or can be reset at once"
        move_something(page, page.locator(".attnlib-view"))
        if started_from(page) or notice.inner_text() == said:
            yield f"{name} and its words stay after a change"
        button.click()
        frame(page)
        if (started_from(page), notice.inner_text()) != (name, said):
            yield f"Reset brings back {started_from(page) or 'nothing'} where {name} was"
        if body(page) != before:
            yield f"Reset does not bring back what {name} draws"


# --- on a telephone ---------------------------------------------------------------------------------------------------


def fits_a_hand(seen: Shown) -> Iterator[str]:
    """No sideways scroll, and targets that a finger hits, from preset to preset."""
    for preset in seen.presets:
        start_from(seen.page, preset["name"])
        frame(seen.page)
        yield from (f"{preset['name']}: {said}" for said in seen.page.evaluate(CRAMPED, NARROW))


DESK: tuple[Check, ...] = (
    keyboard_reaches_all,
    follows_the_page_before_the_system,
    sliders_say_their_value,
    frame_is_quick,
    axe_finds_nothing,
    words_of_a_preset_come_and_go,
)
PHONE: tuple[Check, ...] = (fits_a_hand,)
