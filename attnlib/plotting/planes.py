"""Points: weights in the triangle, keys and queries in the plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from attnlib.plotting.canvas import (
    DASHES,
    HATCHES,
    MARKERS,
    PALETTE,
    SEQUENTIAL,
    array,
    check_names,
    figure,
    legend,
    show,
    style,
    words,
)


def simplex(
    points: Mapping[str, Any] | None = None,
    *,
    alt: str,
    caption: str | None = None,
    corners: Sequence[str] = ("1", "2", "3"),
    paths: Mapping[str, Any] | None = None,
    regions: Mapping[str, Any] | None = None,
) -> Figure | None:
    """Weights over three keys as points of a triangle: a corner is all weight on one key, the middle is the mean.

    Args:
        points: name to ``(3,)``.
        alt: the figure in words.
        caption: the sentence under it.
        corners: names of the three keys: left, right, top.
        paths: name to ``(step, 3)``, drawn as a line with an arrow head at its end.
        regions: name to the corners ``(corner, 3)`` of a shaded part.

    Raises:
        ValueError: not three corners, weights that do not sum to one, or a path of a single step.
    """
    check_names("corners", corners, 3)
    words("alt", alt)
    spots = {name: _flatten_simplex(name, value) for name, value in (points or {}).items()}
    lines = {name: _flatten_simplex(name, value) for name, value in (paths or {}).items()}
    shades = {name: _flatten_simplex(name, value) for name, value in (regions or {}).items()}
    if short := [name for name, line in lines.items() if len(line) < 2]:
        raise ValueError(f"paths needs two steps or more for a line, got one for {short[0]!r}")
    with style():
        canvas, ax = figure(4.2)
        ax.set_aspect("equal")
        ax.set_axis_off()
        for index, (name, shade) in enumerate(shades.items()):
            grey = str(0.93 - 0.06 * (index % 3))
            ax.fill(*shade.T, facecolor=grey, edgecolor="white", hatch=HATCHES[index % 7], zorder=0)
            ax.annotate(name, tuple(shade.mean(0)), ha="center", va="center", fontsize=10, zorder=1)
        _triangle(ax, corners)
        for index, (name, line) in enumerate(lines.items()):
            colour = PALETTE[index % 7]
            ax.plot(*line.T, color=colour, linestyle=DASHES[index % 7], label=name)
            ax.annotate("", tuple(line[-1]), tuple(line[-2]), arrowprops={"arrowstyle": "-|>", "color": colour})
        for index, (name, spot) in enumerate(spots.items()):
            look = {"color": PALETTE[index % 7], "marker": MARKERS[index % 7], "linestyle": ""}
            ax.plot(*spot.T, markersize=8, markeredgecolor="white", label=name, zorder=3, **look)
        if lines or spots:
            legend(canvas, ax, len(lines) + len(spots))
    return show(canvas, alt=alt, caption=caption)


def plane(
    points: Mapping[str, Any] | None = None,
    *,
    alt: str,
    caption: str | None = None,
    squares: Mapping[str, Any] | None = None,
    arrows: Mapping[str, Any] | None = None,
    sizes: Mapping[str, float] | None = None,
    field: Callable[[torch.Tensor], torch.Tensor] | None = None,
    reach: float | None = None,
    label: str = "energy",
) -> Figure | None:
    """The plane with labelled points, arrows from the origin, and the level lines of a function behind them.

    Args:
        points: name to ``(2,)``.
        alt: the figure in words.
        caption: the sentence under it.
        squares: name to ``(2,)``; a second kind of point, for values beside keys.
        arrows: name to ``(2,)``.
        sizes: name of a point to a weight between 0 and 1, shown as the area of its disc.
        field: from places ``(place, 2)`` to numbers ``(place,)``; ``attnlib`` scores fit after fixing the query.
        reach: the plane is drawn from ``-reach`` to ``reach``; by default to the farthest point and a little more.
        label: what the field's colour means.

    Raises:
        ValueError: a point or arrow is not a pair, or ``sizes`` names an unknown point.
    """
    spots = {name: _pair(name, place) for name, place in (points or {}).items()}
    boxes = {name: _pair(name, place) for name, place in (squares or {}).items()}
    vectors = {name: _pair(name, place) for name, place in (arrows or {}).items()}
    if unknown := set(sizes or {}) - set(spots):
        raise ValueError(f"sizes names points that are not there: {sorted(unknown)}")
    words("alt", alt)
    far = max(
        (float(np.abs(place).max()) for place in (*spots.values(), *boxes.values(), *vectors.values())), default=1.0
    )
    reach = reach or 1.25 * (far or 1.0)
    with style():
        canvas, ax = figure(4.4)
        ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
        if field is not None:
            _levels(canvas, ax, field, reach, label)
        ax.axhline(0, color="#aaaaaa", linewidth=0.8, zorder=1)
        ax.axvline(0, color="#aaaaaa", linewidth=0.8, zorder=1)
        for index, (name, place) in enumerate(vectors.items()):
            colour = PALETTE[(1, 3, 4, 5, 6)[index % 5]]
            look = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "linestyle": DASHES[index % 7], "shrinkB": 0}
            ax.annotate("", tuple(place), (0, 0), arrowprops=look, zorder=3)
            _name(ax, name, place)
        for name, place in boxes.items():
            ax.scatter(*place, s=50, marker="s", color=PALETTE[2], edgecolor="white", zorder=4)
            _name(ax, name, place, lift=4)
        for name, place in spots.items():
            area = 30 + 900 * sizes[name] if sizes and name in sizes else 45
            ax.scatter(*place, s=area, color=PALETTE[0], edgecolor="white", zorder=4, alpha=0.9)
            _name(ax, name, place, lift=math.sqrt(area / math.pi))
    return show(canvas, alt=alt, caption=caption)


def _triangle(ax: Axes, corners: Sequence[str]) -> None:
    edge = _flatten_simplex("corners", np.eye(3)[[0, 1, 2, 0]])
    ax.plot(*edge.T, color="#555555", linewidth=1)
    sides = (("right", "top", (-4, -8)), ("left", "top", (4, -8)), ("center", "bottom", (0, 6)))
    for spot, text, (across, down, lift) in zip(edge[:3], corners, sides, strict=True):
        ax.annotate(text, tuple(spot), lift, textcoords="offset points", ha=across, va=down)


def _flatten_simplex(name: str, weights: Any) -> np.ndarray:
    spots = np.atleast_2d(array(weights))
    if spots.ndim != 2 or spots.shape[1] != 3:
        raise ValueError(f"{name!r} must hold three weights a point, got shape {spots.shape}")
    if not np.allclose(spots.sum(1), 1, atol=1e-4):
        raise ValueError(f"{name!r} is not on the simplex: the weights must sum to one, got {spots.sum(1)[0]:.4f}")
    flat: np.ndarray = spots @ np.array([[0, 0], [1, 0], [0.5, math.sqrt(3) / 2]])
    return flat


def _pair(name: str, place: Any) -> np.ndarray:
    pair = array(place)
    if pair.shape != (2,):
        raise ValueError(f"{name!r} must be a place in the plane (2,), got shape {pair.shape}")
    return pair


def _name(ax: Axes, name: str, place: np.ndarray, lift: float = 2) -> None:
    """Write a name above its place, or below where the place itself is below the middle."""
    up = 1 if place[1] >= 0 else -1
    look: dict[str, Any] = {"ha": "center", "va": "bottom" if up > 0 else "top", "textcoords": "offset points"}
    text = ax.annotate(name, tuple(place), (0, up * (lift + 3)), zorder=5, **look)
    text.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _levels(canvas: Figure, ax: Axes, field: Callable[[torch.Tensor], torch.Tensor], reach: float, label: str) -> None:
    steps = torch.linspace(-reach, reach, 121, dtype=torch.float64)
    places = torch.cartesian_prod(steps, steps)
    values = array(field(places)).reshape(121, 121).T
    filled = ax.contourf(steps, steps, values, levels=12, cmap=SEQUENTIAL, alpha=0.55)
    lines = ax.contour(steps, steps, values, levels=list(filled.levels)[::2], colors="#444444", linewidths=0.7)
    ax.clabel(lines, fontsize=9)
    canvas.colorbar(filled, ax=ax, label=label, shrink=0.8, pad=0.03)
