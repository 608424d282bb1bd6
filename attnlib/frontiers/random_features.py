"""Random features (Choromanski et al. 2021): the exponential kernel as the mean of products, and so linear attention.

Each direction gives one feature of a query and one of a key, and the mean of their products over directions is the
kernel of softmax attention: ``linear_attention(..., feature_map=partial(positive_features, directions=directions))``
is softmax attention, up to chance.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .._checks import check_parameter
from .._rows import product, wide

__all__ = ["gaussian_directions", "positive_features", "trigonometric_features"]


def gaussian_directions(
    count: int,
    d: int,
    *,
    orthogonal: bool = True,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "{count} {d}"]:
    r"""Draw directions, each a vector of the standard normal distribution, in runs of ``d`` at right angles.

    .. math:: w \sim \mathcal{N}(0, I), \qquad w_a^\top w_b = 0 \text{ in a run}

    Right angles change how directions go together and not how any one is distributed, so that means stay right; they
    come out with less variance.

    Args:
        count: how many, any number; the last run may be short.
        d: size of the vectors that will be mapped.
        orthogonal: False draws each for itself.
        generator: where the random numbers come from.
        device: where the directions are made.
        dtype: of the directions; torch's default unless given.

    Returns:
        ``(count, d)``.

    Raises:
        ValueError: ``count`` or ``d`` is below 1.

    Source: Choromanski et al. 2021, the orthogonal features [choromanski2021].

    >>> w = gaussian_directions(3, 3, generator=torch.Generator().manual_seed(0))
    >>> (w @ w.T).fill_diagonal_(0.0).abs().max() < 1e-5
    tensor(True)
    """
    if count < 1 or d < 1:
        raise ValueError(f"count and d must be at least 1, got {count} and {d}")
    runs = -(-count // d)
    drawn, other = torch.randn(2, runs, d, d, generator=generator, device=device, dtype=dtype)
    if not orthogonal:
        loose: Tensor = drawn.flatten(0, 1)[:count]
        return loose
    turned, upper = torch.linalg.qr(drawn)
    # The factorisation chooses signs; with those of the diagonal every turn is as likely as any other.
    turned = turned * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    lengths = torch.linalg.vector_norm(other, dim=-1, keepdim=True)
    found: Tensor = (turned.mT * lengths).flatten(0, 1)[:count]
    return found


def positive_features(
    vectors: Float[Tensor, "*batch time d"], *, directions: Float[Tensor, "m d"], scale: float | None = None
) -> Float[Tensor, "*batch time m"]:
    r"""Features whose products have the exponential kernel for their mean, and are never negative.

    .. math::
        \phi(x) = \frac{1}{\sqrt{m}} \exp\Bigl(w_a^\top x' - \frac{\lVert x' \rVert^2}{2}\Bigr)_{a = 1 \dots m}, \quad
        x' = \sqrt{s} \, x, \qquad \mathbb{E}\, \phi(q)^\top \phi(k) = \exp(s \, q^\top k)

    No feature is above :math:`\exp(\lVert w_a \rVert^2 / 2) / \sqrt{m}`, whatever the vector. Those of a long vector
    may all be zero: in float32 from a length of :math:`x'` of about 14 on, and more where directions point its way.

    Args:
        vectors: :math:`x`, queries or keys, ``(*batch, time, d)``.
        directions: :math:`w`, ``(m, d)``, of :func:`gaussian_directions`; the same for queries and keys.
        scale: :math:`s`, above 0; :math:`1 / \sqrt{d}` unless given, as softmax attention has it.

    Returns:
        Features ``(*batch, time, m)``, in float32 at least.

    Raises:
        ValueError: the directions are of another size; ``scale`` is not above 0.

    Source: Choromanski et al. 2021, Lemma 1 [choromanski2021].

    Departs from the source: its code takes a maximum off the exponents and adds a small number to the features.

    >>> positive_features(torch.zeros(1, 2), directions=torch.randn(4, 2))
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
    """
    exponents, halves, count = _exponents(vectors, directions, scale)
    return torch.exp(exponents - halves) / math.sqrt(count)


def trigonometric_features(
    vectors: Float[Tensor, "*batch time d"], *, directions: Float[Tensor, "m d"], scale: float | None = None
) -> Float[Tensor, "*batch time 2*m"]:
    r"""Features of sine and cosine with the same mean, of both signs: the older way, and why it is not taken.

    .. math::
        \phi(x) = \frac{1}{\sqrt{m}} \exp\Bigl(\frac{\lVert x' \rVert^2}{2}\Bigr)
        \bigl[\cos(w_a^\top x'), \sin(w_a^\top x')\bigr]_{a = 1 \dots m}

    Where the kernel is small, its estimate is the small difference of large numbers, and may be negative. Weights out
    of it are no distribution.

    Args:
        vectors: as in :func:`positive_features`.
        directions: as there.
        scale: as there.

    Returns:
        Features ``(*batch, time, 2 m)``, in float32 at least.

    Raises:
        ValueError: as there.

    Source: Choromanski et al. 2021, after Rahimi and Recht 2007 [choromanski2021].

    >>> trigonometric_features(torch.zeros(1, 2), directions=torch.randn(4, 2))
    tensor([[0.5000, 0.5000, 0.5000, 0.5000, 0.0000, 0.0000, 0.0000, 0.0000]])
    """
    angles, halves, count = _exponents(vectors, directions, scale)
    return torch.cat([angles.cos(), angles.sin()], -1) * torch.exp(halves) / math.sqrt(count)


def _exponents(vectors: Tensor, directions: Tensor, scale: float | None) -> tuple[Tensor, Tensor, int]:
    """Inner products with the directions, half the squared lengths, and the number of directions."""
    count, d = directions.shape[0], vectors.shape[-1]
    check_parameter("directions", directions, m=count, d=d)
    scale = 1 / math.sqrt(d) if scale is None else scale
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be a finite number above 0, got {scale}")
    x = wide(vectors) * math.sqrt(scale)
    return product(x, directions), x.square().sum(-1, keepdim=True) / 2, count
