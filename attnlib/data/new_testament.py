"""The Greek New Testament beside an English one, with links between words that people drew.

Greek: SBL Greek New Testament [sblgnt]. English: Berean Standard Bible [bsb]. Links: Clear Bible and Biblica
[clearalignments], 115,008 records, each of which says that some Greek words and some English words stand for each
other; a record is read as a link from each of the one to each of the other, 189,927 in all.

What is left out. English punctuation, unless it is asked for (no record links it; the Greek file has none). The 454
links between words of different verses. Verses that only one of the two texts has (3 and 4 of them). So 7,936 verses
remain, in 17 of which nobody drew a link: their ``links`` are empty, and an error of alignment is not defined there.
"""

import csv
import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from .packages import DataError, Package, fetch
from .pairs import Keyed, Pair, Split, checked_links, split_by

__all__ = ["BOOKS", "PACKAGE", "Verse", "book", "glosses", "load", "pairs", "reference", "split_by_book"]

PACKAGE = Package(
    "bible-alignments",
    "0.4.2",
    "bible_alignments-0.4.2-py3-none-any.whl",
    "84f6b15e706657777824aac811567cb5cb2b38ad2b94497209f5f3c3f67b0984",
)
GREEK = "data/sources/SBLGNT.tsv"
ENGLISH = "data/eng/targets/BSB/nt_BSB.tsv"
RECORDS = "data/eng/alignments/BSB/SBLGNT-BSB-manual.json"

_NOT_SAID = re.compile(r"\[[^]]*\]|[*~.,;:?!]")  # in a gloss: words that English adds, and marks

_NAMES = (
    "Matthew, Mark, Luke, John, Acts, Romans, 1 Corinthians, 2 Corinthians, Galatians, Ephesians, Philippians, "
    "Colossians, 1 Thessalonians, 2 Thessalonians, 1 Timothy, 2 Timothy, Titus, Philemon, Hebrews, James, 1 Peter, "
    "2 Peter, 1 John, 2 John, 3 John, Jude, Revelation"
)
BOOKS: dict[str, str] = {str(number): name for number, name in enumerate(_NAMES.split(", "), 40)}
"""Names of the books by the first two digits of a key, in their order."""


class Verse(NamedTuple):
    """One verse in both languages.

    ``key`` is book, chapter and verse as ``BBCCCVVV`` (:func:`reference` reads it aloud); ``forms`` are the Greek words
    as they stand and ``lemmas`` their dictionary forms, one for each; ``words`` are English; ``links`` are
    ``(position in words, position in forms)``.
    """

    key: str
    forms: tuple[str, ...]
    lemmas: tuple[str, ...]
    words: tuple[str, ...]
    links: frozenset[tuple[int, int]]

    def pair(self, *, source: Literal["lemmas", "forms"] = "lemmas", lower: bool = True) -> Pair:
        """Greek to English: lemmas or forms as the source, both sides in lower case unless ``lower`` is false."""
        if source not in ("lemmas", "forms"):
            raise ValueError(f"source must be 'lemmas' or 'forms', got {source!r}")
        greek, english = (self.lemmas if source == "lemmas" else self.forms), self.words
        if lower:
            greek, english = tuple(map(str.lower, greek)), tuple(map(str.lower, english))
        return Pair(self.key, greek, english, self.links)


