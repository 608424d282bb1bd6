"""The contract of a notebook of the book, as far as a machine can check it.

Each check takes a page and the book it stands in and returns complaints, one sentence each. `GENERAL` holds for every
notebook, `CHAPTER` for those that explain a mechanism. What is asked for is in design terms: its stations in order,
equations that are referred to, figures that can be read aloud, assertions, exercises whose solutions run.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from nbformat import NotebookNode

STATIONS = (
    "station-card",
    "station-trouble",
    "station-see-it",
    "station-derivation",
    "station-by-hand",
    "station-in-code",
    "station-experiment",
    "station-cost",
    "station-relatives",
    "station-exercises",
)
# A study follows one mechanism further than its chapter can, and has fewer. It says so by the tag of its first cell.
STUDY = ("station-card", "station-trouble", "station-see-it", "station-experiment", "station-exercises")
CARD = ("In one sentence", "Place in the taxonomy", "Cost", "Year and source", "Other names")
CLAIM = "application/vnd.attnlib.claim+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ASSERTIONS = 5
BYTES = 1_500_000
LINES = 60  # of a cell

FORMULA = re.compile(r"(?:^\(([^()\s]+)\)=\s*\n\s*)?^\$\$(.*?)\$\$", re.M | re.S)
ROLE = re.compile(r"\{(ref|numref|eq|doc|prf:ref)\}`(?:[^`<]*<)?([^`<>]+)>?`")
LINK = re.compile(r"\]\(([^()\s]+)\)")
CITE = re.compile(r"\{cite(?::[a-z]+)?\}`([^`]+)`")
DIRECTIVE = re.compile(r"^(`{3,}|:{3,})\{([\w:-]+)\}[ \t]*(.*?)[ \t]*\n(.*?)^\1[ \t]*$", re.M | re.S)
OPTION = re.compile(r"^:([\w-]+):[ \t]*(.*?)[ \t]*$", re.M)
PATHS = re.compile(r"(?<![\w.:/])/(?:tmp|root|home|work|Users|usr|var|opt|mnt)/|\bat 0x[0-9a-f]{6,}|[A-Z]:\\\\")


def source(cell: NotebookNode) -> str:
    return str(cell.source)


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


@dataclass
class Page:
    """One page: its place in the book, its cells, and the text of its prose."""

    path: Path
    notebook: NotebookNode

    @classmethod
    def read(cls, path: Path) -> "Page":
        if path.suffix == ".ipynb":
            return cls(path, nbformat.read(path, as_version=4))
        return cls(path, nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(path.read_text("utf-8"))]))

    @property
    def cells(self) -> list[NotebookNode]:
        return list(self.notebook.cells)

    @property
    def code(self) -> list[NotebookNode]:
        return [cell for cell in self.cells if cell.cell_type == "code"]

    @cached_property
    def prose(self) -> str:
        return "\n\n".join(source(cell) for cell in self.cells if cell.cell_type == "markdown")

    @cached_property
    def bare(self) -> str:
        """The prose without code spans' and code blocks' contents, in which nothing is a reference."""
        return re.sub(r"(\{[\w:-]+\}`[^`]*`)|`[^`\n]*`", lambda match: match[1] or "", without_code(self.prose))

    @property
    def is_study(self) -> bool:
        return bool(self.cells) and "study" in tags(self.cells[0])

    @property
    def wanted(self) -> tuple[str, ...]:
        """The stations that the page should have, in their order."""
        return STUDY if self.is_study else STATIONS

    @cached_property
    def stations(self) -> dict[str, list[NotebookNode]]:
        """The cells of each station: from the cell that carries its tag up to the next station's."""
        found: dict[str, list[NotebookNode]] = {}
        current: list[NotebookNode] | None = None
        for cell in self.cells:
            for tag in tags(cell):
                if tag in STATIONS:
                    current = found.setdefault(tag, [])
            if current is not None:
                current.append(cell)
        return found

    def station(self, name: str, kind: str) -> list[NotebookNode]:
        return [cell for cell in self.stations.get(name, []) if cell.cell_type == kind]


@dataclass
class Book:
    """What the pages know of each other."""

    pages: list[Page]

    @classmethod
    def read(cls, paths: list[Path]) -> "Book":
        return cls([Page.read(path) for path in paths])

    @cached_property
    def references(self) -> list[str]:
        """Every label that a role or a link names, as often as it is named."""
        named = [name for page in self.pages for _, name in ROLE.findall(page.bare)]
        return named + [link[1:] for page in self.pages for link in LINK.findall(page.bare) if link.startswith("#")]


@dataclass
class Directive:
    name: str
    argument: str
    options: dict[str, str]
    body: str


def directives(text: str) -> Iterator[Directive]:
    """The directives of a text, outermost first, nested ones after."""
    for _, name, argument, body in DIRECTIVE.findall(text):
        head = re.match(r"(?::[\w-]+:.*\n)*", body)
        yield Directive(name, argument, dict(OPTION.findall(head.group() if head else "")), body)
        yield from directives(body)


def without_code(text: str) -> str:
    """The text without its code blocks; what directives hold stays."""
    kept: list[str] = []
    open_fences: list[str] = []
    code = ""
    for line in text.splitlines():
        fence = re.match(r"(`{3,}|:{3,})(.*)", line)
        if code:
            code = "" if fence and fence.group(1).startswith(code) and not fence.group(2).strip() else code
            continue
        if fence and not fence.group(2).strip() and open_fences and fence.group(1) == open_fences[-1]:
            open_fences.pop()
        elif fence and fence.group(2).startswith("{"):
            open_fences.append(fence.group(1))
        elif fence and fence.group(1).startswith("`"):
            code = fence.group(1)
            continue
        kept.append(line)
    return "\n".join(kept)


Check = Callable[[Page, Book], list[str]]


def named(cell: NotebookNode, what: str) -> str:
    return f"{cell.get('id', '?')}: {what}"


def complain(page: Page, book: Book, checks: tuple[Check, ...]) -> list[str]:
    """What the checks say of a page."""
    return [f"{page.path.name}: {complaint}" for check in checks for complaint in check(page, book)]
