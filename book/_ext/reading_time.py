"""The reading times, on the card of a chapter and in the sidebar, counted when the page is built."""

import json
import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1] / "_tools"))
import budget
import toc

SUMMARY = '<summary aria-label="The pages of this section">'
ENTRY = re.compile(r'<a class="[^"]*\breference internal\b[^"]*" href="([^"]*)">\s*(.*?)\s*</a>', re.S)


def add(app: Sphinx, docname: str, source: list[str]) -> None:
    if app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = json.dumps(budget.on_card(json.loads(source[0])))


def count(app: Sphinx) -> None:
    """The minutes of each chapter, by its address from the root of the site."""
    app.attnlib_minutes = {  # type: ignore[attr-defined]
        path.relative_to(app.srcdir).with_suffix(".html").as_posix(): minutes(path)
        for path in toc.chapters(Path(app.srcdir))
    }


def minutes(path: Path) -> int:
    return budget.counted(json.loads(path.read_text("utf-8")))[0].minutes


def tell(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Write the minutes beside the chapters in the sidebar; and what its arrows do, which have no text."""
    draw: Callable[..., Any] | None = context.get("generate_toctree_html")
    if app.builder.name != "html" or draw is None:
        return
    here = app.builder.get_target_uri(pagename)
    found: dict[str, int] = app.attnlib_minutes  # type: ignore[attr-defined]

    def timed(entry: re.Match[str]) -> str:
        href, text = entry.groups()
        target = here if href == "#" else posixpath.normpath(posixpath.join(posixpath.dirname(here), href))
        if target not in found:
            return entry[0]
        return entry[0].replace(text, f'{text} <span class="attnlib-minutes">{found[target]} min</span>')

    def drawn(*args: Any, **options: Any) -> Any:
        made = draw(*args, **options)
        if "sidebar" not in (*args[:1], options.get("kind")):
            return made
        return ENTRY.sub(timed, str(made).replace("<summary>", SUMMARY))

    context["generate_toctree_html"] = drawn


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", count)
    app.connect("source-read", add)
    app.connect("html-page-context", tell, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
