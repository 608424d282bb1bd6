// The gradient of learner.js by hand, and Adam. Cross-entropy for soft attention; for hard attention the estimate of
// REINFORCE, with the moving average of the rewards before for a baseline, as attnlib.softness.hard has them.

import { factorOf, forward, largest, projectedTables, started } from "./learner.js";

const DECAY = 0.9; // of the baseline

/** Back through `apply`: `slope` is that of what came out; to the matrix, and to the vector from `at` on. */
function backApply(slope, from, matrix, matrixSlope, vector, vectorSlope, at, size) {
  for (let k = 0, i = from; k < matrix.length; i += 1) {
    const by = slope[i];
    for (let j = at; j < at + size; j += 1, k += 1) {
      matrixSlope[k] += by * vector[j];
      vectorSlope[j] += by * matrix[k];
    }
  }
}

/** From the energies of all pairs to the projected vectors and the vector of the additive score. */
function backAdditive(
  { parts, grads, sizes: { hidden } },
  { left, right, inner },
  slopes,
  leftBack,
  rightBack,
  broken,
) {
  const [rows, columns] = [left.length / hidden, right.length / hidden];
  for (let t = 0, pair = 0, k = 0; t < rows; t += 1)
    for (let s = 0; s < columns; s += 1, pair += 1) {
      const slope = slopes[pair];
      for (let l = 0; l < hidden; l += 1, k += 1) {
        grads.vector[l] += slope * inner[k];
        const by = slope * parts.vector[l] * (broken === "no tanh" ? 1 : 1 - inner[k] * inner[k]);
        leftBack[t * hidden + l] += by;
        rightBack[s * hidden + l] += by;
      }
    }
}

function backProducts({ left, right }, slopes, leftBack, rightBack, hidden, factor) {
  const [rows, columns] = [left.length / hidden, right.length / hidden];
  for (let t = 0, pair = 0; t < rows; t += 1)
    for (let s = 0; s < columns; s += 1, pair += 1)
      for (let l = 0; l < hidden; l += 1) {
        leftBack[t * hidden + l] += factor * slopes[pair] * right[s * hidden + l];
        rightBack[s * hidden + l] += factor * slopes[pair] * left[t * hidden + l];
      }
}

/** From the energies to the centres of the windows, and on to the query. */
function backCentres(
  { parts, grads, sizes: { size, hidden, longest, halfWidth } },
  { query, window },
  slopes,
  queryBack,
  length,
) {
  window.centres.forEach((centre, t) => {
    let slope = 0;
    for (let s = 0; s < longest; s += 1) slope += (slopes[t * longest + s] * 4 * (s - centre)) / halfWidth ** 2;
    const share = window.shares[t];
    const by = slope * (length - 1) * share * (1 - share);
    const inner = new Float64Array(hidden).map((_, l) => {
      const value = window.inner[t * hidden + l];
      grads.centre_vector[l] += by * value;
      return by * parts.centre_vector[l] * (1 - value * value);
    });
    backApply(inner, 0, parts.centre_weight, grads.centre_weight, query, queryBack, t * size, size);
  });
}

/** Back through a softmax, along `step`: slopes of weights become slopes of energies. */
function backSoftmax(weights, slopes, at, count, step) {
  let mean = 0;
  for (let i = 0, k = at; i < count; i += 1, k += step) mean += weights[k] * slopes[k];
  for (let i = 0, k = at; i < count; i += 1, k += step) slopes[k] = weights[k] * (slopes[k] - mean);
}

/** From the contexts to the values, and to the energies: through the weights, or by the reward of what was drawn. */
function backAttention(sizes, found, back, keyBack, how, pulls) {
  const { size, longest } = sizes;
  const { weights, key, places } = found;
  const rows = weights.length / longest;
  const slopes = new Float64Array(weights.length);
  for (let t = 0, pair = 0; t < rows; t += 1)
    for (let s = 0; s < longest; s += 1, pair += 1) {
      const weight = places ? Number(s === places[t]) : weights[pair];
      if (places) slopes[pair] = pulls[t] * (weights[pair] - weight);
      for (let j = 0; j < size; j += 1) {
        keyBack[s * size + j] += weight * back[t * size + j];
        if (!places) slopes[pair] += back[t * size + j] * key[s * size + j];
      }
    }
  if (places) return slopes;
  if (how.broken === "wrong axis") for (let s = 0; s < longest; s += 1) backSoftmax(weights, slopes, s, rows, longest);
  else for (let t = 0; t < rows; t += 1) backSoftmax(weights, slopes, t * longest, longest, 1);
  return slopes;
}

