"""Train soft and hard attention to name a marked digit in a crowd: five ways, each with rates of its own.

    python book/experiments/soft_and_hard.py

Each way is trained at each rate of the same grid. Two lengths of training are compared, and for each of them a way has
the rate that is best *at that length*, by the share right on scenes of digits that are neither trained nor tested with.
Ten seeds stand side by side on the first axis; all ways share starts and batches. Twenty trainings, half a minute each
on one core. What is done lies in ``runs/soft_and_hard``, so that a script that was killed goes on where it was; who
changes a setting, or how a model is trained, empties that folder first.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from attnlib.distributions import softmax
from attnlib.softness import hard
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "soft_and_hard", HERE / "results" / "soft_and_hard"
SEEDS, SIDE, CELL, WINDOW, STRIDE, DIGITS = 10, 32, 10, 12, 5, 5
SETTING: dict[str, Any] = {
    "seeds": SEEDS,
    "rates": [0.003, 0.006, 0.012, 0.024],
    "steps": 400,
    "longer": 1200,
    "batch": 64,
    "scenes": 6000,
    "choose by": 500,
    "tested": 1000,
    "glance": 16,
    "look": 48,
}
SHOWN = 3  # scenes for the reader to look at


# --- scenes -----------------------------------------------------------------------------------------------------------


class Scenes(NamedTuple):
    """Pictures, what a model sees of them, and what is wanted."""

    picture: Tensor  # (scene, 32, 32)
    window: Tensor  # (scene, 25, 144), about centred
    glance: Tensor  # (scene, 25, 36), two by two pixels averaged
    answer: Tensor  # (scene,)
    box: Tensor  # (scene, 2), the corner of the marked digit's box
    overlap: Tensor  # (scene, 25), the share of that box inside each window


def corners() -> Tensor:
    """Top and left of each window."""
    places = torch.arange(0, SIDE - WINDOW + 1, STRIDE)
    return torch.cartesian_prod(places, places)


def paste(canvas: Tensor, patch: Tensor, top: Tensor, left: Tensor) -> None:
    """Add patches (scene, patch, h, w) to flat canvases at their corners."""
    rows = top[..., None, None] + torch.arange(patch.shape[-2])[:, None]
    columns = left[..., None, None] + torch.arange(patch.shape[-1])
    canvas.scatter_add_(-1, (rows * SIDE + columns).flatten(1), patch.flatten(1))


def scenes(images: Tensor, kinds: Tensor, pool: Tensor, n: int, seed: int) -> Scenes:
    """Five digits of a pool on each canvas, the first one marked, with scraps of others and noise."""
    g = torch.Generator().manual_seed(seed)
    canvas = 0.1 * torch.rand(n, SIDE * SIDE, generator=g)
    cells = torch.rand(n, 9, generator=g).argsort(-1)[:, :DIGITS]
    shift = torch.randint(3, (2, n, DIGITS), generator=g)
    top, left = (cells // 3) * CELL + shift[0], (cells % 3) * CELL + shift[1]
    which = pool[torch.randint(len(pool), (n, DIGITS), generator=g)]
    boxes = torch.zeros(n, DIGITS, 10, 10)
    boxes[..., 1:9, 1:9] = images[which]
    boxes[:, 0, 0, :] = boxes[:, 0, :, 0] = 1.0  # the marked one
    boxes[:, 1:, 9, :] = boxes[:, 1:, :, 9] = 1.0
    paste(canvas, boxes, top, left)
    others = pool[torch.randint(len(pool), (n, 6), generator=g)]
    at = torch.randint(SIDE - 4, (2, n, 6), generator=g)
    paste(canvas, images[others][..., 2:6, 2:6], at[0], at[1])
    picture, box = canvas.clamp(max=1).view(n, SIDE, SIDE), torch.stack([top[:, 0], left[:, 0]], -1)
    return Scenes(picture, *seen(picture), kinds[which[:, 0]], box, overlap(box))


def seen(picture: Tensor) -> tuple[Tensor, Tensor]:
    cut = picture.unfold(-2, WINDOW, STRIDE).unfold(-2, WINDOW, STRIDE)
    window = cut.flatten(-4, -3).flatten(-2) - 0.25
    half = WINDOW // 2
    return window, window.view(*window.shape[:2], half, 2, half, 2).mean((-3, -1)).flatten(-2)


def overlap(box: Tensor) -> Tensor:
    low = torch.maximum(box[:, None], corners())
    high = torch.minimum(box[:, None] + 10, corners() + WINDOW)
    return (high - low).clamp(min=0).prod(-1) / 100


@cache
def data() -> dict[str, Scenes]:
    """Scenes to train with, to choose the rate by, and to test with; no digit is in two of them."""
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32).view(-1, 8, 8) / 16
    kinds = torch.tensor(digits.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    made = partial(scenes, images, kinds)
    return {
        "train": made(order[:1000], SETTING["scenes"], 1),
        "choose": made(order[1000:1200], SETTING["choose by"], 3),
        "test": made(order[1200:], SETTING["tested"], 2),
    }


# --- the model and the ways to train it -------------------------------------------------------------------------------


class Looker(nn.Module):
    """A glance at each window, a look at some; one model a seed."""

    def __init__(self) -> None:
        super().__init__()
        generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.stack([scale * torch.randn(*shape, generator=g) for g in generators]))

        glance, look = SETTING["glance"], SETTING["look"]
        self.glance, self.glance_bias = normal(WINDOW**2 // 4, glance, scale=0.4), normal(1, glance, scale=0.0)
        self.energy = normal(glance, 1, scale=0.25)
        self.look, self.look_bias = normal(WINDOW**2, look, scale=0.1), normal(1, look, scale=0.0)
        self.answer, self.answer_bias = normal(look, 10, scale=0.15), normal(1, 10, scale=0.0)

    def energies(self, x: Tensor) -> Tensor:
        hidden = (x.flatten(1, 2) @ self.glance + self.glance_bias).relu()
        return (hidden @ self.energy).view(x.shape[:3])

    def value(self, x: Tensor) -> Tensor:
        return (x.flatten(1, -2) @ self.look + self.look_bias).relu().view(*x.shape[:-1], -1)

    def scores(self, context: Tensor) -> Tensor:
        """Log-probabilities of the ten digits, (seed, scene, 10)."""
        return (context @ self.answer + self.answer_bias).log_softmax(-1)

    def log_likelihood(self, context: Tensor, answers: Tensor) -> Tensor:
        """(seed, scene)"""
        return self.scores(context).gather(-1, answers.unsqueeze(-1)).squeeze(-1)


def mixed(weights: Tensor, value: Tensor) -> Tensor:
    return (weights.unsqueeze(-2) @ value).squeeze(-2)


class Batch(NamedTuple):
    glance: Tensor
    window: Tensor
    answer: Tensor


Loss = Callable[[Looker, Batch, Tensor, torch.Generator], tuple[Tensor, Tensor | None]]


def soft_loss(model: Looker, batch: Batch, baseline: Tensor, generator: torch.Generator) -> tuple[Tensor, None]:
    context = mixed(softmax(model.energies(batch.glance)), model.value(batch.window))
    return -model.log_likelihood(context, batch.answer), None


def straight_loss(model: Looker, batch: Batch, baseline: Tensor, generator: torch.Generator) -> tuple[Tensor, None]:
    selection = hard.straight_through_gumbel(model.energies(batch.glance), generator=generator)[0]
    return -model.log_likelihood(mixed(selection, model.value(batch.window)), batch.answer), None


def hard_loss(
    model: Looker, batch: Batch, baseline: Tensor, generator: torch.Generator, *, half: bool = False
) -> tuple[Tensor, Tensor]:
    weights = softmax(model.energies(batch.glance))
    draw = hard.sample(weights, generator=generator)
    if half:
        draw = hard.half_expectation(weights, draw, generator=generator)
    if (draw.position < 0).any():  # the expectation, for the whole batch
        context = mixed(draw.selection[0], model.value(batch.window))
    else:  # one window a scene is all that is read
        at = draw.position[0][..., None, None].expand(-1, -1, 1, batch.window.shape[-1])
        context = model.value(batch.window.gather(-2, at)).squeeze(-2)
    reward = model.log_likelihood(context, batch.answer).unsqueeze(0)
    return hard.reinforce_loss(reward, draw.log_probability, baseline=baseline), reward.detach()


WAYS: dict[str, tuple[Loss, bool]] = {  # and is there a baseline
    "soft": (soft_loss, False),
    "hard, no baseline": (hard_loss, False),
    "hard, baseline": (hard_loss, True),
    "hard, half expectation": (partial(hard_loss, half=True), True),
    "straight-through": (straight_loss, False),
}


def train(way: str, rate: float, steps: int, look: Callable[[int, Looker], None] = lambda step, model: None) -> Looker:
    """The models of all seeds, trained; ``look`` is called after each step."""
    loss_of, steadied = WAYS[way]
    given, model = data()["train"], Looker()
    choose = torch.Generator().manual_seed(2)  # the same scenes for all ways
    generator, baseline = torch.Generator().manual_seed(1), torch.zeros(SEEDS, 1)

    def loss(step: int) -> Tensor:
        nonlocal baseline
        index = torch.randint(len(given.answer), (SEEDS, SETTING["batch"]), generator=choose)
        batch = Batch(given.glance[index], given.window[index], given.answer[index])
        losses, reward = loss_of(model, batch, baseline, generator)
        if reward is not None and steadied:  # a moving average for each seed
            baseline = 0.9 * baseline + 0.1 * reward.mean((0, 2)).unsqueeze(-1)
        return losses.mean(-1)

    adam = partial(torch.optim.Adam, fused=True)
    descend(model.parameters(), loss, steps=steps, rate=rate, optimizer=adam, after=lambda step: look(step, model))
    return model


# --- what comes of it -------------------------------------------------------------------------------------------------


@torch.no_grad()
def examine(model: Looker, on: Scenes) -> dict[str, Tensor]:
    """Share right of the mixture, of one draw (all draws, by their weights) and of the likeliest window; overlap."""
    glance, window = (x.expand(SEEDS, -1, -1, -1) for x in (on.glance, on.window))
    weights, value = softmax(model.energies(glance)), model.value(window)

    def right(context: Tensor) -> Tensor:
        return (model.scores(context).argmax(-1) == on.answer).float()

    single = torch.stack([right(value[:, :, i]) for i in range(value.shape[2])], -1)
    best = weights.argmax(-1, keepdim=True)
    return {
        "mixture": right(mixed(weights, value)).mean(-1),
        "one draw": (weights * single).sum(-1).mean(-1),
        "likeliest": single.gather(-1, best).mean((-1, -2)),
        "overlap": (weights * on.overlap).sum(-1).mean(-1),
    }


def share(way: str, found: dict[str, Tensor]) -> Tensor:
    """Share right, in the way in which the model is meant to be used."""
    return found["mixture" if way == "soft" else "one draw"]


@torch.no_grad()
def variances(model: Looker, on: Scenes) -> dict[str, Tensor]:
    """Total variance of one draw's gradient by the energies, a mean over scenes, under four baselines; exact."""
    glance, window = (x.expand(SEEDS, -1, -1, -1) for x in (on.glance, on.window))
    weights, value = softmax(model.energies(glance)), model.value(window)
    scores = model.scores(value.flatten(1, 2)).view(*weights.shape, 10)
    rewards = scores.gather(-1, on.answer.view(1, -1, 1, 1).expand(*weights.shape, 1)).squeeze(-1)
    length = 1 - 2 * weights + weights.square().sum(-1, keepdim=True)  # of one draw's pull, squared
    expected = (weights * rewards).sum(-1, keepdim=True)
    exact = (weights * (rewards - expected)).square().sum(-1)
    best = (weights * length * rewards).sum(-1, keepdim=True) / (weights * length).sum(-1, keepdim=True)
    baselines = {
        "none": torch.zeros(()),
        "one for all": expected.mean(1, keepdim=True),
        "one per scene": expected,
        "best per scene": best,
    }
    return {
        name: ((weights * length * (rewards - b).square()).sum(-1) - exact).mean(-1) for name, b in baselines.items()
    }


