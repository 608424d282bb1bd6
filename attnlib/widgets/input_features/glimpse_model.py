"""A recurrent attention model as a widget holds it, and back."""

from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from attnlib.input_features.glimpse import GlimpseNetwork
from attnlib.input_features.recurrent_attention import RecurrentAttention
from attnlib.widgets.weights import packed, unpacked

__all__ = ["LAYERS", "packed_model", "unpacked_model"]

# What the page needs, and where RecurrentAttention keeps it; the baseline is for training alone.
LAYERS = {
    "what": "glimpse.what",
    "where": "glimpse.where",
    "from_what": "glimpse.from_what",
    "from_where": "glimpse.from_where",
    "from_state": "from_state",
    "from_glimpse": "from_glimpse",
    "action": "action",
    "place": "place",
}


def packed_model(model: RecurrentAttention, glimpses: int) -> dict[str, Any]:
    """A model without a context as a trait holds it; ``glimpses``: how many it takes before it answers.

    >>> model = RecurrentAttention(10, GlimpseNetwork(2, d_hidden=3, d_glimpse=5), d_state=7)
    >>> unpacked_model(packed_model(model, 6)).action.weight.shape
    torch.Size([10, 7])
    """
    if model.context is not None:
        raise ValueError("model must be without a context, which the page does not compute; got one with it")
    found = dict(model.named_modules())
    layers = {name: packed(cast(nn.Linear, found[place])) for name, place in LAYERS.items()}
    return {"size": model.glimpse.size, "scales": model.glimpse.scales, "glimpses": glimpses, "layers": layers}


def unpacked_model(stored: dict[str, Any]) -> RecurrentAttention:
    """The model in float64 that a trait holds; its baseline is of nought. It is made once, and not to be changed."""
    layers = [stored["layers"][name] for name in LAYERS]
    parts = tuple((layer["weight"], tuple(layer["scale"]), tuple(layer["bias"])) for layer in layers)
    return _unpacked(stored["size"], stored["scales"], parts)


@lru_cache(maxsize=4)
def _unpacked(
    size: int, scales: int, parts: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...]
) -> RecurrentAttention:
    parameters: dict[str, Tensor] = {}
    for place, (data, scale, given) in zip(LAYERS.values(), parts, strict=True):
        weight, bias = unpacked({"weight": data, "scale": scale, "bias": given})
        parameters |= {f"{place}.weight": weight} | ({} if bias is None else {f"{place}.bias": bias})
    d_hidden, inputs = parameters["glimpse.what.weight"].shape
    sizes = {"channels": inputs // (scales * size**2), "d_hidden": d_hidden}
    n_kinds, d_state = parameters["action.weight"].shape
    with torch.device("meta"):  # no number is drawn for what is replaced
        look = GlimpseNetwork(size, scales, **sizes, d_glimpse=len(parameters["glimpse.from_what.weight"]))
        model = RecurrentAttention(n_kinds, look, d_state=d_state)
    for name, value in model.baseline.state_dict().items():
        parameters[f"baseline.{name}"] = torch.zeros(value.shape, dtype=torch.float64)
    model.load_state_dict(parameters, assign=True)
    return model.requires_grad_(False)
