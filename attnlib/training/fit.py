"""One small training loop: batches of like length, clipping, checkpoints, one process or several, a record of the run.

The random numbers of a step depend on the seed, the epoch, the step and the process, and on nothing that came before.
So a run that was killed and resumed is the run that was not, whatever ran in between.
"""

import dataclasses
import hashlib
import inspect
import json
import math
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import _checkpoint, _processes

__all__ = ["Record", "batches", "best_device", "fit", "is_main_process", "seed_everything"]

Length = int | tuple[int, ...]

POOL = 20  # batches that are sorted together: lengths within a batch are alike, and batches still differ by epoch
SECONDS_BETWEEN_CHECKPOINTS = 60.0  # within an epoch; one is always written at its end
LINE_SECONDS = 0.2  # between two looks of the line of progress


@dataclasses.dataclass
class Record:
    """What happened in a run, as plain data that ``json`` can write.

    Attributes:
        configuration: what :func:`fit` was called with, as far as it can be written, and what the caller added.
        versions: of Python, torch, attnlib, and CUDA where it was used.
        device: what it ran on, in words.
        processes: how many.
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
    processes: int
    n_parameters: int
    losses: list[float] = dataclasses.field(default_factory=list)
    metrics: list[dict[str, float]] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    tokens_per_second: list[float] = dataclasses.field(default_factory=list)
    best_epoch: int = 0

    def save(self, path: str | Path) -> None:
        """Write it as JSON, at once: a reader never sees half of it."""
        _checkpoint.write(Path(path), (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> "Record":
        """Read what :meth:`save` wrote."""
        return cls(**json.loads(Path(path).read_text("utf-8")))


def seed_everything(seed: int, *parts: object) -> None:
    """Seed Python's and torch's generators, those of all GPUs included.

    Call it before the model is made: :func:`fit` seeds what follows.

    Args:
        seed: any whole number.
        parts: what else tells this stream from others, such as the number of a step.

    >>> seed_everything(7); a = torch.rand(1); seed_everything(7); bool(a == torch.rand(1))
    True
    """
    mixed = random.Random("/".join(map(str, (seed, *parts)))).getrandbits(63) if parts else seed
    random.seed(mixed)
    torch.manual_seed(mixed)


def best_device() -> torch.device:
    """The GPU where there is one, of several processes each its own; else the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    torch.cuda.set_device(place)
    return place


def is_main_process() -> bool:
    """Whether this process is the one that writes: the only one, or the first under ``torchrun``."""
    return int(os.environ.get("RANK", "0")) == 0


