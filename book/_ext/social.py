"""What a page says of itself to those who only see a link to it: title, one sentence, a picture.

A chapter's sentence is the one on its card; another page's is its first, or the one in which it says what *this book*
is. A question alone on its line, such as the one above the front page's widget, says nothing of the page. Where the
site has an address (`html.baseurl` in `_config.yml`) links to pictures and pages are whole, and there are a map of the
site and a rule for robots. Without one, what would need an address is left out.
"""

import base64
import html
import io
import re
from pathlib import Path
from typing import Any

import matplotlib
from docutils import nodes
from PIL import Image, ImageDraw, ImageFont
from sphinx.application import Sphinx
from sphinx.config import Config

from book._ext import front

LONGEST = 240  # letters; search engines show fewer, messengers about as many
PICTURE = "_static/cover/social-card.png"
SHOWN = "book/deep-learning/keys-queries-values.ipynb"  # whose widget is on the card
SENTENCE = "In one sentence"
OF_ITSELF = "This book "
FRONT = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url={target}">
{tags}
<link rel="icon" href="{root}_static/favicon.svg"></head>
<body style="font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 34rem; padding: 0 1rem">
<h1>{title}</h1>
<p>{text}</p>
<p><a href="{target}">{link}</a></p></body></html>
"""
REFRESH = '<meta http-equiv="refresh"'


def draw(app: Sphinx, config: Config) -> None:
    """The card, which is the cover of the one-file book too: the title beside a widget, 1200 x 630."""
    stored = Path(app.srcdir, SHOWN)
    folder = Path(app.doctreedir).parent / "vendored-cover"
    card = Image.new("RGB", (1200, 630), "#ffffff")
    pen = ImageDraw.Draw(card)
    for size, top, text in (
        (76, 90, "Attention,\nrunning"),
        (34, 330, "How attention mechanisms\nwork: derived, computed,\ntested"),
    ):
        font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)
        pen.multiline_text((60, top), text, fill="#14181e", font=font, spacing=16)
    if stored.exists():
        shot = Image.open(io.BytesIO(base64.b64decode(front.widget(front.read(stored))["image/png"]))).convert("RGB")
        shot = shot.resize((600, round(shot.height * 600 / shot.width)), Image.Resampling.LANCZOS)
        card.paste(shot.crop((0, 0, 600, 570)), (570, 30))
    (folder / "cover").mkdir(parents=True, exist_ok=True)
    card.quantize(128).save(folder / "cover" / "social-card.png", optimize=True)
    config.html_static_path.append(str(folder))


def describe(doctree: nodes.document | None) -> str:
    """What the page is, in a sentence or two, cut at a word if it is long."""
    if doctree is None:
        return ""
    for item in doctree.findall(nodes.definition_list_item):
        if item[0].astext().strip(" .") == SENTENCE:
            return shortened(plain(item[-1]))
    for paragraph in doctree.findall(nodes.paragraph):
        text = plain(paragraph)
        if isinstance(paragraph.parent, nodes.section) and len(text) > 40 and not alone(paragraph):
            return shortened(text[max(0, text.find(OF_ITSELF)) :])
    return ""


def alone(paragraph: nodes.paragraph) -> bool:
    """Whether there is nothing but bold type in it. The parser leaves empty texts on both sides of that."""
    said = [child for child in paragraph if child.astext().strip()]
    return len(said) == 1 and isinstance(said[0], nodes.strong)


def plain(node: nodes.Element) -> str:
    """The text of a node with formulas as they are written, on one line."""
    return " ".join(node.astext().split())


def shortened(text: str) -> str:
    """A text of at most LONGEST letters: whole sentences if most of it are, else cut at a word."""
    if len(text) <= LONGEST:
        return text
    whole = text[:LONGEST].rpartition(". ")[0]
    if len(whole) > LONGEST / 2:
        return whole + "."
    return text[: LONGEST - 1].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def meta(app: Sphinx, pagename: str, title: str, description: str) -> str:
    """The tags of a page's head."""
    base = address(app)
    pairs = [("property", "og:type", "website" if pagename == app.config.root_doc else "article")]
    pairs += [("property", "og:site_name", app.config.html_title), ("property", "og:title", title)]
    if description:
        pairs += [("name", "description", description), ("property", "og:description", description)]
    if base:
        pairs += [("property", "og:url", base + app.builder.get_target_uri(pagename))]
        pairs += [("property", "og:image", base + PICTURE), ("name", "twitter:card", "summary_large_image")]
    return "\n".join(f'<meta {kind}="{name}" content="{html.escape(text)}">' for kind, name, text in pairs)


def address(app: Sphinx) -> str:
    """Where the site lies, with a slash at its end; empty if it has no address."""
    base = app.config.html_baseurl
    return base.rstrip("/") + "/" if base else ""


def tell(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Put the tags into a page's head, and give the first page a title that says the book's name once."""
    if app.builder.name != "html":
        return
    description = describe(doctree)
    title = re.sub(r"<[^>]+>", "", context.get("title", "")) or app.config.html_title
    tags = meta(app, pagename, html.unescape(title), description)
    context["metatags"] = context.get("metatags", "") + "\n" + tags
    if pagename == app.config.root_doc:
        context["docstitle"] = ""
        app.env.attnlib_front = (title, description, tags)  # type: ignore[attr-defined]


def write(app: Sphinx, error: Exception | None) -> None:
    """The page at the site's root, the one for what is not there, and where there is an address the map of the site."""
    if error or app.builder.name != "html":
        return
    out, base = Path(app.outdir), address(app)
    title, text, tags = app.env.attnlib_front  # type: ignore[attr-defined]
    first = app.builder.get_target_uri(app.config.root_doc)
    common = {"language": app.config.language, "title": html.escape(title), "root": base}
    if first != "index.html":
        page = FRONT.format(**common, tags=tags, target=first, text=html.escape(text), link="Open the book")
        (out / "index.html").write_text(page, "utf-8")
    lost = "There is no such page. It may have moved: the book's front page lists what there is, and has a search."
    page = FRONT.format(**common, tags="", target=(base or "/") + first, text=lost, link="To the front page")
    (out / "404.html").write_text("\n".join(line for line in page.splitlines() if REFRESH not in line) + "\n", "utf-8")
    if base:
        pages = sorted(base + app.builder.get_target_uri(name) for name in app.env.found_docs)
        urls = "".join(f"<url><loc>{html.escape(page)}</loc></url>\n" for page in pages)
        head = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        (out / "sitemap.xml").write_text(f"{head}{urls}</urlset>\n", "utf-8")
        (out / "robots.txt").write_text(f"User-agent: *\nSitemap: {base}sitemap.xml\n", "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", draw)
    app.connect("html-page-context", tell)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
