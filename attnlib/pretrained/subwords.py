"""Texts in pieces of words, as two kinds of models read them: WordPiece, and pairs of bytes that were merged."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["BytePairs", "Piece", "WordPieces"]

_ENDINGS = re.compile(r"'(?:s|t|re|ve|m|ll|d)")
_LONGEST = 100


class Piece(NamedTuple):
    """A token: its number, its letters as the vocabulary has them, and the number of the word that it is of.

    The word of a token that stands for none, such as ``[CLS]``, is -1.
    """

    number: int
    text: str
    word: int


class WordPieces:
    """The pieces of BERT without capitals: of each word the longest beginning that is known, then of the rest.

    Args:
        vocabulary: the pieces, by number; those that go on with a word begin with ``##``.

    Source: Devlin et al. 2019, section 3 [devlin2019], and the files of the package that it is read from.

    >>> pieces = WordPieces(["[UNK]", "[CLS]", "[SEP]", "the", "bank", "##ers", "."])
    >>> [piece.text for piece in pieces.encode("The bankers.")]
    ['[CLS]', 'the', 'bank', '##ers', '.', '[SEP]']
    """

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self.numbers = {piece: number for number, piece in enumerate(vocabulary)}

    def encode(self, text: str) -> list[Piece]:
        """The text's pieces between ``[CLS]`` and ``[SEP]``."""
        found = [(piece, i) for i, word in enumerate(_words(text)) for piece in self._pieces(word)]
        return [Piece(self.numbers[piece], piece, i) for piece, i in (("[CLS]", -1), *found, ("[SEP]", -1))]

    def _pieces(self, word: str) -> list[str]:
        found: list[str] = []
        at = 0
        while at < len(word):
            start = "##" if at else ""
            ends = range(len(word), at, -1) if len(word) <= _LONGEST else ()
            end = next((end for end in ends if start + word[at:end] in self.numbers), None)
            if end is None:
                return ["[UNK]"]
            found.append(start + word[at:end])
            at = end
        return found


def _words(text: str) -> list[str]:
    """Words without capitals and accents; each mark and each Chinese character is one."""
    found = [""]
    for letter in unicodedata.normalize("NFD", text).lower():
        kind = unicodedata.category(letter)
        if letter.isspace():
            found.append("")
        elif letter in ("\0", "\ufffd") or kind == "Mn" or kind[0] == "C":
            continue
        elif kind[0] == "P" or (letter.isascii() and not letter.isalnum()) or "\u3400" <= letter <= "\u9fff":
            found += [letter, ""]
        else:
            found[-1] += letter
    return [word for word in found if word]


class BytePairs:
    """Pieces by merging: the bytes of a word, of which the pair that was merged first in training is merged first.

    A space belongs to the word after it and is written ``Ġ``; each digit is a word.

    Args:
        vocabulary: the pieces, by number, each byte as a letter that can be printed.
        merges: pairs of pieces, in the order in which they were merged, each as ``"left right"``.

    Source: Sennrich et al. 2016, section 3.2 [sennrich2016]; over bytes: Radford et al. 2019, section 2.2
    [radford2019].

    >>> pieces = BytePairs(["a", "b", "Ġ", "ab", "Ġab"], ["a b", "Ġ ab"])
    >>> [piece.text for piece in pieces.encode("aba ab")]
    ['ab', 'a', 'Ġab']
    """

    def __init__(self, vocabulary: Iterable[str], merges: Sequence[str]) -> None:
        self.numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self.ranks = {tuple(pair.split(" ")): rank for rank, pair in enumerate(merges)}

    def encode(self, text: str) -> list[Piece]:
        """The text's pieces; nothing is put before or after."""
        found = [(piece, i) for i, word in enumerate(_runs(text)) for piece in self._merged(word)]
        return [Piece(self.numbers[piece], piece, i) for piece, i in found]

    def _merged(self, word: str) -> list[str]:
        pieces = [_LETTERS[byte] for byte in word.encode("utf-8")]
        while len(pieces) > 1:
            ranks = [self.ranks.get(pair, len(self.ranks)) for pair in itertools.pairwise(pieces)]
            best = min(ranks)
            if best == len(self.ranks):
                break
            at = ranks.index(best)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
        return pieces


def _letters() -> list[str]:
    """A letter for each byte: itself where it can be printed, else one from 256 on."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printed else chr(next(others)) for byte in range(256)]


_LETTERS = _letters()


def _kind(letter: str) -> str:
    """What a letter is as far as words are cut by it: ``L``, ``N``, a space or another mark."""
    kind = unicodedata.category(letter)[0]
    return " " if letter.isspace() else kind if kind in "LN" else "."


def _runs(text: str) -> Iterator[str]:
    """Words with the space before them; a run of marks is a word, and so are endings such as ``'s``."""
    kinds, at = "".join(map(_kind, text)), 0
    while at < len(text):
        end = _end(text, kinds, at)
        yield text[at:end]
        at = end


def _end(text: str, kinds: str, at: int) -> int:
    """Where the word that begins here ends."""
    if kinds[at] == "N":
        return at + 1
    if ending := _ENDINGS.match(text, at):
        return ending.end()
    first = at + 1 if text[at] == " " and kinds[at + 1 : at + 2] not in ("", " ", "N") else at
    end = first
    while end < len(text) and kinds[end] == kinds[first]:
        end += 1
    # The last of several spaces is left to the word after them, but for digits, which take none.
    leaves = kinds[first] == " " and end - first > 1 and kinds[end : end + 1] not in ("", "N")
    return end - 1 if leaves else end
