"""Train the recurrent attention model on cluttered scenes, against networks of its size that see the whole image.

    python book/experiments/glimpses.py
    python book/experiments/glimpses.py --smoke      a minute, to see that the losses fall; writes no results

Each arm is trained at each rate of the same grid with the first seed, and has the one with the least error on scenes of
digits that are neither trained nor tested with; then with all seeds. All arms and seeds share their scenes. What is
done lies in ``runs/glimpses``: a script that was killed goes on where it was. Who changes how scenes are made empties
that folder first.

Arms: ``glimpses`` and, with the context network, ``glimpses, context``; ``anywhere``, the same model whose places are
drawn evenly from the whole image, which is the floor for where to look; ``dense`` and ``convolution``.
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
from attnlib.input_features.glimpse import ContextNetwork, GlimpseNetwork
from attnlib.input_features.recurrent_attention import RecurrentAttention, hybrid_loss
from attnlib.training import Batched, best_device, fit, seed_everything

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "glimpses", HERE / "results" / "glimpses"
SETTING: dict[str, Any] = {
    "side": 60,
    "digit": 28,
    "pieces": 4,
    "train": 20_000,
    "choose by": 1_000,
    "tested": 2_000,
    "glimpses": 6,
    "size": 12,
    "scales": 3,
    "coarse": 12,
    "spread": 0.15,
    "policy weight": 0.03,
    "d_hidden": 64,
    "d_state": 128,
    "batch": 128,
    "epochs": 30,
    "clip": 5.0,
    "rates": [0.001, 0.002],
    "seeds": 3,
}
SMOKE = {"train": 2_000, "choose by": 300, "tested": 300, "batch": 32, "epochs": 5, "rates": [0.002], "seeds": 1}
SIDES = [28, 60, 100, 200]  # whose cost is counted


# --- scenes -----------------------------------------------------------------------------------------------------------


def data(setting: dict[str, Any]) -> dict[str, scenes.Scenes]:
    """Scenes to train with, to choose by and to test with; no digit is in two of them. Greys are kept as bytes."""
    shape = {name: setting[name] for name in ("side", "digit", "pieces", "train", "choose by", "tested")}
    place = RUNS / f"scenes {', '.join(map(str, shape.values()))}.pt"
    if place.exists():
        return {name: scenes.Scenes(*parts) for name, parts in torch.load(place, weights_only=True).items()}
    parts = split(scenes.load(), dev=0.1, test=0.3)
    made = {}
    for seed, (name, part) in enumerate(zip(("train", "choose by", "tested"), parts, strict=True)):
        side, options = setting["side"], {"digit": setting["digit"], "pieces": setting["pieces"], "seed": seed}
        found = scenes.make(part, count=setting[name], size=(side, side), **options)
        made[name] = found._replace(image=(255 * found.image).round().to(torch.uint8))
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.save({name: tuple(found) for name, found in made.items()}, place)
    return made


def batch(indices: list[int], given: scenes.Scenes) -> tuple[Tensor, Tensor]:
    return given.image[indices].float() / 255, given.kind[indices]


# --- the arms ---------------------------------------------------------------------------------------------------------


class Anywhere(RecurrentAttention):
    """Looks at places that are drawn evenly from the image; nothing is learned about where."""

    def next_place(
        self, state: Tensor, sample: bool, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, density, baseline = super().next_place(state, sample, generator)
        return self.first_place(state, True, generator), density.detach(), baseline


def glimpses(
    setting: dict[str, Any], kind: type[RecurrentAttention] = RecurrentAttention, context: bool = False
) -> nn.Module:
    d = setting["d_state"]
    look = GlimpseNetwork(setting["size"], setting["scales"], d_hidden=setting["d_hidden"], d_glimpse=d)
    coarse = ContextNetwork(setting["coarse"], d) if context else None
    return kind(10, look, d_state=d, spread=setting["spread"], context=coarse)


def dense(setting: dict[str, Any]) -> nn.Module:
    """Two layers, of as many parameters as the model of glimpses has."""
    inputs = setting["side"] ** 2
    width = round((parameters(glimpses(setting)) - 10) / (inputs + 11))
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 10))


def convolution(setting: dict[str, Any]) -> nn.Module:
    """Filters in strides, a dense layer, the answer; of as many parameters."""
    filters = nn.Conv2d(1, 8, 10, stride=5)
    inputs = 8 * ((setting["side"] - 10) // 5 + 1) ** 2
    width = round((parameters(glimpses(setting)) - parameters(filters) - 10) / (inputs + 11))
    after = [nn.ReLU(), nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 10)]
    return nn.Sequential(filters, *after)


ARMS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "glimpses": glimpses,
    "glimpses, context": functools.partial(glimpses, context=True),
    "anywhere": functools.partial(glimpses, kind=Anywhere),
    "dense": dense,
    "convolution": convolution,
}


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def multiplications(model: nn.Module, side: int, setting: dict[str, Any]) -> int:
    """Of one image: counted in the layers, as many as each has weights for each time that it is used."""
    counted = 0

    def count(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal counted
        each = result.shape[-2] * result.shape[-1] if isinstance(layer, nn.Conv2d) else 1
        counted += layer.weight.numel() * each

    hooks = [
        layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    with torch.no_grad():
        answer(model, torch.zeros(1, 1, side, side), setting)
    for hook in hooks:
        hook.remove()
    return counted


def answer(model: nn.Module, image: Tensor, setting: dict[str, Any]) -> Tensor:
    """Log-probabilities of the ten digits."""
    if isinstance(model, RecurrentAttention):
        return model(image, setting["glimpses"]).log_probability[-1]
    return model(image).log_softmax(-1)


def loss(model: nn.Module, given: tuple[Tensor, Tensor], setting: dict[str, Any]) -> tuple[Tensor, int]:
    image, kind = given
    if isinstance(model, RecurrentAttention):
        total = hybrid_loss(model(image, setting["glimpses"]), kind, policy_weight=setting["policy weight"]).total
    else:
        total = F.cross_entropy(model(image), kind)
    return total * len(kind), len(kind)


@torch.no_grad()
def judge(model: nn.Module, on: scenes.Scenes, setting: dict[str, Any]) -> dict[str, float]:
    """Negative log-likelihood and error; for glimpses also by step, and how many of them fall on the digit's box."""
    device, found = next(model.parameters()).device, []
    for start in range(0, len(on.kind), 500):
        image, kind = batch(list(range(start, min(start + 500, len(on.kind)))), on)
        image, kind = image.to(device), kind.to(device)
        if isinstance(model, RecurrentAttention):
            seen = model(image, setting["glimpses"])
            box = on.box[start : start + 500].to(device)
            places = (seen.location + 1) / 2 * setting["side"]
            inside = ((places >= box[:, :2]) & (places <= box[:, 2:])).all(-1).float()
            beliefs = seen.log_probability
        else:
            beliefs, inside = model(image).log_softmax(-1).unsqueeze(0), None
        wrong = (beliefs.argmax(-1) != kind).float()
        likelihood = -beliefs[-1].gather(-1, kind[:, None])
        rows = [likelihood.T, wrong[-1:]] + ([] if inside is None else [wrong, inside])
        found.append(torch.cat(rows).cpu())
    means = torch.cat(found, -1).mean(-1).tolist()
    steps = (len(means) - 2) // 2
    named = {"loss": means[0], "error": means[1]}
    for step in range(steps):
        named[f"error after {step + 1}"], named[f"in the box at {step + 1}"] = means[2 + step], means[2 + steps + step]
    return named


