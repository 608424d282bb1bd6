"""The state of a run, and what happens to it.

The random numbers of a step depend on the seed, the epoch and the step, and on nothing that came before. So a run that
was killed and resumed is the run that was not, whatever ran in between.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from . import _checkpoint
from ._progress import Line, State
from .batching import Batched
from .record import Record, metrics, name_of, versions
from .start import seed_everything

SECONDS_BETWEEN_CHECKPOINTS = 60.0  # within an epoch; one is always written at its end

Loss = Callable[[nn.Module, Any], tuple[Tensor, int | float | Tensor]]
Evaluate = Callable[[nn.Module], Mapping[str, float]]


class Run:
    """The state of a run: what a checkpoint holds, and what can be made again from the arguments."""

    record: Record
    identity: dict[str, Any]

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Batched,
        seed: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None,
        clip: float | None,
    ) -> None:
        self.model, self.loss, self.data, self.seed, self.clip = model, loss, data, seed, clip
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise ValueError("model has no parameter to train")
        self.device = self.parameters[0].device
        self.optimizer = optimizer(self.parameters)
        self.schedule = None if schedule is None else schedule(self.optimizer)
        self.at = State()
        self.best: dict[str, Tensor] | None = None

    def identify(self, patience: int | None, described: dict[str, Any]) -> None:
        """Make the record, and the identity that a checkpoint must share."""
        settings = {
            "seed": self.seed,
            "batch_size": self.data.batch_size,
            "clip": self.clip,
            "patience": patience,
            "optimizer": _checkpoint.settings_of(self.optimizer),
            "schedule": None if self.schedule is None else _checkpoint.settings_of(self.schedule),
            "model": type(self.model).__name__,
            "items": len(self.data.items),
        }
        self.record = Record(
            configuration={**settings, **described},
            versions=versions(self.device),
            device=name_of(self.device),
            n_parameters=sum(parameter.numel() for parameter in self.parameters),
        )
        shapes = [(name, str(part.dtype), list(part.shape)) for name, part in self.model.named_parameters()]
        code = _checkpoint.codes((type(self.model), self.loss, self.data.collate, Run, Batched))
        self.identity = {
            **{f"configuration {name}": value for name, value in described.items()},
            **settings,
            "parameters": _checkpoint.short_hash(json.dumps(shapes)),
            "lengths": _checkpoint.short_hash(json.dumps(self.data.lengths, default=str)),
            "device": self.device.type,
            **{f"version of {name}": version for name, version in self.record.versions.items()},
            **{f"code of {name}": hashed for name, hashed in code.items()},
        }
        self.identity = json.loads(json.dumps(self.identity, default=str))

    # --- training ---

    def one_epoch(self, folder: Path | None, line: Line) -> None:
        """Train from the step where the state stands to the end of the epoch."""
        order = self.data.order(self.seed, self.at.epoch)
        self.model.train()
        written = start = time.perf_counter()
        for places in order[self.at.step :]:
            summed, counted = self.one_step(places)
            now = time.perf_counter()
            epoch, step, *sums = self.at
            sums = [x + y for x, y in zip(sums, (summed, counted, now - start), strict=True)]
            self.at, start = State(epoch, step + 1, *sums), now
            line.show(self.at, len(order))
            if now - written >= SECONDS_BETWEEN_CHECKPOINTS and self.at.step < len(order):
                self.checkpoint(folder)
                written = start = time.perf_counter()
        self.record.end_epoch(self.at.summed, self.at.counted, self.at.seconds)
        self.at = State(self.at.epoch + 1)

    def one_step(self, places: list[int]) -> tuple[float, float]:
        """One batch: forward, backward, clip, step. Its summed loss and its count."""
        items = self.data.at(places)
        # The last 0 was the process's number when there could be several; stored results were drawn with it.
        seed_everything(self.seed, "step", self.at.epoch, self.at.step, 0)
        self.optimizer.zero_grad(set_to_none=True)
        value, counted = self.forward(items)
        summed = float(value.detach())
        if not math.isfinite(summed):
            raise FloatingPointError(self.trouble(f"loss is {summed}"))
        if not counted > 0:
            raise ValueError(f"loss counted {counted:g} tokens in {self.place()}")
        (value / counted).backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, math.inf if self.clip is None else self.clip)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(self.trouble(f"the gradient's norm is {float(norm)}"))
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        return summed, counted

    def forward(self, items: list[Any]) -> tuple[Tensor, float]:
        value, count = self.loss(self.model, self.data.batch(items, self.device))
        if value.numel() != 1:
            raise ValueError(f"loss must be one number, the sum over a batch, got shape {tuple(value.shape)}")
        if not value.requires_grad:
            raise ValueError("loss must have a gradient, got a number that does not depend on the model's parameters")
        return value.reshape(()), float(count)

    def place(self) -> str:
        return f"step {self.at.step + 1} of epoch {self.at.epoch + 1}"

    def trouble(self, what: str) -> str:
        """Say where it happened and what may help."""
        return (
            f"{what} in {self.place()} (seed {self.seed}). The parameters are those of the step before, and the last "
            "checkpoint stays. Lower the learning rate or clip, start from another seed, or look for a division or "
            "logarithm of zero in the loss"
        )

    # --- after an epoch ---

    def judge(self, evaluate: Evaluate | None, patience: int | None) -> None:
        """Evaluate, and keep the parameters if they are the best so far."""
        if evaluate is not None:
            self.model.eval()
            seed_everything(self.seed, "evaluate", self.at.epoch)
            with torch.no_grad():
                self.record.metrics.append(metrics(evaluate(self.model)))
        if patience is None:
            self.record.best_epoch = self.at.epoch
        else:
            self.keep_the_best()

    def keep_the_best(self) -> None:
        if "loss" not in self.record.metrics[-1]:
            raise ValueError(f"patience needs evaluate to give a 'loss', got {sorted(self.record.metrics[-1])}")
        losses = [metrics["loss"] for metrics in self.record.metrics]
        finite = [value for value in losses if not math.isnan(value)]
        if finite and losses[-1] == min(finite) and losses.index(losses[-1]) == len(losses) - 1:
            self.record.best_epoch = self.at.epoch
            self.best = {name: part.detach().cpu().clone() for name, part in self.model.state_dict().items()}

    def out_of_patience(self, patience: int | None) -> bool:
        return patience is not None and self.at.epoch - self.record.best_epoch >= patience

    def finish(self, folder: Path | None, patience: int | None) -> Record:
        """Put the parameters in place that were asked for, and write the results."""
        if patience is not None and self.best is not None:
            self.model.load_state_dict(self.best)
        self.model.eval()
        if folder is not None:
            state = {name: part.cpu() for name, part in self.model.state_dict().items()}
            _checkpoint.write(folder / "model.pt", _checkpoint.saved(state))
            self.record.save(folder / "record.json")
        return self.record

    # --- checkpoints ---

    def checkpoint(self, folder: Path | None) -> None:
        if folder is None:
            return
        content = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "best": self.best,
            "record": self.record.text(),
            "place": list(self.at),
        }
        _checkpoint.save(folder / "checkpoint.pt", content, self.identity)
        if self.at.step == 0:
            self.record.save(folder / "record.json")

    def resume(self, path: Path, epochs: int) -> None:
        content = _checkpoint.load(path, self.identity)
        if content is None:
            return
        self.at = State(*content["place"])
        if self.at.epoch + (self.at.step > 0) > epochs:
            raise ValueError(f"epochs is {epochs} but {path} has already gone {self.at.epoch}: give another folder")
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(content["schedule"])
        self.best, self.record = content["best"], Record(**json.loads(content["record"]))
