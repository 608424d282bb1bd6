"""Numbered equations of several lines.

Sphinx wraps a formula of several lines in `split`, in which `\\tag` is not allowed. A formula that carries its own
number is therefore handed to the page as it stands.
"""

from docutils import nodes
from sphinx.application import Sphinx


def unwrap_tagged(app: Sphinx, doctree: nodes.document) -> None:
    """Give each tagged formula of several lines its own delimiters, and tell Sphinx to leave it alone."""
    for node in doctree.findall(nodes.math_block):
        text = node.astext().strip()
        if r"\tag" in text and r"\\" in text and not node.get("nowrap"):
            node["nowrap"] = True
            node.children = [nodes.Text(rf"\[{text}\]")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", unwrap_tagged)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
