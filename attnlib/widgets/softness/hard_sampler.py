"""HardSampler: draw positions one by one or by the thousand; see the histogram and the gradient estimates settle."""

import math
from typing import Any, ClassVar

import torch

from attnlib.distributions import softmax
from attnlib.softness import hard
from attnlib.widgets.picture import Picture
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.traits import Array, Choice, Output, Whole

__all__ = ["MAX_DRAWS", "PRESETS", "HardSampler", "uniforms"]

MAX_DRAWS, MAX_SEED = 5000, 2**31 - 1
DECAY = 0.9  # of the moving-average baseline
_LETTERS = "ABC"
_PLOT = (404.0, 60.0, 300.0, 236.0)  # left, top, width, height


PRESETS = [
    preset(
        "Three draws",
        "Three draws say little: press Draw one and count how many it takes until the order of the bars is that of "
        "the weights and stays so.",
        logits=[0.8, 0.0, -0.8],
        rewards=[-2.0, -1.0, -3.0],
        draws=3,
        seed=1,
        component="A",
    ),
    preset(
        "Far below zero",
        "All rewards lie near −6, so each draw without a baseline shouts that its position is bad: see which of "
        "the two lines is nearer to the exact slope after 300 draws.",
        logits=[0.5, 0.0, -0.5],
        rewards=[-6.0, -5.5, -6.5],
        draws=300,
        seed=3,
        component="A",
    ),
    preset(
        "Nothing to learn",
        "Every position earns the same, so the exact slope is 0: without a baseline single draws still push, with one "
        "they fall silent as soon as it has found the reward.",
        logits=[0.5, 0.0, -0.5],
        rewards=[-2.0, -2.0, -2.0],
        draws=300,
        seed=4,
        component="B",
    ),
    preset(
        "Rare and right",
        "C holds the answer and has a weight below 0.02: count the draws that pass before it is seen once, and look at "
        "what both estimates say of it until then.",
        logits=[2.0, 1.5, -2.0],
        rewards=[-3.0, -3.0, -0.1],
        draws=30,
        seed=2,
        component="C",
    ),
    preset(
        "Rewards about zero",
        "Here the mean reward is near 0, which is where no baseline is the best baseline: the two lines hardly differ.",
        logits=[0.3, 0.0, -0.3],
        rewards=[1.0, -1.0, 0.0],
        draws=300,
        seed=5,
        component="A",
    ),
]


