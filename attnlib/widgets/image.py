"""Pictures as widgets hold them: bytes in base64, which a page draws without a library."""

import base64
from typing import Any

import torch
from torch import Tensor

__all__ = ["packed", "unpacked"]


def packed(image: Tensor) -> dict[str, Any]:
    """An image ``(3, height, width)`` or ``(1, height, width)``, values from 0 to 1, as a trait holds it.

    >>> packed(torch.tensor([[[1.0]], [[0.5]], [[0.0]]]))  # one pixel: the bytes 255, 128 and 0
    {'height': 1, 'width': 1, 'rgb': '/4AA'}
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise ValueError(f"image must be (3, height, width) or (1, height, width), got shape {tuple(image.shape)}")
    if not image.is_floating_point() or not bool(((image >= 0) & (image <= 1)).all()):
        raise ValueError(f"image must hold broken numbers from 0 to 1, got dtype {image.dtype}")
    _, height, width = image.shape
    values = image.detach().cpu().double().expand(3, height, width).permute(1, 2, 0)
    data = bytes((values * 255).round().to(torch.uint8).flatten().tolist())
    return {"height": height, "width": width, "rgb": base64.b64encode(data).decode()}


def unpacked(picture: dict[str, Any]) -> Tensor:
    """The image ``(3, height, width)`` in float64, values from 0 to 1, that a trait holds.

    >>> unpacked({"height": 1, "width": 1, "rgb": "/4AA"}).flatten() * 255
    tensor([255., 128.,   0.], dtype=torch.float64)
    """
    data = torch.tensor(list(base64.b64decode(picture["rgb"])), dtype=torch.float64)
    return data.view(picture["height"], picture["width"], 3).permute(2, 0, 1) / 255
