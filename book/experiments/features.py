"""One weight for each token, or one for each feature of each token? Four parts, all with the same parameters.

    python book/experiments/features.py
    python book/experiments/features.py --smoke      to see that it runs; writes no results

An energy for each feature is made in all arms; then groups of features take the mean of their energies, and so one
weight: a group of all features is attention as elsewhere, groups of one are multi-dimensional attention.

``made``: tokens have a colour, a shape and a mark; the colour of the token marked one way and the shape of the token
marked another way are wanted at once, from one sum and one layer. ``senses``: a word in an example sentence of WordNet,
and the others around it; wanted is which of its coarse senses (the lexicographers' files in which it occurs) is meant.
Word vectors are counted from glosses, without labels, and stay; how often the word has each sense in training is given
to all arms, and one arm has nothing but that and the word's own vector. Every sentence is tested once, by a model that
was not trained with it. ``memory``: the bytes of all tensors that the reference and the chunked path hold at once,
beyond their arguments.

Rates are searched for each arm alike, on examples that are neither trained nor tested with. What is
done lies in ``runs/features``: a script that was killed goes on.
"""

import argparse
import functools
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import svds
from torch import Tensor

from attnlib.data import wordnet
from attnlib.output_representations.chunked import attend_in_blocks, attend_pairs, direction_mask
from attnlib.output_representations.multidimensional import attend_features
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.alive import Alive
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "features", HERE / "results" / "features"
SETTING: dict[str, Any] = {
    "made": {
        "tokens": 8,
        "d": 16,
        "steps": 500,
        "batch": 64,
        "tested": 1000,
        "seeds": 10,
        "rates": [0.003, 0.01, 0.03],
    },
    "senses": {
        "d": 48,
        "words": 16,
        "steps": 200,
        "batch": 64,
        "folds": 5,
        "seeds": 5,
        "dropout": 0.3,
        "rates": [0.0007, 0.002, 0.006],
        "least": 3,
        "near": 5,
    },
    "memory": {"d": 32, "lengths": [128, 256, 512], "block": 16},
}
GROUPS = {"two": 2, "a weight per feature": None}  # None: as many as there are features; all others: one
ARMS = ("word alone", "even", "one weight", "a weight per feature")
MADE_ARMS = ("even", "one weight", "one weight, a hidden layer", "two", "a weight per feature")
State = dict[str, Tensor]


def grouped(energies: Tensor, groups: int | None) -> Tensor:
    """Energies ``(..., d)`` of which each run of ``d / groups`` features has its mean."""
    if groups is None:
        return energies
    parts = energies.unflatten(-1, (groups, -1))
    return parts.mean(-1, keepdim=True).expand_as(parts).flatten(-2)


def of_arms(energies: Tensor, arms: tuple[str, ...]) -> Tensor:
    """Energies ``(arm * run, ...)``, each arm's in its own groups; those of arms that do not choose are all zero."""
    each = energies.unflatten(0, (len(arms), -1))
    done = [
        e * 0 if arm in ("even", "word alone") else grouped(e, GROUPS.get(arm, 1))
        for e, arm in zip(each, arms, strict=True)
    ]
    return torch.cat(done)


def linear(state: State, name: str, x: Tensor) -> Tensor:
    """A layer of each model on ``(model, ..., size)``."""
    return torch.baddbmm(state[f"{name}.bias"].unsqueeze(1), x.flatten(1, -2), state[name].mT).unflatten(
        1, x.shape[1:-1]
    )


def layers(sizes: dict[str, tuple[int, int]], seeds: int, arms: int) -> State:
    """Layers ``(to, from)`` as torch makes them, a seed's the same in every arm; then ``(arm * seed, ...)``."""
    state: defaultdict[str, list[Tensor]] = defaultdict(list)
    for seed in range(seeds):
        torch.manual_seed(seed)
        for name, (to, given) in sizes.items():
            layer = torch.nn.Linear(given, to)
            state[name].append(layer.weight.detach())
            state[f"{name}.bias"].append(layer.bias.detach())
    stacked = {name: torch.stack(each).repeat(arms, *[1] * each[0].ndim) for name, each in state.items()}
    return {name: value.requires_grad_() for name, value in stacked.items()}


# --- tokens of which two count ----------------------------------------------------------------------------------------


