"""Numbers out of the two files in which weights are kept most: safetensors, and GGUF with its blocks of few bits."""

import json
import math
import struct
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from attnlib.data import DataError

__all__ = ["File", "Stored", "gguf", "safetensors"]

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# How many numbers a block holds, and in how many bytes; by the number that the format gives a type.
_BLOCKS = {0: (1, 4), 1: (1, 2), 3: (32, 20), 8: (32, 34)}


@runtime_checkable
class File(Protocol):
    """What bytes are read from: an open file, or a member of a zip."""

    def read(self, n: int = -1, /) -> bytes:
        """The next bytes, or all that are left."""
        ...

    def tell(self) -> int:
        """How many were read."""
        ...


class Stored(NamedTuple):
    """What a GGUF file holds: what it says of the model, and its tensors by name, in single precision."""

    said: dict[str, Any]
    tensors: dict[str, Tensor]


def safetensors(file: File) -> dict[str, Tensor]:
    """The tensors of single precision in a safetensors file, by name; others, such as positions, are left out.

    The file is the length of its header in eight bytes, the header as JSON, and then the numbers.

    Raises:
        DataError: the file ends too soon, or its header is none.
    """
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    except (struct.error, ValueError, OverflowError) as error:
        raise DataError(f"expected the header of a safetensors file, got: {error!r}") from error
    body, found = file.read(), {}
    for name, told in header.items():
        if name == "__metadata__" or told["dtype"] != "F32":
            continue
        start, end = told["data_offsets"]
        numbers = np.frombuffer(body[start:end], "<f4")
        if numbers.size != math.prod(told["shape"]):
            raise DataError(f"expected {name} of shape {told['shape']}, got {numbers.size} numbers")
        found[name] = torch.from_numpy(numbers.reshape(told["shape"]).copy())
    return found


def gguf(file: File) -> Stored:
    r"""What a GGUF file of version 2 or 3 holds.

    Of the types of tensors there are single and half precision and two in blocks of 32 numbers. *Q8_0* keeps a
    factor :math:`d` in half precision and whole numbers :math:`q` from -128 to 127; *Q4_1* a factor, an offset
    :math:`m`, and sixteen bytes whose lower halves are the first sixteen numbers and whose upper halves are the others:

    .. math:: x = d q \qquad \text{and} \qquad x = d q + m, \quad q \in \{0, \dots, 15\}

    The last axis of a tensor here is the first that the file names.

    Raises:
        DataError: it is no such file, a tensor has another type, or the file ends too soon.
    """
    try:
        return _gguf(file)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"expected a GGUF file, got: {error!r}") from error


def _gguf(file: File) -> Stored:
    magic, version, tensors, entries = _take(file, "4sIQQ")
    if magic != b"GGUF" or version not in (2, 3):
        raise DataError(f"expected a GGUF file of version 2 or 3, got {magic!r} of version {version}")
    said = {}
    for _ in range(entries):
        name = _string(file)
        said[name] = _value(file, _take(file, "I")[0])
    told = []
    for _ in range(tensors):
        name = _string(file)
        shape = _take(file, f"{_take(file, 'I')[0]}Q")[::-1]
        told.append((name, shape, *_take(file, "IQ")))
    alignment = said.get("general.alignment", 32)
    file.read(-file.tell() % alignment)
    body = file.read()
    return Stored(said, {name: _tensor(name, shape, kind, body[at:]) for name, shape, kind, at in told})


def _take(file: File, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))


def _string(file: File) -> str:
    return file.read(_take(file, "Q")[0]).decode("utf-8")


def _value(file: File, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        of, count = _take(file, "IQ")
        return [*_take(file, f"{count}{_NUMBERS[of]}")] if of in _NUMBERS else [_value(file, of) for _ in range(count)]
    if kind not in _NUMBERS:
        raise DataError(f"expected a type of value from 0 to 12, got {kind}")
    return _take(file, _NUMBERS[kind])[0]


def _tensor(name: str, shape: tuple[int, ...], kind: int, body: bytes) -> Tensor:
    if kind not in _BLOCKS:
        raise DataError(f"{name}: expected a tensor of type {', '.join(map(str, _BLOCKS))}, got {kind}")
    held, size = _BLOCKS[kind]
    count = math.prod(shape) // held
    blocks = np.frombuffer(body[: count * size], np.uint8).reshape(count, size)
    if kind == 3:
        d, m = blocks[:, :4].copy().view("<f2").astype("<f4").T[..., None]
        packed = blocks[:, 4:]
        numbers = np.concatenate([packed & 15, packed >> 4], -1) * d + m
    elif kind == 8:
        numbers = blocks[:, 2:].view(np.int8) * blocks[:, :2].copy().view("<f2").astype("<f4")
    else:
        numbers = blocks.copy().view("<f4" if kind == 0 else "<f2").astype("<f4")
    return torch.from_numpy(numbers.astype(np.float32).reshape(shape))
