"""Script and style of the widgets: one file a widget in the built site, on exactly the pages that hold it.

A notebook stores a widget's state and what it draws. The files are written into the built site and not into a `_static`
folder of the source, because Jupyter Book loads every script that it finds there on every page.
"""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import attnlib.widgets

HELD = re.compile(r'class="attnlib-static" data-attnlib="(\w+)"')
CLASSES = {path.stem: name for name, path in attnlib.widgets.MEMBERS.items()}


def write(app: Sphinx, name: str, text: str, folder: str = "attnlib") -> str:
    """A file of the site, written once; its address for Sphinx."""
    path = Path(app.outdir) / "_static" / folder / name
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return f"{folder}/{name}"


def equip(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Give a page the scripts of the widgets that stand on it."""
    if app.builder.name != "html":
        return
    for stem in sorted(set(HELD.findall(context.get("body", "")))):
        widget = getattr(attnlib.widgets, CLASSES[stem])
        app.add_css_file(write(app, f"{stem}.css", widget._css))
        app.add_js_file(write(app, f"{stem}.js", widget._script), loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", equip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
