"""Train coarse and fine attention to say what is thought of each aspect of a review, with and without their helpers.

    python book/experiments/coarse_fine.py

Four ways of reading a sentence for an aspect (means, coarse, fine, both), each with and without position weights; the
last also with the alignment loss. One more arm is told where the aspect stands and no distance: its own words are
nought. Each arm is trained at each setting of its grid, keeps the one that is best on reviews that are neither trained
nor tested with, and is judged once on others. The seeds stand side by side on the first axis; all arms share reviews
and batches.
"""

import json
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim.lr_scheduler import LambdaLR

from attnlib.data.aspects import Review, reviews
from attnlib.input_representations.coarse_fine import alignment_loss, coarse, fine, position_weights
from attnlib.recurrent.gated_unit import GatedUnit, both_ways
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

RESULTS = Path(__file__).parent / "results" / "coarse_fine"
RUNS = Path(__file__).parent / "runs" / "coarse_fine"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "rates": [0.005, 0.015],  # of which the steps fall to 0 in a line
    "alignment": [0.1, 0.5],  # weights of the alignment loss, at the rate of the arm without it
    "aspects": 2,
    "steps": 300,
    "batch": 32,
    "train": 3000,
    "choose": 500,
    "test": 1000,
    "size": 12,  # of an embedding, and of the states of one direction
}
GRAINS = {"means": (), "coarse": ("coarse",), "fine": ("fine",), "both": ("coarse", "fine")}
HELPERS = {"": (), ", places": ("places",), ", alignment": ("alignment",), ", both helpers": ("places", "alignment")}
ARMS: dict[str, tuple[str, ...]] = {
    grain + helper: (*GRAINS[grain], *HELPERS[helper])
    for grain in GRAINS
    for helper in HELPERS
    if "alignment" not in HELPERS[helper] or grain == "both"
} | {"coarse, marked": ("coarse", "marked")}


class Table(NamedTuple):
    """Reviews as numbers: ``(review, word)``, ``(review, aspect, word of it)``, the rest ``(review, aspect)``."""

    words: Tensor
    phrases: Tensor
    start: Tensor
    length: Tensor
    polarity: Tensor
    opinion: Tensor

    def at(self, index: Tensor) -> "Table":
        return Table(*(part[index] for part in self))


@cache
def texts() -> dict[str, list[Review]]:
    """Reviews to train with, to choose the setting by, and to test with; none is in two of them."""
    sizes = [SETTING[name] for name in ("train", "choose", "test")]
    made = {
        review.key: review for review in reviews(aspects=(SETTING["aspects"],) * 2, seed=11, count=sum(sizes) + 500)
    }
    apart, found = list(made.values()), {}
    for name, size in zip(("train", "choose", "test"), sizes, strict=True):
        found[name], apart = apart[:size], apart[size:]
    return found


@cache
def data() -> dict[str, Table]:
    every = sorted({word for part in texts().values() for review in part for word in review.words})
    words = {word: i for i, word in enumerate(every, 1)}
    return {name: table(part, words) for name, part in texts().items()}


def table(given: list[Review], words: dict[str, int]) -> Table:
    """Padded with 0; an aspect that is missing has length 0."""
    n_word, n_aspect, n_own = 32, SETTING["aspects"], 4
    parts = Table(
        torch.zeros(len(given), n_word, dtype=torch.long),
        torch.zeros(len(given), n_aspect, n_own, dtype=torch.long),
        *torch.zeros(4, len(given), n_aspect, dtype=torch.long),
    )
    for b, review in enumerate(given):
        parts.words[b, : len(review.words)] = torch.tensor([words[word] for word in review.words])
        for a, aspect in enumerate(review.aspects):
            parts.phrases[b, a, : aspect.length] = torch.tensor([words[word] for word in review.phrase(aspect)])
            parts.start[b, a], parts.length[b, a] = aspect.start, aspect.length
            parts.polarity[b, a], parts.opinion[b, a] = aspect.polarity, aspect.opinion
    return parts


