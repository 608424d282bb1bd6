// Controls: each is { node, update(...) }, labelled, and has its value as text.

import { html, uid, write } from "./dom.js";
import { number } from "./text.js";

const same = (x) => x;

/** A labelled range with its value as text. `log: true` moves on a logarithmic scale; `text` words the value. */
export function slider({ label, min, max, step, log = false, text = (value) => number(value), onInput }) {
  const there = log ? Math.log10 : same;
  const back = log ? (position) => 10 ** position : same;
  const id = uid();
  const value = html("span", { class: "attnlib-value", "aria-hidden": "true" });
  const input = html("input", {
    id,
    type: "range",
    min: there(min),
    max: there(max),
    step: step ?? (there(max) - there(min)) / 200,
  });
  const node = html(
    "div",
    { class: "attnlib-control attnlib-slider" },
    html("label", { for: id, text: label }),
    value,
    input,
  );
  input.addEventListener("input", () => onInput(Number(back(Number(input.value)).toPrecision(6))));
  return {
    node,
    update(current, { disabled = false, note = "" } = {}) {
      const words = note || text(current);
      write(value, { text: words });
      write(input, { "aria-valuetext": words, disabled });
      // Do not pull the handle about under the reader's hand for a rounding.
      const position = there(Math.min(Math.max(current, min), max));
      if (Math.abs(Number(input.value) - position) > Number(input.step) / 2) input.value = position;
    },
  };
}

/** A labelled list to choose from; `options` is [value, words] pairs. */
export function choice({ label, options, onInput }) {
  const id = uid();
  const select = html("select", { id }, ...options.map(([value, words]) => html("option", { value, text: words })));
  const node = html(
    "div",
    { class: "attnlib-control attnlib-choice" },
    html("label", { for: id, text: label }),
    select,
  );
  select.addEventListener("change", () => onInput(select.value));
  return {
    node,
    update(current) {
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
