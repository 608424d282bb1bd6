"""What all mechanisms ask of their arguments, in one dialect: the argument, what was expected, what was got."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

Number = float | int | Tensor
HALF = (torch.float16, torch.bfloat16)
PLAIN = (Tensor, nn.Parameter)
TRANSFORMED = "a transform of functorch runs the program"


def is_transformed() -> bool:
    """Whether a transform of functorch runs the program."""
    return torch._C._functorch.peek_interpreter_stack() is not None


# A compiler is to call it, and not to look inside, where the stack never looks empty to it. The mark is that of
# torch.compiler.assume_constant_result, which would import all of the compiler here.
is_transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_traced() -> bool:
    """Whether a compiler or a transform of functorch runs the program, to which values are not known."""
    return torch.compiler.is_compiling() or is_transformed()


def may_look(*tensors: Tensor) -> bool:
    """Whether values may steer the program: on the CPU, outside of compilers, tracers and the transforms of functorch.

    What looks has to do the same without looking, at more cost: it spares work, and decides nothing.
    """
    if torch.compiler.is_compiling() or is_transformed():
        return False
    for tensor in tensors:
        if not tensor.is_cpu or type(tensor) not in PLAIN:
            return False
    return not torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]


def why_not_ours(*tensors: Tensor, compiled: bool) -> str | None:
    """What stands against arithmetic of this library's own, in a few words; None if nothing does.

    It looks at values, on the CPU, and has derivatives backwards only, so that transforms and tracers cannot use it.

    Args:
        tensors: all that it takes, and wants derivatives for.
        compiled: whether a compiler sees it as one operation, and leaves the values to that.
    """
    if forward_ad._current_level < 0 and may_look(*tensors):  # first what is nearly always so
        return None
    if is_transformed():
        return TRANSFORMED
    if forward_ad._current_level >= 0:
        return "there is a derivative forwards"
    if not all(tensor.is_cpu for tensor in tensors):
        return "the tensors are not on the CPU"
    if not torch.compiler.is_compiling():
        is_traced = torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
        return "a tracer runs the program" if is_traced else "the tensors are not plain ones"
    if torch.compiler.is_exporting():
        return "the program is exported"
    return None if compiled else "a compiler looks at the program"


def is_learned(*tensors: Tensor) -> bool:
    """Whether somebody wants gradients of one of them, or may."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def are_mixed(*tensors: Tensor) -> bool:
    """Whether their precisions differ, where half precision is computed in single."""
    return len({torch.float32 if tensor.dtype in HALF else tensor.dtype for tensor in tensors}) > 1


def as_computed(tensor: Tensor, name: str = "energies") -> Tensor:
    """The argument in the precision that the arithmetic is done in: single at least."""
    check_tensor(name, tensor)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got dtype {tensor.dtype}")
    return tensor.float() if tensor.dtype in HALF else tensor


def checked_temperature(temperature: Number) -> Number:
    """The temperature, NaN where a tensor's is not a positive number."""
    if isinstance(temperature, Tensor):
        return torch.where((temperature > 0) & (temperature < math.inf), temperature, math.nan)
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a finite number above 0, got {temperature}")
    return temperature


def fits(shape: Sequence[int], target: Sequence[int]) -> bool:
    """Whether a tensor of this shape broadcasts to the target without making more of it."""
    try:
        return tuple(torch.broadcast_shapes(shape, target)) == tuple(target)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return False


def may_broadcast(*shapes: Sequence[int]) -> bool:
    """Whether tensors of these shapes broadcast."""
    try:
        torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return False
    return True


def batch_of(*tensors: Tensor) -> tuple[int, ...]:
    """The leading dimensions, broadcast."""
    first = tensors[0].shape[:-2]
    if all(tensor.shape[:-2] == first for tensor in tensors):  # torch's function takes as long as a small attention
        return tuple(first)
    return tuple(torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in tensors)))  # type: ignore[no-untyped-call]


def check_tensor(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")


def check_device(name: str, tensor: Tensor, query: Tensor) -> None:
    if tensor.device != query.device:
        raise ValueError(f"{name} is on {tensor.device} but query is on {query.device}")


def check_same_size(query: Tensor, key: Tensor) -> None:
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"key has d_k={key.shape[-1]} but query has d_k={query.shape[-1]}")


def check_vector(vector: Tensor) -> None:
    if vector.ndim != 1:
        raise ValueError(f"vector must have shape (d_w), got shape {tuple(vector.shape)}")


def check_parameter(name: str, parameter: Tensor, **sizes: int) -> None:
    if tuple(parameter.shape) == tuple(sizes.values()):
        return
    expected = ", ".join(f"{dim}={size}" for dim, size in sizes.items())
    expected = f"must have shape ({expected})" if sizes else "must be a scalar"
    raise ValueError(f"{name} {expected}, got shape {tuple(parameter.shape)}")