VOCABULARY = 160


def placed(arm: tuple[str, ...], x: Table, real: Tensor) -> Tensor | None:
    """What the words' vectors are multiplied by, for each aspect; ``real`` has an axis for these."""
    if not {"places", "marked"} & {*arm}:
        return None
    mask = real.expand(*x.start.shape, real.shape[-1])
    weights = position_weights(x.start, x.length, mask=mask)
    return weights if "places" in arm else (weights > 0).to(weights.dtype)


class Model(nn.Module):
    """Readers from both sides of sentence and aspect, attention between these, and a linear layer on all contexts."""

    def __init__(self, arm: tuple[str, ...]) -> None:
        super().__init__()
        self.arm = arm
        size = SETTING["size"]
        d = 2 * size
        self.embed = nn.Embedding(VOCABULARY, size)
        self.readers = nn.ModuleList(GatedUnit(size, size) for _ in range(4))
        self.coarse = nn.Parameter(torch.stack([nn.init.xavier_uniform_(torch.empty(d, d)) for _ in range(2)]))
        self.fine = nn.Parameter((2 * torch.rand(3 * d) - 1) * d**-0.5)
        self.distance = nn.Parameter((2 * torch.rand(3 * d) - 1) * d**-0.5)
        self.answer = nn.Linear(2 * d * max(len({"coarse", "fine"} & {*arm}), 1), 3)

    def forward(self, x: Table) -> dict[str, Tensor]:
        """Scores ``(review, aspect, 3)``, weights ``(review, aspect, word)``, the alignment loss of each review."""
        real, own = x.words > 0, x.phrases > 0
        sentence = torch.cat(both_ways(self.readers[0], self.readers[1], self.embed(x.words), real), -1).unsqueeze(1)
        flat = self.embed(x.phrases.flatten(0, 1)), own.flatten(0, 1)
        aspect = torch.cat(both_ways(self.readers[2], self.readers[3], *flat), -1).unflatten(0, own.shape[:2])
        real = real.unsqueeze(1)
        if (places := placed(self.arm, x, real)) is not None:
            sentence, real = sentence * places.unsqueeze(-1), real.expand(-1, own.shape[1], -1)
        masks = {"sentence_mask": real, "aspect_mask": own}
        found, contexts = {}, []
        if "coarse" in self.arm:
            two = coarse(sentence, aspect, sentence_weight=self.coarse[0], aspect_weight=self.coarse[1], **masks)
            contexts += [two.sentence.context, two.aspect.context]
            found["coarse"] = two.sentence.weights.squeeze(-2)
        if "fine" in self.arm:
            many = fine(sentence, aspect, weight=self.fine, **masks)
            contexts += [many.sentence.context, many.pooled]
            found["fine"] = many.sentence.weights.squeeze(-2)
        if not contexts:
            sentence, real = (part.expand(-1, own.shape[1], *part.shape[2:]) for part in (sentence, real))
            contexts = [
                (text * mask.unsqueeze(-1)).sum(-2, keepdim=True) / mask.sum(-1).clamp(min=1)[..., None, None]
                for text, mask in ((sentence, real), (aspect, own))
            ]
        if "alignment" in self.arm:
            middle = (aspect * own.unsqueeze(-1)).sum(-2) / own.sum(-1, keepdim=True).clamp(min=1)
            found["alignment"] = alignment_loss(found["coarse"], x.polarity, aspects=middle, weight=self.distance)
        found["scores"] = self.answer(torch.cat(contexts, -1).squeeze(-2))
        return found


def run(arm: str, state: dict[str, Tensor], x: Table) -> dict[str, Tensor]:
    """All seeds at once, each on reviews of its own where ``x`` has an axis for them."""
    model = Model(ARMS[arm])
    one = vmap(lambda p, parts: functional_call(model, p, (parts,)), in_dims=(0, 0 if x.words.ndim == 3 else None))
    return one(state, x)


