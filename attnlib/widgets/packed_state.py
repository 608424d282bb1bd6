"""The parameters of a module as a page holds them, and back: whole numbers of one byte."""

import base64
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["packed_state", "unpacked_state"]

MOST = 127


def packed_state(module: nn.Module) -> dict[str, Any]:
    """Matrices as whole numbers of one byte, a scale for each row; vectors, and the scales, in single precision.

    >>> layer = nn.Linear(3, 4)
    >>> state = unpacked_state(packed_state(layer))
    >>> bool((state["weight"] - layer.weight).abs().max() <= layer.weight.abs().max() / 253.9)
    True
    """
    matrices, vectors, whole, real = [], [], [], []
    parameters = {name: value.detach().cpu().float() for name, value in module.state_dict().items()}
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
        "matrices": matrices,
        "vectors": vectors,
        "whole": base64.b64encode(torch.cat(whole).numpy().tobytes()).decode(),
        "real": base64.b64encode(torch.cat(real).numpy().astype("<f4").tobytes()).decode(),
    }


def unpacked_state(stored: dict[str, Any]) -> dict[str, Tensor]:
    """The parameters by name, in float64."""
    whole = torch.frombuffer(bytearray(base64.b64decode(stored["whole"], validate=True)), dtype=torch.int8).double()
    real = torch.frombuffer(bytearray(base64.b64decode(stored["real"], validate=True)), dtype=torch.float32).double()
    state = {}
    for name, rows, columns in stored["matrices"]:
        state[name] = whole[: rows * columns].view(rows, columns) * real[:rows].unsqueeze(1)
        whole, real = whole[rows * columns :], real[rows:]
    for name, size in stored["vectors"]:
        state[name], real = real[:size], real[size:]
    return state
