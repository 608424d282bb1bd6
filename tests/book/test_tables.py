"""Tables of what was measured."""

import pytest

from attnlib.book.tables import tabled


def test_the_first_column_stands_left_and_the_others_right():
    shown = tabled(["arm", "a", "b"], ("one", 1, None), (x for x in ("two", 0.5, "-")))._repr_markdown_()
    assert shown.splitlines() == ["| arm | a | b |", "| :-- | --: | --: |", "| one | 1 | None |", "| two | 0.5 | - |"]


def test_bad_tables_are_refused():
    with pytest.raises(ValueError, match="head must name at least one column, got none"):
        tabled([])
    with pytest.raises(ValueError, match=r"rows must have 2 entries each, as the head has, got 1: \('one',\)"):
        tabled(["arm", "a"], ("both", 2), ("one",))
