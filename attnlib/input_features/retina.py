r"""A sensor with a fovea: sharp where it looks, coarser and wider around, and blind beyond.

A location is ``(x, y)``: first the column, to the right, then the row, downwards. ``(0, 0)`` is the centre of the
image, ``(-1, -1)`` its top left corner, as in :mod:`attnlib.input_features.sampling`. It may lie anywhere, outside too.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from .._checks import as_computed
from .._rows import nan_where
from ._images import as_image, check_whole

__all__ = ["patch_edges", "retina"]


def retina(
    image: Float[Tensor, "*#batch channel height width"],
    location: Float[Tensor, "*#batch 2"],
    *,
    size: int,
    scales: int = 1,
) -> Float[Tensor, "*batch {scales} channel {size} {size}"]:
    r"""Square patches around a location, each twice as wide as the one before, all brought to one size.

    .. math::
        \rho_k(a, b) = \frac{1}{4^k} \int_{S_k(a, b)} I, \qquad
        S_k(a, b) = c + 2^k \Big( \big[ b, b + 1 \big] \times \big[ a, a + 1 \big] - \frac{g}{2} \Big), \qquad k = 0, 1,
        \dots

    Cell ``(a, b)`` of patch ``k`` is the mean over a square of ``2^k`` pixels a side; :math:`c` is the location,
    counted in pixels from the corner of the image, and :math:`g` the size. A pixel counts by its area within the
    square, so that all patches are centred at the location exactly, wherever between pixels it lies.

    Args:
        image: :math:`I`, ``(*batch, channel, height, width)``; leading dimensions broadcast with those of the location.
        location: ``(*batch, 2)``, ``(x, y)`` from -1 to 1 inside of the image.
        size: :math:`g`, cells along a side of a patch; of the first patch cells are pixels.
        scales: how many patches.

    Returns:
        ``(*batch, scale, channel, size, size)``, the finest first. Outside of the image there are zeros, so that a
        location far away, or at infinity, sees nothing; a location that is NaN sees NaN. A pixel that is NaN shows in
        the cells that it touches. What is read is as many pixels as the widest patch has, whatever the image's size.

    Raises:
        TypeError: ``image`` or ``location`` is not a floating point tensor; ``size`` or ``scales`` is not whole.
        ValueError: there are no pixels; a shape does not fit; ``size`` or ``scales`` is below 1.

    Source: Mnih et al. 2014, section 4 [mnih2014].

    Departs from the source: it does not say how patches are resized, nor how a location between pixels is read. Read as
    here, patches have a derivative by the location; the recurrent attention model does not use it.

    >>> image = torch.arange(16.0).view(1, 4, 4)
    >>> patches = retina(image, torch.tensor([0.0, 0.0]), size=2, scales=2)
    >>> patches[0].tolist()  # the four pixels in the middle
    [[[5.0, 6.0], [9.0, 10.0]]]
    >>> patches[1].tolist()  # the means of the four quarters
    [[[2.5, 4.5], [10.5, 12.5]]]
    """
    pixels, place = as_image(image), as_computed(location, "location")
    check_whole("size", size)
    check_whole("scales", scales)
    if location.ndim == 0 or location.shape[-1] != 2:
        raise ValueError(f"location must have shape (*batch, 2), got shape {tuple(location.shape)}")
    try:
        batch = torch.broadcast_shapes(image.shape[:-3], location.shape[:-1])  # type: ignore[no-untyped-call]
    except RuntimeError:
        shapes = tuple(location.shape[:-1]), tuple(image.shape[:-3])
        raise ValueError(f"location has leading dimensions {shapes[0]} but image has {shapes[1]}") from None
    pixels = pixels.expand(*batch, *image.shape[-3:])
    lost = location.isnan().any(-1)
    edges = patch_edges(torch.where(lost.unsqueeze(-1), 0.0, place), image.shape[-2:], size=size, scales=scales)
    edges = edges.expand(*batch, scales, 2)
    patches = [_patch(pixels, edges[..., k, :], size, 2**k) for k in range(scales)]
    seen = torch.stack(patches, -4)
    return (seen + nan_where(lost, seen.dtype)[..., None, None, None, None]).to(image.dtype)


def patch_edges(
    location: Float[Tensor, "*batch 2"], image_size: tuple[int, int] | torch.Size, *, size: int, scales: int = 1
) -> Float[Tensor, "*batch {scales} 2"]:
    r"""Left and top edge of each patch of a :func:`retina`, in pixels from the corner of the image: to draw them.

    .. math:: c - 2^k \frac{g}{2}, \qquad c = \frac{l + 1}{2} (W, H)

    Args:
        location: ``(*batch, 2)``, ``(x, y)``.
        image_size: ``(height, width)`` of the image.
        size: :math:`g`, cells along a side of a patch.
        scales: how many patches.

    Returns:
        ``(*batch, scale, 2)``, ``(left, top)``; patch ``k`` is ``2^k g`` pixels wide. They may lie outside.

    Source: Mnih et al. 2014, section 4 [mnih2014].

    >>> patch_edges(torch.tensor([0.0, 0.0]), (4, 6), size=2, scales=2)
    tensor([[2., 1.],
            [1., 0.]])
    """
    place = as_computed(location, "location")
    centre = torch.stack(
        [(place[..., axis] + 1) * length / 2 for axis, length in ((0, image_size[1]), (1, image_size[0]))], -1
    )
    half = torch.tensor([2**k * size / 2 for k in range(scales)], device=place.device, dtype=place.dtype)
    return centre.unsqueeze(-2) - half.unsqueeze(-1)


def _patch(pixels: Tensor, edge: Tensor, size: int, factor: int) -> Tensor:
    """The means of squares of ``factor`` pixels a side, the first of them at the edge ``(left, top)``."""
    height, width = pixels.shape[-2:]
    span = size * factor
    left, across = _split(edge[..., 0], span, width)
    top, down = _split(edge[..., 1], span, height)
    steps = torch.arange(span + 1, device=pixels.device)
    columns, rows = left.unsqueeze(-1) + steps, top.unsqueeze(-1) + steps
    places = rows.clamp(0, height - 1).unsqueeze(-1) * width + columns.clamp(0, width - 1).unsqueeze(-2)
    channels = (*pixels.shape[:-2], (span + 1) ** 2)
    window = pixels.flatten(-2).gather(-1, places.flatten(-2).unsqueeze(-2).expand(channels))
    window = window.reshape(*pixels.shape[:-2], span + 1, span + 1)
    # Rows first, then columns of what is left: the second half has so many times fewer numbers to go through.
    for edges, length, part in ((rows, height, down), (columns, width, across)):
        inside = ((edges >= 0) & (edges < length))[..., None, :, None]
        window = _between(torch.where(inside, window, 0.0), part[..., None, None, None])
        window = window.unflatten(-2, (size, factor)).mean(-2).mT  # type: ignore[no-untyped-call]
    return window


def _split(edge: Tensor, span: int, length: int) -> tuple[Tensor, Tensor]:
    """The whole pixel at or before an edge, and what is left over; no further away than where nothing is seen."""
    held = edge.clamp(-span - 1.0, length + 1.0)
    whole = held.detach().floor()
    return whole.long(), held - whole


def _between(window: Tensor, part: Tensor) -> Tensor:
    """Rows of squares that begin a part of a pixel further on: they hold so much less of a row, and more of the next.

    The next is not looked at where it has no part: it may be NaN.
    """
    here, following = window[..., :-1, :], window[..., 1:, :]
    return ((1 - part) * here).addcmul(part, torch.where(part == 0, here, following))
