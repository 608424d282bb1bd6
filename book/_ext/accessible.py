"""Small repairs of what other projects write, for those who hear a page instead of seeing it."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def fill_table_corners(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """The empty corner of a data frame's table is no header: nothing can be read out there."""
    for node in list(doctree.findall(nodes.raw)):
        if "text_html" in node.get("classes", []) and "<th></th>" in node.astext():
            node.children = [nodes.Text(node.astext().replace("<th></th>", "<td></td>"))]


def name_list_items(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """The entries of the bibliography are items of a list; the role that they are given is deprecated."""
    context["body"] = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", fill_table_corners)
    app.connect("html-page-context", name_list_items)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
