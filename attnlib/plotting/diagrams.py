"""Things and their names: a tree of categories, which thing has which name, and what a network is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from attnlib.plotting.canvas import MARKERS, PALETTE, array, check_names, figure, show, style, words


def tree(root: str, branches: Mapping[str, Sequence[str]], *, alt: str, caption: str | None = None) -> Figure | None:
    """A tree of two levels, from left to right: the root, its branches, their leaves, each branch in its own colour.

    Args:
        root: the name of the whole; a line break in a name is kept.
        branches: name of a branch to the names of its leaves, one or more.
        alt: the figure in words.
        caption: the sentence under it.

    Raises:
        ValueError: there is no branch, or a branch has no leaf.
    """
    empty = [name for name, leaves in branches.items() if not leaves]
    if not branches or empty:
        raise ValueError(f"branch {empty[0]!r} has no leaf" if empty else "branches is empty: nothing to draw")
    words("alt", alt)
    rows = sum(map(len, branches.values())) + 0.5 * (len(branches) - 1)
    with style():
        canvas, ax = figure(min(0.3 * rows + 0.3, 9.0))
        top, middles = 0.0, []
        for index, (name, leaves) in enumerate(branches.items()):
            colour = PALETTE[index % 7]
            places = [top + leaf for leaf in range(len(leaves))]
            middles.append((places[0] + places[-1]) / 2)
            for place, leaf in zip(places, leaves, strict=True):
                _elbow(ax, (0.65, middles[-1]), (0.71, place), colour)
                ax.plot(0.71, place, marker=MARKERS[index % 7], color=colour, markersize=6)
                ax.text(0.735, place, leaf, va="center")
            ax.text(0.255, middles[-1] - 0.12, name, va="bottom")
            top = places[-1] + 1.5
        middle = (middles[0] + middles[-1]) / 2
        for place in middles:
            _elbow(ax, (0.19, middle), (0.65, place), "#555555", turn=0.22)
        ax.text(0.18, middle, root, va="center", ha="right", weight="bold")
        ax.set(xlim=(0, 1), ylim=(top - 1, -0.5))
        ax.set_axis_off()
    return show(canvas, alt=alt, caption=caption)


def matrix(
    marks: object,
    rows: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    alt: str,
    caption: str | None = None,
) -> Figure | None:
    """Which row has which column: a mark where it has, columns in groups that differ in colour and in mark.

    Args:
        marks: ``(row, column)``, true where the row has the column.
        rows: names of the rows.
        groups: name of a group to the names of its columns, one or more, in the order of the columns.
        alt: the figure in words.
        caption: the sentence under it.

    Raises:
        ValueError: the names do not fit the marks.
    """
    cells = array(marks) != 0
    columns = [name for names in groups.values() for name in names]
    if cells.ndim != 2 or 0 in cells.shape:
        raise ValueError(f"marks must be (row, column), not empty, got shape {cells.shape}")
    check_names("rows", rows, cells.shape[0])
    check_names("groups", columns, cells.shape[1])
    words("alt", alt)
    with style():
        canvas, ax = figure(min(0.24 * len(rows) + 1.6, 9.0))
        first = 0
        for index, names in enumerate(groups.values()):
            part = np.argwhere(cells[:, first : first + len(names)])
            look = {"marker": MARKERS[index % 7], "color": PALETTE[index % 7]}
            ax.scatter(part[:, 1] + first, part[:, 0], s=42, zorder=3, **look)
            first += len(names)
            if first < len(columns):
                ax.axvline(first - 0.5, color="#777777", linewidth=1)
        ax.hlines(range(len(rows)), -0.5, len(columns) - 0.5, color="#dddddd", linewidth=0.8, zorder=1)
        ax.set_yticks(range(len(rows)), rows)
        ax.set_xticks(range(len(columns)), columns, rotation=60, ha="left", rotation_mode="anchor")
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        for spine in ax.spines.values():
            spine.set_visible(False)
    return show(canvas, alt=alt, caption=caption)


def network(
    nodes: Mapping[str, tuple[float, float, str, int | None]],
    edges: Iterable[tuple[str, str] | tuple[str, str, float]],
    *,
    height: float = 3.2,
    alt: str,
    caption: str | None = None,
) -> Figure | None:
    """Boxes with text and arrows between them: what a model is made of, and which way things go in it.

    Args:
        nodes: name to (x, y, text, colour); y goes up, the colour is a place in the palette. With None for a colour
            the text stands without a box. Texts may hold formulas between dollar signs.
        edges: (from, to), or (from, to, strength) with a strength from 0 to 1 that says how thick the arrow is. A from
            that is equal to its to is refused.
        height: inches.
        alt: the figure in words.
        caption: the sentence under it.

    Raises:
        ValueError: there is no node, an edge has no such node or leads nowhere, or a strength is not in [0, 1].
    """
    if not nodes:
        raise ValueError("nodes is empty: nothing to draw")
    arrows = [(edge[0], edge[1], edge[2] if len(edge) > 2 else 0.35) for edge in edges]
    for start, end, strength in arrows:
        unknown = [name for name in (start, end) if name not in nodes]
        if unknown or start == end:
            raise ValueError(f"edge {start!r} to {end!r}: {'no such node' if unknown else 'leads nowhere'}")
        if not 0 <= strength <= 1:
            raise ValueError(f"edge {start!r} to {end!r}: strength must be from 0 to 1, got {strength}")
    words("alt", alt)
    with style():
        canvas, ax = figure(height)
        boxes = {}
        for name, (x, y, said, colour) in nodes.items():
            look: dict[str, Any] | None = None
            if colour is not None:
                look = {"boxstyle": "round,pad=0.3", "edgecolor": PALETTE[colour % 7], "facecolor": "white"}
                look["linewidth"] = 1.6
            boxes[name] = ax.text(x, y, said, ha="center", va="center", bbox=look, zorder=2)
        for start, end, strength in arrows:
            arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.6 + 3.4 * strength}
            arrow["mutation_scale"] = 9 + 7 * strength
            for side, name in (("A", start), ("B", end)):
                box = boxes[name].get_bbox_patch()
                arrow |= {f"patch{side}": box, f"shrink{side}": 9 if box is None else 1}
            ax.annotate("", nodes[end][:2], nodes[start][:2], arrowprops=arrow, zorder=3)
        across, up = [node[0] for node in nodes.values()], [node[1] for node in nodes.values()]
        ax.set(xlim=(min(across) - 0.5, max(across) + 0.5), ylim=(min(up) - 0.5, max(up) + 0.5))
        ax.set_axis_off()
    return show(canvas, alt=alt, caption=caption)


def _elbow(
    ax: object, start: tuple[float, float], end: tuple[float, float], colour: str, turn: float | None = None
) -> None:
    """A line that leaves to the right, turns at ``turn`` (by default half way), and comes in from the left."""
    turn = (start[0] + end[0]) / 2 if turn is None else turn
    ax.plot([start[0], turn, turn, end[0]], [start[1], start[1], end[1], end[1]], color=colour, linewidth=1.4)  # type: ignore[attr-defined]
