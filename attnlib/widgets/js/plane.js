// A plane of points, for the family of QueryTuner and ScoreField: the board, points to drag or to move with the keys,
// marks, arrows. Beside it: scores.js (which score, its parameters), keys.js (what each key gets), field.js (colours).

import { html, pool, svg, write } from "./dom.js";
import { handle } from "./handle.js";
import { number } from "./text.js";

/** 1, 2 or 5 times a power of ten, at least 1, of which about a dozen fit between -limit and limit. */
function gridStep(limit) {
  const power = 10 ** Math.floor(Math.log10(Math.max(limit / 5, 1)));
  return [1, 2, 5, 10].map((unit) => unit * power).find((step) => step * 6 >= limit);
}

/** A number of the grid, short however large it is. */
const numeral = (value) =>
  Math.abs(value) < 1e4 ? number(value, 0) : value.toExponential(0).replace("e+", "e").replace("-", "−");

/** How far points go, at least 3; and the border, so far out that the mark and the ring of each are inside. */
export const reach = (points) => Math.max(3, Math.ceil(Math.max(...points.flat().map(Math.abs))));
export const border = (limit) => 1.12 * limit;

const held = (place, limit) => place.map((value) => Math.min(Math.max(value, -limit), limit));

/**
 * A square piece of the plane for points from -limit to limit, with axes and a grid; `layer(name)` gives a new <g>.
 * onTap([x, y]) tells of a click, or a tap, where no point is; to swipe is to scroll the page.
 */
export function plane({ label, onTap, size = 400 }) {
  const grid = svg("g", { class: "attnlib-grid" });
  const node = svg(
    "svg",
    { class: "attnlib-plane attnlib-board", viewBox: `0 0 ${size} ${size}`, role: "group", "aria-label": label },
    grid,
  );
  const lines = pool(grid, () => ({ node: svg("line") }));
  const numerals = pool(node.appendChild(svg("g", { class: "attnlib-numerals", "aria-hidden": "true" })), () => ({
    node: svg("text"),
  }));
  let [limit, edge, step] = [1, 1, 1];
  const self = {
    node,
    size,
    x: (value) => ((value + edge) / (2 * edge)) * size,
    y: (value) => ((edge - value) / (2 * edge)) * size,
    place: ([x, y]) => [self.x(x), self.y(y)],
    get limit() {
      return limit;
    },
    /** From one line of the grid to the next. */
    get step() {
      return step;
    },
    layer: (name) => node.appendChild(svg("g", { class: name })),
    /** The point of the plane under a pointer event, held inside the limits. */
    at(event) {
      const box = node.getBoundingClientRect();
      const parts = [(event.clientX - box.left) / box.width, (box.bottom - event.clientY) / box.height];
      return held(
        parts.map((part) => Number(((2 * part - 1) * edge).toFixed(2))),
        limit,
      );
    },
    update(next) {
      if (next === limit) return;
      [limit, edge, step] = [next, border(next), gridStep(next)];
      const marks = [];
      for (let n = Math.ceil(-limit / step); n * step <= limit; n += 1) marks.push(n * step);
      const all = lines(marks.length * 2);
      const words = numerals(marks.length * 2);
      marks.forEach((value, i) => {
        const main = value === 0 ? "attnlib-axis" : null;
        const text = value === 0 ? "" : numeral(value);
        write(all[2 * i].node, { x1: self.x(value), x2: self.x(value), y1: 0, y2: size, class: main });
        write(all[2 * i + 1].node, { x1: 0, x2: size, y1: self.y(value), y2: self.y(value), class: main });
        write(words[2 * i].node, { x: self.x(value), y: self.y(0) + 13, "text-anchor": "middle", text });
        write(words[2 * i + 1].node, { x: self.x(0) - 5, y: self.y(value) + 4, "text-anchor": "end", text });
      });
    },
  };
  let pressed = null;
  node.addEventListener("pointerdown", ({ target, clientX, clientY }) => {
    pressed = target.closest(".attnlib-point") ? null : [clientX, clientY];
  });
  node.addEventListener("click", (event) => {
    if (pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 8) onTap(self.at(event));
  });
  return self;
}

