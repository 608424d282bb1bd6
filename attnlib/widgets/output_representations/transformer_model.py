"""A small transformer as HeadsExplorer holds it, and back."""

import base64
from typing import Any

import torch

from attnlib.output_representations.transformer import Transformer

__all__ = ["packed_model", "quantised", "unpacked_model"]

MOST = 127


def packed_model(model: Transformer) -> dict[str, Any]:
    """Matrices as whole numbers of one byte, a scale for each row; vectors, and the scales, in single precision.

    >>> model = Transformer(3, 4, size=4, heads=2, layers=1, hidden=5)
    >>> same = unpacked_model(packed_model(model))
    >>> bool((same.logits.weight - model.logits.weight).abs().max() < model.logits.weight.abs().max() / 250)
    True
    """
    matrices, vectors, whole, real = [], [], [], []
    parameters = {name: value.detach().cpu().float() for name, value in model.state_dict().items()}
    for name, value in parameters.items():
        if value.ndim == 2:
            scale = (value.abs().amax(1) / MOST).clamp_min(1e-30)
            rows = (value / scale.unsqueeze(1)).round().clamp(-MOST, MOST).to(torch.int8)
            matrices.append([name, *value.shape])
            whole.append(rows.flatten())
            real.append(scale)
    for name, value in parameters.items():
        if value.ndim == 1:
            vectors.append([name, len(value)])
            real.append(value)
    return {
        "heads": model.heads,
        "layers": len(model.encoder),
        "matrices": matrices,
        "vectors": vectors,
        "whole": base64.b64encode(torch.cat(whole).numpy().tobytes()).decode(),
        "real": base64.b64encode(torch.cat(real).numpy().astype("<f4").tobytes()).decode(),
    }


def unpacked_model(stored: dict[str, Any]) -> Transformer:
    """The model in float64."""
    whole = torch.frombuffer(bytearray(base64.b64decode(stored["whole"], validate=True)), dtype=torch.int8).double()
    real = torch.frombuffer(bytearray(base64.b64decode(stored["real"], validate=True)), dtype=torch.float32).double()
    state, sizes = {}, {name: (rows, columns) for name, rows, columns in stored["matrices"]}
    for name, (rows, columns) in sizes.items():
        state[name] = whole[: rows * columns].view(rows, columns) * real[:rows].unsqueeze(1)
        whole, real = whole[rows * columns :], real[rows:]
    for name, size in stored["vectors"]:
        state[name], real = real[:size], real[size:]
    model = Transformer(
        sizes["source.weight"][0],
        sizes["target.weight"][0],
        size=sizes["source.weight"][1],
        heads=stored["heads"],
        layers=stored["layers"],
        hidden=sizes["encoder.0.expand.weight"][0],
    ).double()
    model.load_state_dict(state)
    return model.requires_grad_(False).eval()


def quantised(model: Transformer) -> Transformer:
    """The model with the numbers that a page has of it."""
    return unpacked_model(packed_model(model))
