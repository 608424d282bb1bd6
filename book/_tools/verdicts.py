"""Whether the claims that a cell records come out as they are stored, whatever else in its outputs may differ."""

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

CLAIM = "application/vnd.attnlib.claim+json"  # as attnlib.book.claims.MIME; the check need not import torch


def differences(stored: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each claim whose verdict, or the answer to one of whose conditions, is not the stored one."""
    before, now = _claims(stored), _claims(found)
    lines = []
    for name in [*before, *(name for name in now if name not in before)]:
        if name not in now or name not in before:
            lines.append(
                f"claim {name}: " + ("stored, but not recorded" if name in before else "recorded, but not stored")
            )
            continue
        old, new = before[name], now[name]
        if old.get("verdict") != new.get("verdict"):
            lines.append(f"claim {name}: stored {old.get('verdict')}, found {new.get('verdict')}")
        for one, other in zip_longest(
            old.get("tests", []), new.get("tests", []), fillvalue=("no condition", "nothing")
        ):
            if one[1] != other[1]:
                lines.append(f"claim {name}: stored {one[1]} ({one[0]}), found {other[1]} ({other[0]})")
    return lines


def _claims(outputs: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    payloads = [data[CLAIM] for output in outputs if CLAIM in (data := output.get("data", {}))]
    return {payload["id"]: payload for payload in payloads}