class HardSampler(PresetWidget):
    """Hard attention over three positions: the draws, and what REINFORCE makes of them.

    Args:
        logits: the energies of the three positions; the handles reach from -4 to 4.
        rewards: ``log p(y | position)`` of each, from -8 to 2.
        draws: how many have been made, from 0 to 5000.
        seed: of the random numbers; the same in Python and in the page.
        component: ``"A"``, ``"B"`` or ``"C"``: the logit whose slope is drawn.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs: ``weights``, ``counts`` (how often each was drawn), ``exact`` (the slope of the bound by each logit),
    ``plain`` and ``steadied`` (the running REINFORCE estimates, without a baseline and with the moving average of the
    draws before).

    >>> HardSampler(logits=[0.0, 0.0, 0.0], draws=600).counts
    [214, 204, 182]
    """

    logits = Array((3,), [0.8, 0.0, -0.8])
    rewards = Array((3,), [-2.0, -1.0, -3.0])
    draws = Whole(3, most=MAX_DRAWS)
    seed = Whole(1, most=MAX_SEED)
    component = Choice(("A", "B", "C"), "A")
    sample: ClassVar = {"logits": [0.25, 0.5, 0.75]}
    presets = Presets(PRESETS)
    weights = Output("probabilities of the three positions")
    counts = Output("how often each was drawn")
    exact = Output("derivative of the bound by each logit")
    plain = Output("its estimate from the draws, without a baseline")
    steadied = Output("its estimate with the moving-average baseline")

    def _compute(self) -> None:
        run = self._run()
        self.set_trait("weights", run["weights"].tolist())
        self.set_trait("counts", [run["positions"].count(i) for i in range(3)])
        self.set_trait("exact", run["exact"].tolist())
        for name in ("plain", "steadied"):
            self.set_trait(name, run[name][-1].tolist() if self.draws else [0.0, 0.0, 0.0])

    def _run(self) -> dict[str, Any]:
        """Weights, positions, the exact slope, and the running means of both estimates after each draw."""
        logits = torch.tensor(self.logits, dtype=torch.float64, requires_grad=True)
        rewards = torch.tensor(self.rewards, dtype=torch.float64)
        weights = softmax(logits)
        bound = hard.bound(rewards, hard.enumerate_positions(weights).log_probability)
        (exact,) = torch.autograd.grad(bound, logits)
        weights = weights.detach()
        edges = weights.cumsum(0).tolist()
        positions = [next((i for i in range(2) if u < edges[i]), 2) for u in uniforms(self.seed, self.draws)]
        baselines, baseline = [], 0.0
        for position in positions:
            baselines.append(baseline)  # from before this draw
            baseline = DECAY * baseline + (1 - DECAY) * self.rewards[position]
        number = torch.arange(1, len(positions) + 1, dtype=torch.float64).unsqueeze(-1)
        slopes = torch.eye(3, dtype=torch.float64)[positions] - weights
        earned = rewards[positions].unsqueeze(-1)
        steadied = earned - torch.tensor(baselines, dtype=torch.float64).unsqueeze(-1)
        return {
            "weights": weights,
            "positions": positions,
            "exact": exact,
            "single": {"plain": earned * slopes, "steadied": steadied * slopes},
            "plain": (earned * slopes).cumsum(0) / number,
            "steadied": (steadied * slopes).cumsum(0) / number,
        }

    def summary(self) -> str:
        """Weights, draws and estimates in words."""
        shares = ", ".join(f"{letter} {weight:.3f}" for letter, weight in zip(_LETTERS, self.weights, strict=True))
        counts = ", ".join(f"{letter} {count}" for letter, count in zip(_LETTERS, self.counts, strict=True))
        j = _LETTERS.index(self.component)
        told = f"weights {shares}; {self.draws} draws: {counts}; slope of the bound by logit {self.component}: "
        return (
            told + f"exactly {_signed(self.exact[j])}, estimated {_signed(self.plain[j])} without a baseline, "
            f"{_signed(self.steadied[j])} with one"
        )

    def picture(self) -> Picture:
        """Weights beside drawn shares, and the estimates on their way."""
        drawing = Picture(720, 372)
        run = self._run()
        self._draw_shares(drawing, run)
        self._draw_estimates(drawing, run)
        return drawing

    def _draw_shares(self, drawing: Picture, run: dict[str, Any]) -> None:
        drawing.text(16, 28, f"Weights, and shares of {self.draws} draws", size=14, bold=True)
        bottom, height = 296, 226
        drawing.line([(16, bottom), (372, bottom)], stroke="edge")
        for i, letter in enumerate(_LETTERS):
            x, share = 30 + 118 * i, self.counts[i] / max(self.draws, 1)
            weight = self.weights[i]
            drawing.rectangle(x, bottom - height * share, 44, height * share, fill="key")
            drawing.rectangle(x + 48, bottom - height * weight, 44, height * weight, stroke="query")
            drawing.text(x + 46, bottom + 20, f"{letter}: reward {_signed(self.rewards[i])}", anchor="middle")
            drawing.text(x + 22, bottom - height * share - 6, f"{share:.3f}", anchor="middle", size=11)
            drawing.text(x + 70, bottom - height * weight - 6, f"{weight:.3f}", anchor="middle", size=11)
        drawing.rectangle(30, 338, 12, 12, fill="key")
        drawing.text(48, 349, "drawn", fill="soft")
        drawing.rectangle(110, 338, 12, 12, stroke="query")
        drawing.text(128, 349, "weight", fill="soft")

    def _draw_estimates(self, drawing: Picture, run: dict[str, Any]) -> None:
        left, top, width, height = _PLOT
        j = _LETTERS.index(self.component)
        exact, ends = float(run["exact"][j]), max(self.draws, 10)
        at = checkpoints(self.draws)
        lines = {name: [float(run[name][n - 1, j]) for n in at] for name in ("plain", "steadied")}
        reach = reach_of(exact, at, *lines.values())

        def place(n: int, value: float) -> tuple[float, float]:
            held = min(max((value - exact) / reach, -1.0), 1.0)
            return left + width * math.log(n) / math.log(ends), top + height * (1 - held) / 2

        drawing.text(left, 28, f"Slope of the bound by logit {self.component}", size=14, bold=True)
        drawing.rectangle(left, top, width, height, stroke="line")
        drawing.line([place(1, exact), place(ends, exact)], stroke="ink", width=1.5)
        drawing.text(left + 6, top + 16, _signed(exact + reach), fill="soft", size=11)
        drawing.text(left + 6, top + height - 6, _signed(exact - reach), fill="soft", size=11)
        drawing.text(left + width - 6, top + 16, f"level line: exactly {_signed(exact)}", size=11, anchor="end")
        for name, colour in (("plain", "query"), ("steadied", "key")):
            if at:
                points = [place(n, value) for n, value in zip(at, lines[name], strict=True)]
                drawing.line(points, stroke=colour, width=2, dash=name == "plain")
        drawing.text(left, top + height + 20, "1", fill="soft", size=11)
        drawing.text(left + width, top + height + 20, f"{ends} draws", fill="soft", size=11, anchor="end")
        for y, name, colour, words in (
            (336, "plain", "query", "without a baseline"),
            (354, "steadied", "key", "with the moving average"),
        ):
            drawing.line([(left, y), (left + 26, y)], stroke=colour, width=2, dash=name == "plain")
            value = lines[name][-1] if at else 0.0
            drawing.text(left + 34, y + 4, f"{words}: {_signed(value)}", fill="soft")


def uniforms(seed: int, count: int) -> list[float]:
    """Numbers in [0, 1), the same for the same seed as in the page (the generator known as mulberry32)."""
    mask, state, numbers = 0xFFFFFFFF, seed & 0xFFFFFFFF, []
    for _ in range(count):
        state = (state + 0x6D2B79F5) & mask
        t = ((state ^ state >> 15) * (1 | state)) & mask
        t = (t + ((t ^ t >> 7) * (61 | t) & mask) & mask) ^ t
        numbers.append(((t ^ t >> 14) & mask) / 4294967296)
    return numbers


def checkpoints(draws: int) -> list[int]:
    """Numbers of draws at which a curve has a point: each up to 40, then in even steps of the logarithm."""
    spots = set(range(1, min(draws, 40) + 1)) | ({draws} if draws else set())
    spots |= {n for step in range(121) if (n := math.floor(40 * 125 ** (step / 120))) <= draws}
    return sorted(spots)


def reach_of(exact: float, at: list[int], *lines: list[float]) -> float:
    """Half the height of the plot: what the curves leave the exact value by, from the fifth draw on."""
    far = [abs(value - exact) for line in lines for n, value in zip(at, line, strict=True) if n >= 5]
    return max(0.1, 1.15 * max(far, default=1.0))


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    return f"−{text}" if value < 0 and float(text) != 0 else text
