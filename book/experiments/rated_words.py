"""Do maps of a network that learned the sign of sentences fall on the words that people rated?

    python book/experiments/rated_words.py

A recurrent reader with attention learns from sentences about films to say whether people found them positive. On others
its weights are held against ratings of single words, by ten other people, who saw each word alone: does a word that
was rated strongly outrank one that was not? Beside it: a network that was not trained, random weights, how rare the
word is in the sentences to learn from, and its length; sixty untrained networks, of which the first are those that the
trained ones started from, and sixty random maps. And the cross-sentiment selection rate: how many words of the
other sign are among the largest, for each of the sentence's own; these are as many as are rated. Five are trained.
"""

import json
import random
import sys
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlib.data import reviews, split
from attnlib.data.vocabulary import Vocabulary
from attnlib.frontiers.selection import top
from attnlib.frontiers.similarity import auc, cross_sentiment
from attnlib.input_representations.hierarchical import HierarchicalAttention
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "rated_words", HERE / "results" / "rated_words"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "untrained": 60,
    "d": 24,
    "hidden": 16,
    "dropout": 0.3,
    "steps": 300,
    "batch": 64,
    "rate": 0.008,
    "sure": 0.5,
    "least": 2,
    "strong": 1.0,
}


class Reader(nn.Module):
    """Word vectors, a recurrent reader in both directions, one attention over the words, and a number."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, SETTING["d"])
        self.levels = HierarchicalAttention(SETTING["d"], SETTING["hidden"])
        self.answer = nn.Linear(2 * SETTING["hidden"], 1)

    def forward(self, sentences: list[list[int]]) -> tuple[Tensor, Any]:
        """Energies ``(sentence,)``, above 0 for positive, and what both levels gave; each sentence is a document."""
        tokens = torch.tensor([word for sentence in sentences for word in sentence])
        found = self.levels(
            F.dropout(self.vectors(tokens), SETTING["dropout"], self.training),
            words=torch.tensor([len(sentence) for sentence in sentences]),
            sentences=torch.ones(len(sentences), dtype=torch.long),
        )
        context = F.dropout(found.context, SETTING["dropout"], self.training)
        return self.answer(context).squeeze(-1), found


def sentences() -> tuple[list[reviews.Sentence], list[reviews.Sentence]]:
    """To learn from, and to test with: those that people were sure of."""
    parts = split(reviews.films())

    def sure(part: list[reviews.Review]) -> list[reviews.Sentence]:
        return [r.sentences[0] for r in part if abs(r.sentences[0].rating) >= SETTING["sure"]]

    return sure(parts.train), sure(parts.test)


def fresh(seed: int, words: int) -> Reader:
    """An untrained reader, the same whatever was drawn before."""
    torch.manual_seed(seed)
    return Reader(words)


def trained(seed: int, documents: list[list[int]], signs: list[bool], words: int) -> dict[str, Tensor]:
    model, order, queue = fresh(seed, words), random.Random(seed), []

    def loss(step: int) -> Tensor:
        nonlocal queue
        while len(queue) < SETTING["batch"]:
            queue += order.sample(range(len(documents)), len(documents))
        now, queue = queue[: SETTING["batch"]], queue[SETTING["batch"] :]
        asked = torch.tensor([float(signs[i]) for i in now])
        return F.binary_cross_entropy_with_logits(model([documents[i] for i in now])[0], asked)

    model.train()
    descend(model.parameters(), loss, steps=SETTING["steps"], rate=SETTING["rate"], clip=1.0)
    return model.state_dict()


def padded(rows: list[Tensor], value: float = 0) -> Tensor:
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)


class Judged:
    """The test sentences as rows, what people gave their words, and how any map does on them."""

    def __init__(self, test: list[reviews.Sentence], vocabulary: Vocabulary, counts: Counter[str]) -> None:
        given = {word: fmean(ratings) for word, ratings in reviews.lexicon().items()}
        self.words = [sentence.words for sentence in test]
        self.mask = padded([torch.ones(len(words), dtype=torch.bool) for words in self.words])
        rating = padded([torch.tensor([given.get(word, 0.0) for word in words]) for words in self.words])
        self.polarity = rating.sign().long() * (rating.abs() >= SETTING["strong"])
        self.rated = self.polarity != 0
        self.sentiment = torch.tensor([1 if sentence.rating > 0 else -1 for sentence in test])
        self.rarity = padded([torch.tensor([-float(counts[word]) for word in words]) for words in self.words])
        self.length = padded([torch.tensor([float(len(word)) for word in words]) for words in self.words])

    def __call__(self, scores: Tensor) -> dict[str, float]:
        """The mean area over sentences with words of both kinds; both rates; the share of selected that is rated."""
        chosen = top(scores, self.rated.sum(-1), mask=self.mask)
        area = auc(self.rated, scores.double(), mask=self.mask)
        return {"auc": float(area[~area.isnan()].mean()), **self.rates(chosen)}

    def rates(self, chosen: Tensor) -> dict[str, float]:
        found = cross_sentiment(chosen, self.polarity, self.sentiment, mask=self.mask)
        hit = (chosen & self.rated).sum() / chosen.sum()
        return {"positive": float(found.positive), "negative": float(found.negative), "rated": float(hit)}


@torch.no_grad()
def read(model: Reader, documents: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Energies ``(sentence,)`` and weights ``(sentence, word)``."""
    energies, found = model.eval()(documents)
    return energies, padded(list(found.words.weights.split([len(document) for document in documents])))


def main() -> None:
    torch.set_num_threads(1)
    train, test = sentences()
    counts = Counter(word for sentence in train for word in sentence.words)
    vocabulary = Vocabulary.build((sentence.words for sentence in train), least=SETTING["least"])
    documents = [vocabulary.encode(sentence.words) for sentence in train]
    signs = [sentence.rating > 0 for sentence in train]
    judged, held = Judged(test, vocabulary, counts), [vocabulary.encode(sentence.words) for sentence in test]
    arms: dict[str, list[dict[str, float]]] = {}
    right = []
    for seed in range(SETTING["untrained"]):
        arms.setdefault("not trained", []).append(judged(read(fresh(seed, len(vocabulary)), held)[1]))
        drawn = torch.rand(judged.mask.shape, generator=torch.Generator().manual_seed(seed))
        arms.setdefault("random", []).append(judged(drawn))
    for seed in range(SETTING["seeds"]):
        model = fresh(seed, len(vocabulary))
        model.load_state_dict(
            kept(RUNS / f"{seed}.pt", lambda seed=seed: trained(seed, documents, signs, len(vocabulary)))
        )
        energies, weights = read(model, held)
        right.append(((energies > 0) == (judged.sentiment > 0)).double().mean().item())
        arms.setdefault("trained", []).append(judged(weights))
        print(seed, round(right[-1], 3), {name: each[seed] for name, each in arms.items()}, flush=True)
    arms |= {name: [judged(each)] for name, each in (("rarity", judged.rarity), ("length", judged.length))}
    arms["every rated word"] = [judged.rates(judged.rated)]
    print({name: each for name, each in arms.items() if len(each) == 1})
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "sentences": {"train": len(train), "test": len(test), "positive": sum(s.rating > 0 for s in test)},
        "both kinds": int((judged.rated.any(-1) & (~judged.rated & judged.mask).any(-1)).sum()),
        "right": right,
        "arms": arms,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    short = json.loads(json.dumps(metrics), parse_float=lambda x: round(float(x), 5))
    text = json.dumps(short, separators=(",", ":"))
    (RESULTS / "metrics.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