def batches(lengths: Sequence[Length], batch_size: int, *, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    """Cut a data set into batches of like length, in an order that seed and epoch alone decide.

    The items are shuffled, pooled by twenty batches, sorted within a pool, cut, and the batches shuffled.

    Args:
        lengths: of each item, a number or a tuple (source and target, say) to sort by.
        batch_size: items a batch, at least 1; one batch may be smaller.
        seed: of the run.
        epoch: its number.

    Returns:
        Lists of places in ``lengths``; every place stands in exactly one.

    Raises:
        ValueError: there are no items, or ``batch_size`` is below 1.

    Source: Bahdanau et al. 2015, appendix B.2.2 [bahdanau2015], which sorts 1,600 pairs and cuts 20 batches of 80.

    Departs from the source: an epoch ends when all items were seen; the batches of all pools are shuffled together.

    >>> sorted(sorted(batch) for batch in batches([5, 1, 5, 1], 2))
    [[0, 2], [1, 3]]
    """
    if not lengths:
        raise ValueError("items is empty: there is nothing to train on")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    generator = random.Random(f"{seed}/order/{epoch}")
    places = list(range(len(lengths)))
    generator.shuffle(places)
    size, cut = POOL * batch_size, []
    for start in range(0, len(places), size):
        pool = sorted(places[start : start + size], key=lambda place: lengths[place])
        cut += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    generator.shuffle(cut)
    return cut


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, Any], tuple[Tensor, int | float | Tensor]],
    items: Sequence[Any],
    *,
    epochs: int,
    batch_size: int,
    collate: Callable[[list[Any]], Any],
    length: Callable[[Any], Length] | None = None,
    seed: int = 0,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = torch.optim.Adam,
    clip: float | None = 1.0,
    mixed_precision: bool = False,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    patience: int | None = None,
    folder: str | Path | None = None,
    configuration: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Record:
    r"""Train a model in place, where it stands (move it to :func:`best_device` first), and say what happened.

    .. math::
        \theta \leftarrow \mathrm{optimizer}\Big(\theta,\ g \min\big(1, \tfrac{clip}{\lVert g \rVert}\big)\Big), \qquad
        g = \nabla_\theta \, \frac{\sum_{batch} loss}{\sum_{batch} count}

    A run with a ``folder`` can be killed at any moment. Called again with the same arguments it goes on from the last
    checkpoint (written at the end of each epoch, and each minute within one) and ends with the same parameters and the
    same record, to the last bit where the kernels are deterministic, as they are on a CPU; a run that was finished is
    only read. More ``epochs`` than before go on.

    Under ``torchrun --nproc-per-node N`` the same script trains with N processes, which share each batch and add their
    gradients: the losses are those of one process but for rounding, and for dropout, which each process draws itself.
    The first process alone evaluates and writes.

    Args:
        model: whose parameters are trained; left in training's end state, or the best one, and in evaluation mode.
        loss: ``(model, batch) -> (summed loss, count)``: a scalar with gradient, and how many tokens it sums over.
        items: the data, any sequence.
        epochs: passes over the data, at least 1.
        batch_size: items of a batch, of all processes together.
        collate: ``list of items -> batch``: a tensor, or a tuple, list or dict of those, which is moved to the device.
        length: of an item, to sort by (see :func:`batches`); None: all are alike.
        seed: of the order, of dropout, and of whatever else is drawn. The model is made before: seed that yourself.
        optimizer: ``parameters -> optimizer``, for instance ``functools.partial(torch.optim.Adam, lr=1e-3)``.
        clip: the largest norm that the gradient may have, above 0; None: no limit.
        mixed_precision: run the forward pass in bfloat16 where that is safe, on a GPU; on a CPU it changes nothing.
        evaluate: ``model -> {name: number}`` after each epoch, in evaluation mode and without gradients.
        patience: stop when ``evaluate``'s ``"loss"`` has not fallen for so many epochs, and keep the best parameters,
            also when the epochs run out first.
        folder: where ``checkpoint.pt``, ``record.json`` and at the end ``model.pt`` (parameters alone) are written.
        configuration: what else tells this run from others (sizes, dropout, hash of the data), JSON-able: goes into the
            record, and a checkpoint of another one is refused.
        progress: None: one living line on standard error if that is a terminal; True: elsewhere a line an epoch as
            well; False: silence.

    Returns:
        A :class:`Record`, the same in every process.

    Raises:
        ValueError: no items; a number out of range; ``patience`` without a ``"loss"``; a batch that counts nothing.
        FloatingPointError: a loss or gradient is not finite. The parameters are those of the step before, and the
            checkpoint stays.
        RuntimeError: the checkpoint is damaged, or of another configuration, data size or version of the code.
        TypeError: ``configuration`` or a metric cannot be written.

    Source: ours; gradient clipping by norm, Pascanu et al. 2013 [pascanu2013].

    >>> seed_everything(0)
    >>> line, points = nn.Linear(1, 1), [(x / 8, x / 4 + 1) for x in range(8)]
    >>> def squares(model, batch):
    ...     return (model(batch[:, :1]) - batch[:, 1:]).square().sum(), len(batch)
    >>> record = fit(line, squares, points, epochs=90, batch_size=4, collate=torch.tensor,
    ...              optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.3))
    >>> [round(parameter.item(), 2) for parameter in line.parameters()]  # the line 2 x + 1
    [2.0, 1.0]
    """
    _refuse(items, epochs, batch_size, clip, patience, evaluate)
    lengths: list[Length] = [0 if length is None else length(item) for item in items]
    run = _Run(model, loss, items, lengths, collate, optimizer, seed, batch_size, clip, mixed_precision)
    described = {} if configuration is None else _writable(dict(configuration), "configuration")
    run.identify(described, (loss, collate), patience)
    path = None if folder is None else Path(folder)
    if path is not None:
        run.resume(path / "checkpoint.pt", epochs)
    run.line = _Line(progress, epochs) if run.rank == 0 else _Line(False, epochs)
    while run.epoch < epochs and not run.out_of_patience(patience):
        run.one_epoch(path)
        run.judge(evaluate, patience)
        run.checkpoint(path)
    return run.finish(path, patience, epochs)


