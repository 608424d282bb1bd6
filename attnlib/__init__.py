"""Attention mechanisms in plain PyTorch: one function a mechanism, each tested against its paper's equation."""

from . import (
    decoding,
    distributions,
    gated_unit,
    hard,
    input_feeding,
    local,
    masks,
    rnnsearch,
    scores,
    structured,
)
from .attention import Attend, Attention, attend

__all__ = [
    "Attend",
    "Attention",
    "attend",
    "decoding",
    "distributions",
    "gated_unit",
    "hard",
    "input_feeding",
    "local",
    "masks",
    "rnnsearch",
    "scores",
    "structured",
]
__version__ = "0.1.0"
