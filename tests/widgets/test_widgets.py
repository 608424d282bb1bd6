"""The Python side of the widgets: bundle, state, outputs, errors. test_widgets_browser.py tests what a page shows."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import pytest
import torch
from drawn import draw
from nbformat.v4 import new_code_cell, new_notebook, new_output

import attnlib.widgets
from attnlib.widgets import LocalWindow, QueryTuner, base
from attnlib.widgets.base import Widget
from attnlib.widgets.bundle import HERE
from attnlib.widgets.traits import Array, Choice, Flag, Number, Picture, Record, StateError, Text, Texts, Whole
from book._tools import node, static_view

WIDGETS = [getattr(attnlib.widgets, name) for name in attnlib.widgets.__all__]
every_widget = pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
every_preset = pytest.mark.parametrize(
    ("widget", "preset"), [(widget, preset["name"]) for widget in WIDGETS for preset in widget().presets]
)


@cache
def bundle(widget):
    """What a widget as it comes shows, made once a class."""
    return widget()._repr_mimebundle_()


def html(widget):
    return bundle(widget)[0]["text/html"]


def state_in(text):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])


# ------------------------------------------------------------------------------------------------------------ finding


def test_each_is_found_by_its_name_and_none_before():
    assert {"LocalWindow", "QueryTuner", "TaxonomyMap"} <= set(attnlib.widgets.__all__) <= set(dir(attnlib.widgets))
    with pytest.raises(AttributeError, match="no attribute 'LokalWindow'"):
        attnlib.widgets.LokalWindow  # noqa: B018
    code = "import sys, attnlib.widgets; print([name for name in sys.modules if 'query_tuner' in name])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_each_stands_in_the_table_of_families():
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8").partition("**A widget.**")[2]
    rows = [line for line in guide.partition("\n\n**")[0].splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"\w+", row)}
    assert len(rows) > 3
    assert [name for name in attnlib.widgets.__all__ if name not in named] == []


# ------------------------------------------------------------------------------------------------------------- bundle


@every_widget
def test_bundle_is_the_same_for_the_same_state(widget):
    data, metadata = bundle(widget)
    assert set(data) == {"text/plain", "text/html"}
    assert (data, metadata) == widget()._repr_mimebundle_()
    assert widget(**state_in(html(widget)))._repr_html_() == html(widget)
    assert metadata["attnlib"]["alt"] == widget().summary()
    assert data["text/plain"] == f"{widget.__name__}: {widget().summary()}"
    assert "\n" not in data["text/plain"]


def test_bundle_is_the_same_in_another_process():
    code = (
        "from attnlib.widgets import QueryTuner; print(__import__('zlib').crc32(QueryTuner()._repr_html_().encode()))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@every_widget
def test_html_has_no_address_no_id_and_nothing_to_fetch(widget):
    assert not re.search(r"0x[0-9a-f]{6,}|model_id", html(widget))
    assert set(re.findall(r"https?://[\w./-]+", html(widget))) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r'\bsrc="', html(widget))
    assert html(widget).count("</script") == 2


def test_live_view_comes_with_a_kernel_only(monkeypatch):
    live = "application/vnd.jupyter.widget-view+json"
    assert live not in bundle(QueryTuner)[0]
    widget = QueryTuner()
    monkeypatch.setattr(base.comm, "DummyComm", type("Another", (), {}))
    assert widget._repr_mimebundle_()[0][live]["model_id"] == widget.model_id


def test_a_closing_tag_in_a_label_stays_text():
    label = "</script><script>alert(1)</script>]]>&amp;"
    widget = QueryTuner(key=[[1, 0]], value=[[0, 1]], labels=[label])
    for text in (widget._repr_html_(), *static_view.stored([widget._repr_html_()])):
        assert "<script>alert" not in text
        assert state_in(text)["labels"] == [label]
    assert label in "".join(draw(widget)[0].itertext())


@every_widget
def test_module_is_in_one_piece(widget):
    assert not re.search(r"^\s*(import|export) (?!default)", widget._esm, re.MULTILINE)
    assert len(re.findall(r"^export default", widget._esm, re.MULTILINE)) == 1
    assert not re.search(r"^export", widget._script, re.MULTILINE)
    assert not re.search(r"</script|</style|<!--", widget._script + widget._css)


# -------------------------------------------------------------------------------------------------------- static view


def test_what_is_stored_has_state_and_drawing_and_no_script():
    widgets = [widget() for widget in WIDGETS]
    live, with_ids = [html(widget) for widget in WIDGETS], 0
    for widget, made in zip(widgets, static_view.stored(live), strict=True):
        view = ElementTree.fromstring(made)
        assert (view.get("class"), view.get("data-attnlib")) == ("attnlib-static", widget._stem)
        assert state_in(made) == widget.state()
        assert [node.get("type") for node in view.iter("script")] == ["application/json"]
        assert not list(view.iter("style"))
        assert len(re.findall(r"\d", "".join(view.find("div").itertext()))) > 5
        ids = [node.get("id") for node in view.iter() if node.get("id")]
        with_ids += bool(ids)
        assert len(set(ids)) == len(ids)
        assert {node.get("for") for node in view.iter("label") if node.get("for")} <= set(ids)
    assert with_ids > len(WIDGETS) / 2  # one whose labels stand around what they name needs none


def test_ids_are_unique_among_equal_widgets_and_compared_as_one():
    one, two = static_view.stored([html(QueryTuner)] * 2)
    first, second = (set(re.findall(r'\bid="([^"]*)"', text)) for text in (one, two))
    assert len(first | second) == len(first) + len(second) > 2
    assert one == static_view.comparable(one) == static_view.comparable(two)
    assert static_view.stored([one, "<p>nothing</p>"]) == [one, "<p>nothing</p>"]


def test_another_script_is_no_difference_and_another_state_or_drawing_is():
    live = html(LocalWindow)
    told = static_view.comparable(live)
    assert static_view.comparable(live.replace('"use strict";', '"use strict"; // a remark')) == told
    assert static_view.comparable(live.replace('"Sum"', '"Total"')) != told
    assert static_view.comparable(LocalWindow(centre=4.4)._repr_html_()) != told


def test_a_widget_that_cannot_draw_is_told():
    with pytest.raises(RuntimeError, match="local_window: Local window: centre must be a finite number"):
        static_view.stored([html(LocalWindow).replace('"centre":4.9', '"centre":"left"')])


def test_a_picture_is_kept_where_the_widget_draws_the_same(monkeypatch):
    taken = []
    monkeypatch.setattr(static_view, "_shoot", taken.extend)

    def notebook(text, **more):
        output = new_output(
            "display_data", data={"text/html": text, **more}, metadata={name: {"width": 9} for name in more}
        )
        return new_notebook(cells=[new_code_cell("widget", outputs=[output])])

    drawn, other = static_view.stored([html(LocalWindow), LocalWindow(centre=4.4)._repr_html_()])
    old = notebook(drawn, **{"image/png": "old"})
    kept = static_view.photograph(notebook(drawn), old).cells[0].outputs[0]
    assert (kept.data["image/png"], kept.metadata["image/png"]) == ("old", {"width": 9})
    assert taken == []
    for before in (old, None):
        fresh = static_view.photograph(notebook(other), before)
        assert taken.pop() is fresh.cells[0].outputs[0]


# ------------------------------------------------------------------------------------------------------------- traits


class Every(Widget):
    number = Number(1.0, above=0)
    between = Number(0.0, least=-2, most=2)
    whole = Whole(1, least=1, most=9)
    index = Whole(0, below="rows")
    flag = Flag(True)
    choice = Choice(("one", "two"), "one")
    text = Text("")
    picture = Picture({"height": 2, "width": 1, "rgb": "AAAAAAAA"}, least=1, most=9)
    rows = Array(("n", 2), [[1.0, 2.0]])
    labels = Texts(["a"], shape=("n",))
    ticks = Flag([True, False, True], shape=(("k", 2, 3),))
    pairs = Record(
        {"name": Text(""), "left": Array(("_m",), []), "right": Array(("_m", "k"), [])},
        [{"name": "a", "left": [1.0], "right": [[1.0, 2.0, 3.0]]}],
        shape=(("", 0, None),),
    )


GOOD = [
    {"number": 2, "between": -2, "whole": 9, "flag": False, "choice": "two", "text": "x"},
    {"rows": [[0, 1], [2, 3]], "labels": ["a", "b"], "index": 1},
    {"ticks": [True, False], "pairs": []},
    {"picture": {"height": 1, "width": 3, "rgb": "az09+/AZ0000"}},
    {"pairs": [{"name": "a", "left": [1, 2], "right": [[1, 2, 3], [4, 5, 6]]},
               {"name": "b", "left": [1], "right": [[1, 2, 3]]}]},
]  # fmt: skip
BAD = [
    ({"number": 0}, "number must be a finite number above 0; got 0"),
    ({"number": True}, "number must be a finite number above 0"),
    ({"number": None}, "number must be a finite number above 0"),
    ({"between": 2.5}, "between must be a finite number from -2 to 2; got 2.5"),
    ({"whole": 1.5}, "whole must be a whole number from 1 to 9; got 1.5"),
    ({"whole": 10}, "whole must be a whole number from 1 to 9; got 10"),
    ({"index": 1}, "index must be below 1, the length of rows; got 1"),
    ({"index": -1}, "index must be a whole number from 0 up; got -1"),
    ({"flag": 1}, "flag must be True or False; got 1"),
    ({"choice": "three"}, "choice must be one of one, two; got"),
    ({"text": 7}, "text must be a text; got 7"),
    ({"rows": [[1.0, 2.0], [3.0]]}, "rows must be finite numbers of shape (n, 2)"),
    ({"rows": []}, "rows must be finite numbers of shape (n, 2)"),
    ({"rows": "ab"}, "rows must be finite numbers of shape (n, 2)"),
    ({"rows": [[1.0, 2.0], [3.0, 4.0]]}, "=1"),  # rows and labels disagree, whichever is named
    ({"labels": "a"}, "labels must be a list of texts; got"),
    ({"ticks": [True]}, "ticks must be a list of True and False, k from 2 to 3; got"),
    ({"ticks": [1, 2]}, "ticks must be a list of True and False, k from 2 to 3; got"),
    ({"ticks": [True, False]}, "has k="),
    ({"picture": {"height": 1, "width": 2, "rgb": "AAAA"}}, "picture must be a picture {height"),
    ({"picture": {"height": 1, "width": 1, "rgb": "AAA="}}, "picture must be a picture"),
    ({"picture": {"height": 10, "width": 1, "rgb": "AAAA" * 10}}, "picture must be a picture"),
    ({"picture": {"height": True, "width": 1, "rgb": "AAAA"}}, "picture must be a picture"),
    ({"picture": {"height": 1, "width": 1}}, "picture must be a picture"),
    ({"picture": None}, "picture must be a picture"),
    ({"pairs": [{"name": "a"}]}, "pairs must be a list of {name, left, right}"),
    ({"pairs": [{"name": "a", "left": [1], "right": [[1, 2, 3], [1, 2, 3]]}]}, "pairs must be a list of"),
]  # fmt: skip


@pytest.mark.parametrize("state", GOOD, ids=list)
def test_what_fits_is_taken(state):
    assert Every(**state).state() == Every().state() | state


@pytest.mark.parametrize(("state", "message"), BAD, ids=[next(iter(state)) for state, _ in BAD])
def test_bad_state_is_refused_and_changes_nothing(state, message):
    with pytest.raises(StateError, match=re.escape(message)):
        Every(**state)
    widget = Every()
    before = widget.state()
    with pytest.raises(StateError, match=re.escape(message)):
        widget.update(**state)
    for name, value in state.items():
        with pytest.raises(StateError, match=re.escape(message)):
            setattr(widget, name, value)
    assert widget.state() == before


CHECK = """const { checker } = await import(data.at);
const told = (check, state) => { try { check(state); return ""; } catch (error) { return error.message; } };
return data.all.map(([schema, states]) => {
  const check = checker(schema);
  return states.map((state) => told(check, state));
});
"""


def told_in_page(*cases):
    """What the page says of the states of a schema, one after the other; nothing where it takes them."""
    return node.run(CHECK, {"at": (HERE / "js/check.js").as_uri(), "all": cases})


def test_the_page_refuses_the_same_in_the_same_words():
    states = [Every().state() | state for state in (*GOOD, *(state for state, _ in BAD))]
    told = [line for (line,) in told_in_page(*((Every.schema(), [state]) for state in states))]
    assert told[: len(GOOD)] == [""] * len(GOOD)
    for (_, message), line in zip(BAD, told[len(GOOD) :], strict=True):
        assert message.split("; got")[0] in line


def test_the_page_looks_again_at_what_has_changed():
    changes = ({}, {"number": -1}, {"labels": ["a", "b"]}, {})
    (told,) = told_in_page((Every.schema(), [Every().state() | change for change in changes]))
    assert [bool(line) for line in told] == [False, True, True, False]


def test_the_page_checks_each_trait_of_each_widget():
    cases = []
    for widget in WIDGETS:
        good = widget().state()
        bad = [{**good, name: 7 if isinstance(value, str) else "nonsense"} for name, value in good.items()]
        bad += [{other: value for other, value in good.items() if other != name} for name in good]
        cases.append((widget.schema(), [good, *bad]))
    for widget, (first, *told) in zip(WIDGETS, told_in_page(*cases), strict=True):
        assert first == ""
        assert [line.split(" must be ")[0] for line in told] == 2 * list(widget().state())


class Careless(Every):
    """Forgets its parent's check, which is made all the same."""

    def _check(self, state):
        if state["text"] == "no":
            raise StateError("text must not be no")