def rounded(found: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: [float(f"{x:.5g}") for x in values.tolist()] for name, values in found.items()}


def lengths() -> list[str]:
    return [str(SETTING["steps"]), str(SETTING["longer"])]


class Trial(NamedTuple):
    """One training of all seeds, by its number of steps where it was looked at."""

    choose: dict[str, list[float]]  # share right on the scenes to choose by
    test: dict[str, dict[str, list[float]]]
    path: list[list[float]]  # how much of the box is looked at, every 50 steps
    state: dict[str, Tensor]  # after all steps
    seconds: int


def trial(way: str, rate: float) -> Trial:
    """A training at a rate, read again if it was done before."""
    place = RUNS / f"{way}, {rate}.pt"
    if place.exists():
        return Trial(*torch.load(place, weights_only=True))
    started, on = time.perf_counter(), data()
    choose, tested, path = {}, {}, []

    @torch.no_grad()
    def look(step: int, model: Looker) -> None:
        if step % 50 == 0:
            few = on["test"].glance[:200].expand(SEEDS, -1, -1, -1)
            path.append((softmax(model.energies(few)) * on["test"].overlap[:200]).sum(-1).mean(-1))
        if (done := str(step + 1)) in lengths():
            choose[done] = share(way, examine(model, on["choose"])).tolist()
            tested[done] = rounded(examine(model, on["test"]))

    state = train(way, rate, SETTING["longer"], look).state_dict()
    rows = [[round(x, 3) for x in row] for row in torch.stack(path, -1).tolist()]
    made = Trial(choose, tested, rows, state, round(time.perf_counter() - started))
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.save(tuple(made), place)
    print(f"{way}, rate {rate}: {made.seconds} s", flush=True)
    return made


