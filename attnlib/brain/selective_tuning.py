"""Selective tuning: up a pyramid, a winner at its top, down again along what made it win, and up once more undisturbed.

A unit high up sees much of the image, so whatever stands in its window blurs its answer. The way back down finds which
inputs made it win; the others in the same windows are inhibited, and the second pass is that of the winner's own cause.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .._checks import Number, check_tensor, checked_temperature, may_look
from ._images import as_image

__all__ = ["Layer", "SelectiveTuning", "beam", "feed_forward", "selective_tuning"]


class Layer(NamedTuple):
    """How a layer's units pool the one below: weights ``(unit, below, height, width)`` of a window that moves by
    ``stride``, the first two axes being channels."""

    weight: Float[Tensor, "unit below tall wide"]
    stride: int = 1


class SelectiveTuning(NamedTuple):
    """Both passes, the winner, and the two zones of each layer, the image first and the top last.

    Where nothing at the top is above 0 there is no winner: its channel, row and column are -1, the zones are empty, and
    the second pass is the first.
    """

    first: tuple[Tensor, ...]
    second: tuple[Tensor, ...]
    winner: Int[Tensor, "*batch 3"]
    passes: tuple[Tensor, ...]
    inhibited: tuple[Tensor, ...]


def selective_tuning(
    image: Float[Tensor, "*batch channel height width"],
    layers: Sequence[Layer],
    *,
    bias: Float[Tensor, "*#batch #unit #top #across"] | None = None,
    share: float = 1.0,
) -> SelectiveTuning:
    r"""Find what made the strongest unit at the top win, silence its rivals on the way, and answer again.

    .. math::
        \begin{aligned}
        y^l_u &= \sum_{v \in W(u)} w_{uv} \, y^{l-1}_v, \qquad u^* = \operatorname*{arg\,max}_u b_u \, y^L_u, \qquad
        P^L = \{ u^* \} \\
        P^{l-1} &= \bigcup_{u \in P^l} \Big\{ v \in W(u) : w_{uv} y^{l-1}_v \ge \theta \max_{v' \in W(u)} w_{uv'}
        y^{l-1}_{v'} > 0 \Big\}, \qquad I^{l-1} = \bigcup_{u \in P^l} W(u) \setminus P^{l-1} \\
        \tilde y^l_u &= [u \notin I^l] \sum_{v \in W(u)} w_{uv} \, \tilde y^{l-1}_v, \qquad
        \tilde y^0_u = [u \notin I^0] \, y^0_u
        \end{aligned}

    Args:
        image: :math:`y^0`, ``(*batch, channel, height, width)``, or any maps of features.
        layers: from the lowest up, each a :class:`Layer`. Windows lie wholly within the layer below.
        bias: :math:`b`, what a task wants at the top: factors of at least 0, broadcastable to it. They choose the
            winner and change no response. Without them the strongest wins, the first of equal ones.
        share: :math:`\theta`, above 0 to 1: with what part of the largest contribution to a unit another one passes
            too. At 1 the largest passes alone, with those that equal it.

    Returns:
        A :class:`SelectiveTuning`. ``first`` and ``second`` are the responses, ``passes`` and ``inhibited`` the zones
        :math:`P` and :math:`I` as booleans of the same shapes. What lies in neither zone is as it was. Responses have
        their gradients, with the zones as constants: choosing has none, see :func:`beam`.

    Raises:
        TypeError: the image or a weight is not floating point, or they differ in precision.
        ValueError: the image has NaN or nothing in it; a weight's shape, a stride or the bias does not fit; there are
            no layers; ``share`` is not above 0 and at most 1.

    Source: Tsotsos et al. 1995 [tsotsos1995].

    Departs from the source: competitions are decided at once, not by iterated circuits. Units are gated, not
    connections: what passes for one unit is not inhibited for another. The paper's winner may be a region; ours is one
    unit at the top, and below it whatever reaches ``share``.

    >>> image = torch.tensor([[[3.0, 0.0, 2.0, 0.0, 0.0]]])  # target 3, distractor 2, windows of three
    >>> found = selective_tuning(image, [Layer(torch.ones(1, 1, 1, 3))])
    >>> found.first[1], found.second[1]
    (tensor([[[5., 2., 2.]]]), tensor([[[3., 0., 0.]]]))
    >>> found.inhibited[0].int()
    tensor([[[0, 1, 1, 0, 0]]], dtype=torch.int32)
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    first = feed_forward(image, layers)
    top = _biased(first[-1].detach(), bias)
    place = top.flatten(-3).argmax(-1, keepdim=True)
    won = top.flatten(-3).gather(-1, place) > 0
    zone = torch.zeros_like(top, dtype=torch.bool).flatten(-3).scatter(-1, place, won).reshape(top.shape)
    passes, inhibited = [zone], [torch.zeros_like(zone)]
    for layer, below in zip(reversed(layers), reversed(first[:-1]), strict=True):
        shares = _contributions(below.detach(), layer)  # (*batch, unit, below * tall * wide, places)
        largest = shares.amax(-2, keepdim=True)
        of_pass = passes[0].flatten(-2).unsqueeze(-2)
        winners = of_pass & (shares >= share * largest) & (largest > 0)
        passing = _spread(winners.any(-3), below, layer) > 0
        reached = _spread(of_pass.any(-3).expand(winners.shape[:-3] + winners.shape[-2:]), below, layer) > 0
        passes.insert(0, passing)
        inhibited.insert(0, reached & ~passing)
    second = feed_forward(image, layers, inhibited=inhibited)
    channel, row, column = torch.unravel_index(place.squeeze(-1), top.shape[-3:])
    winner = torch.where(won, torch.stack([channel, row, column], -1), -1)
    return SelectiveTuning(first, second, winner, tuple(passes), tuple(inhibited))


def feed_forward(
    image: Float[Tensor, "*batch channel height width"],
    layers: Sequence[Layer],
    *,
    inhibited: Sequence[Bool[Tensor, "..."]] | None = None,
) -> tuple[Tensor, ...]:
    r"""The responses of all layers, some units silenced.

    .. math:: y^l_u = [u \notin I^l] \sum_{v \in W(u)} w_{uv} \, y^{l-1}_v

    Args:
        image: :math:`y^0`, ``(*batch, channel, height, width)``.
        layers: from the lowest up.
        inhibited: :math:`I`, a boolean of the shape of each response, that of the image first; none by default.

    Returns:
        One tensor more than there are layers: the image itself, then ``(*batch, unit, height, width)``.

    Raises:
        TypeError: the image or a weight is not floating point, or they differ in precision.
        ValueError: the image has NaN or nothing in it, or a weight's shape or a stride does not fit.

    Source: Tsotsos et al. 1995 [tsotsos1995].

    >>> [tuple(part.shape) for part in feed_forward(torch.ones(1, 6, 6), [Layer(torch.ones(2, 1, 2, 2), stride=2)])]
    [(1, 6, 6), (2, 3, 3)]
    """
    as_image("image", image)
    if not layers:
        raise ValueError("layers must be at least one, got none")
    if inhibited is not None and len(inhibited) != len(layers) + 1:
        raise ValueError(f"inhibited must have {len(layers) + 1} zones, one a response, got {len(inhibited)}")

    def gated(response: Tensor, level: int) -> Tensor:
        return response if inhibited is None else response.masked_fill(inhibited[level], 0.0)

    responses = [gated(image, 0)]
    for level, layer in enumerate(layers):
        below = responses[-1]
        _check_layer(level, layer, below)
        flat = below.reshape(-1, *below.shape[-3:])
        found = F.conv2d(flat, layer.weight, stride=layer.stride)
        responses.append(gated(found.reshape(*below.shape[:-3], *found.shape[-3:]), level + 1))
    return tuple(responses)


def beam(
    image: Float[Tensor, "*batch channel height width"],
    layers: Sequence[Layer],
    *,
    bias: Float[Tensor, "*#batch #unit #top #across"] | None = None,
    temperature: Number = 1.0,
) -> tuple[Tensor, ...]:
    r"""The way down as weights: how much of the attention at the top comes to each unit below. It has a gradient.

    .. math::
        \beta^L = \mathrm{softmax}\Big( \frac{b \, y^L}{T} \Big), \qquad
        \beta^{l-1}_v = \sum_{u : v \in W(u)} \beta^l_u \, \frac{\exp(w_{uv} y^{l-1}_v / T)}{\sum_{v' \in W(u)}
        \exp(w_{uv'} y^{l-1}_{v'} / T)}

    Every winner-take-all of :func:`selective_tuning` is a softmax here. As the temperature falls the beam narrows to
    the trace of the winner, where each competition has one; its gradient then goes to nought.

    Args:
        image: as there.
        layers: as there.
        bias: as there.
        temperature: :math:`T`, above 0.

    Returns:
        Weights of the shape of each response, the image first; those of a layer sum to 1.

    Raises:
        TypeError: as there.
        ValueError: as there, or the temperature is not above 0.

    Source: ours, after Tsotsos et al. 1995 [tsotsos1995].

    >>> beam(torch.tensor([[[3.0, 0.0, 2.0]]]), [Layer(torch.ones(1, 1, 1, 3))])[0]
    tensor([[[0.7054, 0.0351, 0.2595]]])
    """
    temperature = checked_temperature(temperature)
    responses = feed_forward(image, layers)
    top = _biased(responses[-1], bias)
    weights = [torch.softmax(top.flatten(-3) / temperature, -1).reshape(top.shape)]
    for layer, below in zip(reversed(layers), reversed(responses[:-1]), strict=True):
        shares = torch.softmax(_contributions(below, layer) / temperature, -2)
        weights.insert(0, _spread((weights[0].flatten(-2).unsqueeze(-2) * shares).sum(-3), below, layer))
    return tuple(weights)


def _contributions(below: Tensor, layer: Layer) -> Tensor:
    """What each unit gets from each input of its window: ``(*batch, unit, input, place)``."""
    flat = F.unfold(below.reshape(-1, *below.shape[-3:]), layer.weight.shape[-2:], stride=layer.stride)
    inputs = flat.reshape(*below.shape[:-3], 1, *flat.shape[-2:])
    return inputs * layer.weight.flatten(1).unsqueeze(-1)


def _spread(windows: Tensor, below: Tensor, layer: Layer) -> Tensor:
    """Add up over the windows, ``(*batch, input, place)``, what falls on each unit below."""
    flat = windows.reshape(-1, *windows.shape[-2:]).to(below.dtype)
    found = F.fold(flat, below.shape[-2:], layer.weight.shape[-2:], stride=layer.stride)
    return found.reshape(below.shape)


def _biased(top: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return top
    check_tensor("bias", bias)
    try:
        fits = torch.broadcast_shapes(bias.shape, top.shape) == top.shape  # type: ignore[no-untyped-call]
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(f"bias must broadcast to the top, {tuple(top.shape)}, got shape {tuple(bias.shape)}")
    if may_look(bias) and not bool(((bias >= 0) & (bias < math.inf)).all()):
        raise ValueError("bias must be finite and at least 0: it is a factor of the responses")
    return top * bias


def _check_layer(level: int, layer: Layer, below: Tensor) -> None:
    name = f"layers[{level}]"
    check_tensor(f"{name}.weight", layer.weight)
    if layer.weight.dtype != below.dtype:
        raise TypeError(f"{name}.weight has dtype {layer.weight.dtype} but what is below has dtype {below.dtype}")
    fits = layer.weight.ndim == 4 and 0 not in layer.weight.shape and layer.weight.shape[1] == below.shape[-3]
    if not fits or any(size > room for size, room in zip(layer.weight.shape[-2:], below.shape[-2:], strict=True)):
        raise ValueError(
            f"{name}.weight must be (unit, {below.shape[-3]}, height, width) with a window within "
            f"{tuple(below.shape[-2:])}, got shape {tuple(layer.weight.shape)}"
        )
    if not isinstance(layer.stride, int) or layer.stride < 1:
        raise ValueError(f"{name}.stride must be a whole number, at least 1, got {layer.stride!r}")
