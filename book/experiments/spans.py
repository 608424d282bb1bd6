"""Heads that learn how far to look: do lower layers keep short spans and upper ones long, and is that worth anything?

    python book/experiments/spans.py [--smoke] [--jobs 2]

A small language model reads the English New Testament by characters: three layers of four heads, each of which sees at
most 32 characters, its own included. Where a character stands is told by a number that each head learns for each
distance; these numbers start with a slope, so that what is near weighs more from the first step on, or *flat*, at
nought. *Learned*: each head has a span of its own, half of the view at the start, of which each place adds a cost to
the loss; there are two costs, the first of them nought. *Full view*: all heads see all. Where the layers' mean spans
come to differ most, models are trained anew whose spans stand still: at those that were learned; at those, with the
layers in the other order; and all at their mean. Each arm is trained at each rate of one grid, with fewer steps and the
first two seeds, and keeps the one that is best on a book that is neither trained nor tested with. Seeds stand side by
side on the first axis, and each has its own texts, which are the same for all arms. What is done lies in
``runs/spans``, so that a script that was killed goes on where it was.
"""

import argparse
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from attnlib.data import new_testament
from attnlib.frontiers.adaptive import adaptive_span
from attnlib.output_representations.parts import join, split
from attnlib.training import descend
from attnlib.training.side_by_side import linear, normed

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "spans", HERE / "results" / "spans"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "costs": [0.0, 0.00001],
    "start": 0.5,
    "rates": [0.004, 0.008, 0.016],
    "search": {"seeds": 2, "steps": 300},
    "slope": 0.5,
    "warm": 50,
    "steps": 900,
    "clip": 1.0,
    "batch": 16,
    "time": 64,
    "farthest": 32,
    "ramp": 4.0,
    "layers": 3,
    "heads": 4,
    "size": 64,
    "tested": 400,
}
LAYERS, HEADS, SIZE, FARTHEST = (SETTING[name] for name in ("layers", "heads", "size", "farthest"))
BEFORE = LAYERS * FARTHEST  # so many characters before one that is tested: all that can reach it
LETTERS = " abcdefghijklmnopqrstuvwxyz.,;:?!'"
State = dict[str, Tensor]


class Arm(NamedTuple):
    """Spans over the farthest, ``(seed, layer, head)``; what a place costs, ``None`` where spans stand still."""

    shares: Tensor
    cost: float | None
    slope: float


SIZES: dict[str, tuple[int, ...]] = {
    "embed": (SIZE, len(LETTERS)),
    "answer": (len(LETTERS), SIZE),
    "answer bias": (len(LETTERS),),
    "last gain": (SIZE,),
}
for layer in range(LAYERS):
    SIZES |= {f"{layer} {name}": (SIZE, SIZE) for name in ("query", "key", "value", "output")}
    SIZES |= {f"{layer} wide": (2 * SIZE, SIZE), f"{layer} wide bias": (2 * SIZE,), f"{layer} narrow": (SIZE, 2 * SIZE)}
    SIZES |= {f"{layer} {name} gain": (SIZE,) for name in ("look", "think")} | {f"{layer} far": (HEADS, FARTHEST)}


def start(seeds: int, slope: float) -> State:
    """By seed: uniform with a variance of one over what comes in; biases of zero, and a slope over the distances."""
    made = {}
    for name, size in SIZES.items():
        drawn = []
        for seed in range(seeds):
            g = torch.Generator().manual_seed(1000 * seed + sum(map(ord, name)))
            bound = 0.0 if len(size) == 1 or "far" in name else (3 / size[-1]) ** 0.5
            drawn.append((2 * torch.rand(size, generator=g) - 1) * bound + ("gain" in name))
        made[name] = torch.stack(drawn) - ("far" in name) * slope * torch.arange(size[-1])
        made[name].requires_grad_()
    return made


