"""The front door, gathered from the chapters: a live widget, a card a chapter, the types of the taxonomy to click.

* `{widget} deep-learning/scores` shows the first widget that this notebook has stored, live as it is there.
* `{cards}` has for each chapter a picture of its widget, its title, its minutes and its one sentence.
* `{types}` has the criteria of the taxonomy with their types, each a link to the chapter that is about it.
* `{get}` says how to get site, library and source; `{citation}` is the entry of `CITATION.cff` for a bibliography.
"""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from PIL import Image
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from attnlib.book.taxonomy import CRITERIA
from book._ext.chapters import placed
from book._tools import budget, places, toc
from book._tools.packing import WHOLE, wheel_name

GET = """<ul>
<li><strong>The whole site as one file:</strong> <a href="{up}{whole}" download>{whole}</a>. Unpack it anywhere, a
memory stick will do, and open <code>index.html</code>. It works with the network off: no page asks for anything that is
not in it.</li>
<li><strong>The library:</strong> <a href="{up}_static/{wheel}" download>{wheel}</a>, then
<code>pip install {wheel}</code>. With it a chapter's notebook runs, which the button at its top saves.</li>
{source}</ul>"""
SOURCE = "<li><strong>The source:</strong> <code>git clone {url}</code></li>\n"
ENTRY = """@software{{attnlib,
  author  = {{{authors}}},
  title   = {{{title}}},
  year    = {{{year}}},
  version = {{{version}}}
}}"""
WIDTH = 480  # pixels of a card's picture, shown at half of that


class Picture(nodes.General, nodes.Element):  # type: ignore[misc]
    """Where the picture of a chapter's widget will stand."""


def widget(notebook: Mapping[str, Any]) -> Mapping[str, str]:
    """What the first widget of a notebook has stored, by mime type.

    Raises:
        ValueError: there is no widget.
    """
    for cell in notebook["cells"]:
        if "widget" in cell["metadata"].get("tags", []):
            for output in cell["outputs"]:
                if "text/html" in output.get("data", {}):
                    return {mime: "".join(text) for mime, text in output["data"].items()}
    raise ValueError("no cell tagged widget has stored one")


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def prose(notebook: Mapping[str, Any]) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def title(notebook: Mapping[str, Any]) -> str:
    return next(line[2:].strip() for line in prose(notebook).splitlines() if line.startswith("# "))


class Directive(SphinxDirective):
    def chapters(self) -> dict[Path, Any]:
        """The notebooks of the chapters, on which the page then depends."""
        found = toc.chapters(Path(self.env.app.srcdir))
        for path in found:
            self.env.note_dependency(str(path))
        return {path: read(path) for path in found}

    def link(self, path: Path, text: str) -> nodes.Node:
        named = nodes.inline("", text, classes=["std", "std-doc"])
        options = {"refdomain": "std", "reftype": "doc", "reftarget": f"/{self.env.path2doc(str(path))}"}
        return addnodes.pending_xref("", named, refdoc=self.env.docname, refexplicit=True, refwarn=True, **options)


