"""Visual questions: answers and regions by a reading of our own, what decides them, seeds, and bad input."""

import collections
import itertools

import pytest
import torch

from attnlib.data import visual_questions
from attnlib.data.visual_questions import ANSWERS, CELL, COLOURS, KINDS, SHAPES, WORDS, Thing, ask, draw, make

ASKED = make(count=200, seed=5)
PLURALS = {"circles": "circle", "squares": "square", "triangles": "triangle", "crosses": "cross"}


def answer_of(question, side=4):
    """Answer and regions, read off the words by position and off the scene by a table of its cells."""
    words = list(question.words)
    if words[0] == "i":
        words = words[5:]
    if words[-1] == "picture":
        words = words[:-3]
    table = {divmod(thing.cell, side): thing for thing in question.things}
    last = words[-1]
    if words[0] == "is":
        found = [c for c, t in table.items() if (t.colour, t.shape) == (words[3], last)]
        return ("yes" if found else "no"), found
    if words[0] == "how":
        said = PLURALS.get(words[2], words[2])
        found = [c for c, t in table.items() if said in (t.colour, t.shape)]
        return str(len(found)), found
    if last == "thing" or (len(words) == 5 and words[3] == "the"):
        key = words[4]
        (found,) = (c for c, t in table.items() if key in (t.colour, t.shape))
        return getattr(table[found], words[1]), [found]
    ((row, column),) = (c for c, t in table.items() if (t.colour, t.shape) == (words[-2], last))
    down, right = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}[words[3]]
    found = row + down, column + right
    return getattr(table[found], words[1]), [found]


@pytest.mark.parametrize("side", [3, 4, 5])
def test_answers_and_regions_are_those_of_the_scene(side):
    for question in make(count=60, side=side, seed=side):
        answer, cells = answer_of(question, side)
        assert question.answer == answer
        assert set(question.regions) == {row * side + column for row, column in cells}
        assert len({thing.cell for thing in question.things}) == len(question.things)
        assert max(thing.cell for thing in question.things) < side**2


def test_words_and_answers_are_of_the_lists_and_all_occur():
    many = make(count=500, seed=1)
    assert {word for each in many for word in each.words} == set(WORDS)
    assert {each.answer for each in many} == set(ANSWERS)
    counts = collections.Counter(each.kind for each in many)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 70
    exists = [each.answer == "yes" for each in many if each.kind == "exists"]
    assert 0.4 < sum(exists) / len(exists) < 0.6
    asides = [each.words[0] == "i" for each in many]
    assert 0.27 < sum(asides) / len(asides) < 0.4


def test_words_to_listen_to_decide_and_others_do_not():
    """Another word in the place of one gives another answer for some scene; what is said aside never does."""
    for question in ASKED[:30]:
        words = list(question.words)
        said = [words[place] for place in question.listen]
        assert not {"like", "i", "but", "picture", "in"} & set(said)
        if words[0] == "i":
            assert min(question.listen) > 4
            for colour, shapes in itertools.product(COLOURS, PLURALS):
                words[2:4] = colour, shapes
                assert ask(question.things, words)[1:] == (tuple(words), *question[2:])
    names = {word for word in WORDS if word in COLOURS or word in SHAPES}
    for question in ASKED:
        start = 5 if question.words[0] == "i" else 0
        assert {n for n, word in enumerate(question.words) if word in names and n >= start} <= set(question.listen)


def test_the_cell_beside_is_beside():
    for question in ASKED:
        if question.kind != "side":
            assert question.beside is None
            continue
        (a, b), (c, d) = divmod(question.beside, 4), divmod(question.regions[0], 4)
        assert abs(a - c) + abs(b - d) == 1


def test_each_question_has_its_own_random_numbers():
    assert make(count=5, seed=2) == make(count=9, seed=2)[:5]
    assert make(count=5, seed=2) != make(count=5, seed=3)
    assert make(count=0) == []
    assert {each.kind for each in make(count=30, kinds=["count"])} == {"count"}


def test_a_scene_is_drawn_where_its_things_are():
    things = [Thing(5, "circle", "red", 3.0), Thing(10, "square", "blue", 3.0)]
    image = draw(things)
    assert image.shape == (3, 4 * CELL, 4 * CELL)
    cells = image.unflatten(1, (4, CELL)).unflatten(-1, (4, CELL))
    for cell in range(16):
        row, column = divmod(cell, 4)
        found = cells[:, row, :, column]
        if cell not in (5, 10):
            assert (found == found[0, 0, 0]).all()
    for cell, colour in ((5, "red"), (10, "blue")):
        middle = cells[:, cell // 4, CELL // 2, cell % 4, CELL // 2]
        torch.testing.assert_close(middle, torch.tensor(COLOURS[colour]))
    area = lambda shape, size: (draw([Thing(0, shape, "red", size)], 1)[1] < 0.5).sum()  # noqa: E731
    assert all(area(shape, 3.6) > area(shape, 2.8) for shape in SHAPES)
    pictures = [draw([Thing(0, shape, "red")], 1) for shape in SHAPES]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(pictures, 2))


def test_one_s_own_question():
    scene = [Thing(0, "square", "red"), Thing(1, "circle", "blue"), Thing(2, "circle", "red")]
    told = {
        "what colour is the square": "red",
        "what shape is the blue thing": "circle",
        "how many red things are there": "2",
        "how many crosses are there in this picture": "0",
        "i like blue crosses but is there a red cross": "no",
        "what shape is left of the red circle": "circle",
    }
    assert [ask(scene, text.split()).answer for text in told] == list(told.values())
    for bad in (
        "what colour is the circle",  # two
        "what shape is the red thing",
        "what colour is the cross",  # none
        "what shape is above the red square",  # nothing there
        "what shape is left the red square",
        "what shape is right of the square",
        "how many red squares are there",
        "is there a square red",
        "what is there",
        "",
    ):
        with pytest.raises(ValueError, match="words must be a question of this set, with one answer"):
            ask(scene, bad.split())


def test_bad_input_is_named():
    for options, message in (
        ({"count": -1}, "count must be at least 0, got -1"),
        ({"count": 1, "side": 2}, "side must be at least 3, got 2"),
        ({"count": 1, "kinds": ["size"]}, r"kinds must be some of colour, shape, side, count, exists, got \('size',\)"),
        ({"count": 1, "kinds": []}, "kinds must be some of"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**options)


# --- known wrong versions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["left for right", "regions of the thing beside"])
def test_wrong_answers_are_rejected(fault, monkeypatch):
    if fault == "left for right":
        for way, step in (("left", (0, 1)), ("right", (0, -1))):
            monkeypatch.setitem(visual_questions._SIDES, way, step)
    else:
        right = visual_questions._read

        def beside(*given):
            found = right(*given)
            return found if found is None or found[3] is None else (*found[:2], [found[3]], *found[3:])

        monkeypatch.setattr(visual_questions, "_read", beside)
    with pytest.raises((AssertionError, KeyError)):
        test_answers_and_regions_are_those_of_the_scene(4)
