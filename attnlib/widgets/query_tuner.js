// QueryTuner: keys and values as points of the plane, queries to drag, and what attention makes of them.

import { button, choice, slider, toggle } from "./js/controls.js";
import { html, pool, svg, write } from "./js/dom.js";
import { attend } from "./js/math/attend.js";
import { entmax, sigmoid, softmax, sparsemax } from "./js/math/distributions.js";
import { additive, dot, gaussian, general, scaledDot, similarity } from "./js/math/scores.js";
import { arrow, plane, point } from "./js/plane.js";
import { number, pair } from "./js/text.js";

const SCORES = {
  dot: { words: "Dot", formula: () => "q · k", of: () => dot },
  "scaled dot": {
    words: "Scaled dot",
    formula: (s) => `${number(s.scale)} × q · k`,
    of: (s) => (query, keys) => scaledDot(query, keys, { scale: s.scale }),
  },
  similarity: { words: "Cosine", formula: () => "q · k / (|q| |k|)", of: () => similarity },
  general: {
    words: "General",
    formula: (s) => `qᵀ W k, W = [${s.weight.map((row) => row.map((x) => number(x)).join(" ")).join("; ")}]`,
    of: (s) => (query, keys) => general(query, keys, { weight: s.weight }),
  },
  additive: {
    words: "Additive",
    formula: () => "vᵀ tanh(W₁ q + W₂ k)",
    of: (s) => (query, keys) =>
      additive(query, keys, { vector: s.vector, queryWeight: s.query_weight, keyWeight: s.key_weight }),
  },
  gaussian: { words: "Gaussian", formula: () => "−|q − k|² / 2", of: () => gaussian },
};

const DISTRIBUTIONS = {
  softmax: { words: "softmax", of: (s) => (energies) => softmax(energies, { temperature: s.temperature }) },
  entmax: {
    words: "α-entmax",
    of: (s) => (energies) => entmax(energies, { alpha: s.alpha, temperature: s.temperature }),
  },
  sparsemax: { words: "sparsemax", of: (s) => (energies) => sparsemax(energies, { temperature: s.temperature }) },
  sigmoid: { words: "sigmoid", of: (s) => (energies) => sigmoid(energies, { temperature: s.temperature }) },
};

const MOST_QUERIES = 4;
const ADRIFT = 0.0005;

/** A weight as text: an exact zero is told apart from a small one. */
function weightText(weight) {
  if (weight === 0) return "0";
  return weight < ADRIFT ? "< 0.001" : number(weight, 3);
}

const queryName = (state, i) => (state.query.length === 1 ? "q" : `q${i + 1}`);

function reach(state) {
  const largest = (rows) => Math.max(...rows.flat().map(Math.abs));
  const fixed = largest(state.keys_only ? state.key : [...state.key, ...state.value]);
  return Math.max(3, Math.ceil(fixed + 0.3), Math.ceil(largest(state.query)));
}

// ------------------------------------------------------------------------------------------------------------- marks

const MARKS = {
  query: () => svg("polygon", { points: "13,0 6.5,11.3 -6.5,11.3 -13,0 -6.5,-11.3 6.5,-11.3" }),
  key: () => svg("circle", { r: 11 }),
  value: () => svg("rect", { x: -10, y: -10, width: 20, height: 20, rx: 1 }),
  context: () => svg("polygon", { points: "0,-15 15,0 0,15 -15,0" }),
};

/** A shape with its letter: inside while it is short, above where it is a word. */
function mark(kind) {
  const letter = svg("text", { "text-anchor": "middle" });
  const node = svg("g", { class: `attnlib-mark attnlib-mark-${kind}` }, MARKS[kind](), letter);
  return {
    node,
    update(words, { hollow = false, place = null } = {}) {
      const inside = words.length < 3;
      write(letter, { text: words, y: inside ? 4 : -17, class: inside ? null : "attnlib-outside" });
      write(node, {
        "data-hollow": hollow,
        transform: place && `translate(${place[0].toFixed(2)} ${place[1].toFixed(2)})`,
      });
    },
  };
}

