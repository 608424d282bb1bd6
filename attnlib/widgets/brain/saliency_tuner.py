"""SaliencyTuner: a picture, what of it stands out, and where the eye would go."""

import json
import random
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from attnlib.brain.centre_surround import centre_surround
from attnlib.brain.co_occurrence import blurred, co_occurrence, lab
from attnlib.brain.scan_path import scan_path
from attnlib.widgets.brain.displays import GREEN, RED, WHITE, Bar, display
from attnlib.widgets.image import packed, unpacked
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number
from attnlib.widgets.traits import Array, Choice, Flag, Number, Output, Picture, Record, Text, Whole

__all__ = ["PRESETS", "SaliencyTuner"]

METHODS = ("centre-surround", "co-occurrence")
ANGLES = ("0", "45", "90", "135")
BINS, NEAR, SIGMA = 64, 1, 2.0  # how co-occurrence reads a picture of this size
STORE = Path(__file__).with_suffix(".json")  # the photographs, and whose they are
TARGET, SEED = 13, 0  # where the target stands, and the order of the others


def _arranged(target: Bar, *others: Bar) -> dict[str, Any]:
    """A display of one target among others in equal numbers, whose order is drawn once for all."""
    bars = [others[n % len(others)] for n in range(19)]
    random.Random(SEED).shuffle(bars)
    return packed(display([*bars[:TARGET], target, *bars[TARGET:]])[0])


@cache
def _pictures() -> list[dict[str, Any]]:
    photographs = json.loads(STORE.read_text(encoding="utf-8"))
    displays = {
        "Search: colour": _arranged((RED, True), (GREEN, True)),
        "Search: lines": _arranged((WHITE, False), (WHITE, True)),
        "Search: both": _arranged((RED, True), (RED, False), (GREEN, True)),
    }
    named = {each["name"]: each["image"] for each in photographs} | displays
    return [{"name": name, "image": image} for name, image in named.items()]


COFFEE, CAT, ROCKET, COLOUR, LEVEL, BOTH = range(6)
_PLAIN: dict[str, Any] = {
    "method": "centre-surround", "intensity": 1.0, "colour": 1.0, "orientation": 1.0, "gains": [1.0] * 6,
    "fixations": 5, "radius": 0.17, "overlay": False,
}  # fmt: skip
_SEARCH = {**_PLAIN, "radius": 0.15}

PRESETS = [
    preset(
        "A cat",
        "Nothing in here knows a face, and yet the nose and both eyes come first: take the weight of colour down to 0 "
        "and see which of them wins then.",
        **{**_PLAIN, "picture": CAT},
    ),
    preset(
        "Colour pops out",
        "The one red bar comes first: take the weight of colour down to 0 and it is not even among the first five.",
        **{**_SEARCH, "picture": COLOUR},
    ),
    preset(
        "Orientation pops out",
        "The one level bar wins at once: switch to co-occurrence, which knows no lines, and an upright one does.",
        **{**_SEARCH, "picture": LEVEL},
    ),
    preset(
        "A conjunction",
        "Only one bar is both red and upright, no feature is its alone, and the gaze comes to it ninth: look for "
        "upright lines and it is second.",
        **{**_SEARCH, "picture": BOTH, "fixations": 9},
    ),
    preset(
        "Told what to look for",
        "With weights on red against green and on upright lines alone, the bar that is both is first: take either "
        "gain away and it loses its place.",
        **{**_SEARCH, "picture": BOTH, "intensity": 0.0, "gains": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]},
    ),
    preset(
        "Two methods",
        "Centre-surround looks first at the table, below and left of the saucer: switch to co-occurrence and the cup "
        "is first.",
        **{**_PLAIN, "picture": COFFEE},
    ),
    preset(
        "A gaze that sticks",
        "The inhibited disc is so small that all four fixations stay at the foot of the rocket: widen it and the path "
        "sets out.",
        **{**_PLAIN, "picture": ROCKET, "radius": 0.04, "fixations": 4},
    ),
]


