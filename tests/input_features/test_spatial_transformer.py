"""Warps: grids against a loop, the horizon, the identity at each size, inverses, the module and its start."""

import functools
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from checks import close, leaf, randn
from oracles import tensor
from torch import nn
from torch.autograd import gradcheck

from attnlib.input_features import sampling
from attnlib.input_features import spatial_transformer as spatial

BATCH, CHANNEL, HEIGHT, WIDTH = 2, 3, 5, 7
FORMS = {spatial.affine: 6, spatial.attention: 3, spatial.projective: 8}
SIZES = [(HEIGHT, WIDTH), (4, 6), (4, 7), (1, 1), (1, 4), (3, 1), (28, 60)]


# --- the oracle: a plain loop from the paper --------------------------------------------------------------------------


def grid_loop(matrix, height, width):
    """Eq. 1 of Jaderberg et al., or its projective form, a pixel at a time."""
    lines = []
    for i in range(height):
        line = []
        for j in range(width):
            x, y = -1 + (j + 0.5) * 2 / width, -1 + (i + 0.5) * 2 / height
            read = [row[0] * x + row[1] * y + row[2] for row in matrix]
            if len(read) == 3:
                read = [part / read[2] if read[2] > 0 else math.inf for part in read[:2]]
            line.append(read)
        lines.append(line)
    return lines


def matrices(form, scale=0.3, seed=0):
    return form(scale * randn(BATCH, FORMS[form], seed=seed))


def identity(*batch, rows=2):
    return torch.eye(rows, 3, dtype=torch.float64).expand(*batch, rows, 3)


# --- checks: what a right warp satisfies and each mutant must not -----------------------------------------------------


def check_grid(grid):
    for form in FORMS:
        matrix = matrices(form)
        wanted = tensor([grid_loop(one.tolist(), HEIGHT, WIDTH) for one in matrix])
        close(grid(matrix, (HEIGHT, WIDTH)), wanted)


def check_identity(transform):
    """The image comes back, at odd and even sizes, a pixel or a row included, by either kind of matrix."""
    for size, rows in itertools.product(SIZES, (2, 3)):
        image = randn(BATCH, CHANNEL, *size)
        close(transform(image, identity(BATCH, rows=rows)).image, image)


def check_mirror_and_crop(transform):
    """Turned about an axis; and half of the image, at half of the size, is the middle of it as it is."""
    image = randn(BATCH, CHANNEL, 8, 12)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))[:2].expand(BATCH, 2, 3)
    close(transform(image, mirror).image, image.flip(-1))
    half = spatial.attention(tensor([[-0.5, 0.0, 0.0]] * BATCH))
    close(transform(image, half, (4, 6)).image, image[..., 2:6, 3:9])


def check_translation(transform):
    """``t_x`` of two pixels reads two columns to the right, zeros beyond the edge."""
    image = randn(BATCH, CHANNEL, HEIGHT, WIDTH)
    moved = transform(image, spatial.attention(tensor([[0.0, 2 * 2 / WIDTH, 0.0]] * BATCH))).image
    close(moved, F.pad(image[..., 2:], (0, 2)))


CHECKS = (check_identity, check_mirror_and_crop, check_translation)


def test_grid():
    check_grid(spatial.warped_grid)


@pytest.mark.parametrize("check", CHECKS)
def test_transform(check):
    check(spatial.transform)


def test_affine_grid_is_torch_s():
    matrix = matrices(spatial.affine)
    for size in ((HEIGHT, WIDTH), (1, 1)):
        wanted = F.affine_grid(matrix, [BATCH, 1, *size], align_corners=False)
        close(spatial.warped_grid(matrix, size), wanted)


