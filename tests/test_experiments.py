"""What is too long for a page: the scripts, run small on sentences of our own."""

import importlib.util
import json
import random
from pathlib import Path

import pytest
import torch

from attnlib.data import Pair, Split, Vocabulary

EXPERIMENTS = Path(__file__).parent.parent / "book" / "experiments"


def script(name):
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def rnnsearch():
    return script("rnnsearch")


# --- the script itself, on sentences of our own -----------------------------------------------------------------------


@pytest.fixture
def small(rnnsearch, monkeypatch):
    """Sentences that are copied in reverse, in place of the Testament; tiny sizes."""
    chance = random.Random(0)
    pairs = []
    for number in range(150):
        source = tuple(chance.choice("αβγδε") for _ in range(chance.randint(1, 30)))
        links = frozenset((t, len(source) - 1 - t) for t in range(len(source)))
        pairs.append(Pair(f"40001{number:03}", source, source[::-1], links))
    parts = Split(pairs[:60], pairs[60:90], pairs[90:])
    monkeypatch.setattr(rnnsearch, "corpus", lambda source: parts)
    monkeypatch.setattr(rnnsearch, "BEAM", 2)
    monkeypatch.setattr(rnnsearch, "SETTING", {**rnnsearch.SETTING, "hidden": 5, "embedding": 4, "maxout": 3})
    return rnnsearch


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_script_runs_from_training_to_results_and_repeats_itself(small, tmp_path, capsys):
    for again in ("one", "two"):
        for name in small.names():
            small.run(name, tmp_path / again, steps=2)
        small.write_results(tmp_path / again, tmp_path / f"results {again}")
    one, two = (json.loads((tmp_path / f"results {n}" / "metrics.json").read_text()) for n in ("one", "two"))
    for run in [*one["runs"].values(), *two["runs"].values()]:
        run.pop("seconds")
        run["test"].pop("wall seconds of the last start")
    assert one == two
    assert "RNNsearch-25: loss" in capsys.readouterr().out
    held = json.loads((tmp_path / "results one" / "heldout.json").read_text())
    for verse in held["verses"]:
        assert len(verse["weights"]) == len(verse["target"]) + 1
        assert {len(row) for row in verse["weights"]} == {len(verse["source"]) + 1}
        assert {len(row) for row in verse["IBM Model 1"]} == {len(verse["source"])}


def test_a_wrong_name_is_refused(rnnsearch):
    with pytest.raises(SystemExit, match="model-longest-seed"):
        rnnsearch.parsed("Transformer-25-0")


def test_the_rate_rises_and_falls(rnnsearch):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = rnnsearch.Declining([parameter], rate=1.0, steps=200)
    rates = []
    for _ in range(200):
        parameter.grad = torch.ones(1)
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates.index(max(rates)) == 49
    assert rates[0] == pytest.approx(0.02, rel=0.01)
    assert 0 < rates[-1] < 0.01


def test_unknown_words_are_put_in_while_training_alone(rnnsearch):
    seen = []

    class Model(torch.nn.Module):
        def forward(self, source, mask, target_in):
            seen.append(target_in)
            return type("Given", (), {"logits": torch.zeros(*target_in.shape, 9)})

    pairs = [Pair("1", ("a",) * 50, ("b",) * 50, frozenset())]
    words = Vocabulary.build([["a"]]), Vocabulary.build([["b"]])
    batch = rnnsearch._collate(pairs, words=words)
    model = Model()
    summed, count = rnnsearch.loss(model, batch, forget=0.5)
    assert count == 51
    assert summed.item() == pytest.approx(51 * torch.log(torch.tensor(9.0)).item(), rel=1e-5)
    assert 10 < (seen[0] == rnnsearch.UNK).sum() < 40
    assert seen[0][0, 0] == rnnsearch.BOS
    rnnsearch.loss(model.eval(), batch, forget=0.5)
    assert torch.equal(seen[1], batch.target_in)
