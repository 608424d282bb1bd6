"""Known wrong versions: each must be rejected by the checks that the other tests pass.

A check that no mutant fails would be no check. Where a mutant names its check, it is that one that has to see it.
"""

import functools
import math

import checks
import pytest
import test_alignment
import test_hard
import test_masks
import torch
from checks import inputs

from attnlib import interop, masks, scores
from attnlib.alignment import IBMModel1, alignment_error_rate
from attnlib.distributions import softmax
from attnlib.softness import hard

# --- attend -----------------------------------------------------------------------------------------------------------


def plain(
    query,
    key,
    value,
    *,
    mask=None,
    is_causal=False,
    scale=None,
    fill=-torch.inf,
    dim=-1,
    causal=masks.causal,
    combine=torch.logical_and,
    safe=softmax,
):
    """Attention as it is often written, with the places where it goes wrong as options."""
    energies = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale(query, value))
    if is_causal:
        lower = causal(query.shape[-2], key.shape[-2])
        mask = lower if mask is None else combine(mask, lower)
    if mask is not None:
        energies = energies.masked_fill(~mask, fill)
    return safe(energies, dim=dim) @ value


def cleaned(attend):
    """Without the one mistake that plain attention always makes: carry NaN past the mask. So others can be seen."""

    def run(query, key, value, *, mask=None, is_causal=False):
        visible = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool) if mask is None else mask
        visible = visible & masks.causal(*visible.shape[-2:]) if is_causal else visible
        bad_key, bad_value = (~part.isfinite().all(-1, keepdim=True) for part in (key, value))
        context = attend(
            query, key.masked_fill(bad_key, 0), value.masked_fill(bad_value, 0), mask=mask, is_causal=is_causal
        )
        lost = (visible & (bad_key | bad_value).mT).any(-1, keepdim=True)
        return context + torch.where(lost, torch.nan, 0.0).to(context.dtype)

    return run


def inverted(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value, mask=None if mask is None else ~mask, is_causal=is_causal)


def strictly_causal(n_query, n_key):
    return masks.causal(n_query, n_key).roll(1, -1) & masks.causal(n_query, n_key)


def values_in_another_order(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value.flip(-2), mask=mask, is_causal=is_causal)


def mask_after_softmax(query, key, value, *, mask=None, is_causal=False):
    visible = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool) if mask is None else mask
    visible = visible & masks.causal(*visible.shape[-2:]) if is_causal else visible
    return (torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, -1) * visible) @ value


def edits_the_mask(query, key, value, *, mask=None, is_causal=False):
    if mask is not None and is_causal:
        mask &= masks.causal(*mask.shape[-2:])
        is_causal = False
    return plain(query, key, value, mask=mask, is_causal=is_causal)


def edits_the_query(query, key, value, *, mask=None, is_causal=False):
    query.data.mul_(query.shape[-1] ** -0.5)
    return plain(query, key, value, mask=mask, is_causal=is_causal, scale=lambda *_: 1.0)


def detached_weights(query, key, value, *, mask=None, is_causal=False):
    return plain(query.detach(), key.detach(), value, mask=mask, is_causal=is_causal)


def detached_energy_scale(query, key, value, *, mask=None, is_causal=False):
    return plain(query * 2 - query.detach(), key, value, mask=mask, is_causal=is_causal)


def swallows_nan(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key.nan_to_num(0, 0, 0), value.nan_to_num(0, 0, 0), mask=mask, is_causal=is_causal)


def mean_instead_of_sum(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value, mask=mask, is_causal=is_causal) / key.shape[-2]


def mixes_the_batch(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key.roll(1, 0), value.roll(1, 0), mask=mask, is_causal=is_causal)


def ignores_mask_when_causal(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value, mask=None if is_causal else mask, is_causal=is_causal)


def one_mask_for_all(query, key, value, *, mask=None, is_causal=False):
    return plain(query, key, value, mask=None if mask is None or mask.ndim < 3 else mask[:1], is_causal=is_causal)


def shape_only(query, key, value, *, mask=None, is_causal=False):
    return torch.zeros(*query.shape[:-1], value.shape[-1], dtype=query.dtype) * (query.sum() + key.sum() + value.sum())


def torch_softmax(energies, dim):
    return torch.softmax(energies, dim)


def no_maximum_subtracted(energies, dim):
    weights = energies.exp()
    return weights / weights.sum(dim, keepdim=True)