def test_forms_start_at_the_identity_and_hold_their_parameters():
    for form, count in FORMS.items():
        matrix = form(torch.zeros(BATCH, count))
        assert torch.equal(matrix, identity(BATCH, rows=matrix.shape[-2]).float())
        slope = torch.autograd.functional.jacobian(form, torch.zeros(count))
        assert slope.flatten(0, 1).count_nonzero(0).tolist() == [
            2 if (form, i) == (spatial.attention, 0) else 1 for i in range(count)
        ]
    close(spatial.attention(tensor([0.5, 2.0, 3.0])), tensor([[1.5, 0.0, 2.0], [0.0, 1.5, 3.0]]))
    close(spatial.affine(randn(6)), randn(6).view(2, 3) + identity())
    close(spatial.projective(randn(8)).flatten()[:8], randn(8) + torch.eye(3).flatten()[:8])


def test_projective_without_tilt_is_affine():
    parameters = randn(BATCH, 6)
    tilted = spatial.projective(F.pad(parameters, (0, 2)))
    close(spatial.warped_grid(tilted, (3, 5)), spatial.warped_grid(spatial.affine(parameters), (3, 5)))
    close(spatial.warped_grid(tilted * 1.7, (3, 5)), spatial.warped_grid(tilted, (3, 5)))


@pytest.mark.parametrize("form", FORMS)
def test_slopes_reach_the_parameters(form):
    image, parameters = leaf(BATCH, CHANNEL, HEIGHT, WIDTH), (0.2 * randn(BATCH, FORMS[form])).requires_grad_()

    def run(image, parameters):
        return spatial.transform(image, form(parameters), (3, 4)).image

    assert gradcheck(run, (image, parameters), fast_mode=True)

    def by_definition(image, parameters):
        return sampling.bilinear(image, spatial.warped_grid(form(parameters), (3, 4)))

    upstream = randn(BATCH, CHANNEL, 3, 4)
    found = [
        torch.autograd.grad((f(image, parameters) * upstream).sum(), (image, parameters)) for f in (run, by_definition)
    ]
    for got, wanted in zip(*found, strict=True):
        close(got, wanted)


def test_behind_the_horizon_there_is_nothing():
    """Half of the output looks above the horizon: zeros there, finite slopes, and none from there."""
    parameters = torch.zeros(1, 8, dtype=torch.float64)
    parameters[0, 7] = 4.0  # w = 4 y + 1, at most 0 for y <= -1/4
    parameters.requires_grad_()
    matrix = spatial.projective(parameters)
    grid = spatial.warped_grid(matrix, (8, 5))  # rows at -0.875 ... 0.875; -0.25 is none of them
    assert (grid[0, :3] == math.inf).all()
    assert grid[0, 3:].isfinite().all()
    on_it = spatial.warped_grid(matrix, (4, 5))  # rows at -0.75, -0.25: w is 0 there
    assert (on_it[0, :2] == math.inf).all()
    image = torch.ones(1, CHANNEL, 8, 5, dtype=torch.float64)
    for read in (sampling.sample, sampling.bilinear):
        values = read(image, grid)
        assert (values[:, :, :3] == 0).all()
        assert (values[:, :, 4:] > 0).all()
        upper = torch.autograd.grad(values[:, :, :3].sum(), parameters, retain_graph=True)[0]
        assert (upper == 0).all()
        assert torch.autograd.grad(values.sum(), parameters, retain_graph=True)[0].isfinite().all()
    behind = spatial.transform(image, -matrix)
    assert (behind.image[:, :, 4:] == 0).all()


@pytest.mark.parametrize("tiny", [0.0, 1e-300, 1e-17, 1e-14])
def test_near_the_horizon_slopes_stay_finite(tiny):
    matrix = torch.tensor([[[1.0, 0.0, 0.3], [0.0, 1.0, 0.0], [0.0, 0.0, tiny]]], dtype=torch.float64).requires_grad_()
    image = randn(1, CHANNEL, HEIGHT, WIDTH)
    slope = torch.autograd.grad(spatial.transform(image, matrix).image.square().sum(), matrix)[0]
    assert slope.isfinite().all()