def made(count: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens ``(count, token, 11)``: colour, shape and mark as ones among zeros; and ``(count, 2)``: what is wanted."""
    n = SETTING["made"]["tokens"]
    colour, shape = (torch.randint(4, (count, n), generator=g) for _ in range(2))
    order = torch.rand(count, n, generator=g).argsort(-1)[:, :2]
    mark = torch.zeros(count, n, dtype=torch.long).scatter(1, order, torch.tensor([[1, 2]]).expand(count, 2))
    tokens = torch.cat([F.one_hot(colour, 4), F.one_hot(shape, 4), F.one_hot(mark, 3)], -1).float()
    wanted = torch.stack([colour.gather(1, order[:, :1]), shape.gather(1, order[:, 1:])], -1).squeeze(1)
    return tokens, wanted


def made_answer(state: State, tokens: Tensor, runs: int) -> tuple[Tensor, Tensor]:
    """Scores ``(arm * seed, example, 2, 4)`` of colour and shape, and the weights of each feature."""
    items = linear(state, "item", tokens)
    energies = linear(state, "energy", F.elu(linear(state, "hidden", items)))
    found = attend_features(of_arms(energies, MADE_ARMS).unsqueeze(-3), items)
    context = found.context.squeeze(-2)
    deep = MADE_ARMS.index("one weight, a hidden layer")
    mine = slice(deep * runs, (deep + 1) * runs)
    inside = torch.relu(linear({k: v[mine] for k, v in state.items()}, "inside", context[mine]))
    read = torch.cat([context[: mine.start], inside, context[mine.stop :]])
    return linear(state, "answer", read).unflatten(-1, (2, 4)), found.weights.squeeze(-3)


def made_run(rate: float, setting: dict[str, Any]) -> dict[str, Any]:
    """All arms and seeds; each seed has its own batches, the same for all arms."""
    how = setting["made"]
    d, runs = how["d"], how["seeds"]
    sizes = {"item": (d, 11), "hidden": (d, d), "energy": (d, d), "inside": (d, d), "answer": (8, d)}
    state = layers(sizes, runs, len(MADE_ARMS))
    draw = torch.Generator().manual_seed(1)

    def batch(count: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        tokens, wanted = made(runs * count, g)
        tokens, wanted = tokens.unflatten(0, (runs, count)), wanted.unflatten(0, (runs, count))
        return tokens.repeat(len(MADE_ARMS), 1, 1, 1), wanted.repeat(len(MADE_ARMS), 1, 1)

    def loss(step: int) -> Tensor:
        tokens, wanted = batch(how["batch"], draw)
        scores = made_answer(state, tokens, runs)[0]
        wrong = F.cross_entropy(scores.movedim(-1, 1), wanted, reduction="none")
        return wrong.mean((1, 2))

    descend(state.values(), loss, steps=how["steps"], rate=rate, clip=1.0)
    found: dict[str, Any] = {}
    for part, seed in (("choose", 2), ("test", 3)):
        tokens, wanted = batch(how["tested"], torch.Generator().manual_seed(seed))
        with torch.no_grad():
            scores, weights = made_answer(state, tokens, runs)
        right = (scores.argmax(-1) == wanted).all(-1).double().mean(-1).unflatten(0, (len(MADE_ARMS), runs))
        found[part] = {arm: [round(x, 4) for x in row] for arm, row in zip(MADE_ARMS, right.tolist(), strict=True)}
    # Of the last arm: how much of each feature's weight lies on either marked token.
    marks = tokens[-runs:, ..., 8:].transpose(-1, -2)  # (seed, example, mark, token)
    on = (marks @ weights[-runs:]).mean(1)  # (seed, mark, feature)
    reads = state["answer"][-runs:].detach().unflatten(1, (2, 4)).norm(dim=2)  # (seed, question, feature)
    found["on marks"] = [[[round(x, 3) for x in row] for row in each[1:]] for each in on.tolist()]
    found["read by"] = [[[round(x, 3) for x in row] for row in each] for each in reads.tolist()]
    return found


# --- words in two senses ----------------------------------------------------------------------------------------------


class Senses(NamedTuple):
    """Uses in numbers: words, the place of the word, its own vector's number, its sense, its fold, its senses' counts.

    ``counts``: ``(fold, use, kind)``, how often the word has each sense where neither that fold, which is tested, nor
    the one after it, which chooses, is counted.
    """

    tokens: Tensor
    place: Tensor
    lemma: Tensor
    kind: Tensor
    fold: Tensor
    counts: Tensor
    uses: list[wordnet.Use]


@functools.cache
def vectors() -> tuple[dict[str, int], Tensor]:
    """Word vectors from glosses, in which no example stands: positive pointwise information, its largest directions."""
    how = SETTING["senses"]
    texts = [wordnet.tokenise(sense.gloss) for sense in wordnet.load()]
    counts = Counter(word for text in texts for word in text)
    words = {word: i for i, word in enumerate(sorted(word for word, n in counts.items() if n >= how["least"]))}
    pairs: list[tuple[int, int]] = []
    for text in texts:
        known = [words[word] for word in text if word in words]
        pairs += [(a, b) for i, a in enumerate(known) for b in known[max(0, i - how["near"]) : i]]
    left, right = np.array(pairs).T
    ones, size = np.ones(2 * len(pairs)), (len(words), len(words))
    table = coo_matrix((ones, (np.r_[left, right], np.r_[right, left])), shape=size).tocsr().tocoo()
    total = np.bincount(table.row, table.data, len(words))
    smoothed = total**0.75 / (total**0.75).sum()
    information = np.log(table.data / total[table.row] / smoothed[table.col])
    kept = information > 0
    table = coo_matrix((information[kept], (table.row[kept], table.col[kept])), shape=size).tocsr()
    start = np.random.default_rng(0).standard_normal(len(words))
    u, s, _ = svds(table, how["d"], v0=start, tol=1e-3)
    found = u * np.sqrt(s)
    return words, torch.tensor(found / found.std(), dtype=torch.float32)


@functools.cache
def senses() -> Senses:
    """Uses of words that have several coarse senses, as one part of speech; a sentence is in one fold."""
    how, words = SETTING["senses"], vectors()[0]
    given = [use for use in wordnet.uses(wordnet.load()) if use.place < how["words"] and len(use.words) > 1]
    folds = [int(hashlib.sha256(" ".join(use.words).encode()).hexdigest(), 16) % how["folds"] for use in given]
    table: defaultdict[tuple[str, str], list[Counter[int]]] = defaultdict(
        lambda: [Counter() for _ in range(how["folds"])]
    )
    named = [(use.lemma, use.sense.key[:4]) for use in given]
    numbers = [wordnet.KINDS.index(use.sense.kind) for use in given]
    for name, kind, fold in zip(named, numbers, folds, strict=True):
        table[name][fold][kind] += 1
    kept = [i for i, name in enumerate(named) if len(sum(table[name], Counter())) > 1]
    n, unknown, none = how["words"], len(words), len(words) + 1
    tokens = torch.full((len(kept), n), none)
    counts = torch.zeros(how["folds"], len(kept), len(wordnet.KINDS))
    for row, i in enumerate(kept):
        known = [words.get(word, unknown) for word in given[i].words[:n]]
        tokens[row, : len(known)] = torch.tensor(known)
        for fold in range(how["folds"]):
            for other, counter in enumerate(table[named[i]]):
                for kind, count in counter.items():
                    counts[fold, row, kind] += count * (other not in (fold, (fold + 1) % how["folds"]))
    return Senses(
        tokens,
        torch.tensor([given[i].place for i in kept]),
        torch.tensor([words.get(given[i].lemma, unknown) for i in kept]),
        torch.tensor([numbers[i] for i in kept]),
        torch.tensor([folds[i] for i in kept]),
        counts,
        [given[i] for i in kept],
    )


def sense_answer(
    state: State, index: Tensor, folds: Tensor, arms: tuple[str, ...], dropout: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Of uses ``(run, use)``: scores of the kinds ``(arm * run, use, kind)``, weights, and which words may be seen."""
    given, (_, table) = senses(), vectors()
    table = torch.cat([table, torch.zeros(2, table.shape[1])])
    tokens, repeat = given.tokens[index], (len(arms), *[1] * 3)
    words, own = table[tokens], table[given.lemma[index]]
    if dropout:  # the same in every arm
        words, own = F.dropout(words, dropout), F.dropout(own, dropout)
    words, own = words.repeat(repeat), own.repeat(repeat[:-1])
    value = F.elu(linear(state, "value", words))
    asks, offers = linear(state, "query", own).unsqueeze(-2), linear(state, "key", words)
    energies = of_arms(5 * torch.tanh((asks + offers) / 5), arms)
    seen = (tokens <= len(table) - 2) & (torch.arange(tokens.shape[-1]) != given.place[index].unsqueeze(-1))
    found = attend_features(energies.unsqueeze(-3), value, mask=seen.repeat(len(arms), 1, 1).unsqueeze(-2))
    others = torch.tensor([arm != "word alone" for arm in arms]).repeat_interleave(index.shape[0])
    context = found.context.squeeze(-2) * others[:, None, None]
    scores = linear(state, "answer", torch.cat([own, context], -1))
    counts = torch.stack([given.counts[fold, i] for fold, i in zip(folds.tolist(), index, strict=True)])
    # In training a use does not count itself: else its own sense would always be a known one.
    own_kind = F.one_hot(given.kind[index], counts.shape[-1]) if dropout else 0
    prior = torch.where(counts > 0, (counts - own_kind + 0.5).log(), -torch.inf).repeat(len(arms), 1, 1)
    return scores + prior, found.weights.squeeze(-3), seen


def sense_run(rate: float, setting: dict[str, Any]) -> State:
    """All arms, folds and seeds: ``(arm * seed * fold, ...)``."""
    how, given = setting["senses"], senses()
    d, kinds = how["d"], len(wordnet.KINDS)
    sizes = {"value": (d, d), "query": (d, d), "key": (d, d), "answer": (kinds, 2 * d)}
    runs = how["seeds"] * how["folds"]
    state = layers(sizes, runs, len(ARMS))
    folds = torch.arange(how["folds"]).repeat(how["seeds"])
    usable = [several(f, lambda part, f=f: (part != f) & (part != (f + 1) % how["folds"])) for f in folds.tolist()]
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)

    def loss(step: int) -> Tensor:
        index = torch.stack([u[torch.randint(len(u), (how["batch"],), generator=draw)] for u in usable])
        scores, _, _ = sense_answer(state, index, folds, ARMS, how["dropout"])
        kinds = given.kind[index].repeat(len(ARMS), 1)
        return F.cross_entropy(scores.movedim(-1, 1), kinds, reduction="none").mean(-1)

    descend(state.values(), loss, steps=how["steps"], rate=rate, clip=1.0)
    return {name: value.detach() for name, value in state.items()}


