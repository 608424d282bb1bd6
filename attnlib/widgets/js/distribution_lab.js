// DistributionLab: three logits, the weights that four distributions make of them, and where those lie on the simplex.
//
// The picture is the plane of logits seen along (1, 1, 1), in true lengths: adding a number to all logits moves nothing.
// The simplex is a triangle in that plane, sparsemax is the nearest point of it, and temperature is a ray from its middle.

import { entmax, sigmoid, softmax, sparsemax } from "./attention.js";
import { button, choice, define, html, need, number, point, pool, slider, svg, toggle, write } from "./ui.js";

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

const PRESETS = [
  ["Two survive", { logits: [-2, 0, 0.5], temperature: 1, alpha: 1.5 },
    "Softmax leaves A 5 %. Entmax and sparsemax give it exactly 0: lower A further and they do not move at all."],
  ["One cut off", { logits: [1, 0.8, 0.1], temperature: 1, alpha: 1.5, path: "alpha" },
    "Entmax 1.5 still keeps 8 % for C, sparsemax gives it 0. Raise α from 1.5 to 2 and watch where the path meets the edge."],
  ["A tie", { logits: [1, 1, 0], temperature: 1, alpha: 1.5, path: "temperature" },
    "Equal logits get equal weights. However cold it gets, no path reaches a corner: they end in the middle of the edge A–B."],
  ["One-hot", { logits: [2.2, 0.9, 0], temperature: 1, alpha: 1.5, path: "temperature" },
    "A leads by more than T, so sparsemax gives it everything, and a small change of any logit changes nothing: no gradient."],
  ["Shifted by 2", { logits: [3, 2.8, 2.1], temperature: 1, alpha: 1.5 },
    "The logits of “One cut off” plus 2. Nothing moves on the simplex; sigmoid alone can tell the difference."],
];

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
  return Array.from({ length: 97 }, (_, i) => {
    const t = i / 96;
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
  return svg("g", { class: `attnlib-sign attnlib-${name}` }, shape);
}

function simplex(view, onMove) {
  const node = svg("svg", { class: "attnlib-plane attnlib-simplex", viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "group",
    "aria-label": "The simplex in the plane of logits" });
  const board = makeBoard(node);
  const layer = (name) => node.appendChild(svg("g", { class: name, "aria-hidden": "true" }));
  const regions = layer("attnlib-regions");
  const strips = [[0, 1], [0, 2], [1, 2]].map((edge) => ({ edge, node: regions.appendChild(svg("polygon")) }));
  const inside = regions.appendChild(svg("polygon", { class: "attnlib-inside" }));
  const grid = regions.appendChild(svg("path", { class: "attnlib-rules" }));
  const words = pool(layer("attnlib-words"), () => ({ node: svg("text") }));
  const paths = Object.fromEntries(ON_SIMPLEX.map((name) => [name, layer("attnlib-paths").appendChild(
    svg("polyline", { class: `attnlib-${name}` }))]));
  const ray = layer("attnlib-paths").appendChild(svg("polyline", { class: "attnlib-ray" }));
  const ends = pool(layer("attnlib-words attnlib-ends"), () => ({ node: svg("text") }));
  const drop = layer("attnlib-drop").appendChild(svg("line"));
  const signs = layer("attnlib-signs");
  const marks = Object.fromEntries(ON_SIMPLEX.map((name) => [name, signs.appendChild(sign(name))]));
  const handle = point({
    plane: board,
    name: "Logits divided by the temperature",
    mark: svg("path", { class: "attnlib-cross", d: "M-11 0H-4M4 0H11M0 -11V-4M0 4V11M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0" }),
    onMove,
  });
  node.append(handle.node);

  /** What only depends on the zoom. */
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
    const labels = [
      ...corners.map(([x, y], i) => [["A", "B", "C"][i], x + [-15, 15, 0][i], y + [16, 16, -10][i], "attnlib-corner"]),
      ["support 3", BOX.x, corners[0][1] - 8, ""],
      ["support 2", BOX.x, corners[0][1] + (state.wide ? 40 : 26), ""],
      ["support 1", ...(state.wide ? [70, 330] : [46, 352]), ""],
    ];
    words(labels.length).forEach(({ node: text }, i) => {
      const [content, x, y, kind] = labels[i];
      write(text, { text: state.wide && content === "support 3" ? "3" : content, x, y, class: kind || null, "text-anchor": "middle" });
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
    update(state, weights, changed) {
      const place = flat(state.logits.map((value) => value / state.temperature));
      board.put(place, state.wide);
      if (changed.ground) ground(state);
      if (changed.route) route(state);
      for (const name of ON_SIMPLEX) {
        const [x, y] = board.pixels(flat(weights[name]));
        write(marks[name], { transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})` });
      }
      const [x1, y1] = [board.x(place[0]), board.y(place[1])];
      const [x2, y2] = board.pixels(flat(weights.sparsemax));
      write(drop, { x1, y1, x2, y2 });
      write(handle.node, { "data-outside": board.held < 1 });
      const ends_ = state.path === "temperature" ? ["T = ∞", "T = 0"] : ["α = 1", "α = ∞"];
      void ends_;
      handle.update(place, "Logits over temperature", state.logits
        .map((value, i) => `${"ABC"[i]} ${number(value / state.temperature)}`).join(", "));
    },
  };
}
