"""What the heads of two models do that others trained: MiniLM, an encoder, and SmolLM2, a decoder.

    python book/experiments/real_heads.py

Nothing is trained. Both models come out of packages of some ninety megabytes, WordNet out of Debian's, and run with
attnlib's attention. For every head: how much weight falls on the token before, the token itself, the token after, the
first and the last one, and how even the weights are, on examples of WordNet, in several draws; where it looks when a
text of random tokens comes a second time. Then heads are switched off: those that score most, and as many others of the
same layers. A sink is tried with another first token. Heads that share their keys are compared with those that do not.
Two senses of a word: does the row of the word in a map tell which one it is? Some fifteen minutes on one core. What is
done lies in ``runs/real_heads``, so that a script that was killed goes on where it was.
"""

import contextlib
import functools
import itertools
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.data import wordnet
from attnlib.explanation import divergence
from attnlib.output_representations.parts import split
from attnlib.pretrained import MiniLM, SmolLM, minilm, smollm

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "real_heads", HERE / "results" / "real_heads"
SETTING: dict[str, Any] = {
    "draws": 5,
    "sentences": 20,
    "words": [8, 20],
    "texts": 5,
    "half": 25,
    "off": 6,
    "off draws": 3,
    "others": 3,
    "meanings": {"words": [5, 16], "triples": 3},
}
NEAR = 3  # places to each side that are told apart in a row
PAIRS = {
    "bank": ("that bank holds the mortgage on my home", "they pulled the canoe up on the bank"),
    "film": ("the table was covered with a film of dust", "the film was shot on location"),
    "mouth": ("he stuffed his mouth with candy", "he rode into the mouth of the canyon"),
    "note": ("he made a note of the appointment", "the singer held the note too long"),
    "lead": ("the children were playing with lead soldiers", "the police are following a promising lead"),
    "charge": ("the battle began with a cavalry charge", "the battery needed a fresh charge"),
    "match": (
        "if you drop a match in there the whole place will explode",
        "that tie makes a good match with your jacket",
    ),
    "rock": ("he threw a rock at me", "he was her rock during the crisis"),
    "club": ("he carried a club in self defense", "he joined a golf club"),
    "ring": ("the distinctive ring of the church bell", "a ring of ships in the harbor"),
}
TWICE = "river stone apple cloud paper horse river stone apple cloud paper horse"
Head = tuple[int, int]


class Reader(NamedTuple):
    """A model and its pieces; whether marks stand before and after a text; the first number of an ordinary piece."""

    name: str
    model: Any
    pieces: Any
    marked: bool
    ordinary: int

    @property
    def attentions(self) -> list[Any]:
        return [layer.own for layer in self.model.layers]

    def numbers(self, text: str) -> list[int]:
        return [piece.number for piece in self.pieces.encode(text)]


class Looked(NamedTuple):
    """Weights ``(text, layer, head, query, key)``, and lengths of what each key brings ``(text, layer, head, key)``."""

    weights: Tensor
    lengths: Tensor


def readers() -> Iterator[Reader]:
    model, pieces = minilm.load()
    assert isinstance(model, MiniLM)
    yield Reader("MiniLM", model, pieces, True, 1999)  # before it stand marks, letters and numbers kept free
    decoder, pairs = smollm.load()
    assert isinstance(decoder, SmolLM)
    yield Reader("SmolLM2", decoder, pairs, False, 300)


