"""Train the networks of ``coattention.py`` on easy-VQA, and two more: with three levels, and as large with one.

    python book/experiments/easy_vqa.py [ARM ...]

Pictures are means of squares of 2 x 2 pixels. What sees them is a small network that has learned to name the one shape
and its colour, where a question about the picture tells them, and is then left as it is; so each region also sees some
of its neighbours. Of the pictures to train with, the last are left for choosing rates by. All arms share batches,
steps and rates; five seeds stand side by side. What is done lies in ``runs/easy_vqa``, as with ``coattention.py``, of
which the loop and the one-sided networks are.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlib.data import easy_vqa
from attnlib.input_representations.coattention_network import (
    AlternatingCoAttention,
    HierarchicalCoAttention,
    PhraseCoAttention,
)
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book.experiments import coattention

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "easy_vqa", HERE / "results" / "easy_vqa"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "rates": [0.005, 0.01],
    "steps": 1500,
    "batch": 32,
    "d": 24,
    "pixels": 32,
    "side": 4,
    "as large": 130,  # hidden units that give one level about as many parameters as three
    "choose by": 500,
    "naming": 1000,
    "naming rate": 0.003,
}
SHAPES = ("circle", "rectangle", "triangle")
KINDS = ("yes or no", "shape", "colour")


class Batch(NamedTuple):
    """Regions, words with a mask, the answer; which regions show the shape, the kind of the question, and whether it is
    *yes* or *no* about a thing that is there.
    """

    region: Tensor
    word: Tensor
    mask: Tensor
    answer: Tensor
    right: Tensor
    kind: Tensor
    there: Tensor


# --- pictures and questions -------------------------------------------------------------------------------------------


@cache
def asked() -> dict[str, list[easy_vqa.Asked]]:
    """Questions to train with, to choose the rate by, and to test with: no picture is in two of the three."""
    train = easy_vqa.load("train")
    first = max(each.picture for each in train) + 1 - SETTING["choose by"]
    return {
        "questions": [each for each in train if each.picture < first],
        "choose by": [each for each in train if each.picture >= first],
        "tested": easy_vqa.load("test"),
    }


@cache
def words() -> list[str]:
    return sorted({word for each in asked()["questions"] for word in each.words})


@cache
def answers() -> list[str]:
    return easy_vqa.answers()


def kind(answer: str) -> int:
    return 0 if answer in ("yes", "no") else 1 if answer in SHAPES else 2


def is_there(given: easy_vqa.Asked) -> bool:
    """Whether it is asked for a thing that the picture shows: *yes*, or *no* where the question denies it."""
    return kind(given.answer) == 0 and (given.answer == "yes") != any(word in ("not", "no") for word in given.words)


@cache
def pictures(part: str) -> tuple[dict[int, int], Tensor, Tensor]:
    """The row of each picture, the pictures, and which regions show the shape: a pixel that is not the background."""
    numbers = sorted({each.picture for each in asked()[part]})
    given = easy_vqa.pictures(numbers, "test" if part == "tested" else "train")
    background = given.flatten(2).median(-1).values[..., None, None]
    there = ((given - background).abs().sum(1, keepdim=True) > 0.2).float()
    image = F.adaptive_avg_pool2d(given, SETTING["pixels"])
    right = F.adaptive_max_pool2d(there, SETTING["side"]).flatten(1) > 0
    return {n: row for row, n in enumerate(numbers)}, image, right


class Seer(nn.Module):
    """Regions ``(batch, region, d)`` of images: three convolutions, each followed by the largest of four."""

    def __init__(self, d: int) -> None:
        super().__init__()
        sizes = ((3, 16), (16, d), (d, d))
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in sizes)

    def forward(self, image: Tensor) -> Tensor:
        found = 2 * image - 1
        for n, layer in enumerate(self.layers):
            found = F.max_pool2d(layer(found), 2)
            found = found.relu() if n + 1 < len(self.layers) else found.tanh()
        return found.flatten(2).mT


def named(part: str) -> Tensor:
    """Shape and colour of each picture as a question about it tells them, ``(picture, 2)``; -1 where none does."""
    colours = [each for each in answers() if kind(each) == 2]
    rows = pictures(part)[0]
    found = torch.full((len(rows), 2), -1)
    for each in asked()[part]:
        if kind(each.answer) == 1:
            found[rows[each.picture], 0] = SHAPES.index(each.answer)
        elif kind(each.answer) == 2:
            found[rows[each.picture], 1] = colours.index(each.answer)
    return found


class Named(nn.Module):
    """Scores of the shapes and of the colours, from the mean of what a :class:`Seer` makes of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.seer = Seer(SETTING["d"])
        self.told = nn.Linear(SETTING["d"], len(answers()) - len(("yes", "no")))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        both = self.told(self.seer(image).mean(1))
        return both[:, : len(SHAPES)], both[:, len(SHAPES) :]


def taught() -> coattention.State:
    """Parameters of a :class:`Named` that has learned the names of the pictures to train with."""
    image, names = pictures("questions")[1], named("questions")
    torch.manual_seed(0)
    model = Named()

    def loss(_: int) -> Tensor:
        index = torch.randint(len(image), (64,))
        parts = zip(model(image[index]), names[index].T, strict=True)
        sums = [F.cross_entropy(one, name, ignore_index=-1, reduction="sum") for one, name in parts]
        return (sums[0] + sums[1]) / 64  # sums, for there may be none that a question names

    descend(model.parameters(), loss, steps=SETTING["naming"], rate=SETTING["naming rate"])
    return model.state_dict()


