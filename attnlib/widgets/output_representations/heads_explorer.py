"""HeadsExplorer: a word becomes sounds in a transformer of which every weight can be seen, told and changed."""

import inspect
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch

from attnlib.data.pronunciations import EXAMPLES, LETTERS, SOUNDS
from attnlib.distributions import softmax
from attnlib.output_representations import transformer_layer
from attnlib.output_representations.interventions import Head, Row, chained, rows_set, switched_off
from attnlib.output_representations.multihead import MultiHead
from attnlib.output_representations.parts import split
from attnlib.output_representations.transformer import Transformer
from attnlib.scores import scaled_dot
from attnlib.widgets.output_representations.transformer_model import unpacked_model
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import share
from attnlib.widgets.traits import Array, Choice, Output, Record, StateError, Text, Texts, Whole

__all__ = ["LONGEST", "MARK", "PRESETS", "STORE", "HeadsExplorer", "model"]

STORE = Path(__file__).with_suffix(".json")  # the network; book/experiments/pronunciations.py writes it
LONGEST, LETTERS_AT_MOST, MARK = 20, 12, len(SOUNDS)
PARTS = ("encoder", "decoder", "across")

_STORED: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
_LAYERS, _HEADS = _STORED["layers"], _STORED["heads"]
_ALL = [f"{part} {layer} {head}" for part in PARTS for layer in range(_LAYERS) for head in range(_HEADS)]


@cache
def model() -> Transformer:
    """The network, with the numbers that the page has."""
    return unpacked_model(_STORED)


def _code(where: Callable[..., Any], fragment: str) -> dict[str, str]:
    """The line of the library that holds some code, and where it stands."""
    [line] = [line.strip() for line in inspect.getsource(where).splitlines() if fragment in line]
    return {"code": line.rstrip(","), "where": f"{where.__qualname__}, {where.__module__}"}


STAGES: dict[str, dict[str, str]] = {
    "query": {"equation": "q = W_q x + b_q", **_code(MultiHead.project, '_projected("query"')},
    "key": {"equation": "k = W_k x′ + b_k,  v = W_v x′ + b_v", **_code(MultiHead.project, '_projected("key"')},
    "energy": {"equation": "e = q · k / √d_k", **_code(scaled_dot, "max(query.shape[-1], 1)")},
    "weight": {"equation": "α = exp(e) / Σ exp(e)", **_code(softmax, "weights = torch.softmax")},
    "context": {"equation": "c = Σ α v", **_code(transformer_layer._attended, "context = join(")},
    "output": {"equation": "y = W_o [c¹; c²; c³; c⁴] + b_o", **_code(MultiHead.output, "return _projected")},
    "logits": {"equation": "z = W norm(x) + b,  p = exp(z) / Σ exp(z)", **_code(Transformer.write, "self.logits(")},
}


def _at(word: str, part: str, layer: int, head: int, row: int, column: int, **more: Any) -> dict[str, Any]:
    place = {"word": word, "part": part, "layer": layer, "head": head, "row": row, "column": column}
    return {**place, "stage": "weight", "off": [], "edits": [], **more}


_THREE = ["across 0 2", "across 0 3", "across 1 2"]
_MOVED = {"part": "across", "layer": 0, "head": 2, "row": 0, "weights": [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]}

# "Unseen" words were not trained with; the numbers are those of book/experiments/results/pronunciations.
PRESETS = [
    preset(
        "A silent letter",
        "It says N and not K, as of 19 of the 20 unseen words that begin with kn, though five of the eight heads that "
        "look at letters look most at the k: find the other three.",
        **_at("kneading", "across", 1, 0, 0, 1),
    ),
    preset(
        "The dearest head",
        "Off alone, this head costs 13 of 100 unseen words, more than any other of the 24: switch it on again, and "
        "donuts are donuts.",
        **_at("donuts", "across", 1, 0, 2, 1, off=["across 1 0"]),
    ),
    preset(
        "A head not missed",
        "Off alone, this head costs nothing that 3,815 unseen words would tell from nought, and still some words "
        "change, as this one does: switch off another one beside it.",
        **_at("nimrod", "decoder", 0, 3, 4, 3, off=["decoder 0 3"]),
    ),
    preset(
        "Three heads together",
        "Off one at a time these three cost 9, 10 and 7 of 100 unseen words, together 43 and not 26: what a head costs "
        "alone is not what it is worth.",
        **_at("brunch", "across", 0, 2, 3, 3, off=_THREE),
    ),
    preset(
        "No letter in sight",
        "With all eight heads that look at letters off, it says the same of every word: type another one.",
        **_at("kneading", "across", 1, 0, 0, 0, off=[name for name in _ALL if name.startswith("across")]),
    ),
    preset(
        "One look moved",
        "For the first sound this head was made to look at the last letter, and the M is gone: the same change gives "
        "39 of 717 unseen words of six letters another first sound.",
        **_at("mikado", "across", 0, 2, 0, 5, edits=[_MOVED]),
    ),
]


