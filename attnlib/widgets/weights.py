"""Layers as widgets hold them: whole numbers of 16 bits in base64, which a page reads without a library."""

import base64
from typing import Any

import torch
from torch import Tensor, nn

from attnlib.widgets.traits import Array, Record, Text

__all__ = ["Layer", "packed", "unpacked"]

MOST = 2**15 - 1


def Layer() -> Record:
    """A trait for a layer: its ``weight`` is a ``scale`` a row times whole numbers, two bytes each, the low one first.

    ``bias`` is empty where the layer has none.
    """
    return Record({"weight": Text(""), "scale": Array(("_rows",), []), "bias": Array((("", 0, None),), [])}, {})


def packed(layer: nn.Linear) -> dict[str, Any]:
    """A layer as a trait holds it.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[0.5, -0.25]]))
    >>> weight, bias = unpacked(packed(layer))
    >>> weight, bias
    (tensor([[ 0.5000, -0.2500]], dtype=torch.float64), None)
    """
    weight = layer.weight.detach().cpu().double()
    scale = [float(f"{row:.7g}") for row in (weight.abs().amax(1) / MOST).clamp_min(1e-30).tolist()]
    whole = (weight / weight.new_tensor(scale).unsqueeze(1)).round().clamp(-MOST, MOST).to(torch.int16)
    data = b"".join(number.to_bytes(2, "little", signed=True) for number in whole.flatten().tolist())
    bias = [] if layer.bias is None else [float(f"{value:.7g}") for value in layer.bias.tolist()]
    return {"weight": base64.b64encode(data).decode(), "scale": scale, "bias": bias}


def unpacked(stored: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Weight and bias, in float64, of a layer that a trait holds."""
    data, scale = base64.b64decode(stored["weight"], validate=True), stored["scale"]
    whole = torch.tensor(memoryview(data).cast("h").tolist(), dtype=torch.float64).view(len(scale), -1)
    return whole * whole.new_tensor(scale).unsqueeze(1), whole.new_tensor(stored["bias"]) if stored["bias"] else None
