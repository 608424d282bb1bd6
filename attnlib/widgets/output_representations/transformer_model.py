"""A small transformer as HeadsExplorer holds it, and back."""

from typing import Any

from attnlib.output_representations.transformer import Transformer
from attnlib.widgets.packed_state import packed_state, unpacked_state

__all__ = ["packed_model", "quantised", "unpacked_model"]


def packed_model(model: Transformer) -> dict[str, Any]:
    """Whole numbers of one byte, as :func:`packed_state` makes them, and how many heads and layers there are.

    >>> model = Transformer(3, 4, size=4, heads=2, layers=1, hidden=5)
    >>> same = unpacked_model(packed_model(model))
    >>> bool((same.logits.weight - model.logits.weight).abs().max() < model.logits.weight.abs().max() / 250)
    True
    """
    return {"heads": model.heads, "layers": len(model.encoder), **packed_state(model)}


def unpacked_model(stored: dict[str, Any]) -> Transformer:
    """The model in float64."""
    state = unpacked_state(stored)
    model = Transformer(
        state["source.weight"].shape[0],
        state["target.weight"].shape[0],
        size=state["source.weight"].shape[1],
        heads=stored["heads"],
        layers=stored["layers"],
        hidden=state["encoder.0.expand.weight"].shape[0],
    ).double()
    model.load_state_dict(state)
    return model.requires_grad_(False).eval()


def quantised(model: Transformer) -> Transformer:
    """The model with the numbers that a page has of it."""
    return unpacked_model(packed_model(model))
