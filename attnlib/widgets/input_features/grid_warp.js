// GridWarp: the grid of a spatial transformer over a picture, what is read at its points, and where each would go.

import { button, choice, slider, toggle } from "../js/controls.js";
import { html, svg, write } from "../js/dom.js";
import { handle } from "../js/handle.js";
import { addressOf, ownPicture, panel } from "../js/image.js";
import { kept } from "../js/kept.js";
import { framed, packed, pictureAddress, unpacked } from "../js/math/bitmap.js";
import { compare, cornered, CORNERS, matrixOf, moved, step } from "../js/math/warp.js";
import { arrow } from "../js/plane.js";
import { table } from "../js/table.js";
import { number } from "../js/text.js";

const KINDS = ["attention", "affine", "projective"];
const MIDDLE = { turn: 0, width: 1, height: 1, shear: 0, right: 0, down: 0, tilt_x: 0, tilt_y: 0 };
const NAMES = ["A, top left", "B, top right", "C, bottom right", "D, bottom left"];
const OWN = 24; // points a side, where the reader brings the picture
const UNIT = 0.01; // of the error by a place, in a coordinate's length: what a long arrow stands for at least
const SLIDERS = {
  turn: { label: "Turn", step: 1, text: (value) => `${number(value, 0)}°` },
  width: { label: "Width", step: 0.01 },
  height: { label: "Height", step: 0.01 },
  shear: { label: "Shear", step: 0.01 },
  right: { label: "Right", step: 0.01 },
  down: { label: "Down", step: 0.01 },
  tilt_x: { label: "Tilt x", step: 0.01 },
  tilt_y: { label: "Tilt y", step: 0.01 },
};
const used = (kind, name) =>
  kind === "projective" || (kind === "affine" ? !name.startsWith("tilt") : ["width", "right", "down"].includes(name));

/** The picture with noughts around it, and its address. */
const around = kept((picture) => {
  const whole = framed(unpacked(picture), 1 / 4);
  return { ...whole, src: pictureAddress(whole) };
});

const bytesOf = (read) => Uint8Array.from(read, (value) => Math.round(255 * value));
/** A line and, below it, one that sets it off from any picture. */
const twice = (layer, kind) =>
  [`${kind} attnlib-warp-halo`, kind].map((each) => layer.appendChild(svg("path", { class: each })));
const drawn = (lines, d) => lines.forEach((line) => write(line, { d }));
const line = (points) => points.map((point) => point.map((place) => place.toFixed(1)).join(" ")).join("L");

