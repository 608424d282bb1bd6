"""Small repairs of what other projects write, for those who hear a page instead of seeing it."""

from docutils import nodes
from sphinx.application import Sphinx


def fill_table_corners(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """The empty corner of a data frame's table is no header: nothing can be read out there."""
    for node in list(doctree.findall(nodes.raw)):
        if "text_html" in node.get("classes", []) and "<th></th>" in node.astext():
            node.children = [nodes.Text(node.astext().replace("<th></th>", "<td></td>"))]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", fill_table_corners)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