class Widget(Directive):
    """One widget of one chapter."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.app.srcdir) / "book" / f"{self.arguments[0]}.ipynb"
        if not path.exists():
            raise self.error(f"there is no notebook {self.arguments[0]}")
        self.env.note_dependency(str(path))
        try:
            html = widget(read(path))["text/html"]
        except ValueError as error:
            raise self.error(f"{self.arguments[0]}: {error}") from None
        return [nodes.raw("", html, format="html", classes=["attnlib-front"])]


class Cards(Directive):
    """A card a chapter."""

    def run(self) -> list[nodes.Node]:
        holder = nodes.container(classes=["attnlib-cards"])
        for path, notebook in self.chapters().items():
            card = nodes.container(classes=["attnlib-card"])
            minutes = f"{budget.counted(notebook)[0].minutes} min"
            head = nodes.paragraph("", "", self.link(path, title(notebook)), classes=["attnlib-card-title"])
            head += [nodes.Text(" "), nodes.inline("", minutes, classes=["attnlib-minutes"])]
            sentence = places.fields(prose(notebook))["In one sentence"].strip().lstrip(": ")
            said = nodes.container(classes=["attnlib-card-text"])
            self.state.nested_parse(StringList(sentence.splitlines(), str(path)), self.content_offset, said)
            card += [Picture(path=str(path), title=title(notebook)), head, said]
            holder += card
        return [holder]


class Types(Directive):
    """The criteria, and their types as links."""

    def run(self) -> list[nodes.Node]:
        self.chapters()
        items = nodes.definition_list(classes=["attnlib-types"])
        places_of = placed(Path(self.env.app.srcdir))
        for one in CRITERIA:
            named = nodes.paragraph()
            for kind in one.types:
                named += [self._type(kind.name, kind.meaning, places_of), nodes.Text(" ")]
            term = nodes.term("", "", nodes.strong("", one.title), nodes.Text(f": {one.question}"))
            items += nodes.definition_list_item("", term, nodes.definition("", named))
        return [items]

    def _type(self, name: str, meaning: str, places_of: Mapping[Path, places.Place]) -> nodes.Node:
        path = about(name, places_of)
        text = nodes.inline(classes=["attnlib-type"])
        text += self.link(path, name) if path else nodes.inline("", name, classes=["attnlib-unwritten"])
        text += nodes.Text(f" ({meaning})")
        return text


class Get(Directive):
    """How to get it all; on the site only, where the files are."""

    def run(self) -> list[nodes.Node]:
        up = "../" * self.env.docname.count("/")
        url = self.config.html_theme_options.get("repository_url")
        source = SOURCE.format(url=url) if url else ""
        html = GET.format(up=up, whole=WHOLE, wheel=wheel_name(), source=source)
        return [nodes.raw("", html, format="html", classes=["attnlib-front"])]


class Citation(Directive):
    """The entry for a bibliography."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.app.srcdir) / "CITATION.cff"
        self.env.note_dependency(str(path))
        said = yaml.safe_load(path.read_text("utf-8"))
        authors = " and ".join(
            f"{{{one['name']}}}" if "name" in one else f"{one['family-names']}, {one['given-names']}"
            for one in said["authors"]
        )
        year = str(said["date-released"])[:4]
        text = ENTRY.format(title=said["title"], authors=authors, version=said["version"], year=year)
        return [nodes.literal_block(text, text, language="bibtex")]


def about(kind: str, places_of: Mapping[Path, places.Place]) -> Path | None:
    """The chapter to read on a type: one whose title names it, else the first that has it."""
    having = [path for path, place in places_of.items() if kind in place.types]
    entitled = [path for path in having if kind in places.named(title(read(path)))]
    return next(iter([*entitled, *having]), None)


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Pictures as files of the site; elsewhere than there no pictures, and no widget that would not live."""
    site = app.builder.name == "html"
    for node in list(doctree.findall(nodes.raw)):
        if "attnlib-front" in node["classes"] and not site:
            node.parent.remove(node)
    for node in list(doctree.findall(Picture)):
        if not site:
            node.parent.remove(node)
            continue
        path = Path(node["path"])
        name = f"{path.parent.name}-{path.stem}.png"
        folder = Path(app.outdir) / "_static" / "cards"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(small(base64.b64decode(widget(read(path))["image/png"])))
        up = "../" * app.builder.get_target_uri(docname).count("/")
        alt = f"The widget of the chapter {node['title']}"
        html = f'<img src="{up}_static/cards/{name}" alt="{alt}" loading="lazy" width="{WIDTH // 2}">'
        node.replace_self(nodes.raw("", html, format="html"))


def small(png: bytes) -> bytes:
    """The upper part of a picture, as wide as a card, with few colours."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    height = round(picture.height * WIDTH / picture.width)
    picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS).crop((0, 0, WIDTH, round(WIDTH * 0.6)))
    if height < WIDTH * 0.6:
        picture = picture.crop((0, 0, WIDTH, height))
    buffer = io.BytesIO()
    picture.quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(Picture)
    app.add_directive("widget", Widget)
    app.add_directive("cards", Cards)
    app.add_directive("types", Types)
    app.add_directive("get", Get)
    app.add_directive("citation", Citation)
    app.connect("doctree-resolved", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
