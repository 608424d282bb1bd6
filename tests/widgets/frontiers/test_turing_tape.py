"""TuringTape: its outputs, what its presets promise, its arithmetic in the page, and its page. test_widgets*.py has the
rest."""

import json
import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, text

from attnlib.frontiers.turing_machine import TuringMachine
from attnlib.widgets import TuringTape
from attnlib.widgets.frontiers.turing_model import packed_machine, unpacked_machine
from attnlib.widgets.frontiers.turing_tape import BY_HAND, MOST, PRESETS
from attnlib.widgets.text import number
from book.experiments import turing_tape as script


def tape(preset, **state):
    widget = TuringTape(preset=preset)
    widget.update(**state)
    return widget


def copying(seed=0, rows_=7, bits=3, size=5, length=4):
    """A widget with a machine of random weights, at its end."""
    torch.manual_seed(seed)
    machine = TuringMachine(bits + 1, bits, rows=rows_, size=size, hidden=11)
    for parameter in machine.parameters():
        parameter.data.mul_(4)
    pattern = torch.randint(2, (length, bits)).tolist()
    held = {"name": "noise", **packed_machine(machine)}
    return TuringTape(machines=[held], pattern=pattern, step=2 * length + 1)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def after(widget):
    return widget.stages[-1]


def test_golden_values_of_a_shift_by_hand():
    """Row 2, a tenth a step behind, a tenth ahead, is no shift of one slider: a shift of 0.8 splits 0.2 to 0.8."""
    widget = TuringTape(show=BY_HAND, gate=0, shift=0.8, first=2, step=0, sharpness=2)
    assert widget.stages[3] == pytest.approx([0, 0, 0.2, 0.8, 0, 0])
    assert after(widget) == pytest.approx([0, 0, 0.04 / 0.68, 0.64 / 0.68, 0, 0])
    widget.update(shift=-0.8, sharpness=1)
    assert after(widget) == pytest.approx([0, 0.8, 0.2, 0, 0, 0])


def test_a_machine_copies_as_by_its_own_forward():
    widget = copying()
    told = torch.zeros(1, 9, 4, dtype=torch.float64)
    told[0, :4, :3], told[0, 4, 3] = torch.tensor(widget.pattern), 1
    ran = unpacked_machine(widget.machines[0])(told)
    assert double(widget.said).numpy() == pytest.approx(ran.output[0].sigmoid().numpy())
    assert double(widget.memory).numpy() == pytest.approx(ran.state.memory[0].numpy())
    widget.back()
    assert (len(widget.said), len(widget.looks)) == (8, 8)


BAD = [
    ({"step": 14}, "step must be at most 13 here; got 14"),
    ({"show": BY_HAND, "step": MOST + 1}, "step must be at most 20 here"),
    ({"pattern": [[0, 1, 0]], "step": 0}, "pattern must have 4 bits a row, got 3"),
    ({"pattern": [[0, 2, 0, 0]], "step": 0}, "pattern must be whole numbers"),
    ({"machine": 2}, "machine must be below 2"),
    ({"gate": 1.5}, "gate must be a finite number from 0 to 1"),
    ({"sharpness": 0.5}, "sharpness must be a finite number from 1 to 10"),
]


@pytest.mark.parametrize(("state", "message"), BAD)
def test_bad_state_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        TuringTape().update(**state)


def test_layers_that_do_not_fit_are_refused():
    held = TuringTape().machines[0]
    layers = {**held["layers"], "output": held["layers"]["heads"]}
    with pytest.raises(ValueError, match="machines must be of packed_machine"):
        TuringTape(machines=[{**held, "layers": layers}])


def test_what_is_stored_is_what_the_script_writes():
    assert script.stored() == json.loads(script.STORE.read_text(encoding="utf-8"))
    metrics = json.loads((script.copying.RESULTS / "metrics.json").read_text(encoding="utf-8"))["runs"]["memory"]
    right = metrics["rates"][str(metrics["best"])]["test"]["texts"]["40"]
    assert list(script.SHOWN.values()) == [right.index(max(right)), right.index(min(right))]


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_presets_of_machines():
    short, long, worst = (TuringTape(preset=name) for name in ("Copy six", "Copy twenty", "The worst of five"))
    assert short._right() == (24, 24)
    assert long._right() == (80, 80)
    assert worst._right() == (34, 80)
    for widget, length in ((short, 6), (long, 20)):
        reads, writes = ([look[head].index(max(look[head])) for look in widget.looks] for head in (0, 1))
        assert writes[:length] == reads[length:-1] == list(range(length))  # a row a step, the same way
    assert 2 * script.copying.SETTING["longest"] == len(long.pattern) == 20
    begins = [look.index(max(look)) for look in (worst.looks[0][1], worst.looks[20][0])]
    assert begins == [1, 2]  # written first, and read first
    worst.update(pattern=long.pattern[:10], step=21)
    assert worst._right() == (40, 40)


