// ScoreField: the energy that a query gives to a key at every place of the plane, for each score function.

import { slider } from "./js/controls.js";
import { html, pool, svg, write } from "./js/dom.js";
import { field, fieldScale, samples, spanOf } from "./js/field.js";
import { keyTable } from "./js/keys.js";
import { softmax } from "./js/math/distributions.js";
import { border, legend, mark, plane, point, reach } from "./js/plane.js";
import { SCORES, group, replaced, scoring } from "./js/scores.js";
import { number, pair, share } from "./js/text.js";

/** Energies of keys at these places; one of the scores gives every place what the key of one position gets. */
function energiesAt(state, places) {
  const { of } = SCORES[state.score];
  if (state.score !== "location-based") return of(state.query, places, state);
  const energies = of(state.query, state.key, state);
  return places.map(() => energies[state.position]);
}

function drawing(onQuery, onProbe) {
  const board = plane({ label: "The plane of keys", onTap: look });
  write(board.node, { class: "attnlib-plane attnlib-board attnlib-field" });
  const paint = field(board);
  const rays = board.layer("attnlib-field-ray");
  rays.append(svg("line"), svg("line")); // the first is the halo of the second
  const keys = pool(board.layer("attnlib-field-keys"), () => mark("key"));
  const drawn = mark("query");
  drawn.update("q");
  const query = point({ plane: board, mark: drawn.node, name: "Query q", onMove: onQuery });
  const cross = svg("path", { class: "attnlib-field-probe", d: "M-16 0H-8M8 0H16M0 -16V-8M0 8V16" });
  const probe = point({ plane: board, mark: cross, name: "Probe", onMove: onProbe });
  write(probe.node, { style: "pointer-events:none" });
  board.node.append(query.node, probe.node);

  let state = null;
  /** The probe reads the plane under the mouse, or where it is tapped; close to a key it reads the key. */
  function look(here) {
    const [x, y] = board.place(here);
    onProbe(state.key.find((key) => Math.hypot(board.x(key[0]) - x, board.y(key[1]) - y) < 11) ?? here);
  }
  board.node.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !event.target.closest(".attnlib-point")) look(board.at(event));
  });

  return {
    node: board.node,
    update(next, values, span) {
      state = next;
      const places = state.key.map(board.place);
      const [x2, y2] = board.place(state.query);
      paint(values, span, [...places, [x2, y2]]);
      for (const ray of rays.children) write(ray, { x1: board.x(0), y1: board.y(0), x2, y2 });
      keys(places.length).forEach((key, i) => key.update(state.labels[i], { place: places[i] }));
      query.update(state.query);
    },
    fit: (limit) => board.update(limit),
    probe: (place, words) => probe.update(place, words),
  };
}

/** The weights of one position at a time. */
function positions(view, get) {
  const which = slider({
    label: "Position i of the key",
    min: 1,
    max: 1,
    step: 1,
    text: (value) => number(value, 0),
    onInput: (value) => view.set({ position: value - 1 }),
  });
  const sliders = [0, 1].map((j) =>
    slider({
      label: `w(i) ${j + 1}`,
      min: -2,
      max: 2,
      step: 0.05,
      onInput: (value) => view.set({ position_weight: replaced(get().position_weight, [get().position, j], value) }),
    }),
  );
  return {
    node: group("Weights of a position", which, ...sliders),
    update({ key, position, position_weight: weight }) {
      which.update(position + 1, { most: key.length });
      sliders.forEach((each, j) => each.update(weight[position][j]));
    },
  };
}

function build(view, first) {
  let state = first;
  let spot = first.key[0];
  const get = () => state;
  const score = scoring(view, get, { names: Object.keys(SCORES), position_weight: positions(view, get) });
  const picture = drawing(
    (query) => view.set({ query }),
    (place) => read((spot = place)),
  );
  const marks = legend(["query", "q", "query, drag it"], ["key", "A", "key"]);
  const [scale, keys] = [fieldScale(), keyTable({ weight: "Softmax weight", places: true })];
  const reading = html("p", { class: "attnlib-reading" });
  view.root.append(
    html(
      "div",
      { class: "attnlib-two" },
      html("div", {}, picture.node, scale.node, reading, marks.node),
      html("div", { class: "attnlib-side" }, score.node, keys.node, view.caption, score.settings),
    ),
  );

  /** The energy under the probe, in words and as the probe's own value. */
  function read() {
    const [energy] = energiesAt(state, [spot]);
    const key = state.key.findIndex(([x, y]) => x === spot[0] && y === spot[1]);
    const known = key < 0 ? "k" : `key ${state.labels[key]}`;
    const name = state.score === "location-based" ? `position ${state.position + 1}, k` : known;
    write(reading, { text: `f(q, k) = ${number(energy)} for ${name} = ${pair(spot)}` });
    picture.probe(spot, `Probe, energy ${number(energy)}`);
  }

  let [places, limit] = [[], 0];
  return (next) => {
    state = next;
    const wanted = reach([...state.key, state.query]);
    if (wanted !== limit) places = samples(border((limit = wanted)));
    const values = energiesAt(state, places);
    const energies = SCORES[state.score].of(state.query, state.key, state);
    const weights = softmax(energies);
    const span = spanOf(values, energies);
    picture.fit(limit);
    picture.update(state, values, span);
    scale.update(span);
    marks.update("query", "key");
    score.update(state);
    keys.update(state, { energies, weights }, "What a few keys get");
    read();
    const told = state.labels.map((label, i) => `${label} ${share(weights[i])}`).join(", ");
    view.news(`q = ${pair(state.query)}. Softmax weights ${told}.`);
  };
}

const unnamed = "Your own field";
const hint = "Drag the query, or move it with the arrow keys: how does the field turn?";

export default { build, unnamed, hint };
