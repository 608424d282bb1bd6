// DistributionLab: three logits, the weights that four distributions make of them, and where those lie on the simplex.

import { line, total } from "./js/bars.js";
import { choice, slider, toggle } from "./js/controls.js";
import { html, svg, write } from "./js/dom.js";
import { entmax, sigmoid, softmax, sparsemax } from "./js/math/distributions.js";
import { simplex } from "./js/simplex.js";
import { table } from "./js/table.js";
import { number, share } from "./js/text.js";

const RULES = { softmax, entmax, sparsemax, sigmoid };
const SIGNS = {
  softmax: ["circle", { r: 6.5 }],
  entmax: ["path", { d: "M0 -8.5L8.5 0L0 8.5L-8.5 0Z" }],
  sparsemax: ["rect", { x: -6, y: -6, width: 12, height: 12 }],
};
const PATHS = { temperature: "T, from ∞ to 0", alpha: "α, from 1 to ∞" };
const ROUTES = {
  temperature: "Paths: T from ∞ (the middle, all alike) down to 0; the ring moves on the dashed ray.",
  alpha: "Path: α from 1 (softmax) through 2 (sparsemax) to ∞.",
};
const NAMES = ["A", "B", "C"];
const kindOf = (name) => `attnlib-lab-${name}`;
const centred = (logits) => logits.map((value) => value - total(logits) / 3);
const words = (name, { alpha }) => (name === "entmax" ? `entmax, α = ${number(alpha)}` : name);

/** The settings along a path, from the spread-out end to the sharp one. */
const along = ({ path }) =>
  Array.from({ length: 65 }, (_, i) =>
    path === "temperature" ? { temperature: 60 * (0.02 / 60) ** (i / 64) } : { alpha: 1 + 0.01 * 4000 ** (i / 64) },
  );

function picture(onMove) {
  const triangle = simplex({ label: "The simplex in the plane of logits", names: NAMES, onMove });
  const names = Object.keys(SIGNS);
  const lines = triangle.layer("attnlib-lab-paths");
  const polyline = (name) => lines.appendChild(svg("polyline", { class: kindOf(name) }));
  const [ray, drop, ...paths] = ["ray", "drop", ...names].map(polyline);
  const signs = triangle.layer("attnlib-lab-signs");
  const marks = names.map((name) => signs.appendChild(svg(SIGNS[name][0], { class: kindOf(name), ...SIGNS[name][1] })));
  let drawn = "";
  return {
    node: triangle.node,
    outside: triangle.outside,
    update(state, weights) {
      const { logits, temperature, alpha, path, wide } = state;
      const [top, low] = [Math.max(...logits), logits.indexOf(Math.min(...logits))];
      const last = NAMES.flatMap((_, i) => (logits[i] === top ? [i] : []));
      const ring = logits.map((value) => value / temperature);
      triangle.update(ring, { wide, last, low, end: path === "temperature" ? "T → 0" : "α → ∞" });
      const all = JSON.stringify([logits, wide, path, path === "alpha" ? temperature : alpha]);
      if (all !== drawn) {
        const steps = along(state).map((step) => ({ temperature, alpha, ...step }));
        names.forEach((name, i) => {
          const shown = path === "temperature" || name === "entmax" ? steps : [];
          write(paths[i], { points: line(shown.map((step) => triangle.pixels(RULES[name](logits, step)))) });
        });
        const far = path === "temperature" ? [[0, 0, 0], centred(logits).map((value) => value * 60)] : [];
        write(ray, { points: line(far.map(triangle.pixels)) });
        drawn = all;
      }
      names.forEach((name, i) => {
        const [x, y] = triangle.pixels(weights[name]);
        write(marks[i], { transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})` });
      });
      write(drop, { points: triangle.outside() ? "" : line([ring, weights.sparsemax].map(triangle.pixels)) });
    },
  };
}

function build(view, first) {
  let now = first;
  const set = (trait) => (value) => view.set({ [trait]: value });
  const { least, most } = view.schema.logits;
  const bounded = (value) => Number(Math.min(Math.max(value, least), most).toFixed(3));
  const drawing = picture((to) => {
    const mean = total(now.logits) / 3;
    view.set({ logits: to.map((value) => bounded(value * now.temperature + mean)) });
  });
  const logits = NAMES.map((name, i) => {
    const onInput = (value) => view.set({ logits: now.logits.map((old, j) => (j === i ? value : old)) });
    return slider({ label: `Logit ${name}`, min: least, max: most, step: 0.05, onInput });
  });
  const temperature = slider({ label: "Temperature T", min: 0.1, max: 10, log: true, onInput: set("temperature") });
  const alpha = slider({ label: "α of entmax", min: 1.05, max: 4, step: 0.05, onInput: set("alpha") });
  const path = choice({ label: "Draw the path of", options: Object.entries(PATHS), onInput: set("path") });
  const wide = toggle({ label: "Show more of the plane", onInput: set("wide") });
  const kind = "attnlib-lab-shares";
  const shares = table({ columns: ["Distribution", ...NAMES, "Sum"], caption: "Weights side by side", kind, bars: 3 });
  const controls = [...logits, temperature, alpha, path, wide].map(({ node }) => node);
  view.root.append(
    html("div", { class: "attnlib-two" }, drawing.node, html("div", { class: "attnlib-controls" }, ...controls)),
    view.caption,
    shares.node,
  );

  return (state) => {
    now = state;
    const names = Object.keys(RULES);
    const weights = Object.fromEntries(names.map((name) => [name, RULES[name](state.logits, state)]));
    drawing.update(state, weights);
    const sum = (name) => (Math.abs(total(weights[name]) - 1) < 5e-4 ? "1" : `${number(total(weights[name]))} ≠ 1`);
    const cells = (name) => weights[name].map((part) => ({ text: share(part), part }));
    const rows = names.map((name) => [words(name, state), ...cells(name), sum(name)]);
    shares.update(rows, { kind: (i) => kindOf(names[i]) });
    logits.forEach((control, i) => control.update(state.logits[i]));
    temperature.update(state.temperature);
    alpha.update(state.alpha);
    path.update(state.path);
    wide.update(state.wide);
    const kept = Object.keys(SIGNS).map((name) => `${weights[name].filter((part) => part > 0).length} by ${name}`);
    const out = drawing.outside() ? ", now outside the picture and held on its border" : "";
    view.news(
      `Keys that are kept: ${kept.join(", ")}. Sigmoid weighs each on its own: its weights sum to ` +
        `${number(total(weights.sigmoid), 3)}, and need not lie on the simplex.`,
      `${ROUTES[state.path]} The ring is the logits over T${out}; support is the number of keys that sparsemax keeps ` +
        "for a ring in that region.",
    );
  };
}

const unnamed = "Your own logits";
const hint = "Move a logit, or drag the ring: which weights reach exactly 0, and when?";

export default { build, unnamed, hint };
