"""Progress as one living line of text on standard error, where that is a terminal; silence elsewhere."""

import math
import sys
import time
from typing import NamedTuple

from .record import Record

LINE_SECONDS = 0.2  # between two looks of the line


class State(NamedTuple):
    """Where a run stands within its epoch: numbers from 0, sums since the epoch began."""

    epoch: int = 0
    step: int = 0
    summed: float = 0.0
    counted: float = 0.0
    seconds: float = 0.0


class Line:
    """The line of a run over so many epochs."""

    def __init__(self, epochs: int) -> None:
        self.living = sys.stderr.isatty()
        self.epochs, self.shown = epochs, 0.0
        self.first: tuple[float, int] | None = None

    def show(self, at: State, steps: int) -> None:
        """A step of the epoch's ``steps`` is done."""
        now, done = time.perf_counter(), at.epoch * steps + at.step
        if not self.living or (self.first and now - self.shown < LINE_SECONDS):
            return
        since, before = self.first = self.first or (now, done)
        self.shown = now
        left = (now - since) / (done - before) * (self.epochs * steps - done) if done > before else math.nan
        self._write(
            f"epoch {at.epoch + 1}/{self.epochs}  step {at.step}/{steps}  loss {at.summed / at.counted:.4f}  "
            f"{at.counted / max(at.seconds, 1e-9):,.0f} tokens/s  {_clock(left)} left"
        )

    def end_of_epoch(self, record: Record) -> None:
        """An epoch is done, judged, and stays on the terminal."""
        if not self.living:
            return
        said = "  ".join(f"{name} {value:.4g}" for name, value in (record.metrics or [{}])[-1].items())
        self._write(
            f"epoch {len(record.losses)}/{self.epochs}  loss {record.losses[-1]:.4f}  {_clock(record.seconds[-1])}  "
            f"{record.tokens_per_second[-1]:,.0f} tokens/s" + (f"  |  {said}" if said else ""),
            end="\n",
        )

    def _write(self, text: str, end: str = "") -> None:
        print(f"\r{text:<79}", end=end, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    if math.isnan(seconds):
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
