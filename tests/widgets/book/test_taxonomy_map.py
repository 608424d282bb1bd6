"""TaxonomyMap: what remains, what its presets promise, and its page. test_widgets*.py has the rest."""

import itertools
import json
import re

import pytest
from browser import frame, watch
from drawn import draw, found, text
from playwright.sync_api import expect

from attnlib.book import taxonomy
from attnlib.widgets import TaxonomyMap

EVERY = [name for one in taxonomy.CRITERIA for name in one.names]
CHAPTERS = [  # as the build leaves them in the page
    {
        "title": "Both",
        "href": "a/both.html",
        "by": "chapter",
        "types": ["soft", "hard"],
        "works": ["RAM", "HAN"],
    },
    {"title": "All </scores>", "href": "../scores.html", "by": "chapter on the score", "types": [], "works": ["HAN"]},
]


def remaining(*types):
    """The works that have all of these types, asked of the taxonomy."""
    asked = {one.name: [name for name in types if name in one.names] for one in taxonomy.CRITERIA}
    return [work.name for work in taxonomy.select(taxonomy.WORKS, **asked)]


def preset(name):
    return TaxonomyMap(preset=name).works


def test_what_remains_is_what_the_taxonomy_selects_and_is_shown():
    widgets = [TaxonomyMap(types=types) for count in (0, 1, 2) for types in itertools.combinations(EVERY, count)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        works = remaining(*widget.types)
        assert widget.works == works
        cards = [card for card in found(view, "attnlib-map-card") if card.get("hidden") is None]
        assert [text(card.find(".//strong")) for card in cards] == works
        asked = {
            text(word) for card in cards for word in found(card, "attnlib-map-type") if "data-asked" in word.attrib
        }
        assert asked == (set(widget.types) if works else set())
        counts = {name: len([*filter({*remaining(name)}.__contains__, works)]) for name in EVERY}
        assert [text(box) for box in found(view, "attnlib-toggle")] == [f"{name} ({counts[name]})" for name in EVERY]


def test_a_card_tells_whose_it_is_its_types_and_a_note():
    (view,) = draw(TaxonomyMap(types=["multi-head"]))
    (card,) = (card for card in found(view, "attnlib-map-card") if card.get("hidden") is None)
    told = "Transformer Vaswani et al., 2017"
    assert text(card).startswith(told)
    assert [text(row) for row in card.findall("dl/div")][2] == "Input sourcedistinctive, self"
    assert "encoder" in text(card)
    assert found(view, "attnlib-map-link") == []  # where no build has left chapters
    assert not [
        each for each in found(view, "attnlib-caption") if "chapter" in text(each) and each.get("hidden") is None
    ]


def test_the_meaning_of_what_is_ticked_is_told():
    plain, asked = draw(TaxonomyMap(types=[]), TaxonomyMap(types=["hard", "self"]))
    told = {kind.name: f"{kind.name}: {kind.meaning}" for one in taxonomy.CRITERIA for kind in one.types}
    for view, types in ((plain, []), (asked, ["hard", "self"])):
        (lines,) = found(view, "attnlib-map-meanings")
        assert [text(line) for line in lines if line.get("hidden") is None] == [told[name] for name in types]
        assert (lines.get("hidden") is None) == bool(types)


def test_unknown_types_are_refused():
    with pytest.raises(ValueError, match=r"types must be of soft, hard, global, .*; got 'Aoft'"):
        TaxonomyMap(types=["Aoft"])


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_soft_and_hard_at_once():
    assert len(preset("Soft and hard at once")) == 1
    assert remaining("soft", "local") == ["Global and local attention", "Spatial transformer"]


def test_preset_nothing_asked_for():
    assert preset("Nothing asked for") == [work.name for work in taxonomy.WORKS]
    assert sum(len(remaining(name)) == 1 for name in EVERY) == 1


def test_preset_where_the_choice_is_hard():
    hard, places = set(preset("Where the choice is hard")), set(remaining("location-wise"))
    assert len(hard - places) == len(places - hard) == 1
    assert places - hard <= set(remaining("soft"))


def test_preset_two_inputs_in_one_work():
    assert preset("Two inputs in one work") == ["Transformer"]
    (work,) = taxonomy.select(input_representation=("distinctive", "self"))
    assert "encoder" in work.note


def test_preset_an_empty_place():
    assert preset("An empty place") == []


# ----------------------------------------------------------------------------------------------- the page, in the hand


@pytest.fixture
def show(tmp_path, page):
    """Open a page with the map, after the chapters as the build of the book leaves them."""
    record = watch(page)

    def open_page(widget):
        data = json.dumps(CHAPTERS).replace("</", "<\\/")
        html = f'<script type="application/json" id="attnlib-chapters">{data}</script>{widget._repr_html_()}'
        (tmp_path / "index.html").write_text(f'<!doctype html><meta charset="utf-8"><main>{html}</main>', "utf-8")
        page.goto((tmp_path / "index.html").as_uri())
        return page

    yield open_page
    assert record.errors == []


def shown(page, label):
    return page.locator(f"ul[aria-label='{label}'] > li:not([hidden]) strong").all_inner_texts()


@pytest.mark.browser
def test_works_and_chapters_link_to_what_the_page_names(show):
    page = show(TaxonomyMap(types=[]))
    of_card = "(link) => [link.closest('li').querySelector('strong').textContent, link.getAttribute('href')]"
    links = page.eval_on_selector_all("a.attnlib-map-link", f"(links) => links.map({of_card})")
    both, scores = (chapter["href"] for chapter in CHAPTERS)
    assert links == [["RAM", both], ["HAN", both], ["HAN", scores], ["Both", both], ["All </scores>", scores]]
    expect(page.get_by_text("2 of 2 chapters of this book")).to_be_visible()


@pytest.mark.browser
def test_boxes_are_ticked_and_an_empty_place_is_told(show):
    page = show(TaxonomyMap(types=["hard"]))
    assert (shown(page, "Works"), shown(page, "Chapters of this book")) == (remaining("hard"), ["Both"])
    page.get_by_role("checkbox", name=re.compile("^multi-head")).press("Space")
    words = "Asked for: hard and multi-head. No work here stands in this place."
    expect(page.locator(".attnlib-map-bar")).to_contain_text(words)
    one, other = len(remaining("multi-head")), len(remaining("hard"))
    told = f"There would be {one} without hard and {other} without multi-head."
    expect(page.locator(".attnlib-map-bar")).to_contain_text(told)
    page.wait_for_function("words => document.querySelector('[role=status]').textContent.includes(words)", arg=words)
    page.get_by_role("button", name="Untick all").click()
    frame(page)
    assert (shown(page, "Works"), len(shown(page, "Chapters of this book"))) == (remaining(), 2)
