// LocalWindow: where the window of local attention stands, and what it and the Gaussian leave of the softmax.

import { bars, chart, total, within } from "../js/bars.js";
import { choice, slider, toggle } from "../js/controls.js";
import { html, pool, svg, write } from "../js/dom.js";
import { handle1d } from "../js/handle.js";
import { softmax } from "../js/math/distributions.js";
import { local } from "../js/math/local.js";
import { table } from "../js/table.js";
import { number, share } from "../js/text.js";

const FORMS = {
  global: "Every key is seen: no window, no Gaussian.",
  "local-m": "m for monotonic: the centre is the number of the step, and there is no Gaussian.",
  "local-p": "p for predictive: the centre is computed from the query, and a Gaussian prefers the keys about it.",
};
const [LEFT, RIGHT] = [46, 430];
const BELL = { top: 12, height: 100 };
const BARS = { top: 156, height: 150, foot: 306 };

/** The centre as the form has it (in local-m a key of the sentence), and what comes of it. */
function weigh({ logits, form, centre, half_width: halfWidth, renormalise }) {
  const p = form === "local-m" ? within(Math.floor(centre + 0.5), 0, logits.length - 1) : centre;
  if (form !== "global")
    return { p, ...local(logits, { centre: p, halfWidth, gaussian: form === "local-p", renormalise }) };
  const weights = softmax(logits);
  return { p, inside: logits.map(() => true), shares: weights, factors: logits.map(() => 1), weights };
}

const seen = ({ inside }) => inside.flatMap((within, s) => (within ? [s] : []));

/** "3 to 6", or "none". */
function span(found) {
  const keys = seen(found);
  return keys.length < 2 ? (keys.length ? `${keys[0]} alone` : "none") : `${keys[0]} to ${keys.at(-1)}`;
}

function picture(onMove) {
  const { node, layer, under } = chart({ label: "The window, the Gaussian and the weights", width: 440, height: 334 });
  const ground = layer("attnlib-window-ground");
  const shades = [BELL, BARS].map(({ top, height }) => {
    ground.append(svg("rect", { class: "attnlib-window-panel", x: LEFT, y: top, width: RIGHT - LEFT, height }));
    return ground.appendChild(svg("rect", { class: "attnlib-window-inside", y: top, height }));
  });
  const draw = bars({ layer: layer("attnlib-bars"), ...BARS });
  const bell = layer("attnlib-window-bell");
  const curve = bell.appendChild(svg("path"));
  const dots = pool(bell, () => ({ node: svg("circle", { r: 4.5 }) }));
  const words = layer("attnlib-window-words");
  const text = (y, word) => words.appendChild(svg("text", { x: LEFT - 6, y, "text-anchor": "end", text: word }));
  const most = text(BARS.top + 12);
  const ends = [text(BELL.top + 12, 1), text(BELL.top + BELL.height, 0)];
  text(BARS.foot, 0);
  const line = words.appendChild(svg("line", { class: "attnlib-window-centre", y1: BELL.top, y2: BARS.foot }));
  let keys = 1;
  const wide = () => (RIGHT - LEFT) / (keys + 1);
  const x = (place) => LEFT + (place + 0.5) * wide();
  const grip = handle1d({
    name: "Centre p",
    mark: svg("path", { class: "attnlib-grip", d: "M0 -18L11 0L0 14L-11 0Z" }),
    at: (event) => (under(event)[0] - LEFT) / wide() - 0.5,
    onMove,
  });
  node.append(grip.node);

  return {
    node,
    update({ logits, form, half_width: halfWidth }, found) {
      const { p, inside, shares, factors, weights } = found;
      keys = logits.length;
      const all = form === "global";
      const [low, high] = [p - halfWidth, p + halfWidth];
      const [left, right] = all ? [LEFT, RIGHT] : [within(x(low), LEFT, RIGHT), within(x(high), LEFT, RIGHT)];
      for (const shade of shades) write(shade, { x: left, width: right - left });
      const y = (part) => BELL.top + BELL.height * (1 - part);
      const steps = Array.from({ length: 49 }, (_, i) => low + ((high - low) * i) / 48);
      const path = steps
        .filter((s) => x(s) >= LEFT && x(s) <= RIGHT)
        .map((s) => `${x(s).toFixed(1)} ${y(Math.exp(-2 * ((s - p) / halfWidth) ** 2)).toFixed(1)}`);
      const peaked = form === "local-p";
      write(curve, { d: peaked && path.length ? `M${path.join("L")}` : "" });
      const marked = peaked ? seen(found) : [];
      dots(marked.length).forEach(({ node: dot }, i) => write(dot, { cx: x(marked[i]), cy: y(factors[marked[i]]) }));
      const top = [0.1, 0.25, 0.5].find((each) => Math.max(...shares, ...weights) <= each) ?? 1;
      const half = Math.min(15, 0.4 * wide());
      const named = (s) => (keys > 16 && s % 2 ? "" : s); // two digits need the room of two keys
      const bar = (value, s) => ({
        x: x(s),
        half,
        value,
        outline: inside[s] ? shares[s] : null,
        name: named(s),
        strong: inside[s],
      });
      draw(weights.map(bar), top);
      for (const end of ends) write(end, { visibility: peaked ? null : "hidden" });
      write(most, { text: top });
      write(line, { x1: x(p), x2: x(p), visibility: all ? "hidden" : null });
      write(grip.node, { visibility: all ? "hidden" : null, tabindex: all ? -1 : 0 });
      const whole = form === "local-m";
      const place = { x: x(p), y: BELL.top + BELL.height + 22, min: 0, max: whole ? keys - 1 : keys, whole };
      grip.update(p, { ...place, words: `p = ${number(p)}, keys ${span(found)}` });
    },
  };
}

