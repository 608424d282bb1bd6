// attnlib.attend for one query.

/** Energies as the distribution sees them: -Infinity where `mask` is false. */
export function masked(energies, mask) {
  return energies.map((energy, i) => (mask[i] ? energy : -Infinity));
}

/** The sum of weight times value; a value of weight 0 does not count, whatever it holds. */
export function contextOf(weights, values) {
  const width = values.length ? values[0].length : 0;
  return Array.from({ length: width }, (_, j) =>
    weights.reduce((sum, weight, i) => (weight === 0 ? sum : sum + weight * values[i][j]), 0),
  );
}

/** One query's attention; `score` and `distribution` are functions of one argument here. */
export function attend(query, keys, values, { score, distribution, mask = keys.map(() => true) }) {
  const energies = masked(score(query, keys), mask);
  const weights = distribution(energies);
  return { energies, weights, context: contextOf(weights, values) };
}
