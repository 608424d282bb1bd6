"""What a widget may be given: traits whose rules are one table, read here by Python and in the page by ``js/check.js``.

A rule (``Input.spec``) is a kind of item, the shape that items come in, and bounds. A shape is a tuple of dimensions: a
number; a name, for any length from one up, equal names meaning equal lengths, across all traits of a widget too (inside
a record a name that begins with ``_`` is that record's own); ``(name, least, most)``, ``most`` None for no end; None.
"""

import copy
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import traitlets

__all__ = [
    "Array", "Choice", "Flag", "Input", "Number", "Output", "Picture", "Record", "StateError", "Text", "Texts", "Whole",
]  # fmt: skip

_BASE64 = re.compile(r"[A-Za-z0-9+/]*")
Dimension = int | str | tuple[str, int, int | None] | None


class StateError(traitlets.TraitError, ValueError):
    """A widget was given a state it cannot show; the message names the trait."""


class _Misfit(Exception):
    pass


def plain(value: Any) -> Any:
    """Lists and numbers of whatever holds them (tensor, array, tuple)."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of nested lists of finite numbers; None where they are ragged or hold anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return () if math.isfinite(value) else None
    if not isinstance(value, list):
        return None
    shapes = {shape_of(item) for item in value}
    if len(shapes) > 1 or None in shapes:
        return None
    return (len(value), *(next(iter(shapes)) or ())) if shapes else (0,)


def _agree(sizes: dict[Any, int], name: Any, length: int) -> None:
    if sizes.setdefault(name, length) != length:
        raise _Misfit


def _number(spec: Mapping[str, Any], value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool) or not math.isfinite(value):
        raise _Misfit
    if value <= spec.get("above", -math.inf) or not spec.get("least", -math.inf) <= value <= spec.get("most", math.inf):
        raise _Misfit
    return value


def _picture(spec: Mapping[str, Any], value: Any) -> Any:
    if not isinstance(value, Mapping) or value.keys() != {"height", "width", "rgb"}:
        raise _Misfit
    height, width = (_number(spec, value[side], int) for side in ("height", "width"))
    # Three bytes are four letters: a whole number of pixels is never filled up with "=".
    if not isinstance(value["rgb"], str) or not _BASE64.fullmatch(value["rgb"]):
        raise _Misfit
    if len(value["rgb"]) != 4 * height * width:
        raise _Misfit
    return {"height": height, "width": width, "rgb": value["rgb"]}


def _item(spec: Mapping[str, Any], value: Any, sizes: dict[Any, int]) -> Any:
    kind = spec["kind"]
    if kind == "number":
        return float(_number(spec, value, (int, float)))
    if kind == "whole":
        return _number(spec, value, int)
    if kind == "record":
        if not isinstance(value, Mapping) or value.keys() != spec["fields"].keys():
            raise _Misfit
        inner: dict[Any, int] = {}
        made = {name: fit(part, plain(value[name]), inner) for name, part in spec["fields"].items()}
        for name, length in inner.items():
            if not name.startswith("_"):
                _agree(sizes, name, length)
        return made
    if kind == "picture":
        return _picture(spec, value)
    wanted = {"flag": bool, "text": str, "choice": str}.get(kind, object)
    if not isinstance(value, wanted) or (kind == "choice" and value not in spec["names"]):
        raise _Misfit
    return value


def fit(spec: Mapping[str, Any], value: Any, sizes: dict[Any, int]) -> Any:
    """The value as the page holds it; lengths of named dimensions go into ``sizes``. Raises where it does not fit."""
    own: dict[Any, int] = {}

    def level(part: Any, depth: int) -> Any:
        if depth == len(spec["shape"]):
            return _item(spec, part, sizes)
        name, least, most = spec["shape"][depth]
        if not isinstance(part, list) or not least <= len(part) <= (math.inf if most is None else most):
            raise _Misfit
        _agree(own, depth, len(part))
        if name:
            _agree(sizes, name, len(part))
        return [level(item, depth + 1) for item in part]

    return level(value, 0)


def _dimension(given: Dimension) -> tuple[str | None, int, int | None]:
    if isinstance(given, int):
        return None, given, given
    return given if isinstance(given, tuple) else (given, 1, None)


class Input(traitlets.TraitType[Any, Any]):
    """A synchronised trait. A kind of its own sets ``kind`` and ``words`` or, at most, ``validate``."""

    kind = "any"
    words = ("a value", "values")  # of one, of several

    def __init__(
        self, default: Any, *, shape: Iterable[Dimension] = (), said: str = "", help: str = "", **rules: Any
    ) -> None:
        super().__init__(default, help=help)
        self.tag(sync=True)
        rules = {"kind": self.kind} | {name: rule for name, rule in rules.items() if rule is not None}
        self.spec: dict[str, Any] = {"shape": [_dimension(size) for size in shape], **rules}
        self.spec["words"] = said or self._words()

    def _words(self) -> str:
        one, many = self.words
        rules, shape = self.spec, self.spec["shape"]
        above, least, most = (rules.get(name) for name in ("above", "least", "most"))
        bounds = f" above {above:g}" if above is not None else ""
        if least is not None:
            bounds += f" from {least:g} " + ("up" if most is None else f"to {most:g}")
        if not shape:
            return one + bounds
        letters = [str(low) if low == high else name or "n" for name, low, high in shape]
        limits = [
            f", {letter} from {low} to {high}" for letter, (_, low, high) in zip(letters, shape, strict=True)
            if high not in (None, low)
        ]  # fmt: skip
        listed = f"a list of {many}" if len(shape) == 1 and self.kind not in ("number", "whole") else ""
        return (listed or f"{many}{bounds} of shape ({', '.join(letters)})") + "".join(limits)

    def default(self, obj: Any = None) -> Any:
        return copy.deepcopy(self.default_value)

    def validate(self, obj: Any, value: Any) -> Any:
        try:
            return fit(self.spec, plain(value), {})
        except _Misfit:
            return self.fail(self.spec["words"], value)

    def fail(self, expected: str, value: Any) -> NoReturn:
        raise StateError(f"{self.name} must be {expected}; got {value!r:.80}")


class Number(Input):
    """A finite number: ``above`` a bound, or from ``least`` to ``most``."""

    kind = "number"
    words = ("a finite number", "finite numbers")


class Array(Number):
    """Finite numbers of a given shape, with a number's bounds."""

    def __init__(self, shape: Iterable[Dimension], default: Any, **rules: Any) -> None:
        super().__init__(default, shape=shape, **rules)


