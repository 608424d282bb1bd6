"""Networks that others trained, out of pinned packages.

MiniLM and SmolLM2, two transformers, with this library's attention; and the one of g2p-en, which has none.
"""

from .letters_to_sounds import LettersToSounds
from .minilm import MiniLM
from .read import Read
from .smollm import SmolLM

__all__ = ["LettersToSounds", "MiniLM", "Read", "SmolLM"]
