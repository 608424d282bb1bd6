"""Which of five images shows the digit of the query? A task in which nothing but the score does the work.

    python book/experiments/matching_digits.py [--smoke]

A query is the image of a handwritten digit, the keys are five images, one from each of five classes; the loss is
:math:`-\\log \\alpha_i` at the right key. Five classes are trained; tests are new images of these and five new classes.
Ten seeds draw classes, images and starts; they stand side by side on the first axis, and all arms share them. Rates are
in factors of four: each arm begins at 0.01 and goes on until both neighbours have a higher loss in training at the end;
the arms that see one side stay at 0.01. At 256 dimensions a product is trained with its scale, without it, and without
it from matrices a quarter as large, also at rates that the search did not need. One arm is searched once more with four
times the steps. The page on scores imports this file and trains some of the arms again.

Some two minutes of one core. What is done lies in ``runs/matching_digits``, so that a script that was killed goes on
where it was; who changes a setting empties that folder first.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from attnlib import scores
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "matching_digits", HERE / "results" / "matching_digits"
SETTING: dict[str, Any] = {
    "seeds": 10,
    "ways": 5,
    "batch": 32,
    "steps": 150,
    "longer": 600,
    "tested": 1000,
    "first rate": 0.01,
    "ladder": 4.0,
    "rates shown": [0.0025, 0.01, 0.04],
}
SEEDS = range(SETTING["seeds"])
WAYS, BATCH, STEPS = SETTING["ways"], SETTING["batch"], SETTING["steps"]
FIRST = SETTING["first rate"]
LADDER = [round(FIRST * SETTING["ladder"] ** step, 6) for step in range(-3, 4)]
Score = Callable[..., Tensor]
State = dict[str, Tensor]


# --- the task ---------------------------------------------------------------------------------------------------------


class Episodes(NamedTuple):
    """Queries ``(seed, n, 1, 64)``, keys ``(seed, n, 5, 64)``, one of each class, and the place of the right one."""

    query: Tensor
    key: Tensor
    answer: Tensor


class Data(NamedTuple):
    train: Episodes
    images: Episodes
    classes: Episodes


def episodes(images: Tensor, labels: Tensor, classes: Tensor, count: int, rng: torch.Generator) -> Episodes:
    """Those of one seed."""
    pools = [torch.nonzero(labels == c).flatten() for c in classes.tolist()]

    def draw() -> Tensor:
        return torch.stack([pool[torch.randint(len(pool), (count,), generator=rng)] for pool in pools], dim=1)

    order = torch.rand(count, WAYS, generator=rng).argsort(dim=1)
    answer = torch.randint(WAYS, (count,), generator=rng)
    queries = images[draw().gather(1, order.gather(1, answer[:, None]))]
    return Episodes(queries, images[draw().gather(1, order)], answer)


def task(seed: int) -> Data:
    """An image is one to train with in six cases of ten; those of the classes in training centre all images."""
    digits = load_digits()
    pixels, labels = torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target)
    rng = torch.Generator().manual_seed(seed)
    known, new = torch.randperm(10, generator=rng).view(2, WAYS)
    train = torch.rand(len(labels), generator=rng) < 0.6
    seen = pixels[train & torch.isin(labels, known)]
    images = (pixels - seen.mean(0)) / seen.std()
    return Data(
        episodes(images[train], labels[train], known, BATCH * STEPS, rng),
        episodes(images[~train], labels[~train], known, SETTING["tested"], rng),
        episodes(images[~train], labels[~train], new, SETTING["tested"], rng),
    )


@functools.cache
def data() -> Data:
    """All seeds, side by side."""
    return Data(*(Episodes(*map(torch.stack, zip(*part, strict=True))) for part in zip(*map(task, SEEDS), strict=True)))


# --- training, all seeds at once --------------------------------------------------------------------------------------


class Trained(NamedTuple):
    loss: Tensor  # the mean of the last twenty steps, (seed,)
    parameters: State


def side_by_side(score: Score) -> Score:
    """The energies of one copy of a score for each seed: ``(parameters, query, key) -> (seed, n, key)``."""
    return torch.vmap(lambda p, query, key: score(query, key, **p).squeeze(-2))


def train(score: Score, start: State, rate: float, steps: int = STEPS) -> Trained:
    """Train a copy for each seed; what is begun with stays as it is."""
    parameters = {name: part.clone().requires_grad_() for name, part in start.items()}
    run, (query, key, answer) = side_by_side(score), data().train

    def loss(step: int) -> Tensor:
        begin = step % STEPS * BATCH
        now = slice(begin, begin + BATCH)
        log_weights = run(parameters, query[:, now], key[:, now]).log_softmax(-1)
        return -log_weights.gather(-1, answer[:, now, None]).mean((1, 2))

    losses = descend(parameters.values(), loss, steps=steps, rate=rate)
    return Trained(losses[-20:].mean(0), {name: part.detach() for name, part in parameters.items()})


def examine(score: Score, parameters: State) -> tuple[Tensor, Tensor]:
    """The share of right answers on new images and on new classes, ``(seed,)`` each."""
    energies = partial(side_by_side(score), parameters)
    with torch.no_grad():
        return accuracy(energies, data().images), accuracy(energies, data().classes)


def accuracy(energies: Score, part: Episodes) -> Tensor:
    return (energies(part.query, part.key).argmax(-1) == part.answer).float().mean(1)


def search(try_at: Callable[[float], Tensor]) -> tuple[float, dict[float, Tensor]]:
    """The rate of the ladder whose neighbours have a higher loss; the losses at all rates that were tried."""
    tried: dict[float, Tensor] = {}
    at = LADDER.index(FIRST)

    def loss_at(place: int) -> float:
        rate = LADDER[place]
        if rate not in tried:
            tried[rate] = try_at(rate)
        return tried[rate].mean().item()

    while 0 < at < len(LADDER) - 1:
        if loss_at(at - 1) < loss_at(at):
            at -= 1
        elif loss_at(at + 1) < loss_at(at):
            at += 1
        else:
            return LADDER[at], tried
    raise ValueError("the best rate is an end of the ladder")


# --- the arms ---------------------------------------------------------------------------------------------------------


def normal(*shape: int, draw: int, scale: float = 1.0) -> Tensor:
    """Starting values ``(seed, *shape)``, one generator for each seed and ``draw``."""
    rngs = [torch.Generator().manual_seed(1000 * (draw + 1) + seed) for seed in SEEDS]
    return scale * torch.stack([torch.randn(*shape, generator=rng) for rng in rngs])


def matrices(width: int) -> State:
    """Those of query and key; they keep the variance of a component."""
    return {name: normal(width, 64, draw=i, scale=1 / 8) for i, name in enumerate(("query_weight", "key_weight"))}


def vector(width: int) -> State:
    return {"vector": normal(width, draw=2, scale=width**-0.5)}


def projected(score: Score) -> Score:
    def energies(query: Tensor, key: Tensor, query_weight: Tensor, key_weight: Tensor) -> Tensor:
        return score(query @ query_weight.mT, key @ key_weight.mT)

    return energies


def shrunk(start: State, by: float) -> State:
    return {name: part / by for name, part in start.items()}


def arms() -> dict[str, tuple[Score, State]]:
    """Each score with what it starts from; the two that see one side come first."""
    sides = {f"{name}_weight": normal(32, 64, draw=i, scale=1 / 8) for i, name in enumerate(("first", "second"))}
    square = {"weight": normal(64, 64, draw=0, scale=1 / 8)}
    bounded = square | {"bias": torch.zeros(len(SEEDS))}
    features = partial(scores.feature_based, first_map=torch.abs, second_map=torch.relu)
    made: dict[str, tuple[Score, State]] = {
        "location-based": (scores.location_based, {"weight": normal(WAYS, 64, draw=0, scale=1 / 8)}),
        "feature-based": (features, sides | vector(32)),
        "general": (scores.general, square),
        "activated general": (scores.activated_general, bounded),
        "general, small start": (scores.general, shrunk(square, 16)),
        "activated general, small start": (scores.activated_general, shrunk(bounded, 16)),
    }
    for width in (4, 64, 128):
        made[f"dot, {width}"] = (projected(scores.dot), matrices(width))
        if width == 64:
            made[f"scaled dot, {width}"] = (projected(scores.scaled_dot), matrices(width))
        made[f"additive, {width}"] = (scores.additive, matrices(width) | vector(width))
    return made


ONE_SIDED = ("location-based", "feature-based")


def arms_of_scale() -> dict[str, tuple[Score, State]]:
    """A product at 256 dimensions; the third starts where the second does, and has no scale."""
    large = matrices(256)
    return {
        "dot": (projected(scores.dot), large),
        "scaled dot": (projected(scores.scaled_dot), large),
        "dot, small start": (projected(scores.dot), shrunk(large, 4)),
    }


# --- what comes of it -------------------------------------------------------------------------------------------------


def rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]


def run(score: Score, start: State, *, searched: bool, others: tuple[float, ...] = (), steps: int = STEPS) -> Any:
    """The rate, and by seed the loss at each rate that was tried and the two accuracies at the best."""
    started = time.process_time()
    made: dict[float, Trained] = {}

    def try_at(rate: float) -> Tensor:
        made[rate] = train(score, start, rate, steps)
        return made[rate].loss

    rate = search(try_at)[0] if searched else FIRST
    for other in (rate, *others):
        if other not in made:
            try_at(other)
    images, classes = examine(score, made[rate].parameters)
    return {
        "rate": rate,
        "loss": {str(other): rounded(made[other].loss) for other in sorted(made)},
        "new images": rounded(images),
        "new classes": rounded(classes),
        "seconds": round(time.process_time() - started),
    }


def raw() -> dict[str, list[float]]:
    """The cosine of the images as they are: nothing is learned."""
    images, classes = examine(scores.similarity, {})
    return {"new images": rounded(images), "new classes": rounded(classes)}


def saturated() -> list[float]:
    """The share of energies of the general score at its start where a tanh is flat, above 0.99."""
    score, start = arms()["general"]
    query, key, _ = data().train
    energies = side_by_side(score)(start, query[:, :200], key[:, :200])
    return rounded((energies.tanh().abs() > 0.99).float().mean((1, 2)))


def before_the_first_step(score: Score, start: State) -> dict[str, list[float]]:
    """The loss, and the weight at wrong keys."""
    query, key, answer = (part[:, :200] for part in data().train)
    log_weights = side_by_side(score)(start, query, key).log_softmax(-1).gather(-1, answer[..., None]).squeeze(-1)
    return {"loss": rounded(-log_weights.mean(1)), "astray": rounded(1 - log_weights.exp().mean(1))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="one arm, and nothing is kept")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    if smoke:
        print(run(*arms()["dot, 4"], searched=False))
        return

    def done(name: str, arm: tuple[Score, State], **options: Any) -> Any:
        found = kept(RUNS / f"{name}.pt", lambda: run(*arm, **options))
        print(
            f"{name}: {sum(found['new images']) / len(SEEDS):.3f} at {found['rate']}, {found['seconds']} s", flush=True
        )
        return found

    shown, scale, least = tuple(SETTING["rates shown"]), arms_of_scale(), "additive, 4"
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "raw cosine": raw(),
        "saturated": saturated(),
        "runs": {name: done(name, arm, searched=name not in ONE_SIDED) for name, arm in arms().items()},
        "longer": done(f"longer, {least}", arms()[least], searched=True, steps=SETTING["longer"]),
        "scale": {
            "dot": done("256, dot", scale["dot"], searched=True, others=shown),
            "scaled dot": done("256, scaled dot", scale["scaled dot"], searched=True, others=shown),
            "dot, small start": done("256, small", scale["dot, small start"], searched=False, others=shown[:1]),
        },
        "before": {name: before_the_first_step(*arm) for name, arm in scale.items()},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
