"""TrainItHere: a network with one attention layer that learns in the page; break it while it runs, and mend it."""

from itertools import pairwise
from typing import Any, ClassVar

from attnlib.widgets.learner import BROKEN, How, Run, Sizes, fitting, run
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number
from attnlib.widgets.traits import Choice, Flag, Number, Record, StateError, Whole

__all__ = ["ALIGNING", "DRAWING", "PRESETS", "TrainItHere"]

MOST = 3000
LATEST = 25  # steps whose mean is told

_NEUTRAL: dict[str, Any] = {
    "seed": 1,
    "score": "additive",
    "attention": "soft",
    "reach": "everywhere",
    "rate": 0.01,
    "broken": "nothing",
    "history": [],
    "step": 0,
    "running": False,
}


def _preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """A preset that leaves nothing as it was; all stand before the first step."""
    return preset(name, notice, **{**_NEUTRAL, **state})


PRESETS = [
    _preset(
        "Backwards",
        "Press Start: at first each row of the map looks about everywhere, and within 200 steps at the one letter that "
        "it has to write.",
    ),
    _preset(
        "The tanh left out",
        "Without the tanh all rows of the map are alike, however long it learns, and about a third of the letters is "
        "right: put the tanh back at any step, and it learns.",
        broken="no tanh",
    ),
    _preset(
        "A product without its scale",
        "Without the scale the energies start four times as large, and two rows soon give the right letter no weight: "
        "give the scale back at step 500 and they do not find it, give it back before the start and by then all do.",
        seed=3,
        score="scaled dot",
        broken="no scale",
    ),
    _preset(
        "Softmax over the queries",
        "Each column of the map sums to one in place of each row, and yet it learns: here each letter is wanted once, "
        "so such a map can be right, and the loss shows nothing of the mistake; with the scaled dot product it does.",
        broken="wrong axis",
    ),
    _preset(
        "The mask dropped",
        "It may look at the padding now and learns not to, as fast as with the mask, and the loss does not tell; but "
        "a scaled dot product that has learned with the mask misses it at once.",
        broken="no mask",
    ),
    _preset(
        "One letter drawn",
        "Hard attention looks at one letter that it draws, and hears only how well that went: it takes more than twice "
        "as many steps as soft attention at this rate, and its loss jumps about.",
        attention="hard",
        rate=0.03,
    ),
    _preset(
        "A window that finds its place",
        "Each place of the output sees at most five letters about a centre that it learns to put where it has to look.",
        reach="window",
        rate=0.03,
    ),
]

ALIGNING = [  # for the page on RNNsearch
    _preset(
        "The alignment forms",
        "At step 50 no row of the map has half of its weight on its circle, though more than a third of the letters is "
        "right, and at step 100 all six have.",
    ),
    _preset(
        "Without the tanh",
        "No place of the output has a say in where it looks, so all rows of the map are the same, and about a third of "
        "the letters is right for as long as it learns.",
        broken="no tanh",
    ),
    _preset(
        "A product in its place",
        "The scaled dot product of query and key learns the same map some thirty steps later, from both ends of the "
        "row to its middle.",
        score="scaled dot",
    ),
]

DRAWING = [  # for the page on soft and hard attention
    _preset(
        "The mean",
        "The curve of soft attention is down within 100 steps at this rate, and stays there.",
        rate=0.03,
    ),
    _preset(
        "One place drawn",
        "At the same rate the curve of hard attention comes down later, and goes on jumping.",
        attention="hard",
        rate=0.03,
    ),
    _preset(
        "Drawn in a hurry",
        "At a rate of 0.1 all rows close on one place within ten steps, the same for all, and 300 steps later about a "
        "quarter of the letters is right; soft attention learns at this rate.",
        seed=8,
        attention="hard",
        rate=0.1,
    ),
]


