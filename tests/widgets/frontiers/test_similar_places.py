"""SimilarPlaces: its arithmetic, what its presets promise, and its page. test_widgets*.py has the rest."""

import math
import random

import pytest
import torch
from browser import frame
from drawn import arithmetic, draw, rows, text

from attnlib.widgets import SimilarPlaces
from attnlib.widgets.frontiers.similar_places import noisy
from attnlib.widgets.image import packed, unpacked
from attnlib.widgets.text import number, share


def similar(preset, **state):
    widget = SimilarPlaces(preset=preset)
    widget.update(**state)
    return widget


def weights(widget):
    return torch.tensor(widget.weights, dtype=torch.float64)


def image(height, width, seed=0):
    return packed(torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)).double())


def by_loops(taken, row, column, reach, bandwidth):
    """Non-local means at one place, from the definition: patches, distances, exponentials, a mean."""
    _, height, width = taken.shape
    steps = range(-reach, reach + 1)

    def patch(i, j):
        at = [(min(max(i + a, 0), height - 1), min(max(j + b, 0), width - 1)) for a in steps for b in steps]
        return [float(taken[c, i, j]) for i, j in at for c in range(3)]

    here = patch(row, column)
    found = {}
    for i in range(height):
        for j in range(width):
            gaps = [(a - b) ** 2 for a, b in zip(here, patch(i, j), strict=True)]
            found[i, j] = math.exp(-sum(gaps) / len(gaps) / bandwidth**2)
    total = sum(found.values())
    mean = [sum(f * float(taken[c, i, j]) for (i, j), f in found.items()) / total for c in range(3)]
    return [found[i, j] / total for i in range(height) for j in range(width)], mean


@pytest.mark.parametrize(("row", "column", "reach", "bandwidth"), [(0, 0, 1, 0.3), (7, 8, 0, 0.1), (4, 3, 2, 0.5)])
def test_the_block_s_gaussian_is_non_local_means(row, column, reach, bandwidth):
    picture = image(8, 9)
    taken = noisy(unpacked(picture), 0.1)
    state = {"row": row, "column": column, "reach": reach, "bandwidth": bandwidth, "noise": 0.1}
    widget = SimilarPlaces(pictures=[{"name": "noise", "image": picture}], picture=0, **state)
    wanted, mean = by_loops(taken, row, column, reach, bandwidth)
    assert weights(widget).flatten().tolist() == pytest.approx(wanted, abs=1e-9)
    assert widget.mean == pytest.approx(mean)
    assert widget.seen == pytest.approx(taken[:, row, column].tolist())


def test_noise_is_what_it_is_said_to_be():
    drawn = noisy(torch.zeros(3, 72, 96).double(), 1.0).flatten()
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    assert abs((drawn[1:] * drawn[:-1]).mean()) < 0.02


def test_preset_an_eye():
    widget = similar("An eye")
    found = weights(widget)
    apart = (torch.arange(72)[:, None] - widget.row).abs().maximum((torch.arange(96) - widget.column).abs())
    itself, *listed = (divmod(int(n), 96) for n in found.flatten().topk(6).indices)
    assert itself == (widget.row, widget.column)
    assert sum(i < 5 and j > 90 for i, j in listed) >= 2
    assert any(22 <= i < 42 and 30 <= j < 46 for i, j in listed)
    assert found[apart > 10].sum() > 0.8
    assert found[22:42, 30:46].max() > 10 * found[(apart >= 9) & (apart <= 11)].max()
    assert widget.off("mean") < widget.off("seen")


def test_preset_a_rocket():
    found = weights(similar("A rocket"))
    assert found[20:72, 48:53].sum() > 0.75
    assert found[30:60, 53:].sum() + found[30:60, :48].sum() < 0.1


def test_preset_a_pixel_alone():
    alone, eye = similar("A pixel alone"), similar("An eye")
    shown = [round(off, 2) for off in (alone.off("mean"), alone.off("seen"), eye.off("mean"))]
    assert shown == sorted(set(shown), reverse=True)
    cat = unpacked(alone.pictures[alone.picture]["image"])
    clean, taken = cat.flatten(1).T, noisy(cat, alone.noise).flatten(1).T
    found, at = weights(alone).flatten(), alone.row * cat.shape[2] + alone.column
    assert (found @ clean - clean[at]).min() > 0.1  # those that count are truly of another colour,
    assert (found @ clean - taken[at]).abs().max() < 0.1  # about that of the pixel with noise,
    assert (found @ (taken - clean)).abs().max() < 0.05  # and are not so by their own noise


