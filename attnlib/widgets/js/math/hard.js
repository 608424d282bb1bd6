// Hard attention as in attnlib.softness.hard.

import { uniform } from "./chance.js";

/** `count` numbers in [0, 1), the same for the same seed here and in the Python class (mulberry32). */
export function uniforms(seed, count) {
  return Array.from({ length: count }, uniform(seed));
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

/** The moving-average baseline before each draw that earned one of `rewards` and, last, after all of them. */
export function movingAverage(rewards, decay = 0.9) {
  const all = [0];
  for (const reward of rewards) all.push(decay * all.at(-1) + (1 - decay) * reward);
  return all;
}

/** The means of the first row, of the first two, and so on. */
export function runningMeans(rows) {
  const sums = rows.length ? rows[0].map(() => 0) : [];
  return rows.map((row, k) => row.map((value, j) => (sums[j] += value) / (k + 1)));
}