with_option = functools.partial
WRONG_ATTEND = {
    "no scale": (with_option(plain, scale=lambda *_: 1.0), checks.check_attend_value),
    "scale by d_k, not its root": (with_option(plain, scale=lambda q, v: 1 / q.shape[-1]), checks.check_attend_value),
    "scale by the values' size": (
        with_option(plain, scale=lambda q, v: v.shape[-1] ** -0.5),
        checks.check_attend_value,
    ),
    "scale by the number of queries": (
        with_option(plain, scale=lambda q, v: q.shape[-2] ** -0.5),
        checks.check_attend_value,
    ),
    "softmax over the queries": (with_option(plain, dim=-2), checks.check_attend_value),
    "mask inverted": (inverted, checks.check_attend_value),
    "lower-right for upper-left": (
        with_option(plain, causal=functools.partial(masks.causal, alignment="lower-right")),
        checks.check_attend_value,
    ),
    "the query's own key hidden": (with_option(plain, causal=strictly_causal), checks.check_causality),
    "one key of the future seen": (
        with_option(plain, causal=lambda n, m: masks.window(n, m, left=None, right=2)),
        checks.check_causality,
    ),
    "causal or mask, not and": (with_option(plain, combine=torch.logical_or), checks.check_attend_value),
    "causal without the mask": (ignores_mask_when_causal, checks.check_attend_value),
    "the first mask for all": (one_mask_for_all, checks.check_attend_value),
    "values in another order": (values_in_another_order, checks.check_attend_value),
    "masked after the softmax": (mask_after_softmax, checks.check_attend_value),
    "batch mixed": (mixes_the_batch, checks.check_attend_value),
    "mean instead of sum": (mean_instead_of_sum, checks.check_attend_value),
    "only the shape is right": (shape_only, checks.check_attend_value),
    "-1e9 instead of -inf": (with_option(plain, fill=-1e9), checks.check_empty_row),
    "-1e9 above what is visible": (with_option(plain, fill=-1e9), checks.check_hidden_is_exact),
    "-1e4 instead of -inf": (with_option(plain, fill=-1e4), checks.check_empty_row),
    "-10 instead of -inf": (with_option(plain, fill=-10.0), checks.check_hidden_is_exact),
    "zero instead of -inf": (with_option(plain, fill=0.0), checks.check_attend_value),
    "NaN in an empty row": (with_option(plain, safe=torch_softmax), checks.check_empty_row),
    "NaN behind the mask": (plain, checks.check_nothing_leaks),
    "NaN between queries": (plain, checks.check_nothing_leaks_between_queries),
    "visible NaN swallowed": (swallows_nan, checks.check_nothing_leaks_between_queries),
    "mask edited": (edits_the_mask, checks.check_nothing_mutated),
    "query edited": (edits_the_query, checks.check_nothing_mutated),
    "weights without gradient": (detached_weights, checks.check_attend_gradient),
    "gradient twice": (detached_energy_scale, checks.check_attend_gradient),
    "order of keys matters": (
        with_option(plain, causal=masks.causal, safe=lambda e, dim: softmax(e * torch.arange(1, 6), dim=dim)),
        checks.check_permutation,
    ),
}


@pytest.mark.parametrize(("mutant", "check"), WRONG_ATTEND.values(), ids=WRONG_ATTEND)
def test_wrong_attend_is_rejected(mutant, check):
    with pytest.raises(AssertionError):
        check(mutant)


@pytest.mark.parametrize("check", checks.ATTEND_CHECKS)
def test_every_attend_check_rejects_something_and_accepts_the_right_one(check):
    """The mutants above are caught by a mistake, not by being written differently: the unspoilt version passes."""
    assert any(check is named for _, named in WRONG_ATTEND.values())
    check(cleaned(plain))


# --- scores -----------------------------------------------------------------------------------------------------------


def identity(x):
    return x


def concat_with_the_key_first(query, key, *, vector, weight, bias):
    key_weight, query_weight = weight.split([key.shape[-1], query.shape[-1]], -1)
    return scores.additive(query, key, vector=vector, query_weight=query_weight, key_weight=key_weight, bias=bias)


def additive_mean(query, key, **parameters):
    return scores.additive(query, key, **parameters) / parameters["vector"].shape[0]


def additive_without_vector(query, key, *, vector, **parameters):
    return scores.additive(query, key, vector=torch.ones_like(vector), **parameters)


def deep_without_last_layer_activation(query, key, *, layers, vector, **parameters):
    *first, (weight, bias) = layers
    constant = parameters["vector_bias"] + vector @ bias
    return scores.deep(query, key, layers=first, vector=vector @ weight, **parameters | {"vector_bias": constant})


def unscaled_similarity(query, key, eps=1e-8):
    return scores.dot(query, key / key.norm(dim=-1, keepdim=True))


