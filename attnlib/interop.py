"""Masks as other libraries have them, from and to those of :mod:`attnlib.masks`.

========================================  =============================  ==================  ================
convention                                shape                          hidden is           name
========================================  =============================  ==================  ================
torch, ``key_padding_mask``               ``(batch, key)``               True, or -inf       ``key_padding``
torch, ``attn_mask``; a layer's ``mask``  ``(query, key)``, or per head  True, or -inf       ``attn_mask``
``F.scaled_dot_product_attention``        ``(*batch, query, key)``       False, or -inf      ``sdpa``
additive                                  any                            -inf (0 elsewhere)  ``additive``
Hugging Face, ``attention_mask``          ``(batch, key)``               0                   ``hugging_face``
``flex_attention``, ``mask_mod``          a function of indices          False               ``mask_mod``
Keras, ``attention_mask``                 ``(batch, query, key)``        False               as here
Keras, ``mask`` of a sequence             ``(batch, key)``               False               ``mask[:, None]``
========================================  =============================  ==================  ================

``from_name`` reads that convention, ``to_name`` writes it. Here a mask is boolean and True means *may attend*.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ._checks import check_boolean, check_ndim, check_tensor, is_traced

__all__ = [
    "from_additive",
    "from_attn_mask",
    "from_hugging_face",
    "from_key_padding",
    "from_mask_mod",
    "from_sdpa",
    "to_additive",
    "to_attn_mask",
    "to_hugging_face",
    "to_key_padding",
    "to_mask_mod",
    "to_sdpa",
]

MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def from_key_padding(padding: Tensor) -> Bool[Tensor, "batch 1 key"]:
    """From ``key_padding_mask`` of ``torch.nn.MultiheadAttention``, where True (or -inf) hides.

    Args:
        padding: ``(batch, key)``, boolean or additive.

    Returns:
        ``(batch, 1, key)``.

    Raises:
        TypeError: neither boolean nor floating point.
        ValueError: not two-dimensional.

    >>> from_key_padding(torch.tensor([[False, True]]))
    tensor([[[ True, False]]])
    """
    check_ndim("key_padding_mask", padding, 2)
    return _from_blocked("key_padding_mask", padding).unsqueeze(-2)


def to_key_padding(mask: Bool[Tensor, "batch 1 key"]) -> Bool[Tensor, "batch key"]:
    """To ``key_padding_mask`` of ``torch.nn.MultiheadAttention``, where True hides.

    Args:
        mask: ``(batch, 1, key)``.

    Returns:
        ``(batch, key)``.

    Raises:
        TypeError: not boolean.
        ValueError: another shape; a mask that differs from query to query is no padding.

    >>> to_key_padding(torch.tensor([[[True, False]]]))
    tensor([[False,  True]])
    """
    return ~_keys_only("key_padding_mask", mask)


def from_attn_mask(attn_mask: Tensor) -> Bool[Tensor, "*batch query key"]:
    """From ``attn_mask`` of ``torch.nn.MultiheadAttention`` (``mask`` of its Transformer), where True (or -inf) hides.

    Args:
        attn_mask: ``(query, key)`` or ``(batch * heads, query, key)``, boolean or additive.

    Returns:
        The same shape. Unflatten the first axis of three to ``(batch, heads)`` where heads have an axis.

    Raises:
        TypeError: neither boolean nor floating point.

    >>> from_attn_mask(torch.nn.Transformer.generate_square_subsequent_mask(2))
    tensor([[ True, False],
            [ True,  True]])
    """
    return _from_blocked("attn_mask", attn_mask)


def to_attn_mask(mask: Bool[Tensor, "*batch query key"], n_heads: int = 1) -> Bool[Tensor, "..."]:
    """To ``attn_mask`` of ``torch.nn.MultiheadAttention`` (``mask`` of its Transformer), where True hides.

    Args:
        mask: ``(query, key)``, or ``(batch, query, key)``, which is repeated for each head. The query axis is not
            broadcast: MultiheadAttention wants all of it.
        n_heads: number of heads of the MultiheadAttention.

    Returns:
        ``(query, key)``, or ``(batch * heads, query, key)``.

    Raises:
        TypeError: not boolean.
        ValueError: more than three dimensions, or fewer than two.

    >>> to_attn_mask(torch.tensor([[True, False], [True, True]]))
    tensor([[False,  True],
            [False, False]])
    """
    check_boolean(mask)
    if mask.ndim not in (2, 3):
        raise ValueError(f"mask must have shape (query, key) or (batch, query, key), got {tuple(mask.shape)}")
    return ~mask if mask.ndim == 2 else ~mask.repeat_interleave(n_heads, dim=0)


def from_sdpa(attn_mask: Tensor) -> Bool[Tensor, "*batch query key"]:
    """From ``attn_mask`` of ``F.scaled_dot_product_attention``: the same polarity if boolean, additive if not.

    Args:
        attn_mask: broadcastable to ``(*batch, query, key)``, boolean or additive.

    Returns:
        The same shape.

    Raises:
        TypeError: neither boolean nor floating point.

    >>> from_sdpa(torch.tensor([[0.0, -torch.inf]]))
    tensor([[ True, False]])
    """
    check_tensor("attn_mask", attn_mask)
    if attn_mask.dtype == torch.bool:
        return attn_mask
    if attn_mask.is_floating_point():
        return from_additive(attn_mask)
    raise TypeError(f"attn_mask must be boolean (True = may attend) or additive, got dtype {attn_mask.dtype}")


def to_sdpa(mask: Bool[Tensor, "*mask"]) -> Bool[Tensor, "*mask"]:
    """To ``attn_mask`` of ``F.scaled_dot_product_attention``: the same polarity, so the same mask.

    Args:
        mask: broadcastable to ``(*batch, query, key)``.

    Returns:
        The mask itself. A row without a key is safe here and, since torch 2.5, there.

    >>> to_sdpa(torch.tensor([[True, False]]))
    tensor([[ True, False]])
    """
    check_boolean(mask)
    return mask


def from_additive(bias: Float[Tensor, "*mask"]) -> Bool[Tensor, "*mask"]:
    """From a mask that is added to the energies: 0 shows, -inf (or the dtype's most negative number) hides.

    Args:
        bias: floating point.

    Returns:
        The same shape.

    Raises:
        TypeError: not floating point.
        ValueError: another number: such a bias changes energies and is no mask; give it to ``attend(bias=...)``. In
            compiled code and under ``vmap`` values are not looked at, and another number shows.

    >>> from_additive(torch.tensor([0.0, -torch.inf]))
    tensor([ True, False])
    """
    check_tensor("additive mask", bias)
    if not bias.is_floating_point():
        raise TypeError(f"additive mask must be floating point, got dtype {bias.dtype}")
    hidden = bias <= torch.finfo(bias.dtype).min
    if not is_traced():
        other = bias[~hidden & (bias != 0)]
        if other.numel():
            advice = "a bias is no mask; attend takes it as bias=. If it is to hide all the same, give (bias == 0)"
            raise ValueError(f"additive mask must hold 0 and -inf only, got {other[0].item():g}: {advice}")
    return ~hidden


def to_additive(mask: Bool[Tensor, "*mask"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "*mask"]:
    """To a mask that is added to the energies: 0 shows, -inf hides.

    Args:
        mask: any shape.
        dtype: of the result.

    Returns:
        The same shape.

    Raises:
        TypeError: not boolean.

    >>> to_additive(torch.tensor([True, False]))
    tensor([0., -inf])
    """
    check_boolean(mask)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)


def from_hugging_face(attention_mask: Tensor) -> Bool[Tensor, "batch 1 key"]:
    """From ``attention_mask`` of a Hugging Face tokenizer: 1 = a real token, 0 = padding.

    Args:
        attention_mask: ``(batch, key)``, integer zeros and ones.

    Returns:
        ``(batch, 1, key)``.

    Raises:
        TypeError: floating point (see :func:`from_additive`).
        ValueError: not two-dimensional, or other numbers than 0 and 1 (which compiled code and ``vmap`` do not see).

    >>> from_hugging_face(torch.tensor([[1, 0]]))
    tensor([[[ True, False]]])
    """
    check_ndim("attention_mask", attention_mask, 2)
    if attention_mask.is_floating_point():
        advice = "ones and zeros become integers with .long(), for 0 and -inf see from_additive"
        raise TypeError(f"attention_mask must be integer, got dtype {attention_mask.dtype}: {advice}")
    if not is_traced() and not ((attention_mask == 0) | (attention_mask == 1)).all():
        other = attention_mask[(attention_mask != 0) & (attention_mask != 1)][0].item()
        raise ValueError(f"attention_mask must hold 0 and 1 only, got {other}")
    return attention_mask.bool().unsqueeze(-2)


def to_hugging_face(mask: Bool[Tensor, "batch 1 key"]) -> Int[Tensor, "batch key"]:
    """To ``attention_mask`` of a Hugging Face model: 1 = a real token, 0 = padding.

    Args:
        mask: ``(batch, 1, key)``.

    Returns:
        ``(batch, key)``, int64.

    Raises:
        TypeError: not boolean.
        ValueError: another shape.

    >>> to_hugging_face(torch.tensor([[[True, False]]]))
    tensor([[1, 0]])
    """
    return _keys_only("attention_mask", mask).long()


def from_mask_mod(
    mask_mod: MaskMod,
    n_query: int,
    n_key: int,
    *,
    n_batch: int | None = None,
    n_heads: int | None = None,
    device: torch.device | str = "cpu",
) -> Bool[Tensor, "batch heads {n_query} {n_key}"]:
    """From ``mask_mod`` of ``flex_attention``: True = may attend, as here.

    Args:
        mask_mod: ``(batch, head, query, key) -> bool``, each argument an index.
        n_query: number of queries.
        n_key: number of keys.
        n_batch: size of the batch; 1 if the mask is the same for all.
        n_heads: number of heads; 1 if the mask is the same for all.
        device: where the mask is made.

    Returns:
        ``(batch, heads, query, key)``.

    Raises:
        TypeError: ``mask_mod`` gives something else than booleans.

    >>> from_mask_mod(lambda batch, head, query, key: key <= query, 2, 2)
    tensor([[[[ True, False],
              [ True,  True]]]])
    """
    from torch.nn.attention.flex_attention import create_mask  # takes a second to import

    mask = create_mask(mask_mod, n_batch, n_heads, n_query, n_key, device=device)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask_mod must give booleans (True = may attend), got dtype {mask.dtype}")
    return mask


def to_mask_mod(mask: Bool[Tensor, "*mask"]) -> MaskMod:
    """To ``mask_mod`` of ``flex_attention``: True = may attend, as here.

    Args:
        mask: broadcastable to ``(batch, heads, query, key)``.

    Returns:
        A function that looks the mask up.

    Raises:
        TypeError: not boolean.
        ValueError: more than four dimensions.

    >>> to_mask_mod(torch.tensor([[True, False], [True, True]]))(*torch.tensor([0, 0, 1, 0]))
    tensor(True)
    """
    check_boolean(mask)
    if mask.ndim > 4:
        raise ValueError(f"mask must broadcast to (batch, heads, query, key), got shape {tuple(mask.shape)}")
    table = mask.reshape((1,) * (4 - mask.ndim) + tuple(mask.shape))
    own = [int(size > 1) for size in table.shape]
    return lambda batch, head, query, key: table[batch * own[0], head * own[1], query * own[2], key * own[3]]


def _from_blocked(name: str, blocked: Tensor) -> Tensor:
    check_tensor(name, blocked)
    if blocked.dtype == torch.bool:
        return ~blocked
    if blocked.is_floating_point():
        return from_additive(blocked)
    raise TypeError(f"{name} must be boolean (True = hidden) or additive, got dtype {blocked.dtype}")


def _keys_only(name: str, mask: Tensor) -> Tensor:
    check_boolean(mask)
    if mask.ndim != 3 or mask.shape[-2] != 1:
        raise ValueError(f"{name} wants a mask of shape (batch, 1, key) but mask has shape {tuple(mask.shape)}")
    return mask.squeeze(-2)
