"""Structured attention: the weights are marginals of a linear chain of selectors (article § 2.2, reference [10]).

Softmax takes the selector to be one choice among the keys, sigmoid takes one coin a key. A chain ties neighbouring
selectors together, so that whole segments are taken. Messages are passed in log space, forward and backward, and made
relative at each position, so that neither length nor large potentials lose digits. Few rows go through a parallel scan,
whose steps number the logarithm of the length; ``attnlib.explain`` tells.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ._checks import as_computed, checked_temperature, fits
from ._rows import logsumexp, relative
from .distributions import softmax
from .fused._chain import messages_by_scan, partition_by_scan
from .fused.paths import first

__all__ = [
    "linear_chain_log_partition",
    "linear_chain_marginals",
    "linear_chain_pairwise_marginals",
    "segmentation",
]

MESSAGES, PARTITION = {"parallel scan": messages_by_scan}, {"parallel scan": partition_by_scan}


def segmentation(
    energies: Float[Tensor, "*batch key"],
    *,
    transition: Float[Tensor, "..."],
    temperature: float | int | Tensor = 1.0,
) -> Float[Tensor, "*batch key"]:
    r"""Segmentation attention: the probability that a chain of binary selectors takes each key.

    .. math::
        \alpha_i = p(z_i = 1), \qquad
        p(z) \propto \exp\Big( \sum_i \frac{e_i}{T} z_i + \sum_i \theta(z_i, z_{i+1}) \Big)

    A distribution for ``attend`` once the transition is fixed: ``functools.partial(segmentation, transition=...)``. The
    weights do not sum to one. An energy of minus infinity takes its key out of the chain: weight zero, and its
    neighbours follow each other, so that padding changes nothing. A row of nothing else gives zeros.

    Args:
        energies: ``(*batch, key)``, the log-potential of taking a key; not taking it has log-potential 0.
        transition: ``(2, 2)``, ``transition[k, l]`` the log-potential of ``k`` followed by ``l``; or one a step,
            ``(*batch, key - 1, 2, 2)``. Zeros make the selectors independent (sigmoid); a positive diagonal
            makes segments.
        temperature: ``T > 0`` divides the energies, not the transitions.

    Returns:
        Weights of the shape and dtype of ``energies``, each from 0 to 1.

    Raises:
        TypeError: an argument is not a floating point tensor.
        ValueError: the transition does not fit; ``temperature`` is not a positive number.

    Source: Kim et al. 2017, section 3.1 [kim2017].

    Departs from the source: temperature, and keys that are not available.

    >>> segmentation(torch.tensor([0.0, math.log(3.0)]), transition=torch.zeros(2, 2))
    tensor([0.5000, 0.7500])
    """
    computed, temperature = as_computed(energies), checked_temperature(temperature)
    available = computed != -math.inf
    taken = computed.masked_fill(~available, 0.0) / temperature
    unary = torch.stack([torch.zeros_like(taken), taken], dim=-1)
    return linear_chain_marginals(unary, transition, mask=available)[..., 1].to(energies.dtype)


def linear_chain_marginals(
    unary: Float[Tensor, "*batch n states"],
    transition: Float[Tensor, "..."],
    *,
    mask: Bool[Tensor, "*#batch n"] | None = None,
) -> Float[Tensor, "*batch n states"]:
    r"""The probability of each state at each position of a linear-chain conditional random field.

    .. math::
        p(z) = \frac{1}{Z} \exp\Big( \sum_{i=1}^{n} \theta_i(z_i) + \sum_{i=1}^{n-1} \theta_{i,i+1}(z_i, z_{i+1}) \Big),
        \qquad p(z_i = k) = \frac{1}{Z} \exp(a_i(k) + b_i(k))

    with the messages ``a_i(l) = theta_i(l) + logsumexp_k(a_{i-1}(k) + theta_{i-1,i}(k, l))`` and ``b_i(k) =
    logsumexp_l(theta_{i,i+1}(k, l) + theta_{i+1}(l) + b_{i+1}(l))``. They are the gradient of ``log Z`` by ``theta_i``.

    Args:
        unary: ``theta_i(k)``, ``(*batch, n, states)``. Minus infinity forbids a state.
        transition: ``theta_{i,i+1}(k, l)``, ``(states, states)`` for all steps alike, or one a step, ``(*batch, n - 1,
            states, states)``.
        mask: ``(*batch, n)``, True = the position is in the chain. A position that is not is passed over: it gets
            zeros, and the step into the next position in the chain uses that position's own transition.

    Returns:
        Marginals ``(*batch, n, states)`` in the dtype of ``unary``; they sum to one over the states. Zeros where
        ``mask`` is False or where no sequence of states is possible.

    Raises:
        TypeError: ``unary`` or ``transition`` is not a floating point tensor; ``mask`` is not boolean.
        ValueError: shapes do not fit.

    Source: Kim et al. 2017, section 3.1 and Algorithm 1 of its appendix [kim2017].

    Departs from the source: positions can be left out; a message is kept relative to its largest entry.

    >>> theta = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])
    >>> linear_chain_marginals(theta, torch.zeros(2, 2))
    tensor([[0.5000, 0.5000],
            [0.2500, 0.7500]])
    """
    dtype = unary.dtype
    unary, transition, mask = _checked(unary, transition, mask)
    if unary.shape[-2] == 0:
        return unary.to(dtype)
    ahead, behind = _messages(unary, transition, mask)
    marginals = softmax(ahead + behind)
    return _hide(marginals, mask, 1).to(dtype)


def linear_chain_pairwise_marginals(
    unary: Float[Tensor, "*batch n states"],
    transition: Float[Tensor, "..."],
    *,
    mask: Bool[Tensor, "*#batch n"] | None = None,
) -> Float[Tensor, "*batch steps states states"]:
    r"""The probability of each pair of states at each pair of neighbours.

    .. math::
        p(z_i = k, z_{i+1} = l) = \frac{1}{Z} \exp(a_i(k) + \theta_{i,i+1}(k, l) + \theta_{i+1}(l) + b_{i+1}(l))

    They are the gradient of ``log Z`` by ``theta_{i,i+1}``. Summed over one state they give the marginals.

    Args:
        unary: As in ``linear_chain_marginals``.
        transition: As there.
        mask: As there.

    Returns:
        ``(*batch, n - 1, states, states)``, each summing to one; zeros where a neighbour is not in the chain.

    Raises:
        TypeError: as there.
        ValueError: as there.

    Source: Kim et al. 2017, section 3.1 [kim2017].

    >>> same = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])  # neighbours must agree
    >>> linear_chain_pairwise_marginals(torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]]), same)
    tensor([[[0.2500, 0.0000],
             [0.0000, 0.7500]]])
    """
    dtype = unary.dtype
    unary, transition, mask = _checked(unary, transition, mask)
    if unary.shape[-2] < 2:
        return unary.new_zeros((*unary.shape[:-2], 0, unary.shape[-1], unary.shape[-1]), dtype=dtype)
    ahead, behind = _messages(unary, transition, mask)
    onward = unary + behind
    joint = ahead[..., :-1, :, None] + transition + onward[..., 1:, None, :]
    pairwise = softmax(joint.flatten(-2)).unflatten(-1, joint.shape[-2:])  # type: ignore[no-untyped-call]
    both = None if mask is None else mask[..., :-1] & mask[..., 1:]
    return _hide(pairwise, both, 2).to(dtype)


def linear_chain_log_partition(
    unary: Float[Tensor, "*batch n states"],
    transition: Float[Tensor, "..."],
    *,
    mask: Bool[Tensor, "*#batch n"] | None = None,
) -> Float[Tensor, "*batch"]:
    r"""The logarithm of the sum over all sequences of states; its gradients are the marginals.

    .. math:: \log Z = \log \sum_z \exp\Big( \sum_i \theta_i(z_i) + \sum_i \theta_{i,i+1}(z_i, z_{i+1}) \Big)

    Args:
        unary: As in ``linear_chain_marginals``.
        transition: As there.
        mask: As there.

    Returns:
        ``(*batch)``; 0 for an empty chain (one empty sequence), minus infinity where no sequence is possible.

    Raises:
        TypeError: as there.
        ValueError: as there.

    Source: Kim et al. 2017, section 3.1 [kim2017].

    >>> linear_chain_log_partition(torch.zeros(3, 2), torch.zeros(2, 2)).exp()  # 2 * 2 * 2 sequences
    tensor(8.)
    """
    dtype = unary.dtype
    unary, transition, mask = _checked(unary, transition, mask)
    if unary.shape[-2] == 0:
        return unary.sum((-2, -1)).to(dtype)
    total = first("linear chain", PARTITION, unary, transition, mask)
    if total is None:
        ahead, scale = _forward(unary, transition, mask)
        total = logsumexp(ahead[..., -1, :], -1) + scale
    return (total if mask is None else total.masked_fill(~mask.any(-1), 0.0)).to(dtype)


def _messages(unary: Tensor, transition: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Messages from the left and from the right, by the faster way."""
    found = first("linear chain", MESSAGES, unary, transition, mask)
    return found or (_forward(unary, transition, mask)[0], _backward(unary, transition, mask))


