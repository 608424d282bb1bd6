"""Tasks whose alignment is known, because we made them: copy, reverse, and dates as people write them.

Each is a generator of :class:`~attnlib.data.pairs.Pair`, endless unless ``count`` is given. Its random numbers are
its own: the same arguments give the same pairs in every process, and the first ten are the same whatever ``count`` is.
"""

import datetime
import itertools
import random
from collections.abc import Callable, Iterator

from .pairs import Pair

__all__ = ["FORMATS", "copy", "dates", "reverse"]

_MONTHS = [
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
]
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

FORMATS = (
    "the {day}{th} of {month} {year}",
    "{day} {month} {year}",
    "{month} {day} , {year}",
    "{month} {day}{th} , {year}",
    "{weekday} , {day} {month} {year}",
    "{weekday} the {day}{th} of {month} , {year}",
    "{mon} {day} {year}",
    "{day} {mon} {year}",
    "{day} . {number} . {year}",
    "in {year} , on {month} {day}",
)
"""How :func:`dates` writes a date."""


def copy(
    *, lengths: tuple[int, int] = (3, 10), symbols: int = 20, seed: int = 0, count: int | None = None
) -> Iterator[Pair]:
    """Say again what was read: word :math:`t` of the target is word :math:`t` of the source.

    Args:
        lengths: shortest and longest sentence; each length in between is as likely.
        symbols: how many different words there are, ``w0``, ``w1`` and so on.
        seed: another one gives other pairs.
        count: how many pairs; ``None`` for no end.

    Returns:
        Pairs whose key is what they say, so that a sentence that comes twice stays in one part of a split.

    Raises:
        ValueError: lengths that are not rising from at least 1, ``symbols`` below 1, ``count`` below 0.

    >>> pair = next(copy(lengths=(2, 2)))
    >>> pair.source == pair.target, sorted(pair.links)
    (True, [(0, 0), (1, 1)])
    """
    return _sequences("copy", lengths, symbols, seed, count)


def reverse(
    *, lengths: tuple[int, int] = (3, 10), symbols: int = 20, seed: int = 0, count: int | None = None
) -> Iterator[Pair]:
    """Say backwards what was read; arguments, result and errors are those of :func:`copy`.

    >>> pair = next(reverse(lengths=(3, 3)))
    >>> pair.source == pair.target[::-1], sorted(pair.links)
    (True, [(0, 2), (1, 1), (2, 0)])
    """
    return _sequences("reverse", lengths, symbols, seed, count)


def _sequences(task: str, lengths: tuple[int, int], symbols: int, seed: int, count: int | None) -> Iterator[Pair]:
    shortest, longest = lengths
    if not 1 <= shortest <= longest:
        raise ValueError(f"lengths must be 1 <= shortest <= longest, got {lengths}")
    if symbols < 1:
        raise ValueError(f"symbols must be at least 1, got {symbols}")

    def make(rng: random.Random) -> Pair:
        length = rng.randint(shortest, longest)
        source = [f"w{rng.randrange(symbols)}" for _ in range(length)]
        places = range(length) if task == "copy" else range(length)[::-1]
        return Pair(f"{task} {' '.join(source)}", source, [source[place] for place in places], enumerate(places))

    return _generate(make, seed, count)


def _generate(make: Callable[[random.Random], Pair], seed: int, count: int | None) -> Iterator[Pair]:
    if count is not None and count < 0:
        raise ValueError(f"count must be at least 0 or None, got {count}")
    rng = random.Random(seed)
    return (make(rng) for _ in (itertools.count() if count is None else range(count)))


def dates(*, years: tuple[int, int] = (1900, 2049), seed: int = 0, count: int | None = None) -> Iterator[Pair]:
    """Write a date that a person wrote as year, month, day: the order changes, and a name becomes a number.

    A word of the source is one token and a number is a token for each digit; the target goes character by character. So
    every link is exact: a digit to the digit it repeats, both digits of the month to the month's name, and a nought
    that is filled in to the digit before which it stands. Hyphens, weekdays, *the*, *of*
    and *rd* are linked to nothing.

    Args:
        years: first and last year, of four digits; each day in between is as likely, and so is each of ``FORMATS``.
        seed: another one gives other pairs.
        count: how many pairs; ``None`` for no end.

    Returns:
        Pairs whose key is the date, so that a split keeps all writings of a day together. The source has 6 to 12
        tokens, the target 10.

    Raises:
        ValueError: years that are not rising within 1000 to 9999, ``count`` below 0.

    >>> pair = written(datetime.date(1987, 3, 23), FORMATS[0])
    >>> " ".join(pair.source), "".join(pair.target)
    ('the 2 3 rd of march 1 9 8 7', '1987-03-23')
    >>> sorted(pair.links)
    [(0, 6), (1, 7), (2, 8), (3, 9), (5, 5), (6, 5), (8, 1), (9, 2)]
    """
    first, last = years
    if not 1000 <= first <= last <= 9999:
        raise ValueError(f"years must be 1000 <= first <= last <= 9999, got {years}")
    start, end = datetime.date(first, 1, 1).toordinal(), datetime.date(last, 12, 31).toordinal()

    def make(rng: random.Random) -> Pair:
        day = datetime.date.fromordinal(rng.randint(start, end))
        return written(day, FORMATS[rng.randrange(len(FORMATS))])

    return _generate(make, seed, count)


def written(date: datetime.date, form: str) -> Pair:
    """The pair of one date in one of ``FORMATS``."""
    th = "th" if 11 <= date.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(date.day % 10, "th")
    month = _MONTHS[date.month - 1]
    fields = {
        "day": [*str(date.day)],
        "th": [th],
        "weekday": [_DAYS[date.weekday()]],
        "month": [month],
        "mon": [month[:3]],
        "number": [*str(date.month)],
        "year": [*str(date.year)],
    }
    places = {"year": (0, 1, 2, 3), "month": (5, 6), "mon": (5, 6), "number": (5, 6), "day": (8, 9)}
    source: list[str] = []
    links: set[tuple[int, int]] = set()
    for word in form.replace("}{", "} {").split():
        name = word.strip("{}")
        tokens = fields[name] if word != name else [word]
        for step, target in enumerate(places.get(name, ()) if word != name else ()):
            links.add((target, len(source) + min(step, len(tokens) - 1)))
        source += tokens
    return Pair(date.isoformat(), source, [*date.isoformat()], links)
