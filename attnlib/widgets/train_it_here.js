// TrainItHere: a network with one attention layer that learns in the page to write a row of letters backwards. A run
// is made by its seed, its settings and what was broken until which step; `step` says how far it has come.

import { chart, line } from "./js/bars.js";
import { button, choice, slider } from "./js/controls.js";
import { html, pool, svg, write } from "./js/dom.js";
import { map } from "./js/maps.js";
import { forward, largest } from "./js/math/learner.js";
import { answerOf, piecemeal, training } from "./js/math/learning.js";
import { SIZES, batch, example } from "./js/math/reversal.js";
import { motor } from "./js/motor.js";
import { trail } from "./js/stepper.js";
import { number } from "./js/text.js";

const BUDGET = 6; // ms of a frame in which steps are taken
const PACE = 0.12; // steps a ms, at most, so that what moves is seen to move
const CALM = 500; // ms between two drawings where the reader asks for less motion
const REST = 3; // else a pause of so many times what a drawing takes, on a slow machine
const LATEST = 25; // steps whose mean is told
const TOLD = new Set([50, 100, 200, 500, 1000, 2000]); // steps that a listener is told of on the way
const GUESS = Math.log(SIZES.letters);
const WHOLE = "nothing";
const BREAKS = {
  [WHOLE]: ["nothing", () => true],
  "no tanh": ["the tanh left out", ({ score }) => score === "additive"],
  "no scale": ["the scale left out", ({ score }) => score === "scaled dot"],
  "no mask": ["the mask dropped", () => true],
  "wrong axis": ["softmax over the queries", ({ attention, reach }) => attention === "soft" && reach === "everywhere"],
};
const WORDS = {
  score: { additive: "additive", dot: "dot product", "scaled dot": "scaled dot product" },
  attention: { soft: "soft: the mean", hard: "hard: one is drawn" },
  reach: { everywhere: "everywhere", window: "in a window" },
};
const SETTINGS = ["seed", "score", "attention", "reach", "rate"];
const letter = (i) => "ABCDEFGH·"[i];
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What is broken at a step of a run. */
const brokenAt = ({ history, broken }, step) => history.find(({ until }) => step < until)?.broken ?? broken;

/** The shown row as maps.js has a sentence: what is wanted down, what is there across, the right places circled. */
function sentenceOf({ letters, length }) {
  const answer = answerOf({ letters, length });
  return {
    rows: answer.map(letter),
    columns: letters.map(letter),
    links: answer.map((_, t) => [t, length - 1 - t]),
    linked: "the right place",
    glosses: letters.map((_, s) => (s < length ? `place ${s + 1}` : "padding")),
  };
}

/** A run that can go to where a state is. */
function run(state) {
  const { seed } = state;
  const shown = example(SIZES, seed);
  const made = {
    ...training(SIZES, seed),
    settings: SETTINGS.map((name) => state[name]),
    was: [],
    shown,
    sentence: sentenceOf(shown),
  };
  let begun = null; // a step of which some rows are done, and what is broken in it
  return {
    ...made,
    get step() {
      return made.was.length;
    },
    fits(wanted) {
      return (
        SETTINGS.every((name, i) => wanted[name] === made.settings[i]) &&
        made.was.every((was, k) => was === brokenAt(wanted, k))
      );
    },
    /** Goes on with a step, row by row, until it is done or late; whether it is done. */
    go(wanted, late) {
      const broken = brokenAt(wanted, made.was.length);
      if (begun?.broken !== broken) {
        const rows = batch(SIZES, seed, made.was.length);
        begun = { broken, pieces: piecemeal(made, rows, { ...wanted, broken }, wanted.rate) };
      }
      while (!begun.pieces.next().done) if (late()) return false;
      begun = null;
      made.was.push(broken);
      return true;
    },
    look: (wanted) => forward(made.model, shown, wanted),
  };
}

