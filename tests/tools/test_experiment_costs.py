"""What the book's ways cost: do the constants follow from the times, does it run? The ways: book/test_costs.py."""

import json

import pytest
import torch
from test_experiments import check_the_code, script

from attnlib.book.costs import MECHANISMS


@pytest.fixture(scope="module")
def costs():
    return script("costs")


def test_results_are_of_this_script_and_complete(costs):
    metrics = json.loads((costs.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "costs")
    setting = metrics["setting"]
    assert setting == costs.SETTING
    assert list(metrics["seconds"]) == [str(size) for size in [*setting["fit"], *setting["held"]]]
    for found in metrics["seconds"].values():
        assert list(found) == list(costs.WAYS) == list(MECHANISMS)
        assert all(3 <= len(each) <= setting["repeats"] for way in found.values() for each in way.values())
    for name, made in metrics["constants"].items():
        for done, stored in made.items():
            assert costs.constants(name, done, metrics["seconds"], setting) == pytest.approx(stored, rel=2e-3)
    stored = json.loads(costs.STORE.read_text("utf-8"))
    assert stored["constants"] == metrics["constants"]
    assert stored["measured"] == [[256, 16384], [1, 4], [32, 128], [64, 256]]


def test_no_size_is_fitted_and_held(costs):
    setting = costs.SETTING
    assert not {str(size) for size in setting["fit"]} & {str(size) for size in setting["held"]}


def test_smoke_writes_nothing(costs, monkeypatch, tmp_path, capsys):
    for name in ("RESULTS", "RUNS", "STORE"):
        monkeypatch.setattr(costs, name, tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["costs.py", "--smoke"])
    threads = torch.get_num_threads()
    costs.main()
    torch.set_num_threads(threads)
    assert "(192, 1, 16, 64)" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
