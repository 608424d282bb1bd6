"""Train several hops on sentences of reviews with penalties of many sizes: do the hops spread, and is it of use?

    python book/experiments/hops.py
    python book/experiments/hops.py --smoke      a minute, to see that the losses fall; writes no results

A sentence about a film or of a customer's review in, the sign of its mean rating out; ratings below 0.5 in size are
left out. Annotations are made of windows of three words, five hops sum them up, and one layer answers. The hops'
penalty, the sum of squares of the paper's Eq. 8 as a mean over the examples, is added times a coefficient; each
coefficient gets the same rates, of which the best on held-out sentences is kept, and the same seeds, batches and steps.
Where the largest rate is the best, a larger one is tried too.
More arms have one part of the penalty each: its diagonal, which draws a hop to one token, and the rest, which draws
hops apart. The parts differ in size, so each is tried with several coefficients, of which two are the same for both.
Two floors have the same shapes: one hop, five times, and means. Sentences of one review stay in one part. All
coefficients and seeds are trained side by side, on the first axis.

The maps are those of the first seed on texts of our own; with them are stored the weights that they come from, and of
the word vectors only those of words in the texts. What is done lies in ``runs/hops``: a script that was killed goes on.
"""

import argparse
import functools
import hashlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from attnlib.data import reviews
from attnlib.data.vocabulary import PAD, UNK, Vocabulary
from attnlib.masks import key_mask
from attnlib.output_representations.structured_self import StructuredSelf, penalty, structured_self
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "hops", HERE / "results" / "hops"
STORE = HERE.parents[1] / "attnlib" / "widgets" / "output_representations" / "hops_and_penalty.json"
SETTING: dict[str, Any] = {
    "d": 24,
    "hidden": 24,
    "d_a": 16,
    "hops": 5,
    "dropout": 0.3,
    "least": 3,
    "sure": 0.5,
    "words": 24,
    "steps": 300,
    "batch": 64,
    "rates": [0.004, 0.012, 0.036],
    "further": [0.1],  # for what is best at the largest so far
    "coefficients": [0, 0.001, 0.01, 0.03, 0.1, 0.3, 1],
    "parts": {"sharp": [0.01, 0.1, 1], "apart": [0.1, 1, 10]},  # coefficients of one part of the penalty alone
    "seeds": 5,
}
SMOKE = {"steps": 6, "rates": [0.008], "further": [], "coefficients": [0, 1], "seeds": 1}
PARTS = ("sharp", "apart")
FLOORS = ("one hop", "means")
TEXTS = (
    "the screen is bright and sharp but the battery is awful and the menus are slow",
    "a dull story , wonderful music , and an ending that is simply bad",
    "great camera , easy to use , and the pictures are beautiful",
)


Trial = tuple[float, list[dict[str, Tensor]]]
Arms = list[tuple[str, float]]  # what an arm is called, and its coefficient


class Sentences(NamedTuple):
    """Padded with 0; signs of the ratings."""

    tokens: Tensor
    lengths: Tensor
    signs: Tensor


