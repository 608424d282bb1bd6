"""Each mechanism as a plain loop, written from the paper's equation. Slow, obvious, and without a line of attnlib.

Vectors are lists of Python floats (so everything is float64), matrices lists of rows. ``rows`` turns a tensor into
lists; ``tensor`` turns lists back.
"""

import itertools
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


# --- distributions and structured attention ---------------------------------------------------------------------------

# One row in, one row out; an energy of -inf is not available; a row without energies is all zeros.


def _on_available(energies, rule):
    available = [energy for energy in energies if energy != -math.inf]
    weights = iter(rule(available)) if available else iter(())
    return [0.0 if energy == -math.inf else next(weights) for energy in energies]


def sparsemax_row(energies):
    def rule(z):
        ordered = sorted(z, reverse=True)
        tau, total = None, 0.0
        for k, z_k in enumerate(ordered, start=1):
            total += z_k
            if 1 + k * z_k > total:
                tau = (total - 1) / k
        return [max(z_i - tau, 0.0) for z_i in z]

    return _on_available(energies, rule)


def entmax_row(energies, alpha):
    """Halve the interval that holds the threshold: ``p_i = [(alpha - 1) z_i - tau]_+ ** (1 / (alpha - 1))``."""

    def rule(z):
        scaled = [(alpha - 1) * (z_i - max(z)) for z_i in z]

        def weights(tau):
            return [max(s - tau, 0.0) ** (1 / (alpha - 1)) for s in scaled]

        low, high = -1.0, 0.0
        for _ in range(200):
            middle = (low + high) / 2
            if sum(weights(middle)) >= 1:
                low = middle
            else:
                high = middle
        return weights(low)

    return _on_available(energies, rule)


def sigmoid_row(energies):
    return [0.0 if energy == -math.inf else 1 / (1 + math.exp(-energy)) for energy in energies]


def linear_chain(unary, steps):
    """Every sequence of states, one after the other: ``log Z``, marginals, pairwise marginals."""
    n, states = len(unary), len(unary[0])
    total = 0.0
    marginals = [[0.0] * states for _ in range(n)]
    pairs = [[[0.0] * states for _ in range(states)] for _ in range(n - 1)]
    for z in itertools.product(range(states), repeat=n):
        potential = sum(unary[i][z[i]] for i in range(n)) + sum(steps[i][z[i]][z[i + 1]] for i in range(n - 1))
        mass = math.exp(potential)
        total += mass
        for i in range(n):
            marginals[i][z[i]] += mass
        for i in range(n - 1):
            pairs[i][z[i]][z[i + 1]] += mass
    return (
        math.log(total),
        [[mass / total for mass in row] for row in marginals],
        [[[mass / total for mass in row] for row in matrix] for matrix in pairs],
    )


# --- global and local attention: Luong et al. 2015 --------------------------------------------------------------------


def local(query, key, value, centre, half_width, score, visible=None, gaussian=True, renormalise=False, rounded=False):
    """Contexts and weights over all keys of one sentence, positions from 0: Eq. 7 in the window, then Eq. 10."""
    sigma = half_width / 2
    contexts, all_weights = [], []
    for row, (q, p) in enumerate(zip(query, centre, strict=True)):
        window = []
        for s in range(len(key)):
            near = abs(s - math.floor(p)) <= half_width if rounded else p - half_width <= s <= p + half_width
            if near and (visible is None or visible[row][s]):
                window.append(s)
        weights, total = [0.0] * len(key), 0.0
        for s in window:
            weights[s] = math.exp(score(q, key[s], s - math.floor(p) + half_width))
            total += weights[s]
        for s in window:
            weights[s] = weights[s] / total
            if gaussian:
                weights[s] *= math.exp(-((s - p) ** 2) / (2 * sigma**2))
        if renormalise and window:
            weights = [weight / sum(weights) for weight in weights]
        context = [0.0] * len(value[0])
        for s in window:
            context = plus(context, [weights[s] * component for component in value[s]])
        contexts.append(context)
        all_weights.append(weights)
    return contexts, all_weights


def predicted_centre(h, length, weight, vector):
    """Eq. 9."""
    return length / (1 + math.exp(-inner(vector, [math.tanh(a) for a in times(weight, h)])))