def plain_similarity(query, key):
    return scores.dot(query / query.norm(dim=-1, keepdim=True), key / key.norm(dim=-1, keepdim=True))


def torch_similarity(query, key):
    return torch.nn.functional.cosine_similarity(query.unsqueeze(-2), key.unsqueeze(-3), dim=-1)


def location_from_the_end(query, key, *, weight):
    return scores.location_based(query, key, weight=weight[-key.shape[-2] :])


WRONG_SCORES = {
    "no scale": ("scaled_dot", scores.dot),
    "scale by d_k": ("scaled_dot", lambda q, k: scores.dot(q, k) / q.shape[-1]),
    "scale by the number of keys": ("scaled_dot", lambda q, k: scores.dot(q, k) / math.sqrt(k.shape[-2])),
    "scale times the root": ("scaled_dot", lambda q, k: scores.dot(q, k) * math.sqrt(q.shape[-1])),
    "distance for dot": ("dot", lambda q, k: -torch.cdist(q, k)),
    "only keys of length one": ("similarity", unscaled_similarity),
    "general without its matrix": ("general", lambda q, k, weight: scores.dot(q[..., : k.shape[-1]], k)),
    "bias on the query": (
        "biased_general",
        lambda q, k, weight, bias: scores.biased_general(q, k, weight=weight, bias=0 * bias) + bias.sum(),
    ),
    "bias forgotten": (
        "biased_general",
        lambda q, k, weight, bias: scores.biased_general(q, k, weight=weight, bias=0 * bias),
    ),
    "bias outside the activation": (
        "activated_general",
        lambda q, k, weight, bias: scores.activated_general(q, k, weight=weight, bias=0 * bias) + bias,
    ),
    "not activated": ("activated_general", functools.partial(scores.activated_general, activation=identity)),
    "features of the query only": ("generalized_kernel", lambda q, k, feature_map: scores.dot(feature_map(q), k)),
    "key first": ("concat", concat_with_the_key_first),
    "concat without tanh": ("concat", functools.partial(scores.concat, activation=identity)),
    "additive without tanh": ("additive", functools.partial(scores.additive, activation=identity)),
    "relu for tanh": ("additive", functools.partial(scores.additive, activation=torch.relu)),
    "mean for sum": ("additive", additive_mean),
    "vector forgotten": ("additive", additive_without_vector),
    "bias of additive forgotten": ("additive", lambda q, k, bias, **p: scores.additive(q, k, **p)),
    "a layer forgotten": ("deep", deep_without_last_layer_activation),
    "rows from the end": ("location_based", location_from_the_end),
    "first features twice": (
        "feature_based",
        lambda q, k, second_weight, **p: scores.feature_based(q, k, second_weight=0 * second_weight, **p),
    ),
}


@pytest.mark.parametrize(("name", "mutant"), WRONG_SCORES.values(), ids=WRONG_SCORES)
def test_wrong_score_is_rejected(name, mutant):
    with pytest.raises(AssertionError):
        checks.check_score_value(name, mutant)


@pytest.mark.parametrize("mutant", [plain_similarity, torch_similarity])
def test_wrong_zero_vector_is_rejected(mutant):
    """NaN, or a gradient of one over eps."""
    with pytest.raises(AssertionError):
        checks.check_zero_vector(mutant)


def test_gradient_cut_in_a_score_is_rejected():
    def cut(query, key):
        return scores.dot(query.detach() * 0 + query, key) + (query.detach() @ key.mT) - scores.dot(query, key.detach())

    with pytest.raises(AssertionError):
        checks.check_score_gradient("dot", cut)


# --- masks ------------------------------------------------------------------------------------------------------------

