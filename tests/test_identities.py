"""The taxonomy's claims as equalities: when one mechanism is another."""

import functools
import math

import checks
import oracles
import pytest
import torch
from checks import BATCH, D_K, D_Q, D_V, D_W, KEY, QUERY, close, inputs, randn
from oracles import rows, tensor

from attnlib import attend, masks, scores
from attnlib.distributions import sigmoid, softmax, sparsemax
from attnlib.frontiers.delta_rule import delta_rule
from attnlib.frontiers.kernels import kernel_smoother, log_exponential_kernel, log_rbf_kernel, polynomial_kernel
from attnlib.frontiers.linear import decode, linear_attention
from attnlib.softness.local import local, monotonic_centres


def pair():
    return randn(BATCH, QUERY, D_Q), randn(BATCH, KEY, D_K)


def weights(energies):
    return softmax(energies)


# --- between scores (the dossier's list, in its order) ----------------------------------------------------------------


def test_concat_is_additive():
    """(1) W [q; k] = W_q q + W_k k, with the matrix cut in two."""
    query, key = pair()
    vector, query_weight, key_weight, bias = randn(D_W), randn(D_W, D_Q), randn(D_W, D_K), randn(D_W, seed=1)
    one = scores.concat(query, key, vector=vector, weight=torch.cat([query_weight, key_weight], -1), bias=bias)
    two = scores.additive(query, key, vector=vector, query_weight=query_weight, key_weight=key_weight, bias=bias)
    close(one, two)


def test_general_with_the_identity_is_dot():
    """(2)"""
    query, key, _ = inputs()
    close(scores.general(query, key, weight=torch.eye(D_K).double()), scores.dot(query, key))


def test_general_is_dot_of_projections():
    """(3) q^T (A^T B) k = (A q)^T (B k): query and key projections of a lower rank."""
    query, key = pair()
    query_projection, key_projection = randn(2, D_Q), randn(2, D_K)
    one = scores.general(query, key, weight=query_projection.T @ key_projection)
    close(one, scores.dot(query @ query_projection.T, key @ key_projection.T))


def test_key_bias_changes_weights_and_a_constant_does_not():
    """(4) The bias of biased general is k^T b, which differs from key to key; a number added to all is not seen."""
    query, key = pair()
    weight, bias = randn(D_Q, D_K), randn(D_K)
    plain = scores.general(query, key, weight=weight)
    biased = scores.biased_general(query, key, weight=weight.T, bias=bias)
    close(biased, plain + (key @ bias).unsqueeze(-2))
    assert (weights(biased) - weights(plain)).abs().max() > 0.01
    close(weights(plain + 3.0), weights(plain))
    close(sparsemax(plain + 3.0), sparsemax(plain))
    assert (sigmoid(plain + 3.0) - sigmoid(plain)).abs().max() > 0.01, "sigmoid does see it"


def test_bias_on_the_query_side_is_not_seen():
    """(q + b)^T k differs by b^T k; q^T (k + b) differs by q^T b, the same for all keys, and softmax drops it."""
    query, key, _ = inputs()
    bias = randn(D_K)
    close(weights(scores.dot(query, key + bias)), weights(scores.dot(query, key)))
    assert (weights(scores.dot(query + bias, key)) - weights(scores.dot(query, key))).abs().max() > 0.01


def test_similarity_does_not_see_lengths():
    """(5)"""
    query, key, _ = inputs()
    lengths = randn(BATCH, KEY, 1).abs() + 0.1
    close(scores.similarity(7 * query, lengths * key), scores.similarity(query, key))
    close(scores.similarity(-query, key), -scores.similarity(query, key))
    unit_query, unit_key = (part / part.norm(dim=-1, keepdim=True) for part in (query, key))
    close(scores.similarity(query, key), scores.dot(unit_query, unit_key))


def test_location_based_does_not_see_keys():
    """(6) Permuting the keys permutes nothing."""
    query, key = pair()
    score = functools.partial(scores.location_based, weight=randn(KEY, D_Q))
    before = attend(query, key, score=score)
    after = attend(query, key.flip(-2), score=score)
    assert torch.equal(before.weights, after.weights)
    assert not torch.allclose(before.context, after.context)