/** The loss of each step, in bins where there are many; what was broken is shaded and named. */
function curve() {
  const size = { width: 440, height: 250, left: 44, right: 428, top: 22, foot: 214, most: 2.6 };
  const { left, right, top, foot, most } = size;
  const { node, layer } = chart({ label: "Loss of each step", ...size });
  const bands = layer("attnlib-train-bands");
  const broken = pool(bands, () => {
    const [box, name] = [svg("rect", { y: top, height: foot - top }), svg("text", { y: (top + foot) / 2 })];
    return { node: svg("g", {}, box, name), box, name };
  });
  const y = (loss) => foot - ((foot - top) * Math.min(loss, most)) / most;
  const grid = layer("attnlib-grid");
  for (const value of [0, 1, 2]) {
    grid.append(svg("line", { class: value ? null : "attnlib-axis", x1: left, x2: right, y1: y(value), y2: y(value) }));
    grid.append(svg("text", { x: left - 8, y: y(value) + 5, "text-anchor": "end", text: value }));
  }
  const words = layer("attnlib-train-words");
  words.append(svg("line", { x1: left, x2: right, y1: y(GUESS), y2: y(GUESS) }));
  words.append(svg("text", { x: right, y: y(GUESS) - 6, "text-anchor": "end", text: `guessing ${number(GUESS)}` }));
  words.append(svg("text", { x: 2, y: 14, text: "loss" }));
  const text = (x, anchor) => words.appendChild(svg("text", { x, y: foot + 20, "text-anchor": anchor }));
  const [first, middle, last] = [text(left, "start"), text((left + right) / 2, "middle"), text(right, "end")];
  write(first, { text: 0 });
  write(middle, { text: "step" });
  const drawn = layer("attnlib-train-line");
  const path = drawn.appendChild(svg("polyline"));
  const dot = drawn.appendChild(svg("circle", { r: 5 }));
  return {
    node,
    update({ losses, was }) {
      const steps = losses.length;
      const end = [200, 500, 1000, 2000].find((each) => steps <= each) ?? 3000;
      const x = (step) => left + ((right - left) * step) / end;
      const bin = Math.ceil(steps / 200);
      const places = [];
      for (let k = 0; k < steps; k += bin) {
        const part = losses.slice(k, k + bin);
        places.push([x(k + part.length), y(mean(part))]);
      }
      write(path, { points: line(places) });
      const [cx, cy] = places.at(-1) ?? [left, y(GUESS)];
      write(dot, { cx, cy, visibility: steps ? null : "hidden" });
      write(last, { text: end.toLocaleString("en") });
      const spans = [];
      was.forEach((name, k) =>
        name === spans.at(-1)?.name ? (spans.at(-1).to = k + 1) : spans.push({ name, from: k, to: k + 1 }),
      );
      const shaded = spans.filter(({ name }) => name !== WHOLE);
      broken(shaded.length).forEach(({ box, name }, i) => {
        const { from, to, name: said } = shaded[i];
        write(box, { x: x(from), width: x(to) - x(from) });
        write(name, { x: x(from) + 4, text: x(to) - x(from) > 7 * said.length ? said : "" });
      });
    },
  };
}

/** What the map of maps.js draws of the row: the weights are a matrix, and what is hidden is crossed out. */
function shownAs({ shown: { length }, sentence }, { broken }, { weights }) {
  const rows = Array.from({ length }, (_, t) =>
    Array.from(weights.subarray(t * SIZES.longest, (t + 1) * SIZES.longest)),
  );
  const open = (_, s) => s < length || broken === "no mask";
  return { sentence, matrix: { name: "Output over input (· is padding)", weights: rows }, open, linked: [] };
}

/** What calls `work(most, end)` in a frame: at most as many steps as the pace allows. */
function paced(work) {
  let [last, due] = [0, 0];
  return (now) => {
    if (now === Infinity) return work(0, now);
    due = Math.min(due + PACE * Math.min(now - last, 100), 4);
    last = now;
    const most = Math.floor(due);
    due -= most;
    return work(most, performance.now() + BUDGET);
  };
}

function settings(view, get, change) {
  const pick = (label, name) =>
    choice({ label, options: Object.entries(WORDS[name]), onInput: (value) => change({ [name]: value }) });
  const all = {
    score: pick("Score", "score"),
    attention: pick("Attention", "attention"),
    reach: pick("Looks", "reach"),
  };
  const { least, most } = view.schema.rate;
  const rate = slider({
    label: "Rate of learning",
    min: least,
    max: most,
    log: true,
    text: (value) => number(value, 4),
    onInput: (value) => change({ rate: value }),
  });
  return {
    node: html("div", { class: "attnlib-controls" }, ...[...Object.values(all), rate].map(({ node }) => node)),
    update(state) {
      for (const [name, control] of Object.entries(all)) control.update(state[name]);
      rate.update(state.rate);
    },
  };
}

