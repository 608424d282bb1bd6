"""The transformer with encoder and decoder, in the open: nothing that it computes on the way is thrown away.

A call gives queries, keys, values, energies, weights and contexts of all heads of all layers, and
:mod:`~attnlib.output_representations.interventions` changes the weights where they are used.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .. import masks
from .._checks import check_boolean, check_tensor
from ..input_representations.positions import sinusoidal, token_positions
from .multihead import Cache
from .transformer_layer import Edit, Layer, Passed, Place

__all__ = ["Encoded", "Kept", "Said", "Transformer", "Written"]


class Encoded(NamedTuple):
    """The source, read: vectors for the decoder to look at, which of them are real, and the layers on the way."""

    states: Float[Tensor, "*batch source size"]
    mask: Bool[Tensor, "*batch source"]
    layers: tuple[Passed, ...]


class Kept(NamedTuple):
    """Keys and values of each layer of the decoder: of what was written so far, and of the source."""

    own: tuple[Cache, ...]
    across: tuple[Cache, ...]


class Written(NamedTuple):
    """What the decoder makes of each item that it is told: logits of the next, the layers, and what to read on from."""

    logits: Float[Tensor, "*batch target words"]
    layers: tuple[Passed, ...]
    kept: Kept


class Said(NamedTuple):
    """What was decoded: words, closed by the end mark unless ``longest`` came first, and end marks behind that; True
    for a word and for the mark that closes them; and the sum of their log-probabilities.
    """

    words: Int[Tensor, "*batch time"]
    mask: Bool[Tensor, "*batch time"]
    log_probability: Float[Tensor, "*batch"]


class Transformer(nn.Module):
    r"""Read a source, and say of each beginning of a target what comes next.

    A word's vector, times the root of its size, plus the sines and cosines of its place, goes through the layers.
    Behind the last layer of either part stands one more norm, and behind the decoder's a matrix for the logits.

    Args:
        source_words: how many there are.
        target_words: how many there are, marks of beginning and end included.
        size: of all vectors between, even, and a multiple of the heads.
        heads: of each attention.
        layers: of the encoder, and as many of the decoder; at least one.
        hidden: units between the two matrices of a layer.

    Raises:
        ValueError: ``size`` is odd, the heads do not divide it, or there is no layer.

    Source: Vaswani et al. 2017, section 3 [vaswani2017]; the norm before each part: Xiong et al. 2020 [xiong2020].

    Departs from the source: in the first paper the norm stands behind each sum, there is dropout, one matrix serves
    source, target and logits, and the four matrices of attention add no vector.

    >>> model = Transformer(5, 7, size=8, heads=2, layers=1, hidden=16)
    >>> found = model(torch.tensor([[3, 1, 4]]), torch.tensor([[0, 2]]))
    >>> found.logits.shape, found.layers[0].across.weights.shape
    (torch.Size([1, 2, 7]), torch.Size([1, 2, 2, 3]))
    """

    def __init__(
        self,
        source_words: int,
        target_words: int,
        *,
        size: int = 64,
        heads: int = 4,
        layers: int = 2,
        hidden: int = 192,
    ) -> None:
        super().__init__()
        if size % 2:
            raise ValueError(f"size must be even, for sines and cosines go in pairs, got {size}")
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        self.heads = heads
        self.source, self.target = nn.Embedding(source_words, size), nn.Embedding(target_words, size)
        for table in (self.source, self.target):
            nn.init.normal_(table.weight, std=size**-0.5)
        self.encoder = nn.ModuleList(Layer(size, heads, hidden) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(size, heads, hidden, across=True) for _ in range(layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.logits = nn.Linear(size, target_words)

    def forward(
        self,
        source: Int[Tensor, "*batch source"],
        target: Int[Tensor, "*batch target"],
        mask: Bool[Tensor, "*batch source"] | None = None,
        *,
        edit: Edit | None = None,
        need_weights: bool = True,
    ) -> Written:
        """:meth:`read`, then :meth:`write` all of the target at once, each item told itself and those before it."""
        encoded = self.read(source, mask, edit=edit, need_weights=need_weights)
        return self.write(target, encoded, edit=edit, need_weights=need_weights)

    def read(
        self,
        source: Int[Tensor, "*batch source"],
        mask: Bool[Tensor, "*batch source"] | None = None,
        *,
        edit: Edit | None = None,
        need_weights: bool = True,
    ) -> Encoded:
        """Encode a source.

        Args:
            source: numbers of words.
            mask: True = a real word. Padding, on either side, changes nothing at the words that are real.
            edit: ``(place, weights) -> weights``, called for each attention with the weights of its heads. What it
                returns is used as it is, whatever it sums to.
            need_weights: without them, and without an edit, a fused kernel may do the work.

        Raises:
            TypeError: the source is no tensor, or the mask is not boolean.
            ValueError: the mask has not the shape of the source.
        """
        check_tensor("source", source)
        mask = torch.ones_like(source, dtype=torch.bool) if mask is None else mask
        check_boolean(mask)
        if mask.shape != source.shape:
            raise ValueError(f"mask must have the shape of source, {tuple(source.shape)}, got {tuple(mask.shape)}")
        x, layers = _entered(self.source, source, token_positions(mask)), []
        for i, layer in enumerate(self.encoder):
            places = Place("encoder", i), Place("across", i)
            passed, _ = layer(x, mask.unsqueeze(-2), places=places, edit=edit, need_weights=need_weights)
            layers.append(passed)
            x = passed.outputs
        return Encoded(self.encoder_norm(x), mask, tuple(layers))

    def write(
        self,
        target: Int[Tensor, "*batch target"],
        encoded: Encoded,
        kept: Kept | None = None,
        *,
        edit: Edit | None = None,
        need_weights: bool = True,
    ) -> Written:
        """Read on in the target: in one run or word by word, it comes to the same logits.

        Args:
            target: numbers of words, the mark of beginning first of all.
            encoded: from :meth:`read`.
            kept: what the last call kept; nothing was written before unless given.
            edit: as in :meth:`read`.
            need_weights: as in :meth:`read`.
        """
        check_tensor("target", target)
        start, new = 0 if kept is None else kept.own[0].key.shape[-2], target.shape[-1]
        visible = masks.causal(new, start + new, alignment="lower-right", device=target.device)
        visible = visible.reshape((1,) * (target.ndim - 1) + visible.shape)
        looked = (layer.look(encoded.states) for layer in self.decoder)  # type: ignore[operator]
        across = tuple(looked) if kept is None else kept.across
        x = _entered(self.target, target, torch.arange(start, start + new, device=target.device))
        layers, own = [], []
        for i, layer in enumerate(self.decoder):
            passed, cache = layer(
                x,
                visible,
                across[i],
                encoded.mask.unsqueeze(-2),
                kept=None if kept is None else kept.own[i],
                places=(Place("decoder", i, start), Place("across", i, start)),
                edit=edit,
                need_weights=need_weights,
            )
            layers.append(passed)
            own.append(cache)
            x = passed.outputs
        return Written(self.logits(self.decoder_norm(x)), tuple(layers), Kept(tuple(own), across))

    @torch.no_grad()
    def greedy(
        self,
        source: Int[Tensor, "*batch source"],
        mask: Bool[Tensor, "*batch source"] | None = None,
        *,
        begin: int,
        end: int,
        longest: int,
        edit: Edit | None = None,
    ) -> Said:
        r"""Take the most probable word at each step, and keep the keys and values of those before.

        .. math:: y_t = \arg\max_y p(y \mid y_{<t}, x)

        Args:
            source: as in :meth:`read`.
            mask: as in :meth:`read`.
            begin: number of the mark of beginning.
            end: number of the end mark.
            longest: words at most, the end mark included; at least 1.
            edit: as in :meth:`read`; a step comes with one query, whose number is the ``start`` of its place.

        Raises:
            ValueError: ``longest`` is below 1; or as :meth:`read`.
        """
        if longest < 1:
            raise ValueError(f"longest must be at least 1, got {longest}")
        encoded = self.read(source, mask, edit=edit, need_weights=False)
        word = torch.full((*source.shape[:-1], 1), begin, dtype=source.dtype, device=source.device)
        words: list[Tensor] = []
        real: list[Tensor] = []
        kept, going = None, torch.ones_like(word, dtype=torch.bool)
        total = torch.zeros(word.shape[:-1], dtype=self.logits.weight.dtype, device=source.device)
        while len(words) < longest and (not words or going.any()):
            written = self.write(word, encoded, kept, edit=edit, need_weights=False)
            best, word = written.logits.log_softmax(-1).max(-1)
            total = total + torch.where(going, best, 0.0).squeeze(-1)
            word = torch.where(going, word, end)
            words.append(word)
            real.append(going)
            kept, going = written.kept, going & (word != end)
        return Said(torch.cat(words, -1), torch.cat(real, -1), total)


def _entered(table: nn.Embedding, words: Tensor, positions: Tensor) -> Tensor:
    vectors: Tensor = table(words)
    placed: Tensor = sinusoidal(positions, table.embedding_dim, dtype=vectors.dtype)
    return vectors * math.sqrt(table.embedding_dim) + placed
