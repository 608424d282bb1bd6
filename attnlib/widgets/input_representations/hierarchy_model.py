"""A small hierarchical attention network as HierarchyReader holds it, and back."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from attnlib.input_representations.hierarchical import HierarchicalAttention, Hierarchy
from attnlib.widgets.weights import packed, unpacked

__all__ = ["PageModel", "packed_model", "unpacked_model"]

_LEVELS = ("words", "sentences")
_PARTS = {"forth": "l0", "back": "l0_reverse"}


class PageModel(NamedTuple):
    """Word vectors ``(word, d)``, both levels, and the layer that makes one number of a document."""

    vectors: Tensor
    levels: HierarchicalAttention
    answer: nn.Linear

    def __call__(self, document: list[list[int]]) -> tuple[float, Hierarchy]:
        """The energy of one document of sentences of numbers, above 0 for positive, and what both levels gave."""
        counts = [len(sentence) for sentence in document]
        tokens = torch.tensor([word for sentence in document for word in sentence], dtype=torch.long)
        sizes = {"words": torch.tensor(counts, dtype=torch.long), "sentences": torch.tensor([len(counts)])}
        found: Hierarchy = self.levels(self.vectors[tokens], **sizes)
        return self.answer(found.context)[0, 0].item(), found


def packed_model(vectors: Tensor, levels: HierarchicalAttention, answer: nn.Linear) -> dict[str, Any]:
    """The layers of a model, 16 bits a number; word vectors a column each.

    >>> made = packed_model(torch.zeros(9, 2), HierarchicalAttention(2, 3, 5), nn.Linear(6, 1))
    >>> unpacked_model(made)([[1, 2], [3]])[1].sentences.weights.sum().item()
    1.0
    """
    layers = {"vectors": packed(_layer(vectors.mT)), "answer": packed(answer)}
    for level in _LEVELS:
        unit, pool = dict(getattr(levels, level).named_parameters()), getattr(levels, f"pool_{level}")
        for way, end in _PARTS.items():
            layers[f"{level}_{way}_input"] = packed(_layer(unit[f"weight_ih_{end}"], unit[f"bias_ih_{end}"]))
            layers[f"{level}_{way}_state"] = packed(_layer(unit[f"weight_hh_{end}"], unit[f"bias_hh_{end}"]))
        layers[f"{level}_hidden"] = packed(_layer(pool.weight, pool.bias))
        layers[f"{level}_context"] = packed(_layer(pool.context_vector.unsqueeze(0)))
    return layers


def unpacked_model(layers: dict[str, Any]) -> PageModel:
    """The model in float64."""
    found = {name: unpacked(layer) for name, layer in layers.items()}
    vectors, (weight, bias) = found["vectors"][0].mT, found["answer"]
    d_w, both = found["words_hidden"][0].shape
    levels = HierarchicalAttention(vectors.shape[1], both // 2, d_w, dtype=torch.float64).requires_grad_(False)
    for level in _LEVELS:
        unit, pool = getattr(levels, level), getattr(levels, f"pool_{level}")
        for way, end in _PARTS.items():
            for kind, part in (("ih", "input"), ("hh", "state")):
                for name, value in zip(("weight", "bias"), found[f"{level}_{way}_{part}"], strict=True):
                    getattr(unit, f"{name}_{kind}_{end}").copy_(value)
        for parameter, value in zip((pool.weight, pool.bias), found[f"{level}_hidden"], strict=True):
            parameter.copy_(value)
        pool.context_vector.copy_(found[f"{level}_context"][0][0])
    return PageModel(vectors, levels, _layer(weight, bias))


def _layer(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer
