"""Centre and surround: against plain loops from the paper, peaks, colours, sizes, weights, known wrong versions."""

import functools
import itertools
import math
from unittest import mock

import pytest
import torch
from checks import close

from attnlib.brain import _features, across_scales
from attnlib.brain import centre_surround as module
from attnlib.brain.across_scales import Scales, enlarged, normalise, scales
from attnlib.brain.centre_surround import WEIGHTS, centre_surround

# --- the oracle: plain loops from the paper, on lists of rows ---------------------------------------------------------

KERNEL = [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16]


def held(field, i, j):
    return field[min(max(i, 0), len(field) - 1)][min(max(j, 0), len(field[0]) - 1)]


def each(function, *fields):
    return [[function(*numbers) for numbers in zip(*lines, strict=True)] for lines in zip(*fields, strict=True)]


def halve_loop(field):
    """Blurred both ways, and every second pixel kept."""
    return [
        [
            sum(KERNEL[a] * KERNEL[b] * held(field, i + a - 2, j + b - 2) for a in range(5) for b in range(5))
            for j in range(0, len(field[0]), 2)
        ]
        for i in range(0, len(field), 2)
    ]


def pyramid_loop(field, n_levels):
    levels = [field]
    for _ in range(n_levels - 1):
        levels.append(halve_loop(levels[-1]))
    return levels


def gabor_loop(field, degrees):
    """Energy of a cosine and a sine wave of 7 pixels in a Gaussian of 7 / 3, 9 by 9 pixels, across a line."""
    angle, places = math.radians(degrees), list(itertools.product(range(-4, 5), repeat=2))
    energy = [[0.0] * len(field[0]) for _ in field]
    for wave in (math.cos, math.sin):
        bump = {(i, j): math.exp(-(i * i + j * j) / (2 * (7 / 3) ** 2)) for i, j in places}
        weight = {}
        for i, j in places:
            weight[i, j] = bump[i, j] * wave(2 * math.pi * (j * math.sin(angle) + i * math.cos(angle)) / 7)
        mean = sum(weight.values()) / sum(bump.values())
        weight = {place: weight[place] - mean * bump[place] for place in places}
        length = math.sqrt(sum(number**2 for number in weight.values()))
        for i, j in itertools.product(range(len(field)), range(len(field[0]))):
            energy[i][j] += sum(weight[a, b] / length * held(field, i + a, j + b) for a, b in places) ** 2
    return each(math.sqrt, energy)


@functools.cache
def gabor_of(field, degrees):
    return gabor_loop(field, degrees)


def gabor_once(field, degrees):
    """The same, made once for all that are compared with it."""
    return gabor_of(tuple(map(tuple, field)), degrees)


def colours_loop(red, green, blue):
    """Red less green, and blue less yellow, of all pixels brighter than a tenth of the brightest."""
    intensity = each(lambda r, g, b: (r + g + b) / 3, red, green, blue)
    most = max(map(max, intensity))

    def opponent(r, g, b, i):
        if i <= most / 10:
            return 0.0, 0.0
        r, g, b = r / i, g / i, b / i
        pure = r - (g + b) / 2, g - (r + b) / 2, b - (r + g) / 2, (r + g) / 2 - abs(r - g) / 2 - b
        wide_red, wide_green, wide_blue, yellow = (max(part, 0.0) for part in pure)
        return wide_red - wide_green, wide_blue - yellow

    pairs = each(opponent, red, green, blue, intensity)
    return each(lambda pair: pair[0], pairs), each(lambda pair: pair[1], pairs)


def at_loop(field, factor, height, width):
    """The coarse field at the places of a fine one, bilinear."""

    def along(line, place):
        before = min(int(place), len(line) - 1)
        after = min(before + 1, len(line) - 1)
        return line[before] + (place - before) * (line[after] - line[before]) if after > before else line[before]

    wide = [[along(line, j / factor) for j in range(width)] for line in field]
    columns = [[along(list(column), i / factor) for i in range(height)] for column in zip(*wide, strict=True)]
    return [list(line) for line in zip(*columns, strict=True)]


def normalise_loop(field):
    """Scaled from 0 to 1, times one less the mean of the other local maxima, squared."""
    low, high = min(map(min, field)), max(map(max, field))
    if high == low:
        return each(lambda number: 0.0, field)
    scaled = each(lambda number: (number - low) / (high - low), field)
    maxima = []
    for i, j in itertools.product(range(len(field)), range(len(field[0]))):
        good = scaled[i][j] > 0.1
        for a, b in itertools.product((-1, 0, 1), repeat=2):
            if (a, b) == (0, 0) or not (0 <= i + a < len(field) and 0 <= j + b < len(field[0])):
                continue
            other = scaled[i + a][j + b]
            good = good and (scaled[i][j] > other if (a, b) < (0, 0) else scaled[i][j] >= other)
        if good:
            maxima.append(scaled[i][j])
    maxima.remove(1.0)
    mean = sum(maxima) / len(maxima) if maxima else 0.0
    return each(lambda number: number * (1 - mean) ** 2, scaled)


