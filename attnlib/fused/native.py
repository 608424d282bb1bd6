"""Kernels in C++, built on demand where there is a compiler, and never needed."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["build_kernels"]

SOURCES = Path(__file__).parent / "csrc"
# What the compiler may use, by what torch found this processor able to do: nothing is tied to one machine but its own.
_ABILITIES = {
    "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mfma"],
    "AVX2": ["-mavx2", "-mfma", "-mf16c"],
}
_loaded: set[str] = set()


def build_kernels(*names: str, verbose: bool = False) -> list[str]:
    """Build and load kernels in C++, so that fast paths use them from here on, in this process.

    They are kept in the folder ``ATTNLIB_KERNELS``, else in ``~/.cache/attnlib/kernels``, and built again when source,
    torch, compiler or kind of processor changes: the first time takes about half a minute a kernel, later ones a
    moment. Without this call, and without a compiler, the paths in plain torch are taken.

    Args:
        names: which; none for all of them.
        verbose: print what the compiler prints.

    Returns:
        The names of what is loaded.

    Raises:
        ValueError: there is no kernel of such a name.
        RuntimeError: there is no compiler, no ``ninja``, or they fail.
    """
    known = sorted(path.stem for path in SOURCES.glob("*.cpp"))
    for name in names:
        if name not in known:
            raise ValueError(f"names must be among {', '.join(known)}, got {name!r}")
    for name in names or known:
        if name not in _loaded:
            _load(name, verbose=verbose)
            _loaded.add(name)
    return sorted(_loaded)


def built(name: str) -> bool:
    """Whether the kernel is loaded."""
    return name in _loaded


def why_not(name: str) -> str | None:
    """Why the kernel cannot be used, in a few words; None if it can."""
    if name in _loaded:
        return None
    known = None if torch.compiler.is_compiling() else missing()
    return known or "the kernel is not built: attnlib.fused.build_kernels() does it"


def by_kernel(name: str, path: Callable[..., Any], *, single: bool = False) -> Callable[..., Any]:
    """A path that takes the kernel by itself where it can, as one that is refused where it cannot.

    Args:
        name: of the kernel.
        path: what takes it, and does without where it is not loaded or does not fit.
        single: the kernel is for single precision, to which half is widened, and the first argument the work asked.
    """

    def asked(*arguments: Any) -> Any:
        reason = why_not(name) or (single and _not_single(arguments[0].query))
        return reason or path(*arguments)

    return asked


def _not_single(vectors: Tensor) -> str | None:
    if vectors.dtype == torch.float64:
        return "the kernel computes in single precision"
    return None if vectors.is_cpu else "the tensors are not on the CPU"


@cache
def missing() -> str | None:
    """What a build would lack on this machine; None if nothing."""
    if sys.platform == "win32":
        return "not written for this system"
    if compiler() is None:
        return "there is no C++ compiler"
    beside = Path(sys.executable).parent / "ninja"
    return None if shutil.which("ninja") or beside.exists() else "there is no ninja"


def compiler() -> str | None:
    """The compiler that torch would take."""
    return shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++") or shutil.which("clang++")


def flags() -> list[str]:
    """What the compiler is told: torch's vector code for what this processor can do."""
    ability = torch.backends.cpu.get_cpu_capability()
    # torch's headers give the declarations of what is included, not of all operators: a third of the time of a build.
    plain = ["-O3", "-std=c++20", "-fno-math-errno", "-fopenmp", "-DAT_PER_OPERATOR_HEADERS"]
    if ability not in _ABILITIES:
        return [*plain, "-DCPU_CAPABILITY=DEFAULT", "-DCPU_CAPABILITY_DEFAULT"]
    return [*plain, f"-DCPU_CAPABILITY={ability}", f"-DCPU_CAPABILITY_{ability}", *_ABILITIES[ability]]


def _load(name: str, *, verbose: bool) -> None:
    reason = missing()
    if reason is not None:
        raise RuntimeError(f"kernels cannot be built: {reason}")
    source = SOURCES / f"{name}.cpp"
    version = subprocess.run([str(compiler()), "--version"], capture_output=True, text=True, check=False).stdout
    text = source.read_text("utf-8")
    shared = [path.read_text("utf-8") for path in sorted(SOURCES.glob("*.h")) if f'"{path.name}"' in text]
    asked = [text, *shared, torch.__version__, sys.version, version, *flags()]
    mark = hashlib.sha256("\n".join(asked).encode()).hexdigest()[:16]
    kept = Path(os.environ.get("ATTNLIB_KERNELS", Path.home() / ".cache" / "attnlib" / "kernels"))
    library = kept / f"{name}-{mark}" / f"attnlib_{name}.so"
    if not library.exists():
        kept.mkdir(parents=True, exist_ok=True)
        with _alone(kept / f"{name}-{mark}.lock"):
            if not library.exists():  # nobody else has built it meanwhile
                _build(name, library, verbose=verbose)
                return
    torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time: of many that start together one builds, and the others wait.

    Where nothing can be locked, each builds for itself.
    """
    import fcntl  # not on every system

    with place.open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed, or its process ends
        yield


def _build(name: str, library: Path, *, verbose: bool) -> None:
    """Compile and load a kernel, in a folder of its own, and move it to its place when done.

    Whoever comes after a build that was cut off finds all of it or nothing.
    """
    from torch.utils import cpp_extension

    path = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"  # where ninja may be
    with tempfile.TemporaryDirectory(dir=library.parents[1]) as place:
        try:
            cpp_extension.load(
                f"attnlib_{name}",
                [str(SOURCES / f"{name}.cpp")],
                extra_cflags=flags(),
                extra_ldflags=["-fopenmp"],
                build_directory=place,
                is_python_module=False,
                verbose=verbose,
            )
        finally:
            os.environ["PATH"] = path
        library.parent.mkdir(exist_ok=True)
        os.replace(Path(place) / library.name, library)
