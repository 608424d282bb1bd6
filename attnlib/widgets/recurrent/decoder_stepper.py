"""DecoderStepper: a tiny RNNsearch writes a translation, a step at a time, with every number of the step."""

import json
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch

from attnlib.data import BOS, EOS
from attnlib.recurrent.rnnsearch import Encoded, RNNsearch, Step
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.stepper import Stepper
from attnlib.widgets.text import share
from attnlib.widgets.traits import Flag, Output, StateError, Texts, Whole

__all__ = ["MAX_WORDS", "PRESETS", "SENTENCES", "STORE", "DecoderStepper"]

MAX_WORDS = 12
STORE = Path(__file__).with_suffix(".json")
SENTENCES = ["the red cat sees a black house", "the black house finds a small cat", "the green dog finds the car"]
_MARKS = {BOS: "⟨begin⟩", EOS: "⟨end⟩"}  # as the book writes them
# What the page computes a step from, and where RNNsearch keeps it.
_PARTS = {
    "embedding": "target_embedding.weight",
    "align_state": "align_state.weight",
    "align_vector": "align_vector",
    "input": "unit.input.weight",
    "input_bias": "unit.input.bias",
    "gates_recurrent": "unit.gates_recurrent",
    "recurrent": "unit.recurrent",
    "context": "unit.context.weight",
    "output_state": "output_state.weight",
    "output_state_bias": "output_state.bias",
    "output_word": "output_word.weight",
    "output_context": "output_context.weight",
    "output": "output.weight",
    "output_bias": "output.bias",
}


