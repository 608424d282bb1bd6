"""OwnWord: two small networks say any English word, one with attention and one from one vector; its weights to drag."""

import json
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from attnlib.data.pronunciations import EXAMPLES, LETTERS, SOUNDS
from attnlib.recurrent.rnnsearch import Encoded, RNNencdec, RNNsearch, Step
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.recurrent.own_word_model import unpacked_model
from attnlib.widgets.stepper import Stepper
from attnlib.widgets.text import share
from attnlib.widgets.traits import Flag, Output, Record, StateError, Text, Whole

__all__ = ["DICTIONARY", "LETTERS_AT_MOST", "LONGEST", "MARK", "PRESETS", "STORE", "OwnWord", "Said", "networks", "say"]

STORE = Path(__file__).with_suffix(".json")  # the networks; book/experiments/letters_to_sounds.py writes it
LETTERS_AT_MOST, LONGEST, MARK = 34, 40, len(SOUNDS)
_STORED: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))

# Some words that the networks were not trained with, and each way in which the dictionary says them.
DICTIONARY = {
    word: tuple(way.split() for way in ways.split(" | "))
    for word, ways in {
        "answer": "AE N S ER",
        "brightly": "B R AY T L IY",
        "crunchy": "K R AH N CH IY",
        "disappointingly": "D IH S AH P OY N T IH NG L IY | D IH S AH P OY N IH NG L IY",
        "disproportionately": "D IH S P R AH P AO R SH AH N AH T L IY",
        "extraterrestrials": "EH K S T R AH T ER EH S T R IY AH L Z",
        "flight": "F L AY T",
        "knights": "N AY T S",
        "laughter": "L AE F T ER",
        "lightning": "L AY T N IH NG",
        "motorcycles": "M OW T ER S AY K AH L Z",
        "night": "N AY T",
        "opportunity": "AA P ER T UW N AH T IY",
        "orphans": "AO R F AH N Z",
        "overwhelmingly": "OW V ER W EH L M IH NG L IY | OW V ER HH W EH L M IH NG L IY",
        "psyche": "S AY K IY",
        "psychological": "S AY K AH L AA JH IH K AH L",
        "queue": "K Y UW",
        "refrigerators": "R IH F R IH JH ER EY T ER Z",
        "shaped": "SH EY P T",
        "sign": "S AY N",
        "thumb": "TH AH M",
        "wealthy": "W EH L TH IY",
    }.items()
}


def _preset(name: str, notice: str, word: str, step: int = 0, cut: bool = False) -> dict[str, Any]:
    return preset(name, notice, word=word, step=step, cut=cut, moves=[])


PRESETS = [
    _preset(
        "A long word",
        "With attention each sound is right; from one vector the first three are too, and then it goes astray: press "
        "Next sound and see which letters light up.",
        "opportunity",
        step=3,
    ),
    _preset(
        "A short word",
        "Both networks say it, also from one vector: drag the weight of the l to the g, and it is said as “fight”.",
        "flight",
        step=1,
    ),
    _preset(
        "Silent letters",
        "No sound looks most at the k, the g or the h, and none is heard: drag the weight of the n to the k, and the "
        "k is.",
        "knights",
    ),
    _preset(
        "Two letters for one sound",
        "The weight of SH lies on two letters, a little more on the s than on the h: drag that of either to the other, "
        "and SH stays.",
        "shaped",
    ),
    _preset(
        "Cut off",
        "With even weights on all letters it says R IH six times over and ends in no word: untick the box, and all of "
        "its sounds are back.",
        "refrigerators",
        cut=True,
    ),
    _preset(
        "Longer than any before",
        "No word that they learned from has more than 14 letters, and this one has 18: with attention each sound is "
        "right, and from one vector the first five are.",
        "disproportionately",
        step=5,
    ),
]


class Said(NamedTuple):
    """What was said: sounds, the mark that ends them not among them; and of each step, that of the mark too, the
    weights of its own, those that were used, and the logits."""

    sounds: list[str]
    own: Tensor
    weights: Tensor
    logits: Tensor


@cache
def networks() -> dict[str, RNNsearch | RNNencdec]:
    """Both, with the numbers that the page has."""
    return {name: unpacked_model(stored) for name, stored in _STORED.items()}


def _told(model: RNNsearch, last: Tensor, state: Tensor, context: Tensor) -> Step:
    """A step that is given its context: it can look at nothing else."""
    size = model.align_annotation.weight.shape[0]
    only = Encoded(context.unsqueeze(1), context.new_zeros(1, 1, size), torch.ones(1, 1, dtype=torch.bool), state)
    return model.step(last, state, only)


