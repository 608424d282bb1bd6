// Kernel smoothing on a line, as attnlib.frontiers.kernels: weights in proportion to a kernel of query and key.

import { softmax } from "./distributions.js";

const elu = (x) => (x > 0 ? x + 1 : Math.exp(x));

/** Of the first two the logarithm, so that nothing overflows. */
export const KERNELS = {
  radial: { log: (q, k) => -((q - k) ** 2) / 2 },
  exponential: { log: (q, k) => q * k },
  "elu + 1": { of: (q, k) => elu(q) * elu(k) },
  polynomial: { of: (q, k, degree) => (1 + q * k) ** degree },
  linear: { of: (q, k) => q * k },
};

/** In proportion to the values, whatever their signs; zeros where they add up to zero. */
function shares(values) {
  const top = Math.max(...values.map(Math.abs)) || 1;
  const scaled = values.map((value) => value / top);
  const sum = scaled.reduce((all, value) => all + value, 0);
  return scaled.map((value) => (sum === 0 ? 0 : value / sum));
}

/**
 * Values of the kernel (and their logarithms, where it is made of them), weights and context of one query; points are
 * rows of a key and its value. `none` says that the weights are all zero: there is no average.
 */
export function smooth(query, points, { kernel, width, degree = 2 }) {
  const { log, of } = KERNELS[kernel];
  const found = points.map(([key]) => (log ?? of)(query / width, key / width, degree));
  const weights = log ? softmax(found) : shares(found);
  const context = points.reduce((sum, [, value], i) => sum + weights[i] * value, 0);
  const none = weights.every((weight) => weight === 0);
  return { kernels: log ? found.map(Math.exp) : found, logs: log ? found : null, weights, context, none };
}
