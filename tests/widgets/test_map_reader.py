"""MapReader: each question has one answer, which the map gives; each hint can be met; its page in the hand."""

import itertools
import re

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, found, text

from attnlib.widgets import MapReader
from attnlib.widgets.map_questions import KINDS, QUESTIONS
from attnlib.widgets.map_reader import MAPS, judged
from attnlib.widgets.recurrent.decoder_stepper import tiny

NAMES = [question["name"] for question in QUESTIONS]
every = pytest.mark.parametrize("index", range(len(QUESTIONS)), ids=NAMES)


def weights_of(index):
    """The matrices of a map, by name, as the widget shows them."""
    return {m["name"]: torch.tensor(m["weights"], dtype=torch.float64) for m in MAPS[index]["matrices"]}


def only(index):
    (weights,) = weights_of(index).values()
    return weights


# What each question asks, computed: which answers are right, as a table, and the numbers that its texts may tell.
# Beside them the wrong versions: what a reader finds who makes the mistake that a hint speaks of.


def rows_and_columns():
    weights, tokens = only(0), MAPS[0]["rows"]
    home, mortgage = tokens.index("home"), tokens.index("mortgage")
    right = torch.zeros_like(weights)
    right[home, mortgage] = 1
    return right, [weights[home, mortgage], weights[mortgage, home]], {(mortgage, home): right.T}


def what_sums_to_one():
    weights = only(1)
    assert torch.allclose(weights.sum(0), torch.ones(10, dtype=torch.float64), atol=1e-3)
    assert (weights.sum(1) - 1).abs().min() > 0.2
    columns_look = bool((weights.sum(0) - 1).abs().max() < (weights.sum(1) - 1).abs().max())
    assert MAPS[1]["rows"][0] == MAPS[1]["columns"][0] == "[CLS]"
    assert weights.argmax(0).tolist() == [0] * 10
    return [not columns_look, columns_look, False], [weights.sum(0)[0], weights.sum(1)[0]], {}


def padding():
    left = only(2).sum(1)
    faintest = only(2).amax(1) == only(2).amax(1).min()
    assert MAPS[2]["rows"][6] == "what"
    told = [*left.sort().values[:3], 1 - left.min(), only(2)[7].max()]
    return left == left.min(), told, {(7,): faintest}


def the_mean_of_heads():
    maps = weights_of(3)
    (mean, *heads), row = maps.values(), MAPS[3]["rows"].index("holds")
    assert torch.allclose(mean, torch.stack(heads).mean(0), atol=1e-4)
    assert mean[row].max() < 0.4
    sharp = [head[row].max().item() > 0.8 for head in heads]
    assert len({head[row].argmax().item() for head, is_sharp in zip(heads, sharp, strict=True) if is_sharp}) == 3
    assert not dict(zip(maps, [None, *sharp], strict=True))["head 1.4"]
    assert dict(zip(maps, [None, *sharp], strict=True))["head 1.3"]
    counted = [sum(sharp) == count for count in (0, 1, 4, 5)]
    return counted, [0.4, 0.8, maps["head 1.4"][row].max()], {(0,): [mean[row].max() <= 0.8, False, False, False]}


def a_place_to_rest():
    weights, tokens = only(4), MAPS[4]["rows"]
    first, again = (s for s, token in enumerate(tokens) if token == "river")
    assert weights[:, first].min() > 0.99
    assert again == 6
    assert len(tokens) - again > 1
    drawn = weights[again:, again].max() > 0.5
    assert all(all(MAPS[4]["mask"][t][: again + 1]) for t in range(again, len(tokens)))
    return [drawn, not drawn, False], [weights[again:, again].max()], {}


def sharp_and_sure():
    weights, rows = only(5), MAPS[5]["rows"]
    sure = torch.tensor([float(row.split()[-1]) for row in rows])
    sharp = weights.amax(1)
    assert sharp.argmax() == 0
    assert [rows[t].split()[0] for t in (1, 5, 7)] == ["what", "the", "jeremiah"]
    assert sure.argmin() == 7
    assert sure.argmax() == 5
    assert sharp[5] < 0.5
    told = [0.7, 0.5, sharp[1], sure[1], sure[0], sure[5], sharp[7]]
    return (sharp > 0.7) & (sure < 0.5), told, {(0,): sharp == sharp.max(), (7,): sure == sure.min()}


def alignment():
    weights, links = only(6), dict(MAPS[6]["links"])
    elsewhere = [weights[t].argmax().item() != links[t] for t in range(len(weights))]
    cat = MAPS[6]["columns"].index("cat")
    assert MAPS[6]["rows"][2] == "rouge"
    likely = with_house_at_cat()
    assert likely[0] < 0.01
    assert min(likely[1:]) > 0.9
    return elsewhere, [weights[0].max(), weights[2, cat], weights[2].max(), likely[1]], {}


