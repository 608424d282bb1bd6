"""WeightsOnTrial: outputs against attnlib, what presets promise, the page's arithmetic, and its page in the hand."""

import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.explanation import adversarial, divergence
from attnlib.widgets import WeightsOnTrial
from attnlib.widgets.text import share
from attnlib.widgets.weights_on_trial import PRESETS


def test_outputs_are_those_of_attnlib():
    widget = WeightsOnTrial(words=["a", "b", "c"], values=[1, -2, 3], trained=[2, 1, 1], weights=[0, 3, 1])
    own, network = torch.tensor([0, 0.75, 0.25]).double(), torch.tensor([0.5, 0.25, 0.25]).double()
    assert widget.shares == own.tolist()
    assert widget.answer == pytest.approx(torch.sigmoid(torch.tensor(-0.75)).item())
    assert widget.network_answer == pytest.approx(torch.sigmoid(torch.tensor(0.75)).item())
    assert widget.apart == pytest.approx(divergence(network, own).item())
    assert widget.summary().startswith("positive with probability 0.321, by the network's weights 0.679; ")


def test_bad_state_is_refused():
    with pytest.raises(ValueError, match="weights must have a weight above 0; got none"):
        WeightsOnTrial(weights=[0] * 9)
    with pytest.raises(ValueError, match="trained"):
        WeightsOnTrial(trained=[-1] * 9)
    with pytest.raises(ValueError, match="words"):
        WeightsOnTrial(words=["alone"], values=[1], trained=[1], weights=[1])


# ---------------------------------------------------------------------------------------- what the presets say, is so


def given(name):
    widget = WeightsOnTrial(preset=name)
    said = dict(zip(widget.words, widget.values, strict=True))
    return widget, said, dict(zip(widget.words, widget.shares, strict=True))


def test_presets_are_true():
    assert [preset["name"] for preset in PRESETS][:2] == ["Half on one word", "The same answer"]
    _, said, weights = given("Half on one word")
    assert weights["put"] == pytest.approx(0.5, abs=0.005)
    assert min(said.values()) > 0

    other, _, weights = given("The same answer")
    assert weights["."] == pytest.approx(0.9, abs=0.01)
    assert abs(other.answer - other.network_answer) <= 0.01

    second, _, _ = given("From another start")
    assert second.apart > 0.1
    assert (second.answer > 0.5) == (second.network_answer > 0.5)

    bad, said, weights = given("A map to believe")
    assert weights["bad"] == pytest.approx(0.8, abs=0.02)
    assert max(said, key=lambda word: abs(said[word])) == "bad"
    bad.weights = [1] * 8
    assert abs(bad.answer - bad.network_answer) > 0.1

    split, said, _ = given("Words that disagree")
    assert [word for word, value in said.items() if value > 0] == ["and", "considerable"]
    assert len(said) == 9
    assert split.network_answer < 0.5
    split.weights = [1 if word == "considerable" else 0 for word in split.words]
    assert split.answer > 0.5


# --------------------------------------------------------------------------------------------- the page's arithmetic


def test_page_computes_what_attnlib_does():
    g = random.Random(0)
    cases = []
    for n in [2, 3, 5, 7, 11] * 8:
        weights = [g.random() ** 3 for _ in range(n)]
        cases.append({"weights": [w / sum(weights) for w in weights], "values": [g.gauss(0.3, 2) for _ in range(n)]})
    cases.append({"weights": [0.25] * 4, "values": [0.0] * 4})
    done = arithmetic("explanation")(
        "(cases) => cases.map(({weights, values}) => { const other = math.farthest(weights, values, 0.01);"
        " return { other, answer: math.answer(weights, values), apart: math.divergence(weights, other),"
        " shifted: math.shifted(weights), moved: math.moved(weights, 1, 0.4) }; })",
        cases,
    )
    for case, page in zip(cases, done, strict=True):
        weights, values = (torch.tensor(case[name], dtype=torch.float64) for name in ("weights", "values"))
        answer = (weights @ values).sigmoid()
        low, high = ((answer + side).clamp(1e-6, 1 - 1e-6).logit() for side in (-0.01, 0.01))
        other = adversarial(weights, values, low, high)
        assert page["answer"] == pytest.approx(answer.item(), abs=1e-6)
        assert page["apart"] == pytest.approx(other.divergence.item(), abs=1e-6)
        assert page["other"] == pytest.approx(other.weights.tolist(), abs=1e-6)
        assert page["shifted"] == weights.roll(1).tolist()
        assert sum(page["moved"]) == pytest.approx(1)
        assert page["moved"][1] == 0.4
        rest = [i for i in range(len(weights)) if i != 1]
        assert torch.allclose(
            torch.tensor(page["moved"])[rest] * (1 - weights[1]), 0.6 * weights.float()[rest], atol=1e-6
        )


def test_a_weight_that_has_all_leaves_the_rest_alike():
    assert arithmetic("explanation")("() => math.moved([0, 1, 0], 1, 0.5)") == [0.25, 0.5, 0.25]


# --------------------------------------------------------------------------------------------- what is drawn


def test_drawing_shows_both_answers_and_all_weights():
    widget = WeightsOnTrial(preset="The same answer")
    view = draw(widget)[0]
    told = [text(each) for each in found(view, "attnlib-trial-verdict")]
    assert share(widget.network_answer) in told[0]
    assert share(widget.answer) in told[1]
    assert [row[0] for row in rows(view)] == widget.words
    assert [row[2] for row in rows(view)] == [share(weight) for weight in widget.shares]
    assert "No weights at all could turn the decision" in text(view)
    assert "No weights at all" not in text(draw(WeightsOnTrial(preset="Words that disagree"))[0])


@pytest.mark.browser
def test_dragging_a_weight_moves_the_answer(show):
    page = show(WeightsOnTrial(preset="Words that disagree"))
    answers = page.locator(".attnlib-trial-verdict strong")
    before = answers.nth(1).inner_text()
    assert before == answers.nth(0).inner_text()
    grip = page.get_by_label("7: considerable")
    grip.focus()
    page.keyboard.press("End")
    frame(page)
    widget = WeightsOnTrial(preset="Words that disagree")
    widget.weights = [0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert answers.nth(1).inner_text() == share(widget.answer) != before
    page.get_by_role("button", name="Farthest, same answer").click()
    frame(page)
    assert abs(float(answers.nth(1).inner_text()) - float(before)) <= 0.0101
    page.get_by_role("button", name="The network's", exact=True).click()
    frame(page)
    assert answers.nth(1).inner_text() == before


@pytest.mark.browser
def test_the_farthest_weights_follow_what_is_allowed_and_own_ones_stay(show):
    page = show(WeightsOnTrial(preset="Words that disagree"))
    answers = page.locator(".attnlib-trial-verdict strong")
    leeway = page.get_by_label("Farthest: the answer may move by")

    def moved(key):
        before = answers.nth(1).inner_text()
        leeway.press(key)
        frame(page)
        return answers.nth(1).inner_text() != before

    assert not moved("End")  # the network's own
    assert not moved("Home")
    page.get_by_role("button", name="Farthest, same answer").click()
    frame(page)
    assert moved("End")
    far = abs(float(answers.nth(1).inner_text()) - float(answers.nth(0).inner_text()))
    assert 0.011 < far <= 0.2005  # further than a hundredth allows
