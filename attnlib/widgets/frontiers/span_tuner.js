// SpanTuner: what a span leaves of one row of energies, and what halting probabilities make of the steps.

import { bars, chart, line, total, within } from "../js/bars.js";
import { choice, slider } from "../js/controls.js";
import { html, svg, write } from "../js/dom.js";
import { handle1d } from "../js/handle.js";
import { pondered, spanned } from "../js/math/adaptive.js";
import { table } from "../js/table.js";
import { number, share } from "../js/text.js";

const ENOUGH = 0.99;
const FORMS = {
  paper: ["Span: the paper", "Each exp(energy) is multiplied by its share m, then all are divided by their sum."],
  "not divided": [
    "Span: softmax, then cut",
    "The softmax is taken over all keys, then cut, and nothing is divided again.",
  ],
  code: ["Span: the authors' code", "The softmax over all keys is cut, then divided by its sum plus 0.00000001."],
  halting: [
    "Halting",
    "Each step has a halting probability h; the last is the step at which their sum reaches 0.99, or the last there is.",
  ],
};
const [LEFT, RIGHT] = [46, 430];
const UPPER = { top: 12, height: 100 };
const BARS = { top: 156, height: 150, foot: 306 };
const whole = (value) => number(value, 0);

/** What the state comes to: shares let through, or the sum so far; the outline of each bar; the weights. */
function looked({ energies, span, ramp, halting, form }) {
  if (form !== "halting") {
    const { shares, before, weights } = spanned(energies, { span, ramp, form });
    return { upper: shares, before, weights, shown: shares.map((each) => each > 0) };
  }
  const { weights, steps, remainder, cost } = pondered(halting);
  let sum = 0;
  const upper = halting.map((halt, i) => (i < steps ? (sum += halt) : sum));
  return { upper, before: halting, weights, steps, remainder, cost, shown: halting.map((_, i) => i < steps) };
}

function picture(onMove) {
  const { node, layer, under } = chart({
    label: "Shares let through, or the sum so far; below, the weights",
    width: 440,
    height: 352,
  });
  const ground = layer("attnlib-span-ground");
  for (const { top, height } of [UPPER, BARS])
    ground.append(svg("rect", { x: LEFT, y: top, width: RIGHT - LEFT, height }));
  const draw = bars({ layer: layer("attnlib-bars"), ...BARS });
  const curve = layer("attnlib-span-curve").appendChild(svg("polyline"));
  const words = layer("attnlib-span-words");
  const text = (y, word) => words.appendChild(svg("text", { x: LEFT - 6, y, "text-anchor": "end", text: word }));
  const most = text(BARS.top + 12);
  text(UPPER.top + 12, 1);
  text(UPPER.top + UPPER.height, 0);
  text(BARS.foot, 0);
  const axis = words.appendChild(svg("text", { x: (LEFT + RIGHT) / 2, y: BARS.foot + 40, "text-anchor": "middle" }));
  const mark = words.appendChild(svg("line", { class: "attnlib-span-end", y1: UPPER.top, y2: BARS.foot }));
  let [n, halts] = [1, false];
  const wide = () => (RIGHT - LEFT) / n;
  const x = (i) => LEFT + (i + 0.5) * wide();
  const y = (part) => UPPER.top + UPPER.height * (1 - Math.min(part, 1));
  const grip = handle1d({
    name: "Span z",
    mark: svg("path", { class: "attnlib-grip", d: "M0 -18L11 0L0 14L-11 0Z" }),
    at: (event) => (under(event)[0] - LEFT) / wide() - 0.5,
    onMove,
  });
  node.append(grip.node);
  /** The ramp as corners, or the sum so far as steps. */
  const corners = ({ span, ramp }, upper) => {
    if (halts)
      return upper.flatMap((sum, i) => [
        [x(i - 0.5), y(sum)],
        [x(i + 0.5), y(sum)],
      ]);
    const last = n - 0.5;
    const share = (far) => within((ramp + span - far) / ramp, 0, 1);
    const ends = [-0.5, span, span + ramp, last].filter((far) => far <= last);
    return ends.map((far) => [x(far), y(share(far))]);
  };
  return {
    node,
    update(state, { upper, before, weights, shown }) {
      [n, halts] = [weights.length, state.form === "halting"];
      write(curve, { points: line(corners(state, halts ? upper.filter((_, i) => shown[i]) : upper)) });
      const top = [0.25, 0.5].find((each) => Math.max(...before, ...weights) <= each) ?? 1;
      const half = Math.min(15, 0.42 * wide());
      draw(
        weights.map((value, i) => ({
          x: x(i),
          half,
          value,
          outline: before[i],
          name: halts ? i + 1 : i,
          strong: shown[i],
        })),
        top,
      );
      write(most, { text: top });
      write(axis, { text: halts ? "step" : "places back from the query" });
      const end = within(x(state.span), LEFT, RIGHT);
      write(mark, { x1: end, x2: end, visibility: halts ? "hidden" : null });
      write(grip.node, { visibility: halts ? "hidden" : null, tabindex: halts ? -1 : 0 });
      const place = { x: end, y: UPPER.top + UPPER.height + 22, min: 0, max: n - 1 };
      grip.update(state.span, { ...place, words: `z = ${number(state.span)}` });
    },
  };
}

