"""What does each way of the book to attend cost? Times, and the constants that counts are to be taken by.

    python book/experiments/costs.py
    python book/experiments/costs.py --smoke        to see that it runs; writes no results

Ways in plain operations, after their pages' equations, and torch's fused softmax; random vectors, float32, one thread,
all in one process. The ways take turns within a repeat. A time is that of the processor. For each way and for forwards
and both passes, the constants of ``attnlib.book.costs`` are those that fit the least times of the sizes in ``fit`` best
(least squares of the relative error, none below zero). The sizes in ``held`` are not fitted: by them the page says how
far count times constant is off. A way leaves out a size that would take too much time or memory.

Some two minutes of one core. Times differ from machine to machine, and their ratios do too; nothing is asserted of
them. What is done lies in ``runs/costs``: a script that was killed goes on; who changes a setting empties that folder.
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

from attnlib.book.costs import BLOCK, MECHANISMS, counted

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book._tools.alive import Alive
from book._tools.kept import kept

HERE = Path(__file__).parent
RUNS, RESULTS = HERE / "runs" / "costs", HERE / "results" / "costs"
STORE = HERE.parents[1] / "attnlib" / "widgets" / "frontiers" / "cost_calculator.json"
SETTING: dict[str, Any] = {  # sizes: length, heads, width of a head, window
    "fit": [
        [256, 1, 32, 64], [256, 4, 64, 64], [256, 1, 128, 128], [1024, 1, 32, 128], [1024, 2, 64, 128],
        [1024, 1, 128, 64], [4096, 1, 64, 256], [4096, 2, 32, 64],
    ],
    "held": [[512, 2, 64, 96], [512, 1, 96, 64], [2048, 1, 64, 128], [2048, 1, 128, 192], [8192, 1, 32, 128],
             [16384, 1, 64, 128]],
    "repeats": 5,
    "bytes": 2**30,
    "multiply_adds": 4e10,
    "steps": 2**12,
}  # fmt: skip
SMOKE = {"fit": [[128, 1, 8, 64], [128, 2, 16, 64], [192, 1, 8, 64]], "held": [[192, 1, 16, 64]], "repeats": 2}
PASSES = ("forward", "both")
Size = tuple[int, int, int, int]


def matrix(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query / query.shape[-1] ** 0.5 @ key.mT).softmax(-1) @ value


def window(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor) -> Tensor:
    """Each query sees itself and those just before it; queries in blocks, whose keys stand together."""
    columns = hidden.shape[-1]
    blocks = query.unflatten(-2, (-1, BLOCK)) / query.shape[-1] ** 0.5
    spare = (0, 0, columns - BLOCK, 0)
    keys, values = (F.pad(part, spare).unfold(-2, columns, BLOCK).contiguous() for part in (key, value))
    return ((blocks @ keys).masked_fill(hidden, -torch.inf).softmax(-1) @ values.mT).flatten(-3, -2)


def band(n: int, width: int) -> Tensor:
    """What the queries of each block do not see."""
    columns = BLOCK + width - 1
    row, column = torch.arange(BLOCK)[:, None], torch.arange(columns)
    behind = row + width - 1 - column
    first = torch.arange(0, n, BLOCK)[:, None, None]
    return (behind < 0) | (behind >= width) | (first + row - behind < 0)


def phi(x: Tensor) -> Tensor:
    return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


def linear(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    asked, features = phi(query), phi(key)
    return asked @ (features.mT @ value) / (asked @ features.sum(-2).unsqueeze(-1))


def chunks(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal: a small matrix in each chunk, and the sums of all chunks before it."""
    asked, features, values = (
        part.unflatten(-2, (-1, BLOCK)) for part in (phi(query), phi(key), F.pad(value, (0, 1), value=1.0))
    )
    written = features.mT @ values
    sums = (asked @ features.mT).tril() @ values + asked @ (written.cumsum(-3) - written)
    return (sums[..., :-1] / sums[..., -1:]).flatten(-3, -2)


