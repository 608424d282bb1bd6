"""Find the mark of the same colour, wherever it lies: what a non-local block adds to a stack of 3 x 3 layers.

    python book/experiments/nonlocal.py [--smoke]

On a grid lie three pairs of marks. The two marks of a pair have one colour, and each mark has a sign of its own. At
each mark the network is to say the sign of its partner. Who sees nothing of the partner is right half of the time. All
arms are one stack of three layers of 3 x 3, with something between the second and the third: nothing, one more layer of
about as many weights as a block, a mean over all places, or the block in three of its forms. Each arm is trained at
each rate of one grid with two seeds and keeps the rate that is best on pictures drawn for this; with it five seeds are
judged, by the share of right signs on other pictures and by the distance of the two marks. What is done lies in
``runs/nonlocal``, so that a script that was killed goes on where it was.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlib import Attention
from attnlib.frontiers.nonlocal_block import Concatenation, NonLocalBlock, dot_product
from attnlib.training import descend

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "nonlocal", HERE / "results" / "nonlocal"
SETTING: dict[str, Any] = {
    "seeds": 5,
    "seeds of the search": 2,
    "rates": [0.001, 0.004, 0.016, 0.064],
    "steps": 500,
    "batch": 32,
    "clip": 1.0,
    "side": 10,
    "pairs": 3,
    "channels": 16,
    "noise": 0.1,
    "choose by": 500,
    "tested": 2000,
}
SIDE, CHANNELS = SETTING["side"], SETTING["channels"]
MIDDLE = 4  # channels of the one more layer, so that it has about as many weights as a block


class Pictures(NamedTuple):
    """Grids ``(picture, 3, side, side)``: cosine and sine of the colour, and the sign; and of each mark its place, the
    sign of its partner and how far that is, ``(picture, mark)``."""

    grid: Tensor
    place: Tensor
    answer: Tensor
    far: Tensor


def drawn(count: int, g: torch.Generator) -> Pictures:
    """Marks at different places; colours a third of the circle apart, turned at random; noise on all."""
    marks = 2 * SETTING["pairs"]
    place = torch.rand(count, SIDE**2, generator=g).topk(marks).indices
    turn = torch.rand(count, 1, generator=g) + torch.arange(SETTING["pairs"]) / SETTING["pairs"]
    angle = (2 * torch.pi * turn).repeat_interleave(2, 1)
    sign = 2.0 * torch.randint(2, (count, marks), generator=g) - 1
    content = torch.stack([angle.cos(), angle.sin(), sign], 1)
    grid = torch.zeros(count, 3, SIDE**2).scatter_(2, place[:, None].expand(-1, 3, -1), content)
    grid += SETTING["noise"] * torch.randn(grid.shape, generator=g)
    partner = torch.arange(marks) ^ 1
    apart = [part - part[:, partner] for part in (place // SIDE, place % SIDE)]
    far = torch.stack(apart).abs().amax(0)
    return Pictures(grid.view(count, 3, SIDE, SIDE), place, sign[:, partner], far)


def mean(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Attention:
    """All places alike: what a block would be whose function f is 1."""
    context = value.mean(-2, keepdim=True).expand(*query.shape[:-1], -1)
    return Attention(context, None, None)


class Added(nn.Module):
    """The grid and a narrow 3 x 3 layer of it, normalised from nought as a block is."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(CHANNELS, MIDDLE, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(MIDDLE, CHANNELS, 1),
            nn.BatchNorm2d(CHANNELS),
        )
        nn.init.zeros_(self.layers[-1].weight)

    def forward(self, grid: Tensor) -> Tensor:
        result: Tensor = grid + self.layers(grid)
        return result


ARMS: dict[str, Callable[[], nn.Module]] = {
    "nothing": nn.Identity,
    "one more layer": Added,
    "mean": partial(NonLocalBlock, CHANNELS, operation=mean),
    "embedded Gaussian": partial(NonLocalBlock, CHANNELS),
    "dot product": partial(NonLocalBlock, CHANNELS, operation=dot_product),
    "concatenation": lambda: NonLocalBlock(CHANNELS, operation=Concatenation(CHANNELS // 2)),
}


def network(arm: str, seed: int) -> nn.Module:
    """Three layers of 3 x 3, the arm after the second, and an answer at each place; the layers start alike in all."""
    torch.manual_seed(seed)
    first, second, third = (nn.Conv2d(n, CHANNELS, 3, padding=1) for n in (3, CHANNELS, CHANNELS))
    answer = nn.Conv2d(CHANNELS, 1, 1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), ARMS[arm](), third, nn.ReLU(), answer)


def said(model: nn.Module, pictures: Pictures) -> Tensor:
    """What is said at each mark: above nought is a plus."""
    found: Tensor = model(pictures.grid).flatten(1).gather(1, pictures.place)
    return found


def train(arm: str, seed: int, rate: float) -> nn.Module:
    model, g = network(arm, seed), torch.Generator().manual_seed(1000 + seed)  # the same pictures for all arms

    def loss(step: int) -> Tensor:
        pictures = drawn(SETTING["batch"], g)
        return F.softplus(-pictures.answer * said(model, pictures)).mean()

    def schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SETTING["steps"])

    descend(model.parameters(), loss, steps=SETTING["steps"], rate=rate, clip=SETTING["clip"], schedule=schedule)
    return model.eval()


@torch.no_grad()
def examine(model: nn.Module, pictures: Pictures) -> list[list[int]]:
    """For each distance from 1: how many marks, and how many of them were answered rightly."""
    parts = zip(*(x.split(250) for x in pictures), strict=True)
    right = torch.cat([said(model, part).sign() == part.answer for part in map(Pictures._make, parts)])
    return [[int((pictures.far == d).sum()), int(right[pictures.far == d].sum())] for d in range(1, SIDE)]


def share(found: list[list[int]]) -> float:
    seen, right = map(sum, zip(*found, strict=True))
    return right / seen


def run(arm: str, parts: dict[str, Pictures]) -> dict[str, Any]:
    started, tried = time.process_time(), range(SETTING["seeds of the search"])
    models = {rate: [train(arm, seed, rate) for seed in tried] for rate in SETTING["rates"]}
    searched = {rate: [round(share(examine(m, parts["choose by"])), 5) for m in each] for rate, each in models.items()}
    best = max(searched, key=lambda rate: sum(searched[rate]))
    kept_on = models[best] + [train(arm, seed, best) for seed in range(len(tried), SETTING["seeds"])]
    return {
        "weights": sum(p.numel() for p in ARMS[arm]().parameters()),
        "search": searched,
        "best": best,
        "test": [examine(model, parts["tested"]) for model in kept_on],
        "seconds": round(time.process_time() - started),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few steps of each, and nothing is kept")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    if smoke:
        SETTING.update(steps=2, rates=[0.01], seeds=2, tested=50, **{"choose by": 50})
    g = torch.Generator().manual_seed(7)
    parts, runs = {name: drawn(SETTING[name], g) for name in ("choose by", "tested")}, {}
    for arm in ARMS:
        runs[arm] = run(arm, parts) if smoke else kept(RUNS / f"{arm}.pt", partial(run, arm, parts))
        shares = [share(found) for found in runs[arm]["test"]]
        print(f"{arm}: {min(shares):.3f} to {max(shares):.3f}, {runs[arm]['seconds']} s", flush=True)
    if smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
