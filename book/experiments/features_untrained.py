"""What the features of ``features.py`` look at before anything is learned: how alike their weights are, on the same
uses of words and from the same first numbers. How far training parted them can only be said against this.

    python book/experiments/features_untrained.py
"""

import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance
from book.experiments import features

RESULTS = Path(__file__).parent / "results" / "features_untrained"
ARM = features.ARMS[-1]


def untrained() -> features.State:
    """What :func:`features.sense_run` starts from."""
    how = features.SETTING["senses"]
    d, kinds = how["d"], len(features.wordnet.KINDS)
    sizes = {"value": (d, d), "query": (d, d), "key": (d, d), "answer": (kinds, 2 * d)}
    state = features.layers(sizes, how["seeds"] * how["folds"], len(features.ARMS))
    return {name: value.detach() for name, value in state.items()}


def main() -> None:
    torch.set_num_threads(1)
    started = time.perf_counter()
    found = features.sense_judged(untrained(), ARM, features.SETTING)
    metrics = {
        **provenance.stamp(Path(__file__)),
        "features": provenance.stamp(Path(features.__file__))["script"],
        "setting": features.SETTING["senses"],
        "arm": ARM,
        "likeness": found["likeness"],
        "reach": found["reach"],
        "versions": {"torch": torch.__version__},
        "device": "cpu",
        "seconds": round(time.perf_counter() - started),
    }
    print({name: metrics[name] for name in ("arm", "likeness", "reach", "seconds")})
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
