"""Distribution functions: energies in, weights over one axis out (article § 2.2, Eq. 8).

What all of them promise: an energy of minus infinity means "not available" and gets weight zero and gradient zero; a
row in which nothing is available gives zeros; half precision is computed in float32 and cast back. A NaN makes its row
NaN, and so does plus infinity; ``sigmoid`` looks at each entry alone, and gives plus infinity a weight of 1.

A temperature may be a tensor that broadcasts against the energies, with one value a row: size 1 along ``dim``
(``sigmoid`` knows no rows and takes any). Its values are not looked at, for that would stop compiled code: one that is
not a positive number gives NaN.

``softmax``, ``sparsemax`` and ``entmax`` are one family: they maximise ``p.z`` plus an entropy over the simplex, and
differ in the entropy alone.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ._checks import Number, as_computed, checked_temperature, fits, may_look
from ._entmax import entmax15_threshold, root_weights, sparsemax_threshold
from .fused._sparse import PATHS
from .fused.paths import first

__all__ = [
    "entmax",
    "entmax_jacobian",
    "sigmoid",
    "softmax",
    "softmax_jacobian",
    "sparsemax",
    "sparsemax_jacobian",
]


def softmax(energies: Float[Tensor, "..."], *, temperature: Number = 1.0, dim: int = -1) -> Float[Tensor, "..."]:
    r"""Weights in proportion to the exponentials of the energies; every available entry gets some.

    .. math:: \alpha_i = \frac{\exp(e_i / T)}{\sum_j \exp(e_j / T)}

    Args:
        energies: Any shape; the weights run over ``dim``.
        temperature: ``T > 0``. Small sharpens towards the argmax, large flattens towards the uniform weights.
        dim: The axis whose weights sum to one.

    Returns:
        Weights of the shape and dtype of ``energies``.

    Raises:
        TypeError: ``energies`` is not a floating point tensor.
        ValueError: ``temperature`` is not a positive number, or ``energies`` has no axis ``dim``.

    Source: Niu et al. 2021, the usual choice of g in the article's Eq. 8 [niu2021].

    Departs from the source: a row in which nothing is available gives zeros, not NaN.

    >>> softmax(torch.tensor([0.0, math.log(3.0), -math.inf]))
    tensor([0.2500, 0.7500, 0.0000])
    """
    if _without_entries(energies, temperature, dim):
        return energies.clone()
    if not isinstance(temperature, Tensor) and may_look(energies):
        z = as_computed(energies)
        if temperature != 1:
            z = (z - z.detach().amax(dim, keepdim=True)).div_(temperature)
        weights = torch.softmax(z, dim)
        # A row of nothing but -inf would be all NaN, its first weight too, and a sum keeps a NaN.
        if not math.isnan(weights.detach().select(dim, 0).sum().item()):
            return weights if weights.dtype == energies.dtype else weights.to(energies.dtype)
    if isinstance(temperature, Tensor) or temperature != 1:
        z, empty = _shifted(energies, temperature, dim, lowest=-1000.0)  # exp(-1000) is 0 in every precision
    else:
        z = as_computed(energies)
        empty = z.detach().amax(dim, keepdim=True) == -math.inf
    return torch.softmax(z.masked_fill(empty, 0.0), dim).masked_fill(empty, 0.0).to(energies.dtype)


def sparsemax(energies: Float[Tensor, "..."], *, temperature: Number = 1.0, dim: int = -1) -> Float[Tensor, "..."]:
    r"""The point of the simplex nearest to the energies; weak entries get exactly zero.

    .. math:: \alpha = \arg\min_{p \in \Delta} \lVert p - e / T \rVert^2, \qquad \alpha_i = [e_i / T - \tau]_+

    The threshold is ``tau = (sum of the support - 1) / size of the support``; the support, found by sorting, is the
    longest run of largest entries with ``1 + k z_(k) > z_(1) + ... + z_(k)``.

    Args:
        energies: Any shape; the weights run over ``dim``.
        temperature: ``T > 0``.
        dim: The axis whose weights sum to one.

    Returns:
        Weights of the shape and dtype of ``energies``.

    Raises:
        TypeError: ``energies`` is not a floating point tensor.
        ValueError: ``temperature`` is not a positive number, or ``energies`` has no axis ``dim``.

    Source: Martins & Astudillo 2016, Algorithm 1 [martins2016].

    Departs from the source: a row in which nothing is available gives zeros.

    >>> sparsemax(torch.tensor([1.0, 0.8, 0.1]))  # tau = (1.8 - 1) / 2 = 0.4
    tensor([0.6000, 0.4000, 0.0000])
    """
    if _without_entries(energies, temperature, dim):
        return energies.clone()
    weights = first("sparsemax", PATHS, energies, 2.0, temperature, dim)
    if weights is not None:
        return weights
    z, empty = _shifted(energies, temperature, dim, lowest=-2.0)  # the threshold is never below -1
    found = sparsemax_threshold(z.detach(), dim)
    support = z > found
    size = support.sum(dim, keepdim=True)
    tau = (torch.where(support, z, 0.0).sum(dim, keepdim=True) - 1) / size
    tau = _same_value(tau, found).masked_fill(empty, 0.0)
    return (z - tau).relu().to(energies.dtype)


def entmax(
    energies: Float[Tensor, "..."],
    *,
    alpha: Number = 1.5,
    temperature: Number = 1.0,
    dim: int = -1,
) -> Float[Tensor, "..."]:
    r"""The family between softmax (alpha towards 1) and sparsemax (alpha = 2), and beyond.

    .. math::
        \arg\max_{p \in \Delta} p^\top z + \frac{1}{\alpha(\alpha - 1)} \sum_j (p_j - p_j^\alpha), \qquad
        p_i = [(\alpha - 1) z_i - \tau]_+^{1 / (\alpha - 1)}, \quad z = e / T

    Exact by sorting for the numbers 1.5 and 2. Any other ``alpha``, and any tensor, goes through a root finder of a
    fixed number of steps, precise to rounding and differentiable with respect to ``alpha`` as well. Well above 4 the
    weights themselves are badly conditioned: near the edge they are the (alpha - 1)-th root of a small difference.

    Args:
        energies: Any shape; the weights run over ``dim``.
        alpha: A number above 1, or a tensor that broadcasts to the shape of ``energies`` without ``dim``: one alpha a
            row. Larger is sparser.
        temperature: ``T > 0``.
        dim: The axis whose weights sum to one.

    Returns:
        Weights of the shape and dtype of ``energies``.

    Raises:
        TypeError: ``energies`` is not a floating point tensor.
        ValueError: ``alpha`` is not above 1, or does not broadcast; ``temperature`` is not a positive number;
            ``energies`` has no axis ``dim``. The values of a tensor are not looked at (that would stop compiled code):
            a bad alpha there gives a NaN row.

    Source: Peters et al. 2019 [peters2019]; the gradient with respect to alpha: Correia et
    al. 2019, Proposition 1 [correia2019].

    Departs from the source: the unknown of the root finder is the logarithm of the largest weight, not the threshold.

    >>> entmax(torch.tensor([1.0, 1.0, -3.0]))
    tensor([0.5000, 0.5000, 0.0000])
    """
    if not isinstance(alpha, Tensor):
        if not 1 < alpha < math.inf:
            raise ValueError(f"alpha must be a finite number above 1, got {alpha}")
        if alpha == 2:
            return sparsemax(energies, temperature=temperature, dim=dim)
    if _without_entries(energies, temperature, dim):
        return energies.clone()
    weights = first("entmax", PATHS, energies, alpha, temperature, dim)
    if weights is not None:
        return weights
    if isinstance(alpha, Tensor) or alpha != 1.5:
        alpha = _alpha_rows(alpha, as_computed(energies), dim)
        z, _ = _shifted(energies, temperature, dim, lowest=-2.0 / (alpha.detach() - 1))
        return root_weights(z, alpha, dim).masked_fill(~(alpha > 1), math.nan).to(energies.dtype)
    z, empty = _shifted(energies, temperature, dim, lowest=-4.0)
    z = z / 2
    found = entmax15_threshold(z.detach(), dim)
    support = z > found
    size = support.sum(dim, keepdim=True)
    mean = torch.where(support, z, 0.0).sum(dim, keepdim=True) / size
    spread = torch.where(support, z - mean, 0.0).square().sum(dim, keepdim=True)
    tau = _same_value(mean - ((1 - spread) / size).sqrt(), found).masked_fill(empty, 0.0)
    return (z - tau).relu().square().to(energies.dtype)


def sigmoid(energies: Float[Tensor, "..."], *, temperature: Number = 1.0, bias: Number = 0.0) -> Float[Tensor, "..."]:
    r"""Each entry weighed on its own; the weights do not sum to one.

    .. math:: \alpha_i = \frac{1}{1 + \exp(-(e_i / T + b))}

    The probability that a binary selector of its own takes entry ``i``.

    Args:
        energies: Any shape.
        temperature: ``T > 0``.
        bias: Added to every ``e / T``; ``-log(n)`` starts ``n`` entries near a total weight of one.

    Returns:
        Weights of the shape and dtype of ``energies``.

    Raises:
        TypeError: ``energies`` is not a floating point tensor.
        ValueError: ``temperature`` is not a positive number.

    Source: Kim et al. 2017, section 3 [kim2017]; the bias: Ramapuram et al. 2024 [ramapuram2024].

    >>> sigmoid(torch.tensor([0.0, math.log(3.0), -math.inf]))
    tensor([0.5000, 0.7500, 0.0000])
    """
    z = as_computed(energies)
    if not isinstance(temperature, Tensor) and not isinstance(bias, Tensor):  # no gradient for -inf to spoil
        checked_temperature(temperature)
        z = z if temperature == 1 else z / temperature
        return torch.sigmoid(z + bias if bias else z).to(energies.dtype)
    absent = z == -math.inf
    z = z.masked_fill(absent, 0.0) / checked_temperature(temperature) + bias
    return torch.sigmoid(z).masked_fill(absent, 0.0).to(energies.dtype)


def softmax_jacobian(weights: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch key key"]:
    r"""How each weight of a softmax moves with each energy (divide by the temperature where it is not 1).

    .. math:: \frac{\partial \alpha}{\partial e} = \mathrm{Diag}(\alpha) - \alpha \alpha^\top

    Args:
        weights: What ``softmax`` gave.

    Returns:
        ``result[..., i, j]`` is the derivative of weight ``i`` with respect to energy ``j``. Symmetric.

    Source: Martins & Astudillo 2016, section 2.5 [martins2016].

    >>> softmax_jacobian(torch.tensor([0.5, 0.5]))
    tensor([[ 0.2500, -0.2500],
            [-0.2500,  0.2500]])
    """
    return _jacobian(weights)


def sparsemax_jacobian(weights: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch key key"]:
    r"""How each weight of a sparsemax moves with each energy: only within the support ``S``, all alike.

    .. math:: \frac{\partial \alpha}{\partial e} = \mathrm{Diag}(s) - \frac{s s^\top}{|S|}, \qquad s_i = [\alpha_i > 0]

    Args:
        weights: What ``sparsemax`` gave.

    Returns:
        ``result[..., i, j]`` is the derivative of weight ``i`` with respect to energy ``j``. Symmetric.

    Source: Martins & Astudillo 2016, section 2.5 [martins2016].

    >>> sparsemax_jacobian(torch.tensor([0.6, 0.4, 0.0]))
    tensor([[ 0.5000, -0.5000,  0.0000],
            [-0.5000,  0.5000,  0.0000],
            [ 0.0000,  0.0000,  0.0000]])
    """
    return _jacobian((weights > 0).to(weights.dtype))


def entmax_jacobian(weights: Float[Tensor, "*batch key"], alpha: Number = 1.5) -> Float[Tensor, "*batch key key"]:
    r"""How each weight of an entmax moves with each energy.

    .. math::
        \frac{\partial p}{\partial z} = \mathrm{Diag}(s) - \frac{s s^\top}{\sum_j s_j}, \qquad
        s_i = p_i^{2 - \alpha} \text{ where } p_i > 0, \text{ else } 0

    With ``alpha`` 1 it is the softmax's, with 2 the sparsemax's.

    Args:
        weights: What ``entmax`` gave.
        alpha: The alpha that gave them, a number or one a row.

    Returns:
        ``result[..., i, j]`` is the derivative of weight ``i`` with respect to energy ``j``. Symmetric.

    Source: Peters et al. 2019 [peters2019].

    >>> entmax_jacobian(torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0]))[0]  # s = 1/2 four times, sum 2
    tensor([ 0.3750, -0.1250, -0.1250, -0.1250,  0.0000])
    """
    alpha = _alpha_rows(alpha, weights, -1)
    inside = weights > 0
    return _jacobian(torch.where(inside, torch.where(inside, weights, 1.0) ** (2 - alpha), 0.0))


def _jacobian(s: Tensor) -> Tensor:
    """``Diag(s) - s s^T / sum(s)``; zeros where ``s`` is."""
    total = s.sum(-1, keepdim=True)
    share = s / torch.where(total == 0, 1.0, total)
    return torch.diag_embed(s) - s.unsqueeze(-1) * share.unsqueeze(-2)


def _without_entries(energies: Tensor, temperature: Number, dim: int) -> bool:
    """Whether the rows have no entry at all; looks at the arguments first."""
    as_computed(energies)
    checked_temperature(temperature)
    if not -energies.ndim <= dim < energies.ndim:
        raise ValueError(f"dim must name an axis of energies of shape {tuple(energies.shape)}, got {dim}")
    return energies.shape[dim] == 0


def _shifted(energies: Tensor, temperature: Number, dim: int, lowest: Number) -> tuple[Tensor, Tensor]:
    """Energies less their row's largest, over T, cut off at ``lowest``; and which rows are empty.

    The shift counts as a constant, for the weights do not depend on it, and comes first, so that no energy is too large
    for any temperature. What is not available ends at ``lowest``, where there is no weight and no gradient.
    """
    z = as_computed(energies)
    temperature = checked_temperature(temperature)
    if isinstance(temperature, Tensor):
        rows = list(z.shape)
        rows[dim] = 1
        if not fits(temperature.shape, rows):
            shape = tuple(temperature.shape)
            raise ValueError(f"temperature must broadcast to {tuple(rows)}, one value a row, got shape {shape}")
    top = z.detach().amax(dim, keepdim=True)
    empty = top == -math.inf
    top = top.masked_fill(empty, 0.0).masked_fill(top == math.inf, math.nan)
    fixed = temperature.detach() if isinstance(temperature, Tensor) else temperature
    return (z - top).clamp(min=lowest * fixed) / temperature, empty


def _same_value(expression: Tensor, value: Tensor) -> Tensor:
    """``value``, to the last bit, with the derivatives of ``expression``, which is equal but for rounding."""
    return value + (expression - expression.detach())


def _alpha_rows(alpha: Number, like: Tensor, dim: int) -> Tensor:
    """``alpha`` as a tensor that broadcasts against ``like`` with one value a row."""
    if not isinstance(alpha, Tensor):
        if alpha > 1:  # and stays above 1 in the precision of the arithmetic
            alpha = max(alpha, 1 + torch.finfo(like.dtype).eps)
        return torch.full((1,) * like.ndim, alpha, dtype=like.dtype, device=like.device)
    dim = dim if dim < 0 else dim - like.ndim
    rows = list(like.shape)
    del rows[dim]
    if not fits(alpha.shape, rows):
        raise ValueError(f"alpha must broadcast to the rows {tuple(rows)} of energies, got shape {tuple(alpha.shape)}")
    alpha = alpha.to(device=like.device, dtype=like.dtype)
    return alpha.unsqueeze(dim) if alpha.ndim + 1 >= -dim else alpha
