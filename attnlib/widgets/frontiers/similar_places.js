// SimilarPlaces: a place of a noisy picture, and how much every place counts for its mean.

import { choice, slider } from "../js/controls.js";
import { html, svg, write } from "../js/dom.js";
import { handle } from "../js/handle.js";
import { mapScale, ownPicture, panel } from "../js/image.js";
import { kept } from "../js/kept.js";
import { mapAddress, pictureAddress, unpacked } from "../js/math/bitmap.js";
import { noisy, normal, similar } from "../js/math/similar_places.js";
import { table } from "../js/table.js";
import { number, share } from "../js/text.js";

const WIDE = 480; // of a drawing over a picture, in its own units
const SHOWN = 5; // places in the table
const held = (place, size) => Math.min(Math.max(Math.round(place), 0), size - 1);
const bytes = (data) => Uint8Array.from(data, (value) => Math.round(255 * Math.min(Math.max(value, 0), 1)));
const away = (one, other) => Math.sqrt(one.reduce((sum, value, c) => sum + (value - other[c]) ** 2, 0) / 3);

const pixels = kept(unpacked);
const drawn = kept(({ height, width }) => normal(3 * height * width));
/** The picture with noise, and its address; the last one is kept, for most that moves is the place. */
function noises() {
  let last = {};
  return (image, noise) => {
    if (last.image !== image || last.noise !== noise) {
      const taken = noisy(pixels(image), drawn(image), noise);
      last = { image, noise, taken, src: pictureAddress({ ...taken, rgb: bytes(taken.data) }) };
    }
    return last;
  };
}

/** A panel with the patch drawn in it; the first one's can be moved, by hand, by a press anywhere, and by the arrows. */
function board(title, onPlace = null) {
  const picture = panel({ title });
  const square = () => svg("rect", { class: "attnlib-similar-patch" });
  const [under, patch] = [square(), square()];
  let size = { height: 1, width: 1 };
  const hold = ([row, column]) => [held(row, size.height), held(column, size.width)];
  const at = (event) => picture.under(event);
  const grip =
    onPlace &&
    handle({
      at,
      hold,
      moves: ([row, column], step) => ({
        ArrowUp: [row - 10 * step, column],
        ArrowDown: [row + 10 * step, column],
        ArrowLeft: [row, column - 10 * step],
        ArrowRight: [row, column + 10 * step],
        Home: [row, 0],
        End: [row, size.width - 1],
        PageUp: [0, column],
        PageDown: [size.height - 1, column],
      }),
      onMove: onPlace,
    });
  const over = svg(
    "svg",
    { class: "attnlib-image-drawing attnlib-similar-board", "aria-hidden": onPlace ? null : "true" },
    under,
    patch,
  );
  if (grip) {
    over.append(grip.node);
    write(over, { role: "group", "aria-label": "The place" });
    write(grip.node, { "aria-roledescription": "movable place" });
    over.addEventListener("click", (event) => !event.target.closest(".attnlib-point") && onPlace(hold(at(event))));
  }
  picture.node.lastChild.append(over);
  return {
    node: picture.node,
    update({ height, width, row, column, reach, ...shown }) {
      size = { height, width };
      picture.update({ height, width, ...shown });
      const unit = WIDE / width;
      const side = 2 * reach + 1;
      const box = { x: (column - reach) * unit, y: (row - reach) * unit, width: side * unit, height: side * unit };
      for (const rect of [under, patch]) write(rect, box);
      write(over, { viewBox: `0 0 ${WIDE} ${unit * height}` });
      const [x, y] = [(column + 0.5) * unit, (row + 0.5) * unit];
      grip?.update([row, column], {
        x,
        y,
        label: "Place",
        words: `row ${row}, column ${column}`,
        now: column,
        min: 0,
        max: width - 1,
      });
    },
  };
}

/** The places with the largest weights but for one, the first of equals before the others. A frame has no time to sort all. */
function foremost(weights, but) {
  const found = [];
  for (let n = 0; n < weights.length; n += 1) {
    if (n === but || (found.length === SHOWN && weights[n] <= weights[found[SHOWN - 1]])) continue;
    let place = found.length;
    while (place > 0 && weights[found[place - 1]] < weights[n]) place -= 1;
    found.splice(place, 0, n);
    found.length = Math.min(found.length, SHOWN);
  }
  return found;
}