class SaliencyTuner(PresetWidget):
    """A picture, its saliency map and the scan path over it, under weights that the reader moves.

    Args:
        pictures: what can be looked at, each a name and an ``image`` of :func:`attnlib.widgets.image.packed`.
        picture: the number of the one that is shown.
        method: ``"centre-surround"`` (Itti, Koch and Niebur) or ``"co-occurrence"`` (Lu and Lim).
        intensity: the weight of intensity; 1 is the paper's. Co-occurrence takes it for lightness.
        colour: the weight of colour.
        orientation: the weight of orientation; co-occurrence has none.
        gains: of single features: red against green, blue against yellow, and lines that are level, rising, upright,
            falling. Co-occurrence takes the first two.
        fixations: how often to look, at most.
        radius: of the disc that is inhibited, as a share of the map's shorter side.
        overlay: lay the map over the picture.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs ``saliency`` (the map, as a share of its largest value, at its own size) and ``path`` (row, column and
    strength of each fixation, in pixels of the picture) are recomputed in float64 with attnlib.

    >>> spot = torch.full((3, 32, 32), 0.25)
    >>> spot[:, 20, 10] = 1.0
    >>> tuner = SaliencyTuner(pictures=[{"name": "a spot", "image": packed(spot)}], picture=0, fixations=1)
    >>> tuner.path
    [[20, 10, 1.0]]
    """

    pictures = Record({"name": Text(""), "image": Picture({}, least=8)}, _pictures(), shape=(("", 1, None),))
    picture = Whole(0, below="pictures")
    method = Choice(METHODS, "centre-surround")
    intensity = Number(1.0, least=0, most=2)
    colour = Number(1.0, least=0, most=2)
    orientation = Number(1.0, least=0, most=2)
    gains = Array((6,), [1.0] * 6, least=0, most=2)
    fixations = Whole(5, least=1, most=12)
    radius = Number(0.17, least=0.04, most=0.5)
    overlay = Flag(False)
    presets = Presets(PRESETS)
    saliency = Output("the saliency map, as a share of its largest value")
    path = Output("row, column and strength of each fixation")

    presets_of = ("pictures",)
    sample: ClassVar = {"radius": 0.3}

    def _compute(self) -> None:
        image = unpacked(self.pictures[self.picture]["image"])
        found, level = self._rarity(image) if self.method == "co-occurrence" else self._contrast(image)
        most = found.max()
        # Equal places stay equal, whatever the rounding: the first of them wins.
        shares = (found / most * 1e9).round() / 1e9 if most > 0 else torch.zeros_like(found)
        path = scan_path(shares, self.fixations, radius=self.radius * min(shares.shape))
        places = [(2**level * path.row).tolist(), (2**level * path.column).tolist(), path.strength.tolist()]
        self.set_trait("saliency", shares.tolist())
        self.set_trait("path", [list(place) for place in zip(*places, strict=True) if place[0] >= 0])

    def _contrast(self, image: Tensor) -> tuple[Tensor, int]:
        parts = {"intensity": self.intensity, "colour": self.colour, "orientation": self.orientation}
        weights = {name: weight / 3 for name, weight in parts.items()}
        gains = dict(zip(("red-green", "blue-yellow", *ANGLES), self.gains, strict=True))
        found = centre_surround(image, weights={**weights, **gains})
        return found.saliency, found.level

    def _rarity(self, image: Tensor) -> tuple[Tensor, int]:
        channels = blurred(co_occurrence(lab(image), bins=BINS, radius=NEAR).channels, SIGMA)
        weights = [self.intensity, self.colour * self.gains[0], self.colour * self.gains[1]]
        return (channels.new_tensor(weights).view(3, 1, 1) * channels).sum(0), 0

    def summary(self) -> str:
        """The picture, the method and the fixations in words."""
        named = self.pictures[self.picture]["name"]
        places = "; ".join(
            f"{n} at row {row}, column {column} ({number(strength)})"
            for n, (row, column, strength) in enumerate(self.path, 1)
        )
        return f"{named}, {self.method}: fixations {places or 'none'}"