def delta(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    memory, contexts = value.new_zeros(*key.shape[:-2], key.shape[-1], value.shape[-1]), []
    for q, k, v in zip(query.split(1, -2), key.split(1, -2), value.split(1, -2), strict=True):
        memory = memory + k.mT @ (v - k @ memory)
        contexts.append(q @ memory)
    return torch.cat(contexts, -2)


def dense(query: Tensor, key: Tensor, value: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return ((query @ first).relu() @ second).softmax(-1) @ value


def random(query: Tensor, key: Tensor, value: Tensor, energies: Tensor) -> Tensor:
    return energies.softmax(-1) @ value


def additive(query: Tensor, key: Tensor, value: Tensor, first: Tensor, second: Tensor, score: Tensor) -> Tensor:
    met = (query @ first).unsqueeze(-2) + (key @ second).unsqueeze(-3)
    return (met.tanh() @ score).squeeze(-1).softmax(-1) @ value


def features(query: Tensor, key: Tensor, value: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """A weight for each feature of each pair."""
    met = (query @ first).unsqueeze(-2) + (key @ second).unsqueeze(-3)
    return (met.tanh().softmax(-2) * value.unsqueeze(-3)).sum(-2)


WAYS: dict[str, Callable[..., Tensor]] = {
    "softmax, matrix": matrix,
    "softmax, fused": F.scaled_dot_product_attention,
    "window": window,
    "linear": linear,
    "linear, chunks": chunks,
    "delta rule": delta,
    "synthesizer, dense": dense,
    "synthesizer, random": random,
    "additive": additive,
    "each feature": features,
}


def parts(name: str, size: Size, *, learned: bool = False) -> list[Tensor]:
    """Query, key and value, of unit length for the delta rule, and what else a way takes."""
    n, heads, d, width = size
    g = torch.Generator().manual_seed(0)
    drawn = [torch.randn(1, heads, n, d, generator=g) for _ in range(3)]
    if name == "delta rule":
        drawn[:2] = [F.normalize(part, dim=-1) for part in drawn[:2]]
    shapes: dict[str, list[tuple[int, ...]]] = {
        "synthesizer, dense": [(heads, d, d), (heads, d, n)],
        "synthesizer, random": [(1, heads, n, n)],
        "additive": [(heads, d, d), (heads, d, d), (heads, 1, d, 1)],
        "each feature": [(heads, d, d), (heads, d, d)],
    }
    drawn += [torch.randn(shape, generator=g) / d**0.5 for shape in shapes.get(name, [])]
    if learned:
        drawn = [part.requires_grad_() for part in drawn]
    return [*drawn, band(n, width)] if name == "window" else drawn


def run(name: str, given: list[Tensor], *, both: bool) -> None:
    if both:
        learned = [part for part in given if part.requires_grad]
        torch.autograd.grad(WAYS[name](*given).sum(), learned, allow_unused=True)
    else:
        with torch.no_grad():
            WAYS[name](*given)


def held(name: str, size: Size, *, both: bool) -> int:
    """The most bytes alive at once beyond what is given."""
    given = parts(name, size, learned=both)
    with Alive(*given) as alive:
        run(name, given, both=both)
    return alive.most


def fits(name: str, size: Size, *, both: bool, setting: dict[str, Any]) -> bool:
    found = counted(name, length=size[0], heads=size[1], width=size[2], window=size[3], both=both)
    return bool(
        found.held <= setting["bytes"]
        and found.multiply_adds <= setting["multiply_adds"]
        and found.steps <= setting["steps"]
        and (name != "window" or size[0] >= BLOCK + size[3])
    )


def timed(size: Size, setting: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Seconds of the processor of each way, pass and repeat."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in WAYS}
    for done in PASSES:
        both = done == "both"
        ways = {n: parts(n, size, learned=both) for n in WAYS if fits(n, size, both=both, setting=setting)}
        for repeat in range(setting["repeats"] + 1):  # the first warms up
            for name, given in ways.items():
                each = found[name].setdefault(done, [])
                if len(each) >= 3 and min(each) > 0.3:  # three where it takes long
                    continue
                started = time.process_time()
                run(name, given, both=both)
                if repeat:
                    each.append(round(time.process_time() - started, 7))
    say(f"{size}: " + ", ".join(f"{name} {min(each['forward']):.2g}" for name, each in found.items() if each))
    return found


def constants(name: str, done: str, found: dict[str, Any], setting: dict[str, Any]) -> list[float]:
    """Picoseconds of a multiply-add, a number that is made, and a step."""
    rows, times = [], []
    for size in setting["fit"]:
        if seconds := found[str(size)][name].get(done):
            n, heads, d, width = size
            count = counted(name, length=n, heads=heads, width=d, window=width, both=done == "both")
            rows.append([count.multiply_adds, count.numbers, count.steps])
            times.append(1e12 * min(seconds))
    wanted = torch.tensor(times).double()
    return [float(f"{x:.4g}") for x in not_negative(torch.tensor(rows).double() / wanted[:, None])]


def not_negative(matrix: Tensor) -> list[float]:
    """The numbers, none below zero, whose sums by the rows are nearest to one: the best of all supports."""
    best, least = [0.0] * matrix.shape[1], float(len(matrix)) + 1
    for mask in range(1, 2 ** matrix.shape[1]):
        chosen = [i for i in range(matrix.shape[1]) if mask >> i & 1]
        scale = matrix[:, chosen].amax(0)
        some = torch.linalg.lstsq(matrix[:, chosen] / scale, torch.ones(len(matrix), 1).double(), driver="gelsd")
        solution = some.solution[:, 0] / scale
        error = float((matrix[:, chosen] @ solution - 1).square().sum())
        if bool((solution >= 0).all()) and error < least - 1e-12:
            least, best = error, [0.0] * matrix.shape[1]
            for i, x in zip(chosen, solution.tolist(), strict=True):
                best[i] = x
    return best


def say(what: str) -> None:
    print(f"{time.process_time():6.0f} s  {what}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting, folder = SETTING, RUNS
    if options.smoke:
        setting, folder = SETTING | SMOKE, Path(tempfile.mkdtemp())
    found = {}
    for size in [*setting["fit"], *setting["held"]]:
        found[str(size)] = kept(
            folder / f"{'-'.join(map(str, size))}.pt", functools.partial(timed, tuple(size), setting)
        )
    made = {name: {done: constants(name, done, found, setting) for done in PASSES} for name in MECHANISMS}
    if options.smoke:
        return
    metrics = {
        **provenance.stamp(Path(__file__)),
        "setting": SETTING,
        "versions": {"torch": torch.__version__},
        "device": f"cpu ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()}), one thread",
        "seconds": found,
        "constants": made,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")
    sizes = list(zip(*setting["fit"], *setting["held"], strict=True))
    stored = {"device": metrics["device"], "measured": [[min(each), max(each)] for each in sizes], "constants": made}
    STORE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
