"""Where an item stands, told to attention that cannot see it: vectors for positions, to be added to the inputs.

Scores that know the distance stand in :mod:`attnlib.input_representations.distances`.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .._checks import check_boolean, check_tensor, may_look

__all__ = ["LearnedPositions", "sinusoidal", "token_positions", "turns"]


def token_positions(real: Bool[Tensor, "*batch time"]) -> Int[Tensor, "*batch time"]:
    """Count the real tokens before each: positions that padding does not shift, on whichever side it stands.

    Args:
        real: ``(*batch, time)``, True = a real token.

    Returns:
        ``(*batch, time)``, from 0 at the first real token; 0 for the padding before it.

    Raises:
        TypeError: ``real`` is not boolean.

    >>> token_positions(torch.tensor([[False, False, True, True], [True, True, False, False]]))
    tensor([[0, 0, 0, 1],
            [0, 1, 1, 1]])
    """
    check_boolean(real)
    return (real.long().cumsum(-1) - 1).clamp(min=0)


def sinusoidal(
    positions: Tensor, size: int, *, base: float = 10000.0, dtype: torch.dtype | None = None
) -> Float[Tensor, "*batch time size"]:
    r"""Sines and cosines of a position, each pair slower than the one before.

    .. math:: p_{t, 2i} = \sin(t / b^{2i / d}), \qquad p_{t, 2i + 1} = \cos(t / b^{2i / d})

    The inner product of two depends on the distance only: :math:`p_s^\top p_t = \sum_i \cos((s - t) / b^{2i / d})`.

    Args:
        positions: :math:`t`, ``(*batch, time)``, whole numbers or not; see :func:`token_positions`.
        size: :math:`d`, even; that of the inputs to which they are added.
        base: :math:`b`; the slowest pair turns once in nearly :math:`2 \pi b` positions.
        dtype: of the result; torch's default unless given. The angles are computed in double precision.

    Returns:
        ``(*batch, time, size)``.

    Raises:
        ValueError: ``size`` is not even and at least 2, or ``base`` is not above 0.

    Source: Vaswani et al. 2017, section 3.5 [vaswani2017].

    >>> sinusoidal(torch.tensor([0.0, torch.pi / 6]), 2)  # a twelfth of a turn
    tensor([[0.0000, 1.0000],
            [0.5000, 0.8660]])
    """
    angles = turns(positions, size, base=base)
    made = torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)
    return made.to(torch.get_default_dtype() if dtype is None else dtype)


class LearnedPositions(nn.Module):
    """A learned vector for each position up to a last one: beyond it there is nothing.

    Args:
        n_max: number of positions.
        size: of a vector.

    Source: Gehring et al. 2017, section 3.1 [gehring2017].

    >>> LearnedPositions(10, 4)(torch.arange(3)).shape
    torch.Size([3, 4])
    """

    def __init__(self, n_max: int, size: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(n_max, size) * size**-0.5)

    def forward(self, positions: Int[Tensor, "*batch time"]) -> Float[Tensor, "*batch time size"]:
        """The vectors of positions from 0, ``(*batch, time, size)``.

        Raises:
            TypeError: ``positions`` are not whole numbers.
            ValueError: a position is below 0, or is ``n_max`` or more.
        """
        check_tensor("positions", positions)
        if positions.is_floating_point() or positions.dtype == torch.bool:
            raise TypeError(f"positions must be whole numbers, got dtype {positions.dtype}")
        if may_look(positions) and positions.numel():
            least, most = int(positions.min()), int(positions.max())
            if least < 0 or most >= len(self.vectors):
                raise ValueError(f"positions must be from 0 to {len(self.vectors) - 1}, got {least} to {most}")
        return self.vectors[positions]


def turns(positions: Tensor, size: int, *, base: float = 10000.0) -> Float[Tensor, "*batch time half"]:
    r"""How far each pair of components has turned at each position, in double precision.

    .. math:: \theta_{t, i} = t / b^{2i / d}

    Args:
        positions: :math:`t`, ``(*batch, time)``, whole numbers or not.
        size: :math:`d`, even.
        base: :math:`b`.

    Returns:
        Angles, ``(*batch, time, d / 2)``.

    Raises:
        ValueError: ``size`` is not even and at least 2, or ``base`` is not above 0.

    Source: Vaswani et al. 2017, section 3.5 [vaswani2017].

    >>> turns(torch.tensor([0, 100]), 4).tolist()  # the second pair is a hundred times slower
    [[0.0, 0.0], [100.0, 1.0]]
    """
    check_tensor("positions", positions)
    if size < 2 or size % 2:
        raise ValueError(f"size must be even and at least 2, for components go in pairs, got {size}")
    if not base > 0:
        raise ValueError(f"base must be above 0, got {base}")
    pair = torch.arange(0, size, 2, device=positions.device, dtype=torch.float64)
    return positions.double().unsqueeze(-1) * base ** (-pair / size)