def test_presets_too_narrow_and_too_wide():
    assert similar("Too narrow").count() < 1.1
    assert similar("An eye", noise=0.4).count() < 1.1
    one, other = (similar("Too wide", row=row, column=10) for row in (5, 60))
    assert one.mean == pytest.approx(other.mean, abs=0.02)
    assert one.count() > 0.98 * 72 * 96


def test_arithmetic_is_that_of_attnlib(record_property):
    rng, cases, widgets = random.Random(0), [], []
    for seed, (height, width) in enumerate([(8, 8), (9, 31), (17, 8), (23, 29), (37, 53)] * 3):
        state = {
            "row": rng.randrange(height), "column": rng.randrange(width), "reach": rng.randint(0, 4),
            "bandwidth": rng.choice([0.02, 0.1, 0.4, 2.0]), "noise": rng.choice([0.0, 0.1, 0.4]),
        }  # fmt: skip
        picture = image(height, width, seed)
        cases.append([picture, state])
        widgets.append(SimilarPlaces(pictures=[{"name": "noise", "image": picture}], picture=0, **state))
    made = arithmetic("similar_places", "bitmap")(
        """(cases) => cases.map(([picture, state]) => {
            const pixels = math.unpacked(picture);
            const taken = math.noisy(pixels, math.normal(pixels.rgb.length), state.noise);
            const { weights, mean } = math.similar(taken, state);
            return [...weights, ...mean];
        })""",
        cases,
    )  # fmt: skip
    gap = 0.0
    for page, widget in zip(made, widgets, strict=True):
        wanted = torch.cat([weights(widget).flatten(), torch.tensor(widget.mean, dtype=torch.float64)])
        gap = max(gap, float((torch.tensor(page, dtype=torch.float64) - wanted).abs().max()))
    record_property("measured", f"{gap:.1e} largest gap to attnlib  similar places")
    assert gap < 1e-6


def test_page_shows_the_numbers_of_attnlib():
    widgets = [similar(each["name"]) for each in SimilarPlaces().presets]
    widgets.append(SimilarPlaces(row=127, column=127))  # beyond the picture is its last place
    for widget, view in zip(widgets, draw(*widgets), strict=True):
        before, seen, mean = rows(view, "attnlib-similar-colours")
        for line, colour in ((before, widget.before), (seen, widget.seen), (mean, widget.mean)):
            assert line[1:4] == [number(value) for value in colour]
        assert [seen[-1], mean[-1]] == [number(widget.off("seen")), number(widget.off("mean"))]
        itself, *others = rows(view, "attnlib-similar-places")
        height, width = weights(widget).shape
        row, column = min(widget.row, height - 1), min(widget.column, width - 1)
        assert itself[1:] == [str(row), str(column), share(widget.weights[row][column])]
        for _, i, j, weight in others:
            assert weight == share(widget.weights[int(i)][int(j)])
        count = widget.count()
        assert f"as much as {number(count, 1 if count < 100 else 0)} places" in text(view)


@pytest.mark.browser
def test_the_place_moves_by_keys_and_by_a_press(show):
    page = show(SimilarPlaces())
    first = lambda: [  # noqa: E731
        int(page.locator(".attnlib-similar-places tbody tr").first.locator("td").nth(k).inner_text()) for k in (0, 1)
    ]
    assert first() == [34, 67]
    page.get_by_role("slider", name="Place").focus()
    for key in ("ArrowDown", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    frame(page)
    assert first() == [35, 62]
    board = page.locator(".attnlib-similar-board").first
    box = board.bounding_box()
    board.click(position={"x": box["width"] * 10.5 / 96, "y": box["height"] * 20.5 / 72})
    frame(page)
    assert first() == [20, 10]
    page.get_by_label("Bandwidth h").fill("200")  # the end of its scale
    frame(page)
    assert float(page.locator(".attnlib-similar-places tbody tr td").nth(2).inner_text().replace("< ", "")) <= 0.001
