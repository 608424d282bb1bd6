r"""A memory that is written as well as read: where the heads of a neural Turing machine look, and what they do there.

A head has a *weighting*, a distribution over the rows of a memory. It comes of four steps, and each is a function here:
look for a key (:func:`content_weights`, which is attention), keep some of the last weighting (:func:`interpolated`), go
along the rows (:func:`shifted`), sharpen (:func:`sharpened`); :func:`address` takes all four. With the weighting a head
reads (:func:`read`) or erases and adds (:func:`write`). What says to the heads what to do stands in
:mod:`attnlib.frontiers.turing_machine`.

Rows are counted from 0, and the last is the neighbour of the first. Leading dimensions broadcast.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .._checks import check_tensor, may_broadcast, may_look
from .._rows import times, wide
from ..distributions import softmax
from ..scores import similarity

__all__ = [
    "Addressed",
    "Heads",
    "address",
    "content_weights",
    "interpolated",
    "read",
    "sharpened",
    "shifted",
    "write",
]


class Heads(NamedTuple):
    r"""What heads are told to look for, each by itself; the paper's letters are k, β, g, s and γ.

    ``shift`` is a distribution over steps along the rows; its columns stand for the steps from :math:`-S` to :math:`S`.
    """

    key: Float[Tensor, "*batch head size"]
    strength: Float[Tensor, "*batch head"]
    gate: Float[Tensor, "*batch head"]
    shift: Float[Tensor, "*batch head step"]
    sharpness: Float[Tensor, "*batch head"]


class Addressed(NamedTuple):
    """The weighting after each of the four steps; the last is the one that counts."""

    content: Float[Tensor, "*batch head row"]
    gated: Float[Tensor, "*batch head row"]
    moved: Float[Tensor, "*batch head row"]
    weights: Float[Tensor, "*batch head row"]


def content_weights(
    key: Float[Tensor, "*#batch head size"],
    memory: Float[Tensor, "*#batch row size"],
    strength: Float[Tensor, "*#batch head"],
) -> Float[Tensor, "*batch head row"]:
    r"""Look for the rows that are like a key: attention with the score ``similarity`` and the temperature ``1 / β``.

    .. math:: w^c(i) = \frac{\exp(\beta K[k, M(i)])}{\sum_j \exp(\beta K[k, M(j)])},
        \qquad K[u, v] = \frac{u \cdot v}{\lVert u \rVert \, \lVert v \rVert}

    Args:
        key: :math:`k`, ``(*batch, head, size)``.
        memory: :math:`M`, ``(*batch, row, size)``, of one row or more.
        strength: :math:`\beta`, ``(*batch, head)``, at least 0: nought looks at all rows alike.

    Returns:
        ``(*batch, head, row)``, of which each row sums to one.

    Raises:
        TypeError: an argument is not of floating point.
        ValueError: sizes do not fit; the memory has no row; a strength is below 0 or infinite.

    Source: Graves et al. 2014, Eq. 5 and 6 [graves2014].

    Departs from the source: a row of zeros, or a key of zeros, has no direction, and is as like as a right angle.

    >>> memory = torch.tensor([[3.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    >>> content_weights(torch.tensor([[2.0, 0.0]]), memory, torch.tensor([3.0]).log())  # 3 to 1 to 1
    tensor([[0.6000, 0.2000, 0.2000]])
    """
    for name, given in (("key", key), ("memory", memory), ("strength", strength)):
        _check_floating(name, given)
    _check_rows("memory", memory.shape, axis=-2)
    strength = _within("strength", wide(strength), 0.0, torch.finfo(torch.float32).max)
    found = similarity(key, memory)
    _check_each("strength", strength, found)
    found = found * strength.unsqueeze(-1)
    return softmax(found).to(memory.dtype)


def interpolated(
    content: Float[Tensor, "*#batch row"],
    previous: Float[Tensor, "*#batch row"],
    gate: Float[Tensor, "*#batch"],
) -> Float[Tensor, "*batch row"]:
    r"""Take what was found by content for a part, and where the head has been for the rest.

    .. math:: w^g_t = g_t w^c_t + (1 - g_t) w_{t-1}

    Args:
        content: :math:`w^c_t`, ``(*batch, row)``.
        previous: :math:`w_{t-1}`, ``(*batch, row)``.
        gate: :math:`g_t`, ``(*batch,)``, from 0, go on from where the head was, to 1, forget where it was.

    Returns:
        ``(*batch, row)``.

    Raises:
        ValueError: sizes do not fit; a gate is not from 0 to 1.

    Source: Graves et al. 2014, Eq. 7 [graves2014].

    >>> interpolated(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([0.25]))
    tensor([[0.2500, 0.7500]])
    """
    if content.shape[-1] != previous.shape[-1]:
        raise ValueError(f"previous is over {previous.shape[-1]} rows but content is over {content.shape[-1]}")
    _check_each("gate", gate, content)
    gate = _within("gate", gate, 0.0, 1.0).unsqueeze(-1)
    return gate * content + (1 - gate) * previous


def shifted(
    weights: Float[Tensor, "*#batch row"],
    shift: Float[Tensor, "*#batch step"],
    *,
    steps: Sequence[int] | None = None,
) -> Float[Tensor, "*batch row"]:
    r"""Go along the rows: a circular convolution, in which a step of 1 moves all weight to the next row.

    .. math:: \tilde w(i) = \sum_{j=0}^{N-1} w(j) \, s(i - j), \qquad \text{indices modulo } N

    It is no correlation, ``sum_j w(j) s(j - i)``, which most libraries call a convolution, and which goes backwards.

    Args:
        weights: :math:`w`, ``(*batch, row)``.
        shift: :math:`s`, a distribution over steps, ``(*batch, step)``.
        steps: the step that each column of ``shift`` stands for; by default from :math:`-S` to :math:`S`, for which the
            number of columns has to be odd. Steps may be longer than the memory: they go round.

    Returns:
        ``(*batch, row)``. A memory of one row has nowhere to go: its weighting stays, times the sum of ``shift``.

    Raises:
        ValueError: no row, no step; a number of columns that is even without ``steps``, or not that of ``steps``.

    Source: Graves et al. 2014, Eq. 8 [graves2014].

    >>> shifted(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.2, 0.8]]))  # mostly to the next
    tensor([[0.0000, 0.2000, 0.8000, 0.0000]])
    """
    _check_rows("weights", weights.shape, axis=-1)
    taken = _steps(shift.shape[-1], steps)
    moved = [shift[..., n, None] * weights.roll(step, -1) for n, step in enumerate(taken)]
    return torch.stack(moved).sum(0)


def sharpened(
    weights: Float[Tensor, "*#batch row"], sharpness: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch row"]:
    r"""Raise each weight to a power and share out again, against the blur that steps leave.

    .. math:: w(i) = \frac{\tilde w(i)^\gamma}{\sum_j \tilde w(j)^\gamma}

    Weights are divided by the largest first. So the sum is at least 1, whatever the power: taken as it stands, the
    equation is 0 / 0 as soon as all powers underflow.

    Args:
        weights: :math:`\tilde w`, ``(*batch, row)``, at least 0.
        sharpness: :math:`\gamma`, ``(*batch,)``, at least 1 and finite.

    Returns:
        ``(*batch, row)``, of which each row sums to one; zeros for a row of zeros.

    Raises:
        ValueError: sizes do not fit; no row; a sharpness below 1 or infinite.

    Source: Graves et al. 2014, Eq. 9 [graves2014].

    Departs from the source: a row of zeros gives zeros.

    >>> sharpened(torch.tensor([[0.25, 0.5, 0.25]]), torch.tensor([2.0]))  # 1, 4 and 1 sixths
    tensor([[0.1667, 0.6667, 0.1667]])
    """
    _check_rows("weights", weights.shape, axis=-1)
    _check_each("sharpness", sharpness, weights)
    given = wide(weights)
    power = _within("sharpness", wide(sharpness), 1.0, torch.finfo(torch.float32).max).unsqueeze(-1)
    largest = given.detach().amax(-1, keepdim=True)  # the result does not depend on what it is divided by
    raised = (given / torch.where(largest == 0, 1.0, largest)) ** power
    total = raised.sum(-1, keepdim=True)
    return (raised / torch.where(total == 0, 1.0, total)).to(weights.dtype)


def address(
    heads: Heads, memory: Float[Tensor, "*batch row size"], previous: Float[Tensor, "*batch head row"]
) -> Addressed:
    r"""All four steps: find, keep, go along, sharpen.

    .. math:: w^c_t \to w^g_t \to \tilde w_t \to w_t

    Args:
        heads: what each head is told.
        memory: :math:`M`, ``(*batch, row, size)``.
        previous: :math:`w_{t-1}`, ``(*batch, head, row)``.

    Returns:
        An :class:`Addressed`.

    Raises:
        TypeError, ValueError: as the four functions.

    Source: Graves et al. 2014, section 3.3 and Figure 2 [graves2014].

    >>> one, start = torch.ones(1), torch.tensor([[1.0, 0.0, 0.0]])
    >>> stay = Heads(torch.ones(1, 2), one, 0 * one, torch.tensor([[0.0, 0.0, 1.0]]), one)  # do not look, go on by one
    >>> address(stay, torch.ones(3, 2), start).weights
    tensor([[0., 1., 0.]])
    """
    content = content_weights(heads.key, memory, heads.strength)
    gated = interpolated(content, previous, heads.gate)
    moved = shifted(gated, heads.shift)
    return Addressed(content, gated, moved, sharpened(moved, heads.sharpness))


def read(
    memory: Float[Tensor, "*#batch row size"], weights: Float[Tensor, "*#batch head row"]
) -> Float[Tensor, "*batch head size"]:
    r"""The rows of a memory, each as much as a head looks at it.

    .. math:: r = \sum_i w(i) M(i)

    Args:
        memory: :math:`M`, ``(*batch, row, size)``.
        weights: :math:`w`, ``(*batch, head, row)``.

    Returns:
        ``(*batch, head, size)``.

    Raises:
        ValueError: sizes do not fit.

    Source: Graves et al. 2014, Eq. 2 [graves2014].

    >>> read(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([[0.5, 0.5]]))
    tensor([[1., 2.]])
    """
    _check_same_rows(memory, weights)
    return times(weights, memory).to(memory.dtype)


def write(
    memory: Float[Tensor, "*#batch row size"],
    weights: Float[Tensor, "*#batch head row"],
    *,
    erase: Float[Tensor, "*#batch head size"],
    add: Float[Tensor, "*#batch head size"],
) -> Float[Tensor, "*batch row size"]:
    r"""Erase where a head looks, then add there: all heads erase before any adds.

    .. math:: \tilde M_t(i) = M_{t-1}(i) \circ \prod_h [1 - w_h(i) e_h], \qquad
        M_t(i) = \tilde M_t(i) + \sum_h w_h(i) a_h

    Args:
        memory: :math:`M_{t-1}`, ``(*batch, row, size)``; it is not changed.
        weights: :math:`w`, ``(*batch, head, row)``; without a head the memory stays as it is.
        erase: :math:`e`, ``(*batch, head, size)``, from 0, keep, to 1, wipe out.
        add: :math:`a`, ``(*batch, head, size)``.

    Returns:
        :math:`M_t`, ``(*batch, row, size)``.

    Raises:
        ValueError: sizes do not fit; an erasure is not from 0 to 1.

    Source: Graves et al. 2014, Eq. 3 and 4 [graves2014].

    >>> memory, first = torch.tensor([[7.0, 7.0], [7.0, 7.0]]), torch.tensor([[1.0, 0.0]])
    >>> write(memory, first, erase=torch.tensor([[1.0, 0.0]]), add=torch.tensor([[2.0, 0.0]]))
    tensor([[2., 7.],
            [7., 7.]])
    """
    _check_same_rows(memory, weights)
    for name, given in (("erase", erase), ("add", add)):
        heads, size = weights.shape[-2], memory.shape[-1]
        if given.ndim < 2 or given.shape[-2] != heads or given.shape[-1] not in (1, size):
            raise ValueError(f"{name} must have shape (*batch, head={heads}, size={size}), got {tuple(given.shape)}")
    erase = _within("erase", erase, 0.0, 1.0)
    kept = memory
    for head in range(weights.shape[-2]):
        kept = kept * (1 - weights[..., head, :, None] * erase[..., head, None, :])
    return (kept + times(weights.mT, add)).to(memory.dtype)


def _steps(columns: int, steps: Sequence[int] | None) -> Sequence[int]:
    """The step that each column of a shift stands for."""
    if steps is None and columns % 2 == 0:
        raise ValueError(f"shift must have an odd number of columns, those of -S to S, or steps=, got {columns}")
    taken = range(-(columns // 2), columns // 2 + 1) if steps is None else steps
    if len(taken) != columns or not columns:
        raise ValueError(f"shift must have a column for each step, and one at least, got {columns} for {len(taken)}")
    return taken


def _within(name: str, tensor: Tensor, least: float, most: float) -> Tensor:
    """The tensor, whose numbers must not lie outside: they are NaN where one cannot look. NaN is let through."""
    outside = (tensor < least) | (tensor > most)
    if not may_look(tensor):
        return torch.where(outside, torch.nan, tensor)
    if bool(outside.any()):
        limits = f"from {least:g} to {most:g}" if most == 1 else f"a finite number of at least {least:g}"
        raise ValueError(f"{name} must be {limits}, got {tensor[outside][0].item():g}")
    return tensor


def _check_floating(name: str, tensor: Tensor) -> None:
    check_tensor(name, tensor)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got dtype {tensor.dtype}")


def _check_each(name: str, tensor: Tensor, weights: Tensor) -> None:
    """A number for each weighting, and no axis for its rows, which would make more weightings of one."""
    check_tensor(name, tensor)
    lead, shape = tuple(weights.shape[:-1]), tuple(tensor.shape)
    with_rows = len(shape) > len(lead) and shape[-1] == 1 and shape[:-1] == lead
    if with_rows or not may_broadcast(shape, lead):
        raise ValueError(f"{name} must be one number for each of the weightings {lead}, got shape {shape}")


def _check_rows(name: str, shape: Sequence[int], axis: int) -> None:
    if shape[axis] == 0:
        raise ValueError(f"{name} must have at least one row, got shape {tuple(shape)}")


def _check_same_rows(memory: Tensor, weights: Tensor) -> None:
    if memory.shape[-2] != weights.shape[-1]:
        raise ValueError(f"weights are over {weights.shape[-1]} rows but memory has {memory.shape[-2]}")
