"""Networks that answer questions about scenes as a widget holds them, and back."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from attnlib.input_representations.coattention_network import (
    AlternatingCoAttention,
    ParallelCoAttention,
    PhraseCoAttention,
)
from attnlib.widgets.weights import packed, unpacked

__all__ = ["KINDS", "LAYERS", "packed_model", "seen_regions", "unpacked_network"]

KINDS = {"parallel": ParallelCoAttention, "alternating": AlternatingCoAttention}
_SIDES = ("image_weight", "image_vector", "question_weight", "question_vector")
_OWN = {
    "parallel": (*_SIDES, "affinity_weight"),
    "alternating": (*_SIDES, "image_guide", "question_guide", "summary_weight", "summary_vector"),
}
_KERNELS = ("kernel_1", "kernel_2", "kernel_3")  # of phrases of so many words
LAYERS = {kind: ("embedding", *_KERNELS, *own, "fusion", "answer") for kind, own in _OWN.items()}
"""What the page needs of each network."""


def packed_model(
    seen: nn.Conv2d, networks: Mapping[str, PhraseCoAttention], words: Sequence[str], answers: Sequence[str]
) -> dict[str, Any]:
    """What sees a cell, and a network of each kind, as a trait holds them.

    >>> seen = nn.Conv2d(3, 4, 2, stride=2)
    >>> networks = {kind: PhraseCoAttention(5, 4, 3, attention) for kind, attention in KINDS.items()}
    >>> stored = packed_model(seen, networks, list("abcde"), ["yes", "no", "red"])
    >>> unpacked_network(stored, "parallel").answer.weight.shape
    torch.Size([3, 4])
    """
    found: dict[str, Any] = {"cell": seen.kernel_size[0], "words": list(words), "answers": list(answers)}
    found["seen"] = _packed(seen.weight.flatten(1), seen.bias)
    for kind, network in networks.items():
        parts = {name.replace("attention.", ""): value for name, value in network.state_dict().items()}
        # The words of a phrase one after the other, as the page reads them.
        parts |= {name: parts[f"kernels.{n}"].movedim(-1, 1).flatten(1) for n, name in enumerate(_KERNELS)}
        parts |= {"embedding": parts["embedding.weight"], "answer": parts["answer.weight"]}
        bias = {"answer": parts["answer.bias"]}
        found[kind] = {
            name: _packed(parts[name].view(-1, parts[name].shape[-1]), bias.get(name)) for name in LAYERS[kind]
        }
    return found


def _packed(weight: Tensor, bias: Tensor | None) -> dict[str, Any]:
    with torch.device("meta"):  # no number is drawn for what is replaced
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach())
    return packed(layer)


def seen_regions(stored: dict[str, Any], image: Tensor) -> Tensor:
    """The cells of an image ``(3, height, width)`` as regions ``(1, region, d)``, row by row."""
    weight, bias = unpacked(stored["seen"])
    cell = stored["cell"]
    kernel = weight.view(len(weight), 3, cell, cell)
    return torch.tanh(nn.functional.conv2d(2 * image[None] - 1, kernel, bias, stride=cell)).flatten(2).mT


def unpacked_network(stored: dict[str, Any], kind: str) -> PhraseCoAttention:
    """The network in float64 that a trait holds, made once, and not to be changed."""
    layers = stored[kind]
    parts = tuple((layers[n]["weight"], tuple(layers[n]["scale"]), tuple(layers[n]["bias"])) for n in LAYERS[kind])
    return _unpacked(kind, parts)


@lru_cache(maxsize=8)
def _unpacked(kind: str, parts: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...]) -> PhraseCoAttention:
    named = zip(LAYERS[kind], parts, strict=True)
    found = {n: unpacked({"weight": data, "scale": scale, "bias": bias}) for n, (data, scale, bias) in named}
    n_words, d = found["embedding"][0].shape
    width = len(found["image_weight"][0])
    with torch.device("meta"):
        network = PhraseCoAttention(n_words, d, len(found["answer"][0]), lambda *_: KINDS[kind](d, d, width))
    state = {"embedding.weight": found["embedding"][0], "fusion": found["fusion"][0]}
    bias = found["answer"][1]
    assert bias is not None
    state |= {"answer.weight": found["answer"][0], "answer.bias": bias}
    for n, name in enumerate(_KERNELS):
        state[f"kernels.{n}"] = found[name][0].view(d, n + 1, d).movedim(1, -1).contiguous()
    for name in _OWN[kind]:
        weight = found[name][0]
        state[f"attention.{name}"] = weight[0] if name.endswith("vector") else weight
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False)
