// The four factors of attention, as attnlib.frontiers.factors: each is a term of the energy and can be left out.

import { softmax } from "./distributions.js";

/** What a distance says: how near the key stands before the query, and how near behind; half at each further place. */
const reached = (distance, before) => ((before ? distance < 0 : distance > 0) ? 2 ** (1 - Math.abs(distance)) : 0);

/**
 * The energies of the terms 1 to 4, a matrix each. A word's kind is all that is known of its content; `wants` has a row
 * for each kind: how much it wants each kind, then what stands before it, then what stands behind.
 */
export function factorEnergies({ kinds, wants, salience, leans }) {
  const places =
    (one, other) =>
    ([before, behind], d) =>
      before * one(d) + behind * other(d);
  const near = places(
    (d) => reached(d, true),
    (d) => reached(d, false),
  );
  const made = (energy) => kinds.map((asks, i) => kinds.map((kind, j) => energy(wants[asks], kind, j - i)));
  return [
    made((wanted, kind) => wanted[kind]),
    made((wanted, _, distance) => near(wanted.slice(-2), distance)),
    made((_, kind) => salience[kind]),
    made((_, __, distance) => near(leans, distance)),
  ];
}

/** The weights of the terms that are chosen. */
export const mixed = (energies, terms) =>
  energies[0].map((row, i) =>
    softmax(row.map((_, j) => terms.reduce((sum, term) => sum + energies[term - 1][i][j], 0))),
  );
