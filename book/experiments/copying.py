"""Copy what was read, also where it is longer than anything in training: a memory that is written against an LSTM.

    python book/experiments/copying.py
    python book/experiments/copying.py --smoke

A sequence of random bits comes in, then a mark, then nothing for as many steps; in these the sequence is to come out.
Machines are trained on lengths from 1 to 10 and tested on lengths up to 40. Arms: a neural Turing machine with a
feed-forward controller, and an LSTM, which has many times its parameters and takes more steps of training. Each arm is
trained at each rate of the same grid, and keeps the rate that is best on texts of the trained lengths that were neither
trained nor tested with; no long text has a say. Five seeds stand side by side on the first axis; seeds differ in texts
and start, arms share them. What is done lies in ``runs/copying``, so that a script that was killed goes on where it
was; who changes a setting empties that folder first. ``--smoke`` trains a few steps, and writes nothing.
"""

import argparse
import copy
import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlib.frontiers.turing_machine import FeedForward, LongShortTerm, State, TuringMachine
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "copying", HERE / "results" / "copying"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "rates": [0.01, 0.003],
    "steps": {"memory": 2400, "LSTM": 6000},
    "batch": 16,
    "clip": 1.0,
    "bits": 4,
    "longest": 10,
    "lengths": [1, 2, 5, 10, 12, 15, 20, 30, 40],
    "choose by": 50,
    "tested": 100,
    "rows": 41,
    "size": 8,
    "hidden": 48,
    "lstm": 128,
}
BITS = SETTING["bits"]
ARMS = ("memory", "LSTM")


