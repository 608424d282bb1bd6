// CostCalculator: what each way to attend comes to at a length, and where one of two overtakes the other.

import { choice, slider } from "../js/controls.js";
import { html, write } from "../js/dom.js";
import { counted, longest, time, where } from "../js/math/costs.js";
import { table } from "../js/table.js";
import { number } from "../js/text.js";

const PASSES = [
  ["forward", "forwards"],
  ["both", "both passes"],
];
const PRECISIONS = [
  ["float32", "4 bytes"],
  ["half", "2 bytes"],
];
const DECADES = 3; // of time on each side of the second mechanism

const whole = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");

/** Three figures and a unit: 1.23 M. */
function short(value, step, units) {
  let [left, i] = [value, 0];
  while (left >= 0.9995 * step && i < units.length - 1) [left, i] = [left / step, i + 1];
  const digits = i === 0 || left >= 99.95 ? 0 : left >= 9.995 ? 1 : 2;
  return `${number(left, digits)}${units[i] && ` ${units[i]}`}`;
}
const many = (value) => short(value, 1000, ["", "k", "M", "G", "T", "P", "E"]);
const bytes = (value) => short(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
const ratio = (value) =>
  value < 0.0005 ? "< 0.001" : number(value, value < 0.0995 ? 3 : value < 9.95 ? 2 : value < 99.5 ? 1 : 0);

/** A slider on a logarithmic scale, and the number itself to type. */
function entry({ label, trait, min, max, fixed = whole, round = Math.round, view }) {
  const { least = 0, most } = view.schema[trait];
  const give = (value) => view.set({ [trait]: Math.min(Math.max(round(value), least || min), most) });
  const typed = html("input", {
    type: "number",
    "aria-label": `${label}, exactly`,
    min: least || min,
    max: most,
    step: "any",
  });
  // A step of the scale is less than one where numbers are small: it is one all the same.
  const step = (value, now) => give(round(value) === now ? now + Math.sign(value - now) : value);
  const control = slider({
    label,
    min,
    max,
    log: true,
    text: fixed,
    onInput: (value) => step(value, Number(typed.dataset.now)),
  });
  typed.addEventListener("change", () =>
    Number(typed.value) > 0 ? give(Number(typed.value)) : (typed.value = typed.dataset.now),
  );
  control.node.append(typed);
  return {
    node: control.node,
    update(value, note = {}) {
      control.update(value, note);
      if (Number(typed.value) !== value) typed.value = String(value);
      typed.dataset.now = String(value);
      write(typed, { disabled: note.disabled });
    },
  };
}

function settings(view, names) {
  const size = (label, trait, min, max, rest) => [trait, entry({ label, trait, min, max, view, ...rest })];
  const sizes = [
    size("Length, tokens", "length", 16, 2 ** 20),
    size("Heads", "heads", 1, 128),
    size("Width of a head", "width", 8, 512),
    size("Window, keys seen", "window", 8, 8192),
    size("Memory to fit in, GiB", "memory", 0.125, 1024, {
      round: (value) => Number(value.toPrecision(4)),
      fixed: (value) => `${Number(value.toPrecision(4))} GiB`,
    }),
  ];
  const pick = (label, trait, options) => [
    trait,
    choice({ label, options, onInput: (value) => view.set({ [trait]: value }) }),
  ];
  const choices = [
    pick("Passes", "passes", PASSES),
    pick("Numbers held (time unchanged)", "precision", PRECISIONS),
    pick(
      "Compare",
      "first",
      names.map((name) => [name, name]),
    ),
    pick(
      "against",
      "second",
      names.map((name) => [name, name]),
    ),
  ];
  const all = [...sizes, ...choices];
  const box = (...traits) => {
    const chosen = all.filter(([trait]) => traits.includes(trait)).map(([, { node }]) => node);
    return html(
      "div",
      { class: "attnlib-settings attnlib-costs" },
      html("div", { class: "attnlib-controls" }, ...chosen),
    );
  };
  return {
    near: box("length", "first", "second"),
    rest: box("heads", "width", "window", "memory", "passes", "precision"),
    update: (state) => all.forEach(([trait, each]) => each.update(state[trait])),
  };
}

/** Everything that is shown of a state. */
function worked(state, data, ways) {
  const { mechanisms, constants, measured, lengths, block, most } = data;
  const options = { ...state, both: Number(state.passes === "both"), size: state.precision === "half" ? 2 : 4, block };
  const known = new Map(); // the same lengths are asked for again and again
  const cost = (name, length) => {
    const key = `${length} ${name}`;
    if (!known.has(key)) {
      const count = counted(mechanisms[name], { ...options, length });
      known.set(key, { ...count, time: time(count, constants[name][state.passes]) });
    }
    return known.get(key);
  };
  const base = cost(state.second, state.length).time;
  const within = (name, length) => {
    const sizes = [
      length,
      state.heads,
      state.width,
      name.startsWith("window") ? state.window : null,
      cost(name, length).numbers,
    ];
    return measured[name][state.passes].every(
      ([low, high], i) => sizes[i] === null || (sizes[i] >= low && sizes[i] <= high),
    );
  };
  const rows = ways.map((name) => {
    const found = cost(name, state.length);
    return {
      name,
      ...found,
      times: found.time / base,
      far: !(within(name, state.length) && within(state.second, state.length)),
      fits: longest(mechanisms[name], state.memory * 2 ** 30, options, most),
    };
  });
  const { first, second } = state;
  const between = where((length) => within(first, length) && within(second, length), lengths).flat();
  const inner = lengths.filter((length) => length > between[0] && length < between.at(-1));
  const timed = [...new Set([...between.slice(0, 1), ...inner, ...between.slice(-1)])];
  const below = (part, tried) => where((length) => cost(first, length)[part] < cost(second, length)[part], tried);
  return { rows, between, crossings: [below("products", lengths), below("time", timed), below("held", lengths)] };
}

const tokens = (length) => `${whole(length)} ${length === 1 ? "token" : "tokens"}`;

/** Where it is so between two lengths, in words; many short runs, as blocks make them, are told as one. */
function told(runs, [low, high], { all, none, near = "" }) {
  const one = ([start, end]) => {
    if (start === end && start > low) return `at ${near}${tokens(start)}`;
    if (end === high) return start === low ? all : `from ${near}${tokens(start)} on`;
    return start === low ? `up to ${near}${tokens(end)}` : `from ${near}${whole(start)} to ${near}${tokens(end)}`;
  };
  if (runs.length <= 3) return runs.map(one).join(" and ") || none;
  return `at some lengths ${one([runs[0][0], runs.at(-2)[1]])} and ${one(runs.at(-1))}`;
}

/** At which lengths the first needs less than the second. */
function compared({ first, second }, { crossings, between }, most) {
  if (first === second) return `${first} is compared with itself.`;
  const [products, time, held] = crossings;
  const counts = (runs) =>
    told(runs, [1, most], { all: "at every length", none: "at no length up to a million tokens" });
  const alone = between[0] === between[1];
  const fitted = alone
    ? `at ${tokens(between[0])}, the one length fitted`
    : `of the ${whole(between[0])} to ${tokens(between[1])} fitted`;
  const timed = between.length
    ? `time, ${fitted}, ${told(time, between, { all: "at all", none: "at none", near: "about " })}`
    : "time unknown, for no length was fitted with these sizes";
  return `${first} needs less than ${second}: multiply-adds ${counts(products)}; ${timed}; memory ${counts(held)}.`;
}

function build(view) {
  const { data } = view;
  const ways = view.schema.first.names;
  const controls = settings(view, ways);
  const heads = ["Way", "Time, ratio", "Multiply-adds", "Memory", "Longest"];
  const costs = table({ columns: heads, bars: 1, kind: "attnlib-looks attnlib-costs-table" });
  const foot = html("p", { class: "attnlib-caption" });
  view.root.append(
    html(
      "div",
      { class: "attnlib-costs-both" },
      controls.near,
      html("div", { class: "attnlib-side" }, costs.node, view.caption),
      controls.rest,
      foot,
    ),
  );
  return (state) => {
    const found = worked(state, data, ways);
    const { rows } = found;
    controls.update(state);
    const part = (times) => Math.min(Math.max((Math.log10(times) + DECADES) / (2 * DECADES), 0), 1);
    const fits = (length) => (length >= data.most ? "1 M +" : many(length));
    const room = state.memory * 2 ** 30;
    costs.update(
      rows.map(({ name, times, far, products, held, fits: most }) => [
        name,
        { text: `${far ? "~ " : ""}${ratio(times)}`, part: part(times) },
        many(products),
        `${held > room ? "✗ " : ""}${bytes(held)}`,
        fits(most),
      ]),
      {
        caption: `Time over that of ${state.second}: bars on a logarithmic scale, 1 in the middle; ~ lies beyond the sizes that constants were fitted to. ✗: more than ${Number(state.memory.toPrecision(4))} GiB. Longest: the most tokens that fit.`,
        shown: (i) => rows[i].name === state.first || rows[i].name === state.second,
      },
    );
    write(foot, {
      text: `Ways marked (causal) look back only; the others see all keys. Multiply-adds and memory are counted for plain programs, a window and chunks in blocks of ${data.block} tokens, memory beyond inputs and parameters. Time is counts times constants that were measured on one processor, ${data.device}, in float32; on another the ratios are others.`,
    });
    const [one, other] = [state.first, state.second].map((name) => rows.find((row) => row.name === name));
    const made = `with ${ratio(one.products / other.products)} times the multiply-adds and ${ratio(one.numbers / other.numbers)} times the numbers made one by one forwards (exponentials, features, copies)`;
    const least = ratio(one.times);
    const took = least.startsWith("<") ? least.replace("<", "less than") : `${one.far ? "about " : ""}${least}`;
    view.news(
      `${compared(state, found, data.most)} At ${tokens(state.length)} it takes ${took} times as long, ${made}.`,
    );
  };
}

const unnamed = "Your own sizes";
const hint = "Move the length, or type it: which bars change sides, and what no longer fits?";

export default { build, unnamed, hint };
