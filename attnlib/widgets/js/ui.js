// What every widget is made of: the frame (`define`), controls, the plane with its points, and text for numbers.
//
// A widget file reads
//
//     import { softmax } from "./attention.js";
//     import { define, slider } from "./ui.js";
//     const render = define({ name, traits, check, build });
//     export default { render };
//
// `traits` are the names in the model that the widget reads. `check(state)` throws an Error that names the bad trait.
// `build(view, state)` makes the DOM in `view.root` once and returns `update(state)`, which only writes attributes and
// text. A control calls `view.set({ trait: value })`: model, kernel and picture follow in the next frame. Values in the
// model are replaced, never edited in place. `view.say(text)` tells a screen reader, politely and not too often.

const NAMESPACE = "http://www.w3.org/2000/svg";
let serial = 0;

/** An id for labels, unique on the page even among several copies of this module. */
export function uid() {
  serial += 1;
  return `attnlib-${Math.random().toString(36).slice(2, 8)}-${serial}`;
}

/** Write attributes (false and null remove, `text` is the content), touching only what differs. */
export function write(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") {
      if (node.textContent !== String(value)) node.textContent = value;
    } else if (value === false || value === null || value === undefined) {
      if (node.hasAttribute(name)) node.removeAttribute(name);
    } else {
      const text =
        value === true ? "" : typeof value === "number" ? String(Math.round(value * 1000) / 1000) : String(value);
      if (node.getAttribute(name) !== text) node.setAttribute(name, text);
    }
  }
  return node;
}

