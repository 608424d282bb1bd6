// ScoreField: the energy that a query gives to a key at every place of the plane, for each score function.

import { choice, slider } from "./js/controls.js";
import { html, pool, svg, write } from "./js/dom.js";
import { isolines, niceStep } from "./js/math/contour.js";
import { softmax } from "./js/math/distributions.js";
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
} from "./js/math/scores.js";
import { plane, point } from "./js/plane.js";
import { number, pair } from "./js/text.js";

const GRID = 101; // samples a side
const SIZE = 400; // of the drawing, in its own pixels
// Blue is below zero, red above; the contours say the same with dashes and numbers.
const STOPS = {
  light: ["#2369bd", "#9baecb", "#faf5f4", "#d39794", "#a9373b"],
  dark: ["#6aaef5", "#355c8c", "#1b2026", "#8f4a4c", "#f28b87"],
};

/** `of(state)` is the score; `formula` and `parts`, the parameters to show, go with it. */
const SCORES = {
  dot: { words: "dot product", formula: "qᵀk", parts: [], of: () => dot },
  "scaled dot": { words: "scaled dot product", formula: "s · qᵀk", parts: ["scale"],
    of: (s) => (q, k) => scaledDot(q, k, { scale: s.scale }) },
  similarity: { words: "similarity (cosine)", formula: "qᵀk / (‖q‖ ‖k‖)", parts: [], of: () => similarity },
  general: { words: "general", formula: "qᵀ W k", parts: ["weight"], of: (s) => (q, k) => general(q, k, { weight: s.weight }) },
  "biased general": { words: "biased general", formula: "kᵀ (W q + b)", parts: ["weight", "bias"],
    of: (s) => (q, k) => biasedGeneral(q, k, { weight: s.weight, bias: s.bias }) },
  "activated general": { words: "activated general", formula: "tanh(qᵀ W k + b)", parts: ["weight", "offset"],
    of: (s) => (q, k) => activatedGeneral(q, k, { weight: s.weight, bias: s.offset }) },
  additive: { words: "additive", formula: "vᵀ tanh(W₁ q + W₂ k + b)", parts: ["vector", "bias", "query_weight", "key_weight"],
    of: (s) => (q, k) => additive(q, k, { vector: s.vector, queryWeight: s.query_weight, keyWeight: s.key_weight, bias: s.bias }) },
  gaussian: { words: "Gaussian kernel, its logarithm", formula: "−‖q − k‖² / (2h²)", parts: ["width"],
    of: (s) => (q, k) => gaussian(q, k, { width: s.width }) },
  "location-based": { words: "location-based", formula: "w(i)ᵀ q for the key in position i", parts: ["position_weight"],
    of: (s) => (q, k) => locationBased(q, k, { weight: s.position_weight }) },
};

const PARTS = {
  scale: { words: "Scale", cells: [["s", []]], min: 0.05, max: 20, log: true },
  width: { words: "Width of the kernel", cells: [["h", []]], min: 0.2, max: 5, log: true },
  offset: { words: "Bias", cells: [["b", []]], min: -3, max: 3 },
  vector: { words: "Vector v", cells: [["v₁", [0]], ["v₂", [1]]], min: -3, max: 3 },
  weight: { words: "Matrix W", cells: matrix(), min: -2, max: 2 },
  bias: { words: "Bias b", cells: [["b₁", [0]], ["b₂", [1]]], min: -3, max: 3 },
  query_weight: { words: "Matrix W₁ of the query", cells: matrix(), min: -2, max: 2 },
  key_weight: { words: "Matrix W₂ of the key", cells: matrix(), min: -2, max: 2 },
};

function matrix() {
  return [[0, 0], [0, 1], [1, 0], [1, 1]].map(([i, j]) => [`row ${i + 1}, col ${j + 1}`, [i, j]]);
}

const at = (value, path) => path.reduce((part, i) => part[i], value);

