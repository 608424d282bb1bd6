"""SelectiveTuner: its outputs, what its presets promise, its arithmetic in the page, and its page. test_widgets*.py has
the rest."""

import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.brain.selective_tuning import Layer, selective_tuning
from attnlib.widgets import SelectiveTuner
from attnlib.widgets.brain.selective_tuner import PRESETS


def tuner(preset, **state):
    widget = SelectiveTuner(preset=preset)
    widget.update(**state)
    return widget


def double(values):
    return torch.tensor(values, dtype=torch.float64).view(1, 1, -1)


def marked(flags):
    return [i for i, flag in enumerate(flags) if flag]


def test_it_goes_up_down_and_up_again_by_hand():
    widget = SelectiveTuner(stimuli=[0.5, 0.25, 0, 0.25, 1, 0, 0.5, 0.25], step=0)
    assert widget.first[1:] == [[0.75, 0.25, 1.0, 0.75], [1.0, 1.75]]
    assert widget.winner == 1
    assert [marked(level) for level in widget.passes] == [[4], [2], [1]]
    assert [marked(level) for level in widget.inhibited] == [[5], [3], []]
    assert widget.second == [[0.5, 0.25, 0, 0.25, 1, 0, 0.5, 0.25], [0.75, 0.25, 1.0, 0.0], [1.0, 1.0]]
    seen = []
    for _ in range(6):
        widget.forward()
        seen.append(widget.step)
    widget.back()
    assert (seen, widget.step) == ([1, 2, 3, 4, 4, 4], 3)


def test_nothing_above_nought_has_no_winner():
    widget = SelectiveTuner(stimuli=[0.0] * 8)
    assert (widget.winner, marked(widget.passes[0]), widget.second) == (-1, [], widget.first)
    assert "nobody wins" in widget.summary()
    told = [text(found(view, "attnlib-caption")[0]) for view in draw(widget, SelectiveTuner(bias=[0, 0]))]
    assert all("nobody wins" in each for each in told)


BAD = [
    ({"stimuli": [0.5] * 7}, r"stimuli must be finite numbers from 0 to 1 of shape \(8\)"),
    ({"stimuli": [1.5] * 8}, "stimuli must be finite numbers from 0 to 1"),
    ({"bias": [1, -1]}, "bias must be finite numbers from 0 to 4"),
    ({"share": 0}, "share must be a finite number above 0"),
    ({"step": 5}, "step must be a whole number from 0 to 4; got 5"),
]


@pytest.mark.parametrize(("state", "message"), BAD)
def test_bad_state_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        SelectiveTuner().update(**state)


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_a_distractor():
    widget = SelectiveTuner()
    assert (widget.preset, widget.step, widget.winner) == ("A distractor", 3, 0)
    assert (widget.first[2][0], widget.second[2][0]) == (1.4, 0.9)
    assert sorted(widget.stimuli[:4]) == [0, 0, 0.5, 0.9]


def test_preset_a_task():
    plain, told = SelectiveTuner(), tuner("A task: right")
    assert (plain.stimuli, plain.first) == (told.stimuli, told.first)
    assert (plain.winner, told.winner, told.bias) == (0, 1, [1, 2])


def test_preset_two_beat_one():
    widget = tuner("Two beat one")
    assert (widget.winner, widget.stimuli.index(max(widget.stimuli))) == (0, 0)
    assert marked(widget.passes[0]) == [3]


