"""Maps: what it takes, its outputs, its arithmetic and numbers in the page, and its page in the hand. test_widgets*.py
has the rest."""

import random
import re

import pytest
import torch
from browser import frame, resize
from drawn import arithmetic, draw, found, rows, text

from attnlib.alignment import alignment_error_rate, links_of
from attnlib.widgets import Maps
from attnlib.widgets.maps import sentence
from attnlib.widgets.text import share


def pair(n_rows=2, n_columns=3, names=("one", "two"), seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(n_rows, n_columns, generator=generator).mul(2).softmax(-1) for name in names}
    return sentence([f"r{t}" for t in range(n_rows)], [f"c{s}" for s in range(n_columns)], weights, **more)


def full(**changed):
    mask = [[True, False, True], [True, True, False]]
    return pair(**{"links": [(1, 2), (0, 0)], "mask": mask, "glosses": ["g0", "g1", "g2"], **changed})


def test_sentences_become_plain_and_come_again():
    weights = torch.tensor([[1 / 3, 2 / 3, 0.0], [0.0, 0.0, 0.0]])
    given = {"rows": "a b", "columns": ("x", "y", "z"), "matrices": {"cut": weights}, "links": frozenset({(1, 0)})}
    maps = Maps(given, row=1)
    (kept,) = maps.sentences
    assert (kept["rows"], kept["columns"], kept["links"]) == (["a", "b"], ["x", "y", "z"], [[1, 0]])
    assert kept["matrices"] == [{"name": "cut", "weights": [[0.3333, 0.6667, 0.0], [0.0] * 3]}]
    assert (maps.presets, maps.weights, maps.links) == ([], [0.0] * 3, [[0, 1]])
    assert Maps(**maps.state()).state() == maps.state()


BAD = [
    ([], "sentences must be a list of {rows, columns, matrices}, weights from 0 to 1"),
    ("a b", "sentences must be a list of"),
    ({"rows": "a"}, "sentences must be a list of"),
    ({**pair(), "colour": "red"}, "sentences must be a list of"),
    ({**pair(), "matrices": []}, "sentences must be a list of"),
    ({**pair(), "columns": ["x", "y"]}, r"matrices must be of shape \(2, 2\), .*; got \(2, 3\) of one"),
    ({**pair(), "matrices": {"a": [[1.5, 0, 0], [0, 0, 0]]}}, "sentences must be a list of"),
    ({**pair(), "links": [(0, 1, 2)]}, "sentences must be a list of"),
    ([pair(), pair(links=[(2, 0)])], r"sentences\[1\].links must be pairs below \(2, 3\); got \(2, 0\)"),
    (pair(mask=[[True] * 3]), r"sentences\[0\].mask must be of shape \(2, 3\)"),
    (pair(glosses=["a"]), r"sentences\[0\].glosses must be 3 texts; got 1"),
    ([pair(), pair(names=["one"])], r"sentences\[1\].matrices must be named one, two"),
    (pair(names=["", "a"]), "must be named"),
]


@pytest.mark.parametrize(("sentences", "message"), BAD)
def test_bad_sentences_are_refused(sentences, message):
    with pytest.raises(ValueError, match=message):
        Maps(sentences)


def test_row_and_names_are_those_of_the_sentence():
    maps = Maps([pair(4), pair(2)], row=3)
    with pytest.raises(ValueError, match="row must be at most 1; got 3; change it and index with update"):
        maps.index = 1
    maps.update(index=1, row=1, compare="two")
    assert (maps.row, maps.matrix) == (1, "")
    for trait in ("matrix", "compare"):
        with pytest.raises(ValueError, match=f"{trait} must be one of one, two; got 'three'"):
            setattr(maps, trait, "three")


