"""What does attention cost at which length? Softmax, as a matrix of all pairs and by torch's kernel, and linear.

    python book/experiments/lengths.py
    python book/experiments/lengths.py --smoke      to see that it runs; writes no results

One head, one sequence of random vectors, one thread, everything in one process. ``passes``: forwards, and forwards and
backwards, with and without causality. The ways take turns within a repeat, so that what slows the machine down slows
all of them. ``token``: one more token after so many, out of a cache of keys and values that stands there already, or
out of the state; in the library's function, and in its plain operations without the checks. Times are seconds of the
processor that the process had, all repeats; bytes are those of all tensors alive at once beyond queries, keys and
values (``token``: those that are kept), and what a kernel keeps to itself is not seen. A way goes on to twice the
length while that would take neither more memory nor more time than the setting allows, to judge by what it has taken.

Some three minutes of one core, on a machine that does nothing else. Times differ from machine to machine: nothing is
asserted of them. What is done lies in ``runs/lengths``: a script that was killed goes on; who changes a setting empties
that folder first.
"""

import argparse
import functools
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlib.frontiers.linear import LinearState, decode, linear_attention, positive_elu

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.alive import Alive
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "lengths", HERE / "results" / "lengths"
SETTING: dict[str, Any] = {
    "d": 64,
    "lengths": [2**power for power in range(7, 18)],
    "repeats": 7,
    "tokens": 30,
    "bytes": 6 * 2**30,
    "seconds": 4.0,
}
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def matrix(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    """The weights of all pairs, in plain operations."""
    energies = query @ key.mT / query.shape[-1] ** 0.5
    if is_causal:
        energies = energies.masked_fill(torch.ones_like(energies, dtype=torch.bool).triu(1), -torch.inf)
    return energies.softmax(-1) @ value


def linear(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    return linear_attention(query, key, value, is_causal=is_causal).context


def plain_step(query: Tensor, key: Tensor, value: Tensor, state: LinearState) -> tuple[Tensor, LinearState]:
    """One token of linear attention, the equations and nothing else."""
    asked, features = positive_elu(query), positive_elu(key)
    memory, total = state.memory + features.mT @ value, state.total + features.squeeze(-2)
    return asked @ memory / (asked @ total.unsqueeze(-1)), LinearState(memory, total, state.lost)


WAYS: dict[str, Callable[..., Tensor]] = {
    "softmax, matrix": matrix,
    "softmax, kernel": F.scaled_dot_product_attention,
    "linear": linear,
}


def vectors(n: int, seed: int, *, learned: bool = False) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(1, 1, n, SETTING["d"], generator=g) for _ in range(3)]
    return [part.requires_grad_() for part in drawn] if learned else drawn


def once(way: Way, parts: list[Tensor], *, backward: bool) -> float:
    """Seconds of the processor for one run."""
    started = time.process_time()
    if backward:
        torch.autograd.grad(way(*parts).sum(), parts)
    else:
        with torch.no_grad():
            way(*parts)
    return time.process_time() - started


def held(way: Way, parts: list[Tensor], *, backward: bool) -> int:
    """The most bytes alive at once."""
    with Alive(*parts) as alive:
        if backward:
            torch.autograd.grad(way(*parts).sum(), parts)
        else:
            with torch.no_grad():
                way(*parts)
    return alive.most


def passes(setting: dict[str, Any], *, backward: bool, is_causal: bool) -> dict[str, dict[str, Any]]:
    """Of each way and length: bytes, and the seconds of each repeat."""
    ways = {name: functools.partial(way, is_causal=is_causal) for name, way in WAYS.items()}
    found: dict[str, dict[str, Any]] = {name: {} for name in ways}
    for n in setting["lengths"]:
        going = {name: way for name, way in ways.items() if fits(found[name], n, setting)}
        parts = vectors(n, seed=0, learned=backward)
        for name, way in going.items():
            found[name][str(n)] = {"bytes": held(way, parts, backward=backward), "seconds": []}
        for repeat in range(setting["repeats"]):
            for name, way in going.items():
                if repeat < 3 or found[name][str(n)]["seconds"][0] < 1.0:  # three where it takes long
                    found[name][str(n)]["seconds"].append(round(once(way, parts, backward=backward), 6))
        say(f"backward {backward}, causal {is_causal}, {n}: { {name: best(found[name].get(str(n))) for name in ways} }")
    return found


def fits(done: dict[str, Any], n: int, setting: dict[str, Any]) -> bool:
    """Whether a way may go on to this length: four times what half of it has taken is allowed."""
    last = done.get(str(n // 2))
    if last is None:
        return not done
    return 4 * last["bytes"] <= setting["bytes"] and 4 * min(last["seconds"]) <= setting["seconds"]


def token(setting: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One token after so many: the bytes that are kept to read on, and the seconds of each of some tokens."""
    found: dict[str, dict[str, Any]] = {name: {} for name in (*WAYS, "linear, plain")}
    for n in setting["lengths"]:
        (query, key, value), new = vectors(n, seed=0), vectors(1, seed=1)
        _, state = decode(query, key, value)
        steps: dict[str, Callable[[], Any]] = {
            "softmax, matrix": functools.partial(matrix, new[0], key, value, is_causal=False),
            "softmax, kernel": functools.partial(F.scaled_dot_product_attention, new[0], key, value),
            "linear": functools.partial(decode, *new, state),
            "linear, plain": functools.partial(plain_step, *new, state),
        }
        for name in steps:
            parts = state if name.startswith("linear") else (key, value)
            found[name][str(n)] = {"bytes": sum(part.nbytes for part in parts), "seconds": []}
        with torch.no_grad():
            for _ in range(setting["tokens"]):
                for name, step in steps.items():
                    started = time.process_time()
                    step()
                    found[name][str(n)]["seconds"].append(round(time.process_time() - started, 7))
        say(f"token, {n}: { {name: best(found[name][str(n)]) for name in steps} }")
    return found


def best(each: dict[str, Any] | None) -> str:
    return "-" if each is None else f"{min(each['seconds']):.2g} s, {each['bytes'] / 2**20:.3g} MiB"


def say(what: str) -> None:
    print(f"{time.process_time():6.0f} s  {what}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting, folder = SETTING, RUNS
    if options.smoke:
        setting, folder = SETTING | {"lengths": [128, 256], "repeats": 2, "tokens": 3}, Path(tempfile.mkdtemp())
    found = {}
    for is_causal in (True, False):
        for backward in (False, True):
            name = f"{'both' if backward else 'forward'}, {'causal' if is_causal else 'all'}"
            work = functools.partial(passes, setting, backward=backward, is_causal=is_causal)
            found[name] = kept(folder / f"{name}.pt", work)
    decoded = kept(folder / "token.pt", functools.partial(token, setting))
    if options.smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": f"cpu ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()}), one thread",
        "passes": found,
        "token": decoded,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
