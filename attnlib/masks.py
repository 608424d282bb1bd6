"""Masks."""

import torch
from torch import Tensor

__all__ = ["causal"]


def causal(n_query: int, n_key: int | None = None, *, alignment: str = "upper-left", device=None) -> Tensor:
    n_key = n_query if n_key is None else n_key
    offset = 0 if alignment == "upper-left" else n_key - n_query
    return torch.ones(n_query, n_key, dtype=torch.bool, device=device).tril(offset)
