// HardSampler: three positions, draws one by one or by the thousand, and the REINFORCE estimates on their way to the
// exact slope. The draws are those of the Python class: the same generator, the same seed.

import { button, choice, slider } from "../js/controls.js";
import { html, svg, write } from "../js/dom.js";
import { softmax } from "../js/math/distributions.js";
import { boundSlope, drawn, reinforceSlope, uniforms } from "../js/math/hard.js";
import { point } from "../js/plane.js";
import { number } from "../js/text.js";

const LETTERS = ["A", "B", "C"];
const LIMIT = 4; // of a logit
const MAX_DRAWS = 5000;
const MAX_SEED = 2147483647;
const DECAY = 0.9;
const BARS = { width: 440, height: 300, top: 34, bottom: 262, strip: 132, wide: 36 };
const PLOT = { width: 440, height: 300, left: 12, right: 12, top: 14, bottom: 28 };

// ----------------------------------------------------------------------------------------------------- arithmetic

/** Numbers of draws at which a curve has a point: each up to 40, then in even steps of the logarithm. */
function checkpoints(draws) {
  const spots = new Set(draws ? [draws] : []);
  for (let n = 1; n <= Math.min(draws, 40); n += 1) spots.add(n);
  for (let step = 0; step <= 120; step += 1) {
    const n = Math.floor(40 * 125 ** (step / 120));
    if (n <= draws) spots.add(n);
  }
  return [...spots].sort((a, b) => a - b);
}

let kept = { seed: null, numbers: [] };

/** The first `count` numbers of a seed, made once. */
function numbersOf(seed, count) {
  if (kept.seed !== seed || kept.numbers.length < count) {
    kept = { seed, numbers: uniforms(seed, Math.max(count, kept.seed === seed ? MAX_DRAWS : count)) };
  }
  return kept.numbers.slice(0, count);
}

/** Everything that is shown, from the state. */
function run({ logits, rewards, draws, seed }) {
  const weights = softmax(logits);
  const exact = boundSlope(weights, rewards);
  const positions = drawn(weights, numbersOf(seed, draws));
  const slopes = rewards.map((_, i) => reinforceSlope(weights, rewards, i)); // without a baseline, once a position
  const scores = rewards.map((_, i) => weights.map((weight, j) => (i === j ? 1 : 0) - weight));
  const at = checkpoints(draws);
  const counts = [0, 0, 0];
  const sums = { plain: [0, 0, 0], steadied: [0, 0, 0] };
  const squares = { plain: [0, 0, 0], steadied: [0, 0, 0] };
  const lines = { plain: [], steadied: [] };
  let baseline = 0;
  let next = 0;
  positions.forEach((position, k) => {
    counts[position] += 1;
    for (let j = 0; j < 3; j += 1) {
      const plain = slopes[position][j];
      const steadied = plain - baseline * scores[position][j];
      sums.plain[j] += plain;
      sums.steadied[j] += steadied;
      squares.plain[j] += plain * plain;
      squares.steadied[j] += steadied * steadied;
    }
    baseline = DECAY * baseline + (1 - DECAY) * rewards[position];
    if (k + 1 === at[next]) {
      for (const name of ["plain", "steadied"]) lines[name].push(sums[name].map((sum) => sum / (k + 1)));
      next += 1;
    }
  });
  const spread = (name, j) =>
    draws > 1 ? Math.sqrt(Math.max(squares[name][j] - sums[name][j] ** 2 / draws, 0) / (draws - 1)) : NaN;
  return { weights, exact, counts, at, lines, spread, baseline };
}

/** Half the height of the plot: what the curves leave the exact value by, from the fifth draw on. */
function reachOf(exact, at, ...lines) {
  const far = lines.flatMap((line) => line.filter((_, i) => at[i] >= 5).map((value) => Math.abs(value - exact)));
  return Math.max(0.1, 1.15 * (far.length ? Math.max(...far) : 1));
}

// -------------------------------------------------------------------------------------------------------- drawing

