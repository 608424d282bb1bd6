"""One layer of a transformer, with everything that its attention computed on the way."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .multihead import Cache, MultiHead, multihead
from .parts import join, split

__all__ = ["Attended", "Edit", "Layer", "Part", "Passed", "Place"]

Part = Literal["encoder", "decoder", "across"]


class Place(NamedTuple):
    """Where attention is at work: its part, its layer from 0, and how many queries came before the first.

    The encoder looks at the source, the decoder at what it wrote, and *across* from there to the source.
    """

    part: Part
    layer: int
    start: int = 0


Edit = Callable[[Place, Tensor], Tensor]


class Attended(NamedTuple):
    """One multi-head attention: what the heads ask and are asked, side by side, and what comes of it.

    Energies and weights are None where they were not wanted. Weights are those that were used, after an edit; the
    energies are from before it.
    """

    query: Float[Tensor, "*batch query d"]
    key: Float[Tensor, "*#batch key d"]
    value: Float[Tensor, "*#batch key d"]
    energies: Float[Tensor, "*batch heads query key"] | None
    weights: Float[Tensor, "*batch heads query key"] | None
    context: Float[Tensor, "*batch query d"]
    output: Float[Tensor, "*batch query size"]


class Passed(NamedTuple):
    """What a layer did: attention to itself and across, the hidden units, and the vectors that go on."""

    own: Attended
    across: Attended | None
    hidden: Float[Tensor, "*batch time hidden"]
    outputs: Float[Tensor, "*batch time size"]


class Layer(nn.Module):
    r"""Attention to itself, attention across if it is a decoder's, and two matrices: each adds to what passes by.

    .. math::
        x' = x + \mathrm{heads}(\mathrm{norm}(x)), \quad x'' = x' + \mathrm{heads}(\mathrm{norm}(x'), z), \quad
        y = x'' + W_2 \max(0, W_1 \mathrm{norm}(x'') + b_1) + b_2

    Args:
        size: of the vectors that pass.
        heads: of each attention.
        hidden: units between the two matrices.
        across: whether there is a source :math:`z` to look at.

    Raises:
        ValueError: the heads do not divide ``size``.

    Source: Vaswani et al. 2017, sections 3.1 and 3.3 [vaswani2017]; the norm before each part: Xiong et al. 2020
    [xiong2020].

    Departs from the source: in the first paper the norm stands behind each sum, and there is dropout.

    >>> import torch
    >>> passed, cache = Layer(6, 2, 8)(torch.ones(1, 5, 6), torch.ones(5, 5).bool())
    >>> passed.outputs.shape, cache.key.shape
    (torch.Size([1, 5, 6]), torch.Size([1, 5, 6]))
    """

    def __init__(self, size: int, heads: int, hidden: int, *, across: bool = False) -> None:
        super().__init__()
        self.own, self.own_norm = MultiHead(size, heads), nn.LayerNorm(size)
        self.across = MultiHead(size, heads) if across else None
        self.across_norm = nn.LayerNorm(size) if across else None
        self.expand, self.reduce, self.norm = nn.Linear(size, hidden), nn.Linear(hidden, size), nn.LayerNorm(size)

    def look(self, states: Float[Tensor, "*batch source size"]) -> Cache:
        """Keys and values of a source, for the attention across.

        Raises:
            ValueError: the layer is not made to look across.
        """
        if self.across is None:
            raise ValueError("a layer must be made with across=True to look at a source")
        return Cache(*self.across.project(states[..., :0, :], states)[1:])

    def forward(
        self,
        inputs: Float[Tensor, "*batch time size"],
        visible: Bool[Tensor, "*#mask"],
        source: Cache | None = None,
        source_visible: Bool[Tensor, "*#mask2"] | None = None,
        *,
        kept: Cache | None = None,
        places: tuple[Place, Place] = (Place("encoder", 0), Place("across", 0)),
        edit: Edit | None = None,
        need_weights: bool = True,
    ) -> tuple[Passed, Cache]:
        """Pass vectors on.

        Args:
            inputs: one vector for each item that is new.
            visible: which item may attend to which, ``(*batch, time, all)``, with what was kept in front.
            source: what :meth:`look` gave.
            source_visible: which items of the source are real.
            kept: keys and values of the items before the new ones.
            places: what an edit is told about the attention to itself and the one across.
            edit: ``(place, weights) -> weights``.
            need_weights: without them, and without an edit, a fused kernel may do the work.

        Returns:
            What the layer did, and keys and values of all items so far.
        """
        asking = self.own_norm(inputs)
        query, key, value = self.own.project(asking)
        if kept is not None:
            key, value = torch.cat([kept.key, key], -2), torch.cat([kept.value, value], -2)
        cache = Cache(key, value)
        own = _attended(self.own, query, cache, visible, places[0], edit, need_weights)
        inputs, across = inputs + own.output, None
        if self.across is not None and self.across_norm is not None and source is not None:
            asking = self.across_norm(inputs)
            query = self.across.project(asking, asking[..., :0, :])[0]
            across = _attended(self.across, query, source, source_visible, places[1], edit, need_weights)
            inputs = inputs + across.output
        hidden = self.expand(self.norm(inputs)).relu()
        return Passed(own, across, hidden, inputs + self.reduce(hidden)), cache


def _attended(
    layer: MultiHead,
    query: Tensor,
    seen: Cache,
    mask: Tensor | None,
    place: Place,
    edit: Edit | None,
    need_weights: bool,
) -> Attended:
    """Attention of projected vectors; an edit changes its weights, and the contexts follow."""
    found = multihead(
        query,
        *seen,
        heads=layer.heads,
        attention=layer.attention,
        mask=mask,
        need_weights=need_weights or edit is not None,
    )
    weights, context = found.weights, found.context
    if edit is not None and weights is not None:
        weights = edit(place, weights)
        context = join(weights @ split(seen.value, layer.heads))
    return Attended(query, *seen, found.energies, weights, context, layer.output(context))
