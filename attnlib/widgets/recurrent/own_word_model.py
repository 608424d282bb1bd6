"""RNNsearch and RNNencdec as a page holds them, and back: whole numbers of one byte."""

import base64
from typing import Any

import torch

from attnlib.recurrent.rnnsearch import RNNencdec, RNNsearch

__all__ = ["packed_model", "quantised", "unpacked_model"]

MOST = 127
Model = RNNsearch | RNNencdec


def packed_model(model: Model) -> dict[str, Any]:
    """Matrices as whole numbers of one byte, a scale for each row; vectors, and the scales, in single precision.

    >>> model = RNNencdec(3, 4, embedding=2, hidden=3, maxout=2)
    >>> same = unpacked_model(packed_model(model))
    >>> matrix, again = model.unit.recurrent, same.unit.recurrent
    >>> bool((again - matrix).abs().max() <= matrix.abs().max() / 254)
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
        "model": type(model).__name__,
        "matrices": matrices,
        "vectors": vectors,
        "whole": base64.b64encode(torch.cat(whole).numpy().tobytes()).decode(),
        "real": base64.b64encode(torch.cat(real).numpy().astype("<f4").tobytes()).decode(),
    }


def unpacked_model(stored: dict[str, Any]) -> Model:
    """The model in float64."""
    whole = torch.frombuffer(bytearray(base64.b64decode(stored["whole"], validate=True)), dtype=torch.int8).double()
    real = torch.frombuffer(bytearray(base64.b64decode(stored["real"], validate=True)), dtype=torch.float32).double()
    state, sizes = {}, {name: (rows, columns) for name, rows, columns in stored["matrices"]}
    for name, (rows, columns) in sizes.items():
        state[name] = whole[: rows * columns].view(rows, columns) * real[:rows].unsqueeze(1)
        whole, real = whole[rows * columns :], real[rows:]
    for name, size in stored["vectors"]:
        state[name], real = real[:size], real[size:]
    (source, embedding), (target, maxout) = sizes["source_embedding.weight"], sizes["output.weight"]
    widths = {"embedding": embedding, "hidden": sizes["start.weight"][0], "maxout": maxout}
    model: Model
    if stored["model"] == "RNNsearch":
        model = RNNsearch(source, target, alignment=sizes["align_state.weight"][0], **widths)
    else:
        model = RNNencdec(source, target, **widths)
    model = model.double()
    model.load_state_dict(state)
    return model.requires_grad_(False).eval()


def quantised(model: Model) -> Model:
    """The model with the numbers that a page has of it, in float64."""
    return unpacked_model(packed_model(model))
