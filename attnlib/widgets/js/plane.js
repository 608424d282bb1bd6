// A plane of points: the board, points to drag or to move with the keys, arrows.

import { pool, svg, write } from "./dom.js";
import { handle } from "./handle.js";
import { number } from "./text.js";

/** 1, 2 or 5 times a power of ten, at least 1, of which about a dozen fit between -limit and limit. */
function gridStep(limit) {
  const power = 10 ** Math.floor(Math.log10(Math.max(limit / 5, 1)));
  return [1, 2, 5, 10].map((unit) => unit * power).find((step) => step * 6 >= limit);
}

/** A square piece of the plane, x and y from -limit to limit, with axes and a grid; `layer(name)` gives a new <g>. */
export function plane({ label, size = 400 }) {
  const grid = svg("g", { class: "attnlib-grid" });
  const node = svg(
    "svg",
    { class: "attnlib-plane", viewBox: `0 0 ${size} ${size}`, role: "group", "aria-label": label },
    grid,
  );
  const lines = pool(grid, () => ({ node: svg("line") }));
  const numerals = pool(node.appendChild(svg("g", { class: "attnlib-numerals", "aria-hidden": "true" })), () => ({
    node: svg("text"),
  }));
  let limit = 1;
  const self = {
    node,
    size,
    x: (value) => ((value + limit) / (2 * limit)) * size,
    y: (value) => ((limit - value) / (2 * limit)) * size,
    get limit() {
      return limit;
    },
    layer: (name) => node.appendChild(svg("g", { class: name })),
    /** The point of the plane under a pointer event, held inside the limits. */
    at(event) {
      const box = node.getBoundingClientRect();
      const held = (value) => Math.min(Math.max(value, -limit), limit);
      return [
        held(((event.clientX - box.left) / box.width) * 2 * limit - limit),
        held(limit - ((event.clientY - box.top) / box.height) * 2 * limit),
      ];
    },
    update(next) {
      if (next === limit) return;
      limit = next;
      const step = gridStep(limit);
      const marks = [];
      for (let value = Math.ceil(-limit / step) * step; value <= limit; value += step) marks.push(value);
      const all = lines(marks.length * 2);
      const words = numerals(marks.length * 2);
      marks.forEach((value, i) => {
        const main = value === 0 ? "attnlib-axis" : null;
        const edge = Math.abs(value) === limit || value === 0;
        write(all[2 * i].node, { x1: self.x(value), x2: self.x(value), y1: 0, y2: size, class: main });
        write(all[2 * i + 1].node, { x1: 0, x2: size, y1: self.y(value), y2: self.y(value), class: main });
        write(words[2 * i].node, {
          x: self.x(value),
          y: self.y(0) + 13,
          "text-anchor": "middle",
          text: edge ? "" : number(value, 0),
        });
        write(words[2 * i + 1].node, {
          x: self.x(0) - 5,
          y: self.y(value) + 4,
          "text-anchor": "end",
          text: edge ? "" : number(value, 0),
        });
      });
    },
  };
  return self;
}

/**
 * A point of the plane to drag, or to move with the arrow keys (0.1, with Shift 0.5), Page Up and Page Down (0.5) and to
 * the left and right end with Home and End. `mark` is the SVG drawn at (0, 0); onMove([x, y]) and onFocus() tell.
 * `update([x, y], label, words)` places it and says its label and value.
 */
export function point({ plane: board, mark, name, onMove, onFocus = () => {} }) {
  const held = (value) => Math.min(Math.max(value, -board.limit), board.limit);
  const grip = handle({
    mark,
    at: (event) => board.at(event),
    moves: ([x, y], step) => ({
      ArrowLeft: [x - step, y],
      ArrowRight: [x + step, y],
      ArrowUp: [x, y + step],
      ArrowDown: [x, y - step],
      PageUp: [x, y + 0.5],
      PageDown: [x, y - 0.5],
      Home: [-board.limit, y],
      End: [board.limit, y],
    }),
    hold: (place) => place.map(held),
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
