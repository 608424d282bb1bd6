"""A weight for each feature without the weights of all pairs in memory at once.

One energy for each query, key and feature takes ``n^2 d`` numbers, where attention with one weight a pair takes
``n^2``. Here the queries go through in blocks, and going backwards each block is computed again: at any moment there
are ``block * n * d`` numbers, which grows with the length as the vectors themselves do.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .._rows import activated
from .multidimensional import PerFeature, attend_features

__all__ = ["DIRECTIONS", "Direction", "attend_in_blocks", "attend_pairs", "direction_mask"]

Direction = Literal["forward", "backward", "others"]
DIRECTIONS = ("forward", "backward", "others")


class _Block(NamedTuple):
    """Queries ``first ... last - 1``, and the run of keys that they may see."""

    first: int
    last: int
    keys: slice


def direction_mask(
    n: int, direction: Direction, *, first: int = 0, last: int | None = None, device: torch.device | str | None = None
) -> Bool[Tensor, "query {n}"]:
    """Which token may attend to which: a token never to itself.

    Args:
        n: number of tokens.
        direction: ``forward``: to the tokens before it; ``backward``: to those after it; ``others``: to both.
        first: the first query.
        last: the query after the last one; ``n`` unless given.
        device: where the mask is made.

    Returns:
        ``(last - first, n)``, True = may attend. The first row of ``forward`` and the last of ``backward`` are empty.

    Raises:
        ValueError: there is no such direction.

    Source: Shen et al. 2018, the positional masks [shen2018].

    >>> direction_mask(3, "forward").int()
    tensor([[0, 0, 0],
            [1, 0, 0],
            [1, 1, 0]], dtype=torch.int32)
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}")
    key = torch.arange(n, device=device)
    query = key[first:last].unsqueeze(-1)
    if direction == "others":
        return key != query
    return key < query if direction == "forward" else key > query


def attend_pairs(
    query: Float[Tensor, "*batch query d"],
    key: Float[Tensor, "*batch key d"],
    value: Float[Tensor, "*batch key d"],
    *,
    mask: Bool[Tensor, "*#batch query key"],
    limit: float = 5.0,
) -> PerFeature:
    r"""Attention whose energy, for each feature, is the sum of what a query asks and a key offers, held in bounds.

    .. math:: e_{ji,k} = c \tanh\bigl((q_{j,k} + k_{i,k}) / c\bigr)

    It keeps energies and weights of all pairs.

    Args:
        query: ``(*batch, query, d)``.
        key: ``(*batch, key, d)``.
        value: ``(*batch, key, d)``.
        mask: boolean, True = may attend, ``(*batch, query, key)`` or broadcastable to it.
        limit: :math:`c`: energies lie between ``-c`` and ``c``, so that a weight is at most ``exp(2c)`` times another.

    Returns:
        As :func:`~attnlib.output_representations.multidimensional.attend_features`.

    Source: Shen et al. 2018, token2token self-attention [shen2018]: c = 5.

    >>> one, two = torch.tensor([[0.0]]), torch.tensor([[9.0], [-9.0]])
    >>> attend_pairs(one, two, two, mask=torch.tensor([[True, True]]), limit=1e-9).weights.flatten()
    tensor([0.5000, 0.5000])
    """
    # What is hidden is taken out before the tanh, whose slope would make a NaN of it.
    inner = torch.where(mask.unsqueeze(-1), query.unsqueeze(-2) + key.unsqueeze(-3), 0.0)
    energies, lost = activated(torch.tanh, inner / limit)
    energies = limit * energies if lost is None else torch.where(lost, torch.nan, limit * energies)
    return attend_features(energies, value, mask=mask)


def attend_in_blocks(
    query: Float[Tensor, "*batch time d"],
    key: Float[Tensor, "*batch time d"],
    value: Float[Tensor, "*batch time d"],
    *,
    direction: Direction,
    mask: Bool[Tensor, "*#batch time"] | None = None,
    limit: float = 5.0,
    block: int = 16,
) -> Float[Tensor, "*batch time d"]:
    """The context of :func:`attend_pairs` under a direction's mask, a block of queries at a time, never all pairs.

    Args:
        query: ``(*batch, time, d)``.
        key: ``(*batch, time, d)``.
        value: ``(*batch, time, d)``.
        direction: as of :func:`direction_mask`.
        mask: ``(*batch, time)``, True = a real token.
        limit: as of :func:`attend_pairs`.
        block: how many queries at a time.

    Returns:
        Context ``(*batch, time, d)``: values, gradients and second derivatives of the reference, up to rounding.

    Raises:
        ValueError: ``block`` is below 1.

    >>> one = torch.ones(3, 1)
    >>> attend_in_blocks(one, one, torch.tensor([[1.0], [3.0], [9.0]]), direction="forward", block=1).flatten()
    tensor([0., 1., 2.])
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    n = value.shape[-2]

    def contexts(query: Tensor, key: Tensor, value: Tensor, at: _Block) -> Tensor:
        seen = direction_mask(n, direction, first=at.first, last=at.last, device=value.device)[:, at.keys]
        seen = seen if mask is None else seen & _both_real(mask, at)
        return attend_pairs(query, key, value, mask=seen.expand(*value.shape[:-2], *seen.shape[-2:]), limit=limit)[0]

    found = []
    for first in range(0, n, block):
        at = _Block(first, min(first + block, n), slice(None))
        if direction == "forward":
            at = at._replace(keys=slice(0, at.last))
        elif direction == "backward":
            at = at._replace(keys=slice(at.first, n))
        parts = query[..., at.first : at.last, :], key[..., at.keys, :], value[..., at.keys, :]
        found.append(checkpoint(contexts, *parts, at, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(found, -2) if found else value.clone()


def _both_real(mask: Tensor, at: _Block) -> Tensor:
    return mask[..., at.first : at.last].unsqueeze(-1) & mask[..., at.keys].unsqueeze(-2)
