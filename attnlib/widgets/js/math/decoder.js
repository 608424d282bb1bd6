// The decoder of attnlib.recurrent.rnnsearch, one step at a time.

import { contextOf } from "./attend.js";
import { softmax } from "./distributions.js";
import { applied, dotted, logistic } from "./vectors.js";

export const sum = (first, ...others) =>
  first.map((value, i) => others.reduce((total, other) => total + other[i], value));

/** One step of a gated unit: `read` is what the inputs add to both gates and the candidate. */
export function unitStep({ gates_recurrent, recurrent }, read, state) {
  const n = state.length;
  const gates = sum(applied(gates_recurrent, state), read).map(logistic);
  const [update, reset] = [gates.slice(0, n), gates.slice(n)];
  const kept = state.map((value, i) => reset[i] * value);
  const candidate = sum(applied(recurrent, kept), read.slice(2 * n)).map(Math.tanh);
  const after = state.map((value, i) => (1 - update[i]) * value + update[i] * candidate[i]);
  return { update, reset, candidate, after };
}

/** What a context makes of a state and the word before: the gated unit and the deep output. */
export function write(decoder, state, word, context) {
  const embedded = decoder.embedding[word];
  const read = sum(applied(decoder.input, embedded), decoder.input_bias, applied(decoder.context, context));
  const deep = sum(
    applied(decoder.output_state, state),
    decoder.output_state_bias,
    applied(decoder.output_word, embedded),
    applied(decoder.output_context, context),
  );
  const largest = deep.flatMap((value, i) => (i % 2 ? [] : [Math.max(value, deep[i + 1])]));
  const logits = sum(applied(decoder.output, largest), decoder.output_bias);
  return { ...unitStep(decoder, read, state), logits, probabilities: softmax(logits) };
}

/**
 * One step of RNNsearch's decoder: the alignment model, the gated unit and the deep output. `decoder`
 * holds its matrices, `sentence` the annotations h_j and what the alignment model reads of them, U_a h_j; `change` may
 * put other weights in the place of its `own`.
 */
export function decoderStep(decoder, { annotations, projected }, state, word, change = (weights) => weights) {
  const asked = applied(decoder.align_state, state);
  const energies = projected.map((key) =>
    dotted(
      decoder.align_vector,
      key.map((value, i) => Math.tanh(value + asked[i])),
    ),
  );
  const own = softmax(energies);
  const weights = change(own);
  const context = contextOf(weights, annotations);
  return { energies, own, weights, context, ...write(decoder, state, word, context) };
}