def test_a_check_does_not_replace_another():
    with pytest.raises(StateError, match="text must not"):
        Careless(text="no")
    for widget in WIDGETS:
        made = widget()
        with pytest.raises(StateError, match="preset must be one of"):
            made.preset = "nothing of the kind"
        assert made.state() == widget().state()


# ------------------------------------------------------------------------------------------------------------- state


@every_widget
def test_sample_is_a_state_that_no_preset_holds(widget):
    assert widget.sample
    assert all(widget(preset=preset["name"], **widget.sample).state() != widget(preset=preset["name"]).state()
               for preset in widget().presets[:1])  # fmt: skip


@pytest.fixture
def uncounted(monkeypatch, widget):
    """Outputs stay as they are: what is asked for is the inputs, and a picture's map takes its time."""
    monkeypatch.setattr(widget, "_compute", lambda self: None)


@every_preset
@pytest.mark.usefixtures("uncounted")
def test_preset_is_complete_enough_to_come_back_to(widget, preset):
    before = widget(preset=preset).state()
    tuner = widget()
    for other in tuner.presets:
        tuner.preset = other["name"]
        tuner.preset = preset
    assert tuner.state() == before


@every_preset
@pytest.mark.usefixtures("uncounted")
def test_what_is_given_beside_a_preset_stands(widget, preset):
    ((name, value),) = widget.sample.items()
    made = widget(preset=preset, **{name: value}).state()
    assert made == widget(preset=preset).state() | {name: widget(**{name: value}).state()[name]}


