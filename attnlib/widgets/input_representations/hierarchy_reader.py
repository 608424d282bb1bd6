"""HierarchyReader: a review to type over, with the weight of each sentence, of each word in it, and a verdict."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch

from attnlib.data.reviews import tokenise
from attnlib.data.vocabulary import Vocabulary
from attnlib.widgets.input_representations.hierarchy_model import PageModel, unpacked_model
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import share
from attnlib.widgets.traits import Flag, Output, StateError, Texts, Whole

__all__ = ["PRESETS", "STORE", "HierarchyReader"]

STORE = Path(__file__).with_suffix(".json")  # model and ratings; book/experiments/hierarchy_reader.py writes it
LONGEST = 300  # characters of a sentence

_STORED: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
RATED = [each["text"] for each in _STORED["rated"]]


@cache
def _model(even: bool) -> tuple[PageModel, Vocabulary]:
    """The network; with context vectors of zeros, which make means, where its weights are to be even."""
    model = unpacked_model(_STORED["layers"])
    if even:
        for level in (model.levels.pool_words, model.levels.pool_sentences):
            level.context_vector.zero_()
    return model, Vocabulary(_STORED["words"])


PRESETS = [
    preset(
        "A mixed review",
        "Two sentences praise, two complain, and the verdict stays near the middle: change excellent into useless and "
        "watch all three, words, sentences and verdict.",
        sentences=[
            "I have owned this player for a year.",
            "The picture is excellent and it plays every disc.",
            "The remote is awful.",
            "It stopped working twice.",
            "Still, for the price it is a great buy.",
        ],
        sentence=1,
        even=False,
    ),
    preset(
        "One word, two ways",
        "Both sentences hold the same words but one, which has the largest weight in each: compare what is left for "
        "the words that they share.",
        sentences=["The sound of this phone is perfect.", "The sound of this phone is horrible."],
        sentence=0,
        even=False,
    ),
    preset(
        "Rated by people",
        "People found the second of these snippets the strongest, and the network gives it the least weight: a weight "
        "is not a rating.",
        sentences=RATED,
        sentence=0,
        even=False,
    ),
    preset(
        "Unknown words",
        "To the network all words that are marked are the same one: replace one of them by a word that it may know.",
        sentences=["Scrumptious gizmo!", "The gizmo hums."],
        sentence=0,
        even=False,
    ),
    preset(
        "One sentence alone",
        "Alone, a sentence has all of the weight, whatever it says: add another one after it.",
        sentences=["I would buy it again."],
        sentence=0,
        even=False,
    ),
]


class HierarchyReader(PresetWidget):
    """A review sentence by sentence: the weight of each, of its words, and what a trained network makes of it all.

    Args:
        sentences: from 1 to 12 texts, none longer than 300 characters; one without a word has no weight.
        sentence: the number of the one that can be typed over.
        even: all words of a sentence have the same weight, and all sentences, in place of what the network gives them.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed in float64 with attnlib: ``sentence_weights``, ``word_weights`` (a list for each sentence),
    ``energy`` and ``positive`` (its logistic: how sure the network is that the writer's verdict is positive). Where
    people rated a sentence of these very words, ``ratings`` has their mean, from -4 to 4; else None.

    >>> reader = HierarchyReader(sentences=["Great!", ""], sentence=1)
    >>> reader.sentence_weights, len(reader.word_weights[0]), reader.word_weights[1]
    ([1.0, 0.0], 2, [])
    """

    sentences = Texts(PRESETS[0]["state"]["sentences"], shape=(("", 1, 12),))
    sentence = Whole(0, below="sentences")
    even = Flag(False)
    presets = Presets(PRESETS)
    sentence_weights = Output("of each sentence")
    word_weights = Output("of each word of each sentence")
    energy = Output("above 0 for positive")
    positive = Output("how sure the network is that the verdict is positive")
    ratings = Output("people's mean rating of each sentence, None where nobody gave one")

    data: ClassVar = {**_STORED, "longest": LONGEST}
    sample: ClassVar = {"sentences": ["The manual is useless.", "I like the screen."]}

    def _check(self, state: dict[str, Any]) -> None:
        longest = max(map(len, state["sentences"]))
        if longest > LONGEST:
            raise StateError(f"sentences must be of at most {LONGEST} characters; got one of {longest}")

    def _compute(self) -> None:
        model, vocabulary = _model(self.even)
        words = [vocabulary.encode(tokenise(text)) for text in self.sentences]
        energy, found = model(words)
        assert found.words.weights is not None
        assert found.sentences.weights is not None
        weights = torch.split(found.words.weights, [len(sentence) for sentence in words])
        known = {each["text"]: each["rating"] for each in _STORED["rated"]}
        self.set_trait("sentence_weights", found.sentences.weights.tolist())
        self.set_trait("word_weights", [part.tolist() for part in weights])
        self.set_trait("energy", energy)
        self.set_trait("positive", 1 / (1 + math.exp(-energy)))
        self.set_trait("ratings", [known.get(text) for text in self.sentences])

    def summary(self) -> str:
        """Each sentence with its weight and its largest word, and the verdict."""

        def told(i: int) -> str:
            words, weights = tokenise(self.sentences[i]), self.word_weights[i]
            best = max(range(len(words)), key=weights.__getitem__, default=None)
            most = "" if best is None else f", most on “{words[best]}” ({share(weights[best])})"
            rated = "" if self.ratings[i] is None else f", rated {self.ratings[i]:+.2f} by people"
            return f"“{self.sentences[i]}” {share(self.sentence_weights[i])}{most}{rated}"

        said = "; ".join(told(i) for i in range(len(self.sentences)))
        return f"positive with probability {share(self.positive)}{', weights even' if self.even else ''}: {said}"
