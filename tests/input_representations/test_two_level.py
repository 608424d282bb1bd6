"""Object level and part level: loops, small scenes in which the object and its parts are known, wrong versions."""

import math

import pytest
import torch
from checks import close, leaf, randn
from oracles import rows, tensor
from torch.autograd import gradcheck

from attnlib.input_representations.two_level import Selection, both_levels, filter_groups, object_level, part_level

BATCH, PATCH, KIND, FILTER, GROUPS = 2, 7, 5, 11, 3


# --- the oracle: plain loops ------------------------------------------------------------------------------------------


def object_loop(scores, confidence, threshold):
    kept = [p for p, c in enumerate(confidence) if c > threshold]
    weights = [1 / len(kept) if p in kept else 0.0 for p in range(len(scores))]
    means = [sum(scores[p][k] for p in kept) / len(kept) if kept else 0.0 for k in range(len(scores[0]))]
    return means, weights


def part_loop(activations, groups, n_groups):
    chosen = []
    for g in range(n_groups):
        sums = [sum(a for a, group in zip(patch, groups, strict=True) if group == g) for patch in activations]
        chosen.append(sums.index(max(sums)))
    return chosen


# --- the object -------------------------------------------------------------------------------------------------------


def check_object(object_level):
    scores, confidence = randn(BATCH, PATCH, KIND), randn(BATCH, PATCH)
    found = object_level(scores, confidence, threshold=0.3)
    for i in range(BATCH):
        context, weights = object_loop(rows(scores[i]), rows(confidence[i]), 0.3)
        close(found.context[i, 0], tensor(context))
        close(found.weights[i, 0], tensor(weights))


def check_patches_that_are_dropped_change_nothing(object_level):
    scores, confidence = randn(PATCH, KIND), randn(PATCH)
    before = object_level(scores, confidence, threshold=0.3).context
    scores[confidence <= 0.3] = math.nan
    close(object_level(scores, confidence, threshold=0.3).context, before)


OBJECT_CHECKS = [check_object, check_patches_that_are_dropped_change_nothing]


@pytest.mark.parametrize("check", OBJECT_CHECKS)
def test_the_object(check):
    check(object_level)


def test_a_scene_whose_background_would_win():
    """Two of six patches show the bird, and say what it is; four show leaves, and say what birds sit in leaves."""
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8]])
    is_bird = torch.tensor([0.9, 0.1, 0.2, 0.8, 0.05, 0.3])
    assert object_level(scores, is_bird, threshold=-1.0).context.argmax() == 1
    assert object_level(scores, is_bird, threshold=0.5).context.argmax() == 0


@pytest.mark.parametrize("confidence", [[0.1, 0.1], [math.nan, 0.1], [0.5, 0.1]])
def test_where_no_patch_is_kept_there_are_zeros(confidence):
    scores = leaf(2, KIND)
    found = object_level(scores, torch.tensor(confidence), threshold=0.5)
    assert not found.context.any()
    assert not found.weights.any()
    found.context.sum().backward()
    assert not scores.grad.any()


def test_slopes_are_the_numerical_ones():
    confidence = randn(BATCH, PATCH)
    assert gradcheck(lambda scores: object_level(scores, confidence, threshold=0.1).context, leaf(BATCH, PATCH, KIND))


# --- the parts --------------------------------------------------------------------------------------------------------


def members():
    return torch.tensor([0, 1, 0, 2, 2, 1, 0, 0, 1, 2, 2])


def check_parts(part_level):
    activations, groups = randn(BATCH, PATCH, FILTER), members()
    found = part_level(activations, groups, n_groups=GROUPS)
    for i in range(BATCH):
        chosen = part_loop(rows(activations[i]), groups.tolist(), GROUPS)
        assert found.weights[i].argmax(-1).tolist() == chosen
        close(found.context[i], activations[i, chosen])
    assert set(found.weights.flatten().tolist()) == {0.0, 1.0}


def test_the_parts():
    check_parts(part_level)


def test_a_head_and_a_tail_are_found():
    """Filters 0 and 2 answer to heads, 1 and 3 to tails; their weights are alike, and so they are grouped."""
    filters = torch.tensor([[1.0, 0.9, 0.0, 0.1], [0.0, 0.1, 1.0, 0.8], [0.8, 1.0, 0.1, 0.0], [0.1, 0.0, 0.9, 1.0]])
    groups = filter_groups(filters, 2)
    assert groups.tolist() == [0, 1, 0, 1]
    patches = torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])  # sky, tail, head
    found = part_level((patches @ filters.mT).relu(), groups, n_groups=2)
    assert found.weights.argmax(-1).tolist() == [2, 1]


