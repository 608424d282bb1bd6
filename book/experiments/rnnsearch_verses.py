"""Look at every test verse with the RNNsearch that is kept, with the diagonal and with IBM Model 1, and find floors.

    python book/experiments/rnnsearch_verses.py

It trains no network: it reads ``results/rnnsearch/model.pt`` and takes about a minute. What the book reads is written
to ``results/rnnsearch_verses``: counts of each verse, so that the page can say how much they vary from verse to verse,
and what the Greek words of the verses kept mean.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnlib.alignment import IBMModel1, Link, diagonal, links_of
from attnlib.data import Pair, Vocabulary, new_testament

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book.experiments import rnnsearch

RESULTS = rnnsearch.HERE / "results" / "rnnsearch_verses"
NEAR = 2  # places from the diagonal at which a guess is made
COMMONEST = "the and of to a in that you he is i for him they it who with was be his not but this"  # of the English
SMALL = frozenset(COMMONEST.split())
Links = frozenset[Link]


def kept() -> Any:
    """What is committed beside the model: its vocabularies, and the verses that the page shows."""
    return json.loads((rnnsearch.RESULTS / "heldout.json").read_text("utf-8"))


def kept_model() -> tuple[Any, tuple[Vocabulary, Vocabulary]]:
    """The model that is committed, and its vocabularies."""
    held = kept()
    words = Vocabulary(held["source words"]), Vocabulary(held["target words"])
    model = rnnsearch.build(rnnsearch.RNNsearch, rnnsearch.SETTING, (len(words[0]), len(words[1])))
    state = torch.load(rnnsearch.RESULTS / "model.pt", map_location="cpu", weights_only=True)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval(), words


def unknown_for(words: Vocabulary, sentence: Sequence[str]) -> tuple[str, ...]:
    """The sentence as the model reads it."""
    known = {*words.words}
    return tuple(word if word in known else "<unk>" for word in sentence)


# --- counts of a verse ------------------------------------------------------------------------------------------------


def beside(pair: Pair, links: Links) -> list[int]:
    """How many linked words are right, how many one or two places beside a right word, how many further off."""
    found = [0, 0, 0]
    for t, s in links:
        right = [i for u, i in pair.links if u == t]
        if right:
            far = min(abs(s - i) for i in right)
            found[0 if not far else 1 if far <= NEAR else 2] += 1
    return found


def off_the_diagonal(pair: Pair, links: Links) -> list[float]:
    """Of the words that the diagonal gets wrong: how many there are, and how many are right, on the mean,
    as they were found; by a guess near the diagonal; and with the verse's moves off the diagonal dealt out anew.
    """
    straight, mine = dict(links_of(diagonal(len(pair.target), len(pair.source)))), dict(links)
    moves, last = [mine[t] - straight[t] for t in straight if t in mine], len(pair.source) - 1
    counts = [0.0, 0.0, 0.0, 0.0]
    for t, s in straight.items():
        if (t, s) in pair.links:
            continue
        around = [i for i in range(max(0, s - NEAR), min(last, s + NEAR) + 1) if i != s]
        dealt = [min(max(s + move, 0), last) for move in moves]
        counts[0] += 1
        counts[1] += (t, mine.get(t)) in pair.links
        counts[2] += _share(around, lambda i, t=t: (t, i) in pair.links)
        counts[3] += _share(dealt, lambda i, t=t: (t, i) in pair.links)
    return [round(count, 4) for count in counts]


def _share(items: Sequence[int], test: Callable[[int], bool]) -> float:
    return sum(map(test, items)) / len(items) if items else 0.0


def by_kind(pairs: Sequence[Pair], links: dict[str, Links], words: Vocabulary) -> dict[str, list[int]]:
    """Of words that people linked: how many there are and how many are right, by what kind of word it is."""
    known, count, right = {*words.words}, Counter[str](), Counter[str]()
    for pair in pairs:
        for t, s in links[pair.key]:
            partners = [pair.source[i] for u, i in pair.links if u == t]
            if not partners:
                continue
            small = pair.target[t] in SMALL
            kinds = ["all", "small" if small else "other"]
            if not small:
                kinds.append("several" if any(pair.source.count(word) > 1 for word in partners) else "once")
                kinds.append("known" if pair.target[t] in known else "unknown")
            for kind in kinds:
                count[kind] += 1
                right[kind] += (t, s) in pair.links
    return {kind: [count[kind], right[kind]] for kind in sorted(count)}


# --- floors -----------------------------------------------------------------------------------------------------------


def of_another_verse(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """To each verse the reference of the next longer one: what can be had without reading the source."""
    ordered = sorted(pairs, key=lambda pair: (len(pair.source), pair.key))
    following = [*ordered[1:], ordered[-2]]
    return {pair.key: list(other.target) for pair, other in zip(ordered, following, strict=True)}


def quality(pairs: Sequence[Pair], said: dict[str, list[str]]) -> dict[str, Any]:
    parts = [rnnsearch.quality(some, said) for some in rnnsearch.by_length(pairs)]
    return {"all": rnnsearch.quality(pairs, said), "by length": parts}


# --- all of it --------------------------------------------------------------------------------------------------------


def aligners(model: Any, words: tuple[Vocabulary, Vocabulary]) -> dict[str, dict[str, Links]]:
    """The links of each aligner, by verse. Each links every English word, but the one that may say *nothing*."""
    training, _, test = rnnsearch.corpus("lemmas")
    weights, _ = rnnsearch.alignments(model, test, words)
    found = {
        "RNNsearch": {pair.key: rnnsearch.links(weights[pair.key]) for pair in test},
        "diagonal": {pair.key: links_of(diagonal(len(pair.target), len(pair.source))) for pair in test},
    }
    for longest in rnnsearch.LONGEST:
        ibm = rnnsearch.ibm_model_1(rnnsearch.short_enough(training, longest))
        name = f"IBM Model 1, to {longest}"
        found[name] = {pair.key: links_of(ibm.align(pair.source, pair.target)) for pair in test}
        found[f"{name}, or nothing"] = {pair.key: ibm.links(pair.source, pair.target) for pair in test}
    short = rnnsearch.short_enough(training, max(rnnsearch.LONGEST))
    read = [(unknown_for(words[0], pair.source), unknown_for(words[1], pair.target)) for pair in short]
    ibm = IBMModel1(read, n_iterations=5)
    found[f"IBM Model 1, to {max(rnnsearch.LONGEST)}, words of RNNsearch"] = {
        pair.key: links_of(ibm.align(unknown_for(words[0], pair.source), unknown_for(words[1], pair.target)))
        for pair in test
    }
    return found


def of_rows(pairs: Sequence[Pair], weights: dict[str, Tensor]) -> dict[str, list[list[int]]]:
    """By how many steps later a word's row is read: of each verse, links made, those right, and those people drew.

    The state that asks two steps later has read the word. The last word has no such row and is left out of all three.
    """
    found: dict[str, list[list[int]]] = {}
    for shift in (0, 1, 2):
        found[str(shift)] = []
        for pair in pairs:
            last = len(pair.target) - 1
            made = {(t, s) for t, s in rnnsearch.links(weights[pair.key], shift) if t < last}
            drawn = {(t, s) for t, s in pair.links if t < last}
            found[str(shift)].append([len(made), len(made & drawn), len(drawn)])
    return found


def end_mark(weights: Sequence[Tensor]) -> float:
    """The mean weight of a word's row on the end mark of the source."""
    return float(torch.cat([each[:-1, -1] for each in weights]).mean())


