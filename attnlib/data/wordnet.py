"""Words in two senses, in sentences that a dictionary gives as examples: WordNet 3.0 [miller1995].

WordNet groups words into sets of synonyms, a set for each sense, with a gloss and, for some, examples. Each set stands
in one of 45 files of lexicographers, such as ``noun.artifact`` or ``verb.motion``: a coarse sense, of which there are
enough examples to learn from.

It comes in Debian's package ``wordnet-base``, which this reads as an archive, or where it is installed. No index of
Python packages has it.
"""

import hashlib
import io
import re
import tarfile
from pathlib import Path
from typing import NamedTuple

from .packages import DataError, cache

__all__ = ["FILE", "FOLDER", "KINDS", "SHA256", "Sense", "Use", "load", "tokenise", "uses"]

FILE = "wordnet-base_3.0-37_all.deb"
SHA256 = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
FOLDER = Path("/usr/share/wordnet")
PARTS = ("noun", "verb", "adj", "adv")
_NOUNS = (
    "tops act animal artifact attribute body cognition communication event feeling food group location motive object "
    "person phenomenon plant possession process quantity relation shape state substance time"
)
_VERBS = (
    "body change cognition communication competition consumption contact creation emotion motion perception possession "
    "social stative weather"
)
KINDS = (
    *("adj.all", "adj.pert", "adv.all"),
    *(f"noun.{kind}" for kind in _NOUNS.split()),
    *(f"verb.{kind}" for kind in _VERBS.split()),
    "adj.ppl",
)
"""The files of lexicographers by their number."""

_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)*")
_EXAMPLE = re.compile(r'"([^"]+)"')


class Sense(NamedTuple):
    """A set of synonyms: its key, which of :data:`KINDS` it is of, its words, its gloss, and its examples."""

    key: str
    kind: str
    words: tuple[str, ...]
    gloss: str
    examples: tuple[str, ...]


class Use(NamedTuple):
    """A word in an example of one of its senses: the sentence, where it stands, its dictionary form, and the sense."""

    words: tuple[str, ...]
    place: int
    lemma: str
    sense: Sense


def tokenise(text: str) -> tuple[str, ...]:
    """Words in lower case, without numbers and marks.

    >>> tokenise("He couldn't catch the No. 9 bus")
    ('he', "couldn't", 'catch', 'the', 'no', 'bus')
    """
    return tuple(_TOKEN.findall(text.lower()))


def load(path: Path | str | None = None) -> list[Sense]:
    """All senses, nouns first, then verbs, adjectives and adverbs.

    Args:
        path: Debian's package, or a folder with the files ``data.noun`` and so on; by default the package in the
            :func:`~attnlib.data.packages.cache` folder under the name ``FILE``, or else the folder that it installs.

    Returns:
        Senses in the order of the files.

    Raises:
        DataError: it is not there, a package in the cache folder is another one, or a file in it is not as expected.
    """
    found = []
    for part, text in _texts(path).items():
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("  "):  # the licence, which is at the head of each file
                continue
            head, _, gloss = line.partition("|")
            try:
                fields = head.split()
                count = int(fields[3], 16)
                words = tuple(fields[4 + 2 * i].lower() for i in range(count))
                kind = KINDS[int(fields[1])]
            except (IndexError, ValueError) as error:
                raise DataError(f"data.{part}, line {number}: expected a set of synonyms, got {line[:40]!r}") from error
            told = _EXAMPLE.sub("", gloss).strip(" ;")
            found.append(Sense(f"{part} {fields[0]}", kind, words, told, tuple(_EXAMPLE.findall(gloss))))
    return found


def uses(senses: list[Sense], *, parts: tuple[str, ...] = ("noun", "verb")) -> list[Use]:
    """The examples in which a word of the sense stands, as it is or with an ending.

    Forms that follow no rule are not found, nor are words of several parts. A sentence comes once for each of the
    sense's words that is in it.

    Args:
        senses: from :func:`load`.
        parts: of which parts of speech.

    >>> bank = Sense("noun 1", "noun.object", ("bank",), "sloping land", ("They sat on the banks of the river.",))
    >>> [(use.words[use.place], use.lemma) for use in uses([bank])]
    [('banks', 'bank')]
    """
    found = []
    for sense in senses:
        if sense.key.split()[0] not in parts:
            continue
        for words in map(tokenise, sense.examples):
            for lemma in sense.words:
                place = next((i for i, word in enumerate(words) if word in _forms(lemma)), None)
                if place is not None:
                    found.append(Use(words, place, lemma, sense))
    return found


def _forms(lemma: str) -> set[str]:
    """A word with the endings of English nouns and verbs, some of which do not exist."""
    found = {lemma + end for end in ("", "s", "es", "d", "ed", "ing", lemma[-1] + "ed", lemma[-1] + "ing")}
    if lemma.endswith("e"):
        found.add(lemma[:-1] + "ing")
    if lemma.endswith("y"):
        found |= {lemma[:-1] + "ies", lemma[:-1] + "ied"}
    return found


def _texts(path: Path | str | None) -> dict[str, str]:
    path = _found() if path is None else Path(path)
    try:
        if path.is_dir():
            return {part: (path / f"data.{part}").read_text("utf-8") for part in PARTS}
        with tarfile.open(fileobj=io.BytesIO(_member(path.read_bytes(), "data.tar"))) as archive:
            members = {Path(member.name).name: member for member in archive if member.isfile()}
            found = {}
            for part in PARTS:
                file = archive.extractfile(members[f"data.{part}"])
                assert file is not None
                found[part] = file.read().decode("utf-8")
            return found
    except (OSError, KeyError, ValueError, EOFError, tarfile.TarError) as error:
        raise DataError(
            f"expected WordNet 3.0 in {path}, got: {error}. Debian's package wordnet-base has it: install it, or put "
            f"the package as {FILE} into {cache()}"
        ) from error


def _found() -> Path:
    """The package in the cache folder, which has to be the one that is named here; without one, what is installed."""
    path = cache() / FILE
    if not path.exists():
        return FOLDER
    if (digest := hashlib.sha256(path.read_bytes()).hexdigest()) != SHA256:
        raise DataError(f"expected {path} with SHA-256 {SHA256}, got {digest}: put the right one in its place")
    return path


def _member(archive: bytes, name: str) -> bytes:
    """The member of an ``ar`` archive, as a Debian package is, whose name begins so."""
    names, at = [], 8
    while at + 60 <= len(archive):
        found, size = archive[at : at + 16].decode("ascii").strip(), int(archive[at + 48 : at + 58])
        if found.startswith(name):
            return archive[at + 60 : at + 60 + size]
        names.append(found)
        at += 60 + size + size % 2
    raise ValueError(f"no {name} among {', '.join(names) or 'nothing'}")
