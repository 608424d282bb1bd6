"""Digits matched by each score: do script and result belong together, is the task as told, do arms train as told?"""

import json

import pytest
import torch
from test_experiments import check_the_code, script
from torch.testing import assert_close

from attnlib import scores


@pytest.fixture(scope="module")
def matching():
    return script("matching_digits")


@pytest.fixture(scope="module")
def metrics(matching):
    return json.loads((matching.RESULTS / "metrics.json").read_text("utf-8"))


def test_results_are_of_this_script_and_add_up(matching, metrics):
    check_the_code(metrics, "matching_digits")
    assert metrics["setting"] == matching.SETTING
    assert list(metrics["runs"]) == list(matching.arms())
    assert list(metrics["scale"]) == list(metrics["before"]) == list(matching.arms_of_scale())
    fixed = [metrics["runs"][name] for name in matching.ONE_SIDED] + [metrics["scale"]["dot, small start"]]
    for found in [*metrics["runs"].values(), *metrics["scale"].values(), metrics["longer"]]:
        by_seed = [*found["loss"].values(), found["new images"], found["new classes"]]
        assert {len(runs) for runs in by_seed} == {len(matching.SEEDS)}
        losses = {float(rate): sum(runs) for rate, runs in found["loss"].items()}
        at = matching.LADDER.index(found["rate"])
        around = [losses.get(matching.LADDER[near]) for near in (at - 1, at + 1)]
        assert found in fixed or all(loss >= losses[found["rate"]] for loss in around)
    for name in ("dot", "scaled dot"):
        assert {str(rate) for rate in metrics["setting"]["rates shown"]} <= set(metrics["scale"][name]["loss"])


def test_the_right_key_is_of_the_class_of_the_query(matching):
    """The images are told apart by what they hold: the class, and a number of their own."""
    labels = torch.arange(60) % 10
    images = torch.stack([labels, torch.arange(60)], dim=1)
    classes = torch.tensor([7, 1, 8, 2, 0])
    query, key, answer = matching.episodes(images, labels, classes, 200, torch.Generator().manual_seed(0))
    assert (query.shape, key.shape) == ((200, 1, 2), (200, 5, 2))
    assert all(set(row) == set(classes.tolist()) for row in key[..., 0].tolist())
    right = key[torch.arange(200), answer]
    assert torch.equal(right[:, 0], query[:, 0, 0])
    assert not torch.equal(right[:, 1], query[:, 0, 1])
    assert set(answer.tolist()) == set(range(5))


@pytest.mark.parametrize("name", ["dot, 4", "additive, 4", "activated general", "location-based", "feature-based"])
def test_side_by_side_is_the_score_of_each_seed(matching, name):
    score, start = matching.arms()[name]
    query, key, _ = (part[:, :3] for part in matching.data().images)
    found = matching.side_by_side(score)(start, query, key)
    for seed in (0, 9):
        alone = score(query[seed], key[seed], **{part: value[seed] for part, value in start.items()})
        assert_close(found[seed], alone.squeeze(-2), rtol=1e-4, atol=1e-4)


def test_the_small_start_is_the_scaled_one(matching):
    arms = matching.arms_of_scale()
    query, key, _ = (part[:, :3] for part in matching.data().train)
    small, scaled = (matching.side_by_side(arms[name][0])(arms[name][1], query, key)
                     for name in ("dot, small start", "scaled dot"))  # fmt: skip
    assert_close(small, scaled, rtol=1e-4, atol=1e-4)


def test_an_arm_trained_again_comes_to_what_is_stored(matching, metrics):
    stored, (score, start) = metrics["runs"]["dot, 4"], matching.arms()["dot, 4"]
    before = {name: part.clone() for name, part in start.items()}
    loss, parameters = matching.train(score, start, stored["rate"])
    assert all(torch.equal(part, before[name]) for name, part in start.items())
    assert_close(loss.mean().item(), sum(stored["loss"][str(stored["rate"])]) / 10, rtol=0, atol=0.02)
    for found, name in zip(matching.examine(score, parameters), ("new images", "new classes"), strict=True):
        assert_close(found.mean().item(), sum(stored[name]) / 10, rtol=0, atol=0.02)


def test_the_raw_cosine_learns_nothing(matching, metrics):
    query, key, answer = matching.data().classes
    energies = scores.similarity(query, key).squeeze(-2)
    right = (energies.argmax(-1) == answer).float().mean(1)
    assert_close(right, torch.tensor(metrics["raw cosine"]["new classes"]), rtol=0, atol=0.003)


def test_the_search_goes_on_until_both_neighbours_are_worse(matching):
    def losses(best):
        return lambda rate: torch.tensor([abs(matching.LADDER.index(rate) - best)], dtype=torch.float64)

    rate, tried = matching.search(losses(1))
    assert rate == matching.LADDER[1]
    assert list(map(matching.LADDER.index, tried)) == [2, 3, 1, 0]
    assert matching.search(losses(3))[0] == matching.FIRST
    with pytest.raises(ValueError, match="an end of the ladder"):
        matching.search(losses(6))


def test_smoke_writes_nothing(matching, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(matching, "RESULTS", tmp_path / "none")
    monkeypatch.setattr(matching, "RUNS", tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["matching_digits.py", "--smoke"])
    threads = torch.get_num_threads()
    matching.main()
    torch.set_num_threads(threads)
    assert "new classes" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