def main() -> None:
    model, words = kept_model()
    _, dev, test = rnnsearch.corpus("lemmas")
    links = aligners(model, words)
    weights, _ = rnnsearch.alignments(model, test, words)
    said = rnnsearch.translations(model, test, words)
    written = [word for sentence in said.values() for word in sentence]
    moved = ("RNNsearch", f"IBM Model 1, to {max(rnnsearch.LONGEST)}")
    metrics = {
        **provenance.stamp(Path(__file__)),
        "model": hashlib.sha256((rnnsearch.RESULTS / "model.pt").read_bytes()).hexdigest(),
        "trained by": json.loads((rnnsearch.RESULTS / "metrics.json").read_text("utf-8"))["script"],
        "keys": [pair.key for pair in test],
        "greek": [len(pair.source) for pair in test],
        "linked by people": [len(pair.links) for pair in test],
        "links": {name: [[len(x[p.key]), len(x[p.key] & p.links)] for p in test] for name, x in links.items()},
        "beside": {name: [beside(pair, links[name][pair.key]) for pair in test] for name in (*moved, "diagonal")},
        "off the diagonal": {name: [off_the_diagonal(pair, links[name][pair.key]) for pair in test] for name in moved},
        "kinds of words": by_kind(test, links["RNNsearch"], words[1]),
        "kinds of words by the diagonal": by_kind(test, links["diagonal"], words[1]),
        "rows later": of_rows(test, weights),
        "weight on the end mark": round(end_mark(list(weights.values())), 4),
        "judged by": {str(longest): len(rnnsearch.short_enough(dev, longest)) for longest in rnnsearch.LONGEST},
        "unknown": {
            "in the source": _unknown(words[0], (pair.source for pair in test)),
            "in the reference": _unknown(words[1], (pair.target for pair in test)),
            "said": round(written.count("<unk>") / len(written), 4),
        },
        "quality": {"another verse": quality(test, of_another_verse(test)), "RNNsearch": quality(test, said)},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, ensure_ascii=False) + "\n", "utf-8")
    said_by_greek = new_testament.glosses()
    glosses = {verse["key"]: said_by_greek[verse["key"]] for verse in kept()["verses"]}
    (RESULTS / "glosses.json").write_text(json.dumps(glosses, ensure_ascii=False) + "\n", "utf-8")
    print(metrics["quality"], metrics["kinds of words"], metrics["unknown"], sep="\n")


def _unknown(words: Vocabulary, sentences: Any) -> float:
    known, every = {*words.words}, [word for sentence in sentences for word in sentence]
    return round(sum(word not in known for word in every) / len(every), 4)


if __name__ == "__main__":
    main()
