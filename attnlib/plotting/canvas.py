"""What every figure shares: the style, the canvas, its words, and how it is shown."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
import seaborn
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

# Okabe and Ito's colours without the yellow, which is too pale for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 3)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---", "ooo")
WIDTH = 5.2  # inches: 11 pt type is then 10 px high on a screen of 390 px
PIXELS_PER_INCH = 108  # of the page; the file holds twice as many for sharp screens
TOLD = "told in the cell's metadata"  # given as alt: the words stand under `mystnb`, and the contract looks for them
SEQUENTIAL, DIVERGING = "mako_r", "vlag"  # seaborn's: light is little; white is zero

_RC: dict[Any, Any] = {
    "axes.edgecolor": "#555555",
    "axes.grid": False,
    "axes.labelsize": 11,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "grid.color": "#dddddd",
    "hatch.linewidth": 0.6,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The book's style for the length of a ``with`` block, whatever matplotlib was told before.

    Figures of your own are drawn inside it, on ``figure(...)``, and handed to :func:`show`.
    """
    with matplotlib.rc_context(), seaborn.axes_style("white"):
        matplotlib.rcParams.update(_RC)
        yield


def figure(height: float = 3.2, *, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of the book's width and its axes, as ``plt.subplots`` gives them, without ``pyplot``.

    Args:
        height: inches, of the whole figure.
        rows: of axes.
        columns: of axes.
        options: passed on to ``Figure.subplots`` (``sharex``, ``width_ratios``, ...).
    """
    with style():
        canvas = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
        return canvas, canvas.subplots(rows, columns, **options)


def show(figure: Figure, *, alt: str, caption: str | None = None) -> Figure | None:
    """Display a figure with its words, or return it where there is no notebook.

    The output's metadata carry ``{"attnlib": {"alt": ..., "caption": ...}}``; the build of the book takes alternative
    text and caption from there, so that they stand in one place, the call.

    Args:
        figure: what to show. It is not changed.
        alt: what the figure shows, in words, for a reader who does not see it. ``plotting.TOLD`` where a cell of a
            notebook says it, and the caption, in its metadata (``mystnb``: ``image.alt`` and ``figure.caption``), so
            that long texts need not stand in the code.
        caption: the sentence under the figure.

    Raises:
        ValueError: ``alt`` or ``caption`` is empty, or the caption stands here and the words elsewhere.
    """
    said = {"alt": words("alt", alt)}
    if caption is not None and alt == TOLD:
        raise ValueError("caption stands in the cell's metadata where alt is plotting.TOLD")
    if caption is not None:
        said["caption"] = words("caption", caption)
    if not _in_notebook():
        return figure
    from IPython.display import display

    width = round(figure.get_size_inches()[0] * PIXELS_PER_INCH)  # the height follows, on narrow screens too
    elsewhere = said["alt"] == TOLD
    text = "Figure" if elsewhere else f"Figure: {said['alt']}"
    data = {"image/png": base64.b64encode(png(figure)).decode(), "text/plain": text}
    metadata = {"image/png": {"width": width}} | ({} if elsewhere else {"attnlib": said})
    display(data, raw=True, metadata=metadata)  # type: ignore[no-untyped-call]
    return None


def png(figure: Figure) -> bytes:
    """The figure as a PNG file: opaque, the same bytes for the same figure, without the writer's name in it.

    It has at most 256 colours, the best for it: the eye sees no difference, and the file is a third of what it was.
    """
    full, small = io.BytesIO(), io.BytesIO()
    with style():
        figure.savefig(full, format="png", dpi=2 * PIXELS_PER_INCH, transparent=False)
    colours = Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(small, "PNG", optimize=True, dpi=(2 * PIXELS_PER_INCH,) * 2)
    return small.getvalue()


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return get_ipython() is not None


def words(name: str, text: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{name} must say in words what the figure shows, got {text!r}")
    return text.strip()


def array(values: Any) -> np.ndarray:
    if isinstance(values, (list, tuple)):
        values = [array(value) if isinstance(value, torch.Tensor) else value for value in values]
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64)
    return np.asarray(values, dtype=float)


def check_names(name: str, labels: Sequence[str] | None, expected: int) -> None:
    if labels is not None and len(labels) != expected:
        raise ValueError(f"{name} has {len(labels)} names for {expected} places")


def legend(canvas: Figure, ax: Axes, entries: int) -> None:
    handles, labels = ax.get_legend_handles_labels()
    columns = max(1, min(entries, 58 // (max(map(len, labels)) + 7)))  # what fits above the axes
    canvas.legend(handles, labels, loc="outside upper center", ncols=columns, handlelength=2.6)
