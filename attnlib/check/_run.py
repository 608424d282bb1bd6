"""The check: call, look at each property, shrink what fails, and write it down."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import nn

from ._kinds import KINDS, kinds_of
from ._property import PROPERTIES, Property
from ._subject import Broken, Refused, Sizes, Subject, Unlooked, described
from .names import properties
from .report import UNCALLED, Finding, Report

SMALL = ((1, 1, 2), (1, 2, 2), (2, 1, 2), (2, 2, 2), (1, 2, 3), (2, 3, 4))
CALL = "it can be called as function(query, key, value, mask=None) and gives a context"


def check(
    function: Callable[..., Any],
    *,
    kind: str | Iterable[str] = "softmax",
    sizes: dict[str, int] | None = None,
    device: str = "cpu",
    tied: bool = False,
    skip: Iterable[str] = (),
    seconds: float = 60.0,
) -> Report:
    """Look whether a function has the properties that attention must have.

    Args:
        function: called as ``function(query, key, value, mask=None)``, with ``(batch, query, d_k)``,
            ``(batch, key, d_k)``, ``(batch, key, d_v)`` and a boolean ``(batch, query, key)``, True = may attend. Gives
            the context ``(batch, query, size)``, or a tuple that starts with it; weights that come second,
            ``(batch, query, key)`` or with heads in second place, are looked at. A module is copied, and put to use
            as in ``eval()``. :mod:`attnlib.check.adapters` makes such a function of others.
        kind: what sort of attention it is, or several: it says which properties apply. :func:`attnlib.check.kinds`
            lists them, :func:`attnlib.check.properties` what is looked at.
        sizes: other sizes than ``batch=2, query=5, key=7, d_k=8, d_v=8``.
        device: where the inputs are made.
        tied: the keys are the values, and the function gets the keys twice.
        skip: names of properties not to look at, or one.
        seconds: when so many have passed, no further property is begun; ``report.unlooked`` names those too.

    Returns:
        A report: ``report.failed`` are the names of the properties that do not hold; it prints as a table.

    Raises:
        ValueError: a kind, a size or a property of no known name. What the function raises is in the report.

    The check draws a few inputs of small sizes. What it does not find may still be there; what it finds comes with the
    inputs that show it, ``report[name].case``. Weights that are not returned are found by probing, with values that are
    one at one key and nought at the others, which needs a context that is linear in the values and does not mix their
    features; behind a projection of the values, the properties of weights alone are not looked at.

    >>> def plain(query, key, value, mask=None):
    ...     energies = query @ key.mT / query.shape[-1] ** 0.5
    ...     if mask is not None:
    ...         energies = energies.masked_fill(~mask, -torch.inf)
    ...     return energies.softmax(-1) @ value
    >>> report = check(plain)
    >>> report.failed
    ['hidden garbage', 'hidden gradient', 'empty row']
    >>> print(report["empty row"].found)
    the context of a query that sees nothing is not finite (1 sequence, 1 query, 2 keys, 2 features)
    >>> {name: tuple(part.shape) for name, part in report["empty row"].case.items()}
    {'query': (1, 1, 2), 'key': (1, 2, 2), 'value': (1, 2, 2), 'mask': (1, 1, 2)}
    """
    kinds, left_out = kinds_of(tuple([kind] if isinstance(kind, str) else kind)), _names(skip)
    if unknown := left_out - set(properties()):
        raise ValueError(f"skip must name properties ({', '.join(PROPERTIES)}), got {', '.join(sorted(unknown))}")
    wanted = _sizes(sizes, kinds)
    named = getattr(function, "func", function)  # what a partial function is one of
    name = str(getattr(named, "__name__", type(named).__name__))
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject, remarks, trouble = _first_calls(function, wanted, device, frozenset(kinds), tied)
        findings = [Finding("call", CALL, not trouble, trouble)]
        for prop in PROPERTIES.values():
            reason = _reason(prop, kinds, left_out, trouble, time.monotonic() - started > seconds)
            if reason is None and subject is not None:
                findings.append(_finding(prop, subject))
            elif reason:
                findings.append(Finding(prop.name, prop.says, None, reason))
    return Report(name, ", ".join(kinds), tuple(findings), tuple(remarks))


def assert_attention(function: Callable[..., Any], *, allow: Iterable[str] = (), **options: Any) -> Report:
    """For a test: fail, with the table of what does not hold, unless a function has all properties but some.

    Args:
        function: as for :func:`check`.
        allow: names of properties that are known not to hold, or one; one that holds must not be here.
        options: as for :func:`check`. What ``seconds`` did not suffice for does not fail.

    Returns:
        The report.

    Raises:
        AssertionError: a property does not hold, or one that is allowed not to does.
        ValueError: an argument of :func:`check` is wrong.

    >>> from attnlib import attend
    >>> report = assert_attention(attend, kind="scaled dot")
    >>> report.failed
    []
    """
    report, allowed = check(function, **options), _names(allow)
    if unknown := allowed - {finding.name for finding in report}:
        raise ValueError(f"allow must name properties, got {', '.join(sorted(unknown))}")
    if set(report.failed) - allowed:
        raise AssertionError(f"{report.subject} as {report.kind}:\n{report.table(failures_only=True)}")
    if found := sorted(allowed & set(report.passed)):
        raise AssertionError(f"{report.subject}: {', '.join(found)} holds, and need not be allowed not to")
    return report


def _names(given: Iterable[str]) -> set[str]:
    """Names, of which one may come as it is, as the kind may."""
    return {given} if isinstance(given, str) else set(given)


def _sizes(sizes: dict[str, int] | None, kinds: tuple[str, ...]) -> Sizes:
    known = Sizes(query=7) if "causal" in kinds else Sizes()
    for name, size in (sizes or {}).items():
        if name not in known.__dataclass_fields__:
            raise ValueError(f"sizes must be of {', '.join(known.__dataclass_fields__)}, got {name!r}")
        if size < 1:
            raise ValueError(f"sizes must be at least 1, got {name}={size}")
    return replace(known, **(sizes or {}))


def _first_calls(
    function: Any, sizes: Sizes, device: str, kinds: frozenset[str], tied: bool
) -> tuple[Subject | None, list[str], str]:
    """The subject as it can be called; what to remark; and what is wrong, if nothing can be done with it."""
    if not callable(function):
        return None, [], f"{type(function).__name__} cannot be called"
    square, trouble = replace(sizes, query=sizes.key), ""
    for shape, remark in ((sizes, ""), (square, "takes as many queries as keys only")):
        for dtype in (torch.float64, torch.float32):
            try:
                subject = Subject(function, shape, dtype, device, kinds, tied)
                context = subject(*subject.inputs()).context
            except Exception as error:  # a copy of a module, too, may raise anything
                trouble = trouble or (str(error) if isinstance(error, Refused) else described(error))
                continue
            remarks = [f"{remark}; with {sizes.query} and {sizes.key}: {trouble}"] if remark else []
            if context.dtype != torch.float64 or subject.coarse:
                inside = (
                    "computes in single precision" if context.dtype == dtype == torch.float64 else "takes no double"
                )
                remarks.append(f"{inside}: looked at in float32")
                subject = Subject(function, shape, torch.float32, device, kinds, tied)
            if ignored := subject.ignored():
                remarks.append(ignored)
            if isinstance(function, nn.Module) and function.training:
                remarks.append("the module is looked at as in eval()")
            return subject, remarks, _masked_call(subject)
    return None, [], trouble


def _masked_call(subject: Subject) -> str:
    """What is wrong with a call under a mask."""
    if subject.mask_name is None:
        return ""
    try:
        subject(*subject.inputs(), mask=subject.padding())
    except Refused as error:
        subject.mask_name = None
        return f"with a mask of shape (batch, query, key): {error}"
    return ""


def _reason(prop: Property, kinds: tuple[str, ...], skip: set[str], trouble: str, late: bool) -> str | None:
    """Why a property is not looked at; an empty word if it is not even mentioned."""
    if prop.optional and not any(prop.name in KINDS[kind].also for kind in kinds):
        return ""
    if trouble and not trouble.startswith("with a mask"):
        return UNCALLED
    if prop.name in skip:
        return "left out as asked"
    if without := [kind for kind in kinds if prop.name in KINDS[kind].without]:
        return f"does not apply to {without[0]} attention"
    return "no time left" if late else None


def _finding(prop: Property, subject: Subject) -> Finding:
    """Look at one property; where it does not hold, look for the smallest case."""
    found = _look(prop, subject)
    if found.holds is not False:
        return found
    sizes = subject.sizes
    for (batch, query, key), (d_k, d_v) in product(SMALL, ((2, 2), (sizes.d_k, sizes.d_v))):
        if query > sizes.query or key > sizes.key or ("causal" in subject.kinds and query != key):
            continue
        smaller = subject.resized(batch=batch, query=query, key=key, d_k=d_k, d_v=d_v)
        try:
            smaller(*smaller.inputs())
        except Refused:
            continue
        again = _look(prop, smaller)
        if again.holds is False and again.found.startswith("raises") == found.found.startswith("raises"):
            return replace(again, found=f"{again.found} ({said_of(smaller.sizes)})")
    return found


def said_of(sizes: Sizes) -> str:
    """The sizes of a small case, in words."""
    counts = {"sequence": sizes.batch, "query": sizes.query, "key": sizes.key, "feature": sizes.d_k}
    many = {"query": "queries"}
    parts = (f"{n} {name if n == 1 else many.get(name, name + 's')}" for name, n in counts.items())
    return ", ".join(parts)


def _look(prop: Property, subject: Subject) -> Finding:
    try:
        return Finding(prop.name, prop.says, True, prop.look(subject) or "")
    except Unlooked as reason:
        return Finding(prop.name, prop.says, None, str(reason))
    except (Broken, Refused) as error:
        if isinstance(error, Refused) and prop.may_refuse:
            return Finding(prop.name, prop.says, None, f"raises {error}")
        said = str(error) if isinstance(error, Broken) else f"raises {error}"
        case = {name: part.detach().clone() for name, part in subject.case.items()}
        return Finding(prop.name, prop.says, False, said, prop.resembles, case)
    except Exception as error:  # a result that no property foresaw must not end the check
        return Finding(prop.name, prop.says, False, f"cannot be told: {described(error)}", prop.resembles)
