"""Attention mechanisms in plain PyTorch: one function a mechanism, each tested against its paper's equation.

The unified model, :func:`attend`, is here. A mechanism stands in the folder of its section of the book:
``from attnlib.softness import local``.
"""

from .attention import Attend, Attention, attend
from .fused import explain

__all__ = ["Attend", "Attention", "attend", "explain"]
__version__ = "0.1.0"
