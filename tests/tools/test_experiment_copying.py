"""Copying beyond what was trained: do script and result belong together, and do the machines do as told?"""

import json

import pytest
import torch
from test_experiments import EXPERIMENTS, check_the_code, script

done = pytest.mark.skipif(
    not (EXPERIMENTS / "results" / "copying").exists(), reason="book/experiments/copying.py has not been run to its end"
)


@pytest.fixture(scope="module")
def copying():
    return script("copying")


@pytest.fixture(scope="module")
def metrics(copying):
    return json.loads((copying.RESULTS / "metrics.json").read_text("utf-8"))


def machines(copying, arm="memory"):
    return copying.together([copying.made(arm, seed) for seed in range(copying.SETTING["seeds"])])


@done
def test_results_are_of_this_script_and_add_up(copying, metrics):
    check_the_code(metrics, "copying")
    setting = copying.SETTING
    assert metrics["setting"] == setting
    assert tuple(metrics["runs"]) == copying.ARMS == tuple(setting["steps"])
    for arm, found in metrics["runs"].items():
        rates = found["rates"]
        assert list(rates) == [str(rate) for rate in setting["rates"]]
        assert found["best"] == float(max(rates, key=lambda rate, rates=rates: sum(rates[rate]["chosen by"])))
        assert found["parameters"] == sum(value.numel() for value in copying.made(arm, 0).parameters())
        for test in (test for rate in rates.values() for test in rate["test"].values()):
            assert list(test) == [str(length) for length in setting["lengths"]]
            assert all(len(seeds) == setting["seeds"] for seeds in test.values())
            assert all(0 <= share <= 1 for seeds in test.values() for share in seeds)
    assert metrics["runs"]["LSTM"]["parameters"] > 10 * metrics["runs"]["memory"]["parameters"]


@done
def test_the_machines_do_what_was_written_down(copying, metrics):
    whole = machines(copying)
    whole.load_state_dict(torch.load(copying.RESULTS / "model.pt", weights_only=True))
    found = copying.examine(whole, [10, 15], copying.SETTING["tested"], 2 * 10**6)
    run = metrics["runs"]["memory"]
    wanted = run["rates"][str(run["best"])]["test"]
    for name in ("bits", "texts"):
        for length in ("10", "15"):
            assert found[name][length] == pytest.approx(wanted[name][length], abs=0.05)


def test_a_text_is_told_then_a_mark_then_nothing(copying):
    text = copying.texts(3, 4, torch.Generator().manual_seed(0))
    told = copying.told(text)
    assert told.shape == (5, 3, 9, copying.BITS + 1)
    assert torch.equal(told[:, :, :4, : copying.BITS], text)
    assert told[:, :, 4].sum().item() == told[..., -1].sum().item() == 15
    assert (told[:, :, 5:] == 0).all()


@pytest.mark.parametrize("arm", ["memory", "LSTM"])
def test_seeds_side_by_side_are_as_alone(copying, arm):
    text = copying.texts(3, 4, torch.Generator().manual_seed(0))
    found = copying.outputs(machines(copying, arm), text)
    for seed in range(copying.SETTING["seeds"]):
        one, said = copying.made(arm, seed), []
        state = one.start(3)
        for x in copying.told(text)[seed].unbind(1):
            state, output = one.step(x, state)[:2]
            said.append(output)
        torch.testing.assert_close(found[seed], torch.stack(said[5:], 1))


@pytest.mark.parametrize("arm", ["memory", "LSTM"])
def test_training_repeats_itself_and_goes_down(copying, arm, monkeypatch):
    monkeypatch.setitem(copying.SETTING, "longest", 1)
    (_, first), (_, second) = (copying.train(arm, 0.01, 12) for _ in range(2))
    assert torch.equal(first, second)
    assert (first[-3:].mean(0) < first[:3].mean(0)).all()
    assert len(set(first[0].tolist())) == copying.SETTING["seeds"]
