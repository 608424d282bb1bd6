"""What a result may and must depend on: the query, the keys, not the other rows, nor the batch, nor the order."""

import torch

from ._property import asked
from ._subject import Broken, Subject, Unlooked, gap


@asked("query", "the weights depend on the query", "concat without tanh", "a linear score",
       "uniform by a sum over features")  # fmt: skip
def query(subject: Subject) -> None:
    asking, key, _ = subject.inputs()
    first = subject.fingerprint(asking, key)
    if subject.sizes.key > 1 and gap(subject.fingerprint(subject.inputs(1)[0], key), first) <= subject.slack(first):
        raise Broken(f"{subject.sizes.batch * subject.sizes.query} queries changed, and no weight changes")


@asked("keys", "the weights depend on the keys", "the encoder never scored")
def keys(subject: Subject) -> None:
    asking, key, _ = subject.inputs()
    look = subject.known_weights if subject.tied else subject.fingerprint  # other keys are other values where tied
    first = look(asking, key)
    if subject.sizes.key > 1 and gap(look(asking, subject.inputs(1)[1]), first) <= subject.slack(first):
        raise Broken(f"all {subject.sizes.key} keys changed, and no weight changes")


@asked("constant", "the weights depend on no input", "random weights that are dot products", optional=True)
def constant(subject: Subject) -> None:
    first = subject.fingerprint(*subject.inputs()[:2])
    for named, given in (("query", (1, 0)), ("keys", (0, 1))):
        parts = subject.inputs(given[0])[0], subject.inputs(given[1])[1]
        off = gap(subject.fingerprint(*parts), first)
        if off > subject.slack(first):
            raise Broken(f"weights change by {off:.3g} with the {named}")


@asked("choice", "different queries can prefer different keys", "tanh outside of the score")
def choice(subject: Subject) -> str | None:
    """Whether one key is preferred by all of many queries."""
    key = subject.inputs()[1][:1].expand(subject.sizes.batch, -1, -1).contiguous()
    preferred: set[int] = set()
    asked_of = 0
    for seed in range(16):
        weights = subject.known_weights(subject.inputs(100 + seed, 2.0)[0], key)
        rows = weights[:, 0, -1:] if "causal" in subject.kinds else weights[:, 0]
        preferred |= set(rows.argmax(-1).flatten().tolist())
        asked_of += rows.shape[0] * rows.shape[1]
    if len(preferred) < 2 < subject.sizes.key:
        raise Broken(f"{asked_of} queries all prefer key {min(preferred)} of {subject.sizes.key}")
    return None


@asked("ties", "different keys get different weights", "weights repeated like tiles")
def ties(subject: Subject) -> None:
    asking, key, _ = subject.inputs()
    # Numbers of one decimal have inner products that are the same by chance.
    key = key + subject.tensor(torch.randn(key.shape, generator=torch.Generator().manual_seed(8)).double()) / 10
    row = subject.known_weights(asking, key)[0, 0, -1].sort().values
    row = row[row != 0]
    apart = (row[1:] - row[:-1]) > 1e-3 * subject.tolerance * row[1:].abs()
    if not apart.all():
        raise Broken(f"{len(row)} different keys have {1 + int(apart.sum())} different weights")


@asked("rows", "a row depends on its own query, on no other", "hops that are averaged", "softmax over the queries")
def rows(subject: Subject) -> None:
    """The last row, as the queries before it may be seen by nobody."""
    if subject.sizes.query < 2:
        raise Unlooked("there is one query")
    asking, key, value = subject.inputs()
    others = subject.inputs(1)[0]
    others[:, -1] = asking[:, -1]
    first, found = subject(asking, key, value).context[:, -1:], subject(others, key, value).context[:, -1:]
    if off := subject.agree([found], [first]):
        raise Broken(f"row {subject.sizes.query - 1} changes by {off:.3g} when the other queries change")


@asked("batch", "batch mates do not matter", "softmax over the batch", may_refuse=True)
def batch(subject: Subject) -> None:
    if subject.sizes.batch < 2:
        raise Unlooked("there is one member")
    parts, others = subject.inputs(), subject.inputs(1)
    wanted = [part[:1] for part in subject.parts(*parts)]
    mixed = [torch.cat([part[:1], other[1:]]) for part, other in zip(parts, others, strict=True)]
    if off := subject.agree([part[:1] for part in subject.parts(*mixed)], wanted):
        raise Broken(f"member 0 changes by {off:.3g} when member 1 changes")
    if off := subject.agree(subject.resized(batch=1).parts(*(part[:1] for part in parts)), wanted):
        raise Broken(f"member 0 changes by {off:.3g} when it is alone")


@asked("order", "keys and values in another order change nothing, queries in another order the rows", may_refuse=True)
def order(subject: Subject) -> None:
    asking, key, value = subject.inputs()
    first = subject(asking, key, value).context
    for mask in (None, *(subject.masks() if subject.mask_name else ())):
        first = subject(asking, key, value, mask).context
        turned = None if mask is None else mask.flip(-1)
        if off := subject.agree([subject(asking, key.flip(1), value.flip(1), turned).context], [first]):
            raise Broken(f"the context changes by {off:.3g} with the keys in reverse order")
        turned = None if mask is None else mask.flip(1)
        if off := subject.agree([subject(asking.flip(1), key, value, turned).context.flip(1)], [first]):
            raise Broken(f"rows change by {off:.3g} with the queries in reverse order")
