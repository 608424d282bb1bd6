"""TaxonomyMap: tick types of the taxonomy and see which works have them all; in the book, open the chapters."""

from typing import Any, ClassVar

from attnlib.book import taxonomy
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.traits import Output, Record, StateError, Text, Texts

__all__ = ["PRESETS", "TaxonomyMap"]

PRESETS = [
    preset(
        "Soft and hard at once",
        "One paper built both and compared them: tick local instead of hard, and two remain, a translator and a warp "
        "of images.",
        types=["soft", "hard"],
    ),
    preset(
        "Nothing asked for",
        "The numbers beside the types say how many works have them: find the one that only one work has.",
        types=[],
    ),
    preset(
        "Where the choice is hard",
        "All but one of these choose a place of a map and not an item of a list: untick hard and tick location-wise to "
        "see which soft work joins them.",
        types=["hard"],
    ),
    preset(
        "Two inputs in one work",
        "One work takes its queries from its own input in one place and from another input in the next: read its card "
        "for where it does which.",
        types=["distinctive", "self"],
    ),
    preset(
        "An empty place",
        "No work here draws a choice in several heads: one of the exercises builds it.",
        types=["hard", "multi-head"],
    ),
]

_MANY = (("", 0, None),)


class TaxonomyMap(PresetWidget):
    """The works in the taxonomy, filtered by the types that you tick.

    In a page of the built book it also shows the book's chapters, which the build leaves there as data.

    Args:
        types: names of types; what remains has all of them.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.
        criteria: short title, question, types and their meanings of each criterion; the taxonomy's unless given.
        entries: the works; the taxonomy's unless given.

    The output ``works`` holds the names of those that remain.

    >>> TaxonomyMap(types=["soft", "hard"]).works
    ['Show, attend and tell']
    """

    types = Texts([])
    criteria = Record(
        {"short": Text(""), "question": Text(""), "types": Texts([]), "meanings": Texts([])},
        [
            {
                "short": one.short,
                "question": one.question,
                "types": list(one.names),
                "meanings": [kind.meaning for kind in one.types],
            }
            for one in taxonomy.CRITERIA
        ],
        shape=_MANY,
    )
    entries = Record(
        {"name": Text(""), "by": Text(""), "types": Texts([]), "note": Text("")},
        [
            {"name": work.name, "by": f"{work.authors}, {work.year}", "types": list(work.types), "note": work.note}
            for work in taxonomy.WORKS
        ],
        shape=_MANY,
    )
    presets = Presets(PRESETS)
    works = Output("names of the works that remain")

    sample: ClassVar = {"types": ["local", "self"]}

    def _check(self, state: dict[str, Any]) -> None:
        known = [name for one in state["criteria"] for name in one["types"]]
        for name in state["types"]:
            if name not in known:
                raise StateError(f"types must be of {', '.join(known)}; got {name!r}")

    def _compute(self) -> None:
        wanted = set(self.types)
        self.set_trait("works", [one["name"] for one in self.entries if wanted <= set(one["types"])])

    def summary(self) -> str:
        """What is asked for, and what remains."""
        total = len(self.entries)
        asked = f"Asked for: {', '.join(self.types)}" if self.types else "Nothing asked for"
        names = ": " + ", ".join(self.works) if 0 < len(self.works) < total else ""
        return f"{asked}. {len(self.works)} of {total} works in the taxonomy remain{names}."
