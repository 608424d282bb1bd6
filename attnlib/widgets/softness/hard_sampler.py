"""HardSampler: draw positions one by one or by the thousand; see the histogram and the gradient estimates settle."""

from itertools import accumulate
from typing import ClassVar

import torch

from attnlib.distributions import softmax
from attnlib.softness import baselines, hard
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import number, share
from attnlib.widgets.traits import Array, Choice, Output, Whole

__all__ = ["PRESETS", "HardSampler", "uniforms"]

PRESETS = [
    preset(
        "Far below zero",
        "All rewards lie near −6, so each draw without a baseline says that its position is bad: draw one, then ten, "
        "then a thousand, and see which line is sooner at the exact slope.",
        logits=[0.5, 0.0, -0.5],
        rewards=[-6.0, -5.5, -6.5],
        draws=0,
        seed=3,
        component="A",
    ),
    preset(
        "Shares and weights",
        "Draw one, again and again, and count how many it takes until the order of the bars is that of the weights "
        "and stays so.",
        logits=[0.8, 0.0, -0.8],
        rewards=[-2.0, -1.0, -3.0],
        draws=0,
        seed=5,
        component="A",
    ),
    preset(
        "Nothing to learn",
        "Every position earns the same, so the exact slope is 0; draw, and without a baseline each draw still pushes, "
        "while with one they fall silent as soon as it has found the reward.",
        logits=[0.5, 0.0, -0.5],
        rewards=[-2.0, -2.0, -2.0],
        draws=0,
        seed=4,
        component="B",
    ),
    preset(
        "Rare and right",
        "C holds the answer and has a weight below 0.02: count the draws that pass before it is seen once, and look at "
        "what both estimates say of it until then.",
        logits=[2.0, 1.5, -2.0],
        rewards=[-3.0, -3.0, -0.1],
        draws=0,
        seed=2,
        component="C",
    ),
    preset(
        "Rewards about zero",
        "Here the mean reward is near 0, which is where no baseline is the best baseline: draw a thousand, and the two "
        "lines hardly differ.",
        logits=[0.3, 0.0, -0.3],
        rewards=[1.0, -1.0, 0.0],
        draws=0,
        seed=5,
        component="A",
    ),
]


class HardSampler(PresetWidget):
    """Hard attention over three positions: the draws, and what REINFORCE makes of them.

    Args:
        logits: the energies of the three positions, from -4 to 4.
        rewards: ``log p(y | position)`` of each, from -8 to 2.
        draws: how many have been made, 5000 at most.
        seed: of the random numbers; the same in Python and in the page.
        component: ``"A"``, ``"B"`` or ``"C"``: the logit whose slope is drawn.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs: ``weights``, ``counts`` (how often each was drawn), ``exact`` (the slope of the bound by each logit),
    ``plain`` and ``steadied`` (the mean REINFORCE estimates, without a baseline and with the moving average of the
    draws before).

    >>> HardSampler(logits=[0.0, 0.0, 0.0], draws=600).counts
    [214, 204, 182]
    """

    logits = Array((3,), [0.8, 0.0, -0.8], least=-4, most=4)
    rewards = Array((3,), [-2.0, -1.0, -3.0], least=-8, most=2)
    draws = Whole(0, most=5000)
    seed = Whole(1, most=2**31 - 1)
    component = Choice("ABC", "A")
    presets = Presets(PRESETS)
    weights = Output("probabilities of the three positions")
    counts = Output("how often each was drawn")
    exact = Output("derivative of the bound by each logit")
    plain = Output("its estimate from the draws, without a baseline")
    steadied = Output("its estimate with the moving-average baseline")

    sample: ClassVar = {"logits": [0.25, 0.5, 0.75]}

    def _compute(self) -> None:
        logits = torch.tensor(self.logits, dtype=torch.float64, requires_grad=True)
        rewards = torch.tensor(self.rewards, dtype=torch.float64)
        weights = softmax(logits)
        bound = hard.bound(rewards, hard.enumerate_positions(weights).log_probability)
        (exact,) = torch.autograd.grad(bound, logits)
        weights = weights.detach()
        numbers = torch.tensor(uniforms(self.seed, self.draws), dtype=torch.float64)
        positions = torch.searchsorted(weights.cumsum(0)[:2], numbers, right=True)
        earned = rewards[positions]
        decay = baselines.MovingAverage().decay
        steps = accumulate(earned.tolist(), lambda mean, reward: decay * mean + (1 - decay) * reward, initial=0.0)
        before = torch.tensor(list(steps)[:-1], dtype=torch.float64)  # a baseline has not seen its own draw
        slopes = torch.eye(3, dtype=torch.float64)[positions] - weights
        made = {"weights": weights, "counts": positions.bincount(minlength=3), "exact": exact}
        for name, rest in (("plain", earned), ("steadied", earned - before)):
            made[name] = (rest.unsqueeze(-1) * slopes).sum(0) / max(self.draws, 1)
        for name, value in made.items():
            self.set_trait(name, value.tolist())

    def summary(self) -> str:
        """Weights, draws and estimates in words."""
        shares = ", ".join(f"{letter} {share(weight)}" for letter, weight in zip("ABC", self.weights, strict=True))
        counts = ", ".join(f"{letter} {count}" for letter, count in zip("ABC", self.counts, strict=True))
        exact, plain, steadied = (
            number(slopes["ABC".index(self.component)]) for slopes in (self.exact, self.plain, self.steadied)
        )
        slope = f"slope of the bound by logit {self.component}: exact {exact}"
        if not self.draws:
            return f"weights {shares}; nothing drawn yet; {slope}"
        drawn = f"{self.draws} {'draw' if self.draws == 1 else 'draws'}: {counts}"
        return f"weights {shares}; {drawn}; {slope}, estimated {plain} without a baseline, {steadied} with one"


def uniforms(seed: int, count: int) -> list[float]:
    """Numbers in [0, 1), the same for the same seed as in the page (the generator known as mulberry32)."""
    mask, state, numbers = 0xFFFFFFFF, seed & 0xFFFFFFFF, []
    for _ in range(count):
        state = (state + 0x6D2B79F5) & mask
        t = ((state ^ state >> 15) * (1 | state)) & mask
        t = (t + ((t ^ t >> 7) * (61 | t) & mask) & mask) ^ t
        numbers.append(((t ^ t >> 14) & mask) / 4294967296)
    return numbers
