"""Share the projections of keys, queries and values: a memory of digits, on three tasks, at several widths.

    python book/experiments/sharing.py [--smoke]

A memory has five slots, each the image of another digit with a random label; the question is an image that is not
stored. Which part of a slot is matched and which is read depends on the task, and what is tied depends on the model.
Ten seeds stand side by side on the first axis: each has its own start and its own episodes, which are the same for all
models. All train with one rate, and nothing is searched. Twenty-three trainings, one to six seconds each on one core.
"""

import argparse
import json
import math
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from attnlib import attend
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

RESULTS = Path(__file__).parent / "results" / "sharing"
SETTING: dict[str, Any] = {"seeds": 10, "steps": 200, "batch": 64, "rate": 0.02, "tested": 2000, "slots": 5}
PIXELS, LABELS = 64, torch.eye(10) * math.sqrt(10)
TASKS = ("bound label", "next digit", "same digit")
# What is tied in each model, and the width that gives each about 900 parameters.
TIED = {
    "all separate": ((), 4),
    "key = value": (("key = value",), 6),
    "query = key": (("query = key",), 6),
    "one vector": (("query = key", "key = value"), 11),
}


class Arm(NamedTuple):
    """A model on a task."""

    task: str
    model: str
    width: int
    steps: int = SETTING["steps"]

    @property
    def name(self) -> str:
        return f"{self.task}, {self.model}, {self.width}, {self.steps}"


APART = ("all separate", "key = value")  # what values of their own are worth
ALIKE = [Arm(task, model, width) for task in TASKS for model, (_, width) in TIED.items()]
WIDE = [Arm(task, model, 6) for task in ("bound label", "same digit") for model in TIED]
WIDE += [Arm("bound label", *arm) for arm in (("query = key", 4), ("all separate", 16), ("key = value", 24))]
LONG = [arm._replace(steps=600) for arm in ALIKE if arm.task in ("bound label", "same digit") and arm.model in APART]
ARMS = list(dict.fromkeys([*ALIKE, *WIDE, *LONG]))


# --- the memory -------------------------------------------------------------------------------------------------------


class Episodes(NamedTuple):
    """Numbers of images and of labels: asked ``(..., episode)``, stored ``(..., episode, slot)``; the answers."""

    question: Tensor
    stored: Tensor
    labels: Tensor
    answer: Tensor


@cache
def digits() -> tuple[Tensor, dict[str, Tensor]]:
    """Images ``(image, pixel)``; numbers of those to train and to test with, ``(digit, example)``."""
    data = load_digits()
    images = torch.tensor(data.data, dtype=torch.float32)
    images = (images - images[:1000].mean(0)) / images[:1000].std()
    pools = {"train": range(1000), "test": range(1000, len(images))}
    return images, {name: by_digit(data.target, rows) for name, rows in pools.items()}


def by_digit(kinds: Any, rows: range) -> Tensor:
    found = [[i for i in rows if kinds[i] == digit] for digit in range(10)]
    return torch.tensor([numbers[: min(map(len, found))] for numbers in found])


def episodes(task: str, count: int, pool: Tensor, generator: torch.Generator) -> Episodes:
    """The right slot is the first; attention does not know the order."""
    pick = partial(torch.randint, generator=generator)
    shown = torch.rand(count, 10, generator=generator).argsort(-1)[:, : SETTING["slots"]]
    asks, holds = pool[:, ::2], pool[:, 1::2]  # no image is in both
    stored = holds[shown, pick(holds.shape[1], shown.shape)]
    asked = (shown[:, 0] - int(task == "next digit")) % 10
    question = asks[asked, pick(asks.shape[1], asked.shape)]
    labels = pick(10, shown.shape)
    return Episodes(question, stored, labels, shown[:, 0] if task == "same digit" else labels[:, 0])


@cache
def drawn(task: str, count: int, pool: str, first: int) -> Episodes:
    """Each seed's own episodes, ``(seed, episode, ...)``."""
    generators = [torch.Generator().manual_seed(first + seed) for seed in range(SETTING["seeds"])]
    runs = [episodes(task, count, digits()[1][pool], generator) for generator in generators]
    return Episodes(*map(torch.stack, zip(*runs, strict=True)))


