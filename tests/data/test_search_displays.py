"""Displays for visual search: one target, of the kind it should be, at the place that is said; known wrong versions."""

import itertools

import pytest
import torch

from attnlib.data.search_displays import BACKGROUND, COLOURS, conjunction, odd_colour, odd_orientation

MAKERS = {"colour": odd_colour, "orientation": odd_orientation, "conjunction": conjunction}
every_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def drawn(display):
    """The items as they are read off the image: boxes of what is not background, with their colour."""
    image = display.image
    lit = (image != BACKGROUND).any(0)
    assert int(lit.sum()) == 64 * len(display.items), "no two bars touch, and each lies within the image"
    found = []
    for item in display.items:
        box = image[:, item.row - 8 : item.row + 8, item.column - 8 : item.column + 8]
        rows, columns = (box != BACKGROUND).any(0).nonzero(as_tuple=True)
        colour = box[:, 8, 8].tolist()
        name = next(name for name, value in COLOURS.items() if torch.tensor(value).tolist() == colour)
        tall, wide = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        found.append((name, 90 if tall > wide else 0))
    return found


def check_display(make, odd):
    """The image shows what the items say, and one item alone is as the target should be."""
    for n_items, seed in itertools.product((2, 5, 16, 64), range(5)):
        display = make(n_items, seed=seed)
        kinds = drawn(display)
        assert len(kinds) == n_items
        assert kinds == [(item.colour, item.degrees) for item in display.items]
        target = kinds[display.target]
        assert target == odd
        assert kinds.count(target) == 1
        assert display.place == (display.items[display.target].row, display.items[display.target].column)


ODD = {"colour": ("green", 90), "orientation": ("red", 0), "conjunction": ("green", 0)}


@pytest.mark.parametrize("name", MAKERS)
def test_displays(name):
    check_display(MAKERS[name], ODD[name])


MUTANTS = {
    "items out of order": lambda n, seed: odd_colour(n, seed=seed)._replace(items=odd_colour(n, seed=seed).items[::-1]),
    "the target's place is another's": lambda n, seed: odd_colour(n, seed=seed)._replace(
        target=(odd_colour(n, seed=seed).target + 1) % n
    ),
    "no target": lambda n, seed: odd_colour(n, seed=seed, present=False)._replace(target=0),
    "another display": lambda n, seed: odd_colour(n, seed=seed)._replace(image=odd_colour(n, seed=seed + 1).image),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_are_rejected(mutant):
    with pytest.raises((AssertionError, StopIteration)):
        check_display(mutant, ("green", 90))


def test_a_feature_alone_tells_the_target_unless_it_is_a_conjunction():
    for n_items in (3, 8, 33):
        kinds = drawn(conjunction(n_items))
        colours, angles = zip(*kinds, strict=True)
        assert n_items // 2 <= colours.count("green") <= n_items // 2 + 1
        assert n_items // 2 <= angles.count(0) <= n_items // 2 + 1
        assert {angle for _, angle in drawn(odd_colour(n_items))} == {90}
        assert {colour for colour, _ in drawn(odd_orientation(n_items))} == {"red"}


@every_maker
def test_absent(make):
    display = make(9, present=False)
    assert display.target is None
    assert display.place is None
    assert len(display.items) == 9


@every_maker
def test_seeds(make):
    first = make(12, seed=3)
    assert torch.equal(first.image, make(12, seed=3).image)
    assert first.items == make(12, seed=3).items
    assert first.items != make(12, seed=4).items
    places = {make(4, seed=seed).place for seed in range(40)}
    assert len(places) > 30, "the target may stand anywhere"
    assert len({make(4, seed=seed).target for seed in range(40)}) == 4, "and anywhere in the list"


def test_both_colours_have_the_same_intensity():
    assert len({round(sum(colour), 9) for colour in COLOURS.values()}) == 1


def test_bars_are_as_large_in_any_image():
    for size in (32, 100, 256):
        display = odd_colour(1, size=size)
        assert display.image.shape == (3, size, size)
        assert drawn(display) == [("green", 90)]


@every_maker
def test_what_does_not_fit_is_named(make):
    for n_items in (0, 65):
        with pytest.raises(ValueError, match=r"n_items must be from 1 to 64 in an image of 256 by 256"):
            make(n_items)
    with pytest.raises(ValueError, match="n_items must be from 1 to 0"):
        make(1, size=31)
