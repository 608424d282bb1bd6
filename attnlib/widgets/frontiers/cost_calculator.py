"""CostCalculator: length, heads and width, and what each of the book's ways to attend comes to."""

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
LENGTHS = sorted({round(2 ** (power / 8)) for power in range(8 * 20 + 1)})  # at which crossovers are looked for

_NEUTRAL: dict[str, Any] = {
    "length": 1024,
    "heads": 4,
    "width": 64,
    "window": 128,
    "passes": "both",
    "precision": "float32",
    "memory": 8.0,
    "first": "linear, chunks",
    "second": "softmax, fused",
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
        "Backwards the fused routine does a seventh product for each six, and holds no matrix: look at the memory.",
        first="softmax, fused",
        second="softmax, matrix",
        length=8192,
    ),
    _preset(
        "Counted but not timed",
        "A random synthesizer takes half the multiply-adds of softmax with a matrix, for its energies are stored, and "
        "more than half of the time: exponentials are as many.",
        first="synthesizer, random",
        second="softmax, matrix",
        passes="forward",
    ),
    _preset(
        "Wide heads",
        "With 128 numbers a head the sums of linear attention are large, and it pays later.",
        first="linear",
        width=128,
        heads=2,
    ),
    _preset(
        "A weight for each feature",
        "For each pair there are as many numbers as a head has: see how few tokens fit in the memory.",
        first="each feature",
        second="softmax, matrix",
        length=512,
    ),
]


class CostCalculator(PresetWidget):
    """Multiply-adds, time and memory of each mechanism at a length, and where one of two overtakes the other.

    Counts are of :mod:`attnlib.book.costs`. A time is count times constants measured on one processor; only its ratio
    to that of ``second`` is shown. Outputs: ``times``, these ratios; ``memory_held`` in bytes; ``fits``, the longest
    length whose bytes are at most ``memory`` GiB; and ``crossings``, between which of ``LENGTHS`` the mechanism
    ``first`` comes to be below ``second`` in multiply-adds, time and memory, to stay there.

    >>> calculator = CostCalculator(length=64, heads=1, passes="forward", memory=1 / 2**15)
    >>> calculator.memory_held["softmax, matrix"], calculator.fits["softmax, matrix"]
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
    memory_held = Output("bytes of each mechanism")
    fits = Output("the longest length of each mechanism")
    crossings = Output("multiply-adds, time and memory: two lengths, or None")

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

    def _compute(self) -> None:
        found = {name: self.cost(name, self.length) for name in costs.MECHANISMS}
        self.set_trait("times", {name: each[1] / found[self.second][1] for name, each in found.items()})
        self.set_trait("memory_held", {name: each[2] for name, each in found.items()})
        most = self.memory * 2**30
        self.set_trait("fits", {name: costs.longest(name, most, **self.options()) for name in found})
        both = [zip(*(self.cost(name, n) for n in LENGTHS), strict=True) for name in (self.first, self.second)]
        self.set_trait("crossings", [costs.crossover(one, two, LENGTHS) for one, two in zip(*both, strict=True)])

    def summary(self) -> str:
        """The sizes, and the first mechanism against the second."""
        passes = "forwards" if self.passes == "forward" else "both passes"
        sizes = f"{self.length} tokens, heads {self.heads}, width {self.width}, {passes}"
        return f"{sizes}: {self.first} takes {number(self.times[self.first])} times as long as {self.second}"
