"""The notebook check (`pytest --nbval book`): kernels, claims, and the time of each notebook."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell

sys.path.insert(0, str(Path(__file__).parent / "_tools"))
import environment
import static_view
import times
import verdicts


def sanitize(self: IPyNbCell, text: str) -> str:
    """Of a widget, its state and what it draws are compared; not the script that draws."""
    return static_view.comparable(_sanitize(self, text)) if isinstance(text, str) else text


_sanitize = IPyNbCell.sanitize


def pytest_configure(config: pytest.Config) -> None:
    IPyNbCell.sanitize = sanitize
    os.environ.update(environment.kernel(os.environ.get(environment.ELSEWHERE)))
    config.pluginmanager.register(times.Clock())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """After a cell has run: are its claims as stored? Of what comes from training nothing else is compared."""
    yield
    if isinstance(item, IPyNbCell) and item.test_outputs is not None:
        differing = verdicts.differences(item.cell.outputs, item.test_outputs)
        if differing:
            item.raise_cell_error("Claims differ from those stored", "\n".join(differing))
