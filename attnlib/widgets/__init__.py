"""Widgets that run with a kernel and in a page without one; ``base`` says how one is written.

Each is found by its name when it is asked for: ``LocalWindow`` stands in ``local_window.py``, its JavaScript beside it.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
MEMBERS = {
    "".join(word.capitalize() for word in path.stem.split("_")): path.relative_to(_HERE)
    for path in sorted(_HERE.rglob("*.py"))
    if path.with_suffix(".js").exists()
}

__all__ = [*MEMBERS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in MEMBERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(".".join((__name__, *MEMBERS[name].with_suffix("").parts)))
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *MEMBERS})
