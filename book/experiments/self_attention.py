"""Recall a marked symbol from n steps back, with a recurrent network and with attention; and where attention looks.

    python book/experiments/self_attention.py [TASK ...]

In the task *far* the length is the only difference: a marked symbol, n - 1 others, and the question what was marked. In
the task *asked* a word of the kind that is asked for stands anywhere in a sentence; in the task *counted* there are
some of them, to be counted. What counts in both is on which words attention lies when it comes after the network that
reads, and when it comes before. Each arm is trained at each rate of the same grid and keeps the one that is best on
sequences that are neither trained nor tested with; one arm is trained four times as long. Five seeds stand side by side
on the first axis; all arms share their sequences. Forty trainings, a quarter of an hour on one core. What is done
lies in ``runs/self_attention``, so that a script that was killed goes on where it was; who changes a setting, or how a
network is trained, empties that folder first.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, vmap

from attnlib import attend
from attnlib.training import descend
from attnlib.training.side_by_side import linear

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "self_attention", HERE / "results" / "self_attention"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "rates": [0.003, 0.01],
    "lengths": {
        "attention": [8, 16, 32, 64, 128],
        "recurrent": [8, 16, 32, 64],
        "recurrent, longer": [16],
        "recurrent, with attention": [8, 16, 32, 64],
    },
    "sentence": 20,
    "symbols": 8,
    "kinds": 4,
    "steps": {"far": 400, "asked": 700, "counted": 700},
    "longer": 1600,
    "batch": 32,
    "clip": 1.0,
    "choose by": 300,
    "tested": 500,
}
State = dict[str, Tensor]


class Sequences(NamedTuple):
    """Inputs ``(..., time, feature)``, the symbol that is wanted, the kind asked for, and where the symbol stands."""

    x: Tensor
    wanted: Tensor
    kind: Tensor
    place: Tensor


# --- sequences --------------------------------------------------------------------------------------------------------


def far(shape: tuple[int, ...], length: int, g: torch.Generator) -> Sequences:
    """A symbol with a mark, others without, a question without a symbol: ``length`` steps from first to last."""
    symbols = torch.randint(SETTING["symbols"], (*shape, length), generator=g)
    x = F.pad(F.one_hot(symbols, SETTING["symbols"]).float(), (0, 2, 0, 1))
    x[..., 0, -2] = x[..., -1, -1] = 1
    nought = torch.zeros(shape, dtype=torch.long)
    return Sequences(x, symbols[..., 0], nought, nought)


def asked(shape: tuple[int, ...], length: int, g: torch.Generator) -> Sequences:
    """Words of a kind and with a symbol each; one kind is asked for, and one word is of it, anywhere."""
    kinds, n = SETTING["kinds"], SETTING["symbols"]
    symbols = torch.randint(n, (*shape, length), generator=g)
    kind, place = torch.randint(kinds, shape, generator=g), torch.randint(length, shape, generator=g)
    other = (kind.unsqueeze(-1) + torch.randint(1, kinds, (*shape, length), generator=g)) % kinds
    here = F.one_hot(place, length).bool()
    kind_of = torch.where(here, kind.unsqueeze(-1), other)
    x = torch.cat([F.one_hot(symbols, n), F.one_hot(kind_of, kinds)], -1).float()
    return Sequences(x, symbols.gather(-1, place.unsqueeze(-1)).squeeze(-1), kind, place)


def counted(shape: tuple[int, ...], length: int, g: torch.Generator) -> Sequences:
    """Words as in :func:`asked`; how many are of the kind that is asked for, each place as likely as any other."""
    kinds, n = SETTING["kinds"], SETTING["symbols"]
    kind, count = torch.randint(kinds, shape, generator=g), torch.randint(n, shape, generator=g)
    mine = torch.rand(*shape, length, generator=g).argsort(-1) < count.unsqueeze(-1)
    other = (kind.unsqueeze(-1) + torch.randint(1, kinds, (*shape, length), generator=g)) % kinds
    kind_of, symbols = torch.where(mine, kind.unsqueeze(-1), other), torch.randint(n, (*shape, length), generator=g)
    x = torch.cat([F.one_hot(symbols, n), F.one_hot(kind_of, kinds)], -1).float()
    return Sequences(x, count, kind, torch.full(shape, length // 2))


# --- networks, all seeds at once: parameters (seed, ...), inputs (seed, batch, time, feature) -------------------------


def states(p: State, x: Tensor, name: str = "") -> Tensor:
    """A gated unit over time: what :class:`attnlib.recurrent.gated_unit.GatedUnit` computes, for all seeds at once."""
    read = linear(p, f"{name}read", x)
    n = p[f"{name}recurrent"].shape[-1]
    gates, recurrent = p[f"{name}gates"].mT, p[f"{name}recurrent"].mT
    state, found = x.new_zeros(*x.shape[:2], n), []
    # Not read[:, :, t] in the loop: the gradient of each such slice is as large as the whole.
    for for_gates, for_candidate in zip(read[..., : 2 * n].unbind(2), read[..., 2 * n :].unbind(2), strict=True):
        update, reset = torch.sigmoid(torch.baddbmm(for_gates, state, gates)).chunk(2, -1)
        candidate = torch.tanh(torch.baddbmm(for_candidate, reset * state, recurrent))
        state = torch.lerp(state, candidate, update)
        found.append(state)
    return torch.stack(found, 2)


def recurrent(p: State, data: Sequences) -> tuple[Tensor, Tensor | None]:
    return linear(p, "answer", states(p, data.x)[:, :, -1]), None


def attention(p: State, data: Sequences) -> tuple[Tensor, Tensor | None]:
    """One layer of self-attention without positions, of which only the question's row is computed, for it is read."""
    x = linear(p, "embed", data.x)
    key, value = linear(p, "key_weight", x), linear(p, "value_weight", x)
    return asking(p, linear(p, "query_weight", x[:, :, -1]), key, value)