/** The panel of the picture: the grid, the arrows, and handles at the corners, the middle and above. */
function scenery(view, current) {
  const scene = panel({ title: "" });
  const ground = scene.layer("attnlib-warp-ground");
  const border = ground.appendChild(svg("path", { class: "attnlib-warp-border" }));
  const dots = twice(ground, "attnlib-warp-dots");
  const frame = twice(ground, "attnlib-warp-frame");
  const pulls = twice(ground, "attnlib-warp-pulls");
  const board = svg("svg", {
    class: "attnlib-image-drawing",
    role: "group",
    "aria-label": "The grid over the picture",
  });
  scene.node.lastChild.append(board);
  let [size, whole] = [
    { height: 1, width: 1 },
    { top: 0, left: 0 },
  ];
  const pixel = ([x, y]) =>
    [((x + 1) / 2) * size.width + whole.left, ((y + 1) / 2) * size.height + whole.top].map(
      (each) => each * scene.unit(),
    );
  const under = (event) => {
    const [row, column] = scene.under(event);
    return [(2 * (column + 0.5 - whole.left)) / size.width - 1, (2 * (row + 0.5 - whole.top)) / size.height - 1];
  };
  const set = (changes) => view.set(changes);
  const by = ([x, y], part) => {
    const far = part / 5; // a fiftieth of half the picture, with Shift a tenth
    return { ArrowLeft: [x - far, y], ArrowRight: [x + far, y], ArrowUp: [x, y - far], ArrowDown: [x, y + far] };
  };
  const hold = (place) => place.map((value) => Math.min(Math.max(value, -1.5), 1.5));
  const corners = CORNERS.map((_, n) => {
    const mark = svg(
      "g",
      { class: "attnlib-warp-mark" },
      svg("circle", { r: 11 }),
      svg("text", { dy: "0.36em", text: NAMES[n][0] }),
    );
    return handle({
      mark,
      at: under,
      moves: by,
      hold,
      onMove: (place) => set(cornered(current(), n, place, view.schema)),
    });
  });
  const cross = svg(
    "g",
    { class: "attnlib-warp-mark" },
    svg("circle", { r: 11 }),
    svg("path", { d: "M-6 0H6M0 -6V6" }),
  );
  const middle = handle({ mark: cross, at: under, moves: by, hold, onMove: ([right, down]) => set({ right, down }) });
  const bow = svg(
    "g",
    { class: "attnlib-warp-mark" },
    svg("circle", { r: 11 }),
    svg("path", { d: "M4.5 -4.5A6 6 0 1 0 6 1M6 -7V-3H2" }),
  );
  const round = (degrees) => ((((degrees + 180) % 360) + 360) % 360) - 180;
  const turner = handle({
    mark: bow,
    at(event) {
      const [x, y] = under(event);
      return [(Math.atan2(x - current().right, current().down - y) * 180) / Math.PI];
    },
    moves: ([turn], part) => {
      const [less, more] = [[turn - 20 * part], [turn + 20 * part]];
      return { ArrowLeft: less, ArrowDown: less, ArrowRight: more, ArrowUp: more };
    },
    hold: ([turn]) => [round(turn)],
    onMove: ([turn]) => set({ turn }),
  });
  const stem = board.appendChild(svg("path", { class: "attnlib-warp-stem" }));
  board.append(middle.node, ...corners.map(({ node }) => node), turner.node);

  return {
    node: scene.node,
    update(state, { name, image }, { places, slopes }, { height, width }) {
      [size, whole] = [image, around(image)];
      const { src, height: rows, width: columns } = whole;
      scene.update({
        src,
        height: rows,
        width: columns,
        title: name,
        alt: `The picture: ${name}, with noughts around it`,
      });
      const box = [480, (480 * rows) / columns];
      write(board, { viewBox: `0 0 ${box[0]} ${box[1]}` });
      const matrix = matrixOf(state);
      const ends = CORNERS.map((corner) => moved(matrix, corner));
      write(border, { d: `M${line(CORNERS.map(pixel))}Z` });
      drawn(frame, `M${line(ends.map(pixel))}Z`);
      const every = Array.from({ length: height * width }, (_, n) => n);
      drawn(dots, every.map((n) => `M${line([pixel(places.subarray(2 * n, 2 * n + 2))])}h0`).join(""));
      const most = slopes.reduce((far, slope) => Math.max(far, Math.abs(slope)), UNIT);
      const gap = Math.max(1, Math.round(width / 12));
      const chosen = state.arrows
        ? every.filter((n) => (n % width) % gap === 0 && Math.floor(n / width) % gap === 0)
        : [];
      const pull = (n) => {
        const long = [0, 1].map((axis) => (-34 * slopes[2 * n + axis]) / most);
        const from = pixel([places[2 * n], places[2 * n + 1]]);
        return Math.hypot(...long) < 3
          ? ""
          : arrow(
              from,
              from.map((place, axis) => place + long[axis]),
              6,
            );
      };
      drawn(pulls, chosen.map(pull).join(""));

      const inside = (place) => place.map((each, axis) => Math.min(Math.max(each, 16), box[axis] - 16));
      const put = (grip, [x, y], place, label, words, now, most) => {
        const [atX, atY] = inside([x, y]);
        write(grip.node, { "data-outside": Math.hypot(atX - x, atY - y) > 1 });
        const far = Math.max(most, Math.abs(now));
        grip.update(place, { x: atX, y: atY, label, words, now, min: -far, max: far });
      };
      ends.forEach((end, n) =>
        put(corners[n], pixel(end), end, `Corner ${NAMES[n]}`, `x ${number(end[0])}, y ${number(end[1])}`, end[0], 1.5),
      );
      const centre = [state.right, state.down];
      put(
        middle,
        pixel(centre),
        centre,
        "Middle of the grid",
        `x ${number(centre[0])}, y ${number(centre[1])}`,
        centre[0],
        1.5,
      );
      const fixed = state.kind === "attention";
      const top = pixel(moved(matrix, [0, -1]));
      const angle = (state.turn * Math.PI) / 180;
      const above = inside([top[0] + 34 * Math.sin(angle), top[1] - 34 * Math.cos(angle)]);
      put(turner, above, [state.turn], "Turn of the grid", `${number(state.turn, 0)} degrees`, state.turn, 180);
      write(turner.node, { visibility: fixed ? "hidden" : null, tabindex: fixed ? -1 : 0 });
      write(stem, { d: fixed ? "" : `M${line([top, above])}` });
    },
  };
}

