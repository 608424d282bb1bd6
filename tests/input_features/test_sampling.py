"""Reading an image at real coordinates: the sum of Eq. 5 against a loop, torch's kernel against the sum, bad input."""

import functools
import math

import pytest
import torch
from checks import close, randn
from oracles import tensor
from torch.autograd import gradcheck, gradgradcheck

from attnlib.input_features import sampling

BATCH, CHANNEL, HEIGHT, WIDTH = 2, 3, 5, 7
SIZES = [(HEIGHT, WIDTH), (4, 6), (1, 1), (1, 4), (3, 1)]
BOTH = [sampling.bilinear, sampling.sample]


# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def read_loop(image, x, y):
    """Eq. 5 of Jaderberg et al. at one point, one channel ``image[row][column]``; from -1 to 1 is the image."""
    height, width = len(image), len(image[0])
    column, row = (x + 1) / 2 * width - 0.5, (y + 1) / 2 * height - 0.5
    total = 0.0
    for n in range(height):
        for m in range(width):
            total += image[n][m] * max(0.0, 1 - abs(column - m)) * max(0.0, 1 - abs(row - n))
    return total


def bilinear_loop(image, grid):
    """``image[batch][channel]`` and ``grid[batch][row][column] = (x, y)``, as nested lists."""
    return [
        [[[read_loop(channel, x, y) for x, y in line] for line in points] for channel in channels]
        for channels, points in zip(image.tolist(), grid.tolist(), strict=True)
    ]


def inputs(size=(HEIGHT, WIDTH), dtype=torch.float64, device="cpu"):
    """Points inside, between, and beyond the edges; none on a kink."""
    image = randn(BATCH, CHANNEL, *size, dtype=dtype, device=device)
    return image, 0.9 * randn(BATCH, 11, 13, 2, dtype=dtype, device=device, seed=1)


def slopes(read, image, grid):
    parts = [part.detach().clone().requires_grad_() for part in (image, grid)]
    values = read(*parts)
    return [values.detach(), *torch.autograd.grad((values * randn(*values.shape, seed=5)).sum(), parts)]


# --- checks: what a right sampler satisfies and each mutant must not --------------------------------------------------


def check_value(read):
    for size in SIZES:
        image, grid = inputs(size)
        close(read(image, grid), tensor(bilinear_loop(image, grid)))


def check_middles(read):
    """The middle of each pixel reads that pixel, and the corner of the image a quarter of the first."""
    image = torch.arange(1.0, 13.0, dtype=torch.float64).view(1, 1, 3, 4)
    points = [[(-0.75 + 0.5 * j, (i - 1) / 1.5) for j in range(4)] for i in range(3)]
    close(read(image, torch.tensor([points], dtype=torch.float64)), image)
    close(read(image, torch.full((1, 1, 1, 2), -1.0, dtype=torch.float64)).flatten(), tensor([0.25]))


def check_slope_at_kinks(read):
    """On the middle of a pixel: the slope to the right, of this pixel and the next, in pixels times width / 2."""
    image = torch.tensor([[[[1.0, 10.0, 4.0, 2.0]]]], dtype=torch.float64)
    grid = torch.tensor([[[[-0.25, 0.0]]]], dtype=torch.float64, requires_grad=True)
    found = torch.autograd.grad(read(image, grid).sum(), grid)[0].flatten()
    close(found, tensor([(4.0 - 10.0) * 4 / 2, (0.0 - 10.0) / 2]))


def check_outside(read):
    """A pixel beyond the edge and further there is nothing, and no slope, at infinity too."""
    for size in SIZES:
        image = randn(1, CHANNEL, *size)
        for far in (1 + 2 / min(size), 4.0, 1e30, math.inf):
            points = torch.tensor([[[(far, 0.0), (0.0, -far), (-far, far)]]], dtype=torch.float64, requires_grad=True)
            values = read(image, points)
            assert (values == 0).all()
            assert (torch.autograd.grad(values.sum(), points)[0] == 0).all()


CHECKS = (check_value, check_middles, check_slope_at_kinks, check_outside)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("read", BOTH)
def test_sampler(read, check):
    check(read)


@pytest.mark.parametrize("size", SIZES)
def test_both_agree_in_values_and_slopes(size):
    image, grid = inputs(size)
    for got, wanted in zip(*(slopes(read, image, grid) for read in BOTH), strict=True):
        close(got, wanted)


@pytest.mark.parametrize("read", BOTH)
def test_slopes_are_the_numerical_ones(read):
    image, grid = (part.requires_grad_() for part in inputs())
    assert gradcheck(read, (image, grid[:, :2, :3]), fast_mode=True)
    assert gradgradcheck(sampling.bilinear, (image, grid[:, :2, :3]), fast_mode=True)


