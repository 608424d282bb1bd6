"""DecoderStepper: a tiny RNNsearch writes a translation, a step at a time, with every number of the step."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch

from attnlib.recurrent.rnnsearch import Encoded, RNNsearch, Step
from attnlib.widgets.picture import Picture
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.traits import Array, Flag, Input, Output, StateError, Texts, Whole
from attnlib.widgets.traits import plain as _plain
from attnlib.widgets.traits import shape_of as _shape

__all__ = ["MAX_WORDS", "PRESETS", "DecoderStepper"]

MAX_WORDS = 12
_BOS, _EOS = 1, 2  # as attnlib.data.Vocabulary has them
_MOST = {"hidden": 32, "words": 64}
# In the state's names: where RNNsearch keeps it.
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


_NAMED: dict[str, tuple[str, ...]] = {
    "embedding": ("words", "embedding"),
    "align_state": ("alignment", "hidden"),
    "align_vector": ("alignment",),
    "input": ("3 hidden", "embedding"),
    "input_bias": ("3 hidden",),
    "gates_recurrent": ("2 hidden", "hidden"),
    "recurrent": ("hidden", "hidden"),
    "context": ("3 hidden", "2 hidden"),
    "output_state": ("2 maxout", "hidden"),
    "output_state_bias": ("2 maxout",),
    "output_word": ("2 maxout", "embedding"),
    "output_context": ("2 maxout", "2 hidden"),
    "output": ("words", "maxout"),
    "output_bias": ("words",),
}


def _shapes(words: int, embedding: int, hidden: int, alignment: int, maxout: int) -> dict[str, tuple[int, ...]]:
    return {
        "embedding": (words, embedding),
        "align_state": (alignment, hidden),
        "align_vector": (alignment,),
        "input": (3 * hidden, embedding),
        "input_bias": (3 * hidden,),
        "gates_recurrent": (2 * hidden, hidden),
        "recurrent": (hidden, hidden),
        "context": (3 * hidden, 2 * hidden),
        "output_state": (2 * maxout, hidden),
        "output_state_bias": (2 * maxout,),
        "output_word": (2 * maxout, embedding),
        "output_context": (2 * maxout, 2 * hidden),
        "output": (words, maxout),
        "output_bias": (words,),
    }


def _sizes(decoder: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of a decoder, read off two of its matrices and the alignment vector."""
    return {
        "words": len(decoder["embedding"]),
        "embedding": len(decoder["embedding"][0]),
        "hidden": len(decoder["recurrent"]),
        "alignment": len(decoder["align_vector"]),
        "maxout": len(decoder["output"][0]),
    }


def _short(values: Any) -> Any:
    """Six significant digits: what a float32 knows, and half the text of a float64."""
    return [_short(value) for value in values] if isinstance(values, list) else float(f"{float(values):.6g}")


