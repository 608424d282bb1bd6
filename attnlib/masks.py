"""Masks: which query may attend to which key. Boolean, True = may attend, broadcastable to ``(*batch, query, key)``.

Combine masks with ``&``. Other libraries have other conventions: :mod:`attnlib.interop` converts.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ._checks import check_tensor

__all__ = ["Alignment", "causal", "key_mask", "window"]

Alignment = Literal["upper-left", "lower-right"]


def key_mask(lengths: Int[Tensor, "*batch"], n_key: int) -> Bool[Tensor, "*batch 1 {n_key}"]:
    """Hide the padding after the first ``lengths`` keys of each sequence.

    Args:
        lengths: number of real keys, ``(*batch,)``, integer, 0 to ``n_key``.
        n_key: number of keys with padding.

    Returns:
        ``(*batch, 1, key)``, True = a real key.

    Raises:
        TypeError: ``lengths`` is not an integer tensor.
        ValueError: ``n_key`` is below 0.

    >>> key_mask(torch.tensor([1, 3]), 3)
    tensor([[[ True, False, False]],
            [[ True,  True,  True]]])
    """
    check_tensor("lengths", lengths)
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise TypeError(f"lengths must be integer, got dtype {lengths.dtype}")
    if n_key < 0:
        raise ValueError(f"n_key must be at least 0, got {n_key}")
    return torch.arange(n_key, device=lengths.device) < lengths[..., None, None]


def causal(
    n_query: int,
    n_key: int | None = None,
    *,
    alignment: Alignment = "upper-left",
    device: torch.device | str | None = None,
) -> Bool[Tensor, "{n_query} key"]:
    """Hide the future.

    The two alignments differ when there are more keys than queries, or fewer. ``upper-left``: the first query stands at
    the first key (``is_causal`` of torch and of :func:`attnlib.attend`). ``lower-right``: the last query stands at the
    last key, as when the earlier keys come from a cache; with fewer keys than queries the first queries see nothing.

    Args:
        n_query: number of queries.
        n_key: number of keys; as many as queries unless given.
        alignment: ``"upper-left"`` or ``"lower-right"``.
        device: where the mask is made.

    Returns:
        ``(query, key)``.

    Raises:
        ValueError: an alignment of another name.

    >>> causal(2, 3)
    tensor([[ True, False, False],
            [ True,  True, False]])
    >>> causal(2, 3, alignment="lower-right")
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    return _distance(n_query, n_query if n_key is None else n_key, alignment, device) <= 0


def window(
    n_query: int,
    n_key: int | None = None,
    *,
    left: int | None,
    right: int | None,
    alignment: Alignment = "upper-left",
    device: torch.device | str | None = None,
) -> Bool[Tensor, "{n_query} key"]:
    """Hide what is far away. Both sides count the keys that are visible, the query's own included.

    ``left=3`` shows the query's own key and the two before it, ``right=1`` nothing after it; ``left + right - 1`` keys
    are visible in all, fewer at the ends. ``right=1`` makes a causal window.

    The mask has a place for each pair. :func:`attnlib.softness.local.local` with ``need_weights=False`` and
    ``gaussian=False`` sees the same keys without one: for a window ``w`` keys long that ends with the query's own, with
    ``centre=torch.arange(n_query) - (w - 1) / 2`` and ``half_width=w // 2``.

    Args:
        n_query: number of queries.
        n_key: number of keys; as many as queries unless given.
        left: visible keys up to and with the query's own, at least 1; ``None`` = all.
        right: visible keys from the query's own on, at least 1; ``None`` = all.
        alignment: where the query stands among the keys, as in :func:`causal`.
        device: where the mask is made.

    Returns:
        ``(query, key)``.

    Raises:
        ValueError: ``left`` or ``right`` below 1, or an alignment of another name.

    >>> window(4, left=2, right=1)
    tensor([[ True, False, False, False],
            [ True,  True, False, False],
            [False,  True,  True, False],
            [False, False,  True,  True]])
    """
    for name, size in (("left", left), ("right", right)):
        if size is not None and size < 1:
            raise ValueError(f"{name} counts the query's own key and must be at least 1, got {size}")
    distance = _distance(n_query, n_query if n_key is None else n_key, alignment, device)
    visible = torch.ones_like(distance, dtype=torch.bool)
    if left is not None:
        visible = visible & (distance > -left)
    if right is not None:
        visible = visible & (distance < right)
    return visible


def _distance(n_query: int, n_key: int, alignment: str, device: torch.device | str | None) -> Int[Tensor, "query key"]:
    """How far the key stands to the right of the query."""
    offsets = {"upper-left": 0, "lower-right": n_key - n_query}
    if alignment not in offsets:
        raise ValueError(f"alignment must be 'upper-left' or 'lower-right', got {alignment!r}")
    position = torch.arange(n_query, device=device) + offsets[alignment]
    return torch.arange(n_key, device=device) - position.unsqueeze(-1)
