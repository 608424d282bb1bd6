"""Displays for visual search: bars on a field, one of which is the target, and where it stands is known.

A target that differs in colour alone or in orientation alone *pops out*. One that shares its colour with half of the
others and its orientation with the other half, a *conjunction*, does not [treisman1980].
"""

import random
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["BACKGROUND", "COLOURS", "Display", "Item", "conjunction", "odd_colour", "odd_orientation"]

COLOURS: dict[str, tuple[float, float, float]] = {"red": (0.9, 0.1, 0.2), "green": (0.1, 0.9, 0.2)}
"""Of the bars. Both have the same intensity, the mean of the three, so that intensity tells nothing."""

BACKGROUND = 0.0


class Item(NamedTuple):
    """A bar: its middle in pixels, its colour, and its angle in degrees, 0 lying and 90 standing."""

    row: int
    column: int
    colour: str
    degrees: int


class Display(NamedTuple):
    """An image ``(3, size, size)`` from 0 to 1, all its items, and which of them is the target; None if none is."""

    image: Float[Tensor, "3 size size"]
    items: tuple[Item, ...]
    target: int | None

    @property
    def place(self) -> tuple[int, int] | None:
        """Row and column of the target."""
        return None if self.target is None else self.items[self.target][:2]


def odd_colour(n_items: int, *, size: int = 256, seed: int = 0, present: bool = True) -> Display:
    """A green bar among red ones, all standing: it pops out.

    Args:
        n_items: how many bars, the target among them; at least 1.
        size: side of the image in pixels.
        seed: another one gives other places.
        present: False makes all bars distractors.

    Returns:
        A :class:`Display`. Bars stand in the cells of a square grid, chosen at random, each a little off its middle.
        The grid depends on the size alone, so that bars are as large in displays of few items as in displays of many.

    Raises:
        ValueError: there are more items than cells, or fewer than 1; the size is below one cell.

    Source: Treisman and Gelade 1980 [treisman1980]; the figures are ours.

    >>> display = odd_colour(5)
    >>> [item.colour for item in display.items].count("green"), display.items[display.target].colour
    (1, 'green')
    """
    _check(n_items, size)
    others = [("red", 90)] * (n_items - present)
    return _display(others, ("green", 90) if present else None, size, seed)


def odd_orientation(n_items: int, *, size: int = 256, seed: int = 0, present: bool = True) -> Display:
    """A lying bar among standing ones, all red; arguments, result and errors are those of :func:`odd_colour`.

    >>> display = odd_orientation(5)
    >>> display.items[display.target].degrees, {item.colour for item in display.items}
    (0, {'red'})
    """
    _check(n_items, size)
    others = [("red", 90)] * (n_items - present)
    return _display(others, ("red", 0) if present else None, size, seed)


def conjunction(n_items: int, *, size: int = 256, seed: int = 0, present: bool = True) -> Display:
    """A green lying bar among red lying and green standing ones, as many of each; else as :func:`odd_colour`.

    Of an odd number of distractors one more is red.

    >>> display = conjunction(9)
    >>> sorted((item.colour, item.degrees) for item in display.items)[3:6]
    [('green', 90), ('green', 90), ('red', 0)]
    >>> display.items[display.target]._asdict()["degrees"]
    0
    """
    _check(n_items, size)
    n_others = n_items - present
    others = [("red", 0), ("green", 90)] * (n_others // 2) + [("red", 0)] * (n_others % 2)
    return _display(others, ("green", 0) if present else None, size, seed)


CELL, LONG, THICK, OFF = 32, 16, 4, 4  # pixels: a cell's side, a bar's length and width, how far it stands off at most


def _check(n_items: int, size: int) -> None:
    most = (size // CELL) ** 2
    if not 1 <= n_items <= most:
        raise ValueError(f"n_items must be from 1 to {most} in an image of {size} by {size}, got {n_items}")


def _display(others: list[tuple[str, int]], target: tuple[str, int] | None, size: int, seed: int) -> Display:
    kinds = [*others, *([target] if target else [])]
    across = size // CELL
    rng = random.Random(f"{seed} {len(kinds)}")
    cells = rng.sample(range(across**2), len(kinds))
    order = list(range(len(kinds)))
    rng.shuffle(order)
    margin = (size - across * CELL) // 2 + CELL // 2
    image = torch.full((3, size, size), BACKGROUND)
    items = []
    for kind, cell in zip(order, cells, strict=True):
        colour, degrees = kinds[kind]
        row, column = (margin + CELL * place + rng.randint(-OFF, OFF) for place in divmod(cell, across))
        items.append(Item(row, column, colour, degrees))
        tall, wide = (LONG, THICK) if degrees == 90 else (THICK, LONG)
        bar = image[:, row - tall // 2 : row + tall // 2, column - wide // 2 : column + wide // 2]
        bar[:] = torch.tensor(COLOURS[colour]).view(3, 1, 1)
    return Display(image, tuple(items), order.index(len(kinds) - 1) if target else None)
