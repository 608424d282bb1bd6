"""A flat drawing kept as a list of shapes: the same list gives SVG text for the page and a PNG for print."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any, TypeAlias
from urllib.parse import quote

__all__ = ["COLOURS", "Picture", "Plane", "Real"]

Real: TypeAlias = int | float

# The light theme of js/widget.css.
COLOURS = {
    "ground": "#ffffff",
    "panel": "#f6f7f9",
    "ink": "#1d2329",
    "soft": "#59626c",
    "line": "#e3e6ea",
    "edge": "#8a929b",
    "query": "#c25200",
    "key": "#0072b2",
    "value": "#00805c",
    "context": "#a8478a",
}


def _fixed(value: Real) -> str:
    """Two decimals; the first rounding takes off what the last bit of ``exp`` may differ in between machines."""
    text = f"{round(value, 6):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _points(points: Sequence[Sequence[Real]]) -> str:
    return " ".join(f"{_fixed(x)},{_fixed(y)}" for x, y in points)


class Picture:
    """Shapes on an opaque ground, in pixels, y downwards. Colours are names in ``COLOURS`` or CSS hex colours."""

    def __init__(self, width: Real, height: Real) -> None:
        self.width, self.height = width, height
        self._shapes: list[tuple[str, dict[str, Any]]] = []
        self.polygon([(0, 0), (width, 0), (width, height), (0, height)], fill="ground")

    def line(
        self, points: Sequence[Sequence[Real]], *, stroke: str = "ink", width: Real = 1, dash: bool = False
    ) -> None:
        """An open line through ``points``."""
        self._shapes.append(("line", {"points": points, "stroke": stroke, "width": width, "dash": dash}))

    def polygon(
        self,
        points: Sequence[Sequence[Real]],
        *,
        fill: str | None = None,
        stroke: str | None = None,
        width: Real = 1,
        dash: bool = False,
    ) -> None:
        """A closed shape through ``points``."""
        style = {"fill": fill, "stroke": stroke, "width": width, "dash": dash}
        self._shapes.append(("polygon", {"points": points, **style}))

    def mosaic(self, boxes: Sequence[tuple[float, float, float, float]], *, fill: str) -> None:
        """Boxes (left, top, width, height) of one colour that touch others without a seam; whole pixels."""
        self._shapes.append(("mosaic", {"boxes": boxes, "fill": fill, "stroke": None, "dash": False}))

    def rectangle(self, x: Real, y: Real, width: Real, height: Real, **style: Any) -> None:
        """A rectangle from its upper left corner; ``style`` as in :meth:`polygon`."""
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], **style)

    def circle(
        self,
        x: Real,
        y: Real,
        radius: Real,
        *,
        fill: str | None = None,
        stroke: str | None = None,
        width: Real = 1,
        dash: bool = False,
    ) -> None:
        """A circle about (x, y)."""
        style = {"fill": fill, "stroke": stroke, "width": width, "dash": dash}
        self._shapes.append(("circle", {"x": x, "y": y, "radius": radius, **style}))

    def text(
        self,
        x: Real,
        y: Real,
        words: str,
        *,
        size: Real = 12,
        fill: str = "ink",
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """A line of text whose baseline starts, has its middle or ends at (x, y)."""
        shape = {"x": x, "y": y, "words": words, "size": size, "fill": fill, "anchor": anchor, "bold": bold}
        self._shapes.append(("text", shape))

    def svg(self) -> str:
        """The drawing as SVG text, the same bytes for the same shapes."""
        size = f"{_fixed(self.width)} {_fixed(self.height)}"
        width, height = size.split()
        shapes = "".join(_svg(kind, shape) for kind, shape in self._shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{width}" height="{height}" '
            f'font-family="system-ui, Helvetica, Arial, sans-serif">{shapes}</svg>'
        )

    def data_uri(self) -> str:
        """The SVG as an address that an image element can show."""
        return "data:image/svg+xml," + quote(self.svg().replace('"', "'"), safe=" ='():;,/&-._")

    def png(self, scale: Real = 2.0) -> str:
        """The drawing as a PNG in base64; needs matplotlib."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width / 100, self.height / 100), dpi=100 * scale)
        canvas: Any = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        for order, (kind, shape) in enumerate(self._shapes):
            _matplotlib(axes, kind, shape, order)
        buffer = io.BytesIO()
        canvas.print_png(buffer, metadata={"Software": None})
        return base64.b64encode(buffer.getvalue()).decode("ascii")


