"""A sentence pair with its word links, and splits that do not depend on the order of a list."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

__all__ = ["Keyed", "Pair", "Split", "split"]


class _Fields(NamedTuple):
    key: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    links: frozenset[tuple[int, int]] = frozenset()


class Pair(_Fields):
    """Two sentences, and which word of the one stands for which word of the other.

    Args:
        key: names the pair; pairs of one key stay together when a corpus is split.
        source: the words that are read (keys: across).
        target: the words that are written (queries: down).
        links: ``(target position, source position)`` of each link; positions count from 0. Empty where none are known.

    Raises:
        TypeError: ``source`` or ``target`` is one ``str`` instead of words.
        ValueError: a link that is no pair of positions, or that points outside of the sentences.

    >>> pair = Pair("mine", ["ein", "Haus"], ["a", "house"], [(0, 0), (1, 1)])
    >>> pair.target, sorted(pair.links)
    (('a', 'house'), [(0, 0), (1, 1)])
    >>> Pair("mine", ["ein", "Haus"], ["a"], [(1, 0)])
    Traceback (most recent call last):
    ...
    ValueError: links of 'mine' must be (target position below 1, source position below 2), got (1, 0)
    """

    __slots__ = ()

    def __new__(
        cls,
        key: str,
        source: Iterable[str],
        target: Iterable[str],
        links: Iterable[tuple[int, int]] = (),
    ) -> "Pair":
        for name, words in (("source", source), ("target", target)):
            if isinstance(words, str):
                raise TypeError(f"{name} of {key!r} must be the words one by one, got the str {words!r}")
        source, target = tuple(source), tuple(target)
        return super().__new__(cls, key, source, target, checked_links(key, len(source), len(target), links))


def checked_links(key: str, sources: int, targets: int, links: Iterable[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    """The links as a set, once each is known to point at a word; ``sources`` and ``targets`` are numbers of words."""
    found = frozenset(tuple(link) for link in links)
    for link in found:
        if len(link) != 2 or not (0 <= link[0] < targets and 0 <= link[1] < sources):
            raise ValueError(
                f"links of {key!r} must be (target position below {targets}, source position below {sources}), "
                f"got {link}"
            )
    return found  # type: ignore[return-value]  # each has two places, as was just seen


@runtime_checkable
class Keyed(Protocol):
    """What has a ``key``: a pair, a verse."""

    @property
    def key(self) -> str:
        """The name by which a split decides."""


class Split(NamedTuple):
    """Three parts of a corpus that share no key, each in the order in which its items came."""

    train: list[Any]
    dev: list[Any]
    test: list[Any]


def split(items: Iterable[Keyed], *, dev: float = 0.05, test: float = 0.1, salt: str = "") -> Split:
    r"""Part a corpus by a hash of each key, so that where an item goes depends on its key and on nothing else.

    .. math:: u = \mathrm{SHA256}(\text{salt} \Vert \text{key})_{64} / 2^{64}, \quad
        u < t: \text{test}, \quad t \le u < t + d: \text{dev}, \quad \text{else train}

    The same item goes to the same part in whatever order and company it comes, so a filtered list, a second run or
    another machine never moves a test item into training. The parts are therefore only about as large as asked for.
    Raising ``dev`` moves items between training and dev, never out of test.

    Args:
        items: pairs, verses, anything with a ``key``.
        dev: share :math:`d` of the keys that goes to dev.
        test: share :math:`t` that goes to test.
        salt: another text gives another split.

    Returns:
        The parts ``train``, ``dev`` and ``test``.

    Raises:
        ValueError: a share below 0, or shares that leave nothing for training.

    >>> pairs = [Pair(str(number), ["a"], ["b"]) for number in range(1000)]
    >>> parts = split(pairs)
    >>> [len(part) for part in parts], split(pairs[::-1]).test[::-1] == parts.test
    ([840, 54, 106], True)
    """
    if not (dev >= 0 and test >= 0 and dev + test < 1):
        raise ValueError(f"dev and test must be shares of at least 0 that sum to less than 1, got {dev} and {test}")
    parts: Split = Split([], [], [])
    for item in items:
        place = int.from_bytes(hashlib.sha256((salt + item.key).encode()).digest()[:8], "big") / 2**64
        (parts.test if place < test else parts.dev if place < test + dev else parts.train).append(item)
    return parts


def split_by(items: Iterable[Keyed], groups: Sequence[str], dev: Collection[str], test: Collection[str]) -> Split:
    """Part a corpus by a group of each item, named in ``groups``; :func:`.new_testament.split_by_book` checks them."""
    parts: Split = Split([], [], [])
    for item, group in zip(items, groups, strict=True):
        (parts.test if group in test else parts.dev if group in dev else parts.train).append(item)
    return parts
