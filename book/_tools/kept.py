"""What an experiment has made: kept in a file, so that a script that was killed goes on where it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What was made before under this name, or else is made now."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        value = make()
        torch.save(value, path)
    return torch.load(path, weights_only=False)