class _Run:
    """The state of a run: what a checkpoint holds, and what can be made again from the arguments."""

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[nn.Module, Any], tuple[Tensor, int | float | Tensor]],
        items: Sequence[Any],
        lengths: list[Length],
        collate: Callable[[list[Any]], Any],
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        seed: int,
        batch_size: int,
        clip: float | None,
        mixed_precision: bool,
    ) -> None:
        self.model, self.loss, self.items, self.lengths, self.collate = model, loss, items, lengths, collate
        self.seed, self.batch_size, self.clip = seed, batch_size, clip
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise ValueError("model has no parameter to train")
        self.device = self.parameters[0].device
        self.mixed = mixed_precision and self.device.type == "cuda"
        self.rank, self.processes = _processes.join(self.device)
        if self.processes > 1:
            _processes.spread(model)
        self.optimizer = optimizer(self.parameters)
        self.epoch = self.step = 0
        self.summed = self.counted = self.seconds = 0.0
        self.best: dict[str, Tensor] | None = None
        self.line = _Line(False, 0)
        self.record: Record
        self.identity: dict[str, Any]

    # --- what it is ---

    def identify(self, described: dict[str, Any], functions: tuple[Any, ...], patience: int | None) -> None:
        """Make the record, and the identity that a checkpoint must share."""
        groups = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
        kind = type(self.optimizer).__name__
        settings = {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "clip": self.clip,
            "mixed_precision": self.mixed,
            "patience": patience,
            "optimizer": kind + " " + json.dumps(groups, default=str),
            "model": type(self.model).__name__,
            "items": len(self.items),
        }
        self.record = Record(
            configuration={**settings, **described},
            versions=_versions(self.device),
            device=_name(self.device),
            processes=self.processes,
            n_parameters=sum(parameter.numel() for parameter in self.parameters),
        )
        shapes = [(name, str(part.dtype), list(part.shape)) for name, part in self.model.named_parameters()]
        self.identity = {
            **{f"configuration {name}": value for name, value in described.items()},
            **settings,
            "parameters": _hash(json.dumps(shapes)),
            "lengths": _hash(json.dumps(self.lengths, default=str)),
            "processes": self.processes,
            "device": self.device.type,
            **{f"version of {name}": version for name, version in self.record.versions.items()},
            **{f"code of {name}": code for name, code in _sources((type(self.model), *functions, fit)).items()},
        }
        self.identity = json.loads(json.dumps(self.identity, default=str))

    # --- training ---

    def one_epoch(self, folder: Path | None) -> None:
        """Train from the step where the state stands to the end of the epoch."""
        order = batches(self.lengths, self.batch_size, seed=self.seed, epoch=self.epoch)
        self.model.train()
        written = start = time.perf_counter()
        for places in order[self.step :]:
            self.one_step(places)
            self.step += 1
            now = time.perf_counter()
            self.seconds, start = self.seconds + now - start, now
            self.line.show(self, len(order))
            if now - written >= SECONDS_BETWEEN_CHECKPOINTS and self.step < len(order):
                self.checkpoint(folder)
                written = start = time.perf_counter()
        self.record.losses.append(self.summed / self.counted)
        self.record.seconds.append(round(self.seconds, 3))
        self.record.tokens_per_second.append(round(self.counted / max(self.seconds, 1e-9), 1))
        self.epoch, self.step = self.epoch + 1, 0
        self.summed = self.counted = self.seconds = 0.0

    def one_step(self, places: list[int]) -> None:
        """One batch, of which this process takes its share: forward, backward, clip, step."""
        seed_everything(self.seed, "step", self.epoch, self.step, self.rank)
        share = places[self.rank :: self.processes]
        self.optimizer.zero_grad(set_to_none=True)
        value, count = self.forward([self.items[place] for place in share]) if share else (None, 0.0)
        here = torch.zeros((), device=self.device) if value is None else value
        summed, counted = _processes.total(here, count) if self.processes > 1 else (float(here.detach()), count)
        if not math.isfinite(summed):
            raise FloatingPointError(self.trouble(f"loss is {summed}"))
        if not counted > 0:
            raise ValueError(f"loss counted {counted:g} tokens in step {self.step + 1} of epoch {self.epoch + 1}")
        if value is not None:
            (value / counted).backward()  # type: ignore[no-untyped-call]
        if self.processes > 1:
            _processes.add_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, math.inf if self.clip is None else self.clip)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(self.trouble(f"the gradient's norm is {float(norm)}"))
        self.optimizer.step()
        self.summed, self.counted = self.summed + summed, self.counted + counted

    def forward(self, share: list[Any]) -> tuple[Tensor, float]:
        batch = _moved(self.collate(share), self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            value, count = self.loss(self.model, batch)
        if value.numel() != 1:
            raise ValueError(f"loss must be one number, the sum over a batch, got shape {tuple(value.shape)}")
        if not value.requires_grad:
            raise ValueError("loss must have a gradient, got a number that does not depend on the model's parameters")
        return value.reshape(()), float(count)

    def trouble(self, what: str) -> str:
        """Say where it happened and what may help."""
        return (
            f"{what} in step {self.step + 1} of epoch {self.epoch + 1} (seed {self.seed}). The parameters are those of "
            "the step before, and the last checkpoint stays. Lower the learning rate or clip, start from another seed, "
            "or look for a division or logarithm of zero in the loss"
        )

    # --- after an epoch ---

    def judge(self, evaluate: Callable[[nn.Module], Mapping[str, float]] | None, patience: int | None) -> None:
        """Evaluate in the first process; keep the parameters if they are the best so far."""
        if evaluate is not None:
            said: dict[str, float] = {}
            if self.rank == 0:
                self.model.eval()
                seed_everything(self.seed, "evaluate", self.epoch)
                with torch.no_grad():
                    said = _metrics(evaluate(self.model))
            said = _processes.of_first(said) if self.processes > 1 else said
            self.record.metrics.append(said)
        if patience is None:
            self.record.best_epoch = self.epoch
        else:
            self.keep_the_best()
        self.line.end_of_epoch(self)

    def keep_the_best(self) -> None:
        if "loss" not in self.record.metrics[-1]:
            raise ValueError(f"patience needs evaluate to give a 'loss', got {sorted(self.record.metrics[-1])}")
        losses = [metrics["loss"] for metrics in self.record.metrics]
        finite = [value for value in losses if not math.isnan(value)]
        if finite and losses[-1] == min(finite) and losses.index(losses[-1]) == len(losses) - 1:
            self.record.best_epoch = self.epoch
            self.best = {name: part.detach().cpu().clone() for name, part in self.model.state_dict().items()}

    def out_of_patience(self, patience: int | None) -> bool:
        return patience is not None and self.epoch - self.record.best_epoch >= patience

    def finish(self, folder: Path | None, patience: int | None, epochs: int) -> Record:
        """Put the parameters in place that were asked for, and write the results."""
        if patience is not None and self.best is not None:
            self.model.load_state_dict(self.best)
        self.model.eval()
        if folder is not None and self.rank == 0:
            state = {name: part.cpu() for name, part in self.model.state_dict().items()}
            _checkpoint.write(folder / "model.pt", _checkpoint.saved(state))
            self.record.save(folder / "record.json")
        return self.record

    # --- checkpoints ---

    def checkpoint(self, folder: Path | None) -> None:
        if folder is None or self.rank != 0:
            return
        content = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "record": json.dumps(dataclasses.asdict(self.record)),
            "place": [self.epoch, self.step, self.summed, self.counted, self.seconds],
        }
        _checkpoint.save(folder / "checkpoint.pt", content, self.identity)
        if self.step == 0:
            self.record.save(folder / "record.json")

    def resume(self, path: Path, epochs: int) -> None:
        content = _checkpoint.load(path, self.identity)
        if content is None:
            return
        self.epoch, self.step, self.summed, self.counted, self.seconds = content["place"]
        if self.epoch + (self.step > 0) > epochs:
            raise ValueError(f"epochs is {epochs} but {path} has already gone {self.epoch}: give another folder")
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.best, self.record = content["best"], Record(**json.loads(content["record"]))


