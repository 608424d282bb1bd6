"""Other libraries' attention in the form that :func:`attnlib.check.check` calls.

That form is ``(query, key, value, mask=None) -> context`` or ``(context, weights)``, batch first, with a boolean mask
``(batch, query, key)`` in which True = may attend. What a thing cannot do, the adapter says: the check leaves it out.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..interop import to_attn_mask, to_key_padding
from ._subject import mask_name

__all__ = [
    "Adapted",
    "arrays",
    "heads_first",
    "keras_attention",
    "keras_multihead",
    "renamed",
    "torch_multihead",
    "with_padding",
]


KERAS_SWITCH = "return_attention_scores"


class Adapted(nn.Module):
    """A function or a module, called in another way; a module that is wrapped changes precision with the check.

    Args:
        wrapped: what is called.
        call: ``(wrapped, query, key, value, mask, **options)``, which calls it.
        takes_mask: whether a mask can be given.
        padding_only: whether the mask must be the same for all queries.
        differentiable: whether torch can follow the call for gradients.
        switch: the name of an argument that asks for the weights, if there is one.

    >>> twice = Adapted(torch.nn.functional.scaled_dot_product_attention, lambda f, q, k, v, mask: f(q, k, 2 * v))
    >>> query = key = value = torch.ones(1, 1, 2)
    >>> twice(query, key, value)
    tensor([[[2., 2.]]])
    """

    def __init__(
        self,
        wrapped: Callable[..., Any],
        call: Callable[..., Any],
        *,
        takes_mask: bool = True,
        padding_only: bool = False,
        differentiable: bool = True,
        switch: str | None = None,
    ) -> None:
        super().__init__()
        self.wrapped, self.call, self.switch = wrapped, call, switch
        self.takes_mask, self.padding_only, self.differentiable = takes_mask, padding_only, differentiable
        self.__name__ = getattr(wrapped, "__name__", type(wrapped).__name__)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Adapted":
        """A copy that has its own module; what is none, such as another library's layer, may have no copy."""
        wrapped = copy.deepcopy(self.wrapped, memo) if isinstance(self.wrapped, nn.Module) else self.wrapped
        what = {"padding_only": self.padding_only, "differentiable": self.differentiable, "switch": self.switch}
        twin = Adapted(wrapped, self.call, takes_mask=self.takes_mask, **what)  # type: ignore[arg-type]
        return twin.train(self.training)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, **options: Any) -> Any:
        """Call what is wrapped."""
        return self.call(self.wrapped, query, key, value, mask, **options)


def torch_multihead(module: nn.MultiheadAttention, *, padding: bool = False, need_weights: bool = True) -> Adapted:
    """``torch.nn.MultiheadAttention``, whose masks say what is hidden, with its weights of each head.

    Args:
        module: with ``batch_first=True``.
        padding: give the mask as ``key_padding_mask``, where it is the same for all queries; as ``attn_mask`` if not.
        need_weights: ask for the weights, which takes another path.

    Returns:
        What the check calls.

    Raises:
        ValueError: the module is not batch first.

    >>> from attnlib.check import check
    >>> report = check(torch_multihead(torch.nn.MultiheadAttention(8, 2, batch_first=True)))
    >>> report["empty row"].holds, report["order"].holds
    (False, True)
    """
    if not module.batch_first:
        raise ValueError("module must have batch_first=True")
    heads = module.num_heads

    def call(
        wrapped: nn.MultiheadAttention,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        need_weights: bool = need_weights,
    ) -> Any:
        hidden: dict[str, Tensor] = {}
        if mask is not None and padding:
            hidden["key_padding_mask"] = to_key_padding(mask[:, :1])
        elif mask is not None:
            hidden["attn_mask"] = to_attn_mask(mask, heads)
        return wrapped(query, key, value, need_weights=need_weights, average_attn_weights=False, **hidden)

    return Adapted(module, call, padding_only=padding, switch="need_weights")


