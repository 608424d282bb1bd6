// The arithmetic of attnlib for the page: scores, distributions, context. Pure functions on arrays of floats.
//
// A score is (query, keys, options) -> energies: one query [d], keys [n][d], energies [n].
// A distribution is (energies, options) -> weights, both [n]. An energy of -Infinity means "not available": its weight
// is exactly 0, and a row of nothing else is all zeros. A NaN spreads over its row (sigmoid: over its entry).
// Names, options and shapes are those of attnlib.scores and attnlib.distributions; tests hold the two to 1e-6.

// A field has thousands of keys and a frame 16 ms: what runs once a key loops and allocates nothing.
function dotted(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}
const applied = (matrix, vector) => matrix.map((row) => dotted(row, vector));
const norm = (vector) => Math.sqrt(dotted(vector, vector));

const ACTIVATIONS = {
  identity: (x) => x,
  tanh: Math.tanh,
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => logistic(x),
};

const FEATURES = {
  identity: (x) => x,
  relu: (x) => Math.max(x, 0),
  exp: Math.exp,
  "elu+1": (x) => (x > 0 ? x + 1 : Math.exp(x)),
};

function chosen(table, name, what) {
  if (!Object.hasOwn(table, name))
    throw new Error(`${what} must be one of ${Object.keys(table).join(", ")}; got ${name}`);
  return table[name];
}

// ---------------------------------------------------------------------------------------------------- scores

export function dot(query, keys) {
  return keys.map((key) => dotted(query, key));
}

export function scaledDot(query, keys, { scale = 1 / Math.sqrt(query.length) } = {}) {
  return keys.map((key) => scale * dotted(query, key));
}

/** q' W k; weight [d_q][d_k]. */
export function general(query, keys, { weight }) {
  const projected = weight[0].map((_, j) =>
    dotted(
      query,
      weight.map((row) => row[j]),
    ),
  );
  return keys.map((key) => dotted(projected, key));
}

/** k' (W q + b); weight [d_k][d_q], bias [d_k]. */
export function biasedGeneral(query, keys, { weight, bias }) {
  const projected = applied(weight, query).map((value, i) => value + bias[i]);
  return keys.map((key) => dotted(projected, key));
}

/** act(q' W k + b); weight [d_q][d_k], bias a number. */
export function activatedGeneral(query, keys, { weight, bias = 0, activation = "tanh" }) {
  const act = chosen(ACTIVATIONS, activation, "activation");
  return general(query, keys, { weight }).map((energy) => act(energy + bias));
}

/** v' act(W_q q + W_k k + b); queryWeight [d_w][d_q], keyWeight [d_w][d_k], vector and bias [d_w]. */
export function additive(query, keys, { vector, queryWeight, keyWeight, bias, activation = "tanh" }) {
  const act = chosen(ACTIVATIONS, activation, "activation");
  const fromQuery = applied(queryWeight, query).map((value, i) => value + (bias ? bias[i] : 0));
  return keys.map((key) => {
    let energy = 0;
    for (let i = 0; i < vector.length; i += 1) energy += vector[i] * act(dotted(keyWeight[i], key) + fromQuery[i]);
    return energy;
  });
}

/** v' act(W [q; k] + b); weight [d_w][d_q + d_k]. */
export function concat(query, keys, { vector, weight, bias, activation = "tanh" }) {
  const act = chosen(ACTIVATIONS, activation, "activation");
  return keys.map((key) => {
    const hidden = applied(weight, [...query, ...key]);
    return dotted(
      vector,
      hidden.map((value, i) => act(value + (bias ? bias[i] : 0))),
    );
  });
}

/** The cosine of the angle between query and key; a vector of length at most eps has no direction and gives 0. */
export function similarity(query, keys, { eps = 1e-8 } = {}) {
  const inverse = (vector) => {
    const length = norm(vector);
    return length > eps ? 1 / length : 0;
  };
  const fromQuery = inverse(query);
  return keys.map((key) => dotted(query, key) * fromQuery * inverse(key));
}

/** Energies of the query and the position alone; weight [n_max][d_q], of which the first n rows count. */
export function locationBased(query, keys, { weight }) {
  if (keys.length > weight.length)
    throw new Error(`weight has ${weight.length} rows but there are ${keys.length} keys`);
  return keys.map((_, position) => dotted(weight[position], query));
}

/** phi(q)' phi(k) with an elementwise feature map phi, by name. */
export function generalizedKernel(query, keys, { feature = "exp" } = {}) {
  const phi = chosen(FEATURES, feature, "feature");
  const mapped = query.map(phi);
  return keys.map((key) => dotted(mapped, key.map(phi)));
}

/** -|q - k|^2 / (2 width^2), the logarithm of the Gaussian kernel: its softmax is the Nadaraya-Watson estimator. */
export function gaussian(query, keys, { width = 1 } = {}) {
  if (!(width > 0)) throw new Error(`width must be positive; got ${width}`);
  return keys.map((key) => {
    let squares = 0;
    for (let i = 0; i < query.length; i += 1) squares += (query[i] - key[i]) ** 2;
    return -squares / (2 * width * width);
  });
}