class _Decoder(Input):
    """The decoder's matrices as plain lists, by name."""

    def validate(self, obj: Any, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or value.keys() != _PARTS.keys():
            self.fail("{" + ", ".join(_PARTS) + "}", value)
        plain = {name: _plain(part) for name, part in value.items()}
        for name, part in plain.items():
            if not _shape(part):
                self.fail(f"finite numbers in each part; {name} holds none, or others", part)
        two = [name for name in ("embedding", "recurrent", "output") if len(_shape(plain[name]) or ()) != 2]
        wanted = {} if two else _shapes(**_sizes(plain))
        odd = next((name for name in _PARTS if two or _shape(plain[name]) != wanted[name]), None)
        if odd is not None:
            shape = _shape(plain[two[0] if two else odd])
            self.fail(f"parts that fit together; {two[0] if two else odd} has shape {shape}", value)
        return plain


class _Encoded(Input):
    """Encoded sentences: ``{"source": words, "annotations", "projected", "start"}``."""

    def validate(self, obj: Any, value: Any) -> list[dict[str, Any]]:
        fields = {"source", "annotations", "projected", "start"}
        if not isinstance(value, (list, tuple)) or not value:
            self.fail("a list of at least one encoded sentence", value)
        found = []
        for i, item in enumerate(value):
            if not isinstance(item, Mapping) or item.keys() != fields:
                self.fail(f"a list of {{{', '.join(sorted(fields))}}}; number {i} is not", item)
            plain = {name: _plain(part) for name, part in item.items()}
            words, length = plain["source"], len(plain["source"])
            good = isinstance(words, list) and words and all(isinstance(word, str) for word in words)
            shapes = {name: _shape(plain[name]) or () for name in sorted(fields - {"source"})}
            fits = [len(shapes[name]) == 2 and shapes[name][0] == length for name in ("annotations", "projected")]
            if not good or not all(fits) or len(shapes["start"]) != 1:
                self.fail(f"annotations and projected of a row a source word; number {i} has {shapes}", item)
            found.append(plain)
        return found


@cache
def _stored() -> dict[str, Any]:
    path = Path(__file__).with_name("decoder_stepper.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


@cache
def tiny() -> tuple[RNNsearch, tuple[str, ...], tuple[str, ...]]:
    """The tiny translator from English into French that the widget starts with, and its two vocabularies."""
    stored = _stored()
    words = tuple(stored["source_words"]), tuple(stored["target_words"])
    model = RNNsearch(len(words[0]), len(words[1]), **stored["sizes"]).double()
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    weights = {
        name: torch.tensor(stored["weights"][name], dtype=torch.float64).reshape(shape)
        for name, shape in shapes.items()
    }
    model.load_state_dict(weights)
    return model, *words


def plain_decoder(model: RNNsearch) -> dict[str, Any]:
    """The decoder's parameters as plain lists, six digits each."""
    parameters = model.state_dict()
    return {name: _short(parameters[place].tolist()) for name, place in _PARTS.items()}


@torch.no_grad()
def rebuilt(decoder: Mapping[str, Any]) -> RNNsearch:
    """A model in float64 that has this decoder; its encoder means nothing."""
    sizes = _sizes(decoder)
    words = sizes.pop("words")
    model = RNNsearch(words, words, **sizes).double()
    parameters = model.state_dict()
    for name, place in _PARTS.items():
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
    indices = torch.tensor([[*(source_words.index(word) for word in words), _EOS]])
    training = model.training
    found = model.eval().encode(indices, torch.ones_like(indices, dtype=torch.bool))
    model.train(training)
    assert found.projected is not None
    parts = {"annotations": found.annotations, "projected": found.projected, "start": found.state}
    return {"source": [*words, source_words[_EOS]], **{name: _short(part[0].tolist()) for name, part in parts.items()}}


_EXAMPLES = ["the red cat sees a black house", "the black house finds a small cat", "the green dog finds the car"]

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


class DecoderStepper(PresetWidget):
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
    """

    decoder = _Decoder(
        None,
        kind="record",
        fields={name: Array(shape, []).spec for name, shape in _NAMED.items()},
    )
    sentences = _Encoded(
        None,
        shape=(("", 1, None),),
        kind="record",
        fields={
            "source": Texts([], shape=("_length",)).spec,
            "annotations": Array(("_length", "2 hidden"), []).spec,
            "projected": Array(("_length", "alignment"), []).spec,
            "start": Array(("hidden",), []).spec,
        },
    )
    target_words = Texts([], shape=("words",))
    index = Whole(0, below="sentences")
    words = Texts([], shape=(("", 0, MAX_WORDS),))
    numbers = Flag(False)
    sample: ClassVar = {"words": ["le"]}
    presets = Presets(PRESETS)
    before = Output("the state that the step starts from")
    energies = Output("one a source word")
    weights = Output("one a source word")
    context = Output("the annotations' weighted sum")
    after = Output("the new state")
    probabilities = Output("one a target word")
    best = Output("the likeliest next word")

    def __init__(
        self, model: RNNsearch | None = None, sentences: Any = None, *, source_words: Any = None, **state: Any
    ) -> None:
        if model is not None:
            state = {"presets": [], **state, **self._given(model, sentences, source_words, state.get("target_words"))}
        elif source_words is not None:
            raise StateError("source_words must come with a model; got none")
        elif sentences is not None:
            state["sentences"] = sentences
        if "decoder" not in state:
            if not state.keys() & set(self._names()):
                state["preset"] = PRESETS[0]["name"]
            state = {**_example(), **state}
        super().__init__(**state)

    @staticmethod
    def _given(model: Any, sentences: Any, source_words: Any, target_words: Any) -> dict[str, Any]:
        if not isinstance(model, RNNsearch):
            raise StateError(f"model must be an RNNsearch; got {type(model).__name__}")
        sizes = {
            "source_words": (source_words, model.source_embedding.num_embeddings),
            "target_words": (target_words, model.target_embedding.num_embeddings),
        }
        for name, (words, size) in sizes.items():
            if words is None or len(words) != size:
                raise StateError(f"{name} must be the {size} words of the model; got {len(words or [])}")
        if isinstance(sentences, str) or not isinstance(sentences, Iterable):
            raise StateError(f"sentences must be a list of texts or of lists of words; got {sentences!r:.60}")
        rows = [encoded(model, list(source_words), sentence) for sentence in sentences]
        return {"decoder": plain_decoder(model), "sentences": rows, "target_words": list(target_words)}

    def _check(self, state: dict[str, Any]) -> None:
        sizes, known = _sizes(state["decoder"]), state["target_words"]
        for name, most in _MOST.items():
            if sizes[name] > most:
                raise StateError(f"decoder must be tiny: at most {most} {name}; got {sizes[name]}")
        if len(set(known)) != len(known):
            raise StateError(f"target_words must be different words; got {len(known) - len(set(known))} again")
        written = state["words"]
        for place, word in enumerate(written):
            if word not in known[_EOS:] or (word == known[_EOS] and place + 1 < len(written)):
                raise StateError(f"words must be of target_words, the end mark last; got {word!r} at place {place}")

    def _compute(self) -> None:
        steps = self._steps()
        last = steps[-1][1]
        probabilities = last.logits[0].softmax(-1)
        found = {
            "before": steps[-1][0][0],
            "energies": last.energies[0],
            "weights": last.weights[0],
            "context": last.context[0],
            "after": last.state[0],
            "probabilities": probabilities,
        }
        for name, values in found.items():
            self.set_trait(name, values.tolist())
        self.set_trait("best", self.target_words[_EOS + int(probabilities[_EOS:].argmax())])

    @property
    def _ended(self) -> bool:
        return bool(self.words) and self.words[-1] == self.target_words[_EOS]

    @torch.no_grad()
    def _steps(self) -> list[tuple[torch.Tensor, Step]]:
        """The state before each step, and the step, through ``RNNsearch.step``."""
        model, kept = rebuilt(self.decoder), kept_of(self.sentences[self.index])
        state, steps = kept.state, []
        written = self.words[:-1] if self._ended else self.words
        for word in [self.target_words[_BOS], *written]:
            step = model.step(torch.tensor([self.target_words.index(word)]), state, kept)
            steps.append((state, step))
            state = step.state
        return steps

    def _likeliest(self, count: int) -> list[tuple[str, float]]:
        ranked = sorted(zip(self.target_words, self.probabilities, strict=True), key=lambda pair: -pair[1])
        return ranked[:count]

    def summary(self) -> str:
        """What is written, where the step looks, and the likeliest words."""
        source = self.sentences[self.index]["source"]
        looks = sorted(zip(source, self.weights, strict=True), key=lambda pair: -pair[1])[:3]
        weights, nexts = (
            ", ".join(f"{word} {value:.3f}" for word, value in pairs) for pairs in (looks, self._likeliest(3))
        )
        written = " ".join(self.words) or "nothing"
        return f"“{' '.join(source[:-1])}”; written: {written}; weights {weights}; next word {nexts}"

    def picture(self) -> Picture:
        """Source words with energies and weights on the left, the likeliest next words on the right."""
        source = self.sentences[self.index]["source"]
        drawing = Picture(700, 132 + 24 * max(len(source), 6))
        drawing.text(24, 28, " ".join(source[:-1]), size=15, bold=True)
        step = len(self.words) + (0 if self._ended else 1)
        drawing.text(24, 52, f"Written: {' '.join(self.words) or 'nothing yet'}. Step {step}:", fill="soft")
        for x, name in ((24, "source"), (120, "energy"), (200, "weight"), (430, "next word"), (530, "probability")):
            drawing.text(x, 84, name, fill="soft")
        drawing.line([(24, 92), (676, 92)], stroke="edge")
        for j, (word, energy, weight) in enumerate(zip(source, self.energies, self.weights, strict=True)):
            y = 112 + 24 * j
            drawing.text(24, y, word, size=14, bold=weight == max(self.weights))
            drawing.text(120, y, f"{energy:.2f}".replace("-", "−"), size=13)
            drawing.text(200, y, f"{weight:.3f}", size=13)
            drawing.rectangle(250, y - 11, 140 * weight, 14, fill="key")
        for i, (word, probability) in enumerate(self._likeliest(6)):
            y = 112 + 24 * i
            drawing.text(430, y, word, size=14, bold=i == 0)
            drawing.text(530, y, f"{probability:.3f}" if probability >= 5e-4 else "< 0.001", size=13)
            drawing.rectangle(590, y - 11, 86 * probability, 14, fill="value")
        words = "State before, word before and context give the next word; then they renew the state."
        drawing.text(24, drawing.height - 12, words, fill="soft")
        return drawing


@cache
def _example() -> dict[str, Any]:
    """The state that stands for the tiny translator."""
    model, source_words, target_words = tiny()
    return DecoderStepper._given(model, _EXAMPLES, source_words, target_words)
