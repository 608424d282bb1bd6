"""A chapter's place in the taxonomy, read from its card, which is the one place where it is written.

Under *Place in the taxonomy* a card sets in emphasis the types that the chapter has, and the part of the unified model
that it is about, if one: `*Soft* and *global*`, `the *score*`. A chapter that has neither says `*no place*`. Words that
are only named for contrast stand plain. The works that a chapter treats are those cited under *Year and source*.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from attnlib.book.taxonomy import CRITERIA

PARTS = ("frame", "score", "distribution")
NOWHERE = "no place"
CARD = re.compile(r"^(`{3,}|:{3,})\{admonition\}[^\n]*\n:class:[^\n]*\bcard\b(.*?)^\1[ \t]*$", re.M | re.S)
FIELD = re.compile(r"^[-\s]*\*\*(?P<name>[\w ]+)\.?\*\*", re.M)
EMPHASIS = re.compile(r"(?<!\*)\*(?=[^\s*])([^*]+)(?<!\s)\*(?!\*)")
CITED = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")


class Place(NamedTuple):
    """The types that a chapter has, in the order of the table; its part of the model; the works that it treats."""

    types: tuple[str, ...]
    part: str
    sources: tuple[str, ...]


def fields(text: str) -> dict[str, str]:
    """What the card in a text says, by the names of its fields."""
    card = CARD.search(text)
    if not card:
        raise ValueError("there is no card")
    heads = [*FIELD.finditer(card[2])]
    ends = [head.start() for head in heads[1:]] + [len(card[2])]
    return {head["name"]: card[2][head.end() : end] for head, end in zip(heads, ends, strict=True)}


def place(notebook: Mapping[str, Any]) -> Place:
    """The place that a notebook's card gives it.

    Raises:
        ValueError: no card, nothing or an unknown word in emphasis, a word twice, two parts, or a type that the title
            names and the card does not give.
    """
    prose = "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    said = fields(prose)
    words = [" ".join(word.split()).lower() for word in EMPHASIS.findall(said.get("Place in the taxonomy", ""))]
    types = [name for one in CRITERIA for name in one.names]
    if not words:
        raise ValueError("the card sets no type in emphasis under Place in the taxonomy")
    if unknown := [word for word in words if word not in (*types, *PARTS, NOWHERE)]:
        raise ValueError(f"{unknown[0]!r} is no place; there are {', '.join((*types, *PARTS, NOWHERE))}")
    if len(set(words)) < len(words) or len({*words} & {*PARTS}) > 1 or (NOWHERE in words and len(words) > 1):
        raise ValueError(f"a place is told once, of one part, or it is {NOWHERE!r}; got {', '.join(words)}")
    title = re.search(r"^# (.+)$", prose, re.M)
    if missing := [name for name in named(title[1] if title else "") if name not in words]:
        raise ValueError(f"the title names {missing[0]}, the card does not set it in emphasis")
    sources = itertools.chain.from_iterable(
        group.split(",") for group in CITED.findall(said.get("Year and source", ""))
    )
    part = next((word for word in words if word in PARTS), "")
    return Place(tuple(name for name in types if name in words), part, tuple(key.strip() for key in sources))


def named(text: str) -> list[str]:
    """The types that a text names, as words of their own: `self-attention` names `self`, `itself` does not."""
    types = (name for one in CRITERIA for name in one.names)
    return [name for name in types if re.search(rf"(?<![\w-]){name}(?!\w)", text, re.IGNORECASE)]
