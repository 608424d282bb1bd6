r"""Read an image at real coordinates: the sum over all pixels that defines it, and torch's kernel that is quick.

One convention for all of :mod:`attnlib.input_features`. A coordinate is ``(x, y)``: first the column, to the right,
then the row, downwards. The image is the square from -1 to 1: ``(0, 0)`` is its centre, ``(-1, -1)`` the top left
*corner* of its top left pixel. Pixel ``j`` of ``W`` has its middle at ``(2 j + 1) / W - 1``. Torch calls this
``align_corners=False``, and it is so here everywhere, for grids and for samplers alike. So a coordinate means the same
place at each resolution, and an image of one pixel has an extent. Beyond the image there are zeros.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .._checks import as_computed
from .._rows import nan_where
from ._images import as_image

__all__ = ["bilinear", "sample", "to_coordinate", "to_pixel"]

FAR = 4.0  # outside of any image, even of one pixel


def to_pixel(coordinate: Tensor, size: int) -> Tensor:
    r"""Where a coordinate lies, counted in pixels from the middle of the first one.

    .. math:: p = \frac{(x + 1) \, n - 1}{2}

    Args:
        coordinate: :math:`x`, of any shape, from -1 to 1 inside of the image.
        size: :math:`n`, pixels along this axis.

    Source: the bounds are those of Jaderberg et al. 2015, section 3.2 [jaderberg2015]; the rest is torch's.

    >>> to_pixel(torch.tensor([-1.0, 0.0, 1.0]), 4)  # the edge of the first pixel, the centre, the edge of the last
    tensor([-0.5000,  1.5000,  3.5000])
    """
    return ((coordinate + 1) * size - 1) / 2


def to_coordinate(pixel: Tensor, size: int) -> Tensor:
    r"""The coordinate of a place that is counted in pixels; undoes :func:`to_pixel`.

    .. math:: x = \frac{2 p + 1}{n} - 1

    Args:
        pixel: :math:`p`, of any shape; whole numbers are the middles of pixels.
        size: :math:`n`, pixels along this axis.

    Source: as for :func:`to_pixel`.

    >>> to_coordinate(torch.arange(4.0), 4)
    tensor([-0.7500, -0.2500,  0.2500,  0.7500])
    """
    return (2 * pixel + 1) / size - 1


def bilinear(
    image: Float[Tensor, "*batch channel height width"], grid: Float[Tensor, "*batch height_out width_out 2"]
) -> Float[Tensor, "*batch channel height_out width_out"]:
    r"""Read an image at each point of a grid, as the sum over all of its pixels: the definition.

    .. math::
        V_i^c = \sum_{n=1}^{H} \sum_{m=1}^{W} U_{nm}^c \, \max(0, 1 - |x_i - m|) \, \max(0, 1 - |y_i - n|)

    with :math:`x_i, y_i` counted in pixels. Both sums are matrix products here, one after the other, at a cost of all
    pixels times all points. :func:`sample` gives the same, values and gradients, from four pixels a point.

    Args:
        image: :math:`U`, ``(*batch, channel, height, width)``.
        grid: coordinates ``(x, y)``, ``(*batch, height_out, width_out, 2)``; see
            :mod:`attnlib.input_features.spatial_transformer`.

    Returns:
        :math:`V`, ``(*batch, channel, height_out, width_out)``. A point more than a pixel outside of the image, at
        infinity too, reads zero with zero gradient; one that is NaN reads NaN. A pixel that is NaN makes NaN of
        all points, since each point multiplies each pixel; in :func:`sample`, of the points around it.

    Raises:
        TypeError: ``image`` or ``grid`` is not a floating point tensor.
        ValueError: there are no pixels, or the shapes do not fit.

    Source: Jaderberg et al. 2015, Eq. 5 [jaderberg2015].

    Departs from the source: where a point lies on the middle of a pixel the sum has a kink. Its Eq. 7 gives the value
    of that pixel for the slope there, whatever stands beside it; this gives the slope to the right, as torch does.

    >>> image = torch.tensor([[[0.0, 10.0], [20.0, 30.0]]])
    >>> bilinear(image, torch.tensor([[[0.0, 0.0], [0.5, 0.0], [-0.5, -0.5]]]))  # all four, the right two, the first
    tensor([[[15., 20.,  0.]]])
    """
    pixels, points, lost = _prepared(image, grid)
    columns = _kernel(to_pixel(points[..., 0], image.shape[-1]), image.shape[-1])
    rows = _kernel(to_pixel(points[..., 1], image.shape[-2]), image.shape[-2])
    # (*batch, channel, point, width): each point's row of the image, and then its place in that row.
    read = (rows.flatten(-3, -2).unsqueeze(-3) @ pixels) * columns.flatten(-3, -2).unsqueeze(-3)
    values = read.sum(-1).reshape(*image.shape[:-2], *grid.shape[-3:-1])
    return (values + nan_where(lost.unsqueeze(-3), values.dtype)).to(image.dtype)


def _kernel(place: Tensor, size: int) -> Tensor:
    """``max(0, 1 - |x - m|)`` for each pixel ``m``, with the slope to the right at its three kinks."""
    distance = place.unsqueeze(-1) - torch.arange(size, device=place.device, dtype=place.dtype)
    falling = torch.where((distance >= 0) & (distance < 1), 1 - distance, 0.0)
    return torch.where((distance >= -1) & (distance < 0), 1 + distance, falling)


def sample(
    image: Float[Tensor, "*batch channel height width"], grid: Float[Tensor, "*batch height_out width_out 2"]
) -> Float[Tensor, "*batch channel height_out width_out"]:
    r"""Read an image at each point of a grid from the four pixels around it: :func:`bilinear`, by torch's kernel.

    .. math:: V_i^c = \sum_{n, m} U_{nm}^c \, (1 - |x_i - m|) (1 - |y_i - n|), \qquad |x_i - m| < 1, \; |y_i - n| < 1

    Args:
        image: :math:`U`, ``(*batch, channel, height, width)``.
        grid: coordinates ``(x, y)``, ``(*batch, height_out, width_out, 2)``.

    Returns:
        :math:`V`, as :func:`bilinear`.

    Raises:
        TypeError: as there.
        ValueError: as there.

    Source: Jaderberg et al. 2015, Eq. 5 and the end of section 3.3 [jaderberg2015].

    Departs from the source: as there.

    >>> image = torch.tensor([[[0.0, 10.0], [20.0, 30.0]]])
    >>> sample(image, torch.tensor([[[0.0, 0.0], [1.0, -0.5], [9.0, 0.0]]]))  # half of the second one lies outside
    tensor([[[15.,  5.,  0.]]])
    """
    pixels, points, lost = _prepared(image, grid)
    batch = image.shape[:-3]
    flat = pixels.reshape(-1, *image.shape[-3:])
    values = F.grid_sample(flat, points.reshape(-1, *grid.shape[-3:]), align_corners=False)
    values = values.reshape(*batch, *values.shape[1:])
    return (values + nan_where(lost.unsqueeze(-3), values.dtype)).to(image.dtype)


def _prepared(image: Tensor, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The image and the grid as they are computed with, and which points are NaN."""
    pixels, points = as_image(image), as_computed(grid, "grid")
    if grid.ndim < 3 or grid.shape[-1] != 2:
        raise ValueError(f"grid must have shape (*batch, height, width, 2), got shape {tuple(grid.shape)}")
    if grid.shape[:-3] != image.shape[:-3]:
        batches = tuple(grid.shape[:-3]), tuple(image.shape[:-3])
        raise ValueError(f"grid has leading dimensions {batches[0]} but image has {batches[1]}")
    dtype = torch.promote_types(pixels.dtype, points.dtype)
    pixels, points = pixels.to(dtype), points.to(dtype)
    lost = points.isnan().any(-1)
    # An image ends at 1, and at most a pixel of size 2 beyond nothing is read: so far a point is pulled in, for kernels
    # that count pixels in whole numbers. It has no gradient there, as it has none where it was.
    return pixels, torch.where(lost.unsqueeze(-1), FAR, points).clamp(-FAR, FAR), lost
