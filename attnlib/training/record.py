"""What happened in a run, as plain data."""

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from . import _checkpoint

__all__ = ["Record"]


@dataclasses.dataclass
class Record:
    """What happened in a run, as plain data that ``json`` can write.

    Attributes:
        configuration: what :func:`~attnlib.training.loop.fit` was called with, as far as it can be written,
            and what the caller added.
        versions: of Python, torch, attnlib, and CUDA where it was used.
        device: what it ran on, in words.
        n_parameters: numbers that were trained.
        losses: the mean loss of each epoch, per token (or whatever ``loss`` counts), in training.
        metrics: what ``evaluate`` said after each epoch.
        seconds: of training in each epoch, evaluation and checkpoints not counted.
        tokens_per_second: of each epoch.
        best_epoch: the epoch, from 1, whose parameters were kept; the last one without ``patience``. 0 where the loss
            that was watched never was a number: then the last were kept.
    """

    configuration: dict[str, Any]
    versions: dict[str, str]
    device: str
    n_parameters: int
    losses: list[float] = dataclasses.field(default_factory=list)
    metrics: list[dict[str, float]] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    tokens_per_second: list[float] = dataclasses.field(default_factory=list)
    best_epoch: int = 0

    def text(self) -> str:
        """It as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    def save(self, path: str | Path) -> None:
        """Write it as JSON, at once: a reader never sees half of it."""
        _checkpoint.write(Path(path), (self.text() + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> "Record":
        """Read what :meth:`save` wrote."""
        return cls(**json.loads(Path(path).read_text("utf-8")))

    def end_epoch(self, summed: float, counted: float, seconds: float) -> None:
        """Note an epoch: its summed loss, what that sums over, and how long it took."""
        self.losses.append(summed / counted)
        self.seconds.append(round(seconds, 3))
        self.tokens_per_second.append(round(counted / max(seconds, 1e-9), 1))


def metrics(said: Mapping[str, float]) -> dict[str, float]:
    """What ``evaluate`` said, as numbers."""
    try:
        return {str(name): float(value) for name, value in said.items()}
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise TypeError(f"evaluate must give a mapping from names to numbers, got {said!r}") from error


def writable(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The content as JSON gives it back."""
    try:
        written: dict[str, Any] = json.loads(json.dumps(dict(content)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be JSON-able: {error}") from None
    return written


def versions(device: torch.device) -> dict[str, str]:
    """Of what may change a run."""
    from .. import __version__

    found = {"python": platform.python_version(), "torch": str(torch.__version__), "attnlib": __version__}
    return {**found, "cuda": str(torch.version.cuda)} if device.type == "cuda" else found


def name_of(device: torch.device) -> str:
    """A device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