def test_singular_maps_read_a_line_or_a_point():
    image = torch.arange(35.0, dtype=torch.float64).view(1, 1, HEIGHT, WIDTH)
    line = spatial.transform(image, torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]], dtype=torch.float64)).image
    close(line, image[:, :, 2:3].expand_as(image))
    point = spatial.transform(image, torch.zeros(1, 2, 3, dtype=torch.float64)).image
    close(point, torch.full_like(image, 17.0))


# --- inverses ---------------------------------------------------------------------------------------------------------


def whole(matrix):
    """As three rows."""
    return (
        matrix if matrix.shape[-2] == 3 else torch.cat([matrix, identity(*matrix.shape[:-2], rows=3)[..., 2:, :]], -2)
    )


@pytest.mark.parametrize("form", FORMS)
def test_inverse_leads_back(form):
    matrix = matrices(form)
    back = spatial.inverse(matrix)
    assert back.shape == matrix.shape
    there = whole(back) @ whole(matrix)
    close(there, identity(BATCH, rows=3))
    assert gradcheck(spatial.inverse, (matrix.detach().requires_grad_(),), fast_mode=True)


def test_a_warp_and_its_inverse_give_the_picture_back():
    """A smooth picture, moved and turned by a little and back again."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 41), torch.linspace(-1, 1, 53), indexing="ij")
    picture = torch.exp(-8 * (x.square() + (y - 0.1).square()))[None, None].double()
    matrix = torch.tensor([[[0.9, -0.2, 0.1], [0.15, 1.1, -0.1], [0.1, -0.1, 1.0]]], dtype=torch.float64)
    again = spatial.transform(spatial.transform(picture, matrix).image, spatial.inverse(matrix)).image
    assert (again - picture).abs().max() < 0.02
    assert (spatial.transform(picture, matrix).image - picture).abs().max() > 0.3


def test_what_was_before_the_horizon_stays_there():
    """A horizon between the middle of the input and the part of it that the output shows."""
    matrix = torch.tensor([[[0.1, 0.0, 0.8], [0.0, 0.1, 0.0], [0.3, 0.0, 1.0]]], dtype=torch.float64)
    picture = torch.exp(-4 * torch.linspace(-1, 1, 40, dtype=torch.float64).square())
    small = spatial.transform((picture * picture[:, None])[None, None], spatial.inverse(matrix), (40, 40)).image
    assert small[0, 0, :, 34:36].max() > 0.5
    assert small[0, 0, :, :20].max() == 0


SINGULAR = {
    "a point": torch.zeros(2, 3),
    "a line": torch.tensor([[1.0, 2.0, 5.0], [2.0, 4.0, 1.0]]),
    "nearly a line": torch.tensor([[1e5, 1e5, 0.0], [1e5, 1e5 + 1e-2, 0.0]]),
    "projective": torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]),
    "NaN": torch.full((2, 3), math.nan),
}


@pytest.mark.parametrize("matrix", SINGULAR.values(), ids=SINGULAR)
def test_what_has_no_inverse_is_refused(matrix):
    with pytest.raises(ValueError, match="matrix must be invertible, got"):
        spatial.inverse(matrix)
    with pytest.raises(ValueError, match="which takes the plane to a line or a point"):
        spatial.inverse(torch.stack([torch.eye(3)[: len(matrix)], matrix]))


def test_small_maps_have_an_inverse():
    """Small is not singular: what counts is the size of the determinant against that of the matrix."""
    for factor in (1e-8, 1e8):
        matrix = factor * torch.tensor([[2.0, 1.0, 0.5], [0.0, 1.0, 1.0]])
        there = whole(spatial.inverse(matrix).double()) @ whole(matrix.double())
        torch.testing.assert_close(there, identity(rows=3), rtol=1e-5, atol=1e-5)


# --- the module -------------------------------------------------------------------------------------------------------


def localisation(size=(HEIGHT, WIDTH), d=11):
    return nn.Sequential(nn.Flatten(), nn.Linear(CHANNEL * math.prod(size), d), nn.Tanh())


def check_start(make):
    """Before training the image comes back, and every parameter of the last layer has a slope to follow."""
    for form, count in FORMS.items():
        module = make(localisation(), 11, form=form, parameters=count).double()
        image = randn(BATCH, CHANNEL, HEIGHT, WIDTH)
        result = module(image)
        close(result.image, image)
        (result.image * randn(*image.shape, seed=3)).sum().backward()
        assert (module.last.bias.grad != 0).all()
        assert (module.last.weight.grad != 0).any()


def check_feeds_what_it_read(make):
    """What comes out is the image at the grid, and not the image that went in."""
    module = make(localisation(), 11).double()
    nn.init.constant_(module.last.bias, 0.2)
    image = randn(BATCH, CHANNEL, HEIGHT, WIDTH)
    result = module(image)
    close(result.grid, tensor([grid_loop(one.tolist(), HEIGHT, WIDTH) for one in result.matrix]))
    close(result.image, sampling.bilinear(image, result.grid))


@pytest.mark.parametrize("check", [check_start, check_feeds_what_it_read])
def test_module(check):
    check(spatial.SpatialTransformer)


def test_module_learns_to_undo_a_shift():
    """One picture, moved by two pixels: the slope alone finds it again."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    picture = torch.exp(-4 * (x.square() + 2 * y.square()))[None, None]
    moved = spatial.transform(picture, spatial.attention(torch.tensor([[0.0, -0.25, 0.125]]))).image
    module = spatial.SpatialTransformer(
        nn.Sequential(nn.Flatten(), nn.Linear(256, 3)), 3, form=spatial.attention, parameters=3
    )
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        (module(moved).image - picture).square().sum().backward()
        optimizer.step()
    found = module(moved).matrix[0, :, 2]
    torch.testing.assert_close(found, torch.tensor([0.25, -0.125]), atol=0.02, rtol=0)


