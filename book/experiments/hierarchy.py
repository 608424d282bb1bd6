"""Train hierarchical attention, flat attention and no attention on reviews, and hold its weights against people's.

    python book/experiments/hierarchy.py
    python book/experiments/hierarchy.py --smoke      a minute, to see that the losses fall; writes no results

Three parts. ``made``: documents in which one sentence is marked, and its one opinion is the answer, so that it is known
where to look. ``reviews``: from the sentences after a review's title to the sign of the title's rating. The title is
the writer's own verdict, and its 20 ratings are not those of the sentences that are read: the mean of these would be a
label that a mean of sentences fits by construction. Titles that are neither (below 0.5) are left out. Word vectors and
the lower level are trained on single sentences about films first. Each third of the reviews is tested once; the rate
is chosen inside of the first two thirds that are trained with. ``page``: a smaller model on everything, for the widget.

Three arms: words in sentences, weighed by learned vectors (hierarchy, attention) or all alike (hierarchy, means), and
all words in one sentence (flat, attention). A vector of zeros makes the means, so that all arms have the same shapes.
What is done lies in ``runs/hierarchy``: a script that was killed goes on where it was.
"""

import argparse
import functools
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn

from attnlib.data import reviews
from attnlib.data.vocabulary import Vocabulary
from attnlib.input_representations.hierarchical import HierarchicalAttention, Hierarchy
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "hierarchy", HERE / "results" / "hierarchy"
SETTING: dict[str, Any] = {
    "d": 24,
    "hidden": 16,
    "dropout": 0.3,
    "least": 3,
    "sure": 0.5,
    "sentences": 10,
    "words": 20,
    "folds": 3,
    "seeds": 5,
    "films": {"steps": 300, "batch": 64, "rate": 0.008},
    "reviews": {"steps": 40, "batch": 29, "rates": [0.004, 0.012]},
    "made": {"steps": 60, "batch": 32, "rates": [0.012, 0.03], "tested": 500, "d": 12, "hidden": 8, "seeds": 5},
    "shuffles": 10_000,
    "page": {"most": 2000, "d": 16, "hidden": 12, "steps": 900, "after": 100},
}
SMOKE = {
    "seeds": 1,
    "films": {"steps": 40, "batch": 64, "rate": 0.006},
    "reviews": {"steps": 8, "batch": 29, "rates": [0.004]},
    "made": {"steps": 40, "batch": 32, "rates": [0.012], "tested": 200, "d": 12, "hidden": 8, "seeds": 1},
    "shuffles": 200,
}
ARMS = ("hierarchy, attention", "hierarchy, means", "flat, attention")
Document = list[list[int]]


# --- models -----------------------------------------------------------------------------------------------------------


