"""Reviews made by us, in which each aspect has an opinion of its own, and it is known which word says it.

A sentence speaks of a few aspects: "the battery is weak , but i find the screen really bright". Of each it is known
where it stands, what is thought of it (negative, neutral or positive), and where the word of opinion stands, so that
attention can be scored. The opinions in one sentence are never all alike.

How it is made. An aspect is a noun of one of eight categories: alone, with a modifier, or of a noun of another category
("the price of the soup", whose head is the price). Its opinion is a word that suits the category, or one that suits
all. Clauses come in five forms, with the opinion before or after the noun; a sixth form names all aspects first and
then all opinions, "in that order", so that the nearest opinion is often another's. Openings, adverbs and joints are
drawn too.

What it cannot show. Nobody wrote these sentences. There is no negation, no irony, no opinion without its word, no word
whose polarity hangs on its noun, and some are odd ("the battery of the waiter"). They are a test of attention, not of
understanding.
"""

import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["POLARITIES", "Aspect", "Review", "reviews"]

POLARITIES = ("negative", "neutral", "positive")


class Aspect(NamedTuple):
    """What an opinion is about: where it begins, how many words it has; its polarity; where the word of opinion is."""

    start: int
    length: int
    polarity: int
    opinion: int


class Review(NamedTuple):
    """A sentence and its aspects, in the order of the words; ``key`` is what it says."""

    key: str
    words: tuple[str, ...]
    aspects: tuple[Aspect, ...]

    def phrase(self, aspect: Aspect) -> tuple[str, ...]:
        """The words of an aspect."""
        return self.words[aspect.start : aspect.start + aspect.length]


class _Category(NamedTuple):
    nouns: tuple[str, ...]
    modifiers: tuple[str, ...]
    opinions: tuple[tuple[str, ...], ...]  # negative, neutral, positive


def _category(nouns: str, modifiers: str, negative: str, neutral: str, positive: str) -> _Category:
    opinions = tuple(tuple(words.split()) for words in (negative, neutral, positive))
    return _Category(tuple(nouns.split()), tuple(modifiers.split()), opinions)


_CATEGORIES = (
    _category("soup bread fish dessert", "warm daily vegetable", "stale bland salty", "plain", "tasty fresh delicious"),
    _category("price bill fee", "menu weekend extra", "steep absurd inflated", "usual", "fair low reasonable"),
    _category("service staff waiter", "table evening front", "rude slow careless", "routine", "friendly polite prompt"),
    _category("screen display monitor", "touch colour main", "dim blurry scratched", "matte", "bright sharp crisp"),
    _category("battery charger plug", "spare phone travel", "weak flat fading", "standard", "lasting strong tireless"),
    _category("room bed bathroom", "guest double corner", "dirty noisy cramped", "square", "spacious clean quiet"),
    _category("sound speaker radio", "bass stereo car", "tinny muffled shrill", "mono", "clear rich mellow"),
    _category("keyboard mouse pen", "wireless office gaming", "sticky stiff wobbly", "grey", "smooth precise handy"),
)
_FOR_ALL = (
    ("bad", "awful", "poor", "terrible"),
    ("average", "okay", "ordinary"),
    ("good", "great", "lovely", "superb"),
)
_OPENINGS = ("", "", "after a week", "to be honest ,", "for this hotel", "as my sister says ,", "on a busy day")
_ADVERBS = ("", "", "really", "quite", "so", "rather")
_JOINTS = (", but", "and", ", while", ", yet")
_CLAUSES = (
    "the {aspect} is {adverb} {opinion}",
    "i find the {aspect} {adverb} {opinion}",
    "{adverb} {opinion} is what i call the {aspect}",
    "they have a {adverb} {opinion} {aspect}",
    "{opinion} , that is the {aspect}",
)


