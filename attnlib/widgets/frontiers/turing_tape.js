// TuringTape: a head of a neural Turing machine moved by hand, and a trained machine that copies the reader's pattern.

import { chart } from "../js/bars.js";
import { choice, slider } from "../js/controls.js";
import { html, pool, svg, uid, write } from "../js/dom.js";
import { kept } from "../js/kept.js";
import { address, copied, machine } from "../js/math/turing.js";
import { largest, steps } from "../js/stepper.js";
import { table } from "../js/table.js";
import { number } from "../js/text.js";

const BY_HAND = "a head by hand";
const TRAINED = "a trained machine";
const [LEFT, WIDE] = [34, 330]; // of the time that runs to the right
const [BITS, BIT] = [22, 13]; // top of the pattern, height of a bit
const [HEADS, TALL, CELLS, CELL] = [108, 246, 380, 12]; // top and height of the memory, left edge of its numbers
const KEPT = 64; // patterns whose steps are kept
const SHADES = 20; // of a bit, of a weight, and of a number of the memory on either side of nought
const SEEN = 0.05; // the least weight that is drawn: spread evenly over 41 rows it is less
const CONTROLS = {
  key: { label: "Key's direction", min: 0, max: 360, step: 15, text: (value) => `${value}°` },
  strength: { label: "Strength β", min: 0, max: 20, step: 0.5 },
  gate: { label: "Gate g", min: 0, max: 1, step: 0.05 },
  shift: { label: "Shift s, mean", min: -1, max: 1, step: 0.1 },
  sharpness: { label: "Sharpness γ", min: 1, max: 10, step: 0.5 },
};
const nets = kept(machine);
const runs = kept(() => new Map());
const letters = (pattern) => pattern.map((bits) => parseInt(bits.join(""), 2).toString(16)).join("");
const bitsOf = (letter, count) => [...parseInt(letter, 16).toString(2).padStart(count, "0")].map(Number);
const direction = (degrees) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];

/** All steps of the machine of a state; those of the patterns that were shown last are kept. */
function run({ machines, machine: chosen, pattern }) {
  const [known, name] = [runs(machines[chosen]), letters(pattern)];
  if (!known.has(name) && known.size === KEPT) known.clear();
  return known.get(name) ?? known.set(name, copied(nets(machines[chosen]), pattern)).get(name);
}

/** Six rows, and a bar for the weighting before a step and after each part of it. */
function hand(view) {
  const controls = Object.entries(CONTROLS).map(([trait, manner]) => [
    trait,
    slider({ ...manner, onInput: (value) => view.set({ [trait]: value }) }),
  ]);
  const first = choice({ label: "Begins on row", onInput: (value) => view.set({ first: Number(value), step: 0 }) });
  const numbers = table({
    columns: ["Row", "Before", "Content", "Gated", "Shifted", "Sharpened"],
    bars: 5,
    kind: "attnlib-tape-stages",
  });
  const rows = view.data.angles.map(direction);
  return {
    node: html(
      "div",
      {},
      html(
        "div",
        { class: "attnlib-settings" },
        html("div", { class: "attnlib-controls" }, ...controls.map(([, { node }]) => node), first.node),
      ),
      numbers.node,
    ),
    update(state) {
      const { step, shift, sharpness } = state;
      for (const [trait, each] of controls) each.update(state[trait]);
      first.update(state.first, { options: rows.map((_, i) => [i, `${i}`]) });
      const told = {
        ...state,
        key: direction(state.key),
        shift: [Math.max(-shift, 0), 1 - Math.abs(shift), Math.max(shift, 0)],
      };
      let before = rows.map((_, i) => (i === state.first ? 1 : 0));
      for (let n = 0; n < step; n += 1) before = address(told, rows, before).weights;
      const { content, gated, moved, weights } = address(told, rows, before);
      const stages = [before, content, gated, moved, weights];
      const cell = (weight) => ({ text: number(weight, 3), part: weight });
      numbers.update(
        rows.map((_, i) => [`${i} ${view.data.arrows[i]}`, ...stages.map((stage) => cell(stage[i]))]),
        { caption: `Step ${step + 1}: where the head was, and the four parts of the step` },
      );
      const alike =
        sharpness === 1
          ? ""
          : ` Sharpening raises ${number(Math.max(...moved), 3)} to ${number(Math.max(...weights), 3)}.`;
      return `After step ${step + 1} most weight is on row ${largest(weights)}: ${number(Math.max(...weights), 3)}.${alike}`;
    },
  };
}

