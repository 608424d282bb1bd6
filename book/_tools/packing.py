"""What a reader can take away from the site: the site itself as one file, and the library as a wheel."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

WHOLE = "attention-running.zip"
PARTS = ("attnlib", "pyproject.toml", "README.md", "LICENSE", "LICENSE-text")
DAY = (2026, 1, 1, 0, 0, 0)  # of each file in it, so that the same site makes the same bytes


def wheel_name() -> str:
    """The file name of the library's wheel."""
    return f"attnlib-{version('attnlib')}-py3-none-any.whl"


def add_wheel(site: Path, root: Path) -> None:
    """Build the library's wheel from a copy of its sources, which stay as they are, into the site.

    Raises:
        RuntimeError: it did not build.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in PARTS:
            copy = shutil.copytree if (root / name).is_dir() else shutil.copy
            copy(root / name, Path(folder, name))
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps"]
        command += ["--no-build-isolation", "--wheel-dir", str(site / "_static"), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (site / "_static" / wheel_name()).exists():
        raise RuntimeError(f"the wheel did not build: {done.stdout}{done.stderr}")


def add_whole(site: Path) -> None:
    """Write the site into one file beside its pages, in a folder of its own name."""
    with zipfile.ZipFile(site / WHOLE, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(path for path in site.rglob("*") if path.is_file() and path.name != WHOLE):
            entry = zipfile.ZipInfo(f"{Path(WHOLE).stem}/{path.relative_to(site).as_posix()}", DAY)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            packed.writestr(entry, path.read_bytes())
