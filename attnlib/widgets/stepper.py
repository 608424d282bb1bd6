"""The base of machines that are seen a step at a time: DecoderStepper and its kin; ``js/stepper.js`` is its page's."""

from typing import Any

from attnlib.widgets.presets import PresetWidget

__all__ = ["Stepper"]


class Stepper(PresetWidget):
    """A machine and how far it has gone.

    Its inputs are what decides a run (a tape, a sentence) and what has been done so far. A member says how many steps
    that is (``_count``), which inputs bring it to another number of steps (``_at``), and what is to be seen of the step
    that comes next (``_now``), each part an output. The page does the same in JavaScript.
    """

    def _count(self) -> int:
        raise NotImplementedError

    def _at(self, count: int) -> dict[str, Any]:
        raise NotImplementedError

    def _now(self) -> dict[str, Any]:
        raise NotImplementedError

    def to(self, count: int) -> None:
        """Go to the state after so many steps, or as far as the machine goes."""
        self.update(**self._at(max(count, 0)))

    def forward(self) -> None:
        """One step on."""
        self.to(self._count() + 1)

    def back(self) -> None:
        """One step back."""
        self.to(self._count() - 1)

    def _compute(self) -> None:
        for name, value in self._now().items():
            self.set_trait(name, value)
