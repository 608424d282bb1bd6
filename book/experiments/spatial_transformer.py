"""Train spatial transformers on turned, sized and moved digits, and ask whether their grid is the pose of the digit.

    python book/experiments/spatial_transformer.py
    python book/experiments/spatial_transformer.py --smoke      a minute, to see that the losses fall; writes no results

Two are trained: ``answer`` has the name of the digit alone, by a classifier that sees what the transformer read;
``picture`` is told what it should read, the digit upright. ``dense`` is the classifier on the scene itself. The one
that has the answer alone may read each digit in a pose of its own liking, as long as it is the same for all: so a
constant map, fitted by least squares on the scenes to choose by, is put before its grid, and then this is held against
the true pose. The floors are another scene's grid, and the mean pose for all. Errors are in pixels of the scene, a mean
over the frame of the digit, and in degrees. What is done lies in ``runs/spatial_transformer``: a script that was killed
goes on where it was.
"""

import argparse
import functools
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlib.data import scenes, split
from attnlib.input_features.spatial_transformer import SpatialTransformer, Transformed, transform, warped_grid
from attnlib.training import Batched, best_device, fit, seed_everything

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "spatial_transformer", HERE / "results" / "spatial_transformer"
SETTING: dict[str, Any] = {
    "side": 42,
    "digit": 24,
    "turn": 45,
    "zoom": [0.7, 1.2],
    "train": 20_000,
    "choose by": 1_000,
    "tested": 2_000,
    "out": 24,
    "d": 32,
    "hidden": 64,
    "batch": 128,
    "epochs": 20,
    "clip": 1.0,
    "rates": [0.0005, 0.001, 0.002],
    "seeds": 3,
}
SMOKE = {"train": 2_000, "choose by": 300, "tested": 300, "epochs": 5, "rates": [0.002], "seeds": 1}
ARMS = ("answer", "picture", "dense")


# --- scenes -----------------------------------------------------------------------------------------------------------


@functools.cache
def _data(shape: tuple[Any, ...]) -> dict[str, scenes.Scenes]:
    side, digit, turn, low, high, *counts = shape
    parts, warp = split(scenes.load(), dev=0.1, test=0.3), scenes.Warp(turn=turn, zoom=(low, high))
    names = zip(("train", "choose by", "tested"), parts, counts, strict=True)
    return {
        name: scenes.make(part, count=count, size=(side, side), digit=digit, warp=warp, seed=seed)
        for seed, (name, part, count) in enumerate(names)
    }


def data(setting: dict[str, Any]) -> dict[str, scenes.Scenes]:
    """Scenes to train with, to choose by and to test with; no digit is in two of them."""
    names = ("train", "choose by", "tested")
    return _data((setting["side"], setting["digit"], setting["turn"], *setting["zoom"], *(setting[n] for n in names)))


def batch(indices: list[int], given: scenes.Scenes) -> tuple[Tensor, Tensor, Tensor]:
    return given.image[indices], given.kind[indices], given.matrix[indices]


# --- the models -------------------------------------------------------------------------------------------------------


