"""easy-VQA: small pictures of one shape each, and questions about them, out of a pinned package.

5,000 pictures of 64 x 64 pixels with 48,248 questions, made by a program of Victor Zhou [zhou2019]: simple,
but not ours.
One shape a picture: which region matters is plain, and no question needs to tell one shape from another.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .packages import DataError, Package, fetch

__all__ = ["PACKAGE", "Asked", "answers", "load", "pictures"]

PACKAGE = Package(
    "easy-vqa",
    "1.0",
    "easy_vqa-1.0-py3-none-any.whl",
    "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f",
)
FOLDER = "easy_vqa/data"
Part = Literal["train", "test"]


class Asked(NamedTuple):
    """A question in words, without its mark; its answer; and the number of the picture that it is about."""

    words: tuple[str, ...]
    answer: str
    picture: int


def load(part: Part = "train", path: Path | str | None = None) -> list[Asked]:
    """The questions of a part, in their order.

    Args:
        part: ``"train"``, 38,575 questions about 4,000 pictures, or ``"test"``, 9,673 about 1,000 others.
        path: the wheel, or another zip that is laid out like it; by default that of ``PACKAGE``, fetched once.

    Raises:
        ValueError: there is no such part.
        DataError: the package could not be fetched, or the file is not as expected.
    """
    folder = _folder(part)
    with _opened(path) as archive:
        try:
            rows = json.loads(_read(archive, f"{folder}/questions.json"))
            return [Asked(tuple(str(text).rstrip("?").split()), str(answer), int(n)) for text, answer, n in rows]
        except (ValueError, TypeError) as error:
            raise DataError(f"easy-vqa: expected rows of question, answer and picture, got: {error}") from error


def answers(path: Path | str | None = None) -> list[str]:
    """The 13 answers that there are, in the order of the package.

    Raises:
        DataError: as :func:`load`.
    """
    with _opened(path) as archive:
        return _read(archive, f"{FOLDER}/answers.txt").decode().split()


def pictures(
    numbers: list[int], part: Part = "train", path: Path | str | None = None, *, size: int = 64
) -> Float[Tensor, "picture 3 size size"]:
    """Pictures by number, in red, green and blue from 0 to 1.

    Args:
        numbers: as in :class:`Asked`; one that comes twice is given twice.
        part: as in :func:`load`.
        path: as in :func:`load`.
        size: pixels along a side, which must divide that of the picture, 64: each is then a mean of a square.

    Raises:
        ValueError: there is no such part, or ``size`` does not divide a picture.
        DataError: as :func:`load`; a picture is not there, or Pillow is not.
    """
    try:
        from PIL import Image, UnidentifiedImageError  # here, for questions need none of it
    except ImportError as error:
        raise DataError("expected Pillow, to read pictures, got none: pip install attnlib[data]") from error
    folder, found = _folder(part), []
    with _opened(path) as archive:
        for number in numbers:
            data = _read(archive, f"{folder}/images/{number}.png")
            try:
                with Image.open(io.BytesIO(data)) as opened:
                    image = opened.convert("RGB")
            except (UnidentifiedImageError, OSError) as error:
                raise DataError(f"easy-vqa: expected a picture in {number}.png, got: {error}") from error
            if size < 1 or image.width % size or image.height % size:
                raise ValueError(f"size must divide {image.width} and {image.height}, got {size}")
            pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)
            high, wide = image.height // size, image.width // size
            found.append(pixels.permute(2, 0, 1).float().reshape(3, size, high, size, wide))
    if not found:
        return torch.zeros(0, 3, size, size)
    return torch.stack(found).mean((3, 5)) / 255


def _folder(part: str) -> str:
    if part not in ("train", "test"):
        raise ValueError(f"part must be 'train' or 'test', got {part!r}")
    return f"{FOLDER}/{part}"


def _opened(path: Path | str | None) -> zipfile.ZipFile:
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: expected a zip, got: {error}") from error


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{archive.filename}: expected {name}, got: {error}") from error
