"""AlignmentExplorer: what it takes and refuses, its outputs, its arithmetic in the page, and its page in Greek and
Hebrew. test_widgets*.py has the rest."""

import math
import random
import re
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

import pytest
import torch
from browser import frame
from drawn import arithmetic

from attnlib.alignment import alignment_error_rate, links_of
from attnlib.widgets import AlignmentExplorer
from attnlib.widgets.recurrent.alignment_explorer import PRESETS, SENTENCES, direction


class Sentence(NamedTuple):
    key: str
    title: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    links: frozenset[tuple[int, int]]
    weights: dict[str, torch.Tensor]


def sentence(n_target=2, n_source=3, names=("one", "two"), seed=0, links=((0, 0), (1, 2)), title="a pair"):
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(n_target, n_source, generator=generator, dtype=torch.float64).mul(2).softmax(-1)
        for name in names
    }
    source, target = (tuple(f"{side}{i}" for i in range(n)) for side, n in (("s", n_source), ("t", n_target)))
    return Sentence("key", title, source, target, frozenset(links), weights)


def plain(**changed):
    return {**sentence()._asdict(), **changed}


# ---------------------------------------------------------------------------------------------------- what it takes


def test_sentences_become_plain_and_small():
    given = sentence()
    explorer = AlignmentExplorer([given], word=1)
    (kept,) = explorer.sentences
    assert kept["links"] == [[0, 0], [1, 2]]
    assert (kept["source"], kept["target"]) == (list(given.source), list(given.target))
    rows = torch.tensor(kept["weights"]["two"], dtype=torch.float64)
    assert (rows - given.weights["two"]).abs().max() <= 5e-5
    assert all(round(weight, 4) == weight for row in kept["weights"]["two"] for weight in row)
    assert explorer.aligner == "one"
    assert explorer.presets == []
    assert explorer.weights == kept["weights"]["one"][1]


def test_a_long_sentence_that_was_kept_is_taken_again():
    """Rounding adds up, and the state that a page holds must come back."""
    explorer = AlignmentExplorer([sentence(1, 97, links=())])
    assert AlignmentExplorer(**explorer.state()).state() == explorer.state()


def test_a_row_may_leave_weight_to_what_is_no_word():
    rows = [[0.25, 0.25, 0.0], [0.0, 0.0, 0.0]]
    explorer = AlignmentExplorer([plain(weights={"cut": rows})])
    assert explorer.links == [[0, 0]]
    assert (explorer.precision, explorer.recall) == (1.0, 0.5)
    assert explorer.error == pytest.approx(1 - 2 / 3)


GOOD = torch.full((2, 3), 1 / 3)
BAD = [
    ([], "sentences must be a list of at least one sentence pair"),
    ("a b", "sentences must be a list"),
    ([7], r"sentences\[0\] must be \{key, title"),
    ([{"key": "a"}], r"sentences\[0\] must be \{key, title"),
    ([{**plain(), "colour": "red"}], r"sentences\[0\] must be"),
    ([plain(title=3)], r"sentences\[0\].title must be a text; got 3"),
    ([plain(), plain(source=[])], r"sentences\[1\].source must be a list of at least one word"),
    ([plain(target="ab")], r"sentences\[0\].target must be a list"),
    ([plain(target=["a", ""])], r"sentences\[0\].target must be a list"),
    ([plain(links=[(2, 0)])], r"sentences\[0\].links must be pairs \(target position below 2, .*got \(2, 0\)"),
    ([plain(links=[(0, 3)])], r"links must be .*source position below 3\); got \(0, 3\)"),
    ([plain(links=[(0, -1)])], "links must be"),
    ([plain(links=[(0.0, 1)])], "links must be"),
    ([plain(links=[(0, 1, 2)])], "links must be"),
    ([plain(links=7)], "links must be"),
    ([plain(weights={})], r"sentences\[0\].weights must be matrices by name, one at least"),
    ([plain(weights=GOOD)], r"sentences\[0\].weights must be matrices by name"),
    ([plain(weights={"a": GOOD.mT})], r"sentences\[0\].weights\['a'\] must be .*shape \(2, 3\).*got shape \(3, 2\)"),
    ([plain(weights={"a": [[1.0], [0.5, 0.5]]})], r"weights\['a'\] must be finite numbers"),
    ([plain(weights={"a": GOOD * math.nan})], r"weights\['a'\] must be finite numbers"),
    ([plain(weights={"a": GOOD * 1.1})], "sum to at most 1 a row; got row 0, which sums to 1.1"),
    ([plain(weights={"a": [[1, 0, 0], [1.5, -0.5, 0]]})], "weights from 0 up .*got row 1"),
    ([plain(), plain(weights={"one": GOOD})], r"sentences\[1\].weights must be matrices named one, two; got one"),
]


