"""Sentence pairs with known links, rated reviews, pictures, gaze: where they come from, how they become batches."""

from . import (
    aspects,
    catalogues,
    easy_vqa,
    gaze,
    new_testament,
    photographs,
    pronunciations,
    reviews,
    scenes,
    search_displays,
    tasks,
    visual_questions,
    wordnet,
)
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
    "aspects",
    "cache",
    "catalogues",
    "collate",
    "easy_vqa",
    "fetch",
    "gaze",
    "new_testament",
    "photographs",
    "pronunciations",
    "reviews",
    "scenes",
    "search_displays",
    "split",
    "tasks",
    "visual_questions",
    "wordnet",
]
