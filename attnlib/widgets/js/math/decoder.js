// The decoder of attnlib.recurrent.rnnsearch, one step at a time.

import { contextOf } from "./attend.js";
import { softmax } from "./distributions.js";
import { applied, dotted, logistic } from "./vectors.js";

/**
 * One step of RNNsearch's decoder: the alignment model, the gated unit and the deep output. `decoder`
 * holds its matrices, `sentence` the annotations h_j and what the alignment model reads of them, U_a h_j.
 */
export function decoderStep(decoder, { annotations, projected }, state, word) {
  const sum = (first, ...others) => first.map((value, i) => others.reduce((total, other) => total + other[i], value));
  const n = state.length;
  const embedded = decoder.embedding[word];
  const asked = applied(decoder.align_state, state);
  const energies = projected.map((key) =>
    dotted(
      decoder.align_vector,
      key.map((value, i) => Math.tanh(value + asked[i])),
    ),
  );
  const weights = softmax(energies);
  const context = contextOf(weights, annotations);
  const read = sum(applied(decoder.input, embedded), decoder.input_bias, applied(decoder.context, context));
  const gates = sum(applied(decoder.gates_recurrent, state), read).map(logistic);
  const [update, reset] = [gates.slice(0, n), gates.slice(n)];
  const kept = state.map((value, i) => reset[i] * value);
  const candidate = sum(applied(decoder.recurrent, kept), read.slice(2 * n)).map(Math.tanh);
  const after = state.map((value, i) => (1 - update[i]) * value + update[i] * candidate[i]);
  const deep = sum(
    applied(decoder.output_state, state),
    decoder.output_state_bias,
    applied(decoder.output_word, embedded),
    applied(decoder.output_context, context),
  );
  const largest = deep.flatMap((value, i) => (i % 2 ? [] : [Math.max(value, deep[i + 1])]));
  const logits = sum(applied(decoder.output, largest), decoder.output_bias);
  return { energies, weights, context, update, reset, candidate, after, logits, probabilities: softmax(logits) };
}
