"""Location-wise soft attention by a warp: parameters make a grid, the grid reads the image, and all of it has a slope.

A matrix takes a point of the *output* to the point of the *input* that is read there, both as ``(x, y)`` from -1 to 1
(:mod:`attnlib.input_features.sampling` says what that means). So a scale below 1 looks at a part of the input.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._checks import as_computed, is_traced
from .._rows import times
from ._images import as_image, check_whole
from .sampling import sample, to_coordinate

__all__ = [
    "SpatialTransformer",
    "Transformed",
    "affine",
    "attention",
    "inverse",
    "projective",
    "transform",
    "warped_grid",
]


class Transformed(NamedTuple):
    """What a spatial transformer gives: the image that it read, by which grid, from which matrix."""

    image: Float[Tensor, "*batch channel height_out width_out"]
    grid: Float[Tensor, "*batch height_out width_out 2"]
    matrix: Float[Tensor, "*batch row column"]


def affine(parameters: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 2 3"]:
    r"""Six numbers as an affine map, counted from the identity, so that zeros change nothing.

    .. math::
        A_\theta = \begin{bmatrix} 1 + \theta_1 & \theta_2 & \theta_3 \\
        \theta_4 & 1 + \theta_5 & \theta_6 \end{bmatrix}

    Args:
        parameters: :math:`\theta`, ``(*batch, 6)``.

    Returns:
        Matrices ``(*batch, 2, 3)``.

    Raises:
        TypeError: ``parameters`` is not a floating point tensor.
        ValueError: there are not six.

    Source: Jaderberg et al. 2015, Eq. 1 [jaderberg2015].

    Departs from the source: counts from the identity; there the bias of the last layer holds it.

    >>> affine(torch.tensor([0.0, 0.0, 0.5, 0.0, 1.0, 0.0]))
    tensor([[1.0000, 0.0000, 0.5000],
            [0.0000, 2.0000, 0.0000]])
    """
    computed = _checked(parameters, 6).reshape(*parameters.shape[:-1], 2, 3)
    return computed + torch.eye(2, 3, dtype=computed.dtype, device=computed.device)


def attention(parameters: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2 3"]:
    r"""Three numbers as a square window that keeps its shape: how large, and where. Zeros change nothing.

    .. math:: A_\theta = \begin{bmatrix} s & 0 & t_x \\ 0 & s & t_y \end{bmatrix}, \qquad s = 1 + \theta_1

    Args:
        parameters: ``(*batch, 3)``: :math:`s - 1`, :math:`t_x` and :math:`t_y`.

    Returns:
        Matrices ``(*batch, 2, 3)``.

    Raises:
        TypeError: ``parameters`` is not a floating point tensor.
        ValueError: there are not three.

    Source: Jaderberg et al. 2015, Eq. 2 [jaderberg2015].

    Departs from the source: counts from the identity.

    >>> attention(torch.tensor([-0.5, 0.25, 0.0]))  # half of the image, a little to the right
    tensor([[0.5000, 0.0000, 0.2500],
            [0.0000, 0.5000, 0.0000]])
    """
    scale, across, down = _checked(parameters, 3).unbind(-1)
    nothing = torch.zeros_like(scale)
    rows = [torch.stack(row, -1) for row in ([1 + scale, nothing, across], [nothing, 1 + scale, down])]
    return torch.stack(rows, -2)


def projective(parameters: Float[Tensor, "*batch 8"]) -> Float[Tensor, "*batch 3 3"]:
    r"""Eight numbers as a projective map, as a plane looks from anywhere. Zeros change nothing.

    .. math::
        H_\theta = \begin{bmatrix} 1 + \theta_1 & \theta_2 & \theta_3 \\ \theta_4 & 1 + \theta_5 & \theta_6 \\
        \theta_7 & \theta_8 & 1 \end{bmatrix}

    Args:
        parameters: :math:`\theta`, ``(*batch, 8)``; where the last two are zero the map is affine.

    Returns:
        Matrices ``(*batch, 3, 3)``.

    Raises:
        TypeError: ``parameters`` is not a floating point tensor.
        ValueError: there are not eight.

    Source: Jaderberg et al. 2015, section 3.2, which names it without a formula [jaderberg2015].

    >>> projective(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0]))
    tensor([[1.0000, 0.0000, 0.0000],
            [0.0000, 1.0000, 0.0000],
            [0.5000, 0.0000, 1.0000]])
    """
    computed = nn.functional.pad(_checked(parameters, 8), (0, 1)).reshape(*parameters.shape[:-1], 3, 3)
    return computed + torch.eye(3, dtype=computed.dtype, device=computed.device)


def _checked(parameters: Tensor, count: int) -> Tensor:
    computed = as_computed(parameters, "parameters")
    if parameters.ndim == 0 or parameters.shape[-1] != count:
        raise ValueError(f"parameters must have shape (*batch, {count}), got shape {tuple(parameters.shape)}")
    return computed


def warped_grid(
    matrix: Float[Tensor, "*batch row 3"], size: tuple[int, int]
) -> Float[Tensor, "*batch height_out width_out 2"]:
    r"""Where each pixel of the output is read.

    .. math::
        \begin{pmatrix} x^s \\ y^s \end{pmatrix} = A \begin{pmatrix} x^t \\ y^t \\ 1 \end{pmatrix}
        \qquad \text{or} \qquad
        \begin{pmatrix} x^s \\ y^s \end{pmatrix} = \frac{1}{w} \begin{pmatrix} u \\ v \end{pmatrix}, \quad
        \begin{pmatrix} u \\ v \\ w \end{pmatrix} = H \begin{pmatrix} x^t \\ y^t \\ 1 \end{pmatrix}

    Args:
        matrix: affine :math:`A`, ``(*batch, 2, 3)``, or projective :math:`H`, ``(*batch, 3, 3)``. A singular one is no
            mistake: it reads along a line, or one point again and again.
        size: ``(height_out, width_out)`` of the output.

    Returns:
        Coordinates ``(x, y)``, ``(*batch, height_out, width_out, 2)``, in single precision at least. On and behind the
        horizon of a projective map, where :math:`w \le 0`, nothing is to be seen: such a point lies at infinity, which
        samplers read as zero, and has no gradient.

    Raises:
        TypeError: ``matrix`` is not a floating point tensor, or a size is not whole.
        ValueError: ``matrix`` has another shape, or a size is below 1.

    Source: Jaderberg et al. 2015, Eq. 1 and section 3.2 [jaderberg2015].

    >>> warped_grid(torch.tensor([[0.5, 0.0, 0.0], [0.0, 1.0, 0.0]]), (1, 2))  # middles at -0.5 and 0.5; half of it
    tensor([[[-0.2500,  0.0000],
             [ 0.2500,  0.0000]]])
    """
    computed = as_computed(matrix, "matrix")
    if matrix.ndim < 2 or tuple(matrix.shape[-2:]) not in ((2, 3), (3, 3)):
        raise ValueError(f"matrix must have shape (*batch, 2, 3) or (*batch, 3, 3), got shape {tuple(matrix.shape)}")
    for name, length in zip(("height", "width"), size, strict=True):
        check_whole(name, length)
    points = times(_homogeneous(size, computed), computed.mT)
    points = points.reshape(*matrix.shape[:-2], *size, matrix.shape[-2])
    if matrix.shape[-2] == 2:
        return points
    depth = points[..., 2:]
    # So near to the horizon that a quotient, and its slope, would overflow.
    seen = depth > torch.finfo(points.dtype).eps
    return torch.where(seen, points[..., :2] / torch.where(seen, depth, 1.0), torch.inf)


def _homogeneous(size: tuple[int, int], like: Tensor) -> Tensor:
    """The middles of all pixels as ``(x, y, 1)``, row after row."""
    places = [torch.arange(length, device=like.device, dtype=like.dtype) for length in size]
    rows, columns = (to_coordinate(place, length) for place, length in zip(places, size, strict=True))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1).flatten(0, 1)


def inverse(matrix: Float[Tensor, "*batch row 3"]) -> Float[Tensor, "*batch row 3"]:
    r"""The map that leads back: from a point of the input to the point of the output that shows it.

    .. math:: A^{-1} = \begin{bmatrix} L^{-1} & -L^{-1} t \end{bmatrix}, \qquad A = \begin{bmatrix} L & t \end{bmatrix}

    Args:
        matrix: affine ``(*batch, 2, 3)`` or projective ``(*batch, 3, 3)``.

    Returns:
        The same shape. Of a projective map the factor is kept too, so that what was before the horizon stays there.

    Raises:
        TypeError: ``matrix`` is not a floating point tensor.
        ValueError: it has another shape, or is singular, or so nearly that rounding decides: nothing leads back from a
            line to a plane. In compiled code the values are not looked at.

    Source: ours.

    >>> inverse(torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.5]]))
    tensor([[ 0.5000,  0.0000, -0.5000],
            [ 0.0000,  1.0000, -0.5000]])
    """
    computed = as_computed(matrix, "matrix")
    if matrix.ndim < 2 or tuple(matrix.shape[-2:]) not in ((2, 3), (3, 3)):
        raise ValueError(f"matrix must have shape (*batch, 2, 3) or (*batch, 3, 3), got shape {tuple(matrix.shape)}")
    linear = computed[..., :2] if matrix.shape[-2] == 2 else computed
    if not is_traced():
        size = torch.linalg.matrix_norm(linear.detach()) ** linear.shape[-1]
        singular = ~(linear.detach().det().abs() > 16 * torch.finfo(linear.dtype).eps * size)
        if bool(singular.any()):
            example = computed.detach()[singular][0].tolist()
            raise ValueError(f"matrix must be invertible, got {example}, which takes the plane to a line or a point")
    back: Tensor = torch.linalg.inv(linear)
    if matrix.shape[-2] == 2:
        return torch.cat([back, -times(back, computed[..., 2:])], -1).to(matrix.dtype)
    return back.to(matrix.dtype)


def transform(
    image: Float[Tensor, "*batch channel height width"],
    matrix: Float[Tensor, "*batch row 3"],
    size: tuple[int, int] | None = None,
) -> Transformed:
    r"""Read an image through a warp: :func:`warped_grid`, then :func:`~attnlib.input_features.sampling.sample`.

    .. math:: V = \mathrm{sample}(U, \mathcal T_\theta(G))

    Args:
        image: :math:`U`, ``(*batch, channel, height, width)``.
        matrix: ``(*batch, 2, 3)`` or ``(*batch, 3, 3)``.
        size: ``(height_out, width_out)``; None: that of the image. A smaller output skips pixels and does not average.

    Returns:
        A :class:`Transformed`. The identity gives the image back, but for rounding, whatever its size.

    Raises:
        TypeError: as :func:`warped_grid`; ``image`` is not a floating point tensor.
        ValueError: as there; the shapes do not fit.

    Source: Jaderberg et al. 2015, section 3 [jaderberg2015].

    >>> image = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> transform(image, torch.tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])).image  # x turned about: a mirror
    tensor([[[3., 2., 1.]]])
    """
    as_image(image)
    grid = warped_grid(matrix, (image.shape[-2], image.shape[-1]) if size is None else size)
    return Transformed(sample(image, grid), grid, matrix)


class SpatialTransformer(nn.Module):
    """A network that looks at an image and says how to warp it; at the start it changes nothing.

    Args:
        localisation: a network ``image -> features``, ``(batch, d)``.
        d: size of its features; a linear layer makes the parameters of them, and starts at zero.
        form: how the parameters make a matrix: :func:`affine`, :func:`attention`, :func:`projective`, or another
            ``parameters -> matrix`` for which zeros are the identity.
        parameters: how many it takes: 6, 3, 8.
        size: ``(height_out, width_out)``; None: that of the image.

    Source: Jaderberg et al. 2015, section 3.4 [jaderberg2015].

    >>> localisation = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.ReLU())
    >>> look = SpatialTransformer(localisation, 5, form=attention, parameters=3)
    >>> image = torch.arange(9.0).view(1, 1, 3, 3)
    >>> torch.allclose(look(image).image, image, atol=1e-5)
    True
    """

    def __init__(
        self,
        localisation: nn.Module,
        d: int,
        *,
        form: Callable[[Tensor], Tensor] = affine,
        parameters: int = 6,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.localisation, self.form, self.size = localisation, form, size
        self.last = nn.Linear(d, parameters)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Transformed:
        """The image as it was read, with grid and matrix."""
        as_image(image)
        return transform(image, self.form(self.last(self.localisation(image))), self.size)
