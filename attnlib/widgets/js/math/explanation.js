// Weights put to the test, as in attnlib.explanation, for one row: weights [n] that sum to one, and what each item says.

import { dotted, logistic } from "./vectors.js";

/** What one weight of a pair adds to the divergence. */
const part = (p, q) => (p > 0 ? 0.5 * p * Math.log((2 * p) / (p + q)) : 0);
const both = (p, q) => part(p, q) + part(q, p);

export const shares = (weights) => {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
};

export const answer = (weights, values) => logistic(dotted(weights, values));
export const divergence = (p, q) => p.reduce((sum, weight, i) => sum + both(weight, q[i]), 0);

/** The weights that are farthest from these of all whose answer is no more than `tolerance` away; exact, by pairs. */
export function farthest(weights, values, tolerance) {
  const said = answer(weights, values);
  const logit = (y) => Math.log(y / (1 - y));
  const ends = [-1, 1].map((side) => logit(Math.min(Math.max(said + side * tolerance, 1e-6), 1 - 1e-6)));
  let [best, found] = [-1, weights];
  const consider = (i, j, share) => {
    const rest = 1 - weights[i] - (i === j ? 0 : weights[j]);
    const far = 0.5 * Math.LN2 * rest + both(weights[j], share) + (i === j ? 0 : both(weights[i], 1 - share));
    if (far > best) [best, found] = [far, weights.map((_, k) => (k === j ? share : k === i ? 1 - share : 0))];
  };
  values.forEach((low, i) => {
    if (low >= ends[0] && low <= ends[1]) consider(i, i, 1);
    values.forEach((high, j) => {
      for (const end of ends) if (low < high && low <= end && end <= high) consider(i, j, (end - low) / (high - low));
    });
  });
  return found;
}

/** Each word gets the weight of the one before it, and the first that of the last. */
export const shifted = (weights) => [weights.at(-1), ...weights.slice(0, -1)];

/** One weight set to a share, the others in their proportions. */
export function moved(weights, at, share) {
  const left = 1 - weights[at];
  return weights.map((weight, i) =>
    i === at ? share : left > 0 ? (weight * (1 - share)) / left : (1 - share) / (weights.length - 1),
  );
}
