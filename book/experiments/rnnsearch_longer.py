"""Train every arm of the comparison for long: the fixed vector, attention, and attention in two other orders.

    python book/experiments/rnnsearch_longer.py              all that is missing, one after the other, and the results
    python book/experiments/rnnsearch_longer.py --jobs 2     the same, two at a time, a core each
    python book/experiments/rnnsearch_longer.py --gather     results of the runs that are there
    python book/experiments/rnnsearch_longer.py NAME         one of them, such as RNNencdec-25-0

``rnnsearch.py`` chose its setting by trials of RNNsearch alone, and trained RNNencdec for 1,000 steps. Here each of the
two is given the same trials and up to 2,400 steps: once in the common setting, once in the setting that its own trials
chose, and on the shorter verses in the common one. The other orders are trained for 1,000 steps, as RNNsearch was
first. Runs that are stopped go on where they were. What is trained lies in ``runs/rnnsearch_longer``; RNNsearch in the
common setting, for 1,000 and for 2,400 steps, was trained in ``rnnsearch.py``, and is read from there.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from attnlib.recurrent.gated_unit import GatedUnit
from attnlib.recurrent.rnnsearch import Encoded, RNNencdec, RNNsearch, Step, Teacher
from attnlib.training import Record

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book.experiments import rnnsearch
from book.experiments.rnnsearch import LONGER, SEEDS, SETTING, STEPS, TRIAL_STEPS, TRIALS

RUNS = rnnsearch.HERE / "runs" / "rnnsearch_longer"
RESULTS = rnnsearch.HERE / "results" / "rnnsearch_longer"
OF_OTHER_WORDS = "every word known"  # a loss over another vocabulary: not to be chosen by


# --- two other orders -------------------------------------------------------------------------------------------------


class LuongOrder(RNNsearch):
    r"""The decoder's state reads the word before it asks, and never reads a context.

    .. math::
        s_t = \mathrm{unit}(y_{t-1}, s_{t-1}), \quad e_{tj} = v_a^\top \tanh(W_a s_t + U_a h_j), \quad
        p(y_t) \propto \exp\bigl(W_o\, \mathrm{maxout}(U_o s_t + V_o E y_{t-1} + C_o c_t)\bigr)

    The order of Luong et al. 2015 with all else as in RNNsearch: the same encoder, score and deep output.
    """

    def __init__(self, *sizes: int, embedding: int, hidden: int, **widths: Any) -> None:
        super().__init__(*sizes, embedding=embedding, hidden=hidden, **widths)
        self.unit = GatedUnit(embedding, hidden)
        self.reset_parameters()

    def step(self, word: Tensor, state: Tensor, encoded: Encoded) -> Step:
        embedded = self._dropped(self.target_embedding(word))
        after, context, weights, energies = self._after(self.unit.read(embedded), state, encoded)
        logits = self._logits(after[:, : self.start.out_features], embedded, context)
        return Step(after, logits, context, weights, energies)

    def forward(self, source: Tensor, source_mask: Tensor, target_in: Tensor) -> Teacher:
        encoded = self.encode(source, source_mask)
        embedded = self._dropped(self.target_embedding(target_in))
        state, read, n = encoded.state, self.unit.read(embedded), self.start.out_features
        states, contexts, weights = [], [], []
        for t in range(target_in.shape[1]):
            state, context, alpha, _ = self._after(read[:, t], state, encoded)
            states.append(state[:, :n])
            contexts.append(context)
            weights.append(alpha)
        logits = self._logits(torch.stack(states, 1), embedded, torch.stack(contexts, 1))
        return Teacher(logits, torch.stack(weights, 1))

    def _after(self, read: Tensor, state: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The state after the word, and what it finds."""
        after = self.unit(read, state)
        return after, *self._look(after, encoded)