function legendItem(kind, letter, words) {
  const drawn = mark(kind);
  drawn.update(letter);
  const icon = svg("svg", { viewBox: "-17 -17 34 34", width: 22, height: 22, "aria-hidden": "true" }, drawn.node);
  return html("span", { class: "attnlib-tuner-legend" }, icon, html("span", { text: words }));
}

// ------------------------------------------------------------------------------------------------- the plane's layers

/** The pixel `gap` before the end of a line, so that an arrow's head is not under the mark. */
function before([x1, y1], [x2, y2], gap) {
  const length = Math.hypot(x2 - x1, y2 - y1);
  const share = length > gap ? (length - gap) / length : 0;
  return [x1 + (x2 - x1) * share, y1 + (y2 - y1) * share];
}

function makePlane(view, get) {
  const board = plane({ label: "The plane of queries, keys and values" });
  const rays = pool(board.layer("attnlib-rays"), () => ({ node: svg("path") }));
  const looks = pool(board.layer("attnlib-looks"), () => ({ node: svg("line") }));
  const flows = pool(board.layer("attnlib-flows"), () => ({ node: svg("line") }));
  const values = pool(board.layer("attnlib-marks"), () => mark("value"));
  const keys = pool(board.layer("attnlib-marks"), () => mark("key"));
  const contexts = pool(board.layer("attnlib-marks"), () => mark("context"));
  const handles = pool(board.layer("attnlib-handles"), (i) => {
    const drawn = mark("query");
    const handle = point({
      plane: board,
      mark: drawn.node,
      name: "query",
      onMove: (place) => view.set({ query: get().query.map((old, j) => (i === j ? place : old)), selected: i }),
      onFocus: () => view.set({ selected: i }),
    });
    return { node: handle.node, handle, drawn };
  });

  function update(state, rows) {
    board.update(reach(state));
    const at = ([x, y]) => [board.x(x), board.y(y)];
    const origin = at([0, 0]);
    const count = state.key.length;
    const { weights, context } = rows[state.selected];
    const query = at(state.query[state.selected]);
    const target = at(context);
    const sources = state.keys_only ? state.key : state.value;

    const drawnRays = rays(count + 1);
    const ray = (node, end, kind) =>
      write(node, { d: arrow(origin, before(origin, end, 13)), class: `attnlib-${kind}-ray` });
    state.key.forEach((key, i) => ray(drawnRays[i].node, at(key), "key"));
    ray(drawnRays[count].node, query, "query");

    const link = (node, [x1, y1], [x2, y2], weight) =>
      write(node, {
        x1,
        y1,
        x2,
        y2,
        "stroke-width": 1 + 9 * Math.min(weight, 1),
        "data-none": weight === 0,
      });
    looks(count).forEach(({ node }, i) => link(node, query, at(state.key[i]), weights[i]));
    flows(count).forEach(({ node }, i) => link(node, at(sources[i]), target, weights[i]));

    keys(count).forEach((drawn, i) =>
      drawn.update(state.labels[i], { hollow: !state.mask[i], place: at(state.key[i]) }),
    );
    values(state.keys_only ? 0 : count).forEach((drawn, i) =>
      drawn.update(state.labels[i], { hollow: !state.mask[i], place: at(state.value[i]) }),
    );
    contexts(rows.length).forEach((drawn, i) =>
      drawn.update(rows.length === 1 ? "c" : `c${i + 1}`, {
        hollow: i !== state.selected,
        place: at(rows[i].context),
      }),
    );
    handles(state.query.length).forEach(({ handle, drawn }, i) => {
      const name = queryName(state, i);
      drawn.update(name, { hollow: i !== state.selected });
      handle.update(state.query[i], `Query ${name}`);
    });
  }
  return { node: board.node, update };
}

// ------------------------------------------------------------------------------------------------------------- tables

function numberWithBar(kind) {
  const words = html("span", { class: "attnlib-tuner-number" });
  const bar = html("span", { class: `attnlib-tuner-fill attnlib-tuner-${kind}` });
  const node = html(
    "td",
    {},
    words,
    html("span", { class: "attnlib-tuner-bar", "data-kind": kind, "aria-hidden": "true" }, bar),
  );
  return {
    node,
    /** The bar from `from` to `to`, both fractions of the whole length. */
    update(text, from, to) {
      write(words, { text });
      const start = Math.max(0, Math.min(from, to));
      bar.style.left = `${(100 * start).toFixed(2)}%`;
      bar.style.width = `${(100 * (Math.min(1, Math.max(from, to)) - start)).toFixed(2)}%`;
    },
  };
}

