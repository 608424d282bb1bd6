"""AlignmentExplorer: the words of a sentence pair, the weights between them, and the links that people drew."""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from attnlib.alignment import alignment_error_rate, diagonal, links_of, uniform
from attnlib.widgets.picture import Picture
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.traits import Array, Flag, Input, Output, StateError, Text, Texts, Whole
from attnlib.widgets.traits import plain as _plain
from attnlib.widgets.traits import shape_of as _shape

__all__ = ["PRESETS", "SENTENCES", "AlignmentExplorer"]

_SLACK = 0.01  # by which a row of weights may exceed 1: what rounding adds up to in a long sentence
_FIELDS = ("key", "title", "source", "target", "links", "weights")
_LANGUAGES = ("source_language", "target_language")


class _Sentences(Input):
    """Sentence pairs as plain dictionaries: words, links, and matrices of weights by name, rounded to 4 decimals."""

    def validate(self, obj: Any, value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, (list, tuple)) or not value:
            self.fail("a list of at least one sentence pair", value)
        plain = [self._sentence(item, f"sentences[{i}]") for i, item in enumerate(value)]
        names = [list(item["weights"]) for item in plain]
        odd = next((i for i, own in enumerate(names) if own != names[0]), None)
        if odd is not None:
            self._refuse(f"sentences[{odd}].weights", f"matrices named {', '.join(names[0])}", ", ".join(names[odd]))
        return plain

    @staticmethod
    def _refuse(where: str, expected: str, got: Any) -> None:
        raise StateError(f"{where} must be {expected}; got {got if isinstance(got, str) else repr(got):.80}")

    def _sentence(self, item: Any, where: str) -> dict[str, Any]:
        given = item._asdict() if hasattr(item, "_asdict") else item
        if not isinstance(given, Mapping) or not set(_FIELDS) <= given.keys() <= {*_FIELDS, *_LANGUAGES}:
            self._refuse(where, "{" + ", ".join(_FIELDS) + "}", sorted(given) if isinstance(given, Mapping) else given)
        plain: dict[str, Any] = {}
        for name in ("key", "title", *_LANGUAGES):
            plain[name] = given.get(name, "")
            if not isinstance(plain[name], str):
                self._refuse(f"{where}.{name}", "a text", plain[name])
        for name in ("source", "target"):
            words = given[name]
            if isinstance(words, str) or not words or not all(isinstance(word, str) and word for word in words):
                self._refuse(f"{where}.{name}", "a list of at least one word", words)
            plain[name] = list(words)
        shape = (len(plain["target"]), len(plain["source"]))
        plain["links"] = self._links(given["links"], shape, f"{where}.links")
        weights = given["weights"]
        if not isinstance(weights, Mapping) or not weights or not all(isinstance(name, str) for name in weights):
            self._refuse(f"{where}.weights", "matrices by name, one at least", weights)
        plain["weights"] = {
            name: self._matrix(matrix, shape, f"{where}.weights[{name!r}]") for name, matrix in weights.items()
        }
        return plain

    def _links(self, links: Any, shape: tuple[int, int], where: str) -> list[list[int]]:
        found = []
        if not isinstance(links, Iterable) or not all(isinstance(link, Sequence) for link in links):
            self._refuse(where, "pairs (target position, source position)", links)
        for link in sorted(tuple(link) for link in links):
            whole = len(link) == 2 and all(isinstance(place, int) for place in link)
            if not whole or not all(0 <= place < size for place, size in zip(link, shape, strict=True)):
                expected = f"pairs (target position below {shape[0]}, source position below {shape[1]})"
                self._refuse(where, expected, link)
            found.append([int(place) for place in link])
        return [link for i, link in enumerate(found) if link not in found[:i]]

    def _matrix(self, matrix: Any, shape: tuple[int, int], where: str) -> list[list[float]]:
        rows = _plain(matrix)
        if _shape(rows) != shape:
            expected = f"finite numbers of shape {shape}, a row a target word and a column a source word"
            self._refuse(where, expected, f"shape {_shape(rows)}")
        for t, row in enumerate(rows):
            if min(row) < 0 or math.fsum(row) > 1 + _SLACK:
                self._refuse(
                    where, "weights from 0 up that sum to at most 1 a row", f"row {t}, which sums to {sum(row):g}"
                )
        return [[round(float(weight), 4) for weight in row] for row in rows]


