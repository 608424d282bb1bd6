// DecoderStepper: a tiny RNNsearch writes a translation. The page computes every step itself, so that any word may be
// forced and the decoding goes on from it.

import { button, choice, toggle } from "../js/controls.js";
import { html, pool, write } from "../js/dom.js";
import { decoderStep } from "../js/math/decoder.js";
import { largest, steps, trail, vectors } from "../js/stepper.js";
import { gauge, table } from "../js/table.js";
import { number, share } from "../js/text.js";

const [BOS, EOS] = [1, 2]; // as in attnlib.data
const SHOWN = 5; // of the next words
const VECTORS = {
  after: "3. Renew: the state sₜ, from −1 to 1. Outlines, here and above: a step before.",
  context: "Context cₜ = Σ αₜⱼ hⱼ, read forwards, then backwards",
  update: "Update gate zₜ: 1 takes the candidate, 0 keeps the state",
  reset: "Reset gate rₜ: 0 hides the state from the candidate",
  candidate: "Candidate s̃ₜ: tanh of word, context and rₜ ∘ sₜ₋₁",
  before: "State before, sₜ₋₁: what the energies ask with",
};
const LOOK = "1. Look: α = softmax(v · tanh(W s + U h))";
const WRITE = "2. Write: press a word to have it written";

/** The likeliest next words, each a button that writes it, and a list of all others. */
function nextWords(known, onWord) {
  const list = html("ul", { class: "attnlib-decoder-next", "aria-label": "Likeliest next words" });
  const items = pool(list, (i) => {
    const item = { word: "", value: html("span", { class: "attnlib-value" }), bar: gauge() };
    item.button = button({ label: "", onClick: () => item.word && onWord(item.word) });
    item.node = html("li", { "data-best": i === 0 }, item.button.node, item.value, item.bar.node);
    return item;
  });
  const others = choice({ label: "Or force", onInput: (word) => word && onWord(word) });
  const options = [["", "another word"], ...known.slice(EOS).map((word) => [word, word])];
  const force = html("div", { class: "attnlib-decoder-force" }, others.node);
  const head = html("div", { class: "attnlib-steps-note", text: WRITE });
  return {
    node: html("div", {}, head, list, force),
    update({ probabilities }, full) {
      const order = known.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
      items(SHOWN).forEach((item, i) => {
        item.word = order[i] >= EOS && !full ? known[order[i]] : "";
        item.button.update({ label: known[order[i]], disabled: item.word === "" });
        write(item.value, { text: share(probabilities[order[i]]) });
        item.bar.update(probabilities[order[i]]);
      });
      others.update("", { options, disabled: full });
    },
  };
}

function build(view, first) {
  let current = first;
  const { decoder, sentences, target_words: known } = view.data;
  const [[, , most]] = view.schema.words.shape;
  const ended = (words) => words.at(-1) === known[EOS];
  const full = (words) => words.length >= most || ended(words);
  /** Every step up to the one that is shown; each knows the state before it and the likeliest word to write. */
  function decode({ index, words }) {
    const made = [];
    for (let t = 0; t < words.length + (ended(words) ? 0 : 1); t += 1) {
      const before = t ? made[t - 1].after : sentences[index].start;
      const step = decoderStep(decoder, sentences[index], before, t ? known.indexOf(words[t - 1]) : BOS);
      made.push({ ...step, before, likeliest: known[EOS + largest(step.probabilities.slice(EOS))] });
    }
    return made;
  }
  function written(words) {
    current = { ...current, words };
    view.set({ words });
    return words.length;
  }
  function walk(count) {
    let words = current.words.slice(0, count);
    while (words.length < count && !full(words)) words = [...words, decode({ ...current, words }).at(-1).likeliest];
    return written(words);
  }
  const sentence = choice({ label: "Sentence", onInput: (value) => view.set({ index: Number(value), words: [] }) });
  const options = sentences.map(({ source }, i) => [i, source.slice(0, -1).join(" ")]);
  const exact = toggle({ label: "Every vector, in numbers", onInput: (numbers) => view.set({ numbers }) });
  const line = trail({ label: "Written so far" });
  const columns = ["Source hⱼ", "Weight αₜⱼ", "Energy eₜⱼ"];
  const source = table({ columns, caption: LOOK, bars: 1, kind: "attnlib-looks" });
  const words = nextWords(known, (word) => full(current.words) || written([...current.words, word]));
  const parts = vectors(VECTORS);
  const control = steps({ forward: "Take the best word", onWalk: walk });
  view.root.append(
    html("div", { class: "attnlib-controls attnlib-decoder-top" }, sentence.node, exact.node),
    line.node,
    view.caption,
    html("div", { class: "attnlib-two" }, source.node, words.node),
    parts.node,
    control.node,
  );

  return (state) => {
    current = state;
    const made = decode(state);
    const [step, last] = [made.at(-1), made.at(-2)];
    const { source: read } = sentences[state.index];
    const done = ended(state.words);
    sentence.update(state.index, { options });
    exact.update(state.numbers);
    control.update(state.words.length, full(state.words));
    const trodden = state.words.map((text, t) => {
      const odd = made[t].likeliest !== text;
      return { text, odd, note: odd ? `forced, not ${made[t].likeliest}` : "" };
    });
    line.update(done ? trodden : [...trodden, { text: "?", blank: true }]);
    const j = largest(step.weights);
    source.update(
      read.map((word, i) => [
        word,
        { text: share(step.weights[i]), part: step.weights[i], before: last?.weights[i] ?? 0 },
        number(step.energies[i], 3),
      ]),
      { shown: (i) => i === j },
    );
    words.update(step, full(state.words));
    parts.update(step, state.numbers);
    const after = last ? state.words[made.length - 2] : known[BOS];
    const best = share(step.probabilities[known.indexOf(step.likeliest)]);
    view.news(
      `Step ${made.length}, after “${after}”: most weight on “${read[j]}” (${share(step.weights[j])}); ` +
        `likeliest word “${step.likeliest}” (${best}).${done ? " The sentence is ended." : ""}`,
    );
  };
}

const unnamed = "Your own words";
const hint = "Write a word that is not the likeliest one: when do the weights follow?";

export default { build, unnamed, hint, inSight: true };