def several(fold: int, which: Callable[[Tensor], Tensor]) -> Tensor:
    """Uses of some folds whose word has several senses among those that a model of this fold is trained with, and this
    one among them."""
    given = senses()
    known = given.counts[fold].gather(1, given.kind.unsqueeze(-1)).squeeze(-1) > 0
    return (which(given.fold) & known & ((given.counts[fold] > 0).sum(-1) > 1)).nonzero().squeeze(-1)


@torch.no_grad()
def sense_judged(state: State, arm: str, setting: dict[str, Any]) -> dict[str, list[Any]]:
    """Of each seed: the loss where it is chosen, which tested uses are right, in their order; how features differ."""
    how, given = setting["senses"], senses()
    shape = (len(ARMS), how["seeds"], how["folds"])
    found = defaultdict(list)
    for seed in range(how["seeds"]):
        right: dict[int, int] = {}
        lists = defaultdict(list)
        for fold in range(how["folds"]):
            mine = {name: x.unflatten(0, shape)[ARMS.index(arm), seed, fold][None] for name, x in state.items()}
            for part in ("choose", "test"):
                at = fold if part == "test" else (fold + 1) % how["folds"]
                index = several(fold, lambda each, at=at: each == at)
                scores, weights, _ = sense_answer(mine, index[None], torch.tensor([fold]), (arm,))
                lists[part] += F.cross_entropy(scores[0], given.kind[index], reduction="none").tolist()
            right.update(zip(index.tolist(), (scores[0].argmax(-1) == given.kind[index]).int().tolist(), strict=True))
            wide = weights[0].double()  # (use, word, feature)
            d = wide.shape[-1]
            mean = F.normalize(wide, dim=-2).mean(-1)
            lists["likeness"] += ((mean.square().sum(-1) * d * d - d) / (d * (d - 1))).tolist()
            lists["reach"] += (1 / wide.square().sum(-2)).mean(-1).tolist()
        found["right"].append([right[i] for i in sorted(right)])
        for name, values in lists.items():
            found[name].append(round(fmean(values), 4))
    return dict(found)


