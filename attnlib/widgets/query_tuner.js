// QueryTuner: keys and values as points of the plane, queries to drag, and what attention makes of them.

import { button, choice, slider, toggle } from "./js/controls.js";
import { html, pool, svg, write } from "./js/dom.js";
import { keyTable } from "./js/keys.js";
import { attend } from "./js/math/attend.js";
import { entmax, sigmoid, softmax, sparsemax } from "./js/math/distributions.js";
import { arrow, before, legend, mark, plane, point, reach } from "./js/plane.js";
import { SCORES, replaced, scoring } from "./js/scores.js";
import { number, pair, share } from "./js/text.js";

const NAMES = ["dot", "scaled dot", "similarity", "general", "additive", "gaussian"];
const DISTRIBUTIONS = { softmax, entmax, sparsemax, sigmoid };
const WORDS = { softmax: "softmax", entmax: "α-entmax", sparsemax: "sparsemax", sigmoid: "sigmoid" };
const MOST_QUERIES = 4;

const nameOf = ({ query }, i, letter = "q") => (query.length === 1 ? letter : `${letter}${i + 1}`);

function drawing(view, get) {
  const move = (kind, i, place) =>
    view.set({ [kind]: replaced(get()[kind], [i], place), ...(kind === "query" && { selected: i }) });
  const onTap = (place) => move("query", get().selected, place);
  const board = plane({ label: "The plane of queries, keys and values", onTap });
  const lines = (name, tag) => pool(board.layer(name), () => ({ node: svg(tag) }));
  const rays = lines("attnlib-rays", "path");
  const looks = lines("attnlib-looks", "line");
  const flows = lines("attnlib-flows", "line");
  const layers = (kinds, make) => Object.fromEntries(kinds.map((kind) => [kind, pool(board.layer(), make(kind))]));
  // Painted from the values up to the queries, and reached from the queries on.
  const marks = layers(["value", "key", "context", "query"], (kind) => () => mark(kind));
  const grips = layers(
    ["query", "key", "value"],
    (kind) => (i) =>
      point({
        plane: board,
        onMove: (place) => move(kind, i, place),
        onFocus: () => kind === "query" && view.set({ selected: i }),
      }),
  );
  function show(kind, points, nameOfOne, isHollow) {
    const drawn = marks[kind](points.length);
    const held = grips[kind]?.(points.length);
    points.forEach((each, i) => {
      drawn[i].update(nameOfOne(i), { hollow: isHollow(i), place: board.place(each) });
      held?.[i].update(each, `${kind[0].toUpperCase()}${kind.slice(1)} ${nameOfOne(i)}`);
    });
  }

  function update(state, rows) {
    const { key, labels, mask, query, selected } = state;
    const sources = state.keys_only ? key : state.value;
    board.update(reach([...key, ...sources, ...query]));
    const { place } = board;
    const origin = place([0, 0]);
    const { weights, context } = rows[selected];
    [...key, query[selected]].forEach((end, i, { length }) => {
      const kind = i < key.length ? "key" : "query";
      write(rays(length)[i].node, { d: arrow(origin, before(origin, place(end))), class: `attnlib-${kind}-ray` });
    });
    const link = ({ node }, [x1, y1], [x2, y2], weight) =>
      write(node, { x1, y1, x2, y2, "stroke-width": 1 + 9 * Math.min(weight, 1), "data-none": weight === 0 });
    looks(key.length).forEach((line, i) => link(line, place(query[selected]), place(key[i]), weights[i]));
    flows(key.length).forEach((line, i) => link(line, place(sources[i]), place(context), weights[i]));
    const [label, masked, other] = [(i) => labels[i], (i) => !mask[i], (i) => i !== selected];
    show("key", key, label, masked);
    show("value", state.keys_only ? [] : sources, label, masked);
    show(
      "context",
      rows.map((row) => row.context),
      (i) => nameOf(state, i, "c"),
      other,
    );
    show("query", query, (i) => nameOf(state, i), other);
  }
  return { node: board.node, update };
}

/** Queries down, keys across: shown as soon as there are two queries. */
function queryTable(view) {
  const [head, body] = [html("tr"), html("tbody")];
  const caption = html("caption", { text: "Weights of every query; press a name to look at its row" });
  const node = html("table", { class: "attnlib-table attnlib-queries" }, caption, html("thead", {}, head), body);
  const titles = pool(head, () => ({ node: html("th", { scope: "col" }) }));
  const lines = pool(body, (i) => {
    const pick = button({ label: `q${i + 1}`, onClick: () => view.set({ selected: i }) });
    const line = html("tr", {}, html("th", { scope: "row" }, pick.node));
    return { node: line, pick, cells: pool(line, () => ({ node: html("td") })) };
  });
  return {
    node,
    update({ labels, selected }, rows) {
      const shown = rows.length < 2 ? [] : rows;
      write(node, { hidden: !shown.length });
      titles(labels.length + 1).forEach((title, i) => write(title.node, { text: i ? labels[i - 1] : "Query" }));
      lines(shown.length).forEach(({ pick, cells }, i) => {
        write(pick.node, { "aria-pressed": i === selected ? "true" : "false" });
        cells(labels.length).forEach(({ node: cell }, j) => {
          const weight = rows[i].weights[j];
          write(cell, { text: share(weight), style: `--share:${Math.round(40 * Math.min(weight, 1))}%` });
        });
      });
    },
  };
}

