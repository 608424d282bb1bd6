// KernelSmoother: keys on a line with their values, and what a kernel makes of them at every query.

import { button, choice, slider } from "../js/controls.js";
import { html, pool, svg, write } from "../js/dom.js";
import { smooth } from "../js/math/kernel_smoother.js";
import { border, legend, mark, plane, point, reach } from "../js/plane.js";
import { replaced } from "../js/scores.js";
import { table } from "../js/table.js";
import { number } from "../js/text.js";

const MOST = 12;
const STEPS = 240; // of the curve
const SIDE = 3; // how far from 0 further keys may lie
const VALUE = 1; // of a further key
const KERNELS = {
  radial: ["radial", "exp(−(q − k)² / 2h²)"],
  exponential: ["exponential (softmax)", "exp(qk / h²)"],
  "elu + 1": ["elu + 1", "φ(q/h) φ(k/h), φ = elu + 1"],
  polynomial: ["polynomial", "(1 + qk / h²)ᵖ"],
  linear: ["linear", "qk / h²"],
};
/** Where a further key finds room: in the middle of the widest gap, the ends of the line among them. */
function room(points) {
  const places = [-SIDE, ...points.map(([key]) => key).filter((key) => Math.abs(key) < SIDE), SIDE].sort(
    (a, b) => a - b,
  );
  const gaps = places.slice(1).map((place, i) => place - places[i]);
  const widest = gaps.indexOf(Math.max(...gaps));
  return Number((places[widest] + gaps[widest] / 2).toFixed(2));
}

/** The curve as a path, with a gap where there is no average. */
function traced(found, place) {
  return found
    .map(([x, { context, none }], i) => {
      if (none) return "";
      const [across, down] = place([x, context]).map((pixel) => pixel.toFixed(1));
      return `${i === 0 || found[i - 1][1].none ? "M" : "L"}${across} ${down}`;
    })
    .join("");
}

const letter = (i) => String.fromCharCode(65 + i);
/** A number of the kernel, as a power of e where it is too large or too small to be written. */
const short = (value, log) => {
  if (log !== undefined && (value === 0 || value === Infinity)) return `e^${number(log, 0)}`;
  const size = Math.abs(value);
  const far = size >= 1e4 || (size > 0 && size < 0.005);
  return far && Number.isFinite(size) ? value.toExponential(1).replace(/-/g, "−").replace("+", "") : number(value);
};

function drawing(view, get) {
  const toQuery = ([x]) => view.set({ query: x });
  const board = plane({ label: "Keys to the right, values upwards", onTap: toQuery });
  const curve = board.layer("attnlib-smoother-curve").appendChild(svg("path"));
  const flows = pool(board.layer("attnlib-flows"), () => ({ node: svg("line") }));
  const drop = board.layer("attnlib-smoother-drop").appendChild(svg("line"));
  const keys = pool(board.layer(), () => mark("key"));
  const [query, context] = [mark("query"), mark("context")];
  board.layer().append(context.node);
  const asks = point({ plane: board, mark: query.node, name: "Query q", onMove: toQuery });
  board.node.append(asks.node);
  const grips = pool(board.layer(), (i) =>
    point({ plane: board, onMove: (place) => view.set({ points: replaced(get().points, [i], place) }) }),
  );
  query.update("q");
  return {
    node: board.node,
    update(state, found) {
      const { points } = state;
      board.update(reach([...points, [state.query, 0]]));
      const edge = border(board.limit);
      const inside = (value) => Math.min(Math.max(value, -edge), edge);
      const far = (value) => Math.min(Math.max(value, -9 * edge), 9 * edge);
      const places = Array.from({ length: STEPS + 1 }, (_, i) => edge * ((2 * i) / STEPS - 1));
      const seen = places.map((x) => [x, smooth(x, points, state)]);
      write(curve, { d: traced(seen, ([x, height]) => board.place([x, far(height)])) });
      const end = [state.query, inside(found.context)];
      const [x2, y2] = board.place(end);
      write(drop, { x1: x2, x2, y1: board.y(0), y2, hidden: found.none });
      flows(points.length).forEach(({ node }, i) => {
        const [x1, y1] = board.place(points[i]);
        const weight = found.weights[i];
        write(node, {
          x1,
          y1,
          x2,
          y2,
          "stroke-width": 0.5 + 9 * Math.min(Math.abs(weight), 1),
          "data-none": weight === 0,
          "data-negative": weight < 0,
        });
      });
      keys(points.length).forEach((each, i) => each.update(letter(i), { place: board.place(points[i]) }));
      context.update("c", { place: [x2, y2], hollow: end[1] !== found.context });
      write(context.node, { hidden: found.none });
      asks.update(
        [state.query, 0],
        "Query q",
        `q ${number(state.query)}, ${found.none ? "no context" : `context ${number(found.context)}`}`,
      );
      grips(points.length).forEach((grip, i) =>
        grip.update(points[i], `Key ${letter(i)}`, `key ${number(points[i][0])}, value ${number(points[i][1])}`),
      );
    },
  };
}

