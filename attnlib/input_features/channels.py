"""Item-wise attention on the channels of an image: squeeze each to a number, and let these weight all channels."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._checks import check_parameter
from ._images import as_image, check_whole

__all__ = ["Excitation", "SqueezeExcitation", "excite"]


class Excitation(NamedTuple):
    """What excitation gives: the weighted channels, their weights, and the squeezed image that these come from."""

    features: Float[Tensor, "*batch channel height width"]
    weights: Float[Tensor, "*batch channel"]
    squeezed: Float[Tensor, "*batch channel"]


def excite(
    features: Float[Tensor, "*batch channel height width"],
    *,
    reduce_weight: Float[Tensor, "hidden channel"],
    expand_weight: Float[Tensor, "channel hidden"],
    reduce_bias: Float[Tensor, " hidden"] | None = None,
    expand_bias: Float[Tensor, " channel"] | None = None,
) -> Excitation:
    r"""Weight the channels of an image by what the whole image is like.

    .. math::
        z_c = \frac{1}{H W} \sum_{i=1}^{H} \sum_{j=1}^{W} u_c(i, j), \qquad
        s = \sigma(W_2 \, \mathrm{ReLU}(W_1 z)), \qquad \tilde x_c = s_c u_c

    Each weight is a sigmoid of its own, so that several channels may be let through, or none.

    Args:
        features: :math:`u`, ``(*batch, channel, height, width)``.
        reduce_weight: :math:`W_1`, ``(hidden, channel)``.
        expand_weight: :math:`W_2`, ``(channel, hidden)``.
        reduce_bias: added before the rectifier, ``(hidden,)``; None: nothing is.
        expand_bias: added before the sigmoid, ``(channel,)``; None: nothing is.

    Returns:
        An :class:`Excitation`. NaN in one channel spoils the weights of all, for each weight sees all channels.

    Raises:
        TypeError: ``features`` is not a floating point tensor.
        ValueError: there are no pixels, or a parameter does not fit.

    Source: Hu et al. 2018, Eq. 2 to 4 [hu2018].

    >>> image = torch.tensor([[[4.0, 0.0]], [[1.0, 1.0]]])  # means 2 and 1
    >>> result = excite(image, reduce_weight=torch.tensor([[1.0, -2.0]]), expand_weight=torch.ones(2, 1))
    >>> result.squeezed.tolist(), result.weights.tolist()  # 2 - 2 x 1 = 0, whose sigmoid is a half
    ([2.0, 1.0], [0.5, 0.5])
    """
    computed = as_image(features, "features")
    channels = features.shape[-3]
    hidden = reduce_weight.shape[0] if reduce_weight.ndim else 0
    check_parameter("reduce_weight", reduce_weight, hidden=hidden, channel=channels)
    check_parameter("expand_weight", expand_weight, channel=channels, hidden=hidden)
    for name, bias, size in (("reduce_bias", reduce_bias, hidden), ("expand_bias", expand_bias, channels)):
        if bias is not None:
            check_parameter(name, bias, size=size)
    squeezed = computed.mean((-2, -1))
    inner = squeezed @ reduce_weight.to(squeezed.dtype).mT
    inner = torch.relu(inner if reduce_bias is None else inner + reduce_bias)
    outer = inner @ expand_weight.to(squeezed.dtype).mT
    weights = torch.sigmoid(outer if expand_bias is None else outer + expand_bias)
    scaled = weights[..., None, None] * computed
    return Excitation(scaled.to(features.dtype), weights.to(features.dtype), squeezed.to(features.dtype))


class SqueezeExcitation(nn.Module):
    """:func:`excite` with its parameters, ``reduce`` from all channels to a part of them and ``expand`` back.

    Args:
        channels: of the image.
        ratio: by how much the hidden layer is smaller; 16 in the paper.
        bias: give both layers one, which the paper's equations do not have.

    Raises:
        ValueError: nothing would be left of the channels.

    Source: Hu et al. 2018, section 3 [hu2018].

    >>> block = SqueezeExcitation(32, ratio=16)
    >>> block(torch.ones(1, 32, 5, 7)).weights.shape, sum(p.numel() for p in block.parameters())  # 2 / 16 x 32 x 32
    (torch.Size([1, 32]), 128)
    """

    def __init__(self, channels: int, ratio: int = 16, *, bias: bool = False) -> None:
        super().__init__()
        check_whole("ratio", ratio)
        check_whole("channels", channels)
        if channels < ratio:
            raise ValueError(f"ratio must be at most the {channels} channels, got {ratio}")
        self.reduce = nn.Linear(channels, channels // ratio, bias=bias)
        self.expand = nn.Linear(channels // ratio, channels, bias=bias)

    def forward(self, features: Float[Tensor, "*batch channel height width"]) -> Excitation:
        """The weighted channels with their weights."""
        return excite(
            features,
            reduce_weight=self.reduce.weight,
            expand_weight=self.expand.weight,
            reduce_bias=self.reduce.bias,
            expand_bias=self.expand.bias,
        )
