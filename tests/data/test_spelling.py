"""Which letters can carry a sound: against all ways to put sounds on letters, tried one by one."""

import itertools
import random

import pytest

from attnlib.data import spelling
from attnlib.data.pronunciations import LETTERS, SOUNDS
from attnlib.data.spelling import CARRIERS, SHARED, carriers, silent


def ways(word, sounds, without):
    """Every way; None stands for a sound that goes without a letter."""
    choices = []
    for t, sound in enumerate(sounds):
        places = [i for i, letter in enumerate(word) if letter in CARRIERS[sound]]
        free = without and sound == "AH" and sounds[t + 1 : t + 2] in (("L",), ("M",), ("N",))
        choices.append([*places, *([None] if free else [])])
    for way in itertools.product(*choices):
        last, before = -1, None
        for place, sound in zip(way, sounds, strict=True):
            if place is None:
                before = None
                continue
            shares = place == last and (before, sound) in SHARED.get(word[place], ())
            if place < last or (place == last and not shares):
                break
            last, before = place, sound
        else:
            yield way


def tried(word, sounds):
    for without in (False, True):
        if every := list(ways(word, sounds, without)):
            columns = [set(column) for column in zip(*every, strict=True)]
            return [frozenset() if None in column else frozenset(column) for column in columns]
    return None


SPOKEN = {
    "knight": "N AY T",
    "letter": "L EH T ER",
    "fox": "F AA K S",
    "little": "L IH T AH L",
    "rhythm": "R IH DH AH M",
    "music": "M Y UW Z IH K",
    "pizza": "P IY T S AH",
    "lamb": "L AE M",
    "write": "R AY T",
    "colonel": "K ER N AH L",
    "exact": "IH G Z AE K T",
}


@pytest.mark.parametrize("word", SPOKEN)
def test_words_are_as_when_all_ways_are_tried(word):
    sounds = tuple(SPOKEN[word].split())
    assert carriers(word, sounds) == tried(word, sounds)


def test_words_that_are_none_are_as_when_all_ways_are_tried():
    draw = random.Random(0)
    found = 0
    for _ in range(200):
        word = "".join(draw.choices("abcehlnoqtuxz", k=draw.randint(1, 4)))
        sounds = tuple(
            draw.choices(("AH", "AA", "K", "S", "T", "TH", "L", "N", "Y", "UW", "W", "CH"), k=draw.randint(1, 4))
        )
        wanted = tried(word, sounds)
        assert carriers(word, sounds) == wanted, (word, sounds)
        found += wanted is not None
    assert found > 15


def test_what_is_sure_and_what_is_silent():
    assert carriers("knight", ("N", "AY", "T")) == [{1}, {2}, {5}]
    assert silent("knight", carriers("knight", ("N", "AY", "T"))) == {0, 3, 4}
    assert silent("write", carriers("write", ("R", "AY", "T"))) == {0, 4}
    assert carriers("little", ("L", "IH", "T", "AH", "L")) == [{0}, {1}, {2, 3}, set(), {4}]
    assert carriers("colonel", ("K", "ER", "N", "AH", "L"))[1:3] == [{1, 3}, {4}]
    assert carriers("one", ("W", "AH", "N")) == [{0}, {0}, {1}]
    assert carriers("aaa", ("T",)) is None
    assert carriers("", ("T",)) is None
    assert carriers("a", ()) == []


def test_the_table_is_of_letters_and_sounds():
    assert sorted(CARRIERS) == sorted(SOUNDS)
    for table in (CARRIERS.values(), SHARED):
        assert set().union(*table) <= set(LETTERS)
    for letter, pairs in SHARED.items():
        assert all(letter in CARRIERS[sound] for pair in pairs for sound in pair), letter
    with pytest.raises(ValueError, match=r"sounds must be of AA, .*, got 'Q'"):
        carriers("quick", ("Q",))


# --- known wrong versions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [("SHARED", {}, "fox"), ("_SYLLABIC", (), "rhythm"), ("CARRIERS", CARRIERS | {"T": "t"}, "pizza")],
)
def test_wrong_tables_are_rejected(name, value, word, monkeypatch):
    sounds = tuple(SPOKEN[word].split())
    wanted = tried(word, sounds)
    monkeypatch.setattr(spelling, name, value)
    assert carriers(word, sounds) != wanted


def test_letters_in_any_order_are_rejected():
    """Without order a sound would stand on all the letters that its line lists."""
    found = carriers("letter", ("L", "EH", "T", "ER"))
    assert found[1] == {1} != {i for i, letter in enumerate("letter") if letter in CARRIERS["EH"]}
