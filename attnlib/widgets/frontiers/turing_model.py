"""A neural Turing machine as a widget holds it, and back."""

import json
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from attnlib.frontiers.turing_machine import TuringMachine
from attnlib.widgets.weights import packed, unpacked

__all__ = ["LAYERS", "packed_machine", "unpacked_machine"]

LAYERS = {"controller": "controller.layer", "heads": "heads", "writing": "writing", "output": "output"}


def packed_machine(machine: TuringMachine) -> dict[str, Any]:
    """A machine with a feed-forward controller, a head of either kind and a reach of 1 as a trait holds it.

    >>> machine = TuringMachine(3, 2, rows=7, size=5, hidden=11)
    >>> unpacked_machine(packed_machine(machine)).heads.weight.shape
    torch.Size([22, 11])
    """
    found = dict(machine.named_modules())
    layers = {name: packed(cast(nn.Linear, found[place])) for name, place in LAYERS.items()}
    return {"rows": machine.rows, "layers": layers}


def unpacked_machine(stored: dict[str, Any]) -> TuringMachine:
    """The machine in float64 that a trait holds. It is made once, and not to be changed."""
    return _unpacked(json.dumps({name: stored[name] for name in ("rows", "layers")}))


@lru_cache(maxsize=8)
def _unpacked(text: str) -> TuringMachine:
    stored = json.loads(text)
    parameters: dict[str, Tensor] = {}
    for name, place in LAYERS.items():
        weight, bias = unpacked(stored["layers"][name])
        parameters |= {f"{place}.weight": weight} | ({} if bias is None else {f"{place}.bias": bias})
    hidden = len(parameters["controller.layer.weight"])
    outputs, seen = parameters["output.weight"].shape
    sizes = {"rows": stored["rows"], "size": seen - hidden, "hidden": hidden}
    with torch.device("meta"):  # no number is drawn for what is replaced
        machine = TuringMachine(outputs + 1, outputs, **sizes)
    machine.load_state_dict(parameters, assign=True)
    return machine.requires_grad_(False)