def test_preset_a_wider_beam():
    wide, narrow = tuner("A wider beam"), tuner("A wider beam", share=1.0)
    assert (marked(wide.passes[0]), marked(narrow.passes[0])) == ([0, 1], [0])
    assert wide.second[2][0] == pytest.approx(1.6)
    assert marked(wide.inhibited[1]) == [1]


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    """Five hundred rows: windows apart and overlapping, weights of either sign, every share."""
    rng = random.Random(0)
    cases, wanted = [], []
    for _ in range(500):
        layers = [
            {"weight": [rng.uniform(-0.3, 1) for _ in range(wide)], "stride": rng.randint(1, 2)} for wide in (3, 2)
        ]
        inputs = [rng.uniform(-0.5, 1) for _ in range(rng.randint(7, 13))]
        width = len(inputs)
        for layer in layers:
            width = (width - len(layer["weight"])) // layer["stride"] + 1
        options = {"bias": [rng.choice([0.0, 0.5, 2.0]) for _ in range(width)], "share": rng.choice([0.2, 0.6, 1.0])}
        cases.append((inputs, layers, options))
        made = [Layer(double(each["weight"]).unsqueeze(0), each["stride"]) for each in layers]
        row, bias = double(inputs), double(options["bias"])
        wanted.append(selective_tuning(row, made, bias=bias, share=options["share"]))
    made = arithmetic("selective_tuning")("(cases) => cases.map((each) => math.selectiveTuning(...each))", cases)
    gap = 0.0
    for here, there in zip(made, wanted, strict=True):
        assert here["winner"] == int(there.winner[-1])
        for part in ("passes", "inhibited"):
            assert here[part] == [level.flatten().tolist() for level in getattr(there, part)]
        for part in ("first", "second"):
            for mine, level in zip(here[part], getattr(there, part), strict=True):
                gap = max(gap, *(abs(a - b) for a, b in zip(mine, level.flatten().tolist(), strict=True)))
    assert {here["winner"] < 0 for here in made} == {True, False}
    record_property("measured", f"{gap:.1e} largest gap to attnlib  selective tuning")
    assert gap < 1e-6


def zones(view):
    """What is framed, inputs last as drawn first: (zone or nothing) of eight inputs, four units, two."""
    return [frame.get("data-zone") for frame in found(view, "attnlib-tuning-frame")]


def test_page_shows_the_numbers_and_the_zones_of_attnlib_as_far_as_the_step_goes():
    widgets = [SelectiveTuner(preset=item["name"], step=step) for item in PRESETS for step in range(5)]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        answers = widget.second if widget.step == 4 else widget.first
        shown = [text(each) for each in found(view, "attnlib-tuning-value")]
        assert shown == [f"{value:.2f}" for level in answers[1:] for value in level]
        last = [f"{value:.2f}" if widget.step == 4 else "–" for value in widget.second[2]]
        tasks = [f"{bias * value:.2f}" for bias, value in zip(widget.bias, widget.first[2], strict=True)]
        firsts = [f"{value:.2f}" for value in widget.first[2]]
        assert [row[1:] for row in rows(view)] == [list(row) for row in zip(firsts, tasks, last, strict=True)]
        wanted = [
            None if widget.step < 3 - level else "pass" if on else "inhibited" if off else None
            for level in (1, 2, 0)
            for on, off in zip(widget.passes[level], widget.inhibited[level], strict=True)
        ]
        assert zones(view) == wanted
        wires = [wire.get("data-pass") is not None for wire in found(view, "attnlib-tuning-wires")[0]]
        assert sum(wires) == sum(wanted[i] == "pass" for i in range(14)) - 1 if widget.step else not any(wires)


# ----------------------------------------------------------------------------------------------- the page, in the hand


@pytest.mark.browser
def test_an_input_and_the_task_move_the_beam(show):
    page = show(SelectiveTuner())

    def beam():
        frame(page)
        return page.locator(".attnlib-caption").inner_text()

    assert "The beam ends at input 1." in beam()
    page.get_by_role("button", name="Next step").click()
    assert "left answers 0.90 in place of 1.40" in beam()
    page.get_by_role("slider", name="Input 5").press("End")
    page.get_by_role("slider", name="Input 7").press("PageUp")
    assert "right answers 1.00 in place of 1.70" in beam()
    page.get_by_label("Task: right").press("Home")
    assert "left answers 0.90" in beam()
    page.get_by_role("button", name="Start again").click()
    assert "Each unit adds up the two below it" in beam()
