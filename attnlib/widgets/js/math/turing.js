// The heads of a neural Turing machine, and the machine, as in attnlib.frontiers: a memory is a list of rows.

import { softmax } from "./distributions.js";
import { similarity } from "./scores.js";
import { logistic } from "./vectors.js";
import { linear, unpackedLayer } from "./weights.js";

const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const sum = (values) => values.reduce((a, b) => a + b, 0);

export const contentWeights = (key, memory, strength) =>
  softmax(similarity(key, memory).map((found) => strength * found));
export const interpolated = (content, previous, gate) =>
  content.map((weight, i) => gate * weight + (1 - gate) * previous[i]);

/** A circular convolution: the columns of `shift` stand for steps from -S to S, and a step of 1 goes to the next row. */
export function shifted(weights, shift) {
  const [n, reach] = [weights.length, (shift.length - 1) / 2];
  const from = (i, column) => weights[(((i - (column - reach)) % n) + n) % n];
  return weights.map((_, i) => sum(shift.map((part, column) => part * from(i, column))));
}

export function sharpened(weights, sharpness) {
  const top = Math.max(...weights) || 1;
  const raised = weights.map((weight) => (weight / top) ** sharpness);
  const total = sum(raised) || 1;
  return raised.map((weight) => weight / total);
}

/** All four steps of a head. */
export function address({ key, strength, gate, shift, sharpness }, memory, previous) {
  const content = contentWeights(key, memory, strength);
  const gated = interpolated(content, previous, gate);
  const moved = shifted(gated, shift);
  return { content, gated, moved, weights: sharpened(moved, sharpness) };
}

export const read = (memory, weights) =>
  memory[0].map((_, j) => sum(weights.map((weight, i) => weight * memory[i][j])));
export const written = (memory, weights, erase, add) =>
  memory.map((row, i) => row.map((value, j) => value * (1 - weights[i] * erase[j]) + weights[i] * add[j]));

/** A machine that a trait holds, as numbers: a head that reads, one that writes, a reach of 1. */
export function machine({ rows, layers }) {
  const net = Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, unpackedLayer(layer)]));
  return {
    ...net,
    count: rows,
    bits: net.output.rows.length,
    size: net.output.rows[0].length - net.controller.rows.length,
  };
}

/** What a head is told: key, strength, gate, shift and sharpness, from numbers one after the other. */
function told(numbers, size) {
  const [strength, gate, , , , sharpness] = numbers.slice(size);
  const shift = softmax(numbers.slice(size + 2, size + 5));
  return {
    key: numbers.slice(0, size),
    strength: softplus(strength),
    gate: logistic(gate),
    shift,
    sharpness: 1 + softplus(sharpness),
  };
}

/** A step: the state after it, what comes out, and for the head that reads and the one that writes what it is told. */
export function step(net, input, { memory, weights, reads }) {
  const said = linear(net.controller, [...input, ...reads]).map(Math.tanh);
  const numbers = linear(net.heads, said);
  const heads = [numbers.slice(0, net.size + 6), numbers.slice(net.size + 6)].map((part) => told(part, net.size));
  const looks = heads.map((head, i) => address(head, memory, weights[i]).weights);
  const change = linear(net.writing, said);
  const after = written(memory, looks[1], change.slice(0, net.size).map(logistic), change.slice(net.size));
  const seen = read(after, looks[0]);
  return {
    memory: after,
    weights: looks,
    reads: seen,
    heads,
    output: linear(net.output, [...said, ...seen]).map(logistic),
  };
}

/** All steps over a pattern: its rows of bits, a mark, and nothing for as many steps. */
export function copied(net, pattern) {
  const none = Array.from({ length: net.bits }, () => 0);
  const inputs = [...pattern.map((bits) => [...bits, 0]), [...none, 1], ...pattern.map(() => [...none, 0])];
  const memory = Array.from({ length: net.count }, () => Array.from({ length: net.size }, () => 1e-6));
  const first = memory.map((_, i) => (i ? 0 : 1));
  let state = { memory, weights: [first, first], reads: read(memory, first) };
  return inputs.map((input) => (state = step(net, input, state)));
}
