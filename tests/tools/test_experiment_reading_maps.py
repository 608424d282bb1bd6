"""The maps of MapReader are those of the book's networks, and what is told of sharp rows is of this script."""

import json

import pytest
import torch
from test_experiments import check_the_code, held_out_pairs, read, script
from torch.testing import assert_close

from attnlib.widgets.map_reader import MAPS


@pytest.fixture(scope="module")
def reading():
    return script("reading_maps")


def test_results_are_of_this_script(reading):
    metrics = json.loads((reading.RESULTS / "metrics.json").read_text("utf-8"))
    check_the_code(metrics, "reading_maps")
    assert metrics["verses"] == len(metrics["words"])
    for name in ("sharp", "sure", "right", "linked"):
        assert len(metrics[name]) == sum(metrics["words"])


def test_the_maps_come_out_again(reading):
    made = reading.maps()
    assert len(made) == len(MAPS)
    for one, other in zip(made, MAPS, strict=True):
        for part in ("columns", "links", "mask", "glosses"):
            assert one[part] == other[part]
        assert [row.split()[0] for row in one["rows"]] == [row.split()[0] for row in other["rows"]]
        for mine, kept in zip(one["matrices"], other["matrices"], strict=True):
            assert mine["name"] == kept["name"]
            assert_close(torch.tensor(mine["weights"]), torch.tensor(kept["weights"]), atol=2e-3, rtol=0)


def test_rows_are_those_that_the_page_on_text_keeps(reading):
    """On the verses that are kept: the largest weights, and that a verse is judged word by word."""
    held, (model, words) = read("heldout.json"), reading.kept_model()
    for verse, pair in list(zip(held["verses"], held_out_pairs(held), strict=True))[:4]:
        rows = reading.rows_of(model, pair, words)
        weights = torch.tensor(verse["weights"])[:-1]
        assert_close(rows["sharp"], weights.amax(-1), atol=2e-3, rtol=0)
        linked = [[t, weights[t].argmax().item()] in verse["links"] for t in range(len(weights))]
        assert rows["linked"].tolist() == linked
    found = reading.measured(model, held_out_pairs(held)[:2], words)
    assert found["words"] == [len(verse["target"]) for verse in held["verses"][:2]]
    assert {*found["right"]} <= {"0", "1"}
