"""The notebooks that a reader saves from the site begin with a cell that gets what they need.

The notebooks of the source lie beside the library and need nothing. A saved one takes the library from the repository
where that has an address, else from the site where that has one, else from the wheel that the front page offers, laid
beside it.
"""

import json
from pathlib import Path

import nbformat
from sphinx.application import Sphinx

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


def equipped(text: str, where: str) -> str:
    """A notebook's text with the cell before its first code cell."""
    notebook = nbformat.reads(text, as_version=4)
    cell = nbformat.v4.new_code_cell(SETUP.format(source=where, wheel=wheel_name(), extras=EXTRAS), metadata=FOLDED)
    cell.id = "setup"
    first = next((i for i, each in enumerate(notebook.cells) if each.cell_type == "code"), len(notebook.cells))
    notebook.cells.insert(first, cell)
    nbformat.validate(notebook)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def equip(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.name != "html":
        return
    where = source(app.config.html_theme_options.get("repository_url", ""), app.config.html_baseurl)
    for path in Path(app.outdir, "_sources").rglob("*.ipynb"):
        path.write_text(equipped(path.read_text("utf-8"), where), "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", equip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