def look(reader: Reader, tokens: Tensor) -> Looked:
    """Texts of one length, read with everything that is looked at here."""
    lengths: list[Tensor] = []

    def note(own: Any, given: tuple[Tensor, ...], _: Any) -> None:
        values = split(own.project(given[0])[2], own.key_value_heads)
        values = values.repeat_interleave(own.heads // own.key_value_heads, -3)
        blocks = own.output_weight.unflatten(1, (own.heads, -1))
        lengths.append(torch.einsum("...hnd,shd->...hns", values, blocks).norm(dim=-1))

    hooks = [own.register_forward_hook(note) for own in reader.attentions]
    found = reader.model(tokens)
    for hook in hooks:
        hook.remove()
    return Looked(found.weights, torch.stack(lengths, -3))


def by_length(texts: list[list[int]]) -> Iterator[tuple[list[int], Tensor]]:
    """Texts of one length together, with their numbers."""
    groups = defaultdict(list)
    for i, text in enumerate(texts):
        groups[len(text)].append(i)
    for which in groups.values():
        yield which, torch.tensor([texts[i] for i in which])


@functools.cache
def senses() -> list[wordnet.Sense]:
    return wordnet.load()


def examples() -> list[str]:
    low, high = SETTING["words"]
    every = sorted({example for sense in senses() for example in sense.examples})
    return [example for example in every if low <= len(wordnet.tokenise(example)) <= high]


def drawn() -> list[list[str]]:
    """The sentences of each draw; none comes twice."""
    n = SETTING["sentences"]
    order = random.Random(0).sample(examples(), n * SETTING["draws"])
    return [order[i * n : (i + 1) * n] for i in range(SETTING["draws"])]


# --- where heads look -------------------------------------------------------------------------------------------------


def placed(found: Looked, marked: bool) -> dict[str, Tensor]:
    """Scores of each head ``(text, layer, head)``: the mean over the words from the third token on."""
    a, n = found.weights, found.weights.shape[-1]
    rows = torch.arange(2, n - marked)
    seen = torch.full((len(rows),), n) if marked else rows + 1
    brought = a * found.lengths.unsqueeze(-2)
    brought = brought / brought.sum(-1, keepdim=True)
    scores = {
        "previous": a[..., rows, rows - 1],
        "own": a[..., rows, rows],
        "first": a[..., rows, 0],
        "first, by length": brought[..., rows, 0],
        "evenness": torch.special.entr(a[..., rows, :]).sum(-1) / seen.log(),
    }
    if marked:
        scores |= {"next": a[..., rows, rows + 1], "last": a[..., rows, n - 1]}
        scores["last, by length"] = brought[..., rows, n - 1]
    scores["chance"] = (1 / seen).expand_as(a[..., rows, 0])
    return {name: each.mean(-1) for name, each in scores.items()}


def scores(reader: Reader) -> dict[str, Any]:
    """Of each draw: every score of every head; the mean distance of heads, between layers and within groups."""
    of: dict[str, list[Any]] = defaultdict(list)
    for sentences in drawn():
        every: dict[str, list[Tensor]] = defaultdict(list)
        for _, tokens in by_length([reader.numbers(text) for text in sentences]):
            found = look(reader, tokens)
            for name, each in placed(found, reader.marked).items():
                every[name].append(each)
            every["apart"].append(apart(found.weights, reader.marked))
        means = {name: torch.cat(each).double().mean(0) for name, each in every.items()}
        distances, chance = means.pop("apart"), means.pop("chance").mean().item()
        for name, each in means.items():
            of[name].append(rounded(each))
        of["chance"].append(chance)
        if reader.marked:
            of["between layers"].append(rounded(between(distances)))
        else:
            of["groups"].append(groups(distances, reader))
    return dict(of)


def apart(weights: Tensor, marked: bool) -> Tensor:
    """The mean divergence of each two heads on the same rows: of one layer, ``(text, layer, head, head)``, and with
    marks, where heads are few, of any two, ``(text, layer * head, layer, head)``."""
    n = weights.shape[-1]
    rows = weights[..., 2 : n - marked, :]
    asked = rows.flatten(1, 2).unbind(1) if marked else rows.unbind(2)
    found = [divergence((one[:, None, None] if marked else one[:, :, None]).expand_as(rows), rows) for one in asked]
    return torch.stack([each.mean(-1) for each in found], 1 if marked else 2)


def between(distances: Tensor) -> Tensor:
    """The mean over two heads of two layers, ``(layer, layer)``; a head and itself are left out."""
    layers, heads = distances.shape[1:]
    sums, same = distances.unflatten(0, (layers, heads)).sum((1, 3)), torch.eye(layers)
    return sums / (heads**2 - same * heads)


def groups(distances: Tensor, reader: Reader) -> dict[str, list[float]]:
    """The mean over two heads of one layer that share keys and values, and over two that do not; a layer each."""
    heads = reader.attentions[0].heads
    shared = torch.arange(heads).div(heads // reader.attentions[0].key_value_heads, rounding_mode="floor")
    same = (shared.unsqueeze(0) == shared.unsqueeze(1)) & ~torch.eye(heads, dtype=torch.bool)
    other = shared.unsqueeze(0) != shared.unsqueeze(1)
    return {name: rounded(distances[:, which].mean(-1)) for name, which in (("same", same), ("other", other))}


def rounded(values: Tensor) -> Any:
    return json.loads(json.dumps(values.double().tolist()), parse_float=lambda x: round(float(x), 4))


# --- random texts that come a second time -----------------------------------------------------------------------------


def random_texts(reader: Reader, draw: int, *, again: bool = True) -> Tensor:
    """``(text, token)`` of different random pieces; the second half is the first once more, or it is new."""
    g = torch.Generator().manual_seed(100 + draw)
    words, n, half = len(reader.model.words), SETTING["texts"], SETTING["half"]
    free = torch.stack([torch.randperm(words - reader.ordinary, generator=g)[: 2 * half] for _ in range(n)])
    tokens = free + reader.ordinary
    tokens = torch.cat([tokens[:, :half]] * 2, 1) if again else tokens
    if not reader.marked:
        return tokens
    marks = torch.tensor(reader.numbers("")).expand(n, 2)
    return torch.cat([marks[:, :1], tokens, marks[:, 1:]], 1)


def inner_rows(reader: Reader) -> Tensor:
    """Places in the second half, without its first and last token."""
    half = SETTING["half"]
    return torch.arange(half + 1, 2 * half - 1) + reader.marked


def repeated(reader: Reader) -> dict[str, Any]:
    """Of each draw and head: weight on the token after the one that was the same before, and on that one."""
    rows, half = inner_rows(reader), SETTING["half"]
    of: dict[str, list[Any]] = defaultdict(list)
    for draw in range(SETTING["draws"]):
        for again, name in ((True, "again"), (False, "new")):
            a = reader.model(random_texts(reader, draw, again=again)).weights
            of[f"after it, {name}"].append(rounded(a[..., rows, rows - half + 1].mean((0, -1))))
            of[f"on it, {name}"].append(rounded(a[..., rows, rows - half].mean((0, -1))))
    seen = torch.full((len(rows),), 2 * half + 2) if reader.marked else rows + 1
    return dict(of) | {"chance": (1 / seen).mean().item()}


def ranked(values: list[Any], n: int, least: int = 0) -> list[Head]:
    """The heads that score most, as the mean over draws, among the layers from ``least`` on."""
    mean = torch.tensor(values).mean(0)
    mean[:least] = -1
    return [divmod(i, mean.shape[1]) for i in mean.flatten().argsort(descending=True)[:n].tolist()]


@contextlib.contextmanager
def switched_off(reader: Reader, heads: list[Head]) -> Iterator[None]:
    """Without what these heads add: their columns of the last matrix are zero."""
    before = [own.output_weight.clone() for own in reader.attentions]
    for layer, head in heads:
        own = reader.attentions[layer]
        own.output_weight.data.unflatten(1, (own.heads, -1))[:, head] = 0
    try:
        yield
    finally:
        for own, weight in zip(reader.attentions, before, strict=True):
            own.output_weight.data.copy_(weight)


def others(reader: Reader, heads: list[Head], seed: int, without: list[Head]) -> list[Head]:
    """As many heads of the same layers, none of those."""
    g, found = random.Random(seed), []
    for layer, count in sorted({layer: [at for at, _ in heads].count(layer) for layer, _ in heads}.items()):
        free = [(layer, head) for head in range(reader.attentions[0].heads) if (layer, head) not in without]
        found += g.sample(free, min(count, len(free)))
    return found


def losses(reader: Reader, tokens: Tensor, outputs: Tensor) -> Tensor:
    """Of each token but the first, by what came before it, ``(text, token)``."""
    logits = reader.model.logits(outputs[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(len(tokens), -1)


def off(reader: Reader, found: dict[str, Any]) -> dict[str, Any]:
    """What random texts, read again, and sentences lose without heads; and where the induction heads look then."""
    induction = ranked(found["repeated"]["after it, again"], SETTING["off"])
    last = max(layer for layer, _ in induction)
    before = [[layer[:] for layer in draw[:last]] for draw in found["scores"]["previous"]]
    previous = ranked(before, SETTING["off"])
    none = [*induction, *previous]
    arms: dict[str, list[list[Head]]] = {"nothing": [[]], "induction": [induction], "previous": [previous]}
    for name, heads in (("induction", induction), ("previous", previous)):
        arms[f"others of {name}"] = [others(reader, heads, seed, none) for seed in range(SETTING["others"])]
    sentences = [reader.numbers(text) for text in drawn()[0]]
    of: dict[str, Any] = {"heads": {name: sets[0] for name, sets in arms.items()}}
    for name, sets in arms.items():
        told: dict[str, list[Any]] = defaultdict(list)
        for heads in sets:
            with switched_off(reader, heads):
                for key, value in examined(reader, induction, sentences).items():
                    told[key].append(value)
        of[name] = {key: rounded(torch.tensor(each).mean(0)) for key, each in told.items()}
        print(name, {key: round(torch.tensor(each).mean().item(), 3) for key, each in of[name].items()}, flush=True)
    return of


def examined(reader: Reader, induction: list[Head], sentences: list[list[int]]) -> dict[str, list[float]]:
    """Losses of fresh random texts in their two halves, a text each, and of sentences; the induction heads' score."""
    rows, half = inner_rows(reader), SETTING["half"]
    told: dict[str, list[float]] = defaultdict(list)
    for draw in range(SETTING["off draws"]):
        tokens = random_texts(reader, 50 + draw)
        outputs, a = reader.model(tokens)
        loss = losses(reader, tokens, outputs)
        told["first half"] += loss[:, : half - 1].mean(-1).tolist()
        told["second half"] += loss[:, rows].mean(-1).tolist()
        score = a[..., rows, rows - half + 1].mean(-1)
        told["score"] += torch.stack([score[:, layer, head] for layer, head in induction]).mean(0).tolist()
    told["sentences"] = [0.0] * len(sentences)
    for which, tokens in by_length(sentences):
        loss = losses(reader, tokens, reader.model(tokens, need_weights=False).outputs).mean(-1)
        for i, value in zip(which, loss.tolist(), strict=True):
            told["sentences"][i] = value
    return dict(told)


def sinks(reader: Reader) -> dict[str, list[float]]:
    """Weight of all heads on the first word where it is first, and where a line break is before it, a sentence each."""
    texts = [reader.numbers(text) for text in drawn()[0]]
    (line,) = reader.numbers("\n")
    found = {
        name: [0.0] * len(texts) for name in ("first word", "line break", "first word after it", "chance after it")
    }
    for which, tokens in by_length(texts):
        plain = reader.model(tokens).weights[..., 2:, :].mean((1, 2, 3))
        longer = torch.cat([torch.full((len(tokens), 1), line), tokens], 1)
        shifted = reader.model(longer).weights[..., 3:, :].mean((1, 2, 3))
        even = (1 / torch.arange(4, longer.shape[1] + 1)).mean().item()
        for i, a, b in zip(which, plain, shifted, strict=True):
            for name, value in zip(found, (a[0], b[0], b[1], even), strict=True):
                found[name][i] = round(float(value), 4)
    return found


# --- two senses of a word ---------------------------------------------------------------------------------------------


class Triple(NamedTuple):
    """A use of a word, another of the same sense, and one of another sense, by their numbers."""

    lemma: str
    use: int
    same: int
    other: int


def simple(all_readers: list[Reader], words: tuple[str, ...], place: int) -> bool:
    """Whether a word stands in a sentence as one piece, for both models, and is not the first."""
    for reader in all_readers:
        pieces = reader.pieces.encode(" ".join(words))
        if sum(piece.text.lstrip("Ġ") == words[place] for piece in pieces) != 1:
            return False
    return place > 0


def triples(all_readers: list[Reader]) -> tuple[list[Any], list[Triple]]:
    """Uses of words in two senses of different kinds, and which of them are held against each other."""
    low, high = SETTING["meanings"]["words"]
    by = defaultdict(list)
    for use in wordnet.uses(senses()):
        if low <= len(use.words) <= high and simple(all_readers, use.words, use.place):
            by[use.sense.key.split()[0], use.lemma].append(use)
    g, chosen = random.Random(1), []
    for (_, lemma), found in sorted(by.items()):
        fit = [
            (a, b, c)
            for a, b, c in itertools.permutations(found, 3)
            if a.sense.key == b.sense.key and a.sense.kind != c.sense.kind and a.words != b.words
        ]
        if fit:
            chosen += [(lemma, *three) for three in g.sample(fit, min(SETTING["meanings"]["triples"], len(fit)))]
    uses = list(dict.fromkeys(use for _, *three in chosen for use in three))
    number = {use: i for i, use in enumerate(uses)}
    return uses, [Triple(lemma, *(number[use] for use in three)) for lemma, *three in chosen]


def binned(row: Tensor, at: int, marked: bool) -> Tensor:
    """A row ``(..., key)`` by where the key stands from the word: marks, near places, and what is farther."""
    n = row.shape[-1]
    offsets = (torch.arange(n) - at).clamp(-NEAR - 1, NEAR + 1) + NEAR + 1
    offsets[0] = 2 * NEAR + 3
    if marked:
        offsets[-1] = 2 * NEAR + 4
    bins = row.new_zeros(*row.shape[:-1], 2 * NEAR + 5)
    return bins.index_add(-1, offsets, row)


class Seen(NamedTuple):
    """A word in its sentence: rows in bins, also of even weights; means of the other words; its vector; its company."""

    bins: Tensor  # (head, bin)
    even: Tensor  # (bin,)
    means: Tensor  # (head, size)
    even_mean: Tensor  # (size,)
    vector: Tensor
    company: frozenset[str]


def see(reader: Reader, uses: list[Any]) -> list[Seen]:
    vectors = reader.model.words - reader.model.words.mean(0)
    found: list[Any] = [None] * len(uses)
    texts = [reader.numbers(" ".join(use.words)) for use in uses]
    for which, tokens in by_length(texts):
        outputs_of, weights_of = reader.model(tokens)
        for i, weights, outputs in zip(which, weights_of, outputs_of, strict=True):
            use = uses[i]
            pieces = reader.pieces.encode(" ".join(use.words))
            at = next(t for t, piece in enumerate(pieces) if piece.text.lstrip("Ġ") == use.words[use.place])
            rows = weights[..., at, :].flatten(0, -2)
            seen = torch.ones(len(pieces)) if reader.marked else (torch.arange(len(pieces)) <= at).float()
            free = seen.clone()
            free[at] = 0
            if reader.marked:
                free[[0, -1]] = 0
            others_of = vectors[torch.tensor([piece.number for piece in pieces])]
            shares = (rows * free) / (rows * free).sum(-1, keepdim=True).clamp(min=1e-9)
            found[i] = Seen(
                binned(rows, at, reader.marked),
                binned(seen / seen.sum(), at, reader.marked),
                shares @ others_of,
                free / free.sum() @ others_of,
                outputs[at],
                frozenset(use.words) - {use.words[use.place]},
            )
    return found


def closer(distance: Callable[[Seen, Seen], Tensor], seen: list[Seen], held: list[Triple]) -> Tensor:
    """Whether the same sense is nearer: 1, 0, or a half where both are as far, ``(triple, ...)``."""
    found = []
    for triple in held:
        one, same, other = (seen[i] for i in triple[1:])
        difference = distance(one, other) - distance(one, same)
        found.append((difference.sign() + 1) / 2)
    return torch.stack(found).double()


def angle(one: Tensor, other: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(one, other, dim=-1)


def overlap(one: Seen, other: Seen) -> Tensor:
    return torch.tensor(1 - len(one.company & other.company) / len(one.company | other.company))


def by_word(right: Tensor, held: list[Triple]) -> Tensor:
    """The mean over the triples of a word, ``(word, ...)``."""
    names = list(dict.fromkeys(triple.lemma for triple in held))
    return torch.stack([right[[t.lemma == name for t in held]].mean(0) for name in names])


def best_of_the_others(right: Tensor) -> tuple[Tensor, list[int]]:
    """Of each word, how often the head is right that is best on the other half of the words; and these two heads."""
    half = torch.arange(len(right)) % 2 == 0
    chosen = [int(right[~half].mean(0).argmax()), int(right[half].mean(0).argmax())]
    return torch.where(half, right[:, chosen[0]], right[:, chosen[1]]), chosen


def meanings(reader: Reader, uses: list[Any], held: list[Triple]) -> dict[str, Any]:
    seen = see(reader, uses)
    heads = reader.attentions[0].heads

    def maps(one: Seen, other: Seen) -> Tensor:
        return divergence(one.bins.double(), other.bins.double())

    def means(one: Seen, other: Seen) -> Tensor:
        return angle(one.means, other.means)

    ways: dict[str, Callable[[Seen, Seen], Tensor]] = {
        "shared words": overlap,
        "places": lambda one, other: divergence(one.even.double(), other.even.double()),
        "maps": lambda one, other: maps(one, other).sum(),
        "even mean": lambda one, other: angle(one.even_mean, other.even_mean),
        "weighted means": lambda one, other: means(one, other).sum(),
        "vector": lambda one, other: angle(one.vector, other.vector),
    }
    right = {name: by_word(closer(way, seen, held), held) for name, way in ways.items()}
    chosen = {}
    for name, way in (("best map", maps), ("best weighted mean", means)):
        of_heads = by_word(closer(way, seen, held), held)
        right[name], best = best_of_the_others(of_heads)
        chosen[name] = [divmod(i, heads) for i in best]
        chosen[f"{name}, of each head"] = rounded(of_heads.mean(0).view(-1, heads))
    return {"right": {name: rounded(each) for name, each in right.items()}, "heads": chosen}


# --- maps for the page ------------------------------------------------------------------------------------------------


def shown_heads(reader: Reader, found: dict[str, Any]) -> dict[str, Head]:
    """A head for each thing that is to be seen: the one of the highest score."""

    def best(values: list[Any]) -> Head:
        return ranked(values, 1)[0]

    of, again = found["scores"], found["repeated"]
    chosen = {"the token before": best(of["previous"])}
    if reader.marked:
        chosen |= {"the token after": best(of["next"]), "its like": best(again["on it, again"])}
    else:
        chosen |= {"after its like": best(again["after it, again"]), "itself": best(of["own"])}
    return chosen | {"the first token": best(of["first"]), "evenly": best(of["evenness"])}


def maps(reader: Reader, found: dict[str, Any]) -> dict[str, Any]:
    """The twenty sentences, and a list read twice, in whole parts of 255."""
    heads, items = shown_heads(reader, found), []
    told = [(word, text) for word, two in PAIRS.items() for text in two] + [("", TWICE)] * (not reader.marked)
    for word, text in told:
        pieces = reader.pieces.encode(text)
        weights = reader.model(torch.tensor([piece.number for piece in pieces])).weights
        matrices = {name: (weights[layer, head] * 255).round().int().tolist() for name, (layer, head) in heads.items()}
        items.append({"word": word, "tokens": [piece.text for piece in pieces], "weights": matrices})
    return {"heads": heads, "items": items}


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    both = list(readers())
    uses, held = kept(RUNS / "triples.pt", lambda: triples(both))
    found: dict[str, Any] = {}
    stored: dict[str, Any] = {}
    for reader in both:
        of: dict[str, Any] = {}
        for name, make in (("scores", scores), ("repeated", repeated)):
            of[name] = kept(RUNS / f"{reader.name}, {name}.pt", lambda make=make, reader=reader: make(reader))
        print(reader.name, "scored", flush=True)
        if not reader.marked:
            of["off"] = kept(RUNS / "off.pt", lambda reader=reader, of=of: off(reader, of))
            of["sinks"] = kept(RUNS / "sinks.pt", lambda reader=reader: sinks(reader))
        of["meanings"] = kept(RUNS / f"{reader.name}, meanings.pt", lambda reader=reader: meanings(reader, uses, held))
        right = of["meanings"]["right"]
        print({name: round(sum(each) / len(each), 3) for name, each in right.items()}, flush=True)
        stored[reader.name], found[reader.name] = maps(reader, of), of
    counts = {"uses": len(uses), "triples": len(held), "words": len({triple.lemma for triple in held})}
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "examples": len(examples()),
        "meanings": counts,
        "models": found,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, content in (("metrics", metrics), ("maps", stored)):
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