class Plane:
    """A square of a picture as a piece of the plane, x and y from ``-limit`` to ``limit``, with a grid and axes."""

    def __init__(self, picture: Picture, left: Real, top: Real, size: Real, limit: int) -> None:
        self.picture, self.left, self.top, self.size, self.limit = picture, left, top, size, limit
        step = 5 if limit > 12 else 2 if limit > 5 else 1
        for value in range(-(limit // step) * step, limit + 1, step):
            stroke = "edge" if value == 0 else "line"
            picture.line([self.at(value, -limit), self.at(value, limit)], stroke=stroke)
            picture.line([self.at(-limit, value), self.at(limit, value)], stroke=stroke)
            if value and abs(value) < limit:
                x, y = self.at(value, 0)
                picture.text(x, y + 13, f"{value}".replace("-", "−"), size=10, fill="soft", anchor="middle")
                x, y = self.at(0, value)
                picture.text(x - 5, y + 4, f"{value}".replace("-", "−"), size=10, fill="soft", anchor="end")
        picture.rectangle(left, top, size, size, stroke="line")

    def at(self, x: Real, y: Real) -> tuple[float, float]:
        """The pixel of a point of the plane."""
        unit = self.size / (2 * self.limit)
        return self.left + (x + self.limit) * unit, self.top + (self.limit - y) * unit


def _colour(name: str | None) -> str:
    return "none" if name is None else COLOURS.get(name, name)


def _style(shape: dict[str, Any]) -> str:
    style = f' fill="{_colour(shape.get("fill"))}"'
    if shape["stroke"]:
        style += f' stroke="{_colour(shape["stroke"])}" stroke-width="{_fixed(shape["width"])}"'
        style += ' stroke-linejoin="round"' + (' stroke-dasharray="4 3"' if shape["dash"] else "")
    return style


def _svg(kind: str, shape: dict[str, Any]) -> str:
    if kind == "text":
        weight = ' font-weight="600"' if shape["bold"] else ""
        return (
            f'<text x="{_fixed(shape["x"])}" y="{_fixed(shape["y"])}" font-size="{_fixed(shape["size"])}" '
            f'fill="{_colour(shape["fill"])}" text-anchor="{shape["anchor"]}"{weight}>{escape(shape["words"])}</text>'
        )
    if kind == "circle":
        place = f'cx="{_fixed(shape["x"])}" cy="{_fixed(shape["y"])}" r="{_fixed(shape["radius"])}"'
        return f"<circle {place}{_style(shape)}/>"
    if kind == "mosaic":
        path = "".join(f"M{x:g} {y:g}h{width:g}v{height:g}h{-width:g}z" for x, y, width, height in shape["boxes"])
        return f'<path d="{path}"{_style(shape)} shape-rendering="crispEdges"/>'
    name = {"line": "polyline", "polygon": "polygon"}[kind]
    return f'<{name} points="{_points(shape["points"])}"{_style(shape)}/>'


def _matplotlib(axes: Any, kind: str, shape: dict[str, Any], order: int) -> None:
    from matplotlib.patches import Circle, Polygon, Rectangle

    points_per_pixel = 0.72
    if kind == "text":
        align = {"start": "left", "middle": "center", "end": "right"}[shape["anchor"]]
        font = {"size": shape["size"] * points_per_pixel, "weight": "bold" if shape["bold"] else "normal"}
        where = {"ha": align, "va": "baseline", "color": _colour(shape["fill"]), "zorder": order}
        axes.text(shape["x"], shape["y"], shape["words"], parse_math=False, **font, **where)
        return
    style: dict[str, Any] = {
        "facecolor": _colour(shape.get("fill")),
        "edgecolor": _colour(shape["stroke"]),
        "linewidth": shape["width"] * points_per_pixel if shape["stroke"] else 0,
        "linestyle": (0, (4, 3)) if shape["dash"] else "solid",
        "zorder": order,
    }
    if kind == "mosaic":
        for x, y, width, height in shape["boxes"]:
            axes.add_patch(Rectangle((x, y), width, height, antialiased=False, **style))
    elif kind == "circle":
        axes.add_patch(Circle((shape["x"], shape["y"]), shape["radius"], **style))
    else:
        axes.add_patch(Polygon(shape["points"], closed=kind == "polygon", **style))
