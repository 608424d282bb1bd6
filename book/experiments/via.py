"""Train attention via attention to write the names of the Greek New Testament in English letters, names never seen too.

    python book/experiments/via.py

Given are five Greek words, a name among four others drawn from the running text, without capitals, so that nothing but
the words says which is the name; wanted is its English form, letter by letter. Five arms
write with the same decoder: from words alone, from letters alone, from both side by side, from letters via words, and
from nothing. Names that are tested as unseen come in no training window. Each arm is trained at each rate of the grid
and keeps the one that is best on names that are neither trained nor tested with. The seeds stand side by side on the
first axis; all arms share windows and batches.
"""

import json
import random
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import stack_module_state
from torch.optim.lr_scheduler import LambdaLR

from attnlib import attend
from attnlib.data import new_testament
from attnlib.input_representations.via import AttentionViaAttention, by_word, owners, via
from attnlib.recurrent.gated_unit import GatedUnit
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

RESULTS = Path(__file__).parent / "results" / "via"
RUNS = Path(__file__).parent / "runs" / "via"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "rates": [0.015],  # the better of 0.005 and 0.015 for words alone; of it the steps fall to 0 in a line
    "steps": 500,
    "batch": 32,
    "words": 5,  # of a window
    "windows": {"train": 20, "seen": 2, "choose": 5, "test": 5},  # of a name
    "known": 2,  # how often a word has to come among the others of the training windows to have a vector
    "unknown": 0.5,  # how often a name is trained with as a word that has none
    "size": 24,
}
ARMS = ("nothing", "words", "letters", "side by side", "via")
ENGLISH = " abcdefghijklmnopqrstuvwxyz."  # padding, letters, the end
MOST = 11  # English letters with the end
UNKNOWN = 1


class Window(NamedTuple):
    """Greek words without accents, which of them is the name, its dictionary form, and its English form."""

    words: tuple[str, ...]
    place: int
    name: str
    english: str


class Table(NamedTuple):
    """Windows as numbers: words, letters with their words, the name's place, the English letters, the end with them."""

    words: Tensor
    letters: Tensor
    owner: Tensor
    place: Tensor
    english: Tensor

    def at(self, index: Tensor) -> "Table":
        return Table(*(part[index] for part in self))


# --- windows ----------------------------------------------------------------------------------------------------------


def bare(word: str) -> str:
    """Small letters without accents and breathings; one sigma."""
    letters = (c for c in unicodedata.normalize("NFD", word.lower()) if c.isalpha())
    return "".join(letters).replace("ς", "σ")


@cache
def windows() -> dict[str, list[Window]]:
    """By part: train, seen (other windows of trained names), choose and test (names that are not trained)."""
    forms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    others = []
    draw = random.Random(0)
    for verse in new_testament.load():
        linked = defaultdict(list)
        for word, form in verse.links:
            linked[form].append(verse.words[word])
        for at, lemma in enumerate(verse.lemmas):
            if lemma[0].islower():
                others.append(bare(lemma))
                continue
            english = [word.removesuffix("’s").lower() for word in linked[at] if word[0].isupper()]
            if len(english) == 1 and english[0].isascii() and english[0].isalpha():
                forms[lemma][english[0]] += 1
    spelled = {lemma: counts.most_common(1)[0][0] for lemma, counts in forms.items()}
    names = sorted(lemma for lemma, english in spelled.items() if 3 <= len(english) < MOST)
    draw.shuffle(names)
    parts: dict[str, list[Window]] = {name: [] for name in SETTING["windows"]}
    for i, lemma in enumerate(names):
        own = ["test"] if i % 5 == 0 else ["choose"] if i % 10 == 1 else ["train", "seen"]
        for part in own:
            for _ in range(SETTING["windows"][part]):
                place = draw.randrange(SETTING["words"])
                words = [draw.choice(others) for _ in range(SETTING["words"])]
                words[place] = bare(lemma)
                parts[part].append(Window(tuple(words), place, lemma, spelled[lemma]))
    return parts


