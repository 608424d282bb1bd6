"""Each check of the visit to a widget rejects a widget that is wrong, and passes the one that is right."""

from collections.abc import Callable

import hand
import pytest
from browser import Record
from hand import DESK, NARROW, PHONE, Check, Shown
from playwright.sync_api import Page
from visit import look

from attnlib.widgets import LocalWindow

pytestmark = pytest.mark.browser

DARK = 'html[data-theme="dark"] .attnlib,'
END = "</main>"
# What is put for what in a page that shows LocalWindow; the check that must complain, and a part of what it says.
MUTANTS = {
    "unreachable": (('"use strict";', '"use strict"; setTimeout(() => document.querySelector(".attnlib-view button")'
                     '.setAttribute("tabindex", "-1"));'), hand.keyboard_reaches_all, "are reached"),
    "focus unseen": ((END, "<style>.attnlib-view * { outline: none !important; }</style></main>"),
                     hand.keyboard_reaches_all, "no focus is seen on"),
    "keys leak": (("event.stopPropagation();", ";"), hand.keyboard_reaches_all, "the page around heard"),
    "dark from the system alone": ((DARK, ""), hand.follows_the_page_before_the_system,
                                   "light where the system is light and the page dark"),
    "slider without words": ((END, "<script>setInterval(() => document.querySelectorAll('input[type=range]').forEach("
                              "(each) => each.setAttribute('aria-valuetext', '1')))</script></main>"),
                             hand.sliders_say_their_value, "says 1 before and after"),
    "slow frame": (("request = 0;\n      const state", "request = 0;\n      for (let i = 0; i < 2e7; i++) "
                    "root.spent = (root.spent ?? 0) + i;\n      const state"), hand.frame_is_quick, "a frame takes"),
    "button without a name": ((END, "<button></button></main>"), hand.axe_finds_nothing, "light: ('button-name'"),
    "pale": (("--soft: #59626c", "--soft: #c9d2dc"), hand.axe_finds_nothing, "as it opens, light: ('color-contrast'"),
    "pale in the dark": (("--soft: #aab3bd", "--soft: #4a535d"), hand.axe_finds_nothing,
                         "as it opens, dark: ('color-contrast'"),
    "Reset forgets the preset": (("view.set(origin);", 'view.set({ ...origin, preset: "" });'),
                                 hand.words_of_a_preset_come_and_go, "Reset brings back nothing where"),
    "Reset does nothing": (("view.set(origin);", ""), hand.words_of_a_preset_come_and_go, "Reset does not bring back"),
    "words stay": (('{ preset: "", ...changes }', "changes"), hand.words_of_a_preset_come_and_go,
                   "its words stay after a change"),
    "wide": ((END, '<p style="width: 500px">wide</p></main>'), hand.fits_a_hand, "the page scrolls sideways"),
    "small targets": ((END, "<style>.attnlib-view button { height: 12px !important; min-height: 0 !important; }"
                       "</style></main>"), hand.fits_a_hand, "too small: <button"),
}  # fmt: skip


@pytest.fixture
def complaints(kept: Callable[..., tuple[Page, Record]], tmp_path) -> Callable[..., list[str]]:
    widget = LocalWindow()
    page_of = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Widgets</title>'
        '<meta name="viewport" content="width=device-width"></head><body style="margin:16px;background:#fff;'
        f'color:#000"><main><h1>Widgets</h1>{widget._repr_html_()}</main></body></html>'
    )

    def found(right: str, wrong: str, *checks: Check) -> list[str]:
        assert right in page_of
        path = tmp_path / "page.html"
        path.write_text(page_of.replace(right, wrong), "utf-8")
        on_phone = checks == PHONE
        telephone = {"viewport": {"width": NARROW, "height": 800}, "has_touch": True, "is_mobile": True}
        page, _ = kept(**(telephone if on_phone else {}))
        page.goto(path.as_uri())
        return look(Shown(page, widget.presets), checks)

    return found


def test_every_check_has_its_bad_widget() -> None:
    assert {check for _, check, _ in MUTANTS.values()} == {*DESK, *PHONE}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_bad_widget_is_refused(complaints, mutant: str) -> None:
    (right, wrong), check, said = MUTANTS[mutant]
    found = complaints(right, wrong, check)
    assert any(said in complaint for complaint in found), found
