"""Synthesizers beside the inner product, on tasks that need a look at content, and on tasks that need places alone.

    python book/experiments/synthesizers.py [--smoke]

A text has twelve places; each holds a key of its own, a value, and a key that it asks for. *Recall*: say the value that
stands with the key asked for, which is somewhere else in every text. *Reversed*: say the value of the place as far from
the end as one's own is from the start. *Shifted*: that of the place three before, in a ring. One layer of two heads has
to do it, by dot products, by a synthesizer, or by a mixture; inputs hold sines of their places for all arms alike. Each
arm is trained at each rate of one grid and keeps the one that is best on texts that are neither trained nor tested
with. Five seeds stand side by side on the first axis; arms share their texts, and what else they have is drawn alike.
What is done lies in ``runs/synthesizers``, so that a script that was killed goes on where it was.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.frontiers.synthesizer import cut, dense, factorised_dense, factorised_random, synthetic
from attnlib.input_representations.positions import sinusoidal
from attnlib.output_representations.parts import join, split
from attnlib.training import descend
from attnlib.training.side_by_side import linear

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "synthesizers", HERE / "results" / "synthesizers"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "rates": [0.00125, 0.005, 0.02],
    "steps": 400,
    "batch": 32,
    "clip": 1.0,
    "time": 12,
    "values": 8,
    "size": 48,
    "heads": 2,
    "rank": 4,
    "back": 3,
    "choose by": 200,
    "tested": 400,
}
TIME, VALUES, SIZE, HEADS = (SETTING[name] for name in ("time", "values", "size", "heads"))
ARMS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("dot", "dense", "random", "random, fixed", "factorised dense", "factorised random")},
    "random and dot": ("dot", "random"),
    "dense and dot": ("dot", "dense"),
}
State = dict[str, Tensor]
TASKS = ("recall", "reversed", "shifted")


# What each kind of part has, for a head; the last size is that of what comes in.
HIDDEN, FIRST = SIZE // HEADS, 3
PARTS: dict[str, dict[str, tuple[int, ...]]] = {
    "dot": {"query": (HIDDEN, SIZE), "key": (HIDDEN, SIZE)},
    "dense": {
        "hidden_weight": (HIDDEN, SIZE),
        "hidden_bias": (HIDDEN,),
        "weight": (TIME, HIDDEN),
        "bias": (TIME,),
    },
    "random": {"energies": (TIME, TIME)},
    "random, fixed": {"energies": (TIME, TIME)},
    "factorised dense": {
        "first_weight": (FIRST, SIZE),
        "first_bias": (FIRST,),
        "second_weight": (TIME // FIRST, SIZE),
        "second_bias": (TIME // FIRST,),
    },
    "factorised random": {"left": (TIME, SETTING["rank"]), "right": (TIME, SETTING["rank"])},
}
AROUND: dict[str, tuple[int, ...]] = {
    "embed": (SIZE, 2 * TIME + VALUES),
    "value": (SIZE, SIZE),
    "output": (SIZE, SIZE),
    "hidden": (SIZE, SIZE),
    "hidden bias": (SIZE,),
    "answer": (VALUES, SIZE),
    "answer bias": (VALUES,),
}


def start(arm: str) -> State:
    """By seed, and by head where there are heads: uniform with a variance of one over what comes in, biases of zero;
    random energies are normal with a variance of one. What all arms have is the same for all."""
    sizes = dict(AROUND)
    for kind in ARMS[arm]:
        sizes |= {f"{kind} {name}": (HEADS, *size) for name, size in PARTS[kind].items()}
    sizes |= {"shares": (len(ARMS[arm]), HEADS)} if len(ARMS[arm]) > 1 else {}
    made = {}
    for name, size in sizes.items():
        drawn = []
        for seed in range(SETTING["seeds"]):
            g = torch.Generator().manual_seed(1000 * seed + sum(map(ord, name)))
            if "random" in name:
                drawn.append(torch.randn(size, generator=g) * (SETTING["rank"] ** -0.25 if "factorised" in name else 1))
            else:
                bound = 0.0 if "bias" in name or name == "shares" else (3 / size[-1]) ** 0.5
                drawn.append((2 * torch.rand(size, generator=g) - 1) * bound)
        made[name] = torch.stack(drawn).requires_grad_("fixed" not in name)
    return made


def energies(p: State, kind: str, x: Tensor) -> Tensor:
    """What a part that is no inner product says, ``(seed, text, head, time, time)``."""
    own = {name: p[f"{kind} {name}"] for name in PARTS[kind]}
    if kind.startswith("random"):
        return cut(own["energies"], TIME).unsqueeze(1)
    if kind == "factorised random":
        return factorised_random(own["left"], own["right"], n_query=TIME).unsqueeze(1)
    make: Callable[..., Tensor] = dense if kind == "dense" else factorised_dense
    return torch.stack([make(of_seed, **{n: v[i] for n, v in own.items()}) for i, of_seed in enumerate(x)])


def said(arm: str, p: State, items: Tensor) -> Tensor:
    """One layer, and what is made of it at each place: ``(seed, text, time, value)``."""
    x = linear(p, "embed", items) + sinusoidal(torch.arange(TIME), SIZE)
    asks: dict[str, Any] = {}
    if "dot" in ARMS[arm]:
        asks = {name: (x.unsqueeze(2) @ p[f"dot {name}"].mT.unsqueeze(1)) for name in ("query", "key")}
    parts = [energies(p, kind, x) for kind in ARMS[arm] if kind != "dot"]
    shares = p["shares"].softmax(1).transpose(0, 1).unsqueeze(2) if "shares" in p else None
    context = join(synthetic(split(linear(p, "value", x), HEADS), parts, shares=shares, **asks).context)
    return linear(p, "answer", linear(p, "hidden", linear(p, "output", context)).relu())


def texts(n: int, g: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Items ``(seed, n, time, size)``, and for each task the right values ``(seed, n, time)``."""
    shape = (SETTING["seeds"], n, TIME)
    keys, asked = torch.rand(shape, generator=g).argsort(-1), torch.rand(shape, generator=g).argsort(-1)
    values = torch.randint(VALUES, shape, generator=g)
    where = (asked.unsqueeze(-1) == keys.unsqueeze(-2)).int().argmax(-1)
    parts = F.one_hot(keys, TIME), F.one_hot(values, VALUES), F.one_hot(asked, TIME)
    right = {
        "recall": values.gather(-1, where),
        "reversed": values.flip(-1),
        "shifted": values.roll(SETTING["back"], -1),
    }
    return torch.cat(parts, -1).float(), right


