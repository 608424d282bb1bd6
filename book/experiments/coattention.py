"""Train networks that answer questions about scenes: attending to both sides, to one, and to none.

    python book/experiments/coattention.py [ARM ...]

Regions are cells, each seen by a small network that has learned to name single cells and is then left as it is, as the
paper's was; so no region holds anything of another. All arms read phrases, one level of the paper's three, and have,
within one part in a hundred, as many parameters; the last attends to nothing and has fewer. Each is trained at each
rate of the same grid and keeps the one that is best on questions that are neither trained nor tested with. Five seeds
stand side by side on the first axis; all arms share batches. What is done lies in ``runs/coattention``, so that a
script that was killed goes on where it was, and ARMs may be trained in processes of their own; who changes a setting,
or how a network is trained, empties that folder first.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim.lr_scheduler import LambdaLR

from attnlib import Attention, attend
from attnlib.data import visual_questions
from attnlib.input_representations.coattention_network import (
    AlternatingCoAttention,
    ParallelCoAttention,
    PhraseCoAttention,
)
from attnlib.scores import Additive
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "coattention", HERE / "results" / "coattention"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "rates": [0.005, 0.01],
    "steps": 1500,
    "batch": 32,
    "d": 24,
    "side": 3,
    "kinds": ["colour", "shape", "count", "exists"],
    "questions": 8000,
    "choose by": 500,
    "tested": 1500,
    "named": 2000,
    "naming": 300,
}
WORDS, ANSWERS = visual_questions.WORDS, visual_questions.ANSWERS


class Batch(NamedTuple):
    """Regions, words with a mask, the answer; which regions and words count, and the kind of the question."""

    region: Tensor
    word: Tensor
    mask: Tensor
    answer: Tensor
    right: Tensor
    listen: Tensor
    kind: Tensor


def tensors(questions: Sequence[visual_questions.Question], seen: nn.Conv2d) -> Batch:
    side, kinds = SETTING["side"], SETTING["kinds"]
    longest = max(len(each.words) for each in questions)
    word, listen = torch.zeros(2, len(questions), longest, dtype=torch.long)
    right = torch.zeros(len(questions), side**2, dtype=torch.bool)
    for n, each in enumerate(questions):
        word[n, : len(each.words)] = torch.tensor([WORDS.index(one) for one in each.words])
        listen[n, list(each.listen)] = 1
        right[n, list(each.regions)] = True
    length = torch.tensor([len(each.words) for each in questions])
    return Batch(
        regions(torch.stack([visual_questions.draw(each.things, side) for each in questions]), seen),
        word,
        torch.arange(longest) < length[:, None],
        torch.tensor([ANSWERS.index(each.answer) for each in questions]),
        right,
        listen.bool(),
        torch.tensor([kinds.index(each.kind) for each in questions]),
    )


def regions(image: Tensor, seen: nn.Conv2d) -> Tensor:
    """Cells of images ``(batch, 3, height, width)`` as ``(batch, region, d)``."""
    return torch.tanh(seen(2 * image - 1)).flatten(2).mT


@cache
def names() -> tuple[nn.Conv2d, float]:
    """What sees a cell: a layer that has learned to name colour and shape of single cells; and how often it errs."""
    rng = random.Random("cells")
    shapes, colours = visual_questions.SHAPES, tuple(visual_questions.COLOURS)
    cells: list[list[visual_questions.Thing]] = []
    for _ in range(SETTING["named"]):
        thing = visual_questions.Thing(0, rng.choice(shapes), rng.choice(colours), rng.choice((2.8, 3.2, 3.6)))
        cells.append([thing] if rng.randrange(6) else [])
    image = torch.stack([visual_questions.draw(cell, 1) for cell in cells])
    kind = torch.zeros(len(cells), 2, dtype=torch.long)
    for row, cell in zip(kind, cells, strict=True):
        if cell:
            row.copy_(torch.tensor([1 + shapes.index(cell[0].shape), 1 + colours.index(cell[0].colour)]))
    torch.manual_seed(0)
    seen = nn.Conv2d(3, SETTING["d"], visual_questions.CELL, stride=visual_questions.CELL)
    named = nn.Linear(SETTING["d"], 2 + len(shapes) + len(colours))

    def told(index: Tensor) -> tuple[Tensor, Tensor]:
        both = named(regions(image[index], seen)[:, 0])
        return both[:, : 1 + len(shapes)], both[:, 1 + len(shapes) :]

    def loss(_: int) -> Tensor:
        index = torch.randint(len(image), (64,))
        shape, colour = told(index)
        return F.cross_entropy(shape, kind[index, 0]) + F.cross_entropy(colour, kind[index, 1])

    descend([*seen.parameters(), *named.parameters()], loss, steps=SETTING["naming"], rate=0.01)
    with torch.no_grad():
        found = torch.stack([part.argmax(-1) for part in told(torch.arange(len(image)))], -1)
    return seen.requires_grad_(False), (found != kind).any(-1).double().mean().item()


@cache
def data() -> dict[str, Batch]:
    """Questions to train with, to choose the rate by, and to test with: each about a scene of its own."""
    options = {"side": SETTING["side"], "kinds": SETTING["kinds"]}
    return {
        name: tensors(visual_questions.make(count=SETTING[name], seed=seed, **options), names()[0])
        for seed, name in enumerate(("questions", "choose by", "tested"))
    }


# --- models -----------------------------------------------------------------------------------------------------------


class Sides(NamedTuple):
    image: Attention
    question: Attention


class OneSided(nn.Module):
    """One side, or none, is attended to, asked by the mean of the other; the other is its mean."""

    def __init__(self, d: int, d_hidden: int, side: str = "") -> None:
        super().__init__()
        self.side = side
        self.score = Additive(d, d, d_hidden, bias=False) if side else None

    def forward(
        self, image: Tensor, question: Tensor, image_mask: Tensor | None, question_mask: Tensor | None
    ) -> Sides:
        means = [
            attend(items[..., :1, :], items, score=even, mask=None if mask is None else mask.unsqueeze(-2))
            for items, mask in ((image, image_mask), (question, question_mask))
        ]
        if self.side == "image":
            hidden = None if image_mask is None else image_mask.unsqueeze(-2)
            means[0] = attend(means[1].context, image, score=self.score, mask=hidden)
        if self.side == "question":
            hidden = None if question_mask is None else question_mask.unsqueeze(-2)
            means[1] = attend(means[0].context, question, score=self.score, mask=hidden)
        return Sides(*means)


def even(query: Tensor, key: Tensor) -> Tensor:
    return torch.zeros(*query.shape[:-1], key.shape[-2], dtype=key.dtype)


# Hidden sizes that give all attentions about as many parameters.
ARMS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "parallel": lambda d_image, d, _: ParallelCoAttention(d_image, d, 2 * d),
    "alternating": AlternatingCoAttention,
    "image alone": lambda _, d, __: OneSided(d, 5 * d // 2, "image"),
    "question alone": lambda _, d, __: OneSided(d, 5 * d // 2, "question"),
    "neither": lambda _, d, __: OneSided(d, 0),
}


def network(arm: str) -> PhraseCoAttention:
    return PhraseCoAttention(len(WORDS), SETTING["d"], len(ANSWERS), ARMS[arm])


State = dict[str, Tensor]
Make = Callable[[], nn.Module]


def run(model: nn.Module, state: State, region: Tensor, word: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, and weights of regions and words, of all seeds: each with its own batch, or all with the same.

    The weights are those of the highest level.
    """

    def one(parameters: State, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reading = functional_call(model, parameters, (*given[:2], None, given[2]))
        level = reading.levels[-1]
        return reading.scores, level.image.weights[:, 0], level.question.weights[:, 0]

    own = 0 if mask.ndim == 3 else None
    if any(isinstance(part, nn.LSTM) for part in model.modules()):  # which vmap cannot go through
        seeds = range(len(next(iter(state.values()))))
        rows = [
            one(
                {name: value[seed] for name, value in state.items()},
                *(each if own is None else each[seed] for each in (region, word, mask)),
            )
            for seed in seeds
        ]
        scores, image, words = map(torch.stack, zip(*rows, strict=True))
        return scores, image, words
    return vmap(one, in_dims=(0, own, own, own))(state, region, word, mask)  # type: ignore[no-any-return]


def train(make: Make, given: Sequence[Tensor], rate: float, *, seeds: int, steps: int, batch: int) -> State:
    """Parameters, a row a seed, of networks trained side by side with regions, words, their mask and answers."""
    made = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        made.append(make())
    state: State = stack_module_state(made)[0]
    region, word, mask, answer = given
    choose = torch.Generator().manual_seed(2)  # the same batches for all arms

    def loss(_: int) -> Tensor:
        index = torch.randint(len(answer), (seeds, batch), generator=choose)
        longest = int(mask[index].sum(-1).max())
        scores, _, _ = run(made[0], state, region[index], word[index][..., :longest], mask[index][..., :longest])
        return F.cross_entropy(scores.transpose(1, 2), answer[index], reduction="none").mean(-1)

    descend(
        state.values(),
        loss,
        steps=steps,
        rate=rate,
        clip=1.0,
        schedule=lambda optimizer: LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps))),
    )
    return {name: value.detach() for name, value in state.items()}


