// LocalWindow: where the window of local attention stands, and what it and the Gaussian leave of the softmax.

import { choice, slider, toggle } from "../js/controls.js";
import { html, pool, svg, write } from "../js/dom.js";
import { softmax } from "../js/math/distributions.js";
import { local } from "../js/math/local.js";
import { point } from "../js/plane.js";
import { number } from "../js/text.js";

const FORMS = { global: "global: every key", "local-m": "local-m: p is the step", "local-p": "local-p: p is predicted" };
const BOX = { width: 640, height: 300, left: 54, right: 630 };
const BELL = { top: 10, height: 92 };
const BARS = { top: 146, height: 126 };

/** The centre as the form has it: in local-m a key of the sentence. */
const centreOf = ({ form, centre, logits }) =>
  form === "local-m" ? Math.min(Math.max(Math.floor(centre + 0.5), 0), logits.length - 1) : centre;

function weigh(state) {
  const { logits, form, half_width: halfWidth, renormalise } = state;
  if (form === "global") {
    const weights = softmax(logits);
    return { inside: logits.map(() => true), shares: weights, factors: logits.map(() => 1), weights };
  }
  return local(logits, { centre: centreOf(state), halfWidth, gaussian: form === "local-p", renormalise });
}

const scale = (most) => [0.1, 0.25, 0.5].find((top) => most <= top) ?? 1;
const share = (weight) => (weight > 0 && weight < 5e-4 ? "< 0.0005" : number(weight, 3));

function chart(onMove) {
  const node = svg("svg", { class: "attnlib-plane attnlib-window-chart", viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "group",
    "aria-label": "The window, the Gaussian and the weights" });
  const layer = (name) => node.appendChild(svg("g", { class: name, "aria-hidden": "true" }));
  const ground = layer("attnlib-window-ground");
  const panels = [BELL, BARS].map(({ top, height }) => [
    ground.appendChild(svg("rect", { class: "attnlib-window-panel", x: BOX.left, y: top, width: BOX.right - BOX.left, height })),
    ground.appendChild(svg("rect", { class: "attnlib-window-inside", y: top, height })),
  ]);
  const bars = pool(layer("attnlib-window-bars"), () => {
    const weight = svg("rect", { class: "attnlib-window-weight" });
    const before = svg("rect", { class: "attnlib-window-share" });
    const name = svg("text", { y: BARS.top + BARS.height + 20, "text-anchor": "middle" });
    return { node: svg("g", {}, weight, before, name), weight, before, name };
  });
  const curve = layer("attnlib-window-bell").appendChild(svg("path"));
  const dots = pool(layer("attnlib-window-dots"), () => ({ node: svg("circle", { r: 4.5 }) }));
  const words = layer("attnlib-window-words");
  const [said, most, nought] = [0, 1, 2].map(() => words.appendChild(svg("text", { "text-anchor": "end" })));
  const stem = layer("attnlib-window-stem").appendChild(svg("line", { y1: BELL.top, y2: BARS.top + BARS.height }));
  let keys = 1;
  const x = (place) => BOX.left + ((place + 0.5) * (BOX.right - BOX.left)) / (keys + 1);
  const held = (value) => Math.min(Math.max(value, BOX.left), BOX.right);
  // What `point` moves on: x from the middle of 0 ... S; up and down (the keys alone give them) count as right and left.
  const board = {
    get limit() {
      return keys / 2;
    },
    x: (value) => x(value + keys / 2),
    y: () => BELL.top + BELL.height + 22,
    at(event) {
      const box = node.getBoundingClientRect();
      const across = ((event.clientX - box.left) / box.width) * BOX.width;
      return [((across - BOX.left) * (keys + 1)) / (BOX.right - BOX.left) - 0.5 - keys / 2, 0];
    },
  };
  const handle = point({
    plane: board,
    name: "Centre p",
    mark: svg("path", { class: "attnlib-window-grip", d: "M0 -18L11 0L0 14L-11 0Z" }),
    onMove: ([across, up]) => onMove(Math.min(Math.max(across + up + keys / 2, 0), keys)),
  });
  node.append(handle.node);

  return {
    node,
    dragging: () => handle.node.hasAttribute("data-dragging"),
    update(state, { inside, shares, factors, weights }) {
      keys = state.logits.length;
      const centre = centreOf(state);
      const everything = state.form === "global";
      const [low, high] = [centre - state.half_width, centre + state.half_width];
      const [left, right] = everything ? [BOX.left, BOX.right] : [held(x(low)), held(x(high))];
      for (const [, shade] of panels) write(shade, { x: left, width: right - left });
      const bell = (s) => Math.exp(-2 * ((s - centre) / state.half_width) ** 2);
      const height = (part) => BELL.top + BELL.height * (1 - part);
      const steps = Array.from({ length: 49 }, (_, i) => low + ((high - low) * i) / 48).filter((s) => x(s) === held(x(s)));
      const path = steps.map((s, i) => `${i ? "L" : "M"}${x(s).toFixed(1)} ${height(bell(s)).toFixed(1)}`).join("");
      const peaked = state.form === "local-p";
      write(curve, { d: peaked ? path : "" });
      const seen = peaked ? inside.flatMap((within, s) => (within ? [s] : [])) : [];
      dots(seen.length).forEach(({ node: dot }, i) => write(dot, { cx: x(seen[i]), cy: height(factors[seen[i]]) }));
      const top = scale(Math.max(...shares, ...weights));
      const half = Math.min(15, (0.4 * (BOX.right - BOX.left)) / (keys + 1));
      bars(keys).forEach(({ weight, before, name }, s) => {
        const tall = (value) => (BARS.height * value) / top;
        const foot = BARS.top + BARS.height;
        write(weight, { x: x(s) - half + 2, width: 2 * half - 4, y: foot - tall(weights[s]), height: tall(weights[s]) });
        write(before, { x: x(s) - half, width: 2 * half, y: foot - tall(shares[s]), height: tall(shares[s]),
          visibility: inside[s] ? null : "hidden" });
        write(name, { x: x(s), text: s, class: inside[s] ? "attnlib-window-seen" : null });
      });
      write(said, { x: BOX.right - 6, y: BELL.top + 18,
        text: { global: "no window, no Gaussian", "local-m": "no Gaussian", "local-p": "Gaussian, from 0 to 1" }[state.form] });
      write(most, { x: BOX.left - 6, y: BARS.top + 12, text: top });
      write(nought, { x: BOX.left - 6, y: BARS.top + BARS.height, text: 0 });
      write(stem, { x1: x(centre), x2: x(centre), visibility: everything ? "hidden" : null });
      write(handle.node, { visibility: everything ? "hidden" : null, tabindex: everything ? -1 : 0 });
      handle.update([centre - keys / 2, 0], "Centre p", `p = ${number(centre)}, keys ${span(inside)}`);
      write(handle.node, { "aria-valuenow": centre, "aria-valuemin": 0, "aria-valuemax": keys });
    },
  };
}