// --------------------------------------------------------------------------------------------- distributions

function cooled(energies, temperature) {
  if (!(temperature > 0)) throw new Error(`temperature must be positive; got ${temperature}`);
  return energies.map((energy) => energy / temperature);
}

/** The cases every row-wise distribution shares, then `rule` on the shifted energies (largest 0) that are left. */
function byRow(energies, temperature, rule) {
  const row = cooled(energies, temperature);
  if (row.some(Number.isNaN)) return row.map(() => NaN);
  const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
  if (top === -Infinity) return row.map(() => 0);
  return rule(row.map((energy) => energy - top));
}

function normalised(masses) {
  const total = masses.reduce((a, b) => a + b, 0);
  return masses.map((mass) => mass / total);
}

export function softmax(energies, { temperature = 1 } = {}) {
  return byRow(energies, temperature, (row) => normalised(row.map(Math.exp)));
}

/** The threshold of sparsemax: the largest support whose smallest member stays positive. */
export function sparsemax(energies, { temperature = 1 } = {}) {
  return byRow(energies, temperature, (row) => {
    const sorted = row.filter((energy) => energy > -Infinity).sort((a, b) => b - a);
    let sum = 0;
    let threshold = 0;
    sorted.forEach((energy, i) => {
      sum += energy;
      if (1 + (i + 1) * energy > sum) threshold = (sum - 1) / (i + 1);
    });
    return row.map((energy) => Math.max(energy - threshold, 0));
  });
}

/** Exact 1.5-entmax: on each candidate support the threshold solves a quadratic. */
function entmax15(energies, temperature) {
  return byRow(energies, temperature, (shifted) => {
    const row = shifted.map((energy) => energy / 2);
    const sorted = row.filter((energy) => energy > -Infinity).sort((a, b) => b - a);
    let sum = 0;
    let squares = 0;
    let threshold = 0;
    sorted.forEach((energy, i) => {
      const size = i + 1;
      sum += energy;
      squares += energy * energy;
      const mean = sum / size;
      const spread = squares - sum * mean;
      const candidate = mean - Math.sqrt(Math.max((1 - spread) / size, 0));
      if (candidate <= energy) threshold = candidate;
    });
    return row.map((energy) => Math.max(energy - threshold, 0) ** 2);
  });
}

/** Tsallis alpha-entmax, alpha > 1: exact for 1.5 and 2, otherwise the threshold by bisection. */
export function entmax(energies, { alpha = 1.5, temperature = 1 } = {}) {
  if (!(alpha > 1)) throw new Error(`alpha must be above 1; got ${alpha}`);
  if (alpha === 2) return sparsemax(energies, { temperature });
  if (alpha === 1.5) return entmax15(energies, temperature);
  return byRow(energies, temperature, (shifted) => {
    const row = shifted.map((energy) => energy * (alpha - 1));
    const power = 1 / (alpha - 1);
    const mass = (energy, threshold) => (energy > threshold ? (energy - threshold) ** power : 0);
    let low = -1;
    let high = 0;
    for (let step = 0; step < 60; step += 1) {
      const middle = (low + high) / 2;
      let total = 0;
      for (let i = 0; i < row.length; i += 1) total += mass(row[i], middle);
      if (total >= 1) low = middle;
      else high = middle;
    }
    return normalised(row.map((energy) => mass(energy, low)));
  });
}

