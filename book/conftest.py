"""The notebook check (`pytest --nbval book`): the kernels' environment, and the seconds each notebook took."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "_tools"))
import environment
from notebooks import SECONDS

TAKEN: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(environment.KERNEL)


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