@cache
def vocabulary() -> tuple[dict[str, int], dict[str, int]]:
    """Words of the training windows that have a vector, from 2; letters, from 2."""
    given = windows()["train"]
    counts = Counter(word for window in given for word in window.words)
    words = {word: i for i, word in enumerate(sorted(word for word, n in counts.items() if n >= SETTING["known"]), 2)}
    return words, {letter: i for i, letter in enumerate(sorted({c for word in words for c in word}), 2)}


@cache
def data() -> dict[str, Table]:
    return {name: table(part) for name, part in windows().items()}


def table(given: list[Window]) -> Table:
    """Padded with 0."""
    known, alphabet = vocabulary()
    n_letter = max(sum(map(len, window.words)) for part in windows().values() for window in part)
    words = torch.zeros(len(given), SETTING["words"], dtype=torch.long)
    letters, english = torch.zeros(len(given), n_letter).long(), torch.zeros(len(given), MOST).long()
    lengths = torch.zeros_like(words)
    for b, window in enumerate(given):
        text = "".join(window.words)
        words[b, : len(window.words)] = torch.tensor([known.get(word, UNKNOWN) for word in window.words])
        lengths[b, : len(window.words)] = torch.tensor([len(word) for word in window.words])
        letters[b, : len(text)] = torch.tensor([alphabet.get(c, UNKNOWN) for c in text])
        english[b, : len(window.english) + 1] = torch.tensor([ENGLISH.index(c) for c in window.english + "."])
    place = torch.tensor([window.place for window in given])
    return Table(words, letters, owners(lengths, n_letter), place, english)


# --- models -----------------------------------------------------------------------------------------------------------


class Parts(nn.Module):
    """The parameters of one model: they start here, and are used side by side in :func:`run`."""

    def __init__(self) -> None:
        super().__init__()
        d = SETTING["size"]
        known, alphabet = vocabulary()
        self.word, self.letter = nn.Embedding(len(known) + 2, d), nn.Embedding(len(alphabet) + 2, d)
        self.place, self.within = nn.Embedding(SETTING["words"], d), nn.Embedding(20, d)
        self.near = nn.Linear(3 * d, d)
        self.said, self.decoder = nn.Embedding(len(ENGLISH), d), GatedUnit(d, d)
        self.look = AttentionViaAttention(d, d, d, hidden=d)
        self.inner, self.answer = nn.Linear(3 * d, 2 * d), nn.Linear(2 * d, len(ENGLISH))


State = dict[str, Tensor]


def linear(state: State, name: str, x: Tensor) -> Tensor:
    """A layer of each seed on ``(seed, window, ..., size)``."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    flat = torch.baddbmm(bias.unsqueeze(1), x.flatten(1, -2), weight.mT)
    return flat.unflatten(1, x.shape[1:-1])


def embedded(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    shift = weight.shape[1] * torch.arange(len(weight)).view(-1, *[1] * (x.ndim - 1))
    return F.embedding(x + shift, weight.flatten(0, 1))


def additive(state: State, name: str, query: Tensor, key: Tensor) -> Tensor:
    """The additive score of each seed, :func:`attnlib.scores.additive` for all of them at once."""
    get = {part: state[f"look.{name}.{part}"] for part in ("query_weight", "key_weight", "bias", "vector")}
    size = query.shape[-1]
    asked = torch.bmm(query.flatten(1, 2), get["query_weight"][..., :size].mT).unflatten(1, query.shape[1:3])
    held = torch.bmm(key.flatten(1, 2), get["key_weight"].mT).unflatten(1, key.shape[1:3])
    inner = torch.tanh(asked.unsqueeze(-2) + held.unsqueeze(-3) + get["bias"][:, None, None, None])
    return (inner.flatten(1, -2) @ get["vector"].unsqueeze(-1)).view(inner.shape[:-1])


def features(state: State, x: Table) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, words, letters. A letter knows its neighbours, its place in its word, and its word's place."""
    within = (x.owner.unsqueeze(-1) == x.owner.unsqueeze(-2)).tril().sum(-1).clamp(max=20) - 1
    alone = F.pad(embedded(state, "letter", x.letters) + embedded(state, "within", within), (0, 0, 1, 1))
    near = torch.cat([alone[..., :-2, :], alone[..., 1:-1, :], alone[..., 2:, :]], -1)
    letters = torch.tanh(linear(state, "near", near)) + embedded(state, "place", x.owner.clamp(min=0))
    places = torch.arange(x.words.shape[-1]).expand_as(x.words)
    words = embedded(state, "word", x.words) + embedded(state, "place", places)
    read = linear(state, "decoder.input", embedded(state, "said", F.pad(x.english[..., :-1], (1, 0))))
    gates, recurrent = state["decoder.gates_recurrent"].mT, state["decoder.recurrent"].mT
    n = recurrent.shape[-1]
    now, states = read.new_zeros(*read.shape[:2], n), []
    for t in range(read.shape[2]):
        update, reset = torch.baddbmm(read[:, :, t, : 2 * n], now, gates).sigmoid().chunk(2, -1)
        candidate = torch.baddbmm(read[:, :, t, 2 * n :], reset * now, recurrent).tanh()
        now = torch.lerp(now, candidate, update)
        states.append(now)
    return torch.stack(states, 2), words, letters


