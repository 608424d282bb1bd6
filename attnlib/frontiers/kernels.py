"""Attention as kernel smoothing (Tsai et al. 2019): each weight is a kernel's value, divided by the sum of all.

Four things are chosen: the space of the features (what query and key are made of, and a second kernel for their
places), the kernel, the values, and the filter (the mask). A kernel that is positive by its form is taken by its
logarithm, and then this is :func:`attnlib.attend` with that logarithm for a score: nothing overflows. Any other is
taken by its values.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .._checks import as_computed, check_parameter, check_same_size
from .._rows import activated, product
from ..attention import Attention, attend
from ..fused._similar import FORMS
from ..scores import gaussian, scaled_dot

__all__ = [
    "kernel_smoother",
    "linear_kernel",
    "log_exponential_kernel",
    "log_rbf_kernel",
    "polynomial_kernel",
    "shares",
]

Kernel = Callable[[Tensor, Tensor], Tensor]


def kernel_smoother(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    value: Float[Tensor, "*#batch key d_v"] | None = None,
    *,
    kernel: Kernel | None = None,
    log_kernel: Kernel | None = None,
    log_place: Float[Tensor, "*#place"] | None = None,
    signed: bool = False,
    mask: Bool[Tensor, "*#mask"] | None = None,
    is_causal: bool = False,
    need_weights: bool = True,
) -> Attention:
    r"""Average the values, each weighted by a kernel of query and key: the estimator of Nadaraya and Watson.

    .. math::
        c = \sum_{i \in M} \frac{k(q, k_i)}{\sum_{j \in M} k(q, k_j)} \, v_i, \qquad
        k(q, k_i) = k_F(q, k_i) \, k_T(t_q, t_i)

    Args:
        query: ``(*batch, query, d_q)``. Leading dimensions of query, key and value broadcast.
        key: ``(*batch, key, d_k)``.
        value: ``(*batch, key, d_v)``; without it the keys are the values.
        kernel: :math:`k_F`, any callable ``(query, key) -> (*batch, query, key)``, such as :func:`polynomial_kernel`.
        log_kernel: in its place, the logarithm of a positive kernel, such as :func:`log_exponential_kernel`.
        log_place: :math:`\log k_T`, the logarithm of a kernel of the places, broadcastable to ``(*batch, query, key)``.
            Minus infinity hides as the mask does.
        signed: let ``kernel`` be negative. The weights still sum to one, but they are no distribution: some are
            negative or above one, and the context may leave the range of the values. Where the sum is near zero they
            are as large as you like.
        mask: the filter :math:`M`, boolean, True = may attend, broadcastable to ``(*batch, query, key)``.
        is_causal: query ``i`` may attend to keys ``0 ... i``.
        need_weights: without the weights a fused kernel may do the work, where there is one.

    Returns:
        Context ``(*batch, query, d_v)``, weights and energies ``(*batch, query, key)``, as :func:`attnlib.attend` gives
        them. The energies are the logarithms where ``log_kernel`` is given, else the kernel's values. A query that sees
        nothing, or keys whose kernel adds up to zero, gets zeros. A query that sees a negative value of a kernel that
        is not ``signed`` gets NaN, for its weights would be no distribution.

    Raises:
        TypeError: as :func:`attnlib.attend`.
        ValueError: not exactly one of ``kernel`` and ``log_kernel`` is given; ``signed`` with a logarithm; shapes do
            not fit.

    Source: Tsai et al. 2019, the definition of attention by a kernel [tsai2019]; Watson 1964, after Nadaraya 1964
    [watson1964].

    Departs from the source: what a kernel means that is negative, or adds up to zero, is ours.

    >>> query, key, value = torch.tensor([[1.0]]), torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [10.0]])
    >>> kernel_smoother(query, key, value, kernel=linear_kernel).context  # kernels 1 and 3
    tensor([[7.5000]])
    >>> kernel_smoother(query, -key, value, kernel=linear_kernel).context
    tensor([[nan]])
    """
    if (kernel is None) == (log_kernel is None):
        raise ValueError(f"one of kernel and log_kernel must be given, got {'neither' if kernel is None else 'both'}")
    run = partial(attend, query, key, value, is_causal=is_causal, need_weights=need_weights)
    if log_kernel is not None:
        if signed:
            raise ValueError("signed must be False with log_kernel: what has a logarithm is positive")
        return run(score=log_kernel, bias=log_place, mask=mask)
    if log_place is not None:
        hidden = log_place != -torch.inf
        mask = hidden if mask is None else mask & hidden

    def score(query: Tensor, key: Tensor) -> Tensor:
        assert kernel is not None
        values = as_computed(kernel(query, key), "kernel")
        values = values if log_place is None else values * log_place.exp()
        return values if signed else torch.where(values < 0, torch.nan, values)

    return run(score=score, distribution=shares, mask=mask)


def shares(energies: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""Weights in proportion to the energies themselves, as softmax's are to their exponentials.

    .. math:: \alpha_i = \frac{e_i}{\sum_j e_j}

    Args:
        energies: any shape, such as the values of a kernel; the weights run over the last axis.

    Returns:
        Weights of the shape and dtype of ``energies``. An energy of minus infinity is not available and gets zero, as
        everywhere. A row whose available energies add up to zero gives zeros, without a gradient. Negative energies
        give weights that sum to one and are no distribution.

    Raises:
        TypeError: ``energies`` is not a floating point tensor.

    Source: Tsai et al. 2019, the kernel smoother [tsai2019].

    >>> shares(torch.tensor([[1.0, 3.0, -torch.inf], [0.0, 0.0, 0.0]]))
    tensor([[0.2500, 0.7500, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    values = as_computed(energies)
    if energies.shape[-1] == 0:
        return energies.clone()
    values = torch.where(values == -torch.inf, 0.0, values)
    top = values.detach().abs().amax(-1, keepdim=True)  # a common factor cancels; without it the sum might overflow
    values = values / torch.where(top == 0, 1.0, top)
    none = values.detach().sum(-1, keepdim=True) == 0
    values = torch.where(none, 0.0, values)
    return (values / torch.where(none, 1.0, values.sum(-1, keepdim=True))).to(energies.dtype)


def linear_kernel(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    query_weight: Float[Tensor, "d d_q"] | None = None,
    key_weight: Float[Tensor, "d d_k"] | None = None,
) -> Float[Tensor, "*batch query key"]:
    r"""The inner product as it is, which is negative for half of all pairs.

    .. math:: k(q, k) = \frac{\langle W_q q, W_k k \rangle}{\sqrt{d}}

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        query_weight: :math:`W_q`, ``(d, d_q)``; none unless given.
        key_weight: :math:`W_k`, ``(d, d_k)``; that of the query unless given, which makes the kernel symmetric.

    Returns:
        Values of the kernel.

    Raises:
        ValueError: a size of a parameter does not fit.

    Source: Tsai et al. 2019, the kernels compared [tsai2019].

    >>> linear_kernel(torch.tensor([[2.0]]), torch.tensor([[3.0], [-1.0]]))
    tensor([[ 6., -2.]])
    """
    return scaled_dot(*_mapped(query, key, query_weight, key_weight))


def polynomial_kernel(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    degree: int = 2,
    offset: float = 0.0,
    query_weight: Float[Tensor, "d d_q"] | None = None,
    key_weight: Float[Tensor, "d d_k"] | None = None,
) -> Float[Tensor, "*batch query key"]:
    r"""A power of the inner product; never negative where the power is even.

    .. math:: k(q, k) = \Bigl( \frac{\langle W_q q, W_k k \rangle}{\sqrt{d}} + a \Bigr)^p

    An even power sees no sign: a key and its opposite get the same weight where there is no offset.

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        degree: :math:`p`, a whole number of at least 1.
        offset: :math:`a`.
        query_weight: as in :func:`linear_kernel`.
        key_weight: as there.

    Returns:
        Values of the kernel; NaN, without a gradient, where the power overflows.

    Raises:
        ValueError: ``degree`` is not a whole number above 0; a size of a parameter does not fit.

    Source: Tsai et al. 2019 [tsai2019]; power and offset are ours to choose.

    >>> polynomial_kernel(torch.tensor([[2.0]]), torch.tensor([[3.0], [-1.0]]), offset=1.0)
    tensor([[49.,  1.]])
    """
    if not isinstance(degree, int) or isinstance(degree, bool) or degree < 1:
        raise ValueError(f"degree must be a whole number of at least 1, got {degree!r}")
    inner = scaled_dot(*_mapped(query, key, query_weight, key_weight))
    values, burst = activated(lambda x: (x + offset) ** degree, inner)
    return values if burst is None else torch.where(burst, torch.nan, values)


def log_exponential_kernel(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    query_weight: Float[Tensor, "d d_q"] | None = None,
    key_weight: Float[Tensor, "d d_k"] | None = None,
) -> Float[Tensor, "*batch query key"]:
    r"""Logarithm of the exponential kernel: the energies of scaled dot-product attention.

    .. math:: \log k(q, k) = \frac{\langle W_q q, W_k k \rangle}{\sqrt{d}}

    With two matrices, as attention has them, :math:`k(x, y) \ne k(y, x)`: it is asymmetric, and so no kernel of an
    inner product. With one it is symmetric and positive definite.

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        query_weight: as in :func:`linear_kernel`.
        key_weight: as there.

    Returns:
        Logarithms, which the smoother takes as ``log_kernel``.

    Raises:
        ValueError: a size of a parameter does not fit.

    Source: Tsai et al. 2019, after Vaswani et al. 2017 [tsai2019].

    >>> log_exponential_kernel(torch.tensor([[2.0]]), torch.tensor([[3.0], [-1.0]]), query_weight=torch.tensor([[0.5]]))
    tensor([[ 1.5000, -0.5000]])
    """
    return scaled_dot(*_mapped(query, key, query_weight, key_weight))


def log_rbf_kernel(
    query: Float[Tensor, "*#batch query d_q"],
    key: Float[Tensor, "*#batch key d_k"],
    *,
    width: float = 1.0,
    query_weight: Float[Tensor, "d d_q"] | None = None,
    key_weight: Float[Tensor, "d d_k"] | None = None,
) -> Float[Tensor, "*batch query key"]:
    r"""Logarithm of the radial kernel: the nearest key counts most, however long the others are.

    .. math:: \log k(q, k) = -\frac{\lVert W_q q - W_k k \rVert^2}{2 h^2}

    Args:
        query: ``(*batch, query, d_q)``.
        key: ``(*batch, key, d_k)``.
        width: :math:`h`, the kernel's standard deviation, above 0.
        query_weight: as in :func:`linear_kernel`.
        key_weight: as there.

    Returns:
        Logarithms, which the smoother takes as ``log_kernel``; see :func:`attnlib.scores.gaussian`.

    Raises:
        ValueError: ``width`` is not above 0; a size of a parameter does not fit.

    Source: Tsai et al. 2019, the kernels compared [tsai2019].

    >>> log_rbf_kernel(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 1.0]]))
    tensor([[-12.5000,  -1.0000]])
    """
    return gaussian(*_mapped(query, key, query_weight, key_weight), width=width)


def _mapped(
    query: Tensor, key: Tensor, query_weight: Tensor | None, key_weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Query and key behind their matrices; one that is not given is that of the query, or none."""
    key_weight = query_weight if key_weight is None else key_weight
    if query_weight is not None:
        check_parameter("query_weight", query_weight, d=query_weight.shape[0], d_q=query.shape[-1])
        query = product(query, query_weight)
    if key_weight is not None:
        check_parameter("key_weight", key_weight, d=key_weight.shape[0], d_k=key.shape[-1])
        key = product(key, key_weight)
    check_same_size(query, key)
    return query, key


def _exponential_form(
    query: Tensor, key: Tensor, *, query_weight: Tensor | None = None, key_weight: Tensor | None = None
) -> tuple[Tensor, Tensor] | str:
    return FORMS[scaled_dot](*_mapped(query, key, query_weight, key_weight))


def _rbf_form(
    query: Tensor,
    key: Tensor,
    *,
    width: float = 1.0,
    query_weight: Tensor | None = None,
    key_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor] | str:
    return FORMS[gaussian](*_mapped(query, key, query_weight, key_weight), width=width)


# Without the weights these two go through torch's kernel, as the scores that they call do.
FORMS[log_exponential_kernel], FORMS[log_rbf_kernel] = _exponential_form, _rbf_form
