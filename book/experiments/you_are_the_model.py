"""Write what YouAreTheModel compares with: three paragraphs, gaze on them, a head's map, and a review of ours.

    python book/experiments/you_are_the_model.py

The head is the one that ``gaze.py`` chose on the eleven other paragraphs. Maps are stored in whole parts of a thousand
of their largest. The paragraphs are of OneStopQA [berzak2020], CC BY-SA 4.0, and the gaze of OneStop [berzak2025],
CC BY 4.0. The review is ours; its map is that of the network of HierarchyReader, and ratings of its words are of
vaderSentiment [hutto2014].
"""

import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from attnlib.data import reviews
from attnlib.frontiers.selection import top
from attnlib.widgets.input_representations.hierarchy_reader import HierarchyReader

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book.experiments import gaze as script

STORE = Path(__file__).resolve().parents[2] / "attnlib/widgets/frontiers/you_are_the_model.json"
SHOWN = {
    "Wolf": "On the Trail of the Wolf, 4",
    "Minister": "On the Trail of the Wolf, 6",
    "Shopper": "The Secrets of the Mystery Shopper, 2",
}
MODEL, CHOSEN = "SmolLM2", "by paragraph, sum"
# Sentences of ours, a part of speech for each word and mark.
REVIEW = [
    ("This phone is a joy .", "DET NOUN AUX DET NOUN PUNCT"),
    ("The screen is bright and the sound is great .", "DET NOUN AUX ADJ CCONJ DET NOUN AUX ADJ PUNCT"),
    ("I read that the battery is terrible and weak ,", "PRON VERB SCONJ DET NOUN AUX ADJ CCONJ ADJ PUNCT"),
    ("but mine had no such problem , and I love it .", "CCONJ PRON VERB DET ADJ NOUN PUNCT CCONJ PRON VERB PRON PUNCT"),
]
NAMES = {
    "nothing": "nothing yet",
    "first person": "first person’s gaze",
    "second person": "second person’s gaze",
    "model": "a model’s attention",
    "word length": "word length",
}


def parts(scores: Tensor) -> list[int]:
    whole: list[int] = (1000 * scores / scores.max()).round().int().tolist()
    return whole


def places(chosen: Tensor) -> list[int]:
    found: list[int] = chosen.nonzero().flatten().tolist()
    return found


def paragraph(key: str, of: list[script.Text], reader: script.Reader, chosen: list[Any]) -> dict[str, Any]:
    (i,) = (i for i, text in enumerate(of) if text.key == key)
    text, (source, layer, head) = of[i], chosen[i]
    maps = script.received(reader, text.question, text.words)[0, reader.sources.index(source)]
    heads = reader.model.layers[0].own.heads
    length = text.features["length"]
    return {
        "question": text.question,
        "words": text.words,
        "kinds": text.parts.tolist(),
        "maps": {
            "first person": text.people[0].int().tolist(),
            "second person": text.people[1].int().tolist(),
            "model": parts(maps[heads * layer + head]),
            "word length": length.int().tolist(),
        },
        "polarity": [],
        "sentiment": 0,
        "answers": places(text.answers),
        "longest": places(top(length, len(length) // 5)),
        "source": (
            f"“{key.rpartition(', ')[0]}”, OneStopQA, CC BY-SA 4.0; gaze OneStop, CC BY 4.0; "
            f"model: SmolLM2, layer {layer + 1}, head {head + 1}, chosen on other paragraphs as nearest to gaze."
        ),
    }


def review() -> dict[str, Any]:
    given = {word: fmean(ratings) for word, ratings in reviews.lexicon().items()}
    words = [word for sentence, _ in REVIEW for word in sentence.split()]
    widget = HierarchyReader(sentences=[sentence for sentence, _ in REVIEW])
    weights = [s * w for s, ws in zip(widget.sentence_weights, widget.word_weights, strict=True) for w in ws]
    assert len(weights) == len(words)
    polarity = [(r > 0) - (r < 0) if abs(r := given.get(word.lower(), 0)) >= 1 else 0 for word in words]
    return {
        "question": "Is the writer for it or against it? (The writer is for it.)",
        "words": words,
        "kinds": [script.PARTS.index(part) for _, told in REVIEW for part in told.split()],
        "maps": {"model": parts(torch.tensor(weights)), "word length": [len(word) for word in words]},
        "polarity": polarity,
        "sentiment": 1,
        "feeling": [i for i, sign in enumerate(polarity) if sign],
        "source": "A review of ours; feeling words: ten people’s ratings (vaderSentiment); model of HierarchyReader.",
    }


@torch.no_grad()
def main() -> None:
    of = script.texts()
    (reader,) = (each for each in script.readers() if each.name == MODEL)
    told = json.loads((script.RESULTS / "metrics.json").read_text("utf-8"))["models"][MODEL]["chosen"][CHOSEN]
    texts = {name: paragraph(key, of, reader, told) for name, key in SHOWN.items()} | {"Review": review()}
    made = {"texts": texts, "parts": script.PARTS, "names": list(NAMES.items())}
    STORE.write_text(json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{STORE.name}: {STORE.stat().st_size} bytes", {name: len(each["words"]) for name, each in texts.items()})
    print(texts["Review"]["polarity"], texts["Review"]["maps"]["model"])


if __name__ == "__main__":
    main()
