"""FactorMixer: the four terms of an energy, each to be switched on and off, over the words of a short sentence."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib import Attention
from attnlib.frontiers.factors import factors
from attnlib.widgets.plane import tensor
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import share
from attnlib.widgets.traits import Array, Output, StateError, Texts, Whole

__all__ = ["KINDS", "PRESETS", "FactorMixer"]

KINDS = ("article", "adjective", "noun", "verb")
_NEUTRAL: dict[str, Any] = {
    "words": ["the", "old", "dog", "chased", "the", "small", "cat"],
    "kinds": [0, 1, 2, 3, 0, 1, 2],
    "terms": [1],
    "row": 1,
}
# By hand: how much each kind wants each of the kinds, and then what stands before it, and what stands behind.
_WANTS = [
    [0.0, 0.0, 4.0, 0.0, 0.0, 4.0],
    [0.0, 0.0, 4.0, 0.0, 0.0, 4.0],
    [0.0, 4.0, 0.0, 0.0, 4.0, 0.0],
    [0.0, 0.0, 4.0, 0.0, 4.0, 0.0],
]


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """A preset that leaves nothing as it was."""
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "Word and word",
        "“old” wants a noun, and there are two: content alone gives “dog” and “cat” the same weight, for they are of "
        "one kind.",
    ),
    _preset(
        "Word and place",
        "“old” wants what follows it, whatever that is: “dog” has most of the weight, “chased” comes next, and “cat” "
        "gets little.",
        terms=[2],
    ),
    _preset(
        "The key alone",
        "No query speaks, and all rows are equal: nouns and verbs draw everybody alike, wherever they stand.",
        terms=[3],
        row=0,
    ),
    _preset(
        "Place alone",
        "No word speaks: each one but the first looks most at the place before it, and when you swap two words the map "
        "stays as it is.",
        terms=[4],
        row=3,
    ),
    _preset(
        "No query at all",
        "Two terms without a query's content, and yet “small” looks most at “chased”, the nearest noun or verb before "
        "it: keys and places do much alone, even draw a word to itself, as “dog”.",
        terms=[3, 4],
        row=5,
    ),
    _preset("Nothing", "No term, no difference: each of the seven words has a seventh.", terms=[], row=0),
    _preset(
        "E1 and E2",
        "Content says which kind, place says which one: “old” looks at the noun that follows it, and each noun at the "
        "adjective before it.",
        terms=[1, 2],
    ),
]


class FactorMixer(PresetWidget):
    """The map of weights that up to four terms of the energy make, over words whose kinds are all their content.

    Vectors are made by hand and nothing is trained. ``wants`` has a row for each of ``KINDS``: how much a word of
    this kind wants each kind, what stands before it, and what stands behind it; the wish for a place halves with each
    further place. Outputs are computed in float64 by :func:`attnlib.frontiers.factors.factors`.

    >>> mixer = FactorMixer(words=["dog", "ran"], kinds=[2, 3], terms=[4], leans=[0, 0])
    >>> mixer.weights
    [[0.5, 0.5], [0.5, 0.5]]
    """

    words = Texts(_NEUTRAL["words"], shape=(("n", 1, 10),))
    kinds = Whole(_NEUTRAL["kinds"], shape=("n",), most=3, help="of each word: article, adjective, noun, verb")
    terms = Whole(_NEUTRAL["terms"], shape=(("", 0, 4),), least=1, most=4, help="which of E1 to E4 are added")
    row = Whole(_NEUTRAL["row"], below="words", help="the word that looks")
    wants = Array((4, 6), _WANTS, least=0, most=20, help="of each kind: the kinds it wants, before, behind")
    salience = Array((4,), [0.0, 0.0, 5.0, 5.0], least=0, most=20, help="how much each kind draws everybody, E3")
    leans = Array((2,), [4.0, 0.0], least=0, most=20, help="how much everybody leans forwards and backwards, E4")
    presets = Presets(PRESETS, help="what the reader can start from: name, notice and state of each")
    weights = Output("a row for each word")
    energies = Output("of each of the four terms, a row for each word")

    sample: ClassVar = {"terms": [1, 4]}
    presets_of = ("words", "kinds")

    def _check(self, state: dict[str, Any]) -> None:
        if state["terms"] != sorted(set(state["terms"])):
            raise StateError(f"terms must be distinct and in order; got {state['terms']}")

    def mix(self, terms: list[int]) -> Attention:
        """The attention that these terms make; features are the four kinds, before, and behind."""
        n = len(self.words)
        key = torch.eye(6, dtype=torch.float64)[self.kinds]
        distances = torch.arange(1.0 - n, n, dtype=torch.float64)
        near = torch.where(distances == 0, 0.0, 2 ** (1 - distances.abs()))
        vectors = torch.zeros(2 * n - 1, 6, dtype=torch.float64)
        vectors[:, 4], vectors[:, 5] = near * (distances < 0), near * (distances > 0)
        still: list[float] = [0.0, 0.0]
        return factors(
            tensor(self.wants)[self.kinds],
            key,
            terms=terms,
            vectors=vectors,
            key_bias=tensor([*self.salience, *still]),
            position_bias=tensor([0.0] * 4 + self.leans),
        )

    def _compute(self) -> None:
        def whole(part: Tensor | None) -> Any:
            assert part is not None
            return part.tolist()

        self.set_trait("weights", whole(self.mix(self.terms).weights))
        self.set_trait("energies", [whole(self.mix([term]).energies) for term in (1, 2, 3, 4)])

    def summary(self) -> str:
        """The terms that are added, and where the word of the row looks."""
        added = " + ".join(f"E{term}" for term in self.terms) or "no term"
        looks = ", ".join(
            f"{word} {share(weight)}" for word, weight in zip(self.words, self.weights[self.row], strict=True)
        )
        return f"{added}: “{self.words[self.row]}” looks at {looks}"
