// CostCalculator: what each way to attend comes to at a length, and where one of two overtakes the other.

import { choice, slider } from "../js/controls.js";
import { html, write } from "../js/dom.js";
import { counted, crossover, longest, time } from "../js/math/costs.js";
import { table } from "../js/table.js";
import { number } from "../js/text.js";

const PASSES = [["forward", "forwards"], ["both", "both passes"]];
const PRECISIONS = [["float32", "float32, 4 bytes"], ["half", "half, 2 bytes"]];
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
const ratio = (value) => number(value, value < 0.0995 ? 3 : value < 9.95 ? 2 : value < 99.5 ? 1 : 0);

/** A slider on a logarithmic scale, and the number itself to type. */
function entry({ label, trait, min, max, fixed = whole, round = Math.round, view }) {
  const { least = 0, most } = view.schema[trait];
  const give = (value) => view.set({ [trait]: Math.min(Math.max(round(value), least || min), most) });
  const typed = html("input", { type: "number", "aria-label": `${label}, exactly`, min: least || min, max: most, step: "any" });
  // A step of the scale is less than one where numbers are small: it is one all the same.
  const step = (value, now) => give(round(value) === now ? now + Math.sign(value - now) : value);
  const control = slider({ label, min, max, log: true, text: fixed, onInput: (value) => step(value, Number(typed.dataset.now)) });
  typed.addEventListener("change", () => (Number(typed.value) > 0 ? give(Number(typed.value)) : (typed.value = typed.dataset.now)));
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
    size("Memory to fit in, GiB", "memory", 0.125, 1024, { round: (value) => Number(value.toPrecision(3)), fixed: (value) => `${Number(value.toPrecision(4))} GiB` }),
  ];
  const pick = (label, trait, options) => [trait, choice({ label, options, onInput: (value) => view.set({ [trait]: value }) })];
  const choices = [
    pick("Passes", "passes", PASSES),
    pick("Numbers held", "precision", PRECISIONS),
    pick("Compare", "first", names.map((name) => [name, name])),
    pick("against", "second", names.map((name) => [name, name])),
  ];
  const all = [...sizes, ...choices];
  return {
    node: html("div", { class: "attnlib-settings attnlib-costs" }, html("div", { class: "attnlib-controls" }, ...all.map(([, { node }]) => node))),
    update: (state) => all.forEach(([trait, each]) => each.update(state[trait])),
  };
}

/** Everything that is shown of a state. */
function worked(state, data, ways) {
  const { mechanisms, constants, lengths, block, most } = data;
  const options = { ...state, both: Number(state.passes === "both"), size: state.precision === "half" ? 2 : 4, block };
  const cost = (name, length) => {
    const count = counted(mechanisms[name], { ...options, length });
    return { ...count, time: time(count, constants[name][state.passes]) };
  };
  const base = cost(state.second, state.length).time;
  const rows = ways.map((name) => {
    const found = cost(name, state.length);
    return { name, ...found, times: found.time / base, fits: longest(mechanisms[name], state.memory * 2 ** 30, options, most) };
  });
  const [first, second] = [state.first, state.second].map((name) => lengths.map((length) => cost(name, length)));
  const crossings = ["products", "time", "held"].map((part) => crossover(first.map((each) => each[part]), second.map((each) => each[part]), lengths));
  return { rows, crossings };
}

const about = ([low, high]) => (low === 0 ? "at every length" : `from about ${whole(Math.sqrt(low * high))} tokens on`);

/** From which length on the first needs less than the second. */
function compared({ first, second }, crossings) {
  if (first === second) return `${first} is compared with itself.`;
  const told = ["multiply-adds", "time", "memory"].map((what, i) => `${what} ${crossings[i] ? about(crossings[i]) : "not up to a million tokens"}`);
  return `${first} needs less than ${second}: ${told.join("; ")}.`;
}

/** Which sizes lie outside of those that the constants were measured at. */
function beyond({ length, heads, width, window }, measured) {
  const out = ["length", "heads", "width", "window"].filter((_, i) => {
    const value = [length, heads, width, window][i];
    return value < measured[i][0] || value > measured[i][1];
  });
  return out.length ? ` Outside of what was measured: ${out.join(", ")}; the time there is an extrapolation.` : "";
}

function build(view, first) {
  const { data } = view;
  const ways = view.schema.first.names;
  const controls = settings(view, ways);
  const heads = ["Way", "Time, ratio", "Multiply-adds", "Memory", "Longest"];
  const costs = table({ columns: heads, bars: 1, kind: "attnlib-looks attnlib-costs-table" });
  const foot = html("p", { class: "attnlib-caption" });
  view.root.append(html("div", { class: "attnlib-costs-both" }, controls.node, html("div", { class: "attnlib-side" }, costs.node, view.caption, foot)));
  return (state) => {
    const { rows, crossings } = worked(state, data, ways);
    controls.update(state);
    const part = (times) => Math.min(Math.max((Math.log10(times) + DECADES) / (2 * DECADES), 0), 1);
    const fits = (length) => (length >= data.most ? "1 M +" : many(length));
    const room = state.memory * 2 ** 30;
    costs.update(
      rows.map(({ name, times, products, held, fits: most }) => [
        name, { text: ratio(times), part: part(times) }, many(products), `${held > room ? "✗ " : ""}${bytes(held)}`, fits(most),
      ]),
      {
        caption: `Time over that of ${state.second}: bars on a logarithmic scale, 1 in the middle. ✗ is more than ${Number(state.memory.toPrecision(4))} GiB, Longest the most tokens that fit.`,
        shown: (i) => rows[i].name === state.first || rows[i].name === state.second,
      },
    );
    write(foot, {
      text: `Multiply-adds and memory are counted from the equations. Time is counts times constants that were measured on one processor, ${data.device}, in float32: another has others, and a ratio carries over better than a time.${beyond(state, data.measured)}`,
    });
    const [one] = rows.filter(({ name }) => name === state.first);
    view.news(compared(state, crossings), `At ${whole(state.length)} tokens it takes ${ratio(one.times)} times as long.`);
  };
}

const unnamed = "Your own sizes";
const hint = "Move the length, or type it: which bars change sides, and what no longer fits?";

export default { build, unnamed, hint };