class Reader(nn.Module):
    """Word vectors, windows of three words, hops, and one number: above 0 for what is positive.

    ``tied``: 1 where the first hop stands for all; ``sharp``: 0 where all weights are to be alike.
    """

    tied: Tensor
    sharp: Tensor

    def __init__(self, words: int, setting: dict[str, Any], arm: str = "hops") -> None:
        super().__init__()
        self.dropout, size = setting["dropout"], setting["hidden"]
        self.vectors = nn.Embedding(words, setting["d"])
        self.window = nn.Linear(3 * setting["d"], size)
        self.pool = StructuredSelf(size, setting["d_a"], hops=setting["hops"])
        self.answer = nn.Linear(size * setting["hops"], 1)
        self.register_buffer("tied", torch.tensor(float(arm == "one hop")))
        self.register_buffer("sharp", torch.tensor(float(arm != "means")))

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Energies ``(sentence,)``, and the weights of the hops ``(sentence, hop, word)``."""
        words = F.dropout(self.vectors(tokens), self.dropout, self.training)
        words = words * key_mask(lengths, tokens.shape[1]).mT  # no word stands before the first and after the last
        beside = F.pad(words, (0, 0, 1, 1))
        annotations = torch.tanh(self.window(torch.cat([beside[:, :-2], words, beside[:, 2:]], -1)))
        hops = self.sharp * torch.lerp(self.pool.hop_weight, self.pool.hop_weight[:1], self.tied)
        seen, given = key_mask(lengths, tokens.shape[1]), self.pool.hidden_weight
        matrix, weights, _ = structured_self(annotations, hidden_weight=given, hop_weight=hops, mask=seen)
        answer = self.answer(F.dropout(matrix.flatten(1), self.dropout, self.training)).squeeze(-1)
        return answer, weights


@functools.cache
def data() -> tuple[Vocabulary, dict[str, Sentences]]:
    """Seven tenths of the reviews to train with, one to choose by, two to test with, by a hash of what a review is."""
    parts: dict[str, list[tuple[tuple[str, ...], bool]]] = {"train": [], "choose": [], "test": []}
    for review in [*reviews.films(), *reviews.load()]:
        place = int(hashlib.sha256(review.key.encode()).hexdigest(), 16) % 10
        part = "train" if place < 7 else "choose" if place == 7 else "test"
        for sentence in review.sentences:
            if abs(sentence.rating) >= SETTING["sure"]:
                parts[part].append((sentence.words[: SETTING["words"]], sentence.rating > 0))
    seen = {words for words, _ in parts["train"]}  # a sentence that somebody else wrote too is not new
    for part in ("choose", "test"):
        parts[part] = [pair for pair in parts[part] if pair[0] not in seen]
    vocabulary = Vocabulary.build([words for words, _ in parts["train"]], least=SETTING["least"])
    return vocabulary, {name: table(vocabulary, part) for name, part in parts.items()}


def table(vocabulary: Vocabulary, part: list[tuple[tuple[str, ...], bool]]) -> Sentences:
    lengths = torch.tensor([len(words) for words, _ in part])
    tokens = torch.full((len(part), int(lengths.max())), PAD)
    for row, (words, _) in zip(tokens, part, strict=True):
        row[: len(words)] = torch.tensor(vocabulary.encode(words))
    return Sentences(tokens, lengths, torch.tensor([float(sign) for _, sign in part]))


def trained(rate: float, setting: dict[str, Any], which: Arms) -> dict[str, Tensor]:
    """The states of these arms, each with all seeds, ``(arm * seed, ...)``."""
    vocabulary, parts = data()
    made = [seeded(seed, len(vocabulary), setting, arm) for arm, _ in which for seed in range(setting["seeds"])]
    learned, fixed = stack_module_state(made)
    names = [arm for arm, _ in which for _ in range(setting["seeds"])]
    coefficients = torch.tensor([c for _, c in which for _ in range(setting["seeds"])])
    side_by_side = torch.vmap(
        functools.partial(functional_call, made[0].train()), in_dims=((0, 0), 0), randomness="different"
    )
    order, train = torch.Generator().manual_seed(0), parts["train"]

    def loss(step: int) -> Tensor:
        shape = (setting["seeds"], setting["batch"])  # batches are those of the seed, whatever the arm
        index = torch.randint(len(train.signs), shape, generator=order).repeat(len(which), 1)
        lengths, signs = train.lengths[index], train.signs[index]
        tokens = train.tokens[index][..., : int(lengths.max())]
        energies, weights = side_by_side((learned, fixed), (tokens, lengths))
        answer = F.binary_cross_entropy_with_logits(energies, signs, reduction="none").mean(-1)
        return answer + coefficients * penalised(weights, names).mean(-1)

    torch.manual_seed(0)
    descend(learned.values(), loss, steps=setting["steps"], rate=rate, clip=1.0)
    return {name: value.detach() for name, value in {**learned, **fixed}.items()}


def seeded(seed: int, words: int, setting: dict[str, Any], arm: str) -> Reader:
    torch.manual_seed(seed)
    return Reader(words, setting, arm)


def arms(setting: dict[str, Any]) -> Arms:
    hops = [("hops", c) for c in setting["coefficients"]]
    parts = [(part, float(c)) for part in PARTS for c in setting["parts"][part]]
    return [*hops, *parts, *((arm, 0.0) for arm in FLOORS)]


def called(arm: str, coefficient: float) -> str:
    """The name of an arm in the results: a coefficient, a part and its coefficient, or a floor."""
    return f"{coefficient:g}" if arm == "hops" else f"{arm} {coefficient:g}" if arm in PARTS else arm


def penalised(weights: Tensor, names: list[str]) -> Tensor:
    """The penalty ``(model, example)``, or the part of it that a model's arm has."""
    sharp = (weights.square().sum(-1) - 1).square().sum(-1)
    whole = penalty(weights)
    only = torch.tensor([[name == part for name in names] for part in PARTS]).unsqueeze(-1)
    return torch.where(only[0], sharp, torch.where(only[1], whole - sharp, whole))


@torch.no_grad()
def judged(model: Reader, part: Sentences) -> dict[str, Any]:
    """The loss, which are right, and of the hops: overlap, tokens that one reaches, tokens that all reach, penalty."""
    energies, weights = model(part.tokens, part.lengths)
    weights = weights.double()
    return {
        "loss": round(F.binary_cross_entropy_with_logits(energies, part.signs).item(), 4),
        "right": [int(x) for x in (energies > 0).eq(part.signs > 0)],
        "overlap": round(overlap(weights).mean().item(), 4),
        "reach": round(reach(weights).mean().item(), 4),
        "reach together": round(reach(weights.mean(1)).mean().item(), 4),
        "penalty": round(penalty(weights).mean().item(), 4),
    }


def overlap(weights: Tensor) -> Tensor:
    """The mean cosine of two hops of an example, ``(*batch,)``."""
    unit = F.normalize(weights, dim=-1)
    hops = weights.shape[-2]
    return ((unit @ unit.mT).sum((-2, -1)) - hops) / (hops * (hops - 1))


