"""Train RNNsearch and RNNencdec of equal size to say English words, and judge them by how long a word is.

    python book/experiments/letters_to_sounds.py             all that is missing, one after the other, and the results
    python book/experiments/letters_to_sounds.py --gather    the results alone, when all has run

The two models of [bahdanau2015], the one that looks at the letters at each step and the one that puts the word into
one vector, with as many weights; words of 3 to 14 letters, the dictionary's first way to say each. Each rate of the
grid is tried by both for two epochs, and the one with the smallest loss on the second part of the words is kept (0.04
and 0.08 were added when 0.02, then the largest, was the best of three); the third part is said once, with the rate that
was chosen. All words of 15 letters and more are left out of training, and are said too. Because RNNencdec takes fewer
seconds a step, it is trained a second time for twice as many epochs. Beside them stands the network of g2p-en, which
others trained on a dictionary like this one: its words in training are not known.

No one has linked sounds with letters here. Weights are judged by the letters that can carry a sound
(``attnlib.data.spelling``), and by whether they go forwards, which the diagonal does by its nature.

What was expected was written down before the first run. Each holds when the 95 % interval over the five paired seeds
excludes nought, and so does the one over the words (bootstrap of the difference that the seeds have on the mean):

1. RNNsearch says more of the test words of 3 to 14 letters without a fault than RNNencdec.
2. RNNencdec's wrong sounds a sound exceed RNNsearch's by more in words of 11 to 14 letters than in words of 3 to 6.
3. They do so by more in words of 15 letters and more, longer than any in training, than in words of 11 to 14.
4. With twice the epochs for RNNencdec, 1 and 2 still hold.
5. Where one letter alone can carry a sound, RNNsearch's largest weight finds it more often than the diagonal and more
   often than IBM Model 1 of the same words.

About two hours on one core; a run that was broken off goes on.
"""

import argparse
import copy
import functools
import hashlib
import itertools
import json
import os
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from attnlib.alignment import IBMModel1, diagonal
from attnlib.data import pronunciations
from attnlib.data.pairs import Split, split
from attnlib.data.pronunciations import LETTERS, SOUNDS, Spoken
from attnlib.data.spelling import carriers, silent
from attnlib.pretrained import letters_to_sounds as theirs
from attnlib.recurrent.decoding import greedy
from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch
from attnlib.training import Batched, Record, fit, seed_everything
from attnlib.widgets.recurrent.own_word_model import packed_model, quantised

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

RESULTS = Path(__file__).parent / "results" / "letters_to_sounds"
RUNS = Path(__file__).parent / "runs" / "letters_to_sounds"
STORE = Path(__file__).resolve().parents[2] / "attnlib/widgets/recurrent/own_word.json"
Model = RNNsearch | RNNencdec
SETTING: dict[str, Any] = {
    "seeds": [0, 1, 2, 3, 4],
    "lengths": [3, 14],
    "rates": [0.005, 0.01, 0.02, 0.04, 0.08],
    "grid epochs": 2,
    "epochs": {"RNNsearch": 4, "RNNencdec": 4, "RNNencdec, twice as long": 8},
    "batch": 128,
    "warm up": 200,
    "longest": 30,
    "sizes": {
        "RNNsearch": {"embedding": 32, "hidden": 56, "alignment": 40, "maxout": 32},
        "RNNencdec": {"embedding": 32, "hidden": 77, "maxout": 32},
    },
    "IBM iterations": 5,
    "resamples": 2000,
}
KINDS: dict[str, type[Model]] = {"RNNsearch": RNNsearch, "RNNencdec": RNNencdec}
ARMS = tuple(SETTING["epochs"])
GRID = ARMS[:2]  # the third arm takes the rate of the second
MARK = len(SOUNDS)  # begins the sounds, and ends them
SPANS = {"3 to 6": (3, 6), "7 to 10": (7, 10), "11 to 14": (11, 14), "15 and more": (15, 99), "3 to 14": (3, 14)}
T_OF_4 = 2.776  # Student's t for 95 % with five seeds
DIGRAPHS = ("th", "sh", "ch", "ph", "ck", "ng", *(2 * letter for letter in "bcdfglmnprstz"))
Said = list[tuple[str, ...]]


# --- words ------------------------------------------------------------------------------------------------------------


