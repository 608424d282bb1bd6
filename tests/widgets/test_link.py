"""A widget's state in the address of its page: coded and decoded in Node, and in a browser from a folder."""

import re

import pytest
from browser import frame, move_something, watch
from playwright.sync_api import expect

import attnlib.widgets
from attnlib.widgets.bundle import HERE
from book._tools import node, static_view, toc

WIDGETS = [getattr(attnlib.widgets, name) for name in attnlib.widgets.__all__]
CODE = """
const { write, read } = await import(data.at);
return data.asked.map(([schema, stored, state, started]) => {
  const pieces = write(schema, stored, state, started);
  return [pieces, pieces && read(schema, stored, pieces)];
});
"""
READ = """
const { read } = await import(data.at);
return data.asked.map(([schema, stored, text]) => read(schema, stored, text.split("&")));
"""


def run(script, asked):
    return node.run(script, {"at": (HERE / "js" / "link.js").as_uri(), "asked": asked})


def coded(widget, *states, started=""):
    """For each state the pieces of its link, and what is read out of them."""
    return run(CODE, [(widget.schema(), widget.state(), {**widget.state(), **state}, started) for state in states])


def told(widget, *texts):
    return run(READ, [(widget.schema(), widget.state(), text) for text in texts])


def applied(widget, made):
    """The state that a page comes to, which starts with this widget's."""
    held = next((each["state"] for each in widget.presets if each["name"] == made["preset"]), {})
    return {**widget.state(), **held, "preset": made["preset"] or widget.preset, **made["changes"]}


# ------------------------------------------------------------------------------------------------------------- coding


def same(one, other):
    """As equal as six digits are."""
    if isinstance(one, (int, float)) and not isinstance(one, bool):
        return one == pytest.approx(other, rel=1e-5, abs=1e-12)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
def test_each_state_comes_back_from_its_link(widget):
    """Presets as they are and as if a hand had made them, from the first and from each other; and the sample."""
    fresh = widget()
    presets = [{**each["state"], "preset": each["name"]} for each in fresh.presets]
    states = [
        *presets,
        *({**each, "preset": ""} for each in presets),
        {**widget(**widget.sample).state(), "preset": ""},
    ]
    given = [{**fresh.state(), **state} for state in states]
    for started in ("", *(each["name"] for each in fresh.presets[-1:])):
        for state, (pieces, made) in zip(given, coded(fresh, *states, started=started), strict=True):
            if pieces is None:
                assert any(spec["kind"] in ("record", "picture") for spec in widget.schema().values())
                continue
            assert made["left"] == []
            found = applied(fresh, made)
            assert [name for name in state if name != "preset" and not same(state[name], found[name])] == []
            assert len("&".join(pieces)) <= 2000


def test_a_link_is_short_and_can_be_read():
    window, tuner = attnlib.widgets.LocalWindow(), attnlib.widgets.QueryTuner()
    assert coded(window, {}, {"centre": 4.4, "preset": ""})[0][0] == []
    assert coded(window, {"centre": 4.4, "form": "local-m", "preset": ""})[0][0] == ["centre=4.4", "form=local-m"]
    chosen = tuner.presets[1]
    found = coded(
        tuner, {**chosen["state"], "preset": chosen["name"]}, {**chosen["state"], "mask": [True, False, True]}
    )
    assert found[0][0] == ["preset=A+long+key+wins"]
    changed = {**chosen["state"], "temperature": 2.5, "preset": ""}
    assert coded(tuner, changed, started=chosen["name"])[0][0] == ["from=A+long+key+wins", "temperature=2.5"]


def test_signs_that_part_lists_stay_in_texts():
    labels = ["a_b,c", "~!()", "", "+ % & = # é 👍", "()"]
    state = {"labels": labels, "key": [[1, 2]] * 5, "value": [[0.5, -1e-7]] * 5, "mask": [True] * 5, "preset": ""}
    ((pieces, made),) = coded(attnlib.widgets.QueryTuner(), state)
    assert made["changes"]["labels"] == labels
    assert made["changes"]["value"] == state["value"]
    assert "value=" + "_".join(["0.5,-1e-7"] * 5) in pieces
    assert all(sign not in "".join(pieces) for sign in " #&<>\"'")


