"""Numbers as text, as in ``js/text.js``."""

import math

__all__ = ["number", "share"]


def number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign; infinities by their sign."""
    text = "∞" if math.isinf(value) else f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and (math.isinf(value) or float(text)) else text


def share(weight: float) -> str:
    """A weight: an exact nought is told apart from what rounds to it."""
    return "0" if weight == 0 else "< 0.0005" if weight < 5e-4 else f"{weight:.3f}"
