// WeightsOnTrial: the weights of a sentence to drag, other weights beside the network's, and the answer of each.

import { button, slider } from "./js/controls.js";
import { html, pool, write } from "./js/dom.js";
import { answer, divergence, farthest, moved, shares, shifted } from "./js/math/explanation.js";
import { gauge, table } from "./js/table.js";
import { number, share } from "./js/text.js";

const even = (weights) => weights.map(() => 1 / weights.length);

/** The words shaded by their weights, and the answer that these give. */
function map(name) {
  const words = html("span", { class: "attnlib-trial-words" });
  const [said, bar] = [html("strong"), gauge()];
  const verdict = html(
    "span",
    { class: "attnlib-trial-verdict" },
    html("span", { text: "positive with probability " }),
    said,
    bar.node,
  );
  const each = pool(words, () => ({ node: html("span", { class: "attnlib-trial-word" }) }));
  return {
    node: html(
      "div",
      { class: "attnlib-trial-map" },
      html("span", { class: "attnlib-trial-name", text: name }),
      words,
      verdict,
    ),
    update(texts, weights, positive) {
      const most = Math.max(...weights);
      each(texts.length).forEach(({ node }, i) =>
        write(node, { text: `${texts[i]} `, style: `--part:${(weights[i] / most).toFixed(3)}` }),
      );
      write(said, { text: share(positive) });
      bar.update(positive);
    },
  };
}

function build(view, first) {
  let now = first;
  const [network, own] = [map("The network's weights"), map("These weights")];
  const set = (weights) => view.set({ weights });
  const given = () => shares(now.trained);
  const acts = [
    ["The network's", () => given()],
    ["Even", () => even(now.trained)],
    ["Shift by a word", () => shifted(shares(now.weights))],
    ["Farthest, same answer", () => far(now.tolerance)],
  ].map(([label, make]) => button({ label, onClick: () => set(make()) }));
  const buttons = html(
    "div",
    { class: "attnlib-buttons", role: "group", "aria-label": "Weights" },
    ...acts.map(({ node }) => node),
  );
  const far = (tolerance) => farthest(given(), now.values, tolerance);
  /** Weights that are the farthest stay so. */
  function allow(tolerance) {
    const follows = divergence(shares(now.weights), far(now.tolerance)) < 1e-9;
    view.set(follows ? { tolerance, weights: far(tolerance) } : { tolerance });
  }
  const leeway = slider({ label: "Farthest: the answer may move by", min: 0.01, max: 0.2, step: 0.01, onInput: allow });
  const board = html("div", { class: "attnlib-controls attnlib-trial-board" });
  const sliders = pool(board, (i) =>
    slider({
      label: "",
      min: 0,
      max: 1,
      step: 0.01,
      text: share,
      onInput: (value) => set(moved(shares(now.weights), i, value)),
    }),
  );
  const numbers = table({ columns: ["Word", "Network's", "These", "Says"], bars: 2, kind: "attnlib-trial-table" });
  view.root.append(network.node, own.node, view.caption, buttons, leeway.node, board, numbers.node);

  return (state) => {
    now = state;
    const [before, after] = [given(), shares(state.weights)];
    const [was, is] = [answer(before, state.values), answer(after, state.values)];
    network.update(state.words, before, was);
    own.update(state.words, after, is);
    leeway.update(state.tolerance);
    sliders(state.words.length).forEach((each, i) => each.update(after[i], { label: `${i + 1}: ${state.words[i]}` }));
    const row = (word, i) => [
      word,
      { text: share(before[i]), part: before[i] },
      { text: share(after[i]), part: after[i], before: before[i] },
      number(state.values[i]),
    ];
    const mean = (weights) => number(weights.reduce((sum, weight, i) => sum + weight * state.values[i], 0));
    numbers.update(state.words.map(row), {
      caption: `Weights, and what each word says, above 0 for positive. Its mean is ${mean(before)} by the network's weights, ${mean(after)} by these.`,
    });
    const apart = divergence(before, after);
    const decided = was > 0.5 === is > 0.5 ? "the decision is the same" : "the decision is the other one";
    const [low, high] = [Math.min(...state.values), Math.max(...state.values)];
    const bound =
      low > 0 || high < 0 ? " No weights at all could turn the decision: every word says the same side." : "";
    view.news(
      `The answer moves by ${number(Math.abs(is - was), 3)}, ${decided}; the maps are ${number(apart, 3)} apart, where ${number(Math.LN2, 3)} is the most.${bound}`,
      "A shade is strongest on the largest weight of its line.",
    );
  };
}

const unnamed = "Your own weights";
const hint = "Drag a weight: how far can you take the map without moving the answer?";

export default { build, unnamed, hint };