def test_an_empty_list_is_told_from_an_empty_text():
    schema = {"words": {"kind": "text", "shape": [["", 0, None]], "words": "a list of texts"}}
    asked = [(schema, {"words": ["a"]}, {"words": words}, "") for words in ([], [""], ["", ""])]
    assert [made["changes"]["words"] for _, made in run(CODE, asked)] == [[], [""], ["", ""]]


BAD = {
    "nonsense=3": "“nonsense” is nothing of this widget",
    "__proto__=1": "“__proto__” is nothing of this widget",
    "constructor=1": "“constructor” is nothing of this widget",
    "presets=1": "“presets” is nothing of this widget",
    "=3": "“” is nothing of this widget",
    "centre": "centre must be a finite number from -99 to 99",
    "centre=left": "centre must be a finite number from -99 to 99",
    "centre=1e9": "centre must be a finite number from -99 to 99",
    "centre=Infinity": "centre must be a finite number from -99 to 99",
    "centre=1,2": "centre must be a finite number from -99 to 99",
    "half_width=1.5": "half_width must be a whole number from 1 to 99",
    "renormalise=true": "renormalise must be True or False",
    "form=other": "form must be one of global, local-m, local-p",
    "form=%E0%A4%A": "form is not readable",
    "logits=1,2": "logits must be finite numbers of shape (n), n from 3 to 24",
    "logits=()": "logits must be finite numbers of shape (n), n from 3 to 24",
    "preset=Nobody": "there is no preset “Nobody”",
    "from=Nobody": "there is no preset “Nobody”",
}


def test_what_is_bad_in_a_link_is_left_out_and_told():
    found = told(attnlib.widgets.LocalWindow(), *(f"{bad}&centre=2.5" for bad in BAD))
    for (bad, said), made in zip(BAD.items(), found, strict=True):
        assert made["left"] == [said], bad
        assert made["changes"] == {"centre": 2.5, "preset": ""}, bad


def test_words_of_a_preset_come_with_its_own_state_only():
    window = attnlib.widgets.LocalWindow()
    name, state = window.presets[-1]["name"], window.presets[-1]["state"]
    text = f"preset={name.replace(' ', '+')}"
    (alone, changed) = told(window, text, f"{text}&centre=1.25")
    assert (alone["preset"], alone["changes"]) == (name, {})
    assert changed["changes"]["preset"] == ("" if "centre" in state else name)


def test_a_state_that_is_too_long_has_no_link():
    logits = [index + 0.123456 for index in range(24)]
    window = attnlib.widgets.LocalWindow()
    assert coded(window, {"logits": logits, "preset": ""})[0][0] is not None
    warp = attnlib.widgets.GridWarp()
    kept = {"height": 32, "width": 32, "rgb": "AAAA" * 1024}
    assert coded(warp, {"kept": [kept], "preset": ""})[0] == [None, None]


# ---------------------------------------------------------------------------------------------------------- in a page


class Shelf:
    """A page in a folder that holds widgets as they are stored, two of each, and what a page's head has for them."""

    def __init__(self, folder, *widgets, head=""):
        parts = static_view.stored([widget()._repr_html_() for widget in widgets] * 2)
        for widget in widgets:
            for kind, text in (("css", widget._css), ("js", widget._script)):
                (folder / f"{widget._stem}.{kind}").write_text(text, "utf-8")
            head += f'<link rel="stylesheet" href="{widget._stem}.css"><script src="{widget._stem}.js" defer></script>'
        self.path = folder / "a page.html"
        spaced = "".join(f'<p style="height:1500px">Text</p>{part}' for part in parts)
        self.path.write_text(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Widgets</title>{head}</head>'
            f'<body><main><h1>Widgets</h1>{spaced}<p style="height:1500px">Text</p></main></body></html>',
            "utf-8",
        )


