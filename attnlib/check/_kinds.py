"""What is asked of which kind of attention."""

from typing import NamedTuple


class Kind(NamedTuple):
    """What a kind is; which properties do not apply to it, and which are asked of it alone."""

    says: str
    without: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()


def _kind(says: str, without: str = "", also: str = "") -> Kind:
    return Kind(says, frozenset(filter(None, without.split(", "))), frozenset(filter(None, also.split(", "))))


KINDS = {
    "softmax": _kind("weights that sum to one, by energies that grow with queries and keys"),
    "dot": _kind("softmax of the inner product of query and key", also="energies"),
    "scaled dot": _kind("softmax of the inner product over the root of its length", also="energies"),
    "bounded": _kind("energies that cannot grow without bound: additive, cosine", without="sharpness"),
    "causal": _kind("no query sees what comes after it", without="order", also="future"),
    "positional": _kind("weights that depend on positions as well", without="order"),
    "static": _kind("weights that do not depend on the keys", without="keys, order, sharpness"),
    "constant": _kind(
        "weights that depend on positions alone",
        without="query, keys, choice, order, sharpness, ties",
        also="constant",
    ),
    "own": _kind("weights by the keys alone, the same for all queries", without="query, choice"),
    "unnormalised": _kind("weights that need not sum to one", without="sum, axis, sharpness", also="sums"),
    "kernel": _kind("weights in proportion to a kernel, as in linear attention", without="sharpness", also="features"),
    "hard": _kind("one key is chosen", without="gradient, half, ties, zeros"),
    "random": _kind("draws at each call", without="repeat, batch, order, padding, rows, half, gradient"),
    "readout": _kind("the context goes on through a layer", without="linear, empty row"),
}


def kinds_of(kind: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """The kinds that are meant by a name or several."""
    names = (kind,) if isinstance(kind, str) else tuple(kind)
    for name in names:
        if name not in KINDS:
            raise ValueError(f"kind must be among {', '.join(map(repr, KINDS))}, got {name!r}")
    return names or ("softmax",)
