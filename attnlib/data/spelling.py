"""Which letters of a word can carry which of its sounds, by a table of ours and by order alone.

Nobody has linked the sounds of the dictionary to letters. What stands here is no substitute for people's links; it is
what is left when all is struck out that cannot be: a sound stands on a letter that is known to carry it somewhere in
English, and sounds go through the letters forwards. Where one letter is left, it is taken for sure.
"""

from collections.abc import Sequence
from functools import cache

from .pronunciations import SOUNDS

__all__ = ["CARRIERS", "SHARED", "carriers", "silent"]

_VOWELS = "aeiouy"
CARRIERS: dict[str, str] = dict.fromkeys(
    ["AA", "AE", "AH", "AY", "EH", "EY", "IH", "IY", "OY", "UH"],
    _VOWELS,
) | {
    **dict.fromkeys(["AO", "AW", "OW", "UW"], _VOWELS + "w"),
    "ER": _VOWELS + "r",
    "B": "b",
    "CH": "cht",
    "D": "d",
    "DH": "th",
    "F": "fphg",
    "G": "gx",
    "HH": "hwj",
    "JH": "jgd",
    "K": "ckqxhg",
    "L": "l",
    "M": "m",
    "N": "n",
    "NG": "ng",
    "P": "p",
    "R": "r",
    "S": "scxz",
    "SH": "shctx",
    "T": "tdz",
    "TH": "th",
    "V": "vfw",
    "W": "wuo",
    "Y": "yiuej",
    "Z": "zsx",
    "ZH": "sgzjtx",
}
# Letters that carry two sounds at once, and which.
SHARED: dict[str, tuple[tuple[str, str], ...]] = {
    "x": (("K", "S"), ("G", "Z"), ("K", "SH"), ("G", "ZH")),
    "u": (("Y", "UW"), ("Y", "UH"), ("Y", "AH"), ("Y", "ER")),
    "o": (("W", "AH"),),
    "z": (("T", "S"),),
}
_SYLLABIC = ("L", "M", "N")  # before these AH may have no letter, as in "little" and "rhythm"


def carriers(word: str, sounds: Sequence[str]) -> list[frozenset[int]] | None:
    """For each sound the places of the letters that carry it in some way to put all sounds on letters in order.

    Each sound stands on a letter of its line in ``CARRIERS``, behind the letter of the sound before, or on the same
    where ``SHARED`` lists the two. Where there is no such way, an AH before L, M or N may go without a letter.

    Args:
        word: letters from a to z.
        sounds: of ``attnlib.data.pronunciations.SOUNDS``.

    Returns:
        A set a sound: of one place where the letter is sure, of none for an AH that may go without; None where no way
        is found, as for *colonel*.

    Raises:
        ValueError: a sound that is none.

    Source: ours.

    >>> carriers("knight", ("N", "AY", "T"))
    [frozenset({1}), frozenset({2}), frozenset({5})]
    >>> [sorted(places) for places in carriers("thin", ("TH", "IH", "N"))]
    [[0, 1], [2], [3]]
    >>> [sorted(places) for places in carriers("fox", ("F", "AA", "K", "S"))]
    [[0], [1], [2], [2]]
    """
    if strange := sorted(set(sounds) - set(SOUNDS)):
        raise ValueError(f"sounds must be of {', '.join(SOUNDS)}, got {strange[0]!r}")
    for lenient in (False, True):
        found = _found(word, tuple(sounds), lenient)
        if found is not None:
            return found
    return None


def silent(word: str, found: Sequence[frozenset[int]]) -> frozenset[int]:
    """The places of the letters that carry no sound in any way that :func:`carriers` found.

    >>> sorted(silent("knight", carriers("knight", ("N", "AY", "T"))))
    [0, 3, 4]
    """
    return frozenset(range(len(word))).difference(*found)


def _found(word: str, sounds: tuple[str, ...], lenient: bool) -> list[frozenset[int]] | None:
    """A place is possible for a sound when a way leads to it from the left and one goes on from it to the right."""

    def may_go_without(t: int) -> bool:
        return lenient and sounds[t] == "AH" and t + 1 < len(sounds) and sounds[t + 1] in _SYLLABIC

    @cache
    def goes_on(t: int, last: int) -> bool:
        """Can the sounds from ``t`` on be put, the one before them on the letter ``last``?"""
        if t == len(sounds):
            return True
        if may_go_without(t) and goes_on(t + 1, last):
            return True
        return any(goes_on(t + 1, i) for i in nexts(t, last))

    def nexts(t: int, last: int) -> list[int]:
        """Where the sound ``t`` can stand after a sound on the letter ``last``."""
        here = [i for i in range(last + 1, len(word)) if word[i] in CARRIERS[sounds[t]]]
        if last >= 0 and t and (sounds[t - 1], sounds[t]) in SHARED.get(word[last], ()):
            here.append(last)
        return here

    if not goes_on(0, -1):
        return None
    possible: list[set[int]] = [set() for _ in sounds]
    without: set[int] = set()
    reached = {-1}
    for t in range(len(sounds)):
        onward: set[int] = set()
        for last in reached:
            for i in nexts(t, last):
                if goes_on(t + 1, i):
                    possible[t].add(i)
                    onward.add(i)
            if may_go_without(t) and goes_on(t + 1, last):
                without.add(t)
                onward.add(last)
        reached = onward
    return [frozenset() if t in without else frozenset(places) for t, places in enumerate(possible)]
