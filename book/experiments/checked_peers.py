"""What the check says of attention as it is in packages that people use.

    PYTHONPATH=.venv-bench python book/experiments/checked_peers.py

Each function or layer is called through an adapter, as its documentation says, in the setting that is named. Keras,
local-attention and x-transformers stand in ``.venv-bench`` alone (``make bench`` makes it). The versions are written
down beside what was found. Half a minute on one core.
"""

import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnlib.check import Report, adapters, check

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from book._tools import provenance

RESULTS = Path(__file__).parent / "results" / "checked_peers"
Found = tuple[Callable[..., Any], str, str]  # what is called, of which kind, in which setting


def torch_layer() -> Found:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    return adapters.torch_multihead(layer), "softmax", "attn_mask, with weights"


def torch_function() -> Found:
    function = nn.functional.scaled_dot_product_attention
    return adapters.heads_first(function, mask="attn_mask"), "scaled dot", "attn_mask, on a CPU"


def torch_flex() -> Found:
    from torch.nn.attention.flex_attention import flex_attention

    def call(flex: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Any:
        def hidden(energy: Tensor, batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
            return energy if mask is None else torch.where(mask[batch, row, column], energy, -torch.inf)

        with torch.no_grad():  # on a CPU it refuses inputs that want a gradient
            return flex(*(part[:, None] for part in (query, key, value)), score_mod=hidden).squeeze(1)

    adapted = adapters.Adapted(flex_attention, call, differentiable=False)
    return adapted, "scaled dot", "not compiled, the mask as a score_mod, on a CPU"


def entmax_package() -> Found:
    from entmax import sparsemax

    def sparse(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        energies = query @ key.mT / query.shape[-1] ** 0.5
        if mask is not None:
            energies = energies.masked_fill(~mask, -torch.inf)
        weights = sparsemax(energies, dim=-1)
        return weights @ value, weights

    return sparse, "softmax", "its sparsemax of energies, -inf where hidden"


def x_transformers() -> Found:
    from x_transformers.attend import Attend

    attend = Attend()

    def single(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        parts = (part[:, None] for part in (query, key, value))
        context, between = attend(*parts, mask=None if mask is None else mask[:, None])
        return context.squeeze(1), between.post_softmax_attn

    return single, "scaled dot", "Attend(), not flash"


def local_attention() -> Found:
    from local_attention import LocalAttention

    layer = LocalAttention(window_size=4, look_forward=1, autopad=True, use_rotary_pos_emb=False).eval()
    return adapters.with_padding(layer), "positional", "window of 4, one before and one after, mask of padding"


def keras_layers() -> Any:
    """The layers of Keras, with torch behind them; its settings are those that it comes with."""
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp())
    keras = importlib.import_module("keras")
    keras.utils.set_random_seed(0)
    return keras.layers


def keras_multihead() -> Found:
    layer = keras_layers().MultiHeadAttention(num_heads=2, key_dim=4)
    layer(torch.zeros(1, 2, 8), torch.zeros(1, 2, 8))  # this makes its matrices
    return adapters.keras_multihead(layer), "softmax", "on torch, attention_mask, with scores"


def keras_dot() -> Found:
    return adapters.keras_attention(keras_layers().Attention()), "dot", "on torch, mask of padding, with scores"


def keras_additive() -> Found:
    layer = keras_layers().AdditiveAttention()
    layer([torch.zeros(1, 2, 8)] * 3)
    return adapters.keras_attention(layer), "bounded", "on torch, mask of padding, with scores"


SUBJECTS: dict[str, tuple[str, Callable[[], Found]]] = {
    "nn.MultiheadAttention": ("torch", torch_layer),
    "scaled_dot_product_attention": ("torch", torch_function),
    "flex_attention": ("torch", torch_flex),
    "sparsemax": ("entmax", entmax_package),
    "Attend": ("x-transformers", x_transformers),
    "LocalAttention": ("local-attention", local_attention),
    "MultiHeadAttention": ("keras", keras_multihead),
    "Attention": ("keras", keras_dot),
    "AdditiveAttention": ("keras", keras_additive),
}


def row_sums(tokens: int, *, masked: bool) -> list[float]:
    """What the weights of each row of LocalAttention sum to, with windows of four that it fills up by itself."""
    layer: Any = local_attention()[0].wrapped
    query, key = torch.randn(2, 1, tokens, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.ones(1, tokens, dtype=torch.bool) if masked else None
    found: Tensor = layer(query, key, torch.ones_like(key), mask=mask)
    return [round(each, 4) for each in found[0, :, 0].tolist()]


def masked_always() -> list[str]:
    """What does not hold of LocalAttention where each call has a mask, be it one that hides nothing."""
    given, kind, _ = local_attention()

    def call(wrapped: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Any:
        everything = torch.ones(len(key), query.shape[1], key.shape[1], dtype=torch.bool)
        return wrapped(query, key, value, everything if mask is None else mask)

    return check(adapters.Adapted(given, call, padding_only=True), kind=kind, seconds=300.0).failed


def blind() -> dict[str, float]:
    """How far from zeros, and from the mean of the hidden values, Keras' layers are where a query sees nothing."""
    layer = keras_multihead()[0].wrapped
    query, value = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(3, 5, 5, dtype=torch.bool)
    mean = layer(query, value, key=torch.zeros_like(value), training=False)  # the same energy for all keys
    context, weights = layer(query, value, attention_mask=nothing, return_attention_scores=True, training=False)
    unasked = layer(query, value, attention_mask=nothing, training=False)
    off = {"weights asked for": weights, "context asked for": context, "context from the mean": unasked - mean}
    hidden = torch.zeros(3, 5, dtype=torch.bool)
    for name, layer in (("Attention", keras_dot()[0].wrapped), ("AdditiveAttention", keras_additive()[0].wrapped)):
        found = layer([query, value, value], mask=[None, hidden], training=False)
        off[f"{name} from the mean"] = found - value.mean(1, keepdim=True)
    return {name: float(part.detach().abs().max()) for name, part in (off | {"context": unasked}).items()}


def described(package: str, setting: str, report: Report) -> dict[str, Any]:
    """What is kept of a report."""
    return {
        "package": package,
        "version": importlib.metadata.version(package).split("+")[0],
        "setting": setting,
        "kind": report.kind,
        "passed": report.passed,
        "failed": {name: report[name].found for name in report.failed},
        "unlooked": report.unlooked,
        "remarks": list(report.remarks),
    }


def looked_at(name: str) -> dict[str, Any]:
    """What the check says of one of them."""
    package, make = SUBJECTS[name]
    function, kind, setting = make()
    return described(package, setting, check(function, kind=kind, seconds=300.0))


def main() -> None:
    torch.set_num_threads(1)
    sums = {f"{n} tokens{', masked' * masked}": row_sums(n, masked=masked) for n in (5, 8) for masked in (False, True)}
    subjects = {name: looked_at(name) for name in SUBJECTS}
    found = {**provenance.stamp(Path(__file__)), "subjects": subjects, "row sums": sums}
    found["masked always"], found["sees nothing"] = masked_always(), blind()
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "metrics.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