def read(state: dict[str, Tensor], first: int, words: Tensor, real: Tensor) -> Tensor:
    """The states of two readers, ``(seed, text, word, 2 size)``, in one loop for all seeds and both directions."""
    seeds, size = len(words), SETTING["size"]
    shift = VOCABULARY * torch.arange(seeds)[:, None, None]
    read = F.embedding(words + shift, state["embed.weight"].flatten(0, 1))

    def of(name: str) -> Tensor:
        return torch.cat([state[f"readers.{first + i}.{name}"] for i in (0, 1)])

    given, mask = torch.cat([read, read.flip(2)]), torch.cat([real, real.flip(2)]).unsqueeze(-1)
    added = given @ of("input.weight").mT.unsqueeze(1) + of("input.bias")[:, None, None]
    gates, recurrent = of("gates_recurrent").mT, of("recurrent").mT
    now, states = added.new_zeros(2 * seeds, words.shape[1], size), []
    for t in range(words.shape[2]):
        update, reset = torch.baddbmm(added[:, :, t, : 2 * size], now, gates).sigmoid().chunk(2, -1)
        candidate = torch.baddbmm(added[:, :, t, 2 * size :], reset * now, recurrent).tanh()
        now = torch.where(mask[:, :, t], torch.lerp(now, candidate, update), now)
        states.append(now)
    forth, back = torch.stack(states, 2).split(seeds)
    return torch.cat([forth, back.flip(2)], -1)


def quick(arm: str, state: dict[str, Tensor], x: Table) -> dict[str, Tensor]:
    """:func:`run` in plain lines for clean numbers, several times as quick; a test holds it to :func:`run`."""
    parts, own = ARMS[arm], x.phrases > 0
    real = (x.words > 0).unsqueeze(2)
    sentence = read(state, 0, x.words, x.words > 0).unsqueeze(2)
    aspect = read(state, 2, x.phrases.flatten(1, 2), own.flatten(1, 2)).unflatten(1, own.shape[1:3])
    if (places := placed(parts, x, real)) is not None:
        sentence = sentence * places.unsqueeze(-1)
    n_word, n_own = (mask.sum(-1)[..., None, None] for mask in (real, own))
    heard = (sentence * real.unsqueeze(-1)).sum(-2, keepdim=True) / n_word
    asked = (aspect * own.unsqueeze(-1)).sum(-2, keepdim=True) / n_own
    found, contexts = {}, []
    if "coarse" in parts:
        first, second = state["coarse"][:, :, None, None].unbind(1)
        over = (asked @ first @ sentence.mT).masked_fill(~real.unsqueeze(-2), -torch.inf).softmax(-1)
        back = (heard @ second @ aspect.mT).masked_fill(~own.unsqueeze(-2), -torch.inf).softmax(-1)
        found["coarse"] = over.squeeze(-2)
        contexts += [over @ sentence, back @ aspect]
    if "fine" in parts:
        of_word, of_own, of_both = state["fine"].unflatten(1, (3, -1))[:, :, None, None, None].unbind(1)
        energies = (sentence * of_word).sum(-1, keepdim=True) + (aspect * of_own).sum(-1).unsqueeze(-2)
        energies = (energies + (sentence * of_both) @ aspect.mT).masked_fill(~own.unsqueeze(-2), -torch.inf)
        over = energies.amax(-1).masked_fill(~real, -torch.inf).softmax(-1).unsqueeze(-2)
        rows = (energies.softmax(-1) * real.unsqueeze(-1)).sum(-2, keepdim=True) / n_word
        found["fine"] = over.squeeze(-2)
        contexts += [over @ sentence, rows @ aspect]
    if not contexts:
        contexts = [heard.expand(-1, -1, own.shape[2], -1, -1), asked]
    joined = torch.cat(contexts, -1).squeeze(-2)
    found["scores"] = joined @ state["answer.weight"].mT.unsqueeze(1) + state["answer.bias"][:, None, None]
    if "alignment" in parts:
        one, other = asked.squeeze(-2).unbind(2)  # two aspects
        distance = (torch.cat([one, other, one * other], -1) @ state["distance"].unsqueeze(-1)).sigmoid().squeeze(-1)
        apart = (found["coarse"][:, :, 0] - found["coarse"][:, :, 1]).square().sum(-1)
        found["alignment"] = -distance * apart * (x.polarity[..., 0] != x.polarity[..., 1])
    return found