def test_another_size_comes_out():
    module = spatial.SpatialTransformer(localisation(), 11, size=(2, 13)).double()
    assert module(randn(BATCH, CHANNEL, HEIGHT, WIDTH)).image.shape == (BATCH, CHANNEL, 2, 13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_each_precision(dtype, device):
    image = randn(BATCH, CHANNEL, HEIGHT, WIDTH, dtype=dtype, device=device)
    parameters = torch.zeros(BATCH, 8, dtype=dtype, device=device)
    result = spatial.transform(image, spatial.projective(parameters))
    assert result.image.dtype == dtype
    assert result.grid.dtype == (dtype if dtype == torch.float64 else torch.float32)
    assert result.grid.device.type == device.type
    torch.testing.assert_close(result.image, image, rtol=0, atol=20 * torch.finfo(dtype).eps)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    image = randn(BATCH, CHANNEL, HEIGHT, WIDTH)
    grid, eye = spatial.warped_grid, identity(BATCH)
    cases = [
        (
            TypeError,
            "image must be floating point, got dtype torch.uint8",
            lambda: spatial.transform(image.byte(), eye),
        ),
        (TypeError, "matrix must be floating point, got dtype torch.int64", lambda: grid(eye.long(), (2, 2))),
        (ValueError, r"matrix must have shape .* got shape \(2, 2, 2\)", lambda: grid(eye[..., :2], (2, 2))),
        (ValueError, r"matrix must have shape .* got shape \(3,\)", lambda: spatial.inverse(eye[0, 0])),
        (ValueError, "height must be at least 1, got 0", lambda: grid(eye, (0, 2))),
        (TypeError, "width must be a whole number, got 2.5", lambda: grid(eye, (2, 2.5))),
        (
            ValueError,
            r"parameters must have shape \(\*batch, 6\), got shape \(2, 3\)",
            lambda: spatial.affine(randn(2, 3)),
        ),
        (ValueError, r"parameters must have shape \(\*batch, 8\)", lambda: spatial.projective(randn(2, 9))),
        (ValueError, r"parameters must have shape \(\*batch, 3\)", lambda: spatial.attention(torch.tensor(1.0))),
        (
            ValueError,
            r"grid has leading dimensions \(\) but image has \(2,\)",
            lambda: spatial.transform(image, eye[0]),
        ),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


@pytest.mark.usefixtures("unchecked")
def test_exports_with_open_sizes():
    image, parameters = randn(BATCH, CHANNEL, HEIGHT, WIDTH), 0.2 * randn(BATCH, 8)

    class Warp(nn.Module):
        def forward(self, image, parameters):
            matrix = spatial.projective(parameters)
            return spatial.transform(image, spatial.inverse(matrix)).image

    sizes = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    program = torch.export.export(Warp(), (image, parameters), dynamic_shapes=(sizes, None))
    other = randn(BATCH, CHANNEL, 11, 4)
    close(program.module()(other, parameters), Warp()(other, parameters))


# --- known wrong versions, each of which a check above rejects --------------------------------------------------------


def warp(image, matrix, size=None, *, grid_corners=False, corners=False, turn=lambda matrix: matrix):
    """An affine warp by torch's functions, with the places where it goes wrong as options."""
    matrix = turn(matrix[..., :2, :])
    size = tuple(image.shape[-2:]) if size is None else size
    grid = F.affine_grid(matrix, [len(image), 1, *size], align_corners=grid_corners)
    return spatial.Transformed(F.grid_sample(image, grid, align_corners=corners), grid, matrix)


def corner_grid(matrix, size):
    """Made as if -1 were the middle of the first pixel."""
    rows, columns = (torch.linspace(-1, 1, length, dtype=torch.float64) for length in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1) @ matrix.mT.unsqueeze(-3)
    return points[..., :2] if matrix.shape[-2] == 2 else points[..., :2] / points[..., 2:]


class Biased(nn.Module):
    """Keras' fault (issue 478): the bias of an identity with a one too many."""

    def __init__(self, localisation, d, form=spatial.affine, parameters=6):
        super().__init__()
        self.localisation, self.last = localisation, nn.Linear(d, 6)
        nn.init.zeros_(self.last.weight)
        self.last.bias.data = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 0.0])

    def forward(self, image):
        return spatial.transform(image, self.last(self.localisation(image)).view(-1, 2, 3))