function settings(view, get) {
  const set = (name) => (value) => view.set({ [name]: value });
  const score = scoring(view, get, { names: NAMES });
  const distribution = choice({ label: "Distribution", options: Object.entries(WORDS), onInput: set("distribution") });
  const alpha = slider({ label: "α", min: 1.05, max: 4, step: 0.05, onInput: set("alpha") });
  const temperature = slider({ label: "Temperature", min: 0.05, max: 20, log: true, onInput: set("temperature") });
  const keysOnly = toggle({ label: "Values are the keys", onInput: set("keys_only") });
  const add = button({
    label: "Add a query",
    onClick() {
      const { query } = get();
      if (query.length >= MOST_QUERIES) return;
      const [x, y] = query.at(-1);
      view.set({ query: [...query, x || y ? [-y, x] : [1, 1]], selected: query.length });
    },
  });
  const remove = button({
    label: "Remove a query",
    onClick() {
      const { query, selected } = get();
      if (query.length < 2) return;
      const rest = query.filter((_, i) => i !== selected);
      view.set({ query: rest, selected: Math.min(selected, rest.length - 1) });
    },
  });
  const rest = [distribution, alpha, temperature, keysOnly].map(({ node }) => node);
  const buttons = html("div", { class: "attnlib-buttons" }, add.node, remove.node);
  return {
    node: html(
      "div",
      { class: "attnlib-settings" },
      html("div", { class: "attnlib-controls" }, score.node, score.settings, ...rest),
      buttons,
    ),
    update(state) {
      const alone = state.query.length < 2;
      score.update(state);
      distribution.update(state.distribution);
      alpha.update(state.alpha, state.distribution === "entmax" ? {} : { disabled: true, note: "entmax only" });
      temperature.update(state.temperature);
      keysOnly.update(state.keys_only);
      add.update({ disabled: state.query.length >= MOST_QUERIES });
      remove.update({ disabled: alone, label: alone ? "Remove a query" : `Remove ${nameOf(state, state.selected)}` });
    },
  };
}

/** The attention of every query. */
function rowsOf(state) {
  const { key, mask, temperature, alpha } = state;
  const values = state.keys_only ? key : state.value;
  const score = (query, keys) => SCORES[state.score].of(query, keys, state);
  const distribution = (energies) => DISTRIBUTIONS[state.distribution](energies, { temperature, alpha });
  return state.query.map((query) => attend(query, key, values, { score, distribution, mask }));
}

function build(view, first) {
  let state = first;
  const get = () => state;
  const picture = drawing(view, get);
  const marks = legend(
    ["query", "q", "query, drag it"],
    ["key", "A", "key, drag it"],
    ["value", "A", "value, drag it"],
    ["context", "c", "context, it follows"],
  );
  const onTick = (i, visible) => view.set({ mask: replaced(state.mask, [i], visible) });
  const keys = keyTable({ onTick });
  const queries = queryTable(view);
  const controls = settings(view, get);
  view.root.append(
    html(
      "div",
      { class: "attnlib-two" },
      html("div", {}, picture.node, marks.node),
      html("div", { class: "attnlib-side" }, keys.node, view.caption, queries.node, controls.node),
    ),
  );

  return (next) => {
    state = next;
    const rows = rowsOf(state);
    const { energies, weights, context } = rows[state.selected];
    const alpha = state.distribution === "entmax" ? `, α = ${number(state.alpha)}` : "";
    const rule = `weight = ${WORDS[state.distribution]}(e\u00a0/\u00a0${number(state.temperature)}${alpha})`;
    picture.update(state, rows);
    marks.update("query", "key", "context", ...(state.keys_only ? [] : ["value"]));
    keys.update(state, { energies, weights }, `Energy e = f(q, k); ${rule}; ticked = visible`);
    queries.update(state, rows);
    controls.update(state);
    const told = state.labels.map((label, i) => `${label} ${share(weights[i])}`).join(", ");
    const sum = number(weights.reduce((a, b) => a + b, 0));
    const name = `${nameOf(state, state.selected)} = ${pair(state.query[state.selected])}`;
    view.news(`${name}. Weights ${told}, sum ${sum}. Context c = Σ αv = ${pair(context)}.`);
  };
}

const unnamed = "Your own points";
const hint = "Drag a query, a key or a value, or move it with the arrow keys.";

export default { build, unnamed, hint };