const box = (x, y, width, height) =>
  `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}z`;

/** One path for all boxes of a shade, so that a frame changes few nodes: `[{ level, d }]`, levels from -SHADES to SHADES. */
function shades(items, part, drawn) {
  const found = new Map();
  for (const item of items) {
    const level = Math.round(SHADES * part(item));
    found.set(level, (found.get(level) ?? "") + drawn(item));
  }
  return [...found].map(([level, d]) => ({ level, d }));
}

/** Time to the right: the pattern and what comes out above, below it the rows of the memory and where the heads look. */
function tape(get, put) {
  const plan = chart({
    label: "Pattern, output, and where the heads look over time",
    width: 480,
    height: 372,
    kind: "attnlib-tape",
  });
  const frame = () => plan.layer("attnlib-tape-frame").appendChild(svg("rect", { y: HEADS, height: TALL }));
  write(frame(), { x: LEFT, width: WIDE });
  const held = write(frame(), { x: CELLS });
  const layer = (name, make) => pool(plan.layer(name), make);
  const path = () => ({ node: svg("path") });
  const bits = layer("attnlib-tape-bits", path);
  const wrong = plan.layer("attnlib-tape-wrong").appendChild(svg("path"));
  const write_ = layer("attnlib-tape-write", path);
  const read = layer("attnlib-tape-read", path);
  const cells = layer("attnlib-tape-cells", path);
  const now = plan.layer("attnlib-tape-now").appendChild(svg("rect", { y: BITS - 2, height: HEADS + TALL - BITS + 4 }));
  const words = plan.layer("attnlib-numerals");
  const [intake, mark, out] = ["in", "mark", "out"].map((text) =>
    words.appendChild(svg("text", { y: BITS - 8, "text-anchor": "middle", text })),
  );
  words.append(
    svg("text", { x: CELLS, y: HEADS - 8, text: "memory" }),
    svg("text", { x: LEFT, y: HEADS - 8, text: "row, by the head’s weight" }),
    svg("text", { x: LEFT + WIDE, y: HEADS + TALL + 17, "text-anchor": "end", text: "time" }),
  );
  const names = pool(words, () => ({ node: svg("text", { x: LEFT - 6, "text-anchor": "end" }) }));
  plan.node.addEventListener("click", (event) => {
    const { pattern } = get();
    const [x, y] = plan.under(event);
    const [t, b] = [Math.floor(((x - LEFT) / WIDE) * (2 * pattern.length + 1)), Math.floor((y - BITS) / BIT)];
    if (pattern[t]?.[b] !== undefined)
      put(pattern.map((row, i) => row.map((bit, j) => (i === t && j === b ? 1 - bit : bit))));
  });
  return {
    node: plan.node,
    update({ pattern, step }, all, done) {
      const [time, length] = [2 * pattern.length + 1, pattern.length];
      const [wide, count] = [WIDE / time, all[0].memory.length];
      const high = TALL / count;
      const x = (t) => LEFT + t * wide;
      write(intake, { x: x(length / 2) });
      write(mark, { x: x(length + 0.5) });
      write(out, { x: x(length + 1 + length / 2) });
      const shown = names(Math.ceil(count / 10));
      shown.forEach(({ node }, i) => write(node, { y: HEADS + (10 * i + 0.5) * high + 5, text: 10 * i }));
      const given = pattern.flatMap((row, t) => row.map((bit, b) => ({ t, b, part: bit, right: true })));
      const said = done
        .slice(length + 1)
        .flatMap(({ output }, t) =>
          output.map((part, b) => ({ t: t + length + 1, b, part, right: part > 0.5 === (pattern[t][b] === 1) })),
        );
      const strip = [...given, ...said];
      const inked = shades(
        strip,
        ({ part }) => part,
        ({ t, b }) => box(x(t) + 0.5, BITS + b * BIT, wide - 1, BIT - 2),
      );
      bits(inked.length).forEach(({ node }, i) =>
        write(node, { d: inked[i].d, style: `--part:${inked[i].level / SHADES}` }),
      );
      const crosses = strip
        .filter(({ right }) => !right)
        .map(
          ({ t, b }) =>
            `M${(x(t) + 0.5).toFixed(1)} ${BITS + b * BIT}l${(wide - 1).toFixed(1)} ${BIT - 2}m0 ${2 - BIT}l${(1 - wide).toFixed(1)} ${BIT - 2}`,
        );
      write(wrong, { d: crosses.join("") });
      const marks = (head) =>
        done.flatMap(({ weights }, t) =>
          weights[head].flatMap((weight, row) => (weight < SEEN ? [] : [{ t, row, weight }])),
        );
      for (const [made, head] of [
        [read, 0],
        [write_, 1],
      ]) {
        const found = shades(
          marks(head),
          ({ weight }) => weight,
          ({ t, row }) => box(x(t) + (head ? 0 : wide / 2), HEADS + row * high + 0.5, wide / 2 - 0.5, high - 1),
        );
        made(found.length).forEach(({ node }, i) => write(node, { d: found[i].d, opacity: found[i].level / SHADES }));
      }
      const memory = done.at(-1)?.memory ?? [];
      const flat = memory.flatMap((row, i) => row.map((value, j) => ({ i, j, value })));
      const coloured = shades(
        flat,
        ({ value }) => Math.max(-1, Math.min(value / 2, 1)),
        ({ i, j }) => box(CELLS + j * CELL, HEADS + i * high, CELL - 1, high - 0.5),
      );
      cells(coloured.length).forEach(({ node }, n) => {
        const { level, d } = coloured[n];
        write(node, {
          d,
          class: level < 0 ? "attnlib-below" : "attnlib-above",
          style: `--part:${(100 * Math.abs(level)) / SHADES}%`,
        });
      });
      write(now, { x: x(step - 1), width: wide, visibility: step ? null : "hidden" });
      write(held, { width: all[0].memory[0].length * CELL });
    },
  };
}

