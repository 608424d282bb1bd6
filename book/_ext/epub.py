"""The book as one file for readers without a browser: formulas as MathML, pictures in place of widgets, a version."""

import re
from html import unescape
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.builders.epub3 import Epub3Builder
from sphinx.config import Config
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

LOGGER = logging.getLogger(__name__)
SYNONYMS = {r"\{(aligned|gathered)\}": "{split}", r"\\arg(?![a-z])": r"\\operatorname{arg}"}
ITEM = re.compile(r'(?P<start><item id="[^"]+" href="(?P<href>[^"]+\.xhtml)" media-type="application/xhtml\+xml") />')
LATE = ("exercise.css", "mystnb.")
COVER = ("_static/cover/social-card.png", "")  # a page of its own has no template here
SUMMARY = re.compile(r'<summary>\s*<p class="collapsed ([^"]*)">(.*?)</p>.*?</summary>', re.DOTALL)
TAG = re.compile(r"\\tag\{([^}]*)\}")


def mathml(node: nodes.Element, display: str) -> str:
    """A formula as MathML; a warning, and so a failed build, if it cannot be had."""
    text = TAG.sub("", re.sub(r"^\\\[|\\\]$", "", node.astext().strip()))
    for ours, understood in SYNONYMS.items():
        text = re.sub(ours, understood, text)
    try:
        made = convert(text, display=display)
    except Exception as error:
        LOGGER.warning("no MathML for %r: %r", text, error, location=node)
        return ""
    if left := re.search(r"<m[ino]>(\\[a-zA-Z]+|&)</m", made):
        LOGGER.warning("no MathML for %s in %r", left.group(1), text, location=node)
    return made


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    number = TAG.search(node.astext())
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(mathml(node, "block"))
    self.body.append(f'<p class="eqno">({number.group(1)})</p></div>' if number else "</div>")
    raise nodes.SkipNode


class Book(Epub3Builder):
    """Sphinx's own, whose list of files also says which pages hold formulas or drawings, and which is the cover.

    And in whose pages a folded cell has one line for a title: there is no style sheet here that would hide the second.
    """

    def build_content(self) -> None:
        for page in Path(self.outdir).rglob("*.xhtml"):
            page.write_text(
                SUMMARY.sub(r'<summary><span class="\1">\2</span></summary>', page.read_text("utf-8")), "utf-8"
            )
        super().build_content()
        manifest = Path(self.outdir, "content.opf")
        text = ITEM.sub(self._with_properties, manifest.read_text("utf-8"))
        cover = f'href="{COVER[0]}" media-type="image/png"'
        manifest.write_text(text.replace(cover, f'{cover} properties="cover-image"'), "utf-8")

    def build_toc(self) -> None:
        super().build_toc()
        contents = Path(self.outdir, "toc.ncx")  # which Sphinx gives the name of the identifier, for the identifier
        text = contents.read_text("utf-8").replace(
            f'content="{self.config.epub_uid}"', f'content="{self.config.epub_identifier}"'
        )
        contents.write_text(text, "utf-8")

    def _with_properties(self, item: re.Match[str]) -> str:
        page = Path(self.outdir, unquote(unescape(item["href"]))).read_text("utf-8")
        held = [kind for tag, kind in (("<math", "mathml"), ("<svg", "svg")) if tag in page]
        return f'{item["start"]} properties="{" ".join(held)}"/>' if held else item[0]


def drop_absent(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """No page names a style sheet that comes after this file has been closed."""
    if app.builder.name == Book.name:
        context["css_files"] = [
            each for each in context.get("css_files", []) if not any(name in str(each) for name in LATE)
        ]


def look_at_formulas(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """A formula that the one file cannot show is told of when the site is built, too."""
    if app.builder.name != Book.name:
        for node in doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block)):
            mathml(node, "inline")


def name_version_and_cover(app: Sphinx, config: Config) -> None:
    config.version = config.release = version("attnlib")
    config.epub_cover = COVER


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_builder(Book, override=True)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.add_config_value("epub_math_renderer", "mathml", "env")
    app.connect("config-inited", name_version_and_cover)
    app.connect("doctree-resolved", look_at_formulas)
    app.connect("html-page-context", drop_absent, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