function logistic(x) {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

/** Each key on its own; the weights do not sum to one. */
export function sigmoid(energies, { temperature = 1, bias = 0 } = {}) {
  return cooled(energies, temperature).map((energy) => (energy === -Infinity ? 0 : logistic(energy + bias)));
}

// ------------------------------------------------------------------------------------------------- attention

/** Energies as the distribution sees them: -Infinity where `mask` is false. */
export function masked(energies, mask) {
  return energies.map((energy, i) => (mask[i] ? energy : -Infinity));
}

/** The sum of weight times value; a value of weight 0 does not count, whatever it holds. */
export function contextOf(weights, values) {
  const width = values.length ? values[0].length : 0;
  return Array.from({ length: width }, (_, j) =>
    weights.reduce((sum, weight, i) => (weight === 0 ? sum : sum + weight * values[i][j]), 0),
  );
}

/** One query's attention; `score` and `distribution` are functions of one argument here. */
export function attend(query, keys, values, { score, distribution, mask = keys.map(() => true) }) {
  const energies = masked(score(query, keys), mask);
  const weights = distribution(energies);
  return { energies, weights, context: contextOf(weights, values) };
}

/**
 * One row of energies seen through a window of `halfWidth` about `centre`, positions from 0 (attnlib.local): what is
 * inside, the softmax there (`shares`), the Gaussian there (`factors`, 1 without it), and their product.
 */
export function local(energies, { centre, halfWidth, gaussian = true, renormalise = false, rounded = false }) {
  const middle = rounded ? Math.floor(centre) : centre;
  const inside = energies.map((_, s) => Math.abs(s - middle) <= halfWidth);
  const shares = softmax(masked(energies, inside));
  const factor = (s) => (gaussian ? Math.exp(-2 * ((s - centre) / halfWidth) ** 2) : 1);
  const factors = inside.map((within, s) => (within ? factor(s) : 0));
  const products = shares.map((share, s) => share * factors[s]);
  const total = products.reduce((a, b) => a + b, 0);
  const weights = renormalise && total > 0 ? products.map((product) => product / total) : products;
  return { inside, shares, factors, weights };
}

// ------------------------------------------------------------------------------------------- hard attention

/** `count` numbers in [0, 1), the same for the same seed here and in attnlib.widgets.hard_sampler (mulberry32). */
export function uniforms(seed, count) {
  let state = seed | 0;
  return Array.from({ length: count }, () => {
    state = (state + 1831565813) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  });
}

/** The position that each number draws: the first whose cumulated weight exceeds it; -1 where there is no weight. */
export function drawn(weights, numbers) {
  const last = weights.reduce((found, weight, i) => (weight > 0 ? i : found), -1);
  return numbers.map((u) => {
    let total = 0;
    for (let i = 0; i < last; i += 1) {
      total += weights[i];
      if (u < total) return i;
    }
    return last;
  });
}

/** The exact derivative of the bound, sum of weight times reward, by each logit of a softmax. */
export function boundSlope(weights, rewards) {
  const mean = weights.reduce((sum, weight, i) => (weight === 0 ? sum : sum + weight * rewards[i]), 0);
  return weights.map((weight, i) => (weight === 0 ? 0 : weight * (rewards[i] - mean)));
}

/** The REINFORCE estimate of the same from one draw. */
export function reinforceSlope(weights, rewards, position, baseline = 0) {
  if (position < 0) return weights.map(() => 0);
  return weights.map((weight, i) => (rewards[position] - baseline) * ((i === position ? 1 : 0) - weight));
}

// ----------------------------------------------------------------------------------------------- alignments

/** The links [row, column] that a weight matrix stands for: the first of the largest of each row, if above 0. */
export function linksOf(weights) {
  return weights.flatMap((row, t) => {
    const top = Math.max(...row);
    return top > 0 ? [[t, row.indexOf(top)]] : [];
  });
}

/** Precision, recall and alignment error of links against sure ones and (with these) possible ones. */
export function alignmentError(predicted, sure, possible = []) {
  const keyed = (links) => new Set(links.map(([t, s]) => `${t} ${s}`));
  const [found, certain, either] = [keyed(predicted), keyed(sure), keyed([...sure, ...possible])];
  const both = (others) => [...found].filter((link) => others.has(link)).length;
  const [agreed, defensible, all] = [both(certain), both(either), found.size + certain.size];
  return {
    agreed,
    precision: found.size ? defensible / found.size : 1,
    recall: certain.size ? agreed / certain.size : 1,
    error: all ? 1 - (agreed + defensible) / all : 0,
  };
}

// ---------------------------------------------------------------------------------------------- a decoder's step

/**
 * One step of RNNsearch's decoder (attnlib.rnnsearch): the alignment model, the gated unit and the deep output. `decoder`
 * holds its matrices, `sentence` the annotations h_j and what the alignment model reads of them, U_a h_j.
 */
export function decoderStep(decoder, { annotations, projected }, state, word) {
  const sum = (first, ...others) => first.map((value, i) => others.reduce((total, other) => total + other[i], value));
  const n = state.length;
  const embedded = decoder.embedding[word];
  const asked = applied(decoder.align_state, state);
  const energies = projected.map((key) =>
    dotted(
      decoder.align_vector,
      key.map((value, i) => Math.tanh(value + asked[i])),
    ),
  );
  const weights = softmax(energies);
  const context = contextOf(weights, annotations);
  const read = sum(applied(decoder.input, embedded), decoder.input_bias, applied(decoder.context, context));
  const gates = sum(applied(decoder.gates_recurrent, state), read).map(logistic);
  const [update, reset] = [gates.slice(0, n), gates.slice(n)];
  const kept = state.map((value, i) => reset[i] * value);
  const candidate = sum(applied(decoder.recurrent, kept), read.slice(2 * n)).map(Math.tanh);
  const after = state.map((value, i) => (1 - update[i]) * value + update[i] * candidate[i]);
  const deep = sum(
    applied(decoder.output_state, state),
    decoder.output_state_bias,
    applied(decoder.output_word, embedded),
    applied(decoder.output_context, context),
  );
  const largest = deep.flatMap((value, i) => (i % 2 ? [] : [Math.max(value, deep[i + 1])]));
  const logits = sum(applied(decoder.output, largest), decoder.output_bias);
  return { energies, weights, context, update, reset, candidate, after, logits, probabilities: softmax(logits) };
}
