// SaliencyTuner: what of a picture stands out, and where the eye would go.

import { choice, slider, toggle } from "../js/controls.js";
import { html } from "../js/dom.js";
import { addressOf, mapScale, numbered, ownPicture, panel, thumbnail } from "../js/image.js";
import { mapAddress, unpacked } from "../js/math/bitmap.js";
import { centreSurround, enlarged, features, rarities, rarity, scanPath } from "../js/math/saliency.js";
import { table } from "../js/table.js";
import { number } from "../js/text.js";

const METHODS = ["centre-surround", "co-occurrence"];
const READ = { bins: 64, radius: 1, sigma: 2 };
const PARTS = ["intensity", "colour", "orientation"];
const GAINS = ["red–green", "blue–yellow", "level", "rising", "upright", "falling"];
const only = (...which) => GAINS.map((_, n) => (which.includes(n) ? 1 : 0));
const one = (part, gains) => ({ ...Object.fromEntries(PARTS.map((name) => [name, name === part ? 1 : 0])), gains });
// What can be looked for: a weight for one part, and gains for what is sought in it.
const TASKS = {
  anything: { intensity: 1, colour: 1, orientation: 1, gains: GAINS.map(() => 1) },
  "red or green": one("colour", only(0)),
  "blue or yellow": one("colour", only(1)),
  "level lines": one("orientation", only(2)),
  "upright lines": one("orientation", only(4)),
  "slanting lines": one("orientation", only(3, 5)),
};
const OWN = "own weights";
const alike = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const taskOf = (state) =>
  Object.keys(TASKS).find((name) =>
    Object.keys(TASKS[name]).every((trait) => alike(TASKS[name][trait], state[trait])),
  ) ?? OWN;

/** What a picture brings to a method whatever the weights: made when it is first asked for, and kept. */
function keeper() {
  const kept = Object.fromEntries(METHODS.map((method) => [method, new WeakMap()]));
  return (picture, method) => {
    if (!kept[method].has(picture)) {
      const pixels = unpacked(picture);
      kept[method].set(picture, method === "co-occurrence" ? rarities(pixels, READ) : features(pixels));
    }
    return kept[method].get(picture);
  };
}

/** The map as shares of its largest value, equal where only rounding tells apart, and the path over it. */
function look(kept, { method, intensity, colour, orientation, gains, fixations, radius }) {
  const weigh = method === "co-occurrence" ? rarity : centreSurround;
  const third = method === "co-occurrence" ? 1 : 1 / 3;
  const found = weigh(kept, { weights: [intensity, colour, orientation].map((weight) => weight * third), gains });
  const most = found.saliency.data.reduce((max, value) => Math.max(max, value), 0);
  const data = found.saliency.data.map((value) => (most > 0 ? Math.round((value / most) * 1e9) / 1e9 : 0));
  const map = { ...found.saliency, data };
  const path = scanPath(map, fixations, radius * Math.min(map.height, map.width));
  const scale = 2 ** found.level;
  return { ...found, map, path: path.map(({ row, column, strength }) => [row * scale, column * scale, strength]) };
}

/** The three maps that are added up, a weight under each. */
function parts(set) {
  const all = PARTS.map((name) => {
    const picture = thumbnail({ title: "" });
    const label = `${name[0].toUpperCase()}${name.slice(1)}`;
    const weight = slider({ label, min: 0, max: 2, step: 0.05, onInput: set(name) });
    return { name, picture, weight, node: html("div", {}, picture.node, weight.node) };
  });
  return {
    node: html("div", { class: "attnlib-salient-parts" }, ...all.map(({ node }) => node)),
    update(state, found) {
      const most = found.parts.flatMap(({ data }) => [...data]).reduce((max, value) => Math.max(max, value), 0);
      all.forEach(({ name, picture, weight }, n) => {
        const unused = name === "orientation" && state.method === "co-occurrence";
        picture.update({ map: found.parts[n], most, alt: unused ? "No map" : `The map of ${name}` });
        weight.update(state[name], { disabled: unused, note: unused ? "not used" : "" });
      });
    },
  };
}

