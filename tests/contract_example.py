"""The smallest notebook that keeps the contract of a chapter, and ways of breaking it."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import nbformat
from contract import CLAIM, STUDY, Book, Page
from nbformat import NotebookNode
from PIL import Image

from book._tools import normal

CARD = """\
```{admonition} Card
:class: card

**In one sentence**
: A weighted mean.

**Place in the taxonomy**
: *Soft*.

**Cost**
: Linear.

**Year and source**
: 2015, {cite:t}`bahdanau2015`.

**Other names**
: Lookup.
```"""


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def prose(source: str, *tags: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": list(tags)} if tags else {})


def code(source: str, *tags: str, **data: object) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {})
    if data:
        mimes = {name.replace("_", "/"): value for name, value in data.items()}
        if "claim" in mimes:
            mimes[CLAIM] = mimes.pop("claim")
        cell.outputs = [nbformat.v4.new_output("display_data", data=mimes)]
    if "image_png" in data:
        cell.metadata["mystnb"] = {
            "image": {"alt": "Three bars, the first the highest"},
            "figure": {"caption": "The weights of three keys."},
        }
    return cell


def good() -> NotebookNode:
    """A notebook of which the contract has nothing to say."""
    cells = [
        prose("(lookup)=\n# Lookup"),
        prose(CARD, "station-card"),
        prose("## The trouble\n\nThree tokens.", "station-trouble"),
        prose("## See it\n\nWhich key wins?", "station-see-it"),
        code("QueryTuner()", "widget", text_html="<p>w</p>", image_png=picture(), text_plain="QueryTuner"),
        code("bars(w, alt='...')", image_png=picture(), text_plain="bars"),
        prose("## Derivation\n\nSee {ref}`Eq. 7 <eq-7>`.\n\n(eq-7)=\n$$\nc = v \\tag{7}\n$$", "station-derivation"),
        prose("## By hand\n\n```{admonition} The answer\n:class: dropdown\n\nTwo.\n```", "station-by-hand"),
        prose("## In code\n\nThe library's is {py:func}`attnlib.attend`.", "station-in-code"),
        code("from attnlib import attend\n\n\ndef mean(v):\n    return v"),
        code("assert 1 + 1 == 2"),
        prose("## Experiment", "station-experiment"),
        code(
            "assert True\nrecord()",
            claim={"id": "x", "tests": [["a > b", "holds"]]},
            text_plain="x",
            text_html="<p>x</p>",
        ),
        prose("## Cost", "station-cost"),
        code("print(2)", text_plain="2"),
        prose("## Relatives", "station-relatives"),
        code("assert True"),
        prose("## Exercises\n\n```{exercise}\n:label: ex-1\n\nA?\n```", "station-exercises"),
        prose("```{solution-start} ex-1\n:class: dropdown\n```"),
        code("assert True"),
        prose("```{solution-end}\n```\n\n```{exercise}\n:label: ex-2\n\nB?\n```"),
        prose("```{solution-start} ex-2\n:class: dropdown\n```"),
        code("assert True"),
        prose("```{solution-end}\n```"),
        prose("```{admonition} Departures from the paper\n:class: departures\n\nNone.\n```"),
        prose("**Sources.** {cite:t}`bahdanau2015`."),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": normal.KERNEL})
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    return notebook


def study() -> NotebookNode:
    """The same without the stations that a study does not need."""
    notebook, kept, inside = good(), [], True
    for cell in notebook.cells:
        station = next((tag for tag in cell.metadata.get("tags", []) if tag.startswith("station-")), "")
        inside = station in STUDY if station else inside
        if inside:
            kept.append(cell)
    notebook.cells = [*kept[:1], code("from attnlib import attend\nassert True\nassert True"), *kept[1:]]
    notebook.cells[0].metadata["tags"] = ["study"]
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    return notebook


def book_of(notebook: NotebookNode, path: Path = Path("lookup.ipynb")) -> tuple[Page, Book]:
    page = Page(path, notebook)
    return page, Book([page])


def find(notebook: NotebookNode, piece: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if piece in cell.source or piece in cell.metadata.get("tags", []))


def drop(piece: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells.remove(find(notebook, piece))


def replace(old: str, new: str) -> Callable[[NotebookNode], None]:
    """Every occurrence in every cell, so that a mutant differs in one thing and surely does differ."""

    def change(notebook: NotebookNode) -> None:
        assert any(old in cell.source for cell in notebook.cells)
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)

    return change


def with_cell(piece: str, change: Callable[[NotebookNode], object]) -> Callable[[NotebookNode], None]:
    return lambda notebook: void(change(find(notebook, piece)))


def void(value: object) -> None:
    """Drop a value."""


def swap(notebook: NotebookNode) -> None:
    cells = notebook.cells
    one, other = (cells.index(find(notebook, name)) for name in ("station-cost", "station-relatives"))
    cells[one], cells[other] = cells[other], cells[one]


def store(name: str, text: str) -> NotebookNode:
    return nbformat.v4.new_output("stream", name=name, text=text)


ERROR = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
LIVE = nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})

MUTANTS: dict[str, tuple[Callable[[NotebookNode], object], str]] = {
    **{f"no {name}": (with_cell(name, lambda cell: cell.metadata.clear()), f"no {name}") for name in (
        "station-card", "station-trouble", "station-derivation", "station-by-hand", "station-in-code",
        "station-see-it", "station-experiment", "station-cost", "station-relatives", "station-exercises")},
    "two stations swapped": (swap, "station-relatives stands in the wrong place"),
    "a station twice": (lambda nb: nb.cells.append(prose("## More", "station-cost")), "occurs 2 times"),
    "a station of no heading": (replace("## Cost", "Cost"), "station-cost has no heading"),
    "a misspelt station": (lambda nb: nb.cells.append(prose("## M", "station-costs")), "unknown tag station-costs"),
    "no title": (replace("# Lookup", "Lookup"), "not a label and a title"),
    "no label": (replace("(lookup)=\n", ""), "not a label and a title"),
    "two titles": (lambda nb: nb.cells.append(prose("# Another")), "not exactly one title"),
    "no library": (replace("from attnlib import", "from torch import"), "library is not used"),
    "few assertions": (replace("assert True", "pass"), r"1 assertions, fewer"),
    "no card": (drop("station-card"), "0 cards"),
    "a card without its cost": (replace("**Cost**", "**Price**"), "under Cost"),
    "an empty field": (replace("\n: Linear.\n", "\n"), "under Cost"),
    "no place": (replace(": *Soft*.", ": Soft."), "sets no type in emphasis"),
    "an unknown place": (replace(": *Soft*.", ": *Aoft*."), "'aoft' is no place"),
    "a place and none": (replace(": *Soft*.", ": *Soft*, *no place*."), "a place is told once"),
    "two parts": (replace(": *Soft*.", ": The *frame* and its *score*."), "a place is told once"),
    "a title that says more": (replace("# Lookup", "# Hard lookup"), "the title names hard"),
    "too many words": (lambda nb: nb.cells.append(prose("word " * 3501)), r"3,5\d\d words in sight, more than 3,500"),
    "too much code": (
        lambda nb: nb.cells.extend([code("a = 1\n" * 59) for _ in range(3)]),
        r"lines of code in sight, more than 120"),
    "too many formulas": (
        replace("Three tokens.", "$$\n" + "a = b \\\\\n" * 200 + "$$"), r"\d\d minutes in sight, more than 35"),
    "a long cell": (with_cell("print(2)", lambda c: c.update(source="a = 1\n" * 61)), "61 lines, more than 60"),
    "no numbered equation": (replace("\\tag{7}", ""), "derivation has no numbered"),
    "an equation nobody refers to": (replace("{ref}`Eq. 7 <eq-7>`", "it"), "nothing refers to eq-7"),
    "an equation under another label": (replace("(eq-7)=", "(eq-8)="), r"stands under \(eq-8\)"),
    "an equation without a label": (replace("(eq-7)=\n", ""), r"stands under \(nothing\)"),
    "no guess": (replace(":class: dropdown\n\nTwo", "\nTwo"), "no answer to uncover"),
    "no plain code": (replace("def mean(v):", "if True:  # mean\n   "), "mechanism is not written out"),
    "plain code that is folded": (
        with_cell("def mean", lambda c: c.metadata.update(tags=["hide-input"])), "mechanism is not written out"),
    "no link to the library": (replace("{py:func}`attnlib.attend`", "`attend`"), "no link to the library"),
    "the code asserts nothing": (replace("assert 1 + 1 == 2", "1 + 1"), "in code: nothing asserts"),
    "no widget": (drop("QueryTuner()"), "no widget"),
    "a widget without a page": (
        with_cell("QueryTuner()", lambda c: c.outputs[0].data.pop("text/html")), "no text/html"),
    "a widget without a picture": (
        with_cell("QueryTuner()", lambda c: c.outputs[0].data.pop("image/png")), "no image/png"),
    "no question": (replace("Which key wins?", "Look."), "no question"),
    "no claim": (with_cell("record()", lambda c: c.outputs.clear()), "no claim is recorded"),
    "a claim that nothing tests": (
        with_cell("record()", lambda c: c.outputs[0].data[CLAIM].update(tests=[])), "verdict nothing tests"),
    "an experiment without assertion": (replace("assert True\nrecord()", "record()"), "experiment: nothing"),
    "nothing measured": (with_cell("print(2)", lambda c: c.outputs.clear()), "nothing is measured"),
    "relatives without equality": (
        lambda nb: nb.cells.remove(nb.cells[nb.cells.index(find(nb, "station-relatives")) + 1]), "no executed"),
    "one exercise": (replace("```{exercise}\n:label: ex-2\n\nB?\n```", ""), "1 exercises"),
    "a solution without code": (
        lambda nb: nb.cells.remove(nb.cells[nb.cells.index(find(nb, "{solution-start} ex-2")) + 1]),
        "ex-2 has no solution that runs"),
    "a solution that asserts nothing": (
        lambda nb: nb.cells[nb.cells.index(find(nb, "{solution-start} ex-2")) + 1].update(source="2"),
        "solution of ex-2 asserts nothing"),
    "a solution in the open": (replace("ex-1\n:class: dropdown", "ex-1"), "solution of ex-1 is not hidden"),
    "no departures": (replace(":class: departures", ":class: note"), "no box of departures"),
    "no sources": (replace("**Sources.**", "**Thanks.**"), "no line of sources"),
    "no alt text": (with_cell("bars(w", lambda c: c.metadata.mystnb.pop("image")), "without an alt text"),
    "an alt text of one word": (
        with_cell("bars(w", lambda c: c.metadata.mystnb.image.update(alt="figure")), "without an alt text"),
    "no caption": (with_cell("bars(w", lambda c: c.metadata.mystnb.pop("figure")), "without a caption"),
    "two figures in a cell": (with_cell("bars(w", lambda c: c.outputs.append(c.outputs[0])), "2 figures in one cell"),
    "a stored error": (with_cell("print(2)", lambda c: c.outputs.append(ERROR)), "stored error, ValueError"),
    "stderr": (with_cell("print(2)", lambda c: c.outputs.append(store("stderr", "w"))), "on stderr"),
    "a live widget": (with_cell("print(2)", lambda c: c.outputs.append(LIVE)), "live widget is stored"),
    "widget state": (lambda nb: nb.metadata.update(widgets={}), "metadata.widgets"),
    "a path": (
        with_cell("print(2)", lambda c: c.outputs.append(store("stdout", "in /home/me/x.py"))), "trace of the machine"),
    "an address": (
        with_cell("print(2)", lambda c: c.outputs.append(store("stdout", "<f at 0x7f00aa11bb22>"))), "trace of the"),
    "another kernel": (lambda nb: nb.metadata.kernelspec.update(name="julia"), "not python3"),
    "a cell not run": (with_cell("print(2)", lambda c: c.update(execution_count=None)), "not executed once each"),
    "run out of order": (with_cell("print(2)", lambda c: c.update(execution_count=40)), "not executed once each"),
}  # fmt: skip
