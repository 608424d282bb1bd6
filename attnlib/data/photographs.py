"""Real photographs out of pinned packages: faces, things, buildings, stars.

Seven come out of a wheel of scikit-image [vanderwalt2014], which is read as the zip that it is; two lie in the folder
of scikit-learn [pedregosa2011], which this book installs anyway. Whoever shows one prints its credit.
"""

import hashlib
import importlib.util
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ._pictures import decoded
from .packages import DataError, Package, fetch

__all__ = ["PACKAGE", "PHOTOGRAPHS", "Photograph", "load"]

PACKAGE = Package(
    "scikit-image",
    "0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    platform="manylinux_2_28_x86_64",
)


class Photograph(NamedTuple):
    """What is seen, who is to be credited, on which terms, and in which ``file``; a ``sha256`` if it is
    scikit-learn's."""

    shows: str
    credit: str
    licence: str
    file: str
    sha256: str = ""


PHOTOGRAPHS: dict[str, Photograph] = {
    "astronaut": Photograph(
        "Eileen Collins in an orange suit before a flag and a model of a shuttle",
        "NASA",
        "public domain",
        "skimage/data/astronaut.png",
    ),
    "camera": Photograph(
        "a man behind a camera on a tripod, in grey", "Lav Varshney", "CC0", "skimage/data/camera.png"
    ),
    "chelsea": Photograph("the face of a tabby cat", "Stefan van der Walt", "CC0", "skimage/data/chelsea.png"),
    "coffee": Photograph(
        "a cup of coffee with a spoon on a wooden table",
        "Rachel Michetti, courtesy of Pikolo Espresso Bar",
        "CC0",
        "skimage/data/coffee.png",
    ),
    "coins": Photograph(
        "Greek coins from Pompeii, in grey", "Brooklyn Museum", "no known restrictions", "skimage/data/coins.png"
    ),
    "hubble": Photograph(
        "thousands of galaxies on black",
        "NASA, Hubble eXtreme Deep Field",
        "public domain",
        "skimage/data/hubble_deep_field.jpg",
    ),
    "rocket": Photograph("a rocket that takes off at night", "SpaceX", "public domain", "skimage/data/rocket.jpg"),
    "china": Photograph(
        "a Chinese temple by a lake",
        "danielbuechele, flickr.com/photos/danielbuechele/6061409035",
        "CC BY 2.0",
        "datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
    ),
    "flower": Photograph(
        "a pink flower before green leaves",
        "vultilion, flickr.com/photos/vultilion/6056698931",
        "CC BY 2.0",
        "datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    ),
}
"""What there is, by name."""


def load(
    name: str, *, size: tuple[int, int] | int | None = None, path: Path | str | None = None
) -> Float[Tensor, "3 height width"]:
    """One photograph.

    Args:
        name: one of :data:`PHOTOGRAPHS`.
        size: height and width that are wanted, or the longer side alone, the other in proportion; by default that of
            the file. Smaller than the file, every pixel is a mean of those it stands for.
        path: the wheel of scikit-image, or another zip that is laid out like it, or the folder of scikit-learn; by
            default the one that the photograph is in, the wheel fetched once.

    Returns:
        Red, green and blue ``(3, height, width)`` in single precision, from 0 to 1; of a grey one all three are alike.

    Raises:
        ValueError: there is no such photograph, or the size is below 1.
        DataError: the package could not be fetched or is not installed, Pillow is not, or the file is not as expected.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"name must be one of {', '.join(PHOTOGRAPHS)}, got {name!r}")
    if size is not None and min(size if isinstance(size, tuple) else (size,)) < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    photograph = PHOTOGRAPHS[name]
    return _resized(decoded(_read(photograph, path), photograph.file), size)


def _read(photograph: Photograph, path: Path | str | None) -> bytes:
    if photograph.sha256:
        folder = _scikit_learn() if path is None else Path(path)
        try:
            data = (folder / photograph.file).read_bytes()
        except OSError as error:
            raise DataError(f"{folder}: expected {photograph.file}, got: {error}") from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != photograph.sha256:
            raise DataError(f"{folder}: expected {photograph.file} with SHA-256 {photograph.sha256}, got {digest}")
        return data
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(photograph.file)
    except (zipfile.BadZipFile, OSError, KeyError) as error:
        raise DataError(f"{path}: expected {photograph.file} in a zip, got: {error}") from error


def _scikit_learn() -> Path:
    """Its folder, without importing it, which takes a second."""
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise DataError("expected scikit-learn, which holds this photograph, got none: pip install attnlib[data]")
    return Path(found.submodule_search_locations[0])


def _resized(image: Tensor, size: tuple[int, int] | int | None) -> Tensor:
    if size is None:
        return image
    if isinstance(size, int):
        share, (height, width) = size / max(image.shape[1:]), image.shape[1:]
        size = max(round(height * share), 1), max(round(width * share), 1)
    resized = torch.nn.functional.interpolate(
        image.unsqueeze(0), size, mode="bilinear", antialias=True, align_corners=False
    )
    return resized.squeeze(0).clamp(0, 1)
