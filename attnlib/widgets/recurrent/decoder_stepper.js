// DecoderStepper: a tiny RNNsearch writes a translation. The page computes every step itself, so that any word may be
// forced and the decoding goes on from it.

import { button, choice, slider, toggle } from "../js/controls.js";
import { html, pool, svg, uid, write } from "../js/dom.js";
import { decoderStep } from "../js/math/decoder.js";
import { number } from "../js/text.js";

const [BOS, EOS] = [1, 2];
const MAX_WORDS = 12;
const SHOWN = 6; // of the next words
const VECTORS = {
  before: ["State before, sₜ₋₁", "what the energies ask with"],
  context: ["Context, cₜ = Σ αₜⱼ hⱼ", "read forwards, then backwards"],
  update: ["Update gate, zₜ", "1 takes the candidate, 0 keeps the state"],
  reset: ["Reset gate, rₜ", "0 hides the state from the candidate"],
  candidate: ["Candidate, s̃ₜ", "tanh of word, context and rₜ ∘ sₜ₋₁"],
  after: ["New state, sₜ", "(1 − zₜ) ∘ sₜ₋₁ + zₜ ∘ s̃ₜ"],
};

const ended = ({ words, target_words: known }) => words.length > 0 && words.at(-1) === known[EOS];
/** The likeliest word that can be written: neither padding nor the mark of beginning. */
const likeliest = (probabilities) => EOS + best(probabilities.slice(EOS));
const share = (value) => (value > 0 && value < 0.0005 ? "< 0.001" : number(value, 3));
const best = (values) => values.indexOf(Math.max(...values));

/** Every step up to the one that is shown; each knows the state before it, what it wrote, and what it would have. */
function decode(state) {
  const { decoder, target_words: known } = state;
  const sentence = state.sentences[state.index];
  const count = state.words.length + (ended(state) ? 0 : 1);
  const steps = [];
  for (let t = 0; t < count; t += 1) {
    const before = t ? steps[t - 1].after : sentence.start;
    const word = t ? known.indexOf(state.words[t - 1]) : BOS;
    const step = decoderStep(decoder, sentence, before, word);
    steps.push({ ...step, before, likeliest: known[likeliest(step.probabilities)], written: state.words[t] });
  }
  return steps;
}

/** What was written, word by word; a word that was not the likeliest one is marked. */
function writtenLine() {
  const list = html("ol", { class: "attnlib-step-written", "aria-label": "Written so far" });
  const items = pool(list, () => {
    const word = html("span");
    const note = html("span", { class: "attnlib-step-forced" });
    return { node: html("li", {}, word, note), word, note };
  });
  return {
    node: list,
    update(state, steps) {
      const open = ended(state) ? 0 : 1;
      items(state.words.length + open).forEach(({ node, word, note }, t) => {
        const blank = t === state.words.length;
        const forced = !blank && steps[t].likeliest !== state.words[t];
        write(node, { "data-blank": blank, "data-forced": forced });
        write(word, { text: blank ? "?" : state.words[t] });
        write(note, { text: forced ? ` forced, not ${steps[t].likeliest}` : "", hidden: !forced });
      });
    },
  };
}

