"""TuringTape: a head of a neural Turing machine moved by hand, and a trained machine that copies a reader's pattern."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib.frontiers.memory import Heads, address
from attnlib.widgets.frontiers.turing_model import LAYERS, unpacked_machine
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.stepper import Stepper
from attnlib.widgets.text import number
from attnlib.widgets.traits import Choice, Number, Output, Record, StateError, Text, Whole
from attnlib.widgets.weights import Layer

__all__ = ["MOST", "PRESETS", "TuringTape"]

MOST = 20  # steps by hand
BY_HAND, TRAINED = "a head by hand", "a trained machine"
_LONG = 24  # vectors of a pattern
_ANGLES, _ARROWS = [90, 0, 90, 180, 270, 45], "↑→↑←↓↗"  # of the rows of the memory by hand


@cache
def _stored() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return found  # book/experiments/turing_tape.py writes it


def _bits(letters: str) -> list[list[int]]:
    """Four bits for each letter from 0 to f."""
    return [[int(letter, 16) >> place & 1 for place in (3, 2, 1, 0)] for letter in letters]


_SHORT, _TWENTY = _bits("95a3f6"), _bits("3b7e09d1c5a862f4b31e")
_HAND: dict[str, Any] = {"key": 90.0, "strength": 10.0, "gate": 1.0, "shift": 0.0, "sharpness": 1.0, "first": 0}
_COPY: dict[str, Any] = {"machine": 0, "pattern": _SHORT}


def _hand(name: str, notice: str, step: int = 0, **state: Any) -> dict[str, Any]:
    return preset(name, notice, show=BY_HAND, step=step, **{**_HAND, **_COPY, **state})


def _copy(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """At the end of the copy."""
    told = {**_HAND, **_COPY, **state}
    return preset(name, notice, show=TRAINED, step=2 * len(told["pattern"]) + 1, **told)


PRESETS = [
    _copy(
        "Copy six",
        "The head that writes goes down a row at each step; from the mark on the head that reads goes the same way: "
        "start again and take the steps one by one.",
    ),
    _copy(
        "Copy twenty",
        "Twice as long as anything this machine was trained with, and every bit comes out right: write a pattern of "
        "your own.",
        pattern=_TWENTY,
    ),
    _copy(
        "The worst of five",
        "The same training from another start: ten vectors come out right, but here the head that reads begins one row "
        "late, and 46 of 80 bits are wrong.",
        pattern=_TWENTY, machine=1,
    ),
    _hand(
        "Look by content",
        "The key points up, as rows 0 and 2 do, and content alone cannot tell the two apart: turn the key, and lower "
        "β until all rows look alike.",
    ),
    _hand(
        "Find and go on",
        "The key finds the row that points left, and a shift of 1 lands on the row after it: what it holds was never "
        "asked for.",
        key=180.0, strength=20.0, shift=1.0,
    ),
    _hand(
        "Walk",
        "With the gate at 0 the key does not matter: take steps, and the head goes from row to row and from the last "
        "to the first.",
        gate=0.0, shift=1.0, first=4,
    ),
    _hand(
        "Blur",
        "A shift of 0.8 leaves a fifth behind at each step, so the head has spread: raise γ to 3 and it stays sharp.",
        gate=0.0, shift=0.8, step=6,
    ),
]  # fmt: skip


class TuringTape(Stepper):
    """Where a head of a neural Turing machine looks: moved by hand over six rows, or by a machine that copies.

    Args:
        show: which of the two.
        key, strength, gate, shift, sharpness: what the head by hand is told: a direction in degrees, β, g, the mean of
            a shift that is shared between two neighbouring steps of -1, 0 and 1, and γ.
        first: the row on which that head begins.
        machines: each a name and what :func:`attnlib.widgets.frontiers.turing_model.packed_machine` gives.
        machine: the number of the one that copies.
        pattern: rows of bits, from 1 to 24 of them.
        step: how many steps were taken; a machine takes one for each row of the pattern, twice, and one for the mark.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    Outputs, in float64 by attnlib: by hand ``stages``, the weighting before the step that comes next and after each of
    its four parts; of a machine ``said``, a probability of each bit after each step taken, ``looks``, the weightings of
    the head that reads and of the one that writes, and ``memory`` after the last.

    >>> tape = TuringTape(preset="Walk")
    >>> tape.forward()
    >>> [row.index(1.0) for row in tape.stages if 1.0 in row]  # before, gated, shifted, sharpened
    [5, 5, 0, 0]
    """

    show = Choice((TRAINED, BY_HAND), TRAINED)
    key = Number(_HAND["key"], least=0, most=360)
    strength = Number(_HAND["strength"], least=0, most=20)
    gate = Number(_HAND["gate"], least=0, most=1)
    shift = Number(_HAND["shift"], least=-1, most=1)
    sharpness = Number(_HAND["sharpness"], least=1, most=10)
    first = Whole(0, most=len(_ANGLES) - 1)
    machines = Record(
        {"name": Text(""), "rows": Whole(1, least=1, most=64), "layers": Record({x: Layer() for x in LAYERS}, {})},
        _stored(), shape=(("", 1, None),),
    )  # fmt: skip
    machine = Whole(0, below="machines")
    pattern = Whole(_SHORT, shape=(("", 1, _LONG), ("", 1, 8)), most=1)
    step = Whole(2 * len(_SHORT) + 1, most=2 * _LONG + 1)
    presets = Presets(PRESETS)
    stages = Output("by hand: the weighting before, and after each part of a step")
    said = Output("a probability of each bit after each step")
    looks = Output("the weightings of both heads after each step")
    memory = Output("the machine's memory after the last step")

    presets_of = ("machines",)
    data: ClassVar = {"angles": _ANGLES, "arrows": _ARROWS, "most": MOST, "long": _LONG}
    sample: ClassVar = {"machine": 1}

    def _check(self, state: dict[str, Any]) -> None:
        try:
            machines = [unpacked_machine(held) for held in state["machines"]]
        except (ValueError, RuntimeError) as error:
            raise StateError(f"machines must be of packed_machine, with layers that fit; got: {error}") from error
        bits = machines[state["machine"]].output.out_features
        if len(state["pattern"][0]) != bits:
            raise StateError(f"pattern must have {bits} bits a row, got {len(state['pattern'][0])}")
        most = MOST if state["show"] == BY_HAND else 2 * len(state["pattern"]) + 1
        if state["step"] > most:
            raise StateError(f"step must be at most {most} here; got {state['step']}")

    def _count(self) -> int:
        return int(self.step)

    def _at(self, count: int) -> dict[str, Any]:
        return {"step": min(count, MOST if self.show == BY_HAND else 2 * len(self.pattern) + 1)}

    def _now(self) -> dict[str, Any]:
        by_hand = self.show == BY_HAND
        empty: dict[str, Any] = {"stages": [], "said": [], "looks": [], "memory": []}
        return empty | ({"stages": self._by_hand()} if by_hand else self._copied())

    def _by_hand(self) -> list[list[float]]:
        def direction(degrees: float) -> list[float]:
            return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]

        def one(value: float) -> Tensor:
            return torch.tensor([value], dtype=torch.float64)

        shift = [max(-self.shift, 0.0), 1 - abs(self.shift), max(self.shift, 0.0)]
        key = torch.tensor([direction(self.key)], dtype=torch.float64)
        told = Heads(key, one(self.strength), one(self.gate), key.new_tensor([shift]), one(self.sharpness))
        memory = key.new_tensor([direction(angle) for angle in _ANGLES])
        before = torch.zeros(1, len(memory), dtype=torch.float64)
        before[0, self.first] = 1
        for _ in range(self.step):
            before = address(told, memory, before).weights
        return [each[0].tolist() for each in (before, *address(told, memory, before))]

    def _copied(self) -> dict[str, Any]:
        machine = unpacked_machine(self.machines[self.machine])
        rows = torch.tensor(self.pattern, dtype=torch.float64)
        length, bits = rows.shape
        inputs = rows.new_zeros(2 * length + 1, bits + 1)
        inputs[:length, :bits], inputs[length, bits] = rows, 1
        state, said, looks = machine.start(1), [], []
        for each in inputs[: self.step]:
            state, output, *_ = machine.step(each[None], state)
            said.append(output[0].sigmoid().tolist())
            looks.append(state.weights[0].tolist())
        return {"said": said, "looks": looks, "memory": state.memory[0].tolist()}

    def _right(self) -> tuple[int, int]:
        """Of the bits that came out, how many are right."""
        asked = self.said[len(self.pattern) + 1 :]
        pairs = [
            pair for row, wanted in zip(asked, self.pattern, strict=False) for pair in zip(row, wanted, strict=True)
        ]
        return sum((said > 0.5) == bool(wanted) for said, wanted in pairs), len(pairs)

    def summary(self) -> str:
        """The step, and where the head or the heads look."""
        if self.show == BY_HAND:
            told = (
                f"key {self.key:g} degrees, β {number(self.strength)}, gate {number(self.gate)}, "
                f"shift {number(self.shift)}, γ {number(self.sharpness)}"
            )
            before, after = (", ".join(number(weight) for weight in self.stages[place]) for place in (0, -1))
            return f"a head by hand: {told}; weights before step {self.step + 1}: {before}; after it: {after}"
        right, count = self._right()
        name = self.machines[self.machine]["name"]
        return f"a machine copies {len(self.pattern)} vectors ({name}): step {self.step}; {right} of {count} bits right"