def input_feeding(inputs, look, input_weight, hidden_weight, input_bias, hidden_bias, combine):
    """A decoder over one sentence, step by step; the rows of the cell's matrices are its four gates in torch's order.
    ``look(h, t)`` gives a context."""
    d = len(hidden_weight[0])
    vector, hidden, memory, vectors = [0.0] * d, [0.0] * d, [0.0] * d, []

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    for t, x in enumerate(inputs):
        gates = plus(times(input_weight, x + vector), input_bias, times(hidden_weight, hidden), hidden_bias)
        for i in range(d):
            keep = sigmoid(gates[d + i]) * memory[i]
            memory[i] = keep + sigmoid(gates[i]) * math.tanh(gates[2 * d + i])
        hidden = [sigmoid(gates[3 * d + i]) * math.tanh(memory[i]) for i in range(d)]
        vector = [math.tanh(a) for a in times(combine, look(hidden, t) + hidden)]  # Eq. 5
        vectors.append(vector)
    return vectors


# --- soft and hard attention, Eq. 12 ----------------------------------------------------------------------------------

# Weights are the softmax of energies, one row; ``rewards[i]`` is log p(y | position i). Derivatives: by the energies.


def hard_bound(energies, rewards):
    """Eq. 10 of Xu et al.: the mean reward over positions that can be drawn, and log p(y) itself."""
    weights = softmax_row(energies)
    drawn = [i for i, weight in enumerate(weights) if weight > 0]
    mean = sum(weights[i] * rewards[i] for i in drawn)
    marginal = sum(weights[i] * math.exp(rewards[i]) for i in drawn)
    return mean, math.log(marginal) if drawn else -math.inf


def log_weight_slope(energies, position):
    """The derivative of ``log alpha_position`` by each energy."""
    weights = softmax_row(energies)
    return [0.0 if e == -math.inf else (j == position) - weights[j] for j, e in enumerate(energies)]


def bound_slope(energies, rewards):
    """Eq. 11 of Xu et al., rewards that do not depend on the energies: position after position."""
    weights = softmax_row(energies)
    slope = [0.0 for _ in energies]
    for i, weight in enumerate(weights):
        if weight > 0:
            slope = plus(slope, [weight * rewards[i] * part for part in log_weight_slope(energies, i)])
    return slope


def reinforce_slope(energies, rewards, positions, baseline, reward_weight, entropy_weight):
    """The final rule of section 4.1 of Xu et al., draw after draw."""
    slope = [0.0 for _ in energies]
    for position in positions:
        pull = reward_weight * (rewards[position] - baseline) / len(positions)
        slope = plus(slope, [pull * part for part in log_weight_slope(energies, position)])
    return plus(slope, [entropy_weight * part for part in entropy_slope(energies)])


def entropy_slope(energies):
    """``dH/de_j = -alpha_j (log alpha_j + H)``."""
    weights = softmax_row(energies)
    entropy = -sum(weight * math.log(weight) for weight in weights if weight > 0)
    return [-weight * (math.log(weight) + entropy) if weight > 0 else 0.0 for weight in weights]


def doubly_stochastic(weights, target):
    """``weights[t][i]``, steps down, keys across."""
    penalty = 0.0
    for i in range(len(weights[0])):
        total = 0.0
        for step in weights:
            total += step[i]
        penalty += (target - total) ** 2
    return penalty


# --- word alignment: Och and Ney 2003; Brown et al. 1993 --------------------------------------------------------------


def alignment_error(predicted, sure, possible):
    """Error, precision and recall of lists of links; sure links are possible."""
    n_sure = n_possible = 0
    for link in predicted:
        n_sure += link in sure
        n_possible += link in possible or link in sure
    return (
        1 - (n_sure + n_possible) / (len(predicted) + len(sure)),
        n_possible / len(predicted),
        n_sure / len(sure),
    )


