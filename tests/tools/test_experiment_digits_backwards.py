"""Digits said backwards: do script and result belong together, and does the stored model do what is said?"""

import json

import pytest
import torch
from test_experiments import check_the_code, script
from torch.testing import assert_close


@pytest.fixture(scope="module")
def digits():
    return script("digits_backwards")


@pytest.fixture(scope="module")
def metrics(digits):
    return json.loads((digits.RESULTS / "metrics.json").read_text("utf-8"))


def test_results_are_of_this_script_and_complete(digits, metrics):
    check_the_code(metrics, "digits_backwards")
    setting = digits.SETTING
    assert metrics["setting"] == setting
    assert list(metrics["runs"]) == list(setting["arms"])
    seeds, lengths = len(setting["seeds"]), [str(n) for n in setting["lengths"]]
    for arm, found in metrics["runs"].items():
        assert found["parameters"] == sum(parameter.numel() for parameter in digits.network(arm).parameters())
        for table in (found["right"], found["met"], *([found["aligned"]] if arm == "RNNsearch" else [])):
            assert list(table) == lengths
            assert all(len(row) == seeds and 0 <= min(row) <= max(row) <= 1 for row in table.values())
        assert [len(places) for places in found["by place"]] == [setting["far"]] * seeds
        far = torch.tensor(found["by place"]).mean(1)
        assert_close(far, torch.tensor(found["right"][str(setting["far"])]), atol=1e-4, rtol=0)


def test_the_stored_model_does_what_was_written_down(digits, metrics):
    model = digits.network("RNNsearch").eval()
    model.load_state_dict(torch.load(digits.RESULTS / "model.pt", weights_only=True))
    run = metrics["runs"]["RNNsearch"]
    for length in (4, 8):
        assert digits.right(model, length).mean().item() == pytest.approx(run["right"][str(length)][0], abs=0.01)
        assert digits.aligned(model, length) == pytest.approx(run["aligned"][str(length)][0], abs=0.01)


def test_what_is_not_said_is_wrong(digits):
    """A model that ends at once has nothing right."""
    model = digits.network("RNNencdec").eval()
    with torch.no_grad():
        model.output.bias[digits.EOS] = 100.0
    assert digits.right(model, 3).tolist() == [0, 0, 0]
    assert digits.written(model, 3) == 0


def test_arms_share_their_sentences(digits):
    """The first ones are the same whatever the count is, and seeds differ."""
    few, many = digits.sentences(1, 5), digits.sentences(1, 50)
    assert few == many[:5]
    assert few != digits.sentences(0, 5)
    assert all(pair.target == pair.source[::-1] for pair in many)


def test_what_was_met_is_counted(digits, metrics):
    run, length = metrics["runs"]["RNNsearch"], 4
    seen = {pair.source for pair in digits.sentences(2, digits.SETTING["arms"]["RNNsearch"][1] * 64)}
    found = [pair.source in seen for pair in digits.tested(length)[0]]
    assert run["met"][str(length)][2] == sum(found) / len(found)


@pytest.mark.parametrize("arm", ["RNNsearch", "RNNencdec, larger"])
def test_seeds_side_by_side_are_as_alone(digits, arm, monkeypatch):
    """The first loss of each seed is that of its model on its own batch."""
    monkeypatch.setitem(digits.SETTING, "batch", 4)
    models, losses = digits.made(arm), digits.train(arm, 1)[1][0]
    batch, seeds = next(digits.lessons(1)), len(models)
    for seed, model in enumerate(models):
        rows = slice(4 * seed, 4 * seed + 4)
        logits = model(*(part[rows] for part in batch[:3])).logits
        wanted = batch.target_out[rows]
        one = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=digits.PAD)
        assert_close(losses[seed], one.detach())
    assert len(set(losses.tolist())) == seeds


def test_the_rate_rises_then_falls(digits):
    rates = [digits.rate_at(step, 250) for step in range(250)]
    assert max(rates) == rates[49] < digits.SETTING["rate"]
    assert rates[:50] == sorted(rates[:50])
    assert rates[49:] == sorted(rates[49:], reverse=True)
