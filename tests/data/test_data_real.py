"""The real corpora: fetched once into the reader's cache, and parsed into what the book says of them.

Where packages can be had these tests run; where they cannot, one line at the end of the run says so.
"""

import hashlib
import json
import shutil

import pytest
from data_samples import wheel

from attnlib.data import DataError, catalogues, fetch, new_testament, reviews, split


@pytest.fixture
def real(monkeypatch):
    """A function that gives a package's path, or skips the test: for one reason, so that one line tells it."""
    monkeypatch.setenv("PIP_RETRIES", "1")

    def path(package):
        try:
            return fetch(package)
        except DataError as error:
            said = str(error)
            if "got exit code" not in said or "MATCH THE HASHES" in said:  # it was there, and was not right
                raise
        return pytest.skip("no package index here: the tests that read the real data did not run")

    return path


def digest(items):
    """Of all that was parsed: each field of each item, links in order."""
    rows = [[*item[:-1], sorted(item.links)] for item in items]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


@pytest.mark.data
@pytest.mark.nightly
def test_the_new_testament_holds_what_the_book_says(real):
    verses = new_testament.load(real(new_testament.PACKAGE))
    assert len(verses) == 7936
    assert sum(not verse.links for verse in verses) == 17
    assert sum(len(verse.links) for verse in verses) == 189_927 - 454
    assert sum(len(verse.forms) for verse in verses) == 137_712
    assert sum(len(verse.words) for verse in verses) == 171_796
    assert {new_testament.book(verse.key) for verse in verses} == set(new_testament.BOOKS.values())
    assert digest(verses) == "bffcfb95fc7b481a44ced40bb6feb2e00e54da7744d8cecaabb65fcc3797972a"
    wept = next(verse for verse in verses if new_testament.reference(verse.key) == "John 11:35")
    assert wept == new_testament.Verse(
        "43011035", ("ἐδάκρυσεν", "ὁ", "Ἰησοῦς"), ("δακρύω", "ὁ", "Ἰησοῦς"), ("Jesus", "wept"), {(1, 0), (0, 2)}
    )
    pairs = new_testament.pairs(verses)
    assert sum(len(pair.source) <= 20 for pair in pairs) == 5673
    assert [len(part) for part in split(pairs)] == [6711, 410, 815]
    assert [len(part) for part in new_testament.split_by_book(pairs)] == [7007, 256, 673]
    with_marks = new_testament.load(real(new_testament.PACKAGE), punctuation=True)
    assert sum(len(verse.words) for verse in with_marks) == 201_030
    assert sum(len(verse.links) for verse in with_marks) == 189_927 - 454


@pytest.mark.data
@pytest.mark.nightly
def test_the_catalogues_hold_what_the_book_says(real):
    messages = catalogues.load(real(catalogues.PACKAGE))
    assert len(messages) == 2949
    assert sum(len(message.source) for message in messages) == 19_618
    assert sum(len(message.target) for message in messages) == 24_070
    assert digest(messages) == "286818abce7ddfa1a2c6eb1b0c524318a970841b00b06656083eba20d7f4832b"
    enable = next(message for message in messages if message.source == ("enable", "debugger"))
    assert enable.target == ("activer", "le", "débogueur")
    assert [len(part) for part in split(messages)] == [2515, 146, 288]


@pytest.mark.data
@pytest.mark.nightly
def test_the_reviews_hold_what_the_book_says(real):
    path = real(reviews.PACKAGE)
    products, films = reviews.load(path), reviews.films(path)
    assert [len(products), sum(len(review.sentences) for review in products), len(films)] == [300, 3708, 10_605]
    assert {len(sentence.ratings) for review in products for sentence in review.sentences} == {20}
    assert {len(film.sentences[0].ratings) for film in films} == set(range(15, 30))
    said = [hashlib.sha256(json.dumps(part, ensure_ascii=False).encode()).hexdigest() for part in (products, films)]
    assert said == [
        "0bcceb484e1303a03d1752d0c8478630950a9d250d633d868e6da39ab534ea61",
        "df68418c3fff16be3ff44766b43e89f314291670b32fc84c03be3c0bca577fd5",
    ]


def test_what_cannot_be_had_is_skipped_and_what_is_wrong_is_not(real, tmp_path, monkeypatch):
    monkeypatch.setenv("ATTNLIB_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shop"))
    (tmp_path / "shop").mkdir()
    package = wheel(tmp_path / "shop", "tiny-words", "1.0", {"words.txt": "one two"})
    with pytest.raises(DataError, match="MATCH THE HASHES"):
        real(package._replace(sha256="0" * 64))
    with pytest.raises(pytest.skip.Exception, match="no package index here"):
        real(package._replace(version="2.0", file="tiny_words-2.0-py3-none-any.whl"))
    shutil.copy(real(package), tmp_path)
    (tmp_path / "cache" / package.file).write_bytes(b"rotten")
    with pytest.raises(DataError, match="Delete"):
        real(package)
