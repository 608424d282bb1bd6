"""Tables of what was measured, as a page shows them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Table", "tabled"]


class Table(NamedTuple):
    """Rows of words, the head first; a notebook shows them as a table, the first column to the left."""

    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        return f"a table of {len(self.rows) - 1} rows"

    def _repr_markdown_(self) -> str:
        marks = (":--", *("--:" for _ in self.rows[0][1:]))
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.rows[0], marks, *self.rows[1:]))


def tabled(head: Sequence[object], *rows: Iterable[object]) -> Table:
    """A table for the last line of a cell.

    Args:
        head: what stands over each column.
        rows: as many entries each; what is no text is told by ``str``.

    Raises:
        ValueError: there is no column; a row has another number of entries than the head.

    >>> print(tabled(["", "wrong"], ["glimpses", 0.17])._repr_markdown_())
    |  | wrong |
    | :-- | --: |
    | glimpses | 0.17 |
    """
    told = tuple(tuple(str(entry) for entry in row) for row in (head, *rows))
    if not told[0]:
        raise ValueError("head must name at least one column, got none")
    for row in told[1:]:
        if len(row) != len(told[0]):
            raise ValueError(f"rows must have {len(told[0])} entries each, as the head has, got {len(row)}: {row}")
    return Table(told)