def said(p: State, text: Tensor) -> Tensor:
    """What each seed says comes next, ``(seed, text, time, letter)``; ``p["share"]`` is span over farthest."""
    far = torch.arange(text.shape[-1]).unsqueeze(-1) - torch.arange(text.shape[-1])
    x = linear(p, "embed", F.one_hot(text, len(LETTERS)).float()) * SIZE**0.5
    for layer in range(LAYERS):
        inputs = normed(p, f"{layer} look", x)
        asked = (split(linear(p, f"{layer} {name}", inputs), HEADS) for name in ("query", "key", "value"))
        found = adaptive_span(
            *asked,
            span=p["share"][:, layer, :, None, None].unsqueeze(1) * FARTHEST,
            ramp=SETTING["ramp"],
            max_span=FARTHEST,
            bias=p[f"{layer} far"][:, :, far.clamp(0, FARTHEST - 1)].unsqueeze(1),
            is_causal=True,
            need_weights=False,
        )
        x = x + linear(p, f"{layer} output", join(found.context))
        x = x + linear(p, f"{layer} narrow", linear(p, f"{layer} wide", normed(p, f"{layer} think", x)).relu())
    return linear(p, "answer", normed(p, "last", x))


def texts() -> dict[str, Tensor]:
    """The numbers of the characters, in lower case: of 25 books to train with, one to choose by, one to test with."""
    parts = new_testament.split_by_book(new_testament.load(punctuation=True))
    names = {"trained": parts.train, "choose by": parts.dev, "tested": parts.test}
    found = {}
    for name, verses in names.items():
        text = " ".join(word.lower().replace("’", "'") for verse in verses for word in verse.words)
        for mark in ".,;:?!":
            text = text.replace(f" {mark}", mark)
        found[name] = torch.tensor([LETTERS.index(c) for c in text if c in LETTERS])
    return found


