// Attention as exhibits of attnlib.museum have it, and without their faults; and properties asked of either, as in attnlib.check.

import { applied, dotted } from "./vectors.js";

const TOLERANCE = 1e-8;
/** So many times as large as they are, queries and keys have inner products far from nought. */
export const FAR = 30;
const turned = (rows) => rows[0].map((_, j) => rows.map((row) => row[j]));
const over = (weights, mask) => (mask ? weights.map((row, i) => row.map((weight, j) => weight * mask[i][j])) : weights);
const hide = (energies, mask) =>
  mask ? energies.map((row, i) => row.map((energy, j) => (mask[i][j] ? energy : -Infinity))) : energies;
const table = (query, key, entry) => query.map((q) => key.map((k) => entry(q, k)));
const product = (query, key) => table(query, key, (q, k) => dotted(q, k) / Math.sqrt(q.length));
const sum = (row) => row.reduce((total, value) => total + value, 0);

/** Of a row: undefined where all of it is hidden, as in torch. */
function softmax(row) {
  const most = Math.max(...row);
  const powers = row.map((energy) => Math.exp(energy - most));
  const total = sum(powers);
  return powers.map((power) => power / total);
}

const soft = (energies, mask) => hide(energies, mask).map(softmax);
const plain = (query, key, mask) => soft(product(query, key), mask);
const feature = (x) => (x > 0 ? x + 1 : Math.exp(x));
const kernel = (query, key, mask) =>
  over(
    table(
      query.map((q) => q.map(feature)),
      key.map((k) => k.map(feature)),
      dotted,
    ),
    mask,
  );
const divided = (rows) => rows.map((row) => row.map((weight) => weight / sum(row)));

function additive(query, key, mask, { matrix, other, vector }) {
  const both = [query.map((q) => applied(matrix, q)), key.map((k) => applied(other, k))];
  return soft(
    table(...both, (q, k) => sum(vector.map((v, i) => v * Math.tanh(q[i] + k[i])))),
    mask,
  );
}

const linear = (query, key, { matrix, other }) =>
  table(query, key, (q, k) => dotted(q, matrix[0]) + dotted(k, other[0]));

/** What each exhibit does, and the same without the fault. */
const RULES = {
  "softmax over the queries": [(q, k, mask) => turned(turned(hide(product(q, k), mask)).map(softmax)), plain],
  "a mask the other way round": [
    (q, k, mask) => product(q, k).map((row, i) => softmax(row.map((energy, j) => (mask?.[i][j] ? -1e9 : energy)))),
    plain,
  ],
  "a linear score": [(q, k, mask, numbers) => soft(linear(q, k, numbers), mask), additive],
  "padding that is attended": [(q, k) => plain(q, k), plain],
  "softmax over one item": [
    (q, k, mask) =>
      over(
        table(q, k, () => 1),
        mask,
      ),
    plain,
  ],
  "tanh outside of the score": [
    (q, k, mask, numbers) =>
      soft(
        linear(q, k, numbers).map((row) => row.map(Math.tanh)),
        mask,
      ),
    additive,
  ],
  "a divisor left out": [
    (q, k, mask) => kernel(q, k, mask).map((row) => row.map((weight) => weight * sum(row))),
    (q, k, mask) => divided(kernel(q, k, mask)),
  ],
  "exp without the maximum": [
    (q, k, mask) =>
      divided(
        over(
          product(q, k).map((row) => row.map(Math.exp)),
          mask,
        ),
      ),
    plain,
  ],
};

/** The weights, a row a query; `mask` may be null, `numbers` are those that a network would have learnt. */
export const weightsOf = (name, query, key, mask, numbers, right = false) =>
  RULES[name][right ? 1 : 0](query, key, mask, numbers);

const away = (one, other) => {
  const apart = Math.abs(one - other);
  return Number.isNaN(apart) ? Infinity : apart;
};

/** The row whose weights are farthest from a sum of one, as [row, sum]. */
function farthest(weights) {
  const sums = weights.map(sum);
  const off = sums.map((total) => away(total, 1));
  const row = off.indexOf(Math.max(...off));
  return [row, sums[row]];
}

/** The same for one set of queries after another, with the mask and without; the first that breaks it, or the last. */
function sums(use, sets, key, mask) {
  let found = null;
  for (const [set, query] of sets.entries())
    for (const hidden of [mask, null]) {
      const [row, total] = farthest(use(query, key, hidden));
      found = { holds: away(total, 1) <= TOLERANCE, set, row, number: total, masked: hidden !== null };
      if (!found.holds) return found;
    }
  return found;
}

const top = (row) => row.indexOf(Math.max(...row));

/** By how much a row prefers its first key to the next. */
function lead(row) {
  const [most, next] = [...row].sort((a, b) => b - a);
  return most - next;
}

/** Each takes the rule, sets of queries of which the first is the reader's, the keys and the mask. */
const PROPERTIES = {
  sum: sums,
  query(use, sets, key) {
    const rows = sets.flatMap((query) => use(query, key, null));
    const spread = key.map((_, j) => Math.max(...rows.map((row) => away(row[j], rows[0][j]))));
    const number = Math.max(...spread);
    return { holds: number > TOLERANCE, number, column: spread.indexOf(number), asked: rows.length };
  },
  choice(use, sets, key) {
    const rows = sets.flatMap((query) => use(query, key, null));
    const tops = rows.map(top);
    const number = new Set(tops).size;
    const even = rows.every((row) => row.every((weight) => weight === row[0]));
    return { holds: number > 1, number, column: tops[0], asked: tops.length, even, least: Math.min(...rows.map(lead)) };
  },
  rows(use, sets, key) {
    const first = use(sets[0], key, null);
    let found = { number: 0, row: 0 };
    for (const others of sets.slice(1))
      sets[0].forEach((query, row) => {
        const weights = use(
          others.map((other, i) => (i === row ? query : other)),
          key,
          null,
        )[row];
        const number = Math.max(...weights.map((weight, j) => away(weight, first[row][j])));
        if (number > found.number) found = { number, row };
      });
    return { holds: found.number <= TOLERANCE, ...found };
  },
  "hidden weight"(use, sets, key, mask) {
    const given = use(sets[0], key, mask).flatMap((weights, row) =>
      weights.map((weight, column) => ({ weight, row, column })),
    );
    const hidden = given.filter(({ row, column }) => !mask[row][column]);
    const [most] = hidden.sort((a, b) => away(b.weight, 0) - away(a.weight, 0));
    return { holds: away(most.weight, 0) <= TOLERANCE, number: most.weight, row: most.row, column: most.column };
  },
  large(use, sets, key, mask) {
    const grown = (points) => points.map((point) => point.map((value) => FAR * value));
    return sums(use, sets.map(grown), grown(key), mask);
  },
};

/** Whether a property holds, with the numbers of the counter-example, or of what came nearest to one. */
export const asked = (property, name, sets, key, mask, numbers) =>
  PROPERTIES[property]((...given) => weightsOf(name, ...given, numbers), sets, key, mask);
