"""Say digits backwards: RNNsearch against one vector, a wider one, and one that is trained four times as long.

    python book/experiments/digits_backwards.py
    python book/experiments/digits_backwards.py --smoke

The two models of [bahdanau2015], of equal sizes, on the same sentences of 1 to 8 digits. Word t of the answer is the
t-th word of the source from its end, so the right alignment is known. Each arm writes 200 sentences of each of several
lengths, some longer than any in training. All arms have one rate, which was not searched; a larger state is an arm, and
so are four times as many steps. Five seeds stand side by side; seeds differ in sentences and start, arms share the
sentences (the long arm goes on drawing). What is done lies in ``runs/digits_backwards``, so that a script that was
killed goes on where it was; who changes a setting empties that folder first. ``--smoke`` trains a few steps, and writes
nothing. Some minutes on one core.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim.lr_scheduler import LambdaLR

from attnlib.alignment import links_of
from attnlib.data import BOS, EOS, PAD, Pair, Vocabulary, collate, tasks
from attnlib.recurrent.decoding import greedy
from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch
from attnlib.training import batches, descend, seed_everything

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "digits_backwards", HERE / "results" / "digits_backwards"
SETTING: dict[str, Any] = {
    "seeds": [0, 1, 2, 3, 4],
    "arms": {  # the size of a state, and the steps
        "RNNsearch": [24, 250],
        "RNNencdec": [24, 250],
        "RNNencdec, larger": [32, 250],
        "RNNencdec, longer": [24, 1000],
    },
    "symbols": 10,
    "longest": 8,
    "batch": 64,
    "rate": 0.015,
    "warm up": 50,
    "clip": 1.0,
    "lengths": [2, 4, 6, 8, 10, 12, 16, 20],
    "tested": 200,
    "far": 16,
}
Model = RNNsearch | RNNencdec
DIGITS = Vocabulary.build([[f"w{i}" for i in range(SETTING["symbols"])]])
made_a_batch = functools.partial(collate, source_vocabulary=DIGITS, target_vocabulary=DIGITS)


# --- the task and the models ------------------------------------------------------------------------------------------


def sentences(seed: int, count: int) -> list[Pair]:
    """What a seed is trained on; the first ones are the same whatever the count is."""
    lengths = (1, SETTING["longest"])
    return list(tasks.reverse(lengths=lengths, symbols=SETTING["symbols"], seed=seed, count=count))


@functools.cache
def tested(length: int) -> tuple[list[Pair], Any]:
    """The sentences of a length that all are tested with, and their batch."""
    of = {"lengths": (length, length), "symbols": SETTING["symbols"], "count": SETTING["tested"]}
    pairs = list(tasks.reverse(**of, seed=10_000 + length))
    return pairs, made_a_batch(pairs)


def network(arm: str) -> Model:
    """Matrices of Xavier's size, and v_a not zero: the paper's start is made for a thousand units."""
    size = SETTING["arms"][arm][0]
    widths = {"embedding": size // 2, "hidden": size, "maxout": size // 2}
    model: Model
    if arm == "RNNsearch":
        model = RNNsearch(len(DIGITS), len(DIGITS), **widths, alignment=size)
    else:
        model = RNNencdec(len(DIGITS), len(DIGITS), **widths)
    for name, parameter in model.named_parameters():
        if "embedding" in name:
            nn.init.normal_(parameter, std=0.5)
        elif name == "align_vector":
            nn.init.normal_(parameter, std=len(parameter) ** -0.5)
        elif parameter.ndim == 2 and not name.endswith("recurrent"):
            nn.init.xavier_uniform_(parameter)
    return model


def made(arm: str) -> list[Model]:
    """A model of each seed."""
    models = []
    for seed in SETTING["seeds"]:
        seed_everything(seed)
        models.append(network(arm))
    return models


# --- training ---------------------------------------------------------------------------------------------------------


def lessons(steps: int) -> Iterator[Any]:
    """One batch a step: the sentences of all seeds, one seed after the other."""
    size = SETTING["batch"]
    pairs = [sentences(seed, steps * size) for seed in SETTING["seeds"]]
    orders = [batches([len(pair.source) for pair in own], size) for own in pairs]
    for step in range(steps):
        yield made_a_batch([own[i] for own, order in zip(pairs, orders, strict=True) for i in order[step]])


def rate_at(step: int, steps: int) -> float:
    """It rises for 50 steps, then falls in a straight line."""
    rate: float = SETTING["rate"] * min(1, (step + 1) / SETTING["warm up"]) * (1 - (step + 1) / (steps + 1))
    return rate


def train(arm: str, steps: int) -> tuple[list[Model], Tensor]:
    """The models of all seeds, trained side by side, and their losses a word, ``(step, seed)``."""
    models, lesson, seeds = made(arm), lessons(steps), len(SETTING["seeds"])
    weights, _ = stack_module_state(models)

    def logits_of(weights: dict[str, Tensor], *given: Tensor) -> Tensor:
        logits: Tensor = functional_call(models[0], weights, given).logits
        return logits

    def loss(step: int) -> Tensor:
        batch = next(lesson)
        given = [part.view(seeds, SETTING["batch"], -1) for part in batch[:3]]
        logits = vmap(logits_of)(weights, *given).flatten(0, 2)
        each = F.cross_entropy(logits, batch.target_out.flatten(), ignore_index=PAD, reduction="none")
        total: Tensor = each.view(seeds, -1).sum(-1) / batch.target_mask.view(seeds, -1).sum(-1)
        return total

    losses = descend(
        weights.values(),
        loss,
        steps=steps,
        rate=1.0,  # times what the schedule says
        schedule=lambda adam: LambdaLR(adam, functools.partial(rate_at, steps=steps)),
        clip=SETTING["clip"],
    )
    for i, model in enumerate(models):
        model.load_state_dict({name: weight[i] for name, weight in weights.items()})
        model.eval()
    return models, losses


# --- tests ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def right(model: Model, length: int) -> Tensor:
    """The share of sentences whose word is right, by place, when the model writes freely; what is not said is wrong."""
    batch = tested(length)[1]
    said = greedy(model, batch.source, batch.source_mask, begin=BOS, end=EOS, longest=length + 1).words
    said = F.pad(said, (0, length + 1 - said.shape[1]), value=EOS)
    share: Tensor = (said == batch.target_out)[:, :length].double().mean(0)
    return share


@torch.no_grad()
def aligned(model: Model, length: int) -> float:
    """The share of the target's words whose largest weight is on the right word of the source."""
    pairs, batch = tested(length)
    weights = model(batch.source, batch.source_mask, batch.target_in).weights
    found = [links_of(alpha[:length, :length]) for alpha in weights]
    return sum(len(links & pair.links) for links, pair in zip(found, pairs, strict=True)) / (length * len(pairs))


