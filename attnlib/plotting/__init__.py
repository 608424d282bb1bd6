"""The book's one picture grammar: queries down, keys across, one palette, and words for those who do not see it.

Every function draws one figure and hands it to :func:`show`. ``alt`` has no default: a figure without words for it is
not finished. In a notebook the figure is displayed and the call returns ``None``; elsewhere the call returns the
``matplotlib.figure.Figure``. Nothing is drawn through ``pyplot``, so no setting of yours is read or changed.
"""

from attnlib.plotting.canvas import PALETTE, TOLD, figure, png, show, style
from attnlib.plotting.charts import bars, curves
from attnlib.plotting.diagrams import matrix, network, tree
from attnlib.plotting.maps import alignment, heatmap
from attnlib.plotting.planes import plane, simplex

__all__ = [
    "PALETTE",
    "TOLD",
    "alignment",
    "bars",
    "curves",
    "figure",
    "heatmap",
    "matrix",
    "network",
    "plane",
    "png",
    "show",
    "simplex",
    "style",
    "tree",
]