/**
 * A point of the plane to drag, or to move with the arrow keys (a tenth of the grid's step, with Shift half), Page Up
 * and Page Down (half a step) and to the left and right end with Home and End. `mark` is the SVG drawn at (0, 0), if any;
 * onMove([x, y]) and onFocus() tell.
 * `update([x, y], label, words)` places it and says its label and value.
 */
export function point({ plane: board, mark, name, onMove, onFocus = () => {} }) {
  const grip = handle({
    mark,
    at: (event) => board.at(event),
    moves([x, y], part) {
      const [step, page] = [part, 0.5].map((each) => each * (board.step ?? 1));
      return {
        ArrowLeft: [x - step, y],
        ArrowRight: [x + step, y],
        ArrowUp: [x, y + step],
        ArrowDown: [x, y - step],
        PageUp: [x, y + page],
        PageDown: [x, y - page],
        Home: [-board.limit, y],
        End: [board.limit, y],
      };
    },
    hold: (place) => held(place, board.limit),
    onMove,
    onFocus,
  });
  write(grip.node, { "aria-roledescription": "movable point" });
  return {
    node: grip.node,
    update([x, y], label = name, words = `x ${number(x)}, y ${number(y)}`) {
      grip.update([x, y], { x: board.x(x), y: board.y(y), label, words, now: x, min: -board.limit, max: board.limit });
    },
  };
}

/** The `d` of an arrow from one pixel to another, with a head of `head` pixels; empty where the two are one. */
export function arrow([x1, y1], [x2, y2], head = 8) {
  const length = Math.hypot(x2 - x1, y2 - y1);
  if (length < 1) return "";
  const [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
  const size = Math.min(head, length);
  const [bx, by] = [x2 - ux * size, y2 - uy * size];
  const half = size * 0.5;
  const p = (x, y) => `${x.toFixed(2)} ${y.toFixed(2)}`;
  return `M${p(x1, y1)}L${p(x2, y2)}M${p(bx - uy * half, by + ux * half)}L${p(x2, y2)}L${p(bx + uy * half, by - ux * half)}`;
}

/** The pixel `gap` before the end of a line, so that an arrow's head is not under a mark. */
export function before([x1, y1], [x2, y2], gap = 13) {
  const length = Math.hypot(x2 - x1, y2 - y1);
  const part = length > gap ? (length - gap) / length : 0;
  return [x1 + (x2 - x1) * part, y1 + (y2 - y1) * part];
}

const SHAPES = {
  query: () => svg("polygon", { points: "13,0 6.5,11.3 -6.5,11.3 -13,0 -6.5,-11.3 6.5,-11.3" }),
  key: () => svg("circle", { r: 11 }),
  value: () => svg("rect", { x: -10, y: -10, width: 20, height: 20, rx: 1 }),
  context: () => svg("polygon", { points: "0,-15 15,0 0,15 -15,0" }),
};

/** What stands for a query, a key, a value or a context: a shape with its letter, above it where it is a word. */
export function mark(kind) {
  const letter = svg("text", { "text-anchor": "middle" });
  const node = svg("g", { class: `attnlib-mark attnlib-mark-${kind}`, "aria-hidden": "true" }, SHAPES[kind](), letter);
  return {
    node,
    update(words, { hollow = false, place = null } = {}) {
      const inside = words.length < 3;
      write(letter, { text: words, y: inside ? 4 : -17, class: inside ? null : "attnlib-outside" });
      const [x, y] = (place ?? []).map((pixel) => pixel.toFixed(2));
      write(node, { "data-hollow": hollow, transform: place && `translate(${x} ${y})` });
    },
  };
}

/** The marks with what they stand for: `legend([kind, letter, words], ...)`; `update(...kinds)` shows those. */
export function legend(...items) {
  const all = items.map(([kind, letter, words]) => {
    const drawn = mark(kind);
    drawn.update(letter);
    const icon = svg("svg", { viewBox: "-17 -17 34 34", width: 22, height: 22, "aria-hidden": "true" }, drawn.node);
    return html("span", {}, icon, html("span", { text: words }));
  });
  return {
    node: html("p", { class: "attnlib-legend" }, ...all),
    update: (...kinds) => items.forEach(([kind], i) => write(all[i], { hidden: !kinds.includes(kind) })),
  };
}