@cache
def seer() -> tuple[Seer, dict[str, float]]:
    """What sees a picture, as it is left; how often the names it learned are wrong; and the seconds that it took."""
    state = coattention.trained(RUNS / "seer.pt", taught)
    found = {"seconds": round(state.pop("seconds").item(), 1)}
    model = Named().requires_grad_(False)
    model.load_state_dict(state)
    for part in ("choose by", "tested"):
        for what, one, name in zip(("shape", "colour"), model(pictures(part)[1]), named(part).T, strict=True):
            known = name >= 0
            found[f"{what}, {part}"] = round((one.argmax(-1) != name)[known].double().mean().item(), 4)
    return model.seer, found


@cache
def data() -> dict[str, Batch]:
    return {part: tensors(part) for part in asked()}


def tensors(part: str) -> Batch:
    given = asked()[part]
    rows, image, right = pictures(part)
    longest = max(len(each.words) for each in given)
    word = torch.zeros(len(given), longest, dtype=torch.long)
    for n, each in enumerate(given):
        word[n, : len(each.words)] = torch.tensor([words().index(one) for one in each.words])
    picture = torch.tensor([rows[each.picture] for each in given])
    return Batch(
        seer()[0](image)[picture],
        word,
        torch.arange(longest) < torch.tensor([len(each.words) for each in given])[:, None],
        torch.tensor([answers().index(each.answer) for each in given]),
        right[picture],
        torch.tensor([kind(each.answer) for each in given]),
        torch.tensor([is_there(each) for each in given]),
    )


# --- networks, and what comes of them ---------------------------------------------------------------------------------

ARMS = (*coattention.ARMS, "one level, as large", "three levels")


def network(arm: str) -> nn.Module:
    sizes = len(words()), SETTING["d"], len(answers())
    if arm == "three levels":
        return HierarchicalCoAttention(*sizes, AlternatingCoAttention)
    if arm == "one level, as large":
        return PhraseCoAttention(*sizes, lambda d_image, d, _: AlternatingCoAttention(d_image, d, SETTING["as large"]))
    return PhraseCoAttention(*sizes, coattention.ARMS[arm])


@torch.no_grad()
def examine(arm: str, state: coattention.State, on: Batch) -> dict[str, Tensor]:
    """Share of right answers, of all and of each kind; weight on regions that show the shape. A number a seed."""
    parts = zip(*(each.split(1000) for each in on[:3]), strict=True)
    found = [coattention.run(network(arm), state, *part) for part in parts]
    good = torch.cat([scores.argmax(-1) for scores, _, _ in found], 1) == on.answer
    image = torch.cat([weights for _, weights, _ in found], 1)
    return {
        "right": good.double().mean(-1),
        **{name: good[:, on.kind == n].double().mean(-1) for n, name in enumerate(KINDS)},
        "thing there": good[:, on.there].double().mean(-1),
        "regions": (image * on.right).sum(-1).double().mean(-1),
    }


def floors() -> dict[str, float]:
    """Of those tested: the commonest answer, and the commonest to the same words, of those trained; even weights."""
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for each in asked()["questions"]:
        counts.setdefault(each.words, Counter())[each.answer] += 1
    every = Counter(each.answer for each in asked()["questions"]).most_common(1)[0][0]
    tested, on = asked()["tested"], data()["tested"]
    said = [counts[each.words].most_common(1)[0][0] if each.words in counts else every for each in tested]
    good = torch.tensor([answer == each.answer for answer, each in zip(said, tested, strict=True)]).double()
    found = {
        "commonest": torch.tensor([each.answer == every for each in tested]).double().mean(),
        "commonest to these words": good.mean(),
        **{f"commonest to these words, {name}": good[on.kind == n].mean() for n, name in enumerate(KINDS)},
        "commonest to these words, thing there": good[on.there].mean(),
        "regions, even": on.right.double().mean(),
    }
    return {name: round(value.item(), 4) for name, value in found.items()}


def main(arms: Sequence[str]) -> None:
    torch.set_num_threads(1)
    runs, states = {}, {}
    for arm in arms or ARMS:
        runs[arm], states[arm] = coattention.chosen(
            arm,
            partial(network, arm),
            data()["questions"][:4],
            lambda state, part, arm=arm: examine(arm, state, data()[part]),
            SETTING,
            RUNS,
        )
        print(arm, runs[arm]["search"], runs[arm]["test"], flush=True)
    if len(runs) < len(ARMS):
        return
    seen, naming = seer()
    trained_by = json.loads((coattention.RESULTS / "metrics.json").read_text(encoding="utf-8"))["script"]
    metrics = {
        **provenance.stamp(Path(__file__)),
        "trained by": trained_by,
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "questions": {part: len(given) for part, given in asked().items()},
        "naming": naming,
        "floors": floors(),
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    kept = {f"{arm} {name}": value[0].half() for arm in KEPT for name, value in states[arm].items()}
    kept |= {f"seen {name}": value.half() for name, value in seen.state_dict().items()}
    torch.save(kept, RESULTS / "model.pt")  # of the first seed


KEPT = ("alternating", "three levels")

if __name__ == "__main__":
    main(sys.argv[1:])
