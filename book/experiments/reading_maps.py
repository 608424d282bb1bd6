"""Write the maps that MapReader asks about, and what a sharp row of a map says of the network's answer.

    python book/experiments/reading_maps.py

Nothing is trained: the networks are those that RNNsearch's page, the tiny translator and the page on real heads keep.
The maps go beside the widget. For each test verse it is written down how large the largest weight of each row is, how
sure the network is of its next word, and whether word and weight are right. A minute on one core.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnlib.data import Pair, Vocabulary, collate
from attnlib.recurrent.rnnsearch import RNNsearch
from attnlib.widgets.map_reader import STORE
from attnlib.widgets.maps import sentence
from attnlib.widgets.recurrent.decoder_stepper import tiny

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book.experiments import rnnsearch

HERE = Path(__file__).parent
RESULTS, HEADS = HERE / "results" / "reading_maps", HERE / "results" / "real_heads"
PADDING = 3
Words = tuple[Vocabulary, Vocabulary]


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def kept_model() -> tuple[RNNsearch, Words]:
    """RNNsearch as the book keeps it, and its words."""
    held, setting = read(rnnsearch.RESULTS / "heldout.json"), read(rnnsearch.RESULTS / "metrics.json")["setting"]
    words = Vocabulary(held["source words"]), Vocabulary(held["target words"])
    model = rnnsearch.build(RNNsearch, setting, (len(words[0]), len(words[1])))
    state = torch.load(rnnsearch.RESULTS / "model.pt", weights_only=True)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    assert isinstance(model, RNNsearch)
    return model.eval(), words


# --- sharp and sure ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def rows_of(model: RNNsearch, pair: Pair, words: Words) -> dict[str, Tensor]:
    """Of each word of a verse: its weights, how sure the network is of its best word, and what is right."""
    batch = collate([pair], *words)
    given = model(batch.source, batch.source_mask, batch.target_in)
    count = len(pair.target)
    sure, best = given.logits[0, :count].softmax(-1).max(-1)
    weights = given.weights[0, :count]
    linked = [(t, s) in pair.links for t, s in enumerate(weights.argmax(-1).tolist())]
    return {
        "weights": weights,
        "sharp": weights.amax(-1),
        "sure": sure,
        "right": best == batch.target_out[0, :count],
        "linked": torch.tensor(linked),
    }


def measured(model: RNNsearch, pairs: list[Pair], words: Words) -> dict[str, Any]:
    """Of all verses, word after word: hundredths of ``sharp`` and ``sure``, and 1 for what is right."""
    found: dict[str, list[int]] = {name: [] for name in ("sharp", "sure", "right", "linked")}
    for pair in pairs:
        rows = rows_of(model, pair, words)
        for name in ("sharp", "sure"):
            found[name] += rows[name].mul(100).round().int().tolist()
        for name in ("right", "linked"):
            found[name] += rows[name].int().tolist()
    lengths = [len(pair.target) for pair in pairs]
    return {"words": lengths, **found, **{name: "".join(map(str, found[name])) for name in ("right", "linked")}}


# --- the maps that are asked about ------------------------------------------------------------------------------------


def head(model: str, item: int, role: str) -> tuple[list[str], Tensor]:
    """A stored map of a real head: its tokens and weights."""
    stored = read(HEADS / "maps.json")[model]["items"][item]
    weights = torch.tensor(stored["weights"][role]).double()
    return [token.removeprefix("Ġ") for token in stored["tokens"]], weights / weights.sum(-1, keepdim=True)


@torch.no_grad()
def translated(text: str, longest: int = 12) -> tuple[list[str], Tensor, list[float]]:
    """What the tiny translator writes for a sentence, its weights on the words, and how sure it is of each word."""
    model, source, target = tiny()
    model.eval()
    row = torch.tensor([[source.index(word) for word in text.split()] + [2]])
    encoded = model.encode(row, row > 0)
    state, word, said, weights, sure = encoded.state, target.index("<bos>"), [], [], []
    for _ in range(longest):
        step = model.step(torch.tensor([word]), state, encoded)
        state, (chance, best) = step.state, step.logits.softmax(-1)[0].max(-1)
        word = int(best)
        if target[word] == "<eos>":
            break
        said.append(target[word])
        weights.append(step.weights[0])
        sure.append(chance.item())
    return said, torch.stack(weights), sure


@torch.no_grad()
def padded(model: RNNsearch, pair: Pair, words: Words) -> Tensor:
    """A verse's weights where the end of the row is filled up and nothing hides that."""
    batch = collate([pair], *words)
    source = torch.nn.functional.pad(batch.source, (0, PADDING))
    weights: Tensor = model(source, torch.ones_like(source, dtype=torch.bool), batch.target_in).weights[0]
    return weights[: len(pair.target)]


