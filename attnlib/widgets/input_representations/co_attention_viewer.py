"""CoAttentionViewer: a scene and a question that look at each other, a step at a time, and the answer they come to."""

import json
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch

from attnlib.input_representations.coattention import CoAttention
from attnlib.widgets.image import unpacked
from attnlib.widgets.input_representations.co_attention_model import KINDS, LAYERS, seen_regions, unpacked_network
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.stepper import Stepper
from attnlib.widgets.text import share
from attnlib.widgets.traits import Choice, Output, Picture, Record, StateError, Text, Texts, Whole
from attnlib.widgets.weights import Layer

__all__ = ["PRESETS", "STEPS", "STORE", "CoAttentionViewer"]

STORE = Path(__file__).with_suffix(".json")  # networks and scenes; book/experiments/coattention_viewer.py writes it
STEPS = {
    "parallel": ("affinity", "both sides", "answer"),
    "alternating": ("first reading", "look", "second reading", "answer"),
}


@cache
def _stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
    return found


_ASIDE, _COUNTED = "i like red circles but what colour is the triangle", "how many red things are there"
_FULL = "i like purple squares but how many squares are there in this picture"
PRESETS = [
    preset(
        "In turn",
        "An aside names red circles, and the one in cell 5 gets next to no weight: go on to the words and the answer.",
        scene=1, words=_ASIDE.split(), kind="alternating", step=2,
    ),
    preset(
        "In parallel",
        "Each phrase has met each cell, and most affinities are full, −1 or 1: go on to the weights that come of them.",
        scene=1, words=_ASIDE.split(), kind="parallel", step=1,
    ),
    preset(
        "Two are not more than one",
        "Both red things get weight, and the answer is 1: the mean of two like things is not larger than one of them.",
        scene=1, words=_COUNTED.split(), kind="parallel", step=3,
    ),
    preset(
        "Words that say nothing",
        "The squares get most of the cells' weight, but of the words' nearly all goes to “are there in”, which does "
        "not say what is counted: each side goes its own way.",
        scene=2, words=_FULL.split(),
        kind="parallel", step=3,
    ),
    preset(
        "None is there",
        "There is no red cross, and nearly all weight lies on the four empty cells: ask for a purple cross instead.",
        scene=3, words=["is", "there", "a", "red", "cross"], kind="parallel", step=3,
    ),
    preset(
        "Wrong, and seen to be",
        "It looks at the blue cross and says yes, but no blue circle is there: see what the other kind looks at.",
        scene=0, words=["is", "there", "a", "blue", "circle"], kind="alternating", step=4,
    ),
]  # fmt: skip


class CoAttentionViewer(Stepper):
    """A scene and a question: where each looks, in parallel or in turn, and how sure the network is of its answer.

    Args:
        model: of :func:`attnlib.widgets.input_representations.co_attention_model.packed_model`.
        scenes: each a ``name``, what it shows in words (``told``), an ``image`` of
            :func:`attnlib.widgets.image.packed`, and ``questions`` with the ``answers`` that are right.
        scene: the number of the one that is shown.
        words: the question, in words of the model, without a question mark.
        kind: ``parallel`` or ``alternating``.
        step: how many steps have been taken: see ``STEPS``.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed in float64 with attnlib, all of them at any step: ``affinity`` (word by region, of the
    parallel kind), ``first`` (weights of words at the first reading, of the alternating kind), ``regions`` and
    ``read`` (weights of regions, and of words, each of which stands for the phrase of up to three that begins there),
    ``belief`` (a probability for each answer).

    >>> viewer = CoAttentionViewer()
    >>> viewer.to(9)
    >>> viewer.step == len(STEPS[viewer.kind]), round(sum(viewer.belief), 6)
    (True, 1.0)
    """

    model = Record(
        {
            "cell": Whole(1, least=1, most=64),
            "words": Texts([]),
            "answers": Texts([]),
            "seen": Layer(),
            **{kind: Record({name: Layer() for name in names}, {}) for kind, names in LAYERS.items()},
        },
        _stored()["model"],
    )
    scenes = Record(
        {
            "name": Text(""),
            "told": Text(""),
            "image": Picture({}),
            "questions": Texts([], shape=("_asked",)),
            "answers": Texts([], shape=("_asked",)),
        },
        _stored()["scenes"],
        shape=(("", 1, None),),
    )
    scene = Whole(0, below="scenes")
    words = Texts(["is", "there", "a", "red", "circle"], shape=(("", 1, 16),))
    kind = Choice(KINDS, "alternating")
    step = Whole(0, most=4)
    presets = Presets(PRESETS)
    affinity = Output("word by region, of the parallel kind")
    first = Output("weights of the words at the first reading, of the alternating kind")
    regions = Output("weights of the regions")
    read = Output("weights of the words")
    belief = Output("a probability for each answer")

    presets_of = ("model", "scenes")
    sample: ClassVar = {"words": ["what", "shape", "is", "the", "red", "thing"]}

    def _check(self, state: dict[str, Any]) -> None:
        model, count = state["model"], len(STEPS[state["kind"]])
        try:
            for kind in KINDS:
                network = unpacked_network(model, kind)
                if (network.embedding.num_embeddings, network.answer.out_features) != tuple(
                    len(model[name]) for name in ("words", "answers")
                ):
                    raise ValueError("words or answers are not as many as its layers have")
        except (ValueError, RuntimeError) as error:
            raise StateError(f"model must be of packed_model, its layers of sizes that fit; got: {error}") from error
        if unknown := [word for word in state["words"] if word not in model["words"]]:
            raise StateError(
                f"words must be known to the model, got {unknown[0]!r}; it knows {', '.join(model['words'])}"
            )
        if state["step"] > count:
            raise StateError(f"step must be at most {count}, as many as {state['kind']} has; got {state['step']}")
        if any(min(scene["image"][side] for side in ("height", "width")) < model["cell"] for scene in state["scenes"]):
            raise StateError(f"scenes must have pictures of at least a cell, {model['cell']} pixels")

    def _count(self) -> int:
        return int(self.step)

    def _at(self, count: int) -> dict[str, Any]:
        return {"step": min(count, len(STEPS[self.kind]))}

    def _now(self) -> dict[str, Any]:
        network = unpacked_network(self.model, self.kind)
        image = seen_regions(self.model, unpacked(self.scenes[self.scene]["image"]))
        reading = network(image, torch.tensor([[self.model["words"].index(word) for word in self.words]]))
        (level,) = reading.levels
        both = isinstance(level, CoAttention)
        return {
            "affinity": level.affinity[0].tolist() if both else None,
            "first": None if both else level.summary.weights[0, 0].tolist(),
            "regions": level.image.weights[0, 0].tolist(),
            "read": level.question.weights[0, 0].tolist(),
            "belief": reading.scores[0].softmax(-1).tolist(),
        }

    def summary(self) -> str:
        """The scene, the question, and what comes of it, in words."""
        scene, best = self.scenes[self.scene], max(range(len(self.belief)), key=self.belief.__getitem__)
        look = max(range(len(self.regions)), key=self.regions.__getitem__)
        listen = max(range(len(self.read)), key=self.read.__getitem__)
        phrase = " ".join(self.words[listen : listen + 3])
        told = f"most weight on cell {look + 1} ({share(self.regions[look])}) and on {phrase!r}"
        answer = f"answer {self.model['answers'][best]} ({share(self.belief[best])})"
        return f"{scene['name']}; {' '.join(self.words)}? {self.kind}: {told} ({share(self.read[listen])}); {answer}"
