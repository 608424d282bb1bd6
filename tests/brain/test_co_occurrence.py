"""Saliency from co-occurrence histograms: against the loops, what stands out, any size, bad input."""

import functools
import itertools
import math
from unittest import mock

import pytest
import torch
from checks import close

from attnlib.brain import co_occurrence as module
from attnlib.brain.co_occurrence import blurred, co_occurrence, lab

# --- the oracles: plain loops from the equations ----------------------------------------------------------------------


def window(row, column, height, width, radius):
    for i, j in itertools.product(range(row - radius, row + radius + 1), range(column - radius, column + radius + 1)):
        if 0 <= i < height and 0 <= j < width:
            yield i, j


def co_occurrence_loop(channel, bins, radius):
    """The map of one channel, with both tables."""
    height, width = len(channel), len(channel[0])
    value = [[min(int(number * bins), bins - 1) for number in row] for row in channel]
    counts = [[0] * bins for _ in range(bins)]
    for i, j in itertools.product(range(height), range(width)):
        for k, m in window(i, j, height, width, radius):
            counts[value[i][j]][value[k][m]] += 1
    total = sum(map(sum, counts))
    table = [[count / total for count in row] for row in counts]
    mean = 1 / sum(number > 0 for row in table for number in row)
    inverted = [[mean - number if 0 < number <= mean else 0.0 for number in row] for row in table]
    rarity = [[0.0] * width for _ in range(height)]
    for i, j in itertools.product(range(height), range(width)):
        around = list(window(i, j, height, width, radius))
        rarity[i][j] = sum(inverted[value[i][j]][value[k][m]] for k, m in around) / len(around)
    return rarity, table, inverted


