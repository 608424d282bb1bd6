"""AlignmentExplorer: what its presets promise, and its page in Greek and Hebrew. test_maps.py has what it does as one
of Maps, test_widgets*.py the rest."""

import pytest
from browser import frame, resize
from drawn import draw, found

from attnlib.widgets import AlignmentExplorer
from attnlib.widgets.maps import sentence
from attnlib.widgets.recurrent.alignment_explorer import SENTENCES


def test_a_row_may_leave_weight_to_what_is_no_word_and_not_exceed_it():
    rows = [[0.25, 0.25, 0.0], [0.0, 0.0, 0.0]]
    explorer = AlignmentExplorer(sentence("t0 t1", "s0 s1 s2", {"cut": rows}, links=[(0, 0), (1, 2)]))
    assert (explorer.links, explorer.precision, explorer.recall) == ([[0, 0]], 1.0, 0.5)
    assert explorer.error == pytest.approx(1 - 2 / 3)
    with pytest.raises(ValueError, match=r"a row of cut must sum to at most 1; one sums to 1\.1"):
        AlignmentExplorer(sentence("t0", "s0 s1", {"cut": [[0.6, 0.5]]}))


def test_a_long_sentence_that_was_kept_is_taken_again():
    """Rounding adds up, and the state that a page holds must come back."""
    words = [f"w{i}" for i in range(97)]
    explorer = AlignmentExplorer(sentence("t", words, {"flat": [[1 / 97] * 97]}))
    assert AlignmentExplorer(**explorer.state()).state() == explorer.state()


def test_summary_tells_words_apart_by_direction():
    text = AlignmentExplorer(index=1, row=3).summary()
    assert "“God” looks at \u2068אלהים\u2069 0." in text
    assert "people link it to \u2068אלהים\u2069;" in text


# ---------------------------------------------------------------------------------------- what the presets say, is so


def chosen(preset):
    explorer = AlignmentExplorer(preset=preset)
    own = explorer.sentences[explorer.index]
    return explorer, own, {t: [s for u, s in own["links"] if u == t] for t in range(len(own["rows"]))}


def test_preset_a_word_that_nobody_linked():
    explorer, own, linked = chosen("A word that nobody linked")
    assert own["rows"][explorer.row] == "the"
    assert linked[explorer.row] == []
    assert explorer.precision < explorer.recall


def test_preset_right_to_left():
    explorer, own, linked = chosen("Right to left")
    subject, verb = explorer.row, own["rows"].index("created")
    assert verb == subject + 1
    assert linked[verb] < linked[subject]


def test_preset_two_words_for_one():
    explorer, own, linked = chosen("Two words for one")
    assert [own["columns"][s] for s in linked[explorer.row]] == ["se", "dresse"]
    assert explorer.links[explorer.row][1] in linked[explorer.row]


def test_preset_how_far_the_diagonal_comes():
    explorer, own, linked = chosen("How far the diagonal comes")
    wrong = [t for t, s in explorer.links if s not in linked[t]]
    assert own["rows"][wrong[0]] == "red"


# --------------------------------------------------------------------------------------------------------------- page


def test_right_to_left_and_greek_are_set_as_they_are_written():
    for view, language, direction in zip(draw(AlignmentExplorer(index=0), AlignmentExplorer(index=1)), ("grc", "he"),
                                         ("ltr", "rtl"), strict=True):  # fmt: skip
        (words,) = found(view, "attnlib-maps-columns")
        assert (words.get("lang"), words.get("dir")) == (language, direction)
        names = found(view, "attnlib-maps-column-names")[0]
        places = [float(name.get("transform").split("(")[1].split(" ")[0]) for name in names]
        assert places == sorted(places, reverse=direction == "rtl")


def row_of(page):
    return int(page.locator("[role=option][aria-selected=true]").get_attribute("data-row"))


@pytest.mark.browser
def test_arrow_keys_follow_what_runs_from_right_to_left(show):
    own = SENTENCES[1]
    weights = {"flat": [[0.1] * 10] * 7}
    page = show(AlignmentExplorer(sentence(own["columns"], own["rows"], weights, row_language="he")))
    page.get_by_role("listbox").focus()
    for key, row in (("ArrowLeft", 1), ("ArrowRight", 0)):
        page.keyboard.press(key)
        frame(page)
        assert row_of(page) == row
    page = show(AlignmentExplorer(index=1, row=3))
    page.locator(".attnlib-maps-map").first.focus()
    page.keyboard.press("ArrowLeft")
    assert own["columns"][3] in page.locator(".attnlib-maps-map").first.get_attribute("aria-valuetext")


LINES = """() => {
    const at = (path) => { const box = path.getBoundingClientRect(); return [box.left, box.right]; };
    const middle = (node) => { const box = node.getBoundingClientRect(); return (box.left + box.right) / 2; };
    return [at(document.querySelector(".attnlib-maps-people")), middle(document.querySelector("[aria-selected=true]")),
        [...document.querySelectorAll("[data-linked]")].map(middle)];
}"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_lines_run_from_the_word_to_what_people_linked(show, width):
    """Also after the window has become another one."""
    page = show(AlignmentExplorer(index=1, row=3))
    resize(page, width)
    for row, name in ((3, "God"), (4, "created"), (9, "earth")):
        page.get_by_role("option", name=name, exact=True).click()
        frame(page)
        assert row_of(page) == row
        line, start, ends = page.evaluate(LINES)
        assert sorted([start, *ends]) == pytest.approx(line, abs=0.6)
    page.get_by_label("People's links of all rows").uncheck()
    frame(page)
    assert page.locator(".attnlib-maps-others").get_attribute("d") == ""
    assert page.locator(".attnlib-maps-people").get_attribute("d").count("M") == 1


@pytest.mark.browser
def test_every_letter_of_polytonic_greek_has_a_glyph(show):
    """One font for each word, and none of the boxes that stand for a letter that no font has."""
    letters = [chr(code) for code in range(0x1F00, 0x2000) if chr(code).isalpha()]
    words = ["".join(letters[i : i + 10]) for i in range(0, len(letters), 10)]
    weights = {"a": [[1 / len(words)] * len(words)]}
    page = show(AlignmentExplorer(sentence("word", words, weights, column_language="grc")))
    client = page.context.new_cdp_session(page)
    client.send("DOM.enable")
    client.send("CSS.enable")
    root = client.send("DOM.getDocument")["root"]["nodeId"]
    nodes = client.send("DOM.querySelectorAll", {"nodeId": root, "selector": ".attnlib-maps-text"})["nodeIds"]
    assert len(nodes) == len(words)
    for node in nodes:
        fonts = client.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        (family,) = {font["familyName"] for font in fonts}
        assert "LastResort" not in family
