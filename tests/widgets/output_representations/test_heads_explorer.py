"""HeadsExplorer: its outputs against attnlib, what its presets promise, what it draws, and its page in the hand.
test_widgets*.py has the rest, test_transformer_math.py the arithmetic."""

import json
import random
import re
from pathlib import Path

import pytest
import torch
from browser import frame, start_from, started_from
from drawn import arithmetic, draw, found, rows, text

from attnlib.data.pairs import split
from attnlib.data.pronunciations import EXAMPLES, LETTERS, PACKAGE, SOUNDS, load
from attnlib.output_representations.interventions import Head, switched_off
from attnlib.widgets import HeadsExplorer
from attnlib.widgets.output_representations.heads_explorer import LONGEST, MARK, STAGES, STORE, model
from attnlib.widgets.text import share

WORDS = ["knight", "a", "phone", "attentiveness"[:12], "xqzzzz", "through"]


def of(preset, **changes):
    widget = HeadsExplorer(preset=preset)
    widget.update(**changes)
    return widget


def source(word):
    return torch.tensor([[LETTERS.index(letter) for letter in word]])


# ------------------------------------------------------------------------------------------------------- the outputs


def test_outputs_are_those_of_the_network():
    for word in WORDS:
        widget = HeadsExplorer(word=word, part="across", layer=1, head=2, row=1)
        said = model().greedy(source(word), begin=MARK, end=MARK, longest=LONGEST)
        assert widget.sounds == widget.untouched == [SOUNDS[i] for i in said.words[0].tolist() if i != MARK]
        assert widget.probability == pytest.approx(said.log_probability.exp().item())
        told = torch.tensor([[MARK, *(SOUNDS.index(sound) for sound in widget.sounds)]])
        across = model()(source(word), told).layers[1].across
        assert widget.weights == pytest.approx(across.weights[0, 2, 1].tolist())
        assert widget.energies == pytest.approx(across.energies[0, 2, 1].tolist())
        assert len(widget.context) == 16
    own = HeadsExplorer(word="phone", part="decoder", layer=0, head=3, row=1)
    assert len(own.weights) == 2
    assert sum(own.weights) == pytest.approx(1)


def test_heads_that_are_off_and_rows_that_are_set():
    off = [f"across {layer} {head}" for layer in (0, 1) for head in range(4)]
    blind = HeadsExplorer(word="knight", off=off)
    others = HeadsExplorer(word="phlegm", off=off)
    assert blind.sounds == others.sounds != blind.untouched  # what sees no letters says the same of every word
    assert blind.weights == [0.0] * 6
    edit = switched_off([Head(part, int(layer), int(head)) for part, layer, head in map(str.split, off)])
    said = model().greedy(source("knight"), begin=MARK, end=MARK, longest=LONGEST, edit=edit)
    assert blind.sounds == [SOUNDS[i] for i in said.words[0].tolist() if i != MARK]
    row = {"part": "across", "layer": 1, "head": 0, "row": 0, "weights": [0.0, 0.0, 0.0, 0.0, 0.25, 0.75]}
    changed = HeadsExplorer(word="knight", edits=[row], part="across", layer=1, head=0, row=0)
    assert changed.weights == row["weights"]
    assert changed.energies == HeadsExplorer(word="knight", part="across", layer=1, head=0, row=0).energies


def test_bad_state_is_refused():
    row = {"part": "across", "layer": 1, "head": 0, "row": 0, "weights": [1.0]}
    for state, message in (
        ({"word": ""}, "word must be 1 to 12 letters from a to z; got ''"),
        ({"word": "a" * 13}, "1 to 12 letters"),
        ({"word": "naïve"}, "from a to z"),
        ({"word": "Dog"}, "from a to z"),
        ({"off": ["across 2 0"]}, "off must be heads as 'encoder 0 0' to 'across 1 3'; got 'across 2 0'"),
        ({"layer": 2}, "layer must be"),
        ({"word": "dog", "edits": [row]}, "edits must have 3 weights in this row; got 1"),
        ({"word": "dog", "edits": [{**row, "part": "decoder", "row": 1}]}, "edits must have 2 weights in this row"),
        ({"word": "a", "edits": [{**row, "weights": [1.5]}]}, "edits must be"),
    ):
        with pytest.raises(ValueError, match=message):
            HeadsExplorer(**state)


