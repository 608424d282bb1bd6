"""What a chapter asks of its reader: words, lines of code, formulas, minutes; in sight, and with everything open.

    python book/_tools/budget.py [NOTEBOOK ...]

In sight is what a reader sees who opens nothing: not the solutions, nor folded cells, nor admonitions that drop down
(their titles are in sight), nor the answer and the hints of a question. Words are those of the prose and of the
captions of figures, a formula within a line for one; lines of code are those that are not empty; formulas are the lines
of what is displayed. What cells print is not counted.
"""

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parents[2]
WORDS_A_MINUTE = 200  # of prose that one stops to think about
SECONDS_A_LINE = 5  # of code
SECONDS_A_FORMULA = 20  # for each line of it


class Count(NamedTuple):
    """What there is to read."""

    words: int
    code: int
    formulas: int

    @property
    def minutes(self) -> int:
        seconds = SECONDS_A_LINE * self.code + SECONDS_A_FORMULA * self.formulas
        return round(self.words / WORDS_A_MINUTE + seconds / 60)

    def __str__(self) -> str:
        return f"{self.minutes} min: {self.words:,} words, {self.code} lines of code, {self.formulas} of formulas"


class Limit(NamedTuple):
    """The most that may be in sight."""

    minutes: int
    words: int
    code: int


BUDGET = Limit(minutes=35, words=3500, code=120)


def counted(notebook: Mapping[str, Any]) -> tuple[Count, Count]:
    """What is in sight, and what there is with everything open."""
    seen, everything = dict.fromkeys(Count._fields, 0), dict.fromkeys(Count._fields, 0)
    for kind, amount, in_sight in _pieces(notebook):
        everything[kind] += amount
        seen[kind] += amount * in_sight
    return Count(**seen), Count(**everything)


def complaints(notebook: Mapping[str, Any]) -> list[str]:
    """Where a page has more in sight than it may."""
    seen, _ = counted(notebook)
    counts = {field: getattr(seen, field) for field in Limit._fields}
    return [
        f"{counts[field]:,} {_named(field)} in sight, more than {most:,}"
        for field, most in BUDGET._asdict().items()
        if counts[field] > most
    ]


def _named(field: str) -> str:
    return {"code": "lines of code", "minutes": "minutes"}.get(field, field)


def label(notebook: Mapping[str, Any]) -> str:
    """The two reading times as the card says them."""
    seen, everything = counted(notebook)
    return f"{seen.minutes} min; with everything open {everything.minutes}"


def on_card(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with its reading times as the last entry of its card, if it has one."""
    entry = f"\n\n**Reading time**\n: {label(notebook)}.\n"
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and CARD.search(text):
            cell["source"] = CARD.sub(lambda card: card[1].rstrip() + entry + card[2], text, count=1)
            break
    return notebook


CARD = re.compile(r"^(```\{admonition\}[^\n]*\n:class: card\n.*?)^(```\s*)$", re.M | re.S)


# --- what stands on a page --------------------------------------------------------------------------------------------


FENCE = re.compile(r"\s*(`{3,}|:{3,})\s*(.*)$")
DIRECTIVE = re.compile(r"\{([\w:-]+)\}\s*(.*)$")
OPTION = re.compile(r"\s*:([\w-]+):\s*(.*)$")
ANSWER = re.compile(r"[=>!] ")
NOT_READ = re.compile(r"^\(\S+\)=\s*$|^\s*<!--.*-->\s*$|^\s*\|?[\s:|-]+\|?\s*$")


def _pieces(notebook: Mapping[str, Any]) -> Iterator[tuple[str, int, bool]]:
    """What is there, how much of it, and whether it is in sight."""
    reader = _Reader()
    for cell in notebook["cells"]:
        source, metadata = "".join(cell["source"]), cell.get("metadata", {})
        if cell["cell_type"] == "markdown":
            yield from reader.text(source)
        elif cell["cell_type"] == "code":
            folded = bool({"hide-input", "hide-cell", "remove-cell", "remove-input"} & {*metadata.get("tags", [])})
            yield "code", sum(bool(line.strip()) for line in source.splitlines()), not (folded or reader.solution)
            caption = metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
            yield "words", words(caption), not reader.solution


class _Reader:
    """Reads MyST line by line; a solution may run over several cells."""

    def __init__(self) -> None:
        self.solution = False

    def text(self, source: str) -> Iterator[tuple[str, int, bool]]:
        blocks: list[tuple[str, str, bool]] = []  # the fence, the name ("" for a block of code), does it drop down
        options = formula = False
        lines = source.splitlines()
        for at, line in enumerate(lines):
            in_sight = not (self.solution or any(drops for *_, drops in blocks))
            fence = FENCE.match(line)
            if options and OPTION.match(line):
                continue
            options = False
            if blocks and blocks[-1][1] == "question" and ANSWER.match(line):
                blocks[-1] = (*blocks[-1][:2], True)
                in_sight = False
            if blocks and fence and fence[1] == blocks[-1][0] and not fence[2]:
                blocks.pop()
            elif blocks and not blocks[-1][1]:
                yield "code", int(bool(line.strip())), in_sight
            elif fence:
                directive = DIRECTIVE.match(fence[2])
                name, title = (directive[1], directive[2]) if directive else ("", "")
                drops, options = _drops(lines[at + 1 :]), bool(directive)
                blocks.append((fence[1], name, bool(directive) and drops))
                if name.startswith("solution"):
                    self.solution = drops if name == "solution-start" else False
                else:
                    yield "words", words(title), in_sight
            elif formula or line.lstrip().startswith("$$") or (blocks and blocks[-1][1] == "math"):
                inside = line.strip().removeprefix("$$").removesuffix("$$").removesuffix(r"\\").strip()
                shown = inside and not re.fullmatch(r"\\(begin|end)\{\w+\*?\}(\{\w+\})?|\([\w-]+\)", inside)
                yield "formulas", int(bool(shown)), in_sight
                formula = formula != (line.count("$$") % 2 == 1)
            elif not NOT_READ.match(line):
                yield "words", words(line), in_sight


def _drops(following: list[str]) -> bool:
    """Whether the options that follow a directive's head fold it."""
    for line in following:
        option = OPTION.match(line)
        if not option:
            return False
        if option[1] == "class" and "dropdown" in option[2].split():
            return True
    return False


def words(text: str) -> int:
    """How many words there are; a formula, a reference and a piece of code is one."""
    text = re.sub(r"\$[^$]+\$|\{cite[^}]*\}`[^`]*`", " x ", text)
    text = re.sub(r"\{[\w:-]+\}`([^`<]*)(?:<[^`]*>)?`", r" \1 ", text)
    text = re.sub(r"`[^`]*`", " x ", re.sub(r"\]\([^)]*\)", "] ", text))
    return len(re.findall(r"[^\W_]+(?:[-'’.,:/][^\W_]+)*", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    for path in parser.parse_args().notebooks or sorted((ROOT / "book").rglob("*.ipynb")):
        seen, everything = counted(nbformat.read(path, as_version=4))
        print(f"{path.resolve().relative_to(ROOT)}\n    in sight  {seen}\n    all open  {everything}")


if __name__ == "__main__":
    main()
