"""TaxonomyMap: tick types of the taxonomy, see which works and chapters have them all, and open the chapter."""

from typing import Any, ClassVar

from attnlib.book import taxonomy
from attnlib.widgets.picture import Picture
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.traits import Choice, Output, Record, StateError, Text, Texts

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
_PARTS = {"": "chapter", "frame": "the frame", "score": "part: score", "distribution": "part: distribution"}

_MANY = (("", 0, None),)


def _criteria() -> list[dict[str, Any]]:
    return [
        {"title": one.title, "short": one.short, "question": one.question, "types": list(one.names)}
        for one in taxonomy.CRITERIA
    ]


def _entries() -> list[dict[str, Any]]:
    """The works, then the chapters, as the page reads them."""
    titles = {chapter.page: chapter.title for chapter in taxonomy.CHAPTERS}
    works = [
        {
            "kind": "work",
            "name": work.name,
            "by": f"{work.authors}, {work.year}",
            "types": list(work.types),
            "note": work.note,
            "pages": [{"page": page, "title": titles[page]} for page in work.pages],
        }
        for work in taxonomy.WORKS
    ]
    chapters = [
        {
            "kind": "chapter",
            "name": chapter.title,
            "by": _PARTS[chapter.part],
            "types": list(chapter.types),
            "note": "",
            "pages": [{"page": chapter.page, "title": chapter.title}],
        }
        for chapter in taxonomy.CHAPTERS
    ]
    return works + chapters


class TaxonomyMap(PresetWidget):
    """The works and the chapters of the book in the taxonomy, filtered by the types that you tick.

    Args:
        types: names of types; what remains has all of them.
        book: the way from the page with the widget to the book's folder, for the links of a built page.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.
        criteria: title, short title, question and types of each criterion; the taxonomy's unless given.
        entries: the works and chapters; the taxonomy's unless given.

    The outputs ``works`` and ``chapters`` are the names of those that remain.

    >>> TaxonomyMap(types=["soft", "hard"]).works
    ['Show, attend and tell']
    """

    types = Texts([])
    book = Text("..")
    criteria = Record(
        {"title": Text(""), "short": Text(""), "question": Text(""), "types": Texts([])}, _criteria(), shape=_MANY
    )
    entries = Record(
        {
            "kind": Choice(("work", "chapter"), "work"),
            "name": Text(""),
            "by": Text(""),
            "types": Texts([]),
            "note": Text(""),
            "pages": Record({"page": Text(""), "title": Text("")}, [], shape=_MANY),
        },
        _entries(),
        shape=_MANY,
    )
    sample: ClassVar = {"types": ["local", "self"]}
    presets = Presets(PRESETS)
    works = Output("names of the works that remain")
    chapters = Output("names of the chapters that remain")

    def _check(self, state: dict[str, Any]) -> None:
        known = [name for one in state["criteria"] for name in one["types"]]
        for name in state["types"]:
            if name not in known:
                raise StateError(f"types must be of {', '.join(known)}; got {name!r}")

    def _compute(self) -> None:
        self.set_trait("works", self._remaining("work"))
        self.set_trait("chapters", self._remaining("chapter"))

    def _remaining(self, kind: str) -> list[str]:
        wanted = set(self.types)
        return [one["name"] for one in self.entries if one["kind"] == kind and wanted <= set(one["types"])]

    def summary(self) -> str:
        """What is asked for, and what remains."""
        total = sum(one["kind"] == "work" for one in self.entries)
        asked = f"Asked for: {', '.join(self.types)}" if self.types else "Nothing asked for"
        names = ": " + ", ".join(self.works) if 0 < len(self.works) < total else ""
        return f"{asked}. {len(self.works)} of {total} works in the taxonomy remain{names}."

    def picture(self) -> Picture:
        """Every work and its types by criterion; what does not remain is grey and has no dot."""
        works = [one for one in self.entries if one["kind"] == "work"]
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
