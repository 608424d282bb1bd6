// A network with one attention layer: the places of the output ask, those of the input answer. Keys, which are the
// values too, are the vector of a letter plus that of its place; the query is the vector of its own place plus that of
// the row's length; what comes of it goes through a linear layer to the letters. learning.js goes backwards through it.
//
// All numbers of a model lie in one array, `numbers`; `parts` has the matrices in it by name, row after row, and
// `slopes` and `grads` are alike. `how` says what is asked of it: { score, attention, reach, broken }.

import { seedOf, uniform } from "./chance.js";

const START = 0.5; // deviation of the numbers of the tables

/** Rows and columns of each matrix, and the deviation of its numbers at the start. */
function shapes({ letters, longest, size, hidden }) {
  const [narrow, read] = [1 / Math.sqrt(size), 1 / Math.sqrt(hidden)];
  return {
    letter: [letters + 1, size, START], // the last is the padding
    place: [longest, size, START],
    asking: [longest, size, START],
    length: [longest + 1, size, START],
    query_weight: [hidden, size, narrow],
    key_weight: [hidden, size, narrow],
    vector: [1, hidden, read],
    centre_weight: [hidden, size, narrow],
    centre_vector: [1, hidden, read],
    output: [letters, size, narrow],
    output_bias: [1, letters, 0],
  };
}

function cut(sizes, numbers) {
  let from = 0;
  const part = ([name, [rows, columns]]) => [name, numbers.subarray(from, (from += rows * columns))];
  return Object.fromEntries(Object.entries(shapes(sizes)).map(part));
}

export function modelOf(sizes, given) {
  const numbers = Float64Array.from(given);
  const slopes = new Float64Array(numbers.length);
  return { sizes, numbers, parts: cut(sizes, numbers), slopes, grads: cut(sizes, slopes) };
}

/** A model as a seed starts it, each number drawn evenly about 0. */
export function started(sizes, seed) {
  const next = uniform(seedOf(seed, -1));
  const drawn = ([rows, columns, deviation]) =>
    Array.from({ length: rows * columns }, () => deviation * Math.sqrt(12) * (next() - 0.5));
  return modelOf(sizes, Object.values(shapes(sizes)).flatMap(drawn));
}

/** out[i] += the sum of matrix[i][j] vector[j], with the vector that stands from `at` on. */
function apply(out, from, matrix, vector, at, size) {
  for (let k = 0, i = from; k < matrix.length; i += 1) {
    let sum = 0;
    for (let j = at; j < at + size; j += 1, k += 1) sum += matrix[k] * vector[j];
    out[i] += sum;
  }
}

/** The tables of vectors by the matrix that queries or keys go through: once for all rows. */
export function projectedTables({ parts, sizes: { size, hidden } }) {
  const by = (matrix, name) => projected(matrix, parts[name], size, hidden);
  return {
    letter: by(parts.key_weight, "letter"),
    place: by(parts.key_weight, "place"),
    asking: by(parts.query_weight, "asking"),
    length: by(parts.query_weight, "length"),
  };
}

/** `count` vectors, the sums of two rows of two tables each; `pairs(i)` says which. */
function added(count, size, one, two, pairs) {
  const out = new Float64Array(count * size);
  for (let i = 0; i < count; i += 1) {
    const [a, b] = pairs(i);
    for (let j = 0; j < size; j += 1) out[i * size + j] = one[a * size + j] + two[b * size + j];
  }
  return out;
}

const projected = (matrix, vectors, size, hidden) => {
  const out = new Float64Array((vectors.length / size) * hidden);
  for (let i = 0; i * size < vectors.length; i += 1) apply(out, i * hidden, matrix, vectors, i * size, size);
  return out;
};

/** v' tanh(a + b) of all pairs of projected vectors, and the hidden layer of each; without the tanh where that is broken. */
function additive({ parts, sizes: { hidden } }, left, right, broken) {
  const [rows, columns] = [left.length / hidden, right.length / hidden];
  const inner = new Float64Array(rows * columns * hidden);
  const energies = new Float64Array(rows * columns);
  const { vector } = parts;
  for (let t = 0, pair = 0, k = 0; t < rows; t += 1)
    for (let s = 0; s < columns; s += 1, pair += 1) {
      let sum = 0;
      for (let l = 0; l < hidden; l += 1, k += 1) {
        const both = left[t * hidden + l] + right[s * hidden + l];
        inner[k] = broken === "no tanh" ? both : Math.tanh(both);
        sum += vector[l] * inner[k];
      }
      energies[pair] = sum;
    }
  return { energies, inner };
}

/** The factor of a product of query and key. */
export const factorOf = ({ score, broken }, hidden) =>
  score === "scaled dot" && broken !== "no scale" ? 1 / Math.sqrt(hidden) : 1;