@pytest.mark.parametrize(("sentences", "message"), BAD)
def test_bad_sentences_are_refused(sentences, message):
    with pytest.raises(ValueError, match=message):
        AlignmentExplorer(sentences)
    explorer = AlignmentExplorer()
    before = explorer.state()
    with pytest.raises(ValueError, match=message):
        explorer.sentences = sentences
    assert explorer.state() == before


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"index": 3}, "index must be below 3, the length of sentences; got 3"),
        ({"index": -1}, "index must be a whole number"),
        ({"word": 12}, "word must be below 12; got 12"),
        ({"index": 2, "word": 7}, "word must be below 7; got 7"),
        ({"word": 0.5}, "word must be a whole number"),
        ({"aligner": "RNNsearch"}, "aligner must be one of made up, diagonal, uniform; got 'RNNsearch'"),
        ({"every_link": 1}, "every_link must be True or False"),
    ],
)
def test_bad_state_is_refused_and_changes_nothing(state, message):
    with pytest.raises(ValueError, match=message):
        AlignmentExplorer(**state)
    explorer = AlignmentExplorer()
    before = explorer.state(), explorer.weights
    with pytest.raises(ValueError, match=message):
        explorer.update(**state)
    assert (explorer.state(), explorer.weights) == before


def test_direction():
    assert [direction(words.split()) for words in ("λόγος", "( ברא )", "1 سلام", "in ברא", "12", "")] == [
        *("ltr", "rtl", "rtl", "ltr", "ltr", "ltr")
    ]


# ------------------------------------------------------------------------------------------------------------ outputs


def test_outputs_are_those_of_attnlib():
    given = [sentence(5, 7, seed=1, links=[(0, 2), (3, 6), (3, 5)]), sentence(3, 2, seed=2, links=())]
    explorer = AlignmentExplorer(given)
    for index, aligner in ((0, "one"), (0, "two"), (1, "two")):
        explorer.update(index=index, aligner=aligner)
        found = links_of(torch.tensor(explorer.sentences[index]["weights"][aligner]))
        wanted = alignment_error_rate(found, set(given[index].links))
        assert (explorer.error, explorer.precision, explorer.recall) == wanted[:3]
        assert {tuple(link) for link in explorer.links} == found


def test_choices_can_be_observed_and_a_word_follows_its_sentence():
    explorer = AlignmentExplorer(index=0, word=11)
    seen = []
    explorer.observe(lambda change: seen.append((change["name"], change["new"])), ["index", "word", "aligner"])
    explorer.index = 1
    explorer.update(word=2, aligner="diagonal")
    assert sorted(seen[:2]) == [("index", 1), ("word", 0)]
    assert seen[2:] == [("word", 2), ("aligner", "diagonal")]
    explorer.index = 2
    assert explorer.word == 2
    assert explorer.weights == explorer.sentences[2]["weights"]["diagonal"][2]


def test_summary_tells_words_apart_by_direction():
    text = AlignmentExplorer(index=1, word=3).summary()
    assert "“God” looks at \u2068אלהים\u2069 0." in text
    assert "people link it to \u2068אלהים\u2069;" in text


# ---------------------------------------------------------------------------------------- what the presets say, is so


