"""Questions that the page checks, read from the text of a page: for the site, for saved notebooks, for the tests.

    ```{question} The second slot
    :label: kqv-q-weight
    :kind: number
    :within: 0.005

    What is asked, in MyST.

    = 2/7
    > 1/3 : A hint for who answers 1/3.
    > less : A hint for who is below the answer and in no line above; `more`, and `*` for all others.
    ! Why it is so, in MyST: shown when the answer is right, and folded with it.
    ```

The kinds, and what stands behind `=` and before the colon of a hint (which is a colon between spaces):

* `number`: arithmetic, as the reader may type it. `within` is how far from it is still right, `unit` what it counts.
* `formula`: in the letters of `variables`, as in `m, n, x -2 2`: the range in which it is compared, 0.5 to 3 where none
  is given.
* `order`: letters of the items of the list that is asked about, as in `b a c`; a hint is for all orders in which its
  items come one after the other. The list is shown as it is written, so it must not be written in order; its items are
  plain words, which are read out when they move.
* `choice`: the letter of an item.
* `cell`: a row and a column of the table that is asked about, as in `Ben, milk`; a hint may say `*` for one of them.

That the answer is right, and a hint's number the mistake that it speaks of, is proved by the function of the label's
name in `tests/questions/`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KINDS = ("number", "formula", "order", "choice", "cell")
OPTIONS = ("label", "kind", "within", "unit", "variables")
RANGE = (0.5, 3.0)
FENCE = re.compile(r"^(`{3,}|:{3,})\{question\}[ \t]*(.*?)[ \t]*\n(.*?)^\1[ \t]*$", re.M | re.S)
OPTION = re.compile(r":([\w-]+):[ \t]*(.*?)[ \t]*$")
PART = re.compile(r"^([=>!]) (.*)$")


@dataclass(frozen=True)
class Question:
    """A question as it is written; `hints` are wrong answers, each with what is said to it."""

    title: str
    options: dict[str, str]
    asks: str
    answer: str
    hints: list[tuple[str, str]]
    why: str

    @property
    def label(self) -> str:
        return self.options["label"]

    @property
    def kind(self) -> str:
        return self.options["kind"]

    @property
    def items(self) -> list[str]:
        """The items of the last list that is asked about, each on a line."""
        return re.findall(r"^- (.*)$", self.asks, re.M)

    @property
    def table(self) -> tuple[list[str], list[str]]:
        """The names of rows and columns of the table that is asked about."""
        lines = [line for line in self.asks.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
        heads = [cell.strip() for cell in lines[0].strip().strip("|").split("|")] if lines else []
        return [row[0] for row in cells[2:]], heads[1:]

    @property
    def variables(self) -> dict[str, tuple[float, float]]:
        """The range of each letter of a formula."""
        found = {}
        for said in self.options.get("variables", "").split(","):
            name, *ends = said.split()
            found[name] = (float(ends[0]), float(ends[1])) if ends else RANGE
        return found

    def page(self) -> dict[str, Any]:
        """What the page's script is told.

        Raises:
            ValueError: an answer or a hint names what is not there.
        """
        told: dict[str, Any] = {"kind": self.kind, "title": self.title, "answer": self.place(self.answer)}
        told["wrong"] = [self.place(wrong) for wrong, _ in self.hints]
        if "within" in self.options:
            told["within"] = float(self.options["within"])
        if "unit" in self.options:
            told["unit"] = self.options["unit"]
        if self.kind == "formula":
            told["variables"] = self.variables
        return told

    def place(self, said: str) -> Any:
        """An answer as the script has it: a text, or places in the list or table."""
        if said == "*" or self.kind in ("number", "formula"):
            return said
        if self.kind == "cell":
            sides = said.split(", ")
            if len(sides) != 2:
                raise ValueError(f"{said!r} is no row and column")
            return [_found(side, names) for side, names in zip(sides, self.table, strict=True)]
        letters = [chr(ord("a") + i) for i in range(len(self.items))]
        places = [_found(letter, letters) for letter in said.split()]
        if self.kind == "order":
            return places
        if len(places) != 1:
            raise ValueError(f"{said!r} is not one item")
        return places[0]


def _found(name: str, names: list[str]) -> int | None:
    if name == "*":
        return None
    if name not in names:
        raise ValueError(f"{name!r} is not among {', '.join(names) or 'none'}")
    return names.index(name)


def read(title: str, options: dict[str, str], body: str) -> Question:
    """A question of its title, options and body.

    Raises:
        ValueError: something is missing or is not known.
    """
    asks, parts = _parts(body)
    if not options.get("label"):
        raise ValueError("a question has no label")
    label = options["label"]
    if options.get("kind") not in KINDS:
        raise ValueError(f"{label}: the kind must be one of {', '.join(KINDS)}; got {options.get('kind')!r}")
    if options["kind"] == "formula" and not options.get("variables"):
        raise ValueError(f"{label}: a formula has variables")
    counts = {sign: sum(kind == sign for kind, _ in parts) for sign in "=>!"}
    if counts["="] != 1 or counts["!"] != 1 or not counts[">"]:
        raise ValueError(f"{label}: one answer, one reason and at least one hint, not {counts}")
    said = {sign: text for sign, text in parts if sign != ">"}
    hints = []
    for wrong, colon, hint in (text.partition(" : ") for sign, text in parts if sign == ">"):
        if not colon or not hint.strip():
            raise ValueError(f"{label}: the hint {wrong!r} says nothing behind a colon")
        hints.append((wrong.strip(), hint.strip()))
    question = Question(title, options, asks, said["="].strip(), hints, said["!"].strip())
    try:
        question.page()
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None
    return question


def _parts(body: str) -> tuple[str, list[tuple[str, str]]]:
    """What is asked, and what follows: each sign with its text, which may go on for lines."""
    asks: list[str] = []
    parts: list[list[str]] = []
    for line in body.splitlines():
        if part := PART.match(line):
            parts.append([part[1], part[2]])
        elif parts:
            parts[-1].append(line)
        else:
            asks.append(line)
    return "\n".join(asks).strip(), [(sign, "\n".join(lines).strip()) for sign, *lines in parts]


def opened(text: str) -> tuple[dict[str, str], str]:
    """The options at the head of a directive's content, and what stands below them."""
    lines, options = text.splitlines(), {}
    while lines and (option := OPTION.match(lines[0].strip())):
        options[option[1]] = option[2]
        lines.pop(0)
    return options, "\n".join(lines)


def questions(text: str) -> Iterator[Question]:
    """The questions of a page's text, in their order."""
    for _, title, content in FENCE.findall(text):
        options, body = opened(content)
        if unknown := set(options) - set(OPTIONS):
            raise ValueError(f"{options.get('label')}: unknown option {unknown.pop()}")
        yield read(title, options, body)