@functools.cache
def words() -> Split:
    """Words of 3 to 14 letters, in three parts by a hash of the word."""
    least, most = SETTING["lengths"]
    return split(spoken for spoken in pronunciations.load() if least <= len(spoken.word) <= most)


@functools.cache
def long_words() -> list[Spoken]:
    """All that are longer than any in training."""
    return [spoken for spoken in pronunciations.load() if len(spoken.word) > SETTING["lengths"][1]]


def judged_words() -> list[Spoken]:
    return [*words().test, *long_words()]


def letters(spelt: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Numbers of letters, and which of them are real."""
    rows = [torch.tensor([LETTERS.index(letter) for letter in word]) for word in spelt]
    real = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), nn.utils.rnn.pad_sequence(real, batch_first=True)


def batch(items: list[Spoken]) -> tuple[Tensor, ...]:
    """Letters, their mask, the sounds that the decoder is told and those that it should say; -100 behind the end."""
    rows = [torch.tensor([SOUNDS.index(sound) for sound in spoken.sounds[0]]) for spoken in items]
    told = nn.utils.rnn.pad_sequence([F.pad(row, (1, 0), value=MARK) for row in rows], batch_first=True)
    said = [F.pad(row, (0, 1), value=MARK) for row in rows]
    wanted = nn.utils.rnn.pad_sequence(said, batch_first=True, padding_value=-100)
    return *letters([spoken.word for spoken in items]), told, wanted


def size_of(spoken: Spoken) -> tuple[int, int]:
    return len(spoken.word), len(spoken.sounds[0])


# --- training ---------------------------------------------------------------------------------------------------------


def network(arm: str) -> Model:
    """Xavier's start but for the embeddings: the paper's is made for a thousand units."""
    kind = arm.partition(",")[0]
    model = KINDS[kind](len(LETTERS), MARK + 1, **SETTING["sizes"][kind])
    for name, parameter in model.named_parameters():
        if "embedding" in name:
            nn.init.normal_(parameter, std=0.1)
        elif name == "align_vector":
            nn.init.normal_(parameter, std=len(parameter) ** -0.5)
        elif parameter.ndim == 2 and not name.endswith("recurrent"):
            nn.init.xavier_uniform_(parameter)
    return model


def loss(model: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, int]:
    """Summed over the sounds and the marks that end them, and how many there are."""
    source, mask, told, wanted = given
    logits = model(source, mask, told).logits
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum"), int((wanted >= 0).sum())


def schedule(optimizer: Optimizer, epochs: int) -> LambdaLR:
    """The rate rises for the first steps, and then falls in a line to nought."""
    steps, rise = epochs * -(-len(words().train) // SETTING["batch"]), SETTING["warm up"]
    return LambdaLR(optimizer, lambda step: min((step + 1) / rise, max(steps - step, 0) / (steps - rise)))


def evaluate(model: nn.Module) -> dict[str, float]:
    """The loss on the words of the second part."""
    items = Batched(words().dev, 512, batch, size_of)
    found = [loss(model, batch(items.at(places))) for places in items.order(0, 0)]
    return {"loss": sum(float(total) for total, _ in found) / sum(count for _, count in found)}


def trained(arm: str, rate: float, seed: int, epochs: int, folder: Path) -> tuple[Model, Record]:
    """A network as it was left, or trained now."""
    seed_everything(seed)
    model = network(arm)
    if (folder / "model.pt").exists():
        model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
        return model.eval(), Record.load(folder / "record.json")
    record = fit(
        model,
        loss,
        Batched(words().train, SETTING["batch"], batch, size_of),
        epochs=epochs,
        seed=seed,
        optimizer=functools.partial(Adam, lr=rate),
        schedule=functools.partial(schedule, epochs=epochs),
        evaluate=evaluate,
        folder=folder,
        configuration={"arm": arm, "rate": rate, **SETTING, "data": pronunciations.PACKAGE.sha256},
    )
    return model.eval(), record


def tried(kind: str, rate: float) -> float:
    """The loss on the second part of the words after a short training with seed 0."""
    _, record = trained(kind, rate, 0, SETTING["grid epochs"], RUNS / f"grid {kind}, {rate:g}")
    return record.metrics[-1]["loss"]


def chosen(arm: str) -> float:
    """The rate of the grid with the smallest loss."""
    losses: dict[float, float] = {rate: tried(arm.partition(",")[0], rate) for rate in SETTING["rates"]}
    return min(losses, key=lambda rate: losses[rate])


def folder_of(arm: str, seed: int) -> Path:
    return RUNS / f"{arm}, seed {seed}"


def final(arm: str, seed: int) -> tuple[Model, Record]:
    """The network of an arm, with the rate that was chosen."""
    return trained(arm, chosen(arm), seed, SETTING["epochs"][arm], folder_of(arm, seed))


# --- what is said -----------------------------------------------------------------------------------------------------


def by_length(items: Sequence[Spoken]) -> Iterable[list[int]]:
    """Places of words of one length, a few hundred at a time: without padding."""
    for length in sorted({len(spoken.word) for spoken in items}):
        places = [i for i, spoken in enumerate(items) if len(spoken.word) == length]
        yield from (places[start : start + 500] for start in range(0, len(places), 500))


def said(model: Model, items: Sequence[Spoken]) -> Said:
    """The likeliest sound at each step, to each word."""
    found: Said = [()] * len(items)
    for places in by_length(items):
        source, mask = letters([items[i].word for i in places])
        rows = greedy(model, source, mask, begin=MARK, end=MARK, longest=SETTING["longest"]).words.tolist()
        for i, row in zip(places, rows, strict=True):
            found[i] = tuple(SOUNDS[n] for n in (row[: row.index(MARK)] if MARK in row else row))
    return found


def said_by_theirs(items: Sequence[Spoken]) -> Said:
    """What the network of g2p-en says, without stress."""
    model = theirs.load()
    found: Said = [()] * len(items)
    for places in by_length(items):
        told = theirs.say(model, [items[i].word for i in places])
        for i, one in zip(places, told, strict=True):
            found[i] = theirs.plain(one)
    return found


def distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest sounds to put in, take out or exchange that make the one of the other."""
    row = list(range(len(other) + 1))
    for i, sound in enumerate(one, 1):
        corner, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (sound != wanted))
    return row[-1]