class Reader(nn.Module):
    """A transformer, and a classifier of what it reads; without a transformer, of the scene."""

    def __init__(self, arm: str, setting: dict[str, Any]) -> None:
        super().__init__()
        side, d, out = setting["side"], setting["d"], (setting["out"], setting["out"])
        localisation = nn.Sequential(
            *(nn.Conv2d(1, 8, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 16, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(16 * (((side - 4) // 2 - 4) // 2) ** 2, d), nn.ReLU()),
        )
        self.look = None if arm == "dense" else SpatialTransformer(localisation, d, size=out)
        pixels = side**2 if arm == "dense" else math.prod(out)
        self.name = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, setting["hidden"]), nn.ReLU(), nn.Linear(setting["hidden"], 10)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Transformed | None]:
        """Energies of the ten digits, and what was read."""
        if self.look is None:
            return self.name(image), None
        read = self.look(image)
        return self.name(read.image), read


Make = Callable[[str, dict[str, Any]], nn.Module]  # of an arm's name and the setting


def loss(model: nn.Module, given: tuple[Tensor, Tensor, Tensor], arm: str) -> tuple[Tensor, int]:
    image, kind, pose = given
    energies, read = model(image)
    total = F.cross_entropy(energies, kind, reduction="sum")
    if arm == "picture":
        upright = transform(image, pose, (read.image.shape[-2], read.image.shape[-1])).image
        total = total + (read.image - upright).square().sum()
    return total, len(kind)


# --- the pose ---------------------------------------------------------------------------------------------------------


def whole(matrix: Tensor) -> Tensor:
    """As three rows."""
    last = matrix.new_tensor([0.0, 0.0, 1.0]).expand(*matrix.shape[:-2], 1, 3)
    return matrix if matrix.shape[-2] == 3 else torch.cat([matrix, last], -2)


def constant(found: Tensor, pose: Tensor) -> Tensor:
    """The one affine map ``C`` for which ``found C`` is nearest to the pose, by least squares over all scenes."""
    left, right = found[:, :2, :2].reshape(-1, 2), pose[:, :2] - F.pad(found[:, :2, 2:], (2, 0))
    return whole(torch.linalg.lstsq(left, right.reshape(-1, 3)).solution)


def errors(found: Tensor, pose: Tensor, side: int) -> dict[str, float]:
    """Of two affine maps a scene: how far apart their grids are, in pixels, and how they are turned, in degrees."""
    grids = [warped_grid(matrix[:, :2], (9, 9)) for matrix in (found, pose)]
    far = (grids[0] - grids[1]).norm(dim=-1).mean((1, 2)) * side / 2
    turns = [torch.atan2(m[:, 1, 0] - m[:, 0, 1], m[:, 0, 0] + m[:, 1, 1]) for m in (found, pose)]
    apart = torch.remainder(turns[0] - turns[1] + math.pi, 2 * math.pi) - math.pi
    return {"pixels": far.mean().item(), "degrees": apart.abs().rad2deg().mean().item()}


@torch.no_grad()
def read_all(model: nn.Module, on: scenes.Scenes) -> tuple[Tensor, Tensor | None]:
    """Energies and matrices of all scenes."""
    device, energies, matrices = next(model.parameters()).device, [], []
    for images in on.image.split(500):
        one, read = model(images.to(device))
        energies.append(one.cpu())
        if read is not None:
            matrices.append(whole(read.matrix).cpu())
    return torch.cat(energies), torch.cat(matrices) if matrices else None


def judge(model: nn.Module, on: scenes.Scenes, fitted: scenes.Scenes | None, side: int) -> dict[str, float]:
    """Loss and error of the names; with scenes to fit the constant map on, the pose and its floors too."""
    energies, found = read_all(model, on)
    wrong = (energies.argmax(-1) != on.kind).float().mean().item()
    named = {"loss": F.cross_entropy(energies, on.kind).item(), "error": wrong}
    if found is None or fitted is None:
        return named
    shifted = found @ constant(read_all(model, fitted)[1], fitted.matrix)
    grids = {
        "as it is": found,
        "but for a constant": shifted,
        "of another scene": shifted.roll(1, 0),
        "mean pose": fitted.matrix.mean(0).expand_as(found),
    }
    for name, grid in grids.items():
        named |= {f"{unit}, {name}": value for unit, value in errors(grid, on.matrix, side).items()}
    return named


# --- training ---------------------------------------------------------------------------------------------------------


def train(
    arm: str, rate: float, seed: int, setting: dict[str, Any], folder: Path, make: Make = Reader
) -> tuple[nn.Module, Any, int]:
    """A model, its record, and the seconds that it took now."""
    given, started = data(setting), time.perf_counter()
    seed_everything(seed, arm)
    model = make(arm, setting).to(best_device())
    steps = setting["epochs"] * math.ceil(setting["train"] / setting["batch"])
    record = fit(
        model,
        functools.partial(loss, arm=arm),
        Batched(range(setting["train"]), setting["batch"], functools.partial(batch, given=given["train"])),
        epochs=setting["epochs"],
        seed=seed,
        optimizer=functools.partial(torch.optim.Adam, lr=rate),
        schedule=functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps),
        clip=setting["clip"],
        evaluate=lambda model: judge(model, given["choose by"], None, setting["side"]),
        folder=folder / f"{arm}, {rate}, {seed}",
        configuration={"arm": arm, "rate": rate, **setting},
    )
    return model, record, round(time.perf_counter() - started)


def run(arm: str, setting: dict[str, Any], folder: Path, make: Make = Reader) -> tuple[dict[str, Any], nn.Module]:
    """What an arm comes to at its best rate, and its model of the first seed."""
    searched = {rate: train(arm, rate, 0, setting, folder, make)[1].metrics[-1]["error"] for rate in setting["rates"]}
    rate, given = min(searched, key=searched.__getitem__), data(setting)
    tests, losses, models = [], [], []
    for seed in range(setting["seeds"]):
        model, record, seconds = train(arm, rate, seed, setting, folder, make)
        found = judge(model, given["tested"], given["choose by"], setting["side"])
        tests.append({name: round(value, 5) for name, value in found.items()})
        losses.append([round(value, 4) for value in record.losses])
        models.append(model)
        print(f"{arm}, rate {rate}, seed {seed}: {tests[-1]}, {seconds} s now", flush=True)
    search = {str(rate): round(error, 5) for rate, error in searched.items()}
    return {"search": search, "rate": rate, "test": tests, "losses": losses}, models[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a minute, no results")
    smoke = parser.parse_args().smoke
    torch.set_num_threads(1)
    setting = {**SETTING, **(SMOKE if smoke else {})}
    folder = Path(tempfile.mkdtemp()) if smoke else RUNS
    runs, models = {}, {}
    for arm in ARMS:
        runs[arm], models[arm] = run(arm, setting, folder)
        if smoke:
            print(f"  loss by epoch {runs[arm]['losses'][0]}", flush=True)
    if smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": setting,
        "versions": {"torch": torch.__version__},
        "device": str(best_device()),
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    state = {name: value.half().cpu() for name, value in models["answer"].state_dict().items()}
    torch.save(state, RESULTS / "model.pt")  # of the first seed


if __name__ == "__main__":
    main()