def test_the_first_of_equals_is_chosen_and_nothing_of_no_patches():
    assert part_level(torch.ones(4, 3), torch.tensor([0, 0, 1]), n_groups=2).weights.argmax(-1).tolist() == [0, 0]
    nothing = part_level(torch.ones(0, 3), torch.tensor([0, 0, 1]), n_groups=2)
    assert nothing.context.shape == (2, 3)
    assert not nothing.context.any()


def test_groups_do_not_depend_on_size_or_numbering_and_one_each_needs_no_library():
    torch.manual_seed(0)
    centre = torch.eye(3).repeat_interleave(4, 0)
    filters = centre + 0.1 * torch.rand(12, 3)
    order = torch.randperm(12)
    groups = filter_groups(filters[order] * torch.rand(12, 1).add(0.5), 3)
    same = groups[:, None] == groups
    assert torch.equal(same, (centre[order] @ centre[order].mT).bool())
    assert groups[0] == 0
    assert filter_groups(filters.unflatten(1, (3, 1)), 12).tolist() == list(range(12))
    assert filter_groups(filters, 1).tolist() == [0] * 12


def test_both_levels_add_up():
    close(
        both_levels(randn(BATCH, KIND), randn(BATCH, KIND, seed=1), part_weight=0.5),
        randn(BATCH, KIND) + randn(BATCH, KIND, seed=1) / 2,
    )


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named():
    scores, groups = randn(PATCH, KIND), members()
    cases = [
        (TypeError, "scores must be floating point", lambda: object_level(scores.int(), scores[:, 0], threshold=0.5)),
        (
            ValueError,
            r"confidence must have shape \(7,\), got \(5,\)",
            lambda: object_level(scores, scores[0], threshold=0),
        ),
        (ValueError, "n_groups must be from 1 to the 7 filters, got 8", lambda: filter_groups(scores, 8)),
        (ValueError, "filters must have a direction", lambda: filter_groups(scores * 0, 2)),
        (ValueError, "filters must have a direction", lambda: filter_groups(scores * math.nan, 2)),
        (ValueError, r"groups must have shape \(filter=5\)", lambda: part_level(scores, groups, n_groups=3)),
        (
            ValueError,
            "groups must be from 0 to 1, got 0 to 2",
            lambda: part_level(randn(PATCH, FILTER), groups, n_groups=2),
        ),
        (TypeError, "groups must be integer", lambda: part_level(randn(PATCH, FILTER), groups.double(), n_groups=3)),
    ]
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


# --- known wrong versions ---------------------------------------------------------------------------------------------


def weighted_by_confidence(scores, confidence, *, threshold):
    weights = (confidence * (confidence > threshold)).unsqueeze(-2)
    weights = weights / weights.sum(-1, keepdim=True)
    return Selection(weights @ scores, weights)


def divided_by_all(scores, confidence, *, threshold):
    weights = (confidence > threshold).to(scores.dtype).unsqueeze(-2) / scores.shape[-2]
    return Selection(weights @ scores, weights)


def multiplied_by_zero(scores, confidence, *, threshold):
    kept = (confidence > threshold).to(scores.dtype).unsqueeze(-2)
    weights = kept / kept.sum(-1, keepdim=True)
    return Selection(weights @ scores, weights)


def best_filter_for_the_group(activations, groups, *, n_groups):
    """The patch that excites one filter of the group most."""
    chosen = [activations[..., groups == g].amax(-1).argmax(-1) for g in range(n_groups)]
    weights = torch.nn.functional.one_hot(torch.stack(chosen, -1), activations.shape[-2]).to(activations.dtype)
    return Selection(weights @ activations, weights)


WRONG = {
    "weighted by confidence": (check_object, weighted_by_confidence),
    "divided by all": (check_object, divided_by_all),
    "multiplied by zero": (check_patches_that_are_dropped_change_nothing, multiplied_by_zero),
    "the best filter": (check_parts, best_filter_for_the_group),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG.values(), ids=WRONG)
def test_wrong_levels_are_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)