# --- training ---------------------------------------------------------------------------------------------------------


def train(arm: str, rate: float, seed: int, setting: dict[str, Any], folder: Path) -> tuple[nn.Module, Any, int]:
    """A model, its record, and the seconds that it took now."""
    given, started = data(setting), time.perf_counter()
    seed_everything(seed, arm)
    model = ARMS[arm](setting).to(best_device())
    items = Batched(range(len(given["train"].kind)), setting["batch"], functools.partial(batch, given=given["train"]))
    steps = setting["epochs"] * math.ceil(setting["train"] / setting["batch"])
    record = fit(
        model,
        functools.partial(loss, setting=setting),
        items,
        epochs=setting["epochs"],
        seed=seed,
        optimizer=functools.partial(torch.optim.Adam, lr=rate),
        schedule=functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps),
        clip=setting["clip"],
        evaluate=lambda model: judge(model, given["choose by"], setting),
        folder=folder / f"{arm}, {rate}, {seed}",
        configuration={"arm": arm, "rate": rate, **setting},
    )
    return model, record, round(time.perf_counter() - started)


def run(arm: str, setting: dict[str, Any], folder: Path) -> tuple[dict[str, Any], nn.Module]:
    """What an arm comes to at its best rate, and its model of the first seed."""
    searched = {rate: train(arm, rate, 0, setting, folder)[1].metrics[-1]["error"] for rate in setting["rates"]}
    rate = min(searched, key=searched.__getitem__)
    tests, losses, first = [], [], None
    for seed in range(setting["seeds"]):
        model, record, seconds = train(arm, rate, seed, setting, folder)
        seed_everything(seed, "test")
        tests.append({name: round(value, 5) for name, value in judge(model, data(setting)["tested"], setting).items()})
        losses.append([round(metrics["loss"], 4) for metrics in record.metrics])
        first = first or model
        print(f"{arm}, rate {rate}, seed {seed}: {tests[-1]['error']:.4f} wrong, {seconds} s now", flush=True)
    found = {
        "search": {str(r): round(e, 5) for r, e in searched.items()},
        "rate": rate,
        "test": tests,
        "losses": losses,
    }
    return {**found, "parameters": parameters(first)}, first


def costs(setting: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Multiplications an image, by its side, of models whose hidden layers are as wide as at the side trained with."""
    found: dict[str, dict[str, int]] = {}
    for side in SIDES:
        for arm in ("glimpses", "dense", "convolution"):
            model = ARMS[arm](setting)
            if arm != "glimpses":  # its first dense layer grows with the image
                last = model[-3]
                pixels = side**2 if arm == "dense" else 8 * ((side - 10) // 5 + 1) ** 2
                model[-3] = nn.Linear(pixels, last.out_features)
            found.setdefault(arm, {})[str(side)] = multiplications(model, side, setting)
    return found


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
            print(f"  loss by epoch {runs[arm]['losses'][0]}, {runs[arm]['parameters']} parameters", flush=True)
    if smoke:
        print(json.dumps(costs(setting)))
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": setting,
        "versions": {"torch": torch.__version__},
        "device": str(best_device()),
        "costs": costs(setting),
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    state = {name: value.half().cpu() for name, value in models["glimpses"].state_dict().items()}
    torch.save(state, RESULTS / "model.pt")  # of the first seed


if __name__ == "__main__":
    main()
