"""Small repairs of what other projects write, for those who hear a page instead of seeing it."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

WORD = "[\u0370-\u03ff\u1f00-\u1fff\u0300-\u036f\u2019]"
GREEK = re.compile(f"{WORD}{{3,}}(?:[ ,;.\u00b7]+{WORD}{{1,}})*")
SILENT = {"script", "style", "pre", "code", "svg", "math", "textarea", "option"}


def mend_tables(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Of a data frame's table: the empty corner is no header, nothing can be read out; its own style is not XML."""
    for node in list(doctree.findall(nodes.raw)):
        text = node.astext()
        if "text_html" in node.get("classes", []) and "dataframe" in text:
            text = re.sub(r"<style scoped>.*?</style>", "", text, flags=re.S).replace("<th></th>", "<td></td>")
            node.children = [nodes.Text(text)]


def mend_body(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Lists, wide tables and empty corners, in what a page shows.

    The entries of the bibliography are items of a list; the role that they are given is deprecated. A table that
    scrolls must take the keyboard's focus, or it cannot be scrolled without a mouse; `wide.js` gives it a name, and
    takes the focus from those that fit. An empty cell is not a header. All exercises would have the same identifier.
    The bar over folded code says what is folded; the label that it is given hides that.
    """
    body = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')
    body = body.replace('class="pst-scrollable-table-container"', 'class="pst-scrollable-table-container" tabindex="0"')
    body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    body = re.sub(r' id="(?:exercise|solution)-content"', "", body)
    context["body"] = greek(re.sub(r"<th(\b[^>]*)>(\s*(?:<p>\s*</p>)?\s*)</th>", r"<td\1>\2</td>", body))


def greek(html: str) -> str:
    """Greek words in the text marked as Greek, so that they are read out so; formulas, code and scripts as they are.

    >>> greek("<p>The word λόγος, and α.</p>")
    '<p>The word <span lang="grc">λόγος</span>, and α.</p>'
    """
    inside = ""
    pieces = re.split(r"(<[^>]*>)", html)
    for place, piece in enumerate(pieces):
        if piece.startswith("<"):
            tag = re.match(r"</?([\w-]+)", piece)
            if tag and not inside and tag[1] in SILENT and not piece.endswith("/>"):
                inside = "" if piece.startswith("</") else tag[1]
            elif tag and inside and piece.startswith(f"</{inside}"):
                inside = ""
        elif not inside:
            pieces[place] = GREEK.sub(r'<span lang="grc">\g<0></span>', piece)
    return "".join(pieces)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-resolved", mend_tables)
    app.connect("html-page-context", mend_body)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
