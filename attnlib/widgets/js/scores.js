// Which score, its formula, and its parameters to move; as attnlib/widgets/plane.py has them.

import { choice, slider } from "./controls.js";
import { html, write } from "./dom.js";
import {
  activatedGeneral,
  additive,
  biasedGeneral,
  dot,
  gaussian,
  general,
  locationBased,
  scaledDot,
  similarity,
} from "./math/scores.js";

const matrix = [0, 1].flatMap((i) => [0, 1].map((j) => [`row ${i + 1}, col ${j + 1}`, [i, j]]));

/** The sliders of each parameter: the label and the place of each number in it. */
const PARTS = {
  scale: { words: "Scale", cells: [["s", []]], min: 0.05, max: 20, log: true },
  width: { words: "Width of the kernel", cells: [["h", []]], min: 0.2, max: 5, log: true },
  offset: { words: "Bias", cells: [["b", []]], min: -3, max: 3 },
  vector: {
    words: "Vector v",
    cells: [
      ["v₁", [0]],
      ["v₂", [1]],
    ],
    min: -3,
    max: 3,
  },
  weight: { words: "Matrix W", cells: matrix, min: -2, max: 2 },
  bias: {
    words: "Bias b",
    cells: [
      ["b₁", [0]],
      ["b₂", [1]],
    ],
    min: -3,
    max: 3,
  },
  query_weight: { words: "Matrix W₁ of the query", cells: matrix, min: -2, max: 2 },
  key_weight: { words: "Matrix W₂ of the key", cells: matrix, min: -2, max: 2 },
};

/** `of(query, keys, state)` are the energies; `parts` names the parameters. */
export const SCORES = {
  dot: { words: "dot product", formula: "qᵀk", parts: [], of: dot },
  "scaled dot": {
    words: "scaled dot product",
    formula: "s · qᵀk",
    parts: ["scale"],
    of: (q, k, { scale }) => scaledDot(q, k, { scale }),
  },
  similarity: { words: "similarity (cosine)", formula: "qᵀk / (‖q‖ ‖k‖)", parts: [], of: (q, k) => similarity(q, k) },
  general: {
    words: "general",
    formula: "qᵀ W k",
    parts: ["weight"],
    of: (q, k, { weight }) => general(q, k, { weight }),
  },
  "biased general": {
    words: "biased general",
    formula: "kᵀ (W q + b)",
    parts: ["weight", "bias"],
    of: (q, k, { weight, bias }) => biasedGeneral(q, k, { weight, bias }),
  },
  "activated general": {
    words: "activated general",
    formula: "tanh(qᵀ W k + b)",
    parts: ["weight", "offset"],
    of: (q, k, { weight, offset }) => activatedGeneral(q, k, { weight, bias: offset }),
  },
  additive: {
    words: "additive",
    formula: "vᵀ tanh(W₁ q + W₂ k + b)",
    parts: ["vector", "bias", "query_weight", "key_weight"],
    of: (q, k, { vector, bias, query_weight: queryWeight, key_weight: keyWeight }) =>
      additive(q, k, { vector, queryWeight, keyWeight, bias }),
  },
  gaussian: {
    words: "Gaussian kernel, its logarithm",
    formula: "−‖q − k‖² / (2h²)",
    parts: ["width"],
    of: (q, k, { width }) => gaussian(q, k, { width }),
  },
  "location-based": {
    words: "location-based",
    formula: "w(i)ᵀ q for the key in position i",
    parts: ["position_weight"],
    of: (q, k, { position_weight: weight }) => locationBased(q, k, { weight }),
  },
};

/** The part of a list of lists at a place, and the list with another number there. */
const at = (value, place) => place.reduce((part, i) => part[i], value);
export const replaced = (value, [i, ...rest], next) =>
  i === undefined ? next : value.map((part, j) => (j === i ? replaced(part, rest, next) : part));

/** A group of sliders under its name. */
export const group = (words, ...controls) =>
  html(
    "div",
    { class: "attnlib-part", role: "group", "aria-label": words },
    html("p", { class: "attnlib-part-title", text: words, "aria-hidden": "true" }),
    ...controls.map(({ node }) => node),
  );

function parameter(view, get, name) {
  const { words, cells, min, max, log } = PARTS[name];
  const sliders = cells.map(([label, place]) =>
    slider({
      label,
      min,
      max,
      log,
      step: 0.05,
      onInput: (value) => view.set({ [name]: replaced(get()[name], place, value) }),
    }),
  );
  return {
    node: group(words, ...sliders),
    update: (state) => sliders.forEach((each, i) => each.update(at(state[name], cells[i][1]))),
  };
}

/** The list of scores (`names`), the formula, and the parameters of the one chosen; `own` are a member's controls. */
export function scoring(view, get, { names, ...own }) {
  const options = names.map((name) => [name, SCORES[name].words]);
  const pick = choice({ label: "Score", options, onInput: (score) => view.set({ score }) });
  const formula = html("p", { class: "attnlib-formula" });
  const parts = { ...own };
  for (const name of new Set(names.flatMap((each) => SCORES[each].parts))) parts[name] ??= parameter(view, get, name);
  const settings = html("div", { class: "attnlib-parts" }, ...Object.values(parts).map(({ node }) => node));
  return {
    node: html("div", { class: "attnlib-scoring" }, pick.node, formula),
    settings,
    update(state) {
      const { formula: text, parts: wanted } = SCORES[state.score];
      pick.update(state.score);
      write(formula, { text: `f(q, k) = ${text}` });
      write(settings, { hidden: wanted.length === 0 });
      for (const [name, control] of Object.entries(parts)) {
        write(control.node, { hidden: !wanted.includes(name) });
        if (wanted.includes(name)) control.update(state);
      }
    },
  };
}