def test_the_code_that_is_told_is_the_librarys():
    for name, told in STAGES.items():
        assert told["code"], name
        assert told["where"].count("attnlib.") == 1
    assert list(STAGES) == ["query", "key", "energy", "weight", "context", "output", "logits"]
    assert set(EXAMPLES) == set(SOUNDS)


def test_what_is_stored_is_small():
    assert STORE.stat().st_size <= 330_000
    stored = json.loads(STORE.read_text(encoding="utf-8"))
    assert sum(rows * columns for _, rows, columns in stored["matrices"]) == len(stored["whole"]) * 3 // 4 - stored[
        "whole"
    ].count("=")


# ---------------------------------------------------------------------------------------- what the presets say, is so


@pytest.fixture(scope="module")
def run():
    """What was measured of the network that the page holds."""
    path = Path(__file__).parents[3] / "book/experiments/results/pronunciations/metrics.json"
    return json.loads(path.read_text(encoding="utf-8"))["runs"][0]


def hundredths(run, heads):
    kinds = "one off" if len(heads) == 1 else "three off"
    [found] = [each["cost"] for each in run[kinds] if sorted(each["heads"]) == sorted(heads)]
    return 100 * found


def test_preset_a_silent_letter():
    widget = of("A silent letter")
    assert widget.sounds == ["N", "IY", "D", "IH", "NG"]
    told = torch.tensor([[MARK, *(SOUNDS.index(sound) for sound in widget.sounds)]])
    layers = model()(source(widget.word), told).layers
    most = [layer.across.weights[0, head, 0].argmax().item() for layer in layers for head in range(4)]
    assert sorted(most) == [0] * 5 + [1] * 3


@pytest.mark.nightly
@pytest.mark.data
def test_preset_a_silent_letter_counts_what_was_not_trained_with(real):
    lengths = (spoken for spoken in load(real(PACKAGE)) if 3 <= len(spoken.word) <= 12)
    words = [spoken.word for spoken in split(lengths).test if spoken.word.startswith("kn")]
    assert "kneading" in words
    assert [len(words), sum(HeadsExplorer(word=word).sounds[0] == "N" for word in words)] == [20, 19]


def test_preset_the_dearest_head(run):
    costs = {each["heads"][0]: each["cost"] for each in run["one off"]}
    assert max(costs, key=costs.__getitem__) == "across 1 0"
    assert len(costs) == 24
    assert round(hundredths(run, ["across 1 0"])) == 13
    off, on = of("The dearest head"), of("The dearest head", off=[])
    assert on.sounds == ["D", "OW", "N", "AH", "T", "S"]
    assert off.sounds != on.sounds == off.untouched


def test_preset_a_head_not_missed(run):
    [one] = [each for each in run["one off"] if each["heads"] == ["decoder 0 3"]]
    assert one["interval"][0] < 0 < one["interval"][1]
    assert sum(each["interval"][0] < 0 for each in run["one off"]) == 1  # of all 24
    assert run["switched off on"] == 3_815
    assert of("A head not missed").sounds != of("A head not missed", off=[]).sounds


def test_preset_three_heads_together(run):
    three = of("Three heads together").off
    alone = [hundredths(run, [head]) for head in three]
    assert [round(cost) for cost in alone] == [9, 10, 7]
    assert (round(sum(alone)), round(hundredths(run, three))) == (26, 43)
    assert of("Three heads together").sounds != of("Three heads together", off=[]).sounds == ["B", "R", "AH", "N", "CH"]
    for head in three:
        assert of("Three heads together", off=[head]).sounds != of("Three heads together").sounds


def test_preset_no_letter_in_sight():
    said = of("No letter in sight").sounds
    for word in WORDS:
        assert of("No letter in sight", word=word).sounds == said


def test_preset_one_look_moved(run):
    assert run["moved"]["words"] == 717
    assert run["moved"]["changed"]["across 0 2"] == 39
    moved, plain = of("One look moved"), of("One look moved", edits=[])
    assert plain.sounds[0] == "M"
    assert "M" not in moved.sounds
    assert moved.weights == [0.0] * 5 + [1.0]


