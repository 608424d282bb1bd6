"""What a chapter is called elsewhere leads to it: the *Other names* on its card are entries of the index.

The search looks there first, and ranks by `scorer.js`.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms import SphinxTransform

FIELD = "Other names"
KIND = " attention"  # which all have in common, so that nobody needs to type it


def names(card: str) -> list[str]:
    """The names in a field of a card, between commas and full stops, without what is in brackets.

    *X attention* is *X* too.
    """
    plain = re.sub(r"\([^)]*\)|[\"*_]", "", card)
    pieces = (" ".join(piece.split()) for piece in re.split(r"[,;.:]", plain))
    found = [piece for piece in pieces if 2 < len(piece) <= 40 and len(piece.split()) <= 4]
    return found + [piece.removesuffix(KIND) for piece in found if piece.endswith(KIND)]


class Entries(SphinxTransform):
    """Index entries for a page, at its head; before the domains read the page."""

    default_priority = 800

    def apply(self, **options: object) -> None:
        section = next(self.document.findall(nodes.section), None)
        for item in self.document.findall(nodes.definition_list_item):
            if section is None or item[0].astext().strip(" .") != FIELD:
                continue
            target = section["ids"][0]
            found = [("single", name, target, "", None) for name in names(item[-1].astext())]
            section.insert(1, addnodes.index(entries=found))  # the first is the title
            break


def rank(app: Sphinx, config: Config) -> None:
    config.html_search_scorer = str(Path(__file__).with_name("scorer.js"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Entries)
    app.connect("config-inited", rank)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
