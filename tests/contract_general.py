"""What holds for every notebook: it is stored clean, its figures can be read aloud, its formulas are referred to.

That every label, document and citation which it names exists is what the strict build says: `test_build_tool.py`.
"""

import re

from contract import (
    BYTES,
    FORMULA,
    LINES,
    PATHS,
    WIDGET_VIEW,
    Book,
    Check,
    Page,
    named,
    source,
    tags,
)
from nbformat import NotebookNode


def images(cell: NotebookNode) -> list[NotebookNode]:
    return [output for output in cell.outputs if "image/png" in output.get("data", {})]


def shown(output: NotebookNode) -> str:
    """What a reader of a code host sees of an output as text."""
    return str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))


def stored_clean(page: Page, book: Book) -> list[str]:
    """Executed from the top, no failure, no live model, no trace of the machine."""
    found = []
    if "widgets" in page.notebook.metadata:
        found.append("metadata.widgets is stored")
    if page.notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel is not python3")
    counts = [cell.execution_count for cell in page.code if source(cell).strip()]
    if counts != list(range(1, len(counts) + 1)):
        found.append("the cells were not executed once each, from the top")
    for cell in page.code:
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                found.append(named(cell, f"a stored error, {output.ename}"))
            if output.get("name") == "stderr":
                found.append(named(cell, "something on stderr"))
            if WIDGET_VIEW in output.get("data", {}):
                found.append(named(cell, "a live widget is stored"))
            if match := PATHS.search(shown(output)):
                found.append(named(cell, f"a trace of the machine: {match.group()}"))
    return found


def small_enough(page: Page, book: Book) -> list[str]:
    size = page.path.stat().st_size if page.path.exists() else 0
    return [f"{size:,} bytes, more than {BYTES:,}"] if size > BYTES else []


def cells_short(page: Page, book: Book) -> list[str]:
    """A thought a cell."""
    sizes = ((cell, len(source(cell).splitlines())) for cell in page.code)
    return [named(cell, f"{size} lines, more than {LINES}: split it") for cell, size in sizes if size > LINES]


def figures_described(page: Page, book: Book) -> list[str]:
    """One figure a cell, each with an alt text that says something; a plain picture has a caption too."""
    found = []
    for cell in page.code:
        pictures = images(cell)
        if not pictures:
            continue
        about = cell.metadata.get("mystnb", {})
        alt, caption = about.get("image", {}).get("alt", ""), about.get("figure", {}).get("caption", "")
        if len(pictures) > 1:
            found.append(named(cell, f"{len(pictures)} figures in one cell"))
        if len(alt.split()) < 4:
            found.append(named(cell, "a figure without an alt text"))
        if "text/html" not in pictures[0].data and len(caption.split()) < 3:
            found.append(named(cell, "a figure without a caption"))
        if alt and alt == caption:
            found.append(named(cell, "a caption that repeats the alt text"))
    for alt in re.findall(r"!\[([^\]]*)\]\(", page.bare):
        if len(alt.split()) < 3:
            found.append("a picture in the prose without an alt text")
    return found


def equations_kept(page: Page, book: Book) -> list[str]:
    """A formula with a number has the label that says it; the number is used once; the label is referred to."""
    found = []
    for target, formula in FORMULA.findall(page.prose):
        numbers = re.findall(r"\\tag\{([^}]*)\}", formula)
        if len(numbers) > 1:
            found.append(f"one formula with the numbers {', '.join(numbers)}")
        for number in numbers[:1]:
            label = f"eq-{number.lower()}"
            if target != label:
                found.append(f"the formula \\tag{{{number}}} stands under ({target or 'nothing'})=, not ({label})=")
            elif label not in book.references:
                found.append(f"nothing refers to {label}")
            if sum(f"\\tag{{{number}}}" in other.prose for other in book.pages) > 1:
                found.append(f"\\tag{{{number}}} stands on several pages")
        if target.startswith("eq-") and not numbers:
            found.append(f"({target})= stands over a formula without a number")
    return found


GENERAL: tuple[Check, ...] = (
    stored_clean,
    small_enough,
    cells_short,
    figures_described,
    equations_kept,
)
