"""The kernels in Triton, without a GPU: Triton's interpreter runs them, and its compiler takes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attnlib.fused import _triton_additive as triton_additive

HERE = Path(__file__).parent
MISSING = "Triton is not installed: its kernels were neither run nor compiled"
PYTHONPATH = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
needs_triton = pytest.mark.skipif(not triton_additive.HAS_TRITON, reason=MISSING)


def run(*command, **environment):
    """What a Python of its own says, from the folder above the tests."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=HERE.parents[1],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
    return done.stdout


def test_the_path_can_be_imported_without_triton():
    run(
        "-c",
        "import sys; sys.modules['triton'] = None; from attnlib.fused import _triton_additive, _triton_kernels",
    )
    assert "triton" not in run("-c", "import sys, attnlib.fused._triton_additive; print(*sys.modules)").split()


@needs_triton
@pytest.mark.timeout(900)
def test_kernels_are_the_reference_in_the_interpreter():
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-q"]
    said = run("-m", "pytest", *options, str(HERE / "interpreted.py"), TRITON_INTERPRET="1")
    assert " passed" in said
    assert "skipped" not in said


@needs_triton
def test_kernels_compile_for_a_gpu_that_is_not_there(tmp_path):
    """Types, layouts and instructions, which the interpreter does not know."""
    said = run(str(HERE / "compiled.py"), TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0", PYTHONPATH=PYTHONPATH)
    assert said.split() == ["forward", "probabilities", "accumulate"]
