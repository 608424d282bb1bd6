"""Train gates over channels and attention over regions on pictures of digits in which the right item is known.

    python book/experiments/items.py

Two tasks, three arms each. Each arm is trained at each rate of the same grid and keeps the one that is best on pictures
that are neither trained nor tested with. Ten seeds stand side by side on the first axis; all arms share batches. Twelve
trainings, a few seconds each on one core.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from attnlib.data import scenes
from attnlib.data.pairs import split
from attnlib.distributions import sigmoid, softmax
from attnlib.input_features.channels import excite
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

RESULTS = Path(__file__).parent / "results" / "items"
SETTING: dict[str, Any] = {
    "seeds": 10,
    "rates": [0.01, 0.03],
    "steps": 600,
    "batch": 64,
    "pictures": 6000,
    "choose by": 500,
    "tested": 1000,
    "spots": [4, 16, 48],
    "hidden": 8,
    "energy": 16,
    "features": 32,
}


class Pictures(NamedTuple):
    """Items ``(picture, item, 8, 8)``, the digit that is wanted, and the item that shows it."""

    item: Tensor
    kind: Tensor
    right: Tensor


# --- pictures ---------------------------------------------------------------------------------------------------------


def inks(image: Tensor, kind: Tensor, n: int, seed: int) -> Pictures:
    """Three digits, each in an ink of its own, and a fourth channel with spots: how many says which ink to read."""
    g = torch.Generator().manual_seed(seed)
    which, right = torch.randint(len(kind), (n, 3), generator=g), torch.randint(3, (n,), generator=g)
    order = torch.rand(n, 64, generator=g).argsort(-1)
    spots = (order < torch.tensor(SETTING["spots"])[right, None]).float().view(n, 1, 8, 8)
    return Pictures(torch.cat([image[which], spots], 1), kind[which].gather(1, right[:, None])[:, 0], right)


OTHER_ORDERS = torch.tensor([order for order in itertools.permutations(range(4)) if order != (0, 1, 2, 3)])


def cells(image: Tensor, kind: Tensor, n: int, seed: int) -> Pictures:
    """Nine cells of a grid: a digit in one, in the others digits whose quarters have changed places."""
    g = torch.Generator().manual_seed(seed)
    which, right = torch.randint(len(kind), (n, 9), generator=g), torch.randint(9, (n,), generator=g)
    quarters = image[which].unflatten(-1, (2, 4)).unflatten(-3, (2, 4)).transpose(-2, -3).flatten(2, 3)
    order = OTHER_ORDERS[torch.randint(len(OTHER_ORDERS), (n, 9), generator=g)]
    moved = quarters.gather(2, order[..., None, None].expand_as(quarters))
    clutter = moved.unflatten(2, (2, 2)).transpose(-2, -3).flatten(-2).flatten(-3, -2)
    whole = (torch.arange(9) == right[:, None])[..., None, None]
    return Pictures(torch.where(whole, image[which], clutter), kind[which].gather(1, right[:, None])[:, 0], right)


@cache
def data(task: str) -> dict[str, Pictures]:
    """Pictures to train with, to choose the rate by, and to test with; no digit is in two of them."""
    made = {}
    parts = zip(("pictures", "choose by", "tested"), split(scenes.load(), dev=0.1, test=0.3), strict=True)
    for seed, (name, digits) in enumerate(parts, 1):
        image, kind = torch.stack([d.image for d in digits]), torch.tensor([d.kind for d in digits])
        made[name] = TASKS[task].draw(image, kind, SETTING[name], seed)
    return made


# --- models -----------------------------------------------------------------------------------------------------------


class Inks(nn.Module):
    """The three inks, each times its gate, are added up and read. ``dense`` reads all four channels as they are."""

    def __init__(self, arm: str) -> None:
        super().__init__()
        self.arm = arm
        self.read = nn.Linear(64 * (4 if arm == "dense" else 1), SETTING["features"])
        self.answer = nn.Linear(SETTING["features"], 10)
        if arm != "dense":
            self.reduce, self.expand = nn.Linear(4, SETTING["hidden"]), nn.Linear(SETTING["hidden"], 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, and the gates of the three inks."""
        if self.arm == "dense":
            return self.answer(self.read(x.flatten(1)).relu()), x.new_full((len(x), 3), torch.nan)
        found = excite(
            torch.ones_like(x) if self.arm == "blind gates" else x,
            reduce_weight=self.reduce.weight,
            expand_weight=self.expand.weight,
            reduce_bias=self.reduce.bias,
            expand_bias=self.expand.bias,
        )
        mixed = (found.weights[..., None, None] * x)[:, :3].sum(1)
        return self.answer(self.read(mixed.flatten(1)).relu()), found.weights[:, :3]