def direction(words: list[str]) -> str:
    """``"rtl"`` where the first letter of the words is written from right to left, else ``"ltr"``."""
    letter = re.search(r"[^\W\d_]", " ".join(words))
    return "rtl" if letter and unicodedata.bidirectional(letter[0]) in ("R", "AL") else "ltr"


def _made_up(n_target: int, n_source: int, links: list[list[int]]) -> torch.Tensor:
    """Weights that look learned: people's links, a pull to the diagonal and a ripple, through a softmax."""
    t, s = torch.arange(n_target, dtype=torch.float64)[:, None], torch.arange(n_source, dtype=torch.float64)
    energies = -0.45 * (s - (t + 0.5) * n_source / n_target + 0.5).abs() + 1.1 * torch.sin(7 * t + 3 * s)
    for target, source in links:
        energies[target, source] += 2.15
    return energies.softmax(-1)


def _example(title: str, source: str, target: str, links: str, languages: tuple[str, str]) -> dict[str, Any]:
    """A hand-made sentence pair; ``links`` reads "0-1" for target word 0 with source word 1."""
    from_words, to_words = source.split(), target.split()
    pairs = [[int(place) for place in link.split("-")] for link in links.split()]
    shape = len(to_words), len(from_words)
    weights = {"made up": _made_up(*shape, pairs), "diagonal": diagonal(*shape), "uniform": uniform(*shape)}
    return {
        "key": title,
        "title": title,
        "source": from_words,
        "target": to_words,
        "links": pairs,
        "weights": {name: [[round(w, 4) for w in row] for row in m.tolist()] for name, m in weights.items()},
        "source_language": languages[0],
        "target_language": languages[1],
    }


SENTENCES = [
    _example(
        "Greek: in the beginning",
        "Ἐν ἀρχῇ ἦν ὁ λόγος καὶ ὁ λόγος ἦν πρὸς τὸν θεόν",
        "In the beginning was the Word and the Word was with God",
        "0-0 2-1 3-2 4-3 5-4 6-5 7-6 8-7 9-8 10-9 11-11",
        ("grc", "en"),
    ),
    _example(
        "Hebrew: God created",
        "בראשית ברא אלהים את השמים ואת הארץ",
        "In the beginning God created the heavens and the earth",
        "0-0 1-0 2-0 3-2 4-1 5-4 6-4 7-5 8-6 9-6",
        ("he", "en"),
    ),
    _example(
        "French: the red house",
        "la maison rouge se dresse sur la colline",
        "the red house stands on the hill",
        "0-0 1-2 2-1 3-3 3-4 4-5 5-6 6-7",
        ("fr", "en"),
    ),
]

PRESETS = [
    preset(
        "A word that nobody linked",
        "Greek has no article here, so people left the English one alone: see where its weights go, and what that does "
        "to the precision.",
        index=0,
        word=1,
        aligner="made up",
        every_link=True,
    ),
    preset(
        "Right to left",
        "The Hebrew verb comes before its subject: step from the English subject to the verb and see the links cross.",
        index=1,
        word=3,
        aligner="made up",
        every_link=True,
    ),
    preset(
        "Two words for one",
        "People gave this verb two French words, but there is only one largest weight: say which of the three numbers "
        "can still be perfect.",
        index=2,
        word=3,
        aligner="made up",
        every_link=True,
    ),
    preset(
        "How far the diagonal comes",
        "The diagonal has read neither sentence: find the first target word at which it fails, and say why just there.",
        index=2,
        word=0,
        aligner="diagonal",
        every_link=False,
    ),
]