def best(searched: dict[str, list[float]]) -> float:
    return float(max(searched, key=lambda rate: sum(searched[rate])))


def run(way: str) -> tuple[dict[str, Any], Looker]:
    """What a way comes to at the rate that is best for each length, and its models after the longer one."""
    trials = {rate: trial(way, rate) for rate in SETTING["rates"]}
    searched = {
        steps: {str(rate): [round(x, 4) for x in made.choose[steps]] for rate, made in trials.items()}
        for steps in lengths()
    }
    rate = {steps: best(found) for steps, found in searched.items()}
    chosen, model = trials[rate[str(SETTING["longer"])]], Looker()
    model.load_state_dict(chosen.state)
    return {
        "search": searched,
        "rate": rate,
        "test": {steps: trials[rate[steps]].test[steps] for steps in lengths()},
        "path": chosen.path,
        "seconds": sum(made.seconds for made in trials.values()),
    }, model


@torch.no_grad()
def shown(models: dict[str, Looker]) -> dict[str, Any]:
    """A few scenes, and where the models of the first seed look."""
    test = data()["test"]
    glance = test.glance[:SHOWN].expand(SEEDS, -1, -1, -1)
    return {
        "pictures": (255 * test.picture[:SHOWN]).round().int().tolist(),
        "answers": test.answer[:SHOWN].tolist(),
        "boxes": test.box[:SHOWN].tolist(),
        "corners": corners().tolist(),
        "weights": {
            way: [[round(x, 4) for x in row] for row in softmax(model.energies(glance))[0].tolist()]
            for way, model in models.items()
        },
    }


def main() -> None:
    torch.set_num_threads(1)
    runs, models = {}, {}
    for way in WAYS:
        runs[way], models[way] = run(way)
        print(f"{way}: rate {runs[way]['rate']}, {runs[way]['seconds']} s", flush=True)
    test = data()["test"]
    start = {"at the start": Looker(), "trained": models["hard, baseline"]}
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "blind": round(test.overlap.mean().item(), 4),
        "runs": runs,
        "variances": {when: rounded(variances(model, test)) for when, model in start.items()},
        "shown": shown({way: models[way] for way in ("soft", "hard, half expectation")}),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    state = {name: value.half() for name, value in models["soft"].state_dict().items()}
    torch.save(state, RESULTS / "model.pt")  # of soft attention, all seeds


if __name__ == "__main__":
    main()
