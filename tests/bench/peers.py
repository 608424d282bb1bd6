"""Other people's packages, where they are there; what is missing is one line of what is printed, and no failure."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

missing: dict[str, str] = {}  # name to reason


def package(name: str, *, shown: str | None = None) -> Any:
    """A module, or None, and the reason is kept."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except ImportError as raised:
        missing[shown or name] = str(raised)
        return None


def entmax() -> Any:
    return package("entmax")


def fast_transformers() -> tuple[Any, Any]:
    """Its causal product, and its attention item by item."""
    shown = "pytorch-fast-transformers"
    recurrent = "fast_transformers.recurrent.attention.self_attention.linear_attention"
    return package("fast_transformers.causal_product", shown=shown), package(recurrent, shown=shown)


def local_attention() -> Any:
    return package("local_attention", shown="local-attention")


def x_transformers() -> Any:
    return package("x_transformers.attend", shown="x-transformers")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same through ``torch.compile``; fails at its first call where there is no compiler."""
    return torch.compile(function, dynamic=False)