def encoded(model, source, text):
    row = torch.tensor([[source.index(word) for word in text.split()] + [2]])
    return model.encode(row, row > 0)


def mixed(model, into, given, places):
    """A sentence as it was read, with another one's vectors in some places."""
    annotations = into.annotations.clone()
    annotations[:, places] = given.annotations[:, places]
    return into._replace(annotations=annotations, projected=model.align_annotation(annotations))


@torch.no_grad()
def with_house_at_cat():
    """How likely la is as the first word; with only the vector at "cat" of a house; and le, with all but that one."""
    model, source, target = tiny()
    cat, house = (encoded(model, source, f"the red {noun} sees a black house") for noun in ("cat", "house"))
    found = []
    for places, word in (([], "la"), ([2], "la"), ([0, 1, 3, 4, 5, 6, 7], "le")):
        read = mixed(model, cat, house, places)
        step = model.step(torch.tensor([target.index("<bos>")]), read.state, read)
        found.append(step.logits.softmax(-1)[0, target.index(word)].item())
    return found


@torch.no_grad()
def with_a_of_the_other():
    """How likely une is, after le chat rouge voit, where only the vector at "a" is from the sentence of the house."""
    model, source, target = tiny()
    house, cat = (encoded(model, source, f"the red cat sees a black {noun}") for noun in ("house", "cat"))
    found = []
    for places in ([], [4]):
        read, state = mixed(model, cat, house, places), cat.state
        for word in ["<bos>", "le", "chat", "rouge", "voit"]:
            step = model.step(torch.tensor([target.index(word)]), state, read)
            state = step.state
        found.append(step.logits.softmax(-1)[0, target.index("une")].item())
    return found


def vector_and_word():
    house, cat = (each[4] for each in weights_of(7).values())
    assert MAPS[7]["rows"][4] == "un(e)"
    assert MAPS[7]["columns"][4] == "a"
    assert house.argmax() == cat.argmax() == 4
    noun = MAPS[7]["columns"].index("noun")
    before, after = with_a_of_the_other()
    assert before < 0.1
    by_weights = max(house[noun], cat[noun]).item() > 0.5
    return [by_weights, after > 0.5, False], [house[noun], cat[noun], after], {}


PROOFS = [rows_and_columns, what_sums_to_one, padding, the_mean_of_heads, a_place_to_rest, sharp_and_sure, alignment,
          vector_and_word]  # fmt: skip


def places(table):
    """Where a table of answers is true."""
    return torch.as_tensor(table).nonzero().tolist()


@every
def test_the_answer_is_the_only_one_that_the_map_gives(index):
    question = QUESTIONS[index]
    right, _, wrong = PROOFS[index]()
    assert PROOFS[index].__name__ == question["name"].lower().replace(" ", "_")
    assert places(right) == [question["right"]]
    for place, table in wrong.items():
        assert list(place) in [hint["to"] for hint in question["hints"]]
        assert list(place) in places(table)
        assert question["right"] not in places(table)


@every
def test_each_number_that_is_told_is_one_of_the_map(index):
    question = QUESTIONS[index]
    said = " ".join([question["asks"], question["why"], *(hint["said"] for hint in question["hints"])])
    told = set(re.findall(r"\b\d\.\d\d?\b", re.sub(r"head \d\.\d+", "", said)))
    numbers = {f"{float(number):.2f}" for number in PROOFS[index]()[1]}
    assert {f"{float(each):.2f}" for each in told} <= numbers, told


def answers(index):
    """All that can be answered."""
    question, shown = QUESTIONS[index], MAPS[index]
    sides = {"choice": [question["choices"]], "row": [shown["rows"]]}.get(
        question["kind"], [shown["rows"], shown["columns"]]
    )
    return [list(each) for each in itertools.product(*(range(len(side)) for side in sides))]


@every
def test_each_wrong_answer_has_a_hint_and_each_hint_an_answer(index):
    question = QUESTIONS[index]
    said = {tuple(given): judged(question, given) for given in answers(index)}
    assert [list(given) for given, (verdict, _) in said.items() if verdict == "right"] == [question["right"]]
    assert {hint for verdict, hint in said.values() if verdict == "wrong"} == {h["said"] for h in question["hints"]}
    assert judged(question, []) == ("", "")


def test_the_page_judges_as_python_does():
    asked = [(question, given) for i, question in enumerate(QUESTIONS) for given in [[], *answers(i)]]
    made = arithmetic("reading")("(asked) => asked.map((each) => math.judged(...each))", asked)
    assert [tuple(each) for each in made] == [judged(*each) for each in asked]


