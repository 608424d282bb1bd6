// Local attention as in attnlib.softness.local.

import { masked } from "./attend.js";
import { softmax } from "./distributions.js";

/**
 * One row of energies seen through a window of `halfWidth` about `centre`, positions from 0: what is
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
