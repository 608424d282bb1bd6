"""Lead the models that ``glimpses.py`` trained along other paths than their own: that of another scene, for one.

    python book/experiments/glimpses_led.py

The models are taken from ``runs/glimpses``; what is not trained there is trained first.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnlib.data import scenes
from attnlib.input_features.recurrent_attention import RecurrentAttention
from attnlib.training import best_device, seed_everything

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book.experiments import glimpses

RESULTS = Path(__file__).parent / "results" / "glimpses_led"


def answer(model: RecurrentAttention, image: Tensor, places: Tensor) -> Tensor:
    """The answer of a model that looks where it is told."""
    state = image.new_zeros(len(image), model.d_state)
    for place in places:
        state = torch.relu(model.from_state(state) + model.from_glimpse(model.glimpse(image, place)))
    return model.action(state).argmax(-1)


@torch.no_grad()
def led(model: RecurrentAttention, on: scenes.Scenes, setting: dict[str, Any]) -> dict[str, float]:
    """The error along each path, and how many of the model's own glimpses lie outside of the image, by step.

    All paths but that of another scene begin where the model's own does.
    """
    device, found = next(model.parameters()).device, []
    for start in range(0, len(on.kind), 500):
        image, kind = glimpses.batch(list(range(start, min(start + 500, len(on.kind)))), on)
        image, kind, box = image.to(device), kind.to(device), on.box[start : start + 500].to(device)
        own = model(image, setting["glimpses"]).location
        first, later = own[:1], own[1:]
        digit = (box[:, :2] + box[:, 2:]) / setting["side"] - 1
        paths = {
            "its own": own,
            "that of another scene": own.roll(1, 1),
            "drawn evenly": torch.cat([first, torch.empty_like(later).uniform_(-1, 1)]),
            "its third place kept": own[[0, 1, *[2] * (len(own) - 2)]],
            "around the digit": torch.cat([first, digit + setting["spread"] * torch.randn_like(later)]),
        }
        wrong = torch.stack([answer(model, image, places) != kind for places in paths.values()])
        found.append(torch.cat([wrong, (own.abs() > 1).any(-1)]).float().cpu())
    means = [round(value, 5) for value in torch.cat(found, -1).mean(-1).tolist()]
    names = [*paths, *(f"outside at {step + 1}" for step in range(len(own)))]
    return dict(zip(names, means, strict=True))


def main() -> None:
    torch.set_num_threads(1)
    setting = glimpses.SETTING
    found = json.loads((glimpses.RESULTS / "metrics.json").read_text(encoding="utf-8"))
    rate, runs = found["runs"]["glimpses"]["rate"], []
    for seed in range(setting["seeds"]):
        model, _, _ = glimpses.train("glimpses", rate, seed, setting, glimpses.RUNS)
        assert isinstance(model, RecurrentAttention)
        seed_everything(seed, "led")
        runs.append(led(model, glimpses.data(setting)["tested"], setting))
        print(seed, runs[-1], flush=True)
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": setting,
        "versions": {"torch": torch.__version__},
        "device": str(best_device()),
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