function build(view, first) {
  let now = first;
  const taken = noises();
  const set = (trait) => (value) => view.set({ [trait]: value });
  const scene = board("Drag or tap, or use the arrows", ([row, column]) => view.set({ row, column }));
  const map = board("What counts for this place");
  const scale = mapScale({ low: "nothing", high: "most of the others" });
  const picture = choice({ label: "Picture", onInput: (value) => view.set({ picture: Number(value) }) });
  const sides = (value) => `${2 * value + 1} × ${2 * value + 1}`;
  const reach = slider({ label: "Patch", min: 0, max: 4, step: 1, text: sides, onInput: set("reach") });
  const bandwidth = slider({ label: "Bandwidth h", min: 0.02, max: 2, log: true, onInput: set("bandwidth") });
  const noise = slider({ label: "Noise", min: 0, max: 0.4, step: 0.01, onInput: set("noise") });
  const own = ownPicture({
    area: view.root,
    most: 96,
    onPicture: (name, image) =>
      view.set({ pictures: [...now.pictures, { name, image }], picture: now.pictures.length }),
  });
  const colours = table({ columns: ["Colour", "Red", "Green", "Blue", "Off by"], kind: "attnlib-similar-colours" });
  const counts = table({ columns: ["Place", "Row", "Column", "Weight"], kind: "attnlib-similar-places" });
  const controls = html(
    "div",
    { class: "attnlib-settings" },
    html("div", { class: "attnlib-controls" }, picture.node, reach.node, bandwidth.node, noise.node),
    own.node,
  );
  view.root.append(
    html("div", { class: "attnlib-panels" }, scene.node, map.node),
    scale.node,
    view.caption,
    html("div", { class: "attnlib-two" }, controls, html("div", { class: "attnlib-side" }, colours.node, counts.node)),
  );

  return (state) => {
    now = state;
    const { name, image } = state.pictures[state.picture];
    const { height, width } = image;
    const place = { row: held(state.row, height), column: held(state.column, width), reach: state.reach };
    const found = taken(image, state.noise);
    const { weights, mean } = similar(found.taken, { ...state, ...place });
    const at = place.row * width + place.column;
    const order = foremost(weights, at);
    const where = `row ${place.row}, column ${place.column}`;
    scene.update({ height, width, ...place, src: found.src, alt: `${name}, with noise; the place is at ${where}` });
    const src = mapAddress({ height, width, data: weights }, weights[order[0]]);
    map.update({ height, width, ...place, src, alt: "The weights; the table has the largest" });
    picture.update(state.picture, { options: state.pictures.map((each, n) => [String(n), each.name]) });
    reach.update(state.reach);
    bandwidth.update(state.bandwidth);
    noise.update(state.noise);
    const before = [...pixels(image).rgb.subarray(3 * at, 3 * at + 3)].map((value) => value / 255);
    const seen = [...found.taken.data.subarray(3 * at, 3 * at + 3)];
    const line = (words, colour, off) => [words, ...colour.map((value) => number(value)), off];
    const [wrong, left] = [seen, mean].map((colour) => number(away(colour, before)));
    colours.update([line("before", before, "–"), line("noisy", seen, wrong), line("mean", mean, left)], {
      caption: "The colour of the place; off by: the root of the mean square",
    });
    counts.update(
      [
        ["itself", place.row, place.column, share(weights[at])],
        ...order.map((n, k) => [k + 1, Math.floor(n / width), n % width, share(weights[n])]),
      ],
      { caption: "What weighs most" },
    );
    const many = 1 / weights.reduce((sum, weight) => sum + weight ** 2, 0);
    const told = number(many, many < 100 ? 1 : 0);
    view.news(
      `This averages as much as ${told} places would that count alike (1 / Σ weight²). The noisy colour is off by ${wrong}, the mean by ${left}.`,
    );
  };
}

const unnamed = "Your own setting";
const hint = "Which places count, near or far, and is the mean nearer than the noisy colour?";

export default { build, unnamed, hint };
