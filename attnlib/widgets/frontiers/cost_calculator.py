"""CostCalculator: length, heads and width, and what each of the book's ways to attend comes to."""

import functools
import json
from pathlib import Path
from typing import Any, ClassVar

from attnlib.book import costs
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number
from attnlib.widgets.traits import Choice, Number, Output, Whole

__all__ = ["LENGTHS", "PRESETS", "CostCalculator"]

STORE = Path(__file__).with_suffix(".json")  # constants; book/experiments/costs.py writes it
_STORED: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
_PASSES = ("forward", "both")
# The lengths at which it is tried which of two ways is below the other: one token, and the last length of a block of 64
# with the first of the next; of all blocks up to 4,096 tokens, then of eight in each doubling. A block makes a step.
_BLOCKS = {*range(1, 65), *(round(2 ** (power / 8)) for power in range(8 * 6, 8 * 14))}
LENGTHS = sorted({1, costs.MOST} | {costs.BLOCK * block + first for block in _BLOCKS for first in (0, 1)})

_NEUTRAL: dict[str, Any] = {
    "length": 1024,
    "heads": 4,
    "width": 64,
    "window": 128,
    "passes": "both",
    "precision": "float32",
    "memory": 8.0,
    "first": "linear (causal, chunks)",
    "second": "softmax (fused)",
}


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """A preset that leaves nothing as it was."""
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "A page of text",
        "Linear attention in chunks needs fewer multiply-adds than the fused softmax long before it needs less time: "
        "move the length and see its bar cross the middle.",
    ),
    _preset(
        "One matrix, two routines",
        "In both passes the fused routine makes seven products for each six, and holds no matrix: look at the memory; "
        "its time is nearly that of the matrix here, and from 4,096 tokens on was measured as 0.40 to 0.54 of it.",
        first="softmax (fused)",
        second="softmax (matrix)",
        length=2048,
        heads=1,
    ),
    _preset(
        "Half the products, not half the time",
        "A random synthesizer takes half the multiply-adds of softmax with a matrix, yet over half of the time; its "
        "energies are parameters, as many as pairs, which the memory leaves out.",
        first="synthesizer (random)",
        second="softmax (matrix)",
        passes="forward",
    ),
    _preset(
        "Wide heads",
        "With 128 numbers a head the sums of linear attention are large, and chunks pay later than in A page of text.",
        width=128,
        heads=2,
    ),
    _preset(
        "A weight for each feature",
        "For each pair there are as many numbers as a head has: see how few tokens fit in the memory.",
        first="each feature",
        second="softmax (matrix)",
        length=512,
    ),
]


