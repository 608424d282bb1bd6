"""The retina against a loop over areas: centred, twice as wide each time, zeros outside, real locations."""

import functools
import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import tensor
from torch.autograd import gradcheck

from attnlib.input_features.retina import patch_edges, retina

BATCH, CHANNEL, HEIGHT, WIDTH = 2, 3, 11, 7
PLACES = [(0.0, 0.0), (0.3, -0.45), (-1.0, -1.0), (1.0, 1.0), (-1.7, 0.2), (0.123, 2.5)]


# --- the oracle: a cell sums over pixels, each by the area that both share --------------------------------------------


def shared(low, high, pixel):
    """How much of a pixel's side lies between two edges."""
    return max(0.0, min(high, pixel + 1) - max(low, pixel))


def cell_loop(channel, left, top, side):
    total = 0.0
    for i, row in enumerate(channel):
        for j, value in enumerate(row):
            total += value * shared(top, top + side, i) * shared(left, left + side, j)
    return total / side**2


def retina_loop(image, x, y, size, scales):
    """``image[channel][row][column]``; patches of cells 1, 2, 4, ... pixels wide about a point."""
    height, width = len(image[0]), len(image[0][0])
    column, row = (x + 1) / 2 * width, (y + 1) / 2 * height
    patches = []
    for k in range(scales):
        side = 2**k
        left, top = column - side * size / 2, row - side * size / 2
        patches.append(
            [
                [[cell_loop(channel, left + side * b, top + side * a, side) for b in range(size)] for a in range(size)]
                for channel in image
            ]
        )
    return patches


# --- checks: what a right retina satisfies and each mutant must not ---------------------------------------------------


def check_value(look):
    for size, scales in ((2, 3), (3, 2), (1, 1), (5, 1)):
        image = randn(len(PLACES), CHANNEL, HEIGHT, WIDTH)
        wanted = [retina_loop(one.tolist(), *place, size, scales) for one, place in zip(image, PLACES, strict=True)]
        close(look(image, tensor(PLACES), size=size, scales=scales), tensor(wanted))


def check_centred(look):
    """A picture that is its own mirror image is seen so from the centre, at each scale, whatever the sizes' parity."""
    for size, side in ((3, 9), (4, 9), (3, 8), (4, 8)):
        image = randn(1, 1, side, side)
        image = image + image.flip(-1)
        image = image + image.flip(-2)
        patches = look(image, torch.zeros(1, 2).double(), size=size, scales=3)
        close(patches.flip(-1), patches)
        close(patches.flip(-2), patches)


def check_reach(look):
    """A bright pixel shows in patch ``k`` up to ``2^k size / 2`` pixels away, in one cell as a ``4^k``-th, and no
    further."""
    size, scales, side = 4, 3, 40
    for k in range(scales):
        reach = 2**k * size // 2
        for away, wanted in ((reach - 1, 1 / 4**k), (reach, 0.0)):
            image = torch.zeros(1, 1, side, side).double()
            image[..., side // 2, side // 2 + away] = 1.0
            seen = look(image, torch.zeros(1, 2).double(), size=size, scales=scales)[0, k]
            close(seen.sum(), tensor(wanted))


def check_corner(look):
    """``(-1, -1)`` is the top left corner: a quarter of the patch lies inside. ``(1, -1)`` is the top right one."""
    image = torch.ones(1, 1, 12, 20).double()
    image[..., 10:] = 5.0
    for place, wanted in (((-1.0, -1.0), [[0, 0], [0, 1]]), ((1.0, -1.0), [[0, 0], [5, 0]])):
        seen = look(image, tensor([place]), size=2, scales=3)
        close(seen, tensor(wanted).double().expand(1, 3, 1, 2, 2))


CHECKS = (check_value, check_centred, check_reach, check_corner)


@pytest.mark.parametrize("check", CHECKS)
def test_retina(check):
    check(retina)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 6), (3, 5, 1)])
def test_images_of_one_pixel_one_row_one_channel(shape):
    image = randn(*shape)
    for place in PLACES:
        wanted = retina_loop(image.tolist(), *place, 3, 2)
        close(retina(image, tensor(place), size=3, scales=2), tensor(wanted))


def test_far_away_there_is_nothing():
    image = leaf(1, CHANNEL, HEIGHT, WIDTH)
    for far in (3.0, 1e30, math.inf, -math.inf):
        place = torch.tensor([[far, 0.0]], dtype=torch.float64, requires_grad=True)
        seen = retina(image, place, size=2, scales=2)
        assert (seen == 0).all()
        assert all((part == 0).all() for part in torch.autograd.grad(seen.sum(), (image, place)))


def test_slopes_are_the_numerical_ones():
    image, place = leaf(BATCH, CHANNEL, HEIGHT, WIDTH), (0.4 * randn(BATCH, 2)).requires_grad_()
    assert gradcheck(functools.partial(retina, size=2, scales=2), (image, place), fast_mode=True)


def test_leading_dimensions_broadcast():
    """Several looks at one image, one look at several images."""
    image, places = randn(BATCH, CHANNEL, HEIGHT, WIDTH), 0.5 * randn(5, BATCH, 2)
    many = retina(image, places, size=3, scales=2)
    assert many.shape == (5, BATCH, 2, CHANNEL, 3, 3)
    close(many[3], retina(image, places[3], size=3, scales=2))
    close(retina(image, places[0, 0], size=3, scales=2)[1], retina(image[1], places[0, 0], size=3, scales=2))
    assert retina(image[:0], places[0, :0], size=3, scales=2).shape == (0, 2, CHANNEL, 3, 3)


