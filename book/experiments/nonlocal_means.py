"""Take noise off photographs: a blur, a local mean, and the non-local block's Gaussian over patches, untrained.

    python book/experiments/nonlocal_means.py [--smoke]

Grey pieces of photographs get normal noise. Each arm tries every one of its settings on two photographs and keeps the
one that is best there; judged is the signal-to-noise ratio of the peak, in decibels, on three other photographs, each
with noise drawn five times. The Gaussian is taken over patches with and without their lengths (without, it is the
paper's as it stands), and over all places or those within a square around each.
"""

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.data import photographs
from attnlib.data._pictures import decoded
from attnlib.frontiers.nonlocal_block import gaussian
from attnlib.widgets.frontiers.similar_places import places

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RESULTS, KEPT = HERE / "results" / "nonlocal_means", HERE.parent / "brain" / "photographs"
SETTING: dict[str, Any] = {
    "noise": 0.1,
    "draws": 5,
    "side": 48,
    "searched on": ["china", "flower"],
    "judged on": ["astronaut", "coffee", "rocket"],
}
SIDE = SETTING["side"]
REACHES, BANDWIDTHS = (0, 1, 2), (0.06, 0.08, 0.1, 0.12, 0.16, 0.22)


def piece(name: str) -> Tensor:
    """The middle of a photograph whose longer side is 128, in grey, ``(1, side, side)``."""
    if name in SETTING["searched on"]:
        image = photographs.load(name, size=128)
    else:  # kept beside the chapter on saliency, at 256
        image = F.avg_pool2d(decoded((KEPT / f"{name}.png").read_bytes(), name), 2)
    grey = image.mean(0, keepdim=True)
    top, left = ((size - SIDE) // 2 for size in grey.shape[1:])
    return grey[:, top : top + SIDE, left : left + SIDE]


def noisy(image: Tensor, seed: int) -> Tensor:
    return image + SETTING["noise"] * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))


def blurred(image: Tensor, width: float) -> Tensor:
    reach = math.ceil(3 * width)
    row = torch.exp(-torch.arange(-reach, reach + 1.0).square() / (2 * width**2))
    row = row / row.sum()
    padded = F.pad(image.unsqueeze(0), (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, row.view(1, 1, 1, -1)), row.view(1, 1, -1, 1)).squeeze(0)


def local_mean(image: Tensor, reach: int) -> Tensor:
    return F.avg_pool2d(F.pad(image.unsqueeze(0), (reach,) * 4, mode="replicate"), 2 * reach + 1, 1).squeeze(0)


def non_local(image: Tensor, reach: int, bandwidth: float, window: int | None = None, *, plain: bool = False) -> Tensor:
    """The block's Gaussian over patches; ``plain`` leaves their lengths out, ``window`` shows places that are near."""
    query, key, value = places(image, reach, bandwidth)
    if plain:
        query, key = query[:, :-1], key[:, :-1]
    at = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE))
    mask = None if window is None else (at[:, None] - at).abs().amax(-1) <= window
    return gaussian(query, key, value, mask=mask).context.T.view_as(image)


def plain(image: Tensor, reach: int, bandwidth: float) -> Tensor:
    return non_local(image, reach, bandwidth, plain=True)


Arm = tuple[Callable[..., Tensor], list[tuple[Any, ...]]]
ARMS: dict[str, Arm] = {
    "blur": (blurred, [(width,) for width in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)]),
    "local mean": (local_mean, [(reach,) for reach in (0, 1, 2, 3)]),
    "non-local means": (non_local, list(itertools.product(REACHES, BANDWIDTHS))),
    "only within a square": (non_local, list(itertools.product(REACHES, BANDWIDTHS, (7, 11, 16, 24)))),
    "without lengths": (plain, list(itertools.product(REACHES, (*BANDWIDTHS, 0.5, 1.0, 2.0, 4.0, 8.0)))),
}


def decibels(found: Tensor, image: Tensor) -> float:
    return -10 * math.log10((found - image).square().mean())


def run(arm: str) -> dict[str, Any]:
    started, (clean, settings) = time.process_time(), ARMS[arm]
    pieces = [piece(name) for name in SETTING["searched on"]]
    tried = {
        json.dumps(each): sum(decibels(clean(noisy(x, 100 + n), *each), x) for n, x in enumerate(pieces)) / len(pieces)
        for each in settings
    }
    best = json.loads(max(tried, key=lambda each: tried[each]))
    judged = {
        name: [round(decibels(clean(noisy(x, seed), *best), x), 3) for seed in range(SETTING["draws"])]
        for name in SETTING["judged on"]
        for x in [piece(name)]
    }
    search = {each: round(found, 2) for each, found in tried.items()}
    return {"search": search, "best": best, "test": judged, "seconds": round(time.process_time() - started)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="two settings of each, and nothing is kept")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    if smoke:
        ARMS.update({arm: (clean, settings[:2]) for arm, (clean, settings) in ARMS.items()})
    runs = {}
    for arm in ARMS:
        runs[arm] = run(arm)
        print(arm, runs[arm]["best"], runs[arm]["test"], f"{runs[arm]['seconds']} s", flush=True)
    if smoke:
        return
    images = {name: piece(name) for name in SETTING["judged on"]}
    floor = {n: [round(decibels(noisy(x, s), x), 3) for s in range(SETTING["draws"])] for n, x in images.items()}
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "noisy": floor,
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