function build(view, first) {
  let now = first;
  let chosen = first.logits.indexOf(Math.max(...first.logits)); // the key whose energy the reader may change
  const set = (trait) => (value) => view.set({ [trait]: value });
  const drawing = picture(set("centre"));
  const form = choice({
    label: "Attention",
    options: Object.keys(FORMS).map((name) => [name, name]),
    onInput: set("form"),
  });
  const meaning = html("p", { class: "attnlib-caption" });
  const whole = { min: 1, max: 10, step: 1, text: (value) => number(value, 0) };
  const width = slider({ label: "Half width D", ...whole, onInput: set("half_width") });
  const renormalise = toggle({ label: "Weights sum to 1", onInput: set("renormalise") });
  const key = slider({
    label: "Key",
    min: 0,
    max: first.logits.length - 1,
    step: 1,
    text: (value) => number(value, 0),
    onInput(value) {
      chosen = value;
      choose();
    },
  });
  const energy = slider({
    label: "Energy",
    min: -5,
    max: 5,
    step: 0.1,
    onInput: (value) => view.set({ logits: now.logits.map((old, s) => (s === chosen ? value : old)) }),
  });
  function choose() {
    const last = now.logits.length - 1;
    chosen = Math.min(chosen, last);
    key.update(chosen, { most: last });
    energy.update(now.logits[chosen], { label: `Energy of key ${chosen}` });
  }
  const caption = "The keys in the window: softmax times Gaussian is the weight";
  const numbers = table({ columns: ["Key", "Energy", "Softmax", "Gaussian", "Weight"], caption, sums: true });
  const controls = [width, renormalise, key, energy].map((each) => each.node);
  const settings = html(
    "div",
    { class: "attnlib-settings" },
    html("div", { class: "attnlib-side" }, form.node, meaning),
    html("div", { class: "attnlib-controls" }, ...controls),
  );
  view.root.append(
    html("div", { class: "attnlib-two" }, drawing.node, html("div", { class: "attnlib-side" }, view.caption, settings)),
    numbers.node,
  );

  return (state) => {
    now = state;
    const found = weigh(state);
    const { p, shares, factors, weights } = found;
    drawing.update(state, found);
    const factor = (s) => (state.form === "local-p" ? number(factors[s], 3) : "none");
    const sum = number(total(weights), 3);
    numbers.update(
      seen(found).map((s) => [s, number(state.logits[s]), share(shares[s]), factor(s), share(weights[s])]),
      { sums: ["Sum", "", number(total(shares), 3), "", sum] },
    );
    form.update(state.form);
    write(meaning, { text: FORMS[state.form] });
    width.update(state.half_width);
    choose();
    renormalise.update(state.renormalise);
    const where = `p = ${number(p)}, D = ${number(state.half_width, 0)}: keys ${span(found)} are seen`;
    const news = `${state.form === "global" ? "All keys are seen" : where}; the weights sum to ${sum}.`;
    const curve =
      state.form === "local-p" ? " The curve is the Gaussian: the part of its softmax that a key keeps." : "";
    view.news(news, `Dashed bars are the softmax in the window, filled bars the weights.${curve}`);
  };
}

const unnamed = "Your own window";
const hint = "Drag p along the sentence: when do the weights jump?";

export default { build, unnamed, hint };
