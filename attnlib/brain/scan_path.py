"""Where the eye goes: the most salient place wins and is then inhibited, so that the next one can win."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .._checks import may_look
from ._images import as_image

__all__ = ["ScanPath", "fixations_until", "scan_path"]


class ScanPath(NamedTuple):
    """The fixations in their order, and the disc that each of them attends to.

    Where nothing was left to look at, ``row`` and ``column`` are -1, the strength is 0 and the disc empty.
    """

    row: Int[Tensor, "*batch fixation"]
    column: Int[Tensor, "*batch fixation"]
    strength: Float[Tensor, "*batch fixation"]
    attended: Bool[Tensor, "*batch fixation height width"]


def scan_path(
    saliency: Float[Tensor, "*batch height width"],
    n_fixations: int,
    *,
    radius: float | int | None = None,
    memory: int | None = None,
) -> ScanPath:
    r"""Look at the most salient place, inhibit a disc around it, and look again.

    .. math::
        p_t = \operatorname*{arg\,max}_p S_t(p), \qquad D_t = \{ p : \lVert p - p_t \rVert \le r \}, \qquad
        S_{t+1}(p) = \begin{cases} 0 & p \in D_u \text{ for one of the last } u \le t \\ S(p) & \text{else} \end{cases}

    Args:
        saliency: :math:`S`, ``(*batch, height, width)``. Only places above 0 can win; of equal ones the first, row by
            row.
        n_fixations: how often to look, at least 1.
        radius: :math:`r`, in pixels of the map; by default a sixth of its shorter side. 0 inhibits the pixel alone.
        memory: for how many fixations a disc stays inhibited; for good by default.

    Returns:
        A :class:`ScanPath` of ``(*batch, fixation)``. ``strength`` is the map at the place, with its gradient; the
        choice of the place has none.

    Raises:
        TypeError: the map is not floating point; ``n_fixations`` or ``memory`` is not whole.
        ValueError: the map has NaN or nothing in it; ``n_fixations`` or ``memory`` is below 1, or ``radius`` below 0.

    Source: Koch and Ullman 1985 [koch1985]; Itti, Koch and Niebur 1998, section 2.3 [itti1998].

    Departs from the source: the winner is found at once, not by spiking neurons that take time; the disc is inhibited
    wholly, and its surround is not excited.

    >>> path = scan_path(torch.tensor([[0.1, 0.9, 0.8, 0.0, 0.5]]), 4, radius=1)
    >>> path.column, path.strength
    (tensor([ 1,  4, -1, -1]), tensor([0.9000, 0.5000, 0.0000, 0.0000]))
    """
    as_image("saliency", saliency, channels=False)
    for name, number in (("n_fixations", n_fixations), ("memory", memory)):
        if number is None and name == "memory":
            continue
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{name} must be a whole number, got {number!r}")
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    height, width = saliency.shape[-2:]
    radius = min(height, width) / 6 if radius is None else radius
    if not radius >= 0:
        raise ValueError(f"radius must be at least 0, got {radius}")
    downs, acrosses = (torch.arange(size, device=saliency.device) for size in (height, width))
    discs: list[Tensor] = []
    rows, columns, strengths = [], [], []
    for _ in range(n_fixations):
        kept = discs if memory is None else discs[-memory:]
        inhibited = torch.stack(kept).any(0) if kept else torch.zeros_like(saliency, dtype=torch.bool)
        left = saliency.masked_fill(inhibited, 0.0).flatten(-2)
        place = left.detach().argmax(-1, keepdim=True)
        strength = left.gather(-1, place).squeeze(-1)
        ended = strength <= 0
        row, column = (place // width).squeeze(-1), (place % width).squeeze(-1)
        far = (downs.unsqueeze(-1) - row[..., None, None]) ** 2 + (acrosses - column[..., None, None]) ** 2
        discs.append((far <= radius**2) & ~ended[..., None, None])
        rows.append(row.masked_fill(ended, -1))
        columns.append(column.masked_fill(ended, -1))
        strengths.append(strength.masked_fill(ended, 0.0))
    return ScanPath(torch.stack(rows, -1), torch.stack(columns, -1), torch.stack(strengths, -1), torch.stack(discs, -3))


def fixations_until(
    path: ScanPath, row: Int[Tensor, "*#batch"] | int, column: Int[Tensor, "*#batch"] | int
) -> Int[Tensor, "*batch"]:
    r"""After how many fixations a place was attended to: what a search costs.

    .. math:: \min \{ t : (i, j) \in D_t \}, \qquad t = 1, 2, \dots

    Args:
        path: of :func:`scan_path`.
        row: :math:`i`, in pixels of its map, ``(*batch,)`` or a number.
        column: :math:`j`, likewise.

    Returns:
        ``(*batch,)`` from 1 on; -1 where the path ended without.

    Raises:
        ValueError: the place lies outside of the map.

    Source: the measure of visual search in Treisman and Gelade 1980 [treisman1980], with fixations for time.

    >>> path = scan_path(torch.tensor([[0.1, 0.9, 0.8, 0.0, 0.5]]), 4, radius=1)
    >>> fixations_until(path, 0, 4), fixations_until(path, 0, 2)
    (tensor(2), tensor(1))
    """
    height, width = path.attended.shape[-2:]
    places = []
    for name, place, size in (("row", row, height), ("column", column, width)):
        place = torch.as_tensor(place, device=path.attended.device)
        if may_look(place) and not bool(((place >= 0) & (place < size)).all()):
            raise ValueError(f"{name} must be from 0 to {size - 1}, got {place.tolist()}")
        places.append(place)
    batch = path.row.shape[:-1]
    index = (places[0] * width + places[1]).expand(batch)[..., None, None]
    seen = path.attended.flatten(-2).gather(-1, index.expand(*path.row.shape, 1)).squeeze(-1)
    first = seen.to(torch.int8).argmax(-1) + 1
    return torch.where(seen.any(-1), first, -1)
