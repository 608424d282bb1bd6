// The transformer of attnlib.output_representations.transformer for one word, with everything that it computes on the
// way: a row for each item, and in it what each head made.

import { attend, contextOf } from "./attend.js";
import { softmax } from "./distributions.js";
import { unpacked } from "./packed.js";
import { scaledDot } from "./scores.js";
import { placed } from "./self_attention.js";
import { dotted } from "./vectors.js";

const EPSILON = 1e-5; // of the norm

const plus = (a, b) => a.map((value, i) => value + b[i]);

/** The model that transformer_model.py packed. */
export const unpackedTransformer = ({ heads, layers, ...stored }) => ({ heads, layers, ...unpacked(stored) });

/** A matrix and its vector: those of a layer, or of one of attention's four parts. Most of the time goes by here, so
 * that all vectors are of one kind. */
function linear(net, name, x) {
  const [rows, made] = [net[`${name}weight`], net[`${name}bias`].slice()];
  for (let i = 0; i < made.length; i += 1) made[i] += dotted(rows[i], x);
  return made;
}

export function norm(net, name, x) {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const spread = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  const root = Math.sqrt(spread + EPSILON);
  const [weight, bias] = [net[`${name}.weight`], net[`${name}.bias`]];
  return x.map((value, i) => ((value - mean) / root) * weight[i] + bias[i]);
}

const split = ({ heads }, vector) => {
  const size = vector.length / heads;
  return Array.from({ length: heads }, (_, h) => vector.slice(h * size, (h + 1) * size));
};

/** What an item is asked by, and what it gives: a part for each head. */
const asked = (net, name, x) => ({
  key: split(net, linear(net, `${name}.key_`, x)),
  value: split(net, linear(net, `${name}.value_`, x)),
});

/** One query to some items: of each head the query, energies, weights (edited) and context, and what all give together. */
function look(net, name, [part, layer], row, asking, items, edit) {
  const heads = split(net, linear(net, `${name}.query_`, asking)).map((query, h) => {
    const [keys, values] = [items.map(({ key }) => key[h]), items.map(({ value }) => value[h])];
    const found = attend(query, keys, values, { score: scaledDot, distribution: softmax });
    const weights = edit(part, layer, h, row, found.weights);
    return {
      query,
      energies: found.energies,
      own: found.weights,
      weights,
      context: weights === found.weights ? found.context : contextOf(weights, values),
    };
  });
  return {
    asking,
    heads,
    items,
    output: linear(net, `${name}.output_`, new Float64Array(heads.flatMap(({ context }) => context))),
  };
}

/** The last part of a layer: it adds to what passes by. */
function fed(net, name, x) {
  const hidden = linear(net, `${name}.expand.`, norm(net, `${name}.norm`, x)).map((value) => Math.max(value, 0));
  return plus(x, linear(net, `${name}.reduce.`, hidden));
}

function entered(net, table, word, t) {
  const vector = net[`${table}.weight`][word];
  return new Float64Array(
    placed(
      Array.from(vector, (value) => value * Math.sqrt(vector.length)),
      t,
    ),
  );
}

const unedited = (part, layer, head, row, weights) => weights;

/** What to change: heads that are off, [[part, layer, head]], and rows that are set, [{ part, layer, head, row, weights }]. */
export function edits(off, rows) {
  if (!off.length && !rows.length) return unedited;
  const gone = new Set(off.map((head) => head.join()));
  const set = new Map(rows.map(({ part, layer, head, row, weights }) => [[part, layer, head, row].join(), weights]));
  return (part, layer, head, row, weights) =>
    gone.has([part, layer, head].join()) ? weights.map(() => 0) : (set.get([part, layer, head, row].join()) ?? weights);
}

/** A row in which one weight is given and the others share the rest as they did; where they had nothing, as in `own`, or evenly. */
export function renormalised(weights, column, value, own = weights) {
  const others = (row) => row.reduce((sum, weight, j) => (j === column ? sum : sum + weight), 0);
  const from = others(weights) > 0 ? weights : own;
  const rest = others(from);
  return from.map((weight, j) =>
    j === column ? value : (1 - value) * (rest > 0 ? weight / rest : 1 / (from.length - 1)),
  );
}

/** What one head adds to what passes by: its columns of the last matrix times its context. */
export function added(net, name, { heads }, h) {
  const { context } = heads[h];
  return net[`${name}.output_weight`].map((row) => dotted(context, row.subarray(h * context.length)));
}

/** Read a word: `layers[i][t]`, what attention made of each letter in each layer, and the states for the decoder. */
export function encode(net, letters, edit = unedited) {
  let x = letters.map((letter, t) => entered(net, "source", letter, t));
  const layers = Array.from({ length: net.layers }, (_, i) => {
    const name = `encoder.${i}`;
    const normed = x.map((each) => norm(net, `${name}.own_norm`, each));
    const items = normed.map((each) => asked(net, `${name}.own`, each));
    const own = normed.map((each, t) => look(net, `${name}.own`, ["encoder", i], t, each, items, edit));
    x = x.map((each, t) => fed(net, name, plus(each, own[t].output)));
    return own;
  });
  return { letters, layers, states: x.map((each) => norm(net, "encoder_norm", each)) };
}

/** The decoder before its first step: what it may look at across, and nothing written. */
export function begin(net, { states }) {
  return Array.from({ length: net.layers }, (_, i) => ({
    own: [],
    across: states.map((state) => asked(net, `decoder.${i}.across`, state)),
  }));
}

/** One step: what attention made of the word at place t, in each layer, and the logits of the next. Adds to `kept`. */
export function step(net, kept, word, t, edit = unedited) {
  let x = entered(net, "target", word, t);
  const layers = kept.map((cache, i) => {
    const name = `decoder.${i}`;
    const normed = norm(net, `${name}.own_norm`, x);
    cache.own.push(asked(net, `${name}.own`, normed));
    const decoder = look(net, `${name}.own`, ["decoder", i], t, normed, [...cache.own], edit);
    x = plus(x, decoder.output);
    const across = look(
      net,
      `${name}.across`,
      ["across", i],
      t,
      norm(net, `${name}.across_norm`, x),
      cache.across,
      edit,
    );
    x = fed(net, name, plus(x, across.output));
    return { decoder, across };
  });
  const last = norm(net, "decoder_norm", x);
  return { layers, last, logits: linear(net, "logits.", last) };
}

/** Say it: the largest logit at each step, until the mark or `longest` words. */
export function greedy(net, encoded, { mark, longest, edit = unedited }) {
  const kept = begin(net, encoded);
  const [said, steps] = [[], []];
  while (said.length < longest && said.at(-1) !== mark) {
    steps.push(step(net, kept, said.at(-1) ?? mark, said.length, edit));
    const { logits } = steps.at(-1);
    said.push(logits.indexOf(Math.max(...logits)));
  }
  return { said, steps };
}
