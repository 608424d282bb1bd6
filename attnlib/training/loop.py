"""One training loop: clipping, a schedule, checkpoints, evaluation and patience, a record of the run."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ._progress import Line
from ._run import Evaluate, Loss, Run
from .batching import Batched
from .record import Record, writable

__all__ = ["fit"]


def fit(
    model: nn.Module,
    loss: Loss,
    data: Batched,
    *,
    epochs: int,
    seed: int = 0,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = torch.optim.Adam,
    schedule: Callable[[Optimizer], LRScheduler] | None = None,
    clip: float | None = 1.0,
    evaluate: Evaluate | None = None,
    patience: int | None = None,
    folder: str | Path | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> Record:
    r"""Train a model where it stands (first move it to :func:`~attnlib.training.start.best_device`), and record it.

    .. math::
        \theta \leftarrow \mathrm{optimizer}\Big(\theta,\ g \min\big(1, \tfrac{clip}{\lVert g \rVert}\big)\Big), \qquad
        g = \nabla_\theta \, \frac{\sum_{batch} loss}{\sum_{batch} count}

    A run with a ``folder`` can be killed at any moment. Called again with the same arguments it goes on from the last
    checkpoint (written at the end of each epoch, and each minute within one) and ends with the same parameters and the
    same record, to the last bit where the kernels are deterministic, as they are on a CPU; a run that was finished is
    only read. More ``epochs`` than before go on. On a terminal one line on standard error says how far it is.

    Args:
        model: whose parameters are trained; left in training's end state, or the best one, and in evaluation mode.
        loss: ``(model, batch) -> (summed loss, count)``: a scalar with gradient, and how many tokens it sums over. For
            mixed precision let it compute under ``torch.autocast``.
        data: items, and how batches are made of them.
        epochs: passes over the data, at least 1.
        seed: of the order, of dropout, and of whatever else is drawn. The model is made before: seed that yourself.
        optimizer: ``parameters -> optimizer``, for instance ``functools.partial(torch.optim.Adam, lr=1e-3)``.
        schedule: ``optimizer -> scheduler`` of ``torch.optim.lr_scheduler``, which goes on after each step; None: the
            rate stays.
        clip: the largest norm that the gradient may have, above 0; None: no limit.
        evaluate: ``model -> {name: number}`` after each epoch, in evaluation mode and without gradients.
        patience: stop when ``evaluate``'s ``"loss"`` has not fallen for so many epochs, and keep the best parameters,
            also when the epochs run out first.
        folder: where ``checkpoint.pt``, ``record.json`` and at the end ``model.pt`` (parameters alone) are written.
        configuration: what else tells this run from others (sizes, dropout, hash of the data), JSON-able: goes into the
            record, and a checkpoint of another one is refused.

    Returns:
        A :class:`~attnlib.training.record.Record`.

    Raises:
        ValueError: a number out of range; ``patience`` without a ``"loss"``; a batch that counts nothing.
        FloatingPointError: a loss or gradient is not finite. The parameters are those of the step before, and the
            checkpoint stays.
        RuntimeError: the checkpoint is damaged, or of another configuration, data size or version of the code.
        TypeError: ``configuration`` or a metric cannot be written.

    Source: ours; gradient clipping by norm, Pascanu et al. 2013 [pascanu2013].

    >>> _ = torch.manual_seed(0)
    >>> line, points = nn.Linear(1, 1), [(x / 8, x / 4 + 1) for x in range(8)]
    >>> def squares(model, batch):
    ...     return (model(batch[:, :1]) - batch[:, 1:]).square().sum(), len(batch)
    >>> record = fit(line, squares, Batched(points, 4, torch.tensor), epochs=90,
    ...              optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.3))
    >>> [round(parameter.item(), 2) for parameter in line.parameters()]  # the line 2 x + 1
    [2.0, 1.0]
    """
    _refuse(epochs, clip, patience, evaluate)
    run = Run(model, loss, data, seed, optimizer, schedule, clip)
    run.identify(patience, writable(configuration or {}, "configuration"))
    path = None if folder is None else Path(folder)
    if path is not None:
        run.resume(path / "checkpoint.pt", epochs)
    line = Line(epochs)
    while run.at.epoch < epochs and not run.out_of_patience(patience):
        run.one_epoch(path, line)
        run.judge(evaluate, patience)
        line.end_of_epoch(run.record)
        run.checkpoint(path)
    return run.finish(path, patience)


def _refuse(epochs: int, clip: float | None, patience: int | None, evaluate: object) -> None:
    for name, number in (("epochs", epochs), ("patience", patience)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, or None for no limit, got {clip}")
    if patience is not None and evaluate is None:
        raise ValueError("patience needs evaluate, which gives the 'loss' to watch, got None")
