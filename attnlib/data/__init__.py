"""Sentence pairs with known links, photographs and displays: where they come from, and how they become batches."""

from . import catalogues, new_testament, photographs, search_displays, tasks
from .packages import DataError, Package, cache, fetch
from .pairs import Pair, Split, split
from .vocabulary import BOS, EOS, PAD, SPECIAL, UNK, Batch, Vocabulary, collate

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "SPECIAL",
    "UNK",
    "Batch",
    "DataError",
    "Package",
    "Pair",
    "Split",
    "Vocabulary",
    "cache",
    "catalogues",
    "collate",
    "fetch",
    "new_testament",
    "photographs",
    "search_displays",
    "split",
    "tasks",
]