def check_vectors(query: Tensor, key: Tensor, value: Tensor) -> tuple[int, ...]:
    """Check the three that every attention takes; return their leading dimensions, broadcast."""
    if _are_alike(query, key, value):
        return tuple(query.shape[:-2])
    named = {"query": query, "key": key, "value": value}
    for name, tensor in named.items():
        check_tensor(name, tensor)
        if tensor.is_nested:
            advice = "pad it with torch.nested.to_padded_tensor, and hide the padding with attnlib.masks.key_mask"
            raise TypeError(f"{name} must be a dense tensor, got nested ({tensor.layout}): {advice}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got dtype {tensor.dtype}")
        if tensor.dtype != query.dtype and not torch.is_autocast_enabled(query.device.type):
            raise TypeError(f"{name} has dtype {tensor.dtype} but query has dtype {query.dtype}")
        check_device(name, tensor, query)
        if tensor.ndim < 2:
            raise ValueError(f"{name} must have shape (*batch, {name}, size), got shape {tuple(tensor.shape)}")
    if value.shape[-2] != key.shape[-2]:
        raise ValueError(f"value has {value.shape[-2]} rows but key has {key.shape[-2]}")
    try:
        return batch_of(query, key, value)
    except RuntimeError:
        shapes = ", ".join(f"{name} {tuple(tensor.shape[:-2])}" for name, tensor in named.items())
        raise ValueError(f"leading dimensions must broadcast, got {shapes}") from None


def _are_alike(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether no closer look is needed, as in most calls: the checks cost as much as a small attention."""
    if not (type(query) is type(key) is type(value) is Tensor):
        return False
    if not (query.dtype == key.dtype == value.dtype and query.ndim == key.ndim == value.ndim > 1):
        return False
    if query.is_nested or key.is_nested or value.is_nested or not query.is_floating_point():
        return False
    if not query.device == key.device == value.device:
        return False
    shape, key_shape, value_shape = query.shape, key.shape, value.shape
    if key_shape != value_shape and key_shape[:-1] != value_shape[:-1]:
        return False
    return shape == key_shape or shape[:-2] == key_shape[:-2]


def check_mask(mask: Tensor, shape: tuple[int, ...]) -> None:
    """Check that the mask is boolean and fits ``(*batch, query, key)``, and cannot be meant as ``(batch, key)``."""
    check_boolean(mask)
    _check_spread("mask", mask, shape)
    # A guard on sizes would stop a compiler from leaving them open, so that it is for those who call by hand.
    if mask.ndim == 2 and len(shape) > 2 and not torch.compiler.is_compiling():
        batch, n_query = shape[0], shape[-2]
        if mask.shape[0] == batch == n_query > 1:
            raise ValueError(
                f"mask of shape {tuple(mask.shape)} can be read as (query, key) and as (batch, key), for there are "
                f"{batch} of both: give mask.unsqueeze(0) for the first, mask.unsqueeze(-2) for the second, or "
                "is_causal=True for a causal mask"
            )


def check_bias(bias: Tensor, query: Tensor, shape: tuple[int, ...]) -> None:
    """Check that the bias is floating point, of the query's precision or single, and fits ``(*batch, query, key)``."""
    check_tensor("bias", bias)
    if not bias.is_floating_point():
        why = "a boolean mask goes to mask=" if bias.dtype == torch.bool else "it is added to the energies"
        raise TypeError(f"bias must be floating point, got dtype {bias.dtype}: {why}")
    if bias.dtype not in (query.dtype, torch.float32) and not torch.is_autocast_enabled(query.device.type):
        raise TypeError(f"bias has dtype {bias.dtype} but query has dtype {query.dtype}")
    _check_spread("bias", bias, shape)


def _check_spread(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    sizes = tuple(tensor.shape)
    if len(sizes) <= len(shape):
        for size, wanted in zip(reversed(sizes), reversed(shape), strict=False):
            if size not in (1, wanted):
                break
        else:
            return
    hint = ""
    if len(shape) > 2 and tuple(tensor.shape) == (shape[0], shape[-1]):
        ones = ", ".join(["None"] * (len(shape) - 2))
        hint = f"; it looks like (batch, key): give {name}[:, {ones}, :]"
    sizes_shown = f"{name} of shape {tuple(tensor.shape)} does not broadcast to (*batch, query, key) = {shape}"
    raise ValueError(sizes_shown + hint)


def _advice(mask: Tensor) -> str:
    if mask.is_floating_point():
        return (
            "what is added to the energies goes to bias=, minus infinity included; "
            "ones and zeros become a mask with .bool(), 0 and -inf with attnlib.interop.from_additive"
        )
    return "zeros and ones become one with .bool(), a tokenizer's (batch, key) with attnlib.interop.from_hugging_face"


def check_boolean(mask: Tensor) -> None:
    check_tensor("mask", mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be boolean (True = may attend), got dtype {mask.dtype}: {_advice(mask)}")


def check_ndim(name: str, tensor: Tensor, ndim: int) -> None:
    check_tensor(name, tensor)
    if tensor.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {tuple(tensor.shape)}")


def check_counts(name: str, counts: Tensor, total: int, whose: str) -> None:
    """Whole numbers from 0 that add up: how many items each of some rows has."""
    check_tensor(name, counts)
    if counts.is_floating_point() or counts.dtype == torch.bool:
        raise TypeError(f"{name} must be integer, got dtype {counts.dtype}")
    if counts.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {tuple(counts.shape)}")
    if bool((counts < 0).any()):
        raise ValueError(f"{name} must be at least 0, got {int(counts.min())}")
    if int(counts.sum()) != total:
        raise ValueError(f"{name} must add up to the {total} that {whose}, got {int(counts.sum())}")
