"""DecoderStepper: a tiny RNNsearch writes a translation, a step at a time, with every number of the step."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch

from attnlib.data import BOS, EOS
from attnlib.recurrent.rnnsearch import Encoded, RNNsearch, Step
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.stepper import Stepper
from attnlib.widgets.text import share
from attnlib.widgets.traits import Array, Flag, Output, Record, StateError, Texts, Whole, shape_of

__all__ = ["MAX_WORDS", "PRESETS", "STORE", "DecoderStepper"]

MAX_WORDS = 12
STORE = Path(__file__).with_suffix(".json")
# The decoder's parts: where RNNsearch keeps each, and its shape.
_PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "embedding": ("target_embedding.weight", ("words", "embedding")),
    "align_state": ("align_state.weight", ("alignment", "hidden")),
    "align_vector": ("align_vector", ("alignment",)),
    "input": ("unit.input.weight", ("3 hidden", "embedding")),
    "input_bias": ("unit.input.bias", ("3 hidden",)),
    "gates_recurrent": ("unit.gates_recurrent", ("2 hidden", "hidden")),
    "recurrent": ("unit.recurrent", ("hidden", "hidden")),
    "context": ("unit.context.weight", ("3 hidden", "2 hidden")),
    "output_state": ("output_state.weight", ("2 maxout", "hidden")),
    "output_state_bias": ("output_state.bias", ("2 maxout",)),
    "output_word": ("output_word.weight", ("2 maxout", "embedding")),
    "output_context": ("output_context.weight", ("2 maxout", "2 hidden")),
    "output": ("output.weight", ("words", "maxout")),
    "output_bias": ("output.bias", ("words",)),
}


def _short(values: Any) -> Any:
    """Six significant digits: what a float32 knows, and half the text of a float64."""
    return [_short(value) for value in values] if isinstance(values, list) else float(f"{float(values):.6g}")


def _sizes(decoder: Mapping[str, Any]) -> dict[str, int]:
    return {
        size: length
        for name, (_, shape) in _PARTS.items()
        for size, length in zip(shape, shape_of(decoder[name]) or (), strict=True)
    }


@cache
def tiny() -> tuple[RNNsearch, tuple[str, ...], tuple[str, ...]]:
    """The tiny translator from English into French that the widget starts with, and its two vocabularies."""
    stored = json.loads(STORE.read_text(encoding="utf-8"))
    words = tuple(stored["source_words"]), tuple(stored["target_words"])
    model = RNNsearch(len(words[0]), len(words[1]), **stored["sizes"]).double()
    shaped = {
        name: torch.tensor(stored["weights"][name], dtype=torch.float64).reshape(value.shape)
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(shaped)
    return model, *words


@torch.no_grad()
def rebuilt(decoder: Mapping[str, Any]) -> RNNsearch:
    """A model in float64 that has this decoder; its encoder means nothing."""
    sizes = _sizes(decoder)
    parts = {name: sizes[name] for name in ("embedding", "hidden", "alignment", "maxout")}
    model = RNNsearch(sizes["words"], sizes["words"], **parts).double()
    parameters = model.state_dict()
    for name, (place, _) in _PARTS.items():
        parameters[place].copy_(torch.tensor(decoder[name], dtype=torch.float64))
    return model


def kept_of(sentence: Mapping[str, Any]) -> Encoded:
    """What ``RNNsearch.step`` wants of an encoded sentence."""
    given = {name: torch.tensor([sentence[name]], dtype=torch.float64) for name in sentence if name != "source"}
    mask = torch.ones(1, len(sentence["source"]), dtype=torch.bool)
    return Encoded(given["annotations"], given["projected"], mask, given["start"])


@torch.no_grad()
def encoded(model: RNNsearch, source_words: Sequence[str], sentence: Sequence[str] | str) -> dict[str, Any]:
    """A sentence as the encoder gives it to the decoder, its end mark added."""
    words = sentence.split() if isinstance(sentence, str) else list(sentence)
    unknown = [word for word in words if word not in source_words]
    if not words or unknown:
        raise StateError(f"sentences must be of words in source_words; got {', '.join(unknown) or 'no words'}")
    indices = torch.tensor([[*(source_words.index(word) for word in words), EOS]])
    training = model.training
    found = model.eval().encode(indices, torch.ones_like(indices, dtype=torch.bool))
    model.train(training)
    assert found.projected is not None
    parts = {"annotations": found.annotations, "projected": found.projected, "start": found.state}
    return {"source": [*words, source_words[EOS]], **{name: _short(part[0].tolist()) for name, part in parts.items()}}


def taken_apart(model: Any, sentences: Any, source_words: Any, target_words: Any) -> dict[str, Any]:
    """The traits that stand for a model and the sentences that it is to translate."""
    if not isinstance(model, RNNsearch):
        raise StateError(f"model must be an RNNsearch; got {type(model).__name__}")
    for name, words, size in (
        ("source_words", source_words, model.source_embedding.num_embeddings),
        ("target_words", target_words, model.target_embedding.num_embeddings),
    ):
        if words is None or len(words) != size:
            raise StateError(f"{name} must be the {size} words of the model; got {len(words or [])}")
    if isinstance(sentences, str) or not isinstance(sentences, Iterable):
        raise StateError(f"sentences must be a list of texts or of lists of words; got {sentences!r:.60}")
    parameters = model.state_dict()
    return {
        "decoder": {name: _short(parameters[place].tolist()) for name, (place, _) in _PARTS.items()},
        "sentences": [encoded(model, list(source_words), sentence) for sentence in sentences],
        "target_words": list(target_words),
    }


_TINY = taken_apart(
    tiny()[0],
    ["the red cat sees a black house", "the black house finds a small cat", "the green dog finds the car"],
    *tiny()[1:],
)

PRESETS = [
    preset(
        "The article looks at the noun",
        "No word is written yet, and the article needs the gender of a noun that comes two words later: see which "
        "English word gets most of the weight.",
        index=0,
        words=[],
    ),
    preset(
        "Two words change places",
        "Go on word by word: most of the weight stays with the noun, steps back for its colour, and jumps over both to "
        "the verb.",
        index=0,
        words=["le"],
    ),
    preset(
        "A word comes too late",
        "The verb was forced where the colour should stand, but these weights come from the state before it and are "
        "what they were without it: go on and see the verb come twice, the colour not at all.",
        index=0,
        words=["le", "chat", "voit"],
    ),
    preset(
        "A wrong gender",
        "The first article is forced to be masculine, and a house is feminine: take the best words from here and see "
        "how the model finds its way out.",
        index=1,
        words=["le"],
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
        model: a trained :class:`attnlib.recurrent.rnnsearch.RNNsearch` with at most 32 hidden units and 64 target
            words; one that translates little English sentences into French unless given.
        sentences: with a ``model``, what it is to translate, as texts or lists of words.
        source_words: with a ``model``, the words of the source by index, the four special ones first.
        target_words: the words of the target by index, likewise.
        index: the sentence that is translated.
        words: what is written so far, at most 12 words; the step shown is the one that writes the next word, or the
            last one where these end with the end mark.
        numbers: show every number of the vectors.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from; none for a model of your own unless given.
        decoder: the decoder's parameters as plain lists, instead of a model.

    The outputs are recomputed in float64 by ``RNNsearch.step`` from parameters of six digits: ``before`` (the state
    that the step starts from), ``energies``, ``weights``, ``context``, ``after`` (the new state), ``probabilities``
    (one a target word) and ``best`` (the likeliest word that can be written).

    >>> stepper = DecoderStepper(words=["le", "chat"])
    >>> stepper.best, round(max(stepper.weights), 2)
    ('rouge', 0.44)
    >>> stepper.forward()
    >>> stepper.words
    ['le', 'chat', 'rouge']
    """

    decoder = Record({name: Array(shape, []) for name, (_, shape) in _PARTS.items()}, _TINY["decoder"])
    sentences = Record(
        {
            "source": Texts([], shape=("_length",)),
            "annotations": Array(("_length", "2 hidden"), []),
            "projected": Array(("_length", "alignment"), []),
            "start": Array((("hidden", 1, 32),), []),
        },
        _TINY["sentences"],
        shape=(("", 1, None),),
    )
    target_words = Texts(_TINY["target_words"], shape=(("words", 3, 64),))
    index = Whole(0, below="sentences")
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

    sample: ClassVar = {"words": ["le"]}

    def __init__(
        self, model: RNNsearch | None = None, sentences: Any = None, *, source_words: Any = None, **state: Any
    ) -> None:
        if model is not None:
            state = {"presets": [], **state, **taken_apart(model, sentences, source_words, state.get("target_words"))}
        elif source_words is not None:
            raise StateError("source_words must come with a model; got none")
        elif sentences is not None:
            state["sentences"] = sentences
        super().__init__(**state)

    def _check(self, state: dict[str, Any]) -> None:
        sizes, known, written = _sizes(state["decoder"]), state["target_words"], state["words"]
        for size, length in sizes.items():
            times, _, base = size.rpartition(" ")
            if times and length != int(times) * sizes[base]:
                raise StateError(f"decoder must have {size}={int(times) * sizes[base]}; got {length}")
        if len(set(known)) != len(known):
            raise StateError(f"target_words must be different words; got {len(known) - len(set(known))} again")
        for place, word in enumerate(written):
            if word not in known[EOS:] or (word == known[EOS] and place + 1 < len(written)):
                raise StateError(f"words must be of target_words, the end mark last; got {word!r} at place {place}")

    def _ended(self, words: list[str]) -> bool:
        return words[-1:] == [self.target_words[EOS]]

    @torch.no_grad()
    def _step(self, words: list[str]) -> tuple[torch.Tensor, Step]:
        """The state before the step that comes after these words, and the step, through ``RNNsearch.step``."""
        model, kept = rebuilt(self.decoder), kept_of(self.sentences[self.index])
        state = kept.state
        for word in [self.target_words[BOS], *(words[:-1] if self._ended(words) else words)]:
            before, step = state, model.step(torch.tensor([self.target_words.index(word)]), state, kept)
            state = step.state
        return before, step

    def _best(self, step: Step) -> str:
        return str(self.target_words[EOS + int(step.logits[0, EOS:].argmax())])

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
        source = self.sentences[self.index]["source"]

        def largest(words: list[str], numbers: list[float]) -> str:
            ranked = sorted(zip(words, numbers, strict=True), key=lambda pair: -pair[1])[:3]
            return ", ".join(f"{word} {share(number)}" for word, number in ranked)

        written = " ".join(self.words) or "nothing"
        looks, nexts = largest(source, self.weights), largest(self.target_words, self.probabilities)
        return f"“{' '.join(source[:-1])}”; written: {written}; weights {looks}; next word {nexts}"
