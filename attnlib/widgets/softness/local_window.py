"""LocalWindow: a centre and a width, and what window and Gaussian leave of the softmax."""

import math
from typing import Any

import torch

from attnlib import attend
from attnlib.softness.local import full_weights, local
from attnlib.widgets.picture import Picture
from attnlib.widgets.presets import Presets, PresetWidget, preset
from attnlib.widgets.traits import Array, Choice, Flag, Number, Output, StateError, Whole

__all__ = ["PRESETS", "LocalWindow"]

_ALIKE = [0.0] * 10
_ONE_STANDS_OUT = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0]
_TWO_ALIKE = [0.2, 2.0, 0.4, 0.0, 0.6, 0.1, 0.3, 2.0, 0.5, 0.0]
_FORM: dict[str, Any] = {"form": "local-p", "half_width": 2, "renormalise": False}

PRESETS = [
    preset(
        "All keys alike",
        "Every key matches the query as well as any other, so only the Gaussian tells the four in the window apart: "
        "move p and find where the weights sum to most.",
        **{**_FORM, "logits": _ALIKE, "centre": 4.3},
    ),
    preset(
        "A key at the edge",
        "Key 7 matches best and stands just outside: push p from 4.9 to 5.1 and every weight jumps, though p hardly "
        "moved.",
        **{**_FORM, "logits": _ONE_STANDS_OUT, "centre": 4.9},
    ),
    preset(
        "Two that match",
        "Keys 1 and 7 match equally well and p decides between them: what is outside the window has no weight at all, "
        "however well it matches.",
        **{**_FORM, "logits": _TWO_ALIKE, "centre": 2.0},
    ),
    preset(
        "The same, global",
        "Global attention has no window and gives keys 1 and 7 the same weight: go back to local-p and bring p to "
        "one of them.",
        **{**_FORM, "logits": _TWO_ALIKE, "centre": 2.0, "form": "global"},
    ),
    preset(
        "Step by step",
        "In local-m the centre is the number of the step and all keys in the window keep their softmax, which sums to "
        "1: walk p along and see key 7 come in at step 5.",
        **{**_FORM, "logits": _TWO_ALIKE, "centre": 3.0, "form": "local-m"},
    ),
    preset(
        "At the end of the sentence",
        "More than half of the window lies beyond the last key and is cut off: move p on to 10, where the formula can "
        "bring it, and see how little is left.",
        **{**_FORM, "logits": _ALIKE, "centre": 9.4},
    ),
]

_FORMS = ("global", "local-m", "local-p")
_LEFT, _RIGHT, _WIDTH = 44.0, 14.0, 640.0
_BELL = (34.0, 96.0)  # of the Gaussian's panel: top and height; then the weights' panel
_BARS = (168.0, 130.0)


