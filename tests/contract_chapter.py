"""What holds for a chapter: ten stations in order, each with what it is there for; a study has five of them."""

import re

from contract import (
    ASSERTIONS,
    CARD,
    CITE,
    CLAIM,
    STATIONS,
    Book,
    Check,
    Directive,
    Page,
    directives,
    named,
    source,
    tags,
)
from nbformat import NotebookNode

from book._tools import budget, places

LIBRARY = re.compile(r"\{py:(?:func|class|meth|mod)\}`")
ASSERTS = r"^\s*assert\b|\bassert_close\(|\bassert_allclose\(|\bclaims\.check\("


def asserts(cells: list[NotebookNode]) -> int:
    return sum(len(re.findall(ASSERTS, source(c), re.M)) for c in cells)


def text(cells: list[NotebookNode]) -> str:
    return "\n\n".join(source(cell) for cell in cells)


def boxes(page: Page, kind: str) -> list[Directive]:
    return [d for d in directives(page.prose) if kind in d.options.get("class", "").split()]


def opening(page: Page, book: Book) -> list[str]:
    """A label, a title, and the library."""
    first = page.cells[0] if page.cells else None
    found = []
    if first is None or not re.match(r"\([\w-]+\)=\s*\n+# \S", source(first)):
        found.append("the first cell is not a label and a title")
    if not any(re.search(r"^\s*(from|import) attnlib\b", source(cell), re.M) for cell in page.code):
        found.append("the library is not used")
    if len(re.findall(r"^# ", "\n".join(source(c) for c in page.cells if c.cell_type == "markdown"), re.M)) != 1:
        found.append("there is not exactly one title")
    if (count := asserts(page.code)) < ASSERTIONS:
        found.append(f"{count} assertions, fewer than {ASSERTIONS}")
    return found


def stations_in_order(page: Page, book: Book) -> list[str]:
    carried = [(tag, cell) for cell in page.cells for tag in tags(cell) if tag.startswith("station-")]
    names = [name for name, _ in carried]
    found = [f"no {name}" for name in page.wanted if name not in names]
    found += [f"unknown tag {name}" for name in names if name not in STATIONS]
    found += [f"{name} occurs {names.count(name)} times" for name in STATIONS if names.count(name) > 1]
    known = [name for name in names if name in STATIONS]
    order = [name for name in STATIONS if name in known]
    if not found and known != order:
        late = next(name for name, wanted in zip(known, order, strict=True) if name != wanted)
        found.append(f"{late} stands in the wrong place")
    for name, cell in carried:
        if cell.cell_type != "markdown":
            found.append(f"{name} is not on a text cell")
        elif name != "station-card" and not re.search(r"^## \S", source(cell), re.M):
            found.append(f"{name} has no heading of the second level")
    return found


def card(page: Page, book: Book) -> list[str]:
    cards = boxes(page, "card")
    if len(cards) != 1:
        return [f"{len(cards)} cards"]
    return [
        f"the card says nothing under {name}"
        for name in CARD
        if not re.search(rf"\*\*{name}\.?\*\*\s*(?!\*\*)[^\s`]", cards[0].body)
    ]


def placed(page: Page, book: Book) -> list[str]:
    try:
        places.place(page.notebook)
    except ValueError as error:
        return [str(error)]
    return []


def affordable(page: Page, book: Book) -> list[str]:
    """No more in sight than a reader has time for."""
    return budget.complaints(page.notebook)


def derivation(page: Page, book: Book) -> list[str]:
    found = r"\tag{" in text(page.station("station-derivation", "markdown"))
    return [] if found else ["the derivation has no numbered equation"]


def by_hand(page: Page, book: Book) -> list[str]:
    prose = text(page.station("station-by-hand", "markdown"))
    guess = any("dropdown" in d.options.get("class", "") for d in directives(prose))
    return [] if guess else ["by hand: no answer to uncover after a guess"]