/** Adds what a row makes of the slopes, those of the projected tables to `back`; `part` is its share of the mean. */
function backward(model, { letters, length }, how, found, answer, back, { part, baseline }) {
  const { parts, grads, sizes } = model;
  const { size, hidden, longest } = sizes;
  const { query, key, context, chances } = found;
  const [contextBack, queryBack, keyBack] = [context, query, key].map((each) => new Float64Array(each.length));
  const logits = chances.map((chance) => part * chance);
  answer.forEach((letter, t) => (logits[t * sizes.letters + letter] -= part));
  for (let t = 0; t < length; t += 1) {
    for (let i = 0; i < sizes.letters; i += 1) grads.output_bias[i] += logits[t * sizes.letters + i];
    backApply(logits, t * sizes.letters, parts.output, grads.output, context, contextBack, t * size, size);
  }
  const pulls = answer.map((letter, t) => part * (Math.log(chances[t * sizes.letters + letter]) - baseline));
  const slopes = backAttention(sizes, found, contextBack, keyBack, how, pulls);
  if (found.window) backCentres(model, found, slopes, queryBack, length);
  const [leftBack, rightBack] = [found.left, found.right].map((each) => new Float64Array(each.length));
  if (how.score === "additive") backAdditive(model, found, slopes, leftBack, rightBack, how.broken);
  else backProducts(found, slopes, leftBack, rightBack, hidden, factorOf(how, hidden));
  const { letter, place, asking, length: long } = back;
  for (let t = 0; t < length; t += 1) {
    spread(asking, t, leftBack, t, hidden);
    spread(long, length, leftBack, t, hidden);
    if (!found.window) continue;
    spread(grads.asking, t, queryBack, t, size);
    spread(grads.length, length, queryBack, t, size);
  }
  for (let s = 0; s < longest; s += 1) {
    spread(letter, letters[s], rightBack, s, hidden);
    spread(place, s, rightBack, s, hidden);
    spread(grads.letter, letters[s], keyBack, s, size);
    spread(grads.place, s, keyBack, s, size);
  }
}

/** Row `from` of some vectors added to row `at` of a table. */
function spread(table, at, vectors, from, size) {
  for (let j = 0; j < size; j += 1) table[at * size + j] += vectors[from * size + j];
}

/** From the projected tables back to the tables and the matrices that they went through. */
function backTables({ parts, grads, sizes: { size, hidden } }, back) {
  for (const [name, slopes] of Object.entries(back)) {
    const matrix = name === "letter" || name === "place" ? "key_weight" : "query_weight";
    for (let i = 0; i * hidden < slopes.length; i += 1)
      backApply(slopes, i * hidden, parts[matrix], grads[matrix], parts[name], grads[name], i * size, size);
  }
}

/** A row's letters from its end. */
export const answerOf = ({ letters, length }) => letters.slice(0, length).reverse();

/**
 * The mean loss of some rows and how many letters are right, of how many; the slopes of the loss are in the model.
 * It stops after each row, so that a slow machine can leave off there.
 */
function* slopesOf(model, { rows, draws }, how, baseline = 0) {
  const { letters } = model.sizes;
  const count = rows.reduce((sum, { length }) => sum + length, 0);
  let [loss, right] = [0, 0];
  const tables = projectedTables(model);
  const back = Object.fromEntries(Object.entries(tables).map(([name, { length }]) => [name, new Float64Array(length)]));
  model.slopes.fill(0);
  for (const [i, row] of rows.entries()) {
    const found = forward(model, row, how, draws[i], tables);
    const answer = answerOf(row);
    answer.forEach((letter, t) => {
      loss -= Math.log(found.chances[t * letters + letter]) / count;
      right += largest(found.chances, t * letters, letters) === letter;
    });
    backward(model, row, how, found, answer, back, { part: 1 / count, baseline });
    yield;
  }
  backTables(model, back);
  return { loss, right, count };
}

/** A step of Adam along the slopes. */
function adam({ numbers, slopes }, memory, rate) {
  const [one, two] = [0.9, 0.999];
  memory.steps += 1;
  const [first, second] = [1 - one ** memory.steps, 1 - two ** memory.steps];
  for (let i = 0; i < numbers.length; i += 1) {
    memory.mean[i] = one * memory.mean[i] + (1 - one) * slopes[i];
    memory.square[i] = two * memory.square[i] + (1 - two) * slopes[i] * slopes[i];
    numbers[i] -= (rate * memory.mean[i]) / first / (Math.sqrt(memory.square[i] / second) + 1e-8);
  }
}

/** A training of a seed before its first step. */
export function training(sizes, seed) {
  const model = started(sizes, seed);
  const memory = {
    mean: new Float64Array(model.numbers.length),
    square: new Float64Array(model.numbers.length),
    steps: 0,
  };
  return { model, memory, baseline: 0, losses: [], rights: [] };
}

/**
 * One step of a training on a batch, a row each time that it is asked; nothing has changed before the last. Its loss and
 * the share of right letters are those from before the step.
 */
export function* piecemeal(all, rows, how, rate) {
  const { loss, right, count } = yield* slopesOf(all.model, rows, how, all.baseline);
  adam(all.model, all.memory, rate);
  all.baseline = DECAY * all.baseline - (1 - DECAY) * loss;
  all.losses.push(loss);
  all.rights.push(right / count);
}

/** The same at once. */
export function learn(all, rows, how, rate) {
  const pieces = piecemeal(all, rows, how, rate);
  while (!pieces.next().done);
}
