"""Building kernels: once, whoever asks at the same time, and all of it or nothing."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.utils import cpp_extension

from attnlib.fused import native

NAME = "drawn"


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Instead of the compiler: a slow one that writes down its folders and makes an empty library."""
    folders = []

    def load(name, sources, *, build_directory, **options):
        folders.append(Path(build_directory))
        time.sleep(0.2)
        (Path(build_directory) / f"{name}.so").touch()

    monkeypatch.setattr(native, "missing", lambda: None)
    monkeypatch.setenv("ATTNLIB_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setattr(cpp_extension, "load", load)
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    return folders


def at_once(n=4):
    """As many processes would; a lock is a file's, so threads will do."""
    start = threading.Barrier(n)

    def one(_):
        start.wait()
        native._load(NAME, verbose=False)

    with ThreadPoolExecutor(n) as pool:
        list(pool.map(one, range(n)))


def test_of_many_that_ask_at_once_one_builds(compiled, tmp_path):
    at_once()
    assert len(compiled) == 1
    kept = {path.suffix for path in (tmp_path / "kernels").iterdir()}
    assert kept == {"", ".lock"}  # the library's folder; none that it was built in
    at_once()
    assert len(compiled) == 1


def test_without_a_lock_each_builds_and_nothing_breaks(compiled, monkeypatch):
    """The wrong version of the test above; it is also what happens on a disk that knows no locks."""
    import fcntl

    def refused(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    at_once()
    assert len(compiled) > 1


def test_a_build_that_fails_lets_the_next_one_try(compiled, monkeypatch):
    works = cpp_extension.load

    def load(*arguments, **options):
        raise RuntimeError("it does not compile")

    monkeypatch.setattr(cpp_extension, "load", load)
    with pytest.raises(RuntimeError, match="does not compile"):
        native._load(NAME, verbose=False)
    monkeypatch.setattr(cpp_extension, "load", works)
    native._load(NAME, verbose=False)
    assert len(compiled) == 1
