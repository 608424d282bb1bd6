"""What attention costs at each length: are the ways one function, do their bytes grow as they should, does it run?"""

import json

import pytest
import torch
from test_experiments import check_the_code, script
from torch.testing import assert_close

from attnlib.frontiers.linear import decode


@pytest.fixture(scope="module")
def lengths():
    return script("lengths")


def test_results_are_of_this_script_and_complete(lengths):
    metrics = json.loads((lengths.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "lengths")
    setting = metrics["setting"]
    assert setting == lengths.SETTING
    assert list(metrics["passes"]) == [f"{what}, {seen}" for seen in ("causal", "all") for what in ("forward", "both")]
    for ways in metrics["passes"].values():
        assert list(ways) == list(lengths.WAYS)
        assert max(len(found) for found in ways.values()) == len(ways["linear"]) > len(ways["softmax, matrix"])
        for found in ways.values():
            assert list(found) == [str(n) for n in setting["lengths"]][: len(found)]
            assert all(3 <= len(each["seconds"]) <= setting["repeats"] for each in found.values())
    for found in metrics["token"].values():
        assert list(found) == [str(n) for n in setting["lengths"]]
        assert all(len(each["seconds"]) == setting["tokens"] for each in found.values())


@pytest.mark.parametrize("is_causal", [False, True])
def test_both_ways_of_softmax_are_one_function(lengths, is_causal):
    parts = lengths.vectors(37, seed=0)
    one, two = (lengths.WAYS[f"softmax, {way}"](*parts, is_causal=is_causal) for way in ("matrix", "kernel"))
    assert_close(one, two)


def test_the_plain_step_is_the_librarys(lengths):
    new, (_, state) = lengths.vectors(1, seed=1), decode(*lengths.vectors(37, seed=0))
    (one, after), (two, plain) = decode(*new, state), lengths.plain_step(*new, state)
    assert_close(one, two)
    assert_close(after[:2], plain[:2])


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_bytes_grow_as_they_should(lengths, backward, is_causal):
    """They are counted, not measured. Twice the length: four times for the matrix, twice for the others."""
    for name, way in lengths.WAYS.items():
        found = []
        for n in (512, 1024):
            parts = lengths.vectors(n, seed=0, learned=backward)
            found.append(
                lengths.held(lambda *parts, way=way: way(*parts, is_causal=is_causal), parts, backward=backward)
            )
        grown = found[1] / found[0]
        assert (grown > 3.4) if name == "softmax, matrix" else (grown < 2.1)


def test_a_way_goes_on_while_it_fits(lengths):
    setting = {"bytes": 100, "seconds": 1.0}
    assert lengths.fits({}, 128, setting)
    done = {"128": {"bytes": 25, "seconds": [0.5, 0.25]}}
    assert lengths.fits(done, 256, setting)
    assert not lengths.fits(done, 512, setting), "a length between was left out"
    assert not lengths.fits({"128": {"bytes": 26, "seconds": [0.1]}}, 256, setting)
    assert not lengths.fits({"128": {"bytes": 1, "seconds": [0.3]}}, 256, setting)


def test_smoke_writes_nothing(lengths, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lengths, "RESULTS", tmp_path / "none")
    monkeypatch.setattr(lengths, "RUNS", tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["lengths.py", "--smoke"])
    threads = torch.get_num_threads()
    lengths.main()
    torch.set_num_threads(threads)
    assert "token, 256" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