def test_pixels_and_coordinates_undo_each_other():
    places = randn(11)
    for size in (1, 2, 7):
        close(sampling.to_pixel(sampling.to_coordinate(places, size), size), places)
    close(sampling.to_coordinate(tensor([-0.5, 2.0, 4.5]), 5), tensor([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize("read", BOTH)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_precision_keeps_its_own(read, dtype, device):
    image, grid = inputs(dtype=dtype, device=device)
    values = read(image, grid)
    assert values.dtype == dtype
    assert values.device.type == device.type
    exact = read(image.double(), grid.double())
    torch.testing.assert_close(values.double(), exact, rtol=0, atol=20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("read", BOTH)
def test_leading_dimensions(read):
    image, grid = inputs()
    close(read(image[0], grid[0]), read(image, grid)[0])
    shaped = read(image.view(1, BATCH, CHANNEL, HEIGHT, WIDTH), grid.unsqueeze(0))
    close(shaped, read(image, grid).unsqueeze(0))
    assert read(image[:0], grid[:0]).shape == (0, CHANNEL, 11, 13)


def test_nan_is_seen_where_it_is_and_spoils_no_other_point():
    image, grid = inputs()
    spoilt = grid.clone()
    spoilt[0, 2, 3, 1] = math.nan
    for read in BOTH:
        values, clean = read(image, spoilt), read(image, grid)
        assert values[0, :, 2, 3].isnan().all()
        values[0, :, 2, 3] = clean[0, :, 2, 3]
        close(values, clean)
    image = torch.zeros(1, 1, 1, 9).double()
    image[..., 4] = math.nan
    found = sampling.sample(image, torch.tensor([[[[-0.8, 0.0], [0.0, 0.0], [0.6, 0.0]]]]).double())
    assert found.isnan().flatten().tolist() == [False, True, False]
    assert sampling.bilinear(image, torch.zeros(1, 1, 1, 2).double()).isnan().all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("read", BOTH)
def test_bad_input_is_named(read):
    image, grid = inputs()
    cases = [
        (TypeError, "image must be floating point, got dtype torch.uint8: give image.float", image.byte(), grid),
        (TypeError, "image must be a tensor, got list", image.tolist(), grid),
        (TypeError, "grid must be floating point, got dtype torch.int64", image, grid.long()),
        (ValueError, r"image must have shape \(\*batch, channel, height, width\)", image[0, 0], grid),
        (ValueError, "image must have at least one pixel", image[..., :0], grid),
        (
            ValueError,
            r"grid must have shape \(\*batch, height, width, 2\), got shape \(2, 11, 13\)",
            image,
            grid[..., 0],
        ),
        (ValueError, r"grid has leading dimensions \(1,\) but image has \(2,\)", image, grid[:1]),
    ]
    for error, message, *arguments in cases:
        with pytest.raises(error, match=message):
            read(*arguments)


@pytest.mark.usefixtures("unchecked")
def test_both_compile_whole():
    def run(image, grid):
        return sampling.sample(image, grid), sampling.bilinear(image, grid)

    image, grid = inputs()
    for got, wanted in zip(
        torch.compile(run, fullgraph=True, backend="aot_eager")(image, grid), run(image, grid), strict=True
    ):
        close(got, wanted)


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------


def with_corners(image, grid):
    """Torch's other convention, in which -1 is the middle of the first pixel."""
    return torch.nn.functional.grid_sample(image, grid, align_corners=True)


def nearest(image, grid):
    return torch.nn.functional.grid_sample(image, grid, mode="nearest", align_corners=False)


def edge_repeated(image, grid):
    return torch.nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=False)


def with_kernel(kernel, image, grid):
    """Eq. 5 as matrix products, with another kernel."""
    columns = kernel(sampling.to_pixel(grid[..., 0], image.shape[-1]).unsqueeze(-1) - torch.arange(image.shape[-1]))
    rows = kernel(sampling.to_pixel(grid[..., 1], image.shape[-2]).unsqueeze(-1) - torch.arange(image.shape[-2]))
    return torch.einsum("bcnm,bijn,bijm->bcij", image, rows, columns)


def tent(distance):
    """``max(0, 1 - |d|)`` by torch's own slopes, which are 0 at each kink."""
    return torch.relu(1 - distance.abs())


def right(distance):
    rising = torch.where((distance >= -1) & (distance < 0), 1 + distance, 0.0)
    return torch.where((distance >= 0) & (distance < 1), 1 - distance, rising)


WRONG = {
    "the other convention": (check_value, with_corners),
    "the other convention, by its middles": (check_middles, with_corners),
    "rows before columns": (check_value, lambda image, grid: sampling.sample(image, grid.flip(-1))),
    "nearest pixel": (check_value, nearest),
    "the edge goes on": (check_outside, edge_repeated),
    "no slope at kinks": (check_slope_at_kinks, functools.partial(with_kernel, tent)),
    "width for height": (check_value, lambda image, grid: sampling.sample(image.mT, grid).contiguous()),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_samplers_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


def test_the_unspoilt_product_passes():
    for check in (check_value, check_middles, check_slope_at_kinks):
        check(functools.partial(with_kernel, right))
