// Layers as a trait of weights.py holds them.

import { applied } from "./vectors.js";

/** A layer with its rows as numbers: a scale each times whole numbers of 16 bits, the low byte first. */
export function unpackedLayer({ weight, scale, bias }) {
  const view = new DataView(Uint8Array.from(atob(weight), (letter) => letter.charCodeAt(0)).buffer);
  const inputs = view.byteLength / 2 / scale.length;
  const row = (_, i) =>
    Float64Array.from({ length: inputs }, (__, j) => scale[i] * view.getInt16(2 * (i * inputs + j), true));
  return { rows: scale.map(row), bias };
}

export function linear({ rows, bias }, vector) {
  const found = applied(rows, vector);
  return bias.length ? found.map((value, i) => value + bias[i]) : found;
}
