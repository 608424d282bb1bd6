"""One widget, two hosts: a kernel (JupyterLab, VS Code, Colab) and a page that has none.

How a widget is written. Files of one stem beside each other, in a folder as the library's: ``lab.py``, ``lab.js`` and,
where ``js/widget.css`` does not do, ``lab.css``. The stem names the class: ``Lab`` (``TinyLab`` is ``tiny_lab``), and
``from attnlib.widgets import Lab`` finds it.

* ``lab.js`` draws. It ends with ``export default { build, unnamed, hint };``; the head of ``js/frame.js`` says what
  these are. What is there already is in ``js/``: ``dom.js``, ``text.js``, ``controls.js``, ``plane.js``, ``handle.js``,
  ``bars.js``, ``table.js``; arithmetic is in ``js/math/``, a file a mechanism, and held to the library by tests. Named
  imports by relative paths, one statement a file. Never ``</script`` in the text.
* ``lab.py`` holds the class::

      class Lab(Widget):
          logits = Array(("n",), [1.0, 0.0, -1.0])        # inputs: synchronised with the page
          labels = Texts(["a", "b", "c"], shape=("n",))   # as many as logits, by the name
          temperature = Number(1.0, above=0)
          distribution = Choice(DISTRIBUTIONS, "softmax")
          weights = Output()                              # outputs: recomputed here, never sent

          data: ClassVar = {...}                          # optional: what the page needs beside them, as JSON
          sample: ClassVar = {"logits": [2.0, 0.0, 1.0]}  # a state beside the presets, for the tests of all widgets

          def _compute(self) -> None: ...                 # self.set_trait("weights", ...); runs after every change
          def _check(self, state) -> None: ...            # optional: StateError for what traits cannot say
          def summary(self) -> str: ...                   # one line: what a listener would be told of the picture

What a trait may be is said there, once: types, shapes, bounds, lengths that must agree. The page checks the same table.
Some names are taken by ipywidgets (``keys``, ``layout``, ``comm``, ...); a class that uses one fails at once.

Inputs may be given as lists, arrays or tensors and are kept as lists of floats. What does not fit raises ``StateError``
(a ``ValueError`` that names the trait) and leaves the widget as it was. Several traits that must change together go
through ``update(key=..., value=...)``.

The mime bundle: the live view where there is a kernel; ``text/html``, byte for byte the same for the same state, which
brings state, style and script and fetches nothing; ``text/plain``. What a notebook stores is less and more: ``make
notebooks`` cuts style and script, which the book's pages load from one file a widget, and puts in what the widget
draws, as HTML and, for print, as a picture (``book/_tools/static_view.py``).
"""

import copy
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import comm

from attnlib.widgets import bundle
from attnlib.widgets.traits import (
    Array,
    Choice,
    Flag,
    Input,
    Number,
    Output,
    Picture,
    Record,
    StateError,
    Text,
    Texts,
    Whole,
    fit,
)  # fmt: skip

__all__ = [
    "Array", "Choice", "Flag", "Input", "Number", "Output", "Picture", "Record", "StateError", "Text", "Texts", "Whole",
    "Widget",
]  # fmt: skip


class Widget(anywidget.AnyWidget):
    """The base of every widget; see the module's text."""

    sample: ClassVar[dict[str, Any]] = {}
    data: ClassVar[dict[str, Any]] = {}
    _stem: ClassVar[str] = ""
    _script: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        member = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or "").with_suffix(".js")
        # Not for a class of a notebook, nor for the one that anywidget derives for each instance.
        if member.is_file() and member.stem != cls._stem:
            taken = sorted(set(anywidget.AnyWidget.class_trait_names()) & cls.__dict__.keys())
            if taken:
                raise TypeError(f"{cls.__name__}.{taken[0]} would hide a trait of ipywidgets")
            about: dict[str, Any] = {"name": member.stem.replace("_", " ").capitalize(), "schema": cls.schema()}
            if cls.data:
                about["data"] = cls.data
            cls._stem, cls._script = member.stem, bundle.script(member, **about)
            cls._esm, cls._css = bundle.module(member, **about), bundle.style(member)
        super().__init_subclass__(**kwargs)

    def __init__(self, **state: Any) -> None:
        self._known(state, set(anywidget.AnyWidget.class_trait_names()))
        self._register_validator(type(self)._agree, self._names())
        super().__init__(**state)
        self._compute()
        self.observe(lambda change: self._compute(), self._names())

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """What each input may be, as the page reads it too."""
        parts = {name: part for base in reversed(cls.__mro__) for name, part in vars(base).items()}
        return {name: part.spec for name, part in sorted(parts.items()) if isinstance(part, Input)}

    @classmethod
    def _names(cls) -> list[str]:
        return list(cls.schema())

    def _known(self, state: Mapping[str, Any], others: set[str]) -> None:
        own = self._names()
        unknown = sorted(set(state) - set(own) - others)
        if unknown:
            raise StateError(f"{unknown[0]} is no trait of {type(self).__name__}; it has {', '.join(own)}")

    def update(self, **state: Any) -> None:
        """Change several traits as one; all of them or, when they do not fit together, none."""
        self._known(state, set())
        with self.hold_trait_notifications():
            for name, value in state.items():
                setattr(self, name, value)

    def state(self) -> dict[str, Any]:
        """The inputs as plain lists and numbers."""
        return {name: copy.deepcopy(getattr(self, name)) for name in self._names()}

    def _agree(self, proposal: Any) -> Any:
        state = {**self.state(), proposal["trait"].name: proposal["value"]}
        self._fit_together(state)
        for base in reversed(type(self).__mro__):  # every class's own, whether or not a later one thinks of it
            if "_check" in vars(base):
                vars(base)["_check"](self, state)
        return proposal["value"]

    def _fit_together(self, state: dict[str, Any]) -> None:
        """Lengths of one name are one length; an index is one."""
        known: dict[str, tuple[str, int]] = {}
        for name, spec in self.schema().items():
            sizes: dict[str, int] = {}
            fit(spec, state[name], sizes)
            for size, length in sizes.items():
                other, wanted = known.setdefault(size, (name, length))
                if length != wanted:
                    clash = f"{name} has {size}={length} but {other} has {size}={wanted}"
                    raise StateError(f"{clash}; change them as one with update(...)")
            below = spec.get("below")
            if below and state[name] >= len(state[below]):
                raise StateError(f"{name} must be below {len(state[below])}, the length of {below}; got {state[name]}")

    def _check(self, state: dict[str, Any]) -> None:
        """Raise :class:`StateError` where the traits of a state do not fit together."""

    def _compute(self) -> None:
        """Recompute the outputs."""

    def summary(self) -> str:
        """One line that tells the state in words."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.summary()}"

    def _repr_html_(self) -> str:
        return (
            f'<div class="attnlib-static" data-attnlib="{self._stem}">\n'
            f"<style>\n{self._css}</style>\n"
            f'<div class="attnlib-picture"><p>{escape(self.summary())}</p></div>\n'
            f'<script type="application/json">{bundle.to_json(self.state())}</script>\n'
            f"<script>\n{self._script}</script>\n</div>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        metadata: dict[str, Any] = {"attnlib": {"alt": self.summary(), "caption": None}}
        if not isinstance(self.comm, comm.DummyComm):
            live, live_metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
            data, metadata = {**live, **data}, {**live_metadata, **metadata}
        return data, metadata