def train(arm: str, task: str, rate: float) -> State:
    p, g = start(arm), torch.Generator().manual_seed(1)  # the same texts for all arms

    def loss(step: int) -> Tensor:
        items, right = texts(SETTING["batch"], g)
        found = F.cross_entropy(said(arm, p, items).flatten(0, -2), right[task].flatten(), reduction="none")
        return found.view(SETTING["seeds"], -1).mean(-1)

    trained = [part for part in p.values() if part.requires_grad]
    descend(trained, loss, steps=SETTING["steps"], rate=rate, clip=SETTING["clip"])
    return {name: part.detach() for name, part in p.items()}


@torch.no_grad()
def examine(arm: str, p: State, task: str, what: str) -> list[float]:
    """The share of places that say what is right, by seed; all seeds read the same texts."""
    items, right = texts(SETTING[what], torch.Generator().manual_seed({"choose by": 10**6, "tested": 2 * 10**6}[what]))
    answers = said(arm, p, items[:1].expand_as(items)).argmax(-1)
    return [round(share, 5) for share in (answers == right[task][:1]).double().flatten(1).mean(-1).tolist()]


def run(arm: str, task: str) -> dict[str, Any]:
    started, searched, tested = time.process_time(), {}, {}
    for rate in SETTING["rates"]:
        p = train(arm, task, rate)
        searched[str(rate)], tested[str(rate)] = (examine(arm, p, task, what) for what in ("choose by", "tested"))
    best = max(searched, key=lambda rate: sum(searched[rate]))
    return {
        "search": searched,
        "best": float(best),
        "test": tested[best],
        "at each": tested,
        "parameters": sum(part[0].numel() for name, part in start(arm).items() if name not in AROUND),
        "seconds": round(time.process_time() - started),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few steps of each, and nothing is kept")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    if smoke:
        SETTING.update(steps=3, rates=[0.01], tested=20, **{"choose by": 20})
    runs: dict[str, Any] = {}
    for task, arm in itertools.product(TASKS, ARMS):

        def made(task: str = task, arm: str = arm) -> dict[str, Any]:
            return run(arm, task)

        name = f"{task}, {arm}"
        runs[name] = made() if smoke else kept(RUNS / f"{name}.pt", made)
        shares = runs[name]["test"]
        print(f"{name}: {min(shares):.3f} to {max(shares):.3f}, {runs[name]['seconds']} s", flush=True)
    if smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
