"""What the weights are: over which axis they sum to one, their sign, and whether those returned are those used."""

import math

import torch
from torch import Tensor

from ._property import asked
from ._subject import Broken, Subject, Unlooked, gap


@asked("axis", "it is the weights of a row that sum to one", "softmax over one item", "softmax over the queries",
       "softmax over the heads")  # fmt: skip
def axis(subject: Subject) -> None:
    returned = subject(*subject.inputs()).weights
    weights = subject.known_weights(*subject.inputs()[:2]) if returned is None else returned
    names = {3: "the keys of a row", 2: "the queries", 0: "the batch", 1: "the heads"}
    ones = [name for dim, name in names.items() if _one(weights.sum(dim), subject) and weights.shape[dim] > 1]
    if ones and names[3] not in ones and subject.sizes.key > 1:
        raise Broken(f"the weights sum to one over {ones[0]}, not over {names[3]}")
    if min(subject.sizes.key, subject.sizes.query, subject.sizes.batch) > 1 and _one(weights, subject):
        raise Broken("every weight is one: the softmax has one item")


def _one(sums: Tensor, subject: Subject) -> bool:
    return gap(sums, torch.ones_like(sums)) <= 10 * subject.tolerance


@asked(
    "sum",
    "no weight is negative, and those of a row sum to one",
    "no softmax at all",
    "a divisor left out",
)
def sums(subject: Subject) -> None:
    query, key, _ = subject.inputs()
    for mask in (None, *(subject.masks() if subject.mask_name else ())):
        least, total = summed(subject, query, key, mask)
        where = "" if mask is None else " under a mask"
        if least < -subject.tolerance:
            raise Broken(f"a weight of {least:.3g}{where}")
        if not abs(total - 1) <= 10 * subject.tolerance:
            raise Broken(f"a row sums to {total:.4g}{where}")


@asked("sums", "what the weights of a row sum to", optional=True)
def spread_of_sums(subject: Subject) -> str:
    """No demand: what they are, for those whose weights need not sum to one."""
    totals = subject.known_weights(*subject.inputs()[:2]).sum(-1)
    return f"from {float(totals.min()):.3g} to {float(totals.max()):.3g}"


@asked("told", "the weights that are returned are those that were used")
def told(subject: Subject) -> None:
    query, key, value = subject.inputs()
    returned = subject(query, key, value).weights
    if returned is None:
        raise Unlooked("returns no weights")
    if not subject.plain:
        raise Unlooked("what was used cannot be read off the context")
    for mask in (None, *(subject.masks() if subject.mask_name else ())):
        used, returned = subject.weights(query, key, mask), subject(query, key, value, mask).weights
        assert used is not None
        assert returned is not None
        if off := subject.agree([returned.mean(1)], [used.mean(1)]):
            raise Broken(f"a weight that is returned is {off:.3g} from the one that was used")


def summed(subject: Subject, query: Tensor, key: Tensor, mask: Tensor | None = None) -> tuple[float, float]:
    """The smallest weight, and the sum of a row that is farthest from one."""
    weights = subject.weights(query, key, mask)
    if weights is not None:
        sums = weights.sum(-1)
        sums = sums if mask is None else sums[mask.any(-1)[:, None].expand_as(sums)]
        return float(weights.min()), float(sums.flatten()[(sums - 1).abs().nan_to_num(math.inf).argmax()])
    value = torch.ones(*key.shape[:2], subject.sizes.d_v, dtype=key.dtype, device=key.device)
    if subject.tied:
        raise Unlooked("gives no weights, and they cannot be read off the context")
    if subject.linear:
        raise Unlooked("gives no weights, and its context is not linear in the values")
    context, nothing = subject(query, key, value, mask).context, subject(query, key, value * 0).context
    said = context - nothing  # the same map of the same values in each row, if its weights have the same sum
    unit = subject(*subject.inputs(7)[:2], value).context - nothing
    return 0.0, 1.0 + float((said - unit[:1, :1]).abs().max())
