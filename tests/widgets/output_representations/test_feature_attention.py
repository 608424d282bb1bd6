"""FeatureAttention: its outputs, what its presets promise, its arithmetic in the page, and its page. test_widgets*.py
has the rest."""

import random

import pytest
import torch
from browser import drag, frame, middle
from drawn import arithmetic, draw, found, rows, text

from attnlib.output_representations.multidimensional import attend_features
from attnlib.widgets import FeatureAttention
from attnlib.widgets.text import share


def widget(preset, **state):
    made = FeatureAttention(preset=preset)
    made.update(**state)
    return made


def feature(made, k):
    return [row[k] for row in made.weights]


def changed(made, token, k, value):
    return [
        [value if (i, j) == (token, k) else old for j, old in enumerate(row)] for i, row in enumerate(made.energies)
    ]


def test_outputs_are_those_of_attnlib():
    made = FeatureAttention()
    energies, values = torch.tensor(made.energies).double(), torch.tensor(made.values).double()
    assert made.context == attend_features(energies.unsqueeze(0), values).context[0].tolist()
    assert made.one == pytest.approx(torch.softmax(energies.mean(-1), 0).tolist())
    assert made.mixture == pytest.approx((torch.softmax(energies.mean(-1), 0) @ values).tolist())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"energies": [[0.0, 0.0], [0.0, 0.0]]}, "energies must be finite numbers of shape"),
        ({"tokens": ["a"]}, "tokens must be"),
        ({"tokens": ["a", "b"]}, "has token=2|has token=4"),
        ({"token": 4}, "token must be below 4"),
    ],
)
def test_bounds(state, message):
    with pytest.raises(ValueError, match=message):
        FeatureAttention(**state)


def test_preset_each_from_its_own():
    made = widget("Each from its own")
    assert feature(made, 0)[0] > 0.9
    assert feature(made, 1)[2] > 0.9
    assert made.one[0] == made.one[2] == pytest.approx(0.40, abs=0.005)
    assert made.context[0] == pytest.approx(made.values[0][0], abs=0.5)
    assert abs(made.mixture[0] - made.values[0][0]) > 1
    assert abs(made.mixture[1] - made.values[2][1]) > 0.5
    raised = widget("Each from its own", energies=changed(made, 0, 1, 4.0))
    assert feature(raised, 1)[2] < 0.6
    assert feature(raised, 0) == feature(made, 0)


def test_preset_all_agree():
    made = widget("All agree")
    for k in range(3):
        assert feature(made, k) == pytest.approx(made.one)
    moved = widget("All agree", energies=changed(made, 1, 0, -2.0))
    assert feature(moved, 1) == feature(made, 1)
    assert feature(moved, 0) != feature(made, 0)


def test_preset_they_cancel():
    made = widget("They cancel")
    assert made.one == pytest.approx([0.25] * 4)
    assert all(sum(row) == 0 for row in made.energies)
    assert feature(made, 0)[0] == feature(made, 0)[2] > 0.49
    assert feature(made, 1)[1] > 0.9
    assert feature(made, 2)[3] > 0.9


def test_preset_a_constant():
    made = widget("A constant")
    assert feature(made, 1) == pytest.approx([0.25] * 4)
    assert feature(made, 0) == pytest.approx([0.25] * 4)
    assert {row[1] for row in made.energies} == {3.0}
    assert {row[0] for row in made.energies} == {0.0}


def test_arithmetic_is_that_of_attnlib(record_property):
    rng, cases = random.Random(0), []
    for _ in range(300):
        n, d = rng.randint(1, 7), rng.randint(1, 5)
        cases.append([[[rng.gauss(0, rng.choice([1, 9])) for _ in range(d)] for _ in range(n)] for _ in range(2)])
    made = arithmetic("features")("(cases) => cases.map(([e, v]) => math.perFeature(e, v))", cases)
    gap = 0.0
    for (energies, values), got in zip(cases, made, strict=True):
        energies, values = torch.tensor(energies).double(), torch.tensor(values).double()
        wanted = attend_features(energies.unsqueeze(0), values)
        one = torch.softmax(energies.mean(-1), 0)
        for name, want in (
            ("weights", wanted.weights[0]),
            ("context", wanted.context[0]),
            ("one", one),
            ("mixture", one @ values),
        ):
            gap = max(gap, (torch.tensor(got[name]).double() - want).abs().max().item())
    record_property("measured", f"{gap:.1e} largest gap to attnlib  features")
    assert gap < 1e-5  # energies and values of single precision go in


def test_page_shows_the_numbers_of_attnlib():
    widgets = [widget(item["name"]) for item in FeatureAttention().presets] + [
        FeatureAttention(**FeatureAttention.sample)
    ]
    for made, view in zip(widgets, draw(*widgets), strict=True):
        named = [f"{name}: {', '.join(f'{x:.0f}' for x in row)}"
                 for name, row in zip(made.tokens, made.values, strict=True)]  # fmt: skip
        wanted = [[name, *map(share, row), share(one)]
                  for name, row, one in zip(named, made.weights, made.one, strict=True)]  # fmt: skip
        assert rows(view) == wanted
        heights = [float(bar.get("height")) for bar in found(view, "attnlib-bar")]
        assert heights == pytest.approx([130 * row[k] for k in range(3) for row in made.weights], abs=0.01)
        if max(made.one) - min(made.one) > 1e-9:
            top = max(range(len(made.one)), key=made.one.__getitem__)
            assert f"one for all at {made.tokens[top]} ({share(made.one[top])})" in text(view)
        else:
            assert f"one for all at none more than at another ({share(made.one[0])})" in text(view)


@pytest.mark.browser
def test_an_energy_moves_by_keyboard_and_by_mouse(show):
    page = show(FeatureAttention())
    handle = page.get_by_role("slider", name="Energy of size")
    handle.focus()
    page.keyboard.press("ArrowUp")
    frame(page)
    assert handle.get_attribute("aria-valuenow") == "0.1"
    drag(page, *middle(handle), 0, -30)
    assert float(handle.get_attribute("aria-valuenow")) > 1
    page.get_by_label("Token whose energies to move").select_option("2")
    frame(page)
    assert handle.get_attribute("aria-valuenow") == "4"