/** A slider that says which of a list, and one for its number, which the reader may change. */
function chooser(view, { trait, noun, value, first, ...range }) {
  let [chosen, all, most] = [0, [], range.max];
  const offset = first ?? 0;
  const which = slider({
    label: noun,
    min: offset,
    max: offset + 1,
    step: 1,
    text: whole,
    onInput: (at) => {
      chosen = at - offset;
      show();
    },
  });
  const amount = slider({
    label: value,
    ...range,
    onInput: (to) => view.set({ [trait]: all.map((old, i) => (i === chosen ? to : old)) }),
  });
  function show() {
    chosen = Math.min(chosen, all.length - 1);
    which.update(chosen + offset, { most: all.length - 1 + offset });
    most = Math.max(most, ...all);
    amount.update(all[chosen], { label: `${value} of ${noun.toLowerCase()} ${chosen + offset}`, most });
  }
  return {
    nodes: [which.node, amount.node],
    update(list, hidden, start) {
      if (start !== undefined && !all.length) chosen = start;
      all = list;
      show();
      for (const each of [which.node, amount.node]) write(each, { hidden });
    },
  };
}

const SPAN_HEADS = ["Places back", "Energy", "Share m", "Softmax", "Weight"];
const HALT_HEADS = ["Step", "Halting h", "Sum so far", "Softmax", "Weight"];

function told({ form, span, ramp }, { weights, shown, steps, remainder, cost }) {
  if (form === "halting")
    return `${steps} step${steps > 1 ? "s" : ""}, remainder ${number(remainder)}: the ponder cost is ${number(cost)}.`;
  const seen = shown.filter(Boolean).length;
  return `z = ${number(span)}, R = ${number(ramp)}: ${seen} key${seen > 1 ? "s are" : " is"} let through; the weights sum to ${number(total(weights), 3)}.`;
}

function build(view, first) {
  const drawing = picture((value) => view.set({ span: value }));
  const form = choice({
    label: "Show",
    options: Object.entries(FORMS).map(([name, [words]]) => [name, words]),
    onInput: (value) => view.set({ form: value }),
  });
  const meaning = html("p", { class: "attnlib-caption" });
  const ramp = slider({ label: "Ramp R", min: 0.5, max: 8, step: 0.5, onInput: (value) => view.set({ ramp: value }) });
  const energy = chooser(view, { trait: "energies", noun: "Key", value: "Energy", min: -5, max: 5, step: 0.1 });
  const halt = chooser(view, {
    trait: "halting",
    noun: "Step",
    value: "Halting probability",
    first: 1,
    min: 0,
    max: 1,
    step: 0.01,
  });
  const numbers = table({ columns: SPAN_HEADS, sums: true });
  const settings = html(
    "div",
    { class: "attnlib-settings" },
    html("div", { class: "attnlib-side" }, form.node, meaning),
    html("div", { class: "attnlib-controls" }, ramp.node, ...energy.nodes, ...halt.nodes),
  );
  view.root.append(
    html("div", { class: "attnlib-two" }, drawing.node, html("div", { class: "attnlib-side" }, view.caption, settings)),
    numbers.node,
  );
  const best = first.energies.indexOf(Math.max(...first.energies));

  return (state) => {
    const found = looked(state);
    const { upper, before, weights, shown } = found;
    const halts = state.form === "halting";
    drawing.update(state, found);
    form.update(state.form);
    write(meaning, { text: FORMS[state.form][1] });
    ramp.update(state.ramp);
    write(ramp.node, { hidden: halts });
    energy.update(state.energies, halts, best);
    halt.update(state.halting, !halts, 1);
    const seen = weights.flatMap((_, i) => (shown[i] || !halts ? [i] : []));
    const row = (i) =>
      halts
        ? [i + 1, number(before[i]), number(upper[i]), "", share(weights[i])]
        : [i, number(state.energies[i]), number(upper[i], 3), share(before[i]), share(weights[i])];
    numbers.update(seen.map(row), {
      caption: halts ? `Steps up to the last: the sum is enough at ${ENOUGH}` : "Keys by their distance from the query",
      corner: halts ? HALT_HEADS[0] : SPAN_HEADS[0],
      heads: halts ? HALT_HEADS.map((head) => (head === "Softmax" ? "" : head)) : SPAN_HEADS,
      sums: ["Sum", "", "", halts ? "" : number(total(before), 3), number(total(weights), 3)],
    });
    view.news(
      told(state, found),
      halts
        ? "Dashed bars are the halting probabilities, filled bars the weights; the line above is the sum so far, at most 1, up to the last step."
        : "Dashed bars are the softmax over all keys, filled bars the weights; the line above is the share m.",
    );
  };
}

const unnamed = "Your own numbers";
const hint = "Change one number: which weights begin to move, and which stay as they are?";

export default { build, unnamed, hint };
