"""Rated reviews: on a tiny archive of ours, and every way in which it can be wrong."""

import tarfile

import pytest
from data_samples import opinions, source_archive

from attnlib.data import DataError, reviews


@pytest.fixture
def sample(tmp_path):
    return lambda files: source_archive(tmp_path, files)


def test_sentences_are_joined_with_their_ratings_and_put_in_order(sample):
    first, second, fourth = reviews.load(sample(opinions()))
    assert [first.key, second.key, fourth.key] == ["1", "2", "4"]
    assert [sentence.text for sentence in first.sentences] == ["A fine lamp!", "It's well-made.", "It broke,  though."]
    assert [sentence.rating for sentence in first.sentences] == [3.5, 2.0, -3.0]  # 10 comes after 2
    assert fourth.sentences == (reviews.Sentence("Meh", ("meh",), (0, -1, 1)),)


def test_films_are_reviews_of_one_sentence(sample):
    films = reviews.films(sample(opinions()))
    assert [film.key for film in films] == ["film 1", "film 2"]
    assert [len(film.sentences) for film in films] == [1, 1]
    assert films[0].sentences[0].rating == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's well-made.", "it's|well-made|."),
        ("''Bright'' 4.5gb (e.g.)", "'|'|bright|'|'|4|.|5gb|(|e|.|g|.|)"),
        ("  DON’T  ", "don’t"),
        ("", ""),
    ],
)
def test_words_and_marks(text, words):
    assert reviews.tokenise(text) == tuple(words.split("|") if words else ())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("GroundTruth", lambda text: text.replace("2_1\t1.5", "2_1\t1.6"), "2_1 with the mean 1.6, but ratings.*1.5"),
        ("GroundTruth", lambda text: text.replace("\tMeh", ""), "GroundTruth.txt, line 3, with 2 of 3 columns"),
        ("GroundTruth", lambda text: text.replace("Meh", "   "), "4_1 without words"),
        ("GroundTruth", lambda text: text.replace("4_1", "5_1"), "got: '5_1'"),
        ("GroundTruth", lambda text: text.replace("4_1\t0", "4_1\tnone"), "could not convert"),
        ("anonDataRatings", lambda text: text.replace("[0, -1, 1]", "[0, -1"), "expected hutto_ICWSM_2014"),
        ("anonDataRatings", lambda text: text.replace("[0, -1, 1]", "[]"), "requires at least one data point"),
        ("anonDataRatings", lambda text: "", "got: '2_1'"),
    ],
)
def test_a_file_that_is_not_as_expected_is_named(sample, name, change, message):
    files = opinions()
    member = f"amazonReviewSnippets_{name}.txt"
    assert change(files[member]) != files[member]
    with pytest.raises(DataError, match=message):
        reviews.load(sample(files | {member: change(files[member])}))


def test_what_is_no_archive_is_refused(sample, tmp_path):
    with pytest.raises(DataError, match="GroundTruth"):
        reviews.load(sample({}))
    empty = tmp_path / "empty.tar.gz"
    tarfile.open(empty, "w:gz").close()
    with pytest.raises(DataError, match="hutto_ICWSM_2014"):
        reviews.films(empty)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(DataError, match="text: expected"):
        reviews.load(tmp_path / "text")


def test_words_have_the_ratings_of_ten_people(tmp_path):
    words = ":-)\t1.3\t0.5\t[1, 2, 1]\nawful\t-2.0\t0.9\t[-2, -3, -1]\nawful\t-2.5\t0.5\t[-2, -3]\n"
    assert reviews.lexicon(source_archive(tmp_path, {}, words)) == {":-)": (1, 2, 1), "awful": (-2, -3)}
    for bad, message in (("awful\t-2.0\n", "with 2 of 4"), (words.replace("[1, 2", "[one, 2"), "rated words in")):
        with pytest.raises(DataError, match=message):
            reviews.lexicon(source_archive(tmp_path, {}, bad))
    with pytest.raises(DataError, match="vader_lexicon"):
        reviews.lexicon(source_archive(tmp_path, {}))
