"""``make fuzz``: random cases of ``attend`` and ``local`` against the oracle in :mod:`fuzz_oracle`.

    python tests/fuzz.py --cases 20000 --seed 0      cases 0 ... 19999; a table; exit code 1 on a mismatch
    python tests/fuzz.py --only 1234                 that case alone, with what it consists of

A case is made from its seed alone, by :mod:`fuzz_cases`. It has a score, a distribution, a precision, shapes that
broadcast, tensors laid out in memory in one of four ways, a mask and a bias of any form that broadcasts, and in what
the mask hides NaN, infinities, numbers up to the largest of the precision, or random bits, as uninitialised memory may
hold (real garbage would not come again). Context, weights, energies and gradients are compared, with weights and
without.

Tolerances come with the oracle's numbers: half-precision inputs are exact there, energies are float32, and what is
rounded to half precision is rounded once (with the weights), or a few times more (in the fused kernel). What cannot be
compared is counted:

* lost rows see a vector that is not finite: with a mask they must be NaN, and all other rows and their gradients right.
  Without any mask, bias or causality nothing is promised to the others' gradients, and these are left out.
* burst rows see a finite vector so large that an energy comes near the largest number of the arithmetic, or the context
  near that of its precision. They may be anything, and no gradient arrives there; with a mask the other rows and their
  gradients must be right (with sigmoid and segmentation the rows alone).
* doubtful rows have a sparse support, or a relu, so near its edge that rounding may take either side: values are
  compared, and no gradient arrives there.
"""

import argparse
import collections
import sys
import time

import fuzz_oracle
import torch
from fuzz_cases import HALF, build

import attnlib
from attnlib.softness import local


class Report:
    """What was compared, and what did not fit."""

    def __init__(self):
        self.counts = collections.Counter()
        self.mismatches = []

    def close(self, seed, kind, got, want, off, where=None):
        """Whether ``got`` is ``want`` but for ``off``, NaN for NaN; where it is to be looked at."""
        got = got.detach().double()
        fits = ((got - want).abs() <= off) | (got == want) | (got.isnan() & want.isnan())
        if where is not None:
            fits = fits | ~where
        if bool(fits.all()):
            return
        at = tuple((~fits).nonzero()[0].tolist())
        slack = off[at].item() if isinstance(off, torch.Tensor) else off
        self.wrong(seed, kind, f"at {at}: got {got[at].item():.9g}, want {want[at].item():.9g} within {slack:.2g}")

    def wrong(self, seed, kind, text):
        self.mismatches.append((seed, kind, text))


def check(seed, report, attend=None, local_=local.local):
    """Run the case of one seed."""
    case = build(seed)
    report.counts["cases"] += 1
    report.counts["local" if case.is_local else "attend"] += 1
    task, dtype = case.task, case.dtype
    eps = torch.finfo(dtype).eps
    n_rows, lost = case.bad_pairs.shape[0], case.lost | case.lost_value
    want = fuzz_oracle.expected(task, dtype, lost)
    silent = lost | want.burst | want.doubtful
    report.counts["rows"] += n_rows
    report.counts["lost rows"] += len(lost)
    report.counts["burst rows"] += len(want.burst)
    report.counts["doubtful rows"] += len(want.doubtful)
    report.counts["empty rows"] += int((~task.visible.any(-1)).sum()) if n_rows else 0
    arriving = case.upstream.clone()
    if silent:
        arriving[sorted(silent)] = 0.0
    usable = torch.ones(n_rows, dtype=torch.bool)
    usable[sorted(lost | want.burst)] = False
    rows, columns = want.pairs
    # sigmoid and segmentation divide by the temperature as it is, and what overflows there comes back as 0 * inf
    is_shifted = task.distribution[0] not in ("sigmoid", "segmentation")
    has_gradients = case.has_gradients and (not want.burst or (case.is_masked and is_shifted))
    found = None  # without weights first: where nothing arrives at them, gradients with them should be the same
    for need_weights in (True,) if case.is_local else (False, True):
        mode = "" if need_weights else " without weights"
        try:
            context, weights, energies = case.call(attend or attnlib.attend, local_, need_weights)
        except Exception as error:
            report.wrong(seed, f"crash{mode}", f"{type(error).__name__}: {error}")
            continue
        expected_shape = (*task.batch, task.n_query, case.upstream.shape[-1])
        if tuple(context.shape) != expected_shape or context.dtype != dtype:
            report.wrong(seed, f"shape{mode}", f"context {tuple(context.shape)} {context.dtype}")
            continue
        flat = context.reshape(n_rows, context.shape[-1])
        off = want.context_off + eps * want.context.abs() + torch.finfo(dtype).smallest_normal * eps
        if not need_weights and dtype in HALF:
            off = off + 2 * eps * want.context_bulk
        report.close(seed, f"context{mode}", flat, want.context, off, usable.unsqueeze(-1))
        report.counts["values"] += int(usable.sum()) * flat.shape[-1]
        if case.is_masked and lost and flat.shape[-1]:
            shown = flat.detach().isnan().all(-1)
            for row in lost - want.burst:
                if not shown[row]:
                    report.wrong(seed, f"NaN not shown{mode}", f"row {row} sees a vector that is not finite")
        if need_weights:
            if tuple(weights.shape) != (*task.batch, task.n_query, case.n_columns) or weights.shape != energies.shape:
                report.wrong(seed, "shape", f"weights {tuple(weights.shape)}, energies {tuple(energies.shape)}")
                continue
            _check_weights(seed, report, case, want, weights, energies, usable)
        elif weights is not None or energies is not None:
            report.wrong(seed, "weights", "came though not asked for")
        if not has_gradients or not context.requires_grad:
            continue
        at_weights = case.at_weights if need_weights else None
        outputs, upstream = [context], [arriving.reshape(context.shape)]
        pair_upstream = None
        if at_weights is not None:
            at_weights = at_weights.clone()
            at_weights[~usable] = 0.0
            if silent:
                at_weights[sorted(silent)] = 0.0
            outputs.append(weights)
            upstream.append(at_weights.reshape(weights.shape))
            pair_upstream = at_weights.double()[rows, columns]
        names = list(case.leaves)
        got = torch.autograd.grad(
            outputs, [case.leaves[name] for name in names], upstream, materialize_grads=True, allow_unused=True
        )
        if pair_upstream is not None or found is None:
            found = want.gradients(arriving.double(), pair_upstream, 6 * eps if dtype in HALF else 0.0, silent)
        for name, gradient in zip(names, got, strict=True):
            value, slack = found.get(name, (torch.zeros(gradient.shape, dtype=torch.float64), 0.0))
            precision = torch.finfo(gradient.dtype)
            slack = slack + 2 * precision.eps * value.abs() + 64 * precision.smallest_normal * precision.eps
            within = value.abs() + slack < precision.max / 4
            report.close(seed, f"gradient of {name}{mode}", gradient, value, slack, within)
            report.counts["gradients"] += gradient.numel()


