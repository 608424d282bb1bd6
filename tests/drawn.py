"""Widgets without a browser: what one draws, as a tree of elements; and the pages' arithmetic, called from here."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from attnlib.widgets import bundle
from book._tools import node, static_view

MATH = bundle.HERE / "js" / "math"


def draw(*widgets: Any) -> list[ElementTree.Element]:
    """What each widget draws, all in one Node."""
    return [ElementTree.fromstring(view) for view in static_view.rendered([each._repr_html_() for each in widgets])]


def text(element: ElementTree.Element) -> str:
    return "".join(element.itertext()).strip()


def found(view: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """The elements of a class."""
    return [each for each in view.iter() if kind in each.get("class", "").split()]


def rows(view: ElementTree.Element, kind: str = "attnlib-table") -> list[list[str]]:
    """The body of a table as texts; empty where the table is hidden."""
    table = found(view, kind)[0]
    return [[text(cell) for cell in row] for row in table.findall("tbody/tr") if table.get("hidden") is None]


def arithmetic(*files: str, folder: Path = MATH) -> Callable[..., Any]:
    """``call("(data) => math.softmax(data)", data)`` with the functions of files of ``attnlib/widgets/js/math``."""
    at = [(folder / f"{name}.js").as_uri() for name in files]

    def call(function: str, data: Any = None) -> Any:
        modules = "Promise.all(data.at.map((each) => import(each)))"
        script = f"const math = Object.assign({{}}, ...(await {modules}));\nreturn ({function})(data.given);"
        return node.run(script, {"at": at, "given": data})

    return call


def mutated(folder: Path, file: str, right: str, wrong: str) -> Path:
    """A copy of the pages' arithmetic in a folder, with other words in one file: for ``arithmetic``."""
    made = shutil.copytree(MATH, folder / "math")
    source = (MATH / f"{file}.js").read_text("utf-8")
    assert right in source
    (made / f"{file}.js").write_text(source.replace(right, wrong), "utf-8")
    return made
