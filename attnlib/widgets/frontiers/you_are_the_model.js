// YouAreTheModel: words to select, shaded by somebody's map, and how like the two are.

import { button, choice, toggle } from "../js/controls.js";
import { html, pool, write } from "../js/dom.js";
import { adjusted, auc, chance, crossSentiment, drawn, lexical, top } from "../js/math/similarity.js";
import { table } from "../js/table.js";
import { number } from "../js/text.js";

const NOTHING = "nothing";
const told = (value) => (Number.isNaN(value) ? "–" : number(value));

/** Everything that is said of a selection. */
function measured(data, text, selected, random) {
  const chosen = text.words.map((_, i) => selected.includes(i));
  const n = data.parts.length;
  const base = chance(chosen, text.kinds, n, random);
  const rate = (map) => (text.sentiment ? crossSentiment(map, text.polarity, text.sentiment) : NaN);
  const rows = data.names
    .filter(([name]) => text.maps[name])
    .map(([name, called]) => {
      const scores = text.maps[name];
      const map = top(scores, selected.length);
      const alike = lexical(chosen, map, text.kinds, n);
      return { name, called, area: auc(chosen, scores), alike, above: adjusted(alike, base), rate: rate(map) };
    });
  return { rows, base, rate: rate(chosen) };
}

/** The words as buttons; arrows go from each to the next. */
function passage(get, set) {
  const node = html("div", { class: "attnlib-yatm-words", role: "group", "aria-label": "Words to select" });
  const words = pool(node, (i) => {
    const word = html("button", { type: "button", class: "attnlib-yatm-word" });
    word.addEventListener("click", () => {
      const { selected } = get();
      set({
        selected: selected.includes(i) ? selected.filter((each) => each !== i) : [...selected, i].sort((a, b) => a - b),
      });
    });
    return { node: word };
  });
  node.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const here = [...node.children].indexOf(event.target);
    const last = node.children.length - 1;
    const to = {
      ArrowRight: here + 1,
      ArrowDown: here + 1,
      ArrowLeft: here - 1,
      ArrowUp: here - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault(); // or the page would scroll
    node.children[Math.min(Math.max(to, 0), last)].focus();
  });
  return {
    node,
    update(text, { selected, theirs }, shown) {
      const scores = text.maps[shown];
      // By rank, as the measures see it: one word with nearly all the weight would leave the others blank.
      const below = (i) => scores.filter((score) => score < scores[i]).length / (scores.length - 1);
      const largest = scores && theirs ? top(scores, selected.length) : [];
      words(text.words.length).forEach((word, i) => {
        const part = scores ? below(i) : 0;
        write(word.node, {
          text: text.words[i],
          style: `--part:${part.toFixed(3)}`,
          "aria-pressed": String(selected.includes(i)),
          "aria-label": scores
            ? `${text.words[i]} above ${Math.round(100 * part)} %${largest[i] ? ", among its largest" : ""}`
            : null,
          "data-largest": Boolean(largest[i]),
        });
      });
    },
  };
}

function build(view, first) {
  let now = first;
  const random = new Map();
  const set = (changes) => {
    now = { ...now, ...changes };
    view.set(changes);
  };
  const question = html("p", { class: "attnlib-yatm-question" });
  const words = passage(() => now, set);
  const shade = choice({ label: "Shade the words by", onInput: (shown) => set({ shown }) });
  const clear = button({ label: "Select nothing", onClick: () => set({ selected: [] }) });
  const theirs = toggle({
    label: "Frame its largest, as many as you selected",
    onInput: (value) => set({ theirs: value }),
  });
  const controls = html("div", { class: "attnlib-yatm-controls" }, shade.node, clear.node);
  const looks = table({ columns: ["Map", "AUC", "LS", "adj. LS", "CSSR"], bars: 1, kind: "attnlib-yatm-table" });
  const source = html("p", { class: "attnlib-yatm-source" });
  view.root.append(question, words.node, controls, theirs.node, view.caption, looks.node, source);

  return (state) => {
    now = state;
    const text = view.data.texts[state.text];
    const n = text.words.length;
    if (!random.has(n)) random.set(n, drawn(n, view.data.draws));
    const shown = text.maps[state.shown] ? state.shown : NOTHING;
    const hidden = shown === NOTHING;
    const { rows, base, rate } = measured(view.data, text, state.selected, random.get(n));
    write(question, { text: text.question });
    words.update(text, state, shown);
    shade.update(shown, { options: view.data.names.filter(([name]) => name === NOTHING || text.maps[name]) });
    theirs.update(state.theirs);
    clear.update({ disabled: state.selected.length === 0 });
    const part = (area) => ({ text: told(area), part: Number.isNaN(area) ? 0 : area });
    const you = text.sentiment ? [["your selection", part(NaN), "–", "–", told(rate)]] : [];
    const lines = rows.map((row) => [row.called, part(row.area), told(row.alike), told(row.above), told(row.rate)]);
    looks.update([...you, ...lines], {
      caption: `Your selection against others’ maps; LS by chance ${told(base)}`,
      marked: (i) => rows[i - you.length]?.name === shown,
    });
    write(looks.node, { hidden });
    write(source, { text: text.source });
    const count = `${state.selected.length} of ${n} words selected`;
    const none = state.selected.length === 0 || state.selected.length === n;
    const row = rows.find(({ name }) => name === shown);
    const why = !text.sentiment
      ? "the text has no verdict"
      : Number.isNaN(rate)
        ? "you selected no word of its sign"
        : "";
    const feeling = why && ` CSSR is not defined here: ${why}.`;
    if (none) view.news(`${count}: nothing can outrank anything, so that AUC is not defined.`);
    else if (hidden) view.news(`${count}.`, "Shade them by a map, and the measures appear.");
    else
      view.news(
        `${count}: a selected word outranks another in ${number(100 * row.area, 0)} of 100 pairs by “${row.called}”.${feeling}`,
        "Shades are by rank.",
      );
  };
}

const unnamed = "Your own selection";
const hint = "Select words with a click or with arrows and the space bar: which map comes nearer, and which goes?";

export default { build, unnamed, hint };