def lab_loop(red, green, blue):
    """One colour, by the formulas of the standards, with the white of D65."""

    def linear(part):
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    def root(ratio):
        return ratio ** (1 / 3) if ratio > 216 / 24389 else (24389 / 27 * ratio + 16) / 116

    r, g, b = linear(red), linear(green), linear(blue)
    x = root((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / (0.4124564 + 0.3575761 + 0.1804375))
    y = root((0.2126729 * r + 0.7151522 * g + 0.0721750 * b) / (0.2126729 + 0.7151522 + 0.0721750))
    z = root((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / (0.0193339 + 0.1191920 + 0.9503041))
    return (116 * y - 16) / 100, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255


BATCH, CHANNEL, HEIGHT, WIDTH, BINS = 2, 3, 7, 11, 5


def an_image(*shape, seed=0):
    """Values that cluster, 0 and 1 among them, so that pairs occur often and seldom."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(shape or (BATCH, CHANNEL, HEIGHT, WIDTH), generator=generator, dtype=torch.float64) ** 3
    image.view(-1)[:2] = torch.tensor([0.0, 1.0])
    return image


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


@functools.cache
def wanted_channel(b, c, bins, radius):
    """The loop's answer, made once for all that are compared with it."""
    parts = co_occurrence_loop(an_image()[b, c].tolist(), bins, radius)
    return [torch.tensor(part, dtype=torch.float64) for part in parts]


def check_value(function):
    image = an_image()
    for bins, radius in ((BINS, 1), (BINS, 2), (2, 1), (17, 0), (3, 20)):
        found = function(image, bins=bins, radius=radius)
        for b in range(BATCH):
            wanted = [wanted_channel(b, c, bins, radius) for c in range(CHANNEL)]
            for c in range(CHANNEL):
                for got, want in zip((found.channels, found.histogram, found.inverted), wanted[c], strict=True):
                    close(got[b, c], want)
            close(found.saliency[b], sum(want[0] for want in wanted))


def check_rare_stands_out(function):
    """The one bright pixel of a dark field, wherever it stands, and the edge of a half-bright field."""
    for row, column in ((0, 0), (3, 5), (6, 10)):
        image = torch.zeros(1, HEIGHT, WIDTH)
        image[0, row, column] = 1.0
        saliency = function(image, bins=BINS, radius=1).saliency
        assert int(saliency.argmax()) == row * WIDTH + column
        assert (saliency > 0).sum() <= 9
    halves = (torch.arange(WIDTH) >= 5).float().expand(1, HEIGHT, WIDTH)
    saliency = function(halves, bins=BINS, radius=1).saliency
    assert (saliency[:, [4, 5]] > 0).all(), "an edge is a rare pair"
    assert (saliency[:, [0, 1, 2, 3, 6, 7, 8, 9, 10]] == 0).all(), "what is common counts nothing, at borders neither"


CHECKS = [check_value, check_rare_stands_out]


@pytest.mark.parametrize("check", CHECKS)
def test_co_occurrence(check):
    check(co_occurrence)


# --- known wrong versions ---------------------------------------------------------------------------------------------


def with_table(change):
    """Rarity read from another table: what the inverted one was, changed."""

    def mutant(image, *, bins, radius):
        right = co_occurrence(image, bins=bins, radius=radius)
        table = change(right.histogram)
        value = (image * bins).long().clamp(max=bins - 1)
        rarity = torch.zeros_like(image)
        height, width = image.shape[-2:]
        for at in itertools.product(*map(range, image.shape)):
            around = list(window(at[-2], at[-1], height, width, radius))
            for i, j in around:
                rarity[at] += table[at[:-2]][value[at], value[at[:-2]][i, j]] / len(around)
        return right._replace(saliency=rarity.sum(-3), channels=rarity, inverted=table)

    return mutant


def mean_of(histogram):
    return 1 / (histogram > 0).sum((-2, -1), keepdim=True)


def summed(image, *, bins, radius):
    """The sum over the window times a constant: borders get less."""
    right = co_occurrence(image, bins=bins, radius=radius)
    room = torch.nn.functional.pad(torch.ones_like(image), (radius,) * 4)
    numbers = room.unfold(-2, 2 * radius + 1, 1).unfold(-2, 2 * radius + 1, 1).sum((-2, -1))
    channels = right.channels * numbers / (2 * radius + 1) ** 2
    return right._replace(channels=channels, saliency=channels.sum(-3))


def without_itself(image, *, bins, radius):
    def others(height, width, radius):
        return [pair for pair in _neighbours(height, width, radius) if pair[0] != pair[1]]

    _neighbours = module._neighbours
    with mock.patch.object(module, "_neighbours", others):
        return co_occurrence(image, bins=bins, radius=radius)


def one_table(image, *, bins, radius):
    """The images of a batch laid side by side, far enough apart, and counted together."""
    right = co_occurrence(image, bins=bins, radius=radius)
    together = co_occurrence(torch.cat([*image], -1), bins=bins, radius=0).histogram
    return right._replace(histogram=right.histogram / 2 + together / 2)


MUTANTS = {
    "not inverted": with_table(lambda histogram: histogram),
    "one minus, not thresholded": with_table(lambda histogram: 1 - histogram),
    "pairs that never occur count most": with_table(lambda histogram: (mean_of(histogram) - histogram).clamp(min=0)),
    "the mean over all pairs, occurring or not": with_table(
        lambda histogram: torch.where(
            histogram > 0, (1 / histogram[0].numel() * len(histogram[0]) - histogram).clamp(min=0), 0
        )
    ),
    "a sum, so that borders are common": summed,
    "a pixel does not count itself": without_itself,
    "channels averaged": lambda image, **options: co_occurrence(image, **options)._replace(
        saliency=co_occurrence(image, **options).channels.mean(-3)
    ),
    "one table for the whole batch": one_table,
    "a bin too few": lambda image, *, bins, radius: co_occurrence(image * (bins - 1) / bins, bins=bins, radius=radius),
}


@pytest.mark.parametrize("mutant", [*MUTANTS.values()], ids=MUTANTS)
def test_mutants_are_rejected(mutant):
    with pytest.raises(AssertionError):
        check_value(mutant)


def test_a_mutant_at_the_borders_is_rejected_by_what_stands_out():
    with pytest.raises(AssertionError):
        check_rare_stands_out(with_table(lambda histogram: 1 - histogram))


# --- properties -------------------------------------------------------------------------------------------------------


def test_a_batch_is_its_images_one_by_one():
    image = an_image(2, 3, 2, HEIGHT, WIDTH)
    found = co_occurrence(image, bins=BINS)
    assert found.saliency.shape == (2, 3, HEIGHT, WIDTH)
    for i, j in itertools.product(range(2), range(3)):
        for got, want in zip(found, co_occurrence(image[i, j], bins=BINS), strict=True):
            close(got[i, j], want)


def test_turning_the_image_turns_the_map():
    image = an_image()
    found = co_occurrence(image, bins=BINS, radius=2).saliency
    for turned in (lambda part: part.flip(-1), lambda part: part.flip(-2), lambda part: part.mT):
        close(co_occurrence(turned(image), bins=BINS, radius=2).saliency, turned(found))


def test_values_may_be_renamed():
    """The histogram knows which values stand together, not how far apart they are."""
    image = an_image()
    swapped = (
        torch.tensor([3.0, 0.0, 4.0, 1.0, 2.0], dtype=torch.float64)[(image * BINS).long().clamp(max=BINS - 1)] + 0.5
    ) / BINS
    close(co_occurrence(swapped, bins=BINS).saliency, co_occurrence(image, bins=BINS).saliency)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 13), (3, 2, 1), (5, 7, 11)])
def test_any_size_and_any_number_of_channels(shape):
    found = co_occurrence(an_image(*shape) if math.prod(shape) > 1 else torch.full(shape, 0.5), radius=3)
    assert found.saliency.shape == shape[1:]
    assert found.saliency.isfinite().all()
    assert (found.saliency >= 0).all()


