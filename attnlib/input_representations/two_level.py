"""Two levels of attention in an image: which patches show the object, and which of them show a part of it.

Patches are proposed bottom-up. One level drops those that do not look like the kind of thing in question, and averages
what the others say; the next has detectors for parts, each a group of a network's filters, choose a patch each.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._checks import as_computed, check_parameter, check_tensor
from ..attention import Attention, attend

__all__ = ["Selection", "both_levels", "filter_groups", "object_level", "part_level"]


class Selection(NamedTuple):
    """What a choice of patches gives: their mean, and the share of each. A row for the object, or one for each part."""

    context: Float[Tensor, "*batch row size"]
    weights: Float[Tensor, "*batch row patch"]


def object_level(
    scores: Float[Tensor, "*batch patch kind"], confidence: Float[Tensor, "*batch patch"], *, threshold: float
) -> Selection:
    r"""Average what is said of those patches that look like the object: hard attention, all or nothing.

    .. math:: \alpha_p = \frac{[c_p > \tau]}{\sum_{p'} [c_{p'} > \tau]}, \qquad s = \sum_p \alpha_p s_p

    Args:
        scores: :math:`s_p`, what a classifier says of each patch, ``(*batch, patch, kind)``.
        confidence: :math:`c_p`, how surely a patch shows a thing of this sort at all, ``(*batch, patch)``.
        threshold: :math:`\tau`.

    Returns:
        Context ``(*batch, 1, kind)`` and weights ``(*batch, 1, patch)``. Where no patch is kept there are zeros. What a
        dropped patch holds changes nothing. A confidence of NaN is not above the threshold; none gets a gradient.

    Raises:
        TypeError: an argument is not a floating point tensor.
        ValueError: ``confidence`` has not one number for each patch.

    Source: Xiao et al. 2015 [xiao2015].

    >>> scores = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    >>> object_level(scores, torch.tensor([0.8, 0.7, 0.2]), threshold=0.6).context
    tensor([[0.7000, 0.3000]])
    """
    as_computed(scores, "scores")
    as_computed(confidence, "confidence")
    if confidence.shape != scores.shape[:-1]:
        raise ValueError(f"confidence must have shape {tuple(scores.shape[:-1])}, got {tuple(confidence.shape)}")
    kept = (confidence > threshold).unsqueeze(-2)
    return _selected(attend(scores.new_zeros(1, scores.shape[-1]), scores, score=_alike, mask=kept))


def _selected(found: Attention) -> Selection:
    assert found.weights is not None
    return Selection(found.context, found.weights)


def _alike(query: Tensor, key: Tensor) -> Tensor:
    return torch.zeros(*key.shape[:-2], query.shape[-2], key.shape[-2], dtype=key.dtype, device=key.device)


def filter_groups(filters: Float[Tensor, "filter *size"], n_groups: int, *, seed: int = 0) -> Int[Tensor, " filter"]:
    """Sort filters into groups that are alike, each of which then detects a part; by spectral clustering.

    Two filters are as alike as the cosine of their angle says; below 0 counts as 0, since the clustering asks for
    likeness that is not negative.

    Args:
        filters: their weights, a row each.
        n_groups: how many groups.
        seed: of the k-means at the end of the clustering.

    Returns:
        The group of each filter, from 0. Groups are numbered by their first filter.

    Raises:
        TypeError: ``filters`` is not a floating point tensor.
        ValueError: there are not from 1 to as many groups as filters, or a filter is 0 everywhere or not finite.

    Source: Xiao et al. 2015 [xiao2015], of which we saw the abstract and summaries: the cosine is from memory. The
    clustering is scikit-learn's [pedregosa2011].

    >>> filter_groups(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.1], [0.1, 1.0]]), 2)
    tensor([0, 1, 0, 1])
    """
    rows = as_computed(filters, "filters").detach().flatten(1)
    if not 1 <= n_groups <= len(rows):
        raise ValueError(f"n_groups must be from 1 to the {len(rows)} filters, got {n_groups}")
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    if not bool(((lengths > 0) & lengths.isfinite()).all()):
        raise ValueError("filters must have a direction, got one that is 0 or not finite")
    if n_groups == len(rows):  # nothing to group, which the library refuses
        return torch.arange(len(rows), device=filters.device)
    from sklearn.cluster import SpectralClustering  # here, because the library is large and seldom needed

    alike = (rows / lengths @ (rows / lengths).mT).clamp(min=0).double().cpu().numpy()
    found = SpectralClustering(n_groups, affinity="precomputed", random_state=seed).fit_predict(alike)
    first = {int(group): place for place, group in reversed(list(enumerate(found)))}
    order = sorted(first, key=first.__getitem__)
    return torch.tensor([order.index(int(group)) for group in found], device=filters.device)


def part_level(
    activations: Float[Tensor, "*batch patch filter"], groups: Int[Tensor, " filter"], *, n_groups: int
) -> Selection:
    r"""Let each part detector choose the patch that excites its filters most.

    .. math:: e_{gp} = \sum_{f \in g} a_{pf}, \qquad p_g = \arg\max_p e_{gp}

    Args:
        activations: :math:`a`, how strongly each filter answers to each patch, ``(*batch, patch, filter)``.
        groups: the group of each filter, as :func:`filter_groups` gives it.
        n_groups: how many there are.

    Returns:
        A row for each group: context ``(*batch, group, filter)``, the activations of the patch chosen, and weights
        ``(*batch, group, patch)``, one 1 a row, for the first of equals. Without patches, zeros.

    Raises:
        TypeError: ``activations`` is not floating point, or ``groups`` not of whole numbers.
        ValueError: ``groups`` does not name a group from 0 to ``n_groups - 1`` for each filter.

    Source: Xiao et al. 2015 [xiao2015].

    >>> activations = torch.tensor([[5.0, 4.0, 0.0], [0.0, 6.0, 1.0]])  # of two patches by three filters
    >>> part_level(activations, torch.tensor([0, 0, 1]), n_groups=2).weights
    tensor([[1., 0.],
            [0., 1.]])
    """
    as_computed(activations, "activations")
    check_tensor("groups", groups)
    if groups.is_floating_point() or groups.dtype == torch.bool:
        raise TypeError(f"groups must be integer, got dtype {groups.dtype}")
    check_parameter("groups", groups, filter=activations.shape[-1])
    if groups.numel() and not 0 <= int(groups.min()) <= int(groups.max()) < n_groups:
        raise ValueError(f"groups must be from 0 to {n_groups - 1}, got {int(groups.min())} to {int(groups.max())}")
    members = torch.nn.functional.one_hot(groups, n_groups).mT.to(activations.dtype)
    return _selected(attend(members, activations, score=_sums, distribution=_first_largest))


def _sums(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.mT


def _first_largest(energies: Tensor) -> Tensor:
    if energies.shape[-1] == 0:
        return torch.zeros_like(energies)
    best = energies.argmax(-1, keepdim=True)
    weights = torch.zeros_like(energies).scatter(-1, best, 1.0)
    return torch.where(energies.isneginf(), 0.0, weights)


def both_levels(
    object_scores: Float[Tensor, "*batch kind"], part_scores: Float[Tensor, "*batch kind"], *, part_weight: float
) -> Float[Tensor, "*batch kind"]:
    r"""Add what both levels say.

    .. math:: s = s_\text{object} + a \, s_\text{part}

    Args:
        object_scores: ``(*batch, kind)``.
        part_scores: ``(*batch, kind)``.
        part_weight: :math:`a`, chosen on data that are held out.

    Source: Xiao et al. 2015 [xiao2015].

    >>> both_levels(torch.tensor([0.6, 0.4]), torch.tensor([0.0, 1.0]), part_weight=0.5)
    tensor([0.6000, 0.9000])
    """
    return object_scores + part_weight * part_scores