class _Line:
    """Progress as text on standard error: one living line on a terminal, elsewhere a line an epoch if asked."""

    def __init__(self, progress: bool | None, epochs: int) -> None:
        self.living = progress is not False and sys.stderr.isatty()
        self.epoch_lines = self.living or bool(progress)
        self.epochs, self.shown = epochs, 0.0
        self.first: tuple[float, int] | None = None

    def show(self, run: _Run, steps: int) -> None:
        if not self.living:
            return
        now, done = time.perf_counter(), run.epoch * steps + run.step
        if self.first is None:
            self.first = now, done
        if now - self.shown < LINE_SECONDS:
            return
        self.shown = now
        since, before = self.first
        left = (now - since) / (done - before) * (self.epochs * steps - done) if done > before else math.nan
        text = (
            f"epoch {run.epoch + 1}/{self.epochs}  step {run.step}/{steps}  loss {run.summed / run.counted:.4f}  "
            f"{run.counted / max(run.seconds, 1e-9):,.0f} tokens/s  {_clock(left)} left"
        )
        print(f"\r{text:<79}", end="", file=sys.stderr, flush=True)

    def end_of_epoch(self, run: _Run) -> None:
        if not self.epoch_lines:
            return
        record = run.record
        said = "  ".join(
            f"{name} {value:.4g}" for name, value in (record.metrics[-1] if record.metrics else {}).items()
        )
        text = (
            f"epoch {run.epoch}/{self.epochs}  loss {record.losses[-1]:.4f}  {_clock(record.seconds[-1])}  "
            f"{record.tokens_per_second[-1]:,.0f} tokens/s" + (f"  |  {said}" if said else "")
        )
        print(("\r" if self.living else "") + f"{text:<79}".rstrip(" " if not self.living else ""), file=sys.stderr)


