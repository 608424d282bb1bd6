"""Letters to sounds: do script, results and page belong together, and is what was written down so?"""

import json

import pytest
import torch
from test_experiments import EXPERIMENTS, check_the_code, script

from attnlib.alignment import alignment_error_rate, links_of, pooled
from attnlib.data.pronunciations import Spoken
from attnlib.data.spelling import carriers
from attnlib.widgets.recurrent.own_word_model import unpacked_model

RESULTS = EXPERIMENTS / "results" / "letters_to_sounds"
WORDS = [
    Spoken("knight", (("N", "AY", "T"),)),
    Spoken("thin", (("TH", "IH", "N"),)),
    Spoken("fox", (("F", "AA", "K", "S"),)),
    Spoken("aaa", (("T", "R", "IH"),)),
]


@pytest.fixture(scope="module")
def spoken():
    return script("letters_to_sounds")


@pytest.fixture(scope="module")
def metrics():
    return json.loads((RESULTS / "metrics.json").read_text("utf-8"))


def test_results_are_of_this_script(spoken, metrics):
    check_the_code(metrics, "letters_to_sounds")
    assert metrics["setting"] == json.loads(json.dumps(spoken.SETTING))
    assert metrics["words"] == {"train": 99_115, "dev": 5_866, "test": 11_673, "15 and more": 596}
    assert list(metrics["runs"]) == list(spoken.ARMS)
    for arm, runs in metrics["runs"].items():
        assert [run["seed"] for run in runs] == spoken.SETTING["seeds"]
        assert {len(run["losses"]) for run in runs} == {spoken.SETTING["epochs"][arm]}


def test_both_arms_had_the_same_grid_and_are_of_one_size(spoken, metrics):
    for arm in spoken.ARMS:
        losses = metrics["grid"][arm.partition(",")[0]]
        best = min(losses, key=losses.get)
        assert list(losses) == [f"{rate:g}" for rate in spoken.SETTING["rates"]]
        assert {f"{run['rate']:g}" for run in metrics["runs"][arm]} == {best}
    sizes = [metrics["runs"][arm][0]["parameters"] for arm in spoken.ARMS]
    assert max(sizes) / min(sizes) < 1.005


def tables(metrics):
    for runs in metrics["runs"].values():
        for run in runs:
            yield run["test"]
            yield run["in bytes"]
    yield from metrics["floors"].values()
    yield metrics["g2p-en"]["test"]


def test_what_was_measured_adds_up(metrics):
    for table in tables(metrics):
        rows = [table[str(n)] for n in range(3, 15)]
        whole = table["3 to 14"]
        assert sum(row["words"] for row in rows) == whole["words"] == metrics["words"]["test"]
        assert table["15 and more"]["words"] == metrics["words"]["15 and more"]
        exact = sum(row["words"] * row["exact"] for row in rows) / whole["words"]
        assert exact == pytest.approx(whole["exact"], abs=1e-4)
        assert min(row["error"] for row in rows) <= whole["error"] <= max(row["error"] for row in rows)


def test_verdicts_are_those_of_their_intervals(spoken, metrics):
    first, second = (metrics["runs"][arm] for arm in spoken.GRID)
    for name, one in metrics["verdicts"].items():
        intervals = [one[key] for key in ("over seeds", "over words") if key in one]
        assert one["holds"] == all(low > 0 for low, _ in intervals), name
        assert one["otherwise"] == all(high < 0 for _, high in intervals), name
        assert intervals[0][0] < one["mean"] < intervals[0][1]
    gaps = [a["test"]["3 to 14"]["exact"] - b["test"]["3 to 14"]["exact"] for a, b in zip(first, second, strict=True)]
    assert metrics["verdicts"]["1"]["each"] == pytest.approx(gaps, abs=2e-5)
    errors = [
        b["test"]["11 to 14"]["error"]
        - a["test"]["11 to 14"]["error"]
        - b["test"]["3 to 6"]["error"]
        + a["test"]["3 to 6"]["error"]
        for a, b in zip(first, second, strict=True)
    ]
    assert metrics["verdicts"]["2"]["each"] == pytest.approx(errors, abs=4e-5)


def test_the_page_holds_the_first_networks(spoken, metrics):
    assert metrics["page"] == spoken.digest()
    assert metrics["page bytes"] == spoken.STORE.stat().st_size < 270_000
    store = json.loads(spoken.STORE.read_text(encoding="utf-8"))
    assert list(store) == list(spoken.GRID)
    for arm, stored in store.items():
        page = unpacked_model(stored)
        assert type(page).__name__ == arm
        assert metrics["runs"][arm][0]["parameters"] == sum(parameter.numel() for parameter in page.parameters())
        assert page.state_dict().keys() == spoken.network(arm).state_dict().keys()


