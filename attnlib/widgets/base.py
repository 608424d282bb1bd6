"""One widget, two hosts: a kernel (JupyterLab, VS Code, Colab) and a page that has none.

How a widget is written. Two files with one stem, ``lab.py`` and ``js/lab.js``:

* ``js/lab.js`` is an anywidget module. It imports from ``./attention.js`` (the arithmetic) and ``./ui.js`` (the frame,
  controls, plane, points; its head says how) and ends with ``export default { render };``. Named imports only, one
  statement a helper: ``import { softmax, attend } from "./attention.js";``. Never ``]]>`` or ``</script`` in the text.
  What ``js/widget.css`` does not cover stands in ``js/lab.css``.
* ``lab.py`` holds the class::

      class Lab(Widget):
          _stem = "lab"                                   # js/lab.js
          logits = Array((None,), [1.0, 0.0, -1.0])       # inputs: synchronised with the page
          temperature = Number(1.0, above=0)
          distribution = Choice(DISTRIBUTIONS, "softmax")
          weights = Output()                              # outputs: recomputed here, never sent

          def _compute(self) -> None: ...                 # self.set_trait("weights", ...); runs after every change
          def _check(self, state) -> None: ...            # optional: StateError where traits do not fit together
          def summary(self) -> str: ...                   # one line: what a listener would be told of the picture
          def picture(self) -> Picture: ...               # the static twin, drawn from the state

Some names are taken by ipywidgets (``keys``, ``layout``, ``comm``, ...); a class that uses one fails at once.

Inputs may be given as lists, arrays or tensors and are kept as lists of floats. What does not fit raises ``StateError``
(a ``ValueError`` that names the trait) and leaves the widget as it was. Several traits that must change together go
through ``update(key=..., value=...)``.

The mime bundle: the live view where there is a kernel; ``text/html``, byte for byte the same for the same state, well
formed as XML too, with state, module, host and picture in it and nothing to fetch; ``image/png``; ``text/plain``.
"""

import copy
import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import comm
import traitlets

from attnlib.widgets.picture import Picture, Real

__all__ = ["Array", "Choice", "Flag", "Input", "Number", "Output", "StateError", "Text", "Texts", "Whole", "Widget"]

_JS = Path(__file__).parent / "js"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (function|const) (\w+)", re.MULTILINE)


class StateError(traitlets.TraitError, ValueError):
    """A widget was given a state it cannot show; the message names the trait."""


# ------------------------------------------------------------------------------------------------------------ traits


