"""How the code of a notebook is set: by the formatter, in one width, before it is executed."""

import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

CONFIG = Path(__file__).resolve().parents[1] / "notebooks.toml"


def formatted(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its code as ``ruff format`` sets it; outputs and metadata are not looked at.

    Only the layout changes, so the stamp over the parsed code stays, and stored outputs stay good.

    Raises:
        ValueError: a cell does not parse.
    """
    command = [sys.executable, "-m", "ruff", "format", "--config", str(CONFIG), "--stdin-filename", "page.ipynb", "-"]
    done = subprocess.run(
        command, input=nbformat.writes(notebook), capture_output=True, encoding="utf-8", check=False, cwd=CONFIG.parent
    )
    if done.returncode:
        raise ValueError(done.stderr.strip())
    for cell, new in zip(notebook.cells, nbformat.reads(done.stdout, as_version=4).cells, strict=True):
        cell.source = new.source
    return notebook