function build(view, first) {
  let now = first;
  let seen = null; // the picture and the target, unpacked, and what is read of it now
  const current = () => now;
  const set = (trait) => (value) => view.set({ [trait]: value });
  const scene = scenery(view, current);
  const [read, target] = [panel({ title: "" }), panel({ title: "Target" })];
  const letters = read.layer("attnlib-warp-letters");
  CORNERS.forEach(([x, y], n) =>
    letters.append(svg("text", { x: 240 + 222 * x, y: 240 + 222 * y, dy: "0.36em", text: NAMES[n][0] })),
  );
  function descend(times) {
    const found = {};
    for (let n = 0; n < times; n += 1)
      Object.assign(found, step(seen.image, seen.target, { ...now, ...found }, view.schema) ?? {});
    view.set(found);
  }
  const steps = [
    [1, "One step"],
    [10, "Ten steps"],
  ].map(([times, label]) => button({ label, onClick: () => descend(times) }));
  const keep = button({
    label: "Keep as target",
    onClick: () => view.set({ kept: [packed({ ...seen.size, rgb: bytesOf(seen.read) })] }),
  });
  const picture = choice({ label: "Picture", onInput: (value) => view.set({ picture: Number(value), kept: [] }) });
  const kind = choice({ label: "Kind", options: KINDS.map((name) => [name, name]), onInput: set("kind") });
  const arrows = toggle({ label: "Arrows", onInput: set("arrows") });
  const numbers = Object.entries(SLIDERS).map(([name, { text = number, ...rest }]) => {
    const { least: min, most: max } = view.schema[name];
    return {
      name,
      label: rest.label,
      control: slider({ ...rest, min, max, text: (value) => text(value), onInput: set(name) }),
    };
  });
  const entries = table({ columns: ["From (x, y) to", "× x", "× y", "+"], kind: "attnlib-warp-matrix" });
  const own = ownPicture({
    area: view.root,
    most: 96,
    onPicture(name, image) {
      const size = { height: OWN, width: OWN };
      const blank = { ...size, rgb: new Uint8Array(3 * OWN * OWN) };
      const { read: plain } = compare(unpacked(image), blank, matrixOf({ ...now, ...MIDDLE, kind: "affine" }));
      const mine = { name, image, target: packed({ ...size, rgb: bytesOf(plain) }) };
      view.set({ pictures: [...now.pictures, mine], picture: now.pictures.length, kept: [], ...MIDDLE });
    },
  });
  const buttons = html(
    "div",
    { class: "attnlib-buttons attnlib-warp-steps", role: "group", "aria-label": "Down the gradient" },
    ...[...steps, keep].map(({ node }) => node),
  );
  const both = html("div", { class: "attnlib-warp-read" }, read.node, target.node);
  const sliders = html(
    "div",
    { class: "attnlib-controls attnlib-warp-sliders" },
    ...numbers.map(({ control }) => control.node),
  );
  const choices = html("div", { class: "attnlib-controls attnlib-warp-choices" }, picture.node, kind.node, arrows.node);
  view.root.append(
    html(
      "div",
      { class: "attnlib-panels attnlib-warp" },
      scene.node,
      html("div", { class: "attnlib-side" }, both, sliders),
    ),
    view.caption,
    html("div", { class: "attnlib-two" }, html("div", { class: "attnlib-side" }, choices, buttons), entries.node),
    own.node,
  );

  return (state) => {
    now = state;
    const shown = state.pictures[state.picture];
    const goal = state.kept[0] ?? shown.target;
    const [image, wanted] = [unpacked(shown.image), unpacked(goal)];
    const matrix = matrixOf(state);
    const found = compare(image, wanted, matrix);
    const { height, width } = wanted;
    seen = { image, target: wanted, read: found.read, size: { height, width } };
    scene.update(state, shown, found, wanted);
    read.update({
      src: pictureAddress({ height, width, rgb: bytesOf(found.read) }),
      height,
      width,
      title: "What is read",
      alt: "What is read at the points of the grid",
    });
    target.update({
      src: addressOf(goal),
      height,
      width,
      title: state.kept.length ? "Target, kept" : "Target",
      alt: "What should be read",
    });
    picture.update(state.picture, { options: state.pictures.map((each, n) => [String(n), each.name]) });
    kind.update(state.kind);
    arrows.update(state.arrows);
    for (const { name, label, control } of numbers) {
      const on = used(state.kind, name);
      const size = state.kind === "attention" && name === "width" ? "Size" : label;
      write(control.node, { hidden: !on });
      control.update(state[name], { label: size });
    }
    const rows = ["x", "y", "÷"].map((name, i) => [name, ...matrix[i].map((entry) => number(entry))]);
    entries.update(state.kind === "projective" ? rows : rows.slice(0, 2));
    const points = height * width;
    let [pulled, beyond] = [0, 0];
    for (let n = 0; n < points; n += 1) {
      const [one, other] = [found.slopes, found.places].map((each) =>
        Math.max(Math.abs(each[2 * n]), Math.abs(each[2 * n + 1])),
      );
      if (one > 1e-9) pulled += 1;
      if (other > 1) beyond += 1;
    }
    for (const each of steps) each.update({ disabled: !pulled });
    const words = `Error ${number(found.error, 4)}. Of ${points} points ${pulled} have a slope; ${beyond} lie beyond the picture.`;
    view.news(words, "Arrows: the way down; beyond the dashes noughts are read.");
  };
}

const unnamed = "Your own grid";
const hint = "Drag a corner, the middle or the turn: what is read, and which points still have a slope?";

export default { build, unnamed, hint };