# --- what comes of it -------------------------------------------------------------------------------------------------


@torch.no_grad()
def examine(arm: str, state: State, on: Batch) -> dict[str, Tensor]:
    """Share of right answers, of all and of each kind; the weight on what counts, a number a seed.

    ``regions, another question``: the scene's weights when it is asked the next question; ``words, another scene``:
    the words' when the next scene is shown. ``phrases``: on those that hold a word that counts among their three.
    """
    model = network(arm)
    scores, image, words = run(model, state, on.region, on.word, on.mask)
    asked = run(model, state, on.region, on.word.roll(1, 0), on.mask.roll(1, 0))[1]
    shown = run(model, state, on.region.roll(1, 0), on.word, on.mask)[2]
    good, known = (scores.argmax(-1) == on.answer).double(), on.right.any(-1)

    def share(weights: Tensor, counts: Tensor, of: Tensor) -> Tensor:
        return (weights * counts).sum(-1)[:, of].double().mean(-1)

    everything = torch.ones_like(known)
    return {
        "right": good.mean(-1),
        **{kind: good[:, on.kind == n].mean(-1) for n, kind in enumerate(SETTING["kinds"])},
        "regions": share(image, on.right, known),
        "regions, another question": share(asked, on.right, known),
        "words": share(words, on.listen, everything),
        "phrases": share(words, reach(on), everything),
        "words, another scene": share(shown, on.listen, everything),
        "largest region": (on.right.gather(1, image.argmax(-1).T).T)[:, known].double().mean(-1),
        "largest word": on.listen.gather(1, words.argmax(-1).T).T.double().mean(-1),
    }


