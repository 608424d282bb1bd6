"""Synthesizers: weights that no query and no key have met for, made from one item alone or from nothing but its place.

The functions make energies; :func:`synthetic` weighs by them. All but the last axis of a parameter are those of heads.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .._checks import check_parameter, check_tensor
from .._rows import all_finite, bad_rows, nan_where, product, wide, without
from ..attention import Attention, attend
from ._projected import projected

__all__ = ["cut", "dense", "factorised_dense", "factorised_random", "synthetic"]


def synthetic(
    value: Float[Tensor, "*#batch key d_v"],
    energies: Float[Tensor, "*#batch query key"] | Sequence[Tensor],
    *,
    shares: Float[Tensor, "parts *#heads"] | None = None,
    query: Float[Tensor, "*#batch query d_k"] | None = None,
    key: Float[Tensor, "*#batch key d_k"] | None = None,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    need_weights: bool = True,
) -> Attention:
    r"""Average the values by energies that were made elsewhere, or by a mixture of several such.

    .. math::
        c = \mathrm{softmax}\Big( \sum_m a_m S_m \Big) V, \qquad \sum_m a_m = 1

    The mixture stands inside of the softmax: energies are mixed, not weights. With a query and a key the first of the
    parts is their scaled inner product, and the mixture is one with dot-product attention.

    Args:
        value: ``(*batch, key, d_v)``.
        energies: :math:`S`, ``(*batch, query, key)``, or several such; see :func:`cut` for those that are too large.
        shares: :math:`a`, ``(parts,)`` or ``(parts, heads)``, that of the inner product first; they are not made to add
            up to one here. Each part counts fully unless given.
        query: ``(*batch, query, d_k)``, together with the key.
        key: ``(*batch, key, d_k)``.
        mask: boolean, True = may attend, broadcastable to ``(*batch, query, key)``. The weights of what is visible add
            up to one.
        is_causal: query ``i`` may attend to keys ``0 ... i``.
        need_weights: without the weights a fused kernel may do the work; the context is the same.

    Returns:
        An :class:`~attnlib.Attention`. A query that sees nothing gets zeros.

    Raises:
        TypeError: as :func:`attnlib.attend`.
        ValueError: query without key, no part at all, not a share for each part, or shapes that do not fit.

    Source: Tay et al. 2021 [tay2021], at second hand. That mixtures stand inside of the softmax was read in the
    first author's code, which adds the parts without shares.

    Departs from the source: masks; a row in which nothing is visible gives zeros.

    >>> value, energies = torch.tensor([[0.0], [6.0]]), torch.tensor([[2.0, 1.0], [1.0, 5.0]]).log()
    >>> synthetic(value, energies, is_causal=True, mask=torch.tensor([[True, True], [True, False]])).context
    tensor([[0.],
            [0.]])
    >>> synthetic(value, energies[:1]).context  # a third of 6
    tensor([[2.]])
    """
    parts = [energies] if isinstance(energies, Tensor) else list(energies)
    for part in parts:
        check_tensor("energies", part)
    if (query is None) != (key is None):
        raise ValueError("query and key go together: give both for a mixture with their inner product, or neither")
    if not parts and query is None:
        raise ValueError("energies must be at least one tensor, or there must be a query and a key")
    each = _shares(shares, len(parts) + (query is not None))
    scale = each.pop(0) * max(query.shape[-1], 1) ** -0.5 if query is not None and each else None
    parts = [wide(part) for part in parts]
    parts = [_shared(part, share) for part, share in zip(parts, each, strict=True)] if each else parts
    bias = sum(parts[1:], parts[0]) if parts else None
    if query is None or key is None:
        assert bias is not None
        query, key = value.new_zeros((*bias.shape[:-1], 1)), value.new_zeros((*value.shape[:-1], 1))
    return attend(query, key, value, scale=scale, bias=bias, mask=mask, is_causal=is_causal, need_weights=need_weights)


def dense(
    inputs: Float[Tensor, "*batch time d"],
    *,
    hidden_weight: Float[Tensor, "*heads d_h d"],
    weight: Float[Tensor, "*heads length d_h"],
    hidden_bias: Float[Tensor, "*heads d_h"] | None = None,
    bias: Float[Tensor, "*heads length"] | None = None,
    n_key: int | None = None,
) -> Float[Tensor, "*out time key"]:
    r"""Let each item name the places to look at, without a look at what stands there.

    .. math:: e_i = W_2 \, \mathrm{ReLU}(W_1 x_i + b_1) + b_2

    Args:
        inputs: :math:`x`, ``(*batch, time, d)``.
        hidden_weight: :math:`W_1`, ``(*heads, d_h, d)``.
        weight: :math:`W_2`, ``(*heads, length, d_h)``, with a row for each place there can be.
        hidden_bias: :math:`b_1`, ``(*heads, d_h)``.
        bias: :math:`b_2`, ``(*heads, length)``.
        n_key: how many places there are, at most ``length``; as many as items unless given. The rest is cut off.

    Returns:
        Energies ``(*batch, *heads, time, key)``; row ``i`` depends on item ``i`` only.

    Raises:
        TypeError: ``inputs`` is not a floating point tensor.
        ValueError: there are more places than ``length``, or shapes do not fit.

    Source: Tay et al. 2021 [tay2021], at second hand.

    >>> one, places = torch.tensor([[1.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    >>> dense(torch.tensor([[1.0], [-5.0]]), hidden_weight=one, weight=places)  # the second hides behind ReLU
    tensor([[1., 2.],
            [0., 0.]])
    """
    n_key = inputs.shape[-2] if n_key is None else n_key
    _check_length("length", weight.shape[-2], n_key)
    check_parameter("weight", weight, **_heads(hidden_weight), length=weight.shape[-2], d_h=hidden_weight.shape[-2])
    hidden = F.relu(projected("inputs", inputs, hidden_weight, hidden_bias))
    return projected(
        "hidden", hidden, weight[..., :n_key, :], None if bias is None else bias[..., :n_key], by_head=True
    )


def factorised_dense(
    inputs: Float[Tensor, "*batch time d"],
    *,
    first_weight: Float[Tensor, "*heads a d"],
    second_weight: Float[Tensor, "*heads b d"],
    first_bias: Float[Tensor, "*heads a"] | None = None,
    second_bias: Float[Tensor, "*heads b"] | None = None,
    n_key: int | None = None,
) -> Float[Tensor, "*out time key"]:
    r"""Let each item name a row and a column of a board of places; the energies are products of both.

    .. math:: e_{ij} = A_{i, \; j \bmod a} \; B_{i, \lfloor j / a \rfloor}, \qquad A_i = W_A x_i + b_A, \quad
        B_i = W_B x_i + b_B

    :math:`A_i` is laid out again and again, and each number of :math:`B_i` is held for a round of it, so that every one
    meets every other. If both were laid out again and again, they would only where a and b have no common divisor:
    with 4 and 8 a row of 32 has 8 different products.

    Args:
        inputs: :math:`x`, ``(*batch, time, d)``.
        first_weight: :math:`W_A`, ``(*heads, a, d)``.
        second_weight: :math:`W_B`, ``(*heads, b, d)``; the length is ``a b``.
        first_bias: :math:`b_A`, ``(*heads, a)``.
        second_bias: :math:`b_B`, ``(*heads, b)``.
        n_key: how many places there are, at most ``a b``; as many as items unless given. The rest is cut off.

    Returns:
        Energies ``(*batch, *heads, time, key)``.

    Raises:
        TypeError: ``inputs`` is not a floating point tensor.
        ValueError: there are more places than ``a b``, or shapes do not fit.

    Source: Tay et al. 2021 [tay2021], at second hand.

    Departs from the source: the second factor is held where the paper tiles both.

    >>> first, second = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [10.0], [100.0]])
    >>> factorised_dense(torch.ones(1, 1), first_weight=first, second_weight=second, n_key=5)
    tensor([[  1.,   2.,  10.,  20., 100.]])
    """
    n_key = inputs.shape[-2] if n_key is None else n_key
    _check_length("a b", first_weight.shape[-2] * second_weight.shape[-2], n_key)
    first = projected("inputs", inputs, first_weight, first_bias)
    second = projected("inputs", inputs, second_weight, second_bias)
    bad = bad_rows(first) | bad_rows(second)  # a NaN of one factor would be the slope of the other
    energies = (without(bad, second).unsqueeze(-1) * without(bad, first).unsqueeze(-2)).flatten(-2)
    return (energies + nan_where(bad, energies.dtype))[..., :n_key]


def factorised_random(
    left: Float[Tensor, "*heads length k"],
    right: Float[Tensor, "*heads length k"],
    *,
    n_query: int,
    n_key: int | None = None,
) -> Float[Tensor, "*heads query key"]:
    r"""A matrix of a low rank that knows no input: what a place looks at is learned, or was drawn, once for all.

    .. math:: E = R_1 R_2^\top

    Args:
        left: :math:`R_1`, ``(*heads, length, k)``.
        right: :math:`R_2`, of the same shape.
        n_query: how many items there are, at most ``length``. The rest is not computed.
        n_key: how many places there are; as many as items unless given.

    Returns:
        Energies ``(*heads, query, key)``, the same for every input.

    Raises:
        ValueError: there are more places than ``length``, or shapes do not fit.

    Source: Tay et al. 2021 [tay2021], at second hand.

    >>> factorised_random(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [0.0], [5.0]]), n_query=2)
    tensor([[1., 0.],
            [2., 0.]])
    """
    n_key = n_query if n_key is None else n_key
    check_parameter("right", right, **_heads(left), length=left.shape[-2], k=left.shape[-1])
    _check_length("length", left.shape[-2], max(n_query, n_key))
    return product(left[..., :n_query, :], right[..., :n_key, :])


def cut(
    energies: Float[Tensor, "*heads length length"], n_query: int, n_key: int | None = None
) -> Float[Tensor, "*heads {n_query} key"]:
    """The corner that a shorter text needs, of energies that are one for all: the random synthesizer.

    Args:
        energies: ``(*heads, length, length)``, trained or as they were drawn.
        n_query: how many items there are, at most ``length``.
        n_key: how many places there are; as many as items unless given.

    Returns:
        ``(*heads, query, key)``, a view.

    Raises:
        ValueError: there are more places than ``length``.

    Source: Tay et al. 2021 [tay2021], at second hand; the cut from the first author's code.

    >>> cut(torch.arange(9.0).reshape(3, 3), 2)
    tensor([[0., 1.],
            [3., 4.]])
    """
    n_key = n_query if n_key is None else n_key
    _check_length("length", min(energies.shape[-2:]), max(n_query, n_key))
    return energies[..., :n_query, :n_key]


def _shares(shares: Tensor | None, n: int) -> list[Tensor]:
    """The share of each part, with two axes for queries and keys; none where all count fully."""
    if shares is None:
        return []
    check_tensor("shares", shares)
    if shares.ndim == 0 or shares.shape[0] != n:
        raise ValueError(f"shares must be one for each of {n} parts, got shape {tuple(shares.shape)}")
    return list(shares[..., None, None].unbind(0))


def _shared(part: Tensor, share: Tensor) -> Tensor:
    """The part times its share, which gets no gradient from what is not finite: that may be hidden, and stays."""
    if all_finite(part):
        return part * share
    fine = part.detach().isfinite()
    return torch.where(fine, torch.where(fine, part, 0.0) * share, part.detach())


def _check_length(name: str, length: int, n: int) -> None:
    if n > length:
        raise ValueError(
            f"there are {n} places, but {name} is {length}: a synthesizer knows no place beyond its length"
        )


def _heads(parameter: Tensor) -> dict[str, int]:
    """The leading sizes of a parameter, as an error names them."""
    return {f"heads_{axis}" if axis else "heads": size for axis, size in enumerate(parameter.shape[:-2])}
