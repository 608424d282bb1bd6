"""Level lines of a sampled field by marching squares, for the static pictures; ``js/contour.js`` is the page's."""

import math
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["Point", "isolines", "nice_step"]

Point = tuple[float, float]
Edge = tuple[int, int]  # the sample it starts at; 0 for the way to the right, 1 for the way down

_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
# The two edges of a cell that a line joins, by the corners above the level: from the upper left 1, 2, 4 and 8.
_JOINED = {1: (_TOP, _LEFT), 2: (_TOP, _RIGHT), 4: (_RIGHT, _BOTTOM), 8: (_LEFT, _BOTTOM), 3: (_LEFT, _RIGHT)}
_JOINED |= {6: (_TOP, _BOTTOM)}
_JOINED |= {15 - code: edges for code, edges in _JOINED.items()}


def isolines(values: Sequence[float], size: int, level: float) -> list[list[Point]]:
    """Lines along which ``values[row * size + column]`` has this level, in grid coordinates (column, row).

    >>> isolines([0.0, 1.0, 0.0, 1.0], 2, 0.25)
    [[(0.25, 0), (0.25, 1)]]
    """
    links: dict[Edge, list[Edge]] = {}
    for row in range(size - 1):
        for column in range(size - 1):
            for one, other in _segments(values, size, level, row * size + column):
                links.setdefault(one, []).append(other)
                links.setdefault(other, []).append(one)
    ends = [edge for edge, near in links.items() if len(near) == 1]
    seen: set[Edge] = set()
    lines = []
    for start in (*ends, *links):
        if start not in seen:
            lines.append(_straightened([_crossing(values, size, level, edge) for edge in _walk(start, links, seen)]))
    return lines


def _segments(values: Sequence[float], size: int, level: float, i: int) -> list[tuple[Edge, Edge]]:
    """Pairs of crossed edges of the cell whose upper left corner is sample ``i``."""
    corners = [values[i], values[i + 1], values[i + size + 1], values[i + size]]
    code = sum((value > level) << bit for bit, value in enumerate(corners))
    edges = [(i, 0), (i + 1, 1), (i + size, 0), (i, 1)]
    if code in (5, 10):  # a saddle: the middle says which corners hang together
        if (code == 5) == (sum(corners) / 4 > level):
            joined = [(_TOP, _RIGHT), (_LEFT, _BOTTOM)]
        else:
            joined = [(_TOP, _LEFT), (_RIGHT, _BOTTOM)]
    else:
        joined = [_JOINED[code]] if code in _JOINED else []
    return [(edges[one], edges[other]) for one, other in joined]


def _walk(start: Edge, links: dict[Edge, list[Edge]], seen: set[Edge]) -> list[Edge]:
    line = [start]
    seen.add(start)
    while following := [edge for edge in links[line[-1]] if edge not in seen]:
        line.append(following[0])
        seen.add(following[0])
    return [*line, start] if len(line) > 2 and start in links[line[-1]] else line


def _crossing(values: Sequence[float], size: int, level: float, edge: Edge) -> Point:
    i, down = edge
    share = (level - values[i]) / (values[i + (size if down else 1)] - values[i])
    return (i % size, i // size + share) if down else (i % size + share, i // size)


def _straightened(line: list[Point], slack: float = 0.03) -> list[Point]:
    """The line without the points that lie straight between their neighbours."""
    kept = [line[0]]
    for here, after in pairwise(line[1:]):
        (x0, y0), (x1, y1) = kept[-1], after
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        if abs((here[0] - x0) * (y1 - y0) - (here[1] - y0) * (x1 - x0)) / length > slack:
            kept.append(here)
    return [*kept, line[-1]]


def nice_step(span: float, count: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that cuts ``span`` into about ``count`` parts.

    >>> nice_step(18.0, 9), nice_step(3.1, 9)
    (2.0, 0.2)
    """
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    lead = raw / power
    return power * (1 if lead < 1.5 else 2 if lead < 3.5 else 5 if lead < 7.5 else 10)