# --------------------------------------------------------------------------------------------- the page's arithmetic


def test_a_row_keeps_its_sum_when_a_weight_is_changed():
    g, cases = random.Random(0), []
    for _ in range(100):
        masses = [g.choice([0.0, g.random()]) for _ in range(g.randrange(2, 9))]
        total = sum(masses) or 1.0
        cases.append([[mass / total for mass in masses], g.randrange(len(masses)), g.choice([0.0, 1.0, g.random()])])
    cases.append([[0.0, 1.0, 0.0], 1, 0.4])
    made = arithmetic("transformer")("(cases) => cases.map((each) => math.renormalised(...each))", cases)
    for (weights, column, value), row in zip(cases, made, strict=True):
        assert row[column] == value
        assert sum(row) == pytest.approx(1)
        rest = [(a, b) for j, (a, b) in enumerate(zip(weights, row, strict=True)) if j != column]
        if sum(a for a, _ in rest):
            assert [b * sum(a for a, _ in rest) for _, b in rest] == pytest.approx([a * (1 - value) for a, _ in rest])
    assert made[-1] == pytest.approx([0.3, 0.4, 0.3])


def test_a_weight_of_one_is_taken_back_as_the_networks_own_row_has_it():
    cases = [[[0, 1, 0], 1, 0.5, [0.6, 0.2, 0.2]], [[0, 1, 0], 1, 0, [0, 1, 0]], [[0.1, 0.8, 0.1], 1, 0.5, [1, 0, 0]]]
    made = arithmetic("transformer")("(cases) => cases.map((each) => math.renormalised(...each))", cases)
    wanted = [[0.375, 0.5, 0.125], [0.5, 0, 0.5], [0.25, 0.5, 0.25]]
    assert made == [pytest.approx(row) for row in wanted]


# --------------------------------------------------------------------------------------------------- what is drawn


def test_the_drawing_says_what_the_library_says():
    widgets = [HeadsExplorer(word=word, part=part, layer=1, head=1, row=2)
               for word in (WORDS[0], WORDS[1], WORDS[4]) for part in ("encoder", "decoder", "across")]  # fmt: skip
    widgets.append(HeadsExplorer(word="phone", off=["across 0 1", "encoder 1 3"], part="across"))
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        said = " ".join(widget.sounds) or "nothing"
        assert text(found(view, "attnlib-heads-sounds")[0]) == said
        assert text(found(view, "attnlib-heads-echo")[0]) == f"Says {said}"
        cells = [text(found(each, "attnlib-value")[0]) for each in found(view, "attnlib-heads-cell")]
        assert cells == [share(weight) for weight in widget.weights]


def test_whose_map_changes_is_said_of_each_head():
    places = [("encoder", 1), ("decoder", 0), ("across", 0), ("across", 1)]
    off = ["across 0 2"]
    views = draw(*(HeadsExplorer(word="brunch", off=off, part=part, layer=layer) for part, layer in places))
    told = [[text(each) for each in found(view, "attnlib-heads-change")] for view in views]
    assert told[0] == [""] * 4  # the encoder stands before what is off

    def layers(edit):
        said = model().greedy(source("brunch"), begin=MARK, end=MARK, longest=LONGEST, edit=edit)
        before = torch.cat([torch.tensor([MARK]), said.words[said.mask][:-1]])[None]
        return model().write(before, model().read(source("brunch"), edit=edit), edit=edit).layers

    plain, changed = layers(None), layers(switched_off([Head("across", 0, 2)]))
    for (part, layer), line in zip(places[1:], told[1:], strict=True):
        name = "own" if part == "decoder" else part
        one, other = (getattr(each[layer], name).weights[0] for each in (plain, changed))
        rows = min(one.shape[1], other.shape[1])
        columns = min(one.shape[2], other.shape[2])
        most = (one[:, :rows, :columns] - other[:, :rows, :columns]).abs().amax((1, 2)).tolist()
        wanted = ["" if value < 1e-9 else f"changed by up to {share(value)}" for value in most]
        if (part, layer) == ("across", 0):
            wanted[2] = ""  # it is off itself
        assert line == wanted
    assert all(told[-1])


