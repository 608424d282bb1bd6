"""The function on trial: how it is called, what is read of its result, and how its weights are found by probing."""

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

TOLERANCE = {torch.float64: 1e-8, torch.float32: 2e-4}
GPU_WORDS = ("cuda", "triton", "gpu", "expected all tensors to be on the same device")


class Broken(Exception):
    """A property does not hold; the text is the counter-example."""


class Unlooked(Exception):
    """A property could not be looked at; the text is the reason."""


class Refused(Exception):
    """The function raised, or gave something that is not a context."""


@dataclass(frozen=True)
class Sizes:
    """How large the inputs are: few of each, all different, so that no two axes can be exchanged unseen."""

    batch: int = 2
    query: int = 5
    key: int = 7
    d_k: int = 8
    d_v: int = 8


class Result(NamedTuple):
    """What the function gave: the context, and the weights ``(batch, heads, query, key)`` if it returned any."""

    context: Tensor
    weights: Tensor | None


@dataclass
class Subject:
    """A function with the sizes, the precision and the device that it is called with."""

    function: Callable[..., Any]
    sizes: Sizes
    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    kinds: frozenset[str] = frozenset()
    tied: bool = False

    def __post_init__(self) -> None:
        self.case: dict[str, Tensor] = {}
        self.mask_name = mask_name(self.function)
        self.differentiable: bool = getattr(self.function, "differentiable", True)
        self.padding_only: bool = getattr(self.function, "padding_only", False)
        self.module = prepared(self.function, self.dtype)
        self.tolerance = TOLERANCE.get(self.dtype, 2e-4)

    def resized(self, **sizes: int) -> "Subject":
        """The same function on inputs of other sizes."""
        return replace(self, sizes=replace(self.sizes, **sizes))

    def inputs(self, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of one decimal, so that a counter-example can be read and typed."""
        sizes, generator = self.sizes, torch.Generator().manual_seed(seed)
        shapes = ((sizes.query, sizes.d_k), (sizes.key, sizes.d_k), (sizes.key, sizes.d_v))
        drawn = [torch.randn(sizes.batch, *shape, generator=generator, dtype=torch.float64) for shape in shapes]
        query, key, value = (self.tensor(part.mul(10).round().div(10)) for part in drawn)
        return query * scale, key * scale, value

    def tensor(self, numbers: Tensor) -> Tensor:
        return numbers.to(device=self.device, dtype=self.dtype)

    def ones(self) -> Tensor:
        """A mask that hides nothing."""
        sizes = self.sizes
        return torch.ones(sizes.batch, sizes.query, sizes.key, dtype=torch.bool, device=self.device)

    def padding(self) -> Tensor:
        """The last key of each sequence is padding, and one more of the first sequence where there are enough."""
        mask = self.ones()
        mask[..., -1] = False
        if self.sizes.key > 3:
            mask[0, :, -2] = False
        return mask

    def masks(self) -> list[Tensor]:
        """Padding, and a mask in which each query sees other keys, where the function can take one."""
        if self.padding_only or self.sizes.query < 2 or self.sizes.key < 3:
            return [self.padding()]
        rows, columns = torch.arange(self.sizes.query)[:, None], torch.arange(self.sizes.key)
        scattered = (rows + columns) % 3 != 1
        if "causal" in self.kinds:
            scattered[:, 0] = True  # so that the first query sees something
        return [self.padding(), scattered.to(self.device).expand_as(self.ones()).clone()]

    def needs_mask(self) -> None:
        if self.mask_name is None:
            raise Unlooked("takes no mask")

    def needs_free_values(self) -> None:
        if self.tied:
            raise Unlooked("the keys are the values")

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, **options: Any) -> Result:
        """Call the function on copies, and read what it returns."""
        value = key if self.tied else value
        self.case = {"query": query, "key": key, "value": value} | ({} if mask is None else {"mask": mask})
        if mask is not None and self.mask_name is not None:
            options[self.mask_name] = mask.clone()
        return self.read(self.raw(query.clone(), key.clone(), value.clone(), **options), query, key)

    def raw(self, *parts: Tensor, **options: Any) -> Any:
        """What the function returns, as it is."""
        try:
            with warnings.catch_warnings(), torch.set_grad_enabled(any(part.requires_grad for part in parts)):
                warnings.simplefilter("ignore")
                return self.module(*parts, **options)
        except (Exception, SystemExit) as error:  # whatever somebody's function raises is told, and ends nothing
            raise Refused(described(error)) from error

    def read(self, found: Any, query: Tensor, key: Tensor) -> Result:
        """The context and the weights in what was returned."""
        parts = found if isinstance(found, (tuple, list)) else (found,)
        context = parts[0] if parts else None
        if not isinstance(context, Tensor):
            raise Refused(f"returned {named(found)}; a tensor, or a tuple that starts with one, was expected")
        wanted = tuple(query.shape[:2])
        if context.ndim != 3 or tuple(context.shape[:2]) != wanted:
            expected = f"(batch, query, size) with batch, query = {wanted}"
            raise Refused(f"the context has shape {tuple(context.shape)}; {expected} was expected")
        if not context.is_floating_point():
            raise Refused(f"the context has dtype {context.dtype}; floating point was expected")
        weights = parts[1] if len(parts) > 1 else None
        return Result(context, headed(weights, (*wanted, key.shape[1])))

    def ignored(self) -> str:
        """What to say of a second result that is a tensor, and not of the shape of weights."""
        query, key, value = self.inputs()
        try:
            found = self.raw(query.clone(), key.clone(), (key if self.tied else value).clone())
        except Refused:
            return ""
        second = found[1] if isinstance(found, (tuple, list)) and len(found) > 1 else None
        if not isinstance(second, Tensor) or headed(second, (*query.shape[:2], key.shape[1])) is not None:
            return ""
        return f"the second result, of shape {tuple(second.shape)}, is not read as weights (batch, query, key)"

    def parts(self, *given: Tensor, mask: Tensor | None = None, **options: Any) -> list[Tensor]:
        """What is compared between two calls: the context, and the weights where they are returned."""
        query, key, value = given
        return [part for part in self(query, key, value, mask, **options) if part is not None]

    @property
    def coarse(self) -> bool:
        """Whether double precision goes in and comes out, and is not kept in between: small steps come in jumps."""
        query, key, value = self.inputs(2)
        step = 1e-7 * self.inputs(3)[0]
        try:
            at = [self(query + n * step, key, value).context for n in (0, 0, 1, 2)]
        except Refused:
            return False
        if not at[0].numel() or not torch.equal(at[0], at[1]) or len({part.shape for part in at}) > 1:
            return False
        if not all(part.isfinite().all() for part in at):
            return False
        return float((at[3] - 2 * at[2] + at[0]).abs().max()) > 1e-10 * max(1.0, float(at[0].abs().max()))

    @functools.cached_property
    def linear(self) -> str:
        """What shows that the context is not linear in the values; nothing if it is."""
        if self.tied:
            return "the keys are the values"
        query, key, value = self.inputs(3)
        other = self.inputs(4)[2]
        at = [self(query, key, part).context for part in (value, other, value - 2 * other, torch.zeros_like(value))]
        wanted = at[0] - 2 * at[1] + 2 * at[3]
        off = gap(at[2], wanted)
        return "" if off <= self.slack(*at) else f"f(v - 2u) is not f(v) - 2 f(u) + 2 f(0): off by {off:.3g}"

    @functools.cached_property
    def plain(self) -> bool:
        """Whether each feature of the context is made of that feature of the values alone, and of nothing else."""
        if self.linear:
            return False
        query, key, value = self.inputs(5)
        context = self(query, key, value).context
        if context.shape[-1] != value.shape[-1]:
            return False
        factors = self.tensor(torch.linspace(-1, 2, value.shape[-1], dtype=torch.float64))
        return gap(self(query, key, value * factors).context, context * factors) <= self.slack(context)

    def weights(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """The weights that were used, ``(batch, heads, query, key)``; nothing where they cannot be known."""
        if not self.plain:
            value = torch.ones(*key.shape[:2], self.sizes.d_v, dtype=key.dtype, device=key.device)
            return self(query, key, value, mask).weights
        if self.one_head:
            return self._probed(query, key, mask)
        return self._probed_by_feature(query, key, mask)

    @functools.cached_property
    def one_head(self) -> bool:
        """Whether all features of a plain context have the same weights."""
        weights = self._probed_by_feature(*self.inputs(6)[:2])
        return same(weights, weights[:, :1].expand_as(weights), self.tolerance)

    def _probed_by_feature(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        """The context of a one at one key, in all features: its weight in each of them."""
        found = []
        for j in range(key.shape[1]):
            value = torch.zeros(*key.shape[:2], self.sizes.d_v, dtype=key.dtype, device=key.device)
            value[:, j] = 1
            found.append(self(query, key, value, mask).context)
        return torch.stack(found, -1).movedim(-2, 1)

    def _probed(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        """The same by fewer calls: as many keys at once as there are features, each in one of its own."""
        n_key, d_v, found = key.shape[1], self.sizes.d_v, []
        for start in range(0, n_key, d_v):
            value = torch.zeros(n_key, d_v, dtype=key.dtype, device=key.device)
            some = range(start, min(start + d_v, n_key))
            value[list(some), list(range(len(some)))] = 1
            context = self(query, key, value.expand(len(key), -1, -1), mask).context
            found.append(context[..., : len(some)])
        return torch.cat(found, -1)[:, None]

    def known_weights(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights, for a property that can be looked at in them only."""
        weights = self.weights(query, key, mask)
        if weights is None:
            raise Unlooked("gives no weights, and they cannot be read off the context")
        return weights

    def fingerprint(self, query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights; or what stands for them, the context of the same values."""
        weights = self.weights(query, key, mask)
        return self(query, key, self.inputs()[2], mask).context if weights is None else weights

    def gradients(
        self, *given: Tensor, mask: Tensor | None = None, rows: slice = slice(None), **options: Any
    ) -> tuple[Tensor, ...]:
        """The gradients of query, key and value, of a fixed mixture of some rows of the context."""
        if not self.differentiable:
            raise Unlooked("has no gradient in torch")
        query, key, value = leaves = [part.detach().clone().requires_grad_() for part in given]
        context = self(query, key, value, mask, **options).context[:, rows]
        if not context.requires_grad:
            raise Broken("no gradient reaches the inputs")
        upstream = torch.randn(context.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        loss = (context * self.tensor(upstream).to(context.dtype)).sum()
        try:
            return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        except RuntimeError as error:
            raise Refused(described(error)) from error

    def slack(self, *parts: Tensor) -> float:
        """How far apart two results may be that are the same but for rounding."""
        sizes = [float(part.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()) for part in parts if part.numel()]
        return self.tolerance * max(1.0, *sizes)

    def agree(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
        """How far two results are apart; 0 where they are the same but for rounding."""
        off = max(gap(one, other) for one, other in zip(found, wanted, strict=True))
        return 0.0 if off <= self.slack(*wanted) else off


def mask_name(function: Callable[..., Any]) -> str | None:
    """The keyword under which a function takes its mask; nothing where it takes none."""
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        taken = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return "mask"
    if getattr(function, "takes_mask", True) is False:
        return None
    return "mask" if "mask" in taken or any(part.kind is part.VAR_KEYWORD for part in taken.values()) else None


def prepared(function: Callable[..., Any], dtype: torch.dtype) -> Callable[..., Any]:
    """A copy of a module in the precision asked for, as it is when it is used; another function as it is."""
    if not isinstance(function, nn.Module):
        return function
    try:
        module = copy.deepcopy(function)
    except Exception as error:
        raise Refused(f"the module cannot be copied: {described(error)}") from error
    return module.to(dtype).eval()


def headed(weights: Any, shape: tuple[int, ...]) -> Tensor | None:
    """Weights with an axis of heads; nothing where what was returned has not their shape."""
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        return None
    if tuple(weights.shape) == shape:
        return weights[:, None]
    fits = weights.ndim == 4 and (weights.shape[0], *weights.shape[2:]) == shape
    return weights if fits else None


def gap(found: Tensor, wanted: Tensor) -> float:
    """The largest difference; infinite where only one is finite, or neither is the same."""
    if found.shape != wanted.shape:
        return float("inf")
    if not found.numel():
        return 0.0
    off = (found.detach().double() - wanted.detach().double()).abs()
    return float(off.nan_to_num(nan=float("inf")).max())


def same(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    return gap(found, wanted) <= tolerance


def described(error: BaseException) -> str:
    """An error in one line, and what to do if a GPU is missing."""
    first = (str(error).strip().splitlines() or [""])[0]
    said = f"{type(error).__name__}: {first[:160]}"
    needs = any(word in said.lower() for word in GPU_WORDS)
    return f"{said} (if it needs a GPU, give device='cuda')" if needs else said


def named(thing: Any) -> str:
    """The type of a thing, with its article."""
    name = type(thing).__name__
    return "nothing" if thing is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