function makeKeyTable(view, get) {
  const caption = html("caption");
  const body = html("tbody");
  const head = html("tr", {}, ...["Key", "Energy", "Weight"].map((text) => html("th", { scope: "col", text })));
  const node = html("table", { class: "attnlib-table attnlib-tuner-keys" }, caption, html("thead", {}, head), body);
  const lines = pool(body, (i) => {
    const visible = toggle({
      label: "",
      onInput: (checked) => view.set({ mask: get().mask.map((old, j) => (i === j ? checked : old)) }),
    });
    const energy = numberWithBar("energy");
    const weight = numberWithBar("weight");
    return {
      node: html("tr", {}, html("th", { scope: "row" }, visible.node), energy.node, weight.node),
      visible,
      energy,
      weight,
    };
  });

  function update(state, { energies, weights }) {
    const given = DISTRIBUTIONS[state.distribution].words;
    const alpha = state.distribution === "entmax" ? `, α = ${number(state.alpha)}` : "";
    write(caption, {
      text: `Energy e = ${SCORES[state.score].formula(state)}; weight = ${given}(e\u00a0/\u00a0${number(state.temperature)}${alpha}); ticked = visible`,
    });
    const largest = Math.max(1, ...energies.filter(Number.isFinite).map(Math.abs));
    lines(state.key.length).forEach((line, i) => {
      const energy = Number.isFinite(energies[i]) ? energies[i] : 0;
      line.visible.update(state.mask[i], { label: state.labels[i] });
      write(line.visible.node.firstChild, { "aria-label": `${state.labels[i]} visible` });
      line.energy.update(number(energies[i]), 0.5, 0.5 + energy / (2 * largest));
      line.weight.update(weightText(weights[i]), 0, weights[i]);
      write(line.node, { "data-none": weights[i] === 0 });
    });
  }
  return { node, update };
}

/** Queries down, keys across: shown as soon as there are two queries. */
function makeQueryTable(view) {
  const head = html("tr");
  const body = html("tbody");
  const node = html(
    "table",
    { class: "attnlib-table attnlib-tuner-queries" },
    html("caption", { text: "Weights of every query; press a name to look at its row" }),
    html("thead", {}, head),
    body,
  );
  const titles = pool(head, () => ({ node: html("th", { scope: "col" }) }));
  const lines = pool(body, (i) => {
    const pick = button({ label: `q${i + 1}`, onClick: () => view.set({ selected: i }) });
    const line = html("tr", {}, html("th", { scope: "row" }, pick.node));
    return { node: line, pick, cells: pool(line, () => ({ node: html("td", { class: "attnlib-tuner-cell" }) })) };
  });
  return {
    node,
    update(state, rows) {
      write(node, { hidden: rows.length < 2 });
      const shown = rows.length < 2 ? [] : rows;
      titles(state.key.length + 1).forEach((title, i) =>
        write(title.node, { text: i ? state.labels[i - 1] : "Query" }),
      );
      lines(shown.length).forEach((line, i) => {
        write(line.pick.node, { "aria-pressed": i === state.selected ? "true" : "false" });
        line.cells(state.key.length).forEach((cell, j) => {
          const weight = rows[i].weights[j];
          write(cell.node, { text: weightText(weight) });
          cell.node.style.setProperty("--share", `${Math.round(40 * Math.min(weight, 1))}%`);
        });
      });
    },
  };
}

// ------------------------------------------------------------------------------------------------------------ controls