def test_presets_by_hand():
    content = after(tape("Look by content"))
    assert content[0] == content[2] == max(content)
    assert after(tape("Look by content", strength=0)) == pytest.approx([1 / 6] * 6)
    assert after(tape("Find and go on"))[4] > 0.99
    walk = tape("Walk")
    assert after(walk) == after(tape("Walk", key=0, strength=0))
    places = []
    for _ in range(3):
        places.append(after(walk).index(1))
        walk.forward()
    assert places == [5, 0, 1]
    assert max(tape("Blur").stages[0]) < 0.4
    assert max(tape("Blur", sharpness=3).stages[0]) > 0.97


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_of_a_head_is_that_of_attnlib(record_property):
    """And a shift that goes the other way, as a correlation does, is told apart."""
    rng, widgets, cases = random.Random(0), [], []
    for _ in range(60):
        state = {"key": rng.uniform(0, 360), "strength": rng.uniform(0, 20), "gate": rng.random()}
        state |= {"shift": rng.uniform(-1, 1), "sharpness": rng.uniform(1, 10), "first": rng.randint(0, 5)}
        widgets.append(TuringTape(show=BY_HAND, step=0, **state))
        angle, move = double(state["key"]).deg2rad(), state["shift"]
        key = [angle.cos().item(), angle.sin().item()]
        cases.append(
            [{**state, "key": key, "shift": [max(-move, 0), 1 - abs(move), max(move, 0)]}, widgets[-1].stages[0]]
        )
    angles = double(TuringTape.data["angles"]).deg2rad()
    memory = torch.stack([angles.cos(), angles.sin()], 1).tolist()
    results = arithmetic("turing")(
        """({ cases, memory }) => cases.map(([told, before]) => {
            const flat = (given) => Object.values(math.address(given, memory, before));
            return [flat(told), flat({ ...told, shift: [...told.shift].reverse() })];
        })""",
        {"cases": cases, "memory": memory},
    )  # fmt: skip
    wanted = double([widget.stages[1:] for widget in widgets])
    page, turned = (double([each[i] for each in results]) for i in (0, 1))
    gap = (page - wanted).abs().max().item()
    record_property("measured", f"{gap:.1e} largest gap to attnlib  heads")
    assert gap < 1e-6
    assert (turned - wanted).abs().max() > 0.1


def test_arithmetic_of_a_machine_is_that_of_attnlib(record_property):
    widgets = [TuringTape(preset=item["name"]) for item in PRESETS[:3]]
    widgets += [copying(seed, rows_, bits, size, length) for seed, (rows_, bits, size, length) in enumerate(
        [(1, 1, 1, 1), (7, 3, 5, 4), (41, 4, 8, 24), (5, 2, 3, 9)])]  # fmt: skip
    cases = [[widget.machines[widget.machine], widget.pattern] for widget in widgets]
    results = arithmetic("turing")(
        "(cases) => cases.map(([held, pattern]) => math.copied(math.machine(held), pattern).map("
        "({ output, weights, memory }) => [output, weights, memory]))",
        cases,
    )
    gap = 0.0
    for widget, page in zip(widgets, results, strict=True):
        pairs = [(widget.said, [each[0] for each in page]), (widget.looks, [each[1] for each in page])]
        for mine, theirs in [*pairs, (widget.memory, page[-1][2])]:
            gap = max(gap, (double(mine) - double(theirs)).abs().max().item())
    record_property("measured", f"{gap:.1e} largest gap to attnlib  copying machine")
    assert gap < 1e-6


def test_page_shows_the_numbers_of_attnlib():
    widgets = [TuringTape(preset=item["name"]) for item in PRESETS]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        news = text(found(view, "attnlib-caption")[0])
        tables = found(view, "attnlib-table")
        machine, head = ([[text(cell) for cell in row] for row in table.findall("tbody/tr")] for table in tables)
        if widget.show == BY_HAND:
            stages = zip(*widget.stages, strict=True)
            assert [row[1:] for row in head] == [[number(weight, 3) for weight in row] for row in stages]
        else:
            looks = [max(range(41), key=look.__getitem__) for look in reversed(widget.looks[-1])]
            assert [int(row[1]) for row in machine] == looks
            right, count = widget._right()
            assert f"{right} of {count} bits are right" in news
            crosses = found(view, "attnlib-tape-wrong")[0].find("{*}path").get("d")
            assert crosses.count("M") == count - right


@pytest.mark.browser
def test_a_pattern_is_typed_and_copied(show):
    page = show(TuringTape())
    field = page.get_by_label("Pattern: 0 to f, four bits each")
    field.fill("Ax7")
    frame(page)
    assert field.input_value() == "a7"
    caption = page.locator(".attnlib-caption")
    assert "Step 5: 2 of 2 vectors came out; 8 of 8 bits are right." in caption.inner_text()
    page.get_by_role("button", name="Back").click()
    frame(page)
    assert "4 of 4 bits are right" in caption.inner_text()
    page.get_by_role("button", name="Start again").click()
    page.get_by_role("button", name="Take a step").click()
    frame(page)
    assert "Step 1: vector 1 of 2 is read in." in caption.inner_text()
    box = page.locator(".attnlib-tape").bounding_box()
    scale = box["width"] / 480
    page.mouse.click(box["x"] + (34 + 20) * scale, box["y"] + (22 + 6) * scale)  # the first bit of the first vector
    frame(page)
    assert field.input_value() == "27"
    page.get_by_label("Vectors", exact=True).press("ArrowRight")
    frame(page)
    assert field.input_value() == "271"  # goes on with 7 times the number of the vector, and 3
    assert "Step 7: 3 of 3 vectors came out" in caption.inner_text()
    page.get_by_label("Show", exact=True).select_option(BY_HAND)
    frame(page)
    assert "After step 1 most weight is on row" in caption.inner_text()