def _plain(value: Any) -> Any:
    """Lists and numbers of whatever holds them (tensor, array, tuple)."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of nested lists of finite numbers; None where they are ragged or hold anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return () if math.isfinite(value) else None
    if not isinstance(value, list):
        return None
    shapes = {_shape(item) for item in value}
    if len(shapes) > 1 or None in shapes:
        return None
    return (len(value), *(next(iter(shapes)) or ())) if shapes else (0,)


def _floats(value: Any) -> Any:
    return [_floats(item) for item in value] if isinstance(value, list) else float(value)


class Input(traitlets.TraitType[Any, Any]):
    """A synchronised trait whose errors are :class:`StateError`; a subclass says in ``validate`` what fits."""

    def __init__(self, default: Any, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.tag(sync=True)

    def default(self, obj: Any = None) -> Any:
        return copy.deepcopy(self.default_value)

    def fail(self, expected: str, value: Any) -> None:
        raise StateError(f"{self.name} must be {expected}; got {value!r:.80}")


class Array(Input):
    """Finite numbers of a given shape; ``None`` in the shape stands for any length from one up."""

    def __init__(self, shape: tuple[int | None, ...], default: Any, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.shape = shape

    def validate(self, obj: Any, value: Any) -> Any:
        plain = _plain(value)
        shape = _shape(plain)
        fits = shape is not None and len(shape) == len(self.shape)
        if not fits or any(n == 0 or (m is not None and n != m) for n, m in zip(shape or (), self.shape, strict=False)):
            words = ", ".join("n" if size is None else str(size) for size in self.shape)
            self.fail(f"finite numbers of shape ({words})", value)
        return _floats(plain)


class Number(Input):
    """A finite number, with a lower bound that is excluded (``above``) or bounds that are not (``least``, ``most``)."""

    def __init__(
        self,
        default: Real,
        *,
        above: Real = -math.inf,
        least: Real = -math.inf,
        most: Real = math.inf,
        **kwargs: Any,
    ) -> None:
        super().__init__(default, **kwargs)
        self.above, self.least, self.most = above, least, most

    def validate(self, obj: Any, value: Any) -> float:
        plain = _plain(value)
        if _shape(plain) != ():
            self.fail("a finite number", value)
        if plain <= self.above:
            self.fail(f"above {self.above:g}", value)
        if not self.least <= plain <= self.most:
            self.fail(f"from {self.least:g} to {self.most:g}", value)
        return float(plain)


class Choice(Input):
    """One name of a table."""

    def __init__(self, names: Iterable[str], default: str, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.names = tuple(names)

    def validate(self, obj: Any, value: Any) -> str:
        if value not in self.names:
            self.fail("one of " + ", ".join(self.names), value)
        return str(value)


class Flag(Input):
    """True or False; ``Flag(default, many=True)`` is a list of them."""

    def __init__(self, default: Any, *, many: bool = False, **kwargs: Any) -> None:
        super().__init__(default, **kwargs)
        self.many = many

    def validate(self, obj: Any, value: Any) -> Any:
        plain = _plain(value)
        if not self.many:
            if not isinstance(plain, bool):
                self.fail("True or False", value)
        elif not isinstance(plain, list) or not plain or not all(isinstance(item, bool) for item in plain):
            self.fail("a list of True and False", value)
        return plain


class Whole(Input):
    """A whole number from zero up."""

    def validate(self, obj: Any, value: Any) -> int:
        plain = _plain(value)
        if not isinstance(plain, int) or isinstance(plain, bool) or plain < 0:
            self.fail("a whole number from 0 up", value)
        return int(plain)


class Text(Input):
    """A text."""

    def validate(self, obj: Any, value: Any) -> str:
        if not isinstance(value, str):
            self.fail("a text", value)
        return str(value)


class Texts(Input):
    """A list of short texts."""

    def validate(self, obj: Any, value: Any) -> list[str]:
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            self.fail("a list of texts", value)
        return list(value)


def Output(help: str = "") -> Any:
    """A trait that Python computes from the inputs: to observe and link, not to set."""
    return traitlets.Any(None, read_only=True, help=help)


# ------------------------------------------------------------------------------------------------------------ bundle


@cache
def _source(stem: str) -> str:
    return (_JS / f"{stem}.js").read_text(encoding="utf-8")


def _helpers(stem: str) -> list[str]:
    """The modules that ``stem`` imports, deepest first."""
    found: list[str] = []
    for match in _IMPORT.finditer(_source(stem)):
        for name in (*_helpers(match[2]), match[2]):
            if name not in found:
                found.append(name)
    return found


def _inlined(source: str) -> str:
    """Imports as the taking apart of an object that an inlined module has left."""
    return _IMPORT.sub(lambda match: f"const {{{match[1].replace(' as ', ': ')}}} = ${match[2]};\n", source)


def _wrapped(stem: str) -> str:
    source = _source(stem)
    names = ", ".join(match[2] for match in _EXPORT.finditer(source))
    body = _EXPORT.sub(r"\1 \2", _inlined(source))
    return f"const ${stem} = (() => {{\n{body}return {{ {names} }};\n}})();\n"


@cache
def module(stem: str) -> str:
    """The widget's module in one piece, helpers inlined: what a kernel's page runs."""
    return "".join(_wrapped(name) for name in _helpers(stem)) + _inlined(_source(stem))


@cache
def script(stem: str) -> str:
    """The same as a classic script that mounts itself: what a static page runs, from ``file://`` too."""
    body = module(stem).replace("export default", "const $widget =")
    mount = f'$host.mount(document.currentScript, "{stem}", $widget);\n'
    return f'(() => {{\n"use strict";\n{_wrapped("host")}{body}{mount}}})();\n'