class Whole(Input):
    """A whole number from 0 or ``least`` to ``most``; with ``below``, an index into the trait of that name."""

    kind = "whole"
    words = ("a whole number", "whole numbers")

    def __init__(self, default: Any, *, least: int = 0, **rules: Any) -> None:
        super().__init__(default, least=least, **rules)


class Choice(Input):
    """One name of a table."""

    kind = "choice"

    def __init__(self, names: Iterable[str], default: str, **rules: Any) -> None:
        self.names = tuple(names)
        self.words = (f"one of {', '.join(self.names)}", f"{', '.join(self.names)}")
        super().__init__(default, names=self.names, **rules)


class Flag(Input):
    """True or False."""

    kind = "flag"
    words = ("True or False", "True and False")


class Text(Input):
    """A text."""

    kind = "text"
    words = ("a text", "texts")


class Texts(Text):
    """A list of texts, empty too."""

    def __init__(self, default: Any, *, shape: Iterable[Dimension] = (("", 0, None),), **rules: Any) -> None:
        super().__init__(default, shape=shape, **rules)


class Picture(Input):
    """A picture ``{height, width, rgb}``, sides from ``least`` to ``most``: ``rgb`` is the base64 of its bytes.

    These are red, green and blue of each pixel, row by row.
    """

    kind = "picture"

    def __init__(self, default: Any, *, least: int = 1, most: int = 128, **rules: Any) -> None:
        held = f"{{height, width, rgb}} with sides from {least} to {most} and three bytes a pixel as base64"
        self.words = (f"a picture {held}", f"pictures {held}")
        super().__init__(default, least=least, most=most, **rules)

    def _words(self) -> str:
        return self.words[bool(self.spec["shape"])]


class Record(Input):
    """A mapping with these fields, each a trait of its own; a list of them with a ``shape``."""

    kind = "record"

    def __init__(self, fields: Mapping[str, Input], default: Any, **rules: Any) -> None:
        named = "{" + ", ".join(fields) + "}"
        self.words = (named, named)
        super().__init__(default, fields={name: field.spec for name, field in fields.items()}, **rules)


def Output(help: str = "") -> Any:
    """A trait that Python computes from the inputs: to observe and link, not to set."""
    return traitlets.Any(None, read_only=True, help=help)
