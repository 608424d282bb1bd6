// DecoderStepper: a tiny RNNsearch writes a translation. The page computes every step itself, so that any word may be
// forced and the decoding goes on from it.

import { button, choice, toggle } from "../js/controls.js";
import { html, pool, write } from "../js/dom.js";
import { decoderStep } from "../js/math/decoder.js";
import { largest, looks, shareBar, steps, trail, vectors } from "../js/stepper.js";
import { number, share } from "../js/text.js";

const [BOS, EOS] = [1, 2]; // as in attnlib.data
const SHOWN = 6; // of the next words
const VECTORS = {
  before: ["State before, sₜ₋₁", "what the energies ask with"],
  context: ["Context, cₜ = Σ αₜⱼ hⱼ", "read forwards, then backwards"],
  update: ["Update gate, zₜ", "1 takes the candidate, 0 keeps the state"],
  reset: ["Reset gate, rₜ", "0 hides the state from the candidate"],
  candidate: ["Candidate, s̃ₜ", "tanh of word, context and rₜ ∘ sₜ₋₁"],
  after: ["New state, sₜ", "(1 − zₜ) ∘ sₜ₋₁ + zₜ ∘ s̃ₜ"],
};
const LOOK = "1. Look: e = v · tanh(W s + U h), weights by softmax. Outline: a step before.";
const WRITE = "2. Write: maxout of state, word before and context, then softmax. Press a word to write it.";

const ended = ({ words, target_words: known }) => words.length > 0 && words.at(-1) === known[EOS];

/** Every step up to the one that is shown; each knows the state before it and the likeliest word to write. */
function decode(state) {
  const { decoder, target_words: known, words } = state;
  const sentence = state.sentences[state.index];
  const made = [];
  for (let t = 0; t < words.length + (ended(state) ? 0 : 1); t += 1) {
    const before = t ? made[t - 1].after : sentence.start;
    const step = decoderStep(decoder, sentence, before, t ? known.indexOf(words[t - 1]) : BOS);
    made.push({ ...step, before, likeliest: known[EOS + largest(step.probabilities.slice(EOS))] });
  }
  return made;
}

/** The likeliest next words, each a button that writes it, and a list of all others. */
function nextWords(onWord) {
  const list = html("ul", { class: "attnlib-decoder-next", "aria-label": "Likeliest next words" });
  const items = pool(list, (i) => {
    const item = { word: "", value: html("span", { class: "attnlib-value" }), bar: shareBar("attnlib-decoder-share") };
    item.button = button({ label: "", onClick: () => item.word && onWord(item.word) });
    item.node = html("li", { "data-best": i === 0 }, item.button.node, item.value, item.bar.node);
    return item;
  });
  const others = choice({ label: "Or force another word", onInput: (word) => word && onWord(word) });
  return {
    node: html("div", {}, html("p", { class: "attnlib-steps-note", text: WRITE }), list, others.node),
    update({ target_words: known }, { probabilities }, full) {
      const order = known.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
      items(Math.min(SHOWN, known.length)).forEach((item, i) => {
        item.word = order[i] >= EOS && !full ? known[order[i]] : "";
        item.button.update({ label: known[order[i]], disabled: item.word === "" });
        write(item.value, { text: share(probabilities[order[i]]) });
        item.bar.update(probabilities[order[i]]);
      });
      const options = [["", "Choose a word"], ...known.slice(EOS).map((word) => [word, word])];
      others.update("", { options, disabled: full });
    },
  };
}

function build(view, first) {
  let current = first;
  const [[, , most]] = view.schema.words.shape;
  const full = (words) => words.length >= most || ended({ ...current, words });
  function written(words) {
    current = { ...current, words };
    view.set({ words }); // the same words too: a slider that went too far comes back
    return words.length;
  }
  function walk(count) {
    let words = current.words.slice(0, count);
    while (words.length < count && !full(words)) words = [...words, decode({ ...current, words }).at(-1).likeliest];
    return written(words);
  }
  const sentence = choice({ label: "Sentence", onInput: (value) => view.set({ index: Number(value), words: [] }) });
  const control = steps({ label: "Words written", most, forward: "Take the best word", onWalk: walk });
  const line = trail({ label: "Written so far" });
  const source = looks({ columns: ["Source hⱼ", "Energy eₜⱼ", "Weight αₜⱼ"], caption: LOOK });
  const words = nextWords((word) => full(current.words) || written([...current.words, word]));
  const parts = vectors(VECTORS);
  const exact = toggle({ label: "Show every number", onInput: (numbers) => view.set({ numbers }) });
  const note = html("p", { class: "attnlib-steps-note", text: "3. Renew the state. Bars reach from −1 to 1." });
  view.root.append(html("div", { class: "attnlib-controls" }, sentence.node, ...control.nodes), line.node, view.caption,
    html("div", { class: "attnlib-two" }, source.node, words.node), note, parts.node, exact.node);

  return (state) => {
    current = state;
    const made = decode(state);
    const [step, last] = [made.at(-1), made.at(-2)];
    const { source: read } = state.sentences[state.index];
    const [count, done] = [state.words.length, ended(state)];
    const options = state.sentences.map((each, i) => [i, each.source.slice(0, -1).join(" ")]);
    sentence.update(state.index, { options });
    control.update(count, { done: full(state.words), note: `${count}${done ? ", the end" : `, step ${count + 1}`}` });
    const trodden = state.words.map((text, t) => {
      const odd = made[t].likeliest !== text;
      return { text, odd, note: odd ? `forced, not ${made[t].likeliest}` : "" };
    });
    line.update(done ? trodden : [...trodden, { text: "?", blank: true }]);
    source.update(read.map((word, j) => ({ texts: [word, number(step.energies[j], 3), share(step.weights[j])],
      share: step.weights[j], before: last?.weights[j] })));
    words.update(state, step, full(state.words));
    parts.update(step, state.numbers);
    exact.update(state.numbers);
    const j = largest(step.weights);
    const after = last ? state.words[made.length - 2] : state.target_words[BOS];
    const best = share(step.probabilities[state.target_words.indexOf(step.likeliest)]);
    view.news(`Step ${made.length}, after “${after}”: most weight on “${read[j]}” (${share(step.weights[j])}); `
      + `likeliest word “${step.likeliest}” (${best}).${done ? " The sentence is ended." : ""}`);
  };
}

const unnamed = "Your own words";
const hint = "Write a word that is not the likeliest one: when do the weights follow?";

export default { build, unnamed, hint };
