"""The properties and the kinds of the check by their names, and what each says."""

from . import _calls, _distribution, _influence, _masking, _numbers  # noqa: F401 - each enters its properties, in order
from ._kinds import KINDS
from ._property import PROPERTIES

__all__ = ["kinds", "properties"]


def properties() -> dict[str, str]:
    """What is looked at, in the order of the table.

    Returns:
        The property in words, by its name. The last words of a property that is asked of some kinds only say of which.

    >>> for name, says in properties().items():
    ...     print(f"{name}: {says}")
    mutation: the inputs stay as they are
    repeat: the same call gives the same result, whatever was called before
    linear: the context is linear in the values
    asking: asking for the weights changes nothing else
    axis: it is the weights of a row that sum to one
    sum: no weight is negative, and those of a row sum to one
    sums: what the weights of a row sum to (unnormalised)
    told: the weights that are returned are those that were used
    query: the weights depend on the query
    keys: the weights depend on the keys
    constant: the weights depend on no input (constant)
    choice: different queries can prefer different keys
    ties: different keys get different weights
    rows: a row depends on its own query, on no other
    batch: batch mates do not matter
    order: keys and values in another order change nothing, queries in another order the rows
    hidden weight: what is hidden has no weight
    hidden influence: what is hidden changes nothing
    hidden garbage: NaN, infinity and huge numbers behind the mask change nothing
    hidden gradient: what is hidden gets no gradient and spoils none
    empty row: a query that sees nothing has a context, and spoils no other
    padding: padding that is hidden, or a mask that hides nothing, changes nothing
    future: no row depends on what comes after it (causal)
    sharpness: energies a hundred times as large put nearly all weight on one key
    energies: the weights are the softmax of the inner product of query and key (dot, scaled dot)
    zeros: a vector of zeros does no harm
    large: energies far from nought leave weights that are finite and sum to one
    half: half precision gives what double precision gives, but for rounding
    features: features far below nought are still told apart in half precision (kernel)
    gradient: the gradient is that of finite differences
    """
    found = {}
    for name, prop in PROPERTIES.items():
        asking = [kind for kind, what in KINDS.items() if name in what.also]
        found[name] = prop.says + (f" ({', '.join(asking)})" if prop.optional else "")
    return found


def kinds() -> dict[str, str]:
    """The sorts of attention that the check knows, and what it does not ask of them.

    Returns:
        The kind in words, by its name.

    >>> for name, says in kinds().items():
    ...     print(f"{name}: {says}")
    softmax: weights that sum to one, by energies that grow with queries and keys
    dot: softmax of the inner product of query and key
    scaled dot: softmax of the inner product over the root of its length
    bounded: energies that cannot grow without bound: additive, cosine; not asked: sharpness
    causal: no query sees what comes after it; not asked: order
    positional: weights that depend on positions as well; not asked: order
    static: weights that do not depend on the keys; not asked: keys, order, sharpness
    constant: weights that depend on positions alone; not asked: choice, keys, order, query, sharpness, ties
    own: weights by the keys alone, the same for all queries; not asked: choice, query
    unnormalised: weights that need not sum to one; not asked: axis, sharpness, sum
    kernel: weights in proportion to a kernel, as in linear attention; not asked: sharpness
    hard: one key is chosen; not asked: gradient, half, ties, zeros
    random: draws at each call; not asked: batch, gradient, half, order, padding, repeat, rows
    readout: the context goes on through a layer; not asked: empty row, linear
    """
    return {
        name: kind.says + (f"; not asked: {', '.join(sorted(kind.without))}" if kind.without else "")
        for name, kind in KINDS.items()
    }