def tested(task: str) -> Episodes:
    return drawn(task, SETTING["tested"], "test", 100)


def guessing(task: str) -> Tensor:
    """Accuracy of who sees the slots and does not match: any of the five digits, or the commonest label."""
    if task == "same digit":
        return torch.full((SETTING["seeds"],), 1 / SETTING["slots"])
    commonest = F.one_hot(tested(task).labels, 10).sum(-2).argmax(-1)
    return (commonest == tested(task).answer).float().mean(-1)


# --- the models -------------------------------------------------------------------------------------------------------

State = dict[str, Tensor]


def start(model: str, width: int) -> State:
    """Projections and read-out, one set a seed; what is tied exists once."""
    tied, _ = TIED[model]
    sizes = {"key": (PIXELS + 10, width), "out": (width, 10)}
    if "query = key" not in tied:
        sizes["query"] = (PIXELS, width)
    if "key = value" not in tied:
        sizes["value"] = (PIXELS + 10, width)
    generators = [torch.Generator().manual_seed(1000 + seed) for seed in range(SETTING["seeds"])]
    made = {}
    for name, (rows, columns) in sizes.items():
        drawn = [torch.randn(rows, columns, generator=generator) for generator in generators]
        made[name] = (torch.stack(drawn) / math.sqrt(rows)).requires_grad_()
    return made


def answer(p: State, task: str, seen: Episodes) -> Tensor:
    """Logits ``(seed, episode, 10)``: project, attend, read out."""
    images, _ = digits()
    question = F.embedding(seen.question, images)
    written = F.embedding(seen.labels, LABELS) * (task != "same digit")
    slots = torch.cat([F.embedding(seen.stored, images), written], -1)
    shape = (*slots.shape[:-1], -1)
    slots = slots.flatten(1, 2)  # one large product instead of many small ones
    query = question @ p.get("query", p["key"][:, :PIXELS])
    key = (slots @ p["key"]).view(shape)
    value = (slots @ p["value"]).view(shape) if "value" in p else key
    return attend(query.unsqueeze(-2), key, value).context.squeeze(-2) @ p["out"]


def train(arm: Arm) -> State:
    p, steps, batch = start(arm.model, arm.width), arm.steps, int(SETTING["batch"])
    data = drawn(arm.task, steps * batch, "train", 0)

    def loss(step: int) -> Tensor:
        seen = Episodes(*(part[:, step * batch : (step + 1) * batch] for part in data))
        logits = answer(p, arm.task, seen).flatten(0, 1)
        summed: Tensor = F.cross_entropy(logits, seen.answer.flatten(), reduction="sum")
        return summed / batch

    rate = SETTING["rate"]
    descend(
        p.values(), loss, steps=steps, rate=rate, schedule=lambda adam: OneCycleLR(adam, max_lr=rate, total_steps=steps)
    )
    return {name: part.detach() for name, part in p.items()}


def examine(arm: Arm, p: State) -> Tensor:
    """Test accuracy, one number a seed."""
    seen = tested(arm.task)
    right = answer(p, arm.task, seen).argmax(-1) == seen.answer
    return right.float().mean(-1)


def run(arm: Arm) -> dict[str, Any]:
    started = time.process_time()
    p = train(arm)
    right = [round(share, 5) for share in examine(arm, p).tolist()]
    seconds = round(time.process_time() - started, 1)
    return {"right": right, "parameters": sum(part[0].numel() for part in p.values()), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="two steps of each, and nothing is kept")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    if smoke:
        SETTING.update(tested=50)
    runs = {}
    for arm in ARMS:
        runs[arm.name] = found = run(arm._replace(steps=2) if smoke else arm)
        print(f"{arm.name}: {min(found['right']):.3f} to {max(found['right']):.3f}, {found['seconds']} s", flush=True)
    if smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "guessing": {task: [round(share, 5) for share in guessing(task).tolist()] for task in TASKS},
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
