"""What the book's ways to attend cost: multiply-adds, numbers made and memory held, counted for plain programs.

A count is a sum of products, written as ``{"nnd": 2}`` for two times length, length and width; where it is the largest
of several sums it is a list of them. The letters are those of ``LETTERS``. The widget evaluates the same table in
the page, so a count is written once. How long a count takes is measured by ``book/experiments/costs.py``, whose ways
in plain operations these counts are of: attention alone, without the layer's projections, and without a mask but for
the window, the chunks and the delta rule, which look back only.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

__all__ = ["BLOCK", "LETTERS", "MECHANISMS", "MOST", "Counted", "Mechanism", "counted", "longest", "time", "where"]

BLOCK = 64  # queries or keys that are taken together, in a window and in chunks
MOST = 2**20  # the longest length that is asked for
LETTERS = {
    "n": "the length",
    "m": "the length in whole blocks of 64",
    "d": "the width of a head",
    "s": "the keys that a block of a window touches, 63 more than one query sees",
}
Terms = Mapping[str, float]
_ONE: Terms = {"": 1}


class Mechanism(NamedTuple):
    """Counts of one head. The pairs are of a forward pass and of both."""

    multiply_adds: tuple[Terms, Terms]
    numbers: Terms  # made one by one, forwards: exponentials, features, copies, states
    held: tuple[Sequence[Terms], Sequence[Terms]]  # numbers alive at once beyond inputs and parameters: the largest sum
    steps: Terms = _ONE  # that must wait for one another, for all heads at once


class Counted(NamedTuple):
    """The counts of all heads; ``held`` in bytes."""

    multiply_adds: float
    numbers: float
    held: float
    steps: float


def _threefold(terms: Terms) -> tuple[Terms, Terms]:
    """Both passes of products whose two factors both have a gradient."""
    return terms, {letters: 3 * times for letters, times in terms.items()}


_CHUNKS = {"md": 2 * BLOCK + 2, "m": BLOCK, "mdd": 2}
MECHANISMS = {
    "softmax (matrix)": Mechanism(_threefold({"nnd": 2}), {"nn": 1}, ([{"nn": 2}], [{"nn": 3, "nd": 2}])),
    # Backwards makes the energies again: seven products in place of six.
    "softmax (fused)": Mechanism(({"nnd": 2}, {"nnd": 7}), {"nn": 1}, ([{"nd": 1, "n": 1}], [{"nd": 4, "n": 1}])),
    "window (causal)": Mechanism(
        _threefold({"msd": 2}),
        {"ms": 1, "msd": 2 / BLOCK},
        ([{"msd": 2 / BLOCK, "ms": 2, "md": 1}], [{"msd": 2 / BLOCK, "ms": 3, "md": 1}]),
    ),
    "linear (all keys)": Mechanism(
        _threefold({"ndd": 2, "nd": 1}), {"nd": 2}, ([{"nd": 4.25}], [{"nd": 9.5, "n": 1, "dd": 1}])
    ),
    "linear (causal, chunks)": Mechanism(
        _threefold(_CHUNKS),
        {"m": BLOCK, "md": 2, "mdd": 1 / BLOCK},
        (
            [{"md": 3 + 1 / BLOCK, "mdd": 1 / BLOCK, "m": 129}, {"md": 4 + 3 / BLOCK, "mdd": 3 / BLOCK, "m": 2}],
            [{"md": 8.5 + 1 / BLOCK, "mdd": 1 / BLOCK, "m": 131}, {"md": 7.5 + 5 / BLOCK, "mdd": 5 / BLOCK, "m": 66}],
        ),
    ),
    "delta rule (causal, loop)": Mechanism(
        ({"ndd": 3}, {"ndd": 9, "dd": -1}), {"ndd": 1}, ([{"nd": 2, "dd": 1}], [{"ndd": 1, "nd": 3}]), {"n": 1}
    ),
    "synthesizer (dense)": Mechanism(_threefold({"ndd": 1, "nnd": 2}), {"nn": 1}, ([{"nn": 2}], [{"nn": 3, "nd": 2}])),
    "synthesizer (random)": Mechanism(_threefold({"nnd": 1}), {"nn": 1}, ([{"nn": 1, "nd": 1}], [{"nn": 3, "nd": 1}])),
    "additive": Mechanism(_threefold({"ndd": 2, "nnd": 2}), {"nnd": 1}, ([{"nnd": 2, "nn": 1}], [{"nnd": 3, "nd": 1}])),
    "each feature": Mechanism(_threefold({"ndd": 2, "nnd": 1}), {"nnd": 1}, ([{"nnd": 3}], [{"nnd": 4, "nd": 1}])),
}


def counted(
    name: str, *, length: int, heads: int = 1, width: int = 64, window: int = 128, both: bool = False, size: int = 4
) -> Counted:
    r"""What a mechanism of this name comes to.

    .. math:: 2 n^2 d \; \text{(softmax)}, \qquad n d (2 d + 1) \; \text{(linear)}, \qquad \dots

    Args:
        name: a name of ``MECHANISMS``.
        length: as many queries as keys.
        heads: how many; each has ``width`` numbers a query, key and value.
        width: of a head.
        window: how many keys a query sees, itself included, where there is a window.
        both: backwards too. The ``numbers`` are those of the forward pass.
        size: bytes of a number.

    >>> counted("softmax (matrix)", length=4, width=3)  # 16 pairs, two products of three numbers each
    Counted(multiply_adds=96, numbers=16, held=128, steps=1)
    """
    kind = MECHANISMS[name]
    seen = min(window, length) + BLOCK - 1
    place = {"n": length, "m": -(-length // BLOCK) * BLOCK, "d": width, "s": seen}
    held = max(_sum(terms, place) for terms in kind.held[both])
    per_head = (_sum(kind.multiply_adds[both], place), _sum(kind.numbers, place), size * held)
    made = [heads * each for each in per_head]
    return Counted(made[0], made[1], made[2], _sum(kind.steps, place))


def _sum(terms: Terms, place: Mapping[str, int]) -> float:
    total: float = 0
    for letters, times in terms.items():
        product: float = times
        for letter in letters:
            product *= place[letter]
        total += product
    return total


def time(found: Counted, constants: Sequence[float]) -> float:
    """Count times constant: picoseconds of a multiply-add, of a number made, and of a step.

    >>> time(Counted(96, 16, 128, 1), [2.0, 10.0, 1000.0])
    1352.0
    """
    return found.multiply_adds * constants[0] + found.numbers * constants[1] + found.steps * constants[2]


def where(holds: Callable[[int], bool], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """From where to where it holds, both included: tried at these lengths, and by halving between two that differ.

    >>> where(lambda length: 3 <= length <= 9 or length > 40, [1, 4, 16, 64])
    [(3, 9), (41, 64)]
    """
    runs: list[tuple[int, int]] = []
    start = lengths[0] if lengths and holds(lengths[0]) else 0
    for low, high in pairwise(lengths):
        now = holds(high)
        if now == bool(start):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) == now else (middle, high)
        if not now:
            runs.append((start, low))
        start = high if now else 0
    return [*runs, (start, lengths[-1])] if start else runs


def longest(name: str, memory: float, **options: Any) -> int:
    """The most tokens, up to ``MOST``, for which no more than ``memory`` bytes are held; 0 if not one.

    >>> longest("softmax (matrix)", 128)  # two matrices of four bytes a number
    4
    """
    low, high = 0, MOST + 1
    while high - low > 1:
        middle = (low + high) // 2
        fits = counted(name, length=middle, **options).held <= memory
        low, high = (middle, high) if fits else (low, middle)
    return low
