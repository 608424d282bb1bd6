"""The notebooks that a reader saves from the site: plain Markdown, and first a cell that gets what they need.

The text of the source is MyST, which Jupyter, Colab and the viewers would show raw. What a reference is called is asked
of the build; where the site has an address, it is a link. The notebooks of the source lie beside the library and need
nothing. A saved one takes the library from the repository where that has an address, else from the site where that has
one, else from the wheel that the front page offers, laid beside it.
"""

import json
import posixpath
from pathlib import Path

import nbformat
from sphinx.application import Sphinx

from book._ext import chapters
from book._ext.citations import label
from book._tools import portable
from book._tools.packing import wheel_name

EXTRAS = "widgets,data,book"
SETUP = """\
# What this notebook needs: attnlib, the book's library. Where it is installed, this cell does nothing.
import importlib.util
import subprocess
import sys
from pathlib import Path

SOURCE, WHEEL = {source!r}, {wheel!r}
if importlib.util.find_spec("attnlib") is None:
    if not SOURCE and not Path(WHEEL).exists():
        raise ModuleNotFoundError(f"save {{WHEEL}} from the book's front page beside this notebook, and run it again")
    wanted = f"attnlib[{extras}] @ {{SOURCE or Path(WHEEL).resolve().as_uri()}}"
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", wanted])
"""
FOLDED = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}


def source(repository: str, site: str) -> str:
    """Where pip finds the library; empty if only a file beside the notebook can be it."""
    if repository:
        return f"git+{repository}"
    return f"{site.rstrip('/')}/_static/{wheel_name()}" if site else ""


def equipped(text: str, where: str, names: portable.Names | None = None) -> str:
    """A notebook's text in plain Markdown, with the cell before its first code cell."""
    notebook = nbformat.reads(text, as_version=4)
    if names is not None:
        notebook = portable.converted(notebook, names)
    cell = nbformat.v4.new_code_cell(SETUP.format(source=where, wheel=wheel_name(), extras=EXTRAS), metadata=FOLDED)
    cell.id = "setup"
    first = next((i for i, each in enumerate(notebook.cells) if each.cell_type == "code"), len(notebook.cells))
    notebook.cells.insert(first, cell)
    nbformat.validate(notebook)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


class Shown:
    """What the site shows for what a page refers to; the page is where relative names of pages start."""

    def __init__(self, app: Sphinx, page: str) -> None:
        self.app, self.page = app, page
        self.labels = app.env.get_domain("std").data["labels"]
        self.anonymous = app.env.get_domain("std").data["anonlabels"]
        self.citations = {each.key: each for each in app.env.get_domain("cite").data["citations"]}

    def ref(self, label: str) -> tuple[str, str]:
        page, place = self.anonymous[label.lower()]
        if self._counted(page, place):
            return self.number(label)
        return self.labels.get(label.lower(), (page, place, label))[2], self.address(page, place)

    def doc(self, page: str) -> tuple[str, str]:
        name = page[1:] if page.startswith("/") else posixpath.join(posixpath.dirname(self.page), page)
        name = posixpath.normpath(name)
        return self.app.env.titles[name].astext(), self.address(name)

    def number(self, label: str) -> tuple[str, str]:
        page, place = self.anonymous[label.lower()]
        kind, number = self._counted(page, place) or ("", "")
        text = self.app.config.numfig_format.get(kind, kind.capitalize() + " %s")
        return (f"({number})" if kind == "displaymath" else text % number), self.address(page, place)

    def cite(self, key: str) -> tuple[str, str, str]:
        found = self.citations[key]
        people, _, year = label(found.entry).rpartition(", ")
        return people, year, self.address(found.bibliography_key.docname, found.citation_id)

    def title(self, exercise: str) -> str:
        return self.number(exercise)[0]

    def made(self, directive: str) -> str:
        if directive != "chapters":
            return ""
        return chapters.markdown(
            Path(self.app.srcdir), lambda path: portable.link(*self.doc("/" + self.app.env.path2doc(str(path))))
        )

    def address(self, page: str, place: str = "") -> str:
        base = self.app.config.html_baseurl
        target = self.app.builder.get_target_uri(page) + (f"#{place}" if place else "")
        return f"{base.rstrip('/')}/{target}" if base else ""

    def _counted(self, page: str, place: str) -> tuple[str, str] | None:
        """What is counted there, and its number; nothing where Sphinx shows a title instead."""
        for kind, found in self.app.env.toc_fignumbers.get(page, {}).items():
            if place in found:
                return kind, ".".join(map(str, found[place]))
        return None


def equip(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.name != "html":
        return
    where = source(app.config.html_theme_options.get("repository_url", ""), app.config.html_baseurl)
    sources = Path(app.outdir, "_sources")
    for path in sources.rglob("*.ipynb"):
        names = Shown(app, path.relative_to(sources).with_suffix("").as_posix())
        path.write_text(equipped(path.read_text("utf-8"), where, names), "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", equip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
