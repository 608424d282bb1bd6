// A field over the plane: level lines with their numbers, a colour between each two, and the scale of the colours. Blue is
// below zero and red above; dashes and numbers say the same.

import { html, pool, svg, write } from "./dom.js";
import { isolines, niceStep } from "./math/contour.js";
import { number } from "./text.js";

const SIDE = 51; // samples a side

/** Where a field of this reach is sampled: row by row from the upper left. */
export function samples(limit) {
  const step = (2 * limit) / (SIDE - 1);
  return Array.from({ length: SIDE * SIDE }, (_, i) => [-limit + (i % SIDE) * step, limit - Math.floor(i / SIDE) * step]);
}

/** From where to where a field goes, and the end of the scale: a round number that holds it and what else is to be held. */
export function spanOf(values, others = []) {
  const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  const far = Math.max(...[low, high, ...others].map(Math.abs));
  const power = 10 ** Math.floor(Math.log10(far));
  const end = far < 1e-9 ? 1 : power * [1, 1.5, 2, 3, 4, 6, 8, 10].find((lead) => lead * power >= far * (1 - 1e-9));
  return { low, high, end };
}

/** The levels between, where a line is to be: not where the field only touches at its end. */
function levelsOf({ low, high }) {
  if (high - low < 1e-9) return { levels: [], digits: 2 };
  const step = niceStep(high - low, 9);
  const first = Math.ceil(low / step + 0.02);
  const count = Math.floor(high / step - 0.02) - first + 1;
  const levels = Array.from({ length: Math.max(count, 0) }, (_, i) => (first + i) * step);
  return { levels, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

/** The field in a margin of something very low, so that all lines around what is above a level close. */
function walled(values, { low, high }) {
  const wide = SIDE + 2;
  const all = new Float64Array(wide * wide).fill(low - 1e6 * (high - low));
  values.forEach((value, i) => (all[(Math.floor(i / SIDE) + 1) * wide + (i % SIDE) + 1] = value));
  return all;
}

/** A line of the grid in pixels, without the points that lie straight between their neighbours. */
function straightened(line, toPixel) {
  const kept = [[toPixel(line[0]), toPixel(line[1])]];
  for (let i = 2; i < line.length; i += 2) {
    const [[x0, y0], x, y] = [kept.at(-1), toPixel(line[i]), toPixel(line[i + 1])];
    const [x1, y1] = i + 3 < line.length ? [toPixel(line[i + 2]), toPixel(line[i + 3])] : [x, y];
    const off = Math.abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / (Math.hypot(x1 - x0, y1 - y0) || 1);
    if (off > 0.15 || i + 2 >= line.length) kept.push([x, y]);
  }
  return `M${kept.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
}

/** The place of a line that is farthest from all that is taken, if that is far enough and inside. */
function freeSpot(line, toPixel, size, taken) {
  let best = null;
  let room = 26;
  for (let i = 0; i < line.length; i += 4) {
    const spot = [toPixel(line[i]), toPixel(line[i + 1])];
    if (Math.min(spot[0], spot[1], size - spot[0], size - spot[1]) < 18) continue;
    const gap = Math.min(120, ...taken.map(([x, y]) => Math.hypot((x - spot[0]) * 0.8, y - spot[1])));
    if (gap > room) [best, room] = [spot, gap];
  }
  return best;
}

const coloured = (value, end) => ({
  class: value < 0 ? "attnlib-below" : "attnlib-above",
  style: `--part:${Math.round((100 * Math.min(Math.abs(value), end)) / end)}%`,
});

/** Layers of a board of `size` pixels; `update(values, span, taken)`: numbers keep away from the pixels taken. */
export function field(board) {
  const layer = (name) => write(board.layer(name), { "aria-hidden": "true" });
  const bands = layer("attnlib-field-bands");
  board.node.prepend(bands); // under the grid
  const ground = bands.appendChild(svg("rect", { width: board.size, height: board.size }));
  const areas = pool(bands, () => ({ node: svg("path") }));
  const lines = pool(layer("attnlib-field-lines"), () => ({ node: svg("path") }));
  const words = pool(layer("attnlib-field-words"), () => ({ node: svg("text") }));
  const cell = board.size / (SIDE - 1);
  return (values, span, taken) => {
    const { low, high, end } = span;
    const { levels, digits } = levelsOf(span);
    const spots = [...taken];
    const texts = levels.length ? [] : [[[board.size / 2, board.size * 0.75], `${number(low)} everywhere`]];
    const wide = levels.length ? walled(values, span) : null;
    write(ground, coloured((low + (levels[0] ?? high)) / 2, end));
    const [drawnAreas, drawnLines] = [areas(levels.length), lines(levels.length)];
    levels.forEach((level, i) => {
      const above = isolines(wide, SIDE + 2, level).map((line) => straightened(line, (x) => (x - 1) * cell));
      write(drawnAreas[i].node, { d: above.join(""), ...coloured((level + (levels[i + 1] ?? high)) / 2, end) });
      const open = isolines(values, SIDE, level);
      const kind = level < 0 ? "attnlib-field-below" : level > 0 ? null : "attnlib-field-zero";
      write(drawnLines[i].node, { d: open.map((line) => straightened(line, (x) => x * cell)).join(""), class: kind });
      for (const line of open) {
        const spot = freeSpot(line, (x) => x * cell, board.size, spots);
        if (!spot) continue;
        spots.push(spot);
        texts.push([spot, level === 0 ? "0" : number(level, digits)]);
      }
    });
    words(texts.length).forEach(({ node }, i) => write(node, { x: texts[i][0][0], y: texts[i][0][1] + 4, text: texts[i][1] }));
  };
}

/** The scale of the colours, its ends and its middle in numbers. */
export function fieldScale() {
  const words = [0, 1, 2].map(() => html("span"));
  const bar = html("div", { class: "attnlib-field-scale", "aria-hidden": "true" });
  return {
    node: html("div", {}, bar, html("p", { class: "attnlib-field-ends" }, ...words)),
    update({ end }) {
      const text = String(Number(end.toPrecision(3)));
      [`−${text}`, "energy 0", text].forEach((word, i) => write(words[i], { text: word }));
    },
  };
}