def asking(p: State, query: Tensor, key: Tensor, value: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """One query for each sequence, ``(seed, batch, n)``, asks all keys; the context is read."""
    context, weights, _ = attend(query.unsqueeze(2), key, value)
    return linear(p, "answer", context.squeeze(2)), None if weights is None else weights.squeeze(2)


def over_states(p: State, data: Sequences) -> tuple[Tensor, Tensor | None]:
    """A recurrent network whose last state asks all of its states."""
    h = states(p, data.x)
    return asking(p, linear(p, "match", h[:, :, -1]), h)


def question(p: State, kind: Tensor) -> Tensor:
    """A learned vector for each kind, ``(seed, batch, d)``."""
    found: Tensor = vmap(lambda table, index: table[index])(p["question"], kind)
    return found


def after(p: State, data: Sequences) -> tuple[Tensor, Tensor | None]:
    """The question asks the states of a network that reads from left to right."""
    return asking(p, question(p, data.kind), states(p, data.x))


def after_both(p: State, data: Sequences) -> tuple[Tensor, Tensor | None]:
    """The same with a second network that reads from right to left."""
    h = torch.cat([states(p, data.x), states(p, data.x.flip(2), "back ").flip(2)], -1)
    return asking(p, question(p, data.kind), h)


def before(p: State, data: Sequences) -> tuple[Tensor, Tensor | None]:
    """Inner attention, *word*: the question weights the words, and the network reads what is left of them."""
    weights = torch.sigmoid((linear(p, "match", data.x) @ question(p, data.kind).unsqueeze(-1)).squeeze(-1))
    h = states(p, weights.unsqueeze(-1) * data.x)
    return linear(p, "answer", h.mean(2)), weights / weights.sum(-1, keepdim=True)


class Arm(NamedTuple):
    run: Callable[[State, Sequences], tuple[Tensor, Tensor | None]]
    sizes: dict[str, tuple[int, ...]]


def unit(features: int, n: int, name: str = "") -> dict[str, tuple[int, ...]]:
    return {
        f"{name}read": (3 * n, features),
        f"{name}read bias": (3 * n,),
        f"{name}gates": (2 * n, n),
        f"{name}recurrent": (n, n),
    }


def answer(n: int) -> dict[str, tuple[int, ...]]:
    return {"answer": (SETTING["symbols"], n), "answer bias": (SETTING["symbols"],)}


FAR, WORD, KINDS = SETTING["symbols"] + 2, SETTING["symbols"] + SETTING["kinds"], SETTING["kinds"]
MATRICES = dict.fromkeys(("query_weight", "key_weight", "value_weight"), (32, 32))
READERS = {
    "after": Arm(after, {**unit(WORD, 24), "question": (KINDS, 24), **answer(24)}),
    "after, both ways": Arm(
        after_both, {**unit(WORD, 16), **unit(WORD, 16, "back "), "question": (KINDS, 32), **answer(32)}
    ),
    "before": Arm(before, {**unit(WORD, 24), "match": (24, WORD), "question": (KINDS, 24), **answer(24)}),
}
TASKS: dict[str, dict[str, Arm]] = {
    "far": {
        "attention": Arm(attention, {"embed": (32, FAR), **MATRICES, **answer(32)}),
        "recurrent": Arm(recurrent, {**unit(FAR, 29), **answer(29)}),
        "recurrent, longer": Arm(recurrent, {**unit(FAR, 29), **answer(29)}),
        "recurrent, with attention": Arm(over_states, {**unit(FAR, 25), "match": (25, 25), **answer(25)}),
    },
    "asked": READERS,
    "counted": READERS,
}
DRAW = {"far": far, "asked": asked, "counted": counted}


def lengths(task: str, arm: str) -> list[int]:
    found: list[int] = [SETTING["sentence"]] if task != "far" else SETTING["lengths"][arm]
    return found


def steps(task: str, arm: str) -> int:
    found: int = SETTING["longer"] if arm.endswith("longer") else SETTING["steps"][task]
    return found


def start(task: str, arm: str) -> State:
    """Uniform within one over the root of what comes in; biases of zero; each seed its own."""
    made: State = {}
    for name, size in TASKS[task][arm].sizes.items():
        drawn = []
        for seed in range(SETTING["seeds"]):
            g = torch.Generator().manual_seed(1000 * seed + sum(map(ord, name)))
            drawn.append((2 * torch.rand(size, generator=g) - 1) * (0.0 if "bias" in name else size[-1] ** -0.5))
        made[name] = torch.stack(drawn).requires_grad_()
    return made


def train(task: str, arm: str, length: int, rate: float) -> tuple[State, list[list[float]]]:
    """The parameters, and the mean loss of each tenth of the steps, by seed."""
    state, g = start(task, arm), torch.Generator().manual_seed(length)  # the same sequences for all arms and rates

    def loss(step: int) -> Tensor:
        data = DRAW[task]((SETTING["seeds"], SETTING["batch"]), length, g)
        scores = TASKS[task][arm].run(state, data)[0]
        return F.cross_entropy(scores.transpose(1, 2), data.wanted, reduction="none").mean(-1)

    losses = descend(state.values(), loss, steps=steps(task, arm), rate=rate, clip=SETTING["clip"])
    curve = [part.mean(0).tolist() for part in losses.chunk(10)]
    return {name: value.detach() for name, value in state.items()}, curve


# --- what comes of it -------------------------------------------------------------------------------------------------


def held(task: str, length: int, name: str) -> Sequences:
    """Sequences to choose the rate by, or to test with; the same for all seeds."""
    g = torch.Generator().manual_seed({"choose by": 10**6, "tested": 2 * 10**6}[name] + length)
    one = DRAW[task]((1, SETTING[name]), length, g)
    return Sequences(*(part.expand(SETTING["seeds"], *part.shape[1:]) for part in one))


@torch.no_grad()
def examine(task: str, arm: str, state: State, on: Sequences) -> dict[str, list[float]]:
    """Share right by seed; and the weight on the right word, on those before it and on those after it."""
    on = Sequences(*(part[: len(state["answer"])] for part in on))
    scores, weights = TASKS[task][arm].run(state, on)
    found = {"right": (scores.argmax(-1) == on.wanted).double().mean(-1)}
    if weights is not None:
        where = torch.arange(weights.shape[-1]) - on.place.unsqueeze(-1)
        for name, part in (("before", where < 0), ("on", where == 0), ("after", where > 0)):
            found[f"weight {name}"] = (weights.double() * part).sum(-1).mean(-1)
    return {name: [float(f"{x:.5g}") for x in values.tolist()] for name, values in found.items()}


@torch.no_grad()
def by_place(task: str, arm: str, state: State, on: Sequences) -> list[list[float]]:
    """The mean weight of each place of a sentence, over sentences, by seed."""
    weights = TASKS[task][arm].run(state, on)[1]
    return [] if weights is None else [[round(x, 5) for x in row] for row in weights.double().mean(1).tolist()]


def best(searched: dict[str, list[float]]) -> float:
    return float(max(searched, key=lambda rate: sum(searched[rate])))


def chosen(task: str, arm: str, length: int) -> dict[str, Any]:
    """What an arm comes to at its best rate, and a part of its parameters; from disk where it is done."""
    path = RUNS / f"{task}, {arm}, {length}.pt"
    if path.exists():
        done: dict[str, Any] = torch.load(path, weights_only=True)
        return done
    started, made = time.perf_counter(), {}
    for rate in SETTING["rates"]:
        made[str(rate)] = train(task, arm, length, rate)
    on = held(task, length, "choose by")
    searched = {rate: examine(task, arm, state, on)["right"] for rate, (state, _) in made.items()}
    state, curve = made[str(best(searched))]
    test = held(task, length, "tested")
    found = {
        "search": searched,
        "rate": best(searched),
        "parameters": sum(value[0].numel() for value in state.values()),
        "losses": [[round(x, 4) for x in part] for part in curve],
        "test": examine(task, arm, state, test),
        "state": {name: value[:2].half() for name, value in state.items()},  # of two seeds
    }
    if task == "far":
        found["elsewhere"] = {
            str(other): examine(task, arm, state, held(task, other, "tested"))["right"]
            for other in SETTING["lengths"]["attention"]
        }
    else:
        found["by place"] = by_place(task, arm, state, test)
    found["seconds"] = round(time.perf_counter() - started)
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.save(found, path)
    return found


def main(tasks: list[str]) -> None:
    torch.set_num_threads(1)
    runs: dict[str, Any] = {}
    kept: State = {}
    for task in tasks or TASKS:
        runs[task] = {}
        for arm in TASKS[task]:
            runs[task][arm] = {}
            for length in lengths(task, arm):
                found = chosen(task, arm, length)
                state = found.pop("state")
                runs[task][arm][str(length)] = found
                kept |= {f"{task}, {arm}, {length}, {name}": value for name, value in state.items()}
                right = sum(found["test"]["right"]) / SETTING["seeds"]
                print(f"{task}, {arm}, {length}: {right:.3f} at {found['rate']}, {found['seconds']} s", flush=True)
    if list(runs) != list(TASKS):
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
    some = (f"far, {arm}, 16, " for arm in TASKS["far"])
    prefixes = (*some, *(f"counted, {arm}, " for arm in READERS))
    torch.save({name: value for name, value in kept.items() if name.startswith(prefixes)}, RESULTS / "model.pt")


if __name__ == "__main__":
    main(sys.argv[1:])