def faults(items: Sequence[Spoken], told: Said) -> list[tuple[int, int]]:
    """Wrong sounds against the nearest way to say each word, and how many sounds that has."""
    found = []
    for spoken, one in zip(items, told, strict=True):
        wrong, sounds = min((distance(way, one), -len(way)) for way in spoken.sounds)
        found.append((wrong, -sounds))
    return found


def told_of(counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    wrong, sounds = (sum(column) for column in zip(*counts, strict=True))
    return {
        "words": len(counts),
        "exact": round(sum(not w for w, _ in counts) / len(counts), 5),
        "error": round(wrong / sounds, 5),
    }


def of_each_length(items: Sequence[Spoken], counts: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Exact words and wrong sounds a sound: of each length that has twenty words, and of spans of lengths."""
    lengths = Counter(len(spoken.word) for spoken in items)
    spans = {**{str(n): (n, n) for n in sorted(lengths) if lengths[n] >= 20}, **SPANS}
    rows = {
        name: [c for spoken, c in zip(items, counts, strict=True) if low <= len(spoken.word) <= high]
        for name, (low, high) in spans.items()
    }
    return {name: told_of(some) for name, some in rows.items() if some}


# --- where it looks ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def weights_of(model: Model, items: Sequence[Spoken]) -> list[Tensor]:
    """Weights of each word, ``(sounds + 1, letters)``, with the dictionary's sounds as input; the last row ends it."""
    found: list[Tensor] = [torch.empty(0)] * len(items)
    for places in by_length(items):
        source, mask, told, _ = batch([items[i] for i in places])
        for i, row in zip(places, model(source, mask, told).weights, strict=True):
            found[i] = row[: len(items[i].sounds[0]) + 1].double()
    return found


def share(part: float, whole: float) -> float:
    return round(part / whole, 5) if whole else 0.0


def looks(items: Sequence[Spoken], weights: Sequence[Tensor], later: int = 0) -> dict[str, Any]:
    """How weights stand to the letters that can carry a sound.

    ``sure`` is how often the largest weight is on the one letter that can carry a sound, and ``mass`` the weight there;
    ``possible`` the same where there are more; ``error`` the alignment error rate of both. ``back`` is how often the
    next sound's largest weight is on an earlier letter, and ``forwards`` the share of words without such a step.
    ``silent`` is the weight on letters that carry no sound, and ``linked`` how many of these have some sound's largest
    weight. ``pairs`` tells of two letters for one sound: how often the largest weight is on either, the weight of both,
    and that of the first of them.

    Args:
        items: words.
        weights: of each, a row a sound; more rows than sounds are not read.
        later: read a sound's weights this many rows later.
    """
    c: dict[str, float] = dict.fromkeys(_COUNTED, 0.0)
    for spoken, whole in zip(items, weights, strict=True):
        sounds = spoken.sounds[0]
        rows = whole[later : later + len(sounds)]
        places = rows.argmax(1).tolist()
        c["steps"] += len(places) - 1
        back = sum(j < i for i, j in itertools.pairwise(places))
        c["back"] += back
        c["words"] += 1
        c["forwards"] += not back
        found = carriers(spoken.word, sounds)
        if found is not None:
            _count(c, spoken.word, found, rows, places)
    return {
        "sounds": round(c["sounds"]),
        "sure": share(c["sure right"], c["sure"]),
        "sure sounds": round(c["sure"]),
        "mass": share(c["sure mass"], c["sure"]),
        "possible": share(c["possible right"], c["possible"]),
        "error": round(1 - (2 * c["sure right"] + c["possible right"]) / (2 * c["sure"] + c["possible"]), 5),
        "back": share(c["back"], c["steps"]),
        "forwards": share(c["forwards"], c["words"]),
        "silent letters": round(c["silent letters"]),
        "silent": share(c["silent mass"], c["silent rows"]),
        "linked": share(c["linked"], c["silent letters"]),
        "pairs": {
            "sounds": round(c["pairs"]),
            "right": share(c["pair right"], c["pairs"]),
            "mass": share(c["pair mass"], c["pairs"]),
            "first": share(c["pair first"], c["pairs"]),
        },
    }


_COUNTED = (
    *("words", "forwards", "steps", "back", "sounds", "sure", "sure right", "sure mass", "possible", "possible right"),
    *("silent letters", "silent mass", "silent rows", "linked", "pairs", "pair right", "pair mass", "pair first"),
)


def _count(c: dict[str, float], word: str, found: list[frozenset[int]], rows: Tensor, places: list[int]) -> None:
    """Add a word to the counts."""
    for t, possible in enumerate(found):
        c["sounds"] += 1
        if len(possible) == 1:
            c["sure"] += 1
            c["sure right"] += places[t] in possible
            c["sure mass"] += float(rows[t, list(possible)].sum())
        elif possible:
            c["possible"] += 1
            c["possible right"] += places[t] in possible
        first = min(possible, default=0)
        if possible == {first, first + 1} and word[first : first + 2] in DIGRAPHS:
            c["pairs"] += 1
            c["pair right"] += places[t] in possible
            c["pair mass"] += float(rows[t, first : first + 2].sum())
            c["pair first"] += float(rows[t, first])
    still = sorted(silent(word, found))
    if still:
        c["silent letters"] += len(still)
        c["silent rows"] += len(rows)
        c["silent mass"] += float(rows[:, still].sum())
        c["linked"] += len(set(still) & set(places))


@functools.cache
def ibm_model_1() -> IBMModel1:
    """Letters into sounds, one for one and in no order, from the words that the networks are trained with."""
    pairs = [(tuple(spoken.word), spoken.sounds[0]) for spoken in words().train]
    return IBMModel1(pairs, n_iterations=SETTING["IBM iterations"])


def rivals(items: Sequence[Spoken]) -> dict[str, Any]:
    """The same of the diagonal, of even weights, and of IBM Model 1, which must take a letter for each sound."""
    ibm = ibm_model_1()
    lengths = [(len(spoken.sounds[0]), len(spoken.word)) for spoken in items]
    even = [torch.full(size, 1 / size[1], dtype=torch.float64) for size in lengths]
    taken = looks(items, even)
    posterior = [ibm.align(tuple(spoken.word), spoken.sounds[0]) for spoken in items]
    return {
        "diagonal": looks(items, [diagonal(*size).double() for size in lengths]),
        "IBM Model 1": looks(items, [rows / rows.sum(1, keepdim=True) for rows in posterior]),
        # Of even weights the largest is none: only what is said of their mass is said.
        "even": {"mass": taken["mass"], "silent": taken["silent"], "pairs": {"mass": taken["pairs"]["mass"]}},
    }


def floors(items: Sequence[Spoken]) -> dict[str, Any]:
    """Words said letter by letter, each as the sound that IBM Model 1 finds likeliest, and as another word is said."""
    ibm = ibm_model_1()
    likeliest = {letter: max((ibm.probability(sound, letter), sound) for sound in SOUNDS)[1] for letter in LETTERS}
    spelled = [tuple(likeliest[letter] for letter in spoken.word) for spoken in items]
    same: dict[int, list[Spoken]] = {}
    for spoken in random.Random(0).sample(items, len(items)):
        same.setdefault(min(len(spoken.word), SETTING["lengths"][1] + 1), []).append(spoken)
    next_to = {one.word: other for some in same.values() for one, other in zip(some, some[1:] + some[:1], strict=True)}
    another = [next_to[spoken.word].sounds[0] for spoken in items]
    return {
        "letter by letter": of_each_length(items, faults(items, spelled)),
        "another word's sounds": of_each_length(items, faults(items, another)),
    }


# --- a run ------------------------------------------------------------------------------------------------------------


def examined(arm: str, seed: int, report: Callable[[str], None]) -> dict[str, Any]:
    """All that is measured of one network; kept, so that a run that was broken off goes on."""
    path = folder_of(arm, seed) / "examined.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    model, record = final(arm, seed)
    items = judged_words()
    told, page = said(model, items), said(quantised(model).float(), items)
    counts = faults(items, told)
    found: dict[str, Any] = {
        "arm": arm,
        "seed": seed,
        "rate": chosen(arm),
        "parameters": record.n_parameters,
        "losses": [round(each, 5) for each in record.losses],
        "dev": [round(each["loss"], 5) for each in record.metrics],
        "seconds": round(sum(record.seconds)),
        "test": of_each_length(items, counts),
        "in bytes": of_each_length(items, faults(items, page)) | {"otherwise said": differ(told, page)},
        "faults": [wrong for wrong, _ in counts],
        "sounds": [sounds for _, sounds in counts],
    }
    if isinstance(model, RNNsearch):
        weights, in_bytes = (weights_of(each, words().test) for each in (model, quantised(model).float()))
        found["looks"] = looks(words().test, weights)
        found["looks, a row later"] = looks(words().test, weights, later=1)
        found["looks in bytes"] = looks(words().test, in_bytes)
        found["cut"] = of_each_length(items, faults(items, said(cut(model), items)))
    write(path, found)
    report(f"{arm}, seed {seed}: {found['seconds']} s, exact {found['test']['3 to 14']['exact']:.4f}")
    return found


def cut(model: RNNsearch) -> RNNsearch:
    """The same with even weights on all letters, which is not what it would be had it been trained so."""
    even = copy.deepcopy(model)
    nn.init.zeros_(even.align_vector)
    return even


def differ(one: Said, other: Said) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def write(path: Path, content: Any) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    os.replace(temporary, path)


# --- what came of it --------------------------------------------------------------------------------------------------


Counts = tuple[Tensor, Tensor]  # wrong sounds and sounds, (seed, word)
Measure = Callable[[Counts, Tensor], Tensor]


def counted(runs: Sequence[dict[str, Any]]) -> Counts:
    wrong, sounds = (torch.tensor([run[part] for run in runs], dtype=torch.float64) for part in ("faults", "sounds"))
    return wrong, sounds


def errors(counts: Counts, places: Tensor) -> Tensor:
    """Wrong sounds a sound on some words, a number a seed; the same word may count more than once."""
    return counts[0][:, places].sum(1) / counts[1][:, places].sum(1)


def exacts(counts: Counts, places: Tensor) -> Tensor:
    return (counts[0][:, places] == 0).double().mean(1)


def gap(one: Counts, other: Counts, how: Measure, spans: Sequence[str]) -> dict[str, Any]:
    """How much ``other`` exceeds ``one`` in a span of lengths; with two spans, in the first less in the second.

    The mean over seeds, with its interval over these, and over the words, which are drawn anew within each span.
    """
    lengths = torch.tensor([len(spoken.word) for spoken in judged_words()])
    inside = [((lengths >= SPANS[name][0]) & (lengths <= SPANS[name][1])).nonzero().flatten() for name in spans]

    def differences(drawn: Sequence[Tensor]) -> Tensor:
        each = [how(other, places) - how(one, places) for places in drawn]
        return each[0] - each[1] if len(each) > 1 else each[0]

    generator = torch.Generator().manual_seed(0)
    again = sorted(
        differences([places[torch.randint(len(places), (len(places),), generator=generator)] for places in inside])
        .mean()
        .item()
        for _ in range(SETTING["resamples"])
    )
    each = differences(inside).tolist()
    return {
        "each": [round(value, 5) for value in each],
        **over_seeds(each),
        "over words": [round(again[int(len(again) * q)], 5) for q in (0.025, 0.975)],
    }


def over_seeds(each: Sequence[float]) -> dict[str, Any]:
    mean = statistics.mean(each)
    half = T_OF_4 * statistics.stdev(each) / len(each) ** 0.5
    return {"mean": round(mean, 5), "over seeds": [round(mean - half, 5), round(mean + half, 5)]}


def verdicts(runs: dict[str, list[dict[str, Any]]], others: dict[str, Any]) -> dict[str, Any]:
    """What was expected, by the numbers of the list at the head: a difference above nought is as expected."""
    search, plain, longer = (counted(runs[arm]) for arm in ARMS)

    def exact(rival: Counts) -> dict[str, Any]:
        return gap(rival, search, exacts, ["3 to 14"])

    def grows(rival: Counts, spans: Sequence[str]) -> dict[str, Any]:
        return gap(search, rival, errors, spans)

    middle, beyond = ["11 to 14", "3 to 6"], ["15 and more", "11 to 14"]
    sure = [run["looks"]["sure"] for run in runs[ARMS[0]]]
    found = {
        "1": exact(plain),
        "2": grows(plain, middle),
        "3": grows(plain, beyond),
        "4, exact words": exact(longer),
        "4, by length": grows(longer, middle),
        **{f"5, {name}": over_seeds([s - others[name]["sure"] for s in sure]) for name in ("diagonal", "IBM Model 1")},
    }
    for one in found.values():
        intervals = [one[name] for name in ("over seeds", "over words") if name in one]
        one["holds"] = all(low > 0 for low, _ in intervals)
        one["otherwise"] = all(high < 0 for _, high in intervals)
    return found


def gather() -> None:
    """Judge what stands beside the networks, and write all down."""
    items = judged_words()
    runs = {arm: [examined(arm, seed, print) for seed in SETTING["seeds"]] for arm in ARMS}
    others = rivals(words().test)
    every = pronunciations.load()
    store = {kind: packed_model(final(kind, 0)[0]) for kind in KINDS}
    write(STORE, store)
    kept = ("faults", "sounds")
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "words": {
            **dict(zip(("train", "dev", "test"), map(len, words()), strict=True)),
            "15 and more": len(long_words()),
        },
        "grid": {kind: {f"{rate:g}": round(tried(kind, rate), 5) for rate in SETTING["rates"]} for kind in GRID},
        "runs": {arm: [{k: v for k, v in run.items() if k not in kept} for run in runs[arm]] for arm in ARMS},
        "verdicts": verdicts(runs, others),
        "rivals": others,
        "floors": floors(items),
        "g2p-en": {
            "parameters": sum(parameter.numel() for parameter in theirs.load().parameters()),
            "test": of_each_length(items, faults(items, said_by_theirs(items))),
            "all": of_each_length(every, faults(every, said_by_theirs(every))),
        },
        "page": digest(),
        "page bytes": STORE.stat().st_size,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    write(RESULTS / "metrics.json", metrics)
    for name, one in metrics["verdicts"].items():
        print(name, one)


def digest() -> str:
    """Of what the page holds: the first network of each kind."""
    return hashlib.sha256(STORE.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gather", action="store_true", help="only gather, which fails where a run is missing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report = functools.partial(print, flush=True)
    if not options.gather:
        for rate in SETTING["rates"]:
            for kind in GRID:
                report(f"{kind}, rate {rate:g}: dev {tried(kind, rate):.4f}")
        for arms in (GRID, ARMS[2:]):
            for seed in SETTING["seeds"]:
                for arm in arms:
                    examined(arm, seed, report)
    gather()


if __name__ == "__main__":
    main()