function makeControls(view, get) {
  const set = (name) => (value) => view.set({ [name]: value });
  const words = (table) => Object.entries(table).map(([name, entry]) => [name, entry.words]);
  const score = choice({ label: "Score", options: words(SCORES), onInput: set("score") });
  const scale = slider({ label: "Scale", min: 0.05, max: 20, log: true, onInput: set("scale") });
  const distribution = choice({ label: "Distribution", options: words(DISTRIBUTIONS), onInput: set("distribution") });
  const alpha = slider({ label: "α", min: 1.05, max: 4, step: 0.05, onInput: set("alpha") });
  const temperature = slider({ label: "Temperature", min: 0.05, max: 20, log: true, onInput: set("temperature") });
  const keysOnly = toggle({ label: "Values are the keys", onInput: set("keys_only") });
  const add = button({
    label: "Add a query",
    onClick: () => {
      const { query: queries } = get();
      if (queries.length >= MOST_QUERIES) return;
      const [x, y] = queries[queries.length - 1];
      view.set({ query: [...queries, x || y ? [-y, x] : [1, 1]], selected: queries.length });
    },
  });
  const remove = button({
    label: "Remove it",
    onClick: () => {
      const { query: queries, selected } = get();
      if (queries.length < 2) return;
      const rest = queries.filter((_, i) => i !== selected);
      view.set({ query: rest, selected: Math.min(selected, rest.length - 1) });
    },
  });
  const buttons = html("div", { class: "attnlib-tuner-buttons" }, add.node, remove.node);
  const parts = [score, distribution, scale, alpha, temperature, keysOnly];
  return {
    node: html(
      "div",
      { class: "attnlib-tuner-settings" },
      html("div", { class: "attnlib-controls" }, ...parts.map((part) => part.node)),
      buttons,
    ),
    update(state) {
      score.update(state.score);
      distribution.update(state.distribution);
      scale.update(state.scale, state.score === "scaled dot" ? {} : { disabled: true, note: "scaled dot only" });
      alpha.update(state.alpha, state.distribution === "entmax" ? {} : { disabled: true, note: "entmax only" });
      temperature.update(state.temperature);
      keysOnly.update(state.keys_only);
      const name = queryName(state, state.selected);
      add.update({ disabled: state.query.length >= MOST_QUERIES });
      remove.update({
        disabled: state.query.length < 2,
        label: state.query.length < 2 ? "Remove a query" : `Remove ${name}`,
      });
    },
  };
}

// -------------------------------------------------------------------------------------------------------------- widget

function build(view, first) {
  let state = first;
  const get = () => state;
  const board = makePlane(view, get);
  const keyTable = makeKeyTable(view, get);
  const queryTable = makeQueryTable(view);
  const controls = makeControls(view, get);
  const reading = html("p", { class: "attnlib-tuner-reading" });
  const valueLegend = legendItem("value", "A", "value");
  const legend = html(
    "p",
    { class: "attnlib-tuner-legends" },
    legendItem("query", "q", "query, drag it"),
    legendItem("key", "A", "key"),
    valueLegend,
    legendItem("context", "c", "context"),
  );
  view.root.append(
    html(
      "div",
      { class: "attnlib-tuner" },
      html("div", { class: "attnlib-tuner-board" }, board.node, legend),
      html("div", { class: "attnlib-tuner-side" }, keyTable.node, reading, queryTable.node, controls.node),
    ),
  );

  let said = "";
  return (next) => {
    state = next;
    const values = state.keys_only ? state.key : state.value;
    const rule = {
      score: SCORES[state.score].of(state),
      distribution: DISTRIBUTIONS[state.distribution].of(state),
      mask: state.mask,
    };
    const rows = state.query.map((query) => attend(query, state.key, values, rule));
    const row = rows[state.selected];
    board.update(state, rows);
    keyTable.update(state, row);
    queryTable.update(state, rows);
    controls.update(state);
    write(valueLegend, { hidden: state.keys_only });
    const name = queryName(state, state.selected);
    const place = `${name} = ${pair(state.query[state.selected])}`;
    const sum = row.weights.reduce((a, b) => a + b, 0);
    write(reading, { text: `${place}, context c = Σ αv = ${pair(row.context)}, weights sum to ${number(sum)}` });
    const news = `${place}. Weights ${state.labels.map((label, i) => `${label} ${weightText(row.weights[i])}`).join(", ")}. Context ${pair(row.context)}.`;
    if (said && said !== news) view.say(news);
    said = news;
  };
}

const unnamed = "Your own points";
const hint = "Drag a query, or move it with the arrow keys.";

export default { build, unnamed, hint };