# --- the machines -----------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """An LSTM with a linear output, that takes steps as a Turing machine does."""

    def __init__(self) -> None:
        super().__init__()
        self.controller = LongShortTerm(BITS + 1, SETTING["lstm"])
        self.output = nn.Linear(SETTING["lstm"], BITS)

    def start(self, batch: int) -> tuple[Tensor, ...]:
        return self.controller.start(batch, self.output.weight)

    def step(self, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        said, kept = self.controller(inputs, state)
        return kept, self.output(said)


class Linears(nn.Module):
    """A linear layer of each seed's own: ``(seed, batch, in)`` to ``(seed, batch, out)``."""

    def __init__(self, layers: list[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)


class Cells(nn.Module):
    """An LSTM's cell of each seed's own."""

    def __init__(self, cells: list[nn.LSTMCell]) -> None:
        super().__init__()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            stacked = torch.stack([getattr(cell, name).detach() for cell in cells])
            setattr(self, name, nn.Parameter(stacked))

    def forward(self, x: Tensor, kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hidden, cell = kept
        read = torch.baddbmm((self.bias_ih + self.bias_hh).unsqueeze(1), x, self.weight_ih.mT)
        enter, forget, new, show = torch.baddbmm(read, hidden, self.weight_hh.mT).chunk(4, -1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        return show.sigmoid() * cell.tanh(), cell


def made(arm: str, seed: int) -> TuringMachine | Recurrent:
    """One machine."""
    torch.manual_seed(seed)
    if arm == "LSTM":
        return Recurrent()
    sizes = {name: SETTING[name] for name in ("rows", "size", "hidden")}
    return TuringMachine(BITS + 1, BITS, controller=FeedForward, **sizes)


def together(machines: list[Any]) -> Any:
    """One machine whose layers are those of all, each with a first axis of seeds."""
    whole = copy.deepcopy(machines[0])
    for name, layer in machines[0].named_modules():
        each = [machine.get_submodule(name) for machine in machines]
        if isinstance(layer, nn.Linear | nn.LSTMCell):
            whole.set_submodule(name, Linears(each) if isinstance(layer, nn.Linear) else Cells(each))
    return whole


def spread(state: Any, seeds: int) -> Any:
    """The same beginning for each seed."""
    if isinstance(state, Tensor):
        return state.expand(seeds, *state.shape)
    parts = [spread(part, seeds) for part in state]
    return State(*parts) if isinstance(state, State) else tuple(parts)


def outputs(machines: Any, text: Tensor) -> Tensor:
    """What comes out after the mark, ``(seed, batch, length, bit)``, before a sigmoid."""
    seeds, batch, length, _ = text.shape
    state = spread(machines.start(batch), seeds)
    said = []
    for x in told(text).unbind(2):
        state, output = machines.step(x, state)[:2]
        said.append(output)
    return torch.stack(said[length + 1 :], 2)


# --- the task ---------------------------------------------------------------------------------------------------------


def texts(batch: int, length: int, g: torch.Generator) -> Tensor:
    return torch.randint(2, (SETTING["seeds"], batch, length, BITS), generator=g).float()


def told(text: Tensor) -> Tensor:
    """The bits, then the mark in a channel of its own, then nothing: ``(seed, batch, 2 length + 1, bit + 1)``."""
    seeds, batch, length, bits = text.shape
    inputs = text.new_zeros(seeds, batch, 2 * length + 1, bits + 1)
    inputs[:, :, :length, :bits] = text
    inputs[:, :, length, bits] = 1
    return inputs


def train(arm: str, rate: float, steps: int) -> tuple[Any, Tensor]:
    """Machines of all seeds, and their losses, in nats for a bit asked for, at each step."""
    machines = together([made(arm, seed) for seed in range(SETTING["seeds"])])
    g = torch.Generator().manual_seed(1)  # the same texts for all arms

    def loss(step: int) -> Tensor:
        length = int(torch.randint(1, SETTING["longest"] + 1, (), generator=g))
        text = texts(SETTING["batch"], length, g)
        found = F.binary_cross_entropy_with_logits(outputs(machines, text), text, reduction="none")
        return found.flatten(1).mean(-1)

    def slower(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 4 * (1 - step / steps)))

    losses = descend(machines.parameters(), loss, steps=steps, rate=rate, clip=SETTING["clip"], schedule=slower)
    return machines, losses


@torch.no_grad()
def examine(machines: Any, lengths: list[int], batch: int, start: int) -> dict[str, dict[str, list[float]]]:
    """By length and seed: the share of bits that are right, and of texts in which all are."""
    found: dict[str, dict[str, list[float]]] = {"bits": {}, "texts": {}}
    for length in lengths:
        text = texts(batch, length, torch.Generator().manual_seed(start + length))
        right = (outputs(machines, text) > 0) == text.bool()
        found["bits"][str(length)] = rounded(right.double().flatten(1).mean(-1))
        found["texts"][str(length)] = rounded(right.flatten(2).all(-1).double().mean(-1))
    return found


def rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]


def tried(arm: str, rate: float) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an arm comes to at a rate, and its parameters."""
    started, trained = time.process_time(), list(range(1, SETTING["longest"] + 1))
    machines, losses = train(arm, rate, SETTING["steps"][arm])
    bits = examine(machines, trained, SETTING["choose by"], 10**6)["bits"].values()
    found = {
        "chosen by": rounded(torch.tensor(list(bits)).mean(0)),
        "last losses": rounded(losses[-100:].mean(0)),
        "test": examine(machines, SETTING["lengths"], SETTING["tested"], 2 * 10**6),
        "seconds": round(time.process_time() - started),
    }
    return found, {name: value.detach() for name, value in machines.state_dict().items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help="a few steps, nothing written")
    torch.set_num_threads(1)
    if parser.parse_args().smoke:
        for arm in ARMS:
            machines, losses = train(arm, SETTING["rates"][0], 3)
            print(arm, losses[-1].tolist(), examine(machines, [2], 2, 0)["bits"])
        return
    runs: dict[str, Any] = {}
    machines_of: dict[str, dict[str, Tensor]] = {}
    for arm in ARMS:
        rates: dict[str, Any] = {}
        states: dict[float, dict[str, Tensor]] = {}
        for rate in SETTING["rates"]:
            rates[str(rate)], states[rate] = kept(RUNS / f"{arm} at {rate}.pt", functools.partial(tried, arm, rate))
            print(arm, rate, rates[str(rate)], flush=True)
        best = float(max(rates, key=lambda rate: sum(rates[rate]["chosen by"])))
        machines_of[arm] = states[best]
        parameters = sum(value[0].numel() for value in states[best].values())
        runs[arm] = {"best": best, "parameters": parameters, "rates": rates}
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    torch.save(machines_of["memory"], RESULTS / "model.pt")  # the Turing machines, all seeds


if __name__ == "__main__":
    main()
