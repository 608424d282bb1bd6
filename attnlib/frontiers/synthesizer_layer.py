"""Synthesizers with their parameters: what makes the energies of each head, and the layer that weighs by them."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..attention import Attention
from ..output_representations.parts import join, split
from ._projected import projected
from .synthesizer import cut, dense, factorised_dense, factorised_random, synthetic

__all__ = ["Dense", "FactorisedDense", "FactorisedRandom", "Random", "Synthesizer"]


class Dense(nn.Module):
    """:func:`~attnlib.frontiers.synthesizer.dense` for each head.

    Args:
        size: of an input.
        length: the largest number of items.
        heads: how many.
        hidden: size of the hidden layer; ``size / heads`` unless given, as in the first author's code.

    Raises:
        ValueError: a number is below 1.

    Source: Tay et al. 2021 [tay2021], at second hand.

    Departs from the source: in the first author's code the heads share their last matrix.

    >>> Dense(6, length=7, heads=2)(torch.ones(1, 5, 6)).shape
    torch.Size([1, 2, 5, 5])
    """

    def __init__(self, size: int, *, length: int, heads: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = max(size // max(heads, 1), 1) if hidden is None else hidden
        _check_sizes(size=size, length=length, heads=heads, hidden=hidden)
        self.hidden_weight, self.weight = _glorot(heads, hidden, size), _glorot(heads, length, hidden)
        self.hidden_bias, self.bias = _zeros(heads, hidden), _zeros(heads, length)

    def forward(self, inputs: Float[Tensor, "*batch time size"]) -> Float[Tensor, "*batch heads time time"]:
        """Energies of each head; row ``i`` depends on item ``i`` only."""
        return dense(
            inputs,
            hidden_weight=self.hidden_weight,
            weight=self.weight,
            hidden_bias=self.hidden_bias,
            bias=self.bias,
        )


class FactorisedDense(nn.Module):
    """:func:`~attnlib.frontiers.synthesizer.factorised_dense` for each head.

    Args:
        size: of an input.
        length: the largest number of items.
        heads: how many.
        first: size of the first factor, which divides ``length``; unless given its largest divisor up to the root.

    Raises:
        ValueError: ``first`` does not divide ``length``, or a number is below 1.

    Source: Tay et al. 2021 [tay2021], at second hand.

    >>> layer = FactorisedDense(6, length=12, heads=2)
    >>> layer.first_weight.shape, layer.second_weight.shape, layer(torch.ones(1, 5, 6)).shape
    (torch.Size([2, 3, 6]), torch.Size([2, 4, 6]), torch.Size([1, 2, 5, 5]))
    """

    def __init__(self, size: int, *, length: int, heads: int, first: int | None = None) -> None:
        super().__init__()
        _check_sizes(size=size, length=length, heads=heads)
        if first is None:
            first = max(n for n in range(1, int(length**0.5) + 1) if length % n == 0)
        if first < 1 or length % first:
            raise ValueError(f"first must divide length={length}, got {first}")
        self.first_weight, self.second_weight = _glorot(heads, first, size), _glorot(heads, length // first, size)
        self.first_bias, self.second_bias = _zeros(heads, first), _zeros(heads, length // first)

    def forward(self, inputs: Float[Tensor, "*batch time size"]) -> Float[Tensor, "*batch heads time time"]:
        """Energies of each head; row ``i`` depends on item ``i`` only."""
        return factorised_dense(
            inputs,
            first_weight=self.first_weight,
            second_weight=self.second_weight,
            first_bias=self.first_bias,
            second_bias=self.second_bias,
        )


class Random(nn.Module):
    """A matrix for each head, the same for every input: trained, or left as it was drawn.

    Args:
        length: the largest number of items.
        heads: how many.
        trained: False keeps the normal numbers that it starts with; they are saved with the layer.

    Raises:
        ValueError: a number is below 1.

    Source: Tay et al. 2021 [tay2021], at second hand.

    >>> len(list(Random(length=7, heads=2, trained=False).parameters()))
    0
    """

    energies: Tensor

    def __init__(self, *, length: int, heads: int, trained: bool = True) -> None:
        super().__init__()
        _check_sizes(length=length, heads=heads)
        _hold(self, "energies", torch.randn(heads, length, length), trained)

    def forward(self, inputs: Float[Tensor, "*batch time size"]) -> Float[Tensor, "heads time time"]:
        """Energies of each head, of as many items as there are."""
        return cut(self.energies, inputs.shape[-2])


class FactorisedRandom(nn.Module):
    """:func:`~attnlib.frontiers.synthesizer.factorised_random` for each head.

    Args:
        length: the largest number of items.
        heads: how many.
        rank: of each head's matrix.
        trained: as in :class:`Random`. The energies start with a variance of one.

    Raises:
        ValueError: a number is below 1.

    Source: Tay et al. 2021 [tay2021], at second hand; the rank of 8 too.

    >>> FactorisedRandom(length=7, heads=2)(torch.ones(1, 5, 6)).shape
    torch.Size([2, 5, 5])
    """

    left: Tensor
    right: Tensor

    def __init__(self, *, length: int, heads: int, rank: int = 8, trained: bool = True) -> None:
        super().__init__()
        _check_sizes(length=length, heads=heads, rank=rank)
        for name in ("left", "right"):
            _hold(self, name, torch.randn(heads, length, rank) * rank**-0.25, trained)

    def forward(self, inputs: Float[Tensor, "*batch time size"]) -> Float[Tensor, "heads time time"]:
        """Energies of each head, of as many items as there are."""
        return factorised_random(self.left, self.right, n_query=inputs.shape[-2])


class Synthesizer(nn.Module):
    r"""A layer that weighs by synthetic energies, or by a mixture of them in which the inner product may take part.

    .. math::
        y = W_o [c^1; \dots; c^H] + b_o, \qquad
        c^h = \mathrm{softmax}\Big( \sum_m a^h_m S^h_m(x) \Big) W^h_v x, \qquad a^h = \mathrm{softmax}(s^h)

    Args:
        size: of inputs and outputs.
        heads: :math:`H`.
        parts: modules that make the energies of each head, ``inputs -> (*batch, heads, time, time)``, such as
            :class:`Dense` and :class:`Random`.
        with_dot: mix in the scaled inner product of queries and keys. With no other part the layer is multi-head
            attention.
        head_size: of a head's values, queries and keys; ``size / heads`` unless given.

    Raises:
        ValueError: the heads do not divide ``size``, or there is nothing to weigh by.

    Source: Tay et al. 2021 [tay2021], at second hand.

    Departs from the source: how shares are made to add up to one is ours, and each head has its own.

    >>> layer = Synthesizer(6, 2, [Dense(6, length=7, heads=2)])
    >>> layer(torch.ones(1, 5, 6)).weights.shape
    torch.Size([1, 2, 5, 5])
    """

    def __init__(
        self,
        size: int,
        heads: int,
        parts: Sequence[nn.Module] = (),
        *,
        with_dot: bool = False,
        head_size: int | None = None,
    ) -> None:
        super().__init__()
        if heads < 1 or (head_size is None and size % heads):
            raise ValueError(f"heads must be at least 1 and divide size={size}, got {heads}")
        if not parts and not with_dot:
            raise ValueError("parts must hold at least one module, or with_dot must be True")
        self.heads, self.parts = heads, nn.ModuleList(parts)
        joined = heads * (size // heads if head_size is None else head_size)
        self.query_weight, self.key_weight = (_glorot(joined, size) if with_dot else None for _ in range(2))
        self.value_weight, self.output_weight, self.output_bias = (
            _glorot(joined, size),
            _glorot(size, joined),
            _zeros(size),
        )
        n = len(parts) + with_dot
        self.share_logits = _zeros(n, heads) if n > 1 else None

    def forward(
        self,
        inputs: Float[Tensor, "*batch time size"],
        *,
        mask: Bool[Tensor, "*#mask"] | None = None,
        is_causal: bool = False,
        need_weights: bool = True,
    ) -> Attention:
        """Let the inputs attend to themselves.

        A mask of three axes is ``(batch, query, key)``, of four ``(batch, heads, query, key)``. In place of the context
        stands the output, ``(*batch, time, size)``; weights are those of each head.
        """
        asks = {
            name: None if weight is None else split(projected("inputs", inputs, weight), self.heads)
            for name, weight in (("query", self.query_weight), ("key", self.key_weight))
        }
        found = synthetic(
            split(projected("inputs", inputs, self.value_weight), self.heads),
            [part(inputs) for part in self.parts],
            shares=None if self.share_logits is None else self.share_logits.softmax(0),
            **asks,
            mask=mask.unsqueeze(-3) if mask is not None and 2 < mask.ndim <= inputs.ndim else mask,
            is_causal=is_causal,
            need_weights=need_weights,
        )
        output = projected("context", join(found.context), self.output_weight, self.output_bias)
        weights = None if found.weights is None else found.weights.to(inputs.dtype)
        return Attention(output.to(inputs.dtype), weights, found.energies)


def _glorot(*shape: int) -> nn.Parameter:
    """Uniform, with the variance 2 / (in + out) in each head."""
    bound = (6 / (shape[-1] + shape[-2])) ** 0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def _zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def _hold(module: nn.Module, name: str, tensor: Tensor, trained: bool) -> None:
    if trained:
        module.register_parameter(name, nn.Parameter(tensor))
    else:
        module.register_buffer(name, tensor)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
