"""The one form in which a notebook is committed. Functions on notebook nodes; nothing is executed here."""

import base64
import hashlib
import io
import struct
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import folding
import provenance
import static_view

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}
KEPT_METADATA = ("mystnb", "slideshow", "tags")
UNCOMPARED = "nbval-ignore-output"
PNG = "image/png"
STAMP = "attnlib"


def normalise(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what is neither the author's nor the code's: times, identifiers, models, scripts."""
    notebook = nbformat.from_dict(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    stamp = {STAMP: notebook.metadata[STAMP]} if STAMP in notebook.metadata else {}
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE, **stamp})
    count = 0
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"
        cell.metadata = nbformat.from_dict({k: cell.metadata[k] for k in KEPT_METADATA if k in cell.metadata})
        cell.pop("attachments", None)
        if cell.cell_type != "code":
            continue
        if cell.source.strip():
            count += 1
        cell.execution_count = count if cell.source.strip() else None
        cell.outputs = [tidy(output, cell.execution_count) for output in merge_streams(cell.outputs)]
        cell.outputs = [output for output in cell.outputs if output.get("data", True)]
        describe_figure(cell)
    shown = static_view.widgets(notebook)
    for output, html in zip(shown, static_view.stored([each.data["text/html"] for each in shown]), strict=True):
        output.data["text/html"] = html
    return folding.fold(notebook)


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Consecutive pieces of one stream become one piece: where they were cut depends on timing."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def tidy(output: NotebookNode, count: int | None) -> NotebookNode:
    """One output without a live model, a count of its own, a traceback's paths, or a picture's software stamp."""
    if output.output_type == "execute_result":
        output.execution_count = count
    if output.output_type == "error":
        output.traceback = [f"{output.ename}: {output.evalue}"]
    data = output.get("data", {})
    data.pop(WIDGET_VIEW, None)
    if PNG in data:
        data[PNG] = strip_png(data[PNG])
    return output


def describe_figure(cell: NotebookNode) -> None:
    """Copy the alt text and caption that the code gave its picture to where the site reads them."""
    found = [about for output in cell.outputs if (about := told(output))]
    if not found:
        return
    if len(found) > 1:
        raise ValueError(f"{cell.id} shows {len(found)} figures, and a cell may show one")
    options: dict[str, Any] = dict(cell.metadata.get("mystnb", {}))
    options["image"] = options.get("image", {}) | {"alt": found[0]["alt"]}
    options.pop("figure", None)
    if found[0].get("caption"):
        options["figure"] = {key: found[0][key] for key in ("caption", "name") if found[0].get(key)}
    cell.metadata["mystnb"] = nbformat.from_dict(options)


def told(output: NotebookNode) -> dict[str, str]:
    """What an output's metadata says of the figure: beside the mime types or under `image/png`."""
    metadata = output.get("metadata", {})
    about = metadata.get("attnlib") or metadata.get(PNG, {}).get("attnlib") or {}
    return dict(about) if about.get("alt") else {}


def strip_png(encoded: str) -> str:
    """The same picture with its critical chunks and its resolution only, in one line of base64."""
    raw = base64.b64decode(encoded)
    kept, at = [raw[:8]], 8
    while at < len(raw):
        (size,) = struct.unpack(">I", raw[at : at + 4])
        if raw[at + 4 : at + 8] in (b"IHDR", b"PLTE", b"tRNS", b"pHYs", b"IDAT", b"IEND"):
            kept.append(raw[at : at + size + 12])
        at += size + 12
    return base64.b64encode(b"".join(kept)).decode()


def keep_unchanged(new: NotebookNode, old: NotebookNode) -> NotebookNode:
    """The new notebook with old bytes where nothing that counts has changed.

    A picture whose pixels are the same keeps its old file. Where the code that made the old outputs (by its stamp) and
    all compared outputs are the same, the uncompared ones (timings and the like) differ by noise only and stay.
    """
    if [cell.source for cell in new.cells] != [cell.source for cell in old.cells]:
        return new
    for fresh, stored in zip(new.cells, old.cells, strict=True):
        for output, before in zip(fresh.get("outputs", []), stored.get("outputs", []), strict=False):
            if same_picture(output.get("data", {}).get(PNG), before.get("data", {}).get(PNG)):
                output.data[PNG] = before.data[PNG]
    if new.metadata.get(STAMP) == old.metadata.get(STAMP) and compared(new) == compared(old):
        for fresh, stored in zip(new.cells, old.cells, strict=True):
            if UNCOMPARED in fresh.metadata.get("tags", []):
                fresh.outputs = stored.outputs
    return new


def stamped(notebook: NotebookNode, root: Path = provenance.ROOT) -> NotebookNode:
    """The notebook with a digest of the code that its outputs come from, that of attnlib included.

    Who edits a cell, or the library, later has not run the notebook: results of training are not kept then.
    """
    notebook.metadata[STAMP] = {"code": provenance.digest(provenance.cells(notebook), root)[:16]}
    return notebook


def compared(notebook: NotebookNode) -> list[Any]:
    """What must not change unnoticed: every output of the cells that are compared."""
    return [c.get("outputs") for c in notebook.cells if UNCOMPARED not in c.metadata.get("tags", [])]


def same_picture(one: str | None, other: str | None) -> bool:
    """Whether two base64 pictures have the same pixels."""
    return bool(one and other) and pixels(one or "") == pixels(other or "")


def pixels(encoded: str) -> str:
    """A digest of a picture's size and pixels."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        return f"{image.size} {hashlib.sha256(image.convert('RGBA').tobytes()).hexdigest()}"
