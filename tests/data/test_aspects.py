"""Reviews of known opinions: what is said of each is in its words; known wrong versions."""

import itertools

import pytest

from attnlib.data import aspects
from attnlib.data.aspects import POLARITIES, reviews


def check_review(review):
    """Aspects do not overlap, stand in order, and each has a word of opinion of its polarity, which is no other's."""
    assert review.key == " ".join(review.words)
    assert "" not in review.words
    assert len({aspect.polarity for aspect in review.aspects}) > 1
    taken = []
    for aspect in review.aspects:
        said = review.words[aspect.opinion]
        phrase = review.phrase(aspect)
        category = next(c for c in aspects._CATEGORIES if phrase[0 if "of" in phrase else -1] in c.nouns)
        assert said in (*category.opinions[aspect.polarity], *aspects._FOR_ALL[aspect.polarity])
        taken += [*range(aspect.start, aspect.start + aspect.length), aspect.opinion]
        assert len(phrase) in (1, 2, 4)
    assert len(set(taken)) == len(taken)
    assert max(taken) < len(review.words)


def test_reviews_are_what_they_say():
    for review in itertools.islice(reviews(aspects=(2, 4), seed=3), 500):
        check_review(review)


def test_what_is_drawn_is_drawn_alike():
    made = list(reviews(seed=5, count=3000))
    every = [aspect for review in made for aspect in review.aspects]
    for polarity in range(len(POLARITIES)):
        assert sum(aspect.polarity == polarity for aspect in every) / len(every) == pytest.approx(1 / 3, abs=0.03)
    assert sum(len(review.aspects) == 2 for review in made) == pytest.approx(1500, abs=150)
    assert sum(review.words[-3:] == ("in", "that", "order") for review in made) == pytest.approx(750, abs=100)
    assert {aspect.length for aspect in every} == {1, 2, 4}


def test_in_crossed_reviews_the_nearest_opinion_is_not_an_early_aspect_s_own():
    for review in reviews(aspects=(2, 2), crossed=1.0, seed=1, count=50):
        first, second = review.aspects
        assert first.opinion < second.opinion
        assert second.start > first.start
        assert first.opinion > second.start
        check_review(review)
    assert not any(review.words[-1] == "order" for review in reviews(crossed=0.0, seed=1, count=50))


def test_the_same_seed_gives_the_same_reviews_whatever_the_count():
    few, many = list(reviews(seed=2, count=5)), list(itertools.islice(reviews(seed=2), 9))
    assert few == many[:5]
    assert few != list(reviews(seed=3, count=5))


def test_no_word_is_in_two_lists_of_opinions():
    said = [w for c in aspects._CATEGORIES for words in c.opinions for w in words]
    said += [w for words in aspects._FOR_ALL for w in words]
    others = {w for c in aspects._CATEGORIES for w in (*c.nouns, *c.modifiers)}
    assert len(said) == len(set(said))
    assert not others & set(said)


@pytest.mark.parametrize(("given", "message"), [
    ({"aspects": (1, 3)}, r"aspects must be 2 <= fewest <= most <= 4, got \(1, 3\)"),
    ({"aspects": (3, 2)}, "aspects must be"),
    ({"aspects": (2, 9)}, "aspects must be"),
    ({"crossed": 1.5}, "crossed must be from 0 to 1, got 1.5"),
    ({"count": -1}, "count must be at least 0 or None, got -1"),
])  # fmt: skip
def test_bad_arguments_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        reviews(**given)


def wrong(review, fault):
    first, second, *others = review.aspects
    changed = {
        "the other's opinion": lambda: (first._replace(opinion=second.opinion), second),
        "one word late": lambda: (first._replace(start=first.start + 1), second),
        "another polarity": lambda: (first._replace(polarity=(first.polarity + 1) % 3), second),
    }[fault]()
    return review._replace(aspects=(*changed, *others))


@pytest.mark.parametrize("fault", ["the other's opinion", "one word late", "another polarity"])
def test_wrong_reviews_are_rejected(fault):
    made = [wrong(review, fault) for review in reviews(seed=4, count=20)]
    for review in made:
        with pytest.raises((AssertionError, StopIteration)):
            check_review(review)