@every_preset
@pytest.mark.usefixtures("uncounted")
def test_preset_says_in_one_sentence_what_to_notice(widget, preset):
    notice = next(item["notice"] for item in widget().presets if item["name"] == preset)
    assert re.fullmatch(r"[^.]*(\d\.\d[^.]*)*\.", notice)


@every_widget
def test_unknown_names_are_refused(widget):
    with pytest.raises(ValueError, match="temprature is no trait"):
        widget(temprature=1.0)
    with pytest.raises(ValueError, match="temprature is no trait"):
        widget().update(temprature=1.0)
    with pytest.raises(ValueError, match="preset must be one of"):
        widget(preset="nothing of the kind")


def test_several_traits_change_as_one():
    widget = QueryTuner()
    four = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    with pytest.raises(ValueError, match="as one with update"):
        widget.key = four
    widget.update(key=four, value=four, labels=list("NESW"), mask=[True] * 4)
    assert len(widget.weights[0]) == 4


@pytest.mark.parametrize("holder", [list, tuple, np.array, torch.tensor])
def test_points_may_come_in_any_holder(holder):
    widget = QueryTuner(query=holder([1.0, 2.0]), key=holder([[1.0, 0.0], [0.0, 1.0]]))
    assert widget.query == [[1.0, 2.0]]
    assert widget.key == [[1.0, 0.0], [0.0, 1.0]]
    assert widget.keys_only
    assert widget.labels == ["k1", "k2"]


