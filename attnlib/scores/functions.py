"""Score functions: how well does a query match a key?

A score is any callable ``(query, key) -> energies`` that takes ``query`` of shape ``(*batch, query, d_q)`` and ``key``
of shape ``(*batch, key, d_k)`` and returns ``(*batch, query, key)``; leading dimensions broadcast. The functions here
are the rows of Table 1 of the article and of the longer table of Chaudhari et al. 2021, in the latter's order; then
the Gaussian kernel of Nadaraya and Watson.
Parameters are keyword-only tensors: fix them with ``functools.partial``, or use the modules of the same names.

Energies of half-precision vectors are computed, and returned, in float32, under autocast too; only a feature map gets
the vectors as they are, for it may have parameters of their precision. Where a vector overflows on the way to an energy
(a projection, a feature), its energies are NaN and give no gradient, so that it can be hidden.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .._checks import batch_of, check_parameter, check_same_size, check_vector, may_look
from .._rows import activated, all_finite, bad_rows, inner_product, magnitude, mapped, product, times, wide, without
from ..fused._additive_energies import PATHS
from ..fused.paths import first

__all__ = [  # noqa: RUF022 - the order of the tables
    "similarity",
    "dot",
    "scaled_dot",
    "general",
    "biased_general",
    "activated_general",
    "generalized_kernel",
    "concat",
    "additive",
    "deep",
    "location_based",
    "feature_based",
    "gaussian",
]

Activation = Callable[[Tensor], Tensor]


def similarity(
    query: Float[Tensor, "*#batch query d_k"], key: Float[Tensor, "*#batch key d_k"], *, eps: float = 1e-8
) -> Float[Tensor, "*batch query key"]:
    r"""Cosine of the angle between query and key: only directions count.

    .. math:: f(q, k) = \frac{q^\top k}{\lVert q \rVert \, \lVert k \rVert}

    Args:
        query: ``(*batch, query, d_k)``.
        key: ``(*batch, key, d_k)``.
        eps: length up to which a vector counts as zero.

    Returns:
        Energies in [-1, 1].

    Raises:
        ValueError: query and key differ in size.

    Source: Graves et al. 2014, Sec. 3.3.1 [graves2014].

    Departs from the source: a vector of length at most ``eps`` has no direction: energy and gradient are zero.

    >>> similarity(torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0], [-4.0, 3.0], [0.0, 0.0]]))
    tensor([[1., 0., 0.]])
    """
    check_same_size(query, key)
    return product(unit(query, eps), unit(key, eps))


def dot(
    query: Float[Tensor, "*#batch query d_k"], key: Float[Tensor, "*#batch key d_k"]
) -> Float[Tensor, "*batch query key"]:
    r"""Inner product of query and key, also called multiplicative.

    .. math:: f(q, k) = q^\top k

    Args:
        query: ``(*batch, query, d_k)``.
        key: ``(*batch, key, d_k)``.

    Returns:
        Energies in the product of the units of query and key.

    Raises:
        ValueError: query and key differ in size.

    Source: Luong et al. 2015, Sec. 3.1 [luong2015].

    >>> dot(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[11.,  2.]])
    """
    check_same_size(query, key)
    return product(query, key)


def scaled_dot(
    query: Float[Tensor, "*#batch query d_k"], key: Float[Tensor, "*#batch key d_k"], *, scale: float | None = None
) -> Float[Tensor, "*batch query key"]:
    r"""Inner product divided by the root of its size, so that its variance does not grow with the size.

    .. math:: f(q, k) = \frac{q^\top k}{\sqrt{d_k}}

    Args:
        query: ``(*batch, query, d_k)``.
        key: ``(*batch, key, d_k)``.
        scale: factor in place of :math:`1 / \sqrt{d_k}`.

    Returns:
        Energies; variance one when the components of query and key are independent with mean 0 and variance 1.

    Raises:
        ValueError: query and key differ in size.

    Source: Vaswani et al. 2017, Eq. 1 [vaswani2017].

    >>> scaled_dot(torch.tensor([[1.0, 1.0, 1.0, 1.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[5.]])
    """
    check_same_size(query, key)
    if scale is None:
        return product(wide(query) * max(query.shape[-1], 1) ** -0.5, key)
    return inner_product(wide(query) * scale, key)  # a scale above 1 may make a query infinite


def general(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    weight: Float[Tensor, "d_q d_k"],
) -> Float[Tensor, "*batch query key"]:
    r"""Bilinear form: a learned matrix between query and key, which may differ in size.

    .. math:: f(q, k) = q^\top W k

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        weight: :math:`W`, ``(d_q, d_k)``.

    Returns:
        Energies.

    Raises:
        ValueError: a size of ``weight`` does not fit.

    Source: Luong et al. 2015, Sec. 3.1 [luong2015].

    >>> general(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]]), weight=torch.tensor([[1.0], [10.0]]))
    tensor([[63.]])
    """
    check_parameter("weight", weight, d_q=query.shape[-1], d_k=key.shape[-1])
    return inner_product(times(query, weight), key)


def biased_general(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    weight: Float[Tensor, "d_k d_q"],
    bias: Float[Tensor, " d_k"],
) -> Float[Tensor, "*batch query key"]:
    r"""Bilinear form with a bias that scores keys whatever the query.

    .. math:: f(q, k) = k^\top (W q + b)

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        weight: :math:`W`, ``(d_k, d_q)``: the transpose of that of :func:`general`.
        bias: :math:`b`, ``(d_k,)``.

    Returns:
        Energies.

    Raises:
        ValueError: a size of ``weight`` or ``bias`` does not fit.

    Source: Sordoni et al. 2016 [sordoni2016].

    >>> key, weight, bias = torch.tensor([[3.0]]), torch.tensor([[1.0, 10.0]]), torch.tensor([2.0])
    >>> biased_general(torch.tensor([[1.0, 2.0]]), key, weight=weight, bias=bias)
    tensor([[69.]])
    """
    check_parameter("weight", weight, d_k=key.shape[-1], d_q=query.shape[-1])
    check_parameter("bias", bias, d_k=key.shape[-1])
    return inner_product(product(query, weight) + bias, key)


def activated_general(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    weight: Float[Tensor, "d_q d_k"],
    bias: Float[Tensor, ""],
    activation: Activation = torch.tanh,
) -> Float[Tensor, "*batch query key"]:
    r"""Bilinear form behind a nonlinearity: with the default, energies stay between -1 and 1.

    .. math:: f(q, k) = \mathrm{act}(q^\top W k + b)

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        weight: :math:`W`, ``(d_q, d_k)``.
        bias: :math:`b`, a scalar tensor.
        activation: elementwise function.

    Returns:
        Energies in the range of ``activation``.

    Raises:
        ValueError: a size of ``weight`` or ``bias`` does not fit.

    Source: Ma et al. 2017 [ma2017].

    >>> query, key, weight = torch.tensor([[2.0]]), torch.tensor([[3.0], [-3.0]]), torch.tensor([[1.0]])
    >>> activated_general(query, key, weight=weight, bias=torch.tensor(-1.0), activation=torch.relu)
    tensor([[5., 0.]])
    """
    check_parameter("bias", bias)
    energies, bad = activated(activation, general(query, key, weight=weight) + bias)
    return _spoilt(energies, bad)


def generalized_kernel(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    feature_map: Callable[[Tensor], Tensor],
) -> Float[Tensor, "*batch query key"]:
    r"""Inner product of the features of query and key.

    .. math:: f(q, k) = \phi(q)^\top \phi(k)

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        feature_map: :math:`\phi`, acts on the last axis; maps query and key to features of one size.

    Returns:
        Energies. Keys are often weighted by the kernel itself: then divide by the sum instead of taking a softmax.

    Raises:
        ValueError: the features of query and key differ in size.

    Source: Choromanski et al. 2021 [choromanski2021].

    >>> generalized_kernel(torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 4.0]]), feature_map=torch.relu)
    tensor([[3.]])
    """
    (query, bad_query), (key, bad_key) = mapped(feature_map, query), mapped(feature_map, key)
    check_same_size(query, key)
    bad = None if bad_query is None and bad_key is None else _either(bad_query, query) | _either(bad_key, key).mT
    return _spoilt(inner_product(query, key), bad)


def concat(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    vector: Float[Tensor, " d_w"],
    weight: Float[Tensor, "d_w d_q+d_k"],
    bias: Float[Tensor, " d_w"] | None = None,
    activation: Activation = torch.tanh,
) -> Float[Tensor, "*batch query key"]:
    r"""One-layer network on query and key set end to end; the same function as :func:`additive`.

    .. math:: f(q, k) = v^\top \mathrm{act}(W [q; k] + b)

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        vector: :math:`v`, ``(d_w,)``.
        weight: :math:`W`, ``(d_w, d_q + d_k)``; the query's columns come first.
        bias: :math:`b`, ``(d_w,)``.
        activation: elementwise function.

    Returns:
        Energies. The concatenation is never built: :math:`W [q; k] = W_q q + W_k k`.

    Raises:
        ValueError: a size of ``vector``, ``weight`` or ``bias`` does not fit.

    Source: Luong et al. 2015, Sec. 3.1 [luong2015].

    Departs from the source: there the order is :math:`[h_t; \bar h_s]` as here, and there is no bias. In the
    authors' own run the half of the matrix that acts on the key was fixed to the identity.

    >>> weight, vector = torch.tensor([[1.0, 10.0], [0.0, -1.0]]), torch.tensor([1.0, 1.0])
    >>> concat(torch.tensor([[2.0]]), torch.tensor([[3.0]]), vector=vector, weight=weight, activation=torch.relu)
    tensor([[32.]])
    """
    d_q, d_k = query.shape[-1], key.shape[-1]
    check_vector(vector)
    check_parameter("weight", weight, **{"d_w": vector.shape[0], "d_q + d_k": d_q + d_k})
    weights = {"query_weight": weight[:, :d_q], "key_weight": weight[:, d_q:]}
    return additive(query, key, vector=vector, **weights, bias=bias, activation=activation)


def additive(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    vector: Float[Tensor, " d_w"],
    query_weight: Float[Tensor, "d_w d_q"],
    key_weight: Float[Tensor, "d_w d_k"],
    bias: Float[Tensor, " d_w"] | None = None,
    activation: Activation = torch.tanh,
) -> Float[Tensor, "*batch query key"]:
    r"""One-layer network on the sum of projected query and projected key.

    .. math:: f(q, k) = v^\top \mathrm{act}(W_q q + W_k k + b)

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        vector: :math:`v`, ``(d_w,)``.
        query_weight: :math:`W_q`, ``(d_w, d_q)``.
        key_weight: :math:`W_k`, ``(d_w, d_k)``.
        bias: :math:`b`, ``(d_w,)``.
        activation: elementwise function.

    Returns:
        Energies. Memory is ``query x key x d_w``: the nonlinearity stands between the two sums. With tanh and the
        kernel in C++ (:func:`attnlib.fused.build_kernels`) it is that of the energies alone.

    Raises:
        ValueError: a size of a parameter does not fit.

    Source: Bahdanau et al. 2015, Sec. A.1.2 [bahdanau2015].

    >>> one, vector = torch.tensor([[1.0], [1.0]]), torch.tensor([1.0, 2.0])
    >>> query, key = torch.tensor([[2.0]]), torch.tensor([[3.0], [-4.0]])
    >>> additive(query, key, vector=vector, query_weight=one, key_weight=one, activation=torch.relu)
    tensor([[15.,  0.]])
    """
    check_vector(vector)
    left, right = _halves(query, key, query_weight, key_weight, bias, d_w=vector.shape[0])
    energies = first("additive score", PATHS, left, right, vector, activation)
    if energies is not None:
        return energies
    inner, bad = _sums(left, right)
    hidden, burst = activated(activation, inner, tame=True)
    return _spoilt(times(hidden, vector), bad, burst)


def deep(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    query_weight: Float[Tensor, "d_1 d_q"],
    key_weight: Float[Tensor, "d_1 d_k"],
    bias: Float[Tensor, " d_1"],
    layers: Sequence[tuple[Tensor, Tensor]],
    vector: Float[Tensor, " d_w"],
    vector_bias: Float[Tensor, ""],
    activation: Activation = torch.tanh,
) -> Float[Tensor, "*batch query key"]:
    r"""Network of several layers on query and key, with an activation :math:`a` after each but the last.

    .. math:: f(q, k) = v^\top E_{L-1} + b_L, \; E_l = a(W_l E_{l-1} + b_l), \; E_1 = a(W_q q + W_k k + b_1)

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        query_weight: :math:`W_q`, ``(d_1, d_q)``.
        key_weight: :math:`W_k`, ``(d_1, d_k)``.
        bias: :math:`b_1`, ``(d_1,)``.
        layers: pairs :math:`(W_l, b_l)` of shapes ``(d_l, d_{l-1})`` and ``(d_l,)``; may be empty.
        vector: :math:`v`, ``(d_w,)``, of the last layer's size.
        vector_bias: :math:`b_L`, a scalar tensor.
        activation: elementwise function.

    Returns:
        Energies.

    Raises:
        ValueError: a size of a parameter does not fit.

    Source: Pavlopoulos et al. 2017, as tabulated by Chaudhari et al. 2021 [pavlopoulos2017].

    Departs from the source: there the attention serves a classification and has no query.

    >>> one = torch.tensor([[1.0]])
    >>> start = {"query_weight": one, "key_weight": one, "bias": torch.tensor([0.0])}
    >>> end = {"vector": torch.tensor([3.0]), "vector_bias": torch.tensor(-1.0), "activation": torch.relu}
    >>> deep(one, one, **start, layers=[(one, torch.tensor([2.0]))], **end)
    tensor([[11.]])
    """
    inner, bad = _sums(*_halves(query, key, query_weight, key_weight, bias, d_w=bias.numel()))
    hidden, *bursts = activated(activation, inner, tame=True)
    for index, (layer_weight, layer_bias) in enumerate(layers):
        check_parameter(f"layers[{index}] weight", layer_weight, d_out=layer_bias.shape[-1], d_in=hidden.shape[-1])
        hidden, burst = activated(activation, product(hidden, layer_weight) + layer_bias)
        bursts.append(burst)
    check_parameter("vector", vector, d_w=hidden.shape[-1])
    check_parameter("vector_bias", vector_bias)
    return _spoilt(times(hidden, vector) + vector_bias, bad, *bursts)


def location_based(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    weight: Float[Tensor, "n_max d_q"],
) -> Float[Tensor, "*batch query key"]:
    r"""Energies from the query alone: one row of weights for each position, whatever key stands there.

    .. math:: f(q, k_i) = w_i^\top q

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``; only its shape is used.
        weight: rows :math:`w_i`, ``(n_max, d_q)``; the first ``key`` of them are used.

    Returns:
        Energies.

    Raises:
        ValueError: there are more keys than rows of ``weight``, or its size does not fit the query.

    Source: Luong et al. 2015, Eq. 8 [luong2015].

    >>> weight = torch.tensor([[1.0], [2.0], [3.0]])
    >>> location_based(torch.tensor([[10.0]]), torch.zeros(2, 5), weight=weight)
    tensor([[10., 20.]])
    """
    n_key = key.shape[-2]
    if n_key > weight.shape[0]:
        raise ValueError(f"key has {n_key} positions but weight has rows for n_max={weight.shape[0]}")
    check_parameter("weight", weight, n_max=weight.shape[0], d_q=query.shape[-1])
    energies = product(query, weight[:n_key])
    return energies.expand(*batch_of(query, key), *energies.shape[-2:])


def feature_based(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    vector: Float[Tensor, " d_w"],
    first_weight: Float[Tensor, "d_w d_1"],
    second_weight: Float[Tensor, "d_w d_2"],
    first_map: Callable[[Tensor], Tensor],
    second_map: Callable[[Tensor], Tensor],
    bias: Float[Tensor, " d_w"] | None = None,
    activation: Activation = torch.tanh,
) -> Float[Tensor, "*batch query key"]:
    r"""Energies from two kinds of features of the keys alone: saliency that no query steers.

    .. math:: f(K) = v^\top \mathrm{act}(W_1 \phi_1(K) + W_2 \phi_2(K) + b)

    Args:
        query: ``(*batch, query, d_q)``; only its shape is used.
        key: ``(*batch, key, d_k)``.
        vector: :math:`v`, ``(d_w,)``.
        first_weight: :math:`W_1`, ``(d_w, d_1)``.
        second_weight: :math:`W_2`, ``(d_w, d_2)``.
        first_map: :math:`\phi_1`, from ``(*batch, key, d_k)`` to ``(*batch, key, d_1)``.
        second_map: :math:`\phi_2`, from ``(*batch, key, d_k)`` to ``(*batch, key, d_2)``.
        bias: :math:`b`, ``(d_w,)``.
        activation: elementwise function.

    Returns:
        Energies; every query gets the same row.

    Raises:
        ValueError: a size of a parameter does not fit.

    Source: Li et al. 2019, as tabulated by Chaudhari et al. 2021 [li2019area].

    >>> one = torch.tensor([[1.0]])
    >>> maps = {"first_map": torch.abs, "second_map": torch.square, "activation": torch.relu}
    >>> key, weights = torch.tensor([[-2.0], [3.0]]), {"first_weight": one, "second_weight": one}
    >>> feature_based(torch.zeros(2, 1), key, vector=torch.tensor([1.0]), **weights, **maps)
    tensor([[ 6., 12.],
            [ 6., 12.]])
    """
    check_vector(vector)
    (first, bad_first), (second, bad_second) = mapped(first_map, key), mapped(second_map, key)
    check_parameter("first_weight", first_weight, d_w=vector.shape[0], d_1=first.shape[-1])
    check_parameter("second_weight", second_weight, d_w=vector.shape[0], d_2=second.shape[-1])
    hidden = product(first, first_weight) + product(second, second_weight)
    if bias is not None:
        check_parameter("bias", bias, d_w=vector.shape[0])
        hidden = hidden + bias
    hidden, burst = activated(activation, hidden)
    energies = _spoilt(times(hidden, vector), None, burst, bad_first, bad_second).unsqueeze(-2)
    return energies.expand(*batch_of(query, key), query.shape[-2], key.shape[-2])


def gaussian(
    query: Float[Tensor, "*#batch query d_k"], key: Float[Tensor, "*#batch key d_k"], *, width: float = 1.0
) -> Float[Tensor, "*batch query key"]:
    r"""Logarithm of a Gaussian kernel: the nearest key matches best, however long the others are.

    .. math:: f(q, k) = -\frac{\lVert q - k \rVert^2}{2 h^2}

    The softmax of these energies divides each kernel by their sum: attention with it is the estimator of Nadaraya and
    Watson. Where all keys have one length, the weights are those of :func:`dot` over :math:`h^2`.

    Args:
        query: ``(*batch, query, d_k)``.
        key: ``(*batch, key, d_k)``.
        width: :math:`h`, the kernel's standard deviation, in the unit of query and key.

    Returns:
        Energies, at most 0. Memory is ``query x key x d_k``: out of inner products small distances would be lost.

    Raises:
        ValueError: query and key differ in size, or ``width`` is not above 0.

    Source: Watson 1964, after Nadaraya 1964 [watson1964].

    >>> gaussian(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 1.0]]))
    tensor([[-12.5000,  -1.0000]])
    """
    check_same_size(query, key)
    if not 0 < width < math.inf:
        raise ValueError(f"width must be a finite number above 0, got {width}")
    steps = (wide(query).unsqueeze(-2) - wide(key).unsqueeze(-3)) / width
    energies = steps.square().sum(-1) / -2
    if all_finite(energies):
        return energies
    bad = ~energies.detach().isfinite()
    return _spoilt(without(bad.unsqueeze(-1), steps).square().sum(-1) / -2, bad)


def _halves(
    query: Tensor, key: Tensor, query_weight: Tensor, key_weight: Tensor, bias: Tensor | None, *, d_w: int
) -> tuple[Tensor, Tensor]:
    """``W_q q + b``, ``(*batch, query, d_w)``, and ``W_k k``, ``(*batch, key, d_w)``."""
    check_parameter("query_weight", query_weight, d_w=d_w, d_q=query.shape[-1])
    check_parameter("key_weight", key_weight, d_w=d_w, d_k=key.shape[-1])
    left, right = product(query, query_weight), product(key, key_weight)
    if bias is not None:
        check_parameter("bias", bias, d_w=d_w)
        left = left + bias
    return left, right


def _sums(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor | None]:
    """Their sum for every pair, ``(*batch, query, key, d_w)``, finite; and which pairs do not count."""
    limit = torch.finfo(left.dtype).max / 2  # two numbers below it have a finite sum
    if may_look(left, right) and magnitude(left) < limit and magnitude(right) < limit:
        return left.unsqueeze(-2) + right.unsqueeze(-3), None
    bad_left, bad_right = bad_rows(left, limit), bad_rows(right, limit)
    sums = without(bad_left, left).unsqueeze(-2) + without(bad_right, right).unsqueeze(-3)
    return sums, bad_left | bad_right.mT


def _spoilt(energies: Tensor, bad: Tensor | None, *bursts: Tensor | None) -> Tensor:
    """NaN where a pair does not count, or one of its hidden units did not come to a finite number."""
    for burst in bursts:
        if burst is not None:
            some = burst.any(-1)
            bad = some if bad is None else bad | some
    return energies if bad is None else torch.where(bad, torch.nan, energies)


def _either(bad: Tensor | None, vectors: Tensor) -> Tensor:
    """Which rows are bad, where none may be."""
    return torch.zeros_like(vectors[..., :1], dtype=torch.bool) if bad is None else bad


def unit(vectors: Tensor, eps: float) -> Tensor:
    """Vectors of length one; those not longer than ``eps`` become zero, and so does their gradient."""
    vectors = wide(vectors)
    if vectors.shape[-1]:  # the squares of very large components overflow: make the largest 1
        top = vectors.detach().abs().amax(-1, keepdim=True)
        vectors = vectors / torch.where((top > 1e15) & (top < torch.inf), top, 1.0)
    is_zero = torch.linalg.vector_norm(vectors.detach(), dim=-1, keepdim=True) <= eps
    safe = torch.where(is_zero, 1.0, vectors)
    unit = safe / torch.linalg.vector_norm(safe, dim=-1, keepdim=True)
    return torch.where(is_zero, 0.0, unit)
