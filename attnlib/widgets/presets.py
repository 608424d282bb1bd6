"""Named states that a reader can start from, each with one sentence on what to notice."""

from typing import Any, ClassVar

import traitlets

from attnlib.widgets.base import Widget
from attnlib.widgets.traits import Input, Record, StateError, Text

__all__ = ["PresetWidget", "Presets", "preset"]


def preset(name: str, notice: str, **state: Any) -> dict[str, Any]:
    """One preset as the page reads it."""
    return {"name": name, "notice": notice, "state": state}


class Presets(Record):
    """A list of presets: ``{"name": ..., "notice": one sentence, "state": {trait: value, ...}}``."""

    def __init__(self, default: Any, **rules: Any) -> None:
        fields = {"name": Text(""), "notice": Text(""), "state": Input({})}
        said = "a list of {name, notice, state}, names distinct"
        super().__init__(fields, default, shape=(("", 0, None),), said=said, **rules)

    def validate(self, obj: Any, value: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = super().validate(obj, value)
        texts = [item[part] for item in found for part in ("name", "notice")]
        if not all(texts) or len({item["name"] for item in found}) < len(found):
            self.fail(self.spec["words"], value)
        known = set(type(obj)._names()) - {"preset", "presets"}
        if not all(isinstance(item["state"], dict) and item["state"].keys() <= known for item in found):
            self.fail("presets whose states hold traits of the widget", value)
        return found


class PresetWidget(Widget):
    """A widget with ``presets``; setting ``preset`` to the name of one sets what that one holds.

    Who gives one of the traits in ``presets_of`` gives other data than the presets speak of: then there are none.
    """

    presets_of: ClassVar[tuple[str, ...]] = ()

    presets = Presets([], help="what the reader can start from: name, notice and state of each")
    preset = Text("", help="name of the preset last chosen, or empty; setting it sets what the preset holds")

    _follows = False  # not while it is made: what is given beside a preset stands

    def __init__(self, **state: Any) -> None:
        if state.keys() & set(self.presets_of):
            state = {"presets": [], **state}
        elif self.presets and not state.keys() & set(self._names()):
            state["preset"] = self.presets[0]["name"]
        if state.get("preset"):
            presets = state.get("presets", type(self).presets.default())
            state = {**self._held(state["preset"], presets), **state}
        super().__init__(**state)
        self._follows = True

    @staticmethod
    def _held(name: str, presets: list[dict[str, Any]]) -> dict[str, Any]:
        for item in presets:
            if item["name"] == name:
                return dict(item["state"])
        raise StateError(f"preset must be one of {', '.join(item['name'] for item in presets)}; got {name!r}")

    @traitlets.observe("preset")
    def _follow_preset(self, change: Any) -> None:
        if self.preset and self._follows:
            self.update(**self._held(self.preset, self.presets))

    def _check(self, state: dict[str, Any]) -> None:
        if state["preset"]:
            self._held(state["preset"], state["presets"])
