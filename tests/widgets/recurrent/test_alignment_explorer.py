"""AlignmentExplorer: what its presets promise, and its page in Greek and Hebrew. test_maps.py has what it does as one
of Maps, test_widgets*.py the rest."""

import pytest
from browser import frame
from drawn import draw, found

from attnlib.widgets import AlignmentExplorer
from attnlib.widgets.maps import sentence


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


def test_summary_tells_words_apart_by_direction_and_what_they_mean():
    text = AlignmentExplorer(row=3).summary()
    assert "“God” looks at \u2068אלהים\u2069 (God) 1.000;" in text
    assert "people link it to \u2068אלהים\u2069 (God);" in text


# ---------------------------------------------------------------------------------------- what the presets say, is so


def chosen(preset):
    explorer = AlignmentExplorer(preset=preset)
    (own,) = explorer.sentences
    return explorer, own["rows"], dict(own["links"])


def test_preset_right_to_left():
    explorer, rows, linked = chosen("Right to left")
    subject, verb = explorer.row, rows.index("created")
    assert verb == subject + 1
    assert linked[verb] < linked[subject]


def test_preset_the_diagonal():
    explorer, rows, linked = chosen("The diagonal")
    missed = [t for t, s in explorer.links if linked[t] != s]
    assert rows[missed[0]] == "the"
    assert linked[missed[0]] == linked[missed[0] - 1]  # one Hebrew word for two and more of English


# --------------------------------------------------------------------------------------------------------------- page


def test_right_to_left_and_greek_are_set_as_they_are_written():
    greek = AlignmentExplorer(sentence("Jesus", "ἐδάκρυσεν ὁ Ἰησοῦς", {"one": [[0, 0, 1]]}, column_language="grc"))
    for view, language in zip(draw(greek, AlignmentExplorer()), ("grc", "he"), strict=True):
        heads = found(view, "attnlib-maps-looks")[0].findall("tbody/tr/th")
        names = found(view, "attnlib-maps-column-names")[0]
        assert {each.get("lang") for each in (*heads, *names)} == {language}
        places = [float(name.get("transform").split("(")[1].split(" ")[0]) for name in names]
        assert places == sorted(places, reverse=language == "he")


@pytest.mark.browser
def test_arrow_keys_follow_what_runs_from_right_to_left(show):
    page = show(AlignmentExplorer(row=3))
    first = page.locator(".attnlib-maps-map").first
    first.focus()
    for key, place in (("ArrowLeft", 3), ("Home", 0), ("ArrowRight", 0), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        frame(page)
        assert AlignmentExplorer().sentences[0]["columns"][place] in first.get_attribute("aria-valuetext")


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
    nodes = client.send("DOM.querySelectorAll", {"nodeId": root, "selector": ".attnlib-maps-looks tbody th"})["nodeIds"]
    assert len(nodes) == len(words)
    for node in nodes:
        fonts = client.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        (family,) = {font["familyName"] for font in fonts}
        assert "LastResort" not in family
