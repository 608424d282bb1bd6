"""What a model of this folder makes of a text."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

__all__ = ["Read"]


class Read(NamedTuple):
    """Vectors of the tokens after the last layer, and where each head of each layer looked (or None)."""

    outputs: Float[Tensor, "*batch time size"]
    weights: Float[Tensor, "*batch layer head time time"] | None
