"""A property is a function that looks at a subject; it raises where the property does not hold."""

from collections.abc import Callable
from typing import NamedTuple

from ._subject import Subject

Look = Callable[[Subject], str | None]


class Property(NamedTuple):
    """A name, a sentence, what looks, and which exhibits of the museum break it.

    ``optional`` is asked of the kinds that name it only; ``may_refuse``: a function that raises has not failed.
    """

    name: str
    says: str
    look: Look
    resembles: tuple[str, ...] = ()
    optional: bool = False
    may_refuse: bool = False


PROPERTIES: dict[str, Property] = {}


def asked(
    name: str, says: str, *resembles: str, optional: bool = False, may_refuse: bool = False
) -> Callable[[Look], Look]:
    """Enter a property, in the order in which the table shows them."""

    def enter(look: Look) -> Look:
        PROPERTIES[name] = Property(name, says, look, resembles, optional, may_refuse)
        return look

    return enter