def titled(title: str) -> Pair:
    """A verse of those that RNNsearch keeps."""
    verse = next(each for each in read(rnnsearch.RESULTS / "heldout.json")["verses"] if each["title"] == title)
    links = frozenset((t, s) for t, s in verse["links"])
    return Pair(verse["key"], tuple(verse["source"]), tuple(verse["target"]), links)


def of_verses() -> tuple[dict[str, Any], dict[str, Any]]:
    """A verse with padding that nothing hides, its columns left out; and one whose rows say how sure they are."""
    (model, words), glosses = kept_model(), read(HERE / "results" / "rnnsearch_verses" / "glosses.json")
    told = {"row_language": "en", "column_language": "grc"}
    verse, other = titled("Acts 4:20"), titled("Matthew 2:17")
    columns = {pair: {"columns": [*pair.source, "end"], "glosses": [*glosses[pair.key], ""]} for pair in (verse, other)}
    kept = padded(model, verse, words)[:, : len(verse.source) + 1]
    cut = sentence(verse.target, matrices={"RNNsearch": kept}, **columns[verse], **told)
    rows = rows_of(model, other, words)
    names = [f"{word} {sure:.2f}" for word, sure in zip(other.target, rows["sure"].tolist(), strict=True)]
    return cut, sentence(names, matrices={"RNNsearch": rows["weights"]}, **columns[other], **told)


def of_heads() -> tuple[dict[str, Any], ...]:
    """A spread head; one that rests, drawn the other way round; five and their mean; one of a decoder that rests."""
    told = {"row_language": "en", "column_language": "en"}
    heads = read(HEADS / "maps.json")["MiniLM"]["heads"]
    named = {role: f"head {layer + 1}.{head + 1}" for role, (layer, head) in heads.items()}
    found = {role: head("MiniLM", 0, role) for role in named}
    tokens, even = found["evenly"]
    mean = torch.stack([weights for _, weights in found.values()]).mean(0)
    five = {"mean of five heads": mean} | {named[role]: weights for role, (_, weights) in found.items()}
    listed, rest = head("SmolLM2", 20, "the first token")
    seen = torch.ones_like(rest, dtype=torch.bool).tril()
    turned = found["the first token"][1].T
    return (
        sentence(tokens, tokens, {named["evenly"]: even}, **told),
        sentence(tokens, tokens, {"a map without names": turned}, **told),
        sentence(tokens, tokens, five, **told),
        sentence(listed, listed, {"a head of SmolLM2": rest}, mask=seen, **told),
    )


def of_translations() -> tuple[dict[str, Any], dict[str, Any]]:
    """The tiny translator's weights with a circle for each word's translation; and with the last noun exchanged."""
    told = {"row_language": "fr", "column_language": "en"}
    words = {noun: f"the red cat sees a black {noun}".split() for noun in ("house", "cat")}
    (said, weights, _), (_, others, _) = (translated(" ".join(each)) for each in words.values())
    links = [(0, 0), (1, 2), (2, 1), (3, 3), (4, 4), (5, 6), (6, 5)]
    both = {f"… a black {noun}": each for noun, each in zip(words, (weights, others), strict=True)}
    rows = [*said[:4], "un(e)", "noun", "noir(e)"]
    return (
        sentence(said, [*words["house"], "end"], {"tiny translator": weights}, links=links, **told),
        sentence(rows, [*words["house"][:-1], "noun", "end"], both, **told),
    )


def maps() -> list[dict[str, Any]]:
    """One for each question of MapReader, in its order."""
    (spread, turned, five, rest), (cut, sure) = of_heads(), of_verses()
    return [spread, turned, cut, five, rest, sure, *of_translations()]


def main() -> None:
    made = json.dumps({"maps": maps()}, ensure_ascii=False, separators=(",", ":"))
    STORE.write_text(made + "\n", encoding="utf-8")
    pairs = rnnsearch.corpus(read(rnnsearch.RESULTS / "metrics.json")["setting"]["source"])[2]
    model, words = kept_model()
    found = {**provenance.stamp(Path(__file__)), "verses": len(pairs), **measured(model, pairs, words)}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