FAMILIES = ("LocalWindow", "QueryTuner", "TuringTape", "Maps", "TaxonomyMap")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return Shelf(tmp_path_factory.mktemp("links"), *(getattr(attnlib.widgets, name) for name in FAMILIES))


@pytest.fixture
def opened(shelf, new_context):
    """Opens the page with a fragment, in a tab of its own."""
    context = new_context(permissions=["clipboard-read", "clipboard-write"], reduced_motion="reduce")

    def open_page(fragment=""):
        page = context.new_page()
        open_page.record = watch(page)
        page.goto(shelf.path.as_uri() + fragment)
        frame(page)
        return page

    return open_page


def views(page, stem):
    return page.locator(f'[data-attnlib="{stem}"] .attnlib-view')


def drawn(view):
    """What a widget shows, without names that are made up for each and the line on links."""
    body = re.sub(r'<p class="attnlib-told"[^>]*>[^<]*</p>', "", view.locator(".attnlib-body").inner_html())
    return re.sub(r"attnlib-[a-z0-9]+-\d+", "", body)


COPY = "Copy a link to this state"


def copied(page, view):
    view.get_by_role("button", name=COPY).click()
    expect(view.locator(".attnlib-told")).to_have_text("The link is copied.")
    address = page.evaluate("navigator.clipboard.readText()")
    assert page.url == address
    return address.partition("#")[2]


@pytest.mark.browser
@pytest.mark.parametrize("name", FAMILIES)
def test_a_copied_link_opens_on_the_same_state_from_a_folder(opened, name):
    stem = getattr(attnlib.widgets, name)._stem
    page = opened()
    view = views(page, stem).nth(1)
    move_something(page, view)
    fragment = copied(page, view)
    assert fragment.startswith(f"w={stem}.2")
    assert len(fragment) < 300
    view.get_by_role("button", name="Reset").hover()  # the line under the presets is no part of the state
    wanted, other = drawn(view), drawn(views(page, stem).nth(0))
    again = opened(f"#{fragment}")
    there = views(again, stem).nth(1)
    told = again.locator(".attnlib-told").all()
    assert [each.inner_text() for each in told if each.is_visible()] == []
    assert drawn(there) == wanted
    assert drawn(views(again, stem).nth(0)) == other != wanted
    assert there.evaluate("(node) => node === document.activeElement")
    expect(there).to_be_in_viewport()
    assert opened.record.errors == []
    there.get_by_role("button", name="Reset").click()
    frame(again)
    assert drawn(there) == other


@pytest.mark.browser
def test_a_preset_and_what_was_changed_since_come_back_and_reset_leads_to_the_preset(opened):
    page = opened()
    view = views(page, "query_tuner").first
    view.get_by_label("Start from").select_option("A long key wins")
    frame(page)
    preset = drawn(view)
    assert copied(page, view) == "w=query_tuner.1&preset=A+long+key+wins"
    move_something(page, view)
    fragment = copied(page, view)
    assert fragment.startswith("w=query_tuner.1&from=A+long+key+wins&query=")
    again = opened(f"#{fragment}")
    there = views(again, "query_tuner").first
    assert there.get_by_label("Start from").input_value() == ""
    there.get_by_role("button", name="Reset").click()
    frame(again)
    assert there.get_by_label("Start from").input_value() == "A long key wins"
    assert drawn(there) == preset


