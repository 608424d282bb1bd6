"""Multi-head attention: several small attentions side by side over parts of the features, and their contexts joined."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .. import masks
from .._checks import as_computed, check_mask, check_parameter, is_traced
from .._rows import all_finite, bad_rows, nan_where, product, without
from ..attention import Attend, Attention, attend
from ..scores import scaled_dot
from ._cache import Cache, longer, next_item
from .parts import join, split

__all__ = ["Cache", "MultiHead", "multihead"]

Turn = Callable[[Tensor, Tensor], Tensor]


def multihead(
    query: Float[Tensor, "*#batch query d_query"],
    key: Float[Tensor, "*#batch key d_key"],
    value: Float[Tensor, "*#batch key d_value"],
    *,
    heads: int,
    key_value_heads: int | None = None,
    attention: Callable[..., Attention] = attend,
    bias: Float[Tensor, "*#bias"] | None = None,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    need_weights: bool = True,
) -> Attention:
    r"""Cut queries, keys and values into heads, let each attend for itself, and put the contexts side by side.

    .. math::
        c = [c^1; \dots; c^H], \qquad
        c^h = \sum_{j=1}^{n} \alpha^h_j v^h_j, \quad
        \alpha^h = \mathrm{softmax}(e^h), \quad e^h_j = \frac{q^h \cdot k^h_j}{\sqrt{d_k}}

    What is learned, a matrix before each of the three and one after, is in :class:`MultiHead`.

    Args:
        query: :math:`[q^1; \dots; q^H]`, ``(*batch, query, heads * d_k)``.
        key: ``(*batch, key, key_value_heads * d_k)``.
        value: ``(*batch, key, key_value_heads * d_v)``.
        heads: :math:`H`. The energies are divided by the root of a head's size d_k, not of the size of all.
        key_value_heads: fewer keys and values than queries, each for a run of ``heads / key_value_heads`` heads:
            grouped queries; one for all is multi-query. As many as ``heads`` unless given.
        attention: in place of :func:`attnlib.attend`, an :class:`~attnlib.Attend` with another score or dropout.
        bias: added to the energies. Of as many dimensions as the query, or fewer: the same for all heads,
            broadcastable to ``(*batch, query, key)``; of one more: ``(*batch, heads, query, key)``.
        mask: boolean, True = may attend; for all heads or for each, by its dimensions, as ``bias``.
        is_causal: query ``i`` may attend to the keys ``0 ... i``.
        need_weights: without the weights a fused kernel may do the work; the context is the same.

    Returns:
        An :class:`~attnlib.Attention` with the context ``(*batch, query, heads * d_v)``, for
        :func:`~attnlib.output_representations.parts.split` to cut, and
        weights and energies of each head, ``(*batch, heads, query, key)``. A head that may see nothing gives zeros.

    Raises:
        TypeError: an argument is not a tensor, or as in :func:`attnlib.attend`.
        ValueError: heads do not divide the features, ``key_value_heads`` does not divide ``heads``, or shapes do not
            fit.

    Source: Vaswani et al. 2017, section 3.2.2 [vaswani2017]; grouped queries: Ainslie et al. 2023 [ainslie2023];
    multi-query: Shazeer 2019 [shazeer2019].

    >>> one, two = torch.tensor([[0.0, 9.0]]), torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    >>> result = multihead(one, two, torch.tensor([[1.0, 1.0], [3.0, 3.0]]), heads=2)
    >>> result.context  # the first head asks with 0 and gets the mean, the second gets the first value
    tensor([[2., 1.]])
    """
    groups = heads if key_value_heads is None else key_value_heads
    _check_heads(heads, groups)
    parts = split(query, heads, name="query"), split(key, groups, name="key"), split(value, groups, name="value")
    dims = max(query.ndim, key.ndim, value.ndim)
    found = attention(
        *parts,
        bias=_for_heads(bias, dims),
        mask=_for_heads(mask, dims),
        is_causal=is_causal,
        enable_gqa=groups != heads,
        need_weights=need_weights,
    )
    return Attention(join(found.context), found.weights, found.energies)


class MultiHead(nn.Module):
    r"""Multi-head attention with its matrices, of one input to itself or to another.

    .. math:: y = W_o [c^1; \dots; c^H] + b_o, \qquad q = W_q x + b_q, \quad k = W_k x' + b_k, \quad v = W_v x'' + b_v

    Args:
        size: of the queries' inputs and of the outputs.
        heads: :math:`H`.
        key_value_heads: as in :func:`multihead`.
        key_size: of the keys' inputs; ``size`` unless given.
        value_size: of the values' inputs; ``size`` unless given.
        head_size: of the query, key and value of a head; ``size / heads`` unless given.
        bias: whether each of the four matrices has a vector to add, which starts at zero.
        dropout: in training, of the weights; see :class:`~attnlib.Attend`.
        score: any callable ``(query, key) -> energies``.
        turn: what tells queries and keys their places, such as
            :func:`~attnlib.input_representations.distances.rotate`: called with ``(*batch, heads, time, d_k)`` and
            the places ``(time,)``. Nothing tells them unless given.

    Raises:
        ValueError: the heads do not divide ``size``, or ``key_value_heads`` does not divide ``heads``.

    Source: Vaswani et al. 2017, section 3.2.2 [vaswani2017].

    Departs from the source: vectors are added, as in most code since; keys and values may be fewer.

    >>> layer = MultiHead(6, 2)
    >>> result = layer(torch.ones(1, 5, 6))
    >>> result.context.shape, result.weights.shape, sum(p.numel() for p in layer.parameters())  # 4 x (6 x 6 + 6)
    (torch.Size([1, 5, 6]), torch.Size([1, 2, 5, 5]), 168)
    """

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        key_value_heads: int | None = None,
        key_size: int | None = None,
        value_size: int | None = None,
        head_size: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
        score: Callable[[Tensor, Tensor], Tensor] = scaled_dot,
        turn: Turn | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.key_value_heads = heads, heads if key_value_heads is None else key_value_heads
        _check_heads(heads, self.key_value_heads)
        if head_size is None and size % heads:
            raise ValueError(f"size must be a multiple of heads={heads}, got {size}")
        head_size = size // heads if head_size is None else head_size
        few = self.key_value_heads * head_size
        self.query_weight, self.key_weight, self.value_weight, self.output_weight = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns)))
            for rows, columns in (
                (heads * head_size, size),
                (few, size if key_size is None else key_size),
                (few, size if value_size is None else value_size),
                (size, heads * head_size),
            )
        )
        self.query_bias, self.key_bias, self.value_bias, self.output_bias = (
            nn.Parameter(torch.zeros(rows)) if bias else None for rows in (heads * head_size, few, few, size)
        )
        self.attention, self.turn = Attend(score, dropout=dropout), turn

    @classmethod
    def of(cls, module: nn.MultiheadAttention) -> "MultiHead":
        """The same layer with the weights of torch's, copied: the same outputs, and no NaN where nothing is seen.

        Here the batch comes first, whatever ``batch_first`` says. :mod:`attnlib.interop` converts masks; the weights
        of ``average_attn_weights`` are the mean over the heads, ``weights.mean(-3)``.

        Raises:
            ValueError: the module adds a key and value of its own (``add_bias_kv``, ``add_zero_attn``).
        """
        if module.bias_k is not None or module.add_zero_attn:
            raise ValueError("module must not have add_bias_kv or add_zero_attn: here every key is of the input")
        has_bias, packed = module.in_proj_bias is not None, module.in_proj_weight
        sizes = {"key_size": module.kdim, "value_size": module.vdim}
        layer = cls(module.embed_dim, module.num_heads, **sizes, bias=has_bias, dropout=module.dropout)
        weights: tuple[Tensor, ...] = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        parts = {"weight": (*(weights if packed is None else packed.chunk(3)), module.out_proj.weight)}
        if has_bias:
            parts["bias"] = (*module.in_proj_bias.chunk(3), module.out_proj.bias)
        for kind, given in parts.items():
            for name, part in zip(("query", "key", "value", "output"), given, strict=True):
                copied = nn.Parameter(part.detach().clone(), requires_grad=part.requires_grad)
                setattr(layer, f"{name}_{kind}", copied)
        return layer.train(module.training)

    def project(
        self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, *, start: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of inputs, as :func:`multihead` takes them; ``start`` is the place of the first."""
        key = query if key is None else key
        seen = _looked_over("query", query)
        projected = [_projected("query", seen, self.query_weight, self.query_bias)]
        seen = seen if key is query else _looked_over("key", key)
        projected.append(_projected("key", seen, self.key_weight, self.key_bias))
        seen = seen if value is None or value is key else _looked_over("value", value)
        projected.append(_projected("value", seen, self.value_weight, self.value_bias))
        if self.turn is not None:
            for i, heads in enumerate((self.heads, self.key_value_heads)):
                places = torch.arange(start, start + projected[i].shape[-2], device=projected[i].device)
                projected[i] = join(self.turn(split(projected[i], heads), places))
        return projected[0], projected[1], projected[2]

    def output(self, context: Float[Tensor, "*batch query d"]) -> Float[Tensor, "*batch query size"]:
        """The heads' contexts, side by side, through the last matrix."""
        return _projected("context", _looked_over("context", context), self.output_weight, self.output_bias)

    def forward(
        self,
        query: Float[Tensor, "*#batch query size"],
        key: Float[Tensor, "*#batch key key_size"] | None = None,
        value: Float[Tensor, "*#batch key value_size"] | None = None,
        **options: Any,
    ) -> Attention:
        """Attend to ``key`` with the values of ``value``: without a value to the key, without a key to the query.

        Options are ``bias``, ``mask``, ``is_causal`` and ``need_weights`` of :func:`multihead`. In place of the context
        stands the output, ``(*batch, query, size)``; where no head may see anything it is the output's bias.
        """
        return self._attend(*self.project(query, key, value), **options)

    def decode(
        self, inputs: Float[Tensor, "*batch new size"], cache: Cache | None = None, **options: Any
    ) -> tuple[Attention, Cache]:
        """Read on: the new items attend to those of the cache, and causally to themselves.

        Reading a text item by item, or in runs of any length, gives the outputs of ``layer(text, is_causal=True)``.

        Args:
            inputs: the items that follow, ``(*batch, new, size)``.
            cache: what the last call returned; nothing was read before unless given.
            options: ``bias``, ``mask`` and ``need_weights`` of :func:`multihead`, with the keys of the cache first.

        Returns:
            The :class:`~attnlib.Attention` of the new items, and the cache with them, a new one: the one that was given
            can be read on in another way. It is copied, and where nothing is differentiated copied into twice the
            memory that it needs: what is read next is written behind it, and the caches share it. Do not change them.

        Raises:
            TypeError: ``cache`` is not a cache, or as in :func:`multihead`.
            ValueError: ``cache`` is of other sentences or of another layer, or as in :func:`multihead`.
        """
        if cache is not None and not isinstance(cache, Cache):
            raise TypeError(f"cache must be what the last call of decode returned, got {type(cache).__name__}")
        if cache is not None and options == {"need_weights": False} and type(self) is MultiHead:
            found = next_item(self, inputs, cache)
            if found is not None:
                return found
        seen = 0 if cache is None else cache.key.shape[-2]
        query, key, value = self.project(inputs, start=seen)
        new = inputs.shape[-2]
        if cache is not None:
            _check_cache(cache, key, value)
        cache = Cache(key, value) if cache is None else longer(cache, key, value)
        given = _for_heads(options.pop("mask", None), inputs.ndim)
        if given is not None:  # before it is joined with another, which would hide that it can be read in two ways
            check_mask(given, (*inputs.shape[:-2], self.heads, new, seen + new))
        visible = masks.causal(new, seen + new, alignment="lower-right", device=inputs.device)
        visible = visible.reshape((1,) * max(1, inputs.ndim - 2) + visible.shape)  # not to be taken for (batch, key)
        mask = visible if given is None else given & visible
        return self._attend(query, *cache, mask=mask, **options), cache

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Attention:
        options |= {"heads": self.heads, "key_value_heads": self.key_value_heads, "attention": self.attention}
        found = multihead(query, key, value, **options)
        return found._replace(context=self.output(found.context))


