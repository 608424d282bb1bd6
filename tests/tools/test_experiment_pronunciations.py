"""Words and their sounds: do script, results and page belong together, and is what was written down so?"""

import json

import pytest
from test_experiments import EXPERIMENTS, check_the_code, script

from attnlib.data.pronunciations import Spoken
from attnlib.widgets.output_representations.transformer_model import unpacked_model

RESULTS = EXPERIMENTS / "results" / "pronunciations"


@pytest.fixture(scope="module")
def pronunciations():
    return script("pronunciations")


@pytest.fixture(scope="module")
def metrics():
    return json.loads((RESULTS / "metrics.json").read_text("utf-8"))


def test_results_are_of_this_script(pronunciations, metrics):
    check_the_code(metrics, "pronunciations")
    assert metrics["setting"] == pronunciations.SETTING
    assert [run["seed"] for run in metrics["runs"]] == pronunciations.SETTING["seeds"]
    assert metrics["words"] == {"train": 97_190, "dev": 5_740, "test": 11_444}


def test_what_was_measured_adds_up(pronunciations, metrics):
    for run in metrics["runs"]:
        for test in (run["test"], run["in bytes"]):
            parts = [part for name, part in test.items() if name != "all"]
            assert sum(part["words"] for part in parts) == test["all"]["words"] == metrics["words"]["test"]
            exact = sum(part["words"] * part["exact"] for part in parts) / test["all"]["words"]
            assert exact == pytest.approx(test["all"]["exact"], abs=1e-4)
        assert [one["heads"] for one in run["one off"]] == [[pronunciations.named(h)] for h in pronunciations.HEADS]
        drawn = [[pronunciations.named(head) for head in heads] for heads in pronunciations.threes()]
        assert [three["heads"] for three in run["three off"]] == drawn
        for each in (*run["one off"], *run["three off"]):
            assert each["interval"][0] <= each["cost"] <= each["interval"][1]
        assert 0 < run["looks"]["even"] < 1
        assert len(run["looks"]["heads"]) == 24


def test_the_page_holds_the_first_network(pronunciations, metrics):
    assert metrics["page"] == pronunciations.digest()
    page = unpacked_model(json.loads(pronunciations.STORE.read_text(encoding="utf-8")))
    assert metrics["runs"][0]["parameters"] == sum(parameter.numel() for parameter in page.parameters())
    assert page.state_dict().keys() == pronunciations.network().state_dict().keys()


def test_sounds_that_differ_are_counted(pronunciations):
    distance = pronunciations.distance
    for one, other, wanted in (("", "", 0), ("ab", "", 2), ("", "abc", 3), ("abcd", "acd", 1), ("abc", "xbz", 2)):
        assert distance(tuple(one), tuple(other)) == distance(tuple(other), tuple(one)) == wanted
    assert distance(tuple("intention"), tuple("execution")) == 5
    words = [Spoken("read", (("R", "EH", "D"), ("R", "IY", "D"))), Spoken("at", (("AE", "T"),))]
    told = [("R", "IY", "D"), ("AE", "T", "S")]
    assert pronunciations.judged(words, told) == {"words": 2, "exact": 0.5, "error": 0.2}
    assert pronunciations.right(words, told).tolist() == [1.0, 0.0]


def test_a_batch_is_told_what_it_has_said(pronunciations):
    mark = pronunciations.MARK
    source, mask, told, wanted = pronunciations.batch([Spoken("at", (("AE", "T"),)), Spoken("b", (("B",),))])
    assert source.tolist() == [[0, 19], [1, 0]]
    assert mask.tolist() == [[True, True], [True, False]]
    assert told[0].tolist() == [mark, *wanted[0, :2].tolist()]
    assert wanted[0, 2] == wanted[1, 1] == mark
    assert wanted[1].tolist()[2:] == [-100]


@pytest.mark.data
def test_the_page_says_what_was_written_down(pronunciations, metrics, real):
    """A part of the words that were not trained with, said again by what the page holds."""
    real(pronunciations.pronunciations.PACKAGE)
    items = [spoken for spoken in pronunciations.words().test if len(spoken.word) == 4]
    page = unpacked_model(json.loads(pronunciations.STORE.read_text(encoding="utf-8"))).float()
    found = pronunciations.judged(items, pronunciations.said(page, items))
    written = metrics["runs"][0]["in bytes"]["4"]
    assert found["words"] == written["words"]
    assert found["exact"] == pytest.approx(written["exact"], abs=0.003)
    assert found["error"] == pytest.approx(written["error"], abs=0.003)
