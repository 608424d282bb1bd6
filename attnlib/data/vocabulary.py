"""Words as numbers, and sentence pairs as padded batches."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, SupportsIndex

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .pairs import Pair

__all__ = ["BOS", "EOS", "PAD", "SPECIAL", "UNK", "Batch", "Vocabulary", "collate"]

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(4)


class Vocabulary:
    """Words and their numbers; 0 to 3 are ``<pad>``, ``<bos>``, ``<eos>`` and ``<unk>``.

    Args:
        words: all words in the order of their numbers, the four special ones first. ``Vocabulary(other.words)`` is
            ``other`` again: store this list with a model.

    Raises:
        ValueError: the special words do not come first, or a word stands twice.

    >>> vocabulary = Vocabulary.build([["to", "be", "or", "not", "to", "be"]], most=3)
    >>> vocabulary.words
    ['<pad>', '<bos>', '<eos>', '<unk>', 'be', 'to', 'not']
    >>> vocabulary.encode(["not", "to", "swim"])
    [6, 5, 3]
    >>> vocabulary.decode([1, 6, 5, 3, 2, 0, 0])
    ['not', 'to', '<unk>']
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = list(words)
        if tuple(self.words[:4]) != SPECIAL:
            raise ValueError(f"words must begin with {', '.join(SPECIAL)}, got {self.words[:4]}")
        self._index = {word: index for index, word in enumerate(self.words)}
        if len(self._index) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"words must be distinct, got {twice!r} twice")

    @classmethod
    def build(cls, sentences: Iterable[Iterable[str]], *, least: int = 1, most: int | None = None) -> "Vocabulary":
        """The words of some sentences, the commonest first and equally common ones in the order of their characters.

        Args:
            sentences: those of training alone.
            least: a word that comes less often is left out.
            most: how many words to keep at most, the special ones not counted.

        Raises:
            ValueError: ``least`` below 1, ``most`` below 0, or a sentence holds a special word.
            TypeError: a sentence is one ``str`` instead of words.
        """
        if least < 1:
            raise ValueError(f"least must be at least 1, got {least}")
        if most is not None and most < 0:
            raise ValueError(f"most must be at least 0 or None, got {most}")
        counts: Counter[str] = Counter()
        for sentence in sentences:
            if isinstance(sentence, str):
                raise TypeError(f"sentences must be the words one by one, got the str {sentence!r}")
            counts.update(sentence)
        if taken := counts.keys() & set(SPECIAL):
            raise ValueError(f"sentences must hold none of the special words {', '.join(SPECIAL)}, got {min(taken)}")
        common = sorted((word for word in counts if counts[word] >= least), key=lambda word: (-counts[word], word))
        return cls([*SPECIAL, *common[:most]])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    __hash__ = None  # type: ignore[assignment]  # equal by a list that may be changed

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"

    def encode(self, words: Iterable[str]) -> list[int]:
        """Numbers of words, without an end of sentence; one that is not known gives ``<unk>``.

        The text of a special word in a sentence is only a word that is not known: it can not end or pad a sentence.
        """
        if isinstance(words, str):
            raise TypeError(f"words must be the words one by one, got the str {words!r}")
        return [max(self._index.get(word, UNK), UNK) for word in words]

    def decode(self, indices: Iterable[SupportsIndex]) -> list[str]:
        """Words of numbers (a tensor of one axis will do) up to the first ``<eos>``, ``<pad>`` and ``<bos>`` left out.

        Raises:
            IndexError: a number that no word has.
        """
        words = []
        for index in map(int, indices):
            if not 0 <= index < len(self):
                raise IndexError(f"indices must be numbers from 0 to {len(self) - 1}, got {index}")
            if index == EOS:
                break
            if index not in (PAD, BOS):
                words.append(self.words[index])
        return words


class Batch(NamedTuple):
    """What :func:`collate` gives. Masks are ``True`` at a real token, so at what may be attended to."""

    source: Int[Tensor, "batch source"]
    source_mask: Bool[Tensor, "batch source"]
    target_in: Int[Tensor, "batch target"]
    target_out: Int[Tensor, "batch target"]
    target_mask: Bool[Tensor, "batch target"]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(*(tensor.to(device) for tensor in self))


def collate(pairs: Sequence[Pair], source_vocabulary: Vocabulary, target_vocabulary: Vocabulary) -> Batch:
    """Pairs as one batch: rows in the order of the pairs, padded with 0 at the right.

    ``source`` ends with ``<eos>``, which the model reads as a word. ``target_in`` is what a decoder is told,
    ``<bos> y_1 ... y_n``, and ``target_out`` what it should answer, ``y_1 ... y_n <eos>``; ``target_mask`` fits both.

    Args:
        pairs: at least one.
        source_vocabulary: numbers of the source's words.
        target_vocabulary: numbers of the target's words.

    Returns:
        Five tensors of shape ``(batch, longest sentence + 1)``.

    Raises:
        ValueError: no pairs.

    >>> words = Vocabulary.build([["a", "b"]])
    >>> batch = collate([Pair("1", ["a"], ["b", "a"]), Pair("2", ["b", "a"], [])], words, words)
    >>> batch.source.tolist(), batch.source_mask.tolist()
    ([[4, 2, 0], [5, 4, 2]], [[True, True, False], [True, True, True]])
    >>> batch.target_in.tolist(), batch.target_out.tolist()
    ([[1, 5, 4], [1, 0, 0]], [[5, 4, 2], [2, 0, 0]])
    """
    if not pairs:
        raise ValueError("pairs must hold at least one, got none")
    source = [[*source_vocabulary.encode(pair.source), EOS] for pair in pairs]
    target = [target_vocabulary.encode(pair.target) for pair in pairs]
    read, target_out = _padded(source), _padded([[*row, EOS] for row in target])
    return Batch(read, read != PAD, _padded([[BOS, *row] for row in target]), target_out, target_out != PAD)


def _padded(rows: list[list[int]]) -> Int[Tensor, "batch longest"]:
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
