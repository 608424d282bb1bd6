// Machines that are seen a step at a time: the family of DecoderStepper. A member keeps what has been done so far in
// the state, computes the steps from it, and puts these parts together: controls, a trail, what is looked at, vectors.

import { button, slider } from "./controls.js";
import { html, pool, svg, write } from "./dom.js";
import { number } from "./text.js";

export const largest = (values) => values.indexOf(Math.max(...values));

/**
 * Step on, back, to the start, or to any step. `onWalk(count)` goes to so many steps, as far as it can, and returns how
 * many they are. `update(count, { done, note })`: nothing comes after; what the slider says.
 */
export function steps({ label, most, forward, onWalk }) {
  let count = 0;
  const walk = (wanted) => (count = onWalk(Math.max(wanted, 0))); // the next key may come before the next frame
  const range = slider({ label, min: 0, max: most, step: 1, onInput: (value) => walk(Math.round(value)) });
  const again = button({ label: "Start again", onClick: () => walk(0) });
  const back = button({ label: "Back", onClick: () => walk(count - 1) });
  const next = button({ label: forward, onClick: () => walk(count + 1) });
  return {
    nodes: [range.node, html("div", { class: "attnlib-buttons" }, again.node, back.node, next.node)],
    update(now, { done, note }) {
      count = now;
      range.update(now, { note });
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

/** A bar of a share from 0 to 1, the whole width for 1, and an outline where it was before. */
export function shareBar(kind = "") {
  const bar = html("span", { class: `attnlib-steps-bar ${kind}`.trim() });
  const ghost = html("span", { class: "attnlib-steps-ghost" });
  return {
    node: html("span", { class: "attnlib-steps-track", "aria-hidden": "true" }, bar, ghost),
    update(share, before = null) {
      write(bar, { style: `width:${(100 * share).toFixed(2)}%` });
      write(ghost, { style: `width:${(100 * (before ?? 0)).toFixed(2)}%`, hidden: before === null });
    },
  };
}

/** What is looked at now: a table whose rows have a bar. `update(rows)`, each { texts, share, before }. */
export function looks({ columns, caption }) {
  const body = html("tbody");
  const rows = pool(body, () => {
    const cells = columns.map((_, i) => (i ? html("td", { class: "attnlib-number" }) : html("th", { scope: "row" })));
    const bar = shareBar();
    return { node: html("tr", {}, ...cells, html("td", { class: "attnlib-steps-cell" }, bar.node)), cells, bar };
  });
  const heads = columns.map((text, i) => html("th", { scope: "col", text, class: i ? "attnlib-number" : null }));
  const head = html("thead", {}, html("tr", {}, ...heads, html("td")));
  return {
    node: html("table", { class: "attnlib-table attnlib-steps-looks" }, html("caption", { text: caption }), head, body),
    update(all) {
      const best = largest(all.map(({ share }) => share));
      rows(all.length).forEach(({ node, cells, bar }, i) => {
        write(node, { "data-best": i === best });
        cells.forEach((cell, j) => write(cell, { text: all[i].texts[j] }));
        bar.update(all[i].share, all[i].before);
      });
    },
  };
}

/** Vectors as bars, -1 to 1. `titles` has [title, note] by name; `update(values by name, whether in numbers)`. */
export function vectors(titles) {
  const node = html("div", { class: "attnlib-steps-vectors" });
  const all = Object.entries(titles).map(([name, [title, note]]) => {
    const picture = svg("svg", { class: "attnlib-steps-vector", role: "img", "aria-label": title });
    const axis = picture.appendChild(svg("line", { x1: 0, y1: 30, y2: 30 }));
    const bars = [null, "attnlib-steps-negative"].map((kind) => picture.appendChild(svg("path", { class: kind })));
    const [head, under] = [html("p", { text: title }), html("p", { class: "attnlib-steps-note", text: note })];
    const numbers = html("p", { class: "attnlib-steps-note attnlib-steps-numbers" });
    node.append(html("div", { class: "attnlib-steps-box" }, head, picture, under, numbers));
    return { name, picture, axis, bars, numbers };
  });
  return {
    node,
    update(step, told) {
      for (const { name, picture, axis, bars, numbers } of all) {
        const values = step[name];
        write(picture, { viewBox: `0 0 ${values.length * 10} 60`, style: `max-width:${values.length * 13}px` });
        write(axis, { x2: values.length * 10 });
        const bar = (value, i) => `M${i * 10 + 1} 30v${(-28 * Math.max(Math.min(value, 1), -1)).toFixed(1)}h8V30z`;
        const side = (below) => values.map((value, i) => (value < 0 === below ? bar(value, i) : "")).join("");
        bars.forEach((path, i) => write(path, { d: side(i === 1) }));
        write(numbers, { hidden: !told, text: told ? values.map((value) => number(value, 3)).join(" ") : "" });
      }
    },
  };
}