/** Source words with energy and weight; an outline stands where the weight was a step before. */
function sourceTable() {
  const body = html("tbody");
  const rows = pool(body, () => {
    const head = html("th", { scope: "row" });
    const [energy, weight] = [0, 1].map(() => html("td", { class: "attnlib-number" }));
    const bar = html("span", { class: "attnlib-step-bar" });
    const ghost = html("span", { class: "attnlib-step-ghost" });
    const track = html("td", { class: "attnlib-step-cell" }, html("span", { class: "attnlib-step-track", "aria-hidden": "true" }, bar, ghost));
    return { node: html("tr", {}, head, energy, weight, track), head, energy, weight, bar, ghost };
  });
  const columns = ["Source hⱼ", "Energy eₜⱼ", "Weight αₜⱼ"].map((text, i) => html("th", { scope: "col", text, class: i ? "attnlib-number" : null }));
  const caption = html("caption", { text: "1. Look: e = v · tanh(W s + U h), weights by softmax. Outline: a step before." });
  const node = html("table", { class: "attnlib-table attnlib-step-source" }, caption,
    html("thead", {}, html("tr", {}, ...columns, html("td"))), body);
  return {
    node,
    update(sentence, step, last) {
      const top = best(step.weights);
      rows(sentence.source.length).forEach((row, j) => {
        write(row.node, { "data-best": j === top });
        write(row.head, { text: sentence.source[j] });
        write(row.energy, { text: number(step.energies[j], 3) });
        write(row.weight, { text: share(step.weights[j]) });
        write(row.bar, { style: `width:${(100 * step.weights[j]).toFixed(2)}%` });
        write(row.ghost, { style: `width:${(100 * (last?.weights[j] ?? 0)).toFixed(2)}%`, hidden: !last });
      });
    },
  };
}

/** The likeliest next words, each a button that writes it, and a list of all others. */
function nextWords(onWord) {
  const list = html("ul", { class: "attnlib-step-next", "aria-label": "Likeliest next words" });
  const items = pool(list, (i) => {
    const bar = html("span", { class: "attnlib-step-bar attnlib-step-share" });
    const value = html("span", { class: "attnlib-value" });
    const item = { word: "", bar, value };
    item.button = button({ label: "", onClick: () => item.word && onWord(item.word) });
    item.node = html("li", { "data-best": i === 0 }, item.button.node, value, html("span", { class: "attnlib-step-track", "aria-hidden": "true" }, bar));
    return item;
  });
  const id = uid();
  const select = html("select", { id });
  const options = pool(select, () => ({ node: html("option") }));
  let listed = null;
  select.addEventListener("change", () => {
    const word = select.value;
    select.value = "";
    if (word) onWord(word);
  });
  const title = html("p", { class: "attnlib-step-title", text: "2. Write: maxout of state, word before and context, then softmax. Press a word to write it." });
  const others = html("div", { class: "attnlib-control" }, html("label", { for: id, text: "Or force another word" }), select);
  return {
    node: html("div", {}, title, list, others),
    update(state, step) {
      const { target_words: known } = state;
      const order = known.map((_, i) => i).sort((a, b) => step.probabilities[b] - step.probabilities[a]);
      const full = ended(state) || state.words.length >= MAX_WORDS;
      items(Math.min(SHOWN, known.length)).forEach((item, i) => {
        const probability = step.probabilities[order[i]];
        item.word = order[i] >= EOS && !full ? known[order[i]] : "";
        item.button.update({ label: known[order[i]], disabled: item.word === "" });
        write(item.value, { text: share(probability) });
        write(item.bar, { style: `width:${(100 * probability).toFixed(2)}%` });
      });
      if (listed !== known) {
        const all = ["", ...known.slice(EOS)];
        options(all.length).forEach(({ node }, i) => write(node, { value: all[i], text: all[i] || "Choose a word" }));
        select.value = "";
      }
      listed = known;
      write(select, { disabled: full });
    },
  };
}

/** The vectors of the step as bars up and down, -1 to 1, with their numbers where asked for. */
function vectors() {
  const node = html("div", { class: "attnlib-step-vectors" });
  const all = Object.entries(VECTORS).map(([name, [title, note]]) => {
    const picture = svg("svg", { class: "attnlib-step-vector", role: "img", "aria-label": title });
    const axis = picture.appendChild(svg("line", { x1: 0, y1: 30, y2: 30 }));
    const bars = [null, "attnlib-step-negative"].map((name) => picture.appendChild(svg("path", { class: name })));
    const listed = html("p", { class: "attnlib-step-numbers" });
    const box = html("div", { class: "attnlib-step-box" }, html("p", { class: "attnlib-step-title", text: title }),
      picture, html("p", { class: "attnlib-step-note", text: note }), listed);
    node.append(box);
    return { name, picture, axis, bars, listed };
  });
  return {
    node,
    update(state, step) {
      for (const { name, picture, axis, bars, listed } of all) {
        const values = step[name];
        write(picture, { viewBox: `0 0 ${values.length * 10} 60`, style: `max-width:${values.length * 13}px` });
        write(axis, { x2: values.length * 10 });
        const bar = (value, i) => `M${i * 10 + 1} 30v${(-28 * Math.max(Math.min(value, 1), -1)).toFixed(1)}h8V30z`;
        bars.forEach((path, below) => write(path, { d: values.map((value, i) => (value < 0) === (below === 1) ? bar(value, i) : "").join("") }));
        write(listed, { hidden: !state.numbers, text: state.numbers ? values.map((value) => number(value, 3)).join(" ") : "" });
      }
    },
  };
}

