"""From each map one short link to the page on how to read one.

It comes in when the book is built, so no notebook stores it, and a widget in a kernel has none. A map is a widget whose
script uses ``js/maps.js``, or a figure that its cell draws as an alignment or as a heatmap of queries and keys.
"""

import re
from functools import cache
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import attnlib.widgets
from attnlib.widgets import bundle

PAGE = "book/reading-maps"
WORDS = "How to read a map"
WIDGET = re.compile(
    r'(<div class="attnlib-static" data-attnlib="(\w+)">.*?'
    r'<script type="application/json">[^<]*</script>\n)(</div>)',
    re.DOTALL,
)
# One with axes of its own is a table of something else.
FIGURE = re.compile(r"plotting\.(?:alignment|heatmap)\((?![\s\S]*\baxes=)")


@cache
def stems() -> frozenset[str]:
    """The widgets that show maps."""
    paths = (bundle.HERE / path.with_suffix(".js") for path in attnlib.widgets.MEMBERS.values())
    return frozenset(path.stem for path in paths if "js/maps.js" in path.read_text("utf-8"))


def with_links(body: str, address: str) -> str:
    """A page's body with a link at the foot of each map."""
    link = f'<p class="attnlib-how"><a class="reference internal" href="{address}">{WORDS}</a></p>\n'
    return WIDGET.sub(lambda found: found[1] + link * (found[2] in stems()) + found[3], body)


def link_widgets(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    known = PAGE in app.env.all_docs and pagename != PAGE
    if app.builder.name == "html" and known and 'class="attnlib-static"' in context.get("body", ""):
        context["body"] = with_links(context["body"], app.builder.get_relative_uri(pagename, PAGE))


def link_figures(app: Sphinx, doctree: nodes.document) -> None:
    """The link at the end of the caption, before references are resolved; the EPUB and print have it too."""
    if app.env.docname == PAGE or not (app.srcdir / f"{PAGE}.ipynb").exists():
        return
    for cell in doctree.findall(lambda node: isinstance(node, nodes.container) and "cell" in node["classes"]):
        source = next(cell.findall(nodes.literal_block), None)
        if source is None or not FIGURE.search(source.astext()):
            continue
        for caption in cell.findall(nodes.caption):
            words = nodes.inline("", WORDS, classes=["std", "std-doc"])
            options = {"refdomain": "std", "reftype": "doc", "reftarget": f"/{PAGE}", "refexplicit": True}
            link = addnodes.pending_xref("", words, refdoc=app.env.docname, refwarn=True, **options)
            caption += [nodes.Text(" "), link, nodes.Text(".")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", link_figures)
    app.connect("html-page-context", link_widgets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