# ----------------------------------------------------------------------------------------------------------- outputs


def test_outputs_are_not_to_be_set():
    with pytest.raises(ValueError, match="weights is no trait"):
        QueryTuner(weights=[[1.0]])
    widget = QueryTuner()
    with pytest.raises(Exception, match="read-only"):
        widget.weights = [[1.0]]


# ----------------------------------------------------------------------------------------- beside ordinary ipywidgets


def test_observers_see_fresh_outputs():
    widget = QueryTuner()
    seen = []
    widget.observe(lambda change: seen.append(widget.context), "query")
    widget.observe(lambda change: seen.append(change["new"]), "context")
    widget.query = [-0.7, -1.8]
    assert seen[-1] == seen[0] == widget.context


def test_link_and_box_and_interact():
    widget, other, slider = QueryTuner(), QueryTuner(), ipywidgets.FloatSlider(min=0.1, max=5, value=1)
    box = ipywidgets.VBox([slider, widget, other])
    assert widget in box.children
    ipywidgets.link((slider, "value"), (widget, "temperature"))
    ipywidgets.link((widget, "query"), (other, "query"))
    slider.value = 2.5
    assert widget.temperature == 2.5
    widget.query = [[0.5, 0.5]]
    assert other.query == [[0.5, 0.5]]
    total = ipywidgets.FloatText()
    ipywidgets.dlink((widget, "weights"), (total, "value"), lambda rows: sum(rows[0]))
    assert total.value == pytest.approx(1)
    widget.distribution = "sigmoid"
    assert total.value == pytest.approx(sum(widget.weights[0]))
    ipywidgets.interactive(lambda x: widget.update(query=[x, 0.0]), x=(-1.0, 1.0)).children[0].value = 0.75
    # interactive runs the function through an output widget: here without a kernel the call itself is what counts
    assert widget.query == [[0.75, 0.0]]


def test_a_message_from_the_page_sets_state_and_outputs():
    widget = QueryTuner()
    widget.set_state({"query": [[2.0, 0.6]], "selected": 0, "preset": "Two queries, one memory"})
    assert len(widget.query) == 2