def test_a_field_of_one_value_has_nothing_salient():
    assert (co_occurrence(torch.full((3, HEIGHT, WIDTH), 0.3)).saliency == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_each_device_and_precision(device, dtype):
    image = an_image().to(device, dtype)
    found = co_occurrence(image, bins=BINS)
    assert found.saliency.dtype == dtype
    assert found.saliency.device.type == device.type
    wanted = co_occurrence(image.double().cpu(), bins=BINS)
    torch.testing.assert_close(found.saliency.double().cpu(), wanted.saliency, rtol=1e-2, atol=1e-4)


def test_nothing_has_a_gradient_and_nothing_is_changed():
    image = an_image().requires_grad_()
    before = image.detach().clone()
    assert not co_occurrence(image).saliency.requires_grad
    assert torch.equal(image.detach(), before)


# --- Lab and smoothing ------------------------------------------------------------------------------------------------


def test_lab_is_that_of_the_loop(device):
    image = an_image(2, 3, HEIGHT, WIDTH)
    image[0, :, 0, :3] = torch.eye(3)  # the corners of the colours
    found = lab(image.to(device)).cpu()
    for b, i, j in itertools.product(range(2), range(HEIGHT), range(WIDTH)):
        close(found[b, :, i, j], torch.tensor(lab_loop(*image[b, :, i, j].tolist()), dtype=torch.float64))
    grey = lab(torch.linspace(0, 1, 13, dtype=torch.float64).expand(3, 1, 13))
    close(grey[1:], torch.full((2, 1, 13), 128 / 255, dtype=torch.float64))
    assert (grey[0, 0].diff() > 0).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_lab_has_its_gradient():
    image = (0.1 + 0.8 * an_image(3, 2, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lab, image)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3])
def test_blurring_is_that_of_the_loop(sigma):
    field = an_image(HEIGHT, WIDTH)
    reach = math.ceil(3 * sigma)
    weight = {d: math.exp(-(d**2) / (2 * sigma**2)) for d in range(-reach, reach + 1)}
    total = sum(weight.values()) ** 2
    wanted = torch.zeros_like(field)
    for i, j, di, dj in itertools.product(range(HEIGHT), range(WIDTH), weight, weight):
        held = field[min(max(i + di, 0), HEIGHT - 1), min(max(j + dj, 0), WIDTH - 1)]
        wanted[i, j] += weight[di] * weight[dj] / total * held
    close(blurred(field, sigma), wanted)
    close(blurred(torch.stack([field, field + 1]), sigma)[1], wanted + 1)
    assert torch.autograd.gradcheck(lambda part: blurred(part, sigma), an_image(3, 5).requires_grad_())


def test_no_blurring_changes_nothing():
    field = an_image(HEIGHT, WIDTH)
    assert torch.equal(blurred(field, 0), field)
    close(blurred(torch.full((3, 5), 0.7, dtype=torch.float64), 9.0), torch.full((3, 5), 0.7, dtype=torch.float64))


# --- bad input --------------------------------------------------------------------------------------------------------

BAD = {
    "bytes": (lambda: co_occurrence(torch.zeros(1, 3, 3, dtype=torch.uint8)), TypeError, "divide whole numbers"),
    "whole numbers": (
        lambda: co_occurrence(torch.zeros(1, 3, 3, dtype=torch.long)),
        TypeError,
        "got dtype torch.int64",
    ),
    "no tensor": (lambda: co_occurrence([[0.5]]), TypeError, "image must be a tensor, got list"),
    "no channel": (
        lambda: co_occurrence(torch.zeros(3, 3)),
        ValueError,
        r"channel, height, width\).*got shape \(3, 3\)",
    ),
    "nothing": (lambda: co_occurrence(torch.zeros(1, 0, 3)), ValueError, "at least one of each"),
    "NaN": (lambda: co_occurrence(torch.full((1, 3, 3), math.nan)), ValueError, "finite, got NaN"),
    "too bright": (lambda: co_occurrence(torch.full((1, 3, 3), 1.5)), ValueError, "from 0 to 1, got 1.5 to 1.5"),
    "no bins": (lambda: co_occurrence(torch.zeros(1, 3, 3), bins=0), ValueError, "bins must be at least 1, got 0"),
    "half a bin": (lambda: co_occurrence(torch.zeros(1, 3, 3), bins=2.5), TypeError, "bins must be a whole number"),
    "a radius below 0": (
        lambda: co_occurrence(torch.zeros(1, 3, 3), radius=-1),
        ValueError,
        "radius must be at least 0",
    ),
    "Lab of one channel": (lambda: lab(torch.zeros(1, 3, 3)), ValueError, "3 channels"),
    "blurred by less than nothing": (lambda: blurred(torch.zeros(3, 3), -1.0), ValueError, "sigma must be"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "kind", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
