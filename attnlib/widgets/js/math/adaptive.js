// Adaptive spans and adaptive computation as in attnlib.frontiers.adaptive.

import { softmax } from "./distributions.js";

const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** How much of a key is let through at each distance 0 to n - 1. */
export function spanShares(n, { span, ramp }) {
  return Array.from({ length: n }, (_, far) => Math.min(Math.max((ramp + span - far) / ramp, 0), 1));
}

/**
 * Energies by distance from the query: `shares` let through, the softmax without a cut (`before`), and the weights.
 * `form`: "paper" divides after the cut; "not divided" cuts the softmax; "code" then divides by what is left plus 1e-8.
 */
export function spanned(energies, { span, ramp, form = "paper" }) {
  const shares = spanShares(energies.length, { span, ramp });
  const before = softmax(energies);
  const cut = before.map((weight, far) => weight * shares[far]);
  if (form === "not divided") return { shares, before, weights: cut };
  if (form === "code") return { shares, before, weights: cut.map((weight) => weight / (total(cut) + 1e-8)) };
  return { shares, before, weights: softmax(energies.map((energy, far) => energy + Math.log(shares[far]))) };
}

/** Halting probabilities by step: the weight of each, the steps taken, what remains for the last, and the cost. */
export function pondered(halting, { epsilon = 0.01 } = {}) {
  const weights = halting.map(() => 0);
  let remainder = 1;
  let steps = 0;
  for (const halt of halting) {
    steps += 1;
    const last = 1 - remainder + halt >= 1 - epsilon || steps === halting.length;
    weights[steps - 1] = last ? remainder : halt;
    if (last) break;
    remainder -= halt;
  }
  return { weights, steps, remainder, cost: steps + remainder };
}
