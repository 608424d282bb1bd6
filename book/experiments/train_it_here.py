"""What the network of TrainItHere comes to when something is taken out of it, and put back.

    python book/experiments/train_it_here.py

Each run is one of the library (``attnlib.widgets.learner``), which the page's own arithmetic is held to: from a seed of
the widget's presets, for so many steps with one part broken, then for so many with another. What is told is the share
of right letters in the last 25 steps before each change. Some ten seconds of one core.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

from attnlib.widgets.learner import How
from attnlib.widgets.learner import run as learn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

RESULTS = Path(__file__).parent / "results" / "train_it_here"
SETTING: dict[str, Any] = {"rate": 0.01, "told": 25}


class Course(NamedTuple):
    """What is broken, and up to which step; one after the other."""

    broken: dict[int, str]
    score: str = "additive"
    seed: int = 1


COURSES = {
    "the tanh, late": Course({150: "nothing", 225: "no tanh", 250: "nothing"}),
    "the scale, late": Course({300: "nothing", 325: "no scale"}, "scaled dot", seed=3),
    "the scale, early": Course({200: "no scale", 300: "nothing"}, "scaled dot", seed=3),
    "the mask, early": Course({150: "no mask"}),
    "the mask, late": Course({200: "nothing", 225: "no mask"}),
    "the mask, late, of a product": Course({300: "nothing", 325: "no mask"}, "scaled dot"),
    "over the wrong axis": Course({150: "wrong axis"}),
    "over the wrong axis, a product": Course({200: "wrong axis"}, "scaled dot"),
}


def rights(course: Course) -> list[float]:
    """The share of right letters before each change, and at the end."""
    ends = list(course.broken)
    how = tuple(How(score=course.score, broken=name) for name in course.broken.values())
    spans = tuple(end - begin for begin, end in zip([0, *ends], ends, strict=False))
    shares = torch.tensor(learn(course.seed, how, spans, SETTING["rate"]).rights)
    return [round(shares[end - SETTING["told"] : end].mean().item(), 4) for end in ends]


def main() -> None:
    torch.set_num_threads(1)
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "courses": {
            name: {"broken": list(course.broken.values()), "until": list(course.broken), "right": rights(course)}
            for name, course in COURSES.items()
        },
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