function build(view, first) {
  let now = first;
  const set = (trait) => (value) => view.set({ [trait]: value });
  const keep = keeper();
  const [scene, salient] = [panel({ title: "" }), panel({ title: "Saliency" })];
  const drawn = [scene, salient].map(numbered);
  const panels = html("div", { class: "attnlib-panels" }, scene.node, salient.node);
  const legend = mapScale({ low: "nothing", high: "most salient" });
  const three = parts(set);
  const picture = choice({ label: "Picture", onInput: (value) => view.set({ picture: Number(value) }) });
  const method = choice({ label: "Method", options: METHODS.map((name) => [name, name]), onInput: set("method") });
  const task = choice({ label: "Look for", onInput: (name) => view.set(TASKS[name] ?? {}) });
  const whole = { step: 1, text: (value) => number(value, 0) };
  const fixations = slider({ label: "Fixations", min: 1, max: 12, ...whole, onInput: set("fixations") });
  const percent = (value) => `${number(100 * value, 0)} %`; // of the shorter side
  const radius = slider({
    label: "Disc radius",
    min: 0.04,
    max: 0.5,
    step: 0.01,
    text: percent,
    onInput: set("radius"),
  });
  const overlay = toggle({ label: "Overlay the map", onInput: set("overlay") });
  const gains = GAINS.map((name, n) => {
    const onInput = (value) => view.set({ gains: now.gains.map((old, m) => (m === n ? value : old)) });
    return slider({ label: name, min: 0, max: 2, step: 0.05, onInput });
  });
  const own = ownPicture({
    area: view.root,
    most: 96,
    onPicture(name, image) {
      view.set({ pictures: [...now.pictures, { name, image }], picture: now.pictures.length });
    },
  });
  const columns = ["Fixation", "Row", "Column", "Strength"];
  const numbers = table({
    columns,
    kind: "attnlib-fixations",
    caption: "Fixations, in pixels; the first has strength 1",
  });
  const nodes = gains.map(({ node }) => node);
  const gained = html(
    "div",
    { class: "attnlib-gains", role: "group", "aria-label": "Gains of single features" },
    ...nodes,
  );
  const chosen = [picture, method, task, overlay, fixations, radius].map(({ node }) => node);
  const left = html("div", { class: "attnlib-side" }, three.node, gained, own.node);
  const right = html(
    "div",
    { class: "attnlib-side" },
    html("div", { class: "attnlib-controls" }, ...chosen),
    numbers.node,
  );
  view.root.append(panels, legend.node, view.caption, html("div", { class: "attnlib-two" }, left, right));

  return (state) => {
    now = state;
    const { name, image } = state.pictures[state.picture];
    const { height, width } = image;
    const found = look(keep(image, state.method), state);
    const map = mapAddress(enlarged(found.map, found.level, height, width), 1);
    scene.update({
      src: addressOf(image),
      over: state.overlay ? map : "",
      height,
      width,
      alt: `The picture: ${name}`,
      title: name,
    });
    salient.update({ src: map, height, width, alt: "The saliency map; the table has its strongest places" });
    const pixels = state.radius * Math.min(found.map.height, found.map.width) * 2 ** found.level;
    for (const draw of drawn) draw(found.path, pixels);
    three.update(state, found);
    picture.update(state.picture, { options: state.pictures.map((each, n) => [String(n), each.name]) });
    method.update(state.method);
    const sought = taskOf(state);
    const names = [...Object.keys(TASKS), ...(sought === OWN ? [OWN] : [])];
    task.update(sought, { options: names.map((each) => [each, each]) });
    fixations.update(state.fixations);
    radius.update(state.radius);
    overlay.update(state.overlay);
    gains.forEach((gain, n) => gain.update(state.gains[n], { disabled: n > 1 && state.method === "co-occurrence" }));
    numbers.update(found.path.map(([row, column, strength], n) => [n + 1, row, column, number(strength)]));
    const [[row, column] = []] = found.path;
    const second = found.path.length > 1 ? `, the second has ${number(found.path[1][2])} of its strength` : "";
    view.news(
      found.path.length
        ? `The first fixation is at row ${row}, column ${column}${second}.`
        : "Nothing stands out: there is no place to look at.",
    );
  };
}

const unnamed = "Your own picture or weights";
const hint = "Give a feature more weight, or look for something: where does the eye go first?";

export default { build, unnamed, hint };