def heads_first(function: Callable[..., Any], *, mask: str = "mask") -> Adapted:
    """A function of ``(batch, heads, time, size)``, called with one head.

    Args:
        function: such as ``torch.nn.functional.scaled_dot_product_attention``.
        mask: the name of its argument for a boolean mask, True = may attend.

    Returns:
        What the check calls.

    >>> from attnlib.check import check
    >>> attention = torch.nn.functional.scaled_dot_product_attention
    >>> check(heads_first(attention, mask="attn_mask"), kind="scaled dot")["energies"].holds
    True
    """

    def call(
        wrapped: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, **options: Any
    ) -> Any:
        given = {} if seen is None else {mask: seen[:, None]}
        found = wrapped(*(part[:, None] for part in (query, key, value)), **given, **options)
        context, *others = found if isinstance(found, (tuple, list)) else (found,)
        return (context.squeeze(1), *others) if others else context.squeeze(1)

    return Adapted(function, call)


def with_padding(function: Callable[..., Any], *, mask: str = "mask", hides: bool = False) -> Adapted:
    """A function whose mask is ``(batch, key)``, the same for all queries.

    Args:
        function: called as ``function(query, key, value, mask=...)``.
        mask: the name of its argument.
        hides: whether True means *hidden*.

    Returns:
        What the check calls.

    >>> def first_seen(query, key, value, pad):
    ...     return value[:, :1].expand(-1, query.shape[1], -1) * (~pad[:, 0])[:, None, None]
    >>> seen = torch.tensor([[[False, True]]])
    >>> key = value = torch.ones(1, 2, 2)
    >>> with_padding(first_seen, mask="pad", hides=True)(torch.ones(1, 1, 2), key, value, seen)
    tensor([[[0., 0.]]])
    """

    def call(
        wrapped: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, **options: Any
    ) -> Any:
        if seen is not None:
            options[mask] = seen[:, 0] ^ hides
        return wrapped(query, key, value, **options)

    return Adapted(function, call, padding_only=True)


def renamed(
    function: Callable[..., Any], *, order: str = "query key value", mask: str | None = "mask", hides: bool = False
) -> Adapted:
    """A function with its arguments in another order, with another name for the mask, or with none.

    Args:
        function: what is called.
        order: ``query``, ``key`` and ``value`` in the order in which it takes them.
        mask: the name of its argument for a boolean mask ``(batch, query, key)``; None if it takes none.
        hides: whether True means *hidden*.

    Returns:
        What the check calls.

    Raises:
        ValueError: ``order`` does not name the three.

    >>> from attnlib.check import check
    >>> check(renamed(lambda v, k, q: (q @ k.mT).softmax(-1) @ v, order="value key query", mask=None)).failed
    []
    """
    names = order.split()
    if sorted(names) != ["key", "query", "value"]:
        raise ValueError(f"order must name query, key and value, got {order!r}")

    def call(
        wrapped: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, **options: Any
    ) -> Any:
        given = {"query": query, "key": key, "value": value}
        if seen is not None and mask is not None:
            options[mask] = seen ^ hides
        return wrapped(*(given[name] for name in names), **options)

    return Adapted(function, call, takes_mask=mask is not None)


def arrays(function: Callable[..., Any], *, into: Callable[[Any], Any] | None = None) -> Adapted:
    """A function of arrays of another library; no gradient is followed through it.

    Args:
        function: ``(query, key, value, mask=None)`` of arrays.
        into: makes an array of one of numpy's, such as ``jax.numpy.asarray`` or ``keras.ops.convert_to_tensor``; for
            one that reads dlpack, ``lambda array: from_dlpack(torch.from_numpy(array))``. Numpy's own by default.

    Returns:
        What the check calls. What comes back is read by dlpack where the array offers it, else by ``numpy.asarray``.

    >>> import numpy
    >>> def hard(query, key, value, mask=None):
    ...     energies = query @ key.swapaxes(1, 2)
    ...     energies = energies if mask is None else numpy.where(mask, energies, -numpy.inf)
    ...     return numpy.take_along_axis(value, energies.argmax(-1)[..., None], 1)
    >>> from attnlib.check import check
    >>> report = check(arrays(hard), kind="hard")
    >>> report.failed, report["hidden gradient"].found
    ([], 'has no gradient in torch')
    """

    def call(
        wrapped: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, **options: Any
    ) -> Any:
        given = [as_array(part, into) for part in (query, key, value)]
        if seen is not None:
            options["mask"] = as_array(seen, into)
        found = wrapped(*given, **options)
        parts = [as_tensor(part, query) for part in (found if isinstance(found, (tuple, list)) else (found,))]
        return tuple(parts) if len(parts) > 1 else parts[0]

    return Adapted(function, call, differentiable=False, takes_mask=mask_name(function) is not None)


