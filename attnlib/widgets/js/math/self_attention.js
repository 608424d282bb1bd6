// Self-attention with one head, and positions, as in attnlib.input_representations; and a vector for any word.

import { attend } from "./attend.js";
import { softmax } from "./distributions.js";
import { scaledDot } from "./scores.js";
import { applied } from "./vectors.js";

const BASE = 10000;
const angle = (t, i, size) => t / BASE ** ((2 * i) / size);
const pairs = (vector, put) =>
  Array.from({ length: vector.length / 2 }, (_, i) => put(vector[2 * i], vector[2 * i + 1], i)).flat();

/** The vector with the sinusoids of place t added. */
export const placed = (vector, t) =>
  pairs(vector, (x, y, i) => [x + Math.sin(angle(t, i, vector.length)), y + Math.cos(angle(t, i, vector.length))]);

/** The vector with each pair of components turned by the angle of place t. */
export function rotate(vector, t) {
  return pairs(vector, (x, y, i) => {
    const [cos, sin] = [Math.cos(angle(t, i, vector.length)), Math.sin(angle(t, i, vector.length))];
    return [x * cos - y * sin, x * sin + y * cos];
  });
}

/** A row of energies, weights and context for each input; weights are [rows][inputs], positions none, added or rotary. */
export function selfAttention(vectors, { query, key, value, positions = "none", isCausal = false }) {
  const inputs = positions === "added" ? vectors.map(placed) : vectors;
  const turned = (vector, t) => (positions === "rotary" ? rotate(vector, t) : vector);
  const keys = inputs.map((x, t) => turned(applied(key, x), t));
  const values = inputs.map((x) => applied(value, x));
  return inputs.map((x, t) => {
    const mask = inputs.map((_, j) => !isCausal || j <= t);
    const found = attend(turned(applied(query, x), t), keys, values, { score: scaledDot, distribution: softmax, mask });
    return { ...found, mask };
  });
}

/** A point of the plane for a word, 1 to 2 from the middle: always the same for the same letters, and no more than that. */
export function wordVector(word) {
  let hash = 2166136261;
  for (const letter of word.toLowerCase()) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 2246822507) >>> 0;
  hash = (hash ^ (hash >>> 13)) >>> 0;
  const [turn, length] = [(2 * Math.PI * (hash % 1024)) / 1024, 1 + ((hash >>> 10) % 1024) / 1024];
  return [Math.cos(turn), Math.sin(turn)].map((part) => Number((length * part).toFixed(2)));
}
