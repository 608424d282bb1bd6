"""Which of several equal paths a call takes, and why not another."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

__all__ = ["Choice", "Explanation", "explain", "reference_only"]

REFERENCE = "reference"
Result = TypeVar("Result")
# A path gives its result, or says in a few words why it cannot.
Path = Callable[..., Result | str]


class Choice(NamedTuple):
    """The path that one step of a call took, and why not those before it."""

    mechanism: str
    path: str
    refused: dict[str, str]


@dataclass(frozen=True, repr=False)
class Explanation:
    """All choices of a call, in order; printed, a line for each path."""

    choices: tuple[Choice, ...]

    def __str__(self) -> str:
        lines = []
        for choice in self.choices:
            lines.append(f"{choice.mechanism}: {choice.path}")
            lines += [f"  not {path}: {reason}" for path, reason in choice.refused.items()]
        return "\n".join(lines) or "there is one path only"

    def __repr__(self) -> str:
        return str(self)


_recorded: list[Choice] | None = None
_is_reference_only = False


def first(mechanism: str, paths: Mapping[str, Path[Result]], *arguments: Any) -> Result | None:
    """The result of the first path that can; None, for the reference, where none can.

    Args:
        mechanism: whose paths these are, for :func:`explain`.
        paths: by name, the fastest first. Each returns its result, or in a few words why it cannot.
        arguments: handed to each.
    """
    if _is_reference_only:
        _record(mechanism, REFERENCE, dict.fromkeys(paths, "the reference was asked for"))
        return None
    refused: dict[str, str] = {}
    for name, path in paths.items():
        found = path(*arguments)
        if not isinstance(found, str):
            _record(mechanism, name, refused)
            return found
        refused[name] = found
    _record(mechanism, REFERENCE, refused)
    return None


def is_watched() -> bool:
    """Whether somebody asks which path is taken, or for the reference: then no short way leads past the paths."""
    return _is_reference_only or _recorded is not None


def refuse(mechanism: str, paths: Mapping[str, Path[Any]], reason: str) -> None:
    """Tell :func:`explain` that one reason stands against all fast paths."""
    if _recorded is not None:
        _record(mechanism, REFERENCE, dict.fromkeys(paths, reason))


def _record(mechanism: str, path: str, refused: dict[str, str]) -> None:
    if _recorded is not None:
        _recorded.append(Choice(mechanism, path, refused))


@contextmanager
def reference_only() -> Iterator[None]:
    """Within this block every mechanism takes its reference, the plain operations of its equation.

    Not for several threads at once: the switch is one for the process.

    >>> import torch
    >>> from attnlib import attend, explain
    >>> with reference_only():
    ...     print(explain(attend, torch.ones(2, 4), torch.ones(3, 4), need_weights=False).choices[0].path)
    reference
    """
    global _is_reference_only
    before, _is_reference_only = _is_reference_only, True
    try:
        yield
    finally:
        _is_reference_only = before


def explain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Run ``function(*args, **kwargs)`` and say which paths it took, and why not others.

    What it returns and what it would print as a result is thrown away; what it raises is raised. Not for several
    threads at once.

    Args:
        function: a mechanism of this library, or anything that calls some.
        args: handed on.
        kwargs: handed on.

    Raises:
        TypeError: ``function`` cannot be called.

    >>> import torch
    >>> from attnlib import attend
    >>> explain(attend, torch.ones(2, 4), torch.ones(3, 4), need_weights=False)
    attend: kernel of torch
    """
    global _recorded
    if not callable(function):
        raise TypeError(f"function must be callable, got {type(function).__name__}")
    before, _recorded = _recorded, []
    try:
        function(*args, **kwargs)
        return Explanation(tuple(_recorded))
    finally:
        _recorded = before