function settings(view, get) {
  const kernel = choice({
    label: "Kernel",
    options: Object.entries(KERNELS).map(([name, [words]]) => [name, words]),
    onInput: (value) => view.set({ kernel: value }),
  });
  const width = slider({
    label: "Bandwidth h",
    min: 0.1,
    max: 5,
    log: true,
    onInput: (value) => view.set({ width: value }),
  });
  const degree = slider({
    label: "Degree p",
    min: 1,
    max: 6,
    step: 1,
    text: (value) => number(value, 0),
    onInput: (value) => view.set({ degree: value }),
  });
  const add = button({
    label: "Add a key",
    onClick: () => get().points.length < MOST && view.set({ points: [...get().points, [room(get().points), VALUE]] }),
  });
  const remove = button({
    label: "Remove the last key",
    onClick: () => get().points.length > 1 && view.set({ points: get().points.slice(0, -1) }),
  });
  return {
    node: html(
      "div",
      { class: "attnlib-settings" },
      html("div", { class: "attnlib-controls" }, kernel.node, width.node, degree.node),
      html("div", { class: "attnlib-buttons" }, add.node, remove.node),
    ),
    update(state) {
      kernel.update(state.kernel);
      width.update(state.width, state.kernel === "linear" ? { disabled: true, note: "cancels" } : {});
      degree.update(state.degree);
      write(degree.node, { hidden: state.kernel !== "polynomial" });
      add.update({ disabled: state.points.length >= MOST });
      remove.update({ disabled: state.points.length < 2 });
    },
  };
}

function build(view, first) {
  let state = first;
  const get = () => state;
  const picture = drawing(view, get);
  const marks = legend(
    ["query", "q", "query, drag it along the line"],
    ["key", "A", "key and its value, drag it"],
    ["context", "c", "context"],
  );
  const weights = table({ columns: ["Key", "Weight", "Value", "Kernel"], bars: 1, kind: "attnlib-looks" });
  const controls = settings(view, get);
  view.root.append(
    html(
      "div",
      { class: "attnlib-two" },
      html("div", {}, picture.node, marks.node),
      html("div", { class: "attnlib-side" }, weights.node, view.caption, controls.node),
    ),
  );
  return (next) => {
    state = next;
    const found = smooth(state.query, state.points, state);
    picture.update(state, found);
    marks.update("query", "key", "context");
    const part = (i) => ({ text: number(found.weights[i], 3), part: Math.min(Math.abs(found.weights[i]), 1) });
    weights.update(
      state.points.map(([, value], i) => [letter(i), part(i), number(value), short(found.kernels[i], found.logs?.[i])]),
      {
        caption: `Kernel ${KERNELS[state.kernel][1]} at q = ${number(state.query)}`,
        kind: (i) => (found.weights[i] < 0 ? "attnlib-smoother-below" : null),
      },
    );
    controls.update(state);
    const some = found.weights.some((weight) => weight < 0) ? " Some weights are negative: no distribution." : "";
    const told = found.none
      ? "the kernel adds up to 0, so there is no average here."
      : `the weighted mean of the values is c = ${number(found.context)}.${some}`;
    view.news(`q = ${number(state.query)}: ${told}`);
  };
}

const unnamed = "Your own keys";
const hint = "Drag the query, or move it with the arrow keys: which weights change, and does the curve bend?";

export default { build, unnamed, hint };
