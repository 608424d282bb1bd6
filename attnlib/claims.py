"""Claims: what a chapter tests, recorded where it is tested and gathered on one page.

A chapter calls :func:`record` under each experiment. The notebook then stores the claim beside the picture, and the
appendix gathers every stored claim with :func:`collect`, so that a later chapter only adds its own.

Byte stability. Numbers are rounded to three significant digits before they are stored. That is enough for a value that
does not depend on the machine (an exact identity, a count). A value that comes out of training, or out of a clock,
may still differ in its third digit elsewhere: tag the cell that records it ``nbval-ignore-output``, and assert in the
cell the inequality that the verdict rests on, so that the notebook check still guards the verdict.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat

MIME = "application/vnd.attnlib.claim+json"
VERDICTS = ("supported", "mixed", "refuted")

_MARKS = {"supported": "\N{CHECK MARK}", "mixed": "~", "refuted": "\N{MULTIPLICATION SIGN}"}
_TEXT_FIELDS = ("id", "claim", "source", "experiment", "verdict")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")

Quantity = SupportsFloat | str | Mapping[str, SupportsFloat | str]


class Claim(NamedTuple):
    """One tested claim, as a notebook stores it; ``notebook`` and ``title`` say where it was found."""

    id: str
    claim: str
    source: str
    experiment: str
    value: Any
    spread: Any
    verdict: str
    notebook: Path | None = None
    title: str = ""


def record(
    id: str,
    *,
    claim: str,
    source: str,
    experiment: str,
    value: Quantity,
    spread: Quantity | None,
    verdict: str,
) -> None:
    """Show a tested claim as a card, and store it in the notebook for the page of claims.

    In a notebook the cell's output holds the card (``text/html`` and ``text/plain``) and the claim itself under the
    mime type ``application/vnd.attnlib.claim+json``. Elsewhere the plain text is printed. Numbers are rounded to three
    significant digits. Tag the cell ``nbval-ignore-output`` where the value comes from training or from a clock.

    Args:
        id: lower-case words joined by hyphens, the chapter first: ``"kqv-values-separate"``. Unique in the book.
        claim: the claim as one sentence in our own words, plain text.
        source: who makes it and where: ``"Ghaderi 2022, section 2.2"``. ``"this chapter"`` for a claim of our own.
        experiment: what was done to test it, in a sentence, with the number of seeds.
        value: what came out: a number, a short text, or a mapping from names to those.
        spread: its spread in the form of ``value`` (a number is the standard deviation over seeds; in a text say
            what it is), or ``None`` for a value that is exact.
        verdict: ``"supported"``, ``"mixed"`` or ``"refuted"``. Honest when it refutes.

    Raises:
        ValueError: an unknown verdict, a malformed ``id``, an empty text, or a number that is not finite.
        TypeError: a text that is no ``str``, or a quantity that is neither number, text nor mapping.

    Example:
        >>> record("demo-halves", claim="Two halves make one.", source="this page", experiment="0.5 + 0.5",
        ...        value=0.5 + 0.5, spread=None, verdict="supported")
        Claim supported: Two halves make one. (this page)
        Experiment: 0.5 + 0.5
        Measured: 1
    """
    fields: dict[str, Any] = {"id": id, "claim": claim, "source": source, "experiment": experiment, "verdict": verdict}
    fields["value"] = _rounded(value, "value")
    fields["spread"] = None if spread is None else _rounded(spread, "spread")
    entry = _checked(fields)
    bundle = {MIME: _payload(entry), "text/html": _card(entry), "text/plain": _plain(entry)}
    if _in_notebook():
        from IPython.display import display

        display(bundle, raw=True)  # type: ignore[no-untyped-call]
    else:
        print(bundle["text/plain"])


def chapters(toc: str | Path) -> list[Path]:
    """List the notebooks of a Jupyter Book in reading order.

    Args:
        toc: the ``_toc.yml``. Its ``root:`` and ``file:`` entries, relative to its folder, are read from top to bottom;
            entries without a notebook (``.md`` pages) are left out.
    """
    toc = Path(toc)
    entries = re.findall(r"^\s*(?:-\s*)?(?:root|file):\s*([^\s#]+)", toc.read_text("utf-8"), re.MULTILINE)
    stems = [toc.parent / entry.strip("\"'").removesuffix(".ipynb") for entry in entries]
    paths = [stem.with_name(stem.name + ".ipynb") for stem in stems]
    return [path for path in paths if path.exists()]


def collect(paths: Iterable[str | Path]) -> list[Claim]:
    """Read the claims that notebooks have stored, in the order of ``paths`` and of the cells.

    Args:
        paths: notebooks, usually from :func:`chapters`.

    Raises:
        ValueError: a stored claim is malformed, an id occurs twice, or a cell calls ``claims.record`` and has stored
            nothing (the notebook was not executed). The message names the notebook and the cell.
    """
    found: dict[str, Claim] = {}
    for path in map(Path, paths):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        title = _title(cells) or path.stem
        for number, cell in enumerate(cells):
            for entry in _claims_in(cell, where=f"{path.name}, cell {number}"):
                if entry.id in found:
                    first = found[entry.id].notebook
                    raise ValueError(f"{path.name}, cell {number}: id {entry.id!r} is already used in {first}")
                found[entry.id] = entry._replace(notebook=path, title=title)
    return list(found.values())


def counts(claims: Iterable[Claim]) -> dict[str, int]:
    """Count the claims of each verdict: ``{"supported": 3, "mixed": 0, "refuted": 1}``."""
    verdicts = [entry.verdict for entry in claims]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def table(claims: Iterable[Claim], *, relative_to: str | Path = ".") -> str:
    """Render claims as Markdown: for each chapter its title, linked, and a table of claim, measurement and verdict.

    Args:
        claims: from :func:`collect`, in reading order.
        relative_to: the folder of the page that shows the table; links to the chapters start there.
    """
    groups: dict[Path | None, list[Claim]] = {}
    for entry in claims:
        groups.setdefault(entry.notebook, []).append(entry)
    return "\n\n".join(_group(notebook, entries, Path(relative_to)) for notebook, entries in groups.items())


def _group(notebook: Path | None, entries: list[Claim], start: Path) -> str:
    title = _escaped(entries[0].title or "Claims")
    if notebook is not None:
        title = f"[{title}]({_relative(notebook, start)})"
    rows = ["| The claim, and who makes it | What we did, and what came out | Verdict |", "| :-- | :-- | :-- |"]
    for entry in entries:
        claim = f"{_escaped(entry.claim)} ({_escaped(entry.source)})"
        measured = f"{_escaped(_sentence(entry.experiment))} **{_escaped(_measured(entry))}**"
        rows.append(f"| {claim} | {measured} | **{entry.verdict}** |")
    return f"**{title}**\n\n" + "\n".join(rows)


def _claims_in(cell: dict[str, Any], where: str) -> list[Claim]:
    payloads = [output["data"][MIME] for output in cell.get("outputs", []) if MIME in output.get("data", {})]
    source = "".join(cell.get("source", ""))
    if cell.get("cell_type") == "code" and "claims.record(" in source and not payloads:
        raise ValueError(f"{where}: calls claims.record but has stored no claim; execute the notebook")
    try:
        return [_checked(_restored(payload)) for payload in payloads]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: malformed claim: {error}") from error


def _checked(payload: object) -> Claim:
    """Return the payload as a Claim, or say what is wrong with it."""
    if not isinstance(payload, Mapping) or set(payload) != {*_TEXT_FIELDS, "value", "spread"}:
        raise ValueError(f"expected the fields {(*_TEXT_FIELDS, 'value', 'spread')}, got {payload!r}")
    for name in _TEXT_FIELDS:
        if not isinstance(payload[name], str):
            raise TypeError(f"{name} must be a str, got {type(payload[name]).__name__}")
        if not payload[name].strip():
            raise ValueError(f"{name} must not be empty")
    if not _ID.fullmatch(payload["id"]):
        raise ValueError(f"id must be lower-case words joined by hyphens, got {payload['id']!r}")
    if payload["verdict"] not in VERDICTS:
        raise ValueError(f"verdict must be one of {VERDICTS}, got {payload['verdict']!r}")
    _rounded(payload["value"], "value")
    if payload["spread"] is not None:
        _rounded(payload["spread"], "spread")
    return Claim(**payload)


def _rounded(quantity: Any, name: str) -> Any:
    """Round every float in a quantity to three significant digits; refuse what is no quantity."""
    if isinstance(quantity, Mapping):
        if not quantity:
            raise ValueError(f"{name} must not be empty")
        return {str(key): _rounded(item, f"{name}[{key!r}]") for key, item in quantity.items()}
    if isinstance(quantity, str):
        if not quantity.strip():
            raise ValueError(f"{name} must not be empty")
        return quantity
    if isinstance(quantity, bool) or not hasattr(quantity, "__float__"):
        raise TypeError(f"{name} must be a number, a text or a mapping, got {type(quantity).__name__}")
    if isinstance(quantity, int):
        return quantity
    number = float(quantity)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return float(f"{number:.3g}")


def _shown(quantity: Any) -> str:
    if isinstance(quantity, Mapping):
        return "; ".join(f"{key} {_shown(item)}" for key, item in quantity.items())
    if isinstance(quantity, float):
        return f"{quantity:.0f}" if quantity.is_integer() and abs(quantity) < 1e15 else f"{quantity}"
    return str(quantity)


def _measured(entry: Claim) -> str:
    if entry.spread is None:
        return _shown(entry.value)
    if (
        isinstance(entry.value, Mapping)
        and isinstance(entry.spread, Mapping)
        and entry.value.keys() == entry.spread.keys()
    ):
        pairs = ((key, _shown(item), _shown(entry.spread[key])) for key, item in entry.value.items())
        return "; ".join(f"{key} {item} ± {spread}" for key, item, spread in pairs)
    if isinstance(entry.value, (int, float)) and isinstance(entry.spread, (int, float)):
        return f"{_shown(entry.value)} ± {_shown(entry.spread)}"
    return f"{_shown(entry.value)} (spread: {_shown(entry.spread)})"


def _payload(entry: Claim) -> dict[str, Any]:
    """What is stored. A mapping becomes a list of pairs, because notebook files sort the keys of their objects."""
    fields = {name: getattr(entry, name) for name in (*_TEXT_FIELDS[:4], "value", "spread", "verdict")}
    return {k: [[*pair] for pair in v.items()] if isinstance(v, Mapping) else v for k, v in fields.items()}


def _restored(payload: object) -> object:
    """The payload with mappings again where pairs were stored."""
    if not isinstance(payload, Mapping):
        return payload
    fields = {name: payload[name] for name in ("value", "spread") if isinstance(payload.get(name), list)}
    return {**payload, **{name: {str(key): item for key, item in pairs} for name, pairs in fields.items()}}


def _plain(entry: Claim) -> str:
    head = f"Claim {entry.verdict}: {entry.claim} ({entry.source})"
    return f"{head}\nExperiment: {entry.experiment}\nMeasured: {_measured(entry)}"


def _card(entry: Claim) -> str:
    """The card: colours are inherited, so that it reads in light and in dark; the verdict is a word, not a colour."""
    claim, source, experiment, measured = (
        html.escape(text) for text in (entry.claim, entry.source, entry.experiment, _measured(entry))
    )
    frame = (
        "border:1px solid currentColor;border-left-width:0.4em;border-radius:0.25em;padding:0.6em 0.9em;margin:0.5em 0"
    )
    line = '<p style="margin:0.3em 0;white-space:normal">'
    return (
        f'<div class="attnlib-claim attnlib-claim-{entry.verdict}" id="claim-{entry.id}" role="group" '
        f'aria-labelledby="claim-{entry.id}-verdict" style="{frame}">\n'
        f'<p style="margin:0" id="claim-{entry.id}-verdict"><strong>'
        f'<span aria-hidden="true">{_MARKS[entry.verdict]}</span> Claim {entry.verdict}</strong></p>\n'
        f"{line}{claim} <em>({source})</em></p>\n"
        f"{line}<strong>Experiment:</strong> {experiment}</p>\n"
        f"{line}<strong>Measured:</strong> {measured}</p>\n"
        "</div>"
    )


def _title(cells: list[dict[str, Any]]) -> str:
    """The first level-one heading of a notebook."""
    for cell in cells:
        if cell.get("cell_type") == "markdown":
            match = re.search(r"^# +(.+)$", "".join(cell.get("source", "")), re.MULTILINE)
            if match:
                return match[1].strip()
    return ""


def _relative(path: Path, start: Path) -> str:
    """A link from one folder to a file, with forward slashes on every system."""
    here, there = start.resolve().parts, path.resolve().parts
    shared = 0
    while shared < min(len(here), len(there)) and here[shared] == there[shared]:
        shared += 1
    return "/".join([".."] * (len(here) - shared) + list(there[shared:]))


def _escaped(text: str) -> str:
    """Plain text as Markdown inside a table cell."""
    return re.sub(r"([\\`*_{}\[\]<>|$#~^])", r"\\\1", " ".join(text.split()))


def _sentence(text: str) -> str:
    return text if text.rstrip().endswith((".", "!", "?")) else f"{text}."


def _in_notebook() -> bool:
    """True where a display hook exists that stores mime bundles (Jupyter, nbconvert)."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")