def test_deep_with_one_hidden_layer_is_additive_plus_a_bias():
    """(7) L = 2."""
    query, key = pair()
    shared = {
        "query_weight": randn(D_W, D_Q),
        "key_weight": randn(D_W, D_K),
        "bias": randn(D_W),
        "vector": randn(D_W, seed=1),
    }
    deep = scores.deep(query, key, **shared, layers=[], vector_bias=tensor(0.5))
    close(deep, scores.additive(query, key, **shared) + 0.5)


def test_kernel_of_the_identity_is_dot():
    """(8)"""
    query, key, _ = inputs()
    close(scores.generalized_kernel(query, key, feature_map=lambda x: x), scores.dot(query, key))


def test_scaled_dot_is_general_with_a_multiple_of_the_identity():
    query, key, _ = inputs()
    close(scores.scaled_dot(query, key), scores.general(query, key, weight=torch.eye(D_K).double() / math.sqrt(D_K)))
    close(scores.scaled_dot(query, key, scale=1.0), scores.dot(query, key))


def test_activated_general_without_activation_is_general():
    query, key = pair()
    weight = randn(D_Q, D_K)
    plain = scores.activated_general(query, key, weight=weight, bias=tensor(0.0), activation=lambda x: x)
    close(plain, scores.general(query, key, weight=weight))


def test_additive_needs_its_nonlinearity():
    """Without it the query adds the same to every key, softmax drops that, and all queries attend alike."""
    query, key = pair()
    parameters = {"vector": randn(D_W), "query_weight": randn(D_W, D_Q), "key_weight": randn(D_W, D_K)}
    linear = weights(scores.additive(query, key, **parameters, activation=lambda x: x))
    close(linear, linear[:, :1].expand_as(linear))
    curved = weights(scores.additive(query, key, **parameters))
    assert (curved - curved[:, :1]).abs().max() > 0.01


def test_feature_based_does_not_see_queries():
    query, key = pair()
    parameters = checks.score_parameters("feature_based").tensors
    energies = scores.feature_based(query, key, **parameters)
    assert torch.equal(energies, scores.feature_based(query + 1, key, **parameters))
    assert torch.equal(energies, energies[:, :1].expand_as(energies))


# --- of the unified model ---------------------------------------------------------------------------------------------


def test_unified_model_is_rnnsearch():
    """Additive score, softmax and the weighted sum are Eq. 4-6: e_tj = v^T tanh(W s + U h_j), c_t = sum_j a_tj h_j."""
    state, annotations = randn(1, D_Q), randn(KEY, D_K)
    v, w, u = randn(D_W), randn(D_W, D_Q), randn(D_W, D_K)
    energies = []
    for h in rows(annotations):
        hidden = [math.tanh(a) for a in oracles.plus(oracles.times(rows(w), rows(state[0])), oracles.times(rows(u), h))]
        energies.append(oracles.inner(rows(v), hidden))
    total = sum(math.exp(energy) for energy in energies)
    context = [0.0] * D_K
    for energy, h in zip(energies, rows(annotations), strict=True):
        context = [c + math.exp(energy) / total * component for c, component in zip(context, h, strict=True)]
    score = functools.partial(scores.additive, vector=v, query_weight=w, key_weight=u)
    close(attend(state, annotations, score=score).context[0], tensor(context))


def test_a_query_of_zero_takes_the_mean():
    _, key, value = inputs()
    close(attend(torch.zeros(BATCH, 1, D_K).double(), key, value).context[:, 0], value.mean(-2))


@pytest.mark.parametrize("distribution", [softmax, sparsemax])
def test_retrieval_is_the_limit_of_attention(distribution):
    """As the scale grows, the context becomes the value of the best matching key: a dictionary's look-up."""
    _, key, value = inputs()
    score = functools.partial(scores.similarity)
    for wanted in range(KEY):
        sharp = functools.partial(distribution, temperature=1e-4)
        context = attend(5 * key[:, wanted : wanted + 1], key, value, score=score, distribution=sharp).context
        close(context[:, 0], value[:, wanted])


