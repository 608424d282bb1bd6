"""Files of weights: written here byte by byte as their descriptions say, and read."""

import io
import struct

import numpy as np
import pytest
import torch

from attnlib.data import DataError
from attnlib.pretrained.tensors import gguf, safetensors

QUARTERS = np.array([0.5, -2.0], "<f2").tobytes()  # a factor and an offset


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def written(tensors, said=(), *, magic=b"GGUF", version=3):
    """A file: ``tensors`` are (name, shape, type, bytes), ``said`` are (name, type, bytes)."""
    head = struct.pack("<4sIQQ", magic, version, len(tensors), len(said))
    for name, kind, content in said:
        head += string(name) + struct.pack("<I", kind) + content
    at, body = 0, b""
    for name, shape, kind, content in tensors:
        head += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, at)
        body += content + bytes(-len(content) % 32)
        at = len(body)
    return io.BytesIO(head + bytes(-len(head) % 32) + body)


def test_blocks_of_four_bits():
    """Lower halves first: sixteen bytes whose lower halves count up and whose upper halves count down."""
    packed = bytes(i | (15 - i) << 4 for i in range(16))
    found = gguf(written([("x", (2, 32), 3, (QUARTERS + packed) * 2)])).tensors["x"]
    wanted = torch.tensor([*range(16), *range(15, -1, -1)]) * 0.5 - 2
    assert torch.equal(found, wanted.expand(2, 32))
    neighbours = torch.tensor([x for i in range(16) for x in (i, 15 - i)]) * 0.5 - 2
    assert not torch.equal(found[0], neighbours)


def test_blocks_of_eight_bits_and_plain_numbers():
    block = np.array([0.25], "<f2").tobytes() + np.arange(-16, 16, dtype=np.int8).tobytes()
    plain, half = np.arange(6, dtype="<f4"), np.array([1.5, -3], "<f2")
    tensors = [("a", (32,), 8, block), ("b", (2, 3), 0, plain.tobytes()), ("c", (2,), 1, half.tobytes())]
    found = gguf(written(tensors)).tensors
    assert torch.equal(found["a"], torch.arange(-16, 16) * 0.25)
    assert torch.equal(found["b"], torch.tensor([[0.0, 1, 2], [3, 4, 5]]))
    assert torch.equal(found["c"], torch.tensor([1.5, -3]))
    assert all(tensor.dtype == torch.float32 for tensor in found.values())


def test_what_a_file_says():
    said = [
        ("general.name", 8, string("Größe")),
        ("depth", 4, struct.pack("<I", 30)),
        ("tiny", 6, struct.pack("<f", 0.5)),
        ("yes", 7, b"\1"),
        ("numbers", 9, struct.pack("<IQ3i", 5, 3, -1, 0, 7)),
        ("words", 9, struct.pack("<IQ", 8, 2) + string("a") + string("b c")),
    ]
    wanted = {"general.name": "Größe", "depth": 30, "tiny": 0.5, "yes": True, "numbers": [-1, 0, 7]}
    assert gguf(written([], said)).said == wanted | {"words": ["a", "b c"]}


def test_other_files_are_refused():
    block = [("x", (32,), 3, QUARTERS + bytes(16))]
    cases = [
        ("version 2 or 3, got b'GGML'", written([], magic=b"GGML")),
        ("of version 1", written([], version=1)),
        ("x: expected a tensor of type 0, 1, 3, 8, got 12", written([("x", (32,), 12, bytes(20))])),
        ("expected a type of value from 0 to 12, got 13", written([], [("y", 13, bytes(4))])),
        ("expected a GGUF file, got", io.BytesIO(b"GG")),
        ("expected a GGUF file, got", io.BytesIO(written(block).getvalue()[:-20])),
    ]
    for message, file in cases:
        with pytest.raises(DataError, match=message):
            gguf(file)


def test_safetensors_that_are_none():
    for content in (b"", b"\2\0\0\0\0\0\0\0{", (2**63).to_bytes(8, "little") + b"{}"):
        with pytest.raises(DataError, match="header of a safetensors file"):
            safetensors(io.BytesIO(content))
    header = b'{"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}'
    with pytest.raises(DataError, match=r"x of shape \[3\], got 2 numbers"):
        safetensors(io.BytesIO(len(header).to_bytes(8, "little") + header + bytes(8)))


def test_safetensors_of_other_numbers_are_left_out():
    header = b'{"x": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}, "y": {"dtype": "F32", "shape": [], '
    header += b'"data_offsets": [8, 12]}}'
    found = safetensors(io.BytesIO(len(header).to_bytes(8, "little") + header + bytes(8) + struct.pack("<f", 2.5)))
    assert list(found) == ["y"]
    assert found["y"] == 2.5
