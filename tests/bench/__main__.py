"""Measure each mechanism against its peers and its ceiling: forward, both passes, memory, over lengths.

    python -m tests.bench                             about seven minutes on two cores; writes the results of the book
    python -m tests.bench --quick --only additive     to see that it runs; writes nothing, unless --to says where
    python -m tests.bench --device cuda               the same on a GPU

Ratios, not times: the ways under comparison run in turn, round by round, in one process, so that a busy machine slows
all of them alike. Each way is first held against float64, and not timed where it is wrong. On the CPU all is measured
twice: with the allocator as it comes (``default``), which asks the system for fresh pages for every large tensor, and
with one that keeps its pages (``warm``). Memory is the peak of one call in a fresh process. The page on performance is
drawn from what is written; nothing is asserted of a time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from book._tools import provenance

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "book" / "experiments" / "results" / "performance"
SUITE = ("attend", "additive", "distributions", "windows", "hard", "per_feature", "linear", "multihead", "kernels")
# glibc reads these when a process starts. The last gives back each freed page, so that a peak is one.
ALLOCATORS = {
    "default": {},
    "warm": {"MALLOC_MMAP_THRESHOLD_": f"{2**32}", "MALLOC_TRIM_THRESHOLD_": f"{2**34}", "MALLOC_TOP_PAD_": f"{2**26}"},
    "memory": {"MALLOC_MMAP_THRESHOLD_": f"{2**16}"},
}
FULL = {"budget": 0.6, "rounds": 15, "least": 3, "span": 0.02}
QUICK = {"budget": 0.05, "rounds": 3, "least": 3, "span": 0.001}


def stamp() -> dict[str, Any]:
    """The digest of the suite and of what it uses of attnlib, as :func:`provenance.stamp` makes it of one script."""
    found: dict[str, str] = {}
    for path in sorted(HERE.glob("*.py")):
        pieces = provenance.pieces(path.read_text("utf-8"))
        found[f"bench/{path.name}"] = pieces.pop("")
        found |= pieces
    return {"script": provenance.combined(found), "code": found}


def run(module: str, allocator: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own measures under an allocator."""
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "found.json"
        command = [sys.executable, "-m", f"tests.bench.{module}", json.dumps({**asked, "to": str(to)})]
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        subprocess.run(command, check=True, cwd=ROOT, env=surroundings | ALLOCATORS[allocator])
        return dict(json.loads(to.read_text("utf-8")))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, three short rounds")
    parser.add_argument("--only", action="append", choices=SUITE, default=[], help="one mechanism; may be repeated")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of torch, at most two")
    parser.add_argument("--busy", action="store_true", help="count the processor's time on one thread")
    parser.add_argument("--to", type=Path, help="where the results go")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            sys.exit("make bench-gpu needs a GPU that torch can use, and there is none here")
    threads = 1 if given.busy else given.threads
    setting = {**(QUICK if given.quick else FULL), "device": given.device, "busy": given.busy}
    asked = {"setting": setting, "quick": given.quick, "only": given.only, "threads": threads}
    modes = ("default", "warm") if given.device == "cpu" else ("default",)
    found = {}
    for mode in modes:
        found[mode] = run("suite", mode, {**asked, "allocator": mode})
    first = found["default"]
    memory = run("memory", "memory" if given.device == "cpu" else "default", {**asked, "rows": wanted(first["rows"])})
    for name, reason in first["missing"].items():
        print(f"{name} is not here, and was not compared with: {reason}")
    if first["without kernels"]:
        print(f"without kernels in C++: {first['without kernels']}")
    metrics = {
        **stamp(),
        "setting": {**setting, "allocators": ALLOCATORS, "quick": given.quick, "only": given.only},
        **{name: first[name] for name in ("machine", "versions", "missing", "kernels", "without kernels")},
        "ceilings": {mode: each["ceilings"] for mode, each in found.items()},
        "rows": [row for each in found.values() for row in each["rows"]],
        "memory": memory["rows"],
    }
    to = given.to
    if to is None and not (given.quick or given.only):
        to = RESULTS / ("metrics.json" if given.device == "cpu" else "gpu.json")
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(json.dumps(metrics, separators=(",", ":"), ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"written: {to}")
    wrong = [
        f"{row['title']}: {name}" for row in metrics["rows"] for name, way in row["ways"].items() if "wrong" in way
    ]
    if wrong:
        sys.exit("wrong, and not timed: " + "; ".join(sorted(set(wrong))))


def wanted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of which ways the memory is measured: those that were right, of the cases that ask for it."""
    return [
        {
            **{key: row[key] for key in ("mechanism", "case", "size", "title", "done", "goals")},
            "ways": [name for name, way in row["ways"].items() if "seconds" in way and not name.startswith("(")],
        }
        for row in rows
        if row["memory"]
    ]


if __name__ == "__main__":
    main()
