// HierarchyReader: a review to type over; the weights of its sentences in the margin, of its words in the text.

import { button, toggle } from "../js/controls.js";
import { html, pool, uid, write } from "../js/dom.js";
import { network, pieces, read } from "../js/math/hierarchy.js";
import { gauge, table } from "../js/table.js";
import { number, share } from "../js/text.js";

const signed = (value) => (value > 0 ? `+${number(value)}` : number(value));

/** A sentence as a button: its weight in the margin, its words shaded by theirs. */
function line(onPick) {
  const [weight, bar, people] = [
    html("span", { class: "attnlib-value" }),
    gauge(),
    html("span", { class: "attnlib-hier-people" }),
  ];
  const words = html("span", { class: "attnlib-hier-words" });
  const margin = html("span", { class: "attnlib-hier-margin" }, weight, bar.node, people);
  const pick = html("button", { type: "button", class: "attnlib-hier-line" }, margin, words);
  pick.addEventListener("click", onPick);
  const parts = pool(words, () => {
    const [gap, word] = [html("span"), html("span", { class: "attnlib-hier-word" })];
    return { node: html("span", {}, gap, word), gap, word };
  });
  return {
    node: html("li", {}, pick),
    update({ text, share: part, weights, known, rating, chosen }) {
      write(weight, { text: share(part) });
      bar.update(part);
      write(people, { text: rating === undefined ? "" : `people ${signed(rating)}`, hidden: rating === undefined });
      const found = pieces(text);
      const most = Math.max(...weights, 0);
      parts(found.length).forEach(({ gap, word }, i) => {
        write(gap, { text: found[i].gap });
        write(word, {
          text: found[i].text,
          style: `--part:${(weights[i] / most).toFixed(3)}`,
          "data-unknown": !known[i],
        });
      });
      write(pick, { "aria-pressed": String(chosen), "data-empty": found.length === 0 });
    },
  };
}

function build(view, first) {
  let now = first;
  const net = network(view.data);
  const ratings = new Map(view.data.rated.map(({ text, rating }) => [text, rating]));
  const most = view.schema.sentences.shape[0].at(-1) ?? 12;
  const set = (changes) => {
    now = { ...now, ...changes };
    view.set(changes);
  };
  const replaced = (from, count, ...texts) => now.sentences.toSpliced(from, count, ...texts);
  const list = html("ol", {
    class: "attnlib-hier-lines",
    "aria-label": "The review, with the weight of each sentence",
  });
  const lines = pool(list, (i) => line(() => set({ sentence: i })));
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // or the page would scroll
    const from = [...list.children].findIndex((item) => item.contains(event.target));
    const to = Math.min(Math.max(from + step, 0), now.sentences.length - 1);
    list.children[to].querySelector("button").focus();
    set({ sentence: to });
  });
  const id = uid();
  const [label, input] = [
    html("label", { for: id }),
    html("input", { id, type: "text", maxlength: view.data.longest, autocomplete: "off", spellcheck: "false" }),
  ];
  input.addEventListener("input", () => set({ sentences: replaced(now.sentence, 1, input.value) }));
  const add = button({
    label: "Add a sentence after it",
    onClick: () =>
      now.sentences.length < most && set({ sentences: replaced(now.sentence + 1, 0, ""), sentence: now.sentence + 1 }),
  });
  const remove = button({
    label: "Delete it",
    onClick: () =>
      now.sentences.length > 1 &&
      set({ sentences: replaced(now.sentence, 1), sentence: Math.max(now.sentence - 1, 0) }),
  });
  const buttons = html("div", { class: "attnlib-buttons" }, add.node, remove.node);
  const even = toggle({ label: "Even weights in place of the network's", onInput: (value) => set({ even: value }) });
  const words = table({ columns: ["Word", "Weight", "Note"], bars: 1, caption: "", kind: "attnlib-hier-table" });
  const verdict = gauge();
  const said = html(
    "p",
    { class: "attnlib-hier-verdict" },
    html("span", { text: "Verdict: positive with probability " }),
    html("strong"),
    verdict.node,
  );
  const editor = html(
    "div",
    { class: "attnlib-hier-editor" },
    html("div", { class: "attnlib-control" }, label, input),
    buttons,
  );
  view.root.append(list, said, view.caption, even.node, editor, words.node);

  return (state) => {
    now = state;
    const { sentences, sentence } = state;
    const found = read(net, sentences, state.even);
    lines(sentences.length).forEach((each, i) =>
      each.update({
        text: sentences[i],
        share: found.sentences[i],
        weights: found.words[i],
        known: found.known[i],
        rating: ratings.get(sentences[i]),
        chosen: i === sentence,
      }),
    );
    even.update(state.even);
    write(said.children[1], { text: share(found.positive) });
    verdict.update(found.positive);
    write(label, { text: `Type over sentence ${sentence + 1}` });
    if (input.value !== sentences[sentence]) input.value = sentences[sentence];
    add.update({ disabled: sentences.length >= most });
    remove.update({ disabled: sentences.length < 2 });
    const shown = pieces(sentences[sentence]);
    const row = (piece, i) => [
      piece.text,
      { text: share(found.words[sentence][i]), part: found.words[sentence][i] },
      found.known[sentence][i] ? "" : "unknown",
    ];
    words.update(shown.map(row), { caption: `Words of sentence ${sentence + 1}` });
    const top = found.sentences.indexOf(Math.max(...found.sentences));
    const at = state.even
      ? "all sentences weigh alike"
      : sentences[top].trim()
        ? `most weight on sentence ${top + 1} (${share(found.sentences[top])})`
        : "no words to weigh";
    const word = shown.length ? shown[found.words[sentence].indexOf(Math.max(...found.words[sentence]))].text : "";
    const here = state.even ? ", and in each all words" : word ? `; in sentence ${sentence + 1} most on “${word}”` : "";
    view.news(
      `Positive with probability ${share(found.positive)}: ${at}${here}.`,
      "Shades are within a sentence: the strongest is on its largest weight. Dotted: unknown.",
    );
  };
}

const unnamed = "Your own review";
const hint = "Change one word: which weights move, in its sentence and beyond, and does the verdict follow?";

export default { build, unnamed, hint };
