"""What is stored of a widget: its state and what it draws. Script and style stay in the library.

A notebook that carried them would be stale whenever a line of them changes; the site puts one file a widget on its
pages (`book/_ext/widgets.py`). What the widget draws is made by its own script, run in Node on a small stand-in for a
page, and for print a browser takes a picture of that.
"""

import base64
import hashlib
import io
import math
import re
import sys
from collections import Counter
from pathlib import Path

from nbformat import NotebookNode
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import chromium
import node

LIVE = re.compile(
    r'<div class="attnlib-static" data-attnlib="(?P<stem>\w+)">\n'
    r"<style>\n(?P<style>.*?)</style>\n"
    r'<div class="attnlib-picture">.*?</div>\n'
    r'<script type="application/json">(?P<state>.*?)</script>\n'
    r"<script>\n(?P<script>.*?)</script>\n</div>",
    re.DOTALL,
)
STORED = """<div class="attnlib-static" data-attnlib="{stem}">
<div class="attnlib-picture">
{view}</div>
<script type="application/json">{state}</script>
</div>"""
PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><style>{style}</style></head>
<body style="margin:0;width:760px">{html}</body></html>"""
_RENDER = """
const { drawn } = await import(data.shim);
return data.views.map(([script, stem, state]) => drawn(data.scripts[script], stem, state));
"""
_COPY = re.compile(r"(attnlib-[0-9a-f]{8})x\d+-")


def rendered(live: list[str]) -> list[str]:
    """What live outputs draw, as well-formed markup; ids in it begin with a digest of the state."""
    found = [match for html in live if (match := LIVE.search(html))]
    if not found:
        return []
    scripts = list(dict.fromkeys(match["script"] for match in found))
    views = [(scripts.index(match["script"]), match["stem"], match["state"]) for match in found]
    shim = Path(__file__).with_suffix(".js").as_uri()
    drawn = node.run(_RENDER, {"shim": shim, "scripts": scripts, "views": views})
    copies: Counter[str] = Counter()
    made = []
    for match, view in zip(found, drawn, strict=True):
        digest = hashlib.sha256(f"{match['stem']} {match['state']}".encode()).hexdigest()[:8]
        copies[digest] += 1
        again = f"x{copies[digest]}" if copies[digest] > 1 else ""
        made.append(view.replace("attnlib-i-", f"attnlib-{digest}{again}-"))
    return made


def stored(outputs: list[str]) -> list[str]:
    """Each html as it is stored: of a live widget the static view and the state; anything else as it is."""
    views = iter(rendered(outputs))

    def store(match: re.Match[str]) -> str:
        return STORED.format(stem=match["stem"], view=next(views), state=match["state"])

    return [LIVE.sub(store, html, count=1) for html in outputs]


def comparable(html: str) -> str:
    """A stored or a live output as two are compared: the widget's script may differ if what it draws does not."""
    if 'class="attnlib-static"' not in html:
        return html
    return _COPY.sub(r"\1-", stored([html])[0])


def widgets(notebook: NotebookNode) -> list[NotebookNode]:
    """The outputs that show a widget."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if 'class="attnlib-static"' in output.get("data", {}).get("text/html", "")]


def photograph(notebook: NotebookNode, old: NotebookNode | None = None) -> NotebookNode:
    """The notebook with a picture of each widget; that of ``old`` where the widget draws the same as there.

    Fonts differ between machines, and so would the pictures.
    """
    known = {output.data["text/html"]: output for output in widgets(old)} if old else {}
    wanting = []
    for output in widgets(notebook):
        before = known.get(output.data["text/html"], {})
        if "image/png" in before.get("data", {}):
            output.data["image/png"] = before.data["image/png"]
            output.metadata["image/png"] = before.metadata["image/png"]
        else:
            wanting.append(output)
    if wanting:
        _shoot(wanting)
    return notebook


def _shoot(outputs: list[NotebookNode]) -> None:
    from attnlib.widgets import bundle  # what needs no picture need not wait for torch

    with chromium.started() as browser:
        page = browser.new_page(viewport={"width": 760, "height": 600}, device_scale_factor=2)
        for output in outputs:
            html = output.data["text/html"]
            stem = re.search(r'data-attnlib="(\w+)"', html)[1]  # type: ignore[index]
            page.set_content(PAGE.format(style=bundle.style(bundle.member(stem)), html=html))
            shot = page.locator(".attnlib-picture")
            size = shot.bounding_box() or {}
            # In a window as high as the widget: else a bar that keeps to its lower edge lies over what is there.
            page.set_viewport_size({"width": 760, "height": max(600, math.ceil(size["height"]))})
            output.data["image/png"] = _small(shot.screenshot(animations="disabled"))
            output.metadata["image/png"] = {name: round(size[name]) for name in ("width", "height")}


def _small(png: bytes) -> str:
    """The picture with the 128 colours that are best for it, in one line of base64."""
    made = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return base64.b64encode(made.getvalue()).decode()