def run(arm: str, state: State, x: Table) -> tuple[Tensor, Tensor, Tensor]:
    """Of windows ``(seed, window, ...)``: scores of the next letter, weights of the words, weights of the letters."""
    query, words, letters = features(state, x)
    real = {"word_mask": x.words > 0, "letter_mask": x.letters > 0}
    of_words, of_letters = partial(additive, state, "word_score"), partial(additive, state, "letter_score")
    if arm == "via":
        found = via(query, words, letters, word_score=of_words, letter_score=of_letters, **real)
        context, weights = found.context, (found.words.weights, found.letters.weights)
    else:
        first = attend(query, words, score=of_words, mask=real["word_mask"].unsqueeze(-2))
        second = attend(query, letters, score=of_letters, mask=real["letter_mask"].unsqueeze(-2))
        uses = {"nothing": (0, 0), "words": (1, 0), "letters": (0, 1), "side by side": (1, 1)}[arm]
        context = torch.cat([use * part.context for use, part in zip(uses, (first, second), strict=True)], -1)
        weights = first.weights, second.weights
    inner = torch.tanh(linear(state, "inner", torch.cat([query, context], -1)))
    return linear(state, "answer", inner), *weights


def train(arm: str, rate: float) -> State:
    made = []
    for seed in range(SETTING["seeds"]):
        torch.manual_seed(seed)
        made.append(Parts())
    state: State = stack_module_state(made)[0]
    given, choose = data()["train"], torch.Generator().manual_seed(2)  # the same windows for all arms

    def loss(step: int) -> Tensor:
        index = torch.randint(len(given.words), (SETTING["seeds"], SETTING["batch"]), generator=choose)
        x = given.at(index)
        hide = torch.rand(index.shape, generator=choose) < SETTING["unknown"]
        is_name = torch.arange(x.words.shape[-1]) == x.place.unsqueeze(-1)
        longest = int((x.letters > 0).sum(-1).max())
        words = torch.where(is_name & hide.unsqueeze(-1), UNKNOWN, x.words)
        x = x._replace(words=words, letters=x.letters[..., :longest], owner=x.owner[..., :longest])
        scores = run(arm, state, x)[0]
        wrong = F.cross_entropy(scores.movedim(-1, 1), x.english, reduction="none", ignore_index=0)
        return wrong.sum((1, 2)) / (x.english > 0).sum((1, 2))

    steps = SETTING["steps"]
    falls = partial(LambdaLR, lr_lambda=lambda taken: 1 - taken / steps)
    descend(state.values(), loss, steps=steps, rate=rate, clip=1.0, schedule=falls)
    return {name: value.detach() for name, value in state.items()}


def trial(arm: str, rate: float) -> State:
    """A training, kept: a run that is stopped goes on where it was."""
    path = RUNS / f"{arm} {rate}.pt"
    if path.exists():
        kept: State = torch.load(path, weights_only=True)
        return kept
    started = time.perf_counter()
    state = train(arm, rate)
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    print(f"{arm}, rate {rate}: {time.perf_counter() - started:.0f} s", flush=True)
    return state


