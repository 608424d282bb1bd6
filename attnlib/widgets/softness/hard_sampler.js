// HardSampler: three positions, draws one by one or by the thousand, and the REINFORCE estimates on their way to the
// exact slope. The draws are those of the Python class: the same generator, the same seed.

import { bars, chart, levers, line, total, within } from "../js/bars.js";
import { button, choice, slider } from "../js/controls.js";
import { html, svg, write } from "../js/dom.js";
import { softmax } from "../js/math/distributions.js";
import { boundSlope, drawn, movingAverage, reinforceSlope, runningMeans, uniforms } from "../js/math/hard.js";
import { table } from "../js/table.js";
import { number, share } from "../js/text.js";

const SIZE = { width: 440, height: 300 };
const [LEFT, RIGHT] = [34, 430];
const AT = [0, 1, 2].map((i) => LEFT + ((RIGHT - LEFT) / 3) * (i + 0.5));
const PLOT = { left: 56, right: 428, middle: 140, half: 110 };
const LATEST = 12; // draws that are told one by one
const times = (draws) => `${draws.toLocaleString("en")} ${draws === 1 ? "draw" : "draws"}`;

/** Everything that is shown, from the state. */
function run({ logits, rewards, draws, seed }) {
  const weights = softmax(logits);
  const positions = drawn(weights, uniforms(seed, draws));
  const baselines = movingAverage(positions.map((i) => rewards[i]));
  const plain = rewards.map((_, i) => reinforceSlope(weights, rewards, i)); // once a position
  const steadied = positions.map((i, k) => reinforceSlope(weights, rewards, i, baselines[k]));
  const single = [positions.map((i) => plain[i]), steadied];
  return {
    weights,
    positions,
    exact: boundSlope(weights, rewards),
    counts: logits.map((_, i) => positions.filter((position) => position === i).length),
    single,
    means: single.map(runningMeans),
    baseline: baselines.at(-1),
  };
}

function deviation(values) {
  const mean = total(values) / values.length;
  return Math.sqrt(total(values.map((value) => (value - mean) ** 2)) / (values.length - 1));
}

function shares(names, { least, most }, onMove) {
  const drawing = chart({ label: "Logits, weights and drawn shares", ...SIZE });
  const place = { at: AT, left: LEFT, right: RIGHT, top: 14, height: 104, least, most };
  const lever = levers({ chart: drawing, names: names.map((name) => `Logit ${name}`), ...place, onMove });
  const [foot, height] = [272, 116];
  const rules = drawing.layer("attnlib-grid");
  for (const value of [0, 1]) {
    const y = foot - value * height;
    rules.append(svg("line", { class: value ? null : "attnlib-axis", x1: LEFT, x2: RIGHT, y1: y, y2: y }));
    rules.append(svg("text", { x: LEFT - 6, y: y + 5, "text-anchor": "end", text: value }));
  }
  const draw = bars({ layer: drawing.layer("attnlib-bars"), foot, height });
  const words = drawing.layer("attnlib-hard-words");
  const title = (y, text) => words.appendChild(svg("text", { x: RIGHT, y, "text-anchor": "end", text }));
  title(30, "logit");
  title(172, "share");
  const ball = words.appendChild(svg("circle", { class: "attnlib-hard-ball", r: 11 }));
  return {
    node: drawing.node,
    update({ logits, draws }, { weights, counts, positions }) {
      lever(logits);
      const value = (i) => counts[i] / Math.max(draws, 1);
      const last = positions.at(-1);
      const bar = (outline, i) => ({
        x: AT[i],
        half: 30,
        value: value(i),
        outline,
        name: names[i],
        strong: i === last,
      });
      draw(weights.map(bar), 1);
      write(ball, { cx: draws ? AT[last] : 0, cy: foot + 15, visibility: draws ? null : "hidden" });
    },
  };
}

/** The two running estimates against the number of draws, about the exact slope. */
function estimates() {
  const { node, layer } = chart({ label: "Estimates of the slope as the draws go on", ...SIZE });
  const { left, right, middle, half } = PLOT;
  const lines = layer("attnlib-hard-lines");
  lines.append(svg("line", { x1: left, x2: right, y1: middle, y2: middle }));
  const kinds = ["attnlib-hard-plain", "attnlib-hard-steadied"];
  const curves = kinds.map((kind) => lines.appendChild(svg("polyline", { class: kind })));
  const dots = kinds.map((kind) => lines.appendChild(svg("circle", { class: kind, r: 5 })));
  const words = layer("attnlib-hard-words");
  const text = (x, y, anchor) => words.appendChild(svg("text", { x, y, "text-anchor": anchor }));
  const [high, exactly, level, low] = [5 - half, 5, 21, half].map((y) => text(left - 6, middle + y, "end"));
  const title = text(2, 15, "start");
  const [first, under, last] = [
    text(left, 270, "start"),
    text((left + right) / 2, 288, "middle"),
    text(right, 270, "end"),
  ];
  write(first, { text: 1 });
  write(level, { text: "exact" });
  write(under, { text: "Draws so far (logarithmic)" });
  return {
    node,
    update({ draws, component }, exact, means) {
      // A point for each of the first 40 draws, then for each step of the logarithm, and for the last.
      const step = (n) => Math.floor(25 * Math.log(n));
      const at = means[0].flatMap((_, k) => (k < 40 || k === draws - 1 || step(k + 1) > step(k) ? [k] : []));
      const counted = at.filter((k) => k > 3 || draws < 10); // the first few would flatten all that follows
      const far = means.flatMap((values) => counted.map((k) => Math.abs(values[k] - exact)));
      const reach = Math.max(0.1, 1.15 * Math.max(...(far.length ? far : [1])));
      const ends = Math.max(draws, 10);
      const x = (k) => left + (right - left) * (Math.log(k + 1) / Math.log(ends));
      const y = (value) => middle - half * within((value - exact) / reach, -1, 1);
      curves.forEach((curve, i) => write(curve, { points: line(at.map((k) => [x(k), y(means[i][k])])) }));
      dots.forEach((dot, i) => {
        const end = draws
          ? { cx: x(draws - 1).toFixed(2), cy: y(means[i].at(-1)).toFixed(2) }
          : { cx: left, cy: middle };
        write(dot, { ...end, visibility: draws ? null : "hidden" });
      });
      write(high, { text: number(exact + reach) });
      write(exactly, { text: number(exact) });
      write(low, { text: number(exact - reach) });
      write(title, { text: `Slope by logit ${component}` });
      write(last, { text: ends.toLocaleString("en") });
    },
  };
}