def test_nadaraya_watson_is_attention():
    """Kernel regression: weights K(x - x_i) / sum, with a Gaussian kernel, are the softmax of minus half the square."""
    query, key, value = inputs()
    estimates = []
    for x in rows(query[0]):
        kernels = [math.exp(-0.5 * sum((a - b) ** 2 for a, b in zip(x, k, strict=True))) for k in rows(key[0])]
        top = [sum(kernel * v[d] for kernel, v in zip(kernels, rows(value[0]), strict=True)) for d in range(D_V)]
        estimates.append([component / sum(kernels) for component in top])
    close(attend(query, key, value, score=scores.gaussian).context[0], tensor(estimates))
    unit = key / key.norm(dim=-1, keepdim=True)  # with keys of one length it is the dot product
    one, two = (attend(query, unit, value, score=score).context for score in (scores.gaussian, scores.dot))
    close(one, two)


def test_kernel_divided_by_its_sum_is_softmax_of_the_logarithm():
    """Weights proportional to a positive kernel: the distribution divides, where softmax would also exponentiate."""
    query, key, value = inputs()
    score = functools.partial(scores.generalized_kernel, feature_map=torch.nn.functional.softplus)
    one = attend(query, key, value, score=score, distribution=lambda e: e / e.sum(-1, keepdim=True))
    two = attend(query, key, value, score=lambda q, k: score(q, k).log())
    close(one.weights, two.weights)
    close(one.context, two.context)


@pytest.mark.parametrize("distribution", [softmax, sparsemax])
def test_context_lies_in_the_hull_of_the_values(distribution):
    """Weights are a point of the simplex, so no component leaves the range of the values'; sigmoid's can."""
    query, key, value = inputs()
    result = attend(5 * query, key, value, distribution=distribution)
    assert (result.weights >= 0).all()
    close(result.weights.sum(-1), torch.ones(BATCH, QUERY).double())
    assert (result.context <= value.amax(-2, keepdim=True) + 1e-12).all()
    assert (result.context >= value.amin(-2, keepdim=True) - 1e-12).all()
    large = attend(0 * query, key, torch.ones_like(value), distribution=sigmoid)
    close(large.context, torch.full_like(large.context, KEY / 2))


def test_linear_in_the_values():
    query, key, value = inputs()
    other = randn(BATCH, KEY, D_V, seed=5)
    both = attend(query, key, 2 * value + other).context
    close(both, 2 * attend(query, key, value).context + attend(query, key, other).context)


def test_hiding_keys_is_leaving_them_out():
    query, key, value = inputs()
    mask = torch.tensor([True, False, True, True, False])
    for distribution in (softmax, sparsemax, sigmoid):
        with_mask = attend(query, key, value, mask=mask, distribution=distribution)
        without = attend(query, key[:, mask], value[:, mask], distribution=distribution)
        close(with_mask.context, without.context)
        close(with_mask.weights[..., mask], without.weights)
        assert (with_mask.weights[..., ~mask] == 0).all()


# --- between types of the taxonomy ------------------------------------------------------------------------------------


def test_two_levels_are_flat_where_a_groups_energy_is_the_log_sum_of_its_members():
    """exp(e) / Z = (Z_s / Z) (exp(e) / Z_s); with the mean for the log-sum it is another distribution."""
    energies = randn(BATCH, 3, KEY)  # groups of keys
    flat = softmax(energies.flatten(-2)).unflatten(-1, (3, KEY))
    close(softmax(energies.logsumexp(-1))[..., None] * softmax(energies), flat)
    assert (softmax(energies.mean(-1))[..., None] * softmax(energies) - flat).abs().max() > 0.01


def test_one_distribution_a_feature_is_a_head_a_feature():
    """As many heads as features, each with values of size one; with one energy for all features it is one head."""
    energies, value = randn(BATCH, D_V, QUERY, KEY), randn(BATCH, KEY, D_V, seed=1)
    expected = torch.zeros(BATCH, QUERY, D_V, dtype=energies.dtype)
    for feature in range(D_V):
        weights = energies[:, feature].exp()
        expected[..., feature] = (weights @ value[..., feature : feature + 1] / weights.sum(-1, keepdim=True))[..., 0]
    heads = attend(energies, torch.eye(KEY).double(), value.mT[..., None], score=scores.dot).context
    close(heads[..., 0].mT, expected)
    shared = attend(energies[:, :1], torch.eye(KEY).double(), value.mT[..., None], score=scores.dot).context
    close(shared[..., 0].mT, attend(energies[:, 0], torch.eye(KEY).double(), value, score=scores.dot).context)


