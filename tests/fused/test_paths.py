"""Which path is taken: the fastest that can, with reasons told; and the switch to the reference."""

import pytest
import torch

from attnlib import attend, distributions, explain, scores
from attnlib.fused import reference_only
from attnlib.fused.paths import first


def test_the_first_path_that_can_is_taken_and_the_reasons_are_told() -> None:
    paths = {"a": lambda number: "too small" if number < 3 else number, "b": lambda number: -number}
    found = explain(first, "sum", paths, 2)
    assert first("sum", paths, 4) == 4
    assert first("sum", paths, 2) == -2
    assert str(found) == "sum: b\n  not a: too small"
    assert repr(found) == str(found)


def test_without_a_path_that_can_it_is_the_reference() -> None:
    paths = {"a": lambda: "no"}
    assert first("sum", paths) is None
    assert explain(first, "sum", paths).choices[0].path == "reference"
    assert str(explain(int)) == "there is one path only"


def test_what_is_raised_is_raised_and_nothing_stays_recorded() -> None:
    with pytest.raises(TypeError, match="query"):
        explain(attend, 1, 2)
    with pytest.raises(TypeError, match="function"):
        explain(3)
    assert len(explain(attend, torch.ones(2, 4), torch.ones(3, 4)).choices) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"score": scores.gaussian}, "the score is not a dot product"),
        ({"distribution": distributions.sparsemax}, "the distribution is not softmax"),
        ({"need_weights": True}, "the weights are asked for"),
        ({"scale": torch.tensor(0.5)}, None),
    ],
)
def test_attend_says_why_it_leaves_the_kernel(options, reason) -> None:
    found = explain(attend, torch.randn(2, 4), torch.randn(3, 4), **{"need_weights": False, **options}).choices[0]
    assert found.refused.get("kernel of torch") == reason
    assert (found.path == "kernel of torch") == (reason is None)


def test_the_reference_alone_on_request() -> None:
    query, key = torch.randn(2, 4), torch.randn(3, 4)
    with reference_only():
        found = explain(attend, query, key, need_weights=False)
        context = attend(query, key, need_weights=False).context
    assert found.choices[0].path == "reference"
    torch.testing.assert_close(context, attend(query, key, need_weights=False).context)
    assert explain(attend, query, key, need_weights=False).choices[0].path == "kernel of torch"