function build(view, first) {
  let state = first;
  let now = run(first);
  let row = 0;
  let [drawn, cost, at] = [0, 0, 0]; // when the last drawing was done, how long it took, and at which step
  const most = view.schema.step.most;
  const calm = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? false;
  const keep = () => ({ preset: state.preset });
  /** A change counts from here on, not from the next frame, in which the network may learn before the model is read. */
  function put(changes) {
    state = { ...state, ...changes };
    view.set(changes);
  }
  /** Other settings begin a run anew; what can be broken in it stays so. */
  const change = (some) => {
    const wanted = { ...state, ...some };
    put({ ...some, broken: BREAKS[wanted.broken][1](wanted) ? wanted.broken : WHOLE, history: [], step: 0 });
  };
  const start = button({
    label: "Start",
    onClick: () =>
      put(state.running ? { running: false, step: now.step, ...keep() } : { running: now.step < most, ...keep() }),
  });
  const one = button({
    label: "One step",
    onClick: () => put({ running: false, step: Math.min(now.step + 1, most), ...keep() }),
  });
  const again = button({
    label: "Start again",
    onClick: () => put({ running: false, step: 0, history: [], ...(state.history.length ? {} : keep()) }),
  });
  const other = button({
    label: "Other seed",
    onClick: () => change({ seed: (state.seed + 1) % view.schema.seed.most }),
  });
  const breaking = choice({
    label: "Break it",
    onInput: (broken) => {
      const from = state.history.at(-1)?.until ?? 0;
      const history = now.step > from ? [...state.history, { until: now.step, broken: state.broken }] : state.history;
      put({ broken, history, step: now.step });
    },
  });
  const bar = html(
    "div",
    { class: "attnlib-steps-walk" },
    ...[start, one, again, other].map(({ node }) => node),
    breaking.node,
  );
  const plot = curve();
  const picture = map((t) => {
    row = t;
    paint();
  });
  const written = trail({ label: "What it writes" });
  const controls = settings(view, () => state, change);
  const words = html("p", { class: "attnlib-steps-note", text: "What it writes:" });
  view.root.append(
    html(
      "div",
      { class: "attnlib-two attnlib-train" },
      html("div", {}, plot.node, view.caption, words, written.node),
      html("div", {}, picture.node),
    ),
    bar,
    controls.node,
  );

  function told() {
    const { step, losses, rights } = now;
    const how = `${WORDS.score[state.score]}, ${state.attention}${state.reach === "window" ? ", in a window" : ""}`;
    const broken = state.broken === WHOLE ? "" : ` Broken: ${BREAKS[state.broken][0]}.`;
    if (step < state.step) return `Step ${step} of ${state.step}, catching up.`;
    if (!step)
      return `Before the first step; guessing has a loss of ${number(GUESS)} and ${number(100 / SIZES.letters, 0)}% right.${broken}`;
    const [loss, right] = [losses, rights].map((all) => mean(all.slice(-LATEST)));
    return `Step ${step.toLocaleString("en")} (${how}): loss ${number(loss)}, ${number(100 * right, 0)}% of the letters right in fresh rows.${broken}`;
  }
  function paint() {
    const found = now.look(state);
    const { letters } = SIZES;
    const shown = shownAs(now, state, found);
    const { sentence, matrix } = shown;
    picture.update({ ...shown, row, weights: matrix.weights[row] });
    plot.update(now);
    written.update(
      sentence.rows.map((wanted, t) => {
        const text = letter(largest(found.chances, t * letters, letters));
        return { text, odd: text !== wanted, note: text === wanted ? "" : `for ${wanted}` };
      }),
    );
    again.update({ disabled: now.step === 0 && !state.running });
    const text = told();
    if (state.running || now.step < state.step) write(view.caption, { text });
    else view.news(text);
  }
  function draw() {
    const time = performance.now();
    paint();
    [drawn, at] = [performance.now(), now.step];
    cost = drawn - time;
  }
  const more = () => now.step < state.step || (state.running && now.step < most);
  /**
   * Takes steps: up to where the state is as many as the time allows, from there on at most so many. On a slow machine a
   * step is spread over frames, and a drawing has one to itself.
   */
  function work(count, end) {
    const due = performance.now() - drawn > (calm ? CALM : REST * cost);
    if (due && cost > BUDGET && now.step !== at) {
      draw();
      return more();
    }
    const [from, behind] = [now.step, now.step < state.step];
    const late = () => performance.now() > end;
    for (let k = 0; more() && (behind ? now.step < state.step : k < count); k += 1) {
      if (!now.go(state, late)) break;
      if (!behind && TOLD.has(now.step)) view.say(told());
      if (late()) break;
    }
    if (state.running && now.step >= most) put({ running: false, step: most, ...keep() });
    if (now.step > from && (!more() || (due && cost <= BUDGET))) draw();
    return more();
  }
  const wake = motor(view.root, paced(work));

  return (next) => {
    state = next;
    if (!now.fits(state) || (!state.running && now.step > state.step)) now = run(state);
    controls.update(state);
    const able = Object.entries(BREAKS).filter(([name, [, fits]]) => name === state.broken || fits(state));
    breaking.update(state.broken, { options: able.map(([name, [words]]) => [name, words]) });
    start.update({ label: state.running ? "Pause" : "Start", disabled: !state.running && now.step >= most });
    one.update({ disabled: now.step >= most });
    paint();
    wake();
  };
}

const unnamed = "Your own run";
const hint = "Press Start, break something while it runs, and mend it again.";

export default { build, unnamed, hint };
