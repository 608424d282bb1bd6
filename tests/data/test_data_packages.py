"""Fetching: offline, from a folder of tiny wheels; and every way in which it can fail."""

import ast
import errno
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from data_samples import messages, scripture, wheel

from attnlib.data import (
    DataError,
    cache,
    catalogues,
    easy_vqa,
    fetch,
    gaze,
    new_testament,
    packages,
    photographs,
    pronunciations,
    reviews,
    wordnet,
)
from attnlib.pretrained import letters_to_sounds, minilm, smollm

ROOT = Path(__file__).parents[2]
DATA = ROOT / "attnlib/data"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache, and pip told to look into a folder beside it and nowhere else."""
    monkeypatch.setenv("ATTNLIB_DATA", str(tmp_path / "a cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shop"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if sys.platform != "win32" else "nul")
    (tmp_path / "shop").mkdir()
    return tmp_path / "a cache"


@pytest.fixture
def shop(tmp_path, place):
    return tmp_path / "shop"


@pytest.fixture
def offline(monkeypatch):
    """A pip that must not be called."""

    def refuse(*args, **options):
        raise AssertionError("pip was called")

    monkeypatch.setattr(packages.subprocess, "run", refuse)


def stub(monkeypatch, act):
    """A pip that does something else to the folder it is given, and says it went well."""

    def run(command, **options):
        act(Path(command[command.index("--dest") + 1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)


def left(place):
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def test_a_package_is_fetched_once_by_the_real_pip_and_kept(place, shop, monkeypatch):
    package = wheel(shop, "tiny-words", "1.0", {"words.txt": "one two"})
    path = fetch(package)
    assert path == place / "tiny_words-1.0-py3-none-any.whl"
    assert path.read_bytes() == (shop / package.file).read_bytes()
    assert left(place) == [package.file]
    shutil.rmtree(shop)
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert fetch(package) == path


def test_pip_refuses_a_wrong_file_and_nothing_is_kept(place, shop):
    package = wheel(shop, "tiny-words", "1.0", {"words.txt": "one two"})
    with pytest.raises(DataError) as caught:
        fetch(package._replace(sha256="0" * 64))
    message = str(caught.value)
    assert "tiny-words 1.0: expected pip to fetch tiny_words-1.0-py3-none-any.whl with SHA-256 000" in message
    assert package.sha256 in message
    assert left(place) == []


def test_a_package_that_cannot_be_had_is_named_with_what_pip_said(place, shop):
    package = wheel(shop, "tiny-words", "1.0", {})._replace(version="2.0")
    with pytest.raises(DataError, match=r"(?s)tiny-words 2\.0: expected pip to fetch .*got exit code 1.*No matching"):
        fetch(package)
    assert left(place) == []


def test_a_source_archive_is_asked_for_as_one(place, shop, monkeypatch):
    package = packages.Package("tiny", "1.0", "tiny-1.0.tar.gz", hashlib.sha256(b"x").hexdigest(), source=True)
    asked = []

    def run(command, **options):
        asked.append(command)
        (Path(command[command.index("--dest") + 1]) / package.file).write_bytes(b"x")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    assert fetch(package).read_bytes() == b"x"
    assert asked[0][asked[0].index("--no-binary") + 1] == ":all:"
    assert "--only-binary" not in asked[0]
    assert "--require-hashes" in asked[0]


def test_a_wheel_with_compiled_code_is_asked_for_by_its_platform(place, monkeypatch):
    digest = hashlib.sha256(b"x").hexdigest()
    asked = []

    def run(command, **options):
        asked.append(command)
        (Path(command[command.index("--dest") + 1]) / "tiny.whl").write_bytes(b"x")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", run)
    fetch(packages.Package("tiny", "1.0", "tiny.whl", digest, platform="manylinux_2_28_x86_64"))
    assert asked[0][asked[0].index("--platform") + 1] == "manylinux_2_28_x86_64"
    assert asked[0][asked[0].index("--abi") + 1] == "cp311"
    (place / "tiny.whl").unlink()
    fetch(packages.Package("tiny", "1.0", "tiny.whl", digest))
    assert "--platform" not in asked[1]


def test_half_a_file_is_not_kept(place, shop, monkeypatch):
    package = wheel(shop, "tiny-words", "1.0", {"words.txt": "one two"})
    half = (shop / package.file).read_bytes()[:99]
    stub(monkeypatch, lambda folder: (folder / package.file).write_bytes(half))
    with pytest.raises(DataError, match=rf"expected .* {package.sha256}, got [0-9a-f]{{64}} \(99 bytes\)\. Nothing"):
        fetch(package)
    assert left(place) == []


def test_another_file_than_the_one_expected_is_named(place, shop, monkeypatch):
    package = wheel(shop, "tiny-words", "1.0", {})
    stub(monkeypatch, lambda folder: (folder / "other.whl").write_bytes(b""))
    with pytest.raises(DataError, match=r"tiny-words 1\.0: expected the file tiny_words.*whl, got other\.whl$"):
        fetch(package)
    assert left(place) == []


@pytest.mark.usefixtures("offline")
def test_a_damaged_file_in_the_cache_is_named_and_left_to_the_reader(place, shop):
    package = wheel(shop, "tiny-words", "1.0", {})
    place.mkdir()
    (place / package.file).write_bytes(b"rotten")
    found = hashlib.sha256(b"rotten").hexdigest()
    with pytest.raises(DataError, match=rf"{package.sha256}, got {found} \(6 bytes\)\. Delete .*{package.file} to"):
        fetch(package)
    assert left(place) == [package.file]


@pytest.mark.parametrize("where", ["mkdtemp", "replace"])
def test_a_full_disk_is_named_and_leaves_nothing(place, shop, monkeypatch, where):
    package = wheel(shop, "tiny-words", "1.0", {"words.txt": "one two"})

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "mkdtemp":
        monkeypatch.setattr(packages.tempfile, "mkdtemp", full)
    else:
        stub(monkeypatch, lambda folder: shutil.copy(shop / package.file, folder))
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match=r"tiny-words 1\.0: expected to keep .* in .*a cache, got: .*No space left"):
        fetch(package)
    assert left(place) == []


def test_a_disk_that_fills_while_pip_writes_is_named(place, shop, monkeypatch):
    package = wheel(shop, "tiny-words", "1.0", {})

    def run(command, **options):
        (Path(command[command.index("--dest") + 1]) / package.file).write_bytes(b"half")
        return subprocess.CompletedProcess(command, 1, "", "ERROR: [Errno 28] No space left on device\n")

    monkeypatch.setattr(packages.subprocess, "run", run)
    with pytest.raises(DataError, match=r"(?s)tiny-words 1\.0: .*exit code 1 and\nERROR: \[Errno 28\] No space left"):
        fetch(package)
    assert left(place) == []


def test_a_cache_that_cannot_be_a_folder_is_named(tmp_path, place, shop, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATTNLIB_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"tiny-words 1\.0: expected to keep"):
        fetch(wheel(shop, "tiny-words", "1.0", {}))


def test_without_pip_the_reader_is_told_what_to_put_where(place, shop, tmp_path, monkeypatch):
    package = wheel(shop, "tiny-words", "1.0", {})
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')  # without site-packages
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(DataError, match=rf"tiny-words 1\.0: expected pip, .* that file into {re.escape(str(place))}"):
        fetch(package)
    place.mkdir(exist_ok=True)
    shutil.copy(shop / package.file, place)
    assert fetch(package) == place / package.file


def test_fetching_leaves_distutils_to_setuptools(shop, place):
    """Whoever looks for pip in a process makes setuptools warn when it is imported there later, as compilers do."""
    package = wheel(shop, "tiny-words", "1.0", {"words.txt": "one"})
    code = (
        f"import packages; packages.fetch(packages.Package(*{tuple(package)!r})); import importlib.util; "
        "importlib.util.find_spec('distutils') and __import__('distutils'); import setuptools"
    )
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=True, cwd=DATA)


def test_processes_that_fetch_at_once_all_find_it(place, shop):
    package = wheel(shop, "tiny-words", "1.0", {"words.txt": "one two"})
    # the module alone, without the package around it, which takes seconds to import
    code = f"import packages; print(packages.fetch(packages.Package(*{tuple(package)!r})))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=DATA) for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in started] == [str(place / package.file)] * 2
    assert left(place) == [package.file]


def test_a_file_that_another_process_holds_open_is_taken_as_it_is(place, shop, monkeypatch):
    package = wheel(shop, "tiny-words", "1.0", {})

    def held(source, target):
        shutil.copy(source, target)
        raise PermissionError("in use")

    stub(monkeypatch, lambda folder: shutil.copy(shop / package.file, folder))
    monkeypatch.setattr(Path, "replace", held)
    assert fetch(package) == place / package.file


@pytest.mark.parametrize("module", [new_testament, catalogues])
def test_a_loader_reads_what_fetch_gives(place, shop, monkeypatch, module):
    files = scripture() if module is new_testament else messages()
    monkeypatch.setattr(module, "PACKAGE", wheel(shop, "tiny-words", "1.0", files))
    assert module.load() == module.load(shop / module.PACKAGE.file)
    assert len(module.load()) >= 3


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "home/.cache/attnlib"),
        ("linux", {"XDG_CACHE_HOME": "{tmp}/xdg"}, "xdg/attnlib"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/attnlib"),
        ("darwin", {}, "home/Library/Caches/attnlib"),
        ("win32", {"LOCALAPPDATA": "{tmp}/local"}, "local/attnlib/Cache"),
        ("win32", {}, "home/AppData/Local/attnlib/Cache"),
        ("linux", {"ATTNLIB_DATA": "{tmp}/mine"}, "mine"),
    ],
)
def test_the_cache_stands_where_the_platform_keeps_caches(tmp_path, monkeypatch, platform, variables, folder):
    for name in ("ATTNLIB_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    monkeypatch.setattr(packages.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert cache() == tmp_path / folder


def test_only_the_standard_library_and_torch_are_imported():
    for path in DATA.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                allowed = {"torch", "jaxtyping", *sys.stdlib_module_names} - {"ensurepip"}
                if path.name == "_pictures.py" and node.col_offset:  # where it is needed, and not before
                    allowed.add("PIL")
                assert top in allowed, f"{path.name}: {name}"


def test_the_appendix_says_what_the_code_fetches():
    page = (ROOT / "book/appendix/data.md").read_text("utf-8")
    loaders = (new_testament, catalogues, photographs, easy_vqa, pronunciations, reviews, gaze)
    for package in (loader.PACKAGE for loader in loaders):
        column = (
            next(line for line in page.splitlines() if line.startswith("| package |"))
            .split("|")
            .index(f" `{package.name}` ")
        )
        row = "\n".join(line.split("|")[column] for line in page.splitlines()[:20] if line.startswith("| "))
        for part in (package.version, package.file, package.sha256):
            assert f"`{part}`" in row
    for number in ("115,008", "7,936", "189,927", "454", "3,708", "10,605"):
        assert number in page
    for part in (
        part for model in (minilm, smollm, letters_to_sounds) for part in (model.PACKAGE.file, model.PACKAGE.sha256)
    ):
        assert f"`{part}`" in page
    assert f"`{wordnet.SHA256}`" in page
    assert f"`{wordnet.FILE.split('_')[0]}`" in page
    assert f"`{wordnet.FILE.split('_')[1]}`" in page
    assert (
        len(re.findall(r"`[0-9a-f]{64}`", page)) == len(loaders) + 4
    )  # WordNet's, which is not fetched; and three models'
    for name, photograph in photographs.PHOTOGRAPHS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        for part in (photograph.shows, photograph.credit, photograph.licence):
            assert part in row
