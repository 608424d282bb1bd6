// A weight for each feature of each token, as attnlib.output_representations.multidimensional.

import { softmax } from "./distributions.js";

const column = (rows, k) => rows.map((row) => row[k]);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const mixed = (weights, values) => weights.reduce((sum, weight, i) => sum + weight * values[i], 0);

/**
 * Energies and values, (token, feature): `weights` of each feature over the tokens, and `context`, one number a feature;
 * `one` weight for each token, from the means of its energies, and `mixture`, what it makes of the values.
 */
export function perFeature(energies, values) {
  const features = energies[0].map((_, k) => softmax(column(energies, k)));
  const one = softmax(energies.map(mean));
  return {
    weights: energies.map((row, i) => row.map((_, k) => features[k][i])),
    context: features.map((weights, k) => mixed(weights, column(values, k))),
    one,
    mixture: features.map((_, k) => mixed(one, column(values, k))),
  };
}
