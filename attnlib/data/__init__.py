"""Sentence pairs with known links between their words, where they come from, and how they become batches."""

from . import new_testament
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
    "collate",
    "fetch",
    "new_testament",
    "split",
]
