"""Numbers: how sharp the weights get, and their temperature; zeros, extremes, precision, gradient."""

import torch
from torch import Tensor

from ._distribution import summed
from ._property import asked
from ._subject import Broken, Refused, Subject, Unlooked, gap, prepared


@asked("sharpness", "energies a hundred times as large put nearly all weight on one key", "tanh on the score")
def sharpness(subject: Subject) -> str:
    """The query and the keys are ten times as large each, then a hundred times."""
    if subject.sizes.key < 2:
        raise Unlooked("there is one key")
    rows = slice(-1, None) if "causal" in subject.kinds else slice(None)
    best = 0.0
    for size in (10.0, 100.0):
        weights = subject.known_weights(*subject.inputs(2, size)[:2])[..., rows, :]
        best = max(best, float(weights.max(-1).values.nan_to_num(0.0).max()))
    if best < 0.9:
        raise Broken(f"no weight is above {best:.3f}, with {subject.sizes.key} keys")
    return ""


@asked("energies", "the weights are the softmax of the inner product of query and key", "a scale of another size",
       "dot that is general", optional=True)  # fmt: skip
def energies(subject: Subject) -> None:
    """Where several heads are returned, each takes its part of the features, and the root of the part's length."""
    query, key, value = subject.inputs()
    weights = subject.known_weights(query, key)
    returned = subject(query, key, value).weights
    heads = weights.shape[1] if returned is None else returned.shape[1]
    weights = weights if returned is None or weights.shape[1] == heads else returned
    split = [part.reshape(*part.shape[:2], heads, -1).transpose(1, 2) for part in (query, key)]
    scale = split[0].shape[-1] ** -0.5 if "scaled dot" in subject.kinds else 1.0
    products = split[0] @ split[1].mT * scale
    seen = torch.ones_like(products, dtype=torch.bool)
    if "causal" in subject.kinds:
        seen = seen.tril()
    weights = weights if weights.shape == products.shape else weights.expand_as(products)
    wanted = torch.where(seen, products, -torch.inf).softmax(-1)
    if gap(weights, wanted) <= subject.slack(wanted):
        return
    logs, known = (part - part.mean(-1, keepdim=True) for part in (weights.clamp(min=1e-30).log(), products))
    slope = float((logs * known)[..., -1, :].sum() / (known * known)[..., -1, :].sum())
    raise Broken(f"weights are off by {gap(weights, wanted):.3g}; their logarithm grows {slope:.3g} times as fast")


@asked("zeros", "a vector of zeros does no harm", "a cosine with zeros")
def zeros(subject: Subject) -> None:
    for name in ("query", "key"):
        query, key, value = subject.inputs()
        (query if name == "query" else key)[:, 0] = 0
        if not subject(query, key, value).context.isfinite().all():
            raise Broken(f"a {name} of zeros makes the context not finite")
        if subject.differentiable and not all(part.isfinite().all() for part in subject.gradients(query, key, value)):
            raise Broken(f"a {name} of zeros makes a gradient not finite")


@asked("large", "energies far from nought leave weights that are finite and sum to one", "exp without the maximum",
       "masked energies set to nought", "a constant in the divisor")  # fmt: skip
def large(subject: Subject) -> None:
    """Large energies of both signs; then energies that are all far below nought, or far above."""
    query, key, value = subject.inputs()
    ones, sums = torch.ones_like(query), not {"unnormalised", "readout"} & subject.kinds
    masks = [None, *([subject.padding()] if subject.mask_name else [])]
    cases = {}
    # What queries and keys have in common shifts all energies of a row; the keys still differ, a little.
    for size in (2.0, 12.0):
        cases[f"all near {-size * size * subject.sizes.d_k:.0f}"] = (ones * size, key * 0.1 - size)
        cases[f"all near {size * size * subject.sizes.d_k:.0f}"] = (ones * size, key * 0.1 + size)
    cases["a thousand times as large"] = (query * 30, key * 30)
    for said, (asking, shown) in cases.items():
        for mask in masks:
            where = "" if mask is None else ", some hidden"
            if not subject(asking, shown, value, mask).context.isfinite().all():
                raise Broken(f"inner products {said}{where}: the context is not finite")
            if not sums:
                continue
            try:
                total = summed(subject, asking, shown, mask)[1]
            except Unlooked:
                continue
            if not abs(total - 1) <= 100 * subject.tolerance:
                raise Broken(f"inner products {said}{where}: a row sums to {total:.3g}")


HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@asked("half", "half precision gives what double precision gives, but for rounding", "a constant that overflows",
       may_refuse=True)  # fmt: skip
def half(subject: Subject) -> str:
    return _halved(subject, *subject.inputs()[:2])


@asked("features", "features far below nought are still told apart in half precision", "elu plus one", optional=True,
       may_refuse=True)  # fmt: skip
def features(subject: Subject) -> str:
    query, key, _ = subject.inputs()
    return _halved(subject, query / 4 - 9, key / 4 - 9)


def _halved(subject: Subject, query: Tensor, key: Tensor) -> str:
    """Compare on the same numbers; the bound is sixteen roundings of the largest value."""
    value, masks = subject.inputs()[2], [None, *([subject.padding()] if subject.mask_name else [])]
    refused = []
    for said, dtype in HALF.items():
        given = query.to(dtype), key.to(dtype), value.to(dtype)
        wide = tuple(part.to(subject.dtype) for part in given)
        low = Subject(subject.function, subject.sizes, dtype, subject.device, subject.kinds, subject.tied)
        high = Subject(subject.function, subject.sizes, subject.dtype, subject.device, subject.kinds, subject.tied)
        if isinstance(subject.function, torch.nn.Module):
            high.module = prepared(prepared(subject.function, dtype), subject.dtype)
        for mask in masks:
            try:
                found = low(*given, mask).context.to(subject.dtype)
            except Refused as error:
                if mask is not None:
                    raise Broken(f"{said} under a mask raises {error}") from error
                refused.append(f"{said}: {error}")
                break
            wanted = high(wide[0], wide[1], wide[2], mask).context
            bound = 16 * torch.finfo(dtype).eps * max(1.0, float(wanted.abs().max()))
            if not (off := gap(found, wanted)) <= bound:
                where = "" if mask is None else " under a mask"
                raise Broken(f"{said} is off by {off:.3g}{where}, where {bound:.2g} would be rounding")
    if len(refused) == len(HALF):
        raise Unlooked(refused[0])
    return f"not looked at in {refused[0]}" if refused else ""


@asked("gradient", "the gradient is that of finite differences")
def gradient(subject: Subject) -> None:
    """Along two directions, drawn, in each of query, key and value."""
    given = subject.inputs()
    found = subject.gradients(*given)
    fine = subject.dtype == torch.float64
    step, bound = (1e-5, 1e-4) if fine else (1e-2, 5e-2)
    generator = torch.Generator().manual_seed(9)
    context = subject(*given).context
    upstream = subject.tensor(torch.randn(context.shape, generator=generator, dtype=torch.float64))
    for n, name in enumerate(("query", "key") if subject.tied else ("query", "key", "value")):
        for _ in range(2):
            along = subject.tensor(torch.randn(given[n].shape, generator=generator, dtype=torch.float64))
            ends = [[*given[:n], given[n] + sign * step * along, *given[n + 1 :]] for sign in (1, -1)]
            rise = [(subject(*end).context * upstream).sum() for end in ends]
            wanted, got = float((rise[0] - rise[1]) / (2 * step)), float((found[n] * along).sum())
            if not abs(wanted - got) <= bound * max(1.0, abs(wanted)):
                raise Broken(f"along a direction of {name} the gradient is {got:.4g}, differences give {wanted:.4g}")