def train(trained: Tensor, arm: Arm, most: float, steps: int) -> tuple[State, list[list[list[float]]]]:
    """Weights, and the mean span of each seed and layer on the way; without a cost spans stand still."""
    seeds, cost, g = len(arm.shares), arm.cost, torch.Generator().manual_seed(1)
    p = start(seeds, arm.slope) | {"share": arm.shares.clone().requires_grad_(cost is not None)}
    way: list[list[list[float]]] = []

    def loss(step: int) -> Tensor:
        first = torch.randint(len(trained) - SETTING["time"], (SETTING["seeds"], SETTING["batch"], 1), generator=g)[
            :seeds
        ]
        text = trained[first + torch.arange(SETTING["time"] + 1)]
        each = F.cross_entropy(said(p, text[..., :-1]).flatten(0, -2), text[..., 1:].flatten(), reduction="none")
        each = each.view(seeds, -1).mean(-1)
        return each if cost is None else each + cost * FARTHEST * p["share"].sum((1, 2))

    @torch.no_grad()
    def after(step: int) -> None:
        p["share"].clamp_(0, 1)
        if (step + 1) % max(1, steps // 20) == 0:
            way.append(rounded(p["share"].mean(-1) * FARTHEST, 2))

    def rate(step: int) -> float:
        warm, falling = (step + 1) / SETTING["warm"], (1 + math.cos(math.pi * step / steps)) / 2
        return float(min(1.0, warm) * (0.05 + 0.95 * falling))

    descend(
        [part for part in p.values() if part.requires_grad],
        loss,
        steps=steps,
        rate=most,
        clip=SETTING["clip"],
        schedule=lambda optimizer: LambdaLR(optimizer, rate),
        after=after,
    )
    return {name: part.detach() for name, part in p.items()}, way


@torch.no_grad()
def bits(p: State, part: Tensor) -> list[float]:
    """Bits a character of each seed, where all that may reach a character is in sight."""
    size, seeds = SETTING["time"], len(p["share"])
    windows = part.unfold(0, BEFORE + size + 1, size)[: SETTING["tested"]]
    total = torch.zeros(seeds)
    for several in torch.split(windows, 20):
        given = several.expand(seeds, -1, -1)
        logits, right = said(p, given[..., :-1])[..., BEFORE:, :], given[..., BEFORE + 1 :]
        each = F.cross_entropy(logits.flatten(0, -2), right.flatten(), reduction="none")
        total += each.view(seeds, -1).sum(-1)
    found: list[float] = rounded(total / (len(windows) * size * math.log(2)), 5)
    return found


def rounded(numbers: Tensor, digits: int) -> Any:
    """Numbers as lists, rounded."""
    if numbers.ndim:
        return [rounded(number, digits) for number in numbers]
    return round(numbers.item(), digits)


def run(arm: Arm) -> dict[str, Any]:
    torch.set_num_threads(1)
    parts, searched, few = texts(), dict[str, list[float]](), SETTING["search"]
    started = time.process_time()
    for rate in SETTING["rates"]:
        p, _ = train(parts["trained"], arm._replace(shares=arm.shares[: few["seeds"]]), rate, few["steps"])
        searched[str(rate)] = bits(p, parts["choose by"])
    best = min(searched, key=lambda rate: sum(searched[rate]))
    p, way = train(parts["trained"], arm, float(best), SETTING["steps"])
    tested, spans = bits(p, parts["tested"]), rounded(p["share"] * FARTHEST, 3)
    seconds = round(time.process_time() - started)
    return {"search": searched, "best": float(best), "tested": tested, "spans": spans, "way": way, "seconds": seconds}


def floors(parts: dict[str, Tensor]) -> dict[str, float]:
    """Bits a character from counts of the text trained with: of one character, and of pairs, each count plus one."""
    trained, tested = parts["trained"], parts["tested"]
    n = len(LETTERS)
    one = torch.bincount(trained, minlength=n).double() + 1
    two = torch.bincount(trained[:-1] * n + trained[1:], minlength=n * n).double().view(n, n) + 1
    shares = one / one.sum(), two / two.sum(1, keepdim=True)
    found = {"one": shares[0][tested[1:]], "pairs": shares[1][tested[:-1], tested[1:]]}
    return {name: round(-share.log2().mean().item(), 4) for name, share in found.items()}


def made(name: str, arm: Arm, smoke: bool) -> dict[str, Any]:
    """One arm, kept unless only tried; a process of its own has its own settings."""
    if smoke:
        SETTING.update(steps=2, tested=5, search={"seeds": 2, "steps": 2})
    found: dict[str, Any] = run(arm) if smoke else kept(RUNS / f"{name}.pt", lambda: run(arm))
    layers = ", ".join(f"{span:.1f}" for span in torch.tensor(found["spans"]).mean((0, 2)).tolist())
    took = f"bits at {found['best']}, {found['seconds']} s"
    print(f"{name}: {min(found['tested']):.3f} to {max(found['tested']):.3f} {took}, spans {layers}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few steps of each, and nothing is kept")
    parser.add_argument("--jobs", type=int, default=1, help="how many arms are trained at once")
    options = parser.parse_args()
    even, slope, runs = torch.ones(SETTING["seeds"], LAYERS, HEADS), SETTING["slope"], dict[str, Any]()

    def train_all(arms: dict[str, Arm]) -> None:
        with ProcessPoolExecutor(options.jobs) as pool:
            waiting = {name: pool.submit(made, name, arm, options.smoke) for name, arm in arms.items()}
            runs.update({name: each.result() for name, each in waiting.items()})

    half = even * SETTING["start"]
    arms = {f"learned, {cost}": Arm(half, cost, slope) for cost in SETTING["costs"]}
    train_all(arms | {"full view": Arm(even, None, slope)})
    train_all({"flat, learned": Arm(half, 0.0, 0.0), "flat, full view": Arm(even, None, 0.0)})
    found = {name: torch.tensor(runs[name]["spans"]) / FARTHEST for name in arms}
    apart = {name: (each.mean(-1).max(-1)[0] - each.mean(-1).min(-1)[0]).mean() for name, each in found.items()}
    chosen = max(apart, key=lambda name: float(apart[name]))
    learned = found[chosen]
    still = {
        "kept": learned,
        "turned over": learned.flip(1),
        "mean": learned.mean((1, 2), keepdim=True).expand_as(even),
    }
    train_all({name: Arm(shares, None, slope) for name, shares in still.items()})
    if options.smoke:
        return
    parts = texts()
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "chosen": chosen,
        "characters": {name: len(part) for name, part in parts.items()},
        "floors": floors(parts),
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
