"""Search displays for a picture of a widget: bars on grey, one of them the target."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["GREEN", "RED", "WHITE", "display"]

RED, GREEN, WHITE = (0.8, 0.3, 0.2), (0.3, 0.7, 0.3), (0.7, 0.7, 0.7)  # red and green are equally bright
GREY, NOISE = 0.3, 0.012
ROWS, COLUMNS, CELL = 4, 5, (15, 16)
LONG, SHORT = 11, 5
Bar = tuple[tuple[float, float, float], bool]


def display(bars: Sequence[Bar]) -> tuple[Tensor, list[tuple[int, int]]]:
    """An image ``(3, 60, 80)`` of twenty bars, each a colour and whether it is upright, and the middle of each.

    They stand row by row, a little off their grid, for a grid would be a pattern of its own; and there is a little
    noise, as in a photograph: where two places are exactly alike, rounding would say which of them is a maximum.

    >>> image, places = display([(RED, True)] * 20)
    >>> tuple(image.shape), places[:2]
    ((3, 60, 80), [(6, 8), (6, 24)])
    """
    if len(bars) != ROWS * COLUMNS:
        raise ValueError(f"bars must be {ROWS * COLUMNS}, got {len(bars)}")
    image = torch.full((3, ROWS * CELL[0], COLUMNS * CELL[1]), GREY)
    places = []
    for number, (colour, upright) in enumerate(bars):
        row, column = divmod(number, COLUMNS)
        middle = row * CELL[0] + 6 + 7 * number % 4 % 3, column * CELL[1] + 6 + (5 * number + 2 * row + 2) % 5
        tall, wide = (LONG, SHORT) if upright else (SHORT, LONG)
        top, left = middle[0] - tall // 2, middle[1] - wide // 2
        image[:, top : top + tall, left : left + wide] = torch.tensor(colour).view(3, 1, 1)
        places.append(middle)
    grain = random.Random(0)
    noise = torch.tensor(
        [[NOISE * (2 * grain.random() - 1) for _ in range(image.shape[2])] for _ in range(image.shape[1])]
    )
    return image + noise, places
