"""Peak memory of one call above what was there before it, each in a process of its own."""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .case import BOTH
from .measure import leaves, runner, way_of
from .suite import cases_of, kernels


def extra(call: Callable[[], Any], device: str) -> float:
    """MiB that a call takes beyond what is there, at its highest."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = call()
        torch.cuda.synchronize()
        del kept
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the highest starts again from what is there
    before = status("VmRSS")
    kept = call()
    del kept
    return (status("VmHWM") - before) / 1024


def status(name: str) -> int:
    """A line of what the system says of this process, in KiB."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def peak(mechanism: str, title: str, done: str, name: str, device: str, *, quick: bool) -> float:
    """MiB of the second call of one way of a case: what libraries take once is not counted."""
    case = next(case for case in cases_of(mechanism, quick=quick, device=device) if case.title == title)
    with torch.set_grad_enabled(done == BOTH):
        way = way_of(case, name)
        call = runner(way.call, leaves(case.inputs(), done), done)
        with way.surroundings():
            call()
            return round(extra(call, device), 2)


def apart(call: Callable[[], float]) -> float | None:
    """What a call gives in a process of its own; None where it dies. This process must not have computed anything."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return float(text) if text else None


def main() -> None:
    asked = json.loads(sys.argv[1])
    device, quick = asked["setting"]["device"], asked["quick"]
    torch.set_num_threads(asked["threads"])
    kernels()
    for row in asked["rows"]:
        print(f"\n{row['title']}: {row['done']}, peak memory", flush=True)
        found = {}
        for name in row["ways"]:
            measure = partial(peak, row["mechanism"], row["title"], row["done"], name, device, quick=quick)
            found[name] = measure() if device == "cuda" else apart(measure)  # a GPU's peak starts again as it is
            print(f"  {name:28s} {found[name] or 0:8.1f} MiB", flush=True)
        row["mib"] = found
    Path(asked["to"]).write_text(json.dumps({"rows": asked["rows"]}), encoding="utf-8")


if __name__ == "__main__":
    main()