class AlignmentExplorer(PresetWidget):
    """Sentence pairs, the weights of one or more aligners, and the links that people drew between the words.

    Args:
        sentences: dictionaries (or named tuples) with ``key``, ``title``, ``source`` and ``target`` (lists of words),
            ``links`` (people's, ``(target position, source position)``) and ``weights``: matrices by the aligner's
            name, a row a target word and a column a source word. A row sums to 1, or to less where the rest went to
            what is no word (an end mark, an empty word). Every sentence has the same aligners. ``source_language``
            and ``target_language`` (``"grc"``, ``"he"``, ...) help a page to choose letters and a voice. Three
            hand-made sentences with weights from a formula unless given.
        index: the sentence that is shown.
        word: the target word that is looked at; another ``index`` takes it to the first word if it has no such word.
        aligner: whose weights are shown; the first one's unless given.
        every_link: draw people's links for all words, and not for this one alone.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from; none for sentences of your own unless given.

    Weights are kept with four decimals. The outputs are recomputed from them: ``weights`` of the word, the ``links``
    that the aligner's largest weights stand for, and their ``precision``, ``recall`` and ``error`` against people's.

    >>> explorer = AlignmentExplorer(index=2, aligner="diagonal")
    >>> explorer.links[:3], round(explorer.error, 4)
    ([[0, 0], [1, 1], [2, 2]], 0.3333)
    """

    sentences = _Sentences(
        SENTENCES,
        shape=(("", 1, None),),
        kind="record",
        fields={
            **{name: Text("").spec for name in ("key", "title", *_LANGUAGES)},
            "source": Texts([], shape=("_source",)).spec,
            "target": Texts([], shape=("_target",)).spec,
            "links": Whole(0, shape=(("", 0, None), 2)).spec,
            "weights": {"kind": "table", "shape": [], "each": Array(("_target", "_source"), []).spec},
        },
    )
    index = Whole(0, below="sentences")
    word = Whole(0)
    aligner = Text("")
    every_link = Flag(True)
    sample: ClassVar = {"word": 2}
    presets = Presets(PRESETS)
    weights = Output("the weights of the word over the source words")
    links = Output("the link of each target word to the source word of its largest weight")
    precision = Output("the share of these links that people drew too")
    recall = Output("the share of people's links that are among them")
    error = Output("alignment error rate of the sentence")

    def __init__(self, sentences: Any = None, **state: Any) -> None:
        if sentences is not None:
            state = {"presets": [], **state, "sentences": sentences}
        super().__init__(**state)

    def _agree(self, proposal: Any) -> Any:
        """A word is checked when it is given; it follows when only the sentence changes."""
        if proposal["trait"].name == "word":
            self._below("word", proposal["value"], len(self._sentence["target"]))
        return super()._agree(proposal)

    @staticmethod
    def _below(name: str, value: int, bound: int) -> None:
        if value >= bound:
            raise StateError(f"{name} must be below {bound}; got {value}")

    def _check(self, state: dict[str, Any]) -> None:
        names = list(state["sentences"][0]["weights"])
        if state["aligner"] and state["aligner"] not in names:
            raise StateError(f"aligner must be one of {', '.join(names)}; got {state['aligner']!r}")

    @property
    def _sentence(self) -> dict[str, Any]:
        return dict(self.sentences[self.index])

    def _compute(self) -> None:
        sentence = self._sentence
        if not self.aligner:
            self.aligner = next(iter(sentence["weights"]))
        if self.word >= len(sentence["target"]):
            self.word = 0
        found = links_of(torch.tensor(self._matrix, dtype=torch.float64))
        score = alignment_error_rate(found, self._people)
        self.set_trait("weights", list(self._matrix[self.word]))
        self.set_trait("links", sorted(list(link) for link in found))
        for name in ("precision", "recall", "error"):
            self.set_trait(name, getattr(score, name))

    @property
    def _matrix(self) -> list[list[float]]:
        return list(self._sentence["weights"][self.aligner])

    @property
    def _people(self) -> set[tuple[int, int]]:
        return {(t, s) for t, s in self._sentence["links"]}

    def summary(self) -> str:
        """The word, where its weights go, what people say, and the sentence's error."""
        sentence, source = self._sentence, self._sentence["source"]
        largest = sorted(range(len(source)), key=lambda s: -self.weights[s])[:3]
        weights = ", ".join(f"{_apart(source[s])} {self.weights[s]:.3f}" for s in largest if self.weights[s] > 0)
        linked = [_apart(source[s]) for t, s in sentence["links"] if t == self.word]
        word = _apart(sentence["target"][self.word])
        return (
            f"{self.aligner} on “{sentence['title']}”: “{word}” looks at {weights or 'nothing'}; "
            f"people link it to {', '.join(linked) or 'nothing'}; alignment error of the sentence {self.error:.3f}"
        )

    def picture(self) -> Picture:
        """Target words in a column on the left, source words on the right; people's links between, and the weights."""
        sentence = self._sentence
        source, target = sentence["source"], sentence["target"]
        step, top, left, right = 26, 84, 220, 440
        drawing = Picture(700, top + step * max(len(source), len(target)) + 44)
        drawing.text(24, 28, f"{self.aligner} on “{sentence['title']}”", size=15, bold=True)
        numbers = f"precision {self.precision:.3f}, recall {self.recall:.3f}, alignment error {self.error:.3f}"
        drawing.text(24, 50, f"Links of the largest weights against people's: {numbers}", fill="soft")
        linked = {s for t, s in sentence["links"] if t == self.word}
        for t, s in sentence["links"]:
            own = t == self.word
            if own or self.every_link:
                ends = [(left, top + step * t + 9), (right, top + step * s + 9)]
                drawing.line(ends, stroke="context" if own else "edge", width=3 if own else 1)
                for x, y in ends:
                    drawing.circle(x, y, 4, fill="ground", stroke="context" if own else "edge", width=1.5)
        best = [s for t, s in self.links if t == self.word]
        for s in best:
            ends = [(left, top + step * self.word + 9), (right, top + step * s + 9)]
            drawing.line(ends, stroke="ink", width=1.5, dash=True)
        for t, name in enumerate(target):
            if t == self.word:
                _frame(drawing, 24, top + step * t - 3, left - 36, "query")
            drawing.text(left - 20, top + step * t + 14, _short(name), size=14, anchor="end", bold=t == self.word)
        for s, (name, weight) in enumerate(zip(source, self.weights, strict=True)):
            y = top + step * s
            if s in linked:
                _frame(drawing, right + 12, y - 3, 136, "context")
            drawing.text(right + 20, y + 14, _short(name), size=14, bold=s in best)
            drawing.rectangle(right + 158, y + 3, 40 * min(weight, 1), 12, fill="key")
            drawing.text(right + 204, y + 14, f"{weight:.2f}" if weight >= 0.005 else "0", fill="soft", size=11)
        words = "Solid: people's links. Dashed: from the word to its largest weight. Bars: its weights."
        drawing.text(24, drawing.height - 16, words, fill="soft")
        return drawing


def _frame(drawing: Picture, x: float, y: float, width: float, stroke: str) -> None:
    drawing.polygon([(x, y), (x + width, y), (x + width, y + 24), (x, y + 24)], stroke=stroke, width=2)


def _apart(word: str) -> str:
    """A word of whichever direction in a sentence that runs from left to right."""
    return f"\u2068{word}\u2069" if direction([word]) == "rtl" else word


def _short(word: str) -> str:
    return word if len(word) <= 16 else word[:15] + "…"