def test_sounds_that_differ_are_counted_against_the_nearest_way(spoken):
    for one, other, wanted in (("", "", 0), ("ab", "", 2), ("", "abc", 3), ("abcd", "acd", 1), ("abc", "xbz", 2)):
        assert spoken.distance(one, other) == spoken.distance(other, one) == wanted
    words = [Spoken("read", (("R", "EH", "D"), ("R", "IY", "D"))), Spoken("at", (("AE", "T"),))]
    counts = spoken.faults(words, [("R", "IY", "D"), ("AE", "T", "S")])
    assert counts == [(0, 3), (1, 2)]
    assert spoken.told_of(counts) == {"words": 2, "exact": 0.5, "error": 0.2}


def test_a_batch_is_told_what_it_has_said(spoken):
    source, mask, told, wanted = spoken.batch([Spoken("at", (("AE", "T"),)), Spoken("b", (("B",),))])
    assert source.tolist() == [[0, 19], [1, 0]]
    assert mask.tolist() == [[True, True], [True, False]]
    assert told[0].tolist() == [spoken.MARK, *wanted[0, :2].tolist()]
    assert wanted[0, 2] == wanted[1, 1] == spoken.MARK
    assert wanted[1].tolist()[2:] == [-100]


def drawn_weights():
    generator = torch.Generator().manual_seed(0)
    sizes = [(len(one.sounds[0]) + 1, len(one.word)) for one in WORDS]
    return [torch.rand(*size, generator=generator, dtype=torch.float64).softmax(1) for size in sizes]


def test_looks_are_counted_as_by_hand(spoken):
    """thin by its letters in order: th stands for TH, both in one; of knight k, g and h are silent."""
    diagonal = torch.eye(4)
    found = spoken.looks([WORDS[1]], [diagonal])
    assert found["sounds"] == 3
    assert found["sure"] == 0  # i and n, of which each row sees the letter before
    assert found["pairs"] == {"sounds": 1, "right": 1, "mass": 1, "first": 1}
    assert found["forwards"] == 1
    assert found["back"] == 0
    later = spoken.looks([WORDS[1]], [diagonal], later=1)
    assert later["sure"] == later["mass"] == 1
    assert later["pairs"]["first"] == 0
    rows = torch.zeros(4, 6)
    rows[0, 0] = rows[1, 5] = rows[2, 2] = 1
    knight = spoken.looks([WORDS[0]], [rows])
    assert (knight["sure"], knight["silent letters"], knight["linked"]) == (0, 3, pytest.approx(1 / 3, abs=1e-5))
    assert knight["silent"] == pytest.approx(1 / 3, abs=1e-5)
    assert (knight["back"], knight["forwards"]) == (0.5, 0)


@pytest.mark.parametrize("later", [0, 1])
def test_the_error_is_that_of_the_library(spoken, later):
    errors = []
    for one, weights in zip(WORDS, drawn_weights(), strict=True):
        found = carriers(one.word, one.sounds[0])
        if found is not None:
            links = links_of(weights[later : later + len(found)])
            sure = {(t, *places) for t, places in enumerate(found) if len(places) == 1}
            errors.append(alignment_error_rate(links, sure, {(t, i) for t, places in enumerate(found) for i in places}))
    assert len(errors) == 3
    found = spoken.looks(WORDS, drawn_weights(), later)["error"]
    assert found == pytest.approx(pooled(errors).error, abs=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("arm", ["RNNsearch", "RNNencdec"])
def test_the_page_says_what_was_written_down(spoken, metrics, real, arm):
    """A part of the words that were not trained with, said again by what the page holds."""
    real(spoken.pronunciations.PACKAGE)
    items = [one for one in spoken.words().test if len(one.word) == 4]
    page = unpacked_model(json.loads(spoken.STORE.read_text(encoding="utf-8"))[arm]).float()
    found = spoken.told_of(spoken.faults(items, spoken.said(page, items)))
    written = metrics["runs"][arm][0]["in bytes"]["4"]
    assert found["words"] == written["words"]
    assert found["exact"] == pytest.approx(written["exact"], abs=0.003)
    assert found["error"] == pytest.approx(written["error"], abs=0.003)