def chosen(preset):
    explorer = AlignmentExplorer(preset=preset)
    own = explorer.sentences[explorer.index]
    return explorer, own, {t: [s for u, s in own["links"] if u == t] for t in range(len(own["target"]))}


def test_preset_a_word_that_nobody_linked():
    explorer, own, linked = chosen("A word that nobody linked")
    assert own["target"][explorer.word] == "the"
    assert linked[explorer.word] == []
    assert explorer.precision < explorer.recall


def test_preset_right_to_left():
    explorer, own, linked = chosen("Right to left")
    subject, verb = explorer.word, own["target"].index("created")
    assert verb == subject + 1
    assert linked[verb] < linked[subject]


def test_preset_two_words_for_one():
    explorer, own, linked = chosen("Two words for one")
    assert [own["source"][s] for s in linked[explorer.word]] == ["se", "dresse"]
    assert explorer.links[explorer.word][1] in linked[explorer.word]


def test_preset_how_far_the_diagonal_comes():
    explorer, own, linked = chosen("How far the diagonal comes")
    wrong = [t for t, s in explorer.links if s not in linked[t]]
    assert own["target"][wrong[0]] == "red"


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("every_link", [False, True])
def test_picture_is_drawn_for_every_state(index, every_link):
    own = SENTENCES[index]
    for word in range(len(own["target"])):
        explorer = AlignmentExplorer(index=index, word=word, every_link=every_link)
        text = explorer.picture().svg()
        assert not re.search("nan|inf", text)
        assert text.count("<circle") == 2 * len([1 for t, _ in own["links"] if every_link or t == word])
        assert all(name in text for name in own["source"] + own["target"])


# --------------------------------------------------------------------------------------------------------- arithmetic


def test_arithmetic_is_that_of_attnlib(record_property):
    """A thousand sentences: ties, rows of zeros, no links, possible links."""
    rng = random.Random(0)
    cases = []
    for _ in range(1000):
        rows, columns = rng.randint(1, 9), rng.randint(1, 9)
        digits = rng.choice([1, 4])
        matrix = [
            [0.0 if rng.random() < 0.2 else round(rng.random(), digits) for _ in range(columns)] for _ in range(rows)
        ]
        people = [
            [(rng.randrange(rows), rng.randrange(columns)) for _ in range(rng.choice([0, 1, 5]))] for _ in range(2)
        ]
        cases.append((matrix, *people))
    found = arithmetic("alignment")(
        """(cases) => cases.map(([matrix, sure, possible]) => {
            const links = math.linksOf(matrix);
            return [links, ...[[], possible].map((more) => math.alignmentError(links, sure, more))];
        })""",
        cases,
    )
    gap = 0.0
    for (matrix, sure, possible), (links, *scores) in zip(cases, found, strict=True):
        wanted = links_of(torch.tensor(matrix, dtype=torch.float64))
        assert {tuple(link) for link in links} == wanted
        for score, more in zip(scores, (set(), set(possible)), strict=True):
            expected = alignment_error_rate(wanted, set(sure), more)
            gap = max(gap, *(abs(score[name] - getattr(expected, name)) for name in ("error", "precision", "recall")))
            assert score["agreed"] == expected.n_sure
    record_property("measured", f"{gap:.1e} largest gap to attnlib  alignment")
    assert gap < 1e-6


# --------------------------------------------------------------------------------------------------------------- page


def source_values(page):
    return page.locator(".attnlib-align-value").all_inner_texts()


def told(weight):
    """As the page rounds, which rounds a half up."""
    return "0" if weight < 0.005 else str(Decimal(weight).quantize(Decimal("0.01"), ROUND_HALF_UP))


def word_of(page):
    return int(page.locator("[role=option][aria-selected=true]").get_attribute("data-word"))