def test_outputs_are_those_of_attnlib():
    given = [pair(5, 7, seed=1, links=[(0, 2), (3, 6), (3, 5)]), full(seed=2)]
    maps = Maps(given)
    for index, row, matrix in ((0, 3, "one"), (0, 0, "two"), (1, 1, "two")):
        maps.update(index=index, row=row, matrix=matrix, compare="one")
        one, two = (torch.tensor(m["weights"], dtype=torch.float64) for m in maps.sentences[index]["matrices"])
        weights = {"one": one, "two": two}[matrix]
        predicted = links_of(weights)
        wanted = alignment_error_rate(predicted, {(t, s) for t, s in given[index]["links"]})
        assert (maps.error, maps.precision, maps.recall) == wanted[:3]
        assert {tuple(link) for link in maps.links} == predicted
        assert maps.common == pytest.approx(torch.minimum(weights, one)[row].sum().item())
    plain = Maps(pair())
    assert (plain.error, plain.common) == (None, None)


@pytest.mark.parametrize(
    ("weights", "said", "caption"),
    [
        ([[0.75, 0.25], [0.625, 0.375]], "“b” looks at", "What “b” looks at"),
        ([[0.625, 0.375], [0.625, 0.375]], "The same in every row:", "What is in every row"),
        ([[0.75, 0.25], [0.625, 0.5]], "In the row “b”:", "What is in the row “b”"),
        ([[0.75, 0.75], [0.625, 0.375]], "In the row “b”:", "What is in the row “b”"),
        ([[0.5004, 0.5], [0.625, 0.3754]], "“b” looks at", "What “b” looks at"),  # rounded
    ],
)
def test_a_row_is_said_to_look_only_where_it_does(weights, said, caption):
    """Not where the mean of the rows asks, so that all are one; nor where the numbers are no weights of one look."""
    widget = Maps({"rows": "a b", "columns": "x y", "matrices": {"m": weights}}, row=1)
    assert f": {said[0].lower()}{said[1:]} x 0.625" in widget.summary()
    told = without_directions(draw(widget)[0])
    assert f"{said} “x” 0.625" in told
    assert caption in told


def test_one_row_alone_looks():
    widget = Maps({"rows": "a", "columns": "x y", "matrices": {"m": [[0.75, 0.25]]}})
    assert "“a” looks at x 0.75" in widget.summary()
    assert "“a” looks at “x” 0.75" in without_directions(draw(widget)[0])


def without_directions(view):
    return text(view).replace("\u2068", "").replace("\u2069", "")


def test_preset_two_heads():
    commons = [Maps(preset="Two heads beside each other", row=t).common for t in range(5)]
    assert commons == sorted(commons, reverse=True)
    assert (commons[0], commons[-1]) == (1, 0.2)


def test_arithmetic_is_that_of_attnlib(record_property):
    """A thousand sentences: ties, rows of zeros, no links, possible links."""
    rng = random.Random(0)
    cases = []
    for _ in range(1000):
        n, m, digits = rng.randint(1, 9), rng.randint(1, 9), rng.choice([1, 4])
        matrix = [[0.0 if rng.random() < 0.2 else round(rng.random(), digits) for _ in range(m)] for _ in range(n)]
        people = [[(rng.randrange(n), rng.randrange(m)) for _ in range(rng.choice([0, 1, 5]))] for _ in range(2)]
        cases.append((matrix, *people))
    made = arithmetic("alignment")(
        """(cases) => cases.map(([matrix, sure, possible]) => {
            const links = math.linksOf(matrix);
            return [links, ...[[], possible].map((more) => math.alignmentError(links, sure, more))];
        })""",
        cases,
    )
    gap = 0.0
    for (matrix, sure, possible), (links, *scores) in zip(cases, made, strict=True):
        wanted = links_of(torch.tensor(matrix, dtype=torch.float64))
        assert {tuple(link) for link in links} == wanted
        for score, more in zip(scores, (set(), set(possible)), strict=True):
            expected = alignment_error_rate(wanted, set(sure), more)
            gap = max(gap, *(abs(score[name] - getattr(expected, name)) for name in ("error", "precision", "recall")))
            assert score["agreed"] == expected.n_sure
    record_property("measured", f"{gap:.1e} largest gap to attnlib  alignment")
    assert gap < 1e-6