export function html(tag, attributes = {}, ...children) {
  const node = write(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = write(document.createElementNS(NAMESPACE, tag), attributes);
  node.append(...children);
  return node;
}

/** Keep as many children of `parent` as asked: `pool(parent, make)(n)` makes or removes at the end and returns all n. */
export function pool(parent, make) {
  const items = [];
  return (count) => {
    while (items.length > count) items.pop().node.remove();
    while (items.length < count) {
      const item = make(items.length);
      items.push(item);
      parent.append(item.node);
    }
    return items;
  };
}

// ----------------------------------------------------------------------------------------------- numbers as text

/** A number with a true minus sign, "−∞" and "undefined" for what is no number. */
export function number(value, digits = 2) {
  if (Number.isNaN(value)) return "undefined";
  if (value === Infinity) return "∞";
  if (value === -Infinity) return "−∞";
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

export const pair = (point, digits = 2) => `(${point.map((value) => number(value, digits)).join(", ")})`;

// ------------------------------------------------------------------------------------------------ checks of state

const finite = (value) => typeof value === "number" && Number.isFinite(value);

function shown(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** Checks for `check`: each throws an Error that names the trait and what was got. */
export const need = {
  number(state, name, { min = -Infinity, max = Infinity, above = -Infinity } = {}) {
    const value = state[name];
    if (!finite(value)) throw new Error(`${name} must be a number; got ${shown(value)}`);
    if (value <= above) throw new Error(`${name} must be above ${above}; got ${shown(value)}`);
    if (value < min || value > max) throw new Error(`${name} must be from ${min} to ${max}; got ${shown(value)}`);
  },
  /** A matrix of `rows` x `columns` finite numbers; leave `rows` out for any number of at least one. */
  matrix(state, name, { rows, columns }) {
    const value = state[name];
    const good =
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((row) => Array.isArray(row) && row.length === columns && row.every(finite));
    if (!good) throw new Error(`${name} must be rows of ${columns} numbers; got ${shown(value)}`);
    if (rows !== undefined && value.length !== rows)
      throw new Error(`${name} must have ${rows} rows; got ${value.length}`);
  },
  /** A list of `length` items of one type. */
  list(state, name, { length, type }) {
    const value = state[name];
    const good =
      Array.isArray(value) && value.every((item) => (type === "number" ? finite(item) : typeof item === type));
    if (!good) throw new Error(`${name} must be a list of ${type}s; got ${shown(value)}`);
    if (length !== undefined && value.length !== length)
      throw new Error(`${name} must have ${length} items; got ${value.length}`);
  },
  whole(state, name, { max }) {
    need.number(state, name, { min: 0, max });
    if (!Number.isInteger(state[name])) throw new Error(`${name} must be a whole number; got ${shown(state[name])}`);
  },
  /** `presets` and `preset`; a widget that has them is checked for them without asking. */
  presets(state) {
    const good = (item) =>
      typeof item?.name === "string" && typeof item.notice === "string" && typeof item.state === "object";
    if (!Array.isArray(state.presets) || !state.presets.every(good)) {
      throw new Error(`presets must be a list of {name, notice, state}; got ${shown(state.presets)}`);
    }
    if (typeof state.preset !== "string") throw new Error(`preset must be a text; got ${shown(state.preset)}`);
  },
  flag(state, name) {
    if (typeof state[name] !== "boolean") throw new Error(`${name} must be true or false; got ${shown(state[name])}`);
  },
  /** One of the keys of `table` (or the items of a list). */
  choice(state, name, table) {
    const names = Array.isArray(table) ? table : Object.keys(table);
    if (!names.includes(state[name]))
      throw new Error(`${name} must be one of ${names.join(", ")}; got ${shown(state[name])}`);
  },
};

// ------------------------------------------------------------------------------------------------------ the frame

function announcer(node) {
  let timer = 0;
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => write(node, { text }), 500);
  };
}

/** The render function of a widget; see the top of this file. */
export function define({ name, traits, check, build }) {
  return function render({ model, el }) {
    const alert = html("p", { class: "attnlib-alert", role: "alert", hidden: true });
    const status = html("p", { class: "attnlib-hidden", role: "status" });
    const root = html("div", { class: "attnlib-body" });
    const frame = html(
      "div",
      { class: "attnlib attnlib-view", role: "group", "aria-label": name, "data-lm-suppress-shortcuts": "true" },
      alert,
      root,
      status,
    );
    el.append(frame);
    // The page around (JupyterLab above all) takes arrow keys for itself: let it have Tab and Escape only.
    frame.addEventListener("keydown", (event) => {
      if (event.key !== "Tab" && event.key !== "Escape") event.stopPropagation();
    });

    let request = 0;
    let dirty = false;
    let update = null;
    const view = {
      root,
      say: announcer(status),
      set(changes) {
        for (const [trait, value] of Object.entries(changes)) model.set(trait, value);
        dirty = true;
        schedule();
      },
    };
    function draw() {
      request = 0;
      const state = Object.fromEntries(traits.map((trait) => [trait, model.get(trait)]));
      let message = "";
      try {
        check(state);
        if ("presets" in state) need.presets(state);
        if (!update) {
          root.replaceChildren();
          update = build(view, state);
        }
        update(state);
      } catch (error) {
        message = `${name}: ${error.message}`;
      }
      write(alert, { text: message, hidden: message === "" });
      write(root, { hidden: message !== "" });
      if (dirty) {
        dirty = false;
        model.save_changes();
      }
    }
    function schedule() {
      if (!request) request = requestAnimationFrame(draw);
    }
    for (const trait of traits) model.on(`change:${trait}`, schedule);
    draw();
    return () => {
      cancelAnimationFrame(request);
      for (const trait of traits) model.off(`change:${trait}`, schedule);
    };
  };
}

// --------------------------------------------------------------------------------------------------------- controls
// Each returns { node, update(...) }.

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

/**
 * The named states of the traits `presets` and `preset`: a list to choose from and the sentence of the chosen one.
 * `unnamed` is the entry for a state that is none of them, `hint` the sentence for it.
 */
export function presetChoice({ view, unnamed, hint }) {
  let presets = [];
  const id = uid();
  const select = html("select", { id });
  const notice = html("p", { class: "attnlib-notice" });
  const options = pool(select, () => ({ node: html("option") }));
  select.addEventListener("change", () => {
    const preset = presets.find(({ name }) => name === select.value);
    if (!preset) return;
    view.set({ ...preset.state, preset: preset.name });
    view.say(preset.notice);
  });
  const control = html("div", { class: "attnlib-control" }, html("label", { for: id, text: "Start from" }), select);
  return {
    node: html("div", { class: "attnlib-presets" }, control, notice),
    update(state) {
      presets = state.presets;
      const names = presets.map(({ name }) => name);
      const wanted = names.includes(state.preset) ? state.preset : "";
      const all = wanted ? names : ["", ...names];
      options(all.length).forEach(({ node }, i) => write(node, { value: all[i], text: all[i] || unnamed }));
      if (select.value !== wanted) select.value = wanted;
      write(notice, { text: presets.find(({ name }) => name === wanted)?.notice ?? hint });
    },
  };
}

// --------------------------------------------------------------------------------------------- the plane, its points

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
      const step = limit > 12 ? 5 : limit > 5 ? 2 : 1;
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
 * the left and right end with Home and End. `mark` is the SVG drawn at (0, 0); onMove([x, y]) and onFocus() tell. `update([x, y], label, words)` places it and says its label and value.
 */
export function point({ plane: board, mark, name, onMove, onFocus = () => {} }) {
  const ring = svg("circle", { class: "attnlib-ring", r: 17 });
  const target = svg("circle", { class: "attnlib-target", r: 22 });
  const node = svg(
    "g",
    { class: "attnlib-point", tabindex: 0, role: "slider", "aria-roledescription": "movable point" },
    target,
    ring,
    mark,
  );
  let place = [0, 0];
  let grip = null;
  const held = (value) => Math.min(Math.max(value, -board.limit), board.limit);
  function move(next) {
    place = next.map((value) => Number(held(value).toFixed(3))); // the next key may come before the next frame
    onMove(place);
  }
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    node.focus({ preventScroll: true });
    node.setPointerCapture(event.pointerId);
    const [x, y] = board.at(event);
    grip = [place[0] - x, place[1] - y];
    write(node, { "data-dragging": true });
  });
  node.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const [x, y] = board.at(event);
    move([x + grip[0], y + grip[1]]);
  });
  const release = () => {
    grip = null;
    write(node, { "data-dragging": null });
  };
  node.addEventListener("pointerup", release);
  node.addEventListener("pointercancel", release);
  node.addEventListener("lostpointercapture", release);
  node.addEventListener("focus", () => onFocus());
  node.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.5 : 0.1;
    const [x, y] = place;
    const next = {
      ArrowLeft: [x - step, y],
      ArrowRight: [x + step, y],
      ArrowUp: [x, y + step],
      ArrowDown: [x, y - step],
      PageUp: [x, y + 0.5],
      PageDown: [x, y - 0.5],
      Home: [-board.limit, y],
      End: [board.limit, y],
    }[event.key];
    if (!next) return;
    event.preventDefault();
    move(next);
  });
  return {
    node,
    update([x, y], label = name, words = `x ${number(x)}, y ${number(y)}`) {
      place = [x, y];
      write(node, {
        transform: `translate(${board.x(x).toFixed(2)} ${board.y(y).toFixed(2)})`,
        "aria-label": label,
        "aria-valuenow": x,
        "aria-valuemin": -board.limit,
        "aria-valuemax": board.limit,
        "aria-valuetext": words,
      });
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
