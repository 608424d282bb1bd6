"""RNNsearch and RNNencdec as a page holds them, and back: whole numbers of one byte."""

from typing import Any

from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch
from attnlib.widgets.packed_state import packed_state, unpacked_state

__all__ = ["packed_model", "quantised", "unpacked_model"]

Model = RNNsearch | RNNencdec


def packed_model(model: Model) -> dict[str, Any]:
    """Whole numbers of one byte, as :func:`packed_state` makes them, and which of the two models it is.

    >>> model = RNNencdec(3, 4, embedding=2, hidden=3, maxout=2)
    >>> same = unpacked_model(packed_model(model))
    >>> matrix, again = model.unit.recurrent, same.unit.recurrent
    >>> bool((again - matrix).abs().max() <= matrix.abs().max() / 254)
    True
    """
    return {"model": type(model).__name__, **packed_state(model)}


def unpacked_model(stored: dict[str, Any]) -> Model:
    """The model in float64."""
    state = unpacked_state(stored)
    (source, embedding), (target, maxout) = state["source_embedding.weight"].shape, state["output.weight"].shape
    widths = {"embedding": embedding, "hidden": state["start.weight"].shape[0], "maxout": maxout}
    model: Model
    if stored["model"] == "RNNsearch":
        model = RNNsearch(source, target, alignment=state["align_state.weight"].shape[0], **widths)
    else:
        model = RNNencdec(source, target, **widths)
    model = model.double()
    model.load_state_dict(state)
    return model.requires_grad_(False).eval()


def quantised(model: Model) -> Model:
    """The model with the numbers that a page has of it, in float64."""
    return unpacked_model(packed_model(model))