def keras_multihead(layer: Callable[..., Any], *, into: Callable[[Any], Any] | None = None) -> Adapted:
    """``keras.layers.MultiHeadAttention``: with torch behind it as it is, with another backend by way of numpy.

    Args:
        layer: called as ``layer(query, value, key=..., attention_mask=..., return_attention_scores=...)``.
        into: as for :func:`arrays`; None where the layer takes numpy's arrays, as those of Keras 3 do.

    Returns:
        What the check calls; it asks for the weights of each head, and has a switch for that.

    >>> def layer(query, value, key, attention_mask=None, return_attention_scores=False, training=None):
    ...     weights = (query @ key.swapaxes(1, 2)) / 100
    ...     return (weights @ value, weights[:, None]) if return_attention_scores else weights @ value
    >>> ones = torch.ones(1, 2, 2)
    >>> context, weights = keras_multihead(layer)(ones, ones, ones)
    >>> weights.shape
    torch.Size([1, 1, 2, 2])
    """

    def call(wrapped: Callable[..., Any], query: Any, key: Any, value: Any, mask: Any = None, **options: Any) -> Any:
        given = {} if mask is None else {"attention_mask": mask}
        return wrapped(query, value, key=key, training=False, **({KERAS_SWITCH: True} | options), **given)

    return _of_keras(layer, call, into)


def keras_attention(layer: Callable[..., Any], *, into: Callable[[Any], Any] | None = None) -> Adapted:
    """``keras.layers.Attention`` and ``keras.layers.AdditiveAttention``, whose mask is the same for all queries.

    Args:
        layer: called as ``layer([query, value, key], mask=[None, seen], return_attention_scores=...)``, with ``seen``
            of shape ``(batch, key)``.
        into: as for :func:`arrays`; None where the layer takes numpy's arrays, as those of Keras 3 do.

    Returns:
        What the check calls; it asks for the weights, and has a switch for that.

    >>> def layer(inputs, mask=None, return_attention_scores=False, training=None):
    ...     query, value, key = inputs
    ...     weights = (query @ key.swapaxes(1, 2)) / 100
    ...     return (weights @ value, weights) if return_attention_scores else weights @ value
    >>> ones = torch.ones(1, 2, 2)
    >>> context, weights = keras_attention(layer)(ones, ones, ones)
    >>> weights.shape
    torch.Size([1, 2, 2])
    """

    def call(wrapped: Callable[..., Any], query: Any, key: Any, value: Any, mask: Any = None, **options: Any) -> Any:
        given = {} if mask is None else {"mask": [None, mask[:, 0]]}
        return wrapped([query, value, key], training=False, **({KERAS_SWITCH: True} | options), **given)

    adapted = _of_keras(layer, call, into)
    adapted.padding_only = True
    return adapted


def _of_keras(layer: Callable[..., Any], call: Callable[..., Any], into: Callable[[Any], Any] | None) -> Adapted:
    """A layer of Keras with its switch for the weights; one with torch behind it is a module, and has gradients."""
    if isinstance(layer, nn.Module) and into is None:
        return Adapted(layer, call, switch=KERAS_SWITCH)
    adapted = arrays(functools.partial(call, layer), into=into)
    adapted.takes_mask, adapted.switch = True, KERAS_SWITCH
    adapted.__name__ = getattr(layer, "__name__", type(layer).__name__)
    return adapted


def as_array(tensor: Tensor, into: Callable[[Any], Any] | None) -> Any:
    """An array of another library, from a tensor."""
    array = tensor.detach().cpu().numpy()
    return array if into is None else into(array)


def as_tensor(array: Any, like: Tensor) -> Any:
    """A tensor from an array of another library; what is none stays as it is."""
    import numpy

    if isinstance(array, Tensor):
        return array.detach().to(like.device)
    if not isinstance(array, numpy.ndarray) and hasattr(array, "__dlpack__"):
        return torch.utils.dlpack.from_dlpack(array).clone().to(like.device)
    if array is None or isinstance(array, (str, dict)):
        return array
    return torch.from_numpy(numpy.array(array)).to(like.device)
