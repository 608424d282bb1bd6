"""AlignmentExplorer: the words of a sentence pair, the weights between them, and the links that people drew."""

import math
from typing import Any

import torch

from attnlib.alignment import diagonal
from attnlib.widgets.maps import Maps, Sentences, sentence
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.traits import StateError, Texts

__all__ = ["PRESETS", "SENTENCES", "AlignmentExplorer"]

_SLACK = 0.01  # by which a row of weights may exceed 1: what rounding adds up to in a long sentence
_ENGLISH = ["In", "the", "beginning", "God", "created", "the", "heavens", "and", "the", "earth"]
_HEBREW = {
    "בראשית": "in-beginning",
    "ברא": "created",
    "אלהים": "God",
    "את": "(object)",
    "השמים": "the-heavens",
    "ואת": "and-(object)",
    "הארץ": "the-earth",
}
_LINKED = [0, 0, 0, 2, 1, 4, 4, 5, 6, 6]  # the Hebrew word of each English one
_STRAIGHT = diagonal(len(_ENGLISH), len(_HEBREW))
_MADE_UP = 0.7 * torch.eye(len(_HEBREW))[_LINKED] + 0.3 * _STRAIGHT

# The smallest that shows something; chapters bring theirs.
SENTENCES = [
    sentence(
        _ENGLISH,
        _HEBREW,
        {"made up": _MADE_UP, "diagonal": _STRAIGHT},
        title="Genesis 1:1",
        links=list(enumerate(_LINKED)),
        glosses=_HEBREW.values(),
        row_language="en",
        column_language="he",
    )
]
PRESETS = [
    preset(
        "Right to left",
        "The Hebrew verb comes before its subject: step from the English subject to the verb and see the links cross.",
        row=3,
        matrix="made up",
        compare="",
    ),
    preset(
        "The diagonal",
        "It has read neither sentence: find the first circle that it misses, and say why just there.",
        row=0,
        matrix="diagonal",
        compare="",
    ),
]


class AlignmentExplorer(Maps):
    """:class:`~attnlib.widgets.Maps` of translations: target words are rows, source words columns, aligners matrices.

    A row sums to 1, or to less where the rest went to what is no word (an end mark, an empty word). One hand-made
    sentence with made-up weights unless others are given.

    >>> explorer = AlignmentExplorer(matrix="diagonal")
    >>> explorer.links[:3], round(explorer.error, 4)
    ([[0, 0], [1, 1], [2, 1]], 0.5)
    """

    sentences = Sentences(SENTENCES)
    names = Texts(["Target word", "Source word", "Aligner"], shape=(3,))
    presets = Presets(PRESETS)

    def _check(self, state: dict[str, Any]) -> None:
        for item in state["sentences"]:
            for matrix in item["matrices"]:
                most = max(map(math.fsum, matrix["weights"]))
                if most > 1 + _SLACK:
                    raise StateError(f"a row of {matrix['name']} must sum to at most 1; one sums to {most:g}")
