"""Train RNNsearch and RNNencdec on the Greek New Testament, and hold their alignments to people's.

    python book/experiments/rnnsearch.py                 all that is missing, one after the other, and the results
    python book/experiments/rnnsearch.py --jobs 2        the same, two at a time
    python book/experiments/rnnsearch.py NAME            one of them, such as RNNsearch-25-0 (model, longest, seed)
    python book/experiments/rnnsearch.py --trials        what the setting was chosen by, too

A run that was killed goes on where it was. What is trained lies in ``runs/rnnsearch``, what the book reads is written
to ``results/rnnsearch``: the metrics, one small model, and some held-out verses with everybody's alignments.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sacrebleu
import torch
from torch.nn import functional as F

from attnlib.alignment import AlignmentError, IBMModel1, alignment_error_rate, diagonal, links_of, pooled, uniform
from attnlib.data import BOS, EOS, PAD, UNK, Pair, Vocabulary, collate, new_testament, split
from attnlib.recurrent.decoding import beam
from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch
from attnlib.training import Batched, Record, best_device, fit, seed_everything

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

HERE = Path(__file__).parent
RUNS = HERE / "runs" / "rnnsearch"
RESULTS = HERE / "results" / "rnnsearch"

Kind = type[RNNsearch] | type[RNNencdec]
MODELS: dict[str, Kind] = {"RNNsearch": RNNsearch, "RNNencdec": RNNencdec}
LONGEST = (18, 25)  # Greek words; the paper has 30 and 50
SEEDS = (0, 1, 2)
STEPS = 1000  # of either length: the shorter verses are seen more often
LONGER = 2400  # RNNsearch on the longer verses once more: is it the time of training that holds it back?
PATIENCE = 4  # epochs without a smaller loss on dev verses of at most the length in training
TRIAL_STEPS = 400
BINS = ((1, 12), (13, 18), (19, 25), (26, 99))  # Greek words of a test verse; the last is longer than any in training
SETTING: dict[str, Any] = {
    "source": "lemmas",
    "embedding": 96,
    "hidden": 128,
    "maxout": 96,
    "dropout": 0.3,
    "forget": 0.4,
    "start": "xavier",
    "rate": 0.006,
    "batch": 64,
    "least": 3,
}
# One thing changed at a time, RNNsearch on the longer verses, seed 0, fewer steps: what each choice above is worth.
TRIALS: dict[str, dict[str, Any]] = {
    "as above": {},
    "start as in the paper": {"start": "paper"},
    "forms for lemmas": {"source": "forms"},
    "no word of the target forgotten": {"forget": 0.0},
    "no dropout": {"dropout": 0.0},
    "every word known": {"least": 1},
    "a third of the rate": {"rate": 0.002},
    "states twice as wide": {"hidden": 256},
}
BEAM = 5
SHOWN = 16  # verses for the reader to look at


# --- data -------------------------------------------------------------------------------------------------------------


@functools.cache
def corpus(source: str) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Verses to train with, to choose by (half of dev: it is read after each epoch) and to test with.

    Those that nobody linked are not tested with.
    """
    parts = split(new_testament.pairs(new_testament.load(), source=source))  # type: ignore[arg-type]
    return parts.train, [pair for pair in parts.dev[::2] if pair.links], [pair for pair in parts.test if pair.links]


def short_enough(pairs: Iterable[Pair], longest: int) -> list[Pair]:
    return [pair for pair in pairs if len(pair.source) <= longest]


def vocabularies(setting: dict[str, Any]) -> tuple[Vocabulary, Vocabulary]:
    """Those of the longer training verses, for all models alike."""
    pairs = short_enough(corpus(setting["source"])[0], max(LONGEST))
    return (
        Vocabulary.build((pair.source for pair in pairs), least=setting["least"]),
        Vocabulary.build((pair.target for pair in pairs), least=setting["least"]),
    )


# --- training ---------------------------------------------------------------------------------------------------------


def declining(taken: int, *, rate: float, steps: int) -> float:
    """The rate after so many steps: it rises for 50 and then falls in a straight line to 0."""
    return rate * min(1.0, (taken + 1) / 50) * max(0.0, 1 - (taken + 1) / (steps + 1))