# --- what comes of it -------------------------------------------------------------------------------------------------


@torch.no_grad()
def examine(arm: str, state: State, part: str) -> dict[str, Tensor]:
    """Shares of names and letters right, and how much of the weights falls on the name."""
    x = Table(*(column.expand(SETTING["seeds"], *column.shape) for column in data()[part]))
    scores, over_words, over_letters = run(arm, state, x)
    there = x.english > 0
    right = (scores.argmax(-1) == x.english) | ~there  # the letters before are the true ones
    steps = there.double() / there.sum(-1, keepdim=True)
    in_words = by_word(over_letters, x.owner, x.words.shape[-1])
    found = {
        "names": right.all(-1).double().mean(-1),
        "letters": (right.double() * steps).sum(-1).mean(-1),
    }
    place = x.place[..., None, None].expand(*in_words.shape[:-1], 1)
    for name, weights, arms in (("words", over_words, "words via"), ("letters", in_words, "letters via")):
        if arm == "side by side" or arm in arms:
            on_name = weights.double().gather(-1, place)[..., 0] * steps
            found[f"weight of {name} on the name"] = on_name.sum(-1).mean(-1)
    return found


def chance(part: str) -> dict[str, float]:
    """How much falls on the name when all words, or all letters, are alike."""
    given = windows()[part]
    letters = [len(w.words[w.place]) / sum(map(len, w.words)) for w in given]
    return {"words": 1 / SETTING["words"], "letters": sum(letters) / len(given)}


def rounded(found: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: [float(f"{x:.5g}") for x in values.tolist()] for name, values in found.items()}


def chosen(arm: str) -> tuple[dict[str, Any], State]:
    """What an arm comes to at its best rate, and its parameters."""
    states = {rate: trial(arm, rate) for rate in SETTING["rates"]}
    searched = {rate: examine(arm, state, "choose")["letters"].mean().item() for rate, state in states.items()}
    best = max(searched, key=lambda rate: searched[rate])
    return {
        "search": {str(rate): round(value, 5) for rate, value in searched.items()},
        "rate": best,
        **{part: rounded(examine(arm, states[best], part)) for part in ("test", "seen", "train")},
    }, states[best]


@torch.no_grad()
def shown(arm: str, state: State) -> list[dict[str, Any]]:
    """Windows of names that were not trained, as written by the first seed."""
    first = {name: value[:1] for name, value in state.items()}
    given = list({window.name: i for i, window in enumerate(windows()["test"])}.values())[:12]
    x = data()["test"].at(torch.tensor(given))
    scores, over_words, over_letters = run(arm, first, Table(*(column.unsqueeze(0) for column in x)))
    found = []
    for b, i in enumerate(given):
        window = windows()["test"][i]
        n = len(window.english) + 1
        count = sum(map(len, window.words))
        found.append(
            {
                "words": window.words,
                "place": window.place,
                "english": window.english,
                "next": "".join(ENGLISH[c] for c in scores[0, b, :n].argmax(-1)),
                "over words": [
                    [round(w, 4) for w in row[: len(window.words)].tolist()] for row in over_words[0, b, :n]
                ],
                "over letters": [[round(w, 4) for w in row[:count].tolist()] for row in over_letters[0, b, :n]],
            }
        )
    return found


def main(arms: list[str]) -> None:
    torch.set_num_threads(1)
    runs, states = {}, {}
    for arm in arms or ARMS:
        runs[arm], states[arm] = chosen(arm)
        print(arm, runs[arm]["rate"], {k: f"{sum(v) / len(v):.3f}" for k, v in runs[arm]["test"].items()}, flush=True)
    if arms:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "windows": {name: len(part) for name, part in windows().items()},
        "names": {name: len({window.name for window in part}) for name, part in windows().items()},
        "chance": {part: {k: round(v, 5) for k, v in chance(part).items()} for part in ("test", "seen")},
        "arms": runs,
        "shown": {arm: shown(arm, states[arm]) for arm in ("via", "side by side")},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    torch.save({name: value[:1].half() for name, value in states["via"].items()}, RESULTS / "model.pt")  # first seed


if __name__ == "__main__":
    main(sys.argv[1:])
