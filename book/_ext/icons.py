"""The icons that the pages use, as one small style sheet with the glyphs inside it.

The theme brings three icon fonts and a script that draws the same icons, 5 MB in all. A page opened from a folder may
not load a font at all, but it may read one that stands in its style sheet. So after a build the glyphs that occur are
cut out of the theme's fonts and written to `_static/icons.css`, and the theme's copies are removed.
"""

import base64
import io
import re
import shutil
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

FACES = {"fa-solid-900": ("Font Awesome 6 Free", 900), "fa-brands-400": ("Font Awesome 6 Brands", 400)}
RULES = """\
/* Icons: Font Awesome Free 6, by @fontawesome - https://fontawesome.com - fonts under the SIL OFL 1.1. */
:root{--fa-font-solid:normal 900 1em/1 "Font Awesome 6 Free";--fa-font-regular:normal 900 1em/1 "Font Awesome 6 Free";
--fa-font-brands:normal 400 1em/1 "Font Awesome 6 Brands"}
.fa,.fas,.fa-solid,.far,.fa-regular,.fab,.fa-brands{display:inline-block;font-family:"Font Awesome 6 Free";
font-style:normal;font-variant:normal;font-weight:900;line-height:1;text-rendering:auto;-webkit-font-smoothing:antialiased}
.fab,.fa-brands{font-family:"Font Awesome 6 Brands";font-weight:400}
.fa-lg{font-size:1.25em;line-height:.05em;vertical-align:-.075em}
"""


def used(static: Path, pages: Path) -> tuple[dict[str, str], set[int]]:
    """The icon classes that occur in pages and scripts, each with its code, and all codes that occur."""
    sheet = next((static / "vendor/fontawesome").glob("*/css/all.min.css")).read_text(encoding="utf-8")
    codes = {
        name: code
        for names, code in re.findall(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+)"', sheet)
        for name in re.findall(r"\.(fa-[\w-]+):before", names)
    }
    own = [path for path in static.rglob("*") if path.suffix in {".css", ".js"} and "vendor" not in path.parts]
    text = [path.read_text(encoding="utf-8", errors="replace") for path in (*pages.rglob("*.html"), *own)]
    classes = {name for piece in text for name in re.findall(r"\bfa-[\w-]+", piece) if name in codes}
    written = {int(code, 16) for piece in text for code in re.findall(r"\\(f[0-9a-f]{3})\b", piece)}
    literal = {ord(letter) for piece in text for letter in re.findall("[\ue000-\uf8ff]", piece)}
    found = {name: codes[name] for name in sorted(classes)}
    return found, written | literal | {int(code, 16) for code in found.values()}


def cut(font: Path, codes: set[int]) -> str:
    """The glyphs of `codes` that a font has, as a data address; empty if it has none."""
    whole = TTFont(font)
    present = codes & set(whole.getBestCmap())
    if not present:
        return ""
    options = subset.Options(flavor="woff", layout_features=[], name_IDs=[], notdef_outline=True, hinting=False)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=present)
    cutter.subset(whole)
    whole.flavor = "woff"
    whole["head"].modified = whole["head"].created  # the same bytes every time
    whole.recalcTimestamp = False
    buffer = io.BytesIO()
    whole.save(buffer)
    return "data:font/woff;base64," + base64.b64encode(buffer.getvalue()).decode()


def write_icons(app: Sphinx, error: Exception | None) -> None:
    """After a build: write the style sheet and drop what it replaces."""
    static = Path(app.outdir) / "_static"
    if error or app.builder.name != "html" or not (static / "vendor/fontawesome").exists():
        return
    names, codes = used(static, Path(app.outdir))
    sheet = [RULES]
    for font, (family, weight) in FACES.items():
        source = cut(next((static / "vendor/fontawesome").glob(f"*/webfonts/{font}.ttf")), codes)
        if source:
            sheet.append(
                f'@font-face{{font-family:"{family}";font-weight:{weight};src:url({source}) format("woff")}}\n'
            )
    sheet += [f'.{name}:before{{content:"\\{code}"}}\n' for name, code in names.items()]
    (static / "icons.css").write_text("".join(sheet), encoding="utf-8")
    shutil.rmtree(static / "vendor")
    for source_map in static.rglob("*.map"):
        source_map.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