def test_what_is_off_is_named_wherever_the_reader_looks():
    [line] = found(draw(of("Three heads together", part="encoder"))[0], "attnlib-heads-off")
    across = "sounds look at letters, head"
    assert text(line) == f"Off: decoder, layer 1: {across}s 3 and 4; decoder, layer 2: {across} 3."
    [line] = found(draw(HeadsExplorer())[0], "attnlib-heads-off")
    assert text(line) == ""


def test_the_map_tells_the_weight_that_the_slider_holds():
    widgets = [
        HeadsExplorer(word="phone", part=part, layer=1, head=2, row=2, column=0) for part in ("decoder", "across")
    ]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        name = "start" if widget.part == "decoder" else "p"
        [reading] = found(view, "attnlib-maps-reading")
        assert re.sub("[\u2068\u2069]", "", text(reading)).endswith(f"to “{name}”: {share(widget.weights[0])}")


def test_each_stage_is_told_in_numbers():
    state = {"word": "phone", "part": "across", "layer": 0, "head": 1, "row": 1, "column": 2}
    widgets = {stage: HeadsExplorer(**state, stage=stage) for stage in STAGES}
    views = dict(zip(widgets, draw(*widgets.values()), strict=True))
    for stage, view in views.items():
        assert text(found(view, "attnlib-heads-equation")[0]) == STAGES[stage]["equation"]
        assert STAGES[stage]["code"] in text(found(view, "attnlib-heads-code")[0])
    told = {stage: dict(rows(view, "attnlib-heads-numbers")) for stage, view in views.items()}
    widget = widgets["weight"]
    minus = lambda value, digits=2: f"{value:.{digits}f}".replace("-", "−")  # noqa: E731
    assert not any(word in line for lines in told.values() for line in lines.values() for word in ("NaN", "undefined"))
    assert told["query"]["q of head 2"].count(",") == told["key"]["k of “o”"].count(",") == 15
    assert told["energy"]["over √16"] == minus(widget.energies[2], 4)
    assert told["weight"]["α of “o”"].endswith(f"= {widget.weights[2]:.4f}")
    shown = told["context"]["c, the sum over the row"]
    assert shown.startswith(f"({minus(widget.context[0])}, ")
    assert shown.count(",") == 15
    assert next(iter(told["logits"])) == widget.sounds[1]
    assert len(told["output"]) == 5


def test_a_weight_of_a_head_that_is_off_is_told_as_not_used():
    state = {"word": "dog", "part": "across", "layer": 1, "head": 0, "row": 0, "column": 1}
    row = {"part": "across", "layer": 1, "head": 0, "row": 0, "weights": [0.0, 0.25, 0.75]}
    off, moved, both = draw(*(HeadsExplorer(**state, **more) for more in (
        {"off": ["across 1 0"]}, {"edits": [row]}, {"off": ["across 1 0"], "edits": [row]})))  # fmt: skip
    told = [dict(rows(view, "attnlib-heads-numbers"))["α of “o”"] for view in (off, moved, both)]
    assert told[0].endswith("; not used: the head is off")
    assert told[1].endswith("; changed to 0.2500")
    assert told[2] == told[0]


# --------------------------------------------------------------------------------------------- the page in the hand


@pytest.mark.browser
def test_a_word_is_typed_a_head_switched_off_and_a_weight_moved(show):
    page = show(HeadsExplorer(word="phone", part="across", layer=1, head=0))
    sounds = page.locator(".attnlib-heads-sounds")
    page.get_by_label("A word, up to 12 letters").fill("Knight")
    frame(page)
    wanted = HeadsExplorer(word="knight", part="across", layer=1, head=0)
    assert sounds.inner_text() == " ".join(wanted.sounds)
    for head in range(1, 5):
        page.get_by_label(f"Head {head} on", exact=True).uncheck()
    frame(page)
    wanted.off = [f"across 1 {head}" for head in range(4)]
    assert sounds.inner_text() == (" ".join(wanted.sounds) or "nothing")
    for head in range(1, 5):
        page.get_by_label(f"Head {head} on", exact=True).check()
    page.locator(".attnlib-heads-cell").nth(5).click()
    slider = page.get_by_label("Weight of “t” for “N”")
    slider.focus()
    page.keyboard.press("End")
    frame(page)
    row = {"part": "across", "layer": 1, "head": 0, "row": 0, "weights": [0.0] * 5 + [1.0]}
    wanted.update(off=[], edits=[row])
    assert sounds.inner_text() == (" ".join(wanted.sounds) or "nothing")
    assert slider.get_attribute("aria-valuetext") == "1.00"
    page.get_by_role("button", name="Take back this row").click()
    frame(page)
    assert sounds.inner_text() == " ".join(wanted.untouched)
    page.get_by_role("button", name="logits").click()
    page.get_by_label("Heads of", exact=True).select_option("encoder 0")
    frame(page)
    assert page.locator(".attnlib-heads-numbers tbody tr").count() == len(wanted.untouched) + 1