def train(arm: str, rate: float, beta: float) -> dict[str, Tensor]:
    made = []
    for seed in range(SETTING["seeds"]):
        torch.manual_seed(seed)
        made.append(Model(ARMS[arm]))
    state: dict[str, Tensor] = stack_module_state(made)[0]
    given, choose = data()["train"], torch.Generator().manual_seed(2)  # the same reviews for all arms

    def loss(step: int) -> Tensor:
        index = torch.randint(len(given.words), (SETTING["seeds"], SETTING["batch"]), generator=choose)
        x = given.at(index)
        longest = int((x.words > 0).sum(-1).max())
        found = quick(arm, state, x._replace(words=x.words[..., :longest]))
        wrong = F.cross_entropy(found["scores"].movedim(-1, 1), x.polarity, reduction="none").mean((1, 2))
        return wrong + beta * found["alignment"].mean(-1) if "alignment" in found else wrong

    steps = SETTING["steps"]
    falls = partial(LambdaLR, lr_lambda=lambda taken: 1 - taken / steps)
    descend(state.values(), loss, steps=steps, rate=rate, clip=1.0, schedule=falls)
    return {name: value.detach() for name, value in state.items()}


def trial(arm: str, rate: float, beta: float) -> dict[str, Tensor]:
    """A training, kept: a run that is stopped goes on where it was."""
    path = RUNS / f"{arm} {rate} {beta}.pt"
    if path.exists():
        kept: dict[str, Tensor] = torch.load(path, weights_only=True)
        return kept
    started = time.perf_counter()
    state = train(arm, rate, beta)
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    print(f"{arm}, rate {rate}, weight {beta}: {time.perf_counter() - started:.0f} s", flush=True)
    return state


def nearest(on: Table) -> Tensor:
    """Whether the word of opinion that stands nearest to an aspect is its own, ``(review, aspect)``."""
    first, last, place = on.start[..., None], (on.start + on.length)[..., None] - 1, on.opinion.unsqueeze(-2)
    distance = torch.maximum(first - place, place - last)
    return distance.argmin(-1) == torch.arange(on.length.shape[1])


def where(weights: Tensor, on: Table) -> dict[str, Tensor]:
    """Of weights ``(seed, review, aspect, word)``: the share on an aspect's own word of opinion and on the other's."""
    own, other = (place.expand(weights.shape[:-1]).unsqueeze(-1) for place in (on.opinion, on.opinion.flip(-1)))
    return {
        "on the own opinion": weights.double().gather(-1, own).mean((1, 2, 3)),
        "on the other's": weights.double().gather(-1, other).mean((1, 2, 3)),
        "largest": (weights.argmax(-1) == on.opinion).double().mean((1, 2)),
        "the other's is the largest": (weights.argmax(-1) == on.opinion.flip(-1)).double().mean((1, 2)),
    }


@torch.no_grad()
def examine(arm: str, state: dict[str, Tensor], on: Table) -> dict[str, Tensor]:
    """Share right, of all aspects, by whose opinion is nearest and by their words; where the weights fall."""
    found, near = run(arm, state, on), nearest(on)
    right = (found["scores"].argmax(-1) == on.polarity).double()
    outcome = {"right": right.mean((1, 2))}
    outcome["right, own nearest"] = right[:, near].mean(-1)
    outcome["right, other's nearest"] = right[:, ~near].mean(-1)
    outcome |= {f"right, words {n}": right[:, on.length == n].mean(-1) for n in on.length.unique().tolist()}
    for grain in ("coarse", "fine"):
        if grain in found:
            outcome |= {f"{grain}: {name}": value for name, value in where(found[grain], on).items()}
    return outcome