function replaced(value, [i, ...rest], next) {
  return i === undefined ? next : value.map((part, j) => (j === i ? replaced(part, rest, next) : part));
}

// --------------------------------------------------------------------------------------------------------- the field

/** Energies at the samples, row by row from the upper left; the same for all positions but one score's. */
function sampled(state, places) {
  if (state.score === "location-based") {
    const row = locationBased(state.query, state.key, { weight: state.position_weight });
    return places.map(() => row[state.position]);
  }
  return SCORES[state.score].of(state)(state.query, places);
}

function samples(limit) {
  const step = (2 * limit) / (GRID - 1);
  return Array.from({ length: GRID * GRID }, (_, i) => [-limit + (i % GRID) * step, limit - Math.floor(i / GRID) * step]);
}

/** The end of the colour scale: a round number that holds every energy. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.5, 2, 3, 4, 6, 8, 10].find((lead) => lead * power >= value * (1 - 1e-9));
}

function spanOf(values, energies) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const far = Math.max(Math.abs(low), Math.abs(high), ...energies.map(Math.abs));
  return { low, high, end: far < 1e-9 ? 1 : roundUp(far), even: high - low < 1e-9 };
}

/** 256 colours from one end of the scale to the other, as 0xAABBGGRR. */
function palette(stops) {
  const rgb = stops.map((stop) => [1, 3, 5].map((i) => Number.parseInt(stop.slice(i, i + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const t = (i / 255) * (rgb.length - 1);
    const k = Math.min(Math.floor(t), rgb.length - 2);
    const [r, g, b] = rgb[k].map((from, c) => Math.round(from + (rgb[k + 1][c] - from) * (t - k)));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** The canvas under the drawing; `update` paints energies, again when theme or size change. */
function painter(frame, onPaint) {
  const node = html("canvas", { class: "attnlib-field-canvas", "aria-hidden": "true" });
  const small = html("canvas", { width: GRID, height: GRID });
  const image = new ImageData(GRID, GRID);
  const pixels = new Uint32Array(image.data.buffer);
  const tables = { light: palette(STOPS.light), dark: palette(STOPS.dark) };
  let last = null;
  const theme = () => (getComputedStyle(frame).colorScheme === "dark" ? "dark" : "light");
  function paint() {
    if (!last || !node.clientWidth) return;
    const colours = tables[theme()];
    const { values, end } = last;
    for (let i = 0; i < values.length; i += 1) pixels[i] = colours[Math.round(((values[i] / end + 1) / 2) * 255)];
    small.getContext("2d").putImageData(image, 0, 0);
    const side = Math.round(node.clientWidth * (window.devicePixelRatio || 1));
    if (node.width !== side) write(node, { width: side, height: side });
    const context = node.getContext("2d");
    context.imageSmoothingEnabled = true;
    context.drawImage(small, 0.5, 0.5, GRID - 1, GRID - 1, 0, 0, side, side);
    onPaint(last.end, theme());
  }
  const watch = new MutationObserver(paint);
  for (const part of [document.documentElement, document.body]) watch.observe(part, { attributes: true });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  new ResizeObserver(paint).observe(node);
  return {
    node,
    update(values, end) {
      last = { values, end };
      paint();
    },
  };
}

// ---------------------------------------------------------------------------------------------------------- contours

/** Level lines as three paths by sign, and where their numbers stand: apart from each other and from the marks. */
function contours(layer, words) {
  const paths = Object.fromEntries(["below", "zero", "above"].map((sign) => [sign, layer.appendChild(
    svg("path", { class: `attnlib-field-${sign}` }))]));
  const labels = pool(words, () => ({ node: svg("text") }));
  const side = (GRID + 1) / 2; // lines are straight enough on every other sample
  const cell = SIZE / (side - 1);
  const coarse = new Float64Array(side * side);
  return (values, { low, high, even }, taken) => {
    const d = { below: "", zero: "", above: "" };
    const texts = [];
    const spots = [...taken];
    if (!even) {
      for (let i = 0; i < coarse.length; i += 1) coarse[i] = values[2 * Math.floor(i / side) * GRID + 2 * (i % side)];
      const step = niceStep(high - low, 9);
      const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      // Not the level that the field only touches at its end.
      for (let n = Math.ceil(low / step + 0.02); n <= high / step - 0.02; n += 1) {
        const sign = n < 0 ? "below" : n > 0 ? "above" : "zero";
        for (const line of isolines(coarse, side, n * step)) {
          let path = "M";
          for (let i = 0; i < line.length; i += 2) path += `${(line[i] * cell).toFixed(1)} ${(line[i + 1] * cell).toFixed(1)} `;
          d[sign] += path;
          const spot = freeSpot(line, cell, spots);
          if (!spot) continue;
          spots.push(spot);
          texts.push([spot, n === 0 ? "0" : number(n * step, digits)]);
        }
      }
    }
    if (even) texts.push([[SIZE / 2, SIZE * 0.75], `${number(low)} everywhere`]);
    for (const [sign, path] of Object.entries(paths)) write(path, { d: d[sign] });
    labels(texts.length).forEach(({ node }, i) => {
      const [[x, y], text] = texts[i];
      write(node, { x, y: y + 4, text });
    });
  };
}

/** The place of a line that is farthest from all that is taken, if that is far enough and inside. */
function freeSpot(line, cell, taken) {
  let best = null;
  let room = 26;
  for (let i = 0; i < line.length; i += 4) {
    const spot = [line[i] * cell, line[i + 1] * cell];
    if (Math.min(spot[0], spot[1], SIZE - spot[0], SIZE - spot[1]) < 18) continue;
    const gap = Math.min(120, ...taken.map(([x, y]) => Math.hypot((x - spot[0]) * 0.8, y - spot[1])));
    if (gap > room) [best, room] = [spot, gap];
  }
  return best;
}

// ------------------------------------------------------------------------------------------------------ the drawing

const hexagon = (radius) => Array.from({ length: 6 }, (_, i) => [Math.cos((i * Math.PI) / 3), Math.sin((i * Math.PI) / 3)]
  .map((value) => (value * radius).toFixed(2)).join(",")).join(" ");

function drawing(view, { onQuery, onProbe, onPaint }) {
  const board = plane({ label: "The plane of keys", size: SIZE });
  const paint = painter(view.root, onPaint);
  const node = html("div", { class: "attnlib-field-board" }, paint.node, board.node);
  const lines = contours(board.layer("attnlib-field-lines"), board.layer("attnlib-field-words"));
  write(board.node.lastChild, { "aria-hidden": "true" });
  const rays = board.layer("attnlib-field-ray");
  rays.append(svg("line"), svg("line")); // the first is the halo of the second
  const keys = pool(board.layer("attnlib-field-keys"), () => {
    const text = svg("text", { y: 4 });
    return { node: svg("g", { "aria-hidden": "true" }, svg("circle", { r: 10 }), text), text };
  });
  const query = point({
    plane: board,
    mark: svg("g", { class: "attnlib-field-query" }, svg("polygon", { points: hexagon(12) }), svg("text", { y: 4, text: "q" })),
    name: "Query q",
    onMove: onQuery,
  });
  const probe = point({
    plane: board,
    mark: svg("path", { class: "attnlib-field-probe", d: "M-16 0H-8M8 0H16M0 -16V-8M0 8V16" }),
    name: "Probe",
    onMove: (place) => onProbe(place),
  });
  board.node.append(query.node, probe.node);
  write(probe.node, { style: "pointer-events:none" });

  let state = null;
  /** A pointer over the plane reads it; close to a key it reads the key. */
  function hover(event) {
    if (!state || query.node.hasAttribute("data-dragging") || event.target.closest(".attnlib-point")) return;
    const place = board.at(event);
    const near = state.key.find((key) => Math.hypot(board.x(key[0]) - board.x(place[0]), board.y(key[1]) - board.y(place[1])) < 11);
    onProbe(near ?? place.map((value) => Number(value.toFixed(2))));
  }
  board.node.addEventListener("pointermove", hover);
  board.node.addEventListener("pointerdown", hover);

  return {
    node,
    update(next, limit, values, span) {
      state = next;
      board.update(limit);
      paint.update(values, span.end);
      const place = (p) => [board.x(p[0]), board.y(p[1])];
      lines(values, span, [...state.key.map(place), place(state.query)]);
      const [x2, y2] = place(state.query);
      for (const ray of rays.children) write(ray, { x1: board.x(0), y1: board.y(0), x2, y2 });
      keys(state.key.length).forEach(({ node: mark, text }, i) => {
        const [x, y] = place(state.key[i]);
        write(mark, { transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})` });
        write(text, { text: state.labels[i] });
      });
      query.update(state.query);
    },
    probe: (place, words) => probe.update(place, words),
  };
}

// ------------------------------------------------------------------------------------------------ tables and controls

function keyTable() {
  const body = html("tbody");
  const rows = pool(body, () => {
    const cells = { label: html("th", { scope: "row" }), place: html("td"), energy: html("td", { class: "attnlib-number" }) };
    const value = html("span");
    const fill = html("span");
    const weight = html("td", {}, html("span", { class: "attnlib-field-weight" }, value,
      html("span", { class: "attnlib-field-bar", "aria-hidden": "true" }, fill)));
    return { node: html("tr", {}, cells.label, cells.place, cells.energy, weight), ...cells, value, fill };
  });
  const head = [["Key", ""], ["Place", ""], ["Energy", "attnlib-number"], ["Softmax weight", ""]].map(
    ([text, kind]) => html("th", { scope: "col", text, class: kind || null }));
  const node = html("table", { class: "attnlib-table attnlib-field-table" },
    html("caption", { text: "What a few keys get" }), html("thead", {}, html("tr", {}, ...head)), body);
  return {
    node,
    update(state, energies, weights) {
      rows(state.key.length).forEach(({ label, place, energy, value, fill }, i) => {
        write(label, { text: state.labels[i] });
        write(place, { text: pair(state.key[i], 1) });
        write(energy, { text: number(energies[i]) });
        write(value, { text: weights[i] > 0 && weights[i] < 5e-4 ? "< 0.0005" : number(weights[i], 3) });
        write(fill, { style: `width:${(100 * weights[i]).toFixed(2)}%` });
      });
    },
  };
}

/** The sliders of one parameter. */
function part(view, get, name) {
  const { words, cells, min, max, log } = PARTS[name];
  const sliders = cells.map(([label, path]) => slider({ label, min, max, log, step: log ? undefined : 0.05,
    onInput: (value) => view.set({ [name]: replaced(get()[name], path, value) }) }));
  const node = html("div", { class: "attnlib-field-part", role: "group", "aria-label": words },
    html("p", { class: "attnlib-field-title", text: words, "aria-hidden": "true" }), ...sliders.map((control) => control.node));
  return {
    node,
    update: (state) => sliders.forEach((control, i) => control.update(at(state[name], cells[i][1]))),
  };
}

/** The weights of one position at a time. */
function positions(view, get) {
  const which = slider({ label: "Position i of the key", min: 0, max: 1, step: 1, text: (value) => number(value, 0),
    onInput: (value) => view.set({ position: value - 1 }) });
  const input = which.node.querySelector("input");
  const sliders = [0, 1].map((j) => slider({ label: `w(i) ${j + 1}`, min: -2, max: 2, step: 0.05,
    onInput: (value) => view.set({ position_weight: replaced(get().position_weight, [get().position, j], value) }) }));
  const node = html("div", { class: "attnlib-field-part", role: "group", "aria-label": "Weights of a position" },
    which.node, ...sliders.map((control) => control.node));
  return {
    node,
    update(state) {
      write(input, { min: 1, max: state.key.length });
      which.update(state.position + 1);
      sliders.forEach((control, j) => control.update(state.position_weight[state.position][j]));
    },
  };
}

/** The colour scale, its ends and its middle in numbers. */
function legend() {
  const bar = html("span", { class: "attnlib-field-scale", "aria-hidden": "true" });
  const words = [0, 1, 2].map(() => html("span"));
  return {
    node: html("div", { class: "attnlib-field-legend" }, bar, html("p", { class: "attnlib-field-ends" }, ...words)),
    update(end, theme) {
      write(bar, { style: `background:linear-gradient(to right,${STOPS[theme].join(",")})` });
      const text = String(Number(end.toPrecision(3)));
      [`−${text}`, "energy 0", text].forEach((word, i) => write(words[i], { text: word }));
    },
  };
}

function build(view, first) {
  let state = first;
  let spot = first.key[0];
  const get = () => state;
  const score = choice({ label: "Score function", options: Object.entries(SCORES).map(([name, { words }]) => [name, words]),
    onInput: (value) => view.set({ score: value }) });
  const formula = html("p", { class: "attnlib-field-formula" });
  const parts = { ...Object.fromEntries(Object.keys(PARTS).map((name) => [name, part(view, get, name)])), position_weight: positions(view, get) };
  const scale = legend();
  const picture = drawing(view, {
    onPaint: scale.update,
    onQuery: (query) => view.set({ query }),
    onProbe(place) {
      spot = place;
      read();
    },
  });
  const reading = html("p", { class: "attnlib-field-reading" });
  const table = keyTable();
  const settings = html("div", { class: "attnlib-field-settings" }, ...Object.values(parts).map(({ node }) => node));
  view.root.append(html("div", { class: "attnlib-field" },
    html("div", { class: "attnlib-field-left" }, picture.node, scale.node, reading),
    html("div", { class: "attnlib-field-score" }, score.node, formula),
    settings, table.node));

  /** The energy under the probe, in words and as the probe's own value. */
  function read() {
    const energy = sampled(state, [spot])[0];
    const key = state.key.findIndex((place) => place[0] === spot[0] && place[1] === spot[1]);
    const place = state.score === "location-based" ? `position ${state.position + 1}, k` : "k";
    const name = key < 0 || place !== "k" ? place : `key ${state.labels[key]}`;
    write(reading, { text: `f(q, k) = ${number(energy)} for ${name} = ${pair(spot)}` });
    picture.probe(spot, `Probe, energy ${number(energy)}`);
  }

  let places = [];
  let limit = 0;
  let said = "";
  return (next) => {
    state = next;
    const reach = Math.max(3, Math.ceil(Math.max(...state.key.flat().map(Math.abs)) + 0.3), Math.ceil(Math.max(...state.query.map(Math.abs))));
    if (reach !== limit) places = samples(limit = reach);
    const values = sampled(state, places);
    const energies = SCORES[state.score].of(state)(state.query, state.key);
    const span = spanOf(values, energies);
    const weights = softmax(energies);
    picture.update(state, limit, values, span);
    table.update(state, energies, weights);
    score.update(state.score);
    write(formula, { text: `f(q, k) = ${SCORES[state.score].formula}` });
    write(settings, { hidden: SCORES[state.score].parts.length === 0 });
    for (const [name, control] of Object.entries(parts)) {
      const shown = SCORES[state.score].parts.includes(name);
      write(control.node, { hidden: !shown });
      if (shown) control.update(state);
    }
    read();
    const news = `q = ${pair(state.query)}. Softmax weights ${state.labels.map((label, i) => `${label} ${number(weights[i], 3)}`).join(", ")}.`;
    if (said && said !== news) view.say(news);
    said = news;
  };
}

const unnamed = "Your own field";
const hint = "Drag the query, or move it with the arrow keys: how does the field turn?";

export default { build, unnamed, hint };