def load(path: Path | str | None = None, *, punctuation: bool = False) -> list[Verse]:
    """All verses that both texts have, in their order.

    Args:
        path: the wheel, or another zip that is laid out like it; by default that of ``PACKAGE``, fetched once.
        punctuation: keep the English punctuation marks as words; positions in ``links`` count what is kept.

    Returns:
        Verses by rising key, each with at least one word in each language.

    Raises:
        DataError: the package could not be fetched, or a file in it is not as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            greek = list(_rows(archive, GREEK, "id", "text", "lemma"))
            english = list(_rows(archive, ENGLISH, "id", "source_verse", "text", "exclude"))
            records = json.loads(archive.read(RECORDS))["records"]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"{path}: expected {GREEK}, {ENGLISH} and {RECORDS} in a zip, got: {error}") from error

    forms: defaultdict[str, list[str]] = defaultdict(list)
    lemmas: defaultdict[str, list[str]] = defaultdict(list)
    words: defaultdict[str, list[str]] = defaultdict(list)
    place: dict[str, tuple[str, int]] = {}  # a word's verse and position; those that are left out have none
    for name, text, lemma in sorted(greek):
        key = name[1:9]
        place[name] = key, len(forms[key])
        forms[key].append(text)
        lemmas[key].append(lemma)
    for name, key, text, exclude in sorted(english):
        place[name] = key, -1
        if punctuation or not exclude:
            place[name] = key, len(words[key])
            words[key].append(text)

    links: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    for record in records:
        try:
            ends = [[place[name] for name in record[side]] for side in ("source", "target")]
        except KeyError as error:
            raise DataError(f"{path}, {RECORDS}: expected words that the texts have, got {error}") from error
        for key, across in ends[0]:
            links[key].update((down, across) for verse, down in ends[1] if verse == key and down >= 0)

    return [
        Verse(key, tuple(forms[key]), tuple(lemmas[key]), tuple(words[key]), _checked(key, forms, words, links))
        for key in sorted(forms.keys() & words.keys())
    ]


def glosses(path: Path | str | None = None) -> dict[str, tuple[str, ...]]:
    """What each Greek word says in its verse, in a word or a few of English; empty where English has none for it.

    Args:
        path: as of :func:`load`.

    Returns:
        By the key of a verse, a gloss for each of its ``forms``.

    Raises:
        DataError: the package could not be fetched, or the Greek file in it is not as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    found: defaultdict[str, list[str]] = defaultdict(list)
    try:
        with zipfile.ZipFile(path) as archive:
            for name, gloss in sorted(_rows(archive, GREEK, "id", "gloss2")):
                found[name[1:9]].append(" ".join(_NOT_SAID.sub(" ", gloss).split()))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"{path}: expected {GREEK} in a zip, got: {error}") from error
    return {key: tuple(verse) for key, verse in found.items()}


def _checked(
    key: str, forms: dict[str, list[str]], words: dict[str, list[str]], links: dict[str, set[tuple[int, int]]]
) -> frozenset[tuple[int, int]]:
    return checked_links(key, len(forms[key]), len(words[key]), links.get(key, ()))


def _rows(archive: zipfile.ZipFile, name: str, *columns: str) -> Iterator[tuple[str, ...]]:
    """The named columns of a table; a quotation mark in it is a character like any other."""
    with archive.open(name) as file:
        table = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(table, [])
        if missing := [column for column in columns if column not in header]:
            raise ValueError(f"{name} without the column {missing[0]}")
        at = [header.index(column) for column in columns]
        for row in table:
            if len(row) != len(header):
                raise ValueError(f"{name}, line {table.line_num}, with {len(row)} of {len(header)} columns")
            yield tuple(row[index] for index in at)


def pairs(verses: Iterable[Verse], *, source: Literal["lemmas", "forms"] = "lemmas", lower: bool = True) -> list[Pair]:
    """:meth:`Verse.pair` of each verse.

    >>> verse = Verse("43011035", ("ἐδάκρυσεν", "ὁ", "Ἰησοῦς"), ("δακρύω", "ὁ", "Ἰησοῦς"), ("Jesus", "wept"),
    ...               frozenset({(0, 2), (1, 0)}))
    >>> pairs([verse], source="forms")[0].source
    ('ἐδάκρυσεν', 'ὁ', 'ἰησοῦς')
    """
    return [verse.pair(source=source, lower=lower) for verse in verses]


def book(key: str) -> str:
    """The book that a verse stands in.

    >>> book("43011035")
    'John'
    """
    if len(key) != 8 or not key.isdecimal() or key[:2] not in BOOKS:
        raise ValueError(f"key must be BBCCCVVV with a book from 40 to 66, got {key!r}")
    return BOOKS[key[:2]]


def reference(key: str) -> str:
    """A key as people cite it.

    >>> reference("43011035")
    'John 11:35'
    """
    return f"{book(key)} {int(key[2:5])}:{int(key[5:])}"


def split_by_book(
    items: Iterable[Keyed], *, dev: Collection[str] = ("2 Corinthians",), test: Collection[str] = ("Mark",)
) -> Split:
    """Whole books held out: stricter than :func:`~attnlib.data.pairs.split`, as no neighbour of a verse was seen.

    Args:
        items: verses or pairs, with the keys of :func:`load`.
        dev: names of the books that make the dev part.
        test: names of those that make the test part.

    Returns:
        The parts ``train``, ``dev`` and ``test``.

    Raises:
        ValueError: a name that is not in ``BOOKS``, or a book in both parts.
    """
    dev, test = set(dev), set(test)
    for name, chosen in (("dev", dev), ("test", test)):
        if unknown := chosen - set(BOOKS.values()):
            raise ValueError(f"{name} must be names of books such as 'Mark', got {min(unknown)!r}")
    if both := dev & test:
        raise ValueError(f"dev and test must be different books, got {min(both)!r} in both")
    items = list(items)
    return split_by(items, [book(item.key) for item in items], dev, test)
