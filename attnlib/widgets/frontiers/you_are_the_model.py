"""YouAreTheModel: select the words that matter, and see how like your map is to people's gaze and to a model's."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib.frontiers.selection import top
from attnlib.frontiers.similarity import adjusted, auc, cross_sentiment, lexical
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number
from attnlib.widgets.traits import Choice, Flag, Output, StateError, Whole

__all__ = ["DRAWS", "PRESETS", "STORE", "YouAreTheModel", "drawn"]

STORE = Path(__file__).with_suffix(".json")  # texts and maps; book/experiments/you_are_the_model.py writes it
_STORED: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
_TEXTS: dict[str, Any] = _STORED["texts"]
DRAWS = 100  # random selections that stand for chance
NOTHING = "nothing"
MAPS = ("first person", "second person", "model", "word length")

PRESETS = [
    preset(
        "The words of the answer",
        "The words that hold the answer are selected: a head of a model finds them, the first person looked longer at "
        "the others, and the second at both alike, as shading by each shows; over all twelve paragraphs people look a "
        "little longer at the answer.",
        text="Wolf",
        selected=_TEXTS["Wolf"]["answers"],
        shown="model",
        theirs=False,
    ),
    preset(
        "Your turn",
        "Nothing is selected: choose the words that you need to answer the question, and only then shade them.",
        text="Minister",
        selected=[],
        shown=NOTHING,
        theirs=False,
    ),
    preset(
        "The longest words",
        "Selected by length alone, which knows nothing of the question: both people looked longer at these than at "
        "others, and so did the model's head, with no eyes at all.",
        text="Shopper",
        selected=_TEXTS["Shopper"]["longest"],
        shown="first person",
        theirs=False,
    ),
    preset(
        "A review",
        "Selected are words of feeling, as many against the review's verdict as for it: give up those that the writer "
        "takes back, and the rate falls.",
        text="Review",
        selected=_TEXTS["Review"]["feeling"],
        shown="model",
        theirs=False,
    ),
]


def drawn(words: int, draws: int) -> list[list[int]]:
    """Scores that mean nothing, the same as in the page."""
    state, found = 1, []
    for _ in range(draws):
        row = []
        for _ in range(words):
            state = (1664525 * state + 1013904223) % 2**32
            row.append(state)
        found.append(row)
    return found


@cache
def _random(words: int) -> Tensor:
    return torch.tensor(drawn(words, DRAWS), dtype=torch.float64)


def _by_chance(chosen: Tensor, kinds: Tensor, n: int) -> Tensor:
    """The mean lexical similarity with random selections of the same size, all at once."""
    each = torch.nn.functional.one_hot(kinds, n).double()
    both = torch.cat([chosen[None], top(_random(len(chosen)), int(chosen.sum()))]).double()
    shares = both @ each / both.sum(-1, keepdim=True) - 1 / n
    size = shares.norm(dim=-1)
    found = shares[1:] @ shares[0] / (size[1:] * size[0])
    return torch.where(size[1:] < 1e-12, torch.nan, found).nanmean()


class YouAreTheModel(PresetWidget):
    """A text whose words can be selected, and three measures between this selection and the maps of others.

    Args:
        text: one of the stored texts: a paragraph that two people read, with its question, or a review.
        selected: the places of the selected words, each once, in order.
        shown: the map by which words are shaded: ``nothing``, or one that the text has.
        theirs: frame as many of the map's largest as are selected.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    Outputs, by attnlib: for each map of ``names`` the ``areas``, ``similarities`` of kinds of words with as many of its
    largest, and these ``adjusted`` for ``chance``; ``rates``, the cross-sentiment selection rates of the reader's words
    and of each map's, where the text has a sentiment. None stands where a measure is not defined.

    >>> widget = YouAreTheModel(text="Wolf", selected=[], shown="nothing")
    >>> widget.names, widget.areas
    (['first person', 'second person', 'model', 'word length'], [None, None, None, None])
    """

    text = Choice(tuple(_TEXTS), PRESETS[0]["state"]["text"])
    selected = Whole(PRESETS[0]["state"]["selected"], shape=(("", 0, None),), help="places of the selected words")
    shown = Choice((NOTHING, *MAPS), PRESETS[0]["state"]["shown"])
    theirs = Flag(False)
    presets = Presets(PRESETS)
    names = Output("of the maps")
    areas = Output("AUC with each map")
    similarities = Output("lexical similarity with each map")
    adjusted = Output("the same above chance")
    chance = Output("lexical similarity of random selections")
    rates = Output("cross-sentiment selection rates, the reader's first")

    data: ClassVar = {**_STORED, "draws": DRAWS}
    sample: ClassVar = {"selected": [1, 5]}

    def _check(self, state: dict[str, Any]) -> None:
        super()._check(state)
        given, words = state["selected"], _TEXTS[state["text"]]["words"]
        if given != sorted(set(given)) or (given and given[-1] >= len(words)):
            raise StateError(f"selected must be rising places below {len(words)}; got {given}")
        if state["shown"] not in (NOTHING, *_TEXTS[state["text"]]["maps"]):
            raise StateError(f"shown must be a map of the text {state['text']}; got {state['shown']}")

    def _compute(self) -> None:
        text = _TEXTS[self.text]
        chosen = torch.zeros(len(text["words"]), dtype=torch.bool)
        chosen[self.selected] = True
        kinds, n = torch.tensor(text["kinds"]), len(_STORED["parts"])
        maps = [torch.tensor(scores, dtype=torch.float64) for scores in text["maps"].values()]
        tops = [top(scores, len(self.selected)) for scores in maps]
        alike = torch.stack([lexical(chosen, each, kinds, n) for each in tops])
        chance = _by_chance(chosen, kinds, n)
        self.set_trait("names", list(text["maps"]))
        self.set_trait("areas", [_told(auc(chosen, scores)) for scores in maps])
        self.set_trait("similarities", [_told(each) for each in alike])
        self.set_trait("chance", _told(chance))
        self.set_trait("adjusted", [_told(each) for each in adjusted(alike, chance)])
        self.set_trait("rates", [_rate(each, text) for each in (chosen, *tops)] if text["sentiment"] else None)

    def summary(self) -> str:
        """How many words, and every measure."""

        def said(value: float | None) -> str:
            return "undefined" if value is None else number(value)

        rows = zip(self.names, self.areas, self.adjusted, strict=True)
        told = "; ".join(f"{name}: AUC {said(area)}, adjusted LS {said(more)}" for name, area, more in rows)
        rate = f"; your CSSR {said(self.rates[0])}" if self.rates else ""
        return f"{self.text}: {len(self.selected)} of {len(_TEXTS[self.text]['words'])} words; {told}{rate}"


def _told(value: Tensor) -> float | None:
    return None if math.isnan(value.item()) else value.item()


def _rate(chosen: Tensor, text: dict[str, Any]) -> float | None:
    rates = cross_sentiment(chosen, torch.tensor(text["polarity"]), torch.tensor(text["sentiment"]))
    return _told(rates.positive if text["sentiment"] > 0 else rates.negative)
