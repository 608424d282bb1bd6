"""The museum's cards tell all of an exhibit, and the number that it has when they are made."""

import pytest

from attnlib.book.exhibits import card, code_of, linked, shelf, told
from attnlib.museum import EXHIBITS, find


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_a_card_tells_all(exhibit):
    made = card(exhibit)
    assert made.startswith("````{admonition} ")
    assert made.splitlines()[0].lower().endswith(f"{exhibit.name}: {told(exhibit.symptom())}".lower())
    for part in (exhibit.mechanism, exhibit.equation, exhibit.shows, exhibit.unseen, f"*{exhibit.breaks}*"):
        assert part in made
    assert all(linked(source) in made for source in exhibit.sources)
    assert ("code was not read" in made) == all(source.told for source in exhibit.sources)


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_fault_stands_under_its_word(exhibit):
    lines = code_of(exhibit).splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.strip() == "# the fault:")
    assert exhibit.fault in lines[at + 1]
    assert "\n".join(lines[:at] + lines[at + 1 :]) == exhibit.code


def test_a_source_that_was_read_is_linked_at_its_commit():
    source = find("tanh outside of the score").sources[0]
    assert linked(source).endswith("(https://github.com/songyouwei/ABSA-PyTorch/blob/26d89a7/layers/attention.py)")


def test_a_shelf_in_words():
    assert repr(shelf(EXHIBITS[:2])) == "2 exhibits"
