// The task of TrainItHere: to write a row of letters backwards. Rows have different lengths and are filled up with a
// padding that is one letter more.

import { seedOf, uniform } from "./chance.js";

export const SIZES = { letters: 8, longest: 8, shortest: 4, size: 16, hidden: 16, halfWidth: 2 };
export const BATCH = 16;

/** A row of letters by number, filled up, and its length; the answer is the same from its end. */
function row({ letters, longest }, length, next) {
  const places = Array.from({ length: longest }, (_, s) => (s < length ? Math.floor(letters * next()) : letters));
  return { letters: places, length };
}

/** The rows of a step, and the numbers by which hard attention draws in them. Step 0 is the first. */
export function batch(sizes, seed, step) {
  const next = uniform(seedOf(seed, step));
  const { shortest, longest } = sizes;
  const length = () => shortest + Math.floor((longest - shortest + 1) * next());
  const rows = Array.from({ length: BATCH }, () => row(sizes, length(), next));
  const draws = rows.map((each) => Array.from({ length: each.length }, next));
  return { rows, draws };
}

/** The row that is shown, two places short of the longest, each letter but once; no step has it by design. */
export function example(sizes, seed) {
  const next = uniform(seedOf(seed, -2));
  const length = sizes.longest - 2;
  const left = Array.from({ length: sizes.letters }, (_, letter) => letter);
  const chosen = Array.from({ length }, () => left.splice(Math.floor(left.length * next()), 1)[0]);
  return { letters: Array.from({ length: sizes.longest }, (_, s) => chosen[s] ?? sizes.letters), length };
}
