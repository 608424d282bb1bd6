"""Recall what stood one, two, three ... places back, with one head and with many; and heads that are made to disagree.

    python book/experiments/heads.py

Each place of a random text asks for the symbols right before it: *in order* for each of them, *added up* for the sum of
their numbers. All arms have matrices of the same sizes, but for one whose queries and keys are larger; what differs is
the number of parts into which they are cut, or what reads the contexts. Each arm is searched from where it begins to a
neighbour (half or twice the rate, a tenth or ten times the strength of what makes heads disagree) for as long as one is
better on texts that are neither trained nor tested with, so that what is chosen lies at no edge. All arms of a task
begin at one rate; one with heads that disagree begins where the arm without that ended, and what is trained longer
stays there. Five seeds stand side by side on the first axis; all arms share their texts. Where heads are made to
disagree, and where they are left alone beside that, ten further seeds are trained with what was chosen, and tell what
comes of it. Some ninety trainings of ten seconds each on one core, one of two minutes. What is done lies in
``runs/heads``, so that a script that was killed goes on where it was; who changes a setting empties that folder first.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.input_representations.positions import sinusoidal
from attnlib.output_representations import disagreement
from attnlib.output_representations.multihead import multihead
from attnlib.output_representations.parts import split
from attnlib.training import descend
from attnlib.training.side_by_side import linear

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "heads", HERE / "results" / "heads"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "further": [5, 10],
    "rate": {"in order": 0.02, "added up": 0.01},
    "strength": 1.0,
    "factors": [2, 10],
    "steps": 600,
    "longer": 2400,
    "batch": 32,
    "clip": 1.0,
    "symbols": 8,
    "time": 20,
    "first": 8,
    "size": 32,
    "hidden": 64,
    "choose by": 200,
    "tested": 400,
}
SYMBOLS, TIME, FIRST, SIZE = (SETTING[name] for name in ("symbols", "time", "first", "size"))
State = dict[str, Tensor]
Found = dict[str, list[Any]]


class Trained(NamedTuple):
    """What an arm comes to at one rate and strength: symbols right of the texts to choose by, all of the test."""

    chosen_by: list[float]
    test: Found
    state: State
    seconds: int


class Arm(NamedTuple):
    """How many places back are asked for, and how; heads; whether a hidden layer reads; what is to disagree; whether
    queries and keys of a head have two features where one would be its share."""

    task: str
    back: int
    heads: int
    hidden: bool = False
    kind: str = "nothing"
    longer: bool = False
    two: bool = False

    @property
    def name(self) -> str:
        extras = [
            text
            for text, given in (("hidden", self.hidden), ("longer", self.longer), ("keys of two", self.two))
            if given
        ]
        extras += [self.kind] if self.kind != "nothing" else []
        return ", ".join([f"{self.task}, {self.back} back, {self.heads} heads", *extras])


KINDS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "subspaces": lambda value, weights, context: disagreement.of_subspaces(value),
    "positions": lambda value, weights, context: disagreement.of_positions(weights),
    "outputs": lambda value, weights, context: disagreement.of_outputs(context),
}
ARMS = [
    *(Arm("in order", 4, heads) for heads in (1, 2, 4, 8, 16, 32)),
    *(Arm("added up", 4, heads) for heads in (1, 2, 4, 16)),
    *(Arm("in order", 4, heads, hidden=True) for heads in (1, 4)),
    *(Arm("in order", 2, heads) for heads in (1, 2)),
    Arm("in order", 4, 32, two=True),
    *(Arm(task, 4, 1, longer=True) for task in ("in order", "added up")),
    Arm("in order", 8, 8),
    *(Arm("in order", 8, 8, kind=kind) for kind in KINDS),
    Arm("in order", 4, 32, longer=True),
    *(Arm("added up", 4, 4, kind=kind) for kind in KINDS),
]


PRESSED = {arm._replace(kind="nothing") for arm in ARMS if arm.kind != "nothing"}


def texts(n: int, g: torch.Generator) -> Tensor:
    return torch.randint(SYMBOLS, (SETTING["seeds"], n, TIME), generator=g)


def wanted(arm: Arm, text: Tensor) -> Tensor:
    """The symbols one, two ... places before each place, ``(seed, text, place, back)``; or their sum."""
    places = torch.arange(FIRST, TIME).unsqueeze(-1) - torch.arange(1, arm.back + 1)
    found = text[:, :, places]
    return found.sum(-1, keepdim=True) if arm.task == "added up" else found


# --- the network, all seeds at once: parameters (seed, ...), texts (seed, text, time) ---------------------------------


def run(arm: Arm, p: State, text: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """One layer of attention from each place that asks to all. Answers; values, weights, contexts of the heads."""
    x = linear(p, "embed", F.one_hot(text, SYMBOLS).float()) + sinusoidal(torch.arange(TIME), SIZE)
    query, key, value = (linear(p, name, part) for name, part in (("query", x[:, :, FIRST:]), ("key", x), ("value", x)))
    found = multihead(query, key, value, heads=arm.heads)
    read = linear(p, "output", found.context)
    if arm.hidden:
        read = linear(p, "hidden", read).relu()
    answers = linear(p, "answer", read)
    answers = answers if arm.task == "added up" else answers.view(*answers.shape[:-1], arm.back, SYMBOLS)
    assert found.weights is not None
    return answers, (split(value, arm.heads), found.weights, split(found.context, arm.heads))


def start(arm: Arm, first: int = 0) -> State:
    """Uniform with a variance of one over what comes in; biases of zero; each seed its own; all arms alike."""
    answers = 1 if arm.task == "added up" else arm.back * SYMBOLS
    sizes: dict[str, tuple[int, ...]] = {"embed": (SIZE, SYMBOLS)}
    sizes |= dict.fromkeys(("query", "key", "value", "output"), (SIZE, SIZE))
    sizes |= dict.fromkeys(("query", "key"), (2 * SIZE, SIZE)) if arm.two else {}
    sizes |= {"hidden": (SETTING["hidden"], SIZE), "hidden bias": (SETTING["hidden"],)} if arm.hidden else {}
    sizes |= {"answer": (answers, SETTING["hidden"] if arm.hidden else SIZE), "answer bias": (answers,)}
    made: State = {}
    for name, size in sizes.items():
        drawn = []
        for seed in range(first, first + SETTING["seeds"]):
            g = torch.Generator().manual_seed(1000 * seed + sum(map(ord, name)))
            drawn.append((2 * torch.rand(size, generator=g) - 1) * (0.0 if "bias" in name else (3 / size[-1]) ** 0.5))
        made[name] = torch.stack(drawn).requires_grad_()
    return made


def train(arm: Arm, rate: float, strength: float, first: int = 0) -> State:
    state, g = start(arm, first), torch.Generator().manual_seed(1 + first)  # the same texts for all arms

    def loss(step: int) -> Tensor:
        text = texts(SETTING["batch"], g)
        (answers, parts), right = run(arm, state, text), wanted(arm, text)
        if arm.task == "added up":
            found = F.mse_loss(answers, right.float(), reduction="none")
        else:
            found = F.cross_entropy(answers.flatten(0, -2), right.flatten(), reduction="none").view_as(right)
        apart = 0.0 if arm.kind == "nothing" else KINDS[arm.kind](*parts).mean(-1)
        return found.flatten(1).mean(-1) - strength * apart

    steps = SETTING["longer" if arm.longer else "steps"]
    descend(state.values(), loss, steps=steps, rate=rate, clip=SETTING["clip"])
    return {name: value.detach() for name, value in state.items()}


# --- what comes of it -------------------------------------------------------------------------------------------------


def held(name: str) -> Tensor:
    """Texts to choose by, or to test with; the same for all seeds."""
    g = torch.Generator().manual_seed({"choose by": 10**6, "tested": 2 * 10**6}[name])
    return texts(SETTING[name], g)[:1].expand(SETTING["seeds"], -1, -1)


@torch.no_grad()
def examine(arm: Arm, state: State, text: Tensor) -> Found:
    """By seed: share of places where all is right, share of symbols right (a sum to the nearest whole number); the
    three disagreements; the share of the weight that falls on none of the places asked for, and the entropy of the
    weights in nats, means over heads; and the mean weight of each head on each of the places asked for."""
    (answers, parts), right = run(arm, state, text), wanted(arm, text)
    each = answers.round() == right if arm.task == "added up" else answers.argmax(-1) == right
    found = {
        "all": each.all(-1).double().flatten(1).mean(-1),
        "each": each.double().flatten(1).mean(-1),
        **{kind: of(*parts).double().mean(-1) for kind, of in KINDS.items()},
    }
    ask = torch.arange(TIME - FIRST)
    on = [parts[1][..., ask, FIRST + ask - n].mean((1, 3)) for n in range(1, arm.back + 1)]
    found["weights"] = torch.stack(on, -1)  # (seed, head, place back)
    found["elsewhere"] = 1 - found["weights"].double().sum(-1).mean(-1)
    found["entropy"] = torch.special.entr(parts[1].double()).sum(-1).flatten(1).mean(-1)
    return {name: rounded(value) for name, value in found.items()}


def rounded(values: Tensor) -> list[Any]:
    flat: list[Any] = [rounded(part) if part.ndim else float(f"{part.item():.5g}") for part in values]
    return flat


def tried(arm: Arm, rate: float, strength: float) -> Trained:
    """One training; from disk where it is done."""
    path = RUNS / f"{arm.name}, {rate}, {strength}.pt"
    if path.exists():
        return Trained(*torch.load(path, weights_only=True))
    started = time.process_time()
    state = train(arm, rate, strength)
    chosen_by, test = examine(arm, state, held("choose by"))["each"], examine(arm, state, held("tested"))
    done = Trained(chosen_by, test, state, round(time.process_time() - started))
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.save(tuple(done), path)
    return done


def told(found: Found) -> Found:
    """In place of the weights by head and place, how many heads have more than half of theirs on one place."""
    pointed = [sum(max(head) > 0.5 for head in heads) for heads in found["weights"]]
    return {name: values for name, values in found.items() if name != "weights"} | {"pointed": pointed}


def neighbours(rate: float, strength: float) -> list[list[tuple[float, float]]]:
    """Other strengths, where there is one, and other rates."""
    by_rate, by_strength = SETTING["factors"]
    strengths = [(rate, strength / by_strength), (rate, strength * by_strength)] if strength else []
    rates = [(rate / by_rate, strength), (rate * by_rate, strength)]
    return [[(float(f"{one:.5g}"), float(f"{other:.5g}")) for one, other in near] for near in (strengths, rates)]


def chosen(arm: Arm, begin: tuple[float, float]) -> tuple[dict[str, Any], State]:
    """What an arm comes to at its best rate and strength, and its parameters: to the best neighbour until none is.

    An arm that is trained longer stays where it begins.
    """
    made: dict[tuple[float, float], Trained] = {begin: tried(arm, *begin)}

    def best() -> tuple[float, float]:
        return max(made, key=lambda setting: sum(made[setting].chosen_by))  # the first of equals

    moved = not arm.longer
    while moved:
        at, moved = best(), False
        for near in neighbours(*at):
            made |= {setting: tried(arm, *setting) for setting in near if setting not in made}
            if moved := best() != at:
                break
    found = {
        "search": {json.dumps(setting): done.chosen_by for setting, done in made.items()},
        "best": list(best()),
        "parameters": sum(value[0].numel() for value in made[best()].state.values()),
        "test": made[best()].test,
        "at each": {json.dumps(setting): told(done.test) for setting, done in made.items()},
        "seconds": sum(done.seconds for done in made.values()),
    }
    return found, made[best()].state


def further(arm: Arm, rate: float, strength: float) -> Found:
    """What further seeds come to with a rate and a strength that others chose; from disk where it is done."""
    path = RUNS / f"{arm.name}, further.pt"
    if path.exists():
        done: Found = torch.load(path, weights_only=True)
        return done
    found: Found = {}
    for first in SETTING["further"]:
        for name, values in examine(arm, train(arm, rate, strength, first), held("tested")).items():
            found[name] = found.get(name, []) + values
    found = told(found)
    torch.save(found, path)
    return found


def main() -> None:
    torch.set_num_threads(1)
    runs: dict[str, Any] = {}
    kept: State = {}
    for arm in ARMS:
        plain = runs.get(arm._replace(longer=False, kind="nothing").name)
        rate = plain["best"][0] if plain else SETTING["rate"][arm.task]
        runs[arm.name], state = chosen(arm, (rate, 0.0 if arm.kind == "nothing" else SETTING["strength"]))
        if (arm.task, arm.back, arm.hidden, arm.kind, arm.longer) == ("in order", 4, False, "nothing", False):
            kept |= {f"{arm.heads} {name}": value.half() for name, value in state.items() if arm.heads <= 4}
        right = sum(runs[arm.name]["test"]["all"]) / SETTING["seeds"]
        if arm._replace(kind="nothing") in PRESSED:
            runs[arm.name]["further"] = further(arm, *runs[arm.name]["best"])
        print(f"{arm.name}: {right:.3f} at {runs[arm.name]['best']}, {runs[arm.name]['seconds']} s", flush=True)
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    torch.save(kept, RESULTS / "model.pt")  # with one, two and four heads, all seeds


if __name__ == "__main__":
    main()
