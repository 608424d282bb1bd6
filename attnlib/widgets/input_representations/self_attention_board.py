"""SelfAttentionBoard: the words of a sentence as points of a plane, and what each makes of all of them."""

import math
from typing import Any, ClassVar

import torch

from attnlib.input_representations.distances import rotary
from attnlib.input_representations.positions import sinusoidal
from attnlib.input_representations.self_attention import self_attention
from attnlib.scores import scaled_dot
from attnlib.widgets.plane import FARTHEST, IDENTITY, tensor
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import pair, share
from attnlib.widgets.traits import Array, Choice, Flag, Output, Texts, Whole

__all__ = ["PRESETS", "SelfAttentionBoard", "word_vector"]

_QUARTER = [[0.0, -1.0], [1.0, 0.0]]  # a quarter of a turn to the left
_NEUTRAL: dict[str, Any] = {
    "words": ["dog", "bites", "man", "bites", "dog"],
    "vectors": [[1.6, 0.4], [-0.4, 1.5], [0.9, -1.3], [-0.4, 1.5], [1.6, 0.4]],
    "selected": 0,
    "query_weight": IDENTITY,
    "key_weight": IDENTITY,
    "value_weight": IDENTITY,
    "positions": "none",
    "is_causal": False,
}


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """A preset that leaves nothing as it was."""
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "Order is lost",
        "The first dog and the last, who bites and who is bitten, have the same row of weights and the same context: "
        "choose other positions than none, and the two rows part.",
    ),
    _preset(
        "Only the past",
        "Each word sees itself and what came before, so that the first has only itself to look at and the two dogs "
        "differ: order comes in through the mask, without any positions.",
        is_causal=True,
    ),
    _preset(
        "Not always itself",
        "Queries and keys are the words themselves, and cat still looks more at tiger, which points the same way and "
        "is longer: drag tiger nearer to the middle, and cat looks most at itself.",
        words=["cat", "tiger", "spoon"],
        vectors=[[1.0, 0.6], [2.2, 1.2], [-1.2, 1.0]],
    ),
    _preset(
        "Asking for something else",
        "W_q turns by a quarter, so that black and white ask for what points where cat and dog point: choose handles "
        "for W_q, press the button that makes it straight, and each looks at its own kind.",
        words=["black", "cat", "white", "dog"],
        vectors=[[2.2, 0.2], [0.1, 2.2], [2.2, -0.2], [-0.1, 2.2]],
        query_weight=_QUARTER,
    ),
    _preset(
        "Only distance counts",
        "Six words that are all alike, and turned by their places: each looks most at itself and less at its "
        "neighbours, but the first looks more at the sixth than at the third, for one pair of numbers is once around "
        "after 6.3 places.",
        words=["row"] * 6,
        vectors=[[1.4, 0.9]] * 6,
        positions="rotary",
    ),
    _preset(
        "A query that asks nothing",
        "With a W_q of noughts all energies are 0, all weights alike, and every word gets the mean of all values.",
        query_weight=[[0.0, 0.0], [0.0, 0.0]],
    ),
]


def word_vector(word: str) -> list[float]:
    """A point of the plane for a word, as the page gives it to one that is typed; letters decide, meaning does not.

    >>> word_vector("dog") == word_vector("Dog"), 1 <= math.hypot(*word_vector("cat")) <= 2.01
    (True, True)
    """
    found = 2166136261
    for letter in word.lower():
        found = (found ^ ord(letter)) * 16777619 & 0xFFFFFFFF
    found = (found ^ found >> 16) * 2246822507 & 0xFFFFFFFF
    found ^= found >> 13
    turn, length = 2 * math.pi * (found % 1024) / 1024, 1 + ((found >> 10) % 1024) / 1024
    return [round(length * math.cos(turn), 2), round(length * math.sin(turn), 2)]


class SelfAttentionBoard(PresetWidget):
    """Self-attention over a sentence: words to type and to drag, projections, positions and causality.

    Args:
        words: of the sentence, up to eight; without ``vectors`` each gets the one of :func:`word_vector`.
        vectors: the inputs, one a word.
        selected: the word whose row and context are shown in full.
        query_weight: the matrix of the queries; ``key_weight`` and ``value_weight`` likewise.
        positions: ``"none"``, ``"added"`` (sinusoids) or ``"rotary"``.
        is_causal: a word sees itself and those before it.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are one row a word, computed in float64 with attnlib.

    >>> board = SelfAttentionBoard(words=["a", "a"])
    >>> board.weights
    [[0.5, 0.5], [0.5, 0.5]]
    """

    words = Texts(_NEUTRAL["words"], shape=(("n", 1, 8),))
    vectors = Array((("n", 1, 8), 2), _NEUTRAL["vectors"], **FARTHEST)
    selected = Whole(0, below="words")
    query_weight = Array((2, 2), IDENTITY, **FARTHEST)
    key_weight = Array((2, 2), IDENTITY, **FARTHEST)
    value_weight = Array((2, 2), IDENTITY, **FARTHEST)
    positions = Choice(("none", "added", "rotary"), "none")
    is_causal = Flag(False)
    presets = Presets(PRESETS)
    energies = Output("one row a word; -inf where hidden")
    weights = Output("one row a word")
    context = Output("one row a word")

    sample: ClassVar = {"query_weight": [[0.25, 0.5], [0.0, 1.0]]}
    presets_of = ("words",)

    def __init__(self, **state: Any) -> None:
        if "words" in state and "vectors" not in state:
            state["vectors"] = [word_vector(word) for word in state["words"]]
        super().__init__(**state)

    def _compute(self) -> None:
        inputs = tensor(self.vectors)
        if self.positions == "added":
            inputs = inputs + sinusoidal(torch.arange(len(inputs)), 2, dtype=inputs.dtype)
        found = self_attention(
            inputs,
            query_weight=tensor(self.query_weight),
            key_weight=tensor(self.key_weight),
            value_weight=tensor(self.value_weight),
            score=rotary if self.positions == "rotary" else scaled_dot,
            is_causal=self.is_causal,
        )
        for name, part in found._asdict().items():
            self.set_trait(name, part.tolist())

    def summary(self) -> str:
        """The selected word's weights and context in words."""
        row = zip(self.words, self.weights[self.selected], strict=True)
        weights = ", ".join(f"{word} {share(weight)}" for word, weight in row)
        how = f"positions {self.positions}, {'only the past' if self.is_causal else 'all seen'}"
        return f"{self.words[self.selected]} ({how}): weights {weights}; context {pair(self.context[self.selected])}"
