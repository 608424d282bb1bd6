"""YouAreTheModel: its arithmetic, what its presets promise, and its page. test_widgets*.py has the rest."""

import json
import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.frontiers.selection import top
from attnlib.frontiers.similarity import adjusted, auc, cross_sentiment, lexical
from attnlib.widgets import YouAreTheModel
from attnlib.widgets.frontiers.you_are_the_model import DRAWS, STORE, drawn
from attnlib.widgets.text import number

TEXTS = json.loads(STORE.read_text(encoding="utf-8"))["texts"]


def told(value):
    return "–" if value is None else number(value)


def close(page, value):
    return page == pytest.approx(float(value), abs=1e-6, nan_ok=True)


def test_arithmetic_is_that_of_attnlib():
    rng, cases = random.Random(0), []
    for _ in range(120):
        n, m = rng.randint(1, 30), rng.randint(2, 6)
        chosen = [rng.random() < 0.4 for _ in range(n)]
        scores = [rng.choice([0.0, 0.5, rng.random()]) for _ in range(n)]
        kinds, polarity = ([rng.randrange(low, high) for _ in range(n)] for low, high in ((0, m), (-1, 2)))
        cases.append([chosen, scores, kinds, m, polarity, rng.choice([-1, 1])])
    made = arithmetic("similarity")(
        """(cases) => cases.map(([chosen, scores, kinds, m, polarity, sentiment]) => {
            const map = math.top(scores, chosen.filter(Boolean).length);
            const like = math.lexical(chosen, map, kinds, m);
            const chance = math.chance(chosen, kinds, m, math.drawn(chosen.length, 20));
            return { area: math.auc(chosen, scores), map, like, chance, above: math.adjusted(like, 0.3),
                     rate: math.crossSentiment(chosen, polarity, sentiment) };
        })""",
        cases,
    )
    for (chosen, scores, kinds, m, polarity, sentiment), page in zip(cases, made, strict=True):
        chosen, scores, kinds = torch.tensor(chosen), torch.tensor(scores, dtype=torch.float64), torch.tensor(kinds)
        map_ = top(scores, int(chosen.sum()))
        assert page["map"] == map_.tolist()
        assert close(page["area"], auc(chosen, scores))
        like = lexical(chosen, map_, kinds, m)
        assert close(page["like"], like)
        assert close(page["above"], adjusted(like, torch.tensor(0.3, dtype=torch.float64)))
        draws = top(torch.tensor(drawn(len(chosen), 20)).double(), int(chosen.sum()))
        assert close(page["chance"], torch.stack([lexical(chosen, each, kinds, m) for each in draws]).nanmean())
        rates = cross_sentiment(chosen, torch.tensor(polarity), torch.tensor(sentiment))
        assert close(page["rate"], rates.positive if sentiment > 0 else rates.negative)


def test_chance_is_the_mean_over_random_selections():
    widget = YouAreTheModel()
    words = TEXTS[widget.text]["words"]
    chosen = torch.zeros(len(words), dtype=torch.bool)
    chosen[widget.selected] = True
    draws = top(torch.tensor(drawn(len(words), DRAWS)).double(), len(widget.selected))
    kinds = torch.tensor(TEXTS[widget.text]["kinds"])
    wanted = torch.stack([lexical(chosen, each, kinds, 15) for each in draws]).mean().item()
    assert widget.chance == pytest.approx(wanted)


def test_random_selections_take_each_word_about_as_often():
    """A quarter of forty words in each of many draws: none far from a quarter."""
    often = top(torch.tensor(drawn(40, 2000)).double(), 10).double().mean(0)
    assert (often - 0.25).abs().max() < 0.05


def test_presets_are_true():
    answer = YouAreTheModel(preset="The words of the answer")
    areas = dict(zip(answer.names, answer.areas, strict=True))
    assert areas["model"] > 0.7
    assert areas["first person"] < 0.4
    assert abs(areas["second person"] - 0.5) < 0.06
    turn = YouAreTheModel(preset="Your turn")
    assert turn.selected == []
    assert turn.areas == [None] * 4
    longest = YouAreTheModel(preset="The longest words")
    areas = dict(zip(longest.names, longest.areas, strict=True))
    assert min(areas["first person"], areas["second person"], areas["model"]) > 0.6
    review = YouAreTheModel(preset="A review")
    assert review.rates[0] == 1
    polarity = TEXTS["Review"]["polarity"]
    review.selected = [i for i in review.selected if polarity[i] > 0]
    assert review.rates[0] == 0


def test_bad_state_is_refused():
    for bad in ([50], [3, 2], [1, 1]):
        with pytest.raises(ValueError, match="selected must be rising places below 50"):
            YouAreTheModel(text="Wolf", selected=bad)
    with pytest.raises(ValueError, match="shown must be a map of the text Review"):
        YouAreTheModel(text="Review", selected=[], shown="first person")


def test_page_shows_the_numbers_of_attnlib():
    widgets = [YouAreTheModel(preset=each["name"]) for each in YouAreTheModel().presets]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        lines = rows(view)
        if widget.shown == "nothing":
            assert lines == []
            continue
        own = [["–", "–", "–", told(widget.rates[0])]] if widget.rates else []
        rates = widget.rates[1:] if widget.rates else [None] * len(widget.names)
        table = zip(widget.areas, widget.similarities, widget.adjusted, rates, strict=True)
        assert [line[1:] for line in lines] == [*own, *([told(each) for each in row] for row in table)]
        pressed = [i for i, word in enumerate(found(view, "attnlib-yatm-word")) if word.get("aria-pressed") == "true"]
        assert pressed == widget.selected


def test_the_largest_of_a_map_are_framed():
    widget = YouAreTheModel(theirs=True)
    [view] = draw(widget)
    framed = [each.get("data-largest") is not None for each in found(view, "attnlib-yatm-word")]
    scores = TEXTS[widget.text]["maps"][widget.shown]
    assert framed == top(torch.tensor(scores), len(widget.selected)).tolist()


def test_what_is_not_defined_is_said():
    nothing, every = YouAreTheModel(preset="Your turn"), YouAreTheModel(text="Wolf", selected=[*range(50)])
    for view in draw(nothing, every):
        assert "AUC is not defined" in text(view)
    assert every.areas == [None] * 4
    [view] = draw(YouAreTheModel())
    assert "the text has no verdict" in text(view)
    review = TEXTS["Review"]
    [view] = draw(YouAreTheModel(text="Review", selected=[review["polarity"].index(0)], shown="model"))
    assert "you selected no word of its sign" in text(view)


@pytest.mark.browser
def test_words_are_selected_by_arrows_and_the_space_bar(show):
    page = show(YouAreTheModel(preset="Your turn"))
    words = page.locator(".attnlib-yatm-word")
    words.first.focus()
    for key in ("ArrowRight", "Space", "ArrowDown", "ArrowRight", "Space", "End", "Space", "Space"):
        page.keyboard.press(key)
        frame(page)
    pressed = [i for i in range(words.count()) if words.nth(i).get_attribute("aria-pressed") == "true"]
    assert pressed == [1, 3]
    assert words.last.evaluate("node => node === document.activeElement")
    page.get_by_label("Shade the words by").select_option("model")
    frame(page)
    wanted = YouAreTheModel(text="Minister", selected=[1, 3], shown="model")
    cells = page.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert [cell.strip() for cell in cells] == [told(area) for area in wanted.areas]
    page.get_by_role("button", name="Select nothing").click()
    frame(page)
    assert page.locator("[aria-pressed=true].attnlib-yatm-word").count() == 0
