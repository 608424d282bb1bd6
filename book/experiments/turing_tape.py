"""Write the machines that TuringTape shows: two that ``copying.py`` trained, from different starts.

    python book/experiments/turing_tape.py

It tells how many bits come out otherwise by the stored weights, of 16 bits, on texts as ``copying.py`` tests with.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from attnlib.frontiers.turing_machine import TuringMachine
from attnlib.widgets.frontiers.turing_model import packed_machine, unpacked_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book.experiments import copying

STORE = Path(__file__).parents[2] / "attnlib" / "widgets" / "frontiers" / "turing_tape.json"
SHOWN = {"start 4, the best of five": 4, "start 3, the worst of five": 3}  # by whole texts right at length 40


def trained(seed: int) -> TuringMachine:
    """The machine of a seed, out of those that stand side by side in the checkpoint."""
    machine = copying.made("memory", seed)
    assert isinstance(machine, TuringMachine)
    state = torch.load(copying.RESULTS / "model.pt", weights_only=True)
    machine.load_state_dict({name: value[seed] for name, value in state.items()})
    return machine


def stored() -> list[dict[str, Any]]:
    """What is written."""
    return [{"name": name, **packed_machine(trained(seed))} for name, seed in SHOWN.items()]


@torch.no_grad()
def main() -> None:
    made = stored()
    for held, seed in zip(made, SHOWN.values(), strict=True):
        for length in (5, 10, 20, 24):
            text = copying.texts(100, length, torch.Generator().manual_seed(2 * 10**6 + length))
            told = copying.told(text)[seed]
            one, other = (
                machine(told.to(machine.output.weight.dtype)).output[:, length + 1 :] > 0
                for machine in (trained(seed), unpacked_machine(held))
            )
            right = (other == text[seed].bool()).flatten(1).all(-1).double().mean()
            print(f"{held['name']}, {length}: {(one != other).sum()} of {one.numel()} otherwise; {right:.2f} all right")
    STORE.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{STORE.name}: {STORE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