/** Energies to drag on the left; beside them, weights as outlines and drawn shares as bars. */
function bars(onMove) {
  const node = svg("svg", {
    class: "attnlib-plane attnlib-hard-bars",
    viewBox: `0 0 ${BARS.width} ${BARS.height}`,
    role: "group",
    "aria-label": "Logits, weights and drawn shares of three positions",
  });
  const still = node.appendChild(svg("g", { "aria-hidden": "true" }));
  const text = (x, y, words, kind = "attnlib-hard-soft", anchor = "middle") =>
    still.appendChild(svg("text", { x, y, class: kind, "text-anchor": anchor, text: words }));
  const slots = [0, 1, 2].map((i) => 30 + 38 * i);
  const height = (value) => (BARS.top + BARS.bottom) / 2 - (value / LIMIT) * ((BARS.bottom - BARS.top) / 2);
  for (const value of [-4, -2, 0, 2, 4]) {
    still.append(
      svg("line", { class: value ? "attnlib-hard-rule" : "attnlib-hard-axis", x1: 8, x2: BARS.strip, y1: height(value), y2: height(value) }),
    );
  }
  still.append(svg("line", { class: "attnlib-hard-axis", x1: 152, x2: BARS.width - 10, y1: BARS.bottom, y2: BARS.bottom }));
  text(70, 20, "Logits: drag");
  text(294, 20, "Drawn (full), weight (outline)");
  const now = [0, 0, 0];
  const handles = LETTERS.map((letter, i) => {
    text(slots[i], BARS.height - 14, letter, "attnlib-hard-letter");
    const board = {
      limit: LIMIT,
      x: () => slots[i],
      y: height,
      at(event) {
        const box = node.getBoundingClientRect();
        const y = ((event.clientY - box.top) / box.height) * BARS.height;
        return [now[i], ((BARS.top + BARS.bottom) / 2 - y) / ((BARS.bottom - BARS.top) / 2) * LIMIT];
      },
    };
    // Only up and down count; the keys to the right and left, Home and End mean up and down too.
    const handle = point({
      plane: board,
      name: `Logit ${letter}`,
      mark: svg("circle", { class: "attnlib-hard-handle", r: 8 }),
      onMove: ([x, y]) => onMove(i, x + y - now[i]),
    });
    const stem = still.appendChild(svg("line", { class: "attnlib-hard-stem", x1: slots[i], x2: slots[i], y1: height(0) }));
    node.append(handle.node);
    return { handle, stem };
  });
  const columns = LETTERS.map((letter, i) => {
    const x = 166 + 90 * i;
    text(x + 40, BARS.height - 14, letter, "attnlib-hard-letter");
    return {
      share: still.appendChild(svg("rect", { class: "attnlib-hard-drawn", x, width: BARS.wide })),
      weight: still.appendChild(svg("rect", { class: "attnlib-hard-weight", x: x + 42, width: BARS.wide })),
      shareText: text(x + 17, 0, ""),
      weightText: text(x + 61, 0, ""),
    };
  });
  return {
    node,
    update(state, { weights, counts }) {
      const full = BARS.bottom - BARS.top;
      LETTERS.forEach((letter, i) => {
        now[i] = state.logits[i];
        const { handle, stem } = handles[i];
        handle.update([now[i], now[i]], `Logit ${letter}`, number(now[i]));
        write(stem, { y2: height(now[i]) });
        const share = state.draws ? counts[i] / state.draws : 0;
        write(columns[i].share, { y: BARS.bottom - full * share, height: full * share });
        write(columns[i].weight, { y: BARS.bottom - full * weights[i], height: full * weights[i] });
        write(columns[i].shareText, { y: BARS.bottom - full * share - 5, text: state.draws ? number(share) : "" });
        write(columns[i].weightText, { y: BARS.bottom - full * weights[i] - 5, text: number(weights[i]) });
      });
    },
  };
}

/** The two running estimates against the number of draws, about the exact slope. */
function estimates() {
  const node = svg("svg", { class: "attnlib-plane attnlib-hard-plot", viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, "aria-hidden": "true" });
  const middle = (PLOT.top + PLOT.height - PLOT.bottom) / 2;
  const right = PLOT.width - PLOT.right;
  node.append(svg("line", { class: "attnlib-hard-exact", x1: PLOT.left, x2: right, y1: middle, y2: middle }));
  const plain = node.appendChild(svg("polyline", { class: "attnlib-hard-plain" }));
  const steadied = node.appendChild(svg("polyline", { class: "attnlib-hard-steadied" }));
  const text = (x, y, anchor) => node.appendChild(svg("text", { class: "attnlib-hard-soft", x, y, "text-anchor": anchor }));
  const high = text(PLOT.left + 4, PLOT.top + 12, "start");
  const low = text(PLOT.left + 4, PLOT.height - PLOT.bottom - 4, "start");
  const said = text(right - 4, PLOT.top + 12, "end");
  const one = text(PLOT.left, PLOT.height - 8, "start");
  const last = text(right, PLOT.height - 8, "end");
  return {
    node,
    update(state, { exact, at, lines }) {
      const j = LETTERS.indexOf(state.component);
      const both = [lines.plain, lines.steadied].map((line) => line.map((values) => values[j]));
      const reach = reachOf(exact[j], at, ...both);
      const ends = Math.max(state.draws, 10);
      const half = (PLOT.height - PLOT.bottom - PLOT.top) / 2;
      const line = (values) =>
        values
          .map((value, i) => {
            const x = PLOT.left + (right - PLOT.left) * (Math.log(at[i]) / Math.log(ends));
            const y = middle - half * Math.min(Math.max((value - exact[j]) / reach, -1), 1);
            return `${x.toFixed(1)},${y.toFixed(1)}`;
          })
          .join(" ");
      write(plain, { points: line(both[0]) });
      write(steadied, { points: line(both[1]) });
      write(high, { text: number(exact[j] + reach) });
      write(low, { text: number(exact[j] - reach) });
      write(said, { text: `level line: exactly ${number(exact[j])}` });
      write(one, { text: "1" });
      write(last, { text: `${ends} draws` });
    },
  };
}