def _check_heads(heads: int, key_value_heads: int) -> None:
    if heads < 1:
        raise ValueError(f"heads must be at least 1, got {heads}")
    if key_value_heads < 1 or heads % key_value_heads:
        raise ValueError(f"key_value_heads must divide heads={heads}, got {key_value_heads}")


def _check_cache(cache: Cache, key: Tensor, value: Tensor) -> None:
    for name, old, new in (("key", cache.key, key), ("value", cache.value, value)):
        if (old.shape[:-2], old.shape[-1]) != (new.shape[:-2], new.shape[-1]):
            shapes = f"{tuple(old.shape)} but the new items give {tuple(new.shape)}"
            raise ValueError(f"cache has a {name} of shape {shapes}: only the second-last axis may differ")


def _for_heads(tensor: Tensor | None, dims: int) -> Tensor | None:
    """With an axis for the heads, unless it has one, or so few axes that it broadcasts by itself.

    Without a batch two axes are those of query and key: with a third they cannot be taken for batch and key.
    """
    if not isinstance(tensor, Tensor) or not min(2, dims - 1) < tensor.ndim <= dims:
        return tensor
    return tensor.unsqueeze(-3)


class _Inputs(NamedTuple):
    """What goes into a matrix: in single precision at least, and with ones in the rows that are not finite."""

    rows: Tensor
    bad: Tensor | None  # which rows these are; None where all are finite
    dtype: torch.dtype


def _looked_over(name: str, inputs: Tensor) -> _Inputs:
    computed = as_computed(inputs, name)
    bad = None if all_finite(computed) else bad_rows(computed)
    return _Inputs(computed if bad is None else without(bad, computed), bad, inputs.dtype)


def _projected(name: str, inputs: _Inputs, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``W x + b``. A row that is not finite gives NaN, and spoils no gradient of W."""
    check_parameter(f"{name}_weight", weight, rows=weight.shape[0], size=inputs.rows.shape[-1])
    vectors = product(inputs.rows, weight)
    if bias is not None:
        # Into the product, which nobody keeps: fresh memory for the sum costs as much as the sum.
        is_own = bias.dtype == vectors.dtype and not is_traced()
        vectors = vectors.add_(bias) if is_own else vectors + bias
    return (vectors if inputs.bad is None else vectors + nan_where(inputs.bad, vectors.dtype)).to(inputs.dtype)
