"""What FindTheBug shows of some exhibits of the museum: a hint for each line, and which of its properties they break.

That ``fails`` is what ``attnlib.check.check`` says is tested in ``tests/widgets/test_find_the_bug.py``, as is that
there is a hint for each line but the one at fault.
"""

from typing import Any

from attnlib.museum import find

__all__ = ["CASES", "PROPERTIES", "lines_of"]

PROPERTIES = {  # of attnlib.check, by their names, and what the buttons ask
    "sum": "Do the weights of a row sum to one?",
    "query": "Do the weights depend on the query?",
    "choice": "Can two queries prefer different keys?",
    "rows": "Do the other queries leave a row as it is?",
    "hidden weight": "Is what is hidden without weight?",
    "large": "Do large queries and keys leave a sum of one?",
}
ENERGIES = "These are inner products over the root of their length, as they should be."
TWO = "One number of each query and one of each key come of these: little, but no fault. What is made of the two?"
RETURNED = "It only hands on what the lines above have made."


def lines_of(name: str) -> list[str]:
    """The lines of an exhibit below its first, which would tell its name.

    >>> lines_of("padding that is attended")[1]
    'weights = energies.softmax(-1)'
    """
    return [line.removeprefix("    ") for line in find(name).code.splitlines()[1:]]


def _case(name: str, fails: str, why: str, *hints: str) -> dict[str, Any]:
    """``hints`` are those of the lines in their order, the one at fault left out."""
    exhibit = find(name)
    lines = lines_of(name)
    fault = next(i for i, line in enumerate(lines) if exhibit.fault in line)
    told = list(hints)
    told.insert(fault, "")
    named = {"name": name, "lines": lines, "fault": fault, "breaks": exhibit.breaks}
    return {**named, "fails": fails.split(", "), "why": why, "hints": told}


CASES: list[dict[str, Any]] = [
    _case(
        "padding that is attended",
        "hidden weight",
        "The mask came in, and nobody asks for it: the softmax goes over all keys, padding too.",
        "Inner products over the root of their length, right as far as they go. Something is left out, and a line "
        "goes on without it: which?",
        RETURNED,
    ),
    _case(
        "a mask the other way round",
        "hidden weight",
        "True says that a query may look, and this line takes away the energies where it is true. What is left is "
        "what should be hidden.",
        ENERGIES,
        "Whether there is a mask is a good question. What becomes of it?",
        "The softmax of the row, over the keys. It gives the weights to the energies that it is handed.",
        RETURNED,
    ),
    _case(
        "softmax over the queries",
        "sum, rows, hidden weight, large",
        "The softmax runs down the columns: the queries share out each key. Where a key is hidden from all of them, "
        "nought is divided by nought.",
        ENERGIES,
        RETURNED,
    ),
    _case(
        "a linear score",
        "query, choice",
        "The query adds the same number to all energies of its row, and the softmax takes it away again. Additive "
        "attention keeps it: matrices for the two vectors, a tanh around the sum, and a vector after it.",
        TWO,
        "The mask comes before the softmax, and the softmax goes over the keys. But what do the energies know?",
        RETURNED,
    ),
    _case(
        "softmax over one item",
        "sum, query, choice, large",
        "The last axis has one item, and the softmax of one item is one, whatever its energy is. Over the keys, the "
        "mask in the next line would still come late: that is the exercise of this page.",
        "The energies are right, and an axis of one item does no harm by itself. Who works along it?",
        "The mask comes after the softmax, too late for a sum of one: a fault as well. But with nothing hidden a row "
        "does not sum to one either, and no query matters. Which line does that?",
        RETURNED,
    ),
    _case(
        "tanh outside of the score",
        "choice",
        "The tanh squeezes a sum of two numbers, and keeps their order: the query moves all energies the same way, so "
        "that the keys alone say which is the largest.",
        TWO,
        "The mask comes before the softmax, and the softmax goes over the keys. But in what order are the energies?",
        RETURNED,
    ),
    _case(
        "a divisor left out",
        "sum, large",
        "It is called the inverse and is the sum itself. The next line multiplies by it, where one over it was meant.",
        "A kernel needs features above nought, and of what the plane holds this makes them. Far below nought it does "
        "not, but that is another exhibit.",
        "The products of the features, without those that are hidden: what linear attention begins with.",
        "To divide here would mend it too. But by its name, what it multiplies by is one over the sum already. Is it?",
        RETURNED,
    ),
    _case(
        "exp without the maximum",
        "large",
        "An energy of 710 is too much for exp in double precision: infinity over infinity is no number. Who takes the "
        "largest energy away first gets the same weights, and no infinity.",
        "After exp a nought takes away what is hidden, as minus infinity does before it, where exp gives a number.",
        "Each over the sum of its row: so far a softmax is just that. What goes into the sum?",
        RETURNED,
    ),
]
