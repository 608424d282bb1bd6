"""The table of contents as a list of pages, in reading order."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def pages(root: Path = ROOT) -> list[Path]:
    """Every page of `_toc.yml`, in reading order, with its suffix."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    found = []
    for stem in [toc["root"], *files(toc, root)]:
        matches = [path for suffix in (".ipynb", ".md") if (path := root / (stem + suffix)).exists()]
        if len(matches) != 1:
            raise FileNotFoundError(f"_toc.yml names {stem}, of which there are {len(matches)} files")
        found.append(matches[0])
    return found


def files(entry: dict[str, Any], root: Path = ROOT) -> list[str]:
    """The pages that the `file` and `glob` keys below one entry name, in order."""
    found = []
    for child in (child for key in ("parts", "chapters", "sections") for child in entry.get(key, [])):
        if "glob" in child:
            matches = (path.relative_to(root).with_suffix("") for path in root.glob(child["glob"]))
            found += sorted(path.as_posix() for path in matches)
        found += ([child["file"]] if "file" in child else []) + files(child, root)
    return found


def notebooks(root: Path = ROOT) -> list[Path]:
    """Every notebook of the book, in reading order."""
    return [path for path in pages(root) if path.suffix == ".ipynb"]


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks that explain something: all but those of the appendix."""
    return [path for path in notebooks(root) if path.parent.name != "appendix"]
