"""Two transformers that others trained, out of pinned packages, with this library's attention: MiniLM and SmolLM2."""

from .minilm import MiniLM
from .read import Read
from .smollm import SmolLM

__all__ = ["MiniLM", "Read", "SmolLM"]