def _forward(unary: Tensor, transition: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Messages from the left, ``a_i`` less its largest entry, and the sum of what was taken off."""
    potentials, steps = unary.unbind(-2), transition.unbind(-3)
    message, scale = relative(potentials[0])
    if mask is not None:  # before the first position of the chain there is nothing to come from
        begun = mask[..., 0]
        message = message.masked_fill(~begun[..., None], 0.0)
        scale = scale.masked_fill(~begun, 0.0)
    messages = [message]
    for i in range(1, len(potentials)):
        arriving = logsumexp(message[..., :, None] + steps[i - 1], -2)
        if mask is not None:
            arriving = torch.where(begun[..., None], arriving, 0.0)
            begun = begun | mask[..., i]
        new, taken = relative(arriving + potentials[i])
        message = new if mask is None else torch.where(mask[..., i, None], new, message)
        scale = scale + (taken if mask is None else taken.masked_fill(~mask[..., i], 0.0))
        messages.append(message)
    return torch.stack(messages, -2), scale


def _backward(unary: Tensor, transition: Tensor, mask: Tensor | None) -> Tensor:
    """Messages from the right, ``b_i`` less its largest entry."""
    potentials, steps = unary.unbind(-2), transition.unbind(-3)
    message = torch.zeros_like(potentials[-1])
    messages = [message]
    for i in range(len(potentials) - 1, 0, -1):
        arriving, _ = relative(logsumexp(steps[i - 1] + (potentials[i] + message)[..., None, :], -1))
        # Not in the chain: what came from the right goes on to the left as it is.
        message = arriving if mask is None else torch.where(mask[..., i, None], arriving, message)
        messages.append(message)
    return torch.stack(messages[::-1], -2)


def _hide(values: Tensor, mask: Tensor | None, trailing: int) -> Tensor:
    return values if mask is None else values.masked_fill(~mask[(..., *[None] * trailing)], 0.0)


def _checked(unary: Tensor, transition: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The arguments in the precision of the arithmetic, with ``transition`` as one matrix a step."""
    computed = as_computed(unary, "unary"), as_computed(transition, "transition")
    if unary.ndim < 2 or unary.shape[-1] == 0:
        raise ValueError(f"unary must have shape (*batch, n, states) with a state at least, got {tuple(unary.shape)}")
    n, states = unary.shape[-2:]
    shared = transition.ndim == 2
    matrix, steps = (states, states), (max(n - 1, 0), states, states)
    if tuple(transition.shape) != matrix and tuple(transition.shape[-3:]) != steps:
        raise ValueError(
            f"transition must have shape {matrix} or (*batch, {steps})"
            f" for unary with n={n} and states={states}, got {tuple(transition.shape)}"
        )
    unary, transition = computed
    batch = unary.shape[:-2]
    if shared:
        transition = transition.expand(steps)
    elif not fits(transition.shape[:-3], batch):
        raise ValueError(f"transition has leading dimensions {tuple(transition.shape[:-3])}, unary {tuple(batch)}")
    if mask is None:
        return unary, transition, None
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be boolean (True = in the chain), got dtype {mask.dtype}")
    if not fits(mask.shape, unary.shape[:-1]):
        raise ValueError(f"mask must broadcast to {tuple(unary.shape[:-1])}, got {tuple(mask.shape)}")
    mask = mask.expand(unary.shape[:-1])
    if not shared:  # steps that no two positions of the chain use
        used = mask[..., 1:] & (mask.cumsum(-1)[..., :-1] > 0)
        transition = transition.masked_fill(~used[..., None, None], 0.0)
    return unary.masked_fill(~mask[..., None], 0.0), transition, mask