def reach(on: Batch) -> Tensor:
    """Which phrases hold a word that counts: each begins at its word and ends two words later, or with the question."""
    return F.max_pool1d(F.pad(on.listen.double(), (0, 2)).unsqueeze(1), 3, stride=1)[:, 0].bool() & on.mask


def rounded(found: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: [float(f"{x:.5g}") for x in values.tolist()] for name, values in found.items()}


def best(searched: dict[str, list[float]]) -> float:
    return float(max(searched, key=lambda rate: sum(searched[rate])))


def trained(path: Path, made: Callable[[], State]) -> State:
    """Parameters as a file holds them, or as they are made now; and the seconds that it took."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        started = time.process_time()
        state = made()
        seconds = torch.tensor(time.process_time() - started)
        torch.save({**state, "seconds": seconds}, path)
        print(f"{path.stem}: {seconds:.0f} s", flush=True)
    found: State = torch.load(path, weights_only=True)
    return found


Examine = Callable[[State, str], dict[str, Tensor]]


def chosen(
    arm: str, make: Make, given: Sequence[Tensor], examine: Examine, setting: dict[str, Any], runs: Path
) -> tuple[dict[str, Any], State]:
    """What an arm comes to at its best rate, and its parameters.

    ``examine`` says of parameters what they give on a part of the questions, ``"choose by"`` or ``"tested"``.
    """
    how = {name: setting[name] for name in ("seeds", "steps", "batch")}
    states = {
        str(rate): trained(runs / f"{arm}, {rate}.pt", lambda rate=rate: train(make, given, rate, **how))
        for rate in setting["rates"]
    }
    seconds = sum(state.pop("seconds").item() for state in states.values())
    searched = {rate: rounded(examine(state, "choose by"))["right"] for rate, state in states.items()}
    state = states[str(best(searched))]
    return {
        "search": searched,
        "rate": best(searched),
        "parameters": sum(value[0].numel() for value in state.values()),
        "test": rounded(examine(state, "tested")),
        "seconds": round(seconds),
    }, state


def floors() -> dict[str, float]:
    """Of those tested: the commonest answer of all, and of the kind asked; and what even weights give."""
    on, given = data()["tested"], data()["questions"]
    commonest = given.answer.bincount().argmax()
    by_kind = [given.answer[given.kind == n].bincount().argmax() for n in range(len(SETTING["kinds"]))]
    known = on.right.any(-1)
    found = {
        "commonest": (on.answer == commonest).double().mean(),
        "commonest of its kind": (on.answer == torch.stack(by_kind)[on.kind]).double().mean(),
        "regions, even": on.right[known].double().mean(),
        "words, even": (on.listen.sum(-1) / on.mask.sum(-1)).double().mean(),
        "phrases, even": (reach(on).sum(-1) / on.mask.sum(-1)).double().mean(),
    }
    return {name: round(value.item(), 4) for name, value in found.items()}


def main(arms: Sequence[str]) -> None:
    torch.set_num_threads(1)
    runs, states = {}, {}
    for arm in arms or ARMS:
        runs[arm], states[arm] = chosen(
            arm,
            partial(network, arm),
            data()["questions"][:4],
            lambda state, part, arm=arm: examine(arm, state, data()[part]),
            SETTING,
            RUNS,
        )
    if len(runs) < len(ARMS):
        return
    seen, errs = names()
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "cells misnamed": errs,
        "floors": floors(),
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    kept = {f"{arm} {name}": value.half() for arm in KEPT for name, value in states[arm].items()}
    kept |= {f"seen {name}": value.half() for name, value in seen.state_dict().items()}
    torch.save(kept, RESULTS / "model.pt")  # all seeds


KEPT = ("parallel", "alternating")

if __name__ == "__main__":
    main(sys.argv[1:])
