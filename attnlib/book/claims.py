"""Claims: what a chapter tests, recorded where it is tested.

A chapter calls :func:`record` under each experiment. The notebook then stores the claim beside the picture, and the
build of the book gathers every stored claim on one page, so that a later chapter only adds its own.

Nobody types a verdict. A claim says what must be the case, as conditions on what was measured in each run, and
:func:`record` decides: a condition holds when the 95 % interval of the *paired* difference over the runs lies on its
side of the edge, fails when it lies on the other, and is open when it holds the edge. :func:`check` asserts conditions
in the same way, for a sentence that rests on a measurement and is no claim.

Byte stability. Numbers are rounded to three significant digits before they are stored. That is enough for a value that
does not depend on the machine (an exact identity, a count). A value that comes out of training may still differ in its
third digit elsewhere: tag the cell that records it ``nbval-ignore-output``. The notebook check compares the verdicts
and the conditions of such a cell all the same.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "MIME",
    "VERDICTS",
    "Claim",
    "Condition",
    "Interval",
    "above",
    "below",
    "check",
    "interval",
    "near",
    "record",
    "restore",
]

MIME = "application/vnd.attnlib.claim+json"
VERDICTS = ("supported", "mixed", "refuted", "undecided")

_MARKS = {"supported": "\N{CHECK MARK}", "mixed": "~", "refuted": "\N{MULTIPLICATION SIGN}", "undecided": "?"}
_ALONE = {"holds": "supported", "fails": "refuted", "open": "undecided"}
_TEXT_FIELDS = ("id", "claim", "source", "experiment", "verdict")
_FIELDS = (*_TEXT_FIELDS, "value", "spread", "over", "tests")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")

Runs = Mapping[str, Tensor | float]


class Claim(NamedTuple):
    """One tested claim, as a notebook stores it."""

    id: str
    claim: str
    source: str
    experiment: str
    verdict: str
    value: Mapping[str, float]
    spread: Mapping[str, float | None]
    over: str
    tests: Sequence[Sequence[str]]

    @property
    def measured(self) -> str:
        """Each arm's value and spread in words."""
        parts = (" ± ".join(numbers) for _, *numbers in self.rows)
        named = (f"{arm} {part}" for arm, part in zip(self.value, parts, strict=True))
        return "; ".join(named) + (f" ({self.over})" if self.over else "")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Each arm with its value and, unless it is exact, its spread; the spread to two digits, the value as far."""
        return [(arm, *_pair(value, self.spread[arm])) for arm, value in self.value.items()]


class Interval(NamedTuple):
    """A mean over runs and its 95 % interval; a single exact number is all three."""

    mean: float
    low: float
    high: float


class Condition(NamedTuple):
    """What must be the case of an arm: made by :func:`above`, :func:`below` and :func:`near`."""

    arm: str
    relation: str
    than: str | float
    times: float
    by: float


def above(arm: str, than: str | float, *, by: float = 0.0, times: float = 1.0) -> Condition:
    """The arm is larger than ``times`` the other arm (or number) plus ``by``.

    >>> above("soft", "hard", by=0.1)
    Condition(arm='soft', relation='>', than='hard', times=1.0, by=0.1)
    """
    return Condition(arm, ">", than, times, by)


def below(arm: str, than: str | float, *, by: float = 0.0, times: float = 1.0) -> Condition:
    """The arm is smaller than ``times`` the other arm (or number) less ``by``.

    >>> below("soft", 0.5)
    Condition(arm='soft', relation='<', than=0.5, times=1.0, by=0.0)
    """
    return Condition(arm, "<", than, times, by)


def near(arm: str, than: str | float, *, within: float) -> Condition:
    """The arm differs from the other arm (or number) by less than ``within``.

    >>> near("soft", "hard", within=0.02)
    Condition(arm='soft', relation='~', than='hard', times=1.0, by=0.02)
    """
    return Condition(arm, "~", than, 1.0, within)


def interval(runs: Tensor | float) -> Interval:
    r"""The mean over runs and its 95 % interval by Student's t.

    .. math:: \bar x \pm t_{n - 1,\, 0.975} \, \frac{s}{\sqrt n}

    Args:
        runs: one value a run, ``(n,)`` with two runs at least; a number is exact, and its interval is that point.

    Raises:
        ValueError: not one-dimensional, a single run, which tells nothing of its uncertainty, or not finite.

    >>> interval(torch.tensor([1.0, 2.0, 3.0]))  # 2 ± 4.303 / √3
    Interval(mean=2.0, low=-0.484..., high=4.484...)
    """
    return _interval(_values(runs, "runs"))


def check(runs: Runs, *holds: Condition) -> None:
    """Assert that conditions hold by more than their uncertainty: all of the interval is on the right side of the edge.

    Args:
        runs: as for :func:`record`.
        holds: conditions.

    Raises:
        AssertionError: a condition fails or is open; the message gives its interval.

    >>> check({"a": torch.tensor([1.0, 1.1, 0.9]), "b": 0.5}, above("a", "b", by=0.1))
    """
    for condition in holds:
        text, answer = _tested(runs, condition)
        assert answer == "holds", f"{text}: {answer}"


def record(
    id: str,
    *,
    claim: str,
    source: str,
    experiment: str,
    runs: Runs,
    holds: Condition | Sequence[Condition],
    over: str = "seeds",
) -> None:
    """Test a claim, show it as a card, and store it in the notebook for the page of claims.

    The verdict is *supported* when all conditions hold, *refuted* when all fail, *undecided* when all are open, else
    *mixed*. In a notebook the cell's output holds the card (``text/html`` and ``text/plain``) and the claim itself
    under the mime type ``application/vnd.attnlib.claim+json``. Elsewhere the plain text is printed. Numbers are rounded
    to three significant digits. Tag the cell ``nbval-ignore-output`` where the values come from training.

    Args:
        id: lower-case words joined by hyphens, the chapter first: ``"kqv-values-separate"``. Unique in the book.
        claim: the claim as one sentence in our own words, plain text.
        source: who makes it and where: ``"Ghaderi 2022, section 2.2"``. ``"this chapter"`` for a claim of our own.
        experiment: what was done to test it, in a sentence.
        runs: what came out: each arm's value in each run (seed, or test item), ``(n,)``, two runs at least; a number
            where it is exact. Arms that a condition compares are paired run by run. The card gives means and standard
            deviations.
        holds: what must be the case for the claim to be right: :func:`above`, :func:`below`, :func:`near`.
        over: what the runs are: ``"seeds"``, ``"patients"``.

    Raises:
        ValueError: a malformed ``id``, an empty text, an arm that is not in ``runs``, arms that cannot be paired, no
            condition, or a number that is not finite.
        TypeError: a text that is no ``str``, or an arm that is neither a tensor nor a number.

    Example:
        >>> record("demo-more", claim="Two is more than one.", source="this page", experiment="Three seeds.",
        ...        runs={"two": torch.tensor([2.0, 2.1, 1.9]), "one": 1}, holds=above("two", "one"))
        Claim supported: Two is more than one. (this page)
        Experiment: Three seeds.
        Measured: two 2.00 ± 0.10; one 1 (3 seeds)
        Tested: two − one = 1 [0.752, 1.25] > 0: holds
    """
    conditions = [holds] if isinstance(holds, Condition) else list(holds)
    if not conditions:
        raise ValueError("holds must name a condition at least")
    tests = [_tested(runs, condition) for condition in conditions]
    arms = _arms(runs)
    numbers = {len(values) for values in arms.values()} - {1}
    fields = {"id": id, "claim": claim, "source": source, "experiment": experiment}
    fields["verdict"] = _verdict(answer for _, answer in tests)
    value = {arm: _rounded(runs[arm] if len(x) == 1 else x.mean()) for arm, x in arms.items()}
    spread = {arm: None if len(x) == 1 else _rounded(x.std()) for arm, x in arms.items()}
    count = f"{numbers.pop()} {over}" if len(numbers) == 1 else ""
    entry = _checked(fields | {"value": value, "spread": spread, "over": count, "tests": [list(t) for t in tests]})
    bundle = {MIME: _payload(entry), "text/html": _card(entry), "text/plain": _plain(entry)}
    if _in_notebook():
        from IPython.display import display

        display(bundle, raw=True)  # type: ignore[no-untyped-call]
    else:
        print(bundle["text/plain"])


def _arms(runs: Runs) -> dict[str, Tensor]:
    """Each arm as ``(n,)`` in double precision."""
    if not isinstance(runs, Mapping) or not runs:
        raise ValueError(f"runs must be a mapping from arms to what was measured, got {runs!r}")
    return {arm: _values(values, f"runs[{arm!r}]") for arm, values in runs.items()}


def _values(runs: Tensor | float, name: str) -> Tensor:
    """The values as ``(n,)`` in double precision; what is exact has ``n = 1``."""
    if isinstance(runs, bool) or not (isinstance(runs, Tensor) or hasattr(runs, "__float__")):
        raise TypeError(f"{name} must be a tensor or a number, got {type(runs).__name__}")
    values = torch.as_tensor(runs, dtype=torch.float64).detach().cpu()
    if values.ndim > 1 or (values.ndim == 1 and len(values) < 2):
        raise ValueError(f"{name} must be a number or have shape (n,) with n >= 2, got shape {tuple(values.shape)}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name} must hold finite numbers, got {values[~values.isfinite()][0].item()}")
    return values.reshape(-1)


def _interval(values: Tensor) -> Interval:
    n, mean = len(values), values.mean().item()
    if n == 1:
        return Interval(mean, mean, mean)
    from scipy.special import stdtrit  # comes with scikit-learn

    reach = float(stdtrit(n - 1, 0.975)) * values.std().item() / math.sqrt(n)
    return Interval(mean, mean - reach, mean + reach)


def _tested(runs: Runs, condition: Condition) -> tuple[str, str]:
    """The condition with its numbers in words, and whether it holds, fails or is open."""
    arms = _arms(runs)
    arm, relation, than, times, by = condition
    for name in (arm, than):
        if isinstance(name, str) and name not in arms:
            raise ValueError(f"holds names the arm {name!r}, which runs has not: {list(arms)}")
    values = arms[arm]
    if isinstance(than, str):
        other = arms[than]
        if len({len(values), len(other)} - {1}) > 1:
            sizes = f"{len(values)} and {len(other)}"
            raise ValueError(f"{arm!r} and {than!r} are paired run by run but have {sizes} runs")
        shown = than if times == 1 else f"{_edge(times)} × {than}"
        values, left, edge = values - times * other, f"{arm} − {shown}", by
    else:
        left, edge = arm, times * than + (by if relation == ">" else -by if relation == "<" else 0.0)
    found = _interval(values)
    if relation == "~":
        centre = 0.0 if isinstance(than, str) else float(than)
        low, high = centre - by, centre + by
        holds, fails = low < found.low and found.high < high, found.high <= low or found.low >= high
        claim = f"within {_edge(low)} to {_edge(high)}"
    else:
        edge = 0.0 - edge if relation == "<" and isinstance(than, str) else edge
        larger = relation == ">"
        holds = found.low > edge if larger else found.high < edge
        fails = found.high <= edge if larger else found.low >= edge
        claim = f"{relation} {_edge(edge)}"
    exact = found.low == found.high
    measured = _edge(found.mean) if exact and found.mean.is_integer() else _number(found.mean)  # a count is not rounded
    reach = "" if exact else f" [{_number(found.low)}, {_number(found.high)}]"
    return f"{left} = {measured}{reach} {claim}", "holds" if holds else "fails" if fails else "open"


def _verdict(answers: Iterable[str]) -> str:
    """What the answers to all conditions say together."""
    found = set(answers)
    return _ALONE[found.pop()] if len(found) == 1 else "mixed"


def restore(payload: object) -> Claim:
    """The claim that :func:`record` has stored under ``MIME``, from what stands in the notebook.

    Raises:
        TypeError: a field that should be a text is none.
        ValueError: a field is missing, unknown or malformed, or the verdict is not what the tests say.
    """
    return _checked(_restored(payload))


def _checked(payload: object) -> Claim:
    """Return the payload as a Claim, or say what is wrong with it."""
    if not isinstance(payload, Mapping) or set(payload) != set(_FIELDS):
        raise ValueError(f"expected the fields {_FIELDS}, got {payload!r}")
    for name in _TEXT_FIELDS:
        if not isinstance(payload[name], str):
            raise TypeError(f"{name} must be a str, got {type(payload[name]).__name__}")
        if not payload[name].strip():
            raise ValueError(f"{name} must not be empty")
    if not _ID.fullmatch(payload["id"]):
        raise ValueError(f"id must be lower-case words joined by hyphens, got {payload['id']!r}")
    if payload["verdict"] not in VERDICTS:
        raise ValueError(f"verdict must be one of {VERDICTS}, got {payload['verdict']!r}")
    for name in ("value", "spread"):
        if not isinstance(payload[name], Mapping) or not payload[name] or set(payload[name]) != set(payload["value"]):
            raise ValueError(f"{name} must map each arm to a number, got {payload[name]!r}")
    if not isinstance(payload["over"], str):
        raise TypeError(f"over must be a str, got {type(payload['over']).__name__}")
    tests = payload["tests"]
    if not tests or not all(len(test) == 2 and isinstance(test[0], str) and test[1] in _ALONE for test in tests):
        raise ValueError(f"tests must be pairs of a condition and one of {tuple(_ALONE)}, got {tests!r}")
    if payload["verdict"] != (computed := _verdict(test[1] for test in tests)):
        raise ValueError(f"verdict must be {computed!r} by its tests, got {payload['verdict']!r}")
    return Claim(**payload)


def _rounded(number: Any) -> float | int:
    """Three significant digits; a whole number stays as it is."""
    return number if isinstance(number, int) else float(f"{float(number):.3g}")


def _shown(number: float) -> str:
    whole = isinstance(number, float) and number.is_integer() and abs(number) < 1e15
    return f"{int(number)}" if whole else f"{number}"  # int: no minus before 0


def _pair(value: float, spread: float | None) -> tuple[str, ...]:
    """A value, and its spread unless it is exact, with the same decimals: no more than both have."""
    if spread is None:
        return (_shown(value),)
    if not spread:
        return _shown(value), "0"
    stored = 2 - math.floor(math.log10(abs(value))) if value else 6  # three significant digits
    decimals = min(1 - math.floor(math.log10(spread)), stored)
    if decimals > 6:
        return _shown(value), _shown(spread)
    return tuple(f"{number:.{max(decimals, 0)}f}" for number in (value, spread))


def _number(number: float) -> str:
    return _shown(_rounded(number)).replace("-", "−")


def _edge(number: float) -> str:
    """A number that was typed or counted, not measured: as it stands, but for the noise of floating point."""
    return _shown(float(f"{number:.9g}")).replace("-", "−")


def _decided(entry: Claim) -> str:
    return "; ".join(f"{text}: {answer}" for text, answer in entry.tests)


def _payload(entry: Claim) -> dict[str, Any]:
    """What is stored. A mapping becomes a list of pairs, because notebook files sort the keys of their objects."""
    fields = {name: getattr(entry, name) for name in _FIELDS}
    return {k: [[*pair] for pair in v.items()] if isinstance(v, Mapping) else v for k, v in fields.items()}


def _restored(payload: object) -> object:
    """The payload with mappings again where pairs were stored."""
    if not isinstance(payload, Mapping):
        return payload
    fields = {name: payload[name] for name in ("value", "spread") if isinstance(payload.get(name), list)}
    return {**payload, **{name: {str(key): item for key, item in pairs} for name, pairs in fields.items()}}


def _plain(entry: Claim) -> str:
    head = f"Claim {entry.verdict}: {entry.claim} ({entry.source})"
    return f"{head}\nExperiment: {entry.experiment}\nMeasured: {entry.measured}\nTested: {_decided(entry)}"


def _card(entry: Claim) -> str:
    """The verdict in one line, which opens on what was done and came out.

    Colours are inherited, so that it reads in light and in dark; the verdict is a word, not a colour.
    """
    claim, source, experiment, over = (
        html.escape(text) for text in (entry.claim, entry.source, entry.experiment, entry.over)
    )
    frame = "border:1px solid currentColor;border-left-width:0.4em;border-radius:0.25em;margin:0.5em 0"
    line = '<p style="margin:0.3em 0;white-space:normal">'
    wide = any(len(row) > 2 for row in entry.rows)
    head = "<tr><th>arm</th><th>mean</th><th>± deviation</th></tr>" if wide else "<tr><th>arm</th><th>value</th></tr>"
    rows = "".join(_row(row, 3 if wide else 2) for row in entry.rows)
    tests = "".join(f"<li>{html.escape(text)}: {answer}</li>" for text, answer in entry.tests)
    return (
        f'<details class="attnlib-claim attnlib-claim-{entry.verdict}" id="claim-{entry.id}" style="{frame}">\n'
        f'<summary style="cursor:pointer;padding:0.5em 0.9em"><strong>'
        f'<span aria-hidden="true">{_MARKS[entry.verdict]}</span> Claim {entry.verdict}.</strong> '
        f"{claim} <em>({source})</em></summary>\n"
        f'<div style="padding:0 0.9em 0.6em">\n{line}<strong>Experiment:</strong> {experiment}</p>\n'
        f'<div style="overflow-x:auto" tabindex="0"><table><caption style="caption-side:top">'
        f"Measured{f' ({over})' if over else ''}</caption><thead>{head}</thead><tbody>{rows}</tbody></table></div>\n"
        f'{line}<strong>Tested</strong> (mean and 95 % interval):</p>\n<ul style="margin:0.3em 0">{tests}</ul>\n'
        "</div></details>"
    )


def _row(row: Sequence[str], width: int) -> str:
    """A row of a table, with empty cells where the arm is exact."""
    arm, *numbers = (html.escape(text).replace("-", "−") if i else html.escape(text) for i, text in enumerate(row))
    cells = "".join(f"<td>{number}</td>" for number in [*numbers, *[""] * (width - 1 - len(numbers))])
    return f'<tr><th scope="row" style="font-weight:inherit">{arm}</th>{cells}</tr>'


def _in_notebook() -> bool:
    """True where a display hook exists that stores mime bundles (Jupyter, nbconvert)."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")
