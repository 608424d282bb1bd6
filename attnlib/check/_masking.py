"""What a mask must hide: weight, influence, whatever stands behind it, gradient; and the row of which all is hidden."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ._property import asked
from ._subject import Broken, Subject, Unlooked


@asked("hidden weight", "what is hidden has no weight", "padding that is attended", "a mask without effect",
       "a mask the other way round")  # fmt: skip
def hidden_weight(subject: Subject) -> None:
    subject.needs_mask()
    asking, key, _ = subject.inputs()
    for mask in subject.masks():
        weights = subject.known_weights(asking, key, mask)
        found = weights.abs().masked_fill(mask[:, None], 0)
        if float(found.max()) > subject.tolerance or found.isnan().any():
            b, _, i, j = (int(index) for index in torch.unravel_index(found.argmax(), found.shape))
            raise Broken(f"query {i} gives {float(found.max()):.3g} to key {j}, hidden from it (member {b})")


@asked("hidden influence", "what is hidden changes nothing", "padding that is attended")
def hidden_influence(subject: Subject) -> None:
    """Other keys and values stand where nobody may look, or where one query may not."""
    subject.needs_mask()
    given = subject.inputs()
    for mask in subject.masks():
        first = subject(*given, mask=mask).context
        for i, unseen in places(mask):
            asking, key, value = given[0], *(put(part, unseen, part.new_tensor(1.7)) for part in given[1:])
            found = subject(asking, key, value, mask).context[:, i]
            if off := subject.agree([found], [first[:, i]]):
                raise Broken(f"query {i} changes by {off:.3g} when keys and values change that are hidden from it")


BAD = {"NaN": torch.nan, "inf": torch.inf, "-inf": -torch.inf, "a huge number": None}


@asked("hidden garbage", "NaN, infinity and huge numbers behind the mask change nothing", "nought times NaN")
def hidden_garbage(subject: Subject) -> None:
    subject.needs_mask()
    given = subject.inputs()
    mask = subject.padding()
    first = subject(*given, mask=mask).context
    harmful: dict[str, str] = {}
    case = subject.case
    for said, number in BAD.items():
        for name, key, value in spoilt(subject, given, mask, number):
            found = subject(given[0], key, value, mask).context
            if off := subject.agree([found], [first]):
                case = case if harmful else subject.case
                harmful.setdefault(said, f"{said} in a hidden {name} {harm('the context', off, found)}")
    if harmful:
        subject.case = case
        others = ", ".join([*harmful][1:])
        raise Broken(next(iter(harmful.values())) + (f" (harm is done by {others} as well)" if others else ""))


@asked("hidden gradient", "what is hidden gets no gradient and spoils none", "nought times NaN")
def hidden_gradient(subject: Subject) -> None:
    subject.needs_mask()
    given, mask = subject.inputs(), subject.padding()
    wanted = subject.gradients(*given, mask=mask)
    hidden = ~mask.any(1)
    for name, gradient in zip(("key", "value"), wanted[1:], strict=True):
        size = float(gradient[hidden].abs().max()) if hidden.any() else 0.0
        if size > subject.tolerance:
            raise Broken(f"a hidden {name} gets a gradient of {size:.3g}")
    for said, number in BAD.items():
        for name, key, value in spoilt(subject, given, mask, number):
            found = subject.gradients(given[0], key, value, mask=mask)
            if off := subject.agree(found, wanted):
                raise Broken(f"{said} in a hidden {name} {harm('a gradient', off, *found)}")


@asked("empty row", "a query that sees nothing has a context, and spoils no other", "a row without keys")
def empty_row(subject: Subject) -> str:
    subject.needs_mask()
    given, mask = subject.inputs(), subject.ones()
    rows = slice(None) if subject.padding_only else slice(0, 1)
    mask[:1, rows] = False
    context = subject(*given, mask=mask).context
    if not context[:1, rows].isfinite().all():
        raise Broken("the context of a query that sees nothing is not finite")
    plain = subject(*given, mask=subject.ones()).context
    if subject.sizes.batch > 1 and (off := subject.agree([context[1:]], [plain[1:]])):
        raise Broken(f"another member of the batch changes by {off:.3g}")
    if subject.differentiable and not all(part.isfinite().all() for part in subject.gradients(*given, mask=mask)):
        raise Broken("a gradient is not finite")
    return "it is zeros" if float(context[:1, rows].abs().max()) == 0 else "it is not zeros"


@asked("padding", "padding that is hidden, or a mask that hides nothing, changes nothing", may_refuse=True)
def padding(subject: Subject) -> None:
    subject.needs_mask()
    asking, key, value = subject.inputs()
    first = subject(asking, key, value).context
    if off := subject.agree([subject(asking, key, value, subject.ones()).context], [first]):
        raise Broken(f"a mask that hides nothing changes the context by {off:.3g}")
    longer = subject.resized(key=key.shape[1] + 3)
    mask = longer.ones()
    mask[..., key.shape[1] :] = False
    more_keys, more_values = (torch.nn.functional.pad(part, (0, 0, 0, 3), value=0.9) for part in (key, value))
    if off := subject.agree([longer(asking, more_keys, more_values, mask).context], [first]):
        raise Broken(f"three keys of padding, hidden, change the context by {off:.3g}")


@asked("future", "no row depends on what comes after it", "weights that drop the mask", optional=True)
def future(subject: Subject) -> None:
    if subject.sizes.query != subject.sizes.key:
        raise Unlooked("there are not as many queries as keys")
    given, others = subject.inputs(), subject.inputs(1)
    first = subject(*given)
    for t in range(subject.sizes.query - 1):
        later = [torch.cat([a[:, : t + 1], b[:, t + 1 :]], 1) for a, b in zip(given, others, strict=True)]
        found = subject(later[0], later[1], later[2])
        if off := subject.agree([found.context[:, : t + 1]], [first.context[:, : t + 1]]):
            raise Broken(f"row {t} or one before it changes by {off:.3g} when what comes after row {t} changes")
    ahead = torch.ones_like(first.context[0] @ first.context[0].mT, dtype=torch.bool).triu(1)
    if first.weights is not None and (first.weights.masked_fill(~ahead, 0).abs() > subject.tolerance).any():
        raise Broken("the weights that are returned reach into the future")


def places(mask: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each query, and what is hidden from it, ``(batch, key)``."""
    for i in range(mask.shape[1]):
        yield i, ~mask[:, i]


def put(part: Tensor, where: Tensor, number: Tensor) -> Tensor:
    return torch.where(where[..., None], number, part)


def spoilt(
    subject: Subject, given: tuple[Tensor, ...], mask: Tensor, number: float | None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Key and value with a bad number in one of them, wherever no query looks."""
    _, key, value = given
    bad = key.new_tensor(torch.finfo(key.dtype).max if number is None else number)
    hidden = ~mask.any(1)
    yield "key", put(key, hidden, bad), value
    if not subject.tied:
        yield "value", key, put(value, hidden, bad)


def harm(what: str, off: float, *found: Tensor) -> str:
    """What has become of a result, in words."""
    if any(part.isnan().any() for part in found):
        return f"makes {what} NaN"
    return f"changes {what} by {off:.3g}" if math.isfinite(off) else f"makes {what} infinite"