def sense_floors(setting: dict[str, Any]) -> dict[str, Any]:
    """What needs no context: one of the word's senses at random, and its commonest in training; of several that are
    equally common each is taken as often as the others, as no training tells them apart."""
    given, lemmas = senses(), set()
    chance: list[float] = []
    common: list[float] = []
    tied: list[float] = []
    tested: list[int] = []
    for fold in range(setting["senses"]["folds"]):
        index = several(fold, lambda part, fold=fold: part == fold)
        counts = given.counts[fold, index]
        chance += (1 / (counts > 0).sum(-1)).tolist()
        most = (counts == counts.amax(-1, keepdim=True)).double()
        common += (most.gather(1, given.kind[index].unsqueeze(-1)).squeeze(-1) / most.sum(-1)).tolist()
        tied += (most.sum(-1) > 1).double().tolist()
        lemmas |= {given.uses[i].lemma for i in index.tolist()}
        tested += index.tolist()
    number = {lemma: i for i, lemma in enumerate(sorted(lemmas))}
    return {
        "uses": len(chance),
        "lemmas": len(lemmas),
        "chance": round(fmean(chance), 4),
        "commonest": round(fmean(common), 4),
        "tied": round(fmean(tied), 4),
        "of word": [number[given.uses[i].lemma] for i in sorted(tested)],  # in the order of what is right
    }