# --- global and local -------------------------------------------------------------------------------------------------


def test_local_with_a_window_over_everything_is_global():
    query, key, value = inputs()
    centre = torch.tensor([0.0, 2.5, 4.0], dtype=torch.float64)
    whole = local(query, key, value, centre=centre, half_width=KEY, gaussian=False)
    close(whole.context, attend(query, key, value).context)


def test_local_m_is_global_behind_a_band():
    query, key, value = inputs()
    centre = monotonic_centres(QUERY, lengths=KEY)
    band = masks.window(QUERY, KEY, left=2, right=2)
    result = local(query, key, value, centre=centre, half_width=1, gaussian=False)
    close(result.context, attend(query, key, value, mask=band).context)


def test_local_cares_for_the_order_of_the_keys():
    """Global attention does not: a joint permutation of keys and values changes nothing."""
    query, key, value = inputs()
    centre, order = torch.tensor([0.0, 2.5, 4.0], dtype=torch.float64), torch.tensor([3, 0, 4, 1, 2])
    close(attend(query, key[:, order], value[:, order]).context, attend(query, key, value).context)
    one, two = (
        local(query, k, v, centre=centre, half_width=1).context
        for k, v in ((key, value), (key[:, order], value[:, order]))
    )
    assert ((one - two).abs() > 1e-3).any(-1).all()


# --- kernels and linear attention -------------------------------------------------------------------------------------


def test_attention_is_smoothing_with_an_exponential_kernel_or_on_a_sphere_a_radial_one():
    query, key, value = inputs()
    smoothed = kernel_smoother(query, key, value, log_kernel=log_exponential_kernel)
    close(smoothed.context, attend(query, key, value).context)
    unit = math.sqrt(D_K) * key / key.norm(dim=-1, keepdim=True)
    radial = functools.partial(log_rbf_kernel, width=D_K**0.25)
    close(kernel_smoother(query, unit, value, log_kernel=radial).context, attend(query, unit, value).context)


def test_linear_attention_with_products_of_features_is_a_quadratic_kernel():
    """(q . k)^2 is the inner product of all products of two features."""
    query, key, value = inputs()

    def pairs(x):
        return (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)

    for is_causal in (False, True):
        one = linear_attention(query, key, value, feature_map=pairs, is_causal=is_causal)
        two = kernel_smoother(query, key, value, kernel=polynomial_kernel, is_causal=is_causal)
        close(one.context, two.context)


def test_linear_attention_of_features_that_name_keys_is_the_mean_of_those_named_alike():
    """One-hot features: hard look-up with a mean over all keys of the same name; nothing where there is none."""
    names, asked = torch.tensor([0, 1, 0, 2, 1]), torch.tensor([0, 1, 3])
    query, key = (torch.nn.functional.one_hot(each, 4).double() for each in (asked, names))
    _, _, value = inputs()
    found = linear_attention(query, key, value[0], feature_map=lambda x: x).context
    close(found, torch.stack([value[0, [0, 2]].mean(0), value[0, [1, 4]].mean(0), torch.zeros(D_V).double()]))


def test_the_last_step_of_causal_linear_attention_sees_what_all_see():
    _, key, value = inputs()
    query = randn(BATCH, KEY, D_K, seed=5)
    whole = linear_attention(query[:, -1:], key, value).context
    close(linear_attention(query, key, value, is_causal=True).context[:, -1:], whole)
    close(decode(query, key, value)[0][:, -1:], whole)


def test_the_delta_rule_with_orthonormal_keys_is_linear_attention_times_its_denominator():
    key, (_, _, value) = torch.eye(KEY).double(), inputs()
    query = randn(BATCH, KEY, KEY).abs()
    total = (query @ key.mT).tril().sum(-1, keepdim=True)
    linear = linear_attention(query, key, value, feature_map=lambda x: x, is_causal=True).context
    close(delta_rule(query, key, value).context, linear * total)
