"""Train what has no spatial transformer on the scenes of ``spatial_transformer.py``, with more rates to choose from.

    python book/experiments/spatial_transformer_rivals.py

``dense`` is the classifier on the scene itself. ``convolution`` has the two convolutions with which the transformer
looks for the digit, a hidden layer behind them, and as many parameters as transformer and classifier together. What is
done lies in ``runs/spatial_transformer_rivals``: a script that was killed goes on where it was.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnlib.training import best_device

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book.experiments import spatial_transformer

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "spatial_transformer_rivals", HERE / "results" / "spatial_transformer_rivals"
SETTING: dict[str, Any] = {**spatial_transformer.SETTING, "rates": [0.0005, 0.001, 0.002, 0.005, 0.01]}
ARMS = ("convolution", "dense")


class Convolution(nn.Module):
    """Two convolutions and a hidden layer, as large as a reader with a transformer to within one unit."""

    def __init__(self, setting: dict[str, Any]) -> None:
        super().__init__()
        seen = nn.Sequential(nn.Conv2d(1, 8, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 16, 5), nn.MaxPool2d(2))
        features = 16 * (((setting["side"] - 4) // 2 - 4) // 2) ** 2
        wanted = size(spatial_transformer.Reader("answer", setting))
        units = round((wanted - size(seen) - 10) / (features + 1 + 10))
        self.name = nn.Sequential(
            *(seen, nn.ReLU(), nn.Flatten(), nn.Linear(features, units), nn.ReLU(), nn.Linear(units, 10))
        )

    def forward(self, image: Tensor) -> tuple[Tensor, None]:
        """Energies of the ten digits; nothing was read."""
        return self.name(image), None


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def made(arm: str, setting: dict[str, Any]) -> nn.Module:
    return Convolution(setting) if arm == "convolution" else spatial_transformer.Reader(arm, setting)


def main() -> None:
    torch.set_num_threads(1)
    runs = {}
    for arm in ARMS:
        found, model = spatial_transformer.run(arm, SETTING, RUNS, made)
        runs[arm] = {"parameters": size(model), **found}
    metrics = {
        **provenance.stamp(Path(__file__)),
        "trained by": provenance.stamp(Path(spatial_transformer.__file__))["script"],
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": str(best_device()),
        "runs": runs,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