# --- memory -----------------------------------------------------------------------------------------------------------


def memory(setting: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Bytes of the tensors that a forward and a backward pass of each path hold at most, beyond the arguments."""
    how, found = setting["memory"], {"whole": {}, "blocks": {}}
    for path, n in ((path, n) for path in found for n in how["lengths"]):
        query, key, value = (torch.randn(1, n, how["d"], requires_grad=True) for _ in range(3))
        with Alive(query, key, value) as alive:
            if path == "whole":
                context = attend_pairs(query, key, value, mask=direction_mask(n, "forward")[None])[0]
            else:
                context = attend_in_blocks(query, key, value, direction="forward", block=how["block"])
            context.sum().backward()
        found[path][str(n)] = alive.most
        del context
    return found


# --- all of it --------------------------------------------------------------------------------------------------------


def best_made(folder: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Each arm at the rate that is best on examples to choose by."""
    rates = setting["made"]["rates"]
    trials = {rate: kept(folder / f"made {rate}.pt", functools.partial(made_run, rate, setting)) for rate in rates}
    found: dict[str, Any] = {}
    for arm in MADE_ARMS:
        tried = {str(rate): round(fmean(trial["choose"][arm]), 4) for rate, trial in trials.items()}
        best = float(max(tried, key=tried.__getitem__))
        found[arm] = {"search": tried, "rate": best, "right": trials[best]["test"][arm]}
    last = trials[found[MADE_ARMS[-1]]["rate"]]
    return {"arms": found, "on marks": last["on marks"], "read by": last["read by"]}


def best_senses(folder: Path, setting: dict[str, Any]) -> dict[str, Any]:
    rates = setting["senses"]["rates"]
    trials = {rate: kept(folder / f"senses {rate}.pt", functools.partial(sense_run, rate, setting)) for rate in rates}
    found = {}
    for arm in ARMS:
        judged = {
            rate: kept(folder / f"judged {arm} {rate}.pt", functools.partial(sense_judged, state, arm, setting))
            for rate, state in trials.items()
        }
        tried = {str(rate): round(fmean(each["choose"]), 4) for rate, each in judged.items()}
        best = float(min(tried, key=tried.__getitem__))
        found[arm] = {"search": tried, "rate": best, **judged[best]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # squares of small gradients are so small that they cost a third of the time
    setting, folder = SETTING, RUNS
    if options.smoke:
        setting, folder = json.loads(json.dumps(SETTING)), Path(tempfile.mkdtemp())
        setting["made"] |= {"steps": 20, "seeds": 1, "rates": [0.01]}
        setting["senses"] |= {"steps": 10, "seeds": 1, "rates": [0.006]}
        setting["memory"] |= {"lengths": [64]}
    started = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {what}", flush=True)

    task = best_made(folder, setting)
    say(f"made: { {arm: (fmean(x['right']), x['search']) for arm, x in task['arms'].items()} }")
    taken = memory(setting)
    say(f"memory: {taken}")
    floors = sense_floors(setting)
    say(f"floors: { {name: value for name, value in floors.items() if name != 'of word'} }")
    found = best_senses(folder, setting)
    for arm, each in found.items():
        rest = {name: value for name, value in each.items() if name != "right"}
        say(f"{arm}: {[round(fmean(x), 4) for x in each['right']]} {rest}")
    if options.smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "made": task,
        "memory": taken,
        "floors": floors,
        "senses": found,
        "seconds": round(time.perf_counter() - started),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