def ibm_model_1(pairs, n_iterations):
    """The table ``p[x][y]`` and the log-likelihood before each round and after the last. NULL, if wanted, is a word of
    every source."""
    vocabulary = {y for _, target in pairs for y in target}
    table = {x: {y: 1 / len(vocabulary) for y in vocabulary} for source, _ in pairs for x in source}
    likelihoods = []
    for iteration in range(n_iterations + 1):
        counts = {x: dict.fromkeys(vocabulary, 0.0) for x in table}
        likelihood = 0.0
        for source, target in pairs:
            for y in target:
                total = 0.0
                for x in source:
                    total += table[x][y]
                likelihood += math.log(total / len(source))
                for x in source:
                    counts[x][y] += table[x][y] / total
        likelihoods.append(likelihood)
        if iteration < n_iterations:
            table = {x: {y: c / sum(row.values()) for y, c in row.items()} for x, row in counts.items()}
    return table, likelihoods


# --- RNNsearch: Bahdanau et al. 2015, appendix A ----------------------------------------------------------------------


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


def gated_unit(p, x, s, c=None):
    """One step. ``p`` holds W, U, b for z, r and the candidate ("h"), and C where there is a context."""
    n = len(s)

    def before(gate, state):
        total = plus(times(p["W" + gate], x), times(p["U" + gate], state), p["b" + gate])
        return total if c is None else plus(total, times(p["C" + gate], c))

    z = [_sigmoid(value) for value in before("z", s)]
    r = [_sigmoid(value) for value in before("r", s)]
    candidate = [math.tanh(value) for value in before("h", [r[i] * s[i] for i in range(n)])]
    return [(1 - z[i]) * s[i] + z[i] * candidate[i] for i in range(n)]


def encode(p, words):
    """States of a unit that reads from the left and of one that reads from the right, in the order of the words."""
    n = len(p["forwards"]["bz"])
    forth, back = [], []
    state = [0.0] * n
    for word in words:
        state = gated_unit(p["forwards"], p["source"][word], state)
        forth.append(state)
    if "backwards" in p:
        state = [0.0] * n
        for word in reversed(words):
            state = gated_unit(p["backwards"], p["source"][word], state)
            back.insert(0, state)
    return forth, back


def rnnsearch(p, source, target_in):
    """Logits, weights, energies and states of one sentence; without an alignment model (``Wa``) it is RNNencdec."""
    forth, back = encode(p, source)
    attends = "Wa" in p
    annotations = [f + b for f, b in zip(forth, back, strict=True)] if attends else None
    first = back[0] if attends else forth[-1]
    s = [math.tanh(value) for value in plus(times(p["Ws"], first), p["bs"])]
    logits, weights, energies, states = [], [], [], []
    for word in target_in:
        y = p["target"][word]
        if attends:
            e = []
            for h in annotations:
                hidden = [math.tanh(value) for value in plus(times(p["Wa"], s), times(p["Ua"], h))]
                e.append(inner(p["va"], hidden))
            alpha = softmax_row(e)
            c = [sum(alpha[j] * annotations[j][i] for j in range(len(source))) for i in range(len(annotations[0]))]
        else:
            e, alpha, c = [0.0], [1.0], forth[-1]
        t = plus(times(p["Uo"], s), times(p["Vo"], y), times(p["Co"], c), p["bo"])
        t = [max(t[2 * i], t[2 * i + 1]) for i in range(len(t) // 2)]
        logits.append(plus(times(p["Wo"], t), p["by"]))
        s = gated_unit(p["unit"], y, s, c)
        for record, value in ((weights, alpha), (energies, e), (states, s)):
            record.append(value)
    return logits, weights, energies, states


def search(step, start, begin, end, longest, width, length_power):
    """Beam search over one sentence. ``step(word, state)`` gives the log-probabilities and the next state.

    Gives (words, log-probability) of every hypothesis in the last beam, best first.
    """
    beam = [([], 0.0, start)]

    def finished(words):
        return bool(words) and words[-1] == end

    for _ in range(longest):
        grown = []
        for words, total, state in beam:
            if finished(words):
                grown.append((words, total, state))
                continue
            log_probabilities, after = step(words[-1] if words else begin, state)
            grown += [([*words, word], total + gain, after) for word, gain in enumerate(log_probabilities)]
        beam = sorted(grown, key=lambda hypothesis: -hypothesis[1])[:width]
        if all(finished(words) for words, _, _ in beam):
            break
    beam.sort(key=lambda hypothesis: -hypothesis[1] / len(hypothesis[0]) ** length_power)
    return [(words, total) for words, total, _ in beam]
