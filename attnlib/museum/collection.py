"""All exhibits, in the order in which the museum shows them."""

from . import carried, masks, normalisation, scores
from .exhibit import Exhibit

__all__ = ["EXHIBITS", "find"]

EXHIBITS: tuple[Exhibit, ...] = (*scores.EXHIBITS, *normalisation.EXHIBITS, *masks.EXHIBITS, *carried.EXHIBITS)


def find(name: str) -> Exhibit:
    """An exhibit by its name.

    Args:
        name: such as ``"concat without tanh"``.

    Returns:
        The exhibit.

    Raises:
        KeyError: there is none of that name.

    >>> find("a mask without effect").breaks
    'hidden weight'
    """
    for exhibit in EXHIBITS:
        if exhibit.name == name:
            return exhibit
    raise KeyError(f"no exhibit is called {name!r}: {', '.join(exhibit.name for exhibit in EXHIBITS)}")