/** One row a position: what it earns, how often it came, and the slopes. */
function table() {
  const body = html("tbody");
  const rows = LETTERS.map((letter) => {
    const cells = Array.from({ length: 5 }, () => html("td", { class: "attnlib-number" }));
    const row = html("tr", {}, html("th", { scope: "row", text: letter }), ...cells);
    body.append(row);
    return { row, cells };
  });
  const heads = ["", "Weight", "Drawn", "Slope, exact", "no baseline", "with one"];
  const head = html("tr", {}, ...heads.map((text, i) => html("th", { scope: "col", class: i ? "attnlib-number" : null, text: text || "Position" })));
  const node = html(
    "table",
    { class: "attnlib-table attnlib-hard-numbers" },
    html("caption", { text: "Draws, and the slope of the bound by each logit" }),
    html("thead", {}, head),
    body,
  );
  return {
    node,
    update(state, { weights, counts, exact, lines }) {
      rows.forEach(({ row, cells }, i) => {
        const last = (line) => (line.length ? number(line[line.length - 1][i]) : "–");
        const words = [number(weights[i], 3), String(counts[i]), number(exact[i]), last(lines.plain), last(lines.steadied)];
        cells.forEach((cell, k) => write(cell, { text: words[k] }));
        write(row, { "data-shown": LETTERS[i] === state.component });
      });
    },
  };
}

function build(view, first) {
  const current = { ...first };
  const bounded = (value, limit) => Number(Math.min(Math.max(value, -limit), limit).toFixed(3));
  const replaced = (list, i, value) => list.map((old, j) => (j === i ? value : old));
  const shares = bars((i, value) => view.set({ logits: replaced(current.logits, i, bounded(value, LIMIT)) }));
  const plot = estimates();
  const caption = html("p", { class: "attnlib-hard-caption" });
  const key = html(
    "p",
    { class: "attnlib-hard-caption" },
    ...[
      ["attnlib-hard-sign attnlib-hard-dashed", "without a baseline"],
      ["attnlib-hard-sign", "with the moving average"],
    ].flatMap(([sign, words]) => [
      html("span", { class: "attnlib-hard-key" }, html("span", { class: sign, "aria-hidden": "true" }), words),
      " ",
    ]),
  );
  const draw = (count) => () => view.set({ draws: Math.min(current.draws + count, MAX_DRAWS) });
  const buttons = [
    button({ label: "Draw one", onClick: draw(1) }),
    button({ label: "Draw 10", onClick: draw(10) }),
    button({ label: "Draw 1,000", onClick: draw(1000) }),
    button({ label: "Start again", onClick: () => view.set({ draws: 0 }) }),
    button({ label: "Other numbers", onClick: () => view.set({ seed: (current.seed + 1) % MAX_SEED }) }),
  ];
  const rewards = LETTERS.map((letter, i) =>
    slider({
      label: `Reward of ${letter}`,
      min: -8,
      max: 2,
      step: 0.1,
      onInput: (value) => view.set({ rewards: replaced(current.rewards, i, value) }),
    }),
  );
  const component = choice({
    label: "Draw the slope by",
    options: LETTERS.map((letter) => [letter, `logit ${letter}`]),
    onInput: (value) => view.set({ component: value }),
  });
  const numbers = table();
  const spread = html("p", { class: "attnlib-hard-caption" });
  view.root.append(
    html("div", { class: "attnlib-hard-buttons" }, ...buttons.map(({ node }) => node)),
    html(
      "div",
      { class: "attnlib-hard" },
      html("div", {}, shares.node, caption),
      html("div", {}, plot.node, key),
    ),
    html("div", { class: "attnlib-controls" }, ...[...rewards, component].map(({ node }) => node)),
    numbers.node,
    spread,
  );

  let said = "";
  return (state) => {
    Object.assign(current, state);
    const result = run(state);
    shares.update(state, result);
    plot.update(state, result);
    numbers.update(state, result);
    rewards.forEach((control, i) => control.update(state.rewards[i]));
    component.update(state.component);
    buttons.slice(0, 3).forEach((each) => each.update({ disabled: state.draws >= MAX_DRAWS }));
    buttons[3].update({ disabled: state.draws === 0 });
    write(caption, { text: `${state.draws} of at most ${MAX_DRAWS} draws; number series ${state.seed}.` });
    const j = LETTERS.indexOf(state.component);
    const words = (name) => number(result.spread(name, j));
    const told =
      state.draws > 1
        ? `One draw's estimate of the slope by logit ${state.component} spreads by ${words("plain")} (standard deviation) without a baseline, by ${words("steadied")} with one; the baseline stands at ${number(result.baseline)}.`
        : "Draw at least twice to see how much single draws spread.";
    write(spread, { text: told });
    const news = `${state.draws} draws. ${LETTERS.map((letter, i) => `${letter} ${result.counts[i]}`).join(", ")}. ${told}`;
    if (said && said !== news) view.say(news);
    said = news;
  };
}

const unnamed = "Your own numbers";
const hint = "Draw, and watch: which line comes to the exact slope sooner?";

export default { build, unnamed, hint };
