"""A notebook in plain Markdown, for Jupyter, Colab and the viewers, which know nothing of MyST.

A box becomes a quotation under a bold title, a folded one `<details>`; a reference becomes the text that the site shows
for it, a link where the site has an address; labels go. Formulas and code stay as they are. What stands for a label is
asked of `Names`, so that nothing here knows how the site is built.
"""

import copy
import html
import re
from collections.abc import Iterator
from typing import Protocol

from nbformat import NotebookNode

from book._tools import asking

FENCE = re.compile(r"^( *)(`{3,}|:{3,}|~{3,})(?:\{([\w:-]+)\})?[ \t]*(.*)$")
OPTION = re.compile(r"^:([\w-]+):[ \t]*(.*)$")
LABEL = re.compile(r"^\([\w:.+-]+\)=[ \t]*\n?", re.M)
COMMENT = re.compile(r"^(?:%(?!%).*|\+\+\+.*)\n?", re.M)
TERM = re.compile(r"^(?![ \t:>|#-]|\*[ \t])(\S.*)\n((?::[ \t]+.*\n?(?:^(?!:[ \t])(?=.*\S).*\n?)*)+)", re.M)
# What is looked at from left to right: a role; code; a formula, which may end in its label.
PIECE = re.compile(
    r"\{(?P<role>[\w:+-]+)\}(?P<tick>`+)(?P<said>.+?)(?P=tick)(?!`)"
    r"|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)"
    r"|(?P<formula>\$\$.+?\$\$)(?:[ \t]*\((?P<label>[\w:.-]+)\))?"
    r"|\$(?=\S)(?:\\.|[^$\\])+?\$",
    re.S,
)
TARGET = re.compile(r"(.*?)\s*<([^<>]*)>", re.S)
BOXES = {"admonition", "attention", "caution", "danger", "dropdown", "error", "hint", "important", "note", "seealso",
         "tip", "warning"}  # fmt: skip
NUMBER = re.compile(r"%s|\{number\}")
ON = "The solution goes on"


class Names(Protocol):
    """What the site shows for a label, a page or a citation, each with its address, empty if there is none; and what a
    directive of the book's own makes, in Markdown, empty if it makes nothing that a notebook can hold.
    """

    def ref(self, label: str) -> tuple[str, str]: ...
    def doc(self, page: str) -> tuple[str, str]: ...
    def number(self, label: str) -> tuple[str, str]: ...
    def cite(self, key: str) -> tuple[str, str, str]: ...
    def title(self, exercise: str) -> str: ...
    def made(self, directive: str) -> str: ...


def converted(notebook: NotebookNode, names: Names) -> NotebookNode:
    """A copy of the notebook whose text is plain Markdown; a cell of which nothing is left goes.

    Raises:
        ValueError: a directive that has no form in plain Markdown.
    """
    made, solution = copy.deepcopy(notebook), False
    for cell in made.cells:
        if cell.cell_type == "markdown":
            pieces = []
            for inside, title, text in solutions(cell.source, names, solution):
                solution = inside
                said = markdown(text, names)
                pieces.append(folded(title, said) if inside and said else said)
            cell.source = "\n\n".join(piece for piece in pieces if piece)
    made.cells = [cell for cell in made.cells if cell.cell_type != "markdown" or cell.source]
    return made


def solutions(text: str, names: Names, inside: bool) -> Iterator[tuple[bool, str, str]]:
    """The pieces of a cell: whether each is of a solution, which may go on through cells; its title; its text."""
    title, kept = ON if inside else "", [""]
    for name, said, body in fences(text):
        if name not in ("solution-start", "solution-end"):
            kept.append(body)
            continue
        yield inside, title, "\n".join(kept)
        inside, kept = name == "solution-start", [""]
        title = f"Solution to {names.title(said.strip())}" if inside else ""
    yield inside, title, "\n".join(kept)


def fences(text: str) -> Iterator[tuple[str, str, str]]:
    """The outermost directives of a text, `(name, argument, whole text)`; what lies between them has no name."""
    between: list[str] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        start = FENCE.match(lines[at])
        if not start:
            between.append(lines[at])
            at += 1
            continue
        end = closing(lines, at, start[2])
        whole = lines[at : end + 1]
        at = end + 1
        if not start[3]:
            between += whole  # code
            continue
        if between:
            yield "", "", "\n".join(between)
        yield start[3], start[4], "\n".join(whole)
        between = []
    if between:
        yield "", "", "\n".join(between)


def closing(lines: list[str], at: int, fence: str) -> int:
    """The line that closes the fence of line `at`: as many of its signs or more, and nothing else."""
    for place in range(at + 1, len(lines)):
        line = lines[place].strip()
        if line and set(line) == {fence[0]} and len(line) >= len(fence):
            return place
    raise ValueError(f"nothing closes {lines[at].strip()!r}")


def markdown(text: str, names: Names) -> str:
    """A text in MyST as plain Markdown."""
    pieces = [box(name, said, whole, names) if name else prose(whole, names) for name, said, whole in fences(text)]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(piece.strip("\n") for piece in pieces if piece.strip()))


def prose(text: str, names: Names) -> str:
    """What stands between directives: code blocks as they are, all else without labels, roles and lists of terms."""
    kept, code = [], re.compile(r"^( *)(`{3,}|~{3,})[^\n]*\n.*?^ *\2`*~* *$", re.M | re.S)
    at = 0
    for block in code.finditer(text):
        kept += [lines(text[at : block.start()], names), block[0]]
        at = block.end()
    return "".join([*kept, lines(text[at:], names)])