def build(kind: Kind, setting: dict[str, Any], sizes: tuple[int, int]) -> RNNsearch | RNNencdec:
    widths = {name: setting[name] for name in ("embedding", "hidden", "maxout", "dropout")}
    if issubclass(kind, RNNsearch):
        widths["alignment"] = setting["hidden"]
    model = kind(*sizes, **widths)
    if setting["start"] == "xavier":  # the paper's start is made for a thousand units and Adadelta
        for name, parameter in model.named_parameters():
            if "embedding" in name:
                torch.nn.init.normal_(parameter, std=0.1)
            elif name == "align_vector":
                torch.nn.init.normal_(parameter, std=len(parameter) ** -0.5)
            elif parameter.ndim == 2 and not name.endswith("recurrent"):
                torch.nn.init.xavier_uniform_(parameter)
    return model


def loss(model: Any, batch: Any, *, forget: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed cross-entropy and the number of words; in training a share of the words before is made unknown."""
    words = batch.target_in
    if model.training and forget:
        words = words.masked_fill((torch.rand(words.shape, device=words.device) < forget) & (words != BOS), UNK)
    logits = model(batch.source, batch.source_mask, words).logits
    return F.cross_entropy(logits.flatten(0, 1), batch.target_out.flatten(), ignore_index=PAD, reduction="sum"), (
        batch.target_mask.sum()
    )


def train(kind: Kind, longest: int, seed: int, setting: dict[str, Any], folder: Path, steps: int) -> None:
    """Train one model, or go on with it."""
    training, dev, _ = corpus(setting["source"])
    pairs = short_enough(training, longest)
    words = vocabularies(setting)
    seed_everything(seed)
    model = build(kind, setting, (len(words[0]), len(words[1]))).to(best_device())
    epochs = max(1, round(steps * setting["batch"] / len(pairs)))
    data = Batched(
        pairs,
        setting["batch"],
        functools.partial(_collate, words=words),
        lambda pair: (len(pair.target), len(pair.source)),
    )
    rate_of = functools.partial(declining, rate=setting["rate"], steps=epochs * -(-len(pairs) // setting["batch"]))
    fit(
        model,
        functools.partial(loss, forget=setting["forget"]),
        data,
        epochs=epochs,
        seed=seed,
        optimizer=functools.partial(torch.optim.Adam, lr=1.0),  # times what the schedule says
        schedule=functools.partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=rate_of),
        evaluate=lambda model: judge(model, short_enough(dev, longest), words),
        patience=PATIENCE,
        folder=folder,
        configuration={"model": kind.__name__, "longest": longest, "steps": steps, **setting},
    )


def _collate(pairs: list[Pair], *, words: tuple[Vocabulary, Vocabulary]) -> Any:
    return collate(pairs, *words)


# --- judging ----------------------------------------------------------------------------------------------------------


def groups(pairs: Sequence[Pair], size: int = 64) -> Iterable[list[Pair]]:
    """The pairs by length, some at a time."""
    ordered = sorted(pairs, key=lambda pair: (len(pair.source), len(pair.target), pair.key))
    return (ordered[start : start + size] for start in range(0, len(ordered), size))


@torch.no_grad()
def alignments(
    model: Any, pairs: Sequence[Pair], words: tuple[Vocabulary, Vocabulary]
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Of each pair, its weights with the reference as input (end marks included) and its loss a word."""
    weights, losses = {}, {}
    for group in groups(pairs):
        batch = collate(group, *words).to(next(model.parameters()).device)
        given = model(batch.source, batch.source_mask, batch.target_in)
        each = F.cross_entropy(given.logits.mT, batch.target_out, ignore_index=PAD, reduction="none")
        for pair, row, alpha in zip(group, each.tolist(), given.weights.cpu(), strict=True):
            weights[pair.key] = alpha[: len(pair.target) + 1, : len(pair.source) + 1]
            losses[pair.key] = sum(row[: len(pair.target) + 1]) / (len(pair.target) + 1)
    return weights, losses


def links(weights: torch.Tensor, later: int = 0) -> frozenset[tuple[int, int]]:
    """The largest weight of each target word on a source word, read off this step's row or a later one's."""
    return links_of(weights[later : len(weights) - 1 + later, :-1])


def judge(model: Any, pairs: Sequence[Pair], words: tuple[Vocabulary, Vocabulary]) -> dict[str, float]:
    """Loss a word, and the alignment error of a model that aligns."""
    weights, losses = alignments(model, pairs, words)
    count = sum(len(pair.target) + 1 for pair in pairs)
    found = {"loss": sum(losses[pair.key] * (len(pair.target) + 1) for pair in pairs) / count}
    if isinstance(model, RNNsearch):
        found["error"] = pooled(alignment_error_rate(links(weights[pair.key]), pair.links) for pair in pairs).error
    return found


@torch.no_grad()
def translations(
    model: Any, pairs: Sequence[Pair], words: tuple[Vocabulary, Vocabulary], *, width: int = BEAM
) -> dict[str, list[str]]:
    """What beam search makes of each source, by key."""
    found = {}
    for group in groups(pairs):
        batch = collate(group, *words).to(next(model.parameters()).device)
        best = beam(
            model,
            batch.source,
            batch.source_mask,
            begin=BOS,
            end=EOS,
            width=width,
            longest=2 * batch.source.shape[1] + 10,
        )
        for pair, row in zip(group, best.words.tolist(), strict=True):
            found[pair.key] = words[1].decode(row)
    return found


def quality(pairs: Sequence[Pair], found: dict[str, list[str]]) -> dict[str, float]:
    """BLEU and chrF of lower-case words without punctuation, and how long translations are against the references."""
    said = [" ".join(found[pair.key]) for pair in pairs]
    wanted = [" ".join(pair.target) for pair in pairs]
    return {
        "bleu": sacrebleu.corpus_bleu(said, [wanted], tokenize="none", force=True).score,
        "chrf": sacrebleu.corpus_chrf(said, [wanted]).score,
        "length": sum(len(found[pair.key]) for pair in pairs) / sum(len(pair.target) for pair in pairs),
    }


def of_errors(errors: Iterable[AlignmentError]) -> dict[str, float]:
    whole = pooled(errors)
    return {"error": whole.error, "precision": whole.precision, "recall": whole.recall}


def by_length(pairs: Sequence[Pair]) -> list[list[Pair]]:
    return [[pair for pair in pairs if low <= len(pair.source) <= high] for low, high in BINS]


def evaluate(model: Any, pairs: Sequence[Pair], words: tuple[Vocabulary, Vocabulary]) -> dict[str, Any]:
    """All that is told of a model: of all pairs, and by length."""
    weights, losses = alignments(model, pairs, words)
    found = translations(model, pairs, words)

    def told(some: Sequence[Pair]) -> dict[str, Any]:
        count = sum(len(pair.target) + 1 for pair in some)
        row: dict[str, Any] = {
            "verses": len(some),
            "loss": sum(losses[pair.key] * (len(pair.target) + 1) for pair in some) / count,
            **quality(some, found),
        }
        if isinstance(model, RNNsearch):
            row |= of_errors(alignment_error_rate(links(weights[pair.key]), pair.links) for pair in some)
            row["error of the next step"] = pooled(
                alignment_error_rate(links(weights[pair.key], 1), pair.links) for pair in some
            ).error
        return row

    return {"all": told(pairs), "by length": [told(some) for some in by_length(pairs)]}


def baselines(training: Sequence[Pair], test: Sequence[Pair]) -> dict[str, Any]:
    """The diagonal, uniform attention, and IBM Model 1 trained on the same pairs."""
    ibm = ibm_model_1(training)
    aligned = {
        "diagonal": lambda pair: links_of(diagonal(len(pair.target), len(pair.source))),
        "uniform": lambda pair: uniform(len(pair.target), len(pair.source)),
        "IBM Model 1": lambda pair: ibm.links(pair.source, pair.target),
    }
    return {
        name: {
            "all": of_errors(alignment_error_rate(align(pair), pair.links) for pair in test),
            "by length": [
                of_errors(alignment_error_rate(align(pair), pair.links) for pair in some) for some in by_length(test)
            ],
        }
        for name, align in aligned.items()
    }


def ibm_model_1(training: Sequence[Pair]) -> IBMModel1:
    return IBMModel1([(pair.source, pair.target) for pair in training], n_iterations=5)


# --- results ----------------------------------------------------------------------------------------------------------


def names() -> list[str]:
    return [f"{kind}-{longest}-{seed}" for seed in SEEDS for kind in MODELS for longest in LONGEST]


def longer_names() -> list[str]:
    return [f"RNNsearch-{max(LONGEST)}-{seed}" for seed in SEEDS]


def parsed(name: str) -> tuple[Kind, int, int]:
    kind, longest, seed = name.rsplit("-", 2)
    if kind not in MODELS or not longest.isdecimal() or not seed.isdecimal():
        raise SystemExit(f"NAME must be model-longest-seed such as {names()[0]}, got {name}")
    return MODELS[kind], int(longest), int(seed)


def run(name: str, runs: Path, steps: int) -> None:
    """Train a model, judge it on the test verses, and write that beside it."""
    train_and_judge(*parsed(name), SETTING, runs / name, steps)


def train_and_judge(kind: Kind, longest: int, seed: int, setting: dict[str, Any], folder: Path, steps: int) -> None:
    start = time.perf_counter()
    train(kind, longest, seed, setting, folder, steps)
    if (folder / "test.json").exists():
        return
    model, words = trained(kind, folder, setting), vocabularies(setting)
    metrics = evaluate(model, corpus(setting["source"])[2], words)
    metrics["wall seconds of the last start"] = round(time.perf_counter() - start, 1)
    write(folder / "test.json", metrics)


def trained(kind: Kind, folder: Path, setting: dict[str, Any]) -> Any:
    words = vocabularies(setting)
    model = build(kind, setting, (len(words[0]), len(words[1])))
    model.load_state_dict(torch.load(folder / "model.pt", map_location="cpu", weights_only=True))
    return model.eval()


def trial(name: str, runs: Path, steps: int) -> None:
    train(RNNsearch, max(LONGEST), 0, {**SETTING, **TRIALS[name]}, runs / f"trial {name}", steps)


def write_results(runs: Path, results: Path) -> None:
    """Gather the runs that are there, the baselines, one small model and the verses to look at."""
    training, _, test = corpus(SETTING["source"])
    records = {name: Record.load(runs / name / "record.json") for name in names()}
    longer = {name: Record.load(runs / "longer" / name / "record.json") for name in longer_names()}
    results.mkdir(parents=True, exist_ok=True)
    first = next(iter(records.values()))
    metrics = {
        **provenance.stamp(Path(__file__)),
        "versions": first.versions,
        "device": first.device,
        "setting": SETTING,
        "longest": LONGEST,
        "seeds": SEEDS,
        "steps": STEPS,
        "patience": PATIENCE,
        "trial steps": TRIAL_STEPS,
        "beam": BEAM,
        "bins": BINS,
        "verses": {
            "train": {str(longest): len(short_enough(training, longest)) for longest in LONGEST},
            "dev": len(corpus(SETTING["source"])[1]),
            "test": len(test),
        },
        "words": [len(words) for words in vocabularies(SETTING)],
        "runs": {name: of_run(record, runs / name) for name, record in records.items()},
        "longer": {name: of_run(record, runs / "longer" / name) for name, record in longer.items()},
        "longer steps": LONGER,
        "baselines": {str(longest): baselines(short_enough(training, longest), test) for longest in LONGEST},
        "trials": {
            name: Record.load(path).metrics
            for name in TRIALS
            if (path := runs / f"trial {name}" / "record.json").exists()
        },
    }
    keep_model(runs, results, test)
    write(results / "metrics.json", metrics)
    print(summary(metrics))


def of_run(record: Record, folder: Path) -> dict[str, Any]:
    return {
        "parameters": record.n_parameters,
        "epochs": len(record.losses),
        "best epoch": record.best_epoch,
        "seconds": round(sum(record.seconds), 1),
        "losses": [round(value, 4) for value in record.losses],
        "dev": record.metrics,
        "test": json.loads((folder / "test.json").read_text()),
    }


def keep_model(runs: Path, results: Path, test: Sequence[Pair]) -> None:
    """One model in half precision, and verses with what it, IBM Model 1 and the others make of them."""
    name, words = f"RNNsearch-{max(LONGEST)}-0", vocabularies(SETTING)
    model = trained(RNNsearch, runs / name, SETTING)
    half = {key: value.half() for key, value in model.state_dict().items()}
    temporary = results / "model.pt.part"
    torch.save(half, temporary)
    os.replace(temporary, results / "model.pt")
    model.load_state_dict({key: value.float() for key, value in half.items()})
    longer = trained(RNNsearch, runs / "longer" / longer_names()[0], SETTING)
    plain = trained(RNNencdec, runs / f"RNNencdec-{max(LONGEST)}-0", SETTING)
    ibm = ibm_model_1(short_enough(corpus(SETTING["source"])[0], max(LONGEST)))
    chosen = [pair for some in by_length(test) for pair in some[:: max(1, len(some) * len(BINS) // SHOWN)]][: 2 * SHOWN]
    kept = held_out(chosen, model, longer, plain, ibm, words)
    held = {
        "name": name,
        "source words": words[0].words,
        "target words": words[1].words,
        "judged": judge(model, chosen, words),
        "verses": kept,
    }
    write(results / "heldout.json", held, indent=None)


def held_out(
    pairs: Sequence[Pair], model: Any, longer: Any, plain: Any, ibm: IBMModel1, words: tuple[Vocabulary, Vocabulary]
) -> list[dict[str, Any]]:
    """Verses with people's links, both models' translations, and the weights of RNNsearch, also of the one that was
    trained longer, and of IBM Model 1."""
    weights, _ = alignments(model, pairs, words)
    later, _ = alignments(longer, pairs, words)
    said, fixed = translations(model, pairs, words), translations(plain, pairs, words)
    return [
        {
            "key": pair.key,
            "title": new_testament.reference(pair.key),
            "source": list(pair.source),
            "target": list(pair.target),
            "links": sorted(pair.links),
            "RNNsearch": " ".join(said[pair.key]),
            "RNNencdec": " ".join(fixed[pair.key]),
            "weights": _rounded(weights[pair.key]),
            "longer": _rounded(later[pair.key]),
            "IBM Model 1": _rounded(ibm.align(pair.source, pair.target)),
        }
        for pair in pairs
    ]


def _rounded(matrix: torch.Tensor) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in matrix.tolist()]


def summary(metrics: dict[str, Any]) -> str:
    """Mean and spread over the seeds, for the eye."""
    lines = []
    arms = {
        f"{kind}-{longest}": [metrics["runs"][f"{kind}-{longest}-{seed}"] for seed in SEEDS]
        for kind in MODELS
        for longest in LONGEST
    }
    arms[f"RNNsearch-{max(LONGEST)}, {LONGER} steps"] = list(metrics["longer"].values())
    for arm, runs in arms.items():
        tests = [run["test"]["all"] for run in runs]
        told = [
            f"{key} {spread([test[key] for test in tests])}"
            for key in ("loss", "bleu", "chrf", "error")
            if key in tests[0]
        ]
        lines.append(f"{arm}: " + ", ".join(told))
    for longest, found in metrics["baselines"].items():
        lines.append(f"{longest}: " + ", ".join(f"{name} {row['all']['error']:.3f}" for name, row in found.items()))
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


def write(path: Path, content: Any, indent: int | None = 1) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n", "utf-8")
    os.replace(temporary, path)


def start_all(commands: Iterable[Sequence[str]], jobs: int) -> None:
    """Run the commands, so many at a time, and stop at the first that fails."""
    running: list[subprocess.Popen[bytes]] = []

    def wait_for(process: subprocess.Popen[bytes]) -> None:
        if process.wait():
            raise SystemExit(f"a run failed: {' '.join(map(str, process.args))}")
        running.remove(process)

    for command in commands:
        running.append(subprocess.Popen(command))
        while len(running) >= jobs:
            time.sleep(0.2)
            for process in [process for process in running if process.poll() is not None]:
                wait_for(process)
    for process in running[:]:
        wait_for(process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="one run, or 'longer: ' or 'trial: ' and the name of one")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of a run (default: {STEPS})")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are written")
    parser.add_argument("--trials", action="store_true", help="what the setting was chosen by, too")
    options = parser.parse_args()
    share = options.steps / STEPS
    if options.name and options.name.startswith("trial: "):
        trial(options.name.removeprefix("trial: "), options.runs, round(TRIAL_STEPS * share))
    elif options.name and options.name.startswith("longer: "):
        run(options.name.removeprefix("longer: "), options.runs / "longer", round(LONGER * share))
    elif options.name:
        run(options.name, options.runs, options.steps)
    else:
        wanted = names() + [f"longer: {name}" for name in longer_names()]
        wanted += [f"trial: {name}" for name in TRIALS if options.trials]
        each = [sys.executable, __file__, "--runs", str(options.runs), "--steps", str(options.steps)]
        start_all([[*each, name] for name in wanted], options.jobs)
        write_results(options.runs, options.results)


if __name__ == "__main__":
    main()
