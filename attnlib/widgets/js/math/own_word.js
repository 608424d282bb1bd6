// RNNsearch and RNNencdec say a word: the same as attnlib.recurrent.rnnsearch with the decoding of a beam of one. Both
// come in pieces: what reads and says is a generator that yields after each letter and each step.

import { decoderStep, sum, unitStep, write } from "./decoder.js";
import { unpacked } from "./packed.js";
import { applied } from "./vectors.js";

const PARTS = {
  embedding: "target_embedding.weight",
  align_state: "align_state.weight",
  align_vector: "align_vector",
  input: "unit.input.weight",
  input_bias: "unit.input.bias",
  gates_recurrent: "unit.gates_recurrent",
  recurrent: "unit.recurrent",
  context: "unit.context.weight",
  output_state: "output_state.weight",
  output_state_bias: "output_state.bias",
  output_word: "output_word.weight",
  output_context: "output_context.weight",
  output: "output.weight",
  output_bias: "output.bias",
};

/** A network that own_word_model.py packed. */
export function network({ model, ...stored }) {
  const found = unpacked(stored);
  const unit = (name) => ({
    input: found[`${name}.input.weight`],
    bias: found[`${name}.input.bias`],
    gates_recurrent: found[`${name}.gates_recurrent`],
    recurrent: found[`${name}.recurrent`],
  });
  return {
    searches: model === "RNNsearch",
    decoder: Object.fromEntries(Object.entries(PARTS).map(([name, part]) => [name, found[part]])),
    forwards: unit("forwards"),
    backwards: model === "RNNsearch" ? unit("backwards") : null,
    letters: found["source_embedding.weight"],
    align_annotation: found["align_annotation.weight"],
    start: [found["start.weight"], found["start.bias"]],
  };
}

/** Read a word: what the decoder keeps of it. RNNencdec reads forwards alone, and keeps the last state. */
export const read = function* ({ searches, forwards, backwards, letters, align_annotation, start }, word) {
  const reader = (unit) => ({ unit, states: [], state: Array(unit.recurrent.length).fill(0) });
  function hear(each, j) {
    const { unit } = each;
    each.state = unitStep(unit, sum(applied(unit.input, letters[word[j]]), unit.bias), each.state).after;
    each.states[j] = each.state;
  }
  const first = (kept) => sum(applied(start[0], kept), start[1]).map(Math.tanh);
  const [forth, back] = [reader(forwards), searches ? reader(backwards) : null];
  for (let j = 0; j < word.length; j += 1) {
    hear(forth, j);
    if (back) hear(back, word.length - 1 - j);
    yield;
  }
  if (!back) return { context: forth.state, start: first(forth.state) };
  const annotations = forth.states.map((state, j) => [...state, ...back.states[j]]);
  return {
    annotations,
    projected: annotations.map((each) => applied(align_annotation, each)),
    start: first(back.state),
  };
};

/**
 * Say what was read: the likeliest sound at each step, until the mark or `longest` of them. `told(step)` hears of each
 * step, `change(t, weights)` may put other weights in the place of its own.
 */
export const say = function* ({ searches, decoder }, kept, { mark, longest, told, change = (_, weights) => weights }) {
  let [state, last] = [kept.start, mark];
  for (let t = 0; t < longest && (t === 0 || last !== mark); t += 1) {
    const step = searches
      ? decoderStep(decoder, kept, state, last, (weights) => change(t, weights))
      : write(decoder, state, last, kept.context);
    [state, last] = [step.after, step.logits.indexOf(Math.max(...step.logits))];
    told({ ...step, sound: last });
    yield;
  }
};

/** Weights at step t as moves leave them, [{ row, letter, to }]: what a letter has of its own goes to another. */
export function moved(moves, t, own) {
  const here = moves.filter(({ row, letter, to }) => row === t && letter < own.length && to < own.length);
  if (!here.length) return own;
  const weights = [...own];
  for (const { letter } of here) weights[letter] -= own[letter];
  for (const { letter, to } of here) weights[to] += own[letter];
  return weights;
}

export const even = (own) => own.map(() => 1 / own.length);

/**
 * Sounds against the nearest of some ways to say a word: how many must be put in, taken out or exchanged, and the places
 * of those that are extra or others. Of ways that are as near, the first.
 */
export function apart(said, ways) {
  const against = (wanted) => {
    const cost = Array.from({ length: said.length + 1 }, (_, i) => [i]);
    for (let j = 1; j <= wanted.length; j += 1) {
      cost[0][j] = j;
      for (let i = 1; i <= said.length; i += 1)
        cost[i][j] = Math.min(
          cost[i - 1][j] + 1,
          cost[i][j - 1] + 1,
          cost[i - 1][j - 1] + (said[i - 1] !== wanted[j - 1]),
        );
    }
    let [i, j] = [said.length, wanted.length];
    const places = [];
    while (i || j) {
      const other = i && j ? said[i - 1] !== wanted[j - 1] : null;
      if (other !== null && cost[i][j] === cost[i - 1][j - 1] + other) {
        [i, j] = [i - 1, j - 1];
        if (other) places.unshift(i);
      } else if (i && cost[i][j] === cost[i - 1][j] + 1) places.unshift((i -= 1));
      else j -= 1;
    }
    return { count: cost[said.length][wanted.length], places };
  };
  return ways.map(against).reduce((best, each) => (each.count < best.count ? each : best));
}

/** What was typed as a word of known letters, { word }, or why it is none, { refusal }. */
export function asWord(text, letters, most) {
  const word = text.length > 1000 ? text : text.trim().toLowerCase();
  if (!word) return { refusal: "Type a word." };
  const odd = [...new Set(word.slice(0, 1000))].filter((sign) => !letters.includes(sign));
  const named = odd.slice(0, 3).map((sign) => (/\s/.test(sign) ? "a space" : `“\u2068${sign}\u2069”`));
  const all = named.length > 1 ? `${named.slice(0, -1).join(", ")} and ${named.at(-1)}` : named[0];
  if (word.length > most)
    return { refusal: `At most ${most} letters are read, and these are ${word.length.toLocaleString("en")}.` };
  if (odd.length)
    return { refusal: `Only the letters a to z are read, and not ${all}${odd.length > 3 ? " and others" : ""}.` };
  return { word };
}
