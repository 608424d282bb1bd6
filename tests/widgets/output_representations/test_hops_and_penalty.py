"""HopsAndPenalty: its outputs, what its presets promise, its arithmetic in the page, and its page. test_widgets*.py has
the rest."""

import json
import random
from pathlib import Path
from statistics import fmean

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, rows, text

from attnlib.output_representations.structured_self import penalty
from attnlib.widgets import HopsAndPenalty
from attnlib.widgets.output_representations.hops_and_penalty import COEFFICIENTS, STORE

RESULTS = Path(__file__).parents[3] / "book" / "experiments" / "results" / "hops"
STORED = json.loads(STORE.read_text(encoding="utf-8"))


def test_outputs_are_those_of_attnlib():
    for c in range(len(COEFFICIENTS)):
        made = HopsAndPenalty(text=1, coefficient=c, hop=2)
        weights = torch.tensor(STORED["maps"][c][1], dtype=torch.float64)
        assert made.penalty == penalty(weights).item()
        assert made.weights == weights[2].tolist()
        assert sum(made.weights) == pytest.approx(1, abs=2e-3)
        assert 0 <= made.overlap <= 1


@pytest.mark.parametrize("state", [{"text": 3}, {"coefficient": len(COEFFICIENTS)}, {"hop": 5}, {"hop": -1}])
def test_bounds(state):
    with pytest.raises(ValueError, match=f"{next(iter(state))} must be a whole number from 0 to"):
        HopsAndPenalty(**state)


def test_the_store_is_small():
    assert STORE.stat().st_size < 40_000


# ---------------------------------------------------------------------------------------- what the presets say, is so


def test_preset_no_penalty():
    made = HopsAndPenalty(preset="No penalty")
    assert made.reach > 5
    assert made.overlap > 0.5
    parted = HopsAndPenalty(preset="No penalty", coefficient=COEFFICIENTS.index("0.03"))
    assert parted.overlap < 0.25


def test_preset_apart():
    made = HopsAndPenalty(preset="Apart")
    assert made.overlap < 0.25
    at = made.coefficient
    rows = STORED["maps"][at][made.text]
    assert len({max(range(len(row)), key=row.__getitem__) for row in rows}) == len(rows)
    on = [1 / sum(x * x for x in row) for row in rows]
    assert [words < 6 for words in on] == [True, True, False, True, True]
    assert on[2] > 0.75 * len(rows[2])
    assert STORED["right"][at] < STORED["right"][0] - 0.01


def test_preset_too_much():
    made = HopsAndPenalty(preset="Too much")
    assert [f"{positive:.2f}" for positive in STORED["positive"][made.coefficient]] == ["0.57"] * 3
    for number in range(3):
        assert 1 < HopsAndPenalty(preset="Too much", text=number).reach < 2
    metrics = json.loads((RESULTS / "metrics.json").read_text(encoding="utf-8"))
    commoner = max(metrics["positive"], 1 - metrics["positive"])
    assert commoner - 0.02 < STORED["right"][made.coefficient] < commoner + 0.05


# ------------------------------------------------------------------------------------------------ the page, in numbers


def test_arithmetic_is_that_of_attnlib(record_property):
    rng, cases = random.Random(0), []
    for _ in range(200):
        r, n, sharp = rng.randint(1, 6), rng.randint(1, 9), rng.choice([0.1, 5])
        energies = torch.tensor([[rng.gauss(0, sharp) for _ in range(n)] for _ in range(r)]).double()
        cases.append(torch.softmax(energies, -1).tolist())
    gap = 0.0
    for weights, got in zip(cases, arithmetic("hops")("(cases) => cases.map(math.hops)", cases), strict=True):
        rows = torch.tensor(weights).double()
        unit = torch.nn.functional.normalize(rows, dim=-1)
        cosines = [(a @ b).item() for i, a in enumerate(unit) for b in unit[i + 1 :]]
        wanted = {
            "penalty": penalty(rows).item(),
            "overlap": fmean(cosines) if cosines else 1.0,
            "reach": (1 / rows.square().sum(-1)).mean().item(),
        }
        gap = max(gap, *(abs(got[name] - value) for name, value in wanted.items()))
        assert got["sharp"] + got["apart"] == pytest.approx(got["penalty"])
    record_property("measured", f"{gap:.1e} largest gap to attnlib  hops")
    assert gap < 1e-6


def test_page_shows_the_numbers_of_attnlib():
    widgets = [HopsAndPenalty(text=i, coefficient=c) for c in (0, len(COEFFICIENTS) - 1) for i in range(3)]
    for made, view in zip(widgets, draw(*widgets), strict=True):
        assert f"overlap {made.overlap:.3f}, penalty {made.penalty:.2f}" in text(view)
        assert [row[0] for row in rows(view)] == COEFFICIENTS
        assert [row[2] for row in rows(view)] == [f"{right:.3f}" for right in STORED["right"]]


@pytest.mark.browser
def test_the_coefficient_slides_and_a_hop_is_chosen(show):
    page = show(HopsAndPenalty())
    slider = page.get_by_label("Coefficient of the penalty")
    slider.focus()
    page.keyboard.press("ArrowRight")
    frame(page)
    assert slider.get_attribute("aria-valuetext") == COEFFICIENTS[1]
    board = page.get_by_role("slider", name="Weights of λ")
    board.focus()
    page.keyboard.press("ArrowDown")
    frame(page)
    assert board.get_attribute("aria-valuenow") == "2"