class GroundHogOrder(LuongOrder):
    r"""The state reads the word before and the context that this word was written from, and then asks.

    .. math:: s_t = \mathrm{unit}(y_{t-1}, s_{t-1}, c_{t-1}), \quad c_0 = 0

    and on as in :class:`LuongOrder`: what the authors' program computes (``experiments/nmt/encdec.py``), where the
    paper prints :math:`s_t = \mathrm{unit}(y_{t-1}, s_{t-1}, c_t)` and asks with :math:`s_{t-1}`. In the program the
    first word is predicted from :math:`s_0` as it is; here the mark of beginning is read like a word. What a step hands
    on as its state is :math:`[s_t; c_t]`.
    """

    def __init__(self, *sizes: int, embedding: int, hidden: int, **widths: Any) -> None:
        super().__init__(*sizes, embedding=embedding, hidden=hidden, **widths)
        self.unit = GatedUnit(embedding, hidden, context=2 * hidden)
        self.reset_parameters()

    def encode(self, source: Tensor, source_mask: Tensor) -> Encoded:
        encoded = super().encode(source, source_mask)
        return encoded._replace(state=nn.functional.pad(encoded.state, (0, encoded.annotations.shape[-1])))

    def _after(self, read: Tensor, state: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        n = self.start.out_features
        after = self.unit(read, state[:, :n], self.unit.read_context(state[:, n:]))
        context, weights, energies = self._look(after, encoded)
        return torch.cat([after, context], -1), context, weights, energies


# --- arms -------------------------------------------------------------------------------------------------------------


class Arm(NamedTuple):
    kind: rnnsearch.Kind
    longest: int
    searched: bool = False  # trained in the setting that its own trials chose
    steps: int = LONGER


LONG, SHORT = max(rnnsearch.LONGEST), min(rnnsearch.LONGEST)
ARMS = {
    f"RNNencdec-{LONG}": Arm(RNNencdec, LONG),
    f"RNNencdec-{LONG}-searched": Arm(RNNencdec, LONG, searched=True),
    f"GroundHogOrder-{LONG}": Arm(GroundHogOrder, LONG, steps=STEPS),
    f"LuongOrder-{LONG}": Arm(LuongOrder, LONG, steps=STEPS),
    f"RNNsearch-{LONG}-searched": Arm(RNNsearch, LONG, searched=True),
    f"RNNsearch-{SHORT}": Arm(RNNsearch, SHORT),
    f"RNNencdec-{SHORT}": Arm(RNNencdec, SHORT),
}


def names() -> list[str]:
    return [f"{arm}-{seed}" for arm in ARMS for seed in SEEDS]


def trials_of(kind: rnnsearch.Kind, runs: Path) -> dict[str, dict[str, float]]:
    """Loss on dev verses after the trial's steps, by trial: those of RNNsearch were made by ``rnnsearch.py``.

    Those of RNNencdec are read from their runs, or from the results where the runs are no longer here.
    """
    if kind is RNNsearch:
        found: dict[str, dict[str, float]] = {
            name: _last(told)
            for name, told in json.loads((rnnsearch.RESULTS / "metrics.json").read_text("utf-8"))["trials"].items()
        }
        return found
    if not all((runs / f"trial {name}" / "record.json").exists() for name in TRIALS):
        stored: dict[str, dict[str, float]] = _stored()["trials"][kind.__name__]
        return stored
    return {name: _last(Record.load(runs / f"trial {name}" / "record.json").metrics) for name in TRIALS}


def _stored() -> dict[str, Any]:
    """What was gathered before."""
    found: dict[str, Any] = json.loads((RESULTS / "metrics.json").read_text("utf-8"))
    return found


def _last(told: Any) -> dict[str, float]:
    last: dict[str, float] = told if isinstance(told, dict) else told[-1]
    return last


def chosen(trials: dict[str, dict[str, float]]) -> str:
    """The trial of least loss."""
    return min((name for name in trials if name != OF_OTHER_WORDS), key=lambda name: trials[name]["loss"])


def setting_of(arm: Arm, runs: Path) -> dict[str, Any]:
    return {**SETTING, **TRIALS[chosen(trials_of(arm.kind, runs))]} if arm.searched else SETTING


def run(name: str, runs: Path, steps: int) -> None:
    if name.startswith("trial: "):
        trial = name.removeprefix("trial: ")
        setting, taken = {**SETTING, **TRIALS[trial]}, round(TRIAL_STEPS * steps / LONGER)
        rnnsearch.train(RNNencdec, LONG, 0, setting, runs / f"trial {trial}", taken)
        return
    arm, _, seed = name.rpartition("-")
    if arm not in ARMS or not seed.isdecimal():
        raise SystemExit(f"NAME must be one such as {names()[0]}, got {name}")
    made = ARMS[arm]
    taken = round(made.steps * steps / LONGER)
    rnnsearch.train_and_judge(made.kind, made.longest, int(seed), setting_of(made, runs), runs / name, taken)


# --- results ----------------------------------------------------------------------------------------------------------


def write_results(runs: Path, results: Path) -> None:
    """Gather the runs that are done; an arm counts when all its seeds are, and stays when its runs are gone."""
    done = {
        arm: [f"{arm}-{seed}" for seed in SEEDS]
        for arm in ARMS
        if all((runs / f"{arm}-{seed}" / "test.json").exists() for seed in SEEDS)
    }
    trials = {kind.__name__: trials_of(kind, runs) for kind in (RNNsearch, RNNencdec)}
    known = json.loads((rnnsearch.RESULTS / "metrics.json").read_text("utf-8"))
    before = _stored()["arms"] if (RESULTS / "metrics.json").exists() else {}
    told = {arm: before[arm] for arm in ARMS if arm in before} | {
        arm: [rnnsearch.of_run(Record.load(runs / name / "record.json"), runs / name) for name in found]
        for arm, found in done.items()
    }
    told[f"RNNsearch-{LONG}"] = list(known["longer"].values())
    told[f"RNNsearch-{LONG}, {STEPS} steps"] = [known["runs"][f"RNNsearch-{LONG}-{seed}"] for seed in SEEDS]
    results.mkdir(parents=True, exist_ok=True)
    metrics = {
        **provenance.stamp(Path(__file__)),
        "trained by": known["script"],
        "steps": {arm: made.steps for arm, made in ARMS.items()},
        "trial steps": TRIAL_STEPS,
        "seeds": SEEDS,
        "trials": trials,
        "chosen": {kind: chosen(found) for kind, found in trials.items()},
        "arms": told,
    }
    rnnsearch.write(results / "metrics.json", metrics)
    print(summary(metrics))


def summary(metrics: dict[str, Any]) -> str:
    """Mean and spread over the seeds, for the eye."""
    lines = [f"chosen by the trials: {metrics['chosen']}"]
    for arm, runs in metrics["arms"].items():
        tests = [run["test"]["all"] for run in runs]
        spread = [
            f"{key} {rnnsearch.spread([test[key] for test in tests])}"
            for key in ("loss", "bleu", "chrf", "error")
            if key in tests[0]
        ]
        lines.append(f"{arm}: {', '.join(spread)}; epochs {statistics.mean(run['epochs'] for run in runs):.0f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="one run, or 'trial: ' and the name of one")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--steps", type=int, default=LONGER, help=f"steps of a run (default: {LONGER})")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    parser.add_argument("--gather", action="store_true", help="train nothing")
    options = parser.parse_args()
    if options.name:
        torch.set_num_threads(1)
        run(options.name, options.runs, options.steps)
        return
    if not options.gather:
        each = [sys.executable, __file__, "--runs", str(options.runs), "--steps", str(options.steps)]
        for wanted in ([f"trial: {name}" for name in TRIALS], names()):  # what trials choose is read afterwards
            rnnsearch.start_all([[*each, name] for name in wanted], options.jobs)
    write_results(options.runs, options.results)


if __name__ == "__main__":
    main()
