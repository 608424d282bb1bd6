"""The delta rule (Schlag et al. 2021): a memory that is corrected where linear attention only adds.

Unnormalised linear attention writes :math:`k v^\\top` on top of what is there, so that a key that is written twice
gives back both values. Here what the memory already says to the key is taken off first.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .._checks import as_computed, check_mask, check_tensor, check_vectors, fits
from .._rows import as_autocast, times, wide, without

__all__ = ["Corrected", "delta_rule"]


class Corrected(NamedTuple):
    """What was read after each write, and the memory after the last: to read on with."""

    context: Float[Tensor, "*batch time d_v"]
    memory: Float[Tensor, "*batch d_k d_v"]


def delta_rule(
    query: Float[Tensor, "*#batch time d_k"],
    key: Float[Tensor, "*#batch time d_k"],
    value: Float[Tensor, "*#batch time d_v"],
    *,
    strength: Float[Tensor, "*#batch time"] | float = 1.0,
    memory: Float[Tensor, "*#batch d_k d_v"] | None = None,
    mask: Bool[Tensor, "*#mask"] | None = None,
) -> Corrected:
    r"""Step by step, move what the memory gives for a key towards the value; then read with the query.

    .. math::
        S_t = S_{t-1} + \beta_t \, k_t \bigl(v_t - S_{t-1}^\top k_t\bigr)^\top, \qquad c_t = S_t^\top q_t

    One step is one of gradient descent on half the squared error of that pair, at the rate :math:`\beta_t`. With keys
    of length one and :math:`\beta = 1` the memory gives back exactly the value that was written last. With keys at
    right angles nothing is ever corrected, and it is linear attention without its denominator. It is stable for
    :math:`0 \le \beta_t \lVert k_t \rVert^2 \le 2`; both sources scale keys, the first so that the features sum to one,
    the second to length one.

    Args:
        query: :math:`q`, mapped and scaled as wanted, ``(*batch, time, d_k)``. Leading dimensions broadcast.
        key: :math:`k`, likewise, ``(*batch, time, d_k)``.
        value: :math:`v`, ``(*batch, time, d_v)``.
        strength: :math:`\beta`, a number or ``(*batch, time)``, mostly the sigmoid of something learned.
        memory: :math:`S_0`, ``(*batch, d_k, d_v)``; zeros unless given. What the last call returned reads on.
        mask: which items are written, boolean, ``(time,)`` or ``(*batch, 1, time)``. What it hides changes nothing;
            the query there still reads.

    Returns:
        Contexts ``(*batch, time, d_v)``, and the memory after the last item, in float32 at least. The steps cannot be
        told apart as weights of values that sum to one: a later key takes weight from an earlier value, and some
        weights are negative.

    Raises:
        TypeError: as :func:`attnlib.attend`; ``strength`` is not floating point.
        ValueError: shapes do not fit.

    Source: Schlag et al. 2021, section 4.2 [schlag2021]; in this form Yang et al. 2024 [yang2024].

    Departs from the source: no feature map and no scaling stand inside; memory is the transpose of theirs.

    >>> key, value = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[5.0], [7.0]])
    >>> delta_rule(key, key, value).context.flatten()  # written over, where a sum would give 5 and 12
    tensor([5., 7.])
    """
    batch, n = check_vectors(query, key, value), key.shape[-2]
    if query.shape[-2] != n:
        raise ValueError(f"query must have as many rows as key, {n}, got {query.shape[-2]}")
    beta = _strength(strength, (*batch, n), key)
    if mask is not None:
        check_mask(mask, (*batch, 1, n))
        hidden = ~(mask.reshape(1, -1) if mask.ndim < 2 else mask).mT.expand(*batch, n, 1)
        key, value = without(hidden, key), torch.where(hidden, 0.0, value)
        beta = torch.where(hidden.squeeze(-1), 0.0, beta)
    dtype = value.dtype
    query, key, value = (wide(part) for part in as_autocast(query, key, value))
    sizes = (*batch, key.shape[-1], value.shape[-1])
    if memory is None:
        memory = value.new_zeros(sizes)
    elif not fits(memory.shape, sizes):
        raise ValueError(f"memory must have shape (*batch, d_k, d_v) = {sizes}, got {tuple(memory.shape)}")
    contexts = []
    for t in range(n):
        at = key[..., t : t + 1, :]
        error = value[..., t : t + 1, :] - times(at, memory)
        memory = memory + times(at.mT, beta[..., t, None, None] * error)
        contexts.append(times(query[..., t : t + 1, :], memory))
    read = torch.cat(contexts, -2) if contexts else value.new_zeros((*batch, 0, value.shape[-1]))
    return Corrected(read.to(dtype), memory.expand(sizes))


def _strength(strength: Tensor | float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """As a tensor ``(*batch, time)``, in single precision at least."""
    if not isinstance(strength, Tensor):
        return wide(like).new_full(shape, strength)
    check_tensor("strength", strength)
    strength = as_computed(strength, "strength")
    if not fits(strength.shape, shape):
        raise ValueError(f"strength must have shape (*batch, time) = {shape}, got {tuple(strength.shape)}")
    return strength.expand(shape)
