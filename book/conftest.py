"""The notebook check (`pytest --nbval book`): kernels, claims, and the seconds each notebook took."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell

sys.path.insert(0, str(Path(__file__).parent / "_tools"))
import environment
import static_view
import verdicts
from notebooks import SECONDS

TAKEN: Counter[str] = Counter()


def sanitize(self: IPyNbCell, text: str) -> str:
    """Of a widget, its state and what it draws are compared; not the script that draws."""
    return static_view.comparable(_sanitize(self, text)) if isinstance(text, str) else text


_sanitize = IPyNbCell.sanitize


def pytest_configure(config: pytest.Config) -> None:
    IPyNbCell.sanitize = sanitize
    os.environ.update(environment.kernel(os.environ.get(environment.ELSEWHERE)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """After a cell has run: are its claims as stored? Of what comes from training nothing else is compared."""
    yield
    if isinstance(item, IPyNbCell) and item.test_outputs is not None:
        differing = verdicts.differences(item.cell.outputs, item.test_outputs)
        if differing:
            item.raise_cell_error("Claims differ from those stored", "\n".join(differing))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    name = report.nodeid.partition("::")[0]
    if name.endswith(".ipynb"):
        TAKEN[name] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, seconds in sorted(TAKEN.items()):
        late = f"  over the budget of {SECONDS} s" if seconds > SECONDS else ""
        terminalreporter.write_line(f"{seconds:6.1f} s  {name}{late}")
    if TAKEN:
        terminalreporter.write_line(f"{sum(TAKEN.values()):6.1f} s  all notebooks")
