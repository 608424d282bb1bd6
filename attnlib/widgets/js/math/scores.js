// Scores as in attnlib.scores: (query, keys, options) -> energies; one query [d], keys [n][d], energies [n]. Names,
// options and shapes are the same; tests hold the two to 1e-6.

import { applied, dotted, logistic, norm } from "./vectors.js";

const ACTIVATIONS = { identity: (x) => x, tanh: Math.tanh, relu: (x) => Math.max(x, 0), sigmoid: logistic };

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
