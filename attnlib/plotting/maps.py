"""Cells: queries down, keys across."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnlib.plotting.canvas import (
    DIVERGING,
    PALETTE,
    SEQUENTIAL,
    WIDTH,
    array,
    check_names,
    figure,
    show,
    style,
    words,
)


def heatmap(
    weights: Any,
    *,
    alt: str,
    caption: str | None = None,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    axes: tuple[str, str] = ("query", "key"),
    signed: bool = False,
    label: str = "weight",
    limits: tuple[float, float] | None = None,
) -> Figure | None:
    """Weights or energies as coloured cells: queries down, keys across.

    Cells hold their number where there is room for it. Cells that are not finite (behind a mask) are hatched.

    Args:
        weights: ``(query, key)``, or ``(panel, query, key)`` for several panels on one scale.
        alt: the figure in words.
        caption: the sentence under it.
        queries: names of the rows.
        keys: names of the columns.
        titles: names of the panels.
        axes: what a row and a column are, where they are not a query and a key.
        signed: colour negative and positive apart, white at zero; for energies.
        label: what the colour means.
        limits: of the colour scale; by default zero to the largest value, or symmetric when ``signed``.

    Raises:
        ValueError: a shape or a number of names does not fit.
    """
    panels = _panels(weights)
    check_names("queries", queries, panels.shape[1])
    check_names("keys", keys, panels.shape[2])
    check_names("titles", titles, panels.shape[0])
    words("alt", alt)
    columns = min(len(panels), 3 if panels.shape[2] <= 8 else 2)
    rows = math.ceil(len(panels) / columns)
    side = 0.75 * WIDTH / columns / panels.shape[2]
    height = min(rows * (panels.shape[1] * min(max(side, 0.14), 0.5) + 0.9), 9.0)
    with style():
        canvas, places = figure(max(height, 1.5), rows=rows, columns=columns, squeeze=False)
        norm = Normalize(*(limits or _limits(panels, signed)))
        for index, ax in enumerate(places.flat):
            if index >= len(panels):
                ax.set_axis_off()
                continue
            image = _cells(ax, panels[index], norm, DIVERGING if signed else SEQUENTIAL)
            _ticks(ax, queries, keys, panels.shape[1:])
            if titles is not None:
                ax.set_title(titles[index])
            ax.set_xlabel(axes[1] if keys is None or axes[1] != "key" else "")
            if index % columns == 0:
                ax.set_ylabel(axes[0])
        canvas.colorbar(image, ax=places, label=label, shrink=0.8, pad=0.03)
    return show(canvas, alt=alt, caption=caption)


def alignment(
    weights: Any,
    source: Sequence[str],
    target: Sequence[str],
    *,
    alt: str,
    caption: str | None = None,
    links: Iterable[tuple[int, int]] = (),
) -> Figure | None:
    """An alignment: one row a target token, one column a source token, the source's words along the top.

    Args:
        weights: ``(target, source)``.
        source: the tokens that are attended to.
        target: the tokens that attend.
        alt: the figure in words.
        caption: the sentence under it.
        links: ``(target position, source position)`` of the cells that get a frame, such as people's links.

    Raises:
        ValueError: ``weights`` is not ``(len(target), len(source))``, or a link lies outside it.
    """
    cells = _panels(weights)
    if len(cells) != 1:
        raise ValueError(f"weights must be (target, source), got shape {tuple(np.shape(array(weights)))}")
    check_names("target", target, cells.shape[1])
    check_names("source", source, cells.shape[2])
    framed = sorted(tuple(link) for link in links)
    for t, j in framed:
        if not (0 <= t < len(target) and 0 <= j < len(source)):
            raise ValueError(f"links must lie within weights of shape {cells.shape[1:]}, got {(t, j)}")
    words("alt", alt)
    side = min(0.8 * WIDTH / cells.shape[2], 0.42)
    with style():
        canvas, ax = figure(min(cells.shape[1] * side + 1.2, 9.0))
        image = _cells(ax, cells[0], Normalize(*_limits(cells, False)), SEQUENTIAL)
        for colour, width in (("white", 3.2), (PALETTE[1], 1.6)):  # seen on dark cells and on light ones
            for t, j in framed:
                ax.add_patch(Rectangle((j - 0.42, t - 0.42), 0.84, 0.84, fill=False, edgecolor=colour, linewidth=width))
        _ticks(ax, target, source, cells.shape[1:])
        ax.xaxis.tick_top()
        ax.set_xticks(range(len(source)), source, rotation=60, ha="left", rotation_mode="anchor")
        ax.tick_params(length=0)
        canvas.colorbar(image, ax=ax, label="weight", shrink=0.8, pad=0.03)
    return show(canvas, alt=alt, caption=caption)


def _panels(weights: Any) -> np.ndarray:
    cells = array(weights)
    if cells.ndim not in (2, 3) or 0 in cells.shape:
        raise ValueError(f"weights must be (query, key) or (panel, query, key), not empty, got shape {cells.shape}")
    return cells[None] if cells.ndim == 2 else cells


def _limits(panels: np.ndarray, signed: bool) -> tuple[float, float]:
    finite = panels[np.isfinite(panels)]
    top = float(np.abs(finite).max()) if finite.size else 1.0
    return (-(top or 1.0), top or 1.0) if signed else (min(0.0, float(finite.min(initial=0.0))), top or 1.0)


def _cells(ax: Any, cells: np.ndarray, norm: Normalize, colours: str) -> Any:
    """One panel: the coloured cells, their numbers where there is room, a hatch where there is no number."""
    ax.set_facecolor("#e8e8e8")
    image = ax.imshow(np.where(np.isfinite(cells), cells, np.nan), cmap=colours, norm=norm, aspect="auto")
    seaborn.despine(ax=ax, left=True, bottom=True)
    for row, column in zip(*np.where(~np.isfinite(cells)), strict=True):
        box = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", edgecolor="#999999")
        ax.add_patch(box).set_linewidth(0)
    if cells.shape[1] * ax.get_gridspec().ncols <= 9 and cells.shape[0] <= 12:
        for (row, column), value in np.ndenumerate(cells):
            if np.isfinite(value):
                red, green, blue, _ = image.cmap(norm(value))
                ink = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "black"
                ax.text(column, row, _short(value), ha="center", va="center", color=ink, fontsize=10)
    return image


def _short(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"
    return "0" if value == 0 else text.replace("-", "\N{MINUS SIGN}")


def _ticks(ax: Any, queries: Sequence[str] | None, keys: Sequence[str] | None, shape: tuple[int, ...]) -> None:
    for axis, names, count in ((ax.yaxis, queries, shape[0]), (ax.xaxis, keys, shape[1])):
        step = 1 if names is not None else math.ceil(count / 8)
        axis.set_ticks(range(0, count, step), names if names is not None else range(0, count, step))
    if keys is not None and max(map(len, keys)) * len(keys) * ax.get_gridspec().ncols > 40:
        ax.tick_params(axis="x", rotation=60)
    ax.tick_params(length=0)