@cache
def style(stem: str) -> str:
    """The style sheet of all widgets, then the widget's own where it has one."""
    sheets = [_JS / "widget.css", _JS / f"{stem}.css"]
    return "".join(sheet.read_text(encoding="utf-8") for sheet in sheets if sheet.exists())


def _json(state: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element of HTML and of XML."""
    text = json.dumps(state, sort_keys=True, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


# ------------------------------------------------------------------------------------------------------------ widget


class Widget(anywidget.AnyWidget):
    """The base of every widget; see the module's text."""

    _stem: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_stem" in cls.__dict__:  # not again for the class that anywidget derives for each instance
            taken = sorted(set(anywidget.AnyWidget.class_trait_names()) & cls.__dict__.keys())
            if taken:
                raise TypeError(f"{cls.__name__}.{taken[0]} would hide a trait of ipywidgets")
            cls._esm, cls._css = module(cls._stem), style(cls._stem)
        super().__init_subclass__(**kwargs)

    def __init__(self, **state: Any) -> None:
        own = set(self._names())
        unknown = sorted(set(state) - own - set(anywidget.AnyWidget.class_trait_names()))
        if unknown:
            raise StateError(f"{unknown[0]} is no trait of {type(self).__name__}; it has {', '.join(sorted(own))}")
        self._register_validator(type(self)._agree, self._names())
        super().__init__(**state)
        self._compute()
        self.observe(lambda change: self._compute(), self._names())

    @classmethod
    def _names(cls) -> list[str]:
        """The inputs: what is synchronised beyond anywidget's own."""
        own = set(cls.class_trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names())
        return sorted(name for name in own if not name.startswith("_"))

    def update(self, **state: Any) -> None:
        """Change several traits as one; all of them or, when they do not fit together, none."""
        unknown = sorted(set(state) - set(self._names()))
        if unknown:
            raise StateError(f"{unknown[0]} is no trait of {type(self).__name__}; it has {', '.join(self._names())}")
        with self.hold_trait_notifications():
            for name, value in state.items():
                setattr(self, name, value)

    def state(self) -> dict[str, Any]:
        """The inputs as plain lists and numbers."""
        return {name: copy.deepcopy(getattr(self, name)) for name in self._names()}

    def _agree(self, proposal: Any) -> Any:
        self._check({**self.state(), proposal["trait"].name: proposal["value"]})
        return proposal["value"]

    def _check(self, state: dict[str, Any]) -> None:
        """Raise :class:`StateError` where the traits of a state do not fit together."""

    def _compute(self) -> None:
        """Recompute the outputs."""

    def summary(self) -> str:
        """One line that tells the state in words."""
        raise NotImplementedError

    def picture(self) -> Picture:
        """The static picture of the state."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.summary()}"

    def _repr_html_(self) -> str:
        picture = self.picture()
        size = f'width="{picture.width:g}" height="{picture.height:g}"'
        return (
            f'<div class="attnlib-static" data-attnlib="{self._stem}">\n'
            f"<style>/*<![CDATA[*/\n{style(self._stem)}/*]]>*/</style>\n"
            f'<img class="attnlib-picture" {size} alt="{escape(self.summary())}" src="{escape(picture.data_uri())}"/>\n'
            f'<script type="application/json">{_json(self.state())}</script>\n'
            f"<script>//<![CDATA[\n{script(self._stem)}//]]></script>\n</div>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        metadata: dict[str, Any] = {"attnlib": {"alt": self.summary(), "caption": None}}
        picture = self.picture()
        try:
            data["image/png"] = picture.png()
            metadata["image/png"] = {"width": picture.width, "height": picture.height}
        except ImportError:  # matplotlib is an extra; the page does not need it
            pass
        if not isinstance(self.comm, comm.DummyComm):
            live, live_metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
            data, metadata = {**live, **data}, {**live_metadata, **metadata}
        return data, metadata