WRONG_MASKS = {
    "one token too many": (checks.check_key_mask, lambda lengths, n: masks.key_mask(lengths + 1, n)),
    "padding for tokens": (checks.check_key_mask, lambda lengths, n: ~masks.key_mask(lengths, n)),
    "padding on the left": (checks.check_key_mask, lambda lengths, n: masks.key_mask(lengths, n).flip(-1)),
    "own key hidden": (checks.check_causal, lambda n, m, alignment: masks.causal(n, m, alignment=alignment).roll(1, 0)),
    "always upper-left": (checks.check_causal, lambda n, m, alignment: masks.causal(n, m)),
    "alignments exchanged": (
        checks.check_causal,
        lambda n, m, alignment: masks.causal(
            n, m, alignment={"upper-left": "lower-right", "lower-right": "upper-left"}[alignment]
        ),
    ),
    "the past for the future": (
        checks.check_causal,
        lambda n, m, alignment: masks.window(n, m, left=1, right=None, alignment=alignment),
    ),
    "window one too wide": (
        checks.check_window,
        lambda n, m, left, right, alignment: masks.window(
            n, m, left=left and left + 1, right=right and right + 1, alignment=alignment
        ),
    ),
    "window without its own key": (
        checks.check_window,
        lambda n, m, left, right, alignment: (
            masks.window(n, m, left=left, right=right, alignment=alignment)
            & ~masks.window(n, m, left=1, right=1, alignment=alignment)
        ),
    ),
    "sides exchanged": (
        checks.check_window,
        lambda n, m, left, right, alignment: masks.window(n, m, left=right, right=left, alignment=alignment),
    ),
    "window always upper-left": (
        checks.check_window,
        lambda n, m, left, right, alignment: masks.window(n, m, left=left, right=right),
    ),
    "key padding of our polarity": (test_masks.check_to_key_padding, lambda mask: mask.squeeze(-2)),
    "attn_mask of our polarity": (
        test_masks.check_to_attn_mask,
        lambda mask, heads: ~interop.to_attn_mask(mask, heads),
    ),
    "heads before batch": (
        test_masks.check_to_attn_mask,
        lambda mask, heads: ~(mask if mask.ndim == 2 else mask.repeat(heads, 1, 1)),
    ),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG_MASKS.values(), ids=WRONG_MASKS)
def test_wrong_mask_is_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


# --- hard attention ---------------------------------------------------------------------------------------------------


def reinforce(
    rewards, logs, *, baseline=0.0, reward_weight=1.0, entropy=0.0, entropy_weight=0.0, sign=-1, spread=-1, mode=""
):
    """REINFORCE as it is often written, with the places where it goes wrong as options."""
    reward = rewards if mode == "reward attached" else rewards.detach()
    baseline = baseline if mode == "baseline attached" or not isinstance(baseline, torch.Tensor) else baseline.detach()
    pull = reward_weight * (reward - baseline) * (logs.exp() if mode == "probability" else logs)
    own = 0 * rewards if mode == "reward only" else rewards
    loss = (sign * (pull - pull.detach()) - own).mean(0)
    return (loss * rewards.shape[0] if mode == "sum" else loss) + spread * entropy_weight * entropy


def uniform_draws(weights, n_samples=1, *, generator=None):
    return hard.sample(torch.full_like(weights, 1 / weights.shape[-1]), n_samples, generator=generator)


def most_likely(weights, n_samples=1, *, generator=None):
    selection = torch.nn.functional.one_hot(weights.argmax(-1), weights.shape[-1]).to(weights.dtype)
    return hard.Draw(selection.expand(n_samples, *weights.shape), weights.argmax(-1), weights.amax(-1).log())


def unweighted_bound(rewards, logs):
    return torch.where(logs > -math.inf, rewards, 0.0).mean(0)


def bound_without_second_term(rewards, logs):
    return hard.bound(rewards, logs.detach() + 0 * logs.masked_fill(logs == -math.inf, 0.0))


def marginal_for_bound(rewards, logs):
    return hard.log_marginal(rewards, logs)


with_mode = functools.partial
WRONG_HARD = {
    "reward pushes away": (test_hard.check_unbiased, with_mode(reinforce, sign=1)),
    "probability for its logarithm": (test_hard.check_unbiased, with_mode(reinforce, mode="probability")),
    "sum over the draws": (test_hard.check_against_loop, with_mode(reinforce, mode="sum")),
    "weight of the reward forgotten": (
        test_hard.check_against_loop,
        lambda *parts, reward_weight, **options: reinforce(*parts, **options),
    ),
    "baseline forgotten": (
        test_hard.check_against_loop,
        lambda *parts, baseline, **options: reinforce(*parts, **options),
    ),
    "derivative through the reward": (
        test_hard.check_reward_trains_too,
        with_mode(reinforce, mode="reward attached"),
    ),
    "derivative through the baseline": (
        test_hard.check_reward_trains_too,
        with_mode(reinforce, mode="baseline attached"),
    ),
    "what follows the draw not trained": (
        test_hard.check_reward_trains_too,
        with_mode(reinforce, mode="reward only"),
    ),
    "entropy punished": (test_hard.check_entropy_is_rewarded, with_mode(reinforce, spread=1)),
    "draws from the uniform": (test_hard.check_frequencies, uniform_draws),
    "the largest instead of a draw": (test_hard.check_frequencies, most_likely),
    "bound without the weights": (test_hard.check_bound, unweighted_bound),
    "bound without its second term": (test_hard.check_bound, bound_without_second_term),
    "what stands at weight zero counts": (test_hard.check_bound, lambda r, logs: (logs.exp() * r).sum(0)),
    "the likelihood itself for the bound": (test_hard.check_jensen, marginal_for_bound),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG_HARD.values(), ids=WRONG_HARD)