/** A machine, a pattern to type, the tape, and what its heads are told at a step. */
function trained(view, get) {
  const most = view.data.long;
  const put = (pattern) => view.set({ pattern, step: 2 * pattern.length + 1 });
  const which = choice({ label: "Machine", onInput: (value) => view.set({ machine: Number(value) }) });
  const id = uid();
  const input = html("input", {
    id,
    class: "attnlib-tape-pattern",
    type: "text",
    maxlength: most,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  const field = html(
    "div",
    { class: "attnlib-control" },
    html("label", { for: id, text: "Pattern: 0 to f, four bits each" }),
    input,
  );
  input.addEventListener("input", () => {
    const typed = input.value
      .toLowerCase()
      .replace(/[^0-9a-f]/g, "")
      .slice(0, most);
    if (typed !== input.value) input.value = typed;
    if (typed) put([...typed].map((letter) => bitsOf(letter, get().pattern[0].length)));
  });
  const another = (i) => bitsOf(((7 * i + 3) % 16).toString(16), get().pattern[0].length); // what a longer pattern goes on with
  const whole = (value) => number(value, 0);
  const size = slider({
    label: "Vectors",
    min: 1,
    max: most,
    step: 1,
    text: whole,
    onInput: (count) => put(Array.from({ length: count }, (_, i) => get().pattern[i] ?? another(i))),
  });
  const moment = slider({
    label: "Step",
    min: 0,
    max: 2 * most + 1,
    step: 1,
    text: whole,
    onInput: (step) => view.set({ step }),
  });
  const drawing = tape(get, put);
  const legend = html(
    "p",
    { class: "attnlib-legend" },
    html("span", {}, html("span", { class: "attnlib-tape-key" }), "head that writes"),
    html("span", {}, html("span", { class: "attnlib-tape-key attnlib-tape-hollow" }), "head that reads"),
    html("span", {}, html("span", { class: "attnlib-tape-key attnlib-tape-above" }), "memory: above 0"),
    html("span", {}, html("span", { class: "attnlib-tape-key attnlib-tape-below" }), "memory: below 0"),
    html("span", { text: "a filled bit is 1; a cross: came out wrong; click a bit of the pattern to turn it" }),
  );
  const numbers = table({ columns: ["Head", "Row", "Weight", "β", "g", "s, mean", "γ"] });
  return {
    node: html(
      "div",
      {},
      html("div", { class: "attnlib-controls attnlib-tape-controls" }, which.node, field, size.node, moment.node),
      drawing.node,
      legend,
      numbers.node,
    ),
    update(state) {
      const { pattern, step, machines } = state;
      const all = run(state);
      const done = all.slice(0, step);
      which.update(state.machine, { options: machines.map(({ name }, i) => [i, name]) });
      const typed = letters(pattern);
      if (input.value !== typed && (input.value || document.activeElement !== input)) input.value = typed;
      size.update(pattern.length);
      moment.update(step, { most: all.length });
      drawing.update(state, all, done);
      const last = done.at(-1);
      numbers.update(
        ["Writes", "Reads"].map((name, i) => {
          if (!last) return [name, ...Array(6).fill("–")];
          const [weights, head] = [last.weights[1 - i], last.heads[1 - i]];
          return [
            name,
            `${largest(weights)}`,
            number(Math.max(...weights)),
            ...[head.strength, head.gate, head.shift[2] - head.shift[0], head.sharpness].map((value) => number(value)),
          ];
        }),
        {
          caption: step
            ? `Step ${step}: the row with most weight, and what each head is told`
            : "Before the first step",
        },
      );
      const asked = done
        .slice(pattern.length + 1)
        .flatMap(({ output }, t) => output.map((part, b) => part > 0.5 === (pattern[t][b] === 1)));
      const where =
        step === 0
          ? "Nothing read in yet."
          : step <= pattern.length
            ? `Step ${step}: vector ${step} of ${pattern.length} is read in.`
            : step === pattern.length + 1
              ? `Step ${step}: the mark, after which the copy is asked for.`
              : `Step ${step}: ${step - pattern.length - 1} of ${pattern.length} vectors came out; ${asked.filter(Boolean).length} of ${asked.length} bits are right.`;
      return where;
    },
  };
}

function build(view, first) {
  let now = first;
  const get = () => now;
  const most = () => (now.show === BY_HAND ? view.data.most : 2 * now.pattern.length + 1);
  const show = choice({
    label: "Show",
    options: [TRAINED, BY_HAND].map((name) => [name, name]),
    onInput: (value) => view.set({ show: value, step: 0 }),
  });
  const parts = { [TRAINED]: trained(view, get), [BY_HAND]: hand(view) };
  const control = steps({
    forward: "Take a step",
    onWalk(count) {
      const step = Math.min(count, most());
      view.set({ step });
      return step;
    },
  });
  view.root.append(
    html("div", { class: "attnlib-controls attnlib-tape-show" }, show.node),
    ...Object.values(parts).map(({ node }) => node),
    view.caption,
    control.node,
  );
  return (state) => {
    now = state;
    show.update(state.show);
    for (const [name, { node }] of Object.entries(parts)) write(node, { hidden: name !== state.show });
    const news = parts[state.show].update(state);
    control.update(state.step, state.step === most());
    view.news(news);
  };
}

const unnamed = "Your own";
const hint = "Go back and forth through the steps, and watch which row each head is on.";

export default { build, unnamed, hint, inSight: true };
