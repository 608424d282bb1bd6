"""All cases by mechanism, and what one process measures of them: ``python -m tests.bench.suite SETTING``."""

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from attnlib.fused import build_kernels

from . import peers
from .case import Case
from .measure import Setting, ceilings, measured, ratio

MECHANISMS = (
    "attend", "additive", "distributions", "windows", "hard", "per_feature", "linear", "multihead", "kernels",
)  # fmt: skip
PACKAGES = ("torch", "entmax", "local-attention", "x-transformers")


def cases_of(mechanism: str, *, quick: bool, device: str) -> Iterator[Case]:
    """The cases of a mechanism's module."""
    find: Callable[..., Iterator[Case]] = import_module(f".{mechanism}", __package__).cases
    return find(quick=quick, device=device)


def machine(setting: Setting) -> dict[str, Any]:
    """What the times hold for."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found = {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}".strip(),
        "python": platform.python_version(),
        "clock": "processor" if setting.busy else "CUDA events" if setting.device == "cuda" else "wall",
    }
    return found | ({"device": torch.cuda.get_device_name()} if setting.device == "cuda" else {})


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def kernels() -> tuple[list[str], str]:
    """The kernels that are there, and why not, where there is none."""
    try:
        found = build_kernels()
    except RuntimeError as raised:
        return [], str(raised).splitlines()[0]
    return found, "" if found else "there are none to build"


def row(mechanism: str, case: Case, done: str, allocator: str, setting: Setting) -> dict[str, Any]:
    """A case, measured: what it is, what it must do, and each of its ways."""
    ways = measured(case, done, setting)
    first = next((way["seconds"] for way in ways.values() if "seconds" in way), None)
    for way in ways.values():
        if "seconds" in way and first is not None:
            way["ratio"] = [float(f"{x:.4g}") for x in ratio(way["seconds"], first)]
    goals = [dataclasses.asdict(goal) for goal in case.goals if goal.done == done]
    return {
        "mechanism": mechanism,
        "case": case.name,
        "size": dict(case.size),
        "title": case.title,
        "done": done,
        "allocator": allocator,
        "work": dataclasses.asdict(case.work),
        "goals": goals,
        "memory": done in case.memory,
        "ways": ways,
    }


def show(found: dict[str, Any]) -> None:
    """A row as lines to read."""
    print(f"\n{found['title']}: {found['done']}, {found['allocator']} allocator")
    for name, way in found["ways"].items():
        if "seconds" not in way:
            said = "WRONG, not timed" if way.get("wrong") else way["failed"]
            print(f"  {name:28s} {said}  {way.get('error', '')}")
            continue
        middle, least, most = way["ratio"]
        least_time = 1000 * min(way["seconds"])
        path = "; ".join(way.get("paths", []))
        error = f"{way['error']:.0e}" if "error" in way else "     "
        print(f"  {name:28s} {middle:8.3f} [{least:.3f} to {most:.3f}] {least_time:10.3f} ms  {error}  {path}")
    sys.stdout.flush()


def main() -> None:
    asked = json.loads(sys.argv[1])
    setting, allocator, quick = Setting(**asked["setting"]), asked["allocator"], asked["quick"]
    torch.set_num_threads(asked["threads"])
    built, reason = kernels()
    found: dict[str, Any] = {"ceilings": ceilings(setting, quick=quick), "rows": []}
    for mechanism in asked["only"] or MECHANISMS:
        for case in cases_of(mechanism, quick=quick, device=setting.device):
            for done in case.passes:
                found["rows"].append(row(mechanism, case, done, allocator, setting))
                show(found["rows"][-1])
    found |= {"machine": machine(setting), "versions": versions(), "missing": peers.missing}
    found |= {"kernels": built, "without kernels": reason}
    Path(asked["to"]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