def names(view):
    """The heads of the rows of the list."""
    return found(view, "attnlib-maps-looks")[0].findall("tbody/tr/th")


def test_page_shows_the_numbers_of_attnlib():
    states = [{"row": row, "matrix": name, "compare": other} for row in (0, 1) for name in ("one", "two")
              for other in ("", "one")]  # fmt: skip
    widgets = [Maps(made, **state) for state in states for made in (full(), pair())]
    for maps, view in zip(widgets, draw(*widgets), strict=True):
        (shown,) = maps.sentences
        mask = shown["mask"][maps.row] if shown["mask"] else [True] * 3
        one = shown["matrices"][0]["weights"]
        first = [share(weight) if may else "hidden" for weight, may in zip(maps.weights, mask, strict=True)]
        second = [f" ({share(weight)})" if maps.compare else "" for weight in one[maps.row]]
        values = [a + b for a, b in zip(first, second, strict=True)]
        meant = shown["glosses"] or [""] * 3
        listed = [list(row) for row in zip(shown["columns"], values, meant, strict=True)]
        assert rows(view, "attnlib-maps-looks") == listed
        marked = [name.get("data-marked") is not None for name in names(view)]
        assert marked == [[maps.row, s] in shown["links"] for s in range(3)]
        news = text(found(view, "attnlib-caption")[0])
        assert ("It may look at 2 of 3." in news) == bool(shown["mask"])
        assert ("in common" in news) == bool(maps.compare)
        if maps.compare:
            assert f"have {share(maps.common)} in common" in news
        scores = found(view, "attnlib-maps-scores")[0]
        assert (scores.get("hidden") is None) == bool(shown["links"])
        if shown["links"]:
            assert f"“\u2068c{maps.weights.index(max(maps.weights))}\u2069” (g" in news
            others = [Maps(shown, matrix=name) for name in ("one", "two")]
            judged = [[f"{x:.3f}" for x in (each.precision, each.recall, each.error)] for each in others]
            assert [row[2:] for row in rows(view, "attnlib-maps-scores")] == judged


def test_a_long_list_leaves_out_what_gets_next_to_nothing_and_is_not_linked():
    weights = [[0.6, 0.35, 0.009, *[0.0] * 16]]
    long = sentence("r", [f"c{s}" for s in range(19)], {"one": weights}, links=[(0, 18), (0, 0)])
    (view,) = draw(Maps(long))
    assert [row[0] for row in rows(view, "attnlib-maps-looks")] == ["c0", "c1", "c18"]
    assert [name.get("data-marked") for name in names(view)] == ["", None, ""]


# ----------------------------------------------------------------------------------------------- the page, in the hand


def reading(page):
    """The row that is chosen; what a listener hears of the cell that is, and what is read below the map."""
    first = page.locator(".attnlib-maps-map").first
    words = [first.get_attribute("aria-valuetext"), page.locator(".attnlib-maps-reading").first.inner_text()]
    return int(first.get_attribute("aria-valuenow")) - 1, *(re.sub("[\u2068\u2069]", "", each) for each in words)


def point(page, row, column, press="move"):
    """Bring the mouse to a cell of the first map of :func:`full`, or click there; column -1 is the row's name."""
    box = page.locator(".attnlib-maps-frame rect").first.bounding_box()
    x, y = box["x"] + box["width"] * (column + 0.5) / 3, box["y"] + box["height"] * (row + 0.5) / 2
    getattr(page.mouse, press)(x if column >= 0 else box["x"] - 12, y)
    frame(page)