@every
def test_the_questions_fit_their_maps(index):
    question, shown = QUESTIONS[index], MAPS[index]
    assert len(question["asks"].split()) < 60
    assert question["kind"] in KINDS
    assert bool(question["choices"]) == (question["kind"] == "choice")
    if question["kind"] != "choice":  # the reader does not start on the answer
        assert question["at"][: len(question["right"])] != question["right"]
    assert bool(question["circle"]) == bool(shown["links"])
    MapReader(index=index, row=question["at"][0], column=question["at"][1], answer=question["right"])


BAD = [
    ({"row": 10}, "row must be at most 9 on this map; got 10"),
    ({"column": 10}, "column must be at most 9 on this map; got 10"),
    ({"index": 8}, "index must be a whole number from 0 to 7"),
    ({"matrix": "head 2"}, "matrix must be one of head 1.4; got 'head 2'"),
    ({"answer": [1]}, r"answer must be a cell of this map; got \[1\]"),
    ({"answer": [1, 10]}, r"answer must be a cell of this map; got \[1, 10\]"),
    ({"index": 1, "answer": [3]}, r"answer must be a choice of this map; got \[3\]"),
    ({"solved": [0, 0]}, r"solved must name each map once; got \[0, 0\]"),
]


@pytest.mark.parametrize(("state", "message"), BAD)
def test_bad_states_are_refused(state, message):
    with pytest.raises(ValueError, match=message):
        MapReader(**state)


def test_outputs_are_those_of_the_map():
    reader = MapReader(index=3, row=2, column=3, matrix="head 2.9")
    weights = weights_of(3)["head 2.9"]
    assert reader.weight == weights[2, 3]
    assert (reader.row_sum, reader.column_sum) == pytest.approx((weights[2].sum().item(), weights[:, 3].sum().item()))
    assert (reader.verdict, reader.said) == ("", "")
    reader.answer = [2]
    assert (reader.verdict, reader.said) == ("right", QUESTIONS[3]["why"])
    assert reader.said in reader.summary()


def plain(words):
    return re.sub("[\u2068\u2069]", "", words)


def test_the_page_shows_question_sums_and_verdict():
    states = [{"index": i, "answer": given[:1][0]} for i in range(8) for given in [answers(i)]]
    for state, view in zip(states, draw(*(MapReader(**state) for state in states)), strict=True):
        reader, question = MapReader(**state), QUESTIONS[state["index"]]
        told = plain(text(view))
        assert question["asks"] in told
        assert f"{reader.row_sum:.2f}, the column" in told
        assert reader.said in told
        said = found(view, "attnlib-reader-said")[0]
        assert said.get("data-said") == reader.verdict
        shown = [text(each) for each in found(view, "attnlib-reader-choices")[0].iter("button")]
        assert shown == question["choices"]


# ----------------------------------------------------------------------------------------------- the page, in the hand


def said(page):
    return plain(page.locator(".attnlib-reader-said").inner_text())


@pytest.mark.browser
def test_all_eight_by_keyboard(show):
    page = show(MapReader())
    for i, question in enumerate(QUESTIONS):
        if question["kind"] == "choice":
            page.get_by_role("button", name=question["choices"][question["right"][0]]).press("Enter")
        else:
            page.locator(".attnlib-maps-map").first.focus()
            (row, column), (start, _) = [*question["right"], 0][:2], question["at"]
            down = ["ArrowDown"] * (row - start) + ["ArrowUp"] * (start - row)
            for key in ["Home", *down, *["ArrowRight"] * column]:
                page.keyboard.press(key)
            frame(page)
            page.get_by_role("button", name="Answer:").press("Enter")
        frame(page)
        assert said(page) == f"Right. {question['why']}"
        assert page.locator(".attnlib-reader-tally").inner_text() == f"{i + 1} of 8 answered"
        page.get_by_role("button", name="Next map").press("Enter")
        frame(page)
        assert said(page) == ""


@pytest.mark.browser
def test_a_tap_goes_to_a_cell_and_a_wrong_answer_has_its_hint(new_context):
    page = new_context(viewport={"width": 390, "height": 900}, has_touch=True, is_mobile=True).new_page()
    page.set_content(f'<html lang="en"><body><main>{MapReader()._repr_html_()}</main></body></html>')
    box = page.locator(".attnlib-maps-frame rect").first.bounding_box()
    for row, column, verdict in ((5, 8, QUESTIONS[0]["hints"][0]["said"]), (8, 5, QUESTIONS[0]["why"])):
        page.touchscreen.tap(box["x"] + box["width"] * (column + 0.5) / 10, box["y"] + box["height"] * (row + 0.5) / 10)
        frame(page)
        assert said(page) == ""
        page.get_by_role("button", name="Answer:").tap()
        frame(page)
        assert verdict in said(page)
