"""Which words were selected: by a machine, by chance, by several people together."""

import torch
from jaxtyping import Bool, Int, Real
from torch import Tensor

from .._checks import check_tensor, fits
from ._maps import check_map, seen_of, shown

__all__ = ["consensus", "random_like", "super_map", "top"]


@torch.no_grad()
def top(
    scores: Real[Tensor, "*batch word"],
    count: Int[Tensor, "*#batch"] | int,
    *,
    mask: Bool[Tensor, "*#batch word"] | None = None,
) -> Bool[Tensor, "*batch word"]:
    r"""Make a machine's map one of selected words: those with the largest scores; of equal ones the earlier.

    .. math:: m_i = \big[ \, |\{ j : a_j > a_i \text{ or } (a_j = a_i \text{ and } j < i) \}| < k \, \big]

    Args:
        scores: :math:`a`, ``(*batch, word)``.
        count: :math:`k`, how many in each text, ``(*batch,)``, or in all; as a rule as many as the person selected.
        mask: True = a word; broadcasts to the scores.

    Returns:
        ``(*batch, word)``, True in just so many places.

    Raises:
        TypeError: ``count`` is not of whole numbers, or the mask is not boolean.
        ValueError: shapes do not fit; a text has fewer words than it is to give; the score of a word is NaN.

    Source: Sen et al. 2020 [sen2020] for the number; the rule for ties is ours.

    >>> top(torch.tensor([0.1, 0.4, 0.1, 0.4]), 3)
    tensor([ True,  True, False,  True])
    """
    check_tensor("scores", scores)
    seen = shown(scores, mask)
    wanted = torch.as_tensor(count, device=scores.device)
    if wanted.is_floating_point() or wanted.dtype == torch.bool:
        raise TypeError(f"count must be integer, got dtype {wanted.dtype}")
    if not fits(wanted.shape, scores.shape[:-1]):
        raise ValueError(f"count must fit {tuple(scores.shape[:-1])}, got shape {tuple(wanted.shape)}")
    if bool((wanted > seen.sum(-1)).any() | (wanted < 0).any()):
        raise ValueError(f"count must be from 0 to the number of words of each text, got {wanted.tolist()}")
    if bool((scores.isnan() & seen).any()):
        raise ValueError("scores must have an order, got NaN")
    order = torch.where(seen, scores.double(), -torch.inf).argsort(dim=-1, descending=True, stable=True)
    # A word may score minus infinity too: what is hidden goes behind it.
    order = order.gather(-1, (~seen).gather(-1, order).to(torch.uint8).argsort(dim=-1, stable=True))
    first = torch.arange(scores.shape[-1], device=scores.device) < wanted.unsqueeze(-1)
    return torch.zeros_like(seen).scatter(-1, order, first.expand_as(order))


@torch.no_grad()
def random_like(
    selected: Bool[Tensor, "*batch word"],
    *,
    mask: Bool[Tensor, "*#batch word"] | None = None,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "*batch word"]:
    r"""Select as many words of each text as the person did, every set of so many as likely as any other.

    Args:
        selected: a person's map, ``(*batch, word)``; for many draws, expand it first.
        mask: True = a word; broadcasts to the map.
        generator: what draws; by default torch's own.

    Returns:
        ``(*batch, word)``.

    Raises:
        TypeError: ``selected`` or the mask is not boolean.
        ValueError: the mask does not fit.

    Source: Sen et al. 2020, the random selection of ``AdjustedLS`` [sen2020].

    >>> random_like(torch.tensor([[True, True, False, False], [False, False, False, False]])).sum(-1)
    tensor([2, 0])
    """
    chosen, seen = seen_of(selected, mask)
    device = selected.device if generator is None else generator.device
    drawn = torch.rand(selected.shape, generator=generator, device=device).to(selected.device)
    return top(drawn, chosen.sum(-1), mask=seen)


def consensus(maps: Bool[Tensor, "*batch person word"]) -> Bool[Tensor, "*batch word"]:
    r"""The words that all people selected.

    .. math:: \bigwedge_p h_{pi}

    Args:
        maps: ``(*batch, person, word)``, of at least one person.

    Returns:
        ``(*batch, word)``.

    Raises:
        TypeError: ``maps`` is not boolean.
        ValueError: there is no axis of people, or nobody on it.

    Source: Sen et al. 2020, the consensus attention map [sen2020].

    >>> consensus(torch.tensor([[True, True, False], [True, False, False]]))
    tensor([ True, False, False])
    """
    return _people(maps).all(-2)


def super_map(maps: Bool[Tensor, "*batch person word"]) -> Bool[Tensor, "*batch word"]:
    r"""The words that anybody selected.

    .. math:: \bigvee_p h_{pi}

    Args:
        maps: ``(*batch, person, word)``, of at least one person.

    Returns:
        ``(*batch, word)``.

    Raises:
        TypeError: ``maps`` is not boolean.
        ValueError: there is no axis of people, or nobody on it.

    Source: Sen et al. 2020, the super attention map [sen2020].

    >>> super_map(torch.tensor([[True, True, False], [True, False, False]]))
    tensor([ True,  True, False])
    """
    return _people(maps).any(-2)


def _people(maps: Tensor) -> Tensor:
    check_map("maps", maps)
    if maps.ndim < 2 or maps.shape[-2] == 0:
        raise ValueError(f"maps must be those of somebody, (*batch, person, word), got shape {tuple(maps.shape)}")
    return maps
