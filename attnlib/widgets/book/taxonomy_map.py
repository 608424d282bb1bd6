"""TaxonomyMap: tick types of the taxonomy, see which works have them all, and in the book which chapters."""

from typing import Any, ClassVar

from attnlib.book import taxonomy
from attnlib.widgets.picture import Picture
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.traits import Output, Record, StateError, Text, Texts

__all__ = ["PRESETS", "TaxonomyMap"]

PRESETS = [
    preset(
        "Soft and hard at once",
        "One paper built both and compared them: tick local instead of hard, and another one remains that built two.",
        types=["soft", "hard"],
    ),
    preset(
        "Nothing asked for",
        "The numbers beside the types say how many works have them: find the two that only one work has.",
        types=[],
    ),
    preset(
        "Where the choice is hard",
        "All but one of these weigh places of a map and not items: untick hard and tick location-wise to see which "
        "soft work joins them.",
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
        "No work here draws a choice in several heads: one of the exercises builds it in three lines.",
        types=["hard", "multi-head"],
    ),
]

_COLUMNS = {"softness": 214, "input_form": 352, "input_representation": 456, "output_representation": 626}

_MANY = (("", 0, None),)


def _criteria() -> list[dict[str, Any]]:
    return [
        {"title": one.title, "short": one.short, "question": one.question, "types": list(one.names)}
        for one in taxonomy.CRITERIA
    ]


def _entries() -> list[dict[str, Any]]:
    """The works, as the page reads them."""
    return [
        {"name": work.name, "by": f"{work.authors}, {work.year}", "types": list(work.types), "note": work.note}
        for work in taxonomy.WORKS
    ]


class TaxonomyMap(PresetWidget):
    """The works in the taxonomy, filtered by the types that you tick.

    In a page of the built book it also shows the book's chapters, which the build leaves there as data.

    Args:
        types: names of types; what remains has all of them.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.
        criteria: title, short title, question and types of each criterion; the taxonomy's unless given.
        entries: the works; the taxonomy's unless given.

    The output ``works`` holds the names of those that remain.

    >>> TaxonomyMap(types=["soft", "hard"]).works
    ['Show, attend and tell']
    """

    types = Texts([])
    criteria = Record(
        {"title": Text(""), "short": Text(""), "question": Text(""), "types": Texts([])}, _criteria(), shape=_MANY
    )
    entries = Record({"name": Text(""), "by": Text(""), "types": Texts([]), "note": Text("")}, _entries(), shape=_MANY)
    sample: ClassVar = {"types": ["local", "self"]}
    presets = Presets(PRESETS)
    works = Output("names of the works that remain")

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

    def picture(self) -> Picture:
        """Every work and its types by criterion; what does not remain is grey and has no dot."""
        works = self.entries
        drawing = Picture(760, 82 + 23 * len(works))
        asked = ", ".join(self.types) if self.types else "nothing"
        drawing.text(16, 26, f"Asked for: {asked}. {len(self.works)} of {len(works)} works remain.", size=14, bold=True)
        for left, one in zip(_COLUMNS.values(), self.criteria, strict=False):
            drawing.text(left, 54, one["short"], bold=True)
        drawing.line([(16, 62), (744, 62)], stroke="edge")
        for row, work in enumerate(works):
            self._draw_row(drawing, work, 80 + 23 * row)
        return drawing

    def _draw_row(self, drawing: Picture, work: dict[str, Any], y: int) -> None:
        remains = work["name"] in self.works
        ink = "ink" if remains else "soft"
        if remains:
            drawing.circle(22, y - 4, 5, fill="query")
        drawing.text(34, y, work["name"], fill=ink, bold=remains)
        for left, one in zip(_COLUMNS.values(), self.criteria, strict=False):
            own = [name for name in one["types"] if name in work["types"]]
            drawing.text(left, y, ", ".join(own), fill=ink)
