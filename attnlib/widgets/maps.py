"""Maps: named matrices of weights between two lists of tokens, seen a row at a time; the family of AlignmentExplorer.

A chapter brings sentences (:func:`~attnlib.widgets.maps.sentence`), presets, and names for rows, columns and matrices
(``names``); where readers should find that under a name of its own, a subclass with nothing else
(``recurrent/alignment_explorer.py``, and three lines of JavaScript beside it).
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch

from attnlib.alignment import alignment_error_rate, links_of
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.text import share
from attnlib.widgets.traits import Array, Flag, Output, Record, StateError, Text, Texts, Whole, plain, shape_of

__all__ = ["PRESETS", "SENTENCES", "Maps", "sentence"]


_SLACK = 0.01  # by which rounded weights of one look may sum to more than 1


def _rounded(value: Any) -> Any:
    return [_rounded(each) for each in value] if isinstance(value, list) else round(value, 4)


def sentence(
    rows: Iterable[str],
    columns: Iterable[str],
    matrices: Any,
    *,
    title: str = "",
    links: Iterable[Any] = (),
    mask: Any = (),
    glosses: Iterable[str] = (),
    row_language: str = "",
    column_language: str = "",
) -> dict[str, Any]:
    """One sentence or pair as the widget keeps it.

    Args:
        rows: the tokens that look, as a list or a text.
        columns: the tokens that are looked at.
        matrices: weights by name, ``(row, column)``, from 0 to 1; four decimals are kept.
        title: what the list of sentences calls it.
        links: people's, ``(row, column)`` from 0; the largest weights are then held against them.
        mask: which columns a row may look at, ``(row, column)``, True = may.
        glosses: what each column's token means, for a reader who does not know its language.
        row_language: as ``"he"``, helps a page to choose letters and a voice.
        column_language: the same of the columns.
    """
    named = matrices.items() if isinstance(matrices, Mapping) else [(m["name"], m["weights"]) for m in matrices]
    return {
        "title": title,
        "rows": rows.split() if isinstance(rows, str) else list(rows),
        "columns": columns.split() if isinstance(columns, str) else list(columns),
        "matrices": [{"name": name, "weights": _rounded(plain(weights))} for name, weights in named],
        "links": sorted([*link] for link in links),
        "mask": plain(mask),
        "glosses": list(glosses),
        "row_language": row_language,
        "column_language": column_language,
    }


class Sentences(Record):
    """What :func:`~attnlib.widgets.maps.sentence` makes: a list, or one alone; its arguments as mappings will do."""

    def __init__(self, default: Any) -> None:
        weights = Array(("_rows", "_columns"), [], least=0, most=1)
        fields = {name: Text("") for name in ("title", "row_language", "column_language")} | {
            "rows": Texts([], shape=("_rows",)),
            "columns": Texts([], shape=("_columns",)),
            "matrices": Record({"name": Text(""), "weights": weights}, [], shape=(("", 1, None),)),
            "links": Whole(0, shape=(("", 0, None), 2)),
            "mask": Flag(True, shape=(("", 0, None), ("", 0, None))),
            "glosses": Texts([]),
        }
        said = "a list of {rows, columns, matrices}, weights from 0 to 1"
        super().__init__(fields, default, shape=(("", 1, None),), said=said)

    def validate(self, obj: Any, value: Any) -> list[dict[str, Any]]:
        try:
            made = [sentence(**item) for item in ([value] if isinstance(value, Mapping) else value)]
        except (TypeError, KeyError, AttributeError):  # no mappings, other names, no lists
            self.fail(self.spec["words"], value)
        found: list[dict[str, Any]] = super().validate(obj, made)
        for i, item in enumerate(found):
            self._hold_together(f"sentences[{i}]", item, [each["name"] for each in found[0]["matrices"]])
        return found

    @staticmethod
    def _hold_together(where: str, item: dict[str, Any], names: list[str]) -> None:
        """What the rules of the parts cannot say."""
        shape = len(item["rows"]), len(item["columns"])
        for matrix in item["matrices"]:
            if shape_of(matrix["weights"]) != shape:
                got = f"{shape_of(matrix['weights'])} of {matrix['name']}"
                raise StateError(f"{where}.matrices must be of shape {shape}, rows and columns; got {got}")
        for row, column in item["links"]:
            if row >= shape[0] or column >= shape[1]:
                raise StateError(f"{where}.links must be pairs below {shape}; got {(row, column)}")
        if item["mask"] and (len(item["mask"]), len(item["mask"][0])) != shape:
            raise StateError(f"{where}.mask must be of shape {shape}; got {len(item['mask'])} rows")
        if item["glosses"] and len(item["glosses"]) != shape[1]:
            raise StateError(f"{where}.glosses must be {shape[1]} texts; got {len(item['glosses'])}")
        if [each["name"] for each in item["matrices"]] != names or not all(names) or len(set(names)) < len(names):
            raise StateError(f"{where}.matrices must be named {', '.join(names)}, differently and as everywhere")


_WORDS = ["the", "cat", "saw", "the", "dog"]
_SEEN = [range(t + 1) for t in range(len(_WORDS))]
_ONE_BACK = [[float(s == max(t - 1, 0)) for s in range(len(_WORDS))] for t in range(len(_WORDS))]
_ALIKE = [[1 / len(seen) if s in seen else 0.0 for s in range(len(_WORDS))] for seen in _SEEN]
_MASK = [[s in seen for s in range(len(_WORDS))] for seen in _SEEN]

# The smallest that shows something; chapters bring theirs.
SENTENCES = [sentence(_WORDS, _WORDS, {"one back": _ONE_BACK, "all alike": _ALIKE}, mask=_MASK, row_language="en")]
PRESETS = [
    preset(
        "Two heads beside each other",
        "No token may look ahead, so the first can look at itself alone and there both heads agree: step on and see "
        "what they still have in common.",
        index=0,
        row=0,
        matrix="one back",
        compare="all alike",
    )
]


class Maps(PresetWidget):
    """Named matrices of weights between two lists of tokens: who looks at what, a row at a time.

    Args:
        sentences: a list of what :func:`~attnlib.widgets.maps.sentence` takes, all with matrices of the same names, or
            one such.
        index: the sentence that is shown.
        row: the row that is looked at.
        matrix: the name of the matrix that is shown; empty for the first.
        compare: the name of one to hold against it, or empty.
        names: what a row, a column and a matrix is called; after them, if given, what a gloss says ("Meaning").
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from; none for sentences of your own unless given.

    The outputs are recomputed from weights of four decimals: ``weights`` of the row, ``common`` (what it has in common
    with the one compared); the ``links`` of the largest weights and, where people drew links, their ``precision``,
    ``recall`` and alignment ``error``.

    >>> maps = Maps({"rows": "a b", "columns": "x y", "matrices": {"head": [[0.25, 0.75], [1, 0]]}}, row=1)
    >>> maps.weights, maps.links, maps.error
    ([1.0, 0.0], [[0, 1], [1, 0]], None)
    """

    sentences = Sentences(SENTENCES)
    index = Whole(0, below="sentences")
    row = Whole(0)
    matrix = Text("")
    compare = Text("")
    names = Texts(["Query", "Key", "Head"], shape=(("", 3, 4),))
    presets = Presets(PRESETS)
    weights = Output("the weights of the row, one a column")
    common = Output("the sum of the smaller weights of the two rows compared; None where none is")
    links = Output("the link of each row to the column of its largest weight")
    precision = Output("the share of these links that people drew too")
    recall = Output("the share of people's links that are among them")
    error = Output("alignment error rate of the sentence")

    presets_of = ("sentences",)
    sample: ClassVar = {"row": 2}

    def __init__(self, sentences: Any = None, **state: Any) -> None:
        if sentences is not None:
            state["sentences"] = sentences
        super().__init__(**state)

    def _check(self, state: dict[str, Any]) -> None:
        shown = state["sentences"][state["index"]]
        last = len(shown["rows"]) - 1
        if state["row"] > last:
            raise StateError(f"row must be at most {last}; got {state['row']}; change it and index with update(...)")
        names = ["", *(each["name"] for each in shown["matrices"])]
        for trait in ("matrix", "compare"):
            if state[trait] not in names:
                raise StateError(f"{trait} must be one of {', '.join(names[1:])}; got {state[trait]!r}")

    @property
    def _shown(self) -> dict[str, Any]:
        return dict(self.sentences[self.index])

    def _compute(self) -> None:
        shown = self._shown
        matrices = {m["name"]: torch.tensor(m["weights"], dtype=torch.float64) for m in shown["matrices"]}
        matrix, other = matrices[self.matrix or next(iter(matrices))], matrices.get(self.compare)
        weights = matrix[self.row]
        self.set_trait("weights", weights.tolist())
        self.set_trait("common", None if other is None else torch.minimum(weights, other[self.row]).sum().item())
        found = links_of(matrix)
        self.set_trait("links", sorted(list(link) for link in found))
        score = alignment_error_rate(found, {(t, s) for t, s in shown["links"]}) if shown["links"] else None
        for name in ("precision", "recall", "error"):
            self.set_trait(name, getattr(score, name, None))

    def _leads(self) -> str:
        """A row looks only where its weights are those of one look: not where all rows are one, as when their mean
        asks, nor where a row sums to more than 1."""
        shown = self._shown
        rows = next(m["weights"] for m in shown["matrices"] if m["name"] == (self.matrix or m["name"]))
        name = f"“{_apart(shown['rows'][self.row])}”"
        if len(rows) > 1 and all(row == rows[0] for row in rows):
            return "the same in every row:"
        return f"in the row {name}:" if max(map(math.fsum, rows)) > 1 + _SLACK else f"{name} looks at"

    def summary(self) -> str:
        """The row, where its weights go, and what people say."""
        shown, columns = self._shown, [_apart(column) for column in self._shown["columns"]]
        for s, gloss in enumerate(shown["glosses"]):
            columns[s] += f" ({gloss})" if gloss else ""
        largest = sorted(range(len(columns)), key=lambda s: -self.weights[s])[:3]
        looks = ", ".join(f"{columns[s]} {share(self.weights[s])}" for s in largest if self.weights[s] > 0)
        name = self.matrix or shown["matrices"][0]["name"]
        told = f"{name} on “{shown['title']}”: {self._leads()} {looks or 'nothing'}"
        if self.compare:
            told += f"; {self.common:.3f} of it in common with {self.compare}"
        if not shown["links"]:
            return told
        linked = ", ".join(columns[s] for t, s in shown["links"] if t == self.row)
        return f"{told}; people link it to {linked or 'nothing'}; alignment error of the sentence {self.error:.3f}"


def _apart(word: str) -> str:
    """A word of whichever direction in a sentence that runs from left to right."""
    backwards = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in word)
    return f"\u2068{word}\u2069" if backwards else word
