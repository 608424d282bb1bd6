// A field over the plane: level lines with their numbers, a colour between each two, and the scale of the colours. Blue
// is below zero and red above; dashes and numbers say the same.

import { html, pool, svg, write } from "./dom.js";
import { isolines, niceStep } from "./math/contour.js";
import { number } from "./text.js";

const SIDE = 51; // samples a side

/** Where a field of this reach is sampled: row by row from the upper left. */
export function samples(limit) {
  const step = (2 * limit) / (SIDE - 1);
  const place = (i) => [-limit + (i % SIDE) * step, limit - Math.floor(i / SIDE) * step];
  return Array.from({ length: SIDE * SIDE }, (_, i) => place(i));
}

/** From where to where a field goes, and the end of the scale: a round number that holds it and the others. */
export function spanOf(values, others = []) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
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

/** Rings around what is above each level, closed along the border: there the field ends at something very low. */
function ringsOf(values, { low, high }, levels) {
  const wide = SIDE + 2;
  const walled = new Float64Array(wide * wide).fill(low - 1e6 * (high - low));
  for (let i = 0; i < values.length; i += 1) walled[(Math.floor(i / SIDE) + 1) * wide + (i % SIDE) + 1] = values[i];
  return levels.map((level) => isolines(walled, wide, level).map((ring) => ring.map((place) => place - 1)));
}

/** The parts of a ring that do not run along the border. */
function openLines(ring) {
  const beyond = (i) => Math.min(ring[i], ring[i + 1]) < 0 || Math.max(ring[i], ring[i + 1]) > SIDE - 1;
  const length = ring.length - 2; // the last place is the first again
  let start = 0;
  while (start < length && !beyond(start)) start += 2;
  if (start === length) return [ring];
  const lines = [[]];
  for (let n = 2; n <= length; n += 2) {
    const i = (start + n) % length;
    if (!beyond(i)) lines.at(-1).push(ring[i], ring[i + 1]);
    else if (lines.at(-1).length) lines.push([]);
  }
  return lines.filter((line) => line.length > 2);
}

/** A line of the grid as a path in pixels, without the points that lie straight between their neighbours. */
function straightened(line, cell) {
  const last = line.length - 2;
  let [x0, y0] = line;
  let path = `M${(x0 * cell).toFixed(1)} ${(y0 * cell).toFixed(1)}`;
  for (let i = 2; i <= last; i += 2) {
    const [x, y] = [line[i], line[i + 1]];
    if (i < last) {
      const [dx, dy] = [line[i + 2] - x0, line[i + 3] - y0];
      if (Math.abs((x - x0) * dy - (y - y0) * dx) < 0.02 * Math.hypot(dx, dy)) continue;
    }
    path += `L${(x * cell).toFixed(1)} ${(y * cell).toFixed(1)}`;
    [x0, y0] = [x, y];
  }
  return path;
}

/** The place of a line that is farthest from all that is taken, if that is far enough and inside. */
function freeSpot(line, cell, size, taken) {
  let best = null;
  let room = 26;
  for (let i = 0; i < line.length; i += 4) {
    const spot = [line[i] * cell, line[i + 1] * cell];
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
    const rings = ringsOf(values, span, levels);
    write(ground, coloured((low + (levels[0] ?? high)) / 2, end));
    const [drawnAreas, drawnLines] = [areas(levels.length), lines(levels.length)];
    levels.forEach((level, i) => {
      const area = rings[i].map((ring) => straightened(ring, cell)).join("");
      write(drawnAreas[i].node, { d: area, ...coloured((level + (levels[i + 1] ?? high)) / 2, end) });
      const open = rings[i].flatMap(openLines);
      const kind = level < 0 ? "attnlib-field-below" : level > 0 ? null : "attnlib-field-zero";
      write(drawnLines[i].node, { d: open.map((line) => straightened(line, cell)).join(""), class: kind });
      for (const line of open) {
        const spot = freeSpot(line, cell, board.size, spots);
        if (!spot) continue;
        spots.push(spot);
        texts.push([spot, level === 0 ? "0" : number(level, digits)]);
      }
    });
    words(texts.length).forEach(({ node }, i) => {
      const [[x, y], text] = texts[i];
      write(node, { x, y: y + 4, text });
    });
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