/** "3 to 6", or "none". */
function span(inside) {
  const [first, last] = [inside.indexOf(true), inside.lastIndexOf(true)];
  return first < 0 ? "none" : first === last ? `${first} alone` : `${first} to ${last}`;
}

function table() {
  const body = html("tbody");
  const rows = pool(body, () => {
    const cells = Array.from({ length: 4 }, () => html("td", { class: "attnlib-number" }));
    const head = html("th", { scope: "row" });
    return { node: html("tr", {}, head, ...cells), head, cells };
  });
  const columns = ["Key", "Energy", "Softmax", "Gaussian", "Weight"].map((text, i) =>
    html("th", { scope: "col", text, class: i ? "attnlib-number" : null }));
  const sums = Array.from({ length: 4 }, () => html("td", { class: "attnlib-number" }));
  const foot = html("tfoot", {}, html("tr", {}, html("th", { scope: "row", text: "Sum" }), ...sums));
  const node = html("table", { class: "attnlib-table attnlib-window-numbers" },
    html("caption", { text: "The keys in the window: softmax times Gaussian is the weight" }),
    html("thead", {}, html("tr", {}, ...columns)), body, foot);
  return {
    node,
    update(state, { inside, shares, factors, weights }) {
      const seen = inside.flatMap((within, s) => (within ? [s] : []));
      rows(seen.length).forEach(({ head, cells }, i) => {
        const s = seen[i];
        write(head, { text: s });
        const gaussian = state.form === "local-p" ? number(factors[s], 3) : "none";
        [number(state.logits[s]), share(shares[s]), gaussian, share(weights[s])].forEach((text, j) => write(cells[j], { text }));
      });
      const total = (values) => number(values.reduce((a, b) => a + b, 0), 3);
      ["", total(shares), "", total(weights)].forEach((text, j) => write(sums[j], { text }));
    },
  };
}

function build(view, first) {
  const current = { ...first };
  // In local-m a key press is a whole step; a drag goes where the pointer is.
  function moved(centre) {
    const now = centreOf(current);
    const pressed = current.form === "local-m" && !picture.dragging() && Math.abs(centre - now) < 0.75;
    const next = pressed ? Math.min(Math.max(now + Math.sign(centre - now), 0), current.logits.length - 1) : centre;
    current.centre = Number(next.toFixed(3)); // the next key may come before the next frame
    view.set({ centre: current.centre });
  }
  const picture = chart(moved);
  const form = choice({ label: "Attention", options: Object.entries(FORMS), onInput: (value) => view.set({ form: value }) });
  const width = slider({ label: "Half width D", min: 1, max: 10, step: 1, text: (value) => number(value, 0),
    onInput: (value) => view.set({ half_width: Math.round(value) }) });
  const renormalise = toggle({ label: "Make the weights sum to 1", onInput: (value) => view.set({ renormalise: value }) });
  const caption = html("p", { class: "attnlib-window-caption" });
  const numbers = table();
  view.root.append(picture.node, caption,
    html("div", { class: "attnlib-controls" }, form.node, width.node, renormalise.node), numbers.node);

  let said = "";
  return (state) => {
    Object.assign(current, state);
    const found = weigh(state);
    picture.update(state, found);
    numbers.update(state, found);
    form.update(state.form);
    width.update(state.half_width);
    renormalise.update(state.renormalise);
    const total = number(found.weights.reduce((a, b) => a + b, 0), 3);
    const where = state.form === "global" ? "All keys are seen"
      : `p = ${number(centreOf(state))}, D = ${number(state.half_width, 0)}: keys ${span(found.inside)} are seen`;
    const news = `${where}; the weights sum to ${total}.`;
    write(caption, { text: `${news} Dashed bars are the softmax in the window, filled bars the weights.` });
    if (said && said !== news) view.say(news);
    said = news;
  };
}

const unnamed = "Your own window";
const hint = "Drag p along the sentence: when do the weights jump?";

export default { build, unnamed, hint };