def reach(weights: Tensor) -> Tensor:
    """How many tokens a row is on: as many as even weights of the same sum of squares would be."""
    return 1 / weights.square().sum(-1)


def shown() -> tuple[list[str], list[int]]:
    """Words of our texts, each once, and their numbers."""
    words = sorted({word for text in TEXTS for word in text.split()})
    return words, data()[0].encode(words)


@torch.no_grad()
def mapped(state: dict[str, Tensor], words: list[str], setting: dict[str, Any]) -> list[dict[str, Any]]:
    """The hops on each text, and what is answered."""
    model = Reader(len(words), setting).eval()
    model.load_state_dict({name: value.float() for name, value in state.items()})
    found = []
    for text in TEXTS:
        tokens = torch.tensor([[words.index(word) for word in text.split()]])
        energies, weights = model(tokens, torch.tensor([tokens.shape[1]]))
        rows = [[round(x, 4) for x in row] for row in weights[0].tolist()]
        found.append({"weights": rows, "positive": round(torch.sigmoid(energies).item(), 3)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # squares of small gradients are so small that they cost half of the time
    setting = {**SETTING, **SMOKE} if smoke else SETTING
    folder = Path(tempfile.mkdtemp()) if smoke else RUNS
    started = time.perf_counter()
    vocabulary, parts = data()
    model = Reader(len(vocabulary), setting).eval()
    trials = searched(folder, model, setting)
    chosen, results, states = {}, {}, {}
    for arm, coefficient in arms(setting):
        name, tried = called(arm, coefficient), trials[arm, coefficient]
        best = min(tried, key=lambda rate: tried[rate][0])
        own, runs = tried[best][1], []
        for state in own:
            model.load_state_dict(state)
            runs.append(judged(model, parts["test"]))
        if arm == "hops":
            states[name] = {key: value.half() for key, value in own[0].items()}
            states[name]["vectors.weight"] = states[name]["vectors.weight"][torch.tensor(shown()[1])]
        search = {str(rate): loss for rate, (loss, _) in tried.items()}
        chosen[name], results[name] = {"search": search, "rate": best}, runs
        right = [round(fmean(each["right"]), 3) for each in runs]
        told = {key: runs[0][key] for key in ("overlap", "reach", "reach together", "penalty")}
        print(f"{time.perf_counter() - started:6.0f} s  {name}: {search} {right} {told}", flush=True)
    if smoke:
        return
    words = shown()[0]
    assert UNK not in shown()[1], "a word of our texts is not known"
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "sentences": {name: len(part.signs) for name, part in parts.items()},
        "positive": round(parts["test"].signs.mean().item(), 4),
        "words": len(vocabulary),
        "parameters": sum(p.numel() for p in model.parameters()),
        "chosen": chosen,
        "runs": results,
        "texts": TEXTS,
        "maps": {name: mapped(state, words, setting) for name, state in states.items()},
        "seconds": round(time.perf_counter() - started),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    torch.save(states, RESULTS / "states.pt")
    STORE.write_text(json.dumps(stored(metrics), separators=(",", ":")) + "\n", encoding="utf-8")


def stored(metrics: dict[str, Any]) -> dict[str, Any]:
    """What the widget shows: the maps, and of each coefficient the means over its seeds."""
    names = list(metrics["maps"])
    runs = [metrics["runs"][name] for name in names]
    return {
        "coefficients": names,
        "texts": list(metrics["texts"]),
        "maps": [[each["weights"] for each in metrics["maps"][name]] for name in names],
        "positive": [[each["positive"] for each in metrics["maps"][name]] for name in names],
        "overlap": [round(fmean(run["overlap"] for run in each), 3) for each in runs],
        "reach": [round(fmean(run["reach"] for run in each), 2) for each in runs],
        "right": [round(fmean(fmean(run["right"]) for run in each), 3) for each in runs],
    }


def searched(folder: Path, model: Reader, setting: dict[str, Any]) -> dict[tuple[str, float], dict[float, Trial]]:
    """Of each arm and rate: the loss on sentences to choose by, and the states of the seeds."""
    seeds, found = setting["seeds"], defaultdict(dict)
    for rate in [*setting["rates"], *setting["further"]]:
        which = arms(setting)
        if rate in setting["further"]:
            which = [arm for arm in which if min(found[arm].values(), key=itemgetter(0)) is found[arm][max(found[arm])]]
        stacked = kept(folder / f"{rate}.pt", functools.partial(trained, rate, setting, which)) if which else {}
        for number, arm in enumerate(which):
            own, losses = unstacked(stacked, slice(number * seeds, (number + 1) * seeds)), []
            for state in own:
                model.load_state_dict(state)
                losses.append(judged(model, data()[1]["choose"])["loss"])
            found[arm][rate] = round(fmean(losses), 4), own
    return found


def unstacked(states: dict[str, Tensor], which: slice) -> list[dict[str, Tensor]]:
    """The states of some of the models that stand side by side."""
    count = range(len(next(iter(states.values()))))[which]
    return [{name: value[i] for name, value in states.items()} for i in count]


if __name__ == "__main__":
    main()