class HeadsExplorer(PresetWidget):
    """A word, the sounds that a trained transformer makes of it, and all of its heads.

    Args:
        word: from 1 to 12 letters, a to z.
        part: ``"encoder"``, letters look at letters; ``"decoder"``, sounds at the sounds before them; ``"across"``,
            sounds at letters.
        layer: which, from 0.
        head: which, from 0.
        row: who looks: the number of a letter, or of the sound that is about to be said. One beyond the last is the
            last.
        column: what is looked at, in the same way.
        stage: which step of the calculation is told, from ``"query"`` to ``"logits"``.
        off: heads that are switched off, as ``"across 1 0"``: part, layer and head.
        edits: rows of weights put in by hand: ``{part, layer, head, row, weights}``. One whose number of weights does
            not fit the word any more is refused.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed in float64 with attnlib: ``sounds`` with their ``probability``, those that it says when
    nothing is changed (``untouched``); of the chosen row the ``weights``, ``energies`` and ``context``.

    >>> HeadsExplorer(word="dog").sounds
    ['D', 'AO', 'G']
    """

    word = Text(PRESETS[0]["state"]["word"])
    part = Choice(PARTS, "across")
    layer = Whole(0, most=_LAYERS - 1)
    head = Whole(0, most=_HEADS - 1)
    row = Whole(0, most=LONGEST - 1)
    column = Whole(0, most=LONGEST - 1)
    stage = Choice(STAGES, "weight")
    off = Texts([])
    edits = Record(
        {
            "part": Choice(PARTS, "across"),
            "layer": Whole(0, most=_LAYERS - 1),
            "head": Whole(0, most=_HEADS - 1),
            "row": Whole(0, most=LONGEST - 1),
            "weights": Array(("_keys",), [1.0], least=0, most=1),
        },
        [],
        shape=(("", 0, None),),
    )
    presets = Presets(PRESETS)
    sounds = Output("what it says")
    probability = Output("of all these sounds, and of ending there")
    untouched = Output("what it says with all heads on and no weight changed")
    weights = Output("of the chosen row, one for each column")
    energies = Output("of the chosen row, before any change of weights")
    context = Output("of the chosen head and row")

    data: ClassVar = {
        **_STORED,
        "letters": "".join(LETTERS),
        "sounds": list(SOUNDS),
        "heard": EXAMPLES,
        "stages": [{"name": name, **told} for name, told in STAGES.items()],
        "longest": LONGEST,
    }
    sample: ClassVar = {"word": "dollar"}  # of six letters, as the row that a preset sets

    def _check(self, state: dict[str, Any]) -> None:
        word = state["word"]
        if not 1 <= len(word) <= LETTERS_AT_MOST or set(word) - set(LETTERS):
            raise StateError(f"word must be 1 to {LETTERS_AT_MOST} letters from a to z; got {word!r:.40}")
        for name in state["off"]:
            if name not in _ALL:
                raise StateError(f"off must be heads as {_ALL[0]!r} to {_ALL[-1]!r}; got {name!r:.40}")
        for each in state["edits"]:
            wanted = each["row"] + 1 if each["part"] == "decoder" else len(word)
            if len(each["weights"]) != wanted:
                raise StateError(f"edits must have {wanted} weights in this row; got {len(each['weights'])}")

    def _compute(self) -> None:
        letters = torch.tensor([[LETTERS.index(letter) for letter in self.word]])
        rows = {Row(e["part"], e["layer"], e["head"], e["row"]): e["weights"] for e in self.edits}
        heads = [Head(part, int(layer), int(head)) for part, layer, head in map(str.split, self.off)]  # type: ignore[arg-type]
        edit = chained(rows_set(rows), switched_off(heads))
        said, plain = (
            model().greedy(letters, begin=MARK, end=MARK, longest=LONGEST, edit=changed) for changed in (edit, None)
        )
        words = said.words[said.mask]
        encoded = model().read(letters, edit=edit)
        written = model().write(torch.cat([torch.tensor([MARK]), words[:-1]])[None], encoded, edit=edit)
        passed = (encoded if self.part == "encoder" else written).layers[self.layer]
        found = passed.across if self.part == "across" else passed.own
        assert found is not None
        assert found.weights is not None
        assert found.energies is not None
        row = min(self.row, found.weights.shape[-2] - 1)
        seen = row + 1 if self.part == "decoder" else found.weights.shape[-1]
        self.set_trait("sounds", [SOUNDS[i] for i in words.tolist() if i != MARK])
        self.set_trait("probability", said.log_probability.exp().item())
        self.set_trait("untouched", [SOUNDS[i] for i in plain.words[plain.mask].tolist() if i != MARK])
        self.set_trait("weights", found.weights[0, self.head, row, :seen].tolist())
        self.set_trait("energies", found.energies[0, self.head, row, :seen].tolist())
        self.set_trait("context", split(found.context, _HEADS)[0, self.head, row].tolist())

    def summary(self) -> str:
        """What it says, and where the chosen row looks."""
        rows, columns = self._names_of()
        row = min(self.row, len(rows) - 1)
        best = max(range(len(self.weights)), key=self.weights.__getitem__)
        said = " ".join(self.sounds) or "nothing"
        told = f"“{self.word}” becomes {said} (probability {share(self.probability)})"
        if self.sounds != self.untouched:
            told += f", untouched {' '.join(self.untouched) or 'nothing'}"
        changed = f"; {len(self.off)} heads off" * bool(self.off) + f"; {len(self.edits)} rows set" * bool(self.edits)
        name = f"{self.part}, layer {self.layer + 1}, head {self.head + 1}"
        return f"{told}{changed}; {name}: “{rows[row]}” looks most at “{columns[best]}” ({share(self.weights[best])})"

    def _names_of(self) -> tuple[list[str], list[str]]:
        """What rows and columns of the chosen map are called."""
        letters, steps = list(self.word), [*self.sounds, "end"]
        rows = letters if self.part == "encoder" else steps
        return rows, ["start", *self.sounds] if self.part == "decoder" else letters
