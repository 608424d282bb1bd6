"""The features of a vector as those of several heads, side by side, and back."""

from jaxtyping import Float
from torch import Tensor

from .._checks import check_tensor

__all__ = ["join", "split"]


def split(
    vectors: Float[Tensor, "*batch time d"], heads: int, *, name: str = "vectors"
) -> Float[Tensor, "*batch {heads} time d_head"]:
    """Cut the features into as many parts of equal size as there are heads, and put the heads before the time.

    Args:
        vectors: ``(*batch, time, heads * size)``; the first ``size`` features are those of the first head.
        heads: number of heads.
        name: what an error calls the vectors.

    Returns:
        ``(*batch, heads, time, size)``, a view.

    Raises:
        TypeError: ``vectors`` is not a tensor.
        ValueError: there is no time, or the heads do not divide the features.

    >>> import torch
    >>> split(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), 2)
    tensor([[[1., 2.]],
    <BLANKLINE>
            [[3., 4.]]])
    """
    check_tensor(name, vectors)
    if vectors.ndim < 2:
        raise ValueError(f"{name} must have shape (*batch, time, heads * size), got shape {tuple(vectors.shape)}")
    if heads < 1 or vectors.shape[-1] % heads:
        raise ValueError(f"{name} has {vectors.shape[-1]} features, which heads={heads} must divide")
    size = vectors.shape[-1] // heads
    return vectors.reshape(*vectors.shape[:-1], heads, size).transpose(-3, -2)


def join(parts: Float[Tensor, "*batch heads time d_head"]) -> Float[Tensor, "*batch time d"]:
    """Put the heads' features side by side again: what :func:`split` undoes.

    Args:
        parts: ``(*batch, heads, time, size)``.

    Returns:
        ``(*batch, time, heads * size)``.

    >>> import torch
    >>> join(split(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), 2))
    tensor([[1., 2., 3., 4.]])
    """
    return parts.transpose(-3, -2).flatten(-2)
