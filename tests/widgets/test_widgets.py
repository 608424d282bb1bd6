"""The Python side of the widgets: bundle, state, outputs, errors. test_widgets_browser.py tests what a page shows."""

import base64
import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import ipywidgets
import numpy as np
import pytest
import torch

import attnlib.widgets
from attnlib import attend
from attnlib.distributions import entmax, sigmoid, softmax, sparsemax
from attnlib.scores import additive, dot, general, scaled_dot, similarity
from attnlib.widgets import QueryTuner, base, query_tuner

WIDGETS = [getattr(attnlib.widgets, name) for name in attnlib.widgets.__all__]
every_widget = pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
every_preset = pytest.mark.parametrize(
    ("widget", "preset"), [(widget, preset["name"]) for widget in WIDGETS for preset in widget().presets]
)


def bundle(widget):
    data, _ = widget._repr_mimebundle_()
    return data


def stored_state(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])


# ------------------------------------------------------------------------------------------------------------ bundle


@every_widget
def test_bundle_is_the_same_for_the_same_state(widget):
    first, second = bundle(widget()), bundle(widget())
    assert first == second
    assert set(first) == {"text/plain", "text/html", "image/png"}


def test_bundle_is_the_same_in_another_process():
    code = "from attnlib.widgets import QueryTuner; print(hash(QueryTuner()._repr_html_()))"
    code = code.replace("hash(", "__import__('zlib').crc32(").replace("_repr_html_()", "_repr_html_().encode()")
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@every_widget
def test_html_has_no_address_no_id_and_nothing_to_fetch(widget):
    html = bundle(widget())["text/html"]
    assert not re.search(r"0x[0-9a-f]{6,}|model_id", html)
    assert not re.search(r"<[^>]* id=", html.split("<script>")[0])
    addresses = set(re.findall(r"https?://[\w./-]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert all(source.startswith("data:") for source in re.findall(r'\bsrc="([^"]*)"', html))
    assert html.count("</script") == 2


@every_widget
def test_html_is_well_formed_xml_for_an_epub(widget):
    root = ElementTree.fromstring(bundle(widget())["text/html"])
    picture = root.find("img")
    assert picture.get("alt") == widget().summary()
    assert len(picture.get("alt")) > 30


@every_widget
def test_html_holds_the_state_it_was_made_from(widget):
    html = bundle(widget())["text/html"]
    assert bundle(widget(**stored_state(html)))["text/html"] == html


@every_widget
def test_png_is_a_picture_of_twice_the_size(widget):
    data, metadata = widget()._repr_mimebundle_()
    png = base64.b64decode(data["image/png"])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width = int.from_bytes(png[16:20], "big")
    assert width == 2 * metadata["image/png"]["width"]
    assert metadata["attnlib"]["alt"] == widget().summary()


@every_widget
def test_plain_text_is_one_line(widget):
    text = bundle(widget())["text/plain"]
    assert text == f"{widget.__name__}: {widget().summary()}"
    assert "\n" not in text


def test_live_view_comes_with_a_kernel_only(monkeypatch):
    widget = QueryTuner()
    live = "application/vnd.jupyter.widget-view+json"
    assert live not in bundle(widget)
    monkeypatch.setattr(base.comm, "DummyComm", type("Another", (), {}))
    assert bundle(widget)[live]["model_id"] == widget.model_id


def test_a_closing_tag_in_a_label_stays_text():
    label = "</script><script>alert(1)</script>]]>&amp;"
    widget = QueryTuner(key=[[1, 0]], value=[[0, 1]], labels=[label])
    html = bundle(widget)["text/html"]
    assert html.count("</script") == 2
    assert stored_state(html)["labels"] == [label]
    assert label in ElementTree.fromstring(html).find("img").get("alt")


@every_widget
def test_module_is_in_one_piece(widget):
    module = base.module(widget._stem)
    assert not re.search(r"^\s*(import|export) (?!default)", module, re.MULTILINE)
    assert len(re.findall(r"^export default", module, re.MULTILINE)) == 1
    assert not re.search(r"^export", base.script(widget._stem), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(base._JS.iterdir()), ids=lambda path: path.name)
def test_sources_can_stand_inside_a_script_and_a_style(path):
    text = path.read_text()
    assert not re.search(r"\]\]>|</script|</style|<!--", text)


# ------------------------------------------------------------------------------------------------------------- state


@every_preset
def test_preset_is_complete_enough_to_come_back_to(widget, preset):
    before = widget(preset=preset).state()
    tuner = widget()
    for other in tuner.presets:
        tuner.preset = other["name"]
        tuner.preset = preset
    assert tuner.state() == before


@every_preset
def test_what_is_given_beside_a_preset_stands(widget, preset):
    own = {"query": [0.25, 0.5], "logits": [0.25, 0.5, 0.75], "types": ["local", "self"], "word": 1, "words": ["le"]}
    name, value = next((name, value) for name, value in own.items() if name in widget().state())
    made = widget(preset=preset, **{name: value}).state()
    assert made == widget(preset=preset).state() | {name: widget(**{name: value}).state()[name]}


@every_preset
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


BAD = [
    ({"query": [1.0, 2.0, 3.0]}, r"query must be finite numbers of shape \(n, 2\)"),
    ({"query": []}, "query must be"),
    ({"query": [[0.0, math.nan]]}, "query must be"),
    ({"query": "ab"}, "query must be"),
    ({"key": [[1, 2], [3]]}, "key must be"),
    ({"key": None}, "key must be"),
    ({"value": [[1.0, 2.0]]}, "value has 1 rows but key has 3"),
    ({"labels": ["A", "B"]}, "labels has 2 rows but key has 3"),
    ({"labels": "ABC"}, "labels must be a list of texts"),
    ({"mask": [True, False]}, "mask has 2 rows but key has 3"),
    ({"mask": [1.0, 0.0, 1.0]}, "mask must be a list of True and False"),
    ({"score": "cosine"}, "score must be one of dot, scaled dot, similarity"),
    ({"distribution": "hardmax"}, "distribution must be one of softmax"),
    ({"alpha": 1.0}, "alpha must be above 1; got 1"),
    ({"temperature": 0}, "temperature must be above 0; got 0"),
    ({"temperature": True}, "temperature must be a finite number"),
    ({"scale": math.inf}, "scale must be a finite number"),
    ({"selected": 1}, "selected must be below 1"),
    ({"selected": -1}, "selected must be a whole number"),
    ({"keys_only": "yes"}, "keys_only must be True or False"),
    ({"weight": [[1.0, 2.0]]}, r"weight must be finite numbers of shape \(2, 2\)"),
    ({"presets": [{"name": "x"}]}, "presets must be"),
]


@pytest.mark.parametrize(("state", "message"), BAD, ids=[next(iter(state)) for state, _ in BAD])
def test_bad_state_is_refused_and_changes_nothing(state, message):
    with pytest.raises(ValueError, match=message):
        QueryTuner(**state)
    widget = QueryTuner()
    before = widget.state(), widget.weights
    with pytest.raises(ValueError, match=message):
        widget.update(**state)
    assert (widget.state(), widget.weights) == before
    (name, value) = next(iter(state.items()))
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert (widget.state(), widget.weights) == before


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

SCORES = {
    "dot": dot,
    "scaled dot": lambda q, k: scaled_dot(q, k, scale=0.3),
    "similarity": similarity,
    "general": lambda q, k: general(q, k, weight=torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)),
    "additive": lambda q, k: additive(
        q, k, vector=torch.ones(2).double(), query_weight=torch.eye(2).double(), key_weight=torch.eye(2).double()
    ),
    "gaussian": lambda q, k: -(torch.cdist(q, k) ** 2) / 2,
}
DISTRIBUTIONS = {
    "softmax": lambda e: softmax(e, temperature=0.7),
    "entmax": lambda e: entmax(e, alpha=1.3, temperature=0.7),
    "sparsemax": lambda e: sparsemax(e, temperature=0.7),
    "sigmoid": lambda e: sigmoid(e, temperature=0.7),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("keys_only", [False, True])
def test_outputs_are_those_of_attend(score, distribution, keys_only):
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (2, 5, 5))
    mask = [True, True, False, True, True]
    widget = QueryTuner(
        query=query, key=key, value=value, mask=mask, score=score, distribution=distribution, keys_only=keys_only
    )
    widget.update(scale=0.3, temperature=0.7, alpha=1.3)
    parts = {"score": SCORES[score], "distribution": DISTRIBUTIONS[distribution]}
    expected = attend(query, key, None if keys_only else value, mask=torch.tensor([mask]), **parts)
    for name in ("energies", "weights", "context"):
        actual = torch.tensor(getattr(widget, name), dtype=torch.float64)
        torch.testing.assert_close(actual, getattr(expected, name), atol=1e-12, rtol=1e-9)


def test_outputs_by_hand():
    widget = QueryTuner(query=[math.log(3), 0], key=[[1, 0], [0, 5]], value=[[4, 0], [0, 8]], score="dot")
    assert widget.weights[0] == pytest.approx([0.75, 0.25])
    assert widget.context[0] == pytest.approx([3, 2])


def test_outputs_are_not_to_be_set():
    with pytest.raises(ValueError, match="weights is no trait"):
        QueryTuner(weights=[[1.0]])
    widget = QueryTuner()
    with pytest.raises(Exception, match="read-only"):
        widget.weights = [[1.0]]


def test_all_masked_gives_zeros():
    widget = QueryTuner(mask=[False] * 3)
    assert widget.weights == [[0.0, 0.0, 0.0]]
    assert widget.context == [[0.0, 0.0]]
    assert "−∞" in widget.picture().svg()


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


# ---------------------------------------------------------------------------------------- what the presets say, is so


def with_preset(name, **state):
    widget = QueryTuner(preset=name)
    widget.update(**state)
    return widget


def test_preset_keys_find_values_answer():
    name = query_tuner.PRESETS[0]["name"]
    weights = with_preset(name).weights[0]
    nearer = with_preset(name, query=[2.0, 0.6])
    assert nearer.weights[0][0] > weights[0]
    assert math.dist(nearer.context[0], nearer.value[0]) < math.dist(nearer.context[0], nearer.key[0])


def test_preset_a_long_key_wins():
    by_length = with_preset("A long key wins").weights[0]
    by_angle = with_preset("A long key wins", score="similarity").weights[0]
    assert by_length[1] > 0.5
    assert max(by_angle) == by_angle[0]
    widget = with_preset("A long key wins")
    assert similarity(torch.tensor(widget.query), torch.tensor(widget.key))[0, 0] == pytest.approx(1)


def test_preset_sparsemax_drops_a_key():
    assert with_preset("Sparsemax drops a key").weights[0][2] == 0
    assert 0 < with_preset("Sparsemax drops a key", distribution="softmax").weights[0][2] < 0.1


def test_preset_a_scale_that_saturates():
    def moved(**state):
        here = with_preset("A scale that saturates", **state)
        there = with_preset("A scale that saturates", **state, query=[0.3, 1.4])
        return max(here.weights[0]), math.dist(here.context[0], there.context[0])

    top, step = moved()
    calm_top, calm_step = moved(scale=0.71)
    assert top > 0.99
    assert step < 0.1 * calm_step
    assert calm_top < 0.9


def test_preset_two_queries():
    weights = with_preset("Two queries, one memory").weights
    assert len(weights) == 2
    assert weights[0] != weights[1]


def test_preset_a_masked_key():
    widget = with_preset("A masked key")
    assert widget.energies[0][0] == -math.inf
    assert widget.weights[0][0] == 0
    assert sum(widget.weights[0]) == pytest.approx(1)


def test_preset_each_key_for_itself():
    assert sum(with_preset("Each key for itself").weights[0]) != pytest.approx(1, abs=0.1)