function build(view, first) {
  let current = first;
  function written(words) {
    current = { ...current, words }; // the next key may come before the next frame
    view.set({ words }); // the same words too: a slider that went too far comes back
  }
  const add = (words, word) => (words.at(-1) === current.target_words[EOS] || words.length >= MAX_WORDS ? words : [...words, word]);
  const onward = (words) => add(words, decode({ ...current, words }).at(-1).likeliest);
  function walk(count) {
    let { words } = current;
    if (count < words.length) words = words.slice(0, count);
    while (words.length < count) {
      const longer = onward(words);
      if (longer === words) break;
      words = longer;
    }
    written(words);
  }

  const sentence = choice({ label: "Sentence", options: first.sentences.map(({ source }, i) => [i, source.slice(0, -1).join(" ")]),
    onInput: (value) => view.set({ index: Number(value), words: [] }) });
  const steps = slider({ label: "Words written", min: 0, max: MAX_WORDS, step: 1, onInput: (value) => walk(Math.round(value)) });
  const again = button({ label: "Start again", onClick: () => walk(0) });
  const back = button({ label: "Back", onClick: () => walk(Math.max(current.words.length - 1, 0)) });
  const next = button({ label: "Take the best word", onClick: () => walk(current.words.length + 1) });
  const exact = toggle({ label: "Show every number", onInput: (numbers) => view.set({ numbers }) });
  const line = writtenLine();
  const caption = html("p", { class: "attnlib-step-caption" });
  const source = sourceTable();
  const words = nextWords((word) => written(add(current.words, word)));
  const parts = vectors();
  view.root.append(html("div", { class: "attnlib-controls" }, sentence.node, steps.node, html("div", { class: "attnlib-step-buttons" }, again.node, back.node, next.node)),
    line.node, caption, html("div", { class: "attnlib-step-columns" }, source.node, words.node),
    html("p", { class: "attnlib-step-title", text: "3. Renew the state. Bars reach from −1 to 1." }), parts.node, exact.node);

  let said = "";
  return (state) => {
    current = state;
    const all = decode(state);
    const step = all.at(-1);
    const pair = state.sentences[state.index];
    sentence.update(state.index);
    const count = state.words.length;
    const done = ended(state);
    steps.update(count, { note: `${count}${done ? ", the end" : `, step ${count + 1}`}` });
    again.update({ disabled: count === 0 });
    back.update({ disabled: count === 0 });
    next.update({ disabled: done || count >= MAX_WORDS });
    exact.update(state.numbers);
    line.update(state, all);
    source.update(pair, step, all.at(-2));
    words.update(state, step);
    parts.update(state, step);
    const j = best(step.weights);
    const news = `Step ${all.length}, after “${all.length > 1 ? state.words[all.length - 2] : state.target_words[BOS]}”: most weight on `
      + `“${pair.source[j]}” (${share(step.weights[j])}); likeliest word “${step.likeliest}” (${share(step.probabilities[likeliest(step.probabilities)])}).`
      + (done ? " The sentence is ended." : "");
    write(caption, { text: news });
    if (said && said !== news) view.say(news);
    said = news;
  };
}

/** Sizes and numbers of the decoder and the sentences; told once for each, as they are long. */
const unnamed = "Your own words";
const hint = "Write a word that is not the likeliest one: when do the weights follow?";

export default { build, unnamed, hint };