def conspicuity_loop(levels, pairs, level, printed=False):
    total = None
    for c, s in pairs:
        coarse = at_loop(levels[s], 2 ** (s - c), len(levels[c]), len(levels[c][0]))
        found = each(lambda a, b: abs(a + b) if printed else abs(a - b), levels[c], coarse)
        found = normalise_loop(each(lambda d: d if d > 64 * 2**-52 else 0.0, found))
        for _ in range(level - c):
            found = halve_loop(found)
        total = found if total is None else each(lambda a, b: a + b, total, found)
    return total


def centre_surround_loop(image, pairs, level, weights=WEIGHTS, printed=False):
    red, green, blue = image if len(image) == 3 else image * 3
    n_levels = 1 + max(s for _, s in pairs)
    intensity = pyramid_loop(each(lambda r, g, b: (r + g + b) / 3, red, green, blue), n_levels)
    plus = functools.partial(each, lambda a, b: a + b)

    def times(number, field):
        return each(lambda entry: number * entry, field)

    maps = {"intensity": conspicuity_loop(intensity, pairs, level)}
    for name, field in zip(("red_green", "blue_yellow"), colours_loop(red, green, blue), strict=True):
        maps[name] = conspicuity_loop(pyramid_loop(field, n_levels), pairs, level, printed)
    maps["colour"] = plus(
        times(weights["red-green"], maps["red_green"]), times(weights["blue-yellow"], maps["blue_yellow"])
    )
    maps["angles"], total = [], None
    for name in ("0", "45", "90", "135"):
        found = conspicuity_loop([gabor_once(part, int(name)) for part in intensity], pairs, level)
        maps["angles"].append(found)
        term = times(weights[name], normalise_loop(found))
        total = term if total is None else plus(total, term)
    maps["orientation"] = total
    maps["saliency"] = functools.reduce(
        plus, [times(weights[name], normalise_loop(maps[name])) for name in ("intensity", "colour", "orientation")]
    )
    return maps


HEIGHT, WIDTH = 17, 23
PAIRS, LEVEL = ((0, 2), (0, 3), (1, 3), (1, 4)), 1
TASK = {"intensity": 0.3, "colour": 1.7, "red-green": 0.2, "45": 3.0, "0": 0.0}


