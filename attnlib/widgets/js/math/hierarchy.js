// Hierarchical attention of attnlib.input_representations.hierarchical, for one document, with a classifier on top.

import { softmax } from "./distributions.js";
import { dotted, logistic } from "./vectors.js";
import { linear, unpackedLayer } from "./weights.js";

const UNKNOWN = 3; // the number of all words that the model does not know
const TOKEN = /[\p{L}\p{N}_]+(?:['’-][\p{L}\p{N}_]+)*|[^\p{L}\p{N}_\s]/gu;

/** Words and marks of a text as it stands, with the gaps before them: [{ gap, text }, ...]. */
export function pieces(text) {
  let end = 0;
  return [...text.matchAll(TOKEN)].map((match) => {
    const gap = text.slice(end, match.index);
    end = match.index + match[0].length;
    return { gap, text: match[0] };
  });
}

export const tokenise = (text) => pieces(text.toLowerCase()).map((piece) => piece.text);

/** The model that hierarchy_model.py packed, its words by number. */
export function network({ words, layers }) {
  const found = Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, unpackedLayer(layer)]));
  return { index: new Map(words.map((word, i) => [word, i])), done: new Map(), ...found };
}

/** The number of a word; of one that is not known, or that is written like a special one, that of all these. */
export const numberOf = ({ index }, word) => Math.max(index.get(word) ?? UNKNOWN, UNKNOWN);

/** The states of a gated unit that starts from noughts, one an input. */
function states(input, recurrent, inputs) {
  const n = recurrent.rows.length / 3;
  let state = Array(n).fill(0);
  return inputs.map((vector) => {
    const [a, b] = [linear(input, vector), linear(recurrent, state)];
    state = state.map((before, i) => {
      const update = logistic(a[n + i] + b[n + i]);
      return (1 - update) * Math.tanh(a[2 * n + i] + logistic(a[i] + b[i]) * b[2 * n + i]) + update * before;
    });
    return state;
  });
}

/** One level: read both ways, weigh (or not, if all is to be even), add up. */
function level(net, name, inputs, even) {
  const forth = states(net[`${name}_forth_input`], net[`${name}_forth_state`], inputs);
  const back = states(net[`${name}_back_input`], net[`${name}_back_state`], [...inputs].reverse()).reverse();
  const annotations = forth.map((state, t) => [...state, ...back[t]]);
  const [context] = net[`${name}_context`].rows;
  const energies = annotations.map((each) =>
    even ? 0 : dotted(context, linear(net[`${name}_hidden`], each).map(Math.tanh)),
  );
  const weights = energies.length ? softmax(energies) : [];
  const sum = Array(2 * (net[`${name}_forth_state`].rows.length / 3)).fill(0);
  annotations.forEach((each, t) => each.forEach((value, i) => (sum[i] += weights[t] * value)));
  return { weights, sum };
}

/** What the lower level makes of a text; of the last ones it is kept, since a reader changes one at a time. */
function sentence(net, text, even) {
  const key = `${even} ${text}`;
  if (!net.done.has(key)) {
    const numbers = tokenise(text).map((word) => numberOf(net, word));
    const vectors = numbers.map((number) => net.vectors.rows.map((row) => row[number]));
    const found = numbers.length ? level(net, "words", vectors, even) : { weights: [], sum: null };
    if (net.done.size > 99) net.done.clear();
    net.done.set(key, { ...found, known: numbers.map((number) => number !== UNKNOWN) });
  }
  return net.done.get(key);
}

/** What the model makes of texts, a sentence each; one without words has no weight. `even`: all weights are alike. */
export function read(net, texts, even = false) {
  const lower = texts.map((text) => sentence(net, text, even));
  const upper = level(net, "sentences", lower.map(({ sum }) => sum).filter(Boolean), even);
  const shares = [...upper.weights];
  const sentences = lower.map(({ sum }) => (sum ? shares.shift() : 0));
  const [energy] = linear(net.answer, upper.sum);
  const [words, known] = ["weights", "known"].map((part) => lower.map((each) => each[part]));
  return { energy, positive: logistic(energy), sentences, words, known };
}