@pytest.mark.browser
@pytest.mark.parametrize("preset", [item["name"] for item in PRESETS])
def test_page_shows_the_numbers_of_attnlib(show, preset):
    page = show(AlignmentExplorer())
    page.get_by_label("Start from").select_option(preset)
    frame(page)
    explorer, own, linked = chosen(preset)
    rows = {}
    for aligner in own["weights"]:
        other = AlignmentExplorer(index=explorer.index, word=explorer.word, aligner=aligner)
        agreed = sum(s in linked[t] for t, s in other.links)
        numbers = [f"{x:.3f}" for x in (other.precision, other.recall, other.error)]
        rows[aligner] = [f"{agreed} of {len(other.links)}", *numbers]
        page.get_by_label("Aligner", exact=True).select_option(aligner)
        frame(page)
        assert source_values(page) == [told(weight) for weight in other.weights]
        best = page.locator("[data-best] .attnlib-align-text").all_inner_texts()
        assert best == [own["source"][s] for t, s in other.links if t == explorer.word]
        framed = page.locator("[data-linked] .attnlib-align-text").all_inner_texts()
        assert framed == [own["source"][s] for s in linked[explorer.word]]
    table = page.locator(".attnlib-align-scores tbody tr").all()
    shown = {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in table}
    assert shown == rows


@pytest.mark.browser
def test_words_by_keyboard(show):
    page = show(AlignmentExplorer(index=2, word=1))
    page.get_by_role("listbox", name="Target words").focus()
    for key, wanted in (
        ("ArrowRight", 2),
        ("ArrowDown", 3),
        ("ArrowLeft", 2),
        ("ArrowUp", 1),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("End", 6),
        ("ArrowRight", 6),
    ):
        page.keyboard.press(key)
        frame(page)
        assert word_of(page) == wanted
    focused = page.evaluate(
        "document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).textContent"
    )
    assert focused == "hill"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    frame(page)
    assert word_of(page) == 4


@pytest.mark.browser
def test_arrow_keys_follow_a_target_from_right_to_left(show):
    own = {**SENTENCES[1], "source": SENTENCES[1]["target"], "target": SENTENCES[1]["source"]}
    own["links"] = [[s, t] for t, s in own["links"]]
    own["weights"] = {"flat": [[0.1] * 10] * 7}
    page = show(AlignmentExplorer([own]))
    page.get_by_role("listbox").focus()
    page.keyboard.press("ArrowLeft")
    frame(page)
    assert word_of(page) == 1
    page.keyboard.press("ArrowRight")
    frame(page)
    assert word_of(page) == 0


@pytest.mark.browser
def test_words_by_mouse_and_touch_and_the_map(new_context, show):
    page = show(AlignmentExplorer(index=2, word=0))
    page.get_by_role("option", name="stands").hover()
    frame(page)
    assert word_of(page) == 3
    box = page.locator(".attnlib-align-frame rect").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] * 5.5 / 7)
    frame(page)
    assert word_of(page) == 5
    context = new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    touched = context.new_page()
    touched.set_content(f'<html lang="en"><body><main>{AlignmentExplorer(index=2)._repr_html_()}</main></body></html>')
    touched.get_by_role("option", name="house", exact=True).tap()
    frame(touched)
    assert word_of(touched) == 2


@pytest.mark.browser
def test_another_sentence_begins_at_its_first_word(show):
    page = show(AlignmentExplorer(index=1, word=9))
    page.get_by_label("Sentence", exact=True).select_option(label="Greek: in the beginning")
    frame(page)
    assert word_of(page) == 0
    assert page.locator("[role=alert]:visible").count() == 0
    assert page.get_by_label("Target word", exact=True).get_attribute("max") == "12"