function build(view, first) {
  const { component: components, draws: bounds, seed: seeds, logits: logit, rewards: reward } = view.schema;
  const { names } = components;
  let now = first;
  const replace = (trait, i) => (value) => view.set({ [trait]: now[trait].map((old, j) => (j === i ? value : old)) });
  const picture = shares(names, logit, (i, value) => replace("logits", i)(value));
  const plot = estimates();
  // To draw is what a preset asks for: it stays, and so does its line above the buttons.
  const drawUpTo = (draws) => view.set({ draws, preset: now.preset });
  const more = [
    ["Draw one", 1],
    ["Draw 10", 10],
    ["Draw 1,000", 1000],
  ].map(([label, count]) => button({ label, onClick: () => drawUpTo(Math.min(now.draws + count, bounds.most)) }));
  const again = button({ label: "Start again", onClick: () => drawUpTo(0) });
  const other = button({ label: "Other draws", onClick: () => view.set({ seed: (now.seed + 1) % seeds.most }) });
  const rewards = names.map((name, i) => {
    const range = { min: reward.least, max: reward.most, step: 0.1 };
    return slider({ label: `Reward of ${name}`, ...range, onInput: replace("rewards", i) });
  });
  const options = names.map((name) => [name, `logit ${name}`]);
  const component = choice({ label: "Draw the slope by", options, onInput: (value) => view.set({ component: value }) });
  const columns = ["Position", "Weight", "Drawn", "Slope, exact", "no baseline", "with one"];
  const caption = "Draws, and the slope of the bound by each logit";
  const numbers = table({ columns, caption, kind: "attnlib-hard-numbers" });
  const under = (text) => html("p", { class: "attnlib-caption", text });
  const charts = [
    [
      picture.node,
      under("Drag the logits. Outlines are the weights, full bars the shares drawn; the ring is about the last draw."),
    ],
    [plot.node, under("Means of the estimates: dashed without a baseline, full with the moving average.")],
  ];
  view.root.append(
    html("div", { class: "attnlib-hard-buttons" }, ...[...more, again, other].map(({ node }) => node)),
    html("div", { class: "attnlib-two" }, ...charts.map((parts) => html("div", {}, ...parts))),
    html("div", { class: "attnlib-controls" }, ...[...rewards, component].map(({ node }) => node)),
    numbers.node,
    view.caption,
  );

  return (state) => {
    now = state;
    const { weights, positions, exact, counts, single, means, baseline } = run(state);
    const { draws, component: name } = state;
    const j = names.indexOf(name);
    picture.update(state, { weights, counts, positions });
    plot.update(
      state,
      exact[j],
      means.map((rows) => rows.map((row) => row[j])),
    );
    const last = (i) => means.map((rows) => (draws ? number(rows.at(-1)[i]) : "–"));
    const row = (letter, i) => [letter, share(weights[i]), counts[i], number(exact[i]), ...last(i)];
    numbers.update(names.map(row), { shown: (i) => i === j });
    rewards.forEach((control, i) => control.update(state.rewards[i]));
    component.update(name);
    for (const each of more) each.update({ disabled: draws >= bounds.most });
    again.update({ disabled: draws === 0 });
    const [plain, steadied] = single.map((rows) => number(deviation(rows.map((each) => each[j]))));
    const told =
      draws > 1
        ? `One draw's estimate of the slope by logit ${name} spreads by ${plain} (standard deviation) without a ` +
          `baseline, by ${steadied} with one; the baseline stands at ${number(baseline)}.`
        : "Draw at least twice to see how much single draws spread.";
    const found = names.map((letter, i) => `${letter} ${counts[i]}`).join(", ");
    const latest = positions
      .slice(-LATEST)
      .map((i) => names[i])
      .join(" ");
    const so = draws ? `${times(draws)}: ${found}; the latest: ${latest}.` : "Nothing is drawn yet.";
    view.news(`${so} ${told}`, `At most ${times(bounds.most)}. Other draws are as many with other random numbers.`);
  };
}

const unnamed = "Your own numbers";
const hint = "Press Draw one, then Draw 10, then Draw 1,000: which line is sooner at the exact slope?";

export default { build, unnamed, hint };
