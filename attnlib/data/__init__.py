"""Sentence pairs with known links between their words, scenes with known boxes, and how pairs become batches."""

from . import catalogues, new_testament, scenes, tasks
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
    "scenes",
    "split",
    "tasks",
]