class Cells(nn.Module):
    """Each cell has an energy and a value; the values are added up by weight and read."""

    def __init__(self, arm: str) -> None:
        super().__init__()
        self.arm = arm
        self.key, self.query = nn.Linear(64, SETTING["energy"]), nn.Linear(SETTING["energy"], 1, bias=False)
        self.value, self.answer = nn.Linear(64, SETTING["features"]), nn.Linear(SETTING["features"], 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, and the weights of the nine cells."""
        energies = self.query(self.key(x.flatten(2) - 0.3).relu()).squeeze(-1)
        if self.arm == "even":
            energies = 0 * energies
        weights = sigmoid(energies) if self.arm == "sigmoid" else softmax(energies)
        values = self.value(x.flatten(2) - 0.3).relu()
        return self.answer((weights.unsqueeze(-2) @ values).squeeze(-2)), weights


class Task(NamedTuple):
    draw: Callable[[Tensor, Tensor, int, int], Pictures]
    model: type[nn.Module]
    arms: tuple[str, ...]


TASKS = {
    "inks": Task(inks, Inks, ("gates", "blind gates", "dense")),
    "cells": Task(cells, Cells, ("softmax", "sigmoid", "even")),
}


def run(task: str, arm: str, state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """All seeds at once, each on pictures of its own, or all on the same ``(picture, item, 8, 8)``."""
    model = TASKS[task].model(arm)
    one = vmap(lambda p, items: functional_call(model, p, (items,)), in_dims=(0, 0 if x.ndim == 5 else None))
    return one(state, x)


def train(task: str, arm: str, rate: float) -> dict[str, Tensor]:
    made = []
    for seed in range(SETTING["seeds"]):
        torch.manual_seed(seed)
        made.append(TASKS[task].model(arm))
    state: dict[str, Tensor] = stack_module_state(made)[0]
    given, choose = data(task)["pictures"], torch.Generator().manual_seed(2)  # the same pictures for all arms

    def loss(step: int) -> Tensor:
        index = torch.randint(len(given.kind), (SETTING["seeds"], SETTING["batch"]), generator=choose)
        scores = run(task, arm, state, given.item[index])[0]
        return F.cross_entropy(scores.transpose(1, 2), given.kind[index], reduction="none").mean(-1)

    descend(state.values(), loss, steps=SETTING["steps"], rate=rate)
    return {name: value.detach() for name, value in state.items()}


# --- what comes of it -------------------------------------------------------------------------------------------------


@torch.no_grad()
def examine(task: str, arm: str, state: dict[str, Tensor], on: Pictures) -> dict[str, Tensor]:
    """Share right; the mean weight of the right item and of one other; how often the right one's is the largest."""
    scores, weights = run(task, arm, state, on.item)
    found = {"right": (scores.argmax(-1) == on.kind).double().mean(-1)}
    if arm == "dense":
        return found
    mine = F.one_hot(on.right, weights.shape[-1]).double()
    weights = weights.double()
    return {
        **found,
        "on the right item": (weights * mine).sum(-1).mean(-1),
        "on each other": (weights * (1 - mine)).sum(-1).mean(-1) / (weights.shape[-1] - 1),
        "largest": (weights.argmax(-1) == on.right).double().mean(-1),
    }


def rounded(found: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: [float(f"{x:.5g}") for x in values.tolist()] for name, values in found.items()}


def best(searched: dict[str, list[float]]) -> float:
    return float(max(searched, key=lambda rate: sum(searched[rate])))


def chosen(task: str, arm: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an arm comes to at its best rate, and its parameters."""
    started, on = time.perf_counter(), data(task)
    states = {str(rate): train(task, arm, rate) for rate in SETTING["rates"]}
    searched = rounded({rate: examine(task, arm, state, on["choose by"])["right"] for rate, state in states.items()})
    state = states[str(best(searched))]
    return {
        "search": searched,
        "rate": best(searched),
        "parameters": sum(value[0].numel() for value in state.values()),
        "test": rounded(examine(task, arm, state, on["tested"])),
        "seconds": round(time.perf_counter() - started),
    }, state


@torch.no_grad()
def shown(states: dict[str, dict[str, Tensor]]) -> dict[str, Any]:
    """Gates by what the spots ask for, and the first pictures with weights; first seed."""
    ink, cell = data("inks")["tested"], data("cells")["tested"]
    gates = run("inks", "gates", states["inks"], ink.item)[1][0]
    weights = run("cells", "softmax", states["cells"], cell.item[:3])[1][0]
    return {
        "gates": [[round(x, 4) for x in gates[ink.right == asked].mean(0).tolist()] for asked in range(3)],
        "cells": (16 * cell.item[:3]).round().int().tolist(),
        "weights": [[round(x, 4) for x in row] for row in weights.tolist()],
        "right": cell.right[:3].tolist(),
    }


def main() -> None:
    torch.set_num_threads(1)
    runs: dict[str, Any] = {}
    states: dict[str, dict[str, Tensor]] = {}
    for task, (_, _, arms) in TASKS.items():
        runs[task] = {}
        for arm in arms:
            runs[task][arm], state = chosen(task, arm)
            states.setdefault(task, state)  # of the first arm
            print(f"{task}, {arm}: rate {runs[task][arm]['rate']}, {runs[task][arm]['seconds']} s", flush=True)
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
        "shown": shown(states),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    kept = {f"{task} {name}": value.half() for task, state in states.items() for name, value in state.items()}
    torch.save(kept, RESULTS / "model.pt")  # of the first arm of each task, all seeds


if __name__ == "__main__":
    main()
