"""The small loop of a page: so many steps down a loss."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["descend"]


def descend(
    parameters: Iterable[Tensor],
    loss: Callable[[int], Tensor],
    *,
    steps: int,
    rate: float = 1e-3,
    optimizer: Callable[..., Optimizer] = torch.optim.Adam,
    schedule: Callable[[Optimizer], LRScheduler] | None = None,
    clip: float | None = None,
    after: Callable[[int], Any] | None = None,
) -> Tensor:
    r"""Go so many steps down a loss, and say what it was at each.

    .. math::
        \theta_{s+1} = \mathrm{optimizer}(\theta_s, g_s), \qquad g_s = \nabla_\theta \sum_m L_m(s)

    The loss may be several numbers, one a model, where the first axis of each parameter is the model: models that are
    trained side by side do not feel one another.

    Args:
        parameters: what is trained, in place; ``(model, ...)`` where the loss is ``(model,)``.
        loss: ``step -> loss``, a number or ``(model,)``; steps are counted from 0.
        steps: how many, at least 1.
        rate: of learning.
        optimizer: ``(parameters, lr=rate) -> optimizer``.
        schedule: ``optimizer -> scheduler`` of ``torch.optim.lr_scheduler``, which goes on after each step; None: the
            rate stays.
        clip: the largest norm that the gradient of a model may have, above 0; None: no limit.
        after: ``step -> anything``, called when a step is done: to look, or to keep what is seen on the way.

    Returns:
        The losses, ``(step,)`` or ``(step, model)``, without gradient.

    Raises:
        ValueError: ``steps`` is below 1, or ``clip`` is not above 0.
        FloatingPointError: the last loss is not finite.

    Source: ours.

    >>> place = torch.tensor([0.0], requires_grad=True)
    >>> losses = descend([place], lambda step: (place - 3).square(), steps=3, rate=0.25, optimizer=torch.optim.SGD)
    >>> losses.flatten().tolist(), place.item()  # half of the way at each step
    ([9.0, 2.25, 0.5625], 2.625)
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, or None for no limit, got {clip}")
    trained = list(parameters)
    stepper = optimizer(trained, lr=rate)
    scheduler = None if schedule is None else schedule(stepper)
    losses = []
    for step in range(steps):
        stepper.zero_grad()
        value = loss(step)
        value.sum().backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            _clip(trained, clip, apart=value.ndim > 0)
        stepper.step()
        if scheduler is not None:
            scheduler.step()
        losses.append(value.detach())
        if after is not None:
            after(step)
    if not losses[-1].isfinite().all():
        raise FloatingPointError(f"the loss is {losses[-1].tolist()} after {steps} steps: lower the rate, or clip")
    return torch.stack(losses)


def _clip(parameters: list[Tensor], limit: float, *, apart: bool) -> None:
    """Shorten the gradient to the limit; that of each model where the first axis is the model."""
    if not apart:
        nn.utils.clip_grad_norm_(parameters, limit)
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sizes = torch.stack([gradient.reshape(len(gradient), -1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    for gradient in gradients:
        gradient *= (limit / sizes).clamp(max=1).view(-1, *[1] * (gradient.ndim - 1))
