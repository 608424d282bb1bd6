"""The notebook check as on other machines: does every cell run, and do the claims come out as stored?

    python book/_tools/elsewhere.py [--jobs N] [VARIANT ...]

Digits differ between machines, and so do the texts and tables that show them: outputs are not compared here
(nbval-lax), the assertions in the cells are, and each claim's verdict with the answer to each of its conditions. That
outputs are as stored is what the notebook check says, with the pinned environment.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import environment

ROOT = Path(__file__).resolve().parents[2]


def check(variant: str, paths: list[str], jobs: int) -> tuple[bool, float]:
    """Run the notebooks under one variant. Returns whether all went well, and the seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-o", "addopts=-ra", "--nbval-lax", "--nbval-cell-timeout=600"]
    command += ["--timeout=900", "-p", "no:randomly", "-q", *paths]
    command += ["-n", str(jobs), "--dist", "loadfile"] if jobs > 1 else []
    variables = os.environ | {environment.ELSEWHERE: variant}
    done = subprocess.run(command, cwd=ROOT, env=variables, check=False)
    return done.returncode == 0, time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=", ".join(environment.VARIANTS))
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at the same time, if each has one thread")
    parser.add_argument("--notebooks", nargs="*", default=["book"], help="all of the book if not given")
    options = parser.parse_args()
    if unknown := set(options.variants) - set(environment.VARIANTS):
        parser.error(f"VARIANT must be one of {', '.join(environment.VARIANTS)}, got {', '.join(sorted(unknown))}")
    lines = []
    for variant in options.variants or environment.VARIANTS:
        told = " ".join(f"{name}={value}" for name, value in environment.VARIANTS[variant].items())
        print(f"\nelsewhere {variant}: {told}", flush=True)
        threads = int(environment.VARIANTS[variant]["OMP_NUM_THREADS"])
        good, seconds = check(variant, options.notebooks, max(1, options.jobs // threads))
        lines.append(f"{variant:10s} {seconds:6.0f} s  {'as stored' if good else 'FAILED'}")
    print("\nelsewhere: every cell runs, and claims come out as stored\n" + "\n".join(lines))
    return int(any(line.endswith("FAILED") for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