def chance(on: Table) -> dict[str, float]:
    """What is right, and how much falls on the own opinion, of those who know nothing of it."""
    words = (on.words > 0).sum(-1)
    return {
        "the commonest polarity": torch.bincount(on.polarity.flatten()).max().item() / on.polarity.numel(),
        "all words alike": (1 / words).mean().item(),
        "own opinion nearest": nearest(on).double().mean().item(),
    }


def rounded(found: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: [float(f"{x:.5g}") for x in values.tolist()] for name, values in found.items()}


def settings(arm: str) -> list[tuple[float, float]]:
    """Two for each arm: the rates, or the weights of the alignment loss."""
    if "alignment" not in ARMS[arm]:
        return [(rate, 0.0) for rate in SETTING["rates"]]
    without = next(name for name in ARMS if ARMS[name] == ARMS[arm][: ARMS[arm].index("alignment")])
    return [(chosen(without)[0]["rate"], beta) for beta in SETTING["alignment"]]


@cache
def chosen(arm: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an arm comes to at its best setting, and its parameters."""
    on = data()
    states = {given: trial(arm, *given) for given in settings(arm)}
    searched = {given: examine(arm, state, on["choose"])["right"].mean().item() for given, state in states.items()}
    best = max(searched, key=lambda given: searched[given])
    used = {name for name in states[best] if name.split(".")[0] in {*ARMS[arm], "embed", "readers", "answer"}}
    used |= {"distance"} if "alignment" in ARMS[arm] else set()
    return {
        "search": {f"{rate}, {beta}": round(value, 5) for (rate, beta), value in searched.items()},
        "rate": best[0],
        "weight": best[1],
        "parameters": sum(states[best][name][0].numel() for name in used),
        "test": rounded(examine(arm, states[best], on["test"])),
        "train": rounded({"right": examine(arm, states[best], on["train"].at(torch.arange(1000)))["right"]}),
    }, states[best]


@torch.no_grad()
def shown(states: dict[str, dict[str, Tensor]]) -> list[dict[str, Any]]:
    """The first test reviews with the weights of the first seed."""
    on, given = data()["test"], texts()["test"][:8]
    found = {arm: run(arm, state, on.at(torch.arange(8))) for arm, state in states.items()}
    return [
        {
            "words": review.words,
            "aspects": [[a.start, a.length, a.polarity, a.opinion] for a in review.aspects],
            "weights": {
                f"{arm}, {grain}": [
                    [round(x, 4) for x in row[: len(review.words)].tolist()]
                    for row in found[arm][grain][0, b, : len(review.aspects)]
                ]
                for arm in found
                for grain in ("coarse", "fine")
                if grain in found[arm]
            },
        }
        for b, review in enumerate(given)
    ]


def main(arms: list[str]) -> None:
    torch.set_num_threads(1)
    runs, states = {}, {}
    for arm in arms or ARMS:
        runs[arm], states[arm] = chosen(arm)
        print(
            arm,
            runs[arm]["rate"],
            {name: f"{sum(v) / len(v):.3f}" for name, v in runs[arm]["test"].items()},
            flush=True,
        )
    if arms:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "chance": {name: round(value, 5) for name, value in chance(data()["test"]).items()},
        "arms": runs,
        "shown": shown({arm: states[arm] for arm in ("both", "both, both helpers")}),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    kept = {name: value[:1].half() for name, value in states["both, places"].items()}
    torch.save(kept, RESULTS / "model.pt")  # of the first seed


if __name__ == "__main__":
    main(sys.argv[1:])