@pytest.mark.browser
def test_looking_about_keeps_what_the_preset_says(show):
    page = show(HeadsExplorer())
    start_from(page, "Three heads together")
    frame(page)
    notice = page.locator(".attnlib-notice")
    said = notice.inner_text()
    page.get_by_label("Heads of", exact=True).select_option("encoder 1")
    page.locator(".attnlib-heads-pick").nth(1).click()
    page.locator(".attnlib-maps-map").press("ArrowDown")
    page.locator(".attnlib-heads-cell").nth(2).click()
    page.get_by_role("button", name="energy").click()
    frame(page)
    assert (started_from(page), notice.inner_text()) == ("Three heads together", said)
    page.get_by_label("Head 1 on", exact=True).uncheck()
    page.locator(".attnlib-heads-pick").nth(2).click()  # before the next frame
    frame(page)
    assert started_from(page) == ""
    assert notice.inner_text() != said


@pytest.mark.browser
def test_a_pressed_cell_of_the_map_is_the_sliders(show):
    page = show(HeadsExplorer(word="phone", part="across", layer=1, head=0))
    large = page.locator(".attnlib-maps-map")
    for _ in range(3):
        large.press("ArrowRight")
    large.press("ArrowDown")
    frame(page)
    said = HeadsExplorer(word="phone").sounds
    assert f"Weight of “n” for “{said[1]}”" in page.locator(".attnlib-heads-editor").inner_text()
    assert page.locator(".attnlib-heads-cell[aria-pressed=true]").inner_text().startswith("n")
    box = page.locator(".attnlib-maps-frame rect").bounding_box()
    page.mouse.click(box["x"] + 1.5 * box["width"] / 5, box["y"] + 2)
    frame(page)
    assert f"Weight of “h” for “{said[0]}”" in page.locator(".attnlib-heads-editor").inner_text()


@pytest.mark.browser
def test_what_is_no_word_is_refused_and_nothing_is_said_of_the_last_one(show):
    page = show(HeadsExplorer(word="phone"))
    box, says = page.get_by_label("A word, up to 12 letters"), page.locator(".attnlib-heads-says")
    for typed in ("", "a b", "naïve", "dog!"):
        box.fill(typed)
        frame(page)
        assert says.inner_text().strip() == "Letters a to z only."
        assert not page.locator(".attnlib-heads-thumbs").is_visible()
        assert box.get_attribute("aria-invalid") == "true"
        box.fill("dog")
        frame(page)
        assert says.inner_text().startswith("D AO G")
        assert page.locator(".attnlib-heads-thumbs").is_visible()
    box.fill("")
    start_from(page, "The dearest head")
    frame(page)
    assert box.input_value() == "donuts"
    assert page.locator(".attnlib-heads-thumbs").is_visible()


@pytest.mark.browser
def test_the_slider_to_one_and_to_nought_leaves_the_others_their_order(show):
    widget = HeadsExplorer(word="phone", part="across", layer=1, head=0, row=0, column=0)
    page = show(widget)
    for key in ("End", "Home"):
        page.locator(".attnlib-heads-editor input").press(key)
        frame(page)
    rest = 1 - widget.weights[0]
    shown = page.locator(".attnlib-heads-cell .attnlib-value").all_inner_texts()
    assert shown == ["0", *(share(weight / rest) for weight in widget.weights[1:])]
