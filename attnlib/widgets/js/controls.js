// Controls: each is { node, update(...) }, labelled, and has its value as text.

import { html, pool, uid, write } from "./dom.js";
import { number } from "./text.js";

const same = (x) => x;
const STOPS = 200; // of a logarithmic scale: whole numbers, so that its ends are exact

/** A labelled range with its value as text. `log: true` moves on a logarithmic scale; `text` words the value. */
export function slider({ label, min, max, step, log = false, text = (value) => number(value), onInput }) {
  const there = log ? (value) => (STOPS * Math.log(value / min)) / Math.log(max / min) : same;
  const back = log ? (position) => min * (max / min) ** (position / STOPS) : same;
  const id = uid();
  const value = html("span", { class: "attnlib-value", "aria-hidden": "true" });
  const input = html("input", { id, type: "range", min: there(min), max: there(max), step: log ? 1 : step });
  const name = html("label", { for: id, text: label });
  const node = html("div", { class: "attnlib-control attnlib-slider" }, name, value, input);
  input.addEventListener("input", () => onInput(Number(back(Number(input.value)).toPrecision(6))));
  return {
    node,
    /** `note` in place of the value's text; `label` and `most` where they change. */
    update(current, { disabled = false, note = "", label: relabelled = label, most = max } = {}) {
      const words = note || text(current);
      write(name, { text: relabelled });
      write(value, { text: words });
      write(input, { "aria-valuetext": words, disabled, max: there(most) });
      // Do not pull the handle about under the reader's hand for a rounding.
      const position = there(Math.min(Math.max(current, min), most));
      if (Math.abs(Number(input.value) - position) > Number(input.step) / 2) input.value = position;
    },
  };
}

/** A labelled list to choose from; `options` is [value, words] pairs. With one or none of them it hides. */
export function choice({ label, options = [], onInput }) {
  const id = uid();
  const select = html("select", { id });
  const items = pool(select, () => ({ node: html("option") }));
  const name = html("label", { for: id, text: label });
  const node = html("div", { class: "attnlib-control attnlib-choice" }, name, select);
  select.addEventListener("change", () => onInput(select.value));
  return {
    node,
    update(current, { label: relabelled = label, options: all = options, disabled = false } = {}) {
      write(name, { text: relabelled });
      write(node, { hidden: all.length < 2 });
      write(select, { disabled });
      items(all.length).forEach((item, i) => write(item.node, { value: all[i][0], text: all[i][1] }));
      if (select.value !== String(current)) select.value = current;
    },
  };
}

/** A labelled check box. */
export function toggle({ label, onInput, hiddenLabel = false }) {
  const input = html("input", { type: "checkbox" });
  const words = html("span", { text: label, class: hiddenLabel ? "attnlib-hidden" : null });
  const node = html("label", { class: "attnlib-toggle" }, input, words);
  input.addEventListener("change", () => onInput(input.checked));
  return {
    node,
    update(current, { label: relabelled } = {}) {
      if (input.checked !== current) input.checked = current;
      if (relabelled !== undefined) write(words, { text: relabelled });
    },
  };
}

export function button({ label, onClick }) {
  const node = html("button", { type: "button", class: "attnlib-button", text: label });
  node.addEventListener("click", onClick);
  return {
    node,
    update({ disabled = false, label: relabelled } = {}) {
      // A focused button that is disabled would lose the focus to the page: only say so instead.
      write(node, { "aria-disabled": disabled ? "true" : null, text: relabelled ?? label });
    },
  };
}
