"""English and French texts of a program's menus and messages: short, real, and nobody's sacred text.

From the French language pack of JupyterLab [jupyterlabfr]. Nobody linked their words, so ``links`` are empty. The pack
holds each catalogue twice, compiled for gettext and as JSON with the same messages; the JSON is read.

What is left out: texts that are the same in both languages (names, mostly), texts without a letter, plural forms after
the first (their English is not in the file), and each further translation of the same English words.
"""

import hashlib
import json
import re
import zipfile
from pathlib import Path

from .packages import DataError, Package, fetch
from .pairs import Pair

__all__ = ["PACKAGE", "load", "tokenise"]

PACKAGE = Package(
    "jupyterlab-language-pack-fr-FR",
    "4.5.post3",
    "jupyterlab_language_pack_fr_fr-4.5.post3-py2.py3-none-any.whl",
    "9f6ce9d4e64b367ff084a2313af29d6ad8a02d1d08000f3e6c53e2856fa9a11f",
)
CATALOGUES = re.compile(r"[^/]+/locale/fr_FR/LC_MESSAGES/[^/]+\.json")

_PLACEHOLDER = r"%\d+|%\(\w+\)[sdif]|%[sdif]\b|\{[\w.]*\}|`[^`\n]+`|https?://[^\s<>()]*[\w/]|</?[a-zA-Z][^<>]*>|&\w+;"
_NUMBER_OR_WORD = r"\w+(?:[-.]\w+)*"
_ENGLISH = re.compile(rf"({_PLACEHOLDER})|{_NUMBER_OR_WORD}(?:['’]\w+)?|\.\.\.|\S")
_FRENCH = re.compile(rf"({_PLACEHOLDER})|\w+['’](?=\w)|{_NUMBER_OR_WORD}|\.\.\.|\S")


def tokenise(text: str, *, french: bool = False, lower: bool = True) -> tuple[str, ...]:
    """Words, numbers and marks of a text; what a program fills in or reads (``%1``, ``{}``, code, tags) stays whole.

    Args:
        text: one message.
        french: part a word after its apostrophe, as in *l'extension*; else *don't* stays one word.
        lower: in lower case, all but placeholders.

    >>> tokenise("Don't delete %1 (`Path`)?")
    ("don't", 'delete', '%1', '(', '`Path`', ')', '?')
    >>> tokenise("L'extension %1", french=True)
    ("l'", 'extension', '%1')
    """
    found = (_FRENCH if french else _ENGLISH).finditer(text)
    return tuple(match[0].lower() if lower and not match[1] else match[0] for match in found)


def load(path: Path | str | None = None, *, lower: bool = True) -> list[Pair]:
    """English to French, each English text once.

    Args:
        path: the wheel, or another zip that is laid out like it; by default that of ``PACKAGE``, fetched once.
        lower: in lower case, all but placeholders.

    Returns:
        Pairs by rising key. A key depends on the English words in lower case alone, so that the same text is never in
        two parts of a :func:`~attnlib.data.pairs.split`.

    Raises:
        DataError: the package could not be fetched, or a file in it is not as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    messages: set[tuple[str, str]] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if CATALOGUES.fullmatch(name)]
            for name in names:
                for english, forms in json.loads(archive.read(name)).items():
                    if english:  # the empty one is the catalogue's head
                        messages.add((english.rpartition("\x04")[2], forms[0]))  # context \x04 message
    except (zipfile.BadZipFile, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path}: expected catalogues *.json with lists of texts in a zip, got: {error!r}") from error
    if not names:
        raise DataError(f"{path}: expected catalogues */locale/fr_FR/LC_MESSAGES/*.json, got none")

    pairs: dict[str, Pair] = {}
    for english, french in sorted(messages):
        source, target = tokenise(english), tokenise(french, french=True)
        if source == target or not target or not any(map(str.isalpha, english)):
            continue
        key = hashlib.sha256(" ".join(source).encode()).hexdigest()[:16]
        if key not in pairs:
            if not lower:
                source, target = tokenise(english, lower=False), tokenise(french, french=True, lower=False)
            pairs[key] = Pair(key, source, target)
    return [pairs[key] for key in sorted(pairs)]
