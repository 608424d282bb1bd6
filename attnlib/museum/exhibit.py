"""What an exhibit is: what was published, what the code did, the number that shows it, the property that it breaks."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..check import Report, check

__all__ = ["Exhibit", "Source", "drawn", "hide"]


@dataclass(frozen=True)
class Source:
    """Where a fault was found.

    Args:
        repository: its owner and name.
        place: an issue or pull request (``#146``), or a file.
        commit: of the file that was read; nothing for an issue.
        told: whether the code itself was not read, and the fault is as the thread tells it.
    """

    repository: str
    place: str
    commit: str = ""
    told: bool = False

    def __str__(self) -> str:
        at = f" ({self.commit})" if self.commit else ""
        sort = f"{self.repository}{self.place}" if self.place.startswith("#") else f"{self.repository}, {self.place}"
        return f"{sort}{at}{', as its thread tells it' if self.told else ''}"


@dataclass(frozen=True)
class Exhibit:
    """A fault that public code had.

    Args:
        name: what it is called.
        mechanism: what the code was to be.
        equation: that mechanism as published, in LaTeX.
        wrong: what it did, in our own lines.
        right: the same without the fault.
        fault: the line of ``wrong`` that is at fault.
        sources: where it was found.
        symptom: computes the number that shows it.
        shows: what the number is.
        unseen: why training did not reveal it; a guess where it says so.
        breaks: the property of :func:`attnlib.check.check` that does.
        kind: what sort of attention it is, for the check.
        sizes: the sizes that the check is to take.
    """

    name: str
    mechanism: str
    equation: str
    wrong: Callable[..., Any]
    right: Callable[..., Any]
    fault: str
    sources: tuple[Source, ...]
    symptom: Callable[[], float]
    shows: str
    unseen: str
    breaks: str
    kind: str | tuple[str, ...] = "softmax"
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """The lines of the wrong version."""
        thing = self.wrong if inspect.isfunction(self.wrong) else type(self.wrong)
        return textwrap.dedent(inspect.getsource(thing)).rstrip()

    def report(self, *, right: bool = False) -> Report:
        """What the check says of it; or of the right version."""
        return check(self.right if right else self.wrong, kind=self.kind, sizes=self.sizes)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Numbers that are the same each time, in double precision.

    >>> bool((drawn(2) == drawn(2)).all())
    True
    """
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hide(energies: Tensor, mask: Tensor | None) -> Tensor:
    """Minus infinity wherever the mask does not let through.

    >>> hide(torch.zeros(2), torch.tensor([True, False]))
    tensor([0., -inf])
    """
    return energies if mask is None else energies.masked_fill(~mask, -torch.inf)
