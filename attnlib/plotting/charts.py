"""Bars and curves: groups and lines told apart by more than colour, spread always drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from attnlib.plotting.canvas import (
    DASHES,
    HATCHES,
    MARKERS,
    PALETTE,
    array,
    check_names,
    figure,
    legend,
    show,
    style,
    words,
)


def bars(
    names: Sequence[str],
    series: Mapping[str, Any],
    *,
    alt: str,
    caption: str | None = None,
    label: str = "weight",
    horizontal: bool = False,
    numbers: str = "{:.2f}",
) -> Figure | None:
    """Bars in groups, one group a name, one bar of it a series, with the value at its end.

    Args:
        names: of the groups.
        series: name to values ``(group,)``, or ``(run, group)``: then the bar is the mean and the whisker runs from the
            lowest run to the highest.
        alt: the figure in words.
        caption: the sentence under it.
        label: of the value axis.
        horizontal: groups down instead of across; for long names.
        numbers: format of the values; an empty string leaves them out.

    Raises:
        ValueError: a series does not have one value a group.
    """
    if not series:
        raise ValueError("series is empty: nothing to draw")
    runs = {name: _runs(name, values, len(names)) for name, values in series.items()}
    words("alt", alt)
    thickness = 0.8 / len(runs)
    height = max(2.0, 0.9 + len(names) * (0.16 + 0.24 * len(runs))) if horizontal else 3.2
    with style():
        canvas, ax = figure(min(height, 9.0))
        for index, (name, values) in enumerate(runs.items()):
            at = np.arange(len(names)) + (index - (len(runs) - 1) / 2) * thickness
            mean, low, high = values.mean(0), values.min(0), values.max(0)
            reach = np.stack([mean - low, high - mean]) if len(values) > 1 else None
            look: dict[str, Any] = {"color": PALETTE[index % 7], "edgecolor": "white", "hatch": HATCHES[index % 7]}
            draw, error = (ax.barh, "xerr") if horizontal else (ax.bar, "yerr")
            drawn = draw(at, mean, thickness * 0.92, label=name, capsize=2, **{error: reach}, **look)
            if numbers:
                ax.bar_label(drawn, [numbers.format(value) for value in mean], padding=2, fontsize=10)
        set_ticks, set_label = (ax.set_yticks, ax.set_xlabel) if horizontal else (ax.set_xticks, ax.set_ylabel)
        set_ticks(range(len(names)), names)
        set_label(label)
        ax.margins(**{"x" if horizontal else "y": 0.16})
        ax.tick_params(axis="y" if horizontal else "x", length=0)
        if horizontal:
            ax.invert_yaxis()
        if len(runs) > 1:
            legend(canvas, ax, len(runs))
    return show(canvas, alt=alt, caption=caption)


def curves(
    x: Any,
    series: Mapping[str, Any],
    *,
    alt: str,
    caption: str | None = None,
    xlabel: str,
    ylabel: str | None = None,
    scale: tuple[str, str] = ("linear", "linear"),
    markers: bool = True,
    ticks: Sequence[Any] | None = None,
    limits: Mapping[float, str] | None = None,
    span: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
) -> Figure | None:
    """Lines over one axis, told apart by colour, dash and marker; several runs as a mean with a band.

    Args:
        x: ``(point,)``, or a series' name to its own ``(point,)``.
        series: name to ``(point,)`` or ``(run, point)``; the band runs from the lowest run to the highest. For panels
            side by side: the panel's y label to such a mapping, and no ``ylabel``.
        alt: the figure in words.
        caption: the sentence under it.
        xlabel: of the x axis.
        ylabel: of the y axis.
        scale: of the two axes, ``"linear"`` or ``"log"``.
        markers: whether to mark the points.
        ticks: what to write at the points of ``x`` (of all series, in order), in place of round
            numbers.
        limits: places on the x axis with the words that stand at a grey line there.
        span: the ends of the y axis, or a panel's y label to them; where none is given, what is drawn decides.

    Raises:
        ValueError: a series does not have one value a point; ``ylabel`` is missing, or there are panels beside it.
    """
    panels: Mapping[str, Any] = series if ylabel is None else {ylabel: series}
    if not all(isinstance(lines, Mapping) for lines in panels.values()):
        raise ValueError("ylabel is missing: give it, or name each panel by its own")
    if ylabel is not None and any(isinstance(values, Mapping) for values in series.values()):
        raise ValueError(f"series has panels, which are their own y labels, beside ylabel={ylabel!r}")
    drawn = {label: {name: _line(x, name, values) for name, values in lines.items()} for label, lines in panels.items()}
    if ticks is not None:
        check_names("ticks", ticks, len(_points(x)))
    words("alt", alt)
    with style():
        canvas, axes = figure(3.4 if len(panels) > 1 else 3.2, columns=len(panels), squeeze=False)
        for ax, (label, lines) in zip(axes[0], drawn.items(), strict=True):
            _draw_lines(ax, lines, markers)
            ax.set(xlabel=xlabel, ylabel=label, xscale=scale[0], yscale=scale[1])
            if ends := span.get(label) if isinstance(span, Mapping) else span:
                ax.set_ylim(*ends)
            for axis in (ax.xaxis, ax.yaxis):
                _plain_numbers(axis)
            if ticks is not None:
                ax.set_xticks(_points(x), [str(tick) for tick in ticks], minor=False)
                ax.xaxis.set_minor_locator(NullLocator())
            for place, told in (limits or {}).items():
                _draw_limit(ax, place, told)
            ax.grid(True)
        if (entries := max(map(len, drawn.values()))) > 1:
            legend(canvas, axes[0][0], entries)
    return show(canvas, alt=alt, caption=caption)


def _points(x: Any) -> np.ndarray:
    """Of one axis, or those of all series in order."""
    at = np.unique(np.concatenate([array(own) for own in x.values()])) if isinstance(x, Mapping) else array(x)
    if at.ndim != 1:
        raise ValueError(f"x must be one axis of points, got shape {at.shape}")
    return at


def _line(x: Any, name: str, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """A series' points and its runs."""
    at = _points(x[name] if isinstance(x, Mapping) else x)
    return at, _runs(name, values, len(at))


def _draw_lines(ax: Axes, lines: Mapping[str, tuple[np.ndarray, np.ndarray]], markers: bool) -> None:
    for index, (name, (at, values)) in enumerate(lines.items()):
        look: dict[str, Any] = {"color": PALETTE[index % 7], "linestyle": DASHES[index % 7]}
        marker = MARKERS[index % 7] if markers else None
        ax.plot(at, values.mean(0), label=name, marker=marker, markersize=5, **look)
        if len(values) > 1:
            ax.fill_between(at, values.min(0), values.max(0), color=PALETTE[index % 7], alpha=0.18, linewidth=0)


def _draw_limit(ax: Axes, place: float, told: str) -> None:
    """A grey line, its words to the left of its upper end."""
    ax.axvline(place, color="#777777", linewidth=1.5)
    ax.annotate(
        told,
        (place, 1),
        (-4, -4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=9,
    )


def _plain_numbers(axis: Any) -> None:
    """1, 2, 5, 10 instead of powers of ten on a logarithmic axis of at most three decades."""
    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and high / low <= 2000:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


def _runs(name: str, values: Any, places: int) -> np.ndarray:
    runs = np.atleast_2d(array(values))
    if runs.ndim != 2 or runs.shape[1] != places:
        raise ValueError(f"series {name!r} must be ({places},) or (run, {places}), got shape {np.shape(array(values))}")
    return runs
