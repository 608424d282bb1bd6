"""What to change in a transformer to see what it does: heads switched off, rows of weights put in by hand.

Each is an edit, ``(place, weights) -> weights``, for the calls of
:class:`~attnlib.output_representations.transformer.Transformer`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from .transformer_layer import Edit, Part, Place

__all__ = ["Head", "Row", "chained", "rows_set", "switched_off"]


class Head(NamedTuple):
    """A head: its part, its layer, and its number, from 0."""

    part: Part
    layer: int
    head: int


class Row(NamedTuple):
    """A row of weights: the head, and the number of the query, from 0 at the beginning of its text."""

    part: Part
    layer: int
    head: int
    query: int


def switched_off(heads: Iterable[Head]) -> Edit:
    r"""Take heads out: their weights are zero, and so is what they add.

    .. math:: \alpha^h_{ij} = 0

    A head that is off leaves a zero context, as one does that sees nothing; the others stay as they are.

    Args:
        heads: which; others are left alone.

    Source: Michel et al. 2019, who take heads out of trained networks [michel2019].

    >>> import torch
    >>> edit = switched_off([Head("across", 0, 1)])
    >>> edit(Place("across", 0), torch.ones(1, 2, 1, 3))[0, :, 0].tolist()
    [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    off = {Head(*head) for head in heads}

    def edit(place: Place, weights: Float[Tensor, "*batch heads query key"]) -> Float[Tensor, "*batch heads query key"]:
        gone = [head.head for head in off if (head.part, head.layer) == place[:2]]
        _check_heads(gone, place, weights)
        if not gone:
            return weights
        keep = weights.new_ones(weights.shape[-3])
        keep[gone] = 0.0
        return weights * keep[:, None, None]

    return edit


def rows_set(rows: Mapping[Row, Sequence[float]]) -> Edit:
    r"""Put rows of weights in place of those that a head computed, in every item of the batch.

    .. math:: \alpha^h_{i} = a

    Args:
        rows: for each, as many numbers as there are keys. They are used as they are, whatever they sum to.

    Raises:
        ValueError: when the edit is used: a row has not as many numbers as there are keys.

    Source: ours.

    >>> import torch
    >>> edit = rows_set({Row("decoder", 0, 0, 2): [0.0, 0.0, 1.0]})
    >>> edit(Place("decoder", 0, 1), torch.full((1, 1, 2, 3), 0.5))[0, 0].tolist()  # the queries 1 and 2
    [[0.5, 0.5, 0.5], [0.0, 0.0, 1.0]]
    """
    given = {Row(*row): list(values) for row, values in rows.items()}

    def edit(place: Place, weights: Float[Tensor, "*batch heads query key"]) -> Float[Tensor, "*batch heads query key"]:
        mine = {
            row: values
            for row, values in given.items()
            if (row.part, row.layer) == place[:2] and 0 <= row.query - place.start < weights.shape[-2]
        }
        _check_heads([row.head for row in mine], place, weights)
        if not mine:
            return weights
        changed = weights.clone()
        for row, values in mine.items():
            if len(values) != weights.shape[-1]:
                raise ValueError(f"{row} must have {weights.shape[-1]} weights, one for each key, got {len(values)}")
            changed[..., row.head, row.query - place.start, :] = weights.new_tensor(values)
        return changed

    return edit


def chained(*edits: Edit) -> Edit:
    """One edit after the other.

    >>> import torch
    >>> both = chained(rows_set({Row("encoder", 0, 0, 0): [0.25, 0.75]}), switched_off([Head("encoder", 0, 1)]))
    >>> both(Place("encoder", 0), torch.full((1, 2, 1, 2), 0.5))[0, :, 0].tolist()
    [[0.25, 0.75], [0.0, 0.0]]
    """

    def edit(place: Place, weights: Tensor) -> Tensor:
        for one in edits:
            weights = one(place, weights)
        return weights

    return edit


def _check_heads(heads: Iterable[int], place: Place, weights: Tensor) -> None:
    for head in heads:
        if not 0 <= head < weights.shape[-3]:
            raise ValueError(f"heads of {place} must be from 0 to {weights.shape[-3] - 1}, got {head}")
