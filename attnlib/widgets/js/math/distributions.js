// Distributions as in attnlib.distributions: (energies, options) -> weights, both [n]. An energy of -Infinity means "not
// available": its weight is exactly 0, and a row of nothing else is all zeros. A NaN spreads over its row (sigmoid: over
// its entry).

import { logistic } from "./vectors.js";

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

/** Each key on its own; the weights do not sum to one. */
export function sigmoid(energies, { temperature = 1, bias = 0 } = {}) {
  return cooled(energies, temperature).map((energy) => (energy === -Infinity ? 0 : logistic(energy + bias)));
}