@torch.no_grad()
def written(model: Model, length: int) -> float:
    """How many words the model writes, on the mean, before it ends."""
    batch = tested(length)[1]
    run = greedy(model, batch.source, batch.source_mask, begin=BOS, end=EOS, longest=2 * length)
    return float(run.mask.sum(-1).double().mean() - 1)


def met(seed: int, steps: int) -> dict[str, float]:
    """By length, the share of the tested sentences that the seed was trained on."""
    seen = {pair.source for pair in sentences(seed, steps * SETTING["batch"])}
    of = {str(n): [pair.source in seen for pair in tested(n)[0]] for n in SETTING["lengths"]}
    return {n: sum(found) / len(found) for n, found in of.items()}


def examined(arm: str, models: list[Model]) -> dict[str, Any]:
    """What the models of all seeds come to: each entry a list by seed."""
    lengths, far = SETTING["lengths"], SETTING["far"]
    found: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in models[0].parameters()),
        "right": {str(n): rounded([right(model, n).mean() for model in models]) for n in lengths},
        "by place": [rounded(right(model, far)) for model in models],
        "written": rounded([written(model, far) for model in models]),
    }
    if arm == "RNNsearch":
        found["aligned"] = {str(n): rounded([aligned(model, n) for model in models]) for n in lengths}
    return found


def rounded(values: Any) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def run_of(arm: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an arm comes to, and the parameters of its first seed."""
    started, steps = time.process_time(), SETTING["arms"][arm][1]
    models, losses = train(arm, steps)
    found = examined(arm, models)
    found["last losses"] = rounded(losses[-25:].mean(0))
    seen = [met(seed, steps) for seed in SETTING["seeds"]]
    found["met"] = {n: rounded(each[n] for each in seen) for n in seen[0]}
    return found | {"seconds": round(time.process_time() - started)}, models[0].state_dict()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help="a few steps, nothing written")
    torch.set_num_threads(1)
    if parser.parse_args().smoke:
        for arm in SETTING["arms"]:
            models, losses = train(arm, 3)
            print(arm, losses[-1].tolist(), right(models[0], 4).tolist())
        return
    runs: dict[str, Any] = {}
    for arm in SETTING["arms"]:
        runs[arm], state = kept(RUNS / f"{arm}.pt", functools.partial(run_of, arm))
        print(arm, runs[arm], flush=True)
        if arm == "RNNsearch":
            RESULTS.mkdir(parents=True, exist_ok=True)
            torch.save(state, RESULTS / "model.pt")  # of the first seed
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
    }
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