def _check_weights(seed, report, case, want, weights, energies, usable):
    n_rows, dtype = usable.shape[0], case.dtype
    rows, columns = want.pairs
    weights, energies = (part.detach().reshape(n_rows, case.n_columns) for part in (weights, energies))
    full = torch.zeros(n_rows, case.n_columns, dtype=torch.float64)
    hidden = torch.full_like(full, -torch.inf)
    precision = torch.finfo(dtype)
    look = usable.unsqueeze(-1)
    off = full.index_put((rows, columns), want.weights_off + precision.eps * want.weights)
    off = off + precision.smallest_normal * precision.eps * (full.index_put((rows, columns), torch.ones(()).double()))
    report.close(seed, "weights", weights, full.index_put((rows, columns), want.weights), off, look)
    off = full.index_put((rows, columns), want.energies_off)
    report.close(seed, "energies", energies, hidden.index_put((rows, columns), want.energies), off, look)
    report.counts["values"] += 2 * int(usable.sum()) * case.n_columns
    if energies.dtype != (torch.float64 if dtype == torch.float64 else torch.float32) or weights.dtype != dtype:
        report.wrong(seed, "dtype", f"energies {energies.dtype}, weights {weights.dtype}")
    if case.is_masked and case.lost:
        for row in case.lost - want.burst:
            if not bool(weights[row].isnan().all()):
                report.wrong(seed, "NaN not shown", f"weights of row {row}")
        if not case.is_local and not bool(energies[case.bad_pairs].isnan().all()):
            report.wrong(seed, "NaN not shown", "energies")


def run(seeds, attend=None, local_=local.local, stop=None):
    """Check the cases of some seeds; up to a number of mismatches, if one is given."""
    report = Report()
    for seed in seeds:
        check(seed, report, attend, local_)
        if stop is not None and len(report.mismatches) >= stop:
            break
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case")
    parser.add_argument("--only", type=int, help="run the case of this seed alone")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.cases) if options.only is None else [options.only]
    start = time.perf_counter()
    report = run(seeds)
    seconds = time.perf_counter() - start
    if options.only is not None:
        print(build(options.only).what.replace("; ", "\n"))
    for name in ("cases", "attend", "local", "values", "gradients", "rows", "empty rows", "lost rows", "burst rows"):
        print(f"{name:<16}{report.counts[name]:>12,}")
    print(f"{'doubtful rows':<16}{report.counts['doubtful rows']:>12,}")
    kinds = collections.Counter(kind for _, kind, _ in report.mismatches)
    print(f"{'mismatches':<16}{len(report.mismatches):>12,}")
    for kind, count in kinds.most_common():
        print(f"  {kind:<40}{count:>8,}")
    print(f"{'seconds':<16}{seconds:>12.1f}")
    for seed, kind, text in report.mismatches[:200]:
        print(f"--only {seed}: {kind} {text}")
    return bool(report.mismatches)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