@cache
def tiny() -> tuple[RNNsearch, tuple[str, ...], tuple[str, ...]]:
    """The tiny translator from English into French, and its two vocabularies."""
    stored = json.loads(STORE.read_text(encoding="utf-8"))
    words = tuple(stored["source_words"]), tuple(stored["target_words"])
    model = RNNsearch(len(words[0]), len(words[1]), **stored["sizes"]).double()
    shaped = {
        name: torch.tensor(stored["weights"][name], dtype=torch.float64).reshape(value.shape)
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(shaped)
    return model.eval(), *words


def decoder_of(model: RNNsearch) -> dict[str, Any]:
    """The decoder's parameters, as ``js/math/decoder.js`` takes them."""
    parameters = model.state_dict()
    return {name: parameters[place].tolist() for name, place in _PARTS.items()}


def sentence_of(kept: Encoded) -> dict[str, Any]:
    """What the encoder gives for one sentence, likewise."""
    assert kept.projected is not None
    parts = {"annotations": kept.annotations, "projected": kept.projected, "start": kept.state}
    return {name: part[0].tolist() for name, part in parts.items()}


@cache
@torch.no_grad()
def _read(index: int) -> tuple[list[str], Encoded]:
    """The words of a sentence with its end mark, and what the encoder makes of them."""
    model, known, _ = tiny()
    words = SENTENCES[index].split()
    indices = torch.tensor([[*map(known.index, words), EOS]])
    return [*words, _MARKS[EOS]], model.encode(indices, torch.ones_like(indices, dtype=torch.bool))


_WORDS = [_MARKS.get(place, word) for place, word in enumerate(tiny()[2])]

PRESETS = [
    preset(
        "La, not le",
        "The first word was forced, and a cat is masculine: nearly all of the weight is on “cat”, so see how likely "
        "“chat” is after “la”, and go on to see what the cat becomes.",
        index=0,
        words=["la"],
    ),
    preset(
        "Le looks at cat",
        "No word is written yet, and the article needs the gender of a noun that comes two words later: see which "
        "English word gets most of the weight.",
        index=0,
        words=[],
    ),
    preset(
        "Out of order",
        "Go on word by word: most of the weight stays with the noun, steps back for its colour, and jumps over both to "
        "the verb.",
        index=0,
        words=["le"],
    ),
    preset(
        "Too late",
        "The verb was forced where the colour should stand, but these weights come from the state before it and are "
        "what they were without it: go on and see the verb come twice, the colour not at all.",
        index=0,
        words=["le", "chat", "voit"],
    ),
    preset(
        "Another noun",
        "The dog became a house by force: see with which noun the colour agrees, the one that was written or the one "
        "that was meant, and whether it still does after the article “le”.",
        index=2,
        words=["la", "maison"],
    ),
]


class DecoderStepper(Stepper):
    """The decoder of a tiny RNNsearch, a step at a time; any word may be forced, and the decoding goes on from it.

    Args:
        index: the sentence that is translated, of three.
        words: what is written so far, at most 12 words; the step shown is the one that writes the next word, or the
            last one where these end with ⟨end⟩.
        numbers: show every vector of the step, and its numbers.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed by ``RNNsearch.step``: ``before`` (the state that the step starts from), ``energies``,
    ``weights``, ``context``, ``after`` (the new state), ``probabilities`` (one a word of the target) and ``best`` (the
    likeliest word that can be written).

    >>> stepper = DecoderStepper(words=["le", "chat"])
    >>> stepper.best, round(max(stepper.weights), 2)
    ('rouge', 0.44)
    >>> stepper.forward()
    >>> stepper.words
    ['le', 'chat', 'rouge']
    """

    index = Whole(0, most=len(SENTENCES) - 1)
    words = Texts([], shape=(("", 0, MAX_WORDS),))
    numbers = Flag(False)
    presets = Presets(PRESETS)
    before = Output("the state that the step starts from")
    energies = Output("one a source word")
    weights = Output("one a source word")
    context = Output("the annotations' weighted sum")
    after = Output("the new state")
    probabilities = Output("one a target word")
    best = Output("the likeliest next word")

    data: ClassVar = {
        "decoder": decoder_of(tiny()[0]),
        "sentences": [{"source": words, **sentence_of(kept)} for words, kept in map(_read, range(len(SENTENCES)))],
        "target_words": _WORDS,
    }
    sample: ClassVar = {"words": ["le"]}

    def _check(self, state: dict[str, Any]) -> None:
        written = state["words"]
        for place, word in enumerate(written):
            if word not in _WORDS[EOS:] or (word == _MARKS[EOS] and place + 1 < len(written)):
                known = ", ".join(_WORDS[EOS:])
                raise StateError(f"words must be of {known}, {_MARKS[EOS]} last; got {word!r} at place {place}")

    def _ended(self, words: list[str]) -> bool:
        return words[-1:] == [_MARKS[EOS]]

    @torch.no_grad()
    def _step(self, words: list[str]) -> tuple[torch.Tensor, Step]:
        """The state before the step that comes after these words, and the step, through ``RNNsearch.step``."""
        kept = _read(self.index)[1]
        state = kept.state
        for word in [_MARKS[BOS], *(words[:-1] if self._ended(words) else words)]:
            before, step = state, tiny()[0].step(torch.tensor([_WORDS.index(word)]), state, kept)
            state = step.state
        return before, step

    def _best(self, step: Step) -> str:
        return _WORDS[EOS + int(step.logits[0, EOS:].argmax())]

    def _count(self) -> int:
        return len(self.words)

    def _at(self, count: int) -> dict[str, Any]:
        words = list(self.words[:count])
        while len(words) < min(count, MAX_WORDS) and not self._ended(words):
            words.append(self._best(self._step(words)[1]))
        return {"words": words}

    def _now(self) -> dict[str, Any]:
        before, step = self._step(self.words)
        parts = {"before": before, "energies": step.energies, "weights": step.weights, "context": step.context}
        parts |= {"after": step.state, "probabilities": step.logits.softmax(-1)}
        return {name: values[0].tolist() for name, values in parts.items()} | {"best": self._best(step)}

    def summary(self) -> str:
        """What is written, where the step looks, and the likeliest words."""

        def largest(words: list[str], numbers: list[float]) -> str:
            ranked = sorted(zip(words, numbers, strict=True), key=lambda pair: -pair[1])[:3]
            return ", ".join(f"{word} {share(number)}" for word, number in ranked)

        written = " ".join(self.words) or "nothing"
        looks, nexts = largest(_read(self.index)[0], self.weights), largest(_WORDS, self.probabilities)
        return f"“{SENTENCES[self.index]}”; written: {written}; weights {looks}; next word {nexts}"