class TrainItHere(PresetWidget):
    """A network that learns to write a row of letters backwards, with one attention layer.

    A run is made by its seed, its settings and what was broken until which step: the page comes to the same numbers as
    :meth:`run`, which trains the network of ``learner.py`` with the library.

    Args:
        seed: of the start, the rows and the draws.
        score: ``"additive"``, ``"dot"`` or ``"scaled dot"``, of projected queries and keys.
        attention: ``"soft"``, or ``"hard"``, learned by REINFORCE with a moving-average baseline.
        reach: ``"everywhere"``, or in a ``"window"`` about a learned centre.
        rate: of Adam, from 0.001 to 0.1.
        broken: ``"nothing"``, or what is broken from the last ``until`` of the history on.
        history: what was broken before: ``{"until": a step, "broken": ...}``, one after the other.
        step: how many steps have been taken, 3000 at most.
        running: whether it goes on in the page.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    >>> widget = TrainItHere(step=20)
    >>> widget.turn("no tanh")
    >>> widget.step = 30
    >>> widget.history, len(widget.run().losses)
    ([{'until': 20, 'broken': 'nothing'}], 30)
    """

    seed = Whole(1, most=2**31 - 1)
    score = Choice(("additive", "dot", "scaled dot"), "additive")
    attention = Choice(("soft", "hard"), "soft")
    reach = Choice(("everywhere", "window"), "everywhere")
    rate = Number(0.01, least=0.001, most=0.1)
    broken = Choice(BROKEN, "nothing")
    history = Record({"until": Whole(1, least=1, most=MOST), "broken": Choice(BROKEN, "nothing")}, [],
                     shape=(("", 0, None),), said="a list of {until, broken}")  # fmt: skip
    step = Whole(0, most=MOST)
    running = Flag(False)
    presets = Presets(PRESETS)

    sample: ClassVar = {"seed": 7}

    def _check(self, state: dict[str, Any]) -> None:
        untils = [span["until"] for span in state["history"]]
        if untils != sorted(set(untils)) or untils[-1:] > [state["step"]]:
            raise StateError(f"history must go up to step {state['step']}, span after span; got {untils}")
        how = How(state["score"], state["attention"], state["reach"])
        for name in (state["broken"], *(span["broken"] for span in state["history"])):
            if name not in fitting(how):
                raise StateError(
                    f"broken must be one of {', '.join(fitting(how))} with {' '.join(how[:3])}; got {name}"
                )

    def turn(self, broken: str) -> None:
        """Break something from here on, or mend it with ``"nothing"``."""
        gone = [{"until": self.step, "broken": self.broken}] if self.step > self._since() else []
        self.update(history=[*self.history, *gone], broken=broken)

    def _since(self) -> int:
        return self.history[-1]["until"] if self.history else 0

    def run(self) -> Run:
        """Train the same network with the library: losses and right letters of all steps, the weights of the map."""
        spans = [*self.history, {"until": self.step, "broken": self.broken}]
        ends = [0, *(span["until"] for span in spans)]
        counts = tuple(after - before for before, after in pairwise(ends))
        return run(self.seed, tuple(How(self.score, self.attention, self.reach, span["broken"]) for span in spans),
                   counts, self.rate)  # fmt: skip

    def summary(self) -> str:
        """Settings, step and loss in words."""
        broken = "" if self.broken == "nothing" else f", {self.broken}"
        how = f"{self.score} score, {self.attention} attention {_WHERE[self.reach]}{broken}"
        if not self.step:
            return f"a network that is to write {Sizes().letters} letters backwards, before its first step: {how}"
        found = self.run()
        loss, right = (sum(all_[-LATEST:]) / len(all_[-LATEST:]) for all_ in (found.losses, found.rights))
        return (
            f"a network that writes letters backwards, after step {self.step}: {how}; "
            f"loss {number(loss)}, {number(100 * right, 0)}% of the letters right"
        )


_WHERE = {"everywhere": "everywhere", "window": "in a window"}
