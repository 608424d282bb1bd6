"""The cards of the museum of broken attention, as its page shows them."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from attnlib.check import properties
from attnlib.museum import Exhibit, Source

__all__ = ["Shelf", "card", "code_of", "shelf", "told"]

SITE = "https://github.com"
TINY = 1e-9  # below it a number is rounding


class Shelf(NamedTuple):
    """Cards that a notebook shows folded, each under its name and its number."""

    cards: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{len(self.cards)} exhibits"

    def _repr_markdown_(self) -> str:
        return "\n\n".join(self.cards)


def told(number: float) -> str:
    """A number as a card tells it.

    >>> told(1.87507), told(-65504.0), told(3e-18), told(7.0), told(float("nan"))
    ('1.88', '−65504', '0', '7', 'NaN')
    """
    if math.isnan(number):
        return "NaN"
    rounded = 0.0 if abs(number) < TINY else number
    whole = rounded == round(rounded) or abs(rounded) >= 1000
    return (f"{round(rounded)}" if whole else f"{rounded:.3g}").replace("-", "−")


def linked(source: Source) -> str:
    """A source as a link to its thread, or to the file as it was read.

    >>> linked(Source("owner/name", "#3", told=True))
    '[owner/name#3](https://github.com/owner/name/issues/3)'
    """
    at = f"{SITE}/{source.repository}"
    if source.place.startswith("#"):
        return f"[{source.repository}{source.place}]({at}/issues/{source.place[1:]})"
    return f"[{source.repository}, {source.place}]({at}/blob/{source.commit}/{source.place})"


def code_of(exhibit: Exhibit) -> str:
    """Its lines, with a word above the one at fault.

    >>> from attnlib.museum import find
    >>> print(code_of(find("softmax over the queries")).splitlines()[2].strip())
    # the fault:
    """
    lines = exhibit.code.splitlines()
    at = next(i for i, line in enumerate(lines) if exhibit.fault in line)
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    return "\n".join([*lines[:at], f"{indent}# the fault:", *lines[at:]])


def card(exhibit: Exhibit) -> str:
    """An exhibit in Markdown: name and number in sight, all else folded. The number is computed here."""
    sources = "; ".join(linked(source) for source in exhibit.sources)
    untold = " Known as its thread tells it; the code was not read." if all(s.told for s in exhibit.sources) else ""
    return "\n".join(
        [
            f"````{{admonition}} {exhibit.name[0].upper()}{exhibit.name[1:]}: {told(exhibit.symptom())}",
            ":class: dropdown",
            f":name: exhibit-{exhibit.name.replace(' ', '-')}",  # where FindTheBug leads to
            "",
            f"**The number**: {exhibit.shows}.",
            "",
            f"**Published**: {exhibit.mechanism}, ${exhibit.equation}$.",
            "",
            "```python",
            code_of(exhibit),
            "```",
            "",
            f"**Why training did not reveal it**: {exhibit.unseen}",
            "",
            f"**What does**: *{exhibit.breaks}*, {properties()[exhibit.breaks]}.",
            "",
            f"**Found in** {sources}.{untold}",
            "````",
        ]
    )


def shelf(exhibits: Iterable[Exhibit]) -> Shelf:
    """Cards for the last line of a cell.

    Args:
        exhibits: those of ``attnlib.museum.EXHIBITS``, or some of them.

    >>> from attnlib.museum import find
    >>> shelf([find("softmax over one item")])._repr_markdown_().splitlines()[0].partition("} ")[2]
    'Softmax over one item: 7'
    """
    return Shelf(tuple(card(exhibit) for exhibit in exhibits))
