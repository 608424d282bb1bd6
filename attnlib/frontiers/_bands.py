"""Runs of queries and the runs of keys that they may see: what a limit on the distance spares of all pairs."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 16  # queries that share their keys, at least: small products cost more than the pairs that they spare


class Bands(NamedTuple):
    """Runs of queries, each with the run of keys that it may see: a few blocks, in place of all pairs."""

    n_query: int
    n_key: int
    n_blocks: int
    block: int
    columns: int
    behind: int  # keys that the first query of a block may see before its own place
    front: int  # places before the first key that the first block would see; below nought, keys that it would not

    @classmethod
    def of(cls, n_query: int, n_key: int, *, reach: int, shift: int, is_causal: bool) -> "Bands | None":
        """Bands for queries of which the first stands at the place ``shift``, and each sees ``reach`` places, its own
        included; to both sides where it is not causal. None where all keys may as well be taken at once."""
        block = min(n_query, max(reach, _BLOCK))
        columns = block + (reach - 1) * (1 if is_causal else 2)
        if reach < 1 or n_query == 0 or columns >= n_key:
            return None
        return cls(n_query, n_key, -(-n_query // block), block, columns, reach - 1, reach - 1 - shift)

    @property
    def back(self) -> int:
        """Places after the last key that the last block would see; below nought, keys that it would not."""
        return (self.n_blocks - 1) * self.block + self.columns - self.front - self.n_key

    def rows(self, tensor: Tensor) -> Tensor:
        """``(..., query, size)`` as ``(..., n_blocks, block, size)``."""
        padded = F.pad(tensor, (0, 0, 0, self.n_blocks * self.block - self.n_query))
        return padded.reshape(*padded.shape[:-2], self.n_blocks, self.block, padded.shape[-1])

    def keys(self, tensor: Tensor) -> Tensor:
        """``(..., key, size)`` as ``(..., n_blocks, columns, size)``."""
        return F.pad(tensor, (0, 0, self.front, self.back)).unfold(-2, self.columns, self.block).mT

    def spans(self, span: Tensor) -> Tensor:
        """``(..., query or 1, 1)`` as ``(..., n_blocks or 1, block or 1, 1)``."""
        span = span if span.ndim > 1 else span.reshape(1, -1)
        return span.unsqueeze(-3) if span.shape[-2] == 1 else self.rows(span)

    def pairs(self, tensor: Tensor, *, fill: float | bool) -> Tensor:
        """``(..., query or 1, key or 1)`` as ``(..., n_blocks or 1, block or 1, columns or 1)``."""
        if tensor.shape[-1] == 1:
            return self.spans(tensor)
        tensor = F.pad(tensor, (self.front, self.back), value=fill).unfold(-1, self.columns, self.block)
        if tensor.shape[-3] == 1:
            return tensor.movedim(-2, -3)
        tensor = F.pad(tensor, (0, 0, 0, 0, 0, self.n_blocks * self.block - self.n_query), value=fill)
        tensor = tensor.reshape(*tensor.shape[:-3], self.n_blocks, self.block, self.n_blocks, self.columns)
        return tensor.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)

    def distances(self, device: torch.device) -> Tensor:
        """How far the key of a column stands before the query of a row, the same in all blocks."""
        rows = torch.arange(self.block, device=device).unsqueeze(-1) + self.behind
        return rows - torch.arange(self.columns, device=device)

    def full(self, blocks: Tensor, *, fill: float) -> Tensor:
        """``(..., n_blocks, block, columns)`` laid out over all keys."""
        rows = blocks.flatten(-3, -2)[..., : self.n_query, :]
        first = torch.arange(self.n_query, device=rows.device) // self.block * self.block
        places = (first.unsqueeze(-1) + torch.arange(self.columns, device=rows.device)).expand(rows.shape)
        full = rows.new_full((*rows.shape[:-1], self.front + self.n_key + self.back), fill)
        return F.pad(full.scatter(-1, places, rows), (-self.front, -self.back), value=fill)
