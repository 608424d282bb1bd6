// SelectiveTuner: eight inputs to drag, a pyramid over them, and the winner's beam through it, a step at a time.

import { chart, levers } from "../js/bars.js";
import { slider } from "../js/controls.js";
import { html, svg, write } from "../js/dom.js";
import { selectiveTuning } from "../js/math/selective_tuning.js";
import { steps, trail } from "../js/stepper.js";
import { table } from "../js/table.js";
import { number } from "../js/text.js";

const [LEFT, RIGHT] = [30, 470];
const UNIT = { wide: 74, high: 40 };
const ROWS = [{ top: 214, height: 110 }, { top: 118 }, { top: 16 }]; // of each level, the inputs lowest
const TOP = ["left", "right"];

/** "input 1", "inputs 0 and 2", "no input". */
function listed(flags) {
  const on = flags.flatMap((flag, i) => (flag ? [i] : []));
  if (on.length < 2) return on.length ? `input ${on[0]}` : "no input";
  return `inputs ${on.slice(0, -1).join(", ")} and ${on.at(-1)}`;
}

/** A unit's frame, which tells its zone by a line: thick, or dashed with a cross. */
function frame(layer, { x, y, width, height }) {
  const box = layer.appendChild(svg("rect", { class: "attnlib-tuning-frame", x, y, width, height, rx: 6 }));
  const at = [`M${x} ${y}`, `l${width} ${height}`, `M${x + width} ${y}`, `l${-width} ${height}`].join("");
  const cross = layer.appendChild(svg("path", { class: "attnlib-tuning-cross", d: at }));
  return (zone) => {
    write(box, { "data-zone": zone });
    write(cross, { visibility: zone === "inhibited" ? null : "hidden" });
  };
}

function picture(layers, onMove) {
  const plan = chart({ label: "A pyramid of eight inputs, four units and two", width: 480, height: 356 });
  const wires = plan.layer("attnlib-tuning-wires");
  const units = plan.layer("attnlib-tuning-units");
  const pitch = (RIGHT - LEFT) / 8;
  const x = (level, u) => LEFT + pitch * 2 ** level * (u + 0.5);
  const joints = layers.flatMap(({ weight, stride }, level) =>
    Array.from({ length: 8 / 2 ** (level + 1) }, (_, u) =>
      weight.map((_, k) => {
        const below = u * stride + k;
        const ends = {
          x1: x(level + 1, u),
          y1: ROWS[level + 1].top + UNIT.high,
          x2: x(level, below),
          y2: ROWS[level].top,
        };
        return { level, u, below, node: wires.appendChild(svg("line", ends)) };
      }),
    ).flat(),
  );
  const boxes = [1, 2].map((level) =>
    Array.from({ length: 8 / 2 ** level }, (_, u) => {
      const place = { x: x(level, u) - UNIT.wide / 2, y: ROWS[level].top, width: UNIT.wide, height: UNIT.high };
      const paint = frame(units, place);
      const words = { class: "attnlib-tuning-value", x: x(level, u), y: place.y + 26, "text-anchor": "middle" };
      return { paint, text: units.appendChild(svg("text", words)) };
    }),
  );
  const { top, height } = ROWS[0];
  const at = Array.from({ length: 8 }, (_, i) => x(0, i));
  const ends = at.map((middle) => frame(units, { x: middle - 23, y: top, width: 46, height: height + 4 }));
  at.forEach((middle, i) =>
    units.append(svg("text", { x: middle, y: top + height + 26, "text-anchor": "middle", text: i })),
  );
  const names = at.map((_, i) => `Input ${i}`);
  const lift = levers({
    chart: plan,
    names,
    at,
    left: LEFT,
    right: RIGHT,
    top: top + 12,
    height: height - 20,
    least: 0,
    most: 1,
    onMove,
  });
  return {
    node: plan.node,
    update(stimuli, answers, zones) {
      lift(stimuli);
      ends.forEach((paint, i) => paint(zones(0, i)));
      boxes.forEach((row, above) =>
        row.forEach(({ paint, text }, u) => {
          paint(zones(above + 1, u));
          write(text, { text: number(answers[above + 1][u]), "data-strong": zones(above + 1, u) === "pass" });
        }),
      );
      for (const { level, u, below, node } of joints)
        write(node, { "data-pass": zones(level + 1, u) === "pass" && zones(level, below) === "pass" });
    },
  };
}

