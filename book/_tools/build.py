"""Build the book, with warnings as errors, and publish it into `_build` only if it built.

    python book/_tools/build.py {html,epub} [--root FOLDER]

The build runs in `_build/staging` and always from scratch: an incremental build would not look again at a page whose
neighbour has lost the label that it points to. A build that fails leaves the last good site as it was. With the site
go the library's wheel and the whole site as one file.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import packing

ROOT = Path(__file__).resolve().parents[2]
BUILDER = {"html": [], "epub": ["--builder", "custom", "--custom-builder", "epub"]}
EPUB = "attention-running.epub"


def run(root: Path, staging: Path, builder: str) -> subprocess.CompletedProcess[str]:
    """Jupyter Book in a process of its own, strict."""
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    command += ["--path-output", str(staging), "--warningiserror", "--nitpick", "--keep-going", *BUILDER[builder]]
    variables = os.environ | {"PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, cwd=root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    done.stdout = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    return done


def publish(made: Path, place: Path) -> None:
    """Put what was made in its place; what stood there goes only after the new one is in."""
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.is_dir():
        place.rename(old)
    try:
        os.replace(made, place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def build(builder: str, root: Path = ROOT) -> int:
    """Build, publish, and say where to look. Returns the exit status."""
    start = time.perf_counter()
    staging = root / "_build" / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    done = run(root, staging, builder)
    made = staging / "_build" / ("html" if builder == "html" else f"epub/{EPUB}")
    place = root / "_build" / ("html" if builder == "html" else EPUB)
    if done.returncode or not made.exists():
        print(done.stdout)
        print("\n".join(line for line in done.stdout.splitlines() if "WARNING:" in line or "ERROR:" in line))
        kept = "the last good one is untouched" if place.exists() else "nothing was published"
        print(f"The book did not build; {kept}.", file=sys.stderr)
        return 1
    if builder == "html" and (root / "attnlib").is_dir():
        packing.add_wheel(made, root)
        packing.add_whole(made)
    publish(made, place)
    shutil.rmtree(staging, ignore_errors=True)
    look = place / "index.html" if builder == "html" else place
    print(f"Built in {time.perf_counter() - start:.0f} s. Open {look}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builder", choices=BUILDER)
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args()
    raise SystemExit(build(options.builder, options.root.resolve()))
