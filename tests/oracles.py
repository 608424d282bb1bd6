"""The ground floor as plain loops, written from the equations. Slow, obvious, and without a line of attnlib.

The loop of a mechanism stands in the mechanism's own test.

Vectors are lists of Python floats (so everything is float64), matrices lists of rows. ``rows`` turns a tensor into
lists; ``tensor`` turns lists back.
"""

import math

import torch


def rows(tensor):
    return tensor.detach().double().tolist()


def tensor(nested):
    return torch.tensor(nested, dtype=torch.float64)


def inner(a, b):
    total = 0.0
    for a_i, b_i in zip(a, b, strict=True):
        total += a_i * b_i
    return total


def times(matrix, vector):
    return [inner(row, vector) for row in matrix]


def plus(*vectors):
    return [sum(parts) for parts in zip(*vectors, strict=True)]


# --- the unified model, Eq. 7-11 -----------------------------------------------------------------------------------


def softmax_row(energies):
    """One row; an energy of -inf is not available; a row without energies is all zeros."""
    available = [energy for energy in energies if energy != -math.inf]
    if not available:
        return [0.0 for _ in energies]
    top = max(available)
    total = sum(math.exp(energy - top) for energy in available)
    return [0.0 if energy == -math.inf else math.exp(energy - top) / total for energy in energies]


def attend(query, key, value, score, visible=None, distribution=softmax_row):
    """Context, weights and energies of one sequence. ``score(q, k, i)`` sees one query, one key, the key's position."""
    contexts, all_weights, all_energies = [], [], []
    for row, q in enumerate(query):
        energies = []
        for i, k in enumerate(key):
            hidden = visible is not None and not visible[row][i]
            energies.append(-math.inf if hidden else score(q, k, i))  # Eq. 7
        weights = distribution(energies)  # Eq. 8
        context = [0.0] * len(value[0])
        for weight, v in zip(weights, value, strict=True):
            if weight == 0.0:
                continue
            z = [weight * component for component in v]  # Eq. 10
            context = plus(context, z)  # Eq. 11
        contexts.append(context)
        all_weights.append(weights)
        all_energies.append(energies)
    return contexts, all_weights, all_energies


# --- scores: Table 1 and the longer table -----------------------------------------------------------------------------
# Each takes one query, one key and the key's position, so that all are called alike.


def similarity(q, k, i):
    return inner(q, k) / (math.sqrt(inner(q, q)) * math.sqrt(inner(k, k)))


def dot(q, k, i):
    return inner(q, k)


def scaled_dot(q, k, i):
    return inner(q, k) / math.sqrt(len(k))


def general(q, k, i, *, weight):
    return inner(q, times(weight, k))


def biased_general(q, k, i, *, weight, bias):
    return inner(k, plus(times(weight, q), bias))


def activated_general(q, k, i, *, weight, bias):
    return math.tanh(inner(q, times(weight, k)) + bias)


def generalized_kernel(q, k, i, *, feature_map):
    return inner(feature_map(q), feature_map(k))


def concat(q, k, i, *, vector, weight, bias):
    return inner(vector, [math.tanh(a) for a in plus(times(weight, q + k), bias)])


def additive(q, k, i, *, vector, query_weight, key_weight, bias):
    return inner(vector, [math.tanh(a) for a in plus(times(query_weight, q), times(key_weight, k), bias)])


def deep(q, k, i, *, query_weight, key_weight, bias, layers, vector, vector_bias):
    hidden = [math.tanh(a) for a in plus(times(key_weight, k), times(query_weight, q), bias)]
    for layer_weight, layer_bias in layers:
        hidden = [math.tanh(a) for a in plus(times(layer_weight, hidden), layer_bias)]
    return inner(vector, hidden) + vector_bias


def location_based(q, k, i, *, weight):
    return inner(weight[i], q)


def feature_based(q, k, i, *, vector, first_weight, second_weight, first_map, second_map, bias):
    features = plus(times(first_weight, first_map(k)), times(second_weight, second_map(k)), bias)
    return inner(vector, [math.tanh(a) for a in features])


def gaussian(q, k, i, *, width):
    """The logarithm of the normal density, up to a constant, one component after the other."""
    return sum(math.log(math.exp(-(((a - b) / width) ** 2) / 2)) for a, b in zip(q, k, strict=True))


# --- masks ------------------------------------------------------------------------------------------------------------


def key_mask(lengths, n_key):
    return [[[position < length for position in range(n_key)]] for length in lengths]


def causal(n_query, n_key, alignment):
    """The query's place among the keys is its own index, or so that the last query stands at the last key."""
    shift = {"upper-left": 0, "lower-right": n_key - n_query}[alignment]
    return [[j <= i + shift for j in range(n_key)] for i in range(n_query)]


def window(n_query, n_key, left, right, alignment):
    """Walk outwards from the query's own key, ``left`` and ``right`` keys each way, the own one counted."""
    shift = {"upper-left": 0, "lower-right": n_key - n_query}[alignment]
    table = [[False] * n_key for _ in range(n_query)]
    for i in range(n_query):
        place = i + shift
        seen = [place - step for step in range(n_key + n_query if left is None else left)]
        before_or_own = set(seen)
        seen = [place + step for step in range(n_key + n_query if right is None else right)]
        after_or_own = set(seen)
        for j in range(n_key):
            table[i][j] = (j in before_or_own and j <= place) or (j in after_or_own and j >= place)
    return table


# --- distributions --------------------------------------------------------------------------------------------------

# One row in, one row out; an energy of -inf is not available; a row without energies is all zeros.


def sigmoid_row(energies):
    return [0.0 if energy == -math.inf else 1 / (1 + math.exp(-energy)) for energy in energies]
