"""AlignmentExplorer: the words of a sentence pair, the weights between them, and the links that people drew."""

import math
from typing import Any

import torch

from attnlib.alignment import diagonal, uniform
from attnlib.widgets.maps import Maps, Sentences, sentence
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.traits import StateError, Texts

__all__ = ["PRESETS", "SENTENCES", "AlignmentExplorer"]

_SLACK = 0.01  # by which a row of weights may exceed 1: what rounding adds up to in a long sentence


def _made_up(n_target: int, n_source: int, links: list[list[int]]) -> torch.Tensor:
    """Weights that look learned: people's links, a pull to the diagonal and a ripple, through a softmax."""
    t, s = torch.arange(n_target, dtype=torch.float64)[:, None], torch.arange(n_source, dtype=torch.float64)
    energies = -0.45 * (s - (t + 0.5) * n_source / n_target + 0.5).abs() + 1.1 * torch.sin(7 * t + 3 * s)
    for target, source in links:
        energies[target, source] += 2.15
    return energies.softmax(-1)


def _example(title: str, language: str, source: str, target: str, links: str) -> dict[str, Any]:
    """A hand-made sentence pair; ``links`` reads "0-1" for target word 0 with source word 1."""
    pairs = [[int(place) for place in link.split("-")] for link in links.split()]
    shape = len(target.split()), len(source.split())
    weights = {"made up": _made_up(*shape, pairs), "diagonal": diagonal(*shape), "uniform": uniform(*shape)}
    return sentence(target, source, weights, title=title, links=pairs, row_language="en", column_language=language)


SENTENCES = [
    _example(
        "Greek: in the beginning",
        "grc",
        "Ἐν ἀρχῇ ἦν ὁ λόγος καὶ ὁ λόγος ἦν πρὸς τὸν θεόν",
        "In the beginning was the Word and the Word was with God",
        "0-0 2-1 3-2 4-3 5-4 6-5 7-6 8-7 9-8 10-9 11-11",
    ),
    _example(
        "Hebrew: God created",
        "he",
        "בראשית ברא אלהים את השמים ואת הארץ",
        "In the beginning God created the heavens and the earth",
        "0-0 1-0 2-0 3-2 4-1 5-4 6-4 7-5 8-6 9-6",
    ),
    _example(
        "French: the red house",
        "fr",
        "la maison rouge se dresse sur la colline",
        "the red house stands on the hill",
        "0-0 1-2 2-1 3-3 3-4 4-5 5-6 6-7",
    ),
]
_START = {"compare": "", "every_link": True, "matrix": "made up"}
PRESETS = [
    preset(
        "A word that nobody linked",
        "Greek has no article here, so people left the English one alone: see where its weights go, and what that does "
        "to the precision.",
        **{**_START, "index": 0, "row": 1},
    ),
    preset(
        "Right to left",
        "The Hebrew verb comes before its subject: step from the English subject to the verb and see the links cross.",
        **{**_START, "index": 1, "row": 3},
    ),
    preset(
        "Two words for one",
        "People gave this verb two French words, but there is only one largest weight: say which of the three numbers "
        "can still be perfect.",
        **{**_START, "index": 2, "row": 3},
    ),
    preset(
        "How far the diagonal comes",
        "The diagonal has read neither sentence: find the first target word at which it fails, and say why just there.",
        **{**_START, "index": 2, "row": 0, "matrix": "diagonal", "every_link": False},
    ),
]


class AlignmentExplorer(Maps):
    """:class:`~attnlib.widgets.Maps` of translations: target words are rows, source words columns, aligners matrices.

    A row sums to 1, or to less where the rest went to what is no word (an end mark, an empty word). Three hand-made
    sentences with weights from a formula unless others are given.

    >>> explorer = AlignmentExplorer(index=2, matrix="diagonal")
    >>> explorer.links[:3], round(explorer.error, 4)
    ([[0, 0], [1, 1], [2, 2]], 0.3333)
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
