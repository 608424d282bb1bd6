"""Layers of several networks that are trained side by side, each with parameters of its own, as on several seeds.

The first axis of inputs and of parameters says which network. Parameters are tensors by name, so that
:func:`~attnlib.training.descent.descend` takes them as they are.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["linear", "normed"]


def linear(
    parameters: Mapping[str, Tensor], name: str, inputs: Float[Tensor, "network *rows d_in"]
) -> Float[Tensor, "network *rows d_out"]:
    r"""The last axis through a matrix of each network's own.

    .. math:: y_s = x_s W_s^\top + b_s

    Args:
        parameters: under ``name`` the matrices :math:`W`, ``(network, d_out, d_in)``; under ``name + " bias"`` perhaps
            the biases :math:`b`, ``(network, d_out)``.
        name: which of them.
        inputs: :math:`x`, with any axes between the first and the last.

    Returns:
        :math:`y`, with the axes of the inputs.

    Raises:
        KeyError: there is no parameter of this name.

    >>> import torch
    >>> two = {"twice": torch.tensor([[[2.0]], [[-2.0]]]), "twice bias": torch.tensor([[0.0], [1.0]])}
    >>> linear(two, "twice", torch.ones(2, 3, 1))[..., 0]
    tensor([[ 2.,  2.,  2.],
            [-1., -1., -1.]])
    """
    found = inputs.flatten(1, -2) @ parameters[name].mT
    if (bias := parameters.get(f"{name} bias")) is not None:
        found = found + bias.unsqueeze(1)
    return found.view(*inputs.shape[:-1], -1)


def normed(
    parameters: Mapping[str, Tensor], name: str, inputs: Float[Tensor, "network *rows d"]
) -> Float[Tensor, "network *rows d"]:
    r"""The last axis with a mean of nought and a variance of one, times a gain of each network's own.

    .. math:: y_s = g_s \odot \frac{x_s - \operatorname{mean}(x_s)}{\sqrt{\operatorname{var}(x_s) + 10^{-5}}}

    Args:
        parameters: under ``name + " gain"`` the gains :math:`g`, ``(network, d)``.
        name: which of them.
        inputs: :math:`x`, with any axes between the first and the last.

    Returns:
        :math:`y`, with the shape of the inputs.

    Raises:
        KeyError: there is no gain of this name.

    >>> import torch
    >>> normed({"last gain": torch.tensor([[1.0, 2.0]])}, "last", torch.tensor([[[3.0, 5.0]]])).round(decimals=3)
    tensor([[[-1.,  2.]]])
    """
    gain = parameters[f"{name} gain"]
    return F.layer_norm(inputs, inputs.shape[-1:]) * gain.view(len(gain), *[1] * (inputs.ndim - 2), -1)
