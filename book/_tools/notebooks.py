"""Format notebooks, execute them in place from the top on a fresh kernel, and write them in their one normal form.

    python book/_tools/notebooks.py [--fresh] [--jobs N] [NOTEBOOK ...]

Without arguments: every notebook of the table of contents. A notebook in which a cell raises is left as it was. Running
it twice changes nothing; `--fresh` also renews what is not compared (timings). Seconds go to the terminal only.
"""

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

sys.path.insert(0, str(Path(__file__).parent))
import environment
import layout
import normal
import static_view
import toc


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook with its code set by the formatter."""
    return layout.formatted(nbformat.read(path, as_version=4))


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook run from the top on a new kernel, in its own folder."""
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata["kernelspec"] = normal.KERNEL
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.resolve().parent)}},
    ).execute(env=os.environ | environment.KERNEL)
    return notebook


def write(notebook: nbformat.NotebookNode, path: Path) -> bool:
    """Replace the file in one step, if its text changes. Returns whether it did."""
    nbformat.validate(notebook)
    text = nbformat.writes(notebook) + "\n"
    if path.read_text(encoding="utf-8") == text:
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.chmod(name, path.stat().st_mode & 0o777)
    os.replace(name, path)
    return True


def make(path: Path, *, fresh: bool = False) -> str:
    """Execute and normalise one notebook; a line for the terminal."""
    start = time.perf_counter()
    notebook = normal.stamped(normal.normalise(execute(path)))
    old = None if fresh else normal.normalise(read(path))
    notebook = static_view.photograph(notebook, old)
    if old is not None:
        notebook = normal.keep_unchanged(notebook, old)
    changed = write(notebook, path)
    seconds = time.perf_counter() - start
    return f"{seconds:6.1f} s  {'written' if changed else 'as it was'}"


def report(path: Path, *, fresh: bool) -> bool:
    """Make one notebook and say on the terminal how it went. Returns whether it went well."""
    shown = os.path.relpath(path)
    try:
        print(f"{shown:50s} {make(path, fresh=fresh)}", flush=True)
    except (CellExecutionError, DeadKernelError, TimeoutError, ValueError, OSError) as error:
        print(f"{shown}: left as it was, because it failed\n{error}", file=sys.stderr, flush=True)
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--fresh", action="store_true", help="renew uncompared outputs too")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at the same time")
    options = parser.parse_args(arguments)
    paths = options.notebooks or toc.notebooks()
    with ThreadPoolExecutor(options.jobs) as pool:
        good = list(pool.map(partial(report, fresh=options.fresh), paths))
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
