"""Maps: what it takes, its outputs, its arithmetic and numbers in the page, and its page in the hand. test_widgets*.py
has the rest."""

import random

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
    values = [[1.0, -1.0], [0.5, 0.25], [0.0, 2.0]]
    return pair(**{"links": [(1, 2), (0, 0)], "mask": mask, "values": values, **changed})


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
    (pair(values=[[1.0]]), r"sentences\[0\].values must be 3 rows; got 1"),
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
    values = torch.tensor(given[1]["values"], dtype=torch.float64)
    assert maps.context == pytest.approx((weights[1] @ values).tolist())
    plain = Maps(pair())
    assert (plain.error, plain.common, plain.context) == (None, None, [])


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


def test_page_shows_the_numbers_of_attnlib():
    states = [{"row": row, "matrix": name, "compare": other} for row in (0, 1) for name in ("one", "two")
              for other in ("", "one")]  # fmt: skip
    widgets = [Maps(made, **state) for state in states for made in (full(), pair())]
    for maps, view in zip(widgets, draw(*widgets), strict=True):
        (shown,) = maps.sentences
        mask = shown["mask"][maps.row] if shown["mask"] else [True] * 3
        columns = found(view, "attnlib-maps-columns")[0]
        values = [[text(each) for each in found(column, "attnlib-maps-value")] for column in columns]
        one, two = (each["weights"] for each in shown["matrices"])
        second = [f"({share(weight)})" if maps.compare else "" for weight in one[maps.row]]
        first = [share(weight) if may else "hidden" for weight, may in zip(maps.weights, mask, strict=True)]
        assert values == [list(both) for both in zip(first, second, strict=True)]
        news = text(found(view, "attnlib-caption")[0])
        if maps.context:
            assert f"It gets ({', '.join(f'{x:.2f}'.replace('-', '−') for x in maps.context)})." in news
            assert f"It may look at {sum(mask)} of 3." in news
        assert ("in common" in news) == bool(maps.compare)
        if maps.compare:
            assert f"have {share(maps.common)} in common" in news
        if shown["links"]:
            others = [Maps(shown, matrix=name) for name in ("one", "two")]
            judged = [[f"{x:.3f}" for x in (each.precision, each.recall, each.error)] for each in others]
            assert [row[2:] for row in rows(found(view, "attnlib-maps-below")[0], "attnlib-maps-scores")] == judged
        else:
            tops = [[share(max(weights[maps.row]))] for weights in (one, two)]
            assert [row[2:] for row in rows(found(view, "attnlib-maps-below")[0], "attnlib-maps-looks")] == tops


# ----------------------------------------------------------------------------------------------- the page, in the hand


def row_of(page):
    return int(page.locator("[role=option][aria-selected=true]").get_attribute("data-row"))


def reading(page):
    words = page.locator(".attnlib-maps-map").first.get_attribute("aria-valuetext")
    return row_of(page), words.replace("\u2068", "").replace("\u2069", "")


@pytest.mark.browser
def test_rows_and_cells_by_keyboard(show):
    page = show(Maps(full(n_rows=2), row=0))
    page.get_by_role("listbox").focus()
    for key, row in (("ArrowRight", 1), ("ArrowDown", 1), ("ArrowLeft", 0), ("ArrowUp", 0), ("End", 1), ("Home", 0)):
        page.keyboard.press(key)
        frame(page)
        assert row_of(page) == row
    page.locator(".attnlib-maps-map").first.focus()
    weights = Maps(full(n_rows=2)).sentences[0]["matrices"][0]["weights"]
    for keys, row, words in (
        (("Home",), 0, f"“r0” to “c0”: {share(weights[0][0])}, people link them"),
        (("ArrowRight",), 0, "“r0” to “c1”: hidden"),
        (("ArrowDown", "ArrowDown", "ArrowLeft"), 1, f"“r1” to “c0”: {share(weights[1][0])}"),
        (("End", "ArrowRight", "PageUp"), 0, f"“r0” to “c2”: {share(weights[0][2])}"),
    ):
        for key in keys:
            page.keyboard.press(key)
        frame(page)
        assert reading(page) == (row, words)


@pytest.mark.browser
def test_rows_and_cells_by_mouse_and_touch(new_context, show):
    page = show(Maps(row=0))
    page.get_by_role("option", name="dog").hover()
    frame(page)
    assert row_of(page) == 4
    box = page.locator(".attnlib-maps-frame rect").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 1.5 / 5, box["y"] + box["height"] * 2.5 / 5)
    frame(page)
    assert row_of(page) == 2
    assert "cat" in page.locator(".attnlib-maps-reading").first.inner_text()
    context = new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    touched = context.new_page()
    touched.set_content(f'<html lang="en"><body><main>{Maps()._repr_html_()}</main></body></html>')
    touched.get_by_role("option", name="saw", exact=True).tap()
    frame(touched)
    assert row_of(touched) == 2


@pytest.mark.browser
def test_choices_in_the_page(show):
    page = show(Maps([full(title="first"), full(n_rows=5, mask=(), title="second")], row=1))
    page.get_by_label("Compare with").select_option("two")
    page.get_by_label("Head", exact=True).select_option("two")
    frame(page)
    assert page.locator(".attnlib-maps-map:visible").count() == 2
    page.get_by_label("Sentence").select_option("second")
    frame(page)
    assert (row_of(page), page.get_by_label("Query", exact=True).get_attribute("max")) == (0, "5")
    assert page.locator("[role=alert]:visible").count() == 0


@pytest.mark.browser
def test_a_long_sentence_stays_on_a_phone(show):
    width = 390
    links = [(t, (t * 7) % 40) for t in range(40)]
    page = show(Maps([pair(40, 40, links=links), pair(3, 3)]))
    resize(page, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.evaluate(
        """() => [".attnlib-maps-token", ".attnlib-maps-cells", ".attnlib-maps-lines path"]
            .flatMap((name) => [...document.querySelectorAll(name)]).map((node) => node.getBoundingClientRect())"""
    )
    assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
