"""Each exhibit shows its number and breaks the property that it names; the same code without the fault breaks none."""

import math

import pytest

from attnlib.check import check, properties
from attnlib.check._property import PROPERTIES
from attnlib.museum import EXHIBITS, find

pytestmark = pytest.mark.usefixtures("unchecked")

BY_NAME = {exhibit.name: exhibit for exhibit in EXHIBITS}
# The number that shows the fault, and what it would be without.
SYMPTOMS = {
    "concat without tanh": 0,
    "a linear score": 0,
    "tanh outside of the score": 1,
    "tanh on the score": math.exp(1) / (math.exp(1) + 34 * math.exp(-1)),
    "the encoder never scored": 0,
    "uniform by a sum over features": 0,
    "dot that is general": 0.983,
    "a scale of another size": math.sqrt(8),
    "a cosine with zeros": 1,
    "softmax over one item": 7,
    "softmax over the queries": 1.875,
    "softmax over the batch": 4.346,
    "softmax over the heads": 27.19,
    "no softmax at all": 0.5225,
    "weights repeated like tiles": 8,
    "random weights that are dot products": 1.0,
    "a divisor left out": 7600.3,
    "exp without the maximum": math.nan,
    "a constant in the divisor": 2 * math.exp(-12) / (2 * math.exp(-12) + 1e-4),
    "masked energies set to nought": 0,
    "elu plus one": -6.25,
    "padding that is attended": 0.451,
    "a mask without effect": 0.451,
    "a mask the other way round": 1,
    "nought times NaN": 1,
    "a row without keys": 1,
    "weights that bring NaN": 1,
    "weights that drop the mask": 0.5265,
    "a constant that overflows": -65504,
    "hops that are averaged": 1,
    "a state carried on": 0.41145,
}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_check_names_the_property(name):
    exhibit = BY_NAME[name]
    report = exhibit.report()
    assert exhibit.breaks in report.failed, report
    assert exhibit.name in report[exhibit.breaks].resembles
    others = set(properties()) - {exhibit.breaks}
    right = check(exhibit.right, kind=exhibit.kind, sizes=exhibit.sizes, skip=others)
    assert right.passed == ["call", exhibit.breaks]


@pytest.mark.nightly
@pytest.mark.parametrize("name", BY_NAME)
def test_the_right_version_has_all_properties(name):
    assert BY_NAME[name].report(right=True).failed == []


@pytest.mark.parametrize("name", BY_NAME)
def test_the_number_that_shows_it(name):
    found = BY_NAME[name].symptom()
    assert found == pytest.approx(SYMPTOMS[name], rel=1e-3, abs=1e-9, nan_ok=True)


def test_every_exhibit_is_told_in_full():
    assert len(BY_NAME) == len(EXHIBITS) >= 20
    assert set(SYMPTOMS) == set(BY_NAME)
    for exhibit in EXHIBITS:
        assert exhibit.fault in exhibit.code
        assert exhibit.code.startswith(("def ", "class "))
        assert len(exhibit.code.splitlines()) <= 12
        assert exhibit.sources
        assert all("/" in source.repository for source in exhibit.sources)
        assert all(source.told or source.commit for source in exhibit.sources)
        assert exhibit.unseen.endswith(".")
        assert not exhibit.shows.endswith(".")


def test_what_the_check_refers_to_is_here():
    named = {name for prop in PROPERTIES.values() for name in prop.resembles}
    assert named == set(BY_NAME)


def test_a_source_in_words():
    opened, told = find("tanh outside of the score").sources[0], find("softmax over the queries").sources[0]
    assert str(opened) == "songyouwei/ABSA-PyTorch, layers/attention.py (26d89a7)"
    assert str(told) == "labmlai/annotated_deep_learning_paper_implementations#146, as its thread tells it"
    with pytest.raises(KeyError, match="no exhibit is called 'none'"):
        find("none")
