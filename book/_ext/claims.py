"""The page of claims: `{claims}` shows what every notebook has stored, in the order of the book.

Each claim is a label as well: `{ref}` to `claim-<id>` leads to its card, from any page.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from attnlib.book.claims import MIME, VERDICTS, Claim, restore
from book._tools import toc

LOGGER = logging.getLogger(__name__)
ANSWERS = {"holds": "hold", "fails": "fail", "open": "are open"}


class Found(NamedTuple):
    """A claim, and the notebook that stores it."""

    claim: Claim
    notebook: Path

    @property
    def label(self) -> str:
        return f"claim-{self.claim.id}"


def gather(paths: Iterable[Path]) -> tuple[list[Found], list[tuple[Path, str]]]:
    """The claims of notebooks, in the order of `paths` and of the cells; and what is wrong with them, and where."""
    found: dict[str, Found] = {}
    faults: list[tuple[Path, str]] = []
    for path in paths:
        for number, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
            outputs = [output["data"] for output in cell.get("outputs", []) if MIME in output.get("data", {})]
            says = [f"cell {number}: {fault}" for fault in _unrecorded(cell, outputs)]
            for data in outputs:
                try:
                    entry = Found(restore(data[MIME]), path)
                except (TypeError, ValueError) as error:
                    says.append(f"cell {number}: malformed claim: {error}")
                    continue
                if f'id="{entry.label}"' not in "".join(data.get("text/html", "")):
                    says.append(f"cell {number}: the card of {entry.claim.id!r} has no label {entry.label}")
                if entry.claim.id in found:
                    first = found[entry.claim.id].notebook.name
                    says.append(f"cell {number}: id {entry.claim.id!r} is already used in {first}")
                found.setdefault(entry.claim.id, entry)
            faults += [(path, said) for said in says]
    return list(found.values()), faults


def _unrecorded(cell: dict[str, Any], outputs: list[Any]) -> list[str]:
    records = cell["cell_type"] == "code" and "claims.record(" in "".join(cell["source"])
    return ["calls claims.record but has stored no claim; execute the notebook"] if records and not outputs else []


def summary(claims: list[Claim]) -> str:
    """How many claims have each verdict, and how their conditions came out."""
    verdicts = [claim.verdict for claim in claims]
    answers = [answer for claim in claims for _, answer in claim.tests]
    counted = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
    conditions = ", ".join(f"{answers.count(answer)} {words}" for answer, words in ANSWERS.items())
    return f"{len(claims)} claims tested: {counted}. Of their {len(answers)} conditions {conditions}."


def tally(claim: Claim) -> str:
    """How its conditions came out, counted; the card in the chapter has them with their numbers."""
    answers = [answer for _, answer in claim.tests]
    counted = ", ".join(f"{answers.count(answer)} {answer}" for answer in ANSWERS if answer in answers)
    return f" Of {len(answers)} condition{'s' if len(answers) > 1 else ''}: {counted}."


def register(app: Sphinx, env: BuildEnvironment) -> None:
    """Make each claim a label, and what is wrong with one a warning."""
    found, faults = gather(toc.notebooks(Path(app.srcdir)))
    for path, said in faults:
        LOGGER.warning("%s", said, location=env.path2doc(str(path)))
    labels: Any = env.get_domain("std")
    for entry in found:
        docname = env.path2doc(str(entry.notebook))
        labels.labels[entry.label] = docname, entry.label, entry.claim.claim
        labels.anonlabels[entry.label] = docname, entry.label


class Claims(SphinxDirective):
    """Every claim: a count, and an entry for each, chapter by chapter."""

    def run(self) -> list[nodes.Node]:
        notebooks = toc.notebooks(Path(self.env.app.srcdir))
        for path in notebooks:
            self.env.note_dependency(str(path))
        found, _ = gather(notebooks)
        shown: list[nodes.Node] = [nodes.paragraph("", summary([entry.claim for entry in found]))]
        for path in dict.fromkeys(entry.notebook for entry in found):
            title = nodes.strong("", "", self._link("doc", f"/{self.env.path2doc(str(path))}"))
            shown.append(nodes.paragraph("", "", title))
            shown += [self._entry(one) for one in found if one.notebook == path]
        return shown

    def _link(self, kind: str, target: str, text: str = "") -> nodes.Node:
        named = nodes.inline("", text, classes=["std", f"std-{kind}"])
        options = {"refdomain": "std", "reftype": kind, "reftarget": target, "refexplicit": bool(text)}
        return addnodes.pending_xref("", named, refdoc=self.env.docname, refwarn=True, **options)

    def _entry(self, entry: Found) -> nodes.container:
        """The verdict, which leads to the card in the chapter; the claim; what was done; a table of what came out."""
        claim = entry.claim
        verdict = nodes.strong("", "", self._link("ref", entry.label, claim.verdict.capitalize()))
        named = nodes.Text(f". {claim.claim} ({claim.source})")
        did = claim.experiment if claim.experiment.rstrip().endswith((".", "!", "?")) else f"{claim.experiment}."
        shown = nodes.container(classes=["claim-entry", f"verdict-{claim.verdict}"], ids=[f"tested-{claim.id}"])
        shown += nodes.paragraph("", "", verdict, named)
        shown += nodes.paragraph("", f"{did}{tally(claim)}")
        shown += _table(claim)
        return shown


def _table(claim: Claim) -> nodes.table:
    """An arm a row."""
    width = max(map(len, claim.rows))
    over = f", {claim.over}" if claim.over else ""
    heads = ("", "mean" if width > 2 else "value", f"± deviation{over}")[:width]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=size) for size in (50, 20, 30)[:width]), cols=width)
    group += nodes.thead("", _row(*heads))
    group += nodes.tbody("", *(_row(*row, *[""] * (width - len(row))) for row in claim.rows))
    return nodes.table("", group)


def _row(*cells: str) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in cells))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("claims", Claims)
    app.connect("env-updated", register)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
