"""Each check of a visit rejects a small page that is wrong, and passes the one that is right."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Record, served
from playwright.sync_api import Page
from visit import (
    ALL,
    BYTES,
    TELEPHONE,
    Check,
    Visit,
    accessible,
    contrasts,
    fits_a_telephone,
    formulas_stand,
    kept_to_itself,
    look,
    named,
    nothing_is_left_over,
    pictures_are_there_and_described,
    visit,
    widget_is_near,
    widgets_come_alive,
)

pytestmark = pytest.mark.browser

PICTURE = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
GOOD = f"""<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"><title>A page</title>
<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">
<style>body {{ background: white; color: black }}
html[data-theme=dark] body {{ background: black; color: white }}</style>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.onchange = () => {{ document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; }};
</script><script src="_static/attnlib/slider.js"></script></head>
<body><main><article><h1>A headline</h1><h2>Another</h2><p>A line with <b>bold</b>, <i>slanted</i>,
<span class="math"><mjx-container>x</mjx-container></span></p><ul><li>one</li></ul>
<div class="highlight"><pre>code</pre></div>
<img src="{PICTURE}" alt="A small empty square">
<div class="attnlib-static" data-attnlib="slider"><div class="attnlib-view"><label>Size
<input type="range" oninput="this.nextSibling.textContent = this.value"><output></output></label></div></div>
</article></main></body></html>"""
WIDE = '<p style="width: 500px">wide</p>'
# What is changed for what; the check that must complain, and a part of what it says.
MUTANTS = {
    "language": (('lang="en"', 'lang="de"'), named, "the language is de"),
    "title": (("<title>A page</title>", ""), named, "no title"),
    "headlines": (("<h2>Another</h2>", "<h1>Another</h1>"), named, "2 headlines"),
    "formula not drawn": (("<mjx-container>x</mjx-container>", "x"), formulas_stand, "0 of 1"),
    "formula with an error": (("<mjx-container>x", "<mjx-container><mjx-merror>x</mjx-merror>"), formulas_stand, "1 "),
    "leftover": (("A line", "A line, {ref}`x`,"), nothing_is_left_over, "{ref}`"),
    "alt text": (("A small empty square", "square"), pictures_are_there_and_described, "data:"),
    "picture": ((PICTURE, "data:,"), pictures_are_there_and_described, "no picture comes"),
    "dead widget": (('class="attnlib-view"', ""), widgets_come_alive, "0 of 1"),
    "unmoved widget": (("oninput", "onhover"), widgets_come_alive, "widget 0 does not move"),
    "widget far down": (("<h1>", '<div style="height: 2000px"></div><h1>'), widget_is_near, "stands at 2"),
    "no widget": (('class="attnlib-view"', ""), widget_is_near, "stands at None"),
    "widget without its script": (
        ('<script src="_static/attnlib/slider.js"></script>', ""),
        widgets_come_alive,
        "scripts came for [], and widgets are ['slider']",
    ),
    "widget with an alert": (
        ("<label>Size", '<p role="alert">No.</p><label>Size'),
        widgets_come_alive,
        "widget 0 says",
    ),
    "widget too wide": (('class="attnlib-view"', 'class="attnlib-view" style="width: 2000px"'), widgets_come_alive, ""),
    "widget too wide for a telephone": (
        ('class="attnlib-static"', 'class="attnlib-static" style="width: 450px; overflow: hidden; position: fixed"'),
        fits_a_telephone,
        "widget 0",
    ),
    "table that a widget cuts off": (
        ("<label>Size", '<table style="position: absolute; width: 3000px"></table><label>Size'),
        widgets_come_alive,
        "TABLE  stands out of widget 0 at 1280 px",
    ),
    "too wide for a telephone": (("<ul>", WIDE + "<ul>"), fits_a_telephone, "it is 5"),
    "elsewhere": (
        ("<ul>", '<img src="http://127.0.0.1:9/x.png" alt="Not to be had"><ul>'),
        kept_to_itself,
        "asked for",
    ),
    "not found": (("<ul>", '<link rel="stylesheet" href="x.css"><ul>'), kept_to_itself, "x.css: 404"),
    "complaint": (("<ul>", "<script>console.warn('ouch')</script><ul>"), kept_to_itself, "warning: ouch"),
    "failure": (("<ul>", "<script>throw Error('ouch')</script><ul>"), kept_to_itself, "page error: ouch"),
    "heavy": (("<ul>", f"<!--{' ' * BYTES}--><ul>"), kept_to_itself, "6,0"),
    "axe": (("<ul>", "<button></button><ul>"), accessible, "button-name"),
    "contrast": (("<li>", '<li style="color: #eee">'), contrasts, "light: color-contrast"),
    "contrast in the dark": (("<li>", '<li style="color: #555">'), contrasts, "dark: color-contrast"),
    "contrast of the second of a kind": (
        ("<li>one</li>", '<li>one</li><li style="color: #eee">two</li>'),
        contrasts,
        "light: color-contrast",
    ),
    "little text": (("<b>bold</b>, <i>slanted</i>", "nothing"), contrasts, "only"),
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "_static/attnlib").mkdir(parents=True)
    (folder / "_static/attnlib/slider.js").touch()
    with served(folder) as address:
        yield folder, address


@pytest.fixture
def complaints(shelf: tuple[Path, str], kept: Callable[..., tuple[Page, Record]]) -> Callable[..., list[str]]:
    folder, address = shelf

    def found(html: str, *checks: Check) -> list[str]:
        (folder / "page.html").write_text(html, "utf-8")
        page, record = kept(viewport=TELEPHONE)
        return look(visit(page, address, "page.html", record=record), checks)

    return found


def test_a_good_page_passes(complaints) -> None:
    assert complaints(GOOD, *ALL) == []


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_bad_page_is_refused(complaints, mutant: str) -> None:
    (right, wrong), check, said = MUTANTS[mutant]
    assert GOOD.count(right) == 1
    found = complaints(GOOD.replace(right, wrong), check)
    assert any(said in complaint for complaint in found), found


def test_every_check_has_its_bad_page() -> None:
    assert {check for _, check, _ in MUTANTS.values()} == set(ALL)


def test_a_check_that_breaks_off_hides_no_other() -> None:
    def broken(seen: Visit) -> Iterator[str]:
        yield "first"
        raise ValueError("no more")

    def sound(seen: Visit) -> Iterator[str]:
        yield "second"

    found = look(Visit(None, None, ""), (broken, sound))  # type: ignore[arg-type]
    assert found == ["broken: first", "broken: ValueError: no more", "sound: second"]
