"""What a check found: a property, whether it holds, and the smallest case in which it does not."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Finding", "Report"]

WIDTH = 112
UNCALLED = "it could not be called"


@dataclass(frozen=True)
class Finding:
    """One property of one function.

    Args:
        name: how the property is called, ``"sum"``.
        says: the property in words.
        holds: True or False; None where it could not be looked at, or does not apply.
        found: the counter-example, or why nothing was looked at, or what there is to remark.
        resembles: names of exhibits of the museum that break the same property.
        case: the inputs of the smallest counter-example: ``query``, ``key``, ``value``, and ``mask`` if there was one.
    """

    name: str
    says: str
    holds: bool | None
    found: str = ""
    resembles: tuple[str, ...] = ()
    case: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, repr=False)
class Report:
    """All that a check found of a function; it prints as a table.

    Args:
        subject: the function's name.
        kind: what was asked of it.
        findings: a finding for each property.
        remarks: what holds for the whole check, such as the precision that it had to take.
    """

    subject: str
    kind: str
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> list[str]:
        """The names of the properties that do not hold."""
        return [finding.name for finding in self if finding.holds is False]

    @property
    def passed(self) -> list[str]:
        """The names of the properties that hold."""
        return [finding.name for finding in self if finding.holds]

    @property
    def unlooked(self) -> list[str]:
        """The names of the properties of which nothing is said."""
        return [finding.name for finding in self if finding.holds is None]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, name: str) -> Finding:
        """The finding of a property by its name."""
        for finding in self:
            if finding.name == name:
                return finding
        raise KeyError(f"no property is called {name!r}: {', '.join(finding.name for finding in self)}")

    def table(self, *, failures_only: bool = False) -> str:
        """The findings as lines of text; of those that do not hold only, if asked."""
        shown = [finding for finding in self if finding.holds is False or not failures_only]
        shown = [finding for finding in shown if finding.found != UNCALLED]
        wide = max((len(finding.name) for finding in shown), default=0)
        lines = []
        for finding in shown:
            mark = {True: "yes", False: "NO ", None: " - "}[finding.holds]
            text = finding.says if finding.holds is not None else f"{finding.says}: {finding.found}"
            if finding.holds is not None and finding.found:
                text += f": {finding.found}" if finding.holds else f". {finding.found}"
            if finding.resembles and finding.holds is False:
                text += f" [as in: {'; '.join(finding.resembles)}]"
            start = f"{finding.name:{wide}}  {mark}  "
            lines.append(textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)))
        return "\n".join(lines)

    def __repr__(self) -> str:
        count = f"{len(self.passed)} hold, {len(self.failed)} do not, {len(self.unlooked)} not looked at"
        head = f"{self.subject} as {self.kind}: {count}"
        return "\n".join([head, *(f"({remark})" for remark in self.remarks), self.table()])
