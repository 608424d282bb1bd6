"""Attention mechanisms in plain PyTorch: one function a mechanism, each tested against its paper's equation."""

from . import distributions, hard, input_feeding, local, masks, scores, structured
from .attention import Attend, Attention, attend

__all__ = [
    "Attend",
    "Attention",
    "attend",
    "distributions",
    "hard",
    "input_feeding",
    "local",
    "masks",
    "scores",
    "structured",
]
__version__ = "0.1.0"
