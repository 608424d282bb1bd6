"""Vectors through a matrix, where some of them must not count."""

from torch import Tensor

from .._checks import as_computed
from .._rows import all_finite, bad_rows, nan_where, product, without


def projected(
    name: str, inputs: Tensor, weight: Tensor, bias: Tensor | None = None, *, by_head: bool = False
) -> Tensor:
    """``W x + b`` in single precision at least, with any leading axes of the weight before the time.

    A row that is not finite gives NaN, and spoils no gradient of the weight.

    Args:
        name: what an error calls the inputs.
        inputs: ``(*batch, time, size)``.
        weight: ``(*heads, rows, size)``; the result is ``(*batch, *heads, time, rows)``.
        bias: ``(*heads, rows)``.
        by_head: the inputs have the heads already.
    """
    computed = as_computed(inputs, name)
    if inputs.ndim < 2 or inputs.shape[-1] != weight.shape[-1]:
        raise ValueError(f"{name} must have shape (*batch, time, {weight.shape[-1]}), got shape {tuple(inputs.shape)}")
    for _ in range(0 if by_head else weight.ndim - 2):
        computed = computed.unsqueeze(-3)
    bad = None if all_finite(computed) else bad_rows(computed)
    vectors = product(computed if bad is None else without(bad, computed), weight)
    vectors = vectors if bias is None else vectors + bias.unsqueeze(-2)
    return vectors if bad is None else vectors + nan_where(bad, vectors.dtype)