function build(view, first) {
  let now = first;
  const { layers, steps: names } = view.data;
  const last = names.length - 1;
  const set = (trait, i) => (value) => view.set({ [trait]: now[trait].map((old, k) => (k === i ? value : old)) });
  const drawing = picture(layers, (i, value) => set("stimuli", i)(value));
  const line = trail({ label: "Steps" });
  const control = steps({
    forward: "Next step",
    onWalk(count) {
      const step = Math.min(count, last);
      view.set({ step });
      return step;
    },
  });
  const factor = { min: 0, max: 4, step: 0.1, text: (value) => `× ${number(value, 1)}` };
  const bias = TOP.map((side, i) => slider({ label: `Task: ${side}`, ...factor, onInput: set("bias", i) }));
  const share = slider({
    label: "Share θ",
    min: 0.1,
    max: 1,
    step: 0.05,
    onInput: (value) => view.set({ share: value }),
  });
  const columns = ["Top unit", "First answer", "With the task", "Second answer"];
  const numbers = table({ columns });
  const settings = html(
    "div",
    { class: "attnlib-settings" },
    html("div", { class: "attnlib-controls" }, ...[...bias, share].map((each) => each.node)),
  );
  view.root.append(
    line.node,
    html("div", { class: "attnlib-two" }, drawing.node, html("div", { class: "attnlib-side" }, view.caption, settings)),
    numbers.node,
    control.node,
  );

  return (state) => {
    now = state;
    const { step, stimuli } = state;
    const found = selectiveTuning(stimuli, layers, state);
    const { winner, passes, inhibited } = found;
    const done = step === last;
    /** The zone of a unit, as far down as the beam has come. */
    const zones = (level, i) => {
      if (step < layers.length + 1 - level) return null;
      return passes[level][i] ? "pass" : inhibited[level][i] ? "inhibited" : null;
    };
    drawing.update(stimuli, done ? found.second : found.first, zones);
    line.update(names.map((text, i) => ({ text, note: i === step ? "now" : "", blank: i > step })));
    control.update(step, done);
    bias.forEach((each, i) => each.update(state.bias[i]));
    share.update(state.share);
    const top = found.first.at(-1);
    numbers.update(
      TOP.map((side, u) => [
        side,
        number(top[u]),
        number(state.bias[u] * top[u]),
        done ? number(found.second.at(-1)[u]) : "–",
      ]),
      { shown: (u) => step > 0 && u === winner },
    );
    const side = TOP[winner];
    const news = [
      `Each unit adds up the two below it: left answers ${number(top[0])}, right ${number(top[1])}.`,
      `The ${side} unit is the largest with the task: it wins.`,
      `Of the two below it, what gives ${state.share < 1 ? "enough" : "most"} passes; the other is crossed out.`,
      `The beam ends at ${listed(passes[0])}. All that is crossed out will be silent.`,
      `With what is crossed out silent, ${side} answers ${number(found.second.at(-1)[winner] ?? 0)} in place of ${number(top[winner] ?? 0)}.`,
    ];
    const nobody = "Nothing above 0 at the top: nobody wins, and nothing is inhibited.";
    view.news(winner < 0 && step > 0 ? nobody : news[step], "Drag an input up or down.");
  };
}

const unnamed = "Your own display";
const hint = "Drag the inputs: when does the beam jump to another one?";

export default { build, unnamed, hint, inSight: true };