LINES = """() => {
    const at = (path) => { const box = path.getBoundingClientRect(); return [box.left, box.right]; };
    const middle = (node) => { const box = node.getBoundingClientRect(); return (box.left + box.right) / 2; };
    return [at(document.querySelector(".attnlib-align-people")), middle(document.querySelector("[aria-selected=true]")),
        [...document.querySelectorAll("[data-linked]")].map(middle)];
}"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_lines_run_from_the_word_to_what_people_linked(show, width):
    """Also after the window has become another one."""
    page = show(AlignmentExplorer(index=1, word=3))
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(100)
    for word, name in ((3, "God"), (4, "created"), (9, "earth")):
        page.get_by_role("option", name=name, exact=True).click()
        frame(page)
        assert word_of(page) == word
        line, start, ends = page.evaluate(LINES)
        assert sorted([start, *ends]) == pytest.approx(line, abs=0.6)
    page.get_by_label("People's links of all words").uncheck()
    frame(page)
    assert page.locator(".attnlib-align-others").get_attribute("d") == ""
    assert page.locator(".attnlib-align-people").get_attribute("d").count("M") == 1


@pytest.mark.browser
def test_right_to_left_and_greek_are_set_as_they_are_written(show):
    page = show(AlignmentExplorer(index=1, word=0))
    words = page.locator(".attnlib-align-source")
    assert (words.get_attribute("dir"), words.get_attribute("lang")) == ("rtl", "he")
    places = words.locator("li").evaluate_all("(items) => items.map((item) => item.getBoundingClientRect().left)")
    assert places == sorted(places, reverse=True)
    columns = page.locator(".attnlib-align-columns text").evaluate_all(
        "(items) => items.map((item) => item.getBoundingClientRect().left)"
    )
    assert columns[0] > columns[-1]
    targets = page.get_by_role("option").evaluate_all(
        "(items) => items.map((item) => item.getBoundingClientRect().left)"
    )
    assert targets == sorted(targets)
    page.get_by_label("Sentence", exact=True).select_option(label="Greek: in the beginning")
    frame(page)
    assert (words.get_attribute("dir"), words.get_attribute("lang")) == ("ltr", "grc")
    places = words.locator("li").evaluate_all("(items) => items.map((item) => item.getBoundingClientRect().left)")
    assert places == sorted(places)


@pytest.mark.browser
def test_every_letter_of_polytonic_greek_has_a_glyph(show):
    """One font for each word, and none of the boxes that stand for a letter that no font has."""
    letters = [chr(code) for code in range(0x1F00, 0x2000) if chr(code).isalpha()]
    rows = ["".join(letters[i : i + 10]) for i in range(0, len(letters), 10)]
    own = {**plain(source=rows, target=["word"], links=[], weights={"a": [[1 / len(rows)] * len(rows)]})}
    page = show(AlignmentExplorer([{**own, "source_language": "grc"}]))
    client = page.context.new_cdp_session(page)
    client.send("DOM.enable")
    client.send("CSS.enable")
    root = client.send("DOM.getDocument")["root"]["nodeId"]
    nodes = client.send("DOM.querySelectorAll", {"nodeId": root, "selector": ".attnlib-align-text"})["nodeIds"]
    assert len(nodes) == len(rows)
    for node in nodes:
        fonts = client.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        (family,) = {font["familyName"] for font in fonts}
        assert "LastResort" not in family


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_long_sentence_stays_in_the_page(show, width, record_property):
    links = [(t, (t * 7) % 40) for t in range(40)]
    page = show(AlignmentExplorer([sentence(40, 40, links=links), sentence(3, 3)]))
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.evaluate(
        """() => [".attnlib-align-word", ".attnlib-align-cells", ".attnlib-align-links path"]
            .flatMap((name) => [...document.querySelectorAll(name)]).map((node) => node.getBoundingClientRect())"""
    )
    assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
    rows = page.get_by_role("option").evaluate_all("(items) => new Set(items.map((item) => item.offsetTop)).size")
    assert rows > 1
    began = page.evaluate("performance.now()")
    page.get_by_role("listbox").focus()
    for _ in range(39):
        page.keyboard.press("ArrowRight")
        frame(page)
    record_property("measured", f"{(page.evaluate('performance.now()') - began) / 39:.1f} ms a step of 40 words")
    assert word_of(page) == 39


@pytest.mark.browser
def test_words_are_text_and_not_markup(show):
    name = '</script><img src="x" onerror="alert(1)">'
    page = show(AlignmentExplorer([plain(source=[name, "b", "c"], title=name)]))
    assert page.locator(".attnlib-align-text").first.inner_text() == name
    assert page.locator(".attnlib-view img").count() == 0