def in_code(page: Page, book: Book) -> list[str]:
    """The mechanism in a few plain lines, held against the library, whose source is a click away."""
    cells = page.station("station-in-code", "code")
    found = []
    if not any(re.search(r"^\s*(def|class) ", source(cell), re.M) and not folded(cell) for cell in cells):
        found.append("in code: the mechanism is not written out")
    if not LIBRARY.search(text(page.station("station-in-code", "markdown"))):
        found.append("in code: no link to the library")
    if not asserts(cells):
        found.append("in code: nothing asserts the library's numbers")
    return found


def folded(cell: NotebookNode) -> bool:
    return "hide-input" in tags(cell)


def see_it(page: Page, book: Book) -> list[str]:
    cells = page.station("station-see-it", "code")
    widgets = [cell for cell in cells if "widget" in tags(cell)]
    found = [] if widgets else ["see it: no widget"]
    for cell in widgets:
        data = [output.get("data", {}) for output in cell.outputs]
        found += [
            named(cell, f"the widget has no {mime}")
            for mime in ("text/html", "image/png", "text/plain")
            if not any(mime in each for each in data)
        ]
    if "?" not in text(page.station("station-see-it", "markdown")):
        found.append("see it: no question")
    return found


def experiment(page: Page, book: Book) -> list[str]:
    cells = page.station("station-experiment", "code")
    claims = [o.data[CLAIM] for cell in cells for o in cell.outputs if CLAIM in o.get("data", {})]
    found = [] if claims else ["experiment: no claim is recorded"]
    found += ["experiment: a claim whose verdict nothing tests" for claim in claims if not claim.get("tests")]
    if not asserts(cells):
        found.append("experiment: nothing is asserted")
    return found


def cost(page: Page, book: Book) -> list[str]:
    measured = any(cell.outputs for cell in page.station("station-cost", "code"))
    return [] if measured else ["cost: nothing is measured"]


def relatives(page: Page, book: Book) -> list[str]:
    equal = asserts(page.station("station-relatives", "code"))
    return [] if equal else ["relatives: no executed equality"]


def exercises(page: Page, book: Book) -> list[str]:
    """Two to four, each with a solution, hidden, that holds a cell which ran and asserts."""
    cells = page.stations.get("station-exercises", [])
    prose = text([cell for cell in cells if cell.cell_type == "markdown"])
    asked = [d.options.get("label", "") for d in directives(prose) if d.name == "exercise"]
    found = [] if 2 <= len(asked) <= 4 else [f"{len(asked)} exercises, not two to four"]
    solved: dict[str, list[NotebookNode]] = {}
    open_for = ""
    for cell in cells:
        if cell.cell_type == "code":
            solved.setdefault(open_for, []).append(cell)
            continue
        for directive in directives(source(cell)):
            if directive.name == "solution-start":
                open_for = directive.argument
                solved.setdefault(open_for, [])
                if "dropdown" not in directive.options.get("class", ""):
                    found.append(f"the solution of {open_for} is not hidden")
            elif directive.name == "solution-end":
                open_for = ""
    found += [
        f"{label or 'an exercise without a label'} has no solution that runs"
        for label in asked
        if not solved.get(label)
    ]
    found += [
        f"the solution of {label} asserts nothing"
        for label, ran in solved.items()
        if label and ran and not asserts(ran)
    ]
    return found


def sources(page: Page, book: Book) -> list[str]:
    found = [] if boxes(page, "departures") else ["no box of departures from the paper"]
    last = page.prose.rpartition("**Sources")[2] if "**Sources" in page.prose else ""
    if not CITE.search(last):
        found.append("no line of sources with citations")
    return found


CHAPTER: tuple[Check, ...] = (
    opening,
    stations_in_order,
    card,
    placed,
    affordable,
    derivation,
    by_hand,
    in_code,
    see_it,
    experiment,
    cost,
    relatives,
    exercises,
    sources,
)
STUDY_PAGE: tuple[Check, ...] = (
    opening,
    stations_in_order,
    card,
    placed,
    affordable,
    see_it,
    experiment,
    exercises,
    sources,
)


def chapter(page: Page) -> tuple[Check, ...]:
    return STUDY_PAGE if page.is_study else CHAPTER
