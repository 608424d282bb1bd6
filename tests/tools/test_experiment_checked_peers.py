"""What is told of the attention of packages is what the check says of the versions that are here."""

import importlib.metadata
import importlib.util
import json

import pytest
from test_experiments import check_the_code, script

from attnlib.check import properties


@pytest.fixture(scope="module")
def checked():
    return script("checked_peers")


@pytest.fixture(scope="module")
def metrics(checked):
    return json.loads((checked.RESULTS / "metrics.json").read_text("utf-8"))


def test_results_are_of_this_script(checked, metrics):
    check_the_code(metrics, "checked_peers")
    assert list(metrics["subjects"]) == list(checked.SUBJECTS)
    names = {"call", *properties()}
    for name, found in metrics["subjects"].items():
        assert found["package"] == checked.SUBJECTS[name][0]
        assert {*found["passed"], *found["failed"], *found["unlooked"]} <= names


@pytest.mark.parametrize("name", ["nn.MultiheadAttention", "scaled_dot_product_attention", "sparsemax"])
def test_what_is_here_is_found_again(checked, metrics, name):
    stored = metrics["subjects"][name]
    if importlib.metadata.version(stored["package"]).split("+")[0] != stored["version"]:
        pytest.skip(f"{stored['package']} is not {stored['version']} here")
    found = checked.looked_at(name)
    assert (sorted(found["failed"]), found["passed"]) == (sorted(stored["failed"]), stored["passed"])


def test_local_attention_attends_to_what_it_fills_up(checked, metrics):
    sums = metrics["row sums"]
    assert max(sums["5 tokens"]) < 0.8
    lost = {"sum", "padding", "large"}
    assert set(metrics["masked always"]) == set(metrics["subjects"]["LocalAttention"]["failed"]) - lost
    assert {each for name in sums for each in sums[name] if name != "5 tokens"} == {1.0}
    pytest.importorskip("local_attention")
    assert checked.row_sums(5, masked=False) == pytest.approx(sums["5 tokens"], abs=1e-3)


def test_a_query_that_sees_nothing_gets_what_the_switch_says(checked, metrics):
    found = metrics["sees nothing"]
    assert found["weights asked for"] == found["context asked for"] == 0
    assert found["context from the mean"] < 1e-6 < 0.1 < found["context"]
    assert max(found["Attention from the mean"], found["AdditiveAttention from the mean"]) < 1e-6
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not here")
    assert checked.blind() == pytest.approx(found, abs=1e-5)
