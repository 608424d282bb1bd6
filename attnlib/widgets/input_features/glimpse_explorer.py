"""GlimpseExplorer: a scene under a fovea, what it sees there, and what a trained model believes after each glimpse."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib.input_features.recurrent_attention import RecurrentAttention
from attnlib.input_features.retina import retina
from attnlib.widgets.image import packed, unpacked
from attnlib.widgets.input_features.glimpse_model import LAYERS, unpacked_model
from attnlib.widgets.presets import Presets, preset
from attnlib.widgets.stepper import Stepper
from attnlib.widgets.text import pair, share
from attnlib.widgets.traits import Array, Output, Picture, Record, StateError, Text, Whole
from attnlib.widgets.weights import Layer

__all__ = ["PRESETS", "STORE", "GlimpseExplorer"]

STORE = Path(__file__).with_suffix(".json")  # the model and the scenes; book/experiments/glimpse_explorer.py writes it


@cache
def _stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
    for scene in found["scenes"]:  # grey, so that one byte a pixel is enough
        grey = torch.tensor(list(base64.b64decode(scene.pop("grey"))), dtype=torch.float64) / 255
        scene["image"] = packed(grey.view(1, scene.pop("height"), -1))
    return found


_CORNER, _ON = [-0.8, -0.8], [0.467, 0.3]
# What the stored model does by itself, from the centre on.
_FOUND = [[0.0, 0.0], [-0.1, -0.262], [-0.618, 0.075]]
_MISREAD = [[0.0, 0.0], [-0.093, -0.16], [-0.095, 0.237], [0.145, -0.248], [0.156, -0.045], [0.138, -0.45]]

PRESETS = [
    preset(
        "Found at once",
        "The second glimpse makes the model sure of a 4: press Let it look, and see where it goes once it is sure.",
        scene=4, places=_FOUND, fovea=_FOUND[-1],
    ),
    preset(
        "Misread",
        "Its own path ends at a 9, and it is a 2: start again and look at the middle of the digit, then a little to "
        "the left of it and to the right.",
        scene=5, places=_MISREAD, fovea=_MISREAD[-1],
    ),
    preset(
        "Beside the digit",
        "The sharpest square is black, and only the wider ones hold a part of the digit: drag the fovea onto it, let "
        "go, and watch the belief.",
        scene=0, places=[[0.0, 0.0]], fovea=[0.0, 0.0],
    ),
    preset(
        "On the digit",
        "The fovea is in the middle of the digit, and yet the sharpest square cuts 12 pixels out of its 28: look at "
        "another part of it and see what that adds.",
        scene=1, places=[_ON], fovea=_ON,
    ),
    preset(
        "Nothing in sight",
        "All squares are black, and the belief is made of the place alone: replay its own path from here, which comes "
        "to the middle next and is sure of the digit in the end.",
        scene=2, places=[_CORNER], fovea=_CORNER,
    ),
    preset(
        "The same place again",
        "Both glimpses saw the same and the two beliefs differ, for the second one comes to a state that holds the "
        "first: look a third time, without moving.",
        scene=3, places=[[0.2, 0.2]] * 2, fovea=[0.2, 0.2],
    ),
    preset(
        "Its own path",
        "From the centre on, each next place is the mean of the model's own Gaussian: replay its path and count the "
        "glimpses that fall on the digit.",
        scene=2, places=[], fovea=[0.0, 0.0],
    ),
]  # fmt: skip


class GlimpseExplorer(Stepper):
    """A scene, a fovea to move over it, and what a recurrent attention model believes after each glimpse.

    Args:
        model: of :func:`attnlib.widgets.input_features.glimpse_model.packed_model`.
        scenes: what can be looked at, each a name, an ``image`` of :func:`attnlib.widgets.image.packed` and its
            ``kind``, the number of the right answer.
        scene: the number of the one that is shown.
        places: ``(x, y)`` of each glimpse taken, the corners of the image at -1 and 1; no more than the model's.
        fovea: ``(x, y)`` of the retina now: its patches are shown, and the next glimpse is taken there.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs are computed in float64 with attnlib: ``patches`` (what the retina sees at the fovea, as nested lists of
    scale, channel, row and column), ``beliefs`` (of each kind, after each glimpse) and ``own`` (where the model itself
    would look after each glimpse: the mean of its Gaussian).

    >>> from attnlib.input_features.glimpse import GlimpseNetwork
    >>> from attnlib.widgets.input_features.glimpse_model import packed_model
    >>> model = RecurrentAttention(10, GlimpseNetwork(4, scales=2, d_hidden=3, d_glimpse=5), d_state=5)
    >>> scene = {"name": "dark", "image": packed(torch.zeros(1, 12, 12)), "kind": 7}
    >>> explorer = GlimpseExplorer(model=packed_model(model, 6), scenes=[scene])
    >>> explorer.forward()  # the first place is the fovea's, the others are the model's own
    >>> explorer.places, len(explorer.beliefs[0])
    ([[0.0, 0.0]], 10)
    """

    model = Record(
        {
            "size": Whole(1, least=1, most=64),
            "scales": Whole(1, least=1, most=6),
            "glimpses": Whole(1, least=1, most=8),
            "layers": Record({name: Layer() for name in LAYERS}, {}),
        },
        _stored()["model"],
    )
    scenes = Record(
        {"name": Text(""), "image": Picture({}, least=8), "kind": Whole(0)}, _stored()["scenes"], shape=(("", 1, None),)
    )
    scene = Whole(0, below="scenes")
    places = Array((("", 0, 8), 2), [])
    fovea = Array((2,), [0.0, 0.0])
    presets = Presets(PRESETS)
    patches = Output("what the retina sees at the fovea")
    beliefs = Output("of each kind, after each glimpse")
    own = Output("where the model would look after each glimpse")

    presets_of = ("model", "scenes")
    sample: ClassVar = {"fovea": [0.25, -0.5]}

    def _check(self, state: dict[str, Any]) -> None:
        try:
            n_kinds = unpacked_model(state["model"]).action.out_features
        except (ValueError, RuntimeError) as error:
            raise StateError(f"model must be of packed_model, its layers of sizes that fit; got: {error}") from error
        count, most = len(state["places"]), state["model"]["glimpses"]
        if count > most:
            raise StateError(f"places must be at most {most}, as many as the model looks at; got {count}")
        if any(scene["kind"] >= n_kinds for scene in state["scenes"]):
            raise StateError(f"scenes must be of kinds below {n_kinds}, which the model knows")

    def _image(self, model: RecurrentAttention) -> Tensor:
        channels = model.glimpse.what.in_features // (model.glimpse.scales * model.glimpse.size**2)
        return unpacked(self.scenes[self.scene]["image"])[:channels].unsqueeze(0)

    def _run(self, places: list[list[float]]) -> tuple[list[list[float]], list[list[float]]]:
        """What is believed after each glimpse, and where the model would look next."""
        model = unpacked_model(self.model)
        image, state = self._image(model), torch.zeros(1, model.d_state, dtype=torch.float64)
        beliefs, own = [], []
        for place in places:
            seen = model.glimpse(image, image.new_tensor([place]))
            state = torch.relu(model.from_state(state) + model.from_glimpse(seen))
            beliefs.append(model.action(state)[0].softmax(-1).tolist())
            own.append(model.place(state)[0].tolist())
        return beliefs, own

    def _count(self) -> int:
        return len(self.places)

    def _at(self, count: int) -> dict[str, Any]:
        places = [list(place) for place in self.places[:count]]
        while len(places) < min(count, self.model["glimpses"]):
            places.append(self._run(places)[1][-1] if places else list(self.fovea))
        return {"places": places, "fovea": (places or self.places[:1] or [self.fovea])[-1]}

    def _now(self) -> dict[str, Any]:
        model = unpacked_model(self.model)
        look = {"size": self.model["size"], "scales": self.model["scales"]}
        patches = retina(self._image(model)[0], torch.tensor(self.fovea, dtype=torch.float64), **look).tolist()
        beliefs, own = self._run(self.places)
        return {"patches": patches, "beliefs": beliefs, "own": own}

    def summary(self) -> str:
        """The scene, the places and the beliefs in words."""

        def told(n: int) -> str:
            best = max(range(len(self.beliefs[n])), key=self.beliefs[n].__getitem__)
            return f"{pair(self.places[n])}: {best} ({share(self.beliefs[n][best])})"

        seen = "; ".join(map(told, range(len(self.places)))) or "none yet"
        scene = self.scenes[self.scene]
        return f"{scene['name']}, a {scene['kind']}; glimpses: {seen}; fovea at {pair(self.fovea)}"
