"""The chapters and their places in the taxonomy: `{chapters}` makes a table of them from their cards.

It also leaves them in the page as data, `#attnlib-chapters`, for the widget that maps the taxonomy. So the stored state
of that widget holds no chapter, and a new one changes no other notebook.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from attnlib.book.taxonomy import CRITERIA, WORKS
from book._tools import places, toc

LOGGER = logging.getLogger(__name__)


class Data(nodes.General, nodes.Element):  # type: ignore[misc]
    """Where the chapters will stand as data, when their titles and addresses are known."""


def chapters(root: Path) -> tuple[dict[Path, places.Place], list[tuple[Path, str]]]:
    """Every notebook outside of the appendix and its place, in the order of the book; and what is wrong, and where."""
    found, faults = {}, []
    for path in toc.chapters(root):
        try:
            found[path] = places.place(json.loads(path.read_text("utf-8")))
        except ValueError as error:
            faults.append((path, f"{path.name}: {error}"))
    return found, faults


def placed(root: Path) -> dict[Path, places.Place]:
    """Those that are somewhere in the taxonomy, or about a part of the model."""
    return {path: place for path, place in chapters(root)[0].items() if place.types or place.part}


def about(part: str) -> str:
    return f"the {part}" if part else ""


class Chapters(SphinxDirective):
    """A row a chapter: its title, its types by criterion, the part of the model that it is about."""

    def run(self) -> list[nodes.Node]:
        found = placed(Path(self.env.app.srcdir))
        for path in found:
            self.env.note_dependency(str(path))
        heads = headings()
        group = nodes.tgroup(
            "", *(nodes.colspec(colwidth=width) for width in (30, 16, 14, 14, 14, 12)), cols=len(heads)
        )
        group += nodes.thead("", row(*map(nodes.Text, heads)))
        group += nodes.tbody("", *(self._row(path, place) for path, place in found.items()))
        return [nodes.table("", group), Data()]

    def _row(self, path: Path, place: places.Place) -> nodes.row:
        options = {"refdomain": "std", "reftype": "doc", "reftarget": f"/{self.env.path2doc(str(path))}"}
        title = nodes.inline(classes=["std", "std-doc"])
        link = addnodes.pending_xref("", title, refdoc=self.env.docname, refexplicit=False, refwarn=True, **options)
        return row(link, *map(nodes.Text, cells(place)))


def headings() -> list[str]:
    return ["Chapter", *(one.short for one in CRITERIA), "Part of the model"]


def cells(place: places.Place) -> list[str]:
    """What a row says behind the title."""
    types = (", ".join(name for name in one.names if name in place.types) or "any" for one in CRITERIA)
    return [*types, about(place.part)]


def markdown(root: Path, title: Callable[[Path], str]) -> str:
    """The same table in Markdown, for a notebook that somebody saves."""
    rows = [headings(), ["---"] * len(headings())]
    rows += [[title(path), *cells(place)] for path, place in placed(root).items()]
    return "\n".join(f"| {' | '.join(one)} |" for one in rows)


def row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """A chapter without a place is a warning."""
    for path, fault in chapters(Path(app.srcdir))[1]:
        LOGGER.warning("%s", fault, location=env.path2doc(str(path)))


def leave_data(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """The chapters as data in the page: title, address from here, types, and the works of the map that they treat."""
    for node in list(doctree.findall(Data)):
        if app.builder.format != "html" or app.builder.name == "epub":
            node.parent.remove(node)
            continue
        data = [entry(app, docname, path, place) for path, place in placed(Path(app.srcdir)).items()]
        text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
        html = f'<script type="application/json" id="attnlib-chapters">{text}</script>'
        node.replace_self(nodes.raw("", html, format="html"))


def entry(app: Sphinx, docname: str, path: Path, place: places.Place) -> dict[str, Any]:
    target = app.env.path2doc(str(path))
    return {
        "title": app.env.titles[target].astext(),
        "href": app.builder.get_relative_uri(docname, target),
        "by": f"chapter on {about(place.part)}" if place.part else "chapter",
        "types": place.types,
        "works": [work.name for work in WORKS if work.source in place.sources],
    }


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(Data)
    app.add_directive("chapters", Chapters)
    app.connect("env-updated", check)
    app.connect("doctree-resolved", leave_data)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