class Ignored(spatial.SpatialTransformer):
    """The classifier is fed the image that was not transformed."""

    def forward(self, image):
        return super().forward(image)._replace(image=image)


class RandomStart(spatial.SpatialTransformer):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.last.reset_parameters()


WRONG = {
    "grid by middles, read by corners": (check_identity, functools.partial(warp, corners=True)),
    "grid by corners, read by middles": (check_identity, functools.partial(warp, grid_corners=True)),
    "corners for both": (check_mirror_and_crop, functools.partial(warp, grid_corners=True, corners=True)),
    "corners for both, moved": (check_translation, functools.partial(warp, grid_corners=True, corners=True)),
    "the inverse map": (check_translation, functools.partial(warp, turn=spatial.inverse)),
    "rows for columns": (check_translation, functools.partial(warp, turn=lambda m: m.flip(-2)[..., [1, 0, 2]])),
    "grid by corners": (check_grid, corner_grid),
    "no division by w": (check_grid, lambda m, size: spatial.warped_grid(m[..., :2, :], size)),
    "identity with b[0, 1] = 1": (check_start, Biased),
    "a start at random": (check_start, RandomStart),
    "the image not transformed": (check_feeds_what_it_read, Ignored),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_warps_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


@pytest.mark.parametrize("check", CHECKS)
def test_the_unspoilt_warp_passes(check):
    check(warp)
