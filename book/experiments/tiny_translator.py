"""Train the tiny translator that DecoderStepper starts with; store its weights beside the widget, and in ``results``
which code they are of.

    python book/experiments/tiny_translator.py

English noun phrases and verbs into French: a colour comes after its noun, ``small`` before it, and articles and
adjectives agree with the noun's gender. 3,000 of the 3,600 sentences are trained on; the rest are to be translated
without a fault. Under a minute on a CPU.
"""

import hashlib
import itertools
import json
import random
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

from attnlib.recurrent.rnnsearch import RNNsearch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

METRICS = Path(__file__).parent / "results" / "tiny_translator" / "metrics.json"
STORE = Path(__file__).parents[2] / "attnlib" / "widgets" / "recurrent" / "decoder_stepper.json"
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]
NOUNS = {"cat": ("chat", 0), "dog": ("chien", 0), "house": ("maison", 1), "car": ("voiture", 1)}
ARTICLES = {"the": ("le", "la"), "a": ("un", "une")}
COLOURS = {"red": ("rouge", "rouge"), "black": ("noir", "noire"), "green": ("vert", "verte")}
SMALL = ("petit", "petite")
VERBS = {"sees": "voit", "washes": "lave", "finds": "trouve"}
SIZES = {"embedding": 10, "hidden": 14, "alignment": 10, "maxout": 10}
STEPS, BATCH, SEED = 1500, 64, 0


def phrases() -> list[tuple[list[str], list[str]]]:
    """Every noun phrase, English and French."""
    found = []
    for article, adjective, noun in itertools.product(ARTICLES, [None, "small", *COLOURS], NOUNS):
        word, gender = NOUNS[noun]
        english = [article, *([adjective] if adjective else []), noun]
        french = [ARTICLES[article][gender], *([SMALL[gender]] if adjective == "small" else []), word]
        found.append((english, french + ([COLOURS[adjective][gender]] if adjective in COLOURS else [])))
    return found


def sentences() -> list[tuple[list[str], list[str]]]:
    """Noun phrase, verb, noun phrase; the two nouns differ."""
    return [
        ([*subject, verb, *thing], [*one, VERBS[verb], *other])
        for (subject, one), verb, (thing, other) in itertools.product(phrases(), VERBS, phrases())
        if subject[-1] != thing[-1]
    ]


def padded(rows: list[list[int]]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


Coded = list[tuple[list[int], list[int]]]


def prepared() -> tuple[list[list[str]], Coded, Coded]:
    """The two vocabularies, and the sentences as numbers: those to train with and those that are not seen."""
    pairs = sentences()
    random.Random(SEED).shuffle(pairs)
    words = [sorted({word for pair in pairs for word in pair[side]}) for side in (0, 1)]
    vocabularies = [SPECIAL + side for side in words]
    index = [{word: i for i, word in enumerate(side)} for side in vocabularies]
    coded = [([index[0][w] for w in x] + [2], [index[1][w] for w in y] + [2]) for x, y in pairs]
    return vocabularies, coded[:3000], coded[3000:]


def train() -> tuple[RNNsearch, list[str], list[str], float]:
    """The trained model, its two vocabularies, and the share of unseen sentences that it translates word for word."""
    vocabularies, seen, unseen = prepared()
    torch.manual_seed(SEED)
    model = RNNsearch(len(vocabularies[0]), len(vocabularies[1]), **SIZES)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.xavier_uniform_(parameter)
    torch.nn.init.normal_(model.align_vector, std=0.5)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    draw = random.Random(SEED)
    for step in range(STEPS):
        batch = draw.sample(seen, BATCH)
        source, target = padded([x for x, _ in batch]), padded([y for _, y in batch])
        begun = F.pad(target[:, :-1], (1, 0), value=1)
        logits = model(source, source != 0, begun).logits
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=0)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 249:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)
    return model, *vocabularies, faultless(model, unseen)


@torch.no_grad()
def faultless(model: RNNsearch, coded: Coded) -> float:
    """The share of sentences whose greedy translation is the one wanted."""
    source = padded([x for x, _ in coded])
    encoded = model.encode(source, source != 0)
    state, word, written = encoded.state, torch.ones(len(coded), dtype=torch.long), []
    for _ in range(10):
        step = model.step(word, state, encoded)
        state, word = step.state, step.logits.argmax(-1)
        written.append(word)
    rows = torch.stack(written, 1).tolist()
    return sum(row[: len(y)] == y for row, (_, y) in zip(rows, coded, strict=True)) / len(coded)


def main() -> None:
    model, source_words, target_words, share = train()
    print(f"{share:.4f} of the sentences that it has not seen are translated word for word")
    weights = {
        name: [float(f"{x:.6g}") for x in tensor.flatten().tolist()] for name, tensor in model.state_dict().items()
    }
    stored = {"sizes": SIZES, "source_words": source_words, "target_words": target_words, "weights": weights}
    STORE.write_text(json.dumps(stored, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{STORE.name}: {STORE.stat().st_size} bytes")
    of = {**provenance.stamp(Path(__file__)), "faultless": share, "weights": digest()}
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(of, indent=1) + "\n", encoding="utf-8")


def digest() -> str:
    """Of the stored weights."""
    return hashlib.sha256(STORE.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
