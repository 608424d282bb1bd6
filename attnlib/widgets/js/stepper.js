// Machines that are seen a step at a time: the family of DecoderStepper. A member keeps what has been done so far in
// the state, computes the steps from it, and puts these parts together: buttons, a trail, vectors.

import { button } from "./controls.js";
import { html, pool, svg, write } from "./dom.js";
import { number } from "./text.js";

export const largest = (values) => values.indexOf(Math.max(...values));

/**
 * Step on, back, or to the start, in a bar that stays in reach while the widget is on the screen. `onWalk(count)` goes
 * to so many steps, as far as it can, and returns how many they are. `update(count, done)`: nothing comes after.
 */
export function steps({ forward, onWalk }) {
  let count = 0;
  const walk = (wanted) => (count = onWalk(Math.max(wanted, 0))); // the next press may come before the next frame
  const again = button({ label: "Start again", onClick: () => walk(0) });
  const back = button({ label: "Back", onClick: () => walk(count - 1) });
  const next = button({ label: forward, onClick: () => walk(count + 1) });
  return {
    node: html("div", { class: "attnlib-steps-walk" }, next.node, back.node, again.node),
    update(now, done) {
      count = now;
      for (const each of [again, back]) each.update({ disabled: now === 0 });
      next.update({ disabled: done });
    },
  };
}

/** What has been done, one after the other: `update(items)`, each { text, note, blank, odd }; odd ones have a note. */
export function trail({ label }) {
  const node = html("ol", { class: "attnlib-steps-trail", "aria-label": label });
  const items = pool(node, () => {
    const [text, note] = [html("span"), html("span", { class: "attnlib-steps-note" })];
    return { node: html("li", {}, text, note), text, note };
  });
  return {
    node,
    update(all) {
      items(all.length).forEach((item, i) => {
        const { text, note = "", blank = false, odd = false } = all[i];
        write(item.node, { "data-blank": blank, "data-odd": odd });
        write(item.text, { text });
        write(item.note, { text: note && ` ${note}`, hidden: !note });
      });
    },
  };
}

/**
 * Vectors as bars, -1 to 1. `titles` has a line by name, the one that is always in sight first, with an outline
 * of `before`. `update(values by name, whether all are shown, and in numbers too)`.
 */
export function vectors(titles) {
  const node = html("div", { class: "attnlib-steps-vectors" });
  const all = Object.entries(titles).map(([name, title], place) => {
    const picture = svg("svg", { preserveAspectRatio: "none", role: "img", "aria-label": title });
    const axis = picture.appendChild(svg("line", { x1: 0, y1: 30, y2: 30 }));
    const kinds = ["attnlib-steps-above", "attnlib-steps-below", "attnlib-steps-before"];
    const bars = kinds.map((kind) => picture.appendChild(svg("path", { class: kind })));
    const numbers = html("p", { class: "attnlib-steps-numbers" });
    const box = html("div", { class: "attnlib-steps-note" }, html("p", { text: title }), picture, numbers);
    node.append(box);
    return { name, place, box, picture, axis, bars, numbers };
  });
  const bar = (value, i) => `M${i * 10 + 1} 30v${(-28 * Math.max(Math.min(value, 1), -1)).toFixed(1)}h8V30z`;
  const drawn = (values, shown) => values.map((value, i) => (shown(value) ? bar(value, i) : "")).join("");
  return {
    node,
    update(step, told) {
      for (const { name, place, box, picture, axis, bars, numbers } of all) {
        const values = step[name];
        write(box, { hidden: place > 0 && !told });
        write(picture, { viewBox: `0 0 ${values.length * 10} 60` });
        write(axis, { x2: values.length * 10 });
        write(bars[0], { d: drawn(values, (value) => value >= 0) });
        write(bars[1], { d: drawn(values, (value) => value < 0) });
        write(bars[2], { d: place ? "" : drawn(step.before, () => true) });
        write(numbers, { hidden: !told, text: told ? values.map((value) => number(value, 3)).join(" ") : "" });
      }
    },
  };
}