def an_image(*shape, seed=0):
    """Patches of colour with dark ones among them, and some noise."""
    shape = shape or (3, HEIGHT, WIDTH)
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((*shape[:-2], 5, 7), generator=generator, dtype=torch.float64) ** 2
    rows, columns = (torch.arange(size) * n // size for size, n in zip(shape[-2:], (5, 7), strict=True))
    noise = torch.rand(shape, generator=generator, dtype=torch.float64)
    image = 0.9 * coarse[..., rows, :][..., columns] + 0.1 * noise
    return image * (1 - 0.95 * (torch.arange(shape[-1]) % 11 == 3))


@functools.cache
def wanted(channels=3, printed=False, task=False):
    image = an_image()[:channels]
    weights = WEIGHTS | (TASK if task else {})
    return centre_surround_loop(image.tolist(), PAIRS, LEVEL, weights, printed)


# --- checks: what the right function satisfies and each mutant below must not -----------------------------------------


def check_value(function, **options):
    loop = wanted(printed=options.get("as_printed", False), task="weights" in options)
    found = function(an_image(), at=Scales(PAIRS, LEVEL), **options)
    assert found.level == LEVEL
    for name in loop:
        close(getattr(found, name), torch.tensor(loop[name], dtype=torch.float64), rtol=1e-8)


FIELDS = {
    "random": an_image(1, 7, 11)[0].tolist(),
    "two peaks": [[0.0, 4.0, 0.0, 2.0, 0.0]],
    "one peak": [[0.0, 0.5, 1.0, 3.0, 1.0, 0.0]],
    "two equal peaks": [[0.0, 4.0, 0.0, 4.0, 0.0]],
    "a plateau is one peak": [[0.0, 4.0, 4.0, 0.0], [0.0, 4.0, 4.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 2.0]],
    "peaks below a tenth": [[0.0, 4.0, 0.0, 0.2, 0.0, 0.3, 0.0, 2.0]],
    "negative": [[-3.0, -1.0, -2.0, -1.5, -3.0]],
    "flat": [[0.7, 0.7], [0.7, 0.7]],
    "one pixel": [[0.7]],
}


def check_normalise(function):
    for field in FIELDS.values():
        close(
            function(torch.tensor(field, dtype=torch.float64)), torch.tensor(normalise_loop(field), dtype=torch.float64)
        )


def check_one_peak_beats_many(function):
    """A lone peak keeps its height, four like it lose theirs: what the operator is for."""
    lone, many = torch.zeros(9, 9), torch.zeros(9, 9)
    lone[4, 4] = 1.0
    many[[1, 1, 7, 7], [1, 7, 1, 7]] = 1.0
    assert function(lone).max() == 1
    assert function(many).max() == 0


@pytest.mark.parametrize("options", [{}, {"as_printed": True}, {"weights": TASK}], ids=["plain", "printed", "task"])
def test_centre_surround_is_that_of_the_loops(options):
    check_value(centre_surround, **options)


@pytest.mark.parametrize("check", [check_normalise, check_one_peak_beats_many])
def test_normalise(check):
    check(normalise)


def test_one_channel_has_no_colour():
    found = centre_surround(an_image()[:1], at=Scales(PAIRS, LEVEL))
    loop = wanted(channels=1)
    close(found.saliency, torch.tensor(loop["saliency"], dtype=torch.float64), rtol=1e-8)
    assert (found.colour == 0).all()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def normalised_by(mean, power=2, scaled=True):
    """The operator with another mean of its maxima: of the scaled map and where it has its peaks."""

    def mutant(maps):
        low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
        part = torch.where(high > low, (maps - low) / torch.where(high > low, high - low, 1), 0)
        peaks = across_scales._peaks(part)
        return (1 - mean(part, peaks)) ** power * (part if scaled else maps)

    return mutant


def of_others(part, peaks):
    count = peaks.sum((-2, -1), keepdim=True)
    return ((part * peaks).sum((-2, -1), keepdim=True) - 1).clamp(min=0) / (count - 1).clamp(min=1)


def of_all_peaks(part, peaks):
    return (part * peaks).sum((-2, -1), keepdim=True) / peaks.sum((-2, -1), keepdim=True).clamp(min=1)


def any_plateau(scaled):
    around = torch.nn.functional.max_pool2d(scaled.reshape(-1, 1, *scaled.shape[-2:]), 3, 1, 1)
    return (scaled == around.reshape(scaled.shape)) & (scaled > 0.1)


def with_plateaus(maps):
    with mock.patch.object(across_scales, "_peaks", any_plateau):
        return normalise(maps)


def without_threshold(maps):
    peaks = across_scales._peaks
    with mock.patch.object(across_scales, "_peaks", lambda scaled: peaks(scaled + 0.1)):
        return normalise(maps)


NORMALISE_MUTANTS = {
    "the mean of all values": normalised_by(lambda part, peaks: part.mean((-2, -1), keepdim=True)),
    "the global maximum counted among the others": normalised_by(of_all_peaks),
    "not squared": normalised_by(of_others, power=1),
    "not scaled": normalised_by(of_others, scaled=False),
    "each pixel of a plateau a peak": with_plateaus,
    "small ripples count": without_threshold,
}


@pytest.mark.parametrize("mutant", NORMALISE_MUTANTS.values(), ids=NORMALISE_MUTANTS)
def test_mutants_of_the_operator_are_rejected(mutant):
    with pytest.raises(AssertionError):
        check_normalise(mutant)


def resized(maps, level, size):
    """As routines resize that lay the middles of pixels over each other."""
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    found = torch.nn.functional.interpolate(flat, size, mode="bilinear", align_corners=False)
    return found.reshape(*maps.shape[:-2], *size)


def coupled(image):
    """Colours that are not divided by the intensity."""
    red, green, blue = image.unbind(-3)
    yellow = (red + green) / 2 - (red - green).abs() / 2 - blue
    parts = red - (green + blue) / 2, green - (red + blue) / 2, blue - (red + green) / 2, yellow
    return tuple(part.clamp(min=0) for part in parts)


def in_the_dark(image):
    """Hue where it is too dark to be seen, too."""
    return coupled(image / image.mean(-3, keepdim=True).clamp(min=1e-9))


def one_phase(intensity):
    filters = _features._gabor(torch.float64, torch.device("cpu"))[::2]
    return tuple(part.abs() for part in _features.filtered(intensity, filters).unbind(-3))


VALUE_MUTANTS = {
    "middles of pixels laid over each other": ("enlarged", resized),
    "hue not decoupled from intensity": ("colours", coupled),
    "hue in the dark": ("colours", in_the_dark),
    "one phase of the Gabor filters": ("orientations", one_phase),
    "angles turned": ("orientations", lambda part: _features.orientations(part)[::-1]),
    "signed differences": ("differences", lambda centre, surround: (centre - surround).clamp(min=0)),
    "plain sum": ("normalise", lambda maps: maps),
}


@pytest.mark.parametrize(("name", "wrong"), VALUE_MUTANTS.values(), ids=VALUE_MUTANTS)
def test_mutants_are_rejected(name, wrong):
    with mock.patch.object(module, name, wrong), pytest.raises(AssertionError):
        check_value(centre_surround)


def test_the_printed_colours_are_another_function():
    with pytest.raises(AssertionError):
        check_value(functools.partial(centre_surround, as_printed=True), weights=TASK)


# --- what it is for ---------------------------------------------------------------------------------------------------


def winner(found):
    row, column = divmod(int(found.saliency.argmax()), found.saliency.shape[-1])
    return row * 2**found.level, column * 2**found.level


def bars(odd, *, colour=False):
    """Sixteen bars on black, of which one is odd: in colour, or lying where the others stand."""
    image = torch.zeros(3, 128, 128)
    for item, (i, j) in enumerate(itertools.product(range(4), repeat=2)):
        row, column = 16 + 32 * i, 16 + 32 * j
        tall, wide = (2, 8) if item == odd and not colour else (8, 2)
        image[int(item == odd and colour), row - tall : row + tall, column - wide : column + wide] = 0.8
    return image


LYING = {"intensity": 0.0, "colour": 0.0, "45": 0.0, "90": 0.0, "135": 0.0}  # a task: look for what lies


@pytest.mark.parametrize("odd", [0, 6, 13])
@pytest.mark.parametrize("colour", [True, False])
def test_the_map_of_its_feature_finds_the_odd_one(odd, colour):
    image = bars(odd, colour=colour)
    task = {"intensity": 0.0, "orientation": 0.0} if colour else LYING
    row, column = winner(centre_surround(image, weights=task))
    assert abs(row - 16 - 32 * (odd // 4)) <= 8
    assert abs(column - 16 - 32 * (odd % 4)) <= 8


def test_as_printed_an_even_field_has_colour_and_a_spot_on_its_opponent_has_none():
    image = torch.empty(3, 64, 64)
    image[:] = torch.tensor([0.2, 0.7, 0.1])[:, None, None]
    assert (centre_surround(image).colour == 0).all()
    spot = image.clone()
    spot[:, 28:36, 28:36] = torch.tensor([0.7, 0.2, 0.1])[:, None, None]
    meant, printed = centre_surround(spot), centre_surround(spot, as_printed=True)
    place = meant.red_green.argmax()
    assert divmod(int(place) * 1, meant.red_green.shape[-1])[0] * 2**meant.level in range(20, 44)
    assert meant.red_green.flatten()[place] > 2 * printed.red_green.flatten()[place]
    assert printed.red_green[0, 0] > meant.red_green[0, 0], "far off all is even, and still it has colour"


def test_weights_choose_between_two_odd_ones():
    image = bars(3, colour=True)
    image[:, 102:122, 8:24] = 0
    image[0, 110:114, 8:24] = 0.8  # the last row's first bar lies
    assert winner(centre_surround(image, weights={"orientation": 0.0, "intensity": 0.0}))[0] < 48
    assert winner(centre_surround(image, weights=LYING))[0] > 80


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_the_paper_s_scales():
    assert scales(480, 640) == Scales(((2, 5), (2, 6), (3, 6), (3, 7), (4, 7), (4, 8)), 4)
    assert scales(256, 999).level == 4
    assert scales(255, 999).level == 3
    assert scales(4, 4) == Scales((), 0)
    assert scales(64, 64, centres=(0, 1), steps=(2,)) == Scales(((0, 2), (1, 3)), 1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (3, 1, 17), (1, 7, 7), (3, 8, 9), (3, 16, 301), (1, 65, 33)])
def test_any_size(shape):
    found = centre_surround(an_image(*shape).float())
    assert found.saliency.shape == found.angles.shape[-2:]
    assert found.saliency.isfinite().all()
    assert (found.saliency == 0).all() == (min(shape[-2:]) < 8)
    full = enlarged(found.saliency, found.level, shape[-2:])
    assert full.shape == shape[-2:]
    close(full[:: 2**found.level, :: 2**found.level], found.saliency)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_even_image_has_nothing_salient(dtype, channels):
    for level in (0.0, 0.1, 0.37, 1.0):
        assert (centre_surround(torch.full((channels, 50, 61), level, dtype=dtype)).saliency == 0).all()


def test_a_batch_is_its_images_one_by_one():
    image = an_image(2, 3, 3, 33, 40)
    found = centre_surround(image)
    assert found.angles.shape == (2, 3, 4, *found.saliency.shape[-2:])
    for i, j in itertools.product(range(2), range(3)):
        for got, want in zip(found[:-1], centre_surround(image[i, j])[:-1], strict=True):
            close(got[i, j], want, rtol=1e-8, atol=1e-10)


def test_brightness_and_contrast_as_a_whole_change_little():
    image = an_image(3, 64, 64)
    close(centre_surround(image * 0.5).saliency, centre_surround(image).saliency, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_each_device_and_precision(device, dtype):
    image = an_image(3, 64, 64).to(device, dtype)
    found = centre_surround(image)
    assert found.saliency.dtype == found.angles.dtype == dtype
    assert found.saliency.device.type == device.type
    exact = centre_surround(image.double().cpu())
    torch.testing.assert_close(found.saliency.double().cpu(), exact.saliency, rtol=2e-2, atol=2e-3)


# --- derivatives ------------------------------------------------------------------------------------------------------


def test_derivatives():
    image = an_image(3, 9, 11).requires_grad_()
    gains = torch.tensor([0.4, 0.9], dtype=torch.float64, requires_grad=True)

    def run(image, gains):
        return centre_surround(image, weights={"colour": gains[0], "45": gains[1]}).saliency

    assert torch.autograd.gradcheck(run, (image, gains), fast_mode=True)
    flat = torch.full((3, 16, 16), 0.4, requires_grad=True)
    centre_surround(flat).saliency.sum().backward()
    assert flat.grad.isfinite().all()
    assert torch.autograd.gradcheck(normalise, an_image(5, 7).requires_grad_())
    assert torch.autograd.gradcheck(lambda part: enlarged(part, 2, (9, 11)), an_image(3, 2).requires_grad_())


def test_nothing_is_changed_in_place():
    image = an_image()
    before = image.clone()
    centre_surround(image).saliency.zero_()
    assert torch.equal(image, before)
    assert centre_surround(image).saliency.max() > 0
    assert WEIGHTS["colour"] == 1 / 3


# --- bad input --------------------------------------------------------------------------------------------------------

RIGHT = torch.full((3, 16, 16), 0.5)
BAD = {
    "bytes": (lambda: centre_surround(RIGHT.byte()), TypeError, "divide whole numbers from 0 to 255 by 255"),
    "two channels": (lambda: centre_surround(RIGHT[:2]), ValueError, r"1 or 3 channels, got shape \(2, 16, 16\)"),
    "no channel": (lambda: centre_surround(RIGHT[0]), ValueError, r"channel, height, width\).*got shape \(16, 16\)"),
    "too few axes": (lambda: centre_surround(RIGHT[0, 0]), ValueError, r"got shape \(16,\)"),
    "nothing": (lambda: centre_surround(RIGHT[:, :0]), ValueError, "at least one of each"),
    "NaN": (lambda: centre_surround(RIGHT * math.nan), ValueError, "image must be finite"),
    "an unknown weight": (lambda: centre_surround(RIGHT, weights={"color": 1}), ValueError, "got 'color'"),
    "a negative weight": (
        lambda: centre_surround(RIGHT, weights={"45": -1}),
        ValueError,
        "at least 0, got -1 for '45'",
    ),
    "levels it has not": (lambda: centre_surround(RIGHT, at=Scales(((1, 5),), 1)), ValueError, "up to 4, the last"),
    "a level it has not": (lambda: centre_surround(RIGHT, at=Scales((), 5)), ValueError, "level from 0 to 4"),
    "a surround that is finer": (
        lambda: centre_surround(RIGHT, at=Scales(((2, 1),), 2)),
        ValueError,
        "coarser surround",
    ),
    "no height": (lambda: scales(0, 3), ValueError, "at least 1, got 0 and 3"),
    "no centres": (lambda: scales(9, 9, centres=()), ValueError, "centres must be at least one"),
    "a step of 0": (lambda: scales(9, 9, steps=(0,)), ValueError, "steps must be"),
    "smaller": (lambda: enlarged(RIGHT[0], -1, (3, 3)), ValueError, "level must be at least 0"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "kind", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, kind, said):
    with pytest.raises(kind, match=said):
        call()
