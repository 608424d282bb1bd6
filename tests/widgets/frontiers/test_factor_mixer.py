"""FactorMixer: its arithmetic, what its presets promise, and its page. test_widgets*.py has the rest."""

import random

import pytest
from browser import frame
from drawn import arithmetic, draw, found, rows, text

from attnlib.widgets import FactorMixer
from attnlib.widgets.text import number, share
from attnlib.widgets.traits import StateError


def mixer(preset, **state):
    widget = FactorMixer(preset=preset)
    widget.update(**state)
    return widget


def row(widget):
    """The weights of the row by word; of a word that stands twice, that of its second place."""
    return dict(zip(widget.words, widget.weights[widget.row], strict=True))


def best(widget):
    return [widget.words[each.index(max(each))] for each in widget.weights]


def test_preset_word_and_word():
    looks = row(mixer("Word and word"))
    assert looks["dog"] == pytest.approx(looks["cat"])
    assert looks["dog"] > 0.45


def test_preset_word_and_place():
    looks = row(mixer("Word and place"))
    assert looks["dog"] > 0.7 > 0.2 > looks["chased"] > 3 * looks["cat"]
    other = mixer("Word and place", kinds=[0, 1, 0, 3, 0, 1, 2])  # an article in place of the noun
    assert other.weights[1] == pytest.approx(mixer("Word and place").weights[1])


def test_preset_e1_and_e2():
    widget = mixer("E1 and E2")
    assert row(widget)["dog"] > 0.9
    assert best(widget) == ["dog", "dog", "old", "dog", "cat", "cat", "small"]


def test_preset_the_key_alone():
    widget = mixer("The key alone")
    assert all(each == widget.weights[0] for each in widget.weights)
    looks = row(widget)
    assert looks["dog"] == looks["chased"] == looks["cat"] > 40 * max(looks["old"], looks["the"])
    swapped = mixer("The key alone", words=list("gfedcba"), kinds=widget.kinds[::-1])
    assert swapped.weights[0] == pytest.approx(widget.weights[0][::-1])  # wherever they stand


def test_preset_place_alone():
    widget = mixer("Place alone")
    assert best(widget)[1:] == widget.words[:-1]
    assert widget.weights[0] == pytest.approx([1 / 7] * 7)  # nothing stands before the first
    assert mixer("Place alone", kinds=[3, 2, 1, 0, 0, 0, 0]).weights == widget.weights
    energies = widget.energies[3]
    assert all(energies[i][j] == energies[i + 1][j + 1] for i in range(6) for j in range(6))
    assert widget.weights[1][0] != pytest.approx(widget.weights[2][1])  # a row has its own neighbours to share with


def test_preset_no_query_at_all():
    widget = mixer("No query at all")
    looks = row(widget)
    assert looks["chased"] == max(looks.values()) > 0.5
    assert best(widget)[3:] == ["dog", "chased", "chased", "chased"]
    assert mixer("No query at all", row=2).weights[2][2] == max(widget.weights[2])  # “dog” looks at itself, too
    anyone = mixer("No query at all", wants=[[1.0] * 6] * 4)
    assert anyone.weights == widget.weights


def test_preset_nothing():
    assert mixer("Nothing").weights == [pytest.approx([1 / 7] * 7)] * 7


@pytest.mark.parametrize("terms", [[2, 1], [1, 1]])
def test_terms_are_distinct_and_in_order(terms):
    with pytest.raises(StateError, match="distinct and in order"):
        FactorMixer(terms=terms)


def test_arithmetic_is_that_of_attnlib(record_property):
    rng, cases, widgets = random.Random(0), [], []
    for _ in range(100):
        n = rng.randint(1, 10)
        state = {
            "kinds": [rng.randrange(4) for _ in range(n)],
            "wants": [[rng.uniform(0, 6) for _ in range(6)] for _ in range(4)],
            "salience": [rng.uniform(0, 6) for _ in range(4)],
            "leans": [rng.uniform(0, 6) for _ in range(2)],
        }
        terms = sorted(rng.sample([1, 2, 3, 4], rng.randint(0, 4)))
        cases.append((state, terms))
        widgets.append(FactorMixer(words=["w"] * n, terms=terms, row=0, **state))
    both = "(energies, terms) => [math.mixed(energies, terms), ...energies]"
    call = f"(cases) => cases.map(([state, terms]) => ({both})(math.factorEnergies(state), terms))"
    made = arithmetic("factors")(call, cases)
    gap = 0.0
    for widget, page in zip(widgets, made, strict=True):
        for ours, theirs in zip([widget.weights, *widget.energies], page, strict=True):
            pairs = [pair for both in zip(ours, theirs, strict=True) for pair in zip(*both, strict=True)]
            gap = max(gap, *(abs(a - b) for a, b in pairs))
    record_property("measured", f"{gap:.1e} largest gap to attnlib  four factors")
    assert gap < 1e-6


def test_page_shows_the_numbers_of_attnlib():
    widgets = [mixer(each["name"]) for each in FactorMixer().presets]
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        shown = rows(view)
        assert [each[1] for each in shown] == [share(weight) for weight in widget.weights[widget.row]]
        for term in (1, 2, 3, 4):
            energies = [number(energy, 1) for energy in widget.energies[term - 1][widget.row]]
            wanted = energies if term in widget.terms else [f"({energy})" for energy in energies]
            assert [each[term + 1] for each in shown] == wanted


def test_the_line_says_what_the_terms_make_of_the_map():
    wanted = {
        (): "every word has the same weight",
        (1,): "words of one kind have the same weight",
        (3,): "all rows are equal",
        (4,): "no word matters. A swap leaves the map as it is; the row goes with its word",
        (3, 4): "No query's content",
        (1, 3): "words of one kind have the same weight",
        (1, 2): "",
    }
    widgets = [FactorMixer(preset="E1 and E2") for _ in wanted]
    for widget, terms in zip(widgets, wanted, strict=True):
        widget.update(terms=list(terms))
    for (terms, law), view in zip(wanted.items(), draw(*widgets), strict=True):
        line = text(found(view, "attnlib-caption")[0])
        assert law in line if law else line.endswith("0.973."), terms


@pytest.mark.browser
def test_terms_are_switched_and_words_swapped(show):
    page = show(FactorMixer())
    cells = lambda: [cell.strip() for cell in page.locator("tbody td:nth-child(2)").all_inner_texts()]  # noqa: E731
    page.get_by_label("E2 word and place").check()
    frame(page)
    assert cells() == [share(weight) for weight in mixer("E1 and E2").weights[1]]
    page.get_by_role("button", name="Swap “\u2068old\u2069” with").click()
    frame(page)
    words, kinds = ["the", "dog", "old", "chased", "the", "small", "cat"], [0, 2, 1, 3, 0, 1, 2]
    wanted = FactorMixer(words=words, kinds=kinds, terms=[1, 2], row=2)
    assert cells() == [share(weight) for weight in wanted.weights[2]]
    assert best(wanted)[2] == "cat"  # “dog” is no longer behind it