def _refuse(
    items: Sequence[Any],
    epochs: int,
    batch_size: int,
    clip: float | None,
    patience: int | None,
    evaluate: object,
) -> None:
    if len(items) == 0:
        raise ValueError("items is empty: there is nothing to train on")
    for name, number in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, or None for no limit, got {clip}")
    if patience is not None and evaluate is None:
        raise ValueError("patience needs evaluate, which gives the 'loss' to watch, got None")


def _moved(batch: Any, device: torch.device) -> Any:
    """The batch on the device, whatever tuples, lists and dicts its tensors stand in."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_moved(part, device) for part in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(_moved(part, device) for part in batch)
    if isinstance(batch, dict):
        return {name: _moved(part, device) for name, part in batch.items()}
    return batch


def _metrics(said: Mapping[str, float]) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in said.items()}
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise TypeError(f"evaluate must give a mapping from names to numbers, got {said!r}") from error


def _writable(content: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        written: dict[str, Any] = json.loads(json.dumps(content))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be JSON-able: {error}") from None
    return written


def _versions(device: torch.device) -> dict[str, str]:
    from .. import __version__

    versions = {"python": platform.python_version(), "torch": str(torch.__version__), "attnlib": __version__}
    return {**versions, "cuda": str(torch.version.cuda)} if device.type == "cuda" else versions


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"


def _sources(objects: Iterable[Any]) -> dict[str, str]:
    """The hash of each file in which the objects are written; what is typed into a notebook has none."""
    found = {}
    for thing in objects:
        thing = inspect.unwrap(getattr(thing, "func", thing))
        try:
            path = inspect.getsourcefile(thing)
            found[thing.__module__] = _hash(Path(path or "").read_text("utf-8"))
        except (TypeError, OSError, AttributeError):
            continue
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _clock(seconds: float) -> str:
    if math.isnan(seconds):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