function products(left, right, hidden, factor) {
  const [rows, columns] = [left.length / hidden, right.length / hidden];
  const energies = new Float64Array(rows * columns);
  for (let t = 0, pair = 0; t < rows; t += 1)
    for (let s = 0; s < columns; s += 1, pair += 1) {
      let sum = 0;
      for (let l = 0; l < hidden; l += 1) sum += left[t * hidden + l] * right[s * hidden + l];
      energies[pair] = factor * sum;
    }
  return { energies };
}

/** The centres of windows, (n - 1) sigmoid(v' tanh(W q)), and what they are made of. */
function centresOf({ parts, sizes: { size, hidden } }, query, length) {
  const inner = projected(parts.centre_weight, query, size, hidden).map(Math.tanh);
  const shares = new Float64Array(query.length / size).map((_, t) => {
    let sum = 0;
    for (let l = 0; l < hidden; l += 1) sum += parts.centre_vector[l] * inner[t * hidden + l];
    return 1 / (1 + Math.exp(-sum));
  });
  return { inner, shares, centres: shares.map((share) => (length - 1) * share) };
}

/** Which keys a query sees, and what its window adds to their energies; -Infinity hides one. */
function seen(energies, rows, columns, { visible, window, halfWidth }) {
  for (let t = 0, pair = 0; t < rows; t += 1)
    for (let s = 0; s < columns; s += 1, pair += 1) {
      const away = window ? s - window.centres[t] : 0;
      if (s >= visible || Math.abs(away) > halfWidth) energies[pair] = -Infinity;
      else if (window) energies[pair] -= 2 * (away / halfWidth) ** 2;
    }
}

/** Softmax over `count` numbers from `at` on, `step` apart; nothing but -Infinity gives noughts. */
function softmax(weights, at, count, step) {
  let top = -Infinity;
  for (let i = 0, k = at; i < count; i += 1, k += step) top = Math.max(top, weights[k]);
  let sum = 0;
  for (let i = 0, k = at; i < count; i += 1, k += step)
    sum += weights[k] = top === -Infinity ? 0 : Math.exp(weights[k] - top);
  for (let i = 0, k = at; sum > 0 && i < count; i += 1, k += step) weights[k] /= sum;
}

/** The first place whose cumulated weight exceeds the number; the last with a weight where rounding leaves none. */
function place(weights, at, count, number) {
  let [total, last] = [0, -1];
  for (let s = 0; s < count; s += 1) {
    if (weights[at + s] === 0) continue;
    total += weights[at + s];
    last = s;
    if (number < total) break;
  }
  return last;
}

/** What the values give: their mean under the weights, or the one at the place that was drawn. */
function contexts(weights, key, rows, columns, size, places) {
  const out = new Float64Array(rows * size);
  for (let t = 0; t < rows; t += 1)
    for (let s = 0; s < columns; s += 1) {
      const weight = places ? Number(s === places[t]) : weights[t * columns + s];
      if (weight) for (let j = 0; j < size; j += 1) out[t * size + j] += weight * key[s * size + j];
    }
  return out;
}

/**
 * What the model makes of a row { letters, length }. `draws` has a number for each place of the output, for hard
 * attention; without them it looks where most weight is. `chances` are the probabilities of the letters.
 */
export function forward(model, { letters, length }, how, draws = null, tables = projectedTables(model)) {
  const { parts, sizes } = model;
  const { size, hidden, longest, halfWidth } = sizes;
  const [asked, there] = [(t) => [t, length], (s) => [letters[s], s]];
  const query = added(length, size, parts.asking, parts.length, asked);
  const key = added(longest, size, parts.letter, parts.place, there);
  const left = added(length, hidden, tables.asking, tables.length, asked);
  const right = added(longest, hidden, tables.letter, tables.place, there);
  const scored =
    how.score === "additive"
      ? additive(model, left, right, how.broken)
      : products(left, right, hidden, factorOf(how, hidden));
  const window = how.reach === "window" ? centresOf(model, query, length) : null;
  const weights = scored.energies;
  seen(weights, length, longest, { visible: how.broken === "no mask" ? longest : length, window, halfWidth });
  if (how.broken === "wrong axis") for (let s = 0; s < longest; s += 1) softmax(weights, s, length, longest);
  else for (let t = 0; t < length; t += 1) softmax(weights, t * longest, longest, 1);
  const looked = (t) =>
    draws ? place(weights, t * longest, longest, draws[t]) : largest(weights, t * longest, longest);
  const places = how.attention === "hard" ? Array.from({ length }, (_, t) => looked(t)) : null;
  const context = contexts(weights, key, length, longest, size, places);
  const chances = projected(parts.output, context, size, sizes.letters);
  for (let t = 0; t < length; t += 1) {
    for (let i = 0; i < sizes.letters; i += 1) chances[t * sizes.letters + i] += parts.output_bias[i];
    softmax(chances, t * sizes.letters, sizes.letters, 1);
  }
  return { query, key, left, right, inner: scored.inner, window, weights, places, context, chances };
}

export function largest(values, at, count) {
  let best = 0;
  for (let i = 1; i < count; i += 1) if (values[at + i] > values[at + best]) best = i;
  return best;
}
