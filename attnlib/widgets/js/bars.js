// Charts of bars, with handles to move: the family of LocalWindow, HardSampler and DistributionLab.

import { pool, svg, write } from "./dom.js";

export const within = (value, least, most) => Math.min(Math.max(value, least), most);
export const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** A drawing of a size in units of its own; `layer(name)` is a new <g>, `under(event)` the place under a pointer. */
export function chart({ label, width, height, kind = "" }) {
  const viewBox = `0 0 ${width} ${height}`;
  const node = svg("svg", { class: `attnlib-plane attnlib-chart ${kind}`.trim(), viewBox, role: "group", "aria-label": label });
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