class LocalWindow(PresetWidget):
    """One row of energies under global attention, local-m or local-p: window, Gaussian, weights and their sum.

    Args:
        logits: the energies of the keys, three at least.
        centre: p, where the window stands, from 0; local-m takes the nearest key for it.
        half_width: D, a whole number from 1 up.
        form: ``"global"``, ``"local-m"`` (no Gaussian) or ``"local-p"``.
        renormalise: make the weights sum to one after the Gaussian.
        preset: the name of a preset to start from; what else is given comes on top.
        presets: what the reader can start from.

    The outputs ``weights`` (one a key) and ``total`` (their sum) are recomputed in float64 with ``attnlib.local``.

    >>> window = LocalWindow(logits=[0.0] * 10, centre=4.0, half_width=2)
    >>> [round(weight, 3) for weight in window.weights[2:7]]
    [0.027, 0.121, 0.2, 0.121, 0.027]
    """

    logits = Array((None,), _ALIKE)
    centre = Number(4.3, least=-99, most=99)
    half_width = Whole(2)
    form = Choice(_FORMS, "local-p")
    renormalise = Flag(False)
    presets = Presets(PRESETS)
    weights = Output("the weights over all keys")
    total = Output("their sum")

    def _check(self, state: dict[str, Any]) -> None:
        if state["half_width"] < 1:
            raise StateError(f"half_width must be at least 1; got {state['half_width']}")
        if not 3 <= len(state["logits"]) <= 24:
            raise StateError(f"logits must be of 3 to 24 keys; got {len(state['logits'])}")

    def _compute(self) -> None:
        weights = self._weights(self.form, self.renormalise)
        self.set_trait("weights", weights)
        self.set_trait("total", math.fsum(weights))

    def _at(self) -> float:
        """The centre as the form has it: in local-m a key of the sentence."""
        if self.form != "local-m":
            return float(self.centre)
        return float(min(max(math.floor(self.centre + 0.5), 0), len(self.logits) - 1))

    def _weights(self, form: str, renormalise: bool) -> list[float]:
        key = torch.tensor(self.logits, dtype=torch.float64).unsqueeze(-1)
        query = torch.ones(1, 1, dtype=torch.float64)
        if form == "global":
            found = attend(query, key)
            return [] if found.weights is None else [float(weight) for weight in found.weights[0]]
        centre = torch.tensor([self._at()], dtype=torch.float64)
        options: dict[str, Any] = {"gaussian": form == "local-p", "renormalise": renormalise}
        windowed = local(query, key, centre=centre, half_width=self.half_width, **options).weights
        assert windowed is not None
        return [float(weight) for weight in full_weights(windowed, centre=centre, n_key=len(self.logits))[0]]

    def summary(self) -> str:
        """The window and the weights in words."""
        weights = ", ".join(f"{s}: {_share(weight)}" for s, weight in enumerate(self.weights) if weight > 0)
        where = "" if self.form == "global" else f" at p = {self._at():g} with D = {self.half_width:g}"
        return f"{self.form}{where}: weights {weights or 'none'}; sum {self.total:.3f}"

    def picture(self) -> Picture:
        """The Gaussian over the window, and under it the weights with the softmax that they were."""
        drawing = Picture(_WIDTH, 344)
        where = "" if self.form == "global" else f", p = {self._at():g}, D = {self.half_width:g}"
        drawing.text(_LEFT, 20, f"{self.form}{where}: the weights sum to {self.total:.3f}", size=14, bold=True)
        self._draw_window(drawing)
        self._draw_bars(drawing)
        return drawing

    def _x(self, place: float) -> float:
        return _LEFT + (place + 0.5) * (_WIDTH - _LEFT - _RIGHT) / (len(self.logits) + 1)

    def _draw_window(self, drawing: Picture) -> None:
        top, height = _BELL
        right = _WIDTH - _RIGHT
        drawing.rectangle(_LEFT, top, right - _LEFT, height, stroke="line")
        low, high = (self._at() - self.half_width, self._at() + self.half_width)
        edge = (
            (_LEFT, right) if self.form == "global" else tuple(min(max(self._x(s), _LEFT), right) for s in (low, high))
        )
        for panel_top, panel_height in (_BELL, _BARS):
            drawing.rectangle(
                edge[0], panel_top, edge[1] - edge[0], panel_height, fill="panel", stroke="edge", dash=True
            )
        if self.form == "local-p":
            steps = [low + (high - low) * i / 48 for i in range(49)]
            bell = [(self._x(s), top + height * (1 - self._bell(s))) for s in steps]
            shown = [(x, y) for x, y in bell if _LEFT <= x <= right]
            if len(shown) > 1:
                drawing.line(shown, stroke="query", width=2.2)
            for s in range(len(self.logits)):
                if low <= s <= high:
                    drawing.circle(self._x(s), top + height * (1 - self._bell(s)), 4, fill="query")
        words = {"global": "no window, no Gaussian", "local-m": "no Gaussian", "local-p": "Gaussian, from 0 to 1"}
        drawing.text(right - 6, top + 16, words[self.form], fill="soft", anchor="end")
        if self.form != "global" and _LEFT <= self._x(self._at()) <= right:
            x = self._x(self._at())
            drawing.line([(x, top), (x, _BARS[0] + _BARS[1])], stroke="ink", dash=True)
            drawing.polygon([(x, top + height + 2), (x + 8, top + height + 16), (x - 8, top + height + 16)], fill="ink")

    def _bell(self, place: float) -> float:
        return math.exp(-2 * ((place - self._at()) / self.half_width) ** 2)

    def _draw_bars(self, drawing: Picture) -> None:
        top, height = _BARS
        shares = self._weights("global" if self.form == "global" else "local-m", renormalise=False)
        most = _scale(max([*shares, *self.weights]))
        drawing.text(_LEFT - 6, top + 10, f"{most:g}", fill="soft", anchor="end")
        drawing.text(_LEFT - 6, top + height, "0", fill="soft", anchor="end")
        drawing.line([(_LEFT, top + height), (_WIDTH - _RIGHT, top + height)], stroke="edge")
        for s, (share, weight) in enumerate(zip(shares, self.weights, strict=True)):
            x = self._x(s)
            drawing.rectangle(x - 13, top + height * (1 - weight / most), 26, height * weight / most, fill="context")
            if share > 0:
                drawing.rectangle(
                    x - 15, top + height * (1 - share / most), 30, height * share / most, stroke="key", dash=True
                )
            drawing.text(x, top + height + 16, f"{s}", anchor="middle", bold=weight > 0)
        drawing.text(
            _WIDTH / 2,
            top + height + 36,
            "Dashed: softmax in the window. Filled: the weight.",
            fill="soft",
            anchor="middle",
        )


def _scale(most: float) -> float:
    """A round number not below the tallest bar."""
    return next((top for top in (0.1, 0.25, 0.5) if most <= top), 1.0)


def _share(weight: float) -> str:
    return "< 0.0005" if weight < 5e-4 else f"{weight:.3f}"