@pytest.mark.browser
@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("w=local_window.1&colour=red&centre=left&half_width=0", "“colour” is nothing of this widget; centre must be"),
        ("w=local_window.1&centre=1e999", "centre must be a finite number from -99 to 99"),
        ("w=local_window.1&form=%E0%A4%A", "form is not readable"),
        ("w=query_tuner.1&labels=a", "has n="),  # alone it fits, with the others it does not
        ("w=query_tuner.1&selected=7", "selected must be below 1"),
        ("w=turing_tape.1&machine=99", ""),
        ("w=maps.1&index=99", ""),
        ("w=maps.1&sentences=" + "[" * 1000, "sentences is not readable"),
        ("w=local_window.1&" + "&".join(f"x{i}=1" for i in range(500)), "“x0” is nothing of this widget"),
        ("w=local_window.1&logits=" + ",".join("1" for _ in range(20_000)), "logits must be finite numbers"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_bad_is_left_out_and_told_below_the_presets(opened, fragment, said):
    page = opened()
    stem = fragment.partition("=")[2].partition(".")[0]
    view = views(page, stem).first
    before = drawn(view)
    page = opened(f"#{fragment}")
    view = views(page, stem).first
    line = view.locator(".attnlib-told")
    expect(line).to_contain_text("Left out of the link: ")
    assert said in line.inner_text()
    assert len(line.inner_text()) < 500
    assert page.locator("[role=alert]:visible").count() == 0
    assert drawn(view) == before
    assert opened.record.errors == []
    expect(view.get_by_role("status")).to_contain_text("Left out of the link")
    move_something(page, view)
    expect(line).to_be_hidden()


@pytest.mark.browser
@pytest.mark.parametrize(
    "fragment", ["w=", "w=nothing.1&a=1", "w=local_window.9&centre=1", "w=local_window.x", "%", "w&w"]
)
def test_a_link_to_nothing_does_nothing(opened, fragment):
    page = opened(f"#{fragment}")
    assert page.evaluate("scrollY") == 0
    assert page.locator(".attnlib-told:visible, [role=alert]:visible").count() == 0
    assert opened.record.errors == []


@pytest.mark.browser
def test_another_link_on_the_open_page_is_followed_from_the_start(opened):
    page = opened("#w=local_window.1&centre=2&half_width=3")
    view = views(page, "local_window").first
    page.evaluate("location.hash = 'w=local_window.1&centre=5.5'")
    frame(page)
    fragment = copied(page, view)
    assert fragment == "w=local_window.1&centre=5.5"  # nothing is left of the first
    page.evaluate("location.hash = 'w=query_tuner.2'")
    frame(page)
    expect(views(page, "query_tuner").nth(1)).to_be_in_viewport()


@pytest.mark.browser
def test_where_nothing_can_be_copied_the_link_stands_in_the_address_line(shelf, new_context):
    page = new_context().new_page()
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.goto(shelf.path.as_uri())
    view = views(page, "local_window").first
    move_something(page, view)
    view.get_by_role("button", name=COPY).press("Enter")
    expect(view.locator(".attnlib-told")).to_have_text("The link stands in the address line.")
    assert "#w=local_window.1&centre=" in page.url


@pytest.mark.browser
def test_a_picture_of_ones_own_has_no_link(tmp_path, new_context):
    shelf = Shelf(tmp_path, attnlib.widgets.GridWarp)
    page = new_context().new_page()
    page.goto(shelf.path.as_uri())
    view = views(page, "grid_warp").first
    view.locator("input[type=file]").set_input_files(toc.ROOT / "book/_static/query-tuner.png")
    expect(view.get_by_role("button", name="Reset")).not_to_have_attribute("aria-disabled", "true")
    view.get_by_role("button", name=COPY).click()
    expect(view.locator(".attnlib-told")).to_have_text("This state is too large for a link.")
    assert "#" not in page.url


@pytest.mark.browser
def test_there_is_no_control_in_a_notebook_nor_in_what_is_stored(show):
    window = attnlib.widgets.LocalWindow()
    assert COPY not in static_view.stored([window._repr_html_()])[0]
    page = show(window)
    assert page.get_by_role("button", name=COPY).count() == 1
    page.set_content(f'<body data-jp-theme-light="true">{window._repr_html_()}</body>')
    frame(page)
    assert page.get_by_role("button", name="Reset").count() == 1
    assert page.get_by_role("button", name=COPY).count() == 0


def test_links_cost_little():
    """Of each page's script; what all widgets share is written out in each of them."""
    assert (HERE / "js" / "link.js").stat().st_size < 5_000
    script = attnlib.widgets.LocalWindow._script
    shared = sum((HERE / "js" / name).stat().st_size for name in ("frame.js", "host.js", "check.js", "link.js"))
    assert shared < 0.5 * len(script)
