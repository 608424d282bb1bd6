"""TaxonomyMap: what remains, what its presets promise, and its page. test_widgets*.py has the rest."""

import itertools
import json
import random
import re

import pytest
from browser import frame, watch
from playwright.sync_api import expect

from attnlib.book import taxonomy
from attnlib.widgets import TaxonomyMap
from attnlib.widgets.book.taxonomy_map import PRESETS

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


def chapters(*types):
    return [chapter["title"] for chapter in CHAPTERS if set(types) <= set(chapter["types"])]


def by_preset(name):
    return TaxonomyMap(preset=name)


# ----------------------------------------------------------------------------------------------------------- outputs


def test_what_remains_is_what_the_taxonomy_selects():
    widget = TaxonomyMap(types=[])
    for count in (0, 1, 2):
        for types in itertools.combinations(EVERY, count):
            widget.types = types
            assert widget.works == remaining(*types)


def test_observers_see_what_remains():
    widget, seen = TaxonomyMap(types=[]), []
    widget.observe(lambda change: seen.append(change["new"]), "works")
    widget.types = ["multi-head"]
    assert seen == [["Transformer"]]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"types": ["Aoft"]}, "types must be of soft, hard, global, .*; got 'Aoft'"),
        ({"types": "soft"}, "types must be a list of texts"),
        ({"types": [1]}, "types must be a list of texts"),
        ({"entries": [{"name": "x"}]}, "entries must be a list of {name, by, types, note}"),
        (
            {"criteria": [{"title": 1, "short": "", "question": "", "types": []}]},
            "criteria must be a list of {title,",
        ),
    ],
)
def test_bad_state_is_refused_and_changes_nothing(state, message):
    with pytest.raises(ValueError, match=message):
        TaxonomyMap(**state)
    widget = TaxonomyMap()
    before = widget.state(), widget.works
    with pytest.raises(ValueError, match=message):
        widget.update(**state)
    assert (widget.state(), widget.works) == before


def test_the_picture_names_every_work_and_dots_those_that_remain():
    widget = TaxonomyMap(types=["hard"])
    picture = widget.picture().svg()
    assert all(work.name in picture for work in taxonomy.WORKS)
    assert picture.count("<circle") == len(widget.works) == 4
    assert "RAM" in widget.summary()
    assert "17 of 17 works in the taxonomy remain." in TaxonomyMap(types=[]).summary()


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_soft_and_hard_at_once():
    assert len(by_preset("Soft and hard at once").works) == 1
    assert len(remaining("soft", "local")) == 1


def test_preset_nothing_asked_for():
    assert by_preset("Nothing asked for").works == [work.name for work in taxonomy.WORKS]
    assert sum(len(remaining(name)) == 1 for name in EVERY) == 2


def test_preset_where_the_choice_is_hard():
    hard = by_preset("Where the choice is hard").works
    places = remaining("location-wise")
    assert len(set(hard) - set(places)) == 1
    assert len(set(places) - set(hard)) == 1
    assert set(places) - set(hard) <= set(remaining("soft"))


def test_preset_two_inputs_in_one_work():
    assert by_preset("Two inputs in one work").works == ["Transformer"]
    (work,) = taxonomy.select(input_representation=("distinctive", "self"))
    assert "encoder" in work.note


def test_preset_an_empty_place():
    assert by_preset("An empty place").works == []


# ---------------------------------------------------------------------------------------------------------- the page


@pytest.fixture
def show(tmp_path, page):
    """Open a page with the map, after the chapters as the build of the book leaves them."""
    record = watch(page)

    def open_page(widget, built=True):
        html = widget._repr_html_()
        if built:
            data = json.dumps(CHAPTERS).replace("</", "<\\/")
            html = f'<script type="application/json" id="attnlib-chapters">{data}</script>{html}'
        head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Map</title></head>'
        (tmp_path / "index.html").write_text(f"{head}<body><main>{html}</main></body></html>", encoding="utf-8")
        page.goto((tmp_path / "index.html").as_uri())
        return page

    yield open_page
    assert record.errors == []


def shown(page):
    """The names on the visible cards, by list."""
    return tuple(
        page.locator(f"ul[aria-label='{label}'] > li:not([hidden]) strong").all_inner_texts()
        for label in ("Works", "Chapters of this book")
    )


@pytest.mark.browser
def test_page_shows_what_the_taxonomy_selects(show):
    page = show(TaxonomyMap(types=[]))
    boxes = {name: page.get_by_role("checkbox", name=re.compile(rf"^{name} \(")) for name in EVERY}
    ticked = set()
    choose = random.Random(0)
    for _ in range(60):
        name = choose.choice(sorted(ticked) if len(ticked) > 2 else EVERY)
        boxes[name].press("Space")
        ticked ^= {name}
        frame(page)
        works = remaining(*ticked)
        assert shown(page) == (works, chapters(*ticked)), ticked
        for other, box in boxes.items():
            count = len(remaining(*ticked, other) if other not in ticked else works)
            assert box.evaluate("(node) => node.labels[0].textContent") == f"{other} ({count})"
    page.get_by_role("button", name="Untick all").click()
    frame(page)
    assert shown(page) == (remaining(), chapters())


@pytest.mark.browser
@pytest.mark.parametrize("preset", [item["name"] for item in PRESETS])
def test_presets_of_the_page_are_those_of_python(show, preset):
    page = show(TaxonomyMap(types=["local"]))
    page.get_by_label("Start from").select_option(preset)
    frame(page)
    widget = TaxonomyMap(preset=preset)
    assert shown(page) == (widget.works, chapters(*widget.types))
    asked = set(page.locator("[data-asked]:visible").all_inner_texts())
    assert asked == (set(widget.types) if widget.works else set())


@pytest.mark.browser
def test_an_empty_place_is_said_and_announced(show):
    page = show(TaxonomyMap(types=["hard"]))
    page.get_by_role("checkbox", name=re.compile("^multi-head")).press("Space")
    words = "Asked for: hard and multi-head. No work here stands in this place."
    expect(page.locator(".attnlib-map-news")).to_contain_text(words)
    page.wait_for_function("words => document.querySelector('[role=status]').textContent.includes(words)", arg=words)


@pytest.mark.browser
def test_works_and_chapters_link_to_what_the_page_names(show):
    page = show(TaxonomyMap(types=[]))
    links = page.eval_on_selector_all(
        "a.attnlib-map-link",
        "links => links.map((a) => [a.closest('li').querySelector('strong').textContent, a.getAttribute('href')])",
    )
    both, scores = (chapter["href"] for chapter in CHAPTERS)
    assert links == [["RAM", both], ["HAN", both], ["HAN", scores], ["Both", both], ["All </scores>", scores]]
    expect(page.locator(".attnlib-map-count:visible")).to_have_text("2 of 2 chapters of this book")


@pytest.mark.browser
def test_where_no_build_has_left_chapters_there_are_works_alone(show):
    page = show(TaxonomyMap(types=["soft"]), built=False)
    frame(page)
    assert shown(page) == (remaining("soft"), [])
    assert page.locator("a.attnlib-map-link, .attnlib-map-count:visible").count() == 0
