"""Numbers as text, as in ``js/text.js``."""

__all__ = ["share"]


def share(weight: float) -> str:
    """A weight: an exact nought is told apart from what rounds to it."""
    return "0" if weight == 0 else "< 0.0005" if weight < 5e-4 else f"{weight:.3f}"


def number(value: float, digits: int = 2) -> str:
    """A finite number with a true minus sign."""
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) != 0 else text