def lines(text: str, names: Names) -> str:
    text = TERM.sub(terms, COMMENT.sub("", LABEL.sub("", text)))
    return PIECE.sub(lambda piece: inline(piece, names), text)


def terms(found: re.Match[str]) -> str:
    """A term and what is said of it, as an item of a list."""
    said = re.sub(r"^(?::[ \t]+|[ \t]+)", "", found[2], flags=re.M).strip()
    term = found[1].strip().rstrip(".:")
    return f"* {term if term.startswith('**') else f'**{term}**'}: " + said.replace("\n", "\n  ") + "\n"


def inline(piece: re.Match[str], names: Names) -> str:
    """A role as text, a link or code. A formula loses its label, and code is code."""
    if piece["formula"]:
        return piece["formula"]
    if not piece["role"]:
        return piece[0]
    role, said = piece["role"], " ".join(piece["said"].split())
    shown = TARGET.fullmatch(said)
    text, target = (shown[1], shown[2]) if shown else ("", said)
    if role.startswith("cite"):
        return cited(role, target if shown else said, names)
    if role in ("ref", "doc", "numref", "eq"):
        asked = {"ref": names.ref, "doc": names.doc}.get(role, names.number)
        own, address = asked(target)
        return link(NUMBER.sub(own.split()[-1], text) if text and role == "numref" else text or own, address)
    if role.startswith(("py:", "c:", "cpp:", "js:")) or role in ("func", "class", "mod", "meth", "attr", "code"):
        return f"`{text or (target.rpartition('.')[2] if target.startswith('~') else target)}`"
    return f"${said}$" if role == "math" else text or said


def cited(role: str, keys: str, names: Names) -> str:
    """*Niu et al. [2021]* in the text, *[Niu et al., 2021]* beside it."""
    found = [names.cite(key.strip()) for key in keys.split(",")]
    if role in ("cite:t", "cite:ts"):
        return ", ".join(link(f"{people} [{year}]", address) for people, year, address in found)
    return f"[{'; '.join(link(f'{people}, {year}', address) for people, year, address in found)}]"


def link(text: str, address: str) -> str:
    return f"[{text}]({address})" if address else text


def box(name: str, said: str, whole: str, names: Names) -> str:
    """A directive as a quotation or as `<details>`."""
    options, body = opened(whole)
    if name == "math":
        return f"$$\n{body.strip()}\n$$"
    if name == "exercise":
        number = names.number(options["label"])[0] if "label" in options else "Exercise"
        title = f"{number}: {said.strip()}" if said.strip() else number
    elif name == "question":
        return asked(said, options, body, names)
    elif name == "solution":
        title = f"Solution to {names.title(said.strip())}"
    elif name in BOXES:
        title = said.strip() if name in ("admonition", "dropdown") else name.capitalize()
        body = body if name in ("admonition", "dropdown") or not said.strip() else f"{said}\n{body}"
    elif own := names.made(name):
        return own
    else:
        raise ValueError(f"the directive {name} has no form in plain Markdown: give it one in book/_tools/portable.py")
    inside = markdown(body, names)
    if name == "dropdown" or "dropdown" in options.get("class", "").split() or "dropdown" in options:
        return folded(lines(title, names), inside)
    return quoted(f"**{lines(title, names)}**\n\n{inside}")


def asked(title: str, options: dict[str, str], body: str, names: Names) -> str:
    """A question that the site checks: here it is asked, and its answer folded, with the hints."""
    question = asking.read(title.strip(), options, body)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    text = question.asks
    if question.kind in ("order", "choice"):
        text = re.sub(r"^- ", lambda item: f"- **{next(letters)}.** ", text, flags=re.M)
    hints = "\n".join(f"- {_wrong(question, wrong)}: {said}" for wrong, said in question.hints)
    answer = f"{_wrong(question, question.answer)}\n\n{question.why}\n\n{hints}"
    head = f"**Check yourself: {lines(question.title, names)}**" if question.title else "**Check yourself**"
    return "\n\n".join([quoted(f"{head}\n\n{markdown(text, names)}"), folded("The answer", markdown(answer, names))])


def _wrong(question: asking.Question, answer: str) -> str:
    """An answer as it is named: what is typed as code."""
    typed = question.kind in ("number", "formula") and answer not in ("less", "more", "*")
    return f"`{answer}`" + f" {question.options.get('unit', '')}".rstrip() if typed else f"**{answer}**"


def opened(whole: str) -> tuple[dict[str, str], str]:
    """The options of a directive, and what stands in it."""
    inner = whole.splitlines()[1:-1]
    options = {}
    while inner and (option := OPTION.match(inner[0].strip())):
        options[option[1]] = option[2].strip()
        inner.pop(0)
    return options, "\n".join(inner)


def quoted(text: str) -> str:
    """A quotation. A formula in it stands on one line, or its reader would take the signs at the margin for maths."""
    text = PIECE.sub(lambda piece: piece[0] if "`" in piece[0] else " ".join(piece[0].split()), text)
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())


def folded(title: str, text: str) -> str:
    """What opens at a click; between the tags stands Markdown, and empty lines say so."""
    title = html.escape(title, quote=False)
    for pattern, tag in ((r"`([^`]+)`", "code"), (r"\*\*(.+?)\*\*", "strong"), (r"\*(.+?)\*", "em")):
        title = re.sub(pattern, rf"<{tag}>\1</{tag}>", title)
    return f"<details>\n<summary>{title}</summary>\n\n{text.strip()}\n\n</details>"