@pytest.mark.browser
def test_cells_by_keyboard(show):
    page = show(Maps(full(), row=0))
    page.locator(".attnlib-maps-map").first.focus()
    weights = Maps(full()).sentences[0]["matrices"][0]["weights"]
    for keys, row, words in (
        (("Home",), 0, f"“r0” to “c0” (g0): {share(weights[0][0])}, people link them"),
        (("ArrowRight",), 0, "“r0” to “c1” (g1): hidden"),
        (("ArrowDown", "ArrowDown", "ArrowLeft"), 1, f"“r1” to “c0” (g0): {share(weights[1][0])}"),
        (("End", "ArrowRight", "PageUp"), 0, f"“r0” to “c2” (g2): {share(weights[0][2])}"),
    ):
        for key in keys:
            page.keyboard.press(key)
        frame(page)
        assert reading(page) == (row, words, words)


@pytest.mark.browser
def test_the_mouse_reads_on_its_way_and_a_click_chooses(show):
    page = show(Maps(full(), row=0))
    before = reading(page)
    point(page, 1, 1)
    assert reading(page)[:2] == before[:2]
    assert reading(page)[2].startswith("“r1” to “c1”")
    page.mouse.move(1, 1)
    frame(page)
    assert reading(page) == before
    point(page, 1, 0, "click")
    assert reading(page)[0] == 1
    assert reading(page)[1].startswith("“r1” to “c0”")
    point(page, 0, -1, "click")
    assert reading(page) == before


@pytest.mark.browser
def test_a_tap_chooses(new_context):
    touched = new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True).new_page()
    touched.set_content(f'<html lang="en"><body><main>{Maps()._repr_html_()}</main></body></html>')
    touched.locator(".attnlib-maps-row-names text").nth(2).tap()
    frame(touched)
    assert reading(touched)[0] == 2


@pytest.mark.browser
def test_choices_in_the_page_leave_no_cell_of_before(show):
    fresh = reading(show(Maps(full(n_rows=5, mask=()), matrix="two")))
    page = show(Maps([full(title="first"), full(n_rows=5, mask=(), title="second")], row=1))
    page.get_by_label("Compare with").select_option("two")
    page.get_by_label("Head", exact=True).select_option("two")
    frame(page)
    assert page.locator(".attnlib-maps-map:visible").count() == 2
    point(page, 1, 1, "click")
    page.get_by_label("Sentence").select_option("second")
    frame(page)
    assert reading(page) == fresh
    assert page.get_by_label("Query", exact=True).get_attribute("max") == "5"
    assert page.locator("[role=alert]:visible").count() == 0


@pytest.mark.browser
def test_a_long_sentence_stays_on_a_phone_and_keeps_its_names_on_a_desk(show):
    links = [(t, (t * 7) % 40) for t in range(40)]
    page = show(Maps([pair(40, 40, links=links), pair(3, 3)]))
    names = page.locator(".attnlib-maps-map:visible text:visible")
    assert names.count() == 80
    assert min(names.evaluate_all("(all) => all.map((each) => each.getBoundingClientRect().height)")) > 9
    resize(page, 390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = page.evaluate(
        """() => [...document.querySelectorAll(".attnlib-maps-cells, .attnlib-maps-looks :is(th, td)")]
            .map((node) => node.getBoundingClientRect())"""
    )
    assert all(box["left"] >= 0 and box["right"] <= 390 for box in boxes)


@pytest.mark.browser
def test_single_letters_are_read_on_a_phone_too(show):
    weights = {"one": torch.full((3, 22), 1 / 22)}
    page = show(Maps([sentence("a b c", list("abcdefghijklmnopqrstuv"), weights)]))
    resize(page, 390)
    letters = page.locator(".attnlib-maps-map:visible text:visible")
    assert letters.count() == 25
    assert min(letters.evaluate_all("(all) => all.map((each) => each.getBoundingClientRect().height)")) > 9


def test_what_a_gloss_says_can_be_named():
    views = draw(Maps(full()), Maps(full(), names=["Row", "Column", "Weights", "In the word"]))
    tables = [found(view, "attnlib-maps-looks")[0] for view in views]
    heads = [[head.text for head in made.findall("thead/tr/th")] for made in tables]
    assert heads == [["Key", "Weight", "Meaning"], ["Column", "Weight", "In the word"]]