class Reader(nn.Module):
    """Word vectors, two levels, and one number: above 0 for what is positive."""

    def __init__(self, words: int, arm: str, d: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.is_flat, self.dropout = arm.startswith("flat"), dropout
        self.vectors = nn.Embedding(words, d)
        self.levels = HierarchicalAttention(d, hidden)
        self.answer = nn.Linear(2 * hidden, 1)
        if arm.endswith("means"):
            for level in (self.levels.pool_words, self.levels.pool_sentences):
                nn.init.zeros_(level.context_vector).requires_grad_(False)

    def forward(self, documents: Sequence[Document]) -> tuple[Tensor, Hierarchy]:
        """Energies ``(document,)``, and what both levels gave."""
        if self.is_flat:
            documents = [[list(itertools.chain(*document))] for document in documents]
        tokens = torch.tensor([word for document in documents for sentence in document for word in sentence])
        found: Hierarchy = self.levels(
            F.dropout(self.vectors(tokens), self.dropout, self.training),
            words=torch.tensor([len(sentence) for document in documents for sentence in document]),
            sentences=torch.tensor([len(document) for document in documents]),
        )
        context = F.dropout(found.context, self.dropout, self.training)
        return self.answer(context).squeeze(-1), found


def train(model: Reader, draw: Callable[[int], tuple[Sequence[Document], Tensor]], *, steps: int, rate: float) -> None:
    """So many steps down the mean cross-entropy; ``draw`` gives the documents and signs of a step."""
    model.train()

    def loss(step: int) -> Tensor:
        documents, signs = draw(step)
        return F.binary_cross_entropy_with_logits(model(documents)[0], signs)

    descend([p for p in model.parameters() if p.requires_grad], loss, steps=steps, rate=rate, clip=1.0)
    model.eval()


def drawing(documents: Sequence[Document], signs: Sequence[bool], batch: int, seed: int) -> Any:
    """Batches that pass through all documents before one comes again; the same for every arm."""
    order = random.Random(seed)
    queue: list[int] = []

    def draw(step: int) -> tuple[list[Document], Tensor]:
        nonlocal queue
        while len(queue) < batch:
            queue += order.sample(range(len(documents)), len(documents))
        chosen, queue = queue[:batch], queue[batch:]
        return [documents[i] for i in chosen], torch.tensor([float(signs[i]) for i in chosen])

    return draw


# --- documents in which it is known where to look ---------------------------------------------------------------------


class Made(NamedTuple):
    documents: list[Document]
    signs: list[bool]
    marked: list[int]
    opinion: list[int]


def made(n: int, seed: int) -> Made:
    """From 4 to 8 sentences of 5 words: a mark (word 0) or none first, then an opinion (1 to 8) among words 9 to 28."""
    g = random.Random(seed)
    found = Made([], [], [], [])
    for _ in range(n):
        count = g.randrange(4, 9)
        marked = g.randrange(count)
        document = []
        for place in range(count):
            sentence = [g.randrange(9, 29) for _ in range(5)]
            at, opinion = g.randrange(1, 5), g.randrange(1, 9)
            sentence[at] = opinion
            if place == marked:
                sentence[0] = 0
                found.signs.append(opinion < 5)
                found.opinion.append(at)
            document.append(sentence)
        found.documents.append(document)
        found.marked.append(marked)
    return found


def made_run(arm: str, rate: float, seed: int, setting: dict[str, Any]) -> dict[str, float]:
    given = setting["made"]
    torch.manual_seed(seed)
    model = Reader(29, arm, given["d"], given["hidden"], 0.0)

    def draw(step: int) -> tuple[list[Document], Tensor]:
        fresh = made(given["batch"], 100_000 * (seed + 1) + step)
        return fresh.documents, torch.tensor([float(sign) for sign in fresh.signs])

    train(model, draw, steps=given["steps"], rate=rate)
    return {
        "chosen by": made_judge(model, arm, made(given["tested"], 1))["right"],
        **made_judge(model, arm, made(given["tested"], 2)),
    }


@torch.no_grad()
def made_judge(model: Reader, arm: str, on: Made) -> dict[str, float]:
    """Share right; the weight on the marked sentence and on its opinion; of the even shares for comparison."""
    energies, found = model(on.documents)
    result = {"right": (energies > 0).eq(torch.tensor(on.signs)).double().mean().item()}
    if arm != ARMS[0]:
        return result
    counts = [len(document) for document in on.documents]
    shares = found.sentences.weights.split(counts)
    words = found.words.weights.view(-1, 5)
    starts = [0, *itertools.accumulate(counts)]
    result["marked sentence"] = fmean(share[m].item() for share, m in zip(shares, on.marked, strict=True))
    result["its opinion"] = fmean(
        words[start + m, at].item() for start, m, at in zip(starts, on.marked, on.opinion, strict=False)
    )
    result["any sentence"] = fmean(1 / count for count in counts)
    return result


# --- reviews ----------------------------------------------------------------------------------------------------------


class Data(NamedTuple):
    """Films and reviews in numbers: of each review without its title, with the title's sign and what people gave."""

    vocabulary: Vocabulary
    films: list[Document]
    film_signs: list[bool]
    bodies: list[Document]
    signs: list[bool]
    ratings: list[list[float]]
    keys: list[str]


@functools.cache
def data(most: int | None = None) -> Data:
    """Numbers for words that come three times in films and bodies, which takes no label."""
    films = reviews.films()
    judged = [r for r in reviews.load() if len(r.sentences) > 1 and abs(r.sentences[0].rating) >= SETTING["sure"]]
    texts = [s.words for r in films for s in r.sentences] + [s.words for r in judged for s in r.sentences[1:]]
    if most:  # the page speaks of products: their words come first
        texts = [s.words for r in judged for s in r.sentences[1:] for _ in range(5)] + texts
    vocabulary = Vocabulary.build(texts, least=SETTING["least"], most=most)
    words, end = SETTING["words"], SETTING["sentences"] + 1  # long ones are cut off: it is the time that they take
    return Data(
        vocabulary,
        [[vocabulary.encode(s.words[:words]) for s in r.sentences] for r in films],
        [r.sentences[0].rating > 0 for r in films],
        [[vocabulary.encode(s.words[:words]) for s in r.sentences[1:end]] for r in judged],
        [r.sentences[0].rating > 0 for r in judged],
        [[s.rating for s in r.sentences[1:end]] for r in judged],
        [r.key for r in judged],
    )


def folds(n: int, count: int) -> list[int]:
    """The fold of each review, the same for all seeds and arms."""
    order = random.Random(0).sample(range(n), n)
    fold = [0] * n
    for place, i in enumerate(order):
        fold[i] = place % count
    return fold


def on_films(arm: str, seed: int, setting: dict[str, Any], given: Data) -> dict[str, Tensor]:
    """What an arm knows before it sees a review. A single sentence is the same to hierarchy and flat."""
    torch.manual_seed(seed)
    model = Reader(len(given.vocabulary), arm, setting["d"], setting["hidden"], setting["dropout"])
    how = setting["films"]
    train(model, drawing(given.films, given.film_signs, how["batch"], seed), steps=how["steps"], rate=how["rate"])
    return model.state_dict()


def on_reviews(
    arm: str, rate: float, seed: int, learn: list[int], setting: dict[str, Any], start: dict[str, Tensor]
) -> Reader:
    """From what an arm knows of films to reviews, with these reviews."""
    given, how = data(), setting["reviews"]
    torch.manual_seed(1000 + seed)
    model = Reader(len(given.vocabulary), arm, setting["d"], setting["hidden"], setting["dropout"])
    model.load_state_dict(start)
    bodies, signs = [given.bodies[i] for i in learn], [given.signs[i] for i in learn]
    train(model, drawing(bodies, signs, how["batch"], seed), steps=how["steps"], rate=rate)
    return model


def search(arm: str, setting: dict[str, Any], start: dict[str, Tensor]) -> dict[str, float]:
    """The loss of each rate on a third of the reviews that the first fold trains with; first seed."""
    fold = folds(len(data().bodies), setting["folds"])
    learn = [i for i, f in enumerate(fold) if f != 0]
    choose = learn[::3]
    rest = [i for i in learn if i not in choose]
    return {
        str(rate): round(review_loss(on_reviews(arm, rate, 0, rest, setting, start), choose), 4)
        for rate in setting["reviews"]["rates"]
    }


def review_run(arm: str, rate: float, seed: int, setting: dict[str, Any], start: dict[str, Tensor]) -> dict[str, Any]:
    """Energies of each review when it was tested, and with attention what the weights of its sentences are."""
    given = data()
    fold = folds(len(given.bodies), setting["folds"])
    energies, looks = [0.0] * len(fold), [{} for _ in fold]
    for test in range(setting["folds"]):
        model = on_reviews(arm, rate, seed, [i for i, f in enumerate(fold) if f != test], setting, start)
        mine = [i for i, f in enumerate(fold) if f == test]
        with torch.no_grad():
            said = model([given.bodies[i] for i in mine])[0].tolist()
        for i, energy in zip(mine, said, strict=True):
            energies[i] = round(energy, 4)
            if arm.endswith("attention"):
                looks[i] = look(model, given.bodies[i])
    return {"energies": energies, "looks": looks}


@torch.no_grad()
def review_loss(model: Reader, which: list[int]) -> float:
    given = data()
    energies = model([given.bodies[i] for i in which])[0]
    signs = torch.tensor([float(given.signs[i]) for i in which])
    return F.binary_cross_entropy_with_logits(energies, signs).item()


@torch.no_grad()
def look(model: Reader, body: Document) -> dict[str, list[float]]:
    """The weight of each sentence (flat: of its words together), and what its loss does to the energy."""
    energy, found = model([body])
    if model.is_flat:
        weights = [part.sum().item() for part in found.words.weights.split([len(sentence) for sentence in body])]
        return {"weights": [round(x, 5) for x in weights]}
    weights = found.sentences.weights.tolist()
    without = [body[:i] + body[i + 1 :] for i in range(len(body))] if len(body) > 1 else []
    moved = (energy - model(without)[0]).abs().tolist() if without else [0.0]
    return {"weights": [round(x, 5) for x in weights], "moved": [round(x, 5) for x in moved]}


# --- what comes of it -------------------------------------------------------------------------------------------------


def ranked(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's correlation; None where one side is all alike."""
    x, y = (torch.from_numpy(rankdata(values)) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    length = (x.square().sum() * y.square().sum()).sqrt().item()
    return (x @ y).item() / length if length > 1e-12 else None


def held_together(runs: dict[str, Any], setting: dict[str, Any]) -> dict[str, Any]:
    """Rank correlations inside of each review of five sentences or more, with |rating|, and among themselves."""
    given = data()
    which = [i for i, body in enumerate(given.bodies) if len(body) >= 5]
    strength = [[abs(x) for x in given.ratings[i]] for i in which]
    length = [[float(len(s)) for s in given.bodies[i]] for i in which]
    early = [[-float(p) for p in range(len(given.bodies[i]))] for i in which]
    found: dict[str, Any] = {"reviews": len(which), "keys": [given.keys[i] for i in which]}

    def per_review(left: list[list[float]], right: list[list[float]]) -> list[float]:
        return [round(ranked(a, b) or 0.0, 4) for a, b in zip(left, right, strict=True)]

    found["length"], found["early"] = per_review(length, strength), per_review(early, strength)
    for arm in (ARMS[0], ARMS[2]):
        seeds = runs[arm]
        weights = [[seed["looks"][i]["weights"] for i in which] for seed in seeds]
        found[arm] = {
            "with strength": [per_review(w, strength) for w in weights],
            "with length": [per_review(w, length) for w in weights],
            "with early": [per_review(w, early) for w in weights],
            "among seeds": [per_review(a, b) for a, b in itertools.combinations(weights, 2)],
        }
        if arm == ARMS[0]:
            moved = [[seed["looks"][i]["moved"] for i in which] for seed in seeds]
            found[arm]["with moved"] = [per_review(w, m) for w, m in zip(weights, moved, strict=True)]
            found[arm]["moved with strength"] = [per_review(m, strength) for m in moved]
    first = [seed["looks"] for seed in runs[ARMS[0]]]
    mean = [[fmean(looks[i]["weights"][p] for looks in first) for p in range(len(given.bodies[i]))] for i in which]
    wanted = fmean(per_review(mean, strength))
    g, ranks = torch.Generator().manual_seed(0), [torch.from_numpy(rankdata(s)) for s in strength]
    totals = torch.zeros(setting["shuffles"], dtype=torch.float64)
    for weights, rank in zip(mean, ranks, strict=True):
        x, y = torch.from_numpy(rankdata(weights)), rank - rank.mean()
        order = torch.rand(setting["shuffles"], len(x), generator=g).argsort(-1)
        x = x - x.mean()
        length_of_both = (x.square().sum() * y.square().sum()).sqrt().clamp(min=1e-12)
        totals += (x[order] @ y) / length_of_both / len(which)
    above = int((totals >= wanted).sum())
    found["shuffled"] = {
        "of the mean of the seeds": round(wanted, 4),
        "sd": round(totals.std().item(), 5),
        "largest": round(totals.max().item(), 4),
        "p": (above + 1) / (setting["shuffles"] + 1),
    }
    return found


def floors() -> dict[str, float]:
    """What needs no reader: the commoner sign, and the sign of the mean of what people gave to the body."""
    given = data()
    signs = torch.tensor(given.signs)
    people = torch.tensor([fmean(ratings) > 0 for ratings in given.ratings])
    strong = torch.tensor([max(ratings, key=abs) > 0 for ratings in given.ratings])
    return {
        "reviews": len(signs),
        "positive": round(signs.double().mean().item(), 4),
        "sign of the mean rating of the body": round((people == signs).double().mean().item(), 4),
        "sign of the strongest sentence": round((strong == signs).double().mean().item(), 4),
    }


def page(setting: dict[str, Any]) -> tuple[dict[str, Tensor], list[str], dict[str, Any]]:
    """State and words of the widget's model: attention, smaller, trained on all reviews; nothing is tested with it."""
    how = setting["page"]
    given = data(how["most"])
    torch.manual_seed(0)
    model = Reader(len(given.vocabulary), ARMS[0], how["d"], how["hidden"], setting["dropout"])
    films, after = setting["films"], setting["reviews"]
    train(model, drawing(given.films, given.film_signs, films["batch"], 0), steps=how["steps"], rate=films["rate"])
    train(model, drawing(given.bodies, given.signs, after["batch"], 0), steps=how["after"], rate=after["rates"][0])
    right = [(e > 0) == s for e, s in zip(model(given.bodies)[0].tolist(), given.signs, strict=True)]
    return model.state_dict(), given.vocabulary.words, {"right on what it was trained on": round(fmean(right), 4)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    setting = {**SETTING, **SMOKE} if smoke else SETTING
    folder = Path(tempfile.mkdtemp()) if smoke else RUNS
    started = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {what}", flush=True)

    if not smoke:
        state, words, about = kept(folder / "page.pt", functools.partial(page, setting))
        say(f"page: {about}")
    task: dict[str, Any] = {}
    for arm in ARMS:
        trials = {}
        for rate in setting["made"]["rates"]:
            each = [
                kept(folder / f"made {arm} {rate} {seed}.pt", functools.partial(made_run, arm, rate, seed, setting))
                for seed in range(setting["made"]["seeds"])
            ]
            trials[str(rate)] = each
        best = max(trials, key=lambda rate: fmean(run["chosen by"] for run in trials[rate]))
        task[arm] = {
            "search": {rate: round(fmean(run["chosen by"] for run in each), 4) for rate, each in trials.items()},
            "rate": float(best),
            "runs": [{name: round(value, 4) for name, value in run.items()} for run in trials[best]],
        }
        say(f"made, {arm}: {[run['right'] for run in task[arm]['runs']]} {task[arm]['runs'][0]}")
    runs: dict[str, Any] = {}
    searched: dict[str, dict[str, float]] = {}
    for seed, arm in itertools.product(range(setting["seeds"]), ARMS):
        kind = arm.split(", ")[1]
        start = kept(folder / f"films {kind} {seed}.pt", functools.partial(on_films, arm, seed, setting, data()))
        if arm not in searched:
            searched[arm] = kept(folder / f"search {arm}.pt", functools.partial(search, arm, setting, start))
        rate = float(min(searched[arm], key=searched[arm].__getitem__))
        name = folder / f"reviews {arm} {seed}.pt"
        runs.setdefault(arm, []).append(kept(name, functools.partial(review_run, arm, rate, seed, setting, start)))
        right = [(e > 0) == s for e, s in zip(runs[arm][-1]["energies"], data().signs, strict=True)]
        say(f"reviews, {arm}, seed {seed}: {fmean(right):.3f}, {searched[arm]}")
    together = held_together(runs, setting)
    say(f"{together['shuffled']}")
    if smoke:
        return
    signs = data().signs
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "made": task,
        "floors": floors(),
        "reviews": {
            arm: {
                "search": searched[arm],
                "right": [[int((e > 0) == s) for e, s in zip(run["energies"], signs, strict=True)] for run in each],
            }
            for arm, each in runs.items()
        },
        "together": together,
        "page": about,
        "seconds": round(time.perf_counter() - started),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    torch.save({name: value.half() for name, value in state.items()}, RESULTS / "page.pt")
    (RESULTS / "words.json").write_text(json.dumps(words, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