class CostCalculator(PresetWidget):
    """Multiply-adds, time and memory of each mechanism at a length, and where one of two overtakes the other.

    Counts are of :mod:`attnlib.book.costs`. A time is count times constants measured on one processor; only its ratio
    to that of ``second`` is shown. Outputs: ``times``, these ratios; ``extrapolated``, whose ratio is beyond the sizes
    that constants were fitted to; ``memory_held`` in bytes; ``fits``, the longest length whose bytes are at most
    ``memory`` GiB; ``between``, from where to where the constants of ``first`` and ``second`` were fitted; and
    ``crossings``, from where to where ``first`` is below ``second`` in multiply-adds, time
    (only ``between``) and memory.

    >>> calculator = CostCalculator(length=64, heads=1, passes="forward", memory=1 / 2**15)
    >>> calculator.memory_held["softmax (matrix)"], calculator.fits["softmax (matrix)"]
    (32768, 64)
    """

    length = Whole(_NEUTRAL["length"], least=1, most=costs.MOST)
    heads = Whole(_NEUTRAL["heads"], least=1, most=128)
    width = Whole(_NEUTRAL["width"], least=1, most=1024, help="numbers of a head")
    window = Whole(_NEUTRAL["window"], least=1, most=65536, help="keys that a query sees where there is a window")
    passes = Choice(_PASSES, _NEUTRAL["passes"])
    precision = Choice(("float32", "half"), _NEUTRAL["precision"], help="of what is held; times are of float32")
    memory = Number(_NEUTRAL["memory"], above=0, most=1e6, help="GiB")
    first = Choice(costs.MECHANISMS, _NEUTRAL["first"])
    second = Choice(costs.MECHANISMS, _NEUTRAL["second"])
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")
    times = Output("of each mechanism, over that of second")
    extrapolated = Output("mechanisms whose ratio is beyond the sizes of the measurement")
    memory_held = Output("bytes of each mechanism")
    fits = Output("the longest length of each mechanism")
    between = Output("from which length to which the constants of both mechanisms were fitted; empty where nowhere")
    crossings = Output("of multiply-adds, time and memory: from and to which length, both included")

    sample: ClassVar = {"length": 3000}
    data: ClassVar = {
        "mechanisms": {name: kind._asdict() for name, kind in costs.MECHANISMS.items()},
        "constants": _STORED["constants"],
        "device": _STORED["device"],
        "measured": _STORED["measured"],
        "lengths": LENGTHS,
        "block": costs.BLOCK,
        "most": costs.MOST,
    }

    def options(self) -> dict[str, Any]:
        """What is counted with, but for the length."""
        size = 4 if self.precision == "float32" else 2
        sizes = {"heads": self.heads, "width": self.width, "window": self.window}
        return {**sizes, "both": self.passes == "both", "size": size}

    def cost(self, name: str, length: int) -> tuple[float, float, float]:
        """Multiply-adds, picoseconds and bytes of a mechanism."""
        found = costs.counted(name, length=length, **self.options())
        return found.multiply_adds, costs.time(found, _STORED["constants"][name][self.passes]), found.held

    def fitted(self, name: str, length: int) -> bool:
        """Does each size, and what is made in all, lie between those that a mechanism's constants were fitted to?"""
        made = costs.counted(name, length=length, **self.options()).numbers
        window = self.window if name.startswith("window") else None
        sizes = (length, self.heads, self.width, window, made)
        ranges = _STORED["measured"][name][self.passes]
        each = zip(sizes, ranges, strict=True)
        return all(size is None or low <= size <= high for size, (low, high) in each)

    def _compute(self) -> None:
        found = {name: self.cost(name, self.length) for name in costs.MECHANISMS}
        self.set_trait("times", {name: each[1] / found[self.second][1] for name, each in found.items()})
        known = self.fitted(self.second, self.length)
        self.set_trait("extrapolated", [name for name in found if not (known and self.fitted(name, self.length))])
        self.set_trait("memory_held", {name: each[2] for name, each in found.items()})
        most = self.memory * 2**30
        self.set_trait("fits", {name: costs.longest(name, most, **self.options()) for name in found})
        self._cross()

    def _cross(self) -> None:
        """Where the first mechanism is below the second."""
        pair = (self.first, self.second)
        between = [
            end for run in costs.where(lambda n: all(self.fitted(each, n) for each in pair), LENGTHS) for end in run
        ]
        timed = sorted({*between, *(n for n in LENGTHS if between and between[0] <= n <= between[1])})
        cost = functools.cache(self.cost)

        def below(part: int, lengths: list[int]) -> list[tuple[int, int]]:
            return costs.where(lambda n: cost(pair[0], n)[part] < cost(pair[1], n)[part], lengths)

        self.set_trait("between", between)
        self.set_trait("crossings", [below(0, LENGTHS), below(1, timed), below(2, LENGTHS)])

    def summary(self) -> str:
        """The sizes, and the first mechanism against the second."""
        passes = "forwards" if self.passes == "forward" else "both passes"
        sizes = f"{self.length} tokens, heads {self.heads}, width {self.width}, {passes}"
        return f"{sizes}: {self.first} takes {number(self.times[self.first])} times as long as {self.second}"
