// DistributionLab: three logits, the weights that four distributions make of them, and where those lie on the simplex.
//
// The picture is the plane of logits seen along (1, 1, 1), in true lengths: adding a number to all logits moves nothing.
// The simplex is a triangle in that plane, sparsemax is the nearest point of it, and temperature is a ray from its middle.

import { choice, slider, toggle } from "./js/controls.js";
import { html, pool, svg, write } from "./js/dom.js";
import { entmax, sigmoid, softmax, sparsemax } from "./js/math/distributions.js";
import { point } from "./js/plane.js";
import { number } from "./js/text.js";

const LIMIT = 5; // of a logit
const ALPHA = { min: 1.05, max: 4 };
const COOL = { min: 0.1, max: 10 }; // temperatures of the slider; the drawn path goes further
const BOX = { width: 440, height: 360, x: 220, y: 214 }; // x, y: the middle of the triangle
const ANGLES = [210, 330, 90].map((degrees) => (degrees * Math.PI) / 180);
const AXES = ANGLES.map((angle) => [Math.sqrt(2 / 3) * Math.cos(angle), Math.sqrt(2 / 3) * Math.sin(angle)]);
const CORNERS = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];

const DISTRIBUTIONS = {
  softmax: { weigh: (z, s) => softmax(z, { temperature: s.temperature }), words: () => "softmax" },
  entmax: {
    weigh: (z, s) => entmax(z, { alpha: s.alpha, temperature: s.temperature }),
    words: (s) => `entmax, α = ${number(s.alpha)}`,
  },
  sparsemax: { weigh: (z, s) => sparsemax(z, { temperature: s.temperature }), words: () => "sparsemax" },
  sigmoid: { weigh: (z, s) => sigmoid(z, { temperature: s.temperature }), words: () => "sigmoid" },
};
const ON_SIMPLEX = ["softmax", "entmax", "sparsemax"];
const PATHS = { temperature: "temperature, T from ∞ to 0", alpha: "α of entmax, from 1 to ∞" };

// ------------------------------------------------------------------------------------------------------ geometry

/** From three numbers to the plane across (1, 1, 1), and back to three numbers that sum to zero. */
const flat = (z) => [0, 1].map((j) => z.reduce((sum, value, i) => sum + value * AXES[i][j], 0));
const lifted = (p) => AXES.map((axis) => axis[0] * p[0] + axis[1] * p[1]);
const mean = (z) => (z[0] + z[1] + z[2]) / 3;

/** The board that `point` moves on: true lengths, the middle of the simplex at (0, 0). */
function makeBoard(node) {
  const self = {
    limit: 100, // the sliders' limits hold it, not the picture's
    unit: 1,
    held: 1,
    place: [0, 0],
    x: (value) => BOX.x + value * self.unit * self.held,
    y: (value) => BOX.y - value * self.unit * self.held,
    pixels: (p) => [BOX.x + p[0] * self.unit, BOX.y - p[1] * self.unit],
    /** A point outside the picture is shown on its border; taken there, it comes to the pointer. */
    put(place, wide) {
      self.unit = wide ? 74 : 176;
      self.place = place;
      const [x, y] = [place[0] * self.unit, -place[1] * self.unit];
      const room = [x > 0 ? BOX.width - BOX.x - 16 : BOX.x - 16, y > 0 ? BOX.height - BOX.y - 16 : BOX.y - 16];
      self.held = Math.min(1, room[0] / Math.abs(x), room[1] / Math.abs(y));
    },
    at(event) {
      if (event.type === "pointerdown" && self.held < 1) return self.place;
      const box = node.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * BOX.width;
      const y = ((event.clientY - box.top) / box.height) * BOX.height;
      return [(x - BOX.x) / self.unit, (BOX.y - y) / self.unit];
    },
  };
  return self;
}

const line = (points) => points.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ");

/** Corners of the strip that sparsemax sends to the edge between two keys. */
function strip(i, j) {
  const [a, b] = [flat(CORNERS[i]), flat(CORNERS[j])];
  const away = [(a[0] + b[0]) * 20, (a[1] + b[1]) * 20];
  return [a, b, [b[0] + away[0], b[1] + away[1]], [a[0] + away[0], a[1] + away[1]]];
}

