"""The conclusion, gathered from the claims: how many came out how, and each in a row of a table.

* `{outcomes}` says how many claims there are and how many have each verdict.
* `{outcomes} refuted` says how many are refuted, and has a table of them in the order of the book. With the option
  `class: dropdown` the table is folded, under the verdict and the count.
* The roles `{supported}`, `{mixed}`, `{refuted}` and `{undecided}` refer to a claim's card, as `{ref}` does. A sentence
  that says how a claim came out uses them: where its verdict is another, the build stops.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import ReferenceRole, SphinxDirective

from attnlib.book.claims import VERDICTS
from book._ext.claims import Found, gather, summary
from book._ext.front import read, title
from book._tools import toc

LOGGER = logging.getLogger(__name__)
WIDTHS = (72, 28)  # shares of a row, in percent


def having(found: list[Found], verdict: str) -> list[Found]:
    """The claims with this verdict, in the order in which they are given."""
    return [entry for entry in found if entry.claim.verdict == verdict]


def counted(found: list[Found], verdict: str) -> str:
    """How many claims have this verdict, as a sentence."""
    count = len(having(found, verdict))
    of = f"Of {len(found)} claims" if len(found) != 1 else "Of one claim"
    return f"{of}, {count or 'none'} {'is' if count < 2 else 'are'} {verdict}{':' if count else '.'}"


def differing(found: list[Found], label: str, verdict: str) -> str | None:
    """What is wrong with a sentence that gives the claim with this label this verdict."""
    verdicts = {entry.label: entry.claim.verdict for entry in found}
    if label not in verdicts:
        return f"there is no claim with the label {label!r}"
    return None if verdicts[label] == verdict else f"{label} is said to be {verdict} and is {verdicts[label]}"


def gathered(env: BuildEnvironment) -> list[Found]:
    """The claims of all notebooks, on which the page then depends; they are read once for a page."""
    if "claims" not in env.temp_data:
        notebooks = toc.notebooks(Path(env.app.srcdir))
        for path in notebooks:
            env.note_dependency(str(path))
        env.temp_data["claims"] = gather(notebooks)[0]
    found: list[Found] = env.temp_data["claims"]
    return found


def link(env: BuildEnvironment, kind: str, target: str, text: str) -> nodes.Node:
    named = nodes.inline("", text, classes=["std", f"std-{kind}"])
    options = {"refdomain": "std", "reftype": kind, "reftarget": target, "refexplicit": True, "refwarn": True}
    return addnodes.pending_xref("", named, refdoc=env.docname, **options)


class Outcomes(SphinxDirective):
    """How many claims came out how; with a verdict, which."""

    optional_arguments = 1
    option_spec: ClassVar = {"class": directives.class_option}

    def run(self) -> list[nodes.Node]:
        found = gathered(self.env)
        if not self.arguments:
            return [nodes.paragraph("", summary([entry.claim for entry in found]))]
        verdict = self.arguments[0]
        if verdict not in VERDICTS:
            raise self.error(f"{verdict!r} is no verdict; there are {', '.join(VERDICTS)}")
        said = nodes.paragraph("", counted(found, verdict))
        if not (count := len(having(found, verdict))):
            return [said]
        table = self._table(verdict)
        if "class" not in self.options:
            return [said, table]
        named = nodes.title("", f"{verdict.capitalize()} ({count})")
        return [said, nodes.admonition("", named, table, classes=self.options["class"])]

    def _table(self, verdict: str) -> nodes.table:
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in WIDTHS), cols=len(WIDTHS))
        group += nodes.thead("", _row(nodes.Text("Claim"), nodes.Text("Chapter")))
        group += nodes.tbody("", *self._rows(verdict))
        return nodes.table("", group, classes=["colwidths-given", f"outcomes-{verdict}"])

    def _rows(self, verdict: str) -> Iterator[nodes.row]:
        """The claim, which leads to its card; its chapter by the first part of its title."""
        for entry in having(gathered(self.env), verdict):
            chapter = title(read(entry.notebook)).split(":")[0]
            yield _row(
                link(self.env, "ref", entry.label, entry.claim.claim),
                link(self.env, "doc", f"/{self.env.path2doc(str(entry.notebook))}", chapter),
            )


class Verdict(ReferenceRole):
    """A reference to a claim whose verdict is the role's name; without words of its own it shows the verdict."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        if fault := differing(gathered(self.env), self.target, self.name):
            LOGGER.warning("%s", fault, location=self.get_location())
        text = self.title if self.has_explicit_title else self.name
        return [link(self.env, "ref", self.target, text)], []


def _row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("outcomes", Outcomes)
    for verdict in VERDICTS:
        app.add_role(verdict, Verdict())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
