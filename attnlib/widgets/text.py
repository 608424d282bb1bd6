"""Numbers as text, as in ``js/text.js``."""

import math
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal

__all__ = ["number", "pair", "share"]

_EXACT = Context(prec=400, rounding=ROUND_HALF_UP)


def number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign; halves away from zero, as in JavaScript; infinities by their sign."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{Decimal(abs(value)).quantize(Decimal(10) ** -digits, context=_EXACT):f}"
    return f"−{text}" if value < 0 and float(text) else text


def pair(point: Iterable[float], digits: int = 2) -> str:
    """A point of the plane."""
    return f"({', '.join(number(value, digits) for value in point)})"


def share(weight: float) -> str:
    """A weight: an exact nought is told apart from what rounds to it."""
    return "0" if weight == 0 else "< 0.0005" if weight < 5e-4 else number(weight, 3)