def reviews(
    *, aspects: tuple[int, int] = (2, 3), crossed: float = 0.25, seed: int = 0, count: int | None = None
) -> Iterator[Review]:
    """Reviews without end, or so many.

    Args:
        aspects: fewest and most aspects of a sentence, from 2 to 4.
        crossed: the share of sentences that name the aspects first and then the opinions in the same order.
        seed: another one gives other reviews.
        count: how many; ``None`` for no end.

    Returns:
        Reviews whose key is what they say, so that a sentence that comes twice stays in one part of a split.

    Raises:
        ValueError: ``aspects`` that are not rising within 2 to 4, ``crossed`` not from 0 to 1, ``count`` below 0.

    >>> review = next(reviews(seed=6))
    >>> review.key
    'rather terrible is what i call the pen , but they have a really good sound'
    >>> [(" ".join(review.phrase(x)), review.words[x.opinion], POLARITIES[x.polarity]) for x in review.aspects]
    [('pen', 'terrible', 'negative'), ('sound', 'good', 'positive')]
    """
    fewest, most = aspects
    if not 2 <= fewest <= most <= 4:
        raise ValueError(f"aspects must be 2 <= fewest <= most <= 4, got {aspects}")
    if not 0 <= crossed <= 1:
        raise ValueError(f"crossed must be from 0 to 1, got {crossed}")
    if count is not None and count < 0:
        raise ValueError(f"count must be at least 0 or None, got {count}")
    draw = random.Random(seed)
    return (_review(draw, fewest, most, crossed) for _ in (itertools.count() if count is None else range(count)))


def _review(draw: random.Random, fewest: int, most: int, crossed: float) -> Review:
    n = draw.randint(fewest, most)
    polarities = [0] * n
    while len(set(polarities)) == 1:
        polarities = [draw.randrange(len(POLARITIES)) for _ in range(n)]
    categories = draw.sample(range(len(_CATEGORIES)), n)
    phrases = [_phrase(draw, category) for category in categories]
    opinions = []
    for category, polarity in zip(categories, polarities, strict=True):
        suited = draw.random() < 0.5
        opinions.append(draw.choice(_CATEGORIES[category].opinions[polarity] if suited else _FOR_ALL[polarity]))
    # A marked word says whose it is: "aspect 1" and "opinion 1" of the second aspect.
    parts: list[tuple[str, str]] = [(word, "") for word in draw.choice(_OPENINGS).split()]
    if draw.random() < crossed:
        parts += _listed([[("the", ""), *((word, f"aspect {i}") for word in phrases[i])] for i in range(n)])
        parts.append(("are", ""))
        parts += _listed([[(opinions[i], f"opinion {i}")] for i in range(n)])
        parts += [(word, "") for word in ("in", "that", "order")]
    else:
        for i in range(n):
            parts += [(word, "") for word in draw.choice(_JOINTS).split()] if i else []
            parts += _clause(draw, phrases[i], opinions[i], i)
    words = tuple(word for word, _ in parts)
    found = []
    for i in range(n):
        own = [place for place, (_, mark) in enumerate(parts) if mark == f"aspect {i}"]
        said = next(place for place, (_, mark) in enumerate(parts) if mark == f"opinion {i}")
        found.append(Aspect(own[0], len(own), polarities[i], said))
    return Review(" ".join(words), words, tuple(found))


def _phrase(draw: random.Random, category: int) -> list[str]:
    """A noun, alone, with a modifier, or of a noun of another category."""
    own = _CATEGORIES[category]
    noun, form = draw.choice(own.nouns), draw.random()
    if form < 0.4:
        return [noun]
    if form < 0.7:
        return [draw.choice(own.modifiers), noun]
    other = draw.choice([each for each in _CATEGORIES if each is not own])
    return [noun, "of", "the", draw.choice(other.nouns)]


def _clause(draw: random.Random, phrase: list[str], opinion: str, i: int) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    for piece in draw.choice(_CLAUSES).split():
        if piece == "{aspect}":
            parts += [(word, f"aspect {i}") for word in phrase]
        elif piece == "{opinion}":
            parts.append((opinion, f"opinion {i}"))
        elif piece == "{adverb}":
            parts += [(word, "") for word in draw.choice(_ADVERBS).split()]
        else:
            parts.append((piece, ""))
    return parts


def _listed(groups: list[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """One, two and three."""
    parts: list[tuple[str, str]] = []
    for i, group in enumerate(groups):
        if i:
            parts.append(("and" if i == len(groups) - 1 else ",", ""))
        parts += group
    return parts