@torch.no_grad()
def say(name: str, word: str, *, moves: list[dict[str, int]] | None = None, cut: bool = False) -> Said:
    """Say a word, the likeliest sound at each step.

    Args:
        name: ``"RNNsearch"`` or ``"RNNencdec"``.
        word: letters from a to z.
        moves: ``{row, letter, to}``: what ``letter`` has of the weight of step ``row`` goes to another letter. In
            RNNencdec, which looks at no letter, nothing is moved.
        cut: use even weights in the place of its own; then nothing is moved.
    """
    model, source = networks()[name], torch.tensor([[LETTERS.index(letter) for letter in word]])
    encoded = model.encode(source, torch.ones_like(source, dtype=torch.bool))
    state, last, own, used, logits = encoded.state, torch.tensor([MARK]), [], [], []
    said: list[int] = []
    while len(said) < LONGEST and said[-1:] != [MARK]:
        step = model.step(last, state, encoded)
        own.append(step.weights[0])
        weights = own[-1]
        if isinstance(model, RNNsearch):
            weights = _changed(weights, len(said), moves or [], cut)
            if weights is not own[-1]:
                step = _told(model, last, state, weights.unsqueeze(0) @ encoded.annotations[0])
        used.append(weights)
        logits.append(step.logits[0])
        state, last = step.state, step.logits.argmax(-1)
        said.append(int(last))
    sounds = [SOUNDS[i] for i in said if i != MARK]
    return Said(sounds, torch.stack(own), torch.stack(used), torch.stack(logits))


def _changed(own: Tensor, row: int, moves: list[dict[str, int]], cut: bool) -> Tensor:
    here = [move for move in moves if move["row"] == row]
    if cut:
        return torch.full_like(own, 1 / len(own))
    if not here:
        return own
    weights = own.clone()
    for move in here:
        weights[move["letter"]] -= own[move["letter"]]
    for move in here:
        weights[move["to"]] += own[move["letter"]]
    return weights


class OwnWord(Stepper):
    """A word of the reader's own, and the sounds that RNNsearch and RNNencdec make of it.

    Args:
        word: from 1 to 34 letters, a to z.
        step: the sound that is looked at, from 0; one beyond the last is the last.
        moves: weights moved by hand: ``{row, letter, to}``, the step, the letter whose weight it is, and the one that
            gets it. Moves of a step that is not taken wait.
        cut: even weights on all letters, at each step.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed in float64 with attnlib: ``sounds``, those ``untouched`` by moves and cut, those of the
    other network (``plain``); of the step the ``weights`` and its ``own``; and the ``map`` of all weights.

    >>> OwnWord(word="night").sounds
    ['N', 'AY', 'T']
    >>> OwnWord(word="night", moves=[{"row": 0, "letter": 0, "to": 4}]).sounds
    ['T', 'AY', 'T']
    """

    word = Text(PRESETS[0]["state"]["word"])
    step = Whole(0, most=LONGEST - 1)
    moves = Record(
        {
            "row": Whole(0, most=LONGEST - 1),
            "letter": Whole(0, most=LETTERS_AT_MOST - 1),
            "to": Whole(0, most=LETTERS_AT_MOST - 1),
        },
        [],
        shape=(("", 0, None),),
    )
    cut = Flag(False)
    presets = Presets(PRESETS)
    sounds = Output("what is said with attention")
    untouched = Output("what is said with its own weights")
    plain = Output("what is said from one vector")
    weights = Output("of the step, one a letter")
    own = Output("of the step, before any change")
    map = Output("the weights of all steps, the one that ends the word too")

    data: ClassVar = {
        "networks": _STORED,
        "letters": "".join(LETTERS),
        "sounds": list(SOUNDS),
        "heard": EXAMPLES,
        "dictionary": DICTIONARY,
        "most": LETTERS_AT_MOST,
        "longest": LONGEST,
    }
    sample: ClassVar = {"word": "attention"}

    def _check(self, state: dict[str, Any]) -> None:
        word, moves = state["word"], state["moves"]
        if not 1 <= len(word) <= LETTERS_AT_MOST or set(word) - set(LETTERS):
            raise StateError(f"word must be 1 to {LETTERS_AT_MOST} letters from a to z; got {word!r:.40}")
        for move in moves:
            if max(move["letter"], move["to"]) >= len(word) or move["letter"] == move["to"]:
                raise StateError(f"moves must go from one letter of {word!r} to another; got {move}")
        if len({(move["row"], move["letter"]) for move in moves}) < len(moves):
            raise StateError("moves must be one for each letter of a step; got two")

    def _count(self) -> int:
        last: int = len(self.map) - 1
        return last if self.step > last else int(self.step)

    def _at(self, count: int) -> dict[str, Any]:
        return {"step": min(count, len(self.map) - 1)}

    def _now(self) -> dict[str, Any]:
        said = say("RNNsearch", self.word, moves=self.moves, cut=self.cut)
        touched = self.cut or self.moves
        row = min(self.step, len(said.weights) - 1)
        return {
            "sounds": said.sounds,
            "untouched": say("RNNsearch", self.word).sounds if touched else said.sounds,
            "plain": say("RNNencdec", self.word).sounds,
            "weights": said.weights[row].tolist(),
            "own": said.own[row].tolist(),
            "map": said.weights.tolist(),
        }

    def summary(self) -> str:
        """What both say, and where the step looks."""

        def spoken(sounds: list[str]) -> str:
            return " ".join(sounds) or "nothing"

        told = f"“{self.word}” with attention: {spoken(self.sounds)}"
        if self.cut or self.moves:
            how = "cut off" if self.cut else "weights moved"
            told += f" ({how}; untouched {spoken(self.untouched)})"
        told += f"; from one vector: {spoken(self.plain)}"
        row = self._count()
        names = [*self.sounds, "end"]
        best = max(range(len(self.weights)), key=self.weights.__getitem__)
        return f"{told}; for “{names[row]}” most weight on “{self.word[best]}” ({share(self.weights[best])})"