def test_what_lies_outside_of_a_patch_does_not_count():
    """NaN beside it changes nothing, in values and slopes; NaN in it shows in its cell; a lost location loses all."""
    image = randn(BATCH, CHANNEL, 12, 12)
    spoilt = image.clone()
    spoilt[..., 8] = math.nan  # the first column that the middle patch of four does not see
    centre = torch.zeros(BATCH, 2).double()
    found = []
    for one in (image, spoilt):
        one = one.requires_grad_()
        seen = retina(one, centre, size=4)
        found.append((seen, torch.autograd.grad(seen.square().sum(), one)[0]))
    for got, wanted in zip(*found, strict=True):
        close(got, wanted)
    wide = retina(spoilt, centre, size=4, scales=2)
    assert wide[:, 1, :, :, 3].isnan().all()
    assert wide[:, 1, :, :, :3].isfinite().all()
    centre[1, 0] = math.nan
    lost = retina(image, centre, size=4)
    assert lost[1].isnan().all()
    assert lost[0].isfinite().all()


def test_edges_are_where_the_patches_are():
    edges = patch_edges(tensor([[-1.0, -1.0], [0.5, 0.0]]), (HEIGHT, WIDTH), size=3, scales=2)
    close(edges, tensor([[[-1.5, -1.5], [-3.0, -3.0]], [[3.75, 4.0], [2.25, 2.5]]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_precision_keeps_its_own(dtype, device):
    image = randn(BATCH, CHANNEL, HEIGHT, WIDTH, dtype=dtype, device=device)
    place = (0.5 * randn(BATCH, 2)).to(device=device, dtype=dtype)
    seen = retina(image, place, size=2, scales=3)
    assert seen.dtype == dtype
    assert seen.device.type == device.type
    exact = retina(image.double(), place.double(), size=2, scales=3)
    torch.testing.assert_close(seen.double(), exact, rtol=0, atol=50 * torch.finfo(dtype).eps)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    image, place = randn(BATCH, CHANNEL, HEIGHT, WIDTH), randn(BATCH, 2)
    cases = [
        (TypeError, "image must be floating point, got dtype torch.uint8", (image.byte(), place), 2),
        (TypeError, "location must be floating point, got dtype torch.int64", (image, place.long()), 2),
        (ValueError, r"location must have shape \(\*batch, 2\), got shape \(2, 3\)", (image, randn(2, 3)), 2),
        (ValueError, r"location has leading dimensions \(3,\) but image has \(2,\)", (image, randn(3, 2)), 2),
        (ValueError, "image must have at least one pixel", (image[..., :0, :], place), 2),
        (ValueError, "size must be at least 1, got 0", (image, place), 0),
        (TypeError, "size must be a whole number, got 2.0", (image, place), 2.0),
    ]
    for error, message, arguments, size in cases:
        with pytest.raises(error, match=message):
            retina(*arguments, size=size)
    with pytest.raises(ValueError, match="scales must be at least 1, got 0"):
        retina(image, place, size=2, scales=0)


@pytest.mark.usefixtures("unchecked")
def test_exports_with_open_sizes():
    class Look(torch.nn.Module):
        def forward(self, image, place):
            return retina(image, place, size=3, scales=2)

    image, place = randn(BATCH, CHANNEL, HEIGHT, WIDTH), 0.4 * randn(BATCH, 2)
    sizes = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    program = torch.export.export(Look(), (image, place), dynamic_shapes=(sizes, None))
    other = randn(BATCH, CHANNEL, 4, 13)
    close(program.module()(other, place), Look()(other, place))


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------


def spoilt(
    image, location, *, size, scales=1, shift=0.0, factor=2, corners=False, order=(0, 1), pad="constant", pool="mean"
):
    """A retina of whole pixels and padding, as most are written, with the places where it goes wrong as options."""
    height, width = image.shape[-2:]
    margin = factor ** (scales - 1) * size + 2 * max(height, width)
    padded = torch.nn.functional.pad(image, [margin] * 4, mode=pad)
    patches = []
    for b in range(len(image)):
        x, y = (float(location[b, axis]) for axis in order)
        places = [(part + 1) / 2 * (length - corners) + corners / 2 for part, length in ((x, width), (y, height))]
        for k in range(scales):
            side = factor**k * size
            left, top = (math.floor(place - side / 2 + shift * side) + margin for place in places)
            window = padded[b, :, top : top + side, left : left + side]
            cells = window.reshape(-1, size, side // size, size, side // size)
            patches.append(cells.mean((-3, -1)) if pool == "mean" else cells[:, :, 0, :, 0])
    return torch.stack(patches).view(len(image), scales, *patches[0].shape)


WRONG = {
    "whole pixels": (check_centred, spoilt),
    "not centred: begins at the location": (check_corner, functools.partial(spoilt, shift=0.5)),
    "not centred, by its reach": (check_reach, functools.partial(spoilt, shift=0.25)),
    "three times as wide": (check_reach, functools.partial(spoilt, factor=3)),
    "as wide": (check_reach, functools.partial(spoilt, factor=1)),
    "rows before columns": (check_corner, functools.partial(spoilt, order=(1, 0))),
    "the other convention": (check_corner, functools.partial(spoilt, corners=True)),
    "every second pixel": (check_reach, functools.partial(spoilt, pool="first")),
    "no zeros outside": (
        check_corner,
        lambda image, location, **options: spoilt(image + 1, location, **options) - 1,
    ),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_retinas_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


@pytest.mark.parametrize("check", [check_reach, check_corner])
def test_the_unspoilt_retina_passes(check):
    check(spoilt)