def test_wrong_hard_attention_is_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


@pytest.mark.parametrize("check", test_hard.LOSS_CHECKS)
def test_the_unspoilt_reinforce_passes(check):
    check(reinforce)


# --- word alignment ---------------------------------------------------------------------------------------------------


def swapped_precision_and_recall(predicted, sure, possible=None):
    right = alignment_error_rate(predicted, sure, possible)
    return right._replace(precision=right.recall, recall=right.precision)


def sure_links_alone(predicted, sure, possible=None):
    return alignment_error_rate(predicted, sure)


def possible_without_sure(predicted, sure, possible=None):
    further = possible - sure if possible is not None else sure
    n_sure, n_possible = len(predicted & sure), len(predicted & further)
    error = 1 - (n_sure + n_possible) / (len(predicted) + len(sure))
    return error, n_possible / len(predicted), n_sure / len(sure)


def possible_links_in_the_denominator(predicted, sure, possible=None):
    right = alignment_error_rate(predicted, sure, possible)
    size = len(predicted) + len(sure | (possible or set()))
    return right._replace(error=1 - (right.n_sure + right.n_possible) / size)


class WrongModel1(IBMModel1):
    """Its rounds written out, with the places where they go wrong as switches."""

    unnormalised = by_target = hard_counts = length_forgotten = False

    def _learn(self, cells, n_iterations):
        row, word_pair, length = cells
        self._keys, entry = torch.unique(word_pair, return_inverse=True)
        source, target = self._keys // len(self._targets), self._keys % len(self._targets)
        group = target if self.by_target else source
        self._table = torch.full((len(self._keys),), 1.0 / len(self._targets), dtype=torch.float64)
        likelihoods = []
        for iteration in range(n_iterations + 1):
            joint = self._table[entry]
            explained = joint.new_zeros(len(length)).index_add_(0, row, joint)
            likelihoods.append(float((explained / (1 if self.length_forgotten else length)).log().sum()))
            if iteration < n_iterations:
                counts = torch.zeros_like(self._table)
                share = joint / explained[row]
                if self.hard_counts:
                    best = joint.new_zeros(len(length)).scatter_reduce_(0, row, joint, "amax")
                    share = (joint == best[row]).double()
                counts.index_add_(0, entry, share)
                totals = counts.new_zeros(len(self._sources) + len(self._targets)).index_add_(0, group, counts)
                self._table = counts if self.unnormalised else counts / totals[group]
        return likelihoods


def wrong_model(switch):
    return type("Wrong", (WrongModel1,), {switch: True})


WRONG_ALIGNMENT = {
    "precision and recall swapped": (test_alignment.check_error_rate, swapped_precision_and_recall),
    "possible links ignored": (test_alignment.check_error_rate, sure_links_alone),
    "sure links not possible": (test_alignment.check_error_rate, possible_without_sure),
    "possible links in the denominator": (test_alignment.check_error_rate, possible_links_in_the_denominator),
    "model without normalising": (test_alignment.check_probabilities_sum_to_one, wrong_model("unnormalised")),
    "normalised over source words": (test_alignment.check_probabilities_sum_to_one, wrong_model("by_target")),
    "counts of the best link alone": (test_alignment.check_model, wrong_model("hard_counts")),
    "length of the source forgotten": (test_alignment.check_model, wrong_model("length_forgotten")),
    "no empty word": (
        test_alignment.check_model,
        lambda pairs, null, **options: IBMModel1(pairs, null=False, **options),
    ),
}


@pytest.mark.parametrize(("check", "mutant"), WRONG_ALIGNMENT.values(), ids=WRONG_ALIGNMENT)
def test_wrong_alignment_is_rejected(check, mutant):
    with pytest.raises(AssertionError):
        check(mutant)


@pytest.mark.parametrize("check", test_alignment.MODEL_CHECKS)
def test_the_unspoilt_model_passes(check):
    check(WrongModel1)


def test_inputs_are_fit_to_tell():
    """The checks stand on inputs in which sizes differ, masks differ, and no row is trivial."""
    query, key, value = inputs()
    assert len({*query.shape, *key.shape, *value.shape}) == 5
    some = checks.some_mask()
    assert some.any(-1).all()
    assert not some.all(-1).all(-1).any()
    assert not torch.equal(some[0], some[1])
