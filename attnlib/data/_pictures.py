"""Pictures in files, as tensors."""

import io

import torch
from jaxtyping import Float
from torch import Tensor

from .packages import DataError


def decoded(data: bytes, file: str) -> Float[Tensor, "3 height width"]:
    """Red, green and blue in single precision, from 0 to 1.

    Raises:
        DataError: Pillow is not installed, or the data are no picture.
    """
    try:
        from PIL import Image, UnidentifiedImageError  # here, for the other loaders need none of it
    except ImportError as error:
        raise DataError(f"expected Pillow, to read {file}, got none: pip install attnlib[data]") from error
    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"expected a picture in {file}, got: {error}") from error
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width, 3).permute(2, 0, 1).contiguous().float() / 255
