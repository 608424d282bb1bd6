// Charts of bars, with handles to move: the family of LocalWindow, HardSampler and DistributionLab.

import { pool, svg, write } from "./dom.js";
import { handle1d } from "./handle.js";
import { number } from "./text.js";

export const within = (value, least, most) => Math.min(Math.max(value, least), most);
export const total = (values) => values.reduce((sum, value) => sum + value, 0);
export const line = (places) => places.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ");

/** A drawing of a size in units of its own; `layer(name)` is a new <g>, `under(event)` the place under a pointer. */
export function chart({ label, width, height, kind = "" }) {
  const viewBox = `0 0 ${width} ${height}`;
  const names = ["attnlib-plane attnlib-chart", width < 500 ? "attnlib-half" : "", kind].filter(Boolean).join(" ");
  const node = svg("svg", { class: names, viewBox, role: "group", "aria-label": label });
  return {
    node,
    layer: (name) => node.appendChild(svg("g", { class: name, "aria-hidden": "true" })),
    under(event) {
      const box = node.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    },
  };
}

/**
 * Bars that stand on `foot` and are `height` tall at `most`. `update(items, most)`, an item a bar: `x` its middle and `half`
 * its width, `value` filled, `outline` dashed about it (null for none), `name` below, in bold where it is `strong`.
 */
export function bars({ layer, foot, height }) {
  const items = pool(layer, () => {
    const filled = svg("rect", { class: "attnlib-bar" });
    const dashed = svg("rect", { class: "attnlib-bar-outline" });
    const name = svg("text", { y: foot + 20, "text-anchor": "middle" });
    return { node: svg("g", {}, filled, dashed, name), filled, dashed, name };
  });
  return (all, most) => {
    const box = (x, half, value) => {
      const tall = (height * value) / most;
      return { x: x - half, width: 2 * half, y: foot - tall, height: tall };
    };
    items(all.length).forEach(({ filled, dashed, name }, i) => {
      const { x, half, value, outline, name: text, strong } = all[i];
      write(filled, box(x, half - 2, value));
      write(dashed, { ...box(x, half, outline ?? 0), visibility: outline === null ? "hidden" : null });
      write(name, { x, text, "data-strong": strong });
    });
  };
}

/**
 * Numbers from `least` to `most` to drag up and down: a lever each at the places `at`, called `names`; onMove(i, value)
 * tells. `update(values)` puts them.
 */
export function levers({ chart: { node, layer, under }, names, at, left, right, top, height, least, most, onMove }) {
  const y = (value) => top + (height * (most - value)) / (most - least);
  const grid = layer("attnlib-grid");
  const rule = (value, kind) => svg("line", { class: kind, x1: left, x2: right, y1: y(value), y2: y(value) });
  grid.append(rule(least), rule(0, "attnlib-axis"), rule(most));
  for (const value of new Set([least, 0, most]))
    grid.append(svg("text", { x: left - 6, y: y(value) + 5, "text-anchor": "end", text: number(value, 0) }));
  const all = names.map((name, i) => {
    const stem = grid.appendChild(svg("line", { class: "attnlib-stem", x1: at[i], x2: at[i], y1: y(0) }));
    const grip = handle1d({
      name,
      mark: svg("circle", { class: "attnlib-grip", r: 9 }),
      at: (event) => most - ((under(event)[1] - top) / height) * (most - least),
      onMove: (value) => onMove(i, value),
    });
    write(grip.node, { "aria-orientation": "vertical" });
    node.append(grip.node);
    return { stem, grip };
  });
  return (values) =>
    all.forEach(({ stem, grip }, i) => {
      const place = { x: at[i], y: y(values[i]), min: least, max: most };
      write(stem, { y2: place.y });
      grip.update(values[i], { ...place, words: number(values[i]) });
    });
}
