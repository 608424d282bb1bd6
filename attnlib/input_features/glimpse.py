"""What a glimpse says: a retina's patches and the place that they were taken from, made into one vector."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ._images import as_image, check_whole
from .retina import retina

__all__ = ["ContextNetwork", "GlimpseNetwork"]


class GlimpseNetwork(nn.Module):
    r"""What was seen and where, each through a layer of its own, then added.

    .. math::
        h_g = \mathrm{ReLU}(W_g \rho(x, l) + b_g), \quad h_l = \mathrm{ReLU}(W_l l + b_l), \quad
        g = \mathrm{ReLU}(W_1 h_g + W_2 h_l + b)

    Args:
        size: cells along a side of a patch; see :func:`~attnlib.input_features.retina.retina`.
        scales: how many patches.
        channels: of the image.
        d_hidden: size of :math:`h_g` and of :math:`h_l`; 128 in the paper.
        d_glimpse: size of :math:`g`; 256 in the paper.

    Raises:
        TypeError: a size is not whole.
        ValueError: a size is below 1.

    Source: Mnih et al. 2014, section 4 [mnih2014].

    >>> look = GlimpseNetwork(8, scales=3)
    >>> look(torch.zeros(5, 1, 60, 60), torch.zeros(5, 2)).shape
    torch.Size([5, 256])
    """

    def __init__(
        self, size: int, scales: int = 1, *, channels: int = 1, d_hidden: int = 128, d_glimpse: int = 256
    ) -> None:
        super().__init__()
        for name, number in (("size", size), ("scales", scales), ("channels", channels)):
            check_whole(name, number)
        self.size, self.scales, self.d_glimpse = size, scales, d_glimpse
        self.what = nn.Linear(scales * channels * size**2, d_hidden)
        self.where = nn.Linear(2, d_hidden)
        self.from_what = nn.Linear(d_hidden, d_glimpse)
        self.from_where = nn.Linear(d_hidden, d_glimpse, bias=False)  # one bias is enough for a sum

    def forward(
        self, image: Float[Tensor, "batch channel height width"], location: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch d_glimpse"]:
        """One vector an image, ``(batch, d_glimpse)``."""
        patches = retina(image, location, size=self.size, scales=self.scales)
        seen = torch.relu(self.what(patches.flatten(-4)))
        place = torch.relu(self.where(location))
        return torch.relu(self.from_what(seen) + self.from_where(place))


class ContextNetwork(nn.Module):
    r"""The whole image at a low resolution, as the state to start looking from.

    .. math:: r_0 = \mathrm{ReLU}(W \, \mathrm{coarse}(x) + b)

    Args:
        size: cells along a side of the coarse image; each is the mean of what it covers.
        d_state: size of the state.
        channels: of the image.

    Raises:
        TypeError: a size is not whole.
        ValueError: a size is below 1.

    Source: Ba et al. 2015, section 3 [ba2015].

    Departs from the source: one layer in place of convolutions.

    >>> ContextNetwork(4, 7)(torch.zeros(5, 1, 60, 60)).shape
    torch.Size([5, 7])
    """

    def __init__(self, size: int, d_state: int, *, channels: int = 1) -> None:
        super().__init__()
        for name, number in (("size", size), ("d_state", d_state), ("channels", channels)):
            check_whole(name, number)
        self.size = size
        self.state = nn.Linear(channels * size**2, d_state)

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch d_state"]:
        """One state an image, ``(batch, d_state)``."""
        as_image(image)
        return torch.relu(self.state(F.adaptive_avg_pool2d(image, self.size).flatten(1)))