/** Places along the path of one distribution, from the spread-out end to the sharp one. */
function pathOf(name, state) {
  const { weigh } = DISTRIBUTIONS[name];
  return Array.from({ length: 65 }, (_, i) => {
    const t = i / 64;
    const setting = state.path === "temperature"
      ? { ...state, temperature: 60 * (0.02 / 60) ** t }
      : { ...state, alpha: 1 + 0.01 * 4000 ** t };
    return flat(weigh(state.logits, setting));
  });
}

// ------------------------------------------------------------------------------------------------------- drawing

/** The sign of a distribution: a shape of its own in a colour of its own. */
function sign(name) {
  const shape = {
    softmax: svg("circle", { r: 6.5 }),
    entmax: svg("path", { d: "M0 -8.5L8.5 0L0 8.5L-8.5 0Z" }),
    sparsemax: svg("rect", { x: -6, y: -6, width: 12, height: 12 }),
    sigmoid: svg("path", { d: "M-6 -6L6 6M-6 6L6 -6" }),
  }[name];
  return svg("g", { class: `attnlib-lab-sign attnlib-lab-${name}` }, shape);
}

function simplex(onMove) {
  const node = svg("svg", { class: "attnlib-plane attnlib-lab-simplex", viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "group",
    "aria-label": "The simplex in the plane of logits" });
  const board = makeBoard(node);
  const layer = (name) => node.appendChild(svg("g", { class: name, "aria-hidden": "true" }));
  const regions = layer("attnlib-lab-regions");
  const strips = [[0, 1], [0, 2], [1, 2]].map((edge) => ({ edge, node: regions.appendChild(svg("polygon")) }));
  const inside = regions.appendChild(svg("polygon", { class: "attnlib-lab-inside" }));
  const grid = regions.appendChild(svg("path", { class: "attnlib-lab-rules" }));
  const words = pool(layer("attnlib-lab-words"), () => ({ node: svg("text") }));
  const paths = Object.fromEntries(ON_SIMPLEX.map((name) => [name, layer("attnlib-lab-paths").appendChild(
    svg("polyline", { class: `attnlib-lab-${name}` }))]));
  const ray = layer("attnlib-lab-paths").appendChild(svg("polyline", { class: "attnlib-lab-ray" }));
  const drop = layer("attnlib-lab-drop").appendChild(svg("line"));
  const signs = layer("attnlib-lab-signs");
  const marks = Object.fromEntries(ON_SIMPLEX.map((name) => [name, signs.appendChild(sign(name))]));
  const handle = point({
    plane: board,
    name: "Logits divided by the temperature",
    mark: svg("path", { class: "attnlib-lab-cross", d: "M-11 0H-4M4 0H11M0 -11V-4M0 4V11M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0" }),
    onMove,
  });
  node.append(handle.node);

  let drawn = "";

  function ground(state) {
    const to = (p) => board.pixels(p);
    strips.forEach(({ edge, node: shape }) => write(shape, { points: line(strip(...edge).map(to)) }));
    const corners = CORNERS.map((corner) => to(flat(corner)));
    write(inside, { points: line(corners) });
    const rules = [0.25, 0.5, 0.75].flatMap((part) => [0, 1, 2].map((i) => {
      const [j, k] = [(i + 1) % 3, (i + 2) % 3];
      const end = (other) => to(flat(CORNERS[i].map((_, n) => (n === i ? part : n === other ? 1 - part : 0))));
      return `M${line([end(j)])}L${line([end(k)])}`;
    }));
    write(grid, { d: state.wide ? "" : rules.join("") });
    const top = Math.max(...state.logits);
    const winners = state.logits.flatMap((value, i) => (value === top ? [i] : []));
    const end = state.path === "temperature" ? "T → 0" : "α → ∞";
    const labels = corners.map(([x, y], i) => {
      const wins = winners.length === 1 && winners[0] === i;
      return [wins ? `${"ABC"[i]}, ${end}` : "ABC"[i], x + [-9, 9, 0][i], y + [19, 19, -12][i], "attnlib-lab-corner", ["end", "start", "middle"][i]];
    });
    if (winners.length === 2) {
      const [p, q] = winners.map((i) => corners[i]);
      const [x, y] = [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2];
      const out = Math.hypot(x - BOX.x, y - BOX.y);
      const [ox, oy] = [(x - BOX.x) / out, (y - BOX.y) / out];
      labels.push([end, x + ox * 18 + oy * 36, y + oy * 18 - ox * 36 + 4, "attnlib-lab-corner"]); // beside the fall of the ring
    }
    // Where the paths never come: towards the smallest logit.
    const low = corners[state.logits.indexOf(Math.min(...state.logits))];
    const [x3, y3] = [BOX.x + (low[0] - BOX.x) * 0.5, BOX.y + (low[1] - BOX.y) * 0.5 + 5];
    const [x2, y2] = [(corners[1][0] + corners[2][0]) / 2, (corners[1][1] + corners[2][1]) / 2];
    labels.push([state.wide ? "3" : "support 3", x3, y3, ""], ["support 2", x2 + 74, y2 - 30, ""],
      ["support 1", BOX.width - 44, BOX.height - 14, ""]);
    words(labels.length).forEach(({ node: text }, i) => {
      const [content, x, y, kind, anchor = "middle"] = labels[i];
      write(text, { text: content, x, y, class: kind || null, "text-anchor": anchor });
    });
  }

  function route(state) {
    const z = state.logits.map((value) => value - mean(state.logits));
    for (const name of ON_SIMPLEX) {
      const shown = state.path === "temperature" || name === "entmax";
      write(paths[name], { points: shown ? line(pathOf(name, state).map(board.pixels)) : "" });
    }
    const far = flat(z.map((value) => value * 60));
    write(ray, { points: state.path === "temperature" ? line([board.pixels([0, 0]), board.pixels(far)]) : "" });
  }

  return {
    node,
    outside: () => board.held < 1,
    update(state, weights) {
      const place = flat(state.logits.map((value) => value / state.temperature));
      board.put(place, state.wide);
      const { temperature, ...rest } = state;
      const now = JSON.stringify(state.path === "temperature" ? rest : state);
      if (now !== drawn) {
        ground(state);
        route(state);
        drawn = now;
      }
      for (const name of ON_SIMPLEX) {
        const [x, y] = board.pixels(flat(weights[name]));
        write(marks[name], { transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})` });
      }
      const [x1, y1] = [board.x(place[0]), board.y(place[1])];
      const [x2, y2] = board.pixels(flat(weights.sparsemax));
      write(drop, { x1, y1, x2, y2, visibility: board.held < 1 ? "hidden" : null });
      write(handle.node, { "data-outside": board.held < 1 });
      handle.update(place, "Logits over temperature", state.logits
        .map((value, i) => `${"ABC"[i]} ${number(value / state.temperature)}`).join(", "));
    },
  };
}

/** The four distributions as rows, the three keys as columns: a number over its bar. */
function table() {
  const body = html("tbody");
  const rows = Object.entries(DISTRIBUTIONS).map(([name, { words }]) => {
    const mark = svg("svg", { class: "attnlib-lab-key", viewBox: "-10 -10 20 20", "aria-hidden": "true" }, sign(name));
    const title = html("span");
    const head = html("th", { scope: "row" }, html("span", { class: "attnlib-lab-name" }, mark, title));
    const cells = [0, 1, 2].map(() => {
      const value = html("span", { class: "attnlib-lab-weight" });
      const bar = html("span", { class: `attnlib-lab-bar attnlib-lab-${name}` });
      return { node: html("td", {}, value, html("span", { class: "attnlib-lab-track", "aria-hidden": "true" }, bar)), value, bar };
    });
    const sum = html("td", { class: "attnlib-lab-sum" });
    body.append(html("tr", {}, head, ...cells.map(({ node }) => node), sum));
    return { name, words, title, cells, sum };
  });
  const columns = ["Distribution", "A", "B", "C", "Sum"].map((text) => html("th", { scope: "col", text }));
  const node = html("table", { class: "attnlib-table attnlib-lab-shares" },
    html("caption", { text: "Weights side by side" }), html("thead", {}, html("tr", {}, ...columns)), body);
  return {
    node,
    update(state, weights) {
      for (const { name, words, title, cells, sum } of rows) {
        write(title, { text: words(state) });
        cells.forEach(({ node: cell, value, bar }, i) => {
          write(value, { text: share(weights[name][i]) });
          write(cell, { "data-zero": weights[name][i] === 0 });
          write(bar, { style: `width:${(100 * weights[name][i]).toFixed(2)}%` });
        });
        const total = weights[name].reduce((a, b) => a + b, 0);
        write(sum, { text: Math.abs(total - 1) < 5e-4 ? "1" : `${number(total, 2)} ≠ 1` });
      }
    },
  };
}

/** A weight in words: exactly 0 is told apart from what merely rounds to it. */
function share(weight) {
  if (weight === 0) return "exactly 0";
  if (weight === 1) return "exactly 1";
  return weight < 5e-4 ? "< 0.0005" : number(weight, 3);
}

const letters = (weights) => weights.map((weight, i) => `${"ABC"[i]} ${share(weight)}`).join(", ");

function build(view, first) {
  const current = { ...first };
  const bounded = (value) => Number(Math.min(Math.max(value, -LIMIT), LIMIT).toFixed(3));
  const triangle = simplex((place) => {
    const middle = mean(current.logits);
    view.set({ logits: lifted(place).map((value) => bounded(value * current.temperature + middle)) });
  });
  const caption = html("p", { class: "attnlib-lab-caption" });
  const logits = [0, 1, 2].map((i) => slider({
    label: `Logit ${"ABC"[i]}`, min: -LIMIT, max: LIMIT, step: 0.05,
    onInput: (value) => view.set({ logits: current.logits.map((old, j) => (j === i ? value : old)) }),
  }));
  const temperature = slider({ label: "Temperature T", ...COOL, log: true, onInput: (value) => view.set({ temperature: value }) });
  const alpha = slider({ label: "α of entmax", ...ALPHA, step: 0.05, onInput: (value) => view.set({ alpha: value }) });
  const path = choice({ label: "Draw the path of", options: Object.entries(PATHS), onInput: (value) => view.set({ path: value }) });
  const wide = toggle({ label: "Show more of the plane", onInput: (value) => view.set({ wide: value }) });
  const shares = table();
  const odd = html("p", { class: "attnlib-lab-caption" });

  view.root.append(
    html("div", { class: "attnlib-lab" },
      html("div", {}, triangle.node, caption),
      html("div", { class: "attnlib-controls" }, ...[...logits, temperature, alpha, path, wide].map(({ node }) => node))),
    shares.node, odd);

  let said = "";
  return (state) => {
    Object.assign(current, state);
    const weights = Object.fromEntries(Object.entries(DISTRIBUTIONS).map(([name, { weigh }]) => [name, weigh(state.logits, state)]));
    triangle.update(state, weights);
    shares.update(state, weights);
    logits.forEach((control, i) => control.update(state.logits[i]));
    temperature.update(state.temperature);
    alpha.update(state.alpha);
    path.update(state.path);
    wide.update(state.wide);
    const route = state.path === "temperature"
      ? "Paths: T from ∞ (the middle, all alike) down to 0; the ring moves on the dashed ray."
      : "Path: α from 1 (softmax) through 2 (sparsemax) to ∞.";
    const out = triangle.outside() ? ", now outside the picture and held on its border" : "";
    write(caption, { text: `${route} The ring is the logits over T${out}. Sparsemax is the nearest point of the triangle;`
      + " support is the number of keys it keeps for a ring in that region." });
    const total = number(weights.sigmoid.reduce((a, b) => a + b, 0), 3);
    write(odd, { text: `Sigmoid weighs each key on its own. Its weights sum to ${total}, not to 1, so it has no place on the simplex.` });
    const news = Object.entries(DISTRIBUTIONS).map(([name, { words }]) => `${words(state)}: ${letters(weights[name])}.`).join(" ");
    if (said && said !== news) view.say(news);
    said = news;
  };
}

const unnamed = "Your own logits";
const hint = "Move a logit, or drag the ring: which weights reach exactly 0, and when?";

export default { build, unnamed, hint };
